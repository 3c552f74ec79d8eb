# What the sequencer's process fails to do: an error ends its step only, the
# rest goes on, and stat_info tells.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 30;    # seconds within which anything here has to happen
my $db = 'postgres';
my $ahead = 3;
my $node = new_node('steps', 'sentinai.launcher_naptime = 1s',
	'sentinai.maintenance_interval = 1s', 'sentinai.retention = -1');

# sequenced_ok: an event published now is in a slice before the deadline
sub sequenced_ok
{
	my ($name) = @_;
	my $id = $node->safe_psql($db, "select sentinai.publish('Tested', 't1', 'x1', '{}')");

	poll_ok($node, $db, $unslept, "select count(*) = 1 from sentinai_internal.slice"
		  . " where stream_id = 0 and '$id' = any (event_ids)", $name);
	return;
}

# partitions_ok: maintenance makes partitions
sub partitions_ok
{
	my ($name) = @_;

	$ahead += 2;
	$node->safe_psql($db, "alter system set sentinai.partitions_ahead = $ahead");
	$node->reload;
	poll_ok($node, $db, $unslept,
		"select count(*) > $ahead from pg_inherits where inhparent = 'sentinai_internal.event_log'::regclass", $name);
	return;
}

sub failing_ok
{
	my ($condition, $name) = @_;

	poll_ok($node, $db, $unslept,
		"select coalesce(bool_or($condition), false) from sentinai.stat_info", $name);
	return;
}

$node->safe_psql($db, 'create extension sentinai');
sequenced_ok('events are sequenced');
failing_ok('failing_steps is null and failing_since is null and failing_count is null', 'nothing fails');
partitions_ok('partitions are made');
my $pid = sequencer_pid($node, $db, $unslept);

# partitions that cannot be made
$ahead += 2;
$node->safe_psql($db, qq{
	create table sentinai_internal.slice_old partition of sentinai_internal.slice for values from (0) to (16384);
	alter table sentinai_internal.slice_old add primary key (stream_id, lane, slice_no);
	create function no_tables() returns event_trigger language plpgsql as
		'begin raise exception \$\$tables are frozen\$\$ using detail = \$\$until Monday\$\$; end';
	create event trigger no_tables on ddl_command_start when tag in ('CREATE TABLE') execute function no_tables();
	alter system set sentinai.partitions_ahead = $ahead});
$node->reload;
failing_ok(q{failing_steps = '{partitions}' and failing_count >= 3 and failing_error ~ '^P0001 .*frozen'},
	'a step that fails is told, with its SQLSTATE and how often');
is($node->safe_psql($db, q{
	select f.failing_since < last_failure_at, next_try_at - last_failure_at >= '3.9 s', f.failing_since = i.failing_since
	from sentinai.stat_failures() f, sentinai.stat_info i where step = 'partitions'}), 't|t|t',
	'since when, and it is tried less and less often');
is($node->safe_psql($db, q{select partitions_until > now() + interval '1 day' from sentinai.stat_info}), 't',
	'long before there are none for new events');
cmp_ok(log_count($node, 'WARNING:  there are partitions for new events until \d{4}-'), '>=', 1, 'and a warning says until when');
is($node->safe_psql($db, "select error ~ 'Monday' from sentinai.stat_failures()"), 'f',
	'without the details');
is(sequencer_pid($node, $db, $unslept), $pid, 'the process lives');
sequenced_ok('events are sequenced');
my ($rc, $out, $err) = $node->psql($db, 'select sentinai.maintain()');
is($rc, 0, 'maintain() does the other steps');
like($err, qr/WARNING:  maintenance of sentinai failed in step "partitions"/, 'and warns');
$node->safe_psql($db, q{alter system set sentinai.retention = '1 min'});
$node->reload;
poll_ok($node, $db, $unslept, "select to_regclass('sentinai_internal.slice_old') is null",
	'the steps behind it go on');
is(sequencer_pid($node, $db, $unslept), $pid, 'in the same process');
# told by the sequencer and by maintain(), and again after the reload
cmp_ok(log_count($node, 'ERROR:  tables are frozen'), '<=', 2, 'the log has it once for each reload');
$node->safe_psql($db, 'drop event trigger no_tables');
$node->reload;
failing_ok('failing_steps is null', 'when the cause is gone, it is over');
poll_ok($node, $db, $unslept,
	"select count(*) > $ahead from pg_inherits where inhparent = 'sentinai_internal.event_log'::regclass", 'and done');

