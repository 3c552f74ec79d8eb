# scenarios/s21_relays.py: one relay, and ten that share its events.
# SPDX-License-Identifier: PostgreSQL

import itertools

from harness import load, queues as q
from harness.broker import PRODUCER
from harness.cluster import BenchError, Meter

NUMBER = 21
TITLE = "one relay of all events, ten of a tenth each, into Kafka"
TARGET = "ten relays of different filters ≤ 1.5 × one, in processor time per event"
QUICK, FULL = 30, 90
METRIC = "steady_per_s"
UNIT = "records/s"
TYPES = 10

# What each relay of so many sends.
FILTERS = {
    "types": "event_types => array['T' || i]",
    "tenants": "tenants => array['tenant' || i]",
    "aggregates": "aggregate_types => array['kind' || i]",
}

PUBLISH = """
select count(*) from generate_series(0, {types} - 1) i, lateral
    sentinai.publish_batch(array_fill('T' || i, array[{count}]),
        array_fill('tenant' || i, array[{count}]),
        array(select 'a' || n from generate_series(1, {count}) n),
        array_fill('{payload}'::jsonb, array[{count}]), 'kind' || i)
"""
PAYLOAD = '{"text": "' + "x" * 200 + '"}'


class Relays:
    def __init__(self, number, what):
        self.number, self.what = number, what
        self.name = f"{number}-{what}"
        self.label = f"{number} relays by {what}" if number > 1 else "1 relay"
        self.role = q.OURS


def measure(ctx, one, number, count):
    """Publish while relays are paused, then let them go. Counts the processor
    time of sequencer and relays from the first event on."""
    cluster, database, topic = ctx.cluster, ctx.database(one), f"all-{number}"
    ctx.kafka.create(topic)
    cluster.fresh_database(database)
    q.SENTINAI.install(cluster, database)
    conf = ",".join([f"bootstrap.servers={ctx.kafka.servers}"] +
                    [p for p in PRODUCER if p.startswith("linger")])
    wanted = "" if one.number == 1 else ", " + FILTERS[one.what]
    cluster.sql(f"""select sentinai.create_relay('r' || i, 'kafka', '{conf}',
            topic_template => '{topic}'{wanted})
        from generate_series(0, {one.number} - 1) i;
        select sentinai.pause_relay('r' || i)
        from generate_series(0, {one.number} - 1) i""", database)
    if not cluster.until(database, "select bool_and(state = 'paused' and pid is "
                         "not null) from sentinai.stat_relay where relay <> 'relay'", 60):
        raise BenchError("the relays did not start")
    before = cluster.cpu_of("postgres: sentinai ")
    publish = PUBLISH.format(types=TYPES, count=100, payload=PAYLOAD)
    for _ in range(count // (100 * TYPES)):
        cluster.sql(publish, database)
    ctx.caught_up(database)
    sequenced = cluster.cpu_of("postgres: sentinai ")
    watch = load.Watch(ctx.kafka.servers, topic, count, 180)
    meter = Meter(cluster)
    cluster.sql("select sentinai.resume_relay('r' || i) from "
                f"generate_series(0, {one.number} - 1) i", database)
    answer = watch.end()
    wal, _ = meter.read()
    relayed = cluster.cpu_of("postgres: sentinai ")
    cluster.drop_database(database)
    return {**answer, "wal_b": wal / count,
            "cpu_us": (relayed - before) * 1e6 / count,
            "relay_us": (relayed - sequenced) * 1e6 / count}


def run(ctx):
    r = ctx.result
    count = ctx.depth(50000, 300000)
    try:
        ctx.kafka.start()
    except BenchError as error:
        r.miss("Kafka", str(error))
        return
    if not ctx.ready([q.SENTINAI]):
        return
    ctx.cluster.restart_with(max_worker_processes=40)
    turns = itertools.count(1)
    plans = [Relays(1, "all"), *(Relays(TYPES, what) for what in FILTERS)]
    ctx.alternate(plans, lambda one: measure(ctx, one, next(turns), count),
                  ctx.depth(1, ctx.rounds))
    ctx.cluster.restart_with(max_worker_processes=8)
    alone = r.median("1-all", "cpu_us")
    for what in FILTERS:
        ten = r.median(f"{TYPES}-{what}", "cpu_us")
        r.check(f"{TYPES} relays by {what} / one relay, processor time",
                ten / alone if ten and alone else None, "<=", 1.5)
    r.notes.append(f"{count:,} events of {TYPES} types, tenants and aggregate "
                   "types. The processor time is that of the sequencer and of "
                   "all relay processes, librdkafka's threads in them "
                   "included, per event, from the first publication to the "
                   "last record.")
