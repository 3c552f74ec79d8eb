-- SPDX-License-Identifier: PostgreSQL
-- Tools of the platform: what may be called, what becomes of results, built-in
-- tools, circuit breakers, commands and queries. In one transaction, from batches
-- without a token, but for what is tried again.
begin;
create extension sentinai_platform;
select plan(113);
\ir lib/platform.sql

create function pg_temp.seen() returns jsonb language sql as $$
    select coalesce(jsonb_agg(to_jsonb(e) order by event_id), '[]') from sentinai.event_log e
    where tenant_id = 'm' and event_type ~ '^ToolExecution' or event_type = 'SLAExpired' $$;
-- news(): events that no agent has had, for a handler
create temp table had (event_id uuid primary key);
create function pg_temp.news() returns jsonb language plpgsql as $$
declare
    b jsonb;
begin
    select coalesce(jsonb_agg(e order by n), '[]') into b from jsonb_array_elements(pg_temp.seen()) with ordinality t (e, n)
    where not exists (select from had h where h.event_id = (e ->> 'event_id')::uuid);
    insert into had select (e ->> 'event_id')::uuid from jsonb_array_elements(b) e;
    return b;
end $$;
-- work(): the agent's two calls with what is new; every webhook that is called answers this
create function pg_temp.work(answer jsonb default '{"status": 200, "body": "{}"}') returns text language plpgsql as $$
declare
    b jsonb := pg_temp.news();
    called int;
begin
    create temp table task on commit drop as select * from sentinai_platform.prepare('tool', b);
    select count(*) filter (where result is null) into called from task;
    select coalesce(jsonb_agg(case when t.event_id is null then e else e || jsonb_build_object('result', coalesce(t.result, answer)) end order by n), '[]') into b
    from jsonb_array_elements(b) with ordinality j (e, n) left join task t on t.event_id = (e ->> 'event_id')::uuid;
    drop table task;
    return format('%s called, %s', called, sentinai_platform.handle_tool(b));
end $$;
-- ask(): an execution is requested as a playbook does it
create function pg_temp.ask(tool text, arguments jsonb default '{}', id uuid default gen_random_uuid(), exception text default 'X') returns uuid language plpgsql as $$
begin
    perform sentinai.publish('ToolExecutionRequested', 'm', exception, jsonb_build_object('exception_id', exception, 'execution_id', id, 'tool', tool, 'arguments', arguments, 'requested_by', 'playbook'));
    return id;
end $$;
create function pg_temp.row(id uuid) returns text language sql as $$
    select concat_ws(' ', status, requests, http_status, response, error, retryable, duration_ms) from sentinai_platform.tool_executions where execution_id = id $$;
create function pg_temp.told(id uuid) returns text language sql as $$
    select string_agg(replace(event_type, 'ToolExecution', ''), ' ' order by event_id) from sentinai.event_log where payload ->> 'execution_id' = id::text $$;
-- put(): a tool of the tenant
create function pg_temp.put(name text, kind text, settings jsonb, attempts int default 1) returns text language plpgsql as $$
declare
    d text;
begin
    insert into sentinai_platform.tools (tenant_id, tool, kind, settings, max_attempts) values ('m', name, kind, settings, attempts)
    on conflict (tenant_id, tool) do update set settings = excluded.settings;
    return 'fine';
exception when sqlstate 'SN422' then
    get stacked diagnostics d = pg_exception_detail;
    return (d::jsonb) #>> '{0,pointer}';
end $$;

