# scenarios/s01_publish.py: one event in each transaction.
# SPDX-License-Identifier: PostgreSQL

from harness import queues as q

NUMBER = 1
TITLE = "publish, one per transaction, 8 clients"
TARGET = "≥ 0.95 of a bare INSERT"
QUICK, FULL = 42, 170


def run(ctx):
    seconds = ctx.depth(1, 6)
    all_of_them = ctx.install(ctx.ready(
        [q.BARE, q.SENTINAI, q.PGMQ, q.PGQ, q.PGQUE, q.SKIP_UPDATE,
         q.GRAPHILE]))
    ctx.alternate(all_of_them, lambda queue: ctx.metered(
        queue, "publish", publishers=8, publish=queue.publish,
        seconds=seconds, warmup=ctx.depth(0.3, 1), **queue.tick))
    ctx.remove(all_of_them)
    r = ctx.result
    r.ratio("SentinAI / bare table", r.median("sentinai"), r.median("bare"),
            0.95)
