-- Statistics views, in the style of pg_stat_*.  None counts rows: lag is the
-- difference of running totals that slices and lane states carry, and which of
-- the slices are a subscription's is asked of the code that reads them.

create function sentinai.stat_claimed(sub_id int) returns timestamptz
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_claimed';
comment on function sentinai.stat_claimed(int) is 'For stat_queue: when claim() was last called for a subscription since the server started; null when it was not.';

create function sentinai.stat_lane_state(sub_id int, lane int) returns sentinai_internal.lane_state_0
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_lane_state';
comment on function sentinai.stat_lane_state(int, int) is 'For stat_lane: the newest row of a lane''s journal; null when nobody has claimed it. A view that named the journal would let whoever names the view keep it from being truncated.';

create function sentinai.stat_round() returns sentinai_internal.round_0
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_round';
comment on function sentinai.stat_round() is 'For stat_info: the newest round; null when there was none.';

create function sentinai.partitions_until() returns timestamptz
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_partitions_until';
comment on function sentinai.partitions_until() is 'For stat_info: until when the log has partitions, without a gap from now on; null when it has none for now.';

create function sentinai.stat_rate(sub_id int, completed bigint, failed bigint,
        out completed_per_second float8, out failed_per_second float8)
    returns record
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_rate';
comment on function sentinai.stat_rate(int, bigint, bigint) is 'For stat_queue: rates of two running totals since the sample taken before the last ten seconds; null at the first call.';

create function sentinai.stat_lag(sub_id int, lanes int, out lane int, out events bigint,
        out oldest_at timestamptz)
    returns setof record
    language c volatile strict rows 64
    as 'MODULE_PATHNAME', 'sentinai_stat_lag';
comment on function sentinai.stat_lag(int, int) is 'For stat_lane: for each of so many lanes of a subscription, how many events of it no batch has had yet or has left whole, and the time of the oldest that is not finished, those that wait for a retry aside.';

create function sentinai.stat_clock() returns timestamptz
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_clock';
comment on function sentinai.stat_clock() is 'For stat_agent: the time that leases go by, the wall clock of the server''s start carried on by a clock that nobody sets.';

create function sentinai.stat_relays(out worker int, out pid int, out state text,
        out in_flight int, out sent_count bigint, out acked_count bigint,
        out error_count bigint, out dead_count bigint, out breaker text,
        out started_at timestamptz, out last_ack_at timestamptz,
        out last_error_at timestamptz, out last_error text, out locked_lanes bigint,
        out relay_id int, out limited boolean)
    returns setof record
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_relays';
comment on function sentinai.stat_relays() is 'For stat_relay: what the relay processes of this database say of themselves.';

create function sentinai.stat_server(out version text, out preloaded boolean, out launcher_pid int,
        out sequencer_pid int, out rounds_count bigint, out sequenced_count bigint,
        out unsequenced_commits bigint, out clock_ahead interval, out sequencer_problem text)
    returns record
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_server';
comment on function sentinai.stat_server() is 'For stat_info: what shared memory knows of this database, since the start of the server.';

create function sentinai.stat_failures(out step text, out failing_since timestamptz,
        out failure_count bigint, out last_failure_at timestamptz, out next_try_at timestamptz,
        out sqlstate text, out error text)
    returns setof record
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_failures';
comment on function sentinai.stat_failures() is 'For stat_info: a row for each thing that the sequencer''s process, or maintain(), failed to do the last time: "rounds", or a step of maintenance. failing_since: its first failure since it last went well. next_try_at: null when it was a call of maintain(). error: the message without its details.';

-- A row for each lane of each subscription; the ground of the other views.
create view sentinai.stat_lane with (security_barrier) as
select s.sub_id,
       s.worker_type,
       s.is_relay,
       l.lane,
       coalesce(t.pos, s.start_pos) as pos,
       t.batch,
       t.worker_id,
       t.claimed_at,
       t.lease_until,
       coalesce(t.open, 0)::int as in_flight,
       -- a retry that is handed out again waits no more
       coalesce(t.parked - coalesce(t.retries, 0), 0)::bigint as parked,
       coalesce(t.completed, 0) as completed_count,
       coalesce(t.failed, 0) as failed_count,
       coalesce(t.dead, 0) as dead,
       l.events
           + coalesce(t.left, 0)
           + coalesce(t.parked, 0) as lag_events,
       least(l.oldest_at, sentinai.event_time(r.event_id)) as oldest_unfinished_at
