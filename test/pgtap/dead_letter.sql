-- SPDX-License-Identifier: PostgreSQL
-- Dead letters: what they hold, retry_dead_letter(), discard_dead_letter(), on_dead => 'block'.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(75);

create function pg_temp.publish(key text, n int) returns uuid[] language sql as $$
    select sentinai.publish_batch(array_agg('d.t'::text), array_agg('dead'::text), array_agg(key), array_agg(jsonb_build_object('n', i) order by i))
    from generate_series(1, n) i $$;
\set tenant dead
\ir lib/queue.sql
create function pg_temp.state(wt text) returns text language sql as $$
    select format('open %s parked %s done %s dead %s', sum(open), sum(parked), sum(completed), sum(dead)) from (
        select distinct on (lane) l.* from sentinai_internal.lane_state l join sentinai_internal.subscription s using (sub_id)
        where worker_type = wt order by lane, ver desc) x $$;
-- where the slices have an event
create function pg_temp.place(id uuid, stream int) returns bigint language sql as $$
    select slice_no << 8 | array_position(event_ids, id) - 1 from sentinai_internal.slice where stream_id = stream and id = any (event_ids) $$;
create function pg_temp.letter(wt text, id uuid) returns text language sql as $$
    select concat_ws(' ', status, attempts, jsonb_array_length(history), resolved_by, resolution, resolved_at is not null)
    from sentinai.dead_letter where worker_type = wt and event_id = id $$;

-- What a letter holds
select sentinai.subscribe('dead-a', '{d.t}', max_attempts => 2, backoff => '{0s}');
create temp table e as select sentinai.publish('d.t', 'dead', 'a', '{"n": 1}', 'order', '{"m": 1}', 'corr', '01941f29-7c00-7000-8000-000000000001', schema_version => 4) as id;
select pg_temp.publish('a', 1);
select pg_temp.take('a1', $$'dead-a', worker_id => 'host:9'$$);
select is(sentinai.fail((select token from a1 limit 1), (select id from e), 'first'), 'retrying', 'first failure');
select pg_temp.take('a2', $$'dead-a', worker_id => 'host:8'$$);
select is(sentinai.fail((select token from a2), (select id from e), repeat('ö', 5000)), 'dead', 'second and last');
select is((select concat_ws(' ', tenant_id, aggregate_type, aggregate_id, event_type, schema_version, correlation_id, causation_id, payload, metadata, attempts, status) from sentinai.dead_letter where event_id = (select id from e)),
    'dead order a d.t 4 corr 01941f29-7c00-7000-8000-000000000001 {"n": 1} {"m": 1} 2 pending', 'the event, whole');
select is((select d.occurred_at from sentinai.dead_letter d join e on d.event_id = id), (select l.occurred_at from sentinai.event_log l join e on event_id = id), 'and its time');
select is((select octet_length(reason) from sentinai.dead_letter where event_id = (select id from e)), 8192, 'the reason, bounded');
select is((select jsonb_path_query_array(history, '$[*].worker_id') || jsonb_path_query_array(history, '$[*].attempt') from sentinai.dead_letter where event_id = (select id from e)), '["host:9", "host:8", 1, 2]', 'who tried');
select ok((select first_failed_at < dead_at and (history -> 0 ->> 'at')::timestamptz = first_failed_at and (history -> 1 ->> 'at')::timestamptz = dead_at from sentinai.dead_letter where event_id = (select id from e)), 'and when');
select is(pg_temp.state('dead-a'), 'open 0 parked 1 done 0 dead 1', 'the next of the key is free');
select is(sentinai.complete((select min(token) from sentinai.claim('dead-a'))), 1, 'and goes on');

-- Once more, with success
select is((select count(*) from sentinai.claim('dead-a')), 0::bigint, 'nothing to do');
select sentinai.retry_dead_letter((select id from e), 'dead-a');
select is(pg_temp.letter('dead-a', (select id from e)), 'retrying 2 2 ' || session_user || ' f', 'under way, by whom');
select is(pg_temp.state('dead-a'), 'open 0 parked 1 done 1 dead 0', 'counters');
select throws_ok($$select sentinai.retry_dead_letter((select id from e), 'dead-a')$$, 'SN409', null, 'not twice');
select throws_ok($$select sentinai.discard_dead_letter((select id from e), 'dead-a', 'me', 'r')$$, 'SN409', null, 'nor discarded meanwhile');
select pg_temp.take('a3', $$'dead-a'$$);
select is(pg_temp.shown('a3'), 'a1#1', 'attempts count anew');
select is(sentinai.complete((select token from a3)), 1, 'completed after all');
select is(pg_temp.letter('dead-a', (select id from e)), 'succeeded 2 2 ' || session_user || ' t', 'the letter knows');
select throws_ok($$select sentinai.retry_dead_letter((select id from e), 'dead-a')$$, 'SN409', null, 'no retry of a success');
select throws_ok($$select sentinai.discard_dead_letter((select id from e), 'dead-a', 'me', 'r')$$, 'SN409', null, 'nor an end to it');

