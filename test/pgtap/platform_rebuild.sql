-- SPDX-License-Identifier: PostgreSQL
-- Read models that are made anew from the log end with the same rows: after
-- they were wiped, after rows were spoiled, and with nothing wrong. The steps
-- of rebuild_projections(), in one transaction.
begin;
create extension sentinai_platform;
select plan(29);
\ir lib/platform.sql

insert into sentinai_platform.triage_rules (tenant_id, rule, condition, exception_type, severity, category, confidence, reason) values
    ('*', 'large', '$.amount > 50', 'big', 'high', 'money', 0.7, 'much'), ('acme', 'small', '$.amount < 20', null, 'low', null, 0.3, null);
insert into sentinai_platform.sla_rules (tenant_id, exception_type, resolve_within, threshold) values ('*', 'big', '1 hour', 0.5), ('acme', '*', '30 minutes', null);
insert into sentinai_platform.guardrails (tenant_id, rule, priority, condition, decision, playbook, playbook_version, on_timeout) values
    ('*', 'ask', 1, '$.severity == "high"', 'needs_approval', 'p', 2, 'rejected'), ('*', 'go', 2, '$.severity == "low"', 'allowed', 'q', 1, default);
select sentinai_platform.put_playbook('*', name, '[{"name": "ask", "tool": "a", "timeout": "2 days"}, {"tool": "b", "timeout": "2 days", "condition": "$.amount > 18"}]') from unnest('{p,p,q}'::text[]) name;
create function pg_temp.all_agents() returns void language sql as $$
    select sentinai_platform.handle_intake(pg_temp.batch(t)) from unnest('{acme,globex}'::text[]) t;
    select sentinai_platform.handle_triage(pg_temp.batch(t, '{ExceptionNormalized}')) from unnest('{acme,globex}'::text[]) t;
    select sentinai_platform.handle_policy(pg_temp.batch(t, '{TriageCompleted,ApprovalDecided,SLAImminent,SLAExpired}')) from unnest('{acme,globex}'::text[]) t;
    select sentinai_platform.handle_policy(pg_temp.batch(t, '{TriageCompleted,ApprovalDecided,SLAImminent,SLAExpired}')) from unnest('{acme,globex}'::text[]) t;
    select sentinai_platform.handle_playbook(pg_temp.batch(t, '{PlaybookMatched,ToolExecutionCompleted,ToolExecutionFailed,SLAExpired,ExceptionResolved,ExceptionEscalated}')) from unnest('{acme,globex}'::text[]) t;
    select sentinai_platform.handle_feedback(pg_temp.batch(t, '{ExceptionResolved,ExceptionEscalated}')) from unnest('{acme,globex}'::text[]) t $$;
