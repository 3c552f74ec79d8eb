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
