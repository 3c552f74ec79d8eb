# checker/queue_rules.py: subscriptions, batches and leases.
# SPDX-License-Identifier: PostgreSQL
"""Every event to every subscription, in order, never two in flight in a key,
one accepted completion, stale tokens without effect, side effects once."""

from collections import defaultdict

from .log_rules import order
from .model import CONTROL_TYPES, NEVER

MS = 10**6
SLACK = 20 * MS                 # between the server's clock and ours
DUE = 20                        # ms, the same


def resolving(op):
    """May this operation have ended events?"""
    return op.kind in ("complete", "fail") and op.end != "fail"


def prepare(h, report):
    """Ends of leases, and which operation resolved what."""
    h.resolved = defaultdict(dict)      # worker → id → earliest time
    h.accepted = defaultdict(lambda: defaultdict(list))
    for tokens in h.by_token.values():
        if len(tokens) > 1:
            report.add("lease", "two claims returned one token",
                       tokens[0].token)
        claim = tokens[0]
        open_ids = dict.fromkeys(claim.events)
        for op in claim.ops:
            if op.kind == "extend":
                extend(claim, op)
            elif resolving(op):
                resolve(h, report, claim, op, open_ids)
            elif op.kind == "complete" and op.count is not None and not (op.count < len(op.events) and
                                               doubtful(claim, op)):
                report.add("count", f"complete() said {op.count}, "
                           f"{len(op.events)} were open", op.token)
    for call, end in h.handles:
        if end.get("outcome") in ("complete", "fail"):
            times = h.resolved[call["w"]]
            times[call["id"]] = min(times.get(call["id"], NEVER), end["t"])


def extend(claim, op):
    """A deadline is known from below only."""
    wanted = op.invoke_t + op.lease
    if op.end == "ok":
        claim.deadline = wanted
    elif op.end == "info":
        claim.deadline = min(claim.deadline, wanted)


def resolve(h, report, claim, op, open_ids):
    """Note what an operation ended, or may have ended."""
    worker = claim.worker
    if op.kind == "complete":
        ids = list(open_ids) if op.all else list(op.events)
        if op.end == "ok":
            expected = sum(i in open_ids for i in ids)
            if op.count > expected or (op.count < expected and
                                       not doubtful(claim, op)):
                report.add("count", f"complete() said {op.count}, "
                           f"{expected} were open", op.token)
    else:
        ids = list(op.events) if op.answer != "retrying" else []
    for i in ids:
        times = h.resolved[worker]
        times[i] = min(times.get(i, NEVER), op.invoke_t)
        if op.kind == "complete" and op.count and i in open_ids:
            h.accepted[worker][i].append(op)
        if op.end == "ok":
            open_ids.pop(i, None)
    if op.kind == "fail" and op.end == "ok":
        if op.answer == "retrying":
            for i in followers(h, claim, op.events[0]):
                open_ids.pop(i, None)
        open_ids.pop(op.events[0], None)


def doubtful(claim, op):
    """Was there an earlier try on the batch of which nobody knows the end?"""
    return any(o.end == "info" and o.invoke_t < op.invoke_t
               for o in claim.ops)


def followers(h, claim, event_id):
    """Later events of the same key in the batch; none when not ordered."""
    if not h.run["subs"][claim.worker].get("ordered", True):
        return
    ids = list(claim.events)
    key = key_of(h, event_id)
    for i in ids[ids.index(event_id) + 1:] if event_id in claim.events else ():
        if key_of(h, i) == key:
            yield i


def key_of(h, event_id):
    stored = h.stored.get(event_id)
    return stored.key if stored else None


def delivery(h, report):
    """What was handed out is stored, wanted, and not handed out before its
    commit was asked for."""
    for worker, event_id, t, token in deliveries(h):
        stored = h.stored.get(event_id)
        if stored is None:
            report.add("phantom", f"{worker} was given an event that is not in "
                       "the log", event_id, token)
        elif not h.worker_wants(worker, stored):
            report.add("phantom", f"{worker} was given a {stored.type} of "
                       f"{stored.tenant}", event_id, token)
        elif stored.sent and (stored.sent.txn.commit_t is None or
                              t < stored.sent.txn.commit_t):
            report.add("early", f"{worker} was given an event before its "
                       "commit", event_id, stored.sent.txn.name)
        elif stored.sent and stored.sent.due and \
                h.wall(t) + DUE < stored.sent.due and \
                not h.clock_was_ahead(t):
            report.add("early", f"{worker} was given an event "
                       f"{stored.sent.due - h.wall(t)} ms before deliver_at",
                       event_id, stored.sent.txn.name)


