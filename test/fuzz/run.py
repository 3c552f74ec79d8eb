#!/usr/bin/env python3
# run.py: hostile SQL against every function and view of the extension.
# SPDX-License-Identifier: PostgreSQL
"""Makes a cluster of its own (PG_CONFIG) and calls whatever the catalog names,
with every kind of value, in every way SQL has. Prints TAP. What is called is
decided by the seed."""

import argparse
import glob
import os
import random
import re
import signal
import subprocess
import sys
import time

import psycopg

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../history"), HERE]

from sqlfuzz import session, shadow, values                     # noqa: E402
from sqlfuzz.catalog import Catalog                             # noqa: E402
from sqlfuzz.cluster import Cluster                             # noqa: E402
from sqlfuzz.ground import Ground                               # noqa: E402
from sqlfuzz.matrix import Matrix                               # noqa: E402
from sqlfuzz.misuse import Copies, Huge, Misuse                 # noqa: E402
from sqlfuzz.mix import Mix                                     # noqa: E402
from sqlfuzz.redact import Redact                               # noqa: E402
from sqlfuzz.report import Report                               # noqa: E402
from sqlfuzz.schemas import Schemas                             # noqa: E402
from sqlfuzz.wire import Tokens, Wire                           # noqa: E402

PARTS = ["scripts", "matrix", "wire", "tokens", "copies", "schemas", "misuse",
         "huge", "shadow", "encodings", "redact", "mix", "random"]
ROOT = os.path.join(HERE, "../..")
ERRORS = os.path.join(ROOT, "docs/errors.md")
# it commits, and so cannot pin its search_path; it names all by schema
COMMITS = ("sentinai_platform.rebuild_projections(tenant_id text,"
           "max_exceptions integer,INOUT rebuild_id uuid)")


def with_quoted_bodies(script):
    """A script as pgspot can read it, which knows quoted bodies alone. The names
    in others are those of the search_path when a script runs: it sets that."""
    quoted = "    set search_path = pg_catalog, pg_temp\n    as $$"
    script = re.sub(r"^    begin atomic\n(.*?);\n    end;$", quoted + r"\1 $$;",
                    script, flags=re.M | re.S)
    return re.sub(r"(parallel \w+)\n    return (.*?);$",
                  r"\1\n" + quoted + r" select \2 $$;", script, flags=re.M | re.S)


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0,
                        help="of random calls after a fixed part that is "
                        "complete; without, a short run")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", default="", metavar="PARTS",
                        help="of: " + ", ".join(PARTS))
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(10**6)
    options.only = options.only.split(",") if options.only else PARTS
    return options


class World:
    """A database and what is known about it."""

    def __init__(self, run, database):
        self.cluster = run.cluster
        self.report = run.report
        self.seed = f"{run.options.seed}/{database}"
        self.ground = Ground(self.cluster, values.seeded(self.seed, "ground"),
                             database)
        self.ground.make()
        self.catalog = Catalog(self.ground.conn)


