-- SPDX-License-Identifier: PostgreSQL
-- What no reader could hold: publish() refuses it, and claim() gives it up
-- when it came from elsewhere.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(36);

-- 150 kB stored, 1.2 GB as text
create temp table bomb as select jsonb_build_object('x', jsonb_agg('1e131071'::numeric)) as value from generate_series(1, 9000);
create function pg_temp.bomb() returns jsonb language sql as 'select value from bomb';
create function pg_temp.bomb(n int) returns jsonb language sql as $$
    select jsonb_build_object('x', jsonb_agg('1e131071'::numeric)) from generate_series(1, n) $$;
create function pg_temp.deep(n int) returns jsonb language sql as $$
    select ('{"a":' || repeat('[', n - 1) || repeat(']', n - 1) || '}')::jsonb $$;

-- publish(), publish_batch(), outbox
select throws_ok($$select sentinai.publish('Bomb', 'fit', 'b', pg_temp.bomb())$$, 'SN413',
                 'payload must not be larger than 1024 kB as text', 'text of more than a gigabyte');
select throws_ok($$select sentinai.publish('Bomb', 'fit', 'b', pg_temp.bomb(8))$$, 'SN413', null, 'text of a little over the limit');
select lives_ok($$select sentinai.publish('Bomb', 'fit', 'b', pg_temp.bomb(7))$$, 'and of a little less');
select throws_ok($$select sentinai.publish('Bomb', 'fit', 'b', '{}', metadata => '{"x": 1e70000}')$$, 'SN413',
                 'metadata must not be larger than 64 kB as text', 'metadata');
select throws_ok($$select sentinai.publish_batch('{Ok,Bomb}', '{fit,fit}', '{b,b}', array['{}', pg_temp.bomb()])$$, 'SN413',
                 'event 2 of the batch: payload must not be larger than 1024 kB as text', 'in a batch');
select throws_ok($$select sentinai.publish_batch('{Ok}', '{fit}', '{b}', '{"{}"}', metadata => '{"x": 1e70000}')$$, 'SN413', null, 'metadata of a batch');
select throws_ok($$insert into sentinai.outbox (tenant_id, aggregatetype, aggregateid, type, payload) values ('fit', 'a', 'b', 'Bomb', pg_temp.bomb())$$,
                 'SN413', null, 'in the outbox');
select throws_ok($$select sentinai.publish('Deep', 'fit', 'b', pg_temp.deep(6000))$$, 'SN422',
                 'payload must not be nested more than 500 levels deep', 'thousands of brackets');
select throws_ok($$select sentinai.publish('Deep', 'fit', 'b', pg_temp.deep(501))$$, 'SN422', null, 'one level too many');
select lives_ok($$select sentinai.publish('Deep', 'fit', 'b', pg_temp.deep(500))$$, 'as many as allowed');
select throws_ok($$select sentinai.publish('Deep', 'fit', 'b', '{}', metadata => pg_temp.deep(501))$$, 'SN422', null, 'deep metadata');
select throws_ok($$select sentinai.publish_batch('{Deep}', '{fit}', '{b}', array[pg_temp.deep(501)])$$, 'SN422', null, 'deep in a batch');
select throws_ok($$insert into sentinai.outbox (tenant_id, aggregatetype, aggregateid, type, payload) values ('fit', 'a', 'b', 'Deep', pg_temp.deep(501))$$,
                 'SN422', null, 'deep in the outbox');

-- The size is that of the text, to the byte.  The 2,000 booleans take more room as text than as stored.
create function pg_temp.sized(value jsonb, bytes int) returns jsonb language sql as $$
    select jsonb_set(p, '{p}', to_jsonb(repeat('x', bytes - octet_length(p::text))))
    from (select jsonb_build_object('p', '', 'v', value, 'n', (select jsonb_agg(true) from generate_series(1, 2000))) p) q $$;
create function pg_temp.publishes(payload jsonb) returns text language plpgsql as $$
begin
    perform sentinai.publish('Sized', 'fit', 'b', payload);
    return 'yes';
