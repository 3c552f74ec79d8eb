# Of the extension's objects only what DBAs need can be altered: where and how
# tables are stored, statistics, and by a superuser the owner. An owner who is no
# superuser any more takes nothing apart and puts no code of his in its place.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $node = new_node('alter', 'sentinai.launcher_naptime = 1s', 'allow_in_place_tablespaces = on');

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

sub state_of { return state_in($node, 'postgres', $_[0]); }

sql(q{
	create role loser superuser;
	create role buyer;
	create role poor;
	set role loser;
	create extension sentinai;
	select sentinai.make_partitions(now());
	select sentinai.publish('Tested', 't', 'a', '{}');
	create function public.noise() returns trigger language plpgsql as 'begin return new; end';
	reset role;
	create extension pgcrypto});
sql(q{create tablespace elsewhere location ''});
sql('grant create on tablespace elsewhere, pg_default to loser; grant usage on schema sentinai to poor; grant buyer to loser; grant create on schema public to loser');
my $part = sql(q{select min(inhrelid::regclass::text) from pg_inherits
	where inhparent = 'sentinai_internal.event_log'::regclass});

# what a table of ours, made by the script or at run time, refuses
my @table_forms = (
	'add column mine int', 'drop column payload', 'alter column payload type json', 'alter payload drop not null',
	'alter causation_id set not null', q{alter tenant_id set default 'x'}, 'alter txid drop default',
	'alter txid add generated always as identity', 'alter payload set storage external, alter causation_id set not null',
	'add check (txid > 0)', 'add constraint mine unique (txid)', 'drop constraint if exists mine', 'set without oids, set unlogged',
	'set access method heap', 'set schema public', 'rename to mine', 'rename payload to mine', 'set (user_catalog_table = true)',
	'reset (user_catalog_table)', 'inherit public.parent', 'no inherit public.parent', 'of public.kind', 'not of',
	'enable row level security', 'disable trigger refuse_change', 'enable rule mine', 'validate constraint mine');
sql(q{create table public.parent (); create type public.kind as (a int)});
foreach my $table ($part, 'sentinai_internal.event_log', 'sentinai_internal.event_log_root',
	'sentinai_internal.event_kept', 'sentinai_internal.dead_letter')
{
	foreach my $form (@table_forms)
	{
		is(state_of("alter table $table $form"), '0A000', "refused: $form of $table");
		next if $table ne $part;
		is(state_of("set role loser; alter table $table $form"), '0A000', 'and to its owner');
		is(state_of("set role poor; alter table $table $form"), '42501', 'others are told nothing else');
	}
}

# what else could be in the way, by name
my $name = $part =~ s/.*\.//r;
my @others = (
	"alter table $part drop constraint ${name}_pkey", "alter table sentinai_internal.event_log detach partition $part",
	"alter table sentinai_internal.event_log detach partition $part concurrently",
	"alter table sentinai_internal.event_log detach partition $part finalize",
	"drop table $part", "drop table if exists public.none, $part cascade",
	"alter table $part rename constraint ${name}_pkey to mine", "alter trigger refuse_change on $part rename to mine",
	"alter index ${part}_pkey rename to mine", "alter table ${part}_pkey rename to mine",
	"create or replace trigger refuse_change before update or delete or truncate on $part for each statement"
	  . ' when (false) execute function sentinai.refuse_change()',
	"create or replace trigger refuse_change before update on $part for each statement execute function sentinai.refuse_change()",
	'alter view sentinai.event_log rename to mine', 'alter view sentinai.event_log set (security_invoker = true)',
	'alter view sentinai.event_log set (security_barrier = true)', 'alter view sentinai.event_log reset (security_barrier)',
	q{alter view sentinai.event_log alter tenant_id set default 'x'}, 'alter view sentinai.event_log set schema public',
	'alter table sentinai.event_log rename tenant_id to mine', 'alter foreign table sentinai.outbox rename to mine',
	q{alter foreign table sentinai.outbox options (add table 'x')}, 'alter foreign table sentinai.outbox add column mine int',
	'alter type sentinai.event add attribute mine int', 'alter type sentinai.event rename to mine',
	'alter type sentinai.event set schema public', 'alter sequence sentinai_internal.stream_stream_id_seq restart',
	'alter schema sentinai_internal rename to mine', 'alter schema sentinai rename to mine',
	q{create or replace function sentinai.refuse_change() returns trigger language plpgsql as 'begin return new; end'},
	q{set search_path = sentinai; create or replace function stat_clock() returns timestamptz language sql as 'select now()'},
	q{create or replace procedure sentinai.wait_for_work(text, interval, inout boolean) language sql as 'select true'},
	'alter function sentinai.refuse_change() rename to mine', 'alter function sentinai.refuse_change() set schema public',
	'alter function sentinai.refuse_change() security definer', 'alter routine sentinai.pause_relay() reset all',
	'alter function sentinai.refuse_change() depends on extension pgcrypto',
	"alter trigger refuse_change on $part depends on extension pgcrypto",
	'alter server sentinai_outbox rename to mine', q{alter server sentinai_outbox options (add host 'x')},
	'alter extension sentinai drop function sentinai.refuse_change()', 'alter extension sentinai add table public.parent');
