#!/usr/bin/env python3
# hostile.py: twenty tenants, two of whom do harm.
# SPDX-License-Identifier: PostgreSQL
"""Each tenant has a role with all that can be granted for it. Eighteen publish
and read; one agent each works for some of them, and four agents of the house for
everybody. Two flood, hold, steal, guess, lock and cancel, as much as they can.
The history shows whether anybody was told, or could do, what is another's, what
was lost, and how many turns the events of the others waited. PG_CONFIG names
the server; the seed decides what every thread does."""

import argparse
import json
import multiprocessing
import os
import sys
import threading
import time

import checker
import child
from checker import model
from run import World, close, conclude, say, stop, tell
from world import final
from world.agent import Agent
from world.hostile import READ, Den, haunt
from world.publisher import Publisher
from world.recorder import Recorder
from world.server import Server
from world.tenants import TENANTS, WALL, make_key, make_roles, strangers

GOOD, BAD = TENANTS[:-2], TENANTS[-2:]
WORKING = GOOD[:5]              # who have agents of their own
HOUSE = "house"
HOUSE_AGENTS = 4
SESSIONS = 5                    # of each villain
LANES = 64
IDLE = 0.2                      # share of the time before the villains come
FLOOD = 20_000                  # events that a villain may publish at once,
REFILL = "4s"                   # and the time in which he may again
# what nobody may change, as rows
CONFIG = """
select array_agg(r order by r) from (
    select 'grant ' || g::text as r from sentinai.tenant_grants g
    union all select 'work ' || g::text from sentinai.work_grants g
    union all select 'limit ' || l::text from sentinai.limits l
        where tenant_id <> all (%(bad)s)
    union all select 'alert ' || concat_ws(' ', a.tenant_id, a.threshold)
        from sentinai.alerts a where tenant_id <> all (%(bad)s)
    union all select 'backlog ' || concat_ws(' ', b.worker_type, b.tenant_id,
        b.max_backlog) from sentinai.backlog_limits b
    union all select 'subscription ' || concat_ws(' ', s.worker_type,
        s.max_attempts, s.ordered, s.stream_id) from sentinai_internal.subscription s
    union all select 'policy ' || p::text from sentinai_internal.retry_policy p
    union all select 'relay ' || sentinai.relay_is_paused()) c
"""
ROUNDS = """
select slice_no >> 14, array_agg(id::text) from sentinai_internal.slice,
    unnest(event_ids) id where stream_id = 0 group by 1
"""


class Tenant(Publisher):
    """Publishes, and looks at what it is shown."""

    def __init__(self, world, tenant):
        super().__init__(world, tenant)
        self.user = tenant
        self.tenants = (tenant,)
        self.marks = {"of": tenant}
        self.used = []

    def turn(self):
        if self.rng.random() < 0.2:
            view = self.rng.choice(READ)
            rows = self.ask(f"select * from sentinai.{view} limit 100")
            if strangers(rows, {self.user}):
                self.record(f="breach", who=self.name, what=view,
                            said=str(rows)[:300])
        else:
            super().turn()


class Own(Agent):
    """A tenant's agent."""

    def __init__(self, world, tenant):
        super().__init__(world, f"own-{tenant}", f"own-{tenant}")
        self.user = tenant

    def claim(self):
        batch = super().claim()
        if batch is not None:
            self.world.lose(batch)
        return batch


class House(Own):
    """Does all that it gets at once: what waits, waits for others."""

    habits = {"whole": 1}
    sizes = (20, 50)

    def __init__(self, world, number):
        Agent.__init__(self, world, f"{HOUSE}-{number}", HOUSE)
        self.user = HOUSE


class Town(World):
    """Twenty tenants."""

    def __init__(self, options, server, recorder):
        super().__init__(options, server, recorder, {
            HOUSE: {"types": None, "ordered": True, "effects": True,
                    "turns": options.turns},
            **{f"own-{t}": {"types": None, "ordered": True, "effects": True,
                            "tenants": [t]} for t in WORKING}})
        self.judged = list(GOOD)
        self.place = os.path.join(server.dir, "loot")
        self.lost = open(self.place, "a", encoding="ascii", buffering=1)
        self.lock = threading.Lock()

    def lose(self, batch):
        """What the villains get to know."""
        for event_id, (tenant, _) in list(batch.keys.items())[:3]:
            if tenant in GOOD:
                with self.lock:
                    self.lost.write(json.dumps({
                        "tenant": tenant, "id": event_id,
                        "token": batch.token}) + "\n")

    def subscribe(self):
        with self.server.connect("setup", direct=True) as conn:
            make_roles(conn, logs_in=True)
            conn.execute(f"create role {HOUSE} login;"
                         f"grant sentinai_agent to {HOUSE};"
                         f"grant usage on schema app to public;"
                         "grant all on all tables in schema app to public;"
                         f"select sentinai.grant_tenant('{HOUSE}', '*', 'work'),"
                         f"sentinai.grant_work('{HOUSE}', '{HOUSE}');"
                         f"select sentinai.subscribe('{HOUSE}', "
                         "backoff => '{50ms,100ms,200ms}')")
            for tenant in (*WORKING, *BAD):
                conn.execute("select sentinai.subscribe('own-' || %s::text, "
                             "backoff => '{50ms,100ms,200ms}', tenants => "
                             "array[%s])", (tenant, tenant))
                conn.execute("select sentinai.grant_work(%s, %s)",
                             (tenant, f"own-{tenant}"))
            for tenant in BAD:
                conn.execute(f"alter role {tenant} connection limit 12")
                conn.execute("select sentinai.set_limit(%s, 'events_published', "
                             "%s, %s)", (tenant, FLOOD, REFILL))
            conn.execute("select sentinai.set_backlog_limit(%s, %s, 100000, "
                         "'delay', '1s')", (HOUSE, BAD[0]))


