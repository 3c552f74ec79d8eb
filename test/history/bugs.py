#!/usr/bin/env python3
# bugs.py: does the checker find a product that is wrong?
# SPDX-License-Identifier: PostgreSQL
"""Builds the project with one of the bugs of bugs/*.patch at a time, runs the
workload with the faults that the bug needs, the tenants who do harm, or the
platform's flow, and demands that the checker finds it, by a rule that is about
it, within five minutes. Every such run is made with the project as it is, too,
and must be quiet.

All of it happens in a folder of its own (private.py)."""

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import time

import child
from private import ROOT, Private

PATCHES = os.path.join(ROOT, "test/history/bugs")
LIMIT = 300                     # seconds in which a bug must be found

# name: (arguments of run.py, or of a program that they begin with, and the rules
# that may find it)
CALM = "--seconds 10 --lease 0.6 --faults none"
HARM = "hostile.py --seconds 25"
FLOW = "flow.py --seconds 12"
CRASHES = "--faults immediate,postmaster --interval"
BUGS = {
    "no_fence": (CALM, {"fence", "twice", "count", "overlap"}),
    "id_cursor": (CALM, {"lost", "stuck"}),
    "slices_lost": (f"--seconds 10 {CRASHES} 3", {"lost", "stuck"}),
    "lease_clock": ("--seconds 12 --interval 1 --faults clock_ahead",
                    {"fence", "overlap", "passed"}),
    "dead_uncounted": (CALM, {"views"}),
    "exit_zero": ("--seconds 10 --interval 1 --faults quit", {"exit"}),
    "mark_before_ack": ("--seconds 12 --interval 1 --mock --rate 1000 "
                        "--faults outage", {"lost"}),
    "resend": ("--seconds 12 --interval 1 --mock --rate 1000 "
               "--faults broker_down", {"order"}),
    "trust_implicit_ack": ("--seconds 12 --interval 1 --mock --in-flight 5 "
                           "--faults broker_newcomer", {"lost"}),
    "no_flush": (f"--seconds 12 --mock --async {CRASHES} 4",
                 {"aborted read"}),
    "tenant_before": (HARM, {"breach"}),
    "one_track": (HARM, {"starved"}),
    "track_overtakes": (CALM, {"passed", "overlap", "order"}),
    "retry_of_any": (CALM, {"overlap", "passed", "twice", "fence"}),
    "flow_lost": (FLOW, {"lost"}),
    "flow_twice": (FLOW, {"twice"}),
    "flow_undo": (FLOW, {"order"}),
    "flow_late_answer": (FLOW, {"order", "twice"}),
    "flow_unlocked": (FLOW, {"projection", "rebuilt"}),
    "flow_updates": (FLOW, {"rebuilt"}),
}
VERDICT = re.compile(r"VIOLATIONS: (.*)")
KEPT = re.compile(r"^kept: (\S+)", re.MULTILINE)


class Harness:
    """Runs and their results, in the form of TAP."""

    def __init__(self, private, options):
        self.private = private
        self.options = options
        self.number = self.failed = 0
        self.start = time.monotonic()

    def tell(self, ok, text):
        self.number += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.number} - {text}", flush=True)

    def run(self, arguments, seed):
        """One run: the rules that were broken, seconds, what was said."""
        start = time.monotonic()
        words = arguments.split()
        program = words.pop(0) if words[0].endswith(".py") else "run.py"
        done = child.run(
            [sys.executable, f"test/history/{program}", *words,
             "--patience", "15", "--seed", str(seed)], text=True,
            cwd=self.private.tree, env=self.private.environment(),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        seconds = time.monotonic() - start
        kept = KEPT.search(done.stdout)
        if kept and not self.options.keep:
            shutil.rmtree(kept[1], ignore_errors=True)
        found = VERDICT.search(done.stdout)
        if done.returncode == 0:
            rules = []
        elif found:
            rules = [r.rpartition(" ")[0] for r in found[1].split(", ")]
        else:
            rules = ["no verdict"]
        return rules, seconds, done.stdout

    def quiet(self, arguments):
        """The same without a bug."""
        rules, seconds, said = self.run(arguments, self.options.seed)
        self.tell(not rules, f"no bug, {arguments}: "
                  f"{', '.join(rules) or 'quiet'} ({seconds:.0f} s)")
        if rules:
            self.comment(said)

    def found(self, bug, arguments, about):
        """With the bug, until it is found."""
        start = time.monotonic()
        seed, said = self.options.seed, ""
        while time.monotonic() - start < LIMIT:
            rules, _, said = self.run(arguments, seed)
            if about & set(rules):
                self.tell(True, f"{bug}: {', '.join(rules)} "
                          f"({time.monotonic() - start:.0f} s, seed {seed})")
                return
            seed += 1
        self.tell(False, f"{bug} was not found in {LIMIT} s")
        self.comment(said)

    def comment(self, text):
        print("".join(f"# {line}\n" for line in text.splitlines()[-40:]),
              flush=True)

    def traceless(self):
        """A normal build has no trace of fault points."""
        with open(self.private.library(), "rb") as file:
            self.tell(b"sn_fault" not in file.read(),
                      "a normal build has no fault points")

    def all(self, names):
        self.private.build()
        self.traceless()
        if not self.options.bugs_only:
            for arguments in dict.fromkeys(BUGS[n][0] for n in names):
                self.quiet(arguments)
        for name in names:
            patch = os.path.join(PATCHES, name + ".patch")
            self.private.patch(patch)
            self.private.build()
            self.found(name, *BUGS[name])
            self.private.patch(patch, "--reverse")
        print(f"1..{self.number}\n# {time.monotonic() - self.start:.0f} s")
        return 1 if self.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bugs", nargs="*", metavar="BUG",
                        help="of " + ", ".join(BUGS) + " (all)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bugs-only", action="store_true",
                        help="leave out the runs without a bug")
    parser.add_argument("--keep", action="store_true",
                        help="keep the histories of bad runs")
    options = parser.parse_args()
    if unknown := set(options.bugs) - set(BUGS):
        parser.error(f"no bug {', '.join(unknown)}")
    there = {os.path.basename(path).removesuffix(".patch")
             for path in glob.glob(PATCHES + "/*.patch")}
    if there != set(BUGS):
        parser.error(f"bugs/*.patch and BUGS differ: {there ^ set(BUGS)}")
    child.obey()
    with Private(os.environ.get("PG_CONFIG", "pg_config")) as private:
        return Harness(private, options).all(options.bugs or list(BUGS))


if __name__ == "__main__":
    sys.exit(main())
