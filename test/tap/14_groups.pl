# SPDX-License-Identifier: PostgreSQL
# Entries of many rows written to a leaf at once: the indexes are whole after
# concurrent batches, on a standby and after a crash, and a serializable
# transaction that has read the place is told.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('groups');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', <<EOC);
shared_preload_libraries = 'sentinai'
autovacuum = off
fsync = off
wal_keep_size = 2GB
wal_consistency_checking = 'btree, generic'
EOC
$node->start;

# sql: the answer of a statement that must succeed
sub sql { return $node->safe_psql('postgres', $_[0]); }

sql('create extension sentinai; create extension amcheck');
# All partitions are there, so that no worker makes some while we count.
sql('select sentinai.maintain()');

# A standby compares every page of these kinds with the one of the primary.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('copy');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;

# batch: a statement that publishes so many events, tenants in turn
sub batch
{
	my ($n, $tenants) = @_;
	return qq{select cardinality(sentinai.publish_batch(
		array_fill('t'::text, array[$n]),
		array(select 't' || i % $tenants from generate_series(1, $n) i),
		array(select 'a' || i from generate_series(1, $n) i),
		array_fill('{"a": 1}'::jsonb, array[$n])))};
}

# count_records: what is written into B-trees during a statement, by workers as
# well: [insertions, groups]
sub count_records
{
	my $from = sql('select pg_switch_wal(); select pg_current_wal_insert_lsn()');
	$from =~ s/.*\n//s;
	sql($_[0]);
	my $to = sql('select pg_current_wal_insert_lsn()');
	my $dump = sub {
		my ($out, $err);
		IPC::Run::run [ 'pg_waldump', '-p', $node->data_dir . '/pg_wal',
			'-s', $from, '-e', $to, @_ ], '>', \$out, '2>', \$err;
		return $out;
	};
	return [ scalar(() = $dump->('-r', 'Btree') =~ /INSERT_LEAF/g),
		scalar(() = $dump->('-r', 'Generic') =~ /rmgr: Generic/g) ];
}

sql(batch(1, 1));
my $records = count_records(batch(1000, 1));
cmp_ok($records->[0], '<', 500, 'a batch has no record for each event');
cmp_ok($records->[1], '>', 5, 'but some for all of them');
$records = count_records('select ' . join(', ',
		map { "sentinai.publish('t', 'one', 'a', '{}')" } 1 .. 3));
is($records->[1], 0, 'single events go the usual way');

# Publishers of batches and of single events at once, all on the last leaves.
my %script = (batches => batch(1000, 50), many => batch(300, 300),
	small => batch(5, 2), single => "select sentinai.publish('t', 'one', 'a', '{}')");
for my $name (keys %script)
{
	append_to_file($node->basedir . "/$name.sql",
		($script{$name} =~ s/\n\s*/ /gr) . ";\n");
}
$node->command_ok(
	[ 'pgbench', '-n', '-c', '4', '-t', '40', '-h', $node->host,
		'-p', $node->port,
		(map { ('-f', $node->basedir . "/$_.sql") } sort keys %script), 'postgres' ],
	'publishers at once');

# check: that every index of the log is whole and has every row
sub check
{
	my ($server, $function, $arguments) = @_;
	return $server->safe_psql('postgres', qq{
		select count($function(i.indexrelid$arguments)::text)
		  from pg_index i join pg_class c on c.oid = i.indrelid
		 where c.relname like 'event_log\\_%' and c.relkind = 'r'});
}

my $indexes = check($node, 'bt_index_parent_check', ', true, true');
cmp_ok($indexes, '>', 5, 'the indexes are whole');
my $summary = q{select count(*) || ' ' || count(distinct event_id) from sentinai.event_log};
my $events = sql($summary);
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $summary), $events, 'a standby has the same');
is(check($standby, 'bt_index_check', ', true'), $indexes, 'in whole indexes');

# What is undone leaves entries that are no obstacle.
# A scan has noted that they are dead, which no record tells.
sql('begin; ' . batch(2000, 3) . '; rollback');
sql('set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off;
	select count(event_id) from (select event_id from sentinai.event_log order by event_id desc offset 0) e');
sql(batch(10, 1)) for 1 .. 3;
sql(batch(1970, 3));
$node->wait_for_catchup($standby);
$node->stop('immediate');
$node->start;
is(check($node, 'bt_index_parent_check', ', true, true'), $indexes,
	'and so they are after a crash');
is(sql($summary), join(' ', ((split / /, $events)[0] + 2000) x 2), 'with all events');

# Two serializable transactions that have read where the other writes.
my ($here, $there) = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 2;
my $last = sql(batch(20, 1)) && sql('select event_id from sentinai.event_log order by 1 desc limit 1');
$_->query_safe(qq{set enable_seqscan = off; set enable_bitmapscan = off;
	begin isolation level serializable;
	select count(*) from sentinai.event_log where event_id > '$last'}) for $here, $there;
for my $publisher ($here, $there)
{
	$publisher->query(batch(20, 1));
	$publisher->query('commit');
}
is(sql($summary), join(' ', ((split / /, $events)[0] + 2040) x 2),
	'one of two serializable transactions is refused');
$_->quit for $here, $there;

$standby->stop;
$node->stop;
done_testing();
