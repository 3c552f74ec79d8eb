#!/usr/bin/env python3
# flow.py: exceptions go through the platform's agents while things break.
# SPDX-License-Identifier: PostgreSQL
"""Two instances of each agent of sentinai_platform work while people submit,
decide and interfere, somebody makes the read models anew all the time, and
agents, their connections and the server are killed. The log, the ledger and the
read models then show whether each event has led to what it has to, once, the
steps of each playbook came in their order, and the read models say what the log
says. PG_CONFIG names the server; the seed decides what every thread does."""

import argparse
import logging
import os
import random
import signal
import sys
import threading
import time

import checker
import child
from checker import flow_rules, model
from run import close, conclude, say, stop, tell
from world.final import BAD_LINE
from world.platform import (AGENTS, SETUP, TENANTS, Endpoint, Instances, Person,
                            Rebuilder)
from world.recorder import Recorder
from world.server import Server

# what is left to do
LEFT = """
select (select count(*) from sentinai.deadlines where status = 'open')
    + (select sum(lag_events + in_flight + retrying) from sentinai.stat_queue)
"""
UNHANDLED = """
select a.worker_type, e.event_id::text
from sentinai_platform.agents() a join sentinai.event_log e
    on e.event_type = any (a.event_types)
where not exists (select from sentinai.event_processing p
    where p.event_id = e.event_id and p.worker_type = a.worker_type
        and p.status = 'completed')
"""
EVENTS = """
select event_id::text, event_type, tenant_id, aggregate_id, causation_id::text,
    payload
from sentinai.event_log where aggregate_type = 'exception'
"""
STEPS = """
select playbook, version, step, compensation_tool is not null
from sentinai_platform.playbook_steps
"""
ROWS = {
    "exceptions": """
        select array[tenant_id, exception_id]::text[], jsonb_build_array(state,
            playbook, outcome, steps_done, (select count(*)
            from sentinai_platform.feedback f where (f.tenant_id,
                f.exception_id) = (x.tenant_id, x.exception_id)))
        from sentinai_platform.exceptions x""",
    "executions": """
        select jsonb_build_array(execution_id), jsonb_build_array(state)
        from sentinai_platform.playbook_executions""",
    "steps": """
        select jsonb_build_array(execution_id, compensation, step),
            jsonb_build_array(state, attempt)
        from sentinai_platform.step_executions""",
}
MODELS = " union all ".join(
    f"select '{t} ' || to_jsonb(t)::text as r from sentinai_platform.{t} t" for t in (
        "exceptions", "approvals", "playbook_executions", "step_executions",
        "tool_executions", "feedback", "feedback_metrics"))


class World:
    """What the threads of a run share."""

    def __init__(self, options, server, recorder):
        self.server = server
        self.recorder = recorder
        self.seed = options.seed
        self.pause = options.people / options.rate
        self.began = time.monotonic()


class Breaker(threading.Thread):
    """Kills agents, connections and the server, one after the other."""

    faults = {"agent": 6, "freeze": 2, "terminate": 3, "immediate": 1,
              "kill": 2}

    def __init__(self, world, fleet, interval):
        super().__init__(name="breaker", daemon=True)
        self.world = world
        self.fleet = fleet
        self.interval = interval
        self.rng = random.Random(f"{world.seed}/breaker")
        self.stopping = threading.Event()
        self.done = []

    def run(self):
        while not self.stopping.wait(self.interval * self.rng.uniform(0.5, 1.5)):
            [fault] = self.rng.choices(*zip(*self.faults.items()))
            self.done.append(fault)
            getattr(self, fault)()

    def agent(self):
        self.rng.choice(self.fleet).restart(self.rng)

    def freeze(self):
        """Until the lease is over and somebody else has the batch."""
        instances = self.rng.choice(self.fleet)
        process = self.rng.choice(instances.processes)
        process.send_signal(signal.SIGSTOP)
        self.stopping.wait(instances.lease + 1)
        process.send_signal(signal.SIGCONT)

    def terminate(self):
        with self.world.server.connect("breaker") as conn:
            conn.execute("select pg_terminate_backend(pid) "
                         "from pg_stat_activity where backend_type = 'client "
                         "backend' and random() < 0.5 and "
                         "pid <> pg_backend_pid()")

    def immediate(self):
        self.world.server.stop(signal.SIGQUIT)
        self.world.server.start()

    def kill(self):
        self.world.server.kill(True)
        self.world.server.start()


