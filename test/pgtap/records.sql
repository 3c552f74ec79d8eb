-- SPDX-License-Identifier: PostgreSQL
-- record_options of relays: what is taken, and what is refused with which words.
select plan(84);
create function pg_temp.said(options text) returns text language plpgsql as $$
declare
    state text;
    message text;
    hint text;
begin
    perform sentinai.create_relay('rec-' || md5(options), 'kafka', 'bootstrap.servers=localhost:1', record_options => options);
    perform sentinai.drop_relay('rec-' || md5(options));
    return 'taken';
exception when others then
    get stacked diagnostics state = returned_sqlstate, message = message_text, hint = pg_exception_hint;
    return state || ' ' || message || coalesce(' ' || left(hint, 15), '');
end $$;
select is(pg_temp.said(o), 'taken', 'taken: ' || replace(o, E'\n', ' ')) from unnest(array[
    'key={aggregate_id}', 'key={tenant}/{aggregate_type}/{event_type}/{event_id}/{correlation_id}', 'key={metadata.order}-x',
    'headers=region:eu', E'headers = region:eu , team: a b\nkey={tenant}', 'headers=a:1,b:2,c::;key={tenant}', 'headers=a%3Ab:%25%2C%3D', 'headers=ce_shard:1',
    'headers.metadata=user', 'headers.metadata=user:x-user, user.id', 'topics=OrderPaid:paid', 'topics=a:b/c:x.{tenant}.{event_type},Other:other',
    'tombstones=OrderDeleted', 'tombstones=a:b,c/d', 'key={metadata.user}; headers.metadata=user:u; topics=A:a; tombstones=A; headers=x:1',
    'dead.letter.topic=dead', 'dead.letter.topic=dead; dead.letter.headers=both', 'dead.letter.headers=connect; dead.letter.topic=a.b', 'dedupe=tail', '']) o;
select ok(pg_temp.said(o) ~ '^SN422 record_options cannot be used: .* The options are$', o || ': ' || pg_temp.said(o)) from unnest(array[
    'keys={tenant}', 'key', 'key=', 'key=constant', 'key={tennant}', 'key={tenant', 'key={metadata.}', 'headers=region', 'headers=a:1,a:2', 'headers=a b:1', 'headers=event_id:x',
    'headers=ce_id:x', 'headers=ce_X:x', 'headers=__connect.errors.topic:x', 'headers=a:%1', 'headers=a:%00', 'headers=ä:1', 'headers=a:' || repeat('x', 1025),
    'headers=a:1; headers.metadata=u:a', 'headers.metadata=x:u,y:u', 'headers.metadata=traceparent', 'topics=A', 'topics=A:a b', 'topics=A:__x', 'tombstones=A B',
    'dead.letter.topic=a b', 'dead.letter.topic={tenant}', 'dead.letter.headers=connect', 'dead.letter.topic=a; dead.letter.headers=debezium',
    'transform.timeout.ms=5', 'transform=a.b; transform.timeout.ms=0', 'transform=a.b; transform.timeout.ms=5001', 'transform=a.b; transform.timeout.ms=x', 'dedupe=all']) o;
select throws_ok(format($$select sentinai.create_relay('rec-rabbit', 'rabbitmq', 'hosts=localhost', record_options => %L)$$, o),
    'SN422', null, 'not for RabbitMQ: ' || o) from unnest(array['dedupe=tail', 'dead.letter.topic=dead; dead.letter.headers=spring']) o;
-- dedupe, one of them under a name of its own
create function pg_temp.has(call text) returns text language plpgsql as $$
begin
    execute 'select sentinai.' || call;
    return (select after->>'record_options' from sentinai.actions order by action_id desc limit 1);
exception when others then
    return sqlstate || ' ' || sqlerrm;
