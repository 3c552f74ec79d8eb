-- Feedback: what became of exceptions, and how long it took.

create table sentinai_platform.feedback (
    event_id       uuid primary key,
    tenant_id      text collate "C" not null,
    exception_id   text collate "C" not null,
    state          text collate "C" not null check (state in ('resolved', 'escalated')),
    outcome        text collate "C" not null,
    exception_type text collate "C" not null,
    severity       text collate "C",
    seconds        numeric not null,
    steps          int not null,
    ended_at       timestamptz not null
);
create index on sentinai_platform.feedback (tenant_id, exception_id);
create index on sentinai_platform.feedback (tenant_id, ended_at);
comment on table sentinai_platform.feedback is 'Read model: what became of an exception, a row each time that it was escalated or resolved.';
comment on column sentinai_platform.feedback.event_id is 'The event FeedbackCaptured.';
comment on column sentinai_platform.feedback.tenant_id is 'Whose it is.';
comment on column sentinai_platform.feedback.exception_id is 'The exception.';
comment on column sentinai_platform.feedback.state is '"resolved" or "escalated".';
comment on column sentinai_platform.feedback.outcome is 'How it ended; "escalated" when it has not.';
comment on column sentinai_platform.feedback.exception_type is 'What it was; "unclassified" when nobody has known.';
comment on column sentinai_platform.feedback.severity is 'How bad it was; null: not known.';
comment on column sentinai_platform.feedback.seconds is 'Time from when it was received.';
comment on column sentinai_platform.feedback.steps is 'How many steps of playbooks were done for it until then.';
comment on column sentinai_platform.feedback.ended_at is 'When it was escalated or resolved.';

create table sentinai_platform.feedback_metrics (
    tenant_id       text collate "C" not null,
    day             date not null,
    exception_type  text collate "C" not null,
    resolved        bigint not null,
    escalated       bigint not null,
    seconds         numeric not null,
    longest_seconds numeric not null,
    steps           bigint not null,
    primary key (tenant_id, day, exception_type)
);
comment on table sentinai_platform.feedback_metrics is 'Read model: how exceptions have ended, by tenant, day and type.';
comment on column sentinai_platform.feedback_metrics.tenant_id is 'Whose they are.';
comment on column sentinai_platform.feedback_metrics.day is 'Day in UTC on which they were escalated or resolved.';
comment on column sentinai_platform.feedback_metrics.exception_type is 'What they were.';
comment on column sentinai_platform.feedback_metrics.resolved is 'How many were resolved.';
comment on column sentinai_platform.feedback_metrics.escalated is 'How many were escalated. One that is resolved later counts there, too.';
comment on column sentinai_platform.feedback_metrics.seconds is 'Time that those that were resolved took, all together.';
comment on column sentinai_platform.feedback_metrics.longest_seconds is 'Time of the one that took longest.';
comment on column sentinai_platform.feedback_metrics.steps is 'Steps of playbooks that were done for those that were resolved.';

create function sentinai_platform.assess(batch jsonb)
    returns table (ord bigint, event_id uuid, tenant_id text, exception_id text, trace jsonb, payload jsonb)
    language sql stable parallel restricted rows 100
    begin atomic
    select b.ord, b.event_id, b.tenant_id, b.exception_id, b.trace, jsonb_build_object(
        'exception_id', b.exception_id,
        'state', case b.event_type when 'ExceptionResolved' then 'resolved' else 'escalated' end,
        'outcome', coalesce(b.payload ->> 'outcome', 'escalated'),
        'type', coalesce(x.exception_type, 'unclassified'),
        'seconds', extract(epoch from sentinai.event_time(b.event_id) - x.received_at),
        'steps', x.steps_done,
        'ended_at', sentinai.event_time(b.event_id))
        || jsonb_strip_nulls(jsonb_build_object('severity', x.severity))
    from sentinai_platform.read_batch(batch) b
    join sentinai_platform.exceptions x on x.tenant_id = b.tenant_id and x.exception_id = b.exception_id
    order by b.ord;
    end;
comment on function sentinai_platform.assess(jsonb) is 'For feedback: the payload of FeedbackCaptured for each event of a batch.';

