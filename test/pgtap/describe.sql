-- SPDX-License-Identifier: PostgreSQL
-- describe_event_type(): what people read, and the example that it makes.
select plan(51);
-- what the description of a schema says below its head
create function pg_temp.said(schema jsonb, examples jsonb default '[]') returns text language plpgsql as $$
begin
    perform sentinai.register_event_type('de.' || md5(schema::text), schema, examples => examples);
    return split_part(sentinai.describe_event_type('de.' || md5(schema::text)), E'Compatibility: backward\n\n', 2);
end $$;
create function pg_temp.example(schema jsonb, examples jsonb default '[]') returns jsonb language sql as $$
    select nullif(split_part(pg_temp.said(schema, examples), E'):\n', 2), '')::jsonb $$;
-- whether an example is made, and the schema takes it
create function pg_temp.makes(schema jsonb) returns bool language sql as $$
    select coalesce(sentinai.validate_json(schema, pg_temp.example(schema)) = '[]', false) $$;
-- the same for one field
create function pg_temp.makes_field(field jsonb) returns bool language sql as $$
    select pg_temp.makes(jsonb_build_object('type', 'object', 'required', '["a"]'::jsonb, 'properties', jsonb_build_object('a', field))) $$;

-- the whole text
select sentinai.register_event_type('de.Order', '{
    "type": "object", "required": ["order", "lines"], "additionalProperties": false,
    "properties": {
        "order": {"type": "string", "pattern": "^A-[0-9]+$", "description": "Its number."},
        "paid": {"enum": ["cash", "card"], "deprecated": true},
        "lines": {"type": "array", "minItems": 1, "maxItems": 9, "items": {"$ref": "#/$defs/line"}},
        "to": {"oneOf": [{"type": "null"}, {"type": "object", "properties": {"zip": {"type": ["string", "null"], "maxLength": 5}}, "required": ["zip"]}]}},
    "$defs": {"line": {"properties": {"price": {"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.01}, "parts": {"type": "array", "items": {"$ref": "#/$defs/line"}}}}}}',
    description => E'An order was placed.\nBy a customer.', examples => '[{"order": "A-7", "lines": [{}]}]');
select is(sentinai.describe_event_type('de.Order'), $$de.Order, version 1

An order was placed.
By a customer.

Direction: inbound
Compatibility: backward

Field               Type             Required  Rules                        Description
lines               array of object  yes       1 to 9 items
  parts             array of object
    [each]          object                     as "lines" above
  price             number                     above 0; a multiple of 0.01
order               string           yes       pattern ^A-[0-9]+$           Its number.
paid                string                     one of "card", "cash"        (deprecated)
to                  any
  (exactly one of)
    1.              null
    2.              object
      zip           null or string   yes       at most 5 characters

The payload as a whole: no other fields.

Example (registered):
{
    "lines": [
        {
        }
    ],
    "order": "A-7"
}$$, 'fields, required ones first, with what is in them');

-- versions
select sentinai.register_event_type('de.v', '{"required": ["a"]}');
select sentinai.register_event_type('de.v', '{"required": []}', direction => 'agent', compatibility => 'none');
select matches(sentinai.describe_event_type('de.v'), '^de\.v, version 2\n\nDirection: agent\nCompatibility: none\n\n', 'the newest version');
select matches(sentinai.describe_event_type('de.v', 1), '^de\.v, version 1\n', 'or another');
select sentinai.deprecate_event_type('de.v', 2);
select matches(sentinai.describe_event_type('de.v'), '^de\.v, version 1\n', 'the newest that is not deprecated');
select matches(sentinai.describe_event_type('de.v', 2), '\nDeprecated since: 20', 'since when one is deprecated');
select sentinai.deprecate_event_type('de.v');
select matches(sentinai.describe_event_type('de.v'), '^de\.v, version 2\n', 'the newest when all are');
select sentinai.drop_event_type_version('de.v', 2);
select throws_ok($$select sentinai.describe_event_type('de.v', 2)$$, 'SN404', null, 'a version that was dropped');
select throws_ok($$select sentinai.describe_event_type('de.v', 3)$$, 'SN404', null, 'one that never was');
select throws_ok($$select sentinai.describe_event_type('de.v', 0)$$, 'SN404', null, 'there is no version 0');
select throws_ok($$select sentinai.describe_event_type('de.none')$$, 'SN404', null, 'a type that is not registered');
select throws_ok($$select sentinai.describe_event_type(null)$$, '22004', null, 'no type');
select throws_ok($$select sentinai.describe_event_type('no type')$$, 'SN422', null, 'no name of a type');
select matches(sentinai.describe_event_type('DeadLettered'), 'Example \(made from the schema\)', 'types of the extension, too');

-- what else a schema says
select matches(pg_temp.said('{}'), '^The schema names no fields\.\n', 'a schema that says nothing');
select matches(pg_temp.said('{"title": "no fields", "additionalProperties": {"type": "integer"}, "minProperties": 2}'), E'^Field +Type\n\\(others\\) +integer\n\nThe payload as a whole: 2 or more fields\\.', 'fields without a name');
select matches(pg_temp.said('{"properties": {"a": {"const": {"b": [1, "x"]}}, "b": {"not": {"type": "string"}}}}'), 'always \{"b": \[1, "x"\]\}\nb +any +not like \{"type": "string"\}', 'values and schemas are told as they are');
select matches(pg_temp.said('{"allOf": [{"properties": {"a": {"minimum": 1}}}, {"properties": {"a": {"maximum": 2, "title": "A"}}, "required": ["a"]}]}'), 'a +any +yes +at least 1; at most 2 +A\n', 'allOf makes one field');
select matches(pg_temp.said('{"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}'), E'\\(if\\) +object\n  a +yes\n\\(then\\) +object\n  b +yes\n\\(else\\) +object\n  c +yes\n', 'what depends on the value');
select matches(pg_temp.said('{"dependentRequired": {"a": ["b", "c"]}, "dependentSchemas": {"d": {"properties": {"e": true}}}, "patternProperties": {"^x-": false}}'), E'/\\^x-/ +nothing\n\\(with d\\) +object\n  e +any\n\nThe payload as a whole: with a also b, c\\.', 'and on other fields');
select unalike(pg_temp.said(jsonb_build_object('properties', jsonb_build_object(E'a\u001b[2J\nb', '{"description": "x\u001b[31m\u202ey"}'::jsonb))), E'%\u001b%', 'nothing moves the cursor');
select matches(pg_temp.said(jsonb_build_object('properties', jsonb_build_object(E'c\nd', jsonb_build_object('description', repeat(E'long\n', 1000))))), 'c d +any +long long[a-z ]{200,}…\n', 'a text is one line, with an end');
select matches(pg_temp.said('{"properties": {"ä": {"type": "string"}, "日本": {"type": "string"}, "bb": {"type": "string"}}}'), E'bb     string\nä      string\n日本   string\n', 'columns stand below each other');

-- bounds
select ok(length(pg_temp.said(jsonb_build_object('properties', (select jsonb_object_agg('f' || i, '{"type": "string"}'::jsonb) from generate_series(1, 10000) i)))) < 100000, '10,000 fields');
select matches(pg_temp.said(jsonb_build_object('properties', (select jsonb_object_agg('g' || i, '{"type": "string"}'::jsonb) from generate_series(1, 10000) i))), 'The table does not have all of it', 'the table says where it ends');
create function pg_temp.twice(keyword text) returns jsonb language sql as $$
    select jsonb_build_object('$ref', '#/$defs/d0', '$defs', jsonb_object_agg('d' || i, case when i = 40 then '{"type": "object"}'
        when keyword = 'properties' then jsonb_build_object('type', 'object', 'required', '["a", "b"]'::jsonb, keyword, jsonb_build_object('a', r, 'b', r))
        else jsonb_build_object(keyword, jsonb_build_array(r, r)) end))
    from generate_series(0, 40) i, jsonb_build_object('$ref', '#/$defs/d' || i + 1) r $$;
select matches(pg_temp.said(pg_temp.twice('properties')), 'The table does not have all.*No example: none is registered, and none could be made', 'fields that are two to the power of 40');
select ok(pg_temp.said(pg_temp.twice('allOf')) <> '', 'allOf of two to the power of 40');
select matches(pg_temp.said(pg_temp.twice('oneOf')), 'No example', 'a choice of two to the power of 40');
select matches(pg_temp.said('{"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}'), 'as the payload as a whole.*No example', 'a value that would have no end');
select matches(pg_temp.said(jsonb_build_object('not', jsonb_build_object('enum', (select jsonb_agg(repeat('x', 1000) || i) from generate_series(1, 900) i)))), 'whole: not like [^\n]{40,100}…\.', 'a long schema under not');

create function pg_temp.alike(n int, fields int, deep int) returns jsonb language sql as $$
    select jsonb_build_object('type', 'object', 'allOf', (select jsonb_agg('{"allOf": [{"$ref": "#/$defs/a"}]}'::jsonb) from generate_series(1, n)),
        '$defs', jsonb_build_object('a', jsonb_build_object('properties', (select jsonb_object_agg('f' || i, case when i <= deep then '{"$ref": "#"}' else '{}' end::jsonb) from generate_series(1, fields) i)))) $$;
set statement_timeout = '20s';
select ok(pg_temp.said(pg_temp.alike(2000, 40000, 0)) <> '', '2,000 schemas for the same 40,000 fields');
select ok(pg_temp.said(pg_temp.alike(900, 20000, 20000)) <> '', 'each of which leads back');
select ok(pg_temp.said(jsonb_build_object('required', '["a"]'::jsonb, 'properties', jsonb_build_object('a', jsonb_build_object('enum', (select jsonb_agg(repeat('x', 30000) || i) from generate_series(1, 30) i), 'anyOf', (select jsonb_agg(false) from generate_series(1, 60)))))) <> '', 'long values in vain');
reset statement_timeout;

-- examples that are made
select is(pg_temp.example('{"properties": {"a": {"type": "integer"}}}', '[{"a": 7}, {"a": 8}]'), '{"a": 7}', 'the first that is registered');
select is(pg_temp.example('{"required": ["a"], "properties": {"a": {"type": "string"}, "b": {"type": "boolean"}}}'), '{"a": "text", "b": true}', 'or one that has all fields');
select is(pg_temp.example('{"properties": {"a": {"type": "string", "examples": ["mine", "other"]}, "b": {"default": 5}, "c": {"type": "integer", "default": "wrong"}}}'), '{"a": "mine", "b": 5, "c": 1}', 'with what the author gives as long as it fits');
select is(pg_temp.example('{"required": ["v"], "properties": {"v": {"type": "integer"}, "next": {"$ref": "#"}, "kids": {"items": {"$ref": "#"}}}}'), '{"v": 1, "kids": []}', 'what leads back is left out');
select is((select string_agg(f, ' ') from unnest(array['date-time', 'date', 'time', 'duration', 'uuid', 'email', 'hostname', 'uri', 'ipv4', 'ipv6']) f where not pg_temp.makes_field(jsonb_build_object('type', 'string', 'format', f))), null, 'every format');
select is((select string_agg(p, ' ') from unnest(array['^[A-Z]{2,3}-\d+$', '^(foo|bar)(?:-[0-9a-f]{2})*\.?$', '^[^a-z0-9]+\u00e9\x41$', '[\w.-]+@\w+', '^$', 'a|b', '^(?:a{3}){2}\t$', '^[\d-]{4,}$', '^.{3}[^\s\S]?$', '^(?=.*\d)(?=.*[A-Z]).{8,}$']) p
    where not pg_temp.makes_field(jsonb_build_object('type', 'string', 'pattern', p, 'maxLength', 40))), null, 'patterns');
select ok(pg_temp.makes_field('{"type": "string", "minLength": 50, "maxLength": 50}'), 'a length');
select ok(pg_temp.makes_field('{"type": "string", "maxLength": 0}'), 'even none');
select ok(pg_temp.makes_field('{"type": "string", "pattern": "^(ab)+$", "minLength": 30}'), 'a pattern of some length');
select is((select string_agg(f, ' ') from unnest(array['{"exclusiveMinimum": 5, "maximum": 5.5}', '{"multipleOf": 0.03, "minimum": 1}', '{"maximum": -7}', '{"multipleOf": 6, "exclusiveMinimum": 12}', '{"minimum": 1e300}', '{"minimum": 0.1, "maximum": 0.2}']) f
    where not pg_temp.makes_field(f::jsonb || '{"type": "number"}')), null, 'numbers');
select ok(pg_temp.makes_field('{"type": "integer", "allOf": [{"multipleOf": 4}, {"multipleOf": 6}], "minimum": 13}'), 'a common multiple');
select is((select string_agg(f, ' ') from unnest(array['{"minItems": 3, "uniqueItems": true, "items": {"enum": [1, 2, 3]}}', '{"minItems": 4, "uniqueItems": true, "items": {"type": "string", "format": "date"}}', '{"contains": {"const": 5}, "minContains": 2, "items": {"type": "integer"}}',
        '{"prefixItems": [{"const": 1}, {"type": "null"}], "items": false}', '{"items": {"type": "array", "items": {"type": "boolean"}, "minItems": 2}, "maxItems": 1}']) f where not pg_temp.makes_field(f::jsonb || '{"type": "array"}')), null, 'arrays');
select ok(pg_temp.makes('{"minProperties": 3, "patternProperties": {"^x-[a-z]+$": {"type": "boolean"}}, "additionalProperties": false}'), 'names by a pattern');
select ok(pg_temp.makes('{"minProperties": 2, "maxProperties": 2, "properties": {"a": true, "b": true, "c": true}, "required": ["c"]}'), 'a number of fields');
select ok(pg_temp.makes('{"anyOf": [false, {"required": ["a"], "properties": {"a": {"const": 1}}}], "oneOf": [{"required": ["b"]}, {"required": ["c"]}], "maxProperties": 2}'), 'the branch that can be taken');
select ok(pg_temp.makes('{"required": ["k"], "properties": {"k": {"enum": ["x", "y"]}}, "if": {"properties": {"k": {"const": "x"}}}, "then": {"required": ["w"], "properties": {"w": {"minimum": 3}}}, "else": false, "unevaluatedProperties": false}'), 'if, then and else');
select ok(pg_temp.makes('{"required": ["a"], "dependentRequired": {"a": ["b"], "b": ["c"]}, "dependentSchemas": {"c": {"properties": {"c": {"type": "null"}}}}}'), 'what one field asks of others');
select ok(pg_temp.makes('{"properties": {"a": false, "b": {"type": "string", "pattern": "^(?!x)(?!y)(?=z)(?!z)", "maxLength": 5}, "c": true}}'), 'a field that can have no value is left out');
select matches(pg_temp.said('{"required": ["a"], "properties": {"a": false}}'), E'\nNo example: none is registered, and none could be made from the schema\\.$', 'and where it must be, there is none');
select * from finish();
