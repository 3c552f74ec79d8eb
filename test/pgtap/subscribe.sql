-- SPDX-License-Identifier: PostgreSQL
-- subscribe(), unsubscribe(), wait_for_work().
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(152);

create function pg_temp.publish(type text, n int) returns uuid[] language sql as $$
    select sentinai.publish_batch(array_agg(type), array_agg('subs'::text), array_agg('k' || i % 3), array_agg(jsonb_build_object('n', i) order by i))
    from generate_series(1, n) i $$;
\set tenant subs
\ir lib/queue.sql
-- what a subscription gets until there is no more
create function pg_temp.drain(wt text) returns text language plpgsql as $$
declare r record; t text; result text[]; begin
    perform pg_temp.sequenced();
    loop
        t := null;
        for r in select * from sentinai.claim(wt, 1000) loop t := r.token; result := result || r.event_type; end loop;
        exit when t is null;
        perform sentinai.complete(t);
    end loop;
    return (select string_agg(x || '*' || n, ' ' order by x) from (select x, count(*) n from unnest(result) x where x like 's.%' group by x) y); end $$;
create function pg_temp.elsewhere() returns text language sql as $$
    select format('host=%s port=%s dbname=%s user=%s', trim(split_part(current_setting('unix_socket_directories'), ',', 1)),
                  current_setting('port'), current_database(), session_user) $$;
create extension if not exists dblink;

-- Where a subscription begins
select pg_temp.publish('s.old', 4);
select pg_temp.publish('s.other', 2);
create temp table moment as select clock_timestamp() as t;
select pg_temp.publish('s.mid', 3);
select sentinai.subscribe('subs-latest');
select sentinai.subscribe('subs-filter', '{s.new,s.mid,s.new}');
select sentinai.subscribe('subs-earliest', '{s.old,s.mid,s.new}', 'earliest');
select sentinai.subscribe('subs-time', start_from => (select t::text from moment));
select sentinai.subscribe('subs-future', start_from => '2090-01-01 00:00Z');
select pg_temp.publish('s.new', 2);
select is(pg_temp.drain('subs-latest'), 's.new*2', 'latest: what comes after');
select is(pg_temp.drain('subs-filter'), 's.new*2', 'latest, of some types');
select is(pg_temp.drain('subs-earliest'), 's.mid*3 s.new*2 s.old*4', 'earliest: everything of those types');
select is(pg_temp.drain('subs-time'), 's.mid*3 s.new*2', 'a time: what occurred since');
select is(pg_temp.drain('subs-future'), null, 'a time to come: nothing yet');
select is((select event_types from sentinai_internal.stream join sentinai_internal.subscription using (stream_id) where worker_type = 'subs-filter'), '{s.mid,s.new}', 'types are sorted, each once');
select pg_temp.publish('s.new', 1), pg_temp.publish('s.other', 1);
select is(pg_temp.drain('subs-filter'), 's.new*1', 'and it goes on');
select is(pg_temp.drain('subs-earliest'), 's.new*1', 'in its own stream, too');
select is(pg_temp.drain('subs-latest'), 's.new*1 s.other*1', 'and for all types');

-- alter_subscription() changes what it is given
create function pg_temp.settings(wt text) returns text language sql as $$
    select concat_ws(' ', coalesce(event_types::text, 'all'), max_attempts, backoff, on_dead, ordered)
    from sentinai_internal.subscription join sentinai_internal.stream using (stream_id) where worker_type = wt $$;