create function sentinai_platform.project_feedback(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    insert into sentinai_platform.feedback (event_id, tenant_id, exception_id, state, outcome, exception_type, severity, seconds, steps, ended_at)
    select b.event_id, b.tenant_id, b.exception_id, b.payload ->> 'state', b.payload ->> 'outcome', b.payload ->> 'type', b.payload ->> 'severity',
           (b.payload ->> 'seconds')::numeric, (b.payload ->> 'steps')::int, (b.payload ->> 'ended_at')::timestamptz
    from sentinai_platform.read_batch(events) b where b.event_type = 'FeedbackCaptured' and b.payload ? 'state';
end $$;
comment on function sentinai_platform.project_feedback(jsonb) is 'For feedback: writes the read model of feedback from FeedbackCaptured. events: as of project_exceptions().';

create function sentinai_platform.count_feedback(event_ids uuid[]) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    insert into sentinai_platform.feedback_metrics as m (tenant_id, day, exception_type, resolved, escalated, seconds, longest_seconds, steps)
    select f.tenant_id, (f.ended_at at time zone 'UTC')::date, f.exception_type,
           count(*) filter (where f.state = 'resolved'), count(*) filter (where f.state = 'escalated'),
           coalesce(sum(f.seconds) filter (where f.state = 'resolved'), 0), coalesce(max(f.seconds) filter (where f.state = 'resolved'), 0),
           coalesce(sum(f.steps) filter (where f.state = 'resolved'), 0)
    from sentinai_platform.feedback f
    where f.event_id = any (event_ids)
    -- one row for each group, and a fixed order keeps agents from waiting for each other
    group by 1, 2, 3 order by 1, 2, 3
    on conflict (tenant_id, day, exception_type) do update
    set resolved = m.resolved + excluded.resolved, escalated = m.escalated + excluded.escalated, seconds = m.seconds + excluded.seconds,
        longest_seconds = greatest(m.longest_seconds, excluded.longest_seconds), steps = m.steps + excluded.steps;
end $$;
comment on function sentinai_platform.count_feedback(uuid[]) is 'For feedback: adds rows of feedback to the metrics.';

create function sentinai_platform.apply_feedback(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    events jsonb;
begin
    perform sentinai_platform.lock_exceptions(batch);
    events := sentinai_platform.publish_events(array(
        select ('FeedbackCaptured', a.tenant_id, a.exception_id, a.payload, a.trace, a.event_id, null)::sentinai_platform.new_event
        from sentinai_platform.assess(batch) a order by a.ord));
    perform sentinai_platform.project_feedback(events);
    perform sentinai_platform.count_feedback(array(select b.event_id from sentinai_platform.read_batch(events) b));
end $$;
comment on function sentinai_platform.apply_feedback(jsonb) is 'For feedback: a batch, all or nothing.';

create function sentinai_platform.handle_feedback(batch jsonb, out handled int, out retried int, out dead int)
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$ select * from sentinai_platform.handle('feedback', batch) $$;
comment on function sentinai_platform.handle_feedback(jsonb) is 'Feedback for a batch of ExceptionResolved and ExceptionEscalated: notes what became of each exception, how long it took and how many steps were done, counts that by tenant, day and type, publishes FeedbackCaptured, and completes the events, in the caller''s transaction. All else as handle_intake().';

create function sentinai_platform.get_feedback_metrics(tenant_id text, from_day date default null, to_day date default null, of_type text default null)
    returns table (day date, exception_type text, resolved bigint, escalated bigint, average_seconds numeric, longest_seconds numeric, average_steps numeric)
    language plpgsql stable parallel restricted rows 100
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
begin
    perform sentinai_platform.require_read($1);
    return query
        select m.day, m.exception_type, m.resolved, m.escalated, round(m.seconds / nullif(m.resolved, 0), 3),
               case when m.resolved > 0 then m.longest_seconds end, round(m.steps / nullif(m.resolved, 0)::numeric, 3)
        from sentinai_platform.feedback_metrics m
        where m.tenant_id = $1 and m.day >= coalesce($2, '-infinity') and m.day < coalesce($3, 'infinity') and ($4 is null or m.exception_type = $4)
        order by m.day, m.exception_type;
end $$;
comment on function sentinai_platform.get_feedback_metrics(text, date, date, text) is 'How a tenant''s exceptions have ended, by day (in UTC) and type. from_day: on that day or later. to_day: before that day. of_type: only that; null: all. The averages and the longest time, in seconds from when it was received, are of those that were resolved; null: none was. Errors: 22004 null tenant_id; SN403 not allowed.';

create function sentinai_platform.get_feedback(tenant_id text, exception_id text)
    returns setof sentinai_platform.feedback
    language plpgsql stable parallel restricted rows 1
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
begin
    perform sentinai_platform.require_read(get_feedback.tenant_id);
    return query select * from sentinai_platform.feedback f
                 where f.tenant_id = get_feedback.tenant_id and f.exception_id = get_feedback.exception_id order by f.event_id;
end $$;
comment on function sentinai_platform.get_feedback(text, text) is 'What became of an exception: a row each time that it was escalated or resolved, the oldest first. Errors: 22004 null tenant_id; SN403 not allowed.';
