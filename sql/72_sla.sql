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
