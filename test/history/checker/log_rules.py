# checker/log_rules.py: what publishers did against what the log holds.
# SPDX-License-Identifier: PostgreSQL
"""No loss, no phantom, all or nothing, order per key."""

from collections import defaultdict

from .model import CONTROL_TYPES, NEVER


def count(h, report):
    report.counts["transactions"] = len(h.txns)
    report.counts["of them unknown"] = sum(
        t.end == "info" for t in h.txns.values())
    report.counts["lost as announced"] = sum(
        t.end == "ok" and h.work_read and not t.work for t in h.txns.values())
    report.counts["stored"] = len(h.log)
    report.counts["of them dropped"] = sum(row.gone for row in h.log)
    report.counts["claims"] = len(h.claims)
    report.counts["completed"] = sum(len(x) for x in h.ledger.values())
    report.counts["dead"] = sum(len(x) for x in h.dead.values())
    report.counts["Kafka records"] = len(h.kafka)
    report.counts["faults"] = len(h.faults)


def presence(h, report):
    """Every event of a committed transaction, once, and no other."""
    for event_id in h.double_log:
        report.add("double", "an id is in the log twice", event_id)
    uids = defaultdict(list)
    for row in h.log:
        if row.uid is not None:
            uids[row.uid].append(row)
        elif row.type not in CONTROL_TYPES and h.is_judged(row):
            report.add("phantom", f"{row.type} was never published", row.id)
    for uid, rows in uids.items():
        # who uses an idempotency key again after retention has forgotten it
        # publishes another event
        here = [r for r in rows if not r.gone]
        if len(rows) > 1 and (len(here) > 1 or len(h.sent.get(uid, ())) < 2):
            report.add("double", f"in the log {len(rows)} times", uid)
        if uid not in h.sent:
            report.add("phantom", "in the log, but nobody sent it", uid)
    for uid, attempts in h.sent.items():
        alive = [s for s in attempts if not s.undone]
        states = [h.committed(s.txn) for s in alive]
        if uid in uids:
            if not alive:
                report.add("aborted read", "stored, although its savepoint "
                           "was rolled back", uid, attempts[0].txn.name)
            elif True not in states and None not in states:
                report.add("aborted read", "stored, although no transaction "
                           "with it committed", uid, attempts[0].txn.name)
        elif True in states:
            report.add("lost", "committed, but not in the log", uid,
                       alive[states.index(True)].txn.name)


def atomicity(h, report):
    """The events of one transaction are stored together or not at all."""
    stored = {row.uid for row in h.log}
    for txn in h.txns.values():
        alive = [s for s in txn.sent
                 if not s.undone and len(h.sent[s.uid]) == 1]
        there = sum(s.uid in stored for s in alive)
        if 0 < there < len(alive):
            missing = next(s.uid for s in alive if s.uid not in stored)
            report.add("torn", f"{there} of {len(alive)} events stored",
                       txn.name, missing)
        if not h.work_read:
            continue
        if txn.work and there < len(alive):
            report.add("torn", "its own row is there, its events are not",
                       txn.name)
        if there and not txn.work:
            report.add("torn", "its events are there, its own row is not",
                       txn.name)
        if txn.end == "ok" and not txn.work and not h.may_be_lost(txn):
            report.add("lost", "the row of a committed transaction is gone",
                       txn.name)
        if txn.end == "fail" and txn.work:
            report.add("aborted read", "the row of a failed transaction is "
                       "there", txn.name)


def content(h, report):
    """A row says what was sent, for the tenant it was sent for."""
    for row in h.log:
        attempts = h.sent.get(row.uid)
        if not attempts:
            continue
        if row.sent is None:
            report.add("changed", f"stored with the transaction number "
                       f"{row.txid}, which none of its publishers had",
                       row.uid)
        sent = attempts[0]
        if (row.tenant, row.aggregate) != (sent.tenant, sent.aggregate):
            report.add("tenant", f"sent for {sent.tenant}:{sent.aggregate}, "
                       f"stored for {row.key}", row.uid)
        if (row.hash, row.seq, row.type) != (sent.hash, sent.seq, sent.type):
            report.add("changed", "stored otherwise than sent", row.uid)


def by_key(rows):
    keys = defaultdict(list)
    for row in rows:
        keys[row.key].append(row)
    return keys


def sequence(h, report):
    """The counters of serialised keys run 1 to n, in the order of the ids."""
    for key, rows in by_key(r for r in h.log if r.seq is not None).items():
        rows.sort(key=lambda r: r.id)
        for place, row in enumerate(rows, 1):
            if row.seq != place:
                report.add("sequence", f"event {place} of {key} has the "
                           f"number {row.seq}", row.uid)
                break


def order(h, report, name, rows, who):
    """Rows of one key as somebody saw them: counters rise, a session's own
    order is kept, and what was acknowledged before another was sent comes
    first. One witness a key is enough. Who asked for a later delivery gets no
    order with others."""
    rows = [r for r in rows if r.sent is None or r.sent.due is None]
    last = 0
    for row in rows:
        if row.seq is not None:
            if row.seq <= last:
                report.add(name, f"{who}: number {row.seq} of {row.key} came "
                           f"after {last}", row.uid)
                return
            last = row.seq
    places = {}
    for row in rows:
        if row.sent is None:
            continue
        txn = row.sent.txn
        if row.sent.index < places.get(txn, -1):
            report.add(name, f"{who}: the order within a transaction is "
                       f"turned, key {row.key}", row.uid, txn.name)
            return
        places[txn] = row.sent.index
    acknowledged, first = NEVER, None
    for row in reversed(rows):
        if row.sent is None:
            continue
        if acknowledged < row.sent.t:
            report.add(name, f"{who}: sent after the commit of an event of "
                       f"{row.key} was known, seen before it", row.uid,
                       first.uid)
            return
        if row.sent.txn.end == "ok" and row.sent.txn.end_t < acknowledged:
            acknowledged, first = row.sent.txn.end_t, row


def log_order(h, report):
    for rows in by_key(h.log).values():
        rows.sort(key=lambda r: r.id)
        order(h, report, "order", rows, "log")


RULES = [count, presence, atomicity, content, sequence, log_order]