-- Once more, and dead again
create temp table f as select (pg_temp.publish('b', 1))[1] as id;
select pg_temp.take('b1', $$'dead-a'$$);
select is(sentinai.fail((select token from b1), (select id from f), 'x', false), 'dead', 'another one dies');
select sentinai.retry_dead_letter((select id from f), 'dead-a', 'anna');
select pg_temp.take('b2', $$'dead-a'$$);
select is(sentinai.fail((select token from b2), (select id from f), 'y'), 'retrying', 'it has all its attempts again');
select pg_temp.take('b3', $$'dead-a'$$);
select is(sentinai.fail((select token from b3), (select id from f), 'z'), 'dead', 'and dies again');
select is(pg_temp.letter('dead-a', (select id from f)), 'pending 2 3 f', 'pending again, with all of its history');
select is((select reason from sentinai.dead_letter where event_id = (select id from f)), 'z', 'the last reason');
select sentinai.discard_dead_letter((select id from f), 'dead-a', 'bert', 'customer left');
select is(pg_temp.letter('dead-a', (select id from f)), 'discarded 2 3 bert customer left t', 'discarded, by whom and why');
select throws_ok($$select sentinai.retry_dead_letter((select id from f), 'dead-a')$$, 'SN409', null, 'no retry of what was discarded');
select is(pg_temp.state('dead-a'), 'open 0 parked 0 done 2 dead 0', 'nothing is left');

-- Order: put back, an event comes before the later ones that wait
create temp table g as select id, o from unnest(pg_temp.publish('c', 4)) with ordinality u(id, o);
select pg_temp.take('c1', $$'dead-a'$$);
select is(sentinai.fail((select token from c1 limit 1), id, 'x', false), 'dead', 'dead: ' || o) from g where o in (1, 2);
select is(sentinai.fail((select token from c1 limit 1), id, 'x', true, '300 ms'), 'retrying', 'the third has to wait') from g where o = 3;
select sentinai.retry_dead_letter(id, 'dead-a') from g where o in (1, 2) order by o desc;
select pg_temp.take('c2', $$'dead-a'$$);
select is(pg_temp.shown('c2'), 'c1#1 c2#1', 'the first two in their order, and not the third');
select is(sentinai.complete((select token from c2 limit 1)), 2, 'done');
call pg_temp.take_due('c3', 'dead-a');
select is(pg_temp.shown('c3'), 'c3#2', 'then it is the third''s turn');
select is(sentinai.complete((select token from c3)), 1, 'done');
select is(sentinai.complete((select min(token) from sentinai.claim('dead-a'))), 1, 'and the fourth''s');
select is(pg_temp.state('dead-a'), 'open 0 parked 0 done 6 dead 0', 'nothing is left');

-- Put back, an event has the position that it had
create temp table p as select id, o from unnest(pg_temp.publish('p', 3)) with ordinality u(id, o);
select pg_temp.take('p1', $$'dead-a'$$);
select is(sentinai.fail((select token from p1 limit 1), id, 'x', false), 'dead', 'dead: ' || o) from p where o in (2, 3);
select is(sentinai.release((select token from p1 limit 1)), 1, 'the first is given back');
select sentinai.retry_dead_letter(id, 'dead-a') from p where o in (2, 3) order by o desc;
select is((select count(*) from p join sentinai_internal.event_retry r on event_id = id join sentinai_internal.subscription s using (sub_id) where worker_type = 'dead-a' and r.pos = pg_temp.place(id, s.stream_id)), 3::bigint, 'each has its own position, and the first waits with them');
select pg_temp.take('p2', $$'dead-a', 2$$);
select is(pg_temp.shown('p2'), 'p1#1 p2#1', 'so they come in the order they had');
select is(sentinai.fail((select token from p2 limit 1), id, 'y', true, '0'), 'retrying', 'one of them fails again') from p where o = 2;
select is(sentinai.complete((select token from p2 limit 1)), 1, 'the other is done');
select pg_temp.take('p3', $$'dead-a'$$);
select is(sentinai.complete((select token from p3)), 1, 'then that one');
select pg_temp.take('p4', $$'dead-a'$$);
select is(pg_temp.shown('p4'), 'p3#1', 'then the third');
select is(sentinai.complete((select token from p4)), 1, 'done');

