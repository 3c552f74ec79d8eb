# test/tap/04_agent_http.pl: --http: /livez, /readyz and /metrics through the life
# of an agent and of its server, and clients that mean no good.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use AgentHttp;
use Agents;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai ();
use Test::More;
use Time::HiRes qw(time);

my $node = Sentinai::new_node('agent_http');
my $secret = 'marker-5be1';

use_node($node);
sql(q{create extension sentinai; select sentinai.subscribe('http', max_attempts => 2, backoff => '{0}')});

# start_served(NAME, OPTION...): an agent with a port of its own choice
sub start_served
{
	my ($name, @args) = @_;

	start_work($name, undef, '-w', 'http', '--http', '0', '--reconnect-max', '200ms', '--wait', '1s', @args);
	return port_of($name);
}

# The life of an agent, and of its server.
start_served('one', '-x', "grep -q good || { echo $secret >&2; false; }", '-c', 2);
becomes('one', '/readyz', 200, 'ready when all threads claim');
is(status_of('one', '/livez'), 200, 'and alive');
$node->stop('fast');
becomes('one', '/readyz', 503, 'not ready without the database');
like((get('one', '/readyz'))[1], qr/^worker [12] is not connected$/m, 'and says why');
is(status_of('one', '/livez'), 200, 'but alive');
$node->start;
becomes('one', '/readyz', 200, 'ready again with it');

# Counts are those of the server.
sql(qq{select sentinai.publish('T', 't', 'good' || i, '{"say": "good $secret"}') from generate_series(1, 20) i;
	select sentinai.publish('T', 't', 'bad' || i, '{"say": "bad $secret"}') from generate_series(1, 3) i});
wait_for('the end of the work', sub { completed('http') == 20 && sql('select count(*) from sentinai.dead_letter') == 3 });
ok(Sentinai::wait_for(30, sub {
	my $m = metrics_of('one');
	return $m->{sentinai_agent_events_completed_total} == 20 && $m->{sentinai_agent_events_dead_total} == 3;
}), 'what was completed and what died is counted');
my $m = metrics_of('one');
is($m->{sentinai_agent_events_retried_total}, 3, 'and what was retried');
is($m->{sentinai_agent_events_claimed_total}, 26, 'all that was claimed is one of these');
is($m->{sentinai_agent_handle_duration_seconds_count}, 26, 'each was handled once for each attempt');
is($m->{'sentinai_agent_handle_duration_seconds_bucket{le="+Inf"}'}, 26, 'the last bucket has all');
cmp_ok($m->{sentinai_agent_handle_duration_seconds_sum}, '>', 0, 'and took some time');
cmp_ok($m->{sentinai_agent_turn_duration_seconds_count}, '>=', $m->{sentinai_agent_batches_total}, 'a batch takes a turn');
cmp_ok($m->{sentinai_agent_reconnects_total}, '>=', 2, 'reconnects are counted');
is($m->{sentinai_agent_connected}, 2, 'both threads are connected');
is(scalar(grep { /^sentinai_agent_build_info\{program="sentinai-work",version="[\d.]+",worker_type="http"\}$/ } keys %$m), 1, 'the program says what it is');
unlike((get('one', '/metrics'))[1], qr/$secret|"t"/, 'no payload and no tenant is in the metrics');

# Every name stands in the page.
my $page = slurp_file("$FindBin::RealBin/../../docs/agents.md");
my %named = map { $_ => 1 } (get('one', '/metrics'))[1] =~ /^# TYPE (\w+)/mg;
is(join(' ', grep { $page !~ /^\| `$_`/m } sort keys %named), '', 'the page names all metrics');

# GET and HEAD, of what there is.
is(status_of('one', '/'), 404, 'nothing else is there');
is(status_of('one', '/livez', $_), 405, "no $_") foreach qw(POST PUT DELETE OPTIONS);
is(join(' ', get('one', '/livez', 'HEAD')), '200 ', 'HEAD has no body');
is(status_of('one', "/livez?$secret"), 200, 'a query is left out');
like(ask('one', "GET /livez HTTP/1.1\r\nX: " . 'x' x 20000 . "\r\n\r\n"), qr{^(HTTP/1\.[01] 4|\z)}, 'a long request is refused');

