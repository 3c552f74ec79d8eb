-- SPDX-License-Identifier: PostgreSQL
-- Weights of tenants: whose turn it is in a claim, while order and bounds stay.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(58);

\set tenant weight-last
\ir lib/queue.sql
create table weight_served (o bigint generated always as identity, run int, batch int, tenant text, key text, id uuid);
create function pg_temp.flood(tenant text, n int) returns void language sql as $$
    select sentinai.publish_batch(array_agg('weight'::text), array_agg(tenant), array_agg('k' || i % 97), array_agg('{}'::jsonb))
    from generate_series(1, n) i $$;
-- what is published before it is sequenced when it is
create function pg_temp.last() returns void language plpgsql as $$ begin
    perform sentinai.publish('weight', 'weight-last', 'k', '{}'); end $$;
-- work(max, batches): a run of so many batches, completed
create procedure pg_temp.work(max int, batches int) language plpgsql as $$
declare
    t text;
    no int := 1 + (select coalesce(max(run), 0) from weight_served);
begin
    for i in 1..batches loop
        with got as (select row_number() over () as o, c.* from sentinai.claim('weight', max) c),
            noted as (insert into weight_served (run, batch, tenant, key, id) select no, i, tenant_id, aggregate_id, event_id from got order by o)
        select min(token) from got into t;
        exit when t is null;
        perform sentinai.complete(t);
        commit;
    end loop;
end $$;
create view weight_run as select * from weight_served where run = (select max(run) from weight_served);
-- shares(): how many events each tenant got in the run
create function pg_temp.shares() returns text language sql as $$
    select string_agg(tenant || ' ' || n, ', ' order by tenant) from (select substr(tenant, 8) as tenant, count(*) n from weight_run group by 1) x $$;
create function pg_temp.track(t text) returns int language sql as $$ select track from sentinai_internal.track_tenant where tenant_id = t $$;
-- settle(): hints say of every lane that it may have something in every track; who
-- has looked says what there is
create procedure pg_temp.settle() language plpgsql as $$ begin call pg_temp.work(20, 4); end $$;
-- rested(): all was served, and nobody is set apart
create procedure pg_temp.rested() language plpgsql as $$ begin
    call pg_temp.work(1000, 1000);
    for i in 1..3000 loop
        perform sentinai.maintain();
        commit;
        exit when not exists (select from sentinai_internal.track_tenant where tenant_id like 'weight-%');
        perform pg_sleep(0.01);
    end loop;
end $$;

-- Two tenants with a backlog
select sentinai.unsubscribe(worker_type) from sentinai_internal.subscription where not is_relay;
select sentinai.subscribe('weight', '{weight}');
-- rounds keep count of what waits from the first claim on
select count(*) from sentinai.claim('weight');
select pg_temp.flood('weight-a', 6000), pg_temp.flood('weight-b', 6000);
select pg_temp.last();
select pg_temp.sequenced();
select isnt(pg_temp.track('weight-a'), pg_temp.track('weight-b'), 'two tenants are set apart');
call pg_temp.settle();
call pg_temp.work(100, 2);
select is(pg_temp.shares(), 'a 100, b 100', 'without weights they have the same, also of a batch that is greater than those before');
select lives_ok($$select sentinai.set_weight('weight-a', 3)$$, 'a weight');
call pg_temp.work(100, 1);
select is(pg_temp.shares(), 'a 75, b 25', 'holds for the next claim');
call pg_temp.work(4, 25);
select is(pg_temp.shares(), 'a 75, b 25', 'of small batches, too');
select is(count(*), 25::bigint, 'each of which is a round of turns') from (select batch from weight_run group by 1 having count(*) filter (where tenant = 'weight-a') = 3 and count(*) = 4) x;
call pg_temp.work(1, 40);
select is(pg_temp.shares(), 'a 30, b 10', 'and of one event each');
select is(max(o - before), 4::bigint, 'one in each four') from (select o, lag(o) over (order by o) as before from weight_run where tenant = 'weight-b') x;

