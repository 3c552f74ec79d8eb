-- SPDX-License-Identifier: PostgreSQL
-- What an event inherits: work_on(), sentinai.traceparent, correlation id.
begin;
select no_plan();

\set trace '4bf92f3577b34da6a3ce929d0e0e4736'
\set parent '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
\set other '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00'

create function pg_temp.last() returns sentinai.event_log language sql volatile as
$$ select l from sentinai.event_log l where tenant_id like 'flow%' order by event_id desc limit 1 $$;
create function pg_temp.parent(id uuid) returns text language sql volatile as
$$ select metadata->>'traceparent' from sentinai.event_log where event_id = id $$;
-- the span of an event is the second half of its id
create function pg_temp.child(trace text, id uuid, flags text default '01') returns text language sql as
$$ select '00-' || trace || '-' || right(replace(id::text, '-', ''), 16) || '-' || flags $$;

-- The flow has a name without anybody's help, and nothing is stored for it
create temp table a as select sentinai.publish('A', 'flow', 'agg', '{}', metadata => jsonb_build_object('traceparent', :'parent', 'tracestate', 'k=v,l=w', 'user', 'kim')) as id;
select is(l.correlation_id, 'agg', 'the aggregate names the flow') from sentinai.event_log l join a on id = event_id;
select is(l.correlation_id, null, 'for which nothing is stored') from sentinai_internal.event_log l join a on id = event_id;
select is(correlation_id, 'agg', 'as the history has it') from sentinai.get_events_by_aggregate('flow', 'agg');
select is((select count(*) from sentinai.get_events_by_aggregate('flow', 'agg', correlation_id => 'agg')), 1::bigint, 'and finds it');
select is((select count(*) from sentinai.get_events_by_tenant('flow', correlation_id => 'other')), 0::bigint, 'by no other name');
select is(sentinai.publish('T', 'flow', null, '{}') is not null, true, 'an event of the tenant');
select is((pg_temp.last()).correlation_id, null, 'is in no flow');

-- Nothing is inherited before
create temp table b0 as select sentinai.publish('B', 'flow', 'b0', '{}') as id;
select is(concat_ws('|', l.causation_id, l.metadata), concat_ws('|', null::uuid, '{}'::jsonb), 'no work, nothing inherited') from sentinai.event_log l join b0 on id = event_id;

-- publish() inherits
savepoint s;
select lives_ok('select sentinai.work_on(id) from a', 'work_on()');
create temp table b as select sentinai.publish('B', 'flow', 'b1', '{}', metadata => '{"user": "joe"}') as id;
select is(concat_ws('|', l.causation_id, l.correlation_id), concat_ws('|', (select id from a), 'agg'::text), 'cause and flow are those of the event') from sentinai.event_log l join b on id = event_id;
select is(l.metadata, jsonb_build_object('user', 'joe', 'traceparent', pg_temp.child(:'trace', id), 'tracestate', 'k=v,l=w'),
          'and the trace, with a span of its own; other metadata is not inherited') from sentinai.event_log l join b on id = event_id;
-- what is given wins
select sentinai.publish('B', 'flow', 'b2', '{}', correlation_id => 'mine', causation_id => (select id from b0), metadata => jsonb_build_object('traceparent', :'other')) is not null as published;
select is(concat_ws('|', (pg_temp.last()).correlation_id, (pg_temp.last()).causation_id, (pg_temp.last()).metadata),
          concat_ws('|', 'mine'::text, (select id from b0), jsonb_build_object('traceparent', :'other')), 'arguments win, and a tracestate goes with its traceparent only');
-- batch
create temp table batch as
select i, u.id from unnest(sentinai.publish_batch('{C,C,C}', '{flow,flow2,flow}', '{c1,c2,agg}', '{"{}","{}","{}"}', metadata => '{"m": 1}', correlation_ids => array[null, 'x', null])) with ordinality u (id, i);
select is((select array_agg(l.correlation_id order by i) from batch join sentinai.event_log l on id = event_id), array['agg', 'x', 'agg'], 'a batch: flows');
select is((select count(*) from batch join sentinai.event_log l on id = event_id where causation_id = (select id from a)), 3::bigint, 'causes');
select is((select count(*) from batch join sentinai.event_log l on id = event_id where metadata = jsonb_build_object('m', 1, 'traceparent', pg_temp.child(:'trace', id), 'tracestate', 'k=v,l=w')),
          3::bigint, 'and traces, each with its span');
