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

-- What is changed below.  Agents have some of these tables locked and then want
-- others.  So nobody is waited for while others are held: they are to be had all at
-- once, or let go.
do $lock$
declare
    before text := current_setting('lock_timeout');
begin
    perform set_config('lock_timeout', '50ms', true);
    for i in 1..1200 loop
        begin
            lock table sentinai_internal.lane_state_0, sentinai_internal.lane_state_1,
                sentinai_internal.dead_letter, sentinai_internal.subscription,
                sentinai_internal.stream, sentinai_internal.event_kept, sentinai_internal.event_retry,
                only sentinai_internal.event_log_root, only sentinai_internal.event_log,
                only sentinai_internal.event_processing_root, only sentinai_internal.event_processing,
                only sentinai_internal.event_idempotency in access exclusive mode;
            exit;
        exception when lock_not_available then
            if i = 1200 then
                raise;
            end if;
        end;
        perform pg_sleep(0.02);
    end loop;
    perform set_config('lock_timeout', before, true);
end $lock$;

-- Who may do what for which tenant.

create function sentinai_internal.readable_part(internal) returns internal
    language c strict
    as 'MODULE_PATHNAME', 'sentinai_readable_part';
comment on function sentinai_internal.readable_part(internal) is 'For the planner: how many rows may_read() lets through.';

create function sentinai.may_read(tenant_id text) returns boolean
    language c stable parallel restricted cost 5 support sentinai_internal.readable_part
    as 'MODULE_PATHNAME', 'sentinai_may_read';
comment on function sentinai.may_read(text) is 'For views: whether the current user may read events of the tenant.';

create function sentinai.may_see_letter(tenant_id text) returns boolean
    language c stable parallel restricted cost 5
    as 'MODULE_PATHNAME', 'sentinai_may_see_letter';
comment on function sentinai.may_see_letter(text) is 'For views: whether the current user may read or operate for the tenant.';

create function sentinai.may_audit(tenant_id text) returns boolean
    language c stable parallel restricted cost 5
    as 'MODULE_PATHNAME', 'sentinai_may_audit';
comment on function sentinai.may_audit(text) is 'For views: whether the current user may audit the tenant; null: every tenant.';

create function sentinai.may_see_worker_type(worker_type text) returns boolean
    language c stable parallel restricted cost 5
    as 'MODULE_PATHNAME', 'sentinai_may_see_worker_type';
comment on function sentinai.may_see_worker_type(text) is 'For views: whether the current user may see a subscription and its figures: who may claim from it and work for all its tenants, and who may read or operate for every tenant.';

-- What tenants may use.

create table sentinai_internal.tenant_limit (
    tenant_id  text collate "C" not null,
    kind       text collate "C" not null,
    value      bigint not null,
    "window"   interval not null,
    enabled    boolean not null,
    changed_at timestamptz not null,
    changed_by text collate "C" not null,
    primary key (tenant_id, kind)
);

comment on table sentinai_internal.tenant_limit is 'Limits of tenants. Functions write it; the view limits shows it.';
comment on column sentinai_internal.tenant_limit.tenant_id is 'Tenant; "*" for all that have no row of their own.';
comment on column sentinai_internal.tenant_limit.kind is 'What is counted: "events_published", "events_bytes", or a kind of an application.';
comment on column sentinai_internal.tenant_limit.value is 'So much in each window, and at once.';
comment on column sentinai_internal.tenant_limit."window" is 'Time in which an empty bucket fills.';
comment on column sentinai_internal.tenant_limit.enabled is 'Whether it is in force; a row of a tenant that is not switches off the default for him, too.';
comment on column sentinai_internal.tenant_limit.changed_at is 'When it was set.';
comment on column sentinai_internal.tenant_limit.changed_by is 'Role that set it.';

create table sentinai_internal.backlog_limit (
    worker_type text collate "C" not null,
    tenant_id   text collate "C" not null,
    max_backlog bigint not null,
    policy      text collate "C" not null,
    max_delay   interval not null,
    changed_at  timestamptz not null,
    changed_by  text collate "C" not null,
    over_since  timestamptz,
    event_types text[] collate "C",
    tenants     text[] collate "C",
    backlog     bigint,
    primary key (worker_type, tenant_id)
);

comment on table sentinai_internal.backlog_limit is 'How much may wait in a subscription. Functions write it, and the sequencer''s process; the view backlog_limits shows it.';
comment on column sentinai_internal.backlog_limit.worker_type is 'The subscription.';
comment on column sentinai_internal.backlog_limit.tenant_id is 'Tenant; "*" for all together.';
comment on column sentinai_internal.backlog_limit.max_backlog is 'So many events may wait.';
comment on column sentinai_internal.backlog_limit.policy is 'What publishers do while more wait: "refuse" or "delay".';
comment on column sentinai_internal.backlog_limit.max_delay is 'How long a publisher waits at most.';
comment on column sentinai_internal.backlog_limit.changed_at is 'When it was set.';
comment on column sentinai_internal.backlog_limit.changed_by is 'Role that set it.';
comment on column sentinai_internal.backlog_limit.over_since is 'Since when more wait; null: they do not.';
comment on column sentinai_internal.backlog_limit.event_types is 'While more wait: what the subscription gets; null: all.';
comment on column sentinai_internal.backlog_limit.tenants is 'While more wait: whose events it gets; null: everybody''s.';
comment on column sentinai_internal.backlog_limit.backlog is 'While more wait: how many, as far as they were counted. A look that finds a tenth more or less notes it.';

-- BackpressureDetected was reserved: nothing has published it.
update sentinai_internal.event_type
set description = 'More events wait in a subscription than its limit allows.', schema = '{
        "type": "object",
        "properties": {
            "worker_type": {"type": "string"},
            "tenant_id": {"type": "string"},
            "policy": {"enum": ["refuse", "delay"]},
            "over_since": {"type": "string", "format": "date-time"},
            "max_backlog": {"type": "integer", "minimum": 1},
            "backlog": {"type": "integer", "minimum": 0}
        },
        "required": ["worker_type", "tenant_id", "policy", "over_since", "max_backlog", "backlog"],
        "additionalProperties": false}'
where event_type = 'BackpressureDetected';

-- So were SLAImminent and SLAExpired.
update sentinai_internal.event_type
set description = 'A deadline of the aggregate comes near: most of its time is over.', schema = '{
        "type": "object",
        "properties": {
            "deadline_id": {"type": "integer", "minimum": 1},
            "kind": {"type": "string"},
            "set_at": {"type": "string", "format": "date-time"},
            "warn_at": {"type": "string", "format": "date-time"},
            "due_at": {"type": "string", "format": "date-time"},
            "moves": {"type": "integer", "minimum": 0}
        },
        "required": ["deadline_id", "kind", "set_at", "warn_at", "due_at", "moves"],
        "additionalProperties": false}'
where event_type = 'SLAImminent';
update sentinai_internal.event_type
set description = 'A deadline of the aggregate is over, and it was not met.', schema = '{
        "type": "object",
        "properties": {
            "deadline_id": {"type": "integer", "minimum": 1},
            "kind": {"type": "string"},
            "set_at": {"type": "string", "format": "date-time"},
            "warn_at": {"type": ["string", "null"], "format": "date-time"},
            "due_at": {"type": "string", "format": "date-time"},
            "moves": {"type": "integer", "minimum": 0}
        },
        "required": ["deadline_id", "kind", "set_at", "warn_at", "due_at", "moves"],
        "additionalProperties": false}'
where event_type = 'SLAExpired';

-- This type is the extension's own now.
delete from sentinai_internal.event_type where event_type = 'BackpressureCleared';
insert into sentinai_internal.event_type
    (event_type, version, direction, description, schema, examples, compatibility, registered_at, registered_by)
values ('BackpressureCleared', 1, 'control', 'No more events wait than the limit allows, or the limit was dropped.', '{
        "type": "object",
        "properties": {
            "worker_type": {"type": "string"},
            "tenant_id": {"type": "string"},
            "policy": {"enum": ["refuse", "delay"]},
            "over_since": {"type": "string", "format": "date-time"},
            "max_backlog": {"type": "integer", "minimum": 1},
            "backlog": {"type": ["integer", "null"], "minimum": 0}
        },
        "required": ["worker_type", "tenant_id", "policy", "over_since", "max_backlog", "backlog"],
        "additionalProperties": false}', '[]', 'backward', '2026-11-29 00:00Z', 'sentinai');

-- Limits.

create function sentinai.set_limit(
        tenant_id text, kind text, value bigint, "window" interval, enabled boolean default true)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_set_limit';
comment on function sentinai.set_limit(text, text, bigint, interval, boolean) is 'Sets how much a tenant may use of a kind in a time, in place of what was set before. Sessions keep to it from their next statement on. tenant_id: "*" for all tenants that have no limit of their own. kind: "events_published" (events), "events_bytes" (bytes of payload and metadata as jsonb), or a kind that applications count with consume_limit(): lower-case letters, digits and "_", at most 63 bytes. value: 0 (nothing is allowed) to 10^15, which may be used at once. window: in this time a bucket that was emptied fills again, at a steady rate; at most 366 days. enabled: false switches it off; for one tenant that switches off the default, too. Errors: 22004 null; SN422 invalid argument; 22008 interval out of range; 25006 read-only transaction or standby.';

create function sentinai.drop_limit(tenant_id text, kind text) returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_drop_limit';
comment on function sentinai.drop_limit(text, text) is 'Removes a limit; for a tenant the default holds then, if there is one. Returns whether there was one. Errors: 22004 null; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.consume_limit(
        tenant_id text, kind text, amount bigint default 1, or_raise boolean default true,
        out allowed boolean, out value bigint, out remaining bigint,
        out retry_after double precision, out reset_at timestamptz)
    returns record
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_consume_limit';
comment on function sentinai.consume_limit(text, text, bigint, boolean) is 'Takes so much of a tenant''s limit, or nothing when there is less. Before whatever the application counts by that kind. What was taken stays taken when the transaction is rolled back. amount: 0 only looks. or_raise: whether to raise SN429 when there is not enough; else allowed is false. Returns allowed; value, the limit; remaining; retry_after, seconds until so much is there, null for never; reset_at, when all of it is there again. The last four are null where nothing is limited. Works in a read-only transaction. Errors: 22004 null; SN422 invalid argument; SN429 the limit is reached; 25006 standby.';

create function sentinai.limit_changed() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_limit_changed';
comment on function sentinai.limit_changed() is 'Trigger of tenant_limit: tells all sessions that it was changed by SQL, as by a dump that is restored.';

create trigger limit_changed after insert or update or delete or truncate on sentinai_internal.tenant_limit
    for each statement execute function sentinai.limit_changed();
alter table sentinai_internal.tenant_limit enable always trigger limit_changed;
comment on trigger limit_changed on sentinai_internal.tenant_limit is 'Sessions that are limited know the limits by heart.';

create function sentinai.limit_buckets(
        out tenant_id text, out kind text, out value bigint, out used bigint, out reset_at timestamptz,
        out consumed bigint, out refused bigint, out since timestamptz)
    returns setof record
    language c volatile parallel restricted
    as 'MODULE_PATHNAME', 'sentinai_limit_buckets';
comment on function sentinai.limit_buckets() is 'For the view limit_usage: the buckets of this database in shared memory.';

create function sentinai.may_see_limit(tenant_id text) returns boolean
    language c stable parallel restricted cost 5
    as 'MODULE_PATHNAME', 'sentinai_may_see_limit';
comment on function sentinai.may_see_limit(text) is 'For the views of limits and of alerts: whether the current user may read or operate for the tenant; "*": for every one.';

create view sentinai.limits with (security_barrier) as
select l.tenant_id, l.kind, l.value, l."window", l.enabled, l.changed_at, l.changed_by
from sentinai_internal.tenant_limit l
where sentinai.may_see_limit(l.tenant_id);
comment on view sentinai.limits is 'Limits that are set.';
comment on column sentinai.limits.tenant_id is 'Tenant; "*" for all that have no limit of their own.';
comment on column sentinai.limits.kind is 'What is counted.';
comment on column sentinai.limits.value is 'So much in each window, and at once.';
comment on column sentinai.limits."window" is 'Time in which an empty bucket fills.';
comment on column sentinai.limits.enabled is 'Whether it is in force; a tenant''s own that is not switches off the default for him, too.';
comment on column sentinai.limits.changed_at is 'When it was set.';
comment on column sentinai.limits.changed_by is 'Role that set it.';

create view sentinai.limit_usage with (security_barrier) as
select b.tenant_id, b.kind, coalesce(o.value, d.value) as value, coalesce(o."window", d."window") as "window",
       least(b.used, coalesce(o.value, d.value)) as used,
       coalesce(o.value, d.value) - least(b.used, coalesce(o.value, d.value)) as remaining,
       b.reset_at, b.consumed, b.refused, b.since
from sentinai.limit_buckets() b
     left join sentinai_internal.tenant_limit o
         on o.tenant_id operator(pg_catalog.=) b.tenant_id and o.kind operator(pg_catalog.=) b.kind
     left join sentinai_internal.tenant_limit d
         on d.tenant_id operator(pg_catalog.=) '*' and d.kind operator(pg_catalog.=) b.kind
where coalesce(o.enabled, d.enabled) and sentinai.may_see_limit(b.tenant_id);
comment on view sentinai.limit_usage is 'What tenants have used of the limits that are in force: a row for each tenant and kind that was asked for since the server started, unless its bucket had to make room while it was full.';
comment on column sentinai.limit_usage.tenant_id is 'Tenant.';
comment on column sentinai.limit_usage.kind is 'What is counted.';
comment on column sentinai.limit_usage.value is 'The limit.';
comment on column sentinai.limit_usage."window" is 'Time in which an empty bucket fills.';
comment on column sentinai.limit_usage.used is 'What has been used and has not come back yet.';
comment on column sentinai.limit_usage.remaining is 'What can be used now.';
comment on column sentinai.limit_usage.reset_at is 'When all of it has come back if nothing is used until then.';
comment on column sentinai.limit_usage.consumed is 'All that was used since.';
comment on column sentinai.limit_usage.refused is 'Calls that were refused because of this limit since.';
comment on column sentinai.limit_usage.since is 'Since when it has been counted: the server''s start, or later.';

create function sentinai.set_backlog_limit(
        worker_type text, tenant_id text, max_backlog bigint,
        policy text default 'refuse', max_delay interval default '5 seconds')
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_set_backlog_limit';
comment on function sentinai.set_backlog_limit(text, text, bigint, text, interval) is 'Sets how many events may wait in a subscription, in place of what was set before. The sequencer''s process looks once a second, or less often when many have to be counted. While more wait, who publishes what the subscription gets is held up, until it has come down to nine tenths; BackpressureDetected and BackpressureCleared are published once in each episode, as events of the tenant. Retries that wait for their time do not count, nor what was published before the subscription was made. tenant_id: whose events are counted, and who is held up; "*" for all together. max_backlog: 1 to 10^12. policy: "refuse" (SN429) or "delay": a statement of a client waits for max_delay (at most a minute), then goes on. Errors: 22004 null; SN404 unknown worker type; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.drop_backlog_limit(worker_type text, tenant_id text) returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_drop_backlog_limit';
comment on function sentinai.drop_backlog_limit(text, text) is 'Removes what set_backlog_limit() has set. Publishers go on. Returns whether there was something. Errors: 22004 null; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.backlog_limit_changed() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_backlog_limit_changed';
comment on function sentinai.backlog_limit_changed() is 'Trigger of backlog_limit: tells all sessions that it was changed by SQL, as by a dump that is restored.';

create trigger backlog_limit_changed after insert or update or delete or truncate on sentinai_internal.backlog_limit
    for each statement execute function sentinai.backlog_limit_changed();
alter table sentinai_internal.backlog_limit enable always trigger backlog_limit_changed;
comment on trigger backlog_limit_changed on sentinai_internal.backlog_limit is 'Sessions that publish know by heart what is over its limit.';

