-- Queries. They read the read model and nothing else.

create function sentinai_platform.require_read(tenant_id text) returns void
    language plpgsql stable parallel restricted
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if tenant_id is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'tenant_id must not be null';
    elsif not sentinai.may('read', tenant_id) then
        raise exception using errcode = 'SN403', message = 'tenant_id is not one the caller may read';
    end if;
end $$;
comment on function sentinai_platform.require_read(text) is 'For the queries: an error unless the caller may read what the tenant has.';

create function sentinai_platform.require_page(tenant_id text, max_rows int) returns void
    language plpgsql stable parallel restricted
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform sentinai_platform.require_read(tenant_id);
    if max_rows is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'max_rows must not be null';
    elsif max_rows < 1 or max_rows > 1000 then
        raise exception using errcode = 'SN422', message = 'max_rows must be from 1 to 1000';
    end if;
end $$;
comment on function sentinai_platform.require_page(text, int) is 'For the queries: an error unless the caller may read what the tenant has, and asks for a page of 1 to 1,000 rows.';

create function sentinai_platform.first_id(at timestamptz) returns uuid
    language sql immutable strict parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select case when at < 'epoch' then '00000000-0000-0000-0000-000000000000'::uuid
                when at >= '5000-01-01' then 'ffffffff-ffff-ffff-ffff-ffffffffffff'
                else (lpad(to_hex(ceil(extract(epoch from at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid end $$;
comment on function sentinai_platform.first_id(timestamptz) is 'For the queries: the least id of an event of that time or later. Ids are in the order of time, so a range of time is one of the index that has the order of a list.';

create function sentinai_platform.get_exception(tenant_id text, exception_id text)
    returns setof sentinai_platform.exceptions
    language plpgsql stable parallel restricted rows 1
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
begin
    perform sentinai_platform.require_read(get_exception.tenant_id);
    return query select * from sentinai_platform.exceptions x
                 where x.tenant_id = get_exception.tenant_id and x.exception_id = get_exception.exception_id;
end $$;
comment on function sentinai_platform.get_exception(text, text) is 'The row of an exception in the read model; none when there is no such exception. Errors: 22004 null tenant_id; SN403 not allowed.';

create function sentinai_platform.list_exceptions(
        tenant_id text, state text default null, exception_type text default null,
        severity text default null, category text default null, source text default null,
        from_time timestamptz default null, to_time timestamptz default null,
        min_amount numeric default null, max_amount numeric default null,
        attributes jsonb default null, max_rows int default 100, before uuid default null,
        sla text default null, playbook text default null)
    returns setof sentinai_platform.exceptions
    language plpgsql stable parallel restricted rows 100
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
declare
    -- only what is asked for, so that the planner sees which index serves
    condition text := '';
begin
    perform sentinai_platform.require_page($1, max_rows);
    condition := concat(
        case when $2 is not null then ' and x.state = $2' end,
        case when $3 is not null then ' and x.exception_type = $3' end,
        case when $4 is not null then ' and x.severity = $4' end,
        case when $5 is not null then ' and x.category = $5' end,
        case when $6 is not null then ' and x.source = $6' end,
        case when $7 is not null then ' and x.opened_by >= sentinai_platform.first_id($7)' end,
        case when $8 is not null then ' and x.opened_by < sentinai_platform.first_id($8)' end,
        case when $9 is not null then ' and x.amount >= $9' end,
        case when $10 is not null then ' and x.amount <= $10' end,
        case when $11 is not null then ' and x.attributes @> $11' end,
        case when $13 is not null then ' and x.opened_by < $13' end,
        case when $14 is not null then ' and x.sla = $14' end,
        case when $15 is not null then ' and x.playbook = $15' end);
    return query execute 'select * from sentinai_platform.exceptions x where x.tenant_id = $1' || condition
        || ' order by x.opened_by desc limit $12'
        using $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15;
end $$;
comment on function sentinai_platform.list_exceptions(text, text, text, text, text, text, timestamptz, timestamptz, numeric, numeric, jsonb, int, uuid, text, text) is 'A page of a tenant''s exceptions, the newest first. A filter that is null does not count. from_time: received then or later. to_time: received before. attributes: a JSON object that the attributes contain. sla: how it stands with its deadline. playbook: the one that was chosen. What is rare is found fast in a range of time, or of a type, a state or a severity. max_rows: 1 to 1,000. before: opened_by of the last row of the page before. Errors: 22004 null tenant_id or max_rows; SN403 not allowed; SN422 invalid max_rows.';

create function sentinai_platform.get_approval(tenant_id text, approval_id uuid)
    returns setof sentinai_platform.approvals
    language plpgsql stable parallel restricted rows 1
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
begin
    perform sentinai_platform.require_read(get_approval.tenant_id);
    return query select * from sentinai_platform.approvals p
                 where p.tenant_id = get_approval.tenant_id and p.approval_id = get_approval.approval_id;
end $$;
comment on function sentinai_platform.get_approval(text, uuid) is 'What people are asked to decide, as its row; none when there is no such approval. Errors: 22004 null tenant_id; SN403 not allowed.';

create function sentinai_platform.list_approvals(
        tenant_id text, status text default null, exception_id text default null, rule text default null,
        due_before timestamptz default null, from_time timestamptz default null, to_time timestamptz default null,
        max_rows int default 100, before uuid default null)
    returns setof sentinai_platform.approvals
    language plpgsql stable parallel restricted rows 100
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
declare
    condition text := '';
begin
    perform sentinai_platform.require_page($1, max_rows);
    condition := concat(
        case when $2 is not null then ' and p.status = $2' end,
        case when $3 is not null then ' and p.exception_id = $3' end,
        case when $4 is not null then ' and p.rule = $4' end,
        case when $5 is not null then ' and p.due_at < $5' end,
        case when $6 is not null then ' and p.opened_by >= sentinai_platform.first_id($6)' end,
        case when $7 is not null then ' and p.opened_by < sentinai_platform.first_id($7)' end,
        case when $9 is not null then ' and p.opened_by < $9' end);
    return query execute 'select * from sentinai_platform.approvals p where p.tenant_id = $1' || condition
        || ' order by p.opened_by desc limit $8'
        using $1, $2, $3, $4, $5, $6, $7, $8, $9;
end $$;
comment on function sentinai_platform.list_approvals(text, text, text, text, timestamptz, timestamptz, timestamptz, int, uuid) is 'A page of what people of a tenant are asked to decide, and what they have decided, the newest first. A filter that is null does not count. rule: guardrail that asks. due_before: to be decided before. from_time: asked for then or later. to_time: asked for before. max_rows: 1 to 1,000. before: opened_by of the last row of the page before. Errors: 22004 null tenant_id or max_rows; SN403 not allowed; SN422 invalid max_rows.';
