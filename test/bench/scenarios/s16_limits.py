# scenarios/s16_limits.py: what it costs that a tenant has limits.
# SPDX-License-Identifier: PostgreSQL
"""The same events are published in a database without limits and in others
where their tenant has one or two, that he never reaches: one event in each
transaction, and a thousand. Measured as scenario 15 does."""

from scenarios import s15_types as alike
from harness import queues as q

NUMBER = 16
TITLE = "a tenant with limits"
TARGET = "≤ 1 µs more for an event alone and in a batch; nothing without a limit"
UNIT, METRIC = "µs of processor time per event", "cpu_us"
QUICK, FULL = 40, 120

NONE, TWIN, OTHERS, ONE, BOTH = alike.NONE, "twin", "others", "one", "both"
LABELS = {NONE: "no limit is set", TWIN: "the same once more",
          OTHERS: "limits of kinds that applications count",
          ONE: "a limit of events", BOTH: "limits of events and bytes"}
KINDS = {NONE: (), TWIN: (), OTHERS: ("api_requests", "reports"),
         ONE: ("events_published",), BOTH: ("events_published", "events_bytes")}


class Limits(q.SentinAI):
    """A database where all tenants have limits of some kinds."""

    def __init__(self, name):
        self.name, self.label = name, LABELS[name]

    def fill(self, text, **more):
        return text.format(type="Measured", payload=alike.PAYLOAD, **more)

    def subscribe(self, cluster, database):
        for kind in KINDS[self.name]:
            cluster.sql(f"select sentinai.set_limit('*', '{kind}', "
                        "1000000000000, '1 second')", database)
        cluster.sql(self.fill(alike.FIXED), database)


def run(ctx):
    queues = ctx.install(ctx.ready([Limits(name) for name in KINDS]))
    publishers = [alike.Publisher(ctx, queue) for queue in queues]
    alike.rounds(ctx, publishers)
    for publisher in publishers:
        publisher.session.close()
    r = ctx.result
    for form in alike.FORMS:
        noise = alike.differences(r, form, TWIN, NONE)
        if noise[0] is not None:
            r.notes.append(f"{form}: two equal databases differ by "
                           f"{noise[0]:+.2f} ±{noise[1]:.2f} µs.")
        for name in (OTHERS, ONE, BOTH):
            value, spread = alike.differences(r, form, name, NONE)
            if value is None:
                continue
            r.notes.append(f"{form}: {LABELS[name]}: {value:+.2f} "
                           f"±{spread:.2f} µs.")
            if name != OTHERS:
                r.check(f"{form}: {LABELS[name]}, µs more", value, "<=", 1)
            elif noise[0] is not None:
                r.check(f"{form}: {LABELS[name]}, µs more", value, "<=",
                        max(0.1, 3 * (spread + noise[1])))
    if not ctx.quick:
        alike.count(ctx, [queue for queue in queues if queue.name != TWIN])
    ctx.remove(queues)
