# scenarios/s05_single.py: claim one event at a time, on a new and on an old queue.
# SPDX-License-Identifier: PostgreSQL

from types import SimpleNamespace

from harness import load, queues as q

NUMBER = 5
TITLE = "claim 1 and complete, 1 and 8 agents, after many were consumed"
TARGET = "≥ 0.9 of its own speed on an empty queue; ≥ 5 × pgmq in that state"
QUICK, FULL = 34, 380


def prepare(ctx, queue, reserve, old):
    """One queue that is new, one from which many events were consumed."""
    database = ctx.database(queue, "_old")
    ctx.progress.step(f"5: consume {old} events, {queue.label}")
    ctx.fill(queue, reserve, "_new")
    ctx.fill(queue, old + reserve, "_old")
    if queue is q.SENTINAI:
        ctx.caught_up(database)
    load.drive(ctx.cluster, database, agents=4, seconds=240, stop_after=old,
               poll_ms=1, **queue.agent(500))


def run(ctx):
    rounds = ctx.depth(2, ctx.rounds)
    old = ctx.depth(60000, 1000000)
    able = ctx.ready([q.SENTINAI, q.PGMQ, q.SKIP_UPDATE] +
                     ctx.unless_quick(q.SKIP_DELETE))
    able = [queue for queue in ctx.install(able, "_new")
            if ctx.install([queue], "_old")]
    for queue in able:
        prepare(ctx, queue, ctx.depth(40000, 400000), old)

    def measure(one):
        return ctx.metered(one.of, "work", "_" + one.state, agents=one.agents,
                           seconds=ctx.depth(0.6, 4), warmup=0.2, poll_ms=1,
                           checkpoint=False, pipeline=one.pipeline,
                           **one.of.agent(1))

    # new and old of a queue run one right after the other
    for agents in (1, 8):
        ctx.alternate(
            [SimpleNamespace(of=queue, name=queue.name, label=queue.label,
                             role=queue.role, state=state, agents=agents,
                             pipeline=False)
             for queue in able for state in ("new", "old")], measure, rounds,
            name=lambda one: (
                f"{one.name}_{one.state}_{one.agents}",
                f"{one.label}, {one.state}, {one.agents} agent" +
                "s" * (one.agents > 1)))
        # the completion and the next claim in one round trip and one commit
        ctx.alternate(
            [SimpleNamespace(of=queue, name=queue.name, label=queue.label,
                             role=queue.role, state="old", agents=agents,
                             pipeline=True)
             for queue in able if queue in (q.SENTINAI, q.PGMQ)],
            measure, rounds,
            name=lambda one: (
                f"{one.name}_pipeline_{one.agents}",
                f"{one.label}, old, {one.agents} agent" +
                "s" * (one.agents > 1) + ", pipelined"))
    ctx.remove(able, "_new")
    ctx.remove(able, "_old")
    r = ctx.result
    for agents in (1, 8):
        ours = r.median(f"sentinai_old_{agents}")
        r.ratio(f"SentinAI old / new, {agents} agents", ours,
                r.median(f"sentinai_new_{agents}"), 0.9)
        r.ratio(f"SentinAI / pgmq, old, {agents} agents", ours,
                r.median(f"pgmq_old_{agents}"), 5)
        r.ratio(f"SentinAI / pgmq, old, {agents} agents, both pipelined",
                r.median(f"sentinai_pipeline_{agents}"),
                r.median(f"pgmq_pipeline_{agents}"), 5)
    r.notes.append(f"“old” means after {old:,} events were consumed, "
                   "with autovacuum on; “new” runs in turn with it.")