exception when sqlstate 'SN413' then return 'no';
end $$;
select is(string_agg(v, ', ') filter (where pg_temp.publishes(pg_temp.sized(v::jsonb, 1048576)) <> 'yes' or pg_temp.publishes(pg_temp.sized(v::jsonb, 1048577)) <> 'no'), null,
          'what publish() measures is the text')
from unnest(array['0', '-0', '0.0', '1', '-1', '12', '123', '1234', '12345', '10000', '99999999', '-100000000', '1.5', '0.1', '-0.001', '0.0001', '0.00001', '1e-7',
                  '1e-1000', '-1.25e-300', '123456789.987654321', '1e63', '1e255', '1e256', '-1e257', '1.5e300', '12e1000', '1e131071', '1e-16383', '0.000',
                  '1234567890123456789012345678901234567890.5', 'true', 'false', 'null', '"a"', '"\"\\\b\f\n\r\t\u0001\u001f/ \u007f"', '"größe €"', '[]', '{}', '[[], {}]',
                  '[1]', '[1, "2", null]', '{"a": 1}', '{"a\nb": {"c": [1.50, true]}, "": ""}']) v;

-- What is in the log anyway
create function pg_temp.publish(key text, n int, type text) returns uuid[] language sql as $$
    select sentinai.publish_batch(array_agg(type), array_agg('fit'::text), array_agg(key), array_agg(jsonb_build_object('n', i) order by i))
    from generate_series(1, n) i $$;
-- publish n events of a key, of which one gets another payload before anybody sees it
create function pg_temp.smuggle(key text, n int, type text, nth int, value jsonb, into_metadata boolean default false) returns uuid language plpgsql as $$
declare ids uuid[] := pg_temp.publish(key, n, type); part regclass;
begin
    select tableoid::regclass into part from sentinai_internal.event_log where event_id = ids[nth];
    set local allow_system_table_mods = on;
    execute format('alter table %s disable trigger refuse_change, disable trigger refuse_change_of_row', part);
    execute format('update %s set %I = $1 where event_id = $2', part, case when into_metadata then 'metadata' else 'payload' end) using value, ids[nth];
    execute format('alter table %s enable always trigger refuse_change, enable always trigger refuse_change_of_row', part);
    return ids[nth];
end $$;
\set tenant fit
\ir lib/queue.sql
create function pg_temp.state(wt text) returns text language sql as $$
    select format('open %s parked %s done %s failed %s dead %s', sum(open), sum(parked), sum(completed), sum(failed), sum(dead)) from (
        select distinct on (lane) l.* from sentinai_internal.lane_state l join sentinai_internal.subscription s using (sub_id)
        where worker_type = wt order by lane, ver desc) x $$;

-- It dies alone, at its first attempt, and its key goes on
select sentinai.subscribe('fit-skip', '{f.skip}');
create temp table bad as
select pg_temp.smuggle('a', 3, 'f.skip', 2, pg_temp.bomb()) as bomb, pg_temp.smuggle('b', 2, 'f.skip', 1, pg_temp.deep(6000)) as deep,
       pg_temp.smuggle('c', 2, 'f.skip', 2, pg_temp.bomb(), true) as meta;
select pg_temp.take('s1', $$'fit-skip'$$);
select is(pg_temp.shown('s1', 'aggregate_id, o'), 'a1#1 a3#1 b2#1 c1#1', 'the others are handed out');
select is(pg_temp.state('fit-skip'), 'open 4 parked 0 done 0 failed 3 dead 3', 'three are dead');
select is(string_agg(status || ' ' || attempts, ', '), 'pending 1, pending 1, pending 1', 'with a letter each') from sentinai.dead_letter where worker_type = 'fit-skip';
select is((select count(*) from bad, sentinai.dead_letter where worker_type = 'fit-skip' and event_id in (bomb, deep, meta)), 3::bigint, 'which are theirs');
select ok(bool_and(reason like 'payload or metadata is too large%'), 'that says why') from sentinai.dead_letter where worker_type = 'fit-skip';
select is((select count(*) from sentinai.event_log l, bad where event_type = 'DeadLettered' and causation_id in (bomb, deep, meta)), 3::bigint, 'and an event that tells about it');
select is(sentinai.complete((select max(token) from s1)), 4, 'the batch is completed');
select is(pg_temp.state('fit-skip'), 'open 0 parked 0 done 4 failed 3 dead 3', 'nothing is left');

