-- SPDX-License-Identifier: PostgreSQL
-- What is wrong with an event of a registered type: each has its SQLSTATE, by
-- every way to publish, and leaves nothing behind.
select plan(106);
select sentinai.register_event_type('bi.order', '{
    "type": "object",
    "properties": {
        "order": {"type": "string", "pattern": "^[A-Z]-[0-9]+$"}, "count": {"type": "integer", "minimum": 1, "maximum": 1e30},
        "email": {"type": "string", "format": "email"}, "when": {"type": "string", "format": "date-time"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}, "inner": {"$ref": "#"}},
    "required": ["order"], "additionalProperties": false,
    "$defs": {"line": {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}}}');
select sentinai.register_event_type('bi.open', '{"type": "object"}');

-- the SQLSTATE of a call and its detail; every way to publish has to say the same
create function pg_temp.try(statement text, out state text, out detail text) language plpgsql as $$
begin
    execute statement;
    state := 'ok';
exception when others then
    get stacked diagnostics state = returned_sqlstate, detail = pg_exception_detail;
end $$;
create function pg_temp.ways(payload text, type text default 'bi.order') returns text language plpgsql as $$
declare
    states text[];
    details text[];
begin
    select array_agg(distinct t.state), array_agg(distinct t.detail) into states, details
    from unnest(array[format('select sentinai.publish(%L, ''bi'', ''k'', %L)', type, payload),
                      format('select sentinai.publish_batch(array[''bi.open'', %L], ''{bi,bi}'', ''{k,k}'', array[''{}'', %L]::jsonb[])', type, payload),
                      format('insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values (''bi'', ''k'', %L, %L)', type, payload)]) s,
         pg_temp.try(s) t;
    return case when cardinality(states) = 1 and cardinality(details) = 1 then states[1] else format('%s %s', states, details) end;
end $$;
create function pg_temp.stored() returns bigint language sql as $$ select count(*) from sentinai.event_log where tenant_id = 'bi' $$;
create function pg_temp.where_it_is(payload text) returns text language sql as $$
    select string_agg(e ->> 'pointer' || ' ' || (e ->> 'keyword'), ', ' order by e ->> 'pointer')
    from pg_temp.try(format('select sentinai.publish(''bi.order'', ''bi'', ''k'', %L)', payload)) t, jsonb_array_elements(t.detail::jsonb) e $$;

-- types, versions, ids and times
set sentinai.unknown_event_types = refuse;
select is(pg_temp.ways('{}', 'bi.unknown'), 'SN422', 'a type that nobody knows, where that is refused');
reset sentinai.unknown_event_types;
select is(pg_temp.ways('{}', t), 'SN422', format('the type %s', left(t, 30))) from unnest(array['x''; DROP TABLE event_log', '', ' ', 'a b', '1a', 'é', repeat('x', 129), E'a\nb', '{{x}}', '%s']) t;
select is((pg_temp.try(format('select sentinai.publish(''bi.open'', ''bi'', ''k'', ''{}'', schema_version => %s)', v))).state, state, 'version ' || v)
from (values ('0', 'SN422'), ('-1', 'SN422'), ('-2147483648', 'SN422'), ('2', 'SN422'), ('2147483647', 'SN422'), ('9223372036854775808::int', '22003'), ('''x''', '22P02')) v (v, state);
select is((pg_temp.try(format('select sentinai.publish(''bi.open'', ''bi'', ''k'', ''{}'', %s)', a))).state, state, a)
from (values ('causation_id => ''not-a-uuid''', '22P02'), ('causation_id => ''018f3b2c''', '22P02'), ('deliver_at => ''300000-01-01''', '22008'), ('deliver_at => ''soon''', '22007'),
             ('deliver_at => ''infinity''', 'SN422'), ('deliver_at => ''-infinity''', 'SN422'), ('deliver_at => now() + interval ''11 years''', 'SN422'),
             ('idempotency_key => ''''', 'SN422'), ('correlation_id => repeat(''c'', 513)', 'SN422'), ('metadata => ''[]''', 'SN422'), ('aggregate_type => ''a b''', 'SN422')) v (a, state);

