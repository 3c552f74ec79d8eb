# world/operator_faults.py: who runs the server changes what it is told to do.
# SPDX-License-Identifier: PostgreSQL
"""None of it changes which events a subscription has: a type that is added is
nobody's."""

import time

import psycopg

from .faults import fault
from .publisher import TENANTS

TOO_OFTEN = "SN409"             # a filter that was changed, until some is worked off


class OperatorFaults:

    @fault(asked=True)
    def refilter(self):
        """Subscriptions read other streams, which have the same for them."""
        for worker, sub in self.world.subs.items():
            if sub["types"] is None:
                continue
            self.world.refiltered.add(worker)
            types = sub["types"] + [f"none.{n}" for n in range(
                self.rng.randrange(3))]
            self.change(worker, "event_types", types)

    @fault(asked=True)
    def reshare(self):
        """The agents of a subscription may have fewer lanes, and all again."""
        for lanes in (self.rng.randrange(8, 64), 64):
            self.change("h_all", "max_lanes", lanes)
            time.sleep(self.between(0.2, 1.5))

    @fault(asked=True)
    def reweigh(self):
        """Tenants get other numbers of turns."""
        with self.server.connect("nemesis", direct=True) as conn:
            for tenant in TENANTS:
                conn.execute("select sentinai.set_weight(%s, %s)",
                             (tenant, self.rng.randrange(1, 10)))

    @fault(asked=True)
    def recrowd(self):
        """Tenants are set apart sooner or later than before, on more tracks or
        on fewer, and come back while subscriptions lag, or do not."""
        with self.server.connect("nemesis", direct=True) as conn:
            conn.execute("alter system set sentinai.crowded_at = "
                         f"{self.rng.choice((3, 10, 40, 400))}")
            conn.execute("alter system set sentinai.idle_after = "
                         f"{self.rng.choice((0, 600))}")
            conn.execute("alter system set sentinai.max_tracks = "
                         f"{self.rng.choice((1, 4, 63))}")
            conn.execute("select pg_reload_conf()")

    def change(self, worker, setting, value):
        with self.server.connect("nemesis", direct=True) as conn:
            try:
                conn.execute("select sentinai.alter_subscription(%s, "
                             f"{setting} => %s)", (worker, value))
            except psycopg.Error as error:
                if error.sqlstate != TOO_OFTEN:
                    raise
