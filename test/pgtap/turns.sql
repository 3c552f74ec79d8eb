-- SPDX-License-Identifier: PostgreSQL
-- Tenants take turns: how many events of others are served before one that comes
-- last, that order is kept, and that all is as before when all was handed out.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(47);

\set tenant turn-last
\ir lib/queue.sql
\ir lib/turns.sql

-- One transaction with many events of a tenant
select sentinai.subscribe('turn-one', '{turn}');
select pg_temp.flood('turn-big', 30000);
select pg_temp.last('turn-last');
select pg_temp.sequenced();
select is(pg_temp.lag('turn-one'), 30001::bigint, 'a backlog');
select isnt(pg_temp.track('turn-big'), null, 'its tenant is set apart');
select is(pg_temp.track('turn-last'), null, 'nobody else is');
call pg_temp.work('turn-one', 100, 'turn-last');
select cmp_ok(pg_temp.before('turn-one', 'turn-last'), '<=', 100::bigint, 'the event behind it comes with the first batch');
select is(pg_temp.lag('turn-one'), 30001 - (select count(*) from turns_served where worker = 'turn-one'), 'the lag is what is left');
call pg_temp.work('turn-one', 100);
select is(pg_temp.served('turn-one'), 'turn-big 30000, turn-last 1', 'everything comes');
select is(pg_temp.wrong('turn-one'), 0::bigint, 'once, in the order of its key');
select is(pg_temp.lag('turn-one'), 0::bigint, 'and nothing is left');

-- Many small transactions, a batch at a time, and tenants beside them
truncate turns_served;
create procedure pg_temp.floods(tenant text, calls int, n int) language plpgsql as $$
begin
    for i in 0..calls - 1 loop
        perform pg_temp.flood(tenant, n, i * n);
        commit;
        if i % 5 = 0 then
            perform pg_temp.last('turn-last', 1);
            commit;
            perform pg_temp.sequenced();
        end if;
    end loop;
end $$;
select sentinai.subscribe('turn-two', '{turn}');
call pg_temp.floods('turn-a', 40, 200);
call pg_temp.floods('turn-b', 40, 200);
select pg_temp.last('turn-fresh');
select pg_temp.last('turn-last', 5);
select pg_temp.sequenced();
select isnt(pg_temp.track('turn-a'), null, 'one by one it becomes much as well');
select isnt(pg_temp.track('turn-b'), pg_temp.track('turn-a'), 'another tenant gets another track');
call pg_temp.work('turn-two', 50, 'turn-fresh');
select cmp_ok(pg_temp.before('turn-two', 'turn-fresh'), '<', 8000::bigint, 'a fresh event waits behind no more than what was there before they were set apart');
-- until all that is gone: events of every lane have come that were behind it
select pg_temp.last('turn-sweep', 400);
do $$ begin
    for i in 1..400 loop
        call pg_temp.work('turn-two', 50, 'turn-sweep');
        exit when (select count(*) = 400 from turns_served where tenant = 'turn-sweep');
    end loop;
end $$;
select pg_temp.last('turn-fresher');
select pg_temp.last('turn-last', 5);
create temp table was as select max(o) as o from turns_served;
call pg_temp.work('turn-two', 50, 'turn-fresher');
select cmp_ok((select count(*) from turns_served, was where turns_served.o > was.o and tenant in ('turn-a', 'turn-b')), '<=', 100::bigint, 'and the next one does not');

-- Agents that take one event at a time
select pg_temp.last('turn-single');
select pg_temp.last('turn-last', 5);
update was set o = (select max(o) from turns_served);
call pg_temp.work('turn-two', 1, 'turn-single');
-- beside each event of those who are not set apart, one of each of the two
select cmp_ok(count(*) filter (where tenant in ('turn-a', 'turn-b')), '<=', 2 * (1 + count(*) filter (where tenant not in ('turn-a', 'turn-b'))), 'one at a time, a round of turns')
    from turns_served, was where turns_served.o > was.o;

