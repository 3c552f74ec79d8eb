-- SPDX-License-Identifier: PostgreSQL
-- get_events_by_exception() and get_events_by_tenant(): what they return, and
-- that they read no more than they must, however large the log is.
begin;
select plan(44);

select sentinai.make_partitions(now() + interval '3 days');
select sentinai.publish_batch(
    array(select 'noise' from generate_series(1, 20000)),
    array(select 'noise-' || i % 50 from generate_series(1, 20000) i),
    array(select 'n' || i % 500 from generate_series(1, 20000) i),
    array(select '{}'::jsonb from generate_series(1, 20000)));

create temp table mine (i int, agg text, type text, corr text, id uuid);
insert into mine select i, 'ex-' || i % 3, 't' || i % 4, nullif('c' || i % 5, 'c0'), null from generate_series(1, 60) i;
update mine m set id = p.id
  from (select i, sentinai.publish(type, 'hist', agg, jsonb_build_object('i', i), correlation_id => corr) as id
          from (select * from mine order by i) o) p where p.i = m.i;
-- another key of the same hash
select sentinai.publish('t0', 'twin', 'dxzxj11', '{}');

create function pg_temp.ids(query text) returns uuid[] language plpgsql as $$
declare
    result uuid[];
begin
    execute format('select array_agg(event_id) from sentinai.%s', query) into result;
    return coalesce(result, '{}');
end $$;
create function pg_temp.mine(condition text) returns uuid[] language plpgsql as $$
declare
    result uuid[];
begin
    execute format('select array_agg(id order by id) from mine where %s', condition) into result;
    return coalesce(result, '{}');
end $$;

select is(sentinai.partition_hash('hist:ex-1'), (select partition_hash from sentinai.event_log where tenant_id = 'twin'), 'two keys of one hash');
select is(pg_temp.ids($$get_events_by_exception('hist', 'ex-1')$$), pg_temp.mine($$agg = 'ex-1'$$), 'an aggregate''s events, in order');
select is(pg_temp.ids($$get_events_by_aggregate('hist', 'ex-1')$$), pg_temp.mine($$agg = 'ex-1'$$), 'by the name that fits every aggregate');
select is(pg_temp.ids($$get_events_by_aggregate('hist', 'ex-1', aggregate_type => 'exception')$$), pg_temp.mine($$agg = 'ex-1'$$), 'of its type');
select is(pg_temp.ids($$get_events_by_aggregate('hist', 'ex-1', aggregate_type => 'order')$$), '{}', 'of another');
select is(pg_temp.ids($$get_events_by_aggregate('hist', 'ex-1', array['t1', 't2'], max_events => 2)$$),
          (pg_temp.mine($$agg = 'ex-1' and type in ('t1', 't2')$$))[1:2], 'with filters, and a page');
select throws_ok($$select sentinai.get_events_by_aggregate('hist', null)$$, '22004', 'aggregate_id must not be null', 'of no aggregate');
select is(pg_temp.ids($$get_events_by_tenant('hist')$$), pg_temp.mine('true'), 'a tenant''s events, in order');
select is(pg_temp.ids($$get_events_by_exception('hist', 'ex-1', array['t1', 't2'])$$), pg_temp.mine($$agg = 'ex-1' and type in ('t1', 't2')$$), 'by types');
select is(pg_temp.ids($$get_events_by_exception('hist', 'ex-1', '{}')$$), '{}', 'of no type');
select is(pg_temp.ids($$get_events_by_exception('hist', 'ex-2', correlation_id => 'c1')$$), pg_temp.mine($$agg = 'ex-2' and corr = 'c1'$$), 'by correlation id');
select is(pg_temp.ids($$get_events_by_tenant('hist', array['t3'], correlation_id => 'c2')$$), pg_temp.mine($$type = 't3' and corr = 'c2'$$), 'by both');
select is(pg_temp.ids($$get_events_by_tenant('hist', max_events => 7)$$), (pg_temp.mine('true'))[1:7], 'the first page');
select is(pg_temp.ids(format($$get_events_by_tenant('hist', max_events => 7, after_id => %L)$$, (select id from mine where i = 7))), (pg_temp.mine('true'))[8:14], 'the next');
select is(pg_temp.ids(format($$get_events_by_exception('hist', 'ex-1', after_id => %L)$$, (select id from mine where i = 60))), '{}', 'nothing after the last');
select is(pg_temp.ids(format($$get_events_by_exception('hist', 'ex-1', max_events => 2, event_types => '{t1}', after_id => %L)$$, (select id from mine where i = 4))),
          (pg_temp.mine($$agg = 'ex-1' and type = 't1' and i > 4$$))[1:2], 'pages of a filter');

