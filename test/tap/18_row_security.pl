# Row-level security, the wall behind functions and views: whoever is given rights on
# the tables themselves, on partitions that are made at run time, or on views, sees the
# tenants that he may see. Nothing that he writes into a query looks at other rows, no
# plan outlives what may be seen, and a dump has everything, or says that it has not.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $dir = PostgreSQL::Test::Utils::tempdir();
my $secret = 'C4N4RY';
my $node = new_node('walls', 'sentinai.tenant_isolation = on', 'sentinai.launcher_naptime = 1s',
	'sentinai.maintenance_interval = 1h');

sub sql { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }

# as(ROLE, SQL): what it answers to that role, with what was set before it was
sub as { my ($role, $sql, $before) = @_; return sql(($before // '') . "; set role $role; $sql"); }

# all_of(SQL): what it answers, and is said beside that
sub all_of
{
	my ($rc, $out, $err) = $node->psql('postgres', $_[0], on_error_stop => 0);

	return "$out\n$err";
}

# tables that have a column of the tenant, and lack what they should have
my $lacking = q{
	select coalesce(string_agg(c.relname, ' ' order by c.relname), '') from pg_class c
	where c.relnamespace = 'sentinai_internal'::regnamespace and c.relkind in ('r', 'p')
		and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
		and not (c.relrowsecurity and (c.relforcerowsecurity or c.relname = 'event_retry')
			and (select count(*) = 1 from pg_policy p where p.polrelid = c.oid and p.polname = 'tenant'))};

sql(q{
	create extension sentinai;
	create role reader; create role pair; create role everybody; create role nobody; create role many;
	select sentinai.create_roles();
	grant sentinai_reader to reader, pair, everybody, nobody, many;
	grant usage on schema sentinai_internal, sentinai to reader, pair, everybody, nobody, many;
	grant select on sentinai.dead_letter, sentinai.stat_retry to reader, pair, everybody, nobody;
	select sentinai.grant_tenant('reader', 'acme', 'read'), sentinai.grant_tenant('pair', 'acme', 'read'),
		sentinai.grant_tenant('pair', 'globex', 'read'), sentinai.grant_tenant('everybody', '*', 'read');
	grant reader to pair;
	select sentinai.subscribe('all', '{A}', 'earliest', 2);
	select sentinai.make_partitions(now() + interval '3 days')});
is(sql($lacking), '', 'every table and partition with a tenant has its wall');
cmp_ok(sql(q{select count(*) from pg_inherits where inhparent = 'sentinai_internal.event_log'::regclass}), '>', 2, 'there are partitions');

# Events of every kind of run, of two tenants that share a hash, and of others.
my ($twin, $other) = split /\|/, sql(q{
	select min(n), max(n) from (select 'c' || i as n from generate_series(1, 200000) i) x group by hashtext(n) having count(*) > 1 order by 1 limit 1});
sql(qq{
	select count(*) from (select sentinai.publish('A', t, 'k' || i, '{"say": "$secret"}', idempotency_key => 'same-' || i)
		from unnest('{acme,globex,$twin,$other}'::text[]) t, generate_series(1, 5) i offset 0) x;
	select count(*) from (select sentinai.publish_batch(array_agg('B'::text), array_agg(t), array_agg('k' || i % 7), array_agg('{"say": "$secret"}'::jsonb))
		from unnest('{acme,globex,$twin,$other}'::text[]) t, unnest('{3,40,700}'::int[]) m, generate_series(1, m) i group by t, m offset 0) x;
	select count(*) from (select sentinai.publish_batch(array_agg('C'::text), array_agg(t), array_agg('k' || n), array_agg('{"say": "$secret"}'::jsonb))
		from unnest('{acme,globex,$twin,$other,t1,t2,t3,t4,t5,t6,t7,t8}'::text[]) t, generate_series(1, 6) n group by n offset 0) x;
	insert into sentinai.outbox (tenant_id, aggregateid, type, payload)
		select t, 'o' || i, 'D', '{"say": "$secret"}' from unnest('{acme,globex,$twin,$other}'::text[]) t, generate_series(1, 9) i;
	select sentinai.set_deadline(t, 'k1', 'r', now() + interval '1 h') from unnest('{acme,globex}'::text[]) t;
	select sentinai.set_limit(t, 'calls', 5, '1 h'), sentinai.set_alert('dead_letters', t, 9),
		sentinai.set_backlog_limit('all', t, 99), sentinai.set_redaction(t, '*', '\$.x', 'remove'),
		sentinai.set_sla_threshold(t, 0.5), sentinai.set_weight(t, 2) from unnest('{acme,globex}'::text[]) t});
poll_ok($node, 'postgres', $unslept, q{select lag_events = 20 from sentinai.stat_queue where worker_type = 'all'}, 'sequenced');
sql(q{
	with c as materialized (select *, row_number() over (partition by tenant_id order by event_id) as i from sentinai.claim('all', 20))
	select sentinai.fail(token, event_id, 'no', i = 2, '1 h') from c where i < 3;
	select sentinai.complete(min(token)) from (select token from sentinai.claim('all', 20)) c having count(*) > 0});
sql(q{select count(*) from (select sentinai.mark_as_processing(event_id, 'hand', tenant_id) from sentinai.event_log where event_type = 'D') x});
sql('analyze; grant select on all tables in schema sentinai_internal to reader, pair, everybody, nobody, many');

# What each sees of each table: no tenant but his own, and of his own all.
my $seen = q{
	create or replace function pg_temp.seen() returns table (name text, tenants text, n bigint) language plpgsql as $$
	begin
		for name in select c.oid::regclass::text from pg_class c
			where c.relnamespace in ('sentinai_internal'::regnamespace, 'sentinai'::regnamespace) and c.relkind in ('r', 'p', 'v')
				and has_table_privilege(c.oid, 'select') and c.relname not in ('work_grants', 'tenant_grants', 'tenant_grant', 'limit_usage')
				and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id') order by 1
		loop
			execute format('select string_agg(distinct tenant_id, $q$ $q$ order by tenant_id), count(*) from %s', name) into tenants, n;
			return next;
		end loop;
	end $$};
my $theirs = q{select coalesce(string_agg(name || ': ' || tenants, ', '), '') from pg_temp.seen() where };
is(as('reader', "$theirs tenants <> 'acme'", $seen), '', 'who may read one tenant sees it alone, in every table');
is(as('nobody', "$theirs n > 0", $seen), '', 'who was granted nothing sees nothing');
my $shown = as('reader', q{select string_agg(name, ' ') from pg_temp.seen() where tenants = 'acme' and name !~ '_2\d{7}'}, $seen);
like($shown, qr/\bsentinai_internal\.$_\b/, "there is something in $_") foreach
	qw(event_log event_log_root event_processing event_processing_root dead_letter event_retry dead_letter_count deadline
	  tenant_limit alert backlog_limit sla_threshold tenant_weight);
is(as('reader', q{select count(distinct n) || ' ' || min(n) from pg_temp.seen() where name ~ 'event_log($|_root|_2)' and n > 0}, $seen),
	'1 ' . sql(q{select count(*) from sentinai.event_log where tenant_id = 'acme'}), 'all of its events, by whatever name');
is(as('everybody', q{select count(*) from sentinai_internal.event_log}), sql('select count(*) from sentinai.event_log'), 'who may read every tenant sees them all');
is(sql(q{set sentinai.tenant_isolation = off; set role nobody; select count(*) from sentinai_internal.event_log}),
	sql('select count(*) from sentinai.event_log'), 'and everybody does without isolation');
is($node->psql('postgres', q{set role reader; set row_security = off; select count(*) from sentinai_internal.event_log}), 3, 'nobody switches it off');

# The plan that goes to the tenants' rows finds what a look at all rows finds.
my ($off, $on) = ('set enable_indexscan = off; set enable_bitmapscan = off', 'set enable_seqscan = off; set enable_bitmapscan = off');
sql(qq{select sentinai.grant_tenant('many', '$twin', 'read'), sentinai.grant_tenant('many', '$other', 'read'), sentinai.grant_tenant('many', 'none', 'read')});
my $leaf = sql(q{select tableoid::regclass from sentinai_internal.event_log limit 1});
foreach my $role (qw(reader pair many nobody everybody))
{
	foreach my $from ('sentinai.event_log', 'sentinai_internal.event_log_root', 'sentinai_internal.event_log', $leaf)
	{
		my $sum = "select count(*), count(distinct event_id), md5(string_agg(x::text, ',' order by event_id)) from $from x";
		my $plan = as($role, "explain (costs off) $sum", $on);

		is(as($role, $sum, $on), as($role, $sum, $off), "$role finds the same rows of $from");
		$role eq 'everybody' ? unlike($plan, qr/sentinai tenants/, 'by no tenant') : like($plan, qr/Custom Scan \(sentinai tenants\)/, 'tenant by tenant');
	}
}
foreach my $query (
	q{select count(*), max(payload::text) from sentinai.event_log where tenant_id = 'acme' and event_type in ('A', 'C')},
	q{select count(*) from sentinai.event_log where 'globex' = tenant_id}, q{select count(*) from sentinai.event_log where tenant_id = null},
	q{select string_agg(event_id::text, ',') from (select event_id from sentinai.event_log where tenant_id = 'acme' order by event_id desc limit 7) x},
	q{select v.i, x.n from (values (1), (5), (3)) v (i) cross join lateral (select count(*) as n from sentinai.event_log l where l.partition_hash % v.i = 0) x},
	q{select count(*) from sentinai.event_log a join sentinai.event_log b using (event_id, tenant_id)},
	q{select count(*) from sentinai.event_log where event_id in (select event_id from sentinai.event_processing)},
	q{begin; declare c scroll cursor for select event_id from sentinai.event_log where event_type = 'A' order by event_id;
		fetch 3 from c; fetch backward 2 from c; fetch last from c; commit},
	q{set plan_cache_mode = force_generic_plan; prepare p (text) as select count(*) from sentinai.event_log where tenant_id = $1;
		execute p ('acme'); execute p ('globex'); execute p (null); execute p ('none')})
{
	is(as($_, $query, $on), as($_, $query, $off), "$_: $query") foreach qw(reader pair everybody);
}
is(as('pair', "begin; select sentinai.act_as('acme'); $_", $on), as('reader', "begin; select sentinai.act_as('acme'); $_", $off), "act_as() narrows: $_")
  foreach 'select count(*) from sentinai.event_log', 'select count(*) from sentinai_internal.event_log', "select count(*) from $leaf";

# What is known of a tenant's rows has no part in the plan of who may not see them.
is(as('reader', qq{explain select * from $_ where tenant_id = 'globex'}) =~ s/globex/X/gr,
	as('reader', qq{explain select * from $_ where tenant_id = 'none'}) =~ s/none/X/gr, "a query for a tenant of others is planned as for none: $_")
  foreach qw(sentinai.event_log sentinai.event_processing sentinai.deadlines sentinai.dead_letter);
# Nor are there statistics of the columns of other tables with a wall.
is(sql(q{
	select string_agg(distinct tablename, ' ') from pg_stats
	where schemaname = 'sentinai_internal' and tablename in (
		select tablename from pg_policies where schemaname = 'sentinai_internal' and tablename !~ '^event_(log|kept|processing|idempotency)')}),
	'', 'no statistics tell of the rows of others');

# A plan is as old as it is, and shows what may be seen now.
my %count = map { $_ => as($_, 'select count(*) from sentinai.event_log') } qw(reader pair everybody nobody);
foreach my $from ('sentinai.event_log', 'sentinai_internal.event_log', $leaf)
{
	foreach my $mode (qw(force_generic_plan force_custom_plan))
	{
		is(sql(qq{
			set plan_cache_mode = $mode; $on;
			create function pg_temp.n() returns bigint language plpgsql as 'begin return (select count(*) from $from); end';
			set role pair; prepare p as select count(*) from $from; execute p; select pg_temp.n();
			begin; select sentinai.act_as('acme'); execute p; select pg_temp.n(); savepoint s; execute p; rollback; execute p; select pg_temp.n();
			begin; savepoint s; select sentinai.act_as('globex'); rollback to s; execute p; rollback;
			set role nobody; execute p; select pg_temp.n(); set role reader; execute p; select pg_temp.n(); set role everybody; execute p; select pg_temp.n(); set role pair; execute p}),
			join("\n", ($count{pair}) x 2, '', ($count{reader}) x 3, ($count{pair}) x 2, '', $count{pair}, 0, 0,
				($count{reader}) x 2, ($count{everybody}) x 2, $count{pair}),
			"a prepared statement and a function on $from, $mode");
	}
}
sql(q{select sentinai.grant_tenant('nobody', 'acme', 'read')});
is(as('nobody', "prepare p as select count(*) from sentinai_internal.event_log; execute p", $on), $count{reader}, 'a grant counts');
sql(q{select sentinai.revoke_tenant('nobody', 'acme', 'read')});
is(as('nobody', "prepare p as select count(*) from sentinai_internal.event_log; execute p", $on), 0, 'until it is taken back');

# Nothing of a query looks at a row before the wall: functions that tell, operators that
# hide PostgreSQL's, domains that check.
sql(q{
	create schema evil; grant all on schema evil to reader;
	set role reader;
	create function evil.tell(text) returns boolean language plpgsql immutable strict cost 0.0001 as $$begin raise notice 'told %', $1; return true; end$$;
	create function evil.eq(text, text) returns boolean language plpgsql immutable strict cost 0.0001 as $$begin raise notice 'told %', $1; return true; end$$;
	create operator evil.= (function = evil.eq, leftarg = text, rightarg = text, commutator = operator(evil.=));
	create function evil.may_read(text) returns boolean language plpgsql immutable cost 0.0001 as $$begin raise notice 'told %', $1; return true; end$$;
	create function evil.hashtext(text) returns int language plpgsql immutable cost 0.0001 as $$begin raise notice 'told %', $1; return 1; end$$;
	create domain evil.text as text check (evil.tell(value))});
foreach my $from ('sentinai.event_log', 'sentinai_internal.event_log', $leaf, 'sentinai.event_processing', 'sentinai_internal.event_processing',
	'sentinai.dead_letter', 'sentinai_internal.dead_letter', 'sentinai_internal.event_retry', 'sentinai.deadlines', 'sentinai_internal.deadline')
{
	foreach my $set ($on, $off)
	{
		my $said = all_of("set search_path = evil, pg_catalog; $set; set role reader;" . join ';', map { "select count(*) from $from x where $_" }
		  'tell(tenant_id)', "tenant_id = 'globex'", 'may_read(tenant_id)', 'tenant_id::evil.text is not null', 'hashtext(tenant_id) = 1',
		  'tell(x::pg_catalog.text)', "case when tenant_id operator(pg_catalog.=) 'globex' then 1 / (length(tenant_id) - 6) else 1 end = 1",
		  "x.tenant_id in (select t from unnest('{acme,globex}'::pg_catalog.text[]) t where tell(x.tenant_id))");

		like($said, qr/told acme/, "a query on $from is told of its own rows");
		unlike($said, qr/told.*(globex|t1)|division/, 'and of no others');
	}
}
unlike(all_of("set role reader; explain analyze select * from $_ where tenant_id = 'globex'"), qr/Removed by Filter: [1-9]|rows=[1-9]\d* loops/,
	"nor does EXPLAIN count them: $_") foreach 'sentinai.event_log', 'sentinai_internal.event_log';
foreach my $q ('most_common_vals::text', 'histogram_bounds::text')
{
	unlike(as('reader', "select string_agg($q, ' ') from pg_stats where schemaname = 'sentinai_internal'"), qr/globex|$secret/, "nor do statistics tell: $q");
}
# No index is asked about tenants that a reader may not see, however they are named
sub plan_of
{
	my ($role, $query) = @_;

	return as($role, "set plan_cache_mode = force_generic_plan; prepare p (text) as $query; explain (costs off) execute p ('globex')",
		'set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off');
}
my $asked = qr/Index Cond: .*tenant_id/;
foreach my $from ('sentinai.dead_letter', 'sentinai_internal.dead_letter', 'sentinai.deadlines', 'sentinai_internal.deadline')
{
	foreach my $where (q{tenant_id = 'globex'}, q{tenant_id = $1}, q{tenant_id between 'globex' and 'globex'}, q{tenant_id like 'globe%'},
		q{tenant_id in ('acme', 'globex')}, q{tenant_id = 'acme' or tenant_id = 'globex'}, q{(tenant_id, aggregate_id) > ('globex', '')},
		q{tenant_id = (select 'globex')}, q{exists (select from (values ('globex')) v (t) where t = tenant_id)})
	{
		unlike(plan_of('reader', "select count(*) from $from where $where"), $asked, "no index tells of others: $from $where");
	}
	like(plan_of('reader', "select count(*) from $from where $_"), $asked, "one is read for a tenant of his: $from $_")
	  foreach q{tenant_id = 'acme'}, q{'acme' = tenant_id}, q{tenant_id in ('acme')}, q{tenant_id = 'acme' and tenant_id like 'ac%'};
	like(plan_of('everybody', "select count(*) from $from where $_"), $asked, "and for who may read all: $from $_")
	  foreach q{tenant_id = 'globex'}, q{tenant_id = $1}, q{tenant_id between 'globex' and 'globex'};
	like(plan_of('reader', "select count(*) from $from where tenant_id = 'globex'"), qr/Filter: \(sentinai\.may_\w+\(tenant_id\) AND/,
		"and each row is refused before it is compared: $from");
}

sql('grant delete, insert, update on sentinai_internal.deadline to reader');
is(as('reader', q{with d as (delete from sentinai_internal.deadline where tenant_id = 'globex' returning 1) select count(*) from d}), 0,
	'nothing of another is deleted');
is(state_in($node, 'postgres', q{set role reader; update sentinai_internal.deadline set tenant_id = 'globex'}), '42501', 'nor given to another');

# What a DBA may not do to it, and what maintenance does for partitions of the version before.
foreach my $sql ("create policy mine on $leaf using (true)", "create policy tenant on $leaf using (sentinai.may_read('acme'))",
	"create policy other on sentinai_internal.action_log using (sentinai.may_read(tenant_id))", "alter policy tenant on $leaf using (true)",
	"drop policy tenant on $leaf", "drop policy tenant on sentinai_internal.dead_letter", "alter policy tenant on $leaf rename to mine",
	"alter table $leaf disable row level security", "alter table $leaf no force row level security",
	"alter table sentinai_internal.event_log disable row level security", "alter table sentinai_internal.node enable row level security")
{
	is(state_in($node, 'postgres', $sql), '0A000', "refused: $sql");
}
my ($busy, $free) = ($leaf, sql(q{select max(inhrelid::regclass::text) from pg_inherits where inhparent = 'sentinai_internal.event_processing'::regclass}));
my $holder = $node->background_psql('postgres');
ok(wait_for($unslept, sub {
	sql(qq{set allow_system_table_mods = on; alter table $_ disable row level security, no force row level security; drop policy if exists tenant on $_})
	  foreach $busy, $free;
	$holder->query_safe("begin; select sentinai.publish('A', 'acme', 'x', '{}')");
	return 1 if sql("select not relrowsecurity from pg_class where oid = '$busy'::regclass") eq 't';
	$holder->query_safe('commit');    # the maintenance in the background was faster
	return 0;
}), 'a partition without a wall is in use');
sql("set lock_timeout = '5s'; select sentinai.maintain()");
is(sql($lacking), $leaf =~ s/.*\.//r, 'maintenance makes the wall of a partition that nobody is at');
$holder->query_safe('commit');
$holder->quit;
sql('select sentinai.maintain()');
is(sql($lacking), '', 'and of the other when he has gone');

# dumps: of the superuser, and of an owner who is none
my $content = q{select (select count(*) from sentinai_internal.event_log), (select count(*) from sentinai_internal.dead_letter), (select count(*) from sentinai_internal.deadline)};
sql('create role owner superuser login; create database owned; create database copy; alter database owned set row_security = off');
sql("set role owner; create extension sentinai; reset role; alter role owner nosuperuser", 'owned');
sql(q{
	select sentinai.subscribe('all', '{A}', 'earliest', 1);
	select count(*) from (select sentinai.publish('A', 't' || i, 'k', '{}') from generate_series(1, 9) i offset 0) x}, 'owned');
poll_ok($node, 'owned', $unslept, q{select lag_events = 9 from sentinai.stat_queue where worker_type = 'all'}, 'workers work for an owner who is no superuser');
sql(q{set role owner; select sentinai.set_deadline('t1', 'k', 'r', clock_timestamp() + interval '1 ms')}, 'owned');
poll_ok($node, 'owned', $unslept, q{select count(*) = 1 from sentinai_internal.event_log where event_type = 'SLAExpired'}, 'whatever row_security is');
is(sql(q{set role owner; select count(*) from (select sentinai.fail(token, event_id, 'no', false) from sentinai.claim('all', 20)) c;
	set row_security = on; select count(*) from sentinai.dead_letter}, 'owned'),
	"9\n9", 'and he has all functions and rows');
is(sql('set role owner; set row_security = on; select count(*) from sentinai_internal.event_log', 'owned'), sql('select count(*) from sentinai_internal.event_log', 'owned'), 'of tables, too');
command_fails_like([ 'pg_dump', '-U', 'owner', '-d', $node->connstr('owned'), '-f', "$dir/part" ], qr/row-level security/, 'a dump that could lack rows is none');
$node->command_ok([ 'pg_dump', '-U', 'owner', '--enable-row-security', '-f', "$dir/owned", 'owned' ], 'the owner dumps with --enable-row-security');
$node->command_ok([ 'pg_dump', '-f', "$dir/super", 'owned' ], 'a superuser dumps');
sql('alter role owner bypassrls');
$node->command_ok([ 'pg_dump', '-U', 'owner', '-f', "$dir/bypass", 'owned' ], 'and an owner with BYPASSRLS');
my @lines = map { [ sort grep { !/^--|restrict/ } split /\n/, slurp_file("$dir/$_") ] } qw(super owned bypass);
is_deeply($lines[2], $lines[0], 'which is the same');
is_deeply([ grep { !/row_security/ } @{ $lines[1] } ], [ grep { !/row_security/ } @{ $lines[0] } ], 'all of it is in it');
is(sql($lacking, 'owned'), '', 'he has the same walls');
sql(q{create role fired; select sentinai.subscribe('closed', '{Z}'), sentinai.grant_work('fired', 'closed'); drop role fired});
ok(wait_for($unslept, sub { sql(q{select sentinai.maintain(); select role from sentinai.work_grants where worker_type = 'closed'}) =~ /^-$/m }), 'the role of a subscription is dropped');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/whole", 'postgres' ], 'a dump');
$node->command_ok([ 'pg_restore', '-e', '-d', 'copy', "$dir/whole" ], 'is restored');
is(sql($content, 'copy'), sql($content), 'with everything');
is(sql($lacking, 'copy'), '', 'behind the same walls');
is(sql(q{select role from sentinai.work_grants where worker_type = 'closed'}, 'copy'), '-', 'a subscription that nobody may claim from is not opened');
is(sql('set role reader; select count(*) from sentinai_internal.event_log', 'copy'), as('reader', 'select count(*) from sentinai_internal.event_log'), 'for the same readers');
$node->stop;
done_testing();