-- Two with much take turns with each other
update was set o = (select max(o) from turns_served);
do $$ begin for i in 1..20 loop perform sentinai.complete(t) from (select min(token) as t from sentinai.claim('turn-two', 100)) x where t is not null; commit; end loop; end $$;
select cmp_ok(least(count(*) filter (where tenant_id = 'turn-a'), count(*) filter (where tenant_id = 'turn-b')) * 3, '>=', greatest(count(*) filter (where tenant_id = 'turn-a'), count(*) filter (where tenant_id = 'turn-b')),
              'each has its share')
from sentinai.event_processing where worker_type = 'turn-two' and processed_at >= (select max(processed_at) from sentinai.event_processing p join turns_served s on p.event_id = s.id);
call pg_temp.work('turn-two', 1000);
select is(pg_temp.wrong('turn-two'), 0::bigint, 'the order of keys is kept');
select is((select count(*) from sentinai.event_processing where worker_type = 'turn-two' and tenant_id in ('turn-a', 'turn-b')), 16000::bigint, 'nothing is lost');

-- Who begins in the past gets the past in its order, and what comes then in turns
truncate turns_served;
select sentinai.subscribe('turn-past', '{turn}', 'earliest');
select pg_temp.flood('turn-a', 5000, 8000);
select pg_temp.last('turn-newest');
select pg_temp.last('turn-last', 5);
select pg_temp.sequenced();
call pg_temp.work('turn-past', 500);
select is(pg_temp.wrong('turn-past'), 0::bigint, 'the past and the present in order');
select is((select count(*) from turns_served where worker = 'turn-past' and tenant in ('turn-a', 'turn-b', 'turn-big')), 51000::bigint, 'all of it');
select is(pg_temp.lag('turn-past'), 0::bigint, 'and no lag');

-- Back to the common track
select sentinai.maintain();
select isnt(pg_temp.track('turn-a'), null, 'while a subscription has not passed it a tenant stays apart');
call pg_temp.work('turn-one', 1000);
call pg_temp.work('turn-two', 1000);
select is((select sum(lag_events) from sentinai.stat_queue where worker_type like 'turn-%'), 0::numeric, 'everybody has passed everything');
create procedure pg_temp.maintained() language plpgsql as $$
begin
    for i in 1..200 loop
        perform sentinai.maintain();
        commit;
        exit when not exists (select from sentinai_internal.track_tenant where tenant_id like 'turn-%');
        perform pg_sleep(0.05);
    end loop;
end $$;
select sentinai.unsubscribe(worker_type) from sentinai_internal.subscription where worker_type not like 'turn-%' and not is_relay;
call pg_temp.maintained();
select is((select count(*) from sentinai_internal.track_tenant where tenant_id like 'turn-%'), 0::bigint, 'then it is one of many again');
truncate turns_served;
select pg_temp.flood('turn-a', 100, 13000);
select pg_temp.last('turn-last', 5);
select pg_temp.sequenced();
select pg_temp.flood('turn-a', 3000, 13100);
select pg_temp.last('turn-last', 5);
select pg_temp.sequenced();
call pg_temp.work('turn-one', 70);
select is((select count(*) from turns_served where tenant = 'turn-a'), 3100::bigint, 'events before and after it was set apart again');
select is(pg_temp.wrong('turn-one'), 0::bigint, 'in order');

-- A key that fails on one track and goes on on another
truncate turns_served;
call pg_temp.work('turn-past', 1000);
call pg_temp.work('turn-two', 1000);
call pg_temp.maintained();
select sentinai.subscribe('turn-fails', '{turn}', backoff => '{0s}', max_attempts => 1000);
select pg_temp.flood('turn-c', 97);
select pg_temp.last('turn-last', 5);
select pg_temp.sequenced();
create temp table failing as select token, event_id from sentinai.claim('turn-fails', 1000) where tenant_id = 'turn-c' and aggregate_id = 'k5';
select is(count(*), 1::bigint, 'one to fail') from failing;
select is(sentinai.fail(token, event_id, 'x', retry_in => '1 hour'), 'retrying', 'it fails') from failing;
select cmp_ok(sentinai.complete(token), '>', 0, 'the others do not') from failing;
select pg_temp.flood('turn-c', 3000, 97);
select pg_temp.last('turn-last', 5);
select pg_temp.sequenced();
select isnt(pg_temp.track('turn-c'), null, 'its tenant is set apart');
call pg_temp.work('turn-fails', 100);
select is((select count(*) from turns_served where worker = 'turn-fails' and tenant = 'turn-c' and key = 'k5'), 0::bigint, 'its key waits on the other track, too');
select is((select count(*) from turns_served where worker = 'turn-fails' and tenant = 'turn-c'), (select count(*) from generate_series(98, 3097) i where i % 97 <> 5), 'no other key does');
select is(sentinai.retry_event(event_id, 'turn-fails', 'me') is not null, true, 'tried again') from failing;
call pg_temp.work('turn-fails', 100);
select is((select array_agg(n order by o) from turns_served where worker = 'turn-fails' and tenant = 'turn-c' and key = 'k5'),
          (select array_agg(i order by i) from generate_series(1, 3097) i where i % 97 = 5), 'and all of the key come in order');
