-- SPDX-License-Identifier: PostgreSQL
\echo Use "ALTER EXTENSION sentinai UPDATE TO '0.3.0'" to load this file. \quit

-- Names below that no schema qualifies are PostgreSQL's own.
set local search_path = pg_catalog, pg_temp;

-- What was there before keeps the rights that DBAs gave, and a function with other
-- arguments than before gets those of the one it replaces.
select set_config('sentinai_update.members', string_agg(d.classid || '/' || d.objid, ' '), true)
from pg_depend d join pg_extension e on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid
where e.extname = 'sentinai' and d.deptype = 'e';

select set_config('sentinai_update.rights', coalesce(jsonb_agg(jsonb_build_object('function', p.oid, 'name', p.proname,
    'grantee', a.grantee, 'grantable', a.is_grantable)), '[]')::text, true)
from pg_proc p cross join lateral aclexplode(p.proacl) a
where p.pronamespace = 'sentinai'::regnamespace and a.grantee <> p.proowner;

-- What is new comes here, as it stands in its module; what is changed as
-- "create or replace", "alter" or "comment on".

create function sentinai.asyncapi(
        title text default null, version text default null,
        event_types text[] default null, aggregate_types text[] default null)
    returns jsonb
    language c stable parallel restricted
    as 'MODULE_PATHNAME', 'sentinai_asyncapi';
comment on function sentinai.asyncapi(text, text, text[], text[]) is 'What the relay writes to Kafka, as an AsyncAPI 3.0 document: topics, brokers, and a message for each version of each registered event type, with headers, schema and examples. title, version: of the document; null for the name of the database, and for the time of the newest registration. event_types: those that it shall have; null for all that are sent. aggregate_types: what {aggregate_type} in the name of a topic can be, which the database does not know. References between schemas lead to places in the document. Nothing of sentinai.kafka_conf is in it but hosts and the kind of protection. Errors: SN404 an event type that is not registered; SN422 no name of a type, or more than 10,000; 54000 the document would be larger than 192 MB.';

comment on function sentinai.validate_json(jsonb, jsonb) is 'What a value breaks of a JSON Schema (draft 2020-12): an array of objects with "pointer" (JSON Pointer into the value), "keyword" and "message", which has nothing of the value in it. An empty array: the value is valid. At most 20 are described; then a last object {"more": n} counts the others. References stay in the schema; format is checked. schema: at most 1 MB. Errors: 22004 null; SN413 too large a schema; SN422 the schema is none, or uses what is not supported (the detail is a JSON array whose pointer leads into the schema).';
comment on function sentinai.register_event_type(text, jsonb, int, text, text, jsonb, text) is 'Registers a version of an event type and returns its number. From the next transaction of each session on, payloads of the type are checked against the schema. schema: JSON Schema, draft 2020-12, at most 1 MB. version: null for the next one; another must be higher than all before. description: at most 8 kB. direction: "inbound", "agent" or "control". examples: a JSON array of payloads, at most 100, each of which the schema takes. compatibility: "backward" (the new schema takes what the version before did), "forward" (the other way round), "full" (both), each also with "_transitive" (all versions before), or "none". What cannot be told counts as incompatible. Registering a schema again that a version has returns that version and sets the rest as given. Errors: 22004 null where there must be a value; SN409 incompatible (the detail is a JSON array with the "pointer" of the field and the "keyword"), a version with another schema, or one that comes too late; SN413 too large; SN422 invalid argument, schema or example (with such a detail), or one of the extension''s own types; 25006 read-only transaction or standby.';

-- From here on for all that this file makes; see the modules 80, 85 and 90.
do $triggers$
declare
    t regclass;
