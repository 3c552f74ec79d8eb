# harness/queues.py: SentinAI, its peers and the bare table, one class each.
# SPDX-License-Identifier: PostgreSQL
"""Each queue in the way its own manual advises.

The SQL takes $1 the payload, $2 the aggregate (or an array of them), $3 the
tenant. A claim's first column is what its finish needs; its column "payload"
is the event. Everybody fetches all columns the queue offers.
"""

import os
import shutil
import subprocess

from .cluster import ROOT

LIMIT, PEER, OURS = "limit", "peer", "sentinai"


def peers_dir():
    return os.environ.get("SENTINAI_PEERS",
                          os.path.join(ROOT, "../shared/peers"))


def cache_dir():
    base = os.environ.get("SENTINAI_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")),
        "sentinai")
    path = os.path.join(base, "bench")
    os.makedirs(path, exist_ok=True)
    return path


class Queue:
    """What a scenario needs to know about a queue."""

    name = label = ""
    role = PEER
    schema = "public"
    publish = None              # one event
    copy = None                 # (statement, row)
    max_agents = None
    tick = {}                   # what has to be called to move it on
    idle = {"poll_ms": 10}      # what an agent does that found nothing
    pipeline = True

    def missing(self, cluster):
        """Why it cannot take part, None when it can."""
        return None

    def install(self, cluster, database):
        raise NotImplementedError

    def batch(self, count):
        """One transaction of many events, the payload given once."""
        return None

    def arrays(self, count):
        """The same from arrays that the client sends."""
        return None

    def agent(self, count):
        """How to claim up to that many events and finish them."""
        return None


class Bare(Queue):
    name, label, role = "bare", "bare table", LIMIT
    publish = "insert into event (payload) values ($1::jsonb)"
    copy = ("copy event (payload) from stdin", "%p")

    def install(self, cluster, database):
        cluster.sql("create table event (id bigserial primary key, "
                    "payload jsonb not null)", database)

    def batch(self, count):
        return ("insert into event (payload) "
                f"select $1::jsonb from generate_series(1, {count})")

    def arrays(self, count):
        return ("insert into event (payload) "
                "select p::jsonb from unnest($1::text[]) p")


class SentinAI(Queue):
    name, label, role = "sentinai", "SentinAI", OURS
    schema = "sentinai"
    publish = "select sentinai.publish('Measured', $3, $2, $1::jsonb)"
    copy = ("copy sentinai.outbox (tenant_id, aggregatetype, aggregateid, "
            "type, payload) from stdin", "%t\texception\t%a\tMeasured\t%p")
    idle = {"wait": "call sentinai.wait_for_work('bench', '500 ms', null)"}

    def missing(self, cluster):
        if not cluster.preload:
            return "not installed: make install"
        return None

    def install(self, cluster, database):
        cluster.sql("create extension sentinai", database)
        self.subscribe(cluster, database)
        cluster.until(database, "select exists (select from pg_stat_activity "
                      "where datname = current_database() and backend_type "
                      "like 'sentinai sequencer%')", 15)

    def subscribe(self, cluster, database):
        cluster.sql("select sentinai.subscribe('bench', "
                    "start_from => 'earliest')", database)

    def batch(self, count):
        return ("select cardinality(sentinai.publish_batch("
                f"array_fill('Measured'::text, array[{count}]), "
                f"array_fill($3::text, array[{count}]), $2::text[], "
                f"array_fill($1::jsonb, array[{count}])))")

    def arrays(self, count):
        return ("select cardinality(sentinai.publish_batch("
                f"array_fill('Measured'::text, array[{count}]), "
                f"array_fill($3::text, array[{count}]), $2::text[], "
                "$1::jsonb[]))")

    def turns(self, count):
        """A batch of several tenants in turn."""
        return ("select cardinality(sentinai.publish_batch("
                f"array_fill('Measured'::text, array[{count}]), $3::text[], "
                f"$2::text[], array_fill($1::jsonb, array[{count}])))")

    def agent(self, count):
        return {"claim": f"select * from sentinai.claim('bench', {count})",
                "finish": "select sentinai.complete($1)", "finish_with": "t"}


