# checker/server_rules.py: the server, and whether everything came to an end.
# SPDX-License-Identifier: PostgreSQL
"""What the server's log says is judged when it is read (world/final.py)."""


def drains(h, report):
    """After heal the backlog was empty in time."""
    for drain in h.drains:
        if drain["left"]:
            report.add("stuck", f"{drain['what']}: {drain['left']} events left "
                       f"after {drain['seconds']:.0f} s")


def server(h, report):
    """Nothing but what the nemesis did."""
    for record in h.server_lines:
        report.add("server", record["line"])


def resolved(h, report):
    """What the server said about an unknown commit is what is there."""
    for txn in h.txns.values():
        if txn.resolved == "aborted" and txn.work:
            report.add("resolve", "pg_xact_status() said aborted, its row is "
                       "there", txn.name)


RULES = [drains, server, resolved]
