-- SPDX-License-Identifier: PostgreSQL
-- fail(): retries, blocked keys, policies, control events.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(116);

create function pg_temp.publish(key text, n int, type text default 'r.t') returns uuid[] language sql as $$
    select sentinai.publish_batch(array_agg(type), array_agg('retry'::text), array_agg(key), array_agg(jsonb_build_object('n', i) order by i))
    from generate_series(1, n) i $$;
\set tenant retry
\ir lib/queue.sql
create function pg_temp.state(wt text) returns text language sql as $$
    select format('open %s parked %s done %s failed %s dead %s', sum(open), sum(parked), sum(completed), sum(failed), sum(dead)) from (
        select distinct on (lane) l.* from sentinai_internal.lane_state l join sentinai_internal.subscription s using (sub_id)
        where worker_type = wt order by lane, ver desc) x $$;
create function pg_temp.waiting(wt text) returns text language sql as $$
    select string_agg(r.aggregate_id || (l.payload ->> 'n') || ':' || attempt || case when due_at is null then '' else '!' end, ' ' order by pos)
    from sentinai_internal.event_retry r join sentinai_internal.subscription s using (sub_id) join sentinai.event_log l using (event_id) where worker_type = wt $$;

-- A failing event holds back its own key and no other
select sentinai.subscribe('retry-a', '{r.t}', backoff => '{1 hour,2 hours}');
select pg_temp.publish('a', 3), pg_temp.publish('b', 2);
select pg_temp.take('a', $$'retry-a', worker_id => 'w'$$);
select is(sentinai.fail((select token from a limit 1), (select event_id from a where aggregate_id = 'a' and o = (select min(o) from a where aggregate_id = 'a')), 'no luck'), 'retrying', 'a retry is scheduled');
select is(pg_temp.waiting('retry-a'), 'a1:1! a2:0 a3:0', 'the later events of the key wait behind it');
select is((select round(extract(epoch from r.due_at - clock_timestamp()) / 60) from sentinai_internal.event_retry r join sentinai_internal.subscription using (sub_id) where worker_type = 'retry-a' and attempt = 1), 60::numeric, 'after the first wait of the policy');
select throws_ok($$select sentinai.complete((select token from a limit 1), array[(select event_id from a where aggregate_id = 'a' and payload @> '{"n": 2}')])$$, 'SN409', null, 'one that waits cannot be completed');
select throws_ok($$select sentinai.complete((select token from a limit 1), array[(select event_id from a where aggregate_id = 'a' and payload @> '{"n": 1}')])$$, 'SN409', null, 'nor the one that failed');
select throws_ok($$select sentinai.fail((select token from a limit 1), (select event_id from a where aggregate_id = 'a' and payload @> '{"n": 3}'), 'e')$$, 'SN409', null, 'nor can it fail');
select is(pg_temp.state('retry-a'), 'open 2 parked 3 done 0 failed 1 dead 0', 'counters in between');
select is(sentinai.complete((select token from a limit 1)), 2, 'the other key is completed');
select throws_ok($$select sentinai.fail((select token from a limit 1), (select event_id from a where aggregate_id = 'b' and payload @> '{"n": 1}'), 'e')$$, 'SN409', null, 'what is completed cannot fail');
select throws_ok($$select sentinai.fail((select token from a limit 1), gen_random_uuid(), 'e')$$, 'SN404', null, 'nor what never was');
select pg_temp.publish('a', 1), pg_temp.publish('b', 1);
select pg_temp.take('a2', $$'retry-a'$$);
select is(pg_temp.shown('a2', 'aggregate_id, o'), 'b1#1', 'new events of other keys go on');
select is(pg_temp.waiting('retry-a'), 'a1:1! a2:0 a3:0 a1:0', 'those of the key queue up');
select is(sentinai.complete((select token from a2)), 1, 'done');
select is_empty($$select * from sentinai.claim('retry-a')$$, 'until it is due, nothing');

