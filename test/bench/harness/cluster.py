# harness/cluster.py: the PostgreSQL under test, one throw-away cluster.
# SPDX-License-Identifier: PostgreSQL
"""Made by test/lib/cluster.sh; this adds sessions, settings and costs."""

import os
import subprocess
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
TICKS = os.sysconf("SC_CLK_TCK")

# What every scenario runs with. Durable commits, nothing turned off.
SETTINGS = """
shared_preload_libraries = '{preload}'
listen_addresses = '127.0.0.1'
max_connections = 300
shared_buffers = 2GB
max_wal_size = 16GB
min_wal_size = 4GB
checkpoint_timeout = 30min
wal_level = {wal_level}
fsync = on
synchronous_commit = on
full_page_writes = on
autovacuum = on
max_worker_processes = 40
max_locks_per_transaction = 256
log_min_messages = warning
log_line_prefix = '%m [%p] %q%a '
"""


class BenchError(Exception):
    """Something the report names instead of a figure."""


def shell(script, *args, **options):
    """Run a bash script with the project's helpers loaded."""
    lib = os.path.join(ROOT, "test/lib")
    text = f'set -e; . "{lib}/common.sh"; . "{lib}/cluster.sh"; {script}'
    done = subprocess.run(["bash", "-c", text, "bench", *args], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          **options)
    if done.returncode != 0:
        raise BenchError(f"{script}: {done.stdout[-2000:]}")
    return done.stdout


class Session:
    """A psql that stays open: a held transaction, or a cheap sampler."""

    END = "--end-of-answer--"

    def __init__(self, cluster, database):
        self.psql = subprocess.Popen(
            [cluster.program("psql"), "-XAtq", "-F", "\t", "-d", database],
            env=cluster.env(database), text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self, sql):
        """Run SQL, return its rows as lists of text."""
        self.psql.stdin.write(f"{sql};\n\\echo {self.END}\n")
        self.psql.stdin.flush()
        rows = []
        for line in self.psql.stdout:
            line = line.rstrip("\n")
            if line == self.END:
                return rows
            rows.append(line.split("\t"))
        raise BenchError(f"psql ended during: {sql}: {rows}")

    def close(self):
        self.psql.stdin.close()
        self.psql.wait()
        self.psql.stdout.close()


