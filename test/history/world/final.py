# world/final.py: what is there after heal and drain.
# SPDX-License-Identifier: PostgreSQL
"""Waits until nothing is left to do and reads every table and topic that the
checker compares."""

import json
import re
import subprocess
import time

from .recorder import digest
from .broker import CONTROL_TOPIC, topic_of

CONTROL = ("RetryScheduled", "DeadLettered")

# Partitions of the log whose stretch of time retention has not begun to drop:
# the ledger's goes before the log's.
WHOLE = """
select l.oid from pg_class l, pg_inherits i
where i.inhparent = 'sentinai_internal.event_log'::regclass and l.oid = i.inhrelid
    and exists (select from pg_class p, pg_inherits j
        where j.inhparent = 'sentinai_internal.event_processing'::regclass
            and p.oid = j.inhrelid and pg_get_expr(p.relpartbound, p.oid) =
                pg_get_expr(l.relpartbound, l.oid))
"""

# What waits for a retry may have outlived its partition, and counts then, too.
LEFT = f"""
select count(*) + (select count(*) from sentinai_internal.event_retry r
        join sentinai_internal.subscription s using (sub_id)
        where s.worker_type = %(w)s and not r.dead)
from sentinai_internal.event_log e
where e.tableoid in ({WHOLE}) and (%(types)s::text[] is null or event_type = any (%(types)s))
    and (%(tenants)s::text[] is null or tenant_id = any (%(tenants)s))
    and not (event_type in ('RetryScheduled', 'DeadLettered')
        and payload->>'worker_type' = %(w)s)
    and not exists (select from sentinai.event_processing p
        where p.event_id = e.event_id and p.worker_type = %(w)s)
    and not exists (select from sentinai.dead_letter d
        where d.event_id = e.event_id and d.worker_type = %(w)s)
"""

READS = {
    "log": f"""
        select event_id::text, txid, tenant_id, aggregate_id, event_type,
            case when %(judged)s::text[] is null or tenant_id = any (%(judged)s)
                then payload else '{{}}' end, tableoid not in ({WHOLE})
        from sentinai_internal.event_log
        union all
        select id::text, txid, ten, agg, type, payload, true from app.kept k
        where not exists (select from sentinai.event_log e
            where e.event_id = k.id)""",
    "ledger": ("select worker_type, event_id::text, attempt from "
               "sentinai.event_processing where status = 'completed'"),
    "dead": ("select worker_type, event_id::text, attempts from "
             "sentinai.dead_letter"),
    "effect": "select w, id::text from app.effect",
    "work": "select txn from app.work",
}

LEAST_RATE = 100                # events a second that a backlog goes down by

BAD_LINE = re.compile(r"PANIC|TRAP:|XX000|XX001|XX002|stuck spinlock")
# The disk of pg_wal was full: our own doing, and so is the abort that follows.
NO_SPACE = re.compile(r"\[(\d+)\] \w+ .*PANIC: .*No space left on device")
# What PostgreSQL itself says, with no code, when its cache of the catalog does
# not fit on a full disk.
NO_CACHE = re.compile(r"XX000 +FATAL: +could not write init file$")
START = re.compile(r"sentinai relay: START:")
DOUBT = re.compile(r"events may be sent twice")
KILLED = re.compile(r"\(PID (\d+)\) was terminated by signal (\d+)")


def drain(world, seconds, patience):
    """Until every subscription, and the topic, has everything, in time for what
    there was to do; or nothing has moved for as long as we have patience."""
    start = moved = time.monotonic()
    limit = start + seconds
    waiting = {w: None for w in world.subs}
    if world.server.broker:
        waiting["kafka"] = None
    with world.server.connect("drain", direct=True) as conn:
        while waiting and time.monotonic() < min(limit, moved + patience):
            before = dict(waiting)
            for what in before:
                waiting[what] = left(world, conn, what)
                if before[what] is None:
                    limit = max(limit, start + seconds +
                                waiting[what] / LEAST_RATE)
                if waiting[what] == 0:
                    del waiting[what]
                    report(world, what, 0, start)
            if waiting != before:
                moved = time.monotonic()
            time.sleep(0.3)
    for what, count in waiting.items():
        report(world, what, count, start)


