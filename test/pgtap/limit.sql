-- SPDX-License-Identifier: PostgreSQL
-- set_limit() and consume_limit(), and what publishers notice of them.
-- Statements commit one by one.
select plan(174);
create extension if not exists dblink;
create function pg_temp.elsewhere() returns text language sql as $$
    select format('host=%s port=%s dbname=%s user=%s', trim(split_part(current_setting('unix_socket_directories'), ',', 1)),
                  current_setting('port'), current_database(), session_user) $$;
create function pg_temp.publish(tenant text, key text default null) returns uuid language sql as $$
    select sentinai.publish('li.x', tenant, 'k', '{"n": 1}', idempotency_key => key) $$;
create function pg_temp.batch(tenants text[]) returns int language sql as $$
    select cardinality(sentinai.publish_batch(array_fill('li.x'::text, array[cardinality(tenants)]), tenants,
        array_fill('k'::text, array[cardinality(tenants)]), array_fill('{"n": 1}'::jsonb, array[cardinality(tenants)]))) $$;
-- what is left of a limit
create function pg_temp.rest(tenant text, kind text default 'events_published') returns bigint language sql as $$
    select remaining from sentinai.consume_limit(tenant, kind, 0) $$;
create function pg_temp.events(tenant text) returns bigint language sql as $$
    select count(*) from sentinai.event_log where tenant_id = tenant $$;
\ir lib/detail.sql

-- none is set
select lives_ok($$select pg_temp.publish('li.none')$$, 'nothing is limited');
select results_eq($$select * from sentinai.consume_limit('li.none', 'api_requests')$$, $$values (true, null::bigint, null::bigint, null::float8, null::timestamptz)$$, 'nor is what an application counts');
select is((select count(*) from sentinai.limit_usage where tenant_id = 'li.none'), 0::bigint, 'and nothing is counted');

-- events of a tenant, one by one
select lives_ok($$select sentinai.set_limit('li.a', 'events_published', 3, '1 day')$$, 'a limit');
select is((select count(pg_temp.publish('li.a')) from generate_series(1, 3)), 3::bigint, 'is what can be published at once');
select throws_ok($$select pg_temp.publish('li.a')$$, 'SN429', 'limit "events_published" of tenant "li.a" is reached', 'and no more');
select is(pg_temp.events('li.a'), 3::bigint, 'which stores nothing');
select lives_ok($$select pg_temp.publish('li.b')$$, 'another tenant has no limit');
select results_eq($$select d - '{reset_at,retry_after}'::text[] from pg_temp.detail($q$select pg_temp.publish('li.a')$q$) d$$,
    $$values ('{"kind": "events_published", "limit": 3, "window": 86400, "current": 3, "requested": 1}'::jsonb)$$, 'the detail says what the limit is');
select ok((d ->> 'retry_after')::float8 between 28000 and 28800, 'when to try again') from pg_temp.detail($$select pg_temp.publish('li.a')$$) d;
select ok((d ->> 'reset_at')::timestamptz between now() + interval '23 hours' and now() + interval '24 hours 1 minute', 'and when all of it is there') from pg_temp.detail($$select pg_temp.publish('li.a')$$) d;
select results_eq($$select value, "window", used, remaining, consumed, refused from sentinai.limit_usage where tenant_id = 'li.a'$$,
    $$values (3::bigint, interval '1 day', 3::bigint, 0::bigint, 3::bigint, 4::bigint)$$, 'the view has what was used and refused');
select ok(reset_at > now() and since <= clock_timestamp() and since > now() - interval '1 hour', 'and since when') from sentinai.limit_usage where tenant_id = 'li.a';
select is((select concat_ws('|', tenant_id, kind, value, "window", enabled, changed_by) from sentinai.limits where tenant_id = 'li.a'),
    'li.a|events_published|3|1 day|t|' || current_user, 'limits has what was set');

-- it comes back
select sentinai.set_limit('li.c', 'events_published', 2, '4 seconds');
create temp table began as select clock_timestamp() as at;
select pg_temp.batch('{li.c,li.c}');
select throws_ok($$select pg_temp.publish('li.c')$$, 'SN429', null, 'two at once');
do $$
declare
    from_now timestamptz := clock_timestamp();
