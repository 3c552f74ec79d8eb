-- SPDX-License-Identifier: PostgreSQL
-- Rounds: what they put where, in which order, and what they leave out.  The
-- sequencer sees what is committed, so there is no transaction around it all.
\set QUIET on
set client_min_messages = warning;
select plan(37);

create schema seqtest;
create table seqtest.mine (id uuid, what text, n int);
create view seqtest.sequenced as
select stream_id, lane, slice_no, events_before, o, id, slice_no >> 14 as round_no
  from sentinai_internal.slice, unnest(event_ids) with ordinality u(id, o);

-- until all events of a kind that are due are in the stream of all events
create procedure seqtest.settle(kind text, wanted bigint) language plpgsql as $$
declare
    deadline timestamptz := clock_timestamp() + interval '20 s';
begin
    while (select count(*) from seqtest.mine m join seqtest.sequenced s using (id)
            where s.stream_id = 0 and m.what = kind) < wanted and clock_timestamp() < deadline loop
        commit;
        perform pg_sleep(0.01);
    end loop;
end $$;

select sentinai.subscribe('seq_all');
select sentinai.subscribe('seq_ab', '{SeqA,SeqB}');
select sentinai.subscribe('seq_b', '{SeqB}');
create function seqtest.stream(worker text) returns int language sql as
$$ select stream_id from sentinai_internal.subscription where worker_type = worker $$;
create function seqtest.lane(tenant text, aggregate text) returns int language sql as
$$ select (sentinai.partition_hash(sentinai.get_partition_key(tenant, aggregate)) & 2147483647)
          % (select lanes from sentinai_internal.node order by node_no desc limit 1) $$;

-- filters
insert into seqtest.mine select sentinai.publish(t, 'seq', 'agg' || i, '{}'), 'filter', i
  from generate_series(1, 40) i, unnest('{SeqA,SeqB,SeqC}'::text[]) t;
call seqtest.settle('filter', 120);
select is((select count(*) from seqtest.mine m join seqtest.sequenced s using (id) where what = 'filter' and stream_id = 0), 120::bigint, 'the stream of all events has each event');
select is((select count(distinct id) from seqtest.mine m join seqtest.sequenced s using (id) where what = 'filter' and stream_id = 0), 120::bigint, 'once');
select is(seqtest.stream('seq_all'), 0, 'a subscription to everything reads it');
select bag_eq(
    $$select id from seqtest.mine join seqtest.sequenced s using (id) where what = 'filter' and stream_id = seqtest.stream('seq_ab')$$,
    $$select m.id from seqtest.mine m join sentinai.event_log e on e.event_id = m.id where what = 'filter' and event_type in ('SeqA', 'SeqB')$$,
    'a stream with a filter has what it wants');
select bag_eq(
    $$select id from seqtest.mine join seqtest.sequenced s using (id) where what = 'filter' and stream_id = seqtest.stream('seq_b')$$,
    $$select m.id from seqtest.mine m join sentinai.event_log e on e.event_id = m.id where what = 'filter' and event_type = 'SeqB'$$,
    'another one too');
select is((select count(*) from sentinai_internal.stream where stream_id in (seqtest.stream('seq_ab'), seqtest.stream('seq_b'))
              and first_round = (select min(round_no) from seqtest.mine join seqtest.sequenced using (id) where what = 'filter')), 2::bigint,
          'first_round is the round that filled them first');
select is_empty(
    $$select from seqtest.mine join seqtest.sequenced s using (id) join sentinai.event_log e on e.event_id = s.id
       where lane % 64 <> seqtest.lane(e.tenant_id, e.aggregate_id)$$, 'every event is in the lane of its key');

-- a stream whose event types never come begins with the first round that knows it
select sentinai.subscribe('seq_never', '{SeqNever}');
insert into seqtest.mine select sentinai.publish('SeqA', 'seq', 'agg0', '{}'), 'never', 0;
call seqtest.settle('never', 1);
select isnt((select first_round from sentinai_internal.stream where stream_id = seqtest.stream('seq_never')), null, 'a stream without events has a first round too');

