-- SPDX-License-Identifier: PostgreSQL
-- asyncapi(): what is in the document. test/schema has it parsed.
select plan(49);
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
-- relays with a name: their types, format, topics, headers, keys, brokers
select sentinai.register_event_type('aa.Gone', 'true', examples => '[{}]');
select sentinai.create_relay('aa', 'kafka', 'bootstrap.servers=k1:9092,k2:9092; security.protocol=ssl', event_types => '{aa.Order,aa.Gone}', topic_template => 'aa.{tenant}',
    record_options => 'key={tenant}:{metadata.order}; headers=region:eu,ce_team:shop; headers.metadata=user:x-user; topics=aa.Gone:gone; tombstones=aa.Gone; dead.letter.topic=aa.dead');
create temp table named as select sentinai.asyncapi(relay => 'aa') as d;
select is((select array_agg(k order by k) from jsonb_object_keys(d#>'{components,messages}') k), '{aa.Gone.v1,aa.Order.v2}', 'the types that it sends') from named;
select is(d->'servers', '{"kafka1": {"host": "k1:9092", "protocol": "kafka-secure"}, "kafka2": {"host": "k2:9092", "protocol": "kafka-secure"}}', 'its brokers') from named;
select is((select jsonb_object_agg(k, v->'address') from jsonb_each(d->'channels') c (k, v)), '{"events": "aa.{tenant}", "events.aa.Gone": "gone", "refused": "aa.dead"}', 'its topics') from named;
select is((select jsonb_object_agg(k, (select jsonb_agg(m order by m) from jsonb_object_keys(v->'messages') m)) from jsonb_each(d->'channels') c (k, v)),
    '{"events": ["aa.Order.v2"], "events.aa.Gone": ["aa.Gone.v1"], "refused": ["aa.Gone.v1", "aa.Order.v2"]}', 'and what is in each') from named;
select is(d#>'{components,schemas,headers.more,properties,region}', '{"const": "eu"}', 'headers that never change') from named;
select is(d#>>'{components,schemas,headers.more,properties,x-user,type}', 'string', 'and of metadata') from named;
select is(d#>'{components,messages,aa.Order.v2,headers,allOf,2}', '{"$ref": "#/components/schemas/headers.more"}', 'messages have them') from named;
select is(d#>>'{components,messages,aa.Order.v2,bindings,kafka,key,$ref}', '#/components/schemas/key.made', 'the key by a template') from named;
select ok(d#>>'{components,schemas,key.made,description}' ~ '^\{tenant\}:\{metadata.order\};', 'which is told') from named;
select is(d#>'{components,messages,aa.Gone.v1,payload}', '{"description": "None: a tombstone."}', 'a tombstone has no payload') from named;
select is(d#>'{components,messages,aa.Gone.v1,examples}', null, 'and no example') from named;
select sentinai.create_relay('aa-rabbit', 'rabbitmq', 'hosts=r1,r2; security.protocol=ssl; ssl.ca.location=/ca', event_types => '{aa.Order}', record_options => 'headers=ce_team:shop');
create temp table rabbit as select sentinai.asyncapi(relay => 'aa-rabbit') as d;
select is(d#>'{servers,rabbitmq2}', '{"host": "r2", "protocol": "amqps", "security": [{"type": "userPassword"}]}', 'brokers of RabbitMQ') from rabbit;
select ok(d#>'{components,schemas,headers.cloudevents,required}' ? 'cloudEvents:id', 'headers with their names on AMQP') from rabbit;
select is(d#>'{components,schemas,headers.more,properties}', '{"cloudEvents:team": {"const": "shop"}}', 'these, too') from rabbit;
select ok(d::text !~ '"(ce_|kafka)', 'nothing of Kafka') from rabbit;
select throws_ok($$select sentinai.asyncapi(relay => 'aa-none')$$, 'SN404', null, 'a relay that does not exist');
select throws_ok($$select sentinai.asyncapi(relay => null)$$, '22004', null, 'or is null');
select is(sentinai.asyncapi(relay => 'relay'), sentinai.asyncapi(), 'the relay of the parameters is the one that is meant otherwise');
select sentinai.drop_relay('aa'), sentinai.drop_relay('aa-rabbit');
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
