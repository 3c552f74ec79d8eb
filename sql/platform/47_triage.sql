-- Triage: what an exception is, and how bad.

create function sentinai_platform.deadline_of(rule sentinai_platform.sla_rules, received_at timestamptz) returns jsonb
    language sql stable parallel restricted
    set search_path = pg_catalog, pg_temp
    as $$
    select case when rule.calendar is null
        then jsonb_strip_nulls(jsonb_build_object('due_at', received_at + rule.resolve_within, 'threshold', rule.threshold))
        else jsonb_build_object('due_at', sentinai_platform.add_working_time(rule.tenant_id, rule.calendar, received_at, rule.resolve_within))
            || case when rule.threshold = 1 then '{"threshold": 1}'
               else jsonb_build_object('warn_at', sentinai_platform.add_working_time(rule.tenant_id, rule.calendar, received_at,
                   rule.resolve_within * coalesce(rule.threshold, 0.8))) end end $$;
comment on function sentinai_platform.deadline_of(sentinai_platform.sla_rules, timestamptz) is 'For triage: until when an exception is to be resolved by a rule, as TriageCompleted has it. It counts from when the exception was received, so triage that comes late gives no time.';

create function sentinai_platform.judge(batch jsonb)
    returns table (ord bigint, event_id uuid, tenant_id text, exception_id text, trace jsonb, payload jsonb)
    language sql stable parallel restricted rows 100
    begin atomic
    select b.ord, b.event_id, b.tenant_id, b.exception_id, b.trace, t.payload || coalesce(s.deadline, '{}')
    from sentinai_platform.read_batch(batch) b
    join sentinai_platform.exceptions x on x.tenant_id = b.tenant_id and x.exception_id = b.exception_id
    left join lateral (
        select (array_agg(m.exception_type) filter (where m.exception_type is not null))[1] as exception_type,
               (array_agg(m.severity) filter (where m.severity is not null))[1] as severity,
               (array_agg(m.category) filter (where m.category is not null))[1] as category,
               (array_agg(m.confidence))[1] as confidence,
               jsonb_agg(jsonb_strip_nulls(jsonb_build_object('rule', m.rule, 'reason', m.reason))) as reasons
        from (
            select r.* from sentinai_platform.triage_rules r
            where r.tenant_id in (b.tenant_id, '*') and r.enabled
                  and jsonb_path_match_tz(b.payload, r.condition, '{}', true)
            order by r.priority, r.tenant_id = '*', r.rule) m) j on true
    cross join lateral (
        select jsonb_build_object(
            'exception_id', b.exception_id,
            'type', coalesce(j.exception_type, b.payload ->> 'type', 'unclassified'),
            'severity', coalesce(j.severity, b.payload ->> 'severity', 'medium'),
            'category', coalesce(j.category, 'general'),
            'confidence', coalesce(j.confidence, 0),
            'reasons', coalesce(j.reasons, '[]')) as payload) t
    left join lateral (
        select sentinai_platform.deadline_of(r, x.received_at) as deadline from sentinai_platform.sla_rules r
        where r.tenant_id in (b.tenant_id, '*') and r.exception_type in (t.payload ->> 'type', '*') and r.severity in (t.payload ->> 'severity', '*')
              and x.closed_at is null
        order by r.tenant_id = '*', r.exception_type = '*', r.severity = '*' limit 1) s on true
    order by b.ord;
    end;
comment on function sentinai_platform.judge(jsonb) is 'For triage: the payload of TriageCompleted for each event of a batch.';

create function sentinai_platform.set_deadlines(events jsonb) returns void
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
    select count(sentinai.set_deadline(d.tenant_id, d.exception_id, 'resolve', (d.payload ->> 'due_at')::timestamptz,
        warn_at => (d.payload ->> 'warn_at')::timestamptz, threshold => (d.payload ->> 'threshold')::float8, correlation_id => d.exception_id))
    from (select * from sentinai_platform.read_batch(events) e where e.payload ? 'due_at' order by e.tenant_id, e.exception_id, e.ord) d $$;
comment on function sentinai_platform.set_deadlines(jsonb) is 'For triage: the deadlines that TriageCompleted tells of.';

create function sentinai_platform.apply_triage(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    events jsonb;
begin
    perform sentinai_platform.lock_exceptions(batch);
    events := sentinai_platform.publish_events(array(
        select (s.type, j.tenant_id, j.exception_id, s.payload, j.trace, j.event_id, null)::sentinai_platform.new_event
        from sentinai_platform.judge(batch) j
        cross join lateral (values (1, 'TriageRequested', jsonb_build_object('exception_id', j.exception_id, 'reason', 'normalized')),
                                   (2, 'TriageCompleted', j.payload)) s (n, type, payload)
        order by j.ord, s.n));
    perform sentinai_platform.project_exceptions(events);
    perform sentinai_platform.set_deadlines(events);
end $$;
comment on function sentinai_platform.apply_triage(jsonb) is 'For triage: a batch, all or nothing.';
