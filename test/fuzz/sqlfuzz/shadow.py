# sqlfuzz/shadow.py: a database in which every name is somebody else's.
# SPDX-License-Identifier: PostgreSQL
"""In the schema `evil`, which comes before pg_catalog in the search_path of the
whole database: every function and operator of PostgreSQL over again, all of
which refuse with EVIL1; tables, types and functions of the names that the
extension uses. The extension is made, and used, in the midst of them."""

EVIL = "EVIL1"

# Statements that make one object each; made by the server itself.
FUNCTIONS = """
select format('create function evil.%%I(%%s) returns %%s%%s language plpgsql as '
    '$$begin raise using errcode = ''%s'', message = %%L; end$$',
    p.proname, pg_get_function_identity_arguments(p.oid),
    case when p.proretset then 'setof ' else '' end,
    format_type(p.prorettype, null), p.proname)
from pg_proc p
where p.pronamespace = 'pg_catalog'::regnamespace
    and p.prokind = 'f' and p.pronargs <= 4 and p.provariadic = 0 and
    p.proallargtypes is null and p.prorettype not in (select oid from pg_type
        where typtype = 'p' and typname not in ('void', 'record')) and
    not exists (select from unnest(p.proargtypes) a join pg_type t on t.oid = a
        where t.typtype = 'p')
""" % EVIL

OPERATORS = """
select format('create function evil.op_%%s(%%s) returns %%s language plpgsql as '
    '$$begin raise using errcode = ''%s'', message = %%L; end$$; '
    'create operator evil.%%s (%%s rightarg = %%s, function = evil.op_%%s)',
    o.oid, concat_ws(', ', case when o.oprleft <> 0 then
        format_type(o.oprleft, null) end, format_type(o.oprright, null)),
    format_type(o.oprresult, null), o.oprname, o.oprname,
    case when o.oprleft <> 0 then
        'leftarg = ' || format_type(o.oprleft, null) || ',' else '' end,
    format_type(o.oprright, null), o.oid)
from pg_operator o
where o.oprnamespace = 'pg_catalog'::regnamespace and not exists (
    select from unnest(array[o.oprleft, o.oprright, o.oprresult]) a
        join pg_type t on t.oid = a where t.typtype = 'p') and
    o.oprcode not in (0)
""" % EVIL

# Names of the extension's own relations and of the system's.
RELATIONS = """
select format('create table evil.%I (captured int)', c.relname)
from pg_class c
where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind in ('r', 'v')
union all
select format('create table evil.%I (captured int)', name)
from unnest('{NAMES}'::text[]) name
"""

TYPES = """
create function evil.captured() returns boolean language plpgsql as $$
begin raise exception 'a type was captured' using errcode = 'EVIL1'; end $$;
do $$
declare t text;
begin
    foreach t in array '{text,uuid,jsonb,int4,int8,int2,bool,timestamptz,oid,
        interval,bytea,name,regclass,float8,numeric,json,varchar}'::text[] loop
        execute format('create domain evil.%I as pg_catalog.%I
            check (evil.captured())', t, t);
    end loop;
end $$;
create type evil.event as (captured int);
"""

# Overloads that fit better than what is meant, as CVE-2018-1058 has them.
CLOSER = """
create function evil.concat(text, text) returns text language plpgsql as
    $$ begin raise exception 'concat' using errcode = 'EVIL1'; end $$;
create function evil.format(text, text) returns text language plpgsql as
    $$ begin raise exception 'format' using errcode = 'EVIL1'; end $$;
"""


def make(cluster, database, names):
    """The database, with everything hostile in it, and the extension."""
    with cluster.connect("shadow", clean=True) as conn:
        conn.execute(f"create database {database}")
    with cluster.connect("shadow", database=database, clean=True) as conn:
        conn.execute("create schema evil")
        made = 0
        for query in (FUNCTIONS, OPERATORS, RELATIONS):
            made += create(conn, query, names)
        conn.execute(TYPES + CLOSER)
        conn.execute(f"alter database {database} set search_path = "
                     "evil, pg_catalog, public, pg_temp")
    with cluster.connect("shadow", database=database) as conn:
        conn.execute("create extension sentinai")
    return made


def create(conn, query, names):
    """Run what the query makes, a hundred to a round trip; how many it was."""
    statements = [r[0] for r in conn.execute(
        query.replace("NAMES", ",".join(names)))]
    for at in range(0, len(statements), 100):
        conn.execute("; ".join(statements[at:at + 100]))
    return len(statements)
