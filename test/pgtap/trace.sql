-- SPDX-License-Identifier: PostgreSQL
-- get_trace() and trace_tree(): what a flow consists of, and what became of it.
select no_plan();

create function pg_temp.short(t text, m int default 1000) returns text language sql as
$$ select string_agg(repeat('>', depth) || event_type || case when p.t is null then '' else '<' || p.t end, ' ' order by event_id)
     from sentinai.get_trace('tr-flow', t, m) g
     left join lateral (select x.event_type as t from sentinai.event_log x where x.event_id = g.parent_id) p on true $$;
create function pg_temp.status(flow text, type text, worker text) returns text language sql as
$$ select concat_ws('|', coalesce(status, 'null'), attempts, worker_id, case when claimed_at is not null then 'claimed_at' end,
                    case when completed_at is not null then 'completed_at' end, case when dead_at is not null then 'dead_at' end,
                    case when due_at is not null then 'due_at' end, error, case when took is not null then 'took' end)
     from sentinai.trace_tree(flow) where event_type = type and worker_type = worker $$;
-- claims until so many were claimed
create procedure pg_temp.work(w text, n int) language plpgsql as $$
begin
    for i in 1..400 loop
        insert into claimed select w, c.token, c.event_id, c.event_type from sentinai.claim(w, worker_id => 'me') c;
        exit when (select count(*) from claimed where worker = w) >= n;
        commit;
        perform pg_sleep(0.02);
    end loop;
    commit;
end $$;
create temp table claimed (worker text, token text, event_id uuid, event_type text);

select sentinai.subscribe('tr-a', '{tr.a,tr.b}', max_attempts => 2, backoff => '{1h}');
select sentinai.subscribe('tr-b', '{tr.b}');
-- a chain over two aggregates and two tenants, and what is not in it
create temp table f (name text, id uuid);
insert into f select 'a', sentinai.publish('tr.a', 'tr-1', 'tr-flow', '{}', metadata => '{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}');
begin;
select sentinai.work_on(id) from f where name = 'a';
insert into f select 'b', sentinai.publish('tr.b', 'tr-1', 'tr-other', '{}');
insert into f select 'c', sentinai.publish('tr.c', 'tr-2', 'tr-other', '{}');
select sentinai.work_on(id) from f where name = 'b';
insert into f select 'd' || i, id from unnest(sentinai.publish_batch('{tr.d,tr.d}', '{tr-1,tr-1}', '{x,y}', '{"{}","{}"}')) with ordinality u (id, i);
commit;
insert into f select 'e', sentinai.publish('tr.e', 'tr-1', 'tr-flow', '{}');
select count(sentinai.publish('tr.x', 'tr-1', 'tr-flow', '{}', correlation_id => 'another')) from generate_series(1, 2);
select count(sentinai.publish('tr.x', 'tr-3', 'tr-none', '{}')) from generate_series(1, 2);
insert into f select 'g', sentinai.publish('tr.g', 'tr-3', 'tr-flow', '{}');

select is(pg_temp.short('tr-1'), 'tr.a >tr.b<tr.a >>tr.d<tr.b >>tr.d<tr.b tr.e', 'the flow of a tenant');
select is(pg_temp.short('tr-2'), 'tr.c', 'of another, who sees no parent');
select is(pg_temp.short('tr-none'), null, 'of one who has none');
select is(pg_temp.short(null), 'tr.a >tr.b<tr.a >tr.c<tr.a >>tr.d<tr.b >>tr.d<tr.b tr.e tr.g', 'of all');
select is(pg_temp.short('tr-1', 2), 'tr.a >tr.b<tr.a', 'the oldest');
select is(pg_temp.short(null, 2), 'tr.a >tr.b<tr.a', 'of all');
select is((select array_agg(event_id order by event_id) from sentinai.get_trace('tr-flow')), (select array_agg(id order by id) from f), 'these and no others, each once');
select is((select count(*) from sentinai.get_trace('another')), 2::bigint, 'a name that was given');
select is((select traceparent from sentinai.get_trace('tr-flow', 'tr-1') where event_type = 'tr.b'),
          '00-4bf92f3577b34da6a3ce929d0e0e4736-' || (select right(replace(id::text, '-', ''), 16) from f where name = 'b') || '-01', 'its trace');
