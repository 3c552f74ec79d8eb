# scenarios/s11_backlog.py: deep backlogs of every shape, and a blocked key.
# SPDX-License-Identifier: PostgreSQL

from harness import load, queues as q

NUMBER = 11
TITLE = "a deep backlog: one key, 100 keys, all keys different; a blocked key"
TARGET = "claim cost within 1.5 × of the shallow queue; other keys wait < 1 s"
UNIT = "ms per claim"
METRIC = "p50_ms"
QUICK, FULL = 19, 110
SHALLOW = 6000


def shape(ctx, queue, name, keys, tenants, deep):
    """The same claims on a shallow and on a deep queue, in turn."""
    depths = {"shallow": SHALLOW, "deep": deep}
    for state, count in depths.items():
        suffix = f"_{name}_{state}"
        if not ctx.install([queue], suffix):
            return
        ctx.fill(queue, count, suffix, keys=keys, tenants=tenants)
        if queue is q.SENTINAI:
            ctx.caught_up(ctx.database(queue, suffix))
    for _ in range(ctx.rounds):
        for state in depths:
            ctx.alternate([queue], lambda one, s=state: ctx.metered(
                one, "work", f"_{name}_{s}", agents=1, seconds=10,
                stop_after=1500, poll_ms=1, checkpoint=False,
                **one.agent(100)), 1, name=lambda one, s=state: (
                    f"{one.name}_{name}_{s}",
                    f"{one.label}, {name.replace('_', ' ')}, {s}"))
    for state in depths:
        ctx.remove([queue], f"_{name}_{state}")


def blocked(ctx, queue, backlog):
    """One key stands behind a failing event; how long do others wait?"""
    suffix = "_blocked"
    if not ctx.install([queue], suffix):
        return
    database = ctx.database(queue, suffix)
    ctx.cluster.sql(
        "select sentinai.publish('Measured', 'T0', 'A0', '{}')", database)
    ctx.cluster.until(
        database, "select exists (select sentinai.fail(token, event_id, "
        "'bench', true, '1 hour') from sentinai.claim('bench', 1))", 10)
    ctx.fill(queue, backlog, suffix, keys=1, tenants=1)
    ctx.progress.step("11: a blocked key")
    answer = load.drive(
        ctx.cluster, database, publishers=2, rate=400, keys=100, tenants=1,
        publish=queue.publish, agents=4, latency=True,
        seconds=ctx.depth(3, 15), warmup=1, **queue.agent(100), **queue.idle)
    figures = load.times({"per_s": answer["publish"]["per_s"],
                          "blocked": answer["unseen"]}, answer["latency"])
    ctx.result.add("sentinai_blocked", f"{queue.label}, others beside a "
                   "blocked key", queue, figures)
    ctx.result.check("longest wait of other keys beside a blocked one, ms",
                     figures.get("max_ms"), "<=", 1000)
    ctx.remove([queue], suffix)


def run(ctx):
    r = ctx.result
    deep = ctx.depth(40000, 300000, 5000000)
    queues = ctx.ready([q.SENTINAI, q.PGMQ])
    for queue in queues:
        shapes = [("all_different", 1000000, 1000)]
        if queue is q.SENTINAI:
            shapes += ctx.depth([], [("100_keys", 100, 1)])
            shapes += [("1_key", 1, 1)]
        for name, keys, tenants in shapes:
            shape(ctx, queue, name, keys, tenants, deep)
            if queue is q.SENTINAI:
                before, after = (r.median(f"sentinai_{name}_{s}")
                                 for s in ("shallow", "deep"))
                r.check(f"claim, deep / shallow, {name.replace('_', ' ')}",
                        after / before if before and after else None, "<=",
                        1.5)
    if q.SENTINAI in queues:
        blocked(ctx, q.SENTINAI, ctx.depth(10000, 100000))
    r.notes.append(f"Deep is {deep:,} events, shallow {SHALLOW:,}. One agent "
                   "claims 100 and completes them; times are of that pair. "
                   "Behind the blocked key "
                   f"{ctx.depth(10000, 100000):,} of its events wait.")
