-- SPDX-License-Identifier: PostgreSQL
-- The platform's playbooks: steps, conditions, templates, attempts, timeouts
-- and what undoes them. In one transaction, from batches without a token, with
-- tools that are statements and at times that are passed in.
begin;
create extension sentinai_platform;
select plan(119);
\ir lib/platform.sql

-- play(): the playbook agent, for all there is for it; says what went wrong
create function pg_temp.play() returns text language sql as $$
    select coalesce(nullif((h.retried, h.dead)::text, '(0,0)'), '') from sentinai_platform.handle_playbook(pg_temp.batch('m', '{PlaybookMatched,ToolExecutionCompleted,ToolExecutionFailed,SLAExpired,ExceptionResolved,ExceptionEscalated}')) h $$;
create function pg_temp.policy() returns text language sql as $$
    select coalesce(nullif((h.retried, h.dead)::text, '(0,0)'), '') from sentinai_platform.handle_policy(pg_temp.batch('m', '{TriageCompleted,PlaybookRecalculationRequested,ApprovalDecided}')) h $$;
-- come(): an exception that the guardrails have a playbook for
create function pg_temp.match(id text, data jsonb default '{"amount": 1}') returns text language plpgsql as $$
begin
    perform sentinai_platform.submit_exception('m', 'bank', data, id);
    perform sentinai_platform.handle_intake(pg_temp.batch('m'));
    perform sentinai_platform.handle_triage(pg_temp.batch('m', '{ExceptionNormalized}'));
    return pg_temp.policy();
end $$;
create function pg_temp.come(id text, data jsonb default '{"amount": 1}') returns text language sql as $$
    select pg_temp.match(id, data);
    select pg_temp.play() $$;
-- asked(): the last call of a tool for an exception
create function pg_temp.asked(id text) returns jsonb language sql as $$
    select payload from sentinai.event_log where tenant_id = 'm' and aggregate_id = id and event_type = 'ToolExecutionRequested' order by event_id desc limit 1 $$;
create function pg_temp.called(id text) returns text language sql as $$
    select format('%s %s', pg_temp.asked(id) ->> 'tool', pg_temp.asked(id) -> 'arguments') $$;
create function pg_temp.say(id text, response jsonb default '{}', call jsonb default null) returns uuid language sql as $$
    select sentinai.publish('ToolExecutionCompleted', 'm', id, jsonb_build_object('exception_id', id, 'execution_id', coalesce(call, pg_temp.asked(id)) -> 'execution_id',
        'tool', coalesce(call, pg_temp.asked(id)) -> 'tool', 'duration_ms', 5, 'status', 200, 'response', response)) $$;
create function pg_temp.answer(id text, response jsonb default '{}', call jsonb default null) returns text language sql as $$
    select pg_temp.say(id, response, call);
    select pg_temp.play() $$;
create function pg_temp.fails(id text, again boolean default null, cause uuid default null) returns uuid language sql as $$
    select sentinai.publish('ToolExecutionFailed', 'm', id, jsonb_strip_nulls(jsonb_build_object('exception_id', id, 'execution_id', pg_temp.asked(id) -> 'execution_id',
        'tool', pg_temp.asked(id) -> 'tool', 'error', 'it is away', 'retryable', again)), causation_id => cause) $$;
create function pg_temp.break(id text, again boolean default null, cause uuid default null) returns text language sql as $$
    select pg_temp.fails(id, again, cause);
    select pg_temp.play() $$;
-- flow(): what playbooks and tools have said of an exception
create function pg_temp.flow(id text) returns text language sql as $$
    select string_agg(concat(replace(replace(event_type, 'Execution', ''), 'Exception', ''), payload ->> 'step', '.' || nullif(payload ->> 'attempt', '1'),
        case when payload @> '{"compensation": true}' then 'u' end, case when payload @> '{"skipped": true}' then 's' end), ' ' order by event_id)
    from sentinai.event_log where tenant_id = 'm' and aggregate_id = id and event_type ~ '^(Step|Playbook|Exception(Res|Esc))' $$;
create function pg_temp.stand(id text) returns text language sql as $$
    select string_agg(concat_ws(' ', playbook, version, state, step, reason), '; ' order by execution_id) from sentinai_platform.playbook_executions where exception_id = id $$;