-- filters with aggregate types, which relays have: alone, with types, with tenants, with both
create function seqtest.relay(name text, types text[] default null, tenants text[] default null, aggregates text[] default null) returns void language sql as
$$ select sentinai.create_relay(name, 'kafka', 'bootstrap.servers=localhost:1', event_types => types, tenants => tenants, aggregate_types => aggregates, workers => 0) $$;
select seqtest.relay('seq_g', aggregates => '{g1,g2}');
select seqtest.relay('seq_gt', '{SeqA,SeqB}', aggregates => '{g1}');
select seqtest.relay('seq_gn', tenants => '{seq}', aggregates => '{g2}');
select seqtest.relay('seq_gtn', '{SeqC}', '{seq,seq2}', '{g1,g3}');
select seqtest.relay('seq_tn', '{SeqC}', '{seq2}');
insert into seqtest.mine select sentinai.publish(t, n, 'agg' || i, '{}', 'g' || g), 'kinds', i
  from generate_series(1, 3) i, generate_series(1, 4) g, unnest('{SeqA,SeqB,SeqC,SeqD}'::text[]) t, unnest('{seq,seq2}'::text[]) n;
call seqtest.settle('kinds', 96);
create view seqtest.wanted as
select s.worker_type, e.event_id as id from sentinai_internal.subscription s join sentinai_internal.stream f using (stream_id) join sentinai.event_log e
       on coalesce(event_type = any (f.event_types), true) and coalesce(tenant_id = any (f.tenants), true) and coalesce(aggregate_type = any (f.aggregate_types), true)
 where s.worker_type like 'seq\_%';
create view seqtest.has as
select s.worker_type, q.id from sentinai_internal.subscription s join seqtest.sequenced q using (stream_id) where s.worker_type like 'seq\_%';
select bag_eq($$select w.* from seqtest.wanted w join seqtest.mine m using (id) where m.what = 'kinds'$$,
              $$select h.* from seqtest.has h join seqtest.mine m using (id) where m.what = 'kinds'$$, 'each stream has what its filter wants of types, tenants and aggregate types');
select is((select string_agg(worker_type || ' ' || n, ', ' order by worker_type) from (select worker_type, count(*) as n from seqtest.has join seqtest.mine using (id) where what = 'kinds' group by 1) x),
          'seq_ab 48, seq_all 96, seq_b 24, seq_g 48, seq_gn 12, seq_gt 12, seq_gtn 12, seq_tn 12', 'so many of each');

-- very many kinds of events
select seqtest.relay('seq_kinds', (select array_agg('SeqKind' || i) from generate_series(1, 500) i), aggregates => (select array_agg('k' || i) from generate_series(1, 20) i));
create procedure seqtest.publish_kinds(kind text) language sql as $$
insert into seqtest.mine
select id, kind, g from generate_series(1, 20) g, unnest(sentinai.publish_batch(
    (select array_agg('SeqKind' || i) from generate_series(1, 500) i), array_fill('seq'::text, array[500]),
    array_fill('agg1'::text, array[500]), array_fill('{}'::jsonb, array[500]), 'k' || g)) id $$;
call seqtest.publish_kinds('many');
call seqtest.settle('many', 10000);
insert into seqtest.mine select sentinai.publish('SeqKind1', 'seq', 'agg1', '{}', 'k1'), 'few', 1;
call seqtest.settle('few', 1);
select is((select count(*) from seqtest.has h join seqtest.mine m using (id) where m.what = 'many' and worker_type = 'seq_kinds'), 10000::bigint, 'ten thousand kinds of events');
select is((select count(*) from seqtest.has h join seqtest.mine m using (id) where m.what = 'few' and worker_type = 'seq_kinds'), 1::bigint, 'and the next of them');

-- who shares a stream, and what becomes of it
select seqtest.relay('seq_same', aggregates => '{g2,g1,g2}');
select is(seqtest.stream('seq_same'), seqtest.stream('seq_g'), 'equal filters share a stream');
select sentinai.alter_relay('seq_same', aggregate_types => '{g1}', event_types => '{SeqB,SeqA}');
select is(seqtest.stream('seq_same'), seqtest.stream('seq_gt'), 'another filter, another stream');
select sentinai.alter_relay('seq_same', all_aggregate_types => true);
select is(seqtest.stream('seq_same'), seqtest.stream('seq_ab'), 'one that an agent has');
select sentinai.drop_relay(w) from unnest('{seq_g,seq_gt,seq_gn,seq_gtn,seq_tn,seq_kinds,seq_same}'::text[]) w;

