-- Policy: what may be done about an exception, and what people decide.

create function sentinai_platform.evaluate(batch jsonb)
    returns table (ord bigint, event_id uuid, tenant_id text, exception_id text, trace jsonb, decision text, rule text, reason text,
                   playbook text, playbook_version int, due_at timestamptz, on_timeout text, approval_id uuid, next text)
    language sql volatile parallel unsafe rows 100
    set search_path = pg_catalog, pg_temp
    as $$
    select b.ord, b.event_id, b.tenant_id, b.exception_id, b.trace, coalesce(g.decision, 'forbidden'), g.rule,
           coalesce(g.reason, g.rule, 'no guardrail matches'), g.playbook, g.playbook_version,
           clock_timestamp() + g.approve_within, g.on_timeout, gen_random_uuid(),
           case when g.decision = 'needs_approval' then 'ApprovalRequested'
                when g.decision = 'allowed' and g.playbook is not null then 'PlaybookMatched'
                else 'ExceptionEscalated' end
    from (select distinct on (r.tenant_id, r.exception_id) r.* from sentinai_platform.read_batch(batch) r
          where r.event_type = 'TriageCompleted' order by r.tenant_id, r.exception_id, r.ord desc) b
    join sentinai_platform.exceptions x on x.tenant_id = b.tenant_id and x.exception_id = b.exception_id
    left join lateral (
        select r.* from sentinai_platform.guardrails r
        where r.tenant_id in (b.tenant_id, '*') and r.enabled
              and jsonb_path_match(b.payload || jsonb_strip_nulls(jsonb_build_object('source', x.source, 'title', x.title,
                  'amount', x.amount, 'currency', x.currency, 'attributes', x.attributes)), r.condition, '{}', true)
        order by r.priority, r.tenant_id = '*', r.rule limit 1) g on true
    -- who has resolved it needs no policy, and a question that is open is not asked twice
    where x.state <> 'resolved'
          and not exists (select from sentinai_platform.approvals p
                          where p.tenant_id = b.tenant_id and p.exception_id = b.exception_id and p.status = 'pending')
    order by b.ord $$;
comment on function sentinai_platform.evaluate(jsonb) is 'For policy: what the guardrails say of each exception that a batch has triaged.';

