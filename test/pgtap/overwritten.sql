-- SPDX-License-Identifier: PostgreSQL
-- Events that a superuser has written over, so that they lack what every event has:
-- each is a dead letter that says so, and nothing behind it waits.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(64);

\set tenant over
\ir lib/queue.sql

-- write over a column of an event; what was there can come back
create function pg_temp.write_over(id uuid, what name, value text default null) returns void language plpgsql as $$
declare part regclass;
begin
    select tableoid::regclass into part from sentinai_internal.event_log where event_id = id;
    set local allow_system_table_mods = on;
    execute format('alter table %s disable trigger refuse_change, disable trigger refuse_change_of_row', part);
    update pg_attribute set attnotnull = false where attrelid = part and attname = what;
    execute format('update %s set %I = %L where event_id = %L', part, what, value, id);
    execute format('alter table %s enable always trigger refuse_change, enable always trigger refuse_change_of_row', part);
end $$;
-- n events of a key, numbered
create function pg_temp.some(type text, key text, n int) returns uuid[] language sql as $$
    select sentinai.publish_batch(array_agg(type), array_agg('over'::text), array_agg(key), array_agg(jsonb_build_object('n', i) order by i))
    from generate_series(1, n) i $$;
create function pg_temp.id(type text, key text, n int) returns uuid language sql as $$
    select event_id from sentinai.event_log where event_type = type and aggregate_id = key and payload ->> 'n' = n::text $$;
create function pg_temp.state(wt text) returns text language sql as $$
    select format('open %s parked %s done %s failed %s dead %s', sum(open), sum(parked), sum(completed), sum(failed), sum(dead)) from (
        select distinct on (lane) l.* from sentinai_internal.lane_state l join sentinai_internal.subscription s using (sub_id)
        where worker_type = wt order by lane, ver desc) x $$;
create function pg_temp.letters(wt text) returns bigint language sql as 'select count(*) from sentinai.dead_letter where worker_type = wt';
-- what the view counts is what is there
create function pg_temp.miscounted() returns bigint language sql as $$
    select count(*) from (
        select tenant_id, worker_type, event_type, sum(pending) p, sum(retrying) r, sum(succeeded) s, sum(discarded) d from sentinai_internal.dead_letter_count group by 1, 2, 3) c
    full join (
        select tenant_id, worker_type, event_type, count(*) filter (where status = 'pending') p, count(*) filter (where status = 'retrying') r,
               count(*) filter (where status = 'succeeded') s, count(*) filter (where status = 'discarded') d from sentinai_internal.dead_letter group by 1, 2, 3) l
        using (tenant_id, worker_type, event_type)
    where (coalesce(c.p, 0), coalesce(c.r, 0), coalesce(c.s, 0), coalesce(c.d, 0)) <> (coalesce(l.p, 0), coalesce(l.r, 0), coalesce(l.s, 0), coalesce(l.d, 0)) $$;

-- Every column that cannot be null, each in an event of its own between two that are fine; one key has all, so all are in one lane
create temp table columns as
select row_number() over (order by attnum)::int * 2 as n, attname as what from pg_attribute
where attrelid = 'sentinai_internal.event_log'::regclass and attnum > 0 and attnotnull and attname not in ('event_id', 'payload', 'metadata');
select set_eq('select what from columns', '{txid,occurred_at,partition_hash,schema_version,run,event_type,tenant_id,aggregate_type}'::name[], 'what an event cannot lack');
select sentinai.subscribe('over-skip', '{o.skip}'), sentinai.subscribe('over-mine', '{o.skip}', tenants => '{over}'), sentinai.subscribe('over-all');
select pg_temp.some('o.skip', 'one', 17);
create temp table bad as select n, what, pg_temp.id('o.skip', 'one', n) as event_id from columns;
select pg_temp.sequenced();
select pg_temp.write_over(event_id, what) from bad;
-- and what is there, but empty
select pg_temp.some('o.skip', 'two', 3);
select pg_temp.sequenced();
select pg_temp.write_over(pg_temp.id('o.skip', 'two', 2), 'aggregate_type', '');

