#!/usr/bin/env python3
# run.py: JSON Schema in C against the official tests and another validator.
# SPDX-License-Identifier: PostgreSQL
"""Makes a cluster of its own (PG_CONFIG) and asks validate_json(). Prints TAP."""

import argparse
import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../history"), os.path.join(HERE, "../fuzz"),
                HERE]

# what hypothesis would keep in the folder it is called from
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tempfile.mkdtemp(prefix="snh.")

import asyncapi                                                 # noqa: E402
import damage                                                   # noqa: E402
import evolve                                                   # noqa: E402
import example                                                  # noqa: E402
import oracle                                                   # noqa: E402
import suite                                                    # noqa: E402
from sqlfuzz.cluster import Cluster                             # noqa: E402
from verdict import Judge                                       # noqa: E402


class Tap:
    """One line for every result."""

    def __init__(self):
        self.tests = 0
        self.failed = 0

    def result(self, name, wrong):
        self.tests += 1
        self.failed += bool(wrong)
        print(f"{'not ok' if wrong else 'ok'} {self.tests} - {name}", flush=True)
        for line in wrong[:8]:
            print(f"#   {line}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=400,
                        help="random schemas that the other validator is asked "
                        "about")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tap = Tap()
    cluster = Cluster(os.environ.get("PG_CONFIG", "pg_config"))
    try:
        cluster.make()
        with cluster.connect("schema") as conn:
            conn.execute("create extension if not exists sentinai")
            judge = Judge(conn)
            suite.run(tap, judge)
            oracle.run(tap, judge, options.examples, options.seed)
            damage.run(tap, judge, options.examples, options.seed)
            evolve.run(tap, judge, options.examples, options.seed)
            example.run(tap, judge, options.examples, options.seed)
            asyncapi.run(tap, judge, options.seed)
        tap.result("the server's log", cluster.bad_lines())
    finally:
        cluster.close(keep=tap.failed > 0)
        shutil.rmtree(os.environ["HYPOTHESIS_STORAGE_DIRECTORY"],
                      ignore_errors=True)
    print(f"1..{tap.tests}")
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
