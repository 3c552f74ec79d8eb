-- SPDX-License-Identifier: PostgreSQL
\echo Use "ALTER EXTENSION sentinai UPDATE TO '0.2.0'" to load this file. \quit

-- Names below that no schema qualifies are PostgreSQL's own.
set local search_path = pg_catalog, pg_temp;

-- What was there before keeps the rights that DBAs gave.
select set_config('sentinai_update.members', string_agg(d.classid || '/' || d.objid, ' '), true)
from pg_depend d join pg_extension e on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid
where e.extname = 'sentinai' and d.deptype = 'e';

-- Event types.
create table sentinai_internal.event_type (
    event_type       text collate "C" not null,
    version          int not null,
    direction        text collate "C" not null,
    description      text collate "C",
    schema           jsonb not null,
    examples         jsonb not null,
    compatibility    text collate "C" not null,
    registered_at    timestamptz not null,
    registered_by    text collate "C" not null,
    deprecated_since timestamptz,
    dropped_at       timestamptz,
    primary key (event_type, version)
);

comment on table sentinai_internal.event_type is 'Registered event types: a row for each version that a type has or had. Functions write it. The extension''s own types come with it.';
comment on column sentinai_internal.event_type.event_type is 'Name of the type.';
comment on column sentinai_internal.event_type.version is 'Number of the version, rising; never used again.';
comment on column sentinai_internal.event_type.direction is '"inbound" (comes from outside), "agent" (what agents publish) or "control" (about the work itself).';
comment on column sentinai_internal.event_type.description is 'What an event of the type says.';
comment on column sentinai_internal.event_type.schema is 'JSON Schema, draft 2020-12, of the payload.';
comment on column sentinai_internal.event_type.examples is 'JSON array of payloads that the schema takes.';
comment on column sentinai_internal.event_type.compatibility is 'What was asked of this version for those who know the ones before.';
comment on column sentinai_internal.event_type.registered_at is 'When it was registered; for the extension''s own, when the version of the extension was made that has it.';
comment on column sentinai_internal.event_type.registered_by is 'Role that registered it; "sentinai" for the extension''s own.';
comment on column sentinai_internal.event_type.deprecated_since is 'Since when it is not what publishers mean who name no version; null: not.';
comment on column sentinai_internal.event_type.dropped_at is 'When it was dropped: its number then means nothing else; null: not.';

-- What the extension publishes itself; sql/90_dump.sql leaves these rows out.
-- They are the same wherever it is installed, so that a restored copy is one.
insert into sentinai_internal.event_type
    (event_type, version, direction, description, schema, examples, compatibility, registered_at, registered_by)
select t.name, 1, 'control', t.description, t.schema::jsonb, '[]', 'backward', '2026-11-29 00:00Z', 'sentinai'
from (values
    ('RetryScheduled', 'An event could not be handled, and will be tried again at due_at.', '{
        "type": "object",
        "properties": {
            "worker_type": {"type": "string"},
            "event_id": {"type": "string", "format": "uuid"},
            "event_type": {"type": "string"},
            "attempt": {"type": "integer", "minimum": 1},
            "error": {"type": ["string", "null"]},
            "due_at": {"type": "string", "format": "date-time"},
            "topic": {"type": ["string", "null"]}
        },
        "required": ["worker_type", "event_id", "event_type", "attempt", "error", "due_at"],
        "additionalProperties": false}'),
    ('DeadLettered', 'An event was given up for a subscription, and is a dead letter now.', '{
        "type": "object",
        "properties": {
            "worker_type": {"type": "string"},
            "event_id": {"type": "string", "format": "uuid"},
            "event_type": {"type": "string"},
            "attempt": {"type": "integer", "minimum": 0},
            "error": {"type": ["string", "null"]},
            "due_at": {"type": "null"},
            "topic": {"type": ["string", "null"]}
        },
        "required": ["worker_type", "event_id", "event_type", "attempt", "error", "due_at"],
        "additionalProperties": false}'),
    ('SLAImminent', 'A deadline of an aggregate comes near. Reserved: nothing publishes it yet.', '{"type": "object"}'),
    ('SLAExpired', 'A deadline of an aggregate is over. Reserved: nothing publishes it yet.', '{"type": "object"}'),
    ('BackpressureDetected', 'A subscription has reached the limit of its backlog. Reserved: nothing publishes it yet.', '{"type": "object"}')
    ) t (name, description, schema);