-- Waits, given by the policy and by the caller
select sentinai.subscribe('retry-b', '{r.t}', backoff => '{200ms,0s}', max_attempts => 4);
select pg_temp.publish('c', 3);
select pg_temp.take('b', $$'retry-b'$$);
select is(sentinai.fail((select token from b limit 1), (select event_id from b where o = 1), 'one'), 'retrying', 'first failure');
call pg_temp.take_due('b2', 'retry-b');
select is(pg_temp.shown('b2', 'aggregate_id, o'), 'c1#2', 'alone: the others wait for what becomes of it');
select cmp_ok((select extract(epoch from claimed_at - first_failed_at) from sentinai_internal.lane_state l join sentinai_internal.event_retry r using (sub_id, lane) join sentinai_internal.subscription s using (sub_id) where worker_type = 'retry-b' order by ver desc limit 1), '>=', 0.2, 'not before its time');
select is(sentinai.fail((select token from b2), (select event_id from b2), 'two'), 'retrying', 'second failure');
call pg_temp.take_due('b3', 'retry-b');
select is(pg_temp.shown('b3', 'aggregate_id, o'), 'c1#3', 'third attempt');
select is(sentinai.fail((select token from b3), (select event_id from b3), 'three', retry_in => '10 ms'), 'retrying', 'the caller says when');
call pg_temp.take_due('b4', 'retry-b');
select is(pg_temp.shown('b4', 'aggregate_id, o'), 'c1#4', 'fourth attempt');
select is((select history @> '[{"attempt": 1, "error": "one"}, {"attempt": 2, "error": "two"}, {"attempt": 3, "error": "three"}]' and jsonb_array_length(history) = 3 from sentinai_internal.event_retry join sentinai_internal.subscription using (sub_id) where worker_type = 'retry-b' and attempt > 0), true, 'all of it is remembered');
select is(sentinai.complete((select token from b4)), 1, 'done at last');
select is((select attempt from sentinai.event_processing where worker_type = 'retry-b'), 4, 'the ledger tells the attempt');
select pg_temp.take('b5', $$'retry-b'$$);
select is(pg_temp.shown('b5', 'aggregate_id, o'), 'c2#1 c3#1', 'then the others at once, their attempts not counted');
select is(sentinai.complete((select token from b5 limit 1)), 2, 'all done');
select is(pg_temp.waiting('retry-b'), null, 'nothing waits');
select is(pg_temp.state('retry-b'), 'open 0 parked 0 done 3 failed 3 dead 0', 'counters');

-- Out of attempts, and not retryable
select pg_temp.publish('d', 2);
select pg_temp.take('d', $$'retry-b'$$);
select is(sentinai.fail((select token from d limit 1), (select event_id from d where o = 1), 'never', retryable => false), 'dead', 'not retryable: dead at once');
select is(sentinai.complete((select token from d limit 1)), 1, 'the next of the key is not held back');
select is((select status || attempts || reason from sentinai.dead_letter where worker_type = 'retry-b'), 'pending1never', 'the letter');
select sentinai.subscribe('retry-c', '{r.t}', max_attempts => 1);
select pg_temp.publish('e', 1);
select pg_temp.take('e', $$'retry-c'$$);
select is(sentinai.fail((select token from e), (select event_id from e), ''), 'dead', 'one attempt: dead at the first failure');
select is(pg_temp.state('retry-c'), 'open 0 parked 0 done 0 failed 1 dead 1', 'counters of a death');

-- A policy for one event type
select sentinai.set_retry_policy('retry-c', 'r.t', 3, '{0s}');
select pg_temp.publish('f', 1);
select pg_temp.take('f', $$'retry-c'$$);
select is(sentinai.fail((select token from f), (select event_id from f), 'e'), 'retrying', 'its own attempts');
select pg_temp.take('f2', $$'retry-c'$$);
select is(pg_temp.shown('f2', 'aggregate_id, o'), 'f1#2', 'and its own waits');
select sentinai.set_retry_policy('retry-c', 'r.t');
select is(sentinai.fail((select token from f2), (select event_id from f2), 'e'), 'dead', 'removed: the subscription''s own again');
select is((select count(*) from sentinai_internal.retry_policy where worker_type = 'retry-c'), 0::bigint, 'no policy left');
select throws_ok($$select sentinai.set_retry_policy('retry-nobody', 't', 1, '{1s}')$$, 'SN404', null, 'policy of nobody');
select throws_ok($$select sentinai.set_retry_policy('retry-c', null, 1, '{1s}')$$, '22004', null, 'policy of no type');
select throws_ok($$select sentinai.set_retry_policy('retry-c', 't', null, '{1s}')$$, '22004', null, 'half a policy');
select throws_ok($$select sentinai.set_retry_policy('retry-c', 't', 0, '{1s}')$$, 'SN422', null, 'no attempts');
select throws_ok($$select sentinai.set_retry_policy('retry-c', 't', 1, '{-1s}')$$, 'SN422', null, 'negative wait');