-- what a tool may be
select is(pg_temp.put('t', 'webhook', s::jsonb), expected, why) from (values
    ('{"url": "https://api.example.com/x?y=1", "method": "PUT", "headers": {"X-A": "b"}, "secret_headers": {"Authorization": "key"}, "timeout_ms": 500, "max_response_bytes": 10, "retry_on": [500]}', 'fine', 'a webhook'),
    ('{}', '/settings/url', 'a URL there must be'),
    ('{"url": "ftp://example.com/"}', '/settings/url', 'of HTTP'),
    ('{"url": "file:///etc/passwd"}', '/settings/url', 'and no file'),
    ('{"url": "https://user:secret@example.com/"}', '/settings/url', 'without a user'),
    ('{"url": "https://example.com\\@evil.com/"}', '/settings/url', 'nor what one reader takes for one'),
    ('{"url": "https://example.com#@evil.com/"}', '/settings/url', 'nor a fragment'),
    ('{"url": "https://example.com:99999/"}', '/settings/url', 'with a port that there is'),
    ('{"url": "https://EXAMPLE.com/"}', '/settings/url', 'its host in lower case'),
    ('{"url": "https://example.com/a b"}', '/settings/url', 'and nothing to guess'),
    ('{"url": "https://example.com/\r\nX: y"}', '/settings/url', 'no second line'),
    ('{"url": "https://a/", "method": "CONNECT"}', '/settings/method', 'methods are few'),
    ('{"url": "https://a/", "headers": {"X-A": "b\r\nHost: c"}}', '/settings/headers/X-A', 'a header is one line'),
    ('{"url": "https://a/", "headers": {"X A": "b"}}', '/settings/headers', 'with a name'),
    ('{"url": "https://a/", "headers": {"Host": "b"}}', '/settings/headers/Host', 'that is not the agent''s'),
    ('{"url": "https://a/", "headers": {"idempotency-KEY": "b"}}', '/settings/headers/idempotency-KEY', 'in any spelling'),
    ('{"url": "https://a/", "secret_headers": {"X-A": "../key"}}', '/settings/secret_headers/X-A', 'secrets have names and not paths'),
    ('{"url": "https://a/", "timeout_ms": 0}', '/settings/timeout_ms', 'times have bounds'),
    ('{"url": "https://a/", "max_response_bytes": 1e9}', '/settings/max_response_bytes', 'sizes, too'),
    ('{"url": "https://a/", "retry_on": [200]}', '/settings/retry_on', 'a success is no failure'),
    ('{"url": "https://a/", "proxy": "x"}', '/settings/proxy', 'and what is not known is refused')) v (s, expected, why);
select is(pg_temp.put('b', kind, s::jsonb), expected, why) from (values
    ('publish_event', '{"event_type": "ToolExecutionCompleted"}', '/settings/event_type', 'what agents know is not for tools to say'),
    ('publish_event', '{"event_type": "ApprovalDecided"}', '/settings/event_type', 'nor what people decide'),
    ('update_field', '{"fields": ["state"]}', '/settings/fields', 'a tool may change some fields'),
    ('notify', '{"channel": "a; b"}', '/settings/channel', 'a channel has a name'),
    ('wait', '{"seconds": -1}', '/settings/seconds', 'time goes forward')) v (kind, s, expected, why);
select throws_ok($$insert into sentinai_platform.tools (tenant_id, tool, kind) values ('m', 'x', 'shell')$$, '23514', null, 'kinds are few');
select throws_ok($$insert into sentinai_platform.allowed_hosts (tenant_id, host) values ('m', 'https://a')$$, '23514', null, 'a host is no URL');

insert into sentinai_platform.allowed_hosts (tenant_id, host, port, networks) values
    ('*', 'bank.example', 443, '{}'), ('m', '*.corp.example', 8080, '{10.1.0.0/16,fd00::/8}'), ('n', 'other.example', 443, '{}');
select is(pg_temp.put('pay', 'webhook', '{"url": "https://bank.example/pay", "headers": {"X-B": "2", "X-A": "1"}, "secret_headers": {"Authorization": "bank"}}')
    || pg_temp.put('look', 'webhook', '{"url": "http://a.b.corp.example:8080/look?v=1", "method": "GET"}', 3)
    || pg_temp.put('other', 'webhook', '{"url": "https://other.example/"}')
    || pg_temp.put('port', 'webhook', '{"url": "https://bank.example:8443/"}')
    || pg_temp.put('top', 'webhook', '{"url": "http://corp.example:8080/"}')
    || pg_temp.put('set', 'update_field', '{"fields": ["severity", "title", "attributes.owner"]}')
    || pg_temp.put('tell', 'notify', '{"channel": "desk"}')
    || pg_temp.put('pause', 'wait', '{"max_seconds": 100}')
    || pg_temp.put('say', 'publish_event', '{"event_type": "DeskTold"}'), repeat('fine', 9), 'tools');
