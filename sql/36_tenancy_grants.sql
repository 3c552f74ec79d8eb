-- Rights for tenants.

create function sentinai.grant_tenant(role name, tenant text, "right" text) returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_grant_tenant';
comment on function sentinai.grant_tenant(name, text, text) is 'Grants a role, and all that inherit its rights, a right for a tenant, or for every tenant with "*". "publish": to publish its events. "work": to claim and complete them. "read": to read them. "operate": dead letters, retries and limits. "audit": to read the action log and proofs. "admin": everything, for "*" only. Rights count when sentinai.tenant_isolation is on. Takes effect in each session when its next transaction begins. Returns false when the role had it. Only the owner of the extension, superusers and those with "admin". Errors: 22004 null; 42501 not allowed; 42704 unknown role; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.revoke_tenant(role name, tenant text, "right" text) returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_revoke_tenant';
comment on function sentinai.revoke_tenant(name, text, text) is 'Takes back what grant_tenant() gave, exactly that: a right for a tenant is not taken from who has it for "*". Returns false when it was not there. Errors: as grant_tenant().';

create function sentinai.grant_work(role name, worker_type text) returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_grant_work';
comment on function sentinai.grant_work(name, text) is 'Lets a role, and all that inherit its rights, claim from a subscription, or from every one with "*". From then on nobody else may claim from that subscription; while sentinai.tenant_isolation is on that holds for every subscription. The subscription may come later. Returns false when the role had it. Only the owner of the extension, superusers and those with "admin". Errors: 22004 null; 42501 not allowed; 42704 unknown role; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.revoke_work(role name, worker_type text) returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_revoke_work';
comment on function sentinai.revoke_work(name, text) is 'Takes back what grant_work() gave. Returns false when it was not there. Errors: as grant_work().';

create function sentinai.require_proof(role name, required boolean default true) returns boolean
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_require_proof';
comment on function sentinai.require_proof(name, boolean) is 'Marks a role, and all its members: while sentinai.tenant_isolation is on they may do nothing for a tenant before act_as() has taken a proof. required: false takes the mark away. Returns false when nothing changed. Only the owner of the extension, superusers and those with "admin". Errors: 22004 null; 42501 not allowed; 42704 unknown role; 25006 read-only transaction or standby.';

create function sentinai.create_roles() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_create_roles';
comment on function sentinai.create_roles() is 'Makes the roles sentinai_publisher, sentinai_agent, sentinai_reader, sentinai_operator, sentinai_auditor, sentinai_relay and sentinai_admin, unless they are there, and grants each the functions and views that it needs. They cannot log in: make your own roles members of them. Only sentinai_admin gets a right for tenants: "admin". Call it again after an update of the extension: members of sentinai_admin may, too. Errors: 42501 the caller may not make a role or membership that is missing, or is neither the owner of the extension, a superuser nor somebody with the right "admin"; 25006 read-only transaction or standby.';

create function sentinai.act_as(tenant text, proof text default null) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_act_as';
comment on function sentinai.act_as(text, text) is 'Until the transaction ends, or the savepoint that it is called in, nothing can be done for another tenant. It gives no right. proof: what a role brings that require_proof() has marked: "expiry.mac", the expiry in seconds since 1970; the mac in hexadecimal is HMAC-SHA-256 with the key of sentinai.proof_key_file over the lines "v1", expiry, role and tenant. Errors: 22004 null tenant; SN403 the caller may do nothing for the tenant, acts for another one already, or the proof is not good; SN422 invalid argument.';

create function sentinai.may("right" text, tenant text) returns boolean
    language c stable parallel restricted
    as 'MODULE_PATHNAME', 'sentinai_may';
comment on function sentinai.may(text, text) is 'Whether the caller has a right for a tenant now, or for every one with "*". The rights are those of grant_tenant(). While sentinai.tenant_isolation is off everybody has them all but "admin". Errors: 22004 null; SN422 no such right.';

create function sentinai.grants_changed() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_grants_changed';
comment on function sentinai.grants_changed() is 'Trigger of the tables of grants: tells all sessions that they were changed by SQL, as by a dump that is restored.';

create trigger grants_changed after insert or update or delete or truncate on sentinai_internal.tenant_grant
    for each statement execute function sentinai.grants_changed();
alter table sentinai_internal.tenant_grant enable always trigger grants_changed;
comment on trigger grants_changed on sentinai_internal.tenant_grant is 'Sessions know the grants by heart.';

