# world/nemesis.py: everything that can go wrong, in an order drawn from the seed.
# SPDX-License-Identifier: PostgreSQL
"""Each fault is a method; it returns what the checker needs to know: whether the
server lost its memory (crash), whether the relay had to start over or lost its
broker (relay), whether an agent stood still (frozen)."""

import os
import random
import signal
import threading
import time

import psycopg

FAULTS = ("backend", "sequencer", "relay", "postmaster", "immediate", "fast",
          "terminate", "freeze", "agent", "stop_agent", "broker")
NEEDS_KAFKA = ("relay", "broker")
WORKERS = "backend_type like 'sentinai %' and backend_type <> " \
    "'sentinai launcher'"


class Nemesis(threading.Thread):
    """One fault after another until stopped; each heals itself."""

    def __init__(self, world, faults, interval):
        super().__init__(name="nemesis", daemon=True)
        self.world = world
        self.server = world.server
        self.rng = random.Random(f"{world.seed}/nemesis")
        self.faults = [f for f in faults
                       if world.server.kafka or f not in NEEDS_KAFKA]
        self.interval = interval
        self.stopping = threading.Event()
        self.error = None
        self.done = []

    def run(self):
        bag = []
        while self.faults and not self.stopping.wait(
                self.interval * (0.5 + self.rng.random())):
            bag = bag or self.rng.sample(self.faults, len(self.faults))
            try:
                self.strike(bag.pop())
            except Exception as error:      # told by the run, which fails
                self.error = error
                return

    def strike(self, fault):
        self.done.append(fault)
        add = self.world.recorder.add
        crash = fault in ("backend", "sequencer", "relay", "postmaster",
                          "immediate")
        add(f="fault", ph="invoke", p="nemesis", fault=fault, crash=crash,
            relay=True, frozen=fault in ("freeze", "stop_agent") or crash)
        try:
            getattr(self, fault)()
        except psycopg.OperationalError:
            self.server.wait_ready(time.monotonic() + 30)
        add(f="fault", ph="ok", p="nemesis")

    # Processes of the server

    def kill_one(self, where):
        """kill -9: the server restarts by itself, and must answer again."""
        pids = self.server.processes(where)
        if not pids:
            return
        pid = self.rng.choice(pids)
        self.world.killed.add(pid)
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        if not self.server.wait_ready(time.monotonic() + 60):
            raise RuntimeError("no answer after kill -9 of one process: " +
                               self.server.log_tail())

    def backend(self):
        self.kill_one("application_name like 'h-%' or "
                      "application_name like 'lib%'")

    def sequencer(self):
        self.kill_one("backend_type = 'sentinai sequencer'")

    def relay(self):
        self.kill_one("backend_type = 'sentinai relay'")

    def postmaster(self):
        self.server.kill(with_children=self.rng.random() < 0.5)
        time.sleep(self.rng.random())
        self.server.start()

    def immediate(self):
        self.server.stop(signal.SIGQUIT)
        self.server.start()

    def fast(self):
        self.server.stop(signal.SIGINT)
        self.server.start()

    def terminate(self):
        """pg_terminate_backend of a worker and of a client."""
        with self.server.connect("nemesis", direct=True) as conn:
            conn.execute(
                "select pg_terminate_backend(pid) from (select pid from "
                f"pg_stat_activity where {WORKERS} union all (select pid from "
                "pg_stat_activity where application_name like 'h-%' "
                "order by pid limit 3)) p")

    def freeze(self):
        """A worker stands still for a while."""
        pids = self.server.processes(WORKERS)
        if pids:
            self.still(self.rng.choice(pids), 1 + self.rng.random() * 2)

    def still(self, pid, seconds):
        try:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass

    # Agents over workers/lib

    def agent(self):
        self.world.library.restart(self.rng)

    def stop_agent(self):
        """Beyond its lease."""
        library = self.world.library
        if library.processes:
            self.still(self.rng.choice(library.processes).pid,
                       library.lease * 1.5)

    # The broker

    def broker(self):
        self.server.broker("kill")
        time.sleep(self.rng.random() * 2)
        self.server.broker("start")
