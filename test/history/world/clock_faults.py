# world/clock_faults.py: a wall clock that steps.
# SPDX-License-Identifier: PostgreSQL
"""Both there and back: each of these faults is a step in both directions. Each
process that has done something afterwards must have done it by the new time."""

import time

from .faults import fault

STEPS = (20, 600, 7200)
SETTLE = 2.1                    # libfaketime looks at its file once a second
NEAR = 10                       # seconds, less than a step
PATIENCE = 5

KINDS = {(True, False): "step ahead", (False, True): "step back",
         (False, False): "true time"}

# What they last did, and when: by their own clocks.
STAMPS = """
select 'backend', extract(epoch from clock_timestamp())::float8
union all
select 'sequencer', extract(epoch from last_round_at)::float8
from sentinai.stat_info
union all
select 'relay ' || worker, extract(epoch from last_ack_at)::float8
from sentinai.stat_relay
"""


class ClockFaults:

    def shift(self, seconds):
        self.server.set_clock(seconds)
        try:
            time.sleep(SETTLE)
            limit = time.monotonic() + self.between(5, 6)
            self.expect(seconds)
            time.sleep(max(0, limit - time.monotonic()))
        finally:
            self.server.set_clock(0)
        time.sleep(SETTLE)
        self.expect(0)

    def expect(self, ahead):
        """Everybody who does something now does it by the new time."""
        before = dict(self.stamps())
        limit = time.monotonic() + PATIENCE
        waiting, wrong = {w for w, t in before.items() if t is not None}, {}
        while waiting and time.monotonic() < limit:
            for who, stamp in self.stamps():
                if who not in waiting or stamp in (None, before[who]):
                    continue
                off = stamp - time.time() - ahead
                if abs(off) < NEAR:
                    waiting.remove(who)
                    self.seen[f"{KINDS[ahead > 0, ahead < 0]} by {who}"] += 1
                else:
                    wrong[who] = off
            time.sleep(0.05)
        for who in waiting & set(wrong):
            self.world.recorder.add(
                f="server", line=f"the clock was set {ahead} s ahead, that of "
                f"the {who} is {wrong[who]:.0f} s off")

    def stamps(self):
        with self.server.connect("nemesis", direct=True) as conn:
            return conn.execute(STAMPS).fetchall()

    @fault(needs="clock", ahead=True, flows=True)
    def clock_ahead(self):
        self.shift(self.rng.choice(STEPS))

    @fault(needs="clock", flows=True)
    def clock_behind(self):
        self.shift(-self.rng.choice(STEPS))
