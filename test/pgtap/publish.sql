-- SPDX-License-Identifier: PostgreSQL
-- What publish(), publish_batch() and outbox store.
begin;
select plan(54);

-- One event, everything given
create temp table one as
select sentinai.publish('order.created', 'pub', 'größe-1', '{"b": [1, {"c": null}], "a": "ä"}',
                        aggregate_type => 'order', metadata => '{"user": "u"}',
                        correlation_id => 'corr', causation_id => '01941f29-7c00-7000-8000-000000000001',
                        deliver_at => '2026-01-01 00:00+00'::timestamptz + (now() - '2026-01-01 00:00+00') + interval '1 hour',
                        schema_version => 7) as id;
select is((select count(*) from sentinai.event_log where event_id = (select id from one)), 1::bigint, 'one row for one call');
select is(l.event_type, 'order.created', 'event_type') from sentinai.event_log l join one on id = event_id;
select is(l.tenant_id || ' ' || l.aggregate_type || ' ' || l.aggregate_id, 'pub order größe-1', 'whose it is') from sentinai.event_log l join one on id = event_id;
select is(l.payload, '{"b": [1, {"c": null}], "a": "ä"}', 'payload') from sentinai.event_log l join one on id = event_id;
select is(l.metadata, '{"user": "u"}', 'metadata') from sentinai.event_log l join one on id = event_id;
select is(l.correlation_id, 'corr', 'correlation_id') from sentinai.event_log l join one on id = event_id;
select is(l.causation_id, '01941f29-7c00-7000-8000-000000000001', 'causation_id') from sentinai.event_log l join one on id = event_id;
select is(l.schema_version, 7, 'schema_version') from sentinai.event_log l join one on id = event_id;
select is(l.deliver_at, now() + interval '1 hour', 'deliver_at') from sentinai.event_log l join one on id = event_id;
select is(l.txid, pg_current_xact_id()::text::bigint + coalesce((select txid_offset from sentinai_internal.node order by node_no desc limit 1), 0),
          'txid is the top-level transaction''s') from sentinai.event_log l join one on id = event_id;
select is(l.partition_hash, sentinai.partition_hash('pub:größe-1'), 'partition_hash is of the key') from sentinai.event_log l join one on id = event_id;
select is(substr(id::text, 15, 1) || ' ' || (substr(id::text, 20, 1) ~ '[89ab]'), '7 true', 'the id is a UUIDv7') from one;
select is(floor(extract(epoch from l.occurred_at) * 1000)::bigint,
          ('x' || replace(substr(l.event_id::text, 1, 13), '-', ''))::bit(48)::bigint,
          'occurred_at is the time in the id') from sentinai.event_log l join one on id = event_id;
select cmp_ok(abs(extract(epoch from clock_timestamp() - l.occurred_at)), '<', 60::numeric, 'and that is about now') from sentinai.event_log l join one on id = event_id;

-- Defaults
create temp table plain as select sentinai.publish('t', 'pub', null, '{}', metadata => null, schema_version => null,
                                                   deliver_at => now() - interval '1 day') as id;
select is(l.aggregate_id, null, 'aggregate_id may be null') from sentinai.event_log l join plain on id = event_id;
select is(l.partition_hash, sentinai.partition_hash('pub'), 'and the key is the tenant then') from sentinai.event_log l join plain on id = event_id;
select is(l.metadata, '{}', 'no metadata is an empty object') from sentinai.event_log l join plain on id = event_id;
select is(l.schema_version, 1, 'no schema_version is 1') from sentinai.event_log l join plain on id = event_id;
select is(l.deliver_at, null, 'a deliver_at that has passed is at once') from sentinai.event_log l join plain on id = event_id;
select is(l.aggregate_type, 'exception', 'aggregate_type is exception') from sentinai.event_log l join plain on id = event_id;

