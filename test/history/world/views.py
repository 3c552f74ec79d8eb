# world/views.py: what the stat_* views say beside a plain count.
# SPDX-License-Identifier: PostgreSQL
"""Both in one statement, so that they see the same. Events that are not in a
slice yet are no lag, nor are those of a stretch of time that retention has begun
to drop: everybody has passed them. What waits for a retry counts by its row:
that may outlive its partition, and its slice."""

import time

from .final import WHOLE

QUEUE = f"""
with newest as (
    select distinct on (l.lane) l.* from sentinai_internal.lane_state l
    join sentinai_internal.subscription s using (sub_id) where s.worker_type = %(w)s
    order by l.lane, l.ver desc),
retry as (
    select r.* from sentinai_internal.event_retry r
    join sentinai_internal.subscription s using (sub_id) where s.worker_type = %(w)s),
unfinished as (
    select e.event_type in ('RetryScheduled', 'DeadLettered')
        and e.payload->>'worker_type' = %(w)s as own
    from sentinai_internal.slice s cross join lateral unnest(s.event_ids) i (id)
        join sentinai_internal.event_log e on e.event_id = i.id
    where s.stream_id = 0 and e.tableoid in ({WHOLE})
        and (%(types)s::text[] is null or e.event_type = any (%(types)s))
        and not exists (select from sentinai.event_processing p
            where p.event_id = e.event_id and p.worker_type = %(w)s
                and p.status = 'completed')
        and not exists (select from retry r where r.event_id = e.event_id)
        and not exists (select from sentinai.dead_letter d
            where d.event_id = e.event_id and d.worker_type = %(w)s)
    union all
    select false from retry)
select array[q.lag_events, q.in_flight, q.retrying, q.dead],
    array[(select count(*) from unfinished where not own),
        (select coalesce(sum(open), 0) from newest where batch is not null),
        (select count(*) from retry) - (select coalesce(sum(cardinality(retries)), 0)
            from newest where batch is not null),
        (select count(*) from sentinai.dead_letter
            where worker_type = %(w)s and status = 'pending')]::bigint[],
    (select count(*) from unfinished where own)
from sentinai.stat_queue q where q.worker_type = %(w)s
"""

RELAY = """
with newest as (
    select l.lane, coalesce(n.parked, 0) as parked,
        coalesce(8 * octet_length(n.resolved) - bit_count(n.resolved), 0) as clear,
        coalesce(case when n.resolved is null then n.pos else n.end_pos end, s.start_pos) as pos
    from sentinai_internal.subscription s
        cross join generate_series(0, (select lanes from sentinai.stat_info) - 1) l (lane)
        left join lateral (select x.* from sentinai_internal.lane_state x
            where x.sub_id = s.sub_id and x.lane = l.lane
            order by x.ver desc limit 1) n on true
    where s.is_relay)
select array[(select sum(lag_events) from sentinai.stat_relay)]::bigint[],
    array[(select sum(n.parked + n.clear + (
        select count(*) from sentinai_internal.slice s
            cross join lateral unnest(s.event_ids) with ordinality i (id, o)
        where s.stream_id = 0 and mod(s.lane, 64) = n.lane
            and (s.slice_no << 8) + o - 1 >= n.pos)) from newest n)]::bigint[],
    0::bigint
"""


def sample(world, conn):
    """Rows of (who, what the view says, what there is, and how many events
    about its own failures may count until the subscription comes to them)."""
    for worker, sub in world.subs.items():
        yield (worker, *conn.execute(
            QUEUE, {"w": worker, "types": sub["types"]}).fetchone())
    if world.server.broker:
        yield ("relay", *conn.execute(RELAY).fetchone())


def compare(world, conn, patience=0):
    """Into the history. With patience: when nothing is left, and all that is
    not wanted has been passed. Before that, one whose filter was changed may
    count some of it: what it reads from the stream of all meanwhile."""
    deadline = time.monotonic() + patience
    while True:
        rows = list(sample(world, conn))
        if all(said == counted for _, said, counted, _ in rows) or \
                time.monotonic() >= deadline:
            break
        time.sleep(0.3)
    for who, said, counted, own in rows:
        if who in world.refiltered and not patience:
            continue
        world.recorder.add(f="views", w=who, said=said, counted=counted,
                           own=0 if patience else own)
