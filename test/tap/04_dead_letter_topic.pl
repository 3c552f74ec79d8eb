# What the broker has refused goes to sentinai.dead_letter_topic: as it would
# have been sent, with headers that say what was wrong, and not without asking.
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
my $node = new_node('dlt',
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$broker->bootstrap]},$MockBroker::soon,message.max.bytes=5000'",
	'sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s',
	"include_if_exists 'test.conf'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub passed_ok { return relay_passed_ok($node, 'postgres', $unslept, $_[0]); }

# publish(TYPE, KEY, PAYLOAD): the id of an event that is refused
sub publish
{
	my ($type, $key, $payload) = @_;
	my $id = sql("select sentinai.publish('Refused', 'acme', '$key', $payload, '$type', '{\"traceparent\": \"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"}')");

	poll_ok($node, 'postgres', $unslept, qq{
		select count(*) = 1 from sentinai.dead_letter where event_id = '$id' and worker_type = 'relay'}, "$key: a dead letter");
	return $id;
}

# Without the setting nothing goes anywhere, and no event says that it should.
sql('create extension sentinai');
publish('a/b', 'k0', q{'{"n": 0}'});
passed_ok('all is relayed');
is(sql(q{select count(*) from sentinai.event_log where event_type = 'RecordRefused'}), '0', 'not asked, not sent');

# Named, what is refused comes there, in every format.
my %header = (cloudevents => 'ce_id', debezium => 'id', raw => 'event_id');
foreach my $format (sort keys %header)
{
	my $topic = "dead.$format";

	set_conf_now($node, $unslept, "sentinai.dead_letter_topic = '$topic'", "sentinai.record_format = '$format'");
	my $id = publish('a/b', $format, q{'{"n": 1}'});
	ok(wait_for($unslept, sub { $broker->records($topic) > 0 }), "$format: a record");
	passed_ok("$format: all is relayed");
	my @records = $broker->records($topic);
	my ($r) = @records;
	my $h = $r->{headers};

	is(scalar(@records), 1, "$format: one");
	is_deeply([ @$r{qw(key value)}, $h->{ $header{$format} } ],
		[ $format eq 'debezium' ? $format : "acme:$format", '{"n": 1}', $id ], "$format: key, value and id are the event's");
	# kcat ends a header at a comma
	my ($reason) = split /,/, sql("select reason from sentinai.dead_letter where event_id = '$id'");
	is_deeply([ @$h{'__connect.errors.exception.message', 'kafka_dlt-exception-message'} ], [ $reason, $reason ], "$format: and the reason");
	ok(!exists $h->{'__connect.errors.topic'}, "$format: it had no topic");
	like($h->{traceparent}, qr/^00-0af7651916cd43dd8448eb211c80319c-/, "$format: it is in its trace");
}

# Of what is too large all but the payload is sent; with a control topic both tell.
set_conf_now($node, $unslept, "sentinai.dead_letter_topic = 'dead.large'", "sentinai.control_topic = 'its.own'");
my $large = publish('order', 'large', q{jsonb_build_object('t', (select string_agg(md5(i::text), '') from generate_series(1, 1000) i))});
ok(wait_for($unslept, sub { $broker->records('dead.large') > 0 && $broker->records('its.own') > 0 }), 'too large: records');
passed_ok('all is relayed');
my ($r) = $broker->records('dead.large');
is_deeply([ @{ $r->{headers} }{qw(ce_id sentinai_payload)}, length($r->{value} // '') ], [ $large, 'omitted', 0 ], 'without the payload');
is(join(' ', map { $_->{headers}{ce_type} } $broker->records('its.own')), 'DeadLettered', 'the control topic tells of it once');

# One whose letter was purged meanwhile, or whose topic is named no more, is passed.
sql('select sentinai.pause_relay()');
sql(q{
	select sentinai.discard_dead_letter(event_id, 'relay', 'me', 'test') from sentinai.dead_letter where status = 'pending';
	select sentinai.purge_dead_letters('infinity')});
set_conf_now($node, $unslept);
sql('select sentinai.resume_relay()');
publish('a/b', 'last', q{'{}'});
passed_ok('all is relayed');
is(scalar($broker->records('dead.large')), 1, 'switched off, no more come');

$node->stop;
done_testing();
