-- SPDX-License-Identifier: PostgreSQL
-- asyncapi(): what is in the document. test/schema has it parsed.
select plan(31);
select sentinai.register_event_type('aa.Order', '{"required": ["a"], "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "integer"}}}', description => 'An order.', examples => '[{"a": 1}]');
select sentinai.register_event_type('aa.Order', '{"required": ["a"], "properties": {"a": {"type": ["integer", "null"]}}}', direction => 'agent');
select sentinai.register_event_type('aa:x/y__z', 'true');
select sentinai.deprecate_event_type('aa.Order', 1);
create temp table doc as select sentinai.asyncapi(event_types => '{aa.Order,aa:x/y__z}') as d;
select is(d->>'asyncapi', '3.0.0', 'AsyncAPI 3.0') from doc;
select is(d#>>'{info,title}', 'Events of database ' || current_database(), 'a title') from doc;
select is(d#>>'{info,version}', (select to_char(max(registered_at) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') from sentinai.event_types where event_type like 'aa%'), 'the version is the time of the newest registration') from doc;
select is((select array_agg(k order by k) from jsonb_object_keys(d#>'{components,messages}') k), '{aa.Order.v1,aa.Order.v2,aa__3Ax__2Fy__5F_z.v1}', 'a message for each version') from doc;
select is(d#>>'{channels,events,address}', 'sentinai.{aggregate_type}', 'a channel with the template of topics') from doc;
select is(d#>'{channels,events,parameters,aggregate_type,enum}', null, 'whose aggregate types are not known') from doc;
select is(d#>>'{operations,send.events,action}', 'send', 'the relay sends to it') from doc;
select is(d->'servers', null, 'no server, as there is no broker') from doc;
select is(d#>>'{components,messages,aa.Order.v1,description}', 'An order.', 'a description') from doc;
select is(d#>'{components,messages,aa.Order.v1,tags}', '[{"name": "inbound"}, {"name": "deprecated"}]', 'direction and deprecation') from doc;
select ok(d#>>'{components,messages,aa.Order.v1,x-deprecated-since}' ~ '^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$', 'since when') from doc;
select is(d#>'{components,messages,aa.Order.v1,examples}', '[{"payload": {"a": 1}}]', 'examples') from doc;
select is(d#>'{components,messages,aa.Order.v2,tags}', '[{"name": "agent"}]', 'those of each version') from doc;
select is(d#>'{components,schemas,aa.Order.v1,schema,properties,a}', '{"$ref": "#/components/schemas/aa.Order.v1/schema/$defs/a"}', 'references lead from the top') from doc;
select is(d#>>'{components,schemas,aa.Order.v1,schemaFormat}', 'application/schema+json;version=draft-2020-12', 'the format of schemas') from doc;
select is(d#>'{components,schemas,aa__3Ax__2Fy__5F_z.v1,schema}', 'true', 'even of one that says nothing') from doc;
select is(d#>>'{components,messages,aa__3Ax__2Fy__5F_z.v1,headers,allOf,1,properties,ce_dataschema,const}', 'urn:sentinai:schema:aa%3Ax%2Fy__z:1', 'ce_dataschema of a type') from doc;
select is(d#>>'{components,messages,aa.Order.v1,bindings,kafka,key,$ref}', '#/components/schemas/key.partition', 'the key of records') from doc;
select is(sentinai.asyncapi('Orders', '7', '{aa.Order}')->'info', '{"title": "Orders", "version": "7"}', 'title and version can be given');
select is(sentinai.asyncapi(aggregate_types => '{order,invoice}')#>'{channels,events,parameters,aggregate_type,enum}', '["order", "invoice"]', 'and aggregate types');
select is(sentinai.asyncapi(event_types => '{}')#>'{components,messages}', '{}', 'no types');
select is(sentinai.asyncapi(event_types => '{}')#>>'{info,version}', '0', 'and no version then');
select ok((select bool_and(k !~ '^(DeadLettered|RetryScheduled|SLA|Backpressure)') and bool_or(k = 'aa.Order.v2') from jsonb_object_keys(sentinai.asyncapi()#>'{components,messages}') k), 'all types, without those that are not sent');
select sentinai.drop_event_type_version('aa.Order', 1);
select is(sentinai.asyncapi(event_types => '{aa.Order,aa.Order}')#>'{components,messages,aa.Order.v1}', null, 'a version that was dropped is not there');
select throws_ok($$select sentinai.asyncapi(event_types => '{aa.none}')$$, 'SN404', null, 'a type that is not registered');
select throws_ok($$select sentinai.asyncapi(event_types => '{null}')$$, 'SN422', null, 'no type');
select throws_ok($$select sentinai.asyncapi(aggregate_types => array['a b'])$$, 'SN422', null, 'no name of a type');
select throws_ok($$select sentinai.asyncapi(e'a\nb')$$, 'SN422', null, 'a title is printable');
select throws_ok($$select sentinai.asyncapi(event_types => (select array_agg('aa' || i) from generate_series(1, 10001) i))$$, 'SN422', null, 'too many types');
-- beside parallel workers
create table aa_workload as select i from generate_series(1, 100000) i;
analyze aa_workload;
set parallel_setup_cost = 0;
set parallel_tuple_cost = 0;
set min_parallel_table_scan_size = 0;
create function pg_temp.answers(expression text) returns text language plpgsql as $$
declare
    answer text;
begin
    execute format('select left(%s::text, 1) from aa_workload limit 1', expression) into answer;
    return answer;
exception when others then
    return sqlstate;
end $$;
select is(pg_temp.answers('sentinai.asyncapi()'), '{', 'in a plan with parallel workers');
select is(pg_temp.answers($$sentinai.json_schema('aa.Order')$$), '{', 'likewise json_schema()');
drop table aa_workload;
select * from finish();