-- outbox, by INSERT with RETURNING, without, and with an id of the publisher's
create temp table o (id uuid, metadata jsonb);
with i as (insert into sentinai.outbox (tenant_id, aggregateid, type, payload, metadata) values ('flow', 'o1', 'O', '{}', '{"n": 1}') returning id, metadata)
insert into o select * from i;
select is(concat_ws('|', o.metadata, l.causation_id, l.correlation_id), concat_ws('|', l.metadata, (select id from a), 'agg'::text), 'outbox: RETURNING tells what is stored') from o join sentinai.event_log l on o.id = event_id;
select is(metadata, jsonb_build_object('n', 1, 'traceparent', pg_temp.child(:'trace', id), 'tracestate', 'k=v,l=w'), 'with the span') from o;
insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('flow', 'o2', 'O', '{}'), ('flow', 'o3', 'O', '{}');
insert into sentinai.outbox (id, tenant_id, aggregateid, type, payload) values ('6f1c3c7e-6d0b-4b0e-9a53-0d9a4b9c0a01', 'flow', 'o4', 'O', '{}');
select is((select count(*) from sentinai.event_log where tenant_id = 'flow' and event_type = 'O' and correlation_id = 'agg' and causation_id = (select id from a)
              and metadata->>'traceparent' = pg_temp.child(:'trace', event_id)), 4::bigint, 'all of outbox');

-- Rows wait in the outbox's buffer while the work changes, and a loop over many events keeps one in memory
create function pg_temp.changes(other uuid) returns boolean language plpgsql as $$ begin perform sentinai.work_on(other); return true; end $$;
insert into sentinai.outbox (tenant_id, aggregateid, type, payload)
select 'flow', 'w' || i, 'W', '{}' from generate_series(1, 4) i, lateral (select case when i in (2, 4) then pg_temp.changes((select id from b0)) else pg_temp.changes((select id from a)) end) c (done)
 where done;
select is((select string_agg(concat_ws(':', aggregate_id, correlation_id, case causation_id when (select id from b0) then 'b0' when (select id from a) then 'a' end), ' ' order by aggregate_id)
             from sentinai.event_log where tenant_id = 'flow' and event_type = 'W'), 'w1:agg:a w2:b0:b0 w3:agg:a w4:b0:b0', 'each row inherits what was said before it');
do $$
declare
    before bigint;
    ids uuid[] := array(select event_id from sentinai.event_log where tenant_id = 'flow');
begin
    for i in 1..2000 loop
        if i = 200 then
            select sum(total_bytes) into before from pg_backend_memory_contexts where name = 'sentinai flow';
        end if;
        perform sentinai.work_on(ids[1 + i % cardinality(ids)]);
    end loop;
    create temp table memory as select before, sum(total_bytes) as now from pg_backend_memory_contexts where name = 'sentinai flow';
end $$;
select cmp_ok(now::bigint, '<=', before, 'bounded memory') from memory;
select sentinai.work_on(id) from a;

-- The flow goes on
select sentinai.work_on(id) from b;
select is(concat_ws('|', l.correlation_id, l.causation_id, l.metadata->>'traceparent'), concat_ws('|', 'agg'::text, (select id from b), pg_temp.child(:'trace', l.event_id)), 'the flow goes on with what it caused')
  from (select sentinai.publish('C', 'flow', 'c', '{}') as id) p, lateral (select (pg_temp.last()).*) l;

-- A savepoint takes back what was said in it
savepoint inner_one;
select sentinai.work_on(id) from b0;
select sentinai.publish('C', 'flow', 'c', '{}') is not null as published;
select is((pg_temp.last()).causation_id, (select id from b0), 'another event');
rollback to inner_one;
select sentinai.publish('C', 'flow', 'c', '{}') is not null as published;
select is((pg_temp.last()).causation_id, (select id from b), 'the outer one again');
savepoint inner_two;
select sentinai.work_on(id) from b0;
release inner_two;
select sentinai.publish('C', 'flow', 'c', '{}') is not null as published;
select is((pg_temp.last()).causation_id, (select id from b0), 'kept with its savepoint');
select is(concat_ws('|', (pg_temp.last()).correlation_id, (pg_temp.last()).metadata), concat_ws('|', 'b0'::text, '{}'::jsonb), 'no trace, none inherited');
set local sentinai.work_on = '';
select sentinai.publish('C', 'flow', 'c', '{}') is not null as published;
select is((pg_temp.last()).causation_id, null, 'and ended by hand');
rollback to s;
select sentinai.publish('C', 'flow', 'c', '{}') is not null as published;
select is((pg_temp.last()).causation_id, null, 'all is taken back');
select is(current_setting('sentinai.work_on'), '', 'in the setting as well');

