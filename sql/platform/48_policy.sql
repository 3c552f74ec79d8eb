-- Policy: what may be done about an exception, and what people decide.

create function sentinai_platform.exception_document(x sentinai_platform.exceptions) returns jsonb
    language sql stable parallel safe
    return jsonb_strip_nulls(jsonb_build_object('exception_id', x.exception_id, 'type', x.exception_type, 'severity', x.severity,
        'category', x.category, 'confidence', x.confidence, 'source', x.source, 'title', x.title, 'amount', x.amount,
        'currency', x.currency, 'attributes', x.attributes));
comment on function sentinai_platform.exception_document(sentinai_platform.exceptions) is 'For policy and playbooks: an exception as conditions and templates see it.';

create function sentinai_platform.exception_of(tenant_id text, exception_id text) returns setof sentinai_platform.exceptions
    language sql stable parallel restricted rows 1
    begin atomic
    -- "offset" has it looked up by its key, whatever is asked of its state. The
    -- statistics know few that are open, so the planner would begin with all of these.
    select x.* from sentinai_platform.exceptions x where x.tenant_id = exception_of.tenant_id and x.exception_id = exception_of.exception_id offset 0;
    end;
comment on function sentinai_platform.exception_of(text, text) is 'For policy and playbooks: the row of an exception.';

create function sentinai_platform.evaluate(batch jsonb)
    returns table (ord bigint, event_id uuid, tenant_id text, exception_id text, trace jsonb, asked text, decision text, rule text, reason text,
                   playbook text, playbook_version int, due_at timestamptz, on_timeout text, approval_id uuid, next text)
    language plpgsql volatile parallel unsafe rows 100
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
begin
    return query
    select b.ord, b.event_id, b.tenant_id, b.exception_id, b.trace,
           case b.event_type when 'TriageCompleted' then 'triaged' else coalesce(b.payload ->> 'reason', 'recalculation') end,
           coalesce(g.decision, 'forbidden'), g.rule,
           coalesce(g.reason, g.rule, 'no guardrail matches'), g.playbook, g.playbook_version,
           clock_timestamp() + g.approve_within, g.on_timeout, gen_random_uuid(),
           case when g.decision = 'needs_approval' then 'ApprovalRequested'
                when g.decision = 'allowed' and g.playbook is not null then 'PlaybookMatched'
                else 'ExceptionEscalated' end
    from (select distinct on (r.tenant_id, r.exception_id) r.* from sentinai_platform.read_batch(batch) r
          where r.event_type in ('TriageCompleted', 'PlaybookRecalculationRequested') order by r.tenant_id, r.exception_id, r.ord desc) b
    cross join lateral sentinai_platform.exception_of(b.tenant_id, b.exception_id) x
    cross join lateral (
        -- "offset" has it made once
        select sentinai_platform.exception_document(x) || case b.event_type when 'TriageCompleted' then b.payload else '{}' end as document offset 0) d
    left join lateral (
        select r.* from sentinai_platform.guardrails r
        where r.tenant_id in (b.tenant_id, '*') and r.enabled and jsonb_path_match_tz(d.document, r.condition, '{}', true)
        order by r.priority, r.tenant_id = '*', r.rule limit 1) g on true
    -- who has resolved it needs no policy, and a question is not asked again before its answer was carried out
    where x.state not in ('resolved', 'awaiting_approval')
          and not exists (select from sentinai_platform.approvals p
                          where p.tenant_id = b.tenant_id and p.exception_id = b.exception_id and p.status = 'pending')
    order by b.ord;
end $$;
comment on function sentinai_platform.evaluate(jsonb) is 'For policy: what the guardrails say of each exception that was triaged, or that they are asked about again.';

