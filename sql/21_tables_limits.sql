-- What tenants may use.

create table sentinai_internal.tenant_limit (
    tenant_id  text collate "C" not null,
    kind       text collate "C" not null,
    value      bigint not null,
    "window"   interval not null,
    enabled    boolean not null,
    changed_at timestamptz not null,
    changed_by text collate "C" not null,
    primary key (tenant_id, kind)
);

comment on table sentinai_internal.tenant_limit is 'Limits of tenants. Functions write it; the view limits shows it.';
comment on column sentinai_internal.tenant_limit.tenant_id is 'Tenant; "*" for all that have no row of their own.';
comment on column sentinai_internal.tenant_limit.kind is 'What is counted: "events_published", "events_bytes", or a kind of an application.';
comment on column sentinai_internal.tenant_limit.value is 'So much in each window, and at once.';
comment on column sentinai_internal.tenant_limit."window" is 'Time in which an empty bucket fills.';
comment on column sentinai_internal.tenant_limit.enabled is 'Whether it is in force; a row of a tenant that is not switches off the default for him, too.';
comment on column sentinai_internal.tenant_limit.changed_at is 'When it was set.';
comment on column sentinai_internal.tenant_limit.changed_by is 'Role that set it.';

create table sentinai_internal.backlog_limit (
    worker_type text collate "C" not null,
    tenant_id   text collate "C" not null,
    max_backlog bigint not null,
    policy      text collate "C" not null,
    max_delay   interval not null,
    changed_at  timestamptz not null,
    changed_by  text collate "C" not null,
    over_since  timestamptz,
    event_types text[] collate "C",
    tenants     text[] collate "C",
    backlog     bigint,
    primary key (worker_type, tenant_id)
);

comment on table sentinai_internal.backlog_limit is 'How much may wait in a subscription. Functions write it, and the sequencer''s process; the view backlog_limits shows it.';
comment on column sentinai_internal.backlog_limit.worker_type is 'The subscription.';
comment on column sentinai_internal.backlog_limit.tenant_id is 'Tenant; "*" for all together.';
comment on column sentinai_internal.backlog_limit.max_backlog is 'So many events may wait.';
comment on column sentinai_internal.backlog_limit.policy is 'What publishers do while more wait: "refuse" or "delay".';
comment on column sentinai_internal.backlog_limit.max_delay is 'How long a publisher waits at most.';
comment on column sentinai_internal.backlog_limit.changed_at is 'When it was set.';
comment on column sentinai_internal.backlog_limit.changed_by is 'Role that set it.';
comment on column sentinai_internal.backlog_limit.over_since is 'Since when more wait; null: they do not.';
comment on column sentinai_internal.backlog_limit.event_types is 'While more wait: what the subscription gets; null: all.';
comment on column sentinai_internal.backlog_limit.tenants is 'While more wait: whose events it gets; null: everybody''s.';
comment on column sentinai_internal.backlog_limit.backlog is 'While more wait: how many, as far as they were counted. A look that finds a tenth more or less notes it.';

create table sentinai_internal.tenant_weight (
    tenant_id  text collate "C" primary key,
    weight     int not null,
    changed_at timestamptz not null,
    changed_by text collate "C" not null
);
create index on sentinai_internal.tenant_weight (weight);

comment on table sentinai_internal.tenant_weight is 'Weights of tenants. Functions write it; the view weights shows it.';
comment on column sentinai_internal.tenant_weight.tenant_id is 'Tenant; "*" for all that have no row of their own.';
comment on column sentinai_internal.tenant_weight.weight is 'Turns in a round of turns, from 1 to 100.';
comment on column sentinai_internal.tenant_weight.changed_at is 'When it was set.';
comment on column sentinai_internal.tenant_weight.changed_by is 'Role that set it.';
