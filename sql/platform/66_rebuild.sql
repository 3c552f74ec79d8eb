-- Read models anew, from the log, while agents go on.

create table sentinai_platform.rebuilds (
    rebuild_id  uuid primary key,
    tenant_id   text collate "C" not null,
    phase       text collate "C" not null check (phase in ('exceptions', 'metrics', 'done')),
    exceptions  bigint not null default 0,
    kept        bigint not null default 0,
    position    uuid,
    day         date,
    started_at  timestamptz not null,
    started_by  text collate "C" not null default session_user,
    changed_at  timestamptz not null,
    finished_at timestamptz
);
comment on table sentinai_platform.rebuilds is 'Progress of rebuild_projections().';
comment on column sentinai_platform.rebuilds.rebuild_id is 'Its id.';
comment on column sentinai_platform.rebuilds.tenant_id is 'Tenant whose read models are rebuilt.';
comment on column sentinai_platform.rebuilds.phase is 'What is under way: "exceptions" with all that belongs to them, then "metrics", then "done".';
comment on column sentinai_platform.rebuilds.exceptions is 'How many exceptions were rebuilt; one that was normalized several times may count as often.';
comment on column sentinai_platform.rebuilds.kept is 'How many were left as they are, since the log has not all of their events any more, or one that cannot be replayed.';
comment on column sentinai_platform.rebuilds.position is 'The last ExceptionNormalized that was read; event_time() tells from when it is.';
comment on column sentinai_platform.rebuilds.day is 'The last day that was counted.';
comment on column sentinai_platform.rebuilds.started_at is 'When it began. What began later needs no rebuild.';
comment on column sentinai_platform.rebuilds.started_by is 'Role that had logged in when it began.';
comment on column sentinai_platform.rebuilds.changed_at is 'When its last step ended.';
comment on column sentinai_platform.rebuilds.finished_at is 'When it was done; null: it is not.';

create function sentinai_platform.history_of(tenant_id text, exception_id text) returns setof sentinai.event
    language plpgsql stable parallel restricted rows 20
    set search_path = pg_catalog, pg_temp
    as $$
declare
    page constant int := 10000;
    found_events int := page;
    e sentinai.event;
begin
    while found_events = page loop
        found_events := 0;
        for e in select * from sentinai.get_events_by_aggregate($1, $2, after_id => e.event_id, max_events => page, aggregate_type => 'exception') loop
            found_events := found_events + 1;
            return next e;
        end loop;
    end loop;
end $$;
comment on function sentinai_platform.history_of(text, text) is 'For rebuild_projections(): all events of an exception that the log has.';

create function sentinai_platform.read_histories(tenant_id text, exception_ids text[]) returns table (exception_id text, events jsonb)
    language sql stable parallel restricted rows 100
    set search_path = pg_catalog, pg_temp
    as $$
    select i.id, h.events from unnest(exception_ids) i (id)
    cross join lateral (
        select jsonb_agg(to_jsonb(e) order by e.event_id) as events,
               (array_agg(e.causation_id order by e.event_id) filter (where e.event_type = 'ExceptionNormalized'))[1] as opened_by,
               array_agg(e.event_id) as ids
        from sentinai_platform.history_of(tenant_id, i.id) e) h
    -- a log without its beginning does not say what it was
    where h.opened_by = any (h.ids) $$;
comment on function sentinai_platform.read_histories(text, text[]) is 'For rebuild_projections(): the events of those exceptions of which the log has all.';

