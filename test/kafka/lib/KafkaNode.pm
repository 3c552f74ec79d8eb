# test/kafka/lib/KafkaNode.pm: a real Apache Kafka for one test script.
# SPDX-License-Identifier: PostgreSQL
#
# Drives test/kafka/kafka.sh. The node dies with the script, whatever happens.
package KafkaNode;

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run ();
use parent 'Broker';

my $tool = "$FindBin::RealBin/kafka.sh";
my @nodes;

# Start an empty node whose files are in $dir; further arguments are those of
# kafka.sh start.
sub new
{
	my ($class, $dir, @settings) = @_;

	return $class->make($dir, @settings)->start;
}

# The same without the start.
sub make
{
	my ($class, $dir, @settings) = @_;
	my $self = bless { dir => $dir, settings => [@settings] }, $class;

	die "$dir exists" if -e $dir;
	push @nodes, $self;
	return $self;
}

# Run the tool and give back what it printed.
sub tool
{
	my ($self, $command, @args) = @_;
	my ($out, $err);

	IPC::Run::run([ $tool, $command, $self->{dir}, @args ],
		'<', \undef, '>', \$out, '2>', \$err)
	  or die "kafka.sh $command: $err";
	chomp $out;
	return $out;
}

# The server itself must not hold our pipes, so the answer is read from a file.
sub start
{
	my ($self) = @_;
	my $log = "$self->{dir}.start.log";

	system(
		'sh', '-c',
		'log=$1; shift; exec "$@" >"$log" 2>&1 </dev/null',
		'start', $log, $tool, 'start', $self->{dir}, @{ $self->{settings} })
	  == 0
	  or die "Kafka did not start, see $log";
	$self->{bootstrap} = $self->tool('bootstrap');
	return $self;
}

sub stop { my ($self) = @_; $self->tool('stop'); return; }
sub kill9 { my ($self) = @_; $self->tool('kill'); return; }

# Number of partitions of a topic, 0 when there is no such topic.
sub partitions
{
	my ($self, $topic) = @_;
	my ($out, $err);

	IPC::Run::run([ 'kcat', '-L', '-b', $self->{bootstrap}, '-t', $topic ],
		'<', \undef, '>', \$out, '2>', \$err)
	  or die "kcat: $err";
	return $out =~ /with (\d+) partitions/ ? $1 : 0;
}

END
{
	my $status = $?;

	foreach my $node (@nodes)
	{
		system($tool, 'kill', $node->{dir});
	}
	$? = $status;
}

1;