create view sentinai.backlog_limits with (security_barrier) as
select b.worker_type, b.tenant_id, b.max_backlog, b.policy, b.max_delay, b.over_since, b.changed_at, b.changed_by
from sentinai_internal.backlog_limit b
where sentinai.may_see_limit(b.tenant_id);
comment on view sentinai.backlog_limits is 'How much may wait in subscriptions, and where more does.';
comment on column sentinai.backlog_limits.worker_type is 'The subscription.';
comment on column sentinai.backlog_limits.tenant_id is 'Tenant; "*" for all together.';
comment on column sentinai.backlog_limits.max_backlog is 'So many events may wait.';
comment on column sentinai.backlog_limits.policy is 'What publishers do while more wait: "refuse" or "delay".';
comment on column sentinai.backlog_limits.max_delay is 'How long a publisher waits at most.';
comment on column sentinai.backlog_limits.over_since is 'Since when more wait; null: they do not.';
comment on column sentinai.backlog_limits.changed_at is 'When it was set.';
comment on column sentinai.backlog_limits.changed_by is 'Role that set it.';

create function sentinai.asyncapi(
        title text default null, version text default null,
        event_types text[] default null, aggregate_types text[] default null, relay text default 'relay')
    returns jsonb
    language c stable parallel restricted
    as 'MODULE_PATHNAME', 'sentinai_asyncapi';
comment on function sentinai.asyncapi(text, text, text[], text[], text) is 'What a relay writes, as an AsyncAPI 3.0 document: topics, brokers, and a message for each version of each registered event type, with headers, schema and examples. title, version: of the document; null for the name of the database, and for the time of the newest registration. event_types: those that it shall have; null for all that are sent. aggregate_types: what {aggregate_type} in the name of a topic can be, which the database does not know. References between schemas lead to places in the document. relay: its name. Nothing of the relay''s settings is in it but hosts and the kind of protection. Errors: 22004 null; SN404 an event type that is not registered, or unknown relay; SN422 no name of a type, or more than 10,000; 54000 the document would be larger than 192 MB.';

comment on function sentinai.validate_json(jsonb, jsonb) is 'What a value breaks of a JSON Schema (draft 2020-12): an array of objects with "pointer" (JSON Pointer into the value), "keyword" and "message", which has nothing of the value in it. An empty array: the value is valid. At most 20 are described; then a last object {"more": n} counts the others. References stay in the schema; format is checked. schema: at most 1 MB. Errors: 22004 null; SN413 too large a schema; SN422 the schema is none, or uses what is not supported (the detail is a JSON array whose pointer leads into the schema).';
comment on function sentinai.register_event_type(text, jsonb, int, text, text, jsonb, text) is 'Registers a version of an event type and returns its number. From the next transaction of each session on, payloads of the type are checked against the schema. schema: JSON Schema, draft 2020-12, at most 1 MB. version: null for the next one; another must be higher than all before. description: at most 8 kB. direction: "inbound", "agent" or "control". examples: a JSON array of payloads, at most 100, each of which the schema takes. compatibility: "backward" (the new schema takes what the version before did), "forward" (the other way round), "full" (both), each also with "_transitive" (all versions before), or "none". What cannot be told counts as incompatible. Registering a schema again that a version has returns that version and sets the rest as given. Errors: 22004 null where there must be a value; SN403 not allowed; SN409 incompatible (the detail is a JSON array with the "pointer" of the field and the "keyword"), a version with another schema, or one that comes too late; SN413 too large; SN422 invalid argument, schema or example (with such a detail), or one of the extension''s own types; 25006 read-only transaction or standby.';

-- Dead letters in pages, in numbers and many at once; alerts.  Who gives an event
-- up waits for the indexes.
drop index sentinai_internal.dead_letter_tenant_idx, sentinai_internal.dead_letter_pending_idx;
create index dead_letter_tenant_idx on sentinai_internal.dead_letter (tenant_id, status, dead_at, event_id, worker_type);
create index dead_letter_worker_idx on sentinai_internal.dead_letter (worker_type, status, dead_at, event_id);
create index dead_letter_status_idx on sentinai_internal.dead_letter (status, dead_at, event_id, worker_type);
create index dead_letter_pending_idx on sentinai_internal.dead_letter
    (worker_type, tenant_id, coalesce(aggregate_id, ''), coalesce(sub_id, 0), coalesce(pos, 0), event_id) where status = 'pending';
comment on column sentinai_internal.dead_letter.resolution is 'Why it was retried, replaced or discarded.';
comment on column sentinai.dead_letter.resolution is 'Why it was retried, replaced or discarded.';

create table sentinai_internal.dead_letter_replaced (
    worker_type text collate "C" not null,
    replaced_by uuid not null,
    event_id    uuid not null,
    primary key (worker_type, replaced_by)
);

comment on table sentinai_internal.dead_letter_replaced is 'Corrected events that have taken the place of a dead letter, by edit_and_retry(): their subscription does not get them again where they stand in the log. Rows end with the subscription.';
comment on column sentinai_internal.dead_letter_replaced.worker_type is 'The subscription.';
comment on column sentinai_internal.dead_letter_replaced.replaced_by is 'The corrected event.';
comment on column sentinai_internal.dead_letter_replaced.event_id is 'The event whose place it has.';

create table sentinai_internal.dead_letter_count (
    tenant_id   text collate "C" not null,
    worker_type text collate "C" not null,
    event_type  text collate "C" not null,
    pending     bigint not null,
    retrying    bigint not null,
    succeeded   bigint not null,
    discarded   bigint not null,
    folded      boolean not null
);
create index dead_letter_count_idx on sentinai_internal.dead_letter_count (tenant_id, worker_type, event_type);
create index dead_letter_count_new_idx on sentinai_internal.dead_letter_count (tenant_id, worker_type, event_type) where not folded;

comment on table sentinai_internal.dead_letter_count is 'How many dead letters there are. Whoever writes or removes a letter adds a row with the difference; maintenance folds those of a tenant, worker type and event type into one. The sum is right at any time.';
comment on column sentinai_internal.dead_letter_count.tenant_id is 'Tenant of the letters.';
comment on column sentinai_internal.dead_letter_count.worker_type is 'Worker type that gave the events up.';
comment on column sentinai_internal.dead_letter_count.event_type is 'Type of the events.';
comment on column sentinai_internal.dead_letter_count.pending is 'Letters nobody has dealt with, or the difference.';
comment on column sentinai_internal.dead_letter_count.retrying is 'Letters that are being tried again, likewise.';
comment on column sentinai_internal.dead_letter_count.succeeded is 'Letters whose retry succeeded, likewise.';
comment on column sentinai_internal.dead_letter_count.discarded is 'Letters that were discarded, likewise.';
comment on column sentinai_internal.dead_letter_count.folded is 'Whether maintenance has made the row of others.';

create table sentinai_internal.alert (
    alert        text collate "C" not null,
    tenant_id    text collate "C" not null,
    threshold    int not null,
    "window"     interval,
    channels     text[] not null,
    set_at       timestamptz not null,
    set_by       text not null,
    raised_at    timestamptz,
    raised_count bigint not null,
    primary key (alert, tenant_id)
);

comment on table sentinai_internal.alert is 'Alerts, set by set_alert().';
comment on column sentinai_internal.alert.alert is 'What it is about: "dead_letters".';
comment on column sentinai_internal.alert.tenant_id is 'The tenant; "*" for all together.';
comment on column sentinai_internal.alert.threshold is 'How many letters raise it.';
comment on column sentinai_internal.alert."window" is 'How far back letters count; null: all that are pending.';
comment on column sentinai_internal.alert.channels is 'Where it shall go, for those who deliver it.';
comment on column sentinai_internal.alert.set_at is 'When it was set last.';
comment on column sentinai_internal.alert.set_by is 'Role that set it last.';
comment on column sentinai_internal.alert.raised_at is 'Since when it is raised; null: it is not.';
comment on column sentinai_internal.alert.raised_count is 'How many times it was raised.';

insert into sentinai_internal.dead_letter_count (tenant_id, worker_type, event_type, pending, retrying, succeeded, discarded, folded)
select d.tenant_id, d.worker_type, d.event_type,
       count(*) filter (where d.status = 'pending'), count(*) filter (where d.status = 'retrying'),
       count(*) filter (where d.status = 'succeeded'), count(*) filter (where d.status = 'discarded'), true
from sentinai_internal.dead_letter d group by 1, 2, 3;

-- These types are the extension's own now.
delete from sentinai_internal.event_type where event_type in ('DeadLetterRetried', 'DeadLetterDiscarded', 'DeadLetterReplaced', 'AlertRaised', 'AlertCleared', 'RecordRefused');
insert into sentinai_internal.event_type
    (event_type, version, direction, description, schema, examples, compatibility, registered_at, registered_by)
select t.name, 1, 'control', t.description, t.schema::jsonb, '[]', 'backward', '2026-11-29 00:00Z', 'sentinai'
from (values
    ('RecordRefused', 'The relay has given up a record; sentinai.dead_letter_topic gets it where this event stands in the log.', '{
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
    ('DeadLetterRetried', 'Somebody has a dead letter tried again.', '{
        "type": "object",
        "properties": {
            "worker_type": {"type": "string"},
            "event_id": {"type": "string", "format": "uuid"},
            "event_type": {"type": "string"},
            "actor": {"type": "string"},
            "reason": {"type": ["string", "null"]}
        },
        "required": ["worker_type", "event_id", "event_type", "actor", "reason"],
        "additionalProperties": false}'),
    ('DeadLetterDiscarded', 'Somebody has settled a dead letter without another attempt.', '{
        "type": "object",
        "properties": {
            "worker_type": {"type": "string"},
            "event_id": {"type": "string", "format": "uuid"},
            "event_type": {"type": "string"},
            "actor": {"type": "string"},
            "reason": {"type": ["string", "null"]}
        },
        "required": ["worker_type", "event_id", "event_type", "actor", "reason"],
        "additionalProperties": false}'),
    ('DeadLetterReplaced', 'Somebody has put a corrected event in the place of a dead letter.', '{
        "type": "object",
        "properties": {
            "worker_type": {"type": "string"},
            "event_id": {"type": "string", "format": "uuid"},
            "event_type": {"type": "string"},
            "actor": {"type": "string"},
            "reason": {"type": ["string", "null"]},
            "replaced_by": {"type": "string", "format": "uuid"}
        },
        "required": ["worker_type", "event_id", "event_type", "actor", "reason", "replaced_by"],
        "additionalProperties": false}'),
    ('AlertRaised', 'There are as many dead letters as the alert allows, or more.', '{
        "type": "object",
        "properties": {
            "alert": {"const": "dead_letters"},
            "tenant_id": {"type": "string"},
            "threshold": {"type": "integer", "minimum": 1},
            "letters": {"type": "integer", "minimum": 0},
            "window_seconds": {"type": ["integer", "null"], "minimum": 0},
            "raised_at": {"type": "string", "format": "date-time"},
            "channels": {"type": "array", "items": {"type": "string"}}
        },
        "required": ["alert", "tenant_id", "threshold", "letters", "window_seconds", "raised_at", "channels"],
        "additionalProperties": false}'),
    ('AlertCleared', 'There are fewer dead letters again, or the alert was dropped.', '{
        "type": "object",
        "properties": {
            "alert": {"const": "dead_letters"},
            "tenant_id": {"type": "string"},
            "threshold": {"type": "integer", "minimum": 1},
            "letters": {"type": "integer", "minimum": 0},
            "window_seconds": {"type": ["integer", "null"], "minimum": 0},
            "raised_at": {"type": "string", "format": "date-time"},
            "channels": {"type": "array", "items": {"type": "string"}}
        },
        "required": ["alert", "tenant_id", "threshold", "letters", "window_seconds", "raised_at", "channels"],
        "additionalProperties": false}')
    ) t (name, description, schema);
select pg_extension_config_dump('sentinai_internal.event_type',
    'where event_type <> all (''{RetryScheduled,DeadLettered,DeadLetterRetried,DeadLetterDiscarded,DeadLetterReplaced,RecordRefused,AlertRaised,AlertCleared,SLAImminent,SLAExpired,BackpressureDetected,BackpressureCleared,AuditRootPublished}'')');

create function sentinai.edit_and_retry(
        event_id uuid, worker_type text, payload jsonb, actor text, reason text,
        metadata jsonb default null, schema_version int default null)
    returns uuid
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_edit_and_retry';
comment on function sentinai.retry_dead_letter(uuid, text, text) is 'Puts a pending dead letter''s event back into the queue, due now, before the waiting events of its key, with attempts counted anew. The letter is "retrying", and "succeeded" when the event is completed. actor: who does it, 1 to 256 bytes. Errors: 22004 null; SN404 no such dead letter, or no such worker type any more; SN409 not pending, or with isolation of a tenant that the subscription does not have any more; SN422 invalid argument; 25006 read-only transaction or standby.';
comment on function sentinai.edit_and_retry(uuid, text, jsonb, text, text, jsonb, int) is 'Publishes a corrected event in the place of a pending dead letter, and returns its id. It has the type, tenant, aggregate and flow of the dead one, the new payload, "replaces" in its metadata and the dead event as its cause; the log keeps both. The subscription gets it where the dead one would come again, and not a second time where it stands in the log; every other subscription gets it as a new event. The letter is "discarded", and its resolution names the new event. Of the relay it is sent where it stands. actor: 1 to 256 bytes; reason: 1 to 8192 bytes; metadata: null for that of the dead event; schema_version: null for the newest. Errors: 22004 null where there must be a value; SN404 no such dead letter, or no such worker type any more; SN409 not pending, or with isolation of a tenant that the subscription does not have any more; SN413 too large; SN422 invalid argument, payload that does not fit its schema, or an event of the extension''s own; SN429 limit of events_published or events_bytes reached; 25006 read-only transaction or standby.';

create function sentinai.dead_letters(
        tenant_id text default null, worker_type text default null, event_type text default null,
        from_time timestamptz default null, to_time timestamptz default null, error text default null,
        status text default null, after_cursor text default null, max_letters int default 100)
    returns table (
        event_id uuid, worker_type text, tenant_id text, aggregate_type text, aggregate_id text,
        event_type text, schema_version int, correlation_id text, causation_id uuid,
        occurred_at timestamptz, attempts int, reason text, status text,
        first_failed_at timestamptz, dead_at timestamptz, resolved_at timestamptz,
        resolved_by text, resolution text, cursor text)
    language c stable parallel unsafe rows 100
    as 'MODULE_PATHNAME', 'sentinai_dead_letters';
comment on function sentinai.dead_letters(text, text, text, timestamptz, timestamptz, text, text, text, int) is 'A page of dead letters, newest first. Filters, each null for any: tenant_id, worker_type, event_type; from_time (inclusive) and to_time (exclusive), by dead_at; error, a text that the reason has in it; status. after_cursor: the cursor of the last row of the page before. max_letters: 1 to 1000. Reads by an index on tenant, worker type or status, in the order of time. When it has passed over 20,000 letters that the other filters do not want, the page ends with a row that has nothing but a cursor: go on from there. get_dead_letter() has payload and history. Errors: SN422 invalid status, cursor, error or max_letters.';

create function sentinai.get_dead_letter(event_id uuid, worker_type text)
    returns sentinai.dead_letter
    language c stable parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_get_dead_letter';
comment on function sentinai.get_dead_letter(uuid, text) is 'A dead letter, whole. Errors: 22004 null; SN404 no such dead letter.';

create function sentinai.dead_letter_stats(
        tenant_id text default null, out total bigint, out pending bigint, out retrying bigint,
        out succeeded bigint, out discarded bigint, out by_event_type jsonb, out by_worker_type jsonb,
        out oldest_pending_at timestamptz)
    returns record
    language c stable parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_dead_letter_stats';
comment on function sentinai.dead_letter_stats(text) is 'How many dead letters a tenant has, or all have for null: together and by status; the same by event type and by worker type, as objects of objects; and since when the oldest pending one waits. Nothing is counted for that: dead_letter_count has the sums. Errors: SN403 tenant_id is not one the caller may see.';

create function sentinai.retry_dead_letters(
        tenant_id text default null, worker_type text default null, event_type text default null,
        from_time timestamptz default null, to_time timestamptz default null, error text default null,
        event_ids uuid[] default null, actor text default session_user, reason text default null,
        dry_run boolean default false, max_letters int default 1000, after_cursor text default null,
        out letters int, out skipped int, out next_cursor text)
    returns record
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_retry_dead_letters';
comment on function sentinai.retry_dead_letters(text, text, text, timestamptz, timestamptz, text, uuid[], text, text, boolean, int, text) is 'Has pending dead letters tried again, as retry_dead_letter() does, a bounded number in each call. Those of a key come in their order. Filters as in dead_letters(); tenant_id, worker_type or event_ids must be given. event_ids: at most 256 events, for all worker types unless one is named. actor, reason: who and why; the letters and DeadLetterRetried have both. dry_run: only says how many it would be. max_letters: 1 to 10,000. letters: how many it dealt with. skipped: those whose worker type is gone, or with isolation has no events of their tenant any more, or that others have dealt with meanwhile. next_cursor: after_cursor of the next call; null: there are no more. What is given up again after the first call is left alone. Errors: 22004 null where there must be a value; SN413 too many event_ids; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.discard_dead_letters(
        tenant_id text default null, worker_type text default null, event_type text default null,
        from_time timestamptz default null, to_time timestamptz default null, error text default null,
        event_ids uuid[] default null, actor text default null, reason text default null,
        dry_run boolean default false, max_letters int default 1000, after_cursor text default null,
        out letters int, out skipped int, out next_cursor text)
    returns record
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_discard_dead_letters';
comment on function sentinai.discard_dead_letters(text, text, text, timestamptz, timestamptz, text, uuid[], text, text, boolean, int, text) is 'Settles pending dead letters without another attempt, as discard_dead_letter() does, a bounded number in each call; keys that they block go on. Arguments and answer are those of retry_dead_letters(); actor and reason must be given. Errors: 22004 null where there must be a value; SN413 too many event_ids; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.set_alert(
        alert text, tenant_id text, threshold int, "window" interval default null, channels text[] default '{}')
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_set_alert';
comment on function sentinai.set_alert(text, text, int, interval, text[]) is 'Sets an alert, or changes it. alert: "dead_letters". tenant_id: "*" for all tenants together. It is raised when so many letters (threshold, 1 to 100,000) were written within the window (up to 366 days), or, for null, when so many are pending; letters about control events do not count. Maintenance looks every sentinai.maintenance_interval. AlertRaised and AlertCleared are published once in each episode, as events of the tenant, with the channels (16 at most, of 256 bytes). Errors: 22004 null where there must be a value; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.drop_alert(alert text, tenant_id text) returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_drop_alert';
comment on function sentinai.drop_alert(text, text) is 'Drops an alert; one that is raised is cleared. Whether there was one. Errors: 22004 null; SN422 invalid argument; 25006 read-only transaction or standby.';

