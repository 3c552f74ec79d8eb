-- SPDX-License-Identifier: PostgreSQL
-- claim(), complete(), extend(), release(): batches, leases, tokens, order.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(145);

do $$ begin
    -- a database's sequencer starts within seconds of CREATE EXTENSION
    for i in 1..600 loop
        perform pg_stat_clear_snapshot();
        exit when exists (select from pg_stat_activity where backend_type = 'sentinai sequencer' and datname = current_database());
        perform pg_sleep(0.05);
    end loop;
end $$;

create function pg_temp.publish(key text, n int, type text default 'q.t') returns uuid[] language sql as $$
    select sentinai.publish_batch(array_agg(type), array_agg('queue'::text), array_agg(key), array_agg(jsonb_build_object('n', i) order by i))
    from generate_series(1, n) i $$;
-- the i-th key whose lane is this one
create function pg_temp.key_in(lane int, i int) returns text language sql as $$
    select k from (select 'key' || g as k from generate_series(1, 20000) g) s
    where (sentinai.partition_hash('queue:' || k) & 2147483647) % 64 = lane order by length(k), k offset i - 1 limit 1 $$;
-- another session in this database
create function pg_temp.elsewhere() returns text language sql as $$
    select format('host=%s port=%s dbname=%s user=%s', trim(split_part(current_setting('unix_socket_directories'), ',', 1)),
                  current_setting('port'), current_database(), session_user) $$;
\set tenant queue
\ir lib/queue.sql
-- the SQLSTATE that a statement ends with, 'ok' without an error
create function pg_temp.code_of(statement text) returns text language plpgsql as $$
begin execute statement; return 'ok'; exception when others then return sqlstate; end $$;
create function pg_temp.state(wt text) returns table (open bigint, parked numeric, completed numeric, failed numeric, dead numeric, held bigint) language sql as $$
    select sum(open), sum(parked), sum(completed), sum(failed), sum(dead), count(batch) from (
        select distinct on (lane) l.* from sentinai_internal.lane_state l join sentinai_internal.subscription s using (sub_id)
        where worker_type = wt order by lane, ver desc) x $$;

-- A batch, and the end of it
select sentinai.subscribe('queue-a');
create temp table ids as select sentinai.publish('q.t', 'queue', 'x', '{"n": 1}', 'order', '{"m": 2}', 'corr', '01941f29-7c00-7000-8000-000000000001', schema_version => 3) as id;
select pg_temp.publish('x', 2);
select pg_temp.take('a', $$'queue-a', worker_id => 'host:1'$$);
select is(pg_temp.shown('a'), 'x1#1 x1#1 x2#1', 'everything of the key, in order, the first attempt');
select is((select count(distinct token) from a), 1::bigint, 'one token');
select is((select concat_ws(' ', event_id, event_type, tenant_id, aggregate_type, aggregate_id, schema_version, payload, metadata, correlation_id, causation_id) from a where o = 1),
    (select id || ' q.t queue order x 3 {"n": 1} {"m": 2} corr 01941f29-7c00-7000-8000-000000000001' from ids), 'every column');
select is((select a.occurred_at from a where o = 1), (select l.occurred_at from sentinai.event_log l join ids on id = event_id), 'occurred_at, too');
select is_empty($$select * from sentinai.claim('queue-a')$$, 'a lane in work gives nothing to others');
select results_eq($$select open, held from pg_temp.state('queue-a')$$, 'values (3::bigint, 1::bigint)', 'open events are counted');
select is(sentinai.complete((select token from a limit 1)), 3, 'complete counts');
select is(sentinai.complete((select token from a limit 1)), 0, 'complete again: nothing left');
select is(sentinai.release((select token from a limit 1)), 0, 'release after complete: nothing left');
select is_empty($$select * from sentinai.claim('queue-a')$$, 'what is done does not come back');
select is((select concat_ws(' ', status, attempt, worker_id, tenant_id, aggregate_id) from sentinai.event_processing where worker_type = 'queue-a' and event_id = (select id from ids)),
    'completed 1 host:1 queue x', 'the ledger has it');
