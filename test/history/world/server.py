# world/server.py: the cluster, the pooler and the broker of one run.
# SPDX-License-Identifier: PostgreSQL
"""All in one throw-away directory. The postmaster is our own child, so that a
killed one leaves no zombie behind."""

import glob
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time

import psycopg

from . import disk, proxy
from .broker import CONTROL_TOPIC, Kafka, Mock, Node, RabbitMQ
from .point_faults import has_points
from .shell import ROOT, run, shell

# Small journals and partitions, so that they turn over within a run; a late WAL
# writer, so that a crash does lose asynchronous commits.
SETTINGS = """
shared_preload_libraries = 'sentinai'
max_prepared_transactions = 50
max_connections = 100
max_worker_processes = 24
max_wal_size = 32MB
min_wal_size = 2MB
shared_buffers = 128MB
fsync = off
wal_writer_delay = 10s
wal_writer_flush_after = 64MB
deadlock_timeout = 100ms
restart_after_crash = on
log_min_messages = {log_level}
log_line_prefix = '%m [%p] %e %a '
sentinai.journal_size = {journal_size}
sentinai.maintenance_interval = 1s
sentinai.launcher_naptime = 1s
sentinai.operator_timeout = 500ms
sentinai.partition_interval = 1min
sentinai.retention = {retention}
sentinai.breaker_open_time = 1s
sentinai.relay_workers = {relay_workers}
sentinai.relay_inflight = {window}
sentinai.crowded_at = {crowded_at}
sentinai.idle_after = {idle_after}
sentinai.max_tracks = {max_tracks}
sentinai.control_topic = '{control_topic}'
"""

# what publishers and agents write beside the extension's tables
APP = """
create schema app;
create table app.work (txn text);
create table app.effect (w text, id uuid);
create table app.kept (id uuid primary key, txid bigint, ten text, agg text,
    type text, payload jsonb);
create table app.counter (ten text, agg text, n bigint not null,
    primary key (ten, agg)) with (fillfactor = 50);
"""


# in front of libfaketime, see there
SELECT = os.path.join(ROOT, "build/history/select.so")


