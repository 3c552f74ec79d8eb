-- SPDX-License-Identifier: PostgreSQL
-- A call that names its tenants in turn: events are written tenant by tenant,
-- ids come back in the caller's order, and nothing else is different.
begin;
select plan(24);

create temp table given (i int, tenant text, agg text, id uuid);

-- batch(tenants, n): publish n events, tenants in turn, and note their ids
create procedure pg_temp.batch(tenants int, n int) language plpgsql as $$
begin
    truncate given;
    insert into given
    select i, format('turn-%s-%s', tenants, i * 11 % tenants), 'a' || i % 30, null from generate_series(1, n) i;
    with published as (
        select id, o from unnest(sentinai.publish_batch(
            array(select 'Turn' from given), array(select tenant from given order by i),
            array(select agg from given order by i),
            array(select jsonb_build_object('i', i) from given order by i))) with ordinality p (id, o))
    update given set id = p.id from published p where p.o = i;
end $$;

-- wrong(): events that are not what was given, or whose order is not kept
create function pg_temp.wrong() returns bigint language sql as $$
    select (select count(*) from given g left join sentinai.event_log e on e.event_id = g.id
            where e.event_id is null or e.tenant_id <> g.tenant or e.aggregate_id <> g.agg or (e.payload->>'i')::int <> g.i)
        + (select count(*) from (select i, lag(i) over (partition by tenant order by id) as before from given) o
            where i < before)
$$;
-- runs(): events that have an entry in the indexes which runs share
create function pg_temp.runs() returns bigint language sql as $$
    select count(*) from given g join sentinai.event_log e on e.event_id = g.id where e.run >= 0
$$;

call pg_temp.batch(50, 1000);
select is(pg_temp.wrong(), 0::bigint, 'fifty tenants in turn');
select is(pg_temp.runs(), 50::bigint, 'a run each');
select is((select array_agg(distinct e.run) from given join sentinai.event_log e on event_id = id), '{-2,2}'::smallint[], 'a long one, with the usual settings');
call pg_temp.batch(1, 1000);
select is(pg_temp.wrong(), 0::bigint, 'one tenant');
select is(pg_temp.runs(), 2::bigint, 'runs of at most 512');
call pg_temp.batch(997, 997);
select is(pg_temp.wrong(), 0::bigint, 'each event of another tenant');
select is(pg_temp.runs(), 997::bigint, 'no run');
call pg_temp.batch(3, 9000);
select is(pg_temp.wrong(), 0::bigint, 'more than are put in order at once');
select cmp_ok(pg_temp.runs(), '<=', 27::bigint, 'few runs');
call pg_temp.batch(2, 2);
select is(pg_temp.wrong(), 0::bigint, 'two events');

-- what readers find is what is there, whatever the runs are
call pg_temp.batch(7, 2500);
select is((select count(*) from generate_series(0, 6) t, generate_series(0, 29) a
           where (select array_agg(event_id order by event_id) from sentinai.get_events_by_exception(format('turn-7-%s', t), 'a' || a, max_events => 1000))
               is distinct from (select array_agg(id order by id) from given where tenant = format('turn-7-%s', t) and agg = 'a' || a)),
          0::bigint, 'the history of each aggregate');
select is((select count(*) from generate_series(0, 6) t
           where (select array_agg(event_id order by event_id) from sentinai.get_events_by_tenant(format('turn-7-%s', t), max_events => 1000))
               is distinct from (select array_agg(id order by id) from given where tenant = format('turn-7-%s', t))),
          0::bigint, 'and of each tenant');

-- a batch that is refused names the event by its place, and leaves nothing
select throws_ok($$
    select sentinai.publish_batch(array_fill('Turn'::text, array[600]), array(select 'refused-' || i % 50 from generate_series(1, 600) i),
        array_fill('a'::text, array[600]), array(select case when i = 599 then '[]' else '{}' end::jsonb from generate_series(1, 600) i)) $$,
    'SN422', 'event 599 of the batch: payload must be a JSON object', 'the place of a wrong event');
select is((select count(*) from sentinai.event_log where tenant_id like 'refused-%'), 0::bigint, 'nothing is stored');

