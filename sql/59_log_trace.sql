-- Flows: which event led to which, and what became of them.

create function sentinai.flow_events(correlation_id text, tenant_id text, max_events int)
    returns setof sentinai.event
    language c stable parallel restricted rows 100
    as 'MODULE_PATHNAME', 'sentinai_flow_events';
comment on function sentinai.flow_events(text, text, int) is 'For get_trace(): events of a flow, in no order, and perhaps more than asked for.';

create function sentinai.flow_tree(
        ids uuid[], causes uuid[],
        out event_id uuid, out parent_id uuid, out depth int, out place int)
    returns setof record
    language c immutable strict parallel safe rows 100
    as 'MODULE_PATHNAME', 'sentinai_flow_tree';
comment on function sentinai.flow_tree(uuid[], uuid[]) is 'For get_trace(): the tree that causes make of events whose ids ascend, each before what it led to. A cause that is not among the events before is none.';

create function sentinai.trace_work(
        event_ids uuid[],
        out event_id uuid, out worker_type text, out status text,
        out attempts int, out worker_id text, out claimed_at timestamptz,
        out completed_at timestamptz, out dead_at timestamptz,
        out due_at timestamptz, out error text)
    returns setof record
    language c stable parallel unsafe rows 100
    as 'MODULE_PATHNAME', 'sentinai_trace_work';
comment on function sentinai.trace_work(uuid[]) is 'For get_trace(): what became of events, subscription by subscription.';

create function sentinai.flow_trace(
        correlation_id text, tenant_id text, max_events int)
    returns table (
        event_id uuid, parent_id uuid, depth int, event_type text,
        tenant_id text, aggregate_type text, aggregate_id text,
        correlation_id text, causation_id uuid, occurred_at timestamptz,
        deliver_at timestamptz, traceparent text, subscriptions jsonb)
    language sql stable rows 100
    set search_path = pg_catalog, pg_temp
as $$
    with found as materialized (
        select f.*
          from sentinai.flow_events($1, $2, $3) f
         order by f.event_id
         limit greatest($3, 1)
    ), ids as materialized (
        select coalesce(array_agg(f.event_id order by f.event_id), '{}') as ids,
               coalesce(array_agg(f.causation_id order by f.event_id), '{}') as causes
          from found f
    ), work as materialized (
        select w.event_id, jsonb_agg(to_jsonb(w) - 'event_id' order by w.worker_type) as subscriptions
          from ids cross join lateral sentinai.trace_work(ids.ids) w
         group by w.event_id
    )
    select t.event_id, t.parent_id, t.depth, f.event_type, f.tenant_id,
           f.aggregate_type, f.aggregate_id, f.correlation_id, f.causation_id,
           f.occurred_at, f.deliver_at, f.metadata->>'traceparent',
           coalesce(w.subscriptions, '[]')
      from ids
           cross join lateral sentinai.flow_tree(ids.ids, ids.causes) t
           join found f on f.event_id = t.event_id
           left join work w on w.event_id = t.event_id
     order by t.event_id
$$;
comment on function sentinai.flow_trace(text, text, int) is 'For get_trace(), which calls it as the owner.';

create function sentinai.get_trace(
        correlation_id text, tenant_id text default null, max_events int default 1000)
    returns table (
        event_id uuid, parent_id uuid, depth int, event_type text,
        tenant_id text, aggregate_type text, aggregate_id text,
        correlation_id text, causation_id uuid, occurred_at timestamptz,
        deliver_at timestamptz, traceparent text, subscriptions jsonb)
    language c stable parallel unsafe rows 100
    as 'MODULE_PATHNAME', 'sentinai_get_trace';
comment on function sentinai.get_trace(text, text, int) is 'Events of a flow, oldest first: those with the correlation id, and those of the aggregate with this id that were given none. tenant_id: whose; null for every tenant that has the flow, which costs a look-up for each tenant of the log. max_events: 1 to 10,000, the oldest. parent_id: the event that caused it, if it is in the flow and older; depth: how many are above it. subscriptions: an array of what each of them did, as trace_tree() has it in columns. What retention has dropped is not there. Reads by an index. Errors: 22004 null correlation_id; SN403 not allowed; SN422 max_events out of range.';

create function sentinai.flow_trace_tree(
        correlation_id text, tenant_id text, max_events int)
    returns table (
        tree text, event_id uuid, parent_id uuid, depth int, event_type text,
        tenant_id text, aggregate_type text, aggregate_id text,
        occurred_at timestamptz, since_start interval, since_parent interval,
        traceparent text, worker_type text, status text, attempts int,
        worker_id text, claimed_at timestamptz, completed_at timestamptz,
        dead_at timestamptz, due_at timestamptz, error text, took interval)
    language sql stable rows 100
    set search_path = pg_catalog, pg_temp
as $$
    with trace as materialized (
        select g.* from sentinai.flow_trace($1, $2, $3) g
    ), ids as materialized (
        select coalesce(array_agg(g.event_id order by g.event_id), '{}') as ids,
               coalesce(array_agg(g.parent_id order by g.event_id), '{}') as parents
          from trace g
    )
    select repeat('  ', least(g.depth, 50)) || g.event_type, g.event_id,
           g.parent_id, g.depth, g.event_type, g.tenant_id, g.aggregate_type,
           g.aggregate_id, g.occurred_at,
           g.occurred_at - min(g.occurred_at) over (),
           g.occurred_at - p.occurred_at, g.traceparent, s.worker_type,
           s.status, s.attempts, s.worker_id, s.claimed_at, s.completed_at,
           s.dead_at, s.due_at, s.error,
           coalesce(s.completed_at, s.dead_at) - g.occurred_at
      from ids
           cross join lateral sentinai.flow_tree(ids.ids, ids.parents) t
           join trace g on g.event_id = t.event_id
           left join trace p on p.event_id = g.parent_id
           left join lateral jsonb_to_recordset(g.subscriptions) s (
               worker_type text, status text, attempts int, worker_id text,
               claimed_at timestamptz, completed_at timestamptz,
               dead_at timestamptz, due_at timestamptz, error text) on true
     order by t.place, s.worker_type
$$;
comment on function sentinai.flow_trace_tree(text, text, int) is 'For trace_tree(), which calls it as the owner.';

create function sentinai.trace_tree(
        correlation_id text, tenant_id text default null, max_events int default 1000)
    returns table (
        tree text, event_id uuid, parent_id uuid, depth int, event_type text,
        tenant_id text, aggregate_type text, aggregate_id text,
        occurred_at timestamptz, since_start interval, since_parent interval,
        traceparent text, worker_type text, status text, attempts int,
        worker_id text, claimed_at timestamptz, completed_at timestamptz,
        dead_at timestamptz, due_at timestamptz, error text, took interval)
    language c stable parallel unsafe rows 100
    as 'MODULE_PATHNAME', 'sentinai_trace_tree';
comment on function sentinai.trace_tree(text, text, int) is 'The same as a tree, a row for each event and subscription, each event before what it led to. tree: the event type, two blanks further in for each level (at most 50). since_start, since_parent: time from the first event of the flow, and from the event''s cause. status: "waiting"; "claimed", an agent has it; "retrying", until due_at; "behind" an earlier event of its key; "held", by the relay, until its topic can be written; "completed"; "dead"; "sent", by the relay; "passed", the subscription did not want it when it came to it; "processing", "succeeded", "retrying", "discarded": as the ledger and the dead letter say; null when that is not known. claimed_at: known only while it is claimed. took: from the event to its completion or its death. Arguments and errors as get_trace().';
