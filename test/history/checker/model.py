# checker/model.py: a history as objects.
# SPDX-License-Identifier: PostgreSQL
"""Loads the records of one run (see README.md for their form).

A record is an operation's `invoke`, or its end: `ok`, `fail` (it surely had no
effect) or `info` (nobody knows). A process does one operation at a time, so
the end belongs to the process's last invoke. Rows without a phase are what was
read after heal and drain.

Times are nanoseconds of the machine's monotonic clock. An operation took effect
somewhere between its two times; rules only use what follows for every choice.
"""

import json

CONTROL_TYPES = ("RetryScheduled", "DeadLettered")
# An asynchronous commit may be lost in a crash that comes this soon.
ASYNC_LOSS = 60 * 10**9
NEVER = float("inf")


class Txn:
    """A publisher's transaction."""

    __slots__ = ("name", "process", "sync", "sent", "xid", "commit_t",
                 "end_t", "end", "resolved", "work")

    def __init__(self, name, process, sync):
        self.name = name
        self.process = process
        self.sync = sync            # synchronous_commit
        self.sent = []              # of Sent, in order
        self.xid = None
        self.commit_t = None        # first moment it may have committed
        self.end_t = None
        self.end = None             # ok, fail, info; None: never asked for
        self.resolved = None        # pg_xact_status() afterwards
        self.work = False           # its row in the application's table


class Sent:
    """One event as one transaction published it."""

    __slots__ = ("uid", "txn", "index", "t", "tenant", "aggregate", "type",
                 "seq", "hash", "due", "undone")

    def __init__(self, txn, index, t, fields):
        self.uid, self.tenant, self.aggregate, self.type, self.seq, \
            self.hash = fields[:6]
        # deliver_at, in ms of the machine's wall clock
        self.due = fields[6] if len(fields) > 6 else None
        self.txn = txn
        self.index = index
        self.t = t                  # of the invoke
        self.undone = True          # until the call has answered


class Stored:
    """A row of event_log."""

    __slots__ = ("id", "txid", "tenant", "aggregate", "type", "uid", "seq",
                 "hash", "about", "sent", "key", "gone")

    def __init__(self, row):
        self.id = row["id"]
        self.txid = row["txid"]
        self.tenant = row["ten"]
        self.aggregate = row["agg"]
        self.type = row["type"]
        self.uid = row["uid"]
        self.seq = row["seq"]
        self.hash = row["h"]
        self.about = row.get("about")   # control events: [worker type, id, n]
        self.sent = None                # the Sent that made it
        self.gone = row.get("gone", False)  # retention has dropped it
        self.key = (self.tenant if self.aggregate is None
                    else f"{self.tenant}:{self.aggregate}")


class Claim:
    """A batch that was handed out."""

    __slots__ = ("worker", "token", "process", "invoke_t", "t", "lease",
                 "events", "deadline", "ops", "handler", "forgiven")

    def __init__(self, worker, token, process, invoke_t, t, lease, events):
        self.worker = worker
        self.token = token
        self.process = process
        self.invoke_t = invoke_t
        self.t = t
        self.lease = lease
        self.events = events        # id → attempt, in the order handed out
        self.deadline = invoke_t + lease    # held at least until then
        self.ops = []               # of Op
        self.handler = False        # seen by a handler, not by us


class Op:
    """complete, fail, extend, release or crash on a batch."""

    __slots__ = ("kind", "process", "token", "invoke_t", "t", "end", "events",
                 "all", "count", "answer", "retryable", "lease")

    def __init__(self, record):
        self.kind = record["f"]
        self.process = record["p"]
        self.token = record["token"]
        self.invoke_t = record["t"]
        self.t = NEVER
        self.end = "info"
        self.events = record.get("events") or ()
        self.all = record.get("all", False)
        self.retryable = record.get("retryable", True)
        self.lease = record.get("lease", 0)
        self.count = None
        self.answer = None


