-- SPDX-License-Identifier: PostgreSQL
-- retry_event() and give_up_event(): people deal with an event that agents cannot.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(58);

create function pg_temp.put(sub text, variadic keys text[]) returns void language plpgsql as $$
declare k text; begin
    foreach k in array keys loop
        perform sentinai.publish('poison.' || sub, 'poison', split_part(k, '#', 1), jsonb_build_object('n', split_part(k, '#', 2)));
    end loop;
end $$;
create temp table c (sub text, o bigint, token text, event_id uuid, key text, attempt int);
create function pg_temp.shown(wt text) returns text language sql as $$ select string_agg(key || '/' || attempt, ' ' order by key) from c where sub = wt $$;
-- claims until it has at least n events
create function pg_temp.take(wt text, n int, most int default 100) returns text language plpgsql as $$
declare r record; begin
    delete from c where sub = wt;
    for i in 1..300 loop
        insert into c select wt, row_number() over (), x.token, x.event_id, x.aggregate_id || '#' || (x.payload ->> 'n'), x.attempt from sentinai.claim(wt, most, '1 hour', 'agent') x;
        exit when (select count(*) from c where sub = wt) >= n;
        perform pg_sleep(0.01);
    end loop;
    return pg_temp.shown(wt);
end $$;
create function pg_temp.token(wt text) returns text language sql as $$ select max(token) from c where sub = wt $$;
create function pg_temp.id(wt text, key text) returns uuid language sql as $$
    select event_id from sentinai.event_log where event_type = 'poison.' || wt and aggregate_id || '#' || (payload ->> 'n') = key $$;
-- what the views say is what is there
create function pg_temp.counted(wt text) returns text language sql as $$
    select concat_ws(' ', q.retrying = (select count(*) from sentinai_internal.event_retry r where r.sub_id = s.sub_id),
                     q.dead = (select count(*) from sentinai.dead_letter d where d.worker_type = wt and d.status = 'pending'))
    from sentinai.stat_queue q join sentinai_internal.subscription s using (worker_type) where worker_type = wt $$;

select sentinai.subscribe('p-skip', '{poison.p-skip}', backoff => '{1h}');
select sentinai.subscribe('p-block', '{poison.p-block}', backoff => '{1h}', on_dead => 'block');
select sentinai.subscribe('p-free', '{poison.p-free}', backoff => '{1h}', ordered => false);

-- In the hands of an agent
select pg_temp.put('p-skip', 'a#1', 'a#2', 'b#1');
select is(pg_temp.take('p-skip', 3), 'a#1/1 a#2/1 b#1/1', 'an agent has them');
select throws_ok($$select sentinai.retry_event(pg_temp.id('p-skip', 'a#1'), 'p-skip')$$, 'SN409', null, 'it works on the event: nothing to retry');
select lives_ok($$select sentinai.give_up_event(pg_temp.id('p-skip', 'a#1'), 'p-skip', 'night shift', 'it hangs')$$, 'given up from under it');
select is((select concat_ws('|', status, reason, attempts) from sentinai.dead_letter where event_id = pg_temp.id('p-skip', 'a#1')), 'pending|given up by night shift: it hangs|1', 'the letter says who and why');
select is((select count(*) from sentinai.event_log where event_type = 'DeadLettered' and causation_id = pg_temp.id('p-skip', 'a#1')), 1::bigint, 'an event tells of it');
select throws_ok($$select sentinai.complete(pg_temp.token('p-skip'), array[pg_temp.id('p-skip', 'a#1')])$$, 'SN409', null, 'the agent comes too late for it');
select is(sentinai.complete(pg_temp.token('p-skip')), 2, 'and keeps the rest');
select is(pg_temp.counted('p-skip'), 't t', 'the views say what is there');
select throws_ok($$select sentinai.give_up_event(pg_temp.id('p-skip', 'a#1'), 'p-skip', 'x', 'again')$$, 'SN409', null, 'twice');
select throws_ok($$select sentinai.give_up_event(pg_temp.id('p-skip', 'a#2'), 'p-skip', 'x', 'done')$$, 'SN409', null, 'what is completed');
select throws_ok($$select sentinai.retry_event(pg_temp.id('p-skip', 'a#1'), 'p-skip')$$, 'SN409', null, 'a dead letter has a function of its own');

-- The only event of a batch, of several lanes
select pg_temp.put('p-skip', 'c#1');
select is(pg_temp.take('p-skip', 1), 'c#1/1', 'one event');
select lives_ok($$select sentinai.give_up_event(pg_temp.id('p-skip', 'c#1'), 'p-skip', 'x', 'y')$$, 'given up');
select is(sentinai.complete(pg_temp.token('p-skip')), 0, 'its batch is resolved');
select is((select count(*) from sentinai.stat_agent where worker_type = 'p-skip'), 0::bigint, 'and nobody holds anything');

