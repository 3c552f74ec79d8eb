-- SPDX-License-Identifier: PostgreSQL
\echo Use "CREATE EXTENSION sentinai" to load this file. \quit

-- Names below that no schema qualifies are PostgreSQL's own.
set local search_path = pg_catalog, pg_temp;

-- What does not fit another encoding would stop whoever reads it, and a key
-- would have another hash than the client of a broker gives it.
do $encoding$
declare
    encoding text;
begin
    select pg_encoding_to_char(d.encoding) into encoding
    from pg_database d where d.datname = current_database();
    if encoding <> 'UTF8' then
        raise exception using errcode = 'feature_not_supported',
            message = 'extension "sentinai" needs a database whose encoding is UTF8',
            detail = format('The encoding of database "%s" is %s.', current_database(), encoding),
            hint = 'Make one: CREATE DATABASE name TEMPLATE template0 ENCODING ''UTF8''.';
    end if;
end $encoding$;

-- A schema that was there before belongs to somebody, who may do in it what he
-- likes, also later.  CREATE EXTENSION takes it as it is, so look here.  That
-- of a superuser may come from a dump that somebody else restores.
do $owner$
declare
    stranger text;
    thing text;
begin
    select r.rolname into stranger
    from pg_namespace n join pg_roles r on r.oid = n.nspowner
    where n.nspname = 'sentinai' and r.rolname <> current_user and not r.rolsuper;
    if found then
        raise exception using errcode = 'insufficient_privilege',
            message = 'schema "sentinai" exists and belongs to somebody else',
            detail = format('Its owner is role "%s".', stranger),
            hint = 'Drop or rename the schema, or give it to the role that installs: ALTER SCHEMA sentinai OWNER TO CURRENT_USER.';
    end if;
    select x.kind || ' "' || x.name || '"', r.rolname into thing, stranger
    from (select 'relation' as kind, c.relname::text as name, c.relowner as owner, c.relnamespace as schema from pg_class c
          union all select 'function', p.proname, p.proowner, p.pronamespace from pg_proc p
          union all select 'type', t.typname, t.typowner, t.typnamespace from pg_type t
          union all select 'operator', o.oprname, o.oprowner, o.oprnamespace from pg_operator o) x
         join pg_roles r on r.oid = x.owner
    where x.schema = 'sentinai'::regnamespace and r.rolname <> current_user and not r.rolsuper
    order by 1 limit 1;
    if found then
        raise exception using errcode = 'insufficient_privilege',
            message = 'schema "sentinai" holds an object that belongs to somebody else',
            detail = format('The %s belongs to role "%s".', thing, stranger),
            hint = 'Drop what is in the schema.';
    end if;
    -- That of the tables is always ours alone: made here, and a member.
    if exists (select from pg_namespace n where n.nspname = 'sentinai_internal') then
        raise exception using errcode = 'duplicate_schema',
            message = 'schema "sentinai_internal" exists already',
            detail = 'The extension makes it for its tables, and owns it.',
            hint = 'Drop or rename the schema.';
    end if;
end $owner$;

-- USAGE on a schema is enough to lock its tables and to depend on their row
-- types.  So nobody but the owner has it on the one that has the tables;
-- "sentinai" has what callers name.
create schema sentinai_internal;
comment on schema sentinai_internal is 'Tables of the extension, for its owner only. What is readable of them is in schema sentinai.';
-- Types of the API.

create type sentinai.event as (
    event_id       uuid,
    event_type     text,
    tenant_id      text,
    aggregate_type text,
    aggregate_id   text,
    schema_version int,
    payload        jsonb,
    metadata       jsonb,
    correlation_id text,
    causation_id   uuid,
    occurred_at    timestamptz,
    deliver_at     timestamptz
);
comment on type sentinai.event is 'An event as get_events_by_aggregate() and get_events_by_tenant() return it; the columns are those of event_log.';
-- The log and what is partitioned like it.  All of it is written by C through
-- the table access method; partitions are made by make_partitions().  Keys
-- and indexes belong to the partitions, where it puts them: parents with
-- indexes would make them once more at ATTACH when a dump is restored.

-- Columns of a fixed size come first, and those that are mostly null last: a row
-- without them is stored without a bitmap of nulls (src/store/row.c).
create table sentinai_internal.event_log (
    event_id       uuid not null,
    txid           bigint not null,
    occurred_at    timestamptz not null,
    partition_hash int not null,
    schema_version int not null,
    run            smallint not null,
    event_type     text collate "C" not null,
    tenant_id      text collate "C" not null,
    aggregate_type text collate "C" not null,
    aggregate_id   text collate "C",
    payload        jsonb not null,
    metadata       jsonb not null,
    correlation_id text collate "C",
    causation_id   uuid,
    deliver_at     timestamptz,
    run_keys       smallint[]
) partition by range (event_id);
alter table sentinai_internal.event_log alter column run_keys set storage main;

comment on table sentinai_internal.event_log is 'Every event that was published, append-only, partitioned by time (the event id is a UUIDv7). Read it through get_events_by_aggregate() and get_events_by_tenant().';
comment on column sentinai_internal.event_log.event_id is 'UUIDv7 from a clock that never goes back in the whole cluster.';
comment on column sentinai_internal.event_log.txid is 'Logical number of the top-level transaction that published the event.';
comment on column sentinai_internal.event_log.occurred_at is 'Time of the publish call by the event clock: the one in the id.';
comment on column sentinai_internal.event_log.partition_hash is 'murmur2 of the partition key, as Kafka''s Java client computes it.';
comment on column sentinai_internal.event_log.schema_version is 'Version of the event type: what the publisher named, or the newest registered one; 1 for types that are not registered.';
comment on column sentinai_internal.event_log.run is 'Place in a run: up to 512 events of one tenant that one call published, with consecutive ids. 0: not in one; 1: the first, which stands for all of them in the indexes on txid and tenant_id; -1: another. In a long run (see sentinai.long_run) 2 and -2: these are not in the index on partition_hash either. 3: not in one, the only event of its tenant among others of one call; it is in one index on tenant and key.';
comment on column sentinai_internal.event_log.run_keys is 'In the first event of a long run: the upper 16 bits of partition_hash of each of its events, in their order.';
comment on column sentinai_internal.event_log.tenant_id is 'Tenant the event belongs to.';
comment on column sentinai_internal.event_log.aggregate_type is 'Kind of the aggregate, "exception" by default.';
comment on column sentinai_internal.event_log.aggregate_id is 'Aggregate whose events keep their order; null for an event of the tenant itself.';
comment on column sentinai_internal.event_log.event_type is 'What happened.';
comment on column sentinai_internal.event_log.correlation_id is 'Identifier shared by all events of one flow. The table has null where it is the aggregate id, which the view shows.';
comment on column sentinai_internal.event_log.causation_id is 'Event that caused this one.';
comment on column sentinai_internal.event_log.deliver_at is 'Earliest time of delivery; null means at once.';
comment on column sentinai_internal.event_log.payload is 'The event''s data, a JSON object.';
comment on column sentinai_internal.event_log.metadata is 'Data about the event (trace context, user), a JSON object.';

create table sentinai_internal.event_kept (like sentinai_internal.event_log including storage);
alter table sentinai_internal.event_kept add primary key (event_id);
create index event_kept_deliver_at_idx on sentinai_internal.event_kept (deliver_at) where deliver_at is not null;

comment on table sentinai_internal.event_kept is 'Copies of events that somebody still waits for when retention drops their partition of event_log: those that are not due yet, and those that wait for a retry or behind one. Maintenance writes and removes them.';
comment on column sentinai_internal.event_kept.event_id is 'The event.';
comment on column sentinai_internal.event_kept.txid is 'As in event_log.';
comment on column sentinai_internal.event_kept.occurred_at is 'As in event_log.';
comment on column sentinai_internal.event_kept.partition_hash is 'As in event_log.';
comment on column sentinai_internal.event_kept.schema_version is 'As in event_log.';
comment on column sentinai_internal.event_kept.run is 'Always 0: a copy stands for itself.';
comment on column sentinai_internal.event_kept.run_keys is 'Always null.';
comment on column sentinai_internal.event_kept.tenant_id is 'As in event_log.';
comment on column sentinai_internal.event_kept.aggregate_type is 'As in event_log.';
comment on column sentinai_internal.event_kept.aggregate_id is 'As in event_log.';
comment on column sentinai_internal.event_kept.event_type is 'As in event_log.';
comment on column sentinai_internal.event_kept.correlation_id is 'As in event_log.';
comment on column sentinai_internal.event_kept.causation_id is 'As in event_log.';
comment on column sentinai_internal.event_kept.deliver_at is 'As in event_log.';
comment on column sentinai_internal.event_kept.payload is 'As in event_log.';
comment on column sentinai_internal.event_kept.metadata is 'As in event_log.';

create table sentinai_internal.event_processing (
    event_id     uuid not null,
    worker_type  text collate "C" not null,
    tenant_id    text collate "C",
    aggregate_id text collate "C",
    status       text collate "C" not null,
    attempt      int not null,
    worker_id    text collate "C",
    processed_at timestamptz not null
) partition by range (event_id);

comment on table sentinai_internal.event_processing is 'Ledger of what each worker type has finished (or, for handlers fed by Kafka, has begun): one row per event and worker type, inserted in bulk at completion.';
comment on column sentinai_internal.event_processing.event_id is 'The event.';
comment on column sentinai_internal.event_processing.worker_type is 'Name of the subscription, or of the handler fed by Kafka.';
comment on column sentinai_internal.event_processing.tenant_id is 'Tenant of the event.';
comment on column sentinai_internal.event_processing.aggregate_id is 'Aggregate of the event.';
comment on column sentinai_internal.event_processing.status is '"completed", or "processing" between mark_as_processing() and mark_as_completed().';
comment on column sentinai_internal.event_processing.attempt is 'Number of the attempt that finished the event, from 1.';
comment on column sentinai_internal.event_processing.worker_id is 'Agent that finished the event, as it named itself.';
comment on column sentinai_internal.event_processing.processed_at is 'Time of completion (of mark_as_processing() while the status is "processing").';

create table sentinai_internal.event_idempotency (
    event_id        uuid not null,
    body_hash       bigint not null,
    tenant_id       text collate "C" not null,
    idempotency_key text collate "C" not null
) partition by range (event_id);

comment on table sentinai_internal.event_idempotency is 'Idempotency keys of published events, looked up within sentinai.idempotency_window.';
comment on column sentinai_internal.event_idempotency.event_id is 'First event published under the key.';
comment on column sentinai_internal.event_idempotency.body_hash is 'Hash of what was published, to tell a repeated call from a wrong one.';
comment on column sentinai_internal.event_idempotency.tenant_id is 'Tenant the key belongs to.';
comment on column sentinai_internal.event_idempotency.idempotency_key is 'The caller''s key.';

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
-- What the sequencer and the queue functions keep.  slice is partitioned by
-- time and dropped with the log.  round and lane_state are journals of which
-- only the newest row counts: each has two halves, one of which takes the new
-- rows while the other is carried over and truncated.  The views of both are
-- for people.

