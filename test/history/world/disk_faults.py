# world/disk_faults.py: disks that are full for a while.
# SPDX-License-Identifier: PostgreSQL

import time

import psycopg

from .faults import fault

FILL = 400_000                  # bytes of WAL that a statement writes
PATIENCE = 10


class DiskFaults:

    @fault(needs="disk")
    def data_full(self):
        """Who needs a new page gets 53100. Only a checkpoint that has to write
        a new file makes PostgreSQL panic, and then it may not come back by
        itself: its recovery needs pages, too."""
        with self.server.connect("nemesis", direct=True) as conn:
            self.server.disks["data"].fill()
            try:
                time.sleep(self.between(2, 5))
            finally:
                self.server.disks["data"].heal()
            try:
                conn.execute("select 1")
                return {}
            except psycopg.Error:
                pass
        self.server.revive()
        return {"crash": True, "frozen": True}

    @fault(needs="disk", crash=True, frozen=True)
    def wal_full(self):
        """The server panics, and cannot start until there is room."""
        self.server.disks["wal"].fill()
        try:
            self.write_wal()
            time.sleep(self.between(0.5, 2))
        finally:
            self.server.disks["wal"].heal()
        self.server.revive()

    def write_wal(self):
        """Until that is no longer possible."""
        limit = time.monotonic() + PATIENCE
        try:
            with self.server.connect("nemesis", direct=True) as conn:
                while time.monotonic() < limit:
                    conn.execute(
                        "select pg_logical_emit_message(false, 'nemesis', "
                        "repeat('x', %s))", (FILL,))
                    conn.execute("select pg_switch_wal()")
        except psycopg.Error:
            return
