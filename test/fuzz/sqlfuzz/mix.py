# sqlfuzz/mix.py: three sessions that do anything at once.
# SPDX-License-Identifier: PostgreSQL
"""Random calls in random transactions: levels of isolation, savepoints, errors
in between, rollbacks. What each did is written down as the history checker's
records, and its rules judge it (test/history/README.md). A record of a
transaction is written when its end is known."""

import random
import select
import time

import checker
from world import final, server
from world.recorder import digest

from .session import IDLE, Session

SUBS = {"m_all": {"types": None, "ordered": True, "effects": True,
                  "max_attempts": 4},
        "m_some": {"types": ["m.a"], "ordered": True, "effects": True,
                   "max_attempts": 4},
        "m_free": {"types": None, "ordered": False, "effects": True,
                   "max_attempts": 4}}
KEYS = [(f"t{i % 2}", f"k{i}" if i else None) for i in range(7)]
LEVELS = ("", "", "isolation level repeatable read",
          "isolation level serializable", "read only")
# What sessions do to each other; any other error is judged as everywhere.
CROWD = ("40001", "40P01", "55P03", "57014")
LEASES = (0.7, 2)
DRAIN = 40

SCHEMA = """
create extension if not exists sentinai;
%s
insert into app.counter
select t, a, 0 from unnest(%s::text[], %s::text[]) k (t, a);
"""


class Batch:
    """A token, the events that are open, and their keys."""

    def __init__(self, worker, token, rows):
        self.worker = worker
        self.token = token
        self.keys = {r[0]: (r[2], r[3]) for r in rows}
        self.open = list(self.keys)
        self.failed = False         # what is open is no longer known


class Entry:
    """An operation whose transaction has not ended yet."""

    def __init__(self, invoke, end, undone, apply=None):
        self.invoke = invoke
        self.end = end
        self.undone = undone        # the end when it came to nothing
        self.apply = apply          # what to note when it did not


class Refused(Exception):
    """The statement failed, and the transaction with it."""


