-- SPDX-License-Identifier: PostgreSQL
-- The platform's policy: guardrails, approvals and what people decide. In one
-- transaction, from batches without a token, at times that are passed in.
begin;
create extension sentinai_platform;
select plan(64);
\ir lib/platform.sql

-- policy(): policy of all there is for it
create function pg_temp.policy() returns text language sql as $$
    select sentinai_platform.handle_policy(pg_temp.batch('m', '{TriageCompleted,ApprovalDecided,SLAExpired}'))::text $$;
-- come(): an exception up to its policy
create function pg_temp.come(id text, data jsonb) returns text language plpgsql as $$
begin
    perform sentinai_platform.submit_exception('m', 'bank', data, id);
    perform sentinai_platform.handle_intake((select jsonb_agg(e) from jsonb_array_elements(pg_temp.batch('m')) e where e ->> 'aggregate_id' = id));
    perform sentinai_platform.handle_triage((select jsonb_agg(e) from jsonb_array_elements(pg_temp.batch('m', '{ExceptionNormalized}')) e where e ->> 'aggregate_id' = id));
    perform sentinai_platform.handle_policy((select jsonb_agg(e) from jsonb_array_elements(pg_temp.batch('m', '{TriageCompleted}')) e where e ->> 'aggregate_id' = id));
    return pg_temp.stand(id);
end $$;
create function pg_temp.stand(id text) returns text language sql as $$
    select concat_ws(' ', state, decision, playbook, outcome) from sentinai_platform.exceptions where exception_id = id $$;
create function pg_temp.flow(id text) returns text language sql as $$
    select string_agg(replace(event_type, 'PolicyEvaluation', 'P'), ' ' order by event_id) from sentinai.event_log
    where tenant_id = 'm' and aggregate_id = id and event_type !~ '^(Exception(Ing|Nor)|Tri)' $$;
create function pg_temp.open(id text) returns uuid language sql as $$
    select approval_id from sentinai_platform.approvals where exception_id = id and status = 'pending' $$;

select is(pg_temp.come('N', '{}'), 'escalated forbidden', 'without a guardrail people have to deal with it');
select is(pg_temp.flow('N'), 'PRequested PCompleted ExceptionEscalated', 'as the events say');
insert into sentinai_platform.guardrails (tenant_id, rule, priority, condition, decision, playbook, playbook_version, reason, on_timeout, approve_within) values
    ('*', 'never', 10, '$.type == "fraud"', 'forbidden', null, 1, 'people only', default, default),
    ('m', 'four eyes', 20, '$.amount >= 1000 && $.currency == "EUR"', 'needs_approval', 'pay', 3, 'much money', default, default),
    ('m', 'quick', 20, '$.attributes.quick == true', 'needs_approval', null, 1, null, 'rejected', '1 hour'),
    ('m', 'small', 30, '$.amount < 1000', 'allowed', 'pay', 2, null, default, default),
    ('m', 'free', 40, '$.severity == "low"', 'allowed', null, 1, null, default, default),
    ('n', 'others', 1, '$.severity == "low"', 'forbidden', null, 1, null, default, default);
select is(pg_temp.come('F', '{"type": "fraud", "amount": 1}'), 'escalated forbidden', 'what is forbidden');
select is((select payload ->> 'reason' from sentinai.event_log where aggregate_id = 'F' and event_type = 'ExceptionEscalated'), 'people only', 'and why');
select is(pg_temp.come('S', '{"amount": 10}'), 'matched allowed pay', 'what is allowed has a playbook');
select is(pg_temp.flow('S'), 'PRequested PCompleted PlaybookMatched', 'which the events name');
select is((select payload - 'exception_id' from sentinai.event_log where aggregate_id = 'S' and event_type = 'PlaybookMatched'), '{"playbook": "pay", "version": 2}', 'with its version');
select is(pg_temp.come('L', '{"severity": "low"}'), 'escalated allowed', 'or people, where there is none');

