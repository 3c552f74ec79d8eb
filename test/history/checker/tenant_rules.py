# checker/tenant_rules.py: tenants beside each other.
# SPDX-License-Identifier: PostgreSQL
"""What is another's stays that, and whoever floods waits for himself.

A turn of a subscription is a batch that was handed out. How long an event of a
tenant that does not flood waits is counted in turns: those that began after its
round was known to be there and before it was handed out. So a machine that is
slow changes nothing. One lane is what a turn is sure to take from, so a round of
turns is as many as there are lanes. Who floods has something on the common
track until he is set apart, and that is another round."""

from bisect import bisect_left, bisect_right

from .model import NEVER

WAIT = 30 * 10**9               # for an answer to a tenant


def breaches(h, report):
    """What clients have seen of others, or could do to them."""
    if h.harm:
        report.counts["hostile calls"] = h.harm
    for record in h.breaches:
        report.add("breach", f"{record['who']}: {record['what']}: "
                   f"{record['said']}")


def turns(h, report):
    """No event of a tenant that is judged waits for more than its turns."""
    for worker, sub in h.run["subs"].items():
        if sub.get("turns"):
            waited = turns_waited(h, worker)
            report.counts["turns, at most"] = max((n for n, _ in waited),
                                                  default=0)
            for n, row in waited:
                if n > sub["turns"]:
                    report.add("starved", f"{worker}: {n} batches were handed "
                               "out while an event waited", row.id, row.uid)


def turns_waited(h, worker):
    """(turns, row) of each judged event that was sequenced."""
    claims = [c for c in h.claims if c.worker == worker]
    known, times = rounds_seen(h, claims)
    began = sorted(c.invoke_t for c in claims)
    given = {}
    for claim in claims:
        for event_id in claim.events:
            given.setdefault(event_id, claim.invoke_t)
    result = []
    for row in h.log:
        if row.sent is None or not h.is_judged(row) or \
                not h.worker_wants(worker, row) or row.id not in h.rounds:
            continue
        place = bisect_left(known, h.rounds[row.id])
        if place < len(known):
            end = given.get(row.id, NEVER)
            result.append((max(0, bisect_left(began, end) -
                               bisect_right(began, times[place])), row))
    return result


def rounds_seen(h, claims):
    """Rounds, rising, and when a batch first showed that each was there."""
    known, times = [], []
    for claim in claims:            # in the order of their answers
        newest = max((h.rounds.get(i, -1) for i in claim.events), default=-1)
        if not known or newest > known[-1]:
            known.append(newest)
            times.append(claim.t)
    return known, times


def answers(h, report):
    """Those who do not flood get their answers."""
    if h.run.get("judged") is None:
        return
    for txn in h.txns.values():
        if txn.end == "ok" and txn.end_t - txn.commit_t > WAIT:
            report.add("starved", f"{(txn.end_t - txn.commit_t) // 10**9} s "
                       "for a commit", txn.name)
        elif txn.sent and txn.end == "ok" and \
                txn.commit_t - txn.sent[0].t > WAIT:
            report.add("starved", f"{(txn.commit_t - txn.sent[0].t) // 10**9} "
                       "s to publish", txn.name)


RULES = [breaches, turns, answers]
