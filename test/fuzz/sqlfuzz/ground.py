# sqlfuzz/ground.py: what the calls find in the database, and its digest.
# SPDX-License-Identifier: PostgreSQL
"""Subscriptions, events, open batches and dead letters, so that a call has
something to work on; helpers in the schema fz, owned by nobody's extension."""

import time

from .values import text

SCHEMA = """
create schema fz;
grant usage on schema fz to fz_poor, fz_caller;
grant usage on schema sentinai to fz_poor, fz_caller;
grant execute on all routines in schema sentinai to fz_caller;

create function fz.plain(q text) returns void language plpgsql as $$
begin execute q; end $$;
-- As an application does that goes on after an error.
create function fz.caught(q text) returns text language plpgsql as $$
begin
    begin execute q;
    exception when others then return pg_catalog.concat(sqlstate, ' ', sqlerrm);
    end;
    return null;
end $$;
create function fz.looped(q text) returns void language plpgsql as $$
declare r record;
begin for r in execute q loop exit; end loop; end $$;
create function fz.row_trigger() returns trigger language plpgsql as $$
begin execute new.q; return new; end $$;
create table fz.before_row (q text);
create trigger t before insert on fz.before_row for each row
    execute function fz.row_trigger();
create table fz.deferred (q text);
create constraint trigger t after insert on fz.deferred deferrable
    initially deferred for each row execute function fz.row_trigger();
create table fz.big (i int, pad text);
insert into fz.big select i, repeat('x', 500) from generate_series(1, 400) i;
analyze fz.big;
grant select, insert on all tables in schema fz to fz_poor, fz_caller;
"""

# Anew each time, so that what earlier calls hold is not in the way.
SUBSCRIBE = """
select sentinai.unsubscribe(worker_type) from sentinai_internal.subscription;
select sentinai.subscribe('fz_all');
select sentinai.subscribe('fz_some', '{fz.a}');
select sentinai.subscribe('fz_block', max_attempts => 1, on_dead => 'block');
select sentinai.subscribe('fz_free', ordered => false);
"""

PUBLISH = """
select count(sentinai.publish('fz.' || chr(97 + i %% 2), 't' || 1 + i %% 2,
    nullif('a' || i %% 12, 'a0'),
    jsonb_build_object('i', i, 'canary', 'c4n4ry')))
from generate_series(1, %s) i
"""

TABLES = """
select quote_ident(c.relname) from pg_class c
where c.relkind in ('r', 'p') and not c.relispartition and
    c.oid in (select d.objid from pg_depend d
        where d.classid = 'pg_class'::regclass and d.deptype = 'e' and
            d.refobjid = (select oid from pg_extension
                          where extname = 'sentinai'))
order by 1
"""

# A handler may tell of an event of any time; what it said of one that is past
# the retention, maintenance drops whenever it comes by.
AGED = {"event_processing": "where event_id >= (pg_catalog.lpad("
        "pg_catalog.to_hex((extract(epoch from pg_catalog.now() - "
        "pg_catalog.current_setting('sentinai.retention')::interval) * 1000)"
        "::bigint), 12, '0') || pg_catalog.repeat('0', 20))::uuid"}

# Maintenance folds its rows whenever it comes by; their sums are those of
# dead_letter.
FOLDED = {"dead_letter_count"}

WORKERS = ("fz_all", "fz_some", "fz_block", "fz_free")
ENOUGH = 12                     # calls that took effect, until it is refreshed