class History:
    """Everything the rules look at."""

    def __init__(self):
        self.run = {}
        self.operations = 0
        self.txns = {}
        self.sent = {}              # uid → [Sent]
        self.log = []               # Stored, in the order of event_log
        self.stored = {}            # event id → Stored
        self.claims = []            # in the order of their answers
        self.by_token = {}
        self.stray_ops = []         # on tokens that were never handed out
        self.handles = []           # of (worker, id, process, start, end, …)
        self.ledger = {}            # worker → {id: attempt}
        self.dead = {}              # worker → {id: attempts}
        self.effects = {}           # worker → {id: count}
        self.kafka = []             # records of the topics, as read
        self.kafka_read = False
        self.relay_starts = 0
        self.relay_doubts = 0
        self.work_read = False
        self.drains = []
        self.views = []             # what they said and what was counted
        self.faults = []            # (t, end, name, record)
        self.server_lines = []
        self.exits = []             # of agents that were told to end
        self.harm = 0               # calls of those who want to do some
        self.breaches = []          # what a tenant got or did that is another's
        self.rounds = {}            # event id → its round
        self.work = set()
        self.double_log = []        # uids and ids seen twice in event_log

    def crashes(self):
        """Spans of time in which the server lost its memory."""
        return [(f[0], f[1]) for f in self.faults if f[3].get("crash")]

    def worker_wants(self, worker, stored):
        """Is this event for that subscription?"""
        sub = self.run["subs"][worker]
        for wanted, what in ((sub.get("types"), stored.type),
                             (sub.get("tenants"), stored.tenant)):
            if wanted is not None and what not in wanted:
                return False
        return not (stored.about and stored.about[0] == worker)

    def is_judged(self, stored):
        """Do we know all that its tenant did?"""
        judged = self.run.get("judged")
        return judged is None or stored.tenant in judged

    def wall(self, t):
        """A moment of the monotonic clock as ms of the wall clock."""
        return self.run["wall"] + (t - self.run["t"]) // 10**6

    def clock_was_ahead(self, t):
        """Had the server's wall clock been ahead before this moment?"""
        return any(f[3].get("ahead") and f[0] < t for f in self.faults)

    def committed(self, txn):
        """True, False or None: nobody can know."""
        if self.work_read:
            if txn.work:
                return True
            if txn.end == "ok" and not self.may_be_lost(txn):
                return True
            return False
        if txn.end == "ok":
            return None if self.may_be_lost(txn) else True
        if txn.end == "fail" or txn.end is None:
            return False
        if txn.resolved in ("committed", "aborted"):
            return txn.resolved == "committed"
        return None

    def may_be_lost(self, txn):
        """Was it an asynchronous commit shortly before a crash?"""
        return not txn.sync and any(
            txn.commit_t <= end and start <= txn.end_t + ASYNC_LOSS
            for start, end in self.crash_spans)

    crash_spans = ()


def load(records):
    """Records, as dicts, into a History."""
    history = History()
    loader = Loader(history)
    for record in records:
        loader.take(record)
    loader.finish()
    return history


