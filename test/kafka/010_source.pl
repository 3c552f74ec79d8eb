# test/kafka/010_source.pl: the six agents of the platform with --source kafka do
# what they do with --source database, row by row in every read model, while they
# are killed and the group is rebalanced. What fails waits with its key, and is told
# of as it is of claims; what is no event stops nothing; a call is made once.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";
use Agents;
use IPC::Run ();
use KafkaNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai ();
use Test::More;
use Webhook;

my $unslept = 90;
my @tenants = qw(acme globex initech);
my @agents = qw(intake triage policy playbook tool feedback);
my $n = 0;
my $kafka = KafkaNode->new("$PostgreSQL::Test::Utils::tmp_check/kafka_source",
	'group.initial.rebalance.delay.ms=0', 'group.min.session.timeout.ms=1000');
my %node = (
	database => Sentinai::new_node('source_database'),
	kafka => Sentinai::new_node('source_kafka', 'sentinai.topic_partitions = 4', 'sentinai.launcher_naptime = 1s',
		"sentinai.kafka_conf = 'bootstrap.servers=@{[$kafka->bootstrap]}'"));

# both(SQL): in both servers
sub both
{
	my ($query) = @_;

	$node{$_}->safe_psql('postgres', $query) foreach sort keys %node;
	return;
}

sub of { my ($source, $query) = @_; return $node{$source}->safe_psql('postgres', $query); }

use_node($node{kafka});
append_to_file("$dir/kafka.conf", "session.timeout.ms=1500; heartbeat.interval.ms=300; fetch.wait.max.ms=50\n");
# the group must not take who makes calls for dead, however slow this machine is
append_to_file("$dir/tool.conf", "session.timeout.ms=3000; heartbeat.interval.ms=300; fetch.wait.max.ms=50\n");
append_to_file("$dir/eager.conf", "session.timeout.ms=1500; heartbeat.interval.ms=300; partition.assignment.strategy=range\n");
my $port = listen_for_calls();
start_webhooks({
	'/take' => sub { return (200, '{"taken": true}') },
	'/undo' => sub { return (200, '{}') },
	'/flaky' => sub { my ($key) = @_; return calls('/flaky', $key) > 1 ? (200, '{"n": 2}') : (503, '') },
	'/judge' => sub { my (undef, undef, $body) = @_; return $body =~ /[05]\}$/ ? (422, '"no"') : (200, '{}') },
	map { my $way = $_; ("/$way" => sub { my $end = time() + 30; select undef, undef, undef, 0.02 while !-e "$dir/$way" && time() < $end; return (200, '{}') }) } qw(hold lose) });
both(qq{create extension sentinai_platform cascade;
	insert into sentinai_platform.allowed_hosts (tenant_id, host, port, networks) values ('*', '127.0.0.1', $port, '{127.0.0.0/8}');
	insert into sentinai_platform.tools (tenant_id, tool, kind, settings, max_attempts, breaker_threshold)
	select '*', t, 'webhook', jsonb_build_object('url', 'http://127.0.0.1:$port/' || t, 'timeout_ms', 60000), 4, 100000 from unnest('{take,undo,flaky,judge,hold,lose}'::text[]) t;
	insert into sentinai_platform.tools (tenant_id, tool, kind, settings) values
		('*', 'label', 'update_field', '{"fields": ["attributes.label"]}'), ('*', 'tell', 'publish_event', '{"event_type": "desk.told"}')});
both(q{
	select sentinai_platform.put_playbook('*', 'p', '[
		{"tool": "take", "arguments": {"n": "{{ /amount }}"}, "compensation": {"tool": "undo", "arguments": {"was": "{{ /steps/1/response/taken }}"}}},
		{"tool": "flaky", "condition": "$.amount > 90 || $.amount < 4"},
		{"tool": "label", "arguments": {"field": "attributes.label", "value": "seen"}},
		{"tool": "judge", "arguments": {"n": "{{ /amount }}"}},
		{"tool": "tell", "condition": "$.amount < 50", "arguments": {"n": "{{ /amount }}"}}]', 'done');
	insert into sentinai_platform.mapping_rules (tenant_id, field, pointers, required) values ('*', 'amount', '{/amt}', true);
	insert into sentinai_platform.triage_rules (tenant_id, rule, condition, severity) values
		('*', 'large', '$.amount >= 50', 'high'), ('acme', 'small', '$.amount < 50', 'low');
	insert into sentinai_platform.guardrails (tenant_id, rule, priority, condition, decision, playbook) values
		('*', 'large', 10, '$.severity == "high"', 'needs_approval', 'p'), ('acme', 'small', 20, '$.amount < 50', 'allowed', 'p');
	-- what a test can make fail, as something that is not the event's fault for ever
	create table public.trouble (exception_id text, tries int);
	create sequence public.tries;
	create function cause_trouble() returns trigger language plpgsql as $$
		begin
			if exists (select from public.trouble t where t.exception_id = new.exception_id and (t.tries is null or nextval('public.tries') <= t.tries)) then
				raise exception 'trouble';
			end if;
			return new;
		end $$;
	create trigger trouble before insert on sentinai_platform.exceptions for each row execute function cause_trouble()});