begin
    loop
        begin
            perform pg_temp.publish('li.c');
            exit;
        exception when sqlstate 'SN429' then
            if clock_timestamp() > from_now + interval '60 seconds' then raise; end if;
            perform pg_sleep(0.01);
        end;
    end loop;
    if clock_timestamp() < (select at + interval '1900 milliseconds' from began) then raise 'too early'; end if;
end $$;
select is(pg_temp.events('li.c'), 3::bigint, 'the next one half a window later');

-- what is refused leaves the limits alone
select sentinai.set_limit('li.d', 'events_published', 10, '1 day');
select sentinai.set_limit('li.e', 'events_published', 2, '1 day');
select throws_ok($$select pg_temp.batch('{li.d,li.e,li.d,li.e,li.e}')$$, 'SN429', 'limit "events_published" of tenant "li.e" can never allow this call', 'a batch of one tenant too many');
select is(pg_temp.detail($$select pg_temp.batch('{li.d,li.e,li.d,li.e,li.e}')$$) -> 'retry_after', 'null', 'and no time to try again');
select is(pg_temp.rest('li.d'), 10::bigint, 'takes nothing of the others');
select is(pg_temp.rest('li.e'), 2::bigint, 'nor of him');
select is(pg_temp.events('li.d'), 0::bigint, 'and stores nothing');
select is(pg_temp.batch('{li.d,li.e,li.d,li.e,li.d}'), 5, 'one that fits');
select is(pg_temp.rest('li.d'), 7::bigint, 'takes of each what it needs');
select is(pg_temp.rest('li.e'), 0::bigint, 'of all');
select throws_ok($$select pg_temp.batch('{li.d,li.e}')$$, 'SN429', 'limit "events_published" of tenant "li.e" is reached', 'the next one is refused');
select is((pg_temp.detail($$select pg_temp.batch('{li.d,li.e}')$$) ->> 'requested')::int, 1, 'for what it needs of the one');
select is(pg_temp.rest('li.d'), 7::bigint, 'and the other has what he had');
select throws_ok($$select sentinai.publish_batch('{li.x,li.x}', '{li.d,li:d}', '{k,k}', array['{}'::jsonb, '{}'])$$, 'SN422', null, 'a tenant that cannot be');
select is(pg_temp.rest('li.d'), 7::bigint, 'costs nobody anything');
select is((select count(*) from sentinai.limit_usage where tenant_id = 'li:d'), 0::bigint, 'nor a bucket');
select is(cardinality(sentinai.publish_batch('{}', '{}', '{}', '{}')), 0, 'an empty batch');
select sentinai.set_limit('*', 'events_published', 500, '1 day');
select is(pg_temp.batch(array(select 'li.many' || i % 10 from generate_series(1, 1000) i)), 1000, 'a batch of many tenants');
select results_eq($$select count(*), min(used), max(used) from sentinai.limit_usage where tenant_id like 'li.many%'$$, $$values (10::bigint, 100::bigint, 100::bigint)$$, 'counts for each');
select throws_ok($$select pg_temp.batch(array(select 'li.many' || i % 10 from generate_series(1, 1000) i) || array_fill('li.many7'::text, array[301]))$$, 'SN429', 'limit "events_published" of tenant "li.many7" is reached', 'or for none');
select results_eq($$select count(*), min(used), max(used) from sentinai.limit_usage where tenant_id like 'li.many%'$$, $$values (10::bigint, 100::bigint, 100::bigint)$$, 'and takes nothing of any');

