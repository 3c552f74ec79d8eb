#!/usr/bin/env python3
# pooled.py: twenty tenants share two sessions behind PgBouncer.
# SPDX-License-Identifier: PostgreSQL
"""Transactions of twenty tenants, in any order, through two sessions of the
server: one for those who set a tenant's role or narrow one role by act_as(),
one for a role that has to bring a proof. Many of them end in an error, in the
middle of a savepoint, or with their connection. Each looks at all it is told:
nothing of another tenant, and what is its own is there.

The last line but one is the verdict. PG_CONFIG names the server."""

import argparse
import logging
import multiprocessing
import os
import random
import sys
import time

import psycopg

import child
from world.server import Server
from world.tenants import TENANTS, WALL, make_key, make_roles, proof, strangers

POOLS = {"switch": "gateway", "proofs": "gatekeeper"}
CLIENTS = 8
KEPT = 10                       # events of a tenant, from the beginning
WITNESSES = 5
REFUSED = ("SN403", "SN404", "42501")

# What a transaction asks for: what it is called, whether a tenant has something
# to be shown, the statement. {me} is the tenant that acts, {you} another one.
CALLS = (
    ("its log", True, "select tenant_id, aggregate_id, payload, metadata "
     "from sentinai.event_log order by event_id desc limit 3"),
    ("its events", True,
     "select * from sentinai.get_events_by_tenant('{me}', max_events => 3)"),
    ("its aggregate", True,
     "select * from sentinai.get_events_by_aggregate('{me}', 'k-{me}')"),
    ("an event of others", False, "select tenant_id, payload "
     "from sentinai.event_log where event_id = '{your_id}'"),
    ("an event of its own", True, "select tenant_id, payload "
     "from sentinai.event_log where event_id = '{my_id}'"),
    ("others' rows", False, "select payload from sentinai.outbox "
     "where id = '{your_id}'"),
    ("a flow of all", True,
     "select tenant_id, aggregate_id from sentinai.get_trace('flow')"),
    ("its letters", True, "select * from sentinai.dead_letters()"),
    ("others' letters", False, "select * from sentinai.dead_letter "
     "where tenant_id = '{you}'"),
    ("its right", True,
     "select 1 where sentinai.may('read', '{me}')"),
    ("others' right", False,
     "select 1 where sentinai.may('read', '{you}')"),
)
# what others would have to suffer, and is refused
CRIMES = (
    "select * from sentinai.get_events_by_tenant('{you}')",
    "select * from sentinai.get_events_by_aggregate('{you}', 'k-{you}')",
    "select * from sentinai.get_trace('flow', '{you}')",
    "select * from sentinai.dead_letters('{you}')",
    "select sentinai.publish('T', '{you}', 'k-{me}', '{{}}')",
    "select sentinai.publish_batch('{{T,T}}', '{{{me},{you}}}', '{{a,b}}', "
    "array['{{}}', '{{}}']::jsonb[])",
    "insert into sentinai.outbox (tenant_id, aggregateid, type, payload) "
    "values ('{you}', 'k', 'T', '{{}}')",
    "select sentinai.act_as('{you}'), sentinai.publish('T', '{you}', 'k', '{{}}'), "
    "sentinai.act_as('{me}')",
    "select sentinai.get_dead_letter('{your_letter}', 'work')",
    "select sentinai.discard_dead_letter('{your_letter}', 'work', 'a', 'r')",
    "select sentinai.retry_dead_letter('{your_letter}', 'work')",
    "select sentinai.set_limit('{you}', 'calls', 1, '1s')",
)
PUBLISH = ("select sentinai.publish('T', '{me}', 'k-{me}', "
           "'{{\"of\": \"{me}\"}}')")


