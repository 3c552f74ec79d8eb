-- The ledger for handlers that get their events from Kafka.

create function sentinai.is_already_processed(event_id uuid, worker_type text) returns boolean
    language c stable parallel restricted
    as 'MODULE_PATHNAME', 'sentinai_is_already_processed';
comment on function sentinai.is_already_processed(uuid, text) is 'Whether the worker type has completed the event, by complete() or mark_as_completed(). Errors: 22004 null; SN403 not allowed.';

create function sentinai.mark_as_processing(
        event_id uuid, worker_type text, tenant_id text default null,
        aggregate_id text default null, worker_id text default null,
        lease interval default '5 minutes')
    returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_mark_as_processing';
comment on function sentinai.mark_as_processing(uuid, text, text, text, text, interval) is 'Asks for an event before working on it. True: it is the caller''s. False: it is completed, or somebody asked for it less than lease ago (more than zero, at most a day). Of callers at the same time one gets true; the others wait for the end of its transaction. event_id: a UUIDv7, at most one sentinai.partition_interval ahead of the clock where no partition is there yet. worker_type: 1 to 100 letters, digits and "_.:-". tenant_id, aggregate_id, worker_id: for the ledger, at most 256, 1024 and 256 bytes. Errors: 22004 null where there must be a value; SN403 not allowed; SN422 invalid argument; 22008 interval out of range; 25006 read-only transaction or standby.';

create function sentinai.mark_as_completed(
        event_id uuid, worker_type text, tenant_id text default null,
        aggregate_id text default null, worker_id text default null)
    returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_mark_as_completed';
comment on function sentinai.mark_as_completed(uuid, text, text, text, text) is 'Notes in the caller''s transaction that the worker type has completed an event; false if it had before. Arguments and errors: as mark_as_processing().';

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