-- Changed while they wait
select sentinai.set_weight('weight-b', 5);
call pg_temp.work(80, 1);
select is(pg_temp.shares(), 'a 30, b 50', 'another one');
select is(sentinai.drop_weight('weight-a'), true, 'one goes');
call pg_temp.work(60, 1);
select is(pg_temp.shares(), 'a 10, b 50', 'and the other stays');
select sentinai.set_weight('*', 10);
call pg_temp.work(60, 1);
select is(pg_temp.shares(), 'a 40, b 20', 'what all others have');
select sentinai.set_weight('weight-b', 10);
call pg_temp.work(60, 1);
select is(pg_temp.shares(), 'a 30, b 30', 'the same for all, whatever it is');
select sentinai.drop_weight('weight-b'), sentinai.drop_weight('*');
call pg_temp.work(60, 1);
select is(pg_temp.shares(), 'a 30, b 30', 'and none at all');
select is(sentinai.drop_weight('weight-b'), false, 'there is nothing to drop');

-- Not before it is committed, and not when it is undone
select sentinai.set_weight('weight-a', 2);
begin;
select sentinai.set_weight('weight-a', 9);
create temp table undone as select token from sentinai.claim('weight', 20);
rollback;
call pg_temp.settle();
call pg_temp.work(60, 1);
select is(pg_temp.shares(), 'a 40, b 20', 'what was rolled back holds for nobody');
begin;
savepoint s;
select sentinai.set_weight('weight-b', 9);
rollback to s;
commit;
call pg_temp.work(60, 1);
select is(pg_temp.shares(), 'a 40, b 20', 'nor does a savepoint''s');
begin;
select sentinai.set_weight('weight-a', 5);
prepare transaction 'weights';
call pg_temp.settle();
call pg_temp.work(60, 1);
select is(pg_temp.shares(), 'a 40, b 20', 'nor what is prepared');
commit prepared 'weights';
call pg_temp.settle();
call pg_temp.work(60, 1);
select is(pg_temp.shares(), 'a 50, b 10', 'until it is committed');
update sentinai_internal.tenant_weight set weight = 1 where tenant_id = 'weight-a';
call pg_temp.work(60, 1);
select is(pg_temp.shares(), 'a 30, b 30', 'what SQL writes holds as well');
delete from sentinai_internal.tenant_weight;

-- A heavy one starves nobody: the bound is one round of turns
select sentinai.set_weight('weight-a', 100);
call pg_temp.work(1, 101);
select is(pg_temp.shares(), 'a 100, b 1', 'a hundred to one');
call pg_temp.settle();
select sentinai.publish('weight', 'weight-light', 'k' || i, '{}') from generate_series(1, 5) i;
set test.tenant = 'weight-light';
select pg_temp.sequenced();
set test.tenant = 'weight-last';
call pg_temp.work(3, 40);
-- 100 and 1 of those two, and each batch has three
select cmp_ok(count(*), '<=', 106::bigint, 'a fresh event of a light tenant') from weight_run where o < (select min(o) from weight_run where tenant = 'weight-light');
select cmp_ok(count(*), '>', 0::bigint, 'is served') from weight_run where tenant = 'weight-light';
-- who is not set apart has his weight, too
select sentinai.drop_weight('weight-a'), sentinai.set_weight('weight-few', 4);
select sentinai.publish('weight', 'weight-few', 'k' || i, '{}') from generate_series(1, 97) i;
set test.tenant = 'weight-few';
select pg_temp.sequenced();
set test.tenant = 'weight-last';
call pg_temp.work(60, 1);
select is(count(*) filter (where tenant not in ('weight-a', 'weight-b')), 40::bigint, 'a tenant that is not set apart has its weight') from weight_run;
select sentinai.drop_weight('weight-few');

