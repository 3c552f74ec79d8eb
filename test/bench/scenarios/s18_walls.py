# scenarios/s18_walls.py: what isolation, limits and redaction cost together.
# SPDX-License-Identifier: PostgreSQL
"""The same events are published by a role that is no superuser, in a database
where nothing is asked and in others where its grants, its tenant's limits and
five rules are: one event in each transaction, and a thousand. Of the five rules
four change something, among them one with a hash. Measured as scenario 15
does; the ratio is of the processor times of one round."""

import os
import shutil
import statistics

from scenarios import s15_types as alike
from harness import instructions, queues as q
from harness.cluster import BenchError, shell

NUMBER = 18
TITLE = "isolation, limits and five rules of redaction"
TARGET = ("all three at least 0.85 of the events/s without; five rules "
          "≤ 2 µs; rules that concern nothing next to nothing")
UNIT, METRIC = "µs of processor time per event", "cpu_us"
QUICK, FULL = 60, 180

NONE, TWIN, ISOLATION, LIMITS, MISS, RULES, ALL = (
    alike.NONE, "twin", "isolation", "limits", "miss", "rules", "all_three")
LABELS = {NONE: "nothing is on", TWIN: "the same once more",
          ISOLATION: "isolation", LIMITS: "limits of events and bytes",
          MISS: "5 rules that concern nothing", RULES: "5 rules",
          ALL: "isolation, limits and 5 rules"}
ROLE = "bench_publisher"
RULES_OF = {
    RULES: (("$.order", "mask"), ("$.carrier", "replace"), ("$.ref", "hash"),
            ("$.note", "remove"), ("$..password", "remove")),
    MISS: (("$.iban", "mask"), ("$.customer", "replace"), ("$.phone", "hash"),
           ("$.mail", "remove"), ("$.password", "remove"))}


class Walls(q.SentinAI):
    """A database with some of the three."""

    def __init__(self, name):
        self.name, self.label = name, LABELS[name]

    def fill(self, text, **more):
        return text.format(type="Measured", payload=alike.PAYLOAD, **more)

    def subscribe(self, cluster, database):
        cluster.sql(self.fill(alike.FIXED), database)
        cluster.sql(f"""
            do $$ begin create role {ROLE};
            exception when duplicate_object then null; end $$;
            grant usage on schema sentinai to {ROLE};
            grant execute on all functions in schema sentinai to {ROLE};
            grant select on fixed to {ROLE};
            select sentinai.grant_tenant('{ROLE}', 'T1', 'publish')""",
                    database)
        if self.name in (ISOLATION, ALL):
            cluster.sql(f'alter database "{database}" '
                        "set sentinai.tenant_isolation = on")
        if self.name in (LIMITS, ALL):
            for kind in ("events_published", "events_bytes"):
                cluster.sql(f"select sentinai.set_limit('T1', '{kind}', "
                            "1000000000000, '1 second')", database)
        rules = RULES_OF.get(RULES if self.name == ALL else self.name, ())
        for path, method in rules:
            cluster.sql("select sentinai.set_redaction('T1', '*', "
                        f"'{path}', '{method}')", database)


class Publisher(alike.Publisher):
    """The same as a role that has to be granted what it does."""

    def __init__(self, ctx, queue):
        super().__init__(ctx, queue)
        self.session.run(f"set role {ROLE}")


def give_key(ctx):
    """A key for hashes, which only the server can read."""
    folder = ctx.scratch("secrets")
    os.makedirs(folder, exist_ok=True)
    name = os.path.join(folder, "redaction.key")
    with open(name, "w", encoding="ascii") as file:
        file.write("the key of the benchmark, long enough\n")
    os.chmod(name, 0o600)
    if os.getuid() == 0:
        shutil.chown(name, "postgres")
    os.chmod(folder, 0o755)
    shell('sn_append "$1"', os.path.join(ctx.cluster.dir,
                                         "data/postgresql.conf"),
          input=f"sentinai.secret_directory = '{folder}'\n"
                f"sentinai.redaction_key_file = '{name}'\n")
    ctx.cluster.stop()
    ctx.cluster.start()


def ratios(result, form, name):
    """Of nothing on to this, round by round: the median and the spread."""
    rounds = [result.variants.get(f"{form}_{n}", {"rounds": []})["rounds"]
              for n in (NONE, name)]
    found = [a["cpu_us"] / b["cpu_us"] for a, b in zip(*rounds)]
    if not found:
        return None, None
    middle = statistics.median(found)
    return middle, statistics.median(abs(f - middle) for f in found)


def tell(result, form):
    """The figures of one way to publish."""
    ratio, _ = ratios(result, form, ALL)
    result.check(f"{form}: all three, of nothing on", ratio, ">=", 0.85)
    value, _ = alike.differences(result, form, RULES, NONE)
    result.check(f"{form}: 5 rules, µs more", value, "<=", 2)
    for name in (TWIN, ISOLATION, LIMITS, MISS, RULES, ALL):
        ratio, away = ratios(result, form, name)
        value, spread = alike.differences(result, form, name, NONE)
        if None not in (ratio, value):
            result.notes.append(
                f"{form}: {LABELS[name]}: {ratio:.2f} ±{away:.2f} of nothing "
                f"on, {value:+.2f} ±{spread:.2f} µs.")


def count(ctx, queues):
    """Instructions, as scenario 15 counts them, by that role. There the
    processor has no instructions for SHA-256, so a hash counts 7,000 more."""
    why = instructions.missing()
    if why:
        ctx.result.miss("instructions", why)
        return
    ctx.cluster.stop()
    try:
        for form, n in (("alone", 200), ("batch", 2000)):
            for queue in queues:
                ctx.progress.step(f"{NUMBER}: instructions, {form}, "
                                  f"{queue.label}")
                line = " ".join(queue.fill(alike.FORMS[form][0], n=n).split())
                value = instructions.of(ctx.cluster, ctx.database(queue),
                                        f"set role {ROLE}", line, 1) / n
                base = value if queue.name == NONE else base
                ctx.result.notes.append(
                    f"Instructions per event, {form}: {queue.label}: "
                    f"{value:,.0f}, that is {base / value:.2f} of nothing on.")
    except BenchError as error:
        ctx.result.miss("instructions", str(error))
    finally:
        ctx.cluster.start()


def run(ctx):
    give_key(ctx)
    queues = ctx.install(ctx.ready([Walls(name) for name in LABELS]))
    publishers = [Publisher(ctx, queue) for queue in queues]
    alike.rounds(ctx, publishers)
    for publisher in publishers:
        publisher.session.close()
    for form in alike.FORMS:
        tell(ctx.result, form)
    if not ctx.quick:
        count(ctx, [queue for queue in queues if queue.name != TWIN])
    ctx.remove(queues)