select sentinai_platform.submit_exception('m', 'bank', '{"severity": "low"}', 'X');
select is(sentinai_platform.handle_intake(pg_temp.batch('m'))::text, '(1,0,0)', 'an exception');

-- what is called
create temp table e as select pg_temp.ask('pay', '{"ref": "T-1", "to": "x\"y"}') as pay, pg_temp.ask('look', '{"q": "a&b=c", "n": 5, "o": {"x": "é"}}') as look,
    pg_temp.ask('other') as other, pg_temp.ask('port') as port, pg_temp.ask('top') as top, pg_temp.ask('nothing') as nothing;
create temp table b as select pg_temp.news() as batch;
create temp table p as select p.* from b, sentinai_platform.prepare('tool', b.batch) p;
select is((select count(*) from p), 5::bigint, 'webhooks are prepared');
select is((select format('%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s', owner, may_retry, method, url, host, p.port, networks, headers, secret_headers, timeout_ms, max_response_bytes) from p, e where execution_id = e.pay),
    e'm|f|POST|https://bank.example/pay|bank.example|443||Content-Type: application/json\nX-A: 1\nX-B: 2|Authorization: bank|10000|65536', 'with all that the call needs, and the name of the secret');
select is((select body::jsonb from p, e where execution_id = e.pay), '{"ref": "T-1", "to": "x\"y"}', 'the arguments are the body');
select is((select format('%s|%s|%s|%s', may_retry, method, url, networks) from p, e where execution_id = e.look),
    't|GET|http://a.b.corp.example:8080/look?v=1&n=5&o=%7B%22x%22%3A%20%22%C3%A9%22%7D&q=a%26b%3Dc|10.1.0.0/16,fd00::/8', 'or the query, where nothing gets out of its value');
select is((select string_agg(result ->> 'error', ',') from p, e where execution_id in (e.other, e.port, e.top)), 'the host of the tool is not allowed,the host of the tool is not allowed,the host of the tool is not allowed',
    'another tenant''s host, another port and the name itself are not allowed');
select is((select count(*) from sentinai_platform.tool_executions where status = 'requested'), 6::bigint, 'what is under way is seen');
select is(sentinai_platform.handle_tool((select jsonb_agg(case when p.event_id is null then x else x || jsonb_build_object('result', coalesce(p.result, '{"status": 200, "duration_ms": 12.5, "body": "{\"done\": null}"}')) end order by n)
    from b, jsonb_array_elements(b.batch) with ordinality t (x, n) left join p on p.event_id = (x ->> 'event_id')::uuid))::text, '(6,0,0)', 'and handled');
select is((select pg_temp.told(pay) from e), 'Requested Completed', 'what was answered is completed');
select is((select payload - 'execution_id' from sentinai.event_log, e where event_type = 'ToolExecutionCompleted' and payload ->> 'execution_id' = e.pay::text),
    '{"exception_id": "X", "tool": "pay", "status": 200, "duration_ms": 12.5, "response": {"done": null}}', 'with status, time and response');
select is((select string_agg(pg_temp.told(x), ',') from e, unnest(array[other, port, top, nothing]) x), 'Requested Failed,Requested Failed,Requested Failed,Requested Failed', 'what may not be has failed');
select is((select pg_temp.row(pay) from e), 'completed 1', 'it is known at once');
select is(pg_temp.work(), '0 called, (6,0,0)', 'outcomes are read back');
select is((select pg_temp.row(pay) || ', ' || pg_temp.row(nothing) from e), 'completed 1 200 {"done": null} 12.5, failed 1 no such tool f 0', 'into the read model');
select is((select array_agg(causation_id = (select event_id from sentinai.event_log r where r.event_type = 'ToolExecutionRequested' and r.payload ->> 'execution_id' = l.payload ->> 'execution_id')) from sentinai.event_log l where event_type ~ '^ToolExecution(C|F)'), array[true, true, true, true, true, true], 'each has its cause');

