-- SPDX-License-Identifier: PostgreSQL
-- register_event_type() and its like, and what publishers notice of them.
-- Statements commit one by one.
select plan(81);
create extension if not exists dblink;
create function pg_temp.elsewhere() returns text language sql as $$
    select format('host=%s port=%s dbname=%s user=%s', trim(split_part(current_setting('unix_socket_directories'), ',', 1)),
                  current_setting('port'), current_database(), session_user) $$;
-- the version that an event of a type gets, or the SQLSTATE
create function pg_temp.version(type text, payload jsonb default '{"n": 1}', version int default null) returns text language plpgsql as $$
#variable_conflict use_variable
declare
    id uuid;
begin
    id := sentinai.publish(type, 'types', 'k', payload, schema_version => version);
    return (select schema_version from sentinai.event_log where event_id = id);
exception when others then
    return sqlstate;
end $$;
\ir lib/detail.sql
create function pg_temp.publish(type text, payload jsonb, version int default null) returns uuid language sql as $$
    select sentinai.publish(type, 'types', 'k', payload, schema_version => version) $$;
\set v1 '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false}'
\set v2 '{"type": "object", "properties": {"n": {"type": "integer"}, "note": {"type": "string"}}, "required": ["n"], "additionalProperties": false}'

-- not registered
select is(pg_temp.version('ty.none'), '1', 'a type that is not registered has version 1');
select is(pg_temp.version('ty.none', version => 7), '7', 'or what its publisher says');
set sentinai.unknown_event_types = refuse;
select is(pg_temp.version('ty.none'), 'SN422', 'unless such are refused');
select throws_ok($$select sentinai.publish_batch('{ty.none}', '{types}', '{k}', array['{}'::jsonb])$$, 'SN422', 'event 1 of the batch: event type "ty.none" is not registered', 'in a batch');
reset sentinai.unknown_event_types;

-- registered
select is(sentinai.register_event_type('ty.a', :'v1', description => 'First.', examples => '[{"n": 7}]'), 1, 'the first version');
select is(sentinai.register_event_type('ty.a', :'v1', description => 'First.', examples => '[{"n": 7}]'), 1, 'the same again is the same version');
select is((select count(*) from sentinai.event_types where event_type = 'ty.a'), 1::bigint, 'and no other row');
select is(pg_temp.version('ty.a'), '1', 'what fits is published');
select is(pg_temp.version('ty.a', '{"n": "x"}'), 'SN422', 'what does not is refused');
select is(pg_temp.detail($$select pg_temp.publish('ty.a', '{"n": "secret", "m": 1}')$$) @> '[{"pointer": "/n", "keyword": "type"}]', true, 'the detail has pointer and keyword');
select is(pg_temp.detail($$select pg_temp.publish('ty.a', '{"n": "secret", "m": 1}')$$)::text like '%secret%', false, 'and nothing of the value');
select is(pg_temp.version('ty.a', version => 2), 'SN422', 'a version that is not registered');
select is(pg_temp.version('ty.a', version => 0), 'SN422', 'or is none');
select throws_ok($$select sentinai.publish_batch('{ty.a,ty.a}', '{types,types}', '{k,k}', array['{"n": 1}'::jsonb, '{}'])$$, 'SN422', 'event 2 of the batch: payload does not fit version 1 of event type "ty.a"', 'a batch is checked');
select throws_ok($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('types', 'k', 'ty.a', '{}')$$, 'SN422', null, 'and so is the outbox');
select lives_ok($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('types', 'outbox', 'ty.a', '{"n": 3}')$$, 'which takes what fits');
copy sentinai.outbox (tenant_id, aggregateid, type, payload) from stdin;
types	outbox	ty.a	{"n": 4}
\.