from sentinai_internal.subscription s
     -- Nothing is taken from it, but the planner then expects few rows.
     join sentinai_internal.stream f on f.stream_id = s.stream_id
     cross join lateral (select n.lanes from sentinai_internal.node n order by n.node_no desc limit 1) n
     cross join lateral sentinai.stat_lag(s.sub_id, n.lanes) l
     -- Its tracks.  The limit is for the planner, which would expect more and compile.
     cross join lateral (
         select pg_catalog.max(x.pos) filter (where k.track = 0) as pos,
                (pg_catalog.array_agg(x.batch order by x.lease_until) filter (where x.batch is not null))[1] as batch,
                (pg_catalog.array_agg(x.worker_id order by x.lease_until) filter (where x.batch is not null))[1] as worker_id,
                pg_catalog.max(x.claimed_at) as claimed_at,
                pg_catalog.min(x.lease_until) as lease_until,
                pg_catalog.sum(x.open) filter (where x.batch is not null) as open,
                pg_catalog.sum(pg_catalog.cardinality(x.retries)) filter (where x.batch is not null) as retries,
                pg_catalog.sum(x.parked)::bigint as parked,
                pg_catalog.sum(x.completed)::bigint as completed,
                pg_catalog.sum(x.failed)::bigint as failed,
                pg_catalog.sum(x.dead)::bigint as dead,
                pg_catalog.sum(8 * pg_catalog.octet_length(x.resolved) - pg_catalog.bit_count(x.resolved))::bigint as left
         from (select u.track
               from pg_catalog.unnest(0 || array(select c.track from sentinai_internal.track c)) as u (track)
               limit 64) k
              cross join lateral sentinai.stat_lane_state(s.sub_id, l.lane + 64 * k.track) x) t
     left join lateral (
         select x.event_id from sentinai_internal.event_retry x
         where x.sub_id = s.sub_id and x.lane = l.lane
         order by x.pos limit 1) r on t.parked > 0
where sentinai.may_see_worker_type(s.worker_type);

comment on view sentinai.stat_lane is 'State of every lane of every subscription.';
comment on column sentinai.stat_lane.sub_id is 'Number of the subscription.';
comment on column sentinai.stat_lane.worker_type is 'The subscription.';
comment on column sentinai.stat_lane.is_relay is 'Whether it is the relay''s.';
comment on column sentinai.stat_lane.lane is 'The lane.';
comment on column sentinai.stat_lane.pos is 'Every event before this position is resolved.';
comment on column sentinai.stat_lane.batch is 'Batch that holds a track of the lane; of several the one whose lease ends first.';
comment on column sentinai.stat_lane.worker_id is 'Agent that holds it.';
comment on column sentinai.stat_lane.claimed_at is 'Time of the claim.';
comment on column sentinai.stat_lane.lease_until is 'Deadline of the lease.';
comment on column sentinai.stat_lane.in_flight is 'Events handed out and not finished.';
comment on column sentinai.stat_lane.parked is 'Events waiting for a retry, or behind one.';
comment on column sentinai.stat_lane.completed_count is 'Events completed so far.';
comment on column sentinai.stat_lane.failed_count is 'Attempts failed so far.';
comment on column sentinai.stat_lane.dead is 'Dead letters nobody has dealt with.';
comment on column sentinai.stat_lane.lag_events is 'Events that are not finished. Until it has come to them, events that it will not get count too: of other types and tenants while it reads its past, and about its own failures. Null, for who may not see figures of all tenants, while those of other tenants count.';
comment on column sentinai.stat_lane.oldest_unfinished_at is 'Time of the oldest event that is not finished. Null where lag_events is.';

create view sentinai.stat_queue with (security_barrier) as
select q.worker_type,
       q.lag_events,
       extract(epoch from pg_catalog.clock_timestamp() - q.oldest_unfinished_at)::float8 as lag_seconds,
       q.oldest_unfinished_at,
       q.in_flight,
       q.retrying,
       q.dead,
       q.completed_count,
       q.failed_count,
       r.completed_per_second,
       r.failed_per_second,
       greatest(q.claimed_at, sentinai.stat_claimed(q.sub_id)) as last_claimed_at,
       f.event_types,
       f.tenants,
       s.max_lease,
       s.max_lanes
