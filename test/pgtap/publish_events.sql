-- SPDX-License-Identifier: PostgreSQL
-- publish_events(): many events, each with what publish() takes for one.
begin;
select plan(19);

create temp table cause as select sentinai.publish('Cause', 'pe', 'cause', '{}') as id;
create temp table batch as
select e.id, e.i from unnest(sentinai.publish_events(
    array(select 't' || i from generate_series(1, 600) i), array(select 'pe' || i % 3 from generate_series(1, 600) i),
    array(select 'a' || i % 7 from generate_series(1, 600) i), array(select jsonb_build_object('i', i) from generate_series(1, 600) i), 'order',
    array(select case when i % 2 = 0 then jsonb_build_object('m', i) end from generate_series(1, 600) i),
    array(select case when i % 5 = 0 then 'flow ' || i end from generate_series(1, 600) i),
    array(select case when i % 4 = 0 then c.id end from generate_series(1, 600) i, cause c order by i),
    array(select case i % 10 when 1 then now() + interval '1 hour' when 2 then now() - interval '1 hour' end from generate_series(1, 600) i),
    array(select case when i % 3 = 0 then i end from generate_series(1, 600) i))) with ordinality e (id, i);
create temp table rows as select b.i, l.* from batch b join sentinai.event_log l on l.event_id = b.id;
select is((select count(*) from rows where event_type = 't' || i and tenant_id = 'pe' || i % 3 and aggregate_id = 'a' || i % 7 and aggregate_type = 'order'
           and payload = jsonb_build_object('i', i)), 600::bigint, 'each event is as its elements say');
select is((select count(*) from rows where metadata = case when i % 2 = 0 then jsonb_build_object('m', i) else '{}' end), 600::bigint, 'with metadata of its own, or none');
select is((select count(*) from rows where correlation_id = case when i % 5 = 0 then 'flow ' || i else aggregate_id end), 600::bigint, 'a flow of its own, or that of its aggregate');
select is((select count(*) from rows where causation_id is not distinct from case when i % 4 = 0 then (select id from cause) end), 600::bigint, 'a cause, or none');
select is((select count(*) from rows where deliver_at is not distinct from case when i % 10 = 1 then now() + interval '1 hour' end), 600::bigint, 'a time ahead, or none: what is over is not kept');
select is((select count(*) from rows where schema_version = case when i % 3 = 0 then i else 1 end), 600::bigint, 'and a version');
select is((select count(*) from (select i, lag(i) over (partition by tenant_id order by event_id) as before from rows) o where i < before), 0::bigint, 'ids of a tenant rise with the place');
select is(sentinai.publish_events('{}', '{}', '{}', '{}'), '{}'::uuid[], 'none is an empty answer');

-- What is refused
create function pg_temp.said(call text) returns text language plpgsql as $$
begin
    execute 'select sentinai.publish_events(' || call || ')';
    return 'taken';
exception when others then
    return sqlstate || ' ' || sqlerrm;
end $$;
select is(pg_temp.said($$'{t,t}', '{pe,pe}', '{a,a}', '{"{}","{}"}', deliver_at => '{null,infinity}'$$), 'SN422 event 2 of the batch: deliver_at must be finite', 'one is named by its place');
select is(pg_temp.said($$'{t}', '{pe}', '{a}', '{"{}"}', deliver_at => '{infinity}'$$), 'SN422 deliver_at must be finite', 'the only one needs no place');
select is(pg_temp.said($$'{t,t}', '{pe,pe}', '{a,a}', '{"{}","{}"}', schema_versions => '{1,0}'$$), 'SN422 event 2 of the batch: schema_version must be at least 1', 'a version');
select is(pg_temp.said($$'{t,t}', '{pe,pe}', '{a,a}', '{"{}","{}"}', metadata => '{"{}","[]"}'$$), 'SN422 event 2 of the batch: metadata must be a JSON object', 'metadata');
select is(pg_temp.said($$'{t,t}', '{pe,pe}', '{a,a}', '{"{}","{}"}', causation_ids => '{null}'$$), 'SN422 causation_ids must have as many elements as event_types', 'arrays that do not match');
select is(pg_temp.said($$'{t}', '{pe}', '{a}', null$$), '22004 payloads must not be null', 'no payloads');

-- What is inherited, and what is given
select sentinai.work_on(id) from cause;
create temp table worked as
select e.id, e.i from unnest(sentinai.publish_events('{W,W}', '{pe,pe}', '{w,w}', '{"{}","{}"}',
    metadata => array[null, '{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}']::jsonb[],
    causation_ids => array[null, (select id from batch where i = 1)])) with ordinality e (id, i);
select results_eq('select l.causation_id from worked w join sentinai.event_log l on l.event_id = w.id order by w.i',
                  'values ((select id from cause)), ((select id from batch where i = 1))', 'what is worked on is the cause, unless one is given');
select is((select array_agg(substr(l.metadata ->> 'traceparent', 4, 32) order by w.i) from worked w join sentinai.event_log l on l.event_id = w.id),
          array[(select substr(metadata ->> 'traceparent', 4, 32) from sentinai.event_log where event_id = (select id from worked where i = 1)),
                '4bf92f3577b34da6a3ce929d0e0e4736'], 'and a trace that is given is gone on with');

-- Rules and limits are for each
select sentinai.set_redaction('pe', '*', '$metadata.ip', 'mask', keep => 0);
select sentinai.set_redaction('pe', '*', '$.s', 'remove');
create temp table redacted as
select e.id, e.i from unnest(sentinai.publish_events('{R,R,R}', '{pe,pe,other}', '{r,r,r}', array['{"s": 1}', '{}', '{"s": 1}']::jsonb[],
    metadata => array[null, '{"ip": "::1"}', '{"ip": "::1"}']::jsonb[])) with ordinality e (id, i)
union all select (sentinai.publish_events('{R}', '{pe}', '{r}', '{"{}"}', metadata => array['{"ip": "::1"}'::jsonb]))[1], 4;
select results_eq($$select l.payload, l.metadata - 'traceparent' from redacted r join sentinai.event_log l on l.event_id = r.id order by r.i$$,
    $$values ('{}'::jsonb, '{"redacted": {"remove": ["/s"]}}'::jsonb), ('{}', '{"ip": "***", "redacted": {"mask": ["$metadata/ip"]}}'),
             ('{"s": 1}', '{"ip": "::1"}'), ('{}', '{"ip": "***", "redacted": {"mask": ["$metadata/ip"]}}')$$, 'redaction, of one event and of many');
select sentinai.set_limit('pe-small', 'events_bytes', 1000, '1 hour');
select matches(pg_temp.said($$'{t,t}', '{pe-small,pe-small}', '{a,a}', '{"{}","{}"}', metadata => array[null, jsonb_build_object('n', repeat('x', 2000))]$$), '^SN429', 'the metadata of each counts');
select is(pg_temp.said($$'{t,t}', '{pe-small,pe-small}', '{a,a}', '{"{}","{}"}', metadata => array[null, '{"n": 1}'::jsonb]$$), 'taken', 'as far as it goes');

select * from finish();
rollback;