create view sentinai.alerts with (security_barrier) as
select a.alert, a.tenant_id, a.threshold, a."window", a.channels, a.set_at, a.set_by, a.raised_at, a.raised_count
from sentinai_internal.alert a
where sentinai.may_see_limit(a.tenant_id);
comment on view sentinai.alerts is 'Alerts, and which of them are raised.';
comment on column sentinai.alerts.alert is 'What it is about: "dead_letters".';
comment on column sentinai.alerts.tenant_id is 'The tenant; "*" for all together.';
comment on column sentinai.alerts.threshold is 'How many letters raise it.';
comment on column sentinai.alerts."window" is 'How far back letters count; null: all that are pending.';
comment on column sentinai.alerts.channels is 'Where it shall go, for those who deliver it.';
comment on column sentinai.alerts.set_at is 'When it was set last.';
comment on column sentinai.alerts.set_by is 'Role that set it last.';
comment on column sentinai.alerts.raised_at is 'Since when it is raised; null: it is not.';
comment on column sentinai.alerts.raised_count is 'How many times it was raised.';
-- Evidence of what the log has: intervals of event ids, and a root for each
-- tenant that has events in one. Rows are added and never changed.

create table sentinai_internal.audit_interval (
    interval_no bigint not null primary key,
    from_id     uuid not null,
    to_id       uuid not null,
    events      bigint not null,
    root        bytea not null,
    chain       bytea not null,
    closed_at   timestamptz not null
);
create unique index audit_interval_to_idx on sentinai_internal.audit_interval (to_id);

comment on table sentinai_internal.audit_interval is 'Intervals of event ids that evidence has been made of. The maintenance writes it.';
comment on column sentinai_internal.audit_interval.interval_no is 'Number of the interval, from 1, without gaps.';
comment on column sentinai_internal.audit_interval.from_id is 'First id of the interval: the to_id of the one before.';
comment on column sentinai_internal.audit_interval.to_id is 'First id after the interval.';
comment on column sentinai_internal.audit_interval.events is 'Events of all tenants in it.';
comment on column sentinai_internal.audit_interval.root is 'SHA-256 root of the Merkle tree over the chains of its tenants, in the order of their names'' bytes.';
comment on column sentinai_internal.audit_interval.chain is 'SHA-256 of the row and of the chain before it.';
comment on column sentinai_internal.audit_interval.closed_at is 'When it was closed.';

create table sentinai_internal.audit_root (
    tenant_id   text collate "C" not null,
    root_no     bigint not null,
    interval_no bigint not null,
    events      bigint not null,
    root        bytea not null,
    chain       bytea not null,
    primary key (tenant_id, root_no)
);
create unique index audit_root_interval_idx on sentinai_internal.audit_root (interval_no, tenant_id);

comment on table sentinai_internal.audit_root is 'Evidence of a tenant''s events in an interval. The maintenance writes it.';
comment on column sentinai_internal.audit_root.tenant_id is 'The tenant.';
comment on column sentinai_internal.audit_root.root_no is 'Number of the tenant''s root, from 1, without gaps.';
comment on column sentinai_internal.audit_root.interval_no is 'The interval.';
comment on column sentinai_internal.audit_root.events is 'Events of the tenant in it.';
comment on column sentinai_internal.audit_root.root is 'SHA-256 root of the Merkle tree (RFC 6962) over these events, in the order of their ids.';
comment on column sentinai_internal.audit_root.chain is 'SHA-256 of the row, the interval''s bounds and the tenant''s chain before it.';

-- An index that is not unique: who makes a partition anew by hand keeps retention
-- from nothing.
create table sentinai_internal.audit_dropped (
    from_id    uuid not null,
    to_id      uuid not null,
    dropped_at timestamptz not null
);
create index audit_dropped_to_idx on sentinai_internal.audit_dropped (to_id);

comment on table sentinai_internal.audit_dropped is 'Partitions of the log that retention has dropped: verify_audit() tells by them what somebody has dropped or detached by hand. Rows are added and never changed.';
comment on column sentinai_internal.audit_dropped.from_id is 'First id of the partition.';
comment on column sentinai_internal.audit_dropped.to_id is 'First id after it.';
comment on column sentinai_internal.audit_dropped.dropped_at is 'When it was dropped.';

-- This type is the extension's own now.
delete from sentinai_internal.event_type where event_type = 'AuditRootPublished';
insert into sentinai_internal.event_type
    (event_type, version, direction, description, schema, examples, compatibility, registered_at, registered_by)
values ('AuditRootPublished', 1, 'control', 'Evidence of a tenant''s events in an interval: a copy of this event outside is the anchor that the log is compared with.', '{
        "type": "object",
        "properties": {
            "root_no": {"type": "integer", "minimum": 1},
            "interval_no": {"type": "integer", "minimum": 1},
            "from_id": {"type": "string", "format": "uuid"},
            "to_id": {"type": "string", "format": "uuid"},
            "events": {"type": "integer", "minimum": 1},
            "root": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "chain": {"type": "string", "pattern": "^[0-9a-f]{64}$"}
        },
        "required": ["root_no", "interval_no", "from_id", "to_id", "events", "root", "chain"],
        "additionalProperties": false}', '[]', 'backward', '2026-11-29 00:00Z', 'sentinai');

-- Evidence: what the log has is what it had.

create function sentinai.verify_audit(
        tenant_id text default null, from_time timestamptz default null, to_time timestamptz default null)
    returns table (
        interval_no bigint, tenant_id text, from_time timestamptz, to_time timestamptz,
        events bigint, found bigint, status text)
    language c stable parallel unsafe rows 100
    as 'MODULE_PATHNAME', 'sentinai_verify_audit';
comment on function sentinai.verify_audit(text, timestamptz, timestamptz) is 'Reads the log again and compares it with its evidence. tenant_id: whose; null or "*" for all. from_time, to_time: intervals that have events of that time; null for no bound. A row for each interval and tenant. events: how many there were when the interval was closed; found: how many there are. status: "ok"; "altered", an event is not what it was; "missing", fewer events than there were, also where their partition was dropped or detached by hand; "added", more; "chain broken", the evidence itself is not what it was; then with tenant_id null for all tenants of the interval; "dropped", retention has dropped them; "open" in the last row, what came since has no evidence yet. Reads all events of the intervals, of other tenants, too. Errors: SN403 the caller may not audit the tenant.';

create function sentinai.audit_proof(event_id uuid) returns jsonb
    language c stable strict parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_audit_proof';
comment on function sentinai.audit_proof(uuid) is 'Proof that an event is in the evidence, which docs/audit_proof.py checks without the database: an object with "event", the fields that the leaf is a SHA-256 digest of, "leaf", "path" to the "root" of the tenant''s Merkle tree (RFC 6962), what that stands for, "previous_chain" and "chain", which the event AuditRootPublished has, too. Errors: SN404 no such event, not closed yet, or of a tenant that the caller may not audit; XX001 the log is not what the evidence says.';

create function sentinai.audit_trail(
        tenant_id text, aggregate_id text default null,
        from_time timestamptz default null, to_time timestamptz default null,
        after_id uuid default null, max_rows int default 1000,
        kinds text[] default null, aggregate_type text default null)
    returns table (
        id uuid, at timestamptz, kind text, what text, tenant_id text,
        aggregate_type text, aggregate_id text, actor text, object text,
        before jsonb, after jsonb, reason text, detail jsonb, action_id bigint)
    language c stable parallel restricted rows 1000
    as 'MODULE_PATHNAME', 'sentinai_audit_trail';
comment on function sentinai.audit_trail(text, text, timestamptz, timestamptz, uuid, int, text[], text) is 'What happened to a tenant, in one order: its events, what people did with them, and how the configuration changed. tenant_id: whose; "*" for all, with what concerns none of its own. aggregate_id: only events of this aggregate, what people did with them, and the configuration. from_time (inclusive), to_time (exclusive): null for no bound. after_id: the last id of the page before. max_rows: 1 to 10,000. kinds: of "event", "action" and "configuration"; null for all. aggregate_type: only events of aggregates of this type. Columns: id, where a row stands, for an event its id; at, its time; what, the event type or the name of the function; tenant_id, "*" for what concerns every tenant; actor, who did it, null for an event; object, what it was done with; before, after, what was there and is, for an event its payload; reason; detail, an object: of an event schema_version, correlation_id, causation_id and metadata, else session_role, acting_role and worker_type; action_id, its row in actions. Errors: 22004 null tenant_id or max_rows; SN403 the caller may not audit the tenant; SN422 invalid argument.';

create view sentinai.audit_roots with (security_barrier) as
select r.tenant_id, r.root_no, r.interval_no, i.from_id, i.to_id, r.events,
       pg_catalog.encode(r.root, 'hex') as root, pg_catalog.encode(r.chain, 'hex') as chain, i.closed_at
from sentinai_internal.audit_root r
     join sentinai_internal.audit_interval i on i.interval_no operator(pg_catalog.=) r.interval_no
where sentinai.may_audit(r.tenant_id);

comment on view sentinai.audit_roots is 'The evidence: a row for each interval and tenant.';
comment on column sentinai.audit_roots.tenant_id is 'The tenant.';
comment on column sentinai.audit_roots.root_no is 'Number of the tenant''s root, from 1, without gaps.';
comment on column sentinai.audit_roots.interval_no is 'The interval.';
comment on column sentinai.audit_roots.from_id is 'First event id of the interval.';
comment on column sentinai.audit_roots.to_id is 'First id after it.';
comment on column sentinai.audit_roots.events is 'Events of the tenant in it.';
comment on column sentinai.audit_roots.root is 'Root of the Merkle tree over these events, in hexadecimal.';
comment on column sentinai.audit_roots.chain is 'Digest of the row and of the tenant''s chain before it, in hexadecimal.';
comment on column sentinai.audit_roots.closed_at is 'When it was closed.';

-- Filters with tenants and aggregate types, and the tracks of lanes.
alter table sentinai_internal.stream add column tenants text[] collate "C",
    add column aggregate_types text[] collate "C";

comment on table sentinai_internal.stream is 'Filters: subscriptions and relays with the same sets of event types, tenants and aggregate types share a stream of slices. Stream 0 holds every event.';
comment on column sentinai_internal.stream.tenants is 'Sorted tenants of the filter; null means all.';
comment on column sentinai_internal.stream.aggregate_types is 'Sorted aggregate types of the filter, which only relays have; null means all.';

create table sentinai_internal.track (
    track       int primary key,
    first_round bigint not null,
    last_round  bigint
) with (autovacuum_analyze_threshold = 1);

comment on table sentinai_internal.track is 'Tracks of the lanes that were ever used, beside the common one (0).';
comment on column sentinai_internal.track.track is 'Number of the track.';
comment on column sentinai_internal.track.first_round is 'First round that wrote to it.';
comment on column sentinai_internal.track.last_round is 'Last round that may have written to it; null while a tenant has it.';

create table sentinai_internal.track_tenant (
    tenant_id   text collate "C" primary key,
    track       int not null,
    since_round bigint not null
) with (autovacuum_analyze_threshold = 1);

comment on table sentinai_internal.track_tenant is 'Tenants that have much waiting, and the track that takes their events; all others are on the common one.';
comment on column sentinai_internal.track_tenant.tenant_id is 'The tenant.';
comment on column sentinai_internal.track_tenant.track is 'Number of the track.';
comment on column sentinai_internal.track_tenant.since_round is 'First round whose events of the tenant went there.';

alter table sentinai_internal.subscription add column tracks_from bigint,
    add column max_lease interval not null default '1 day',
    add column max_lanes int not null default 64,
    add column in_line_until bigint;
comment on column sentinai_internal.subscription.tracks_from is 'First round whose tracks it reads side by side; what was before is read in one order, and a relay reads all like that (null).';
comment on column sentinai_internal.subscription.max_lease is 'Longest lease that claim() and extend() give.';
comment on column sentinai_internal.subscription.max_lanes is 'How many lanes the batches of one role may hold at a time; 64: all.';
comment on column sentinai_internal.subscription.in_line_until is 'First round whose tracks it reads side by side again: tenants came back to the common track while nobody worked for it (null: none did).';

-- Nothing is on another track than the common one yet.
update sentinai_internal.subscription
set tracks_from = coalesce((select max(r.round_no) from sentinai_internal.round r), 0)
where not is_relay;

comment on table sentinai_internal.slice is 'The queue: the events of one round for one stream, lane and track, in order.';
comment on column sentinai_internal.slice.slice_no is 'Round number, track and place within the round.';
comment on column sentinai_internal.slice.events_before is 'Events of this stream, lane and track in all earlier slices.';
comment on column sentinai_internal.slice.lane is 'The lane, plus 64 times the track.';

alter table sentinai_internal.lane_state_0 add column common_pos bigint;
alter table sentinai_internal.lane_state_1 add column common_pos bigint;
do $view$
begin
    execute $v$create or replace view sentinai_internal.lane_state as
    select * from sentinai_internal.lane_state_0 union all select * from sentinai_internal.lane_state_1$v$;
end $view$;

comment on column sentinai_internal.lane_state_0.lane is 'The lane, plus 64 times the track.';
comment on column sentinai_internal.lane_state_1.lane is 'The lane, plus 64 times the track.';
comment on column sentinai_internal.lane_state.lane is 'The lane, plus 64 times the track.';
comment on column sentinai_internal.lane_state_0.batch is 'Batch that holds the track of the lane; null when it is free.';
comment on column sentinai_internal.lane_state_1.batch is 'Batch that holds the track of the lane; null when it is free.';
comment on column sentinai_internal.lane_state.batch is 'Batch that holds the track of the lane; null when it is free.';
comment on column sentinai_internal.lane_state_0.parked is 'Rows of event_retry for this lane, of all its tracks; in the common one''s rows.';
comment on column sentinai_internal.lane_state_1.parked is 'Rows of event_retry for this lane, of all its tracks; in the common one''s rows.';
comment on column sentinai_internal.lane_state.parked is 'Rows of event_retry for this lane, of all its tracks; in the common one''s rows.';
comment on column sentinai_internal.lane_state_0.dead is 'Dead letters of the lane that nobody has dealt with; in the common track''s rows.';
comment on column sentinai_internal.lane_state_1.dead is 'Dead letters of the lane that nobody has dealt with; in the common track''s rows.';
comment on column sentinai_internal.lane_state.dead is 'Dead letters of the lane that nobody has dealt with; in the common track''s rows.';
comment on column sentinai_internal.lane_state_0.common_pos is 'Every event of the common track before this position is resolved, as far as another track knows; null for the common one.';
comment on column sentinai_internal.lane_state_1.common_pos is 'Every event of the common track before this position is resolved, as far as another track knows; null for the common one.';
comment on column sentinai_internal.lane_state.common_pos is 'Every event of the common track before this position is resolved, as far as another track knows; null for the common one.';

