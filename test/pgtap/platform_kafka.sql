-- SPDX-License-Identifier: PostgreSQL
-- Records of Kafka through the handlers.
begin;
create extension sentinai_platform;
select plan(24);
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
select is((select count(*) from sentinai_platform.kafka_dead_letters), 1::bigint, 'and stays');

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
select is((select format('%s %s', (select status from sentinai_platform.get_command_status(pg_temp.of('h'))), (select count(*) from sentinai_platform.kafka_dead_letters where aggregate_id = 'H'))), 'completed 0', 'and then it is none any more');

-- arguments
select throws_ok($$select sentinai_platform.retry_kafka_dead_letter(pg_temp.of('h'), 'intake')$$, 'SN404', null, 'no letter');
select throws_ok($$select sentinai_platform.handle_records('intake', 't', 0, null)$$, '22004', null, 'no records');
select throws_ok($$select sentinai_platform.handle_records('intake', 't', 0, '{}')$$, 'SN422', null, 'no array');

select * from finish();
rollback;