-- One that failed comes again as soon, also where its tenant alone has events in its lane
select sentinai.set_weight('weight-a', 100);
create function pg_temp.lane(tenant text, key text) returns int language sql as $$ select (sentinai.partition_hash(tenant || ':' || key) & 2147483647) % 64 $$;
create temp table failing as select * from sentinai.claim('weight') where false;
do $$ begin
    for i in 1..20 loop
        insert into failing select * from sentinai.claim('weight', 102);
        exit when exists (select from failing where tenant_id = 'weight-b'
            and pg_temp.lane(tenant_id, aggregate_id) not in (select pg_temp.lane('weight-a', 'k' || g) from generate_series(0, 96) g));
        perform sentinai.complete(min(token)) from failing;
        truncate failing;
        commit;
    end loop;
end $$;
select is(sentinai.fail(token, event_id, 'x', retry_in => '0'), 'retrying', 'an event of the light one fails') from failing where tenant_id = 'weight-b'
    and pg_temp.lane(tenant_id, aggregate_id) not in (select pg_temp.lane('weight-a', 'k' || g) from generate_series(0, 96) g) limit 1;
select sentinai.complete(min(token)) from failing;
call pg_temp.work(3, 4);
select is((select count(*) from weight_run join failing on id = event_id), 1::bigint, 'and comes again with one of the next batches');
select sentinai.drop_weight('weight-a');

-- Nothing is lost, and each key is in order
call pg_temp.rested();
select is((select string_agg(tenant_id || ' ' || n, ', ' order by tenant_id) from (select tenant_id, count(*) n from sentinai.event_processing where worker_type = 'weight' and status = 'completed' and tenant_id <> 'weight-last' group by 1) x),
          'weight-a 6000, weight-b 6000, weight-few 97, weight-light 5', 'everything was served');
select is(count(*), 0::bigint, 'each key in its order') from (select id, lag(id) over (partition by tenant, key order by o) as before from weight_served where id not in (select event_id from failing)) x where id < before;
select is((select count(*) from sentinai_internal.track_tenant where tenant_id like 'weight-%'), 0::bigint, 'nobody is set apart any more');

-- A tenant that was set apart comes back with its weight
select sentinai.set_weight('weight-c', 50);
select pg_temp.flood('weight-c', 1500), pg_temp.flood('weight-d', 6000);
select pg_temp.last();
select pg_temp.sequenced();
call pg_temp.settle();
call pg_temp.work(51, 1);
select is(pg_temp.shares(), 'c 50, d 1', 'fifty to one');
call pg_temp.work(51, 40);
select sentinai.set_weight('weight-c', 3);
call pg_temp.settle();
do $$ begin for i in 1..3000 loop perform sentinai.maintain(); commit; exit when pg_temp.track('weight-c') is null; perform pg_sleep(0.01); end loop; end $$;
select is(pg_temp.track('weight-c'), null, 'all of a tenant was served, and it is back');
select isnt(pg_temp.track('weight-d'), null, 'the other one is not');
select sentinai.publish('weight', 'weight-c', 'k' || i, '{}') from generate_series(1, 97) i;
set test.tenant = 'weight-c';
select pg_temp.sequenced();
set test.tenant = 'weight-last';
call pg_temp.work(40, 1);
select is(count(*) filter (where tenant = 'weight-d'), 10::bigint, 'it has its weight there') from weight_run;
select sentinai.drop_weight('weight-c');
call pg_temp.rested();

