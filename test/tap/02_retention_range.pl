# A batch holds a range of the common track that reaches over a partition's end, and
# its first event waits for a retry. A tenant that is set apart is served beside it.
# The partition with the range's beginning stays: what is left of the range is
# counted from there.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $node = new_node('range',
	'sentinai.crowded_at = 5',
	'sentinai.retention = 0',
	'sentinai.idempotency_window = 1s',
	'sentinai.maintenance_interval = 1h');
my $db = 'postgres';
my $patience = 60;

sub sql { return $node->safe_psql($db, $_[0]) }

# some keys of a lane, and stretches of four seconds
sql(q{
	create extension sentinai;
	create function key(t text, nth int default 0) returns text language sql as $$
		select k from (select i, 'k' || i as k from generate_series(1, 2000) i) k
		where (sentinai.partition_hash(t || ':' || k) & 2147483647) % 64 = 7 order by i offset nth limit 1 $$;
	create function pub(t text, k text, n int) returns bigint language sql as $$
		select count(*) from unnest(sentinai.publish_batch(array_fill('turn'::text, array[n]), array_fill(t, array[n]), array_fill(k, array[n]), array_fill('{}'::jsonb, array[n]))) $$});
add_make_set($node, $db);
sql(q{
	create table made as
	select 'event_log' || to_char(t, '_HH24MISSMS') as name, t as lower, make_set(t, t + interval '4 s')::text as made
	from (select clock_timestamp() offset 0) x (start),
	     lateral generate_series(start, start + interval '2 min', interval '4 s') t});

# next_stretch(): wait for one; its name
sub next_stretch
{
	my $name = sql('select name from made where lower > clock_timestamp() order by lower limit 1');

	ok(wait_for($patience, sub { sql("select lower < clock_timestamp() from made where name = '$name'") eq 't' }), 'a stretch begins');
	return $name;
}

# publish(TENANT, NTH KEY, EVENTS)
sub publish
{
	my ($tenant, $nth, $n) = @_;

	sql("select pub('$tenant', key('$tenant', $nth), $n)");
	ok(wait_for($patience, sub { sequenced($node, $db) }), "what $tenant published is in a round");
	return;
}

# served(EVENTS): tenants of a batch that another session claims and completes
sub served
{
	my ($n) = @_;

	return sql("with c as (select * from sentinai.claim('w', $n)), d as (select sentinai.complete(token) from (select distinct token from c) t) select coalesce(string_agg(tenant_id, ' '), '') from c where (select count(*) from d) >= 0");
}

sub is_there { return sql("select to_regclass('sentinai_internal.$_[0]') is not null") }

sql(q{select sentinai.subscribe('w', '{turn}', start_from => 'earliest', max_attempts => 10)});
publish('early', 0, 9);
is(served(8), join(' ', ('early') x 8), 'a tenant that is set apart is served');
sql("create table held as select token from sentinai.claim('w', 1, '1 h')");    # so that it does not come back
my $first = next_stretch();
publish('small', 0, 1);
next_stretch();
sql('select sentinai.maintain()');    # this round is behind all of the first stretch
is(is_there($first), 't', 'nothing is dropped that waits');
publish('small', 1, 1);

my $holder = $node->background_psql($db, on_error_stop => 1);
$holder->query_safe('create temp table c (o int, token text, event_id uuid)');
$holder->query_safe(q{insert into c select row_number() over (), token, event_id from sentinai.claim('w', 2)});
is($holder->query_safe('select count(*) from c'), '2', 'it has an event of either stretch');
$holder->query_safe(q{select sentinai.fail(token, event_id, 'no', retry_in => '1 h') from c where o = 1});
publish('late', 0, 8);
publish('early', 0, 1);
sql('select sentinai.complete(token) from held');
is(served(1), 'early', 'the one that was set apart before is served beside it');
sql('select sentinai.maintain()') foreach 1 .. 8;
is(is_there($first), 't', 'the stretch where the range of the batch begins is there');
$holder->query_safe(q{select sentinai.release(token) from c where o = 1});
$holder->quit;
is(served(1), 'small', 'what the batch had left is handed out again');
is(served(20), join(' ', ('late') x 8), 'and then what waited for it');
is(sql(q{select lag_events from sentinai.stat_queue where worker_type = 'w'}), '1', 'the retry is left');
sql('select sentinai.maintain()') foreach 1 .. 8;
is(is_there($first), 'f', 'and nothing else holds the stretch');
is(sql('select count(*) from sentinai_internal.event_kept'), '1', 'the retry outlives it');
$node->stop;
done_testing();
