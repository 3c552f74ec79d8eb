-- SPDX-License-Identifier: PostgreSQL
-- Many tenants that were set apart at once: each has turns of its own. A batch takes from some of them, and the next one from
-- others. Who keeps up with what it publishes stays on the common track, which has turns for each tenant there.
select plan(29);

\set tenant many-last
\ir lib/queue.sql
\ir lib/turns.sql
create function pg_temp.apart(pattern text) returns bigint language sql as $$ select count(*) from sentinai_internal.track_tenant where tenant_id ~ pattern $$;
-- one batch of so many
create procedure pg_temp.batch(most int) language plpgsql as $$
declare
    t text;
    no int := 1 + (select coalesce(max(batch), 0) from turns_served);
begin
    with got as (select row_number() over () as o, c.* from sentinai.claim('many', most) c),
        noted as (insert into turns_served (worker, batch, tenant, key, n, id)
            select 'many', no, tenant_id, aggregate_id, (payload ->> 'n')::int, event_id from got order by o)
    select min(token) into t from got;
    perform sentinai.complete(t);
    commit;
end $$;

select sentinai.unsubscribe(worker_type) from sentinai_internal.subscription where not is_relay;
select sentinai.maintain();
select sentinai.subscribe('many', '{turn}');
-- rounds keep count of what waits from the first claim on
select count(*) from sentinai.claim('many');

-- Forty tenants with a backlog
do $$ begin
    for i in 1..40 loop
        perform pg_temp.flood('many-' || i, 1500);
        commit;
    end loop;
end $$;
call pg_temp.until_sequenced('many-40');
select is(pg_temp.apart('^many-\d+$'), 40::bigint, 'forty tenants are set apart');
select is(count(distinct track), 40::bigint, 'each has a track to itself') from sentinai_internal.track_tenant where tenant_id ~ '^many-\d+$';
-- who has looked at all lanes knows which tracks have something
call pg_temp.work('many', 64, null, 8);
select is(pg_temp.wrong('many'), 0::bigint, 'in order');

-- Views know all tracks
create temp table halves as select 0 as b, c.* from sentinai.claim('many', 64) c;
do $$ begin for i in 1..7 loop insert into halves select i, c.* from sentinai.claim('many', 64) c; end loop; end $$;
select cmp_ok(count(distinct tenant_id), '>=', 30::bigint, 'batches of many tenants') from halves;
select sentinai.complete(token, array_agg(event_id)) from (select *, row_number() over (partition by b) as n from halves) x where n <= 32 group by token;
select is(lag_events, (select count(*) from sentinai.event_log where event_type = 'turn' and tenant_id ~ '^many-\d+$')
    - (select count(*) from sentinai.event_processing where worker_type = 'many' and status = 'completed'), 'what is not finished is known')
from sentinai.stat_queue where worker_type = 'many';
select is(sum(in_flight), 256::bigint, 'and so is what is out') from sentinai.stat_agent where worker_type = 'many';
select count(sentinai.complete(token)) from (select distinct token from halves) x;

truncate turns_served;
call pg_temp.work('many', 100, null, 40);
select cmp_ok(max(n), '<=', 10::bigint, 'a batch takes from some of them') from (select count(distinct tenant) n from turns_served group by batch) x;
select is(count(distinct tenant), 40::bigint, 'and all have their turn') from turns_served;
select cmp_ok(max(n) - min(n), '<=', 39::bigint, 'as many as the others, but for three turns') from (select count(*) n from turns_served group by tenant) x;
truncate turns_served;
call pg_temp.work('many', 1, null, 400);
select is(array_agg(distinct n), '{10}', 'of one event at a time each has the same') from (select count(*) n from turns_served group by tenant) x;

-- A fresh event does not wait for a turn of each of them
truncate turns_served;
select sentinai.publish('turn', 'many-fresh', 'k', '{}');
call pg_temp.until_sequenced('many-fresh');
call pg_temp.work('many', 1, 'many-fresh');
select cmp_ok(pg_temp.before('many', 'many-fresh'), '<', 10::bigint, 'a fresh event has one turn of eight');
select is(pg_temp.wrong('many'), 0::bigint, 'in order');

-- Who publishes no more than is handed out has no backlog
do $$ begin
    for i in 1..30 loop
        perform pg_temp.flood('many-steady', 100, 100 * i);
        commit;
        call pg_temp.until_sequenced('many-steady');
        for j in 1..100 loop
            call pg_temp.batch(100);
            exit when (select count(*) = 100 * i from turns_served where tenant = 'many-steady');
        end loop;
    end loop;
