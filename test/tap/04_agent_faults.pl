# test/tap/04_agent_faults.pl: sentinai-work when its surroundings are hostile:
# what a parent leaves it, a stop by force, lost answers, a silent server.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use Agents;
use IO::Select;
use IO::Socket::UNIX;
use POSIX ();
use PostgreSQL::Test::Utils;
use Sentinai ();
use Test::More;
use Time::HiRes qw(time);

my $node = Sentinai::new_node('agent_faults', q{sentinai.max_payload = '64MB'});
$node->safe_psql('postgres', 'create extension sentinai');

use_node($node);

# Nothing that this test has stopped stays so.
END
{
	my $status = $?;
	kill 'CONT', server_processes() if $node;
	$? = $status;
}

# Start an agent for the subscription of its name; code comes before exec.
sub start_agent
{
	my ($name, $command, $args, $code) = @_;

	return start_work($name, $code, '-w', $name, '-x', $command, @$args);
}

# A subscription with its own event type, and events 1..n of different keys.
sub subscribe
{
	my ($type, $n, $more) = @_;

	sql("select sentinai.subscribe('$type', array['$type'] " . ($more // '') . ')');
	sql("select count(sentinai.publish('$type', 'acme', 'k' || n, jsonb_build_object('n', n)))
		 from generate_series(1, $n) n");
	return;
}

# A handler; $N is the event's number, $OUT the file it writes to.
sub handler
{
	my ($name, $script) = @_;

	return "read -r event; N=\${event##*'\"n\": '}; N=\${N%%[,\\}]*}; OUT='$dir/$name.txt'; $script";
}

# Does a process run? One that is dead and not reaped does not.
sub runs
{
	my ($pid) = @_;

	return grep { /^State:\s+[^ZX]/ } lines("/proc/$pid/status");
}

# The processes of the server, the postmaster first.
sub server_processes
{
	my ($postmaster) = lines($node->data_dir . '/postmaster.pid');

	return () unless $postmaster;
	return ($postmaster, split ' ', `cat /proc/$postmaster/task/*/children 2>/dev/null`);
}

# A parent's signals and descriptors.
sub leave_behind
{
	my ($close) = @_;

	$SIG{$_} = 'IGNORE' foreach qw(CHLD TERM PIPE);
	POSIX::sigprocmask(POSIX::SIG_BLOCK(),
		POSIX::SigSet->new(POSIX::SIGTERM(), POSIX::SIGCHLD(), POSIX::SIGALRM()));
	POSIX::close($_) foreach @$close;
	return;
}
foreach my $closed ([], [0, 1, 2], [2])
{
	my $name = join '-', 'inherited', @$closed;

	subscribe($name, 3);
	start_agent($name, handler($name,
			'echo "$N $SENTINAI_ATTEMPT" >>"$OUT"; echo to stdout; echo to stderr >&2'),
		[], sub { leave_behind($closed) });
	wait_for('3 events', sub { completed($name) == 3 });
	is(join(',', sort(lines("$dir/$name.txt"))), '1 1,2 1,3 1',
		"commands run once whatever the parent left (closed: @$closed)");
	is((stop_agent($name))[0], 0, 'and SIGTERM is heard');
}

# A stop by force leaves no command behind, nor what it has started.
subscribe('forced', 1);
start_agent('forced', handler('forced', q{
trap '' TERM; sh -c "trap '' TERM; sleep 300 & echo \$! >>$OUT; wait" &
echo "$SENTINAI_ATTEMPT" >>"$OUT.attempts"; [ -e "$OUT.go" ] || { echo $$ $! >>"$OUT"; sleep 300; }}),
	[ '--kill-after', '1h', '--shutdown-timeout', '500ms', '--lease', '1h' ]);
wait_for('the command', sub { 3 == map { split } lines("$dir/forced.txt") });
my ($status, $seconds) = stop_agent('forced');
my @left = grep { runs($_) } map { split } lines("$dir/forced.txt");
is($status, 1, 'a stop by force has exit status 1');
is("@left", '', 'and nothing that it has started runs any more');
is(sql(q{select count(*) from sentinai.claim('forced')}), 1,
	'when its event is given back');
sql(q{select sentinai.unsubscribe('forced')});

# A thread that gives up connecting ends the process.
sql(q{create role one login connection limit 1;
	  grant usage on schema sentinai to one;
	  grant execute on all routines in schema sentinai to one});
subscribe('given_up', 0);
start_agent('given_up', 'true', [ '-U', 'one', '-c', '2', '--reconnect-attempts', '3',
	'--reconnect-max', '200ms' ]);
is((end_of('given_up'))[0], 69, '--reconnect-attempts ends the process');
like(slurp_file("$dir/given_up.log"), qr/error sentinai-work: giving up/, 'and says so');

# A proxy that forwards until the file `cut` is there; then it lets the next
# report of a failure through and closes the connection without its answer.
sub proxy
{
	my ($place, $cut) = @_;
	my $listener = IO::Socket::UNIX->new(Local => "$place/.s.PGSQL.5432", Listen => 9)
	  or die "proxy: $!";
	my $select = IO::Select->new($listener);
	my (%other, %is_client, %marked);

	for (;;)
	{
		foreach my $from ($select->can_read)
		{
			if ($from == $listener)
			{
				my $client = $listener->accept;
				my $server = IO::Socket::UNIX->new(
					Peer => $node->host . '/.s.PGSQL.' . $node->port) or next;

				$other{$client} = $server;
				$other{$server} = $client;
				$is_client{$client} = 1;
				$select->add($client, $server);
				next;
			}
			my $to = $other{$from} or next;
			my $length = sysread $from, my $data, 65536;
			if ($length && $is_client{$from})
			{
				$marked{$to} = 1 if -e $cut && $data =~ /B....\0sentinai_fail\0/s;
			}
			if ($length && !$marked{$from})
			{
				syswrite $to, $data;
				next;
			}
			next if $length && $data !~ /Z\0\0\0\x05I$/;
			if ($marked{$from})
			{
				append_to_file("$cut.done", "cut\n");
				unlink $cut;
			}
			$select->remove($from, $to);
			delete @$_{ $from, $to } foreach \%other, \%is_client, \%marked;
			close $_ foreach $from, $to;
		}
	}
}
mkdir "$dir/p" or die;
start('proxy', sub { proxy("$dir/p", "$dir/cut") });
wait_for('the proxy', sub { -S "$dir/p/.s.PGSQL.5432" });

# The answer to a report with a failure is lost, in the middle of a batch and
# at its end: what comes with it counts, and comes once.
foreach my $late (0, 1)
{
	my $name = "lost$late";

	unlink "$dir/cut.done";
	subscribe($name, 6, q{, backoff => '{1h}'});
	start_agent($name, handler($name, q{
echo "$N $SENTINAI_ATTEMPT" >>"$OUT"
case $(wc -l <"$OUT") in 1) touch } . "'$dir/cut'" . q{; exit 75;; 2) sleep } . ($late ? 0 : 2)
		  . q{;; 6) echo "the last" >&2; exit 65;; esac}),
		[ '-h', "$dir/p", '-p', '5432', '--lease', '1h', '--wait', '1s' ]);
	wait_for('4 events', sub { completed($name) == 4 });
	wait_for('two failures', sub {
		sql(qq{select retrying + dead from sentinai.stat_queue where worker_type = '$name'}) == 2 });
	stop_agent($name);
	is(join(',', sort(lines("$dir/$name.txt"))), '1 1,2 1,3 1,4 1,5 1,6 1',
		'an answer was lost and no event came again');
	is(join(',', lines("$dir/cut.done")), 'cut', 'it was');
	like(slurp_file("$dir/$name.log"), qr/counts since the start.*dropped=0/,
		'and none was dropped');
}
kill 'KILL', delete $running{proxy};

