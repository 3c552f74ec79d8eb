# world/nemesis.py: everything that can go wrong, in an order drawn from the seed.
# SPDX-License-Identifier: PostgreSQL
"""One fault after another, each a method of one of the classes that are joined
here; each heals itself. What the checker needs to know about a fault is in its
facts (see faults.py)."""

import random
import threading
import time
from collections import Counter

import psycopg

from .agent_faults import AgentFaults
from .broker_faults import BrokerFaults
from .clock_faults import ClockFaults
from .disk_faults import DiskFaults
from .network_faults import NetworkFaults
from .operator_faults import OperatorFaults
from .point_faults import PointFaults
from .server_faults import ServerFaults
from .txn_faults import TxnFaults

KINDS = (ServerFaults, BrokerFaults, NetworkFaults, DiskFaults, ClockFaults,
         TxnFaults, AgentFaults, OperatorFaults, PointFaults)
FAULTS = {name: method.facts for kind in KINDS
          for name, method in vars(kind).items() if hasattr(method, "facts")}


def needs(faults):
    """What a server must have for these faults."""
    return {n for f in faults for n in FAULTS[f]["needs"]}


class Nemesis(threading.Thread, *KINDS):
    """Strikes until it is stopped."""

    def __init__(self, world, faults, first, interval):
        super().__init__(name="nemesis", daemon=True)
        self.world = world
        self.server = world.server
        self.rng = random.Random(f"{world.seed}/nemesis")
        there = self.server.abilities()
        self.faults = [f for f in faults
                       if FAULTS[f]["needs"] <= there]
        self.first = first
        self.interval = interval
        self.stopping = threading.Event()
        self.error = None
        self.done = Counter()
        self.seen = Counter()       # what faults came to

    def run(self):
        bag = self.round()
        bag.sort(key=lambda f: f in self.first)
        try:
            while self.faults and not self.stopping.wait(
                    self.interval * (0.5 + self.rng.random())):
                bag = bag or self.round()
                self.strike(bag.pop())
            self.settle()
        except Exception as error:          # told by the run, which fails
            self.error = error

    def round(self):
        """Every fault once; the last comes first."""
        return self.rng.sample(self.faults, len(self.faults))

    def strike(self, fault):
        add = self.world.recorder.add
        facts = {k: v for k, v in FAULTS[fault].items() if k != "needs"}
        add(f="fault", ph="invoke", p="nemesis", fault=fault, **facts)
        more = None
        try:
            more = getattr(self, fault)()
        except psycopg.OperationalError:
            # it met the end of an earlier one
            self.answers()
        add(f="fault", ph="ok", p="nemesis", **(more or {}))
        self.done[fault] += 1

    def answers(self, seconds=60):
        """The server must come back."""
        if not self.server.wait_ready(time.monotonic() + seconds):
            raise RuntimeError("the server does not answer: " +
                               self.server.log_tail())

    def between(self, least, most):
        return least + self.rng.random() * (most - least)
