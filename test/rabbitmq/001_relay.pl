# test/rabbitmq/001_relay.pl: events reach RabbitMQ, once and in order; what its
# queues get, and what happens to records that no queue takes.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use Encode ();
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RabbitNode;
use Sentinai;
use Test::More;

my $rabbit = RabbitNode->new("$PostgreSQL::Test::Utils::tmp_check/rabbit_relay");
my $node = new_node('rabbit_relay', "sentinai.broker = 'rabbitmq'",
	"sentinai.rabbitmq_conf = '@{[$rabbit->conf]}'", 'sentinai.launcher_naptime = 1s');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql('create extension sentinai');
my $id = sql(q{select sentinai.publish('Paid', 'acme', 'order-1', '{"amount": 7, "name": "größe"}',
	aggregate_type => 'order')});
sql(q{select count(*) from generate_series(1, 1999) n,
	lateral sentinai.publish('Paid', 'acme', 'order-' || n % 50, jsonb_build_object('n', n),
		aggregate_type => 'order')});
my @got = $rabbit->take('sentinai.order', 2000);

is(scalar @got, 2000, 'every event is in the queue of its topic');
my ($first) = grep { $_->{message_id} eq $id } @got;
is(Encode::encode('UTF-8', $first->{body}), '{"name": "größe", "amount": 7}', 'the payload as it is');
is($first->{content_type}, 'application/json', 'its type');
is($first->{delivery_mode}, 2, 'it is persistent');
is($first->{type}, 'Paid', "the event's type");
is($first->{headers}{'cloudEvents:id'}, $id, 'headers of CloudEvents have the names of AMQP');
is($first->{headers}{'cloudEvents:tenantid'}, 'acme', 'all of them');
my (%last, @turned);
foreach my $n (map { $_->{body} =~ /"n": (\d+)/ ? $1 : () } @got)
{
	push @turned, $n if defined $last{ $n % 50 } && $last{ $n % 50 } > $n;
	$last{ $n % 50 } = $n;
}
is_deeply(\@turned, [], 'in order by key');
is($rabbit->ctl('list_queues', '--no-table-headers', 'name', 'type', 'durable'), "sentinai.order\tquorum\ttrue",
	'a queue of a topic is a durable quorum queue');

# a relay with a name, made by who may set this parameter and not Kafka's
sql(q{create role courier login; grant alter system on parameter sentinai.rabbitmq_conf to courier;
	grant usage on schema sentinai to courier;
	grant execute on function sentinai.create_relay, sentinai.alter_relay, sentinai.drop_relay to courier});
my $make = "set role courier; select sentinai.create_relay('second', 'rabbitmq', '@{[$rabbit->conf]}', topic_template => 'second.{aggregate_type}')";
is(state_in($node, 'postgres', $make =~ s/rabbitmq/kafka/r =~ s/hosts/bootstrap.servers/r), '42501', 'who may set up RabbitMQ makes no relay to Kafka');
is(state_in($node, 'postgres', $make), '00000', 'and one to RabbitMQ');
$id = sql(q{select sentinai.publish('Paid', 'acme', 'order-2', '{}', aggregate_type => 'order')});
is(($rabbit->take('second.order', 1))[0]{message_id}, $id, 'it sends');
sql(q{create role driver login; grant alter system on parameter sentinai.kafka_conf to driver;
	grant usage on schema sentinai to driver;
	grant execute on function sentinai.alter_relay, sentinai.drop_relay to driver});
is(state_in($node, 'postgres', "set role driver; select sentinai.$_"), '42501', "who may set up Kafka alone: $_")
  foreach "alter_relay('second', workers => 2)", "drop_relay('second')";
is(state_in($node, 'postgres', "set role courier; select sentinai.$_"), '00000', $_)
  foreach "alter_relay('second', workers => 2)", "drop_relay('second')";
is(state_in($node, 'postgres', "set role courier; select sentinai.drop_relay('second')"), 'SN404', 'it is gone');

done_testing();