-- The later event fails first: it comes second again
select sentinai.subscribe('retry-g', '{r.t}', max_attempts => 4, backoff => '{0s}');
select pg_temp.publish('g', 3);
select pg_temp.take('g', $$'retry-g'$$);
select is(sentinai.fail((select token from g limit 1), (select event_id from g where o = 2), 'e', retry_in => '0'), 'retrying', 'the second fails, the first is open');
select is(sentinai.release((select token from g limit 1)), 1, 'and given back');
select pg_temp.take('g2', $$'retry-g'$$);
select is((select string_agg(payload ->> 'n', '' order by o) from g2), '1', 'the first comes first');
select is(sentinai.complete((select token from g2)), 1, 'done');
select pg_temp.take('g3', $$'retry-g'$$);
select is(pg_temp.shown('g3', 'aggregate_id, o'), 'g2#2', 'then the second');
select is(sentinai.complete((select token from g3)), 1, 'done');
select is(sentinai.complete((select min(token) from sentinai.claim('retry-g'))), 1, 'then the third');
select pg_temp.publish('h', 2);
select pg_temp.take('h', $$'retry-g', 10, '1 microsecond'$$);
select is(sentinai.fail((select token from h limit 1), (select event_id from h where o = 2), 'e', retry_in => '0'), 'retrying', 'the same,');
select pg_temp.take('h2', $$'retry-g'$$);
select is(pg_temp.shown('h2', 'aggregate_id, o'), 'h1#2', 'with the lease lost');
select is(sentinai.complete((select token from h2)), 1, 'done');
select pg_temp.take('h3', $$'retry-g'$$);
select is(pg_temp.shown('h3', 'aggregate_id, o'), 'h2#2', 'in order');
select is(sentinai.complete((select token from h3)), 1, 'done, too');

-- A wait is the event's own: it lasts when another of its key comes first meanwhile
select sentinai.subscribe('retry-w', '{r.w}', max_attempts => 3, backoff => '{0s}');
select pg_temp.publish('w', 3, 'r.w');
select pg_temp.take('w1', $$'retry-w'$$);
select is(sentinai.fail((select token from w1 limit 1), (select event_id from w1 where o = 2), 'e', retry_in => '1 hour'), 'retrying', 'the second has an hour to wait');
select is(sentinai.fail((select token from w1 limit 1), (select event_id from w1 where o = 1), 'e'), 'retrying', 'the first comes again at once');
select is(pg_temp.waiting('retry-w'), 'w1:1! w2:1 w3:0', 'before the others');
select pg_temp.take('w2', $$'retry-w'$$);
select is(sentinai.complete((select token from w2)), 1, 'the first is done');
select is(pg_temp.waiting('retry-w'), 'w2:1! w3:0', 'then it is the second''s turn');
select is_empty($$select * from sentinai.claim('retry-w')$$, 'but not before its time');
select is((select round(extract(epoch from r.due_at - clock_timestamp()) / 60) from sentinai_internal.event_retry r join sentinai_internal.subscription using (sub_id) where worker_type = 'retry-w' and attempt = 1), 60::numeric, 'an hour after its failure');
select sentinai.unsubscribe('retry-w');
select sentinai.subscribe('retry-w', '{r.w}', max_attempts => 3, backoff => '{0s}');
select pg_temp.publish('w', 2, 'r.w');
select pg_temp.take('w3', $$'retry-w'$$);
select is(sentinai.fail((select token from w3 limit 1), (select event_id from w3 where o = 2), 'e', retry_in => '1 hour'), 'retrying', 'the same again,');
select is(sentinai.release((select token from w3 limit 1)), 1, 'with the first given back');
select is(sentinai.complete((select min(token) from sentinai.claim('retry-w'))), 1, 'and done');
select is_empty($$select * from sentinai.claim('retry-w')$$, 'the second waits');
select sentinai.unsubscribe('retry-w');