create table sentinai_internal.node (
    node_no           int primary key,
    system_identifier bigint not null,
    database_oid      oid not null,
    lanes             int not null,
    txid_offset       bigint not null,
    activated_at      timestamptz not null default clock_timestamp(),
    recovery          bigint not null default 0
);

comment on table sentinai_internal.node is 'Where this database has lived: a row for each server and database it was first used in, and for each recovery from a backup. The newest row is in force.';
comment on column sentinai_internal.node.node_no is 'Number of the row.';
comment on column sentinai_internal.node.system_identifier is 'Identifier of the database cluster, as in pg_control_system().';
comment on column sentinai_internal.node.database_oid is 'OID of the database.';
comment on column sentinai_internal.node.lanes is 'Number of lanes, fixed when the extension was first used.';
comment on column sentinai_internal.node.txid_offset is 'Added to this cluster''s transaction numbers to make logical ones, which only rise.';
comment on column sentinai_internal.node.activated_at is 'Time of first use.';
comment on column sentinai_internal.node.recovery is 'Number of the recovery from a backup that the cluster had come out of, 0 if of none; see recovery_id().';

create table sentinai_internal.stream (
    stream_id   int generated by default as identity (start 1) primary key,
    event_types text[] collate "C",
    first_round bigint
) with (autovacuum_analyze_threshold = 1);

insert into sentinai_internal.stream (stream_id, event_types, first_round) values (0, null, 0);

comment on table sentinai_internal.stream is 'Filters: subscriptions with the same set of event types share a stream of slices. Stream 0 holds every event.';
comment on column sentinai_internal.stream.stream_id is 'Number of the stream.';
comment on column sentinai_internal.stream.event_types is 'Sorted event types of the filter; null means all.';
comment on column sentinai_internal.stream.first_round is 'First round that filled the stream, set by the sequencer; earlier events are read from stream 0.';

create table sentinai_internal.subscription (
    sub_id       int generated always as identity primary key,
    worker_type  text collate "C" not null unique,
    stream_id    int not null,
    start_pos    bigint not null,
    start_time   timestamptz,
    start_xmax   bigint,
    start_xip    bigint[],
    max_attempts int not null,
    backoff      interval[] not null,
    on_dead      text collate "C" not null,
    ordered      boolean not null,
    is_relay     boolean not null default false,
    created_at   timestamptz not null default clock_timestamp(),
    old_streams  int[],
    old_until    bigint[]
) with (autovacuum_analyze_threshold = 1);

comment on table sentinai_internal.subscription is 'Named consumers, made by subscribe().';
comment on column sentinai_internal.subscription.sub_id is 'Number of the subscription.';
comment on column sentinai_internal.subscription.worker_type is 'Its name.';
comment on column sentinai_internal.subscription.stream_id is 'Stream it reads.';
comment on column sentinai_internal.subscription.start_pos is 'Position of every lane that was never claimed.';
comment on column sentinai_internal.subscription.start_time is 'Events that occurred before this time are skipped.';
comment on column sentinai_internal.subscription.start_xmax is 'With start_xip, the snapshot of subscribe(''latest''): events visible to it are skipped.';
comment on column sentinai_internal.subscription.start_xip is 'Logical numbers of the transactions that ran when subscribe() was called.';
comment on column sentinai_internal.subscription.max_attempts is 'Attempts before an event is given up.';
comment on column sentinai_internal.subscription.backoff is 'Waits before the second and later attempts; the last one repeats.';
comment on column sentinai_internal.subscription.on_dead is '"skip": the key goes on after a dead letter; "block": it stands until the dead letter is dealt with.';
comment on column sentinai_internal.subscription.ordered is 'Whether a failing event holds back the later events of its key.';
comment on column sentinai_internal.subscription.is_relay is 'Whether the relay reads it instead of claim().';
comment on column sentinai_internal.subscription.created_at is 'Time of subscribe().';
comment on column sentinai_internal.subscription.old_streams is 'Streams it read under earlier filters, for rounds that it has not passed yet.';
comment on column sentinai_internal.subscription.old_until is 'For each of old_streams the first round that it no longer read there.';

create table sentinai_internal.retry_policy (
    worker_type  text collate "C" not null,
    event_type   text collate "C" not null,
    max_attempts int not null,
    backoff      interval[] not null,
    primary key (worker_type, event_type)
);

comment on table sentinai_internal.retry_policy is 'Retry policies of single event types, which go before the subscription''s own. Set by set_retry_policy().';
comment on column sentinai_internal.retry_policy.worker_type is 'The subscription.';
comment on column sentinai_internal.retry_policy.event_type is 'The event type.';
comment on column sentinai_internal.retry_policy.max_attempts is 'Attempts before an event is given up.';
comment on column sentinai_internal.retry_policy.backoff is 'Waits before the second and later attempts; the last one repeats.';

create table sentinai_internal.slice (
    slice_no      bigint not null,
    events_before bigint not null,
    stream_id     int not null,
    lane          int not null,
    event_ids     uuid[] not null,
    row_tids      bytea not null
) partition by range (slice_no);

alter table sentinai_internal.slice alter column event_ids set storage plain;
alter table sentinai_internal.slice alter column row_tids set storage plain;

comment on table sentinai_internal.slice is 'The queue: the events of one round for one stream and lane, in order.';
comment on column sentinai_internal.slice.slice_no is 'Round number and place within the round.';
comment on column sentinai_internal.slice.events_before is 'Events of this stream and lane in all earlier slices.';
comment on column sentinai_internal.slice.stream_id is 'The stream.';
comment on column sentinai_internal.slice.lane is 'The lane.';
comment on column sentinai_internal.slice.event_ids is 'Events in delivery order.';
comment on column sentinai_internal.slice.row_tids is 'Where each event''s row was in its partition, 6 bytes an event: a hint that saves the index, of no harm when the row has moved.';

create table sentinai_internal.round_0 (
    round_no  bigint not null,
    snap_xmax bigint not null,
    snap_xip  bigint[] not null,
    due_until timestamptz not null,
    events    int not null,
    taken_at  timestamptz not null
);

comment on table sentinai_internal.round_0 is 'One half of the journal; one is filled while the other is emptied.';
comment on column sentinai_internal.round_0.round_no is 'Number of the round: strictly rising milliseconds since 2025.';
comment on column sentinai_internal.round_0.snap_xmax is 'First transaction (logical number) the round''s snapshot did not see.';
comment on column sentinai_internal.round_0.snap_xip is 'Transactions below snap_xmax that were running.';
comment on column sentinai_internal.round_0.due_until is 'Delayed events up to this time have entered.';
comment on column sentinai_internal.round_0.events is 'Events in the round.';
comment on column sentinai_internal.round_0.taken_at is 'Time of the round.';

create table sentinai_internal.round_1 (like sentinai_internal.round_0 including comments);
create unique index round_0_idx on sentinai_internal.round_0 (round_no);
create unique index round_1_idx on sentinai_internal.round_1 (round_no);
create view sentinai_internal.round as
    select * from sentinai_internal.round_0 union all select * from sentinai_internal.round_1;
comment on table sentinai_internal.round_1 is 'The other half of the journal.';
comment on view sentinai_internal.round is 'Journal of the sequencer: what the last round had seen.';

create table sentinai_internal.lane_state_0 (
    sub_id      int not null,
    lane        int not null,
    ver         bigint not null,
    pos         bigint not null,
    end_pos     bigint not null,
    batch       uuid,
    done_batch  uuid,
    lease_until timestamptz,
    claimed_at  timestamptz,
    lost_pos    bigint not null,
    lost        int not null,
    open        int not null,
    parked      bigint not null,
    completed   bigint not null,
    failed      bigint not null,
    dead        bigint not null,
    worker_id   text collate "C",
    resolved    bytea,
    retries     bigint[]
);

comment on table sentinai_internal.lane_state_0 is 'One half of the journal; one is filled while the other is emptied.';
comment on column sentinai_internal.lane_state_0.sub_id is 'The subscription.';
comment on column sentinai_internal.lane_state_0.lane is 'The lane.';
comment on column sentinai_internal.lane_state_0.ver is 'Version of the lane''s state.';
comment on column sentinai_internal.lane_state_0.pos is 'Every event before this position is resolved.';
comment on column sentinai_internal.lane_state_0.end_pos is 'Position after the last event handed out so far; equal to pos when nothing is open or resolved ahead.';
comment on column sentinai_internal.lane_state_0.batch is 'Batch that holds the lane; null when the lane is free.';
comment on column sentinai_internal.lane_state_0.done_batch is 'Batch that was last resolved here.';
comment on column sentinai_internal.lane_state_0.lease_until is 'Deadline of the batch''s lease.';
comment on column sentinai_internal.lane_state_0.claimed_at is 'Time of the claim.';
comment on column sentinai_internal.lane_state_0.lost_pos is 'Events before this position were in a batch that was lost and are handed out one by one.';
comment on column sentinai_internal.lane_state_0.lost is 'Attempts that lost leases have cost the events before lost_pos.';
comment on column sentinai_internal.lane_state_0.open is 'Events of the batch still open here.';
comment on column sentinai_internal.lane_state_0.parked is 'Rows of event_retry for this lane.';
comment on column sentinai_internal.lane_state_0.completed is 'Events completed so far.';
comment on column sentinai_internal.lane_state_0.failed is 'Failed attempts so far, lost leases included.';
comment on column sentinai_internal.lane_state_0.dead is 'Dead letters that nobody has dealt with.';
comment on column sentinai_internal.lane_state_0.worker_id is 'Agent that holds the batch, as it named itself.';
comment on column sentinai_internal.lane_state_0.resolved is 'Bit n is set when the n-th event from pos is resolved; null when none is.';
comment on column sentinai_internal.lane_state_0.retries is 'Positions of the event_retry rows in the batch that are still open.';

create table sentinai_internal.lane_state_1 (like sentinai_internal.lane_state_0 including comments);
create unique index lane_state_0_idx on sentinai_internal.lane_state_0 (sub_id, lane, ver);
create unique index lane_state_1_idx on sentinai_internal.lane_state_1 (sub_id, lane, ver);
create view sentinai_internal.lane_state as
    select * from sentinai_internal.lane_state_0 union all select * from sentinai_internal.lane_state_1;
comment on table sentinai_internal.lane_state_1 is 'The other half of the journal.';
comment on view sentinai_internal.lane_state is 'Journal of the lanes: the newest version of a subscription''s lane is its state.';