create function sentinai.validate_json(schema jsonb, value jsonb) returns jsonb
    language c immutable parallel safe
    as 'MODULE_PATHNAME', 'sentinai_validate_json';
comment on function sentinai.validate_json(jsonb, jsonb) is 'What a value breaks of a JSON Schema (draft 2020-12): an array of objects with "pointer" (JSON Pointer into the value), "keyword" and "message", which has nothing of the value in it. An empty array: the value is valid. At most 20 are described; then a last object {"more": n} counts the others. References stay in the schema; format is checked. schema: at most 1 MB. Errors: 22004 null; SN413 too large a schema; SN422 the schema is none, or uses what is not supported, with the JSON Pointer of the place in the detail.';

create function sentinai.register_event_type(
        event_type text, schema jsonb, version int default null,
        description text default null, direction text default 'inbound',
        examples jsonb default '[]', compatibility text default 'backward')
    returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_register_event_type';
comment on function sentinai.register_event_type(text, jsonb, int, text, text, jsonb, text) is 'Registers a version of an event type and returns its number. From the next transaction of each session on, payloads of the type are checked against the schema. schema: JSON Schema, draft 2020-12, at most 1 MB. version: null for the next one; another must be higher than all before. description: at most 8 kB. direction: "inbound", "agent" or "control". examples: a JSON array of payloads, at most 100, each of which the schema takes. compatibility: "backward" (the new schema takes what the version before did), "forward" (the other way round), "full" (both), each also with "_transitive" (all versions before), or "none". What cannot be told counts as incompatible. Registering a schema again that a version has returns that version and sets the rest as given. Errors: 22004 null where there must be a value; SN409 incompatible (the detail is a JSON array with the "pointer" of the field and the "keyword"), a version with another schema, or one that comes too late; SN413 too large; SN422 invalid argument, schema or example, or one of the extension''s own types; 25006 read-only transaction or standby.';

create function sentinai.deprecate_event_type(
        event_type text, version int default null, deprecated boolean default true)
    returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_deprecate_event_type';
comment on function sentinai.deprecate_event_type(text, int, boolean) is 'Deprecates a version of an event type, or all for null: who publishes without a schema_version gets the newest one that is not deprecated, and who names it may go on. deprecated: false takes that back. Returns how many versions it changed. Errors: 22004 null where there must be a value; SN404 unknown type or version; SN422 one of the extension''s own types; 25006 read-only transaction or standby.';

create function sentinai.drop_event_type_version(
        event_type text, version int, force boolean default false)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_drop_event_type_version';
comment on function sentinai.drop_event_type_version(text, int, boolean) is 'Drops a version of an event type. Events of it stay, and its number is never used again; registering its schema under its number brings it back. Reads the log until it finds such an event; what has not been committed is not seen. force: drop it whatever the log has. Errors: 22004 null; SN404 unknown version; SN409 there are events of it; SN422 one of the extension''s own types; 25006 read-only transaction or standby.';

create function sentinai.event_type_changed() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_event_type_changed';
comment on function sentinai.event_type_changed() is 'Trigger of event_type: tells all sessions that it was changed by SQL, as by a dump that is restored.';

create trigger event_type_changed after insert or update or delete or truncate on sentinai_internal.event_type
    for each statement execute function sentinai.event_type_changed();
alter table sentinai_internal.event_type enable always trigger event_type_changed;
comment on trigger event_type_changed on sentinai_internal.event_type is 'Sessions that publish know the types by heart.';

create view sentinai.event_types as
select t.event_type, t.version, t.direction, t.description, t.compatibility, t.deprecated_since,
       t.version operator(pg_catalog.=) pg_catalog.max(t.version) filter (where t.deprecated_since is null)
           over (partition by t.event_type) as is_default,
       t.schema, t.examples, t.registered_at, t.registered_by
