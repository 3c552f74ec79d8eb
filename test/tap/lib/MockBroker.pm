# test/tap/lib/MockBroker.pm: a broker in memory for one test script.
# SPDX-License-Identifier: PostgreSQL
#
# Drives build/mock/sentinai-mockbroker (make mock). It ends with the script.
package MockBroker;

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Open2;
use IPC::Run ();

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

sub bootstrap { my ($self) = @_; return $self->{bootstrap}; }

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

# Every record of a topic, none if there is no such topic, by partition and
# offset: hashes of partition, offset, key, value, headers. None of them may hold control characters.
sub records
{
	my ($self, $topic) = @_;
	my ($out, $err);

	IPC::Run::run(
		[
			'kcat', '-C', '-q', '-e', '-o', 'beginning',
			'-X', 'fetch.wait.max.ms=10', '-b', $self->{bootstrap},
			'-t', $topic, '-f', '%p\t%o\t%k\t%s\t%h\n'
		],
		'<', \undef, '>', \$out, '2>', \$err)
	  or $err =~ /Unknown topic or partition/
	  or die "kcat: $err";
	my @records;
	foreach my $line (split /\n/, $out)
	{
		my ($partition, $offset, $key, $value, $headers) =
		  split /\t/, $line, 5;

		push @records,
		  {
			partition => $partition,
			offset => $offset,
			key => $key,
			value => $value,
			headers => { map { split /=/, $_, 2 } split /,/, $headers }
		  };
	}
	@records = sort {
		     $a->{partition} <=> $b->{partition}
		  || $a->{offset} <=> $b->{offset}
	} @records;
	return @records;
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
