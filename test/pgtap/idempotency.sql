-- SPDX-License-Identifier: PostgreSQL
-- An idempotency key publishes once. Two sessions: isolation/specs/idempotency.spec.
begin;
select plan(32);

create function pg_temp.pub(key text, tenant text default 'idem', payload jsonb default '{"a": 1, "b": 2}') returns uuid
language sql as $$ select sentinai.publish('t', tenant, 'a', payload, idempotency_key => key) $$;
create function pg_temp.stored(tenant text default 'idem') returns bigint
language sql as $$ select count(*) from sentinai.event_log where tenant_id = tenant $$;

create temp table first as select pg_temp.pub('k') as id;
select is(pg_temp.pub('k'), (select id from first), 'a repeated call returns the first id');
select is(pg_temp.stored(), 1::bigint, 'and publishes nothing');
select is(pg_temp.pub('k', payload => '{"b": 2,   "a": 1}'), (select id from first), 'the order of a payload''s keys does not matter');
select is(pg_temp.pub('k', payload => '{"a": 1.0, "b": 2e0}'), (select id from first), 'nor how its numbers are written: equal jsonb is equal');
select isnt(pg_temp.pub('k-deep', 'idem3', '{"a": [[1], 2, {"c": 100}], "d": [null, true, "1"]}'), null, 'a nested payload');
select lives_ok($$select pg_temp.pub('k-deep', 'idem3', '{"d": [null, true, "1"], "a": [[1.00], 2.0, {"c": 1e2}]}')$$, 'is equal in its depth, too');
select throws_ok($$select pg_temp.pub('k-deep', 'idem3', '{"a": [[1, 2], {"c": 100}], "d": [null, true, "1"]}')$$, 'SN409', null, 'the same values in other brackets are not');
select throws_ok($$select pg_temp.pub('k-deep', 'idem3', '{"a": [[1], 2, {"c": 100}], "d": [null, true, 1]}')$$, 'SN409', null, 'nor a number for a string');
select throws_ok($$select pg_temp.pub('k', payload => '{"a": 1, "b": 3}')$$, 'SN409', null, 'another payload is a conflict');
select throws_ok($$select sentinai.publish('t2', 'idem', 'a', '{"a": 1, "b": 2}', idempotency_key => 'k')$$, 'SN409', null, 'another type too');
select throws_ok($$select sentinai.publish('t', 'idem', 'b', '{"a": 1, "b": 2}', idempotency_key => 'k')$$, 'SN409', null, 'another aggregate too');
select throws_ok($$select sentinai.publish('t', 'idem', null, '{"a": 1, "b": 2}', idempotency_key => 'k')$$, 'SN409', null, 'no aggregate too');
select throws_ok($$select sentinai.publish('t', 'idem', 'a', '{"a": 1, "b": 2}', idempotency_key => 'k', schema_version => 2)$$, 'SN409', null, 'another schema version too');
select is(sentinai.publish('t', 'idem', 'a', '{"a": 1, "b": 2}', idempotency_key => 'k', metadata => '{"traceparent": "x"}', correlation_id => 'c',
                           deliver_at => now() + interval '1 hour'), (select id from first), 'what tells of the call may differ');
select is(pg_temp.stored(), 1::bigint, 'still one event');
select isnt(pg_temp.pub('k', 'idem2'), (select id from first), 'another tenant''s key is another key');
select isnt(pg_temp.pub('K'), (select id from first), 'keys are compared as they are');
select is(pg_temp.stored(), 2::bigint, 'two keys, two events');

savepoint s;
create temp table gone as select pg_temp.pub('k-savepoint') as id;
select is(pg_temp.pub('k-savepoint'), (select id from gone), 'within a savepoint');
rollback to s;
select is(pg_temp.stored(), 2::bigint, 'a savepoint takes the event back');
create temp table again as select pg_temp.pub('k-savepoint', payload => '{"other": true}') as id;
select is(pg_temp.stored(), 3::bigint, 'and the key is new again, for any event');
select is(pg_temp.pub('k-savepoint', payload => '{"other": true}'), (select id from again), 'from then on it is taken');

-- What is registered between two calls is for new events only.
create function pg_temp.typed(key text) returns uuid language sql as $$
    select sentinai.publish('idem.v', 'idem4', 'a', '{"a": 1}', idempotency_key => key) $$;
create function pg_temp.row_in(conflict text default '') returns text language sql as $$
    select format($f$insert into outbox (id, type, tenant_id, aggregateid, payload)
        values ('6b1f2f4e-0000-4000-8000-000000000001', 'idem.v', 'idem4', 'a', '{"a": 1}') %s$f$, conflict) $$;
set local search_path = sentinai, public;
select register_event_type('idem.v', '{"type": "object"}');
create temp table typed as select pg_temp.typed('k') as id;
select lives_ok(pg_temp.row_in(), 'a row with an id');
select register_event_type('idem.v', '{"type": "object", "required": ["b"]}', compatibility => 'none');
select is(pg_temp.typed('k'), (select id from typed), 'a repeated call is not held against a schema that came later');
select lives_ok(pg_temp.row_in('on conflict do nothing'), 'nor is a row with an id that was given');
select throws_ok(pg_temp.row_in(), '23505', null, 'which is told to be the same row');
select throws_ok($$select pg_temp.typed('k-new')$$, 'SN422', null, 'a new key is');
select throws_ok($$insert into outbox (type, tenant_id, aggregateid, payload) values ('idem.v', 'idem4', 'a', '{"a": 1}')$$, 'SN422', null, 'and a new row');
select throws_ok($$select publish_batch('{idem.v}', '{idem4}', '{a}', '{"{}"}')$$, 'SN422', null, 'and a batch');
reset search_path;

-- rows, limits
select is((select count(*) from sentinai_internal.event_idempotency where tenant_id = 'idem'), 3::bigint, 'a row for each key');
select lives_ok($$select pg_temp.pub(repeat('x', 512))$$, 'the longest key');
select lives_ok($$select sentinai.publish_batch('{t}', '{idem}', '{a}', '{"{}"}')$$, 'a batch has no keys');
select * from finish();
rollback;