class Pgmq(Queue):
    name, label, schema = "pgmq", "pgmq 1.5.1", "pgmq"
    publish = "select pgmq.send('q', $1::jsonb)"

    def missing(self, cluster):
        source = os.path.join(peers_dir(), "pgmq")
        target = os.path.join(cluster.share, "extension")
        if os.path.exists(os.path.join(target, "pgmq.control")):
            return None
        if not os.path.exists(os.path.join(source, "pgmq.control")):
            return f"{source} is not there (SENTINAI_PEERS)"
        try:
            for file in os.listdir(source):
                if file.startswith("pgmq"):
                    shutil.copy(os.path.join(source, file), target)
                    cluster.copied.append(os.path.join(target, file))
        except OSError as error:
            return f"cannot copy it to {target}: {error.strerror}"
        return None

    def install(self, cluster, database):
        cluster.sql("create extension pgmq; select pgmq.create('q')", database)

    def batch(self, count):
        return ("select count(*) from pgmq.send_batch('q', "
                f"array_fill($1::jsonb, array[{count}]))")

    def arrays(self, count):
        return "select count(*) from pgmq.send_batch('q', $1::jsonb[])"

    def agent(self, count):
        return {"claim": "select msg_id, read_ct, enqueued_at, vt, headers, "
                f"message as payload from pgmq.read('q', 60, {count})",
                "finish": "select count(*) from pgmq.delete('q', "
                "$1::bigint[])", "finish_with": "i"}


class Pgq(Queue):
    name, label, schema = "pgq", "PgQ 3.5", "pgq"
    publish = "select pgq.insert_event('q', 'Measured', $1)"
    max_agents = 1
    pipeline = False
    tick = {"tick": "select pgq.ticker()", "tick_ms": 100}

    def missing(self, cluster):
        if os.path.exists(os.path.join(cluster.share,
                                       "extension/pgq.control")):
            return None
        return "install postgresql-15-pgq3"

    def install(self, cluster, database):
        cluster.sql(f"create extension {self.schema}", database)
        self.make_queue(cluster, database)

    def make_queue(self, cluster, database):
        cluster.sql(f"select {self.schema}.create_queue('q'); "
                    f"select {self.schema}.set_queue_config('q', "
                    "'ticker_max_lag', '100 milliseconds'); "
                    f"select {self.schema}.register_consumer('q', 'c'); "
                    f"select {self.schema}.ticker()", database)

    def batch(self, count):
        return ("select count(pgq.insert_event('q', 'Measured', $1)) "
                f"from generate_series(1, {count})")

    def arrays(self, count):
        return ("select count(pgq.insert_event('q', 'Measured', p)) "
                "from unnest($1::text[]) p")

    def agent(self, count):
        return {"open": f"select {self.schema}.next_batch('q', 'c')",
                "claim": "select ev_id, ev_time, ev_txid, ev_retry, ev_type, "
                "ev_data as payload, ev_extra1, ev_extra2, ev_extra3, "
                f"ev_extra4 from {self.schema}.get_batch_events($1)",
                "finish": f"select {self.schema}.finish_batch($1)",
                "finish_with": "b"}


class Pgque(Pgq):
    name, label, schema = "pgque", "PgQue 0.3", "pgque"
    publish = "select pgque.send('q', 'Measured', $1)"
    tick = {"tick": "select pgque.ticker()", "tick_ms": 100}

    def script(self):
        return os.path.join(peers_dir(), "pgque/pgque.sql")

    def missing(self, cluster):
        if os.path.exists(self.script()):
            return None
        return f"{self.script()} is not there (SENTINAI_PEERS)"

    def install(self, cluster, database):
        with open(self.script(), encoding="utf-8") as script:
            cluster.sql("set client_min_messages = error;\n" + script.read(),
                        database)
        self.make_queue(cluster, database)

    def batch(self, count):
        return ("select cardinality(pgque.send_batch('q', 'Measured', "
                f"array_fill($1::text, array[{count}])))")

    def arrays(self, count):
        return ("select cardinality(pgque.send_batch('q', 'Measured', "
                "$1::text[]))")


