-- SPDX-License-Identifier: PostgreSQL
-- Schemas that are made to take long, to take up memory or to lead astray:
-- refused or taken, and always soon. Each limit of time is many times what is
-- needed, and a small part of what was needed once.
select plan(67);
create function pg_temp.code(statement text) returns text language plpgsql as $$
begin
    execute statement;
    return 'ok';
exception when others then
    return sqlstate;
end $$;
create function pg_temp.register(type text, schema jsonb, mode text default 'backward') returns text language plpgsql as $$
begin
    return sentinai.register_event_type(type, schema, compatibility => mode);
exception when others then
    return sqlstate;
end $$;
create function pg_temp.check(schema jsonb, value jsonb default '1') returns text language plpgsql as $$
begin
    return sentinai.validate_json(schema, value) ->> 0 is null;
exception when query_canceled then
    return 'too long';
when others then
    return sqlstate;
end $$;
set statement_timeout = '20s';

-- a name may be empty, and every name is one of its own
select is(pg_temp.register('hs.empty', '{"$defs": {"type": true, "": {"type": "string"}}, "properties": {"p": {"$ref": "#/$defs/"}}}'), '1', 'a reference to a schema without a name');
select is(pg_temp.register('hs.empty', '{"properties": {"p": {"type": "string"}}}'), '2', 'leads there, and not to what is around it');
select is(pg_temp.register('hs.empty', '{"properties": {"p": {"type": "integer"}}}'), 'SN409', 'so that a change is seen');
select is(pg_temp.register('hs.empty2', '{"$defs": {"": {"": {"type": "string"}, "properties": {"": {"type": "integer"}}}}, "properties": {"p": {"$ref": "#/$defs//properties/"}}}'), 'SN422', 'what is no schema cannot be referred to');
select is(pg_temp.register('hs.empty2', '{"$defs": {"": {"properties": {"": {"type": "integer"}}}}, "properties": {"p": {"$ref": "#/$defs//properties/"}}}'), '1', 'two empty names');
select is(pg_temp.register('hs.empty2', '{"properties": {"p": {"type": "string"}}}'), 'SN409', 'lead to what they name');
select is(pg_temp.register('hs.empty2', '{"properties": {"p": {"type": "number"}}}'), '2', 'and to nothing else');

-- lists are compared in a time that grows with their length
create function pg_temp.list(name text, n int, more jsonb default '{}') returns jsonb language sql as $$
    select jsonb_build_object(name, (select jsonb_agg('f' || i) from generate_series(1, n) i)) || more $$;
select is(pg_temp.register('hs.required', pg_temp.list('required', 60000)), '1', 'a property may be required 60,000 times');
select is(pg_temp.register('hs.required', pg_temp.list('required', 59999, '{"title": "x"}')), '2', 'and one less in the next version');
select is(pg_temp.register('hs.required', pg_temp.list('required', 60000)), '1', 'the first again is the first');
select is(pg_temp.register('hs.required', pg_temp.list('required', 60001)), 'SN409', 'one more is refused');
select is(pg_temp.register('hs.enum', pg_temp.list('enum', 60000)), '1', '60,000 values');
select is(pg_temp.register('hs.enum', pg_temp.list('enum', 60001)), '2', 'one more');
select is(pg_temp.register('hs.enum', pg_temp.list('enum', 59999)), 'SN409', 'one less');
select is(pg_temp.register('hs.choices', jsonb_build_object('anyOf', (select jsonb_agg(pg_temp.list('enum', 300, jsonb_build_object('minimum', i))) from generate_series(1, 200) i))), '1', 'choices that are almost the same');
select is(pg_temp.register('hs.choices', jsonb_build_object('anyOf', (select jsonb_agg(pg_temp.list('enum', 300, jsonb_build_object('maximum', i))) from generate_series(1, 200) i))), 'SN409', 'are compared for so long, and no longer');
select is(pg_temp.register('hs.notes', (select jsonb_object_agg('x-' || i, i) from generate_series(1, 30000) i) || '{"$defs": {"a": {"type": "string"}}, "$ref": "#/$defs/a"}'), '1', '30,000 remarks beside a reference');
select is(pg_temp.register('hs.notes', '{"allOf": [{"type": "string"}], "title": "x"}'), '2', 'are passed over');

-- a name counts once, however much is below it
create function pg_temp.below(name text, n int) returns jsonb language sql as $$
    select jsonb_build_object('properties', jsonb_build_object(name, jsonb_build_object('properties',
        (select jsonb_object_agg('p' || i, '{"type": "string"}'::jsonb) from generate_series(1, n) i)))) $$;