insert into sentinai_platform.tools (tenant_id, tool, kind, settings) values ('*', 'set', 'update_field', '{"fields": ["severity", "title", "attributes.owner"]}');
select sentinai_platform.submit_exception(t, 'bank', jsonb_build_object('amount', n, 'title', 'number ' || n, 'occurred_at', '2026-01-01'), 'X-' || n) from generate_series(1, 100, 3) n, unnest('{acme,globex}'::text[]) t;
select sentinai_platform.create_manual_exception('acme', '{"title": "by hand", "severity": "critical"}', 'mia', 'M-1');
select pg_temp.all_agents();
select sentinai_platform.approve(approval_id, 'mia', 'fine') from sentinai_platform.approvals where exception_id in ('X-61', 'X-64');
select sentinai_platform.reject(approval_id, 'tom') from sentinai_platform.approvals where exception_id in ('X-67');
select sentinai_platform.resolve('acme', 'X-' || n, 'done', 'well') from generate_series(4, 100, 12) n;
select sentinai_platform.escalate('acme', 'X-10', 'odd');
select pg_temp.all_agents();
select sentinai_platform.resolve('acme', 'X-10', 'in the end');
-- tools change some, of which some are reported again later; one is no tool
select sentinai.publish('ToolExecutionRequested', 'acme', 'X-' || n, jsonb_build_object('exception_id', 'X-' || n, 'execution_id', gen_random_uuid(), 'tool', tool, 'arguments', jsonb_build_object('field', tool_field, 'value', value)))
from (values (1, 'set', 'severity', 'critical'), (4, 'set', 'attributes.owner', 'mia'), (13, 'set', 'severity', 'critical'), (13, 'set', 'attributes.owner', 'mia'), (16, 'set', 'title', 'new'), (16, 'none', 'title', 'newer')) v (n, tool, tool_field, value);
select sentinai_platform.handle_tool((select jsonb_agg(e) from jsonb_array_elements(pg_temp.batch('acme', '{ToolExecutionRequested}')) e where e #>> '{payload,tool}' in ('set', 'none')));
select sentinai_platform.handle_tool((select jsonb_agg(e) from jsonb_array_elements(pg_temp.batch('acme', '{ToolExecutionCompleted,ToolExecutionFailed}')) e where e #>> '{payload,tool}' in ('set', 'none')));
-- reported again, when it has been dealt with and when it has not
select sentinai_platform.submit_exception('acme', 'bank', jsonb_build_object('amount', n), 'X-' || n) from unnest('{1,4,7,100,97}'::int[]) n;
select sentinai.sla_scan(100000, clock_timestamp() + interval '40 minutes');
select pg_temp.all_agents();
select sentinai.sla_scan(100000, clock_timestamp() + interval '61 minutes');
select sentinai.sla_scan(100000, clock_timestamp() + interval '25 hours');
select pg_temp.all_agents();
select sentinai_platform.submit_exception('acme', 'bank', '{"amount": 99}', id) from unnest('{X-61,X-200}'::text[]) id;
select pg_temp.all_agents();
select sentinai.publish('ToolExecutionCompleted', e.tenant_id, e.aggregate_id, jsonb_build_object('exception_id', e.aggregate_id, 'execution_id', e.payload -> 'execution_id',
    'tool', e.payload -> 'tool', 'duration_ms', 5, 'status', 200)) from sentinai.event_log e
where e.tenant_id = 'acme' and e.event_type = 'ToolExecutionRequested' and e.payload ->> 'tool' in ('a', 'b') and e.aggregate_id in ('X-1', 'X-13', 'X-19');
select pg_temp.all_agents();

insert into before select pg_temp.read_models();
select is((select string_agg(distinct state, ' ' order by state) from sentinai_platform.exceptions), 'awaiting_approval escalated matched resolved', 'exceptions of all states');
select is((select string_agg(distinct sla, ' ' order by sla) from sentinai_platform.exceptions), 'expired met on_track', 'of deadlines, too');
select is((select string_agg(distinct status, ' ' order by status) from sentinai_platform.approvals), 'approved cancelled pending rejected', 'approvals that were decided, or not');
select ok((select count(*) from before) > 150, 'and what became of them');
select is((select string_agg(exception_id || severity || coalesce(attributes ->> 'owner', '-') || title, ' ' order by exception_id) from sentinai_platform.exceptions where tenant_id = 'acme' and exception_id in ('X-13', 'X-16')), 'X-13criticalmianumber 13 X-16low-new', 'what tools have changed');

select ok(pg_temp.rebuilt('acme') > 5, 'nothing is wrong: a rebuild in steps');
select is_empty('select pg_temp.diff()', 'changes nothing');
select ok(pg_temp.rebuilt('acme', 10000) < 5, 'in large steps');
select is_empty('select pg_temp.diff()', 'neither');

delete from sentinai_platform.exceptions where tenant_id = 'acme';
delete from sentinai_platform.approvals where tenant_id = 'acme';
delete from sentinai_platform.tool_executions where tenant_id = 'acme';
delete from sentinai_platform.feedback where tenant_id = 'acme';
delete from sentinai_platform.feedback_metrics where tenant_id = 'acme';
delete from sentinai_platform.playbook_executions where tenant_id = 'acme';
delete from sentinai_platform.step_executions where tenant_id = 'acme';
select isnt_empty('select pg_temp.diff()', 'a tenant without rows');
select ok(pg_temp.rebuilt('acme') > 5, 'is rebuilt');
select is_empty('select pg_temp.diff()', 'with the same rows');
select is((select format('%s %s %s %s', phase, exceptions > 30, kept, finished_at is not null) from sentinai_platform.rebuilds order by changed_at desc limit 1), 'done t 0 t', 'its progress is noted');

update sentinai_platform.exceptions set state = 'matched', exception_type = 'x', severity = 'low', category = 'x', confidence = 0, reasons = '[1]', decision = 'allowed', playbook = 'x',
    steps_done = 9, due_at = 'epoch', sla = 'met', closed_at = 'epoch', outcome = 'x', changed_at = now() + interval '1 year', title = 'x', amount = 7, currency = 'XXX', occurred_at = now(),
    attributes = '{"x": 1}', received_at = 'epoch', triaged_at = 'epoch', opened_by = gen_random_uuid(), origin = 'manual', source = 'x' where tenant_id = 'acme';
update sentinai_platform.approvals set status = 'approved', rule = 'x', reason = 'x', playbook = 'x', playbook_version = 9, on_timeout = 'x', requested_at = 'epoch', due_at = 'epoch', opened_by = gen_random_uuid(),
    execution_id = gen_random_uuid(), decided_at = 'epoch', decided_by = 'x', comment = 'x' where tenant_id = 'acme';
insert into sentinai_platform.approvals (approval_id, tenant_id, exception_id, rule, on_timeout, opened_by, requested_at, due_at) select gen_random_uuid(), 'acme', 'X-61', 'x', 'expired', gen_random_uuid(), now(), now();
update sentinai_platform.feedback set outcome = 'x', seconds = 0, steps = 7, ended_at = 'epoch', exception_type = 'x' where tenant_id = 'acme';
insert into sentinai_platform.feedback select gen_random_uuid(), tenant_id, exception_id, 'resolved', 'x', 'y', null, 1, 1, '2020-01-01' from sentinai_platform.feedback where tenant_id = 'acme' limit 1;
update sentinai_platform.feedback_metrics set resolved = 77, seconds = 1, longest_seconds = 99 where tenant_id = 'acme';
update sentinai_platform.playbook_executions set state = 'waiting', playbook = 'x', version = 9, step = 9, reason = 'x', started_at = 'epoch', ended_at = 'epoch' where tenant_id = 'acme';
update sentinai_platform.step_executions set state = 'failed', result = '{}', error = 'x', attempt = 9, name = 'x' where tenant_id = 'acme';
insert into sentinai_platform.feedback_metrics values ('acme', '2020-01-01', 'y', 1, 1, 1, 1, 1);
select ok((select count(*) from pg_temp.diff()) > 100, 'every column of every row is spoiled');
select ok(pg_temp.rebuilt('acme') > 5, 'and rebuilt');
select is_empty('select pg_temp.diff()', 'with the same rows');

-- agents go on from there
select sentinai_platform.reject(approval_id, 'mia') from sentinai_platform.approvals where status = 'pending' and tenant_id = 'acme';
select sentinai_platform.resolve('acme', exception_id, 'late') from sentinai_platform.exceptions where tenant_id = 'acme' and state = 'matched';
select pg_temp.all_agents();
select is((select count(*) from sentinai_platform.exceptions where tenant_id = 'acme' and state in ('matched', 'awaiting_approval')), 0::bigint, 'the agents go on');
truncate before;
insert into before select pg_temp.read_models();
select ok(pg_temp.rebuilt('acme') > 5, 'a rebuild after that');
select is_empty('select pg_temp.diff()', 'has the same rows');

-- a log that has lost a beginning
insert into sentinai_platform.exceptions (tenant_id, exception_id, opened_by, state, origin, source, attributes, received_at, changed_at)
    values ('old', 'O-1', '01900000-0000-7000-8000-000000000001', 'resolved', 'manual', 'manual', '{}', 'epoch', 'epoch');
select sentinai.publish('ExceptionNormalized', 'old', 'O-1', '{"exception_id": "O-1", "source": "s", "origin": "ingested", "attributes": {}}', causation_id => '01900000-0000-7000-8000-000000000001');
truncate before;
insert into before select pg_temp.read_models();
select ok(pg_temp.rebuilt('old') > 1, 'of an exception the log has not all events');
select is_empty('select pg_temp.diff()', 'it is left as it is');
select is((select kept from sentinai_platform.rebuilds where tenant_id = 'old'), 1::bigint, 'which is said');

-- an event that says what cannot be: a step with the call of another one's
select sentinai_platform.create_manual_exception('odd', '{"title": "t"}', exception_id => id) from unnest('{D-1,D-2}'::text[]) id;
select sentinai_platform.handle_intake(pg_temp.batch('odd'));
select sentinai.publish('StepExecutionRequested', 'odd', id, jsonb_build_object('exception_id', id, 'execution_id', gen_random_uuid(), 'playbook', 'p', 'version', 1, 'step', 1, 'attempt', 1,
    'tool_execution_id', '01900000-0000-7000-8000-000000000002'::uuid)) from unnest('{D-1,D-2}'::text[]) id;
select ok(pg_temp.rebuilt('odd') > 1, 'of two exceptions that cannot be both');
select is((select exceptions + kept || ' ' || kept from sentinai_platform.rebuilds where tenant_id = 'odd'), '2 1', 'one is left as it is');

-- errors
select throws_ok($$call sentinai_platform.rebuild_projections(null)$$, '22004', null, 'a tenant there must be');
select throws_ok($$select sentinai_platform.rebuild_step(gen_random_uuid())$$, 'SN404', null, 'a rebuild that is none');
select throws_ok($$select sentinai_platform.rebuild_step(null)$$, '22004', null, 'or nothing');
select throws_ok($$select sentinai_platform.rebuild_step(gen_random_uuid(), 0)$$, 'SN422', null, 'no exceptions at all');
select throws_ok($$call sentinai_platform.rebuild_projections('acme')$$, '2D000', null, 'a rebuild is no part of a transaction');

select * from finish();
rollback;