create temp table times as
select i, occurred_at from mine join sentinai.event_log on event_id = id;
select is(pg_temp.ids(format($$get_events_by_tenant('hist', from_time => %L, to_time => %L)$$,
                             (select occurred_at from times where i = 11), (select occurred_at from times where i = 31))),
          pg_temp.mine(format($$i in (select i from times where occurred_at >= %L and occurred_at < %L)$$,
                              (select occurred_at from times where i = 11), (select occurred_at from times where i = 31))), 'a time range, its end excluded');
select cmp_ok(cardinality(pg_temp.ids(format($$get_events_by_tenant('hist', from_time => %L)$$, (select occurred_at from times where i = 11)))), '>=', 50, 'an open end');
select is(pg_temp.ids($$get_events_by_tenant('hist', to_time => now() - interval '1 day')$$), '{}', 'before there was anything');
select is(pg_temp.ids($$get_events_by_tenant('hist', from_time => now() + interval '1 day')$$), '{}', 'after there was anything');
select is(pg_temp.ids($$get_events_by_tenant('hist', from_time => '-infinity', to_time => 'infinity')$$), pg_temp.mine('true'), 'always');
select is(pg_temp.ids($$get_events_by_tenant('hist', from_time => 'infinity')$$), '{}', 'never');
select is(pg_temp.ids($$get_events_by_tenant('hist', to_time => '-infinity')$$), '{}', 'never before');
select is(pg_temp.ids($$get_events_by_tenant('hist', from_time => '4000-01-01 BC', to_time => '290000-01-01')$$), pg_temp.mine('true'), 'from one end of time to the other');
select is(pg_temp.ids($$get_events_by_tenant('hist', to_time => '294276-12-31 23:59:59')$$), pg_temp.mine('true'), 'before the last second that a timestamp can be');
select is(pg_temp.ids($$get_events_by_exception('nobody', 'ex-1')$$), '{}', 'an unknown tenant');

select is((select row(e.*)::text from sentinai.get_events_by_exception('hist', 'ex-1', max_events => 1) e),
          (select row(event_id, event_type, tenant_id, aggregate_type, aggregate_id, schema_version, payload, metadata, correlation_id,
                      causation_id, occurred_at, deliver_at)::text
             from sentinai.event_log where tenant_id = 'hist' and aggregate_id = 'ex-1' order by event_id limit 1), 'every column');

-- What was read: rows fetched by index, and no table scanned
create function pg_temp.cost(query text) returns text language plpgsql as $$
declare
    scans bigint;
    fetched bigint;
    before record;
begin
    select coalesce(sum(seq_scan), 0) as scans, coalesce(sum(idx_tup_fetch), 0) as fetched into before
      from pg_stat_xact_user_tables where schemaname = 'sentinai_internal' and relname like 'event\_log%';
    execute 'select count(*) from sentinai.' || query;
    select sum(seq_scan) - before.scans, sum(idx_tup_fetch) - before.fetched into scans, fetched
      from pg_stat_xact_user_tables where schemaname = 'sentinai_internal' and relname like 'event\_log%';
    return format('%s scans, %s rows', scans, fetched);
end $$;
select is(pg_temp.cost($$get_events_by_exception('hist', 'ex-1')$$), '0 scans, 21 rows', 'reads the key''s rows only');
select is(pg_temp.cost($$get_events_by_tenant('hist', max_events => 10)$$), '0 scans, 10 rows', 'reads a page''s rows only');
select matches(pg_temp.cost(format($$get_events_by_tenant('hist', max_events => 10, after_id => %L)$$, (select id from mine where i = 30))), '^0 scans, 1[01] rows$', 'so does a later page, and looks whether it begins in a run, if one can reach so far');
select is(pg_temp.cost($$get_events_by_tenant('hist', to_time => now() - interval '1 day')$$), '0 scans, 0 rows', 'a time range without events reads none');

-- Batches: their events share index entries, and are read as any others
create procedure pg_temp.batches(long_run int) language plpgsql as $$
begin
    perform set_config('sentinai.long_run', long_run::text, true);
    for size in 1 .. 4 loop
        perform sentinai.publish('t', 'runs', 'a1', '{}');
        perform sentinai.publish_batch(array_fill('t'::text, array[n]),
            array(select case when i % 1300 < 1200 then 'runs' else 'other' end from generate_series(1, n) i),
            array(select 'a' || i % 23 from generate_series(1, n) i), array_fill('{}'::jsonb, array[n]))
           from (values (2), (30), (511), (1400)) sizes (n) offset size - 1 limit 1;
    end loop;
end $$;
call pg_temp.batches(0);
call pg_temp.batches(16);
call pg_temp.batches(512);
create function pg_temp.pages(query text, page int) returns uuid[] language plpgsql as $$
declare
    ids uuid[] = '{}';
    more uuid[];
