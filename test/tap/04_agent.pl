# test/tap/04_agent.pl: sentinai-work and the agent library against a server:
# order, retry, dead letters, crash, stop, slow handlers, restart, logs, options.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use Agents;
use IPC::Run ();
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $secret = 'payload-marker-9f3c';
my (@logs, %seen);

my $node = PostgreSQL::Test::Cluster->new('agent');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sentinai'
max_connections = 60
});
$node->start;
$node->safe_psql('postgres', 'create extension sentinai');

use_node($node);

# Start an agent; its log and the command's output are files of its name.
sub start_agent
{
	my ($name, @args) = @_;

	push @logs, "$dir/$name.log";
	start_work($name, undef, @args);
	return;
}

# Send a signal to an agent.
sub signal_agent
{
	my ($name, $signal) = @_;

	kill $signal, $running{$name};
	return;
}

# Run an agent until nothing is left to claim; its exit status.
sub run_agent
{
	my ($name, @args) = @_;

	start_agent($name, '--until-empty', @args);
	return (end_of($name))[0];
}

# Publish events n = first..last of a subscription's own event type.
sub publish
{
	my ($type, $first, $last, $keys) = @_;

	sql("select count(sentinai.publish('$type', 'acme', 'k' || n % $keys,
				jsonb_build_object('n', n, 'text', '$secret')))
		 from generate_series($first, $last) n");
	return;
}

# A subscription to one event type, both of this name.
sub subscribe
{
	my ($type, $more) = @_;

	sql("select sentinai.subscribe('$type', array['$type'] $more)");
	return;
}