-- A function with settings of its own may say it for its caller
create function pg_temp.says(id uuid) returns void language sql set work_mem = '1MB' as $$ select sentinai.work_on(id) $$;
savepoint s;
select pg_temp.says(id) from a;
select sentinai.publish('C', 'flow', 'c', '{}') is not null as published;
select is((pg_temp.last()).causation_id, (select id from a), 'said in a function');
rollback to s;

-- An event of the tenant itself names its flow by its id; one of this transaction is seen
create temp table t as select sentinai.publish('T', 'flow', null, '{}') as id;
select sentinai.work_on(id) from t;
select sentinai.publish('C', 'flow', 'c', '{}') is not null as published;
select is((pg_temp.last()).correlation_id, (select id::text from t), 'the flow of an event without an aggregate');
rollback to s;

-- Refusals
select throws_ok('select sentinai.work_on(null)', '22004', null, 'null');
select throws_ok($$select sentinai.work_on('01941f29-7c00-7000-8000-000000000001')$$, 'SN404', null, 'no such event');
select throws_ok($$select sentinai.work_on('ffffffff-ffff-ffff-ffff-ffffffffffff')$$, 'SN404', null, 'an id that is none');
select throws_ok($$set local sentinai.work_on = 'x'$$, '22023', null, 'no id');
select throws_ok($$set local sentinai.work_on = '01941f29-7c00-7000-8000-00000000000g'$$, '22023', null, 'no digit');
select throws_ok($$alter role current_user set sentinai.work_on = '01941f29-7c00-7000-8000-000000000001'$$, '22023', null, 'for all time');
set local sentinai.work_on = '01941F29-7c00-7000-8000-000000000001';
select throws_ok($$select sentinai.publish('A', 'flow', 'a', '{}')$$, 'SN404', null, 'the setting names an event that is not there');
select throws_ok($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('flow', 'o2', 'O', '{}')$$, 'SN404', null, 'nor does outbox publish');
rollback to s;

-- Malformed: a new trace, whose first event has the span that is named
create temp table m as select sentinai.publish('M', 'flow', 'm', '{}', metadata => '{"traceparent": "00-zz", "tracestate": "k=v", "n": 1}') as id;
select unnest(array[is(metadata - 'traceparent'::text, '{"n": 1}'::jsonb, 'a malformed traceparent takes its tracestate with it'), matches(metadata->>'traceparent', '^00-[0-9a-f]{32}-[0-9a-f]{16}-01$', 'a new trace'),
       is(right(metadata->>'traceparent', 19), right(pg_temp.child('', id), 19), 'with the span of the event'), isnt(substr(metadata->>'traceparent', 4, 32), repeat('0', 32), 'that is one')])
  from sentinai.event_log join m on id = event_id;