select is(pg_temp.check(pg_temp.below('n', 20000)), 'true', '20,000 properties below a short name');
select is(pg_temp.check(pg_temp.below(repeat('n', 200000), 20)), 'true', 'or 20 below a long one');
select is(pg_temp.check(pg_temp.below(repeat('n', 200000), 4000)), 'SN422', 'but not all at once');
select is(pg_temp.check(pg_temp.below(repeat('n', 1100000), 1)), 'SN413', 'a schema has at most 1 MB, registered or not');
select is(pg_temp.check((repeat('{"not":', 400) || 'true' || repeat('}', 400))::jsonb), 'true', '400 schemas in schemas');
select is(pg_temp.check((repeat('{"not":', 600) || 'true' || repeat('}', 600))::jsonb), 'SN422', '600 are too deep');
create function pg_temp.chain(n int) returns jsonb language sql as $$
    select jsonb_build_object('$ref', '#/$defs/a1', '$defs', jsonb_object_agg('a' || i, case when i = n then '{"type": "object"}'
        else jsonb_build_object('$ref', '#/$defs/a' || i + 1) end)) from generate_series(1, n) i $$;
select is(pg_temp.check(pg_temp.chain(900)), 'false', '900 references one behind the other');
select is(pg_temp.check(pg_temp.chain(1100)), 'SN422', '1,100 are too many');
select is(pg_temp.check(pg_temp.chain(20000)), 'SN422', 'nor does the stack end before');
select is(pg_temp.check(jsonb_build_object('allOf', jsonb_build_array(pg_temp.chain(600) - '$defs', pg_temp.chain(600) - '$defs'), '$defs', pg_temp.chain(600)->'$defs')), 'false', 'two ways to the same count once');
create function pg_temp.detail_size(schema jsonb) returns int language plpgsql as $$
declare
    d text;
begin
    perform sentinai.validate_json(schema, '1');
    return null;
exception when others then
    get stacked diagnostics d = pg_exception_detail;
    return length(d);
end $$;
select cmp_ok(pg_temp.detail_size(jsonb_build_object(repeat('k', 900000), 1)), '<', 3000, 'an error does not repeat a long name');
select cmp_ok(pg_temp.detail_size(pg_temp.below(repeat('n', 500000), 1) || jsonb_build_object('properties', jsonb_build_object(repeat('é', 200000), 1))), '<', 3000, 'nor a long pointer');

-- regular expressions: what takes long to make
select is(pg_temp.check(jsonb_build_object('pattern', p)), 'SN422', p || ' is too large')
from unnest('{(a?b?c?d?e?f?g?h?i?j?)\{90\},(\\s?\\S?\\w?\\W?[^x-z]?)\{60\},([a-m]?[b-n]?[c-o]?[d-p]?[e-q]?[f-r]?[g-s]?[h-t]?[i-u]?[j-v]?)\{20\},(((((a?b?)\{3\})\{3\})\{3\})\{3\})\{3\},(|a|b|c|d|e)\{200\},(\\b|[a-z]|^)\{200\},((a*)*)\{250\}}'::text[]) p;
select is(pg_temp.check(jsonb_build_object('allOf', (select jsonb_agg(jsonb_build_object('pattern', 'a' || i)) from generate_series(1, 5000) i))), 'SN422', 'nor 5,000 in one schema');
select is(pg_temp.check(jsonb_build_object('allOf', (select jsonb_agg(jsonb_build_object('pattern', '^[A-Z]{2}-[0-9]{1,9}x?' || i || '$')) from generate_series(1, 300) i))), 'true', '300 are no burden');
-- and what takes long to run
select ok(pg_temp.check(jsonb_build_object('pattern', p), to_jsonb((select string_agg(chr(97 + i * 7919 % 104729 % 11), '') from generate_series(1, 200000) i))) in ('true', 'false', 'SN422'), p || ' on 200,000 characters')
from unnest('{(a+)+$,^(a|a)*$,(a|aa)+$,(.*a)\{12\}z,(a?b?c?d?e?f?g?h?i?j?)\{10\}z,(a|a?)\{60\}z,a.\{250\}z}'::text[]) p;
-- a look in a look is a run at every place of every run
select format('select is(pg_temp.check(%L, %L), ''SN422'', %L)', jsonb_build_object('pattern', p, 'maxLength', 4096), to_jsonb(repeat('a', n)), p || ' on ' || n || ' characters')
from (values ('(?=a*(?=a*b))', 3000), ('(?=a*(?=a*(?=a*b)))', 400), ('(?=(?:x|a*(?=a*(?=a*b))))', 400), ('(?!a*(?!a*(?!a*b)))', 400), ('(?<=b(?=a*(?=a*b)a*))', 400),
             ('(?=a*(?=a*(?=a*(?=a*(?=a*(?=a*(?=a*b)))))))', 100), (repeat('(?=a*', 40) || 'b' || repeat(')', 40), 4)) x (p, n) \gexec
