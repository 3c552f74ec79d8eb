# scenarios/s08_broker_latency.py: from COMMIT to the broker's acknowledgement.
# SPDX-License-Identifier: PostgreSQL

from harness import load, queues as q
from harness.broker import HEADERS, PRODUCER, Debezium, Raw
from harness.cluster import BenchError, Meter
from .s07_agent_latency import figures

NUMBER = 8
TITLE = "COMMIT → broker has acknowledged, 5,000/s offered"
TARGET = "p50 ≤ 6 ms, p99 ≤ 25 ms"
UNIT = "ms"
METRIC = "p50_ms"
QUICK, FULL = 14, 110
RATE = 5000

# The relay runs with its defaults, and the bare producer with the same.
PACED = [p for p in PRODUCER if not p.startswith("linger")] + ["linger.ms=0"]


def measure(ctx, queue, topic, seconds):
    """A reader of the topic notes when records can be read."""
    meter = Meter(ctx.cluster)
    answer = load.drive(
        ctx.cluster, ctx.database(queue), publishers=8, rate=RATE,
        publish=queue.publish, latency=True, kafka=ctx.kafka.servers,
        topic=topic, seconds=seconds, warmup=2)
    return figures(answer, *meter.read())


def raw(ctx, number, seconds):
    topic = ctx.kafka.create(f"paced-{number}")
    answer = ctx.kafka.produce(topic, int(RATE * (seconds + 1)), RATE,
                               HEADERS, *PACED)
    return load.times({"per_s": answer["per_s"]}, answer["ack"])


def run(ctx):
    r = ctx.result
    seconds = ctx.depth(3, 10)
    try:
        servers = ctx.kafka.start()
    except BenchError as error:
        r.miss("Kafka", str(error))
        return
    peer, bare = Debezium(), Raw()
    peers = ctx.ready(ctx.unless_quick(peer))
    if peers:
        ctx.cluster.restart_with(wal_level="logical")
    mine = ctx.install(ctx.ready([q.SENTINAI]))
    topic = "sentinai-latency"
    if mine:
        ctx.kafka.create(topic)
        ctx.cluster.set(sentinai_kafka_conf=f"bootstrap.servers={servers}",
                        sentinai_topic_template=topic)
    number = [0]

    def one_round(one):
        if one is bare:
            number[0] += 1
            return raw(ctx, number[0], seconds)
        return measure(ctx, one, topic, seconds)

    ctx.alternate([bare, *mine], one_round, ctx.depth(1, ctx.rounds))
    if mine:
        ctx.cluster.set(sentinai_kafka_conf=None,
                        sentinai_topic_template=None)
        ctx.remove(mine)
    if ctx.install(peers):
        try:
            ctx.kafka.create(peer.topic)
            peer.start(ctx.cluster, ctx.database(peer), servers,
                       ctx.scratch("debezium-latency"))
            ctx.alternate(peers, lambda one: measure(
                ctx, one, peer.topic, seconds), 1)
        except BenchError as error:
            r.miss(peer.label, str(error))
        finally:
            peer.stop(ctx.cluster)
        ctx.remove(peers)
    ctx.cluster.restart_with(wal_level="replica")
    r.check("SentinAI p50, ms", r.median("sentinai", "p50_ms"), "<=", 6)
    r.check("SentinAI p99, ms", r.median("sentinai", "p99_ms"), "<=", 25)
    r.notes.append("From the return of COMMIT to the record in the hand of a "
                   "consumer of the topic: it sees a record only after the "
                   "acknowledgement, so this is an upper bound. librdkafka "
                   "alone: from send to delivery report. 8 publishers, one "
                   "event in each transaction. SentinAI with its default "
                   "settings, librdkafka alone with: " + ", ".join(PACED) +
                   ".")
