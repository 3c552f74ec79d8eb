-- SPDX-License-Identifier: PostgreSQL
-- Retries that are due and new events take turns: in a lane, among lanes, and
-- beside tracks; whoever has many of one kind does not keep others from theirs.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(22);

\set tenant due-last
\ir lib/queue.sql
create table due_served (o bigint generated always as identity, worker text, batch int, tenant text, key text, n int, attempt int, id uuid);
create function pg_temp.publish(tenant text, keys text[], n int, first int default 0) returns void language sql as $$
    select sentinai.publish_batch(array_agg('due'::text), array_agg(tenant), array_agg(keys[1 + i % cardinality(keys)]), array_agg(jsonb_build_object('n', i)))
    from generate_series(first + 1, first + n) i $$;
create function pg_temp.last() returns void language sql as $$ select sentinai.publish('due', 'due-last', 'k', '{"n": 1}') $$;
-- keys(tenant, lane, n): keys of a tenant that are all in a lane
create function pg_temp.keys(tenant text, lane int, n int) returns text[] language sql as $$
    select array_agg(k) from (select 'k' || i as k from generate_series(1, 100000) i
        where (sentinai.partition_hash(tenant || ':k' || i) & 2147483647) % 64 = lane limit n) x $$;
-- fail_all(wt): the first event of each key fails, and its retry is due at once;
-- what else there is of the key waits behind it
create function pg_temp.fail_all(wt text) returns bigint language sql as $$
    select pg_temp.sequenced();
    with got as materialized (select row_number() over () as o, c.* from sentinai.claim(wt, 10000) c),
        firsts as (select distinct on (tenant_id, aggregate_id) token, event_id from got order by tenant_id, aggregate_id, o)
    select count(sentinai.fail(token, event_id, 'x', retry_in => '0 s')) from firsts $$;
-- work(wt, max, batches): so many batches
create procedure pg_temp.work(wt text, max int, batches int) language plpgsql as $$
declare t text;
begin
    for i in 1..batches loop
        with got as (select row_number() over () as o, c.* from sentinai.claim(wt, max) c),
            noted as (insert into due_served (worker, batch, tenant, key, n, attempt, id)
                select wt, i, tenant_id, aggregate_id, (payload ->> 'n')::int, attempt, event_id from got order by o)
        select min(token) from got into t;
        exit when t is null;
        perform sentinai.complete(t);
        commit;
    end loop;
end $$;
create function pg_temp.wrong(wt text) returns bigint language sql as $$
    select (select count(*) from (select id, lag(id) over (partition by tenant, key order by o) as before from due_served where worker = wt) x where id < before)
        + (select count(*) - count(distinct id) from due_served where worker = wt) $$;
-- how many were tried again, and how many were new, of each batch
create function pg_temp.kinds(wt text) returns text language sql as $$
    select string_agg(again || '+' || fresh, ' ' order by batch) from (
        select batch, count(*) filter (where attempt > 1) as again, count(*) filter (where attempt = 1) as fresh from due_served where worker = wt group by batch) x $$;

-- In one lane, one event at a time: a tenant with many retries, and others' new events
select sentinai.subscribe('due-lane', '{due}');
select pg_temp.publish('due-big', pg_temp.keys('due-big', 7, 400), 400);
select pg_temp.last();
select is(pg_temp.fail_all('due-lane'), 401::bigint, 'events fail');
select pg_temp.publish('due-new', pg_temp.keys('due-new', 7, 3), 60);
select pg_temp.last();
select pg_temp.sequenced();
call pg_temp.work('due-lane', 1, 40);
select is(count(*) filter (where tenant = 'due-new'), count(*) filter (where tenant = 'due-big'), 'one at a time every other event is new') from due_served;
select is(pg_temp.wrong('due-lane'), 0::bigint, 'in the order of keys');

-- in batches, and the tenant's own
truncate due_served;
call pg_temp.work('due-lane', 10, 3);
select is(pg_temp.kinds('due-lane'), '5+5 5+5 5+5', 'in a batch half of the events are new');
truncate due_served;
call pg_temp.work('due-lane', 9, 2);
select is(pg_temp.kinds('due-lane') ~ '(4[+]5 5[+]4|5[+]4 4[+]5)', true, 'an odd event is the one''s and the other''s in turn');
truncate due_served;
select pg_temp.publish('due-big', pg_temp.keys('due-big', 7, 430), 430, 400);
select pg_temp.last();
select pg_temp.sequenced();
call pg_temp.work('due-lane', 20, 4);
select cmp_ok(count(*) filter (where attempt = 1 and tenant = 'due-big'), '>=', 15::bigint, 'its own new events of other keys come, too') from due_served;
select is(count(*) filter (where attempt = 1 and tenant = 'due-big' and key = any (pg_temp.keys('due-big', 7, 50))), 0::bigint, 'those of keys that have a retry do not') from due_served;
call pg_temp.work('due-lane', 500, 1000);
select is(pg_temp.wrong('due-lane'), 0::bigint, 'in the order of keys');
select is(lag_events, 0::bigint, 'everything comes') from sentinai.stat_queue where worker_type = 'due-lane';

