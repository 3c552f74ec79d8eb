-- SPDX-License-Identifier: PostgreSQL
-- Subscriptions for some tenants: a filter like that of event types.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(45);

\set tenant some-c
\ir lib/queue.sql
-- publish(n): n events of each of two types for each of three tenants, the last for some-c
create function pg_temp.publish(n int) returns bigint language sql as $$
    select count(sentinai.publish(type, tenant, 'k' || i % 3, jsonb_build_object('n', i)))
    from generate_series(1, n) i, unnest('{some.x,some.y}'::text[]) type, unnest('{some-a,some-b,some-c}'::text[]) tenant $$;
-- what a subscription gets until there is no more: tenant and type, how often
create function pg_temp.drain(wt text) returns text language plpgsql as $$
declare r record; t text; result text[]; begin
    perform pg_temp.sequenced();
    loop
        t := null;
        for r in select * from sentinai.claim(wt, 1000) loop
            t := r.token;
            result := result || (substr(r.tenant_id, 6) || substr(r.event_type, 6));
        end loop;
        exit when t is null;
        perform sentinai.complete(t);
    end loop;
    return (select string_agg(x || '*' || n, ' ' order by x) from (select x, count(*) n from unnest(result) x group by x) y); end $$;
create function pg_temp.stream(wt text) returns int language sql as $$
    select stream_id from sentinai_internal.subscription where worker_type = wt $$;
create function pg_temp.wants(wt text) returns text language sql as $$
    select concat_ws(' ', coalesce(event_types::text, 'all'), coalesce(tenants::text, 'all')) from sentinai.stat_queue where worker_type = wt $$;

-- From the past, and from now on
select pg_temp.publish(1);
select sentinai.subscribe('some-past', tenants => '{some-a,some-nobody}', start_from => 'earliest');
select sentinai.subscribe('some-one', tenants => '{some-b}');
select sentinai.subscribe('some-same', tenants => '{some-b,some-b}');
select sentinai.subscribe('some-both', '{some.y,some.z}', tenants => '{some-c,some-a}');
select sentinai.subscribe('some-types', '{some.y,some.z}');
select sentinai.subscribe('some-all');
select is(pg_temp.stream('some-one'), pg_temp.stream('some-same'), 'equal filters share a stream');
select is((select count(distinct pg_temp.stream(w))::int from unnest('{some-past,some-one,some-both,some-types,some-all}'::text[]) w), 5, 'others do not');
select is(pg_temp.wants('some-past'), 'all {some-a,some-nobody}', 'stat_queue shows tenants');
select is(pg_temp.wants('some-both'), '{some.y,some.z} {some-a,some-c}', 'sorted, beside types');
select is(pg_temp.wants('some-all'), 'all all', 'or that there is no filter');
select is(pg_temp.drain('some-past'), 'ax*1 ay*1', 'what there was of the tenant');
select pg_temp.publish(2);
select is(pg_temp.drain('some-past'), 'ax*2 ay*2', 'and what comes');
select is(pg_temp.drain('some-one'), 'bx*2 by*2', 'of another tenant');
select is(pg_temp.drain('some-same'), 'bx*2 by*2', 'for whoever has that filter');
select is(pg_temp.drain('some-both'), 'ay*2 cy*2', 'types and tenants');
select is(pg_temp.drain('some-types'), 'ay*2 by*2 cy*2', 'types of all tenants');
select is(pg_temp.drain('some-all'), 'ax*2 ay*2 bx*2 by*2 cx*2 cy*2', 'and all');
select is((select count(*) from sentinai_internal.slice s, unnest(event_ids) id join sentinai.event_log e on e.event_id = id
           where s.stream_id = pg_temp.stream('some-both') and (tenant_id = 'some-b' or event_type <> 'some.y')), 0::bigint, 'a stream has nothing that its filter does not want');

-- A stream that is not filled yet is read through its filter
create temp table filled as select first_round from sentinai_internal.stream where stream_id = pg_temp.stream('some-both');
select isnt(first_round, null, 'a stream knows its first round') from filled;

-- Later, again and once more
select sentinai.publish('some.x', 'some-b', 'tomorrow', '{}', deliver_at => clock_timestamp() + '1 day') is not null;
select sentinai.publish('some.x', 'some-c', 'k', '{}') is not null;
select is(pg_temp.drain('some-one'), null, 'a delayed event is not there');
create temp table due as select sentinai.publish('some.x', t, 'later', '{}', deliver_at => clock_timestamp() + '0.2 s') as id, t from unnest('{some-a,some-b}'::text[]) t;
do $$ begin
    for i in 1..1000 loop
        exit when (select count(*) from sentinai_internal.slice s, unnest(event_ids) e, due where s.stream_id = 0 and e = id) = 2;
        perform pg_sleep(0.02);
        commit;
    end loop;