select is((select count(*) from sentinai.event_processing where worker_type = 'queue-a'), 3::bigint, 'and the others');
select results_eq($$select open, completed, held from pg_temp.state('queue-a')$$, 'values (0::bigint, 3::numeric, 0::bigint)', 'counters of the lanes');

-- Parts of a batch
select pg_temp.publish('p', 5);
select pg_temp.take('p', $$'queue-a'$$);
select is(sentinai.complete((select token from p limit 1), (select array_agg(event_id) || min(event_id::text)::uuid from p where o in (2, 3))), 2, 'two of five, one of them named twice');
select is(sentinai.complete((select token from p limit 1), (select array_agg(event_id) from p where o in (2, 4))), 1, 'one that is done does not count again');
select is(sentinai.complete((select token from p limit 1), '{}'), 0, 'none');
select throws_ok($$select sentinai.complete((select token from p limit 1), array[(select event_id from p where o = 1), null])$$, '22004', null, 'null among the ids');
select throws_ok($$select sentinai.complete((select token from p limit 1), array[array[(select event_id from p where o = 1)], array[(select event_id from p where o = 5)]])$$, 'SN422', null, 'ids in two dimensions');
select throws_ok($$select sentinai.complete((select token from p limit 1), array[(select event_id from p where o = 1), gen_random_uuid()])$$, 'SN404', null, 'an id that is none');
select throws_ok($$select sentinai.complete((select token from p limit 1), array[(select event_id from p where o = 1), (select id from ids)])$$, 'SN404', null, 'an event of an earlier batch');
select is((select count(*) from sentinai.event_processing where worker_type = 'queue-a' and event_id in (select event_id from p)), 3::bigint, 'an error leaves nothing half done');
select is(sentinai.release((select token from p limit 1)), 2, 'release counts what is open');
select throws_ok($$select sentinai.complete((select token from p limit 1))$$, 'SN409', null, 'a released token is stale');
select throws_ok($$select sentinai.extend((select token from p limit 1), '1 min')$$, 'SN409', null, 'to extend as well');
select pg_temp.take('p2', $$'queue-a', 1$$);
select is(pg_temp.shown('p2'), 'p1#1', 'a smaller claim gets the first of what was given back, no attempt counted');
select is_empty($$select * from sentinai.claim('queue-a')$$, 'the rest of the key waits for it');
select is(sentinai.complete((select token from p2)), 1, 'done');
select pg_temp.take('p3', $$'queue-a'$$);
select is(pg_temp.shown('p3'), 'p5#1', 'then the other one');
select is(sentinai.complete((select token from p3), (select array_agg(event_id) from p3)), 1, 'all by their ids');
select throws_ok($$select sentinai.extend((select token from p3), '1 min')$$, 'SN409', null, 'no lease for what is done');
select is(sentinai.complete((select token from p3), (select array_agg(event_id) from p3)), 0, 'by their ids again');

select pg_temp.publish('p', 2);
select pg_temp.take('p4', $$'queue-a', 1$$);
select is(sentinai.complete((select token from p4)), 1, 'a batch of one');
select is(sentinai.complete((select min(token) from sentinai.claim('queue-a'))), 1, 'then others have the lane');
select is(sentinai.complete((select token from p4)), 0, 'which makes it not less done');
select is(sentinai.complete((select token from p4), (select array_agg(event_id) from p4)), 0, 'by its id as well');
select throws_ok($$select sentinai.fail((select token from p4), (select event_id from p4), 'e')$$, 'SN409', null, 'and too late to fail');

-- A token with a part of the batch's lanes is not the batch's
select pg_temp.publish(pg_temp.key_in(3, 1), 1), pg_temp.publish(pg_temp.key_in(7, 1), 1);
select pg_temp.take('part', $$'queue-a'$$);
create temp table parts as
    select regexp_replace(token, '-[0-9a-f]{16}-', '-' || lanes || '-') as token from part, unnest('{0000000000000008,0000000000000080,0000000000000089}'::text[]) lanes where o = 1;
select is((select count(*) from part where token ~ '-0000000000000088-'), 2::bigint, 'a batch of two lanes');
select is((select array_agg(pg_temp.code_of(format('select sentinai.complete(%L)', token))) from parts), '{SN409,SN409,SN409}', 'neither one of them nor one more');
select is(sentinai.complete((select min(token) from part)), 2, 'the token itself is good still');