def config(server):
    with server.connect("config", direct=True) as conn:
        return conn.execute(CONFIG, {"bad": list(BAD)}).fetchone()[0]


def drive(options, town, begin, end):
    """The tenants alone, with the villains, without them; final reads."""
    add = town.recorder.add
    publishers = [Tenant(town, t) for t in GOOD]
    agents = [*(House(town, n) for n in range(HOUSE_AGENTS)),
              *(Own(town, t) for t in WORKING)]
    before = config(town.server)
    for thread in [*publishers, *agents]:
        thread.start()
    time.sleep(options.seconds * IDLE)
    begin.set()
    time.sleep(options.seconds * (1 - IDLE))
    end.set()
    hung = stop(publishers)
    say(f"{town.events:,} events published; draining")
    town.end_prepared()
    town.resolve()
    town.calm = True
    final.drain(town, options.drain, options.patience)
    hung += stop(agents)
    for name in hung:
        add(f="server", line=f"{name} did not stop")
    for line in set(before) ^ set(config(town.server)):
        add(f="breach", who="somebody", what="changed", said=line)
    final.read(town)
    with town.server.connect("final", direct=True) as conn:
        for number, ids in conn.execute(ROUNDS):
            add(f="round", n=number, ids=ids)


def villains(server, options, place):
    """Their processes, which wait for the first event."""
    context = multiprocessing.get_context("fork")
    begin, end = context.Event(), context.Event()
    started = []
    for tenant in BAD:
        path = os.path.join(server.dir, f"{tenant}.jsonl")
        den = Den(server, Recorder(path), f"{options.seed}/{tenant}", place)
        process = context.Process(target=haunt, daemon=True, args=(
            den, tenant, GOOD, SESSIONS, begin, end))
        process.start()
        started.append((process, path))
    return started, begin, end


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30,
                        help="a fifth of them without the villains (30)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=60,
                        help="events a second of the eighteen (60)")
    parser.add_argument("--lease", type=float, default=2)
    parser.add_argument("--turns", type=int, default=2 * LANES,
                        help="batches that may be handed out while an event "
                        "waits (each lane twice: 128)")
    parser.add_argument("--crowded-at", type=int, default=200)
    parser.add_argument("--drain", type=float, default=90)
    parser.add_argument("--patience", type=float, default=60)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    options.__dict__.update(
        kafka=False, rabbitmq=False, mock=False, pgbouncer=False, window=1,
        relay_workers=1, retention=-1, late=False, wide=0,
        publishers=len(GOOD))
    return options


def main():
    options = parse()
    child.obey()
    sys.setswitchinterval(0.002)
    threading.excepthook = lambda a: (sys.__excepthook__(*a[:3]),
                                      os._exit(3))
    server = Server(os.environ.get("PG_CONFIG", "pg_config"), options, set(),
                    settings=WALL, roles=[*TENANTS, HOUSE])
    path = os.path.join(server.dir, "history.jsonl")
    keep, haunts, recorder = True, [], None
    say(f"seed {options.seed}, {options.seconds:.0f} s, {len(BAD)} hostile of "
        f"{len(TENANTS)} tenants")
    try:
        server.make()
        make_key(server)
        recorder = Recorder(path)
        town = Town(options, server, recorder)
        recorder.add(f="run", wall=time.time_ns() // 10**6, seed=options.seed,
                     window=1, subs=town.subs, judged=town.judged)
        town.subscribe()
        haunts, begin, end = villains(server, options, town.place)
        drive(options, town, begin, end)
        for process, written in haunts:
            process.join(60)
            recorder.take(written)
        recorder.close()
        report = checker.check_records(model.read(path))
        tell(report, path)
        keep = not report.ok
    finally:
        for process, _ in haunts:
            process.kill()
        close(server, keep or options.keep)
    return conclude("history of hostile tenants", options, report)


if __name__ == "__main__":
    sys.exit(main())
