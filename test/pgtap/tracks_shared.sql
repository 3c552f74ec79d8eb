-- SPDX-License-Identifier: PostgreSQL
-- More tenants that were set apart than there are tracks: those who share one come back as soon as all have passed it for
-- whom somebody works, and no flood of another keeps them waiting. Who was forgotten gets what was before in one order.
select plan(33);
alter system set sentinai.max_tracks = 7;
\set setting sentinai.max_tracks
\set value 7
\ir lib/reloaded.sql

\set tenant share-last
\ir lib/queue.sql
\ir lib/turns.sql
create function pg_temp.apart() returns bigint language sql as $$ select count(*) from sentinai_internal.track_tenant where tenant_id like 'share-%' $$;
create function pg_temp.shared() returns bigint language sql as $$
    select count(*) from (select from sentinai_internal.track_tenant group by track having count(*) > 1) x $$;
create function pg_temp.in_line(wt text) returns boolean language sql as $$
    select in_line_until is not null from sentinai_internal.subscription where worker_type = wt $$;
-- the place of the last tenant's first event in what was handed out
create function pg_temp.last_place(pattern text) returns bigint language sql as $$
    select max(n) from (select tenant, min(n) as n from (select row_number() over (order by o) as n, tenant from turns_served) x
        where tenant ~ pattern group by 1) y $$;
create procedure pg_temp.until_shared(n bigint) language plpgsql as $$
begin
    for i in 1..600 loop
        exit when pg_temp.shared() = n;
        perform pg_sleep(0.05);
        commit;
    end loop;
end $$;
-- so many events of each of ten tenants, one transaction for each
create procedure pg_temp.smalls(n int, first int) language plpgsql as $$
begin
    for i in 1..10 loop
        perform pg_temp.flood('share-' || i, n, first);
        commit;
    end loop;
    perform pg_temp.last('share-last');
    commit;
    perform pg_temp.sequenced();
end $$;

select sentinai.unsubscribe(worker_type) from sentinai_internal.subscription where not is_relay;
select sentinai.maintain();
select sentinai.subscribe(w, '{turn}', backoff => '{0s}', max_attempts => 1000) from unnest('{share-busy,share-asleep}'::text[]) w;
call pg_temp.smalls(1200, 0);
select is(pg_temp.apart(), 10::bigint, 'ten tenants are set apart');
select is(pg_temp.shared(), 3::bigint, 'and share tracks');
call pg_temp.work('share-busy', 1000);
select is(pg_temp.lag('share-busy'), 0::bigint, 'one subscription has passed all');
select is(pg_temp.lag('share-asleep'), 12001::bigint, 'one has not');
select sentinai.maintain();
select is(pg_temp.apart(), 10::bigint, 'as long as somebody may work for it they stay where they are');
select is(pg_temp.in_line('share-asleep'), false, 'and it has its turns');

-- Batches of it: one is given back and one not, in lanes with several tracks; one event fails
create temp table asleep as select token, event_id from sentinai.claim('share-asleep', 50);
select is(sentinai.fail(token, event_id, 'x', retry_in => '0'), 'retrying', 'one of its events fails') from asleep limit 1;
select is(sentinai.release(min(token)) > 0, true, 'a batch is given back') from asleep;
select cmp_ok(count(*), '=', 50::bigint, 'one is lost') from sentinai.claim('share-asleep', 50, '1 microsecond');

-- Nobody works for it
alter system set sentinai.idle_after = 0;
select pg_reload_conf();
call pg_temp.until_shared(0);
select is(pg_temp.shared(), 0::bigint, 'when nobody does, those who share a track come back by themselves');
select is(pg_temp.apart(), 4::bigint, 'the others have no need to');
select is(pg_temp.in_line('share-asleep'), true, 'the forgotten one gets its tracks in line');
select is(pg_temp.in_line('share-busy'), false, 'the other does not');
alter system reset sentinai.idle_after;
select pg_reload_conf();

-- A flood beside them
truncate turns_served;
select pg_temp.flood('share-big', 20000);
call pg_temp.smalls(1, 1200);
do $$ begin
    for i in 1..10 loop
        call pg_temp.work('share-busy', 10, 'share-' || i);
        exit when (select count(distinct tenant) = 10 from turns_served where tenant ~ '-\d+$');
    end loop;
end $$;
select cmp_ok(pg_temp.last_place('-\d+$'), '<=', 100::bigint, 'each one''s fresh event comes within a few batches');
call pg_temp.work('share-busy', 1000);
select is(pg_temp.wrong('share-busy'), 0::bigint, 'in order');
select is((select count(*) from turns_served), 20011::bigint, 'and all the others');