class Actor:
    """A session as a generator of statements; receives their outcomes."""

    def __init__(self, mix, number):
        self.mix = mix
        self.name = f"s{number}"
        self.rng = random.Random(f"{mix.seed}/{self.name}")
        self.session = Session(mix.cluster, mix.report, mix.database,
                               self.name, CROWD)
        self.session.conn.execute("set lock_timeout = '700 ms'")
        self.pg = self.session.pg
        self.entries = []
        self.batches = []
        self.numbers = 0
        self.txn = None
        self.steps = self.live()
        self.statement = next(self.steps)
        self.busy = False

    # The libpq side

    def send(self):
        self.pg.send_query(self.statement.encode())
        self.start = time.monotonic()
        self.result = None
        self.busy = True

    def poll(self):
        """Take what has come; go on when the statement is over."""
        self.pg.consume_input()
        while not self.pg.is_busy():
            result = self.pg.get_result()
            if result is None:
                self.busy = False
                self.advance(self.session.outcome(
                    self.result, time.monotonic() - self.start))
                return
            self.result = result

    def advance(self, outcome):
        self.session.judge(outcome, self.statement, True)
        self.mix.report.note(outcome)
        self.statement = None
        try:
            self.statement = self.steps.send(outcome)
        except StopIteration:
            pass

    # What a session does

    def live(self):
        """Transactions and single calls until the mix is over."""
        while not self.mix.over():
            try:
                if self.rng.random() < 0.5:
                    yield from self.transaction()
                else:
                    yield from self.alone()
            except Refused:
                self.close(False)
        for batch in self.batches:
            try:
                yield from self.release(batch)
                self.close(True)
            except Refused:
                self.close(False)

    def ask(self, sql):
        """Rows of a statement, as text."""
        outcome = yield sql
        if outcome.failed:
            if self.pg.transaction_status != IDLE:
                yield "rollback"
            raise Refused(outcome.state)
        return [[None if v is None else v.decode() for v in row]
                for row in outcome.rows or ()]

    def try_(self, sql):
        """The same within a savepoint of its own: an error ends only that."""
        yield "savepoint within"
        outcome = yield sql
        if outcome.failed:
            yield "rollback to within"
            return None
        yield "release within"
        return outcome.rows

    def alone(self):
        """One call that is its own transaction."""
        yield from self.rng.choice((
            self.claim, self.claim, self.claim, self.work, self.work,
            self.work, self.look))()
        self.close(True)

    def transaction(self):
        rng = self.rng
        level = rng.choice(LEVELS)
        yield from self.ask(f"begin {level}")
        if "read only" not in level:
            yield from self.begin_writing()
        mark = None
        for _ in range(rng.randrange(1, 7)):
            choice = rng.random()
            if choice < 0.12 and mark is None:
                yield from self.ask("savepoint early")
                mark = len(self.entries)
            elif choice < 0.24 and mark is not None:
                yield from self.ask("rollback to early")
                self.undo(mark)
            elif choice < 0.28:
                yield from self.try_("select sentinai.publish('m.a', '', 'x', "
                                     "'{}')")
            else:
                yield from rng.choice((self.publish, self.publish, self.claim,
                                       self.work, self.work, self.look))()
        yield from self.end_transaction(rng.random() < 0.8)

    def begin_writing(self):
        self.numbers += 1
        self.txn = f"{self.name}.{self.numbers}"
        self.mix.add(f="txn", ph="invoke", p=self.name, txn=self.txn)
        yield from self.ask(f"insert into app.work values ('{self.txn}')")

    def end_transaction(self, good):
        if not good:
            yield from self.ask("rollback")
            self.close(False)
            return
        if self.txn:
            [[xid]] = yield from self.ask(
                "select pg_current_xact_id()::text")
            before = time.monotonic_ns()
        yield from self.ask("commit")
        if self.txn:
            self.flush(True)
            self.mix.add(f="commit", ph="invoke", p=self.name, txn=self.txn,
                         xid=int(xid), t=before)
            self.mix.add(f="commit", ph="ok", p=self.name, txn=self.txn)
            self.txn = None
        self.close(True)

    def close(self, good):
        """The transaction has ended."""
        self.flush(good)
        if self.txn:
            self.mix.add(f="rollback", ph="ok", p=self.name, txn=self.txn)
            self.txn = None

    def flush(self, good):
        for entry in self.entries:
            self.write(entry, good)
        self.entries = []

    def undo(self, mark):
        for entry in self.entries[mark:]:
            self.write(entry, False)
        del self.entries[mark:]

    def write(self, entry, good):
        add = self.mix.add
        add(**entry.invoke)
        add(f=entry.invoke["f"], p=self.name,
            **(entry.end if good else entry.undone))
        if good and entry.apply:
            entry.apply()

    def enter(self, invoke, end, undone=None, apply=None):
        self.entries.append(Entry(invoke, {"ph": "ok", **end},
                                  {"ph": "fail", **(undone or {})}, apply))

    @staticmethod
    def invoke(kind, **fields):
        return {"f": kind, "ph": "invoke", "t": time.monotonic_ns(), **fields}

    # Calls

    def publish(self):
        rng = self.rng
        keys = [rng.choice(KEYS) for _ in range(rng.choice((1, 1, 2, 5)))]
        events, payloads = [], []
        for tenant, aggregate in keys:
            self.numbers += 1
            seq = None
            if aggregate and int(aggregate[1:]) < 4:
                [[seq]] = yield from self.ask(
                    f"update app.counter set n = n + 1 where agg = "
                    f"'{aggregate}' returning n")
                seq = int(seq)
            uid = f"{self.name}.{self.numbers}"
            payload = {"u": uid, "s": seq}
            events.append([uid, tenant, aggregate, rng.choice(("m.a", "m.b")),
                           seq, digest(payload)])
            payloads.append(f'{{"u": "{uid}", "s": '
                            f'{"null" if seq is None else seq}}}')
        invoke = self.invoke("publish", p=self.name, txn=self.txn,
                             events=events)
        rows = [(literal(e[3]), literal(e[1]), literal(e[2]), literal(p))
                for e, p in zip(events, payloads)]
        if rng.random() < 0.4:
            for row in rows:
                yield from self.ask(
                    f"select sentinai.publish({', '.join(row)})")
        elif rng.random() < 0.5:
            columns = [", ".join(c) for c in zip(*rows)]
            yield from self.ask(
                "select sentinai.publish_batch(array[%s], array[%s], "
                "array[%s]::text[], array[%s]::jsonb[])" % tuple(columns))
        else:
            yield from self.ask(
                "insert into sentinai.outbox (type, tenant_id, aggregateid, "
                "payload) values " +
                ", ".join(f"({', '.join(r)})" for r in rows))
        self.enter(invoke, {})

    def claim(self):
        rng = self.rng
        worker = rng.choice(list(SUBS))
        lease = rng.choice(LEASES)
        invoke = self.invoke("claim", p=self.name, w=worker,
                             lease=int(lease * 10**9))
        rows = yield from self.ask(
            "select event_id, token, tenant_id, aggregate_id, attempt from "
            f"sentinai.claim('{worker}', {rng.choice((1, 2, 5, 20, 100))}, "
            f"'{lease} s', '{self.name}')")
        if not rows:
            return
        batch = Batch(worker, rows[0][1], rows)
        self.enter(invoke, {"token": batch.token, "events": [
            [r[0], int(r[4])] for r in rows]},
            apply=lambda: self.batches.append(batch))

    def work(self):
        """Something with a batch whose claim is committed."""
        if not self.batches:
            yield from self.claim()
            return
        batch = self.rng.choice(self.batches)
        if batch.failed:
            ways = (self.release,)
        elif self.left(batch):
            ways = (self.complete, self.complete, self.complete,
                    self.complete_some, self.fail, self.extend, self.release)
        else:
            ways = (self.extend,)
        yield from self.rng.choice(ways)(batch)

    def left(self, batch):
        """What is open for this transaction, as far as it is known."""
        found = list(batch.open)
        for entry in self.entries:
            if entry.invoke.get("token") == batch.token:
                if entry.invoke["f"] in ("fail", "release"):
                    return []
                gone = entry.invoke.get("events", ())
                found = [i for i in found if i not in gone]
        return found

    def resolve(self, batch, invoke, sql, end):
        """A call on a batch; SN409 is an answer. What this transaction did to
        the batch before is undone with it, so that nothing is to be judged."""
        outcome = yield sql
        if outcome.failed:
            if not any(e.invoke.get("token") == batch.token
                       for e in self.entries):
                self.mix.add(**invoke)
                self.mix.add(f=invoke["f"], p=self.name, ph="fail",
                             answer=outcome.state)
            if outcome.state == "SN409" and batch in self.batches:
                self.batches.remove(batch)
            if self.pg.transaction_status != IDLE:
                yield "rollback"
            raise Refused(outcome.state)
        value = outcome.rows[0][0].decode() if outcome.rows else None
        self.enter(invoke, end(value), {"answer": "undone"},
                   lambda: self.resolved(batch, invoke))
        return value

    def resolved(self, batch, invoke):
        gone = set(invoke.get("events") or batch.open)
        batch.failed |= invoke["f"] == "fail"
        if invoke["f"] != "extend":
            batch.open = [i for i in batch.open if i not in gone]
        if batch in self.batches and (not batch.open or
                                      invoke["f"] == "release"):
            self.batches.remove(batch)

    def complete(self, batch, ids=None):
        done = self.left(batch) if ids is None else ids
        if self.pg.transaction_status == IDLE:
            yield from self.ask("begin")
            yield from self.complete(batch, ids)
            good = self.rng.random() < 0.9
            yield from self.ask("commit" if good else "rollback")
            self.flush(good)
            return
        invoke = self.invoke("complete", p=self.name, token=batch.token,
                             all=ids is None, events=done)
        array = "null" if ids is None else "'{" + ",".join(ids) + "}'"
        n = yield from self.resolve(
            batch, invoke, f"select sentinai.complete('{batch.token}', "
            f"{array}::uuid[])", lambda n: {"n": int(n)})
        if int(n):
            yield from self.ask(
                f"insert into app.effect select '{batch.worker}', "
                "unnest('{" + ",".join(done) + "}'::uuid[])")

    def complete_some(self, batch):
        some = self.left(batch)
        some = some[:self.rng.randrange(1, len(some) + 1)]
        yield from self.complete(batch, some)

    def fail(self, batch):
        event = self.left(batch)[0]
        retryable = self.rng.random() < 0.85
        invoke = self.invoke("fail", p=self.name, token=batch.token,
                             events=[event], retryable=retryable)
        yield from self.resolve(
            batch, invoke, f"select sentinai.fail('{batch.token}', '{event}', "
            f"'no', {str(retryable).lower()}, '{self.rng.choice((0, 50))} ms')",
            lambda answer: {"answer": answer})

    def extend(self, batch):
        invoke = self.invoke("extend", p=self.name, token=batch.token,
                             lease=2 * 10**9)
        yield from self.resolve(
            batch, invoke, f"select sentinai.extend('{batch.token}', '2 s')",
            lambda _: {})

    def release(self, batch):
        invoke = self.invoke("release", p=self.name, token=batch.token)
        yield from self.resolve(
            batch, invoke, f"select sentinai.release('{batch.token}')",
            lambda n: {"n": int(n)})

    def look(self):
        """Calls that only read, or change nothing that counts."""
        yield from self.ask(self.rng.choice((
            "select * from sentinai.stat_queue",
            "select * from sentinai.stat_agent",
            "select * from sentinai.get_events_by_tenant('t0')",
            "select * from sentinai.get_events_by_exception('t1', 'k1')",
            "select sentinai.is_already_processed(gen_random_uuid(), 'm_all')",
            "call sentinai.wait_for_work('m_all', '20 ms', null)")))


