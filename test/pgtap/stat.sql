-- SPDX-License-Identifier: PostgreSQL
-- stat_queue, stat_lane, stat_agent, stat_retry, stat_relay, stat_info: their
-- figures are those of a count of the tables, and they count no rows themselves.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(86);

-- until the last event of the log is in a slice
\set tenant stat
\ir lib/queue.sql
create function pg_temp.until(condition text) returns boolean language plpgsql as $$
declare
    met boolean;
begin
    for i in 1..600 loop
        execute 'select ' || condition into met;
        exit when met;
        perform pg_sleep(0.05);
    end loop;
    return met;
end $$;
create function pg_temp.sub() returns int language sql as $$ select sub_id from sentinai_internal.subscription where worker_type = 'stat' $$;
-- what the views say: lag, retrying, dead, completed
create function pg_temp.said() returns text language sql as $$
    select concat_ws(' ', lag_events, retrying, dead, completed_count) from sentinai.stat_queue where worker_type = 'stat' $$;
-- and what there is
create function pg_temp.counted() returns text language sql as $$
    select concat_ws(' ',
        (select count(*) from sentinai.event_log where event_type = 'stat.a')
            - (select count(*) from sentinai.event_processing where worker_type = 'stat' and status = 'completed')
            - (select count(*) from sentinai.dead_letter where worker_type = 'stat'),
        (select count(*) from sentinai_internal.event_retry where sub_id = pg_temp.sub()),
        (select count(*) from sentinai.dead_letter where worker_type = 'stat' and status = 'pending'),
        (select count(*) from sentinai.event_processing where worker_type = 'stat' and status = 'completed')) $$;

select sentinai.subscribe('stat', '{stat.a}', max_attempts => 3, backoff => '{1 hour}');
select is(pg_temp.said(), '0 0 0 0', 'a new subscription has nothing to do');
select is(lag_seconds, null, 'and no lag in seconds') from sentinai.stat_queue where worker_type = 'stat';
select is(oldest_unfinished_at, null, 'nor an oldest event') from sentinai.stat_queue where worker_type = 'stat';

-- Until its stream is filled, a subscription reads the log of all types.
select sentinai.publish('stat.a', 'stat', 'first', '{}') is not null;
select pg_temp.sequenced();
create temp table b0 as select c.* from sentinai.claim('stat') c;
select is(sentinai.complete(min(token)), 1, 'the first event') from b0;

create temp table published as
select sentinai.publish(case when n = 3 then 'stat.b' else 'stat.a' end, 'stat', 'key-' || k, jsonb_build_object('n', n)) as id, k, n
from generate_series(1, 8) n, generate_series(1, 10) k;
select pg_temp.sequenced();
select is(pg_temp.said(), '70 0 0 1', 'lag is the events of its types');
select is(pg_temp.said(), pg_temp.counted(), 'as counted');
select is(oldest_unfinished_at, (select min(sentinai.event_time(id)) from published where n <> 3), 'the oldest unfinished event is the first')
from sentinai.stat_queue where worker_type = 'stat';
select cmp_ok(lag_seconds, '>=', 0::float8, 'lag in seconds is its age') from sentinai.stat_queue where worker_type = 'stat';
select is(count(*), 64::bigint, 'stat_lane has a row for each lane') from sentinai.stat_lane where worker_type = 'stat';
select is(sum(lag_events)::int, 70, 'which add up') from sentinai.stat_lane where worker_type = 'stat';
select is(count(*), 0::bigint, 'no agent works') from sentinai.stat_agent where worker_type = 'stat';
select cmp_ok(last_claimed_at, '<=', clock_timestamp(), 'the last claim is known') from sentinai.stat_queue where worker_type = 'stat';

-- Who claims and finds nothing is seen, too.  To look takes nothing shared:
-- else there was no room left for what is known of this subscription.
select count(r) from generate_series(1000000, 1000300) n, sentinai.stat_rate(n, 1, 1) r;
select sentinai.subscribe('stat-idle', '{stat.never}');
select is(last_claimed_at, null, 'nobody has claimed') from sentinai.stat_queue where worker_type = 'stat-idle';
select is(count(*), 0::bigint, 'a claim finds nothing') from sentinai.claim('stat-idle');
select isnt(last_claimed_at, null, 'and is known') from sentinai.stat_queue where worker_type = 'stat-idle';
select sentinai.unsubscribe('stat-idle');

