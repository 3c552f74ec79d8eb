# scenarios/s13_idle.py: nothing to do.
# SPDX-License-Identifier: PostgreSQL

import time

from harness import load, queues as q
from harness.cluster import Meter

NUMBER = 13
TITLE = "idle, 10 subscriptions, 100 waiting agents"
TARGET = "no WAL, < 1 % CPU"
UNIT = "% of one core"
METRIC = "cpu_percent"
QUICK, FULL = 25, 80


def run(ctx):
    r = ctx.result
    seconds = ctx.depth(10, 60)
    mine = ctx.install(ctx.ready([q.SENTINAI]))
    if not mine:
        return
    queue, database = mine[0], ctx.database(mine[0])
    ctx.cluster.sql(
        "select sentinai.subscribe('w' || i) from generate_series(1, 10) i",
        database)
    ctx.fill(queue, 1000)
    ctx.caught_up(database)
    agents = [load.start_drive(
        ctx.cluster, database, agents=10, seconds=seconds + 6,
        claim=f"select * from sentinai.claim('w{i}', 100)",
        finish="select sentinai.complete($1)",
        wait=f"call sentinai.wait_for_work('w{i}', '5 s', null)")
        for i in range(1, 11)]
    ctx.cluster.sql("vacuum analyze; checkpoint", database)
    time.sleep(4)
    meter = Meter(ctx.cluster)
    time.sleep(seconds)
    wal, cpu = meter.read()
    for process in agents:
        load.end_drive(process, 60)
    percent = 100 * cpu / seconds
    r.add("sentinai", queue.label, queue.role,
          {"cpu_percent": percent, "wal_total": wal})
    r.check("WAL bytes", wal, "<=", 0)
    r.check("processor time of the whole server, % of one core", percent,
            "<=", 1)
    r.notes.append(f"{seconds} s. Agents wait in wait_for_work() with a "
                   "timeout of 5 s and then claim again; that is in the "
                   "figure.")
    ctx.remove(mine)
