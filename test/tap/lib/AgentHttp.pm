# test/tap/lib/AgentHttp.pm: what a program with --http 0 answers.
# SPDX-License-Identifier: PostgreSQL
#
# A program is known by a name, as in Agents.pm; its port is the one that its log
# says.
package AgentHttp;

use strict;
use warnings FATAL => 'all';

use Agents ();
use Exporter 'import';
use IO::Socket::INET;
use Sentinai ();
use Test::More;

our @EXPORT = qw(port_of connect_to ask get status_of becomes metrics_of);

my %port;

# port_of(NAME): as the log says
sub port_of
{
	my ($name) = @_;

	return $port{$name} //= Agents::wait_for("the port of $name", sub {
		(grep { defined } map { /serving http address=127\.0\.0\.1:(\d+)/ ? $1 : undef } Agents::lines("$Agents::dir/$name.log"))[0];
	});
}

sub connect_to
{
	my ($name) = @_;

	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => port_of($name), Timeout => 5) || die "connect: $!";
}

# ask(NAME, REQUEST): all that comes back
sub ask
{
	my ($name, $request) = @_;
	my $socket = connect_to($name);
	local $SIG{PIPE} = 'IGNORE';
	local $/;

	alarm 60;
	print $socket $request;
	my $answer = readline($socket) // '';
	alarm 0;
	return $answer;
}

# get(NAME, PATH, METHOD): status and body
sub get
{
	my ($name, $path, $method) = @_;
	my $answer = ask($name, ($method // 'GET') . " $path HTTP/1.1\r\nHost: localhost\r\n\r\n");
	my ($head, $body) = split /\r\n\r\n/, $answer, 2;

	return (($head // '') =~ m{^HTTP/1\.1 (\d+)} ? $1 : 0, $body // '');
}

sub status_of { return (get(@_))[0]; }

# becomes(NAME, PATH, STATUS, TEXT, PATTERN): a test that it answers so before long
sub becomes
{
	my ($name, $path, $status, $text, $pattern) = @_;

	ok(Sentinai::wait_for(30, sub {
		my ($code, $body) = get($name, $path);

		$code == $status && (!$pattern || $body =~ $pattern);
	}), $text) || diag(join ' ', get($name, $path));
	return;
}

# metrics_of(NAME): values by name, and by name and labels; what is no metric is a failure
sub metrics_of
{
	my ($name) = @_;
	my (%value, %type);

	foreach my $line (split /\n/, (get($name, '/metrics'))[1])
	{
		if ($line =~ /^# TYPE (\w+) (counter|gauge|histogram)$/) { $type{$1} = $2; }
		elsif ($line =~ /^(([a-z_]+?)(?:_bucket|_sum|_count)?)(\{(?:[a-z_]+="[^"\\\n]*",?)+\})? (-?\d+(?:\.\d+)?)$/)
		{
			my ($metric, $base, $labels, $number) = ($1, $2, $3, $4);

			fail("type of $line") unless $type{$base} || $type{$metric};
			$value{$metric} += $number;
			$value{"$metric$labels"} = $number if $labels;
		}
		elsif ($line !~ /^# HELP \w+ \S/) { fail("a line of metrics: $line"); }
	}
	return \%value;
}

1;