do $views$
declare
    j text;
    c record;
begin
    foreach j in array '{round,lane_state}'::text[]
    loop
        for c in select a.attname, pg_catalog.col_description(a.attrelid, a.attnum) as what
                 from pg_catalog.pg_attribute a
                 where a.attrelid operator(pg_catalog.=) pg_catalog.format('sentinai_internal.%s_0', j)::pg_catalog.regclass
                       and a.attnum operator(pg_catalog.>) 0
        loop
            execute pg_catalog.format('comment on column sentinai_internal.%I.%I is %L', j, c.attname, c.what);
        end loop;
    end loop;
end $views$;

create table sentinai_internal.event_retry (
    sub_id          int not null,
    lane            int not null,
    pos             bigint not null,
    event_id        uuid not null,
    partition_hash  int not null,
    attempt         int not null,
    solo            boolean not null,
    dead            boolean not null,
    due_at          timestamptz,
    not_before      timestamptz,
    first_failed_at timestamptz,
    tenant_id       text collate "C" not null,
    aggregate_id    text collate "C",
    last_error      text,
    history         jsonb,
    topic           text collate "C",
    primary key (sub_id, lane, pos)
);
create index event_retry_key_idx on sentinai_internal.event_retry (sub_id, lane, partition_hash, pos);
create index event_retry_due_idx on sentinai_internal.event_retry (sub_id, lane, due_at) where due_at is not null;
create index event_retry_next_idx on sentinai_internal.event_retry (sub_id, due_at) where due_at is not null;
create index event_retry_topic_idx on sentinai_internal.event_retry (sub_id, topic, lane, pos);

comment on table sentinai_internal.event_retry is 'Events that failed and wait for their retry, and the later events of their keys that wait behind them.';
comment on column sentinai_internal.event_retry.sub_id is 'The subscription.';
comment on column sentinai_internal.event_retry.lane is 'The lane.';
comment on column sentinai_internal.event_retry.pos is 'Position of the event in the lane: the order within its key.';
comment on column sentinai_internal.event_retry.event_id is 'The event.';
comment on column sentinai_internal.event_retry.partition_hash is 'Hash of the partition key.';
comment on column sentinai_internal.event_retry.attempt is 'Failed attempts so far; 0 for an event that only waits.';
comment on column sentinai_internal.event_retry.solo is 'Whether its lease was lost, so that it is handed out alone.';
comment on column sentinai_internal.event_retry.dead is 'Whether it is a dead letter that blocks its key.';
comment on column sentinai_internal.event_retry.due_at is 'When the head of a key may be handed out; null for those behind it and for a dead head.';
comment on column sentinai_internal.event_retry.not_before is 'End of the wait that its last failure began; null for an event that only waits behind others. It holds even when another event of the key comes first meanwhile.';
comment on column sentinai_internal.event_retry.first_failed_at is 'Time of the first failure.';
comment on column sentinai_internal.event_retry.tenant_id is 'Tenant, half of the partition key.';
comment on column sentinai_internal.event_retry.aggregate_id is 'Aggregate, half of the partition key.';
comment on column sentinai_internal.event_retry.last_error is 'What the last failure said.';
comment on column sentinai_internal.event_retry.history is 'One object per failed attempt: attempt, at, error, worker_id.';
comment on column sentinai_internal.event_retry.topic is 'Topic the relay holds the event for, since first_failed_at and for the reason in last_error; null for everything else.';

create table sentinai_internal.dead_letter (
    event_id        uuid not null,
    worker_type     text collate "C" not null,
    tenant_id       text collate "C" not null,
    aggregate_type  text collate "C" not null,
    aggregate_id    text collate "C",
    event_type      text collate "C" not null,
    schema_version  int not null,
    correlation_id  text collate "C",
    causation_id    uuid,
    occurred_at     timestamptz not null,
    attempts        int not null,
    reason          text not null,
    status          text collate "C" not null default 'pending',
    first_failed_at timestamptz,
    dead_at         timestamptz not null,
    resolved_at     timestamptz,
    resolved_by     text,
    resolution      text,
    history         jsonb not null,
    payload         jsonb not null,
    metadata        jsonb not null,
    sub_id          int,
    pos             bigint,
    primary key (event_id, worker_type)
);
create index dead_letter_tenant_idx on sentinai_internal.dead_letter (tenant_id, dead_at);
create index dead_letter_pending_idx on sentinai_internal.dead_letter (worker_type, dead_at) where status = 'pending';
create index dead_letter_settled_idx on sentinai_internal.dead_letter (resolved_at) where resolved_at is not null;

comment on table sentinai_internal.dead_letter is 'Events given up for one worker type, with a full copy of the event and the history of its attempts.';
comment on column sentinai_internal.dead_letter.event_id is 'The event.';
comment on column sentinai_internal.dead_letter.worker_type is 'Worker type that gave it up.';
comment on column sentinai_internal.dead_letter.tenant_id is 'Tenant of the event.';
comment on column sentinai_internal.dead_letter.aggregate_type is 'Kind of the aggregate.';
comment on column sentinai_internal.dead_letter.aggregate_id is 'Aggregate of the event.';
comment on column sentinai_internal.dead_letter.event_type is 'Type of the event.';
comment on column sentinai_internal.dead_letter.schema_version is 'Version of the payload''s schema.';
comment on column sentinai_internal.dead_letter.correlation_id is 'Identifier of the flow.';
comment on column sentinai_internal.dead_letter.causation_id is 'Event that caused the event.';
comment on column sentinai_internal.dead_letter.occurred_at is 'Time of the event.';
comment on column sentinai_internal.dead_letter.attempts is 'Attempts made.';
comment on column sentinai_internal.dead_letter.reason is 'What the last failure said.';
comment on column sentinai_internal.dead_letter.status is '"pending", "retrying", "succeeded" or "discarded".';
comment on column sentinai_internal.dead_letter.first_failed_at is 'Time of the first failure.';
comment on column sentinai_internal.dead_letter.dead_at is 'Time it was given up.';
comment on column sentinai_internal.dead_letter.resolved_at is 'Time of the retry''s success or of the discard.';
comment on column sentinai_internal.dead_letter.resolved_by is 'Who retried or discarded it.';
comment on column sentinai_internal.dead_letter.resolution is 'Why it was discarded.';
comment on column sentinai_internal.dead_letter.history is 'One object per failed attempt: attempt, at, error, worker_id.';
comment on column sentinai_internal.dead_letter.payload is 'Copy of the payload.';
comment on column sentinai_internal.dead_letter.metadata is 'Copy of the metadata.';
comment on column sentinai_internal.dead_letter.sub_id is 'Number of the subscription that gave it up; null for a relay.';
comment on column sentinai_internal.dead_letter.pos is 'Position of the event in that subscription, which it takes again when it is retried.';

create table sentinai_internal.relay_control (
    only_row   boolean primary key default true check (only_row),
    paused     boolean not null,
    node_no    int not null,
    recovery   bigint not null default 0,
    changed_at timestamptz not null default clock_timestamp(),
    changed_by text not null default session_user
);

comment on table sentinai_internal.relay_control is 'Whether the relay is paused: by pause_relay(), or because the database was restored elsewhere or its cluster recovered from a backup.';
comment on column sentinai_internal.relay_control.only_row is 'Always true: the table has one row at most.';
comment on column sentinai_internal.relay_control.paused is 'Whether the relay is paused.';
comment on column sentinai_internal.relay_control.node_no is 'Row of node the decision was made on; a newer one pauses the relay.';
comment on column sentinai_internal.relay_control.recovery is 'Recovery from a backup that the decision was made after; a newer one pauses the relay.';
comment on column sentinai_internal.relay_control.changed_at is 'Time of the last change.';
comment on column sentinai_internal.relay_control.changed_by is 'Who changed it last.';

-- Read by every look at the statistics; what was never analyzed counts as large.
analyze sentinai_internal.stream, sentinai_internal.subscription;
-- What may be read of the tables, under the names of the contract.  Who is
-- granted SELECT on a view reads with the rights of its owner.
--
-- To name a view is enough to lock what it names, without any right to read it
-- (PREPARE does).  Retention needs the parent of a partition to itself.  So a
-- view names a table above that parent, of which it is the only partition:
-- the parent is locked when a query is planned for running, and who may not
-- read then gets an error, which gives up the lock.  For the same reason
-- the statistics views name no partitions and no journal, but call functions.

do $views$
declare
    t name;
    cols text;
    c record;
begin
    foreach t in array array['event_log', 'event_processing']
    loop
        execute format('create table sentinai_internal.%I (like sentinai_internal.%I including storage) partition by range (event_id)',
            t || '_root', t);
        execute format('alter table sentinai_internal.%I attach partition sentinai_internal.%I for values from (minvalue) to (maxvalue)',
            t || '_root', t);
        execute format('comment on table sentinai_internal.%I is %L', t || '_root',
            'What views name of ' || t || ', which is its only partition, so that who names them locks nothing that retention needs.');
    end loop;
    -- nothing is stored for a flow that is named by the aggregate
    select string_agg(case a.attname when 'correlation_id' then 'coalesce(correlation_id, aggregate_id) as correlation_id'
                                     else quote_ident(a.attname) end, ', ' order by a.attnum) into cols
    from pg_attribute a where a.attrelid = 'sentinai_internal.event_log_root'::regclass and a.attnum > 0;
    execute format('create view sentinai.event_log as select %s from sentinai_internal.event_log_root', cols);
    execute 'create view sentinai.event_processing as select * from sentinai_internal.event_processing_root';
    execute 'create view sentinai.dead_letter as select * from sentinai_internal.dead_letter';

    -- their comments are those of the tables
    for c in select v.relname as view, v.relkind, n.nspname as schema, a.attname as col,
                    obj_description(t0.oid, 'pg_class') as of_table, col_description(t0.oid, a.attnum) as of_column
             from pg_class t0
                  join pg_class v on v.relname in (t0.relname, t0.relname || '_root')
                  join pg_namespace n on n.oid = v.relnamespace
                  join pg_attribute a on a.attrelid = t0.oid and a.attnum > 0
             where t0.relnamespace = 'sentinai_internal'::regnamespace and t0.relkind in ('r', 'p')
                   and n.nspname in ('sentinai', 'sentinai_internal') and v.oid <> t0.oid
             order by v.oid, a.attnum
    loop
        if c.relkind = 'v' then
            execute format('comment on view %I.%I is %L', c.schema, c.view, c.of_table);
        end if;
        execute format('comment on column %I.%I.%I is %L', c.schema, c.view, c.col, c.of_column);
    end loop;
end $views$;
-- Partitions of the log, and the refusal to change it.

