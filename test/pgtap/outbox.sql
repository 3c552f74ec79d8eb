-- SPDX-License-Identifier: PostgreSQL
-- The table outbox: in every mode of the server what is inserted is stored, a
-- repeated id does nothing when that was asked for, what ORMs send works, and
-- an event is found by the id that it was given.
select plan(76);

create function pg_temp.stored(tenant text) returns bigint language sql as $$
    select count(*) from sentinai.event_log where tenant_id = tenant $$;

-- every way to insert, in every mode
create procedure pg_temp.all_ways(mode text) language plpgsql as $$
declare r record; n int;
begin
    perform set_config('session_replication_role', mode, false);
    insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('out-' || mode, 'one', 't', '{}');
    get diagnostics n = row_count;
    insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('out-' || mode, 'many', 't', '{}'), ('out-' || mode, 'many', 't', '{}');
    insert into sentinai.outbox (tenant_id, aggregateid, type, payload) select 'out-' || mode, 'select', 't', '{}' from generate_series(1, 1500);
    insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('out-' || mode, 'told', 't', '{"a": 1}') returning * into r;
    execute $i$copy sentinai.outbox (tenant_id, aggregateid, type, payload) from program 'for i in 1 2 3; do echo "out-$i$ || mode || $i$|copy|t|{}"; done' (delimiter '|')$i$;
    perform set_config('session_replication_role', 'origin', false);
    insert into results values (mode, n, r.id, r.aggregatetype, r.payload, r.metadata);
end $$;
create temp table results (mode text, n int, id uuid, aggregatetype text, payload jsonb, metadata jsonb);
call pg_temp.all_ways('origin');
call pg_temp.all_ways('local');
call pg_temp.all_ways('replica');
select is(pg_temp.stored('out-' || mode), 1507::bigint, 'all is stored, ' || mode) from results;
select is(n, 1, 'and counted, ' || mode) from results;
select is((select row(aggregate_type, payload, metadata)::text from sentinai.event_log where event_id = r.id),
          row(aggregatetype, payload, metadata)::text, 'RETURNING tells what is stored, ' || mode) from results r;
select is((select count(distinct run) from sentinai.event_log where tenant_id = 'out-' || mode and aggregate_id = 'copy'), 2::bigint, 'COPY makes runs, ' || mode) from results;

-- refused in every mode as well
set session_replication_role = replica;
select throws_ok($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('', 'a', 't', '{}')$$, 'SN403', null, 'a tenant that is none');
select throws_ok($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('out', 'a', 't', '[]')$$, 'SN422', null, 'a payload that is no object');
select throws_ok($$insert into sentinai.outbox (tenant_id, aggregateid, type) values ('out', 'a', 't')$$, '22004', null, 'no payload');
select throws_ok($$update sentinai.outbox set type = 'u'$$, 'SN409', null, 'an update');
select throws_ok($$update sentinai.outbox set type = 'u' where false$$, 'SN409', null, 'of no row');
select throws_ok($$delete from sentinai.outbox$$, 'SN409', null, 'a delete');
reset session_replication_role;

-- a trigger of a table that is fed in replica mode
create temp table fed (id int);
create function pg_temp.tell() returns trigger language plpgsql as $$
begin
    insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('out-fed', new.id::text, 't', '{}');
    return new;
end $$;
create trigger tell after insert on fed for each row execute function pg_temp.tell();
alter table fed enable always trigger tell;
set session_replication_role = replica;
insert into fed select generate_series(1, 30);
reset session_replication_role;
select is(pg_temp.stored('out-fed'), 30::bigint, 'a trigger on a replicated table publishes');

-- a repeated id
select lives_ok($$insert into sentinai.outbox (id, tenant_id, aggregateid, type, payload) values ('00000000-0000-4000-8000-000000000001', 'out-twice', 'a', 't', '{}')$$, 'an id of one''s own');
select throws_ok($$insert into sentinai.outbox (id, tenant_id, aggregateid, type, payload) values ('00000000-0000-4000-8000-000000000001', 'out-twice', 'a', 't', '{}')$$, '23505', null, 'twice');
create temp table told (id uuid, metadata jsonb);
with i as (
    insert into sentinai.outbox (id, tenant_id, aggregateid, type, payload)
    values ('00000000-0000-4000-8000-000000000001', 'out-twice', 'a', 't', '{}'),
           ('00000000-0000-4000-8000-000000000002', 'out-twice', 'a', 't', '{}'),
           ('00000000-0000-4000-8000-000000000002', 'out-twice', 'a', 't', '{}'),
           (null, 'out-twice', 'a', 't', '{}')
    on conflict do nothing returning id, metadata)