select sentinai.subscribe('subs-alter', '{s.x,s.y}', max_attempts => 7, backoff => '{3s}', on_dead => 'block');
select sentinai.alter_subscription('subs-alter');
select is(pg_temp.settings('subs-alter'), '{s.x,s.y} 7 {00:00:03} block t', 'nothing given: nothing changes');
select sentinai.alter_subscription('subs-alter', max_attempts => 2);
select is(pg_temp.settings('subs-alter'), '{s.x,s.y} 2 {00:00:03} block t', 'attempts alone');
select sentinai.alter_subscription('subs-alter', backoff => '{1m,2m}', on_dead => 'skip');
select is(pg_temp.settings('subs-alter'), '{s.x,s.y} 2 {00:01:00,00:02:00} skip t', 'two of them');
select sentinai.alter_subscription('subs-alter', '{s.z}');
select is(pg_temp.settings('subs-alter'), '{s.z} 2 {00:01:00,00:02:00} skip t', 'the filter');
select sentinai.alter_subscription('subs-alter', ordered => false);
select pg_temp.publish('s.z', 2), pg_temp.publish('s.x', 2);
select is(pg_temp.drain('subs-alter'), 's.z*2', 'and it holds');
select sentinai.alter_subscription('subs-alter', all_event_types => true);
select is(pg_temp.settings('subs-alter'), 'all 2 {00:01:00,00:02:00} skip f', 'the filter taken away');
select pg_temp.publish('s.z', 1), pg_temp.publish('s.x', 1);
select is(pg_temp.drain('subs-alter'), 's.x*1 s.z*1', 'all types from then on');
select throws_ok($$select sentinai.alter_subscription('subs-none')$$, 'SN404', null, 'a subscription that is not there');
select throws_ok($$select sentinai.alter_subscription('relay', max_attempts => 2)$$, 'SN404', null, 'the relay''s is its own');
select throws_ok($$select sentinai.alter_subscription(null)$$, '22004', null, 'no worker type');
select throws_ok($$select sentinai.alter_subscription('subs-alter', '{s.x}', all_event_types => true)$$, 'SN422', null, 'a filter and none');
select throws_ok($$select sentinai.alter_subscription('subs-alter', '{}')$$, 'SN422', null, 'an empty filter is a mistake');
select throws_ok($$select sentinai.alter_subscription('subs-alter', max_attempts => 0)$$, 'SN422', null, 'no attempts');
select sentinai.unsubscribe('subs-alter');

-- Types that no event can have
select throws_ok(format('select sentinai.subscribe(%L, array[%L])', 'subs-never', t), 'SN422', null, 'an impossible type: ' || t)
from unnest(array['a b', '1st', E'a\n']) t;
select lives_ok($$select sentinai.subscribe('subs-never', '{DeadLettered}')$$, 'control events may be asked for');
select sentinai.unsubscribe('subs-never');

-- Exact: by the transaction's end, not by the time of the call
select dblink_connect('c1', pg_temp.elsewhere()), dblink_connect('c2', pg_temp.elsewhere());
select dblink_exec('c1', 'begin');
select * from dblink('c1', $$select sentinai.publish('s.late', 'subs', 'k', '{}')::text$$) as d(id text);
begin;
select sentinai.publish('s.before', 'subs', 'k', '{}');
select sentinai.subscribe('subs-exact');
select sentinai.publish('s.after', 'subs', 'k', '{}');
commit;
select dblink_exec('c1', 'commit');
select is(pg_temp.drain('subs-exact'), 's.after*1 s.before*1 s.late*1', 'latest: transactions that were running, and its own');

-- Change
select sentinai.subscribe('subs-change', '{s.a}', 'earliest');
select pg_temp.publish('s.a', 2), pg_temp.publish('s.b', 3);
select is(pg_temp.drain('subs-change'), 's.a*2', 'the first filter');
select pg_temp.publish('s.a', 1), pg_temp.publish('s.b', 1);
-- so that both are in a round
select pg_temp.drain('subs-latest');
create temp table open as select * from sentinai.claim('subs-change', 1);
select sentinai.subscribe('subs-change', '{s.b}', max_attempts => 7, backoff => '{3s}', on_dead => 'block', ordered => false);
select pg_temp.publish('s.a', 4), pg_temp.publish('s.b', 5);
select is(sentinai.complete((select token from open)), 1, 'a batch outlives the change');
select is(pg_temp.drain('subs-change'), 's.b*5', 'what was sequenced before comes by the old filter, the rest by the new one');
select is((select concat_ws(' ', max_attempts, backoff, on_dead, ordered) from sentinai_internal.subscription where worker_type = 'subs-change'), '7 {00:00:03} block f', 'the policy is the new one');
select sentinai.subscribe('subs-change', '{s.a}');
select pg_temp.publish('s.a', 1), pg_temp.publish('s.b', 1);
select sentinai.subscribe('subs-change');
select pg_temp.publish('s.c', 1);
select is(pg_temp.drain('subs-change') ~ '^s.a\*1 (s.b\*1 )?s.c\*1$', true, 'changed twice while there is a backlog');
select is((select count(*) from sentinai_internal.subscription where worker_type = 'subs-change'), 1::bigint, 'it is one subscription');
select sentinai.subscribe('subs-change', '{s.c}');
select is((select coalesce(cardinality(old_streams), 0) <= 1 from sentinai_internal.subscription where worker_type = 'subs-change'), true, 'filters of the past are forgotten');
select is((select count(*) from sentinai_internal.stream where event_types = '{s.b}'), 0::bigint, 'and their streams');