from sentinai_internal.event_type t
where t.dropped_at is null;
comment on view sentinai.event_types is 'Registered versions of event types, the extension''s own included.';
comment on column sentinai.event_types.event_type is 'Name of the type.';
comment on column sentinai.event_types.version is 'Number of the version.';
comment on column sentinai.event_types.direction is '"inbound", "agent" or "control".';
comment on column sentinai.event_types.description is 'What an event of the type says.';
comment on column sentinai.event_types.compatibility is 'What was asked of the version for those who know the ones before.';
comment on column sentinai.event_types.deprecated_since is 'Since when it is deprecated; null: not.';
comment on column sentinai.event_types.is_default is 'Whether a publisher who names no version gets this one; null: all are deprecated.';
comment on column sentinai.event_types.schema is 'JSON Schema, draft 2020-12, of the payload.';
comment on column sentinai.event_types.examples is 'JSON array of payloads that the schema takes.';
comment on column sentinai.event_types.registered_at is 'When it was registered.';
comment on column sentinai.event_types.registered_by is 'Role that registered it; "sentinai" for the extension''s own.';

create function sentinai.json_schema(event_type text, version int default null) returns jsonb
    language c stable parallel restricted
    as 'MODULE_PATHNAME', 'sentinai_json_schema';
comment on function sentinai.json_schema(text, int) is 'JSON Schema of a version of an event type; null for the newest that is not deprecated. Errors: 22004 null event_type; SN404 unknown type or version, or all are deprecated.';

create function sentinai.describe_event_type(event_type text, version int default null) returns text
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_describe_event_type';
comment on function sentinai.describe_event_type(text, int) is 'A version of an event type as text for people: what it is for, a table of the fields of the payload, and an example: the first that is registered, else one that is made from the schema and checked against it. version: null for the newest that is not deprecated, or the newest when all are. The table has at most 1,000 rows and 16 levels. It says when something is left out, and when no example could be made. Errors: 22004 null event_type; SN404 unknown type or version; SN422 no name of a type.';

-- What an event inherits.
comment on function sentinai.publish(text, text, text, jsonb, text, jsonb, text, uuid, text, timestamptz, int) is 'Publishes an event in the caller''s transaction and returns its id, a UUIDv7. event_type and aggregate_type: a letter, then letters, digits and "_.:-/", at most 128. tenant_id: at most 256 bytes, no ":". aggregate_id: at most 1024 bytes; null for an event of the tenant itself. payload: a JSON object of at most sentinai.max_payload, stored and as text. metadata: a JSON object of at most 64 kB likewise. Neither may be nested more than 500 levels deep. correlation_id: at most 512 bytes; by default that of the event which work_on() named, or the aggregate id. causation_id: the event that caused this one; by default the one that work_on() named. A traceparent in the metadata goes on to the broker; one that W3C does not call valid starts a new trace. idempotency_key: at most 512 bytes; a repeated call within sentinai.idempotency_window returns the first id and publishes nothing. deliver_at: earliest time of delivery, at most ten years ahead. schema_version: from 1; null for the newest registered version that is not deprecated, or 1 for a type that is not registered. Errors: 22004 null where there must be a value; SN403 tenant not allowed; SN409 idempotency key taken by another event; SN413 payload or metadata too large; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.work_on(event_id uuid) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_work_on';
comment on function sentinai.work_on(uuid) is 'Says that the rest of the transaction works on an event. What it publishes from then on has that event for its cause, its correlation id, and goes on with its W3C trace, unless a call says otherwise. Holds until the end of the transaction, or until its savepoint is rolled back. It sets sentinai.work_on, as SET LOCAL would. Errors: 22004 null; SN404 unknown event, or of a tenant that the caller may not publish for.';

-- Flows: which event led to which, and what became of them.

create function sentinai.flow_events(correlation_id text, tenant_id text, max_events int)
    returns setof sentinai.event
    language c stable parallel restricted rows 100
    as 'MODULE_PATHNAME', 'sentinai_flow_events';
comment on function sentinai.flow_events(text, text, int) is 'For get_trace(): events of a flow, in no order, and perhaps more than asked for.';