-- slices
insert into seqtest.mine
select id, 'big', o from unnest(sentinai.publish_batch(
    array_fill('SeqA'::text, array[1000]), array_fill('seq'::text, array[1000]),
    array_fill('agg1'::text, array[1000]), array_fill('{}'::jsonb, array[1000]))) with ordinality u(id, o);
call seqtest.settle('big', 1000);
select is((select array_agg(n order by slice_no) from (select slice_no, count(*)::int as n from seqtest.mine join seqtest.sequenced using (id) where what = 'big' and stream_id = 0 group by slice_no) x),
          '{180,180,180,180,180,100}', 'slices hold at most 180 events');
select is((select array_agg(slice_no - first_value) from (select slice_no, first_value(slice_no) over w from seqtest.mine join seqtest.sequenced using (id) where what = 'big' and stream_id = 0 group by slice_no window w as (order by slice_no)) x),
          '{0,1,2,3,4,5}', 'and are numbered in a row');
select is((select array_agg(m.n order by s.slice_no, s.o) from seqtest.mine m join seqtest.sequenced s using (id) where what = 'big' and stream_id = 0),
          (select array_agg(i) from generate_series(1, 1000) i), 'in the order of publishing');
select is_empty(
    $$select from (select events_before, count(*) over (partition by stream_id, lane order by slice_no, o) - o as before, o,
                          min(events_before) over (partition by stream_id, lane) as first
                     from seqtest.sequenced) x where events_before <> before + first$$,
    'events_before counts the events before, in every stream and lane');

-- rollback, savepoints
begin;
insert into seqtest.mine select sentinai.publish('SeqA', 'seq', 'agg2', '{}'), 'kept', 1;
savepoint s;
select sentinai.publish('SeqA', 'seq', 'savepoint', '{}');
rollback to s;
insert into seqtest.mine select sentinai.publish('SeqA', 'seq', 'agg2', '{}'), 'kept', 2;
release s;
commit;
begin;
select sentinai.publish('SeqA', 'seq', 'rolled back', '{}');
rollback;
insert into seqtest.mine select sentinai.publish('SeqA', 'seq', 'agg2', '{}'), 'kept', 3;
call seqtest.settle('kept', 3);
select is((select array_agg(n order by slice_no, o) from seqtest.mine join seqtest.sequenced using (id) where what = 'kept' and stream_id = 0), '{1,2,3}', 'what was kept of a transaction with savepoints is sequenced');
select is_empty($$select from seqtest.sequenced s left join sentinai.event_log e on e.event_id = s.id where e.event_id is null$$, 'and nothing that was rolled back');

-- a transaction that commits late
begin;
insert into seqtest.mine select sentinai.publish('SeqA', 'seq', 'agg3', '{}'), 'late', 1;
prepare transaction 'seqtest_late';
insert into seqtest.mine select sentinai.publish('SeqA', 'seq', 'agg3', '{}'), 'early', i from generate_series(1, 3) i;
call seqtest.settle('early', 3);
select is((select count(*) from seqtest.mine join seqtest.sequenced using (id) where what = 'early' and stream_id = 0), 3::bigint, 'later transactions do not wait for an earlier one');
commit prepared 'seqtest_late';
call seqtest.settle('late', 1);
select is((select count(*) from seqtest.mine join seqtest.sequenced using (id) where what = 'late' and stream_id = 0), 1::bigint, 'one that commits late is sequenced');
select ok((select max(id::text) from seqtest.mine where what = 'late') < (select min(id::text) from seqtest.mine where what = 'early'), 'though its id is older');
select cmp_ok((select min(round_no) from seqtest.mine join seqtest.sequenced using (id) where what = 'late'), '>',
              (select max(round_no) from seqtest.mine join seqtest.sequenced using (id) where what = 'early'), 'in a later round');
