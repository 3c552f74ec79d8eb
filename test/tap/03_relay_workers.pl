# The number of a relay's workers changes under load: nothing is lost, each key
# stays in its order, and no more is sent again than what a worker may have had
# without an answer when it ended.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $inflight = 20;    # events of a worker without an answer
my ($here, $there) = map { MockBroker->new('--brokers', 1) } 1 .. 2;
my $node = new_node('relay_workers', "sentinai.kafka_conf = 'bootstrap.servers=@{[$here->bootstrap]}'",
	'sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s', 'max_worker_processes = 24', 'log_statement = none',
	"sentinai.relay_inflight = $inflight", "include_if_exists 'test.conf'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# workers(RELAY): how many of its workers run
sub workers
{
	return sql("select count(pid) from sentinai.stat_relay where relay = '$_[0]'");
}

sql(qq{
	create extension sentinai;
	select sentinai.create_relay('there', 'kafka', 'bootstrap.servers=@{[$there->bootstrap]}')});
my $load = start_load($node, 'postgres', 'publish', 2, q{
	\set k random(1, 60)
	select sentinai.publish_batch(array_fill('T'::text, '{3}'), array_fill('t'::text, '{3}'), array_fill('k' || :k, '{3}'), array_fill('{}'::jsonb, '{3}'));
	\sleep 20 ms
});
my $starts = 1;
foreach my $n (4, 1, 8, 0, 2)
{
	my $sent = $there->records('sentinai.exception');

	$starts += $n;
	sql("select sentinai.alter_relay('there', workers => $n)") if $n > 0;
	set_conf_now($node, $unslept, "sentinai.relay_workers = $n");
	ok(wait_for($unslept, sub { workers('relay') == $n && ($n == 0 || workers('there') == $n) }), "$n at work");
	ok(wait_for($unslept, sub { $there->records('sentinai.exception') > $sent + 50 }), "$n: they send");
}
stop_load($load, $unslept);
relay_passed_ok($node, 'postgres', $unslept, 'all is sent');
my $order = sql(q{
	select string_agg(aggregate_id || ' ' || event_id, E'\n' order by aggregate_id, x.position) from (
		select l.aggregate_id, l.event_id, (s.slice_no, u.i) as position from sentinai_internal.slice s, unnest(s.event_ids) with ordinality u (id, i), sentinai.event_log l
		where s.stream_id = 0 and l.event_id = u.id and l.event_type = 'T') x});
foreach my $run ([ relay => $here ], [ there => $there ])
{
	my ($relay, $broker) = @$run;
	my (%keys, %seen);
	my $copies = 0;

	foreach ($broker->records('sentinai.exception'))
	{
		$copies++ if $seen{ $_->{headers}{ce_id} }++;
		push @{ $keys{ $_->{key} } }, $_->{headers}{ce_id} if $seen{ $_->{headers}{ce_id} } == 1;
	}
	is(join("\n", map { my $key = $_; map { $key =~ s/^t://r . " $_" } @{ $keys{$key} } } sort keys %keys), $order,
		"$relay: each event, and in the order of its key");
	cmp_ok($copies, '<=', $inflight * $starts, "$relay: few are sent again");
}
$node->stop;
done_testing();