class Client:
    """One client of the pool, in a process of its own."""

    def __init__(self, server, number, facts, seed):
        self.server = server
        self.name = f"c{number}"
        self.rng = random.Random(f"{seed}/{number}")
        self.facts = facts          # tenant → ids and proof
        self.conns = {}
        self.calls = self.transactions = self.published = 0
        self.found = []
        self.kinds = {"role": 4, "acts": 4, "proof": 6, "bare": 2,
                      "savepoint": 2, "crime": 2, "gone": 0.02}

    def conn(self, pool):
        if pool not in self.conns:
            self.conns[pool] = self.server.connect(self.name, dbname=pool)
        return self.conns[pool]

    def ask(self, pool, before, statements, after):
        """A transaction in one go; what each statement but those around them
        answers, or the error that it ended with."""
        conn = self.conn(pool)
        cursors, error = [], None
        try:
            with conn.pipeline():
                for sql in ("begin", *before):
                    conn.execute(sql)
                for sql in statements:
                    cursors.append(conn.execute(sql))
                conn.execute(after)
            return [c.fetchall() if c.description else [] for c in cursors], None
        except psycopg.Error as raised:
            error = raised
        if conn.closed or conn.broken:
            self.leave(pool)
        else:
            conn.execute("rollback")
        return [], error

    def leave(self, *pools):
        """Whatever is open there."""
        for pool in pools:
            self.conns.pop(pool).close()

    def say(self, what, of, told):
        self.found.append(f"{what}, acting for {of}: {str(told)[:300]}")

    def names(self):
        me, you = self.rng.sample(TENANTS, 2)
        mine, yours = self.facts[me], self.facts[you]
        return {"me": me, "you": you, "my_id": mine["id"],
                "your_id": yours["id"], "your_letter": yours["letter"]}

    def begins(self, kind, me):
        """The pool, and how a transaction becomes that of a tenant."""
        if kind == "role":
            return "switch", [f"set local role {me}"]
        if kind == "acts":
            return "switch", ["set local role crew",
                              f"select sentinai.act_as('{me}')"]
        return "proofs", [f"select sentinai.act_as('{me}', "
                          f"'{self.facts[me]['proof']}')"]

    def turn(self):
        [kind] = self.rng.choices(list(self.kinds), self.kinds.values())
        names = self.names()
        self.transactions += 1
        try:
            getattr(self, "as_" + kind, self.as_tenant)(kind, names)
        except psycopg.Error as error:
            self.say(f"{kind}: an error", names["me"], error)
            self.leave(*self.conns)

    def as_tenant(self, kind, names):
        """What it sees is its own, and it sees that."""
        pool, before = self.begins(kind, names["me"])
        chosen = self.rng.sample(CALLS, 8)
        statements = [sql.format(**names) for _, _, sql in chosen]
        publishes = self.rng.random() < 0.05
        if publishes:
            statements.append(PUBLISH.format(**names))
        ends = "commit" if self.rng.random() < 0.8 else "rollback"
        told, error = self.ask(pool, before, statements, ends)
        if error:
            self.say(f"{kind}: an error", names["me"], error)
            return
        self.calls += len(before) + len(statements) - (kind != "proof")
        self.published += publishes and ends == "commit"
        for (what, shown, _), rows in zip(chosen, told):
            if strangers(rows, {names["me"]}) or (rows and not shown):
                self.say(f"leak: {kind}: {what}", names["me"], rows)
            elif shown and not rows:
                self.say(f"blind: {kind}: {what}", names["me"], rows)

    def as_bare(self, kind, names):
        """Nothing is left of those who had the session before."""
        chosen = self.rng.sample(CALLS, 6)
        told, error = self.ask(
            "proofs", [], [sql.format(**names) for _, _, sql in chosen], "commit")
        self.calls += len(chosen)
        if error and error.sqlstate not in REFUSED:
            self.say(f"{kind}: an error", "nobody", error)
        for (what, _, _), rows in zip(chosen, told):
            if rows:
                self.say(f"leak: {kind}: {what}", "nobody", rows)
        self.crime("proofs", [], kind, names)

    def as_savepoint(self, kind, names):
        """Whom a savepoint acts for is forgotten with it."""
        _, act = self.begins("proof", names["me"])
        other = {**names, "me": names["you"]}
        _, again = self.begins("proof", other["me"])
        chosen = [c for c in CALLS if c[1]]
        statements = [sql.format(**names) for _, _, sql in chosen]
        how = self.rng.choice(("rollback to s", "release s"))
        told, error = self.ask(
            "proofs", [], ["savepoint s", *act, *statements, how, *statements,
                           *again, *(s[2].format(**other) for s in chosen)],
            "rollback")
        self.calls += 3 * len(chosen) + 2
        if error:
            if error.sqlstate not in REFUSED:
                self.say(f"{kind}: an error", names["me"], error)
            return
        n = len(chosen)
        for part, own in ((told[2:2 + n], names["me"]),
                          (told[3 + n:3 + 2 * n], None),
                          (told[4 + 2 * n:], other["me"])):
            for (what, _, _), rows in zip(chosen, part):
                if strangers(rows, {own}) or (rows and own is None):
                    self.say(f"leak: {kind}: {what}", own, rows)
                elif own and not rows:
                    self.say(f"blind: {kind}: {what}", own, rows)

    def as_crime(self, _, names):
        kind = self.rng.choice(("role", "acts", "proof"))
        pool, before = self.begins(kind, names["me"])
        self.crime(pool, before, kind, names)

    def crime(self, pool, before, kind, names):
        """It is refused, in words that tell nothing."""
        crime = self.rng.choice(CRIMES).format(**names)
        told, error = self.ask(pool, before, [crime], "commit")
        self.calls += 1 + (len(before) if kind != "role" else 0)
        if error is None:
            self.say(f"leak: {kind}: {crime}", names["me"], told)
        elif error.sqlstate not in REFUSED:
            self.say(f"{kind}: an error of {crime}", names["me"], error)
        elif strangers(error, {names["me"], names["you"]}):
            self.say(f"leak: {kind}: refused {crime}", names["me"], error)

    def as_gone(self, _, names):
        """A client that leaves in the middle of its transaction."""
        pool, before = self.begins(self.rng.choice(("acts", "proof")),
                                   names["me"])
        conn = self.conn(pool)
        with conn.pipeline():
            for sql in ("begin", *before, PUBLISH.format(**names)):
                conn.execute(sql)
        self.calls += 2
        self.leave(pool)


