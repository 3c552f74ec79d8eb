# world/retention.py: crashes while retention drops partitions.
# SPDX-License-Identifier: PostgreSQL
"""Retention takes from the log what a history would be compared with, so this
is a story of its own: old events, all completed, and a crash in each of the
first drops. What is left of the interval goes afterwards, and nothing else."""

import re
import time
from types import SimpleNamespace

import psycopg

from .final import BAD_LINE
from .point_faults import Point
from .server import Server

CRASHES = 4                     # one for each of the tables
OLD, NEW = 500, 20
PLAIN = SimpleNamespace(kafka=False, mock=False, pgbouncer=False, window=100,
                        relay_workers=1, late=False)


def crash_in_retention(pg_config):
    """None, or what went wrong."""
    server = Server(pg_config, PLAIN, {"clock"})
    try:
        server.make()
        if server.missing:
            return f"cannot be tried: {server.missing}"
        return story(server)
    finally:
        server.close()


def story(server):
    with server.connect("retention", direct=True) as conn:
        conn.execute("select sentinai.subscribe('w', null, 'earliest')")
        publish(conn, OLD)
        work_off(conn, OLD)
        server.set_clock(600)
        wait_for(conn, "select clock_timestamp() > now() + '5 min'")
        publish(conn, NEW)
        conn.execute("alter system set sentinai.retention = '1min'")
        conn.execute("select pg_reload_conf()")
    for number in range(CRASHES):
        if not Point(server, "partition_drop").reached(30):
            return f"nothing was dropped after {number} crashes"
        time.sleep(0.2)
        if not server.wait_ready(time.monotonic() + 60):
            return "the server did not come back"
    with server.connect("retention", direct=True) as conn:
        wait_for(conn, "select count(*) = %s from sentinai.event_log", NEW)
        work_off(conn, NEW)
        left = leftovers(conn)
    with open(server.dir + "/server.log", encoding="utf-8") as file:
        bad = [line for line in file if BAD_LINE.search(line)]
    return left or (bad and bad[0].strip()) or None