begin
    loop
        execute format('select array_agg(event_id order by ordinality) from sentinai.%s, after_id => %L, max_events => %s) with ordinality', query, ids[cardinality(ids)], page) into more;
        exit when more is null;
        ids := ids || more;
    end loop;
    return ids;
end $$;
create function pg_temp.logged(condition text) returns uuid[] language plpgsql as $$
declare
    ids uuid[];
begin
    execute 'select array_agg(event_id order by event_id) from sentinai.event_log where ' || condition into ids;
    return ids;
end $$;
select ok(exists (select from sentinai.event_log where run = 2 and cardinality(run_keys) = 512) and exists (select from sentinai.event_log where run = -1), 'long and short runs are there');
select is((select count(*) from sentinai.event_log where tenant_id = 'runs' and run_keys is null and run in (-2, 2)), (select count(*) from sentinai.event_log where tenant_id = 'runs' and run = -2), 'the first of a long run lists its keys');
select is(pg_temp.pages('get_events_by_tenant($$runs$$', 700), pg_temp.logged($$tenant_id = 'runs'$$), 'runs of a tenant');
select is(pg_temp.pages('get_events_by_tenant($$runs$$', 97), pg_temp.logged($$tenant_id = 'runs'$$), 'in pages that end within runs');
select is(pg_temp.pages('get_events_by_exception($$runs$$, $$a1$$', 1000), pg_temp.logged($$tenant_id = 'runs' and aggregate_id = 'a1'$$), 'an aggregate in runs and alone');
select is(pg_temp.pages('get_events_by_exception($$runs$$, $$a1$$', 1), pg_temp.logged($$tenant_id = 'runs' and aggregate_id = 'a1'$$), 'one by one');
select is(pg_temp.pages('get_events_by_exception($$other$$, $$a7$$', 3), pg_temp.logged($$tenant_id = 'other' and aggregate_id = 'a7'$$), 'where two tenants share a batch');
select is((select array_agg(event_id) from sentinai.get_events_by_tenant('runs', from_time => at, to_time => at + '50us', max_events => 10000)),
          pg_temp.logged(format($$tenant_id = 'runs' and occurred_at >= %L and occurred_at < %L$$, at, at + '50us'::interval)), 'a time range within a run')
  from (select occurred_at as at from sentinai.event_log where run = -2 and tenant_id = 'runs' order by event_id offset 300 limit 1) within;
select ok(cardinality(pg_temp.logged($$tenant_id = 'runs'$$)) > 5000, 'all of them were there');

-- Indexes of somebody's own are not taken for ours, wherever they stand in the list
create procedure pg_temp.add_indexes() language plpgsql as $$
declare
    part regclass = (select tableoid from sentinai_internal.event_log limit 1);
    ours regclass;
begin
    set local allow_system_table_mods = on;
    execute format('create index on %s (tenant_id, occurred_at)', part);
    execute format('create index on %s (tenant_id, event_id)', part);
    execute format('create index on %s (hashtext(aggregate_type), event_id)', part);
    execute format('create index on %s (hashtextextended(tenant_id, 0), event_id)', part);
    execute format('create index on %s (partition_hash)', part);
    execute format('create index on %s (partition_hash, event_id)', part);
    execute format('create index on %s (txid) where tenant_id = %L', part, 'nobody');
    for ours in select indexrelid from pg_index where indrelid = part and pg_get_indexdef(indexrelid) ~ 'run' loop
        execute format('create index on %s %s', part, substring(pg_get_indexdef(ours) from 'btree (.*)'));
        execute format('drop index %s', ours);
    end loop;
end $$;
call pg_temp.add_indexes();
select is(pg_temp.pages('get_events_by_tenant($$runs$$', 700), pg_temp.logged($$tenant_id = 'runs'$$), 'runs of a tenant beside indexes of somebody else');
select is(pg_temp.pages('get_events_by_exception($$runs$$, $$a1$$', 7), pg_temp.logged($$tenant_id = 'runs' and aggregate_id = 'a1'$$), 'and an aggregate');

-- Partitions outside the time range are not touched
create function pg_temp.index_scans() returns bigint language sql as $$
    select coalesce(sum(idx_scan), 0)::bigint from pg_stat_xact_user_tables where schemaname = 'sentinai_internal' and relname like 'event\_log%' $$;
create temp table before as select pg_temp.index_scans() as n;
select count(*) from sentinai.get_events_by_tenant('hist', from_time => now() - interval '1 second', to_time => now() + interval '1 second');
select cmp_ok(pg_temp.index_scans() - (select n from before), '<=', 2::bigint, 'a short time range touches its partition only');
truncate before;
insert into before select pg_temp.index_scans();
select count(*) from sentinai.get_events_by_tenant('hist');
select cmp_ok(pg_temp.index_scans() - (select n from before), '>=', 4::bigint, 'no time range touches all of them');
select * from finish();
rollback;
