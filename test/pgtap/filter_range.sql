-- SPDX-License-Identifier: PostgreSQL
-- A range of the common track that begins before a change of the filter, and has nothing from before it, stays as it is when
-- the earlier filter is forgotten: what it has left is handed out, what is completed is not. All keys are in one lane.
select plan(9);

\set tenant range-s
\ir lib/queue.sql
create function pg_temp.key(t text, nth int default 0) returns text language sql as $$
    select k from (select 'k' || i as k, i from generate_series(1, 9000) i) x
    where (sentinai.partition_hash(t || ':' || k) & 2147483647) % 64 = 7 order by i offset nth limit 1 $$;
-- so many of a tenant that it is set apart by the first round
create procedure pg_temp.flood(t text) language plpgsql as $$
begin
    perform sentinai.publish_batch(array_agg('range'::text), array_agg(t), array_agg(k), array_agg('{}'::jsonb)) from (select pg_temp.key(t) as k) k, generate_series(1, 1000);
    perform set_config('test.tenant', t, false);
    commit;
    perform pg_temp.sequenced();
    commit;
end $$;

select sentinai.maintain();
select sentinai.subscribe('range', '{range}');
select count(sentinai.publish('range', 'range-s', pg_temp.key('range-s'), '{"n": 0}'));
select pg_temp.sequenced();
select sentinai.complete(min(token)) from sentinai.claim('range', 10);
-- one tenant is set apart before the filter changes, and another one after it, whose claim notes what the common track has passed
call pg_temp.flood('range-a');
select sentinai.alter_subscription('range', event_types => '{range,other}');
call pg_temp.flood('range-b');
create temp table floods as select * from sentinai.claim('range', 10000);
select is((select count(*) from floods), 2000::bigint, 'a batch of both');
select is(sentinai.complete((select min(token) from floods), (select array_agg(event_id) from floods where tenant_id = 'range-b')), 1000, 'the second one''s are done');
-- a range of the common track: its first event is given back, its second one is done
select set_config('test.tenant', 'range-s', false);
select sentinai.publish('range', 'range-s', pg_temp.key('range-s'), '{"n": 1}'), sentinai.publish('range', 'range-s', pg_temp.key('range-s', 1), '{"n": 2}');
select pg_temp.sequenced();
create temp table two as select * from sentinai.claim('range', 100);
select is((select string_agg(payload ->> 'n', ' ') from two), '1 2', 'two on the common track');
select is(sentinai.complete((select min(token) from two), (select array_agg(event_id) from two where payload ->> 'n' = '2')), 1, 'the second one is done');
select is(sentinai.release((select min(token) from two)), 1, 'the first is given back');
select is(sentinai.complete((select min(token) from floods)), 1000, 'all from before the change is done');
select sentinai.maintain();
select sentinai.maintain();
create temp table rest as select * from sentinai.claim('range', 100);
select is((select string_agg(payload ->> 'n', ' ') from rest), '1', 'what was given back comes, and nothing else');
select is(sentinai.complete((select min(token) from rest)), 1, 'and is done');
select sentinai.publish('other', 'range-s', pg_temp.key('range-s', 2), '{"n": 3}');
select pg_temp.sequenced();
select is((select string_agg(payload ->> 'n', ' ') from sentinai.claim('range', 100)), '3', 'and what is new');

select sentinai.unsubscribe('range');
select * from finish();
