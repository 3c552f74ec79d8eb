-- Evidence: what the log has is what it had.

create function sentinai.verify_audit(
        tenant_id text default null, from_time timestamptz default null, to_time timestamptz default null)
    returns table (
        interval_no bigint, tenant_id text, from_time timestamptz, to_time timestamptz,
        events bigint, found bigint, status text)
    language c stable parallel unsafe rows 100
    as 'MODULE_PATHNAME', 'sentinai_verify_audit';
comment on function sentinai.verify_audit(text, timestamptz, timestamptz) is 'Reads the log again and compares it with its evidence. tenant_id: whose; null or "*" for all. from_time, to_time: intervals that have events of that time; null for no bound. A row for each interval and tenant. events: how many there were when the interval was closed; found: how many there are. status: "ok"; "altered", an event is not what it was; "missing", fewer events than there were, also where their partition was dropped or detached by hand; "added", more; "chain broken", the evidence itself is not what it was; then with tenant_id null for all tenants of the interval; "dropped", retention has dropped them; "open" in the last row, what came since has no evidence yet. Reads all events of the intervals, of other tenants, too. Errors: SN403 the caller may not audit the tenant.';

create function sentinai.audit_proof(event_id uuid) returns jsonb
    language c stable strict parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_audit_proof';
comment on function sentinai.audit_proof(uuid) is 'Proof that an event is in the evidence, which docs/audit_proof.py checks without the database: an object with "event", the fields that the leaf is a SHA-256 digest of, "leaf", "path" to the "root" of the tenant''s Merkle tree (RFC 6962), what that stands for, "previous_chain" and "chain", which the event AuditRootPublished has, too. Errors: SN404 no such event, not closed yet, or of a tenant that the caller may not audit; XX001 the log is not what the evidence says.';

create function sentinai.audit_trail(
        tenant_id text, aggregate_id text default null,
        from_time timestamptz default null, to_time timestamptz default null,
        after_id uuid default null, max_rows int default 1000,
        kinds text[] default null, aggregate_type text default null)
    returns table (
        id uuid, at timestamptz, kind text, what text, tenant_id text,
        aggregate_type text, aggregate_id text, actor text, object text,
        before jsonb, after jsonb, reason text, detail jsonb, action_id bigint)
    language c stable parallel restricted rows 1000
    as 'MODULE_PATHNAME', 'sentinai_audit_trail';
comment on function sentinai.audit_trail(text, text, timestamptz, timestamptz, uuid, int, text[], text) is 'What happened to a tenant, in one order: its events, what people did with them, and how the configuration changed. tenant_id: whose; "*" for all, with what concerns none of its own. aggregate_id: only events of this aggregate, what people did with them, and the configuration. from_time (inclusive), to_time (exclusive): null for no bound. after_id: the last id of the page before. max_rows: 1 to 10,000. kinds: of "event", "action" and "configuration"; null for all. aggregate_type: only events of aggregates of this type. Columns: id, where a row stands, for an event its id; at, its time; what, the event type or the name of the function; tenant_id, "*" for what concerns every tenant; actor, who did it, null for an event; object, what it was done with; before, after, what was there and is, for an event its payload; reason; detail, an object: of an event schema_version, correlation_id, causation_id and metadata, else session_role, acting_role and worker_type; action_id, its row in actions. Errors: 22004 null tenant_id or max_rows; SN403 the caller may not audit the tenant; SN422 invalid argument.';

create view sentinai.audit_roots with (security_barrier) as
select r.tenant_id, r.root_no, r.interval_no, i.from_id, i.to_id, r.events,
       pg_catalog.encode(r.root, 'hex') as root, pg_catalog.encode(r.chain, 'hex') as chain, i.closed_at
from sentinai_internal.audit_root r
     join sentinai_internal.audit_interval i on i.interval_no operator(pg_catalog.=) r.interval_no
where sentinai.may_audit(r.tenant_id);

comment on view sentinai.audit_roots is 'The evidence: a row for each interval and tenant.';
comment on column sentinai.audit_roots.tenant_id is 'The tenant.';
comment on column sentinai.audit_roots.root_no is 'Number of the tenant''s root, from 1, without gaps.';
comment on column sentinai.audit_roots.interval_no is 'The interval.';
comment on column sentinai.audit_roots.from_id is 'First event id of the interval.';
comment on column sentinai.audit_roots.to_id is 'First id after it.';
comment on column sentinai.audit_roots.events is 'Events of the tenant in it.';
comment on column sentinai.audit_roots.root is 'Root of the Merkle tree over these events, in hexadecimal.';
comment on column sentinai.audit_roots.chain is 'Digest of the row and of the tenant''s chain before it, in hexadecimal.';
comment on column sentinai.audit_roots.closed_at is 'When it was closed.';