begin;
insert into seqtest.mine select sentinai.publish('SeqA', 'seq', 'agg3', '{}'), 'never prepared', 1;
prepare transaction 'seqtest_back';
rollback prepared 'seqtest_back';

-- delayed events
begin;
insert into seqtest.mine select sentinai.publish('SeqA', 'seq', 'agg4', '{}', deliver_at => clock_timestamp() + interval '1.5 s'), 'delayed', 1;
insert into seqtest.mine select sentinai.publish('SeqA', 'seq', 'agg4', '{}', deliver_at => clock_timestamp() + interval '1 hour'), 'far', 1;
insert into seqtest.mine select sentinai.publish('SeqA', 'seq', 'agg4', '{}', deliver_at => clock_timestamp() - interval '1 hour'), 'past', 1;
insert into seqtest.mine select sentinai.publish('SeqA', 'seq', 'agg4', '{}'), 'now', 1;
commit;
call seqtest.settle('now', 1);
select is((select array_agg(what order by what) from seqtest.mine join seqtest.sequenced using (id) where what in ('delayed', 'far', 'past', 'now') and stream_id = 0), '{now,past}', 'a delayed event waits');
select sentinai.publish('SeqA', 'seq', 'agg5', '{}');
call seqtest.settle('delayed', 1);
select is((select count(*) from seqtest.mine join seqtest.sequenced using (id) where what = 'delayed' and stream_id = 0), 1::bigint, 'until its time');
select cmp_ok((select r.taken_at from seqtest.mine m join seqtest.sequenced s using (id) join sentinai_internal.round r using (round_no) where m.what = 'delayed' and s.stream_id = 0), '>=',
              (select deliver_at from sentinai.event_log join seqtest.mine on id = event_id where what = 'delayed'), 'not before');
select cmp_ok((select r.taken_at - e.deliver_at from seqtest.mine m join seqtest.sequenced s using (id) join sentinai_internal.round r using (round_no) join sentinai.event_log e on e.event_id = m.id where m.what = 'delayed' and s.stream_id = 0), '<',
              interval '5 s', 'and soon after');
select is((select count(*) from seqtest.mine join seqtest.sequenced using (id) where what = 'far'), 0::bigint, 'one of tomorrow waits on');

-- the journal
select is_empty($$select from (select round_no, lag(taken_at) over w as before, taken_at, lag(snap_xmax) over w as xmax, snap_xmax, lag(due_until) over w as due, due_until
                                 from sentinai_internal.round window w as (order by round_no)) x
                   where taken_at < before or snap_xmax < xmax or due_until < due$$, 'rounds go forward');
select is((select count(*) from seqtest.sequenced where stream_id = 0), (select sum(events) from sentinai_internal.round), 'and count their events');
select is_empty($$select from seqtest.sequenced s where not exists (select from sentinai_internal.round r where r.round_no = s.round_no)$$, 'every slice is of a round');

-- the same events, ordered as they are in stream 0, in every other stream
select is_empty(
    $$select from (select s.id, row_number() over (partition by s.stream_id, s.lane order by s.slice_no, s.o) as here,
                          row_number() over (partition by s.stream_id, s.lane order by a.slice_no, a.o) as there
                     from seqtest.sequenced s join seqtest.sequenced a on a.id = s.id and a.stream_id = 0
                    where s.stream_id > 0) x where here <> there$$, 'streams agree on the order');
select is_empty($$select from seqtest.sequenced s join seqtest.sequenced a on a.id = s.id and a.stream_id = 0
                   where a.round_no <> s.round_no$$, 'and on the rounds');
select is_empty(
    $$select from (select id::text, lag(id::text) over (partition by stream_id, lane, round_no order by slice_no, o) as before from seqtest.sequenced) x where id < before$$,
    'within a round and lane the order is that of the ids');

select sentinai.unsubscribe(w) from unnest('{seq_all,seq_ab,seq_b,seq_never}'::text[]) w;
select is((select count(*) from sentinai.event_log e join seqtest.mine m on m.id = e.event_id where m.what <> 'far'
              and not exists (select from seqtest.sequenced s where s.id = m.id and s.stream_id = 0)), 0::bigint, 'nothing is left out');
drop schema seqtest cascade;
select * from finish();
