# sqlfuzz/redact.py: random rules and documents, redacted in C and here.
# SPDX-License-Identifier: PostgreSQL
"""What is stored of a random event has to be what a slow and plain reading of
the documentation makes of it."""

import hashlib
import hmac
import json
import os
import shutil
import time

from . import values

KEY = b"the key of the fuzzer, which is long enough"
STRENGTH = ["secrets", "mask", "hash", "replace", "remove"]
NAMES = ["a", "b", "c", "iban", "a b", "é", "x\"y", "long" * 20, "", "0", "~/"]
# texts that may have a secret, and what is left of them
TEXTS = {"4111111111111111": "[redacted]", "x 4111 1111 1111 1111.":
         "x [redacted].", "Bearer abcdef123456": "Bearer [redacted]",
         "4111111111111112": "4111111111111112", "": "", "ab": "ab",
         "öäü漢字x": "öäü漢字x", "a longer text": "a longer text",
         "**cd": "**cd", "hmac-sha256:" + "0f" * 32:
         "hmac-sha256:" + "0f" * 32}
LISTED = 20


class Rule:
    """A path as steps (kind, name or number, deep), and what is done there."""

    def __init__(self, rng):
        self.steps = []
        for i in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 4))):
            kind = rng.choice(("member", "member", "member", "any", "item",
                               "items") if i else ("member", "member", "any"))
            what = rng.choice(NAMES) if kind == "member" else rng.randrange(3)
            self.steps.append((kind, what, kind in ("member", "any") and
                               rng.random() < 0.3))
        self.method = rng.choice(STRENGTH)
        if not self.steps and self.method in ("replace", "remove"):
            self.method = "mask"
        self.keep = rng.choice((0, 1, 4, 9))
        self.constant = rng.choice(("r", 7, None, {"z": [1, "z"]}, [], False))

    def path(self):
        text = "$"
        for kind, what, deep in self.steps:
            if kind == "item":
                text += f"[{what}]"
            elif kind == "items":
                text += "[*]"
            else:
                text += (".." if deep else ".") + \
                    ("*" if kind == "any" else json.dumps(what))
        return text

    def set(self, conn, tenant, event_type):
        conn.execute(
            "select sentinai.set_redaction(%s, %s, %s, %s, %s, %s)",
            (tenant, event_type, self.path(), self.method,
             self.keep if self.method == "mask" else None,
             json.dumps(self.constant) if self.method == "replace" else None))

    def places(self, document):
        """Where the path leads to, and the members that it names on its way."""
        named = set()

        def children(value):
            if isinstance(value, dict):
                return list(value.items())
            return list(enumerate(value)) if isinstance(value, list) else []

        def below(value, place):
            yield value, place
            for key, child in children(value):
                yield from below(child, place + (key,))

        def step(value, place, kind, what):
            if kind == "any":
                for key, child in children(value):
                    yield child, place + (key,)
            elif kind == "member" and isinstance(value, dict):
                if what in value:
                    named.add(place + (what,))
                    yield value[what], place + (what,)
            elif kind == "member" and isinstance(value, list):
                for key, child in children(value):
                    yield from step(child, place + (key,), kind, what)
            elif kind == "items" and isinstance(value, list):
                for key, child in children(value):
                    yield child, place + (key,)
            elif kind == "item" and isinstance(value, list):
                if what < len(value):
                    yield value[what], place + (what,)
            elif kind == "items" or (kind == "item" and what == 0):
                yield value, place

        found = [(document, ())]
        for kind, what, deep in self.steps:
            if deep:
                found = [d for v, p in found for d in below(v, p)]
            found = [n for v, p in found for n in step(v, p, kind, what)]
        return {place for _, place in found}, named


