# test/rabbitmq/002_faults.pl: RabbitMQ is killed, blocks, refuses, loses an exchange.
# Nothing is lost, and the first of each event comes in the order of its key.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RabbitNode;
use Sentinai;
use Test::More;

my $unslept = 90;    # seconds within which anything here has to happen
my $keys = 20;
my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $rabbit = RabbitNode->new("$tmp/rabbit_faults");
my $secrets = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('rabbit_faults', "sentinai.broker = 'rabbitmq'",
	"sentinai.secret_directory = '$secrets'", 'sentinai.launcher_naptime = 1s',
	'sentinai.breaker_open_time = 1s', "include_if_exists 'test.conf'");
my $published = 0;
my %sent;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# publish(COUNT, TOPIC): so many events of all keys.
sub publish
{
	my ($count, $type) = @_;

	sql(qq{select count(*) from generate_series($published + 1, $published + $count) n,
		lateral sentinai.publish('Paid', 'acme', 'key-' || n % $keys, jsonb_build_object('n', n),
			aggregate_type => '$type')});
	$published += $count;
	$sent{$type} += $count;
	return;
}

# arrived(QUEUE, TYPE): takes messages until all events of a type were there; the
# numbers that came, in order.
sub arrived
{
	my ($queue, $type) = @_;
	my (%seen, @came);

	wait_for($unslept, sub {
		my @more = map { $_->{body} =~ /"n": (\d+)/ ? $1 : () } $rabbit->take($queue);

		push @came, @more;
		$seen{$_} = 1 foreach @more;
		return keys %seen >= $sent{$type};
	});
	return @came;
}

# check(NAME, QUEUE, TYPE): all of a type arrive in a queue, and the first of each in
# order by key.
sub check
{
	my ($name, $queue, $type) = @_;
	my $count = $sent{$type};
	my @came = arrived($queue, $type);
	my (%seen, %last, @turned);

	foreach my $n (@came)
	{
		next if $seen{$n}++;
		push @turned, $n if defined $last{ $n % $keys } && $last{ $n % $keys } > $n;
		$last{ $n % $keys } = $n;
	}
	is(scalar keys %seen, $count, "$name: every event arrived");
	is_deeply(\@turned, [], "$name: in order by key");
	return;
}

sql('create extension sentinai');
set_conf($node, "sentinai.rabbitmq_conf = '@{[$rabbit->conf]}'");

