# checker/server_rules.py: the server, and whether everything came to an end.
# SPDX-License-Identifier: PostgreSQL
"""What the server's log says is judged when it is read (world/final.py)."""

from .model import NEVER

STALL = 3 * 10**9


def drains(h, report):
    """After heal the backlog was empty in time."""
    for drain in h.drains:
        if drain["left"]:
            report.add("stuck", f"{drain['what']}: {drain['left']} events left "
                       f"after {drain['seconds']:.0f} s")


def flows(h, report):
    """While a transaction of somebody else stays open, what commits after its
    beginning is handed out before its end."""
    firsts = {}
    handed = sorted(claim.t for claim in h.claims)
    for claim in h.claims:
        for event_id in claim.events:
            firsts.setdefault((claim.worker, event_id), claim.t)
    for start, end, name, facts in h.faults:
        if not facts.get("flows") or end - start < 2 * STALL:
            continue
        if any(end - STALL < t < end for t in handed):
            continue
        waits = [row for row in h.log if row.sent and not row.sent.due and
                 row.sent.txn.end == "ok" and
                 start < row.sent.txn.end_t < end - STALL and
                 any(h.worker_wants(w, row) and
                     firsts.get((w, row.id), NEVER) > end
                     for w in h.run["subs"])]
        if waits:
            report.add("stalled", f"{name}: nothing was handed out for "
                       f"{STALL // 10**9} s, {len(waits)} committed events "
                       "wait", waits[0].id)


def server(h, report):
    """Nothing but what the nemesis did."""
    for record in h.server_lines:
        report.add("server", record["line"])


def exits(h, report):
    """An agent that says all is well has nothing left."""
    for record in h.exits:
        if record["code"] == 0 and record["held"]:
            report.add("exit", f"{record['p']} ended with 0 and held "
                       f"{record['held']} events", record["p"])


def resolved(h, report):
    """What the server said about an unknown commit is what is there."""
    for txn in h.txns.values():
        if txn.resolved == "aborted" and txn.work:
            report.add("resolve", "pg_xact_status() said aborted, its row is "
                       "there", txn.name)


def views(h, report):
    """A view says what there is. Events about a subscription's own failures may
    count as lag until it has come to them."""
    for record in h.views:
        said, counted = list(record["said"]), record["counted"]
        said[0] -= min(max(said[0] - counted[0], 0), record["own"])
        if said != counted:
            report.add("views", f"{record['w']}: the view says "
                       f"{record['said']}, a count {counted}, and "
                       f"{record['own']} about its own failures")


RULES = [drains, flows, server, resolved, exits, views]
