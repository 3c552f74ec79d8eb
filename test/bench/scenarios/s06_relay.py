# scenarios/s06_relay.py: a backlog into a real Kafka.
# SPDX-License-Identifier: PostgreSQL

import itertools
import os
import signal
import subprocess

from harness import load, queues as q
from harness.broker import HEADERS, PRODUCER, Debezium, Raw
from harness.cluster import BenchError, Meter, ROOT

NUMBER = 6
TITLE = "relay of a backlog to a real Kafka"
TARGET = "≥ 0.6 of bare librdkafka with the same settings; ≥ 5 × Debezium"
QUICK, FULL = 40, 120
UNIT = "records/s"
METRIC = "steady_per_s"


class Routed:
    """SentinAI, sending what Debezium's outbox router would."""

    name, label, role = "routed", "SentinAI, records as Debezium's", q.OURS


class Outside:
    """SentinAI's relay in a process outside of the server."""

    name, label, role = "outside", "SentinAI, by sentinai-relay", q.OURS


def kafka_conf(servers):
    """sentinai.kafka_conf: what the bare producer gets, too."""
    return ",".join([f"bootstrap.servers={servers}"] +
                    [p for p in PRODUCER if p.startswith("linger")])


def raw(ctx, number, count, headers):
    topic = ctx.kafka.create(f"raw-{number}-{headers}")
    answer = ctx.kafka.produce(topic, count, 0, headers)
    return {"per_s": answer["per_s"], "steady_per_s": answer["per_s"]}


def ours(ctx, number, count, record_format):
    """Publish while the relay is paused, then let it go."""
    database, topic = ctx.database(q.SENTINAI), f"sentinai-{number}"
    ctx.kafka.create(topic)
    ctx.cluster.sql("select sentinai.pause_relay()", database)
    ctx.cluster.set(sentinai_topic_template=topic,
                    sentinai_record_format=record_format)
    count = ctx.fill(q.SENTINAI, count)
    ctx.caught_up(database)
    ctx.cluster.sql("checkpoint")
    watch = load.Watch(ctx.kafka.servers, topic, count, 120)
    meter = Meter(ctx.cluster)
    ctx.cluster.sql("select sentinai.resume_relay()", database)
    answer = watch.end()
    wal, cpu = meter.read()
    return {**answer, "wal_b": wal / count, "cpu_us": cpu * 1e6 / count}


def outside(ctx, number, count):
    """The same by sentinai-relay; its own CPU time counts, too."""
    database, topic = ctx.database(q.SENTINAI), f"sentinai-{number}"
    ctx.kafka.create(topic)
    ctx.cluster.sql("select sentinai.pause_relay()", database)
    ctx.cluster.sql(f"""select sentinai.create_relay('outside', 'kafka',
        '{kafka_conf(ctx.kafka.servers)}', topic_template => '{topic}',
        workers => 0)""", database)
    count = ctx.fill(q.SENTINAI, count)
    ctx.caught_up(database)
    ctx.cluster.sql("checkpoint")
    watch = load.Watch(ctx.kafka.servers, topic, count, 120)
    meter = Meter(ctx.cluster)
    program = subprocess.Popen(
        [os.path.join(ROOT, "build/workers/sentinai-relay"),
         "--relay=outside"], env=ctx.cluster.env(database),
        stderr=subprocess.DEVNULL)
    answer = watch.end()
    wal, cpu = meter.read()
    program.send_signal(signal.SIGTERM)
    _, status, used = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    cpu += used.ru_utime + used.ru_stime
    ctx.cluster.sql("select sentinai.drop_relay('outside');"
                    "select sentinai.resume_relay()", database)
    ctx.cluster.until(database, "select bool_and(lag_events = 0)"
                      " from sentinai.stat_relay", 120)
    return {**answer, "wal_b": wal / count, "cpu_us": cpu * 1e6 / count}


def debezium(ctx, peer, number, count):
    database, topic = ctx.database(peer), f"outbox.event.r{number}"
    ctx.kafka.create(topic)
    watch = load.Watch(ctx.kafka.servers, topic, count, 180)
    meter = Meter(ctx.cluster)
    load.drive(ctx.cluster, database, publishers=2, seconds=120,
               publish=peer.batch(1000).replace("'bench'", f"'r{number}'"),
               per_call=1000, key_array=True, max_calls=count // 1000)
    answer = watch.end()
    wal, cpu = meter.read()
    return {**answer, "wal_b": wal / count, "cpu_us": cpu * 1e6 / count}


def run(ctx):
    r = ctx.result
    count = ctx.depth(200000, 1000000)
    try:
        servers = ctx.kafka.start()
    except BenchError as error:
        r.miss("Kafka", str(error))
        return
    peer = Debezium()
    peers = ctx.ready([peer])
    if peers:
        ctx.cluster.restart_with(wal_level="logical")
    mine = ctx.install(ctx.ready([q.SENTINAI]))
    if mine:
        ctx.cluster.set(sentinai_kafka_conf=kafka_conf(servers))
    bare, plain, routed, apart = Raw(), Raw(), Routed(), Outside()
    plain.name, plain.label = "plain", "librdkafka alone, no headers"
    turns = itertools.count(1)

    def measure(one):
        number = next(turns)
        if one is bare or one is plain:
            return raw(ctx, number, count, HEADERS if one is bare else 0)
        if one is apart:
            return outside(ctx, number, count)
        return ours(ctx, number, count,
                    "debezium" if one is routed else "cloudevents")

    ctx.alternate([bare, plain, *mine, *([routed, apart] if mine else [])], measure,
                  ctx.depth(2, ctx.rounds))
    if mine:
        ctx.cluster.set(sentinai_kafka_conf=None,
                        sentinai_topic_template=None,
                        sentinai_record_format=None)
        ctx.remove(mine)
    if ctx.install(peers):
        try:
            peer.start(ctx.cluster, ctx.database(peer), servers,
                       ctx.scratch("debezium"))
            turns = itertools.count(1)
            ctx.alternate(peers, lambda one: debezium(
                ctx, one, next(turns), ctx.depth(60000, 200000)),
                ctx.depth(1, 2))
        except BenchError as error:
            r.miss(peer.label, str(error))
        finally:
            peer.stop(ctx.cluster)
        ctx.remove(peers)
    ctx.cluster.restart_with(wal_level="replica")
    speed = r.median("sentinai")
    r.ratio("SentinAI / librdkafka alone", speed, r.median("librdkafka"), 0.6)
    r.ratio("sentinai-relay / a relay in the server", r.median("outside"),
            speed, 0.6)
    r.ratio("SentinAI / Debezium", speed, r.median("debezium"), 5)
    r.ratio("SentinAI / Debezium, both sending Debezium's records",
            r.median("routed"), r.median("debezium"), 5)
    r.notes.append(f"{count:,} records of 239 bytes with {HEADERS} headers "
                   "into 12 partitions; producer settings: " +
                   ", ".join(PRODUCER) +
                   ". Debezium's records have one header, the id. Rates are "
                   "from the first record in the topic to the last, for "
                   "librdkafka alone from the first send to the last "
                   "acknowledgement. The CPU of sentinai-relay is that of "
                   "the server and its own. Debezium runs after the others (its slot reads the "
                   "WAL of all) on rows written while it streams.")
