# test/kafka/009_tenants.pl: topics per tenant in a broker whose access rights
# are on. sentinai-topics plans, makes and grants; each tenant reads its own
# topics and no other's, whatever they are called. What the broker refuses is in
# the dead-letter topic.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib", "$FindBin::RealBin/../tap/lib";
use IPC::Run ();
use KafkaNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 90;    # seconds within which anything here has to happen
my $program = "$FindBin::RealBin/../../build/workers/sentinai-topics";
my $plain = 'org.apache.kafka.common.security.plain.PlainLoginModule required';
# names that one could take for another
my @tenants = ('acme', 'acme.eu', 'acme_eu', 'acme-eu');
my %slug = ('acme' => 'acme', 'acme.eu' => 'acme--2eeu', 'acme_eu' => 'acme--5feu', 'acme-eu' => 'acme-eu');
my $users = join ' ', map { "user_$_=\"secret-$_\"" } 'admin', 'relay', values %slug;
my $kafka = KafkaNode->new(PostgreSQL::Test::Utils::tempdir() . '/kafka',
	'listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT',
	'sasl.enabled.mechanisms=PLAIN', 'sasl.mechanism.inter.broker.protocol=PLAIN',
	"listener.name.plaintext.plain.sasl.jaas.config=$plain username=\"admin\" password=\"secret-admin\" $users;",
	'authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer',
	'super.users=User:admin;User:ANONYMOUS', 'auto.create.topics.enable=true');
my $secrets = PostgreSQL::Test::Utils::tempdir();

open my $out, '>', "$secrets/relay" or die $!;
print $out "secret-relay\n";
close $out;
chmod 0600, "$secrets/relay" or die $!;

