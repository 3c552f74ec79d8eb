# mutants.py: histories that break one promise each, and legal ones that look
# as if they did.
# SPDX-License-Identifier: PostgreSQL
"""A mutant takes the records of a legal history and a random.Random, changes
them, and is flagged by the rule it is registered with."""

import copy
import random
import uuid

from simulate import LEASE, World, legal

MUTANTS = {}
LEGAL = {}


def mutant(rule):
    def register(function):
        MUTANTS[function.__name__] = (rule, function)
        return function
    return register


def harmless(function):
    LEGAL[function.__name__] = function
    return function


def rows(records, kind, **match):
    return [r for r in records if r["f"] == kind and
            all(r.get(k) == v for k, v in match.items())]


def make(function, seed):
    """The mutant's records for a seed."""
    world = World(seed).run()
    result = function(world.finish(), world.rng)
    return result


def keys_with(records, least):
    """Keys with that many serialised events in the log."""
    found = {}
    for r in rows(records, "log"):
        if r["seq"] is not None:
            found.setdefault((r["ten"], r["agg"]), []).append(r)
    return [v for v in found.values() if len(v) >= least]


def put_off(records, rng, ms):
    """Give an event a deliver_at so long after it was sent."""
    run = records[0]
    uids = {r["uid"] for r in rows(records, "log") if r["seq"] is None}
    calls = [(r, e) for r in rows(records, "publish", ph="invoke")
             for e in r["events"] if e[0] in uids]
    call, event = rng.choice(calls)
    event.append(run["wall"] + (call["t"] - run["t"]) // 10**6 + ms)


def open_elsewhere(rng, working):
    """A long transaction in another database, and what agents do meanwhile."""
    world = World(rng.random()).run()
    world.add(f="fault", ph="invoke", p="nemesis", fault="other_database",
              flows=True)
    world.publish()
    world.t += 10 * LEASE
    if working:
        world.work("all")
        world.t += LEASE
    world.add(f="fault", ph="ok", p="nemesis")
    return world.finish()


# The fourteen that issue 5 asks for

@mutant("lost")
def drop(records, rng):
    """An event of a subscription is never handled."""
    row = rng.choice(rows(records, "ledger"))
    for kind in ("ledger", "effect"):
        records.remove(rows(records, kind, w=row["w"], id=row["id"])[0])
    for r in records:
        if r["f"] in ("complete", "claim") and r.get("events"):
            r["events"] = [e for e in r["events"] if row["id"] not in e]
    return records


@mutant("duplicates")
def dup_beyond_window(records, rng):
    """A record comes again without any fault."""
    row = dict(rng.choice(rows(records, "kafka")))
    row["off"] = max(r["off"] for r in rows(records, "kafka")) + 1
    return records + [row]


@mutant("order")
def swap(records, rng):
    """Two events of one key change places in the topic."""
    first, second = rng.choice(keys_with(records, 2))[:2]
    one = rows(records, "kafka", id=first["id"])[0]
    two = rows(records, "kafka", id=second["id"])[0]
    one["off"], two["off"] = two["off"], one["off"]
    return records


@mutant("phantom")
def phantom(records, rng):
    """A record of an event that nobody published."""
    row = dict(rng.choice(rows(records, "kafka")))
    row.update(id=str(uuid.UUID(int=rng.getrandbits(120))), uid="nobody's",
               off=row["off"] + 10**6)
    return records + [row]


@mutant("aborted read")
def aborted_read(records, rng):
    """The events of a rolled-back transaction are in the log."""
    txn = rng.choice(rows(records, "rollback"))["txn"]
    sent = rows(records, "publish", ph="invoke", txn=txn)[0]["events"][0]
    row = dict(rows(records, "log")[-1])
    row.update(id=str(uuid.UUID(int=2**125)), uid=sent[0], ten=sent[1],
               agg=sent[2], type=sent[3], seq=None, h=sent[5])
    return records + [row]


@mutant("torn")
def torn(records, rng):
    """One event of a transaction is missing everywhere."""
    row = rng.choice([r for r in rows(records, "log") if r["uid"] and len(
        rows(records, "log", txid=r["txid"])) > 1])
    return [r for r in records if r.get("id") != row["id"]]


@mutant("early")
def early_read(records, rng):
    """A claim answers before the commit of what it holds was asked for."""
    call = rng.choice([r for r in rows(records, "claim", ph="ok")
                       if r["events"]])
    call["t"] = 1
    return records


@mutant("overlap")
def overlap(records, rng):
    """An event is handed to a second agent while the first holds it."""
    answer = rng.choice([r for r in rows(records, "claim", ph="ok")
                         if r["events"]])
    at = records.index(answer) + 1
    worker = next(r["w"] for r in reversed(records[:at])
                  if r["f"] == "claim" and r.get("w"))
    records[at:at] = [
        {"f": "claim", "ph": "invoke", "p": "thief", "w": worker,
         "lease": LEASE, "t": answer["t"] + 1},
        {"f": "claim", "ph": "ok", "p": "thief", "token": "stolen",
         "events": copy.deepcopy(answer["events"]), "t": answer["t"] + 2}]
    return records


@mutant("fence")
def stale_fence(records, rng):
    """A lease passes on, and the old token still completes."""
    world = World(rng.random()).run()
    world.publish()
    token, batch = world.claim("all", "slow")
    world.t += 2 * LEASE
    world.claim("all", "a2")
    world.complete("all", token, batch, "slow")
    return world.finish()


@mutant("sequence")
def seq_gap(records, rng):
    """A number of a key's counter is missing; nobody remembers sending it."""
    row = rng.choice(keys_with(records, 2))[0]
    for r in records:
        if r["f"] == "publish" and r.get("events"):
            r["events"] = [e for e in r["events"] if e[0] != row["uid"]]
    return [r for r in records
            if r.get("id") != row["id"]]


@mutant("partition")
def key_moved(records, rng):
    """A key's events are in two partitions."""
    row = rng.choice(rng.choice(keys_with(records, 2)))
    record = rows(records, "kafka", id=row["id"])[0]
    record["part"] = 77
    return records


@mutant("tenant")
def tenant_leak(records, rng):
    """An event is stored for another tenant."""
    row = rng.choice([r for r in rows(records, "log") if r["uid"]])
    row["ten"] = "somebody else"
    return records


@mutant("changed")
def wrong_hash(records, rng):
    """A payload is not what was sent."""
    rng.choice([r for r in rows(records, "log") if r["uid"]])["h"] += 1
    return records


@mutant("stuck")
def stuck_backlog(records, rng):
    """The backlog was not empty in time."""
    rows(records, "drain")[0]["left"] = 1
    return records


@mutant("views")
def view_that_is_wrong(records, rng):
    """A figure of a view is one too great or too small."""
    record = rng.choice(rows(records, "views", own=0))
    record["said"] = list(record["said"])
    record["said"][rng.randrange(4)] += rng.choice((-1, 1))
    return records


@mutant("views")
def view_of_too_much(records, rng):
    """More lag than events that are there or about its own failures."""
    record = rng.choice(rows(records, "views", own=3))
    record["said"] = [9] + list(record["said"])[1:]
    return records


# More of the same kinds

@mutant("aborted read")
def savepoint_read(records, rng):
    """An event of a rolled-back savepoint is delivered."""
    world = World(rng.random()).run()
    name = world.publish()
    world.undone("p1", name)
    sent = world.records[-3]["events"][0]
    row = dict(world.log[-1], uid=sent[0], ten=sent[1], agg=sent[2],
               type=sent[3], seq=None, h=sent[5],
               id=str(uuid.UUID(int=2**125)))
    world.log.append(row)
    return world.finish()


@mutant("effect")
def effect_twice(records, rng):
    """What was written with a completion is there twice."""
    return records + [dict(rng.choice(rows(records, "effect")))]


@mutant("effect")
def effect_without_completion(records, rng):
    """The caller's writes committed, the completion did not."""
    row = rng.choice(rows(records, "ledger"))
    records.remove(row)
    return records


@mutant("passed")
def passed_by(records, rng):
    """A key goes on while an event of it waits for its retry."""
    world = World(rng.random()).run()
    world.queues["all"].clear()
    for _ in range(3):
        world.keys = world.keys[:1]
        world.publish(size=1)
    token, batch = world.claim("all", most=1)
    world.fail("all", token, batch[0])
    world.queues["all"].remove(batch[0])
    token, rest = world.claim("all")
    world.complete("all", token, rest)
    world.queues["all"].append(batch[0])
    return world.finish()


@mutant("twice")
def completed_twice(records, rng):
    """Two tokens complete one event."""
    world = World(rng.random()).run()
    world.publish()
    token, batch = world.claim("all", "a1")
    world.t += 2 * LEASE
    again, _ = world.claim("all", "a2")
    world.complete("all", again, batch, "a2", happened=False)
    world.complete("all", token, batch, "a1")
    return world.finish()


@mutant("duplicates")
def two_windows_for_a_start(records, rng):
    """The relay was killed once, and sent its window twice."""
    world = World(rng.random()).run()
    world.fault("relay")
    world.starts += 1
    return world.finish(copies=[8, 8])


@mutant("duplicates")
def copies_with_dedupe(records, rng):
    """The relay was killed once, and did not look what the topic had."""
    world = World(rng.random()).run()
    world.fault("relay")
    world.starts += 1
    records = world.finish(copies=[8])
    rows(records, "run")[0]["dedupe"] = True
    return records


@mutant("lost")
def not_relayed(records, rng):
    """A stored event is in no topic."""
    records.remove(rng.choice(rows(records, "kafka")))
    return records


@mutant("lost")
def dropped_too_soon(records, rng):
    """Retention takes an event that a subscription has not completed."""
    row = rng.choice([r for r in rows(records, "log") if r["uid"] and
                      rows(records, "ledger", w="all", id=r["id"])])
    row["gone"] = True
    for kind in ("ledger", "effect"):
        records.remove(rows(records, kind, w="all", id=row["id"])[0])
    return records


@mutant("order")
def real_time(records, rng):
    """Sent after another was acknowledged, seen before it; no counter."""
    world = World(rng.random())
    world.keys = world.keys[:1]
    world.publish("p1", serial=False, size=1)
    world.publish("p2", serial=False, size=1)
    world.log[0]["id"], world.log[1]["id"] = \
        world.log[1]["id"], world.log[0]["id"]
    return world.finish()


@mutant("double")
def double_key(records, rng):
    """A re-used idempotency key stored its event again."""
    row = dict(rng.choice([r for r in rows(records, "log") if r["uid"]]))
    row["id"] = str(uuid.UUID(int=2**125))
    return records + [row]


@mutant("completion")
def completion_lost(records, rng):
    """A completion was accepted and is gone after a crash."""
    row = rng.choice(rows(records, "ledger"))
    records.remove(row)
    records.remove(rows(records, "effect", w=row["w"], id=row["id"])[0])
    return records


@mutant("early")
def before_its_time(records, rng):
    """Handed out long before its deliver_at."""
    put_off(records, rng, 3600 * 1000)
    return records


@mutant("stalled")
def held_up(records, rng):
    """Nothing is handed out while somebody else's transaction is open."""
    return open_elsewhere(rng, working=False)


@mutant("dead")
def dead_too_soon(records, rng):
    """Given up with attempts left."""
    world = World(rng.random()).run()
    world.publish()
    token, batch = world.claim("all", most=1)
    world.add(f="crash", p="a1")
    world.queues["all"].remove(batch[0])
    world.final.append({"f": "dead", "w": "all", "id": batch[0]["id"], "n": 1})
    return world.finish()


# Legal, although something went wrong

@harmless
def unknown_commit_that_happened(seed):
    """The connection broke at COMMIT, and the transaction committed."""
    world = World(seed).run()
    world.publish(end="info")
    return world.finish()


@harmless
def unknown_commit_that_did_not(seed):
    """The connection broke at COMMIT, and the transaction did not commit."""
    world = World(seed).run()
    world.publish(end="info", happened=False)
    return world.finish()


@harmless
def copies_within_the_window(seed):
    """The relay was killed and sent its window again, in order."""
    world = World(seed).run()
    world.fault("relay")
    world.starts += 1
    return world.finish(copies=[8])


@harmless
def lease_that_passed(seed):
    """A lease ran out, the next agent did the work, the old token is refused;
    an unknown completion turned out to have happened."""
    world = World(seed).run()
    world.publish()
    token, batch = world.claim("all", "slow")
    world.t += 2 * LEASE
    for row in batch:
        world.attempt["all", row["id"]] += 1
    again, _ = world.claim("all", "a2")
    world.complete("all", again, batch, "a2")
    world.complete("all", token, batch, "slow", end="fail", happened=False,
                   answer="SN409")
    token, batch = world.claim("some", "a1")
    world.complete("some", token, batch, "a1", end="info")
    return world.finish()


@mutant("exit")
def quit_with_work(records, rng):
    """An agent ends with 0 while it holds a batch."""
    records.append({"f": "exit", "p": "lib", "code": 0, "held": 3,
                    "t": records[-1]["t"] + 1})
    return records


@harmless
def quit_and_told(seed):
    """It could not give its batch back, and said so."""
    world = World(seed).run()
    world.add(f="exit", p="lib", code=1, held=3)
    return world.finish()


@harmless
def asynchronous_commit_lost(seed):
    """synchronous_commit = off, acknowledged, and gone after a crash."""
    world = World(seed).run()
    world.publish(sync=False, happened=False)
    world.fault("postmaster", crash=True)
    return world.finish()


@harmless
def concurrent_without_a_lock(seed):
    """Two sessions publish for one key at once: either order is right."""
    world = World(seed)
    world.keys = world.keys[:1]
    world.publish("p1", serial=False, size=1)
    world.publish("p2", serial=False, size=1)
    one = [r for r in world.records if r.get("p") == "p1"]
    two = [r for r in world.records if r.get("p") == "p2"]
    for step, r in enumerate(two, 1):
        r["t"] = one[0]["t"] + step
    world.log[0]["id"], world.log[1]["id"] = \
        world.log[1]["id"], world.log[0]["id"]
    world.log.reverse()
    for queue in world.queues.values():
        queue.sort(key=lambda r: r["id"])
    return world.finish()


def with_rounds(records, at_once):
    """Rounds of the events of "all", which may wait for one batch: those of the
    batches that they came in, or one for all."""
    records[0]["subs"] = copy.deepcopy(records[0]["subs"])
    records[0]["subs"]["all"]["turns"] = 1
    claims, asked, seen = [], {}, set()
    for r in rows(records, "claim"):
        if r["ph"] == "invoke":
            asked[r["p"]] = r["w"]
        elif r.get("events") and asked[r["p"]] == "all":
            claims.append(r)
    for n, claim in enumerate(claims):
        ids = [e[0] for e in claim["events"] if e[0] not in seen]
        seen.update(ids)
        records.append({"f": "round", "n": 0 if at_once else n, "ids": ids,
                        "t": records[-1]["t"]})
    return records


@mutant("breach")
def told_of_others(records, rng):
    """A tenant is told of another."""
    return records + [{"f": "breach", "who": "t1", "what": "event_log",
                       "said": "t0", "t": records[-1]["t"]}]


@mutant("starved")
def waits_for_others(records, rng):
    """All was there when the first batch was handed out."""
    return with_rounds(records, at_once=True)


@harmless
def served_in_turn(seed):
    """Each event comes in the first batch after its round."""
    return with_rounds(World(seed).run().finish(), at_once=False)


@harmless
def its_time_had_come(seed):
    """deliver_at was over when the event was handed out."""
    world = World(seed).run()
    records = world.finish()
    put_off(records, world.rng, 0)
    return records


@harmless
def clock_that_was_ahead(seed):
    """deliver_at goes by the server's wall clock, which somebody had set."""
    world = World(seed)
    world.fault("clock_ahead", ahead=True)
    records = world.run().finish()
    put_off(records, world.rng, 3600 * 1000)
    return records


@harmless
def open_elsewhere_but_working(seed):
    """Somebody else's transaction is open, and agents work."""
    return open_elsewhere(random.Random(seed), working=True)


@harmless
def dropped_when_done(seed):
    """Retention takes the first half of the log, and the ledger's rows."""
    records = World(seed).run().finish()
    log = rows(records, "log")
    for row in log[:len(log) // 2]:
        row["gone"] = True
        for entry in rows(records, "ledger", id=row["id"]):
            records.remove(entry)
    return records


@harmless
def key_forgotten(seed):
    """An idempotency key is used again after retention has forgotten it."""
    world = World(seed).run()
    name = world.publish(serial=False, size=1)
    event = rows(world.records, "publish", ph="invoke", txn=name)[0]["events"]
    world.log[-1]["gone"] = True
    world.add(f="txn", ph="invoke", p="p1", txn="again", sync=True)
    world.send("p1", "again", event)
    world.add(f="commit", ph="invoke", p="p1", txn="again", xid=5)
    world.add(f="commit", ph="ok", p="p1", txn="again")
    world.store("again", 5, event)
    return world.finish()


@harmless
def nothing_special(seed):
    return legal(seed)
