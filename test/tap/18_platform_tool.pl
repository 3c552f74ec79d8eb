# The tool agent of the exception platform, beside a small web server: what is
# called and how, what is refused, and what is told of it.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use Agents;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai ();
use Test::More;
use Time::HiRes qw(time sleep);
use Webhook;

my $node = Sentinai::new_node('platform_tool');
my $secret = 'xyzzy-7Qm2-very-secret';

use_node($node);

my $port = listen_for_calls();
my %answers = (
	'/ok' => sub { return (200, '{"accepted": true}') },
	'/look?v=1&a=%26%3D&v=2' => sub { return (200, '[]') },
	'/flaky' => sub { my ($key) = @_; return calls('/flaky', $key) > 1 ? (200, '{}') : (500, 'not yet') },
	'/slow' => sub { sleep 3; return (200, '{}') },
	'/big' => sub { return (200, 'x' x 5000) },
	'/redirect' => sub { return (302, '', "Location: http://127.0.0.1:$port/target\r\n") },
	'/target' => sub { return (200, '{}') },
	'/echo' => sub { my ($key, $header) = @_; return (200, qq({"you said": "$header"})) },
	'/half' => sub { sleep 0.5; return (200, '{}') },
	'/down' => sub { return -e "$dir/down" ? (503, '') : (200, '{}') },
	'/hold' => sub { my $end = time() + 30; sleep 0.05 while !-e "$dir/go" && time() < $end; return (200, '{}') });

start_webhooks(\%answers);
sql(q{create extension sentinai_platform cascade;
	select sentinai_platform.subscribe_agents();
	select sentinai.alter_subscription('tool', max_attempts => 10, backoff => '{0}')});
sql(qq{insert into sentinai_platform.allowed_hosts (tenant_id, host, port, networks) values
		('acme', '127.0.0.1', $port, '{127.0.0.0/8}'), ('globex', '127.0.0.1', $port, '{}'), ('globex', 'localhost', $port, '{10.0.0.0/8}');
	insert into sentinai_platform.tools (tenant_id, tool, kind, settings, max_attempts) select '*', t, 'webhook', jsonb_build_object('url', 'http://127.0.0.1:$port/' || t) || s, n
	from (values ('ok', '{"secret_headers": {"Authorization": "bank"}}'::jsonb, 1), ('flaky', '{}', 3), ('slow', '{"timeout_ms": 300}', 1), ('big', '{"max_response_bytes": 4999}', 1),
		('redirect', '{}', 1), ('half', '{}', 1), ('down', '{}', 1), ('hold', '{"timeout_ms": 60000}', 1), ('what', '{"method": "DELETE"}', 2)) v (t, s, n);
	insert into sentinai_platform.tools (tenant_id, tool, kind, settings) values
		('*', 'look', 'webhook', '{"url": "http://127.0.0.1:$port/look?v=1", "method": "GET"}'),
		('acme', 'echo', 'webhook', '{"url": "http://127.0.0.1:$port/echo", "secret_headers": {"Authorization": "bank"}}'),
		('globex', 'name', 'webhook', '{"url": "http://localhost:$port/ok"}'),
		('acme', 'theirs', 'webhook', '{"url": "http://127.0.0.1:$port/ok", "secret_headers": {"Authorization": "open"}}'),
		('acme', 'none', 'webhook', '{"url": "http://127.0.0.1:$port/ok", "secret_headers": {"Authorization": "globex"}}'),
		('acme', 'tell', 'notify', '{"channel": "desk"}');
	update sentinai_platform.tools set breaker_threshold = 2, breaker_open = '1 s' where tool = 'down'});

# secrets: of a tenant's tools and of those for all; one that everybody may read
foreach my $file ([ 'acme', 'bank', 0600, $secret ], [ '%2A', 'bank', 0600, $secret ], [ 'acme', 'open', 0644, 'open' ], [ 'globex', 'globex', 0600, 'g' ])
{
	my ($tenant, $name, $mode, $text) = @$file;

	mkdir "$dir/secrets";
	mkdir "$dir/secrets/$tenant";
	append_to_file("$dir/secrets/$tenant/$name", ($name eq 'bank' ? 'Bearer ' : '') . "$text\n");
	chmod $mode, "$dir/secrets/$tenant/$name";
}

# ask(TOOL, TENANT, EXCEPTION, ARGUMENTS): the execution's id
sub ask
{
	my ($tool, $tenant, $exception, $arguments) = @_;
	my $id = sql('select gen_random_uuid()');

	$tenant //= 'acme';
	$exception //= "EX-$tool";
	$arguments //= '{"n": 1}';
	sql(qq{select sentinai.publish('ToolExecutionRequested', '$tenant', '$exception', '{"exception_id": "$exception", "execution_id": "$id", "tool": "$tool", "arguments": $arguments}', metadata => '{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}')});
	return $id;
}

