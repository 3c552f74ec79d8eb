# world/hostile.py: a tenant who does all that he may, and tries all he may not.
# SPDX-License-Identifier: PostgreSQL
"""Each is a process with several sessions of the tenant's role. What belongs to
others (ids, tokens) is told to it, as if it had stolen them. Nothing it is told
may have another's name in it, and what it tries for others must be refused, or
come to nothing."""

import json
import os
import random
import time

import psycopg

from .client import Client, Lost
from .tenants import strangers

# A tenant's own: how often, and what. {me} is the tenant, {you} another, {id} an
# event and {token} a batch of that one.
OWN = (
    (2, "select sentinai.publish_batch(array_fill('A'::text, array[{n}]), "
     "array_fill('{me}'::text, array[{n}]), array(select 'k' || i % {keys} "
     "from generate_series(1, {n}) i), array_fill('{{}}'::jsonb, array[{n}]))"),
    (2, "insert into sentinai.outbox (tenant_id, aggregateid, type, payload) "
     "select '{me}', 'k' || i % {keys}, 'B', '{{\"n\": 1}}' "
     "from generate_series(1, {n}) i"),
    (2, "select sentinai.publish('C', '{me}', 'k', '{{}}', "
     "idempotency_key => 'same' || {keys}) from generate_series(1, 200)"),
    (1, "select sentinai.publish('A', '{me}', 'k', "
     "jsonb_build_object('t', repeat('x', {n} * 500)))"),
    (1, "select sentinai.publish('A', '{me}', 'k', (repeat('[', {n}) || "
     "repeat(']', {n}))::jsonb)"),
    (1, "select sentinai.publish('A', '{me}', 'k', '{{}}', "
     "deliver_at => clock_timestamp() + i * '1ms'::interval) "
     "from generate_series(1, 500) i"),
    (1, "select sentinai.retry_dead_letters('{me}', reason => 'r')"),
    (1, "select sentinai.discard_dead_letters('{me}', actor => 'a', reason => 'r')"),
    (1, "select sentinai.retry_dead_letters(event_ids => '{{{id}}}')"),
    (1, "select sentinai.purge_dead_letters(now(), tenant_id => '{me}')"),
    (1, "select sentinai.set_limit('{me}', 'calls', 1000000, '1s')"),
    (1, "select sentinai.set_alert('dead_letters', '{me}', 1)"),
    (1, "select sentinai.drop_alert('dead_letters', '{me}')"),
    (1, "select * from sentinai.verify_audit('{me}')"),
    (1, "call sentinai.wait_for_work('own-{me}', '500ms', null)"),
    (1, "select sentinai.act_as('{me}'), count(*) from sentinai.event_log"),
)

