-- SPDX-License-Identifier: PostgreSQL
-- How long and how much of a subscription one agent may hold: max_lease is a wall
-- for claim() and extend(), max_lanes for all batches of a role together, whatever
-- they call themselves, however they end, and in whatever transaction.
select plan(58);
\set tenant share
\ir lib/queue.sql

-- Sixty-four lanes with something in each; a batch of one event has one lane.
select sentinai.subscribe('share', '{sh.t}', max_lease => '10 minutes', max_lanes => 3);
select count(sentinai.publish('sh.t', 'share', 'k' || i, jsonb_build_object('n', i))) from generate_series(1, 2000) i;
create role share_one nologin;
create role share_two nologin;
select sentinai.create_roles();
grant sentinai_agent to share_one, share_two;
create table share_tokens (no int generated always as identity, token text, who name default current_user, lanes int);
grant all on share_tokens to public;
create function pg_temp.lanes(token text) returns int language sql as $$
    select bit_count(('x' || split_part(token, '-', 2))::bit(64))::int $$;
-- take(max, lease): claims, and returns how many lanes the batch has
create function pg_temp.take(max int default 1, lease interval default '5 minutes', worker text default null) returns int language sql as $$
    with c as materialized (select min(token) as token from sentinai.claim('share', max, lease, worker)),
         t as (insert into share_tokens (token, lanes) select token, pg_temp.lanes(token) from c where token is not null returning lanes)
    select coalesce((select lanes from t), 0) $$;
create function pg_temp.token(back int default 0) returns text language sql as $$
    select token from share_tokens where who = current_user order by no desc offset back limit 1 $$;
create function pg_temp.held() returns bigint language sql as $$
    select count(*) from sentinai_internal.lane_state s
    where batch is not null and sub_id = (select sub_id from sentinai_internal.subscription where worker_type = 'share')
          and ver = (select max(ver) from sentinai_internal.lane_state x where x.sub_id = s.sub_id and x.lane = s.lane) $$;

-- What a subscription says
select is((select (max_lease, max_lanes)::text from sentinai.stat_queue where worker_type = 'share'), '(00:10:00,3)', 'stat_queue shows both');
select sentinai.subscribe('share-plain', '{sh.none}');
select is((select (max_lease, max_lanes)::text from sentinai.stat_queue where worker_type = 'share-plain'), '("1 day",64)', 'by default all, for a day');
select sentinai.alter_subscription('share', max_attempts => 7);
select is((select (max_lease, max_lanes)::text from sentinai.stat_queue where worker_type = 'share'), '(00:10:00,3)', 'what is not named stays');
select is((select (before->>'max_lanes', after->>'max_lanes', after->>'max_lease')::text from sentinai.actions
           where object = 'share-plain' order by action_id desc limit 1), '(,64,"1 day")', 'the action log has them');
select sentinai.alter_subscription('share-plain', max_lease => '5 s', max_lanes => 2);
select is((select (before->>'max_lanes', after->>'max_lanes', before->>'max_lease', after->>'max_lease')::text from sentinai.actions
           where object = 'share-plain' order by action_id desc limit 1), '(64,2,"1 day",00:00:05)', 'and what they were');
select throws_ok(format($$select sentinai.alter_subscription('share-plain', %s)$$, a), 'SN422', null, a)
from unnest('{max_lanes => 0,max_lanes => 65,max_lanes => -1,max_lease => ''0 s'',max_lease => ''-1 s'',max_lease => ''25 hours''}'::text[]) a;
select throws_ok($$select sentinai.subscribe('share-plain', max_lanes => null)$$, '22004', null, 'subscribe() takes no null');
select throws_ok($$select sentinai.subscribe('share-plain', max_lease => null)$$, '22004', null, 'of either');

-- The longest lease
select pg_temp.sequenced();
select throws_ok($$select sentinai.claim('share', 1, '10 minutes 1 ms')$$, 'SN422', 'lease is longer than the subscription allows', 'a longer lease is refused');
select is(pg_temp.take(1, '10 minutes'), 1, 'the longest is given');
select throws_ok($$select sentinai.extend(pg_temp.token(), '11 minutes')$$, 'SN422', 'lease is longer than the subscription allows', 'extend() obeys');
select lives_ok($$select sentinai.extend(pg_temp.token(), '10 minutes')$$, 'and gives as much, again and again');
select sentinai.release(pg_temp.token());

-- The share
select is(pg_temp.take(1000), 3, 'a claim for everything gets three lanes');
select is(pg_temp.take(1000, worker => 'another'), 0, 'and the next one nothing, under whatever name');
begin;
savepoint ended;
select sentinai.unsubscribe('share');
rollback to ended;
commit;
select is(pg_temp.take(1000), 0, 'nor when somebody has ended the subscription, and rolled that back to a savepoint');
select is(pg_temp.held(), 3::bigint, 'three are held');
set role share_one;
select is((pg_temp.take(), pg_temp.take(), pg_temp.take(), pg_temp.take())::text, '(1,1,1,0)', 'another role has its own share');
reset role;
select is(pg_temp.take(), 0, 'which is nobody else''s');
select sentinai.complete(pg_temp.token());
select is(pg_temp.take(1000), 3, 'what is completed counts no more');
select sentinai.release(pg_temp.token());
select is(pg_temp.take(), 1, 'nor what is released');
select sentinai.revoke_lease('share', (select batch from sentinai.stat_agent where worker_type = 'share' order by claimed_at desc limit 1));
select is(pg_temp.take(1000), 3, 'nor what is revoked');
select is((select sum(in_flight) > 3 from sentinai.stat_agent where worker_type = 'share'), true, 'a share is of lanes, not of events');

