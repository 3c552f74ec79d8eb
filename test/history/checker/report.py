# checker/report.py: violations and how they are told.
# SPDX-License-Identifier: PostgreSQL
"""A violation names its rule and what it is about, so that the history can be
searched for it."""

from collections import Counter

WITNESSES = 10
LINES = 14


class Report:
    """Verdict, counts and witnesses."""

    def __init__(self, history):
        self.history = history
        self.violations = []        # (rule, message, ids)
        self.counts = {}

    def add(self, rule, message, *ids):
        self.violations.append((rule, message,
                                [str(i) for i in ids if i is not None]))

    @property
    def ok(self):
        return not self.violations

    def rules(self):
        return Counter(rule for rule, _, _ in self.violations)

    def lines(self):
        """The report as text."""
        counts = " · ".join(f"{n} {c:,}" for n, c in self.counts.items())
        yield f"{self.history.operations:,} operations · {counts}"
        if self.ok:
            yield "verdict: nothing lost, nothing phantom, order kept"
            return
        rules = ", ".join(f"{r} {n:,}" for r, n in self.rules().most_common())
        yield f"verdict: {len(self.violations):,} VIOLATIONS: {rules}"

    def witnesses(self, records):
        """The first violations of every rule in turn, each with the records
        that mention what it is about."""
        chosen, seen = [], Counter()
        for violation in self.violations:
            seen[violation[0]] += 1
            chosen.append((seen[violation[0]], violation))
        chosen = [v for _, v in sorted(chosen, key=lambda c: c[0])][:WITNESSES]
        wanted = {i for _, _, ids in chosen for i in ids}
        found = {i: [] for i in wanted}
        for record in records:
            for i in wanted & set(mentioned(record)):
                found[i].append(record)
        for number, (rule, message, ids) in enumerate(chosen, 1):
            yield f"--- witness {number}: {rule}: {message}"
            for i in ids:
                yield f"    {i}:"
                lines = found[i]
                if len(lines) > LINES:
                    lines = lines[:LINES // 2] + lines[-LINES // 2:]
                for record in lines:
                    yield f"      {shorten(record)}"


def mentioned(record):
    """Every name in a record that a violation may be about."""
    for name in ("txn", "token", "id", "uid", "event", "key"):
        if record.get(name) is not None:
            yield str(record[name])
    for event in record.get("events") or ():
        yield event[0] if isinstance(event, list) else event
    for uid in record.get("uids") or ():
        yield uid


def shorten(record):
    text = " ".join(f"{k}={v}" for k, v in record.items()
                    if k not in ("events", "uids"))
    events = record.get("events")
    return text[:300] + (f" ({len(events)} events)" if events else "")
