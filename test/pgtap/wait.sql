-- SPDX-License-Identifier: PostgreSQL
-- wait_for_work() while somebody holds the lanes, and with events that nobody
-- wants: it sleeps, it is woken when they are free, and it leaves no lag.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(36);

create function pg_temp.publish(type text, key text, n int) returns uuid[] language sql as $$
    select sentinai.publish_batch(array_agg(type), array_agg('wait'::text), array_agg(key), array_agg(jsonb_build_object('n', i) order by i))
    from generate_series(1, n) i $$;
\set tenant wait
\ir lib/queue.sql
create function pg_temp.elsewhere() returns text language sql as $$
    select format('host=%s port=%s dbname=%s user=%s', trim(split_part(current_setting('unix_socket_directories'), ',', 1)),
                  current_setting('port'), current_database(), session_user) $$;
create extension if not exists dblink;
select dblink_connect('holder', pg_temp.elsewhere()), dblink_connect('waiter', pg_temp.elsewhere()), dblink_connect('watcher', pg_temp.elsewhere());

-- What an agent does for a second: wait, claim, and again
create temp table turn (what text);
create procedure pg_temp.work(what text, worker_type text) language plpgsql as $$
declare
    start timestamptz := clock_timestamp();
    ready boolean;
begin
    while clock_timestamp() < start + interval '1 second' loop
        call sentinai.wait_for_work(worker_type, '1 second', ready);
        perform sentinai.release(token) from sentinai.claim(worker_type, 1);
        insert into turn values (what);
        commit;
    end loop;
end $$;
-- Maintenance; that of the background skips what this is at, and the other way round
create procedure pg_temp.maintain(worker text, lag bigint) language plpgsql as $$
begin
    for i in 1..1000 loop
        perform sentinai.maintain();
        commit;
        exit when (select lag_events = lag from sentinai.stat_queue where worker_type = worker);
        perform pg_sleep(0.02);
    end loop;
end $$;
create procedure pg_temp.hold(statements text[]) language plpgsql as $$
begin
    for i in 1..cardinality(statements) loop
        if statements[i] ~ '^select' then
            perform * from dblink('holder', statements[i]) as x(t text);
        else
            perform dblink_exec('holder', statements[i]);
        end if;
    end loop;
end $$;
-- How long it takes until one who sleeps has seen that it ended
create temp table woken (what text, ms float8, ready boolean);
create procedure pg_temp.wake(what text, worker_type text, hold text[], stop text[], times int default 5) language plpgsql as $$
declare
    start timestamptz;
begin
    for n in 1..times loop
        call pg_temp.hold(hold);
        perform dblink_send_query('waiter', format('call sentinai.wait_for_work(%L, %L, null)', worker_type, '30 seconds'));
        for i in 1..6000 loop
            exit when exists (select from dblink('watcher', $q$ select pid from pg_stat_activity
                where wait_event_type = 'Extension' and query like 'call sentinai.wait_for_work(%' $q$) as x(pid int));
            perform pg_sleep(0.005);
        end loop;
        start := clock_timestamp();
        call pg_temp.hold(stop);
        while dblink_is_busy('waiter') = 1 loop
            perform pg_sleep(0.001);
        end loop;
        insert into woken select what, extract(epoch from clock_timestamp() - start) * 1000, x.ready from dblink_get_result('waiter', false) as x(ready boolean);
        perform * from dblink_get_result('waiter', false) as x(ready boolean);
    end loop;
end $$;
create function pg_temp.median(what text) returns float8 language sql as $$
    select percentile_cont(0.5) within group (order by ms) from woken w where w.what = $1 $$;

-- Somebody holds lanes that have work: nobody spins, and his end wakes
select sentinai.subscribe('wait-a', max_attempts => 1);
select sentinai.publish('w.bad', 'wait', 'k', '{}') as bad \gset
select pg_temp.sequenced();
select sentinai.fail(token, event_id, 'no') from sentinai.claim('wait-a');
select pg_temp.publish('w.a', 'k', 60) is not null;
select pg_temp.sequenced();
create temp table way (o int, what text, hold text[], stop text[]);
insert into way values
    (1, 'a claim', array['begin', $$select event_id from sentinai.claim('wait-a', 1)$$], '{rollback}'),
    (2, 'a completion', array['begin', $$select sentinai.complete(token) from sentinai.claim('wait-a', 1)$$], '{commit}'),
    (3, 'a savepoint', array['begin', 'savepoint s', $$select event_id from sentinai.claim('wait-a', 1)$$], '{rollback to s,rollback}'),
    (4, 'another filter', array['begin', $$select sentinai.subscribe('wait-a', '{w.a,w.b}')$$], '{rollback}'),
    (5, 'an end', array['begin', $$select sentinai.unsubscribe('wait-a')$$], '{rollback}'),
    (6, 'a retry', array['begin', format($$select sentinai.retry_dead_letter(%L, 'wait-a')$$, :'bad')], '{rollback}'),
    (7, 'a prepared claim', array['begin', $$select event_id from sentinai.claim('wait-a', 1)$$, $$prepare transaction 'wait-p'$$],
     array[$$rollback prepared 'wait-p'$$]),
    (8, 'a prepared completion', array['begin', $$select sentinai.complete(token) from sentinai.claim('wait-a', 1)$$, $$prepare transaction 'wait-p'$$],
     array[$$commit prepared 'wait-p'$$]);
create procedure pg_temp.try(what text) language plpgsql as $$
declare
    w way;
