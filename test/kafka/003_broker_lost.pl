# test/kafka/003_broker_lost.pl: kill -9 of the broker under load. Publishers
# go on, and after it is back everything arrives, in order per key.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";
use Arrived;
use KafkaNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $topic = 'sentinai.exception';
my $unslept = 90;    # seconds within which anything here has to happen
my $publishers = 3;
my $inflight = 500;
my $kafka = KafkaNode->new("$PostgreSQL::Test::Utils::tmp_check/kafka_broker_lost");
my $node = PostgreSQL::Test::Cluster->new('broker_lost');

$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sentinai'
sentinai.kafka_conf = 'bootstrap.servers=@{[$kafka->bootstrap]},reconnect.backoff.max.ms=500'
sentinai.relay_inflight = $inflight
sentinai.breaker_open_time = '1s'
});
$node->start;
$node->safe_psql('postgres', 'create extension sentinai');

# Wait until the code gives a true value, and die when it does not.
sub await
{
	my ($what, $code) = @_;

	return wait_for($unslept, $code) || die "timed out waiting for $what";
}

my @load = start_publishers($node, $publishers, 0.002);

await('the first records', sub {
	$kafka->records($topic, 300) >= 300;
});
$kafka->kill9;
my $at_kill = logged($node);
await('publishers to go on without a broker', sub { logged($node) > $at_kill + 1000 });
pass('publishers go on while the broker is gone');
$kafka->start;

my $after = logged($node);
await('load after the return', sub { logged($node) > $after + 500 });
stop_publishers($node, @load);
once_in_order_ok($inflight, keys_of($publishers), arrived_ok($kafka, $node, $topic, $unslept));

$node->stop;
$kafka->stop;
done_testing();
