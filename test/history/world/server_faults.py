# world/server_faults.py: processes that die or stand still.
# SPDX-License-Identifier: PostgreSQL

import os
import signal
import time

from .faults import fault

WORKERS = "backend_type like 'sentinai %' and backend_type <> " \
    "'sentinai launcher'"
CRASH = {"crash": True, "frozen": True}


class ServerFaults:
    """Of PostgreSQL, and of agents."""

    def kill_one(self, where):
        """kill -9: the server restarts by itself, and must answer again."""
        pids = self.server.processes(where)
        if not pids:
            return
        pid = self.rng.choice(pids)
        self.world.killed.add(pid)
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        self.answers()

    @fault(**CRASH)
    def backend(self):
        self.kill_one("application_name like 'h-%' or "
                      "application_name like 'lib%'")

    @fault(**CRASH)
    def sequencer(self):
        self.kill_one("backend_type = 'sentinai sequencer'")

    @fault(needs="broker", **CRASH)
    def relay(self):
        self.kill_one("backend_type = 'sentinai relay'")

    @fault(**CRASH)
    def postmaster(self):
        self.server.kill(with_children=self.rng.random() < 0.5)
        time.sleep(self.rng.random())
        self.server.start()

    @fault(**CRASH)
    def immediate(self):
        self.server.stop(signal.SIGQUIT)
        self.server.start()

    @fault(frozen=True)
    def fast(self):
        self.server.stop(signal.SIGINT)
        self.server.start()

    @fault()
    def terminate(self):
        """pg_terminate_backend of the workers and of some clients."""
        with self.server.connect("nemesis", direct=True) as conn:
            conn.execute(
                "select pg_terminate_backend(pid) from (select pid from "
                f"pg_stat_activity where {WORKERS} union all (select pid from "
                "pg_stat_activity where application_name like 'h-%' "
                "order by pid limit 3)) p")

    @fault()
    def freeze(self):
        """A worker stands still for a while."""
        pids = self.server.processes(WORKERS)
        if pids:
            self.still(self.rng.choice(pids), self.between(1, 3))

    def still(self, pid, seconds):
        try:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass

    # Agents over workers/lib

    @fault()
    def agent(self):
        self.rng.choice(self.world.libraries).restart(self.rng)

    @fault(frozen=True)
    def stop_agent(self):
        """Beyond its lease."""
        library = self.rng.choice(self.world.libraries)
        if library.processes:
            self.still(self.rng.choice(library.processes).pid,
                       library.lease * 1.5)