create trigger grants_changed after insert or update or delete or truncate on sentinai_internal.work_grant
    for each statement execute function sentinai.grants_changed();
alter table sentinai_internal.work_grant enable always trigger grants_changed;
comment on trigger grants_changed on sentinai_internal.work_grant is 'Sessions know the grants by heart.';

create trigger grants_changed after insert or update or delete or truncate on sentinai_internal.proof_role
    for each statement execute function sentinai.grants_changed();
alter table sentinai_internal.proof_role enable always trigger grants_changed;
comment on trigger grants_changed on sentinai_internal.proof_role is 'Sessions know the grants by heart.';

create view sentinai.tenant_grants with (security_barrier) as
select g.role::pg_catalog.regrole as role, g.tenant_id, g.right_name as "right", g.granted_at, g.granted_by
from sentinai_internal.tenant_grant g
where sentinai.may('admin', '*') or pg_catalog.pg_has_role(g.role, 'member');
comment on view sentinai.tenant_grants is 'What roles may do for tenants: all of it for who has "admin", otherwise what the current user or one of its roles was granted.';
comment on column sentinai.tenant_grants.role is 'Role that has the right, with all that inherit its rights. A number: the role was dropped, and the next pass of maintenance takes the row.';
comment on column sentinai.tenant_grants.tenant_id is 'Tenant; "*" for every one.';
comment on column sentinai.tenant_grants."right" is '"publish", "work", "read", "operate", "audit" or "admin".';
comment on column sentinai.tenant_grants.granted_at is 'When it was granted.';
comment on column sentinai.tenant_grants.granted_by is 'Role that granted it.';

create view sentinai.work_grants with (security_barrier) as
select g.role::pg_catalog.regrole as role, g.worker_type, g.granted_at, g.granted_by
from sentinai_internal.work_grant g
where sentinai.may('admin', '*') or pg_catalog.pg_has_role(g.role, 'member');
comment on view sentinai.work_grants is 'From which subscriptions roles may claim: all of it for who has "admin", otherwise what the current user or one of its roles was granted.';
comment on column sentinai.work_grants.role is 'Role that may claim, with all that inherit its rights. A number: the role was dropped, and the next pass of maintenance takes the row. "-": nobody, since all roles that might were dropped.';
comment on column sentinai.work_grants.worker_type is 'Name of the subscription; "*" for every one.';
comment on column sentinai.work_grants.granted_at is 'When it was granted.';
comment on column sentinai.work_grants.granted_by is 'Role that granted it.';

create view sentinai.actions with (security_barrier) as
select a.action_id, a.acted_at, a.actor, a.session_role, a.acting_role, a.action,
       a.tenant_id, a.object, a.before, a.after, a.reason, a.kind, a.worker_type, a.aggregate_id, a.clock_id
from sentinai_internal.action_log a
where sentinai.may_audit(a.tenant_id);
comment on view sentinai.actions is 'What people did and changed, of tenants that the current user may audit. What concerns every tenant takes the right for every one; audit_trail() shows it with each tenant.';
comment on column sentinai.actions.action_id is 'Number of the row, rising.';
comment on column sentinai.actions.acted_at is 'When it was done.';
comment on column sentinai.actions.actor is 'Who did it, as the caller said; the session''s role where nothing was said.';
comment on column sentinai.actions.session_role is 'Role that had logged in.';
comment on column sentinai.actions.acting_role is 'Role whose rights counted.';
comment on column sentinai.actions.action is 'What was done: the name of the function.';
comment on column sentinai.actions.tenant_id is 'Tenant it concerns; "*": every one; null: none of its own, as what a role has to prove.';
comment on column sentinai.actions.object is 'What was changed.';
comment on column sentinai.actions.before is 'What was there before; null: nothing.';
comment on column sentinai.actions.after is 'What is there now; null: nothing.';
comment on column sentinai.actions.reason is 'Why, as the caller said.';
comment on column sentinai.actions.kind is '"configuration": it holds from then on; "action": it was done once, with what was there.';
comment on column sentinai.actions.worker_type is 'Subscription that it is about; null: none.';
comment on column sentinai.actions.aggregate_id is 'Aggregate of the event that it was done with; null: of none.';
comment on column sentinai.actions.clock_id is 'Where it stands among the events, as the id of one: see audit_trail().';