-- A lost batch with several retries of a key, of which the first dies
select sentinai.subscribe('retry-l', '{r.w,r.one}', backoff => '{0s}');
select sentinai.set_retry_policy('retry-l', 'r.one', 1, '{1s}');
select pg_temp.publish('l', 1, 'r.w'), pg_temp.publish('l', 1, 'r.one'), pg_temp.publish('l', 1, 'r.w');
select pg_temp.take('l1', $$'retry-l'$$);
select is(sentinai.fail((select token from l1 limit 1), (select event_id from l1 where o = 1), 'e'), 'retrying', 'the first fails, the others wait behind it');
select is(sentinai.complete((select min(token) from sentinai.claim('retry-l'))), 1, 'and is done');
select is((select count(*) from sentinai.claim('retry-l', lease => '1 microsecond')), 2::bigint, 'the others are a batch of retries, and lost');
select pg_temp.take('l2', $$'retry-l'$$);
select is(pg_temp.shown('l2', 'aggregate_id, o'), 'l1#2', 'one of them goes on');
select is((select count(*) from sentinai.dead_letter where worker_type = 'retry-l'), 1::bigint, 'the other is dead');
select is(sentinai.complete((select token from l2)), 1, 'done');
select is(pg_temp.state('retry-l'), 'open 0 parked 0 done 2 failed 3 dead 1', 'nothing is left');
select sentinai.unsubscribe('retry-l');

-- A retry whose event is gone, log and letter, holds up nothing
select sentinai.subscribe('retry-x', '{r.w}', backoff => '{0s}');
create temp table x as select (pg_temp.publish('x', 1, 'r.w'))[1] as id;
select pg_temp.take('x1', $$'retry-x'$$);
select is(sentinai.fail((select token from x1), (select id from x), 'e'), 'retrying', 'a retry');
select pg_temp.publish((select 'x' || g from generate_series(1, 20000) g
                        where (sentinai.partition_hash('retry:x' || g) & 2147483647) % 64 = (sentinai.partition_hash('retry:x') & 2147483647) % 64 limit 1), 1, 'r.w');
select pg_temp.take('x0', $$'retry-x'$$);
select is((select string_agg(sentinai.fail(token, event_id, 'e', true, case aggregate_id when 'x' then interval '0' else '1 hour' end), ' ') from x0), 'retrying retrying', 'another key of its lane waits as well');
select pg_temp.publish('x', 1, 'r.w');
select pg_temp.sequenced();
begin;
-- the log refuses that, whoever asks
do $$
declare part regclass := (select tableoid from sentinai_internal.event_log where event_id = (select id from x));
begin
    set local allow_system_table_mods = on;
    execute format('alter table %s disable trigger refuse_change, disable trigger refuse_change_of_row', part);
    execute format('delete from %s where event_id = (select id from x)', part);
end $$;
create temp table x2 as select row_number() over () as o, c.* from sentinai.claim('retry-x') c;
select is(pg_temp.shown('x2', 'aggregate_id, o'), 'x1#1', 'the next of its key is not parked behind it');
select is((select count(*) from sentinai_internal.event_retry join sentinai_internal.subscription using (sub_id) where worker_type = 'retry-x' and aggregate_id = 'x'), 0::bigint, 'nothing of it waits');
rollback;
select sentinai.unsubscribe('retry-x');

-- Retries whose lease is lost
select pg_temp.publish('i', 1);
select pg_temp.take('i', $$'retry-g'$$);
select is(sentinai.fail((select token from i), (select event_id from i), 'e', retry_in => '0'), 'retrying', 'failed once');
select pg_temp.take('i2', $$'retry-g', 10, '1 microsecond'$$);
select pg_temp.take('i3', $$'retry-g', 10, '1 microsecond'$$);
select is(pg_temp.shown('i3', 'aggregate_id, o'), 'i1#3', 'a lost lease counts for a retry, too');
select pg_temp.take('i4', $$'retry-g', 10, '1 microsecond'$$);
select is_empty($$select * from sentinai.claim('retry-g')$$, 'until it is out of attempts');
select is((select attempts || ' ' || reason || ' ' || jsonb_array_length(history) from sentinai.dead_letter where worker_type = 'retry-g' and aggregate_id = 'i'), '4 lease was lost 4', 'then it is dead');