-- The token of another session: no event remembered there
select pg_temp.publish('s', 3);
select pg_temp.take('s', $$'queue-a', 2$$);
select is(sentinai.release((select token from s limit 1)), 2, 'given back');
create extension if not exists dblink;
select is((select n from dblink(pg_temp.elsewhere(), $$select sentinai.complete((select min(token) from sentinai.claim('queue-a', 2, worker_id => 'other')))$$) as d(n int)), 2, 'claimed and completed elsewhere');
select pg_temp.take('s2', $$'queue-a'$$);
select is(pg_temp.shown('s2'), 's3#1', 'the third is left');
select is((select n from dblink(pg_temp.elsewhere(), format('select sentinai.complete(%L, %L)', (select token from s2), (select array_agg(event_id) from s2))) as d(n int)), 1, 'a token works in any session');
select is((select count(*) from sentinai.event_processing where worker_type = 'queue-a' and aggregate_id = 's' and tenant_id = 'queue'), 3::bigint, 'the ledger has their keys');

-- Leases
select pg_temp.publish('l', 3);
select pg_temp.take('l', $$'queue-a', lease => '1 microsecond', worker_id => 'slow'$$);
select is(sentinai.complete((select token from l limit 1), (select array_agg(event_id) from l where o = 1)), 1, 'after the deadline, nobody else came: complete works');
select ok(sentinai.extend((select token from l limit 1), '1 microsecond') <= clock_timestamp(), 'extend as well, and tells the deadline');
select pg_temp.take('l2', $$'queue-a', lease => '1 microsecond'$$);
select is(pg_temp.shown('l2'), 'l2#2', 'a lost batch comes event by event, an attempt counted');
select throws_ok($$select sentinai.complete((select token from l limit 1))$$, 'SN409', null, 'the old token cannot complete');
select throws_ok($$select sentinai.complete((select token from l limit 1), (select array_agg(event_id) from l where o = 1))$$, 'SN409', null, 'not even what it has completed');
select throws_ok($$select sentinai.fail((select token from l limit 1), (select event_id from l where o = 3), 'e')$$, 'SN409', null, 'nor fail');
select throws_ok($$select sentinai.extend((select token from l limit 1), '1 min')$$, 'SN409', null, 'nor extend');
select throws_ok($$select sentinai.release((select token from l limit 1))$$, 'SN409', null, 'nor release');
select pg_temp.take('l3', $$'queue-a'$$);
select is(pg_temp.shown('l3'), 'l2#3', 'the one that was lost alone comes first, and alone');
select is(sentinai.complete((select token from l3)), 1, 'it is completed');
select pg_temp.take('l4', $$'queue-a'$$);
select is(pg_temp.shown('l4'), 'l3#2', 'then the next of the lost batch');
select is(sentinai.complete((select token from l4)), 1, 'completed, too');
select is((select attempt from sentinai.event_processing where worker_type = 'queue-a' and event_id = (select event_id from l3)), 3, 'the ledger tells the attempt');
select pg_temp.publish('l', 2);
select pg_temp.take('l5', $$'queue-a'$$);
select is(pg_temp.shown('l5'), 'l1#1 l2#1', 'past the spot, batches are whole again');
select is(sentinai.complete((select token from l5 limit 1)), 2, 'done');
select results_eq($$select open, parked, failed, dead, held from pg_temp.state('queue-a')$$, 'values (0::bigint, 0::numeric, 3::numeric, 0::numeric, 0::bigint)', 'lost leases count as failures');

-- An event that kills its agent dies alone
select sentinai.subscribe('queue-poison', max_attempts => 3);
select pg_temp.publish('o' || i, 1) from generate_series(1, 6) i;
select pg_temp.publish('o3', 1);
do $$
declare r record; t text; lost boolean;
begin
    -- an agent that completes everything but dies on o3's first event
    for i in 1..40 loop
        t := null; lost := false;
        for r in select * from sentinai.claim('queue-poison', 100, '1 microsecond') loop
            t := r.token;
            lost := lost or (r.aggregate_id = 'o3' and not exists (select from sentinai.dead_letter d where d.worker_type = 'queue-poison'));
        end loop;
        if t is not null and not lost then perform sentinai.complete(t); end if;
        commit;
        exit when t is null and i > 10;
    end loop;