-- Somebody comes for the forgotten one
truncate turns_served;
call pg_temp.work('share-asleep', 7, 'share-5');
create temp table woken as select * from sentinai.claim('share-asleep', 64);
select cmp_ok((select count(*) from woken), '>', 0::bigint, 'somebody works for the forgotten one');
select is(count(*), 0::bigint, 'no other has a lane of his meanwhile') from sentinai.claim('share-asleep', 64, worker_id => 'w2') c
    where exists (select from woken w where (sentinai.partition_hash(w.tenant_id || ':' || w.aggregate_id) & 2147483647) % 64
        = (sentinai.partition_hash(c.tenant_id || ':' || c.aggregate_id) & 2147483647) % 64);
select is(sentinai.release(min(token)) > 0, true, 'who gives it back') from woken;
select is(sentinai.revoke_lease('share-asleep', 'w2', 'me') >= 0, true, 'as does the other');
call pg_temp.work('share-asleep', 100);
select is(pg_temp.lag('share-asleep'), 0::bigint, 'it has passed all');
select is(pg_temp.wrong('share-asleep'), 0::bigint, 'in order, each once');
select is((select count(*) from turns_served), (select count(*) from sentinai.event_log where event_type = 'turn' and tenant_id like 'share-%'), 'and nothing is left out');
select is((select count(*) from sentinai_internal.event_retry r join sentinai_internal.subscription using (sub_id) where worker_type = 'share-asleep'), 0::bigint, 'nothing waits');

-- Side by side again
select sentinai.maintain();
select is(pg_temp.in_line('share-asleep'), false, 'what was before is over');
truncate turns_served;
select pg_temp.flood('share-big', 5000, 20000);
call pg_temp.smalls(1, 1201);
call pg_temp.work('share-asleep', 10, 'share-10');
select cmp_ok(pg_temp.last_place('-10$'), '<=', 100::bigint, 'and tenants have their turns');
call pg_temp.work('share-asleep', 1000);
select is(pg_temp.wrong('share-asleep'), 0::bigint, 'in order');

-- Who shares a track with a flood comes back when its own events are done, not when the flood is
create procedure pg_temp.until_back(tenant text) language plpgsql as $$
begin
    for i in 1..600 loop
        exit when pg_temp.track(tenant) is null;
        perform pg_sleep(0.05);
        commit;
    end loop;
end $$;
call pg_temp.work('share-busy', 1000);
do $$ begin
    for i in 1..600 loop
        perform sentinai.maintain();
        commit;
        exit when pg_temp.apart() = 0;
        perform pg_sleep(0.05);
    end loop;
end $$;
select is(pg_temp.apart(), 0::bigint, 'all have come back');
truncate turns_served;
call pg_temp.smalls(2000, 1202);
select is(pg_temp.apart(), 10::bigint, 'ten with a backlog');
create temp table pair as
select min(tenant_id) as small, max(tenant_id) as big from sentinai_internal.track_tenant group by track having count(*) = 2 limit 1;
select small, big from pair \gset
select pg_temp.flood(:'big', 20000, 3202);
select pg_temp.sequenced();
do $$ declare t text; begin
    for i in 1..1000 loop
        with got as (select row_number() over () as o, c.* from sentinai.claim('share-busy', 100) c),
            noted as (insert into turns_served (worker, batch, tenant, key, n, id)
                select 'share-busy', i, tenant_id, aggregate_id, (payload ->> 'n')::int, event_id from got order by o)
        select min(token) from got into t;
        perform sentinai.complete(t);
        commit;
        exit when (select count(*) = 2000 from turns_served, pair where tenant = small);
    end loop;
end $$;
call pg_temp.work('share-asleep', 1000);
call pg_temp.until_back(:'small');
select is(pg_temp.track(:'small'), null, 'one comes back');
select isnt(pg_temp.track(:'big'), null, 'the other does not');
select cmp_ok(pg_temp.lag('share-busy'), '>', 10000::bigint, 'as it has much left');
select pg_temp.flood(:'small', 50, 3202);
call pg_temp.work('share-busy', 1000);
select is(pg_temp.wrong('share-busy'), 0::bigint, 'in order');

select sentinai.unsubscribe(w) from unnest('{share-busy,share-asleep}'::text[]) w;
drop table turns_served;
alter system reset sentinai.max_tracks;
select pg_reload_conf();
select * from finish();