create function pg_temp.goes_on(wt text) returns setof text language plpgsql as $$
declare t text;
begin
    execute format('create temp table %I as select row_number() over () as o, c.* from sentinai.claim(%L) c', 'got-' || wt, wt);
    return next is(pg_temp.shown(format('%I', 'got-' || wt)::regclass, 'aggregate_id, o'), 'one1#1 one3#1 one5#1 one7#1 one9#1 one11#1 one13#1 one15#1 one17#1 two1#1 two2#1 two3#1', wt || ': what is before, between and behind them is served');
    execute format('select min(token) from %I', 'got-' || wt) into t;
    return next is(sentinai.complete(t), 12, 'and completed');
    return next set_eq(format('select event_id from sentinai.dead_letter where worker_type = %L', wt), 'select event_id from bad', 'each of them is a dead letter');
    return next is(string_agg(reason, ' ' order by b.n), string_agg(format('column "%s" of table "%s" is null, for event %s', b.what, 'event_log', b.event_id), ' ' order by b.n), 'that says which event it is, and what it lacks')
        from bad b join sentinai.dead_letter d using (event_id) where worker_type = wt;
    return next is(string_agg(distinct status || ' ' || attempts, ' '), 'pending 1', 'at its first attempt') from sentinai.dead_letter where worker_type = wt;
    return next ok(pg_temp.state(wt) like 'open 0 parked 0 done 12 failed 8 dead 8', 'nothing is left: ' || pg_temp.state(wt));
end $$;
select pg_temp.goes_on('over-skip');
select pg_temp.goes_on('over-mine');
select is(count(*), 0::bigint, 'nothing more comes') from sentinai.claim('over-skip');
select is(d.tenant_id || '/' || d.event_type || '/' || d.aggregate_type || '/' || d.aggregate_id || '/' || (d.payload ->> 'n'),
    case what when 'tenant_id' then '' else 'over' end || '/' || case what when 'event_type' then '' else 'o.skip' end || '/' || case what when 'aggregate_type' then '' else l.aggregate_type end || '/one/' || n,
    'the letter of the one without ' || what || ' has the rest of it')
from bad join sentinai.dead_letter d using (event_id), (select aggregate_type from sentinai.event_log where event_type = 'o.skip' and aggregate_id = 'one' limit 1) l where worker_type = 'over-skip' order by n;
select ok(d.occurred_at between l.first and l.last, 'also its time, which is that of its id')
from bad b join sentinai.dead_letter d using (event_id), lateral (select min(occurred_at) as first, max(occurred_at) as last from sentinai.event_log where aggregate_id = 'one') l where what = 'occurred_at' and worker_type = 'over-skip';
select set_eq($$select causation_id from sentinai.event_log where event_type = 'DeadLettered' and payload ->> 'worker_type' = 'over-skip'$$,
    $$select event_id from bad where what <> 'tenant_id'$$, 'an event tells about each that has a tenant');
select is(pg_temp.miscounted(), 0::bigint, 'letters are counted');

-- A subscription that reads the log of all has those that it may want
select pg_temp.sequenced();
create temp table rest as select * from sentinai.claim('over-all', 1000);
select ok(count(*) > 12, 'who reads all goes on') from rest;
select ok(sentinai.complete(min(token)) > 12, 'and completes it') from rest;
select is(pg_temp.letters('over-all'), 8::bigint, 'with a letter for each');
select sentinai.unsubscribe('over-all'), sentinai.unsubscribe('over-mine');

-- Tried again it dies again; once the column has its value back it is handed out
select sentinai.retry_dead_letter(event_id, 'over-skip', 'me') from bad where what in ('tenant_id', 'event_type');
select is(count(*), 0::bigint, 'tried again they are not handed out') from sentinai.claim('over-skip');
select is(string_agg(status || ' ' || pos_known, ', '), 'pending f, pending t', 'and their letters are pending again')
from (select status, (select pos is not null from sentinai_internal.dead_letter i where i.event_id = d.event_id and i.worker_type = d.worker_type)::text::char(1) as pos_known
    from bad join sentinai.dead_letter d using (event_id) where worker_type = 'over-skip' and what in ('tenant_id', 'event_type') order by 2) x;