-- approved
select is(pg_temp.come('A', '{"amount": 5000, "currency": "EUR"}'), 'awaiting_approval needs_approval', 'what needs a person waits');
select is(pg_temp.flow('A'), 'PRequested PCompleted ApprovalRequested', 'and is asked for');
select is((select format('%s %s %s %s', status, rule, reason, due_at - requested_at between interval '23:59:59' and interval '24:00:01') from sentinai_platform.approvals where exception_id = 'A'), 'pending four eyes much money t', 'a day long');
select is((select d.due_at = p.due_at from sentinai.deadlines d join sentinai_platform.approvals p on p.exception_id = d.aggregate_id and d.tenant_id = 'm' and d.kind = 'approval' where p.exception_id = 'A'), true, 'with a deadline');
select is(pg_temp.policy(), '(5,0,0)', 'policy again');
select is(pg_temp.flow('A'), 'PRequested PCompleted ApprovalRequested', 'does nothing');
create temp table a as select pg_temp.open('A') as id, sentinai_platform.approve(pg_temp.open('A'), 'mia', 'fine') as execution;
select is(sentinai_platform.approve((select id from a)), (select execution from a), 'approved again it is the same');
select throws_ok($$select sentinai_platform.reject((select id from a))$$, 'SN409', null, 'and cannot be rejected');
select is((select status from sentinai_platform.get_command_status((select execution from a))), 'accepted', 'the command is accepted');
select is(pg_temp.policy(), '(6,0,0)', 'policy carries it out');
select is((select status from sentinai_platform.get_command_status((select execution from a))), 'completed', 'and it is completed');
select is(pg_temp.stand('A'), 'matched needs_approval pay', 'the playbook is chosen');
select is(pg_temp.flow('A'), 'PRequested PCompleted ApprovalRequested ApprovalDecided PlaybookMatched', 'in order');
select is((select format('%s %s %s', status, decided_by, comment) from sentinai_platform.approvals where exception_id = 'A'), 'approved mia fine', 'who decided is kept');
select is((select status from sentinai.deadlines where tenant_id = 'm' and aggregate_id = 'A' and kind = 'approval'), 'met', 'and its deadline is met');

-- rejected, and not decided
select is(pg_temp.come('R', '{"amount": 5000, "currency": "EUR"}'), 'awaiting_approval needs_approval', 'another one');
select isnt(sentinai_platform.reject(pg_temp.open('R'), 'mia'), null, 'is rejected');
select is(pg_temp.policy() || pg_temp.stand('R'), '(8,0,0)escalated needs_approval', 'and goes to people');
select is(pg_temp.come('T', '{"amount": 5000, "currency": "EUR"}') || pg_temp.come('Q', '{"quick": true}'), 'awaiting_approval needs_approvalawaiting_approval needs_approval', 'two for whom nobody has time');
select lives_ok($$select sentinai.sla_scan(100000, clock_timestamp() + interval '2 hours')$$, 'two hours later');
select is(pg_temp.policy() || pg_temp.policy() || pg_temp.stand('Q') || pg_temp.stand('T'), '(11,0,0)(12,0,0)escalated needs_approvalawaiting_approval needs_approval', 'one has had its time');
select is(pg_temp.flow('Q'), 'PRequested PCompleted ApprovalRequested SLAImminent SLAExpired ApprovalDecided ExceptionEscalated', 'which was said before');
select is((select string_agg(exception_id || status, ' ' order by exception_id) from sentinai_platform.approvals where exception_id in ('Q', 'T')), 'Qrejected Tpending', 'and is rejected, as its guardrail says');
select throws_ok($$select sentinai_platform.approve((select approval_id from sentinai_platform.approvals where exception_id = 'Q'))$$, 'SN409', null, 'who comes later is late');
select lives_ok($$select sentinai.sla_scan(100000, clock_timestamp() + interval '25 hours')$$, 'a day later');
select is(pg_temp.policy() || pg_temp.policy(), '(13,0,0)(14,0,0)', 'the other has had its time');
select is((select status from sentinai_platform.approvals where exception_id = 'T'), 'expired', 'which is over');

-- resolved and escalated
select throws_ok($$select sentinai_platform.resolve('m', 'nobody', 'x')$$, 'SN404', null, 'what nobody knows cannot be resolved');
select is(pg_temp.detail($$select sentinai_platform.resolve('m', 'S', null)$$), 'SN422 /outcome required', 'nor without an outcome');
select is(sentinai_platform.resolve('m', 'S', 'paid', idempotency_key => 'k'), sentinai_platform.resolve('m', 'S', 'paid', idempotency_key => 'k'), 'resolved once, by its key');
select is(pg_temp.stand('S') || (select closed_at is not null from sentinai_platform.exceptions where exception_id = 'S'), 'resolved allowed pay paidtrue', 'with an end');
select throws_ok($$select sentinai_platform.escalate('m', 'S', 'why')$$, 'SN409', null, 'and no way back');
-- lists
create function pg_temp.asked(query text) returns text language plpgsql as $$
declare
    result text;
begin
    execute format('select string_agg(exception_id, '' '' order by opened_by desc) from sentinai_platform.list_approvals(''m'' %s)', query) into result;
    return result;