def literal(value):
    return "null" if value is None else f"'{value}'"


class Mix:
    """Lets the actors take turns, drains, and has the history judged."""

    def __init__(self, cluster, report, database, seed, seconds):
        self.cluster = cluster
        self.report = report
        self.database = database
        self.seed = seed
        self.seconds = seconds
        self.records = []
        self.subs = SUBS            # these two for world/final.py
        self.judged = None

    def add(self, **record):
        record.setdefault("t", time.monotonic_ns())
        self.records.append(record)

    def over(self):
        return time.monotonic() > self.limit

    def run(self):
        self.report.begin("three sessions at once")
        with self.cluster.connect("mix", database=self.database) as conn:
            conn.execute(SCHEMA % (
                server.APP,
                "'{" + ",".join(k[0] for k in KEYS if k[1]) + "}'",
                "'{" + ",".join(k[1] for k in KEYS if k[1]) + "}'"))
            self.add(f="run", wall=time.time_ns() // 10**6, seed=str(self.seed),
                     window=0, subs=SUBS, relay="relay")
            for worker, sub in SUBS.items():
                conn.execute(
                    "select sentinai.subscribe(%s, %s, max_attempts => 4, "
                    "backoff => '{20ms,50ms}', ordered => %s)",
                    (worker, sub["types"], sub["ordered"]))
            self.limit = time.monotonic() + self.seconds
            self.take_turns()
            self.drain(conn)
            self.read(conn)
        verdict = checker.check_records(self.records)
        for rule, message, ids in verdict.violations:
            self.report.find(f"{rule}: {message}", " ".join(ids))
        print("# " + next(verdict.lines()))
        self.report.end(least=int(self.seconds * 20))

    def take_turns(self):
        rng = random.Random(f"{self.seed}/turns")
        actors = [Actor(self, i) for i in range(3)]
        while any(a.statement for a in actors):
            busy = [a for a in actors if a.busy]
            idle = [a for a in actors if a.statement and not a.busy]
            if idle and rng.random() < 0.7:
                rng.choice(idle).send()
                continue
            if busy:
                ready = select.select([a.pg.socket for a in busy], [], [],
                                      0 if idle else 1)[0]
                for actor in busy:
                    if actor.pg.socket in ready:
                        actor.poll()
        for actor in actors:
            actor.session.conn.close()

    def drain(self, conn):
        """One calm agent for each subscription, until nothing is left."""
        start = time.monotonic()
        left = {}
        while True:             # one's end may be an event for another
            for worker in SUBS:
                while self.finish_batch(conn, worker):
                    pass
            left = {w: final.left(self, conn, w) for w in SUBS}
            if not any(left.values()) or time.monotonic() - start > DRAIN:
                break
        for worker, count in left.items():
            self.add(f="drain", what=worker, left=count,
                     seconds=time.monotonic() - start)

    def read(self, conn):
        """What there is at the end."""
        asked = {"log": {"judged": self.judged}}
        reads = {k: conn.execute(q, asked.get(k)).fetchall()
                 for k, q in final.READS.items()}
        for row in reads["log"]:
            self.add(**final.log_row(*row))
        for kind in ("ledger", "dead"):
            for worker, event, n in reads[kind]:
                self.add(f=kind, w=worker, id=event, n=n)
        for worker, event in reads["effect"]:
            self.add(f="effect", w=worker, id=event)
        for [name] in reads["work"]:
            self.add(f="work", txn=name)
        self.add(f="read", what="work")

    def finish_batch(self, conn, worker):
        """Claim and complete; False when there was nothing."""
        self.add(f="claim", ph="invoke", p="drain", w=worker, lease=60 * 10**9)
        rows = conn.execute(
            "select event_id::text, token, attempt from sentinai.claim(%s, 500,"
            " '60 s')", (worker,)).fetchall()
        if not rows:
            self.add(f="claim", ph="fail", p="drain")
            conn.execute("call sentinai.wait_for_work(%s, '50 ms', null)",
                         (worker,))
            return False
        token, ids = rows[0][1], [r[0] for r in rows]
        self.add(f="claim", ph="ok", p="drain", token=token,
                 events=[[r[0], r[2]] for r in rows])
        self.add(f="complete", ph="invoke", p="drain", token=token, all=True,
                 events=ids)
        with conn.transaction():
            [n] = conn.execute("select sentinai.complete(%s)",
                               (token,)).fetchone()
            conn.execute("insert into app.effect select %s, unnest(%s::uuid[])",
                         (worker, ids))
        self.add(f="complete", ph="ok", p="drain", n=n)
        return True
