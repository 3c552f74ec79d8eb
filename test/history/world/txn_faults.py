# world/txn_faults.py: transactions that stay open.
# SPDX-License-Identifier: PostgreSQL
"""None of them may hold up anybody else."""

import time

from .faults import fault
from .publisher import Publisher

OTHER = "elsewhere"
LONG = 8


class TxnFaults:

    @fault(flows=True)
    def other_database(self):
        """A transaction that writes, in another database."""
        with self.server.connect("nemesis", direct=True) as conn:
            if conn.execute("select from pg_database where datname = %s",
                            (OTHER,)).fetchone() is None:
                conn.execute(f"create database {OTHER}")
        with self.server.connect("nemesis", direct=True,
                                 dbname=OTHER) as conn:
            conn.execute("begin")
            conn.execute("create table if not exists t (n int)")
            conn.execute("insert into t values (1)")
            time.sleep(LONG)
            conn.execute("commit")

    @fault(flows=True)
    def old_snapshot(self):
        """A reader who keeps his snapshot."""
        with self.server.connect("nemesis", direct=True) as conn:
            conn.execute("begin isolation level repeatable read")
            conn.execute("select count(*) from app.work")
            time.sleep(LONG)
            conn.execute("commit")

    @fault(flows=True)
    def long_publisher(self):
        """It has published and does not commit."""
        self.publisher("long").alone(LONG)

    @fault(flows=True)
    def orphan_prepared(self):
        """Prepared, and nobody there to finish it until the next one."""
        orphan = self.publisher("orphan").alone(LONG, "commit")
        time.sleep(LONG)
        self.settle()
        if orphan:
            self.orphans = [orphan]

    def settle(self):
        """Finish the orphans."""
        for publisher, *orphan in self.orphans:
            publisher.adopt(*orphan)
        self.orphans = ()

    def publisher(self, name):
        """A client of our own thread, with random numbers of its own."""
        self.made += 1
        return Publisher(self.world, f"{name}{self.made}")

    orphans = ()
    made = 0