is(state_of("set role loser; $_"), '0A000', "refused: $_") foreach
	@others, map { "do \$do\$ begin $_; end \$do\$" } grep { !/concurrently|^set/ } @others;
sql(qq{create function public.take_apart() returns void language plpgsql as
	'begin alter table sentinai_internal.event_log detach partition $part; end'});
is(state_of('set role loser; select public.take_apart()'), '0A000', 'nor in a function');
sql('alter role loser nosuperuser');
is(state_of("set role loser; $_"), '0A000', "refused to the owner who is no superuser: $_") foreach @others,
	'alter view sentinai.event_log owner to buyer', 'alter function sentinai.refuse_change() owner to buyer',
	'alter schema sentinai_internal owner to buyer', 'alter server sentinai_outbox owner to buyer',
	'alter foreign table sentinai.outbox owner to buyer', "alter table $part owner to buyer",
	'alter sequence sentinai_internal.stream_stream_id_seq owner to buyer';
is(state_of("set role poor; $_"), '42501', "and to others: $_") foreach grep { !/^alter table.*(_pkey|detach)|^drop table if|^set/ } @others;

# each function, and each index that came with the extension
is(sql(q{
	create function public.state_of(command text) returns text language plpgsql as
		'begin execute command; return $$00000$$; exception when others then return sqlstate; end';
	set role loser;
	select string_agg(p.oid::regprocedure || ' ' || f.command, E'\n')
	from pg_proc p, lateral (values
		(format('alter routine %s set work_mem = 64', p.oid::regprocedure)),
		(regexp_replace(pg_get_functiondef(p.oid), 'STRICT|IMMUTABLE', 'VOLATILE')),
		(format('alter routine %s rename to mine', p.oid::regprocedure))) f (command)
	where p.pronamespace = 'sentinai'::regnamespace and public.state_of(f.command) <> '0A000'}),
	'', 'no function is replaced or altered');
is(sql(q{
	set role loser;
	select string_agg(relname, ' ')
	from pg_class c where relkind in ('i', 'I') and relnamespace = 'sentinai_internal'::regnamespace
		and public.state_of('drop index ' || c.oid::regclass) not in ('0A000', '2BP01')}),
	'', 'no index of the extension is dropped');

# what DBAs need
sql("reset role; create index mine on $part (occurred_at)");
foreach my $sql (
	"alter table $part set tablespace elsewhere", "alter index ${part}_pkey set tablespace elsewhere",
	'alter table all in tablespace elsewhere owned by loser set tablespace pg_default',
	'alter index all in tablespace elsewhere set tablespace pg_default',
	"alter table $part set (autovacuum_enabled = off, toast.autovacuum_enabled = off, fillfactor = 90)",
	"alter table $part reset (autovacuum_enabled, toast.autovacuum_enabled)",
	"alter table sentinai_internal.event_retry set (autovacuum_vacuum_scale_factor = 0.01, vacuum_truncate = off)",
	"alter index ${part}_pkey set (fillfactor = 80)", "alter table $part alter payload set statistics 500",
	"alter table sentinai_internal.event_log alter tenant_id set statistics 500",
	"alter table $part alter tenant_id set (n_distinct = 100)", "alter table $part alter tenant_id reset (n_distinct)",
	"alter table $part alter payload set compression pglz", "alter table $part alter payload set storage extended",
	"alter table $part replica identity full", "cluster $part using ${name}_pkey", "alter table $part set without cluster",
	"create statistics public.mine on tenant_id, event_type from $part", "analyze $part", "reindex table $part",
	"alter table $part enable always trigger refuse_change", "alter table $part owner to loser",
	'drop index sentinai_internal.mine',
	q{create function sentinai.mine() returns int language sql as 'select 1'},
	q{create or replace function sentinai.mine() returns int language sql as 'select 2'; drop function sentinai.mine()},
	q{create or replace function public.publish() returns int language sql as 'select 2'; alter function public.publish() stable})
{
	is(state_of("set role loser; $sql"), '00000', "no harm: $sql");
}
is(state_of($_), '00000', "a superuser: $_") foreach
	"alter table $part owner to buyer", "alter table $part owner to loser",
	'begin; reassign owned by loser to postgres; rollback',
	"set allow_system_table_mods = on; begin; alter table sentinai_internal.event_log detach partition $part; rollback";
is(sql(q{select sentinai.publish('Tested', 't', 'a', '{}') is not null and count(*) = 1 from sentinai.event_log}), 't',
	'events are published all the same');
sql('drop extension sentinai cascade');
$node->stop;
done_testing();