-- the default and one's own
select sentinai.set_limit('li.own', 'events_published', 1, '1 day');
select is((select value from sentinai.consume_limit('li.own', 'events_published', 0)), 1::bigint, 'one''s own goes before the default');
select is((select value from sentinai.consume_limit('li.other', 'events_published', 0)), 500::bigint, 'which is for all others');
select sentinai.set_limit('li.own', 'events_published', 1, '1 day', false);
select is((select value from sentinai.consume_limit('li.own', 'events_published', 0)), null, 'one that is switched off switches off the default');
select is(pg_temp.batch(array_fill('li.own'::text, array[600])), 600, 'so that nothing is limited');
select is(sentinai.drop_limit('li.own', 'events_published'), true, 'without it');
select is((select value from sentinai.consume_limit('li.own', 'events_published', 0)), 500::bigint, 'the default holds again');
select is(sentinai.drop_limit('li.own', 'events_published'), false, 'there is nothing to drop');
select sentinai.set_limit('*', 'events_published', 500, '1 day', false);
select is((select value from sentinai.consume_limit('li.other', 'events_published', 0)), null, 'a default that is switched off');
select is(sentinai.drop_limit('*', 'events_published'), true, 'or dropped');

-- bytes
select sentinai.set_limit('li.bytes', 'events_bytes', 100, '1 day');
select lives_ok($$select sentinai.publish('li.x', 'li.bytes', 'k', '{"n": 1}')$$, 'bytes');
select is(pg_temp.rest('li.bytes', 'events_bytes'), 100 - pg_column_size('{"n": 1}'::jsonb)::bigint - pg_column_size('{}'::jsonb) + 8, 'of payload and metadata are counted');
select throws_ok($$select sentinai.publish('li.x', 'li.bytes', 'k', jsonb_build_object('n', repeat('x', 90)))$$, 'SN429', null, 'and limited');
select throws_ok($$select sentinai.publish('li.x', 'li.bytes', 'k', '{}', metadata => jsonb_build_object('n', repeat('x', 90)))$$, 'SN429', null, 'metadata, too');
select throws_ok($$select sentinai.publish_batch('{li.x}', '{li.bytes}', '{k}', array['{}'::jsonb], metadata => jsonb_build_object('n', repeat('x', 90)))$$, 'SN429', null, 'in a batch');
select sentinai.set_limit('li.bytes', 'events_published', 5, '1 day');
select throws_ok($$select sentinai.publish('li.x', 'li.bytes', 'k', jsonb_build_object('n', repeat('x', 90)))$$, 'SN429', null, 'with a limit of events beside it');
select is(pg_temp.rest('li.bytes'), 5::bigint, 'that gives back what it gave');

-- the outbox
select sentinai.set_limit('li.outbox', 'events_published', 5, '1 day');
select lives_ok($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) select 'li.outbox', 'k', 'li.x', '{}' from generate_series(1, 2)$$, 'INSERT into the outbox');
select is(pg_temp.rest('li.outbox'), 3::bigint, 'is counted');
select throws_ok($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) select 'li.outbox', 'k', 'li.x', '{}' from generate_series(1, 4)$$, 'SN429', null, 'and refused');
select is(pg_temp.rest('li.outbox'), 3::bigint, 'as a whole');
select is((pg_temp.detail($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) select 'li.outbox', 'k', 'li.x', '{}' from generate_series(1, 4)$$) ->> 'requested')::int, 4, 'the detail has all rows so far');
copy sentinai.outbox (tenant_id, aggregateid, type, payload) from stdin;
li.outbox	k	li.x	{}
li.outbox	k	li.x	{}
\.
select is(pg_temp.rest('li.outbox'), 1::bigint, 'COPY is counted');
\set ON_ERROR_STOP 0
\set VERBOSITY sqlstate
copy sentinai.outbox (tenant_id, aggregateid, type, payload) from stdin;
li.outbox	k	li.x	{}
li.outbox	k	li.x	{}
\.
\set VERBOSITY default
\set ON_ERROR_STOP 1
select is(pg_temp.rest('li.outbox'), 1::bigint, 'and refused as a whole, too');
select is(pg_temp.events('li.outbox'), 4::bigint, 'what was refused is not there');