of('database', 'select sentinai_platform.subscribe_agents()');

# start_platform(NAME, SOURCE, AGENT, OPTION...)
sub start_platform
{
	my ($name, $source, $agent, @args) = @_;
	local $Agents::work = "$build/sentinai-$agent";
	my $at = $node{$source};

	start_work($name, undef, '-h', $at->host, '-p', $at->port, '-n', '17', '--reconnect-max', '200ms', '-c', 2,
		$source eq 'kafka' ? ('--source', 'kafka', '--brokers', $kafka->bootstrap, '--kafka-conf', $agent eq 'tool' ? "$dir/tool.conf" : "$dir/kafka.conf") :
			('--lease', '2s', '--wait', '200ms'), @args);
	return;
}

# submit(HOW MANY): exceptions of all tenants, in both; of ten one is wrong
sub submit
{
	my ($count) = @_;
	my $first = $n + 1;

	$n += $count;
	both(qq{select count(sentinai_platform.submit_exception(t, 'bank', jsonb_build_object('amt', case when i % 10 = 7 then 'much' else (i % 100)::text end), 'EX-' || i, idempotency_key => 'k' || i))
		from generate_series($first, $n) i, unnest('{@{[join ',', @tenants]}}'::text[]) t});
	return;
}

# produce(HEADERS, KEY AND VALUE, OPTION...): a record that no relay has written
sub produce
{
	my ($headers, $input, @options) = @_;

	IPC::Run::run([ 'kcat', '-P', '-b', $kafka->bootstrap, '-t', 'sentinai.exception', '-K', '|', (map { ('-H', $_) } @$headers), @options ],
		'<', \$input) or die 'kcat';
	return;
}

# unreadable(NAME): lines of such agents about records that are no events
sub unreadable
{
	my ($name) = @_;

	return scalar grep { /a record is no event of ours/ } map { lines($_) } grep { /$name/ } glob "'$dir'/*.log";
}

# What is wrong is said before anything is done.
my ($out, $err);
my @tries = (
	[ 'no broker', qr/--brokers/ ],
	[ 'a property that is not for users', qr/"group\.id" is not allowed/, '--kafka-conf', "$dir/wrong.conf", '--brokers', 'x' ],
	[ 'a secret in the file', qr/"sasl\.password" is a secret/, '--kafka-conf', "$dir/secret.conf", '--brokers', 'x' ],
	[ 'an end when all is done', qr/--until-empty/, '--until-empty', '--brokers', 'x' ]);
append_to_file("$dir/wrong.conf", 'group.id=mine');
append_to_file("$dir/secret.conf", 'sasl.password=marker-77');
foreach my $try (@tries)
{
	my ($name, $regex, @args) = @$try;

	IPC::Run::run([ "$build/sentinai-intake", '--source', 'kafka', @args ], '<', \undef, '>', \$out, '2>', \$err);
	is($? >> 8, 64, "$name is refused");
	like($err, $regex, 'with the reason');
	unlike($err, qr/marker-77/, 'and no secret');
}

start_platform("database $_", 'database', $_) foreach @agents;
my %agents = map { ("kafka $_ 1" => $_, "kafka $_ 2" => $_) } @agents;
start_platform($_, 'kafka', $agents{$_}) foreach sort keys %agents;
submit(20);
of('kafka', q{insert into trouble values ('EX-25', null), ('EX-26', 4)});

# crash(NAME): kill -9, and another one in its place
sub crash
{
	my ($name) = @_;

	kill 'KILL', $running{$name};
	waitpid $running{$name}, 0;
	start_platform($name, 'kafka', $agents{$name});
	return;
}