drop function sentinai.subscribe(text, text[], text, int, interval[], text, boolean);
drop function sentinai.alter_subscription(text, text[], int, interval[], text, boolean, boolean);

create function sentinai.subscribe(
        worker_type text, event_types text[] default null,
        start_from text default 'latest', max_attempts int default 5,
        backoff interval[] default '{1s,2s,4s,8s}', on_dead text default 'skip',
        ordered boolean default true, tenants text[] default null,
        max_lease interval default '1 day', max_lanes int default 64)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_subscribe';
comment on function sentinai.subscribe(text, text[], text, int, interval[], text, boolean, text[], interval, int) is 'Makes a subscription, or changes one. worker_type: 1 to 100 letters, digits and "_.:-". event_types: the types it wants, at most 1,000, each a name that publish() takes or a control events; null for all. start_from: "latest" (events of transactions that commit after the call, and of the caller''s own), "earliest" or a timestamp (events that occurred since). max_attempts: 1 to 1,000. backoff: waits before the second and later attempts, at most 100, each 0 to 366 days; the last one repeats. on_dead: "skip" lets a key go on after a dead letter, "block" holds it until the letter is dealt with. ordered: whether a failing event holds back the later events of its key (if not, "block" has no effect). tenants: those whose events it wants, at most 1,000; null for all. An event has to be of one of the types and of one of the tenants. max_lease: the longest lease that claim() and extend() give, at most a day. max_lanes: how many lanes the batches of one role may hold at a time, 1 to 64; 64 for all. Called again it changes all of that but start_from, which is ignored, with a notice if it asks for another start than the subscription had, and keeps the position. What is left out gets its default again; a notice says what has changed, and alter_subscription() changes only what it is given. In both a changed filter holds for events sequenced after the change, what was sequenced before is delivered by the filter of its time. A changed "ordered" or "on_dead" holds for what waits as well: not ordered, everything is handed out; ordered, the first of each key; without "block", blocked keys go on, and their letters stay pending. Attempts and waits hold from the next failure on. max_lease and max_lanes hold from the next claim on; batches that were claimed while max_lanes was 64 do not count. Errors: 22004 null where there must be a value; SN409 filter changed too often; SN422 invalid argument; 22008 interval out of range; 25006 read-only transaction or standby.';

create function sentinai.alter_subscription(
        worker_type text, event_types text[] default null,
        max_attempts int default null, backoff interval[] default null,
        on_dead text default null, ordered boolean default null,
        all_event_types boolean default false, tenants text[] default null,
        all_tenants boolean default false,
        max_lease interval default null, max_lanes int default null)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_alter_subscription';
comment on function sentinai.alter_subscription(text, text[], int, interval[], text, boolean, boolean, text[], boolean, interval, int) is 'Changes only what it is given of a subscription; null leaves a setting as it is. all_event_types, all_tenants: true takes that part of its filter away, which event_types and tenants cannot say. The settings, and when a change takes effect, are as in subscribe(). Errors: 22004 null worker_type, all_event_types or all_tenants; SN404 unknown worker type; SN409 filter changed too often; SN422 invalid argument, or event_types together with all_event_types, or tenants with all_tenants; 22008 interval out of range; 25006 read-only transaction or standby.';

-- A role in a table of grants.  A dump may name one that is not where it is restored.
create type sentinai_internal.grantee;
create function sentinai_internal.grantee_in(name cstring) returns sentinai_internal.grantee
    language c stable strict parallel safe
    as 'MODULE_PATHNAME', 'sentinai_grantee_in';
create function sentinai_internal.grantee_out(role sentinai_internal.grantee) returns cstring
    language c stable strict parallel safe
    as 'MODULE_PATHNAME', 'sentinai_grantee_out';
create function sentinai_internal.grantee_recv(internal) returns sentinai_internal.grantee
    language c stable strict parallel safe
    as 'MODULE_PATHNAME', 'sentinai_grantee_recv';
create function sentinai_internal.grantee_send(role sentinai_internal.grantee) returns bytea
    language c stable strict parallel safe
    as 'MODULE_PATHNAME', 'sentinai_grantee_send';
create type sentinai_internal.grantee (
    input = sentinai_internal.grantee_in,
    output = sentinai_internal.grantee_out,
    receive = sentinai_internal.grantee_recv,
    send = sentinai_internal.grantee_send,
    like = pg_catalog.oid
);
create cast (sentinai_internal.grantee as pg_catalog.oid) without function as implicit;
create cast (sentinai_internal.grantee as pg_catalog.regrole) without function as implicit;
comment on type sentinai_internal.grantee is 'A role by number, written as regrole is. A name that no role has is read with a WARNING, as a number that none has either: for nobody.';
comment on function sentinai_internal.grantee_in(cstring) is 'Input of type grantee.';
comment on function sentinai_internal.grantee_out(sentinai_internal.grantee) is 'Output of type grantee.';
comment on function sentinai_internal.grantee_recv(internal) is 'Binary input of type grantee: a number.';
comment on function sentinai_internal.grantee_send(sentinai_internal.grantee) is 'Binary output of type grantee.';

create table sentinai_internal.tenant_grant (
    role       sentinai_internal.grantee not null,
    tenant_id  text collate "C" not null,
    right_name text collate "C" not null,
    granted_at timestamptz not null,
    granted_by text collate "C" not null,
    primary key (role, tenant_id, right_name)
);

comment on table sentinai_internal.tenant_grant is 'What roles may do for tenants. Functions write it; the view tenant_grants shows it.';
comment on column sentinai_internal.tenant_grant.role is 'Role that has the right, with all its members. By number, as PostgreSQL''s own grants: it may be renamed, and one that is made anew under its name has nothing.';
comment on column sentinai_internal.tenant_grant.tenant_id is 'Tenant; "*" for every one.';
comment on column sentinai_internal.tenant_grant.right_name is '"publish", "work", "read", "operate", "audit" or "admin".';
comment on column sentinai_internal.tenant_grant.granted_at is 'When it was granted.';
comment on column sentinai_internal.tenant_grant.granted_by is 'Role that granted it.';

create table sentinai_internal.work_grant (
    worker_type text collate "C" not null,
    role        sentinai_internal.grantee not null,
    granted_at  timestamptz not null,
    granted_by  text collate "C" not null,
    primary key (worker_type, role)
);

comment on table sentinai_internal.work_grant is 'From which subscriptions roles may claim. Functions write it; the view work_grants shows it.';
comment on column sentinai_internal.work_grant.worker_type is 'Name of the subscription; "*" for every one.';
comment on column sentinai_internal.work_grant.role is 'Role that may claim, with all its members.';
comment on column sentinai_internal.work_grant.granted_at is 'When it was granted.';
comment on column sentinai_internal.work_grant.granted_by is 'Role that granted it.';

create table sentinai_internal.proof_role (
    role       sentinai_internal.grantee not null,
    granted_at timestamptz not null,
    granted_by text collate "C" not null,
    primary key (role)
);

comment on table sentinai_internal.proof_role is 'Roles that may do nothing for a tenant before act_as() has taken a proof. require_proof() writes it.';
comment on column sentinai_internal.proof_role.role is 'The role, with all its members.';
comment on column sentinai_internal.proof_role.granted_at is 'When it was marked.';
comment on column sentinai_internal.proof_role.granted_by is 'Role that marked it.';

create table sentinai_internal.action_log (
    action_id    bigint generated always as identity primary key,
    acted_at     timestamptz not null,
    actor        text collate "C" not null,
    session_role text collate "C" not null,
    acting_role  text collate "C" not null,
    action       text collate "C" not null,
    tenant_id    text collate "C",
    object       text collate "C",
    before       jsonb,
    after        jsonb,
    reason       text collate "C",
    kind         text collate "C" not null,
    worker_type  text collate "C",
    aggregate_id text collate "C",
    clock_id     uuid not null
);
create unique index action_log_clock_idx on sentinai_internal.action_log (clock_id);
create index action_log_tenant_idx on sentinai_internal.action_log (tenant_id, clock_id);
create index action_log_aggregate_idx on sentinai_internal.action_log (tenant_id, kind, aggregate_id, clock_id);

comment on table sentinai_internal.action_log is 'What people did and changed: who, when, what, before and after. A row is written in the transaction of the change. The view actions and audit_trail() show it.';
comment on column sentinai_internal.action_log.action_id is 'Number of the row, rising.';
comment on column sentinai_internal.action_log.acted_at is 'When it was done: the time in clock_id.';
comment on column sentinai_internal.action_log.actor is 'Who did it, as the caller said; the session''s role where nothing was said.';
comment on column sentinai_internal.action_log.session_role is 'Role that had logged in.';
comment on column sentinai_internal.action_log.acting_role is 'Role whose rights counted: another one after SET ROLE, and in a SECURITY DEFINER function.';
comment on column sentinai_internal.action_log.action is 'What was done: the name of the function.';
comment on column sentinai_internal.action_log.tenant_id is 'Tenant it concerns; "*": every one; null: none of its own, as what a role has to prove.';
comment on column sentinai_internal.action_log.object is 'What was changed.';
comment on column sentinai_internal.action_log.before is 'What was there before; null: nothing.';
comment on column sentinai_internal.action_log.after is 'What is there now; null: nothing.';
comment on column sentinai_internal.action_log.reason is 'Why, as the caller said.';
comment on column sentinai_internal.action_log.kind is '"configuration": it holds from then on; "action": it was done once, with what was there.';
comment on column sentinai_internal.action_log.worker_type is 'Subscription that it is about; null: none. Who may not see that one does not see what concerns every tenant of it.';
comment on column sentinai_internal.action_log.aggregate_id is 'Aggregate of the event that it was done with; null: of none.';
comment on column sentinai_internal.action_log.clock_id is 'Id that the clock of events gave: where the row stands among them.';

create function sentinai.grant_tenant(role name, tenant text, "right" text) returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_grant_tenant';
comment on function sentinai.grant_tenant(name, text, text) is 'Grants a role, and all that inherit its rights, a right for a tenant, or for every tenant with "*". "publish": to publish its events. "work": to claim and complete them. "read": to read them. "operate": dead letters, retries and limits. "audit": to read the action log and proofs. "admin": everything, for "*" only. Rights count when sentinai.tenant_isolation is on. Takes effect in each session when its next transaction begins. Returns false when the role had it. Only the owner of the extension, superusers and those with "admin". Errors: 22004 null; 42501 not allowed; 42704 unknown role; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.revoke_tenant(role name, tenant text, "right" text) returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_revoke_tenant';
comment on function sentinai.revoke_tenant(name, text, text) is 'Takes back what grant_tenant() gave, exactly that: a right for a tenant is not taken from who has it for "*". Returns false when it was not there. Errors: as grant_tenant().';

create function sentinai.grant_work(role name, worker_type text) returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_grant_work';
comment on function sentinai.grant_work(name, text) is 'Lets a role, and all that inherit its rights, claim from a subscription, or from every one with "*". From then on nobody else may claim from that subscription; while sentinai.tenant_isolation is on that holds for every subscription. The subscription may come later. Returns false when the role had it. Only the owner of the extension, superusers and those with "admin". Errors: 22004 null; 42501 not allowed; 42704 unknown role; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.revoke_work(role name, worker_type text) returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_revoke_work';
comment on function sentinai.revoke_work(name, text) is 'Takes back what grant_work() gave. Returns false when it was not there. Errors: as grant_work().';

create function sentinai.require_proof(role name, required boolean default true) returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_require_proof';
comment on function sentinai.require_proof(name, boolean) is 'Marks a role, and all its members: while sentinai.tenant_isolation is on they may do nothing for a tenant before act_as() has taken a proof. required: false takes the mark away. Returns false when nothing changed. Only the owner of the extension, superusers and those with "admin". Errors: 22004 null; 42501 not allowed; 42704 unknown role; 25006 read-only transaction or standby.';

create function sentinai.create_roles() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_create_roles';
comment on function sentinai.create_roles() is 'Makes the roles sentinai_publisher, sentinai_agent, sentinai_reader, sentinai_operator, sentinai_auditor, sentinai_relay and sentinai_admin, unless they are there, and grants each the functions and views that it needs. They cannot log in: make your own roles members of them. Only sentinai_admin gets a right for tenants: "admin". Call it again after an update of the extension: members of sentinai_admin may, too. Errors: 42501 the caller may not make a role or membership that is missing, or is neither the owner of the extension, a superuser nor somebody with the right "admin"; 25006 read-only transaction or standby.';

create function sentinai.act_as(tenant text, proof text default null) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_act_as';
comment on function sentinai.act_as(text, text) is 'Until the transaction ends, or the savepoint that it is called in, nothing can be done for another tenant. It gives no right. proof: what a role brings that require_proof() has marked: "expiry.mac", the expiry in seconds since 1970; the mac in hexadecimal is HMAC-SHA-256 with the key of sentinai.proof_key_file over the lines "v1", expiry, role and tenant. Errors: 22004 null tenant; SN403 the caller may do nothing for the tenant, acts for another one already, or the proof is not good; SN422 invalid argument.';

create function sentinai.may("right" text, tenant text) returns boolean
    language c stable parallel restricted
    as 'MODULE_PATHNAME', 'sentinai_may';
comment on function sentinai.may(text, text) is 'Whether the caller has a right for a tenant now, or for every one with "*". The rights are those of grant_tenant(). While sentinai.tenant_isolation is off everybody has them all but "admin". Errors: 22004 null; SN422 no such right.';

create function sentinai.limit_time(milliseconds int) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_limit_time';
comment on function sentinai.limit_time(int) is 'Until the transaction ends, or the savepoint that it is called in, at most so much processor time may be used. What takes longer is cancelled with 57014, and again if it goes on all the same. A handler takes a limit for each event, so that rules or data that take for ever make their own event fail and nothing else. Another call sets another limit. milliseconds: from now on, at least 1; waiting for a disk or for somebody else does not count. Nor does what parallel workers of a query use: only max_parallel_workers_per_gather = 0, which is not set here, keeps a query from having any. Errors: 22004 null; SN422 less than 1.';

create function sentinai.time_is_over() returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_time_is_over';
comment on function sentinai.time_is_over() is 'Whether the last limit_time() of the session is the reason of a cancellation. One by statement_timeout or by a person has the same SQLSTATE.';

create function sentinai.grants_changed() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_grants_changed';
comment on function sentinai.grants_changed() is 'Trigger of the tables of grants: tells all sessions that they were changed by SQL, as by a dump that is restored.';

create trigger grants_changed after insert or update or delete or truncate on sentinai_internal.tenant_grant
    for each statement execute function sentinai.grants_changed();
alter table sentinai_internal.tenant_grant enable always trigger grants_changed;
comment on trigger grants_changed on sentinai_internal.tenant_grant is 'Sessions know the grants by heart.';

create trigger grants_changed after insert or update or delete or truncate on sentinai_internal.work_grant
    for each statement execute function sentinai.grants_changed();
alter table sentinai_internal.work_grant enable always trigger grants_changed;
comment on trigger grants_changed on sentinai_internal.work_grant is 'Sessions know the grants by heart.';

create trigger grants_changed after insert or update or delete or truncate on sentinai_internal.proof_role
    for each statement execute function sentinai.grants_changed();
alter table sentinai_internal.proof_role enable always trigger grants_changed;
comment on trigger grants_changed on sentinai_internal.proof_role is 'Sessions know the grants by heart.';