from (select l.sub_id,
             l.worker_type,
             pg_catalog.sum(l.lag_events)::bigint as lag_events,
             pg_catalog.min(l.oldest_unfinished_at) as oldest_unfinished_at,
             pg_catalog.sum(l.in_flight)::bigint as in_flight,
             pg_catalog.sum(l.parked)::bigint as retrying,
             pg_catalog.sum(l.dead)::bigint as dead,
             pg_catalog.sum(l.completed_count)::bigint as completed_count,
             pg_catalog.sum(l.failed_count)::bigint as failed_count,
             pg_catalog.max(l.claimed_at) as claimed_at
      from sentinai.stat_lane l
      where not l.is_relay
      group by 1, 2) q
     join sentinai_internal.subscription s on s.sub_id = q.sub_id
     join sentinai_internal.stream f on f.stream_id = s.stream_id
     cross join lateral sentinai.stat_rate(q.sub_id, q.completed_count, q.failed_count) r;

comment on view sentinai.stat_queue is 'One row for each subscription: how far behind it is and what it is doing.';
comment on column sentinai.stat_queue.worker_type is 'The subscription.';
comment on column sentinai.stat_queue.lag_events is 'Sequenced events that are not finished; see stat_lane.';
comment on column sentinai.stat_queue.lag_seconds is 'Age of the oldest event that is not finished; null when there is none.';
comment on column sentinai.stat_queue.oldest_unfinished_at is 'Time of the oldest event that is not finished.';
comment on column sentinai.stat_queue.in_flight is 'Events handed out and not finished.';
comment on column sentinai.stat_queue.retrying is 'Events waiting for a retry, or behind one.';
comment on column sentinai.stat_queue.dead is 'Dead letters nobody has dealt with.';
comment on column sentinai.stat_queue.completed_count is 'Events completed since the subscription was made.';
comment on column sentinai.stat_queue.failed_count is 'Attempts failed since the subscription was made, lost leases included.';
comment on column sentinai.stat_queue.completed_per_second is 'Rate of completion since the sample before the last ten seconds; null at the first look.';
comment on column sentinai.stat_queue.failed_per_second is 'Rate of failed attempts, likewise.';
comment on column sentinai.stat_queue.last_claimed_at is 'When claim() was last called. Calls that found nothing are known since the start of the server; of what was before, the last one that handed out events. An agent that waits in wait_for_work() does not call it.';
comment on column sentinai.stat_queue.event_types is 'Event types it wants; null: all.';
comment on column sentinai.stat_queue.tenants is 'Tenants whose events it wants; null: all.';
comment on column sentinai.stat_queue.max_lease is 'Longest lease that claim() and extend() give.';
comment on column sentinai.stat_queue.max_lanes is 'How many lanes the batches of one role may hold at a time; 64: all.';

-- The topics are found one after the other by the index, and each lane's first
-- event of them.
create view sentinai.stat_relay_topic as
with recursive label as (
    select s.sub_id, s.worker_type, f.topic
    from sentinai_internal.subscription s
         cross join lateral (
             select r.topic from sentinai_internal.event_retry r
             where r.sub_id = s.sub_id and r.topic is not null
             order by r.topic limit 1) f
    where s.is_relay and sentinai.may_see_worker_type(s.worker_type)
    union all
    select l.sub_id, l.worker_type, n.topic
    from label l
         cross join lateral (
             select r.topic from sentinai_internal.event_retry r
             where r.sub_id = l.sub_id and r.topic > l.topic
             order by r.topic limit 1) n
)
select l.topic,
       h.waiting_since,
       h.reason,
       case when pg_catalog.current_setting('sentinai.topic_timeout') <> '-1'
            then h.waiting_since + pg_catalog.current_setting('sentinai.topic_timeout')::interval
       end as dead_at,
       l.worker_type as relay
from label l
     cross join lateral (
         select f.first_failed_at as waiting_since, f.last_error as reason
         from pg_catalog.generate_series(0, 63) as g (lane)
              cross join lateral (
                  select r.first_failed_at, r.last_error from sentinai_internal.event_retry r
                  where r.sub_id = l.sub_id and r.topic = l.topic and r.lane = g.lane
                  order by r.pos limit 1) f
         order by f.first_failed_at limit 1) h;

comment on view sentinai.stat_relay_topic is 'One row for each topic that events wait for, because it cannot be written.';
comment on column sentinai.stat_relay_topic.topic is 'The topic.';
comment on column sentinai.stat_relay_topic.waiting_since is 'When the oldest of the events was set aside.';
comment on column sentinai.stat_relay_topic.reason is 'What the broker said then.';
comment on column sentinai.stat_relay_topic.relay is 'The relay.';
comment on column sentinai.stat_relay_topic.dead_at is 'When that event becomes a dead letter, by sentinai.topic_timeout; null for never.';