# end_of_execution(ID): its row, when it is known
sub end_of_execution
{
	my ($id) = @_;

	wait_for("execution $id", sub { sql(qq{select count(*) from sentinai_platform.tool_executions where execution_id = '$id' and last_outcome is not null}) });
	return sql(qq{select concat_ws(' ', status, http_status, response, error, retryable) from sentinai_platform.tool_executions where execution_id = '$id'});
}

sub outcomes
{
	my ($id) = @_;
	return sql(qq{select string_agg(replace(event_type, 'ToolExecution', ''), ' ' order by event_id) from sentinai.event_log where payload ->> 'execution_id' = '$id' and event_type <> 'ToolExecutionRequested'});
}

sub start_tool
{
	my ($name, @args) = @_;
	local $Agents::work = "$build/sentinai-tool";

	# what the environment says of proxies is not for webhooks
	start_work($name, sub { $ENV{$_} = 'http://127.0.0.1:1' foreach qw(http_proxy https_proxy all_proxy) },
		'--wait', '200ms', '--reconnect-max', '200ms', '--secrets-dir', "$dir/secrets", @args);
	return;
}

start_tool('tool', '-c', '1');

my $ok = ask('ok');
is(end_of_execution($ok), 'completed 200 {"accepted": true}', 'a webhook answers');
like((calls('/ok', $ok))[0], qr{ POST /ok acme:$ok Bearer_$secret 00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01 \{"n":_1\}$}, 'it had its key, its secret, the trace and the arguments');
my $look = ask('look', undef, undef, '{"v": "2", "a": "&="}');
is(end_of_execution($look), 'completed 200 []', 'arguments of GET');
is(scalar calls('/look?v=1&a=%26%3D&v=2', $look), 1, 'are its query, and nothing more');
my $flaky = ask('flaky');
is(end_of_execution($flaky), 'completed 200 {}', 'what fails first is called again');
is(scalar calls('/flaky', $flaky), 2, 'with the same key');
is(outcomes($flaky), 'Completed', 'and told once');
is(end_of_execution(ask('slow')), 'failed no answer in time t', 'time is bounded');
is(end_of_execution(ask('big')), 'failed 200 the response is too large f', 'size is bounded');
is(end_of_execution(ask('redirect')), 'failed 302 HTTP status 302 f', 'nobody is sent elsewhere');
is(scalar calls('/target'), 0, 'and nothing is there');
is(end_of_execution(ask('what')), 'failed 404 "what?" HTTP status 404 f', 'a no is a no');
is(end_of_execution(ask('tell')), 'completed', 'a tool that needs no call');

# addresses, by a connection that is there, too
my $before = calls('/ok');
is(end_of_execution(ask('ok', 'globex')), 'failed the address of the host is not allowed f', 'a private address');
is(end_of_execution(ask('name', 'globex')), 'failed the address of the host is not allowed f', 'a name that leads to one');
is(end_of_execution(ask('ok', 'initech')), 'failed the host of the tool is not allowed f', 'a host that nobody allows');
is(scalar calls('/ok'), $before, 'are not called');

# secrets
is(end_of_execution(ask('theirs')), 'failed the file of the secret is not private f', 'a secret that everybody may read');
is(end_of_execution(ask('none')), 'failed the secret cannot be read f', 'and one of another tenant');
is(end_of_execution(ask('echo')), 'completed 200 {"you said": "' . '*' x length("Bearer $secret") . '"}', 'who says it back is not heard');

# who publishes for one tenant names the command of another one
my $theirs = sql('select gen_random_uuid()');
sql(qq{insert into sentinai_platform.commands (execution_id, tenant_id, exception_id, command, status, requested_at, requested_by) values ('$theirs', 'globex', 'G', 'execute_tool', 'accepted', now(), 'mia')});
sql(qq{select sentinai.publish('ToolExecutionRequested', 'acme', 'other', '{"exception_id": "EX-ok", "execution_id": "$theirs", "tool": "ok", "arguments": {}}')});
wait_for('a dead letter', sub { sql(q{select count(*) from sentinai.dead_letter where aggregate_id = 'other'}) });
is(sql(qq{select status from sentinai_platform.get_command_status('$theirs')}), 'accepted', 'and changes nothing of it');

