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

select sentinai.maintain();
select sentinai.subscribe('given-back', '{given}', ordered => false, backoff => '{0s}', max_attempts => 9);
call pg_temp.publish('given-big', 2000);
select is((select count(*) from sentinai_internal.track_tenant where tenant_id = 'given-big'), 1::bigint, 'a tenant is set apart');

-- All of it is passed, but for one that fails and is with a batch again: of the tenant's track
create temp table big as select * from pg_temp.take(2000);
select is(sentinai.fail(min(token), (select id from big limit 1), 'x', retry_in => '0'), 'retrying', 'one of its events fails') from big;
select is(sentinai.complete(min(token)), 1999, 'all others are done') from big;
create temp table again as select * from pg_temp.take(1);

-- On the common track one waits for its retry
call pg_temp.publish('given-small', 1);
create temp table small as select * from pg_temp.take(1);
select is(sentinai.fail(token, id, 'x', retry_in => '1 hour'), 'retrying', 'one of another tenant fails') from small;

-- A batch has the next one there, the first tenant comes back, and the batch is given back
call pg_temp.publish('given-last', 1);
create temp table last as select * from pg_temp.take(1);
select sentinai.maintain();
select is((select count(*) from sentinai_internal.track_tenant where tenant_id = 'given-big'), 0::bigint, 'the first tenant comes back');
select is(sentinai.release(token), 1, 'a batch is given back') from last;

select sentinai.retry_event(id, 'given-back', 'me') from small;
create temp table alone as select * from pg_temp.take(10);
select is((select string_agg(tenant, ' ') from alone), 'given-small', 'the retry comes, and no new event');
select sentinai.complete(token) from alone;
select sentinai.complete(token) from again;
create temp table rest as select * from pg_temp.take(10);
select is((select string_agg(tenant, ' ') from rest), 'given-last', 'what was given back comes then');
select is(sentinai.complete(token), 1, 'and is done') from rest;

select sentinai.unsubscribe('given-back');
select * from finish();
