# world/platform.py: the exception platform of one run, and all who use it.
# SPDX-License-Identifier: PostgreSQL
"""Rules and playbooks that lead through every kind of step, answers that come
late included; two instances of each agent; an endpoint that fails now and then; people, who submit, decide and
interfere; and somebody who makes the read models anew all the time."""

import http.server
import json
import os
import random
import threading
import time

import psycopg

from .library import Library
from .shell import ROOT

TENANTS = ("acme", "globex")
AGENTS = ("intake", "triage", "policy", "playbook", "tool", "feedback")
KEYS = 60                       # exceptions that people work on at a time,
FRESH = 5                       # of which so many are others each second

# {port}: of the endpoint
SETUP = """
create extension sentinai_platform;
select sentinai_platform.subscribe_agents();
select sentinai.alter_subscription(a.worker_type, max_attempts => 1000,
    backoff => '{{100ms}}') from sentinai_platform.agents() a;
insert into sentinai_platform.triage_rules (tenant_id, rule, condition,
    exception_type, severity, category) values
    ('*', 'large', '$.amount > 60', 'big', 'high', 'money'),
    ('*', 'small', '$.amount < 30', null, 'low', null);
insert into sentinai_platform.sla_rules (tenant_id, exception_type,
    resolve_within, threshold) values ('*', 'big', '6 s', 0.5),
    ('*', '*', '4 s', null);
insert into sentinai_platform.guardrails (tenant_id, rule, priority, condition,
    decision, playbook, approve_within) values
    ('*', 'ask', 1, '$.severity == "high"', 'needs_approval', 'undo', '5 s'),
    ('*', 'low', 2, '$.severity == "low"', 'allowed', 'long', default),
    ('*', 'all', 3, '$.confidence >= 0', 'allowed', 'undo', default);
insert into sentinai_platform.allowed_hosts (tenant_id, host, port, networks)
    values ('*', '127.0.0.1', {port}, '{{127.0.0.0/8}}');
insert into sentinai_platform.tools (tenant_id, tool, kind, settings,
    max_attempts, breaker_threshold) values
    ('*', 'call', 'webhook', '{{"url": "http://127.0.0.1:{port}/",
        "timeout_ms": 2000}}', 2, 1000000),
    ('*', 'set', 'update_field', '{{"fields": ["severity", "title",
        "category", "attributes.owner"]}}', 1, 5),
    ('*', 'pause', 'wait', '{{"max_seconds": 100}}', 1, 5);
select sentinai_platform.put_playbook('*', 'long', '[
    {{"tool": "call", "max_attempts": 3}},
    {{"tool": "set", "arguments": {{"field": "attributes.owner",
        "value": "mia"}}}},
    {{"tool": "pause", "arguments": {{"seconds": 3}}, "timeout": "1 s",
        "condition": "$.amount > 15", "on_failure": "continue"}},
    {{"tool": "call", "max_attempts": 3, "on_failure": "continue"}},
    {{"tool": "pause", "arguments": {{"seconds": 3}},
        "timeout": "1 minute", "condition": "$.amount > 15"}}]'),
    sentinai_platform.put_playbook('*', 'undo', '[
    {{"tool": "call", "max_attempts": 3, "compensation": {{"tool": "call"}}}},
    {{"tool": "set", "arguments": {{"field": "severity", "value": "critical"}},
        "compensation": {{"tool": "set", "arguments": {{"field": "severity",
        "value": "high"}}}}}},
    {{"tool": "set", "arguments": {{"field": "amount", "value": 1}},
        "condition": "$.amount > 45 && $.amount < 80"}},
    {{"tool": "pause", "arguments": {{"seconds": 9}}, "timeout": "1 s"}}]');
"""


