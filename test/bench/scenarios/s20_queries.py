# scenarios/s20_queries.py: the platform's queries, on many exceptions.
# SPDX-License-Identifier: PostgreSQL
"""One tenant has all but a tenth of the exceptions, and is asked by a role that
may read it and nothing else, under row-level security. The rows are written as
handlers write them, over 90 days; each exception has some events in the log.
Each query runs with other arguments every time, in a session that stays."""

import random
import time

from harness import queues as q
from harness.cluster import BenchError

NUMBER = 20
TITLE = "queries of the platform"
TARGET = "by id < 10 ms, lists < 50 ms, complex filters < 100 ms; half of it"
UNIT, METRIC = "ms, 99 %", "p99_ms"
QUICK, FULL = 15, 400

FILL = """
insert into sentinai_platform.exceptions (tenant_id, exception_id, opened_by,
    state, origin, source, exception_type, severity, category, confidence,
    reasons, title, amount, currency, occurred_at, attributes, received_at,
    triaged_at, decision, playbook, due_at, sla, closed_at, outcome, changed_at)
select case when i % 10 = 0 then 'small' else 'big' end, 'EX-' || i,
    sentinai_platform.first_id(t), s.state, 'ingested', 'source ' || i % 7,
    'type ' || (20 * r.a ^ 2)::int,
    (array['low', 'medium', 'medium', 'high', 'critical'])[1 + i % 5],
    'category ' || i % 12, 0.8, '[{{"rule": "a rule", "reason": "a reason"}}]',
    'Settlement ' || i || ' has failed', round((1000 * exp(10 * r.b))::numeric,
    2), (array['EUR', 'USD', 'JPY'])[1 + i % 3], t, jsonb_build_object('ref',
    'T-' || i, 'desk', i % 50, 'book', 'book ' || i % 300), t, t, 'allowed',
    'playbook ' || i % 30, t + interval '4 hours',
    case when s.state = 'resolved' then 'met' else 'expired' end,
    case when s.state = 'resolved' then t + interval '1 hour' end,
    case when s.state = 'resolved' then 'resent' end, t
from generate_series(1, {count}) i
cross join lateral (select now() - interval '90 days' * (1 - i / {count}.0)) n (t)
cross join lateral (select random() + i * 0, random() + i * 0) r (a, b)
cross join lateral (select case when i > {count} * 0.99 then
    (array['normalized', 'triaged', 'awaiting_approval', 'matched'])[1 + i % 4]
    when i % 50 = 7 then 'escalated' else 'resolved' end) s (state);
insert into sentinai_platform.approvals (approval_id, tenant_id, exception_id,
    status, rule, playbook, playbook_version, on_timeout, opened_by,
    requested_at, due_at)
select md5(exception_id)::uuid, tenant_id, exception_id,
    case when state = 'awaiting_approval' then 'pending' else 'approved' end,
    'four eyes', playbook, 1, 'expired', opened_by, received_at, due_at
from sentinai_platform.exceptions where right(exception_id, 1) in ('1', '8')
    or state = 'awaiting_approval';
insert into sentinai_platform.feedback (event_id, tenant_id, exception_id,
    state, outcome, exception_type, severity, seconds, steps, ended_at)
select opened_by, tenant_id, exception_id, 'resolved', 'resent',
    exception_type, severity, 3600, 2, closed_at
from sentinai_platform.exceptions where state = 'resolved';
select sentinai_platform.count_feedback(array_agg(event_id))
from sentinai_platform.feedback;
"""

ID, LIST, COMPLEX = 10, 50, 100
# kind of a query: its limit in ms, and what is asked; "{n}" is an exception,
# "{t}" a time of the last 80 days
QUERIES = {
    "exception": (ID, "get_exception('big', 'EX-{n}')"),
    "approval": (ID, "get_approval('big', md5('EX-{n}')::uuid)"),
    "feedback": (ID, "get_feedback('big', 'EX-{n}')"),
    "history": (ID, "!get_events_by_exception('big', 'EX-{n}')"),
    "newest": (LIST, "list_exceptions('big')"),
    "page": (LIST, "list_exceptions('big', before => "
                   "sentinai_platform.first_id('{t}'))"),
    "state": (LIST, "list_exceptions('big', 'escalated', before => "
                    "sentinai_platform.first_id('{t}'))"),
    "type": (LIST, "list_exceptions('big', exception_type => 'type {k}')"),
    "approvals": (LIST, "list_approvals('big', 'pending')"),
    "metrics": (LIST, "get_feedback_metrics('big', '{t}'::date, "
                      "'{t}'::date + 30)"),
    "sla": (COMPLEX, "sla_compliance('big', '{t}', timestamptz '{t}' + "
                     "interval '1 day')"),
    "mixed": (COMPLEX, "list_exceptions('big', 'escalated', 'type {k}', "
                       "'critical', min_amount => 1000000)"),
    "money": (COMPLEX, "list_exceptions('big', severity => 'high', source => "
                       "'source 3', category => 'category {c}', min_amount => "
                       "5000000, max_amount => 9000000)"),
    "days": (COMPLEX, "list_exceptions('big', severity => 'medium', from_time "
                      "=> '{t}', to_time => timestamptz '{t}' + interval "
                      "'3 days', attributes => '{{\"desk\": {d}}}')"),
    "rare": (COMPLEX, "list_exceptions('big', from_time => '{t}', to_time => "
                      "timestamptz '{t}' + interval '3 days', attributes => "
                      "'{{\"ref\": \"T-{n}\"}}')"),
    "risk": (COMPLEX, "list_exceptions('big', 'matched', sla => 'expired', "
                      "severity => 'critical', playbook => 'playbook {p}')"),
    # no index, and no limit: an attribute alone, of all exceptions
    "needle": (None, "list_exceptions('big', attributes => "
                     "'{{\"ref\": \"T-{n}\"}}')"),
}


