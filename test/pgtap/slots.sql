-- SPDX-License-Identifier: PostgreSQL
-- More subscriptions than shared memory has places for their hints: those that
-- have none look at every lane, and wait by looking again.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(9);

\set tenant slots
\ir lib/queue.sql
create temp table batch (i int, token text, event_id uuid, attempt int);

select sentinai.subscribe('slots-' || i, '{slots.a}') from generate_series(1, 200) i;
select is(count(*), 0::bigint, 'each looks for work, and takes a place if there is one') from generate_series(1, 200) i, sentinai.claim('slots-' || i);
select sentinai.publish_batch(array_agg('slots.a'::text), array_agg('slots'::text), array_agg('k' || n), array_agg('{}'::jsonb)) from generate_series(1, 10) n;
select pg_temp.sequenced();
call sentinai.wait_for_work('slots-200', '5 s', null) \gset
select ok(:'ready', 'who waits finds work');
insert into batch select i, c.token, c.event_id, c.attempt from generate_series(1, 200) i, sentinai.claim('slots-' || i) c;
select is(count(*), 2000::bigint, 'all of them get all events') from batch;
select is(sentinai.complete(min(token)), 10, 'the last one completes') from batch where i = 200;
select is(sentinai.release(min(token)), 10, 'another gives back') from batch where i = 199;
select is(count(*), 0::bigint, 'what is done does not come back') from sentinai.claim('slots-200');
select is(sentinai.complete(min(token)), 10, 'what was given back does') from sentinai.claim('slots-199');

-- what nobody hints at is found by its time
select sentinai.publish('slots.a', 'slots', 'k1', '{}');
select pg_temp.sequenced();
select is(sentinai.fail(token, event_id, 'e', retry_in => '1 s'), 'retrying', 'a retry waits') from sentinai.claim('slots-200');
call sentinai.wait_for_work('slots-200', '10 s', null) \gset
select is(array_agg(attempt), '{2}', 'and is found when it is due') from sentinai.claim('slots-200');

-- each takes all its lanes, and a transaction cannot have as many locks
select format('select sentinai.unsubscribe(%L)', 'slots-' || i) from generate_series(1, 200) i \gexec
select * from finish();
