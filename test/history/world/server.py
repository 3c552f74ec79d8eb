# world/server.py: the cluster, the pooler and the broker of one run.
# SPDX-License-Identifier: PostgreSQL
"""All in one throw-away directory. The postmaster is our own child, so that a
killed one leaves no zombie behind."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

import psycopg

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
KAFKA = os.path.join(ROOT, "test/kafka/kafka.sh")
TOPIC = "sentinai.exception"

# Small journals and partitions, so that they turn over within a run; a late WAL
# writer, so that a crash does lose asynchronous commits.
SETTINGS = """
shared_preload_libraries = 'sentinai'
max_prepared_transactions = 50
max_connections = 100
max_worker_processes = 24
shared_buffers = 128MB
fsync = off
wal_writer_delay = 10s
wal_writer_flush_after = 64MB
deadlock_timeout = 100ms
restart_after_crash = on
log_min_messages = warning
log_line_prefix = '%m [%p] %e %a '
sentinai.journal_size = {journal_size}
sentinai.maintenance_interval = 1s
sentinai.launcher_naptime = 1s
sentinai.partition_interval = 1min
sentinai.breaker_open_time = 1s
sentinai.relay_inflight = {window}
sentinai.kafka_conf = '{kafka_conf}'
"""

SCHEMA = """
create extension sentinai;
create schema app;
create table app.work (txn text);
create table app.effect (w text, id uuid);
create table app.counter (ten text, agg text, n bigint not null,
    primary key (ten, agg)) with (fillfactor = 50);
"""


def run(*command, **options):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-2000:]}")
    return done.stdout.strip()


def shell(script, *args, **options):
    lib = os.path.join(ROOT, "test/lib")
    return run("bash", "-c", f'. "{lib}/common.sh"; . "{lib}/cluster.sh"; '
               f"{script}", "history", *args, **options)


class Server:
    """PostgreSQL and, when wanted, PgBouncer and Kafka."""

    def __init__(self, pg_config, window, kafka=False, pgbouncer=False,
                 journal_size="64kB"):
        self.bin = run(pg_config, "--bindir")
        self.dir = tempfile.mkdtemp(prefix="snh.")
        self.port = shell("sn_free_port")
        self.pool_port = shell("sn_free_port") if pgbouncer else None
        self.settings = {"window": window, "journal_size": journal_size}
        self.kafka = os.path.join(self.dir, "kafka") if kafka else None
        self.bootstrap = ""
        self.postmaster = self.pooler = None
        self.owner = {"user": "postgres", "group": "postgres",
                      "extra_groups": []} if os.getuid() == 0 else {}

    def make(self):
        """Everything up and empty."""
        os.chmod(self.dir, 0o755)
        if self.kafka:
            self.bootstrap = run(
                KAFKA, "start", self.kafka,
                "log.message.timestamp.type=LogAppendTime").splitlines()[-1]
        settings = SETTINGS.format(
            **self.settings, kafka_conf="bootstrap.servers=" +
            self.bootstrap if self.kafka else "")
        shell(f"pgbin='{self.bin}'; sn_cluster_make \"$1\" \"$2\"", self.dir,
              self.port, input=settings)
        self.start()
        with self.connect("setup", direct=True) as conn:
            conn.execute(SCHEMA)
        if self.pool_port:
            self.start_pooler()

    def start(self, seconds=60):
        """Start the postmaster; the old one's children may still be there."""
        limit = time.monotonic() + seconds
        while True:
            with open(os.path.join(self.dir, "server.log"), "ab") as log:
                self.postmaster = subprocess.Popen(
                    [os.path.join(self.bin, "postgres"), "-D",
                     os.path.join(self.dir, "data")], stdout=log, stderr=log,
                    stdin=subprocess.DEVNULL, cwd="/", start_new_session=True,
                    **self.owner)
            if self.wait_ready(limit):
                return
            if time.monotonic() > limit:
                raise RuntimeError("the server did not come back: " +
                                   self.log_tail())
            self.postmaster.wait()
            time.sleep(0.2)

    def wait_ready(self, limit):
        """Poll until it answers; False when it has ended."""
        while time.monotonic() < limit:
            try:
                self.connect("probe", direct=True).close()
                return True
            except psycopg.OperationalError:
                if self.postmaster.poll() is not None:
                    return False
                time.sleep(0.05)
        return False

    def start_pooler(self):
        path = os.path.join(self.dir, "pgbouncer.ini")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"""[databases]
* = host={self.dir}/run port={self.port} user=postgres
[pgbouncer]
listen_addr =
unix_socket_dir = {self.dir}/run
listen_port = {self.pool_port}
auth_type = any
pool_mode = transaction
default_pool_size = 12
max_client_conn = 200
server_login_retry = 0.2
ignore_startup_parameters = extra_float_digits,options
""")
        log = open(os.path.join(self.dir, "pgbouncer.log"), "ab")
        self.pooler = subprocess.Popen(
            ["pgbouncer", path], stdout=log, stderr=log, cwd="/",
            stdin=subprocess.DEVNULL, **self.owner)
        log.close()

    def environment(self, name):
        return {**{k: v for k, v in os.environ.items()
                   if not k.startswith("PG")},
                "PGHOST": f"{self.dir}/run", "PGUSER": "postgres",
                "PGPORT": self.pool_port or self.port,
                "PGDATABASE": "postgres", "PGAPPNAME": name}

    def connect(self, name, direct=False):
        port = self.port if direct or not self.pool_port else self.pool_port
        return psycopg.connect(
            host=f"{self.dir}/run", port=port, user="postgres",
            dbname="postgres", application_name=name, autocommit=True,
            connect_timeout=10, prepare_threshold=None)

    # What the nemesis does

    def processes(self, where):
        """Process ids of the server by a condition on pg_stat_activity."""
        with self.connect("nemesis", direct=True) as conn:
            return [row[0] for row in conn.execute(
                "select pid from pg_stat_activity where pid <> "
                f"pg_backend_pid() and ({where}) order by pid")]

    def children(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8",
                          errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self.postmaster.pid:
                found.append(int(pid))
        return found

    def kill(self, with_children):
        """kill -9 of the postmaster."""
        children = self.children() if with_children else []
        for pid in [self.postmaster.pid, *children]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.postmaster.wait()

    def stop(self, how=signal.SIGINT):
        """SIGINT: fast; SIGQUIT: immediate."""
        if self.postmaster and self.postmaster.poll() is None:
            self.postmaster.send_signal(how)
            try:
                self.postmaster.wait(40)
            except subprocess.TimeoutExpired:
                self.kill(True)

    def broker(self, command):
        run(KAFKA, command, self.kafka)

    def log_tail(self):
        with open(os.path.join(self.dir, "server.log"), encoding="utf-8",
                  errors="replace") as file:
            return "".join(file.readlines()[-15:])

    def close(self, keep=False):
        """End what was started; remove the directory."""
        if self.pooler:
            self.pooler.kill()
            self.pooler.wait()
        self.stop()
        if self.kafka:
            run(KAFKA, "kill", self.kafka)
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def give(self, path):
        """Let the server's user write there."""
        if os.getuid() == 0:
            entry = pwd.getpwnam("postgres")
            os.chown(path, entry.pw_uid, entry.pw_gid)
