# scenarios/s15_types.py: what it costs that a type is registered.
# SPDX-License-Identifier: PostgreSQL
"""The same payload of 239 bytes and twelve fields is published under a type
that is registered and one that is not, in turn: one event in each transaction,
and a thousand. What counts is the processor time of the session, which the
kernel keeps in nanoseconds, and of that the difference between the two in one
round. Two databases without a type of ours show how far equal ones differ."""

import json
import statistics

from harness import instructions, queues as q
from harness.cluster import BenchError

NUMBER = 15
TITLE = "a registered type of 12 fields"
TARGET = ("≤ 3 µs more for an event alone, ≤ 1 µs more in a batch of 1,000; "
          "10,000 types cost as much as ten")
UNIT, METRIC = "µs of processor time per event", "cpu_us"
QUICK, FULL = 40, 150

PAYLOAD = json.dumps(
    {"order": "A-10234", "state": "delayed", "carrier": "DHL", "hub": "LEJ",
     "minutes": 135, "weight": 12.5, "insured": True, "parcels": 3,
     "eta": "2026-12-01T08:30:00Z",
     "ref": "018f3b2c-7d1e-7a4b-9c0d-1e2f3a4b5c6d", "note": "told him.",
     "tags": ["cold", "fragile"]}, separators=(",", ":")).ljust(239)
SCHEMA = json.dumps({
    "type": "object",
    "properties": {
        "order": {"type": "string", "pattern": "^[A-Z]-[0-9]{1,9}$"},
        "state": {"enum": ["planned", "moving", "delayed", "delivered"]},
        "carrier": {"type": "string", "minLength": 2, "maxLength": 40},
        "hub": {"type": "string", "maxLength": 3},
        "minutes": {"type": "integer", "minimum": 0, "maximum": 100000},
        "weight": {"type": "number", "exclusiveMinimum": 0},
        "insured": {"type": "boolean"},
        "parcels": {"type": "integer", "minimum": 1},
        "eta": {"type": "string", "format": "date-time"},
        "ref": {"type": "string", "format": "uuid"},
        "note": {"type": ["string", "null"], "maxLength": 1000},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 9}},
    "required": ["order", "state", "carrier", "minutes", "eta", "ref"],
    "additionalProperties": False})

# database → how many types it has registered, and what is published there
NONE, TWIN, OTHERS, TEN, MANY = "none", "twin", "others", "ten", "many"
LABELS = {NONE: "no type is registered", TWIN: "the same once more",
          OTHERS: "10 types, of which it is none",
          TEN: "one of 10 types", MANY: "one of 10,000 types"}
TYPES = {NONE: 0, TWIN: 0, OTHERS: 10, TEN: 10, MANY: 10000}

# An event in each transaction, and a thousand.
ALONE = """do $$ begin
    for i in 1..{n} loop
        perform sentinai.publish('{type}', 'T1', 'A' || i % 997, '{payload}');
        commit;
    end loop; end $$"""
BATCHES = """do $$ begin
    for i in 1..{n} / 1000 loop
        perform sentinai.publish_batch(types, tenants, keys, payloads)
        from fixed;
        commit;
    end loop; end $$"""
FIXED = """create table fixed as select array_agg('{type}'::text) as types,
    array_agg('T1'::text) as tenants, array_agg('A' || i % 997) as keys,
    array_agg('{payload}'::jsonb) as payloads
    from generate_series(1, 1000) i"""
FORMS = {"alone": (ALONE, 3000, 15000), "batch": (BATCHES, 20000, 100000)}


class Types(q.SentinAI):
    """A database with so many types."""

    def __init__(self, name):
        self.name, self.label = name, LABELS[name]
        self.type = "bench.1" if name in (TEN, MANY) else "Measured"

    def fill(self, text, **more):
        return text.format(type=self.type, payload=PAYLOAD, **more)

    def subscribe(self, cluster, database):
        cluster.sql(
            "select count(sentinai.register_event_type('bench.' || i, "
            f"'{SCHEMA}')) from generate_series(1, {TYPES[self.name]}) i",
            database)
        cluster.sql(self.fill(FIXED), database)