select is(pg_temp.check('{"pattern": "^(?=a*b(?!c))", "maxLength": 200}', to_jsonb(repeat('a', 199) || 'b')), 'true', 'of a short text it can be asked');
select is(pg_temp.check('{"pattern": "^(?=a*b(?!c))", "maxLength": 200}', '"aabc"'), 'false', 'and is');
select is(pg_temp.check('{"pattern": "^(?=.*a)(?=.*b)(?=.*c).*$", "maxLength": 1000}', to_jsonb(repeat('abc', 300))), 'true', 'looks one behind the other cost no more than they did');

-- what nothing has spoken of, level by level
select is(pg_temp.check(schema, value), 'SN422', 'a walk over a value costs steps at every level')
from (with recursive s (n, j) as (select 0, '{"items": true}'::jsonb union all
          select n + 1, jsonb_build_object('unevaluatedItems', true, 'allOf', jsonb_build_array(j)) from s where n < 240)
      select jsonb_build_object('$defs', jsonb_build_object('a', j), 'allOf', (select jsonb_agg('{"$ref": "#/$defs/a"}'::jsonb) from generate_series(1, 200))),
             (select jsonb_agg(1) from generate_series(1, 100000)) from s where n = 240) x (schema, value);

-- thousands of versions, and what a session keeps of them
insert into sentinai_internal.event_type (event_type, version, direction, schema, examples, compatibility, registered_at, registered_by)
select 'hs.versions', v, 'agent', jsonb_build_object('properties', w.j, 'title', 'v' || v, 'required', array['v' || v]), '[]', 'none', now(), 'me'
from generate_series(1, 10000) v, (select jsonb_object_agg('p' || i, '{}'::jsonb) j from generate_series(1, 40) i) w;
select is(pg_temp.register('hs.versions', '{"title": "the next", "required": ["n"]}', 'none'), '10001', 'one more than 10,000 versions');
select is(pg_temp.register('hs.versions', '{"required": ["n"], "title": "the next"}', 'none'), '10001', 'is found again');
create function pg_temp.version(type text, payload jsonb, version int default null) returns text language plpgsql as $$
#variable_conflict use_variable
declare
    id uuid;
begin
    id := sentinai.publish(type, 'hs', 'k', payload, schema_version => version);
    return (select schema_version from sentinai.event_log where event_id = id);
exception when others then
    return sqlstate;
end $$;
select is(pg_temp.version('hs.versions', '{"n": 1}'), '10001', 'publishers get it');
select is((select string_agg(pg_temp.version('hs.versions', jsonb_build_object('v' || v, 1), v), ' ') from unnest('{1,2,4999,5000,9999,10000}'::int[]) v), '1 2 4999 5000 9999 10000', 'or the one that they name');
select is((select string_agg(distinct pg_temp.version('hs.versions', '{}', v), ' ') from unnest('{1,2,4999,5000,9999,10000,10002}'::int[]) v), 'SN422', 'and are held to it');
insert into sentinai_internal.event_type (event_type, version, direction, schema, examples, compatibility, registered_at, registered_by)
select 'hs.large', v, 'agent', jsonb_build_object('properties', w.j, 'required', array['v' || v]), '[]', 'none', now(), 'me'
from generate_series(1, 150) v, (select jsonb_object_agg('p' || i, '{"type": "string"}'::jsonb) j from generate_series(1, 5000) i) w;
select is((select count(*) from generate_series(1, 150) v where pg_temp.version('hs.large', jsonb_build_object('v' || v, 1), v) = v::text), 150::bigint, '150 large versions are used');
select cmp_ok((select sum(total_bytes) from pg_backend_memory_contexts where name = 'SentinAI JSON Schema')::int, '<', 72 << 20, 'and a session keeps a part of them');
select is(pg_temp.version('hs.large', '{}', 1), 'SN422', 'one that it has forgotten is read again');

-- what is not told takes no memory
create function pg_temp.peak() returns bigint language sql volatile as $$
    select (regexp_match(pg_read_file('/proc/self/status'), 'VmHWM:\s+(\d+)'))[1]::bigint / 1024 $$;
create temp table before as select pg_temp.peak() as mb;
select is(jsonb_array_length(sentinai.validate_json(jsonb_build_object('allOf', (select jsonb_agg('{"additionalProperties": {"type": "object"}}'::jsonb) from generate_series(1, 100))), (select jsonb_object_agg('p' || i, 1) from generate_series(1, 10000) i))), 21, 'a million errors');
select cmp_ok((select pg_temp.peak() - mb from before), '<', 200::bigint, 'are counted, and not kept');
select * from finish();
