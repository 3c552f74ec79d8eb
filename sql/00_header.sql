-- SPDX-License-Identifier: PostgreSQL
\echo Use "CREATE EXTENSION sentinai" to load this file. \quit

-- Names below that no schema qualifies are PostgreSQL's own.
set local search_path = pg_catalog, pg_temp;

-- What does not fit another encoding would stop whoever reads it, and a key
-- would have another hash than the client of a broker gives it.
do $encoding$
declare
    encoding text;
begin
    select pg_encoding_to_char(d.encoding) into encoding
    from pg_database d where d.datname = current_database();
    if encoding <> 'UTF8' then
        raise exception using errcode = 'feature_not_supported',
            message = 'extension "sentinai" needs a database whose encoding is UTF8',
            detail = format('The encoding of database "%s" is %s.', current_database(), encoding),
            hint = 'Make one: CREATE DATABASE name TEMPLATE template0 ENCODING ''UTF8''.';
    end if;
end $encoding$;

-- A schema that was there before belongs to somebody, who may do in it what he
-- likes, also later.  CREATE EXTENSION takes it as it is, so look here.  That
-- of a superuser may come from a dump that somebody else restores.
do $owner$
declare
    stranger text;
    thing text;
begin
    select r.rolname into stranger
    from pg_namespace n join pg_roles r on r.oid = n.nspowner
    where n.nspname = 'sentinai' and r.rolname <> current_user and not r.rolsuper;
    if found then
        raise exception using errcode = 'insufficient_privilege',
            message = 'schema "sentinai" exists and belongs to somebody else',
            detail = format('Its owner is role "%s".', stranger),
            hint = 'Drop or rename the schema, or give it to the role that installs: ALTER SCHEMA sentinai OWNER TO CURRENT_USER.';
    end if;
    select x.kind || ' "' || x.name || '"', r.rolname into thing, stranger
    from (select 'relation' as kind, c.relname::text as name, c.relowner as owner, c.relnamespace as schema from pg_class c
          union all select 'function', p.proname, p.proowner, p.pronamespace from pg_proc p
          union all select 'type', t.typname, t.typowner, t.typnamespace from pg_type t
          union all select 'operator', o.oprname, o.oprowner, o.oprnamespace from pg_operator o) x
         join pg_roles r on r.oid = x.owner
    where x.schema = 'sentinai'::regnamespace and r.rolname <> current_user and not r.rolsuper
    order by 1 limit 1;
    if found then
        raise exception using errcode = 'insufficient_privilege',
            message = 'schema "sentinai" holds an object that belongs to somebody else',
            detail = format('The %s belongs to role "%s".', thing, stranger),
            hint = 'Drop what is in the schema.';
    end if;
    -- That of the tables is always ours alone: made here, and a member.
    if exists (select from pg_namespace n where n.nspname = 'sentinai_internal') then
        raise exception using errcode = 'duplicate_schema',
            message = 'schema "sentinai_internal" exists already',
            detail = 'The extension makes it for its tables, and owns it.',
            hint = 'Drop or rename the schema.';
    end if;
end $owner$;

-- USAGE on a schema is enough to lock its tables and to depend on their row
-- types.  So nobody but the owner has it on the one that has the tables;
-- "sentinai" has what callers name.
create schema sentinai_internal;
comment on schema sentinai_internal is 'Tables of the extension, for its owner only. What is readable of them is in schema sentinai.';
