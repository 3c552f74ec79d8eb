-- SPDX-License-Identifier: PostgreSQL
-- What publish(), publish_batch(), outbox and the history functions answer to
-- arguments they refuse, word for word, and that nothing is stored then.
set client_min_messages = warning;
create extension if not exists sentinai;
set timezone = 'UTC';

-- try: state and text of the error that a statement raises
create function pg_temp.try(statement text) returns text language plpgsql as $$
declare
    detail text;
begin
    execute statement;
    return 'no error';
exception when others then
    get stacked diagnostics detail = pg_exception_detail;
    return concat_ws(' ', sqlstate || ':', sqlerrm, '(' || nullif(detail, '') || ')');
end $$;

create temp table calls (n int generated always as identity, call text);

-- publish: arguments
insert into calls (call) values
    ($$publish(null, 'refused', 'a', '{}')$$),
    ($$publish('t', null, 'a', '{}')$$),
    ($$publish('t', 'refused', 'a', null)$$),
    ($$publish('t', 'refused', 'a', '{}', null)$$),
    ($$publish('t', '', 'a', '{}')$$),
    ($$publish('t', repeat('x', 257), 'a', '{}')$$),
    ($$publish('t', repeat('x', 1000000), 'a', '{}')$$),
    ($$publish('t', E'refused\n', 'a', '{}')$$),
    ($$publish('t', E'refused\u009b31m', 'a', '{}')$$),
    ($$publish('t', 'refused', '', '{}')$$),
    ($$publish('t', 'refused', E'a\u202eb', '{}')$$),
    ($$publish('RetryScheduled', 'refused', 'a', '{}')$$),
    ($$publish('DeadLettered', 'refused', 'a', '{}')$$),
    ($$publish('t', 'refused', repeat('x', 1025), '{}')$$),
    ($$publish('t', 'refused', E'a\u007f', '{}')$$),
    ($$publish('', 'refused', 'a', '{}')$$),
    ($$publish('x''; DROP TABLE', 'refused', 'a', '{}')$$),
    ($$publish('1st', 'refused', 'a', '{}')$$),
    ($$publish('größer', 'refused', 'a', '{}')$$),
    ($$publish(repeat('x', 129), 'refused', 'a', '{}')$$),
    ($$publish('t', 'refused', 'a', '{}', aggregate_type => 'a b')$$),
    ($$publish('t', 'refused', 'a', '[]')$$),
    ($$publish('t', 'refused', 'a', '"{}"')$$),
    ($$publish('t', 'refused', 'a', 'null')$$),
    ($$publish('t', 'refused', 'a', jsonb_build_object('secret', repeat('x', 1048576)))$$),
    ($$publish('t', 'refused', 'a', '{}', metadata => '[1]')$$),
    ($$publish('t', 'refused', 'a', '{}', metadata => jsonb_build_object('m', repeat('x', 65536)))$$),
    ($$publish('t', 'refused', 'a', '{}', correlation_id => repeat('x', 513))$$),
    ($$publish('t', 'refused', 'a', '{}', correlation_id => E'a\r\nb')$$),
    ($$publish('t', 'refused', 'a', '{}', idempotency_key => '')$$),
    ($$publish('t', 'refused', 'a', '{}', idempotency_key => repeat('x', 513))$$),
    ($$publish('t', 'refused', 'a', '{}', idempotency_key => E'\u0001')$$),
    ($$publish('t', 'refused', 'a', '{}', schema_version => 0)$$),
    ($$publish('t', 'refused', 'a', '{}', schema_version => -1)$$),
    ($$publish('t', 'refused', 'a', '{}', deliver_at => 'infinity')$$),
    ($$publish('t', 'refused', 'a', '{}', deliver_at => '-infinity')$$),
    ($$publish('t', 'refused', 'a', '{}', deliver_at => now() + interval '10 years 1 week')$$);
select call, pg_temp.try('select sentinai.' || call) as answer
  from calls order by n \gx
truncate calls;

