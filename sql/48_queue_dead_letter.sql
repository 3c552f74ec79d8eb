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
