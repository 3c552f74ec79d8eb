# test/tap/lib/Broker.pm: what tests read from a broker, whichever it is.
# SPDX-License-Identifier: PostgreSQL
#
# Base of MockBroker and KafkaNode, which set {bootstrap}.
package Broker;

use strict;
use warnings FATAL => 'all';

use IPC::Run ();

# seconds within which a topic has to be read
my $unread = 60 * ($ENV{SENTINAI_PATIENCE} || 1);

sub bootstrap { my ($self) = @_; return $self->{bootstrap}; }

# Every record of a topic, none if there is no such topic, by partition and
# offset: hashes of partition, offset, timestamp, key, value, headers. None of
# them may hold control characters. While somebody writes, say how many are enough:
# kcat does not end before it is at the end of all partitions at once.
sub records
{
	my ($self, $topic, $enough) = @_;
	my ($out, $err);
	my @records;

	IPC::Run::run(
		[
			'kcat', '-C', '-q', '-e', '-o', 'beginning',
			defined $enough ? ('-c', $enough) : (),
			'-X', 'fetch.wait.max.ms=10', '-b', $self->{bootstrap},
			'-t', $topic, '-f', '%p\t%o\t%T\t%k\t%s\t%h\n'
		],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout($unread))
	  or $err =~ /Unknown topic or partition/
	  or die "kcat: $err";
	foreach my $line (split /\n/, $out)
	{
		my ($partition, $offset, $timestamp, $key, $value, $headers) =
		  split /\t/, $line, 6;

		push @records,
		  {
			partition => $partition,
			offset => $offset,
			timestamp => $timestamp,
			key => $key,
			value => $value,
			headers => { map { /=/ ? split(/=/, $_, 2) : () } split /,/, $headers // '' }
		  };
	}
	@records = sort {
		     $a->{partition} <=> $b->{partition}
		  || $a->{offset} <=> $b->{offset}
	} @records;
	return @records;
}

1;
