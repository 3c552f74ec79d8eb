-- Dealing with events that fail, and with dead letters.

create function sentinai.retry_dead_letter(
        event_id uuid, worker_type text, actor text default session_user)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_retry_dead_letter';
comment on function sentinai.retry_dead_letter(uuid, text, text) is 'Puts a pending dead letter''s event back into the queue, due now, before the waiting events of its key, with attempts counted anew. The letter is "retrying", and "succeeded" when the event is completed. actor: who does it, 1 to 256 bytes. Errors: 22004 null; SN404 no such dead letter, or no such worker type any more; SN409 not pending, or with isolation of a tenant that the subscription does not have any more; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.discard_dead_letter(
        event_id uuid, worker_type text, actor text, reason text)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_discard_dead_letter';
comment on function sentinai.discard_dead_letter(uuid, text, text, text) is 'Settles a pending dead letter without another attempt; if it blocks its key, the key goes on. actor: who does it, 1 to 256 bytes. reason: 1 to 8192 bytes. Errors: 22004 null; SN404 no such dead letter; SN409 not pending; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.edit_and_retry(
        event_id uuid, worker_type text, payload jsonb, actor text, reason text,
        metadata jsonb default null, schema_version int default null)
    returns uuid
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_edit_and_retry';
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

create function sentinai.retry_event(
        event_id uuid, worker_type text, actor text default session_user)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_retry_event';
comment on function sentinai.retry_event(uuid, text, text) is 'For operators: an event that waits for its retry is due now. Its attempts go on counting. actor: who does it, 1 to 256 bytes; the view actions keeps it. Errors: 22004 null; SN404 unknown worker type, or event that was not handed out; SN409 event that an agent works on, waits behind an earlier one of its key, is completed or a dead letter; SN422 invalid argument; 25006 read-only transaction or standby.';

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
comment on function sentinai.purge_dead_letters(timestamptz, text, text, int) is 'Removes dead letters that were settled (succeeded or discarded) before a time, the oldest first, and returns how many: call it until that is 0. Pending ones, and those that are being tried again, stay: discard_dead_letter() says who gives up on one and why, and lets its key go on. worker_type, tenant_id: only of these; null for any. max_letters: 1 to 100,000. Maintenance does the same by sentinai.dead_letter_retention. Errors: 22004 null where there must be a value; SN403 not allowed; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.refuse_letter_change() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_refuse_letter_change';
comment on function sentinai.refuse_letter_change() is 'Trigger of dead_letter: raises SN409 on UPDATE, DELETE and TRUNCATE, whoever tries.';

create trigger refuse_change before update or delete or truncate on sentinai_internal.dead_letter
    for each statement execute function sentinai.refuse_letter_change();
alter table sentinai_internal.dead_letter enable always trigger refuse_change;
comment on trigger refuse_change on sentinai_internal.dead_letter is 'Lanes count their letters, and letters may hold their keys: functions keep both right, in replication as well.';
