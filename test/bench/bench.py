#!/usr/bin/env python3
# test/bench/bench.py: SentinAI, its peers and the machine's limit, one report.
# SPDX-License-Identifier: PostgreSQL
"""Run the benchmark.

Each scenario is a file in scenarios/. It makes a cluster of its own, runs every
queue in turn, round after round, and writes JSON, Markdown and SVG. The
extension has to be installed in the PostgreSQL of PG_CONFIG; peers are
found through SENTINAI_PEERS (../shared/peers) and fetched by npm and Maven.
"""

import argparse
import datetime
import importlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
from harness import report                                      # noqa: E402
from harness.broker import Kafka                                # noqa: E402
from harness.cluster import ROOT, BenchError, Cluster           # noqa: E402
from harness.context import Context                             # noqa: E402
from harness.progress import Progress                           # noqa: E402


SIGNS = {True: "met", False: "NOT MET", None: "no figure"}


def find_scenarios():
    """All scenario modules, by number."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                          "scenarios")
    names = sorted(f[:-3] for f in os.listdir(folder)
                   if f.startswith("s") and f.endswith(".py"))
    modules = [importlib.import_module(f"scenarios.{n}") for n in names]
    return {m.NUMBER: m for m in modules}


def read_options():
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true",
                        help="small sizes, under 5 minutes")
    parser.add_argument("--long", action="store_true",
                        help="the full lengths of scenarios 9 and 10 "
                        "(10 and 20 minutes)")
    parser.add_argument("--only", metavar="N,…",
                        help="these scenarios only")
    parser.add_argument("--peers", metavar="NAME,…",
                        help="SentinAI and these only (bare, pgmq, pgq, "
                        "pgque, skip_update, skip_delete, graphile, "
                        "librdkafka, debezium)")
    parser.add_argument("--rounds", type=int, help="rounds (3)")
    parser.add_argument("--out", default=os.path.join(
        ROOT, "build/bench/results"), help="where the report goes")
    parser.add_argument("--docs", action="store_true",
                        help="the report goes to docs/performance")
    parser.add_argument("--keep", action="store_true",
                        help="keep the cluster's folder")
    parser.add_argument("--list", action="store_true",
                        help="print the scenarios and end")
    return parser.parse_args()


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def about(cluster, options):
    """The machine and the software, for the report."""
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(file.readline().split()[1]) // 1024 // 1024
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short",
                             "HEAD"], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, check=False)
    return {"date": datetime.datetime.now(datetime.timezone.utc)
            .strftime("%Y-%m-%d %H:%M UTC"),
            "commit": commit.stdout.strip(),
            "command": "make bench BENCH_ARGS='" +
            " ".join(sys.argv[1:]) + "'",
            "machine": f"{os.cpu_count()} × {processor()}, {memory} GiB, "
            f"{platform.system()} {platform.release()}",
            "server": cluster.version,
            "load before the run": f"{os.getloadavg()[0]:.2f}",
            "depth": "quick" if options.quick else
            "long" if options.long else "full"}


def run_all(modules, ctx, options, description):
    results = []
    for module in modules:
        began = time.monotonic()
        ctx.begin(module)
        ctx.progress.scenario(module.QUICK if options.quick else module.FULL,
                              f"{module.NUMBER}: {module.TITLE}")
        try:
            module.run(ctx)
        except (BenchError, RuntimeError, OSError) as error:
            ctx.result.miss("the scenario", f"failed: {error}")
            traceback.print_exc()
        results.append(ctx.result)
        description["seconds"] = f"{time.monotonic() - ctx.started:.0f}"
        report.write(results, description, options.out)
        ctx.progress.say(f"{module.NUMBER:2d}  {module.TITLE}  "
                         f"({time.monotonic() - began:.0f} s)")
        for line in report.table(ctx.result):
            ctx.progress.say("    " + line)
        for check in ctx.result.checks:
            ctx.progress.say(f"    {check['what']}: "
                             f"{report.number(check['value'])} "
                             f"{SIGNS[check['met']]}")
        for miss in ctx.result.missing:
            ctx.progress.say(f"    missing: {miss['label']}: {miss['why']}")
    return results


def main():
    options = read_options()
    scenarios = find_scenarios()
    if options.list:
        for number, module in scenarios.items():
            print(f"{number:3d}  {module.TITLE}  [{module.TARGET}]")
        return 0
    if options.docs:
        options.out = os.path.join(ROOT, "docs/performance")
    wanted = ([int(n) for n in options.only.split(",")] if options.only
              else list(scenarios))
    unknown = [n for n in wanted if n not in scenarios]
    if unknown:
        print(f"no scenario {unknown}; --list shows them", file=sys.stderr)
        return 2
    modules = [scenarios[n] for n in wanted]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))

    place = tempfile.mkdtemp(prefix="sentinai-bench.", dir="/var/tmp")
    os.chmod(place, 0o755)
    cluster = Cluster(os.path.join(place, "pg"),
                      os.environ.get("PG_CONFIG", "pg_config"))
    kafka = Kafka(os.path.join(place, "kafka"))
    progress = Progress(sum(m.QUICK if options.quick else m.FULL
                            for m in modules))
    try:
        os.makedirs(cluster.dir)
        cluster.make()
        cluster.start()
        ctx = Context(cluster, kafka, progress, options)
        ctx.started = time.monotonic()
        description = about(cluster, options)
        results = run_all(modules, ctx, options, description)
    except BenchError:
        print(cluster.log_tail(), file=sys.stderr)
        raise
    finally:
        progress.end()
        kafka.stop()
        cluster.stop()
        cluster.remove_copied()
        if not options.keep:
            shutil.rmtree(place, ignore_errors=True)
    missed = [c for r in results for c in r.checks if c["met"] is False]
    print(f"report: {options.out}/results.md; {len(missed)} targets missed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
