-- SPDX-License-Identifier: PostgreSQL
-- What files about claims share.  The variable tenant says whose events are meant:
--     \set tenant retry
--     \ir lib/queue.sql
set test.tenant = :'tenant';

-- until every event is in a slice
create function pg_temp.sequenced() returns void language plpgsql as $$
begin
    for i in 1..3000 loop
        exit when not exists (select event_id from sentinai.event_log where tenant_id = current_setting('test.tenant') except
                              select unnest(event_ids) from sentinai_internal.slice where stream_id = 0);
        perform pg_sleep(0.01);
    end loop;
end $$;

-- a batch as a table, o its order
create function pg_temp.take(name text, args text) returns void language plpgsql as $$
begin
    perform pg_temp.sequenced();
    execute format('create temp table %I as select row_number() over () as o, c.* from sentinai.claim(%s) c', name, args);
end $$;

-- claim when the next retry is due, within ten seconds
create procedure pg_temp.take_due(name text, wt text) language plpgsql as $$
declare n int;
begin
    for i in 1..200 loop
        execute format('drop table if exists %I', name);
        perform pg_temp.take(name, quote_literal(wt));
        execute format('select count(*) from %I', name) into n;
        commit;
        exit when n > 0;
        perform pg_sleep(0.05);
    end loop;
end $$;

-- key, number and attempt of each event of a batch
create function pg_temp.shown(rel regclass, sorted text default 'o') returns text language plpgsql as $$
declare r text;
begin
    execute format('select string_agg(aggregate_id || (payload ->> ''n'') || ''#'' || attempt, '' '' order by %s) from %s', sorted, rel) into r;
    return r;
end $$;