def work(server, number, facts, options, pipe):
    """A client's process."""
    client = Client(server, number, facts, options.seed)
    while client.calls < options.calls / CLIENTS and len(client.found) < 100:
        client.turn()
    pipe.send((client.calls, client.transactions, client.published,
               client.found))


def fill(server, key):
    """Tenants with events, a flow that all are in, and a dead letter each."""
    facts = {}
    with server.connect("setup", direct=True) as conn:
        make_roles(conn, logs_in=False)
        conn.execute("create role gateway login noinherit;"
                     "create role gatekeeper login; create role crew;"
                     f"grant crew, {', '.join(TENANTS)} to gateway;"
                     "grant sentinai_publisher, sentinai_reader, "
                     "sentinai_operator to crew, gatekeeper;"
                     "select sentinai.grant_tenant(r, '*', g) from unnest("
                     "'{crew,gatekeeper}'::text[]) r, unnest("
                     "'{publish,read,operate}'::text[]) g;"
                     "select sentinai.subscribe('work', '{T}');"
                     "select sentinai.require_proof('gatekeeper')")
        for tenant in TENANTS:
            ids = [conn.execute(
                "select sentinai.publish('T', %s, %s, jsonb_build_object('of', "
                "%s::text), correlation_id => 'flow')::text",
                (tenant, f"k-{tenant}", tenant)).fetchone()[0]
                   for _ in range(KEPT)]
            facts[tenant] = {"id": ids[0], "proof":
                             proof(key, "gatekeeper", tenant)}
        left = set(TENANTS)
        limit = time.monotonic() + 60
        while left and time.monotonic() < limit:
            for token, event_id, tenant in conn.execute(
                    "select token, event_id::text, tenant_id from "
                    "sentinai.claim('work', 100)").fetchall():
                if tenant in left:
                    left.remove(tenant)
                    conn.execute("select sentinai.fail(%s, %s, %s, false)",
                                 (token, event_id, f"failed for {tenant}"))
                    facts[tenant]["letter"] = event_id
        if left:
            raise RuntimeError(f"no event of {left} came")
    return facts


def run(server, options):
    """All clients; their sums and what they found."""
    facts = fill(server, make_key(server))
    context = multiprocessing.get_context("fork")
    pipes, processes = [], []
    for number in range(CLIENTS):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, daemon=True, args=(
            server, number, facts, options, theirs))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    results = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    calls, transactions, published = (sum(r[n] for r in results)
                                      for n in range(3))
    found = [line for r in results for line in r[3]]
    with server.connect("final", direct=True) as conn:
        stored = conn.execute("select count(*) from sentinai.event_log "
                              "where event_type = 'T'").fetchone()[0]
        wrong = conn.execute("select count(*) from sentinai.event_log where "
                             "payload->>'of' <> tenant_id").fetchone()[0]
        sessions = conn.execute("select count(*) from pg_stat_activity where "
                                "usename in ('gateway', 'gatekeeper')"
                                ).fetchone()[0]
    if wrong or stored != published + KEPT * len(TENANTS):
        found.append(f"lost: {stored} stored, {wrong} of them another's, "
                     f"{published} published")
    if sessions > len(POOLS):
        found.append(f"sessions: {sessions}")
    return calls, transactions, found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000,
                        help="of functions and views (20000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    options.__dict__.update(kafka=False, rabbitmq=False, mock=False,
                            pgbouncer=True, window=1, relay_workers=1,
                            retention=-1, crowded_at=1000, late=False)
    child.obey()
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # of errors we expect
    server = Server(os.environ.get("PG_CONFIG", "pg_config"), options, set(),
                    settings=WALL, roles=POOLS.values(), pools=POOLS,
                    pool_size=1)
    start = time.monotonic()
    found = ["it did not come to an end"]
    try:
        server.make()
        calls, transactions, found = run(server, options)
    finally:
        server.close(keep=bool(found) and options.keep)
    leaks = sum(line.startswith("leak") for line in found)
    print(f"seed {options.seed}")
    print(f"result: {calls:,} calls in {transactions:,} "
          f"transactions of {len(TENANTS)} tenants through {len(POOLS)} "
          f"sessions, {leaks} leaks, {time.monotonic() - start:.0f} s")
    for line in found[:WITNESSES]:
        print(f"# {line}")
    if found:
        rules = sorted({line.partition(":")[0] for line in found})
        print(f"verdict: {len(found)} VIOLATIONS: {', '.join(rules)}")
    print(f"{'not ok' if found else 'ok'} 1 - tenants through PgBouncer")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
