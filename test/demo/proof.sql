-- test/demo/proof.sql: what the run must have given, seen from both sides.
-- SPDX-License-Identifier: PostgreSQL
--
-- Variables: run, relayed (records the relay says it sent since the run
-- began). One row per statement: what, figures, whether it holds.

create temp table ours as
select l.event_id, m.seq, n.key, n.commit_us, l.payload, l.event_type
from demo.movement m
left join sentinai.event_log l using (event_id)
left join demo.note_published n
    on n.event_id = m.event_id and n.fate = 'committed'
where m.run = :run;

create temp table control as
select l.event_id
from sentinai.event_log l
join ours o on o.event_id = l.causation_id;

create temp table of_run as
select event_id from ours union select event_id from control;

-- first call of a handler, first copy in the broker
create temp table worked as
select event_id, min(at_ns) / 1000 as at_us
from demo.note_worked
group by event_id;

create temp table consumed as
select distinct on (event_id) *
from demo.note_consumed
order by event_id, partition, record_offset;

-- keys that had to wait for a retry do not tell how fast the way is
create temp table latency as
select w.at_us - o.commit_us as agent_us, c.at_us - o.commit_us as consumer_us
from ours o
left join worked w using (event_id)
left join consumed c using (event_id)
where o.key not in (
    select f.key
    from ours f
    join demo.note_worked r on r.event_id = f.event_id and r.outcome = 'retry');

create temp table figure as
select
    (select count(*) from ours) as stored,
    (select count(*) from sentinai.event_log
        where metadata ->> 'run' = :'run') as logged,
    (select count(*) from demo.note_published
        where run = :run and fate = 'committed') as noted,
    (select count(*) from demo.note_published
        where run = :run and fate = 'rolled back') as rolled_back,
    (select count(*) from ours join worked using (event_id)) as claimed,
    (select count(*) from ours join sentinai.event_processing p
        using (event_id)
        where p.worker_type = 'desk' and p.status = 'completed') as completed,
    (select count(*) from ours join sentinai.dead_letter d using (event_id)
        where d.worker_type = 'desk') as dead,
    (select count(*) from ours
        where event_type = 'FlightDelayed'
            and (payload ->> 'minutes')::int >= 600) as hopeless,
    (select count(*) from ours
        where event_type = 'FlightDelayed'
            and (payload ->> 'minutes')::int between 60 and 599) as late,
    (select count(distinct event_id) from ours join demo.note_worked w
        using (event_id) where w.outcome = 'retry') as retried,
    (select count(*) from control) as control,
    (select count(*) from consumed join of_run using (event_id)) as consumed,
    (select count(*) - count(distinct event_id)
        from demo.note_consumed join of_run using (event_id)) as copies,
    (select count(*) from ours o
        where not exists (select from sentinai.event_processing p
                where p.event_id = o.event_id and p.worker_type = 'desk')
            and not exists (select from sentinai.dead_letter d
                where d.event_id = o.event_id and d.worker_type = 'desk'))
        as lost_agents,
    (select count(*) from of_run r
        where not exists
            (select from consumed c where c.event_id = r.event_id))
        as lost_broker,
    (select count(*) from worked w where not exists
        (select from sentinai.event_log l where l.event_id = w.event_id))
        as phantom_agents,
    (select count(*) from consumed c where not exists
        (select from sentinai.event_log l where l.event_id = c.event_id))
        as phantom_broker,
    -- every call of a handler in time order: never back to an earlier event
    (select count(*) from
        (select o.seq < max(o.seq) over (partition by o.key
                order by w.at_ns rows between unbounded preceding
                and 1 preceding) as back
            from ours o join demo.note_worked w using (event_id)) s
        where back) as disorder_agents,
    (select count(*) from
        (select o.seq < max(o.seq) over (partition by o.key
                order by c.partition, c.record_offset
                rows between unbounded preceding and 1 preceding) as back
            from ours o join consumed c using (event_id)) s
        where back) as disorder_broker,
    (select count(*) from
        (select o.key from ours o join consumed c using (event_id)
            group by o.key
            having count(distinct (c.topic, c.partition)) > 1
                or bool_or(c.key <> o.key)) s) as split_keys;

-- 2684 -> 2,684
create function pg_temp.n(bigint) returns text immutable language sql
    as $$select to_char($1, 'FM999,999,999')$$;

select what, figures, holds
from figure f,
    lateral (values
        (1, 'published', format(
            '%s rows of the application = %s events in the log = %s noted by the publishers',
            pg_temp.n(stored), pg_temp.n(logged), pg_temp.n(noted)),
            stored > 0 and stored = logged and stored = noted),
        (2, 'worked', format('%s claimed = %s completed + %s dead',
            pg_temp.n(claimed), pg_temp.n(completed), dead),
            claimed = stored and claimed = completed + dead),
        (3, 'failures', format(
            '%s events failed, %s of them succeeded when tried again, %s died',
            retried, retried - dead, dead),
            retried = late + hopeless and dead = hopeless),
        (4, 'relayed', format(
            '%s records sent = %s consumed (%s events, %s about retries, %s copies)',
            pg_temp.n(:relayed), pg_temp.n(consumed + copies),
            pg_temp.n(stored), control, copies),
            consumed = stored + control
                and :relayed between consumed and consumed + copies),
        (5, 'lost', format('%s on the way to the agents, %s to the consumer',
            lost_agents, lost_broker), lost_agents + lost_broker = 0),
        (6, 'phantom', format(
            '%s of %s rolled back events reached an agent or the consumer',
            phantom_agents + phantom_broker, rolled_back),
            rolled_back > 0 and phantom_agents + phantom_broker = 0),
        (7, 'out of order', format(
            '%s at the agents, %s in Kafka, %s keys in two partitions',
            disorder_agents, disorder_broker, split_keys),
            disorder_agents + disorder_broker + split_keys = 0)
    ) as v (place, what, figures, holds)
order by place;
