# scenarios/s22_rabbitmq.py: a backlog into a real RabbitMQ, beside Kafka.
# SPDX-License-Identifier: PostgreSQL

import os
import subprocess
import time

from harness import queues as q
from harness.broker import PRODUCER
from harness.cluster import ROOT, BenchError, Meter

NUMBER = 22
TITLE = "relay of a backlog to a real RabbitMQ, and to Kafka"
TARGET = "stated beside Kafka's"
QUICK, FULL = 40, 120
UNIT = "records/s"
SECONDS = 300                   # in which a backlog has to be sent

RABBITMQ = os.path.join(ROOT, "test/rabbitmq/rabbitmq.sh")


class To:
    """The relay with a broker and its properties."""

    role = q.OURS

    def __init__(self, name, label, broker, *properties):
        self.name, self.label, self.broker = name, label, broker
        self.properties = properties


PLANS = [
    To("kafka", "SentinAI, to Kafka", "kafka",
       *(p for p in PRODUCER if p.startswith("linger"))),
    To("quorum", "SentinAI, to quorum queues of RabbitMQ", "rabbitmq"),
    To("classic", "SentinAI, to classic queues of RabbitMQ", "rabbitmq",
       "queue.type=classic"),
    To("in_flight", "SentinAI, to quorum queues, 100 of a key on their way",
       "rabbitmq", "max.in.flight.per.key=100"),
]


class RabbitMQ:
    def __init__(self, directory):
        self.dir = directory

    def tool(self, command, *arguments):
        done = subprocess.run([RABBITMQ, command, *arguments], text=True,
                              stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                              stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise BenchError(f"RabbitMQ: {done.stdout[-400:]}")
        return done.stdout.strip()

    def start(self):
        self.tool("install")
        self.tool("start", self.dir)
        return f"127.0.0.1:{self.tool('port', self.dir)}"


def wait_for_relay(ctx, database, began):
    """Seconds until the broker has confirmed all."""
    session = ctx.cluster.session(database)
    try:
        while time.monotonic() < began + SECONDS:
            if session.run("select sum(lag_events) = 0 from "
                           "sentinai.stat_relay where relay <> 'relay'") == [["t"]]:
                return time.monotonic() - began
            time.sleep(0.02)
    finally:
        session.close()
    raise BenchError(f"the relay was not through in {SECONDS} s")


def measure(ctx, one, servers, count):
    """Publish, and make the relay behind it."""
    cluster, database = ctx.cluster, ctx.database(q.SENTINAI)
    ctx.install([q.SENTINAI])
    count = ctx.fill(q.SENTINAI, count)
    ctx.caught_up(database)
    cluster.sql("checkpoint")
    meter = Meter(cluster)
    began = time.monotonic()
    cluster.sql(f"""select sentinai.create_relay('to', '{one.broker}',
        '{",".join([servers[one.broker], *one.properties])}',
        topic_template => 'to-{one.name}-{{aggregate_type}}', start_from => 'earliest')""", database)
    seconds = wait_for_relay(ctx, database, began)
    wal, cpu = meter.read()
    cluster.sql("select sentinai.drop_relay('to')", database)
    return {"per_s": count / seconds, "wal_b": wal / count,
            "cpu_us": cpu * 1e6 / count}


def run(ctx):
    r = ctx.result
    count = ctx.depth(50000, 200000)
    if not ctx.ready([q.SENTINAI]):
        return
    rabbitmq = RabbitMQ(ctx.scratch("rabbitmq"))
    try:
        servers = {"kafka": f"bootstrap.servers={ctx.kafka.start()}",
                   "rabbitmq": f"hosts={rabbitmq.start()}"}
        ctx.alternate(PLANS, lambda one: measure(ctx, one, servers, count),
                      ctx.depth(1, ctx.rounds))
    except BenchError as error:
        r.miss("broker", str(error))
    finally:
        rabbitmq.tool("kill", rabbitmq.dir)
    ctx.remove([q.SENTINAI])
    r.notes.append(f"{count:,} events of 239 bytes, persistent and confirmed, "
                   "one node of either broker; from create_relay() to the "
                   "last confirm, the making of the topic included. Of each "
                   "key one message is on its way, unless said otherwise.")