end $$;
select is(pg_temp.has($$create_relay('rec-dedupe', 'kafka', 'bootstrap.servers=localhost:1', dedupe => 'tail')$$), 'dedupe=tail', 'dedupe of a relay that is made');
select is(pg_temp.has($$alter_relay('rec-dedupe', record_options => 'headers=a:b')$$), 'headers=a:b', 'it ends with options that do not have it');
select is(pg_temp.has($$alter_relay('rec-dedupe', dedupe => 'tail')$$), 'headers=a:b; dedupe=tail', 'and is added to what there is');
select is(pg_temp.has($$alter_relay('rec-dedupe', dedupe => 'tail')$$), 'headers=a:b; dedupe=tail', 'once');
select is(pg_temp.has($$alter_relay('rec-dedupe', dedupe => 'tail, key=x')$$), 'SN422 dedupe can only be "tail"', 'it is nothing else');
select is(pg_temp.has($$drop_relay('rec-dedupe')$$), null, 'dropped');
select is(pg_temp.has($$create_relay('rec-dedupe', 'rabbitmq', 'hosts=localhost', dedupe => 'tail')$$), 'SN422 records cannot be made: option "dedupe" is for relays to Kafka', 'nor for RabbitMQ');
-- limits, likewise
create function pg_temp.limited(limits text) returns text language plpgsql as $$
declare
    state text;
    message text;
    hint text;
begin
    perform sentinai.create_relay('rec-limited', 'kafka', 'bootstrap.servers=localhost:1', limits => limits);
    select r.limits into message from sentinai.stat_relay r where relay = 'rec-limited';
    perform sentinai.drop_relay('rec-limited');
    return 'taken ' || coalesce(message, 'none');
exception when others then
    get stacked diagnostics state = returned_sqlstate, message = message_text, hint = pg_exception_hint;
    return state || ' ' || message || coalesce(' ' || left(hint, 10), '');
end $$;
select is(pg_temp.limited(l), 'taken ' || coalesce(nullif(l, ''), 'none'), 'taken: ' || coalesce(l, 'null')) from unnest(array[
    'events.per.second=1', 'bytes.per.second=1000000000; in.flight=100000', 'events.per.second=5,bytes.per.second=5,in.flight=1', '', null]) l;
select ok(pg_temp.limited(l) ~ '^SN422 limits cannot be used: .* Limits are$', l || ': ' || pg_temp.limited(l)) from unnest(array[
    'events=1', 'events.per.second=0', 'events.per.second=-1', 'events.per.second=1e3', 'bytes.per.second=1000000001', 'in.flight=100001', 'in.flight= ', 'events.per.second=99999999999999999999']) l;
select sentinai.create_relay('rec-limited', 'kafka', 'bootstrap.servers=localhost:1', limits => 'in.flight=5');
select sentinai.alter_relay('rec-limited', workers => 2);
select is((select array_agg(distinct limits) from sentinai.stat_relay where relay = 'rec-limited'), '{in.flight=5}', 'limits stay when something else is changed');
select sentinai.drop_relay('rec-limited');
create function public.rec_transform(jsonb) returns jsonb language sql as 'select $1';
create function public."rec Set"(jsonb) returns setof jsonb language sql as 'select $1';
select is(pg_temp.said('transform=public.rec_transform; transform.timeout.ms=5000'), 'taken', 'a transform');
select ok(pg_temp.said('transform=public."rec Set"') ~ '^SN422 .*does not return one jsonb', 'but no set');
select ok(pg_temp.said('transform=a b.c') ~ '^42602 ', 'nor what is no name');
drop function public.rec_transform(jsonb);
drop function public."rec Set"(jsonb);
select throws_ok($$select sentinai.create_relay('rec', 'kafka', 'bootstrap.servers=localhost:1', topic_template => 'dead', record_options => 'dead.letter.topic=dead')$$, 'SN422', null, 'events and dead letters have two topics');
select sentinai.create_relay('rec', 'kafka', 'bootstrap.servers=localhost:1', record_options => 'dead.letter.topic=dead');
select throws_ok($$select sentinai.alter_relay('rec', topic_template => 'dead')$$, 'SN422', null, 'also later');
select lives_ok($$select sentinai.alter_relay('rec', topic_template => 'dead', record_options => '')$$, 'unless there is none any more');
select throws_ok($$select sentinai.alter_relay('rec', record_format => 'xml')$$, 'SN422', null, 'a format that is none');
select sentinai.drop_relay('rec');
select * from finish();