select is((select string_agg(tree, ',') from sentinai.trace_tree('tr-flow') t where worker_type is null or worker_type in ('tr-a')), 'tr.a,  tr.b,    tr.d,    tr.d,  tr.c,tr.e,tr.g', 'the tree, depth first');
select ok(bool_and(since_start >= '0' and (parent_id is null) = (since_parent is null) and coalesce(since_parent, '0') >= '0'), 'times are told') from sentinai.trace_tree('tr-flow');

-- What became of it: claimed, completed, retrying, dead
select ok(pg_temp.status('tr-flow', 'tr.b', 'tr-b') in ('waiting', 'null'), 'nobody has it');
call pg_temp.work('tr-a', 2);
select is(pg_temp.status('tr-flow', 'tr.a', 'tr-a'), 'claimed|1|me|claimed_at', 'claimed');
select sentinai.complete(token, array[event_id]) from claimed where event_type = 'tr.a';
select is(pg_temp.status('tr-flow', 'tr.a', 'tr-a'), 'completed|1|me|completed_at|took', 'completed');
select is(pg_temp.status('tr-flow', 'tr.a', 'tr-b'), null, 'a subscription that does not want it');
select sentinai.fail(token, event_id, 'oops') from claimed where worker = 'tr-a' and event_type = 'tr.b';
select is(pg_temp.status('tr-flow', 'tr.b', 'tr-a'), 'retrying|1|due_at|oops', 'retrying');
call pg_temp.work('tr-b', 1);
select sentinai.fail(token, event_id, 'never', retryable => false) from claimed where worker = 'tr-b' and event_type = 'tr.b';
select is(pg_temp.status('tr-flow', 'tr.b', 'tr-b'), 'dead|1|dead_at|never|took', 'dead');
select is((select depth from sentinai.get_trace('tr-flow') where event_type = 'DeadLettered'), 2, 'the event about that is in the flow');
select sentinai.discard_dead_letter(id, 'tr-b', 'me', 'why not') from f where name = 'b';
select is(pg_temp.status('tr-flow', 'tr.b', 'tr-b'), 'discarded|1|dead_at|never|took', 'discarded');
select is(sentinai.mark_as_processing(id, 'tr-kafka', 'tr-1', 'tr-flow', 'k1'), true, 'a handler fed by Kafka') from f where name = 'e';
select is(pg_temp.status('tr-flow', 'tr.e', 'tr-kafka'), 'processing|1|k1|claimed_at', 'is at it');
-- behind another of its key, and handed out as a retry
insert into f select 'h', sentinai.publish('tr.b', 'tr-1', 'tr-other', '{}', correlation_id => 'tr-later');
call pg_temp.work('tr-b', 2);
do $$ begin for i in 1..100 loop perform sentinai.claim('tr-a', worker_id => 'me'); exit when pg_temp.status('tr-later', 'tr.b', 'tr-a') = 'behind|0'; commit; perform pg_sleep(0.02); end loop; end $$;
select is(pg_temp.status('tr-later', 'tr.b', 'tr-a'), 'behind|0', 'behind one of its key');
select is(pg_temp.status('tr-later', 'tr.b', 'tr-b'), 'claimed|1|me|claimed_at', 'which another subscription has not');
select sentinai.retry_event(id, 'tr-a') from f where name = 'b';
call pg_temp.work('tr-a', 3);
select is(pg_temp.status('tr-flow', 'tr.b', 'tr-a'), 'claimed|2|me|claimed_at|oops', 'claimed as a retry');
-- what was published before its start is not for a subscription
select sentinai.subscribe('tr-late', '{tr.a}');
select is(pg_temp.status('tr-flow', 'tr.a', 'tr-late'), null, 'not wanted');

