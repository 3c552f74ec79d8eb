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
