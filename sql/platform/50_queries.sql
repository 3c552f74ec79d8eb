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
        attributes jsonb default null, max_rows int default 100, before uuid default null)
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
        case when $7 is not null then ' and x.received_at >= $7' end,
        case when $8 is not null then ' and x.received_at < $8' end,
        case when $9 is not null then ' and x.amount >= $9' end,
        case when $10 is not null then ' and x.amount <= $10' end,
        case when $11 is not null then ' and x.attributes @> $11' end,
        case when $13 is not null then ' and x.opened_by < $13' end);
    return query execute 'select * from sentinai_platform.exceptions x where x.tenant_id = $1' || condition
        || ' order by x.opened_by desc limit $12'
        using $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13;
end $$;
comment on function sentinai_platform.list_exceptions(text, text, text, text, text, text, timestamptz, timestamptz, numeric, numeric, jsonb, int, uuid) is 'A page of a tenant''s exceptions, the newest first. A filter that is null does not count. from_time: received then or later. to_time: received before. attributes: a JSON object that the attributes contain. max_rows: 1 to 1,000. before: opened_by of the last row of the page before. Errors: 22004 null tenant_id or max_rows; SN403 not allowed; SN422 invalid max_rows.';
