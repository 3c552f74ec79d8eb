# scenarios/s14_subscriptions.py: many subscriptions to the same events.
# SPDX-License-Identifier: PostgreSQL

from harness import load, queues as q
from harness.cluster import Meter

NUMBER = 14
TITLE = "1, 10, 100 subscriptions with equal and with different filters"
TARGET = "cost per event per subscription stated; equal filters share slices"
QUICK, FULL = 9, 60


def measure(ctx, queue, subscriptions, different, count):
    """Publish and sequence; nobody claims."""
    database = ctx.database(queue)
    ctx.cluster.fresh_database(database)
    queue.install(ctx.cluster, database)
    types = "array['Measured', 'Other' || i]" if different else "null"
    ctx.cluster.sql(
        f"select count(sentinai.subscribe('s' || i, {types})) "
        f"from generate_series(2, {subscriptions}) i", database)
    ctx.cluster.sql("checkpoint")
    meter = Meter(ctx.cluster)
    answer = load.drive(
        ctx.cluster, database, publishers=2, publish=queue.batch(100),
        per_call=100, key_array=True, seconds=300, max_calls=count // 100)
    ctx.caught_up(database)
    wal, cpu = meter.read()
    count = answer["published"]
    slices = ctx.cluster.number(
        "select sum(pg_total_relation_size(inhrelid)) from pg_inherits "
        "where inhparent = 'sentinai_internal.slice'::regclass", database)
    return load.times({"per_s": answer["publish"]["per_s"],
                       "wal_b": wal / count, "cpu_us": cpu * 1e6 / count,
                       "slice_b": slices / count},
                      answer["publish"]["times"])


def run(ctx):
    r = ctx.result
    count = ctx.depth(20000, 100000)
    mine = ctx.ready([q.SENTINAI])
    if not mine:
        return
    numbers = ctx.depth((10,), (10, 100))
    plans = [(n, d) for n in numbers for d in (False, True)]
    ctx.alternate(
        mine, lambda queue: measure(ctx, queue, 1, False, count), 1,
        name=lambda queue: ("n1", f"{queue.label}, 1 subscription"))
    for number, different in plans:
        kind = "different" if different else "equal"
        ctx.alternate(
            mine, lambda queue, n=number, d=different: measure(
                ctx, queue, n, d, count), 1,
            name=lambda queue, n=number, k=kind: (
                f"{k}{n}", f"{queue.label}, {n} with {k} filters"))
    one = r.median("n1", "wal_b")
    for number in numbers:
        equal = r.median(f"equal{number}", "wal_b")
        other = r.median(f"different{number}", "wal_b")
        if one and equal:
            r.check(f"WAL, {number} with equal filters / 1", equal / one,
                    "<=", 1.1)
        if one and other:
            cpu = (r.median(f"different{number}", "cpu_us") -
                   r.median("n1", "cpu_us")) / (number - 1)
            r.notes.append(
                f"{number} different filters: each costs "
                f"{(other - one) / (number - 1):.1f} bytes of WAL and "
                f"{cpu:.2f} µs of processor time per event, "
                "beyond the first.")
    r.notes.append("Publish in transactions of 100 and sequence; nobody "
                   "claims. Every filter matches every event.")
    ctx.remove(mine)
