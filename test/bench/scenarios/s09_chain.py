# scenarios/s09_chain.py: everything at once on one machine.
# SPDX-License-Identifier: PostgreSQL

import time

from harness import load, queues as q
from harness.cluster import BenchError, Meter
from . import s06_relay

NUMBER = 9
TITLE = "the whole chain: publish, sequence, relay to Kafka, agents"
TARGET = "≥ 16.7k events/s (1 M a minute), lag bounded and not growing"
QUICK, FULL = 18, 140
RATE = 17000
PER_CALL = 50


def watch_lag(ctx, database, process, seconds):
    """Lag of the subscription and of the relay, once a second."""
    session = ctx.cluster.session(database)
    began = time.monotonic()
    rows = []
    while process.poll() is None and time.monotonic() - began < seconds:
        answer = session.run(
            "select (select lag_events from sentinai.stat_queue "
            "where worker_type = 'bench'), "
            "(select sum(lag_events) from sentinai.stat_relay)")
        rows.append([round(time.monotonic() - began, 1),
                     *(float(x or 0) for x in answer[0])])
        time.sleep(1)
    session.close()
    return rows


def mean(rows, column):
    return sum(r[column] for r in rows) / max(1, len(rows))


def run(ctx):
    r = ctx.result
    seconds = ctx.depth(10, 120, 600)
    try:
        servers = ctx.kafka.start()
    except BenchError as error:
        r.miss("Kafka", str(error))
        return
    mine = ctx.install(ctx.ready([q.SENTINAI]))
    if not mine:
        return
    queue, database, topic = mine[0], ctx.database(mine[0]), "chain"
    ctx.kafka.create(topic)
    ctx.cluster.set(sentinai_kafka_conf=s06_relay.kafka_conf(servers),
                    sentinai_topic_template=topic)
    ctx.progress.step(f"9: {RATE} events/s for {seconds} s")
    try:
        meter = Meter(ctx.cluster)
        process = load.start_drive(
            ctx.cluster, database, publishers=2, rate=RATE / PER_CALL,
            publish=queue.arrays(PER_CALL), per_call=PER_CALL, arrays=True,
            agents=2, latency=True, pipeline=True, seconds=seconds, warmup=2,
            **queue.agent(500), **queue.idle)
        lag = watch_lag(ctx, database, process, seconds + 2)
        answer = load.end_drive(process, seconds + 60)
        relayed = ctx.cluster.until(
            database, "select coalesce(sum(lag_events), 0) = 0 "
            "from sentinai.stat_relay", 30)
        wal, cpu = meter.read()
    finally:
        ctx.cluster.set(sentinai_kafka_conf=None,
                        sentinai_topic_template=None)
    count = answer["published"]
    r.add("sentinai", queue.label, queue, load.times(
        {"per_s": min(answer["publish"]["per_s"], answer["work"]["per_s"]),
         "wal_b": wal / count, "cpu_us": cpu * 1e6 / count},
        answer["latency"]))
    quarter = max(1, len(lag) // 4)
    for column, name in ((1, "agents"), (2, "relay")):
        early = mean(lag[quarter:2 * quarter], column)
        late = mean(lag[-quarter:], column)
        r.check(f"lag of the {name}, last quarter, seconds",
                late / RATE, "<=", 1)
        r.check(f"lag of the {name}, last quarter / second quarter",
                (late + RATE / 10) / (early + RATE / 10), "<=", 1.5)
    r.check("events/s published and completed", r.median("sentinai"), ">=",
            16667)
    r.check("relayed to the last event", 1 if relayed else 0, ">=", 1)
    r.series["lag"] = ("lag behind the publishers", "events", [
        ("agents", "sentinai", [row[:2] for row in lag]),
        ("relay", "peer", [[row[0], row[2]] for row in lag])])
    r.notes.append(f"{seconds} s at {RATE} events/s offered in transactions "
                   f"of {PER_CALL}; 2 publishers, 2 agents (500 a claim, "
                   "pipelined), one relay, one Kafka broker, all on this "
                   "machine.")
    ctx.remove(mine)