-- whole numbers
select is(pg_temp.put('exact', 'webhook', '{"url": "https://bank.example/x", "timeout_ms": 500.0, "max_response_bytes": 10.0}'), 'fine', 'a whole number may be written with a point');
select lives_ok($$select sentinai.publish('ToolExecutionRequested', 'm', 'X', jsonb_build_object('exception_id', 'X', 'execution_id', gen_random_uuid(), 'tool', 'exact', 'arguments', '{}'::jsonb, 'timeout_ms', 400.0))$$, 'in a request, too');
select is((select max(timeout_ms || ' ' || max_response_bytes) from sentinai_platform.prepare('tool', pg_temp.seen()) p join sentinai.event_log l using (event_id) where l.payload ->> 'tool' = 'exact'), '400 10', 'and is prepared as one');
select is(pg_temp.work(), '1 called, (1,0,0)', 'and called');
select is(pg_temp.work(), '0 called, (1,0,0)', 'once');
select is(pg_temp.put('seek', 'webhook', '{"url": "https://bank.example/x", "method": "GET"}'), 'fine', 'a tool whose arguments are in its URL');
create temp table g as select pg_temp.ask('seek', jsonb_build_object('a', repeat('x', 9000))) as long;
select is(pg_temp.work() || pg_temp.work() || (select pg_temp.row(long) from g), '0 called, (1,0,0)0 called, (1,0,0)failed 1 the arguments are too large for a URL f 0', 'which is not made of any number of them');

-- once
select isnt(pg_temp.ask('pay', '{}', (select pay from e)), null, 'a completed one is requested again');
select is(pg_temp.work(), '0 called, (1,0,0)', 'and not called');
select is((select pg_temp.told(pay) from e), 'Requested Completed Requested Completed', 'but answered');
select is(pg_temp.work(), '0 called, (1,0,0)', 'once');
select is((select pg_temp.row(pay) from e), 'completed 2 200 {"done": null} 12.5', 'with the same');
select isnt(pg_temp.ask('look', '{}', (select pay from e)), null, 'the id for another tool');
select is(pg_temp.work() || (select pg_temp.row(pay) from e), '0 called, (1,0,0)completed 2 200 {"done": null} 12.5', 'is refused');
select is((select payload ->> 'error' from sentinai.event_log, e where event_type = 'ToolExecutionFailed' and payload ->> 'execution_id' = e.pay::text), 'the execution id is that of another execution', 'and told so');
create temp table w as select pg_temp.ask('pay') as twice;
select isnt(pg_temp.ask('pay', '{}', (select twice from w)), null, 'requested twice in a batch');
select is(pg_temp.work() || (select pg_temp.told(twice) from w), '1 called, (3,0,0)Requested Requested Completed', 'it is called once and answered once');
select is(sentinai_platform.handle_tool(pg_temp.seen())::text, format('(%s,0,0)', jsonb_array_length(pg_temp.seen())), 'all that again does nothing');
select is((select pg_temp.told(twice) from w), 'Requested Requested Completed', 'as the ledger knows it');
create temp table unprepared as select sentinai.publish('ToolExecutionRequested', 'm', 'X', jsonb_build_object('exception_id', 'X', 'execution_id', gen_random_uuid(), 'tool', 'pay', 'arguments', '{}'::jsonb)) as id;
select throws_ok($$select sentinai_platform.handle_tool((select jsonb_agg(to_jsonb(l)) from sentinai.event_log l join unprepared on id = event_id))$$, 'SN409', 'the webhook was not called', 'a webhook that was not prepared is an error, which may pass');
insert into had select id from unprepared;

-- what cannot be kept, and what is redacted
create temp table k as select pg_temp.ask('pay') as deep;
select is(pg_temp.work(jsonb_build_object('status', 200, 'body', repeat('[', 1000) || repeat(']', 1000))) || pg_temp.work() || (select pg_temp.row(deep) from k),
    '1 called, (2,0,0)0 called, (1,0,0)failed 1 200 the response cannot be kept f 0', 'a response that no event may have');
