# world/retention.py: crashes while retention drops partitions.
# SPDX-License-Identifier: PostgreSQL
"""In a run retention drops when there is something old; this is a story in which
there is: old events, all completed, and a crash in each of the first drops. The
rest of the old partitions goes afterwards, and nothing else."""

import contextlib
import time
from types import SimpleNamespace

import psycopg

from .final import BAD_LINE
from .point_faults import Point
from .server import Server

PATIENCE = 60
CRASHES = 4                     # one for each of the tables
OLD, NEW = 500, 20
PLAIN = SimpleNamespace(kafka=False, rabbitmq=False, mock=False,
                        pgbouncer=False, window=100, relay_workers=1,
                        late=False, retention=-1, crowded_at=1000)
PUBLISH = """
select sentinai.publish('A', 'acme', 'a' || i %% 50, '{}')
from generate_series(1, %s) i
"""
WORK_OFF = """
select sentinai.complete(token) from (
    select distinct token from sentinai.claim('w', 1000)) t
"""
COUNT = "select count(*) from sentinai."


class Wrong(Exception):
    """What did not go as it should."""


def crash_in_retention(pg_config):
    """None, or what went wrong."""
    server = Server(pg_config, PLAIN, {"clock"})
    try:
        server.make()
        if server.missing:
            return f"cannot be tried: {server.missing}"
        story(server)
        return None
    except Wrong as wrong:
        return str(wrong)
    finally:
        server.close()


def story(server):
    with server.connect("retention", direct=True) as conn:
        conn.execute("select sentinai.subscribe('w', null, 'earliest')")
        conn.execute(PUBLISH, (OLD,))
        work_off(conn, OLD)
        server.set_clock(600)
        until(conn, "select clock_timestamp() > max(occurred_at) + "
              "interval '5 min' from sentinai.event_log", True)
        conn.execute(PUBLISH, (NEW,))
        work_off(conn, OLD + NEW)
        conn.execute("alter system set sentinai.retention = '1min'")
        conn.execute("select pg_reload_conf()")
    for number in range(CRASHES):
        # at once: the sequencer drops, too, as soon as it is back
        point = Point(server, "partition_drop")
        with contextlib.suppress(psycopg.OperationalError):
            maintain(server)
        if not point.reached(PATIENCE):
            raise Wrong(f"nothing was dropped after {number} crashes")
    limit = time.monotonic() + PATIENCE
    while True:                 # the last crash may not be over
        try:
            maintain(server)
            break
        except psycopg.OperationalError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.1)
    with server.connect("retention", direct=True) as conn:
        until(conn, COUNT + "event_log", NEW)
        until(conn, COUNT + "event_processing", NEW)
        conn.execute(PUBLISH, (NEW,))
        work_off(conn, 2 * NEW)
    with open(server.dir + "/server.log", encoding="utf-8") as file:
        for line in file:
            if BAD_LINE.search(line):
                raise Wrong(line.strip())


def maintain(server):
    with server.connect("retention", direct=True) as conn:
        conn.execute("select sentinai.maintain()")


def work_off(conn, count):
    """Claim and complete until there is so much in the ledger."""
    limit = time.monotonic() + PATIENCE
    while conn.execute(COUNT + "event_processing").fetchone()[0] < count:
        conn.execute(WORK_OFF)
        if time.monotonic() > limit:
            raise Wrong(f"{count} events were not completed in time")


def until(conn, question, answer):
    limit = time.monotonic() + PATIENCE
    while True:
        [found] = conn.execute(question).fetchone()
        if found == answer:
            return
        if time.monotonic() > limit:
            raise Wrong(f"{question}: {found} instead of {answer}")
        time.sleep(0.1)