# A handler; $N is the event's number, $OUT the file it writes to.
sub handler
{
	my ($name, $script) = @_;
	my $file = "$dir/$name.sh";

	open my $fh, '>', $file or die "$file: $!";
	print $fh <<"END";
#!/bin/sh
read -r event
N=\${event##*'"n": '}
N=\${N%%,*}
OUT='$dir/$name.txt'
$script
END
	close $fh;
	chmod 0755, $file;
	return $file;
}

# Order per key, several threads, more than one batch.
subscribe('ordered', '');
publish('ordered', 1, 300, 7);
my $ordered = handler('ordered',
	'echo "$SENTINAI_AGGREGATE_ID $N $SENTINAI_ATTEMPT $SENTINAI_TENANT_ID $SENTINAI_EVENT_TYPE" >>"$OUT"');
start_agent('ordered', '-w', 'ordered', '-x', $ordered, '-c', '3', '-n', '20');
wait_for('300 events', sub { completed('ordered') == 300 });
is((stop_agent('ordered'))[0], 0, 'an idle agent exits with 0');
my %of_key;
my $complete_lines = 0;
foreach (lines("$dir/ordered.txt"))
{
	$complete_lines++ if /^k\d \d+ 1 acme ordered$/;
	my ($key, $n) = split;
	push @{ $of_key{$key} }, $n;
}
is($complete_lines, 300, 'every event came once, with its environment');
is(scalar(keys %of_key), 7, 'all keys came');
my $in_order = 0;
foreach my $numbers (values %of_key)
{
	$in_order++ if "@$numbers" eq join ' ', sort { $a <=> $b } @$numbers;
}
is($in_order, 7, 'the events of a key came in order');

# A retry holds back its key, and only its key.
subscribe('retried', q{, backoff => '{300ms}'});
publish('retried', 1, 20, 2);
my $retried = handler('retried', q{
if [ "$N" = 3 ] && [ "$SENTINAI_ATTEMPT" -lt 3 ]; then echo "order not paid" >&2; exit 75; fi
if [ "$N" = 6 ] && [ "$SENTINAI_ATTEMPT" = 1 ]; then kill -9 $$; fi
echo "$SENTINAI_AGGREGATE_ID $N $SENTINAI_ATTEMPT" >>"$OUT"});
start_agent('retried', '-w', 'retried', '-x', $retried, '-c', '2');
wait_for('20 events', sub { completed('retried') == 20 });
stop_agent('retried');
is(join(' ', map { (split)[1] } grep { /^k1/ } lines("$dir/retried.txt")),
	'1 3 5 7 9 11 13 15 17 19', 'later events of a key wait for a retry');
is(join(' ', map { (split)[1] } grep { /^k0/ } lines("$dir/retried.txt")),
	'2 4 6 8 10 12 14 16 18 20', 'death by a signal is a retry');
is(join(' ', grep { /^k\d [36] / } sort(lines("$dir/retried.txt"))),
	'k0 6 2 k1 3 3', 'attempts are counted');

# EX_DATAERR is a dead letter, and the key goes on.
subscribe('failed', '');
publish('failed', 1, 10, 1);
my $failed = handler('failed', q{
if [ "$N" = 4 ]; then echo "first line" >&2; printf 'no such order \377\n\n' >&2; exit 65; fi
echo "$N" >>"$OUT"});
start_agent('failed', '-w', 'failed', '-x', $failed);
wait_for('9 events', sub { completed('failed') == 9 });
stop_agent('failed');
is(join(' ', lines("$dir/failed.txt")), '1 2 3 5 6 7 8 9 10',
	'a dead letter does not stop its key');
is(sql(q{select reason, attempts, payload->>'n' from sentinai.dead_letter where worker_type = 'failed'}),
	'no such order ?|1|4', 'the last line of standard error is the reason');
like(slurp_file("$dir/failed.log"), qr/an event became a dead letter.*event_id/, 'a dead letter is in the log');
unlike(slurp_file("$dir/failed.log"), qr/no such order/, 'what the handler said is not');

# Any other status is a failed attempt: a mistake in the handler is no fault of
# the event's.
subscribe('mistyped', q{, backoff => '{50ms}', max_attempts => 3});
publish('mistyped', 1, 1, 1);
my $mistyped = handler('mistyped', q{
echo "$SENTINAI_ATTEMPT" >>"$OUT"
[ "$SENTINAI_ATTEMPT" = 3 ] || { echo "NameError" >&2; exit "$SENTINAI_ATTEMPT"; }});
start_agent('mistyped', '-w', 'mistyped', '-x', $mistyped);
wait_for('the third attempt', sub { completed('mistyped') == 1 });
stop_agent('mistyped');
is(join(' ', lines("$dir/mistyped.txt")), '1 2 3', 'an exit status of 1 or 2 is a failed attempt');

# What says nothing about the event is no dead letter at once.
subscribe('broken', q{, backoff => '{50ms}', max_attempts => 2});
publish('broken', 1, 1, 1);
start_agent('broken', '-w', 'broken', '-x', '/no/such/command');
wait_for('a dead letter', sub {
	sql(q{select count(*) from sentinai.dead_letter where worker_type = 'broken'}) });
stop_agent('broken');
is(sql(q{select attempts from sentinai.dead_letter where worker_type = 'broken'}),
	'2', 'a command that cannot be run is retried');

# An event that takes too long is killed and retried.
subscribe('timeout', q{, backoff => '{50ms}'});
publish('timeout', 1, 1, 1);
my $timeout = handler('timeout', q{
echo "$SENTINAI_ATTEMPT" >>"$OUT"
[ "$SENTINAI_ATTEMPT" = 2 ] || sleep 300});
start_agent('timeout', '-w', 'timeout', '-x', $timeout, '--timeout', '500ms',
	'--kill-after', '100ms');
wait_for('the event', sub { completed('timeout') == 1 });
stop_agent('timeout');
is(join(' ', lines("$dir/timeout.txt")), '1 2', 'a timeout is a retry');

# kill -9: the lease runs out and another agent gets the batch.
subscribe('killed', '');
publish('killed', 1, 5, 1);
my $killed = handler('killed', q{
echo "$N $SENTINAI_ATTEMPT" >>"$OUT"
[ "$N" != 2 ] || [ -e "$OUT.go" ] || { echo $$ >"$OUT.pid"; exec sleep 300; }});
start_agent('killed', '-w', 'killed', '-x', $killed, '--lease', '1s');
wait_for('the second event', sub { lines("$dir/killed.txt.pid") });
signal_agent('killed', 'KILL');
end_of('killed');
kill 'KILL', lines("$dir/killed.txt.pid");
append_to_file("$dir/killed.txt.go", '');
start_agent('heir', '-w', 'killed', '-x', $killed, '--lease', '1s');
wait_for('all 5 events', sub { completed('killed') == 5 });
stop_agent('heir');
is(join(' ', map { /^2 (\d)/ } lines("$dir/killed.txt")), '1 2',
	'after kill -9 an event comes again, with an attempt counted');
%seen = ();
is(join(' ', grep { !$seen{$_}++ } map { (split)[0] } lines("$dir/killed.txt")),
	'1 2 3 4 5', 'in order');

# A long batch reports as it goes: a crash repeats little.
subscribe('reported', '');
publish('reported', 1, 5, 1);
my $reported = handler('reported', q{
echo "$N" >>"$OUT"
[ "$N" -gt 2 ] || sleep 0.7
[ "$N" != 3 ] || [ -e "$OUT.go" ] || { echo $$ >"$OUT.pid"; exec sleep 300; }});
start_agent('reported', '-w', 'reported', '-x', $reported, '--lease', '2s');
wait_for('a part of the batch', sub { completed('reported') == 2 });
wait_for('the third event', sub { lines("$dir/reported.txt.pid") });
signal_agent('reported', 'KILL');
end_of('reported');
kill 'KILL', lines("$dir/reported.txt.pid");
append_to_file("$dir/reported.txt.go", '');
start_agent('heir', '-w', 'reported', '-x', $reported);
wait_for('all 5 events', sub { completed('reported') == 5 });
stop_agent('heir');
is(join(' ', lines("$dir/reported.txt")), '1 2 3 3 4 5',
	'what a batch has reported is not repeated');

# SIGTERM: the event at hand is finished, the rest goes back untouched.
subscribe('stopped', '');
publish('stopped', 1, 50, 1);
my $stopped = handler('stopped', q{echo "$N $SENTINAI_ATTEMPT" >>"$OUT"; sleep 0.4});
start_agent('stopped', '-w', 'stopped', '-x', $stopped, '--lease', '1h',
	'--shutdown-timeout', '15s');
wait_for('two events', sub { lines("$dir/stopped.txt") >= 2 });
my ($status, $seconds) = stop_agent('stopped');
is($status, 0, 'SIGTERM in the middle of a batch: exit status 0');
cmp_ok($seconds, '<', 15, 'before the shutdown timeout');
my $done = completed('stopped');
is($done, scalar(lines("$dir/stopped.txt")), 'what was handled is completed');
cmp_ok($done, '<', 50, 'not the whole batch was handled');
$stopped = handler('stopped', q{echo "$N $SENTINAI_ATTEMPT" >>"$OUT"});
start_agent('stopped', '-w', 'stopped', '-x', $stopped);
wait_for('the rest', sub { completed('stopped') == 50 });
stop_agent('stopped');
is(join(' ', lines("$dir/stopped.txt")), join(' ', map { "$_ 1" } 1 .. 50),
	'the rest came to the next agent at once, in order, as a first attempt');

# A handler that does not end in time is killed and its event given back.
subscribe('forced', '');
publish('forced', 1, 3, 1);
my $forced = handler('forced', q{
echo "$N $SENTINAI_ATTEMPT" >>"$OUT"
[ -e "$OUT.go" ] || exec sleep 300});
start_agent('forced', '-w', 'forced', '-x', $forced, '--lease', '1h',
	'--shutdown-timeout', '500ms');
wait_for('the event', sub { lines("$dir/forced.txt") });
($status, $seconds) = stop_agent('forced');
is($status, 1, 'a stop that had to be forced has exit status 1');
append_to_file("$dir/forced.txt.go", '');
start_agent('forced', '-w', 'forced', '-x', $forced);
wait_for('the rest', sub { completed('forced') == 3 });
stop_agent('forced');
is(join(' ', lines("$dir/forced.txt")), '1 1 1 1 2 1 3 1',
	'and the batch was given back without an attempt');

# A slow handler keeps its lease.
subscribe('slow', '');
publish('slow', 1, 1, 1);
my $slow = handler('slow', q{echo "$N $SENTINAI_ATTEMPT" >>"$OUT"; sleep 3});
start_agent('slow', '-w', 'slow', '-x', $slow, '--lease', '1s');
wait_for('the event', sub { lines("$dir/slow.txt") });
start_agent('rival', '-w', 'slow', '-x', $slow, '--lease', '1s', '--wait', '100ms');
wait_for('the event', sub { completed('slow') == 1 });
stop_agent('slow');
stop_agent('rival');
is(join(' ', lines("$dir/slow.txt")), '1 1',
	'the lease of a slow handler is extended');
like(slurp_file("$dir/slow.log"), qr/lease extended/, 'and the log says so');

# An agent that was frozen beyond its lease drops its batch and goes on.
subscribe('frozen', '');
publish('frozen', 1, 1, 1);
my $frozen = handler('frozen', q{echo "$N $SENTINAI_ATTEMPT" >>"$OUT"; [ "$SENTINAI_ATTEMPT" -gt 1 ] || sleep 0.5});
start_agent('frozen', '-w', 'frozen', '-x', $frozen, '--lease', '1s');
wait_for('the event', sub { lines("$dir/frozen.txt") });
signal_agent('frozen', 'STOP');
start_agent('taker', '-w', 'frozen', '-x', $frozen, '--lease', '1s');
wait_for('the event', sub { completed('frozen') == 1 });
stop_agent('taker');
signal_agent('frozen', 'CONT');
publish('frozen', 2, 2, 1);
wait_for('the next event', sub { completed('frozen') == 2 });
is((stop_agent('frozen'))[0], 0, 'a stale token does not end the agent');
like(slurp_file("$dir/frozen.log"), qr/lease lost, dropping the batch.*SN409/,
	'the log tells of the stale token');

# Restart of the server.
subscribe('restarted', '');
my $restarted = handler('restarted', q{echo "$N" >>"$OUT"});
start_agent('restarted', '-w', 'restarted', '-x', $restarted, '-c', '2',
	'--reconnect-max', '500ms');
publish('restarted', 1, 3, 1);
wait_for('3 events', sub { completed('restarted') == 3 });
$node->stop('fast');
$node->start;
publish('restarted', 4, 6, 1);
wait_for('6 events', sub { completed('restarted') == 6 });
$node->stop('immediate');
$node->start;
publish('restarted', 7, 9, 1);
wait_for('9 events', sub { completed('restarted') == 9 });
is((stop_agent('restarted'))[0], 0, 'an agent survives restarts of the server');
my $restart_log = slurp_file("$dir/restarted.log");
like($restart_log, qr/reconnected/, 'and says that it reconnected');
%seen = ();
is(join(' ', grep { !$seen{$_}++ } lines("$dir/restarted.txt")),
	'1 2 3 4 5 6 7 8 9', 'in order');

# The counts, and lines as JSON.
subscribe('counted', '');
publish('counted', 1, 8, 3);
wait_for('work', sub {
	sql("call sentinai.wait_for_work('counted', '1s', null)") eq 't' });
is(run_agent('counted', '-w', 'counted', '-x', 'cat', '--log-format', 'json'),
	0, '--until-empty ends by itself');
is(completed('counted'), 8, 'when all is done');
like(slurp_file("$dir/counted.log"),
	qr/^\{"time":"[^"]+","level":"info","program":"sentinai-work","message":"counts since the start","claimed":8,"completed":8,"retried":0,"dead":0,"released":0,"dropped":0,"reconnects":0,"batches":\d+,"lost":0,"unreadable":0\}$/m,
	'the log has the counts');
my @json = lines("$dir/counted.out");
is(scalar(@json), 8, 'the command got one line per event');
my $event = decode_json($json[0]);
is(join(' ', sort keys %$event),
	'aggregate_id aggregate_type attempt causation_id correlation_id event_id '
	  . 'event_type metadata occurred_at payload schema_version tenant_id token',
	'the line is JSON with the columns of claim()');
is(sql(qq{select event_type, tenant_id, aggregate_id, payload->>'text',
		payload->>'n' = '$event->{payload}{n}',
		occurred_at = '$event->{occurred_at}'::timestamptz
		from sentinai.event_log where event_id = '$event->{event_id}'}),
	"counted|acme|$event->{aggregate_id}|$secret|t|t",
	'and the values of the event');

# A worker type that does not exist.
my ($out, $err);
IPC::Run::run([ $work, '-w', 'nobody', '-x', 'true', '--unknown-type', 'exit' ],
	'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
is($? >> 8, 69, '--unknown-type=exit');
like($err, qr/worker type does not exist.*worker_type=nobody/, 'and a clear message');
start_agent('later', '-w', 'later', '-x', 'true', '--reconnect-max', '200ms');
wait_for('the complaint', sub { grep { /worker type does not exist/ } lines("$dir/later.log") });
subscribe('later', '');
publish('later', 1, 1, 1);
wait_for('the event', sub { completed('later') == 1 });
stop_agent('later');
ok(1, 'by default the agent waits for the worker type');

# A command from a file is run as it stands there.
subscribe('of-file', '');
publish('of-file', 1, 3, 1);
wait_for('work', sub {
	sql("call sentinai.wait_for_work('of-file', '1s', null)") eq 't' });
append_to_file("$dir/command.ini",
	"[sentinai-work]\nworker-type = of-file\n"
	  . "exec = cd '$dir' ; cat >>of-file.txt   # what it got\n");
is(run_agent('of-file', '--config', "$dir/command.ini"), 0, 'a command from a file');
is(scalar(lines("$dir/of-file.txt")), 3, 'is not cut at what other files call a comment');
($out, $err) = run_command([ $work, '--config', "$dir/command.ini", '--show-config' ]);
append_to_file("$dir/shown.ini", "$out\n");
my ($again, undef) = run_command([ $work, '--config', "$dir/shown.ini", '--show-config' ]);
is(join("\n", grep { !/^#/ } split /\n/, $again), join("\n", grep { !/^#/ } split /\n/, $out),
	'nor changed by what --show-config prints');
like($out, qr/^exec = cd '\Q$dir\E' ; cat >>of-file.txt   # what it got$/m, 'which is the whole of it');
append_to_file("$dir/mistyped.ini", "exec = true\n[sentinai-wrok]\nworker-type = x\n");
IPC::Run::run([ $work, '--config', "$dir/mistyped.ini" ], '<', \undef, '>', \$out, '2>', \$err);
is($? >> 8, 64, 'a mistyped section is refused');
like($err, qr/mistyped\.ini", line 2: /, 'with file and line');

# A password that looks like what hides it.
{
	local $ENV{PGPASSWORD} = '**';
	IPC::Run::run([ $work, '-w', 'x', '-x', 'true', '-U', 'a**b***', '--reconnect-attempts', '1' ],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout($limit));
}
is($? >> 8, 69, 'no connection: exit status 69');
like($err, qr/could not connect/, 'and a message, whatever the password is');

# Through PgBouncer in transaction mode.
SKIP:
{
	my ($port, $user, $pooler) = start_pgbouncer(3);

	skip 'no pgbouncer', 2 unless $pooler;
	local $ENV{PGHOST} = $dir;
	local $ENV{PGPORT} = $port;
	subscribe('pooled', q{, backoff => '{100ms}'});
	publish('pooled', 1, 200, 20);
	my $pooled = handler('pooled', q{
[ "$N.$SENTINAI_ATTEMPT" != 7.1 ] || exit 75
echo "$SENTINAI_AGGREGATE_ID $N" >>"$OUT"});
	start_agent('pooled', '-w', 'pooled', '-x', $pooled, '-c', '6', '-n', '10',
		'--user', $user, '--wait', '500ms');
	wait_for('200 events', sub { completed('pooled') == 200 });
	is((stop_agent('pooled'))[0], 0, 'an agent behind a pooler in transaction mode');
	is(scalar(lines("$dir/pooled.txt")), 200, 'gets every event once');
	$pooler->signal('INT');
	$pooler->finish;
}

# The example of the library.
subscribe('order.placed', '');
sql(q{select sentinai.publish('order.placed', 'acme', 'o-1', '{}')});
wait_for('work', sub {
	sql("call sentinai.wait_for_work('order.placed', '1s', null)") eq 't' });
IPC::Run::run([ "$build/echo", '-w', 'order.placed', '--until-empty' ],
	'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
is($out, "order o-1 of acme\n", 'the example prints its event');

# Nothing of a payload or an error text is in any log.
my $leaks = 0;
foreach my $log (@logs)
{
	my $text = slurp_file($log);
	foreach my $line (grep { /\Q$secret\E|no such order|order not paid/ } split /\n/, $text)
	{
		diag("$log: $line");
		$leaks++;
	}
}
cmp_ok(scalar(@logs), '>', 10, 'there are logs to look at');
is($leaks, 0, 'no log has a payload or an error text');
unlike(slurp_file($node->logfile), qr/\Q$secret\E.*sentinai\.(complete|fail|claim)/,
	'nor has the log of the server');

# Options: the help has every option, and so has the environment.
($out, $err) = run_command([ $work, '--help' ]);
my $help = $out;
($out, $err) = run_command([ $work, '-w', 'x', '-x', 'true', '--show-config' ]);
my @options = $out =~ /^(?:# )?([a-z-]+) =/mg;
cmp_ok(scalar(@options), '>=', 25, '--show-config lists the options');
foreach my $option (@options)
{
	(my $variable = 'SENTINAI_' . uc $option) =~ tr/-/_/;
	like($help, qr/--\Q$option\E[= ].*\n\s+\[$variable[,\]]/, "--help has --$option");
}

append_to_file("$dir/agent.ini",
	"[agent]\nlease = 11s\nwait = 12s\nmax-events = 13\n[sentinai-work]\nworker-type = of-file\nexec = true\n");
{
	local $ENV{SENTINAI_LEASE} = '21s';
	local $ENV{SENTINAI_WAIT} = '22s';
	local $ENV{CONCURRENCY} = '4';
	local $ENV{WORKER_TYPE} = 'of-environment';

	($out, $err) = run_command(
		[ $work, '--config', "$dir/agent.ini", '--lease', '31s', '--show-config' ]);
}
like($out, qr/^# flag\nlease = 31s$/m, 'a flag overrides the environment');
like($out, qr/^# environment\nwait = 22s$/m, 'which overrides the file');
like($out, qr/^# environment\nworker-type = of-environment$/m, 'WORKER_TYPE counts');
like($out, qr/^# environment\nconcurrency = 4$/m, 'CONCURRENCY counts');
like($out, qr/^# file\nmax-events = 13$/m, 'the file overrides the default');
like($out, qr/^# default\nstatement-timeout = 30s$/m, 'and there are defaults');
IPC::Run::run([ $work, '-w', 'x', '-x', 'true', '-d', 'host=a password=geheim b' ],
	'<', \undef, '>', \$out, '2>', \$err);
is($? >> 8, 78, 'a malformed connection string is refused');
unlike($err, qr/geheim/, 'and not repeated');

done_testing();