# What must be refused
REFUSED = (
    "select sentinai.publish('A', '{you}', 'x', '{{}}')",
    "select sentinai.publish_batch('{{A,A}}', '{{{me},{you}}}', '{{a,b}}', "
    "array['{{}}', '{{}}']::jsonb[])",
    "insert into sentinai.outbox (tenant_id, type, payload) values "
    "('{me}', 'A', '{{}}'), ('{you}', 'A', '{{}}')",
    "insert into sentinai.outbox (id, tenant_id, type, payload) values "
    "('{id}', '{you}', 'A', '{{}}')",
    "select sentinai.act_as('{you}')",
    "select * from sentinai.get_events_by_tenant('{you}')",
    "select * from sentinai.get_events_by_aggregate('{you}', 'hot1')",
    "select * from sentinai.get_trace('x', '{you}')",
    "select * from sentinai.dead_letters('{you}')",
    "select * from sentinai.dead_letter_stats('{you}')",
    "select sentinai.retry_dead_letters('{you}', reason => 'r')",
    "select sentinai.discard_dead_letters('{you}', actor => 'a', reason => 'r')",
    "select sentinai.purge_dead_letters(now(), tenant_id => '{you}')",
    "select sentinai.retry_dead_letter('{id}', 'house')",
    "select sentinai.retry_dead_letter('{id}', 'own-{you}')",
    "select sentinai.discard_dead_letter('{id}', 'own-{you}', 'a', 'r')",
    "select sentinai.get_dead_letter('{id}', 'own-{you}')",
    "select sentinai.edit_and_retry('{id}', 'own-{you}', '{{}}', 'a', 'r')",
    "select sentinai.retry_event('{id}', 'own-{you}')",
    "select sentinai.give_up_event('{id}', 'house', 'a', 'r')",
    "select sentinai.give_up_event('{id}', 'own-{you}', 'a', 'r')",
    "select sentinai.set_limit('{you}', 'events_published', 0, '1s')",
    "select sentinai.set_limit('*', 'events_published', 0, '1s')",
    "select sentinai.drop_limit('{you}', 'calls')",
    "select sentinai.consume_limit('{you}', 'calls')",
    "select sentinai.set_alert('dead_letters', '{you}', 1)",
    "select sentinai.set_alert('dead_letters', '*', 1)",
    "select sentinai.drop_alert('dead_letters', '{you}')",
    "select sentinai.set_backlog_limit('house', '{you}', 1)",
    "select sentinai.set_backlog_limit('house', '*', 1)",
    "select sentinai.set_backlog_limit('own-{you}', '{you}', 1)",
    "select sentinai.grant_tenant('{me}', '{you}', 'read')",
    "select sentinai.grant_work('{me}', 'house')",
    "select sentinai.revoke_tenant('{you}', '{you}', 'work')",
    "select sentinai.revoke_work('{you}', 'own-{you}')",
    "select sentinai.require_proof('{you}')",
    "select sentinai.create_roles()",
    "select sentinai.after_restore()",
    "select sentinai.subscribe('house', '{{A}}')",
    "select sentinai.subscribe('mine-{n}', '{{A}}')",
    "select sentinai.unsubscribe('house')",
    "select sentinai.unsubscribe('own-{you}')",
    "select sentinai.alter_subscription('house', max_attempts => 1)",
    "select sentinai.alter_subscription('own-{me}', all_tenants => true)",
    "select sentinai.set_retry_policy('house', 'A', 1, '{{1s}}')",
    "select sentinai.revoke_lease('house', 'house-0')",
    "select sentinai.revoke_lease('own-{you}', 'own-{you}')",
    "select * from sentinai.claim('house', 1)",
    "select * from sentinai.claim('own-{you}', 1)",
    "call sentinai.wait_for_work('house', '1s', null)",
    "call sentinai.wait_for_work('own-{you}', '1s', null)",
    "select sentinai.complete('{token}')",
    "select sentinai.complete('{token}', '{{{id}}}')",
    "select sentinai.fail('{token}', '{id}', 'e', false)",
    "select sentinai.extend('{token}', '1 day')",
    "select sentinai.release('{token}')",
    "select sentinai.mark_as_processing('{id}', 'house', '{you}')",
    "select sentinai.mark_as_completed('{id}', 'own-{you}', '{you}')",
    "select sentinai.work_on('{id}')",
    "select * from sentinai.verify_audit('{you}')",
    "select * from sentinai.verify_audit()",
    "select sentinai.audit_proof('{id}')",
    "select sentinai.register_event_type('A', '{{\"type\": \"string\"}}')",
    "select sentinai.deprecate_event_type('A')",
    "select sentinai.drop_event_type_version('A', 1, true)",
    "select sentinai.pause_relay()",
    "select sentinai.make_partitions(now() + '10 years')",
    "set role {you}",
    "set sentinai.tenant_isolation = off",
    "set sentinai.crowded_at = 1000000",
    "select * from sentinai_internal.event_log",
    "lock table sentinai.event_log in access exclusive mode",
    "lock table sentinai_internal.event_log in access share mode",
    "truncate sentinai.event_log",
    "delete from sentinai.event_log",
    "update sentinai.dead_letter set status = 'pending'",
)

# What has nothing to show
NOTHING = (
    "select * from sentinai.event_log where event_id = '{id}'",
    "select * from sentinai.event_log where tenant_id = '{you}'",
    "select * from sentinai.outbox where tenant_id = '{you}'",
    "select * from sentinai.event_processing where event_id = '{id}'",
    "select * from sentinai.dead_letter where tenant_id = '{you}'",
    "select * from sentinai.limit_usage where tenant_id = '{you}'",
    "select * from sentinai.actions where tenant_id = '{you}'",
    "select 1 where sentinai.may('read', '{you}')",
    "select 1 where sentinai.may('work', '*')",
    "select (sentinai.retry_dead_letters(event_ids => '{{{id}}}', "
    "reason => 'r')).letters",
)

