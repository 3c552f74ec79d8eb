-- SPDX-License-Identifier: PostgreSQL
-- set_redaction(), drop_redaction(), and what is stored of what is published.
-- Hashes need a key, which test/tap/16_redact.pl has.  Statements commit one by one.
select plan(145);
create extension if not exists dblink;
create function pg_temp.elsewhere() returns text language sql as $$
    select format('host=%s port=%s dbname=%s user=%s', trim(split_part(current_setting('unix_socket_directories'), ',', 1)),
                  current_setting('port'), current_database(), session_user) $$;
-- what is stored of a payload, or the SQLSTATE
create function pg_temp.stored(payload jsonb, tenant text default 'rd', type text default 'rd.t') returns text language plpgsql as $$
#variable_conflict use_variable
declare
    id uuid;
begin
    id := sentinai.publish(type, tenant, 'k', payload);
    return (select e.payload from sentinai.event_log e where event_id = id);
exception when others then
    return sqlstate;
end $$;
-- and of the metadata with it
create function pg_temp.said(payload jsonb, metadata jsonb default '{}', tenant text default 'rd', type text default 'rd.t') returns jsonb language plpgsql as $$
#variable_conflict use_variable
declare
    id uuid;
begin
    id := sentinai.publish(type, tenant, 'k', payload, metadata => metadata);
    return (select e.metadata from sentinai.event_log e where event_id = id);
end $$;
-- one rule for tenant rd, and no other
create function pg_temp.only(path text, method text, keep int default null, replacement jsonb default null, patterns text[] default null) returns void language plpgsql as $$
#variable_conflict use_variable
begin
    perform sentinai.drop_redaction(r.tenant, r.event_type, r.path) from sentinai.redactions r where r.tenant = 'rd';
    perform sentinai.set_redaction('rd', '*', path, method, keep, replacement, patterns);
end $$;

-- before there is a rule
select is(pg_temp.stored('{"a": 1}'), '{"a": 1}', 'without a rule all stays');
select is(pg_temp.said('{"a": 1}', '{"redacted": "nothing", "x": 1}'), '{"x": 1}', 'but nobody else says what was redacted');

-- the methods
select pg_temp.only('$.a', 'remove');
select is(pg_temp.stored('{"a": 1, "b": {"a": 2}, "aa": 3}'), '{"b": {"a": 2}, "aa": 3}', 'remove: the member is gone');
select is(pg_temp.said('{"a": 1, "b": 2}'), '{"redacted": {"remove": ["/a"]}}', 'and that is said');
select is(pg_temp.said('{"b": 2}'), '{}', 'where nothing was, nothing is said');
select is(pg_temp.stored('{"a": 1}'), '{}', 'the last one');
select pg_temp.only('$.a[1]', 'remove');
select is(pg_temp.stored('{"a": [1, 2, 3]}'), '{"a": [1, null, 3]}', 'of an array null stays, so that the others keep their places');
select pg_temp.only('$.a', 'replace');
select is(pg_temp.stored('{"a": {"x": [1]}, "b": 1}'), '{"a": "[redacted]", "b": 1}', 'replace');
select is(pg_temp.stored('{"a": null}'), '{"a": "[redacted]"}', 'null, too');
select pg_temp.only('$.a', 'replace', replacement => '{"was": ["here"]}');
select is(pg_temp.stored('{"a": 1, "b": 1.50}'), '{"a": {"was": ["here"]}, "b": 1.50}', 'with any constant');
select pg_temp.only('$.a', 'mask');
select is(pg_temp.stored('{"a": "4111111111111111"}'), '{"a": "************1111"}', 'mask: the last four stay');
select is(pg_temp.stored('{"a": 4111111111111111}'), '{"a": "************1111"}', 'of a number, too');
select is(pg_temp.stored('{"a": "abcdef"}'), '{"a": "***def"}', 'of a short text no more than half');
select is(pg_temp.stored('{"a": "x"}'), '{"a": "*"}', 'which may be nothing');
select is(pg_temp.stored('{"a": ""}'), '{"a": ""}', 'of nothing, nothing');
select is(pg_temp.stored('{"a": "äöüß漢字ÄÖÜ"}'), '{"a": "*****字ÄÖÜ"}', 'characters are counted, not bytes');
select is(pg_temp.stored('{"a": true}'), '{"a": "****"}', 'a boolean shows nothing');
select is(pg_temp.stored('{"a": null}'), '{"a": null}', 'null stays');
select is(pg_temp.said('{"a": null}'), '{}', 'and is not listed');
select is(pg_temp.stored('{"a": ["12345678", {"b": 1.0, "c": null}]}'), '{"a": ["****5678", {"b": "*", "c": null}]}', 'all that is in an array or an object');
select is(pg_temp.stored('{"a": "****5678"}'), '{"a": "****5678"}', 'what is masked stays as it is');
select pg_temp.only('$.a', 'mask', keep => 0);
select is(pg_temp.stored('{"a": "12345678"}'), '{"a": "********"}', 'keep nothing');
select pg_temp.only('$.a', 'hash');
select is(pg_temp.stored('{"a": "x"}'), 'F0000', 'hash: without a key nothing is stored');
select is(pg_temp.stored('{"b": "x", "a": null}'), '{"a": null, "b": "x"}', 'unless there is nothing to hash');
select is(pg_temp.stored(jsonb_build_object('a', 'hmac-sha256:' || repeat('0a', 32))), jsonb_build_object('a', 'hmac-sha256:' || repeat('0a', 32))::text, 'what is a hash already stays');
select is(pg_temp.stored(jsonb_build_object('a', 'hmac-sha256:' || repeat('0A', 32))), 'F0000', 'if it has just that form');
select throws_ok($$select sentinai.publish_batch('{rd.t,rd.t}', '{rd,rd}', '{k,batch}', array['{}'::jsonb, '{"a": "x"}'])$$, 'F0000', 'could not read the key that values are hashed with', 'a batch is refused as a whole');
select throws_ok($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('rd', 'batch', 'rd.t', '{"a": "x"}')$$, 'F0000', null, 'and so is the outbox');
select is((select count(*) from sentinai.event_log where tenant_id = 'rd' and aggregate_id = 'batch'), 0::bigint, 'nothing is there');
select pg_temp.only('$', 'secrets');
select is(pg_temp.stored('{"a": "call 4111 1111 1111 1111 with Bearer abcdef0123", "b": ["-----BEGIN PRIVATE KEY-----\nx"], "c": 4111111111111111, "d": "x"}'),
    '{"a": "call [redacted] with Bearer [redacted]", "b": ["[redacted]"], "c": 4111111111111111, "d": "x"}', 'secrets: in texts, wherever they are');
