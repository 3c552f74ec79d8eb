# SPDX-License-Identifier: PostgreSQL
# Evidence and the partitions of the log: an event is where its id says, and a
# partition that retention drops takes whole intervals with it.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Sentinai;

my $node = new_node('audit_partitions', 'sentinai.audit = on', 'sentinai.audit_interval = 86400', 'sentinai.retention = -1',
	'sentinai.idempotency_window = 1s', 'sentinai.maintenance_interval = 1', "include_if_exists 'test.conf'");
my $db = 'postgres';
my $limit = 60;

sub sql { return $node->safe_psql($db, $_[0]); }

# Four partitions of some seconds, with events in the second. The first interval
# begins with the first of them, and ends with the second: no other end comes before.
add_make_set($node, $db);
sql(q{begin;
	create extension sentinai;
	create table start as select date_trunc('ms', clock_timestamp()) as t;
	select make_set(t - interval '4 s', t), make_set(t, t + interval '4 s'), make_set(t + interval '4 s', t + interval '6 s'), make_set(t + interval '6 s', t + interval '10 min') from start;
	select count(sentinai.publish('Paid', 'acme', 'a' || i, '{}')) from generate_series(1, 5) i;
	select sentinai.publish('Later', 'acme', 'a1', '{}', deliver_at => now() + interval '1 hour');
	select sentinai.maintain();
	commit});
my @parts = split /\n/, sql(q{select c.oid::regclass from pg_class c join pg_inherits on inhrelid = c.oid
	where inhparent = 'sentinai_internal.event_log'::regclass order by pg_get_expr(relpartbound, c.oid) limit 4});
my @ids = split /\n/, sql("select event_id from $parts[1] order by 1");
is(scalar @ids, 6, 'the events are in the second partition');
poll_ok($node, $db, $limit, 'select count(*) = 1 from sentinai_internal.audit_interval', 'the interval is closed');
is(sql('select from_id, to_id from sentinai_internal.audit_interval'), sql(q{
	select string_agg(rpad(lpad(to_hex((extract(epoch from t + i) * 1000)::bigint), 12, '0'), 32, '0')::uuid::text, '|' order by i)
	from start, unnest('{-4 s,4 s}'::interval[]) i}), 'from the first id of the first one to the end of the second');

# after(CHANGE): what verify_audit() says after a change, which is rolled back.
sub after
{
	my ($change) = @_;

	return (split /\n/, sql(qq{begin; set local allow_system_table_mods = on;
		alter table $parts[1] disable trigger user; $change;
		select coalesce(string_agg(tenant_id || ' ' || status, ', '), '') from sentinai.verify_audit('acme') where status <> 'open';
		rollback}))[-1] // '';
}

# move(ID, PARTITION): an event into another partition. A constraint that counts as
# checked has the server attach it again unseen.
sub move
{
	my ($id, $to) = @_;

	return qq{create temp table bound on commit drop as
			select pg_get_expr(relpartbound, oid) as part, pg_get_partition_constraintdef(oid) as ids from pg_class where oid = '$to'::regclass;
		alter table sentinai_internal.event_log detach partition $to;
		with gone as (delete from $parts[1] where event_id = '$id' returning *) insert into $to select * from gone;
		do 'begin execute (select format(''alter table $to add constraint own_ids check (%s) not valid'', ids) from bound); end';
		update pg_constraint set convalidated = true where conname = 'own_ids';
		do 'begin execute (select ''alter table sentinai_internal.event_log attach partition $to '' || part from bound); end'};
}
is(after('select'), 'acme ok', 'all is well');
is(after(move($ids[0], $parts[0])), 'acme missing', 'the first event in the partition before its own');
is(after(move($ids[5], $parts[2])), 'acme missing', 'the last one in the partition behind it');
is(after("drop table $parts[1]"), 'acme missing', 'a partition that somebody drops, with the one behind it there');
is(after("alter table sentinai_internal.event_log detach partition $parts[1]"), 'acme missing', 'or detaches');

# What verify_audit() says of the first interval.
my $first = "select string_agg(concat_ws(' ', tenant_id, events, found, status), ', ') from sentinai.verify_audit() where interval_no = 1";

# Retention drops the partition behind it, since somebody holds this one. What he
# drops is missing, however far retention has come.
my $holder = $node->background_psql($db, on_error_stop => 1);
$holder->query_safe("set allow_system_table_mods = on; begin isolation level repeatable read; select from $parts[0]; savepoint s; select from $parts[1]");
ok(set_conf_now($node, $limit, 'sentinai.retention = 0'), 'retention');
poll_ok($node, $db, $limit, "select to_regclass('$parts[2]') is null", 'drops a newer one than one that is held');
is($holder->query_safe("drop table $parts[1]; $first"), 'acme 6 0 missing', 'which its holder drops');

# Retention leaves a copy of what is not due yet. The copy is no event of the log.
$holder->query_safe('rollback to s');
poll_ok($node, $db, $limit, "select to_regclass('$parts[1]') is null", 'drops the partition');
is(sql("select string_agg(event_type, ' ') from sentinai_internal.event_kept"), 'Later', 'and a copy is kept');
is(sql($first), 'acme 6 0 dropped', 'of which evidence says nothing');
is($holder->query_safe($first), 'acme 6 0 dropped', 'also for who has an older snapshot');
is(sql("select to_regclass('$parts[0]') is not null"), 't', 'while an older one is held');
$holder->query_safe('rollback');
$holder->quit;
poll_ok($node, $db, $limit, "select to_regclass('$parts[0]') is null", 'that goes, too');
is(sql("select count(*), count(*) filter (where from_id < to_id and dropped_at <= clock_timestamp()) from sentinai_internal.audit_dropped"), '3|3', 'each has a row');

# A dump has the rows, beside the evidence.
sql('create database restored');
run_log([ 'pg_dump', '-d', $node->connstr($db), '-f', "$node->{_basedir}/dump.sql" ]);
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', "$node->{_basedir}/dump.sql" ], 'a dump is restored');
is($node->safe_psql('restored', $first), 'acme 6 0 dropped', 'and there it is dropped, too');

# Rows say so and nothing else; a null that a superuser has put there is no row.
foreach my $change ('delete from sentinai_internal.audit_dropped', "update sentinai_internal.audit_dropped set from_id = to_id where to_id = (select to_id from sentinai_internal.audit_interval where interval_no = 1)",
	map { "update pg_attribute set attnotnull = false where attrelid = 'sentinai_internal.audit_dropped'::regclass; update sentinai_internal.audit_dropped set $_ = null" } 'from_id', 'to_id')
{
	is((split /\n/, sql("begin; set local allow_system_table_mods = on; $change; $first; rollback"))[-1], 'acme 6 0 missing', "without the row: $change");
}
$node->stop;
done_testing();
