# scenarios/s17_fairness.py: a small tenant beside one that floods.
# SPDX-License-Identifier: PostgreSQL

from harness import load, queues as q

NUMBER = 17
TITLE = "COMMIT → agent for a small tenant, while another one floods"
TARGET = "p99 ≤ 3 × that of an idle queue"
UNIT = "ms"
METRIC = "p99_ms"
QUICK, FULL = 60, 180
RATE = 100                      # events a second of the small tenant
BATCH = 1000                    # of the big one

FLOOD = ("select cardinality(sentinai.publish_batch("
         f"array_fill('Flood'::text, array[{BATCH}]), "
         f"array_fill('big'::text, array[{BATCH}]), $2::text[], "
         f"array_fill('{{}}'::jsonb, array[{BATCH}]))) where $1::text <> ''")


def measure(ctx, queue, flood, max_events, turns):
    """Agents take a millisecond for an event, and are four."""
    cluster, database = ctx.cluster, ctx.database(queue)
    cluster.fresh_database(database)
    cluster.sql("alter system set sentinai.crowded_at = "
                f"{1000 if turns else 0}")
    cluster.sql("select pg_reload_conf()")
    queue.install(cluster, database)
    seconds = ctx.depth(6, 20)
    other = None
    if flood:
        load.drive(cluster, database, publishers=2, publish=FLOOD,
                   per_call=BATCH, key_array=True, seconds=300,
                   max_calls=ctx.depth(100000, 300000) // BATCH)
        ctx.caught_up(database)
        other = load.start_drive(cluster, database, publishers=1, rate=5,
                                 publish=FLOOD, per_call=BATCH,
                                 key_array=True, seconds=seconds + 1)
    answer = load.drive(
        cluster, database, publishers=1, rate=RATE,
        publish="select sentinai.publish('Measured', 'small', $2, $1::jsonb)",
        agents=4, work_us=1000, latency=True, seconds=seconds, warmup=1,
        **queue.agent(max_events), **queue.idle)
    if other is not None:
        load.end_drive(other, seconds + 60)
    return load.times({"unseen": answer.get("unseen", 0),
                       "claimed_per_s": answer["agent"]["per_s"]
                       if "agent" in answer else None}, answer["latency"])


def run(ctx):
    r = ctx.result
    mine = ctx.ready([q.SENTINAI])
    if not mine:
        return
    for max_events in (1, 10):
        for kind, flood, turns in (("idle", False, True),
                                   ("flooded", True, True),
                                   ("no turns", True, False)):
            ctx.alternate(
                mine, lambda queue, f=flood, n=max_events, t=turns: measure(
                    ctx, queue, f, n, t), 1,
                name=lambda queue, k=kind, n=max_events: (
                    f"{k}{n}", f"{queue.label}, claim {n}, {k}"))
        idle = r.median(f"idle{max_events}", "p99_ms")
        flooded = r.median(f"flooded{max_events}", "p99_ms")
        if idle and flooded:
            r.check(f"p99 flooded / idle, claim {max_events}",
                    flooded / idle, "<=", 3)
    ctx.cluster.sql("alter system reset sentinai.crowded_at")
    ctx.cluster.sql("select pg_reload_conf()")
    r.notes.append("Four agents, a millisecond for each event. \"no turns\": "
                   "sentinai.crowded_at = 0, and the events of the small "
                   "tenant that were not seen in the time do not count.")
    ctx.remove(mine)