def deliveries(h):
    for claim in h.claims:
        for event_id in claim.events:
            yield claim.worker, event_id, claim.t, claim.token
    for call, _ in h.handles:
        yield call["w"], call["id"], call["t"], call["token"]


def drained(h, worker):
    return any(d["what"] == worker for d in h.drains)


def completeness(h, report):
    """After drain every event has been completed or given up, not both."""
    for worker, sub in h.run["subs"].items():
        ledger = h.ledger.get(worker, {})
        dead = h.dead.get(worker, {})
        asked = asked_for(h, worker)
        for row in h.log:
            if not h.worker_wants(worker, row) or not h.is_judged(row):
                continue
            if row.gone:
                dropped(h, report, worker, row, asked)
                continue
            if row.id in ledger and row.id in dead:
                report.add("double", f"{worker}: completed and dead", row.id)
            elif (row.id not in ledger and row.id not in dead and
                  drained(h, worker)):
                report.add("lost", f"{worker}: neither completed nor dead",
                           row.id, row.uid)
        for event_id in [*ledger, *dead]:
            if event_id not in h.stored:
                report.add("phantom", f"{worker}: completed or dead, but not "
                           "in the log", event_id)
        for event_id in ledger:
            if event_id not in asked:
                report.add("completion", f"{worker}: completed, but nobody "
                           "asked for it", event_id)
        for event_id in h.accepted[worker]:
            if event_id not in ledger and not is_gone(h, event_id):
                report.add("completion", f"{worker}: an accepted completion "
                           "is gone", event_id)
        justify_dead(h, report, worker, sub, dead)


def dropped(h, report, worker, row, asked):
    """Retention took it, and the ledger's row with it: what is left must show
    that it had been completed or given up."""
    if row.id in h.dead.get(worker, {}):
        return
    done = h.effects.get(worker, {}) if h.run["subs"][worker].get("effects") \
        else asked
    if row.id not in done:
        report.add("lost", f"{worker}: dropped by retention, neither completed "
                   "nor dead", row.id, row.uid)


def is_gone(h, event_id):
    return event_id in h.stored and h.stored[event_id].gone


def asked_for(h, worker):
    """Events that somebody completed, or may have completed."""
    asked = {c["id"] for c, e in h.handles
             if c["w"] == worker and e.get("outcome") == "complete"}
    for claim in h.claims:
        if claim.worker == worker:
            for op in claim.ops:
                if op.kind == "complete" and op.end != "fail":
                    asked.update(claim.events if op.all else op.events)
    return asked


def justify_dead(h, report, worker, sub, dead):
    """Given up: out of attempts, or somebody said not to try again."""
    said = {i for c in h.claims if c.worker == worker for o in c.ops
            if o.kind == "fail" and not o.retryable and o.end != "fail"
            for i in o.events}
    said |= {c["id"] for c, e in h.handles
             if c["w"] == worker and e.get("outcome") == "fail"}
    for event_id, attempts in dead.items():
        if event_id not in said and attempts < sub["max_attempts"]:
            report.add("dead", f"{worker}: given up after {attempts} of "
                       f"{sub['max_attempts']} attempts", event_id)


def once(h, report):
    """One accepted completion, and the side effects written with it."""
    for worker, sub in h.run["subs"].items():
        for event_id, ops in h.accepted[worker].items():
            if len(ops) > 1:
                report.add("twice", f"{worker}: {len(ops)} completions were "
                           "accepted", event_id, *(o.token for o in ops))
        if not sub.get("effects"):
            continue
        effects = h.effects.get(worker, {})
        ledger = h.ledger.get(worker, {})
        for event_id, n in effects.items():
            if n > 1:
                report.add("effect", f"{worker}: written {n} times", event_id)
            if event_id not in ledger and not is_gone(h, event_id):
                report.add("effect", f"{worker}: written, but the completion "
                           "is not", event_id)
        for event_id in ledger:
            if event_id not in effects:
                report.add("effect", f"{worker}: completed, but what was "
                           "written with it is not", event_id)