-- the next version
select is(sentinai.register_event_type('ty.a', :'v2'), 2, 'the second version');
select is(pg_temp.version('ty.a', '{"n": 1, "note": "x"}'), '2', 'is the one that publishers mean');
select is(pg_temp.version('ty.a', '{"n": 1, "note": "x"}', 1), 'SN422', 'unless they say another');
select is(pg_temp.version('ty.a', '{"n": 1}', 1), '1', 'which goes on');
select sentinai.publish_batch('{ty.a}', '{types}', '{batch}', array['{"n": 1, "note": "x"}'::jsonb]);
insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('types', 'outbox', 'ty.a', '{"n": 5}');
select is((select string_agg(aggregate_id || schema_version, ' ' order by event_id) from sentinai.event_log where tenant_id = 'types' and aggregate_id in ('batch', 'outbox')), 'outbox1 outbox1 batch2 outbox2', 'in batches, INSERT and COPY, too');
select is(sentinai.register_event_type('ty.a', :'v1'), 1, 'a deploy that registers the first again gets the first');
select throws_ok(format('select sentinai.register_event_type(%L, %L, 2)', 'ty.a', :'v1'), 'SN409', null, 'a version never changes');
select throws_ok(format('select sentinai.register_event_type(%L, %L, 0)', 'ty.a', :'v1'), 'SN422', null, 'nor is it less than 1');
select is((select string_agg(version || ' ' || is_default, ',' order by version) from sentinai.event_types where event_type = 'ty.a'), '1 false,2 true', 'the view tells which one holds');
select is((select description from sentinai.event_types where event_type = 'ty.a' and version = 1), null, 'registered again without a description it has none');
select is(sentinai.json_schema('ty.a', 1), :'v1'::jsonb, 'json_schema() of a version');
select is(sentinai.json_schema('ty.a'), :'v2'::jsonb, 'and of the one that holds');
select throws_ok($$select sentinai.json_schema('ty.a', 3)$$, 'SN404', null, 'but not of others');

-- a repeated call is a repeated call, whatever was registered between
select sentinai.register_event_type('ty.idem', '{"type": "object"}');
create temp table first as select sentinai.publish('ty.idem', 'types', 'k', '{}', idempotency_key => 'once') as id;
select sentinai.register_event_type('ty.idem', '{"type": "object", "title": "second"}');
select is(sentinai.publish('ty.idem', 'types', 'k', '{}', idempotency_key => 'once'), (select id from first), 'an idempotency key outlives a new version');

-- compatibility
select is((select string_agg(e ->> 'pointer' || ' ' || (e ->> 'keyword'), ', ' order by e ->> 'pointer') from jsonb_array_elements(pg_temp.detail(
    $$select sentinai.register_event_type('ty.a', '{"type": "object", "properties": {"n": {"type": "string"}}, "required": ["n", "who"], "additionalProperties": false}')$$)) e),
    '/n type, /note false, /who required', 'what breaks is named by field and keyword');
create function pg_temp.way(old jsonb, new jsonb) returns text language plpgsql as $$
declare
    m text;
    result text;
begin
    perform sentinai.register_event_type('ty.way', old);
    foreach m in array '{backward,forward}'::text[] loop
        begin
            perform sentinai.register_event_type('ty.way', new, compatibility => m);
            raise exception using errcode = 'P0002';
        exception when sqlstate 'P0002' then
            result := concat_ws(' ', result, m);
        when sqlstate 'SN409' then
            null;
        end;
    end loop;
    raise exception using errcode = 'P0003', message = coalesce(result, 'none');
exception when sqlstate 'P0003' then
    return sqlerrm;
