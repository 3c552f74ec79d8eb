# checker/flow_rules.py: the flow of exceptions, from its log.
# SPDX-License-Identifier: PostgreSQL
"""What the agents have published is held against what each event may lead to,
and how often; the steps of playbooks against their order; and the read models
against what the log says, as these rules understand it, and as
rebuild_projections() does."""

from collections import Counter, defaultdict, namedtuple

Event = namedtuple("Event", "id type tenant exception cause payload")

BEGINS = ("ExceptionIngested", "ManualExceptionCreated")
ENDS = ("ExceptionResolved", "ExceptionEscalated")
ASKS = ("TriageCompleted", "PlaybookRecalculationRequested")
ANSWERS = ("ToolExecutionCompleted", "ToolExecutionFailed")
VERDICTS = ("ApprovalRequested", "PlaybookMatched", "ExceptionEscalated")
# what each event leads to: types that together come once
ONCE = {**{t: (("ExceptionNormalized",),) for t in BEGINS},
        "ExceptionNormalized": (("TriageRequested",), ("TriageCompleted",)),
        **{t: (("FeedbackCaptured",),) for t in ENDS}}
# and what leads to it; None: a person
CAUSES = {
    "ExceptionIngested": (None,),
    "ExceptionNormalized": BEGINS,
    "TriageRequested": ("ExceptionNormalized",),
    "TriageCompleted": ("ExceptionNormalized",),
    "PlaybookRecalculationRequested": (None,),
    "PolicyEvaluationRequested": ASKS,
    "PolicyEvaluationCompleted": ASKS,
    "ApprovalRequested": ASKS,
    "ApprovalDecided": (None, "SLAExpired"),
    "FeedbackCaptured": ENDS,
    "ToolExecutionCompleted": ("ToolExecutionRequested", "SLAExpired"),
    "ToolExecutionFailed": ("ToolExecutionRequested",),
}
OPEN = ("waiting", "running", "compensating")


class Flow:
    """A history of the platform."""

    def __init__(self, records):
        self.commands = {}
        self.log, self.rows = [], defaultdict(dict)
        self.unhandled, self.differences, self.lines = [], [], []
        self.playbooks = defaultdict(dict)
        self.operations = 0
        for record in records:
            self.operations += record.get("ph") == "invoke"
            getattr(self, "take_" + record["f"], lambda _: None)(record)
        self.log.sort(key=lambda e: e.id)
        self.of = defaultdict(list)
        for event in self.log:
            self.of[event.tenant, event.exception].append(event)
        self.by_id = {e.id: e for e in self.log}

    def take_command(self, record):
        self.commands.setdefault(record["key"], {}).update(record)

    def take_event(self, record):
        self.log.append(Event(*record["event"]))

    def take_row(self, record):
        self.rows[record["of"]][tuple(record["key"])] = record["row"]

    def take_step(self, record):
        """Of a playbook, and whether something undoes it."""
        self.playbooks[record["playbook"], record["version"]][
            record["step"]] = record["undoes"]

    def take_unhandled(self, record):
        self.unhandled.append((record["agent"], record["id"]))

    def take_difference(self, record):
        self.differences.append(record["row"])

    def take_server(self, record):
        self.lines.append(record["line"])


def commands(h, report):
    """What was accepted is in the log, once; what was not is not."""
    report.counts["commands"] = len(h.commands)
    report.counts["events"] = len(h.log)
    published = {e.payload["execution_id"] if e.type.startswith("Tool") else e.id
                 for e in h.log if e.cause is None}
    told = set()
    for key, command in h.commands.items():
        name = command.get("id")
        if name is None:
            continue
        told.add(name)
        if command["ph"] == "ok" and name not in published:
            report.add("lost", f"{command['command']} was accepted", key, name)
        elif command["ph"] == "fail" and name in published:
            report.add("phantom", f"{command['command']} was rolled back", key,
                       name)
    # who does not know what became of a call has not told its id
    unknown = Counter((c["command"], c["tenant"], c["exception"])
                      for c in h.commands.values() if c["ph"] == "info")
    for event in h.log:
        if event.type == "ExceptionIngested" and event.id not in told:
            unknown["submit_exception", event.tenant, event.exception] -= 1
    for (name, *of), left in unknown.items():
        if left < 0:
            report.add("phantom", f"{-left} more than were submitted", *of)


def handled(h, report):
    """Each agent has done with each of its events."""
    for agent, event in h.unhandled:
        report.add("unhandled", f"{agent} has not handled it", event)