def report(world, what, count, start):
    world.recorder.add(f="drain", what=what, left=count,
                       seconds=time.monotonic() - start)


def left(world, conn, what):
    if what == "kafka":
        lag = conn.execute("select sum(lag_events)::bigint from "
                           "sentinai.stat_relay").fetchone()[0]
        if lag:                 # too soon to read the whole topic
            return lag
        there = {r["id"] for r in topics(world)}
        dead = {r[0] for r in conn.execute(
            "select event_id::text from sentinai.dead_letter where "
            "worker_type = 'relay'")}
        return sum(r[0] not in there and r[0] not in dead for r in conn.execute(
            "select event_id::text from sentinai.event_log"))
    sub = world.subs[what]
    return conn.execute(LEFT, {
        "w": what, "types": sub["types"],
        "tenants": sub.get("tenants") or world.judged}).fetchone()[0]


def topics(world):
    """Every record of the topics, as far as they go now."""
    for name in [topic_of(kind) for kind in sorted(world.kinds)] + [CONTROL_TOPIC]:
        yield from topic(world.server, name)


def topic(server, name):
    for record in server.broker.records(name):
        about = dict(record)
        payload = about.pop("payload")
        yield {"f": "kafka", "topic": name, **about, "uid": payload.get("u"),
               "h": digest(payload)}


def read(world):
    """All of it into the history."""
    add = world.recorder.add
    with world.server.connect("final", direct=True) as conn:
        conn.execute("begin")       # nothing is dropped between two reads
        conn.execute("lock table sentinai_internal.event_log, "
                     "sentinai_internal.event_processing in access share mode")
        for row in conn.execute(READS["log"], {"judged": world.judged}):
            add(**log_row(*row))
        for kind in ("ledger", "dead"):
            for worker, event_id, n in conn.execute(READS[kind]):
                add(f=kind, w=worker, id=event_id, n=n)
        for worker, event_id in conn.execute(READS["effect"]):
            add(f="effect", w=worker, id=event_id)
        for [name] in conn.execute(READS["work"]):
            add(f="work", txn=name)
    add(f="read", what="work")
    if world.server.broker:
        for record in topics(world):
            add(**record)
        add(f="read", what="kafka")
    read_server_log(world)


def log_row(event_id, txid, tenant, aggregate, type_, payload, gone):
    row = {"f": "log", "id": event_id, "txid": txid, "ten": tenant,
           "agg": aggregate, "type": type_, "uid": payload.get("u"),
           "seq": payload.get("s"), "h": digest(payload)}
    if gone:
        row["gone"] = True
    if type_ in CONTROL and "worker_type" in payload:
        row["about"] = [payload["worker_type"], payload["event_id"],
                        payload["attempt"]]
    return row


def read_server_log(world):
    """Lines that no fault of ours explains, how often a relay began to send from
    what was stored or noted, and how often it could not read a topic back."""
    starts = doubts = 0
    with open(world.server.dir + "/server.log", encoding="utf-8",
              errors="replace") as file:
        for line in file:
            panic = world.server.disks and NO_SPACE.search(line)
            if panic:
                world.killed.add(int(panic[1]))
                continue
            if world.server.disks and NO_CACHE.search(line):
                continue
            starts += START.search(line) is not None
            doubts += DOUBT.search(line) is not None
            killed = KILLED.search(line)
            if BAD_LINE.search(line) or (
                    killed and int(killed[1]) not in world.killed and
                    killed[2] not in ("3", "9")):
                world.recorder.add(f="server", line=line.strip()[:300])
    if world.server.broker:
        world.recorder.add(f="relay", starts=starts, doubts=doubts)
