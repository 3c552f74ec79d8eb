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
QUICK, FULL = 16, 80

# What the server writes by itself after any activity.
ROUTINE = ("Standby/RUNNING_XACTS", "XLOG/CHECKPOINT_ONLINE")


def position(ctx):
    return ctx.cluster.sql("select pg_current_wal_insert_lsn()").strip()


def written(ctx, start, end):
    """Kind, number and bytes of WAL records between two points."""
    rows = ctx.cluster.sql(f"""
        create extension if not exists pg_walinspect;
        select "resource_manager/record_type", count, combined_size::bigint
        from pg_get_wal_stats('{start}', '{end}', true)
        where count > 0 order by combined_size desc""")
    return [row.split("\t") for row in rows.splitlines()]


def run(ctx):
    r = ctx.result
    seconds = ctx.depth(5, 60)
    mine = ctx.install(ctx.ready([q.SENTINAI]))
    if not mine:
        return
    queue, database = mine[0], ctx.database(mine[0])
    ctx.cluster.sql(
        "select sentinai.subscribe('w' || i) from generate_series(1, 10) i",
        database)
    ctx.fill(queue, 1000)
    ctx.caught_up(database)
    # a new database's partitions, made once in each interval of them
    ctx.cluster.sql("select sentinai.maintain()", database)
    agents = [load.start_drive(
        ctx.cluster, database, agents=10, seconds=seconds + 6,
        claim=f"select * from sentinai.claim('w{i}', 100)",
        finish="select sentinai.complete($1)",
        wait=f"call sentinai.wait_for_work('w{i}', '5 s', null)")
        for i in range(1, 11)]
    ctx.cluster.set(autovacuum="off")
    ctx.cluster.sql("vacuum analyze; checkpoint", database)
    time.sleep(4)
    start = position(ctx)
    meter = Meter(ctx.cluster)
    time.sleep(seconds)
    end, (_, cpu) = position(ctx), meter.read()
    ctx.cluster.set(autovacuum=None)
    for process in agents:
        load.end_drive(process, 60)
    records = written(ctx, start, end) if start != end else []
    wal = sum(int(size) for kind, _, size in records if kind not in ROUTINE)
    percent = 100 * cpu / seconds
    r.add("sentinai", queue.label, queue,
          {"cpu_percent": percent, "wal_total": wal})
    r.check("WAL bytes, without PostgreSQL's own snapshots", wal, "<=", 0)
    r.check("processor time of the whole server, % of one core", percent,
            "<=", 1)
    if records:
        r.notes.append("WAL written: " + "; ".join(
            f"{count} × {kind}, {size} bytes" for kind, count, size in
            records[:6]))
    r.notes.append(f"{seconds} s, autovacuum off after a VACUUM. Agents wait in wait_for_work() with a "
                   "timeout of 5 s and then claim again; that is in the "
                   "figure.")
    ctx.remove(mine)
