# sqlfuzz/misuse.py: COPY into the outbox, DML on everything, triggers elsewhere,
# and values of some hundred megabytes.
# SPDX-License-Identifier: PostgreSQL

import itertools
import struct

from . import values
from .part import Part
from .wire import BAD_UTF8

FIELDS = {
    "id": ["\\N", "01943c5e-0000-7000-8000-0000000000%02x", "x", ""],
    "tenant_id": ["t1", "t1", "t1", "", "\\N", "é" * 129, "x" * 256],
    "aggregatetype": ["exception", "\\N", "9", "a b", ""],
    "aggregateid": ["a1", "\\N", "", "x" * 1024, "x" * 1025, "a\\tb"],
    "type": ["fz.a", "fz.b", "\\N", "", "%s", "x" * 129],
    "payload": ["{}", '{"canary": "c4n4ry"}', "[]", "{", "\\N", "1",
                '{"a": "' + "x" * 5000 + '"}', '{"a": "\\\\u0000"}'],
    "metadata": ["{}", "\\N", "[]", '{"outbox_id": "x"}',
                 '{"a": "' + "x" * 66000 + '"}'],
}
GOOD = {"id": "\\N", "tenant_id": "t1", "aggregatetype": "exception",
        "aggregateid": "a1", "type": "fz.a", "payload": "{}",
        "metadata": "{}"}


class Copies(Part):
    """COPY … FROM into what takes rows, in every format."""

    def __init__(self, world):
        super().__init__(world, "copies")

    def run(self, count):
        self.report.begin("COPY")
        self.open()
        for relation in self.catalog.relations:
            if relation.view and relation.insertable:
                for _ in range(count):
                    self.turn(relation)
        self.close()
        self.report.end(least=count)

    def turn(self, relation):
        """Whole or not at all."""
        rng = self.rng
        columns = [c.name for c in relation.columns]
        rows = [self.row(columns) for _ in range(rng.choice((0, 1, 2, 9, 300)))]
        form = rng.choice(("text", "text", "csv", "binary"))
        data = getattr(self, form)(rows, len(columns))
        damaged = rng.random() < 0.25 and data != b""
        if damaged:
            data = self.damage(data)
        before = self.events()
        outcome = self.session.copy_in(
            f"copy {relation.qualified} ({', '.join(columns)}) from stdin "
            f"(format {form})", data)
        self.report.note(outcome)
        self.session.finish()
        added = self.events() - before
        if outcome.failed:
            self.recent.append(f"copy {form} {data[:100]!r}")
            self.look()
        else:
            if added != len(rows) and not damaged:
                self.report.find(f"{added} of {len(rows)} rows stored")
            self.ground.took_effect()

    def events(self):
        return self.ground.conn.execute(
            "select count(*) from sentinai.event_log").fetchone()[0]

    def row(self, columns):
        rng = self.rng
        row = [GOOD.get(c, "\\N") for c in columns]
        if rng.random() < 0.05:
            place = rng.randrange(len(columns))
            value = rng.choice(FIELDS.get(columns[place], ["x"]))
            row[place] = value % rng.randrange(256) if "%02x" in value \
                else value
        return row

    def text(self, rows, _):
        return "".join("\t".join(r) + "\n" for r in rows).encode()

    def csv(self, rows, _):
        return "".join(",".join(
            "" if v == "\\N" else '"' + v.replace('"', '""') + '"' for v in r) +
            "\n" for r in rows).encode()

    def binary(self, rows, width):
        out = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
        for row in rows:
            out += struct.pack(">h", width)
            for value in row:
                if value == "\\N":
                    out += struct.pack(">i", -1)
                else:
                    item = value.encode()
                    if value[:1] in "{[":
                        item = b"\1" + item
                    out += struct.pack(">i", len(item)) + item
        return out + struct.pack(">h", -1)

    def damage(self, data):
        rng = self.rng
        place = rng.randrange(len(data))
        return rng.choice((
            data[:place], data[:place] + rng.choice(BAD_UTF8) + data[place:],
            data[:place] + rng.randbytes(3) + data[place + 1:],
            data + data, data + b"\\.\nx\n"))


TIMINGS = ("before insert or update or delete on {t} for each row",
           "after insert or update or delete on {t} for each row",
           "before insert or update or delete or truncate on {t} for each "
           "statement",
           "after insert or update or delete or truncate on {t} for each "
           "statement",
           "instead of insert or update or delete on {v} for each row",
           "before insert or update or delete on {v} for each statement",
           "after insert or update or delete on {v} for each statement")