def read(path):
    """The records of a file, one JSON object a line; a torn last line of a
    killed process does not count."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                if line.endswith("}\n"):
                    raise


class Loader:
    """Puts records together."""

    def __init__(self, history):
        self.h = history
        self.pending = {}           # process → what its invoke made
        self.takers = {
            "run": self.take_run, "txn": self.take_txn,
            "publish": self.take_publish, "undo": self.take_undo,
            "rollback": self.take_rollback, "prepare": self.take_commit,
            "commit": self.take_commit, "resolve": self.take_resolve,
            "claim": self.take_claim, "complete": self.take_op,
            "fail": self.take_op, "extend": self.take_op,
            "release": self.take_op, "crash": self.take_crash,
            "handle": self.take_handle, "fault": self.take_fault,
            "log": self.take_log, "work": self.take_work,
            "ledger": self.take_ledger, "dead": self.take_dead,
            "effect": self.take_effect, "kafka": self.take_kafka,
            "read": self.take_read, "drain": self.take_drain,
            "server": self.take_server, "exit": self.take_exit,
            "relay": self.take_relay, "views": self.take_views,
            "breach": self.take_breach, "harm": self.take_harm,
            "round": self.take_round,
        }

    def take(self, record):
        if record.get("ph") == "invoke":
            self.h.operations += 1
        self.takers[record["f"]](record)

    def take_run(self, r):
        self.h.run = r

    # Publishers

    def take_txn(self, r):
        self.h.txns[r["txn"]] = Txn(r["txn"], r["p"], r.get("sync", True))

    def take_publish(self, r):
        if r["ph"] == "invoke":
            txn = self.h.txns[r["txn"]]
            made = []
            for fields in r["events"]:
                sent = Sent(txn, len(txn.sent), r["t"], fields)
                txn.sent.append(sent)
                made.append(sent)
                self.h.sent.setdefault(sent.uid, []).append(sent)
            self.pending[r["p"]] = made
        else:
            for sent in self.pending.pop(r["p"], ()):
                sent.undone = r["ph"] != "ok"

    def take_undo(self, r):
        uids = set(r["uids"])
        for sent in self.h.txns[r["txn"]].sent:
            if sent.uid in uids:
                sent.undone = True

    def take_rollback(self, r):
        txn = self.h.txns[r["txn"]]
        txn.end = "fail"
        txn.end_t = r["t"]

    def take_commit(self, r):
        txn = self.h.txns[r["txn"]]
        if r["ph"] == "invoke":
            txn.xid = r["xid"]
            if r["f"] == "commit":
                txn.commit_t = r["t"]
                txn.end = "info"
                txn.end_t = NEVER
        elif r["f"] == "commit":
            txn.end = r["ph"]
            txn.end_t = r["t"]
        elif r["ph"] != "ok" and txn.commit_t is None:
            # prepared, or not: somebody else may finish it
            txn.end = r["ph"]
            txn.commit_t = r["t"]
            txn.end_t = r["t"] if r["ph"] == "fail" else NEVER

    def take_resolve(self, r):
        self.h.txns[r["txn"]].resolved = r["status"]

    # Agents

    def take_claim(self, r):
        if r["ph"] == "invoke":
            self.pending[r["p"]] = r
            return
        call = self.pending.pop(r["p"], None)
        if r["ph"] != "ok" or not r["events"]:
            return
        claim = Claim(call["w"], r["token"], r["p"], call["t"], r["t"],
                      call["lease"], {e[0]: e[1] for e in r["events"]})
        self.h.claims.append(claim)
        self.h.by_token.setdefault(claim.token, []).append(claim)

    def take_op(self, r):
        if r["ph"] == "invoke":
            op = Op(r)
            self.pending[r["p"]] = op
            claims = self.h.by_token.get(op.token)
            if claims:
                claims[0].ops.append(op)
            else:
                self.h.stray_ops.append(op)
            return
        op = self.pending.pop(r["p"], None)
        op.t = r["t"]
        op.end = r["ph"]
        op.count = r.get("n")
        op.answer = r.get("answer")

    def take_crash(self, r):
        self.pending.pop(r["p"], None)

    def take_handle(self, r):
        if r["ph"] == "invoke":
            self.pending[r["p"]] = r
            return
        call = self.pending.pop(r["p"], None)
        if call is not None:
            self.h.handles.append((call, r))

    # Faults and what was read at the end

    def take_fault(self, r):
        if r["ph"] == "invoke":
            self.pending[r["p"]] = r
            self.h.faults.append([r["t"], NEVER, r["fault"], r])
            return
        self.pending.pop(r["p"], None)
        self.h.faults[-1][1] = r["t"]
        self.h.faults[-1][3].update(
            {k: v for k, v in r.items() if k not in ("t", "ph", "f", "p")})

    def take_log(self, r):
        stored = Stored(r)
        if stored.id in self.h.stored:
            self.h.double_log.append(stored.id)
        self.h.stored[stored.id] = stored
        self.h.log.append(stored)

    def take_work(self, r):
        self.h.work.add(r["txn"])

    def take_ledger(self, r):
        self.h.ledger.setdefault(r["w"], {})[r["id"]] = r["n"]

    def take_dead(self, r):
        self.h.dead.setdefault(r["w"], {})[r["id"]] = r["n"]

    def take_effect(self, r):
        counts = self.h.effects.setdefault(r["w"], {})
        counts[r["id"]] = counts.get(r["id"], 0) + 1

    def take_kafka(self, r):
        self.h.kafka.append(r)

    def take_read(self, r):
        if r["what"] == "kafka":
            self.h.kafka_read = True
        elif r["what"] == "work":
            self.h.work_read = True

    def take_drain(self, r):
        self.h.drains.append(r)

    def take_relay(self, r):
        self.h.relay_starts = r["starts"]
        self.h.relay_doubts = r.get("doubts", 0)

    def take_views(self, r):
        self.h.views.append(r)

    def take_harm(self, r):
        self.h.harm += r["calls"]

    def take_breach(self, r):
        self.h.breaches.append(r)

    def take_round(self, r):
        for event_id in r["ids"]:
            self.h.rounds[event_id] = r["n"]

    def take_exit(self, r):
        self.h.exits.append(r)

    def take_server(self, r):
        self.h.server_lines.append(r)

    def finish(self):
        """Tie rows to what made them."""
        h = self.h
        h.crash_spans = h.crashes()
        for txn in h.txns.values():
            txn.work = txn.name in h.work
        for stored in h.log:
            attempts = h.sent.get(stored.uid) if stored.uid else None
            if not attempts:
                continue
            own = [s for s in attempts if s.txn.xid == stored.txid]
            stored.sent = own[0] if own else None