my $node = new_node('tenants', "sentinai.secret_directory = '$secrets'",
	'sentinai.topic_replication = 1', 'sentinai.topic_partitions = 2',
	q{sentinai.topic_template = 'events.{tenant}.{aggregate_type}'},
	"sentinai.dead_letter_topic = 'events.dead'", 'sentinai.launcher_naptime = 1s',
	"include_if_exists 'test.conf'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# client(USER): properties of a client
sub client
{
	my ($user) = @_;

	return ('-X', 'security.protocol=SASL_PLAINTEXT', '-X', 'sasl.mechanism=PLAIN',
		'-X', "sasl.username=$user", '-X', "sasl.password=secret-$user");
}

# topics(ARGUMENT...): what the program prints, and its exit status
sub topics
{
	my ($printed, $err);

	IPC::Run::run([ $program, '-d', $node->connstr('postgres'), @_ ], '<', \undef, '>', \$printed, '2>', \$err);
	return ($printed, $? >> 8, $err);
}

# reads(USER, TOPIC): what a user gets of a topic, or why he does not
sub reads
{
	my ($user, $topic) = @_;
	my ($printed, $err);

	IPC::Run::run([ 'kcat', '-b', $kafka->bootstrap, client($user), '-C', '-t', $topic, '-o', 'beginning', '-e', '-q', '-f', '%k %s\n' ],
		'<', \undef, '>', \$printed, '2>', \$err, IPC::Run::timeout(60));
	return $? == 0 ? join ' ', sort split /\n/, $printed : $err =~ /authorization/i ? 'refused' : $err;
}

my @broker = ('-b', $kafka->bootstrap, client('admin'));
my @named = map { ('-t', $_) } @tenants;
sql('create extension sentinai');

# A plan needs no broker; with one it says what is there.
my ($plan, $status) = topics('plan', @named, '--aggregate-type', 'order', '--aggregate-type', 'invoice');
is($status, 0, 'a plan');
is($plan, join('', sort map { my $t = $_; map { "events.$slug{$t}.$_\t$t\t2\t?\n" } qw(order invoice) } @tenants), 'of all topics');
my ($planned) = topics('plan', @broker, @named, '--aggregate-type', 'order');
is(scalar(() = $planned =~ /\tmissing$/mg), 4, 'nothing is there yet');
($planned) = topics('plan', @broker, @named, '--aggregate-type', 'order');
is(scalar(() = $planned =~ /\tmissing$/mg), 4, 'and a plan makes nothing, whatever the broker does by itself');
my ($commands) = topics('create', '-t', 'acme.eu', '--aggregate-type', 'order');
is($commands, qq{kafka-topics.sh --bootstrap-server "\$BROKER" --create --if-not-exists --topic events.acme--2eeu.order --partitions 2 --replication-factor 1\n},
	'what would be done is printed');
($commands) = topics('acls', '-t', 'acme', '--aggregate-type', 'order', '--relay', 'User:relay');
is($commands, join('', map { qq{kafka-acls.sh --bootstrap-server "\$BROKER" --add --allow-principal 'User:$_ --resource-pattern-type prefixed\n} }
	"relay' --operation Write --topic events.", "relay' --operation Describe --topic events.", "relay' --operation Create --topic events.",
	"acme' --operation Read --topic events.acme.", "acme' --operation Describe --topic events.acme.", "acme' --operation Read --group acme."),
	'rights are on prefixes');

# It is done.
my ($made, $done) = topics('create', '--apply', @broker, @named, '--aggregate-type', 'order');
is($done, 0, 'topics are made');
is(scalar(() = $made =~ /\tcreated$/mg), 4, 'all of them');
($made, $done) = topics('create', '--apply', @broker, @named, '--aggregate-type', 'order');
is(scalar(() = $made =~ /\texists$/mg), 4, 'once');
($planned) = topics('plan', @broker, @named, '--aggregate-type', 'order');
is(scalar(() = $planned =~ /\t2\texists$/mg), 4, 'the plan knows them');
(undef, $done) = topics('acls', '--apply', @broker, @named, '--aggregate-type', 'order', '--relay', 'User:relay');
is($done, 0, 'rights are granted');

# The relay, which is nobody's superuser, writes; each tenant reads its own.
set_conf_now($node, $unslept, 'sentinai.kafka_conf = ' . "'bootstrap.servers=" . $kafka->bootstrap
	  . ',security.protocol=SASL_PLAINTEXT,sasl.mechanism=PLAIN,sasl.username=relay,'
	  . "sasl.password.file=$secrets/relay,message.max.bytes=20000'");
sql("select sentinai.publish('OrderPlaced', '$_', 'o', jsonb_build_object('of', '$_'), 'order')") foreach @tenants;
worked_off_ok($node, 'postgres', $unslept, q{
	select lag_events = 0 and in_flight = 0 and waiting_events = 0 and acked_count >= 4 from sentinai.stat_relay}, 'all is relayed');
foreach my $tenant (@tenants)
{
	foreach my $of (@tenants)
	{
		is(reads($slug{$tenant}, "events.$slug{$of}.order"), $tenant eq $of ? qq{$of:o {"of": "$of"}} : 'refused',
			"$tenant and the orders of $of");
	}
}

# What was seen in the log can be planned, a topic that the relay made included.
sql(q{select sentinai.publish('Paid', 'acme', 'i', '{}', 'invoice')});
worked_off_ok($node, 'postgres', $unslept, q{
	select lag_events = 0 and in_flight = 0 and waiting_events = 0 from sentinai.stat_relay}, 'the relay makes a topic');
is(reads('acme', 'events.acme.invoice'), 'acme:i {}', 'which its tenant reads at once');
($planned) = topics('plan', @broker, '--seen', '1h');
is(scalar(() = $planned =~ /\texists$/mg), 5, 'what was seen is planned');

# Records that are refused, in the topic for them.
my $large = sql(q{select sentinai.publish('Large', 'acme', 'l', jsonb_build_object('t', (select string_agg(md5(i::text), '') from generate_series(1, 2000) i)), 'order')});
poll_ok($node, 'postgres', $unslept, "select count(*) = 1 from sentinai.dead_letter where event_id = '$large' and worker_type = 'relay'", 'a dead letter');
worked_off_ok($node, 'postgres', $unslept, q{
	select lag_events = 0 and in_flight = 0 and waiting_events = 0 from sentinai.stat_relay}, 'all is relayed');
my ($record, $err);
IPC::Run::run([ 'kcat', '-b', $kafka->bootstrap, client('admin'), '-C', '-t', 'events.dead', '-o', 'beginning', '-e', '-q', '-f', '%k %S %h\n' ],
	'<', \undef, '>', \$record, '2>', \$err);
like($record, qr/^acme:l -1 /, 'a record without value');
like($record, qr/ce_id=\Q$large\E/, 'of the event');
like($record, qr/kafka_dlt-exception-message=/, 'with a reason for Spring');
like($record, qr/__connect\.errors\.exception\.message=/, 'and for Connect');
is(reads('acme', 'events.dead'), 'refused', 'which no tenant reads');

# Whoever publishes a type that makes no topic keeps nobody from a plan.
sql(q{select sentinai.publish('OrderPlaced', 'acme', 'o', '{}', 'a/b')});
($planned, $status, $err) = topics('plan', '--seen', '1h');
is($status, 1, 'a type that makes no topic');
like($err, qr/^sentinai-topics: acme: topic name would contain/, 'is told');
is(scalar(() = $planned =~ /\t2\t\?$/mg), 5, 'and the others are planned');

# What cannot be done is said.
is((topics('plan'))[1], 64, 'tenants are needed');
is((topics('plan', '-t', 'a', '--aggregate-type', 'a/b'))[1], 1, 'a topic that cannot be');
is((topics('create', '--apply', '-t', 'a'))[1], 64, 'a broker is needed');
is((topics('create', '--apply', '-b', $kafka->bootstrap, client('acme'), '-t', 'zeta', '--aggregate-type', 'order'))[1], 1, 'a client that may not');
set_conf_now($node, $unslept, q{sentinai.topic_template = '{aggregate_type}.{tenant}.{event_type}'});
(undef, $status, $err) = topics('plan', '-t', 'a', '-t', 'b', qw(--aggregate-type x --aggregate-type x.a --event-type T --event-type b.T));
is($status, 1, 'a template by which two tenants would share a topic');
like($err, qr/x\.a\.b\.T would be a topic of a and of b/, 'which is told');
foreach (['events.{tenant}.{aggregate_type}', 'sentinai.dead_letter_topic', 'events.dead.all', 'below the prefix of one'],
	['{aggregate_type}.{tenant}', 'sentinai.control_topic', 'order.dead', 'that has the name of one'])
{
	my ($template, $setting, $topic, $what) = @$_;

	set_conf_now($node, $unslept, "sentinai.topic_template = '$template'\n$setting = '$topic'");
	(undef, $status, $err) = topics('acls', '-t', 'dead', '--aggregate-type', 'order');
	is($status, 1, "a topic of all tenants $what");
	like($err, qr/\Q$topic\E, which has records of all tenants, would be a topic of dead;/, 'is told');
	is((topics('acls', '-t', 'deaf', '--aggregate-type', 'order'))[1], 0, 'and is no matter to others');
}

$node->stop;
$kafka->stop;
done_testing();
