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

-- read_models(): all rows of the read models, but those of calls for playbooks, for
-- which no agent works here. rebuilt(): all steps of a rebuild; how
-- many there were. diff(): what is not as it was when the rows came into "before".
create temp table before (r text);
create function pg_temp.read_models() returns setof text language sql as $$
    select 'exceptions' || x from sentinai_platform.exceptions x union all select 'approvals' || p from sentinai_platform.approvals p
    union all select 'feedback' || f from sentinai_platform.feedback f union all select 'metrics' || m from sentinai_platform.feedback_metrics m
    union all select 'playbooks' || e from sentinai_platform.playbook_executions e union all select 'steps' || s from sentinai_platform.step_executions s
    union all select 'tools' || t from sentinai_platform.tool_executions t where t.requested_by is distinct from 'playbook' $$;
create function pg_temp.rebuilt(tenant text, n int default 7) returns int language plpgsql as $$
declare
    id constant uuid := sentinai_platform.start_rebuild(tenant);
    steps int := 0;
begin
    while sentinai_platform.rebuild_step(id, n) loop
        steps := steps + 1;
    end loop;
    return steps;
end $$;
create function pg_temp.diff() returns setof text language sql as $$
    (select 'missing ' || r from before except select 'missing ' || r from pg_temp.read_models() r)
    union all (select 'new ' || r from pg_temp.read_models() r except select 'new ' || r from before) $$;
