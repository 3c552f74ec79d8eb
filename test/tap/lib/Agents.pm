# test/tap/lib/Agents.pm: sentinai-work beside a server.
# SPDX-License-Identifier: PostgreSQL
#
# Everything is known by a name: a process, its log $dir/NAME.log, its standard
# output $dir/NAME.out. None of them outlives the script.
package Agents;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use FindBin;
use IPC::Run ();
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time);

our @EXPORT = qw($build $work $dir $limit %running use_node wait_for start
	start_work end_of stop_agent sql lines completed start_pgbouncer);

our $build = "$FindBin::RealBin/../../build/workers";
our $work = "$build/sentinai-work";
our $dir;    # set by use_node()
our %running;

our $limit = 60 * ($ENV{SENTINAI_PATIENCE} || 1);
my $node;

# use_node(NODE): the server that agents find by their environment. What this
# test's environment says must not reach them.
sub use_node
{
	($node) = @_;
	$dir = PostgreSQL::Test::Utils::tempdir();
	delete $ENV{$_}
	  foreach grep { /^(SENTINAI_(?!CACHE$|PATIENCE$)|WORKER_TYPE|CONCURRENCY|PGAPPNAME)/ } keys %ENV;
	$ENV{PGHOST} = $node->host;
	$ENV{PGPORT} = $node->port;
	$ENV{PGDATABASE} = 'postgres';
	return;
}

# Poll until the code gives a true value; dies after 60 s, or as many times
# that as the caller of the test says.
sub wait_for
{
	my ($what, $code) = @_;
	my $deadline = time() + $limit;

	while (time() < $deadline)
	{
		my $value = $code->();
		return $value if $value;
		select undef, undef, undef, 0.02;
	}
	die "timed out waiting for $what";
}

# start_pgbouncer(SIZE): PgBouncer in transaction mode before the node, with a
# pool of that size. Its port, the only user and the process; nothing when there
# is no PgBouncer here. Its socket is in $dir.
sub start_pgbouncer
{
	my ($size) = @_;
	my $pgbouncer = (grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin')[0];

	return unless $pgbouncer;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $user = sql('select current_user');
	PostgreSQL::Test::Utils::append_to_file("$dir/pgbouncer.ini", <<"END");
[databases]
* = host=@{[$node->host]} port=@{[$node->port]} user=$user
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $dir
auth_type = any
pool_mode = transaction
default_pool_size = $size
END
	my $pooler = IPC::Run::start([ $pgbouncer, "$dir/pgbouncer.ini" ],
		'<', \undef, '>', "$dir/pgbouncer.log", '2>&1');
	wait_for('pgbouncer', sub { -S "$dir/.s.PGSQL.$port" });
	return ($port, $user, $pooler);
}

# Start a process that runs code and never returns from it.
sub start
{
	my ($name, $code) = @_;
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		$code->();
		POSIX::_exit(99);
	}
	$running{$name} = $pid;
	return $pid;
}

# Start an agent; code comes before exec.
sub start_work
{
	my ($name, $code, @args) = @_;

	return start($name, sub {
		open STDIN, '<', '/dev/null' or POSIX::_exit(99);
		open STDOUT, '>', "$dir/$name.out" or POSIX::_exit(99);
		open STDERR, '>>', "$dir/$name.log" or POSIX::_exit(99);
		$code->() if $code;
		exec { $work } $work, '--log-level', 'debug', @args;
	});
}

# Wait for the end of a process; its exit status and how long that took.
sub end_of
{
	my ($name) = @_;
	my $pid = $running{$name};
	my $start = time();

	wait_for("the end of $name", sub { waitpid($pid, WNOHANG) == $pid });
	delete $running{$name};
	return ($? >> 8, time() - $start);
}

sub stop_agent
{
	my ($name) = @_;

	kill 'TERM', $running{$name};
	return end_of($name);
}

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub lines
{
	my ($file) = @_;
	my @lines;

	@lines = split /\n/, slurp_file($file) if -e $file;
	return @lines;
}

sub completed
{
	return sql("select count(*) from sentinai.event_processing
				where worker_type = '$_[0]' and status = 'completed'");
}

END
{
	my $status = $?;

	kill 'KILL', values %running;
	$? = $status;
}

1;