create function sentinai_platform.reset_exceptions(tenant_id text, events jsonb) returns void
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
    -- rows stay, since agents wait for them: what is not there is no exception
    update sentinai_platform.exceptions x
    set state = 'normalized', category = null, confidence = null, reasons = null, triaged_at = null, decision = null, playbook = null,
        steps_done = 0, due_at = null, sla = null, closed_at = null, outcome = null, changed_at = '-infinity',
        opened_by = f.opened_by, received_at = sentinai.event_time(f.opened_by)
    from (select distinct on (b.exception_id) b.exception_id, (b.event ->> 'causation_id')::uuid as opened_by
          from sentinai_platform.read_batch(events) b where b.event_type = 'ExceptionNormalized' order by b.exception_id, b.event_id) f
    where x.tenant_id = reset_exceptions.tenant_id and x.exception_id = f.exception_id;
    delete from sentinai_platform.approvals p
    where p.tenant_id = reset_exceptions.tenant_id and p.exception_id in (select b.exception_id from sentinai_platform.read_batch(events) b)
          and p.approval_id not in (select (b.payload ->> 'approval_id')::uuid from sentinai_platform.read_batch(events) b where b.event_type = 'ApprovalRequested');
    -- which of them is open is not known yet, and there is one at most
    update sentinai_platform.approvals p set status = 'expired'
    where p.tenant_id = reset_exceptions.tenant_id and p.exception_id in (select b.exception_id from sentinai_platform.read_batch(events) b) and p.status = 'pending';
    delete from sentinai_platform.step_executions s
    where s.tenant_id = reset_exceptions.tenant_id and s.exception_id in (select b.exception_id from sentinai_platform.read_batch(events) b);
    delete from sentinai_platform.playbook_executions x
    where x.tenant_id = reset_exceptions.tenant_id and x.exception_id in (select b.exception_id from sentinai_platform.read_batch(events) b);
    update sentinai_platform.tool_executions t
    set status = 'requested', requests = 0, http_status = null, response = null, error = null, retryable = null, duration_ms = null,
        finished_at = null, last_request = null, last_outcome = null
    where t.tenant_id = reset_exceptions.tenant_id and t.exception_id in (select b.exception_id from sentinai_platform.read_batch(events) b);
    delete from sentinai_platform.feedback f
    where f.tenant_id = reset_exceptions.tenant_id and f.exception_id in (select b.exception_id from sentinai_platform.read_batch(events) b) $$;
comment on function sentinai_platform.reset_exceptions(text, jsonb) is 'For rebuild_projections(): the rows of exceptions as they are before the first of their events.';

