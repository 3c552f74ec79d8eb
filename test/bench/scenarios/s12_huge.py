# scenarios/s12_huge.py: one transaction of millions of events.
# SPDX-License-Identifier: PostgreSQL

import threading
import time

from harness import load, queues as q

NUMBER = 12
TITLE = "one transaction that publishes millions of events"
TARGET = ("publisher and sequencer ≤ 256 MB, others' events delivered "
          "meanwhile with p99 ≤ 1 s")
UNIT = "ms"
METRIC = "p50_ms"
QUICK, FULL = 12, 80
RATE = 200


class Memory:
    """The most private memory of the big publisher and of the sequencer."""

    def __init__(self, cluster, database):
        self.cluster = cluster
        self.session = cluster.session(database)
        self.most = {"publisher": 0, "sequencer": 0}
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.done.wait(0.2):
            for pid, kind in self.session.run(
                    "select pid, case when backend_type like 'sentinai %' "
                    "then 'sequencer' else 'publisher' end "
                    "from pg_stat_activity where datname = current_database() "
                    "and (backend_type like 'sentinai sequencer%' "
                    "or application_name = 'huge')"):
                try:
                    used = self.cluster.private_kb(pid) / 1024
                except OSError:
                    continue
                self.most[kind] = max(self.most[kind], used)

    def end(self):
        self.done.set()
        self.thread.join()
        self.session.close()
        return self.most


def run(ctx):
    r = ctx.result
    count = ctx.depth(100000, 1000000, 2000000)
    mine = ctx.install(ctx.ready([q.SENTINAI]))
    if not mine:
        return
    queue, database = mine[0], ctx.database(mine[0])
    ctx.cluster.sql("select sentinai.unsubscribe('bench'); select "
                    "sentinai.subscribe('bench', array['Measured'])", database)
    huge = ctx.cluster.session(database)
    huge.run("set application_name = 'huge'")
    memory = Memory(ctx.cluster, database)
    others = load.start_drive(
        ctx.cluster, database, publishers=2, rate=RATE, publish=queue.publish,
        agents=4, latency=True, seconds=ctx.depth(7, 60, 120), warmup=1,
        **queue.agent(100), **queue.idle)
    time.sleep(2)
    ctx.progress.step(f"12: {count} events in one transaction")
    began = time.monotonic()
    huge.run("select count(sentinai.publish('Bulk', 'T0', 'K' || i % 100000, "
             "jsonb_build_object('number', i, 'pad', repeat('x', 210)))) "
             f"from generate_series(1, {count}) i")
    took = time.monotonic() - began
    answer = load.end_drive(others, 300)
    done = ctx.caught_up(database)
    most = memory.end()
    huge.close()
    r.add("sentinai", f"{queue.label}, the others' events", queue,
          load.times({"per_s": answer["publish"]["per_s"],
                      "huge_seconds": took}, answer["latency"]))
    r.check("memory of the publisher, MB", most["publisher"], "<=", 256)
    r.check("memory of the sequencer, MB", most["sequencer"], "<=", 256)
    r.check("p99 of the others, ms", r.median("sentinai", "p99_ms"), "<=",
            1000)
    r.check("all sequenced", 1 if done else 0, ">=", 1)
    r.notes.append(f"{count:,} events in one statement took {took:.0f} s; "
                   f"meanwhile 2 publishers at {RATE}/s and 4 agents of "
                   "another event type. Memory is private memory "
                   "(RssAnon), sampled 5 times a second.")
    ctx.remove(mine)
