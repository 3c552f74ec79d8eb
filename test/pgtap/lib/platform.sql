-- For the tests of the platform; \ir it inside the transaction.
-- batch(): what claim() would give of a tenant's events of some types, without a token
create function pg_temp.batch(tenant text, types text[] default '{ExceptionIngested,ManualExceptionCreated}') returns jsonb language sql as $$
    select coalesce(jsonb_agg(to_jsonb(e) order by event_id), '[]') from sentinai.event_log e where tenant_id = tenant and event_type = any (types) $$;

-- detail(): the SQLSTATE of a statement, and the fields that its detail names
create function pg_temp.detail(statement text) returns text language plpgsql as $$
declare
    d text;
begin
    execute statement;
    return 'no error';
exception when others then
    get stacked diagnostics d = pg_exception_detail;
    return sqlstate || ' ' || (select string_agg(concat(x ->> 'pointer', ' ', x ->> 'keyword'), ', ' order by x ->> 'pointer' collate "C", x ->> 'keyword' collate "C") from jsonb_array_elements(d::jsonb) x);
end $$;

-- mapped(): what intake makes of data of a source, for the tenant m; or why it does not
create function pg_temp.mapped(source text, data jsonb) returns text language plpgsql set timezone = 'UTC' as $$
declare
    id constant text := 'M-' || md5(random()::text);
    d text;
begin
    perform sentinai_platform.submit_exception('m', source, data, id);
    perform sentinai_platform.handle_intake((select jsonb_agg(e) from jsonb_array_elements(pg_temp.batch('m')) e where e ->> 'aggregate_id' = id));
    return (select format('%s %s %s %s %s', amount, currency, severity, occurred_at, attributes) from sentinai_platform.exceptions where exception_id = id);
exception when sqlstate 'SN422' then
    get stacked diagnostics d = pg_exception_detail;
    return sqlstate || ' ' || (select string_agg(concat(x ->> 'pointer', ' ', x ->> 'keyword'), ', ') from jsonb_array_elements(d::jsonb) x);
end $$;

-- said(): all that an error of intake says
create function pg_temp.said(source text, data jsonb) returns text language plpgsql as $$
declare
    d text;
begin
    perform sentinai_platform.submit_exception('m', source, data, 'S');
    perform sentinai_platform.handle_intake((select jsonb_agg(e) from jsonb_array_elements(pg_temp.batch('m')) e where e ->> 'aggregate_id' = 'S'));
    return '';
exception when others then
    get stacked diagnostics d = pg_exception_detail;
    return sqlerrm || d;
end $$;

-- ids(): of the exceptions that a query returns, in its order
create function pg_temp.ids(query text) returns text language plpgsql as $$
declare
    result text;
begin
    execute format('select string_agg(exception_id, '','') from (%s) q', query) into result;
    return result;
end $$;
