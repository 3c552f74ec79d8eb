-- SPDX-License-Identifier: PostgreSQL
-- Records of Kafka through the handlers.
begin;
create extension sentinai_platform;
select plan(64);
\ir lib/platform.sql

-- record(): what an agent makes of the record of an event
create function pg_temp.record(event uuid, record_offset bigint, attempt int default 1) returns jsonb language sql as $$
    select jsonb_build_object('event_id', event_id, 'event_type', event_type, 'tenant_id', tenant_id, 'aggregate_id', aggregate_id,
        'correlation_id', correlation_id, 'occurred_at', occurred_at, 'value', payload::text, 'offset', record_offset, 'attempt', attempt)
    from sentinai.event_log where event_id = event $$;
create function pg_temp.handle(records jsonb, agent text default 'intake', max_attempts int default 5) returns text language sql as $$
    select format('%s %s %s %s %s', handled, dead, poison, failed, waiting) from sentinai_platform.handle_records(agent, 't', 0, records, max_attempts) $$;
create function pg_temp.submit(id text, amount text default '1', tenant text default 'acme') returns uuid language sql as $$
    select sentinai_platform.submit_exception(tenant, 's', jsonb_build_object('amount', amount), id) $$;

create temp table e (name text primary key, id uuid);
insert into e values ('a', pg_temp.submit('A')), ('b', pg_temp.submit('B'));
create function pg_temp.of(name text) returns uuid language sql as $$ select id from e where e.name = of.name $$;

select is(pg_temp.handle('[]'), '0 0 {} {} {}', 'nothing is nothing');
select is(pg_temp.handle(jsonb_build_array(pg_temp.record(pg_temp.of('a'), 1), pg_temp.record(pg_temp.of('b'), 2))), '2 0 {} {} {}', 'events of both keys are handled');
select is((select string_agg(exception_id, '') from sentinai_platform.exceptions), 'AB', 'by the handler');
select is((select count(*) from sentinai.event_processing where worker_type = 'intake'), 2::bigint, 'and noted in the ledger');
select is(pg_temp.handle(jsonb_build_array(pg_temp.record(pg_temp.of('a'), 1))), '0 0 {} {} {}', 'a second time there is nothing to do');
insert into e values ('c', pg_temp.submit('C'));
select is(pg_temp.handle(jsonb_build_array(pg_temp.record(pg_temp.of('a'), 1), pg_temp.record(pg_temp.of('c'), 3), pg_temp.record(pg_temp.of('c'), 4))), '1 0 {} {} {}', 'of old, new and twice the same the new one is done once');
select is(pg_temp.handle(jsonb_build_array(pg_temp.record(pg_temp.of('a'), 1)), 'triage'), '0 0 {} {} {}', 'an event that the agent has not is passed');

-- poison
insert into e values ('d', pg_temp.submit('D'));
select is(pg_temp.handle(jsonb_build_array(pg_temp.record(pg_temp.of('d'), 5) || '{"value": "{\"broken\": "}', pg_temp.record(pg_temp.of('d'), 6) || '{"event_id": "none"}',
    pg_temp.record(pg_temp.of('d'), 7) || '{"occurred_at": "never"}', pg_temp.record(pg_temp.of('d'), 8) || '{"value": "{\"a\": \"\\u0000\"}"}', pg_temp.record(pg_temp.of('d'), 9))), '1 0 {5,6,7,8} {} {}', 'what cannot be read stops no other');
select is(pg_temp.handle(jsonb_build_array(pg_temp.record(pg_temp.of('d'), 12) || jsonb_build_object('value', repeat('[', 50000) || repeat(']', 50000)))), '0 0 {12} {} {}', 'nor does what is too deep to be read');

-- wrong for ever
insert into e values ('f', pg_temp.submit('F', 'much')), ('g', pg_temp.submit('G'));
select is(pg_temp.handle(jsonb_build_array(pg_temp.record(pg_temp.of('f'), 10), pg_temp.record(pg_temp.of('g'), 11))), '1 1 {} {} {}', 'what is wrong for ever dies at once, and no other with it');
select is((select format('%s %s %s %s %s %s', worker_type, aggregate_id, attempts, topic, kafka_partition, kafka_offset) from sentinai_platform.kafka_dead_letters), 'intake F 1 t 0 10', 'with where it came from');
select matches((select error from sentinai_platform.kafka_dead_letters), '^SN422: .*"/data/amount"', 'and why');
select is((select status from sentinai_platform.get_command_status(pg_temp.of('f'))), 'failed', 'its command has failed');
select is(pg_temp.handle(jsonb_build_array(pg_temp.record(pg_temp.of('f'), 10))), '0 0 {} {} {}', 'and it is not tried again when its record comes once more');
select throws_ok($$select sentinai_platform.retry_kafka_dead_letter(pg_temp.of('f'), 'intake')$$, 'SN422', null, 'nor does it work when somebody tries');
select is((select string_agg(status, ' ') from sentinai_platform.kafka_dead_letters), 'pending', 'and stays');