def holdings(h, claim):
    """(key, start, end) of what a claim held for certain: from its answer to
    the first operation that may have let go of the key, or the deadline."""
    keys = defaultdict(set)
    for event_id in claim.events:
        keys[key_of(h, event_id)].add(event_id)
    ends = {}
    for op in claim.ops:
        if op.kind == "extend" or op.end == "fail":
            continue
        for key, left in keys.items():
            if key in ends:
                continue
            touched = left if op.all or op.kind == "release" \
                else left.intersection(op.events)
            if op.kind == "complete":
                left.difference_update(touched)
                done = not left
            else:
                done = bool(touched)
            if done:
                ends[key] = op.invoke_t
    for key in keys:
        end = min(ends.get(key, NEVER), claim.deadline - SLACK)
        if key is not None and end > claim.t:
            yield key, claim.t, end


def in_flight(h, report):
    """No two batches hold one key of a subscription at one moment."""
    spans = defaultdict(list)
    for claim in h.claims:
        for key, start, end in holdings(h, claim):
            spans[claim.worker, key].append((start, end, claim))
    for (worker, key), held in spans.items():
        held.sort(key=lambda s: s[0])
        last = None
        for span in held:
            if last and span[0] < last[1] and span[2] is not last[2]:
                report.add("overlap", f"{worker}: two batches with events of "
                           f"{key} at once", last[2].token, span[2].token)
                break
            if last is None or span[1] > last[1]:
                last = span
    handlers_in_flight(h, report)


def handlers_in_flight(h, report):
    """The same for handlers, unless the agent was stopped while it held."""
    spans = defaultdict(list)
    for call, end in h.handles:
        key = key_of(h, call["id"])
        if key is not None:
            spans[call["w"], key].append((call["t"], end["t"], call))
    frozen = [(f[0], f[1] + 10**9) for f in h.faults if f[3].get("frozen")]
    for (worker, key), held in spans.items():
        held.sort(key=lambda s: s[0])
        for a, b in zip(held, held[1:]):
            if b[0] < a[1] and not any(s < a[1] and a[0] < e
                                       for s, e in frozen):
                report.add("overlap", f"{worker}: two handlers in {key} at "
                           "once", a[2]["id"], b[2]["id"])
                break


def fences(h, report):
    """A token is worth nothing once an event of it was given to another, and
    it is worth something until its lease has ended."""
    given = defaultdict(list)           # worker, id → claims in order
    for claim in h.claims:
        for event_id in claim.events:
            given[claim.worker, event_id].append(claim)
    for claim in h.claims:
        passed = passed_at(given, claim)
        deadline = claim.invoke_t + claim.lease
        used = released = False
        for op in claim.ops:
            if op.end == "ok" and op.count != 0 and op.kind != "release" and \
                    (passed < op.invoke_t or released):
                report.add("fence", f"{op.kind}() was accepted after the batch "
                           "had passed to another", claim.token)
            if op.end == "fail" and op.answer == "SN409" and not used and \
                    op.t < min(deadline - SLACK, passed):
                report.add("fence", f"{op.kind}() was refused although the "
                           "lease was good", claim.token)
            if op.kind == "extend" and op.end == "ok":
                deadline = max(deadline, op.invoke_t + op.lease)
            elif op.kind == "extend" and op.end == "info":
                deadline = min(deadline, op.invoke_t + op.lease)
            elif op.end != "fail":
                used = True
            released |= op.kind == "release" and op.end == "ok"
    for op in h.stray_ops:
        if op.end == "ok" and op.count != 0:
            report.add("fence", f"{op.kind}() was accepted with a token that "
                       "was never handed out", op.token)


def passed_at(given, claim):
    """When another was known to hold an event that this claim had not let go
    of yet."""
    freed = {}
    for op in claim.ops:
        if op.end != "fail" and op.kind != "extend":
            for i in claim.events if op.all or op.kind == "release" \
                    else op.events:
                freed.setdefault(i, op.invoke_t)
    times = [other.t for event_id in claim.events
             for other in given[claim.worker, event_id]
             if other is not claim and other.invoke_t > claim.t and
             other.t < freed.get(event_id, NEVER)]
    return min(times, default=NEVER)


