# world/publisher.py: transactions that publish.
# SPDX-License-Identifier: PostgreSQL
"""A transaction publishes 1 to 20 events through publish(), publish_batch(), an
INSERT or a COPY into the outbox, writes a row of its own, and commits, rolls
back, rolls back a savepoint, or is prepared. For serialised keys a counter is
raised under its row lock, which is held until the end: the payload carries the
number. Other keys have none: only what follows from time and session holds."""

import json
import time

import psycopg

from .client import Client, Lost
from .recorder import digest

TYPES = ("A", "B", "C")
RARE = "D"                      # for agents that start a program for each
RARE_SHARE = 1 / 100
TENANTS = ("acme", "bmw", "cora", "dell", "eon", "fiat", "gap", "hp", "ibm",
           "jeep")              # more than there are tracks
HOT, COLD, FREE, LATER = 10, 10_000, 40, 5
POISON = 1 / 4000
WAYS = ("publish", "publish", "batch", "insert", "copy")
PADS = (10, 200_000, 900_000)   # characters, of events that go to new topics
NEW_TOPIC_SECONDS = 2


class Publisher(Client):
    """One session."""

    tenants = TENANTS
    marks = {}                  # what every payload has

    def __init__(self, world, name):
        super().__init__(world, name)
        self.used = world.idempotent
        self.number = 0
        self.unfinished = []        # prepared transactions to end

    def turn(self):
        for gid in list(self.unfinished):
            self.finish_prepared(gid)
        self.transaction()
        self.stopping.wait(self.rng.expovariate(1 / self.world.pause))

    def transaction(self):
        rng = self.rng
        name = self.next_name()
        sync = rng.random() < self.world.sync_share
        try:
            xid = self.begin(name, sync)
            self.statements(name)
            if rng.random() < 0.2:
                self.pause(rng.random() * 0.05)
            if rng.random() < 0.1:
                self.ask("rollback")
                self.record(f="rollback", ph="ok", p=self.name, txn=name)
                return
        except (Lost, psycopg.Error) as error:
            # COMMIT was not sent: nothing can have happened
            self.record(f="rollback", ph="ok", p=self.name, txn=name)
            if isinstance(error, Lost):
                raise
            self.unexpected(error)
            self.ask("rollback")
            return
        if rng.random() < 0.04 * self.world.sync_share:
            self.prepare(name, xid)
        else:
            self.end("commit", "commit", name, xid)

    def next_name(self):
        self.number += 1
        return f"{self.name}-{self.number}"

    def begin(self, name, sync):
        """A transaction with a row of its own; returns its number."""
        self.record(f="txn", ph="invoke", p=self.name, txn=name, sync=sync)
        self.ask("begin")
        self.ask("set local synchronous_commit = " + ("on" if sync else "off"))
        [[xid]] = self.ask("select pg_current_xact_id()::text::bigint")
        self.ask("insert into app.work values (%s)", name)
        return xid

    def end(self, what, sql, name, xid):
        """COMMIT or PREPARE, with its three outcomes. A COMMIT PREPARED that is
        refused leaves the transaction as it was: somebody commits it later."""
        self.record(f=what, ph="invoke", p=self.name, txn=name, xid=xid)
        try:
            self.ask(sql)
        except Lost:
            self.record(f=what, ph="info", p=self.name, txn=name)
            self.world.unknown(name, xid)
            raise
        except psycopg.Error as error:
            later = sql.startswith("commit prepared")
            self.record(f=what, ph="info" if later else "fail", p=self.name,
                        txn=name)
            if later:
                self.world.unknown(name, xid)
            self.unexpected(error)
            self.ask("rollback")
            return False
        self.record(f=what, ph="ok", p=self.name, txn=name)
        return True

    def alone(self, seconds, gid_end=None):
        """For the nemesis: one transaction that stays open, or stays prepared;
        what is needed to finish that."""
        name = self.next_name()
        self.conn = self.world.server.connect(f"h-{self.name}")
        try:
            xid = self.begin(name, True)
            self.publish(name, self.make(5, serial=False), "batch")
            if gid_end is None:
                self.pause(seconds)
        except (Lost, psycopg.Error):
            self.record(f="rollback", ph="ok", p=self.name, txn=name)
            self.drop()
            return None
        try:
            if gid_end is None:
                self.end("commit", "commit", name, xid)
                return None
            gid = f"{name}/{gid_end}"
            if not self.end("prepare", f"prepare transaction '{gid}'", name,
                            xid):
                return None
            return self, gid, name, xid
        except Lost:
            return None
        finally:
            self.drop()

    def adopt(self, gid, name, xid):
        """Commit what was prepared long ago."""
        self.conn = self.world.server.connect(f"h-{self.name}")
        try:
            self.end("commit", f"commit prepared '{gid}'", name, xid)
        except Lost:
            pass                # the run ends what is left
        finally:
            self.drop()

    def prepare(self, name, xid):
        """Two phases; a gid ends with what will become of it."""
        commit = self.rng.random() < 0.8
        gid = f"{name}/{'commit' if commit else 'rollback'}"
        self.unfinished.append(gid)     # also when nobody knows whether it is
        if not self.end("prepare", f"prepare transaction '{gid}'", name, xid):
            self.unfinished.remove(gid)
            return
        self.pause(self.rng.random() * 0.3)
        if commit:
            if not self.end("commit", f"commit prepared '{gid}'", name, xid):
                return
        else:
            self.record(f="rollback", ph="ok", p=self.name, txn=name)
            self.ask(f"rollback prepared '{gid}'")
        self.unfinished.remove(gid)

    def finish_prepared(self, gid):
        """After a lost connection, as the gid says; done already is as good."""
        self.unfinished.remove(gid)
        try:
            self.ask(f"{gid.rpartition('/')[2]} prepared '{gid}'")
        except psycopg.errors.UndefinedObject:
            pass
        except (Lost, psycopg.Error):
            self.unfinished.append(gid)
            raise

    def statements(self, name):
        """What one transaction publishes."""
        rng = self.rng
        if rng.random() < 0.05:
            self.ask("savepoint s")
            events = self.make(1 + rng.randrange(3))
            self.publish(name, events, rng.choice(WAYS))
            self.ask("rollback to s")
            self.record(f="undo", txn=name, uids=[e[0][0] for e in events])
        self.publish(name, self.make(rng.choice((1, 1, 2, 3, 8, 20))),
                     rng.choice(WAYS))
        if rng.random() < 0.2:
            self.publish(name, self.make(rng.randrange(1, 4), serial=False),
                         rng.choice(WAYS))
        if rng.random() < self.world.wide:
            self.new_topic(name)
        if rng.random() < 0.05:
            self.idempotent(name)
        if rng.random() < 0.05:
            self.later(name)

    def make(self, count, serial=None):
        """(fields of the history, payload) of new events; takes the keys'
        numbers, in one order so that publishers do not wait in circles."""
        rng = self.rng
        serial = rng.random() < 0.6 if serial is None else serial
        keys = [self.key(serial) for _ in range(count)]
        numbers = {}
        if serial:
            for key in sorted(set(keys)):
                [[n]] = self.ask(
                    "insert into app.counter as c values (%s, %s, %s) on "
                    "conflict (ten, agg) do update set n = c.n + excluded.n "
                    "returning n", *key, keys.count(key))
                numbers[key] = n - keys.count(key)
        events = []
        for key in keys:
            seq = None
            if serial:
                seq = numbers[key] = numbers[key] + 1
            events.append(self.event(key, seq))
        return events

    def key(self, serial):
        rng = self.rng
        if serial:
            name = f"hot{rng.randrange(HOT)}" if rng.random() < 0.6 else \
                f"cold{rng.randrange(COLD)}"
        else:
            name = f"free{rng.randrange(FREE)}"
            if rng.random() < 0.01:
                return rng.choice(self.tenants), None
        return self.tenants[hash_of(name) % len(self.tenants)], name

    def event(self, key, seq, pad=None):
        rng = self.rng
        self.world.events += 1
        uid = f"{self.name}.{self.number}.{rng.getrandbits(48):x}"
        payload = {"u": uid, "s": seq, "pad": pad or "é" * rng.randrange(60),
                   **self.marks}
        if rng.random() < POISON:
            payload["poison"] = True
        type_ = RARE if rng.random() < RARE_SHARE else rng.choice(TYPES)
        return [uid, *key, type_, seq, digest(payload)], payload

    def publish(self, name, events, way):
        self.record(f="publish", ph="invoke", p=self.name, txn=name, via=way,
                    events=[e[0] for e in events])
        try:
            getattr(self, "by_" + way)(events)
        except (Lost, psycopg.Error):
            self.record(f="publish", ph="fail", p=self.name)
            raise
        self.record(f="publish", ph="ok", p=self.name)

    def by_publish(self, events):
        for (_, tenant, aggregate, type_, _, _), payload in events:
            self.ask("select sentinai.publish(%s, %s, %s, %s)", type_, tenant,
                     aggregate, json.dumps(payload))

    def by_batch(self, events):
        self.ask("select sentinai.publish_batch(%s, %s, %s, %s::jsonb[])",
                 [e[0][3] for e in events], [e[0][1] for e in events],
                 [e[0][2] for e in events],
                 [json.dumps(e[1]) for e in events])

    def by_insert(self, events):
        rows = [x for (_, ten, agg, type_, _, _), payload in events
                for x in (ten, agg, type_, json.dumps(payload))]
        self.ask("insert into sentinai.outbox (tenant_id, aggregateid, type, "
                 "payload) values " +
                 ", ".join(["(%s, %s, %s, %s)"] * len(events)), *rows)

    def by_copy(self, events):
        try:
            with self.conn.cursor() as cursor, cursor.copy(
                    "copy sentinai.outbox (tenant_id, aggregateid, type, "
                    "payload) from stdin") as copy:
                for (_, ten, agg, type_, _, _), payload in events:
                    copy.write_row((ten, agg, type_, json.dumps(payload)))
        # psycopg expects one answer; the end of a session is another.
        except (psycopg.Error, ValueError) as error:
            if self.conn.closed or self.conn.broken:
                raise Lost(str(error)) from None
            raise

    def new_topic(self, name):
        """Large and small events of one key, for a topic that nobody had before
        the publishers came to it in the last seconds."""
        rng = self.rng
        kind = f"new{int(time.monotonic() - self.world.began) // NEW_TOPIC_SECONDS}"
        self.world.kinds.add(kind)
        key = rng.choice(TENANTS), f"{kind}-{self.name}-{rng.randrange(4)}"
        for _ in range(rng.randrange(3, 9)):
            event = self.event(key, None, "x" * rng.choice(PADS))
            (_, ten, agg, type_, _, _), payload = event
            self.record(f="publish", ph="invoke", p=self.name, txn=name,
                        via="new topic", events=[event[0]])
            try:
                self.ask("select sentinai.publish(%s, %s, %s, %s, "
                         "aggregate_type => %s)", type_, ten, agg,
                         json.dumps(payload), kind)
            except (Lost, psycopg.Error):
                self.record(f="publish", ph="fail", p=self.name)
                raise
            self.record(f="publish", ph="ok", p=self.name)

    def later(self, name):
        """Events that nobody may see for a while, by our clock."""
        due = time.time() + self.rng.random() * 4
        for _ in range(self.rng.randrange(1, 3)):
            number = self.rng.randrange(LATER)
            event = self.event((self.tenants[number % len(self.tenants)],
                                f"later{number}"), None)
            (_, ten, agg, type_, _, _), payload = event
            self.record(f="publish", ph="invoke", p=self.name, txn=name,
                        via="later", events=[[*event[0], int(due * 1000)]])
            try:
                self.ask("select sentinai.publish(%s, %s, %s, %s, deliver_at "
                         "=> to_timestamp(%s))", type_, ten, agg,
                         json.dumps(payload), due)
            except (Lost, psycopg.Error):
                self.record(f="publish", ph="fail", p=self.name)
                raise
            self.record(f="publish", ph="ok", p=self.name)

    def idempotent(self, name):
        """A new idempotency key, or one that somebody has used."""
        used = self.used
        if used and self.rng.random() < 0.5:
            event = self.rng.choice(used[-20:])
        else:
            event = self.event(self.key(False), None)
            used.append(event)
        (uid, ten, agg, type_, _, _), payload = event
        self.record(f="publish", ph="invoke", p=self.name, txn=name,
                    via="idempotent", events=[event[0]])
        try:
            self.ask("select sentinai.publish(%s, %s, %s, %s, "
                     "idempotency_key => %s)", type_, ten, agg,
                     json.dumps(payload), uid)
        except (Lost, psycopg.Error):
            self.record(f="publish", ph="fail", p=self.name)
            raise
        self.record(f="publish", ph="ok", p=self.name)


def hash_of(name):
    """The same in every run."""
    return sum(name.encode())
