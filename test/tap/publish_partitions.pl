# SPDX-License-Identifier: PostgreSQL
# Partitions made when they are missed, the clock after a restart, the window
# of idempotency keys, prepared transactions, standbys.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('publish');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', <<EOC);
shared_preload_libraries = 'sentinai'
max_prepared_transactions = 5
max_connections = 50
fsync = off
EOC
$node->start;

# sql: the answer of a statement that must succeed
sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]); }

# state: SQLSTATE of the error that a statement raises, or ''
sub state_of
{
	my ($server, $statement) = @_;
	my ($rc, $out, $err) =
	  $server->psql('postgres', "\\set VERBOSITY sqlstate\n$statement");
	return $err =~ /ERROR:  (\w{5})/ ? $1 : '';
}

# fresh: a database with the extension and no partition
sub fresh
{
	my $name = shift;
	sql("create database $name");
	sql('create extension sentinai', $name);
	return $name;
}

my $publish = q{sentinai.publish('t', 'tap', 'a', '{}')};
my @parents = qw(event_log event_processing event_idempotency slice);

# boundaries: the ranges of a parent as "lower-upper", in order
sub boundaries
{
	my ($db, $parent) = @_;
	return sql(qq{
		select string_agg(bounds, ' ' order by lower) from (
			select m[1] || '-' || m[2] as bounds, m[1] as lower from pg_inherits
			  join pg_class c on c.oid = inhrelid,
			  regexp_match(pg_get_expr(relpartbound, c.oid), E'FROM \\\\(''(.*)''\\\\) TO \\\\(''(.*)''\\\\)') m
			 where inhparent = 'sentinai_internal.$parent'::regclass) b}, $db);
}

# Many publishers at once find no partition.
my $db = fresh('crowd');
my $script = $node->basedir . '/publish.sql';
append_to_file($script, "select $publish;\n");
$node->command_ok(
	[ 'pgbench', '-n', '-c', '20', '-t', '5', '-f', $script, $db ],
	'20 publishers in a database without partitions');
is(sql('select count(*) from sentinai.event_log', $db), '100', 'all of them published');
is(sql(q{select count(*) > 0 and count(*) = count(distinct relname) from pg_inherits join pg_class on oid = inhrelid
          where inhparent = 'sentinai_internal.event_log'::regclass}, $db), 't', 'a partition is there');

# The partition is there for the transaction that had it made.
$db = fresh('serial');
is(sql(qq{begin isolation level serializable; select 1; select $publish is not null;
          select count(*) from sentinai.event_log; commit}, $db), "1\nt\n1", 'published in a snapshot from before the partition');

# In the transaction that creates the extension.
sql('create database one');
is(sql(qq{begin; create extension sentinai; select $publish is not null; commit; select count(*) from sentinai.event_log}, 'one'),
	"t\n1", 'published by the transaction that created the extension');

# The caller's settings do not matter.
$db = fresh('settings');
is(sql(qq{create schema evil; set search_path = evil; create table evil.event_log (x int);
          select $publish is not null}, $db), 't', 'with a search_path that leads astray');
$db = fresh('readonly');
sql("alter database $db set default_transaction_read_only = on");
is(sql(qq{begin read write; select $publish is not null; rollback; begin read write;
          select count(*) from pg_inherits where inhparent = 'sentinai_internal.event_log'::regclass; commit}, $db),
	"t\n1", 'where transactions are read-only by default');

