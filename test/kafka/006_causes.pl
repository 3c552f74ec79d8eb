# A broker that does not know the password: stat_relay says so in words, within
# seconds, and goes on saying so.
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
use Time::HiRes qw(time);

my $soon = 5;    # seconds
my $plain = 'org.apache.kafka.common.security.plain.PlainLoginModule required';
my $kafka = KafkaNode->new(PostgreSQL::Test::Utils::tempdir() . '/kafka',
	'listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT',
	'sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256',
	'sasl.mechanism.inter.broker.protocol=PLAIN',
	"listener.name.plaintext.plain.sasl.jaas.config=$plain username=\"node\""
	  . ' password="n0de" user_node="n0de" user_relay="c0ffee5ec4e7";',
	'listener.name.plaintext.scram-sha-256.sasl.jaas.config='
	  . 'org.apache.kafka.common.security.scram.ScramLoginModule required;');
my $secrets = PostgreSQL::Test::Utils::tempdir();

my $files = 0;

# password(TEXT): a file that holds it
sub password
{
	my ($text) = @_;
	my $path = "$secrets/" . ++$files;

	open my $out, '>', $path or die $!;
	print $out "$text\n";
	close $out;
	chmod 0600, $path or die $!;
	return $path;
}

# conf(MECHANISM, PASSWORD): kafka_conf
sub conf
{
	my ($mechanism, $password) = @_;

	return 'bootstrap.servers=' . $kafka->bootstrap
	  . ",security.protocol=SASL_PLAINTEXT,sasl.mechanism=$mechanism"
	  . ',sasl.username=relay,sasl.password.file=' . password($password);
}

my $node = new_node('causes', "sentinai.secret_directory = '$secrets'",
	'sentinai.launcher_naptime = 1s', "include_if_exists 'test.conf'",
	'sentinai.topic_replication = 1', 'sentinai.topic_partitions = 1');

# stays_ok(SECONDS, NAME): the reason is in view, and in words, all the time
sub stays_ok
{
	my ($seconds, $name) = @_;
	my $until = time() + $seconds;
	my $last = '';

	poll_ok($node, 'postgres', $soon,
		"select last_error ilike '%authentication%' from sentinai.stat_relay", $name);
	wait_for($seconds, sub {
		$last = $node->safe_psql('postgres', 'select last_error from sentinai.stat_relay');
		return $last !~ /authentication/i || time() > $until;
	});
	like($last, qr/authentication/i, "$name: and it stays");
	return;
}

$node->safe_psql('postgres', 'create extension sentinai');
foreach my $mechanism ('SCRAM-SHA-256', 'PLAIN')
{
	set_kafka_conf($node, conf($mechanism, "wr0ng$mechanism"));
	stays_ok(2, "$mechanism: nothing to send");
	$node->safe_psql('postgres',
		q{select sentinai.publish('Thing', 'acme', 'k', '{}', 'thing')});
	stays_ok(12, "$mechanism: an event waits");
}
set_kafka_conf($node, conf('PLAIN', 'c0ffee5ec4e7'));
worked_off_ok($node, 'postgres', 12 * $soon, q{
	select state = 'running' and acked_count >= 2 and lag_events = 0
	from sentinai.stat_relay}, 'the right password');
is(log_count($node, qr/wr0ng|c0ffee/), 0, 'no password in the log');
$node->stop;
done_testing();
