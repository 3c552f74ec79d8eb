# pg_dump of a part of the database, and of a standby, as the page on operations
# says: it never crashes, and what it says can be restored can.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 40;    # seconds within which anything here has to happen
my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('primary', 'sentinai.launcher_naptime = 1s', 'sentinai.journal_size = 64kB',
	'sentinai.maintenance_interval = 1s');

# dump(NODE, NAME, OPTION...): into a file of that name
sub dump_ok
{
	my ($from, $name, @options) = @_;

	$from->command_ok([ 'pg_dump', @options, '-f', "$dir/$name", 'app' ], "pg_dump @options");
	return;
}

# restore_ok(DATABASE, NAME...): what was dumped goes into a new database
sub restore_ok
{
	my ($db, $prepare, @names) = @_;

	$node->safe_psql('postgres', "create database $db");
	$node->safe_psql($db, $prepare) if $prepare;
	$node->command_ok([ 'psql', '-Xq1', '-v', 'ON_ERROR_STOP=1', '-d', $db, '-f', "$dir/$_" ], "restore $_")
	  foreach @names;
	return;
}

# state(NODE, DATABASE): what a subscription has done and what it has before it
sub state
{
	my ($on, $db) = @_;

	return $on->safe_psql($db, q{
		select worker_type, lag_events, in_flight, retrying, dead, completed_count, failed_count
		from sentinai.stat_queue order by 1});
}

# whole_ok(DATABASE, NAME): every event is in one slice, once it is in use
sub whole_ok
{
	my ($db, $name) = @_;

	$node->safe_psql($db, q{
		select sentinai.after_restore();
		select sentinai.publish('A', 't', 'k1', '{}')});
	poll_ok($node, $db, $unslept, q{
		select not exists (
			select event_id from sentinai.event_log
			except all select id from sentinai_internal.slice, unnest(event_ids) id where stream_id = 0)
		and not exists (
			select id from sentinai_internal.slice, unnest(event_ids) id where stream_id = 0
			group by id having count(*) > 1)}, $name);
	return;
}

# once_ok(DATABASE, NAME): what was completed does not come again, the rest does
sub once_ok
{
	my ($db, $name) = @_;

	$node->safe_psql($db, q{
		create table before as select event_id from sentinai.event_processing where worker_type = 'all';
		create table again (event_id uuid)});
	ok(wait_for($unslept, sub {
		return $node->safe_psql($db, q{
			with c as materialized (select * from sentinai.claim('all', 5000)),
				i as (insert into again select event_id from c)
			select sentinai.complete(token) from (select distinct token from c) t;
			select not exists (
				select event_id from sentinai.event_log
				where payload -> 'worker_type' is distinct from '"all"'
				except select event_id from before except select event_id from again
				except select event_id from sentinai_internal.event_retry
				except select event_id from sentinai.dead_letter)}) =~ /^t$/m;
	}), "$name: what was not completed comes");
	is($node->safe_psql($db, q{
		select count(*) - count(distinct event_id), count(before.event_id)
		from again left join before using (event_id)}), '0|0', "$name: once, and nothing else");
	return;
}

$node->safe_psql('postgres', 'create database app');
$node->safe_psql('app', q{
	create table mine (i int);
	insert into mine values (1);
	create extension sentinai;
	select sentinai.subscribe('all');
	select sentinai.publish('A', 't', 'k' || i % 7, '{}') from generate_series(1, 60) i});
poll_ok($node, 'app', $unslept, "select lag_events = 60 from sentinai.stat_queue where worker_type = 'all'",
	'all is sequenced');
$node->safe_psql('app', q{
	select sentinai.complete(min(token)) from sentinai.claim('all', 20);
	select sentinai.fail(token, event_id, 'later', retry_in => '1 h') from sentinai.claim('all', 1);
	select sentinai.fail(token, event_id, 'never', retryable => false) from sentinai.claim('all', 1)});

# whatever is selected, there is a dump
dump_ok($node, 'part', @$_)
  foreach [ '-n', 'sentinai' ], [ '-n', 'sentinai*' ], [ '-n', 'sentinai*', '-a' ], [ '-n', 'sentinai*', '-s' ],
  [ '-n', 'public' ], [ '-N', 'sentinai' ], [ '-N', 'sentinai*', '-a' ],
  [ '-t', 'sentinai*.event_log' ], [ '-t', 'sentinai*.event_log_2*' ], [ '-t', 'sentinai*.round_0' ],
  [ '-t', 'sentinai*.lane_state*' ], [ '-t', 'sentinai*.*' ], [ '-T', 'sentinai*.*' ],
  [ '-T', 'sentinai*.slice*' ], [ '-t', 'mine' ], [ '-e', 'sentinai' ];

# the schema, then the data
dump_ok($node, 'schema', '-s');
dump_ok($node, 'data', '-a');
restore_ok('twice', '', 'schema', 'data');
is(state($node, 'twice'), state($node, 'app'), 'schema and data are the whole');
whole_ok('twice', 'and it goes on');

# without the queue
dump_ok($node, 'without', '-N', 'sentinai*');
restore_ok('without', 'create schema sentinai', 'without');
is($node->safe_psql('without', 'select count(*) from mine'), '1', 'what is beside the extension is there');
is(state($node, 'without'), '', 'the extension is new');
$node->safe_psql('without', q{select sentinai.subscribe('all', start_from => 'earliest')});
whole_ok('without', 'and works');
poll_ok($node, 'without', $unslept, 'select lag_events = 1 from sentinai.stat_queue', 'with what is published there');