class Cluster:
    """One cluster in one directory, and what it costs to use it."""

    def __init__(self, directory, pg_config):
        self.dir = directory
        self.bin = self.ask(pg_config, "--bindir")
        self.share = self.ask(pg_config, "--sharedir")
        self.lib = self.ask(pg_config, "--pkglibdir")
        self.version = self.ask(pg_config, "--version")
        self.port = shell("sn_free_port").strip()
        self.preload = os.path.exists(os.path.join(self.lib, "sentinai.so"))
        self.running = False
        self.copied = []            # files of peers that we put in share

    @staticmethod
    def ask(pg_config, what):
        return subprocess.run([pg_config, what], text=True, check=True,
                              stdout=subprocess.PIPE).stdout.strip()

    def program(self, name):
        return os.path.join(self.bin, name)

    def env(self, database="postgres"):
        return {**{k: v for k, v in os.environ.items()
                   if not k.startswith("PG")},
                "PGHOST": os.path.join(self.dir, "run"), "PGPORT": self.port,
                "PGUSER": "postgres", "PGDATABASE": database}

    def call(self, function, *args, stdin=None):
        return shell(f"pgbin='{self.bin}'; {function} \"$@\"", self.dir, *args,
                     **({"input": stdin} if stdin is not None else
                        {"stdin": subprocess.DEVNULL}))

    def make(self):
        self.call("sn_cluster_make", self.port, stdin=SETTINGS.format(
            preload="sentinai" if self.preload else "", wal_level="replica"))
        # for peers that connect through TCP only (Debezium)
        shell('sn_append "$1"', os.path.join(self.dir, "data/pg_hba.conf"),
              input="host all debezium 127.0.0.1/32 scram-sha-256\n"
                    "host replication debezium 127.0.0.1/32 scram-sha-256\n")

    def start(self):
        self.call("sn_cluster_start")
        self.running = True

    def stop(self):
        if self.running:
            self.call("sn_cluster_stop")
            self.running = False

    def restart_with(self, **settings):
        """Change settings that need a restart."""
        wanted = {k: str(v) for k, v in settings.items()
                  if self.value(k) != str(v)}
        if not wanted:
            return
        for name, value in wanted.items():
            self.sql(f"alter system set {name} = '{value}'")
        self.stop()
        self.start()

    def set(self, **settings):
        """Change settings that need a reload; underscores after the prefix."""
        for name, value in settings.items():
            name = name.replace("sentinai_", "sentinai.", 1)
            if value is None:
                self.sql(f"alter system reset {name}")
            else:
                self.sql(f"alter system set {name} = '{value}'")
        self.sql("select pg_reload_conf()")

    def value(self, setting):
        return self.sql(f"select current_setting('{setting}')").strip()

    def sql(self, sql, database="postgres"):
        """Run SQL; its output as text, columns separated by tabs."""
        done = subprocess.run(
            [self.program("psql"), "-XAtq", "-F", "\t", "-v",
             "ON_ERROR_STOP=1", "-d", database, "-f", "-"],
            env=self.env(database), input=sql, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise BenchError(f"{sql[:200]}: {done.stderr[-800:].strip()}")
        return done.stdout

    def number(self, sql, database="postgres"):
        return float(self.sql(sql, database).strip() or 0)

    def session(self, database):
        return Session(self, database)

    def fresh_database(self, name):
        self.drop_database(name)
        self.sql(f'create database "{name}"')

    def drop_database(self, name):
        self.sql(f'drop database if exists "{name}" with (force)')

    def until(self, database, sql, seconds=30):
        """Poll until the SQL gives true; whether it did."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            if self.sql(sql, database).strip() == "t":
                return True
            time.sleep(0.05)
        return False

    def log_tail(self):
        path = os.path.join(self.dir, "log/postgresql.log")
        with open(path, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-15:])

    def remove_copied(self):
        """Take back what we put into the installation."""
        for path in self.copied:
            os.unlink(path)
        self.copied = []

    # Costs

    def postmaster(self):
        with open(os.path.join(self.dir, "data/postmaster.pid"),
                  encoding="ascii") as file:
            return int(file.readline())

    def processes(self):
        """pid → fields of /proc/pid/stat from the state on, of all of us."""
        parent = self.postmaster()
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8",
                          errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(pid) == parent or int(fields[1]) == parent:
                found[int(pid)] = fields
        return found

    def cpu_seconds(self):
        """Processor time of the server: what runs, and what has ended."""
        parent = self.postmaster()
        ticks = 0
        for pid, fields in self.processes().items():
            ticks += int(fields[11]) + int(fields[12])
            if pid == parent:
                ticks += int(fields[13]) + int(fields[14])
        return ticks / TICKS

    def cpu_of(self, title):
        """Processor time of those processes that run, by their titles."""
        ticks = 0
        for pid, fields in self.processes().items():
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    ours = file.read().startswith(title.encode())
            except OSError:
                continue
            if ours:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS

    def wal_bytes(self):
        return self.number(
            "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")

    @staticmethod
    def private_kb(pid):
        """Memory of a process that is its own: not shared buffers."""
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1])
        return 0


class Meter:
    """WAL and processor time between two points."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.wal = cluster.wal_bytes()
        self.before = set(cluster.processes())
        self.cpu = cluster.cpu_seconds()

    def await_ends(self):
        """A session's time counts as the server's once it has ended, which
        can be a moment after its client has left."""
        limit = time.monotonic() + 2
        while time.monotonic() < limit:
            for pid in set(self.cluster.processes()) - self.before:
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as file:
                        if b"[local]" in file.read():
                            break
                except OSError:
                    pass
            else:
                return
            time.sleep(0.01)

    def read(self):
        self.await_ends()
        return (self.cluster.wal_bytes() - self.wal,
                self.cluster.cpu_seconds() - self.cpu)