insert into told select * from i;
select is((select count(*) from told), 2::bigint, 'ON CONFLICT DO NOTHING: what is new is told');
select is(pg_temp.stored('out-twice'), 3::bigint, 'and stored, nothing else');
select set_eq($$select id from told$$, $$select event_id from sentinai.event_log where tenant_id = 'out-twice' offset 1$$, 'under these ids');
set session_replication_role = replica;
select throws_ok($$insert into sentinai.outbox (id, tenant_id, aggregateid, type, payload) values ('00000000-0000-4000-8000-000000000001', 'out-twice', 'a', 't', '{}')$$, '23505', null, 'twice in replica mode');
reset session_replication_role;
select throws_ok($$insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('out-twice', 'a', 't', '{}') on conflict (id) do nothing$$, '42P10', null, 'no index to infer');
create function pg_temp.counted(statement text) returns bigint language plpgsql as $$
declare n bigint; begin execute statement; get diagnostics n = row_count; return n; end $$;
select is(pg_temp.counted($$insert into sentinai.outbox (id, tenant_id, aggregateid, type, payload)
    select '00000000-0000-4000-8000-000000000003', 'out-twice', 'a', 't', '{}' from generate_series(1, 5) on conflict do nothing$$), 1::bigint, 'the count is that of what was stored');