create view sentinai.stat_relay with (security_barrier) as
with relay as (
    select 0 as relay_id, 'relay'::text as relay, s.sub_id,
           pg_catalog.current_setting('sentinai.relay_workers')::int as workers,
           pg_catalog.current_setting('sentinai.relay_limits') as limits
    from (values (true)) v (one)
         left join sentinai_internal.subscription s on s.worker_type = 'relay'
    union all
    select r.sub_id, s.worker_type, r.sub_id, greatest(r.workers, 1), r.limits
    from sentinai_internal.relay r
         join sentinai_internal.subscription s on s.sub_id = r.sub_id
)
select w.worker,
       p.pid,
       case when z.paused then 'paused' else coalesce(p.state, 'stopped') end as state,
       l.lag_events,
       extract(epoch from pg_catalog.clock_timestamp() - l.oldest_unfinished_at)::float8 as lag_seconds,
       l.pos as position,
       l.oldest_unfinished_at,
       p.in_flight,
       p.sent_count,
       p.acked_count,
       p.error_count,
       p.dead_count,
       p.breaker,
       p.started_at,
       p.last_ack_at,
       p.last_error_at,
       p.last_error,
       l.waiting_events,
       t.waiting_topics,
       b.blocked_by,
       n.relay,
       nullif(n.limits, '') as limits,
       p.limited
from relay n
     cross join lateral pg_catalog.generate_series(0, n.workers - 1) as w (worker)
     left join sentinai.stat_relays() p on p.relay_id = n.relay_id and p.worker = w.worker
     cross join lateral sentinai.relay_is_paused(n.relay) z (paused)
     left join (
         select m.relay_id, x.lane % m.workers as worker,
                pg_catalog.sum(x.lag_events)::bigint as lag_events,
                pg_catalog.min(x.pos) as pos,
                pg_catalog.sum(x.parked)::bigint as waiting_events,
                pg_catalog.min(x.oldest_unfinished_at) as oldest_unfinished_at
         from relay m
              join sentinai.stat_lane x on x.sub_id = m.sub_id
         where m.workers > 0
         group by 1, 2) l on l.relay_id = n.relay_id and l.worker = w.worker
     left join lateral (
         select pg_catalog.array_agg(x.topic order by x.topic) as waiting_topics
         from sentinai.stat_relay_topic x where x.relay = n.relay) t on true
     -- who has locked lanes that the relay found locked: 0 is a prepared transaction
     left join lateral (
         select pg_catalog.array_agg(distinct coalesce(k.pid, 0)) as blocked_by
         from pg_catalog.pg_locks k
         where k.locktype = 'object' and k.granted
               and k.database = (select d.oid from pg_catalog.pg_database d
                                 where d.datname = pg_catalog.current_database())
               and k.classid = 'sentinai_internal.subscription'::pg_catalog.regclass
               and k.objid::bigint = n.sub_id
               and k.objsubid > 0 and k.pid is distinct from p.pid
               and p.locked_lanes >> (k.objsubid - 1) & 1 = 1) b on p.locked_lanes <> 0
where sentinai.may_see_worker_type(n.relay);

comment on view sentinai.stat_relay is 'One row for each process that a relay shall have: as many as sentinai.relay_workers says, or create_relay().';
comment on column sentinai.stat_relay.relay is 'The relay; "relay" is the one of the server''s parameters.';
comment on column sentinai.stat_relay.worker is 'Number of the relay process, from 0.';
comment on column sentinai.stat_relay.pid is 'Its process; null when it does not run.';
comment on column sentinai.stat_relay.state is '"running", "paused", "waiting" (breaker open) or "stopped", for the reason that last_error gives.';
comment on column sentinai.stat_relay.lag_events is 'Sequenced events the broker has not acknowledged.';
comment on column sentinai.stat_relay.lag_seconds is 'Age of the oldest of them; null when there is none.';
comment on column sentinai.stat_relay.position is 'Lowest position of its lanes.';
comment on column sentinai.stat_relay.oldest_unfinished_at is 'Time of the oldest event the broker has not acknowledged.';
comment on column sentinai.stat_relay.in_flight is 'Events sent and not yet answered.';
comment on column sentinai.stat_relay.sent_count is 'Events sent since the process started.';
comment on column sentinai.stat_relay.acked_count is 'Events acknowledged since the process started.';
comment on column sentinai.stat_relay.error_count is 'Errors since the process started.';
comment on column sentinai.stat_relay.dead_count is 'Events given up (see dead_letter, where worker_type is the relay) since the process started.';
comment on column sentinai.stat_relay.breaker is 'State of the circuit breaker: "closed", "open" or "half-open".';
comment on column sentinai.stat_relay.started_at is 'Start of the process.';
comment on column sentinai.stat_relay.last_ack_at is 'Time of the last acknowledgement.';
comment on column sentinai.stat_relay.last_error_at is 'Time of the last error.';
comment on column sentinai.stat_relay.last_error is 'What the last error said, also of a process before this one.';
comment on column sentinai.stat_relay.waiting_events is 'Events of its lanes set aside: for a topic that cannot be written, or to be tried again after a dead letter.';
comment on column sentinai.stat_relay.waiting_topics is 'Topics that cannot be written and have events waiting (see stat_relay_topic); null when there is none.';
comment on column sentinai.stat_relay.limits is 'How much the relay may send in a second and have on its way; null: no limits of its own.';
comment on column sentinai.stat_relay.limited is 'Whether events wait for these limits now.';
comment on column sentinai.stat_relay.blocked_by is 'Processes whose open transactions hold lanes of the relay, by retry_dead_letter() or discard_dead_letter(); 0 is a prepared transaction. These lanes stand still, others go on.';