create view sentinai.tenant_grants with (security_barrier) as
select g.role::pg_catalog.regrole as role, g.tenant_id, g.right_name as "right", g.granted_at, g.granted_by
from sentinai_internal.tenant_grant g
where sentinai.may('admin', '*') or pg_catalog.pg_has_role(g.role, 'member');
comment on view sentinai.tenant_grants is 'What roles may do for tenants: all of it for who has "admin", otherwise what the current user or one of its roles was granted.';
comment on column sentinai.tenant_grants.role is 'Role that has the right, with all that inherit its rights. A number: the role was dropped, and the next pass of maintenance takes the row.';
comment on column sentinai.tenant_grants.tenant_id is 'Tenant; "*" for every one.';
comment on column sentinai.tenant_grants."right" is '"publish", "work", "read", "operate", "audit" or "admin".';
comment on column sentinai.tenant_grants.granted_at is 'When it was granted.';
comment on column sentinai.tenant_grants.granted_by is 'Role that granted it.';

create view sentinai.work_grants with (security_barrier) as
select g.role::pg_catalog.regrole as role, g.worker_type, g.granted_at, g.granted_by
from sentinai_internal.work_grant g
where sentinai.may('admin', '*') or pg_catalog.pg_has_role(g.role, 'member');
comment on view sentinai.work_grants is 'From which subscriptions roles may claim: all of it for who has "admin", otherwise what the current user or one of its roles was granted.';
comment on column sentinai.work_grants.role is 'Role that may claim, with all that inherit its rights. A number: the role was dropped, and the next pass of maintenance takes the row. "-": nobody, since all roles that might were dropped.';
comment on column sentinai.work_grants.worker_type is 'Name of the subscription; "*" for every one.';
comment on column sentinai.work_grants.granted_at is 'When it was granted.';
comment on column sentinai.work_grants.granted_by is 'Role that granted it.';

create view sentinai.actions with (security_barrier) as
select a.action_id, a.acted_at, a.actor, a.session_role, a.acting_role, a.action,
       a.tenant_id, a.object, a.before, a.after, a.reason, a.kind, a.worker_type, a.aggregate_id, a.clock_id
from sentinai_internal.action_log a
where sentinai.may_audit(a.tenant_id);
comment on view sentinai.actions is 'What people did and changed, of tenants that the current user may audit. What concerns every tenant takes the right for every one; audit_trail() shows it with each tenant.';
comment on column sentinai.actions.action_id is 'Number of the row, rising.';
comment on column sentinai.actions.acted_at is 'When it was done.';
comment on column sentinai.actions.actor is 'Who did it, as the caller said; the session''s role where nothing was said.';
comment on column sentinai.actions.session_role is 'Role that had logged in.';
comment on column sentinai.actions.acting_role is 'Role whose rights counted.';
comment on column sentinai.actions.action is 'What was done: the name of the function.';
comment on column sentinai.actions.tenant_id is 'Tenant it concerns; "*": every one; null: none of its own, as what a role has to prove.';
comment on column sentinai.actions.object is 'What was changed.';
comment on column sentinai.actions.before is 'What was there before; null: nothing.';
comment on column sentinai.actions.after is 'What is there now; null: nothing.';
comment on column sentinai.actions.reason is 'Why, as the caller said.';
comment on column sentinai.actions.kind is '"configuration": it holds from then on; "action": it was done once, with what was there.';
comment on column sentinai.actions.worker_type is 'Subscription that it is about; null: none.';
comment on column sentinai.actions.aggregate_id is 'Aggregate of the event that it was done with; null: of none.';
comment on column sentinai.actions.clock_id is 'Where it stands among the events, as the id of one: see audit_trail().';

create function sentinai.relay_control_changed() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_relay_control_changed';
comment on function sentinai.relay_control_changed() is 'Trigger of the relay''s switch: notes in the action log who paused or resumed the relay.';

create trigger relay_control_changed after insert or update on sentinai_internal.relay_control
    for each row execute function sentinai.relay_control_changed();
alter table sentinai_internal.relay_control enable always trigger relay_control_changed;
comment on trigger relay_control_changed on sentinai_internal.relay_control is 'Whoever pauses or resumes the relay is written down.';

-- Views ask the gate about each row.
do $views$
declare
    cols text;
begin
    select string_agg(case a.attname when 'correlation_id' then 'coalesce(correlation_id, aggregate_id) as correlation_id'
                                     else quote_ident(a.attname) end, ', ' order by a.attnum) into cols
    from pg_attribute a where a.attrelid = 'sentinai_internal.event_log_root'::regclass and a.attnum > 0;
    execute format('create or replace view sentinai.event_log with (security_barrier) as select %s from sentinai_internal.event_log_root where sentinai.may_read(tenant_id)', cols);
    execute 'create or replace view sentinai.event_processing with (security_barrier) as select * from sentinai_internal.event_processing_root where sentinai.may_read(tenant_id)';
    execute 'create or replace view sentinai.dead_letter with (security_barrier) as select * from sentinai_internal.dead_letter where sentinai.may_see_letter(tenant_id)';
end $views$;

-- They name the columns of a lane's state.
do $view$
begin
    execute $v$create or replace view sentinai.stat_lane with (security_barrier) as
select s.sub_id,
       s.worker_type,
       s.is_relay,
       l.lane,
       coalesce(t.pos, s.start_pos) as pos,
       t.batch,
       t.worker_id,
       t.claimed_at,
       t.lease_until,
       coalesce(t.open, 0)::int as in_flight,
       -- a retry that is handed out again waits no more
       coalesce(t.parked - coalesce(t.retries, 0), 0)::bigint as parked,
       coalesce(t.completed, 0) as completed_count,
       coalesce(t.failed, 0) as failed_count,
       coalesce(t.dead, 0) as dead,
       l.events
           + coalesce(t.left, 0)
           + coalesce(t.parked, 0) as lag_events,
       least(l.oldest_at, sentinai.event_time(r.event_id)) as oldest_unfinished_at
from sentinai_internal.subscription s
     -- Nothing is taken from it, but the planner then expects few rows.
     join sentinai_internal.stream f on f.stream_id = s.stream_id
     cross join lateral (select n.lanes from sentinai_internal.node n order by n.node_no desc limit 1) n
     cross join lateral sentinai.stat_lag(s.sub_id, n.lanes) l
     -- Its tracks.  The limit is for the planner, which would expect more and compile.
     cross join lateral (
         select pg_catalog.max(x.pos) filter (where k.track = 0) as pos,
                (pg_catalog.array_agg(x.batch order by x.lease_until) filter (where x.batch is not null))[1] as batch,
                (pg_catalog.array_agg(x.worker_id order by x.lease_until) filter (where x.batch is not null))[1] as worker_id,
                pg_catalog.max(x.claimed_at) as claimed_at,
                pg_catalog.min(x.lease_until) as lease_until,
                pg_catalog.sum(x.open) filter (where x.batch is not null) as open,
                pg_catalog.sum(pg_catalog.cardinality(x.retries)) filter (where x.batch is not null) as retries,
                pg_catalog.sum(x.parked)::bigint as parked,
                pg_catalog.sum(x.completed)::bigint as completed,
                pg_catalog.sum(x.failed)::bigint as failed,
                pg_catalog.sum(x.dead)::bigint as dead,
                pg_catalog.sum(8 * pg_catalog.octet_length(x.resolved) - pg_catalog.bit_count(x.resolved))::bigint as left
         from (select u.track
               from pg_catalog.unnest(0 || array(select c.track from sentinai_internal.track c)) as u (track)
               limit 64) k
              cross join lateral sentinai.stat_lane_state(s.sub_id, l.lane + 64 * k.track) x) t
     left join lateral (
         select x.event_id from sentinai_internal.event_retry x
         where x.sub_id = s.sub_id and x.lane = l.lane
         order by x.pos limit 1) r on t.parked > 0
where sentinai.may_see_worker_type(s.worker_type)$v$;
end $view$;

comment on column sentinai.stat_lane.batch is 'Batch that holds a track of the lane; of several the one whose lease ends first.';
comment on column sentinai.stat_lane.lag_events is 'Events that are not finished. Until it has come to them, events that it will not get count too: of other types and tenants while it reads its past, and about its own failures. Null, for who may not see figures of all tenants, while those of other tenants count.';
comment on column sentinai.stat_lane.oldest_unfinished_at is 'Time of the oldest event that is not finished. Null where lag_events is.';

-- Relays that create_relay() makes.

create table sentinai_internal.relay (
    sub_id          int primary key,
    broker          text collate "C" not null,
    settings        text collate "C" not null,
    topic_template  text collate "C" not null,
    record_format   text collate "C" not null,
    record_options  text collate "C" not null,
    transform_owner text collate "C" not null,
    limits          text collate "C" not null,
    workers         int not null,
    paused          boolean not null,
    node_no         int not null,
    recovery        bigint not null,
    changed_at      timestamptz not null,
    changed_by      text not null
);

comment on table sentinai_internal.relay is 'Relays made by create_relay(). What events they send is the filter of their subscriptions.';
comment on column sentinai_internal.relay.sub_id is 'Subscription that the relay reads; its worker type is the name of the relay.';
comment on column sentinai_internal.relay.broker is 'Kind of broker, as in sentinai.broker.';
comment on column sentinai_internal.relay.settings is 'What the broker''s library is told, as in sentinai.kafka_conf. Secrets are files that it names.';
comment on column sentinai_internal.relay.topic_template is 'Topic of an event, as in sentinai.topic_template.';
comment on column sentinai_internal.relay.record_format is 'Form of the records, as in sentinai.record_format.';
comment on column sentinai_internal.relay.record_options is 'Key, headers, topics and tombstones of the records, the dead-letter topic and the transform; empty: those of the format, and none.';
comment on column sentinai_internal.relay.transform_owner is 'Role that has the function of the transform, and whose rights it gets; when the function is another role''s the relay stops. Empty without one.';
comment on column sentinai_internal.relay.limits is 'How much it may send in a second and have on its way; empty: no limits of its own.';
comment on column sentinai_internal.relay.workers is 'Number of processes; 0: a sentinai-relay outside of the server sends.';
comment on column sentinai_internal.relay.paused is 'Whether it is paused, by pause_relay().';
comment on column sentinai_internal.relay.node_no is 'Row of node that this was decided on; a newer one pauses the relay.';
comment on column sentinai_internal.relay.recovery is 'Recovery from a backup that this was decided after; a newer one pauses the relay.';
comment on column sentinai_internal.relay.changed_at is 'Time of the last change.';
comment on column sentinai_internal.relay.changed_by is 'Who changed it last.';

create function sentinai.relay_is_paused(name text) returns boolean
    language c stable strict
    as 'MODULE_PATHNAME', 'sentinai_relay_is_paused';
comment on function sentinai.relay_is_paused(text) is 'The same for a relay by its name; null when there is none.';

create function sentinai.create_relay(
        name text, broker text, settings text, event_types text[] default null, aggregate_types text[] default null,
        tenants text[] default null, topic_template text default null, record_format text default null,
        start_from text default 'latest', workers int default 1, record_options text default null,
        limits text default null, dedupe text default null)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_create_relay';
comment on function sentinai.create_relay(text, text, text, text[], text[], text[], text, text, text, int, text, text, text) is 'Make a relay beside the one of the server''s parameters. broker: "kafka" or "rabbitmq". settings: as in sentinai.kafka_conf or sentinai.rabbitmq_conf; secrets are files. event_types, aggregate_types, tenants: what it sends; null sends all. topic_template, record_format: as the parameters of that name; null: the default. start_from: "latest", "earliest" or a time, as subscribe() takes it. workers: number of processes, 1 to 16, or 0 for a sentinai-relay outside of the server. record_options: key, headers, headers.metadata, topics and tombstones of the records, dead.letter.topic, dead.letter.headers, transform, transform.timeout.ms and dedupe, as key=value separated by commas (docs/kafka.md); null: those of the format. limits: events.per.second, bytes.per.second and in.flight, as key=value separated by commas; null: none. dedupe: "tail" is the record option dedupe=tail, what a topic of Kafka has at its ends is not sent again; null: as record_options say. For superusers and roles with the right ALTER SYSTEM on that parameter. Errors: 22004 null; SN409 the name is in use, or too many relays; SN422 invalid argument; 42501 not allowed; 25006 read-only transaction or standby.';

create function sentinai.alter_relay(
        name text, settings text default null, event_types text[] default null, aggregate_types text[] default null,
        tenants text[] default null, topic_template text default null, record_format text default null,
        workers int default null, all_event_types boolean default false, all_aggregate_types boolean default false,
        all_tenants boolean default false, record_options text default null, limits text default null,
        dedupe text default null)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_alter_relay';
comment on function sentinai.alter_relay(text, text, text[], text[], text[], text, text, int, boolean, boolean, boolean, text, text, text) is 'Change what is named of a relay; the rest stays. all_event_types, all_aggregate_types, all_tenants: no filter of that kind any more. Another filter holds for what is published from now on, everything else from the next event that is sent. topic_template: '' is the default of the format; record_options, limits: all that shall hold, '' for none. dedupe: "tail" adds that record option; it ends with record_options that do not have it. Errors: 22004 null; SN404 unknown relay; SN422 invalid argument; 42501 not allowed; 25006 read-only transaction or standby.';

create function sentinai.drop_relay(name text) returns bigint
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_drop_relay';
comment on function sentinai.drop_relay(text) is 'Remove a relay. Returns how many events it had not sent, and a notice says so; they stay in the log. Its dead letters stay. Errors: 22004 null; SN404 unknown relay; SN422 the relay of the server''s parameters; 42501 not allowed; 25006 read-only transaction or standby.';

create function sentinai.set_relay_paused(name text, paused boolean) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_set_relay_paused';
comment on function sentinai.set_relay_paused(text, boolean) is 'For pause_relay() and resume_relay(): store the switch of a relay.';

create function sentinai.pause_relay(name text) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_pause_relay';
comment on function sentinai.pause_relay(text) is 'The same as pause_relay() for a relay by its name. Errors: 22004 null; SN403 not allowed; SN404 unknown relay; 25006 read-only transaction or standby.';

create function sentinai.resume_relay(name text) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_resume_relay';
comment on function sentinai.resume_relay(text) is 'The same as resume_relay() for a relay by its name. Errors: 22004 null; SN403 not allowed; SN404 unknown relay; 25006 read-only transaction or standby.';

-- For sentinai-relay, which does outside of the server what a relay process does.

create function sentinai.relay_open(name text, backend_pid int, protocol int) returns text
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_relay_open';
comment on function sentinai.relay_open(text, int, int) is 'For sentinai-relay: work for a relay of workers 0 until this session ends. backend_pid: process that the client takes its session for; another one is a pooler''s. protocol: version of what relay_call() is told. Returns null, or why it has to wait: workers inside the server or another sentinai-relay send, or the extension is being changed. Errors: 22004 null; SN404 unknown relay; SN409 behind a pooler, or a relay is open in this session already; SN422 another protocol; 55000 the library is not preloaded; 53400 too many relay processes; 25006 read-only transaction or standby.';

create function sentinai.relay_call(call int, request bytea) returns bytea
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_relay_call';
comment on function sentinai.relay_call(int, bytea) is 'For sentinai-relay: one step of a turn, in the session that relay_open() was called in. call, request and the answer are as src/relay/relay_wire.h of this version has them. Errors: 22004 null; SN409 no relay is open in this session, or the extension is being changed; SN422 not what sentinai-relay would ask; 25006 read-only transaction or standby.';

create procedure sentinai.relay_wait(durable boolean, milliseconds int, lanes bigint, inout waiting bigint)
    language c
    as 'MODULE_PATHNAME', 'sentinai_relay_wait';
comment on procedure sentinai.relay_wait(boolean, int, bigint, bigint) is 'For sentinai-relay: sleep until one of the lanes (a bit for each) may have events, the relay was changed, the client sends something, or so many milliseconds (at most 60,000) are over; waiting is then the lanes that may have events. durable: first wait until what was read last cannot be lost. Errors: 22004 null; SN409 no relay is open in this session; SN422 invalid time; 25001 inside a transaction.';

create function sentinai.stat_relays(out worker int, out pid int, out state text,
        out in_flight int, out sent_count bigint, out acked_count bigint,
        out error_count bigint, out dead_count bigint, out breaker text,
        out started_at timestamptz, out last_ack_at timestamptz,
        out last_error_at timestamptz, out last_error text, out locked_lanes bigint,
        out relay_id int, out limited boolean)
    returns setof record
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_relays';
comment on function sentinai.stat_relays() is 'For stat_relay: what the relay processes of this database say of themselves.';

