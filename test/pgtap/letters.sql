-- SPDX-License-Identifier: PostgreSQL
-- Many dead letters: pages, counts, retry and discard of many, edit_and_retry(), alerts.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(122);

\set tenant let
\ir lib/queue.sql
create function pg_temp.publish(tenant text, key text, n int) returns uuid[] language sql as $$
    select sentinai.publish_batch(array_agg('l.t'::text), array_agg(tenant), array_agg(key), array_agg(jsonb_build_object('n', i) order by i))
    from generate_series(1, n) i $$;
-- everything that there is fails for good, the first of each key in each round
create procedure pg_temp.kill(wt text, how text, inout n int default 0) language plpgsql as $$
declare c record; k int; t text;
begin
    loop
        perform pg_temp.sequenced();
        k := 0;
        for c in select * from (select distinct on (tenant_id, aggregate_id) token, event_id, ord
                                from (select *, row_number() over () as ord from sentinai.claim(wt, 1000)) x
                                order by tenant_id, aggregate_id, ord) y loop
            perform sentinai.fail(c.token, c.event_id, how, false);
            t := c.token;
            k := k + 1;
        end loop;
        exit when k = 0;
        n := n + k;
        perform sentinai.release(t);
        commit;
    end loop;
end $$;
create function pg_temp.stats(t text) returns text language sql as $$
    select format('%s: %s %s %s %s', total, pending, retrying, succeeded, discarded) from sentinai.dead_letter_stats(t) $$;
create function pg_temp.counted(t text) returns text language sql as $$
    select format('%s: %s %s %s %s', count(*), count(*) filter (where status = 'pending'), count(*) filter (where status = 'retrying'),
                  count(*) filter (where status = 'succeeded'), count(*) filter (where status = 'discarded'))
    from sentinai.dead_letter where tenant_id = t or t is null $$;
create function pg_temp.dead(wt text) returns bigint language sql as $$
    select sum(dead)::bigint from sentinai.stat_lane where worker_type = wt $$;

select sentinai.subscribe('let-a', '{l.t}', max_attempts => 2, backoff => '{0s}');
select sentinai.subscribe('let-b', '{l.t}', max_attempts => 1, on_dead => 'block');
select sentinai.subscribe('let-watch', '{DeadLetterRetried,DeadLetterDiscarded,DeadLetterReplaced,AlertRaised,AlertCleared}');
select pg_temp.publish('let1', 'k' || i, 3) from generate_series(1, 10) i;
select pg_temp.publish('let2', 'k' || i, 2) from generate_series(1, 5) i;
select pg_temp.publish('let3', null, 4);
call pg_temp.kill('let-a', 'socket closed by peer') \gset
select is(:n, 44, 'they die');

-- Pages
select is((select count(*) from sentinai.dead_letters('let1')), 30::bigint, 'the letters of a tenant');
select is((select count(*) from sentinai.dead_letters(worker_type => 'let-a')), 44::bigint, 'of a worker type');
select is((select count(*) from sentinai.dead_letters(tenant_id => 'let3', worker_type => 'let-a', event_type => 'l.t', status => 'pending', error => 'closed by')), 4::bigint, 'all filters together');
select is((select count(*) from sentinai.dead_letters('let1', worker_type => 'let-b')), 0::bigint, 'none of another worker type');
select is((select count(*) from sentinai.dead_letters('let1', event_type => 'l.u')), 0::bigint, 'nor of another event type');
select is((select count(*) from sentinai.dead_letters('let1', status => 'discarded')), 0::bigint, 'nor of another status');
select is((select count(*) from sentinai.dead_letters('let1', error => 'Closed')), 0::bigint, 'nor with another reason');
select is((select count(*) from sentinai.dead_letters('let1', from_time => (select max(dead_at) from sentinai.dead_letter))), (select count(*) from sentinai.dead_letter where tenant_id = 'let1' and dead_at = (select max(dead_at) from sentinai.dead_letter)), 'from a time on');
select is((select count(*) from sentinai.dead_letters('let1', to_time => (select min(dead_at) from sentinai.dead_letter))), 0::bigint, 'before a time');
select ok((select bool_and(dead_at <= before) from (select dead_at, lag(dead_at) over () as before from sentinai.dead_letters('let1')) x), 'newest first');
create function pg_temp.pages(size int, t text, w text) returns table (event_id uuid, worker_type text, page int) language plpgsql as $$
declare c text; i int := 0; r record; n int;
begin
    loop
        n := 0;
        for r in select * from sentinai.dead_letters(t, w, max_letters => size, after_cursor => c) loop
            event_id := r.event_id; worker_type := r.worker_type; page := i; c := r.cursor; n := n + 1;
            return next;
        end loop;
        i := i + 1;
        exit when n = 0 or i > 100;
    end loop;