# kill -9 in the middle, also while something has failed and what came behind it
# is done; and members that come and go
foreach my $round (1 .. 4)
{
	my $name = (sort keys %agents)[ int rand keys %agents ];

	submit(10);
	select undef, undef, undef, rand 0.3;
	if ($round % 3 == 0)
	{
		of('kafka', q{select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ '^sentinai-(intake|triage|policy|playbook|tool|feedback)'});
	}
	elsif ($round == 1)
	{
		wait_for('a failure', sub { of('kafka', 'select is_called from public.tries') eq 't' });
		wait_for('what came behind it', sub { of('kafka', q{select count(*) from sentinai_platform.exceptions where exception_id = 'EX-30'}) == @tenants });
		crash("kafka intake $_") foreach 1, 2;
	}
	else
	{
		crash($name);
	}
}

# What is no event, in every partition.
my $id = '019aac3c-7d3f-7c52-9d0f-5b1a6f0c9e1';
foreach my $partition (0 .. 3)
{
	my @to = ('-p', $partition);

	produce([], "k|hello\n", @to);
	produce([], "k|\n", @to, '-Z');
	produce([ "ce_id=$id$partition", 'ce_type=ExceptionIngested', 'ce_tenantid=acme' ], "k|{\"broken\": \n", @to);
	produce([ 'ce_id=none', 'ce_type=ExceptionIngested', 'ce_tenantid=acme' ], "k|{}\n", @to);
	produce([ "ce_id=$id$partition", 'ce_type=ExceptionIngested' ], "k|{}\n", @to);
}
submit(10);

# Who decides does so in both: a third is approved, a third rejected, a third waits.
sub decide
{
	both(q{select case (x.amount::int) % 3 when 0 then sentinai_platform.approve(a.approval_id, 'mia', 'ok') else sentinai_platform.reject(a.approval_id, 'mia', 'no') end
		from sentinai_platform.approvals a join sentinai_platform.exceptions x using (tenant_id, exception_id)
		where a.status = 'pending' and a.execution_id is null and x.amount::int % 3 <> 2});
	return;
}

# done(SOURCE): exceptions that have come to their end in all read models
sub done
{
	my ($source) = @_;

	decide();
	return of($source, q{select count(*) from sentinai_platform.exceptions x
		where state in ('resolved', 'escalated') and exists (select from sentinai_platform.feedback f where f.tenant_id = x.tenant_id and f.exception_id = x.exception_id)
			  or state = 'awaiting_approval' and x.amount::int % 3 = 2});
}

wait_for('dead letters', sub { of('kafka', q{select count(*) from sentinai_platform.kafka_dead_letters where aggregate_id = 'EX-25'}) == @tenants });
# Killed while its transaction runs, which the server commits all the same. Nobody has
# told the group how far it was, so the next one is given these records again.
{
	my @intakes = map { "kafka intake $_" } 1, 2;
	my $at_work = q{select coalesce(string_agg(pid::text, ','), '') from pg_stat_activity where application_name = 'sentinai-intake' and wait_event_type = 'Lock'};
	my $holder = IPC::Run::start([ 'psql', '-Xqd', $node{kafka}->connstr('postgres'), '-c', 'begin; lock table sentinai_platform.exceptions in exclusive mode; select pg_sleep(600)' ],
		'<', \undef, '>', \my $said, '2>&1');
	# done or dead: nothing is tried again any more
	my $settled = sub { of('kafka', q{select (select count(*) from sentinai.event_processing where worker_type = 'intake') + (select count(*) from sentinai_platform.kafka_dead_letters)}) };
	my ($before, $pids);

	wait_for('the lock', sub { of('kafka', q{select count(*) from pg_locks where relation = 'sentinai_platform.exceptions'::regclass and mode = 'ExclusiveLock' and granted}) });
	submit(10);
	wait_for('a batch under way', sub { $pids = of('kafka', $at_work) });
	kill 'KILL', map { $running{$_} } @intakes;
	waitpid $running{$_}, 0 foreach @intakes;
	$pids = of('kafka', $at_work);
	$before = $settled->();
	of('kafka', q{select pg_terminate_backend(pid) from pg_stat_activity where query ~ '^begin; lock table'});
	$holder->finish;
	wait_for('the end of its sessions', sub { of('kafka', "select count(*) from pg_stat_activity where pid in ($pids)") == 0 });
	cmp_ok($settled->(), '>', $before, 'what a killed agent had sent is done');
	start_platform($_, 'kafka', $agents{$_}) foreach @intakes;
}

