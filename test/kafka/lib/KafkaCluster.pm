# test/kafka/lib/KafkaCluster.pm: several nodes of Apache Kafka, all of which are
# brokers and controllers.
# SPDX-License-Identifier: PostgreSQL
package KafkaCluster;

use strict;
use warnings FATAL => 'all';

use KafkaNode;
use POSIX ();
use PostgreSQL::Test::Cluster;
use parent 'Broker';

# new(DIR, NUMBER, SETTING...): a cluster that is up
sub new
{
	my ($class, $dir, $number, @settings) = @_;
	my @ids = 1 .. $number;
	my @ports = map { PostgreSQL::Test::Cluster::get_free_port() } @ids;
	my @voters = map { PostgreSQL::Test::Cluster::get_free_port() } @ids;
	my $voters = join ',', map { "$_\@127.0.0.1:$voters[$_ - 1]" } @ids;
	my $self = bless { bootstrap => join(',', map { "127.0.0.1:$_" } @ports) }, $class;

	$self->{nodes} = [
		map {
			KafkaNode->make("$dir.$_", $ports[ $_ - 1 ], '--cluster-id=SentinaiTestCluster0AA', "node.id=$_",
				"controller.quorum.voters=$voters",
				"listeners=PLAINTEXT://127.0.0.1:$ports[$_ - 1],CONTROLLER://127.0.0.1:$voters[$_ - 1]",
				@settings)
		} @ids
	];
	$self->start(@ids);
	return $self;
}

# start(ID...): together, since none is ready before most of them are
sub start
{
	my ($self, @ids) = @_;
	my @pids;

	foreach my $id (@ids)
	{
		my $pid = fork // die "fork: $!";

		if ($pid == 0)
		{
			my $done = eval { $self->{nodes}[ $id - 1 ]->start; 1 };

			print STDERR $@ unless $done;
			POSIX::_exit($done ? 0 : 1);
		}
		push @pids, $pid;
	}
	foreach my $pid (@pids)
	{
		waitpid $pid, 0;
		die 'a node did not start' if $?;
	}
	return;
}

sub kill9
{
	my ($self, @ids) = @_;

	$self->{nodes}[ $_ - 1 ]->kill9 foreach @ids;
	return;
}

sub stop
{
	my ($self) = @_;

	$_->kill9 foreach @{ $self->{nodes} };
	return;
}

# whole(TOPIC): whether all replicas of a topic are in sync
sub whole
{
	my ($self, $topic) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'kcat', '-L', '-b', $self->{bootstrap}, '-t', $topic ], '<', \undef, '>', \$out, '2>', \$err);
	my @in_sync = map { scalar split /,/ } $out =~ /isrs: ([\d,]+)/g;
	return @in_sync > 0 && !grep { $_ != @{ $self->{nodes} } } @in_sync;
}

1;