create function sentinai_platform.apply_guardrails(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    with v as materialized (
        select o.*, jsonb_build_object('exception_id', o.exception_id) as id,
               jsonb_build_array(jsonb_build_object('rule', o.rule, 'reason', o.reason)) as reasons
        from sentinai_platform.evaluate(batch) o),
    published as (
        select count(sentinai.publish('PolicyEvaluationRequested', o.tenant_id, o.exception_id,
                   o.id || '{"reason": "triaged"}', 'exception', o.trace, correlation_id => o.exception_id, causation_id => o.event_id))
             + count(sentinai.publish('PolicyEvaluationCompleted', o.tenant_id, o.exception_id,
                   o.id || jsonb_build_object('decision', o.decision, 'reasons', case when o.rule is null then '[]' else o.reasons end),
                   'exception', o.trace, correlation_id => o.exception_id, causation_id => o.event_id))
             + count(sentinai.publish(o.next, o.tenant_id, o.exception_id, o.id || case o.next
                   when 'PlaybookMatched' then jsonb_build_object('playbook', o.playbook, 'version', o.playbook_version)
                   when 'ApprovalRequested' then jsonb_build_object('approval_id', o.approval_id, 'reason', o.reason, 'due_at', o.due_at)
                   else jsonb_build_object('reason', case o.decision when 'allowed' then 'no playbook' else o.reason end) end,
                   'exception', o.trace, correlation_id => o.exception_id, causation_id => o.event_id)) as count
        from (select * from v order by v.ord) o),
    asked as (
        insert into sentinai_platform.approvals (approval_id, tenant_id, exception_id, rule, reason, playbook, playbook_version, on_timeout, requested_at, due_at)
        select v.approval_id, v.tenant_id, v.exception_id, v.rule, v.reason, v.playbook, v.playbook_version, v.on_timeout, clock_timestamp(), v.due_at
        from v where v.next = 'ApprovalRequested' and (select p.count from published p) >= 0
        returning sentinai.set_deadline(tenant_id, exception_id, 'approval', due_at, correlation_id => exception_id))
    update sentinai_platform.exceptions x
    set decision = v.decision, changed_at = clock_timestamp(),
        playbook = case v.next when 'PlaybookMatched' then v.playbook end,
        state = case v.next when 'PlaybookMatched' then 'matched' when 'ApprovalRequested' then 'awaiting_approval' else 'escalated' end
    from v where x.tenant_id = v.tenant_id and x.exception_id = v.exception_id
          and (select count(*) from asked) >= 0 and (select p.count from published p) >= 0;
end $$;
comment on function sentinai_platform.apply_guardrails(jsonb) is 'For policy: asks the guardrails, and does what they say.';

create function sentinai_platform.apply_decisions(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    with d as materialized (
        select b.*, b.payload ->> 'decision' as decision, p.playbook, p.playbook_version,
               b.payload ->> 'decision' = 'approved' and p.playbook is not null as goes_on
        from sentinai_platform.read_batch(batch) b
        join sentinai_platform.approvals p on p.approval_id = (b.payload ->> 'approval_id')::uuid
            and p.tenant_id = b.tenant_id and p.exception_id = b.exception_id and p.status = b.payload ->> 'decision'
        join sentinai_platform.exceptions x on x.tenant_id = b.tenant_id and x.exception_id = b.exception_id
        where b.event_type = 'ApprovalDecided' and x.state = 'awaiting_approval'),
    published as (
        select count(sentinai.publish(case when o.goes_on then 'PlaybookMatched' else 'ExceptionEscalated' end, o.tenant_id, o.exception_id,
            jsonb_build_object('exception_id', o.exception_id) || case when o.goes_on
                then jsonb_build_object('playbook', o.playbook, 'version', o.playbook_version)
                else jsonb_build_object('reason', case o.decision when 'approved' then 'no playbook' else o.decision end) end,
            'exception', o.trace, correlation_id => o.exception_id, causation_id => o.event_id))
        from (select * from d order by d.ord) o)
    update sentinai_platform.exceptions x
    set state = case when d.goes_on then 'matched' else 'escalated' end, changed_at = clock_timestamp(),
        playbook = case when d.goes_on then d.playbook end
    from d where x.tenant_id = d.tenant_id and x.exception_id = d.exception_id and (select p.count from published p) >= 0;
end $$;
comment on function sentinai_platform.apply_decisions(jsonb) is 'For policy: carries out what people have decided.';

create function sentinai_platform.expire_approvals(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    published int;
begin
    with expired as (
        update sentinai_platform.approvals p
        set status = p.on_timeout, decided_at = clock_timestamp(), comment = 'nobody has decided in time'
        from sentinai_platform.read_batch(batch) b
        where b.event_type = 'SLAExpired' and b.payload ->> 'kind' = 'approval' and p.status = 'pending'
              and p.tenant_id = b.tenant_id and p.exception_id = b.exception_id and p.due_at <= (b.payload ->> 'due_at')::timestamptz
        returning p.*, b.event_id, b.trace)
    select count(sentinai.publish('ApprovalDecided', o.tenant_id, o.exception_id,
        jsonb_build_object('exception_id', o.exception_id, 'approval_id', o.approval_id, 'decision', o.status, 'comment', o.comment),
        'exception', o.trace, correlation_id => o.exception_id, causation_id => o.event_id)) into published
    from (select * from expired order by tenant_id, exception_id) o;
end $$;
comment on function sentinai_platform.expire_approvals(jsonb) is 'For policy: decides what nobody has decided in time.';

create function sentinai_platform.apply_policy(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    known jsonb;
begin
    -- deadlines of other aggregates are not ours
    select coalesce(jsonb_agg(b.event order by b.ord), '[]') into known from sentinai_platform.read_batch(batch) b
    where b.event_type <> 'SLAExpired' or b.payload ->> 'kind' = 'approval' and b.event ->> 'aggregate_type' = 'exception';
    perform sentinai_platform.lock_exceptions(known);
    perform sentinai_platform.apply_guardrails(known);
    perform sentinai_platform.expire_approvals(known);
    perform sentinai_platform.apply_decisions(known);
    update sentinai_platform.commands c set status = 'completed', error = null, finished_at = clock_timestamp()
    where c.execution_id in (select b.event_id from sentinai_platform.read_batch(known) b);
end $$;
comment on function sentinai_platform.apply_policy(jsonb) is 'For policy: a batch, all or nothing.';
