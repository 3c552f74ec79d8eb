# Records as people need them: each relay has its own form of them.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use JSON::PP;
use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $broker = MockBroker->new('--brokers', 1);
my $conf = 'bootstrap.servers=' . $broker->bootstrap . ",$MockBroker::soon";
my $node = new_node('records', 'sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s', 'max_worker_processes = 24', 'log_statement = none');

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub state_of { return state_in($node, 'postgres', $_[0]); }

# relay(NAME, MORE): one that sends to topics of its name, from the beginning
sub relay
{
	my ($name, $more) = @_;

	return sql("select sentinai.create_relay('$name', 'kafka', '$conf', topic_template => '$name', start_from => 'earliest', $more)");
}

# records(TOPIC, N): what is there, once it is so many
sub records
{
	my ($topic, $n) = @_;
	my @records;

	wait_for($unslept, sub { @records = $broker->records($topic); @records >= $n });
	is(scalar(@records), $n, "$topic: $n records");
	return @records;
}

sql('create extension sentinai');
my $paid = sql(q{select sentinai.publish('OrderPaid', 'acme', 'A-1', '{"amount": 10}', 'order', '{"user": "u\"1"}')});

# CloudEvents in structured mode: what others have as headers is in the value.
relay('structured', q{record_format => 'cloudevents_structured'});
my ($r) = records('structured', 1);
my $envelope = JSON::PP->new->utf8->decode($r->{value});
is_deeply([ @$envelope{qw(specversion id type subject tenantid partitionkey data)} ], [ '1.0', $paid, 'OrderPaid', 'A-1', 'acme', 'acme:A-1', { amount => 10 } ], 'attributes and payload are in the value');
is_deeply([ sort keys %{ $r->{headers} } ], [ 'content-type', 'event_id' ], 'and in no header');
is($r->{headers}{event_id}, $paid, 'but the id');
is($r->{key}, 'acme:A-1', 'the key is the same');

$node->stop;
done_testing();