-- Waiting for its retry
select pg_temp.put('p-skip', 'd#1', 'd#2', 'e#1');
select is(pg_temp.take('p-skip', 3), 'd#1/1 d#2/1 e#1/1', 'three events');
select is(sentinai.fail(pg_temp.token('p-skip'), pg_temp.id('p-skip', 'd#1'), 'no'), 'retrying', 'the first fails');
select is(sentinai.complete(pg_temp.token('p-skip')), 1, 'the other key is done');
select throws_ok($$select sentinai.retry_event(pg_temp.id('p-skip', 'd#2'), 'p-skip')$$, 'SN409', null, 'one waits behind it');
select lives_ok($$select sentinai.retry_event(pg_temp.id('p-skip', 'd#1'), 'p-skip', 'night shift')$$, 'the first is due now');
select is(pg_temp.take('p-skip', 1), 'd#1/2', 'and handed out again, attempts go on counting');
select is(sentinai.fail(pg_temp.token('p-skip'), pg_temp.id('p-skip', 'd#1'), 'no'), 'retrying', 'it fails again');
select lives_ok($$select sentinai.give_up_event(pg_temp.id('p-skip', 'd#1'), 'p-skip', 'x', 'y')$$, 'and is given up while it waits');
select is(pg_temp.counted('p-skip'), 't t', 'the views say what is there');
select is(pg_temp.take('p-skip', 1), 'd#2/1', 'its key goes on');
select is(sentinai.complete(pg_temp.token('p-skip')), 1, 'to the end');

-- One that only waits behind another
select pg_temp.put('p-skip', 'f#1', 'f#2', 'f#3');
select is(pg_temp.take('p-skip', 3), 'f#1/1 f#2/1 f#3/1', 'three of a key');
select is(sentinai.fail(pg_temp.token('p-skip'), pg_temp.id('p-skip', 'f#1'), 'no'), 'retrying', 'the first fails');
select lives_ok($$select sentinai.give_up_event(pg_temp.id('p-skip', 'f#2'), 'p-skip', 'x', 'y')$$, 'the second is given up');
select is((select attempts from sentinai.dead_letter where event_id = pg_temp.id('p-skip', 'f#2')), 0, 'without an attempt');
select lives_ok($$select sentinai.retry_event(pg_temp.id('p-skip', 'f#1'), 'p-skip')$$, 'the first is retried');
select is(pg_temp.take('p-skip', 1), 'f#1/2', 'it comes alone');
select is(sentinai.complete(pg_temp.token('p-skip')), 1, 'it is done');
select is(pg_temp.take('p-skip', 1), 'f#3/1', 'the third comes after it');
select is(sentinai.complete(pg_temp.token('p-skip')), 1, 'and is done');
select is(pg_temp.counted('p-skip'), 't t', 'the views say what is there');

-- Given back, in a lane that nobody has; "block"
select pg_temp.put('p-block', 'a#1', 'a#2', 'a#3', 'b#1');
select is(pg_temp.take('p-block', 4), 'a#1/1 a#2/1 a#3/1 b#1/1', 'an agent has them');
select throws_ok($$select sentinai.retry_event(pg_temp.id('p-block', 'a#1'), 'p-skip')$$, 'SN404', null, 'an event of others');
select is(sentinai.revoke_lease('p-block', 'agent'), 4, 'its lease is revoked');
select throws_ok($$select sentinai.retry_event(pg_temp.id('p-block', 'a#1'), 'p-block')$$, 'SN404', null, 'it waits for no retry');
select lives_ok($$select sentinai.give_up_event(pg_temp.id('p-block', 'a#2'), 'p-block', 'x', 'y')$$, 'the second is given up');
select is(pg_temp.counted('p-block'), 't t', 'the views say what is there');
select is(pg_temp.take('p-block', 2), 'a#1/1 b#1/1', 'what is before it, and other keys, come');
select is(sentinai.complete(pg_temp.token('p-block')), 2, 'and are done');
select is((select count(*) from sentinai.claim('p-block')), 0::bigint, 'the key stands');
select lives_ok($$select sentinai.discard_dead_letter(pg_temp.id('p-block', 'a#2'), 'p-block', 'x', 'y')$$, 'the letter is dealt with');
select is(pg_temp.take('p-block', 1), 'a#3/1', 'the key goes on');
select is(sentinai.complete(pg_temp.token('p-block')), 1, 'to the end');

-- Without order
select pg_temp.put('p-free', 'a#1', 'a#2');
select is(pg_temp.take('p-free', 2), 'a#1/1 a#2/1', 'an agent has them');
select is(sentinai.fail(pg_temp.token('p-free'), e, 'no'), 'retrying', 'they fail') from unnest(array[pg_temp.id('p-free', 'a#1'), pg_temp.id('p-free', 'a#2')]) e;
select lives_ok($$select sentinai.retry_event(pg_temp.id('p-free', 'a#2'), 'p-free')$$, 'each has its own time');
select is(pg_temp.take('p-free', 1), 'a#2/2', 'the second comes alone');
select is(sentinai.complete(pg_temp.token('p-free')), 1, 'it is done');
select is(pg_temp.counted('p-free'), 't t', 'the views say what is there');

-- Arguments
select throws_ok($$select sentinai.retry_event(gen_random_uuid(), 'p-skip')$$, 'SN404', null, 'an event that is not there');
select throws_ok($$select sentinai.give_up_event(pg_temp.id('p-free', 'a#1'), 'none', 'x', 'y')$$, 'SN404', null, 'unknown worker type');
select throws_ok($$select sentinai.give_up_event(pg_temp.id('p-free', 'a#1'), 'p-free', E'\u001b', 'y')$$, 'SN422', null, 'an actor is printable');

select sentinai.unsubscribe(w) from unnest('{p-skip,p-block,p-free}'::text[]) w;
select * from finish();