select is(pg_temp.lag('turn-fails'), 0::bigint, 'nothing is left');

-- Batches given back, lost, and half done
truncate turns_served;
select pg_temp.flood('turn-d', 200);
select pg_temp.last('turn-last', 5);
select pg_temp.sequenced();
select pg_temp.flood('turn-d', 3000, 200);
select pg_temp.last('turn-last', 5);
select pg_temp.sequenced();
do $$
declare t text; ids uuid[]; i int := 0;
begin
    while i < 10000 loop
        i := i + 1;
        with got as (select row_number() over () as o, c.* from sentinai.claim('turn-fails', 60, case when i % 5 = 4 then '1 ms' else '1 minute' end::interval) c),
            noted as (insert into turns_served (worker, batch, tenant, key, n, id)
                select 'turn-fails', i, tenant_id, aggregate_id, (payload ->> 'n')::int, event_id from got where i % 5 < 3 order by o)
        select (select min(token) from got), (select array_agg(event_id) from got) into t, ids;
        exit when t is null and (select lag_events = 0 from sentinai.stat_queue where worker_type = 'turn-fails');
        if t is null then perform pg_sleep(0.005);
        elsif i % 5 = 3 then perform sentinai.release(t);
        elsif i % 5 < 3 then perform sentinai.complete(t);
        end if;
        commit;
    end loop;
end $$;
select is((select count(*) from turns_served where tenant = 'turn-d'), 3200::bigint, 'batches given back and lost: nothing is lost');
select is(pg_temp.wrong('turn-fails'), 0::bigint, 'and the order is kept');
select is((select sum(attempts) from sentinai.dead_letter where worker_type = 'turn-fails'), null, 'nothing died');
select is((select count(*) from sentinai.event_processing where worker_type = 'turn-fails' and tenant_id = 'turn-d'), 3200::bigint, 'each is completed');

-- Many retries of a tenant whose track a batch has: nobody is sent for them, and others are served
select sentinai.subscribe('turn-many', '{turn-many}', backoff => '{0s}', max_attempts => 1000, ordered => false);
select cardinality(sentinai.publish_batch(array_agg('turn-many'::text), array_agg('turn-e'::text), array_agg('k1'::text), array_agg('{}'::jsonb))) from generate_series(1, 3000);
select pg_temp.last('turn-last', 5);
select pg_temp.sequenced();
create temp table many as select token, event_id from sentinai.claim('turn-many', 300);
select is(count(*) filter (where sentinai.fail(token, event_id, 'x') = 'retrying'), 300::bigint, 'retries of a tenant that is set apart') from many;
select cmp_ok((select count(*) from sentinai.claim('turn-many', 10)), '>', 0::bigint, 'a batch of them');
call sentinai.wait_for_work('turn-many', '0', null) \gset
select is(:'ready'::boolean, false, 'there is nothing for another');
select sentinai.publish('turn-many', 'turn-last', key, '{}') from (select min(k) as key from (select 'k' || i as k from generate_series(1, 5000) i) k
    where (sentinai.partition_hash('turn-last:' || k) & 2147483647) % 64 = (sentinai.partition_hash('turn-e:k1') & 2147483647) % 64) k;
select pg_temp.sequenced();
select is((select string_agg(tenant_id, ' ') from sentinai.claim('turn-many', 10)), 'turn-last'::text, 'but what is new of others in their lane');