class Server:
    """PostgreSQL and what options.kafka, .rabbitmq, .mock, .pgbouncer and the
    faults ask for. settings: more of them. roles: who may log in beside postgres. pools:
    databases of the pooler, with the role that each logs in as."""

    def __init__(self, pg_config, options, wanted, settings="", roles=(),
                 pools=None, pool_size=12):
        self.bin = run(pg_config, "--bindir")
        self.library = run(pg_config, "--pkglibdir") + "/sentinai.so"
        self.dir = tempfile.mkdtemp(prefix="snh.")
        self.options = options
        self.wanted = wanted        # what faults need
        self.missing = {}           # of that, and why
        self.settings = settings
        self.roles = roles
        self.pools = pools or {"*": "postgres"}
        self.pool_size = pool_size
        self.port = shell("sn_free_port")
        self.pool_port = shell("sn_free_port") if options.pgbouncer else None
        self.far_port = None        # the database's, through the proxy
        self.password = secrets.token_hex(16)
        self.broker = self.proxy = self.postmaster = self.pooler = None
        self.disks = {}
        self.clock = None
        self.owner = {"user": "postgres", "group": "postgres",
                      "extra_groups": []} if os.getuid() == 0 else {}

    def make(self):
        """Everything up and empty."""
        os.chmod(self.dir, 0o755)
        if self.options.kafka:
            self.broker = Kafka(self.dir)
        elif self.options.rabbitmq:
            self.broker = RabbitMQ(self.dir)
        elif self.options.mock:
            self.broker = Mock(self.options.in_flight)
        if "proxy" in self.wanted:
            self.make_proxy()
        if self.has_node():
            self.broker.make()
        if "disk" in self.wanted:
            self.make_disks()
        self.make_cluster()
        if "clock" in self.wanted:
            self.make_clock()
        self.start()
        with self.connect("setup", direct=True) as conn:
            conn.execute("create extension sentinai;" + APP)
            conn.execute(f"alter role postgres password '{self.password}'")
        if self.pool_port:
            self.start_pooler()

    def has_node(self):
        """Is the broker a server, and no mock of one?"""
        return isinstance(self.broker, Node)

    def make_proxy(self):
        """Between the database and those who come from far, between the relay
        and the broker."""
        program, why = proxy.find()
        if why:
            self.missing["proxy"] = why
            return
        self.far_port = shell("sn_free_port")
        routes = {"database": (self.far_port, self.pool_port or self.port)}
        if self.has_node():
            routes["broker"] = self.broker.move(shell("sn_free_port"))
        self.proxy = proxy.Proxy(program, self.dir, shell("sn_free_port"),
                                 routes)

    def make_disks(self):
        why = disk.enter()
        try:
            if why is None:
                for what in ("data", "wal"):
                    self.disks[what] = disk.Disk(
                        os.path.join(self.dir, what), what)
                    self.give(os.path.join(self.dir, what))
        except OSError as error:
            why = str(error)
        if why:
            self.missing["disk"] = why

    def make_clock(self):
        """A file that shifts the server's wall clock."""
        found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
        if not found:
            self.missing["clock"] = "libfaketime is not installed"
            return
        self.clock = os.path.join(self.dir, "clock")
        self.faketime = {
            "LD_PRELOAD": f"{shutil.copy(SELECT, self.dir)}:{found[0]}",
            "FAKETIME_TIMESTAMP_FILE": self.clock,
            "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1"}
        self.set_clock(0)

    def set_clock(self, seconds):
        """At once, for every process."""
        with open(self.clock + ".new", "w", encoding="ascii") as file:
            file.write(f"{seconds:+d}\n")
        os.chmod(self.clock + ".new", 0o644)
        os.rename(self.clock + ".new", self.clock)

    def make_cluster(self):
        settings = SETTINGS.format(
            window=self.options.window, control_topic=CONTROL_TOPIC,
            relay_workers=self.options.relay_workers,
            retention=self.options.retention,
            crowded_at=self.options.crowded_at,
            idle_after=getattr(self.options, "idle_after", 600),
            max_tracks=getattr(self.options, "max_tracks", 63),
            # a relay's start is told in detail only
            log_level="debug1" if self.broker else "warning",
            journal_size="64MB" if self.options.late else "64kB")
        if self.broker:
            settings += self.broker.settings()
            if self.options.dedupe:
                settings += "sentinai.relay_record_options = 'dedupe=tail'\n"
        settings += self.settings.format(dir=self.dir)
        if self.far_port:
            settings += "listen_addresses = '127.0.0.1'\n"
        shell(f"pgbin='{self.bin}'; sn_cluster_make \"$1\" \"$2\"", self.dir,
              self.port, input=settings)
        data = os.path.join(self.dir, "data")
        with open(os.path.join(data, "pg_hba.conf"), "a",
                  encoding="ascii") as file:
            file.write("host all all 127.0.0.1/32 scram-sha-256\n")
        with open(os.path.join(data, "pg_ident.conf"), "a",
                  encoding="ascii") as file:
            for role in self.roles:
                for name in {pwd.getpwuid(os.getuid()).pw_name,
                             self.owner.get("user")} - {None}:
                    file.write(f"ours {name} {role}\n")
        # small segments: the disk of pg_wal is full soon after it is full
        shell('sn_as_server "$1" --wal-segsize=1 "$2"',
              os.path.join(self.bin, "pg_resetwal"), data)
        if "wal" in self.disks:
            wal = os.path.join(data, "pg_wal")
            place = os.path.join(self.dir, "wal", "pg_wal")
            shell('sn_as_server sh -c \'mv "$0" "$1" && ln -s "$1" "$0"\' '
                  '"$1" "$2"', wal, place)

    def start(self, seconds=60):
        """Start the postmaster; the old one's children may still be there."""
        limit = time.monotonic() + seconds
        while True:
            with open(os.path.join(self.dir, "server.log"), "ab") as log:
                self.postmaster = subprocess.Popen(
                    [os.path.join(self.bin, "postgres"), "-D",
                     os.path.join(self.dir, "data")], stdout=log, stderr=log,
                    stdin=subprocess.DEVNULL, cwd="/", start_new_session=True,
                    env={**os.environ, **(self.faketime if self.clock else {})},
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

    def revive(self, seconds=60):
        """Until it answers; started anew when it has gone down."""
        if not self.wait_ready(time.monotonic() + seconds):
            self.start()

    def start_pooler(self):
        path = os.path.join(self.dir, "pgbouncer.ini")
        users = os.path.join(self.dir, "users.txt")
        with open(users, "w", encoding="ascii", opener=private) as file:
            file.write(f'"postgres" "{self.password}"\n')
        self.give(users)
        with open(path, "w", encoding="ascii") as file:
            file.write("[databases]\n")
            for name, role in self.pools.items():
                dbname = "" if name == "*" else "dbname=postgres "
                file.write(f"{name} = host={self.dir}/run port={self.port} "
                           f"{dbname}user={role}\n")
            file.write(f"""[pgbouncer]
listen_addr = {"127.0.0.1" if self.far_port else ""}
unix_socket_dir = {self.dir}/run
listen_port = {self.pool_port}
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {self.pool_size}
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
        """For a program over libpq, through the proxy when there is one."""
        return {**{k: v for k, v in os.environ.items()
                   if not k.startswith("PG")},
                "PGHOST": "127.0.0.1" if self.far_port else f"{self.dir}/run",
                "PGPORT": self.far_port or self.pool_port or self.port,
                "PGUSER": "postgres", "PGPASSWORD": self.password,
                "PGDATABASE": "postgres", "PGAPPNAME": name}

    def connect(self, name, direct=False, far=False, dbname="postgres",
                user="postgres"):
        """`direct` past the pooler, `far` through the proxy."""
        host, port = f"{self.dir}/run", self.pool_port or self.port
        if direct:
            port = self.port
        elif far and self.far_port:
            host, port = "127.0.0.1", self.far_port
        return psycopg.connect(
            host=host, port=port, user=user, dbname=dbname,
            password=self.password, application_name=name, autocommit=True,
            connect_timeout=10, prepare_threshold=None)

    def abilities(self):
        """What faults may need and is there."""
        there = {"broker": self.broker, "node": self.has_node(),
                 "rabbitmq": self.options.rabbitmq, "mock": self.options.mock, "proxy": self.proxy,
                 "disk": self.disks, "clock": self.clock,
                 "points": has_points(self.library)}
        return {what for what, thing in there.items() if thing}

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

    def log_tail(self):
        with open(os.path.join(self.dir, "server.log"), encoding="utf-8",
                  errors="replace") as file:
            return "".join(file.readlines()[-15:])

    def close(self, keep=False):
        """End what was started; remove the directory."""
        if self.pooler:
            self.pooler.kill()
            self.pooler.wait()
        if self.clock:
            self.set_clock(0)
        for each in self.disks.values():
            each.heal()
        self.stop()
        for other in (self.proxy, self.broker):
            if other:
                other.close()
        if keep and self.disks:
            shutil.copytree(os.path.join(self.dir, "data"),
                            os.path.join(self.dir, "kept"), symlinks=True)
            shutil.copytree(os.path.join(self.dir, "wal"),
                            os.path.join(self.dir, "kept-wal"))
        for each in self.disks.values():
            each.close()
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def give(self, path):
        """Let the server's user write there."""
        if os.getuid() == 0:
            entry = pwd.getpwnam("postgres")
            os.chown(path, entry.pw_uid, entry.pw_gid)


def private(path, flags):
    """open() for a file that nobody else may read."""
    return os.open(path, flags, 0o600)
