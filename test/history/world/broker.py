# world/broker.py: Apache Kafka, librdkafka's mock cluster, or RabbitMQ.
# SPDX-License-Identifier: PostgreSQL
"""Each says how the relay finds it (`settings`) and what a topic has
(`records()`), and ends with close()."""

import json
import os
import signal
import subprocess
import time
from collections import defaultdict

from .shell import ROOT, run, shell

HOST = "127.0.0.1"
KAFKA = os.path.join(ROOT, "test/kafka/kafka.sh")
MOCK = os.path.join(ROOT, "build/mock/sentinai-mockbroker")
MOCK_PARTITIONS = 32            # it keeps 5 MB in each
RABBITMQ = os.path.join(ROOT, "test/rabbitmq")

CONTROL_TOPIC = "sentinai.control"  # of the extension's own events


def topic_of(kind):
    """Where events about aggregates of a kind go."""
    return f"sentinai.{kind}"


class Cluster:
    """What speaks Kafka's protocol at `bootstrap`."""

    more = ""                       # properties

    def settings(self):
        conf = ";".join(filter(None, (
            "bootstrap.servers=" + self.bootstrap, self.more)))
        return f"sentinai.kafka_conf = '{conf}'\n"

    def records(self, topic):
        done = subprocess.run(
            ["kcat", "-C", "-b", self.bootstrap, "-t", topic, "-e", "-q",
             "-J", "-o", "beginning"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, check=False, timeout=600)
        for line in done.stdout.splitlines():
            record = json.loads(line)
            headers = dict(zip(record["headers"][::2],
                               record["headers"][1::2]))
            yield {"part": record["partition"], "off": record["offset"],
                   "ts": record["ts"], "key": record["key"],
                   "id": headers["ce_id"],
                   "payload": json.loads(record["payload"])}


class Node:
    """A server of its own, at a port that clients may reach through the proxy;
    `tool` starts and kills it."""

    tool = pid = None

    def __init__(self, directory, name):
        self.dir = os.path.join(directory, name)
        self.port = shell("sn_free_port")
        self.address = f"{HOST}:{self.port}"

    def move(self, port):
        """Clients find it at another port; returns that and its own."""
        self.address = f"{HOST}:{port}"
        return port, self.port

    def start(self):
        run(self.tool, "start", self.dir)

    def kill(self):
        run(self.tool, "kill", self.dir)

    leave, come_back = kill, start

    def stop(self):
        run(self.tool, "stop", self.dir)

    def signal(self, number):
        with open(os.path.join(self.dir, self.pid), encoding="ascii") as file:
            os.kill(int(file.read()), number)

    def close(self):
        try:
            self.signal(signal.SIGCONT)
        except (OSError, ValueError):
            pass
        self.kill()


class Kafka(Node, Cluster):
    tool, pid = KAFKA, "kafka.pid"

    def __init__(self, directory):
        super().__init__(directory, "kafka")

    @property
    def bootstrap(self):
        return self.address

    def make(self):
        run(KAFKA, "start", self.dir, self.port,
            "log.message.timestamp.type=LogAppendTime",
            f"advertised.listeners=PLAINTEXT://{self.bootstrap}")


class RabbitMQ(Node):
    """One node, with quorum queues. What was read of a queue is not there any
    more, and kept here."""

    tool, pid = os.path.join(RABBITMQ, "rabbitmq.sh"), "pid"

    def __init__(self, directory):
        super().__init__(directory, "rabbitmq")
        self.taken = defaultdict(list)

    def settings(self):
        return ("sentinai.broker = 'rabbitmq'\n"
                f"sentinai.rabbitmq_conf = 'hosts={self.address}'\n")

    def make(self):
        """The queues are there before anything is killed: one that is being
        made then may have no leader afterwards."""
        run(self.tool, "install")
        os.mkdir(self.dir)
        with open(os.path.join(self.dir, "port"), "w", encoding="ascii") as file:
            file.write(self.port)
        self.start()
        for queue in (topic_of("exception"), CONTROL_TOPIC):
            run(os.path.join(RABBITMQ, "declare.py"), self.port,
                "queue", queue, '{"x-queue-type": "quorum"}')

    def ctl(self, *arguments):
        return run(self.tool, "ctl", self.dir, *arguments)

    def records(self, topic):
        done = subprocess.run(
            [os.path.join(RABBITMQ, "consume.py"), self.port, topic],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
            timeout=600)
        for line in done.stdout.splitlines():
            message = json.loads(line)
            headers = message["headers"]
            self.taken[topic].append({
                "part": 0, "off": len(self.taken[topic]),
                "ts": message["timestamp"] * 1000,
                "key": headers["cloudEvents:partitionkey"],
                "id": message["message_id"],
                "payload": json.loads(message["body"])})
        return self.taken[topic]


class Mock(Cluster):
    """Answers with the errors it is told to. It does not look at sequence
    numbers, so one request at a time is all that keeps its order. With more of
    them, a message each, it is a broker to whom every producer is new."""

    def __init__(self, in_flight):
        self.more = (f"max.in.flight.requests.per.connection={in_flight};"
                     "compression.type=lz4")    # see MOCK_PARTITIONS
        if in_flight > 1:
            self.more += ";batch.num.messages=1"
        self.process = subprocess.Popen(
            [MOCK, "--stdin-exit"], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)
        self.bootstrap = self.process.stdout.readline().strip()
        self.order(f"topic {topic_of('exception')} {MOCK_PARTITIONS}")

    def order(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if answer != "ok":
            raise RuntimeError(f"mock broker: {line}: {answer}")

    def leave(self):
        """Slowly, so that much has no answer."""
        self.order("rtt 1 300")
        time.sleep(1)
        self.order("down all")

    def come_back(self):
        self.order("rtt 1 0")
        self.order("up all")

    def close(self):
        self.process.kill()
        self.process.wait()