# One outcome is refused: the others count, and the event comes again with an
# attempt counted.
sql(q{create role unfit login;
	  grant usage on schema sentinai to unfit;
	  grant execute on all routines in schema sentinai to unfit;
	  revoke execute on function sentinai.fail from unfit, public});
subscribe('refused', 4);
start_agent('refused', handler('refused', q{
echo "$N $SENTINAI_ATTEMPT" >>"$OUT"; [ "$(wc -l <"$OUT")" != 2 ] || exit 75}),
	[ '-U', 'unfit', '--lease', '4s', '--wait', '500ms',
	  '--reconnect-min', '10ms', '--reconnect-max', '50ms' ]);
wait_for('3 events', sub { completed('refused') == 3 });
wait_for('the fourth', sub { completed('refused') == 4 });
is((stop_agent('refused'))[0], 0, 'a report that is refused does not end the agent');
my @attempts = map { (split)[1] } lines("$dir/refused.txt");
is("@attempts", '1 1 1 1 2', 'nor make others come again, and its attempt counts');

# With its connections gone and a handler at work, an agent reports what came
# before.
subscribe('reported', 3);
start_agent('reported', handler('reported', q{
echo "$N" >>"$OUT"; [ "$(wc -l <"$OUT")" != 2 ] || while [ ! -e "$OUT.go" ]; do sleep 0.1; done}),
	[ '--lease', '1h' ]);
wait_for('the second event', sub { lines("$dir/reported.txt") == 2 });
sql(q{select pg_terminate_backend(pid) from pg_stat_activity
	  where application_name like 'sentinai-work%'});