-- publish_batch: arrays and their elements
insert into calls (call) values
    ($$publish_batch(null, '{}', '{}', '{}')$$),
    ($$publish_batch('{}', null, '{}', '{}')$$),
    ($$publish_batch('{}', '{}', null, '{}')$$),
    ($$publish_batch('{}', '{}', '{}', null)$$),
    ($$publish_batch('{t}', '{refused,refused}', '{a}', '{"{}"}')$$),
    ($$publish_batch('{t}', '{refused}', '{}', '{"{}"}')$$),
    ($$publish_batch('{t}', '{refused}', '{a}', '{"{}","{}"}')$$),
    ($$publish_batch('{{t},{t}}', '{refused,refused}', '{a,b}', '{"{}","{}"}')$$),
    ($$publish_batch('{t}', '{refused}', '{a}', '{"{}"}', correlation_ids => '{}')$$),
    ($$publish_batch('{t}', '{refused}', '{a}', '{"{}"}', aggregate_type => null)$$),
    ($$publish_batch('{t}', '{refused}', '{a}', '{"{}"}', metadata => '1')$$),
    ($$publish_batch('{t,null}', '{refused,refused}', '{a,b}', '{"{}","{}"}')$$),
    ($$publish_batch('{t,t}', '{refused,null}', '{a,b}', '{"{}","{}"}')$$),
    ($$publish_batch('{t,t}', '{refused,""}', '{a,b}', '{"{}","{}"}')$$),
    ($$publish_batch('{t,t}', '{refused,refused}', '{a,""}', '{"{}","{}"}')$$),
    ($$publish_batch('{t,t,t}', '{refused,refused,refused}', '{a,b,c}', '{"{}","{}","[]"}')$$),
    ($$publish_batch('{t,t}', '{refused,refused}', '{a,b}', '{"{}",null}')$$),
    ($$publish_batch('{t,DeadLettered}', '{refused,refused}', '{a,b}', '{"{}","{}"}')$$),
    ($$publish_batch('{t,t}', '{refused,refused}', '{a,b}', '{"{}","{}"}', correlation_ids => array[null, E'\n'])$$),
    ($$publish_batch(array_fill('t'::text, '{100001}'), '{}', '{}', '{}')$$);
select call, pg_temp.try('select sentinai.' || call) as answer
  from calls order by n \gx
truncate calls;

-- outbox
insert into calls (call) values
    ($$insert into sentinai.outbox (tenant_id, aggregateid, type) values ('refused', 'a', 't')$$),
    ($$insert into sentinai.outbox (aggregateid, type, payload) values ('a', 't', '{}')$$),
    ($$insert into sentinai.outbox (tenant_id, aggregatetype, aggregateid, type, payload) values ('refused', null, 'a', 't', '{}')$$),
    ($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('refused', 'a', 'RetryScheduled', '{}')$$),
    ($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values (E'refused\u2028', 'a', 't', '{}')$$),
    ($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) select 'refused', 'a', 't', case when i = 2000 then '7' else '{}' end::jsonb from generate_series(1, 2000) i$$),
    ($$update sentinai.outbox set type = 'u' where false$$),
    ($$delete from sentinai.outbox where tenant_id = 'refused'$$),
    ($$truncate sentinai.outbox$$),
    ($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('refused', 'a', 't', '{}') on conflict (id) do nothing$$),
    ($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('refused', 'a', 't', '{}') on conflict (id) do update set type = 'u'$$),
    ($$create foreign table pg_temp.other (id uuid) server sentinai_outbox$$),
    ($$insert into other values (null)$$),
    ($$select * from other$$);
select call, pg_temp.try(call) as answer from calls order by n \gx
truncate calls;

-- partitions, keys, history
insert into calls (call) values
    ($$make_partitions(null)$$),
    ($$make_partitions('infinity')$$),
    ($$make_partitions('-infinity')$$),
    ($$make_partitions('294000-01-01')$$),
    ($$refuse_change()$$),
    ($$partition_for('t', 'a', 0)$$),
    ($$get_events_by_exception(null, 'a')$$),
    ($$get_events_by_exception('t', null)$$),
    ($$get_events_by_tenant(null)$$),
    ($$get_events_by_tenant('t', max_events => 0)$$),
    ($$get_events_by_tenant('t', max_events => null)$$),
    ($$get_events_by_tenant('t', max_events => 10001)$$),
    ($$get_events_by_tenant('t', event_types => '{a,null}')$$);
select call, pg_temp.try('select sentinai.' || call) as answer
  from calls order by n \gx

-- none of it left anything
select count(*) from sentinai.event_log where tenant_id in ('refused', '');
select count(*) from sentinai_internal.event_idempotency where tenant_id in ('refused', '');

