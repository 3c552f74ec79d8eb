# sqlfuzz/catalog.py: what there is to be called.
# SPDX-License-Identifier: PostgreSQL
"""Everything comes from the catalog, so that what is new in the extension is
tried without anybody's help."""

# Of the functions whose result SQL has no use for, those of triggers are tried
# as such; a foreign data wrapper's handler is called by what is done to the
# foreign table, and who answers the planner is called by planning. Those that read
# and write values of a type are called with these.
ROUTINES = """
select p.proname, p.prokind, p.prorettype = 'trigger'::regtype,
    has_function_privilege('fz_poor', p.oid, 'execute'),
    coalesce(p.proallargtypes::oid[], p.proargtypes::oid[]),
    coalesce(p.proargmodes::text[], '{}'), coalesce(p.proargnames, '{}'),
    p.pronargdefaults
from pg_proc p
where p.prorettype not in ('fdw_handler'::regtype, 'internal'::regtype)
    and not exists (select from pg_type t where p.oid in (t.typinput, t.typoutput, t.typreceive, t.typsend))
    and p.oid in (select d.objid from pg_depend d
    where d.classid = 'pg_proc'::regclass and d.deptype = 'e' and
        d.refobjid = (select oid from pg_extension where extname = 'sentinai'))
order by p.oid::regprocedure::text
"""

TYPES = """
select t.oid::bigint, quote_ident(n.nspname) || '.' || quote_ident(t.typname)
from pg_type t join pg_namespace n on n.oid = t.typnamespace
"""

RELATIONS = """
select c.relname, c.relnamespace::regnamespace::text, c.relkind in ('v', 'f'),
    has_table_privilege('fz_poor', c.oid, 'select') and
        has_schema_privilege('fz_poor', c.relnamespace, 'usage'),
    (select array_agg(a.attname order by a.attnum) from pg_attribute a
     where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
    (select array_agg(a.atttypid order by a.attnum) from pg_attribute a
     where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
    case c.relkind when 'f' then pg_relation_is_updatable(c.oid, false) & 8 <> 0
        else exists (select from pg_trigger g where g.tgrelid = c.oid
            and g.tgtype & 68 = 68) end
from pg_class c
where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition and
    c.oid in (select d.objid from pg_depend d
        where d.classid = 'pg_class'::regclass and d.deptype = 'e' and
            d.refobjid = (select oid from pg_extension
                          where extname = 'sentinai'))
order by c.relname, 2
"""


class Param:
    """A parameter, or a column that is inserted into."""

    def __init__(self, name, type_, oid, optional=False):
        self.name = name
        self.type = type_
        self.oid = oid
        self.optional = optional


class Callable:
    """A function, a procedure, or INSERT into a view: its statement and, where
    there are such, a row source and an expression."""

    def __init__(self, name, kind, params, public=False, schema="sentinai"):
        self.name = name
        self.qualified = f"{schema}.{name}"
        self.kind = kind            # or procedure, view, table, insert
        self.params = params
        self.public = public        # everybody may call it

    def statement(self, args):
        if self.kind == "procedure":
            return f"call {self.expression(args)}"
        if self.kind in ("view", "table"):
            return f"select * from {self.qualified}"
        if self.kind == "insert":
            names = ", ".join(p.name for p in self.params)
            values = ", ".join(args)
            return (f"insert into {self.qualified} ({names}) values "
                    f"({values}) returning *")
        return f"select * from {self.expression(args)}"

    def counted(self, args):
        """A SELECT of one number that makes the call; None: there is none."""
        if self.kind in ("function", "view", "table"):
            return (f"select pg_catalog.count(*) from {self.expression(args)} "
                    "as s")
        return None

    def expression(self, args):
        if self.kind == "insert":
            return None
        if self.kind in ("view", "table"):
            return f"(select * from {self.qualified})"
        named = ", ".join(f'"{p.name}" => {a}' if p.name else a
                          for p, a in zip(self.params, args))
        return f"{self.qualified}({named})"


class Relation:
    """A table or view of the extension."""

    def __init__(self, name, schema, view, public, columns, insertable):
        self.name = name
        self.qualified = f"{schema}.{name}"
        self.view = view
        self.public = public
        self.columns = columns      # of Param
        self.insertable = insertable


class Catalog:
    """Everything, read once."""

    def __init__(self, conn):
        types = dict(conn.execute(TYPES).fetchall())
        self.callables = []
        self.triggers = []          # names of trigger functions
        self.relations = []
        for row in conn.execute(RELATIONS).fetchall():
            name, schema, view, public, names, oids, insertable = row
            columns = [Param(n, types[o], o) for n, o in zip(names, oids)]
            self.relations.append(
                Relation(name, schema, view, public, columns, insertable))
            self.callables.append(
                Callable(name, "view" if view else "table", [], public,
                         schema))
            if view and insertable:
                self.callables.append(
                    Callable(name, "insert", columns, schema=schema))
        for row in conn.execute(ROUTINES).fetchall():
            self.take_routine(types, *row)

    def take_routine(self, types, name, kind, trigger, public, oids, modes,
                     names, defaults):
        if trigger:
            self.triggers.append(name)
            return
        modes = modes or ["i"] * len(oids)
        names = names or [""] * len(oids)
        params = [Param(n, types[o], o)
                  for n, o, m in zip(names, oids, modes)
                  if m in ("i", "b", "v") or (m == "o" and kind == "p")]
        for param in params[len(params) - defaults:] if defaults else ():
            param.optional = True
        self.callables.append(Callable(
            name, "procedure" if kind == "p" else "function", params, public))