-- wrong for a while
create function pg_temp.trouble() returns trigger language plpgsql as $$ begin raise exception 'trouble'; end $$;
create trigger trouble before insert on sentinai_platform.exceptions for each row when (new.exception_id = 'H') execute function pg_temp.trouble();
insert into e values ('h', pg_temp.submit('H')), ('i', pg_temp.submit('I'));
create function pg_temp.three(attempt int) returns jsonb language sql as $$
    select jsonb_build_array(pg_temp.record(pg_temp.of('h'), 12, attempt), pg_temp.record(pg_temp.of('h'), 13) || jsonb_build_object('event_id', '019aac3c-7d3f-7c52-9d0f-5b1a6f0c9e11'), pg_temp.record(pg_temp.of('i'), 14)) $$;
select is(pg_temp.handle(pg_temp.three(1)), '1 0 {} {12} {13}', 'what fails comes again, and what has its key waits');
select is(pg_temp.handle(pg_temp.three(4)), '0 0 {} {12} {13}', 'again');
select is(pg_temp.handle(pg_temp.three(5)), '0 1 {} {13} {}', 'after the last attempt the next one of the key has its turn');
drop trigger trouble on sentinai_platform.exceptions;
select lives_ok($$select sentinai_platform.retry_kafka_dead_letter(pg_temp.of('h'), 'intake')$$, 'it can be handled when its trouble is over');
select is((select format('%s %s', (select status from sentinai_platform.get_command_status(pg_temp.of('h'))), (select status || ' ' || (settled_by = current_user) from sentinai_platform.kafka_dead_letters where aggregate_id = 'H'))), 'completed succeeded true', 'and then it has succeeded');

-- what is told of it: as fail() tells it
create function pg_temp.told(name text) returns text language sql as $$
    select string_agg(concat_ws(' ', c.event_type, c.payload ->> 'worker_type', c.payload ->> 'attempt', c.payload ->> 'error',
        extract(epoch from (c.payload ->> 'due_at')::timestamptz - c.occurred_at)::int), ', ' order by c.event_id)
    from sentinai.event_log c where c.causation_id = pg_temp.of(name) and c.event_type in ('RetryScheduled', 'DeadLettered') $$;
select is(pg_temp.told('h'), 'RetryScheduled intake 1 P0001: trouble 1, RetryScheduled intake 4 P0001: trouble 8, DeadLettered intake 5 P0001: trouble', 'retries and the end are events of the exception');
select matches(pg_temp.told('f'), '^DeadLettered intake 1 SN422: .*"/data/amount"}]$', 'what is wrong for ever has only the end');
create trigger trouble before insert on sentinai_platform.exceptions for each row when (new.exception_id = 'J') execute function pg_temp.trouble();
insert into e values ('j', pg_temp.submit('J'));
select is((select format('%s %s', failed, delays) from sentinai_platform.handle_records('intake', 't', 0, jsonb_build_array(pg_temp.record(pg_temp.of('j'), 15, 2)))), '{15} {2000}', 'the wait is doubled');
select is((select format('%s %s', failed, delays) from sentinai_platform.handle_records('intake', 't', 0, jsonb_build_array(pg_temp.record(pg_temp.of('j'), 15, 3)), backoff => '{5 s,7 s}')), '{15} {7000}', 'or what was asked for, the last one for all that follow');
drop trigger trouble on sentinai_platform.exceptions;
select is(pg_temp.handle(jsonb_build_array(pg_temp.record(pg_temp.of('j'), 15) || '{"event_id": "019aac3c-7d3f-7c52-9d0f-5b1a6f0c9e12", "value": "{}"}')), '0 1 {} {} {}', 'an event that the log does not have');
select is((select error from sentinai_platform.kafka_dead_letters where kafka_offset = 15) ~ '^SN422: ', true, 'dies as others do');
select is((select count(*) from sentinai.event_log where causation_id = '019aac3c-7d3f-7c52-9d0f-5b1a6f0c9e12'), 0::bigint, 'and nothing is told of it');