create function sentinai_platform.replay(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wave jsonb;
begin
    for wave in select w from sentinai_platform.waves(events) w loop
        perform sentinai_platform.project_exceptions(wave);
        perform sentinai_platform.project_playbooks(wave);
        if sentinai_platform.types_of(wave) && '{ApprovalRequested,ApprovalDecided,ExceptionResolved,ExceptionEscalated}' then
            perform sentinai_platform.project_approvals(wave);
        end if;
        if sentinai_platform.types_of(wave) && '{ToolExecutionRequested,ToolExecutionCompleted,ToolExecutionFailed}' then
            perform sentinai_platform.project_tools(wave);
            perform sentinai_platform.project_updates(wave);
        end if;
        if sentinai_platform.types_of(wave) && '{FeedbackCaptured}' then
            perform sentinai_platform.project_feedback(wave);
        end if;
    end loop;
end $$;
comment on function sentinai_platform.replay(jsonb) is 'For rebuild_projections(): all that the read models take from events, each exception''s one after the other. events: in their order.';

create function sentinai_platform.replay_exceptions(tenant_id text, exception_ids text[]) returns bigint
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
declare
    events jsonb;
    replayed bigint;
begin
    -- what is published from now on waits for us, and comes after what we read
    perform from sentinai_platform.exceptions x
    where x.tenant_id = replay_exceptions.tenant_id and x.exception_id = any (exception_ids) order by x.tenant_id, x.exception_id for update;
    -- who decides holds the approval only
    perform from sentinai_platform.approvals p
    where p.tenant_id = replay_exceptions.tenant_id and p.exception_id = any (exception_ids) order by p.approval_id for update;
    select count(distinct h.exception_id), coalesce(jsonb_agg(e.event order by e.event ->> 'event_id'), '[]') into replayed, events
    from sentinai_platform.read_histories(tenant_id, exception_ids) h cross join lateral jsonb_array_elements(h.events) e (event);
    perform sentinai_platform.reset_exceptions(tenant_id, events);
    perform sentinai_platform.replay(events);
    return replayed;
end $$;
comment on function sentinai_platform.replay_exceptions(text, text[]) is 'For rebuild_projections(): the rows of some exceptions anew. Returns of how many the log has all events.';

create function sentinai_platform.replay_each(tenant_id text, exception_ids text[]) returns bigint
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
begin
    begin
        return sentinai_platform.replay_exceptions(tenant_id, exception_ids);
    exception when others then
        if not sentinai_platform.is_fault_of_event(sqlstate) then
            raise;
        elsif cardinality(exception_ids) = 1 then
            raise warning 'exception "%" is left as it is: an event of it cannot be replayed (%)', exception_ids[1], sqlstate;
            return 0;
        end if;
    end;
    return (select sum(sentinai_platform.replay_each(tenant_id, array[i.id])) from unnest(exception_ids) i (id));
end $$;
comment on function sentinai_platform.replay_each(text, text[]) is 'For rebuild_projections(): replay_exceptions() for a set, and one by one when that fails, so that only what is wrong is left as it is.';

create function sentinai_platform.recount_day(tenant_id text, day date) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    of_day constant tstzrange := tstzrange($2::timestamp at time zone 'UTC', ($2 + 1)::timestamp at time zone 'UTC');
begin
    -- An agent writes its feedback, and then adds to these rows. So whoever has added
    -- when we have the locks has written what we count, and whoever has not adds later.
    insert into sentinai_platform.feedback_metrics (tenant_id, day, exception_type, resolved, escalated, seconds, longest_seconds, steps)
    select distinct f.tenant_id, $2, f.exception_type, 0, 0, 0, 0, 0 from sentinai_platform.feedback f
    where f.tenant_id = $1 and f.ended_at >= lower(of_day) and f.ended_at < upper(of_day)
    order by f.exception_type on conflict do nothing;
    perform from sentinai_platform.feedback_metrics m where m.tenant_id = $1 and m.day = $2 order by m.exception_type for update;
    update sentinai_platform.feedback_metrics m set resolved = 0, escalated = 0, seconds = 0, longest_seconds = 0, steps = 0
    where m.tenant_id = $1 and m.day = $2;
    perform sentinai_platform.count_feedback(array(select f.event_id from sentinai_platform.feedback f
        where f.tenant_id = $1 and f.ended_at >= lower(of_day) and f.ended_at < upper(of_day)));
    delete from sentinai_platform.feedback_metrics m where m.tenant_id = $1 and m.day = $2 and m.resolved + m.escalated = 0;
end $$;
comment on function sentinai_platform.recount_day(text, date) is 'For rebuild_projections(): the metrics of a day, from the feedback that is there.';

create function sentinai_platform.start_rebuild(tenant_id text) returns uuid
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    id uuid;
begin
    perform sentinai_platform.require_read($1);
    if not sentinai.may('operate', $1) then
        raise exception using errcode = 'SN403', message = 'tenant_id is not one the caller may operate for';
    end if;
    insert into sentinai_platform.rebuilds (rebuild_id, tenant_id, phase, started_at, changed_at)
    values (gen_random_uuid(), $1, 'exceptions', clock_timestamp(), clock_timestamp()) returning rebuild_id into id;
    return id;
end $$;
comment on function sentinai_platform.start_rebuild(text) is 'For rebuild_projections(): notes that a rebuild begins.';

create function sentinai_platform.rebuild_exceptions(r sentinai_platform.rebuilds, max_exceptions int) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    ids text[];
    last uuid;
    read_events int;
    replayed bigint := 0;
begin
    select array_agg(distinct e.aggregate_id), max(e.event_id::text)::uuid, count(*) into ids, last, read_events
    from sentinai.get_events_by_tenant(r.tenant_id, '{ExceptionNormalized}', to_time => r.started_at, after_id => r.position, max_events => max_exceptions) e
    where e.aggregate_type = 'exception';
    if ids is not null then
        replayed := sentinai_platform.replay_each(r.tenant_id, ids);
    end if;
    update sentinai_platform.rebuilds u
    set exceptions = u.exceptions + replayed, kept = u.kept + coalesce(cardinality(ids), 0) - replayed, position = coalesce(last, u.position),
        phase = case when read_events = 0 then 'metrics' else u.phase end, changed_at = clock_timestamp()
    where u.rebuild_id = r.rebuild_id;
end $$;
comment on function sentinai_platform.rebuild_exceptions(sentinai_platform.rebuilds, int) is 'For rebuild_projections(): the next exceptions.';

create function sentinai_platform.rebuild_metrics(r sentinai_platform.rebuilds) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    next date := least(
        (select min(m.day) from sentinai_platform.feedback_metrics m where m.tenant_id = r.tenant_id and m.day > coalesce(r.day, '-infinity')),
        (select (min(f.ended_at) at time zone 'UTC')::date from sentinai_platform.feedback f
         where f.tenant_id = r.tenant_id and f.ended_at >= coalesce((r.day + 1)::timestamp at time zone 'UTC', '-infinity')));
begin
    if next is not null then
        perform sentinai_platform.recount_day(r.tenant_id, next);
    end if;
    update sentinai_platform.rebuilds u
    set day = coalesce(next, u.day), phase = case when next is null then 'done' else u.phase end,
        changed_at = clock_timestamp(), finished_at = case when next is null then clock_timestamp() end
    where u.rebuild_id = r.rebuild_id;
end $$;
comment on function sentinai_platform.rebuild_metrics(sentinai_platform.rebuilds) is 'For rebuild_projections(): the metrics of the next day.';

create function sentinai_platform.rebuild_step(rebuild_id uuid, max_exceptions int default 200) returns boolean
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    r sentinai_platform.rebuilds;
begin
    if rebuild_id is null or max_exceptions is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'arguments must not be null';
    elsif max_exceptions < 1 or max_exceptions > 10000 then
        raise exception using errcode = 'SN422', message = 'max_exceptions must be from 1 to 10000';
    end if;
    select * into r from sentinai_platform.rebuilds u where u.rebuild_id = $1 for update;
    if not found then
        raise exception using errcode = 'SN404', message = 'no such rebuild',
            detail = 'It is unknown, or of a tenant that the caller may not operate for.';
    elsif r.phase = 'exceptions' then
        perform sentinai_platform.rebuild_exceptions(r, max_exceptions);
    elsif r.phase = 'metrics' then
        perform sentinai_platform.rebuild_metrics(r);
    end if;
    return r.phase <> 'done';
end $$;
comment on function sentinai_platform.rebuild_step(uuid, int) is 'The next step of a rebuild, in the caller''s transaction; false when it was done already. Steps of one rebuild run one after the other. rebuild_id: as rebuild_projections() has it. max_exceptions: 1 to 10,000, which are locked until the end of the transaction. Errors: 22004 null; SN404 unknown; SN422 invalid; SN403 the right "read" is missing.';

-- A procedure that commits can have no settings, so each name says its schema.
create procedure sentinai_platform.rebuild_projections(tenant_id text, max_exceptions int default 200, inout rebuild_id uuid default null)
    language plpgsql
    as $$
begin
    if rebuild_id is null then
        rebuild_id := sentinai_platform.start_rebuild(tenant_id);
    end if;
    commit;
    while sentinai_platform.rebuild_step(rebuild_id, max_exceptions) loop
        commit;
    end loop;
end $$;
comment on procedure sentinai_platform.rebuild_projections(text, int, uuid) is 'Writes the read models of a tenant''s exceptions anew, from the log: exceptions, approvals, executions of playbooks and their steps, feedback and its metrics. Agents go on meanwhile, and wait for a step at most. Ends with the rows that were there, if nothing was wrong with them. An exception of which the log has not all events any more is left as it is, as is one with an event that cannot be replayed, of which a warning tells. CALL it outside of a transaction: each step has one of its own. max_exceptions: how many a step takes, 1 to 10,000. rebuild_id: one that was interrupted, to go on with; by default a new one. Its progress is a row of rebuilds. Needs the rights "operate" and "read". Errors: 22004 null tenant_id; SN403 not allowed; SN404 no such rebuild; SN422 invalid max_exceptions; 2D000 in a transaction.';
