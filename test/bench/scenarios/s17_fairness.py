# scenarios/s17_fairness.py: a small tenant beside one that floods.
# SPDX-License-Identifier: PostgreSQL
"""A small tenant's events are timed while its queue is idle; while the same
flood with as many agents is in another database, so that only the machine is
shared; and while the flood is in its own queue. Agents take a millisecond for
an event, so where there is a backlog all are at work, and an event waits
for one of them to come back. That is a turn: a flood may cost one."""

from harness import load, queues as q, ways

NUMBER = 17
TITLE = "COMMIT → agent for a small tenant, while another one floods"
TARGET = ("p99 ≤ 3 × that of an idle queue; not more than one batch of an "
          "agent above that of an idle queue on a machine with the same load")
UNIT = "ms"
METRIC = "p99_ms"
QUICK, FULL = 100, 900
RATE = 100                      # events a second of the small tenant
BATCH = 1000                    # of the big one
AGENTS = {"agents": 4, "work_us": 1000}

IDLE, BESIDE, FLOODED, IN_ORDER = "idle", "beside", "flooded", "no turns"
LABELS = {IDLE: "idle", BESIDE: "idle, the flood is elsewhere",
          FLOODED: "flooded", IN_ORDER: "flooded, no turns"}

FLOOD = ("select cardinality(sentinai.publish_batch("
         f"array_fill('Flood'::text, array[{BATCH}]), "
         f"array_fill('big'::text, array[{BATCH}]), $2::text[], "
         f"array_fill('{{}}'::jsonb, array[{BATCH}]))) where $1::text <> ''")
SMALL = "select sentinai.publish('Measured', 'small', $2, $1::jsonb)"


# What the big tenant has on the track of all, from before it was set apart.
COMMON = """select coalesce(sum(cardinality(event_ids)), 0)
from sentinai_internal.slice where stream_id = 0 and lane < 64"""


class Flood:
    """A backlog of the big tenant, and what it goes on to publish."""

    def __init__(self, ctx, queue, database, seconds):
        self.ctx, self.database, self.seconds = ctx, database, seconds
        self.running = []
        self.publish(publishers=2, max_calls=ctx.depth(100, 300),
                     seconds=300)
        self.end()
        ctx.caught_up(database)
        self.pass_common(queue)

    def pass_common(self, queue):
        """Others wait for this once, so it is gone before they are timed."""
        common = int(self.ctx.cluster.number(COMMON, self.database))
        load.drive(self.ctx.cluster, self.database, agents=4, seconds=60,
                   stop_after=2 * common + 1000, **queue.agent(100),
                   **queue.idle)

    def start(self, **settings):
        self.running.append(load.start_drive(self.ctx.cluster, self.database,
                                             **settings))

    def publish(self, **settings):
        self.start(publish=FLOOD, per_call=BATCH, key_array=True, **settings)

    def go_on(self):
        self.publish(publishers=1, rate=5, seconds=self.seconds)

    def end(self):
        for process in self.running:
            load.end_drive(process, self.seconds + 300)
        self.running = []


def new_database(ctx, queue, suffix=""):
    database = ctx.database(queue, suffix)
    ctx.cluster.fresh_database(database)
    queue.install(ctx.cluster, database)
    return database


def begin_flood(ctx, queue, kind, database, seconds, agent):
    """The flood of one kind of run, None when there is none."""
    if kind == IDLE:
        return None
    if kind == BESIDE:
        database = new_database(ctx, queue, "_beside")
    flood = Flood(ctx, queue, database, seconds)
    if kind == BESIDE:
        flood.start(seconds=seconds, **AGENTS, **agent, **queue.idle)
    flood.go_on()
    return flood


def measure(ctx, queue, kind, max_events):
    """One run of one kind."""
    cluster = ctx.cluster
    cluster.set(sentinai_crowded_at=0 if kind == IN_ORDER else 1000)
    database = new_database(ctx, queue)
    seconds = ctx.depth(6, 20)
    agent = queue.agent(max_events)
    way = ctx.scratch("ways")
    flood = begin_flood(ctx, queue, kind, database, seconds + 2, agent)
    answer = load.drive(cluster, database, publishers=1, rate=RATE,
                        publish=SMALL, latency=True, seconds=seconds,
                        warmup=1, ways=way, **AGENTS, **agent, **queue.idle)
    if flood is not None:
        flood.end()
    work = answer["work"]
    figures = load.times({"unseen": answer.get("unseen", 0),
                          "batch_ms": AGENTS["agents"] * 1e3 *
                          work["seconds"] / max(work["calls"], 1)},
                         answer["latency"])
    figures["parts"] = ways.parts(way, cluster, database, "small")
    return figures


def tell_parts(r, max_events):
    """Where the time went."""
    for kind in (IDLE, BESIDE, FLOODED):
        entry = r.variants.get(f"{kind}{max_events}", {"rounds": []})
        found = [way for one in entry["rounds"] for way in one.pop("parts")]
        if found:
            r.notes.append(f"claim {max_events}, {LABELS[kind]}, p50 / p99 "
                           f"of {len(found):,} events: {ways.describe(found)}.")


def tell(r, max_events):
    """What was reached with claims of that size."""
    def value(kind, metric="p99_ms"):
        return r.median(f"{kind}{max_events}", metric)

    tell_parts(r, max_events)
    idle, beside, flooded = map(value, (IDLE, BESIDE, FLOODED))
    if None in (idle, beside, flooded):
        return
    batch = value(FLOODED, "batch_ms")
    r.check(f"p99 flooded / idle, claim {max_events}", flooded / idle,
            "<=", 3)
    r.check(f"p99 flooded − idle with the flood elsewhere, in batches of "
            f"{batch:.1f} ms, claim {max_events}", (flooded - beside) / batch,
            "<=", 1)
    r.notes.append(f"claim {max_events}: p99 idle with the flood elsewhere / "
                   f"idle {beside / idle:.2f}, flooded / idle with the flood "
                   f"elsewhere {flooded / beside:.2f}.")


def run(ctx):
    mine = ctx.ready([q.SENTINAI])
    if not mine:
        return
    for max_events in (1, 10):
        for kind in LABELS:
            ctx.alternate(
                mine, lambda queue, k=kind, n=max_events: measure(
                    ctx, queue, k, n), ctx.depth(1, ctx.rounds),
                name=lambda queue, k=kind, n=max_events: (
                    f"{k}{n}", f"{queue.label}, claim {n}, {LABELS[k]}"))
        tell(ctx.result, max_events)
    ctx.cluster.set(sentinai_crowded_at=None)
    ctx.result.notes.append(
        "Four agents, a millisecond for each event. \"no turns\": "
        "sentinai.crowded_at = 0, and the events of the small tenant that "
        "were not seen in the time do not count. Parts of a way: " +
        "; ".join(f"{name} is {text}" for name, text in ways.PARTS.items()) +
        ".")
    ctx.remove(mine)
    ctx.remove(mine, "_beside")