-- A batch
create temp table b1 as select row_number() over () as o, c.* from sentinai.claim('stat', 40, '1 hour', 'agent-1') c;
select is(in_flight, (select count(*) from b1), 'in flight is what was handed out') from sentinai.stat_queue where worker_type = 'stat';
select is(pg_temp.said(), '70 0 0 1', 'which is lag still');
select is(concat_ws(' ', worker_id, in_flight, expired), 'agent-1 ' || (select count(*) from b1) || ' f', 'stat_agent names the agent') from sentinai.stat_agent where worker_type = 'stat';
select is(lanes, (select count(distinct (sentinai.partition_hash(tenant_id || ':' || aggregate_id) & 2147483647) % 64)::int from b1), 'and its lanes') from sentinai.stat_agent where worker_type = 'stat';
select cmp_ok(lease_until - claimed_at, '=', '1 hour'::interval, 'and its lease') from sentinai.stat_agent where worker_type = 'stat';

select sentinai.complete(min(token), array_agg(event_id)) from (select distinct on (aggregate_id) * from b1 order by aggregate_id, o limit 3) s;
select is(pg_temp.said(), '67 0 0 4', 'completed events are no lag');
select is(pg_temp.said(), pg_temp.counted(), 'as counted');
select is(in_flight, (select count(*) from b1) - 3, 'nor in flight') from sentinai.stat_queue where worker_type = 'stat';

-- A retry takes the later events of its key with it
create temp table failing as
select distinct on (aggregate_id) * from b1
where event_id not in (select event_id from sentinai.event_processing where worker_type = 'stat') order by aggregate_id, o;
select is(sentinai.fail(token, event_id, 'later'), 'retrying', 'an event fails') from (select * from failing order by o limit 1) s;
select is(pg_temp.said(), pg_temp.counted(), 'a failing event is retrying, and lag, as counted');
select cmp_ok(retrying, '>=', 1::bigint, 'with those that wait behind it') from sentinai.stat_queue where worker_type = 'stat';
select is(failed_count, 1::bigint, 'one attempt failed') from sentinai.stat_queue where worker_type = 'stat';
select is(string_agg(attempt || ' ' || aggregate_id, ' '), (select '1 ' || aggregate_id from failing order by o limit 1), 'stat_retry has the one that failed')
from sentinai.stat_retry where worker_type = 'stat' and attempt > 0 and due_at > first_failed_at;
select is(count(*), (select retrying from sentinai.stat_queue where worker_type = 'stat'), 'and those behind it') from sentinai.stat_retry where worker_type = 'stat';
select is(sentinai.fail(token, event_id, 'never', retryable => false), 'dead', 'another is given up') from (select * from failing order by o offset 1 limit 1) s;
select is(pg_temp.said(), pg_temp.counted(), 'a dead one is no lag, as counted');
select is(dead, 1::bigint, 'and dead') from sentinai.stat_queue where worker_type = 'stat';
select cmp_ok(sentinai.complete(min(token)), '>', 0, 'the rest is completed') from b1;
select is(pg_temp.said(), pg_temp.counted(), 'completed, as counted');
select is(in_flight, 0::bigint, 'nothing is in flight') from sentinai.stat_queue where worker_type = 'stat';
select is(count(*), 0::bigint, 'no agent works any more') from sentinai.stat_agent where worker_type = 'stat';
select sentinai.discard_dead_letter(event_id, worker_type, 'me', 'test') from sentinai.dead_letter where worker_type = 'stat' and status = 'pending';
select is(dead, 0::bigint, 'a discarded dead letter does not count') from sentinai.stat_queue where worker_type = 'stat';

-- A lease that ran out, and all that is left
create temp table b2 as select c.* from sentinai.claim('stat', 5, '10 ms', 'agent-2') c;
select ok(pg_temp.until($$(select bool_and(expired) from sentinai.stat_agent where worker_type = 'stat')$$), 'a lease that ran out is shown');
select is(sentinai.release(min(token)), (select count(*)::int from b2), 'given back') from b2;
do $$
declare
    t text;