select throws_ok(format('select sentinai.edit_and_retry(%L, ''over-skip'', ''{}'', ''me'', ''why'')', event_id), 'SN403', null, 'an event for nobody is not published in its place') from bad where what = 'tenant_id';
select pg_temp.write_over(event_id, what, case what when 'tenant_id' then 'over' else 'o.skip' end) from bad where what in ('tenant_id', 'event_type');
select sentinai.retry_dead_letter(event_id, 'over-skip', 'me') from bad where what in ('tenant_id', 'event_type');
create temp table mended as select * from sentinai.claim('over-skip');
select set_eq('select event_id, tenant_id, event_type from mended', $$select event_id, 'over', 'o.skip' as type from bad where what in ('tenant_id', 'event_type')$$, 'what has its value back is handed out');
select is(sentinai.complete(min(token)), 2, 'and completed') from mended;
select is(string_agg(d.tenant_id || ' ' || d.event_type || ' ' || status, ', '), 'over o.skip succeeded, over o.skip succeeded', 'and its letter knows it') from bad join sentinai.dead_letter d using (event_id) where worker_type = 'over-skip' and what in ('tenant_id', 'event_type');
select sentinai.discard_dead_letter(event_id, 'over-skip', 'me', 'no use') from bad where what not in ('tenant_id', 'event_type');
select is(pg_temp.miscounted(), 0::bigint, 'letters are counted');
select is(pg_temp.state('over-skip'), 'open 0 parked 0 done 14 failed 10 dead 0', 'and nothing is left');

\ir lib/drain.sql

-- Written over while an agent has them; sessions that do not remember the batch deal with it
create extension if not exists dblink;
create function pg_temp.claimed(wt text, lease interval default '1 minute') returns text language sql as $$
    select t from dblink(format('dbname=%s host=%s port=%s user=%s', current_database(), (regexp_split_to_array(current_setting('unix_socket_directories'), ', *'))[1], current_setting('port'), current_user),
                         format('select min(token) from sentinai.claim(%L, 100, %L)', wt, lease)) as d(t text) $$;
select sentinai.subscribe('over-hand', '{o.hand}', backoff => '{0s}');
select pg_temp.some('o.hand', k, 3) from unnest('{a,b,c}'::text[]) k;
select pg_temp.sequenced();
create temp table hand as select k, pg_temp.id('o.hand', k, 1) as one, pg_temp.id('o.hand', k, 2) as two from unnest('{a,b,c}'::text[]) k;
select pg_temp.claimed('over-hand') as token \gset
select pg_temp.write_over(two, case k when 'b' then 'event_type' else 'tenant_id' end) from hand;
select is(sentinai.complete(:'token', array_agg(one)), 3, 'those before are completed') from hand;
select is(sentinai.fail(:'token', two, 'no'), 'retrying', 'one without ' || case k when 'b' then 'type' else 'tenant' end || ' fails') from hand where k <> 'c' order by k;
select is(sentinai.complete(:'token'), 3, 'so is the rest: what comes behind the one without type is not there');
call pg_temp.drain('over-hand', 1);
select is(string_agg(what, ' '), 'b3#1', 'which comes when that is dead') from drained;
select set_eq($$select event_id, tenant_id, attempts from sentinai.dead_letter where worker_type = 'over-hand'$$, $$select two, case k when 'b' then 'over' else '' end, 2 from hand where k <> 'c'$$, 'they are dead letters');
select is(pg_temp.state('over-hand'), 'open 0 parked 0 done 7 failed 4 dead 2', 'nothing is left');

-- And its lease is lost
select sentinai.subscribe('over-lost', '{o.lost}', backoff => '{0s}');
select pg_temp.some('o.lost', k, 3) from unnest('{a,b}'::text[]) k;
select pg_temp.sequenced();
create temp table lost as select k, pg_temp.id('o.lost', k, 2) as two from unnest('{a,b}'::text[]) k;
select isnt(pg_temp.claimed('over-lost', '1 microsecond'), null, 'a batch is lost');
select pg_temp.write_over(two, case k when 'b' then 'event_type' else 'tenant_id' end) from lost;
call pg_temp.drain('over-lost', 4);
select is(string_agg(what, ' ' order by left(what, 1), o), 'a1#2 a3#2 b1#2 b3#2', 'the others come again, in order') from drained;
select set_eq($$select event_id from sentinai.dead_letter where worker_type = 'over-lost'$$, 'select two from lost', 'and these are dead letters');
select is(pg_temp.state('over-lost'), 'open 0 parked 0 done 4 failed 8 dead 2', 'nothing is left');