select is(pg_temp.said('{"a": "4111111111111111", "b": [0, "4111111111111111"], "c": "x"}'), '{"redacted": {"secrets": ["/a", "/b/1"]}}', 'those that had one are listed');
select is(pg_temp.stored('{"csv": "4111111111111111,12/27,123", "cards": "4111111111111111,5555555555554444", "p": "4111111111111111.00", "f": "0.4111111111111111"}'),
    '{"f": "0.4111111111111111", "p": "[redacted].00", "csv": "[redacted],12/27,123", "cards": "[redacted],[redacted]"}', 'a card number ends where a comma or a point is');
select pg_temp.only('$', 'secrets', patterns => '{private_key}');
select is(pg_temp.stored('{"a": "4111111111111111 -----BEGIN PRIVATE KEY-----"}'), '{"a": "4111111111111111 [redacted]"}', 'only what was asked for');

-- paths
select pg_temp.only('$.customer.cards[*].number', 'remove');
select is(pg_temp.stored('{"customer": {"cards": [{"number": 1, "x": 1}, {"number": 2}], "number": 3}}'), '{"customer": {"cards": [{"x": 1}, {}], "number": 3}}', 'an array of objects');
select is(pg_temp.stored('{"customer": {"cards": {"number": 1, "x": 1}}}'), '{"customer": {"cards": {"x": 1}}}', 'or an object in its place');
select is(pg_temp.stored('{"customer": [[{"cards": [[{"number": 1}]]}], {"cards": []}, 1]}'), '{"customer": [[{"cards": [[{}]]}], {"cards": []}, 1]}', 'or arrays where none are expected');
select is(pg_temp.stored('{"customer": "x"}'), '{"customer": "x"}', 'or nothing of the kind');
select pg_temp.only('$..iban', 'remove');
select is(pg_temp.stored('{"iban": 1, "a": [{"iban": 2, "b": {"iban": 3, "c": 4}}], "IBAN": 5}'), '{"a": [{"b": {"c": 4}}], "IBAN": 5}', 'at any depth, in just that spelling');
select pg_temp.only('$..a..b', 'remove');
select is(pg_temp.stored('{"b": 1, "a": {"b": 2, "x": {"b": 3, "a": 4}}, "y": [{"a": [{"b": 5}]}]}'), '{"a": {"x": {"a": 4}}, "b": 1, "y": [{"a": [{}]}]}', 'at any depth below any depth');
select pg_temp.only('$.*', 'mask', keep => 0);
select is(pg_temp.stored('{"a": 1, "b": [2], "c": {"d": "xx"}}'), '{"a": "*", "b": ["*"], "c": {"d": "**"}}', 'all members');
select pg_temp.only('$.a.*', 'remove');
select is(pg_temp.stored('{"a": {"b": 1, "c": 2}, "d": 3}'), '{"a": {}, "d": 3}', 'all of one');
select is(pg_temp.said('{"a": {"+49 170 1234567": 1}}'), '{"redacted": {"remove": ["/a/*"]}}', 'a name that a wildcard has removed is not listed');
select pg_temp.only('$..*', 'mask', keep => 0);
select is(pg_temp.stored('{"a": {"b": [1, {"c": "2"}]}}'), '{"a": {"b": ["*", {"c": "*"}]}}', 'all at any depth');
select pg_temp.only('$.a[0]', 'replace', replacement => '0');
select is(pg_temp.stored('{"a": [1, 2]}') || pg_temp.stored('{"a": []}') || pg_temp.stored('{"a": 1}'), '{"a": [0, 2]}{"a": []}{"a": 0}', 'one item, or what stands in its place');
select pg_temp.only('$["a b"][''c"d'']', 'remove');
select is(pg_temp.stored('{"a b": {"c\"d": 1, "c": 2}, "a": {"b": 3}}'), '{"a": {"b": 3}, "a b": {"c": 2}}', 'names in quotes');
select is(pg_temp.stored('{"\u0061\u0020b": {"\u0063\"\u0064": 1}}'), '{"a b": {}}', 'whatever the payload''s spelling');
select is(pg_temp.said('{"a b": {"c\"d": 1}}'), '{"redacted": {"remove": ["/a b/c\"d"]}}', 'in the pointer they are as they are');
select pg_temp.only('$.é', 'remove');
select is(pg_temp.stored(jsonb_build_object(U&'e\0301', 1, U&'\00e9', 2, 'e', 3)), '{"e": 3}', 'an accent is the same in both forms of Unicode');
select pg_temp.only('$["a~/b"]', 'mask');
select is(pg_temp.said('{"a~/b": "12345678"}'), '{"redacted": {"mask": ["/a~0~1b"]}}', 'a pointer is one of RFC 6901');
select pg_temp.only('$', 'mask', keep => 1);
select is(pg_temp.stored('{"a": "1234", "b": {"c": ["5678"]}}'), '{"a": "***4", "b": {"c": ["***8"]}}', 'the whole payload');
select pg_temp.only('$', 'remove');
select is(pg_temp.stored('{"a": "1234"}'), '{}', 'away with it');
select is(pg_temp.said('{"a": "1234"}'), '{"redacted": {"remove": [""]}}', 'whose pointer is empty');
select pg_temp.only('$', 'replace', replacement => '{"gone": true}');
select is(pg_temp.stored('{"a": "1234"}'), '{"gone": true}', 'or something else');
select is(sentinai.set_redaction('rd', '*', '$.a', 'remove')::text, '', 'another rule for the same event');
select is(pg_temp.stored('{"a": 1}'), '{"gone": true}', 'what is replaced is not looked into');