end $$;
select is((select count(*) || ' ' || count(distinct event_id) || ' ' || max(page) from pg_temp.pages(7, 'let1', null)), '30 30 4', 'pages have every letter once');
select is((select count(*) || ' ' || count(distinct event_id) from pg_temp.pages(1, null, null)), (select least(count(*), 101) || ' ' || least(count(distinct event_id), 101) from sentinai.dead_letter), 'of any size');
select is((select array_agg(event_id) from pg_temp.pages(3, null, 'let-a')), (select array_agg(event_id) from sentinai.dead_letters(worker_type => 'let-a')), 'in one order');
select throws_ok($$select * from sentinai.dead_letters(status => 'alive')$$, 'SN422', null, 'no such status');
select throws_ok($$select * from sentinai.dead_letters(max_letters => 0)$$, 'SN422', null, 'no such page');
select throws_ok($$select * from sentinai.dead_letters(max_letters => 1001)$$, 'SN422', null, 'too large a page');
select throws_ok(format($$select * from sentinai.dead_letters(after_cursor => %L)$$, c), 'SN422', null, 'no such cursor: ' || c)
    from unnest(array['', 'x', repeat('0', 60), '000000000000000z.' || repeat('0', 32) || '.a', '0000000000000000.' || repeat('0', 32) || '.']) c;
select is((select payload || metadata from sentinai.get_dead_letter((select event_id from sentinai.dead_letters('let3') order by cursor limit 1), 'let-a')), '{"n": 1}', 'one letter, whole') ;
select is((select to_jsonb(g) from sentinai.dead_letters('let3', max_letters => 1) l, sentinai.get_dead_letter(l.event_id, l.worker_type) g),
    (select to_jsonb(d) from sentinai.dead_letters('let3', max_letters => 1) l join sentinai.dead_letter d using (event_id, worker_type)), 'as the view has it');
select throws_ok($$select sentinai.get_dead_letter(gen_random_uuid(), 'let-a')$$, 'SN404', null, 'no such letter');

-- Counts
select is(pg_temp.stats('let1'), '30: 30 0 0 0', 'counts of a tenant');
select is(pg_temp.stats(null), pg_temp.counted(null), 'of all');
select is(pg_temp.stats('nobody'), '0: 0 0 0 0', 'of none');
select is((select by_worker_type || by_event_type from sentinai.dead_letter_stats('let2')), '{"l.t": {"pending": 10, "retrying": 0, "discarded": 0, "succeeded": 0}, "let-a": {"pending": 10, "retrying": 0, "discarded": 0, "succeeded": 0}}', 'by worker type and event type');
select is((select oldest_pending_at from sentinai.dead_letter_stats('let2')), (select min(dead_at) from sentinai.dead_letter where tenant_id = 'let2'), 'and the oldest');
select sentinai.maintain();
select is(pg_temp.stats('let1'), '30: 30 0 0 0', 'the same when folded');
select is((select count(*) from sentinai_internal.dead_letter_count where tenant_id like 'let_'), 3::bigint, 'into a row for each');

-- Retry of many
create temp table ev (kind text, cause uuid, what jsonb);
create function pg_temp.news() returns int language sql as $$
    with c as (select token, event_id, event_type, causation_id, payload from sentinai.claim('let-watch', 1000)),
         i as (insert into ev select event_type, causation_id, payload from c),
         d as (select sentinai.complete(token) as n from (select min(token) as token from c having count(*) > 0) x)
    select coalesce(sum(n), 0)::int from d $$;