-- letters that are settled
select throws_ok($$select sentinai_platform.discard_kafka_dead_letter(pg_temp.of('h'), 'intake', 'late')$$, 'SN404', null, 'what has succeeded cannot be discarded');
select lives_ok($$select sentinai_platform.discard_kafka_dead_letter(pg_temp.of('f'), 'intake', 'a typo', 'mia')$$, 'what nobody wants can');
select is((select concat_ws(' ', status, settled_by, settled_because) from sentinai_platform.kafka_dead_letters where event_id = pg_temp.of('f')), 'discarded mia a typo', 'by whom, and why');
select throws_ok($$select sentinai_platform.retry_kafka_dead_letter(pg_temp.of('f'), 'intake')$$, 'SN404', null, 'and is not tried again');
select is(pg_temp.handle(jsonb_build_array(pg_temp.record(pg_temp.of('f'), 10))), '0 0 {} {} {}', 'nor is it when its record comes once more');
select is(sentinai_platform.purge_kafka_dead_letters(now() - interval '1 h'), 0, 'none was settled before');
update sentinai_platform.kafka_dead_letters set settled_at = now() - interval '91 days' where status = 'succeeded';
insert into e values ('k', pg_temp.submit('K', 'much'));
select is(pg_temp.handle(jsonb_build_array(pg_temp.record(pg_temp.of('k'), 20))), '0 1 {} {} {}', 'one more letter');
select is((select string_agg(distinct status, ' ' order by status) from sentinai_platform.kafka_dead_letters), 'discarded pending', 'takes those with it that were settled 90 days ago');
select is(sentinai_platform.purge_kafka_dead_letters('infinity'), 1, 'others go when somebody says so');
select is((select string_agg(distinct status, ' ') from sentinai_platform.kafka_dead_letters), 'pending', 'but none that is pending');

-- what is told of them: as retry_dead_letter() and discard_dead_letter() tell it
create function pg_temp.settled(name text) returns text language sql as $$
    select string_agg(concat_ws(' ', c.event_type, c.aggregate_id, c.payload - 'event_id'), ', ' order by c.event_id)
    from sentinai.event_log c where c.causation_id = pg_temp.of(name) and c.event_type in ('DeadLetterRetried', 'DeadLetterDiscarded') $$;
select is(pg_temp.settled('h'), format('DeadLetterRetried H {"actor": "%s", "reason": null, "event_type": "ExceptionIngested", "worker_type": "intake"}', current_user), 'one that was tried again is an event of its exception');
select is(pg_temp.settled('f'), 'DeadLetterDiscarded F {"actor": "mia", "reason": "a typo", "event_type": "ExceptionIngested", "worker_type": "intake"}', 'so is one that was discarded, once');
select is((select string_agg(concat_ws(' ', a.aggregate_id, a.actor, a.reason, a.after ->> 'status'), ', ' order by a.aggregate_id) from sentinai.actions a where a.action = 'mark_as_settled' and a.tenant_id = 'acme'),
    format('F mia a typo discarded, H %s retried', current_user), 'and a row of actions');
select throws_ok($$select sentinai_platform.discard_kafka_dead_letter(pg_temp.of('k'), 'intake', repeat('x', 9000))$$, 'SN422', null, 'a reason that no event may have');
select sentinai.set_redaction('acme', '*', '$.pan', 'secrets');
select lives_ok($$select sentinai_platform.discard_kafka_dead_letter(pg_temp.of('k'), 'intake', 'card 4111 1111 1111 1111', 'mia')$$, 'one with a secret');
select is((select settled_because from sentinai_platform.kafka_dead_letters where event_id = pg_temp.of('k')), 'card [redacted]', 'is kept without it');
select lives_ok($$select sentinai_platform.discard_kafka_dead_letter('019aac3c-7d3f-7c52-9d0f-5b1a6f0c9e12', 'intake', 'card 4111 1111 1111 1111', 'mia 4111 1111 1111 1111')$$, 'one of an event that the log does not have');
select is((select concat_ws(', ', status, settled_by, settled_because) from sentinai_platform.kafka_dead_letters where event_id = '019aac3c-7d3f-7c52-9d0f-5b1a6f0c9e12'), 'discarded, mia [redacted], card [redacted]', 'too');
select sentinai.drop_redaction('acme', '*', '$.pan');

-- tools: what is to be called, and what came of it
insert into sentinai_platform.allowed_hosts (tenant_id, host, port) values ('*', 'example.com', 443);
insert into sentinai_platform.tools (tenant_id, tool, kind, settings, max_attempts) values ('*', 'call', 'webhook', '{"url": "https://example.com/x"}', 3), ('*', 'more', 'webhook', '{"url": "https://example.com/y"}', 9);
create function pg_temp.ask(name text, tool text, exception text) returns void language sql as $$
    insert into e values (name, sentinai.publish('ToolExecutionRequested', 'acme', exception, jsonb_build_object('exception_id', exception, 'execution_id', gen_random_uuid(), 'tool', tool, 'arguments', '{}'::jsonb))) $$;
