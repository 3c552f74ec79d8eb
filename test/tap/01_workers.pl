# The launcher and the sequencer: who runs where, and through what they live.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $node = new_node('primary', 'sentinai.launcher_naptime = 1s');
my $unslept = 30;    # seconds within which anything here has to happen

sub sequencers
{
	return $node->safe_psql('postgres',
		"select string_agg(datname, ' ' order by datname) from pg_stat_activity"
		  . " where backend_type = 'sentinai sequencer'");
}

# sequenced_ok: an event published now is in a slice before the deadline
sub sequenced_ok
{
	my ($db, $name) = @_;
	my $id = $node->safe_psql($db,
		"select sentinai.publish('Tested', 't1', 'x1', '{}')");

	poll_ok($node, $db, $unslept,
		"select count(*) = 1 from sentinai_internal.slice"
		  . " where stream_id = 0 and '$id' = any (event_ids)", $name);
}

# who runs where
$node->safe_psql('postgres', 'create database one');
$node->safe_psql('postgres', 'create database two');
$node->safe_psql('postgres', 'create database plain');
$node->safe_psql($_, 'create extension sentinai') for qw(one two);
ok(sequencer_pid($node, 'one', $unslept), 'CREATE EXTENSION brings a sequencer');
ok(sequencer_pid($node, 'two', $unslept), 'in each database that has it');
is(sequencers(), 'one two', 'and in no other');
is($node->safe_psql('postgres',
	"select string_agg(distinct application_name, ',' order by application_name)"
	  . " from pg_stat_activity where backend_type like 'sentinai%'"),
	'sentinai launcher,sentinai sequencer', 'they show their names');
sequenced_ok('one', 'an event is sequenced');
sequenced_ok('two', 'in the other database too');
poll_ok($node, 'postgres', $unslept,
	"select bool_and(state = 'idle') from pg_stat_activity"
	  . " where backend_type like 'sentinai%'", 'they idle when nothing is to do');

# idle means no writes
my $before = $node->safe_psql('one', 'select pg_current_xact_id()::text::bigint');
$node->safe_psql('one', 'select pg_sleep(2.5)');    # two naps of the sequencer
is($node->safe_psql('one',
	"select pg_current_xact_id()::text::bigint - $before"), '1',
	'an idle sequencer takes no transaction number');

# pg_terminate_backend
my $pid = sequencer_pid($node, 'one', $unslept);
$node->safe_psql('postgres', "select pg_terminate_backend($pid)");
ok(wait_for($unslept, sub {
	my $now = sequencer_pid($node, 'one', 1);
	return $now && $now ne $pid;
}), 'a terminated sequencer is started again');
sequenced_ok('one', 'and works');

my $launcher = $node->safe_psql('postgres',
	"select pid from pg_stat_activity where backend_type = 'sentinai launcher'");
$pid = sequencer_pid($node, 'one', $unslept);
$node->safe_psql('postgres', "select pg_terminate_backend($launcher)");
poll_ok($node, 'postgres', $unslept,
	"select count(*) = 1 from pg_stat_activity"
	  . " where backend_type = 'sentinai launcher' and pid <> $launcher",
	'a terminated launcher is started again');
is(sequencer_pid($node, 'one', $unslept), $pid, 'and leaves the workers alone');
$node->safe_psql('postgres', "select pg_terminate_backend($pid)");
ok(wait_for($unslept, sub {
	my $now = sequencer_pid($node, 'one', 1);
	return $now && $now ne $pid;
}), 'the new launcher looks after the workers of the old one');

# SIGHUP
$pid = sequencer_pid($node, 'one', $unslept);
$node->append_conf('postgresql.conf', 'sentinai.sequencer_naptime = 200ms');
$node->reload;
sequenced_ok('one', 'events are sequenced after a reload');
is(sequencer_pid($node, 'one', $unslept), $pid, 'by the same process');

# the extension goes and comes
$node->safe_psql('one', "set statement_timeout = '30s'; drop extension sentinai");
ok(wait_for($unslept, sub { sequencers() eq 'two' }),
	'DROP EXTENSION: the sequencer leaves');
$node->safe_psql('one', 'create extension sentinai');
ok(sequencer_pid($node, 'one', $unslept), 'CREATE EXTENSION brings it back');
sequenced_ok('one', 'and it works');
$node->safe_psql('one',
	'begin; drop extension sentinai; create extension sentinai; commit');
sequenced_ok('one', 'DROP and CREATE in one transaction');
$node->safe_psql('one',
	"set statement_timeout = '30s'; drop extension sentinai; create extension sentinai")
  for 1 .. 5;