begin
    for t in select c.oid from pg_class c
             where c.relnamespace = 'sentinai_internal'::regnamespace and c.relkind = 'r' and not c.relispartition
                   and not exists (select from pg_trigger x where x.tgrelid = c.oid and x.tgname = 'refuse_replication')
    loop
        execute format('create trigger refuse_replication before insert or update or delete on %s'
            ' for each row execute function sentinai.refuse_replication()', t);
        execute format('create trigger refuse_replicated_truncate before truncate on %s'
            ' for each statement execute function sentinai.refuse_replication()', t);
        execute format('alter table %s enable replica trigger refuse_replication,'
            ' enable replica trigger refuse_replicated_truncate', t);
        execute format('comment on trigger refuse_replication on %s is %L', t,
            'Rows of another place mean nothing here.');
        execute format('comment on trigger refuse_replicated_truncate on %s is %L', t,
            'The same for TRUNCATE.');
    end loop;
end $triggers$;

do $grants$
declare
    g record;
begin
    for g in
        with ours (kind, class, object, name, owner, acl) as (
            select case c.relkind when 'S' then 'sequence' else 'table' end, 'pg_class'::regclass,
                   c.oid, c.oid::regclass::text, c.relowner, c.relacl
            from pg_class c where c.relkind in ('r', 'p', 'v', 'f', 'S')
            union all
            select 'routine', 'pg_proc'::regclass, p.oid, p.oid::regprocedure::text, p.proowner,
                   coalesce(p.proacl, acldefault('f', p.proowner))
            from pg_proc p
            union all
            select 'type', 'pg_type'::regclass, t.oid, t.oid::regtype::text, t.typowner, t.typacl
            from pg_type t where t.typelem = 0)
        select distinct o.kind, o.name, a.grantee
        from ours o cross join lateral aclexplode(o.acl) a
             join pg_depend d on d.classid = o.class and d.objid = o.object and d.deptype = 'e'
             join pg_extension e on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid
        where e.extname = 'sentinai' and a.grantee <> o.owner and (o.kind, a.grantee) <> ('type', 0)
              and d.classid || '/' || d.objid <> all (string_to_array(current_setting('sentinai_update.members'), ' '))
    loop
        execute format('revoke all on %s %s from %s cascade', g.kind, g.name,
            case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end);
    end loop;
end $grants$;

-- Grants to public and to pg_monitor, as in module 85, come here.
do $dump$
declare
    c record;
begin
    for c in select x.oid, x.relname
             from pg_class x join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = x.oid
                  join pg_extension e on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid
             where e.extname = 'sentinai' and d.deptype = 'e' and x.relkind in ('r', 'S')
                   and d.classid || '/' || d.objid <> all (string_to_array(current_setting('sentinai_update.members'), ' '))
             order by x.relname
    loop
        perform pg_extension_config_dump(c.oid, '');
    end loop;
end $dump$;

-- Nothing comes behind this.  A dump has to name these rights as the DBA's.
do $carry$
declare
    g record;
    ours aclitem[];
begin
    for g in
        select p.oid, p.oid::regprocedure as name, o.grantee, bool_or(o.grantable) as grantable
        from jsonb_to_recordset(current_setting('sentinai_update.rights')::jsonb)
                 o (function oid, name name, grantee oid, grantable boolean)
             join pg_proc p on p.proname = o.name and p.pronamespace = 'sentinai'::regnamespace
        where not exists (select from pg_proc x where x.oid = o.function)
              and 'pg_proc'::regclass::oid || '/' || p.oid <> all (string_to_array(current_setting('sentinai_update.members'), ' '))
        group by p.oid, o.grantee
    loop
        select i.initprivs into ours
        from pg_init_privs i where i.classoid = 'pg_proc'::regclass and i.objoid = g.oid and i.objsubid = 0;
        execute format('grant execute on routine %s to %s%s', g.name,
            case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end,
            case when g.grantable then ' with grant option' else '' end);
        update pg_init_privs i set initprivs = ours
        where i.classoid = 'pg_proc'::regclass and i.objoid = g.oid and i.objsubid = 0;
    end loop;
end $carry$;