-- A letter of an earlier subscription of that name has no position in the new one, and takes one that no event has
select sentinai.subscribe('dead-c', '{d.t}', max_attempts => 1);
create temp table q as select (pg_temp.publish('q', 1))[1] as id;
select pg_temp.take('q1', $$'dead-c'$$);
select is(sentinai.fail((select token from q1), (select id from q), 'x'), 'dead', 'dead');
select sentinai.unsubscribe('dead-c');
select sentinai.subscribe('dead-c', '{d.t}');
select sentinai.retry_dead_letter((select id from q), 'dead-c');
select ok((select r.pos & 255 >= 180 and r.pos < pg_temp.place(id, s.stream_id) from q join sentinai_internal.event_retry r on event_id = id join sentinai_internal.subscription s using (sub_id) where worker_type = 'dead-c'), 'before the round it was in, at an offset that slices do not have');
select pg_temp.take('q2', $$'dead-c'$$);
select is(sentinai.complete((select token from q2)), 1, 'and is handed out');
select is((select status from sentinai.dead_letter where worker_type = 'dead-c'), 'succeeded', 'with success');
select sentinai.unsubscribe('dead-c');

-- A letter that blocks its key
select sentinai.subscribe('dead-b', '{d.t}', max_attempts => 1, on_dead => 'block');
create temp table h as select id, o from unnest(pg_temp.publish('d', 3)) with ordinality u(id, o);
select pg_temp.publish('other', 1);
select pg_temp.take('d1', $$'dead-b'$$);
select is(sentinai.fail((select token from d1 limit 1), (select id from h where o = 1), 'x'), 'dead', 'dead');
select throws_ok($$select sentinai.complete((select token from d1 limit 1), (select array_agg(id) from h where o = 2))$$, 'SN409', null, 'the later events of the key have left the batch');
select is(sentinai.complete((select token from d1 limit 1)), 1, 'other keys have not');
select pg_temp.publish('d', 1);
select is_empty($$select * from sentinai.claim('dead-b')$$, 'the key stands still');
select is(pg_temp.state('dead-b'), 'open 0 parked 4 done 1 dead 1', 'everything waits');
select sentinai.discard_dead_letter((select id from h where o = 1), 'dead-b', 'me', 'no use');
select pg_temp.take('d2', $$'dead-b'$$);
select is(pg_temp.shown('d2'), 'd2#1 d3#1 d1#1', 'once it is discarded, the key goes on');
select is(sentinai.fail((select token from d2 limit 1), (select id from h where o = 2), 'x'), 'dead', 'the next dies');
select sentinai.retry_dead_letter((select id from h where o = 2), 'dead-b', 'me');
select pg_temp.take('d3', $$'dead-b'$$);
select is(pg_temp.shown('d3'), 'd2#1 d3#1 d1#1', 'put back, it is first');
select is(sentinai.complete((select token from d3 limit 1)), 3, 'done');
select is(pg_temp.letter('dead-b', (select id from h where o = 2)), 'succeeded 1 1 me t', 'with success');
select is(pg_temp.state('dead-b'), 'open 0 parked 0 done 4 dead 0', 'nothing is left');

-- A lost lease can kill, too, and blocks as well
create temp table i as select (pg_temp.publish('l', 1))[1] as id;
select pg_temp.take('l1', $$'dead-b', 10, '1 microsecond'$$);
select is_empty($$select * from sentinai.claim('dead-b')$$, 'the only attempt is lost');
select is(pg_temp.letter('dead-b', (select id from i)), 'pending 1 1 f', 'dead');

-- Without the subscription
select sentinai.unsubscribe('dead-b');
select throws_ok($$select sentinai.retry_dead_letter((select id from i), 'dead-b')$$, 'SN404', null, 'no retry when the subscription has gone');
select sentinai.discard_dead_letter((select id from i), 'dead-b', 'me', 'gone');
select is(pg_temp.letter('dead-b', (select id from i)), 'discarded 1 1 me gone t', 'but a discard');

-- Arguments
select throws_ok($$select sentinai.retry_dead_letter(gen_random_uuid(), 'dead-a')$$, 'SN404', null, 'no such letter');
select throws_ok($$select sentinai.retry_dead_letter((select id from e), 'dead-nobody')$$, 'SN404', null, 'no such worker type');
select throws_ok($$select sentinai.retry_dead_letter(null, 'dead-a')$$, '22004', null, 'no event');
select throws_ok($$select sentinai.retry_dead_letter((select id from e), null)$$, '22004', null, 'no worker type');
select throws_ok($$select sentinai.retry_dead_letter((select id from e), 'dead-a', null)$$, '22004', null, 'no actor');
select throws_ok($$select sentinai.retry_dead_letter((select id from e), 'dead-a', '')$$, 'SN422', null, 'an actor without a name');
select throws_ok($$select sentinai.discard_dead_letter((select id from e), 'dead-a', null, 'r')$$, '22004', null, 'a discard without actor');
select throws_ok($$select sentinai.discard_dead_letter((select id from e), 'dead-a', 'me', null)$$, '22004', null, 'a discard without reason');
select throws_ok($$select sentinai.discard_dead_letter((select id from e), 'dead-a', 'me', repeat('x', 8193))$$, 'SN422', null, 'a very long reason');
select throws_ok($$select sentinai.discard_dead_letter(gen_random_uuid(), 'dead-a', 'me', 'r')$$, 'SN404', null, 'a discard of nothing');

select sentinai.unsubscribe('dead-a');
select * from finish();