begin
    loop
        select min(token) into t from sentinai.claim('stat', 100);
        exit when t is null;
        commit;
        perform sentinai.complete(t);
        commit;
    end loop;
end $$;
select is(pg_temp.said(), pg_temp.counted(), 'all done but what is retried later, as counted');
select is(lag_events, retrying, 'the lag is what is retried') from sentinai.stat_queue where worker_type = 'stat';
select is(oldest_unfinished_at, (select min(sentinai.event_time(event_id)) from sentinai_internal.event_retry where sub_id = pg_temp.sub()), 'and the oldest of it the oldest unfinished')
from sentinai.stat_queue where worker_type = 'stat';

-- A retry that is handed out again waits no more
select sentinai.subscribe('stat-retry', '{stat.r}', backoff => '{0 s}');
select sentinai.publish('stat.r', 'stat', 'again', jsonb_build_object('n', n)) is not null from generate_series(1, 3) n;
select pg_temp.sequenced();
select is(sentinai.fail(token, event_id, 'once'), 'retrying', 'the first of three fails') from sentinai.claim('stat-retry', 1);
create temp table b3 as select c.* from sentinai.claim('stat-retry', 1) c;
select is(concat_ws(' ', lag_events, in_flight, retrying), '3 1 0', 'in flight, and not retrying as well') from sentinai.stat_queue where worker_type = 'stat-retry';
select is(sentinai.fail(token, event_id, 'twice', retry_in => '1 hour'), 'retrying', 'it fails again') from b3;
select is(concat_ws(' ', lag_events, in_flight, retrying), '3 0 1', 'retrying again') from sentinai.stat_queue where worker_type = 'stat-retry';
select sentinai.unsubscribe('stat-retry');

-- Filters that change under a backlog: what was sequenced before goes by the
-- filter of its time. Compared with the log by rounds, in many lanes, with
-- batches half completed and given back in between.
create temp table held (token text, n bigint);
create temp table filter_was (since bigint, types text[]);
create function pg_temp.now_wants(types text[]) returns void language plpgsql as $$
begin
    perform pg_temp.sequenced();
    insert into filter_was select max(round_no) + 1, types from sentinai_internal.round;
    perform sentinai.subscribe('stat-turn', types);
end $$;
create function pg_temp.turn_said() returns text language sql as $$
    select concat_ws(' ', lag_events, in_flight, oldest_unfinished_at) from sentinai.stat_queue where worker_type = 'stat-turn' $$;
create function pg_temp.turn_counted() returns text language sql as $$
    with wanted as (
        select e.event_id
        from sentinai_internal.slice s cross join lateral unnest(s.event_ids) i (id)
             join sentinai.event_log e on e.event_id = i.id
             cross join lateral (select w.types from filter_was w where w.since <= s.slice_no >> 14 order by w.since desc limit 1) w
        where s.stream_id = 0 and (w.types is null or e.event_type = any (w.types))),
    done as (select event_id from sentinai.event_processing where worker_type = 'stat-turn')
    select concat_ws(' ', (select count(*) from wanted) - (select count(*) from done),
        (select coalesce(sum(n), 0) from held),
        (select min(sentinai.event_time(event_id)) from (select event_id from wanted except select event_id from done) x)) $$;
create procedure pg_temp.work(n int, finish text) language plpgsql as $$
declare
    t text;
    ids uuid[];
begin
    perform pg_temp.sequenced();
    select min(token), array_agg(event_id) into t, ids from sentinai.claim('stat-turn', n);
    commit;
    if finish = 'part' then
        perform sentinai.complete(t, ids[1:n / 2]);
        commit;
        perform sentinai.release(t);
    elsif finish = 'hold' then
        insert into held values (t, cardinality(ids));
    else
        perform sentinai.complete(t);
    end if;
    commit;
end $$;
create function pg_temp.turn_publish() returns bigint language sql as $$
    select count(sentinai.publish('stat.t' || n % 3, 'stat', 'turn-' || n % 41, '{}')) from generate_series(1, 246) n $$;