-- Limits that are still allowed
select lives_ok($$select sentinai.publish(repeat('x', 128), repeat('x', 256), repeat('x', 1024), '{}', correlation_id => repeat('x', 512))$$, 'longest names');
select lives_ok($$select sentinai.publish('t', 'pub', 'a', jsonb_build_object('k', repeat('x', 1048000)))$$, 'largest payload');
select lives_ok($$select sentinai.publish('a.B_c:d-e/9', 'pub', 'a', '{}', deliver_at => now() + interval '9 years')$$, 'type with every sign');
select is((select payload ->> 'k' from sentinai.event_log where tenant_id = 'pub' and payload ? 'k'), repeat('x', 1048000), 'a large payload comes back whole');

-- Order and savepoints
create temp table many as select i, sentinai.publish('t', 'pub-order', 'a', '{}') as id from generate_series(1, 5000) i;
select is((select count(*) from (select id, lag(id) over (order by i) as before from many) m where id <= before), 0::bigint, 'ids rise call by call');
savepoint s;
select sentinai.publish('t', 'pub-gone', 'a', '{}');
rollback to s;
select is((select count(*) from sentinai.event_log where tenant_id = 'pub-gone'), 0::bigint, 'a savepoint takes its events back');
savepoint s;
select sentinai.publish('t', 'pub-sub', 'a', '{}');
release s;
select is((select txid from sentinai.event_log where tenant_id = 'pub-sub'), (select txid from sentinai.event_log join one on id = event_id), 'a subtransaction''s event has the number of the top-level one');

-- A partition key tells its tenant: ('a:b', 'c') would have the key of ('a', 'b:c')
select throws_ok($$ select sentinai.publish('t', 'a:b', 'c', '{}') $$, 'SN422', 'tenant_id must not contain ":"', 'a tenant has no colon');
select lives_ok($$ select sentinai.publish('t', 'a', 'b:c', '{}') $$, 'an aggregate may');

-- Batch
create temp table batch as
select sentinai.publish_batch(
    array(select 't' || i from generate_series(1, 3000) i),
    array(select 'pub-batch' || i % 2 from generate_series(1, 3000) i),
    array(select nullif('a' || i % 7, 'a0') from generate_series(1, 3000) i),
    array(select jsonb_build_object('i', i) from generate_series(1, 3000) i),
    'order', '{"m": 1}',
    array(select nullif('c' || i % 3, 'c0') from generate_series(1, 3000) i)) as ids;
create temp table batch_rows as
select * from batch, unnest(ids) with ordinality u (id, i) join sentinai.event_log l on event_id = id;
select is((select count(*) from batch_rows), 3000::bigint, 'a batch is stored');
select is((select count(*) from batch_rows where event_type = 't' || i and payload = jsonb_build_object('i', i)
              and tenant_id = 'pub-batch' || i % 2 and aggregate_id is not distinct from nullif('a' || i % 7, 'a0')
              and correlation_id is not distinct from coalesce(nullif('c' || i % 3, 'c0'), aggregate_id)
              and aggregate_type = 'order' and metadata = '{"m": 1}' and schema_version = 1
              and partition_hash = sentinai.partition_hash(sentinai.get_partition_key(tenant_id, aggregate_id))),
          3000::bigint, 'each row as its elements say');
select is((select count(*) from (select i, lag(i) over (partition by tenant_id order by id) as before from batch_rows) o where i < before), 0::bigint, 'ids of a tenant rise with the place in the batch');
select is(sentinai.publish_batch('{}', '{}', '{}', '{}'), '{}'::uuid[], 'an empty batch is an empty answer');
select is(cardinality(sentinai.publish_batch('{t}', '{pub}', '{a}', '{"{}"}', metadata => null)), 1, 'a batch of one, no metadata');
select throws_ok($$select sentinai.publish_batch('{t,t}', '{pub-none,pub-none}', '{a,a}', array['{}', '[]']::jsonb[])$$, 'SN422', null, 'one bad element refuses all');
select is((select count(*) from sentinai.event_log where tenant_id = 'pub-none'), 0::bigint, 'and nothing of it is stored');

