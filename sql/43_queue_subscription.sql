-- Subscriptions and their retry policies.

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

create function sentinai.unsubscribe(worker_type text) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_unsubscribe';
comment on function sentinai.unsubscribe(text) is 'Ends a subscription: its position, open batches, waiting retries and retry policies are gone; its ledger and dead letters stay. A dead letter that was being tried again is pending again; when the subscription is made anew, pending ones count as its own. Waits for transactions that work on its batches. Errors: 22004 null; SN403 not allowed; SN404 unknown worker type; 25006 read-only transaction or standby.';

create function sentinai.set_retry_policy(
        worker_type text, event_type text,
        max_attempts int default null, backoff interval[] default null)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_set_retry_policy';
comment on function sentinai.set_retry_policy(text, text, int, interval[]) is 'Sets the retry policy of one event type of a subscription, which goes before the subscription''s own; with max_attempts and backoff null it is removed. Both are as in subscribe(). Errors: 22004 null where there must be a value; SN403 not allowed; SN404 unknown worker type; SN422 invalid argument; 22008 interval out of range; 25006 read-only transaction or standby.';