# Roles that are not there: what they were granted is for nobody, and others have theirs.
$node->safe_psql('app', q{
	create role "Gone, it is"; create role gone; create role stays;
	grant usage on schema sentinai to stays;
	grant execute on all functions in schema sentinai to stays;
	select sentinai.subscribe('closed'), sentinai.subscribe('open');
	select sentinai.grant_work(r, 'closed') from unnest('{gone,"Gone, it is"}'::name[]) r;
	select sentinai.grant_tenant(r, 't', 'publish') from unnest('{gone,"Gone, it is",stays}'::name[]) r;
	select sentinai.require_proof(r, true) from unnest('{gone,"Gone, it is",stays}'::name[]) r});
dump_ok($node, 'roles');
$node->safe_psql('app', q{
	select sentinai.require_proof(r, false), sentinai.revoke_tenant(r, 't', 'publish')
	from unnest('{gone,"Gone, it is",stays}'::name[]) r;
	select sentinai.revoke_work(r, 'closed') from unnest('{gone,"Gone, it is"}'::name[]) r;
	drop role "Gone, it is"; drop role gone});
restore_ok('roles', '', 'roles');

# refused(WHEN): what the role that is there may not do
sub refused
{
	my ($when) = @_;

	like(($node->psql('roles', "set sentinai.tenant_isolation = $_->[0]; set role stays; $_->[1]"))[2],
		qr/ERROR:  $_->[2]/, "$_->[1]: refused $when")
	  foreach [ 'on', q{select sentinai.publish('A', 't', 'k', '{}')}, 'tenant_id is not one the caller may publish for' ],
	  [ 'off', q{select * from sentinai.claim('closed')}, 'worker_type is not one the caller may work for' ];
	return;
}
refused('at once');
$node->safe_psql('roles', 'select sentinai.maintain()');
is($node->safe_psql('roles', q{
	select (select string_agg(role::text || ' ' || worker_type, ',') from sentinai.work_grants) || ' '
		|| (select string_agg(role::text || ' ' || tenant_id, ',') from sentinai.tenant_grants) || ' '
		|| (select string_agg(role::text, ',') from sentinai_internal.proof_role)}),
	'- closed stays t stays', 'what is for nobody goes');
refused('after that');
$node->safe_psql('roles', q{select sentinai.require_proof('stays', false), sentinai.grant_work('stays', 'closed')});
is($node->safe_psql('roles', q{set sentinai.tenant_isolation = on; set role stays; select sentinai.publish('A', 't', 'k', '{}') is not null;
	reset role; set sentinai.tenant_isolation = off; set role stays;
	select count(*) >= 0 from sentinai.claim('closed')}), "t\nt", 'and can be granted again');

# while the journals turn: of the primary, and of a standby
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = 1s\nhot_standby_feedback = off");
$standby->start;
$node->safe_psql('app', q{
	create table stop ();
	create function turns() returns text language sql return
		(pg_relation_size('sentinai_internal.lane_state_0') > 0) || '' || (pg_relation_size('sentinai_internal.lane_state_1') > 0);
	create procedure churn() language plpgsql as $$
	begin
		while to_regclass('stop') is not null loop
			perform sentinai.publish('A', 't', 'k' || i, '{}') from generate_series(1, 20) i;
			commit;
			perform sentinai.complete(token) from (select distinct token from sentinai.claim('all', 100)) t;
			commit;
		end loop;
	end $$});
my $churn = IPC::Run::start([ 'psql', '-Xq', '-d', $node->connstr('app'), '-c', 'call churn()' ]);
my @dumps;

# a half that is emptied has another file then
my $journals = q{select string_agg(relfilenode::text, ' ' order by relname) from pg_class where relname ~ '^(lane_state|round)_[01]$'};
foreach my $i (1 .. 4)
{
	my $was = $node->safe_psql('app', 'select turns()');

	poll_ok($node, 'app', $unslept, "select turns() <> '$was'", 'a journal turns');
	dump_ok($node, "primary$i");

	# not paused it may be cancelled, and that is all; but what took a while on
	# the primary may be one moment of a standby that catches up, so that a half may
	# be emptied before a slow dump has its lock (docs/operations.md)
	$node->wait_for_catchup($standby);
	my $files = answer($standby, 'app', $journals) // '';
	push @dumps, "running$i" if run_log([ 'pg_dump', '-f', "$dir/running$i", '-d', $standby->connstr('app') ])
	  && (answer($standby, 'app', $journals) // '') eq $files;
	$standby->safe_psql('app', 'select pg_wal_replay_pause()');
	poll_ok($standby, 'app', $unslept, "select pg_get_wal_replay_pause_state() = 'paused'", 'replay is paused');
	dump_ok($standby, "standby$i");
	$standby->safe_psql('app', 'select pg_wal_replay_resume()');
	push @dumps, "primary$i", "standby$i";
}
$node->safe_psql('app', 'drop table stop');
$churn->finish;
foreach my $name (@dumps)
{
	restore_ok($name, '', $name);
	whole_ok($name, "$name: every event is in one slice");
	once_ok($name, $name);
}
$standby->stop;

is(log_count($node, qr/PANIC:|terminated by signal/), 0, 'nothing crashed');
$node->stop;
done_testing();
