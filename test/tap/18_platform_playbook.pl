# Playbooks of the exception platform: agents are killed at each stage, with
# their connections and the server, and each step is done once, in order.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use Agents;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai ();
use Test::More;

my $n = 60;
my $node = Sentinai::new_node('platform_playbook');

use_node($node);
sql(q{create extension sentinai_platform cascade;
	select sentinai_platform.subscribe_agents();
	select sentinai.subscribe('tool', '{ToolExecutionRequested}', max_attempts => 1000, backoff => '{0}');
	select sentinai.alter_subscription('playbook', max_attempts => 1000, backoff => '{0}');
	select sentinai_platform.put_playbook('*', 'p', '[
		{"tool": "first", "arguments": {"n": "{{ /amount }}"}, "compensation": {"tool": "not first", "arguments": {"of": "{{ /steps/1/response/n }}"}}},
		{"tool": "second", "condition": "$.steps.\"1\".response.even == true", "compensation": {"tool": "not second"}},
		{"tool": "third", "arguments": {"n": "{{ /amount }}"}}]', 'done');
	select sentinai_platform.put_playbook('*', 'silent', '[{"tool": "silent", "timeout": "1 second", "max_attempts": 2, "on_failure": "escalate"}]');
	insert into sentinai_platform.guardrails (tenant_id, rule, priority, condition, decision, playbook) values
		('*', 'silent', 1, '$.amount == 0', 'allowed', 'silent'), ('*', 'all', 2, '$.amount > 0', 'allowed', 'p')});

# start_playbook(NAME)
sub start_playbook
{
	my ($name) = @_;
	local $Agents::work = "$build/sentinai-playbook";

	start_work($name, undef, '--lease', '2s', '--wait', '200ms', '-n', '13', '-c', '2', '--reconnect-max', '200ms');
	return;
}