-- Other rules under a backlog: everything that waits is handed out once, by the new rules, and nothing stays
create function pg_temp.keys(wt text) returns uuid[] language sql as $$
    select sentinai.publish_batch(array_agg('s.r'::text), array_agg('subs'::text), array_agg(key), array_agg(jsonb_build_object('n', n) order by key, n))
    from unnest('{r1,r2}'::text[]) key, generate_series(1, 3) n $$;
create temp table batch (o bigint, token text, event_id uuid, key text, n text, attempt int);
create procedure pg_temp.ready(wt text) language plpgsql as $$
begin
    perform pg_temp.sequenced();
    truncate batch;
    insert into batch select row_number() over (), token, event_id, aggregate_id, payload ->> 'n', attempt from sentinai.claim(wt);
end $$;
create function pg_temp.got() returns text language sql as $$ select string_agg(key || '.' || n || '#' || attempt, ' ' order by key, o) from batch $$;
create function pg_temp.waits(wt text) returns text language sql as $$
    select string_agg(r.aggregate_id || '.' || (l.payload ->> 'n') || case when due_at is null then '' else '!' end, ' ' order by r.aggregate_id, pos)
    from sentinai_internal.event_retry r join sentinai_internal.subscription s using (sub_id) join sentinai.event_log l using (event_id) where worker_type = wt $$;
create function pg_temp.lanes(wt text) returns text language sql as $$
    select format('open %s parked %s dead %s', sum(open), sum(parked), sum(dead)) from (
        select distinct on (lane) l.* from sentinai_internal.lane_state l join sentinai_internal.subscription s using (sub_id) where worker_type = wt order by lane, ver desc) x $$;
-- every event fails whose n is this
create function pg_temp.fail(n int, retry_in interval default '0', retryable boolean default true) returns text language sql as $$
    select string_agg(sentinai.fail(token, event_id, 'e', retryable, retry_in), ' ') from batch b where b.n = fail.n::text $$;

-- ordered, then not
select sentinai.subscribe('subs-rules', '{s.r}', backoff => '{0s}');
select pg_temp.keys('subs-rules');
call pg_temp.ready('subs-rules');
select is(pg_temp.got(), 'r1.1#1 r1.2#1 r1.3#1 r2.1#1 r2.2#1 r2.3#1', 'two keys');
select pg_temp.fail(2, '1 hour'), pg_temp.fail(1);
select is(pg_temp.waits('subs-rules'), 'r1.1! r1.2 r1.3 r2.1! r2.2 r2.3', 'the later wait behind the first');
select sentinai.subscribe('subs-rules', '{s.r}', backoff => '{0s}', ordered => false);
select is(pg_temp.waits('subs-rules'), 'r1.1! r1.2! r1.3! r2.1! r2.2! r2.3!', 'not ordered: nothing waits behind another');
call pg_temp.ready('subs-rules');
select is(pg_temp.got(), 'r1.1#2 r1.3#1 r2.1#2 r2.3#1', 'all are handed out but what has a wait of its own');
select is((select count(*) from sentinai_internal.event_retry join sentinai_internal.subscription using (sub_id) where worker_type = 'subs-rules' and due_at > clock_timestamp() + interval '50 minutes'), 2::bigint, 'which it keeps');
select is(pg_temp.fail(3), 'retrying retrying', 'some fail');
select is(sentinai.complete((select min(token) from batch)), 2, 'some are done');