TOUCHES = ("insert into {x} values (1, 'a')", "update {x} set a = 2",
           "delete from {x}", "truncate {x}",
           "insert into {x} select 1, 'b' from pg_catalog.generate_series(1, 9)",
           "copy {x} from stdin")


class Misuse(Part):
    """Trigger functions where they do not belong, and DML on everything."""

    def __init__(self, world):
        super().__init__(world, "misuse")

    def run(self):
        self.report.begin("triggers and DML")
        self.open()
        self.session.allowed |= {"21000", "428C9"}
        for name, timing in itertools.product(self.catalog.triggers, TIMINGS):
            self.trigger(name, timing)
        for name in self.catalog.triggers:
            self.alone(f"select sentinai.{name}()")
        for relation in self.catalog.relations:
            for statement in self.dml(relation):
                self.alone(statement)
        self.close()
        self.report.end()

    def alone(self, statement):
        self.tried(statement, self.rolled_back(
            lambda: self.session.run(statement)))

    def trigger(self, name, timing):
        """On a table, or a view, that has nothing to do with it."""
        self.session.run("begin")
        self.session.run("create table fz.t (a int, b text)")
        self.session.run("insert into fz.t values (1, 'x')")
        self.session.run("create view fz.v as select * from fz.t")
        made = self.session.run(
            "create trigger wrong " + timing.format(t="fz.t", v="fz.v") +
            f" execute function sentinai.{name}()")
        for touch in TOUCHES if not made.failed else ():
            self.session.run("savepoint a")
            touch = touch.format(x="fz.t" if "{t}" in timing else "fz.v")
            outcome = self.session.run(touch)
            self.session.run("rollback to a")
            self.report.note(outcome)
            self.recent.append(f"{timing} {name}: {touch}")
        self.session.finish()

    def dml(self, relation):
        name = relation.qualified
        column = relation.columns[0].name
        yield f"insert into {name} default values returning *"
        yield f"insert into {name} select * from {name} limit 2"
        yield f"update {name} set {column} = {column}"
        yield f"update {name} set {column} = null where false"
        yield f"delete from {name}"
        yield f"delete from {name} where false"
        yield f"truncate {name}"
        yield (f"merge into {name} m using {name} s on m.{column} = "
               f"s.{column} when matched then delete")
        yield f"select * from {name} for update"
        yield f"select * from {name} for key share skip locked"
        yield f"select * from {name} tablesample system (50)"
        yield f"copy {name} from stdin"
        yield f"copy (select * from {name}) to stdout (format binary)"
        yield f"lock table {name} in access exclusive mode"
        yield (f"insert into {name} ({column}) values (null) on conflict do "
               "nothing")
        yield f"table {name}; table {name}"
        yield f"select t::text, pg_catalog.to_jsonb(t) from {name} t"


class Huge(Part):
    """Some hundred megabytes: refused or taken, and given back."""

    MOST_PEAK = 2600            # MiB, of which the value itself is a few times

    def __init__(self, world):
        super().__init__(world, "huge")

    def run(self, count):
        """All of them, or so many chosen by the seed."""
        cases = [(c, i, v) for c in self.catalog.callables
                 for i, p in enumerate(c.params) for v in values.huge(p)]
        if count and len(cases) > count:
            cases = self.rng.sample(cases, count)
        self.report.begin("hundreds of megabytes")
        for call, place, value in cases:
            self.open()
            self.turn(call, place, value)
            self.close()
        self.report.end()

    def turn(self, call, place, value):
        self.session.run("set statement_timeout = '100 s'")
        self.ground.turn()
        args = [value if i == place else
                values.ordinary(p, self.ground, self.rng)
                for i, p in enumerate(call.params)]
        sql = call.statement(args)
        self.cluster.reset_peak(self.session.pid)
        outcome = self.rolled_back(lambda: self.session.run(sql, True))
        if outcome.timed_out():
            self.report.find(f"took {outcome.seconds:.0f} s", sql)
        peak = self.cluster.memory(self.session.pid)[1]
        if peak > self.MOST_PEAK:
            self.report.find(f"{peak} MiB at its peak", sql)
        self.tried(sql, outcome)