-- a read-only transaction
begin read only;
select sentinai.publish('t', 'refused', 'a', '{}');
rollback;
begin read only;
select sentinai.publish_batch('{t}', '{refused}', '{a}', '{"{}"}');
rollback;
begin read only;
insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('refused', 'a', 't', '{}');
rollback;
begin read only;
select sentinai.make_partitions(now());
rollback;

-- the log cannot be changed, not by its owner either
select sentinai.publish('t', 'kept', 'a', '{}') is not null as published;
update sentinai.event_log set tenant_id = 'x';
delete from sentinai.event_log;
truncate sentinai_internal.event_log;
set session_replication_role = replica;
delete from sentinai.event_log where tenant_id = 'kept';
reset session_replication_role;
create function pg_temp.change_partition(how text) returns text language plpgsql as $$
declare
    part regclass;
begin
    select tableoid into part from sentinai_internal.event_log where tenant_id = 'kept' limit 1;
    execute format(how, part);
    return 'no error';
exception when others then
    return sqlstate;
end $$;
select how, pg_temp.change_partition(how)
  from unnest(array['update %s set tenant_id = ''x''', 'delete from %s', 'truncate %s']) how;
select count(*) > 0 as kept from sentinai.event_log where tenant_id = 'kept';

-- keys
select sentinai.get_partition_key('t', 'a'), sentinai.get_partition_key('t', null),
       sentinai.get_partition_key(null, 'a');
select sentinai.partition_hash('t:a') = (select partition_hash from sentinai.event_log where tenant_id = 'kept' limit 1) as same,
       sentinai.partition_hash('kept:a') = (select partition_hash from sentinai.event_log where tenant_id = 'kept' limit 1) as same;
select sentinai.partition_for('t', 'a', 12) = (sentinai.partition_hash('t:a') & 2147483647) % 12 as same;

-- every function of this room is described
select p.oid::regprocedure from pg_proc p
 where pronamespace = 'sentinai'::regnamespace and obj_description(p.oid, 'pg_proc') is null
   and proname in ('publish', 'publish_batch', 'make_partitions', 'refuse_change', 'outbox_handler', 'outbox_given',
                   'get_partition_key', 'partition_hash', 'partition_for', 'get_events_by_aggregate', 'get_events_by_exception', 'get_events_by_tenant');

-- COPY into the outbox: rows of a tenant make runs, an id given is kept
set client_min_messages = error;
copy sentinai.outbox (tenant_id, aggregateid, type, payload) from stdin;
copied	a	t1	{"n": 1}
copied	b	t1	{"n": 2}
copied	a	t1	{"n": 3}
copied too	a	t1	{"n": 4}
\.
copy sentinai.outbox (id, tenant_id, aggregateid, type, payload) from stdin;
\N	copied	a	t1	{"n": 5}
00000000-0000-0000-0000-000000000001	copied	a	t1	{"n": 6}
\N	copied	b	t1	{"n": 7}
\.
select payload, run, metadata from sentinai.event_log where tenant_id like 'copied%' order by event_id;
copy sentinai.outbox (id, tenant_id, aggregateid, type, payload) from stdin;
\N	copied	a	t1	{"n": 8}
00000000-0000-0000-0000-000000000001	copied	a	t1	{"n": 6}
\.
copy sentinai.outbox (tenant_id, aggregateid, type, payload) from stdin;
copied	a	t1	{"n": 9}
	a	t1	{"n": 10}
\.
select count(*) from sentinai.event_log where tenant_id like 'copied%';
-- COPY into another table whose trigger publishes: it gets the ids
create temp table orders (id int, event_id uuid);
create function pg_temp.publish_order() returns trigger language plpgsql as $$
begin
    insert into sentinai.outbox (tenant_id, aggregateid, type, payload)
    values ('copied', new.id, 'Ordered', '{}') returning id into new.event_id;
    return new;
end $$;
create trigger publish_order before insert on orders for each row execute function pg_temp.publish_order();
copy orders (id) from stdin;
1
2
\.
select o.id, l.aggregate_id, l.run from orders o join sentinai.event_log l using (event_id) order by o.id;

-- What is wrong with a setting
\set VERBOSITY default
alter system set sentinai.kafka_conf = 'nonsense';
alter system set sentinai.kafka_conf = 'bootstrap.servers=localhost,sasl.password=x';
alter system set sentinai.topic_template = '{nope}';
