# synchronous_standby_names becomes empty: what no standby has confirmed is held
# for a grace time, what waited for it and what comes then.
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
my $node = new_node('primary', 'sentinai.launcher_naptime = 1s',
	'sentinai.topic_partitions = 0', 'synchronous_commit = local',
	'sentinai.sync_grace = 1h',
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$broker->bootstrap]}'");

# set_system(SETTING => VALUE): the time before it was in force, ms
sub set_system
{
	my ($name, $value) = @_;
	my $before = $node->safe_psql('postgres', 'select (extract(epoch from clock_timestamp()) * 1000)::bigint');

	$node->safe_psql('postgres', "alter system set $name = '$value'");
	$node->reload;
	return $before;
}

sub publish
{
	my ($topic) = @_;
	my $id = $node->safe_psql('postgres', "select sentinai.publish('Tested', 't', 'k1', '{}', '$topic')");

	poll_ok($node, 'postgres', $unslept, "select count(*) = 1 from sentinai_internal.slice"
		  . " where stream_id = 0 and '$id' = any (event_ids)", "$topic: it is sequenced");
	return;
}

# waits_ok(NAME): the relay waits for a standby
sub waits_ok
{
	my ($name) = @_;

	poll_ok($node, 'postgres', $unslept, q{select count(*) = 1 from pg_stat_activity
		where backend_type = 'sentinai relay' and wait_event = 'SyncRep'}, $name);
	return;
}

# sent_at(TOPIC): when its record was sent, ms; undefined if it does not come
sub sent_at
{
	my ($topic) = @_;
	my @records;

	wait_for($unslept, sub { @records = $broker->records("sentinai.$topic") });
	is(scalar @records, 1, "$topic: it is sent");
	return @records ? $records[0]{timestamp} : 0;
}

my $held = 'has become empty, what no standby has confirmed is held';
$node->safe_psql('postgres', 'create extension sentinai');
publish('never');
sent_at('never');
is(log_count($node, $held), 0, 'who never had standbys waits for nobody');

# what waits, what comes, and what the next relay process finds
set_system('synchronous_standby_names', 'nobody');
publish('waiting');
waits_ok('the relay waits');
set_system('synchronous_standby_names', '');
ok(wait_for($unslept, sub { log_count($node, $held) == 1 }), 'what waits is held');
publish('later');
$node->safe_psql('postgres', q{select pg_terminate_backend(pid) from pg_stat_activity
	where backend_type = 'sentinai relay'});
ok(wait_for($unslept, sub { log_count($node, $held) == 2 }), 'by the next process, too');
publish('last');
my $over = set_system('sentinai.sync_grace', '0');
cmp_ok(sent_at($_), '>=', $over, "$_: not before the grace is over") foreach qw(waiting later last);

# for so many seconds
set_system('sentinai.sync_grace', '1h');
set_system('synchronous_standby_names', 'nobody');
publish('seen');
waits_ok('the relay waits');
set_system('synchronous_standby_names', '');
set_system('sentinai.sync_grace', '0');
sent_at('seen');
set_system('sentinai.sync_grace', '2s');
set_system('synchronous_standby_names', 'nobody');
publish('timed');
waits_ok('the relay waits');
my $gone = set_system('synchronous_standby_names', '');
cmp_ok(sent_at('timed'), '>=', $gone + 2000, 'after so many seconds it is sent');
publish('after');
cmp_ok(sent_at('after'), '>', 0, 'and nothing waits any more');

# it comes back: what is held waits for the standby again
set_system('sentinai.sync_grace', '1h');
set_system('synchronous_standby_names', 'nobody');
publish('back');
waits_ok('the relay waits');
my $said = log_count($node, $held);
set_system('synchronous_standby_names', '');
ok(wait_for($unslept, sub { log_count($node, $held) > $said }), 'it is held');
set_system('synchronous_standby_names', 'standby');
set_system('sentinai.sync_grace', '0');
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
my $came = $node->safe_psql('postgres', 'select (extract(epoch from clock_timestamp()) * 1000)::bigint');
$standby->start;
cmp_ok(sent_at('back'), '>=', $came, 'until a standby has confirmed it');

# a relay that was idle sees it as well
set_system('sentinai.sync_grace', '1h');
publish('confirmed');
sent_at('confirmed');
worked_off_ok($node, 'postgres', $unslept, "select in_flight = 0 and lag_events = 0 from sentinai.stat_relay", 'the relay is idle');
$said = log_count($node, $held);
set_system('synchronous_standby_names', '');
publish('idle');
ok(wait_for($unslept, sub { log_count($node, $held) > $said }), 'what comes is held');
$over = set_system('sentinai.sync_grace', '0');
cmp_ok(sent_at('idle'), '>=', $over, 'idle: not before the grace is over');
$standby->stop;
set_system('synchronous_standby_names', 'standby');

# a primary that is stopped within the grace has sent nothing
set_system('sentinai.sync_grace', '1h');
publish('lost');
waits_ok('the relay waits');
$said = log_count($node, $held);
set_system('synchronous_standby_names', '');
ok(wait_for($unslept, sub { log_count($node, $held) > $said }), 'it is held');
$node->stop;
is(scalar $broker->records('sentinai.lost'), 0, 'a stopped primary has sent nothing');
done_testing();