sequenced_ok('one', 'DROP and CREATE again and again');
$node->safe_psql('one',
	"set statement_timeout = '30s'; drop schema sentinai cascade");
ok(wait_for($unslept, sub { sequencers() eq 'two' }),
	'DROP SCHEMA: the sequencer leaves');
$node->safe_psql('one', 'create extension sentinai');
ok(sequencer_pid($node, 'one', $unslept), 'and comes back');

# commands that want a database to themselves
$node->safe_psql('postgres', 'alter database one rename to uno');
sequenced_ok('uno', 'ALTER DATABASE RENAME');
$node->safe_psql('uno', q{
	select sentinai.subscribe('held', start_from => 'earliest');
	call sentinai.wait_for_work('held', '5s', null)});
my $held = $node->safe_psql('uno',
	"select min(event_id::text), count(*), max(attempt) from sentinai.claim('held', 100, '1 hour')");
like($held, qr/\|1$/, 'a batch is open');
is($node->safe_psql('uno', "select sentinai.after_restore();"
	  . " select count(*) from sentinai.claim('held')"), "\n0",
	'after_restore() does nothing where nothing was restored');
$node->safe_psql('postgres', 'create database copy template uno');
ok(sequencer_pid($node, 'copy', $unslept), 'CREATE DATABASE TEMPLATE');
$node->safe_psql('copy', 'select sentinai.after_restore()');
is($node->safe_psql('copy',
	"select min(event_id::text), count(*), max(attempt) from sentinai.claim('held', 100)"),
	$held, 'after_restore() gives leases back, no attempt counted');
$node->safe_psql('copy', 'select sentinai.after_restore()');
is($node->safe_psql('copy', "select count(*) from sentinai.claim('held')"), '0',
	'once');
sequenced_ok('copy', 'the copy works');
sequenced_ok('uno', 'the template too');

# Who publishes first in a copy writes down that it is one.  If that is undone the
# session does not go on as if it were written: nobody would get its events.
foreach my $undo ([ 'savepoint', 'savepoint s', 'rollback to s' ],
	[ 'prepared', 'select', q{prepare transaction 'first'; rollback prepared 'first'; begin} ])
{
	my ($name, $before, $after) = @$undo;

	$node->safe_psql('postgres', "create database undone_$name template uno");
	$node->safe_psql("undone_$name", qq{
		begin; $before;
		select sentinai.publish('Tested', 't', 'undone', '{}');
		$after;
		select sentinai.publish('Tested', 't', 'done', '{}');
		commit});
	poll_ok($node, "undone_$name", $unslept, q{select count(*) = 1 from sentinai.event_log
		join (select unnest(event_ids) as event_id from sentinai_internal.slice where stream_id = 0) s using (event_id)
		where aggregate_id in ('undone', 'done')}, "the first to publish in a copy is undone ($name): his next event is sequenced");
	$node->safe_psql('postgres', "drop database undone_$name");
}
# A sequencer that had to leave for a command did not fail: it comes back at once,
# and not after a pause that doubles each time.
my $until = time() + $unslept;
my $came = 0;
foreach (1 .. 7)
{
	$came++ if wait_for($until - time(), sub { sequencers() =~ /\buno\b/ });
	$node->safe_psql('postgres', 'create database short template uno');
	$node->safe_psql('postgres', 'drop database short');
}
is($came, 7, 'a sequencer is back after each of many commands that it left for');
sequenced_ok('uno', 'and at work');

# dump and restore beside running workers
my $dump = "$PostgreSQL::Test::Utils::tmp_check/uno.dump";
my $slices = 'select count(*), count(distinct id) from sentinai_internal.slice, unnest(event_ids) id where stream_id = 0';
poll_ok($node, 'uno', $unslept, "select count(*) = (select count(*) from sentinai.event_log)"
	  . ' from sentinai_internal.slice, unnest(event_ids) where stream_id = 0', 'all is sequenced');
my $dumped = $node->safe_psql('uno', $slices);
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'uno' ], 'pg_dump');
$node->safe_psql('postgres', 'create database restored');
$node->command_ok([ 'pg_restore', '-e', '-d', 'restored', $dump ], 'pg_restore');
ok(sequencer_pid($node, 'restored', $unslept), 'a restored database has a sequencer');
$node->safe_psql('restored', 'select pg_sleep(1.5)');    # a nap of the sequencer
is($node->safe_psql('restored', $slices), $dumped, 'which leaves old events alone');
$node->safe_psql('restored', 'select sentinai.after_restore()');
is($node->safe_psql('restored',
	"select min(event_id::text), count(*), max(attempt) from sentinai.claim('held', 1)"),
	$held, 'the open batch can be claimed, no attempt counted');