end $$;
select is(pg_temp.way(o::jsonb, n::jsonb), ways, what) from (values
    ('{"type": "integer"}', '{"type": "number"}', 'backward', 'a wider type'),
    ('{"type": "string"}', '{"type": ["string", "null"]}', 'backward', 'one type more'),
    ('{"enum": ["a"]}', '{"enum": ["a", "b"]}', 'backward', 'one value more'),
    ('{"const": 1}', '{"enum": [1.0, 2]}', 'backward', 'a value of several'),
    ('{"minimum": 2}', '{"minimum": 1}', 'backward', 'a lower minimum'),
    ('{"maxLength": 2}', '{"maxLength": 3}', 'backward', 'a longer text'),
    ('{"required": ["a", "b"]}', '{"required": ["a"]}', 'backward', 'not required any more'),
    ('{"type": "object"}', '{"type": "object", "properties": {"a": {"type": "string"}}}', 'forward', 'a property that could be anything'),
    ('{"properties": {"a": {}}, "additionalProperties": false}', '{"properties": {"a": {}, "b": {}}, "additionalProperties": false}', 'backward', 'a property more of a closed object'),
    ('{"items": {"type": "integer"}}', '{"prefixItems": [{"type": "number"}], "items": {"type": "integer"}}', 'backward', 'items one by one'),
    ('{"$ref": "#/$defs/x", "$defs": {"x": {"type": "integer"}}}', '{"type": "number"}', 'backward', 'a reference'),
    ('{"properties": {"t": {"$ref": "#"}, "n": {"type": "integer"}}, "additionalProperties": false}', '{"properties": {"t": {"$ref": "#"}, "n": {"type": "number"}}, "additionalProperties": false}', 'backward', 'a schema in itself'),
    ('{"anyOf": [{"type": "string"}, {"type": "null"}]}', '{"anyOf": [{"type": "null"}, {"type": "string"}, {"type": "array"}]}', 'backward', 'choices'),
    ('{"multipleOf": 0.01}', '{"multipleOf": 0.001}', 'backward', 'a finer step'),
    ('{"multipleOf": 1}', '{"multipleOf": 1.00}', 'backward forward', 'the same step'),
    ('{"multipleOf": 4}', '{"multipleOf": 6}', 'none', 'a step of another kind'),
    ('{"pattern": "^a"}', '{"pattern": "^[ab]"}', 'none', 'what cannot be told'),
    ('{"not": {"type": "null"}}', '{"not": {"type": "null"}, "title": "x"}', 'backward forward', 'what is the same'),
    ('{"oneOf": [{"type": "string"}]}', '{"oneOf": [{"type": "string"}, {"type": "null"}]}', 'none', 'what is hard'),
    ('{"if": {"type": "null"}}', '{"if": {"type": "null"}, "then": false}', 'none', 'half of a condition'),
    ('{"additionalProperties": {"type": "integer"}}', '{"properties": {"a": {"type": "number"}}, "additionalProperties": {"type": "integer"}}', 'backward', 'a name for what had none')
    ) v (o, n, ways, what);
select is(sentinai.register_event_type('ty.a', '{"type": "object", "required": ["n", "new"]}', compatibility => 'none'), 3, 'who wants to break may');
select throws_ok(format('select sentinai.register_event_type(%L, %L, compatibility => %L)', 'ty.a', '{"type": "object", "required": ["n", "new"], "minProperties": 2, "properties": {"note": {"type": "string"}}}', 'forward_transitive'), 'SN409', null, 'transitive: all versions before');

-- deprecated, dropped
select is(sentinai.deprecate_event_type('ty.a', 3), 1, 'a version is deprecated');
select is(pg_temp.version('ty.a'), '2', 'and is not what publishers mean');
select is(pg_temp.version('ty.a', '{"n": 1, "new": 2}', 3), '3', 'unless they say so');
select is(sentinai.deprecate_event_type('ty.a'), 2, 'and all others');
select is(pg_temp.version('ty.a'), 'SN422', 'then a publisher has to say what he means');
select is(sentinai.deprecate_event_type('ty.a', 2, false), 1, 'it can be taken back');
select throws_ok($$select sentinai.drop_event_type_version('ty.a', 2)$$, 'SN409', null, 'the log has events of the version');
select lives_ok($$select sentinai.drop_event_type_version('ty.a', 2, true)$$, 'by force');
select is(pg_temp.version('ty.a', version => 2), 'SN422', 'it is gone');
select is((select count(*) > 0 from sentinai.event_log where event_type = 'ty.a' and schema_version = 2), true, 'its events are not');
select throws_ok(format('select sentinai.register_event_type(%L, %L, 2)', 'ty.a', '{}'), 'SN409', null, 'its number means nothing else');
select is(sentinai.register_event_type('ty.a', :'v2', 2), 2, 'but what it was');
select throws_ok($$select sentinai.drop_event_type_version('ty.a', 9)$$, 'SN404', null, 'a version that is not there');