create function sentinai_platform.apply_guardrails(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    events jsonb;
begin
    events := sentinai_platform.publish_events(array(
        select (s.type, o.tenant_id, o.exception_id, jsonb_build_object('exception_id', o.exception_id) || s.payload, o.trace, o.event_id, null)::sentinai_platform.new_event
        from sentinai_platform.evaluate(batch) o
        cross join lateral (values
            (1, 'PolicyEvaluationRequested', jsonb_build_object('reason', o.asked)),
            (2, 'PolicyEvaluationCompleted', jsonb_build_object('decision', o.decision, 'reasons', case when o.rule is null then '[]'
                else jsonb_build_array(jsonb_build_object('rule', o.rule, 'reason', o.reason)) end)),
            (3, o.next, case o.next
                when 'PlaybookMatched' then jsonb_build_object('playbook', o.playbook, 'version', o.playbook_version)
                when 'ApprovalRequested' then jsonb_strip_nulls(jsonb_build_object('approval_id', o.approval_id, 'rule', o.rule, 'reason', o.reason,
                    'playbook', o.playbook, 'version', o.playbook_version, 'due_at', o.due_at, 'on_timeout', o.on_timeout))
                else jsonb_build_object('reason', case o.decision when 'allowed' then 'no playbook' else o.reason end) end)) s (n, type, payload)
        order by o.ord, s.n));
    perform sentinai_platform.project_exceptions(events);
    perform sentinai_platform.project_playbooks(events);
    perform sentinai_platform.project_approvals(events);
    perform sentinai.set_deadline(d.tenant_id, d.exception_id, 'approval', (d.payload ->> 'due_at')::timestamptz, correlation_id => d.exception_id)
    from (select * from sentinai_platform.read_batch(events) e where e.event_type = 'ApprovalRequested' order by e.tenant_id, e.exception_id) d;
end $$;
comment on function sentinai_platform.apply_guardrails(jsonb) is 'For policy: asks the guardrails, and does what they say.';

create function sentinai_platform.apply_decisions(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    events jsonb;
begin
    events := sentinai_platform.publish_events(array(
        select (case when o.goes_on then 'PlaybookMatched' else 'ExceptionEscalated' end, o.tenant_id, o.exception_id,
            jsonb_build_object('exception_id', o.exception_id) || case when o.goes_on
                then jsonb_build_object('playbook', o.playbook, 'version', o.playbook_version)
                else jsonb_build_object('reason', case o.decision when 'approved' then 'no playbook' else o.decision end) end,
            o.trace, o.event_id, null)::sentinai_platform.new_event
        from (
            select b.*, p.status as decision, p.playbook, p.playbook_version, p.status = 'approved' and p.playbook is not null as goes_on
            from sentinai_platform.read_batch(batch) b
            join sentinai_platform.approvals p on p.approval_id = (b.payload ->> 'approval_id')::uuid
                and p.tenant_id = b.tenant_id and p.exception_id = b.exception_id and p.status = b.payload ->> 'decision'
            cross join lateral sentinai_platform.exception_of(b.tenant_id, b.exception_id) x
            where b.event_type = 'ApprovalDecided' and x.state = 'awaiting_approval') o
        order by o.ord));
    perform sentinai_platform.project_exceptions(events);
    perform sentinai_platform.project_playbooks(events);
end $$;
comment on function sentinai_platform.apply_decisions(jsonb) is 'For policy: carries out what people have decided.';

create function sentinai_platform.expire_approvals(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    events jsonb;
begin
    events := sentinai_platform.publish_events(array(
        select ('ApprovalDecided', o.tenant_id, o.exception_id,
            jsonb_build_object('exception_id', o.exception_id, 'approval_id', o.approval_id, 'decision', o.on_timeout, 'timed_out', true,
                'comment', 'nobody has decided in time'), o.trace, o.event_id, null)::sentinai_platform.new_event
        from (
            select p.*, b.event_id, b.trace from sentinai_platform.read_batch(batch) b
            join sentinai_platform.approvals p on p.tenant_id = b.tenant_id and p.exception_id = b.exception_id
                and p.status = 'pending' and p.due_at <= (b.payload ->> 'due_at')::timestamptz
            where b.event_type = 'SLAExpired' and b.payload ->> 'kind' = 'approval'
            order by p.tenant_id, p.exception_id for update of p) o));
    perform sentinai_platform.project_approvals(events);
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
    where b.event_type !~ '^SLA' or b.payload ->> 'kind' in ('approval', 'resolve') and b.event ->> 'aggregate_type' = 'exception';
    perform sentinai_platform.lock_exceptions(known);
    perform sentinai_platform.project_sla(known);
    perform sentinai_platform.apply_guardrails(known);
    perform sentinai_platform.expire_approvals(known);
    perform sentinai_platform.apply_decisions(known);
    perform sentinai_platform.complete_commands(known);
end $$;
comment on function sentinai_platform.apply_policy(jsonb) is 'For policy: a batch, all or nothing.';