class Endpoint:
    """Answers one call in four with an error."""

    def __init__(self, seed):
        rng, lock = random.Random(seed), threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            """Of one call."""

            def do_POST(self):
                """Says yes, or 503."""
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                with lock:
                    bad = rng.random() < 0.25
                body = b'{"ok": true}'
                self.send_response(503 if bad else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Not on our output."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Instances(Library):
    """The instances of one agent of the platform."""

    lease = 2

    def __init__(self, server, agent):
        super().__init__(server, agent)
        self.agent = agent

    def program(self, path):
        return [os.path.join(ROOT, "build/workers/sentinai-" + self.agent),
                "--concurrency", "2", "--max-events", "40"]


class Client(threading.Thread):
    """Somebody with a connection that he gets again when it is gone."""

    def __init__(self, world, name):
        super().__init__(name=name, daemon=True)
        self.world = world
        self.rng = random.Random(f"{world.seed}/{name}")
        self.stopping = threading.Event()
        self.conn = None

    def run(self):
        while not self.stopping.is_set():
            try:
                self.connect()
                self.turn()
            except psycopg.Error as error:
                self.fault(error)
        if self.conn is not None:
            self.conn.close()

    def connect(self):
        if self.conn is None or self.conn.closed:
            self.conn = self.world.server.connect(self.name)

    def fault(self, error):
        """A server that goes away is nothing to tell of; nor is who was
        refused, or was in the way of somebody else."""
        code = error.sqlstate or "08"
        if code[:2] in ("57", "08"):
            if self.conn is not None:
                self.conn.close()
            self.stopping.wait(0.1)
        elif code not in ("SN404", "SN409", "40P01"):
            self.world.recorder.add(f="server",
                                    line=f"{self.name}: {code} {error}")

    def turn(self):
        raise NotImplementedError


class Person(Client):
    """Submits, decides and interferes."""

    number = 0

    def turn(self):
        self.stopping.wait(self.world.pause * self.rng.random() * 2)
        what = self.rng.choices((self.submit, self.decide, self.recalculate,
                                 self.set_field, self.begin, self.escalate,
                                 self.resolve, self.change_rule),
                                (40, 20, 8, 8, 5, 4, 3, 4))[0]
        what({"tenant_id": self.rng.choice(TENANTS),
              "exception_id": self.exception()})

    def exception(self):
        oldest = int((time.monotonic() - self.world.began) * FRESH)
        return f"EX-{oldest + self.rng.randrange(KEYS)}"

    def command(self, name, of, **arguments):
        """Calls it until it is known what became of it, by its key. Some are
        rolled back."""
        self.number += 1
        key = f"{self.name}/{self.number}"
        given = {**of, **arguments, "idempotency_key": key}
        call = f"select sentinai_platform.{name}(" + ", ".join(
            f"{a} => %({a})s" for a in given) + ")"
        rolls_back = self.rng.random() < 0.1
        add = self.world.recorder.add
        add(f="command", ph="invoke", key=key, command=name,
            tenant=of["tenant_id"], exception=of["exception_id"])
        end = {"ph": "info"}
        while end["ph"] == "info" and not self.stopping.is_set():
            try:
                self.connect()
                with self.conn.transaction(force_rollback=rolls_back):
                    done = self.conn.execute(call, given).fetchone()
                end = {"ph": "fail" if rolls_back else "ok", "id": str(done[0])}
            except psycopg.Error as error:
                self.fault(error)
                if rolls_back:
                    end = {"ph": "fail"}
                elif (error.sqlstate or "")[:2] == "SN":
                    # what nobody heard of may have been done before that
                    break
        add(f="command", key=key, **end)

    def submit(self, of):
        self.command("submit_exception", of, source="bank", data=json.dumps(
            {"amount": self.rng.randrange(100), "title": of["exception_id"]}))

    def decide(self, of):
        row = self.conn.execute(
            "select approval_id from sentinai_platform.list_approvals("
            "%(tenant_id)s, 'pending') order by random() limit 1",
            of).fetchone()
        if row:
            what = "approve" if self.rng.random() < 0.7 else "reject"
            self.conn.execute(f"select sentinai_platform.{what}(%s, %s)",
                              (row[0], self.name))

    def recalculate(self, of):
        self.command("recalculate_playbook", of, reason="again")

    def set_field(self, of):
        field, value = self.rng.choice((("severity", "low"), ("title", "new"),
                                        ("category", "odd"),
                                        ("attributes.owner", self.name)))
        self.command("execute_tool", of, tool="set", arguments=json.dumps(
            {"field": field, "value": value}))

    def begin(self, of):
        self.command("execute_playbook", of, version=1,
                     playbook=self.rng.choice(("long", "undo")))

    def escalate(self, of):
        self.command("escalate", of, reason="mine")

    def resolve(self, of):
        self.command("resolve", of, outcome="by hand")

    def change_rule(self, _):
        self.conn.execute(
            "update sentinai_platform.guardrails set playbook = %s "
            "where rule = %s", (self.rng.choice(("long", "undo")),
                                self.rng.choice(("ask", "low", "all"))))


class Rebuilder(Client):
    """Makes the read models anew, again and again."""

    def turn(self):
        self.stopping.wait(0.5)
        self.conn.execute("call sentinai_platform.rebuild_projections(%s, %s)",
                          (self.rng.choice(TENANTS), self.rng.randrange(1, 20)))
