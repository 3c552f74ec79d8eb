# scenarios/s02_batch.py: a thousand events in each transaction.
# SPDX-License-Identifier: PostgreSQL

from harness import queues as q

NUMBER = 2
TITLE = "publish 1,000 per transaction, 2 clients"
TARGET = ("≥ 1.3 of INSERT … SELECT into the bare table, ≥ 2 × the best peer, "
          "aim 167k events/s")
QUICK, FULL = 35, 200
COUNT = 1000
# Tenants of a batch, and what of the bare table it has to reach.
TURNS = {1: 1.0, 10: 1.0, 50: 1.0, 1000: 0.5}


def run(ctx):
    seconds = ctx.depth(1, 5)
    all_of_them = ctx.install(ctx.ready(
        [q.BARE, q.SENTINAI, q.PGMQ, q.PGQ, q.PGQUE]))

    def measure(queue, sql, **more):
        return ctx.metered(queue, "publish", publishers=2, publish=sql,
                           per_call=COUNT, seconds=seconds,
                           warmup=ctx.depth(0.3, 1), **more, **queue.tick)

    ctx.alternate(all_of_them, lambda queue: measure(
        queue, queue.batch(COUNT), key_array=True))
    ctx.alternate(
        all_of_them,
        lambda queue: measure(queue, queue.arrays(COUNT), arrays=True),
        rounds=ctx.depth(1, ctx.rounds),
        name=lambda queue: (queue.name + "_client",
                            queue.label + ", payloads from the client"))
    ours_and_limit = [queue for queue in all_of_them
                      if queue.name in ("bare", "sentinai")]
    for turns in TURNS:
        ctx.alternate(
            ours_and_limit,
            lambda queue, turns=turns: measure(
                queue, queue.batch(COUNT) if queue.name == "bare"
                else queue.turns(COUNT), key_array=True,
                turns=0 if queue.name == "bare" else turns),
            rounds=ctx.depth(1, ctx.rounds),
            name=lambda queue, turns=turns: (
                f"{queue.name}_{turns}", f"{queue.label}, {turns} tenants in turn"))
    ctx.remove(all_of_them)
    r = ctx.result
    ours = r.median("sentinai")
    r.ratio("SentinAI / INSERT … SELECT", ours, r.median("bare"), 1.3)
    r.ratio("SentinAI / best peer", ours, r.best(["pgmq", "pgq", "pgque"]), 2)
    for turns, target in TURNS.items():
        r.ratio(f"{turns} tenants in turn / INSERT … SELECT",
                r.median(f"sentinai_{turns}"), r.median(f"bare_{turns}"),
                target)
    r.check("SentinAI, events/s", ours, ">=", 167000)
    r.notes.append("The first rows of every queue take the payload once and "
                   "repeat it on the server; “payloads from the client” send "
                   "1,000 different ones in an array.")