def consequences(h, report):
    """Each event leads to what it has to, once, and nothing comes from what
    does not lead to it."""
    led = defaultdict(Counter)
    for event in h.log:
        if event.cause is not None:
            led[event.cause][event.type] += 1
        if event.type in CAUSES:
            cause = h.by_id.get(event.cause)
            kind = cause.type if cause else None
            if kind not in CAUSES[event.type] or event.cause and (
                    not cause or cause.id > event.id or
                    cause.exception != event.exception):
                report.add("order", f"{event.type} comes from {kind}", event.id)
    for event in h.log:
        counts = led[event.id]
        for types in ONCE.get(event.type, ()):
            n = sum(counts[t] for t in types)
            if n != 1:
                report.add("lost" if n == 0 else "twice", f"{event.type} has "
                           f"led to {n} {' or '.join(types)}", event.id)
        asked = counts["PolicyEvaluationRequested"]
        verdicts = sum(counts[t] for t in VERDICTS)
        if event.type in ASKS and not (
                asked == counts["PolicyEvaluationCompleted"] == verdicts <= 1):
            report.add("twice" if verdicts > 1 else "lost",
                       f"{asked} evaluations, {verdicts} decisions", event.id)
        elif event.type == "ApprovalDecided" and verdicts > 1:
            report.add("twice", f"{verdicts} decisions", event.id)


def tools(h, report):
    """Each execution of a tool has an outcome, and no more than requests."""
    asked, answered = Counter(), Counter()
    for event in h.log:
        if event.type == "ToolExecutionRequested":
            asked[event.tenant, event.payload["execution_id"]] += 1
        elif event.type in ANSWERS:
            answered[event.tenant, event.payload["execution_id"]] += 1
    for key, n in asked.items():
        if not 1 <= answered[key] <= n:
            report.add("lost" if answered[key] < n else "twice", f"{n} "
                       f"requests have {answered[key]} outcomes", key[1])


class Execution:
    """A playbook under way, as its events tell."""

    def __init__(self, event, playbooks):
        self.id = event.id
        self.definition = playbooks.get((event.payload["playbook"],
                                         event.payload["version"]), {})
        self.playbook = event.payload["playbook"]
        self.version = event.payload["version"]
        self.state = "running"
        self.waits = None           # step, attempt and direction
        self.last = {False: 0, True: 1000}
        self.attempts = Counter()
        self.steps = {}             # (direction, step): state

    def request(self, event):
        """Why this step may not be requested now; None: it may."""
        undoes = event.payload.get("compensation", False)
        step, attempt = event.payload["step"], event.payload["attempt"]
        key = (undoes, step)
        state, last = self.steps.get(key), self.last[undoes]
        self.attempts[key] += 1
        self.last[undoes] = step
        self.steps[key], waited = "requested", self.waits
        self.waits = key
        if waited:
            return f"while step {waited[1]} is under way"
        if attempt != self.attempts[key]:
            return f"as attempt {attempt}, and is number {self.attempts[key]}"
        if state is None and (step >= last if undoes else step <= last):
            return f"after step {last}"
        if state not in (None, "failed"):
            return f"and is {state}"
        if undoes and self.steps.get((False, step)) != "completed":
            return "to be undone, and was not done"
        if not undoes and self.last[True] < 1000:
            return "while others are undone"
        return None

    def end(self, event):
        """Why this step may not end now; None: it may."""
        undoes = event.payload.get("compensation", False)
        key = (undoes, event.payload["step"])
        if event.payload.get("skipped"):
            state, last = self.steps.get(key), self.last[False]
            self.steps[key] = "skipped"
            self.last[False] = key[1]
            return None if state is None and key[1] > last else "out of turn"
        waited, self.waits = self.waits, None
        self.steps[key] = ("completed" if event.type == "StepExecutionCompleted"
                           else "failed")
        return None if waited == key else "and nobody waits for it"

    def left(self):
        """The steps that are to be done or undone before the end."""
        if self.state != "compensating":
            return [s for s in self.definition if (False, s) not in self.steps]
        return [s for s, undoes in self.definition.items()
                if undoes and self.steps.get((False, s)) == "completed"
                and self.steps.get((True, s)) != "completed"]