def queue_order(h, report):
    """First deliveries follow the order of the key, and nothing is handed out
    past an event of its key that was still unresolved."""
    for worker, sub in h.run["subs"].items():
        firsts = first_deliveries(h, worker)
        keys = defaultdict(list)
        for row in firsts:
            keys[row.key].append(row)
        for rows in keys.values():
            order(h, report, "order", rows, worker)
        if sub.get("ordered", True):
            passing(h, report, worker, firsts)


def first_deliveries(h, worker):
    """Rows in the order in which they were first handed out."""
    seen = {}
    moments = [(c.t, list(c.events)) for c in h.claims if c.worker == worker]
    moments += [(c["t"], [c["id"]]) for c, _ in h.handles if c["w"] == worker]
    moments.sort(key=lambda m: m[0])
    for _, ids in moments:
        for event_id in ids:
            if event_id in h.stored:
                seen.setdefault(event_id, h.stored[event_id])
    return list(seen.values())


def passing(h, report, worker, firsts):
    """For every key: a claim may hold an event only when all before it are
    resolved or in the same claim."""
    places, keys = {}, defaultdict(list)
    for row in firsts:
        places[row.id] = len(keys[row.key])
        keys[row.key].append(row.id)
    resolved = h.resolved[worker]
    dead = h.dead.get(worker, {})
    batches = defaultdict(list)         # key → (t, places, token)
    for claim in h.claims:
        if claim.worker != worker:
            continue
        mine = defaultdict(list)
        for event_id in claim.events:
            if event_id in places:
                mine[key_of(h, event_id)].append(places[event_id])
        for key, held in mine.items():
            batches[key].append((claim.t, sorted(held), claim.token))
    for call, _ in h.handles:
        if call["w"] == worker and call["id"] in places:
            batches[key_of(h, call["id"])].append(
                (call["t"], [places[call["id"]]], call["token"]))
    for key, held in batches.items():
        # -inf: a death that no operation of ours caused has no known time
        times = [resolved.get(i, -NEVER if i in dead else NEVER)
                 for i in keys[key]]
        check_passing(report, worker, key, keys[key], times, held)


def check_passing(report, worker, key, ids, times, batches):
    """Sweep over time: what is unresolved below a batch's last place must be
    in the batch."""
    by_time = sorted(range(len(ids)), key=lambda p: times[p])
    gone, index, lowest = set(), 0, 0
    for t, held, token in sorted(batches, key=lambda b: b[0]):
        while index < len(by_time) and times[by_time[index]] <= t:
            gone.add(by_time[index])
            index += 1
        while lowest in gone:
            lowest += 1
        before = next((p for p in range(lowest, held[-1])
                       if p not in gone and p not in held), None)
        if before is not None:
            report.add("passed", f"{worker}: handed out past an unresolved "
                       f"event of {key}", ids[held[-1]], ids[before], token)
            return


def attempts(h, report):
    """An event's attempt number never falls, and rises after fail()."""
    last, failed = {}, {}
    for claim in h.claims:
        for event_id, n in claim.events.items():
            spot = claim.worker, event_id
            if n < last.get(spot, (0, None))[0] and \
                    claim.invoke_t > last[spot][1].t:
                report.add("attempt", f"{claim.worker}: attempt {n} after "
                           f"attempt {last[spot][0]}", event_id, claim.token)
            past = failed.get(spot)
            if past and past[1] < claim.invoke_t and n <= past[0]:
                report.add("attempt", f"{claim.worker}: attempt {n} again "
                           "after it had failed", event_id, claim.token)
            last[spot] = n, claim
        for op in claim.ops:
            if op.kind == "fail" and op.end == "ok":
                for i in op.events:
                    failed[claim.worker, i] = claim.events.get(i, 0), op.t


def control_events(h, report):
    """Every failure that was accepted has its event."""
    told = {tuple(row.about) for row in h.log if row.about}
    for claim in h.claims:
        for op in claim.ops:
            if op.kind != "fail" or op.end != "ok":
                continue
            event_id = op.events[0]
            failed = h.stored.get(event_id)
            if failed is None or failed.type in CONTROL_TYPES:
                continue
            if (claim.worker, event_id, claim.events.get(event_id)) not in told:
                report.add("control", f"{claim.worker}: no event tells that "
                           f"it is {op.answer}", event_id, claim.token)


RULES = [prepare, delivery, completeness, once, in_flight, fences, queue_order,
         attempts, control_events]
