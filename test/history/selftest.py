#!/usr/bin/env python3
# selftest.py: is the checker right?
# SPDX-License-Identifier: PostgreSQL
"""Every mutant history is flagged by its rule, every legal one passes, for
seeds that hypothesis chooses; and the cost of an operation does not grow.
Prints TAP."""

import sys
import time
from types import SimpleNamespace

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import checker
from mutants import LEGAL, MUTANTS, make
from simulate import legal
from world.publisher import Publisher

EXAMPLES = 12
LONG = 20_000    # transactions of a long history

searched = settings(max_examples=EXAMPLES, deadline=None, derandomize=True,
                    database=None, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 10**9)


class Tap:
    """Numbers results and remembers the bad ones."""

    def __init__(self):
        self.number = self.failed = 0

    def say(self, good, what, detail=""):
        self.number += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.number} - {what}")
        for line in detail.splitlines():
            print(f"# {line}")

    def run(self, what, function):
        try:
            function()
            self.say(True, what)
        except AssertionError as error:
            self.say(False, what, str(error))


def flagged(rule, function):
    @searched
    @given(seeds)
    def test(seed):
        report = checker.check_records(make(function, seed))
        assert rule in report.rules(), \
            f"seed {seed}: expected {rule}, got {dict(report.rules())}"
    return test


def passes(function):
    @searched
    @given(seeds)
    def test(seed):
        report = checker.check_records(function(seed))
        assert report.ok, f"seed {seed}: {report.violations[:3]}"
    return test


class Refusing(Publisher):
    """A session whose server has no room for a commit record."""

    def ask(self, sql, *args):
        if sql.startswith("commit"):
            raise psycopg.errors.DiskFull()


def refused_commit():
    """A COMMIT PREPARED without room is no rollback: it comes again."""
    said = []
    world = SimpleNamespace(
        seed=1, recorder=SimpleNamespace(add=lambda **r: said.append(r)),
        server=SimpleNamespace(disks={"data": None}),
        unknown=lambda name, xid: None, idempotent=[])
    publisher = Refusing(world, "p1")
    while not publisher.unfinished:
        said.clear()
        publisher.prepare("x1", 1)
    ends = [r["ph"] for r in said if r["f"] == "commit"]
    assert ends == ["invoke", "info"], said
    assert publisher.unfinished == ["x1/commit"], publisher.unfinished


def cost(transactions):
    """CPU seconds to check an operation, how many there were, and whether all is well."""
    records = legal(1, transactions=transactions)
    start = time.process_time()
    report = checker.check_records(records)
    done = report.history.operations
    return (time.process_time() - start) / done, done, report.ok


def growth(tap):
    """An operation costs the same in a long history: an hour's can be checked."""
    short, _, _ = cost(LONG // 8)
    long, done, ok = cost(LONG)
    tap.say(ok and long < 5 * short,
            "what an operation costs does not grow with the history",
            f"{short * 1e6:.0f} and {long * 1e6:.0f} us, of {done:,}")


def main():
    tap = Tap()
    for name, (rule, function) in MUTANTS.items():
        tap.run(f"flagged: {name}", flagged(rule, function))
    for name, function in LEGAL.items():
        tap.run(f"passes: {name}", passes(function))
    tap.run("a refused COMMIT PREPARED is no rollback", refused_commit)
    growth(tap)
    print(f"1..{tap.number}")
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