-- and back: what is out stays out, the rest of a key waits for its first
call pg_temp.ready('subs-rules');
select is(pg_temp.got(), 'r1.3#2 r2.3#2', 'out while the rules change');
select sentinai.subscribe('subs-rules', '{s.r}', backoff => '{0s}');
select is(pg_temp.waits('subs-rules'), 'r1.2! r1.3 r2.2! r2.3', 'ordered: the first of each key, the others behind it');
select is(pg_temp.fail(3), 'retrying retrying', 'the batch goes on');
select is(pg_temp.waits('subs-rules'), 'r1.2! r1.3 r2.2! r2.3', 'what fails waits behind the first');
call pg_temp.ready('subs-rules');
select is(pg_temp.got(), null, 'and is not handed out before it');
select sentinai.subscribe('subs-rules', '{s.r}', backoff => '{0s}', ordered => false);
call pg_temp.ready('subs-rules');
select is(pg_temp.got(), 'r1.3#3 r2.3#3', 'not ordered: at once');
select is(sentinai.complete((select min(token) from batch)), 2, 'done');

-- an event given back while a later one of its key waits: in order again, it comes first
select sentinai.unsubscribe('subs-rules');
select sentinai.subscribe('subs-rules', '{s.r}', backoff => '{0s}', ordered => false);
select pg_temp.keys('subs-rules');
call pg_temp.ready('subs-rules');
select pg_temp.fail(3);
select is(sentinai.release((select min(token) from batch)), 4, 'given back');
select sentinai.subscribe('subs-rules', '{s.r}', backoff => '{0s}');
select is(pg_temp.waits('subs-rules'), 'r1.1! r1.2 r1.3 r2.1! r2.2 r2.3', 'it has its place before the later one');
call pg_temp.ready('subs-rules');
select is(pg_temp.got(), 'r1.1#1 r1.2#1 r2.1#1 r2.2#1', 'and is handed out first');
select is(sentinai.complete((select min(token) from batch)), 4, 'done');
call pg_temp.ready('subs-rules');
select is(pg_temp.got(), 'r1.3#2 r2.3#2', 'then the later one');
select is(sentinai.complete((select min(token) from batch)), 2, 'done');
select is(pg_temp.lanes('subs-rules'), 'open 0 parked 0 dead 0', 'nothing is left');

-- A key that a dead letter blocks goes on when letters block no more; the letter stays
select sentinai.subscribe('subs-rules', '{s.r}', backoff => '{0s}', on_dead => 'block');
select pg_temp.keys('subs-rules');
call pg_temp.ready('subs-rules');
select is(pg_temp.fail(1, retryable => false), 'dead dead', 'two keys are blocked');
call pg_temp.ready('subs-rules');
select is(pg_temp.got(), null, 'and stand still');
select sentinai.subscribe('subs-rules', '{s.r}', backoff => '{0s}');
select is(pg_temp.lanes('subs-rules'), 'open 0 parked 4 dead 2', 'they do not any more');
call pg_temp.ready('subs-rules');
select is(pg_temp.got(), 'r1.2#1 r1.3#1 r2.2#1 r2.3#1', 'they go on');
select sentinai.subscribe('subs-rules', '{s.r}', backoff => '{0s}', on_dead => 'block');
select is(sentinai.complete((select min(token) from batch)), 4, 'letters of before do not block');
select is((select count(*) from sentinai.dead_letter where worker_type = 'subs-rules' and status = 'pending'), 2::bigint, 'they wait to be dealt with');
select sentinai.retry_dead_letter(event_id, 'subs-rules') from sentinai.dead_letter where worker_type = 'subs-rules';
call pg_temp.ready('subs-rules');
select is(sentinai.complete((select min(token) from batch)), 2, 'and can be');
select is(pg_temp.lanes('subs-rules'), 'open 0 parked 0 dead 0', 'nothing is left');
select pg_temp.keys('subs-rules');
call pg_temp.ready('subs-rules');
select is(pg_temp.fail(1, retryable => false), 'dead dead', 'blocked again,');
select sentinai.subscribe('subs-rules', '{s.r}', backoff => '{0s}', on_dead => 'block', ordered => false);
call pg_temp.ready('subs-rules');
select is(pg_temp.got(), 'r1.2#1 r1.3#1 r2.2#1 r2.3#1', 'not ordered: nothing blocks');
select is(sentinai.complete((select min(token) from batch)), 4, 'done');
select sentinai.discard_dead_letter(event_id, 'subs-rules', 'me', 'r') from sentinai.dead_letter where worker_type = 'subs-rules' and status = 'pending';
select is(pg_temp.lanes('subs-rules'), 'open 0 parked 0 dead 0', 'nothing is left');