-- found by the id that was given
select is((select array_agg(row(id, aggregateid)::text) from sentinai.outbox where id = '00000000-0000-4000-8000-000000000002'), '{"(00000000-0000-4000-8000-000000000002,a)"}', 'an event is found by its given id');
select is((select array_agg(id order by id) from sentinai.outbox where id in ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000003', '00000000-0000-4000-8000-000000000077')),
          '{00000000-0000-4000-8000-000000000001,00000000-0000-4000-8000-000000000003}', 'several are');
select is((select metadata->>'outbox_id' from sentinai.outbox where id = (select event_id from sentinai.event_log where metadata->>'outbox_id' = '00000000-0000-4000-8000-000000000002' and tenant_id = 'out-twice')),
          '00000000-0000-4000-8000-000000000002', 'and so it is by the event''s');
select is((select count(*) from sentinai.outbox where id = '00000000-0000-4000-8000-000000000002' and tenant_id = 'other'), 0::bigint, 'with a condition that does not hold');
select is((select count(*) from sentinai.outbox where tenant_id = 'out-twice' and id is not null), 4::bigint, 'each event once when no id is named');
prepare find(uuid) as select aggregateid collate "default" from sentinai.outbox where id = $1 and type = 't';
set plan_cache_mode = force_generic_plan;
select results_eq($$execute find('00000000-0000-4000-8000-000000000003')$$, $$values ('a')$$, 'by a parameter');
select is_empty($$execute find(null)$$, 'that may be null');
reset plan_cache_mode;

-- what ORMs send
create function pg_temp.ran(statement text) returns bigint language plpgsql as $$
declare n bigint := 0; r record; begin for r in execute statement loop n := n + (r.id is not null)::int; end loop; return n; end $$;
select is(pg_temp.ran($$INSERT INTO "sentinai"."outbox" ("tenant_id", "aggregatetype", "aggregateid", "type", "payload", "metadata")
    VALUES ('out-django', 'order', '1', 't', '{"a": 1}', '{}') RETURNING "sentinai"."outbox"."id"$$), 1::bigint, 'Django, an id of ours');
select is(pg_temp.ran($$INSERT INTO sentinai.outbox (tenant_id, aggregatetype, aggregateid, type, payload)
    SELECT p0::VARCHAR, p1::VARCHAR, p2::VARCHAR, p3::VARCHAR, p4::JSONB
    FROM (VALUES ('out-alchemy', 'order', '1', 't', '{}', 0), ('out-alchemy', 'order', '2', 't', '{}', 1), ('out-alchemy', 'order', '3', 't', '{}', 2))
    AS imp_sen(p0, p1, p2, p3, p4, sen_counter) ORDER BY sen_counter RETURNING outbox.id, outbox.id AS id__1$$), 3::bigint, 'SQLAlchemy, many values');
select is((select array_agg(aggregate_id order by event_id) from sentinai.event_log where tenant_id = 'out-alchemy'), '{1,2,3}', 'in their order');
prepare ins(text, jsonb) as insert into sentinai.outbox (tenant_id, type, payload) values ($1, 't', $2);
execute ins('out-prepared', '{}');
execute ins('out-prepared', '{}');
select is(pg_temp.stored('out-prepared'), 2::bigint, 'a prepared statement');
select is((select count(*) from sentinai.outbox where tenant_id = 'out-prepared' and aggregatetype = 'exception' and aggregateid is null), 2::bigint, 'defaults');

-- reading
select results_eq($$select id from sentinai.outbox where tenant_id like 'out-%' order by id desc limit 3$$,
                  $$select event_id from sentinai.event_log where tenant_id like 'out-%' order by event_id desc limit 3$$, 'from the end');
select results_eq($$select id from sentinai.outbox where tenant_id like 'out-%' order by id offset 990 limit 20$$,
                  $$select event_id from sentinai.event_log where tenant_id like 'out-%' order by event_id offset 990 limit 20$$, 'from the beginning, further than is fetched at once');
select is((select count(*) from told t where exists (select from sentinai.outbox o where o.id = t.id and o.tenant_id = 'out-twice')), 2::bigint, 'beside another table');
select is((select array_agg((select o.type from sentinai.outbox o where o.id = t.id)) from told t), '{t,t}', 'once for each row of it');
select is((select count(*) from sentinai.outbox where tenant_id = 'out-twice' and random() < 2), 4::bigint, 'a condition that is volatile');
select is((select count(*) from sentinai.outbox o where tenant_id = 'out-twice' and (o).type = 't' and o.tableoid = 'sentinai.outbox'::regclass), 4::bigint, 'of the row itself');

-- rights
create role out_publisher;
create role out_reader;
grant usage on schema sentinai to out_publisher, out_reader;
grant insert, select (id) on sentinai.outbox to out_publisher;
grant select on sentinai.outbox to out_reader;
create schema out_view;
create view out_view.outbox as select id, tenant_id from sentinai.outbox where tenant_id = 'out-alchemy';
create view out_view.barrier with (security_barrier) as select tenant_id from sentinai.outbox
    where upper(lower(upper(lower(tenant_id)))) = 'OUT-ALCHEMY';
create view out_view.lowered as select tenant_id from sentinai.outbox where lower(tenant_id) = 'out-alchemy';
create view out_view.given as select id from sentinai.outbox;
grant usage on schema out_view to out_publisher;
grant select on all tables in schema out_view to out_publisher;
create schema out_caller authorization out_publisher;
set role out_publisher;
select lives_ok($$insert into sentinai.outbox (tenant_id, type, payload) values ('out-role', 't', '{}') returning id$$, 'INSERT and the right to read the id');
select throws_ok($$insert into sentinai.outbox (tenant_id, type, payload) values ('out-role', 't', '{}') returning payload$$, '42501', null, 'nothing else is told');
select throws_ok($$select id from sentinai.outbox$$, '42501', null, 'which is no right to read the log');
select throws_ok($$select id from sentinai.outbox where id = '00000000-0000-4000-8000-000000000002'$$, '42501', null, 'by id neither');
select is((select count(*) from out_view.outbox), 3::bigint, 'a view reads as its owner');
select is(current_user, 'out_publisher', 'and leaves the role alone');
create function out_caller.me(text) returns text stable language plpgsql as 'begin return current_user; end';
create function out_caller.given() returns uuid stable language sql as $$ select '00000000-0000-4000-8000-000000000002'::uuid $$;
select is((select count(*) from out_view.outbox where out_caller.me(tenant_id) = 'out_publisher'), 3::bigint, 'what a caller of the view adds does not run as its owner');
select is((select count(*) from out_view.outbox where tenant_id <> out_caller.me('x') and tenant_id || current_user = 'out-alchemyout_publisher'), 3::bigint, 'nor is it answered so');
select is((select count(*) from out_view.outbox where tenant_id || out_caller.me('x') = 'out-alchemyout_publisher'), 3::bigint, 'computed before or not');
select is((select count(*) from out_view.given where id = out_caller.given()), 1::bigint, 'an id that a function tells is found');
select is((select count(*) from out_view.barrier where 10 / (length(tenant_id) - 10) > 0), 3::bigint, 'a barrier keeps other rows away from a caller''s condition');
create function out_caller.lower(text) returns text immutable language sql as $$ select 'hidden' $$;
begin;
declare shown cursor for select tenant_id from out_view.lowered;
create function out_caller.fetched() returns bigint language plpgsql set search_path = out_caller, pg_catalog as $$
declare c refcursor := 'shown'; n bigint; begin move forward all from c; get diagnostics n = row_count; return n; end $$;
select is(out_caller.fetched(), 3::bigint, 'a cursor reads with the names it was made with');
commit;
set role out_reader;
select throws_ok($$select * from sentinai.outbox$$, '42501', null, 'who reads outbox needs the log');
select throws_ok($$insert into sentinai.outbox (tenant_id, type, payload) values ('out-role', 't', '{}')$$, '42501', null, 'who may read may not write');
reset role;
grant select on sentinai.event_log to out_reader;
set role out_reader;
select is((select count(*) from sentinai.outbox where tenant_id = 'out-role'), 1::bigint, 'and reads it then');
reset role;
select is((select count(*) from sentinai.outbox where tenant_id = 'out-alchemy' and tenant_id collate "und-x-icu" < 'OUU'), 3::bigint, 'a condition under another collation');
drop schema out_view cascade;
drop owned by out_publisher, out_reader;
drop role out_publisher, out_reader;

-- a foreign table like it has its columns, by name and in order, or says so
create schema out_like;
create foreign table out_like.same (id uuid, tenant_id text, aggregatetype text, aggregateid text, type text, payload jsonb, metadata jsonb) server sentinai_outbox;
create foreign table out_like.renamed (i uuid, tenant_id text, aggregatetype text, aggregateid text, type text, payload jsonb, metadata jsonb) server sentinai_outbox;
create foreign table out_like.swapped (id uuid, tenant_id text, aggregateid text, aggregatetype text, type text, payload jsonb, metadata jsonb) server sentinai_outbox;
create foreign table out_like.few (id uuid) server sentinai_outbox;
create foreign table out_like.typed (id text, tenant_id text, aggregatetype text, aggregateid text, type text, payload jsonb, metadata jsonb) server sentinai_outbox;
select lives_ok($$insert into out_like.same (tenant_id, aggregatetype, aggregateid, type, payload) values ('out-like', 'order', 'a', 't', '{}')$$, 'a table like it publishes');
select throws_ok(format('select * from out_like.%I where %I is not null', t, c), '42809', format('foreign table "%s" has other columns than outbox', t), 'another is not read: ' || t)
from (values ('renamed', 'i'), ('swapped', 'id'), ('few', 'id'), ('typed', 'id')) v (t, c);
select throws_ok(format('insert into out_like.%I values (null)', t), '42809', null, 'nor written: ' || t)
from unnest('{renamed,swapped,few,typed}'::text[]) t;
set client_min_messages = error;
drop schema out_like cascade;
reset client_min_messages;

-- undone
begin;
insert into sentinai.outbox (tenant_id, type, payload) values ('out-undone', 't', '{}');
savepoint s;
insert into sentinai.outbox (id, tenant_id, type, payload) values ('00000000-0000-4000-8000-000000000009', 'out-undone', 't', '{}');
rollback to s;
select is((select array_agg(id) from sentinai.outbox where id = '00000000-0000-4000-8000-000000000009'), null, 'what is rolled back is not found');
commit;
select is(pg_temp.stored('out-undone'), 1::bigint, 'what is not is');

-- a cursor whose scan began in a savepoint, and is longer than what is fetched at once
insert into sentinai.outbox (tenant_id, type, payload) select 'out-cursor', 't', '{}' from generate_series(1, 150);
begin;
declare later cursor for select id from sentinai.outbox where tenant_id = 'out-cursor';
savepoint s;
move later;
rollback to s;
savepoint s;
select throws_ok('move all later', '24000', null, 'a scan ends with the savepoint it began in');
rollback to s;
declare kept cursor for select id from sentinai.outbox where tenant_id = 'out-cursor';
move kept;
savepoint s;
rollback to s;
select lives_ok('move all kept', 'and with no later one');
declare released cursor for select id from sentinai.outbox where tenant_id = 'out-cursor';
savepoint s;
move released;
release s;
select lives_ok('move all released', 'nor when that is released');
rollback;
select is((select count(*) from pg_depend where refclassid = 'pg_extension'::regclass and deptype = 'e'
           and (objid = 'sentinai.outbox'::regclass or objid = (select oid from pg_foreign_server where srvname = 'sentinai_outbox'))), 2::bigint, 'table and server belong to the extension');
select * from finish();
