-- SPDX-License-Identifier: PostgreSQL
-- Dead letters go when they are settled, and in no other way.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(48);

create function pg_temp.elsewhere() returns text language sql as $$
    select format('host=%s port=%s dbname=%s user=%s', trim(split_part(current_setting('unix_socket_directories'), ',', 1)),
                  current_setting('port'), current_database(), session_user) $$;
create extension if not exists dblink;
-- n letters of a tenant
create procedure pg_temp.kill(wt text, tenant text, n int, inout killed int) language plpgsql as $$
declare r record; begin
    killed := 0;
    perform sentinai.publish('purge.' || wt, tenant, 'k' || i, '{}') from generate_series(1, n) i;
    commit;
    for i in 1..600 loop
        for r in select token, event_id from sentinai.claim(wt) loop
            perform sentinai.fail(r.token, r.event_id, 'e', false);
            killed := killed + 1;
        end loop;
        exit when killed = n;
        commit;
        perform pg_sleep(0.01);
    end loop;
end $$;
create function pg_temp.letters(wt text) returns text language sql as $$
    select string_agg(status || '*' || n, ' ' order by status) from (select status, count(*) n from sentinai.dead_letter where worker_type = wt group by 1) x $$;
-- what the views say is what is there
create function pg_temp.counted(wt text) returns boolean language sql as $$
    select q.dead = (select count(*) from sentinai.dead_letter d where d.worker_type = wt and d.status = 'pending')
           and q.retrying = (select count(*) from sentinai_internal.event_retry r where r.sub_id = s.sub_id)
    from sentinai.stat_queue q join sentinai_internal.subscription s using (worker_type) where worker_type = wt $$;
create function pg_temp.discard(wt text, most int) returns bigint language sql as $$
    select count(*) from (select sentinai.discard_dead_letter(event_id, worker_type, 'me', 'why')
                          from (select * from sentinai.dead_letter where worker_type = wt and status = 'pending' order by event_id limit most) d offset 0) x $$;

-- those of other tests
select sentinai.purge_dead_letters('infinity');
select sentinai.subscribe('pu-a', '{purge.pu-a}');
select sentinai.subscribe('pu-b', '{purge.pu-b}', on_dead => 'block');
call pg_temp.kill('pu-a', 'ta', 30, null) \gset
select is(:killed, 30, 'letters');
call pg_temp.kill('pu-a', 'tb', 10, null) \gset
select is(:killed, 10, 'of another tenant');
call pg_temp.kill('pu-b', 'ta', 10, null) \gset
select is(:killed, 10, 'of another subscription');

-- By hand nothing
select throws_ok($$delete from sentinai.dead_letter$$, 'SN409', null, 'no DELETE from the view');
select throws_ok($$delete from sentinai_internal.dead_letter$$, 'SN409', null, 'nor from the table');
select throws_ok($$delete from sentinai.dead_letter where false$$, 'SN409', null, 'nor of nothing, which would hide the mistake');
select throws_ok($$update sentinai.dead_letter set status = 'discarded'$$, 'SN409', null, 'no UPDATE');
select throws_ok($$truncate sentinai_internal.dead_letter$$, 'SN409', null, 'no TRUNCATE');
-- a restore in a replica's mode empties a table that has no history of its own
set session_replication_role = replica;
select lives_ok('truncate sentinai_internal.retry_policy', 'a statement that is not logical replication''s is none');
reset session_replication_role;
select throws_ok(format('do $do$ begin set local session_replication_role = %I; delete from sentinai.dead_letter; end $do$', r), 'SN409', null, 'in no role of replication: ' || r)
from unnest('{origin,local,replica}'::text[]) r;
select is(pg_temp.letters('pu-a'), 'pending*40', 'all are there');

-- Only what is settled
select is(sentinai.purge_dead_letters('infinity'), 0, 'pending ones stay');
select is(pg_temp.discard('pu-a', 35), 35::bigint, 'some are discarded');
select is(pg_temp.discard('pu-b', 4), 4::bigint, 'and of the other subscription');
select is(sentinai.purge_dead_letters(now() - interval '1 day'), 0, 'but not so long ago');
select is(sentinai.purge_dead_letters('infinity', 'pu-none'), 0, 'of a worker type that has none');
select is(sentinai.purge_dead_letters('infinity', 'pu-b'), 4, 'of one worker type');
select is(pg_temp.letters('pu-b'), 'pending*6', 'its pending ones are there');
select is(sentinai.purge_dead_letters('infinity', 'pu-a', 'tb'), 5, 'of one tenant');
select is(sentinai.purge_dead_letters('infinity', max_letters => 7), 7, 'so many');
select is(pg_temp.letters('pu-a'), 'discarded*23 pending*5', 'the rest is there');
select is(sentinai.purge_dead_letters(clock_timestamp() + interval '1 hour'), 23, 'and goes');
select is(sentinai.purge_dead_letters('infinity'), 0, 'no more');
select ok(pg_temp.counted(w), 'the views say what is there: ' || w) from unnest('{pu-a,pu-b}'::text[]) w;

