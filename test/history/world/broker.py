# world/broker.py: Apache Kafka, or librdkafka's mock cluster.
# SPDX-License-Identifier: PostgreSQL
"""Both have `bootstrap`, for clients, and end with close()."""

import os
import signal
import subprocess
import time

from .shell import ROOT, run, shell

KAFKA = os.path.join(ROOT, "test/kafka/kafka.sh")
MOCK = os.path.join(ROOT, "build/mock/sentinai-mockbroker")
MOCK_PARTITIONS = 32            # it keeps 5 MB in each


CONTROL_TOPIC = "sentinai.control"  # of the extension's own events


def topic_of(kind):
    """Where events about aggregates of a kind go."""
    return f"sentinai.{kind}"


class Kafka:
    """One node; clients reach it through the proxy when there is one."""

    settings = ""

    def __init__(self, directory):
        self.dir = os.path.join(directory, "kafka")
        self.port = shell("sn_free_port")
        self.bootstrap = f"127.0.0.1:{self.port}"

    def move(self, port):
        """Clients find it at another port; returns that and its own."""
        self.bootstrap = f"127.0.0.1:{port}"
        return port, self.port

    def make(self):
        run(KAFKA, "start", self.dir, self.port,
            "log.message.timestamp.type=LogAppendTime",
            f"advertised.listeners=PLAINTEXT://{self.bootstrap}")

    def start(self):
        run(KAFKA, "start", self.dir)

    def kill(self):
        run(KAFKA, "kill", self.dir)

    leave, come_back = kill, start

    def stop(self):
        run(KAFKA, "stop", self.dir)

    def signal(self, number):
        with open(os.path.join(self.dir, "kafka.pid"),
                  encoding="ascii") as file:
            os.kill(int(file.read()), number)

    def close(self):
        try:
            self.signal(signal.SIGCONT)
        except (OSError, ValueError):
            pass
        run(KAFKA, "kill", self.dir)


class Mock:
    """Answers with the errors it is told to. It does not look at sequence
    numbers, so one request at a time is all that keeps its order. With more of
    them, a message each, it is a broker to whom every producer is new."""

    def __init__(self, in_flight):
        self.settings = (f"max.in.flight.requests.per.connection={in_flight};"
                         "compression.type=lz4")    # see MOCK_PARTITIONS
        if in_flight > 1:
            self.settings += ";batch.num.messages=1"
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