-- Of the lanes only: how far they are behind is not asked.
create view sentinai.stat_agent with (security_barrier) as
select s.worker_type,
       t.worker_id,
       t.batch,
       pg_catalog.count(*)::int as lanes,
       pg_catalog.sum(t.open)::int as in_flight,
       pg_catalog.min(t.claimed_at) as claimed_at,
       pg_catalog.min(t.lease_until) as lease_until,
       pg_catalog.min(t.lease_until) < sentinai.stat_clock() as expired
from sentinai_internal.subscription s
     join sentinai_internal.stream f on f.stream_id = s.stream_id
     cross join lateral (select n.lanes from sentinai_internal.node n order by n.node_no desc limit 1) n
     -- The limit is for the planner, which would expect 1,000 and compile.
     cross join lateral (
         select g.lane from pg_catalog.generate_series(0, n.lanes - 1) as g (lane)
         limit 64) l
     cross join lateral (
         select u.track
         from pg_catalog.unnest(0 || array(select c.track from sentinai_internal.track c)) as u (track)
         limit 64) k
     cross join lateral sentinai.stat_lane_state(s.sub_id, l.lane + 64 * k.track) t
where t.batch is not null and sentinai.may_see_worker_type(s.worker_type)
group by 1, 2, 3;

comment on view sentinai.stat_agent is 'One row for each batch that an agent holds.';
comment on column sentinai.stat_agent.worker_type is 'The subscription.';
comment on column sentinai.stat_agent.worker_id is 'Agent, as it named itself in claim().';
comment on column sentinai.stat_agent.batch is 'The batch.';
comment on column sentinai.stat_agent.lanes is 'Lanes it holds.';
comment on column sentinai.stat_agent.in_flight is 'Events handed out and not finished.';
comment on column sentinai.stat_agent.claimed_at is 'Time of the claim.';
comment on column sentinai.stat_agent.lease_until is 'Deadline of the lease, by the server''s clock as it was when the server started; see expired.';
comment on column sentinai.stat_agent.expired is 'Whether the deadline has passed, so that the next claim takes the events over; not a matter of the wall clock, which may have been set.';

-- Neither what the event says nor what its agents have said of it, which may be
-- the same.
create view sentinai.stat_retry with (security_barrier) as
select s.worker_type,
       r.tenant_id,
       r.aggregate_id,
       r.event_id,
       r.attempt,
       r.first_failed_at,
       r.due_at
from sentinai_internal.event_retry r
     join sentinai_internal.subscription s on s.sub_id = r.sub_id
where not s.is_relay and not r.dead and sentinai.may_see_letter(r.tenant_id);

comment on view sentinai.stat_retry is 'One row for each event that waits for a retry, or behind one of its key, or is being tried again. Texts of errors are not shown: for who may read the log, RetryScheduled has them.';
comment on column sentinai.stat_retry.worker_type is 'The subscription.';
comment on column sentinai.stat_retry.tenant_id is 'Tenant of the event.';
comment on column sentinai.stat_retry.aggregate_id is 'Aggregate of the event.';
comment on column sentinai.stat_retry.event_id is 'The event.';
comment on column sentinai.stat_retry.attempt is 'Failed attempts so far; 0 for an event that only waits behind others of its key.';
comment on column sentinai.stat_retry.first_failed_at is 'Time of the first failure; null when there was none.';
comment on column sentinai.stat_retry.due_at is 'When it may be handed out; null for an event behind others of its key.';