end $$;
select is(pg_temp.asked(''), 'Q T R A', 'what was asked for, the newest first');
select is(pg_temp.asked(', max_rows => 2'), 'Q T', 'a page');
select is(pg_temp.asked(format(', max_rows => 2, before => %L', (select opened_by from sentinai_platform.approvals where exception_id = 'T'))), 'R A', 'the next');
select is(pg_temp.asked(', ''rejected'''), 'Q R', 'by what was decided');
select is(pg_temp.asked(', rule => ''four eyes'', due_before => now() + interval ''2 days'', from_time => now(), to_time => ''infinity'', exception_id => ''A'''), 'A', 'and all else');
select is(pg_temp.asked(', from_time => now() + interval ''1 hour'''), null, 'later there is nothing');
select is(pg_temp.asked(', to_time => ''-infinity'''), null, 'nor before');
select throws_ok($$select sentinai_platform.list_approvals('m', max_rows => 1001)$$, 'SN422', null, 'a page has an end');
select throws_ok($$select sentinai_platform.list_approvals(null)$$, '22004', null, 'and a tenant');
select is((select rule from sentinai_platform.get_approval('m', (select id from a))), 'four eyes', 'one by its id');
select throws_ok($$select sentinai_platform.approve(null)$$, '22004', null, 'an approval there must be');

-- nobody is asked about what is closed
create function pg_temp.asks(id text) returns text language sql as $$
    select string_agg(concat_ws(' ', p.status, p.comment, p.decided_by, p.execution_id, p.decided_at is not null, d.status), ', ' order by p.opened_by)
    from sentinai_platform.approvals p left join sentinai.deadlines d on d.tenant_id = 'm' and d.aggregate_id = id and d.kind = 'approval' where p.exception_id = id $$;
select is(pg_temp.come('C', '{"amount": 5000, "currency": "EUR"}') || pg_temp.come('D', '{"amount": 5000, "currency": "EUR"}'), 'awaiting_approval needs_approvalawaiting_approval needs_approval', 'two that wait');
create temp table open as select pg_temp.open('C') as c, pg_temp.open('D') as d;
select isnt(sentinai_platform.escalate('m', 'C', 'at once'), sentinai_platform.resolve('m', 'D', 'paid'), 'one is escalated, one resolved');
select is(pg_temp.asks('C'), 'cancelled the exception was escalated t cancelled', 'what waits for people is cancelled');
select is(pg_temp.asks('D'), 'cancelled the exception was resolved t cancelled', 'of both');
select throws_ok('select sentinai_platform.approve(c) from open', 'SN409', null, 'and cannot be approved');
select isnt(sentinai_platform.recalculate_playbook('m', 'C'), null, 'asked again');
select sentinai_platform.handle_policy(pg_temp.batch('m', '{PlaybookRecalculationRequested}'));
select is(pg_temp.stand('C'), 'awaiting_approval needs_approval', 'it waits again');
select is((select string_agg(status, ' ' order by opened_by) from sentinai_platform.approvals where exception_id = 'C'), 'cancelled pending', 'for another approval');
-- past the commands, too
select sentinai.publish('ExceptionResolved', 'm', 'C', '{"exception_id": "C", "outcome": "paid"}');
select sentinai_platform.handle_playbook(pg_temp.batch('m', '{ExceptionResolved}'));
select is((select string_agg(status, ' ' order by opened_by) from sentinai_platform.approvals where exception_id = 'C'), 'cancelled cancelled', 'somebody else has resolved it');
-- A decision that policy comes to behind a second request to ask the guardrails.
select is(pg_temp.come('E', '{"amount": 5000, "currency": "EUR"}'), 'awaiting_approval needs_approval', 'one more that waits');
select sentinai_platform.escalate('m', 'E', 'at once');
select count(sentinai_platform.recalculate_playbook('m', 'E', n)) from unnest('{one,two}'::text[]) n;
create temp table asked as select e, row_number() over (order by e ->> 'event_id') as n from jsonb_array_elements(pg_temp.batch('m', '{PlaybookRecalculationRequested}')) e where e ->> 'aggregate_id' = 'E';
select sentinai_platform.handle_policy(jsonb_build_array(e)) from asked where n = 1;
select isnt(sentinai_platform.reject(pg_temp.open('E')), null, 'is rejected');
select sentinai_platform.handle_policy((select jsonb_agg(e) from jsonb_array_elements(pg_temp.batch('m', '{PlaybookRecalculationRequested,ApprovalDecided}')) e where e ->> 'aggregate_id' = 'E'
    and e ->> 'event_id' <> (select asked.e ->> 'event_id' from asked where n = 1)));
select is(pg_temp.stand('E'), 'escalated needs_approval', 'which escalates it');
select is((select string_agg(status, ' ' order by opened_by) from sentinai_platform.approvals where exception_id = 'E'), 'cancelled rejected', 'and nobody is asked again');

select * from finish();
rollback;
