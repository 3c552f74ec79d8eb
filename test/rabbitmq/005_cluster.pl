# test/rabbitmq/005_cluster.pl: three nodes with quorum queues, which are killed one by
# one. Nothing is lost, and the first of each event comes in the order of its key.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RabbitNode;
use Sentinai;
use Test::More;

my $unslept = 90;    # seconds within which anything here has to happen
my $keys = 20;
my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $queue = 'sentinai.order';
my $first = RabbitNode->new("$tmp/rabbit_one");
my @nodes = ($first, $first->joined("$tmp/rabbit_two", "$tmp/rabbit_three"));
my $hosts = 'hosts=' . join ',', map { "127.0.0.1:$_->{port}" } @nodes;
my $node = new_node('rabbit_cluster', "sentinai.broker = 'rabbitmq'",
	"sentinai.rabbitmq_conf = '$hosts'", 'sentinai.launcher_naptime = 1s', 'sentinai.breaker_open_time = 1s');
my $published = 0;
my (%seen, %last, @turned);

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub publish
{
	my ($count) = @_;

	sql(qq{select count(*) from generate_series($published + 1, $published + $count) n,
		lateral sentinai.publish('Paid', 'acme', 'key-' || n % $keys, jsonb_build_object('n', n), aggregate_type => 'order')});
	$published += $count;
	return;
}

# arrived(NODE): takes what is in the queue, until every event was there.
sub arrived
{
	my ($from) = @_;

	return wait_for($unslept, sub {
		foreach my $n (map { $_->{body} =~ /"n": (\d+)/ ? $1 : () } $from->take($queue))
		{
			next if $seen{$n}++;
			push @turned, $n if defined $last{ $n % $keys } && $last{ $n % $keys } > $n;
			$last{ $n % $keys } = $n;
		}
		return keys %seen >= $published;
	});
}

sql('create extension sentinai');
publish(200);
relay_passed_ok($node, 'postgres', $unslept, 'the first events are confirmed');
like($first->ctl('list_queues', '--no-table-headers', 'name', 'type', 'members'), qr/^\Q$queue\E\tquorum\t\[(?:[^,\]]+,){2}[^,\]]+\]$/m, 'the queue is on three nodes');

# the node that leads the queue
my ($leader) = $first->ctl('list_queues', '--no-table-headers', 'name', 'leader') =~ /^\Q$queue\E\tsn(\d+)@/m;
my ($killed, @others) = sort { ($b->{port} == $leader) <=> ($a->{port} == $leader) } @nodes;
$killed->kill9;
publish(300);
relay_passed_ok($node, 'postgres', $unslept, 'two nodes confirm');
ok(arrived($others[0]), 'all events are there without the node that led the queue');

# one of three is not the most of them: nothing is confirmed, and nothing is lost
$others[1]->kill9;
publish(300);
poll_ok($node, 'postgres', $unslept, q{select sum(lag_events) = 300 and sum(in_flight) > 0 from sentinai.stat_relay}, 'one node alone confirms nothing');
$killed->start;
relay_passed_ok($node, 'postgres', $unslept, 'and so do two again');
ok(arrived($others[0]), 'with two of three again everything arrives');
is_deeply(\@turned, [], 'in order by key');

done_testing();
