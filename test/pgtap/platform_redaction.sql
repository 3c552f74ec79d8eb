-- SPDX-License-Identifier: PostgreSQL
-- Redaction and the platform: what a rule takes from an event, of whatever type, is in no
-- table of the platform, and not in what an agent says of a failure.
begin;
create extension sentinai_platform;
select plan(21);
\ir lib/platform.sql

-- Each value that a rule is for has its own number behind this.
create function pg_temp.canaries(value jsonb) returns text language sql as $$
    select string_agg(distinct m[1], ' ') from regexp_matches(value::text, '(CANARY-[a-z]+)', 'g') m $$;
-- where(): in which tables there is a canary
create function pg_temp.where_canaries_are() returns text language plpgsql as $$
declare
    t regclass;
    found text;
    result text;
begin
    for t in select c.oid from pg_class c where c.relnamespace = 'sentinai_platform'::regnamespace and c.relkind = 'r' order by c.relname loop
        execute format('select pg_temp.canaries(jsonb_agg(to_jsonb(x))) from %s x', t) into found;
        result := concat_ws(', ', result, format('%s %s', t, found)) where found is not null;
    end loop;
    return result;
end $$;
-- work(): what an agent has not handled, with the answers of webhooks
create function pg_temp.work(agent text, answer jsonb default null) returns text language plpgsql as $$
declare
    batch jsonb;
    result text;
begin
    select jsonb_agg(to_jsonb(e) || case when answer is not null and e.event_type = 'ToolExecutionRequested' then jsonb_build_object('result', answer) else '{}' end order by e.event_id) into batch
    from sentinai.event_log e join sentinai_platform.agents() a on a.worker_type = agent and e.event_type = any (a.event_types)
    where e.tenant_id = 'r' and not exists (select from sentinai.event_processing p where p.event_id = e.event_id and p.worker_type = agent);
    perform sentinai_platform.prepare(agent, batch);
    execute format('select sentinai_platform.handle_%s($1)::text', agent) into result using batch;
    return result;
end $$;

insert into sentinai_platform.guardrails (tenant_id, rule, priority, condition, decision, playbook) values
    ('r', 'ask', 1, '$.amount >= 100', 'needs_approval', null), ('r', 'go', 2, '$.amount < 100', 'allowed', 'p');
insert into sentinai_platform.allowed_hosts (tenant_id, host) values ('r', 'bank.example');
insert into sentinai_platform.tools (tenant_id, tool, kind, settings) values ('r', 'hook', 'webhook', '{"url": "https://bank.example/x"}'),
    ('r', 'label', 'update_field', '{"fields": ["attributes.label", "title"]}');
select sentinai_platform.put_playbook('r', 'p', '[{"tool": "hook", "arguments": {"a": "{{? /attributes/iban }}"}}, {"tool": "label", "arguments": {"field": "attributes.label", "value": "{{ /steps/1/response/note }}"}}]');
-- A rule for each type of event alone: that of the one before does not help.
select count(sentinai.set_redaction('r', v.type, v.path, 'replace', replacement => '"gone"')) from (values
    ('ExceptionIngested', '$.data.pin'), ('ExceptionNormalized', '$.attributes.iban'), ('ExceptionNormalized', '$.title'), ('ManualExceptionCreated', '$.attributes.pin'),
    ('ToolExecutionCompleted', '$.response.secret'), ('ToolExecutionCompleted', '$.updated.attributes.label'), ('ToolExecutionFailed', '$.error'),
    ('StepExecutionCompleted', '$.result.response.note'), ('ApprovalDecided', '$.comment'), ('ApprovalDecided', '$.decided_by'),
    ('ExceptionResolved', '$.outcome'), ('ExceptionEscalated', '$.reason'), ('PlaybookMatched', '$.requested_by'), ('FeedbackCaptured', '$.outcome')) v (type, path);

-- what comes in
select sentinai_platform.submit_exception('r', 's', '{"pin": "CANARY-pin", "iban": "CANARY-iban", "title": "CANARY-title", "amount": 5}', 'X');
select sentinai_platform.create_manual_exception('r', '{"title": "CANARY-title", "amount": 500, "attributes": {"pin": "CANARY-pin", "iban": "CANARY-iban"}}', exception_id => 'Y');
select is(pg_temp.work('intake'), '(2,0,0)', 'two exceptions');
select is((select string_agg(concat(exception_id, title, attributes ->> 'pin', attributes ->> 'iban'), ' ' order by exception_id) from sentinai_platform.exceptions), 'Xgonegonegone Ygonegonegone',
    'have what their events have, by the rules of those that came and of those that intake has made');
select is(pg_temp.where_canaries_are(), null, 'and nothing else is anywhere');
select is(pg_temp.work('triage') || pg_temp.work('policy'), '(2,0,0)(2,0,0)', 'on to the policy');

