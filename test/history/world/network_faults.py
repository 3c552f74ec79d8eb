# world/network_faults.py: a network that fails, through toxiproxy.
# SPDX-License-Identifier: PostgreSQL
"""Between agents and the database, and between relay and broker: cut (refused,
reset, a black hole in one direction or both, after some bytes), slow, in
slices."""

import time

from .faults import fault

CUTS = ("off", "reset", "hole", "no_answer", "no_question", "bytes")
AGENT = {"needs": "proxy", "frozen": True}
RELAY = {"needs": "proxy node"}


class NetworkFaults:

    def cut(self, name):
        proxy = self.server.proxy
        how = self.rng.choice(CUTS)
        if how == "off":
            proxy.switch(name, False)
        elif how == "bytes":
            proxy.toxic(name, "limit_data", self.rng.choice(
                ("upstream", "downstream")), bytes=self.rng.randrange(50000))
        elif how == "reset":
            for stream in ("upstream", "downstream"):
                proxy.toxic(name, "reset_peer", stream, timeout=0)
        else:
            if how != "no_answer":
                proxy.toxic(name, "timeout", "upstream", timeout=0)
            if how != "no_question":
                proxy.toxic(name, "timeout", "downstream", timeout=0)
        self.wait_and_heal(2, 5)

    def slow(self, name):
        """Narrow first, and late behind that: a toxic that is healed hands on
        what it has, and what is late would leave through what is narrow."""
        self.server.proxy.toxic(name, "bandwidth", "upstream",
                                rate=self.rng.choice((20, 200)))
        for stream in ("upstream", "downstream"):
            self.server.proxy.toxic(name, "latency", stream, latency=150,
                                    jitter=100)
        self.wait_and_heal(3, 6)

    def slices(self, name):
        """Requests and answers come in small pieces with gaps."""
        for stream in ("upstream", "downstream"):
            self.server.proxy.toxic(name, "slicer", stream,
                                    average_size=self.rng.choice((7, 64)),
                                    size_variation=5, delay=200)
        self.wait_and_heal(3, 6)

    def wait_and_heal(self, least, most):
        time.sleep(self.between(least, most))
        self.server.proxy.heal()

    @fault(**AGENT)
    def cut_agent(self):
        self.cut("database")

    @fault(**AGENT)
    def slow_agent(self):
        self.slow("database")

    @fault(**AGENT)
    def slice_agent(self):
        self.slices("database")

    @fault(**RELAY)
    def cut_relay(self):
        self.cut("broker")

    @fault(**RELAY)
    def slow_relay(self):
        self.slow("broker")

    @fault(**RELAY)
    def slice_relay(self):
        self.slices("broker")
