# What leaves the server. Two tenants have topics of their own, and everything of
# one of them has a canary in it. Their events share an aggregate, a flow and an
# idempotency key, one is the other's cause, and the broker refuses some. No record
# in a topic of the other tenant has the canary, nor has the server's log, nor
# whatever statistics the other may read, while the relay works and after it has
# failed.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $canary = 'C4N4RY';
my $broker = MockBroker->new('--brokers', 1);
my $node = new_node('canary_relay', 'sentinai.tenant_isolation = on',
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$broker->bootstrap]},$MockBroker::soon,message.max.bytes=20000'",
	q{sentinai.topic_template = 'events.{tenant}.{aggregate_type}'}, "sentinai.dead_letter_topic = 'refused'",
	"sentinai.control_topic = 'control'", 'sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s',
	'log_statement = none', 'log_min_error_statement = panic', 'log_error_verbosity = verbose', "include_if_exists 'test.conf'");

sub sql { return $node->safe_psql('postgres', $_[0]) }

# as(ROLE, STATEMENTS): what they answer, errors and notices included
sub as
{
	my ($role, $statements) = @_;
	my (undef, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nset role $role;\n$statements", on_error_stop => 0);

	return "$out\n$err";
}

# texts(TOPIC): the records of a topic, all of each as a text
sub texts
{
	my ($topic) = @_;

	return map { my $r = $_; join ' ', $r->{key} // '', $r->{value} // '', map { "$_=$r->{headers}{$_}" } sort keys %{ $r->{headers} } }
	  $broker->records($topic);
}

sql(q{
	create extension sentinai;
	select sentinai.create_roles();
	create role alice; create role bob;
	grant sentinai_publisher, sentinai_agent, sentinai_reader, sentinai_operator, sentinai_auditor to alice, bob;
	select sentinai.grant_tenant(r, r, g) from unnest('{alice,bob}'::text[]) r, unnest('{publish,work,read,operate,audit}'::text[]) g;
	select sentinai.grant_work(r, r), sentinai.subscribe(r, backoff => '{1h}', tenants => array[r]) from unnest('{alice,bob}'::text[]) r;});
my @formats = qw(cloudevents cloudevents_structured debezium raw);
foreach my $format (@formats)
{
	set_conf_now($node, $unslept, "sentinai.record_format = '$format'");
	my $cause = sql(qq{
		set role bob;
		select sentinai.publish('$canary.t', 'bob', 'same', '{"say": "$canary"}', 'order', '{"meta": "$canary"}', 'flow', idempotency_key => '$format')});
	sql(qq{
		set role bob;
		select sentinai.publish_batch('{T,T}', '{bob,bob}', '{same,$canary}', array['{"say": "$canary"}', '{}']::jsonb[], 'order',
			'{"meta": "$canary"}', '{flow,$canary}');
		insert into sentinai.outbox (tenant_id, aggregatetype, aggregateid, type, payload) values ('bob', 'order', 'same', '$canary', '{"n": "$canary"}');
		select sentinai.publish('T', 'bob', 'same', jsonb_build_object('$canary', repeat('$canary', 9000)), 'order'),
			sentinai.publish('T', 'bob', '$canary', '{}', '$canary/');
		reset role;
		set role alice;
		select sentinai.publish('T', 'alice', 'same', '{"say": "hers"}', 'order', '{}', 'flow', '$cause', '$format'),
			sentinai.publish('T', 'alice', 'same', jsonb_build_object('t', repeat('hers', 9000)), 'order');
		select sentinai.publish_batch('{T}', '{alice}', '{same}', array['{"say": "hers"}']::jsonb[], 'order', '{}', '{flow}')});
	relay_passed_ok($node, 'postgres', $unslept, "$format: all is relayed");
}

# Somebody works, and fails.
ok(wait_for($unslept, sub {
	sql(q{set role bob; select sentinai.fail(token, event_id, 'C4N4RY', false) from sentinai.claim('bob', 3)}) =~ /dead/ }), 'bob fails');
relay_passed_ok($node, 'postgres', $unslept, 'that is relayed');

my @hers = texts('events.alice.order');
is(scalar(@hers), 2 * @formats, 'what alice gets');
is(scalar(grep { /hers/ } @hers), scalar(@hers), 'is hers');
is_deeply([ grep { /$canary|bob/ } @hers ], [], 'and has nothing of the other');
my @his = texts('events.bob.order');
is(scalar(@his), 4 * @formats, 'bob gets his');
is_deeply([ grep { /alice|hers/ } @his ], [], 'and nothing of alice');
is(scalar(grep { /$canary/ } @his), scalar(@his), 'with the canary');
is(scalar(@{[ texts('refused') ]}), 3 * @formats, 'what is refused is in the topic for that, which is nobody\'s');
ok((grep { /$canary/ } texts('control')), 'as what failed is in that of control events');

# What alice may read of all this: each view, and each function that gives figures.
my @views = split /\s+/, sql(q{select string_agg(relname, ' ' order by relname) from pg_class where relnamespace = 'sentinai'::regnamespace and relkind in ('v', 'f')});
my @figures = split /\n/, sql(q{select format('sentinai.%s(%s)', p.proname, (select string_agg('1', ',') from generate_series(1, p.pronargs)))
	from pg_proc p where pronamespace = 'sentinai'::regnamespace and proname ~ '^(stat_|dead_letter_stats|limit_buckets|retention_status)' order by 1});
sub looks
{
	my ($when) = @_;

	foreach my $what ((map { "sentinai.$_" } @views), @figures)
	{
		unlike(as('alice', "select * from $what"), qr/$canary|\bbob\b/, "$when: nothing of the other in $what");
	}
	return;
}
looks('the relay works');

# The broker goes, with records on their way; what the relay says of it is read by all.
$broker->order('down all');
sql(qq{set role bob; select sentinai.publish('T', 'bob', '$canary', '{"say": "$canary"}', 'order') from generate_series(1, 20)});
poll_ok($node, 'postgres', $unslept, q{select count(*) > 0 from sentinai.stat_relay where last_error is not null}, 'the relay has failed');
looks('the relay has failed');
$broker->order('up all');
relay_passed_ok($node, 'postgres', $unslept, 'all is relayed');

my $log = slurp_file($node->logfile);
is_deeply([ grep { /"say"|hers|$canary(?!\.t|\/)/ } split /\n/, $log ], [], 'the log has no word of an event');
$node->stop;
done_testing();
