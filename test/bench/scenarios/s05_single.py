# scenarios/s05_single.py: claim one event at a time, on a new and on an old queue.
# SPDX-License-Identifier: PostgreSQL

from types import SimpleNamespace

from harness import load, queues as q

NUMBER = 5
TITLE = "claim 1 and complete, 1 and 8 agents, after many were consumed"
TARGET = "≥ 0.9 of its own speed on an empty queue; ≥ 5 × pgmq in that state"
QUICK, FULL = 44, 420

NEW, OLD, VACUUMED = "new", "old", "vacuumed"
NOTE = """\
“New” is a queue from which nothing was consumed. From the others {old:,} events were
consumed; “old” is measured straight after the last {fresh:,} of them, as in a queue at
work, “vacuumed” after a VACUUM (ANALYZE). autovacuum is on and as PostgreSQL sets it.
“Pipelined” sends the completion and the next claim in one round trip and one commit."""


def variants(able, state, agents, pipelined=False):
    """One for each queue, named as the ratios below name them."""
    kind = "pipeline" if pipelined else state
    words = f"{state}, {agents} agent" + "s" * (agents > 1) + \
        ", pipelined" * pipelined
    return [SimpleNamespace(of=queue, name=queue.name, role=queue.role,
                            state=state, agents=agents, pipeline=pipelined,
                            key=f"{queue.name}_{kind}_{agents}",
                            label=f"{queue.label}, {words}")
            for queue in able]


def plan(able):
    """Everything that is measured while the queues are at work."""
    pair = [queue for queue in able if queue in (q.SENTINAI, q.PGMQ)]
    for agents in (1, 8):
        yield [one for state in (NEW, OLD)
               for one in variants(able, state, agents)]
        yield variants(pair, OLD, agents, True)


def consume(ctx, queue, count):
    """Take so many events out of the old queue, in large claims."""
    load.drive(ctx.cluster, ctx.database(queue, "_old"), agents=4, seconds=240,
               stop_after=count, poll_ms=1, **queue.agent(500))


def prepare(ctx, queue, reserve, old, first):
    """One queue that is new, one that will be old."""
    ctx.progress.step(f"5: consume {first} events, {queue.label}")
    ctx.fill(queue, reserve, "_new")
    ctx.fill(queue, old + reserve, "_old")
    if queue is q.SENTINAI:
        ctx.caught_up(ctx.database(queue, "_old"))
    consume(ctx, queue, first)


def compare(r):
    for agents in (1, 8):
        ours = r.median(f"sentinai_old_{agents}")
        r.ratio(f"SentinAI old / new, {agents} agents", ours,
                r.median(f"sentinai_new_{agents}"), 0.9)
        r.ratio(f"SentinAI / pgmq, old, {agents} agents", ours,
                r.median(f"pgmq_old_{agents}"), 5)
        r.ratio(f"SentinAI / pgmq, old, {agents} agents, both pipelined",
                r.median(f"sentinai_pipeline_{agents}"),
                r.median(f"pgmq_pipeline_{agents}"), 5)


def run(ctx):
    rounds = ctx.depth(2, ctx.rounds)
    old = ctx.depth(60000, 1000000)
    able = ctx.ready([q.SENTINAI, q.PGMQ, q.SKIP_UPDATE] +
                     ctx.unless_quick(q.SKIP_DELETE))
    able = [queue for queue in ctx.install(able, "_new")
            if ctx.install([queue], "_old")]
    fresh = old // 2 // (4 * rounds)    # four kinds of measurement are old
    for queue in able:
        prepare(ctx, queue, ctx.depth(120000, 400000), old,
                old - fresh * 4 * rounds)

    def measure(one):
        if one.state == OLD:
            consume(ctx, one.of, fresh)
        return ctx.metered(one.of, "work",
                           "_new" if one.state == NEW else "_old",
                           agents=one.agents, seconds=ctx.depth(0.6, 4),
                           warmup=0.2, poll_ms=1, checkpoint=False,
                           pipeline=one.pipeline, **one.of.agent(1))

    def name(one):
        return one.key, one.label

    for group in plan(able):
        ctx.alternate(group, measure, rounds, name)
    for queue in able:
        ctx.cluster.sql("vacuum analyze", ctx.database(queue, "_old"))
    for agents in (1, 8):
        ctx.alternate(variants(able, VACUUMED, agents), measure, rounds, name)
    ctx.remove(able, "_new")
    ctx.remove(able, "_old")
    compare(ctx.result)
    ctx.result.notes.append(" ".join(NOTE.split()).format(old=old, fresh=fresh))
