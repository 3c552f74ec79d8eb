# world/clock_faults.py: a wall clock that steps.
# SPDX-License-Identifier: PostgreSQL
"""Both there and back: each of these faults is a step in both directions."""

import time

from .faults import fault

STEPS = (20, 600, 7200)
SETTLE = 1.5                    # libfaketime looks at its file once a second


class ClockFaults:

    def shift(self, seconds):
        self.server.set_clock(seconds)
        try:
            time.sleep(SETTLE + self.between(5, 6))
        finally:
            self.server.set_clock(0)
        time.sleep(SETTLE)

    @fault(needs="clock", ahead=True, flows=True)
    def clock_ahead(self):
        self.shift(self.rng.choice(STEPS))

    @fault(needs="clock", flows=True)
    def clock_behind(self):
        self.shift(-self.rng.choice(STEPS))