# What tools say to all that waits for them; every third answer comes twice.
sub answer
{
	return sql(q{
		with c as materialized (select *, (payload #>> '{arguments,n}')::numeric as n, payload ->> 'tool' as tool from sentinai.claim('tool', 1000)),
		ended as materialized (select sentinai.complete(token) from (select distinct token from c) t)
		select count(case when c.tool = 'third' and c.n % 5 = 0
			then sentinai.publish('ToolExecutionFailed', c.tenant_id, c.aggregate_id, jsonb_build_object('exception_id', c.aggregate_id,
				'execution_id', c.payload -> 'execution_id', 'tool', c.tool, 'error', 'no', 'retryable', false), causation_id => c.event_id)
			else sentinai.publish('ToolExecutionCompleted', c.tenant_id, c.aggregate_id, jsonb_build_object('exception_id', c.aggregate_id,
				'execution_id', c.payload -> 'execution_id', 'tool', c.tool, 'duration_ms', 1, 'status', 200,
				'response', jsonb_build_object('n', c.n, 'even', c.n % 2 = 0)), causation_id => c.event_id) end)
			+ 0 * (select count(*) from ended)
		from c, generate_series(1, case when c.n % 3 = 0 then 2 else 1 end) where c.tool <> 'silent'});
}

# The agents before it are statements.
sub take_in
{
	return sql(q{
		select * from sentinai_platform.handle_intake((select coalesce(jsonb_agg(to_jsonb(c)), '[]') from sentinai.claim('intake', 1000) c));
		select * from sentinai_platform.handle_triage((select coalesce(jsonb_agg(to_jsonb(c)), '[]') from sentinai.claim('triage', 1000) c));
		select * from sentinai_platform.handle_policy((select coalesce(jsonb_agg(to_jsonb(c)), '[]') from sentinai.claim('policy', 1000) c))});
}

sub closed { return sql(q{select count(*) from sentinai_platform.exceptions where state in ('resolved', 'escalated')}); }

my @agents = ('playbook 1', 'playbook 2');
start_playbook($_) foreach @agents;
sql(qq{select count(sentinai_platform.submit_exception(t, 'bank', jsonb_build_object('amount', i), 'EX-' || i)) from generate_series(0, $n) i, unnest('{acme,globex}'::text[]) t});
my $all = 2 * ($n + 1);
wait_for('all to be chosen', sub { take_in(); sql(q{select count(*) from sentinai_platform.exceptions where playbook is not null}) == $all });
my $round = 0;
wait_for('the end of all', sub {
	my $answered = answer();

	return closed() == $all if $answered == 0;
	# something is under way now
	select undef, undef, undef, rand 0.1;
	$round++;
	if ($round % 4 == 3)
	{
		sql(q{select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ '^sentinai-playbook'});
	}
	elsif ($round == 5)
	{
		$node->stop('immediate');
		$node->start;
	}
	else
	{
		my $name = $agents[ $round % 2 ];
		kill 'KILL', $running{$name};
		waitpid $running{$name}, 0;
		start_playbook($name);
	}
	return 0;
});
cmp_ok($round, '>=', 5, "agents were stopped in $round rounds");
wait_for('the end of the work', sub {
	answer();
	sql(q{select count(*) from sentinai.stat_queue where worker_type in ('playbook', 'tool') and lag_events + in_flight + retrying > 0}) == 0;
});
is((stop_agent($_))[0], 0, "$_ stops in order") foreach @agents;

my $flow = q{string_agg(concat(replace(replace(e.event_type, 'Execution', ''), 'Exception', ''), e.payload ->> 'step',
	case when e.payload @> '{"compensation": true}' then 'u' end, case when e.payload @> '{"skipped": true}' then 's' end), ' ' order by e.event_id)};
is(sql(qq{
	select string_agg(concat_ws(': ', f.kind, f.flow), E'\n' order by f.kind, f.flow) from (
		select distinct concat_ws(' ', x.state, case when x.amount = 0 then 'silent' when x.amount % 2 = 0 then 'even' else 'odd' end) as kind, $flow as flow
		from sentinai_platform.exceptions x join sentinai.event_log e on (e.tenant_id, e.aggregate_id) = (x.tenant_id, x.exception_id)
		where e.event_type ~ '^(Step|ToolExecutionReq|Playbook|Exception(Res|Esc))' group by x.tenant_id, x.exception_id, x.state, x.amount) f}),
	join("\n",
		'escalated even: PlaybookMatched StepRequested1 ToolRequested StepCompleted1 StepRequested2 ToolRequested StepCompleted2 StepRequested3 ToolRequested StepFailed3 StepRequested2u ToolRequested StepCompleted2u StepRequested1u ToolRequested StepCompleted1u Escalated',
		'escalated odd: PlaybookMatched StepRequested1 ToolRequested StepCompleted1 StepCompleted2s StepRequested3 ToolRequested StepFailed3 StepRequested1u ToolRequested StepCompleted1u Escalated',
		'escalated silent: PlaybookMatched StepRequested1 ToolRequested StepFailed1 StepRequested1 ToolRequested StepFailed1 Escalated',
		'resolved even: PlaybookMatched StepRequested1 ToolRequested StepCompleted1 StepRequested2 ToolRequested StepCompleted2 StepRequested3 ToolRequested StepCompleted3 Resolved',
		'resolved odd: PlaybookMatched StepRequested1 ToolRequested StepCompleted1 StepCompleted2s StepRequested3 ToolRequested StepCompleted3 Resolved'),
	'each step was done once, in order, and undone in the order that it should');
is(sql(q{select count(*) from sentinai_platform.exceptions where state = case when amount % 5 = 0 then 'escalated' else 'resolved' end}), $all, 'those were resolved that could be');
is(sql(q{select string_agg(state || ' ' || n, ', ' order by state) from (select state, count(*) as n from sentinai_platform.playbook_executions group by 1) s}),
	join(', ', 'compensated ' . 2 * $n / 5, 'completed ' . 2 * $n * 4 / 5, 'failed 2'), 'the read model says so, too');
is(sql(q{select count(*) from sentinai_platform.step_executions s join sentinai.event_log e
	on e.event_type = 'ToolExecutionRequested' and (e.payload ->> 'execution_id')::uuid = s.tool_execution_id
	where e.payload ->> 'tool' = 'not first' and (e.payload #>> '{arguments,of}')::numeric = (select x.amount from sentinai_platform.exceptions x
		where (x.tenant_id, x.exception_id) = (s.tenant_id, s.exception_id))}), 2 * $n / 5, 'what undoes has what was answered');
is(sql(q{select count(*) from sentinai.dead_letter}), 0, 'nothing is a dead letter');
is(sql(q{select count(*) from sentinai.deadlines where kind = 'step' and status = 'open'}), 0, 'and no time is waited for');

# written anew from the log, the rows are the same
my $rows = q{select md5(string_agg(r::text, E'\n' order by r::text)) from (select to_jsonb(x) from sentinai_platform.playbook_executions x union all select to_jsonb(s) from sentinai_platform.step_executions s) t (r)};
my $before = sql($rows);
sql(q{truncate sentinai_platform.playbook_executions, sentinai_platform.step_executions;
	select sentinai_platform.project_playbooks(b) from (
		select jsonb_agg(to_jsonb(e) order by e.event_id) as b from (select e.*, ntile(7) over (order by event_id) as part from sentinai.event_log e) e
		group by e.part order by e.part) p (b)});
is(sql($rows), $before, 'the log has all of it');

done_testing();