my $good = @tenants * $n * 9 / 10;
wait_for('all that does not fail for ever', sub { done('kafka') == $good - @tenants });
is(of('kafka', q{select string_agg(distinct attempts || ' ' || error, ';') from sentinai_platform.kafka_dead_letters where aggregate_id = 'EX-25'}), '5 P0001: trouble', 'what fails five times is a dead letter');
is(of('kafka', q{select last_value > 4 from public.tries}), 't', 'what fails for a while is done');
of('kafka', q{delete from public.trouble; select sentinai_platform.retry_kafka_dead_letter(event_id, worker_type, 'mia') from sentinai_platform.kafka_dead_letters where aggregate_id = 'EX-25'});
foreach my $source ('kafka', 'database')
{
	wait_for("the rest in $source", sub { done($source) == $good });
	wait_for("the tools in $source", sub { of($source, q{select count(*) from sentinai_platform.tool_executions where last_outcome is null}) == 0 });
}
wait_for('dead letters', sub { of('kafka', q{select count(*) from sentinai_platform.kafka_dead_letters where status = 'pending'}) >= @tenants * $n - $good });
is(of('kafka', q{select string_agg(distinct status || ' ' || settled_by, ';') from sentinai_platform.kafka_dead_letters where aggregate_id = 'EX-25'}), 'succeeded mia', 'who has tried it again is known');
like(of('kafka', q{select string_agg(event_type || ' ' || coalesce(payload ->> 'attempt', ''), ',' order by event_id) from sentinai.event_log where tenant_id = 'acme' and aggregate_id = 'EX-25' and event_type ~ '^(Retry|Dead)'}),
	qr/RetryScheduled 4,DeadLettered 5,DeadLetterRetried $/, 'RetryScheduled and DeadLettered tell of what failed, and who has tried it again');

# All read models, without what is of the time or made at random.
my %models = (
	exceptions => 'opened_by,received_at,changed_at,triaged_at,due_at,sla,closed_at,occurred_at',
	approvals => 'approval_id,opened_by,requested_at,due_at,execution_id,decided_at',
	playbook_executions => 'execution_id,started_at,changed_at,ended_at',
	step_executions => 'execution_id,tool_execution_id,call_id,due_at,requested_at,ended_at',
	tool_executions => 'execution_id,opened_by,duration_ms,requested_at,finished_at,last_request,last_outcome',
	feedback => 'event_id,seconds,ended_at',
	feedback_metrics => 'day,seconds,longest_seconds');
foreach my $model (sort keys %models)
{
	# a tool that publishes answers with the id of its event
	my $rows = qq{select regexp_replace((to_jsonb(x) - '{$models{$model}}'::text[])::text, '"event_id": "[^"]*"', '') as r from sentinai_platform.$model x order by 1};
	my @rows = map { [ split /\n/, of($_, $rows) ] } 'kafka', 'database';

	cmp_ok(scalar @{ $rows[0] }, '>', 0, "there are $model");
	is_deeply(@rows, "both sources make the same $model");
}
my $flows = q{select e.tenant_id, e.aggregate_id, string_agg(e.event_type, ',' order by e.event_id), string_agg(c.event_type, ',' order by e.event_id)
	from sentinai.event_log e left join sentinai.event_log c on c.event_id = e.causation_id
	where e.event_type not in ('DeadLettered', 'RetryScheduled', 'DeadLetterRetried') group by 1, 2 order by 1, 2};
is(of('kafka', $flows), of('database', $flows), 'by the same events, in order, once, with the same causes');
my $commands = q{select tenant_id, status, count(*) from sentinai_platform.commands group by 1, 2 order by 1, 2};
is(of('kafka', $commands), of('database', $commands), 'and the same commands');
my $letters = q{select tenant_id, aggregate_id, worker_type, %s from %s where status = 'pending' order by 1, 2, 3};
is(of('kafka', sprintf $letters, 'error', 'sentinai_platform.kafka_dead_letters'), of('database', sprintf $letters, 'reason', 'sentinai.dead_letter'), 'the same events die, for the same reasons');
my $control = q{select tenant_id, aggregate_id, event_type, payload ->> 'worker_type', payload ->> 'attempt', payload ->> 'error' from sentinai.event_log
	where event_type ~ '^(RetryScheduled|DeadLettered)$' and aggregate_id not in ('EX-25', 'EX-26') and payload ->> 'worker_type' <> 'tool' order by 1, 2, event_id};
