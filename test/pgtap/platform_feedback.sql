-- SPDX-License-Identifier: PostgreSQL
-- The platform's feedback: what became of exceptions, and the metrics of it. In
-- one transaction, from batches without a token.
begin;
create extension sentinai_platform;
select plan(23);
\ir lib/platform.sql

-- ends(): what there is for feedback of a tenant
create function pg_temp.ends(tenant text) returns jsonb language sql as $$
    select pg_temp.batch(tenant, '{ExceptionResolved,ExceptionEscalated}') $$;
-- measured(): the metrics of a tenant, without times
create function pg_temp.measured(tenant text) returns text language sql as $$
    select string_agg(concat_ws(' ', m.exception_type, m.resolved, m.escalated, m.average_steps), ', ' order by m.day, m.exception_type)
    from sentinai_platform.get_feedback_metrics(tenant) m $$;

select sentinai_platform.submit_exception('acme', 'bank', jsonb_build_object('type', 't' || n % 2, 'severity', 'high'), 'F-' || n) from generate_series(1, 6) n;
select sentinai_platform.submit_exception('globex', 'bank', '{}', 'F-1');
select is(sentinai_platform.handle_intake(pg_temp.batch('acme') || pg_temp.batch('globex'))::text, '(7,0,0)', 'seven exceptions');
select is(sentinai_platform.handle_triage(pg_temp.batch('acme', '{ExceptionNormalized}'))::text, '(6,0,0)', 'six are triaged');
update sentinai_platform.exceptions set received_at = received_at - interval '90 minutes' where exception_id = 'F-1';
select sentinai_platform.resolve('acme', 'F-' || n, 'paid') from generate_series(1, 3) n;
select sentinai_platform.escalate('acme', 'F-4', 'why'), sentinai_platform.escalate('globex', 'F-1', 'why');
select is(sentinai_platform.handle_feedback(pg_temp.ends('acme') || pg_temp.ends('globex'))::text, '(5,0,0)', 'five have come to an end, of two tenants');
select is((select string_agg(format('%s %s %s %s %s', state, outcome, exception_type, severity, steps), ', ' order by tenant_id, exception_id) from sentinai_platform.feedback),
    'resolved paid t1 high 0, resolved paid t0 high 0, resolved paid t1 high 0, escalated escalated t0 high 0, escalated escalated unclassified  0', 'what became of each');
select is((select round(seconds / 60) from sentinai_platform.feedback where tenant_id = 'acme' and exception_id = 'F-1'), 90::numeric, 'and how long it took');
select is((select string_agg(distinct format('%s %s %s', e.aggregate_id = e.correlation_id, c.event_type ~ '^Exception', e.payload -> 'seconds' = to_jsonb(f.seconds)), ',')
    from sentinai_platform.feedback f join sentinai.event_log e on e.event_id = f.event_id and e.event_type = 'FeedbackCaptured' join sentinai.event_log c on c.event_id = e.causation_id), 't t t', 'as the events say, with their cause');
select is(pg_temp.measured('acme'), 't0 1 1 0.000, t1 2 0 0.000', 'counted by type');
select is(pg_temp.measured('globex'), 'unclassified 0 1', 'and by tenant');
select is((select round(average_seconds / 60) || ' ' || round(longest_seconds / 60) from sentinai_platform.get_feedback_metrics('acme', of_type => 't1')), '45 90', 'with times');
select is((select count(*) from sentinai_platform.get_feedback_metrics('acme', from_day => (now() at time zone 'UTC')::date + 2)), 0::bigint, 'of days');
select is(sentinai_platform.handle_feedback(pg_temp.ends('acme'))::text, '(4,0,0)', 'the same batch again');
select is(pg_temp.measured('acme'), 't0 1 1 0.000, t1 2 0 0.000', 'counts nothing');

-- escalated, and then resolved, after steps
select sentinai.publish('StepExecutionCompleted', 'acme', 'F-4', jsonb_build_object('exception_id', 'F-4', 'execution_id', gen_random_uuid(), 'step', n)) from generate_series(1, 3) n;
select sentinai_platform.project_exceptions(pg_temp.batch('acme', '{StepExecutionCompleted}'));
select sentinai_platform.resolve('acme', 'F-4', 'by hand');
select is(sentinai_platform.handle_feedback(pg_temp.ends('acme'))::text, '(5,0,0)', 'what people had to deal with is dealt with');
select is((select string_agg(concat_ws(' ', state, outcome, steps), ', ') from sentinai_platform.get_feedback('acme', 'F-4')), 'escalated escalated 0, resolved by hand 3', 'both are kept');
select is(pg_temp.measured('acme'), 't0 2 1 1.500, t1 2 0 0.000', 'and count');

-- one row for each group and batch
select sentinai_platform.resolve('acme', 'F-' || n, 'paid') from generate_series(5, 6) n;
select is(sentinai_platform.handle_feedback((select jsonb_agg(e) from jsonb_array_elements(pg_temp.ends('acme')) e where e ->> 'aggregate_id' = 'F-5'))::text, '(1,0,0)', 'one more');
select is(pg_temp.measured('acme'), 't0 2 1 1.500, t1 3 0 0.000', 'is added to what was there');
update sentinai_platform.exceptions set received_at = received_at - interval '3 days' where exception_id = 'F-6';
select is(sentinai_platform.handle_feedback(pg_temp.ends('acme'))::text, '(7,0,0)', 'and another one');
select is((select round(longest_seconds / 3600) from sentinai_platform.get_feedback_metrics('acme', of_type => 't0')), 72::numeric, 'which took longest');

-- errors
select sentinai.publish('ExceptionResolved', 'x', 'X-1', '{"exception_id": "X-1", "outcome": "done"}');
select throws_ok($$select sentinai_platform.handle_feedback(pg_temp.ends('x'))$$, 'SN404', null, 'an exception that nobody has taken in');
select throws_ok($$select sentinai_platform.handle_feedback(null)$$, '22004', null, 'no batch');
select throws_ok($$select sentinai_platform.get_feedback(null, 'x')$$, '22004', null, 'a tenant there must be');
select throws_ok($$select sentinai_platform.get_feedback_metrics(null)$$, '22004', null, 'also for metrics');

select * from finish();
rollback;
