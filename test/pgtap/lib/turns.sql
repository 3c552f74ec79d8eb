-- SPDX-License-Identifier: PostgreSQL
-- Tenants that flood the queue with events of type turn, and what was handed out to whom; behind lib/queue.sql. The caller
-- drops turns_served.
create table turns_served (o bigint generated always as identity, worker text, batch int, tenant text, key text, n int, id uuid);
create function pg_temp.flood(tenant text, n int, first int default 0) returns void language sql as $$
    select sentinai.publish_batch(array_agg('turn'::text), array_agg(tenant), array_agg('k' || i % 97), array_agg(jsonb_build_object('n', i)))
    from generate_series(first + 1, first + n) i $$;
create function pg_temp.last(tenant text, n int default 1) returns bigint language sql as $$
    select count(sentinai.publish('turn', tenant, 'k' || i, jsonb_build_object('n', i))) from generate_series(1, n) i $$;
-- work(wt, max, until, batches): so many batches, or until the tenant's events came, or nothing is left
create procedure pg_temp.work(wt text, max int, until text default null, batches int default 100000) language plpgsql as $$
declare
    t text;
    found bool;
begin
    perform pg_temp.sequenced();
    for i in 1..batches loop
        with got as (select row_number() over () as o, c.* from sentinai.claim(wt, max) c),
            noted as (insert into turns_served (worker, batch, tenant, key, n, id)
                select wt, i, tenant_id, aggregate_id, (payload ->> 'n')::int, event_id from got order by o returning tenant)
        select (select min(token) from got), (select bool_or(tenant = until) from noted) into t, found;
        exit when t is null;
        perform sentinai.complete(t);
        commit;
        exit when found;
    end loop;
end $$;
-- how many events of others came before the tenant's first
create function pg_temp.before(wt text, t text) returns bigint language sql as $$
    select count(*) from turns_served where worker = wt and tenant <> t
        and o < (select min(o) from turns_served where worker = wt and tenant = t) $$;
-- wait until the events of a tenant are in rounds
create procedure pg_temp.until_sequenced(tenant text) language plpgsql as $$
begin
    perform set_config('test.tenant', tenant, false), pg_temp.sequenced();
end $$;
-- events that did not come in the order of their key, or came twice
create function pg_temp.wrong(wt text) returns bigint language sql as $$
    select (select count(*) from (select id, lag(id) over (partition by tenant, key order by o) as before from turns_served where worker = wt) x where id < before)
        + (select count(*) - count(distinct id) from turns_served where worker = wt) $$;
create function pg_temp.served(wt text) returns text language sql as $$
    select string_agg(tenant || ' ' || n, ', ' order by tenant) from (select tenant, count(*) n from turns_served where worker = wt group by 1) x $$;
create function pg_temp.track(t text) returns int language sql as $$ select track from sentinai_internal.track_tenant where tenant_id = t $$;
create function pg_temp.lag(wt text) returns bigint language sql as $$ select lag_events from sentinai.stat_queue where worker_type = wt $$;
