#!/usr/bin/env python3
# points.py: a crash at every fault point there is.
# SPDX-License-Identifier: PostgreSQL
"""To be run by private.py in a build with FAULTS=1. Crashes retention while it
drops partitions, and then runs the workload with crashes at all points of
src/base/fault.h, until each of the others has been come to."""

import glob
import os
import re
import subprocess
import sys

import child
from world import point_faults
from world.retention import crash_in_retention

HERE = os.path.dirname(os.path.abspath(__file__))
RUN = "--mock --interval 0.2 --faults point --seconds"
SECONDS = (45, 90)


def in_the_source():
    found = set()
    for path in glob.glob(os.path.join(HERE, "../../src/**/*.c"),
                          recursive=True):
        with open(path, encoding="utf-8") as file:
            found |= set(re.findall(r"SN_FAULT\((\w+)\)", file.read()))
    return found


def run(seconds, seed):
    """One run: whether it was good, what it came to, and what it said."""
    done = child.run(
        [sys.executable, os.path.join(HERE, "run.py"), *RUN.split(),
         str(seconds), "--seed", str(seed)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return (done.returncode == 0, set(re.findall(r"point (\w+) \d", done.stdout)),
            done.stdout)


def main():
    known = {*point_faults.POINTS, *point_faults.RELAY_POINTS}
    number = failed = 0
    child.obey()

    def tell(wrong, text):
        nonlocal number, failed
        number += 1
        failed += bool(wrong)
        print(f"{'not ok' if wrong else 'ok'} {number} - {text}"
              f"{f': {wrong}' if wrong else ''}", flush=True)

    tell(in_the_source() ^ known,
         "the points of the source are those that are tried")
    tell(crash_in_retention(os.environ.get("PG_CONFIG", "pg_config")),
         "retention goes on after crashes while it drops")
    left, said = known - {"partition_drop"}, ""
    for seed, seconds in enumerate(SECONDS, 1):
        good, reached, said = run(seconds, seed)
        left -= reached
        tell(not good and "violations", f"crashes at points, seed {seed}")
        if not good:
            print("".join(f"# {line}\n" for line in said.splitlines()[-40:]))
        if not left:
            break
    tell(left, "every point was come to")
    print(f"1..{number}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
