#!/usr/bin/env python3
# run.py: load, faults, heal, drain, verdict.
# SPDX-License-Identifier: PostgreSQL
"""Makes a cluster of its own (PG_CONFIG), works it with publishers and agents
while the nemesis breaks things, and checks the history that they leave. The
seed decides what every thread does and which faults come when; how the threads
meet is up to the machine."""

import argparse
import os
import random
import sys
import threading
import time

import checker
import child
from checker import model
from world import final, views
from world.agent import Agent, Keeper
from world.library import Library, Work
from world.nemesis import FAULTS, Nemesis, needs
from world.publisher import Publisher
from world.recorder import Recorder
from world.server import Server

SUBS = {
    "h_all": {"types": None, "ordered": True, "effects": True, "agents": 3},
    "h_some": {"types": ["A", "B"], "ordered": True, "effects": True,
               "agents": 3},
    "h_free": {"types": ["C"], "ordered": False, "effects": True, "agents": 2},
    "h_lib": {"types": ["A"], "ordered": True, "effects": False, "agents": 0},
    "h_work": {"types": ["D"], "ordered": True, "effects": False, "agents": 0},
    # what retention may drop
    "h_keep": {"types": None, "ordered": True, "effects": False, "agents": 1,
               "max_attempts": 1000},
}
MAX_ATTEMPTS = 5
VIEWS_PATIENCE = 30             # seconds for what is not wanted to be passed


def compare_views(world, patience=0):
    with world.server.connect("views", direct=True) as conn:
        views.compare(world, conn, patience)


class World:
    """What the threads of a run share."""

    def __init__(self, options, server, recorder, subs=None):
        self.server = server
        self.recorder = recorder
        self.seed = options.seed
        self.lease = options.lease
        self.sync_share = 0 if options.late else 0.5
        self.pause = options.publishers * 5 / options.rate
        self.subs = {w: {"max_attempts": MAX_ATTEMPTS, **s}
                     for w, s in (subs or SUBS).items()}
        self.wide = options.wide if options.kafka else 0
        self.began = time.monotonic()
        self.kinds = {"exception"}      # each has a topic of its own
        self.calm = False
        self.killed = set()
        self.refiltered = set()     # subscriptions
        self.judged = None          # tenants; all of them
        self.idempotent = []
        self.events = 0
        self.libraries = [] if subs else [Library(server, "h_lib"),
                                          Work(server, "h_work")]
        self.asking = []

    def subscribe(self):
        with self.server.connect("setup", direct=True) as conn:
            for worker, sub in self.subs.items():
                conn.execute(
                    "select sentinai.subscribe(%s, %s, max_attempts => %s, "
                    "backoff => '{50ms,100ms,200ms}', ordered => %s)",
                    (worker, sub["types"], sub["max_attempts"], sub["ordered"]))

    def unknown(self, name, xid):
        """Ask later what became of a commit."""
        self.asking.append((name, xid))

    def resolve(self):
        """A number that a crash took back may belong to somebody else now; the
        transaction's own row is the better witness where there is one."""
        with self.server.connect("resolve", direct=True) as conn:
            for name, xid in self.asking:
                try:
                    [status] = conn.execute(
                        "select pg_xact_status(%s::text::xid8)",
                        (str(xid),)).fetchone()
                except Exception as error:
                    status = f"unknown: {error}"
                self.recorder.add(f="resolve", txn=name, status=status)

    def end_prepared(self):
        """Orphans get what their names say."""
        with self.server.connect("heal", direct=True) as conn:
            for [gid] in conn.execute("select gid from pg_prepared_xacts"):
                what = gid.rpartition("/")[2]
                conn.execute(f"{what} prepared '{gid}'")


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60,
                        help="of load and faults (60)")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--kafka", action="store_true",
                        help="with a real Apache Kafka")
    parser.add_argument("--rabbitmq", action="store_true",
                        help="with a real RabbitMQ")
    parser.add_argument("--mock", action="store_true",
                        help="with librdkafka's mock cluster")
    parser.add_argument("--in-flight", type=int, default=1,
                        help="requests on their way to the mock cluster (1); "
                        "with more than one it can only refuse a producer's "
                        "first")
    parser.add_argument("--dedupe", action="store_true",
                        help="the relay looks what topics have before it "
                        "sends, and there are no copies")
    parser.add_argument("--pgbouncer", action="store_true",
                        help="everybody through PgBouncer, transaction mode")
    parser.add_argument("--faults", default=",".join(
        f for f in FAULTS if not FAULTS[f]["asked"]), metavar="LIST",
                        help="of " + ",".join(FAULTS) + ", or none")
    parser.add_argument("--first", default="", metavar="LIST",
                        help="which of them come first")
    parser.add_argument("--interval", type=float, default=5,
                        help="seconds between faults (5)")
    parser.add_argument("--rate", type=float, default=500,
                        help="events a second that publishers aim at (500)")
    parser.add_argument("--wide", type=float, default=0.004,
                        help="share of transactions that publish large events "
                        "to a topic just made, beside a real Kafka (0.004)")
    parser.add_argument("--publishers", type=int, default=8)
    parser.add_argument("--lease", type=float, default=2)
    parser.add_argument("--window", type=int, default=2000,
                        help="sentinai.relay_inflight (2000)")
    parser.add_argument("--relay-workers", type=int, default=2)
    parser.add_argument("--retention", type=int, default=0,
                        help="sentinai.retention in minutes (0); -1: nothing "
                        "is dropped")
    parser.add_argument("--crowded-at", type=int, default=40,
                        help="sentinai.crowded_at (40): tenants change their "
                        "tracks again and again")
    parser.add_argument("--idle-after", type=int, default=600,
                        help="sentinai.idle_after (600 s); 0: who shares a "
                        "track comes back while subscriptions lag")
    parser.add_argument("--max-tracks", type=int, default=4,
                        help="sentinai.max_tracks (4): tenants share them")
    parser.add_argument("--drain", type=float, default=90,
                        help="seconds in which the backlog must be empty, "
                        "and one for every 100 events of it (90)")
    parser.add_argument("--patience", type=float, default=60,
                        help="seconds in which something must have moved")
    parser.add_argument("--async", action="store_true", dest="late",
                        help="asynchronous publishers, and agents only after "
                        "the load: a crash loses much")
    parser.add_argument("--keep", action="store_true",
                        help="keep history and cluster of a good run too")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(10**6)
    if options.rabbitmq:        # in place of another
        options.kafka = options.mock = False
    options.faults = [f for f in options.faults.split(",") if f != "none"]
    for fault in options.faults:
        if fault not in FAULTS:
            parser.error(f"no fault {fault}")
    return options