end $$;
select is((select string_agg(aggregate_id || ':' || attempts, ' ') from sentinai.dead_letter where worker_type = 'queue-poison'), 'o3:3', 'only the poison is dead, after three attempts');
select is((select count(*) from sentinai.event_processing where worker_type = 'queue-poison'), 6::bigint, 'everything else is done');

-- Several lanes: full batches, and no lane too many
select sentinai.subscribe('queue-wide');
select sentinai.publish_batch(array_agg('q.t'::text), array_agg('queue'::text), array_agg('w' || i), array_agg('{"n": 1}'::jsonb)) from generate_series(1, 500) i;
select pg_temp.take('w', $$'queue-wide', 100$$);
select is((select count(*) from w), 100::bigint, 'as many as asked for');
select is((select count(distinct token) from w), 1::bigint, 'one token for many lanes');
select cmp_ok((select held from pg_temp.state('queue-wide')), '<', 30::bigint, 'only the lanes it needs');
select pg_temp.take('w2', $$'queue-wide', 400$$);
select cmp_ok((select count(*) from w2), '>=', 350::bigint, 'the others can have the rest');
select is_empty('select aggregate_id from w intersect select aggregate_id from w2', 'no key is in two batches');
select is(sentinai.complete((select token from w limit 1)), 100, 'all of the first');
select is(sentinai.complete((select token from w2 limit 1), (select array_agg(event_id) from w2)), (select count(*)::int from w2), 'all of the second, by their ids');
select is(sentinai.complete((select min(token) from sentinai.claim('queue-wide', 500))), 400 - (select count(*)::int from w2), 'and what a lane had left');
select is((select completed from pg_temp.state('queue-wide')), 500::numeric, 'that is all');

-- A token is stale as soon as one lane of it is lost
select pg_temp.publish(pg_temp.key_in(7, 1), 1), pg_temp.publish(pg_temp.key_in(8, 1), 1);
select pg_temp.take('v', $$'queue-wide', lease => '1 microsecond'$$);
select is((select count(*) from v), 2::bigint, 'two lanes in a batch');
select pg_temp.take('v2', $$'queue-wide', 1$$);
select is((select string_agg(attempt::text, ' ') from v2), '2', 'one of them is lost');
select throws_ok($$select sentinai.complete((select token from v limit 1), (select array_agg(event_id) from v where aggregate_id <> (select aggregate_id from v2)))$$, 'SN409', null, 'the token is stale for the other, too');
select pg_temp.take('v3', $$'queue-wide', 10$$);
select is((select string_agg(attempt::text, ' ') from v3), '2', 'which comes again');
select is((select sum(sentinai.complete(token)) from (select token from v2 union select token from v3) t), 2::bigint, 'both done');

-- No lane starves while others always have work
select sentinai.subscribe('queue-fair');
select pg_temp.publish(pg_temp.key_in(lane, 1), 60) from generate_series(0, 19) lane;
select pg_temp.publish(pg_temp.key_in(40, 1), 1);
create temp table turns (o serial, n int);
do $$
declare t text; k text[]; n int := 0;
begin
    loop
        n := n + 1;
        select min(c.token), array_agg(c.aggregate_id) into t, k from sentinai.claim('queue-fair', 10) c;
        perform sentinai.complete(t);
        exit when pg_temp.key_in(40, 1) = any (k) or n > 100;
        commit;
    end loop;
    insert into turns(n) values (n);
end $$;
-- each claim begins a lane further, wherever the first one began
select cmp_ok((select n from turns), '<=', 64, 'a lane with one event has its turn among lanes with many');