# Requests that are none, each answered with a refusal or with nothing; none
# leaves anything behind.
sub open_files { my @files = glob "/proc/$running{one}/fd/*"; return scalar @files; }
sub memory { return slurp_file("/proc/$running{one}/status") =~ /^VmRSS:\s+(\d+)/m ? $1 : 0; }
sub cpu_ticks { my @field = split / /, slurp_file("/proc/$running{one}/stat") =~ s/.*\) //sr; return $field[11] + $field[12]; }
my $seed = defined $ENV{SEED} ? srand($ENV{SEED}) : srand;
note("SEED=$seed repeats the random requests");
my @none = ('', "\r\n\r\n", "GET\r\n\r\n", "GET /livez\r\n\r\n", "GET /livez HTTP/9.9\r\n\r\n", "GET  HTTP/1.1\r\n\r\n", "\0\0\0\0", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	"GET /livez HTTP/1.1\r\n\r\n", "GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n: none\r\n\r\n", "GET /" . 'a' x 100_000 . " HTTP/1.1\r\n\r\n",
	"GET /livez HTTP/1.1\r\n" . join('', map { "H$_: $secret\r\n" } 1 .. 5000) . "\r\n", "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
	"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
	"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "GET /%00%ff%2e%2e%zz?%n%s HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET http://$secret/livez HTTP/1.1\r\n\r\n", "CONNECT $secret:22 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /livez HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", map { join '', map { chr rand 256 } 1 .. 1 + rand 3000 } 1 .. 60);
sub ask_nonsense { my $socket = connect_to('one'); local $SIG{PIPE} = 'IGNORE'; syswrite $socket, $_[0]; shutdown $socket, 1; local $/; return readline($socket) // ''; }
my $ticks = cpu_ticks();
ask_nonsense($_) foreach @none;
my ($files, $memory) = (open_files(), memory());
my @odd = grep { !m{^(?:HTTP/1\.[01] (?:200|404|405|4\d\d|5\d\d)|\z)} } map { ask_nonsense($_) } (@none) x 5;
is(scalar @odd, 0, 'what is no request is refused') || diag($odd[0]);
ok(Sentinai::wait_for(30, sub { open_files() <= $files }), 'and leaves no open file');
cmp_ok(memory(), '<', $memory + 4096, 'and no memory');

# What is sent and its end, both there before the agent looks: libmicrohttpd takes
# no notice of such an end, and an unfinished request had its five seconds.
sub is_stopped { return !grep { slurp_file($_) !~ /\) T / } glob "/proc/$running{one}/task/*/stat"; }
my @unfinished = ("\0", 'G', 'GET /livez HTTP/1.1', "GET /livez HTTP/1.1\r\n", "GET /livez HTTP/1.1\r\nHost: x\r\n\r", "\r\n", "GET /livez HTTP/1.1\r\nHost: x\r\n more",
	'x' x 4095, 'GET /' . 'x' x 7000);
kill 'STOP', $running{one};
wait_for('the agent to stop', \&is_stopped);
my @ended = map { my $socket = connect_to('one'); syswrite $socket, $_; shutdown $socket, 1; $socket } @unfinished, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
my $sent = time();
kill 'CONT', $running{one};
my @answers = map { local $/; readline($_) // '' } @ended;
cmp_ok(time() - $sent, '<', 4, 'an unfinished request is over when its client says so');
like(pop @answers, qr{^HTTP/1\.1 200 .*_count \d+\n\z}s, 'a finished one has its answer');
is(join('', @answers), '', 'and the others have none');
cmp_ok(cpu_ticks() - $ticks, '<', 300 * ($ENV{SENTINAI_PATIENCE} || 1), 'and all of them together took no processor for themselves') || diag("SEED=$seed");
is(status_of('one', '/readyz'), 200, 'after it all is as before');

# Clients that take all connections and say next to nothing.
my @slow = map { connect_to('one') } 1 .. 40;
print $_ "GET /livez HT" foreach @slow;
$_->flush foreach @slow;
my $start = time();
is(status_of('one', '/livez'), 200, 'beside 40 slow clients another one gets its answer');
cmp_ok(time() - $start, '<', 5 * ($ENV{SENTINAI_PATIENCE} || 1), 'soon');
sql(q{select sentinai.publish('T', 't', 'beside', '{"say": "good"}')});
wait_for('an event beside slow clients', sub { completed('http') == 21 });
pass('and events are handled');
@slow = ();

# A port that another one has, and one that is none.
start_work('second', undef, '-w', 'http', '-x', 'true', '--http', '127.0.0.1:' . port_of('one'));
is((end_of('second'))[0], 69, 'a port in use ends the agent');
ok(scalar(grep { /could not serve --http.*in use/ } lines("$dir/second.log")), 'which says so');
start_work('third', undef, '-w', 'http', '-x', 'true', '--http', '127.0.0.1:none');
is((end_of('third'))[0], 69, 'so does what is no port');
is((stop_agent('one'))[0], 0, 'the first one stops in order');
is(scalar(grep { /$secret/ } lines("$dir/one.log")), 0, 'no request and no payload is in the log');

# Draining, and a thread that does not move.
start_served('stuck', '-x', 'cat >/dev/null; until test -e ' . "$dir/go; do sleep 0.1; done", '--stuck-after', '1s', '--shutdown-timeout', '60s');
becomes('stuck', '/readyz', 200, 'the next one is ready');
sql(q{select sentinai.publish('T', 't', 'stuck', '{}')});
becomes('stuck', '/livez', 503, 'a handler that does not return is a stuck thread');
like((get('stuck', '/livez'))[1], qr/^worker 1 is stuck$/, 'by its number');
kill 'TERM', $running{stuck};
becomes('stuck', '/readyz', 503, 'not ready from the signal on');
is((get('stuck', '/readyz'))[1], "stopping\n", 'because it stops');
is(metrics_of('stuck')->{sentinai_agent_draining}, 1, 'which is a metric');
append_to_file("$dir/go", '');
is((end_of('stuck'))[0], 0, 'it ends when the handler does');

unlink "$dir/go";
start_served('drain', '-x', 'cat >/dev/null; until test -e ' . "$dir/go; do sleep 0.1; done", '--shutdown-timeout', '60s');
sql(q{select sentinai.publish('T', 't', 'drain', '{}')});
wait_for('the event', sub { metrics_of('drain')->{sentinai_agent_events_claimed_total} == 1 });
kill 'TERM', $running{drain};
becomes('drain', '/readyz', 503, 'draining is not ready');
is(status_of('drain', '/livez'), 200, 'and alive');
append_to_file("$dir/go", '');
is((end_of('drain'))[0], 0, 'until it ends');

# A standby, and a subscription that is not there.
my $standby = PostgreSQL::Test::Cluster->new('agent_http_standby');
$node->backup('base');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
start_served('standby', '-x', 'true', '-d', 'dbname=postgres target_session_attrs=any host=' . $standby->host . ' port=' . $standby->port);
ok(Sentinai::wait_for(30, sub { (get('standby', '/readyz'))[1] =~ /^worker 1 is connected to a standby$/ }), 'a standby is not ready');
start_served('nobody', '-w', 'nobody', '-x', 'true');
ok(Sentinai::wait_for(30, sub { (get('nobody', '/readyz'))[1] =~ /^worker 1 is refused by the database$/ }), 'nor is an agent without its subscription');
is((stop_agent($_))[0], 0, "$_ stops in order") foreach qw(standby nobody);

done_testing();