create function sentinai.make_partitions(until timestamptz) returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_make_partitions';
comment on function sentinai.make_partitions(timestamptz) is 'Makes the missing partitions of event_log, event_processing, event_idempotency and slice from now through the given time, each for sentinai.partition_interval, and returns for how many intervals it did. Blocks no publisher. Maintenance calls it; publish() makes what it misses. Errors: 22004 null; SN422 infinite, or more than one transaction may lock (the hint says how far it can go).';

create function sentinai.index_partitions(max_partitions int default 1) returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_index_partitions';
comment on function sentinai.index_partitions(int) is 'After an update from 0.1.0: makes the index that get_trace() reads by in partitions of event_log that have none, at most so many, the newest first, and returns how many still lack it. Only in those whose time is over: nobody publishes into them any more, so nobody waits. Reads such a partition whole. Until then get_trace() does that each time. Errors: 22004 null; SN422 max_partitions below 1; 25006 read-only transaction or standby.';

create function sentinai.refuse_change() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_refuse_change';
comment on function sentinai.refuse_change() is 'Trigger of event_log, each of its partitions and event_kept: raises SN409 on UPDATE, DELETE and TRUNCATE, whoever tries.';

create trigger refuse_change before update or delete or truncate on sentinai_internal.event_log
    for each statement execute function sentinai.refuse_change();
alter table sentinai_internal.event_log enable always trigger refuse_change;
comment on trigger refuse_change on sentinai_internal.event_log is 'Keeps the log append-only, in replication as well.';

create trigger refuse_change before update or delete or truncate on sentinai_internal.event_log_root
    for each statement execute function sentinai.refuse_change('event_log');
alter table sentinai_internal.event_log_root enable always trigger refuse_change;
comment on trigger refuse_change on sentinai_internal.event_log_root is 'The same for who writes to the view, which is an update of this table.';

-- Logical replication fires no triggers of statements.  Each partition gets
-- its own of these when it is attached.
create trigger refuse_change_of_row before update or delete on sentinai_internal.event_log_root
    for each row execute function sentinai.refuse_change();
alter table sentinai_internal.event_log_root enable always trigger refuse_change_of_row;
comment on trigger refuse_change_of_row on sentinai_internal.event_log_root is 'The same for each row, whatever changes it.';

create trigger refuse_change before update or delete or truncate on sentinai_internal.event_kept
    for each statement execute function sentinai.refuse_change();
alter table sentinai_internal.event_kept enable always trigger refuse_change;
comment on trigger refuse_change on sentinai_internal.event_kept is 'What the log has for some is as append-only as the log; maintenance removes it.';

create trigger refuse_change_of_row before update or delete on sentinai_internal.event_kept
    for each row execute function sentinai.refuse_change();
alter table sentinai_internal.event_kept enable always trigger refuse_change_of_row;
comment on trigger refuse_change_of_row on sentinai_internal.event_kept is 'The same for each row, whatever changes it.';
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
-- Publishing, and the keys that decide about order.

create function sentinai.publish(
        event_type text, tenant_id text, aggregate_id text, payload jsonb,
        aggregate_type text default 'exception', metadata jsonb default '{}',
        correlation_id text default null, causation_id uuid default null,
        idempotency_key text default null, deliver_at timestamptz default null,
        schema_version int default null)
    returns uuid
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_publish';
comment on function sentinai.publish(text, text, text, jsonb, text, jsonb, text, uuid, text, timestamptz, int) is 'Publishes an event in the caller''s transaction and returns its id, a UUIDv7. event_type and aggregate_type: a letter, then letters, digits and "_.:-/", at most 128. tenant_id: at most 256 bytes, no ":". aggregate_id: at most 1024 bytes; null for an event of the tenant itself. payload: a JSON object of at most sentinai.max_payload, stored and as text. metadata: a JSON object of at most 64 kB likewise. Neither may be nested more than 500 levels deep. correlation_id: at most 512 bytes; by default that of the event which work_on() named, or the aggregate id. causation_id: the event that caused this one; by default the one that work_on() named. A traceparent in the metadata goes on to the broker; one that W3C does not call valid starts a new trace. idempotency_key: at most 512 bytes; a repeated call within sentinai.idempotency_window returns the first id and publishes nothing. deliver_at: earliest time of delivery, at most ten years ahead. schema_version: from 1; null for the newest registered version that is not deprecated, or 1 for a type that is not registered. Errors: 22004 null where there must be a value; SN403 tenant not allowed; SN409 idempotency key taken by another event; SN413 payload or metadata too large; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.publish_batch(
        event_types text[], tenant_ids text[], aggregate_ids text[],
        payloads jsonb[], aggregate_type text default 'exception',
        metadata jsonb default '{}', correlation_ids text[] default null)
    returns uuid[]
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_publish_batch';
comment on function sentinai.publish_batch(text[], text[], text[], jsonb[], text, jsonb, text[]) is 'Publishes many events at once, each tenant''s in the order of the arrays, and returns their ids in that order. The arrays have one dimension, equal lengths and at most sentinai.max_batch elements; aggregate_type and metadata hold for all. Elements are as the arguments of publish(); if one is refused, all are, and the message tells which (from 1). Errors: as publish(); SN413 too many events; SN422 arrays that do not match.';

create function sentinai.work_on(event_id uuid) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_work_on';
comment on function sentinai.work_on(uuid) is 'Says that the rest of the transaction works on an event. What it publishes from then on has that event for its cause, its correlation id, and goes on with its W3C trace, unless a call says otherwise. Holds until the end of the transaction, or until its savepoint is rolled back. It sets sentinai.work_on, as SET LOCAL would. Errors: 22004 null; SN404 unknown event, or of a tenant that the caller may not publish for.';

create function sentinai.get_partition_key(tenant_id text, aggregate_id text) returns text
    language c immutable parallel safe
    as 'MODULE_PATHNAME', 'sentinai_get_partition_key';
comment on function sentinai.get_partition_key(text, text) is 'Key whose events keep their order, here and in Kafka: "tenant:aggregate", or the tenant alone when aggregate_id is null. Null when tenant_id is null.';

create function sentinai.partition_hash(key text) returns int
    language c immutable strict parallel safe
    as 'MODULE_PATHNAME', 'sentinai_partition_hash';
comment on function sentinai.partition_hash(text) is 'Kafka''s murmur2 of a key''s UTF-8 bytes, signed, as the Java client computes it.';

create function sentinai.partition_for(tenant_id text, aggregate_id text, partitions int) returns int
    language c immutable parallel safe
    as 'MODULE_PATHNAME', 'sentinai_partition_for';
comment on function sentinai.partition_for(text, text, int) is 'Partition, from 0, that Kafka''s default partitioner chooses for the aggregate in a topic with that many partitions. Not for the record format "debezium", whose key is the aggregate id alone: docs/kafka.md tells how. Null when tenant_id or partitions is null. Errors: SN422 partitions less than 1.';
-- Publishing by INSERT or COPY, for ORMs and code written for an outbox table.
-- A foreign table and not a view: triggers INSTEAD OF are silent where
-- triggers are off, as with session_replication_role = replica.

create function sentinai.outbox_handler() returns fdw_handler
    language c volatile
    as 'MODULE_PATHNAME', 'sentinai_outbox_handler';
comment on function sentinai.outbox_handler() is 'For PostgreSQL, which calls it for the foreign table outbox. That checks an inserted row as publish() does its arguments, with the same errors, and publishes the rows of a statement at its end.';

create function sentinai.outbox_given(ids uuid[], out given uuid, out event_id uuid) returns setof record
    language sql stable rows 1
    set search_path = pg_catalog, pg_temp
as $$
    select i.id, k.event_id
      from (select distinct u.id from pg_catalog.unnest(ids) u (id)) i
      join sentinai_internal.event_idempotency k
        on k.idempotency_key = E'\x01' || i.id::text and k.idempotency_key < E'\x02'
$$;
comment on function sentinai.outbox_given(uuid[]) is 'For outbox, when it is read by id: the events that were inserted under these ids within sentinai.idempotency_window.';

create foreign data wrapper sentinai_outbox handler sentinai.outbox_handler;
comment on foreign data wrapper sentinai_outbox is 'What stands behind sentinai.outbox.';
create server sentinai_outbox foreign data wrapper sentinai_outbox;
comment on server sentinai_outbox is 'What stands behind sentinai.outbox.';

create foreign table sentinai.outbox (
    id            uuid,
    tenant_id     text collate "C",
    aggregatetype text collate "C" default 'exception',
    aggregateid   text collate "C",
    type          text collate "C",
    payload       jsonb,
    metadata      jsonb
) server sentinai_outbox;
comment on foreign table sentinai.outbox is 'Publishes every row inserted or copied into it, as publish() does, and shows the log under the column names of Debezium''s outbox to those who may read event_log. UPDATE and DELETE are refused with SN409. The table is foreign so that it works in every mode of the server.';
comment on column sentinai.outbox.id is 'The event''s id, always taken by SentinAI (RETURNING id tells it). An id given on insert is kept in the metadata as "outbox_id"; within sentinai.idempotency_window the event is found by it, and giving it twice for a tenant is 23505, or nothing with ON CONFLICT DO NOTHING.';
comment on column sentinai.outbox.tenant_id is 'Tenant the event belongs to.';
comment on column sentinai.outbox.aggregatetype is 'Kind of the aggregate, "exception" when left out.';
comment on column sentinai.outbox.aggregateid is 'Aggregate whose events keep their order; null for an event of the tenant itself.';
comment on column sentinai.outbox.type is 'Event type.';
comment on column sentinai.outbox.payload is 'The event''s data, a JSON object.';
comment on column sentinai.outbox.metadata is 'Data about the event, a JSON object; empty when left out.';
-- Subscriptions and their retry policies.

create function sentinai.subscribe(
        worker_type text, event_types text[] default null,
        start_from text default 'latest', max_attempts int default 5,
        backoff interval[] default '{1s,2s,4s,8s}', on_dead text default 'skip',
        ordered boolean default true)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_subscribe';
comment on function sentinai.subscribe(text, text[], text, int, interval[], text, boolean) is 'Makes a subscription, or changes one. worker_type: 1 to 100 letters, digits and "_.:-". event_types: the types it wants, at most 1,000, each a name that publish() takes or a control events; null for all. start_from: "latest" (events of transactions that commit after the call, and of the caller''s own), "earliest" or a timestamp (events that occurred since). max_attempts: 1 to 1,000. backoff: waits before the second and later attempts, at most 100, each 0 to 366 days; the last one repeats. on_dead: "skip" lets a key go on after a dead letter, "block" holds it until the letter is dealt with. ordered: whether a failing event holds back the later events of its key (if not, "block" has no effect). Called again it changes all of that but start_from, which is ignored, with a notice if it asks for another start than the subscription had, and keeps the position. What is left out gets its default again; a notice says what has changed, and alter_subscription() changes only what it is given. In both a changed filter holds for events sequenced after the change, what was sequenced before is delivered by the filter of its time. A changed "ordered" or "on_dead" holds for what waits as well: not ordered, everything is handed out; ordered, the first of each key; without "block", blocked keys go on, and their letters stay pending. Attempts and waits hold from the next failure on. Errors: 22004 null where there must be a value; SN409 filter changed too often; SN422 invalid argument; 22008 interval out of range; 25006 read-only transaction or standby.';