sequenced_ok('restored', 'new events are sequenced');
is($node->safe_psql('restored',
	"select count(*) - count(distinct id) from sentinai_internal.slice, unnest(event_ids) id where stream_id = 0"),
	'0', 'and no old one again');
$node->safe_psql('postgres', 'drop database restored');
$node->safe_psql('postgres', 'drop database copy');
ok(wait_for($unslept, sub { sequencers() eq 'two uno' }), 'DROP DATABASE');
my ($rc, $out, $err) = $node->psql('two',
	q{begin; select sentinai.publish('Tested', 't1', 'x1', '{}'); drop database uno});
isnt($rc, 0, 'DROP DATABASE that fails');
sequenced_ok('uno', 'does no harm');

# a transaction that was prepared
my $id = $node->safe_psql('two', q{
	begin;
	select sentinai.publish('Tested', 't1', 'x2', '{}');
	prepare transaction 'p1'});
sequenced_ok('two', 'others are sequenced while it is prepared');
is($node->safe_psql('two',
	"select count(*) from sentinai_internal.slice where '$id' = any (event_ids)"), '0',
	'a prepared event is not sequenced');
$node->safe_psql('two', "commit prepared 'p1'");
poll_ok($node, 'two', $unslept,
	"select count(*) = 1 from sentinai_internal.slice"
	  . " where stream_id = 0 and '$id' = any (event_ids)",
	'it is after COMMIT PREPARED');

# an error of a turn does not end the process
$pid = sequencer_pid($node, 'two', $unslept);
$node->safe_psql('two', 'set allow_system_table_mods = on; alter table sentinai_internal.stream rename to stream_away');
$id = $node->safe_psql('two',
	"select sentinai.publish('Tested', 't1', 'x3', '{}')");
ok(wait_for($unslept, sub {
	log_count($node, 'relation "sentinai_internal.stream" does not exist') > 0;
}), 'an error is logged');
$node->safe_psql('two', 'set allow_system_table_mods = on; alter table sentinai_internal.stream_away rename to stream');
poll_ok($node, 'two', 3 * $unslept,
	"select count(*) = 1 from sentinai_internal.slice"
	  . " where stream_id = 0 and '$id' = any (event_ids)",
	'the sequencer goes on when the cause is gone');
is(sequencer_pid($node, 'two', $unslept), $pid, 'as the same process');

# a crash restart
my $victim = sequencer_pid($node, 'two', $unslept);
$id = $node->safe_psql('two',
	"select sentinai.publish('Tested', 't1', 'x4', '{}')");
kill 'KILL', $victim;
poll_ok($node, 'two', 3 * $unslept,
	"select count(*) = 1 from sentinai_internal.slice"
	  . " where stream_id = 0 and '$id' = any (event_ids)",
	'after kill -9 of the sequencer its event is in one slice');
sequenced_ok('two', 'and new events follow');

# a standby is quiet, and begins at its promotion
my $backup = $node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres',
	"select count(*) from pg_stat_activity where backend_type like 'sentinai%'"),
	'0', 'no worker runs on a standby');
$node->stop;
$standby->promote;
ok(sequencer_pid($standby, 'two', $unslept), 'a promoted standby sequences');
$id = $standby->safe_psql('two',
	"select sentinai.publish('Tested', 't1', 'x5', '{}')");
poll_ok($standby, 'two', $unslept,
	"select count(*) = 1 from sentinai_internal.slice"
	  . " where stream_id = 0 and '$id' = any (event_ids)", 'its own events');
is($standby->safe_psql('two', q{
	select count(*) from (
		select id from sentinai_internal.slice, unnest(event_ids) id
		where stream_id = 0 group by id having count(*) > 1) x}), '0',
	'and none of the old ones again');
$standby->stop;

# no worker slot is free
my $full = new_node('full', 'max_worker_processes = 2', 'sentinai.launcher_naptime = 1s');
$full->safe_psql('postgres', 'create extension sentinai');
ok(wait_for($unslept, sub {
	log_count($full, 'WARNING:  no background worker slot is free for sentinai');
}), 'a lack of worker slots is logged');
my $id_full = $full->safe_psql('postgres', q{
	select sentinai.subscribe('inline', start_from => 'earliest');
	select sentinai.publish('Tested', 't1', 'x1', '{}')});
is($full->safe_psql('postgres', "select event_id::text from sentinai.claim('inline')"),
	$id_full =~ s/^\n//r, 'claim() takes its rounds itself then');
is(log_count($full, 'no background worker slot is free'), 1, 'logged once');
$full->stop;

done_testing();