select is((select string_agg(jsonb_typeof(sentinai_platform.read_response(v)), ' ' order by n) from unnest('{"{\"a\": [1e131000]}",1E+999,"[1, -1.5e4000]","[1e99, 1.5e-30]","[1e-9999]","\"5e123456\"","{\"id\":\"a-5e123\"}"}'::text[]) with ordinality t (v, n)),
    'string string string array string string object', 'nor is a few characters a megabyte');
select sentinai.set_redaction('m', 'ToolExecutionCompleted', '$.response.iban', 'replace');
create temp table i as select pg_temp.ask('pay') as iban;
select is(pg_temp.work('{"status": 200, "body": "{\"iban\": \"DE89\"}"}') || pg_temp.work() || (select pg_temp.row(iban) from i),
    '1 called, (1,0,0)0 called, (1,0,0)completed 1 200 {"iban": "[redacted]"} 0', 'is redacted as the event is');
select is((select count(*) from sentinai_platform.tool_executions x where x::text ~ 'DE89'), 0::bigint, 'and nowhere in clear');
select is((select pg_temp.row(x) from (select pg_temp.ask('pay') as x) t, lateral (select pg_temp.work('{"status": 200, "body": "no JSON \\u0000"}') || pg_temp.work()) u), 'completed 1 200 "no JSON \\u0000" 0', 'what is no JSON is a text');

-- the breaker
update sentinai_platform.tools set breaker_threshold = 3, breaker_open = '1 hour' where tool = 'pay';
create function pg_temp.breaker() returns text language sql as $$ select concat_ws(' ', state, failures, openings) from sentinai_platform.stat_tools where tool = 'pay' $$;
create temp table f as select pg_temp.ask('pay') as a, pg_temp.ask('pay') as b;
select is(pg_temp.work('{"status": 503, "body": ""}') || pg_temp.work() || (select pg_temp.row(a) from f), '2 called, (2,0,0)0 called, (2,0,0)failed 1 503 HTTP status 503 t 0', 'failures');
select is(pg_temp.breaker(), 'closed 2 0', 'are counted');
select isnt(pg_temp.ask('pay'), null, 'an answer');
select is(pg_temp.work('{"status": 404, "body": ""}') || pg_temp.breaker(), '1 called, (1,0,0)closed 0 0', 'that says no is an answer');
select isnt(pg_temp.ask('pay'), pg_temp.ask('pay'), 'two more');
select is(pg_temp.work('{"error": "timeout", "retryable": true}') || pg_temp.breaker(), '2 called, (3,0,0)closed 2 0', 'failures');
select isnt(pg_temp.ask('pay'), pg_temp.ask('pay'), 'and two');
select is(pg_temp.work('{"error": "timeout", "retryable": true}') || pg_temp.breaker(), '2 called, (4,0,0)open 0 1', 'open it');
create temp table o as select pg_temp.ask('pay') as id;
select is(pg_temp.work() || pg_temp.work() || (select pg_temp.row(id) from o), '0 called, (3,0,0)0 called, (1,0,0)failed 1 the circuit breaker of the tool is open t 0', 'then nothing is called');
update sentinai_platform.tool_breakers set since = since - interval '2 hours';
select is(pg_temp.breaker(), 'half-open 0 1', 'until its time is over');
select isnt(pg_temp.ask('pay'), pg_temp.ask('pay'), 'of two');
select is(pg_temp.work('{"status": 500, "body": ""}') || pg_temp.breaker(), '1 called, (2,0,0)open 0 2', 'one is called, and opens it again');
update sentinai_platform.tool_breakers set since = since - interval '2 hours';
select isnt(pg_temp.ask('pay', '{}', (select id from o)), null, 'a failed execution is requested again');
select is(pg_temp.work() || pg_temp.breaker(), '1 called, (3,0,0)closed 0 2', 'and its success closes it');
select is(pg_temp.work() || (select pg_temp.row(id) || ' ' || pg_temp.told(id) from o), '0 called, (1,0,0)completed 2 200 {} 0 Requested Failed Requested Completed', 'as the read model says');

