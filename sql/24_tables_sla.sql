-- Deadlines of aggregates.

create table sentinai_internal.deadline (
    deadline_id    bigint generated always as identity primary key,
    tenant_id      text collate "C" not null,
    aggregate_type text collate "C" not null,
    aggregate_id   text collate "C" not null,
    kind           text collate "C" not null,
    status         text collate "C" not null,
    due_at         timestamptz not null,
    warn_at        timestamptz,
    next_at        timestamptz,
    set_at         timestamptz not null,
    set_by         text collate "C" not null,
    moves          int not null,
    warned_at      timestamptz,
    expired_at     timestamptz,
    ended_at       timestamptz,
    correlation_id text collate "C",
    causation_id   uuid
);
create unique index deadline_open_idx on sentinai_internal.deadline (tenant_id, aggregate_id, kind) where status = 'open';
create index deadline_key_idx on sentinai_internal.deadline (tenant_id, aggregate_id, kind, deadline_id);
create index deadline_next_idx on sentinai_internal.deadline (next_at) where next_at is not null;
create index deadline_turn_idx on sentinai_internal.deadline (tenant_id, next_at) where next_at is not null;
create index deadline_ended_idx on sentinai_internal.deadline (ended_at) where ended_at is not null;

comment on table sentinai_internal.deadline is 'Deadlines of aggregates, open ones and those that have ended. Functions write it; the view deadlines shows it.';
comment on column sentinai_internal.deadline.deadline_id is 'Number of the deadline.';
comment on column sentinai_internal.deadline.tenant_id is 'Tenant of the aggregate.';
comment on column sentinai_internal.deadline.aggregate_type is 'Type of the aggregate.';
comment on column sentinai_internal.deadline.aggregate_id is 'The aggregate.';
comment on column sentinai_internal.deadline.kind is 'What it is a deadline for.';
comment on column sentinai_internal.deadline.status is '"open", "expired", "met" or "cancelled"; one of each kind of an aggregate is open.';
comment on column sentinai_internal.deadline.due_at is 'When it is over.';
comment on column sentinai_internal.deadline.warn_at is 'When SLAImminent is published; null: it is not.';
comment on column sentinai_internal.deadline.next_at is 'When something is to be published next; null: nothing is. The index on it drives the scans.';
comment on column sentinai_internal.deadline.set_at is 'When it was set first.';
comment on column sentinai_internal.deadline.set_by is 'Role that set it last.';
comment on column sentinai_internal.deadline.moves is 'How many times it was moved.';
comment on column sentinai_internal.deadline.warned_at is 'When SLAImminent was published; null: not yet, or not since it was moved to a later time.';
comment on column sentinai_internal.deadline.expired_at is 'When SLAExpired was published; null: it was not.';
comment on column sentinai_internal.deadline.ended_at is 'When it expired, was met or was cancelled; null: it is open.';
comment on column sentinai_internal.deadline.correlation_id is 'Flow of its events; null: the one that is named by the aggregate.';
comment on column sentinai_internal.deadline.causation_id is 'Event that was worked on when it was set; null: none.';

create table sentinai_internal.sla_threshold (
    tenant_id  text collate "C" primary key,
    threshold  float8 not null,
    changed_at timestamptz not null,
    changed_by text collate "C" not null
);

comment on table sentinai_internal.sla_threshold is 'Share of a deadline''s time after which SLAImminent is published. Functions write it; the view sla_thresholds shows it.';
comment on column sentinai_internal.sla_threshold.tenant_id is 'Tenant; "*" for all that have no row of their own.';
comment on column sentinai_internal.sla_threshold.threshold is 'More than 0, at most 1; 1: SLAImminent is not published.';
comment on column sentinai_internal.sla_threshold.changed_at is 'When it was set.';
comment on column sentinai_internal.sla_threshold.changed_by is 'Role that set it.';
