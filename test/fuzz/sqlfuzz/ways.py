# sqlfuzz/ways.py: the ways in which SQL can make a call.
# SPDX-License-Identifier: PostgreSQL
"""A way is a list of statements: {q} is the call as a statement of its own, {n}
as a SELECT of one number, {v} as an expression; {Q} and {N} are the same as
literals. A way that has what the call cannot give is left out."""

BEGIN = "begin"
PARALLEL = ("set local parallel_setup_cost = 0; "
            "set local parallel_tuple_cost = 0; "
            "set local min_parallel_table_scan_size = 0; "
            "set local max_parallel_workers_per_gather = 2; "
            "set local {parallel} = on")


class Way:
    """`keeps`: True, nothing is changed afterwards, whatever happened; False,
    not when a statement failed; None, it may be changed even so."""

    def __init__(self, name, *statements, keeps=True, waits=False, cancel=0):
        self.name = name
        self.statements = statements
        self.keeps = keeps
        self.waits = waits or cancel > 0
        self.cancel = cancel        # within so many seconds

    def fits(self, call):
        text = " ".join(self.statements)
        if "{n}" in text or "{N}" in text or "{v}" in text:
            return call.kind in ("function", "view", "table")
        return True

    def render(self, call, args, parallel, rng):
        """The statements for one call."""
        parts = {"q": call.statement(args), "n": call.counted(args),
                 "v": call.expression(args), "parallel": parallel,
                 "ms": str(rng.choice((1, 1, 2, 3, 5, 9)))}
        for name in "qn":
            if parts[name]:
                parts[name.upper()] = f"$fz${parts[name]}$fz$"
        for statement in self.statements:
            for name, part in parts.items():
                statement = statement.replace("{" + name + "}", part or "")
            yield statement


def inside(name, *statements):
    """A way within a transaction that is rolled back."""
    return Way(name, BEGIN, *statements, "rollback")