-- several rules
select pg_temp.only('$.a.b', 'mask', keep => 4);
select sentinai.set_redaction('rd', '*', '$.a', 'mask', keep => 1);
select is(pg_temp.stored('{"a": {"b": "12345678"}}'), '{"a": {"b": "*******8"}}', 'of two masks the one that shows less');
select sentinai.set_redaction('rd', 'rd.t', '$.a.b', 'replace');
select is(pg_temp.stored('{"a": {"b": "12345678", "c": "1234"}}'), '{"a": {"b": "[redacted]", "c": "***4"}}', 'of two methods the stronger one');
select sentinai.set_redaction('rd', 'rd.t', '$..b', 'remove');
select is(pg_temp.stored('{"a": {"b": "12345678", "c": "1234"}}'), '{"a": {"c": "***4"}}', 'whichever rule says it');
select is(pg_temp.stored('{"a": {"b": "12345678"}}', type => 'rd.other'), '{"a": {"b": "*******8"}}', 'another type has only the rules for all types');
select is(pg_temp.stored('{"a": {"b": "12345678"}}', tenant => 'rd2'), '{"a": {"b": "12345678"}}', 'another tenant has none');
select sentinai.set_redaction('*', 'rd.t', '$.z', 'remove');
select is(pg_temp.stored('{"a": {"b": 1, "c": "1234"}, "z": 1}') || pg_temp.stored('{"z": 1, "y": 2}', tenant => 'rd2') || pg_temp.stored('{"z": 1}', tenant => 'rd2', type => 'rd.other'), '{"a": {"c": "***4"}}{"y": 2}{"z": 1}', 'a rule for all tenants is one more');
select sentinai.set_redaction('rd', 'rd.t', '$.z', 'mask');
select is(pg_temp.stored('{"z": 1}'), '{}', 'which a tenant''s own does not weaken');
select is((select string_agg(concat_ws(' ', tenant, event_type, path, method, keep, replacement), ', ' order by tenant, event_type, path) from sentinai.redactions where event_type = 'rd.t'),
    '* rd.t $.z remove, rd rd.t $..b remove, rd rd.t $.a.b replace "[redacted]", rd rd.t $.z mask 4', 'the view shows them');
