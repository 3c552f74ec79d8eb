# checker/kafka_rules.py: the topics against the log.
# SPDX-License-Identifier: PostgreSQL
"""Only for runs that read a broker's topics to their end."""

from collections import defaultdict

from .log_rules import order

EARLY = 5                       # ms between the clocks of two processes
LATER = 20                      # the same, for deliver_at


def records(h, report):
    """What is in a topic is in the log, with its key and its content."""
    for r in h.kafka:
        stored = h.stored.get(r["id"])
        if stored is None:
            attempts = h.sent.get(r["uid"])
            report.add("aborted read" if attempts else "phantom",
                       "in a topic, but not in the log", r["id"], r["uid"])
            continue
        if r["key"] != stored.key:
            report.add("tenant", f"the record's key is {r['key']}, the "
                       f"event's is {stored.key}", r["id"])
        if (r["h"], r["uid"]) != (stored.hash, stored.uid):
            report.add("changed", "the record is not what was stored", r["id"])
        if stored.sent is not None and h.run.get("append_time", True):
            check_early(h, report, r, stored.sent)


def check_early(h, report, r, sent):
    """Sent before the transaction can have committed, or before its time?"""
    txn = sent.txn
    if sent.due and r["ts"] + LATER < sent.due and \
            not any(f[3].get("ahead") for f in h.faults):
        report.add("early", f"in a topic {sent.due - r['ts']} ms before "
                   "deliver_at", r["id"], txn.name)
    if txn.commit_t is None:
        return
    wall = h.wall(txn.commit_t)
    if r["ts"] + EARLY < wall:
        report.add("early", f"in a topic {wall - r['ts']} ms before its "
                   "commit", r["id"], txn.name)


def nothing_lost(h, report):
    """After drain every stored event is in a topic, or given up."""
    if not h.kafka_read:
        return
    there = {r["id"] for r in h.kafka}
    dead = h.dead.get(h.run.get("relay", "relay"), {})
    for row in h.log:
        if row.id not in there and row.id not in dead:
            report.add("lost", "stored, but in no topic", row.id, row.uid)


def one_partition(h, report):
    """A key lives in one partition of a topic."""
    places = {}
    moved = set()
    for r in h.kafka:
        spot = r["topic"], r["key"]
        if places.setdefault(spot, r["part"]) != r["part"] and \
                spot not in moved:
            moved.add(spot)
            report.add("partition", f"{r['key']} is in partitions "
                       f"{places[spot]} and {r['part']}", r["key"], r["id"])


def kafka_order(h, report):
    """First copies follow the order of the key."""
    keys = defaultdict(list)
    seen = set()
    for r in sorted(h.kafka, key=lambda r: (r["topic"], r["part"], r["off"])):
        if r["id"] not in seen and r["id"] in h.stored:
            seen.add(r["id"])
            keys[r["topic"], r["key"]].append(h.stored[r["id"]])
    for rows in keys.values():
        order(h, report, "order", rows, "Kafka")


def duplicates(h, report):
    """Copies: at most a window for each time that a relay process, or its
    producer, started over; the first start of each has nothing to repeat. A
    broker that does not know a producer's retries may add a window for each
    fault that causes them. None is farther from the first than that. With dedupe
    only a topic that could not be read back is a reason, and the relay says so."""
    starts = max(h.relay_starts - h.run.get("relay_workers", 1), 0)
    if h.run.get("dedupe"):
        starts = h.relay_doubts
    resends = sum(bool(f[3].get("resend")) for f in h.faults)
    limit = h.run.get("window", 0) * (starts + resends)
    first, copies = {}, 0
    for r in sorted(h.kafka, key=lambda r: (r["topic"], r["part"], r["off"])):
        if r["id"] not in first:
            first[r["id"]] = r["off"]
            continue
        copies += 1
        if r["off"] - first[r["id"]] > 2 * limit:
            report.add("duplicates", f"a copy {r['off'] - first[r['id']]} "
                       "records after the first", r["id"])
    report.counts["Kafka copies"] = copies
    report.counts["relay starts"] = h.relay_starts
    if copies > limit:
        report.add("duplicates", f"{copies} copies; {starts} new starts of a "
                   f"relay and {resends} faults of its broker allow {limit}")


RULES = [records, nothing_lost, one_partition, kafka_order, duplicates]
