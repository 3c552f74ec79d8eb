-- SPDX-License-Identifier: PostgreSQL
-- audit_trail(): events, actions and configuration in one order, for whoever may
-- audit, in pages, with bounds.
select plan(77);
\set tenant trail-a
\ir lib/queue.sql
create role trail_a nologin;
create role trail_all nologin;
create role trail_none nologin;
create role trail_reader nologin;
grant usage on schema sentinai to public;
do $$ declare f record; begin
    for f in select p.oid::regprocedure as name from pg_proc p where p.pronamespace = 'sentinai'::regnamespace and p.proname in ('audit_trail', 'publish', 'set_limit', 'act_as')
    loop
        execute format('grant execute on function %s to trail_a, trail_all, trail_none, trail_reader', f.name);
    end loop;
end $$;
create function pg_temp.error(command text) returns text language plpgsql as $$
declare detail text; hint text; begin
    execute command;
    return 'no error';
exception when others then
    get stacked diagnostics detail = pg_exception_detail, hint = pg_exception_hint;
    return concat_ws('|', sqlstate, sqlerrm, nullif(detail, ''), nullif(hint, ''));
end $$;
-- What concerns every tenant is in each trail: also what files before this one did.
select clock_timestamp() as start \gset
set test.start = :'start';
create function pg_temp.trail(tenant_id text, aggregate_id text default null, from_time timestamptz default null, to_time timestamptz default null,
        after_id uuid default null, max_rows int default 1000, kinds text[] default null, aggregate_type text default null)
    returns table (id uuid, at timestamptz, kind text, what text, tenant_id text, aggregate_type text, aggregate_id text, actor text, object text,
        before jsonb, after jsonb, reason text, detail jsonb, action_id bigint) language sql as $$
    select * from sentinai.audit_trail($1, $2, greatest($3, current_setting('test.start')::timestamptz), $4, $5, $6, $7, $8) $$;
