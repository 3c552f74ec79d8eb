-- Filters of views, which ask the gate about each row.

create function sentinai_internal.readable_part(internal) returns internal
    language c strict
    as 'MODULE_PATHNAME', 'sentinai_readable_part';
comment on function sentinai_internal.readable_part(internal) is 'For the planner: how many rows may_read() lets through.';

create function sentinai.may_read(tenant_id text) returns boolean
    language c stable parallel restricted cost 5 support sentinai_internal.readable_part
    as 'MODULE_PATHNAME', 'sentinai_may_read';
comment on function sentinai.may_read(text) is 'For views: whether the current user may read events of the tenant.';

create function sentinai.may_see_letter(tenant_id text) returns boolean
    language c stable parallel restricted cost 5
    as 'MODULE_PATHNAME', 'sentinai_may_see_letter';
comment on function sentinai.may_see_letter(text) is 'For views: whether the current user may read or operate for the tenant.';

create function sentinai.may_audit(tenant_id text) returns boolean
    language c stable parallel restricted cost 5
    as 'MODULE_PATHNAME', 'sentinai_may_audit';
comment on function sentinai.may_audit(text) is 'For views: whether the current user may audit the tenant; null: every tenant.';

create function sentinai.may_see_worker_type(worker_type text) returns boolean
    language c stable parallel restricted cost 5
    as 'MODULE_PATHNAME', 'sentinai_may_see_worker_type';
comment on function sentinai.may_see_worker_type(text) is 'For views: whether the current user may see a subscription and its figures: who may claim from it and work for all its tenants, and who may read or operate for every tenant.';