do $view$
begin
    execute $v$create or replace view sentinai.stat_relay_topic as
with recursive label as (
    select s.sub_id, s.worker_type, f.topic
    from sentinai_internal.subscription s
         cross join lateral (
             select r.topic from sentinai_internal.event_retry r
             where r.sub_id = s.sub_id and r.topic is not null
             order by r.topic limit 1) f
    where s.is_relay and sentinai.may_see_worker_type(s.worker_type)
    union all
    select l.sub_id, l.worker_type, n.topic
    from label l
         cross join lateral (
             select r.topic from sentinai_internal.event_retry r
             where r.sub_id = l.sub_id and r.topic > l.topic
             order by r.topic limit 1) n
)
select l.topic,
       h.waiting_since,
       h.reason,
       case when pg_catalog.current_setting('sentinai.topic_timeout') <> '-1'
            then h.waiting_since + pg_catalog.current_setting('sentinai.topic_timeout')::interval
       end as dead_at,
       l.worker_type as relay
from label l
     cross join lateral (
         select f.first_failed_at as waiting_since, f.last_error as reason
         from pg_catalog.generate_series(0, 63) as g (lane)
              cross join lateral (
                  select r.first_failed_at, r.last_error from sentinai_internal.event_retry r
                  where r.sub_id = l.sub_id and r.topic = l.topic and r.lane = g.lane
                  order by r.pos limit 1) f
         order by f.first_failed_at limit 1) h$v$;
end $view$;

do $view$
begin
    execute $v$create or replace view sentinai.stat_relay with (security_barrier) as
with relay as (
    select 0 as relay_id, 'relay'::text as relay, s.sub_id,
           pg_catalog.current_setting('sentinai.relay_workers')::int as workers,
           pg_catalog.current_setting('sentinai.relay_limits') as limits
    from (values (true)) v (one)
         left join sentinai_internal.subscription s on s.worker_type = 'relay'
    union all
    select r.sub_id, s.worker_type, r.sub_id, greatest(r.workers, 1), r.limits
    from sentinai_internal.relay r
         join sentinai_internal.subscription s on s.sub_id = r.sub_id
)
select w.worker,
       p.pid,
       case when z.paused then 'paused' else coalesce(p.state, 'stopped') end as state,
       l.lag_events,
       extract(epoch from pg_catalog.clock_timestamp() - l.oldest_unfinished_at)::float8 as lag_seconds,
       l.pos as position,
       l.oldest_unfinished_at,
       p.in_flight,
       p.sent_count,
       p.acked_count,
       p.error_count,
       p.dead_count,
       p.breaker,
       p.started_at,
       p.last_ack_at,
       p.last_error_at,
       p.last_error,
       l.waiting_events,
       t.waiting_topics,
       b.blocked_by,
       n.relay,
       nullif(n.limits, '') as limits,
       p.limited
from relay n
     cross join lateral pg_catalog.generate_series(0, n.workers - 1) as w (worker)
     left join sentinai.stat_relays() p on p.relay_id = n.relay_id and p.worker = w.worker
     cross join lateral sentinai.relay_is_paused(n.relay) z (paused)
     left join (
         select m.relay_id, x.lane % m.workers as worker,
                pg_catalog.sum(x.lag_events)::bigint as lag_events,
                pg_catalog.min(x.pos) as pos,
                pg_catalog.sum(x.parked)::bigint as waiting_events,
                pg_catalog.min(x.oldest_unfinished_at) as oldest_unfinished_at
         from relay m
              join sentinai.stat_lane x on x.sub_id = m.sub_id
         where m.workers > 0
         group by 1, 2) l on l.relay_id = n.relay_id and l.worker = w.worker
     left join lateral (
         select pg_catalog.array_agg(x.topic order by x.topic) as waiting_topics
         from sentinai.stat_relay_topic x where x.relay = n.relay) t on true
     -- who has locked lanes that the relay found locked: 0 is a prepared transaction
     left join lateral (
         select pg_catalog.array_agg(distinct coalesce(k.pid, 0)) as blocked_by
         from pg_catalog.pg_locks k
         where k.locktype = 'object' and k.granted
               and k.database = (select d.oid from pg_catalog.pg_database d
                                 where d.datname = pg_catalog.current_database())
               and k.classid = 'sentinai_internal.subscription'::pg_catalog.regclass
               and k.objid::bigint = n.sub_id
               and k.objsubid > 0 and k.pid is distinct from p.pid
               and p.locked_lanes >> (k.objsubid - 1) & 1 = 1) b on p.locked_lanes <> 0
where sentinai.may_see_worker_type(n.relay)$v$;
end $view$;

drop function sentinai.stat_relay_workers();

comment on column sentinai.stat_relay_topic.relay is 'The relay.';
comment on view sentinai.stat_relay is 'One row for each process that a relay shall have: as many as sentinai.relay_workers says, or create_relay().';
comment on column sentinai.stat_relay.limits is 'How much the relay may send in a second and have on its way; null: no limits of its own.';
comment on column sentinai.stat_relay.limited is 'Whether events wait for these limits now.';
comment on column sentinai.stat_relay.relay is 'The relay; "relay" is the one of the server''s parameters.';
comment on column sentinai.stat_relay.dead_count is 'Events given up (see dead_letter, where worker_type is the relay) since the process started.';

do $view$
begin
    execute $v$create or replace view sentinai.stat_agent with (security_barrier) as
select s.worker_type,
       t.worker_id,
       t.batch,
       pg_catalog.count(*)::int as lanes,
       pg_catalog.sum(t.open)::int as in_flight,
       pg_catalog.min(t.claimed_at) as claimed_at,
       pg_catalog.min(t.lease_until) as lease_until,
       pg_catalog.min(t.lease_until) < sentinai.stat_clock() as expired
from sentinai_internal.subscription s
     join sentinai_internal.stream f on f.stream_id = s.stream_id
     cross join lateral (select n.lanes from sentinai_internal.node n order by n.node_no desc limit 1) n
     -- The limit is for the planner, which would expect 1,000 and compile.
     cross join lateral (
         select g.lane from pg_catalog.generate_series(0, n.lanes - 1) as g (lane)
         limit 64) l
     cross join lateral (
         select u.track
         from pg_catalog.unnest(0 || array(select c.track from sentinai_internal.track c)) as u (track)
         limit 64) k
     cross join lateral sentinai.stat_lane_state(s.sub_id, l.lane + 64 * k.track) t
where t.batch is not null and sentinai.may_see_worker_type(s.worker_type)
group by 1, 2, 3$v$;
end $view$;

do $view$
begin
    execute $v$create or replace view sentinai.stat_queue with (security_barrier) as
select q.worker_type,
       q.lag_events,
       extract(epoch from pg_catalog.clock_timestamp() - q.oldest_unfinished_at)::float8 as lag_seconds,
       q.oldest_unfinished_at,
       q.in_flight,
       q.retrying,
       q.dead,
       q.completed_count,
       q.failed_count,
       r.completed_per_second,
       r.failed_per_second,
       greatest(q.claimed_at, sentinai.stat_claimed(q.sub_id)) as last_claimed_at,
       f.event_types,
       f.tenants,
       s.max_lease,
       s.max_lanes
from (select l.sub_id,
             l.worker_type,
             pg_catalog.sum(l.lag_events)::bigint as lag_events,
             pg_catalog.min(l.oldest_unfinished_at) as oldest_unfinished_at,
             pg_catalog.sum(l.in_flight)::bigint as in_flight,
             pg_catalog.sum(l.parked)::bigint as retrying,
             pg_catalog.sum(l.dead)::bigint as dead,
             pg_catalog.sum(l.completed_count)::bigint as completed_count,
             pg_catalog.sum(l.failed_count)::bigint as failed_count,
             pg_catalog.max(l.claimed_at) as claimed_at
      from sentinai.stat_lane l
      where not l.is_relay
      group by 1, 2) q
     join sentinai_internal.subscription s on s.sub_id = q.sub_id
     join sentinai_internal.stream f on f.stream_id = s.stream_id
     cross join lateral sentinai.stat_rate(q.sub_id, q.completed_count, q.failed_count) r$v$;
end $view$;

comment on column sentinai.stat_queue.event_types is 'Event types it wants; null: all.';
comment on column sentinai.stat_queue.tenants is 'Tenants whose events it wants; null: all.';
comment on column sentinai.stat_queue.max_lease is 'Longest lease that claim() and extend() give.';
comment on column sentinai.stat_queue.max_lanes is 'How many lanes the batches of one role may hold at a time; 64: all.';

do $view$
begin
    execute $v$create or replace view sentinai.stat_retry with (security_barrier) as
select s.worker_type,
       r.tenant_id,
       r.aggregate_id,
       r.event_id,
       r.attempt,
       r.first_failed_at,
       r.due_at
from sentinai_internal.event_retry r
     join sentinai_internal.subscription s on s.sub_id = r.sub_id
where not s.is_relay and not r.dead and sentinai.may_see_letter(r.tenant_id)$v$;
end $view$;

create function sentinai.flow_trace(
        correlation_id text, tenant_id text, max_events int)
    returns table (
        event_id uuid, parent_id uuid, depth int, event_type text,
        tenant_id text, aggregate_type text, aggregate_id text,
        correlation_id text, causation_id uuid, occurred_at timestamptz,
        deliver_at timestamptz, traceparent text, subscriptions jsonb)
    language sql stable rows 100
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
comment on function sentinai.flow_trace(text, text, int) is 'For get_trace(), which calls it as the owner.';

do $function$
begin
    execute $f$create or replace function sentinai.get_trace(
        correlation_id text, tenant_id text default null, max_events int default 1000)
    returns table (
        event_id uuid, parent_id uuid, depth int, event_type text,
        tenant_id text, aggregate_type text, aggregate_id text,
        correlation_id text, causation_id uuid, occurred_at timestamptz,
        deliver_at timestamptz, traceparent text, subscriptions jsonb)
    language c stable parallel unsafe rows 100
    as 'MODULE_PATHNAME', 'sentinai_get_trace'$f$;
end $function$;

create function sentinai.flow_trace_tree(
        correlation_id text, tenant_id text, max_events int)
    returns table (
        tree text, event_id uuid, parent_id uuid, depth int, event_type text,
        tenant_id text, aggregate_type text, aggregate_id text,
        occurred_at timestamptz, since_start interval, since_parent interval,
        traceparent text, worker_type text, status text, attempts int,
        worker_id text, claimed_at timestamptz, completed_at timestamptz,
        dead_at timestamptz, due_at timestamptz, error text, took interval)
    language sql stable rows 100
    set search_path = pg_catalog, pg_temp