select ok(pg_temp.parent(sentinai.publish('M', 'flow', 'm', '{}', metadata => jsonb_build_object('traceparent', x))) ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-01$', 'malformed: ' || x)
  from unnest(array['', 'x', upper(:'parent'), :'parent' || 'x', 'ff' || substr(:'parent', 3), '00-' || repeat('0', 32) || '-00f067aa0ba902b7-01']) x;
select ok(pg_temp.parent(sentinai.publish('M', 'flow', 'm', '{}', metadata => x)) ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-01$', 'malformed: ' || x::text)
  from unnest(array['{"traceparent": 1}', '{"traceparent": []}', '{"traceparent": {"a": 1}}', '{"traceparent": true}']::jsonb[]) x;
select is(pg_temp.parent(sentinai.publish('M', 'flow', 'm', '{}', metadata => '{"traceparent": null}')), null, 'null is none');
select is(pg_temp.parent(sentinai.publish('M', 'flow', 'm', '{}', metadata => jsonb_build_object('traceparent', 'cc' || substr(:'parent', 3) || '-what comes'))), :'parent', 'a later version goes on as this one');
create function pg_temp.metadata(id uuid) returns jsonb language sql volatile as
$$ select metadata from sentinai.event_log where event_id = id $$;
select is(pg_temp.metadata(sentinai.publish('M', 'flow', 'm', '{}', metadata => jsonb_build_object('n', 1, 'traceparent', :'parent', 'tracestate', x))),
          jsonb_build_object('n', 1, 'traceparent', :'parent'), 'a tracestate that is none is left out: ' || x::text)
  from unnest(array['"a=b\r\nevil: header"', '"a=b,a=c"', '"x"', '""', '1', '{"a": 1}', 'null']::jsonb[]) x;
select is((select count(distinct substr(pg_temp.parent(id), 4, 32)) from unnest(sentinai.publish_batch('{M,M}', '{flow,flow}', '{m,n}', '{"{}","{}"}', metadata => '{"traceparent": "x"}')) id), 1::bigint, 'a batch starts one');

-- A flow without a name is none
select throws_ok($$select sentinai.publish('F', 'flow', 'f', '{}', correlation_id => '')$$, 'SN422', 'correlation_id must not be empty', 'an empty correlation id');
select throws_ok($$select sentinai.publish_batch('{F,F}', '{flow,flow}', '{f,f}', '{"{}","{}"}', correlation_ids => '{a,""}')$$, 'SN422', 'event 2 of the batch: correlation_id must not be empty', 'in a batch');
select throws_ok($$select sentinai.set_deadline('flow', 'f', 'x', now() + interval '1 hour', correlation_id => '')$$, 'SN422', 'correlation_id must not be empty', 'of a deadline');

-- The setting
savepoint s;
set local sentinai.traceparent = :'parent';
set local sentinai.tracestate = 'a=b';
select sentinai.publish('S', 'flow', 's', '{}') is not null as published;
select is((pg_temp.last()).metadata, jsonb_build_object('traceparent', :'parent', 'tracestate', 'a=b'), 'passed on as it is');
select is(concat_ws('|', (pg_temp.last()).causation_id, (pg_temp.last()).correlation_id), concat_ws('|', null::uuid, 's'::text), 'which says nothing else');
select is(pg_temp.parent(sentinai.publish('S', 'flow', 's', '{}', metadata => jsonb_build_object('traceparent', :'other'))), :'other', 'metadata wins');
select sentinai.work_on(id) from b0;
select is(pg_temp.parent(sentinai.publish('S', 'flow', 's', '{}')), :'parent', 'the setting stands beside the work');
set local sentinai.tracestate = E'a=b\nevil: header';
select sentinai.publish('S', 'flow', 's', '{}') is not null as published;
select is((pg_temp.last()).metadata, jsonb_build_object('traceparent', :'parent'), 'a tracestate that is none is left out');
set local sentinai.traceparent = E'nonsense \\ " \' --';
select ok(pg_temp.parent(sentinai.publish('S', 'flow', 's', '{}')) ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-01$', 'malformed: a new trace, no error');
select is((select count(distinct substr(pg_temp.parent(sentinai.publish('S', 'flow', 's', '{}')), 4, 32)) from generate_series(1, 3)), 1::bigint, 'one for all that is published under it');
rollback to s;
select is(pg_temp.parent(sentinai.publish('S', 'flow', 's', '{}')), null, 'with its savepoint it goes');

-- Events about failures are in the trace of what failed, whatever is worked on
select sentinai.subscribe('flow.f', '{F}', 'earliest', max_attempts => 1);
commit;
begin;
select is(current_setting('sentinai.work_on'), '', 'the next transaction begins with nothing');
create temp table f as select sentinai.publish('F', 'flow', 'f', '{}', metadata => jsonb_build_object('traceparent', :'parent')) as id;
commit;
-- said for the session, it ends with the transaction all the same
set sentinai.work_on = '01941f29-7c00-7000-8000-000000000001';
begin;
select lives_ok($$select sentinai.publish('G', 'flow', 'g', '{}')$$, 'what was set in another transaction says nothing');
select is((pg_temp.last()).causation_id, null, 'indeed');
commit;
reset sentinai.work_on;
create temp table claimed (token text, event_id uuid, correlation_id text);
do $$
begin
    for i in 1..200 loop
        insert into claimed select c.token, c.event_id, c.correlation_id from sentinai.claim('flow.f') c;
        exit when found;
        commit;
        perform pg_sleep(0.05);
    end loop;
end $$;
begin;
select is(correlation_id, 'f', 'claim() tells the flow') from claimed;
select sentinai.work_on(id) from b0;
select is(sentinai.fail(token, event_id, 'no', retryable => false), 'dead', 'it fails') from claimed;
select is(concat_ws('|', (pg_temp.last()).event_type, (pg_temp.last()).causation_id, (pg_temp.last()).correlation_id, (pg_temp.last()).metadata->>'traceparent'),
          concat_ws('|', 'DeadLettered'::text, (select id from f), 'f'::text, pg_temp.child(:'trace', (pg_temp.last()).event_id)), 'and the event about that is in its trace');
select is(correlation_id, 'f', 'the letter tells the flow') from sentinai.dead_letter join f on id = event_id;
select sentinai.unsubscribe('flow.f');
select * from finish();
commit;