create function sentinai.alter_subscription(
        worker_type text, event_types text[] default null,
        max_attempts int default null, backoff interval[] default null,
        on_dead text default null, ordered boolean default null,
        all_event_types boolean default false)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_alter_subscription';
comment on function sentinai.alter_subscription(text, text[], int, interval[], text, boolean, boolean) is 'Changes only what it is given of a subscription; null leaves a setting as it is. all_event_types: true takes its filter away, which event_types cannot say. The settings, and when a change takes effect, are as in subscribe(). Errors: 22004 null worker_type or all_event_types; SN404 unknown worker type; SN409 filter changed too often; SN422 invalid argument, or event_types together with all_event_types; 22008 interval out of range; 25006 read-only transaction or standby.';

create function sentinai.unsubscribe(worker_type text) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_unsubscribe';
comment on function sentinai.unsubscribe(text) is 'Ends a subscription: its position, open batches, waiting retries and retry policies are gone; its ledger and dead letters stay. A dead letter that was being tried again is pending again; when the subscription is made anew, pending ones count as its own. Waits for transactions that work on its batches. Errors: 22004 null; SN404 unknown worker type; 25006 read-only transaction or standby.';

create function sentinai.set_retry_policy(
        worker_type text, event_type text,
        max_attempts int default null, backoff interval[] default null)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_set_retry_policy';
comment on function sentinai.set_retry_policy(text, text, int, interval[]) is 'Sets the retry policy of one event type of a subscription, which goes before the subscription''s own; with max_attempts and backoff null it is removed. Both are as in subscribe(). Errors: 22004 null where there must be a value; SN404 unknown worker type; SN422 invalid argument; 22008 interval out of range; 25006 read-only transaction or standby.';
-- What agents do.

create function sentinai.claim(
        worker_type text, max_events int default 100,
        lease interval default '1 minute', worker_id text default null)
    returns table (
        token text, event_id uuid, event_type text, tenant_id text,
        aggregate_type text, aggregate_id text, schema_version int,
        payload jsonb, metadata jsonb, correlation_id text, causation_id uuid,
        occurred_at timestamptz, attempt int)
    language c volatile parallel unsafe rows 100
    as 'MODULE_PATHNAME', 'sentinai_claim';
comment on function sentinai.claim(text, int, interval, text) is 'Takes the next events of a subscription: one batch with one token, the events of a key in their order, none of a key that somebody else works on or that waits for a retry. Returns no row when there is nothing to do. max_events: 1 to 10,000. lease: time to finish the batch, more than zero and at most a day; afterwards the events go to others, one attempt used up. worker_id: name of the agent for the views, at most 256 bytes. attempt counts from 1. Errors: 22004 null where there must be a value; SN404 unknown worker type; SN422 invalid argument; 22008 interval out of range; 25006 read-only transaction or standby.';

create function sentinai.complete(token text, event_ids uuid[] default null) returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_complete';
comment on function sentinai.complete(text, uuid[]) is 'Marks events of a batch as done, all that are open when event_ids is null, and returns how many it was. Takes effect with the caller''s transaction. Events of the batch that are completed already are not counted. Errors: 22004 null token or element; SN404 unknown token, or event not in the batch; SN409 stale token, or event that failed or waits behind one that did; SN422 array with more than one dimension; 25006 read-only transaction or standby. With an error nothing is done.';

create function sentinai.fail(
        token text, event_id uuid, error text,
        retryable boolean default true, retry_in interval default null)
    returns text
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_fail';
comment on function sentinai.fail(text, uuid, text, boolean, interval) is 'Notes that an attempt at an event of a batch failed. Returns "retrying": the event comes again after retry_in (0 to 366 days), by default after the policy''s wait, and later events of its key leave the batch and wait behind it. Or "dead": not retryable or out of attempts, it becomes a dead letter. Publishes RetryScheduled or DeadLettered. error: kept up to 8 kB. Errors: 22004 null where there must be a value; SN404 unknown token, or event not in the batch; SN409 stale token, or event no longer open; SN422 invalid retry_in; 22008 interval out of range; 25006 read-only transaction or standby.';

create function sentinai.extend(token text, lease interval) returns timestamptz
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_extend';
comment on function sentinai.extend(text, interval) is 'Gives a batch a new lease from now on, more than zero and at most a day, and returns its deadline. Errors: 22004 null; SN404 unknown token; SN409 stale token, or batch resolved; SN422 invalid lease; 22008 interval out of range; 25006 read-only transaction or standby.';

create function sentinai.release(token text) returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_release';
comment on function sentinai.release(text) is 'Gives back what is open of a batch, without counting an attempt, and returns how many events it was. Errors: 22004 null; SN404 unknown token; SN409 stale token; 25006 read-only transaction or standby.';

create procedure sentinai.wait_for_work(worker_type text, timeout interval, inout ready boolean)
    language c
    as 'MODULE_PATHNAME', 'sentinai_wait_for_work';
comment on procedure sentinai.wait_for_work(text, interval, boolean) is 'Waits until the subscription has work, at most for the timeout (not negative, at most a day; 0 only looks), and sets ready: whether a claim is worthwhile. CALL it outside a transaction: it then holds no snapshot while it waits. Errors: 22004 null worker_type or timeout; SN404 unknown worker type; SN422 invalid timeout; 22008 interval out of range; 25006 standby.';

create function sentinai.revoke_lease(
        worker_type text, worker_id text, actor text default session_user)
    returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_revoke_worker';
comment on function sentinai.revoke_lease(text, text, text) is 'For operators: ends the leases of an agent now, and returns how many events that gives back. They are handed out again at once, no attempt counted. The tokens are stale (SN409). worker_id: the agent, as stat_agent names it. actor: who does it, 1 to 256 bytes; the server''s log keeps it. Waits for a transaction that works on one of the batches. Returns 0 when the agent holds nothing. Errors: 22004 null; SN404 unknown worker type; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.revoke_lease(
        worker_type text, batch uuid, actor text default session_user)
    returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_revoke_batch';
comment on function sentinai.revoke_lease(text, uuid, text) is 'The same for one batch, by its number in stat_agent. Pass it as a uuid: a text is the name of an agent.';
-- What the sequencer process does besides rounds.

create function sentinai.maintain() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_maintain';
revoke all on function sentinai.maintain() from public;

comment on function sentinai.maintain() is 'One pass of maintenance: partitions ahead of their time, the journals, retention. A step that fails is a warning, and the others are done all the same. Drops as many partitions as one transaction may lock; the next call goes on. The sequencer process does the same every sentinai.maintenance_interval; where it does not run, have pg_cron call this once a minute, in a transaction of its own.';

create function sentinai.retention_status(
    out oldest timestamptz, out wanted boolean, out blocked_by text[],
    out unsequenced boolean, out retrying boolean)
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_retention_status';
revoke all on function sentinai.retention_status() from public;

comment on function sentinai.retention_status() is 'Retention: start of the oldest partition, whether it is old enough to be dropped, and what keeps it: subscriptions that have not passed it, events that no round has seen, processes and prepared transactions that hold a lock on it, objects that depend on it. unsequenced: whether it has events that no round has seen. retrying: whether events of it wait for a retry, which keeps them and not the partition.';

create function sentinai.after_restore() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_after_restore';
revoke all on function sentinai.after_restore() from public;

comment on function sentinai.after_restore() is 'Takes a restored or copied database into use (a copy of a whole cluster, recovered from a backup, is in use by itself): transaction numbers go on above the stored ones, and leases that were open in its former place are given back without counting an attempt. Does nothing in a database that was not moved. The relay stays paused until resume_relay().';
-- The ledger for handlers that get their events from Kafka.

create function sentinai.is_already_processed(event_id uuid, worker_type text) returns boolean
    language c stable parallel restricted
    as 'MODULE_PATHNAME', 'sentinai_is_already_processed';
comment on function sentinai.is_already_processed(uuid, text) is 'Whether the worker type has completed the event, by complete() or mark_as_completed(). Errors: 22004 null.';

create function sentinai.mark_as_processing(
        event_id uuid, worker_type text, tenant_id text default null,
        aggregate_id text default null, worker_id text default null,
        lease interval default '5 minutes')
    returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_mark_as_processing';
comment on function sentinai.mark_as_processing(uuid, text, text, text, text, interval) is 'Asks for an event before working on it. True: it is the caller''s. False: it is completed, or somebody asked for it less than lease ago (more than zero, at most a day). Of callers at the same time one gets true; the others wait for the end of its transaction. event_id: a UUIDv7, at most one sentinai.partition_interval ahead of the clock where no partition is there yet. worker_type: 1 to 100 letters, digits and "_.:-". tenant_id, aggregate_id, worker_id: for the ledger, at most 256, 1024 and 256 bytes. Errors: 22004 null where there must be a value; SN422 invalid argument; 22008 interval out of range; 25006 read-only transaction or standby.';

create function sentinai.mark_as_completed(
        event_id uuid, worker_type text, tenant_id text default null,
        aggregate_id text default null, worker_id text default null)
    returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_mark_as_completed';
comment on function sentinai.mark_as_completed(uuid, text, text, text, text) is 'Notes in the caller''s transaction that the worker type has completed an event; false if it had before. Arguments and errors: as mark_as_processing().';
-- Dealing with events that fail, and with dead letters.

create function sentinai.retry_dead_letter(
        event_id uuid, worker_type text, actor text default session_user)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_retry_dead_letter';
comment on function sentinai.retry_dead_letter(uuid, text, text) is 'Puts a pending dead letter''s event back into the queue, due now, before the waiting events of its key, with attempts counted anew. The letter is "retrying", and "succeeded" when the event is completed. actor: who does it, 1 to 256 bytes. Errors: 22004 null; SN404 no such dead letter, or no such worker type any more; SN409 not pending; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.discard_dead_letter(
        event_id uuid, worker_type text, actor text, reason text)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_discard_dead_letter';
comment on function sentinai.discard_dead_letter(uuid, text, text, text) is 'Settles a pending dead letter without another attempt; if it blocks its key, the key goes on. actor: who does it, 1 to 256 bytes. reason: 1 to 8192 bytes. Errors: 22004 null; SN404 no such dead letter; SN409 not pending; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.retry_event(
        event_id uuid, worker_type text, actor text default session_user)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_retry_event';
