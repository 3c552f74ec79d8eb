# SPDX-License-Identifier: PostgreSQL
# Evidence of what the log has: whatever is changed in it shows, and proofs can
# be checked without the database.
use strict;
use warnings FATAL => 'all';

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Sentinai;

my $node = new_node('audit', "include_if_exists 'test.conf'");
my $db = 'postgres';
my $limit = 60;

sub sql { return $node->safe_psql($db, $_[0]); }

# publish(TENANT, N): so many events of a tenant, in one batch; some fields are
# null in the half of them.
sub publish
{
	my ($tenant, $n) = @_;

	sql(qq{select count(sentinai.publish('Paid', '$tenant', case i % 2 when 1 then 'a' || i end,
		jsonb_build_object('n', i, 'text', 'é "quoted" \\ 1e400', 'big', 10::numeric ^ 40),
		deliver_at => case i % 2 when 1 then now() + interval '1 hour' end,
		metadata => '{"m": [1, null]}')) from generate_series(1, $n) i});
}

# statuses(TENANT): what verify_audit() says of it, without what is well.
sub statuses
{
	my $tenant = $_[0] ? "'$_[0]'" : 'null';

	return sql("select string_agg(distinct coalesce(tenant_id, '-') || ' ' || status, ', '
		order by coalesce(tenant_id, '-') || ' ' || status) from sentinai.verify_audit($tenant) where status not in ('ok', 'open')");
}

# covered(): waits until all events but AuditRootPublished have evidence.
sub covered
{
	poll_ok($node, $db, $limit, "select not exists (select from sentinai.event_log e where event_type <> 'AuditRootPublished'
		and event_id >= coalesce((select max(to_id::text)::uuid from sentinai_internal.audit_interval), '00000000-0000-0000-0000-000000000000'))", $_[0]);
}

sql('create extension sentinai');
publish('acme', 9);

# What can be published in other ways: short and long runs, more than fit into one,
# lone events, rows of outbox, and batches beside what was taken back.
sub batch
{
	my ($n, @tenants) = @_;

	return "select cardinality(sentinai.publish_batch(array_fill('Paid'::text, '{$n}'), array_agg(('{" . join(',', @tenants)
	  . "}'::text[])[1 + i % " . @tenants . "] order by i), array_agg('b' || i order by i), array_fill('{\"b\": 1}'::jsonb, '{$n}'))) from generate_series(0, $n - 1) i;";
}

sub copy
{
	my ($n, @tenants) = @_;

	return "copy sentinai.outbox (type, tenant_id, aggregateid, payload) from stdin;\n"
	  . join('', map { join("\t", 'Paid', $tenants[ $_ % @tenants ], "c$_", '{"c": 1}') . "\n" } 1 .. $n) . "\\.\n";
}
sql(join("\n", batch(5, 'runs'), batch(40, 'runs'), batch(1500, 'runs'), batch(4, 'runs', 'ones', 'lone'), batch(5000, 'runs', 'ones'),
	'begin;', batch(20, 'runs'), 'savepoint s;', batch(30, 'runs'), 'rollback to s;', batch(20, 'runs'), 'commit;',
	q{do $$ begin perform sentinai.publish('Paid', 'ones', 'p', case i when 3 then '3' else '{}'::jsonb end) from generate_series(1, 3) i; exception when others then null; end $$;},
	'set sentinai.long_run = 0;', batch(40, 'runs'), 'set sentinai.long_run = 2;', batch(3, 'runs'), 'reset sentinai.long_run;',
	q{select sentinai.publish('Paid', 'ones', 'o', '{}', correlation_id => 'flow');},
	q{insert into sentinai.outbox (type, tenant_id, aggregateid, payload) select 'Paid', 'runs', 'i' || i, '{}' from generate_series(1, 20) i;},
	copy(700, 'runs'), copy(50, 'runs', 'ones')));
is(sql("select string_agg(distinct run::text, ' ' order by run::text) from sentinai_internal.event_log"), '-1 -2 0 1 2 3', 'there are rows of every kind');
sql('select sentinai.maintain()') for 1 .. 3;
is(sql('select count(*) from sentinai_internal.audit_interval'), 0, 'no evidence unasked');
like((sql("select status from sentinai.verify_audit()")), qr/^open$/, 'which is said');