-- In one transaction: what it gives back it may take; what is undone is as before
begin;
select sentinai.complete(pg_temp.token());
select is(pg_temp.take(1000), 3, 'complete and claim in one transaction');
rollback;
select is(pg_temp.take(), 0, 'rolled back, all is held still');
begin;
savepoint a;
select sentinai.complete(pg_temp.token());
rollback to a;
select is(pg_temp.take(), 0, 'nor does a savepoint make room');
savepoint b;
select sentinai.complete(pg_temp.token());
release b;
select is(pg_temp.take(1000), 3, 'one that is released does');
rollback;
select is(pg_temp.take(), 0, 'and that is undone with the rest');
begin;
savepoint c;
select sentinai.complete(pg_temp.token());
select cmp_ok(pg_temp.take(2), '>', 0, 'a claim in a savepoint');
rollback to c;
select sentinai.complete(pg_temp.token());
commit;
select is(pg_temp.take(1000), 3, 'and one after it that commits');
select sentinai.release(pg_temp.token());

-- In a prepared one, which ends in whatever session
select is(pg_temp.take(1000), 3, 'three again');
begin;
select sentinai.complete(pg_temp.token());
prepare transaction 'share';
select is(pg_temp.take(), 0, 'what a prepared transaction completes counts');
rollback prepared 'share';
select is(pg_temp.take(), 0, 'rolled back, it is held still');
begin;
select sentinai.complete(pg_temp.token());
prepare transaction 'share';
call sentinai.wait_for_work('share', '0', null) \gset
select is(:'ready'::text, 'f', 'so there is no work for the role');
commit prepared 'share';
call sentinai.wait_for_work('share', '0', null) \gset
select is(:'ready'::text, 't', 'committed, there is');
select is(pg_temp.take(1000), 3, 'and it counts no more');
begin;
select sentinai.release(pg_temp.token());
prepare transaction 'share';
commit prepared 'share';
begin;
select is(pg_temp.take(), 1, 'nor for a claim without a look before');
select sentinai.release(pg_temp.token());
rollback;
select is(pg_temp.take(1000), 3, 'and what is rolled back is as before');
select sentinai.release(pg_temp.token());

-- What a prepared one has claimed
begin;
select pg_temp.take(1000);
prepare transaction 'share';
select is(pg_temp.take(), 0, 'a claim that is prepared counts');
call sentinai.wait_for_work('share', '0', null) \gset
select is(:'ready'::text, 'f', 'so there is no work for the role');
rollback prepared 'share';
select is(pg_temp.take(1000), 3, 'rolled back, it was none');
select sentinai.release(pg_temp.token());
select is(pg_temp.take(1000, '1 s'), 3, 'a short lease');
begin;
select sentinai.extend(pg_temp.token(), '10 minutes');
prepare transaction 'share';
rollback prepared 'share';
call sentinai.wait_for_work('share', '10 s', null) \gset
select is(:'ready'::text, 't', 'that was not extended in the end counts no longer than it is');
select sentinai.complete(pg_temp.token());
begin;
select pg_temp.take(1000);
prepare transaction 'share';
commit prepared 'share';
select is(pg_temp.take(), 0, 'committed, it counts');
select sentinai.release(pg_temp.token());
select is(pg_temp.take(1000), 3, 'until the batch ends');
select sentinai.release(pg_temp.token());

-- A lease that runs out. Lost lanes are the first that a claim comes to, so none does here.
select pg_temp.take(), pg_temp.take(), pg_temp.take(1, '1 ms');
create temp table late as select pg_temp.token() as token, pg_temp.token(1) as other;
call sentinai.wait_for_work('share', '10 s', null) \gset
select is(:'ready'::text, 't', 'lanes whose lease is over count no more');
select sentinai.alter_subscription('share', max_lanes => 2);
select throws_ok(format($$select sentinai.extend(%L, '1 minute')$$, token), 'SN429', 'role holds all the lanes that it may', 'nor do they come back beside others') from late;
select is(sentinai.complete((select token from late)) > 0, true, 'though what was done in time for nobody else counts');
select lives_ok($$select sentinai.extend((select other from late), '1 minute')$$, 'a batch whose lease runs is extended');
select sentinai.alter_subscription('share', max_lanes => 1);
select lives_ok($$select sentinai.extend((select other from late), '1 minute')$$, 'also when the share has become smaller');
select is(pg_temp.take(), 0, 'which holds from the next claim on');

-- wait_for_work() does not say that there is work for one who gets none
call sentinai.wait_for_work('share', '0', null) \gset
select is(:'ready'::text, 'f', 'nothing for a role that has its share');
set role share_two;
call sentinai.wait_for_work('share', '0', null) \gset
select is(:'ready'::text, 't', 'work for another');
reset role;
select sentinai.alter_subscription('share', max_lanes => 64);
select cmp_ok(pg_temp.take(1000), '>', 0, 'and without a limit there is more');

select sentinai.unsubscribe(w) from unnest('{share,share-plain}'::text[]) w;
drop table share_tokens;
drop owned by share_one, share_two;
drop role share_one, share_two;
select * from finish();
