-- Who may do what for which tenant, and what people changed.

-- A role in a table of grants.  A dump may name one that is not where it is restored.
create type sentinai_internal.grantee;
create function sentinai_internal.grantee_in(name cstring) returns sentinai_internal.grantee
    language c stable strict parallel safe
    as 'MODULE_PATHNAME', 'sentinai_grantee_in';
create function sentinai_internal.grantee_out(role sentinai_internal.grantee) returns cstring
    language c stable strict parallel safe
    as 'MODULE_PATHNAME', 'sentinai_grantee_out';
create function sentinai_internal.grantee_recv(internal) returns sentinai_internal.grantee
    language c stable strict parallel safe
    as 'MODULE_PATHNAME', 'sentinai_grantee_recv';
create function sentinai_internal.grantee_send(role sentinai_internal.grantee) returns bytea
    language c stable strict parallel safe
    as 'MODULE_PATHNAME', 'sentinai_grantee_send';
create type sentinai_internal.grantee (
    input = sentinai_internal.grantee_in,
    output = sentinai_internal.grantee_out,
    receive = sentinai_internal.grantee_recv,
    send = sentinai_internal.grantee_send,
    like = pg_catalog.oid
);
create cast (sentinai_internal.grantee as pg_catalog.oid) without function as implicit;
create cast (sentinai_internal.grantee as pg_catalog.regrole) without function as implicit;
comment on type sentinai_internal.grantee is 'A role by number, written as regrole is. A name that no role has is read with a WARNING, as a number that none has either: for nobody.';
comment on function sentinai_internal.grantee_in(cstring) is 'Input of type grantee.';
comment on function sentinai_internal.grantee_out(sentinai_internal.grantee) is 'Output of type grantee.';
comment on function sentinai_internal.grantee_recv(internal) is 'Binary input of type grantee: a number.';
comment on function sentinai_internal.grantee_send(sentinai_internal.grantee) is 'Binary output of type grantee.';

create table sentinai_internal.tenant_grant (
    role       sentinai_internal.grantee not null,
    tenant_id  text collate "C" not null,
    right_name text collate "C" not null,
    granted_at timestamptz not null,
    granted_by text collate "C" not null,
    primary key (role, tenant_id, right_name)
);

comment on table sentinai_internal.tenant_grant is 'What roles may do for tenants. Functions write it; the view tenant_grants shows it.';
comment on column sentinai_internal.tenant_grant.role is 'Role that has the right, with all its members. By number, as PostgreSQL''s own grants: it may be renamed, and one that is made anew under its name has nothing.';
comment on column sentinai_internal.tenant_grant.tenant_id is 'Tenant; "*" for every one.';
comment on column sentinai_internal.tenant_grant.right_name is '"publish", "work", "read", "operate", "audit" or "admin".';
comment on column sentinai_internal.tenant_grant.granted_at is 'When it was granted.';
comment on column sentinai_internal.tenant_grant.granted_by is 'Role that granted it.';

create table sentinai_internal.work_grant (
    worker_type text collate "C" not null,
    role        sentinai_internal.grantee not null,
    granted_at  timestamptz not null,
    granted_by  text collate "C" not null,
    primary key (worker_type, role)
);

comment on table sentinai_internal.work_grant is 'From which subscriptions roles may claim. Functions write it; the view work_grants shows it.';
comment on column sentinai_internal.work_grant.worker_type is 'Name of the subscription; "*" for every one.';
comment on column sentinai_internal.work_grant.role is 'Role that may claim, with all its members.';
comment on column sentinai_internal.work_grant.granted_at is 'When it was granted.';
comment on column sentinai_internal.work_grant.granted_by is 'Role that granted it.';

create table sentinai_internal.proof_role (
    role       sentinai_internal.grantee not null,
    granted_at timestamptz not null,
    granted_by text collate "C" not null,
    primary key (role)
);

comment on table sentinai_internal.proof_role is 'Roles that may do nothing for a tenant before act_as() has taken a proof. require_proof() writes it.';
comment on column sentinai_internal.proof_role.role is 'The role, with all its members.';
comment on column sentinai_internal.proof_role.granted_at is 'When it was marked.';
comment on column sentinai_internal.proof_role.granted_by is 'Role that marked it.';

create table sentinai_internal.action_log (
    action_id    bigint generated always as identity primary key,
    acted_at     timestamptz not null,
    actor        text collate "C" not null,
    session_role text collate "C" not null,
    acting_role  text collate "C" not null,
    action       text collate "C" not null,
    tenant_id    text collate "C",
    object       text collate "C",
    before       jsonb,
    after        jsonb,
    reason       text collate "C",
    kind         text collate "C" not null,
    worker_type  text collate "C",
    aggregate_id text collate "C",
    clock_id     uuid not null
);
create unique index action_log_clock_idx on sentinai_internal.action_log (clock_id);
create index action_log_tenant_idx on sentinai_internal.action_log (tenant_id, clock_id);
create index action_log_aggregate_idx on sentinai_internal.action_log (tenant_id, kind, aggregate_id, clock_id);

comment on table sentinai_internal.action_log is 'What people did and changed: who, when, what, before and after. A row is written in the transaction of the change. The view actions and audit_trail() show it.';
comment on column sentinai_internal.action_log.action_id is 'Number of the row, rising.';
comment on column sentinai_internal.action_log.acted_at is 'When it was done: the time in clock_id.';
comment on column sentinai_internal.action_log.actor is 'Who did it, as the caller said; the session''s role where nothing was said.';
comment on column sentinai_internal.action_log.session_role is 'Role that had logged in.';
comment on column sentinai_internal.action_log.acting_role is 'Role whose rights counted: another one after SET ROLE, and in a SECURITY DEFINER function.';
comment on column sentinai_internal.action_log.action is 'What was done: the name of the function.';
comment on column sentinai_internal.action_log.tenant_id is 'Tenant it concerns; "*": every one; null: none of its own, as what a role has to prove.';
comment on column sentinai_internal.action_log.object is 'What was changed.';
comment on column sentinai_internal.action_log.before is 'What was there before; null: nothing.';
comment on column sentinai_internal.action_log.after is 'What is there now; null: nothing.';
comment on column sentinai_internal.action_log.reason is 'Why, as the caller said.';
comment on column sentinai_internal.action_log.kind is '"configuration": it holds from then on; "action": it was done once, with what was there.';
comment on column sentinai_internal.action_log.worker_type is 'Subscription that it is about; null: none. Who may not see that one does not see what concerns every tenant of it.';
comment on column sentinai_internal.action_log.aggregate_id is 'Aggregate of the event that it was done with; null: of none.';
comment on column sentinai_internal.action_log.clock_id is 'Id that the clock of events gave: where the row stands among them.';