-- keys of idempotency
select sentinai.set_limit('li.key', 'events_published', 1, '1 day');
select is(pg_temp.publish('li.key', 'one'), pg_temp.publish('li.key', 'one'), 'an event that is repeated');
select is(pg_temp.rest('li.key'), 0::bigint, 'costs nothing');
select throws_ok($$select pg_temp.publish('li.key', 'two')$$, 'SN429', null, 'another one does');
select lives_ok($$select pg_temp.publish('li.key', 'one')$$, 'and the first one can still be repeated');

-- transactions
select sentinai.set_limit('li.undo', 'events_published', 2, '1 day');
begin;
select pg_temp.publish('li.undo');
rollback;
select is(pg_temp.rest('li.undo'), 1::bigint, 'what was taken stays taken after a rollback');
select throws_ok($$select sentinai.publish('li.x', 'li.undo', 'k', '[]')$$, 'SN422', null, 'what is refused by itself');
select is(pg_temp.rest('li.undo'), 1::bigint, 'takes nothing');
begin;
select sentinai.set_limit('li.undo', 'events_published', 20, '1 day');
select is(pg_temp.rest('li.undo'), 19::bigint, 'a higher limit takes its transaction at once: what was taken stays so');
rollback;
select is(pg_temp.rest('li.undo'), 1::bigint, 'and one that was rolled back does not hold');
begin;
select pg_temp.publish('li.undo');
prepare transaction 'li.undo';
select is(pg_temp.rest('li.undo'), 0::bigint, 'a prepared transaction has taken');
commit prepared 'li.undo';
begin;
select sentinai.set_limit('li.undo', 'events_published', 7, '1 day');
prepare transaction 'li.set';
select is((select value from sentinai.consume_limit('li.undo', 'events_published', 0)), 2::bigint, 'a limit that is prepared does not hold yet');
commit prepared 'li.set';
select is((select value from sentinai.consume_limit('li.undo', 'events_published', 0)), 7::bigint, 'and then it does');

-- other sessions
select dblink_connect('li', pg_temp.elsewhere());
select is((select r from dblink('li', $$select remaining from sentinai.consume_limit('li.undo', 'events_published', 0)$$) d(r bigint)), 5::bigint, 'another session has the same bucket');
select sentinai.set_limit('li.undo', 'events_published', 9, '1 day');
select is((select r from dblink('li', $$select remaining from sentinai.consume_limit('li.undo', 'events_published', 0)$$) d(r bigint)), 7::bigint, 'and learns of a change');
delete from sentinai_internal.tenant_limit where tenant_id = 'li.undo';
select is((select r from dblink('li', $$select remaining from sentinai.consume_limit('li.undo', 'events_published', 0)$$) d(r bigint)), null, 'also of one by SQL');

-- those who may
create role li_app;
grant usage on schema sentinai to li_app;
grant execute on function sentinai.publish, sentinai.consume_limit to li_app;
set role li_app;
select throws_ok($$set sentinai.limit_bypass = on$$, '42501', null, 'nobody exempts himself');
reset role;
grant set on parameter sentinai.limit_bypass to li_app;
set role li_app;
begin;
set local sentinai.limit_bypass = on;
select lives_ok($$select sentinai.publish('li.x', 'li.a', 'k', '{}')$$, 'who was given the right does for a transaction');
select lives_ok($$select sentinai.consume_limit('li.a', 'events_published', 100)$$, 'and is not counted');
commit;
select throws_ok($$select sentinai.publish('li.x', 'li.a', 'k', '{}')$$, 'SN429', null, 'which is over then');
select throws_ok($$select sentinai.set_limit('li.a', 'events_published', 3, '1 day')$$, '42501', null, 'the right to set limits is another');
reset role;
select throws_ok($$select sentinai.publish('li.x', 'li.a', 'k', '{}')$$, 'SN429', null, 'the owner is limited like all');
grant select on sentinai.limits, sentinai.limit_usage, sentinai.backlog_limits to li_app;
grant execute on function sentinai.may_see_limit, sentinai.limit_buckets to li_app;
set role li_app;
select ok((select count(*) from sentinai.limits) > 0 and (select count(*) from sentinai.limit_usage) > 0, 'the views, for whom they were granted to');
reset role;
set sentinai.tenant_isolation = on;
set role li_app;
select is((select count(*) from sentinai.limits) + (select count(*) from sentinai.limit_usage), 0::bigint, 'show nothing of tenants that one may not read');
select throws_ok($$select sentinai.consume_limit('li.a', 'api_requests')$$, 'SN403', null, 'whose limits he cannot use');
select throws_ok($$select sentinai.publish('li.x', 'li.a', 'k', '{}')$$, 'SN403', null, 'nor is he told of them');
reset role;
select sentinai.grant_tenant('li_app', 'li.b', 'read');
set role li_app;
select throws_ok($$select sentinai.consume_limit('li.b', 'events_published')$$, 'SN403', null, 'who reads uses up nothing that publishers need');
select lives_ok($$select sentinai.consume_limit('li.b', 'events_published', 0)$$, 'but may look');
select lives_ok($$select sentinai.consume_limit('li.b', 'api_requests')$$, 'and is counted by what he does');
reset role;
select sentinai.revoke_tenant('li_app', 'li.b', 'read');
select ok((select count(*) from sentinai.limits) > 0, 'the owner sees all');
reset sentinai.tenant_isolation;