# at the same time
my $start = time();
my @half = map { sql('select gen_random_uuid()') } 1 .. 10;
sql(join ';', map { qq{select sentinai.publish('ToolExecutionRequested', 'acme', 'EX-$_', '{"exception_id": "EX-$_", "execution_id": "$half[$_ - 1]", "tool": "half", "arguments": {}}')} } 1 .. 10);
end_of_execution($_) foreach @half;
my ($now, $most) = (0, 0);
foreach my $line (grep { m{ /half } } lines("$dir/calls"))
{
	$now += $line =~ /^BEGIN/ ? 1 : -1;
	$most = $now if $now > $most;
}
cmp_ok($most, '>=', 3, "calls are made at the same time ($most of 10)");
my ($first, $second) = map { ask('half', 'acme', 'EX-one') } 1 .. 2;
end_of_execution($second);
my @order = map { (split / /)[0, 4] } grep { / acme:($first|$second) / } lines("$dir/calls");
is("@order", "BEGIN acme:$first END acme:$first BEGIN acme:$second END acme:$second", 'those of an exception one after the other');

# the circuit breaker
append_to_file("$dir/down", '');
is(end_of_execution(ask('down')), 'failed 503 HTTP status 503 t', 'a service is down') foreach 1 .. 2;
is(sql(q{select state from sentinai_platform.stat_tools where tenant_id = 'acme' and tool = 'down'}) =~ /open/, 1, 'its breaker opens');
my $kept = calls('/down');
unlink "$dir/down";
wait_for('the breaker to close', sub { end_of_execution(ask('down')) eq 'completed 200 {}' });
is(sql(q{select state || openings from sentinai_platform.stat_tools where tenant_id = 'acme' and tool = 'down'}), 'closed1', 'and heals');
is((stop_agent('tool'))[0], 0, 'the agent stops in order');

# between the call and its result
start_tool('killed', '-c', '1', '--lease', '1s');
my $hold = ask('hold');
wait_for('the call', sub { calls('/hold', $hold) });
kill 'KILL', $running{killed};
waitpid delete $running{killed}, 0;
start_tool('next', '-c', '1', '--lease', '1s');
wait_for('the call again', sub { calls('/hold', $hold) > 1 });
sleep 1.5;    # longer than the lease, which is kept while a call runs
append_to_file("$dir/go", '');
is(end_of_execution($hold), 'completed 200 {}', 'a call whose agent is gone is made again');
is(scalar calls('/hold', $hold), 2, 'once, with the same key');
is(outcomes($hold), 'Completed', 'and told once');
is((stop_agent('next'))[0], 0, 'that one stops, too');

# take_by_hand(RESULTS): a batch, with a result for each exception or without
sub take_by_hand
{
	my ($results) = @_;

	return sql(qq{call sentinai.wait_for_work('tool', '10 seconds', null);
		create temp table batch as select to_jsonb(c) as event from sentinai.claim('tool') c;
		do \$\$ begin perform sentinai_platform.prepare('tool', jsonb_agg(event)) from batch; end \$\$;
		select sentinai_platform.handle_tool(jsonb_agg(case when r.value is null then event else event || jsonb_build_object('result', r.value) end))
		from batch left join jsonb_each('$results') r on r.key = event ->> 'aggregate_id'});
}

# the batch and what was there for it have parted
my $deep = '[' x 1000 . ']' x 1000;
ask('what', 'acme', "other $_") foreach 1 .. 2;
is(take_by_hand('{}'), "t\n(0,2,0)", 'a webhook that was none when its batch was prepared comes again');
sql(q{select sentinai.alter_subscription('tool', max_attempts => 2); update sentinai_platform.tools set max_attempts = 9 where tool = 'what'});
is(take_by_hand(qq({"other 1": {"status": 503, "body": "$deep"}, "other 2": {"status": 503}})), "t\n(0,0,2)", 'an answer that cannot be kept ends its own execution');
is(sql(q{select string_agg(payload ->> 'error', ', ' order by event_id) from sentinai.event_log where aggregate_id ~ '^other .' and event_type = 'ToolExecutionFailed'}),
	'the response cannot be kept, HTTP status 503', 'and that of the others is told');
sql(q{alter function sentinai_platform.prepare(text, jsonb) rename to unprepare});
start_tool('early', '-c', '1', '--lease', '1s');
my $early = ask('ok');
wait_for('a refusal', sub { grep { /could not prepare/ } lines("$dir/early.log") });
sleep 1.5;
is(scalar(grep { /warning .*could not prepare/ } lines("$dir/early.log")), 1, 'an agent whose functions are away says so now and then');
sql(q{alter function sentinai_platform.unprepare(text, jsonb) rename to prepare});
is(end_of_execution($early), 'completed 200 {"accepted": true}', 'and goes on when they are there');
is((stop_agent('early'))[0], 0, 'that one stops, too');

# secrets are nowhere
$node->command_ok([ 'pg_dumpall', '-f', "$dir/dump" ], 'all there is');
is(scalar(grep { /\Q$secret\E/ } map { lines($_) } "$dir/dump", "$dir/tool.log", "$dir/next.log", $node->logfile), 0, 'and no secret in it, nor in a log');
is(sql(q{select count(*) from sentinai.dead_letter where aggregate_id !~ '^other'}), 0, 'nothing was given up');

done_testing();