end $$;
select is(count(*), 3000::bigint, 'a tenant has published more than crowded_at beside them, and had it') from turns_served where tenant = 'many-steady';
select is(pg_temp.apart('steady'), 0::bigint, 'it is not set apart');
select cmp_ok(pg_temp.lag('many'), '>', 1000::bigint, 'though others wait');

-- Nine tenants that are not set apart, and two that are
call pg_temp.work('many', 1000);
do $$ begin
    for i in 1..600 loop
        perform sentinai.maintain();
        commit;
        exit when pg_temp.apart('^many-') = 0;
        perform pg_sleep(0.05);
    end loop;
end $$;
select is(pg_temp.apart('^many-'), 0::bigint, 'all have come back');
select is(pg_temp.wrong('many'), 0::bigint, 'in order');
select pg_temp.flood('many-1', 5000, 1500), pg_temp.flood('many-2', 5000, 1500);
call pg_temp.until_sequenced('many-2');
call pg_temp.work('many', 100, null, 20);
select is(pg_temp.apart('^many-'), 2::bigint, 'two are set apart again');
select cardinality(sentinai.publish_batch(array_agg('turn'::text), array_agg('many-few-' || i % 9), array_agg('k' || i), array_agg('{}'::jsonb))) from generate_series(0, 179) i;
call pg_temp.until_sequenced('many-few-8');
truncate turns_served;
-- tracks that were used before have no turns, also when a claim was taken back
begin;
select count(*) from sentinai.claim('many', 5);
rollback;
call pg_temp.batch(110);
select is(count(*) filter (where tenant ~ 'few'), 90::bigint, 'nine of eleven turns are those of the nine') from turns_served;
select is(count(*) filter (where tenant = 'many-1'), 10::bigint, 'and one each of the two others') from turns_served;
call pg_temp.work('many', 1000);
select is(pg_temp.wrong('many'), 0::bigint, 'in order');
select is(pg_temp.lag('many'), 0::bigint, 'nothing is left');

-- Who reads from the beginning reads all of it in one order, what is on tracks that were given back and taken again too
select is(count(*) filter (where last_round is null and track not in (select track from sentinai_internal.track_tenant)), 0::bigint,
    'tracks that nobody has any more have a last round') from sentinai_internal.track;
select cmp_ok(count(*) filter (where last_round < (select max(round_no) from sentinai_internal.round)), '>=', 38::bigint, 'and had none since')
from sentinai_internal.track;
select sentinai.subscribe('many-past', '{turn}', start_from => 'earliest');
call pg_temp.work('many-past', 1000);
select is(pg_temp.wrong('many-past'), 0::bigint, 'in order');
select is((select count(*) from turns_served where worker = 'many-past' and tenant like 'many-%'), (select count(*) from sentinai.event_log where event_type = 'turn' and tenant_id like 'many-%'), 'and complete');

-- Who fails all the time gets no more turns for it beside three hundred others
select sentinai.subscribe('many-fails', '{turn}', backoff => '{0s}', max_attempts => 1000);
create procedure pg_temp.fail_all(most int, batches int) language plpgsql as $$
begin
    for i in 1..batches loop
        with got as materialized (select c.* from sentinai.claim('many-fails', most) c),
            noted as (insert into turns_served (worker, batch, tenant, key, n, id)
                select 'many-fails', i, tenant_id, aggregate_id, 0, event_id from got)
        select into strict most most from (select count(case tenant_id when 'many-bad' then sentinai.fail(token, event_id, 'x', retry_in => '0')
            else sentinai.complete(token, array[event_id])::text end) from got) x;
        commit;
    end loop;
end $$;
select count(*) from sentinai.claim('many-fails');
select count(sentinai.publish('turn', 'many-bad', 'b' || i, '{}')) from generate_series(1, 300) i;
call pg_temp.until_sequenced('many-bad');
call pg_temp.fail_all(100, 4);
select pg_temp.flood('many-1', 3000, 6500);
select cardinality(sentinai.publish_batch(array_agg('turn'::text), array_agg('many-mild-' || i % 300), array_agg('k' || i), array_agg('{}'::jsonb))) from generate_series(0, 899) i;
call pg_temp.until_sequenced('many-mild-299');
truncate turns_served;
call pg_temp.fail_all(10, 60);
select is(count(*), 600::bigint, 'batches are full') from turns_served;
select cmp_ok(count(*) filter (where tenant = 'many-bad'), '<=', 360::bigint, 'retries have one turn of eight, and half of those in lanes where both wait') from turns_served;
select cmp_ok(count(*) filter (where tenant = 'many-bad'), '>', 30::bigint, 'and no less') from turns_served;

select sentinai.unsubscribe(w) from unnest('{many,many-past,many-fails}'::text[]) w;
drop table turns_served;
select * from finish();