select throws_ok($$select sentinai.retry_dead_letters()$$, 'SN422', null, 'not without a filter');
select throws_ok($$select sentinai.discard_dead_letters('let1')$$, '22004', null, 'to discard needs an actor');
select throws_ok($$select sentinai.discard_dead_letters('let1', actor => 'me')$$, '22004', null, 'and a reason');
select throws_ok($$select sentinai.retry_dead_letters('let1', max_letters => 0)$$, 'SN422', null, 'at least one');
select throws_ok($$select sentinai.retry_dead_letters('let1', event_ids => array[null]::uuid[])$$, 'SN422', null, 'ids are not null');
select throws_ok($$select sentinai.retry_dead_letters(event_ids => array(select gen_random_uuid() from generate_series(1, 257)))$$, 'SN413', null, 'nor too many');
select is((select format('%s %s %s', letters, skipped, next_cursor is null) from sentinai.retry_dead_letters('let1', 'let-a', dry_run => true)), '30 0 t', 'a dry run tells how many');
select is(pg_temp.stats('let1'), '30: 30 0 0 0', 'and does nothing');
create temp table steps as
    with recursive s as (
        select 1 as i, r.* from sentinai.retry_dead_letters('let1', actor => 'anna', reason => 'the peer is back', max_letters => 4) r)
    select * from s;
select is((select format('%s %s', letters, skipped) from steps), '4 0', 'a step');
select is((select string_agg(concat(aggregate_id, payload ->> 'n'), ' ' order by aggregate_id, payload ->> 'n') from sentinai.dead_letter where tenant_id = 'let1' and status = 'retrying'),
    'k11 k12 k13 k101', 'a key''s letters first come first');
do $$ declare c text := (select next_cursor from steps); n int;
begin
    loop
        select letters, next_cursor into n, c from sentinai.retry_dead_letters('let1', actor => 'anna', reason => 'the peer is back', max_letters => 4, after_cursor => c);
        insert into steps values (0, n, 0, c);
        exit when c is null;
    end loop;
end $$;
select is((select sum(letters) from steps), 30::bigint, 'all of them, step by step');
select is(pg_temp.stats('let1'), '30: 0 30 0 0', 'are under way');
select is(pg_temp.stats('let2'), '10: 10 0 0 0', 'and nobody else''s');
select is((select string_agg(distinct concat_ws('|', resolved_by, resolution), ' ') from sentinai.dead_letter where tenant_id = 'let1'), 'anna|the peer is back', 'by whom and why');
select pg_temp.take('t1', $$'let-a', 1000$$);
select ok((select bool_and(n > before) from (select (payload ->> 'n')::int as n, lag((payload ->> 'n')::int, 1, 0) over (partition by aggregate_id order by o) as before
    from t1) x), 'each key in its order');
select is((select sum(sentinai.complete(token)) from (select distinct token from t1) x), 30::bigint, 'they go through');
select is(pg_temp.stats('let1'), '30: 0 0 30 0', 'and succeed');
select is(pg_temp.stats(null), pg_temp.counted(null), 'the counts are right');
select is(pg_temp.dead('let-a'), 14::bigint, 'those of the lanes, too');
select is(pg_temp.news(), 30, 'each is an event');
select is((select count(*) || ' ' || min(kind) || ' ' || (min(what::text)::jsonb - 'event_id')::text from ev), '30 DeadLetterRetried {"actor": "anna", "reason": "the peer is back", "event_type": "l.t", "worker_type": "let-a"}', 'that tells of it');
select is((select count(*) from ev join sentinai.dead_letter d on d.event_id = cause and cause::text = what ->> 'event_id'), 30::bigint, 'and what it is about');

-- What dies anew meanwhile is left alone
create temp table c1 as select * from sentinai.retry_dead_letters('let2', max_letters => 4);
call pg_temp.kill('let-a', 'again') \gset
select is(:n, 4, 'they die again');
select is((select format('%s %s', r.letters, r.next_cursor is null) from c1, sentinai.retry_dead_letters('let2', after_cursor => c1.next_cursor) r), '6 t', 'the next step takes the others');
select is(pg_temp.stats('let2'), '10: 4 6 0 0', 'and no more');
call pg_temp.kill('let-a', 'once more') \gset
select is(:n, 6, 'these die, too');