# All four tables have the same boundaries, whatever the interval was.
$db = fresh('bounds');
sql(q{select sentinai.make_partitions(now() + interval '2 days')}, $db);
$node->append_conf('postgresql.conf', "sentinai.partition_interval = '5h'");
$node->reload;
$node->poll_query_until($db, q{select current_setting('sentinai.partition_interval') = '5h'}) or die;
sql(q{select sentinai.make_partitions(now() + interval '5 days')}, $db);
my $log = boundaries($db, 'event_log');
my @ranges = split / /, $log;
# At least three days, then at least two days of five hours each, at any hour.
cmp_ok(@ranges, '>=', 3 + 9, 'partitions of both intervals');
my $gaps = 0;
for my $i (1 .. $#ranges)
{
	my ($end) = $ranges[ $i - 1 ] =~ /.{36}-(.{36})/;
	my ($start) = $ranges[$i] =~ /(.{36})-.{36}/;
	$gaps++ if $end ne $start;
}
is($gaps, 0, 'without gaps');
is(boundaries($db, 'event_processing'), $log, 'event_processing has the same');
is(boundaries($db, 'event_idempotency'), $log, 'event_idempotency has the same');
is(sql(q{select count(*) from pg_inherits where inhparent = 'sentinai_internal.slice'::regclass}, $db), scalar @ranges, 'slice has as many');
is(sql(q{select sentinai.make_partitions(now() + interval '5 days')}, $db), '0', 'nothing is missing then');

# A hole is filled, as far as the neighbours leave it.
sql(qq{set allow_system_table_mods = on;
       do \$\$ declare p regclass; r record; begin
         for r in select unnest(array['event_log','event_processing','event_idempotency','slice']) as t loop
           select c.oid into p from pg_inherits join pg_class c on c.oid = inhrelid
            where inhparent = ('sentinai_internal.' || r.t)::regclass order by relname limit 1;
           execute format('alter table sentinai_internal.%I detach partition %s', r.t, p);
         end loop; end \$\$}, $db);
is(sql("select $publish is not null", $db), 't', 'published into a hole');
@ranges = split / /, boundaries($db, 'event_log');
my $overlap = grep { substr($ranges[ $_ - 1 ], 37, 36) gt substr($ranges[$_], 0, 36) } 1 .. $#ranges;
is($overlap, 0, 'the name that was taken and the neighbours are respected');

# An idempotency key is forgotten after the window.
$db = fresh('keys');
my $keyed = q{sentinai.publish('t', 'tap', 'a', '{}', idempotency_key => 'k')};
my $first = sql("select $keyed", $db);
is(sql("select $keyed", $db), $first, 'a key within the window');
$node->append_conf('postgresql.conf', "sentinai.idempotency_window = '1s'");
$node->reload;
ok($node->poll_query_until($db, "select $keyed <> '$first'"), 'is new after it');
is(sql('select count(*) from sentinai.event_log', $db), '2', 'and published a second time');
$node->append_conf('postgresql.conf', "sentinai.idempotency_window = '1d'");
$node->reload;
$node->poll_query_until($db, q{select current_setting('sentinai.idempotency_window') = '1d'}) or die;

# The clock starts above what is stored, but not above nonsense.
$db = fresh('clock');
sql(q{select sentinai.make_partitions(now() + interval '1 day')}, $db);
sql(q{create table sentinai_internal.nonsense partition of sentinai_internal.event_log
        for values from ('f0000000-0000-0000-0000-000000000000') to ('f1000000-0000-0000-0000-000000000000')}, $db);
sql(q{alter table sentinai_internal.nonsense add primary key (event_id)}, $db);
my $insert = q{insert into sentinai_internal.event_log (event_id, txid, occurred_at, partition_hash, schema_version, run, event_type, tenant_id, aggregate_type, aggregate_id, payload, metadata)
	select id::uuid, 1, now(), 0, 1, 0, 'tap', 'x', 'a', 'stored', '{}', '{}' from };
sql($insert . q{(values ('f0000000-0000-7000-8000-000000000000')) v (id)}, $db);
my $ahead = sql(q{select lpad(to_hex((extract(epoch from now() + interval '2 hours') * 1000)::bigint), 12, '0')});
$ahead = substr($ahead, 0, 8) . '-' . substr($ahead, 8) . '-7000-8000-000000000000';
sql($insert . qq{(values ('$ahead')) v (id)}, $db);
$node->restart;
my $id = sql("select $publish", $db);
cmp_ok($id, 'gt', $ahead, 'after a restart ids are above the newest stored one');
cmp_ok($id, 'lt', 'f0000000', 'an id no clock could have made is passed over');
cmp_ok(sql("select $publish", $db), 'gt', $id, 'and ids go on rising');
$node->stop('immediate');
$node->start;
cmp_ok(sql("select $publish", $db), 'gt', $id, 'after a crash too');

# A prepared transaction holds its key until it ends.
for my $end ('commit', 'rollback')
{
	my $call = "sentinai.publish('t', 'tap', 'a', '{}', idempotency_key => '$end')";
	sql("begin; select $call; prepare transaction 'p'", $db);
	my $waiter = $node->background_psql($db);
	$waiter->query_until(qr/called/, "\\echo called\nselect $call;\n");
	ok($node->poll_query_until($db, q{select exists (select from pg_locks where locktype = 'transactionid' and not granted)}),
		"a second publisher waits for the prepared one ($end)");
	sql("$end prepared 'p'", $db);
	$waiter->quit;
	is(sql("select count(*) from sentinai_internal.event_idempotency where idempotency_key = '$end'", $db), '1', 'then there is one event');
}

# A standby publishes nothing.
$db = 'postgres';
sql('create extension sentinai');
sql("select $publish");
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is(state_of($standby, "select $publish"), '25006', 'publish() on a standby');
is(state_of($standby, q{select sentinai.publish_batch('{}', '{}', '{}', '{}')}), '25006', 'publish_batch() on a standby');
is(state_of($standby, q{insert into sentinai.outbox (tenant_id, type, payload) values ('tap', 't', '{}')}), '25006', 'outbox on a standby');
is($standby->safe_psql('postgres', q{select count(*) from sentinai.get_events_by_tenant('tap')}), '1', 'history on a standby');
$node->stop;
$standby->promote;
is($standby->safe_psql('postgres', "select $publish is not null"), 't', 'published after promotion');
is($standby->safe_psql('postgres', q{select count(*) = 2 and min(event_id::text) < max(event_id::text) from sentinai.event_log}), 't', 'with a greater id');
$standby->stop;

# Without the library preloaded and without a worker to be had.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\nmax_worker_processes = 0");
$node->start;
$db = fresh('bare');
sql('create role publisher; grant usage on schema sentinai to publisher; grant insert on sentinai.outbox to publisher', $db);
is(sql(qq{set role publisher; insert into sentinai.outbox (tenant_id, type, payload) values ('tap', 't', '{}'); reset role;
          select count(*) from sentinai_internal.event_log l join pg_class c on c.oid = l.tableoid where relowner = (select relowner from pg_class where oid = 'sentinai_internal.event_log'::regclass)}, $db),
	'1', 'published without workers, by a role that may not make tables');
is(sql(qq{begin; select $publish is not null; savepoint s; select $publish is not null; rollback to s; commit; select count(*) from sentinai.event_log}, $db),
	"t\nt\n2", 'and again');
$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
$node->restart;
$db = fresh('lonely');
is(sql(qq{begin; select $publish is not null; rollback; select count(*) from pg_inherits where inhparent = 'sentinai_internal.event_log'::regclass}, $db),
	"t\n1", 'a worker makes the partition where the library is not preloaded');

# A role without rights cannot touch the log.
$db = 'postgres';
sql('create role somebody; grant usage on schema sentinai to somebody; grant select, delete on sentinai.event_log to somebody') ;
is(state_of($node, "set role somebody; update sentinai.event_log set tenant_id = 'x'"), '42501', 'no right to update');
is(state_of($node, 'set role somebody; delete from sentinai.event_log'), 'SN409', 'a right to delete is of no use');
$node->stop;
done_testing();