# What is not committed yet has evidence, too, once it is.
my $late = $node->background_psql($db, on_error_stop => 1);
$late->query_safe("begin; select sentinai.publish('Late', 'acme', 'late', '{}')");
sql("begin; select sentinai.publish('Late', 'beta', 'prepared', '{}'); prepare transaction 'p'");
publish('beta', 3);
ok(set_conf_now($node, $limit, 'sentinai.audit = on', 'sentinai.audit_interval = 1', 'sentinai.maintenance_interval = 1'), 'evidence is asked for');
sql('select sentinai.maintain()') for 1 .. 4;
is(sql(q{select count(*) from sentinai_internal.audit_interval where to_id > (select max(event_id::text)::uuid from sentinai.event_log where tenant_id = 'beta')}),
	0, 'an interval with an open transaction is not closed');
$late->query_safe('commit');
$late->quit;
sql('select sentinai.maintain()') for 1 .. 4;
is(sql(q{select count(*) from sentinai_internal.audit_interval where to_id > (select max(event_id::text)::uuid from sentinai.event_log where tenant_id = 'beta')}),
	0, 'nor one with a prepared one');
sql("commit prepared 'p'");
covered('all have evidence');
is(statuses(), '', 'all is well');
is(sql("select sum(found) from sentinai.verify_audit('acme') where status = 'ok' and interval_no <= (select max(interval_no) from sentinai.audit_roots)"),
	sql("select sum(events) from sentinai.audit_roots where tenant_id = 'acme'"), 'every event is counted');
is(sql("select count(*) from sentinai.verify_audit('acme', now() + interval '1 day')"), 1, 'a time without intervals');
is(sql("select count(*) from sentinai.verify_audit('acme', null, '-infinity')"), 0, 'and before all');

# A database at rest stays so: roots alone get a root, and no event tells it.
my $count = q{select count(*) || ' ' || (select count(*) from sentinai.event_log) from sentinai_internal.audit_interval};
poll_ok($node, $db, $limit, 'select max(event_id::text) < (select max(to_id::text) from sentinai_internal.audit_interval) from sentinai.event_log', 'it ends');
my $rest = sql($count);
sql('select sentinai.maintain()') for 1 .. 3;
is(sql($count), $rest, 'and then nothing is written any more');
is(sql("select count(*) from sentinai_internal.audit_interval where left(to_id::text, 13) > (select left(max(event_id::text), 13) from sentinai.event_log)"),
	0, 'no interval ends where the clock may begin after a crash');
is(sql("select count(*) from sentinai.verify_audit('acme', '$_')"), 1, "nothing is of the time $_") foreach 'infinity', '20000-01-01';
is(sql("select count(*) from sentinai.verify_audit('acme', '-infinity', '$_')"), sql("select count(*) from sentinai.verify_audit('acme')"), "everything is before $_")
  foreach 'infinity', '20000-01-01';

# Whatever a superuser changes shows. Each change is rolled back.
my $first = sql("select min(event_id::text) from sentinai.event_log where tenant_id = 'acme'");
my $second = sql("select event_id from sentinai.event_log where tenant_id = 'acme' order by 1 offset 1 limit 1");
my $part = sql("select tableoid::regclass from sentinai_internal.event_log where event_id = '$first'");

# after(CHANGE, TENANT): what verify_audit() says after a change.
sub after
{
	my ($change, $tenant) = @_;
	my $of = $tenant ? "'$tenant'" : 'null';

	return (split /\n/, sql(qq{begin; set local allow_system_table_mods = on;
		alter table $part disable trigger user; $change;
		select coalesce(string_agg(distinct coalesce(tenant_id, '-') || ' ' || status, ', '
			order by coalesce(tenant_id, '-') || ' ' || status), '') from sentinai.verify_audit($of) where status not in ('ok', 'open');
		rollback}))[-1] // '';
}
my %edits = (
	event_id => "overlay(event_id::text placing 'ffffffffffff' from 25)::uuid", tenant_id => "'gamma'", run => '1', run_keys => "'{1}'",
	txid => 'txid + 1', occurred_at => "occurred_at + interval '1 us'", partition_hash => '1', schema_version => '2',
	event_type => "'paid'", aggregate_type => "'x'", aggregate_id => 'null', payload => "payload || '{\"n\": 2}'",
	metadata => "'{}'", correlation_id => "'x'", causation_id => "'$first'", deliver_at => "now()");