def drain(server, seconds, patience):
    """Until nothing is left to do; what is, when it takes too long, or nothing
    has moved."""
    began = moved = time.monotonic()
    before = None
    with server.connect("drain") as conn:
        while True:
            [left] = conn.execute(LEFT).fetchone()
            now = time.monotonic()
            if left != before:
                before, moved = left, now
            if not left or now > began + seconds or now > moved + patience:
                return left
            time.sleep(0.3)


def read(world):
    """What is there, and what read models become when they are made anew."""
    add = world.recorder.add
    with world.server.connect("final") as conn:
        for agent, event in conn.execute(UNHANDLED):
            add(f="unhandled", agent=agent, id=event)
        for event in conn.execute(EVENTS):
            add(f="event", id=event[0], event=event)
        for playbook, version, step, undoes in conn.execute(STEPS):
            add(f="step", playbook=playbook, version=version, step=step,
                undoes=undoes)
        for of, query in ROWS.items():
            for key, row in conn.execute(query):
                add(f="row", of=of, key=key, row=row)
        conn.execute(f"create table app.before as {MODELS}")
        for tenant in TENANTS:
            conn.execute("call sentinai_platform.rebuild_projections(%s)",
                         (tenant,))
        for name, one, other in (("was", "table app.before", MODELS),
                                 ("became", MODELS, "table app.before")):
            for [row] in conn.execute(f"({one}) except ({other})"):
                add(f="difference", row=f"{name} {row}")
    with open(os.path.join(world.server.dir, "server.log"), encoding="utf-8",
              errors="replace") as log:
        for line in filter(BAD_LINE.search, log):
            add(f="server", line=line.rstrip())


def drive(options, world):
    """Load and faults, heal, drain, final reads."""
    endpoint = Endpoint(options.seed)
    with world.server.connect("setup") as conn:
        conn.execute(SETUP.format(port=endpoint.port))
    fleet = [Instances(world.server, agent) for agent in AGENTS]
    try:
        for instances in fleet:
            instances.begin()
        clients = [Person(world, f"p{i}") for i in range(options.people)]
        clients.append(Rebuilder(world, "rebuilder"))
        breaker = Breaker(world, fleet, options.interval)
        for thread in [*clients, breaker]:
            thread.start()
        time.sleep(options.seconds)
        hung = stop([breaker]) + stop(clients)
        say(f"{len(breaker.done)} faults ({', '.join(breaker.done)}); draining")
        left = drain(world.server, options.drain, options.patience)
        if left:
            hung.append(f"the backlog, with {left} left,")
        for name in hung:
            world.recorder.add(f="server", line=f"{name} did not end")
        for instances in fleet:
            for code in instances.finish():
                world.recorder.add(f="server", line="an instance of "
                                   f"{instances.agent} ended with {code}")
        read(world)
    finally:
        for instances in fleet:
            instances.kill()


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12,
                        help="of load and faults (12)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=40,
                        help="commands a second that people aim at (40)")
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--interval", type=float, default=1,
                        help="seconds between faults (1)")
    parser.add_argument("--drain", type=float, default=120,
                        help="seconds in which all must be done (120)")
    parser.add_argument("--patience", type=float, default=60,
                        help="seconds in which something must have moved (60)")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    options.__dict__.update(kafka=False, rabbitmq=False, mock=False,
                            pgbouncer=False, window=1,
                            relay_workers=1, retention=-1, late=False,
                            crowded_at=1000)
    return options


def main():
    options = parse()
    child.obey()
    # that a connection breaks in a rollback is no news
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    threading.excepthook = lambda a: (sys.__excepthook__(*a[:3]),
                                      os._exit(3))
    say(f"seed {options.seed}, {options.seconds:.0f} s, two instances of each "
        "agent")
    server = Server(os.environ.get("PG_CONFIG", "pg_config"), options, set())
    path = os.path.join(server.dir, "history.jsonl")
    keep = True
    try:
        server.make()
        recorder = Recorder(path)
        drive(options, World(options, server, recorder))
        recorder.close()
        report = checker.hold(flow_rules.Flow(model.read(path)),
                              flow_rules.RULES)
        tell(report, path)
        keep = not report.ok
    finally:
        close(server, keep or options.keep)
    return conclude("history of the platform's flow", options, report)


if __name__ == "__main__":
    sys.exit(main())