-- A cause that is not older is none: there is no circle
create temp table odd as select i, id from unnest(sentinai.publish_batch('{o,o,o}', '{tr-odd,tr-odd,tr-odd}', '{p,q,r}', '{"{}","{}","{}"}', correlation_ids => '{tr-ids,tr-ids,tr-ids}')) with ordinality u (id, i);
insert into sentinai_internal.event_log (event_id, txid, occurred_at, partition_hash, schema_version, run, tenant_id, aggregate_type, aggregate_id, event_type, correlation_id, causation_id, payload, metadata)
select overlay(o.id::text placing 'ffffffffffff' from 25)::uuid, 1, now(), 1, 1, 0, 'tr-odd', 'x', 'x', 'circle' || o.i, 'tr-circle',
       overlay((select n.id from odd n where n.i = o.i % 3 + 1)::text placing 'ffffffffffff' from 25)::uuid, '{}', '{}' from odd o;
select is((select count(*) from sentinai.get_trace('tr-circle')), 3::bigint, 'a circle of causes has its events');
select is((select string_agg(tree, ',') from sentinai.trace_tree('tr-circle')), 'circle1,  circle3,circle2', 'and no end of them');

-- By an index
select is((select count(*) from pg_index i join pg_inherits h on h.inhrelid = i.indrelid where h.inhparent = 'sentinai_internal.event_log'::regclass
            and pg_get_indexdef(i.indexrelid) like '%(hashtext(correlation_id), event_id)%correlation_id IS NOT NULL%'),
          (select count(*) from pg_inherits where inhparent = 'sentinai_internal.event_log'::regclass), 'each partition has the index');
select count(sentinai.publish('tr.many', 'tr-many', 'm' || i, '{}')) from generate_series(1, 20000) i;
-- buffers(): blocks of the log and its indexes that a statement looks at
create function pg_temp.fetched() returns bigint language sql as $$
    select sum(pg_stat_get_xact_blocks_fetched(c.oid))::bigint from pg_class c
    where c.oid in (select relid from pg_partition_tree('sentinai_internal.event_log')
                    union select indexrelid from pg_index join pg_partition_tree('sentinai_internal.event_log') on relid = indrelid) $$;
create function pg_temp.buffers(q text) returns bigint language plpgsql as $$
declare
    before bigint := pg_temp.fetched();
begin
    execute 'select count(*) from (' || q || ') x';
    return pg_temp.fetched() - before;
end $$;
select cmp_ok(pg_temp.buffers($$select * from sentinai.flow_events('tr-flow', 'tr-1', 1000)$$), '<', 200::bigint, 'however large the log is');
-- each tenant that a partition has is looked for there, and there are those of other files, too
select cmp_ok(pg_temp.buffers($$select * from sentinai.flow_events('tr-flow', null, 1000)$$), '<', 20 * count(distinct (tableoid, tenant_id)), 'for all tenants') from sentinai_internal.event_log;

-- Bad arguments
select throws_ok('select * from sentinai.get_trace(null)', '22004', null, 'null');
select throws_ok($$select * from sentinai.get_trace('x', max_events => 0)$$, 'SN422', null, 'no events');
select throws_ok($$select * from sentinai.get_trace('x', max_events => 10001)$$, 'SN422', null, 'too many');
select throws_ok($$select * from sentinai.trace_tree(null)$$, '22004', null, 'null');
select throws_ok($$select * from sentinai.flow_tree('{01941f29-7c00-7000-8000-000000000001}', '{}')$$, 'SN422', null, 'inner functions check, too');
select is((select count(*) from sentinai.get_trace('')), 0::bigint, 'an empty name');
select is((select count(*) from sentinai.trace_work('{00000000-0000-0000-0000-000000000000,null}')), 0::bigint, 'no event');

select sentinai.unsubscribe(w) from unnest('{tr-a,tr-b,tr-late}'::text[]) w;
select * from finish();
