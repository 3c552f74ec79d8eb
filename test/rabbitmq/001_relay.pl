# test/rabbitmq/001_relay.pl: events reach RabbitMQ, once and in order; what its
# queues get, and what happens to records that no queue takes.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use Encode ();
use FindBin;
use JSON::PP ();
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RabbitNode;
use Sentinai;
use Test::More;

my $rabbit = RabbitNode->new("$PostgreSQL::Test::Utils::tmp_check/rabbit_relay");
my $node = new_node('rabbit_relay', "sentinai.broker = 'rabbitmq'",
	"sentinai.rabbitmq_conf = '@{[$rabbit->conf]}'", 'sentinai.launcher_naptime = 1s', "include_if_exists 'test.conf'");

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

# what record_options say, on AMQP: headers, a key that chooses the queue, topics by
# event type, tombstones, a transform, a topic for dead letters
$rabbit->declare('exchange', 'keyed', 'direct');
foreach my $queue (qw(acme:7 acme:order-3 paid.acme dead))
{
	$rabbit->declare('queue', $queue, {});
	$rabbit->declare('binding', 'keyed', $queue, $queue);
}
my %options = (
	keyed => 'key={tenant}:{metadata.order}; headers=region:eu,ce_team:shop; headers.metadata=user:x-user,count',
	topics => 'topics=Paid:paid.{tenant}; tombstones=Gone; dead.letter.topic=dead');
sql(qq{select sentinai.create_relay('keyed', 'rabbitmq', '@{[$rabbit->conf('exchange=keyed', 'routing.key={key}')]}', event_types => '{Keyed}', record_options => '$options{keyed}')});
sql(qq{select sentinai.create_relay('topics', 'rabbitmq', '@{[$rabbit->conf('message.max.bytes=2000')]}', event_types => '{Paid,Gone,Large}', topic_template => 'of.{aggregate_type}', record_options => '$options{topics}')});
sql(q{create schema shop authorization courier;
	set role courier;
	create function shop.send(e jsonb) returns jsonb language sql as $$ select case when (e->'payload'->>'test')::boolean then null else jsonb_build_object('sent_for', e->>'tenant_id', 'by', current_user) end $$});
sql(qq{set role courier; select sentinai.create_relay('made', 'rabbitmq', '@{[$rabbit->conf]}', event_types => '{Made}', topic_template => 'made', record_options => 'transform=shop.send')});
sql(qq{select sentinai.create_relay('$_', 'rabbitmq', '@{[$rabbit->conf]}', event_types => '{Formed}', topic_template => '$_', record_format => '$_')})
  foreach qw(cloudevents_structured debezium raw);
sql(q{
	select sentinai.publish('Keyed', 'acme', 'order-3', '{"n": 1}', 'order', '{"order": 7, "user": "jo", "count": 2}');
	select sentinai.publish('Keyed', 'acme', 'order-3', '{"n": 2}', 'order');
	select sentinai.publish('Paid', 'acme', 'order-3', '{"n": 3}', 'order');
	select sentinai.publish('Gone', 'acme', 'order-3', '{"n": 4}', 'order');
	select sentinai.publish('Made', 'acme', 'order-3', '{"test": true}', 'order');
	select sentinai.publish('Made', 'acme', 'order-3', '{"test": "perhaps"}', 'order');
	select sentinai.publish('Made', 'acme', 'order-3', '{}', 'order')});
$id = sql(q{select sentinai.publish('Large', 'acme', 'order-3', jsonb_build_object('t', repeat('x', 2000)), 'order')});
my ($keyed) = $rabbit->take('acme:7', 1);
is_deeply([ $keyed->{body}, @{ $keyed->{headers} }{qw(region cloudEvents:team x-user count cloudEvents:partitionkey)} ],
	[ '{"n": 1}', 'eu', 'shop', 'jo', '2', 'acme:7' ], 'headers that never change and of metadata, and a routing key of a key by template');
my ($usual) = $rabbit->take('acme:order-3', 1);
is_deeply([ $usual->{body}, @{ $usual->{headers} }{qw(region x-user)} ], [ '{"n": 2}', 'eu', undef ], 'an event that lacks a value of it keeps the usual one');
is(($rabbit->take('paid.acme', 1))[0]{body}, '{"n": 3}', 'a topic by event type is a queue');
my ($gone) = $rabbit->take('of.order', 1);
is_deeply([ @$gone{qw(body type content_type)} ], [ '', 'Gone', undef ], 'a tombstone is a message without a body');
is(($rabbit->take('made', 1))[0]{body}, '{"by": "courier", "sent_for": "acme"}', 'a transform says what is sent, and what not, with the rights of its owner');
is(sql(q{select reason from sentinai.dead_letter where worker_type = 'made'}), 'transform failed with SQLSTATE 22P02', 'its failure is a dead letter of that event only');
my $formed = sql(q{select sentinai.publish('Formed', 'acme', 'order-3', '{"n": 5}', 'order')});
my %formed = map { $_ => $rabbit->take($_, 1) } qw(cloudevents_structured debezium raw);
delete $_->{headers}{'x-delivery-count'} foreach values %formed;    # the queue's own
my $envelope = JSON::PP->new->decode($formed{cloudevents_structured}{body});
is_deeply([ @$envelope{qw(specversion id type subject tenantid data)}, $formed{cloudevents_structured}{content_type}, keys %{ $formed{cloudevents_structured}{headers} } ],
	[ '1.0', $formed, 'Formed', 'order-3', 'acme', { n => 5 }, 'application/cloudevents+json; charset=UTF-8', 'event_id' ], 'CloudEvents in structured mode');
is_deeply([ map { @$_{qw(message_id body headers)} } @formed{qw(debezium raw)} ], [ $formed, '{"n": 5}', { id => $formed, eventType => 'Formed', event_id => $formed }, $formed, '{"n": 5}', { event_id => $formed } ], "headers of Debezium, and of none")
  or diag explain \%formed;
my ($dead) = $rabbit->take('dead', 1);
is_deeply([ @{ $dead->{headers} }{qw(cloudEvents:id __connect.errors.stage sentinai_payload)} ], [ $id, 'TASK_PUT', 'omitted' ], 'what is too large is told in the topic for dead letters');
like($dead->{headers}{'__connect.errors.exception.message'}, qr/larger/, 'and why');
is_deeply([ grep { /^kafka/ } keys %{ $dead->{headers} } ], [], 'without headers of Spring for Kafka');
is(state_in($node, 'postgres', "select sentinai.create_relay('no', 'rabbitmq', '@{[$rabbit->conf]}', record_options => '$_')"), 'SN422', "makes no sense: $_")
  foreach 'dedupe=tail', 'dead.letter.topic=dead;dead.letter.headers=spring';

# the relay of the parameters has options, too, and says when they make no sense
set_conf($node, "sentinai.relay_record_options = 'headers=region:us; topics=Sold:sold'");
sql(q{select sentinai.publish('Sold', 'acme', 'order-4', '{}', 'order')});
is(($rabbit->take('sold', 1))[0]{headers}{region}, 'us', 'options of the relay of the parameters');
set_conf($node, "sentinai.relay_record_options = 'dedupe=tail'");
relay_says($node, 'postgres', 60, qr/option "dedupe" is for relays to Kafka/);

done_testing();