WAYS = [
    inside("plain", "{q}"),
    inside("twice", "{q}", "{q}"),
    Way("alone", "{q}", keeps=False),
    Way("committed", BEGIN, "{q}", "{q}", "commit", keeps=False),
    Way("read only", "begin read only", "{q}", "rollback"),
    inside("read only late", "select 1", "set transaction read only", "{q}"),
    Way("read only committed", "begin read only", "{q}", "commit"),
    Way("repeatable read", "begin isolation level repeatable read",
        "select 1 from fz.big limit 1", "{q}", "rollback"),
    Way("serializable", "begin isolation level serializable",
        "select 1 from fz.big limit 1", "{q}", "commit", keeps=False),
    Way("serializable read only",
        "begin isolation level serializable read only", "{q}", "rollback"),
    inside("savepoint", "savepoint a", "{q}", "rollback to a", "{q}",
           "rollback to a", "release a"),
    Way("savepoint committed", BEGIN, "savepoint a", "{q}", "savepoint b",
        "{q}", "rollback to a", "release a", "commit"),
    Way("released committed", BEGIN, "savepoint a", "{q}", "release a",
        "savepoint a", "select pg_catalog.int4div(1, 0)", "rollback to a",
        "commit", keeps=None),
    inside("caught", "select fz.caught({Q})", "select fz.caught({Q})", "{q}"),
    Way("caught committed", "select fz.caught({Q})", keeps=False),
    inside("in a function", "select fz.plain({Q})"),
    inside("in a loop", "select fz.looped({Q})"),
    inside("in a DO block", "do $do$ begin execute {Q}; end $do$"),
    inside("in a trigger", "insert into fz.before_row values ({Q})"),
    Way("deferred", BEGIN, "insert into fz.deferred values ({Q})", "commit",
        keeps=False),
    inside("deferred now", "insert into fz.deferred values ({Q})",
           "savepoint a", "set constraints all immediate", "rollback to a"),
    inside("SQL function", "create function pg_temp.w() returns bigint language "
           "sql as {N}", "select pg_temp.w()"),
    inside("cursor", "declare c cursor for {n}", "fetch 1 from c",
           "fetch all from c", "close c"),
    inside("cursor of rows", "declare c scroll cursor for select * from {v} s",
           "fetch 1 from c", "fetch last from c", "fetch prior from c",
           "move absolute 0 in c"),
    inside("cursor over savepoint", "savepoint a",
           "declare c cursor for select * from {v} s", "fetch 1 from c",
           "savepoint b", "rollback to b", "fetch 1 from c", "rollback to a"),
    Way("cursor held", BEGIN, "declare c cursor with hold for {n}", "commit",
        "fetch all from c", "close all", keeps=False),
    Way("cursor left open", BEGIN, "declare c cursor for select * from {v} s",
        "fetch 1 from c", "commit", keeps=False),
    Way("prepared", "deallocate all", BEGIN, "prepare p as {n}",
        *["execute p"] * 7, "rollback"),
    Way("prepared generic", "deallocate all", BEGIN, "set local "
        "plan_cache_mode = force_generic_plan", "prepare p as {n}",
        "execute p", "execute p", "rollback"),
    inside("copied out", "copy ({n}) to stdout",
           "copy (select * from {v} s) to stdout (format binary)"),
    inside("copied out as csv", "copy (select * from {v} s) to stdout "
           "(format csv, header)"),
    inside("explained", "explain (analyze, verbose, buffers) {n}"),
    inside("explained only", "explain (verbose, costs off) {n}"),
    inside("into a table", "create temp table made on commit drop as "
           "select * from {v} s"),
    inside("materialized", "create materialized view fz.made as {n}",
           "refresh materialized view fz.made"),
    inside("in a view", "create temp view made as {n}",
           "select * from made, made as again"),
    inside("as default", "create temp table made (a int, "
           "b pg_catalog.text default ({v})::pg_catalog.text) on commit drop",
           "insert into made (a) values (1), (2)"),
    inside("as check", "create temp table made (a int check ("
           "({v}) is not null)) on commit drop",
           "insert into made values (1)"),
    inside("as index", "create temp table made (a int) on commit drop",
           "insert into made values (1)",
           "create index on made ((({v})::pg_catalog.text))"),
    inside("lateral", "select * from pg_catalog.generate_series(1, 3) g, "
           "lateral {v} s"),
    inside("in the target list", "select {v}, {v} limit 3"),
    inside("as condition", "select 1 where ({v}) is not null"),
    inside("aggregated", "select pg_catalog.count(x) from (select {v} as x "
           "from pg_catalog.generate_series(1, 3)) s"),
    inside("limited", "select * from {v} s limit 1 offset 1"),
    inside("rows from", "select * from rows from ({v}, {v}) with ordinality"),
    inside("in parallel", PARALLEL, "select pg_catalog.max(({v})"
           "::pg_catalog.text) from fz.big"),
    inside("in parallel rows", PARALLEL, "select pg_catalog.count(*) from "
           "fz.big b cross join lateral {v} s"),
    inside("as poor", "set local role fz_poor", "{q}"),
    inside("as caller", "set local role fz_caller", "{q}"),
    inside("as caller within", "savepoint a", "set local role fz_caller",
           "{q}", "rollback to a", "{q}"),
    Way("timeout", BEGIN, "set local statement_timeout = '{ms}ms'", "{q}",
        "rollback", waits=True),
    Way("lock timeout", BEGIN, "set local lock_timeout = '{ms}ms'", "{q}",
        "rollback", waits=True),
    Way("cancelled", "{q}", keeps=False, cancel=0.003),
    Way("cancelled late", BEGIN, "savepoint a", "{q}", "rollback to a",
        "commit", cancel=0.02),
    Way("prepared transaction", BEGIN, "{q}", "prepare transaction 'fz'",
        "rollback prepared 'fz'"),
    inside("as replica", "set local session_replication_role = replica",
           "{q}"),
    inside("no triggers, then", "{q}",
           "set local session_replication_role = replica", "{q}"),
    inside("little memory", "set local work_mem = '64kB'",
           "set local temp_file_limit = '64kB'", "{q}"),
    inside("other formats", "set local datestyle = 'SQL, DMY'",
           "set local intervalstyle = 'sql_standard'",
           "set local timezone = 'Asia/Kathmandu'",
           "set local bytea_output = 'escape'",
           "set local extra_float_digits = -15", "{q}"),
    inside("other encoding", "set local client_encoding = 'LATIN1'", "{q}"),
    inside("planned otherwise", "set local enable_seqscan = off",
           "set local enable_indexscan = off",
           "set local enable_indexonlyscan = off",
           "set local enable_bitmapscan = off", "{q}"),
    inside("compiled", "set local jit = on", "set local jit_above_cost = 0",
           "set local jit_inline_above_cost = 0", "{q}"),
    inside("no row security", "set local row_security = off", "{q}"),
    inside("after an error", "select pg_catalog.int4div(1, 0)", "{q}"),
    inside("after DDL", "create temp table made (a int) on commit drop",
           "{q}", "drop table made", "{q}"),
    inside("after SET LOCAL", "set local search_path = ''", "{q}",
           "set local search_path = nowhere, pg_temp", "{q}"),
    Way("in a procedure block", "do $do$ begin execute {Q}; rollback; "
        "execute {Q}; rollback; end $do$"),
    Way("committing block", "do $do$ begin execute {Q}; commit; "
        "raise division_by_zero; end $do$", keeps=None),
]