-- kinds of applications
select sentinai.set_limit('li.a', 'api_requests', 5, '1 minute');
select results_eq($$select allowed, value, remaining, retry_after from sentinai.consume_limit('li.a', 'api_requests', 4)$$, $$values (true, 5::bigint, 1::bigint, 0::float8)$$, 'an application counts');
select ok(not allowed and remaining = 1 and retry_after between 1 and 12 and reset_at > now(), 'an answer instead of an error') from sentinai.consume_limit('li.a', 'api_requests', 2, or_raise => false);
select ok(not allowed and retry_after is null, 'null: never') from sentinai.consume_limit('li.a', 'api_requests', 6, false);
select throws_ok($$select sentinai.consume_limit('li.a', 'api_requests', 6)$$, 'SN429', null, 'an error');
select is((select refused from sentinai.limit_usage where (tenant_id, kind) = ('li.a', 'api_requests')), 3::bigint, 'all were counted');

-- arguments
select throws_ok(format('select sentinai.set_limit(%s)', a), s, null, a) from (values
    ($$null, 'api', 1, '1 s'$$, '22004'), ($$'t', null, 1, '1 s'$$, '22004'), ($$'t', 'api', null, '1 s'$$, '22004'), ($$'t', 'api', 1, null$$, '22004'), ($$'t', 'api', 1, '1 s', null$$, '22004'),
    ($$'', 'api', 1, '1 s'$$, 'SN422'), ($$'a:b', 'api', 1, '1 s'$$, 'SN422'), ($$repeat('t', 257), 'api', 1, '1 s'$$, 'SN422'), ($$E'a\u202eb', 'api', 1, '1 s'$$, 'SN422'),
    ($$'t', '', 1, '1 s'$$, 'SN422'), ($$'t', 'Api', 1, '1 s'$$, 'SN422'), ($$'t', '1a', 1, '1 s'$$, 'SN422'), ($$'t', 'a b', 1, '1 s'$$, 'SN422'), ($$'t', repeat('a', 64), 1, '1 s'$$, 'SN422'),
    ($$'t', 'events_publishd', 1, '1 s'$$, 'SN422'), ($$'t', 'max_backlog', 1, '1 s'$$, 'SN422'),
    ($$'t', 'api', -1, '1 s'$$, 'SN422'), ($$'t', 'api', 1000000000000001, '1 s'$$, 'SN422'), ($$'t', 'api', 9223372036854775807, '1 s'$$, 'SN422'),
    ($$'t', 'api', 1, '0'$$, 'SN422'), ($$'t', 'api', 1, '-1 s'$$, 'SN422'), ($$'t', 'api', 1, '367 days'$$, 'SN422'), ($$'t', 'api', 1, '178000000 years'$$, '22008')) v(a, s);
