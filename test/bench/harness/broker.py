# harness/broker.py: a real Kafka, and Debezium that relays into it.
# SPDX-License-Identifier: PostgreSQL
"""Kafka comes from test/kafka/kafka.sh, Debezium from Maven Central."""

import json
import os
import shutil
import subprocess
import time
import urllib.request

from .cluster import ROOT, BenchError, shell
from .load import kafka_program
from .queues import LIMIT, PEER, cache_dir

KAFKA = os.path.join(ROOT, "test/kafka/kafka.sh")
PARTITIONS = 12
WARM_UP = 100000                # records, for Java's compiler

# What the relay sets and a bare producer gets as well.
PRODUCER = ["enable.idempotence=true", "enable.gapless.guarantee=true",
            "acks=all", "partitioner=murmur2_random", "message.timeout.ms=0",
            "linger.ms=5"]
HEADERS = 10                    # of a record of the relay


class Kafka:
    """One broker, started when first asked for."""

    def __init__(self, directory):
        self.dir = directory
        self.servers = None

    def start(self):
        if self.servers is None:
            if shutil.which("java") is None:
                raise BenchError("java is not there")
            done = subprocess.run([KAFKA, "start", self.dir], text=True,
                                  stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
            if done.returncode != 0:
                raise BenchError(f"Kafka: {done.stderr[-400:]}")
            self.servers = done.stdout.strip()
            self.produce(self.create("warm-up"), WARM_UP)
        return self.servers

    def create(self, topic):
        kafka_program("create", self.start(), topic, PARTITIONS)
        return topic

    def produce(self, topic, count, rate=0, headers=HEADERS, *properties):
        return kafka_program("produce", self.start(), topic, count, rate,
                             headers, *(properties or PRODUCER))

    def stop(self):
        if self.servers is not None:
            subprocess.run([KAFKA, "stop", self.dir], check=False)
            self.servers = None


class Raw:
    """librdkafka alone."""

    name, label, role = "librdkafka", "librdkafka alone", LIMIT


class Debezium:
    """Kafka Connect with Debezium's outbox router."""

    name, label, role = "debezium", "Debezium 3.0 outbox", PEER
    schema = "public"
    publish = ("insert into outbox values (gen_random_uuid(), 'bench', $2, "
               "'Measured', $1::jsonb)")
    tick = {}
    topic = "outbox.event.bench"

    def __init__(self):
        self.process = None
        self.port = None
        self.libs = os.path.join(cache_dir(), "debezium/libs")

    def missing(self, cluster):
        if os.path.isdir(self.libs):
            return None
        if shutil.which("mvn") is None:
            return "mvn is not there"
        pom = os.path.join(ROOT, "test/bench/peer/debezium/pom.xml")
        done = subprocess.run(
            ["mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies",
             "-DincludeScope=runtime", f"-DoutputDirectory={self.libs}.part"],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            return f"Maven: {done.stdout[-200:]}"
        os.rename(f"{self.libs}.part", self.libs)
        return None

    def install(self, cluster, database):
        cluster.sql("""
            create table outbox (id uuid primary key, aggregatetype text not
                null, aggregateid text not null, type text not null,
                payload jsonb not null);
            drop role if exists debezium;
            create role debezium superuser login password 'bench'""", database)

    def batch(self, count):
        return ("insert into outbox select gen_random_uuid(), 'bench', k, "
                "'Measured', $1::jsonb from unnest($2::text[]) k")

    def start(self, cluster, database, servers, directory):
        """Start Connect and wait until the connector streams."""
        os.makedirs(directory, exist_ok=True)
        self.port = shell("sn_free_port").strip()
        self.write(directory, "worker.properties", {
            "bootstrap.servers": servers,
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter":
                "org.apache.kafka.connect.storage.StringConverter",
            "offset.storage.file.filename": f"{directory}/offsets",
            "offset.flush.interval.ms": 5000,
            "listeners": f"http://127.0.0.1:{self.port}",
            "plugin.discovery": "service_load",
        })
        self.write(directory, "connector.properties", {
            "name": "bench",
            "connector.class":
                "io.debezium.connector.postgresql.PostgresConnector",
            "tasks.max": 1,
            "database.hostname": "127.0.0.1", "database.port": cluster.port,
            "database.user": "debezium", "database.password": "bench",
            "database.dbname": database, "topic.prefix": "bench",
            "plugin.name": "pgoutput", "slot.name": "bench",
            "table.include.list": "public.outbox", "snapshot.mode": "no_data",
            "tombstones.on.delete": "false",
            "max.batch.size": 4096, "max.queue.size": 16384,
            "poll.interval.ms": 10,
            "transforms": "outbox",
            "transforms.outbox.type":
                "io.debezium.transforms.outbox.EventRouter",
            "producer.override.linger.ms": 5,
        })
        with open(f"{directory}/connect.log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["java", "-Xmx1g", "-cp", f"{self.libs}/*",
                 "org.apache.kafka.connect.cli.ConnectStandalone",
                 f"{directory}/worker.properties",
                 f"{directory}/connector.properties"],
                stdout=log, stderr=subprocess.STDOUT)
        limit = time.monotonic() + 60
        while not self.streams(cluster):
            if self.process.poll() is not None or time.monotonic() > limit:
                self.stop()
                raise BenchError("Debezium did not start")
            time.sleep(0.2)

    @staticmethod
    def write(directory, name, properties):
        with open(os.path.join(directory, name), "w",
                  encoding="utf-8") as file:
            for key, value in properties.items():
                file.write(f"{key}={value}\n")

    def streams(self, cluster):
        """Connect says RUNNING, and the slot is in use."""
        try:
            with urllib.request.urlopen(
                    f"http://127.0.0.1:{self.port}/connectors/bench/status",
                    timeout=2) as answer:
                tasks = json.load(answer)["tasks"]
        except (OSError, ValueError):
            return False
        return bool(tasks) and tasks[0]["state"] == "RUNNING" and cluster.sql(
            "select exists (select from pg_replication_slots "
            "where slot_name = 'bench' and active)").strip() == "t"

    def stop(self, cluster=None):
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        if cluster is not None:
            cluster.until("postgres", "select not exists (select from "
                          "pg_replication_slots where active)", 15)
            cluster.sql("select pg_drop_replication_slot(slot_name) "
                        "from pg_replication_slots")