-- By ids, and discard
select is((select format('%s %s', letters, skipped) from sentinai.discard_dead_letters(event_ids => array(select event_id from sentinai.dead_letter where tenant_id in ('let1', 'let3')) || gen_random_uuid(), actor => 'bert', reason => 'gone')),
    '4 31', 'ids: what is not pending, or unknown, is skipped');
select is(pg_temp.stats('let3'), '4: 0 0 0 4', 'discarded');
select is((select format('%s %s', letters, skipped) from sentinai.discard_dead_letters('let2', error => 'once', actor => 'bert', reason => 'gone')), '6 0', 'by the reason');
select is(pg_temp.stats('let2'), '10: 4 0 0 6', 'those only');
select is(pg_temp.stats(null), pg_temp.counted(null), 'the counts are right');
select is(pg_temp.dead('let-a'), 4::bigint, 'those of the lanes, too');
do $$ begin
    for i in 1..200 loop
        perform pg_temp.news();
        exit when (select count(*) >= 10 from ev where kind = 'DeadLetterDiscarded');
        commit;
        perform pg_sleep(0.02);
    end loop;
end $$;
select is((select count(*) || ' ' || min(what ->> 'reason') from ev where kind = 'DeadLetterDiscarded'), '10 gone', 'each is an event');
select sentinai.unsubscribe('let-a');
select is((select format('%s %s', letters, skipped) from sentinai.retry_dead_letters('let2')), '0 4', 'nobody to retry them');
select is((select format('%s %s', letters, skipped) from sentinai.discard_dead_letters('let2', actor => 'me', reason => 'no more')), '4 0', 'they can be discarded');

-- A key that is blocked goes on
select pg_temp.take('b0', $$'let-b', 1000$$);
select is((select sum(sentinai.complete(token)) from (select distinct token from b0) x), 44::bigint, 'another subscription has none of that');
create temp table e4 as select id, n from unnest(pg_temp.publish('let4', 'b', 3)) with ordinality u (id, n);
select pg_temp.take('b1', $$'let-b'$$);
select is(sentinai.fail(token, event_id, 'bad n', false), 'dead', 'the first one dies') from b1 where o = 1;
select pg_temp.take('b2', $$'let-b'$$);
select is((select count(*) from b2), 0::bigint, 'and blocks its key');
select is((select letters from sentinai.discard_dead_letters('let4', actor => 'me', reason => 'x', dry_run => true)), 1, 'it would be discarded');

-- edit_and_retry()
select sentinai.subscribe('let-other', '{l.t}', start_from => 'latest');
select throws_ok(format('select sentinai.edit_and_retry(%L, %L, %s, %L, %L)', id, w, p, a, r), c, null, d) from e4, (values
    ('let-b', 'null', 'me', 'why', '22004', 'no payload'), ('let-b', $$'[]'$$, 'me', 'why', 'SN422', 'no object'),
    ('let-b', $$'{}'$$, null, 'why', '22004', 'no actor'), ('let-b', $$'{}'$$, 'me', null, '22004', 'no reason'),
    ('let-c', $$'{}'$$, 'me', 'why', 'SN404', 'no such letter')) v (w, p, a, r, c, d) where n = 1;
create temp table new as select sentinai.edit_and_retry(id, 'let-b', '{"n": 10}', 'carla', 'n was wrong') as id from e4 where n = 1;
select is((select concat_ws(' ', event_type, l.tenant_id, aggregate_type, aggregate_id, payload, metadata ->> 'replaces' = e4.id::text, causation_id = e4.id) from sentinai.event_log l, new, e4 where event_id = new.id and n = 1),
    'l.t let4 exception b {"n": 10} t t', 'the corrected event names the one it replaces');