wait_for('the report', sub { completed('reported') == 1 });
pass('outcomes are reported while the next handler runs');
append_to_file("$dir/reported.txt.go", '');
wait_for('the rest', sub { completed('reported') == 3 });
is((stop_agent('reported'))[0], 0, 'and the rest at the end');
is(join(' ', sort(lines("$dir/reported.txt"))), '1 2 3', 'each once');

# The machine cannot start a command: no attempt is counted.
SKIP:
{
	my $prlimit = '/usr/bin/prlimit';

	skip 'no prlimit', 4 unless -x $prlimit;
	subscribe('short', 0);
	my $pid = start_agent('short', handler('short', 'echo "$SENTINAI_ATTEMPT" >>"$OUT"'), []);
	wait_for('the agent', sub { sql(q{select count(*) from pg_stat_activity
		where application_name like 'sentinai-work%' and query ~ 'wait_for_work'}) });
	system($prlimit, '--pid', $pid, '--nofile=4:') == 0 or die;
	sql(q{select sentinai.publish('short', 'acme', 'k', '{"n": 1}')});
	wait_for('the complaint', sub {
		grep { /could not start the command, trying again/ } lines("$dir/short.log") });
	system($prlimit, '--pid', $pid, '--nofile=64:') == 0 or die;
	wait_for('the event', sub { completed('short') == 1 });
	is(join(' ', lines("$dir/short.txt")), '1', 'the first attempt is the one that could start');
	is((stop_agent('short'))[0], 0, 'and the agent goes on');

	# An event that an agent has no memory for dies alone.
	subscribe('big', 2, q{, max_attempts => 2, backoff => '{50ms}'});
	$pid = start_agent('big', handler('big', 'echo "$N" >>"$OUT"'),
		[ '--lease', '1s', '--reconnect-max', '200ms', '--wait', '1s' ]);
	wait_for('2 events', sub { completed('big') == 2 });
	my ($size) = map { /^VmSize:\s+(\d+)/ } lines("/proc/$pid/status");
	stop_agent('big'), skip 'a sanitizer takes more than there is', 2 if $size > 1e9;
	system($prlimit, '--pid', $pid, '--as=' . ($size + 16384) * 1024 . ':') == 0 or die;
	sql(q{select sentinai.publish('big', 'acme', 'k1',
			jsonb_build_object('n', 3, 'text', repeat('x', 30000000)))});
	sql(q{select sentinai.publish('big', 'acme', 'k1', '{"n": 4}')});
	sql(q{select sentinai.publish('big', 'acme', 'k2', '{"n": 5}')});
	wait_for('the others', sub { completed('big') == 4 });
	is(sql(q{select payload->>'n', attempts from sentinai.dead_letter where worker_type = 'big'}),
		'3|2', 'an event that an agent cannot take is a dead letter');
	is((stop_agent('big'))[0], 0, 'and the agent goes on');
}

# A server that is silent holds up nobody's end: neither an agent that waits
# for work, nor, after its time, one that reports.
subscribe('silent', 0);
start_agent('silent', 'true', [ '-c', '2' ]);
wait_for('two waits', sub { 2 == sql(q{select count(*) from pg_stat_activity
	where application_name like 'sentinai-work%' and query ~ 'wait_for_work'}) });
my @server = server_processes();
kill 'STOP', @server;
($status, $seconds) = stop_agent('silent');
kill 'CONT', @server;
is($status, 0, 'SIGTERM while the server is silent');
cmp_ok($seconds, '<', 15, 'an idle agent ends at once');

# What a claim without an answer may hold, an agent cannot give back: it says so.
subscribe('claiming', 0);
my $blocker = $node->background_psql('postgres');
$blocker->query_safe(q{begin; lock table sentinai_internal.subscription in access exclusive mode});
start_agent('claiming', 'true', []);
wait_for('a claim', sub { sql(q{select count(*) from pg_stat_activity
	where application_name = 'sentinai-work' and wait_event_type = 'Lock'}) });
($status, $seconds) = stop_agent('claiming');
$blocker->quit;
is($status, 1, 'SIGTERM while a claim has no answer');
cmp_ok($seconds, '<', 15, 'is not late either');

subscribe('unheard', 1);
start_agent('unheard', handler('unheard', q{echo "$N" >>"$OUT"; while [ ! -e "$OUT.go" ]; do sleep 0.1; done}),
	[ '--shutdown-timeout', '4s' ]);
wait_for('the event', sub { lines("$dir/unheard.txt") });
@server = server_processes();
kill 'STOP', @server;
append_to_file("$dir/unheard.txt.go", '');
wait_for('the handler\'s end', sub {
	grep { /event handled/ } lines("$dir/unheard.log") });
($status, $seconds) = stop_agent('unheard');
kill 'CONT', @server;
is($status, 1, 'one with a report to make is forced');
cmp_ok($seconds, '<', 15, 'when the time for it is over');

done_testing();