select pg_temp.ask('t1', 'call', 'A'), pg_temp.ask('t2', 'call', 'A'), pg_temp.ask('t3', 'call', 'B'), pg_temp.ask('t4', 'more', 'C');
create function pg_temp.calls(names text[], attempt int default 1, answer jsonb default null) returns jsonb language sql as $$
    select jsonb_agg(pg_temp.record(pg_temp.of(n), 30 + o, attempt) || case when answer is null then '{}' else jsonb_build_object('result', answer) end order by o)
    from unnest(names) with ordinality u (n, o) $$;
create function pg_temp.prepared(records jsonb) returns text language sql as $$
    select coalesce(string_agg(e.name || ' ' || p.method || ' ' || p.url, ', ' order by e.name), '') from sentinai_platform.prepare_records('tool', records) p join e on e.id = p.event_id $$;
select is(pg_temp.prepared(pg_temp.calls('{t1,t2,t3}')), 't1 POST https://example.com/x, t2 POST https://example.com/x, t3 POST https://example.com/x', 'what is to be called');
select is(pg_temp.prepared(pg_temp.calls('{t1}') || '[{"event_id": "none", "event_type": "ToolExecutionRequested", "tenant_id": "acme", "value": "{}"}]'), 't1 POST https://example.com/x', 'beside what cannot be read');
select is((select format('%s %s %s %s %s', handled, dead, failed, delays, waiting) from sentinai_platform.handle_records('tool', 't', 0,
    pg_temp.calls('{t1}', 1, '{"status": 503}') || (pg_temp.calls('{t1,t2}', 1, '{"status": 200}') -> 1) || (pg_temp.calls('{t1,t2,t3}', 1, '{"status": 200, "body": "{}"}') -> 2))),
    '1 0 {31} {1000} {32}', 'what has failed is called again, and what is behind it waits with its result');
select is(pg_temp.told('t1'), 'RetryScheduled tool 1 HTTP status 503 1', 'which is told');
select is(pg_temp.prepared(pg_temp.calls('{t1,t2,t3}', 2)), 't1 POST https://example.com/x, t2 POST https://example.com/x', 'what is done is not called any more');
select is(pg_temp.handle(pg_temp.calls('{t1,t2,t3}', 3, '{"status": 503}'), 'tool'), '2 0 {} {} {}', 'after the attempts of the tool it is over');
select is((select string_agg(e.event_type, ' ' order by e.event_id) from sentinai.event_log e where e.causation_id in (pg_temp.of('t1'), pg_temp.of('t2'), pg_temp.of('t3')) and e.event_type ~ '^Tool'),
    'ToolExecutionCompleted ToolExecutionFailed ToolExecutionFailed', 'each with one outcome');
select is(pg_temp.prepared(pg_temp.calls('{t4}', 5)), 't4 POST https://example.com/y', 'one that is tried more often');
select is(pg_temp.handle(pg_temp.calls('{t4}', 5, '{"status": 503}'), 'tool'), '0 1 {} {} {}', 'and before them, when the agent has no more');
select is((select concat_ws(' ', status, error) from sentinai_platform.kafka_dead_letters where event_id = pg_temp.of('t4')), 'pending HTTP status 503', 'with a letter');
select is((select string_agg(e.event_type, ' ' order by e.event_id) from sentinai.event_log e where e.causation_id = pg_temp.of('t4')), 'DeadLettered ToolExecutionFailed', 'the playbook hears of it');
select pg_temp.ask('t5', 'more', 'D'), pg_temp.ask('t6', 'more', 'E');
select is(pg_temp.prepared(pg_temp.calls('{t5,t6}', 5)) <> '', true, 'two more');
select is(pg_temp.handle(jsonb_build_array(pg_temp.calls('{t5}', 5, jsonb_build_object('status', 503, 'body', repeat('[', 1000) || repeat(']', 1000))) -> 0, pg_temp.calls('{t5,t6}', 5, '{"status": 503}') -> 1), 'tool'),
    '0 2 {} {} {}', 'of two, one has an answer that no event may have');
select is((select string_agg(e.payload ->> 'error', ', ' order by e.payload ->> 'error') from sentinai.event_log e where e.causation_id in (pg_temp.of('t5'), pg_temp.of('t6')) and e.event_type = 'ToolExecutionFailed'),
    'HTTP status 503, the response cannot be kept', 'which is the matter of that one');

-- arguments
select throws_ok($$select sentinai_platform.handle_records('intake', 't', 0, '[]', backoff => '{}')$$, 'SN422', null, 'no backoff');
select throws_ok($$select sentinai_platform.retry_kafka_dead_letter(pg_temp.of('h'), 'intake')$$, 'SN404', null, 'no letter');
select throws_ok($$select sentinai_platform.handle_records('intake', 't', 0, null)$$, '22004', null, 'no records');
select throws_ok($$select sentinai_platform.handle_records('intake', 't', 0, '{}')$$, 'SN422', null, 'no array');

select * from finish();
rollback;