-- While it waits for its retry, and others of its key behind it: the queue knows its key
select sentinai.subscribe('over-wait', '{o.wait}', backoff => '{0s}');
select pg_temp.some('o.wait', 'a', 3);
select pg_temp.sequenced();
select pg_temp.id('o.wait', 'a', 1) as waits \gset
select sentinai.fail(pg_temp.claimed('over-wait'), :'waits', 'no');
select pg_temp.write_over(:'waits', 'tenant_id');
call pg_temp.drain('over-wait', 2);
select is(string_agg(what, ' ' order by o), 'a2#1 a3#1', 'what waits behind it is served') from drained;
select is(string_agg(tenant_id || ' ' || aggregate_id || ' ' || attempts, ', '), 'over a 2', 'its letter is of its tenant') from sentinai.dead_letter where worker_type = 'over-wait';
select is(pg_temp.state('over-wait'), 'open 0 parked 0 done 2 failed 2 dead 1', 'nothing is left');

-- With on_dead => 'block' its key stops there, if it has one
select sentinai.subscribe('over-block', '{o.block}', on_dead => 'block');
select pg_temp.some('o.block', k, 3) from unnest('{a,b}'::text[]) k;
select pg_temp.sequenced();
create temp table block as select k, pg_temp.id('o.block', k, 2) as two from unnest('{a,b}'::text[]) k;
select pg_temp.write_over(two, case k when 'b' then 'event_type' else 'tenant_id' end) from block;
call pg_temp.drain('over-block', 3);
select is(string_agg(what, ' ' order by left(what, 1), o), 'a1#1 a3#1 b1#1', 'what comes behind the one without type waits') from drained;
select is(count(*), 0::bigint, 'nothing else comes') from sentinai.claim('over-block');
select sentinai.discard_dead_letter(two, 'over-block', 'me', 'no use') from block;
call pg_temp.drain('over-block', 1);
select is(string_agg(what, ' ' order by o), 'b3#1', 'until that is discarded') from drained;
select is(pg_temp.state('over-block'), 'open 0 parked 0 done 4 failed 2 dead 0', 'nothing is left');

-- Where there are rules of redaction, nobody knows which of them are for it
select sentinai.subscribe('over-rule', '{o.rule}');
select pg_temp.some('o.rule', 'a', 2);
select pg_temp.sequenced();
select pg_temp.write_over(pg_temp.id('o.rule', 'a', 1), 'event_type');
select sentinai.set_redaction('over', 'o.rule', '$.n', 'remove');
select pg_temp.take('rule', $$'over-rule'$$);
select is(count(*), 1::bigint, 'the other is handed out') from rule;
select is(string_agg(payload::text || metadata, ', '), '{}{}', 'its letter has no payload') from sentinai.dead_letter where worker_type = 'over-rule';
select sentinai.drop_redaction('over', 'o.rule', '$.n');

-- Many letters at once
select is((sentinai.retry_dead_letters(worker_type => 'over-lost', actor => 'me')).letters, 2, 'both letters are tried again in one call');
select is(count(*), 0::bigint, 'and are not handed out') from sentinai.claim('over-lost');
select is((sentinai.discard_dead_letters(worker_type => 'over-lost', actor => 'me', reason => 'no use')).letters, 2, 'then they are discarded');
select is(pg_temp.state('over-lost'), 'open 0 parked 0 done 4 failed 10 dead 0', 'nothing is left');
select is(sentinai.purge_dead_letters(clock_timestamp() + interval '1 s', worker_type => 'over-lost'), 2, 'and deleted');
select is(pg_temp.miscounted(), 0::bigint, 'letters are counted');
select sentinai.unsubscribe(w) from unnest('{over-skip,over-hand,over-lost,over-wait,over-block,over-rule}'::text[]) w;
select is((select count(*) from sentinai_internal.event_retry r where not exists (select from sentinai_internal.subscription s where s.sub_id = r.sub_id)), 0::bigint, 'nothing stays behind');
-- Other tests find a whole log
create temp table lacking as select event_id, what, value from sentinai_internal.event_log e,
    (values ('txid', '1'), ('occurred_at', '2026-01-01'), ('partition_hash', '0'), ('schema_version', '1'), ('run', '0'),
        ('event_type', 'o.gone'), ('tenant_id', 'over'), ('aggregate_type', 'o')) v (what, value)
where to_jsonb(e) ->> what is null and num_nulls(txid, occurred_at, partition_hash, schema_version, run, event_type, tenant_id, aggregate_type) > 0;
select count(pg_temp.write_over(event_id, what, value)) from lacking;
select is(count(*), 0::bigint, 'what was written over is back') from sentinai_internal.event_log
where num_nulls(txid, occurred_at, partition_hash, schema_version, run, event_type, tenant_id, aggregate_type) > 0;
select * from finish();