-- Tried again, and succeeded
create temp table redriven as select event_id from sentinai.dead_letter where worker_type = 'pu-a' order by event_id limit 2;
select sentinai.retry_dead_letter(event_id, 'pu-a') from redriven;
select is(sentinai.purge_dead_letters('infinity'), 0, 'what is tried again stays');
create temp table c as select * from sentinai.claim('pu-a');
select is(sentinai.complete((select min(token) from c)), 2, 'it succeeds');
select is(sentinai.purge_dead_letters('infinity'), 2, 'and goes');
select ok(pg_temp.counted('pu-a'), 'the views say what is there');
select ok(sentinai.is_already_processed(event_id, 'pu-a'), 'the ledger still knows') from redriven;

-- A blocked key goes on when its letter is discarded, and the letter goes
select sentinai.publish('purge.pu-b', 'ta', aggregate_id, '{}') from sentinai.dead_letter where worker_type = 'pu-b';
select is(pg_temp.discard('pu-b', 6), 6::bigint, 'blocked keys');
select is(sentinai.purge_dead_letters('infinity'), 6, 'their letters go');
do $$ declare n int; begin
    for i in 1..600 loop
        create temp table b as select * from sentinai.claim('pu-b');
        exit when (select count(*) from b) = 6;
        perform sentinai.release((select min(token) from b)) where exists (select from b);
        drop table b;
        commit;
        perform pg_sleep(0.01);
    end loop;
end $$;
select is(sentinai.complete((select min(token) from b)), 6, 'the keys go on');
select ok(pg_temp.counted('pu-b'), 'the views say what is there');

-- Maintenance does it by age, and waits for nobody
select pg_temp.discard('pu-a', 3);
select is(pg_temp.letters('pu-a'), 'discarded*3', 'three letters are left');
select sentinai.maintain();
select is(pg_temp.letters('pu-a'), 'discarded*3', 'which are young');
select dblink_connect('c1', pg_temp.elsewhere());
select dblink_exec('c1', 'begin');
select * from dblink('c1', $$select sentinai.alter_subscription('pu-a', '{purge.none}')::text$$) as d(nothing text);
alter system set sentinai.dead_letter_retention = '0';
select pg_reload_conf();
-- a session takes settings over between its statements only
select $$select pg_sleep(0.01) where current_setting('sentinai.dead_letter_retention') <> '0'$$ from generate_series(1, 600) \gexec
select is(current_setting('sentinai.dead_letter_retention'), '0', 'the setting has come');
select sentinai.maintain();
select is(pg_temp.letters('pu-a'), 'discarded*3', 'their lanes are in other hands');
select dblink_exec('c1', 'rollback');
do $$ begin
    for i in 1..600 loop
        perform sentinai.maintain();
        commit;
        exit when not exists (select from sentinai.dead_letter where worker_type = 'pu-a');
        perform pg_sleep(0.01);
    end loop;
end $$;
select is(pg_temp.letters('pu-a'), null, 'then they go');
alter system reset sentinai.dead_letter_retention;
select pg_reload_conf();

-- Letters of a subscription that is gone
call pg_temp.kill('pu-a', 'tc', 3, null) \gset
select is(:killed, 3, 'three more');
select sentinai.unsubscribe('pu-a');
select is(pg_temp.discard('pu-a', 2), 2::bigint, 'two of them discarded');
select is(sentinai.purge_dead_letters('infinity'), 2, 'and gone');
select is(pg_temp.letters('pu-a'), 'pending*1', 'one is left');

-- Arguments
select throws_ok($$select sentinai.purge_dead_letters(null)$$, '22004', null, 'no time');
select throws_ok($$select sentinai.purge_dead_letters('infinity', max_letters => 0)$$, 'SN422', null, 'none at all');
select dblink_disconnect('c1');
select sentinai.unsubscribe('pu-b');
select pg_temp.discard('pu-a', 1);
select sentinai.purge_dead_letters('infinity');
select * from finish();
