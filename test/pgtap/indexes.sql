-- Indexes that somebody has added to the log, of every kind: whatever writes
-- them, each has each event once.
-- SPDX-License-Identifier: PostgreSQL
begin;
select plan(13);

-- through_index(INDEX METHOD): events that a scan by that index alone finds
create function pg_temp.through_index(index text, condition text) returns bigint
    language plpgsql
    as $$
declare
    n bigint;
    plan text;
begin
    set local enable_seqscan = off;
    set local enable_indexscan = off;
    set local enable_indexonlyscan = off;
    for plan in execute 'explain (costs off) select from sentinai_internal.event_log where ' || condition loop
        exit when plan like '%Bitmap Index Scan%' || index || '%';
    end loop;
    if plan is null or plan not like '%' || index || '%' then
        return null;
    end if;
    execute 'select count(*) from sentinai_internal.event_log where ' || condition into n;
    return n;
end $$;

-- publish_some(NAME): alone, a few in a batch, and more than a buffer has
create function pg_temp.publish_some(name text) returns bigint
    language sql
    as $$
    select count(sentinai.publish('Indexed', name, 'a' || i, jsonb_build_object('n', i))) from generate_series(1, 3) i;
    select cardinality(sentinai.publish_batch(array_fill('Indexed'::text, array[n]), array_fill(name, array[n]),
        array(select 'b' || i from generate_series(1, n) i), array_fill('{"n": 1}'::jsonb, array[n])))
    from unnest('{2,100,1500}'::int[]) n;
    select count(*) from sentinai_internal.event_log where tenant_id = name $$;

-- the partition is there before a function is planned that reads it
select from sentinai.publish('Indexed', 't-first', 'a', '{}');

create index by_btree on sentinai_internal.event_log (tenant_id, event_id);
select is(pg_temp.publish_some('t-btree'), 1605::bigint, 'published with a B-tree');
select is(pg_temp.through_index('event_log_%tenant_id_event_id_idx', $$tenant_id = 't-btree'$$), 1605::bigint, 'which has them');

create index by_brin on sentinai_internal.event_log using brin (tenant_id);
select is(pg_temp.publish_some('t-brin'), 1605::bigint, 'published with a BRIN index beside it');
select is(pg_temp.publish_some('t-brin2'), 1605::bigint, 'and again in one session');
drop index sentinai_internal.by_btree;
select is(pg_temp.through_index('event_log_%tenant_id_idx', $$tenant_id = 't-brin2'$$), 1605::bigint, 'the BRIN index has them');
drop index sentinai_internal.by_brin;

create index by_hash on sentinai_internal.event_log using hash (tenant_id);
select is(pg_temp.publish_some('t-hash'), 1605::bigint, 'published with a hash index');
select is(pg_temp.through_index('event_log_%tenant_id_idx', $$tenant_id = 't-hash'$$), 1605::bigint, 'which has them');
drop index sentinai_internal.by_hash;

create index by_gin on sentinai_internal.event_log using gin (payload);
select is(pg_temp.publish_some('t-gin'), 1605::bigint, 'published with a GIN index');
select is(pg_temp.through_index('event_log_%payload_idx', $$payload @> '{"n": 3}' and tenant_id = 't-gin'$$), 1::bigint, 'which has them');
drop index sentinai_internal.by_gin;

-- none of ours has an entry too many, either: what they find is what there is
select is(count(*), 6::bigint, 'the newest events of each tenant')
from unnest('{t-btree,t-brin,t-brin2,t-hash,t-gin,t-none}'::text[]) t
where (select count(*) from sentinai.get_events_by_tenant(t, max_events => 1000)) = case t when 't-none' then 0 else 1000 end;
select is((select count(*) from sentinai.get_events_by_aggregate('t-hash', 'b7')), 2::bigint, 'and those of an aggregate, once each');
set local enable_seqscan = on;
select is((select count(*) from sentinai_internal.event_log where tenant_id like 't-%' and tenant_id <> 't-first'), 5 * 1605::bigint, 'as many as were published');
select is((select count(distinct event_id) from sentinai_internal.event_log where tenant_id like 't-%' and tenant_id <> 't-first'), 5 * 1605::bigint, 'each once');

select * from finish();
rollback;