-- Unordered: nothing waits
select sentinai.subscribe('retry-u', '{r.t}', ordered => false, backoff => '{0s}');
select pg_temp.publish('u', 3);
select pg_temp.take('u', $$'retry-u'$$);
select is(sentinai.fail((select token from u limit 1), (select event_id from u where o = 1), 'e'), 'retrying', 'failed');
select is(pg_temp.waiting('retry-u'), 'u1:1!', 'alone');
select is(sentinai.complete((select token from u limit 1)), 2, 'the others are still there');
select pg_temp.take('u2', $$'retry-u'$$);
select is(pg_temp.shown('u2', 'aggregate_id, o'), 'u1#2', 'it comes again');
select pg_temp.publish('u', 1);
select is(sentinai.complete((select token from u2)), 1, 'done');
select is(sentinai.complete((select min(token) from sentinai.claim('retry-u'))), 1, 'and the next one');

-- What is told about it
select sentinai.subscribe('retry-watch', '{RetryScheduled,DeadLettered}');
select sentinai.subscribe('retry-all', max_attempts => 2, backoff => '{0s}');
create temp table z as select sentinai.publish('r.z', 'retry', 'z', '{"n": 1}', 'order', correlation_id => 'flow') as id;
select pg_temp.take('z1', $$'retry-all'$$);
select is(sentinai.fail((select token from z1), (select id from z), 'why "not"' || chr(10) || 'ö'), 'retrying', 'once');
select pg_temp.take('z2', $$'retry-all'$$);
select is(sentinai.fail((select token from z2), (select id from z), 'again'), 'dead', 'twice');
select pg_temp.take('t', $$'retry-watch'$$);
select is((select string_agg(concat_ws('|', event_type, tenant_id, aggregate_type, aggregate_id, correlation_id, causation_id = (select id from z), attempt), ' ' order by o) from t),
    'RetryScheduled|retry|order|z|flow|t|1 DeadLettered|retry|order|z|flow|t|1', 'both are published about the event');
select is((select payload - 'due_at' from t where o = 1), (select jsonb_build_object('worker_type', 'retry-all', 'event_id', id, 'event_type', 'r.z', 'attempt', 1, 'error', E'why "not"\nö') from z), 'with the facts');
select ok((select (payload ->> 'due_at')::timestamptz between clock_timestamp() - interval '1 minute' and clock_timestamp() from t where o = 1), 'and the time');
select is((select payload -> 'due_at' from t where o = 2), 'null'::jsonb, 'which a dead letter has not');
select is_empty($$select * from sentinai.claim('retry-all')$$, 'never to the subscription they are about');
select is(sentinai.fail((select token from t limit 1), (select event_id from t where o = 1), 'e', false), 'dead', 'a control event can die');
select is(sentinai.fail((select token from t limit 1), (select event_id from t where o = 2), 'e', true, '0'), 'retrying', 'or be retried');
select is((select count(*) from sentinai.event_log where causation_id in (select event_id from t)), 0::bigint, 'and nothing is published about that');

-- A subscription made anew: what its forerunner completed is in the ledger, and yet waits
select sentinai.subscribe('retry-anew', '{r.anew}');
select pg_temp.publish('anew', 3, 'r.anew'), pg_temp.publish('other', 1, 'r.anew');
select pg_temp.take('n1', $$'retry-anew'$$);
select is(sentinai.complete((select min(token) from n1)), 4, 'completed by the first');
select sentinai.unsubscribe('retry-anew');
select sentinai.subscribe('retry-anew', '{r.anew}', start_from => 'earliest', backoff => '{1h}');
do $$ begin
    for i in 1..3000 loop
        create temp table n2 as select row_number() over () as o, c.* from sentinai.claim('retry-anew') c;
        exit when (select count(*) from n2) = 4;
        perform sentinai.release(token) from n2 limit 1;
        drop table n2; commit;
        perform pg_sleep(0.01);
    end loop;
