# Hundreds of partitions, and a lock table that holds a fraction of them:
# whatever a user calls opens what it needs, one after the other.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $past = 240;    # partitions
my $ahead = 160;
my $most = 60;     # locks of one transaction

my $node = new_node('many_partitions',
	'max_connections = 12',
	'max_locks_per_transaction = 14',    # as many as CREATE EXTENSION takes
	'max_wal_senders = 0',
	'max_prepared_transactions = 0',
	'sentinai.partition_interval = 1min',
	'sentinai.partitions_ahead = 1',
	'sentinai.maintenance_interval = 3600s',
	'sentinai.retention = -1');
my $db = 'postgres';

sub sql { return $node->safe_psql($db, $_[0]); }

sub state_of { return state_in($node, $db, $_[0]); }

# holds_few: a query gives what it should, and its transaction holds few locks
sub holds_few
{
	my ($query, $answer, $name) = @_;
	my ($got, $locks) = split /\n/, sql(qq{begin; $query;
		select count(*) from pg_locks where pid = pg_backend_pid(); commit});

	is($got, $answer, $name);
	cmp_ok($locks, '<=', $most, "$name: few locks");
}

sql('create extension sentinai');
sql(q{select sentinai.subscribe('early', start_from => 'earliest'),
	sentinai.subscribe('late'), sentinai.subscribe('other', '{Other}', 'earliest')});
sql(q{select sentinai.publish('T', 't', 'first', '{}')});
add_make_set($node, $db);

# The time to come is made as maintenance makes it.
sql(qq{
do \$\$
declare
	oldest timestamptz := (select oldest_partition from sentinai.stat_info);
begin
	for i in 1..$past loop
		perform make_set(oldest - i * interval '1 min', oldest - (i - 1) * interval '1 min');
		commit;
	end loop;
	for i in 1..$ahead loop
		perform sentinai.make_partitions(oldest + (i + 1) * interval '1 min');
		commit;
	end loop;
end \$\$});
cmp_ok(sql(q{select count(*) from pg_inherits where inhparent = 'sentinai_internal.slice'::regclass}),
	'>=', $past + $ahead, 'hundreds of partitions');
is(state_of('select count(*) from sentinai_internal.slice'), '53200', 'which are more than can be locked');

my $n = 100;
holds_few(qq{select count(sentinai.publish('T', 't', 'k' || i, '{}')) from generate_series(1, $n) i},
	$n, 'publish()');
holds_few(q{select cardinality(sentinai.publish_batch(array_fill('T'::text, '{50}'), array_fill('t'::text, '{50}'),
	array_fill('batch'::text, '{50}'), array_fill('{}'::jsonb, '{50}')))}, 50, 'publish_batch()');
my $all = 1 + $n + 50;
poll_ok($node, $db, 20, "select lag_events = $all from sentinai.stat_queue where worker_type = 'early'", 'all is sequenced');

holds_few(q{select string_agg(concat_ws(' ', worker_type, lag_events, in_flight), ', ' order by worker_type)
	from sentinai.stat_queue}, 'early ' . $all . ' 0, late ' . $all . ' 0, other 0 0', 'stat_queue');
holds_few(q{select sum(lag_events) from sentinai.stat_lane}, 2 * $all, 'stat_lane');
holds_few(q{select count(*) from sentinai.stat_agent}, 0, 'stat_agent');
holds_few(q{select state from sentinai.stat_relay}, 'stopped', 'stat_relay');
holds_few(q{select count(*) from sentinai.stat_relay_topic}, 0, 'stat_relay_topic');
holds_few(q{select count(*) from sentinai.stat_retry}, 0, 'stat_retry');
holds_few(q{select preloaded and oldest_partition is not null from sentinai.stat_info}, 't', 'stat_info');
holds_few(q{select count(*) from sentinai.get_events_by_tenant('t', max_events => 1000)}, $all, 'get_events_by_tenant()');
holds_few(q{select count(*) from sentinai.get_events_by_exception('t', 'k1')}, 1, 'get_events_by_exception()');

# A batch that is half done: the oldest of its lanes is behind a bitmap.
holds_few(q{create table batch as select * from sentinai.claim('early', 40, worker_id => 'me');
	select count(*) from batch}, 40, 'claim()');
holds_few(q{select concat_ws(' ', worker_id, in_flight) from sentinai.stat_agent}, 'me 40', 'stat_agent while it is held');
holds_few(q{select sentinai.complete(min(token), (array_agg(event_id))[2:15]) from batch}, 14, 'complete() of a part');
holds_few(q{select concat_ws(' ', lag_events, in_flight, oldest_unfinished_at =
	(select min(sentinai.event_time(event_id)) from sentinai.get_events_by_tenant('t', max_events => 1)))
	from sentinai.stat_queue where worker_type = 'early'}, $all - 14 . ' 26 t', 'stat_queue while it is held');
holds_few(q{select sentinai.release(min(token)) from batch}, 26, 'release()');

# work: all that a subscription has
sub work
{
	my ($worker) = @_;

	sql(qq{
	do \$\$
	declare
		t text;
		n int := 0;
	begin
		loop
			select min(token) into t from sentinai.claim('$worker', 1000);
			exit when t is null;
			commit;
			n := n + sentinai.complete(t);
			commit;
		end loop;
	end \$\$});
	return;
}
work('early');
work('late');
holds_few(q{select string_agg(concat_ws(' ', worker_type, lag_events, completed_count), ', ' order by worker_type)
	from sentinai.stat_queue}, "early 0 $all, late 0 $all, other 0 0", 'stat_queue when all is done');
holds_few(q{call sentinai.wait_for_work('other', '0 s', null)}, 'f', 'wait_for_work()');

# Retention: the past goes, whatever is ahead, and nobody lags.
is(sql(q{select blocked_by from sentinai.retention_status()}), '{}', 'nothing holds retention');
$node->append_conf('postgresql.conf', 'sentinai.retention = 0');
$node->reload;
$node->poll_query_until($db, q{select current_setting('sentinai.retention') = '0'}) or die;
my $slices = q{select count(*) from pg_inherits where inhparent = 'sentinai_internal.slice'::regclass};
my $before = sql($slices);
my ($rc, $out, $err) = $node->psql($db, 'select sentinai.maintain()');
is($err, '', 'maintain() drops in one transaction what its locks allow');
my $left = sql($slices);
cmp_ok($left, '<', $before, "which is some: $left of $before are left");
$node->append_conf('postgresql.conf', 'sentinai.maintenance_interval = 1s');
$node->reload;
poll_ok($node, $db, 60, qq{select count(*) <= $ahead + 2 from pg_inherits where inhparent = 'sentinai_internal.slice'::regclass},
	'the rest goes in the background, at the pace that is set now');
is(sql(q{select failing_steps from sentinai.stat_info}), '', 'and no step of maintenance fails');
is(state_of('drop extension sentinai'), '53200', 'DROP EXTENSION needs all locks at once, as the page on limits says');

$node->stop;
done_testing();