select is((select payload from sentinai.event_log, e4 where event_id = id and n = 1), '{"n": 1}', 'which stays as it is');
select is((select concat_ws(' ', status, resolved_by, replace(resolution, new.id::text, 'new')) from sentinai.dead_letter d, new where tenant_id = 'let4'), 'discarded carla replaced by new: n was wrong', 'the letter is settled by it');
select throws_ok(format('select sentinai.edit_and_retry(%L, %L, %L, %L, %L)', id, 'let-b', '{}', 'me', 'why'), 'SN409', null, 'not twice') from e4 where n = 1;
select pg_temp.take('b3', $$'let-b'$$);
select is(pg_temp.shown('b3'), 'b10#1 b2#1 b3#1', 'it comes in the place of the dead one, before what follows');
select is((select sentinai.complete(token) from (select distinct token from b3) x), 3, 'done');
select pg_temp.take('b4', $$'let-b'$$);
select is((select count(*) from b4), 0::bigint, 'and not a second time where it stands in the log');
select is((select lag_events from sentinai.stat_queue where worker_type = 'let-b'), 0::bigint, 'which is passed');
select pg_temp.take('o1', $$'let-other'$$);
select is(pg_temp.shown('o1'), 'b10#1', 'every other subscription gets it as a new event');
select is(sentinai.complete((select token from o1)), 1, 'done');
select pg_temp.news();
select is((select (what - 'event_id' - 'replaced_by') || jsonb_build_object('by', what ->> 'replaced_by' = new.id::text) from ev, new where kind = 'DeadLetterReplaced'), '{"by": true, "actor": "carla", "reason": "n was wrong", "event_type": "l.t", "worker_type": "let-b"}', 'an event tells of it');

-- Of a key that went on: it comes before what waits, and its own death is its own letter
create temp table e5 as select id, n from unnest(pg_temp.publish('let5', 's', 3)) with ordinality u (id, n);
select pg_temp.take('s1', $$'let-other'$$);
select is(sentinai.fail(token, event_id, 'bad', false), 'dead', 'dead: ' || o) from s1 where o = 1;
create temp table new5 as select sentinai.edit_and_retry(id, 'let-other', '{"n": 10}', 'carla', 'better', '{"a": 1}', 1) as id from e5 where n = 1;
select sentinai.release((select min(token) from s1));
select pg_temp.take('s2', $$'let-other'$$);
select is(pg_temp.shown('s2'), 's10#1 s2#1 s3#1', 'the corrected one is first');
select is((select metadata ->> 'a' from s2 where o = 1), '1', 'with the metadata that it was given');
select is(sentinai.fail(token, event_id, 'bad still', false), 'dead', 'it dies, too') from s2 where o = 1;
select is((select count(*) from sentinai.dead_letter d, new5 where d.event_id = new5.id and status = 'pending'), 1::bigint, 'and has a letter of its own');
select sentinai.release((select min(token) from s2));
select pg_temp.take('s3', $$'let-other'$$);
select is(pg_temp.shown('s3'), 's2#1 s3#1', 'the key goes on');
select sentinai.retry_dead_letter((select id from new5), 'let-other', 'carla');
select is(sentinai.complete((select min(token) from s3)), 2, 'done');
select pg_temp.take('s4', $$'let-other'$$);
select is(pg_temp.shown('s4'), 's10#1', 'it can be tried again');
select is(sentinai.complete((select token from s4)), 1, 'done');
select is(pg_temp.stats(null), pg_temp.counted(null), 'the counts are right');
select sentinai.register_event_type('l.s', '{"type": "object", "required": ["n"]}');
select sentinai.subscribe('let-s', '{l.s}');
select sentinai.publish('l.s', 'let6', 'a', '{"n": 1}');
call pg_temp.kill('let-s', 'no') \gset
select throws_ok(format('select sentinai.edit_and_retry(%L, %L, %L, %L, %L)', event_id, worker_type, '{"m": 1}', 'me', 'why'), 'SN422', null, 'the payload is checked') from sentinai.dead_letters('let6');
select is(pg_temp.stats('let6'), '1: 1 0 0 0', 'and nothing is done');

-- Alerts
select throws_ok(format('select sentinai.set_alert(%s)', a), c, null, 'set_alert: ' || a) from (values
    ($$null, 't', 1$$, '22004'), ($$'lag', 't', 1$$, 'SN422'), ($$'dead_letters', null, 1$$, '22004'), ($$'dead_letters', 'a:b', 1$$, 'SN422'),
    ($$'dead_letters', 't', 0$$, 'SN422'), ($$'dead_letters', 't', 100001$$, 'SN422'), ($$'dead_letters', 't', 1, '0'$$, 'SN422'),
    ($$'dead_letters', 't', 1, '1 h', '{null}'$$, 'SN422')) v (a, c);