-- Who shares a track shares the greatest weight
alter system set sentinai.max_tracks = 7;
\set setting sentinai.max_tracks
\set value 7
\ir lib/reloaded.sql
select pg_temp.flood('weight-s' || i, 1100) from generate_series(1, 8) i;
select pg_temp.last();
select pg_temp.sequenced();
create temp table two as select array_agg(tenant_id order by tenant_id) as names from sentinai_internal.track_tenant group by track having count(*) = 2;
select is((select count(*) from two), 1::bigint, 'of eight tenants two share a track');
select sentinai.set_weight(names[2], 5) from two;
call pg_temp.settle();
call pg_temp.work(22, 1);
select is(count(*), 10::bigint, 'both have the turns of the heavier') from weight_run, two where tenant = any (names);
select is(array_agg(distinct n), '{2}', 'and all others have theirs') from (select count(*) as n from weight_run, two where tenant <> all (names) group by tenant) x;
select sentinai.drop_weight(names[2]) from two;
alter system reset sentinai.max_tracks;
select pg_reload_conf();
select sentinai.unsubscribe('weight');

-- What is no weight, and no tenant
select throws_ok(format('select sentinai.set_weight(%s)', a), s, null, a) from (values
    ($$'weight-a', 0$$, 'SN422'), ($$'weight-a', -1$$, 'SN422'), ($$'weight-a', 101$$, 'SN422'), ($$'weight-a', 2147483647$$, 'SN422'),
    ($$'weight-a', -2147483648$$, 'SN422'), ($$'weight-a', null$$, '22004'), ($$null, 1$$, '22004'), ($$'', 1$$, 'SN422'), ($$'a:b', 1$$, 'SN422'),
    ($$repeat('x', 257), 1$$, 'SN422'), ($$E'a\nb', 1$$, 'SN422'), ($$'weight-a', 2147483648$$, '42883')) x (a, s);
select throws_ok($$select sentinai.drop_weight(null)$$, '22004', null, 'whose weight to drop');
select throws_ok($$select sentinai.weight_changed()$$, '39P01', null, 'the trigger''s function is for the trigger');
begin read only;
select throws_ok($$select sentinai.set_weight('weight-a', 2)$$, '25006', null, 'set_weight() not in a read-only transaction');
rollback;
select lives_ok($$select sentinai.set_weight(repeat('x', 256), 100), sentinai.drop_weight(repeat('x', 256))$$, 'the most there is');

-- Whose it is to say
select sentinai.set_weight('weight-a', 2), sentinai.set_weight('weight-b', 2), sentinai.set_weight('*', 2);
select sentinai.set_weight('weight-a', 2);
select is((select array_agg(action || coalesce(before ->> 'weight', '-') || coalesce(after ->> 'weight', '-') order by clock_id) from
           (select * from sentinai.actions where tenant_id = 'weight-a' order by clock_id desc limit 2) x), '{drop_weight100-,set_weight-2}', 'changes are recorded, and what is none is not');
create role weight_one;
grant usage on schema sentinai to weight_one;
grant execute on function sentinai.set_weight(text, int), sentinai.drop_weight(text) to weight_one;
grant select on sentinai.weights to weight_one;
set sentinai.tenant_isolation = on;
select sentinai.grant_tenant('weight_one', 'weight-a', 'operate');
set role weight_one;
select throws_ok($$select sentinai.set_weight('weight-a', 100)$$, 'SN403', null, 'who operates for one tenant gives it no more');
select throws_ok($$select sentinai.drop_weight('weight-b')$$, 'SN403', null, 'and another no less');
select is((select array_agg(tenant_id || weight) from sentinai.weights), '{weight-a2}', 'he sees its own');
reset role;
select sentinai.grant_tenant('weight_one', '*', 'operate');
set role weight_one;
select lives_ok($$select sentinai.set_weight('weight-a', 4), sentinai.drop_weight('weight-b')$$, 'who operates for all may');
select is((select array_agg(tenant_id || weight order by 1) from sentinai.weights), '{*2,weight-a4}', 'and sees all');
reset role;
set sentinai.tenant_isolation = off;
select sentinai.drop_weight(tenant_id) from sentinai.weights;
drop owned by weight_one;
drop role weight_one;
drop view weight_run;
drop table weight_served;
select * from finish();
