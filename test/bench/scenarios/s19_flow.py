# scenarios/s19_flow.py: exceptions through the platform's six agents.
# SPDX-License-Identifier: PostgreSQL
"""Exceptions of ten tenants go all the way, each with a rule for what it is, a
deadline, a guardrail and a playbook of two steps with tools that need no call.
In one database six sessions call the handlers in turn, so that the processor
time of each is its agent's alone. In others the agents' own programs work side
by side, until the last exception has its feedback. What reports exceptions is
not measured: they are all there before the agents begin."""

import os
import signal
import subprocess
import time

from scenarios.s15_types import on_processor
from harness import queues as q
from harness.cluster import ROOT, TICKS, BenchError, Meter

NUMBER = 19
TITLE = "exceptions through six agents"
TARGET = ("1,000,000 events a minute on two cores, which is 120 µs of "
          "processor time in the handlers for each event published")
QUICK, FULL = 20, 150

AIM_US, AIM_PER_MINUTE = 120, 1000000
AGENTS = ("intake", "triage", "policy", "playbook", "tool", "feedback")
BATCH = 500

RULES = """
select sentinai_platform.subscribe_agents('earliest');
insert into sentinai_platform.mapping_rules (tenant_id, source, field, pointers)
values ('*', 'bank', 'amount', '{/amt}'), ('*', 'bank', 'type', '{/what}'),
    ('*', 'bank', 'ref', '{/ref}');
insert into sentinai_platform.triage_rules
    (tenant_id, rule, condition, severity, category)
values ('*', 'large', '$.amount > 1000', 'high', 'money'),
    ('*', 'all', '$.amount >= 0', 'low', 'money');
insert into sentinai_platform.sla_rules (tenant_id, resolve_within)
values ('*', '4 hours');
insert into sentinai_platform.tools (tenant_id, tool, kind, settings)
values ('*', 'tell', 'notify', '{"channel": "flow"}'),
    ('*', 'mark', 'update_field', '{"fields": ["attributes.mark"]}');
insert into sentinai_platform.guardrails
    (tenant_id, rule, condition, decision, playbook)
values ('*', 'all', '$.amount >= 0', 'allowed', 'resend');
select sentinai_platform.put_playbook('*', 'resend', '[
    {"name": "mark", "tool": "mark",
     "arguments": {"field": "attributes.mark", "value": "{{ /type }}"}},
    {"name": "tell", "tool": "tell", "arguments": {"amount": "{{ /amount }}"}}]');
"""
SUBMIT = """
select count(sentinai_platform.submit_exception('t' || i % 10, 'bank',
    jsonb_build_object('amt', i, 'what', 'settlement_failed', 'ref', 'R' || i),
    'EX-' || i)) from generate_series({first}, {last}) i"""
HANDLE = """
select h.* from sentinai_platform.handle_{agent}(coalesce(
    (select jsonb_agg(to_jsonb(c)) from sentinai.claim('{agent}', {batch}) c),
    '[]')) h"""
PROFILE = """
select funcname, calls, 100 * self_time / sum(self_time) over ()
from pg_stat_user_functions order by self_time desc limit 12"""


class Flow(q.SentinAI):
    """A database with the platform, and how exceptions go through it."""

    def __init__(self, name, label, concurrency=None):
        self.name, self.label, self.concurrency = name, label, concurrency
        self.submitted = 0

    def install(self, cluster, database):
        cluster.sql("create extension sentinai_platform cascade", database)
        cluster.sql(RULES, database)

    def submit(self, ctx, count):
        """So many new exceptions, ready to be claimed."""
        database = ctx.database(self)
        ctx.cluster.sql(SUBMIT.format(
            first=self.submitted, last=self.submitted + count - 1), database)
        self.submitted += count
        if not ctx.caught_up(database):
            raise BenchError("the sequencer has not caught up")

    def finish(self, ctx, events_before, figures):
        """What was published, and that no exception was left behind."""
        database = ctx.database(self)
        open_ones = ctx.cluster.number(
            f"select {self.submitted} - sum(resolved) "
            "from sentinai_platform.feedback_metrics", database)
        if open_ones:
            raise BenchError(f"{open_ones:.0f} exceptions are not resolved")
        events = count_events(ctx, database) - events_before
        figures["per_s"] = events / figures["seconds"]
        figures["cpu_us"] = figures.pop("cpu") * 1e6 / events
        return figures


def count_events(ctx, database):
    return ctx.cluster.number("select count(*) from sentinai.event_log",
                              database)