is(join(' ', sort keys %edits), sql(q{select string_agg(attname, ' ' order by attname collate "C") from pg_attribute
	where attrelid = 'sentinai_internal.event_log'::regclass and attnum > 0 and not attisdropped}), 'each column is edited');
is(after("update $part set $_ = $edits{$_} where event_id = '$first'"), $_ eq 'tenant_id' ? 'acme missing, gamma added' : 'acme altered', "an edit of $_")
  foreach sort keys %edits;
is(after("update $part set correlation_id = aggregate_id where event_id = '$first'"), 'acme altered', 'a flow with the name that it has anyway');
is(after("update $part set tenant_id = 'beta' where event_id = '$first'"), 'acme missing, beta added', 'an edit of tenant_id');
is(after("update $part set tenant_id = 'beta' where event_id = '$first'", 'acme'), 'acme missing', 'asked for one tenant');
is(after("delete from $part where event_id = '$first'"), 'acme missing', 'a deletion');
is(after("delete from $part where event_id = '$first'", '*'), 'acme missing', 'asked for every tenant');
is(after("delete from $part where tenant_id = 'beta'"), 'beta missing', 'of all of a tenant');
is(after("delete from $part where event_id in (select event_id from $part where tenant_id = 'acme' and event_type = 'Paid' order by 1 desc limit 2)"),
	'acme missing', 'a tail that is cut');