# Views, and all that they show
READ = ("event_log", "outbox", "event_processing", "dead_letter", "limits",
        "limit_usage", "alerts", "backlog_limits", "actions", "stat_queue",
        "stat_lane", "stat_agent", "stat_relay", "stat_info", "event_types",
        "tenant_grants", "work_grants", "audit_roots")
LEAK = """
create or replace function pg_temp.leak(t text) returns boolean
language plpgsql cost 0.0000001 as
$$begin raise notice '%', t; return true; end$$
"""
HOLD = 2                        # seconds that locks and leases are held
LARGE = (10, 500, 4000, 15000)
PATIENCE = "4s"                 # statement_timeout


def rows_of(rows):
    """Whether there is anything in an answer."""
    return any(value not in (None, False, 0, "") for row in rows for value in row)


class Villain(Client):
    """One session."""

    habits = {"own": 6, "refused": 8, "nothing": 3, "read": 2, "leaky": 1,
              "claims": 3, "failing": 2, "locks": 1, "copies": 1,
              "cancelled": 2, "storm": 0.3}

    def __init__(self, world, name, tenant, others):
        super().__init__(world, name)
        self.user = tenant
        self.others = others
        self.calls = 0

    def turn(self):
        [habit] = self.rng.choices(list(self.habits), self.habits.values())
        if self.conn.info.transaction_status:
            self.ask("rollback")
        if not hasattr(self.conn, "told"):
            self.conn.told = []
            self.conn.add_notice_handler(
                lambda d: self.conn.told.append(f"{d.message_primary} "
                                                f"{d.message_detail}"))
            self.ask(f"set statement_timeout = '{PATIENCE}'")
        getattr(self, habit)()

    def unexpected(self, error):
        """What is refused is as it should be; an internal error is not."""
        if (error.sqlstate or "08").startswith("XX"):
            self.breach("an internal error", error)

    def breach(self, what, said):
        self.record(f="breach", who=self.name, what=what, said=str(said)[:300])

    def names(self):
        loot = self.world.loot()
        return {"me": self.user, "you": loot["tenant"], "id": loot["id"],
                "token": loot["token"], "n": self.rng.choice(LARGE),
                "keys": self.rng.choice((1, 50, 5000))}

    def tell(self, sql, names, own=()):
        """An answer, after a look whether another is named in it; None for an
        error."""
        self.calls += 1
        try:
            rows, error = self.ask(sql), None
        except psycopg.Error as raised:
            rows, error = None, raised
            self.unexpected(raised)
        said = [rows, self.conn.told]
        if error is not None:
            said.append((error.diag.message_primary, error.diag.message_detail,
                         error.diag.context))
        if strangers(said, {self.user, *own}):
            self.breach(sql, said)
        self.conn.told.clear()
        return rows

    def own(self):
        names = self.names()
        [(_, sql)] = self.rng.choices(OWN, [share for share, _ in OWN])
        self.tell(sql.format(**names), names)

    def refused(self):
        names = self.names()
        sql = self.rng.choice(REFUSED).format(**names)
        rows = self.tell(sql, names, {names["you"]})
        if rows is not None:
            self.breach(f"was not refused: {sql}", rows)
            self.ask("reset role")

    def nothing(self):
        names = self.names()
        sql = self.rng.choice(NOTHING).format(**names)
        rows = self.tell(sql, names, {names["you"]})
        if rows and rows_of(rows):
            self.breach(f"there is something: {sql}", rows)

    def read(self):
        self.tell(f"select * from sentinai.{self.rng.choice(READ)} "
                  "limit 300", {})

    def leaky(self):
        """A function that tells of each row that it is asked about."""
        self.ask(LEAK)
        view = self.rng.choice(("event_log", "dead_letter", "event_processing"))
        self.tell(f"select count(*) from sentinai.{view} v where "
                  "pg_temp.leak(v::text) and tenant_id = 'nobody'", {})

    def claims(self):
        """All lanes until the lease is over, and too late then."""
        rows = self.tell(
            f"select token, tenant_id from sentinai.claim('own-{self.user}', "
            f"{self.rng.choice(LARGE)}, '{HOLD}s', '{self.name}')", {})
        if rows:
            self.stopping.wait(HOLD * self.rng.choice((0.1, 0.9, 1.2)))
            self.tell(f"select sentinai.complete('{rows[0][0]}')", {})

    def failing(self):
        rows = self.tell("select token, event_id::text from sentinai.claim("
                         f"'own-{self.user}', 20, '{HOLD}s')", {})
        for token, event_id in rows or ():
            self.tell(f"select sentinai.fail('{token}', '{event_id}', "
                      f"repeat('e', 20000), {self.rng.random() < 0.5}, '0')", {})

    def locks(self):
        """What a tenant may lock, and transactions that stay open."""
        self.ask("begin")
        for sql in self.rng.sample((
                "lock table sentinai.outbox in row exclusive mode",
                "lock table sentinai.event_log in access share mode",
                "select pg_advisory_xact_lock(i) from generate_series(0, 200) i",
                "select pg_advisory_xact_lock_shared(0, i) "
                "from generate_series(0, 200) i",
                "select * from sentinai.event_log limit 10 for update",
                "declare c cursor with hold for select * from sentinai.event_log",
                f"select sentinai.publish('A', '{self.user}', 'k', '{{}}', "
                "idempotency_key => 'held')",
                "select sentinai.give_up_event(event_id, 'house', 'a', 'r') "
                "from sentinai.event_log order by event_id desc limit 1",
                f"select sentinai.retry_dead_letters('{self.user}', 'house', "
                "reason => 'r')",
                f"select sentinai.set_alert('dead_letters', '{self.user}', 1)"),
                3):
            self.ask("savepoint s")
            if self.tell(sql, {}) is None:
                self.ask("rollback to s")
        self.stopping.wait(HOLD)
        self.ask(self.rng.choice(("commit", "rollback")))
        self.ask("close all")

    def copies(self):
        """A COPY for itself, with another's row at its end now and then."""
        names = self.names()
        crime = self.rng.random() < 0.5
        try:
            with self.conn.cursor() as cursor, cursor.copy(
                    "copy sentinai.outbox (tenant_id, aggregateid, type, "
                    "payload) from stdin") as copy:
                for n in range(names["n"]):
                    copy.write_row((self.user, f"k{n}", "A", "{}"))
                if crime:
                    copy.write_row((names["you"], "k", "A", "{}"))
        except (psycopg.Error, ValueError):
            if self.conn.closed or self.conn.broken:
                raise Lost("copy") from None
            return
        if crime:
            self.breach("a COPY was not refused", names["you"])

    def cancelled(self):
        """Whatever it is, it ends in the middle."""
        self.ask(f"set statement_timeout = {self.rng.randrange(1, 60)}")
        self.own()
        self.ask(f"set statement_timeout = '{PATIENCE}'")

    def storm(self):
        """Sessions that come and go, and wait."""
        more = []
        try:
            for _ in range(self.rng.randrange(20)):
                more.append(self.world.server.connect(
                    f"h-{self.name}", user=self.user))
                more[-1].execute(f"set statement_timeout = '{PATIENCE}'")
                more[-1].execute("call sentinai.wait_for_work("
                                 f"'own-{self.user}', '20ms', null)")
        except psycopg.Error as error:
            self.unexpected(error)      # too many connections for the role
        for conn in more:
            conn.close()


class Den:
    """What the sessions of one villain share."""

    def __init__(self, server, recorder, seed, place):
        self.server = server
        self.recorder = recorder
        self.seed = seed
        self.place = place
        self.rng = random.Random(seed)

    def loot(self):
        """One of the things that were stolen last."""
        with open(self.place, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 8000))
            lines = file.read().decode().splitlines()[1:]
        return json.loads(self.rng.choice(lines)) if lines else {
            "tenant": "t01", "id": "00000000-0000-7000-8000-000000000000",
            "token": "none"}


def haunt(den, tenant, others, sessions, begin, end):
    """A villain's process."""
    if not begin.wait(600):
        return
    villains = [Villain(den, f"{tenant}-{n}", tenant, others)
                for n in range(sessions)]
    for villain in villains:
        villain.start()
    end.wait()
    for villain in villains:
        villain.stopping.set()
    limit = time.monotonic() + 30
    for villain in villains:
        villain.join(max(0.1, limit - time.monotonic()))
        if villain.is_alive():
            den.recorder.add(f="server", line=f"{villain.name} did not stop")
        den.recorder.add(f="harm", who=villain.name, calls=villain.calls)
    den.recorder.close()