select sentinai.set_alert('dead_letters', 'let7', 3, channels => '{pager,mail}');
select sentinai.set_alert('dead_letters', 'let8', 1, '1 hour');
select sentinai.maintain();
select is((select count(*) from sentinai.alerts where raised_at is not null), 0::bigint, 'nothing is wrong yet');
select sentinai.publish('l.s', 'let7', 'a' || i, '{"n": 1}') from generate_series(1, 3) i;
select sentinai.publish('l.s', 'let8', 'a', '{"n": 1}');
call pg_temp.kill('let-s', 'no') \gset
select sentinai.maintain();
select sentinai.maintain();
select is((select string_agg(concat_ws(' ', tenant_id, raised_at is not null, raised_count), ', ' order by tenant_id) from sentinai.alerts), 'let7 t 1, let8 t 1', 'raised, once');
select is((select string_agg(concat_ws(' ', tenant_id, event_type, aggregate_type, aggregate_id, payload - 'raised_at'), E'\n' order by tenant_id) from sentinai.event_log where event_type like 'Alert%'),
    'let7 AlertRaised alert dead_letters {"alert": "dead_letters", "letters": 3, "channels": ["pager", "mail"], "tenant_id": "let7", "threshold": 3, "window_seconds": null}
let8 AlertRaised alert dead_letters {"alert": "dead_letters", "letters": 1, "channels": [], "tenant_id": "let8", "threshold": 1, "window_seconds": 3600}', 'events of the tenant tell of it');
select sentinai.discard_dead_letters('let7', actor => 'me', reason => 'x', max_letters => 1);
select sentinai.discard_dead_letters('let8', actor => 'me', reason => 'x');
select sentinai.maintain();
select is((select string_agg(concat_ws(' ', tenant_id, raised_at is not null, raised_count), ', ' order by tenant_id) from sentinai.alerts), 'let7 f 1, let8 t 1', 'fewer are pending; what was written within the hour stays written');
select is((select string_agg(concat_ws(' ', tenant_id, event_type, payload ->> 'letters'), ', ' order by event_id) from sentinai.event_log where event_type = 'AlertCleared'), 'let7 AlertCleared 2', 'an event tells of the end');
select ok(sentinai.drop_alert('dead_letters', 'let8'), 'an alert is dropped');
select is((select count(*) from sentinai.event_log where event_type = 'AlertCleared' and tenant_id = 'let8'), 1::bigint, 'and cleared by that');
select ok(not sentinai.drop_alert('dead_letters', 'let8'), 'once');
select sentinai.set_alert('dead_letters', '*', 1);
select sentinai.maintain();
select is((select raised_count from sentinai.alerts where tenant_id = '*'), 1::bigint, 'an alert for all tenants');
select sentinai.set_alert('dead_letters', 'let7', 5, '1 hour');
select ok(sentinai.drop_alert('dead_letters', '*') and sentinai.drop_alert('dead_letters', 'let7'), 'the others go, too');
select is((select string_agg(concat_ws(' ', action, coalesce(before::text, 'none'), coalesce(after::text, 'none')), E'\n' order by action_id) from sentinai.actions where tenant_id = 'let7' and object = 'dead_letters'),
    'set_alert none {"window": null, "channels": "{pager,mail}", "threshold": "3"}
set_alert {"window": null, "channels": "{pager,mail}", "threshold": "3"} {"window": "01:00:00", "channels": "{}", "threshold": "5"}
drop_alert {"window": "01:00:00", "channels": "{}", "threshold": "5"} none', 'what an alert was and is is written down');

-- What was purged counts no more
select lives_ok($$select sentinai.purge_dead_letters('infinity')$$, 'settled letters go');
select is(pg_temp.stats(null), pg_temp.counted(null), 'the counts are right');
select sentinai.maintain();
select is(pg_temp.stats(null), pg_temp.counted(null), 'and when folded');
select is((select count(*) from sentinai_internal.dead_letter_count where not folded), 0::bigint, 'which they are');

select sentinai.unsubscribe(worker_type) from sentinai.stat_queue where worker_type like 'let-%';
select sentinai.discard_dead_letters(worker_type => w, actor => 'me', reason => 'end') from (select distinct worker_type as w from sentinai.dead_letter where worker_type like 'let-%') x;
select * from finish();
