# test/kafka/012_cluster.pl: three brokers, of which two have to have a record.
# kill -9 of each in turn under load: the relay goes on with the others. With two
# of them gone nothing counts as delivered, and nothing is lost when they are back.
# Of version 4, if nobody says otherwise.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";
BEGIN { $ENV{SENTINAI_KAFKA} ||= 4 }
use Arrived;
use KafkaCluster;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $topic = 'sentinai.exception';
my $unslept = 90;    # seconds within which anything here has to happen
my $publishers = 3;
my $inflight = 500;
my $kafka = KafkaCluster->new("$PostgreSQL::Test::Utils::tmp_check/kafka_cluster", 3,
	'default.replication.factor=3', 'min.insync.replicas=2', 'offsets.topic.replication.factor=3');
my $node = new_node('cluster', "sentinai.kafka_conf = 'bootstrap.servers=@{[$kafka->bootstrap]}'",
	"sentinai.relay_inflight = $inflight", 'sentinai.topic_replication = 3',
	'sentinai.topic_partitions = 6', 'sentinai.breaker_open_time = 1s', 'sentinai.launcher_naptime = 1s');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub acked { return sql('select coalesce(sum(acked_count), 0) from sentinai.stat_relay'); }

# goes_on_ok(NAME): tests that the broker takes what is published
sub goes_on_ok
{
	my ($name) = @_;
	my $before = acked();

	ok(wait_for($unslept, sub { return acked() > $before + 200; }), "$name: the relay goes on")
	  or diag(sql('select * from sentinai.stat_relay'));
	return;
}

sub whole_ok
{
	my ($name) = @_;

	ok(wait_for($unslept, sub { return $kafka->whole($topic); }), "$name: all replicas are in sync");
	return;
}

sql('create extension sentinai');
my @load = start_publishers($node, $publishers, 0.01);
goes_on_ok('three brokers');
whole_ok('three brokers');
foreach my $id (1 .. 3)
{
	$kafka->kill9($id);
	goes_on_ok("without broker $id");
	$kafka->start($id);
	whole_ok("broker $id is back");
}

# What was on its way back when two of them died is taken first.
$kafka->kill9(1, 3);
my $at_kill = logged($node);
ok(wait_for($unslept, sub { return logged($node) > $at_kill + 200; }), 'publishers go on');
my $acked = acked();
$at_kill = logged($node);
ok(wait_for($unslept, sub { return logged($node) > $at_kill + 500; }), 'and on');
is(acked(), $acked, 'one broker of three: nothing counts as delivered');
$kafka->start(1, 3);
goes_on_ok('three brokers again');
stop_publishers($node, @load);
once_in_order_ok(5 * $inflight, keys_of($publishers), arrived_ok($kafka, $node, $topic, $unslept));
relay_passed_ok($node, 'postgres', $unslept, 'nothing is left');
is(sql('select count(*) from sentinai.dead_letter'), '0', 'no dead letters');

$node->stop;
$kafka->stop;
done_testing();