-- Tried again it dies again
select sentinai.retry_dead_letter(bomb, 'fit-skip', 'me') from bad;
select pg_temp.take('s2', $$'fit-skip'$$);
select is(pg_temp.shown('s2', 'aggregate_id, o'), null, 'tried again, it is not handed out');
select is((select status from sentinai.dead_letter, bad where worker_type = 'fit-skip' and event_id = bomb), 'pending', 'and its letter is pending again');
select is(pg_temp.state('fit-skip'), 'open 0 parked 0 done 4 failed 4 dead 3', 'nothing waits');

-- Alone in its lane, and more of them than a claim asks for
select pg_temp.smuggle('d', 1, 'f.skip', 1, pg_temp.deep(600)) from generate_series(1, 5);
select pg_temp.publish('d', 1, 'f.skip');
select pg_temp.take('s3', $$'fit-skip', 1$$);
select is(pg_temp.shown('s3', 'aggregate_id, o'), 'd1#1', 'a claim goes past many');
select is(sentinai.complete((select max(token) from s3)), 1, 'and has what comes behind them');

-- With on_dead => 'block' its key stops there
select sentinai.subscribe('fit-block', '{f.block}', on_dead => 'block');
insert into bad (bomb) select pg_temp.smuggle('a', 3, 'f.block', 2, pg_temp.bomb());
select pg_temp.publish('b', 1, 'f.block');
select pg_temp.take('b1', $$'fit-block'$$);
select is(pg_temp.shown('b1', 'aggregate_id, o'), 'a1#1 b1#1', 'what comes behind it in its key waits');
select is(pg_temp.state('fit-block'), 'open 2 parked 2 done 0 failed 1 dead 1', 'with it');
select is(sentinai.complete((select max(token) from b1)), 2, 'the others are completed');
select sentinai.discard_dead_letter(event_id, worker_type, 'me', 'no use') from sentinai.dead_letter where worker_type = 'fit-block';
select pg_temp.take('b2', $$'fit-block'$$);
select is(pg_temp.shown('b2', 'aggregate_id, o'), 'a3#1', 'until it is discarded');
select is(sentinai.complete((select max(token) from b2)), 1, 'then it goes on');

-- Behind a failing event of its key
select sentinai.subscribe('fit-park', '{f.park}', backoff => '{1ms}');
select pg_temp.smuggle('a', 3, 'f.park', 2, pg_temp.bomb());
select pg_temp.take('p1', $$'fit-park', 1$$);
select is(sentinai.fail(token, event_id, 'no'), 'retrying', 'an event fails before it') from p1;
\ir lib/drain.sql
call pg_temp.drain('fit-park', 2);
select is(string_agg(what, ' ' order by o), 'a1#2 a3#1', 'the others of its key come in order') from drained;
select is((select sum(parked) || ' ' || sum(completed) || ' ' || sum(dead) from (
    select distinct on (lane) l.* from sentinai_internal.lane_state l join sentinai_internal.subscription s using (sub_id)
    where worker_type = 'fit-park' order by lane, ver desc) x), '0 2 1', 'it is dead, and nothing waits');

select sentinai.unsubscribe(w) from unnest('{fit-skip,fit-block,fit-park}'::text[]) w;
select is((select count(*) from sentinai_internal.event_retry r where not exists (select from sentinai_internal.subscription s where s.sub_id = r.sub_id)), 0::bigint, 'nothing stays behind');
select * from finish();
