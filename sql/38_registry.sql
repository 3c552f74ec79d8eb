create function sentinai.validate_json(schema jsonb, value jsonb) returns jsonb
    language c immutable parallel safe
    as 'MODULE_PATHNAME', 'sentinai_validate_json';
comment on function sentinai.validate_json(jsonb, jsonb) is 'What a value breaks of a JSON Schema (draft 2020-12): an array of objects with "pointer" (JSON Pointer into the value), "keyword" and "message", which has nothing of the value in it. An empty array: the value is valid. At most 20 are described; then a last object {"more": n} counts the others. References stay in the schema; format is checked. schema: at most 1 MB. Errors: 22004 null; SN413 too large a schema; SN422 the schema is none, or uses what is not supported (the detail is a JSON array whose pointer leads into the schema).';

create function sentinai.register_event_type(
        event_type text, schema jsonb, version int default null,
        description text default null, direction text default 'inbound',
        examples jsonb default '[]', compatibility text default 'backward')
    returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_register_event_type';
comment on function sentinai.register_event_type(text, jsonb, int, text, text, jsonb, text) is 'Registers a version of an event type and returns its number. From the next transaction of each session on, payloads of the type are checked against the schema. schema: JSON Schema, draft 2020-12, at most 1 MB. version: null for the next one; another must be higher than all before. description: at most 8 kB. direction: "inbound", "agent" or "control". examples: a JSON array of payloads, at most 100, each of which the schema takes. compatibility: "backward" (the new schema takes what the version before did), "forward" (the other way round), "full" (both), each also with "_transitive" (all versions before), or "none". What cannot be told counts as incompatible. Registering a schema again that a version has returns that version and sets the rest as given. Errors: 22004 null where there must be a value; SN403 not allowed; SN409 incompatible (the detail is a JSON array with the "pointer" of the field and the "keyword"), a version with another schema, or one that comes too late; SN413 too large; SN422 invalid argument, schema or example (with such a detail), or one of the extension''s own types; 25006 read-only transaction or standby.';

create function sentinai.deprecate_event_type(
        event_type text, version int default null, deprecated boolean default true)
    returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_deprecate_event_type';
comment on function sentinai.deprecate_event_type(text, int, boolean) is 'Deprecates a version of an event type, or all for null: who publishes without a schema_version gets the newest one that is not deprecated, and who names it may go on. deprecated: false takes that back. Returns how many versions it changed. Errors: 22004 null where there must be a value; SN403 not allowed; SN404 unknown type or version; SN422 one of the extension''s own types; 25006 read-only transaction or standby.';

create function sentinai.drop_event_type_version(
        event_type text, version int, force boolean default false)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_drop_event_type_version';
comment on function sentinai.drop_event_type_version(text, int, boolean) is 'Drops a version of an event type. Events of it stay, and its number is never used again; registering its schema under its number brings it back. Reads the log until it finds such an event; what has not been committed is not seen. force: drop it whatever the log has. Errors: 22004 null; SN403 not allowed; SN404 unknown version; SN409 there are events of it; SN422 one of the extension''s own types; 25006 read-only transaction or standby.';

create function sentinai.event_type_changed() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_event_type_changed';
comment on function sentinai.event_type_changed() is 'Trigger of event_type: tells all sessions that it was changed by SQL, as by a dump that is restored.';

create trigger event_type_changed after insert or update or delete or truncate on sentinai_internal.event_type
    for each statement execute function sentinai.event_type_changed();
alter table sentinai_internal.event_type enable always trigger event_type_changed;
comment on trigger event_type_changed on sentinai_internal.event_type is 'Sessions that publish know the types by heart.';

create function sentinai.event_type_comes() returns trigger
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_relid <> 'sentinai_internal.event_type'::regclass then
        raise exception using errcode = '39P01', message = 'event_type_comes() can only be called as a trigger of event_type';
    end if;
    delete from sentinai_internal.event_type t
    where t.event_type = new.event_type and t.version = new.version;
    return new;
end $$;
comment on function sentinai.event_type_comes() is 'Trigger of event_type: a row that SQL inserts, as a dump that is restored does, takes the place of the one there is. The script of another extension may have registered that, just before.';

create trigger event_type_comes before insert on sentinai_internal.event_type
    for each row execute function sentinai.event_type_comes();
comment on trigger event_type_comes on sentinai_internal.event_type is 'What a dump has of a type is right, not what CREATE EXTENSION made of it.';

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
