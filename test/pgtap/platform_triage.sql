-- SPDX-License-Identifier: PostgreSQL
-- The platform's triage: rules, and deadlines by rules. In one transaction, from
-- batches without a token.
begin;
create extension sentinai_platform;
select plan(68);
\ir lib/platform.sql

-- judged(): what triage makes of an exception of the tenant m that says this
create function pg_temp.judged(data jsonb) returns text language plpgsql as $$
declare
    id constant text := 'T-' || md5(random()::text);
begin
    perform sentinai_platform.submit_exception('m', 'bank', data, id);
    perform sentinai_platform.handle_intake((select jsonb_agg(e) from jsonb_array_elements(pg_temp.batch('m')) e where e ->> 'aggregate_id' = id));
    perform sentinai_platform.handle_triage((select jsonb_agg(e) from jsonb_array_elements(pg_temp.batch('m', '{ExceptionNormalized}')) e where e ->> 'aggregate_id' = id));
    return (select format('%s %s %s %s %s %s', state, exception_type, severity, category, confidence, reasons) from sentinai_platform.exceptions where exception_id = id);
end $$;
create function pg_temp.due(data jsonb) returns interval language plpgsql as $$
begin
    perform pg_temp.judged(data);
    return (select due_at - received_at from sentinai_platform.exceptions order by opened_by desc limit 1);
end $$;

select is(pg_temp.judged('{}'), 'triaged unclassified medium general 0 []', 'without rules it is what nobody knows');
select is(pg_temp.judged('{"type": "late", "severity": "low"}'), 'triaged late low general 0 []', 'or what the source says');
insert into sentinai_platform.triage_rules (tenant_id, rule, priority, condition, exception_type, severity, category, confidence, reason, enabled) values
    ('*', 'large', 10, '$.amount > 1000000 && $.currency == "EUR"', null, 'critical', null, 0.9, 'more than a million', true),
    ('m', 'bank', 20, '$.source == "bank"', 'bank', 'high', 'money', 0.8, null, true),
    ('*', 'all', 20, '$.source starts with "b"', 'any', 'low', 'else', 0.1, 'b', true),
    ('m', 'off', 1, '$.source == "bank"', 'off', 'low', 'off', 1, null, false),
    ('n', 'others', 1, '$.source == "bank"', 'other', 'low', 'other', 1, null, true),
    ('m', 'odd', 2, '$.title.nothing > 3', 'odd', 'low', 'odd', 1, null, true),
    ('m', 'no predicate', 3, '$.amount', 'odd', 'low', 'odd', 1, null, true);
select is(pg_temp.judged('{"amount": 2000000, "currency": "EUR"}'),
    'triaged bank critical money 0.9 [{"rule": "large", "reason": "more than a million"}, {"rule": "bank"}, {"rule": "all", "reason": "b"}]',
    'each is that of the first rule that has one; of equal ones the tenant''s own');
select is(pg_temp.judged('{"amount": 2000000, "currency": "USD"}'), 'triaged bank high money 0.8 [{"rule": "bank"}, {"rule": "all", "reason": "b"}]', 'a condition that is not met');
select is((select string_agg(event_type, ',' order by event_id) from sentinai.event_log where aggregate_id = (select exception_id from sentinai_platform.exceptions order by opened_by desc limit 1)),
    'ExceptionIngested,ExceptionNormalized,TriageRequested,TriageCompleted', 'the flow of an exception');
select is((select count(*) from sentinai.event_log e join sentinai_platform.exceptions x on x.exception_id = e.aggregate_id
    where e.event_type = 'TriageCompleted' and e.correlation_id = x.exception_id and e.payload ->> 'severity' = x.severity and e.payload -> 'reasons' = x.reasons), 4::bigint, 'events and read model say the same');
select is((select count(*) from sentinai.event_log e join sentinai.event_log c on c.event_id = e.causation_id
    where e.event_type ~ '^Triage' and c.event_type = 'ExceptionNormalized'), 8::bigint, 'and were caused by intake');
select is(sentinai_platform.handle_triage(pg_temp.batch('m', '{ExceptionNormalized}'))::text, '(4,0,0)', 'all of it again');
select is((select count(*) from sentinai.event_log where event_type = 'TriageCompleted'), 4::bigint, 'does nothing');

-- an exception that nobody has taken in
select sentinai.publish('ExceptionNormalized', 'x', 'X-1', '{"exception_id": "X-1", "source": "s", "origin": "ingested", "attributes": {}}');
select throws_ok($$select sentinai_platform.handle_triage(pg_temp.batch('x', '{ExceptionNormalized}'))$$, 'SN404', null, 'an exception that nobody has taken in');
select is((select count(*) from sentinai.event_log where tenant_id = 'x' and event_type ~ '^Triage'), 0::bigint, 'is not triaged');

-- a set in which each has its own
select sentinai_platform.submit_exception(t, 'bank', '{}', 'S-' || n) from generate_series(1, 20) n, unnest('{m,n}'::text[]) t;
select is(sentinai_platform.handle_intake(pg_temp.batch('m') || pg_temp.batch('n'))::text, '(44,0,0)', 'a set of two tenants, with some that are done');
select is(sentinai_platform.handle_triage(pg_temp.batch('m', '{ExceptionNormalized}') || pg_temp.batch('n', '{ExceptionNormalized}'))::text, '(44,0,0)', 'is triaged');
select is((select string_agg(distinct tenant_id || exception_type, ',') from sentinai_platform.exceptions where exception_id like 'S-%'), 'mbank,nother', 'by the rules of each');

