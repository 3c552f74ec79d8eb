# scenarios/s04_claim.py: claim a hundred events and finish them.
# SPDX-License-Identifier: PostgreSQL

import json

from harness import queues as q

NUMBER = 4
TITLE = "claim 100 and complete, best of 1 to 8 agents"
TARGET = "≥ 5 × pgmq read + delete"
QUICK, FULL = 25, 250
COUNT = 100


def drain(ctx, queue, agents, backlog, pipeline=False):
    """Fill, then work until it is empty; everybody as fast as it can."""
    count = ctx.fill(queue, backlog)
    if queue is q.SENTINAI:
        ctx.caught_up(ctx.database(queue))
    return ctx.metered(queue, "work", agents=min(agents, queue.max_agents or 8),
                       seconds=60, stop_after=count, poll_ms=1,
                       pipeline=pipeline, **queue.agent(COUNT), **queue.tick)


def backlog(ctx, queue):
    """How many events a queue works off in a measurement."""
    slow = queue in (q.SKIP_UPDATE, q.SKIP_DELETE, q.PGMQ)
    return ctx.depth(30000, 100000) if slow else ctx.depth(100000, 300000)


def drain_graphile(ctx, queue, agents, backlog):
    """The same with its own worker, one Node.js process."""
    count = ctx.fill(queue, backlog)
    return json.loads(q.GRAPHILE.run(
        ctx.cluster, ctx.database(queue), "drain", count, agents))


def naming(queue, agents):
    """Key and label of a queue with that many agents."""
    if queue.max_agents is not None:
        return queue.name, f"{queue.label}, 1 consumer"
    return (f"{queue.name}_{agents}",
            f"{queue.label}, {agents} agent" + "s" * (agents > 1))


def run(ctx):
    counts = ctx.depth([4], [1, 4, 8])
    rounds = ctx.depth(2, ctx.rounds)
    all_of_them = ctx.install(ctx.ready(
        [q.SENTINAI, q.PGMQ, q.PGQ, q.PGQUE, q.SKIP_UPDATE, q.SKIP_DELETE,
         q.GRAPHILE]))
    for agents in counts:
        def measure(queue, agents=agents):
            if queue is q.GRAPHILE:
                return drain_graphile(ctx, queue, agents,
                                      ctx.depth(10000, 30000))
            return drain(ctx, queue, agents, backlog(ctx, queue))

        group = [one for one in all_of_them
                 if one.max_agents is None or agents == counts[0]]
        ctx.alternate(group, measure, rounds,
                      name=lambda one, agents=agents: naming(one, agents))
    trips = [one for one in all_of_them if one in ctx.depth(
        (q.SENTINAI, q.PGMQ), (q.SENTINAI, q.PGMQ, q.SKIP_UPDATE))]
    ctx.alternate(trips, lambda queue: drain(
        ctx, queue, 4, backlog(ctx, queue), pipeline=True),
        rounds, name=lambda one: (
            f"{one.name}_pipeline", f"{one.label}, 4 agents, pipelined"))
    ctx.remove(all_of_them)
    r = ctx.result
    r.ratio("SentinAI / pgmq, best of each",
            r.best([f"sentinai_{n}" for n in counts + ["pipeline"]]),
            r.best([f"pgmq_{n}" for n in counts + ["pipeline"]]), 5)
    r.notes.append("PgQ and PgQue hand a whole tick to one consumer and keep "
                   "no state per event. “Pipelined” sends the completion and "
                   "the next claim in one round trip and one commit. "
                   "graphile-worker runs an empty task per job, with a local "
                   "queue of 500 and batched completion.")
