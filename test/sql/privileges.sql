-- SPDX-License-Identifier: PostgreSQL
-- Who may do what: nobody more than was granted.
set client_min_messages = warning;
create extension if not exists sentinai;
create role priv_plain;
create role priv_monitor in role pg_monitor;
create role priv_publisher;
grant usage on schema sentinai to priv_plain, priv_publisher;
grant execute on function sentinai.publish(text, text, text, jsonb, text, jsonb, text, uuid, text, timestamptz, int) to priv_publisher;
select sentinai.subscribe('priv');
select sentinai.publish('priv.t', 'priv', 'a', '{}') is not null as published;
\set VERBOSITY sqlstate

-- all that each may call and touch, the views of pg_monitor included
select r.rolname, string_agg(distinct p.proname, ' ' order by p.proname) as routines
from pg_roles r, pg_proc p
where r.rolname like 'priv\_%' and p.pronamespace = 'sentinai'::regnamespace and has_function_privilege(r.oid, p.oid, 'execute')
group by 1 order by 1;
select r.rolname, string_agg(c.relname, ' ' order by c.relname) as relations
from pg_roles r, pg_class c
where r.rolname like 'priv\_%' and c.relnamespace = 'sentinai'::regnamespace and c.relkind in ('r', 'p', 'v', 'S')
    and case when c.relkind = 'S' then has_sequence_privilege(r.oid, c.oid, 'usage, select, update')
             else has_table_privilege(r.oid, c.oid, 'select, insert, update, delete, truncate, references, trigger')
                 or has_any_column_privilege(r.oid, c.oid, 'select, insert, update, references') end
group by 1 order by 1;

-- a role with nothing
set role priv_plain;
select sentinai.get_partition_key('a', 'b'), sentinai.partition_hash('a:b'), sentinai.partition_for('a', 'b', 12);
select sentinai.publish('priv.t', 'priv', 'a', '{}');
select sentinai.publish_batch('{t}', '{priv}', '{a}', '{"{}"}');
insert into sentinai.outbox (tenant_id, aggregatetype, aggregateid, type, payload) values ('priv', 'a', 'a', 't', '{}');
select sentinai.subscribe('priv-plain');
select sentinai.unsubscribe('priv');
select * from sentinai.claim('priv');
select sentinai.complete('x');
select sentinai.pause_relay();
select sentinai.resume_relay();
select sentinai.after_restore();
select * from sentinai.get_events_by_tenant('priv');
select * from sentinai.event_log;
select * from sentinai.stat_queue;
set sentinai.kafka_conf = 'bootstrap.servers=x';
show sentinai.kafka_conf;
set sentinai.relay_inflight = 1;

-- nor can it name what is internal, whatever the command
create table sentinai_internal.mine (a int);
create temp table mine (like sentinai_internal.event_log);
create temp table mine (e sentinai_internal.event_retry);
create temp table mine (e uuid references sentinai_internal.event_kept);
create temp view mine as select from sentinai_internal.subscription;
create function pg_temp.mine(sentinai_internal.node) returns int language sql as 'select 1';
create rule mine as on insert to sentinai_internal.event_log do also nothing;
prepare mine as select from sentinai_internal.lane_state_0;
begin;
lock table sentinai_internal.round_0 in access share mode;
rollback;
comment on table sentinai_internal.slice is 'mine';
select 'sentinai_internal.stream'::regclass;
select null::sentinai_internal.relay_control;
reset role;
select r.rolname from pg_roles r where has_schema_privilege(r.oid, 'sentinai_internal', 'usage') and not r.rolsuper order by 1;

-- what it names of the views leaves retention and publishers alone: the table
-- that partitions hang on, and the partitions, stay free
create function pg_temp.locked() returns setof text language sql as $$
    select distinct c.relname || ' ' || l.mode from pg_locks l join pg_class c on c.oid = l.relation
    where l.pid = pg_backend_pid() and c.relnamespace = 'sentinai_internal'::regnamespace order by 1 $$;
begin;
set local role priv_plain;
prepare log as select * from sentinai.event_log;
prepare ledger as select * from sentinai.event_processing;
prepare letters as select * from sentinai.dead_letter;
prepare lanes as select * from sentinai.stat_lane;
prepare queue as select * from sentinai.stat_queue;
prepare relay as select * from sentinai.stat_relay;
prepare topics as select * from sentinai.stat_relay_topic;
prepare agents as select * from sentinai.stat_agent;
prepare retries as select * from sentinai.stat_retry;
prepare info as select * from sentinai.stat_info;
prepare outbox as select * from sentinai.outbox;
create temp view mine as select * from sentinai.event_log;
create function pg_temp.mine() returns bigint language sql begin atomic select count(*) from sentinai.event_log; end;
savepoint s;
explain select * from sentinai.event_log;
rollback to s;
execute log;
rollback to s;
reset role;
select * from pg_temp.locked();
rollback;
deallocate all;

-- a monitor: the views, and no payload
set role priv_monitor;
select count(s) > 0 as rows from (select * from sentinai.stat_queue offset 0) s;
select count(s) > 0 as rows from (select * from sentinai.stat_lane offset 0) s;
select count(s) > 0 as rows from (select * from sentinai.stat_relay offset 0) s;
select count(s) >= 0 as rows from (select * from sentinai.stat_agent offset 0) s;
select count(s) >= 0 as rows from (select * from sentinai.stat_retry offset 0) s;
select count(s) > 0 as rows from (select * from sentinai.stat_info offset 0) s;
select * from sentinai.event_log;
select * from sentinai.dead_letter;
select * from sentinai_internal.event_retry;
select * from sentinai_internal.slice;
select * from sentinai.get_events_by_tenant('priv');
select sentinai.publish('priv.t', 'priv', 'a', '{}');
select sentinai.pause_relay();

-- a publisher: publishes, and reads nothing
set role priv_publisher;
select sentinai.publish('priv.t', 'priv', 'a', '{"by": "publisher"}') is not null as published;
select * from sentinai.event_log;
select * from sentinai.get_events_by_tenant('priv');
select * from sentinai.claim('priv');
select * from sentinai.stat_info;
insert into sentinai_internal.event_log select * from sentinai.event_log;
update sentinai.event_log set payload = '{}';
delete from sentinai.event_log;
truncate sentinai_internal.event_log;
reset role;

-- the owner: the log is append-only
update sentinai.event_log set payload = '{}';
delete from sentinai.event_log;
truncate sentinai_internal.event_log;
update sentinai_internal.event_kept set payload = '{}';
delete from sentinai_internal.event_kept;
truncate sentinai_internal.event_kept;
select count(*) as events from sentinai.event_log where tenant_id = 'priv';

-- settings that do not exist
set sentinai.nosuch = 1;
select set_config('sentinai.nosuch', '1', false);

drop owned by priv_plain, priv_monitor, priv_publisher;
drop role priv_plain, priv_monitor, priv_publisher;
select sentinai.unsubscribe('priv');