def say(text):
    print(text, flush=True)


def stop(threads, seconds=60):
    """A busy machine may take longer (SENTINAI_PATIENCE)."""
    for thread in threads:
        thread.stopping.set()
    limit = time.monotonic() + seconds * float(
        os.environ.get("SENTINAI_PATIENCE", 1))
    for thread in threads:
        thread.join(max(0.1, limit - time.monotonic()))
    return [t.name for t in threads if t.is_alive()]


def listed(counts):
    return ", ".join(f"{f} {n}" for f, n in sorted(counts.items())) or "none"


def drive(options, world):
    """Load and faults, heal, drain, final reads."""
    add = world.recorder.add
    world.recorder.add(f="run", wall=time.time_ns() // 10**6, seed=options.seed,
                       window=options.window, dedupe=options.dedupe,
                       relay_workers=options.relay_workers, subs=world.subs,
                       relay="relay",
                       append_time=options.kafka)
    world.subscribe()
    if not options.late:
        for library in world.libraries:
            library.begin()
    publishers = [Publisher(world, f"p{i}") for i in range(options.publishers)]
    agents = [(Keeper if w == "h_keep" else Agent)(
        world, f"{w}-{i}", w, s["ordered"], far=i % 2 == 0)
              for w, s in SUBS.items() for i in range(s["agents"])]
    nemesis = Nemesis(world, options.faults, options.first.split(","),
                      options.interval)
    for thread in [*publishers, *([] if options.late else agents), nemesis]:
        thread.start()
    limit = time.monotonic() + options.seconds
    while time.monotonic() < limit and nemesis.error is None:
        time.sleep(0.2)
    hung = stop([nemesis]) + stop(publishers)
    if nemesis.error:
        add(f="server", line=f"nemesis: {nemesis.error!r}")
        world.server.revive()
    world.end_prepared()
    say(f"{world.events:,} events published, {nemesis.done.total()} faults "
        f"({listed(nemesis.done)}; seen: {listed(nemesis.seen)}); draining")
    world.resolve()
    world.calm = True
    compare_views(world)
    if options.late:
        for library in world.libraries:
            library.begin()
        for thread in agents:
            thread.start()
    final.drain(world, options.drain, options.patience)
    hung += stop(agents)
    codes = [c for library in world.libraries for c in library.finish()]
    for name in hung:
        add(f="server", line=f"{name} did not stop")
    for code in codes:
        add(f="server", line=f"an agent over workers/lib ended with {code}")
    compare_views(world, VIEWS_PATIENCE)
    final.read(world)
    for library in world.libraries:
        for path in filter(os.path.exists, library.files):
            world.recorder.take(path)


def tell(report, path):
    """What the checker has found, and the operations that show it."""
    for line in [*report.lines(), *report.witnesses(model.read(path))]:
        say(line)


def close(server, keep):
    """Ends the server; says where its files are, if they are kept."""
    server.close(keep=keep)
    if keep:
        say(f"kept: {server.dir} (history.jsonl, server.log)")


def conclude(what, options, report):
    """The line of the test; returns the exit status."""
    say(f"{'ok' if report.ok else 'not ok'} 1 - {what}: seed {options.seed}, "
        f"{len(report.violations):,} violations")
    return 0 if report.ok else 1


def main():
    options = parse()
    child.obey()
    sys.setswitchinterval(0.002)
    threading.excepthook = lambda a: (sys.__excepthook__(*a[:3]),
                                      os._exit(3))
    say(f"seed {options.seed}, {options.seconds:.0f} s"
        f"{', Kafka' if options.kafka else ''}"
        f"{', RabbitMQ' if options.rabbitmq else ''}"
        f"{', mock broker' if options.mock else ''}"
        f"{', PgBouncer' if options.pgbouncer else ''}")
    server = Server(os.environ.get("PG_CONFIG", "pg_config"), options,
                    needs(options.faults))
    path = os.path.join(server.dir, "history.jsonl")
    keep = False
    recorder = world = None
    try:
        server.make()
        for what, why in server.missing.items():
            say(f"ok 1 - {what} faults # SKIP {why}")
        recorder = Recorder(path)
        world = World(options, server, recorder)
        drive(options, world)
        recorder.close()
        report = checker.check_records(model.read(path))
        tell(report, path)
        keep = not report.ok
    except BaseException as error:
        keep = not isinstance(error, SystemExit)
        if recorder:
            recorder.flush()
        raise
    finally:
        for library in world.libraries if world else ():
            library.kill()
        close(server, keep or options.keep)
    status = conclude("history", options, report)
    say(f"# again: run.py {' '.join(sys.argv[1:])}" +
        ("" if "--seed" in sys.argv else f" --seed {options.seed}"))
    return status


if __name__ == "__main__":
    sys.exit(main())