-- Transactions
select sentinai.subscribe('queue-tx');
select pg_temp.publish('t', 2);
begin;
select is((select count(*) from sentinai.claim('queue-tx')), 2::bigint, 'claimed in a transaction');
rollback;
select pg_temp.take('t', $$'queue-tx'$$);
select is(pg_temp.shown('t'), 't1#1 t2#1', 'a claim that was rolled back leaves everything as it was');
begin;
select is(sentinai.complete((select token from t limit 1)), 2, 'completed in a transaction');
rollback;
select is((select count(*) from sentinai.event_processing where worker_type = 'queue-tx'), 0::bigint, 'a rollback takes it back');
begin;
savepoint a;
select is(sentinai.complete((select token from t limit 1), (select array_agg(event_id) from t where o = 1)), 1, 'completed in a savepoint');
rollback to a;
select is(sentinai.complete((select token from t limit 1)), 2, 'that was rolled back: both are open');
commit;
select is((select count(*) from sentinai.event_processing where worker_type = 'queue-tx'), 2::bigint, 'committed with the caller''s transaction');
select pg_temp.publish('t', 2);
begin isolation level repeatable read;
select count(*) from sentinai_internal.subscription;
select is((select n from dblink(pg_temp.elsewhere(), $$select sentinai.complete((select min(token) from sentinai.claim('queue-tx', 1)))$$) as d(n int)), 1, 'another session goes on');
select is(sentinai.complete((select min(token) from sentinai.claim('queue-tx'))), 1, 'an old snapshot does not see old lanes');
commit;
begin;
select pg_temp.publish('t', 1);
select is_empty($$select * from sentinai.claim('queue-tx')$$, 'what is not committed cannot be claimed');
commit;
select is((select count(*) from sentinai.claim('queue-tx', lease => '1 microsecond')), 1::bigint, 'published, then claimed: it is there');
begin;
savepoint a;
select is((select count(*) from sentinai.claim('queue-tx')), 1::bigint, 'lost, claimed in a savepoint');
rollback to a;
select is((select n from dblink(pg_temp.elsewhere(), $$select count(*) from sentinai.claim('queue-tx')$$) as d(n int)), 1, 'that was rolled back: others have it at once');
commit;

-- Prepared transactions
select pg_temp.publish('u', 1);
begin;
select count(*) as n from sentinai.claim('queue-tx') where aggregate_id = 'u' \gset
prepare transaction 'sentinai queue test';
select is(:n, 1, 'claimed in a prepared transaction');
select is_empty($$select * from sentinai.claim('queue-tx') where aggregate_id = 'u'$$, 'a prepared claim holds its lane');
rollback prepared 'sentinai queue test';
select is((select count(*) from sentinai.claim('queue-tx') where aggregate_id = 'u'), 1::bigint, 'and gives it back');

-- What a transaction gives back it can claim again
select sentinai.subscribe('queue-same', '{q.same}');
select pg_temp.publish('same', 10, 'q.same');
select pg_temp.sequenced();
begin;
select is((select sum(sentinai.complete(token)) from (select min(token) as token from sentinai.claim('queue-same', 3)) c), 3::bigint, 'claimed and completed');
select is((select sum(sentinai.complete(token)) from (select min(token) as token from sentinai.claim('queue-same', 3)) c), 3::bigint, 'the next three in the same transaction');
select is((select sum(sentinai.release(token)) from (select min(token) as token from sentinai.claim('queue-same', 3)) c), 3::bigint, 'the next three are given back');
savepoint a;
select is((select count(*) from sentinai.claim('queue-same')), 4::bigint, 'and can be claimed with the last');
rollback to a;
select is((select count(*) from sentinai.claim('queue-same', 1)), 1::bigint, 'after a savepoint was rolled back, too');
select is_empty($$select * from sentinai.claim('queue-same')$$, 'but nothing is claimed twice');
commit;
select is_empty($$select * from sentinai.claim('queue-same')$$, 'after the commit neither');
select sentinai.unsubscribe('queue-same');

-- A lease that is made shorter ends then
select sentinai.subscribe('queue-short', '{q.short}');
select pg_temp.publish('short', 1, 'q.short');
select pg_temp.take('short', $$'queue-short', lease => '1 day'$$);
select dblink_connect('w', pg_temp.elsewhere());
select is(dblink_send_query('w', $$call sentinai.wait_for_work('queue-short', '60 s', null)$$), 1, 'somebody waits');
do $$ begin
    for i in 1..600 loop
        perform pg_stat_clear_snapshot();
        exit when exists (select from pg_stat_activity where query like 'call sentinai.wait_for_work(''queue-short''%' and wait_event_type = 'Extension');
        perform pg_sleep(0.05);
    end loop;