class Platform(q.SentinAI):
    """A database with the platform, and a role that reads one tenant."""

    def install(self, cluster, database):
        cluster.sql("create extension sentinai_platform cascade; "
                    "select sentinai_platform.create_roles()", database)
        cluster.sql("drop role if exists bench_reader; create role "
                    "bench_reader login in role sentinai_reader", database)
        cluster.sql("select sentinai.grant_tenant('bench_reader', 'big', "
                    f"'read'); alter database \"{database}\" set "
                    "sentinai.tenant_isolation = on", database)


def fill(ctx, database, count, events):
    """The rows, and events of the exceptions in the log."""
    ctx.progress.step(f"{NUMBER}: {count:,} exceptions")
    ctx.cluster.sql(FILL.format(count=count), database)
    session = ctx.cluster.session(database)
    for first in range(0, events, 100000):
        ctx.progress.step(f"{NUMBER}: events, {first:,} of {events:,}")
        # one by one, as handlers publish
        session.run(f"""
            select count(sentinai.publish('Measured', case when n % 10 = 0
                then 'small' else 'big' end, 'EX-' || n, '{{"n": 1, "what":
                "an event of the flow of an exception"}}'))
            from (select 1 + i % {count} as n from generate_series({first},
                {min(first + 100000, events) - 1}) i) i""")
    session.close()
    ctx.progress.step(f"{NUMBER}: vacuum")
    ctx.cluster.sql("vacuum (analyze)", database)


def measure(ctx, session, count, query, times):
    """One query many times; its milliseconds."""
    text = QUERIES[query][1]
    schema = "sentinai_platform."
    if text.startswith("!"):
        text, schema = text[1:], "sentinai."
    random.seed(query)
    found, total = [], 0
    for _ in range(times):
        at = time.time() - random.uniform(1, 80) * 86400
        statement = text.format(
            n=random.randrange(count // 10) * 10 + 1, k=random.randrange(20),
            c=random.randrange(12), d=random.randrange(50),
            p=random.randrange(30), t=time.strftime(
                "%Y-%m-%d %H:%M:%SZ", time.gmtime(at)))
        began = time.perf_counter()
        rows = session.run(f"select count(*) from {schema}{statement} x")
        found.append((time.perf_counter() - began) * 1000)
        if len(rows) != 1 or not rows[0][0].isdigit():
            raise BenchError(f"{statement}: {rows}")
        total += int(rows[0][0])
    found.sort()
    return {"p50_ms": found[len(found) // 2],
            "p99_ms": found[int(len(found) * 0.99)],
            "rows": total / times}


def run(ctx):
    r = ctx.result
    count = ctx.depth(20000, 1000000)
    events = ctx.depth(100000, 3000000, 20000000)
    mine = ctx.install(ctx.ready([Platform()]))
    if not mine:
        return
    database = ctx.database(mine[0])
    fill(ctx, database, count, events)
    session = ctx.cluster.session(database)
    session.run("set session authorization bench_reader")
    for query in QUERIES:
        ctx.alternate(
            mine, lambda _, k=query: measure(ctx, session, count, k,
                                             ctx.depth(30, 200)
                                             if QUERIES[k][0] else 3),
            name=lambda _, k=query: (k, k))
        if QUERIES[query][0]:
            r.check(f"{query}, 99 %, ms, {r.mean(query, 'rows'):.0f} rows",
                    r.median(query), "<=", QUERIES[query][0])
    session.close()
    r.notes.append(f"{count:,} exceptions, of which one tenant has nine "
                   f"tenths, and {events:,} events.")
    ctx.remove(mine)
    ctx.cluster.sql("drop role bench_reader")