create function sentinai.flow_tree(
        ids uuid[], causes uuid[],
        out event_id uuid, out parent_id uuid, out depth int, out place int)
    returns setof record
    language c immutable strict parallel safe rows 100
    as 'MODULE_PATHNAME', 'sentinai_flow_tree';
comment on function sentinai.flow_tree(uuid[], uuid[]) is 'For get_trace(): the tree that causes make of events whose ids ascend, each before what it led to. A cause that is not among the events before is none.';

create function sentinai.trace_work(
        event_ids uuid[],
        out event_id uuid, out worker_type text, out status text,
        out attempts int, out worker_id text, out claimed_at timestamptz,
        out completed_at timestamptz, out dead_at timestamptz,
        out due_at timestamptz, out error text)
    returns setof record
    language c stable parallel unsafe rows 100
    as 'MODULE_PATHNAME', 'sentinai_trace_work';
comment on function sentinai.trace_work(uuid[]) is 'For get_trace(): what became of events, subscription by subscription.';

create function sentinai.get_trace(
        correlation_id text, tenant_id text default null, max_events int default 1000)
    returns table (
        event_id uuid, parent_id uuid, depth int, event_type text,
        tenant_id text, aggregate_type text, aggregate_id text,
        correlation_id text, causation_id uuid, occurred_at timestamptz,
        deliver_at timestamptz, traceparent text, subscriptions jsonb)
    language sql stable security definer rows 100
    set search_path = pg_catalog, pg_temp
as $$
    with found as materialized (
        select f.*
          from sentinai.flow_events($1, $2, $3) f
         order by f.event_id
         limit greatest($3, 1)
    ), ids as materialized (
        select coalesce(array_agg(f.event_id order by f.event_id), '{}') as ids,
               coalesce(array_agg(f.causation_id order by f.event_id), '{}') as causes
          from found f
    ), work as materialized (
        select w.event_id, jsonb_agg(to_jsonb(w) - 'event_id' order by w.worker_type) as subscriptions
          from ids cross join lateral sentinai.trace_work(ids.ids) w
         group by w.event_id
    )
    select t.event_id, t.parent_id, t.depth, f.event_type, f.tenant_id,
           f.aggregate_type, f.aggregate_id, f.correlation_id, f.causation_id,
           f.occurred_at, f.deliver_at, f.metadata->>'traceparent',
           coalesce(w.subscriptions, '[]')
      from ids
           cross join lateral sentinai.flow_tree(ids.ids, ids.causes) t
           join found f on f.event_id = t.event_id
           left join work w on w.event_id = t.event_id
     order by t.event_id
$$;
comment on function sentinai.get_trace(text, text, int) is 'Events of a flow, oldest first: those with the correlation id, and those of the aggregate with this id that were given none. tenant_id: whose; null for every tenant that has the flow, which costs a look-up for each tenant of the log. max_events: 1 to 10,000, the oldest. parent_id: the event that caused it, if it is in the flow and older; depth: how many are above it. subscriptions: an array of what each of them did, as trace_tree() has it in columns. What retention has dropped is not there. Reads by an index. Errors: 22004 null correlation_id; SN422 max_events out of range.';

create function sentinai.trace_tree(
        correlation_id text, tenant_id text default null, max_events int default 1000)
    returns table (
        tree text, event_id uuid, parent_id uuid, depth int, event_type text,
        tenant_id text, aggregate_type text, aggregate_id text,
        occurred_at timestamptz, since_start interval, since_parent interval,
        traceparent text, worker_type text, status text, attempts int,
        worker_id text, claimed_at timestamptz, completed_at timestamptz,
        dead_at timestamptz, due_at timestamptz, error text, took interval)
    language sql stable security definer rows 100
    set search_path = pg_catalog, pg_temp