end $$;
select is(pg_temp.shown('n2', 'aggregate_id, o'), 'anew1#1 anew2#1 anew3#1 other1#1', 'taken again by the second');
select is(sentinai.fail((select min(token) from n2), (select event_id from n2 where payload @> '{"n": 1}' and aggregate_id = 'anew'), 'e'), 'retrying', 'the first of the key fails');
select throws_ok($$select sentinai.fail((select min(token) from n2), (select event_id from n2 where payload @> '{"n": 2}'), 'e')$$, 'SN409', null, 'the next one waits, and is no stranger');
select sentinai.unsubscribe('retry-anew');

-- An error text is kept, whatever it is made of
select sentinai.subscribe('retry-text', '{r.text}', max_attempts => 3, backoff => '{0s}');
select sentinai.publish('r.text', 'retry', 'text', '{}');
create temp table errors (n serial, given text, kept text);
insert into errors (given, kept) values
    (E'Traceback:\n\tline 1', E'Traceback:\n\tline 1'),
    (E'\u001b[31mred\u001b[0m\r\u0001\u009b \u202e größe 漢字 😀', E'?[31mred?[0m??? ? größe 漢字 😀'),
    (repeat('漢', 100000), repeat('漢', 2730));
do $$
declare e record; r record; begin
    for e in select * from errors order by n loop
        for i in 1..3000 loop
            select * into r from sentinai.claim('retry-text');
            exit when r.token is not null;
            perform pg_sleep(0.01);
        end loop;
        perform sentinai.fail(r.token, r.event_id, e.given);
        commit;
    end loop;
end $$;
select is((select history -> (e.n - 1) ->> 'error' from sentinai.dead_letter where worker_type = 'retry-text'), left(e.kept, length(e.kept) - case when e.n = 3 then 2730 - 341 else 0 end),
          'error ' || e.n || ' in the history') from errors e;
select is((select reason from sentinai.dead_letter where worker_type = 'retry-text'), (select kept from errors where n = 3), 'the last one, as much as has room');
select is((select array_agg(l.payload ->> 'error' order by l.event_id) from sentinai.event_log l join sentinai.dead_letter d on l.causation_id = d.event_id where d.worker_type = 'retry-text'),
          (select array_agg(kept order by n) from errors), 'and in the control events');
select throws_ok(format('select sentinai.publish(%L, %L, %L, %L)', t, 'retry', 'text', '{}'), 'SN422', null, 'nobody else can publish ' || t) from unnest('{RetryScheduled,DeadLettered}'::text[]) t;
select sentinai.unsubscribe('retry-text');

-- Arguments
select throws_ok($$select sentinai.fail(null, (select id from z), 'e')$$, '22004', null, 'no token');
select throws_ok($$select sentinai.fail('x', null, 'e')$$, '22004', null, 'no event');
select throws_ok($$select sentinai.fail('x', (select id from z), null)$$, '22004', null, 'no error');
select throws_ok($$select sentinai.fail('x', (select id from z), 'e', null)$$, '22004', null, 'neither retryable nor not');
select throws_ok($$select sentinai.fail('x', (select id from z), 'e')$$, 'SN404', null, 'no such token');
select throws_ok(format('select sentinai.fail(%L, (select id from z), %L, true, %L)', 'x', 'e', i), 'SN422', null, 'retry in ' || i) from unnest('{-1 s,367 days}'::text[]) i;
select throws_ok($$select sentinai.fail('x', (select id from z), 'e', true, '178000000 years')$$, '22008', null, 'retry out of range');

select sentinai.unsubscribe(w) from unnest('{retry-a,retry-b,retry-c,retry-g,retry-u,retry-watch,retry-all}'::text[]) w;
select is((select count(*) from sentinai_internal.event_retry r where not exists (select from sentinai_internal.subscription s where s.sub_id = r.sub_id)), 0::bigint, 'unsubscribe leaves no retries behind');
select * from finish();