-- Outbox
create temp table out_one (id uuid, metadata jsonb);
with i as (
    insert into sentinai.outbox (tenant_id, aggregatetype, aggregateid, type, payload, metadata)
    values ('pub-out', 'order', 'a1', 'order.paid', '{"x": 1}', '{"m": 2}') returning id, metadata)
insert into out_one select * from i;
select is((select row(event_id, aggregate_type, aggregate_id, event_type, payload, metadata)::text from sentinai.event_log where tenant_id = 'pub-out'),
          (select row(id, 'order', 'a1', 'order.paid', '{"x": 1}'::jsonb, metadata)::text from out_one), 'outbox publishes, RETURNING tells the id');
insert into sentinai.outbox (tenant_id, aggregateid, type, payload)
select 'pub-outs', 'a' || i, 't', '{}' from generate_series(1, 2500) i;
select is((select count(*) from sentinai.outbox where tenant_id = 'pub-outs' and aggregatetype = 'exception' and metadata = '{}'), 2500::bigint, 'many rows, with defaults');
insert into sentinai.outbox (id, tenant_id, aggregateid, type, payload, metadata)
values ('f47ac10b-58cc-4372-a567-0e02b2c3d479', 'pub-given', 'a', 't', '{}', '{"m": 1}');
select is((select metadata from sentinai.outbox where tenant_id = 'pub-given'), '{"m": 1, "outbox_id": "f47ac10b-58cc-4372-a567-0e02b2c3d479"}', 'a given id is kept in the metadata');
select isnt((select id from sentinai.outbox where tenant_id = 'pub-given'), 'f47ac10b-58cc-4372-a567-0e02b2c3d479', 'and is not the event''s');
select throws_ok($$insert into sentinai.outbox (id, tenant_id, aggregateid, type, payload) values ('f47ac10b-58cc-4372-a567-0e02b2c3d479', 'pub-given', 'b', 'other', '{"y": 1}')$$, '23505', null, 'a given id is unique');
select lives_ok($$insert into sentinai.outbox (id, tenant_id, aggregateid, type, payload) values ('f47ac10b-58cc-4372-a567-0e02b2c3d479', 'pub-given2', 'b', 't', '{}')$$, 'for its tenant');
-- nobody says by himself what id was given
do $$ begin
    perform sentinai.publish('t', 'pub-forged', 'a', '{}', metadata => '{"m": 1, "outbox_id": "f47ac10b-58cc-4372-a567-0e02b2c3d479"}');
    perform sentinai.publish('t', 'pub-forged', 'a', '{}', metadata => '{"m": 1, "outbox_id": {"x": 1}}');
    perform sentinai.publish_batch('{t,t}', '{pub-forged,pub-forged}', '{a,b}', '{"{}","{}"}', metadata => '{"m": 1, "outbox_id": "f47ac10b-58cc-4372-a567-0e02b2c3d479"}');
    insert into sentinai.outbox (tenant_id, aggregateid, type, payload, metadata)
    values ('pub-forged', 'a', 't', '{}', '{"m": 1, "outbox_id": "f47ac10b-58cc-4372-a567-0e02b2c3d479"}');
end $$;
select is((select string_agg(distinct metadata::text, ' ') || count(*) from sentinai.event_log where tenant_id = 'pub-forged'), '{"m": 1}5', 'an id in the metadata is left out');
insert into sentinai.outbox (id, tenant_id, aggregateid, type, payload, metadata)
values ('f47ac10b-58cc-4372-a567-0e02b2c3d480', 'pub-forged2', 'a', 't', '{}', '{"outbox_id": "f47ac10b-58cc-4372-a567-0e02b2c3d479"}');
select is((select metadata->>'outbox_id' from sentinai.event_log where tenant_id = 'pub-forged2'), 'f47ac10b-58cc-4372-a567-0e02b2c3d480', 'and counts for nothing beside the one of the row');

