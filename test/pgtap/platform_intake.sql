-- SPDX-License-Identifier: PostgreSQL
-- The platform's commands, intake and queries. Batches come without a token, as
-- from Kafka: so all of it is one transaction.
begin;
create extension sentinai_platform;
select plan(51);
\ir lib/platform.sql

-- commands
select is(pg_temp.detail($$select sentinai_platform.submit_exception('acme', null, '[]')$$), 'SN422 /data type, /source type', 'what is wrong is said for each field');
select throws_ok($$select sentinai_platform.submit_exception(null, 's', '{}')$$, '22004', null, 'a tenant there must be');
select throws_ok($$select sentinai_platform.submit_exception('a:b', 's', '{}')$$, 'SN422', null, 'and a name that can be one');
select throws_ok($$select sentinai_platform.submit_exception('acme', 's', '{}', repeat('x', 1025))$$, 'SN422', null, 'an id may be too long');
select is(pg_temp.detail($$select sentinai_platform.create_manual_exception('acme', '{"severity": "huge", "colour": 1}')$$), 'SN422 /colour additionalProperties, /severity enum, /title required', 'the same for people');
select is(pg_temp.detail($$select sentinai_platform.create_manual_exception('acme', '[]')$$), 'SN422  type', 'who must bring an object');
select throws_ok($$select sentinai_platform.create_manual_exception('acme', null)$$, '22004', null, 'and something');
select throws_ok($$select sentinai_platform.get_command_status(null)$$, '22004', null, 'the state of nothing');
select throws_ok($$select sentinai_platform.get_command_status('01a22748-bdbe-75dc-b786-50bb5b3d2df3')$$, 'SN404', null, 'and of what nobody called');
create temp table c as
    select sentinai_platform.submit_exception('acme', 'bank', '{"amount": 1}', idempotency_key => 'k') as id, 1 as n
    union all select sentinai_platform.submit_exception('acme', 'bank', '{"amount": 1}', idempotency_key => 'k'), 2;
select is((select count(distinct id) from c), 1::bigint, 'a call that is repeated with its key returns the first id');
select is((select count(*) from sentinai.event_log where event_type = 'ExceptionIngested'), 1::bigint, 'and publishes nothing');
select throws_ok($$select sentinai_platform.submit_exception('acme', 'bank', '{"amount": 2}', idempotency_key => 'k')$$, 'SN409', null, 'the key is not for another exception');
select isnt(sentinai_platform.create_manual_exception('acme', '{"title": "t"}', idempotency_key => 'k'), (select min(id::text)::uuid from c), 'each command has its own keys');
select is((select format('%s %s %s', command, status, exception_id like 'EX-%') from sentinai_platform.get_command_status((select id from c limit 1))), 'submit_exception accepted t', 'it is accepted');

-- intake without rules
select is(sentinai_platform.handle_intake(pg_temp.batch('acme'))::text, '(2,0,0)', 'both are handled');
select is((select status from sentinai_platform.get_command_status((select id from c limit 1))), 'completed', 'the command is completed');
select is((select string_agg(format('%s %s %s %s %s', origin, source, title, amount, state), ', ' order by opened_by) from sentinai_platform.exceptions),
    'ingested bank  1 normalized, manual manual t  normalized', 'the read model has them');
select is((select string_agg(distinct format('%s %s %s', e.aggregate_id = e.correlation_id, e.causation_id = x.opened_by, e.payload ->> 'origin'), ', ')
    from sentinai.event_log e join sentinai_platform.exceptions x on x.exception_id = e.aggregate_id where e.event_type = 'ExceptionNormalized'),
    't t ingested, t t manual', 'each was published, with its flow and its cause');
select is(sentinai_platform.handle_intake(pg_temp.batch('acme'))::text, '(2,0,0)', 'the same batch again');
select is((select count(*) from sentinai.event_log where event_type = 'ExceptionNormalized'), 2::bigint, 'does nothing');
select is(sentinai_platform.handle_intake('[]')::text, '(0,0,0)', 'an empty batch is one');
select throws_ok($$select sentinai_platform.handle_intake(null)$$, '22004', null, 'none is not');
select throws_ok($$select sentinai_platform.handle_intake('{}')$$, 'SN422', null, 'nor is an object');
select throws_ok($$select sentinai_platform.handle_intake('[1]')$$, null, null, 'nor are numbers');
select is((select attributes from sentinai_platform.exceptions where origin = 'ingested'), '{"amount": 1}', 'without rules the attributes are what was said');

-- mapping rules
insert into sentinai_platform.mapping_rules (tenant_id, source, field, pointers, kind, time_zone, translation, default_value, required) values
    ('m', 'bank', 'amount', '{/trade/amt,/amt}', 'number', default, null, null, true),
    ('m', 'bank', 'occurred_at', '{/at}', 'timestamp', 'Europe/Berlin', null, null, false),
    ('m', 'bank', 'severity', '{/sev}', 'text', default, '{"SEV1": "critical", "2": "high"}', '"low"', false),
    ('*', '*', 'currency', '{/ccy}', null, default, null, '"EUR"', false),
    ('m', '*', 'currency', '{/money~1unit}', 'currency', default, null, null, false),
    ('*', 'bank', 'desk', '{/desk}', 'integer', default, null, null, false),
    ('m', '*', 'desk', '{/nobody}', 'integer', default, null, null, false),
    ('m', 'clock', 'occurred_at', '{/ms}', 'epoch_ms', default, null, null, false),
    ('m', 'clock', 'flag', '{/flag}', 'boolean', default, null, null, false),
    ('m', 'clock', 'all', '{""}', 'json', default, null, null, false);
