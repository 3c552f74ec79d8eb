# scenarios/s03_copy.py: COPY of 10,000 rows in each transaction.
# SPDX-License-Identifier: PostgreSQL

from harness import queues as q

NUMBER = 3
TITLE = "COPY, 10,000 rows per transaction, 2 clients"
TARGET = "≥ 0.8 of COPY into the bare table"
QUICK, FULL = 12, 45


def run(ctx):
    both = ctx.install(ctx.ready([q.BARE, q.SENTINAI]))

    def measure(queue, **more):
        statement, row = queue.copy
        return ctx.metered(queue, "publish", publishers=2, publish=statement,
                           copy_row=row, per_call=10000,
                           seconds=ctx.depth(1, 5),
                           warmup=ctx.depth(0.3, 1), **more)

    ctx.alternate(both, measure)
    ctx.alternate(both, lambda queue: measure(queue, turns=50),
                  rounds=ctx.depth(1, ctx.rounds),
                  name=lambda queue: (queue.name + "_50",
                                      queue.label + ", 50 tenants in turn"))
    ctx.remove(both)
    r = ctx.result
    r.ratio("SentinAI / bare table", r.median("sentinai"), r.median("bare"),
            0.8)
    r.ratio("50 tenants in turn / bare table", r.median("sentinai_50"),
            r.median("bare_50"), 0.8)