-- Who comes to a tenant that had all the turns has the next one
select sentinai.subscribe('turn-next', '{turn-next}');
select cardinality(sentinai.publish_batch(array_agg('turn-next'::text), array_agg('turn-e'::text), array_agg('k' || i), array_agg('{}'::jsonb))) from generate_series(1, 3000) i;
select pg_temp.last('turn-last', 5);
select pg_temp.sequenced();
create temp table nexts (o serial, tenant text);
do $$
declare t text; who text;
begin
    for i in -8..12 loop
        if i > 0 and i % 3 = 0 then
            perform sentinai.publish('turn-next', 'turn-last', 'k' || i, '{}');
            commit;
            perform pg_temp.sequenced();
        end if;
        select token, tenant_id into t, who from sentinai.claim('turn-next', 1);
        perform sentinai.complete(t);
        insert into nexts (tenant) select who where i > 0;
        commit;
    end loop;
end $$;
select is((select string_agg(right(tenant, 1), '' order by o) from nexts), repeat('eet', 4), 'who comes beside a tenant that had all the turns has the next one');

-- What was lost and has to be alone comes also beside others of its lane, which are no backlog
select sentinai.subscribe('turn-lost', '{turn-lost}');
select cardinality(sentinai.publish_batch(array_agg('turn-lost'::text), array_agg('turn-e'::text), array_agg('k1'::text), array_agg('{}'::jsonb))) from generate_series(1, 3000);
select pg_temp.last('turn-last', 5);
select pg_temp.sequenced();
select is(sentinai.complete(min(token)), 2997, 'a tenant that is set apart is served') from sentinai.claim('turn-lost', 2997);
select is((select count(*) from sentinai.claim('turn-lost', 3, '1 microsecond')), 3::bigint, 'but for a batch that is lost');
create temp table losts (o serial, tenant text);
do $$
declare t text; who text; k text := (select min(k) from (select 'k' || i as k from generate_series(1, 5000) i) k
    where (sentinai.partition_hash('turn-last:' || k) & 2147483647) % 64 = (sentinai.partition_hash('turn-e:k1') & 2147483647) % 64);
begin
    for i in 1..12 loop
        perform sentinai.publish('turn-lost', 'turn-last', k, '{}');
        commit;
        perform pg_temp.sequenced();
        select min(token), min(tenant_id) into t, who from sentinai.claim('turn-lost', 10);
        perform sentinai.complete(t);
        insert into losts (tenant) values (who);
        commit;
    end loop;
end $$;
select is((select count(*) from losts where tenant = 'turn-e'), 3::bigint, 'what was lost comes beside others of its lane');

-- A claim has as many events as were asked for, also where one lane has all
select sentinai.subscribe('turn-full', '{turn-full}');
select cardinality(sentinai.publish_batch(array_agg('turn-full'::text), array_agg('turn-e'::text), array_agg('k1'::text), array_agg(jsonb_build_object('n', i)))) from generate_series(1, 400) i;
truncate turns_served;
create temp table fulls (n bigint);
do $$
declare t text; n bigint; k text := (select min(k) from (select 'k' || i as k from generate_series(1, 5000) i) k
    where (sentinai.partition_hash('turn-last:' || k) & 2147483647) % 64 = (sentinai.partition_hash('turn-e:k1') & 2147483647) % 64);
begin
    for i in 1..24 loop
        perform sentinai.publish('turn-full', 'turn-last', case when i % 2 = 0 then k else 'k2' end, '{}');
        commit;
        perform pg_temp.sequenced();
        with got as (select row_number() over () as o, c.* from sentinai.claim('turn-full', 10) c),
            noted as (insert into turns_served (worker, batch, tenant, key, n, id)
                select 'turn-full', i, tenant_id, aggregate_id, 0, event_id from got order by o)
        select min(token), count(*) into t, n from got;
        perform sentinai.complete(t);
        insert into fulls values (n);
        commit;
    end loop;
end $$;
select is((select array_agg(distinct n) from fulls), '{10}'::bigint[], 'batches are full');
select is(pg_temp.wrong('turn-full'), 0::bigint, 'and in order');

select sentinai.unsubscribe(w) from unnest('{turn-one,turn-two,turn-past,turn-fails,turn-many,turn-next,turn-lost,turn-full}'::text[]) w;
drop table turns_served;
select * from finish();