-- the transaction's own, and what it takes back
begin;
select sentinai.register_event_type('ty.b', :'v1');
savepoint s;
select is(pg_temp.version('ty.b', '{}'), 'SN422', 'a transaction sees what it has registered');
rollback to s;
savepoint s2;
select sentinai.register_event_type('ty.b', :'v2');
select is(pg_temp.version('ty.b', '{"n": 1, "note": "x"}'), '2', 'in a savepoint');
rollback to s2;
select is(pg_temp.version('ty.b', '{"n": 1, "note": "x"}'), 'SN422', 'which is rolled back');
rollback;
select is(pg_temp.version('ty.b', '{}'), '1', 'and so is the rest');

-- other sessions
select dblink_connect('c', pg_temp.elsewhere());
select * from dblink('c', $$select sentinai.publish('ty.c', 'types', 'k', '{}') is not null$$) d (t bool);
select sentinai.register_event_type('ty.c', '{"type": "object", "required": ["n"]}');
select throws_ok($$select * from dblink('c', 'select sentinai.publish(''ty.c'', ''types'', ''k'', ''{}'')') d (u uuid)$$, 'SN422', null, 'another session knows at its next transaction');
select dblink_disconnect('c');

-- what SQL writes, as a restored dump does
select is(pg_temp.version('ty.sql', '{}'), '1', 'not registered');
insert into sentinai_internal.event_type (event_type, version, direction, schema, examples, compatibility, registered_at, registered_by)
values ('ty.sql', 4, 'agent', '{"type": "object"}', '[]', 'none', now(), 'me');
select is(pg_temp.version('ty.sql', '{}'), '4', 'rows that SQL writes hold as well');
insert into sentinai_internal.event_type (event_type, version, direction, schema, examples, compatibility, registered_at, registered_by)
values ('ty.wrong', 1, 'agent', '{"minimum": "some text", "required": 5, "properties": [1], "enum": {"a": 1}, "anyOf": 3, "items": 7, "type": 8, "multipleOf": []}', '[]', 'none', now(), 'me');
select is(pg_temp.version('ty.wrong', '{}'), 'SN422', 'if they are none, they are refused');
update sentinai_internal.event_type set examples = '{"a": {"b": 1}}' where event_type = 'ty.sql';
select matches(sentinai.describe_event_type('ty.sql'), '^ty.sql, version 4', 'examples that are no list are none');
select throws_ok(format('select sentinai.register_event_type(%L, %L, compatibility => %L)', 'ty.wrong', '{"minimum": 1, "required": ["a"], "properties": {"a": {}}, "enum": [1], "anyOf": [true], "items": true, "type": "object", "multipleOf": 2}', m), 'SN422', 'the JSON Schema cannot be used', m || ': they are compared with nothing') from unnest('{backward,forward}'::text[]) m;
delete from sentinai_internal.event_type where event_type = 'ty.wrong';

-- the extension's own
select throws_ok(format('select sentinai.register_event_type(%L, %L)', t, '{}'), 'SN422', null, t || ' is the extension''s own') from unnest('{RetryScheduled,BackpressureDetected}'::text[]) t;
\set tenant types
\ir lib/queue.sql
select sentinai.subscribe('types-control', '{ty.ctl}', max_attempts => 2, backoff => '{0s}');
select sentinai.publish('ty.ctl', 'types', 'ctl', '{}');
select pg_temp.sequenced();
select sentinai.fail(token, event_id, E'no "luck"\n') from sentinai.claim('types-control');
select sentinai.fail(token, event_id, '') from sentinai.claim('types-control');
select is((select string_agg(event_type || ' ' || schema_version || ' ' || sentinai.validate_json(sentinai.json_schema(event_type, schema_version), payload), ', ' order by event_id)
    from sentinai.event_log where payload ->> 'worker_type' = 'types-control'), 'RetryScheduled 1 [], DeadLettered 1 []', 'what it publishes is what it has registered');
select sentinai.unsubscribe('types-control');
select * from finish();