class Oracle:
    """One document under some rules, after the documentation."""

    def __init__(self, rules, tenant, document):
        self.tenant = tenant
        self.at = {}
        self.named = set()
        self.listed = []
        for rule in rules:
            places, named = rule.places(document)
            self.named |= named
            for place in places:
                self.at.setdefault(place, []).append(rule)
        self.result = self.redact(document, (), [])

    def note(self, method, place):
        tokens = [str(t).replace("~", "~0").replace("/", "~1") for t in place]
        if method == "remove" and isinstance(place[-1], str) and \
                place not in self.named:
            tokens[-1] = "*"
        pointer = ""
        for token in tokens:
            if len((pointer + "/" + token).encode()) > 256:
                break
            pointer += "/" + token
        self.listed.append((method, pointer))

    def text(self, rules, method, value):
        if method == "secrets":
            return TEXTS[value]
        if method == "mask":
            stays = min(min(r.keep for r in rules if r.method == "mask"),
                        len(value) // 2)
            return "*" * (len(value) - stays) + value[len(value) - stays:]
        if value.startswith("hmac-sha256:"):
            return value
        return "hmac-sha256:" + hmac.new(
            KEY, self.tenant.encode() + b"\0" + value.encode(),
            hashlib.sha256).hexdigest()

    def redact(self, value, place, above):
        rules = above + self.at.get(place, [])
        method = max((r.method for r in rules), key=STRENGTH.index,
                     default=None)
        if method == "remove":
            self.note(method, place)
            return None
        if method == "replace":
            self.note(method, place)
            return "*constant*", [r.constant for r in rules
                                  if r.method == "replace"]
        if isinstance(value, dict):
            return {k: self.redact(v, place + (k,), rules)
                    for k, v in value.items()
                    if not any(r.method == "remove"
                               for r in self.at.get(place + (k,), []))
                    or self.note("remove", place + (k,))}
        if isinstance(value, list):
            return [self.redact(v, place + (i,), rules)
                    for i, v in enumerate(value)]
        if method is None or value is None:
            return value
        if method == "secrets" and not isinstance(value, str):
            return value
        if isinstance(value, bool):
            shown = "****" if method == "mask" else json.dumps(value)
            result = shown if method == "mask" else \
                self.text(rules, method, shown)
        else:
            result = self.text(rules, method, str(value))
        if method != "secrets" or result != value:
            self.note(method, place)
        return result


def fits(expected, stored):
    """Of two constants for one value either may stand there."""
    if isinstance(expected, tuple):
        return any(same(c, stored) for c in expected[1])
    if isinstance(expected, dict):
        return isinstance(stored, dict) and expected.keys() == stored.keys() \
            and all(fits(v, stored[k]) for k, v in expected.items())
    if isinstance(expected, list):
        return isinstance(stored, list) and len(expected) == len(stored) and \
            all(fits(*pair) for pair in zip(expected, stored))
    return same(expected, stored)


def same(a, b):
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def listed(said):
    """The pointers of metadata, and how many there were."""
    said = dict(said.get("redacted", {}))
    more = said.pop("more", 0)
    found = sorted((m, p) for m, pointers in said.items() for p in pointers)
    return found, len(found) + more


class Redact:
    """A database of its own, as rules hold for all that is published there."""

    def __init__(self, cluster, report, seed, count):
        self.cluster = cluster
        self.report = report
        self.rng = values.seeded(seed, "redact")
        self.count = count

    def give_key(self, conn):
        """A file that only the server can read."""
        folder = os.path.join(self.cluster.dir, "secrets")
        os.mkdir(folder)
        os.chmod(folder, 0o755)
        name = os.path.join(folder, "key")
        with open(name, "wb") as file:
            file.write(KEY)
        os.chmod(name, 0o600)
        if os.getuid() == 0:
            shutil.chown(name, "postgres")
        with open(os.path.join(self.cluster.dir, "data/postgresql.conf"),
                  "a", encoding="ascii") as file:
            file.write(f"sentinai.secret_directory = '{folder}'\n"
                       f"sentinai.redaction_key_file = '{name}'\n")
        conn.execute("select pg_reload_conf()")
        limit = time.monotonic() + 60
        while conn.execute("show sentinai.redaction_key_file").fetchone()[0] \
                != name:
            if time.monotonic() > limit:
                raise TimeoutError("the key is not known")
            time.sleep(0.01)

    def document(self, depth=0):
        rng = self.rng
        kind = rng.random() if depth else 0
        if kind < 0.35 and depth < 5:
            return {name: self.document(depth + 1) for name in
                    rng.sample(NAMES, rng.randrange(len(NAMES) // 2))}
        if kind < 0.55 and depth < 5:
            return [self.document(depth + 1) for _ in
                    range(rng.choice((0, 1, 2, 3, 40 if depth < 2 else 3)))]
        return rng.choice((None, True, False, rng.randrange(10**9), -7, 0.25,
                           rng.choice(list(TEXTS)), rng.choice(list(TEXTS))))

    def like(self, document):
        """One with the same members, whose values may be others."""
        return {name: self.document(1) if self.rng.random() < 0.4 else value
                for name, value in document.items()}

    def publish(self, conn, tenant, event_type, document):
        """One way or another; payload and metadata as they are stored."""
        text = json.dumps(document)
        key = f"r{self.report.calls}"
        way = self.rng.randrange(3)
        if way == 0:
            conn.execute("select sentinai.publish(%s, %s, %s, %s)",
                         (event_type, tenant, key, text))
        elif way == 1:
            conn.execute(
                "select sentinai.publish_batch(array[%s], array[%s], "
                "array[%s], array[%s]::jsonb[])",
                (event_type, tenant, key, text))
        else:
            conn.execute(
                "insert into sentinai.outbox (tenant_id, aggregateid, type, "
                "payload) values (%s, %s, %s, %s)",
                (tenant, key, event_type, text))
        return conn.execute(
            "select payload, metadata from sentinai.event_log where "
            "tenant_id = %s and aggregate_id = %s", (tenant, key)).fetchone()

    def one(self, conn):
        """Some rules, and some events under them."""
        rng = self.rng
        conn.execute("delete from sentinai_internal.redaction")
        rules = {}
        for _ in range(rng.choice((1, 1, 2, 3, 5, 8))):
            rule = Rule(rng)
            place = (rng.choice(("t1", "t1", "*")),
                     rng.choice(("Type", "Type", "*")))
            rules[place + (rule.path(),)] = rule
        for (tenant, event_type, _), rule in rules.items():
            rule.set(conn, tenant, event_type)
        document = {}
        for _ in range(4):
            tenant = rng.choice(("t1", "t1", "t1", "t2"))
            event_type = rng.choice(("Type", "Type", "Type", "Other"))
            document = self.like(document) if rng.random() < 0.5 else \
                self.document()
            used = [r for (t, e, _), r in rules.items()
                    if t in ("*", tenant) and e in ("*", event_type)]
            self.report.calls += 1
            payload, said = self.publish(conn, tenant, event_type, document)
            self.judge(Oracle(used, tenant, document), document, payload, said,
                       rules)

    def judge(self, oracle, document, payload, said, rules):
        found, count = listed(said)
        expected = sorted(oracle.listed)
        good = fits(oracle.result, payload) and count == len(expected) and \
            (found == expected or count > LISTED and len(found) == LISTED)
        if not good:
            self.report.find(
                "an event is not stored as its rules say",
                "\n".join(f"{place} {r.method} {r.keep} {r.constant!r}"
                          for place, r in rules.items()),
                f"{json.dumps(document)[:600]}\nexpected "
                f"{json.dumps(oracle.result)[:600]} {expected[:25]}\nstored "
                f"{json.dumps(payload)[:600]} {json.dumps(said)[:600]}")

    def run(self):
        self.report.begin("redaction, against an oracle")
        with self.cluster.connect("redact") as conn:
            conn.execute("create database redact")
        with self.cluster.connect("redact", "redact") as conn:
            conn.execute("create extension sentinai")
            self.give_key(conn)
            for _ in range(self.count):
                self.one(conn)
        self.report.end(4 * self.count)