begin
    select * into w from way x where x.what = $1;
    call pg_temp.hold(w.hold);
    call pg_temp.work(w.what, 'wait-a');
    call pg_temp.hold(w.stop);
    call pg_temp.wake(w.what, 'wait-a', w.hold, w.stop);
end $$;
select format('call pg_temp.try(%L)', what) from way order by o \gexec
select cmp_ok((select count(*) from turn t where t.what = w.what), '<', 4::bigint, what || ': who waits sleeps') from way w order by o;
select cmp_ok(pg_temp.median(what), '<', 500::float8, what || ': and is woken at its end') from way order by o;
select is(array_agg(distinct ready), '{t}', what || ': for work') from woken group by what order by what;
select is(count(*), 1::bigint, 'which is there') from sentinai.claim('wait-a', 1);

-- Events that nobody wants are passed by who waits
select count(pg_temp.publish('w.other', 'k' || i, 20)) from generate_series(1, 40) i;
select pg_temp.sequenced();
select sentinai.subscribe('wait-past', '{w.never}', 'earliest');
select cmp_ok(lag_events, '>=', 800::bigint, 'what a new subscription has not looked at is lag') from sentinai.stat_queue where worker_type = 'wait-past';
call pg_temp.work('the past', 'wait-past');
select is(concat_ws(' ', lag_events, lag_seconds), '0', 'who waits passes what is not wanted') from sentinai.stat_queue where worker_type = 'wait-past';
select sentinai.subscribe('wait-own', max_attempts => 1);
select sentinai.publish('w.own', 'wait', 'o', '{}') is not null;
select pg_temp.sequenced();
select is(sentinai.fail(token, event_id, 'no'), 'dead', 'an event dies') from sentinai.claim('wait-own');
select pg_temp.sequenced();
call sentinai.wait_for_work('wait-own', '1 second', null);
select is(lag_events, 0::bigint, 'and the event that tells of it is no lag') from sentinai.stat_queue where worker_type = 'wait-own';
-- but not in a transaction of the caller's, whose end others would wait for
select sentinai.subscribe('wait-block', '{w.never}', 'earliest');
begin;
call sentinai.wait_for_work('wait-block', '10 milliseconds', null);
select is(count(*), 0::bigint, 'who waits in a transaction block keeps no lock') from pg_locks where locktype = 'object' and classid = 'sentinai_internal.subscription'::regclass and pid = pg_backend_pid();
commit;
set default_transaction_read_only = on;
call sentinai.wait_for_work('wait-block', '10 milliseconds', null);
set default_transaction_read_only = off;
select cmp_ok(lag_events, '>', 0::bigint, 'and writes nothing in a read-only one') from sentinai.stat_queue where worker_type = 'wait-block';
call pg_temp.maintain('wait-block', 0);
select is(lag_events, 0::bigint, 'what he has looked at is passed by maintenance') from sentinai.stat_queue where worker_type = 'wait-block';

-- and by maintenance where nobody waits
select pg_temp.publish('w.other', 'deep', 3000) is not null;
select pg_temp.publish('w.wanted', 'deep', 2) is not null;
select pg_temp.publish('w.other', 'deep', 10) is not null;
select pg_temp.sequenced();
select sentinai.subscribe('wait-nobody', '{w.never}', 'earliest'), sentinai.subscribe('wait-later', '{w.wanted}', 'earliest');
call pg_temp.maintain('wait-nobody', 0);
call pg_temp.maintain('wait-later', 12);
select is(concat_ws(' ', lag_events, lag_seconds), '0', 'maintenance passes what nobody wants') from sentinai.stat_queue where worker_type = 'wait-nobody';
select is(lag_events, 12::bigint, 'up to what is wanted') from sentinai.stat_queue where worker_type = 'wait-later';
create temp table held as select * from sentinai.claim('wait-later');
select sentinai.maintain();
select is(concat_ws(' ', (select count(*) from held), in_flight), '2 2', 'and nothing of a batch') from sentinai.stat_queue where worker_type = 'wait-later';

-- The hints of subscriptions that are gone are given up, however they went
create procedure pg_temp.come_and_go(n int, prepared boolean) language plpgsql as $$
begin
    for i in 1..n loop
        call pg_temp.hold(array['begin', $q$select sentinai.subscribe('wait-gone')$q$, $q$select event_id from sentinai.claim('wait-gone')$q$]);
        if prepared then
            call pg_temp.hold(array['commit', 'begin', $q$select sentinai.unsubscribe('wait-gone')$q$, $q$prepare transaction 'wait-p'$q$, $q$commit prepared 'wait-p'$q$]);
        else
            call pg_temp.hold('{rollback}');
        end if;
    end loop;
end $$;
call pg_temp.come_and_go(100, true);
call pg_temp.come_and_go(100, false);
select sentinai.maintain();
select sentinai.subscribe('wait-new', '{w.new}');
call pg_temp.wake('a new one', 'wait-new', array[$$select sentinai.complete(token) from sentinai.claim('wait-new')$$],
    array[$$select sentinai.publish('w.new', 'wait', 'n', '{}')$$]);
select cmp_ok(pg_temp.median('a new one'), '<', 500::float8, 'and a new subscription gets some');

select sentinai.unsubscribe(worker_type) from sentinai_internal.subscription where worker_type like 'wait-%';
select dblink_disconnect('holder'), dblink_disconnect('waiter'), dblink_disconnect('watcher');
select * from finish();
