-- validate_json(): the form of what it says, and what it refuses.
begin;
select no_plan();

create function keywords(schema jsonb, value jsonb) returns text language sql as $$
    select string_agg(e->>'pointer' || ' ' || (e->>'keyword'), ', ' order by n)
    from jsonb_array_elements(sentinai.validate_json(schema, value)) with ordinality x(e, n) $$;
create function refused(schema jsonb, part text) returns text language plpgsql as $$
declare
    said text;
begin
    perform sentinai.validate_json(schema, '1');
    return fail(schema::text || ' is taken');
exception when sqlstate 'SN422' then
    get stacked diagnostics said = pg_exception_detail;
    return ok(position(part in said) > 0 and (select array_agg(k order by k) = '{keyword,message,pointer}' from jsonb_object_keys(said::jsonb->0) k), format('%s is refused: %s', left(schema::text, 60), said));
end $$;

select is(sentinai.validate_json('{"type": "object"}', '{}'), '[]', 'a valid value');
select is(sentinai.validate_json('{"properties": {"a": {"type": "string"}}}', '{"a": 5}'),
    '[{"pointer": "/a", "keyword": "type", "message": "must be string"}]', 'an error is pointer, keyword and message');
select is(keywords('{"properties": {"a/b": {"properties": {"c~d": {"items": {"maximum": 3}}}}}}', '{"a/b": {"c~d": [1, 5, 2, 7]}}'),
    '/a~1b/c~0d/1 maximum, /a~1b/c~0d/3 maximum', 'JSON Pointers have ~0 and ~1');
select is(keywords('{"required": ["a", "bb"], "properties": {"bb": {}, "c": {}}}', '{"c": 1}'), '/a required, /bb required', 'what is missing has a pointer');
select is(keywords('{"properties": {"a": true}, "additionalProperties": false}', '{"a": 1, "x": 2}'), '/x additionalProperties', 'so has what is too much');
select is(keywords('{"allOf": [{"properties": {"a": true}}], "unevaluatedProperties": false}', '{"a": 1, "x": 2}'), '/x unevaluatedProperties', 'and what nothing speaks of');
select is(keywords('{"dependentRequired": {"a": ["b"]}}', '{"a": 1}'), '/b dependentRequired', 'and what something else asks for');
select is(keywords('false', '1'), ' schema', 'the schema false');
select is(keywords('{"anyOf": [{"type": "string"}, {"minimum": 10}], "not": {"const": 5}}', '5'), ' anyOf,  not', 'branches');
select is(keywords('{"oneOf": [true, true]}', '5'), ' oneOf', 'oneOf');

-- twenty and a count
select is(jsonb_array_length(sentinai.validate_json('{"items": {"type": "string"}}', (select jsonb_agg(i) from generate_series(1, 20) i))), 20, 'twenty errors');
select is(sentinai.validate_json('{"items": {"type": "string"}}', (select jsonb_agg(i) from generate_series(1, 57) i))->20, '{"more": 37}', 'what is over twenty is counted');

-- nothing of the value
select unalike(sentinai.validate_json(s::jsonb, '{"a": "c4n4ry"}')::text, '%c4n4ry%', 'nothing of the value in: ' || s)
from unnest(array['{"properties": {"a": {"type": "number"}}}', '{"properties": {"a": {"enum": [1]}}}', '{"properties": {"a": {"const": 1}}}',
    '{"properties": {"a": {"pattern": "^x$"}}}', '{"properties": {"a": {"format": "date"}}}', '{"properties": {"a": {"maxLength": 1}}}',
    '{"properties": {"a": {"not": {}}}}', '{"properties": {"a": {"anyOf": [false]}}}']) s;