is(after("create temp table t on commit drop as select * from $part where event_id = '$first';
	update t set event_id = overlay(event_id::text placing 'ffffffffffff' from 25)::uuid; insert into $part select * from t"), 'acme added', 'an insertion');
is(after("update $part a set payload = b.payload from $part b where (a.event_id, b.event_id) in (('$first', '$second'), ('$second', '$first'))"),
	'acme altered', 'two that are swapped');
is(after("update $part set event_id = case event_id when '$first' then overlay('$second'::text placing '000000000000' from 25)::uuid else '$first' end
	where event_id in ('$first', '$second')"), 'acme altered', 'an order that is changed');

is(after("alter table $part drop constraint " . $part =~ s/.*\.//r . "_pkey; create index on $part (event_id); insert into $part select * from $part where event_id = '$first'"),
	'acme added', 'an event that is there twice');

# unseen(QUERY): how many changes there are in its result, and those that
# verify_audit() does not see
sql(q{create function unseen(change text) returns text language plpgsql as $$
	begin
		execute change;
		if exists (select from sentinai.verify_audit() where status not in ('ok', 'open')) then
			raise 'seen';
		end if;
		raise 'unseen';
	exception
		when raise_exception then return case sqlerrm when 'unseen' then change end;
		when data_corrupted then return null;
	end $$});

sub unseen
{
	my ($changes) = @_;

	return (split /\n/, sql("begin; set local allow_system_table_mods = on; alter table $part disable trigger user;
		select count(*) || ' ' || coalesce(string_agg(unseen(change), '; '), '') from ($changes) t (change); rollback"))[-1];
}
is(unseen(qq{select format('update $part set run = %s where event_id = %L', v, event_id)
	from (select distinct on (run) event_id, run from $part where tenant_id in ('runs', 'ones')) e, generate_series(-3, 4) v where v <> run}),
	'42 ', 'whatever is said of its place in a run');
is(unseen(qq{select format('update $part set run_keys = %L where event_id = %L', v, event_id)
	from (select distinct on (run) event_id from $part where tenant_id in ('runs', 'ones') and run <> 2) e, unnest('{"{}", "{1,2}"}'::text[]) v}),
	'10 ', 'keys where there are none');
is(unseen(qq{select format('update $part set run_keys = %s where event_id = %L', v, event_id)
	from (select event_id from $part where run = 2 limit 1) e, unnest('{"null", "array[]::int2[]", "run_keys[2:]", "array[run_keys, run_keys]",
		"run_keys || 1::int2", "run_keys[2:2] || run_keys[1:1] || run_keys[3:]"}'::text[]) v}), '6 ', 'other keys of a long run');
is(unseen(qq{select format('update $part a set run = b.run, run_keys = b.run_keys from $part b where a.event_id in (%1\$L, %2\$L) and b.event_id in (%1\$L, %2\$L)
	and a.event_id <> b.event_id', min(event_id::text), max(event_id::text)) from (select event_id from $part where run in (2, -2) order by 1 limit 2) e}),
	'1 ', 'two places that are swapped');
is(unseen("select 'update $part set run = 0, run_keys = null'"), '1 ', 'no runs at all');
is(unseen(qq{select format('update pg_attribute set attnotnull = false where attrelid = %L::regclass and attname = %L;
		update $part set %2\$I = null where event_id = %3\$L', '$part', attname, '$first')
	from pg_attribute where attrelid = '$part'::regclass and attnum > 1 and attnotnull}), '10 ', 'nulls where none can be');

# So does what is changed in the evidence.
my $columns = q{from pg_attribute where attrelid in ('sentinai_internal.audit_interval'::regclass, 'sentinai_internal.audit_root'::regclass) and attnum > 0};
is(unseen(qq{select format('update %s set %I = %s where ctid = (select min(ctid) from %1\$s)', attrelid::regclass, attname, case format_type(atttypid, null)
		when 'bigint' then attname || ' + 1000000' when 'bytea' then 'sha256(''x'')' when 'text' then '''x''' when 'uuid' then 'gen_random_uuid()'
		when 'timestamp with time zone' then attname || ' + interval ''1 us''' end) $columns}), '13 ', 'each of its columns');
is(unseen(qq{select format('update pg_attribute set attnotnull = false where attrelid = %L::regclass and attname = %L;
		update %1\$s set %2\$I = null where ctid = (select min(ctid) from %1\$s)', attrelid::regclass, attname) $columns}), '13 ', 'and nulls there');
my $evidence = 'sentinai_internal.audit_root';
is(after("update $evidence set events = events - 1 where (tenant_id, root_no) = ('acme', 1); delete from $part where event_id = '$first'"),
	'acme chain broken', 'another count');
like(after("delete from $evidence where (tenant_id, root_no) = ('acme', 1)"), qr/acme added/, 'a root that is gone');
like(after("update $evidence set chain = sha256('x') where (tenant_id, root_no) = ('beta', 1)"), qr/^- chain broken, beta chain broken$/, 'another chain');
like(after('delete from sentinai_internal.audit_interval where interval_no = 1'), qr/chain broken/, 'an interval that is gone');
like(after(q{delete from sentinai_internal.audit_interval where interval_no >= (select max(interval_no) from sentinai_internal.audit_root where tenant_id = 'acme')}, 'acme'),
	qr/acme chain broken/, 'the last one of a tenant');
is(after('delete from sentinai_internal.audit_interval where interval_no = (select max(interval_no) from sentinai_internal.audit_interval)'),
	'- chain broken', 'or of all');
like(after('update sentinai_internal.audit_interval set events = 0 where interval_no = 1'), qr/- chain broken/, 'an interval with another count');
my $all_missing = 'acme missing, beta missing, lone missing, ones missing, runs missing';
is(after("drop table $part"), $all_missing, 'a partition that somebody drops');
is(after("alter table sentinai_internal.event_log detach partition $part"), $all_missing, 'or detaches');
is(sql('select count(*) from sentinai_internal.audit_dropped'), 0, 'as retention has dropped none');
is(after("create table public.held partition of sentinai_internal.event_log for values from ('01800000-0000-0000-0000-000000000000') to ('01800001-0000-0000-0000-000000000000');
	create temp table t on commit drop as select * from $part where event_id = '$first';
	create unique index on public.held (event_id); update t set event_id = '01800000-0000-7000-8000-000000000000'; insert into public.held select * from t", $_), 'acme added', 'an insertion before all') foreach 'acme', '';
is(after("create table public.held partition of sentinai_internal.event_log for values from ('01800000-0000-0000-0000-000000000000') to ('01800001-0000-0000-0000-000000000000'); create unique index on public.held (event_id); drop table $part"),
	$all_missing, 'and one that is newer than one that is held');

# Proofs
my $check = "$ENV{PWD}/docs/audit_proof.py";

# check(PROOF, ANCHOR): what the script says.
sub check
{
	my ($proof, @anchor) = @_;
	my ($out, $err);

	IPC::Run::run([ 'python3', $check, @anchor ], '<', \$proof, '>', \$out, '2>', \$err);
	return $out . $err;
}
my @ids = split /\n/, sql("select event_id from sentinai.event_log where event_type = 'Paid' and tenant_id = 'acme' order by 1");
is(join('', map { check(sql("select sentinai.audit_proof('$_')")) } @ids), "proved\n" x 9, 'each event is proved');
my $json = sql("select sentinai.audit_proof('$ids[3]')");
my $proof = decode_json($json);
my $anchor = sql("select payload->>'chain' from sentinai.event_log where event_type = 'AuditRootPublished'
	and tenant_id = 'acme' and (payload->>'root_no')::int = $proof->{root_no}");
is(check($json, $anchor), "proved\n", 'with the anchor that was published');
is(check($json, 'f' x 64), "the chain is not that of the anchor\n", 'with another');
$proof->{event}[12]{value} =~ s/4/5/;
is(check(encode_json($proof)), "the event is not that of the leaf\n", 'of an event that is not what it was');
my ($ret, $out, $err) = $node->psql($db, "\\set VERBOSITY verbose\nselect sentinai.audit_proof('01a00000-0000-7000-8000-000000000000')");
like($err, qr/SN404/, 'of an event that is not there');
like((after_proof())[1], qr/XX001/, 'of an interval that was changed');

sub after_proof
{
	my ($o, $e);

	$node->psql($db, "\\set VERBOSITY verbose\nbegin; set local allow_system_table_mods = on; alter table $part disable trigger user;
		update $part set payload = '{}' where tenant_id = 'acme' and event_id <> '$second'; select sentinai.audit_proof('$second')", stdout => \$o, stderr => \$e);
	return ($o, $e);
}

# Rights
sql('create role stranger; grant usage on schema sentinai to stranger');
foreach my $call ('verify_audit()', "audit_proof('$first')")
{
	($ret, $out, $err) = $node->psql($db, "set role stranger; select sentinai.$call");
	like($err, qr/permission denied/, "$call is not for everybody");
}

# Who keeps intervals locked holds up evidence, and nothing else.
my $holder = $node->background_psql($db);    # without a transaction's number, which evidence waits for
$holder->query_safe('begin; lock table sentinai_internal.audit_interval in share update exclusive mode');
publish('acme', 3);
my $passes = 0;
ok(wait_for($limit, sub {
	$passes++ if $node->psql($db, 'set statement_timeout = 5000; select sentinai.maintain() from pg_sleep(0.5)') == 0;
	return $passes >= 6;
}), 'maintenance goes on');
is(sql("select count(*) from sentinai_internal.audit_interval where to_id > (select max(event_id::text)::uuid from sentinai.event_log where tenant_id = 'acme')"), 0, 'without evidence');
$holder->query_safe('commit');
$holder->quit;
covered('which there is afterwards');
is(statuses(), '', 'all is well again');

# A crash in the midst of it; more than is read at once, and many tenants.
sql("select count(sentinai.publish('Many', 't' || i % 700, 'a' || i, '{}')) from generate_series(1, 3000) i");
ok(lose_server($node, $limit), 'a crash');
$node->start;
publish('acme', 5);
covered('it goes on');
is(statuses(), '', 'and all is well');
is(sql("select count(*) from sentinai.audit_roots where tenant_id like 't%'"),
	sql("select count(distinct (tenant_id, interval_no)) from sentinai.audit_roots where tenant_id like 't%'"), 'each tenant once in an interval');
is(sql("select sum(events) from sentinai.audit_roots where tenant_id like 't%'"), sql(q{
	select count(*) from sentinai.event_log where tenant_id like 't%'
	and event_id < (select max(to_id::text)::uuid from sentinai_internal.audit_interval)}), 'no event is left out, and none is there twice');
# Evidence comes with a dump, and says that what was restored is the old log.
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
sql('create database copy');
$node->command_ok([ 'pg_dump', '-f', $dump, $db ], 'a dump');
$node->command_ok([ 'psql', '-Xq1', '-v', 'ON_ERROR_STOP=1', '-d', 'copy', '-f', $dump ], 'and its restore');
is($node->safe_psql('copy', "select string_agg(distinct status, ' ') from sentinai.verify_audit()"), 'ok open', 'all is well there');
is($node->safe_psql('copy', 'select sum(found) - (select sum(events) from sentinai_internal.audit_interval), sum(found) > 10000 from sentinai.verify_audit()'), '0|t', 'and all is there');
is(log_count($node, qr{WARNING|step "audit"|could not}), 0, 'nothing in the log');
$node->stop;
done_testing();