-- The room that new events leave is for retries
truncate due_served;
select pg_temp.publish('due-big', pg_temp.keys('due-big', 7, 100), 100);
select pg_temp.last();
select is(pg_temp.fail_all('due-lane'), 101::bigint, 'events fail');
select pg_temp.publish('due-new', pg_temp.keys('due-new', 7, 3), 2);
select pg_temp.last();
select pg_temp.sequenced();
call pg_temp.work('due-lane', 30, 1);
select is(count(*), 30::bigint, 'a batch is full') from due_served;
call pg_temp.work('due-lane', 1000, 100);
select is(pg_temp.wrong('due-lane'), 0::bigint, 'in the order of keys');

-- Many new events do not keep retries waiting
truncate due_served;
select pg_temp.publish('due-small', pg_temp.keys('due-small', 7, 20), 20);
select pg_temp.last();
select is(pg_temp.fail_all('due-lane'), 21::bigint, 'events fail');
select pg_temp.publish('due-big', pg_temp.keys('due-big', 7, 50), 900);
select pg_temp.last();
select pg_temp.sequenced();
call pg_temp.work('due-lane', 10, 3);
select cmp_ok(count(*) filter (where tenant = 'due-small'), '>=', 10::bigint, 'retries have their half beside new events') from due_served;
call pg_temp.work('due-lane', 1000, 100);
select sentinai.unsubscribe('due-lane');

-- Among lanes: retries in all of them, and one new event
truncate due_served;
select sentinai.subscribe('due-lanes', '{due}');
select pg_temp.publish('due-big', array(select 'k' || i from generate_series(1, 4000) i), 4000);
select pg_temp.last();
select is(pg_temp.fail_all('due-lanes'), 4001::bigint, 'events fail');
call pg_temp.work('due-lanes', 1, 3);
truncate due_served;
select pg_temp.publish('due-new', pg_temp.keys('due-new', 60, 1), 1);
select pg_temp.last();
select pg_temp.sequenced();
call pg_temp.work('due-lanes', 1, 16);
select cmp_ok((select min(batch) from due_served where tenant = 'due-new'), '<=', 8, 'one at a time it comes within a few turns');
truncate due_served;
select pg_temp.publish('due-new', pg_temp.keys('due-new', 33, 1), 1);
select pg_temp.last();
select pg_temp.sequenced();
call pg_temp.work('due-lanes', 10, 2);
select is((select min(batch) from due_served where tenant = 'due-new'), 1, 'in batches with the next one');
call pg_temp.work('due-lanes', 1000, 100);
select is(pg_temp.wrong('due-lanes'), 0::bigint, 'in the order of keys');

-- Beside tracks: backlogs in some lanes, and retries in another
truncate due_served;
select pg_temp.publish('due-small', pg_temp.keys('due-small', 9, 100), 100);
select pg_temp.last();
select is(pg_temp.fail_all('due-lanes'), 101::bigint, 'events fail');
select pg_temp.publish('due-flood', pg_temp.keys('due-flood', 3, 20) || pg_temp.keys('due-flood', 4, 20), 5000);
select pg_temp.publish('due-flood2', pg_temp.keys('due-flood2', 3, 20) || pg_temp.keys('due-flood2', 5, 20), 5000);
select pg_temp.last();
select pg_temp.sequenced();
select pg_temp.publish('due-flood', pg_temp.keys('due-flood', 3, 20) || pg_temp.keys('due-flood', 4, 20), 2000, 5000);
select pg_temp.publish('due-flood2', pg_temp.keys('due-flood2', 3, 20) || pg_temp.keys('due-flood2', 5, 20), 2000, 5000);
select pg_temp.last();
select pg_temp.sequenced();
select is((select count(*) from sentinai_internal.track_tenant where tenant_id like 'due-flood%'), 2::bigint, 'two tenants are set apart');
call pg_temp.work('due-lanes', 10, 12);
select cmp_ok((select count(*) from due_served where tenant = 'due-small'), '>=', 30::bigint, 'retries of another have their share beside them');
call pg_temp.work('due-lanes', 1000, 200);
select is(pg_temp.wrong('due-lanes'), 0::bigint, 'in the order of keys');

select sentinai.unsubscribe('due-lanes');
drop table due_served;
select * from finish();