-- numbers
select is(keywords('{"type": "integer"}', '1.0'), null, '1.0 is an integer');
select is(keywords('{"type": "integer"}', '1.5'), ' type', '1.5 is none');
select is(keywords('{"multipleOf": 0.01}', '19.99'), null, 'decimal fractions are exact');
select is(keywords('{"multipleOf": 0.0001}', '0.00751'), ' multipleOf', 'also when they are small');
select is(keywords('{"maximum": 1e300}', '1e400'), ' maximum', 'a number beyond a float');
select is(keywords('{"type": "integer", "multipleOf": 7}', (repeat('9', 200))::jsonb), ' multipleOf', '200 digits');
select is(keywords('{"enum": [1, "1", [1], {"a": 1}]}', '[1.0]'), null, 'equal is what JSON calls equal');
select is(keywords('{"uniqueItems": true}', '[{"a": 1, "b": 2}, {"b": 2, "a": 1.0}]'), ' uniqueItems', 'in objects, too');
select is(keywords('{"maxLength": 2}', '"äöü"'), ' maxLength', 'characters are counted');
select is(keywords('{"maxLength": 3}', '"äöü"'), null, 'and not bytes');

-- large and deep
select is(keywords('{"additionalProperties": {"type": "integer"}}', (select jsonb_object_agg('k' || i, i) from generate_series(1, 10000) i)), null, '10,000 members');
select is(keywords((select jsonb_build_object('properties', jsonb_object_agg('k' || i, '{"type": "integer"}'::jsonb), 'required', jsonb_agg('k' || i)) from generate_series(1, 10000) i),
    (select jsonb_object_agg('k' || i, i) from generate_series(2, 10000) i)), '/k1 required', '10,000 properties');
select is(keywords('{"$defs": {"n": {"properties": {"n": {"$ref": "#/$defs/n"}}, "additionalProperties": false}}, "$ref": "#/$defs/n"}',
    (repeat('{"n":', 400) || '{"x":1}' || repeat('}', 400))::jsonb), repeat('/n', 400) || '/x additionalProperties', 'a schema that refers to itself, 400 levels deep');
select throws_ok($$ select sentinai.validate_json(
    '{"$defs": {"n": {"anyOf": [{"properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["x"]}, {"properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["y"]}]}}, "$ref": "#/$defs/n"}',
    (repeat('{"n":', 400) || '{}' || repeat('}', 400))::jsonb) $$, 'SN422', null, 'two to the power of 400 steps are not taken');
select is(keywords(jsonb_build_object('pattern', p), to_jsonb(repeat('a', 20000) || '!')), ' pattern', 'bounded time: ' || p)
from unnest(array['^(a+)+$', '^(a|aa)+$', '^(a|a?)+$', '^([a-zA-Z]+)*$', '^(.*a){20}$']) p;

-- what costs more than it looks like: steps are counted by what is done
select throws_ok(format('select sentinai.validate_json(%L, (%s))', s, v), 'SN422', null, 'bounded time: ' || n)
from (values
    ('looking around', '{"items": {"maxLength": 4096, "pattern": "(?=a*b)a(?=a*b)"}}', $$select jsonb_agg(repeat('a', 4000)) from generate_series(1, 250)$$),
    ('divisions of long numbers', '{"items": {"multipleOf": 7}}', 'select jsonb_agg(1e131000::numeric) from generate_series(1, 200)'),
    ('comparisons of large values', jsonb_build_object('$ref', '#/$defs/d19', '$defs', (select jsonb_object_agg('d' || i, case i
        when 0 then jsonb_build_object('const', (select jsonb_agg(1) from generate_series(1, 10000)))
        else jsonb_build_object('allOf', jsonb_build_array(jsonb_build_object('$ref', '#/$defs/d' || i - 1), jsonb_build_object('$ref', '#/$defs/d' || i - 1))) end)
        from generate_series(0, 19) i))::text, 'select jsonb_agg(1) from generate_series(1, 10000)')) x(n, s, v);
select is(keywords('{"pattern": "(a|b)*a(a|b){100}c"}', to_jsonb(repeat('ab', 10000))), ' pattern', 'an automaton that grows while it runs');
select is(length(sentinai.validate_json('{"additionalProperties": {"items": false}}', jsonb_build_object(repeat('k', 2000), '[1]'::jsonb))->0->>'pointer'), 0,
    'a pointer ends before what makes it too long');