-- events that are alone of their tenant, beside single ones, short and long runs
select sentinai.publish('Turn', 'lone-1', 'a1', '{}') from generate_series(1, 3);
create procedure pg_temp.lone(tenants int, n int) language plpgsql as $$
begin
    perform sentinai.publish_batch(array_fill('Turn'::text, array[n]), array(select format('lone-%s', i % tenants) from generate_series(1, n) i),
        array(select 'a' || i % 3 from generate_series(1, n) i), array_fill('{}'::jsonb, array[n]));
end $$;
call pg_temp.lone(40, 40);
call pg_temp.lone(8, 40);
call pg_temp.lone(40, 40);
call pg_temp.lone(2, 100);
call pg_temp.lone(40, 40);
select sentinai.publish('Turn', 'lone-1', 'a1', '{}') from generate_series(1, 3);
select set_eq($$select run from sentinai.event_log where tenant_id = 'lone-1'$$, $$values (0), (1), (-1), (2), (-2), (3)$$, 'a tenant with events of every kind');
create function pg_temp.paged(agg text, page int) returns uuid[] language plpgsql as $$
declare ids uuid[] := '{}'; n int; got uuid[]; begin
    loop
        if agg is null then select array_agg(event_id order by o) into got from sentinai.get_events_by_tenant('lone-1', after_id => ids[cardinality(ids)], max_events => page) with ordinality e (event_id, b, c, d, f, g, h, i, j, k, l, m, o);
        else select array_agg(event_id order by o) into got from sentinai.get_events_by_exception('lone-1', agg, after_id => ids[cardinality(ids)], max_events => page) with ordinality e (event_id, b, c, d, f, g, h, i, j, k, l, m, o);
        end if;
        exit when got is null;
        ids := ids || got;
    end loop;
    return ids;
end $$;
create function pg_temp.logged(agg text) returns uuid[] language sql as $$
    select array_agg(event_id order by event_id) from sentinai.event_log where tenant_id = 'lone-1' and (agg is null or aggregate_id = agg) $$;
select is(pg_temp.paged(null, 1000), pg_temp.logged(null), 'its history');
select is(pg_temp.paged(null, 4), pg_temp.logged(null), 'in pages');
select is(pg_temp.paged('a1', 1000), pg_temp.logged('a1'), 'that of an aggregate');
select is(pg_temp.paged('a1', 2), pg_temp.logged('a1'), 'in pages');
set local sentinai.long_run = 0;
call pg_temp.lone(40, 40);
select is((select run from sentinai.event_log where tenant_id = 'lone-7' order by event_id desc limit 1), 0::smallint, 'none is alone when every event has all its entries');
reset sentinai.long_run;

-- COPY into the outbox
copy sentinai.outbox (tenant_id, aggregatetype, aggregateid, type, payload) from program
$$seq 1500 | awk '{printf "copy-%d\tthing\ta%d\tTurn\t{\"i\": %d}\n", $1 % 50, $1 % 30, $1}'$$;
select is((select count(*) from sentinai.event_log where tenant_id like 'copy-%'), 1500::bigint, 'rows by COPY');
select is((select count(*) from (select (payload->>'i')::int as i, lag((payload->>'i')::int) over (partition by tenant_id order by event_id) as before
           from sentinai.event_log where tenant_id like 'copy-%') o where i < before), 0::bigint, 'each tenant''s in their order');
select cmp_ok((select count(*) from sentinai.event_log where tenant_id like 'copy-%' and run >= 0), '<=', 100::bigint, 'in runs');

-- INSERT takes the id of each row as it comes
insert into sentinai.outbox (tenant_id, aggregatetype, aggregateid, type, payload)
select 'insert-' || i % 50, 'thing', 'a', 'Turn', jsonb_build_object('i', i) from generate_series(1, 500) i;
select is((select array_agg((payload->>'i')::int order by event_id) from sentinai.event_log where tenant_id like 'insert-%'),
          array(select generate_series(1, 500)), 'rows by INSERT are in the order of the rows');

select * from finish();
rollback;
