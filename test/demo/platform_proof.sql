-- test/demo/platform_proof.sql: what a run must have given, seen from the log,
-- from the read models and from the services that were called.
-- SPDX-License-Identifier: PostgreSQL
--
-- One row each: what, figures, whether it holds.

create temp table event as
select e.event_id, e.event_type, e.tenant_id, e.aggregate_id as exception_id, e.payload
from sentinai.event_log e
where e.aggregate_type = 'exception';

-- each exception's events as letters, in order
create temp table way as
select tenant_id, exception_id, string_agg(letter, '' order by event_id) as way
from event
join (values ('ExceptionIngested', 'I'), ('ExceptionNormalized', 'N'), ('TriageRequested', 't'), ('TriageCompleted', 'T'),
             ('PolicyEvaluationRequested', 'p'), ('PolicyEvaluationCompleted', 'P'), ('ApprovalRequested', 'a'), ('ApprovalDecided', 'A'),
             ('PlaybookMatched', 'M'), ('StepExecutionRequested', 's'), ('ToolExecutionRequested', 'x'), ('ToolExecutionCompleted', 'X'),
             ('StepExecutionCompleted', 'S'), ('ToolExecutionFailed', 'y'), ('StepExecutionFailed', 'f'), ('ExceptionResolved', 'R'),
             ('ExceptionEscalated', 'E')) l (event_type, letter) using (event_type)
group by tenant_id, exception_id;

create temp table figure as
select
    (select count(*) from demo.flight) as flights,
    (select count(*) from sentinai_platform.commands where command = 'submit_exception' and status = 'completed') as commands,
    (select count(*) from sentinai_platform.exceptions) as exceptions,
    (select count(*) from event where event_type = 'ExceptionIngested') as ingested,
    -- to people at once, or after a decision; or steps, some of them skipped (S)
    (select count(*) from way where way ~ '^INtTpP(aA)?(ER|M(S|sx(XS|yf))+(R|ER))$') as in_order,
    (select count(*) from event where event_type = 'ApprovalRequested') as asked,
    (select count(*) from event where event_type = 'ApprovalDecided') as decided,
    (select count(*) from sentinai_platform.approvals where status = 'approved') as approved,
    (select count(*) from sentinai_platform.approvals where status = 'rejected') as rejected,
    (select count(*) from event where event_type = 'PlaybookMatched') as matched,
    (select count(*) from sentinai_platform.playbook_executions where state = 'completed') as completed,
    (select count(*) from sentinai_platform.playbook_executions where state = 'compensated') as compensated,
    (select count(*) from sentinai_platform.playbook_executions where state = 'failed') as failed,
    (select count(*) from sentinai_platform.tool_executions where status = 'completed') as tools_completed,
    (select count(*) from sentinai_platform.tool_executions where status = 'failed') as tools_failed,
    (select count(*) from demo.call where effect = 'done') as calls_done,
    (select count(distinct key) from demo.call where effect = 'done') as keys_done,
    (select count(distinct key) from demo.call where status = 422) as keys_refused,
    (select count(distinct key) from demo.call where status = 503) as keys_away,
    (select count(*) from (select from demo.call group by key having bool_or(status = 503) and bool_or(effect = 'done')) c) as keys_later,
    (select count(*) from sentinai_platform.tool_executions t where t.status = 'completed'
        and not exists (select from demo.call c where c.key = t.tenant_id || ':' || t.execution_id and c.effect = 'done')) as tools_unknown,
    -- a hotel that was booked for who gets no seat is cancelled
    (select count(*) from sentinai_platform.tool_executions t join sentinai_platform.playbook_executions p using (tenant_id, exception_id)
        where p.state = 'compensated' and t.tool = 'hotel') as rooms,
    (select count(*) from sentinai_platform.tool_executions where tool = 'hotel cancellation' and status = 'completed') as rooms_cancelled,
    (select count(*) from sentinai.deadlines where kind = 'resolve' and status = 'met') as deadlines,
    (select count(*) from sentinai.deadlines where kind = 'resolve' and status <> 'met') as not_met,
    (select count(*) from sentinai.deadlines where kind = 'resolve' and late) as late,
    (select count(*) from event where event_type = 'SLAExpired' and payload ->> 'kind' = 'resolve') as expired,
    (select count(*) from event where event_type in ('ExceptionResolved', 'ExceptionEscalated')) as ends,
    (select count(*) from event where event_type = 'FeedbackCaptured') as feedback,
    (select count(*) from sentinai_platform.exceptions where state = 'resolved' and outcome is not null) as resolved,
    (select count(*) from sentinai.dead_letter) + (select count(*) from sentinai_platform.kafka_dead_letters) as dead,
    (select coalesce(sum(lag_events + in_flight + retrying), 0) from sentinai.stat_queue) as waiting;

select what, figures, holds
from figure f,
    lateral (values
        (1, 'reported', format('%s flights = %s commands = %s exceptions = %s events, some reported twice', flights, commands, exceptions, ingested),
            flights > 0 and flights = all (array[commands, exceptions, ingested])),
        (2, 'in order', format('%s exceptions went their way step by step, each step once', in_order), in_order = exceptions),
        (3, 'approvals', format('%s asked for = %s approved + %s rejected, each once', asked, approved, rejected),
            asked > 0 and asked = decided and asked = approved + rejected),
        (4, 'playbooks', format('%s chosen = %s completed + %s failed + %s failed and undone; %s rooms booked in vain, %s of them cancelled',
                matched, completed, failed, compensated, rooms, rooms_cancelled),
            completed > 0 and matched = completed + failed + compensated and failed + compensated = keys_refused and rooms = rooms_cancelled),
        (5, 'tools', format('%s executions done = %s effects at the services; %s refused; %s found nobody and did it later', tools_completed, calls_done, keys_refused, keys_away),
            tools_unknown = 0 and tools_completed = calls_done and calls_done = keys_done and tools_failed = keys_refused and keys_away = keys_later),
        (6, 'deadlines', format('%s met, %s of them late = %s SLAExpired', deadlines, late, expired),
            deadlines = exceptions and not_met = 0 and late > 0 and late = expired),
        (7, 'feedback', format('%s ends = %s times feedback; %s resolved', ends, feedback, resolved),
            ends = feedback and resolved = exceptions),
        (8, 'left', format('%s dead letters, %s events that wait', dead, waiting), dead = 0 and waiting = 0)
    ) as v (place, what, figures, holds)
order by place;