select is((select count(*) from sentinai_platform.mapping_rules where changed_by = current_user and changed_at = now()), 10::bigint, 'who wrote a rule is noted');
select is(pg_temp.mapped('bank', '{"trade": {"amt": "1250000.50"}, "at": "2026-07-01 12:00", "sev": "SEV1", "money/unit": " usd "}'),
    '1250000.50 USD critical 2026-07-01 10:00:00+00 {}', 'paths, numbers, zones, words and pointers with signs');
select is(pg_temp.mapped('bank', '{"trade": {"amt": null}, "amt": 7, "at": "2026-07-01T12:00:00+05:00", "sev": 2, "desk": "3"}'),
    '7  high 2026-07-01 07:00:00+00 {}', 'the first that is there; the tenant''s own rule for all sources comes before one for all tenants');
select is(pg_temp.mapped('bank', '{"amt": 1, "at": "2026-07-01"}'), '1  low 2026-06-30 22:00:00+00 {}', 'a default, and a day that begins in its zone');
select is(pg_temp.mapped('clock', '{"ms": 1000, "flag": "yes", "amount": "5"}'), '5   1970-01-01 00:00:01+00 {"all": {"ms": 1000, "flag": "yes", "amount": "5"}, "flag": true}', 'times that count, a truth, and all of it');
select is(pg_temp.mapped('bank', '{"trade": {"amt": "secret"}}'), 'SN422 /data/trade/amt type', 'a number that is none is named by its place');
select unalike(pg_temp.said('bank', '{"trade": {"amt": "secret"}}'), '%secret%', 'and not by its value');
select is(pg_temp.mapped('bank', '{"amt": {"a": 1}}'), 'SN422 /data/amt type', 'an object is no number');
select is(pg_temp.mapped('bank', '{}'), 'SN422 /data/trade/amt required', 'what must be there');
select is(pg_temp.mapped('bank', '{"amt": 1, "at": "yesterday-ish"}'), 'SN422 /data/at type', 'a time that is none');
select is(pg_temp.mapped('bank', '{"amt": 1, "sev": "huge"}'), 'SN422 /severity enum', 'a word that the registry does not know');
select is(pg_temp.mapped('bank', '{"amt": "NaN"}'), 'SN422 /data/amt type', 'what JSON has no number for');
select throws_ok($$insert into sentinai_platform.mapping_rules (tenant_id, field, pointers, time_zone) values ('m', 'x', '{/x}', 'Mars')$$, '22023', null, 'a zone that there is not');
select throws_ok($$insert into sentinai_platform.mapping_rules (tenant_id, field, pointers, kind) values ('m', 'amount', '{/x}', 'text')$$, '23514', null, 'a kind that the field cannot have');
select throws_ok($$insert into sentinai_platform.mapping_rules (tenant_id, field, pointers) values ('m', 'x y', '{/x}')$$, '23514', null, 'a field that cannot be one');
select throws_ok($$select sentinai_platform.handle_intake((select jsonb_agg(e || '{"aggregate_id": "other"}') from jsonb_array_elements(pg_temp.batch('acme')) e where e ->> 'event_type' = 'ExceptionIngested') #- '{0,event_id}')$$, null, null, 'an event of another aggregate');

-- queries
select sentinai_platform.submit_exception('q', 'web', jsonb_build_object('amount', n, 'type', 't' || n % 2, 'currency', 'EUR'), 'Q-' || n) from generate_series(1, 7) n;
select is(sentinai_platform.handle_intake(pg_temp.batch('q'))::text, '(7,0,0)', 'seven more');
select is(pg_temp.ids($$select * from sentinai_platform.list_exceptions('q', max_rows => 3)$$), 'Q-7,Q-6,Q-5', 'a page, the newest first');
select is(pg_temp.ids($$select * from sentinai_platform.list_exceptions('q', max_rows => 3, before => (select opened_by from sentinai_platform.exceptions where exception_id = 'Q-5'))$$), 'Q-4,Q-3,Q-2', 'the next');
select is(pg_temp.ids($$select * from sentinai_platform.list_exceptions('q', 'normalized', 't1', source => 'web', from_time => now() - interval '1 h', to_time => now() + interval '1 h', min_amount => 2, max_amount => 6, attributes => '{"currency": "EUR"}')$$), 'Q-5,Q-3', 'by what they are');
select is(pg_temp.ids($$select * from sentinai_platform.list_exceptions('q', from_time => (select received_at from sentinai_platform.exceptions where exception_id = 'Q-1'), to_time => (select received_at + interval '1 ms' from sentinai_platform.exceptions where exception_id = 'Q-7'))$$), 'Q-7,Q-6,Q-5,Q-4,Q-3,Q-2,Q-1', 'of a time');
select is(pg_temp.ids($$select * from sentinai_platform.list_exceptions('q', to_time => (select received_at from sentinai_platform.exceptions where exception_id = 'Q-1'))$$), null, 'before which there was nothing');
select is(pg_temp.ids($$select * from sentinai_platform.list_exceptions('q', sla => 'on_track')$$), null, 'by their deadline');
select throws_ok($$select sentinai_platform.list_exceptions('q', max_rows => 0)$$, 'SN422', null, 'a page of nothing');
select is((select amount from sentinai_platform.get_exception('q', 'Q-3')), 3::numeric, 'one by its id');

select throws_ok($$select sentinai_platform.submit_exception('m', 's', '{}', idempotency_key => '')$$, 'SN422', null, 'an empty key would be that of all who have none');

select * from finish();
rollback;
