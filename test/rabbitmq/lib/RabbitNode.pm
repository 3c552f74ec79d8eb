# test/rabbitmq/lib/RabbitNode.pm: a real RabbitMQ for one test script.
# SPDX-License-Identifier: PostgreSQL
#
# Drives test/rabbitmq/rabbitmq.sh. The node dies with the script, whatever happens.
package RabbitNode;

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run ();
use JSON::PP ();

my $tool = "$FindBin::RealBin/rabbitmq.sh";
my $unread = 60 * ($ENV{SENTINAI_PATIENCE} || 1);    # seconds to read a queue
my @nodes;

# Start an empty node whose files are in $dir; further arguments are lines of its
# configuration.
sub new
{
	my ($class, $dir, @settings) = @_;
	my $self = bless { dir => $dir }, $class;

	die "$dir exists" if -e $dir;
	push @nodes, $self;
	$self->start(@settings);
	$self->{port} = $self->tool('port');
	return $self;
}

# More nodes in its cluster, which start side by side; their files are in $dirs.
sub joined
{
	my ($self, @dirs) = @_;
	my @more = map { bless { dir => $_ }, ref $self } @dirs;

	push @nodes, @more;
	system('sh', '-c', 'tool=$1; other=$2; shift 2
		for dir; do
			"$tool" join "$dir" "$other" >"$dir.start.log" 2>&1 </dev/null || touch "$dir.bad" &
		done
		wait
		for dir; do [ ! -e "$dir.bad" ] || exit 1; done', 'join', $tool, $self->{dir}, @dirs) == 0
	  or die "RabbitMQ did not join, see @dirs";
	$_->{port} = $_->tool('port') foreach @more;
	return @more;
}

# Run the tool and give back what it printed.
sub tool
{
	my ($self, $command, @args) = @_;
	my ($out, $err);

	IPC::Run::run([ $tool, $command, $self->{dir}, @args ],
		'<', \undef, '>', \$out, '2>', \$err)
	  or die "rabbitmq.sh $command @args: $err$out";
	chomp $out;
	return $out;
}

# The server must not hold our pipes.
sub start
{
	my ($self, @settings) = @_;

	system('sh', '-c', 'log=$1; shift; exec "$@" >"$log" 2>&1 </dev/null',
		'start', "$self->{dir}.start.log", $tool, 'start', $self->{dir}, @settings) == 0
	  or die "RabbitMQ did not start, see $self->{dir}.start.log";
	return $self;
}

sub stop { my ($self) = @_; $self->tool('stop'); return; }
sub kill9 { my ($self) = @_; $self->tool('kill'); return; }
sub ctl { my ($self, @args) = @_; return $self->tool('ctl', @args); }

# The setting that names it.
sub conf
{
	my ($self, @more) = @_;

	return join ',', "hosts=127.0.0.1:$self->{port}", @more;
}

# The messages of a queue, in order, which are not there any more; with a count, so
# many of them, as they come.
sub take
{
	my ($self, $queue, @count) = @_;
	my ($out, $err);

	IPC::Run::run([ "$FindBin::RealBin/consume.py", $self->{port}, $queue, @count ],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout($unread))
	  or die "consume.py: $err";
	return map { JSON::PP::decode_json($_) } split /\n/, $out;
}

# declare(WHAT, ARGUMENTS): see declare.py; a hash is JSON.
sub declare
{
	my ($self, @what) = @_;

	IPC::Run::run([ "$FindBin::RealBin/declare.py", $self->{port},
			map { ref $_ ? JSON::PP::encode_json($_) : $_ } @what ])
	  or die "declare.py: @what";
	return;
}

# Messages that wait in a queue; undef when there is no such queue.
sub waiting
{
	my ($self, $queue) = @_;
	my ($line) = grep { /^\Q$queue\E\t/ } split /\n/, $self->ctl('list_queues', '--no-table-headers', 'name', 'messages');

	return defined $line ? (split /\t/, $line)[1] : undef;
}

END
{
	my $status = $?;

	# the first has the port mapper of those beside it
	foreach my $node (reverse @nodes)
	{
		system($tool, 'kill', $node->{dir});
	}
	$? = $status;
}

1;
