# Control events go to no topic of other events, in no format: nowhere, or to
# the topic that is named for them, in order per key.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $broker = MockBroker->new('--brokers', 1);
my $node = new_node('control',
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$broker->bootstrap]},$MockBroker::soon,message.max.bytes=5000'",
	'sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s',
	"include_if_exists 'test.conf'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub passed_ok { return relay_passed_ok($node, 'postgres', $unslept, $_[0]); }

# fail_some(TYPE): events of four keys, each of which fails twice and is dead
# then; their ids
sub fail_some
{
	my ($type) = @_;
	my $ids = sql(qq{
		select string_agg(sentinai.publish('Failing', 'acme', 'k' || k, jsonb_build_object('n', k), '$type')::text, ' ')
		from generate_series(1, 4) k});

	poll_ok($node, 'postgres', $unslept, qq{
		with batch as materialized (select token, event_id from sentinai.claim('hapless', 1)),
		     failed as materialized (select sentinai.fail(token, event_id, 'secret of a handler') from batch)
		select (select count(*) from failed) = 0 and count(*) = 4
		from sentinai.dead_letter where worker_type = 'hapless' and aggregate_type = '$type'}, "$type: all are dead");
	return split ' ', $ids;
}

# told(TYPE, ID...): what the log has of control events about some
sub told
{
	my ($type, @ids) = @_;
	my $ids = join ',', map { "'$_'" } @ids;

	return sql(qq{
		select string_agg(event_id || ' ' || event_type || ' ' ||
			sentinai.get_partition_key(tenant_id, aggregate_id), E'\\n' order by aggregate_id, event_id)
		from sentinai.event_log where aggregate_type = '$type' and causation_id in ($ids)});
}

# arrived(TOPIC, ID...): the same as it came, each first copy in its place
sub arrived
{
	my ($topic, @ids) = @_;
	my %about = map { $_ => 1 } @ids;
	my (%seen, %keys);

	foreach my $record ($broker->records($topic))
	{
		my $h = $record->{headers};

		next if !$about{ $h->{ce_causationid} // '' } || $seen{ $h->{ce_id} }++;
		push @{ $keys{ $record->{key} } }, "$h->{ce_id} $h->{ce_type} $record->{key}";
	}
	return join "\n", map { @{ $keys{$_} } } sort keys %keys;
}

sql(q{
	create extension sentinai;
	select sentinai.subscribe('hapless', event_types => '{Failing}', max_attempts => 2, backoff => '{1ms}')});

# in every format: first nowhere, then in their topic
my @all;
foreach my $format (qw(cloudevents debezium raw))
{
	my $topic = ($format eq 'debezium' ? 'outbox.event' : 'sentinai') . '.';

	set_conf_now($node, $unslept, "sentinai.record_format = '$format'");
	my @ids = fail_some("${format}0");
	passed_ok("$format: all is relayed");
	is(scalar($broker->records("$topic${format}0")), 4, "$format: no control event is among the others");

	set_conf_now($node, $unslept, "sentinai.record_format = '$format'", "sentinai.control_topic = 'its.own'");
	@ids = fail_some("${format}1");
	passed_ok("$format: all is relayed with a topic for them");
	is(scalar($broker->records("$topic${format}1")), 4, "$format: nor then");
	is(arrived('its.own', @ids), told("${format}1", @ids),
		"$format: they are in their topic, with type and key, in order");
	push @all, @ids;
}
is(scalar($broker->records('its.own')), 8 * 3, 'two for each event that failed, and nothing else');

# the relay's own, and nobody else may write there
my $alone = "sentinai.control_topic = 'sentinai.its'";
set_conf_now($node, $unslept, $alone);
my $forged = sql(q{select sentinai.publish('Forged', 'acme', 'k1', '{}', 'its')});
poll_ok($node, 'postgres', $unslept, qq{
	select status = 'pending' and reason like '%control_topic%' from sentinai.dead_letter
	where event_id = '$forged' and worker_type = 'relay'}, 'an event that would come there is a dead letter');
passed_ok('which is told');
is(arrived('sentinai.its', $forged), told('its', $forged), 'in the topic');
is(join(' ', map { $_->{headers}{ce_type} } $broker->records('sentinai.its')), 'DeadLettered', 'where it is alone');
is(sql(q{select current_setting('sentinai.control_topic')}), 'sentinai.its', 'as set');
foreach my $bad ('a/b', '{tenant}', '__consumer_offsets', '..')
{
	my ($rc, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY sqlstate\nalter system set sentinai.control_topic = '$bad'");

	like($err, qr/22023/, "no topic: $bad");
}

# One that cannot be sent is a dead letter, of which nothing is told. Switched
# off, it is not taken for sent.
sql(q{select sentinai.subscribe('wordy', event_types => '{Wordy}', max_attempts => 1)});
my $wordy = sql(q{select sentinai.publish('Wordy', 'acme', 'w', '{}', 'wordy')});
sql(q{select sentinai.fail(token, event_id,
	(select string_agg(md5(i::text), '') from generate_series(1, 2000) i)) from sentinai.claim('wordy', 1)});
my $letter = sql(qq{select event_id from sentinai.event_log where causation_id = '$wordy'});
poll_ok($node, 'postgres', $unslept, qq{
	select status = 'pending' from sentinai.dead_letter where event_id = '$letter' and worker_type = 'relay'},
	'too large: a dead letter');
set_conf_now($node, $unslept);
sql(qq{select sentinai.retry_dead_letter('$letter', 'relay', 'me')});
poll_ok($node, 'postgres', $unslept, qq{
	select status = 'pending' and attempts = 2 and reason like '%control_topic%'
	from sentinai.dead_letter where event_id = '$letter' and worker_type = 'relay'},
	'tried again where none are sent, it is one again');
is(sql("select count(*) from sentinai.event_log where causation_id = '$letter'"), '0', 'and nothing is told');
passed_ok('nothing is left');

# what waits for their topic, and then is not to be sent any more
set_conf_now($node, $unslept, "sentinai.control_topic = 'held'");
$broker->order('topic held 4');
$broker->order('topic-error held UNKNOWN_TOPIC_OR_PART');
my @held = fail_some('heldtype');
poll_ok($node, 'postgres', $unslept, q{
	select waiting_events > 0 from sentinai.stat_relay}, 'control events wait for their topic');
is(scalar($broker->records('sentinai.heldtype')), 4, 'others do not');
set_conf_now($node, $unslept);
passed_ok('switched off, they are passed');
is(sql(q{select count(*) from sentinai.dead_letter where worker_type = 'relay' and event_type <> 'Forged'
	and event_id <> } . "'$letter'"), '0', 'without a dead letter');

$node->stop;
done_testing();