def on_processor(pid):
    """Nanoseconds that a process has run so far."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0])


class Publisher:
    """A session that is kept, so that only the first round has to read."""

    def __init__(self, ctx, queue):
        self.queue = queue
        self.session = ctx.cluster.session(ctx.database(queue))
        self.session.run("set synchronous_commit = off")
        self.pid = int(self.session.run("select pg_backend_pid()")[0][0])

    def measure(self, form, count):
        before = on_processor(self.pid)
        self.session.run(self.queue.fill(FORMS[form][0], n=count))
        return {"cpu_us": (on_processor(self.pid) - before) / 1e3 / count}


def differences(result, form, one, other):
    """Of two databases, round by round: the median, and how far from it."""
    rounds = [result.variants.get(f"{form}_{name}", {"rounds": []})["rounds"]
              for name in (one, other)]
    found = [a["cpu_us"] - b["cpu_us"] for a, b in zip(*rounds)]
    if not found:
        return None, None
    middle = statistics.median(found)
    return middle, statistics.median(abs(f - middle) for f in found)


def rounds(ctx, publishers):
    """All forms and databases in turn."""
    by_name = {p.queue.name: p for p in publishers}
    queues = [p.queue for p in publishers]
    for form, (_, quick, full) in FORMS.items():
        for publisher in publishers:        # what is read once
            publisher.measure(form, 1000)
        ctx.alternate(
            queues, lambda queue, f=form, n=ctx.depth(quick, full):
            by_name[queue.name].measure(f, n),
            rounds=max(ctx.rounds, ctx.depth(5, 15)),
            name=lambda queue, f=form: (f"{f}_{queue.name}",
                                        f"{f}: {queue.label}"))


def count(ctx, queues):
    """Instructions, which no other load disturbs."""
    why = instructions.missing()
    if why:
        ctx.result.miss("instructions", why)
        return
    found = {}
    ctx.cluster.stop()
    try:
        for form, n in (("alone", 200), ("batch", 2000)):
            for queue in queues:
                ctx.progress.step(f"{NUMBER}: instructions, {form}, "
                                  f"{queue.label}")
                line = " ".join(queue.fill(FORMS[form][0], n=n).split())
                found[form, queue.name] = instructions.of(
                    ctx.cluster, ctx.database(queue), "select 1", line, 1) / n
    except BenchError as error:
        ctx.result.miss("instructions", str(error))
    finally:
        ctx.cluster.start()
    for form in FORMS:
        base = found.get((form, NONE))
        for queue in queues:
            value = found.get((form, queue.name))
            if base and value:
                ctx.result.notes.append(
                    f"Instructions per event, {form}: {queue.label}: "
                    f"{value:,.0f}, that is {value - base:+,.0f}.")


def run(ctx):
    queues = ctx.install(ctx.ready([Types(name) for name in TYPES]))
    publishers = [Publisher(ctx, queue) for queue in queues]
    rounds(ctx, publishers)
    for publisher in publishers:
        publisher.session.close()
    r = ctx.result
    for form, most in (("alone", 3), ("batch", 1)):
        value, spread = differences(r, form, TEN, OTHERS)
        r.check(f"{form}: registered − not registered, µs", value, "<=", most)
        many, more = differences(r, form, MANY, TEN)
        idle, less = differences(r, form, OTHERS, NONE)
        twin, noise = differences(r, form, TWIN, NONE)
        if None in (value, many, idle, twin):
            continue
        r.check(f"{form}: 10,000 types − 10, µs", many, "<=",
                max(0.1, 3 * (more + noise)))
        r.notes.append(
            f"Medians of differences within a round, {form}, µs, and the "
            f"median of how far rounds are from it: registered {value:+.2f} "
            f"±{spread:.2f}; 10,000 types against 10 {many:+.2f} ±{more:.2f}; "
            f"other types are registered {idle:+.2f} ±{less:.2f}; two that "
            f"are equal {twin:+.2f} ±{noise:.2f}.")
    if not ctx.quick:
        count(ctx, [queue for queue in queues if queue.name != TWIN])
    ctx.remove(queues)
