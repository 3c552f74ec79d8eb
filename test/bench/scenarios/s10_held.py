# scenarios/s10_held.py: a transaction held open while the queue works.
# SPDX-License-Identifier: PostgreSQL

from harness import load, queues as q
from .s07_agent_latency import RATE

NUMBER = 10
TITLE = "a REPEATABLE READ transaction held open under load"
TARGET = ("throughput ≥ 0.95 and p99 ≤ 1.5 × of the same run without it; dead "
          "tuples and sizes flat")
QUICK, FULL = 20, 190


def phase(ctx, queue, state, seconds):
    """As fast as it goes, then at a steady pace; what was reached."""
    database = ctx.database(queue)
    common = dict(agents=4, seconds=seconds, warmup=1, **queue.agent(100),
                  **queue.idle)
    ctx.progress.step(f"10: {queue.label}, {state}, full speed")
    flat_out = load.drive(ctx.cluster, database, publishers=4,
                          publish=queue.publish, **common)
    ctx.progress.step(f"10: {queue.label}, {state}, {RATE}/s")
    paced = load.drive(ctx.cluster, database, publishers=4, rate=RATE,
                       publish=queue.publish, latency=True, **common)
    ctx.result.add(
        f"{queue.name}_{state}", f"{queue.label}, {state}", queue,
        load.times({"per_s": flat_out["work"]["per_s"],
                    "published_per_s": flat_out["publish"]["per_s"]},
                   paced["latency"]))


def compare(r):
    """Held against the middle of the clean phases before and after it."""
    def ratio(metric):
        clean, held = (r.mean(f"sentinai_{state}", metric)
                       for state in ("clean", "held"))
        return held / clean if clean and held else None

    r.check("throughput of agents, held / clean", ratio("per_s"), ">=", 0.95)
    r.check("throughput of publishers, held / clean",
            ratio("published_per_s"), ">=", 0.95)
    r.check("p99, held / clean", ratio("p99_ms"), "<=", 1.5)


def run(ctx):
    r = ctx.result
    seconds = ctx.depth(2, 15, 600)
    both = ctx.install(ctx.ready([q.SENTINAI] +
                                 ctx.unless_quick(q.SKIP_UPDATE)))
    dead, sizes = [], []
    for queue in both:
        phase(ctx, queue, "clean", min(seconds, 60))
        holder = ctx.cluster.session(ctx.database(queue))
        holder.run("begin isolation level repeatable read; "
                   "select count(*) from pg_class")
        sampler = ctx.sampler(queue)
        phase(ctx, queue, "held", seconds)
        rows = sampler.end()
        holder.close()
        phase(ctx, queue, "clean", min(seconds, 60))
        dead.append((queue.label, queue.role, [row[:2] for row in rows]))
        sizes.append((queue.label, queue.role,
                      [[row[0], row[2] / 1e6] for row in rows]))
        if queue is q.SENTINAI:
            compare(r)
            r.check("dead tuples at the end", rows[-1][1], "<=", 1000)
    r.series["dead"] = ("dead tuples while a transaction is held open",
                        "dead tuples", dead)
    r.series["size"] = ("size of all tables of the queue", "MB", sizes)
    r.notes.append(f"{2 * seconds} s held, between two phases without; 4 publishers and 4 agents, first "
                   f"at full speed (per second), then at {RATE}/s (p50, p99). "
                   "Sizes include the log itself, which grows by what is "
                   "published.")
    ctx.remove(both)
