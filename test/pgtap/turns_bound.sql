-- SPDX-License-Identifier: PostgreSQL
-- What one tenant's trouble costs another: a key that fails, a batch that is slow,
-- and ninety-nine events of a hundred.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(15);

\set tenant bound-last
\ir lib/queue.sql
create table bound_served (o bigint generated always as identity, batch int, tenant text, key text, n int, id uuid);
create function pg_temp.publish(tenant text, keys text[], n int, first int default 0) returns void language sql as $$
    select sentinai.publish_batch(array_agg('bound'::text), array_agg(tenant), array_agg(keys[1 + i % cardinality(keys)]), array_agg(jsonb_build_object('n', i)))
    from generate_series(first + 1, first + n) i $$;
create function pg_temp.last() returns void language plpgsql as $$ begin
    perform sentinai.publish('bound', 'bound-last', 'k', '{"n": 1}'); end $$;
-- keys(tenant, lane, n): keys of a tenant that are all in a lane
create function pg_temp.keys(tenant text, lane int, n int) returns text[] language sql as $$
    select array_agg(k) from (select 'k' || i as k from generate_series(1, 100000) i
        where (sentinai.partition_hash(tenant || ':k' || i) & 2147483647) % 64 = lane limit n) x $$;
-- work(max, batches, from): so many batches, completed
create procedure pg_temp.work(max int, batches int, first int default 1) language plpgsql as $$
declare t text;
begin
    for i in first..first + batches - 1 loop
        with got as (select row_number() over () as o, c.* from sentinai.claim('bound', max) c),
            noted as (insert into bound_served (batch, tenant, key, n, id)
                select i, tenant_id, aggregate_id, (payload ->> 'n')::int, event_id from got order by o)
        select min(token) from got into t;
        exit when t is null;
        perform sentinai.complete(t);
        commit;
    end loop;
end $$;
create function pg_temp.wrong() returns bigint language sql as $$
    select (select count(*) from (select id, lag(id) over (partition by tenant, key order by o) as before from bound_served) x where id < before)
        + (select count(*) - count(distinct id) from bound_served) $$;

-- A key that fails, with 500 events behind it, and others in its lane
select sentinai.subscribe('bound', '{bound}', backoff => '{1 hour}');
select pg_temp.publish('bound-bad', pg_temp.keys('bound-bad', 7, 1), 501);
select pg_temp.last();
select pg_temp.sequenced();
create temp table bad as select row_number() over () as o, c.* from sentinai.claim('bound', 10) c;
select is(sentinai.fail(token, event_id, 'x'), 'retrying', 'a key fails') from bad where tenant_id = 'bound-bad' order by o limit 1;
select sentinai.complete(min(token)) from bad;
select pg_temp.publish('bound-good', pg_temp.keys('bound-good', 7, 5), 20);
select pg_temp.last();
select pg_temp.sequenced();
-- the lane is visited once for each batch, and once for its retries alone
call pg_temp.work(10, 4);
select is(count(*) filter (where tenant = 'bound-good'), 20::bigint, 'another tenant''s keys of the lane come with the next batches') from bound_served;
select is(count(*) filter (where tenant = 'bound-bad'), 0::bigint, 'and nothing of the key') from bound_served;
select is(pg_temp.wrong(), 0::bigint, 'in order');

-- A batch that is slow: its lane waits for it, and no other lane does
truncate bound_served;
select pg_temp.publish('bound-slow', pg_temp.keys('bound-slow', 7, 1), 100);
select pg_temp.last();
select pg_temp.sequenced();
create temp table slow as select * from sentinai.claim('bound', 20) where tenant_id = 'bound-slow';
select cmp_ok(count(*), '>', 0::bigint, 'a batch of a slow key') from slow;
select pg_temp.publish('bound-good', pg_temp.keys('bound-good', 7, 5), 5, 20);
select pg_temp.publish('bound-good', pg_temp.keys('bound-good', 8, 5) || pg_temp.keys('bound-good', 50, 5), 40, 25);
select pg_temp.last();
select pg_temp.sequenced();
call pg_temp.work(50, 20);
select is(count(*) filter (where tenant = 'bound-good'), 40::bigint, 'other lanes go on') from bound_served;
select is(count(*) filter (where tenant = 'bound-slow'), 0::bigint, 'its own does not') from bound_served;
select cmp_ok(sentinai.complete(min(token)), '>', 0, 'the batch is done') from slow;
call pg_temp.work(20, 6);
select is(count(*) filter (where tenant = 'bound-good'), 45::bigint, 'then the others in its lane come') from bound_served;
select is((select count(*) from slow) + count(*) filter (where tenant = 'bound-slow'), 100::bigint, 'and all of the slow key') from bound_served;

-- Ninety-nine of a hundred events are one tenant's, and a third of them is served
truncate bound_served;
create table bound_published (n int primary key, batch int);
create procedure pg_temp.flood(rounds int) language plpgsql as $$
begin
    for i in 1..rounds loop
        perform pg_temp.publish('bound-most', array(select 'k' || k from generate_series(1, 200) k), 297, i * 297);
        perform sentinai.publish('bound', 'bound-few', 'k' || n % 10, jsonb_build_object('n', n)) from generate_series(i * 3, i * 3 + 2) n;
        insert into bound_published select n, i from generate_series(i * 3, i * 3 + 2) n;
        perform pg_temp.last();
        commit;
        perform pg_temp.sequenced();
        call pg_temp.work(100, 1, i);
    end loop;
end $$;
call pg_temp.flood(100);
select is((select count(*) from bound_served where tenant = 'bound-most') between 7000 and 10000, true, 'a third of what was published is served');
select is((select max(coalesce(s.batch, 1000) - p.batch) from bound_published p left join bound_served s on s.tenant = 'bound-few' and s.n = p.n
           where p.batch between 61 and 97) <= 2, true, 'an event of the small tenant comes within two batches, once what was before the other was set apart is gone');
call pg_temp.work(1000, 200, 1001);
select is((select string_agg(tenant || ' ' || n, ', ' order by tenant) from (select tenant, count(*) n from bound_served where tenant in ('bound-most', 'bound-few') group by 1) x),
          'bound-few 300, bound-most 29700', 'nothing is lost');
select is(pg_temp.wrong(), 0::bigint, 'nothing comes twice, and each key in its order');
select is(lag_events, 501::bigint, 'all that is left is the key that failed') from sentinai.stat_queue where worker_type = 'bound';

select sentinai.unsubscribe('bound');
drop table bound_served, bound_published;
select * from finish();
