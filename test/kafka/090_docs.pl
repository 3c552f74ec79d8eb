# test/kafka/090_docs.pl: docs/kafka.md says what a consumer sees. Its kcat
# lines run, and headers, keys and topics of each format are those it names.
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

my $unslept = 90;    # seconds within which anything here has to happen
my $page = slurp_file("$FindBin::RealBin/../../docs/kafka.md");
my $kafka = KafkaNode->new("$PostgreSQL::Test::Utils::tmp_check/kafka");
my $node = PostgreSQL::Test::Cluster->new('docs');

$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sentinai'
sentinai.kafka_conf = 'bootstrap.servers=@{[$kafka->bootstrap]}'
});
$node->start;
$node->safe_psql('postgres', 'create extension sentinai');

# Publish an event that has everything; give back its id.
sub publish
{
	return $node->safe_psql('postgres', q{
		select sentinai.publish('OrderPlaced', 'acme', 'A-1', '{"amount": 1}',
			aggregate_type => 'order', correlation_id => 'flow 1',
			causation_id => '019aac3c-7d3f-7c52-9d0f-5b1a6f0c9e11',
			metadata => '{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
				"tracestate": "a=1"}')
	});
}

# The record of an event in a topic, waited for.
sub record
{
	my ($topic, $header, $id) = @_;

	my $record = wait_for($unslept, sub {
		my ($found) = grep { ($_->{headers}{$header} // '') eq $id } $kafka->records($topic);
		return $found;
	});
	return $record // die "no record of $id in $topic";
}

# The first record in another format, and its event. The relay learns of the
# new setting when it does, so events are published until one arrives.
sub record_in_format
{
	my ($format, $topic, $header) = @_;

	$node->safe_psql('postgres', "alter system set sentinai.record_format = $format");
	$node->safe_psql('postgres', 'select pg_reload_conf()');
	my $record = wait_for($unslept, sub {
		publish();
		my ($found) = grep { defined $_->{headers}{$header} } $kafka->records($topic);
		return $found;
	});
	die "no record as $format in $topic" if !$record;
	return ($record, $record->{headers}{$header});
}

my $id = publish();
my $record = record('sentinai.order', 'ce_id', $id);
my ($table) = $page =~ /\*\*cloudevents\*\*.*?(\| Header.*?)\n\n/s;
my @named = sort map { /`([^`]+)`/g } map { (split /\|/)[1] }
  grep { /^\| `/ } split /\n/, $table;
is(join("\n", sort keys %{ $record->{headers} }),
	join("\n", @named), 'cloudevents has the headers of the page');
is($record->{key}, 'acme:A-1', 'and the key');
is($record->{value}, '{"amount": 1}', 'and the payload');
is($record->{headers}{ce_source}, '/sentinai/postgres/acme', 'source');
is($record->{headers}{ce_dataschema},
	'urn:sentinai:schema:OrderPlaced:1', 'schema');
is($record->{partition},
	$node->safe_psql('postgres', "select sentinai.partition_for('acme', 'A-1', 12)"),
	'the partition is told by partition_for()');

# attributes of the first batch of a partition: the codec is in three bits
my $log = slurp_file("$kafka->{dir}/data/sentinai.order-$record->{partition}/00000000000000000000.log");
is(unpack('n', substr $log, 21, 2) & 7, 0, 'records are not compressed');

my @lines = grep { /^kcat/ } map { split /\n/ } $page =~ /```sh\n(.*?)```/gs;
is(scalar @lines, 3, 'the page has kcat lines');
foreach my $line (@lines)
{
	local $ENV{BROKER} = $kafka->bootstrap;
	my ($out, $err);

	ok(IPC::Run::run([ 'sh', '-c', $line ], '<', \undef, '>', \$out, '2>', \$err),
		$line);
	like($out, $line =~ /-L/ ? qr/sentinai\.order/ : qr/acme:A-1/, 'shows it');
}

($record, $id) = record_in_format('debezium', 'outbox.event.order', 'id');
my %trace = (traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', tracestate => 'a=1');
is_deeply($record->{headers}, { id => $id, eventType => 'OrderPlaced', event_id => $id, %trace },
	'debezium: the headers of the page');
is($record->{key}, 'A-1', 'the key is the aggregate id');
is($record->{value}, '{"amount": 1}', 'the value is the payload');

($record, $id) = record_in_format('raw', 'sentinai.order', 'event_id');
is_deeply($record->{headers}, { event_id => $id, %trace }, 'raw: the id and the trace');
is($record->{key}, 'acme:A-1', 'the key is the partition key');

$node->stop;
done_testing();
