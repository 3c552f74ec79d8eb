# scenarios/s07_agent_latency.py: from COMMIT to the hand of an agent.
# SPDX-License-Identifier: PostgreSQL

import json

from harness import load, queues as q
from harness.cluster import BenchError, Meter

NUMBER = 7
TITLE = "COMMIT → agent has the event, 800/s offered, 8 agents"
TARGET = "p50 ≤ 4 ms, p99 ≤ 15 ms"
UNIT = "ms"
METRIC = "p50_ms"
QUICK, FULL = 25, 230
RATE = 800


def figures(answer, wal, cpu):
    result = {"per_s": answer["publish"]["per_s"],
              "unseen": answer.get("unseen", 0)}
    count = max(1, answer["published"])
    result.update(wal_b=wal / count, cpu_us=cpu * 1e6 / count)
    return load.times(result, answer["latency"])


def measure(ctx, queue, seconds):
    agent = queue.agent(100)
    if queue is q.PGMQ:         # its own way to wait, at a short interval
        agent["claim"] = agent["claim"].replace(
            "pgmq.read('q', 60, 100)",
            "pgmq.read_with_poll('q', 60, 100, 1, 10)")
    meter = Meter(ctx.cluster)
    answer = load.drive(
        ctx.cluster, ctx.database(queue), publishers=4, rate=RATE,
        publish=queue.publish, agents=queue.max_agents or 8, latency=True,
        seconds=seconds, warmup=1, **agent, **queue.idle, **queue.tick)
    return figures(answer, *meter.read())


def measure_graphile(ctx, queue, seconds):
    """Its jobs are noted by its own process, with the same clock."""
    commits, seen = ctx.scratch("commits"), ctx.scratch("seen")
    worker = queue.start(ctx.cluster, ctx.database(queue), "latency", 8, seen)
    worker.stdout.readline()
    meter = Meter(ctx.cluster)
    try:
        answer = load.drive(
            ctx.cluster, ctx.database(queue), publishers=4, rate=RATE,
            publish=queue.publish, latency=True, commits=commits,
            seconds=seconds, warmup=1)
        ctx.cluster.until(ctx.database(queue), "select not exists (select "
                          "from graphile_worker._private_jobs)", 10)
        costs = meter.read()
    finally:
        worker.communicate()
    arrived = {}
    with open(seen, encoding="ascii") as file:
        for line in file:
            number, when = line.split()
            arrived.setdefault(int(number), int(when))
    ways = []
    with open(commits, encoding="ascii") as file:
        for line in file:
            number, when = map(int, line.split())
            if number in arrived:
                ways.append(max(0, arrived[number] - when) / 1e6)
    ways.sort()
    if not ways:
        raise BenchError("no job was worked")
    answer["latency"] = {"curve": [
        [p, ways[int(p * (len(ways) - 1))]]
        for p in (0, .01, .1, .25, .5, .75, .9, .95, .99, .999, 1)]}
    return figures(answer, *costs)


def run(ctx):
    seconds = ctx.depth(2, 10)
    all_of_them = ctx.install(ctx.ready(
        [q.SENTINAI, q.PGMQ, q.PGQ, q.PGQUE, q.SKIP_UPDATE, q.GRAPHILE]))
    ctx.alternate(all_of_them, lambda queue: (
        measure_graphile if queue is q.GRAPHILE else measure)(
            ctx, queue, seconds), ctx.depth(1, ctx.rounds))
    ctx.remove(all_of_them)
    r = ctx.result
    r.check("SentinAI p50, ms", r.median("sentinai", "p50_ms"), "<=", 4)
    r.check("SentinAI p99, ms", r.median("sentinai", "p99_ms"), "<=", 15)
    r.notes.append("From the return of COMMIT in the publisher to the event "
                   "in the agent's memory, one clock. Queues that are polled: "
                   "every 10 ms; PgQ and PgQue: a tick every 100 ms.")
