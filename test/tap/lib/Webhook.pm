# test/tap/lib/Webhook.pm: a small web server for tools to call.
# SPDX-License-Identifier: PostgreSQL
#
# What it does is in the path. Each request is two lines of $dir/calls,
# "BEGIN|END TIME METHOD PATH KEY AUTHORIZATION TRACEPARENT BODY".
package Webhook;

use strict;
use warnings FATAL => 'all';

use Agents;
use Exporter 'import';
use Fcntl qw(:flock);
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(time);

our @EXPORT = qw(listen_for_calls start_webhooks calls);

my $listener;

# listen_for_calls(): the port
sub listen_for_calls
{
	$listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 100, ReuseAddr => 1) or die "listen: $!";
	return $listener->sockport;
}

sub note_call
{
	my ($line) = @_;

	open my $file, '>>', "$dir/calls" or die $!;
	flock $file, LOCK_EX;
	syswrite $file, "$line\n";
	close $file;
	return;
}

# calls(PATH, KEY): lines of what came
sub calls
{
	my ($path, $key) = @_;
	return grep { /^BEGIN \S+ \S+ \Q$path\E / && (!defined $key || / (?:\w+:)?\Q$key\E /) } lines("$dir/calls");
}

# serve(SOCKET, ANSWERS): answers requests until the client has no more
sub serve
{
	my ($socket, $answers) = @_;

	while (defined(my $line = <$socket>))
	{
		my ($method, $path) = split / /, $line;
		my %headers;

		while (defined($line = <$socket>) && $line =~ /\S/)
		{
			$headers{ lc $1 } = $2 if $line =~ /^([^:]+):\s*(.*?)\r?\n$/;
		}
		my $body = '';
		read $socket, $body, $headers{'content-length'} if $headers{'content-length'};
		my $key = $headers{'idempotency-key'} // '-';
		my $facts = join ' ', $method, $path, $key, map { my $v = $_ // '-'; $v =~ s/ /_/g; $v } $headers{authorization}, $headers{traceparent}, $body;
		note_call("BEGIN @{[time]} $facts");
		my ($status, $answer, $more) = ($answers->{$path} // sub { return (404, 'what?') })->($key, $headers{authorization} // '', $body);
		print {$socket} "HTTP/1.1 $status X\r\nContent-Length: " . length($answer) . "\r\n" . ($more // '') . "\r\n$answer";
		$socket->flush;
		note_call("END @{[time]} $facts");
	}
	return;
}

# start_webhooks(ANSWERS): by path, code that gets key, authorization and body, and
# gives status, body and further headers
sub start_webhooks
{
	my ($answers) = @_;

	start('server', sub {
		local $SIG{CHLD} = 'IGNORE';
		local $SIG{PIPE} = 'IGNORE';
		while (1)
		{
			my $socket = $listener->accept or next;
			next if fork;
			serve($socket, $answers);
			POSIX::_exit(0);
		}
	});
	return;
}

1;
