-- SPDX-License-Identifier: PostgreSQL
-- What a batch gave back stays for others, in a subscription without order. A batch with a retry of the same track does
-- not get it: new events there wait for the batch of a tenant that came back. All keys here are in one lane.
select plan(9);

\set tenant given-back
\ir lib/queue.sql
create function pg_temp.key(t text) returns text language sql as $$
    select min(k) from (select 'k' || i as k from generate_series(1, 5000) i) x where (sentinai.partition_hash(t || ':' || k) & 2147483647) % 64 = 7 $$;
create procedure pg_temp.publish(t text, n int) language plpgsql as $$
begin
    perform sentinai.publish_batch(array_agg('given'::text), array_agg(t), array_agg(pg_temp.key(t)), array_agg(jsonb_build_object('n', i))) from generate_series(1, n) i;
    perform set_config('test.tenant', t, false);
    commit;
    perform pg_temp.sequenced();
    commit;
end $$;
create function pg_temp.take(max int) returns table (token text, id uuid, tenant text) language sql as $$
    select token, event_id, tenant_id from sentinai.claim('given-back', max, '1 hour') $$;

-- A tenant is set apart. All that it has is passed, but for one that failed and is with a batch again: of the tenant's
-- track. On the common track one of another tenant waits for its retry. A batch has the next one there, the first tenant
-- comes back, and the batch is given back. Then the retry is due.
create temp table big (token text, id uuid, tenant text);
create temp table again (like big);
create temp table small (like big);
create temp table last (like big);
create temp table alone (like big);
create temp table rest (like big);
create temp table seen (apart bigint, completed int, back bigint, released int);
create procedure pg_temp.give_back() language plpgsql as $$
declare
    s seen;
begin
    truncate big, again, small, last, alone, rest, seen;
    call pg_temp.publish('given-big', 2000);
    s.apart := (select count(*) from sentinai_internal.track_tenant where tenant_id = 'given-big');
    insert into big select * from pg_temp.take(2000);
    commit;
    perform sentinai.fail(min(token), (select id from big limit 1), 'x', retry_in => '0') from big;
    s.completed := (select sentinai.complete(min(token)) from big);
    commit;
    insert into again select * from pg_temp.take(1);
    commit;
    call pg_temp.publish('given-small', 1);
    insert into small select * from pg_temp.take(1);
    commit;
    perform sentinai.fail(token, id, 'x', retry_in => '1 hour') from small;
    commit;
    call pg_temp.publish('given-last', 1);
    insert into last select * from pg_temp.take(1);
    commit;
    perform sentinai.maintain();
    commit;
    s.back := 1 - (select count(*) from sentinai_internal.track_tenant where tenant_id = 'given-big');
    s.released := (select sentinai.release(token) from last);
    commit;
    perform sentinai.retry_event(id, 'given-back', 'me') from small;
    insert into seen select s.*;
end $$;
-- go_on(): the rest of it, when that retry is with a batch
create procedure pg_temp.go_on() language plpgsql as $$ begin
    perform sentinai.complete(token) from alone;
    commit;
    perform sentinai.complete(token) from again;
    commit;
    insert into rest select * from pg_temp.take(10);
    commit;
    perform sentinai.complete(token) from rest;
end $$;

select sentinai.maintain();
select sentinai.subscribe('given-back', '{given}', ordered => false, backoff => '{0s}', max_attempts => 9);
call pg_temp.give_back();
select is((select seen from seen), (1, 1999, 1, 1)::seen, 'a tenant is set apart and comes back, and a batch is given back');
insert into alone select * from pg_temp.take(10);
select is((select string_agg(tenant, ' ') from alone), 'given-small', 'the retry comes, and no new event');
call pg_temp.go_on();
select is((select string_agg(tenant, ' ') from rest), 'given-last', 'what was given back comes then');

-- Of one event the turn is the retries' or of what is new: so it is both, if one is left out
call pg_temp.give_back();
select is((select seen from seen), (1, 1999, 1, 1)::seen, 'the same again');
insert into alone select * from pg_temp.take(1);
select is((select string_agg(tenant, ' ') from alone), 'given-small', 'of one event: the retry comes');
call pg_temp.go_on();
select is((select string_agg(tenant, ' ') from rest), 'given-last', 'and then what was given back');
call pg_temp.give_back();
select sentinai.release(token) from pg_temp.take(1);
insert into alone select * from pg_temp.take(1);
select is((select string_agg(tenant, ' ') from alone), 'given-small', 'in the other turn: the retry comes');
call pg_temp.go_on();
select is((select string_agg(tenant, ' ') from rest), 'given-last', 'and then what was given back');
select is((select lag_events from sentinai.stat_queue where worker_type = 'given-back'), 0::bigint, 'all is done');

select sentinai.unsubscribe('given-back');
select * from finish();