# what fails in maintain() alone is over when the sequencer's process has done it
$node->safe_psql($db, q{
	create function no_caller() returns event_trigger language plpgsql as
		'begin if current_setting($$application_name$$) = $$caller$$ then raise $$not for him$$; end if; end';
	create event trigger no_caller on ddl_command_start execute function no_caller();
	alter system set sentinai.maintenance_interval = '1h'});
$node->reload;
# The process may do the pass that was due, and be the first to make them; after
# that it does none for an hour.
ok(wait_for($unslept, sub {
	$ahead += 2;
	$node->safe_psql($db, "alter system set sentinai.partitions_ahead = $ahead");
	reload_now($node, $unslept);
	$node->safe_psql($db, q{
		set application_name = caller;
		set client_min_messages = error;
		select sentinai.maintain()});
	return $node->safe_psql($db, q{select coalesce(failing_steps = '{partitions}' and failing_error ~ 'not for him', false)
		from sentinai.stat_info}) eq 't';
}), 'maintain() tells what fails in it');
$node->safe_psql($db, q{
	alter system set sentinai.maintenance_interval = '1s';
	drop event trigger no_caller});
$node->reload;
failing_ok('failing_steps is null', 'which the process does next');

# a lock that somebody has: nobody waits for it but the step
$node->safe_psql($db, q{
	begin;
	lock table sentinai_internal.event_log in share update exclusive mode;
	prepare transaction 'lock'});
$ahead += 2;
$node->safe_psql($db, "alter system set sentinai.partitions_ahead = $ahead");
$node->reload;
failing_ok(q{failing_steps = '{partitions}' and failing_error ~ '^55P03 '},
	'a lock that is taken');
sequenced_ok('keeps no round waiting');

# a cancel while maintain() waits for it takes back what a caller's savepoint has done, and no more
is($node->safe_psql($db, q{
	create table did (n int);
	set statement_timeout = '50ms';
	do $$
	begin
		insert into did values (1);
		begin
			insert into did values (2);
			perform sentinai.maintain();
		exception when query_canceled then
			insert into did values (3);
		end;
	end $$;
	reset statement_timeout;
	select string_agg(n::text, ' ') from did}), '1 3', 'a caller who catches a cancel of maintain() has lost his savepoint alone');
($rc, $out, $err) = $node->psql($db, "set statement_timeout = '50ms'; select sentinai.maintain(); select 'goes on'",
	on_error_stop => 0);
is($out, 'goes on', 'who does not catch it has no transaction that is open');
like($err, qr/ERROR:  canceling statement due to statement timeout/, 'and is told');
$node->safe_psql($db, "rollback prepared 'lock'");
$node->reload;
failing_ok('failing_steps is null', 'until it is free');
$node->safe_psql($db, q{
	begin;
	lock table sentinai_internal.event_log in share update exclusive mode;
	prepare transaction 'lock'});
is($node->safe_psql($db, "set lock_timeout = '1 ms'; set client_min_messages = error;"
	  . " select sentinai.maintain(); select failing_steps is null from sentinai.stat_info"), "\nt",
	'nobody needs the lock when there is nothing to make');
$node->safe_psql($db, "rollback prepared 'lock'");

# rounds fail, maintenance goes on
$node->safe_psql($db, 'set allow_system_table_mods = on; alter table sentinai_internal.stream rename to stream_away');
my $id = $node->safe_psql($db, "select sentinai.publish('Tested', 't1', 'x3', '{}')");
failing_ok(q{'rounds' = any (failing_steps) and failing_error ~ '^42P01 '}, 'rounds that fail are told');
partitions_ok('partitions are made meanwhile');
$node->safe_psql($db, 'set allow_system_table_mods = on; alter table sentinai_internal.stream_away rename to stream');
$node->reload;
failing_ok('failing_steps is null', 'rounds go well again');
poll_ok($node, $db, $unslept, "select count(*) = 1 from sentinai_internal.slice"
	  . " where stream_id = 0 and '$id' = any (event_ids)", 'and have what was published meanwhile');
is(sequencer_pid($node, $db, $unslept), $pid, 'in the same process');

# what failed in one life of the extension is nothing to the next
$node->safe_psql($db, 'set allow_system_table_mods = on; alter table sentinai_internal.stream rename to stream_away');
failing_ok(q{failing_steps is not null or sentinai.publish('Tested', 't1', 'x3', '{}') is null}, 'rounds fail');
$node->safe_psql($db, "set statement_timeout = '60s'; drop extension sentinai; create extension sentinai");
failing_ok('failing_steps is null', 'a new life begins well');
sequenced_ok('and works');
$node->stop;
done_testing();
