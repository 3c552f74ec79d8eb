# sentinai.relay_event_types: the relay sends events of these types and passes the
# others, also where the setting changes under way; what has a topic of its own is
# sent all the same.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 30;    # seconds within which anything here has to happen
my $broker = MockBroker->new('--brokers', 1);
my $node = new_node('types',
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$broker->bootstrap]},$MockBroker::soon,message.max.bytes=5000'",
	'sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s', "include_if_exists 'test.conf'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# types(LIST, SETTING...): name them, and wait until the relay reads what it shall
sub types
{
	my ($list, @settings) = @_;

	set_conf_now($node, $unslept, "sentinai.relay_event_types = '$list'", @settings);
	my @want = split /\s*,\s*/, $list;
	return poll_ok($node, 'postgres', $unslept, qq{
		select coalesce(f.event_types @> '{@{[join ',', @want]}}', false) = @{[@want ? 'true' : 'false']}
		from sentinai_internal.subscription s join sentinai_internal.stream f using (stream_id) where s.is_relay}, "types: $list");
}

my $n = 0;

# publish(TYPE...): an event of each, of one key
sub publish
{
	my (@types) = @_;

	sql(join ';', map { "select sentinai.publish('$_', 'acme', 'k', '{\"n\": @{[++$n]}}', 'order')" } @types);
	return;
}

# sent(): what has arrived, in order
sub sent { return join ' ', map { "$_->{headers}{ce_type}$_->{value}" =~ /^(\w+)\{"n": (\d+)/ ? "$1$2" : '?' } $broker->records('sentinai.order'); }

sub passed_ok { return relay_passed_ok($node, 'postgres', $unslept, $_[0]); }

# What is in the log before the relay begins is filtered, too.
set_conf_now($node, $unslept, q{sentinai.relay_event_types = 'A, C'}, 'sentinai.relay_workers = 0');
sql('create extension sentinai');
publish(qw(A B C B));
types('A, C');
passed_ok('all is passed');
is(sent(), 'A1 C3', 'two types of three');
publish(qw(B A B));
passed_ok('and of what comes behind');
is(sent(), 'A1 C3 A6', 'those are sent');
is(sql('select count(*) from sentinai.stat_queue'), '0', 'it is nobody\'s subscription');

# Other types hold for what is published from then on.
types('B');
publish(qw(A B C));
passed_ok('other types');
is(sent(), 'A1 C3 A6 B9', 'what was passed stays passed');

# A backlog that was not sent yet goes by the types of its time.
sql('select sentinai.pause_relay()');
poll_ok($node, 'postgres', $unslept, q{select state = 'paused' from sentinai.stat_relay}, 'paused');
publish(qw(B A));
poll_ok($node, 'postgres', $unslept, q{select unsequenced_commits = 0 from sentinai.stat_info}, 'sequenced');
types('A');
publish(qw(B A));
sql('select sentinai.resume_relay()');
passed_ok('resumed');
is(sent(), 'A1 C3 A6 B9 B11 A14', 'by the types of its time');

# With a restart, and several processes.
types('A', 'sentinai.relay_workers = 3');
$node->restart;
publish(qw(A B));
passed_ok('restarted');
is(sent(), 'A1 C3 A6 B9 B11 A14 A15', 'one after the other');

# What has a topic of its own does not have to be named.
types('A', "sentinai.control_topic = 'its.own'", "sentinai.dead_letter_topic = 'dead'");
sql(q{select sentinai.publish(t, 'acme', 'k', jsonb_build_object('t', (select string_agg(md5(i::text), '') from generate_series(1, 1000) i)), 'order') from unnest('{A,B}'::text[]) t});
ok(wait_for($unslept, sub { $broker->records('its.own') > 0 && $broker->records('dead') > 0 }), 'it is told of and kept');
passed_ok('all is passed');
is(join(' ', map { $_->{headers}{ce_type} } $broker->records('its.own')), 'DeadLettered', 'one is refused, the other was not sent');
is(scalar($broker->records('dead')), 1, 'one record');

# All again, and what no list can be.
types('');
publish(qw(A B));
passed_ok('all types');
is(sent(), 'A1 C3 A6 B9 B11 A14 A15 A17 B18', 'are sent');
foreach my $list ('a b', 'A,,B', 'A, ', 'x' x 129, join ',', map { "T$_" } 0 .. 1000)
{
	is(state_in($node, 'postgres', "alter system set sentinai.relay_event_types = '$list'"), '22023', 'refused: ' . substr($list, 0, 20));
}

# Options of records, and limits, as relays of create_relay() have them.
set_conf_now($node, $unslept, "sentinai.relay_record_options = 'headers=region:eu; headers.metadata=user; key={tenant}-{event_type}; topics=R:ruled; tombstones=R'", "sentinai.relay_limits = 'bytes.per.second=1000; in.flight=5'");
sql(q{select sentinai.publish('R', 'acme', 'k', '{}', 'order', '{"user": "jo"}')});
ok(wait_for($unslept, sub { $broker->records('ruled') > 0 }), 'a topic by event type');
my ($ruled) = $broker->records('ruled');
is_deeply([ $ruled->{key}, length($ruled->{value} // ''), @{ $ruled->{headers} }{qw(region user)} ], [ 'acme-R', 0, 'eu', 'jo' ], 'key, tombstone, headers');
is(sql('select limits from sentinai.stat_relay'), 'bytes.per.second=1000; in.flight=5', 'limits are shown');
foreach my $options ('kee={tenant}', 'transform=public.f', 'dead.letter.topic=dead', 'dedupe=all')
{
	is(state_in($node, 'postgres', "alter system set sentinai.relay_record_options = '$options'"), '22023', "refused: $options");
}
is(state_in($node, 'postgres', "alter system set sentinai.relay_limits = '$_'"), '22023', "refused: $_") foreach 'events=1', 'in.flight=0';

$node->stop;
done_testing();
