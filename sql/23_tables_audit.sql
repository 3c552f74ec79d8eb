-- Evidence of what the log has: intervals of event ids, and a root for each
-- tenant that has events in one. Rows are added and never changed.

create table sentinai_internal.audit_interval (
    interval_no bigint not null primary key,
    from_id     uuid not null,
    to_id       uuid not null,
    events      bigint not null,
    root        bytea not null,
    chain       bytea not null,
    closed_at   timestamptz not null
);
create unique index audit_interval_to_idx on sentinai_internal.audit_interval (to_id);

comment on table sentinai_internal.audit_interval is 'Intervals of event ids that evidence has been made of. The maintenance writes it.';
comment on column sentinai_internal.audit_interval.interval_no is 'Number of the interval, from 1, without gaps.';
comment on column sentinai_internal.audit_interval.from_id is 'First id of the interval: the to_id of the one before.';
comment on column sentinai_internal.audit_interval.to_id is 'First id after the interval.';
comment on column sentinai_internal.audit_interval.events is 'Events of all tenants in it.';
comment on column sentinai_internal.audit_interval.root is 'SHA-256 root of the Merkle tree over the chains of its tenants, in the order of their names'' bytes.';
comment on column sentinai_internal.audit_interval.chain is 'SHA-256 of the row and of the chain before it.';
comment on column sentinai_internal.audit_interval.closed_at is 'When it was closed.';

create table sentinai_internal.audit_root (
    tenant_id   text collate "C" not null,
    root_no     bigint not null,
    interval_no bigint not null,
    events      bigint not null,
    root        bytea not null,
    chain       bytea not null,
    primary key (tenant_id, root_no)
);
create unique index audit_root_interval_idx on sentinai_internal.audit_root (interval_no, tenant_id);

comment on table sentinai_internal.audit_root is 'Evidence of a tenant''s events in an interval. The maintenance writes it.';
comment on column sentinai_internal.audit_root.tenant_id is 'The tenant.';
comment on column sentinai_internal.audit_root.root_no is 'Number of the tenant''s root, from 1, without gaps.';
comment on column sentinai_internal.audit_root.interval_no is 'The interval.';
comment on column sentinai_internal.audit_root.events is 'Events of the tenant in it.';
comment on column sentinai_internal.audit_root.root is 'SHA-256 root of the Merkle tree (RFC 6962) over these events, in the order of their ids.';
comment on column sentinai_internal.audit_root.chain is 'SHA-256 of the row, the interval''s bounds and the tenant''s chain before it.';

-- An index that is not unique: who makes a partition anew by hand keeps retention
-- from nothing.
create table sentinai_internal.audit_dropped (
    from_id    uuid not null,
    to_id      uuid not null,
    dropped_at timestamptz not null
);
create index audit_dropped_to_idx on sentinai_internal.audit_dropped (to_id);

comment on table sentinai_internal.audit_dropped is 'Partitions of the log that retention has dropped: verify_audit() tells by them what somebody has dropped or detached by hand. Rows are added and never changed.';
comment on column sentinai_internal.audit_dropped.from_id is 'First id of the partition.';
comment on column sentinai_internal.audit_dropped.to_id is 'First id after it.';
comment on column sentinai_internal.audit_dropped.dropped_at is 'When it was dropped.';

insert into sentinai_internal.event_type
    (event_type, version, direction, description, schema, examples, compatibility, registered_at, registered_by)
values ('AuditRootPublished', 1, 'control', 'Evidence of a tenant''s events in an interval: a copy of this event outside is the anchor that the log is compared with.', '{
        "type": "object",
        "properties": {
            "root_no": {"type": "integer", "minimum": 1},
            "interval_no": {"type": "integer", "minimum": 1},
            "from_id": {"type": "string", "format": "uuid"},
            "to_id": {"type": "string", "format": "uuid"},
            "events": {"type": "integer", "minimum": 1},
            "root": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "chain": {"type": "string", "pattern": "^[0-9a-f]{64}$"}
        },
        "required": ["root_no", "interval_no", "from_id", "to_id", "events", "root", "chain"],
        "additionalProperties": false}', '[]', 'backward', '2026-11-29 00:00Z', 'sentinai');