comment on function sentinai.retry_event(uuid, text, text) is 'For operators: an event that waits for its retry is due now. Its attempts go on counting. actor: who does it, 1 to 256 bytes; the server''s log keeps it. Errors: 22004 null; SN404 unknown worker type, or event that was not handed out; SN409 event that an agent works on, waits behind an earlier one of its key, is completed or a dead letter; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.give_up_event(
        event_id uuid, worker_type text, actor text, reason text)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_give_up_event';
comment on function sentinai.give_up_event(uuid, text, text, text) is 'For operators: an event that was handed out and is not finished becomes a dead letter now, whatever attempts it has left: it waits for a retry, was given back, or an agent has it. The agent keeps the rest of its batch; for this event its token is good no more (SN409). Publishes DeadLettered. actor: who does it, 1 to 256 bytes; reason: 1 to 8192 bytes; the letter keeps both. Errors: 22004 null; SN404 unknown worker type, or event that was not handed out; SN409 event that is completed or a dead letter; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.purge_dead_letters(
        before timestamptz, worker_type text default null,
        tenant_id text default null, max_letters int default 10000)
    returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_purge_dead_letters';
comment on function sentinai.purge_dead_letters(timestamptz, text, text, int) is 'Removes dead letters that were settled (succeeded or discarded) before a time, the oldest first, and returns how many: call it until that is 0. Pending ones, and those that are being tried again, stay: discard_dead_letter() says who gives up on one and why, and lets its key go on. worker_type, tenant_id: only of these; null for any. max_letters: 1 to 100,000. Maintenance does the same by sentinai.dead_letter_retention. Errors: 22004 null where there must be a value; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.refuse_letter_change() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_refuse_letter_change';
comment on function sentinai.refuse_letter_change() is 'Trigger of dead_letter: raises SN409 on UPDATE, DELETE and TRUNCATE, whoever tries.';

create trigger refuse_change before update or delete or truncate on sentinai_internal.dead_letter
    for each statement execute function sentinai.refuse_letter_change();
alter table sentinai_internal.dead_letter enable always trigger refuse_change;
comment on trigger refuse_change on sentinai_internal.dead_letter is 'Lanes count their letters, and letters may hold their keys: functions keep both right, in replication as well.';
-- Reading the log.

create function sentinai.get_events_by_aggregate(
        tenant_id text, aggregate_id text, event_types text[] default null,
        from_time timestamptz default null, to_time timestamptz default null,
        correlation_id text default null, after_id uuid default null,
        max_events int default 100, aggregate_type text default null)
    returns setof sentinai.event
    language c stable parallel restricted rows 100
    as 'MODULE_PATHNAME', 'sentinai_get_events_by_aggregate';
comment on function sentinai.get_events_by_aggregate(text, text, text[], timestamptz, timestamptz, text, uuid, int, text) is 'Events of one aggregate of a tenant, oldest first. Filters, each null for none: event_types; from_time (inclusive) and to_time (exclusive), by occurred_at; correlation_id; after_id, the last event_id of the page before; aggregate_type, as aggregates of two types with one id share their order. max_events: 1 to 10,000. Reads only the partitions of the time range, by the index on the hash of the key. Errors: 22004 null tenant_id or aggregate_id; SN422 max_events out of range, event_types of more than one dimension or with nulls.';

create function sentinai.get_events_by_exception(
        tenant_id text, exception_id text, event_types text[] default null,
        from_time timestamptz default null, to_time timestamptz default null,
        correlation_id text default null, after_id uuid default null,
        max_events int default 100)
    returns setof sentinai.event
    language c stable parallel restricted rows 100
    as 'MODULE_PATHNAME', 'sentinai_get_events_by_exception';
comment on function sentinai.get_events_by_exception(text, text, text[], timestamptz, timestamptz, text, uuid, int) is 'get_events_by_aggregate() for the aggregate whose id is exception_id, of any type.';

create function sentinai.get_events_by_tenant(
        tenant_id text, event_types text[] default null,
        from_time timestamptz default null, to_time timestamptz default null,
        correlation_id text default null, after_id uuid default null,
        max_events int default 100)
    returns setof sentinai.event
    language c stable parallel restricted rows 100
    as 'MODULE_PATHNAME', 'sentinai_get_events_by_tenant';
comment on function sentinai.get_events_by_tenant(text, text[], timestamptz, timestamptz, text, uuid, int) is 'Events of a tenant, oldest first. Filters and errors as get_events_by_aggregate(). Reads by the index on tenant and event id.';

create function sentinai.event_time(event_id uuid) returns timestamptz
    language c immutable strict parallel safe
    as 'MODULE_PATHNAME', 'sentinai_event_time';
comment on function sentinai.event_time(uuid) is 'Time that a UUIDv7 carries, to the millisecond.';
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
-- The relay's switch.

create function sentinai.recovery_id() returns bigint
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_recovery_id';
comment on function sentinai.recovery_id() is 'Number of the recovery from a backup that this cluster came out of, or is in; 0: of none that was seen. A standby has none of its own, and its promotion is none.';

create function sentinai.relay_is_paused() returns boolean
    language c stable
    as 'MODULE_PATHNAME', 'sentinai_relay_is_paused';
comment on function sentinai.relay_is_paused() is 'Whether the relay is paused: by pause_relay(), or because the database was restored or upgraded into another cluster, or its cluster recovered from a backup, and nobody has called resume_relay() since.';

create function sentinai.wake_relay() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_wake_relay';
comment on function sentinai.wake_relay() is 'For pause_relay() and resume_relay(): have the relays look at the switch when this transaction is committed.';

create function sentinai.set_relay_paused(paused boolean) returns void
    language sql volatile
    set search_path = pg_catalog, pg_temp
    as $$
        insert into sentinai_internal.relay_control (paused, node_no, recovery)
        select $1, coalesce(n.node_no, 0), coalesce(n.recovery, r.id)
        from sentinai.recovery_id() r (id)
             left join (select x.* from sentinai_internal.node x order by x.node_no desc limit 1) n on true
        on conflict (only_row) do update
            set paused = excluded.paused, node_no = excluded.node_no, recovery = excluded.recovery,
                changed_at = excluded.changed_at, changed_by = excluded.changed_by;
        select sentinai.wake_relay();
    $$;
comment on function sentinai.set_relay_paused(boolean) is 'For pause_relay() and resume_relay(): store the switch.';

create function sentinai.pause_relay() returns void
    language sql volatile security definer
    set search_path = pg_catalog, pg_temp
    as $$ select sentinai.set_relay_paused(true) $$;
comment on function sentinai.pause_relay() is 'Stop sending to the broker until resume_relay(). What is on its way is still acknowledged; events go on to be published and sequenced.';

create function sentinai.resume_relay() returns void
    language sql volatile security definer
    set search_path = pg_catalog, pg_temp
    as $$
        select sentinai.after_restore();
        select sentinai.set_relay_paused(false);
    $$;
comment on function sentinai.resume_relay() is 'Let the relay send again after pause_relay(), or for the first time after the database was restored or upgraded into another cluster, or its cluster recovered from a backup: it goes on with what had not been acknowledged when the dump or the backup was taken.';

-- What was made after a recovery is no copy; node_no is that of the first use.
insert into sentinai_internal.relay_control (paused, node_no, recovery) values (false, 1, sentinai.recovery_id());
-- The launcher starts the workers of a database that has the extension.

create function sentinai.wake_launcher() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_wake_launcher';
revoke all on function sentinai.wake_launcher() from public;

comment on function sentinai.wake_launcher() is 'For CREATE EXTENSION: has the launcher start the workers of this database when the transaction commits.';

select sentinai.wake_launcher();
-- Statistics views, in the style of pg_stat_*.  None counts rows: lag is the
-- difference of running totals that slices and lane states carry, and which of
-- the slices are a subscription's is asked of the code that reads them.

create function sentinai.stat_claimed(sub_id int) returns timestamptz
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_claimed';
comment on function sentinai.stat_claimed(int) is 'For stat_queue: when claim() was last called for a subscription since the server started; null when it was not.';

create function sentinai.stat_lane_state(sub_id int, lane int) returns sentinai_internal.lane_state_0
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_lane_state';
comment on function sentinai.stat_lane_state(int, int) is 'For stat_lane: the newest row of a lane''s journal; null when nobody has claimed it. A view that named the journal would let whoever names the view keep it from being truncated.';

create function sentinai.stat_round() returns sentinai_internal.round_0
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_round';
comment on function sentinai.stat_round() is 'For stat_info: the newest round; null when there was none.';

create function sentinai.partitions_until() returns timestamptz
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_partitions_until';
comment on function sentinai.partitions_until() is 'For stat_info: until when the log has partitions, without a gap from now on; null when it has none for now.';

create function sentinai.stat_rate(sub_id int, completed bigint, failed bigint,
        out completed_per_second float8, out failed_per_second float8)
    returns record
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_rate';
comment on function sentinai.stat_rate(int, bigint, bigint) is 'For stat_queue: rates of two running totals since the sample taken before the last ten seconds; null at the first call.';

create function sentinai.stat_lag(sub_id int, lanes int, out lane int, out events bigint,
        out oldest_at timestamptz)
    returns setof record
    language c volatile strict rows 64
    as 'MODULE_PATHNAME', 'sentinai_stat_lag';
comment on function sentinai.stat_lag(int, int) is 'For stat_lane: for each of so many lanes of a subscription, how many events of it no batch has had yet or has left whole, and the time of the oldest that is not finished, those that wait for a retry aside.';

create function sentinai.stat_clock() returns timestamptz
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_clock';
comment on function sentinai.stat_clock() is 'For stat_agent: the time that leases go by, the wall clock of the server''s start carried on by a clock that nobody sets.';

create function sentinai.stat_relay_workers(out worker int, out pid int, out state text,
        out in_flight int, out sent_count bigint, out acked_count bigint,
        out error_count bigint, out dead_count bigint, out breaker text,
        out started_at timestamptz, out last_ack_at timestamptz,
        out last_error_at timestamptz, out last_error text, out locked_lanes bigint)
    returns setof record
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_relay_workers';
comment on function sentinai.stat_relay_workers() is 'For stat_relay: what the relay processes of this database say of themselves.';

create function sentinai.stat_server(out version text, out preloaded boolean, out launcher_pid int,
        out sequencer_pid int, out rounds_count bigint, out sequenced_count bigint,
        out unsequenced_commits bigint, out clock_ahead interval, out sequencer_problem text)
    returns record
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_server';
comment on function sentinai.stat_server() is 'For stat_info: what shared memory knows of this database, since the start of the server.';

