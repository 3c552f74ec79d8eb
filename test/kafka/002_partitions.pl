# test/kafka/002_partitions.pl: a real broker has each key where
# partition_for() says, with the key's bytes and the event's id.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";
use KafkaNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $partitions = 7;
my $topic = 'sentinai.exception';
my $kafka = KafkaNode->new("$PostgreSQL::Test::Utils::tmp_check/kafka_partitions");
my $node = PostgreSQL::Test::Cluster->new('partitions');

$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sentinai'
sentinai.kafka_conf = 'bootstrap.servers=@{[$kafka->bootstrap]}'
sentinai.topic_partitions = $partitions
});
$node->start;
$node->safe_psql('postgres', 'create extension sentinai');

# Plain, non-ASCII and empty aggregates, and events of a tenant itself.
$node->safe_psql('postgres', q{
	select sentinai.publish('T', 'tenant-' || i % 5, w || i, '{}')
	from generate_series(1, 300) i,
		unnest(array['a-', 'köln-', '東京', 'мир', '🚀']) w;
	select sentinai.publish('T', 'tenant-' || i, null, '{}')
	from generate_series(1, 20) i;
});

my $expected = $node->safe_psql('postgres', qq{
	select event_id || '|' || sentinai.partition_for(tenant_id, aggregate_id,
			$partitions) || '|' ||
		sentinai.get_partition_key(tenant_id, aggregate_id)
	from sentinai.event_log order by 1
});
my $count = () = $expected =~ /\n/g;
my @records;

wait_for(90, sub { @records = $kafka->records($topic); @records > $count });

is($kafka->partitions($topic), $partitions,
	'the relay made the topic with sentinai.topic_partitions partitions');
is(scalar @records, $count + 1, 'every event arrived once');
is( join("\n",
		sort map { "$_->{headers}{ce_id}|$_->{partition}|$_->{key}" } @records),
	$expected,
	'ids, partitions and keys are those that SQL computes');

$node->stop;
$kafka->stop;
done_testing();
