# world/agent.py: agents over plain SQL, of every kind there is.
# SPDX-License-Identifier: PostgreSQL
"""An agent completes at once or in parts, fails, crashes with its batch, comes
back after its lease has ended, works slowly with extend(), gives back, or rolls
its completion back. With every completion it writes a row of its own in the
same transaction."""

import psycopg

from .client import Client, Lost

HABITS = {"whole": 50, "parts": 12, "fail": 10, "crash": 3, "stale": 4,
          "slow": 5, "release": 5, "undo": 6, "stray": 1}
CALM = {"whole": 1}


class Batch:
    """What a claim returned."""

    def __init__(self, token, rows):
        self.token = token
        self.keys = {r[1]: (r[2], r[3]) for r in rows}
        self.open = list(self.keys)
        self.poison = any(r[5] for r in rows)
        self.again = any(r[4] > 1 for r in rows)
        self.doubt = False


class Agent(Client):
    """One session of one worker type."""

    habits = HABITS
    sizes = (1, 5, 20, 50, 100)

    def __init__(self, world, name, worker, ordered=True, far=False):
        super().__init__(world, name)
        self.far = far
        self.worker = worker
        self.ordered = ordered
        self.lease = world.lease
        self.held = None            # a batch whose connection was lost

    def turn(self):
        if self.held is not None:
            batch, self.held = self.held, None
            self.settle(batch)
            return
        batch = self.claim()
        if batch is None:
            self.ask("call sentinai.wait_for_work(%s, '300ms', null)",
                     self.worker)
            return
        try:
            if batch.poison and self.worker == "h_some":
                self.crash(batch)
            else:
                habits = CALM if self.world.calm else self.habits
                [habit] = self.rng.choices(list(habits), habits.values())
                getattr(self, habit)(batch)
        except Lost:
            # the batch may be ours still: half of the agents come back
            if self.rng.random() < 0.5:
                batch.doubt = True
                self.held = batch
            raise

    def claim(self):
        most = self.rng.choice(self.sizes)
        self.record(f="claim", ph="invoke", p=self.name, w=self.worker,
                    lease=int(self.lease * 10**9))
        try:
            rows = self.ask(
                "select token, event_id::text, tenant_id, aggregate_id, "
                "attempt, payload ? 'poison' from sentinai.claim(%s, %s, "
                "make_interval(secs => %s), %s)", self.worker, most,
                self.lease, self.name)
        except Lost:
            self.record(f="claim", ph="info", p=self.name)
            raise
        except psycopg.Error:
            self.record(f="claim", ph="fail", p=self.name)
            raise
        if not rows:
            self.record(f="claim", ph="ok", p=self.name, token=None, events=[])
            return None
        if len({r[0] for r in rows}) > 1:
            self.record(f="server", line=f"{self.name}: a claim with two tokens")
        self.record(f="claim", ph="ok", p=self.name, token=rows[0][0],
                    events=[[r[1], r[4]] for r in rows])
        return Batch(rows[0][0], rows)

    def call(self, kind, batch, sql, *args, **record):
        """One call on a batch, recorded; (end, rows)."""
        self.record(f=kind, ph="invoke", p=self.name, token=batch.token,
                    **record)
        try:
            rows = self.ask(sql, *args)
        except Lost:
            self.record(f=kind, ph="info", p=self.name)
            raise
        except psycopg.Error as error:
            self.record(f=kind, ph="fail", p=self.name, answer=error.sqlstate)
            self.refused(error)
            return "fail", None
        return "ok", rows

    def refused(self, error):
        """SN409 is an answer, and SN429 where a role has as many lanes as it may,
        anything else is not."""
        if error.sqlstate not in ("SN409", "SN429"):
            self.unexpected(error)

    def complete(self, batch, ids=None, undo=False):
        """complete() and our own rows in one transaction; whether it did."""
        done = list(batch.open if ids is None else ids)
        self.record(f="complete", ph="invoke", p=self.name, token=batch.token,
                    all=ids is None, events=done)
        try:
            self.ask("begin")
            [[n]] = self.ask("select sentinai.complete(%s, %s::uuid[])",
                             batch.token, ids)
            self.beside(batch, done)
            if undo or n != len(done):
                self.ask("rollback")
                self.record(f="complete", ph="fail", p=self.name,
                            answer="undone", n=None if n == len(done) else n)
                return False
            self.ask("commit")
        except Lost:
            self.record(f="complete", ph="info", p=self.name)
            raise
        except psycopg.Error as error:
            self.record(f="complete", ph="fail", p=self.name,
                        answer=error.sqlstate)
            self.refused(error)
            self.ask("rollback")
            return False
        self.record(f="complete", ph="ok", p=self.name, n=n)
        batch.open = [i for i in batch.open if i not in set(done)]
        return True

    def beside(self, _, done):
        """What we write in the transaction of a completion."""
        self.ask("insert into app.effect select %s, unnest(%s::uuid[])",
                 self.worker, done)

    # Habits

    def whole(self, batch):
        self.complete(batch)

    def settle(self, batch):
        """After a lost connection: what the server lets us."""
        self.complete(batch)

    def parts(self, batch):
        some = batch.open[:self.rng.randrange(1, len(batch.open) + 1)]
        if self.complete(batch, some) and batch.open:
            self.complete(batch, None if self.rng.random() < 0.5
                          else list(batch.open))

    def fail(self, batch):
        """One event fails, and the later ones of its key leave with it."""
        event = self.rng.choice(batch.open)
        before = batch.open[:batch.open.index(event)]
        if before and not self.complete(batch, before):
            return
        retryable = self.rng.random() < 0.85
        end, rows = self.call(
            "fail", batch, "select sentinai.fail(%s, %s, %s, %s, %s)",
            batch.token, event, "it failed", retryable,
            "50ms" if self.rng.random() < 0.5 else None, events=[event],
            retryable=retryable)
        if end == "ok":
            self.record(f="fail", ph="ok", p=self.name, answer=rows[0][0])
            key = batch.keys[event]
            later = batch.open[batch.open.index(event) + 1:]
            batch.open = [i for i in later if not self.ordered or
                          rows[0][0] == "dead" or batch.keys[i] != key]
            if batch.open:
                self.complete(batch)

    def crash(self, batch):
        """Gone, with the batch."""
        self.record(f="crash", p=self.name, token=batch.token)
        self.drop()

    def stale(self, batch):
        """Too late, perhaps."""
        self.pause(self.lease * (0.9 + self.rng.random()))
        if self.rng.random() < 0.3:
            self.extend(batch)
        self.complete(batch)

    def slow(self, batch):
        """Longer than the lease, with a heartbeat."""
        for _ in range(3):
            self.pause(self.lease * 0.4)
            if not self.extend(batch):
                return
        self.complete(batch)

    def extend(self, batch):
        end, _ = self.call(
            "extend", batch, "select sentinai.extend(%s, "
            "make_interval(secs => %s))", batch.token, self.lease,
            lease=int(self.lease * 10**9))
        if end == "ok":
            self.record(f="extend", ph="ok", p=self.name)
        return end == "ok"

    def release(self, batch):
        if len(batch.open) > 1 and self.rng.random() < 0.5:
            self.complete(batch, batch.open[:1])
        end, rows = self.call("release", batch, "select sentinai.release(%s)",
                              batch.token)
        if end == "ok":
            self.record(f="release", ph="ok", p=self.name, n=rows[0][0])
            if self.rng.random() < 0.3:
                self.complete(batch)

    def undo(self, batch):
        """A completion that is rolled back has not happened."""
        self.complete(batch, undo=True)
        self.complete(batch)

    def stray(self, batch):
        """A token that the batch's resolution has used up."""
        if self.complete(batch):
            self.extend(batch)


KEEP = """
insert into app.kept
select event_id, txid, tenant_id, aggregate_id, event_type, payload
from sentinai.event_log where event_id = any (%s::uuid[])
on conflict do nothing
"""
# Nobody is given the control events about itself.
KEEP_OWN = """
insert into app.kept
select e.event_id, e.txid, e.tenant_id, e.aggregate_id, e.event_type, e.payload
from sentinai.event_log e
where e.event_type in ('RetryScheduled', 'DeadLettered')
    and e.payload->>'worker_type' = %s
    and e.partition_hash in (select d.partition_hash from sentinai.event_log d
        where d.event_id = any (%s::uuid[]))
on conflict do nothing
"""


class Keeper(Agent):
    """Copies every event for the checker, in the transaction that lets retention
    drop it. An event whose lease was lost comes again after the control event
    that tells of it, and before it: retention drops the oldest first."""

    habits = CALM
    sizes = (200,)

    def beside(self, batch, done):
        self.ask(KEEP, done)
        if batch.again:
            self.ask(KEEP_OWN, self.worker, done)
