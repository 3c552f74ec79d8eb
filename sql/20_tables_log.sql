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
        "additionalProperties": false}'),
    ('SLAImminent', 'A deadline of the aggregate comes near: most of its time is over.', '{
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
        "additionalProperties": false}'),
    ('SLAExpired', 'A deadline of the aggregate is over, and it was not met.', '{
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
        "additionalProperties": false}'),
    ('BackpressureDetected', 'More events wait in a subscription than its limit allows.', '{
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
        "additionalProperties": false}'),
    ('BackpressureCleared', 'No more events wait than the limit allows, or the limit was dropped.', '{
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
        "additionalProperties": false}')
    ) t (name, description, schema);
