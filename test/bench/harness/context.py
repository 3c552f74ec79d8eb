# harness/context.py: what a scenario works with, and what it hands back.
# SPDX-License-Identifier: PostgreSQL

import os
import statistics
import threading
import time

from . import load
from .cluster import BenchError
from .queues import OURS


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


class Result:
    """All that one scenario found; it goes into the JSON as it is."""

    def __init__(self, module):
        self.number = module.NUMBER
        self.title = module.TITLE
        self.target = module.TARGET
        self.unit = getattr(module, "UNIT", "events/s")
        self.metric = getattr(module, "METRIC", "per_s")
        self.variants = {}
        self.missing = []
        self.checks = []
        self.notes = []
        self.series = {}

    def add(self, name, label, queue, figures):
        entry = self.variants.setdefault(
            name, {"label": label, "role": queue.role, "queue": queue.name,
                   "rounds": []})
        entry["rounds"].append(figures)

    def miss(self, label, why):
        why = " ".join(why.split())[:300]
        if (label, why) not in [(m["label"], m["why"]) for m in self.missing]:
            self.missing.append({"label": label, "why": why})

    def median(self, name, metric=None):
        entry = self.variants.get(name)
        if entry is None:
            return None
        return median([r.get(metric or self.metric) for r in entry["rounds"]])

    def mean(self, name, metric):
        entry = self.variants.get(name)
        if entry is None:
            return None
        return statistics.mean(r[metric] for r in entry["rounds"])

    def best(self, names, metric=None):
        found = [self.median(n, metric) for n in names]
        return max((f for f in found if f is not None), default=None)

    def check(self, what, value, relation, target):
        """A target with what was reached; None when it could not be told."""
        met = None
        if value is not None:
            met = value >= target if relation == ">=" else value <= target
        self.checks.append({"what": what, "value": value,
                            "relation": relation, "target": target,
                            "met": met})

    def ratio(self, what, ours, other, target):
        """Ours at least target times the other."""
        value = ours / other if ours is not None and other else None
        self.check(what, value, ">=", target)


class Sampler:
    """Dead tuples and size of a schema, once a second, in the background."""

    def __init__(self, cluster, database, schema, every=1.0):
        self.rows = []
        self.every = every
        self.session = cluster.session(database)
        self.sql = f"""
            select coalesce(sum(n_dead_tup), 0),
                coalesce(sum(pg_total_relation_size(relid)), 0)
            from pg_stat_all_tables where schemaname = '{schema}'"""
        self.done = threading.Event()
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.done.is_set():
            answer = self.session.run(self.sql)
            if answer and len(answer[0]) == 2:
                self.rows.append([round(time.monotonic() - self.began, 1),
                                  int(answer[0][0]), int(answer[0][1])])
            self.done.wait(self.every)

    def end(self):
        self.done.set()
        self.thread.join()
        self.session.close()
        return self.rows


class Context:
    """The cluster, the broker, the depth of the run, the scenario's result."""

    def __init__(self, cluster, kafka, progress, options):
        self.cluster = cluster
        self.kafka = kafka
        self.progress = progress
        self.quick = options.quick
        self.long = options.long
        self.result = None
        self.rounds = options.rounds or 3
        self.only = set(options.peers.split(",")) if options.peers else None

    def depth(self, quick, full, long=None):
        """A size or a time that depends on how long the run may take."""
        if self.quick:
            return quick
        return long if self.long and long is not None else full

    def unless_quick(self, *queues):
        """Those that a quick run has no time for; it names them."""
        if self.quick:
            for queue in queues:
                self.result.miss(queue.label, "left out by --quick")
            return []
        return list(queues)

    def begin(self, module):
        self.result = Result(module)

    def ready(self, queues, need=None):
        """Those that can take part; the others are named in the report."""
        found = []
        for queue in queues:
            if self.only and queue.role != OURS and queue.name not in self.only:
                self.result.miss(queue.label, "left out by --peers")
                continue
            why = queue.missing(self.cluster)
            if why is None and need is not None and not need(queue):
                continue
            if why is None:
                found.append(queue)
            else:
                self.result.miss(queue.label, why)
        return found

    def database(self, queue, suffix=""):
        return f"b{self.result.number}_{queue.name}{suffix}"

    def install(self, queues, suffix=""):
        """A fresh database for each; those that fail are named."""
        good = []
        for queue in queues:
            database = self.database(queue, suffix)
            self.progress.step(f"{self.result.number}: install {queue.label}")
            try:
                self.cluster.fresh_database(database)
                queue.install(self.cluster, database)
                good.append(queue)
            except (BenchError, RuntimeError) as error:
                self.result.miss(queue.label, f"install failed: {error}")
        return good

    def remove(self, queues, suffix=""):
        for queue in queues:
            self.cluster.drop_database(self.database(queue, suffix))

    def alternate(self, queues, measure, rounds=None, name=None):
        """Run measure(queue) for each in turn, in every round from another.

        What fails once is named and left out of the rounds that follow.
        """
        queues = list(queues)
        rounds = rounds or self.rounds
        for number in range(rounds):
            turn = number % max(1, len(queues))
            for queue in queues[turn:] + queues[:turn]:
                label = name(queue)[1] if name else queue.label
                key = name(queue)[0] if name else queue.name
                self.progress.step(f"{self.result.number}: {label}, round "
                                   f"{number + 1} of {rounds}")
                try:
                    figures = measure(queue)
                except (BenchError, RuntimeError) as error:
                    self.result.miss(label, f"failed: {error}")
                    queues.remove(queue)
                    continue
                self.result.add(key, label, queue, figures)
        return queues

    def metered(self, queue, part, suffix="", **settings):
        return load.metered(self.cluster, self.database(queue, suffix), part,
                            **settings)

    def fill(self, queue, count, suffix="", **settings):
        return load.fill(self.cluster, self.database(queue, suffix), queue,
                         count, **settings)

    def sampler(self, queue, suffix=""):
        return Sampler(self.cluster, self.database(queue, suffix),
                       queue.schema)

    def caught_up(self, database, seconds=120):
        """Wait until the sequencer has turned all commits into slices."""
        return self.cluster.until(
            database, "select unsequenced_commits = 0 from sentinai.stat_info",
            seconds)

    def scratch(self, name):
        return os.path.join(self.cluster.dir, name)