select sentinai.drop_redaction('*', 'rd.t', '$["z"]');
select is(pg_temp.stored('{"z": 123456789}'), '{"z": "*****6789"}', 'a rule can be dropped, in any spelling');
select throws_ok($$select sentinai.drop_redaction('*', 'rd.t', '$.z')$$, 'SN404', null, 'once');
begin;
select sentinai.set_redaction('rd', '*', '$.q', 'remove');
select is(pg_temp.stored('{"q": 1}'), '{}', 'a rule holds at once where it is set');
savepoint s;
select sentinai.drop_redaction('rd', '*', '$.q');
select is(pg_temp.stored('{"q": 1}'), '{"q": 1}', 'until it is dropped');
rollback to s;
select is(pg_temp.stored('{"q": 1}'), '{}', 'or not');
rollback;
select is(pg_temp.stored('{"q": 1}'), '{"q": 1}', 'or never was set');
select dblink_exec(pg_temp.elsewhere(), $$do 'begin perform sentinai.set_redaction(''rd'', ''*'', ''$.q'', ''remove''); end'$$);
select is(pg_temp.stored('{"q": 1}'), '{}', 'and for other sessions when their next transaction begins');
select is((select string_agg(concat_ws(' ', action, object, before ->> 'method', after ->> 'method', after ->> 'keep'), ', ' order by action_id) from sentinai.actions where tenant_id = 'rd' and object in ('$.z', '$..b')),
    'set_redaction $..b remove, set_redaction $.z mask 4', 'the action log has who changed what');

-- every way to publish
select pg_temp.only('$..s', 'remove');
select sentinai.set_redaction('rd', '*', '$metadata.ip', 'mask', keep => 0);
select sentinai.publish_batch('{rd.t,rd.t,rd.t}', '{rd,rd2,rd}', '{way,way,way}', array['{"s": 1, "n": 1}'::jsonb, '{"s": 1, "n": 2}', '{"n": 3}'], metadata => '{"ip": "::1", "redacted": 7}');
insert into sentinai.outbox (tenant_id, aggregateid, type, payload, metadata) values ('rd', 'way', 'rd.t', '{"s": 1, "n": 4}', '{"redacted": {}}');
insert into sentinai.outbox (id, tenant_id, aggregateid, type, payload) values ('01941f29-7c00-7000-8000-0000000000aa', 'rd', 'way', 'rd.t', '{"s": 1, "n": 5}');
copy sentinai.outbox (tenant_id, aggregateid, type, payload) from stdin;
rd	way	rd.t	{"s": 1, "n": 6}
rd	way	rd.t	{"\\u0073": 1, "n": 7}
\.
select results_eq($$select tenant_id collate "default", payload, metadata from sentinai.event_log where aggregate_id = 'way' and tenant_id in ('rd', 'rd2') order by payload -> 'n'$$,
$$values ('rd', '{"n": 1}'::jsonb, '{"ip": "***", "redacted": {"mask": ["$metadata/ip"], "remove": ["/s"]}}'::jsonb),
    ('rd2', '{"n": 2, "s": 1}', '{"ip": "::1"}'), ('rd', '{"n": 3}', '{"ip": "***", "redacted": {"mask": ["$metadata/ip"]}}'),
    ('rd', '{"n": 4}', '{"redacted": {"remove": ["/s"]}}'),
    ('rd', '{"n": 5}', '{"redacted": {"remove": ["/s"]}, "outbox_id": "01941f29-7c00-7000-8000-0000000000aa"}'),
    ('rd', '{"n": 6}', '{"redacted": {"remove": ["/s"]}}'), ('rd', '{"n": 7}', '{"redacted": {"remove": ["/s"]}}')$$, 'publish_batch(), INSERT and COPY, each event with its own rules');