-- Fewer and more attempts, other waits, another filter, other policies: what waits gets the attempt that it waits for
select sentinai.subscribe('subs-rules', '{s.r}', max_attempts => 5, backoff => '{0s}');
select pg_temp.keys('subs-rules');
call pg_temp.ready('subs-rules');
select pg_temp.fail(1);
call pg_temp.ready('subs-rules');
select is(pg_temp.fail(1), 'retrying retrying', 'two attempts have failed');
select sentinai.subscribe('subs-rules', '{s.none}', max_attempts => 1, backoff => '{1 hour}');
call pg_temp.ready('subs-rules');
select is(pg_temp.got(), 'r1.1#3 r2.1#3', 'one attempt allowed, other waits, another filter: the third comes as it was to');
select is(pg_temp.fail(1), 'dead dead', 'and is the last');
call pg_temp.ready('subs-rules');
select is(pg_temp.got(), 'r1.2#1 r1.3#1 r2.2#1 r2.3#1', 'those behind it are handed out, though the filter has none of them');
select sentinai.set_retry_policy('subs-rules', 's.r', 2, '{0s}');
select is(pg_temp.fail(2), 'retrying retrying', 'more attempts by a policy of the type hold at the next failure');
select sentinai.set_retry_policy('subs-rules', 's.r');
call pg_temp.ready('subs-rules');
select is(pg_temp.got(), 'r1.2#2 r2.2#2', 'the policy ends, the attempt comes');
select is(sentinai.complete((select min(token) from batch)), 2, 'done');
call pg_temp.ready('subs-rules');
select is(sentinai.complete((select min(token) from batch)), 2, 'done');
select is(pg_temp.lanes('subs-rules'), 'open 0 parked 0 dead 2', 'nothing is left but the letters');
select is((select count(*) from sentinai_internal.event_retry join sentinai_internal.subscription using (sub_id) where worker_type = 'subs-rules'), 0::bigint, 'nothing that retention would wait for');
select sentinai.unsubscribe('subs-rules');

-- The end
select sentinai.subscribe('subs-end', max_attempts => 3);
select sentinai.set_retry_policy('subs-end', 's.x', 1, '{1s}');
select pg_temp.publish('s.x', 6);
create temp table e as select * from sentinai.claim('subs-end');
select sentinai.unsubscribe('subs-end');
select throws_ok($$select sentinai.complete((select token from e limit 1))$$, 'SN404', null, 'its tokens are unknown');
select throws_ok($$select sentinai.release((select token from e limit 1))$$, 'SN404', null, 'to all functions');
select throws_ok($$select * from sentinai.claim('subs-end')$$, 'SN404', null, 'and so is it');
select throws_ok($$select sentinai.unsubscribe('subs-end')$$, 'SN404', null, 'it cannot end twice');
select is((select count(*) from sentinai_internal.retry_policy where worker_type = 'subs-end'), 0::bigint, 'its policies are gone');
select is((select count(*) from sentinai_internal.lane_state l where not exists (select from sentinai_internal.subscription s where s.sub_id = l.sub_id)), 0::bigint, 'its lanes as well');
begin;
select sentinai.subscribe('subs-never');
rollback;
select throws_ok($$select * from sentinai.claim('subs-never')$$, 'SN404', null, 'a subscription that was rolled back is none');
begin;
select sentinai.unsubscribe('subs-time');
select throws_ok($$select * from sentinai.claim('subs-time')$$, 'SN404', null, 'gone for its own transaction');
rollback;
select lives_ok($$select * from sentinai.claim('subs-time')$$, 'and back after the rollback');

