-- Projections: what becomes of the read models is written here and nowhere
-- else, from what events say. Handlers and commands call them with what they
-- have published, rebuild_projections() with what is in the log.

create function sentinai_platform.read_batch(batch jsonb)
    returns table (ord bigint, event jsonb, event_id uuid, event_type text, tenant_id text, exception_id text, payload jsonb, trace jsonb)
    language sql immutable parallel safe rows 100
    begin atomic
    select e.ord, e.event, (e.event ->> 'event_id')::uuid, e.event ->> 'event_type', e.event ->> 'tenant_id',
           e.event ->> 'aggregate_id', e.event -> 'payload',
           -- the W3C trace goes on in what the handler publishes
           jsonb_strip_nulls(jsonb_build_object('traceparent', e.event #> '{metadata,traceparent}',
               'tracestate', e.event #> '{metadata,tracestate}'))
    from jsonb_array_elements(batch) with ordinality e (event, ord);
    end;
comment on function sentinai_platform.read_batch(jsonb) is 'For the handlers: the events of a batch as rows, in their order.';

-- What is not in the log must not be in a read model: so it has what is stored.
create function sentinai_platform.event_row(event_id uuid, event_type text, tenant_id text, exception_id text, payload jsonb, causation_id uuid) returns jsonb
    language sql stable parallel unsafe
    return jsonb_build_object('event_id', event_id, 'event_type', event_type, 'tenant_id', tenant_id, 'aggregate_id', exception_id,
        'payload', sentinai.redacted_payload(tenant_id, event_type, payload), 'causation_id', causation_id);
comment on function sentinai_platform.event_row(uuid, text, text, text, jsonb, uuid) is 'For the projections: an event that was published, as it is stored and as a batch has it.';

create type sentinai_platform.new_event as (event_type text, tenant_id text, exception_id text, payload jsonb, trace jsonb, causation_id uuid, deliver_at timestamptz);
comment on type sentinai_platform.new_event is 'For publish_events(): an event of an exception.';
comment on column sentinai_platform.new_event.event_type is 'Its type.';
comment on column sentinai_platform.new_event.tenant_id is 'Its tenant.';
comment on column sentinai_platform.new_event.exception_id is 'Its exception, which names its flow.';
comment on column sentinai_platform.new_event.payload is 'Its payload.';
comment on column sentinai_platform.new_event.trace is 'The trace that it goes on with, as metadata.';
comment on column sentinai_platform.new_event.causation_id is 'The event that it comes from.';
comment on column sentinai_platform.new_event.deliver_at is 'When it is delivered; null: at once.';

create function sentinai_platform.publish_events(events sentinai_platform.new_event[]) returns jsonb
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    most constant int := current_setting('sentinai.max_batch');
    part jsonb;
    published jsonb;
begin
    for n in 1 .. cardinality(events) by most loop
        with given as (
            select array_agg(e.event_type) as types, array_agg(e.tenant_id) as tenants, array_agg(e.exception_id) as exceptions,
                   array_agg(e.payload) as payloads, array_agg(e.trace) as traces, array_agg(e.causation_id) as causes, array_agg(e.deliver_at) as times
            from unnest(events[n:n + most - 1]) e)
        select jsonb_agg(sentinai_platform.event_row(p.event_id, p.event_type, p.tenant_id, p.exception_id, p.payload, p.causation_id)) into part
        from given g,
             unnest(sentinai.publish_events(g.types, g.tenants, g.exceptions, g.payloads, 'exception', g.traces, g.exceptions, g.causes, g.times),
                    g.types, g.tenants, g.exceptions, g.payloads, g.causes) p (event_id, event_type, tenant_id, exception_id, payload, causation_id);
        published := case when published is null then part else published || part end;
    end loop;
    return published;
end $$;
comment on function sentinai_platform.publish_events(sentinai_platform.new_event[]) is 'For the handlers: publishes events of exceptions, those of one in their order, and returns them for the projections; null: there are none.';

create function sentinai_platform.lock_known(batch jsonb) returns bigint
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    -- in a fixed order, so that agents do not wait for each other in a circle
    return (select count(*) from (
        select from sentinai_platform.exceptions x
        where (x.tenant_id, x.exception_id) in (select b.tenant_id, b.exception_id from sentinai_platform.read_batch(batch) b)
        order by x.tenant_id, x.exception_id for update) locked);
end $$;
comment on function sentinai_platform.lock_known(jsonb) is 'For the handlers: locks those exceptions of a batch that are there, and returns how many. Events that change an exception are published under its lock, so their order is that of the changes.';

create function sentinai_platform.lock_exceptions(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if sentinai_platform.lock_known(batch) <> (
        select count(*) from (select from sentinai_platform.read_batch(batch) b group by b.tenant_id, b.exception_id) known) then
        raise exception using errcode = 'SN404', message = 'no such exception', detail = 'Intake has not made it.';
    end if;
end $$;
comment on function sentinai_platform.lock_exceptions(jsonb) is 'For the handlers: locks the exceptions of a batch, which have to be there.';

create function sentinai_platform.complete_commands(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    update sentinai_platform.commands c set status = 'completed', error = null, finished_at = clock_timestamp()
    where (c.execution_id, c.tenant_id) in (select b.event_id, b.tenant_id from sentinai_platform.read_batch(batch) b);
end $$;
comment on function sentinai_platform.complete_commands(jsonb) is 'For the handlers: the commands that have published the events of a batch are done.';

create function sentinai_platform.types_of(events jsonb) returns text[]
    language sql immutable parallel safe
    begin atomic
    select array(select distinct e ->> 'event_type' from jsonb_array_elements(events) e);
    end;
comment on function sentinai_platform.types_of(jsonb) is 'For the projections: the types that events have.';

create function sentinai_platform.project_normalized(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    insert into sentinai_platform.exceptions as x (tenant_id, exception_id, opened_by, state, origin, source,
        exception_type, severity, title, amount, currency, occurred_at, attributes, received_at, changed_at)
    -- the last word of an exception counts, and a fixed order keeps agents from waiting for each other
    select distinct on (e.tenant_id, e.exception_id) e.tenant_id, e.exception_id, e.opened_by,
           'normalized', e.payload ->> 'origin', e.payload ->> 'source', e.payload ->> 'type', e.payload ->> 'severity',
           e.payload ->> 'title', (e.payload ->> 'amount')::numeric, e.payload ->> 'currency',
           (e.payload ->> 'occurred_at')::timestamptz, e.payload -> 'attributes', sentinai.event_time(e.opened_by), sentinai.event_time(e.event_id)
    from (select b.*, first_value((b.event ->> 'causation_id')::uuid) over (partition by b.tenant_id, b.exception_id order by b.event_id) as opened_by
          from sentinai_platform.read_batch(events) b where b.event_type = 'ExceptionNormalized') e
    order by e.tenant_id, e.exception_id, e.event_id desc
    on conflict (tenant_id, exception_id) do update
    set origin = excluded.origin, source = excluded.source, exception_type = excluded.exception_type, severity = excluded.severity,
        title = excluded.title, amount = excluded.amount, currency = excluded.currency, occurred_at = excluded.occurred_at,
        attributes = excluded.attributes, changed_at = greatest(x.changed_at, excluded.changed_at);
end $$;
comment on function sentinai_platform.project_normalized(jsonb) is 'For project_exceptions(): what ExceptionNormalized says.';

create function sentinai_platform.project_progress(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    with e as (
        select b.*, sentinai.event_time(b.event_id) as at from sentinai_platform.read_batch(events) b),
    last as (
        select e.tenant_id, e.exception_id,
               max(e.at) filter (where e.event_type in ('TriageCompleted', 'PolicyEvaluationCompleted', 'PlaybookMatched', 'ApprovalRequested')) as changed_at,
               max(e.at) filter (where e.event_type = 'TriageCompleted') as triaged_at,
               (array_agg(e.payload order by e.event_id desc) filter (where e.event_type = 'TriageCompleted'))[1] as triage,
               -- what is triaged after its end has no deadline any more
               array_agg((e.payload ->> 'due_at')::timestamptz order by e.event_id desc) filter (where e.event_type = 'TriageCompleted' and e.payload ? 'due_at') as due_at,
               (array_agg(e.payload order by e.event_id desc) filter (where e.event_type = 'PolicyEvaluationCompleted'))[1] as policy,
               -- each evaluation chooses anew
               (array_agg(e.payload order by e.event_id desc) filter (where e.event_type in ('PolicyEvaluationCompleted', 'PlaybookMatched')))[1] as choice,
               (array_agg(e.event_type order by e.event_id desc) filter (where e.event_type in ('PlaybookMatched', 'ApprovalRequested')))[1] as move
        from e group by e.tenant_id, e.exception_id)
    update sentinai_platform.exceptions x
    set state = case when x.state = 'resolved' then x.state when l.move = 'PlaybookMatched' then 'matched' when l.move = 'ApprovalRequested' then 'awaiting_approval'
                when x.state = 'normalized' and l.triage is not null then 'triaged' else x.state end,
        exception_type = coalesce(l.triage ->> 'type', x.exception_type),
        severity = coalesce(l.triage ->> 'severity', x.severity),
        category = coalesce(l.triage ->> 'category', x.category),
        confidence = coalesce((l.triage ->> 'confidence')::float8, x.confidence),
        reasons = coalesce(l.triage -> 'reasons', x.reasons),
        triaged_at = coalesce(l.triaged_at, x.triaged_at),
        due_at = coalesce(l.due_at[1], x.due_at),
        -- moved there and back it is another deadline
        sla = case when x.due_at = all (l.due_at) or l.due_at is null then x.sla else 'on_track' end,
        decision = coalesce(l.policy ->> 'decision', x.decision),
        playbook = case when l.choice is not null then l.choice ->> 'playbook' else x.playbook end,
        changed_at = greatest(x.changed_at, l.changed_at)
    from last l where x.tenant_id = l.tenant_id and x.exception_id = l.exception_id and l.changed_at is not null;
end $$;
comment on function sentinai_platform.project_progress(jsonb) is 'For project_exceptions(): what triage and policy say.';

create function sentinai_platform.project_end(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    with last as (
        -- what is resolved stays so
        select distinct on (b.tenant_id, b.exception_id) b.*, sentinai.event_time(b.event_id) as at, b.event_type = 'ExceptionResolved' as resolved
        from sentinai_platform.read_batch(events) b
        where b.event_type in ('PlaybookMatched', 'ApprovalRequested', 'ExceptionEscalated', 'ExceptionResolved')
        order by b.tenant_id, b.exception_id, b.event_type = 'ExceptionResolved' desc, b.event_id desc)
    update sentinai_platform.exceptions x
    set state = case when l.resolved then 'resolved' else 'escalated' end,
        outcome = coalesce(l.payload ->> 'outcome', x.outcome),
        closed_at = case when l.resolved then l.at else x.closed_at end,
        sla = case when l.resolved and x.due_at is not null then case when l.at <= x.due_at then 'met' else 'breached' end else x.sla end,
        changed_at = greatest(x.changed_at, l.at)
    from last l
    where x.tenant_id = l.tenant_id and x.exception_id = l.exception_id and x.state <> 'resolved'
          and l.event_type in ('ExceptionEscalated', 'ExceptionResolved');
end $$;
comment on function sentinai_platform.project_end(jsonb) is 'For project_exceptions(): what ExceptionResolved and ExceptionEscalated say.';

create function sentinai_platform.project_sla(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    with last as (
        select b.tenant_id, b.exception_id, (b.payload ->> 'due_at')::timestamptz as due_at, bool_or(b.event_type = 'SLAExpired') as expired,
               max(sentinai.event_time(b.event_id)) as at
        from sentinai_platform.read_batch(events) b
        where b.event_type in ('SLAImminent', 'SLAExpired') and b.payload ->> 'kind' = 'resolve'
        group by b.tenant_id, b.exception_id, (b.payload ->> 'due_at')::timestamptz)
    update sentinai_platform.exceptions x
    set sla = case when l.expired then 'expired' else 'imminent' end, changed_at = greatest(x.changed_at, l.at)
    from last l
    -- A deadline that was moved, or met, has another status. One that was moved back is
    -- told of again, which counts even if policy has taken the old one for the new one.
    where x.tenant_id = l.tenant_id and x.exception_id = l.exception_id and x.due_at = l.due_at
          and (x.sla in ('on_track', 'imminent') or x.sla = 'expired' and l.expired);
end $$;
comment on function sentinai_platform.project_sla(jsonb) is 'For project_exceptions() and policy: what SLAImminent and SLAExpired say of deadlines to resolve.';

create function sentinai_platform.project_steps_done(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    update sentinai_platform.exceptions x
    set steps_done = x.steps_done + s.steps, changed_at = greatest(x.changed_at, s.at)
    from (select b.tenant_id, b.exception_id, count(*) as steps, max(sentinai.event_time(b.event_id)) as at
          from sentinai_platform.read_batch(events) b where b.event_type = 'StepExecutionCompleted' and not b.payload ?| '{skipped,compensation}'
          group by b.tenant_id, b.exception_id) s
    where x.tenant_id = s.tenant_id and x.exception_id = s.exception_id;
end $$;
comment on function sentinai_platform.project_steps_done(jsonb) is 'For project_exceptions(): what StepExecutionCompleted says.';

create function sentinai_platform.project_exceptions(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    types constant text[] := sentinai_platform.types_of(events);
begin
    -- only what there is something for: who may decide may not write all of it
    if types && '{ExceptionNormalized}' then
        perform sentinai_platform.project_normalized(events);
    end if;
    if types && '{TriageCompleted,PolicyEvaluationCompleted,PlaybookMatched,ApprovalRequested}' then
        perform sentinai_platform.project_progress(events);
    end if;
    if types && '{StepExecutionCompleted}' then
        perform sentinai_platform.project_steps_done(events);
    end if;
    if types && '{SLAImminent,SLAExpired}' then
        perform sentinai_platform.project_sla(events);
    end if;
    if types && '{ExceptionEscalated,ExceptionResolved}' then
        perform sentinai_platform.project_end(events);
    end if;
end $$;
comment on function sentinai_platform.project_exceptions(jsonb) is 'For handlers and commands: writes the read model of exceptions from events that were just published, in the lock of the exceptions. events: a JSON array of events with the columns of claim(); others than those of exceptions are passed over.';

create function sentinai_platform.project_approvals(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    types constant text[] := sentinai_platform.types_of(events);
begin
    if types && '{ApprovalRequested}' then
        insert into sentinai_platform.approvals (approval_id, tenant_id, exception_id, status, rule, reason, playbook, playbook_version,
            on_timeout, opened_by, requested_at, due_at)
        select (b.payload ->> 'approval_id')::uuid, b.tenant_id, b.exception_id, 'pending', b.payload ->> 'rule', b.payload ->> 'reason',
               b.payload ->> 'playbook', (b.payload ->> 'version')::int, b.payload ->> 'on_timeout', b.event_id, sentinai.event_time(b.event_id), (b.payload ->> 'due_at')::timestamptz
        from sentinai_platform.read_batch(events) b
        where b.event_type = 'ApprovalRequested'
        on conflict (approval_id) do update
        set tenant_id = excluded.tenant_id, exception_id = excluded.exception_id, status = excluded.status, rule = excluded.rule, reason = excluded.reason,
            playbook = excluded.playbook, playbook_version = excluded.playbook_version, on_timeout = excluded.on_timeout,
            opened_by = excluded.opened_by, requested_at = excluded.requested_at, due_at = excluded.due_at,
            execution_id = null, decided_at = null, decided_by = null, comment = null;
    end if;
    if types && '{ApprovalDecided}' then
        update sentinai_platform.approvals p
        set status = b.payload ->> 'decision', decided_at = sentinai.event_time(b.event_id), decided_by = b.payload ->> 'decided_by',
            comment = b.payload ->> 'comment', execution_id = case when b.payload ? 'timed_out' then null else b.event_id end
        from sentinai_platform.read_batch(events) b
        where b.event_type = 'ApprovalDecided' and p.approval_id = (b.payload ->> 'approval_id')::uuid
              and p.tenant_id = b.tenant_id and p.exception_id = b.exception_id;
    end if;
    if types && '{ExceptionResolved,ExceptionEscalated}' then
        -- whoever closes the exception, nobody is asked any more
        update sentinai_platform.approvals p
        set status = 'cancelled', decided_at = sentinai.event_time(c.event_id),
            comment = case c.event_type when 'ExceptionResolved' then 'the exception was resolved' else 'the exception was escalated' end
        from (select distinct on (q.approval_id) q.approval_id, b.event_id, b.event_type
              from sentinai_platform.read_batch(events) b
              join sentinai_platform.approvals q on q.tenant_id = b.tenant_id and q.exception_id = b.exception_id and q.opened_by < b.event_id
              where b.event_type in ('ExceptionResolved', 'ExceptionEscalated') and q.status = 'pending'
              order by q.approval_id, b.event_id) c
        where p.approval_id = c.approval_id and p.status = 'pending';
    end if;
end $$;
comment on function sentinai_platform.project_approvals(jsonb) is 'For handlers and commands: writes the read model of approvals from events that were just published. events: as of project_exceptions().';

create function sentinai_platform.cancel_approvals(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if not sentinai_platform.types_of(events) && '{ExceptionResolved,ExceptionEscalated}' then
        return;
    end if;
    perform sentinai_platform.project_approvals(events);
    perform sentinai.cancel_deadline(b.tenant_id, b.exception_id, 'approval')
    from sentinai_platform.read_batch(events) b
    join sentinai_platform.approvals p on p.tenant_id = b.tenant_id and p.exception_id = b.exception_id
    where b.event_type in ('ExceptionResolved', 'ExceptionEscalated') and p.status = 'cancelled' and p.decided_at = sentinai.event_time(b.event_id);
end $$;
comment on function sentinai_platform.cancel_approvals(jsonb) is 'For handlers and commands that close exceptions: nobody is asked about them any more. events: as of project_exceptions().';
