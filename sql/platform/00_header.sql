-- SPDX-License-Identifier: PostgreSQL
\echo Use "CREATE EXTENSION sentinai_platform" to load this file. \quit

-- Names below that no schema qualifies are PostgreSQL's own.
set local search_path = pg_catalog, pg_temp;

-- A schema that was there before belongs to somebody, who may do in it what he
-- likes, also later.
do $owner$
declare
    stranger text;
begin
    select r.rolname into stranger
    from pg_namespace n join pg_roles r on r.oid = n.nspowner
    where n.nspname = 'sentinai_platform' and r.rolname <> current_user and not r.rolsuper;
    if found then
        raise exception using errcode = 'insufficient_privilege',
            message = 'schema "sentinai_platform" exists and belongs to somebody else',
            detail = format('Its owner is role "%s".', stranger),
            hint = 'Drop or rename the schema, or give it to the role that installs: ALTER SCHEMA sentinai_platform OWNER TO CURRENT_USER.';
    end if;
end $owner$;

comment on schema sentinai_platform is 'The exception platform: commands, rules, agents'' handlers and what they have made of the events.';
