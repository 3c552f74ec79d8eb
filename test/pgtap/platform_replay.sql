-- SPDX-License-Identifier: PostgreSQL
-- Read models that are made anew from the log are the same whatever people,
-- deadlines and agents have done, in whatever order: at random, with agents that
-- lag behind each other, and with rebuilds in the middle. In one transaction, at
-- times that are passed in. Another seed: psql -v seed=0.7 (0 to 1).
begin;
create extension sentinai_platform;
select plan(13);
\ir lib/platform.sql
\if :{?seed}
\else
\set seed 0.17
\endif

insert into sentinai_platform.triage_rules (tenant_id, rule, condition, exception_type, severity, category) values
    ('*', 'large', '$.amount > 60', 'big', 'high', 'money'), ('*', 'small', '$.amount < 30', null, 'low', null);
insert into sentinai_platform.sla_rules (tenant_id, exception_type, resolve_within, threshold) values ('*', 'big', '1 hour', 0.5), ('*', '*', '30 minutes', null);
insert into sentinai_platform.guardrails (tenant_id, rule, priority, condition, decision, playbook, playbook_version) values
    ('*', 'ask', 1, '$.severity == "high"', 'needs_approval', 'p', 1), ('*', 'go', 2, '$.severity == "low"', 'allowed', 'q', 1), ('*', 'go, too', 3, '$.severity == "medium"', 'allowed', 'r', 1);
insert into sentinai_platform.tools (tenant_id, tool, kind, settings) values
    ('*', 'set', 'update_field', '{"fields": ["severity", "title", "category", "attributes.owner"]}'), ('*', 'bad', 'update_field', '{"fields": ["title"]}'),
    ('*', 'tell', 'notify', '{"channel": "desk"}'), ('*', 'pause', 'wait', '{"max_seconds": 100}');
select sentinai_platform.put_playbook('*', 'p', '[
    {"tool": "set", "arguments": {"field": "severity", "value": "critical"}, "compensation": {"tool": "set", "arguments": {"field": "severity", "value": "high"}}},
    {"tool": "pause", "arguments": {"seconds": 20}, "timeout": "10 s", "max_attempts": 2, "compensation": {"tool": "tell", "arguments": {}}},
    {"tool": "tell", "arguments": {}}]');
select sentinai_platform.put_playbook('*', 'q', '[
    {"tool": "tell", "arguments": {}, "compensation": {"tool": "set", "arguments": {"field": "attributes.owner", "value": "nobody"}}},
    {"tool": "pause", "arguments": {"seconds": 5}, "timeout": "1 minute"},
    {"tool": "bad", "arguments": {"field": "severity", "value": "low"}, "condition": "$.amount > 15"}]');
select sentinai_platform.put_playbook('*', 'r', '[
    {"tool": "bad", "arguments": {"field": "severity", "value": "low"}, "on_failure": "continue"},
    {"tool": "pause", "arguments": {"seconds": 5}, "timeout": "1 minute", "compensation": {"tool": "bad", "arguments": {}}},
    {"tool": "set", "arguments": {"field": "attributes.owner", "value": "{{ /title }}"}}]');

-- work(): up to n of the oldest events that an agent has not handled; how many there were
create function pg_temp.work(agent text, n int) returns int language plpgsql as $$
declare
    batch jsonb;
begin
    select jsonb_agg(to_jsonb(e) order by e.event_id) into batch from (
        select e.* from sentinai.event_log e join sentinai_platform.agents() a on a.worker_type = agent and e.event_type = any (a.event_types)
        where not exists (select from sentinai.event_processing p where p.event_id = e.event_id and p.worker_type = agent)
        order by e.event_id limit n) e;
    if batch is not null then
        execute format('select sentinai_platform.handle_%s($1)', agent) using batch;
    end if;
    return coalesce(jsonb_array_length(batch), 0);
end $$;
-- act(): one of the things that people, tools' answers and time do; what is refused is
create function pg_temp.act() returns void language plpgsql as $$
declare
    id constant text := 'X-' || (1 + random() * 20)::int;
    what constant int := (random() * 100)::int;
begin
    case when what < 22 then
        perform sentinai_platform.submit_exception('m', 'bank', jsonb_build_object('amount', (random() * 100)::int, 'title', 'number ' || what), id);
    when what < 36 then
        perform case when what < 32 then sentinai_platform.approve(a.approval_id, 'mia') else sentinai_platform.reject(a.approval_id, 'tom') end
        from (select p.approval_id from sentinai_platform.approvals p where p.status = 'pending' order by random() limit 1) a;
    when what < 50 then perform sentinai_platform.recalculate_playbook('m', id, 'again');
    when what < 56 then
        perform sentinai_platform.execute_tool('m', id, 'set', jsonb_build_object('field', (array['severity', 'title', 'category', 'attributes.owner'])[1 + what % 4], 'value', 'low'));
    when what < 60 then perform sentinai_platform.execute_playbook('m', id, (array['p', 'q', 'r'])[1 + what % 3]);
    when what < 64 then perform sentinai_platform.escalate('m', id, 'mine');
    when what < 67 then perform sentinai_platform.resolve('m', id, 'by hand');
    when what < 76 then update sentinai_platform.guardrails set playbook = (array['p', 'q', 'r'])[1 + what % 3] where priority = 1 + what % 2;
    when what < 99 then perform sentinai.sla_scan(100000, clock_timestamp() + random() * case when what < 92 then interval '25 s' else interval '70 minutes' end);
    else perform pg_temp.rebuilt('m', 10000);
    end case;
