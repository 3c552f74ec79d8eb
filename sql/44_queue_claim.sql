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
comment on function sentinai.claim(text, int, interval, text) is 'Takes the next events of a subscription: one batch with one token, the events of a key in their order, none of a key that somebody else works on or that waits for a retry. Returns no row when there is nothing to do. max_events: 1 to 10,000. lease: time to finish the batch, more than zero and at most the subscription''s max_lease; afterwards the events go to others, one attempt used up. A role that holds max_lanes lanes gets no more: the batch is smaller, or there is none. worker_id: name of the agent for the views, at most 256 bytes. attempt counts from 1. Errors: 22004 null where there must be a value; SN404 unknown worker type; SN422 invalid argument; 22008 interval out of range; 25006 read-only transaction or standby.';

create function sentinai.complete(token text, event_ids uuid[] default null) returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_complete';
comment on function sentinai.complete(text, uuid[]) is 'Marks events of a batch as done, all that are open when event_ids is null, and returns how many it was. Takes effect with the caller''s transaction. Events of the batch that are completed already are not counted. Errors: 22004 null token or element; SN403 not allowed; SN404 unknown token, or event not in the batch; SN409 stale token, or event that failed or waits behind one that did; SN422 array with more than one dimension; 25006 read-only transaction or standby. With an error nothing is done.';

create function sentinai.fail(
        token text, event_id uuid, error text,
        retryable boolean default true, retry_in interval default null)
    returns text
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_fail';
comment on function sentinai.fail(text, uuid, text, boolean, interval) is 'Notes that an attempt at an event of a batch failed. Returns "retrying": the event comes again after retry_in (0 to 366 days), by default after the policy''s wait, and later events of its key leave the batch and wait behind it. Or "dead": not retryable or out of attempts, it becomes a dead letter. Publishes RetryScheduled or DeadLettered. error: kept up to 8 kB. Errors: 22004 null where there must be a value; SN403 not allowed; SN404 unknown token, or event not in the batch; SN409 stale token, or event no longer open; SN422 invalid retry_in; 22008 interval out of range; 25006 read-only transaction or standby.';

create function sentinai.extend(token text, lease interval) returns timestamptz
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_extend';
comment on function sentinai.extend(text, interval) is 'Gives a batch a new lease from now on, more than zero and at most the subscription''s max_lease, and returns its deadline. Errors: 22004 null; SN403 not allowed; SN404 unknown token; SN409 stale token, or batch resolved; SN422 invalid lease; SN429 the lease had run out, and the role holds all the lanes that it may; 22008 interval out of range; 25006 read-only transaction or standby.';

create function sentinai.release(token text) returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_release';
comment on function sentinai.release(text) is 'Gives back what is open of a batch, without counting an attempt, and returns how many events it was. Errors: 22004 null; SN403 not allowed; SN404 unknown token; SN409 stale token; 25006 read-only transaction or standby.';

create function sentinai.limit_time(milliseconds int) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_limit_time';
comment on function sentinai.limit_time(int) is 'Until the transaction ends, or the savepoint that it is called in, at most so much processor time may be used. What takes longer is cancelled with 57014, and again if it goes on all the same. A handler takes a limit for each event, so that rules or data that take for ever make their own event fail and nothing else. Another call sets another limit. milliseconds: from now on, at least 1; waiting for a disk or for somebody else does not count. Nor does what parallel workers of a query use: only max_parallel_workers_per_gather = 0, which is not set here, keeps a query from having any. Errors: 22004 null; SN422 less than 1.';

create function sentinai.time_is_over() returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_time_is_over';
comment on function sentinai.time_is_over() is 'Whether the last limit_time() of the session is the reason of a cancellation. One by statement_timeout or by a person has the same SQLSTATE.';

create procedure sentinai.wait_for_work(worker_type text, timeout interval, inout ready boolean)
    language c
    as 'MODULE_PATHNAME', 'sentinai_wait_for_work';
comment on procedure sentinai.wait_for_work(text, interval, boolean) is 'Waits until the subscription has work, at most for the timeout (not negative, at most a day; 0 only looks), and sets ready: whether a claim is worthwhile. CALL it outside a transaction: it then holds no snapshot while it waits. Errors: 22004 null worker_type or timeout; SN403 not allowed; SN404 unknown worker type; SN422 invalid timeout; 22008 interval out of range; 25006 standby.';

create function sentinai.revoke_lease(
        worker_type text, worker_id text, actor text default session_user)
    returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_revoke_worker';
comment on function sentinai.revoke_lease(text, text, text) is 'For operators: ends the leases of an agent now, and returns how many events that gives back. They are handed out again at once, no attempt counted. The tokens are stale (SN409). worker_id: the agent, as stat_agent names it. actor: who does it, 1 to 256 bytes; the view actions keeps it. Waits for a transaction that works on one of the batches. Returns 0 when the agent holds nothing. Errors: 22004 null; SN403 not allowed; SN404 unknown worker type; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.revoke_lease(
        worker_type text, batch uuid, actor text default session_user)
    returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_revoke_batch';
comment on function sentinai.revoke_lease(text, uuid, text) is 'The same for one batch, by its number in stat_agent. Pass it as a uuid: a text is the name of an agent.';