prepare returned as insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('rd', 'k', 'rd.t', '{"s": 1, "n": 8}') returning payload;
select results_eq('returned', $$values ('{"n": 8}'::jsonb)$$, 'RETURNING shows what is stored');
begin;
set local sentinai.traceparent = 'malformed';
select sentinai.publish('rd.t', 'rd', 'trace', '{"s": 1}', metadata => '{"ip": "::1"}');
select sentinai.publish_batch('{rd.t,rd.t}', '{rd,rd}', '{trace,trace}', array['{"s": 1}'::jsonb, '{}'], metadata => '{"ip": "::1"}');
select sentinai.publish_events('{rd.t,rd.t}', '{rd,rd}', '{trace,trace}', array['{"s": 1}'::jsonb, '{}'], metadata => array['{"ip": "::1"}'::jsonb, null]);
insert into sentinai.outbox (id, tenant_id, aggregateid, type, payload, metadata) values ('01941f29-7c00-7000-8000-0000000000ab', 'rd', 'trace', 'rd.t', '{"s": 1}', '{"ip": "::1"}');
commit;
select is((select bool_and(metadata ->> 'traceparent' ~ ('^00-[0-9a-f]{32}-' || right(replace(event_id::text, '-', ''), 16) || '-01$')) from sentinai.event_log where tenant_id = 'rd' and aggregate_id = 'trace'), true, 'each event still has its own span');
select is((select count(distinct substr(metadata ->> 'traceparent', 4, 32)) from sentinai.event_log where tenant_id = 'rd' and aggregate_id = 'trace'), 1::bigint, 'in one trace');
select is((select array_agg(metadata ->> 'outbox_id') from sentinai.event_log where tenant_id = 'rd' and aggregate_id = 'trace' and metadata ? 'outbox_id'), '{01941f29-7c00-7000-8000-0000000000ab}', 'with the id that was given');
begin;
set local sentinai.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
set local sentinai.tracestate = 'vendor=state';
select sentinai.set_redaction('rd', '*', '$metadata.tracestate', 'remove');
select sentinai.publish('rd.t', 'rd', 'state', '{}');
select sentinai.publish('rd.t', 'rd', 'state', '{}', idempotency_key => 'state');
select sentinai.publish_batch('{rd.t,rd.t}', '{rd,rd}', '{state,state}', '{"{}","{}"}');
select sentinai.publish_events('{rd.t}', '{rd}', '{state}', '{"{}"}');
select sentinai.publish_events('{rd.t,rd.t}', '{rd,rd}', '{state,state}', '{"{}","{}"}');
insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('rd', 'state', 'rd.t', '{}');
select sentinai.drop_redaction('rd', '*', '$metadata.tracestate');
commit;
select is((select array_agg(distinct metadata) from sentinai.event_log where tenant_id = 'rd' and aggregate_id = 'state'),
    array['{"redacted": {"remove": ["$metadata/tracestate"]}, "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}'::jsonb], 'what an event inherits is redacted, too');

-- what looks at the payload sees what is stored
select sentinai.register_event_type('rd.typed', '{"properties": {"a": {"maxLength": 5}}, "not": {"required": ["s"]}}');
select is(pg_temp.stored('{"a": "x", "s": 1}', type => 'rd.typed'), '{"a": "x"}', 'a schema');
select sentinai.set_redaction('rd', 'rd.typed', '$.a', 'replace');
select is(pg_temp.stored('{"a": "x"}', type => 'rd.typed'), 'SN422', 'which can be broken by what a rule does');
create temp table keyed as select sentinai.publish('rd.t', 'rd', 'k', '{"s": 1, "n": 1}', idempotency_key => 'k1') as id;
select is(sentinai.publish('rd.t', 'rd', 'k', '{"s": 2, "n": 1}', idempotency_key => 'k1'), (select id from keyed), 'an idempotency key: what is not stored does not count');
select throws_ok($$select sentinai.publish('rd.t', 'rd', 'k', '{"n": 2}', idempotency_key => 'k1')$$, 'SN409', null, 'what is stored does');
select sentinai.set_redaction('rd', '*', '$.n', 'mask', keep => 0);
select is(sentinai.publish('rd.t', 'rd', 'k', '{"s": 2, "n": 1}', idempotency_key => 'k1'), (select id from keyed), 'a call may be repeated when a rule has come in between');
select throws_ok($$select sentinai.publish('rd.t', 'rd', 'k', '{"n": 12}', idempotency_key => 'k1')$$, 'SN409', null, 'as far as the two are the same under it');
select throws_ok($$select sentinai.publish('rd.u', 'rd', 'k', '{"n": 1}', idempotency_key => 'k1')$$, 'SN409', null, 'another event it is not');