create function sentinai.stat_failures(out step text, out failing_since timestamptz,
        out failure_count bigint, out last_failure_at timestamptz, out next_try_at timestamptz,
        out sqlstate text, out error text)
    returns setof record
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_stat_failures';
comment on function sentinai.stat_failures() is 'For stat_info: a row for each thing that the sequencer''s process, or maintain(), failed to do the last time: "rounds", or a step of maintenance. failing_since: its first failure since it last went well. next_try_at: null when it was a call of maintain(). error: the message without its details.';

-- A row for each lane of each subscription; the ground of the other views.
create view sentinai.stat_lane as
select s.sub_id,
       s.worker_type,
       s.is_relay,
       l.lane,
       coalesce(t.pos, s.start_pos) as pos,
       t.batch,
       t.worker_id,
       t.claimed_at,
       t.lease_until,
       coalesce(case when t.batch is not null then t.open end, 0) as in_flight,
       -- a retry that is handed out again waits no more
       coalesce(t.parked - case when t.batch is null then 0
                                else coalesce(pg_catalog.cardinality(t.retries), 0) end, 0) as parked,
       coalesce(t.completed, 0) as completed_count,
       coalesce(t.failed, 0) as failed_count,
       coalesce(t.dead, 0) as dead,
       l.events
           + coalesce(8 * pg_catalog.octet_length(t.resolved) - pg_catalog.bit_count(t.resolved), 0)
           + coalesce(t.parked, 0) as lag_events,
       least(l.oldest_at, sentinai.event_time(r.event_id)) as oldest_unfinished_at
from sentinai_internal.subscription s
     -- Nothing is taken from it, but the planner then expects few rows.
     join sentinai_internal.stream f on f.stream_id = s.stream_id
     cross join lateral (select n.lanes from sentinai_internal.node n order by n.node_no desc limit 1) n
     cross join lateral sentinai.stat_lag(s.sub_id, n.lanes) l
     left join lateral sentinai.stat_lane_state(s.sub_id, l.lane) t on true
     left join lateral (
         select x.event_id from sentinai_internal.event_retry x
         where x.sub_id = s.sub_id and x.lane = l.lane
         order by x.pos limit 1) r on t.parked > 0;

comment on view sentinai.stat_lane is 'State of every lane of every subscription.';
comment on column sentinai.stat_lane.sub_id is 'Number of the subscription.';
comment on column sentinai.stat_lane.worker_type is 'The subscription.';
comment on column sentinai.stat_lane.is_relay is 'Whether it is the relay''s.';
comment on column sentinai.stat_lane.lane is 'The lane.';
comment on column sentinai.stat_lane.pos is 'Every event before this position is resolved.';
comment on column sentinai.stat_lane.batch is 'Batch that holds the lane.';
comment on column sentinai.stat_lane.worker_id is 'Agent that holds it.';
comment on column sentinai.stat_lane.claimed_at is 'Time of the claim.';
comment on column sentinai.stat_lane.lease_until is 'Deadline of the lease.';
comment on column sentinai.stat_lane.in_flight is 'Events handed out and not finished.';
comment on column sentinai.stat_lane.parked is 'Events waiting for a retry, or behind one.';
comment on column sentinai.stat_lane.completed_count is 'Events completed so far.';
comment on column sentinai.stat_lane.failed_count is 'Attempts failed so far.';
comment on column sentinai.stat_lane.dead is 'Dead letters nobody has dealt with.';
comment on column sentinai.stat_lane.lag_events is 'Events that are not finished. Until it has come to them, events that it will not get count too: of other types while it reads its past, and about its own failures.';
comment on column sentinai.stat_lane.oldest_unfinished_at is 'Time of the oldest event that is not finished.';

create view sentinai.stat_queue as
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
       greatest(q.claimed_at, sentinai.stat_claimed(q.sub_id)) as last_claimed_at
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
     cross join lateral sentinai.stat_rate(q.sub_id, q.completed_count, q.failed_count) r;

comment on view sentinai.stat_queue is 'One row for each subscription: how far behind it is and what it is doing.';
comment on column sentinai.stat_queue.worker_type is 'The subscription.';
comment on column sentinai.stat_queue.lag_events is 'Sequenced events that are not finished; see stat_lane.';
comment on column sentinai.stat_queue.lag_seconds is 'Age of the oldest event that is not finished; null when there is none.';
comment on column sentinai.stat_queue.oldest_unfinished_at is 'Time of the oldest event that is not finished.';
comment on column sentinai.stat_queue.in_flight is 'Events handed out and not finished.';
comment on column sentinai.stat_queue.retrying is 'Events waiting for a retry, or behind one.';
comment on column sentinai.stat_queue.dead is 'Dead letters nobody has dealt with.';
comment on column sentinai.stat_queue.completed_count is 'Events completed since the subscription was made.';
comment on column sentinai.stat_queue.failed_count is 'Attempts failed since the subscription was made, lost leases included.';
comment on column sentinai.stat_queue.completed_per_second is 'Rate of completion since the sample before the last ten seconds; null at the first look.';
comment on column sentinai.stat_queue.failed_per_second is 'Rate of failed attempts, likewise.';
comment on column sentinai.stat_queue.last_claimed_at is 'When claim() was last called. Calls that found nothing are known since the start of the server; of what was before, the last one that handed out events. An agent that waits in wait_for_work() does not call it.';