-- Rows of an inner subtransaction and of the statement around it
create function pg_temp.nested(i int) returns text language plpgsql as $$
begin
    begin
        insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('pub-nested', 'a', 'inner', '{}');
        if i % 2 = 0 then
            raise exception 'no';
        end if;
    exception when raise_exception then
        null;
    end;
    return 'a';
end $$;
insert into sentinai.outbox (tenant_id, aggregateid, type, payload)
select 'pub-nested', pg_temp.nested(i), 'outer', '{}' from generate_series(1, 2000) i;
select is((select count(*) from sentinai.outbox where tenant_id = 'pub-nested' and type = 'outer'), 2000::bigint, 'rows around a rollback stay');
select is((select count(*) from sentinai.outbox where tenant_id = 'pub-nested' and type = 'inner'), 1000::bigint, 'rows inside it go');

-- From a trigger, row by row
create temp table app (id int);
create function pg_temp.tell() returns trigger language plpgsql as $$
begin
    insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('pub-trigger', new.id::text, 't', '{}');
    return new;
end $$;
create trigger tell after insert on app for each row execute function pg_temp.tell();
insert into app select generate_series(1, 50);
select is((select count(*) from sentinai.outbox where tenant_id = 'pub-trigger'), 50::bigint, 'a trigger may insert into it');

-- A statement that fails leaves no rows for the next
select throws_ok($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) select 'pub-failed', 'a', 't', ('{"x": ' || 1 / (10 - i) || '}')::jsonb from generate_series(1, 10) i$$, '22012', null, 'a statement that fails');
insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('pub-after', 'a', 't', '{}');
select is((select array_agg(tenant_id) from sentinai.outbox where tenant_id in ('pub-failed', 'pub-after')), '{pub-after}', 'leaves nothing for the next');

-- Partitions
select is(sentinai.make_partitions(now() - interval '1 day'), 0, 'nothing is made for the past');
select cmp_ok(sentinai.make_partitions(now() + interval '20 days'), '>=', 0, 'partitions ahead');
-- old ones may be half dropped just now
select is((select array_agg(n) from (select count(*) as n from pg_inherits join pg_class c on c.oid = inhrelid
            where relname ~ '_[0-9]{8}_[0-9]{4}$' and right(relname, 13) >= to_char(now() at time zone 'UTC', 'YYYYMMDD')
              and inhparent in ('sentinai_internal.event_log'::regclass, 'sentinai_internal.event_processing'::regclass,
                                'sentinai_internal.event_idempotency'::regclass, 'sentinai_internal.slice'::regclass) group by inhparent) x
            having min(n) = max(n) and min(n) >= 20) is not null, true, 'come in sets');
-- A table with other columns than the library knows is left alone
create procedure pg_temp.with_a_column() language plpgsql as $$
begin
    set local allow_system_table_mods = on;
    alter table sentinai_internal.event_log_root add column mine int;
    perform sentinai.publish('t', 'column', 'a', '{}');
end $$;
select throws_ok('call pg_temp.with_a_column()', '55000', 'table "sentinai_internal.event_log" is not the one that this library knows', 'a column added by hand is refused');


-- A call that fails takes no ids: they would be ahead of the time
do $$
declare n int := 100000; ids text[] := array_fill('t'::text, array[n]); payloads jsonb[] := array_fill('{}'::jsonb, array[n]);
begin
    ids[1] := '';
    for i in 1..30 loop
        begin
            perform sentinai.publish_batch(ids, ids, ids, payloads);
            raise 'not refused';
        exception when sqlstate 'SN422' then null;
        end;
    end loop;
end $$;
create temp table after_failures as select sentinai.publish('t', 'pub', null, '{}') as id;
select cmp_ok(l.occurred_at, '<=', clock_timestamp(), 'calls that fail do not move the clock') from sentinai.event_log l join after_failures on id = event_id;
select * from finish();
rollback;