select is(length(sentinai.validate_json('{"additionalProperties": {"additionalProperties": false}}', jsonb_build_object('a', jsonb_build_object(repeat('~', 600), 1)))->0->>'pointer'), 2,
    'with its escapes');

-- duplicate keys: jsonb keeps the last, in a schema, too
select is(keywords('{"type": "string", "type": "number"}', '5'), null, 'the last of two keys counts');

-- what is no schema, or not supported
select refused(s::jsonb, part) from (values
    ('1', '""'), ('"x"', '""'), ('{"properties": {"a": 5}}', '"/properties/a"'),
    ('{"typ": "string"}', '"keyword": "typ", "message": "is no keyword'), ('{"items": {"tpye": "string"}}', '"/items/tpye"'),
    ('{"items": {"a/b~": "string"}}', '"/items/a~1b~0"'), ('{"not": {"$ref": "#/x"}}', '"/not/$ref"'),
    ('{"$dynamicRef": "#a"}', '$dynamicRef'), ('{"$ref": "http://example.com/x"}', 'names another document'),
    ('{"$ref": "#/$defs/x"}', 'is no schema of this document'), ('{"$ref": "#a"}', 'is no schema of this document'),
    ('{"$ref": "#"}', 'leads back to itself'), ('{"allOf": [{"$ref": "#"}]}', 'leads back to itself'),
    ('{"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}}', 'leads back to itself'),
    ('{"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}}', 'is given twice'),
    ('{"$schema": "http://json-schema.org/draft-07/schema#"}', '"/$schema"'), ('{"not": {"$id": "http://x/y"}}', 'at the top only'),
    ('{"type": "strin"}', '"/type"'), ('{"type": ["string", "string"]}', '"/type"'), ('{"type": []}', '"/type"'),
    ('{"enum": 5}', '"/enum"'), ('{"minimum": "5"}', '"/minimum"'), ('{"multipleOf": 0}', 'must be above 0'), ('{"multipleOf": -1}', 'must be above 0'), ('{"minimum": 1e2000}', 'too many digits'),
    ('{"maxLength": -1}', 'must be an integer from 0'), ('{"maxLength": 1.5}', 'must be an integer from 0'), ('{"uniqueItems": 1}', '"/uniqueItems"'),
    ('{"required": ["a", "a"]}', 'must be a list of different strings'), ('{"required": [1]}', '"/required"'), ('{"allOf": []}', 'must have an item'),
    ('{"items": [{}]}', '"/items"'), ('{"format": "iban"}', '"/format"'), ('{"pattern": "("}', '"/pattern"'), ('{"pattern": "(a)\\1"}', '"/pattern"'),
    ('{"pattern": "a(?=b)"}', 'needs a maxLength'), ('{"patternProperties": {"(?=a)": true}}', 'looks ahead'),
    ('{"dependentRequired": {"a": "b"}}', '"/dependentRequired/a"')) x(s, part);
select lives_ok($$ select sentinai.validate_json('{"title": "t", "description": "d", "examples": [1], "default": 1, "deprecated": true, "readOnly": false,
    "writeOnly": false, "$comment": "c", "x-owner": {"team": 5}, "contentMediaType": "text/plain", "contentEncoding": "base64"}', '1') $$, 'notes are taken');
select is(keywords('{"maxLength": 1e400}', '"x"'), null, 'a bound that nothing can reach');
select throws_ok($$ select sentinai.validate_json(null, '1') $$, '22004', null, 'no schema');
select throws_ok($$ select sentinai.validate_json('true', null) $$, '22004', null, 'no value');
select throws_ok($$ select sentinai.validate_json('true', '"\ud800"'::jsonb) $$, '22P02', null, 'half a surrogate pair is no JSON');

select * from finish();
rollback;
