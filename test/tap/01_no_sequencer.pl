# Why there is no sequencer: stat_info says it, whoever can still ask.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 30;    # seconds within which anything here has to happen
my $db = 'postgres';
my $node = new_node('absent', 'sentinai.launcher_naptime = 1s',
	"sentinai.kafka_conf = ''", 'sentinai.topic_partitions = 0', 'max_logical_replication_workers = 4');

# problem_ok: what stat_info of a database says before the deadline
sub problem_ok
{
	my ($where, $like, $name, $who) = @_;

	poll_ok($who // $node, $where, $unslept, "select coalesce(sequencer_problem, '') ~ '$like'"
		  . " and (sequencer_problem is null) = (sequencer_pid is not null) from sentinai.stat_info", $name);
	return;
}

# relay_ok: what stat_relay says within five seconds
sub relay_ok
{
	my ($state, $error, $name) = @_;

	poll_ok($node, 'served', 5, qq{
		select state = '$state' and coalesce(last_error, '') ~ '^$error\$' from sentinai.stat_relay}, $name)
	  or diag($node->safe_psql('served', 'select to_json(r) from sentinai.stat_relay r'));
	return;
}

# notice_of: what CREATE EXTENSION in a new database says
sub notice_of
{
	my ($name, $statements) = @_;

	$node->safe_psql($db, "create database $name");
	my ($rc, $out, $err) = $node->psql($name, $statements // 'create extension sentinai');
	is($rc, 0, "CREATE EXTENSION in $name");
	return $err;
}

sub restart_with
{
	my (%settings) = @_;

	$node->adjust_conf('postgresql.conf', $_, $settings{$_}) foreach keys %settings;
	$node->restart;
	return;
}

is(notice_of('served'), '', 'nothing to say where the library is preloaded');
problem_ok('served', '^$', 'a sequencer runs');

# a template
$node->safe_psql($db, 'alter database served is_template true');
my $pid = sequencer_pid($node, 'served', $unslept);
$node->safe_psql($db, "select pg_terminate_backend($pid)") if $pid;
problem_ok('served', 'template', 'in a template none runs');
$node->safe_psql($db, 'alter database served is_template false');
problem_ok('served', '^$', 'until it is none');

# a standby
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('absent_standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
problem_ok('served', 'standby', 'nor on a standby', $standby);
$standby->stop;

# no slot for it: the launchers of sentinai and of logical replication have them
restart_with(max_worker_processes => 2);
problem_ok('served', 'no background worker slot', 'nor when no worker slot is free');
$node->safe_psql('served', q{select sentinai.subscribe('w'), sentinai.publish('T', 't', 'a', '{}')});
is($node->safe_psql('served', q{select sentinai.complete(token) from sentinai.claim('w')}), '1', 'events are claimed all the same');
restart_with(max_worker_processes => 0);
problem_ok('served', 'launcher does not run', 'nor without its launcher');
restart_with(max_worker_processes => 1);
problem_ok('served', 'launcher does not run', 'which is second to that of logical replication');

# a relay is the last to get a slot, and needs a sequencer; it says which it lacks
my $broker = MockBroker->new('--brokers', 1);
my $slots = 'no background worker slot is free; raise max_worker_processes';
restart_with('sentinai.kafka_conf' => "'bootstrap.servers=" . $broker->bootstrap . "'");
relay_ok('stopped', 'no sequencer runs: the launcher does not run.*', 'a relay without a launcher');
restart_with(max_logical_replication_workers => 0);
problem_ok('served', 'no background worker slot', 'as few slots as there can be: the launcher has it');
relay_ok('stopped', "no sequencer runs: $slots", 'a relay without a sequencer');
restart_with(max_worker_processes => 2);
problem_ok('served', '^$', 'one more, and a sequencer runs');
relay_ok('stopped', $slots, 'a relay without a slot');
is($node->safe_psql('served', q{select sequencer_problem is null and sequencer_pid is not null from sentinai.stat_info}), 't',
	'which is not the trouble of the sequencer');
restart_with(max_worker_processes => 3);
relay_ok('running', '', 'one more, and the relay runs');
restart_with(max_worker_processes => 2);
relay_ok('stopped', $slots, 'and then without a slot');
$node->adjust_conf('postgresql.conf', 'sentinai.kafka_conf', q{''});
$node->reload;
relay_ok('stopped', '', 'switched off it needs none');

# not preloaded
restart_with(max_worker_processes => 8, shared_preload_libraries => "''");
problem_ok('served', 'shared_preload_libraries', 'nor without the library');
like(notice_of('bare'), qr/^psql.*NOTICE:  sentinai has no background workers.*HINT: .*shared_preload_libraries/s,
	'CREATE EXTENSION says so');
is(notice_of('taken_back', 'begin; create extension sentinai; rollback'), '', 'unless it is taken back');
is(notice_of('aside', 'begin; savepoint s; create extension sentinai; rollback to s; commit'), '', 'or a part of the transaction');

# what is known of claims outlives the server's memory
is($node->safe_psql('served', q{select last_claimed_at is not null from sentinai.stat_queue}), 't', 'the last claim with events is known');

# no launcher gives up the places of databases that were dropped: who finds none free does
my $refused = '';
foreach my $i (1 .. 33)
{
	$node->safe_psql($db, 'create database passing template bare');
	my ($rc, $out, $err) = $node->psql('passing', q{select sentinai.publish('Tested', 't', 'k', '{}')});
	$refused .= $err;
	$node->safe_psql($db, 'drop database passing');
}
is($refused, '', 'databases come and go');

restart_with(shared_preload_libraries => "'sentinai'");
problem_ok('served', '^$', 'all is well again');
problem_ok('bare', '^$', 'there, too');
$node->stop;
done_testing();