-- what tools answer
select is(pg_temp.work('playbook') || pg_temp.work('tool', '{"status": 200, "body": "{\"secret\": \"CANARY-secret\", \"note\": \"a note\"}"}'), '(1,0,0)(1,0,0)', 'a webhook answers');
select pg_temp.work('tool'), pg_temp.work('playbook');
select is((select response from sentinai_platform.tool_executions where tool = 'hook'), '{"note": "a note", "secret": "gone"}', 'its response is as its event has it, where another rule is for the note');
select is((select result #> '{response}' from sentinai_platform.step_executions where step = 1), '{"note": "gone", "secret": "gone"}', 'so is that of the step');
select is(pg_temp.work('tool') || pg_temp.work('tool') || pg_temp.work('playbook'), '(1,0,0)(1,0,0)(1,0,0)', 'the next step labels it');
select is((select attributes ->> 'label' from sentinai_platform.exceptions where exception_id = 'X'), 'gone', 'with what the event has');
select sentinai_platform.execute_tool('r', 'X', 'label', '{"field": "title", "value": "new"}');
select sentinai_platform.execute_tool('r', 'X', 'label', '{"field": "severity", "value": "low"}') as id \gset
select is(pg_temp.work('tool'), '(2,0,0)', 'what people ask for');
select is((select error from sentinai_platform.get_command_status(:'id')), 'gone', 'fails as its event says');

-- what people say
select approval_id from sentinai_platform.approvals where exception_id = 'Y' \gset
select sentinai_platform.approve(:'approval_id', 'CANARY-who', 'CANARY-comment');
select is((select decided_by || comment from sentinai_platform.approvals where exception_id = 'Y'), 'gonegone', 'who approves has no name');
select sentinai_platform.escalate('r', 'Y', 'CANARY-reason');
select sentinai_platform.execute_playbook('r', 'Y', 'p', requested_by => 'CANARY-who');
select is((select requested_by from sentinai_platform.playbook_executions where exception_id = 'Y'), 'gone', 'nor has who begins a playbook');
select sentinai_platform.resolve('r', 'Y', 'CANARY-outcome');
select is((select outcome || r.reason from sentinai_platform.exceptions x join sentinai_platform.playbook_executions r using (exception_id) where exception_id = 'Y'), 'gonethe exception was resolved', 'nor an outcome');
select pg_temp.work('policy'), pg_temp.work('playbook'), pg_temp.work('tool'), pg_temp.work('feedback');
select is(pg_temp.where_canaries_are(), null, 'all tables are clean');
insert into before select pg_temp.read_models();
select ok(pg_temp.rebuilt('r') > 0, 'made anew from the log');
select is_empty('select pg_temp.diff()', 'they are the same');

-- what fails: the server shows rows, and quotes values
create function pg_temp.trouble() returns trigger language plpgsql as $$
begin
    if new.exception_id = 'N' then
        new.state := null;
    elsif new.exception_id = 'I' then
        new.amount := (new.attributes ->> 'number')::numeric;
    end if;
    return new;
end $$;
create trigger trouble before insert on sentinai_platform.exceptions for each row execute function pg_temp.trouble();
select sentinai_platform.submit_exception('r', 's', '{"number": "CANARY-number"}', id) from unnest('{N,I}'::text[]) id;
create function pg_temp.record(event sentinai.event_log, n bigint) returns jsonb language sql as $$
    select jsonb_build_object('event_id', event.event_id, 'event_type', event.event_type, 'tenant_id', event.tenant_id, 'aggregate_id', event.aggregate_id,
        'correlation_id', event.correlation_id, 'occurred_at', event.occurred_at, 'value', event.payload::text, 'offset', n, 'attempt', 5) $$;
select is((select format('%s %s', handled, dead) from sentinai_platform.handle_records('intake', 't', 0, (
    select jsonb_agg(pg_temp.record(e, row_number) order by row_number) from (select e, row_number() over (order by event_id) from sentinai.event_log e where aggregate_id in ('N', 'I') and event_type = 'ExceptionIngested') e))), '0 2', 'two die');
select is((select string_agg(concat_ws(' ', d.aggregate_id, d.error), ', ' order by d.aggregate_id) from sentinai_platform.kafka_dead_letters d),
    'I 22P02: invalid input syntax for type numeric: "...", N 23502: null value in column "state" of relation "exceptions" violates not-null constraint', 'with the reason');
select is((select string_agg(c.error, ', ') from sentinai_platform.commands c where c.error ~ 'CANARY') || (select string_agg(e.payload::text, ', ') from sentinai.event_log e where e.event_type = 'DeadLettered' and e.payload::text ~ 'CANARY'), null, 'and without the values');
select is((select string_agg(w.error, ', ') from unnest(array['"CANARY-x"', '»CANARY-x«', '« CANARY-x »', '„CANARY-x“', '”CANARY-x”']) quoted
        cross join sentinai_platform.what_failed('22P02', format('invalid %s', quoted), '') w where w.error <> '22P02: invalid "..."'), null,
    'whatever quotes the language of the server has');

select * from finish();
rollback;
