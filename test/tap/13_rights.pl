# Nobody has more rights than SECURITY.md says, nothing is added to the tables
# of the extension, and what runs there runs as their owner.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 30;    # seconds within which anything here has to happen
my $node = new_node('rights', 'sentinai.launcher_naptime = 1s', 'wal_level = logical',
	'max_worker_processes = 30');

sub sql { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }

# state_of(SQL, DB): in another database, if it is named
sub state_of { return state_in($node, $_[1] // 'postgres', $_[0]); }

# What anybody but the owner may do; everybody may name a type.
my $rights = q{
	select string_agg(line, E'\n' order by line collate "C") from (
		select case a.grantee when 0 then 'public' else a.grantee::regrole::text end || ' '
			|| a.privilege_type || ' ' || o.name
		from (select 'c', oid::regclass::text, relowner, relacl from pg_class
				where relnamespace in ('sentinai'::regnamespace, 'sentinai_internal'::regnamespace)
					and relkind in ('r', 'p', 'v', 'f', 'S')
			union all select 'f', proname, proowner, coalesce(proacl, acldefault('f', proowner)) from pg_proc
				where pronamespace in ('sentinai'::regnamespace, 'sentinai_internal'::regnamespace)
			union all select 't', oid::regtype::text, typowner, typacl from pg_type
				where typnamespace in ('sentinai'::regnamespace, 'sentinai_internal'::regnamespace)
			union all select 'n', nspname, nspowner, nspacl from pg_namespace where nspname like 'sentinai%'
			union all select 'a', attrelid::regclass::text || '.' || attname, 0, attacl from pg_attribute
				where attrelid in (select oid from pg_class where relnamespace in
					('sentinai'::regnamespace, 'sentinai_internal'::regnamespace))
			) o (kind, name, owner, acl)
			cross join lateral aclexplode(o.acl) a
		where a.grantee <> o.owner and not (kind = 't' and a.grantee = 0)) x (line)};
my $granted = join "\n", sort
	'pg_monitor USAGE sentinai',
	(map { "pg_monitor SELECT sentinai.$_" } qw(stat_agent stat_info stat_lane stat_queue stat_relay stat_relay_topic stat_retry)),
	(map { "pg_monitor EXECUTE $_" } qw(partitions_until relay_is_paused relay_is_paused retention_status stat_claimed stat_clock stat_failures
		  stat_lag stat_lane_state stat_rate stat_round stat_relays stat_server)),
	(map { "public EXECUTE $_" } qw(act_as event_time get_partition_key limit_time may may_audit
		  may_read may_see_letter may_see_limit may_see_worker_type partition_for partition_hash time_is_over validate_json));

sql('create extension sentinai');
is(sql($rights), $granted, 'the rights after CREATE EXTENSION');

# Who is admin and owns nothing: the owner grants, and no warning (01007) says that nobody did.
sql('create database admins');
sql('create extension sentinai; select sentinai.create_roles(); create role admin_of_all in role sentinai_admin;
	revoke all on all functions in schema sentinai from sentinai_publisher', 'admins');
my (undef, undef, $warned) = $node->psql('admins', 'set role admin_of_all; select sentinai.create_roles()');
is($warned, '', 'who is admin makes the roles');
is(sql(q{select has_function_privilege('sentinai_publisher', 'sentinai.meet_deadline(text,text,text)', 'execute')}, 'admins'), 't', 'and what they may');
sql('drop database admins');
sql(join ';', 'drop role admin_of_all', map { "drop role sentinai_$_" } qw(publisher agent reader operator auditor relay admin));

# whatever was granted beforehand
sql('create role greedy; create role giver superuser; create database given');
sql(join('', 'set role giver;', map {
	"alter default privileges grant all on $_ to greedy with grant option;"
	. "alter default privileges grant all on $_ to public;" } qw(schemas tables routines sequences types)), 'given');
sql(q{create schema sentinai authorization giver; grant all on schema sentinai to greedy, public}, 'given');
sql(q{set role giver; create extension sentinai}, 'given');
is(sql($rights, 'given'), $granted, 'the same where default privileges, and those of a schema, gave more');
is(sql(q{select sentinai.make_partitions(now() + interval '3 days') > 0}, 'given'), 't', 'partitions are made later');
is(sql(q{select string_agg(distinct c.relname || ' ' || a.grantee::regrole, ', ') from pg_class c cross join aclexplode(c.relacl) a
	where c.relnamespace = 'sentinai_internal'::regnamespace and a.grantee <> c.relowner}, 'given'), '', 'and give nobody more either');
is(sql(q{grant usage on schema sentinai_internal to greedy;
	select count(*) > 10, count(*) filter (where has_table_privilege('greedy', oid, 'select')
		or has_any_column_privilege('greedy', oid, 'select')) from pg_class
	where relnamespace = 'sentinai_internal'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')}, 'given'), 't|0',
	'so nobody reads a table or a partition, also if he gets into the schema');

# what is not ours is refused
sql(q{
	select sentinai.make_partitions(now());
	create function public.noise() returns trigger language plpgsql as 'begin return new; end';
	create table public.child (like sentinai_internal.event_log);
	create table sentinai_internal.noisy (like sentinai_internal.event_log);
	alter table sentinai_internal.noisy owner to postgres;
	create role poor;
	grant usage on schema sentinai to poor});
my $part = sql(q{select max(inhrelid::regclass::text) from pg_inherits
	where inhparent = 'sentinai_internal.event_log'::regclass});
foreach my $table ($part, 'sentinai_internal.event_log', 'sentinai_internal.round_0', 'sentinai.event_log', 'sentinai.outbox')
{
	foreach my $sql ("create rule r as on insert to $table do also nothing",
		"create trigger t after insert on $table for each statement execute function public.noise()")
	{
		is(state_of($sql), '0A000', "refused: $sql");
		is(state_of("set role poor; $sql"), '42501', 'and to who does not own it');
	}
}
foreach my $sql (
	"create policy p on $part", "alter table $part enable row level security",
	"alter table $part add check (run > -3)", "alter table $part add unique (txid)",
	"alter table sentinai_internal.event_log_root add column mine int",
	"alter table $part alter column payload type json", "alter table sentinai_internal.node rename node_no to no",
	"alter table $part disable trigger refuse_change", "alter table $part disable trigger all",
	"alter table $part enable replica trigger refuse_change", "drop trigger refuse_change on $part",
	"alter table $part set schema public", "alter table $part set unlogged",
	"create index on $part (lower(tenant_id))", "create index on $part ((1 / partition_hash))",
	"create index on $part (txid) where partition_hash > 0", "create unique index on $part (txid)",
	"create index concurrently on $part (lower(tenant_id))",
	"create table public.inheritor () inherits (sentinai_internal.event_retry)",
	"create foreign table public.inheritor () inherits (sentinai.outbox) server sentinai_outbox",
	"create foreign table sentinai_internal.f partition of sentinai_internal.event_log for values from ('f0000000-0000-0000-0000-000000000000') to ('f1000000-0000-0000-0000-000000000000') server sentinai_outbox",
	"create or replace view sentinai.event_log as select * from sentinai_internal.event_log_root where false",
	"set search_path = sentinai; create or replace view dead_letter as select 1",
	"create table public.referrer (e uuid references sentinai_internal.event_kept)",
	"alter table public.child add foreign key (event_id) references $part",
	"create table public.p partition of sentinai_internal.event_log for values from ('f0000000-0000-0000-0000-000000000000') to ('f1000000-0000-0000-0000-000000000000')",
	"alter table sentinai_internal.event_log attach partition public.child for values from ('f0000000-0000-0000-0000-000000000000') to ('f1000000-0000-0000-0000-000000000000')")
{
	is(state_of($sql), '0A000', "refused: $sql");
}
sql(q{set allow_system_table_mods = on; alter table sentinai_internal.noisy add check (run > 0)});
is(state_of(q{alter table sentinai_internal.event_log attach partition sentinai_internal.noisy
	for values from ('f0000000-0000-0000-0000-000000000000') to ('f1000000-0000-0000-0000-000000000000')}), '0A000',
	'nor does a partition bring it along');
foreach my $sql ("create index on $part (occurred_at)", "create index concurrently on $part (correlation_id)",
	"alter table $part set (fillfactor = 90)", "reindex table $part", "alter table $part alter tenant_id set statistics 200",
	'create table public.copy (like sentinai.event_log)',
	'set search_path = public, sentinai; create or replace view event_log as select 1; drop view public.event_log',
	'set search_path = sentinai; create or replace temp view event_log as select 1')
{
	is(state_of($sql), '00000', "no harm: $sql");
}
is(state_of(q{create extension pgcrypto; create table public.other (a int check (a > 0), b text unique);
	create index on public.other (lower(b)); create trigger t before insert on public.other execute function public.noise()}),
	'00000', 'what has nothing to do with us is let through');

# who may do nothing does not stand in anybody's way while he is told so
my $writer = $node->background_psql('postgres');
$writer->query_safe(q{begin;
	insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('t', 'a', 'Tested', '{}')});
is(state_of("set role poor; set lock_timeout = '1 min'; $_"), '42501', "at once: $_") foreach
	'create rule r as on insert to sentinai.outbox do also nothing',
	'create trigger t after insert on sentinai.outbox for each statement execute function public.noise()';
$writer->query_safe('commit');
$writer->quit;

# Who may only name things locks what views name, as weakly as PostgreSQL can.
# That stops nobody's work: only who changes the definition of these tables.
sql(q{select sentinai.subscribe('named', '{Named}'), sentinai.publish('Named', 't', 'k' || i, '{}') from generate_series(1, 3) i});
my $namer = $node->background_psql('postgres');
$namer->query_safe(q{
	set role poor;
	begin;
	do $$
	declare
		v regclass;
		command text;
	begin
		for v in select oid from pg_class where relnamespace = 'sentinai'::regnamespace and relkind in ('v', 'f') loop
			foreach command in array array['select * from %s', 'select * from %s for update', 'delete from %s',
				'insert into %s default values', 'update %s set tenant_id = null'] loop
				begin
					execute format('prepare %I as ' || command, v || command, v);
				exception when others then null;
				end;
			end loop;
		end loop;
	end $$});
is(sql(q{
	select count(*) > 9, string_agg(distinct c.relname, ' ') filter (where c.relispartition or c.relname ~ '_[01]$')
	from pg_locks l join pg_class c on c.oid = l.relation
	where c.relnamespace = 'sentinai_internal'::regnamespace and l.mode <> 'AccessExclusiveLock'
		and l.pid in (select pid from pg_stat_activity where state = 'idle in transaction')}),
	't|', 'neither a partition, nor what they hang on, nor a journal');
is(state_of("set lock_timeout = '5s'; $_"), '00000', "whom that does not keep: $_") foreach (
	q{select sentinai.publish('Named', 't', 'a', '{}'), sentinai.publish_batch('{Named}', '{t}', '{b}', '{"{}"}')},
	q{insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('t', 'c', 'Named', '{}')},
	q{select sentinai.fail(token, event_id, 'no', i > 1) from (select *, row_number() over () i from sentinai.claim('named')) c},
	q{select sentinai.retry_dead_letter(event_id, 'named', 'me') from sentinai.dead_letter where worker_type = 'named'},
	q{select sentinai.complete(token) from (select distinct token from sentinai.claim('named')) c},
	q{select sentinai.purge_dead_letters(now())},
	q{select sentinai.subscribe('late', start_from => 'earliest'); select sentinai.alter_subscription('late', event_types => '{Named}')},
	q{select count(*) from sentinai.claim('late'); select sentinai.unsubscribe('late')},
	q{select sentinai.make_partitions(now() + interval '9 days') > 0},
	q{select sentinai.maintain()},
	q{begin; lock table sentinai_internal.event_log, sentinai_internal.event_processing, sentinai_internal.slice in access exclusive mode},
	q{begin; lock table sentinai_internal.round_0, sentinai_internal.round_1, sentinai_internal.lane_state_0, sentinai_internal.lane_state_1 in access exclusive mode},
	q{select sentinai.pause_relay(); select sentinai.resume_relay()},
	q{vacuum (analyze) sentinai_internal.event_retry});
is(state_of("set lock_timeout = '100ms'; $_"), '55P03', "whom it does: $_") foreach
	'drop extension sentinai', 'vacuum full sentinai_internal.event_retry',
	'reindex table concurrently sentinai_internal.event_retry';
$namer->query_safe('rollback');
$namer->quit;

# a row of the log stays, whichever way is tried
my $tested = sql(q{select sentinai.publish('Tested', 't', 'a', '{}')});
my $its = sql("select tableoid::regclass from sentinai_internal.event_log where event_id = '$tested'");
is(state_of("set allow_system_table_mods = on; alter table $its disable trigger refuse_change;"
	  . " set session_replication_role = $_; update $its set run = 0"), 'SN409', "row by row, as $_")
  foreach qw(origin replica);
is(state_of('delete from sentinai.event_log where false'), 'SN409', 'and where no row is meant');

# who installed it, and has lost his rights, gets no others by it
sql(q{create database lost; create role loser superuser});
sql(q{
	set role loser;
	create extension sentinai;
	create table public.who (name text);
	create function public.act() returns int language plpgsql as $$
	begin
		insert into public.who values (current_user);
		execute 'alter role loser superuser';
		return 1;
	exception when insufficient_privilege then
		insert into public.who values (current_user);
		return 1;
	end $$;
	create function public.trap(anyelement) returns int language plpgsql immutable as 'begin return public.act(); end';
	select sentinai.make_partitions(now());
	set allow_system_table_mods = on;
	create index on sentinai_internal.stream (public.trap(first_round));
	do $$
	declare p regclass;
	begin
		for p in select inhrelid from pg_inherits where inhparent = 'sentinai_internal.event_log'::regclass loop
			execute format('create index on %s (public.trap(txid))', p);
		end loop;
	end $$;
	reset role;
	alter role loser nosuperuser;
	truncate public.who}, 'lost');
sql(q{
	select sentinai.subscribe('trapped', '{Tested}', start_from => 'earliest');
	select sentinai.publish('Tested', 't', 'k' || i, '{}') from generate_series(1, 3) i}, 'lost');
poll_ok($node, 'lost', $unslept, 'select last_round is not null and unsequenced_commits = 0 from sentinai.stat_info',
	'rounds go on without his rights');
is(sql(q{select count(*) from sentinai.claim('trapped')}, 'lost'), '3', 'and claims');
is(sql(q{select sentinai.make_partitions(now() + interval '5 days') > 0}, 'lost'), 't', 'and partitions');
poll_ok($node, 'lost', $unslept, 'select failing_steps is null from sentinai.stat_info', 'nothing fails');
is(sql('select string_agg(distinct name, $$ $$), count(*) >= 4 from public.who', 'lost'), 'loser|t',
	'his code ran as himself, for publishers and in a round');
is(sql('select rolsuper from pg_roles where rolname = $$loser$$'), 'f', 'and brought him nothing');
$node->stop;
done_testing();
