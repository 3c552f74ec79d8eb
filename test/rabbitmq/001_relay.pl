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

done_testing();