exception when sqlstate 'SN404' or sqlstate 'SN409' then
    null;
end $$;
create function pg_temp.all_rows() returns setof text language sql as $$
    select * from pg_temp.read_models() union select 'tools' || t from sentinai_platform.tool_executions t $$;
create function pg_temp.lost() returns setof text language sql as $$
    (select 'missing ' || r from before except select 'missing ' || r from pg_temp.all_rows() r)
    union all (select 'new ' || r from pg_temp.all_rows() r except select 'new ' || r from before) $$;

-- drain(): all agents, until none has anything
create function pg_temp.drain() returns void language plpgsql as $$
begin
    while (select sum(pg_temp.work(a.worker_type, 1000)) > 0 from sentinai_platform.agents() a) loop
    end loop;
end $$;
create function pg_temp.submit(ids int4range, amount int) returns void language sql as $$
    select sentinai_platform.submit_exception('m', 'bank', jsonb_build_object('amount', amount, 'title', 'number ' || n), 'Y-' || n) from generate_series(lower(ids), upper(ids) - 1) n;
    select pg_temp.drain() $$;

select setseed(:seed);
do $$
begin
    for n in 1 .. 300 loop
        perform pg_temp.act();
        -- whoever happens to, and not all of what there is
        perform pg_temp.work(a.worker_type, (random() * 8)::int) from sentinai_platform.agents() a where random() < 0.4;
    end loop;
    update sentinai_platform.guardrails set playbook = (array['p', 'q', 'r'])[priority];
    -- what nobody disturbs, and what nobody decides
    perform pg_temp.submit('[1,3)', 10), pg_temp.submit('[3,5)', 20), pg_temp.submit('[5,7)', 40), pg_temp.submit('[7,9)', 90);
    perform sentinai.sla_scan(100000, clock_timestamp() + interval '8 s'), pg_temp.drain();
    perform sentinai.sla_scan(100000, clock_timestamp() + interval '25 hours'), pg_temp.drain();
    perform pg_temp.submit('[9,10)', 90), pg_temp.submit('[10,11)', 10);
end $$;

insert into before select pg_temp.all_rows();
select cmp_ok((select count(*) from before), '>', 300::bigint, 'many rows');
select is((select string_agg(distinct state, ' ' order by state) from sentinai_platform.exceptions), 'awaiting_approval escalated matched resolved', 'of exceptions in all states');
select is((select string_agg(distinct state, ' ' order by state) from sentinai_platform.playbook_executions), 'cancelled compensated completed failed running superseded', 'of executions, too');
select is((select string_agg(distinct state, ' ' order by state) from sentinai_platform.step_executions), 'cancelled completed failed requested skipped', 'and of steps');
select is((select string_agg(distinct reason, ', ') from sentinai_platform.playbook_executions where reason ~ 'already'), 'it is under way already', 'of which some were chosen twice');
select cmp_ok((select count(*) from sentinai_platform.step_executions where compensation), '>', 5::bigint, 'and some were undone');
select is((select count(distinct status) from sentinai_platform.approvals), 5::bigint, 'approvals that were decided in time, or not, or cancelled');
select is_empty($$select x.exception_id, p.status from sentinai_platform.approvals p join sentinai_platform.exceptions x using (tenant_id, exception_id)
    where p.status = 'pending' and x.state <> 'awaiting_approval'$$, 'nobody is asked about what is over');
select is_empty($$select d.aggregate_id, d.kind, d.status from sentinai.deadlines d join sentinai_platform.exceptions x on (x.tenant_id, x.exception_id) = (d.tenant_id, d.aggregate_id)
    where d.status not in ('met', 'cancelled', 'expired') and case d.kind when 'resolve' then x.state = 'resolved' when 'step' then x.state <> 'matched'
        when 'approval' then x.state <> 'awaiting_approval' end$$, 'nor are there deadlines for it');
select ok(pg_temp.rebuilt('m') > 3, 'all of it is rebuilt');
select is_empty('select pg_temp.lost()', 'and is the same');

delete from sentinai_platform.exceptions;
delete from sentinai_platform.approvals;
delete from sentinai_platform.tool_executions;
delete from sentinai_platform.feedback;
delete from sentinai_platform.feedback_metrics;
delete from sentinai_platform.step_executions;
delete from sentinai_platform.playbook_executions;
select ok(pg_temp.rebuilt('m', 10000) > 1, 'from nothing');
select is_empty('select pg_temp.lost()', 'it is the same, too');

select * from finish();
rollback;
