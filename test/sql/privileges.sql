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

-- a monitor: the views, and no payload
set role priv_monitor;
select count(s) > 0 as rows from (select * from sentinai.stat_queue offset 0) s;
select count(s) > 0 as rows from (select * from sentinai.stat_lane offset 0) s;
select count(s) > 0 as rows from (select * from sentinai.stat_relay offset 0) s;
select count(s) >= 0 as rows from (select * from sentinai.stat_agent offset 0) s;
select count(s) > 0 as rows from (select * from sentinai.stat_info offset 0) s;
select * from sentinai.event_log;
select * from sentinai.dead_letter;
select * from sentinai.event_retry;
select * from sentinai.slice;
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
insert into sentinai.event_log select * from sentinai.event_log;
update sentinai.event_log set payload = '{}';
delete from sentinai.event_log;
truncate sentinai.event_log;
reset role;

-- the owner: the log is append-only
update sentinai.event_log set payload = '{}';
delete from sentinai.event_log;
truncate sentinai.event_log;
update sentinai.event_kept set payload = '{}';
delete from sentinai.event_kept;
truncate sentinai.event_kept;
select count(*) as events from sentinai.event_log where tenant_id = 'priv';

-- settings that do not exist
set sentinai.nosuch = 1;
select set_config('sentinai.nosuch', '1', false);

drop owned by priv_plain, priv_monitor, priv_publisher;
drop role priv_plain, priv_monitor, priv_publisher;
select sentinai.unsubscribe('priv');