as $$
    with trace as materialized (
        select g.* from sentinai.get_trace($1, $2, $3) g
    ), ids as materialized (
        select coalesce(array_agg(g.event_id order by g.event_id), '{}') as ids,
               coalesce(array_agg(g.parent_id order by g.event_id), '{}') as parents
          from trace g
    )
    select repeat('  ', least(g.depth, 50)) || g.event_type, g.event_id,
           g.parent_id, g.depth, g.event_type, g.tenant_id, g.aggregate_type,
           g.aggregate_id, g.occurred_at,
           g.occurred_at - min(g.occurred_at) over (),
           g.occurred_at - p.occurred_at, g.traceparent, s.worker_type,
           s.status, s.attempts, s.worker_id, s.claimed_at, s.completed_at,
           s.dead_at, s.due_at, s.error,
           coalesce(s.completed_at, s.dead_at) - g.occurred_at
      from ids
           cross join lateral sentinai.flow_tree(ids.ids, ids.parents) t
           join trace g on g.event_id = t.event_id
           left join trace p on p.event_id = g.parent_id
           left join lateral jsonb_to_recordset(g.subscriptions) s (
               worker_type text, status text, attempts int, worker_id text,
               claimed_at timestamptz, completed_at timestamptz,
               dead_at timestamptz, due_at timestamptz, error text) on true
     order by t.place, s.worker_type
$$;
comment on function sentinai.trace_tree(text, text, int) is 'The same as a tree, a row for each event and subscription, each event before what it led to. tree: the event type, two blanks further in for each level (at most 50). since_start, since_parent: time from the first event of the flow, and from the event''s cause. status: "waiting"; "claimed", an agent has it; "retrying", until due_at; "behind" an earlier event of its key; "held", by the relay, until its topic can be written; "completed"; "dead"; "sent", by the relay; "passed", the subscription did not want it when it came to it; "processing", "succeeded", "retrying", "discarded": as the ledger and the dead letter say; null when that is not known. claimed_at: known only while it is claimed. took: from the event to its completion or its death. Arguments and errors as get_trace().';

-- The log's partitions have one index more.  Those that are there get it later:
-- to make it here would keep publishers waiting.
create function sentinai.index_partitions(max_partitions int default 1) returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_index_partitions';
comment on function sentinai.index_partitions(int) is 'After an update from 0.1.0: makes the index that get_trace() reads by in partitions of event_log that have none, at most so many, the newest first, and returns how many still lack it. Only in those whose time is over: nobody publishes into them any more, so nobody waits. Reads such a partition whole. Until then get_trace() does that each time. Errors: 22004 null; SN422 max_partitions below 1; 25006 read-only transaction or standby.';

-- Nothing is stored for a flow that is named by the aggregate.  To replace a view
-- of somebody else would be to trust him; PostgreSQL refuses it in a script, when
-- the view is no member of the extension.
do $view$
begin
    execute 'create or replace view sentinai.event_log as
        select event_id, txid, occurred_at, partition_hash, schema_version, run, event_type, tenant_id, aggregate_type,
               aggregate_id, payload, metadata, coalesce(correlation_id, aggregate_id) as correlation_id, causation_id,
               deliver_at, run_keys
        from sentinai_internal.event_log_root';
end $view$;

comment on column sentinai_internal.event_log.schema_version is 'Version of the event type: what the publisher named, or the newest registered one; 1 for types that are not registered.';
comment on column sentinai_internal.event_log_root.schema_version is 'Version of the event type: what the publisher named, or the newest registered one; 1 for types that are not registered.';
comment on column sentinai.event_log.schema_version is 'Version of the event type: what the publisher named, or the newest registered one; 1 for types that are not registered.';
comment on column sentinai_internal.event_log.correlation_id is 'Identifier shared by all events of one flow. The table has null where it is the aggregate id, which the view shows.';
comment on column sentinai_internal.event_log_root.correlation_id is 'Identifier shared by all events of one flow. The table has null where it is the aggregate id, which the view shows.';
comment on column sentinai.event_log.correlation_id is 'Identifier shared by all events of one flow. The table has null where it is the aggregate id, which the view shows.';

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

grant execute on function
    sentinai.validate_json(jsonb, jsonb)
    to public;

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
        perform pg_extension_config_dump(c.oid, case c.relname
            when 'event_type' then 'where event_type <> all (''{RetryScheduled,DeadLettered,SLAImminent,SLAExpired,BackpressureDetected}'')'
            else '' end);
    end loop;
end $dump$;