-- what is no JSON, or no object
select is(pg_temp.ways(p), '22P02', 'no JSON: ' || left(p, 20)) from unnest(array['', 'x', '{', '{"order": "A-1"', '{"order": ''A-1''}', '{"order": "A-1",}', '{order: "A-1"}', '{"count": 01}', '{"count": NaN}', '{"count": Infinity}', '{"count": 0x10}', '// x']) p;
select is(pg_temp.ways(p), 'SN422', 'no object: ' || left(p, 20)) from unnest(array['1', '"x"', 'null', 'true', '[]', '[{"order": "A-1"}]']) p;

-- what does not fit
select is(pg_temp.ways(p), 'SN422', p) from (values ('{}'), ('{"order": "A-1", "more": 1}'), ('{"order": 1}'), ('{"order": "a-1"}'), ('{"order": "A-1", "count": 1.5}'), ('{"order": "A-1", "count": "1"}'), ('{"order": null}')) v (p);
select is(pg_temp.where_it_is(p), w, 'named by field: ' || w)
from (values ('{}', '/order required'), ('{"order": "A-1", "more": 1, "other": 2}', '/more additionalProperties, /other additionalProperties'), ('{"order": 1, "count": "x"}', '/count type, /order type'),
             ('{"order": "A-1", "lines": [{"sku": "x"}, {}, {"sku": 1}]}', '/lines/1/sku required, /lines/2/sku type'), ('{"order": "A-1", "inner": {"order": "A-1", "inner": {"order": 1}}}', '/inner/inner/order type'),
             ('{"order": "A-1", "a~/b": 1}', '/a~0~1b additionalProperties')) v (p, w);
select is((select detail from pg_temp.try($$ select sentinai.publish('bi.order', 'bi', 'k', '{"order": "s3cr3t", "email": "s3cr3t", "count": 1, "s3cr3t": "s3cr3t"}') $$)) ~ '"pointer": "[^"]*s3cr3t"', true, 'a name is said: it is where something is wrong');
select is((select regexp_replace(detail, '"pointer": "[^"]*"', '', 'g') from pg_temp.try($$ select sentinai.publish('bi.order', 'bi', 'k', '{"order": "s3cr3t", "email": "s3cr3t", "count": 1, "s3cr3t": "s3cr3t"}') $$)) ~ 's3cr3t', false, 'a value is not');

-- characters
select is(pg_temp.ways('{"order": "A-1\u0000"}'), '22P05', 'the character that PostgreSQL has not');
select is(pg_temp.ways(p), '22P02', 'half of a pair: ' || p) from unnest(array['{"order": "\ud800"}', '{"order": "\udc00"}', '{"order": "\ud800x"}', '{"\ud83d": 1}', '{"order": "\ud800\ud800"}']) p;
select is(pg_temp.ways('{"order": "A-1", "email": "\ud83d\ude00@example.org"}'), 'SN422', 'a whole pair is a character, of which an address has none');
select is(pg_temp.where_it_is('{"order": "A-1", "e\u006dail": "x"}'), '/email format', 'a name that is spelt otherwise is the same name');
select is(pg_temp.ways('{"ord\u0065r": "A-1"}'), 'ok', 'and is found');

-- the same key twice: the last one holds, for the check as for the log
select is(pg_temp.ways('{"order": "A-1", "order": 1}'), 'SN422', 'the last of two is checked');
select is(pg_temp.ways('{"order": 1, "order": "A-2"}'), 'ok', 'and not the first');
select is((select count(distinct payload::text) || ' ' || min(payload::text) from sentinai.event_log where tenant_id = 'bi' and event_type = 'bi.order' and payload ->> 'order' = 'A-2'), '1 {"order": "A-2"}', 'which is not stored');