select pg_temp.now_wants('{stat.t0}');
create temp table step (o int generated always as identity, what text, change text);
insert into step (what, change) values
    ('one type', null),
    ('all', $$select pg_temp.now_wants(null)$$),
    ('some completed', $$call pg_temp.work(60, 'all')$$),
    ('another type', $$select pg_temp.now_wants('{stat.t1}')$$),
    ('part given back', $$call pg_temp.work(100, 'part')$$),
    ('two types, before anything came', $$select pg_temp.now_wants('{stat.t1,stat.t2}')$$),
    ('and one again', $$select pg_temp.now_wants('{stat.t0}')$$),
    ('a batch held', $$call pg_temp.work(200, 'hold')$$),
    ('all, while it is', $$select pg_temp.now_wants(null)$$),
    ('none that there is', $$select pg_temp.now_wants('{stat.never}')$$),
    ('the batch done', $$delete from held where sentinai.complete(token) > 0$$);
select coalesce(change, 'select 1'), 'select pg_temp.turn_publish()', 'select pg_temp.sequenced()',
       format('select is(pg_temp.turn_said(), pg_temp.turn_counted(), %L)', what)
from step order by o \gexec
call pg_temp.work(300, 'all');
select is(pg_temp.turn_said(), pg_temp.turn_counted(), 'on the way');
do $$
begin
    for i in 1..100 loop
        exit when (select lag_events = 0 from sentinai.stat_queue where worker_type = 'stat-turn');
        call pg_temp.work(1000, 'all');
    end loop;
end $$;
select is(pg_temp.turn_said(), '0 0', 'at the end');
select is(pg_temp.turn_counted(), '0 0', 'as counted');
select sentinai.unsubscribe('stat-turn');

-- Dead letters outlive their subscription, and count when it comes again
create temp table letters as
select sentinai.publish('stat.d', 'stat', 'd-' || n, '{}') as id, n from generate_series(1, 4) n;
select sentinai.subscribe('stat-dead', '{stat.d}', 'earliest', max_attempts => 1);
select pg_temp.sequenced();
select sentinai.fail(token, event_id, 'x') from sentinai.claim('stat-dead');
select sentinai.retry_dead_letter(id, 'stat-dead') from letters where n <= 2;
create function pg_temp.letters_said() returns text language sql as $$
    select concat_ws(' ', dead, retrying, (select count(*) from sentinai.dead_letter where worker_type = 'stat-dead' and status = 'pending'),
        (select count(*) from sentinai.dead_letter where worker_type = 'stat-dead' and status = 'retrying')) from sentinai.stat_queue where worker_type = 'stat-dead' $$;
select is(pg_temp.letters_said(), '2 2 2 2', 'two dead, two tried again');
select sentinai.unsubscribe('stat-dead');
select is(string_agg(concat_ws(' ', status, resolved_by, resolved_at), ',' order by event_id), 'pending,pending,pending,pending', 'without their subscription all of them are pending')
from sentinai.dead_letter where worker_type = 'stat-dead';
select sentinai.discard_dead_letter(id, 'stat-dead', 'me', 'gone') from letters where n = 4;
select sentinai.subscribe('stat-dead', '{stat.d}', 'earliest', max_attempts => 1);
select is(pg_temp.letters_said(), '3 0 3 0', 'with it they count again');
select sentinai.discard_dead_letter(id, 'stat-dead', 'me', 'gone') from letters where n = 3;
select is(pg_temp.letters_said(), '2 0 2 0', 'until they are discarded');
select sentinai.retry_dead_letter(id, 'stat-dead') from letters where n = 1;
select is(pg_temp.letters_said(), '1 1 1 1', 'or tried again');
select is(array_agg(sentinai.fail(token, event_id, 'y')), '{dead,dead,dead,dead}', 'all are given up') from sentinai.claim('stat-dead');
select is(array_agg(sentinai.fail(token, event_id, 'y')), '{dead}', 'one of them from the log, too') from sentinai.claim('stat-dead');
select is(pg_temp.letters_said(), '4 0 4 0', 'and each counts once');
select sentinai.unsubscribe('stat-dead');