end $$;
select is(pg_temp.drain('some-one'), 'bx*1', 'until it is due');
select is(pg_temp.drain('some-past'), 'ax*1', 'each for its own');
select sentinai.subscribe('some-retry', tenants => '{some-a}', backoff => '{0s}', max_attempts => 2);
select sentinai.publish('some.x', t, 'fails', '{}') is not null from unnest('{some-a,some-b,some-c}'::text[]) t;
select pg_temp.take('first', $$'some-retry'$$);
select is((select string_agg(tenant_id, ' ') from first), 'some-a', 'one to fail');
select is(sentinai.fail(token, event_id, 'once'), 'retrying', 'it fails') from first;
call pg_temp.take_due('again', 'some-retry');
select is((select string_agg(tenant_id || attempt, ' ') from again), 'some-a2', 'it is tried again');
select is(sentinai.fail(token, event_id, 'twice'), 'dead', 'and dies') from again;
select sentinai.retry_dead_letter(event_id, 'some-retry') from again;
call pg_temp.take_due('redriven', 'some-retry');
select is((select string_agg(tenant_id, ' ') from redriven), 'some-a', 'it is redriven');
select is(sentinai.complete(token), 1, 'and completed') from redriven;
-- what tells of its own failures is passed
do $$ begin
    for i in 1..1000 loop
        perform pg_temp.drain('some-retry');
        exit when (select lag_events = 0 from sentinai.stat_queue where worker_type = 'some-retry');
        perform pg_sleep(0.02);
        commit;
    end loop;
end $$;
select is((select lag_events from sentinai.stat_queue where worker_type = 'some-retry'), 0::bigint, 'nothing is left');
-- an alarm for one tenant
select sentinai.subscribe('some-alarm', '{DeadLettered}', tenants => '{some-a}');
select sentinai.subscribe('some-alarm-b', '{DeadLettered}', tenants => '{some-b}');
select sentinai.subscribe('some-dies', '{some.x}', tenants => '{some-a,some-b}');
select sentinai.publish('some.x', t, 'dies', '{}') is not null from unnest('{some-a,some-c}'::text[]) t;
select pg_temp.sequenced();
select sentinai.fail(token, event_id, 'no', false) from sentinai.claim('some-dies');
select sentinai.publish('some.y', 'some-c', 'k', '{}') is not null;
select is(pg_temp.drain('some-alarm'), 'aettered*1', 'a control event is its tenant''s') ;
select is(pg_temp.drain('some-alarm-b'), null, 'and nobody else''s');

-- Change
select sentinai.alter_subscription('some-both', max_attempts => 3);
select is(pg_temp.wants('some-both'), '{some.y,some.z} {some-a,some-c}', 'what is not named stays');
select sentinai.alter_subscription('some-both', tenants => '{some-b}');
select is(pg_temp.wants('some-both'), '{some.y,some.z} {some-b}', 'other tenants, the same types');
select sentinai.alter_subscription('some-both', '{some.x}');
select is(pg_temp.wants('some-both'), '{some.x} {some-b}', 'other types, the same tenants');
select pg_temp.drain('some-both');
select pg_temp.publish(1);
select is(pg_temp.drain('some-both'), 'bx*1', 'and it holds');
select pg_temp.publish(1);
select pg_temp.sequenced();
select sentinai.alter_subscription('some-both', all_event_types => true);
select is(pg_temp.wants('some-both'), 'all {some-b}', 'all types of them');
select pg_temp.publish(1);
select is(pg_temp.drain('some-both'), 'bx*2 by*1', 'what was sequenced before comes by the filter of its time');
select sentinai.alter_subscription('some-both', all_tenants => true);
select is(pg_temp.wants('some-both'), 'all all', 'all');
select is(pg_temp.stream('some-both'), 0, 'no filter is stream 0');
select sentinai.unsubscribe(w) from unnest('{some-past,some-one,some-same,some-both,some-types,some-all,some-retry,some-alarm,some-alarm-b,some-dies}'::text[]) w;
select sentinai.subscribe('some-end', tenants => '{some-a}');
select sentinai.unsubscribe('some-end');
select is((select count(*) from sentinai_internal.stream where tenants is not null and first_round is not null), 0::bigint, 'streams end with their last reader');

-- What is no list of tenants
select throws_ok(format('select sentinai.subscribe(%L, tenants => %L)', 'some-bad', t), code, null, what) from (values
    ('{}', 'SN422', 'no tenant'),
    ('{a,null}', '22004', 'null among tenants'),
    ('{{a},{b}}', 'SN422', 'tenants in two dimensions'),
    ('{""}', 'SN422', 'a tenant without a name'),
    ('{a:b}', 'SN422', 'a tenant with a colon'),
    (array[repeat('x', 257)]::text, 'SN422', 'a name that is too long'),
    (array[E'a\n']::text, 'SN422', 'and one that is not printable'),
    ((select array_agg('t' || i)::text from generate_series(1, 1001) i), 'SN422', 'too many tenants')) v(t, code, what);
select lives_ok($$select sentinai.subscribe('some-most', (select array_agg('t' || i) from generate_series(1, 1000) i), tenants => (select array_agg('t' || i) from generate_series(1, 1000) i))$$, 'a thousand of both');
select sentinai.unsubscribe('some-most');
select throws_ok($$select sentinai.alter_subscription('some-none', tenants => '{a}')$$, 'SN404', null, 'a subscription that is not there');

select * from finish();
