# Why a relay does not run, or gets no answer: in stat_relay, in words, within
# seconds, and without a secret.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $soon = 5;    # seconds
my $broker = MockBroker->new('--brokers', 1);
my $secrets = PostgreSQL::Test::Utils::tempdir();
my $servers = 'bootstrap.servers=' . $broker->bootstrap
  . ',reconnect.backoff.ms=50,reconnect.backoff.max.ms=200';
my $secret = 'c0ffee5ec4e7';

# file(NAME, MODE): a file in the directory for secrets
sub file
{
	my ($name, $mode) = @_;

	open my $out, '>', "$secrets/$name" or die $!;
	print $out "$secret\n";
	close $out;
	chmod $mode, "$secrets/$name" or die $!;
	return "$secrets/$name";
}

my $node = new_node('causes', "sentinai.secret_directory = '$secrets'",
	"sentinai.kafka_conf = '$servers,no.such.property=1'",
	'sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s',
	"include_if_exists 'test.conf'");

# cause_ok(STATES, TEXT, NAME): the relay's state is one of these, with its last error
sub cause_ok
{
	my ($states, $text, $name) = @_;

	poll_ok($node, 'postgres', $soon, qq{
		select state = any ('{$states}') and (pid is null) = (state = 'stopped') and
			last_error like \$t\$%$text%\$t\$
		from sentinai.stat_relay}, $name)
	  or diag($node->safe_psql('postgres', 'select to_json(r) from sentinai.stat_relay r'));
	return;
}

# running_ok(NAME): the relay runs, and sends what is published
sub running_ok
{
	my ($name) = @_;

	$node->safe_psql('postgres',
		q{select sentinai.publish('Thing', 'acme', 'k', '{}', 'thing')});
	worked_off_ok($node, 'postgres', 2 * $soon, q{
		select state = 'running' and lag_events = 0 and acked_count > 0
		from sentinai.stat_relay}, $name);
	return;
}

$node->safe_psql('postgres', 'create extension sentinai');
cause_ok('stopped', 'no.such.property', 'an unknown property');

set_kafka_conf($node, "$servers,ssl.ca.location=" . file('ca', 0));
cause_ok('stopped', 'Permission denied', 'a file that cannot be read');

set_kafka_conf($node, "$servers,sasl.password.file=" . file('open', 0644));
cause_ok('stopped', 'must belong to the server', 'a secret that others can read');

set_kafka_conf($node, "$servers,sasl.password.file=$secrets/none");
cause_ok('stopped', 'No such file', 'a secret that is not there');

set_kafka_conf($node, "bootstrap.server=nowhere:1");
cause_ok('stopped', 'sentinai.kafka_conf names no broker', 'no servers');
set_kafka_conf($node, "$servers,sasl.password.file=$secrets/none");
cause_ok('stopped', 'No such file', 'and that again');

set_kafka_conf($node, $servers);
running_ok('corrected, it runs');
poll_ok($node, 'postgres', $soon,
	q{select last_error like '%No such file%' and last_error_at < started_at
	from sentinai.stat_relay}, 'and what ended it before is still in view');

# nobody there
my $refused = qr/sentinai relay: .*Connection refused/;
my $lines = log_count($node, $refused);

set_kafka_conf($node, 'bootstrap.servers=127.0.0.1:1,reconnect.backoff.max.ms=200');
$node->safe_psql('postgres',
	q{select sentinai.publish('Thing', 'acme', 'k', '{}', 'thing')});
cause_ok('running,waiting', 'Connection refused', 'nobody there');
foreach my $n (1 .. 3)
{
	ok(wait_for($soon, sub { log_count($node, $refused) > $lines }),
		"it is in the log after reload $n, however often that comes");
	$lines = log_count($node, $refused);
	set_kafka_conf($node, "bootstrap.servers=127.0.0.1:1,reconnect.backoff.max.ms=20$n");
}
set_kafka_conf($node, $servers);
running_ok('it goes on');

# switched off; the launcher ends the relay before it has read why
my $errors = log_count($node, qr/ERROR/);
my $pid = $node->safe_psql('postgres', 'select pid from sentinai.stat_relay');

kill 'STOP', $pid;
set_kafka_conf($node, '');
ok(wait_for($soon, sub { slurp_file("/proc/$pid/status") =~ /ShdPnd:\s*[0-9a-f]*[4-7c-f][0-9a-f]{3}$/m }),
	'a relay that cannot look is told to end');
kill 'CONT', $pid;
poll_ok($node, 'postgres', $soon,
	q{select state = 'stopped' and pid is null and last_error is null
	from sentinai.stat_relay}, 'switched off, there is none');
is(log_count($node, qr/ERROR/), $errors, 'and no error');
set_kafka_conf($node, $servers);
running_ok('switched on, it is there again');

is(log_count($node, qr/sentinai relay: *$/), 0, 'no line of the log is empty');
is(log_count($node, qr/$secret/), 0, 'nor has it a secret');
$node->stop;
done_testing();