as $$
    with trace as materialized (
        select g.* from sentinai.flow_trace($1, $2, $3) g
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
comment on function sentinai.flow_trace_tree(text, text, int) is 'For trace_tree(), which calls it as the owner.';

do $function$
begin
    execute $f$create or replace function sentinai.trace_tree(
        correlation_id text, tenant_id text default null, max_events int default 1000)
    returns table (
        tree text, event_id uuid, parent_id uuid, depth int, event_type text,
        tenant_id text, aggregate_type text, aggregate_id text,
        occurred_at timestamptz, since_start interval, since_parent interval,
        traceparent text, worker_type text, status text, attempts int,
        worker_id text, claimed_at timestamptz, completed_at timestamptz,
        dead_at timestamptz, due_at timestamptz, error text, took interval)
    language c stable parallel unsafe rows 100
    as 'MODULE_PATHNAME', 'sentinai_trace_tree'$f$;
end $function$;


-- The ledger, for events that do not come from a claim.
create function sentinai.mark_as_failed(
        event_id uuid, worker_type text, error text, attempt int default 1,
        retry_in interval default null)
    returns text
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_mark_as_failed';
comment on function sentinai.mark_as_failed(uuid, text, text, int, interval) is 'Tells in the caller''s transaction that an attempt at an event has failed which did not come from claim(), as fail() does: publishes RetryScheduled when it will be tried again after retry_in (0 to 366 days), and DeadLettered when retry_in is null. Who tries again, and keeps what was given up, is the caller; the ledger stays as it is. attempt: 1 for the first. Returns the error as it may be stored, with redactions and at most 8192 bytes; null, and nothing is published, when the log does not have the event, or the caller may not work for its tenant. Nothing is published about a control event. Errors: 22004 null where there must be a value; SN403 not allowed; SN422 invalid argument; 22008 interval out of range; 25006 read-only transaction or standby.';

create function sentinai.mark_as_settled(
        event_id uuid, worker_type text, outcome text, inout actor text default session_user,
        inout reason text default null, tenant_id text default null, event_type text default null)
    returns record
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_mark_as_settled';
comment on function sentinai.mark_as_settled(uuid, text, text, text, text, text, text) is 'Tells in the caller''s transaction what somebody has done with an event that mark_as_failed() gave up, as retry_dead_letter() and discard_dead_letter() do: publishes DeadLetterRetried when outcome is "retried", and DeadLetterDiscarded when it is "discarded", and writes a row of actions. The caller keeps what was given up, and has it done. actor: who does it, 1 to 256 bytes. reason: 1 to 8192 bytes, or null. Returns both as they may be stored, with redactions. Nothing is published when the log does not have the event, or the caller may neither work nor operate for its tenant: then both are null, or what may be stored of an event of that tenant_id and event_type. Nothing is published about a control event. Errors: 22004 null where there must be a value; SN403 not allowed; SN422 invalid argument; 25006 read-only transaction or standby.';

-- What they refuse now.
comment on function sentinai.drop_event_type_version(text, int, boolean) is 'Drops a version of an event type. Events of it stay, and its number is never used again; registering its schema under its number brings it back. Reads the log until it finds such an event; what has not been committed is not seen. force: drop it whatever the log has. Errors: 22004 null; SN403 not allowed; SN404 unknown version; SN409 there are events of it; SN422 one of the extension''s own types; 25006 read-only transaction or standby.';
comment on function sentinai.unsubscribe(text) is 'Ends a subscription: its position, open batches, waiting retries and retry policies are gone; its ledger and dead letters stay. A dead letter that was being tried again is pending again; when the subscription is made anew, pending ones count as its own. Waits for transactions that work on its batches. Errors: 22004 null; SN403 not allowed; SN404 unknown worker type; 25006 read-only transaction or standby.';
comment on function sentinai.set_retry_policy(text, text, int, interval[]) is 'Sets the retry policy of one event type of a subscription, which goes before the subscription''s own; with max_attempts and backoff null it is removed. Both are as in subscribe(). Errors: 22004 null where there must be a value; SN403 not allowed; SN404 unknown worker type; SN422 invalid argument; 22008 interval out of range; 25006 read-only transaction or standby.';
comment on function sentinai.complete(text, uuid[]) is 'Marks events of a batch as done, all that are open when event_ids is null, and returns how many it was. Takes effect with the caller''s transaction. Events of the batch that are completed already are not counted. Errors: 22004 null token or element; SN403 not allowed; SN404 unknown token, or event not in the batch; SN409 stale token, or event that failed or waits behind one that did; SN422 array with more than one dimension; 25006 read-only transaction or standby. With an error nothing is done.';
comment on function sentinai.fail(text, uuid, text, boolean, interval) is 'Notes that an attempt at an event of a batch failed. Returns "retrying": the event comes again after retry_in (0 to 366 days), by default after the policy''s wait, and later events of its key leave the batch and wait behind it. Or "dead": not retryable or out of attempts, it becomes a dead letter. Publishes RetryScheduled or DeadLettered. error: kept up to 8 kB. Errors: 22004 null where there must be a value; SN403 not allowed; SN404 unknown token, or event not in the batch; SN409 stale token, or event no longer open; SN422 invalid retry_in; 22008 interval out of range; 25006 read-only transaction or standby.';
comment on function sentinai.claim(text, int, interval, text) is 'Takes the next events of a subscription: one batch with one token, the events of a key in their order, none of a key that somebody else works on or that waits for a retry. Returns no row when there is nothing to do. max_events: 1 to 10,000. lease: time to finish the batch, more than zero and at most the subscription''s max_lease; afterwards the events go to others, one attempt used up. A role that holds max_lanes lanes gets no more: the batch is smaller, or there is none. worker_id: name of the agent for the views, at most 256 bytes. attempt counts from 1. Errors: 22004 null where there must be a value; SN404 unknown worker type; SN422 invalid argument; 22008 interval out of range; 25006 read-only transaction or standby.';
comment on function sentinai.extend(text, interval) is 'Gives a batch a new lease from now on, more than zero and at most the subscription''s max_lease, and returns its deadline. Errors: 22004 null; SN403 not allowed; SN404 unknown token; SN409 stale token, or batch resolved; SN422 invalid lease; SN429 the lease had run out, and the role holds all the lanes that it may; 22008 interval out of range; 25006 read-only transaction or standby.';
comment on function sentinai.release(text) is 'Gives back what is open of a batch, without counting an attempt, and returns how many events it was. Errors: 22004 null; SN403 not allowed; SN404 unknown token; SN409 stale token; 25006 read-only transaction or standby.';
comment on procedure sentinai.wait_for_work(text, interval, boolean) is 'Waits until the subscription has work, at most for the timeout (not negative, at most a day; 0 only looks), and sets ready: whether a claim is worthwhile. CALL it outside a transaction: it then holds no snapshot while it waits. Errors: 22004 null worker_type or timeout; SN403 not allowed; SN404 unknown worker type; SN422 invalid timeout; 22008 interval out of range; 25006 standby.';
comment on function sentinai.revoke_lease(text, text, text) is 'For operators: ends the leases of an agent now, and returns how many events that gives back. They are handed out again at once, no attempt counted. The tokens are stale (SN409). worker_id: the agent, as stat_agent names it. actor: who does it, 1 to 256 bytes; the view actions keeps it. Waits for a transaction that works on one of the batches. Returns 0 when the agent holds nothing. Errors: 22004 null; SN403 not allowed; SN404 unknown worker type; SN422 invalid argument; 25006 read-only transaction or standby.';
comment on function sentinai.retry_event(uuid, text, text) is 'For operators: an event that waits for its retry is due now. Its attempts go on counting. actor: who does it, 1 to 256 bytes; the view actions keeps it. Errors: 22004 null; SN404 unknown worker type, or event that was not handed out; SN409 event that an agent works on, waits behind an earlier one of its key, is completed or a dead letter; SN422 invalid argument; 25006 read-only transaction or standby.';
comment on function sentinai.is_already_processed(uuid, text) is 'Whether the worker type has completed the event, by complete() or mark_as_completed(). Errors: 22004 null; SN403 not allowed.';
comment on function sentinai.mark_as_processing(uuid, text, text, text, text, interval) is 'Asks for an event before working on it. True: it is the caller''s. False: it is completed, or somebody asked for it less than lease ago (more than zero, at most a day). Of callers at the same time one gets true; the others wait for the end of its transaction. event_id: a UUIDv7, at most one sentinai.partition_interval ahead of the clock where no partition is there yet. worker_type: 1 to 100 letters, digits and "_.:-". tenant_id, aggregate_id, worker_id: for the ledger, at most 256, 1024 and 256 bytes. Errors: 22004 null where there must be a value; SN403 not allowed; SN422 invalid argument; 22008 interval out of range; 25006 read-only transaction or standby.';
comment on function sentinai.purge_dead_letters(timestamptz, text, text, int) is 'Removes dead letters that were settled (succeeded or discarded) before a time, the oldest first, and returns how many: call it until that is 0. Pending ones, and those that are being tried again, stay: discard_dead_letter() says who gives up on one and why, and lets its key go on. worker_type, tenant_id: only of these; null for any. max_letters: 1 to 100,000. Maintenance does the same by sentinai.dead_letter_retention. Errors: 22004 null where there must be a value; SN403 not allowed; SN422 invalid argument; 25006 read-only transaction or standby.';
comment on function sentinai.get_events_by_aggregate(text, text, text[], timestamptz, timestamptz, text, uuid, int, text) is 'Events of one aggregate of a tenant, oldest first. Filters, each null for none: event_types; from_time (inclusive) and to_time (exclusive), by occurred_at; correlation_id; after_id, the last event_id of the page before; aggregate_type, as aggregates of two types with one id share their order. max_events: 1 to 10,000. Reads only the partitions of the time range, by the index on the hash of the key. Errors: 22004 null tenant_id or aggregate_id; SN403 not allowed; SN422 max_events out of range, event_types of more than one dimension or with nulls.';
comment on function sentinai.get_trace(text, text, int) is 'Events of a flow, oldest first: those with the correlation id, and those of the aggregate with this id that were given none. tenant_id: whose; null for every tenant that has the flow, which costs a look-up for each tenant of the log. max_events: 1 to 10,000, the oldest. parent_id: the event that caused it, if it is in the flow and older; depth: how many are above it. subscriptions: an array of what each of them did, as trace_tree() has it in columns. What retention has dropped is not there. Reads by an index. Errors: 22004 null correlation_id; SN403 not allowed; SN422 max_events out of range.';

-- What all tenants share is not one tenant's.
comment on function sentinai.maintain() is 'One pass of maintenance: partitions ahead of their time, the journals, retention. A step that fails is a warning, and the others are done all the same. Drops as many partitions as one transaction may lock; the next call goes on. The sequencer process does the same every sentinai.maintenance_interval; where it does not run, have pg_cron call this once a minute, in a transaction of its own. What is done is every tenant''s. Errors: SN403 not allowed; 25006 read-only transaction or standby.';
comment on function sentinai.make_partitions(timestamptz) is 'Makes the missing partitions of event_log, event_processing, event_idempotency and slice from now through the given time, each for sentinai.partition_interval, and returns for how many intervals it did. Blocks no publisher. Maintenance calls it; publish() makes what it misses. Partitions are every tenant''s. Errors: 22004 null; SN403 not allowed; SN422 infinite, or more than one transaction may lock (the hint says how far it can go).';
comment on function sentinai.index_partitions(int) is 'After an update from 0.1.0: makes the index that get_trace() reads by in partitions of event_log that have none, at most so many, the newest first, and returns how many still lack it. Only in those whose time is over: nobody publishes into them any more, so nobody waits. Reads such a partition whole. Until then get_trace() does that each time. Partitions are every tenant''s. Errors: 22004 null; SN403 not allowed; SN422 max_partitions below 1; 25006 read-only transaction or standby.';
comment on function sentinai.deprecate_event_type(text, int, boolean) is 'Deprecates a version of an event type, or all for null: who publishes without a schema_version gets the newest one that is not deprecated, and who names it may go on. deprecated: false takes that back. Returns how many versions it changed. Errors: 22004 null where there must be a value; SN403 not allowed; SN404 unknown type or version; SN422 one of the extension''s own types; 25006 read-only transaction or standby.';

do $function$
begin
    execute $f$create or replace function sentinai.pause_relay() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_pause_relay'$f$;
end $function$;
comment on function sentinai.pause_relay() is 'Stop sending to the broker until resume_relay(). What is on its way is still acknowledged; events go on to be published and sequenced. The relay is every tenant''s. Errors: SN403 not allowed; 25006 read-only transaction or standby.';

do $function$
begin
    execute $f$create or replace function sentinai.resume_relay() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_resume_relay'$f$;
end $function$;
comment on function sentinai.resume_relay() is 'Let the relay send again after pause_relay(), or for the first time after the database was restored or upgraded into another cluster, or its cluster recovered from a backup: it goes on with what had not been acknowledged when the dump or the backup was taken. Errors: SN403 not allowed; 25006 read-only transaction or standby.';

-- What is redacted.

create table sentinai_internal.redaction (
    tenant_id   text collate "C" not null,
    event_type  text collate "C" not null,
    path        text collate "C" not null,
    method      text collate "C" not null,
    keep        int,
    replacement jsonb,
    patterns    text[] collate "C",
    changed_at  timestamptz not null,
    changed_by  text collate "C" not null,
    primary key (tenant_id, event_type, path)
);

comment on table sentinai_internal.redaction is 'Rules of redaction. Functions write it; the view redactions shows it.';
comment on column sentinai_internal.redaction.tenant_id is 'Tenant whose events it is for; "*" for all.';
comment on column sentinai_internal.redaction.event_type is 'Type of the events it is for; "*" for all.';
comment on column sentinai_internal.redaction.path is 'Which values, in the one form of the path.';
comment on column sentinai_internal.redaction.method is '"remove", "replace", "hash", "mask" or "secrets".';
comment on column sentinai_internal.redaction.keep is 'For "mask": characters at the end that stay.';
comment on column sentinai_internal.redaction.replacement is 'For "replace": what stands there instead.';
comment on column sentinai_internal.redaction.patterns is 'For "secrets": which are looked for.';
comment on column sentinai_internal.redaction.changed_at is 'When it was set.';
comment on column sentinai_internal.redaction.changed_by is 'Role that set it.';

-- Redaction

create function sentinai.set_redaction(
        tenant text, event_type text, path text, method text,
        keep int default null, replacement jsonb default null,
        patterns text[] default null)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_set_redaction';
comment on function sentinai.set_redaction(text, text, text, text, int, jsonb, text[]) is 'Sets what becomes of values before an event is stored, in place of the rule for the same tenant, event type and path. From the next transaction of each session on it holds for everything that is published; what is stored already stays. tenant: a tenant, or "*" for all. event_type: a type, or "*" for all. path: "$" is the payload, "$metadata" the metadata, "$error" the error texts of agents; steps are .name, .*, ..name, ..* (at any depth), [n], [*] and ["name"], at most 16. method: "remove"; "replace" (with replacement, at most 1 kB; null: "[redacted]"); "hash" (HMAC-SHA-256 with the key of sentinai.redaction_key_file); "mask" (stars, but for the last keep characters, 0 to 64, null: 4); "secrets" (in texts, what looks like one of patterns: "bearer_token", "private_key", "card_number"; null: all). Of several rules for a value the strongest holds, in the order remove, replace, hash, mask, secrets. At most 64 rules for a tenant and event type. Errors: 22004 null where there must be a value; SN413 replacement too large; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.drop_redaction(tenant text, event_type text, path text)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_drop_redaction';
comment on function sentinai.drop_redaction(text, text, text) is 'Drops a rule that set_redaction() has set. From the next transaction of each session on events are stored without it. Errors: 22004 null; SN404 there is no such rule; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.redacted_payload(tenant_id text, event_type text, payload jsonb) returns jsonb
    language c stable parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_redacted_payload';
comment on function sentinai.redacted_payload(text, text, jsonb) is 'What publish() would store of a payload, by the rules of set_redaction(): for who keeps in tables of his own what he publishes. A payload that is redacted already stays as it is. Errors: 22004 null; SN403 tenant_id is not one the caller may publish or work for; SN413 larger or nested deeper than an event''s; F0000 the key for a hash cannot be read.';

create function sentinai.redacted_error(tenant_id text, event_type text, error text) returns text
    language c stable parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_redacted_error';
comment on function sentinai.redacted_error(text, text, text) is 'An error text about an event of that type as fail() would redact it, by the rules of set_redaction(); of what it returns fail() stores 8192 bytes. Errors: 22004 null; SN403 tenant_id is not one the caller may publish or work for; F0000 the key for a hash cannot be read.';

create function sentinai.redaction_changed() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_redaction_changed';
comment on function sentinai.redaction_changed() is 'Trigger of redaction: tells all sessions that it was changed by SQL, as by a dump that is restored.';

create trigger redaction_changed after insert or update or delete or truncate on sentinai_internal.redaction
    for each statement execute function sentinai.redaction_changed();
alter table sentinai_internal.redaction enable always trigger redaction_changed;
comment on trigger redaction_changed on sentinai_internal.redaction is 'Sessions that publish know the rules by heart.';

create view sentinai.redactions with (security_barrier) as
select r.tenant_id as tenant, r.event_type, r.path, r.method, r.keep, r.replacement, r.patterns,
       r.changed_at, r.changed_by
from sentinai_internal.redaction r
where sentinai.may_audit(nullif(r.tenant_id, '*'));
comment on view sentinai.redactions is 'Rules of redaction, as set_redaction() has set them. With sentinai.tenant_isolation those of tenants that the caller may audit, and those for all when he may audit every one.';
comment on column sentinai.redactions.tenant is 'Tenant whose events it is for; "*" for all.';
comment on column sentinai.redactions.event_type is 'Type of the events it is for; "*" for all.';
comment on column sentinai.redactions.path is 'Which values, in the one form that a path is stored in.';
comment on column sentinai.redactions.method is '"remove", "replace", "hash", "mask" or "secrets".';
comment on column sentinai.redactions.keep is 'For "mask": characters at the end that stay.';
comment on column sentinai.redactions.replacement is 'For "replace": what stands there instead.';
comment on column sentinai.redactions.patterns is 'For "secrets": which are looked for.';
comment on column sentinai.redactions.changed_at is 'When it was set.';
comment on column sentinai.redactions.changed_by is 'Role that set it.';
-- Deadlines of aggregates.

create table sentinai_internal.deadline (
    deadline_id    bigint generated always as identity primary key,
    tenant_id      text collate "C" not null,
    aggregate_type text collate "C" not null,
    aggregate_id   text collate "C" not null,
    kind           text collate "C" not null,
    status         text collate "C" not null,
    due_at         timestamptz not null,
    warn_at        timestamptz,
    next_at        timestamptz,
    set_at         timestamptz not null,
    set_by         text collate "C" not null,
    moves          int not null,
    warned_at      timestamptz,
    expired_at     timestamptz,
    ended_at       timestamptz,
    correlation_id text collate "C",
    causation_id   uuid
);
create unique index deadline_open_idx on sentinai_internal.deadline (tenant_id, aggregate_id, kind) where status = 'open';
create index deadline_key_idx on sentinai_internal.deadline (tenant_id, aggregate_id, kind, deadline_id);
create index deadline_next_idx on sentinai_internal.deadline (next_at) where next_at is not null;
create index deadline_turn_idx on sentinai_internal.deadline (tenant_id, next_at) where next_at is not null;
create index deadline_ended_idx on sentinai_internal.deadline (ended_at) where ended_at is not null;

comment on table sentinai_internal.deadline is 'Deadlines of aggregates, open ones and those that have ended. Functions write it; the view deadlines shows it.';
comment on column sentinai_internal.deadline.deadline_id is 'Number of the deadline.';
comment on column sentinai_internal.deadline.tenant_id is 'Tenant of the aggregate.';
comment on column sentinai_internal.deadline.aggregate_type is 'Type of the aggregate.';
comment on column sentinai_internal.deadline.aggregate_id is 'The aggregate.';
comment on column sentinai_internal.deadline.kind is 'What it is a deadline for.';
comment on column sentinai_internal.deadline.status is '"open", "expired", "met" or "cancelled"; one of each kind of an aggregate is open.';
comment on column sentinai_internal.deadline.due_at is 'When it is over.';
comment on column sentinai_internal.deadline.warn_at is 'When SLAImminent is published; null: it is not.';
comment on column sentinai_internal.deadline.next_at is 'When something is to be published next; null: nothing is. The index on it drives the scans.';
comment on column sentinai_internal.deadline.set_at is 'When it was set first.';
comment on column sentinai_internal.deadline.set_by is 'Role that set it last.';
comment on column sentinai_internal.deadline.moves is 'How many times it was moved.';
comment on column sentinai_internal.deadline.warned_at is 'When SLAImminent was published; null: not yet, or not since it was moved to a later time.';
comment on column sentinai_internal.deadline.expired_at is 'When SLAExpired was published; null: it was not.';
comment on column sentinai_internal.deadline.ended_at is 'When it expired, was met or was cancelled; null: it is open.';
comment on column sentinai_internal.deadline.correlation_id is 'Flow of its events; null: the one that is named by the aggregate.';
comment on column sentinai_internal.deadline.causation_id is 'Event that was worked on when it was set; null: none.';

create table sentinai_internal.sla_threshold (
    tenant_id  text collate "C" primary key,
    threshold  float8 not null,
    changed_at timestamptz not null,
    changed_by text collate "C" not null
);

comment on table sentinai_internal.sla_threshold is 'Share of a deadline''s time after which SLAImminent is published. Functions write it; the view sla_thresholds shows it.';
comment on column sentinai_internal.sla_threshold.tenant_id is 'Tenant; "*" for all that have no row of their own.';
comment on column sentinai_internal.sla_threshold.threshold is 'More than 0, at most 1; 1: SLAImminent is not published.';
comment on column sentinai_internal.sla_threshold.changed_at is 'When it was set.';
comment on column sentinai_internal.sla_threshold.changed_by is 'Role that set it.';

-- Publishing.

create function sentinai.publish_events(
        event_types text[], tenant_ids text[], aggregate_ids text[],
        payloads jsonb[], aggregate_type text default 'exception',
        metadata jsonb[] default null, correlation_ids text[] default null,
        causation_ids uuid[] default null, deliver_at timestamptz[] default null,
        schema_versions int[] default null)
    returns uuid[]
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_publish_events';
comment on function sentinai.publish_events(text[], text[], text[], jsonb[], text, jsonb[], text[], uuid[], timestamptz[], int[]) is 'Publishes many events at once, as publish_batch() does, where each has metadata, a cause, a time of delivery and a version of its own. The arrays that are given have one dimension, equal lengths and at most sentinai.max_batch elements; an element that is null is what publish() takes for it by default. aggregate_type holds for all. If one event is refused, all are, and the message tells which (from 1), unless there is one. Errors: as publish_batch().';

-- Deadlines.

create function sentinai.set_deadline(
        tenant_id text, aggregate_id text, kind text, due_at timestamptz,
        warn_at timestamptz default null, threshold float8 default null,
        aggregate_type text default 'exception', correlation_id text default null)
    returns timestamptz
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_set_deadline';
comment on function sentinai.set_deadline(text, text, text, timestamptz, timestamptz, float8, text, text) is 'Sets a deadline of an aggregate, or moves the open one of that kind. Returns when SLAImminent will be published; null: it will not. SLAExpired is published at due_at, unless the deadline is met or cancelled before. Both are events of the aggregate. kind: what it is a deadline for, at most 100 bytes. due_at: within ten years of now; it may be over. warn_at: not after due_at; or threshold: the share of the time from when the deadline was set to due_at, more than 0 and at most 1 (1: no SLAImminent); by default the tenant''s, see set_sla_threshold(). A deadline that moves to a later time is warned of again; one that moves to an earlier time is not. Setting what is set already changes nothing; what changes counts as an event in the tenant''s limit. After SLAExpired it is a new deadline. correlation_id: the flow of its events; by default that of the event that is worked on, else the aggregate''s. Errors: 22004 null where there must be a value; SN403 not allowed; SN422 invalid argument; SN429 limit of events_published reached; 25006 read-only transaction or standby.';

create function sentinai.meet_deadline(tenant_id text, aggregate_id text, kind text) returns text
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_meet_deadline';
comment on function sentinai.meet_deadline(text, text, text) is 'Says that what an aggregate had a deadline for is done. Returns "met", or "late" when the deadline was over; null when there is none, or the last one was cancelled. Calling it again returns the same and changes nothing. When the deadline is over and no scan has come since, it publishes SLAExpired itself. Errors: 22004 null; SN403 not allowed; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.cancel_deadline(tenant_id text, aggregate_id text, kind text) returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_cancel_deadline';
comment on function sentinai.cancel_deadline(text, text, text) is 'Cancels the open deadline of an aggregate: nothing is published about it any more. Returns whether there was one. Errors: 22004 null; SN403 not allowed; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.sla_scan(
        max_deadlines int default 10000, at timestamptz default null,
        out imminent int, out expired int, out more boolean)
    returns record
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_sla_scan';
comment on function sentinai.sla_scan(int, timestamptz) is 'Publishes SLAImminent and SLAExpired for the deadlines of all tenants that have come to it, those that have waited longest first. Returns how many of each; more: whether it has reached max_deadlines (1 to 1,000,000), so that it should be called again. Several at once share the work. The sequencer''s process does the same every sentinai.sla_interval; where that does not run, have pg_cron call this. at: another time than now, within ten years of it, for tests; only for who may operate for every tenant. Errors: SN403 not allowed; SN422 invalid argument; 22004 null max_deadlines; 25006 read-only transaction or standby.';