create function pg_temp.steps(id text) returns text language sql as $$
    select string_agg(concat(s.step, case when s.compensation then 'u' end, ' ', s.state, ' ' || nullif(s.attempt, 1)), ', ' order by s.execution_id, s.compensation, s.step)
    from sentinai_platform.step_executions s where s.exception_id = id $$;
create function pg_temp.exception(id text) returns text language sql as $$
    select concat_ws(' ', state, playbook, outcome, closed_at is not null) from sentinai_platform.exceptions where exception_id = id $$;
-- rule(): the playbook that the guardrails have
create function pg_temp.rule(name text, number int) returns text language sql as $$
    insert into sentinai_platform.guardrails (tenant_id, rule, condition, decision, playbook, playbook_version) values ('m', 'all', '$.confidence >= 0', 'allowed', name, number)
    on conflict (tenant_id, rule) do update set playbook = excluded.playbook, playbook_version = excluded.playbook_version;
    select '' $$;
create function pg_temp.deadlines(id text) returns text language sql as $$
    select string_agg(kind || ' ' || status, ', ' order by deadline_id) from sentinai.deadlines where tenant_id = 'm' and aggregate_id = id $$;

-- put_playbook
select is(sentinai_platform.put_playbook('m', 'pay', '[
    {"name": "ask", "tool": "ask", "arguments": {"ref": "{{ /attributes/ref }}", "text": "{{/source}}: {{ /amount }} {{? /currency}}", "n": "{{ /amount }}", "none": "{{? /title }}", "list": ["{{ /exception_id }}", 1, true]}},
    {"name": "large only", "tool": "warn", "condition": "$.amount > 1000"},
    {"name": "send", "tool": "send", "arguments": {"id": "{{ /steps/1/response/id }}", "from": "{{ /steps/1/response }}"}, "condition": "$.steps.\"1\".response.ok == true"},
    {"name": "tell", "tool": "tell"}]', 'paid'), 1, 'a playbook has a first version');
select is(pg_temp.detail($$select sentinai_platform.put_playbook('m', 'bad', '[{"tool": "a", "tries": 1}, {"name": "x"}, {"tool": "b", "on_failure": "panic"}]')$$),
    'SN422 /0/tries additionalProperties, /1/tool required, /2/on_failure enum', 'what is wrong with steps is told, by fields');
select is(pg_temp.detail($$select sentinai_platform.put_playbook('m', 'bad', '[{"tool": "a", "arguments": {"x": ["{{ amount }}"]}}]')$$), 'SN422 /0/arguments pattern', 'so is a placeholder that is no pointer');
select is(pg_temp.detail($$select sentinai_platform.put_playbook('m', 'bad', '[{"tool": "a"}, {"tool": "a", "condition": "$.x ="}]')$$), 'SN422 /1/condition format', 'a condition that is none');
select is(pg_temp.detail($$select sentinai_platform.put_playbook('m', 'bad', '[{"tool": "a", "condition": "$.x == $y"}]')$$), 'SN422 /0/condition not', 'or names a variable');
select is(pg_temp.detail($$select sentinai_platform.put_playbook('m', 'bad', '[{"tool": "a", "timeout": "soon"}]')$$), 'SN422 /0/timeout format', 'and a timeout that is none');
select is(pg_temp.detail($$select sentinai_platform.put_playbook('m', 'bad', '[{"tool": "a", "timeout": "-1 s"}]')$$), 'SN422 /0/timeout maximum', 'or is over before it begins');
select throws_ok($$select sentinai_platform.put_playbook('m', 'bad', null)$$, '22004', null, 'steps there must be');
select is((select count(*) from sentinai_platform.playbooks), 1::bigint, 'of what was refused there is nothing');
select throws_ok($$insert into sentinai_platform.playbook_steps (tenant_id, playbook, version, of_steps, step, name, tool) values ('m', 'pay', 1, 4, 5, 'more', 'x')$$, '23514', null, 'a version gets no more steps');
select throws_ok($$insert into sentinai_platform.playbook_steps (tenant_id, playbook, version, of_steps, step, name, tool) values ('m', 'pay', 1, 5, 5, 'more', 'x')$$, '23503', null, 'however it is said');

-- steps in order
select is(pg_temp.rule('pay', 1) || pg_temp.come('A', '{"amount": 10, "ref": "T-1"}'), '', 'a playbook begins');
select is(pg_temp.flow('A'), 'PlaybookMatched StepRequested1', 'with its first step');
select is(pg_temp.called('A'), 'ask {"n": 10, "ref": "T-1", "list": ["A", 1, true], "none": null, "text": "bank: 10 "}', 'whose arguments are filled in');
select is((select format('%s %s', count(distinct s.tool_execution_id), bool_and(s.tool_execution_id::text = pg_temp.asked('A') ->> 'execution_id' and s.due_at = d.due_at and d.warn_at is null))
    from sentinai_platform.step_executions s join sentinai.deadlines d on d.aggregate_id = s.exception_id and d.kind = 'step' and d.status = 'open' where s.exception_id = 'A'), '1 t', 'by a time');
select is(pg_temp.play() || pg_temp.flow('A'), 'PlaybookMatched StepRequested1', 'the same event again does nothing');
create temp table first as select pg_temp.asked('A') as call;
select is(pg_temp.answer('A', '{"id": 7, "ok": true}') || pg_temp.called('A'), 'send {"id": 7, "from": {"id": 7, "ok": true}}', 'its answer is there for later steps');
select is(pg_temp.flow('A'), 'PlaybookMatched StepRequested1 StepCompleted1 StepCompleted2s StepRequested3', 'a step whose condition does not match is skipped');
select is(pg_temp.answer('A', '{"id": 8}', (select call from first)) || pg_temp.flow('A'), 'PlaybookMatched StepRequested1 StepCompleted1 StepCompleted2s StepRequested3', 'an answer once more changes nothing');
select is((select result ->> 'response' from sentinai_platform.step_executions where exception_id = 'A' and step = 1), '{"id": 7, "ok": true}', 'nor what was answered');
select is(pg_temp.answer('A') || pg_temp.answer('A'), '', 'the others are answered');
select is(pg_temp.flow('A'), 'PlaybookMatched StepRequested1 StepCompleted1 StepCompleted2s StepRequested3 StepCompleted3 StepRequested4 StepCompleted4 Resolved', 'and all of it is done');
select is(pg_temp.exception('A') || ' ' || pg_temp.stand('A'), 'resolved pay paid t pay 1 completed 4', 'with the outcome of the playbook');
select is(pg_temp.deadlines('A'), 'step met, step met, step met', 'in time');
select is((select string_agg(distinct (sentinai.event_time(e.event_id) between x.started_at and x.ended_at)::text, ',') from sentinai.event_log e join sentinai_platform.playbook_executions x on x.exception_id = e.aggregate_id where e.aggregate_id = 'A' and e.event_type ~ '^Step'), 'true', 'its times are those of the events');
select is(pg_temp.come('B', '{"amount": 5000}') || pg_temp.flow('B'), 'PlaybookMatched StepRequested1 StepFailed1 Escalated', 'what the arguments need has to be there');
select is(pg_temp.stand('B'), 'pay 1 failed 1 step 1 (ask) failed: there is nothing at /attributes/ref', 'or people are told what is not');
select is(sentinai_platform.put_playbook('m', 'shout', jsonb_build_array(jsonb_build_object('tool', 'ask', 'arguments', jsonb_build_object('x', repeat('{{ /attributes/ref }}', 2000))))), 1, 'a template may be of kilobytes');
select is(pg_temp.rule('shout', 1) || pg_temp.come('W', jsonb_build_object('amount', 1, 'ref', repeat('x', 1000))), '', 'and would become megabytes');
select is(pg_temp.stand('W') || pg_temp.rule('pay', 1), 'shout 1 failed 1 step 1 (ask) failed: the arguments are larger than 256 kB', 'which it does not');

-- attempts, timeouts and failures
select is(sentinai_platform.put_playbook('m', 'try', '[
    {"tool": "one", "max_attempts": 3, "retry_after": "10 s", "timeout": "1 minute", "on_failure": "continue"},
    {"tool": "two", "max_attempts": 2, "timeout": "1 hour", "on_failure": "escalate"}]'), 1, 'a playbook that tries again');
select is(pg_temp.rule('try', 1) || pg_temp.come('C'), '', 'and one that it is for');
create temp table tries as select pg_temp.asked('C') as call, (select event_id from sentinai.event_log where aggregate_id = 'C' and event_type = 'ToolExecutionRequested') as id;
select is(pg_temp.break('C', true, (select id from tries)) || pg_temp.flow('C'), 'PlaybookMatched StepRequested1 StepFailed1 StepRequested1.2', 'what fails is tried again');
select is(pg_temp.asked('C'), (select call from tries), 'as the same call');
select is((select deliver_at - occurred_at > '9 s' from sentinai.event_log where aggregate_id = 'C' and event_type = 'ToolExecutionRequested' order by event_id desc limit 1), true, 'after a pause');
select is(pg_temp.break('C', true, (select id from tries)) || pg_temp.flow('C'), 'PlaybookMatched StepRequested1 StepFailed1 StepRequested1.2', 'a failure of the attempt before is no failure of this one');
select lives_ok($$select sentinai.sla_scan(100000, clock_timestamp() + interval '90 s')$$, 'no answer for a minute');
select is(pg_temp.play() || pg_temp.flow('C'), 'PlaybookMatched StepRequested1 StepFailed1 StepRequested1.2 StepFailed1.2 StepRequested1.3', 'is a failure');
select is(pg_temp.break('C', false) || pg_temp.flow('C'), 'PlaybookMatched StepRequested1 StepFailed1 StepRequested1.2 StepFailed1.2 StepRequested1.3 StepFailed1.3 StepRequested2', 'after the last the next step is done, if the playbook goes on');
select is(pg_temp.answer('C', '{}', (select call from tries)) || pg_temp.steps('C'), '1 failed 3, 2 requested', 'an answer that comes late changes nothing');
select is(pg_temp.break('C', false) || pg_temp.stand('C'), 'try 1 failed 2 step 2 (two) failed: it is away', 'what cannot be retried is not');
select is(pg_temp.exception('C') || pg_temp.flow('C'), 'escalated try fPlaybookMatched StepRequested1 StepFailed1 StepRequested1.2 StepFailed1.2 StepRequested1.3 StepFailed1.3 StepRequested2 StepFailed2 Escalated', 'and people get it');

-- compensation
select is(sentinai_platform.put_playbook('m', 'undo', '[
    {"tool": "a", "compensation": {"tool": "un-a", "arguments": {"of": "{{ /steps/1/response/id }}", "key": "{{ /steps/1/tool_execution_id }}"}}},
    {"tool": "b"},
    {"tool": "c", "compensation": {"tool": "un-c"}, "max_attempts": 2},
    {"tool": "d", "compensation": {"tool": "un-d"}}]'), 1, 'a playbook that undoes');
select is(pg_temp.rule('undo', 1) || pg_temp.come('D') || pg_temp.come('E') || pg_temp.come('F'), '', 'three of its kind');
select is(pg_temp.answer('D', '{"id": 1}') || pg_temp.answer('D') || pg_temp.answer('D') || pg_temp.break('D', false), '', 'the last step fails');
select is(pg_temp.called('D') || pg_temp.stand('D'), 'un-c {}undo 1 compensating 3', 'what was done last is undone first');
select is(pg_temp.break('D') || (pg_temp.asked('D') ->> 'tool'), 'un-c', 'with as many attempts');
select is(pg_temp.answer('D') || pg_temp.called('D'), format('un-a {"of": 1, "key": "%s"}', (select tool_execution_id from sentinai_platform.step_executions where exception_id = 'D' and step = 1 and not compensation)), 'then what was done before');
select is(pg_temp.answer('D') || pg_temp.stand('D'), 'undo 1 compensated 1 step 4 (d) failed: it is away', 'and people are told why');
select is(pg_temp.flow('D'), 'PlaybookMatched StepRequested1 StepCompleted1 StepRequested2 StepCompleted2 StepRequested3 StepCompleted3 StepRequested4 StepFailed4 StepRequested3u StepFailed3u StepRequested3.2u StepCompleted3.2u StepRequested1u StepCompleted1u Escalated', 'in reverse order');
select is(pg_temp.steps('D'), '1 completed, 2 completed, 3 completed, 4 failed, 1u completed, 3u completed 2', 'each once');
select is(pg_temp.answer('E', '{"id": 2}') || pg_temp.answer('E') || pg_temp.break('E') || pg_temp.break('E') || pg_temp.break('E', false), '', 'another one fails twice, and so does what undoes it');
select is(pg_temp.stand('E'), 'undo 1 failed 1 undoing step 1 (a) failed: it is away', 'of which people are told');
select is(pg_temp.break('F', false) || pg_temp.stand('F'), 'undo 1 failed 1 step 1 (a) failed: it is away', 'where nothing was done nothing is undone');

-- people, who come between
select is(pg_temp.come('G') || pg_temp.come('H'), '', 'two more');
create temp table g as select pg_temp.asked('G') as call;
select isnt(sentinai_platform.resolve('m', 'G', 'by hand'), null, 'a person resolves one');
select is(pg_temp.answer('G') || pg_temp.stand('G') || ' ' || pg_temp.steps('G'), 'undo 1 cancelled 1 the exception was resolved 1 cancelled', 'where nothing more is done');
select is(pg_temp.deadlines('G'), 'step cancelled', 'or waited for');
select isnt(sentinai_platform.escalate('m', 'H', 'I want to see it'), null, 'another one is escalated');
select is(pg_temp.play() || pg_temp.stand('H') || pg_temp.exception('H'), 'undo 1 cancelled 1 the exception was escalatedescalated undo f', 'and left as it is');
select is(pg_temp.come('M') || (pg_temp.say('M') is not null and sentinai_platform.escalate('m', 'M', 'mine') is not null) || pg_temp.play(), 'true', 'what was answered before that, and is heard of after it');
select is(pg_temp.flow('M'), 'PlaybookMatched StepRequested1 Escalated', 'has no next step');
select is(pg_temp.match('N') || (sentinai_platform.escalate('m', 'N', 'mine') is not null) || pg_temp.play() || pg_temp.flow('N'), 'truePlaybookMatched Escalated', 'and what was chosen before it has not begun');
select is(pg_temp.stand('N'), 'undo 1 cancelled the exception was escalated', 'nor will it');
select is((pg_temp.rule(null, 1) || pg_temp.match('O') || (sentinai_platform.execute_playbook('m', 'O', 'try') is not null) || pg_temp.play()), 'true', 'what a person begins after it');
select is(pg_temp.flow('O') || ' ' || pg_temp.stand('O'), 'Escalated PlaybookMatched StepRequested1 try 1 running 1', 'begins');
select isnt(pg_temp.say('O'), null, 'an answer in time');
select lives_ok($$select sentinai.sla_scan(100000, clock_timestamp() + interval '90 s')$$, 'of which nothing was heard in time');
select is(pg_temp.play() || pg_temp.steps('O'), '1 completed, 2 requested', 'is one, and the step after it has its own time');

-- commands
create temp table x as select sentinai_platform.execute_playbook('m', 'H', 'pay', requested_by => 'mia', idempotency_key => 'k') as id;
select is(sentinai_platform.execute_playbook('m', 'H', 'pay', requested_by => 'mia', idempotency_key => 'k'), (select id from x), 'a playbook by hand, once');
select is((select format('%s %s', state, requested_by) from sentinai_platform.playbook_executions where execution_id = (select id from x)) || pg_temp.exception('H'), 'running miamatched pay f', 'runs');
select throws_ok($$select sentinai_platform.execute_playbook('m', 'H', 'try')$$, 'SN409', 'a playbook is under way for the exception', 'alone');
select is((select status from sentinai_platform.get_command_status((select id from x))), 'accepted', 'the command is accepted');
select is(pg_temp.play(), '', 'until the agent has it');
select is((select status from sentinai_platform.get_command_status((select id from x))), 'completed', 'and completed when it has begun');
select is(pg_temp.stand('H'), 'undo 1 cancelled 1 the exception was escalated; pay 1 failed 1 step 1 (ask) failed: there is nothing at /attributes/ref', 'by the newest version');
select throws_ok($$select sentinai_platform.execute_playbook('m', 'H', 'no')$$, 'SN404', 'no such playbook', 'what nobody has made cannot be executed');
select throws_ok($$select sentinai_platform.execute_playbook('m', 'H', 'pay', 9)$$, 'SN404', 'no such playbook', 'nor a version that is not there');
select throws_ok($$select sentinai_platform.execute_playbook('m', 'nobody', 'pay')$$, 'SN404', 'no such exception', 'nor for what nobody knows');
select throws_ok($$select sentinai_platform.execute_playbook('m', 'G', 'pay')$$, 'SN409', null, 'nor for what is resolved');
select is(pg_temp.detail($$select sentinai_platform.execute_playbook('m', 'H', null)$$), 'SN422 /playbook required, /version required', 'it has to have a name');
select throws_ok($$select sentinai_platform.recalculate_playbook('m', 'G')$$, 'SN409', null, 'guardrails are not asked of what is resolved');
select is((select count(*) from sentinai.event_log where event_type = 'PlaybookMatched' and aggregate_id in ('H', 'nobody', 'G')), 3::bigint, 'what was refused has no event');

-- versions
select is(pg_temp.rule('pay', 7) || pg_temp.come('I') || pg_temp.stand('I'), 'pay 7 failed there is no version 7 of playbook "pay"', 'people get what a playbook is not there for');
select is(sentinai_platform.put_playbook('*', 'own', '[{"tool": "all"}]'), 1, 'a playbook for every tenant');
select is(pg_temp.rule('own', 1) || pg_temp.come('J') || pg_temp.called('J'), 'all {}', 'is for this one, too');
select is(sentinai_platform.put_playbook('m', 'own', '[{"tool": "m one"}, {"tool": "m two"}]'), 2, 'whose own versions count on');
select is(pg_temp.answer('J') || pg_temp.stand('J'), 'own 1 completed 1', 'while what runs ends by its own');
select is(sentinai_platform.put_playbook('*', 'own', '[{"tool": "all 2"}]'), 2, 'and those for all by theirs');
select is(pg_temp.rule('own', 2) || pg_temp.come('K') || pg_temp.called('K'), 'm one {}', 'of one number the tenant''s own is meant');

-- recalculation
create temp table r as select sentinai_platform.recalculate_playbook('m', 'K', 'new rules', 'mia') as id;
select is(pg_temp.policy() || pg_temp.play(), '', 'guardrails are asked again');
select is((select string_agg(payload ->> 'reason', ', ' order by event_id) from sentinai.event_log where aggregate_id = 'K' and event_type = 'PolicyEvaluationRequested'), 'triaged, new rules', 'for a reason');
select is((select status from sentinai_platform.get_command_status((select id from r))), 'completed', 'the command is completed');
select is(pg_temp.stand('K'), 'own 2 running 1; own 2 cancelled it is under way already', 'what they want runs already');
select is(pg_temp.answer('K') || pg_temp.called('K'), 'm two {}', 'and goes on');
select is(pg_temp.rule('undo', 1) || pg_temp.come('L') || pg_temp.answer('L', '{"id": 5}'), '', 'another one has done a step');
select is(pg_temp.rule('try', 1) || sentinai_platform.recalculate_playbook('m', 'L') || pg_temp.policy() || pg_temp.play() ~ '^[0-9a-f-]{36}$', true, 'when the guardrails want another playbook');
select is(pg_temp.stand('L'), 'undo 1 compensating 2 superseded by version 1 of playbook "try"; try 1 waiting', 'which waits for the step that is under way');
select is(pg_temp.rule('pay', 1) || sentinai_platform.recalculate_playbook('m', 'L') || pg_temp.policy() || pg_temp.play() ~ '^[0-9a-f-]{36}$', true, 'and yet another');
select is(pg_temp.stand('L'), 'undo 1 compensating 2 superseded by version 1 of playbook "pay"; try 1 superseded superseded by version 1 of playbook "pay"; pay 1 waiting', 'of which only the last waits');
select is(pg_temp.rule('undo', 1) || sentinai_platform.recalculate_playbook('m', 'L') || pg_temp.policy() || pg_temp.play() ~ '^[0-9a-f-]{36}$', true, 'until they want the first again');
select is(pg_temp.break('L', false) || pg_temp.called('L'), format('un-a {"of": 5, "key": "%s"}', (select tool_execution_id from sentinai_platform.step_executions where exception_id = 'L' and step = 1 and not compensation)), 'what was done is undone');
select is(pg_temp.answer('L') || pg_temp.called('L'), 'a {}', 'then it begins');
select is(pg_temp.stand('L'), 'undo 1 superseded 1 superseded by version 1 of playbook "undo"; try 1 superseded superseded by version 1 of playbook "pay"; pay 1 superseded superseded by version 1 of playbook "undo"; undo 1 running 1', 'alone');
select is(pg_temp.answer('L') || pg_temp.answer('L') || pg_temp.answer('L') || pg_temp.answer('L') || pg_temp.exception('L'), 'resolved undo resolved t', 'and ends');

-- chosen while something has failed of which the agent has not heard yet
select is(pg_temp.rule('undo', 1) || pg_temp.come('P') || pg_temp.answer('P', '{"id": 6}') || (pg_temp.fails('P', false) is not null), 'true', 'a step fails');
select is((sentinai_platform.recalculate_playbook('m', 'P') is not null) || pg_temp.policy() || pg_temp.stand('P'), 'trueundo 1 running 2; undo 1 cancelled it is under way already', 'and the same is chosen once more, at once');
select is(pg_temp.play() || pg_temp.stand('P'), 'undo 1 compensating 1; undo 1 cancelled it is under way already', 'so what was done is undone');
select is(pg_temp.come('Q') || (sentinai_platform.resolve('m', 'Q', 'by hand') is not null) || pg_temp.stand('Q') || ' ' || pg_temp.steps('Q'), 'trueundo 1 cancelled 1 the exception was resolved 1 cancelled', 'what a person resolves ends at once, too');
select is(pg_temp.come('R') || (sentinai_platform.escalate('m', 'R', 'mine') is not null) || (sentinai_platform.execute_playbook('m', 'R', 'try') is not null) || (pg_temp.say('R', '{}', pg_temp.asked('R')) is not null) || pg_temp.play(), 'truetruetrue', 'begun anew, before the agent has heard of the end');
select is(pg_temp.stand('R') || ' ' || right(pg_temp.deadlines('R'), 9), 'undo 1 cancelled 1 the exception was escalated; try 1 running 1 step open', 'it has its own time');

-- queries
select is((select format('%s %s', (execution).state, (select string_agg(concat(s ->> 'step', case when s @> '{"compensation": true}' then 'u' end, s ->> 'tool'), ' ') from jsonb_array_elements(steps) s))
    from sentinai_platform.get_playbook_execution('m', (select execution_id from sentinai_platform.playbook_executions where exception_id = 'D'))),
    'compensated 1a 2b 3c 4d 3uun-c 1uun-a', 'an execution with its steps, in order');
select is((select count(*) from sentinai_platform.get_playbook_execution('n', (select execution_id from sentinai_platform.playbook_executions where exception_id = 'D'))), 0::bigint, 'of one''s own tenant');
select is(pg_temp.ids($$select * from sentinai_platform.list_playbook_executions('m', playbook => 'undo')$$), 'R,Q,P,P,L,L,N,M,H,G,F,E,D', 'a list, the newest first');
select is(pg_temp.ids($$select * from sentinai_platform.list_playbook_executions('m', playbook => 'undo', max_rows => 2, before => (select execution_id from sentinai_platform.playbook_executions where exception_id = 'G'))$$), 'F,E', 'page by page');
select is(pg_temp.ids($$select * from sentinai_platform.list_playbook_executions('m', state => 'completed', version => 1, exception_id => 'A', from_time => now() - interval '1 hour', to_time => clock_timestamp() + interval '1 s')$$), 'A', 'by all that can be asked for');
select throws_ok($$select sentinai_platform.list_playbook_executions('m', max_rows => 0)$$, 'SN422', null, 'of at least a row');

-- made anew from the log, the read models are the same
insert into before select pg_temp.read_models();
delete from sentinai_platform.step_executions;
delete from sentinai_platform.playbook_executions;
delete from sentinai_platform.exceptions;
select ok(pg_temp.rebuilt('m', 3) > 3, 'read models are rebuilt');
select is_empty('select pg_temp.diff()', 'executions, steps and exceptions are what the log says');

select * from finish();
rollback;
