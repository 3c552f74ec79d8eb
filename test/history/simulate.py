# simulate.py: legal histories of a system that does not exist.
# SPDX-License-Identifier: PostgreSQL
"""Makes the records that a correct system would leave, for the checker's own
test. One thing happens after another; time is a counter."""

import random
import uuid

LEASE = 10**9
STEP = 10**6
BACKLOG = 40
SUBS = {"all": {"types": None, "ordered": True, "max_attempts": 3,
                "effects": True},
        "some": {"types": ["A"], "ordered": True, "max_attempts": 3,
                 "effects": True}}


class World:
    """Publishers, a log, a queue and a topic, all in memory."""

    def __init__(self, seed, transactions=30, keys=6):
        self.rng = random.Random(seed)
        self.records = []
        self.t = 10**12
        self.names = 0
        self.seq = {}
        self.log = []               # rows, in order
        self.queues = {w: [] for w in SUBS}
        self.attempt = {}
        self.keys = [(f"t{i % 2}", f"k{i}") for i in range(keys)]
        self.transactions = transactions
        self.final = []
        self.starts = 1             # of the relay
        self.add(f="run", seed=seed, wall=1_700_000_000_000, window=10,
                 subs=SUBS)

    def add(self, **record):
        self.t += self.rng.randint(STEP, 3 * STEP)
        record["t"] = self.t
        self.records.append(record)

    def name(self, what):
        self.names += 1
        return f"{what}{self.names}"

    def event(self, serial=True):
        tenant, aggregate = self.rng.choice(self.keys)
        uid = self.name("u")
        seq = None
        if serial:
            spot = tenant, aggregate
            seq = self.seq[spot] = self.seq.get(spot, 0) + 1
        else:
            aggregate = "free-" + aggregate
        return [uid, tenant, aggregate, self.rng.choice("AB"), seq,
                self.rng.getrandbits(30)]

    def publish(self, process="p1", end="ok", serial=True, size=None,
                sync=True, happened=True):
        """A transaction; `happened` says how an unknown commit ended."""
        name, xid = self.name("x"), self.names + 1000
        before = dict(self.seq)
        events = [self.event(serial)
                  for _ in range(size or self.rng.randint(2, 4))]
        self.add(f="txn", ph="invoke", p=process, txn=name, sync=sync)
        self.send(process, name, events)
        if self.rng.random() < 0.2:
            self.undone(process, name)
        if end == "rollback":
            self.seq = before
            self.add(f="rollback", ph="ok", p=process, txn=name)
            return name
        self.add(f="commit", ph="invoke", p=process, txn=name, xid=xid)
        self.add(f="commit", ph=end, p=process, txn=name)
        if happened:
            self.store(name, xid, events)
        else:
            self.seq = before
        return name

    def send(self, process, name, events):
        self.add(f="publish", ph="invoke", p=process, txn=name, events=events)
        self.add(f="publish", ph="ok", p=process)

    def undone(self, process, name):
        """A savepoint with one event, rolled back."""
        event = self.event(serial=False)
        self.send(process, name, [event])
        self.add(f="undo", txn=name, uids=[event[0]])

    def store(self, name, xid, events):
        for uid, tenant, aggregate, type_, seq, hash_ in events:
            number = len(self.log) + 1
            row = {"f": "log", "id": str(uuid.UUID(int=number << 64)),
                   "txid": xid, "ten": tenant, "agg": aggregate,
                   "type": type_, "uid": uid, "seq": seq, "h": hash_}
            self.log.append(row)
            for worker, sub in SUBS.items():
                if sub["types"] is None or type_ in sub["types"]:
                    self.queues[worker].append(row)
        self.final.append({"f": "work", "txn": name})

    def claim(self, worker, agent="a1", most=5):
        """Hand out what comes next; returns token and rows."""
        rows = self.queues[worker][:most]
        token = self.name("tok")
        self.add(f="claim", ph="invoke", p=agent, w=worker, lease=LEASE)
        for row in rows:
            spot = worker, row["id"]
            self.attempt.setdefault(spot, 1)
        self.add(f="claim", ph="ok", p=agent, token=token,
                 events=[[r["id"], self.attempt[worker, r["id"]]]
                         for r in rows])
        return token, rows

    def complete(self, worker, token, rows, agent="a1", end="ok",
                 happened=True, **more):
        ids = [r["id"] for r in rows]
        self.add(f="complete", ph="invoke", p=agent, token=token, events=ids,
                 **more)
        if end == "ok":
            more = {"n": len(ids)}
        self.add(f="complete", ph=end, p=agent, **more)
        if happened:
            done = set(ids)
            self.queues[worker] = [r for r in self.queues[worker]
                                   if r["id"] not in done]
            for i in ids:
                self.final.append({"f": "ledger", "w": worker, "id": i,
                                   "n": self.attempt[worker, i]})
                self.final.append({"f": "effect", "w": worker, "id": i})

    def fail(self, worker, token, row, agent="a1", retryable=True):
        """fail() of the first event of a batch."""
        spot = worker, row["id"]
        dead = not retryable or self.attempt[spot] >= 3
        self.add(f="fail", ph="invoke", p=agent, token=token,
                 events=[row["id"]], retryable=retryable)
        self.add(f="fail", ph="ok", p=agent,
                 answer="dead" if dead else "retrying")
        self.log.append(
            {"f": "log", "id": str(uuid.UUID(int=(len(self.log) + 1) << 64)),
             "txid": 7, "ten": row["ten"], "agg": row["agg"],
             "type": "DeadLettered" if dead else "RetryScheduled",
             "uid": None, "seq": None, "h": 0,
             "about": [worker, row["id"], self.attempt[spot]]})
        for other in SUBS:
            if other != worker and SUBS[other]["types"] is None:
                self.queues[other].append(self.log[-1])
        if dead:
            self.queues[worker].remove(row)
            self.final.append({"f": "dead", "w": worker, "id": row["id"],
                               "n": self.attempt[spot]})
        else:
            self.attempt[spot] += 1
            self.move_back(worker, row)
        return dead

    def move_back(self, worker, row):
        """The key waits: its events go behind all others, in order."""
        queue = self.queues[worker]
        key = row["ten"], row["agg"]
        mine = [r for r in queue if (r["ten"], r["agg"]) == key]
        self.queues[worker] = [r for r in queue if r not in mine] + mine

    def work(self, worker):
        """One batch, somehow."""
        agent = self.rng.choice(("a1", "a2"))
        token, rows = self.claim(worker, agent)
        choice = self.rng.random()
        if not rows:
            return
        if choice < 0.2:
            dead = self.fail(worker, token, rows[0], agent,
                             self.rng.random() < 0.8)
            key = rows[0]["ten"], rows[0]["agg"]
            rest = [r for r in rows[1:]
                    if dead or (r["ten"], r["agg"]) != key]
            self.complete(worker, token, rest, agent)
        elif choice < 0.3:
            self.release(token, agent)
        elif choice < 0.4:
            self.complete(worker, token, rows[:1], agent)
            self.complete(worker, token, rows[1:], agent)
        else:
            self.complete(worker, token, rows, agent)

    def release(self, token, agent="a1"):
        self.add(f="release", ph="invoke", p=agent, token=token)
        self.add(f="release", ph="ok", p=agent)

    def fault(self, name, **record):
        self.add(f="fault", ph="invoke", p="nemesis", fault=name, **record)
        self.add(f="fault", ph="ok", p="nemesis")

    def run(self):
        """Everything at once, then drain and the final reads."""
        for _ in range(self.transactions):
            self.publish(process=self.rng.choice(("p1", "p2")),
                         serial=self.rng.random() < 0.7,
                         **({"end": "rollback"} if self.rng.random() < 0.15
                            else {}))
            if self.rng.random() < 0.5:
                self.work(self.rng.choice(list(SUBS)))
            for worker, queue in self.queues.items():
                if len(queue) > BACKLOG:
                    self.work(worker)
        return self

    def finish(self, copies=()):
        """`copies`: how many records before each point are sent again."""
        while any(self.queues.values()):
            for worker, queue in self.queues.items():
                if queue:
                    self.work(worker)
        self.records += self.log + self.final
        self.topic(list(copies))
        self.add(f="relay", starts=self.starts)
        for what in ("work", "kafka"):
            self.add(f="read", what=what)
        for worker in SUBS:
            self.add(f="drain", what=worker, left=0, seconds=1.0)
            self.add(f="views", w=worker, said=[7, 2, 1, 0],
                     counted=[5, 2, 1, 0], own=3)
            self.add(f="views", w=worker, said=[0, 0, 0, 1],
                     counted=[0, 0, 0, 1], own=0)
        return self.records

    def topic(self, copies):
        rows = list(self.log)
        for n in copies:
            place = min(len(rows), 20)
            rows[place:place] = rows[place - n:place]
        for off, r in enumerate(rows):
            key = f"{r['ten']}:{r['agg']}"
            self.records.append(
                {"f": "kafka", "topic": "e", "part": sum(key.encode()) % 3,
                 "off": off, "ts": 1_700_000_000_000 + self.t // 10**6,
                 "key": key, "id": r["id"], "uid": r["uid"], "h": r["h"]})


def legal(seed, transactions=30):
    return World(seed, transactions).run().finish()