-- built-in tools
create temp table u as select pg_temp.ask('set', '{"field": "severity", "value": "high"}') as a, pg_temp.ask('set', '{"field": "attributes.owner", "value": {"n": 1}}') as b,
    pg_temp.ask('set', '{"field": "severity", "value": "worst"}') as c, pg_temp.ask('set', '{"field": "category", "value": "x"}') as d,
    pg_temp.ask('tell') as n, pg_temp.ask('say', '{"what": 1}') as s, pg_temp.ask('pause', '{"seconds": 60}') as p, pg_temp.ask('pause', '{"seconds": 101}') as q;
select is(pg_temp.work(), '0 called, (8,0,0)', 'tools that need no call');
select is((select severity || (attributes ->> 'owner') from sentinai_platform.exceptions where exception_id = 'X'), 'high{"n": 1}', 'change fields at once');
select is(pg_temp.work() || (select concat_ws(',', pg_temp.row(a), pg_temp.row(c), pg_temp.row(d)) from u),
    '0 called, (7,0,0)completed 1 0,failed 1 the value does not fit the field f 0,failed 1 the tool may not change this field f 0', 'as far as they may');
select is((select payload from sentinai.event_log where event_type = 'DeskTold'), '{"what": 1}', 'publish an event');
select is((select concat_ws(',', pg_temp.row(n), pg_temp.row(p), pg_temp.row(q)) from u), 'completed 1 0,requested 1,failed 1 the tool may not wait so long f 0', 'notify and wait');
select lives_ok($$select sentinai.sla_scan(100000, clock_timestamp() + interval '61 seconds')$$, 'a minute later');
select is(pg_temp.work() || pg_temp.work() || (select pg_temp.row(p) from u), '0 called, (1,0,0)0 called, (1,0,0)completed 1 0', 'the wait is over');
update sentinai_platform.exceptions set severity = 'low', attributes = '{}' where exception_id = 'X';
create temp table was as select * from sentinai_platform.tool_executions;
delete from sentinai_platform.tool_executions;
select lives_ok($$select sentinai_platform.project_tools(pg_temp.seen()), sentinai_platform.project_updates(pg_temp.seen())$$, 'from the log');
select is((select count(*) from (select to_jsonb(w) from was w except select to_jsonb(x) from sentinai_platform.tool_executions x) d), 0::bigint, 'come the same rows');
select is((select severity || (attributes ->> 'owner') from sentinai_platform.exceptions where exception_id = 'X'), 'high{"n": 1}', 'and the fields that were changed');
select lives_ok($$select sentinai_platform.project_tools(pg_temp.seen())$$, 'told again');
select is((select count(*) from (select to_jsonb(w) from was w except select to_jsonb(x) from sentinai_platform.tool_executions x) d), 0::bigint, 'nothing changes');

-- the command, and pages
select throws_ok($$select sentinai_platform.execute_tool('m', 'nobody', 'pay')$$, 'SN404', 'no such exception', 'a tool is called for an exception');
select throws_ok($$select sentinai_platform.execute_tool('m', 'X', 'nothing')$$, 'SN404', 'no such tool', 'that there is, as the tool');
select is(pg_temp.detail($$select sentinai_platform.execute_tool('m', 'X', 'pay', '[]')$$), 'SN422 /arguments type', 'with arguments that fit');
select throws_ok($$select sentinai_platform.execute_tool('m', 'X', 'pay', idempotency_key => '')$$, 'SN422', null, 'and a key that is one');
-- somebody else has guessed the id
insert into sentinai_platform.commands (execution_id, tenant_id, exception_id, command, status, requested_at, requested_by)
    values (md5('execute_tool:m:k')::uuid, 'n', 'X', 'execute_tool', 'failed', now(), 'eve');