create view sentinai.stat_info as
select s.version,
       s.preloaded,
       s.launcher_pid,
       s.sequencer_pid,
       s.sequencer_problem,
       n.lanes,
       r.round_no as last_round,
       r.taken_at as last_round_at,
       s.rounds_count,
       s.sequenced_count,
       s.unsequenced_commits,
       s.clock_ahead,
       z.paused as relay_paused,
       v.oldest as oldest_partition,
       sentinai.partitions_until() as partitions_until,
       v.wanted as retention_wanted,
       nullif(v.blocked_by, '{}') as retention_blocked_by,
       f.steps as failing_steps,
       f.since as failing_since,
       f.failures as failing_count,
       f.error as failing_error,
       (select e.extversion from pg_catalog.pg_extension e where e.extname operator(pg_catalog.=) 'sentinai') as installed_version
from sentinai.stat_server() s
     left join lateral (select x.lanes from sentinai_internal.node x order by x.node_no desc limit 1) n on true
     left join lateral sentinai.stat_round() r on true
     cross join sentinai.relay_is_paused() z (paused)
     left join sentinai.retention_status() v on true
     cross join lateral (
         select pg_catalog.array_agg(x.step order by x.failing_since) as steps,
                pg_catalog.min(x.failing_since) as since,
                (pg_catalog.array_agg(x.failure_count order by x.failing_since))[1] as failures,
                (pg_catalog.array_agg(x.sqlstate || ' ' || x.error order by x.failing_since))[1] as error
         from sentinai.stat_failures() x) f;

comment on view sentinai.stat_info is 'One row about the extension in this database.';
comment on column sentinai.stat_info.version is 'Version of the library. Another than installed_version: the server has been given a new one, and ALTER EXTENSION sentinai UPDATE is still to be run in this database.';
comment on column sentinai.stat_info.preloaded is 'Whether the library is in shared_preload_libraries, so that the workers run.';
comment on column sentinai.stat_info.launcher_pid is 'Process of the launcher; null when it does not run.';
comment on column sentinai.stat_info.sequencer_pid is 'Process of this database''s sequencer; null when it does not run.';
comment on column sentinai.stat_info.sequencer_problem is 'Why no sequencer runs: library not preloaded, no free worker slot, a standby, a template; null when one does.';
comment on column sentinai.stat_info.lanes is 'Number of lanes.';
comment on column sentinai.stat_info.last_round is 'Number of the last round.';
comment on column sentinai.stat_info.last_round_at is 'Time of the last round.';
comment on column sentinai.stat_info.rounds_count is 'Rounds since the server started.';
comment on column sentinai.stat_info.sequenced_count is 'Events of these rounds.';
comment on column sentinai.stat_info.unsequenced_commits is 'Transactions with events that no round has covered yet.';
comment on column sentinai.stat_info.clock_ahead is 'How far the event clock is ahead of the wall clock: more than seconds means the wall clock was set back.';
comment on column sentinai.stat_info.relay_paused is 'Whether the relay is paused.';
comment on column sentinai.stat_info.oldest_partition is 'Start of the oldest partition.';
comment on column sentinai.stat_info.partitions_until is 'Until when there are partitions for new events. Normally sentinai.partitions_ahead times sentinai.partition_interval from now or later; when making more fails, failing_steps has "partitions" long before this time. Null when there is none for now: publish() makes it.';
comment on column sentinai.stat_info.retention_wanted is 'Whether it is older than sentinai.retention.';
comment on column sentinai.stat_info.retention_blocked_by is 'What holds the drop up: subscriptions that lag, events that no round has seen, processes and prepared transactions with a lock, objects that depend on it; null when nothing does.';
comment on column sentinai.stat_info.failing_steps is 'What the sequencer''s process fails to do, the longest first: "rounds", or a step of maintenance. Each is tried again, less and less often, and keeps nothing else from being done. Null when all is well; stat_failures() tells of each.';
comment on column sentinai.stat_info.failing_since is 'Since when the first of them fails.';
comment on column sentinai.stat_info.failing_count is 'How often it has failed since then.';
comment on column sentinai.stat_info.failing_error is 'SQLSTATE and message of its last failure.';
comment on column sentinai.stat_info.installed_version is 'Version of the extension''s objects in this database.';
