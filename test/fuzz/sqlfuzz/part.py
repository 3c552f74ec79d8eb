# sqlfuzz/part.py: what all parts of the fuzzer have in common.
# SPDX-License-Identifier: PostgreSQL

from . import values
from .session import Session

LOOK = 30                       # rolled-back calls between two looks
MOST_MIB = 160                  # private memory of a session that is idle

LOCKS = "select count(*) from pg_locks where pid = %s"


class Part:
    """A session that calls, and looks at what it has left behind."""

    def __init__(self, world, name):
        self.world = world
        self.cluster = world.cluster
        self.catalog = world.catalog
        self.ground = world.ground
        self.report = world.report
        self.rng = values.seeded(world.seed, name)
        self.session = None
        self.recent = []

    def open(self):
        self.session = Session(self.cluster, self.report, self.ground.database)

    def close(self):
        self.look()
        self.session.conn.close()

    def tried(self, told, outcome):
        """A call that was rolled back has been made."""
        self.report.note(outcome)
        self.recent.append(told)
        if len(self.recent) >= LOOK:
            self.look()

    def rolled_back(self, call):
        """One call in a transaction that comes to nothing."""
        self.session.run("begin")
        outcome = call()
        self.session.finish()
        return outcome

    def look(self):
        """Nothing changed, no lock left, memory given back."""
        told = "\n".join(t[:250] for t in self.recent[-8:])
        changed = self.ground.changed()
        if changed:
            self.report.find("changed without effect: " + ", ".join(changed),
                             told)
        locks = self.ground.conn.execute(
            LOCKS, (self.session.pid,)).fetchone()[0]
        if locks:
            self.report.find(f"{locks} locks left", told)
        kept = self.cluster.memory(self.session.pid)[0]
        if kept > MOST_MIB:
            self.report.find(f"{kept} MiB kept", told)
        self.recent = []