class Case:
    """An exception, as its events tell: what the rules and the read model
    have in common."""

    def __init__(self, report, playbooks):
        self.report = report
        self.playbooks = playbooks
        self.state = None
        self.playbook = self.outcome = None
        self.steps_done = self.feedback = 0
        self.executions = {}

    def take(self, event):
        getattr(self, "take_" + event.type, lambda _: None)(event)

    def bad(self, event, why):
        self.report.add("order", why, event.id, event.exception)

    def take_ExceptionNormalized(self, _):
        self.state = self.state or "normalized"

    def take_TriageCompleted(self, _):
        if self.state == "normalized":
            self.state = "triaged"

    def take_PolicyEvaluationCompleted(self, _):
        self.playbook = None

    def take_ApprovalRequested(self, _):
        if self.state != "resolved":
            self.state = "awaiting_approval"

    def take_PlaybookMatched(self, event):
        if self.state != "resolved":
            self.state = "matched"
        self.playbook = event.payload["playbook"]
        new = Execution(event, self.playbooks)
        for old in self.open():
            if old.state != "compensating" and (old.playbook, old.version) == (
                    new.playbook, new.version):
                new.state = "cancelled"
        if new.state == "running":
            for old in self.open():
                new.state = "waiting"
                old.state = ("superseded" if old.state == "waiting" else
                             "compensating")
        self.executions[event.id] = new

    def open(self):
        return [x for x in self.executions.values() if x.state in OPEN]

    def execution(self, event):
        return self.executions.get(event.payload.get("execution_id"))

    def take_StepExecutionRequested(self, event):
        x = self.execution(event)
        if self.state in ("resolved", "escalated") or not x or \
                x.state not in OPEN:
            self.bad(event, "a step of what is over")
            return
        self.pass_by(x)
        why = x.request(event)
        if why:
            self.bad(event, f"step {event.payload['step']} is requested {why}")
        if event.payload.get("compensation"):
            x.state = "compensating"
        elif x.state == "waiting":
            x.state = "running"

    def pass_by(self, x):
        """What a later one does tells that an earlier one is over."""
        for old in self.open():
            if old.id < x.id:
                if old.waits or old.state == "compensating" and old.left():
                    self.report.add("order", "a playbook begins while another "
                                    "has something left to do", x.id, old.id)
                old.state = "superseded"

    def take_StepExecutionCompleted(self, event):
        x = self.execution(event)
        why = x.end(event) if x and x.state in OPEN else "of what is over"
        if why:
            self.bad(event, f"step {event.payload['step']} ends, {why}")
        if not event.payload.get("skipped") and \
                not event.payload.get("compensation"):
            self.steps_done += event.type == "StepExecutionCompleted"

    take_StepExecutionFailed = take_StepExecutionCompleted

    def finish(self, event, state):
        own = self.execution(event)
        if own and own.state in OPEN:
            undone = own.state == "compensating" and not any(
                undoes and s == "failed" for (undoes, _), s in own.steps.items())
            if (undone or state == "resolved") and own.left():
                self.bad(event, f"steps {own.left()} are left to do or undo")
            own.state = ("completed" if state == "resolved" else
                         "compensated" if undone else "failed")
            self.pass_by(own)
        for x in self.open():
            x.state = "cancelled"
            if x.waits:
                x.steps[x.waits] = "cancelled"
        if self.state != "resolved":
            self.state = state
            self.outcome = event.payload.get("outcome", self.outcome)

    def take_ExceptionResolved(self, event):
        self.finish(event, "resolved")

    def take_ExceptionEscalated(self, event):
        self.finish(event, "escalated")

    def take_FeedbackCaptured(self, _):
        self.feedback += 1


def flows(h, report):
    """Steps in their order, and read models that say what the events do."""
    known = {"exceptions": {}, "executions": {}, "steps": {}}
    for (tenant, name), events in h.of.items():
        x = Case(report, h.playbooks)
        for event in events:
            x.take(event)
        if x.state is None:
            continue
        known["exceptions"][tenant, name] = [x.state, x.playbook, x.outcome,
                                             x.steps_done, x.feedback]
        for e in x.executions.values():
            known["executions"][(e.id,)] = [e.state]
            for (undoes, step), state in e.steps.items():
                known["steps"][e.id, undoes, step] = [
                    state, e.attempts[undoes, step]]
        if x.state in ("normalized", "triaged") or x.open():
            report.add("unfinished", f"it is {x.state}", name)
    for what, rows in known.items():
        there = h.rows[what]
        report.counts[what] = len(rows)
        for key in rows.keys() | there.keys():
            if rows.get(key) != there.get(key):
                report.add("projection", f"{what}: {there.get(key)}, and the "
                           f"events say {rows.get(key)}", *key)


def rebuilt(h, report):
    """Read models made anew are the same."""
    for row in h.differences:
        report.add("rebuilt", row)


def server(h, report):
    """Nothing that must not happen has happened."""
    for line in h.lines:
        report.add("server", line)


RULES = (commands, handled, consequences, tools, flows, rebuilt, server)
