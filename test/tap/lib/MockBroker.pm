# test/tap/lib/MockBroker.pm: a broker in memory for one test script.
# SPDX-License-Identifier: PostgreSQL
#
# Drives build/mock/sentinai-mockbroker (make mock). It ends with the script.
package MockBroker;

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Open2;
use parent 'Broker';

# Properties of a relay that notices soon what changes at the broker.
our $soon = 'topic.metadata.propagation.max.ms=100,topic.metadata.refresh.interval.ms=500,'
  . 'topic.metadata.refresh.fast.interval.ms=50,reconnect.backoff.ms=50,reconnect.backoff.max.ms=200';

my $program = "$FindBin::RealBin/../../build/mock/sentinai-mockbroker";

sub new
{
	my ($class, @args) = @_;
	my $self = bless {}, $class;

	die "$program is not built: make mock" unless -x $program;
	$self->{pid} =
	  open2($self->{out}, $self->{in}, $program, '--stdin-exit', @args);
	chomp($self->{bootstrap} = readline $self->{out});
	return $self;
}

# A command of the program: its --help lists them.
sub order
{
	my ($self, $line) = @_;

	print { $self->{in} } "$line\n";
	$self->{in}->flush;
	chomp(my $answer = readline $self->{out});
	die "mock broker: $line: $answer" if $answer ne 'ok';
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local $?;

	close $self->{in};
	waitpid $self->{pid}, 0;
	return;
}

1;