select throws_ok(format('select sentinai.consume_limit(%s)', a), s, null, a) from (values
    ($$null, 'api'$$, '22004'), ($$'t', null$$, '22004'), ($$'t', 'api', null$$, '22004'), ($$'t', 'api', 1, null$$, '22004'), ($$'t', 'api', -1$$, 'SN422'), ($$'t', 'events_x'$$, 'SN422')) v(a, s);
select lives_ok($$select sentinai.set_limit('li.max', 'api', 1000000000000000, '366 days')$$, 'the most there is');
select lives_ok($$select sentinai.consume_limit('li.max', 'api', 1000000000000000)$$, 'can be taken at once');
select ok(not allowed and retry_after between 1 and 31622400, 'and comes back in the time') from sentinai.consume_limit('li.max', 'api', 500000000000000, false);
select ok(not allowed and retry_after is null, 'more than that is never there') from sentinai.consume_limit('li.max', 'api', 9223372036854775807, false);
select sentinai.set_limit('li.zero', 'events_published', 0, '1 s');
select throws_ok($$select pg_temp.publish('li.zero')$$, 'SN429', null, 'a limit of nothing');
begin read only;
select lives_ok($$select sentinai.consume_limit('li.a', 'api_requests', 0)$$, 'consume_limit() in a read-only transaction');
select throws_ok($$select sentinai.set_limit('li.a', 'api', 1, '1 s')$$, '25006', null, 'set_limit() not');
rollback;
select throws_ok($$select sentinai.limit_changed()$$, '39P01', null, 'the trigger''s function is for the trigger');

-- limits of backlogs; what they do needs a sequencer, see test/tap/16_backlog_limits.pl
select sentinai.subscribe('li.sub', '{li.x}');
select throws_ok(format('select sentinai.set_backlog_limit(%s)', a), s, null, a) from (values
    ($$null, 't', 1$$, '22004'), ($$'li.sub', null, 1$$, '22004'), ($$'li.sub', 't', null$$, '22004'), ($$'li.sub', 't', 1, null$$, '22004'), ($$'li.sub', 't', 1, 'delay', null$$, '22004'),
    ($$'li.none', 't', 1$$, 'SN404'), ($$'li.sub', '', 1$$, 'SN422'), ($$'li.sub', 'a:b', 1$$, 'SN422'), ($$'li.sub', 't', 0$$, 'SN422'), ($$'li.sub', 't', -1$$, 'SN422'), ($$'li.sub', 't', 9223372036854775807$$, 'SN422'),
    ($$'li.sub', 't', 1, 'Refuse'$$, 'SN422'), ($$'li.sub', 't', 1, 'delay', '0'$$, 'SN422'), ($$'li.sub', 't', 1, 'delay', '-1 s'$$, 'SN422'), ($$'li.sub', 't', 1, 'delay', '61 s'$$, 'SN422'), ($$'li.sub', 't', 1, 'delay', '2000 years'$$, 'SN422')) v(a, s);
select lives_ok($$select sentinai.set_backlog_limit('li.sub', 't', 1000000000000, 'delay', '1 minute')$$, 'the most there is');
select is((select concat_ws('|', worker_type, tenant_id, max_backlog, policy, max_delay, over_since, changed_by) from sentinai.backlog_limits), 'li.sub|t|1000000000000|delay|00:01:00|' || current_user, 'the view has it');
select sentinai.set_alert('dead_letters', 'li.a', 1000);
grant execute on all functions in schema sentinai to li_app;
grant select on sentinai.alerts, sentinai.stat_queue to li_app;
set sentinai.tenant_isolation = on;
set role li_app;
select lives_ok(format('select from sentinai.%I where 1 / (0 * length(%I::text)) = 1', v, c), 'a condition of a query looks at no hidden row of ' || v)
from (values ('limits', 'tenant_id'), ('backlog_limits', 'tenant_id'), ('alerts', 'tenant_id'), ('stat_queue', 'event_types')) x(v, c);
reset role;
reset sentinai.tenant_isolation;
select sentinai.drop_alert('dead_letters', 'li.a');
select is(sentinai.drop_backlog_limit('li.sub', 't'), true, 'it can be dropped');
select is(sentinai.drop_backlog_limit('li.sub', 't'), false, 'once');
select throws_ok($$select sentinai.backlog_limit_changed()$$, '39P01', null, 'the trigger''s function is for the trigger');
select throws_ok($$select sentinai.publish('BackpressureCleared', 't', 'k', '{}')$$, 'SN422', null, 'nobody else tells of backlogs');
select sentinai.unsubscribe('li.sub');