-- bounds
select pg_temp.only('$.a[*]', 'mask');
select is(pg_temp.said(jsonb_build_object('a', (select jsonb_agg(i) from generate_series(1, 25) i))) -> 'redacted' -> 'more', '5', 'twenty are listed, the others counted');
select is(pg_temp.said(jsonb_build_object('a', (select jsonb_agg(i) from generate_series(1, 25) i))) #> '{redacted,mask,19}', '"/a/19"', 'the first ones');
select pg_temp.only('$..x', 'mask');
select is(pg_temp.said(jsonb_build_object('a', jsonb_build_object(repeat('long', 70), jsonb_build_object('x', 1)))), '{"redacted": {"mask": ["/a"]}}', 'a pointer ends before what is too long');
select is(pg_temp.stored(jsonb_build_object('a', (select jsonb_object_agg('k' || i, i) from generate_series(1, 2000) i), 'x', 1)),
    jsonb_build_object('a', (select jsonb_object_agg('k' || i, i) from generate_series(1, 2000) i), 'x', '*')::text, 'a large object');
select is(pg_temp.stored((repeat('{"x": [', 249) || '1' || repeat(']}', 249))::jsonb), (repeat('{"x": [', 249) || '"*"' || repeat(']}', 249))::jsonb::text, 'a deep one');
select is(pg_temp.stored('{"x": 1e100000}'), jsonb_build_object('x', repeat('*', 99997) || '0000')::text, 'a long number');
select pg_temp.only('$.*', 'replace', replacement => jsonb_build_object('r', repeat('r', 900)));
select is(pg_temp.stored((select jsonb_object_agg('k' || i, i) from generate_series(1, 2000) i)), 'SN413', 'replacements do not make it larger than a payload may be');

-- texts about events
select pg_temp.only('$.note', 'secrets');
select sentinai.subscribe('rd-agent', '{rd.fail}', max_attempts => 2, backoff => '{0s}');
select sentinai.publish('rd.fail', 'rd', 'f', '{"n": 1, "note": "x"}', metadata => '{"m": "12345678"}');
\set tenant rd
\ir lib/queue.sql
select pg_temp.take('f1', $$'rd-agent'$$);
select is(sentinai.fail((select token from f1), (select event_id from f1), 'card 4111 1111 1111 1111 declined'), 'retrying', 'an agent says what it should not');
select is((select last_error || (history -> 0 ->> 'error') from sentinai_internal.event_retry where event_id = (select event_id from f1)), 'card [redacted] declinedcard [redacted] declined', 'a rule for secrets is for error texts, too');
select is((select payload ->> 'error' from sentinai.event_log where tenant_id = 'rd' and event_type = 'RetryScheduled'), 'card [redacted] declined', 'in control events as well');
select sentinai.set_redaction('rd', '*', '$error', 'replace', replacement => '"an error"');
select sentinai.set_redaction('rd', '*', '$.n', 'mask');
select sentinai.set_redaction('rd', '*', '$metadata.m', 'mask');
select pg_temp.take('f2', $$'rd-agent'$$);
select is(sentinai.fail((select token from f2), (select event_id from f2), 'Bob is not amused'), 'dead', 'and again');
select is((select concat_ws(' ', reason, history, payload) like 'an error %"an error"%{"n": "*", "note": "x"}' from sentinai.dead_letter where event_id = (select event_id from f1)), true, '$error is the whole text, and the letter''s copy follows the rules of today');
select is((select metadata from sentinai.dead_letter where event_id = (select event_id from f1)), '{"m": "****5678", "redacted": {"mask": ["/n", "$metadata/m"]}}', 'and says so');

-- what operators write about it
select sentinai.discard_dead_letter((select event_id from f1), 'rd-agent', 'op', 'asked on 4111 1111 1111 1111 today');
select is((select resolution from sentinai.dead_letter where event_id = (select event_id from f1)), 'asked on [redacted] today', 'a rule for secrets is for reasons, too, and $error is not');
select is((select payload ->> 'reason' from sentinai.event_log where tenant_id = 'rd' and event_type = 'DeadLetterDiscarded'), 'asked on [redacted] today', 'in the control event as well');
select is((select string_agg(reason, ',') from sentinai.actions where tenant_id = 'rd' and action = 'discard_dead_letter'), 'asked on [redacted] today', 'and in the log of actions');
select sentinai.publish('rd.fail', 'rd', 'g', '{"n": 1, "note": "x"}');
select pg_temp.take('f3', $$'rd-agent'$$);
select sentinai.give_up_event((select event_id from f3), 'rd-agent', 'op 4111 1111 1111 1111', 'not 4111 1111 1111 1111');
select is((select concat_ws(' ', actor, reason) from sentinai.actions where tenant_id = 'rd' and action = 'give_up_event'), 'op [redacted] not [redacted]', 'an event that is given up');
select is((select count(*) from sentinai.dead_letter d where tenant_id = 'rd' and d::text like '%4111%'), 0::bigint, 'the letters have none of it');
select sentinai.unsubscribe('rd-agent');

-- what is no rule
select throws_ok(format('select sentinai.set_redaction(%s)', args), state, null, args)
from (values ($$null, '*', '$.a', 'remove'$$, '22004'), ($$'rd', null, '$.a', 'remove'$$, '22004'), ($$'rd', '*', null, 'remove'$$, '22004'), ($$'rd', '*', '$.a', null$$, '22004'),
             ($$'', '*', '$.a', 'remove'$$, 'SN422'), ($$'a:b', '*', '$.a', 'remove'$$, 'SN422'), ($$E'a\nb', '*', '$.a', 'remove'$$, 'SN422'), ($$repeat('x', 257), '*', '$.a', 'remove'$$, 'SN422'),
             ($$'rd', 'a b', '$.a', 'remove'$$, 'SN422'), ($$'rd', 'DeadLettered', '$.a', 'remove'$$, 'SN422'), ($$'rd', '*', 'a', 'remove'$$, 'SN422'), ($$'rd', '*', '$.a[?(@.b)]', 'remove'$$, 'SN422'),
             ($$'rd', '*', '$.' || repeat('x', 511), 'remove'$$, 'SN422'), ($$'rd', '*', '$.a', 'encrypt'$$, 'SN422'), ($$'rd', '*', '$.a', 'remove', 4$$, 'SN422'), ($$'rd', '*', '$.a', 'mask', -1$$, 'SN422'),
             ($$'rd', '*', '$.a', 'mask', 65$$, 'SN422'), ($$'rd', '*', '$.a', 'mask', null, '1'$$, 'SN422'), ($$'rd', '*', '$', 'replace'$$, 'SN422'), ($$'rd', '*', '$metadata', 'replace', null, '[]'$$, 'SN422'),
             ($$'rd', '*', '$metadata', 'replace', null, '{"a": 1, "outbox_id": "01941f29-7c00-7000-8000-0000000000aa"}'$$, 'SN422'),
             ($$'rd', '*', '$error', 'replace', null, '1'$$, 'SN422'), ($$'rd', '*', '$.a', 'replace', null, to_jsonb(repeat('x', 1025))$$, 'SN413'), ($$'rd', '*', '$.a', 'replace', null, '1e2000'$$, 'SN413'),
             ($$'rd', '*', '$.a', 'hash', null, null, '{card_number}'$$, 'SN422'), ($$'rd', '*', '$', 'secrets', null, null, '{}'$$, 'SN422'), ($$'rd', '*', '$', 'secrets', null, null, '{passport}'$$, 'SN422'),
             ($$'rd', '*', '$', 'secrets', null, null, '{NULL}'$$, 'SN422')) v (args, state);
select sentinai.set_redaction('rd-many', '*', '$.p' || i, 'remove') from generate_series(1, 64) i;
select throws_ok($$select sentinai.set_redaction('rd-many', '*', '$.p65', 'remove')$$, 'SN422', null, 'more than 64 for a tenant and type');
select lives_ok($$select sentinai.set_redaction('rd-many', '*', '$.p64', 'mask')$$, 'one of them may change');
begin read only;
select throws_ok($$select sentinai.set_redaction('rd', '*', '$.a', 'remove')$$, '25006', null, 'read-only');
select throws_ok($$select sentinai.drop_redaction('rd', '*', '$.a')$$, '25006', null, 'neither');
rollback;
select throws_ok($$select sentinai.redaction_changed()$$, '39P01', null, 'the trigger is a trigger');
insert into sentinai_internal.redaction values ('rd-broken', '*', '$.a', 'shred', null, null, null, now(), 'x');
select is(pg_temp.stored('{"a": 1}', tenant => 'rd-broken'), 'XX001', 'a rule that cannot be read lets nothing through');
select is(sentinai.drop_redaction('rd-broken', '*', '$.a')::text, '', 'and can be dropped');

-- What was found of a payload is used for the next one that has the same members (redact_shape.c): none may be redacted by what held for another.
select pg_temp.only('$.a', 'mask');
select sentinai.set_redaction('rd', '*', '$.b', 'remove');
select sentinai.set_redaction('rd', '*', '$.s', 'secrets');
select sentinai.set_redaction('rd', '*', '$.l[*].x', 'replace');
select sentinai.set_redaction('rd', '*', '$.l.*.y', 'replace');
select sentinai.set_redaction('rd', '*', '$..password', 'remove');
create temp table shape (no int generated always as identity, payload jsonb, alone text);
insert into shape (payload) values
    ('{}'), ('{"c": "x"}'), ('{"d": "x"}'), ('{"a": "12345678", "b": 1, "c": "x"}'), ('{"a": "87654321", "b": 2, "c": "yy"}'), ('{"d": "12345678", "b": 1, "c": "x"}'),
    ('{"a": null, "b": 1, "c": "x"}'), ('{"a": 12345678, "b": 1, "c": "x"}'), ('{"a": true, "b": 1, "c": "x"}'), ('{"a": ["12345678"], "b": 1, "c": "x"}'), ('{"a": {"n": 1}, "b": 1, "c": "x"}'),
    ('{"a": {"password": "p"}, "b": 1, "c": "x"}'), ('{"c": {"password": "p"}}'), ('{"c": {"passw0rd": "p"}}'), ('{"c": [{"password": "p"}]}'), ('{"password": 1, "c": "x"}'),
    ('{"s": "nothing"}'), ('{"s": "4111111111111111"}'), ('{"s": 4111111111111111}'), ('{"s": ["4111111111111111", 1]}'),
    ('{"l": []}'), ('{"l": {}}'), ('{"l": [{"x": 1, "y": 2}]}'), ('{"l": {"x": 1, "y": 2}}'), ('{"l": {"z": {"x": 1, "y": 2}}}'), ('{"l": [1]}'), ('{"l": "x"}');
do $$
declare
    one shape;
begin
    for one in select * from shape loop
        perform sentinai.set_redaction('rd.forget', '*', '$.x' || one.no, 'remove');
        update shape set alone = (select pg_temp.stored(one.payload) || pg_temp.said(one.payload)) where no = one.no;
        assert (select s.alone is not null from shape s where no = one.no);
    end loop;
end $$;
create temp table behind as
    select p.payload, p.alone, sentinai.publish('rd.t', 'rd', 'k', p.payload) as id
    from (select unnest(array[one.payload, next.payload]) as payload, unnest(array[one.alone, next.alone]) as alone
          from shape one, shape next order by one.no, next.no) p;
select is((select array_agg(distinct b.payload) from behind b join sentinai.event_log e on e.event_id = b.id where e.payload::text || e.metadata <> b.alone), null,
          'what is stored does not depend on the payload before');

-- a query that asks for many of them
begin;
set local parallel_setup_cost = 0;
set local parallel_tuple_cost = 0;
set local min_parallel_table_scan_size = 0;
select set_redaction from sentinai.set_redaction('rd', '*', '$.a', 'remove');
select lives_ok($$select count(sentinai.redacted_payload('rd.parallel', 'rd.t', '{"a": 1}')), count(sentinai.redacted_error('rd.parallel', 'rd.t', 'x')) from pg_class$$, 'is not divided among workers');
rollback;

-- A name that no event can have is asked about, and hides no rule from one that has it.
select sentinai.set_redaction('rd', rpad('rd.', 128, 't'), '$.a', 'remove');
select sentinai.set_redaction(rpad('rd', 256, 't'), '*', '$.a', 'remove');
select is(sentinai.redacted_payload('rd', rpad('rd.', 129, 't'), '{"a": 1}'), '{}', 'a type with a name that is too long is the one that it begins with');
select is(pg_temp.stored('{"a": 1}', type => rpad('rd.', 128, 't')), '{}', 'whose rule holds after that');
select is(sentinai.redacted_payload(rpad('rd', 257, 't'), 'rd.t', '{"a": 1}'), '{}', 'and so is a tenant');
select is(pg_temp.stored('{"a": 1}', tenant => rpad('rd', 256, 't')), '{}', 'with its rule');

-- with isolation rules are for admins, and seen by who may audit
create role rd_role;
grant usage on schema sentinai to rd_role;
grant select on sentinai.redactions to rd_role;
grant execute on function sentinai.set_redaction(text, text, text, text, int, jsonb, text[]) to rd_role;
select sentinai.grant_tenant('rd_role', 'rd', 'audit');
set sentinai.tenant_isolation = on;
set role rd_role;
select is((select array_agg(distinct tenant) from sentinai.redactions), '{rd}', 'who may audit a tenant sees its rules');
select throws_ok($$select sentinai.set_redaction('rd', '*', '$.a', 'remove')$$, 'SN403', null, 'and does not set them');
reset role;
reset sentinai.tenant_isolation;
select sentinai.revoke_tenant('rd_role', 'rd', 'audit');
drop owned by rd_role;
drop role rd_role;

select count(sentinai.drop_redaction(tenant, event_type, path)) > 0 as cleaned from sentinai.redactions where tenant like 'rd%';
select * from finish();
