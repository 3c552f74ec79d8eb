-- SPDX-License-Identifier: PostgreSQL
-- The detail of an error as JSON, which limits and schemas have:
--     \ir lib/detail.sql
create function pg_temp.detail(statement text) returns jsonb language plpgsql as $$
declare
    d text;
begin
    execute statement;
    return null;
exception when others then
    get stacked diagnostics d = pg_exception_detail;
    return d::jsonb;
end $$;
