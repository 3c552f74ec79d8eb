-- SPDX-License-Identifier: PostgreSQL
-- slice.row_tids: where the events' rows are is a hint.  It is right while the
-- rows stay, and of no harm when they have moved.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(7);

create function pg_temp.sequenced() returns boolean language plpgsql as $$
begin
    for i in 1..3000 loop
        if not exists (select event_id from sentinai.event_log where tenant_id = 'places' except
                       select unnest(event_ids) from sentinai_internal.slice where stream_id = 0) then
            return true;
        end if;
        perform pg_sleep(0.01);
    end loop;
    return false;
end $$;
create function pg_temp.publish(first int, last int) returns bigint language sql as $$
    select cardinality(sentinai.publish_batch(array_agg('p.t'::text), array_agg('places'::text), array_agg('key' || i % 7),
                                              array_agg(jsonb_build_object('n', i) order by i)))
    from generate_series(first, last) i $$;
-- what the slices say, and what is so; a place is block (high and low half) and line
create function pg_temp.places() returns table (event_id uuid, place tid, row_at tid) language sql as $$
    select l.event_id, format('(%s,%s)', u[1] * 65536 + u[2], u[3])::tid, l.ctid
    from sentinai_internal.slice s, unnest(event_ids) with ordinality e(id, o),
         lateral (select array_agg(get_byte(row_tids, (o::int - 1) * 6 + i) + get_byte(row_tids, (o::int - 1) * 6 + i + 1) * 256 order by i)
                  from generate_series(0, 4, 2) i) p(u),
         sentinai_internal.event_log l
    where stream_id = 0 and l.event_id = id and l.tenant_id = 'places' $$;

select sentinai.subscribe('places');
-- rows that nobody will see lie before those of the events, and few of them: when
-- they are gone, most places of events have another event's row
begin;
select pg_temp.publish(1, 100);
rollback;
select is(pg_temp.publish(1, 400), 400::bigint, 'published');
select ok(pg_temp.sequenced(), 'and sequenced');
select is((select count(*) from sentinai_internal.slice where length(row_tids) <> 6 * cardinality(event_ids)), 0::bigint,
          'a slice has as many places as events');
select is((select array[count(*), count(*) filter (where place = row_at)] from pg_temp.places()), '{400,400}',
          'every row is at its place');

select format('vacuum full %s', inhrelid::regclass) from pg_inherits where inhparent = 'sentinai_internal.event_log'::regclass \gexec
select is((select count(*) from pg_temp.places() where place = row_at), 0::bigint, 'all rows have moved');
create temp table batch as select * from sentinai.claim('places', 1000);
select results_eq($$select (payload ->> 'n')::int from batch order by 1$$, 'select * from generate_series(1, 400)',
                  'claim() finds them by their ids');
select is((select sentinai.complete(token) from batch limit 1), 400, 'and they can be completed');

select sentinai.unsubscribe('places');
select * from finish();