class Ground:
    """The state of the extension that calls start from."""

    def __init__(self, cluster, rng, database):
        self.cluster = cluster
        self.rng = rng
        self.database = database
        self.conn = cluster.connect("ground", database=database, clean=True)
        self.batches = []           # (token, [event ids])
        self.dead = []              # (event id, worker type)
        self.events = []
        self.turned = {}
        self.used = 0
        self.seen = None
        self.seen_at = None         # shortly before it was seen, and since
        self.next_seen_at = None

    def make(self):
        self.conn.execute("create extension if not exists sentinai")
        self.conn.execute(SCHEMA)
        self.tables = [r[0] for r in self.conn.execute(TABLES)
                       if r[0] not in FOLDED]
        self.digests = " union all ".join(
            f"select '{t}', count(*), coalesce(bit_xor(hashtextextended("
            f"t::text, 7)), 0) from sentinai_internal.{t} t {AGED.get(t, '')}"
            for t in self.tables)
        self.refresh(400)

    def refresh(self, events=60):
        """Have subscriptions, events, open batches, dead letters again."""
        ask = self.conn.execute
        ask(SUBSCRIBE)
        ask("select sentinai.resume_relay()")
        ask(PUBLISH % events)
        self.wait_sequenced()
        self.batches = []
        for worker in WORKERS:
            for most in (7, 1):
                rows = ask("select token, event_id::text from sentinai.claim("
                           "%s, %s, '1 day')", (worker, most)).fetchall()
                if rows:
                    self.batches.append((rows[0][0], [r[1] for r in rows]))
        for worker in WORKERS:
            row = ask("select token, event_id from sentinai.claim(%s, 1)",
                      (worker,)).fetchone()
            if row:
                ask("select sentinai.fail(%s, %s, 'x', false)", row)
        self.wait_sequenced()
        self.dead = ask(
            "select event_id::text, worker_type from sentinai.dead_letter "
            "where status = 'pending' order by dead_at desc limit 8").fetchall()
        self.events = [r[0] for r in ask(
            "select event_id::text from sentinai.event_log order by event_id "
            "desc limit 40")]
        self.used = 0
        self.seen = self.digest()

    def wait_sequenced(self, seconds=20):
        limit = time.monotonic() + seconds
        while self.conn.execute(
                "select unsequenced_commits > 0 from sentinai.stat_server()"
                ).fetchone()[0]:
            if time.monotonic() > limit:
                raise RuntimeError("the sequencer does not come along")
            time.sleep(0.005)

    def digest(self):
        """Table → (rows, hash of all rows)."""
        self.seen_at = self.next_seen_at
        self.next_seen_at = self.conn.execute(
            "select clock_timestamp() - interval '1 s'").fetchone()[0]
        return {r[0]: r[1:] for r in self.conn.execute(self.digests)}

    def changed(self):
        """Tables that are not as they were; what they are now counts on.

        A delayed event whose time has come is sequenced by nobody's call.
        """
        now = self.digest()
        found = sorted(t for t in now if now[t] != self.seen[t])
        if {"round", "slice"}.issuperset(found) and self.conn.execute(
                "select exists (select from sentinai.event_log where "
                "deliver_at between %s and clock_timestamp())",
                (self.seen_at,)).fetchone()[0]:
            found = []
        self.seen = now
        return found

    def took_effect(self):
        """A call has changed something that it may change."""
        self.used += 1
        if self.used >= ENOUGH:
            self.refresh()
        else:
            self.wait_sequenced()
            self.seen = self.digest()

    # Arguments that exist

    def turn(self):
        """What this call's arguments are about: one batch, one letter."""
        rng = self.rng
        if self.dead and rng.random() < 0.3:
            event, worker = rng.choice(self.dead)
            self.turned = {"event_id": [uuid(event)],
                           "worker_type": [text(worker)]}
            return
        token, ids = rng.choice(self.batches)
        some = rng.sample(ids, rng.randrange(1, len(ids) + 1))
        self.turned = {
            "token": [text(token)],
            "event_id": [uuid(rng.choice(ids))],
            "event_ids": ["('{" + ",".join(some) + "}'::pg_catalog._uuid)",
                          "(null::pg_catalog._uuid)"],
            "after_id": [uuid(rng.choice(self.events))],
            "causation_id": [uuid(rng.choice(self.events))]}

    def pool(self, param):
        return self.turned.get(param.name)


def uuid(value):
    return f"('{value}'::pg_catalog.uuid)"
