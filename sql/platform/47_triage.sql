-- Triage: what an exception is, and how bad.

create function sentinai_platform.lock_exceptions(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    known int;
begin
    -- in a fixed order, so that agents do not wait for each other in a circle
    select count(*) into known from (
        select from sentinai_platform.exceptions x
        where (x.tenant_id, x.exception_id) in (select b.tenant_id, b.exception_id from sentinai_platform.read_batch(batch) b)
        order by x.tenant_id, x.exception_id for update) locked;
    if known <> (select count(distinct (b.tenant_id, b.exception_id)) from sentinai_platform.read_batch(batch) b) then
        raise exception using errcode = 'SN404', message = 'no such exception', detail = 'Intake has not made it.';
    end if;
end $$;
comment on function sentinai_platform.lock_exceptions(jsonb) is 'For triage and policy: locks the exceptions of a batch, which have to be there.';

create function sentinai_platform.judge(batch jsonb)
    returns table (ord bigint, event_id uuid, tenant_id text, exception_id text, trace jsonb, payload jsonb)
    language sql stable parallel restricted rows 100
    set search_path = pg_catalog, pg_temp
    as $$
    select b.ord, b.event_id, b.tenant_id, b.exception_id, b.trace, jsonb_build_object(
        'exception_id', b.exception_id,
        'type', coalesce(j.exception_type, b.payload ->> 'type', 'unclassified'),
        'severity', coalesce(j.severity, b.payload ->> 'severity', 'medium'),
        'category', coalesce(j.category, 'general'),
        'confidence', coalesce(j.confidence, 0),
        'reasons', coalesce(j.reasons, '[]'))
    from sentinai_platform.read_batch(batch) b
    left join lateral (
        select (array_agg(m.exception_type) filter (where m.exception_type is not null))[1] as exception_type,
               (array_agg(m.severity) filter (where m.severity is not null))[1] as severity,
               (array_agg(m.category) filter (where m.category is not null))[1] as category,
               (array_agg(m.confidence))[1] as confidence,
               jsonb_agg(jsonb_strip_nulls(jsonb_build_object('rule', m.rule, 'reason', m.reason))) as reasons
        from (
            select r.* from sentinai_platform.triage_rules r
            where r.tenant_id in (b.tenant_id, '*') and r.enabled
                  and jsonb_path_match(b.payload, r.condition, '{}', true)
            order by r.priority, r.tenant_id = '*', r.rule) m) j on true
    order by b.ord $$;
comment on function sentinai_platform.judge(jsonb) is 'For triage: the payload of TriageCompleted for each event of a batch.';

create function sentinai_platform.set_deadlines(batch jsonb) returns void
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
    with due as (
        update sentinai_platform.exceptions x
        set due_at = x.received_at + s.resolve_within
        from sentinai_platform.read_batch(batch) b
        cross join lateral (
            select r.resolve_within, r.threshold from sentinai_platform.sla_rules r join sentinai_platform.exceptions y
                on y.tenant_id = b.tenant_id and y.exception_id = b.exception_id
            where r.tenant_id in (b.tenant_id, '*') and r.exception_type in (y.exception_type, '*') and r.severity in (y.severity, '*')
            order by r.tenant_id = '*', r.exception_type = '*', r.severity = '*' limit 1) s
        where x.tenant_id = b.tenant_id and x.exception_id = b.exception_id and x.closed_at is null
        returning x.tenant_id, x.exception_id, x.due_at, s.threshold)
    select count(sentinai.set_deadline(d.tenant_id, d.exception_id, 'resolve', d.due_at, correlation_id => d.exception_id,
        threshold => d.threshold))
    from (select * from due order by tenant_id, exception_id) d $$;
comment on function sentinai_platform.set_deadlines(jsonb) is 'For triage: deadlines by the SLA rules. They count from when the exception was received, so triage that comes late gives no time.';

create function sentinai_platform.apply_triage(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform sentinai_platform.lock_exceptions(batch);
    with j as materialized (
        select * from sentinai_platform.judge(batch)),
    published as (
        select count(sentinai.publish('TriageRequested', o.tenant_id, o.exception_id,
                   jsonb_build_object('exception_id', o.exception_id, 'reason', 'normalized'), 'exception', o.trace,
                   correlation_id => o.exception_id, causation_id => o.event_id))
             + count(sentinai.publish('TriageCompleted', o.tenant_id, o.exception_id, o.payload, 'exception', o.trace,
                   correlation_id => o.exception_id, causation_id => o.event_id)) as count
        from (select * from j order by j.ord) o)
    update sentinai_platform.exceptions x
    set state = case x.state when 'normalized' then 'triaged' else x.state end,
        exception_type = l.payload ->> 'type', severity = l.payload ->> 'severity', category = l.payload ->> 'category',
        confidence = (l.payload ->> 'confidence')::float8, reasons = l.payload -> 'reasons',
        triaged_at = clock_timestamp(), changed_at = clock_timestamp()
    from (select distinct on (j.tenant_id, j.exception_id) j.* from j
          where (select p.count from published p) >= 0
          order by j.tenant_id, j.exception_id, j.ord desc) l
    where x.tenant_id = l.tenant_id and x.exception_id = l.exception_id;
    if exists (select from sentinai_platform.sla_rules) then
        perform sentinai_platform.set_deadlines(batch);
    end if;
end $$;
comment on function sentinai_platform.apply_triage(jsonb) is 'For triage: a batch, all or nothing.';