-- The topics are found one after the other by the index, and each lane's first
-- event of them.
create view sentinai.stat_relay_topic as
with recursive label as (
    (select r.sub_id, r.topic
     from sentinai_internal.event_retry r
          join sentinai_internal.subscription s on s.is_relay and s.sub_id = r.sub_id
     where r.topic is not null
     order by r.sub_id, r.topic limit 1)
    union all
    select l.sub_id, n.topic
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
       end as dead_at
from label l
     cross join lateral (
         select f.first_failed_at as waiting_since, f.last_error as reason
         from pg_catalog.generate_series(0, 63) as g (lane)
              cross join lateral (
                  select r.first_failed_at, r.last_error from sentinai_internal.event_retry r
                  where r.sub_id = l.sub_id and r.topic = l.topic and r.lane = g.lane
                  order by r.pos limit 1) f
         order by f.first_failed_at limit 1) h;

comment on view sentinai.stat_relay_topic is 'One row for each topic that events wait for, because it cannot be written.';
comment on column sentinai.stat_relay_topic.topic is 'The topic.';
comment on column sentinai.stat_relay_topic.waiting_since is 'When the oldest of the events was set aside.';
comment on column sentinai.stat_relay_topic.reason is 'What the broker said then.';
comment on column sentinai.stat_relay_topic.dead_at is 'When that event becomes a dead letter, by sentinai.topic_timeout; null for never.';

create view sentinai.stat_relay as
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
       b.blocked_by
from pg_catalog.generate_series(0, pg_catalog.current_setting('sentinai.relay_workers')::int - 1) as w (worker)
     left join sentinai.stat_relay_workers() p on p.worker = w.worker
     cross join sentinai.relay_is_paused() z (paused)
     left join (
         select x.lane % pg_catalog.current_setting('sentinai.relay_workers')::int as worker,
                pg_catalog.sum(x.lag_events)::bigint as lag_events,
                pg_catalog.min(x.pos) as pos,
                pg_catalog.sum(x.parked)::bigint as waiting_events,
                pg_catalog.min(x.oldest_unfinished_at) as oldest_unfinished_at
         from sentinai.stat_lane x
         where x.is_relay
         group by 1) l on l.worker = w.worker
     left join lateral (
         select pg_catalog.array_agg(x.topic order by x.topic) as waiting_topics
         from sentinai.stat_relay_topic x) t on true
     -- who has locked lanes that the relay found locked: 0 is a prepared transaction
     left join lateral (
         select pg_catalog.array_agg(distinct coalesce(k.pid, 0)) as blocked_by
         from pg_catalog.pg_locks k
              join sentinai_internal.subscription s on s.is_relay and s.sub_id = k.objid::bigint
         where k.locktype = 'object' and k.granted
               and k.database = (select d.oid from pg_catalog.pg_database d
                                 where d.datname = pg_catalog.current_database())
               and k.classid = 'sentinai_internal.subscription'::pg_catalog.regclass
               and k.objsubid > 0 and k.pid is distinct from p.pid
               and p.locked_lanes >> (k.objsubid - 1) & 1 = 1) b on p.locked_lanes <> 0;

comment on view sentinai.stat_relay is 'One row for each relay process that sentinai.relay_workers asks for.';
comment on column sentinai.stat_relay.worker is 'Number of the relay process, from 0.';
comment on column sentinai.stat_relay.pid is 'Its process; null when it does not run.';
comment on column sentinai.stat_relay.state is '"running", "paused", "waiting" (breaker open) or "stopped", for the reason that last_error gives.';
comment on column sentinai.stat_relay.lag_events is 'Sequenced events the broker has not acknowledged.';
comment on column sentinai.stat_relay.lag_seconds is 'Age of the oldest of them; null when there is none.';
comment on column sentinai.stat_relay.position is 'Lowest position of its lanes.';
comment on column sentinai.stat_relay.oldest_unfinished_at is 'Time of the oldest event the broker has not acknowledged.';
comment on column sentinai.stat_relay.in_flight is 'Events sent and not yet answered.';
comment on column sentinai.stat_relay.sent_count is 'Events sent since the process started.';
comment on column sentinai.stat_relay.acked_count is 'Events acknowledged since the process started.';
comment on column sentinai.stat_relay.error_count is 'Errors since the process started.';
comment on column sentinai.stat_relay.dead_count is 'Events given up (see dead_letter, worker type "relay") since the process started.';
comment on column sentinai.stat_relay.breaker is 'State of the circuit breaker: "closed", "open" or "half-open".';
comment on column sentinai.stat_relay.started_at is 'Start of the process.';
comment on column sentinai.stat_relay.last_ack_at is 'Time of the last acknowledgement.';
comment on column sentinai.stat_relay.last_error_at is 'Time of the last error.';
comment on column sentinai.stat_relay.last_error is 'What the last error said, also of a process before this one.';
comment on column sentinai.stat_relay.waiting_events is 'Events of its lanes set aside: for a topic that cannot be written, or to be tried again after a dead letter.';
comment on column sentinai.stat_relay.waiting_topics is 'Topics that cannot be written and have events waiting (see stat_relay_topic); null when there is none.';
comment on column sentinai.stat_relay.blocked_by is 'Processes whose open transactions hold lanes of the relay, by retry_dead_letter() or discard_dead_letter(); 0 is a prepared transaction. These lanes stand still, others go on.';

-- Of the lanes only: how far they are behind is not asked.
create view sentinai.stat_agent as
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
     cross join lateral sentinai.stat_lane_state(s.sub_id, l.lane) t
where t.batch is not null
group by 1, 2, 3;

comment on view sentinai.stat_agent is 'One row for each batch that an agent holds.';
comment on column sentinai.stat_agent.worker_type is 'The subscription.';
comment on column sentinai.stat_agent.worker_id is 'Agent, as it named itself in claim().';
comment on column sentinai.stat_agent.batch is 'The batch.';
comment on column sentinai.stat_agent.lanes is 'Lanes it holds.';
comment on column sentinai.stat_agent.in_flight is 'Events handed out and not finished.';
comment on column sentinai.stat_agent.claimed_at is 'Time of the claim.';
comment on column sentinai.stat_agent.lease_until is 'Deadline of the lease, by the server''s clock as it was when the server started; see expired.';
comment on column sentinai.stat_agent.expired is 'Whether the deadline has passed, so that the next claim takes the events over; not a matter of the wall clock, which may have been set.';

-- Neither what the event says nor what its agents have said of it, which may be
-- the same.
create view sentinai.stat_retry as
select s.worker_type,
       r.tenant_id,
       r.aggregate_id,
       r.event_id,
       r.attempt,
       r.first_failed_at,
       r.due_at
from sentinai_internal.event_retry r
     join sentinai_internal.subscription s on s.sub_id = r.sub_id
where not s.is_relay and not r.dead;

comment on view sentinai.stat_retry is 'One row for each event that waits for a retry, or behind one of its key, or is being tried again. Texts of errors are not shown: for who may read the log, RetryScheduled has them.';
comment on column sentinai.stat_retry.worker_type is 'The subscription.';
comment on column sentinai.stat_retry.tenant_id is 'Tenant of the event.';
comment on column sentinai.stat_retry.aggregate_id is 'Aggregate of the event.';
comment on column sentinai.stat_retry.event_id is 'The event.';
comment on column sentinai.stat_retry.attempt is 'Failed attempts so far; 0 for an event that only waits behind others of its key.';
comment on column sentinai.stat_retry.first_failed_at is 'Time of the first failure; null when there was none.';
comment on column sentinai.stat_retry.due_at is 'When it may be handed out; null for an event behind others of its key.';

create view sentinai.stat_info as
select s.version,
       s.preloaded,
       s.launcher_pid,
       s.sequencer_pid,
       s.sequencer_problem,
       n.lanes,
       r.round_no as last_round,
       r.taken_at as last_round_at,
       s.rounds_count,
       s.sequenced_count,
       s.unsequenced_commits,
       s.clock_ahead,
       z.paused as relay_paused,
       v.oldest as oldest_partition,
       sentinai.partitions_until() as partitions_until,
       v.wanted as retention_wanted,
       nullif(v.blocked_by, '{}') as retention_blocked_by,
       f.steps as failing_steps,
       f.since as failing_since,
       f.failures as failing_count,
       f.error as failing_error,
       (select e.extversion from pg_catalog.pg_extension e where e.extname operator(pg_catalog.=) 'sentinai') as installed_version
from sentinai.stat_server() s
     left join lateral (select x.lanes from sentinai_internal.node x order by x.node_no desc limit 1) n on true
     left join lateral sentinai.stat_round() r on true
     cross join sentinai.relay_is_paused() z (paused)
     left join sentinai.retention_status() v on true
     cross join lateral (
         select pg_catalog.array_agg(x.step order by x.failing_since) as steps,
                pg_catalog.min(x.failing_since) as since,
                (pg_catalog.array_agg(x.failure_count order by x.failing_since))[1] as failures,
                (pg_catalog.array_agg(x.sqlstate || ' ' || x.error order by x.failing_since))[1] as error
         from sentinai.stat_failures() x) f;

comment on view sentinai.stat_info is 'One row about the extension in this database.';
comment on column sentinai.stat_info.version is 'Version of the library. Another than installed_version: the server has been given a new one, and ALTER EXTENSION sentinai UPDATE is still to be run in this database.';
comment on column sentinai.stat_info.preloaded is 'Whether the library is in shared_preload_libraries, so that the workers run.';
comment on column sentinai.stat_info.launcher_pid is 'Process of the launcher; null when it does not run.';
comment on column sentinai.stat_info.sequencer_pid is 'Process of this database''s sequencer; null when it does not run.';
comment on column sentinai.stat_info.sequencer_problem is 'Why no sequencer runs: library not preloaded, no free worker slot, a standby, a template; null when one does.';
comment on column sentinai.stat_info.lanes is 'Number of lanes.';
comment on column sentinai.stat_info.last_round is 'Number of the last round.';
comment on column sentinai.stat_info.last_round_at is 'Time of the last round.';
comment on column sentinai.stat_info.rounds_count is 'Rounds since the server started.';
comment on column sentinai.stat_info.sequenced_count is 'Events of these rounds.';
comment on column sentinai.stat_info.unsequenced_commits is 'Transactions with events that no round has covered yet.';
comment on column sentinai.stat_info.clock_ahead is 'How far the event clock is ahead of the wall clock: more than seconds means the wall clock was set back.';
comment on column sentinai.stat_info.relay_paused is 'Whether the relay is paused.';
comment on column sentinai.stat_info.oldest_partition is 'Start of the oldest partition.';
comment on column sentinai.stat_info.partitions_until is 'Until when there are partitions for new events. Normally sentinai.partitions_ahead times sentinai.partition_interval from now or later; when making more fails, failing_steps has "partitions" long before this time. Null when there is none for now: publish() makes it.';
comment on column sentinai.stat_info.retention_wanted is 'Whether it is older than sentinai.retention.';
comment on column sentinai.stat_info.retention_blocked_by is 'What holds the drop up: subscriptions that lag, events that no round has seen, processes and prepared transactions with a lock, objects that depend on it; null when nothing does.';
comment on column sentinai.stat_info.failing_steps is 'What the sequencer''s process fails to do, the longest first: "rounds", or a step of maintenance. Each is tried again, less and less often, and keeps nothing else from being done. Null when all is well; stat_failures() tells of each.';
comment on column sentinai.stat_info.failing_since is 'Since when the first of them fails.';
comment on column sentinai.stat_info.failing_count is 'How often it has failed since then.';
comment on column sentinai.stat_info.failing_error is 'SQLSTATE and message of its last failure.';
comment on column sentinai.stat_info.installed_version is 'Version of the extension''s objects in this database.';
-- Logical replication into tables of the extension is refused, in partitions
-- (partition.c makes their triggers) as in what follows.  The triggers fire in
-- replicas only, so that nobody else pays for them.

create function sentinai.refuse_replication() returns trigger
    language c volatile
    as 'MODULE_PATHNAME', 'sentinai_refuse_replication';
comment on function sentinai.refuse_replication() is 'Trigger of every table and partition: raises 0A000 when logical replication inserts, changes, deletes or truncates. A dump may be restored with session_replication_role set to replica.';

do $triggers$
declare
    t pg_catalog.regclass;
begin
    for t in select c.oid from pg_catalog.pg_class c
             where c.relnamespace operator(pg_catalog.=) 'sentinai_internal'::pg_catalog.regnamespace
                   and c.relkind operator(pg_catalog.=) 'r'
    loop
        execute pg_catalog.format('create trigger refuse_replication before insert or update or delete on %s'
            ' for each row execute function sentinai.refuse_replication()', t);
        execute pg_catalog.format('create trigger refuse_replicated_truncate before truncate on %s'
            ' for each statement execute function sentinai.refuse_replication()', t);
        execute pg_catalog.format('alter table %s enable replica trigger refuse_replication,'
            ' enable replica trigger refuse_replicated_truncate', t);
        execute pg_catalog.format('comment on trigger refuse_replication on %s is %L', t,
            'Rows of another place mean nothing here.');
        execute pg_catalog.format('comment on trigger refuse_replicated_truncate on %s is %L', t,
            'The same for TRUNCATE.');
    end loop;
end $triggers$;
-- Rights. Tables and functions belong to the extension's owner; nobody else
-- may do anything but what is granted here or by the DBA. Functions in C reach
-- the tables without further checks, so EXECUTE is the right to what they do.
-- What ALTER DEFAULT PRIVILEGES, or a schema that was there before, gave
-- somebody is taken back.
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
        union all
        select distinct 'schema', n.nspname::text, a.grantee
        from pg_namespace n cross join lateral aclexplode(n.nspacl) a
        where n.nspname in ('sentinai', 'sentinai_internal') and a.grantee <> n.nspowner
    loop
        execute format('revoke all on %s %s from %s cascade', g.kind, g.name,
            case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end);
    end loop;
end $grants$;

grant execute on function
    sentinai.get_partition_key(text, text),
    sentinai.partition_hash(text),
    sentinai.partition_for(text, text, int),
    sentinai.event_time(uuid),
    sentinai.validate_json(jsonb, jsonb)
    to public;

grant usage on schema sentinai to pg_monitor;
grant select on
    sentinai.stat_lane,
    sentinai.stat_queue,
    sentinai.stat_relay,
    sentinai.stat_relay_topic,
    sentinai.stat_agent,
    sentinai.stat_retry,
    sentinai.stat_info
    to pg_monitor;
grant execute on function
    sentinai.stat_claimed(int),
    sentinai.stat_clock(),
    sentinai.partitions_until(),
    sentinai.stat_rate(int, bigint, bigint),
    sentinai.stat_lag(int, int),
    sentinai.stat_lane_state(int, int),
    sentinai.stat_round(),
    sentinai.stat_relay_workers(),
    sentinai.stat_server(),
    sentinai.retention_status(),
    sentinai.stat_failures(),
    sentinai.relay_is_paused()
    to pg_monitor;
-- What pg_dump must carry: every table here that is not partitioned, and the
-- sequences.  Partitions made at run time are no members of the extension and
-- are dumped as ordinary tables.  relay_control is left out: a restored database
-- starts with the row of a new one, and whether it may relay is then decided
-- from the rows of node.  stream has a row from the start, and
-- event_type those of the extension's own types.
do $dump$
declare
    c record;
begin
    for c in select oid, relname from pg_catalog.pg_class
             where relnamespace operator(pg_catalog.=) 'sentinai_internal'::pg_catalog.regnamespace
                   and relkind operator(pg_catalog.=) any ('{r,S}'::pg_catalog."char"[])
                   and relname operator(pg_catalog.<>) 'relay_control'
             order by relname
    loop
        perform pg_catalog.pg_extension_config_dump(c.oid,
            case c.relname
                when 'stream' then 'where stream_id > 0'
                when 'event_type' then 'where event_type <> all (''{RetryScheduled,DeadLettered,SLAImminent,SLAExpired,BackpressureDetected}'')'
                else '' end);
    end loop;
end $dump$;