# killed, and back; not while the queue is made, which RabbitMQ 3.10 may leave without
# a leader for ever then
publish(300, 'killed');
ok(wait_for($unslept, sub { return ($rabbit->waiting('sentinai.killed') // 0) > 0; }),
	'the first messages are there');
foreach (1 .. 2)
{
	$rabbit->kill9;
	publish(300, 'killed');
	$rabbit->start;
	publish(300, 'killed');
}
check('killed', 'sentinai.killed', 'killed');

# the relay itself
publish(400, 'relay');
foreach (1 .. 5)
{
	my $pid = sql('select pid from sentinai.stat_relay where pid is not null');

	sql("select pg_terminate_backend($pid)") if $pid ne '';
	publish(200, 'relay');
}
check('relay ended', 'sentinai.relay', 'relay');

# an alarm of memory: the broker reads nothing, and says so
$rabbit->ctl('set_vm_memory_high_watermark', '0.000001');
publish(600, 'alarm');
relay_says($node, 'postgres', $unslept, qr/an alarm of memory or disk is on/);
is($rabbit->waiting('sentinai.alarm') // 0, 0, 'nothing is taken');
$rabbit->ctl('set_vm_memory_high_watermark', 'absolute', '512MB');
check('alarm', 'sentinai.alarm', 'alarm');

# a queue that is full refuses what comes, and takes some of it later
$rabbit->declare('exchange', 'full', 'topic');
$rabbit->declare('queue', 'full', { 'x-max-length' => 30, 'x-overflow' => 'reject-publish' });
$rabbit->declare('binding', 'full', 'full', '#');
set_conf($node, "sentinai.rabbitmq_conf = '@{[$rabbit->conf('exchange=full')]}'");
publish(150, 'full');
relay_says($node, 'postgres', $unslept, qr/did not store/);
check('nacks', 'full', 'full');

# an exchange that is not there is waited for; the others go on
set_conf($node, "sentinai.rabbitmq_conf = '@{[$rabbit->conf('exchange={topic}')]}'");
$rabbit->declare('exchange', 'sentinai.there', 'fanout');
$rabbit->declare('queue', 'there', {});
$rabbit->declare('binding', 'sentinai.there', 'there', '');
publish(200, 'missing');
relay_says($node, 'postgres', $unslept, qr/no exchange 'sentinai\.missing'/);
publish(200, 'there');
check('beside a missing exchange', 'there', 'there');
# without a queue behind it, it would take the events to nowhere
sql('select sentinai.pause_relay()');
ok(wait_for($unslept, sub {
	return answer($node, 'postgres', q{select bool_and(state = 'paused') from sentinai.stat_relay}) eq 't';
}), 'the relay pauses');
$rabbit->declare('exchange', 'sentinai.missing', 'fanout');
$rabbit->declare('queue', 'missing', {});
$rabbit->declare('binding', 'sentinai.missing', 'missing', '');
sql('select sentinai.resume_relay()');
check('missing exchange', 'missing', 'missing');

# what no queue takes is dead, alone
$rabbit->declare('exchange', 'narrow', 'direct');
$rabbit->declare('queue', 'narrow', {});
$rabbit->declare('binding', 'narrow', 'narrow', 'sentinai.known');
set_conf($node, "sentinai.rabbitmq_conf = '@{[$rabbit->conf('exchange=narrow')]}'");
publish(40, 'unknown');
publish(40, 'known');
check('beside unroutable ones', 'narrow', 'known');
ok(wait_for($unslept, sub {
	return answer($node, 'postgres', q{select count(*) from sentinai.dead_letter where worker_type = 'relay'}) == 40;
}), 'unroutable events are dead letters');
like(sql(q{select distinct reason from sentinai.dead_letter where worker_type = 'relay'}),
	qr/^topic "sentinai\.unknown": no queue takes it \(NO_ROUTE\)$/, 'which say why');

# a password that is wrong
open my $out, '>', "$secrets/password" or die $!;
print $out "c4n4ry-pa55\n";
close $out;
chmod 0600, "$secrets/password";
set_conf($node, "sentinai.rabbitmq_conf = '@{[$rabbit->conf('username=eve', qq{password.file=$secrets/password})]}'");
publish(10, 'login');
relay_says($node, 'postgres', $unslept, qr/could not connect to RabbitMQ at 127\.0\.0\.1:\d+: ACCESS_REFUSED/);
$rabbit->ctl('add_user', 'eve', 'c4n4ry-pa55');
$rabbit->ctl('set_permissions', 'eve', '.*', '.*', '.*');
check('after the right password', 'sentinai.login', 'login');

# a queue that it may not make, and an exchange that it may not write to: their events
# wait, others go on, and the right to it is enough
sub denied_ok
{
	my ($name, $queue, $type) = @_;

	publish(10, $type);
	publish(10, "beside-$type");
	poll_ok($node, 'postgres', $unslept, qq{select topic = 'sentinai.$type' and reason ~ 'ACCESS_REFUSED' from sentinai.stat_relay_topic}, "$name: stat_relay_topic says so");
	ok(log_count($node, qr/"sentinai\.$type".*ACCESS_REFUSED/) > 0, "$name: and the log");
	check("beside $name", $queue =~ s/$type/beside-$type/r, "beside-$type");
	$rabbit->ctl('set_permissions', 'eve', '.*', '.*', '.*');
	check($name, $queue, $type);
	return;
}

$rabbit->ctl('set_permissions', 'eve', 'beside', '.*', '.*');
denied_ok('no right to make it', 'sentinai.made', 'made');
# a queue that is deleted is made again
publish(10, 'deleted');
relay_passed_ok($node, 'postgres', $unslept, 'the queue is there');
$rabbit->ctl('delete_queue', 'sentinai.deleted');
$sent{deleted} = 0;
publish(10, 'deleted');
check('after its queue was deleted', 'sentinai.deleted', 'deleted');
is(sql(q{select count(*) from sentinai.dead_letter}), '40', 'none of these events is a dead letter');
foreach my $type (qw(told beside-told))
{
	$rabbit->declare('exchange', "sentinai.$type", 'fanout');
	$rabbit->declare('queue', $type, {});
	$rabbit->declare('binding', "sentinai.$type", $type, '');
}
$rabbit->ctl('set_permissions', 'eve', '.*', 'beside', '.*');
set_conf($node, "sentinai.rabbitmq_conf = '@{[$rabbit->conf('exchange={topic}', 'username=eve', qq{password.file=$secrets/password})]}'");
denied_ok('no right to write to it', 'told', 'told');
unlike(slurp_file($node->logfile), qr/c4n4ry/, 'no password in the log');

done_testing();