-- sizes
select is(pg_temp.ways('{"a":' || repeat('[', 100000) || repeat(']', 100000) || '}', 'bi.open'), '54001', '100,000 arrays in arrays');
select is(pg_temp.ways('{"a":' || repeat('[', 600) || repeat(']', 600) || '}', 'bi.open'), 'SN422', '600 of them');
select is(pg_temp.ways('{"a":' || repeat('[', 400) || repeat(']', 400) || '}', 'bi.open'), 'ok', '400');
select is(pg_temp.ways((select string_agg('{"order": "A-1", "inner": ', '') from generate_series(1, 450)) || '{"order": "A-1"}' || repeat('}', 450)), 'ok', '450 orders in orders');
select is(pg_temp.where_it_is((select string_agg('{"order": "A-1", "inner": ', '') from generate_series(1, 100)) || '{"order": 1}' || repeat('}', 100)), repeat('/inner', 100) || '/order type', 'what is wrong is found at the bottom');
select is(pg_temp.ways('{"count": 1e200000}'), '22003', 'a number that PostgreSQL has not');
select is(pg_temp.ways('{"order": "A-1", "count": 1e400}'), 'SN422', 'one above the maximum');
select is(pg_temp.ways('{"order": "A-1", "count": ' || repeat('9', 200) || '}'), 'SN422', '200 digits');
select is(pg_temp.ways('{"order": "A-1", "count": 1.' || repeat('0', 200) || '}'), 'ok', 'a one with 200 zeros is an integer');
select is(pg_temp.ways('{"order": "A-1", "count": ' || repeat('9', 30) || '}'), 'ok', '30 digits');
select is(pg_temp.ways('{"n": 1e400, "m": -1e-400, "z": -0, "d": ' || repeat('7', 200) || '}', 'bi.open'), 'ok', 'numbers of any size where nothing is said of them');
select is((select payload ->> 'd' from sentinai.event_log where tenant_id = 'bi' and payload ? 'd' limit 1), repeat('7', 200), 'are kept digit by digit');
select is(pg_temp.ways('{"a": "' || repeat('x', 1048577) || '"}', 'bi.open'), 'SN413', 'more than 1 MB');
select is((pg_temp.try($$select sentinai.publish('bi.open', 'bi', 'k', ('{"a": "' || repeat('x', 250000000) || '"}')::jsonb)$$)).state, 'SN413', '250 MB');
select is((pg_temp.try($$select sentinai.publish('bi.open', 'bi', 'k', ('{"' || repeat('x', 300000000) || '": 1}')::jsonb)$$)).state, '54000', 'a name of 300 MB');
set statement_timeout = '2s';
select is(pg_temp.ways((select jsonb_object_agg('p' || i, i)::text from generate_series(1, 10000) i)), 'SN422', '10,000 fields that are too much');
select is((select jsonb_array_length(detail::jsonb) || ' ' || (detail::jsonb -> -1)::text from pg_temp.try(format('select sentinai.publish(''bi.order'', ''bi'', ''k'', %L)', (select jsonb_object_agg('p' || i, i) from generate_series(1, 10000) i)))), '21 {"more": 9981}', 'of which 20 are named');
select is(pg_temp.ways((select jsonb_object_agg('p' || i, i)::text from generate_series(1, 10000) i), 'bi.open'), 'ok', '10,000 fields that may be');
select is(pg_temp.ways((select jsonb_build_object('order', 'A-1', 'lines', jsonb_agg(jsonb_build_object('sku', i::text)))::text from generate_series(1, 10000) i)), 'ok', '10,000 lines');
reset statement_timeout;

-- traces
create function pg_temp.trace(metadata jsonb) returns text language plpgsql as $$
declare
    id uuid := sentinai.publish('bi.open', 'bi', 'trace', '{}', metadata => metadata);
begin
    return (select e.metadata ->> 'traceparent' from sentinai.event_log e where event_id = id);
end $$;
select matches(pg_temp.trace(jsonb_build_object('traceparent', p)), '^00-(?!0{32})[0-9a-f]{32}-[0-9a-f]{16}-01$', 'a new trace for ' || left(p::text, 30))
from unnest(array['""', '"x"', '1', '{}', '"00-00000000000000000000000000000000-1111111111111111-01"', '"00-11111111111111111111111111111111-0000000000000000-01"', '"ff-11111111111111111111111111111111-1111111111111111-01"',
                  '"00-1111111111111111111111111111111G-1111111111111111-01"', '"00-11111111111111111111111111111111-1111111111111111-01\r\nx: y"']::jsonb[] || to_jsonb(repeat('0', 10240))) p;
set sentinai.traceparent = E'00-11111111111111111111111111111111-1111111111111111-01\r\nx: y';
select matches(pg_temp.trace('{}'), '^00-(?!1{32})[0-9a-f]{32}-[0-9a-f]{16}-01$', 'by a setting, too');
reset sentinai.traceparent;
select is((pg_temp.try(format('select sentinai.publish(''bi.open'', ''bi'', ''k'', ''{}'', correlation_id => %L)', E'a\r\nx: y'))).state, 'SN422', 'what becomes a header has no end of line');

-- all that was refused
select is(pg_temp.stored(), (4 * 9 + 11)::bigint, 'nothing is stored of what was refused');
select * from finish();