end $$;
select ok(sentinai.extend((select token from short), '200 ms') < clock_timestamp() + interval '1 hour', 'a shorter lease');
create temp table since as select clock_timestamp() as t;
select is((select ready from dblink_get_result('w') as d(ready boolean)), true, 'its end wakes those who wait');
select cmp_ok((select clock_timestamp() - t from since), '<', interval '30 seconds', 'when it has come');
select dblink_disconnect('w');
select pg_temp.take('short2', $$'queue-short', lease => '1 day'$$);
select is(pg_temp.shown('short2'), 'short1#2', 'and the batch can be claimed');
select ok(sentinai.extend((select token from short2), '1 microsecond') < clock_timestamp() + interval '1 hour', 'once more, without anybody who waits');
select pg_temp.take('short3', $$'queue-short'$$);
select is(pg_temp.shown('short3'), 'short1#3', 'the next claim has it');
select sentinai.unsubscribe('queue-short');

-- Arguments
select throws_ok($$select * from sentinai.claim(null)$$, '22004', null, 'no worker type');
select throws_ok($$select * from sentinai.claim('queue-a', null)$$, '22004', null, 'no number');
select throws_ok($$select * from sentinai.claim('queue-a', 1, null)$$, '22004', null, 'no lease');
select throws_ok($$select * from sentinai.claim('queue-nobody')$$, 'SN404', null, 'unknown worker type');
select throws_ok($$select * from sentinai.claim('relay')$$, 'SN404', null, 'the relay''s');
select throws_ok($$select * from sentinai.claim(repeat('ä', 100000))$$, 'SN404', null, 'very long worker type');
select throws_ok(format('select * from sentinai.claim(%L, %s)', 'queue-a', n), 'SN422', null, n || ' events') from unnest('{0,-1,10001,2147483647,-2147483648}'::int[]) n;
select lives_ok($$select * from sentinai.claim('queue-a', 10000, '1 day')$$, 'most events, longest lease');
select throws_ok(format('select * from sentinai.claim(%L, 1, %L)', 'queue-a', l), 'SN422', null, 'lease ' || l) from unnest('{0,-1 s,1 day 1 microsecond,1 mon,1 day -24:00,-1 mon}'::text[]) l;
select throws_ok($$select * from sentinai.claim('queue-a', 1, '178000000 years')$$, '22008', null, 'lease out of range');
select throws_ok($$select * from sentinai.claim('queue-a', 1, '1 min', repeat('x', 257))$$, 'SN422', null, 'long worker id');
select throws_ok(format('select sentinai.complete(%L)', token), 'SN404', null, 'token ' || left(token, 30)) from (values (''), ('x'), ('0'), ('9223372036854775807'), (repeat('1', 1000000)),
    ('1-0000000000000000-00000000000000000000000000000000'), ('2147483647-0000000000000001-00000000000000000000000000000000'), ('2147483648-0000000000000001-00000000000000000000000000000000'),
    ('01-0000000000000001-00000000000000000000000000000000'), ('1-000000000000000G-00000000000000000000000000000000')) v(token);
select throws_ok(format('select sentinai.complete(%L)', sub_id || '-0000000000000001-00000000000000000000000000000000'), 'SN409', null, 'a batch that never was') from sentinai_internal.subscription where worker_type = 'queue-a';
select throws_ok($$select sentinai.complete(null)$$, '22004', null, 'no token');
select throws_ok($$select sentinai.release(null)$$, '22004', null, 'no token to release');
select throws_ok($$select sentinai.extend(null, '1 s')$$, '22004', null, 'no token to extend');
select throws_ok($$select sentinai.extend('x', null)$$, '22004', null, 'no lease to extend');
select throws_ok($$select sentinai.extend('x', '0')$$, 'SN422', null, 'no time to extend');
begin read only;
select throws_ok($$select * from sentinai.claim('queue-a')$$, '25006', null, 'claim in a read-only transaction');
select throws_ok($$select sentinai.complete('x')$$, '25006', null, 'complete in a read-only transaction');
commit;

select sentinai.unsubscribe(w) from unnest('{queue-a,queue-poison,queue-wide,queue-fair,queue-tx}'::text[]) w;
select * from finish();