class Handlers:
    """A session for each agent, which are called in turn."""

    def __init__(self, ctx, database, setting="synchronous_commit = off"):
        self.sessions = {a: ctx.cluster.session(database) for a in AGENTS}
        self.pids = {}
        for agent, session in self.sessions.items():
            session.run(f"set {setting}")
            self.pids[agent] = int(session.run("select pg_backend_pid()")[0][0])

    def drain(self, agent):
        """All that the agent can claim: how many events."""
        total = 0
        while True:
            rows = self.sessions[agent].run(
                HANDLE.format(agent=agent, batch=BATCH))
            if len(rows) != 1 or rows[0][1:] != ["0", "0"]:
                raise BenchError(f"{agent}: {rows}")
            if rows[0][0] == "0":
                return total
            total += int(rows[0][0])

    def run(self, ctx, flow, count):
        """Exceptions from end to end: by agent its events and nanoseconds."""
        handled = dict.fromkeys(AGENTS, 0)
        spent = dict.fromkeys(AGENTS, 0)
        flow.submit(ctx, count)
        events = count_events(ctx, ctx.database(flow))
        seconds, more = 0.0, True
        while more:
            more = False
            for agent in AGENTS:
                before = on_processor(self.pids[agent])
                began = time.monotonic()
                done = self.drain(agent)
                seconds += time.monotonic() - began
                spent[agent] += on_processor(self.pids[agent]) - before
                handled[agent] += done
                more = more or done > 0
            if not ctx.caught_up(ctx.database(flow)):
                raise BenchError("the sequencer has not caught up")
        figures = {f"{a}_us": spent[a] / 1e3 / handled[a] for a in AGENTS}
        figures.update(seconds=seconds, exceptions=count,
                       handled=sum(handled.values()) / count,
                       cpu=sum(spent.values()) / 1e9)
        return flow.finish(ctx, events, figures)

    def close(self):
        for session in self.sessions.values():
            session.close()


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def run_programs(ctx, flow, count):
    """The same through the agents' programs, side by side."""
    database = ctx.database(flow)
    flow.submit(ctx, count)
    events = count_events(ctx, database)
    session = ctx.cluster.session(database)
    meter = Meter(ctx.cluster)
    began = time.monotonic()
    programs = [subprocess.Popen(
        [os.path.join(ROOT, f"build/workers/sentinai-{agent}"),
         "--max-events", str(BATCH), "--log-level", "error"],
        env={**ctx.cluster.env(database),
             "CONCURRENCY": str(flow.concurrency)}) for agent in AGENTS]
    try:
        limit = began + 60 + count / 20
        done = 0.0
        while done < flow.submitted:
            if time.monotonic() > limit:
                raise BenchError(f"{flow.submitted - done:.0f} exceptions are "
                                 "not resolved in time")
            time.sleep(0.1)
            done = float(session.run(
                "select coalesce(sum(resolved), 0) "
                "from sentinai_platform.feedback_metrics")[0][0])
        seconds = time.monotonic() - began
        own = sum(processor_seconds(p.pid) for p in programs)
    finally:
        for program in programs:
            program.send_signal(signal.SIGTERM)
        for program in programs:
            program.wait()
        session.close()
    _, server = meter.read()
    return flow.finish(ctx, events, {
        "seconds": seconds, "exceptions": count, "cpu": server + own,
        "programs_us": own * 1e6 / count})


def profile(ctx, flow, count):
    """Where the handlers' time goes, by function."""
    database = ctx.database(flow)
    ctx.cluster.sql("select pg_stat_reset()", database)
    handlers = Handlers(ctx, database, "track_functions = 'all'")
    handlers.run(ctx, flow, count)
    handlers.close()
    rows = [r.split("\t") for r in
            ctx.cluster.sql(PROFILE, database).splitlines()]
    ctx.result.notes.append(
        "Profile of the handlers' time, by track_functions, without what each "
        "calls: " + "; ".join(f"{name} {float(share):.1f} % ({int(calls):,} "
                              "calls)" for name, calls, share in rows) + ".")


def tell(r, handlers):
    """The figures beside the table."""
    r.check("handlers, µs of processor time per event published",
            r.median(handlers.name, "cpu_us"), "<=", AIM_US)
    if handlers.name in r.variants:
        r.notes.append(
            "Handlers, µs of processor time per event handled: " +
            ", ".join(f"{a} {r.median(handlers.name, f'{a}_us'):.0f}"
                      for a in AGENTS) +
            f"; {r.median(handlers.name, 'handled'):.0f} events handled for "
            "each exception.")
    for name, entry in r.variants.items():
        if name == handlers.name:
            continue
        per_s = r.median(name)
        rate = (r.median(name, "exceptions") / r.median(name, "seconds"))
        r.check(f"{entry['label']}: events a minute", per_s * 60, ">=",
                AIM_PER_MINUTE)
        r.notes.append(
            f"{entry['label']}: {rate:,.0f} exceptions/s; of the processor "
            f"time {r.median(name, 'programs_us'):.0f} µs for each exception "
            "are the programs' own, the rest is the server's, sequencer and "
            "all.")


def run(ctx):
    handlers = Flow("handlers", f"handlers in turn, batches of {BATCH}")
    flows = ctx.install(ctx.ready([
        handlers, Flow("programs", "programs, CONCURRENCY=1", 1),
        Flow("programs_2", "programs, CONCURRENCY=2", 2)]))
    if handlers not in flows:
        return
    warm, count = ctx.depth(200, 2000), ctx.depth(300, 5000)
    for flow in flows:
        # nobody's plans are those of empty tables
        sessions = Handlers(ctx, ctx.database(flow))
        sessions.run(ctx, flow, warm)
        sessions.close()
        ctx.cluster.sql("vacuum (analyze)", ctx.database(flow))
    sessions = Handlers(ctx, ctx.database(handlers))
    ctx.alternate(flows, lambda flow: sessions.run(ctx, flow, count)
                  if flow is handlers else run_programs(ctx, flow, count))
    sessions.close()
    tell(ctx.result, handlers)
    profile(ctx, handlers, warm)
    ctx.remove(flows)