class SkipUpdate(Queue):
    name, label = "skip_update", "SKIP LOCKED, UPDATE"
    publish = "insert into job (payload) values ($1::jsonb)"

    def install(self, cluster, database):
        cluster.sql("""
            create table job (id bigserial primary key, payload jsonb not null,
                state text not null default 'ready', attempt int not null
                default 0, locked_at timestamptz, done_at timestamptz);
            create index on job (id) where state = 'ready'""", database)

    def batch(self, count):
        return ("insert into job (payload) "
                f"select $1::jsonb from generate_series(1, {count})")

    def arrays(self, count):
        return ("insert into job (payload) "
                "select p::jsonb from unnest($1::text[]) p")

    def agent(self, count):
        return {"claim": f"""
            with c as materialized (select id from job where state = 'ready'
                order by id limit {count} for update skip locked)
            update job j set state = 'running', attempt = attempt + 1,
                locked_at = clock_timestamp()
            from c where j.id = c.id
            returning j.id, j.attempt, j.locked_at, j.payload""",
                "finish": "update job set state = 'done', "
                "done_at = clock_timestamp() where id = any ($1::bigint[])",
                "finish_with": "i"}


class SkipDelete(SkipUpdate):
    name, label = "skip_delete", "SKIP LOCKED, DELETE"
    pipeline = False

    def agent(self, count):
        return {"open": "begin", "claim": f"""
            delete from job where id in (select id from job
                where state = 'ready' order by id limit {count}
                for update skip locked)
            returning id, attempt, locked_at, payload""",
                "finish": "commit", "finish_with": "n"}


class Graphile(Queue):
    """graphile-worker: a Node.js process, peer/graphile/worker.js."""

    name, label = "graphile", "graphile-worker"
    schema = "graphile_worker"
    publish = "select graphile_worker.add_job('measured', $1::json)"
    source = os.path.join(ROOT, "test/bench/peer/graphile")

    def home(self):
        return os.path.join(cache_dir(), "graphile")

    def missing(self, cluster):
        if os.path.isdir(os.path.join(self.home(), "node_modules")):
            self.copy_script()
            return None
        if shutil.which("npm") is None:
            return "npm is not there"
        os.makedirs(self.home(), exist_ok=True)
        shutil.copy(os.path.join(self.source, "package.json"), self.home())
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund"],
                              cwd=self.home(), text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        if done.returncode != 0:
            return f"npm install failed: {done.stdout[-200:]}"
        self.copy_script()
        return None

    def copy_script(self):
        shutil.copy(os.path.join(self.source, "worker.mjs"), self.home())

    def install(self, cluster, database):
        self.run(cluster, database, "migrate")

    def batch(self, count):
        return ("select count(*) from graphile_worker.add_jobs(array(select "
                "json_populate_record(null::graphile_worker.job_spec, "
                "json_build_object('identifier', 'measured', 'payload', "
                f"$1::json)) from generate_series(1, {count})))")

    def start(self, cluster, database, *args):
        return subprocess.Popen(["node", "worker.mjs", *map(str, args)],
                                cwd=self.home(), env=cluster.env(database),
                                text=True, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE)

    def run(self, cluster, database, *args):
        process = self.start(cluster, database, *args)
        out = process.communicate(timeout=300)[0]
        if process.returncode != 0:
            raise RuntimeError(f"graphile-worker ended with "
                               f"{process.returncode}: {out[-500:]}")
        return out


BARE, SENTINAI, PGMQ, PGQ, PGQUE = Bare(), SentinAI(), Pgmq(), Pgq(), Pgque()
SKIP_UPDATE, SKIP_DELETE, GRAPHILE = SkipUpdate(), SkipDelete(), Graphile()