-- deadlines
select is((select count(*) from sentinai.deadlines where kind = 'resolve' and tenant_id in ('m', 'n')), 0::bigint, 'no rule, no deadline');
insert into sentinai_platform.sla_rules (tenant_id, exception_type, severity, resolve_within, threshold) values
    ('*', '*', '*', '10 days', null), ('*', 'bank', 'critical', '1 day', null),
    ('m', '*', '*', '2 days', 0.5), ('m', '*', 'critical', '4 hours', null), ('m', 'bank', '*', '8 hours', 0.25);
select is(pg_temp.due('{}'), '8 hours', 'the rule for the type');
select is(pg_temp.due('{"amount": 2000000, "currency": "EUR"}'), '8 hours', 'comes before that for the severity');
update sentinai_platform.triage_rules set enabled = false where rule = 'bank';
select is(pg_temp.due('{"amount": 2000000, "currency": "EUR"}'), '4 hours', 'which comes before that for all');
select is(pg_temp.due('{}'), '2 days', 'of the tenant');
select is((select format('%s %s %s', kind, status, d.due_at = x.due_at) from sentinai.deadlines d join sentinai_platform.exceptions x on x.exception_id = d.aggregate_id order by deadline_id desc limit 1),
    'resolve open t', 'the deadline is there');
select lives_ok($$select sentinai.sla_scan(100000, clock_timestamp() + interval '3 hours')$$, 'a quarter of eight hours is over');
select is((select string_agg(e.event_type || (e.correlation_id = e.aggregate_id), ',') from sentinai.event_log e join sentinai_platform.exceptions x on (x.tenant_id, x.exception_id) = (e.tenant_id, e.aggregate_id) where e.event_type ~ '^SLA'),
    'SLAImminenttrue,SLAImminenttrue', 'for two, which is said in their flows');
select throws_ok($$insert into sentinai_platform.sla_rules (tenant_id, resolve_within) values ('m', '-1 day')$$, '23514', null, 'no time at all');
select throws_ok($$insert into sentinai_platform.triage_rules (tenant_id, rule, condition) values ('m', 'x', '$.[')$$, '42601', null, 'a condition that is none');
select throws_ok($$insert into sentinai_platform.triage_rules (tenant_id, rule, condition) values ('m', 'x', '$.amount > $limit')$$, '23514', null, 'nor one with a variable');
select lives_ok($$insert into sentinai_platform.triage_rules (tenant_id, rule, priority, condition, category) values ('m', 'late', 1, '$.attributes.t.datetime() < "2026-01-02".datetime() || $.attributes."a\"$b" == "$c"', 'dated')$$, 'a dollar in a text is none');
select sentinai_platform.submit_exception('m', 'bank', v::jsonb, 'T-' || n) from unnest('{"{\"t\": \"2026-01-01 12:00:00+00\"}","{\"a\\\"$b\": \"$c\"}","{\"t\": \"soon\"}"}'::text[]) with ordinality u (v, n);
select sentinai_platform.handle_intake(pg_temp.batch('m'));
select sentinai_platform.handle_triage(pg_temp.batch('m', '{ExceptionNormalized}'));
select is((select string_agg((category = 'dated')::text, ' ' order by exception_id) from sentinai_platform.exceptions where exception_id like 'T-_'), 'true true false', 'times with a zone are compared, too');

-- whose rules there may be
select is(pg_temp.detail(format(v.statement, t.tenant)), 'SN422 /tenant_id ' || t.keyword, concat(left(v.statement, 45), ' for a tenant that there cannot be: ', t.keyword))
from (values ('', 'minLength'), ('a:b', 'pattern'), (e'a\nb', 'pattern'), (e'a\u202Eb', 'pattern'), (repeat('ä', 129), 'maxLength')) t (tenant, keyword),
    (values ('insert into sentinai_platform.mapping_rules (tenant_id, field, pointers) values (%L, ''a'', ''{/a}'')'),
        ('insert into sentinai_platform.triage_rules (tenant_id, rule, condition, severity) values (%L, ''a'', ''$.a == 1'', ''low'')'),
        ('insert into sentinai_platform.sla_rules (tenant_id, resolve_within) values (%L, ''1 h'')'),
        ('insert into sentinai_platform.guardrails (tenant_id, rule, condition, decision) values (%L, ''a'', ''$.a == 1'', ''allowed'')'),
        ('insert into sentinai_platform.calendars (tenant_id, calendar, time_zone) values (%L, ''a'', ''UTC'')'),
        ('insert into sentinai_platform.allowed_hosts (tenant_id, host) values (%L, ''a'')'),
        ('insert into sentinai_platform.tools (tenant_id, tool, kind, settings) values (%L, ''a'', ''notify'', ''{"channel": "a"}'')'),
        ('select sentinai_platform.put_playbook(%L, ''a'', ''[{"tool": "a"}]'')')) v (statement);
select lives_ok($$insert into sentinai_platform.sla_rules (tenant_id, resolve_within) values (repeat('ä', 128), '1 h'), ('😀 "%', '1 h')$$, 'odd ones there are');

select * from finish();
rollback;