-- Arguments
select throws_ok(format('select sentinai.subscribe(%L)', w), 'SN422', null, 'worker type ' || left(w, 20)) from (values (''), ('a b'), ('ä'), ('a;b'), ('relay'), (repeat('x', 101)), ('a' || chr(10))) v(w);
select lives_ok($$select sentinai.subscribe('az.AZ_09:-' || repeat('x', 90))$$, 'a worker type of every kind of character');
select sentinai.unsubscribe('az.AZ_09:-' || repeat('x', 90));
select throws_ok($$select sentinai.subscribe(null)$$, '22004', null, 'no worker type');
select throws_ok($$select sentinai.subscribe('subs-bad', '{}')$$, 'SN422', null, 'no event types');
select throws_ok($$select sentinai.subscribe('subs-bad', '{a,null}')$$, '22004', null, 'null among the event types');
select throws_ok($$select sentinai.subscribe('subs-bad', '{{a},{b}}')$$, 'SN422', null, 'event types in two dimensions');
select throws_ok($$select sentinai.subscribe('subs-bad', '{""}')$$, 'SN422', null, 'an event type without a name');
select throws_ok($$select sentinai.subscribe('subs-bad', (select array_agg('t' || i) from generate_series(1, 1001) i))$$, 'SN422', null, 'too many event types');
select throws_ok(format('select sentinai.subscribe(%L, null, %L)', 'subs-bad', f), 'SN422', null, 'start from ' || f) from unnest('{"",now and then,infinity,-infinity,2026-13-01,Latest,300000-01-01,"2026-01-01 25:00"}'::text[]) f;
select throws_ok($$select sentinai.subscribe('subs-bad', null, null)$$, '22004', null, 'no start');
select throws_ok(format('select sentinai.subscribe(%L, max_attempts => %s)', 'subs-bad', n), 'SN422', null, n || ' attempts') from unnest('{0,-1,1001,2147483647}'::int[]) n;
select throws_ok($$select sentinai.subscribe('subs-bad', max_attempts => null)$$, '22004', null, 'attempts unknown');
select throws_ok($$select sentinai.subscribe('subs-bad', backoff => null)$$, '22004', null, 'no waits');
select throws_ok($$select sentinai.subscribe('subs-bad', backoff => '{}')$$, 'SN422', null, 'empty waits');
select throws_ok($$select sentinai.subscribe('subs-bad', backoff => '{1s,null}')$$, '22004', null, 'null among the waits');
select throws_ok(format('select sentinai.subscribe(%L, backoff => array[%L::interval])', 'subs-bad', b), 'SN422', null, 'wait ' || b) from unnest('{-1 s,367 days}'::text[]) b;
select throws_ok($$select sentinai.subscribe('subs-bad', backoff => '{178000000 years}')$$, '22008', null, 'wait out of range');
select throws_ok($$select sentinai.subscribe('subs-bad', on_dead => 'stop')$$, 'SN422', null, 'on_dead unknown');
select throws_ok($$select sentinai.subscribe('subs-bad', on_dead => null)$$, '22004', null, 'no on_dead');
select throws_ok($$select sentinai.subscribe('subs-bad', ordered => null)$$, '22004', null, 'ordered or not');
select throws_ok($$select sentinai.unsubscribe(null)$$, '22004', null, 'the end of nothing');
select throws_ok($$select sentinai.unsubscribe('relay')$$, 'SN404', null, 'the relay ends otherwise');
select is((select count(*) from sentinai_internal.subscription where worker_type = 'subs-bad'), 0::bigint, 'nothing came of all that');

-- Waiting
select sentinai.subscribe('subs-wait');
select sentinai.subscribe('subs-wait2', backoff => '{300ms}');
call sentinai.wait_for_work('subs-wait', '0', null) \gset
select is(:'ready'::text, 'f', 'nothing to do');
select is(dblink_send_query('c1', $$call sentinai.wait_for_work('subs-wait', '20 s', null)$$), 1, 'somebody waits');
do $$ begin
    for i in 1..200 loop
        perform pg_stat_clear_snapshot();
        exit when exists (select from pg_stat_activity where query like 'call sentinai.wait_for_work%' and wait_event_type = 'Extension');
        perform pg_sleep(0.05);
    end loop;