create function sentinai.enable_cron(schedule text default '* * * * *') returns bigint
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_enable_cron';
comment on function sentinai.enable_cron(text) is 'Has pg_cron call sla_scan(), and returns the number of the job. Called again it changes the schedule. schedule: as pg_cron takes it; by default every minute. The job is the caller''s, and runs with the rights of that role. Errors: 22004 null; SN403 not allowed; 55000 pg_cron is not loaded, not in this database, or in another one (the hint says what to do there); 42501 no right to use pg_cron; 22023 pg_cron does not know such a schedule; 25006 read-only transaction or standby.';

create function sentinai.disable_cron() returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_disable_cron';
comment on function sentinai.disable_cron() is 'Removes the job that enable_cron() has made. False: there was none. Errors: SN403 not allowed; 42501 no right to use pg_cron; 25006 read-only transaction or standby.';

create function sentinai.cron_status(out state text, out database_name text, out job_id bigint, out schedule text)
    returns record
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_cron_status';
comment on function sentinai.cron_status() is 'Whether pg_cron calls sla_scan(). state: "on", "paused" (the job is not active), "off" (there is no job), "not created" (the extension pg_cron is not in this database), "elsewhere" (pg_cron is in another database) or "missing" (the server has not loaded it). database_name: where pg_cron is. job_id, schedule: of the job. Errors: SN403 not allowed; 42501 no right to use pg_cron.';

create function sentinai.set_sla_threshold(tenant_id text, threshold float8) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_set_sla_threshold';
comment on function sentinai.set_sla_threshold(text, float8) is 'Sets after which share of a deadline''s time SLAImminent is published, for deadlines of the tenant that are set or moved from then on without warn_at or threshold. tenant_id: "*" for all tenants that have none of their own. threshold: more than 0, at most 1 (1: not at all); null removes what was set. Without any it is 0.8. Errors: 22004 null tenant_id; SN403 not allowed; SN422 invalid argument; 25006 read-only transaction or standby.';

create view sentinai.deadlines with (security_barrier) as
select d.deadline_id, d.tenant_id, d.aggregate_type, d.aggregate_id, d.kind, d.status,
       d.status operator(pg_catalog.=) 'met' and d.expired_at is not null as late,
       d.due_at, d.warn_at, d.set_at, d.set_by, d.moves, d.warned_at, d.expired_at, d.ended_at,
       d.correlation_id, d.causation_id
from sentinai_internal.deadline d
where sentinai.may_read(d.tenant_id);
comment on view sentinai.deadlines is 'Deadlines of aggregates: open ones, and those that have ended since sentinai.deadline_retention.';
comment on column sentinai.deadlines.deadline_id is 'Number of the deadline; its events name it.';
comment on column sentinai.deadlines.tenant_id is 'Tenant of the aggregate.';
comment on column sentinai.deadlines.aggregate_type is 'Type of the aggregate.';
comment on column sentinai.deadlines.aggregate_id is 'The aggregate.';
comment on column sentinai.deadlines.kind is 'What it is a deadline for.';
comment on column sentinai.deadlines.status is '"open", "expired", "met" or "cancelled".';
comment on column sentinai.deadlines.late is 'Whether it was met after it was over.';
comment on column sentinai.deadlines.due_at is 'When it is over.';
comment on column sentinai.deadlines.warn_at is 'When SLAImminent is published; null: it is not.';
comment on column sentinai.deadlines.set_at is 'When it was set first.';
comment on column sentinai.deadlines.set_by is 'Role that set it last.';
comment on column sentinai.deadlines.moves is 'How many times it was moved.';
comment on column sentinai.deadlines.warned_at is 'When SLAImminent was published; null: not yet, or not since it was moved to a later time.';
comment on column sentinai.deadlines.expired_at is 'When SLAExpired was published; null: it was not.';
comment on column sentinai.deadlines.ended_at is 'When it expired, was met or was cancelled; null: it is open.';
comment on column sentinai.deadlines.correlation_id is 'Flow of its events; null: the one that is named by the aggregate.';
comment on column sentinai.deadlines.causation_id is 'Event that was worked on when it was set; null: none.';

create view sentinai.sla_thresholds with (security_barrier) as
select t.tenant_id, t.threshold, t.changed_at, t.changed_by
from sentinai_internal.sla_threshold t
where sentinai.may_see_limit(t.tenant_id);
comment on view sentinai.sla_thresholds is 'After which share of a deadline''s time SLAImminent is published, where set_sla_threshold() has said so.';
comment on column sentinai.sla_thresholds.tenant_id is 'Tenant; "*" for all that have none of their own.';
comment on column sentinai.sla_thresholds.threshold is 'More than 0, at most 1; 1: SLAImminent is not published.';
comment on column sentinai.sla_thresholds.changed_at is 'When it was set.';
comment on column sentinai.sla_thresholds.changed_by is 'Role that set it.';

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

-- Weights of tenants.
create table sentinai_internal.tenant_weight (
    tenant_id  text collate "C" primary key,
    weight     int not null,
    changed_at timestamptz not null,
    changed_by text collate "C" not null
);
create index on sentinai_internal.tenant_weight (weight);

comment on table sentinai_internal.tenant_weight is 'Weights of tenants. Functions write it; the view weights shows it.';
comment on column sentinai_internal.tenant_weight.tenant_id is 'Tenant; "*" for all that have no row of their own.';
comment on column sentinai_internal.tenant_weight.weight is 'Turns in a round of turns, from 1 to 100.';
comment on column sentinai_internal.tenant_weight.changed_at is 'When it was set.';
comment on column sentinai_internal.tenant_weight.changed_by is 'Role that set it.';

create function sentinai.set_weight(tenant_id text, weight int) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_set_weight';
comment on function sentinai.set_weight(text, int) is 'Sets how many turns a tenant gets in a round of turns, where tenants wait for one another, in place of what was set before: with 3 a tenant with a backlog gets three events of a batch for each one of a tenant with 1 that has a backlog, too. Holds for all claims that begin after it was committed. Order of keys, and what waits already, stay as they are. tenant_id: "*" for all tenants that have no weight of their own; without it these have 1. weight: 1 to 100. What one tenant gets more of, others get less of: it takes the right operate for every tenant. Errors: 22004 null; SN403 not allowed; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.drop_weight(tenant_id text) returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_drop_weight';
comment on function sentinai.drop_weight(text) is 'Removes what set_weight() has set; for a tenant the default holds then. Returns whether there was something. Errors: 22004 null; SN403 not allowed; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.weight_changed() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_weight_changed';
comment on function sentinai.weight_changed() is 'Trigger of tenant_weight: has claims look anew when SQL has changed it, as by a dump that is restored.';

create trigger weight_changed after insert or update or delete or truncate on sentinai_internal.tenant_weight
    for each statement execute function sentinai.weight_changed();
alter table sentinai_internal.tenant_weight enable always trigger weight_changed;
comment on trigger weight_changed on sentinai_internal.tenant_weight is 'Claims know the weights of tracks by heart.';

create view sentinai.weights with (security_barrier) as
select w.tenant_id, w.weight, w.changed_at, w.changed_by
from sentinai_internal.tenant_weight w
where sentinai.may_see_limit(w.tenant_id);
comment on view sentinai.weights is 'Weights that are set. Who has none has that of "*", or 1.';
comment on column sentinai.weights.tenant_id is 'Tenant; "*" for all that have no weight of their own.';
comment on column sentinai.weights.weight is 'Turns in a round of turns.';
comment on column sentinai.weights.changed_at is 'When it was set.';
comment on column sentinai.weights.changed_by is 'Role that set it.';

-- From here on for all that this file makes; see the modules 80, 82, 85 and 90.
-- Row-level security; maintenance gives it to the partitions that are there.
do $walls$
declare
    w record;
begin
    for w in select * from (values
        ('event_log', 'sentinai.may_read(tenant_id)'),
        ('event_log_root', 'sentinai.may_read(tenant_id)'),
        ('event_kept', 'sentinai.may_read(tenant_id)'),
        ('event_processing', 'sentinai.may_read(tenant_id)'),
        ('event_processing_root', 'sentinai.may_read(tenant_id)'),
        ('event_idempotency', 'sentinai.may_read(tenant_id)'),
        ('deadline', 'sentinai.may_read(tenant_id)'),
        ('event_retry', 'sentinai.may_see_letter(tenant_id)'),
        ('dead_letter', 'sentinai.may_see_letter(tenant_id)'),
        ('dead_letter_count', 'sentinai.may_see_letter(tenant_id)'),
        ('track_tenant', 'sentinai.may_see_letter(tenant_id)'),
        ('tenant_limit', 'sentinai.may_see_limit(tenant_id)'),
        ('backlog_limit', 'sentinai.may_see_limit(tenant_id)'),
        ('alert', 'sentinai.may_see_limit(tenant_id)'),
        ('tenant_weight', 'sentinai.may_see_limit(tenant_id)'),
        ('sla_threshold', 'sentinai.may_see_limit(tenant_id)'),
        ('action_log', 'sentinai.may_audit(tenant_id)'),
        ('audit_root', 'sentinai.may_audit(tenant_id)'),
        ('redaction', 'sentinai.may_audit(nullif(tenant_id, ''*''))'),
        ('tenant_grant', 'sentinai.may(''admin'', ''*'') or pg_catalog.pg_has_role(role, ''member'')')
        ) x (name, filter)
    loop
        execute format('alter table sentinai_internal.%I enable row level security', w.name);
        if w.name <> 'event_retry' then
            execute format('alter table sentinai_internal.%I force row level security', w.name);
        end if;
        execute format('create policy tenant on sentinai_internal.%I using (%s)', w.name, w.filter);
        execute format('comment on policy tenant on sentinai_internal.%I is %L', w.name,
            'Rows of tenants that the current user may see, however it reads the table.');
        -- EXPLAIN would tell by them how many rows a tenant has that one names
        if w.name !~ '^event_(log|kept|processing|idempotency)' then
            execute (select format('alter table sentinai_internal.%I %s', w.name, string_agg(format('alter column %I set statistics 0', a.attname), ', '))
                     from pg_attribute a
                     where a.attrelid = format('sentinai_internal.%I', w.name)::regclass and a.attnum > 0 and not a.attisdropped);
        end if;
    end loop;
end $walls$;

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
        with member (class, object) as materialized (
            -- first, as names of all that the catalogues have would take longer than the rest
            select d.classid, d.objid
            from pg_depend d join pg_extension e on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid
            where d.deptype = 'e' and e.extname = 'sentinai'
                  and d.classid || '/' || d.objid <> all (string_to_array(current_setting('sentinai_update.members'), ' '))),
        ours (kind, name, owner, acl) as (
            select case c.relkind when 'S' then 'sequence' else 'table' end,
                   c.oid::regclass::text, c.relowner, c.relacl
            from member m join pg_class c on c.oid = m.object
            where m.class = 'pg_class'::regclass and c.relkind in ('r', 'p', 'v', 'f', 'S')
            union all
            select 'routine', p.oid::regprocedure::text, p.proowner,
                   coalesce(p.proacl, acldefault('f', p.proowner))
            from member m join pg_proc p on p.oid = m.object
            where m.class = 'pg_proc'::regclass
            union all
            select 'type', t.oid::regtype::text, t.typowner, t.typacl
            from member m join pg_type t on t.oid = m.object
            where m.class = 'pg_type'::regclass and t.typelem = 0)
        select distinct o.kind, o.name, a.grantee
        from ours o cross join lateral aclexplode(o.acl) a
        where a.grantee <> o.owner and (o.kind, a.grantee) <> ('type', 0)
    loop
        execute format('revoke all on %s %s from %s cascade', g.kind, g.name,
            case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end);
    end loop;
end $grants$;

-- Grants to public and to pg_monitor, as in module 85, come here.
grant execute on function
    sentinai.limit_time(int),
    sentinai.time_is_over(),
    sentinai.act_as(text, text),
    sentinai.may("right" text, tenant text),
    sentinai.may_read(text),
    sentinai.may_see_letter(text),
    sentinai.may_audit(text),
    sentinai.may_see_worker_type(text),
    sentinai.may_see_limit(text)
    to public;
grant execute on function
    sentinai.stat_relays(),
    sentinai.relay_is_paused(text)
    to pg_monitor;

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
            when 'tenant_grant' then 'where role::oid in (select oid from pg_catalog.pg_roles)'
            when 'work_grant' then 'where role::oid operator(pg_catalog.=) 0 or role::oid in (select oid from pg_catalog.pg_roles)'
            when 'proof_role' then 'where role::oid in (select oid from pg_catalog.pg_roles)'
            else '' end);
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
