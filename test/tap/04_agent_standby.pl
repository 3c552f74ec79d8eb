# sentinai-work and standbys: it says what a standby is, finds the primary among
# several hosts, and is back soon after a promotion however long nobody was there.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use IO::Socket::UNIX;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;
use Time::HiRes qw(time);

my $unslept = 60;    # seconds within which anything here has to happen
my $work = "$FindBin::RealBin/../../build/workers/sentinai-work";
my $dir = PostgreSQL::Test::Utils::tempdir();
my @children;

delete $ENV{$_} foreach grep { /^(SENTINAI_(?!PATIENCE)|WORKER_TYPE|CONCURRENCY|PG(HOST|PORT|DATABASE|TARGET))/ } keys %ENV;

END
{
	my $status = $?;

	kill 'KILL', @children;
	$? = $status;
}

# start_agent(NAME, CONNINFO, OPTION...): its log is a file of its name.
sub start_agent
{
	my ($name, $conninfo, @options) = @_;
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		open STDIN, '<', '/dev/null' or POSIX::_exit(99);
		open STDOUT, '>', '/dev/null' or POSIX::_exit(99);
		open STDERR, '>>', "$dir/$name.log" or POSIX::_exit(99);
		exec { $work } $work, '-w', 'work', '-x', 'true', '-d', $conninfo, @options
		  or POSIX::_exit(99);
	}
	push @children, $pid;
	append_to_file("$dir/$name.log", '');
	return $pid;
}

# said(NAME, REGEX): lines of an agent's log that match
sub said
{
	my ($name, $regex) = @_;

	return scalar grep { /$regex/ } split /\n/, slurp_file("$dir/$name.log");
}

# publish(NODE, TEXT): an event, and wait until it is completed
sub works_ok
{
	my ($node, $text) = @_;
	my $id = $node->safe_psql('postgres', "select sentinai.publish('Tested', 't', 'k', '{}')");

	poll_ok($node, 'postgres', $unslept,
		"select sentinai.is_already_processed('$id', 'work')", $text);
	return;
}

my $node = new_node('primary', 'sentinai.launcher_naptime = 1s');
my $standby = PostgreSQL::Test::Cluster->new('standby');

$node->safe_psql('postgres', q{create extension sentinai; select sentinai.subscribe('work')});
$node->backup('base');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;

my $alone = 'dbname=postgres host=' . $standby->host . ' port=' . $standby->port;
my $both = 'dbname=postgres host=' . join(',', $standby->host, $node->host)
  . ' port=' . join(',', $standby->port, $node->port);

# nothing but a standby, in three ways
start_agent('alone', $alone);
start_agent('any', "$alone target_session_attrs=any");
ok(wait_for($unslept, sub { said('alone', 'warning .*could not connect.*hot standby') }),
	'an agent of a standby says that it is one');
ok(wait_for($unslept, sub { said('any', 'warning .*is a standby') }),
	'also one that was told to take any server');
is(said('alone', 'connection lost|refused') + said('any', 'connection lost|refused'), 0,
	'and nothing else');

# the standby is the first of two hosts
start_agent('both', $both, '--log-level', 'debug');
works_ok($node, 'of two hosts the primary is taken');

# nobody is there for a while
$node->stop('immediate');
ok(wait_for($unslept, sub { said('both', 'could not connect') >= 8 }),
	'the agent tries again and again');
cmp_ok(said('both', 'warning .*could not connect'), '<=', 3, 'and does not say so each time');
my $start = time();
$standby->promote;
works_ok($standby, 'it works for the new primary');
cmp_ok(time() - $start, '<', 10 * ($ENV{SENTINAI_PATIENCE} || 1), 'soon');
$standby->stop;

# read_from(SOCKET, END): what comes, up to END
sub read_from
{
	my ($socket, $end) = @_;
	my $data = '';

	while ($data !~ /$end$/)
	{
		sysread $socket, $data, 65536, length $data or die 'the agent has gone';
	}
	return;
}

# Stopped while the refusal of a standby is on its way: it has given nothing.  One
# that answers when it is told to is made here.
my $listener = IO::Socket::UNIX->new(Local => "$dir/.s.PGSQL.5432", Listen => 1) or die $!;
my $agent = start_agent('late', "dbname=postgres host=$dir port=5432 target_session_attrs=any", '--prepare', 'off');
my $connection = $listener->accept;
read_from($connection, qr/\0\0/);
syswrite $connection, pack('a N N a N a', 'R', 8, 0, 'Z', 5, 'I');
read_from($connection, qr/S\0\0\0\x04/);
kill 'TERM', $agent;
ok(wait_for($unslept, sub { said('late', 'stopping') }), 'an agent is stopped while it asks a standby');
my $refusal = "SERROR\0C0A000\0Mcannot set transaction read-write mode during recovery\0\0";
syswrite $connection, pack('a N a* a N a', 'E', 4 + length $refusal, $refusal, 'Z', 5, 'I');
waitpid $agent, 0;
is($? >> 8, 0, 'and ends in order, since it holds nothing');
is(said('late', 'what the last claim may hold'), 0, 'and says nothing of what it could hold');
done_testing();