create temp table c as select sentinai_platform.execute_tool('m', 'X', 'pay', '{"a": 1}', 'mia', 'k') as id;
select is(sentinai_platform.execute_tool('m', 'X', 'pay', '{"a": 1}', 'mia', 'k'), (select id from c), 'once, by its key');
select is((select command || ' ' || status from sentinai_platform.get_command_status((select id from c)) where tenant_id = 'm'), 'execute_tool accepted', 'it is accepted');
select is(pg_temp.work(), '1 called, (1,0,0)', 'called');
select is((select string_agg(tenant_id || ' ' || status, ', ' order by tenant_id) from sentinai_platform.get_command_status((select id from c))), 'm completed, n failed', 'and completed, whoever else has its id');
select is((select requested_by || status from sentinai_platform.get_tool_execution('m', (select id from c))), 'miacompleted', 'one by its id');
select is((select string_agg(tool, ' ') from (select * from sentinai_platform.list_tool_executions('m', 'X', max_rows => 2)) l), 'pay pause', 'a page of them');
select is((select string_agg(l.tool, ' ') from sentinai_platform.list_tool_executions('m', status => 'completed', tool => 'say') l), 'say', 'by tool and status');
select is((select count(*) from sentinai_platform.list_tool_executions('m', before => (select min(opened_by::text)::uuid from sentinai_platform.tool_executions))), 0::bigint, 'and the page before the first');
select throws_ok($$select sentinai_platform.list_tool_executions('m', max_rows => 0)$$, 'SN422', null, 'of some size');

-- the key of a call: a tenant can name the execution of another one, and of a tool for all has a key of his own
insert into sentinai_platform.tools (tenant_id, tool, kind, settings) values ('*', 'shared', 'webhook', '{"url": "https://bank.example/s"}'), ('m', 'own', 'webhook', '{"url": "https://bank.example/o"}');
select sentinai.publish('ToolExecutionRequested', v.tenant, 'X', jsonb_build_object('exception_id', 'X', 'execution_id', 'f3a8a9ee-79b2-4b7a-9c1c-1f0f6a2a3b11'::uuid, 'tool', 'shared', 'arguments', '{}'::jsonb))
from (values ('m'), ('n o')) v (tenant);
select is((select string_agg(idempotency_key, ' ' order by idempotency_key collate "C") from sentinai_platform.prepare('tool', (select jsonb_agg(to_jsonb(l)) from sentinai.event_log l where payload ->> 'tool' = 'shared'))),
    'm:f3a8a9ee-79b2-4b7a-9c1c-1f0f6a2a3b11 n%20o:f3a8a9ee-79b2-4b7a-9c1c-1f0f6a2a3b11', 'two tenants have two keys');
select sentinai.publish('ToolExecutionRequested', 'm', 'X', jsonb_build_object('exception_id', 'X', 'execution_id', gen_random_uuid(), 'tool', 'own', 'arguments', '{}'::jsonb));
select is((select idempotency_key = execution_id::text from sentinai_platform.prepare('tool', (select jsonb_agg(to_jsonb(l)) from sentinai.event_log l where payload ->> 'tool' = 'own'))),
    true, 'with a tool of the tenant''s own it is the id');
-- the longest names there can be; services take 255 characters
select sentinai.publish('ToolExecutionRequested', v.tenant, 'L', jsonb_build_object('exception_id', 'L', 'execution_id', gen_random_uuid(), 'tool', 'shared', 'arguments', '{}'::jsonb))
from (values (repeat('ü', 128)), (repeat('ü', 127) || 'u'), (repeat('u', 200)), (repeat('u', 201))) v (tenant);
create temp table long_keys as select p.idempotency_key as key, l.tenant_id, p.execution_id from sentinai.event_log l
    cross join lateral sentinai_platform.prepare('tool', jsonb_build_array(to_jsonb(l))) p where l.aggregate_id = 'L' and l.event_type = 'ToolExecutionRequested';
select is((select concat_ws(' ', count(distinct key), max(length(key)) <= 255, bool_and(key ~ '^[!-~]+$'), bool_and(right(key, 37) = ':' || execution_id)) from long_keys), '4 t t t', 'no key is longer than services take, or another one''s');
select is((select string_agg(left(key, 7), ' ' order by tenant_id) from long_keys), 'uuuuuuu sha256= sha256= sha256=', 'the tenant is its hash where it would be too long');
select * from finish();
rollback;