class Run:
    """One cluster and all that is done to it."""

    def __init__(self, options, cluster):
        self.options = options
        self.cluster = cluster
        self.report = Report(cluster, session.documented(ERRORS))
        self.worlds = {}

    def world(self, database="postgres"):
        """A database with something in it, made at first use."""
        if database not in self.worlds:
            self.worlds[database] = World(self, database)
        return self.worlds[database]

    def part_scripts(self):
        """pgspot on what CREATE and ALTER EXTENSION run."""
        self.report.begin("pgspot")
        for pattern in ("sentinai--*.sql", "sql/sentinai--*.sql",
                        "sentinai_platform--*.sql"):
            for script in sorted(glob.glob(os.path.join(ROOT, pattern))):
                self.report.calls += 1
                with open(script, encoding="utf-8") as file:
                    text = with_quoted_bodies(file.read())
                done = subprocess.run(
                    [os.path.join(os.path.dirname(sys.executable), "pgspot"),
                     "--proc-without-search-path", COMMITS], input=text, text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
                if done.returncode:
                    self.report.find(os.path.basename(script), done.stdout)
        self.report.end()

    def part_matrix(self):
        """Everything with everything."""
        Matrix(self.world()).run(self.few(20, None))

    def part_wire(self):
        Wire(self.world()).run(self.few(12, 300))

    def part_tokens(self):
        Tokens(self.world()).run(self.few(400, 5000))

    def part_copies(self):
        Copies(self.world()).run(self.few(60, 1000))

    def part_schemas(self):
        Schemas(self.world()).run(self.few(150, 3000))

    def part_misuse(self):
        Misuse(self.world()).run()

    def part_huge(self):
        Huge(self.world()).run(self.few(1, 0))

    def part_shadow(self):
        """The same where the search_path is hostile."""
        catalog = self.world().catalog
        made = shadow.make(self.cluster, "evil", sorted(
            {c.name for c in catalog.callables + catalog.relations}))
        Matrix(self.world("evil")).run_briefly(
            f"{made} shadows in the search_path", self.few(5, 100))

    def part_encodings(self):
        """Databases whose text is not UTF-8 are refused."""
        self.report.begin("databases that are not UTF-8")
        for name, encoding in (("latin", "LATIN1"), ("ascii", "SQL_ASCII")):
            with self.cluster.connect("encodings") as conn:
                conn.execute(f"create database {name} template template0 "
                             f"encoding '{encoding}' locale 'C'")
            self.report.calls += 1
            with self.cluster.connect("encodings", name) as conn:
                try:
                    conn.execute("create extension sentinai")
                    self.report.find(encoding, "it was not refused")
                except psycopg.errors.FeatureNotSupported:
                    pass
        self.report.end()

    def part_mix(self):
        with self.cluster.connect("mix") as conn:
            conn.execute("create database mix")
        Mix(self.cluster, self.report, "mix", self.options.seed,
            self.few(4, 60)).run()

    def part_redact(self):
        Redact(self.cluster, self.report, self.options.seed,
               self.few(150, 5000)).run()

    def part_random(self):
        """More of everything, until the time is up."""
        limit = time.monotonic() + self.options.seconds
        databases = [d for d in self.worlds]
        turn = 0
        while time.monotonic() < limit:
            world = self.world(databases[turn % len(databases)])
            turn += 1
            world.seed = f"{self.options.seed}/{turn}"
            Matrix(world).run_random(f"turn {turn}: anything", 500)
            for part, count in ((Wire, 20), (Tokens, 300), (Copies, 50),
                                (Schemas, 100)):
                part(world).run(count)

    def part_log(self):
        """What the server wrote down."""
        self.report.begin("the server's log")
        self.report.calls = 1
        for line in self.cluster.bad_lines():
            self.report.find(line)
        self.report.end()

    def part_types(self):
        self.report.begin("values of every type there is")
        self.report.calls = 1
        for name in sorted(values.STRANGE):
            self.report.find(f"values.py has none of type {name}")
        self.report.end()

    def few(self, short, long):
        return long if self.options.seconds else short

    def run(self):
        try:
            for name in self.options.only:
                getattr(self, "part_" + name)()
            self.part_log()
            self.part_types()
        except session.Crashed:
            self.report.end()
            print("# " + "# ".join(self.cluster.log_tail()))
            print("Bail out! the server crashed")
        print(f"1..{self.report.tests}")
        return self.report.failed == 0


def main():
    options = parse()
    print(f"# seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    good = False
    cluster = Cluster(os.environ.get("PG_CONFIG", "pg_config"))
    try:
        cluster.make()
        good = Run(options, cluster).run()
    finally:
        keep = options.keep or not good
        cluster.close(keep=keep)
        if keep:
            print(f"# kept: {cluster.dir} (server.log)\n"
                  f"# again: run.py --seed {options.seed}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