is(of('kafka', $control), of('database', $control), 'and the same is told of it');
is(of('kafka', q{select count(*) from sentinai.event_processing where status <> 'completed'}), 0, 'nothing is left half done');

# A call that runs keeps its partition while the group is rebalanced, and its result
# while the connection is lost; so it is made once. ask(TOOL, HOW MANY): executions
sub ask
{
	my ($tool, $how_many) = @_;
	my @ids = split /\n/, of('kafka', "select gen_random_uuid() from generate_series(1, $how_many)");

	of('kafka', qq{select sentinai.publish('ToolExecutionRequested', 'acme', 'EX-' || n, jsonb_build_object('exception_id', 'EX-' || n, 'execution_id', id, 'tool', '$tool', 'arguments', '{}'::jsonb))
		from unnest('{@{[join ',', @ids]}}'::uuid[]) with ordinality u (id, n)});
	return @ids;
}

sub outcomes
{
	my (@ids) = @_;
	return of('kafka', qq{select string_agg(event_type, ' ') from sentinai.event_log where payload ->> 'execution_id' in ('@{[join "', '", @ids]}') and event_type <> 'ToolExecutionRequested'});
}

is((stop_agent('kafka tool 2'))[0], 0, 'a member leaves');
delete $agents{'kafka tool 2'};
my @held = ask('hold', 6);
# those that come later wait behind what a thread calls
wait_for('calls', sub { calls('/hold') > 0 });
of('kafka', q{select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name ~ '^sentinai-tool'});
start_platform('kafka tool 3', 'kafka', 'tool');
wait_for('a new member', sub { grep { /partitions assigned/ } lines("$dir/kafka tool 3.log") });
append_to_file("$dir/hold", '');
wait_for('the outcomes', sub { outcomes(@held) eq join ' ', ('ToolExecutionCompleted') x @held });
is(scalar calls('/hold'), scalar @held, 'each call was made once, though another member came and the connection was lost');
wait_for('its share', sub { grep { /partitions assigned.*"?held"?[=:] ?[1-9]/ } lines("$dir/kafka tool 3.log") });
$agents{'kafka tool 3'} = 'tool';

# Who is killed while he calls is another matter: the key is the same.
sub called { return map { (split / /)[4] =~ s/.*://r } calls('/lose') }
my @lost = ask('lose', 4);
wait_for('calls', sub { called() > 0 });
my @away = called();
crash($_) foreach 'kafka tool 1', 'kafka tool 3';
wait_for('the calls again', sub { my %times; $times{$_}++ foreach called(); !grep { $times{$_} < 2 } @away });
append_to_file("$dir/lose", '');
wait_for('the outcomes', sub { outcomes(@lost) eq join ' ', ('ToolExecutionCompleted') x @lost });
{
	my %times;

	$times{$_}++ foreach called();
	is(join(' ', map { "$_ $times{$_}" } sort @away), join(' ', map { "$_ 2" } sort @away), 'what was not recorded is called again, with the same key');
	is(join(' ', grep { ($times{$_} // 0) !~ /^[12]$/ } @lost), '', 'each was called, none of them more than that');
}

# Another protocol of the group, from the beginning: all is done already.
my $before = of('kafka', 'select count(*) from sentinai.event_log');
is((stop_agent($_))[0], 0, "$_ stops in order") foreach sort keys %agents;
start_platform("kafka eager $_", 'kafka', 'intake', '--kafka-conf', "$dir/eager.conf", '--group-id', 'again') foreach 1, 2;
ok(Sentinai::wait_for($unslept, sub { unreadable('eager') >= 20 }), 'another group reads all from the beginning');
is((stop_agent("kafka eager 1"))[0], 0, 'a member leaves');
submit(10);
wait_for('all of it', sub { of('kafka', q{select count(*) from sentinai_platform.exceptions}) == @tenants * $n * 9 / 10 });
is((stop_agent("kafka eager 2"))[0], 0, 'and the other one');
cmp_ok(of('kafka', 'select count(*) from sentinai.event_log'), '==', $before + @tenants * (10 + 9 + 1), 'what was done is not done again: 10 submitted, 9 of them normalized, 1 dead');
is(scalar(grep { /"amt"|much/ } map { lines($_) } glob "'$dir'/*.log"), 0, 'no payload is in a log');

$node{$_}->stop foreach keys %node;
$kafka->stop;
done_testing();