end $$;
select is((select count(*) from pg_stat_activity where query like 'call sentinai.wait_for_work(''subs-wait''%' and backend_xmin is not null), 0::bigint, 'and pins no snapshot meanwhile');
create temp table since as select clock_timestamp() as t;
select pg_temp.publish('s.wake', 1);
select is((select ready from dblink_get_result('c1') as d(ready boolean)), true, 'an event wakes them');
select cmp_ok((select clock_timestamp() - t from since), '<', interval '5 seconds', 'at once');
call sentinai.wait_for_work('subs-wait', '10 s', null) \gset
select is(:'ready'::text, 't', 'work is there');
begin;
call sentinai.wait_for_work('subs-wait', '10 s', null) \gset
select is(:'ready'::text, 't', 'in a transaction, too');
commit;
create temp table w as select * from sentinai.claim('subs-wait', lease => '300 ms');
call sentinai.wait_for_work('subs-wait', '0', null) \gset
select is(:'ready'::text, 'f', 'what others work on is no work');
call sentinai.wait_for_work('subs-wait', '10 s', null) \gset
select is(:'ready'::text, 't', 'until their lease is over');
select is((select string_agg(attempt::text, '') from sentinai.claim('subs-wait')), '2', 'and it can be claimed');
create temp table r as select * from sentinai.claim('subs-wait2');
select is(sentinai.fail((select token from r), (select event_id from r), 'e'), 'retrying', 'a retry');
call sentinai.wait_for_work('subs-wait2', '10 s', null) \gset
select is(:'ready'::text, 't', 'is waited for');
select cmp_ok((select count(*) from sentinai.claim('subs-wait2') where attempt = 2), '=', 1::bigint, 'and claimed');
select throws_ok($$call sentinai.wait_for_work('subs-nobody', '1 s', null)$$, 'SN404', null, 'waiting for nobody');
select throws_ok($$call sentinai.wait_for_work(null, '1 s', null)$$, '22004', null, 'waiting for nothing');
select throws_ok($$call sentinai.wait_for_work('subs-wait', null, null)$$, '22004', null, 'waiting for ever');
select throws_ok(format('call sentinai.wait_for_work(%L, %L, null)', 'subs-wait', t), 'SN422', null, 'waiting ' || t) from unnest('{-1 s,2 days}'::text[]) t;

-- An event behind one that waits for its retry has to be looked at
select sentinai.subscribe('subs-held', '{s.held}');
select pg_temp.publish('s.held', 1);
select pg_temp.sequenced();
select is((select sentinai.fail(token, event_id, 'e', retry_in => '1 hour') from sentinai.claim('subs-held')), 'retrying', 'a key is blocked');
select pg_temp.publish('s.held', 1);
select pg_temp.sequenced();
select is(dblink_send_query('c2', $$call sentinai.wait_for_work('subs-held', '2 s', null)$$), 1, 'somebody waits');
do $$ begin
    for i in 1..200 loop
        perform pg_stat_clear_snapshot();
        exit when exists (select from pg_stat_activity where query like 'call sentinai.wait_for_work(''subs-held''%' and wait_event_type = 'Extension');
        perform pg_sleep(0.005);
    end loop;
end $$;
select is((select string_agg(relation::regclass::text, ' ') from pg_locks join pg_stat_activity using (pid) where relation is not null and query like 'call sentinai.wait_for_work(''subs-held''%'), null, 'and holds no lock meanwhile');
select is((select ready from dblink_get_result('c2') as d(ready boolean)), false, 'nor finds work');
select sentinai.unsubscribe('subs-held');

-- Numbers of subscriptions go up to 2^31, and as far as that a session finds its lanes
select last_value as used from sentinai_internal.subscription_sub_id_seq \gset
select setval('sentinai_internal.subscription_sub_id_seq', 33554432 + :used);
select sentinai.subscribe('subs-large', '{s.large}');
select setval('sentinai_internal.subscription_sub_id_seq', :used);
select cmp_ok(sub_id, '>', 33554432, 'a large number') from sentinai_internal.subscription where worker_type = 'subs-large';
select pg_temp.publish('s.large', 20);
select is(pg_temp.drain('subs-large'), 's.large*20', 'whose events are handed out');
select is(pg_temp.drain('subs-large'), null, 'and completed');
select sentinai.unsubscribe('subs-large');

select dblink_disconnect('c1'), dblink_disconnect('c2');
select sentinai.unsubscribe(w) from unnest('{subs-latest,subs-filter,subs-earliest,subs-time,subs-future,subs-exact,subs-change,subs-wait,subs-wait2}'::text[]) w;
select * from finish();