-- a trail as a line: what, and of an event its number
create function pg_temp.line(tenant text, aggregate text default null, more text default '') returns text language plpgsql as $$
declare r text; begin
    execute format('select string_agg(what || coalesce('' '' || (after ->> ''n''), ''''), '', '' order by o)
        from (select row_number() over () as o, t.* from pg_temp.trail($1, $2%s) t) x', more) into r using tenant, aggregate;
    return r;
end $$;
create function pg_temp.publish(tenant text, key text, n int) returns uuid language sql as $$
    select sentinai.publish('tr.t', tenant, key, jsonb_build_object('n', n)) $$;

-- Two events with an action between them, in one transaction.
begin;
select pg_temp.publish('trail-a', 'k', 1) as e1 \gset
select sentinai.set_limit('trail-a', 'trail_calls', 5, '1 hour');
select pg_temp.publish('trail-a', 'k', 2) as e2 \gset
commit;
select pg_temp.publish('trail-b', 'k', 3);
select sentinai.set_limit('trail-b', 'trail_calls', 5, '1 hour');
select sentinai.set_limit('*', 'trail_all', 7, '1 hour');
select pg_temp.publish('trail-a', 'l', 4);
select sentinai.set_limit('trail-a', 'trail_calls', 6, '1 hour');
select is(pg_temp.line('trail-a'), 'tr.t 1, set_limit, tr.t 2, set_limit, tr.t 4, set_limit', 'one order, with what concerns every tenant');
select is(pg_temp.line('trail-b'), 'tr.t 3, set_limit, set_limit', 'of the other one, too');
select is((select string_agg(distinct coalesce(tenant_id, 'none'), ' ') from pg_temp.trail('trail-b')), '* trail-b', 'and nothing of the first');
select is(pg_temp.line('trail-a', 'k'), 'tr.t 1, set_limit, tr.t 2, set_limit, set_limit', 'an aggregate, with the configuration');
select is(pg_temp.line('trail-nobody'), 'set_limit', 'of an unknown tenant there is what concerns every one');

-- Columns
select is((select jsonb_agg(to_jsonb(t) - 'id' - 'at') from pg_temp.trail('trail-a', max_rows => 1) t),
    jsonb_build_array(jsonb_build_object('kind', 'event', 'what', 'tr.t', 'tenant_id', 'trail-a', 'aggregate_type', 'exception', 'aggregate_id', 'k', 'actor', null, 'object', null,
        'before', null, 'after', '{"n": 1}'::jsonb, 'reason', null, 'action_id', null,
        'detail', '{"schema_version": 1, "correlation_id": "k", "causation_id": null, "metadata": {}}'::jsonb)), 'an event');
select is((select jsonb_agg(to_jsonb(t) - 'id' - 'at') from (select * from pg_temp.trail('trail-a') offset 5) t),
    jsonb_build_array(jsonb_build_object('kind', 'configuration', 'what', 'set_limit', 'tenant_id', 'trail-a', 'aggregate_type', null, 'aggregate_id', null, 'actor', session_user, 'object', 'trail_calls',
        'before', '{"value": "5", "window": "01:00:00", "enabled": "true"}'::jsonb, 'after', '{"value": "6", "window": "01:00:00", "enabled": "true"}'::jsonb, 'reason', null,
        'action_id', (select max(action_id) from sentinai.actions where tenant_id = 'trail-a'),
        'detail', jsonb_build_object('session_role', session_user, 'acting_role', current_user, 'worker_type', null))), 'a change');
select is((select array_agg(id) from pg_temp.trail('trail-a', 'k') where kind = 'event'), array[:'e1', :'e2']::uuid[], 'ids are those of the events');
select ok((select bool_and(t.at = l.occurred_at) from pg_temp.trail('trail-a') t join sentinai.event_log l on l.event_id = t.id), 'so are the times');
select is((select count(*) from pg_temp.trail('trail-a') t join sentinai.actions a on a.action_id = t.action_id and a.clock_id = t.id and a.acted_at = t.at), 3::bigint, 'and those of the actions');

-- Pages: whatever their size, all of it in one order, once.
create function pg_temp.pages(tenant text, aggregate text, size int) returns uuid[] language plpgsql as $$
declare r uuid[] := '{}'; page uuid[]; begin
    for i in 1..200 loop
        select array_agg(t.id order by t.o) into page from (select row_number() over () as o, x.id from pg_temp.trail(tenant, aggregate, after_id => r[cardinality(r)], max_rows => size) x) t;
        exit when page is null;
        if cardinality(page) > size then return '{}'; end if;
        r := r || page;
    end loop;
    return r;
end $$;
select pg_temp.publish('trail-p', 'k' || i % 3, i), case when i % 2 = 0 then sentinai.set_limit('trail-p', 'trail_p', i, '1 hour') end,
       case when i % 5 = 0 then sentinai.set_limit('*', 'trail_all', i, '1 hour') end from generate_series(1, 40) i;
select sentinai.publish_batch(array_agg('tr.t'::text), array_agg('trail-p'::text), array_agg('k' || i % 3), array_agg(jsonb_build_object('n', i))) from generate_series(41, 340) i \gset discard_
select sentinai.set_limit('trail-p', 'trail_p', 1000, '1 hour');
create temp table whole as select row_number() over () as o, * from pg_temp.trail('trail-p', max_rows => 10000);
select is((select count(*) from whole), 40 + 20 + 8 + 1 + 300 + 1::bigint, 'all of it');
select ok((select bool_and(id > before) from (select id, lag(id) over (order by o) as before from whole) x where before is not null), 'by id, each once');
select ok((select bool_and(at >= before) from (select at, lag(at) over (order by o) as before from whole) x where before is not null), 'which is the order of time');
select is(pg_temp.pages('trail-p', null, n), (select array_agg(id order by o) from whole), 'in pages of ' || n) from unnest(array[2, 3, 7, 100, 369, 370, 371]) n;
select is(pg_temp.pages('trail-p', 'k1', 5), (select array_agg(id order by o) from whole where aggregate_id = 'k1' or kind <> 'event'), 'pages of an aggregate');
select is((select array_agg(id) from pg_temp.trail('trail-p', max_rows => 1)), (select array_agg(id) from whole where o = 1), 'a page of one row');
select is((select array_agg(id order by id) from whole where kind = 'event'), (select array_agg(event_id order by event_id) from sentinai.get_events_by_tenant('trail-p', max_events => 1000)), 'the events are those of the log');

-- Kinds
select is((select count(*) from pg_temp.trail('trail-p', kinds => '{event}', max_rows => 10000)), 340::bigint, 'events alone');
select is((select count(*) from pg_temp.trail('trail-p', kinds => '{configuration}')), 30::bigint, 'configuration alone');
select is((select count(*) from pg_temp.trail('trail-p', kinds => '{action}')), 0::bigint, 'nobody has done anything');
select is((select count(*) from pg_temp.trail('trail-p', kinds => '{}')), 0::bigint, 'of no kind there is nothing');
select is((select count(*) from pg_temp.trail('trail-p', kinds => '{event,configuration,event}', max_rows => 10000)), 370::bigint, 'of two, one of them twice');
select is((select count(*) from pg_temp.trail('trail-p', 'k1', kinds => '{action,event}', max_rows => 10000)), (select count(*) from whole where aggregate_id = 'k1'), 'an aggregate without the configuration');
select is((select count(*) from pg_temp.trail('trail-p', aggregate_type => 'other', kinds => '{event}')), 0::bigint, 'of another type there is none');

-- Times
create function pg_temp.between(f timestamptz, t timestamptz) returns bigint language sql as $$ select count(*) from sentinai.audit_trail('trail-p', null, f, t, max_rows => 10000, kinds => '{event}') $$;
select is(pg_temp.between('-infinity', 'infinity'), 340::bigint, 'from ever to ever');
select is(pg_temp.between('infinity', null), 0::bigint, 'from the end on');
select is(pg_temp.between(null, '-infinity'), 0::bigint, 'to the beginning');
select is(pg_temp.between('infinity', '-infinity'), 0::bigint, 'from the end to the beginning');
select is(pg_temp.between(now(), '2025-06-01'), 0::bigint, 'from later than to');
select is(pg_temp.between('2000-01-01', '2001-01-01'), 0::bigint, 'before there were any');
select is(pg_temp.between('0001-01-01 BC', '294276-01-01'), 340::bigint, 'times that no id can have');
select is(pg_temp.between((select at from whole where o = 12), null), (select count(*) from whole w where w.kind = 'event' and w.at >= (select at from whole where o = 12)), 'from a time on: with it');
select is(pg_temp.between(null, (select at from whole where o = 12)), (select count(*) from whole w where w.kind = 'event' and w.at < (select at from whole where o = 12)), 'to a time: without it');
select is(pg_temp.between((select at from whole where o = 12), (select at from whole where o = 12)), 0::bigint, 'an empty range');
select is((select count(*) from sentinai.audit_trail('trail-p', from_time => (select at from whole where o = 12), after_id => (select id from whole where o = 2), max_rows => 10000, kinds => '{event}')),
    (select count(*) from whole w where w.kind = 'event' and w.at >= (select at from whole where o = 12)), 'a page before the time begins with the time');
select is((select count(*) from pg_temp.trail('trail-p', after_id => 'ffffffff-ffff-ffff-ffff-ffffffffffff')), 0::bigint, 'behind everything');
select is((select count(*) from pg_temp.trail('trail-p', after_id => '00000000-0000-0000-0000-000000000000', max_rows => 10000, kinds => '{event}')), 340::bigint, 'before everything');

select is((select count(*) from sentinai.audit_trail('trail-p', null, (select at from whole where o = 5), (select at from whole where o = 50), max_rows => 10000)),
    (select count(*) from whole w where w.at >= (select at from whole where o = 5) and w.at < (select at from whole where o = 50)), 'actions have their times, too');

-- Arguments
select throws_ok($$select * from sentinai.audit_trail(null)$$, '22004', null, 'null tenant');
select throws_ok($$select * from sentinai.audit_trail('a', max_rows => null)$$, '22004', null, 'null max_rows');
select throws_ok($$select * from sentinai.audit_trail('a', max_rows => 0)$$, 'SN422', null, 'no rows');
select throws_ok($$select * from sentinai.audit_trail('a', max_rows => 10001)$$, 'SN422', null, 'too many');
select throws_ok($$select * from sentinai.audit_trail('a', kinds => '{fly}')$$, 'SN422', null, 'no such kind');
select throws_ok($$select * from sentinai.audit_trail('a', kinds => '{event,null}')$$, 'SN422', null, 'a kind that is null');
select throws_ok($$select * from sentinai.audit_trail('a', kinds => '{{event},{action}}')$$, 'SN422', null, 'two dimensions');
select throws_ok($$select * from sentinai.audit_trail('*', 'k')$$, 'SN422', null, 'an aggregate of all tenants');

-- What agents and people did with an event: control events, and actions of its aggregate.
select sentinai.subscribe('trail-sub', '{tr.u}', backoff => '{1d}');
select sentinai.publish('tr.u', 'trail-a', x, '{"n": 9}') from unnest('{m,n}'::text[]) x;
select pg_temp.take('batch', $$'trail-sub', 10$$);
select sentinai.fail(token, event_id, 'boom', aggregate_id = 'm') from batch where aggregate_id = 'm';
select sentinai.retry_event((select event_id from batch where aggregate_id = 'm'), 'trail-sub', 'ann');
select sentinai.give_up_event((select event_id from batch where aggregate_id = 'm'), 'trail-sub', 'ann', 'poison');
select sentinai.retry_dead_letter((select event_id from batch where aggregate_id = 'm'), 'trail-sub', 'bea');
select is(pg_temp.line('trail-a', 'm', $$, kinds => '{event,action}'$$), 'tr.u 9, RetryScheduled, retry_event, DeadLettered, give_up_event, retry_dead_letter, DeadLetterRetried', 'what was done with an event of an aggregate');
select is((select string_agg(actor || ' ' || coalesce(reason, '-'), ', ' order by id) from pg_temp.trail('trail-a', 'm', kinds => '{action}')), 'ann -, ann poison, bea -', 'by whom, and why');
select is(pg_temp.line('trail-a', 'n', $$, kinds => '{event,action}'$$), 'tr.u 9', 'and nothing of it with another one');
select ok(exists (select from pg_temp.trail('trail-a') where what = 'subscribe' and tenant_id = '*' and object = 'trail-sub'), 'a subscription for all tenants concerns each');
select sentinai.subscribe('trail-for-b', tenants => '{trail-b,trail-c}');
select is((select count(*) from pg_temp.trail('trail-a') where object = 'trail-for-b'), 0::bigint, 'one for others does not');
select is((select string_agg(after ->> 'tenant', ' ') from pg_temp.trail('trail-b') where object = 'trail-for-b'), 'trail-b', 'and names no other');

-- All tenants
select is((select count(*) from sentinai.audit_trail('*', from_time => :'start', max_rows => 10000)),
    (select count(*) from sentinai.event_log where occurred_at >= :'start') + (select count(*) from sentinai.actions where acted_at >= :'start'), 'everything');
select ok((select bool_and(id > before) from (select id, lag(id) over (order by o) as before from (select row_number() over () as o, id from sentinai.audit_trail('*', from_time => :'start', max_rows => 10000)) y) x where before is not null), 'in order');
select is((select array_agg(id) from sentinai.audit_trail('*', after_id => :'e1', max_rows => 2)),
    (select array_agg(id) from (select id from (select event_id as id from sentinai.event_log union all select clock_id from sentinai.actions) y where id > :'e1' order by id limit 2) z), 'a page of it');
select is((select count(*) from sentinai.audit_trail('*', from_time => :'start', aggregate_type => 'none', kinds => '{event}')), 0::bigint, 'of a type of aggregates');

-- Who may
select sentinai.grant_tenant('trail_a', 'trail-a', 'audit'), sentinai.grant_tenant('trail_all', '*', 'audit'), sentinai.grant_tenant('trail_reader', 'trail-a', 'read');
select is((select count(*) from pg_temp.trail('trail-b') where what in ('grant_tenant')), 1::bigint, 'who may look at all tenants concerns each');
set sentinai.tenant_isolation = on;
select ok((select count(*) > 5 from sentinai.audit_trail('trail-a')), 'the superuser sees it');
set role trail_a;
select ok((select count(*) > 5 from sentinai.audit_trail('trail-a')), 'an auditor of the tenant');
select is((select count(*) from sentinai.audit_trail('trail-a', from_time => :'start') where object = 'trail-sub' and tenant_id = '*'), 0::bigint, 'but nothing of a subscription that it may not see');
select throws_ok($$select * from sentinai.audit_trail('trail-b')$$, 'SN403', null, 'and no other tenant');
select is(pg_temp.error($$select * from sentinai.audit_trail('trail-b')$$), pg_temp.error($$select * from sentinai.audit_trail('trail-nobody')$$), 'a foreign one and an unknown one are refused alike');
select throws_ok($$select * from sentinai.audit_trail('*')$$, 'SN403', null, 'nor all');
set role trail_all;
select ok((select count(*) > 5 from sentinai.audit_trail('*')), 'an auditor of all sees all');
select ok(exists (select from sentinai.audit_trail('trail-a', from_time => :'start') where object = 'trail-sub' and tenant_id = '*'), 'with every subscription');
begin;
select sentinai.act_as('trail-a');
select throws_ok($$select * from sentinai.audit_trail('trail-b')$$, 'SN403', null, 'but acts for one tenant');
select throws_ok($$select * from sentinai.audit_trail('*')$$, 'SN403', null, 'and not for all');
select ok((select count(*) > 5 from sentinai.audit_trail('trail-a')), 'whose trail it sees');
rollback;
set role trail_none;
select throws_ok($$select * from sentinai.audit_trail('trail-a')$$, 'SN403', null, 'without a grant there is nothing');
set role trail_reader;
select throws_ok($$select * from sentinai.audit_trail('trail-a')$$, 'SN403', null, 'to read is not to audit');
reset role;
reset sentinai.tenant_isolation;
set role trail_none;
select ok((select count(*) > 5 from sentinai.audit_trail('trail-a')), 'without isolation the right to execute is enough');
reset role;

select sentinai.revoke_tenant('trail_a', 'trail-a', 'audit'), sentinai.revoke_tenant('trail_all', '*', 'audit'), sentinai.revoke_tenant('trail_reader', 'trail-a', 'read'), sentinai.drop_limit('*', 'trail_all');
select sentinai.unsubscribe(w) from unnest('{trail-sub,trail-for-b}'::text[]) w;
select * from finish();