-- What somebody publishes counts, however he does it; what the extension tells of events does not: agents have to say what became of them
select sentinai.subscribe('li.work', '{li.x}', max_attempts => 1);
create temp table told as select i, sentinai.publish('li.x', 'li.tell', 'k' || i, '{"n": 1}') as id from generate_series(1, 4) i;
create temp table work as select * from sentinai.claim('li.work') limit 0;
do $$ begin
    for i in 1..3000 loop
        insert into work select * from sentinai.claim('li.work');
        exit when (select count(*) from work) >= 4;
        commit;
        perform pg_sleep(0.01);
    end loop;
end $$;
select sentinai.fail(token, event_id, 'bad') from work join told on id = event_id where i < 4;
select sentinai.set_limit('li.tell', 'events_published', 0, '1 minute');
select throws_ok(format(q, id), 'SN429', null, q) from told, (values
    ('select pg_temp.publish(''li.tell'') -- %L'), ('select pg_temp.batch(''{li.tell}'') -- %L'),
    ('select sentinai.publish_events(''{li.x}'', ''{li.tell}'', ''{k}'', array[''{}''::jsonb]) -- %L'),
    ('insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values (''li.tell'', ''k'', ''li.x'', ''{}'') -- %L'),
    ('select sentinai.set_deadline(''li.tell'', ''k'', ''pay'', now()) -- %L'),
    ('select sentinai.edit_and_retry(%L, ''li.work'', ''{"n": 2}'', ''me'', ''why'')')) v(q) where i = 1;
select is(refused, 6::bigint, 'all were counted') from sentinai.limit_usage where tenant_id = 'li.tell';
select lives_ok(format(q, id, 'li.work'), q) from (values
    (1, 'select sentinai.retry_dead_letter(%L, %L)'), (2, 'select sentinai.discard_dead_letter(%L, %L, ''me'', ''why'')'),
    (2, 'select sentinai.mark_as_failed(%L, %L, ''bad'', 1)'), (2, 'select sentinai.mark_as_settled(%L, %L, ''discarded'', ''me'', ''why'')'),
    (4, 'select sentinai.give_up_event(%L, %L, ''me'', ''why'')')) v(i, q) join told using (i);
select is(pg_temp.events('li.tell'), 4::bigint + 3 + 5, 'each was told');
select is(refused, 6::bigint, 'and none refused') from sentinai.limit_usage where tenant_id = 'li.tell';
select sentinai.unsubscribe('li.work');

-- ever new kinds of one tenant do not take the places of others
select count(sentinai.set_limit(t, 'k' || i, 2, '366 days')::text) from generate_series(1, 300) i, unnest('{li.many,li.few}'::text[]) t;
select is(count(*) filter (where (sentinai.consume_limit('li.many', 'k' || i, 1, or_raise => false)).allowed), 256::bigint, 'a tenant has 256 kinds')
from generate_series(1, 300) i;
select throws_ok($$select sentinai.consume_limit('li.many', 'k300')$$, 'SN429', 'limit "k300" of tenant "li.many" cannot be counted', 'and no more');
select ok(allowed, 'another tenant has its own') from sentinai.consume_limit('li.few', 'k300');
select sentinai.set_limit('li.many', 'k1', 2, '1 ms');
select remaining >= 0 as looked from sentinai.consume_limit('li.many', 'k1', 0);
select pg_sleep(0.01);
select ok(allowed, 'one of which everything is there makes place') from sentinai.consume_limit('li.many', 'k300');
select dblink_disconnect('li');
delete from sentinai_internal.tenant_limit;
drop owned by li_app;
drop role li_app;
