# sqlfuzz/cluster.py: the server that is tried, and what its log must not say.
# SPDX-License-Identifier: PostgreSQL
"""In a throw-away directory. The postmaster is our own child."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import psycopg
from world.shell import run, shell

# Errors are told to the clients, who judge them; statements are large.
SETTINGS = """
shared_preload_libraries = 'sentinai'
max_prepared_transactions = 20
max_connections = 40
max_worker_processes = 24
max_locks_per_transaction = 512
shared_buffers = 128MB
fsync = off
jit = off
deadlock_timeout = 100ms
log_min_messages = warning
log_min_error_statement = panic
log_parameter_max_length_on_error = 0
log_line_prefix = '%m [%p] %e <%b> '
sentinai.journal_size = 64MB
sentinai.launcher_naptime = 1s
"""

# A worker's error is nobody's answer, so nobody would see it. A payload has no
# place in the log, but PL/pgSQL and COPY say what they were given.
BAD = re.compile(r"PANIC: |TRAP: |terminated by signal|stuck spinlock|"
                 r"\] XX|WARNING: .*(leak|still referenced)|c4n4ry|"
                 r"<sentinai[^>]*> (ERROR|FATAL): ")
# A statement of the caller's own function is told by PostgreSQL's parser.
KNOWN = re.compile("> (CONTEXT|QUERY): |unsupported jsonb version")


class Cluster:
    """A throw-away server with the extension in several databases."""

    def __init__(self, pg_config):
        self.bin = run(pg_config, "--bindir")
        self.dir = tempfile.mkdtemp(prefix="snf.")
        self.port = shell("sn_free_port")
        self.postmaster = None

    def make(self):
        os.chmod(self.dir, 0o755)
        shell(f"pgbin='{self.bin}'; sn_cluster_make \"$1\" \"$2\"", self.dir,
              self.port, input=SETTINGS)
        owner = {"user": "postgres", "group": "postgres",
                 "extra_groups": []} if os.getuid() == 0 else {}
        with open(self.log, "ab") as log:
            self.postmaster = subprocess.Popen(
                [os.path.join(self.bin, "postgres"), "-D",
                 os.path.join(self.dir, "data")], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, cwd="/", start_new_session=True,
                **owner)
        limit = time.monotonic() + 60
        while True:
            try:
                with self.connect("setup") as conn:
                    conn.execute("create role fz_poor; create role fz_caller")
                return
            except psycopg.OperationalError:
                if self.postmaster.poll() is not None or \
                        time.monotonic() > limit:
                    raise
                time.sleep(0.05)

    @property
    def log(self):
        return os.path.join(self.dir, "server.log")

    def connect(self, name, database="postgres", clean=False):
        """`clean`: not with the search_path that the database may have."""
        return psycopg.connect(
            host=f"{self.dir}/run", port=self.port, user="postgres",
            dbname=database, application_name=name, autocommit=True,
            connect_timeout=10, prepare_threshold=None, client_encoding="UTF8",
            options="-c search_path=public" if clean else "")

    def bad_lines(self):
        """Lines of the log that nothing of ours explains."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return [line.rstrip()[:300] for line in file
                    if BAD.search(line) and not KNOWN.search(line)]

    def log_tail(self, lines=15):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.readlines()[-lines:]

    def memory(self, pid):
        """(anonymous now, peak since the last reset) of a process in MiB."""
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            found = dict(line.split(":", 1) for line in file)
        return tuple(int(found[k].split()[0]) >> 10
                     for k in ("RssAnon", "VmHWM"))

    def reset_peak(self, pid):
        with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")

    def abandon(self):
        """End it without asking; its processes see that the parent is gone."""
        self.postmaster.kill()

    def close(self, keep):
        """Stop it fast, or else at once."""
        if self.postmaster and self.postmaster.poll() is None:
            self.postmaster.send_signal(signal.SIGINT)
            try:
                self.postmaster.wait(40)
            except subprocess.TimeoutExpired:
                self.postmaster.send_signal(signal.SIGQUIT)
                self.postmaster.wait(20)
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)
