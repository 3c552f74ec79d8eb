# world/client.py: what publishers and agents have in common.
# SPDX-License-Identifier: PostgreSQL
"""A thread with a name, a connection and random numbers of its own, drawn from
the run's seed."""

import random
import threading
import time

import psycopg

# Errors that faults and concurrency cause; any other is a finding.
EXPECTED = ("08", "57P", "40P01", "40001", "53300", "55P03", "25P02")
DISK_FULL = "53100"


class Lost(Exception):
    """The connection is gone; what was under way is unknown."""


class Client(threading.Thread):
    """Runs turn() until it is told to stop."""

    far = False                 # through the proxy
    user = "postgres"

    def __init__(self, world, name):
        super().__init__(name=name, daemon=True)
        self.world = world
        self.record = world.recorder.add
        self.rng = random.Random(f"{world.seed}/{name}")
        self.stopping = threading.Event()
        self.conn = None

    def run(self):
        while not self.stopping.is_set():
            try:
                if self.conn is None:
                    self.conn = self.world.server.connect(
                        f"h-{self.name}", far=self.far, user=self.user)
                self.turn()
            except Lost:
                self.drop()
            except psycopg.Error as error:
                self.unexpected(error)
                self.drop()
        self.drop()

    def turn(self):
        raise NotImplementedError

    def drop(self):
        """Forget the connection; the next turn makes another."""
        if self.conn is not None:
            self.conn.close()
            self.conn = None
        self.stopping.wait(0.05 + self.rng.random() * 0.1)

    def unexpected(self, error):
        """Tell of an error that nothing explains."""
        state = error.sqlstate or "08"
        if state == DISK_FULL and self.world.server.disks:
            self.stopping.wait(0.1)
        elif not state.startswith(EXPECTED):
            self.record(f="server", line=f"{self.name}: {state} {error}")

    def ask(self, sql, *args):
        """Rows of a statement; Lost when the connection did not survive it."""
        try:
            cursor = self.conn.execute(sql, args or None)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            if self.conn.closed or self.conn.broken or error.sqlstate is None \
                    or error.sqlstate.startswith(("08", "57P")):
                raise Lost(str(error)) from None
            raise

    def pause(self, seconds):
        """Sleep, also while stopping: what is begun is finished."""
        time.sleep(seconds)
