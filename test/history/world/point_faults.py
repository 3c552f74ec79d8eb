# world/point_faults.py: crashes at the worst moments.
# SPDX-License-Identifier: PostgreSQL
"""A build by `make FAULTS=1` has named points where a process kills itself when
there is a file of that name in the data directory; see src/base/fault.h. Which
process gets there first is left to chance."""

import contextlib
import os
import time

import psycopg

from .faults import fault
from .server_faults import CRASH

POINTS = ("partition_create", "partition_drop", "round_switch",
          "journal_switch", "journal_carry", "journal_truncate",
          "round_before", "round_after", "claim", "complete", "fail",
          "extend", "release")
RELAY_POINTS = ("relay_send", "relay_ack", "relay_mark")
PATIENCE = 10                   # seconds until somebody must have come by


def has_points(library):
    """Is the installed extension a build with fault points?"""
    with open(library, "rb") as file:
        return b"sentinai_fault." in file.read()


class Point:
    """One request for a crash."""

    def __init__(self, server, name):
        self.path = os.path.join(server.dir, "data", "sentinai_fault." + name)
        open(self.path, "xb").close()

    def reached(self, seconds):
        """Has somebody died there? Not asked for any more when nobody did."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            if not os.path.exists(self.path):
                return True
            time.sleep(0.02)
        try:
            os.remove(self.path)
        except FileNotFoundError:
            return True
        return False


class PointFaults:

    points = ()                 # left of this round

    def next_point(self):
        if not self.points:
            there = POINTS + (RELAY_POINTS if self.server.broker else ())
            self.points = self.rng.sample(there, len(there))
        if self.points[-1] == "partition_drop" and not self.old_partition():
            self.points.insert(0, self.points.pop())
        return self.points.pop()

    def old_partition(self):
        """Is there one that retention is going to drop?"""
        with self.server.connect("nemesis", direct=True) as conn:
            return conn.execute("select wanted from sentinai.retention_status()"
                                ).fetchone()[0]

    @fault(needs="points", **CRASH)
    def point(self):
        """kill -9 of the first process that comes to a named point."""
        name = self.next_point()
        point = Point(self.server, name)
        if name == "partition_create":
            self.make_partitions()
        if point.reached(PATIENCE):
            self.seen["point " + name] += 1
            time.sleep(0.2)
            self.answers()

    def make_partitions(self):
        """One more, so that nobody has to wait for a minute to pass."""
        with contextlib.suppress(psycopg.OperationalError):
            with self.server.connect("nemesis", direct=True) as conn:
                conn.execute(
                    "select sentinai.make_partitions(now() + interval '1 min' * "
                    "(select count(*) + 1 from pg_inherits where inhparent = "
                    "'sentinai_internal.event_log'::regclass))")
