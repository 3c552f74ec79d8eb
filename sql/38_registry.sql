create function sentinai.validate_json(schema jsonb, value jsonb) returns jsonb
    language c immutable parallel safe
    as 'MODULE_PATHNAME', 'sentinai_validate_json';
comment on function sentinai.validate_json(jsonb, jsonb) is 'What a value breaks of a JSON Schema (draft 2020-12): an array of objects with "pointer" (JSON Pointer into the value), "keyword" and "message", which has nothing of the value in it. An empty array: the value is valid. At most 20 are described; then a last object {"more": n} counts the others. References stay in the schema; format is checked. Errors: 22004 null; SN422 the schema is none, or uses what is not supported, with the JSON Pointer of the place in the detail.';
