# scenarios/s05_single.py: claim one event at a time, on a new and on an old queue.
# SPDX-License-Identifier: PostgreSQL

from harness import queues as q

NUMBER = 5
TITLE = "claim 1 and complete, 1 and 8 agents, after many were consumed"
TARGET = "≥ 0.9 of its own speed on an empty queue; ≥ 5 × pgmq in that state"
QUICK, FULL = 28, 300


def run(ctx):
    seconds = ctx.depth(1.2, 4)
    rounds = ctx.depth(1, ctx.rounds)
    old = ctx.depth(100000, 1000000)
    reserve = ctx.depth(30000, 60000)
    all_of_them = ctx.install(ctx.ready(
        [q.SENTINAI, q.PGMQ, q.SKIP_UPDATE] +
        ctx.depth([], [q.SKIP_DELETE])))

    def measure(queue, agents):
        return ctx.metered(queue, "work", agents=agents, seconds=seconds,
                           warmup=0.3, poll_ms=1, checkpoint=False,
                           **queue.agent(1))

    def single(state):
        for agents in (1, 8):
            ctx.alternate(
                all_of_them, lambda queue, n=agents: measure(queue, n), rounds,
                name=lambda queue, n=agents: (
                    f"{queue.name}_{state}_{n}",
                    f"{queue.label}, {state}, {n} agent" + "s" * (n > 1)))

    for queue in all_of_them:
        ctx.fill(queue, reserve)
    single("new")
    for queue in all_of_them:
        ctx.progress.step(f"5: consume {old} events, {queue.label}")
        count = ctx.fill(queue, old)
        if queue is q.SENTINAI:
            ctx.caught_up(ctx.database(queue))
        ctx.metered(queue, "work", agents=4, seconds=240, stop_after=count,
                    poll_ms=1, checkpoint=False, **queue.agent(500))
    single("old")
    ctx.remove(all_of_them)
    r = ctx.result
    for agents in (1, 8):
        ours = r.median(f"sentinai_old_{agents}")
        r.ratio(f"SentinAI old / new, {agents} agents", ours,
                r.median(f"sentinai_new_{agents}"), 0.9)
        r.ratio(f"SentinAI / pgmq, old, {agents} agents", ours,
                r.median(f"pgmq_old_{agents}"), 5)
    r.notes.append(f"“old” means right after {old:,} events were consumed, "
                   "with autovacuum on.")