-- No rows are counted: a lane with 100 slices costs a row of each partition
select sentinai.publish_batch(array_fill('stat.a'::text, '{24000}'), array_fill('stat'::text, '{24000}'), array_fill('wide'::text, '{24000}'), array_fill('{}'::jsonb, '{24000}')) is not null;
select pg_temp.sequenced();
select is(pg_temp.said(), pg_temp.counted(), 'lag of many, as counted');
create function pg_temp.scanned(query text, rel text) returns numeric language plpgsql as $$
declare
    plan json;
begin
    execute 'explain (analyze, format json) ' || query into plan;
    return (select coalesce(sum((p ->> 'Actual Rows')::numeric * (p ->> 'Actual Loops')::numeric), 0)
            from jsonb_path_query(plan::jsonb, 'strict $.**') p
            where jsonb_typeof(p) = 'object' and p ->> 'Relation Name' ~ rel);
end $$;
set enable_seqscan = off;
select cmp_ok(count(*), '>=', 100::bigint, 'there are many slices') from sentinai_internal.slice where lane % 64 = (sentinai.partition_hash('stat:wide') & 2147483647) % 64;
select cmp_ok(pg_temp.scanned($$select * from sentinai.stat_lane where worker_type = 'stat' and lane = (sentinai.partition_hash('stat:wide') & 2147483647) % 64$$, '^slice'),
              '<=', 3.0 * (select count(*) from pg_inherits where inhparent = 'sentinai_internal.slice'::regclass), 'few of them are looked at');
select is(pg_temp.scanned('select * from sentinai.stat_' || v, '^event_(log|processing|idempotency)'), 0.0, 'stat_' || v || ' does not look at the log')
from unnest('{queue,agent,relay,info}'::text[]) v;
reset enable_seqscan;

-- What they cost by the planner's estimate: less than what it would compile,
-- which takes seconds. Nobody analyzes tables this small unless told to.
create function pg_temp.cost(query text) returns numeric language plpgsql as $$
declare
    plan json;
begin
    execute 'explain (format json) ' || query into plan;
    return plan -> 0 -> 'Plan' ->> 'Total Cost';
end $$;
select is(count(*), 2::bigint, 'subscriptions and streams are known to be few')
from pg_class where oid in ('sentinai_internal.subscription'::regclass, 'sentinai_internal.stream'::regclass) and reltuples >= 0 and 'autovacuum_analyze_threshold=1' = any (reloptions);
analyze sentinai_internal.subscription, sentinai_internal.stream;
select cmp_ok(pg_temp.cost('select * from sentinai.stat_' || v), '<', (select boot_val::numeric from pg_settings where name = 'jit_above_cost'), 'stat_' || v || ' is not compiled')
from unnest('{lane,queue,agent,relay}'::text[]) v;

-- The server
select is(concat_ws(' ', version, preloaded, lanes, relay_paused),
          (select extversion from pg_extension where extname = 'sentinai') || ' t 64 f', 'stat_info') from sentinai.stat_info;
select is((select string_agg(backend_type, ' ' order by backend_type) from pg_stat_activity a where a.pid in (i.launcher_pid, i.sequencer_pid)),
          'sentinai launcher sentinai sequencer', 'its processes') from sentinai.stat_info i;
select ok(pg_temp.until($$(select unsequenced_commits = 0 and rounds_count > 0 and sequenced_count >= 24080 and last_round = (select max(round_no) from sentinai_internal.round) from sentinai.stat_info)$$), 'its rounds');
select is(concat_ws(' ', count(*), min(state), count(pid)), current_setting('sentinai.relay_workers') || ' stopped 0', 'stat_relay: no broker, no relay') from sentinai.stat_relay;

-- a statement that began before the filter changed, and is answered after that
create function pg_temp.begun_before(query text) returns text language plpgsql as $$
declare
    answers refcursor;
    answer text;
begin
    open answers for execute query;
    perform sentinai.alter_subscription('stat', tenants => array['stat', 'none']);
    fetch answers into answer;
    perform sentinai.alter_subscription('stat', all_tenants => true);
    return answer;
end $$;
select is(pg_temp.begun_before($$select worker_type from sentinai.stat_queue where worker_type = 'stat'$$), 'stat', 'stat_queue, begun before a filter changed');
select is(pg_temp.begun_before($$select count(*) from sentinai.get_trace('none')$$), '0', 'and a trace');

select sentinai.unsubscribe('stat');
select * from finish();
