# sentinai-work and standbys: it says what a standby is, finds the primary among
# several hosts, and is back soon after a promotion however long nobody was there.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
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
	return;
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
done_testing();
