# evolve.py: what is called compatible is.
# SPDX-License-Identifier: PostgreSQL
"""Random schemas, and the same with some changes: when a change is taken as
backward compatible, no value may be valid before and not after; forward, the
other way round. A value that shows the contrary is a fault."""

import copy
import json
import random

import psycopg
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from oracle import NAMES, PATTERNS, TYPES, document, schemas, targets, values
from verdict import INVALID, VALID

REGISTER = ("select sentinai.register_event_type('Evolving', %s::jsonb, "
            "compatibility => %s)")
LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
MAPS = ("properties", "patternProperties", "dependentSchemas", "$defs")
SINGLE = ("not", "if", "then", "else", "items", "contains", "propertyNames",
          "additionalProperties", "unevaluatedItems", "unevaluatedProperties")


def inner(schema):
    """Every schema in a schema, with how to replace it."""
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key in SINGLE:
            yield schema, key
        elif key in LISTS:
            yield from ((value, i) for i in range(len(value)))
        elif key in MAPS:
            yield from ((value, name) for name in value)


def places(schema):
    """The same at every depth."""
    for holder, key in list(inner(schema)):
        yield holder, key
        yield from places(holder[key])


def change_keyword(chance, node):
    """One keyword of a schema, a little."""
    key = chance.choice(sorted(node))
    value = node[key]
    if key in ("$defs", "$anchor") or chance.random() < 0.3:
        if key not in ("$defs", "$anchor"):
            del node[key]
    elif key == "type":
        node[key] = chance.choice(TYPES) if isinstance(value, str) and \
            chance.random() < 0.4 else sorted(
                set([value] if isinstance(value, str) else value) |
                {chance.choice(TYPES)})
    elif key in ("required", "enum") and value and chance.random() < 0.6:
        value.pop(chance.randrange(len(value)))
        if key == "enum" and not value:
            del node[key]
    elif isinstance(value, bool):
        node[key] = not value
    elif isinstance(value, (int, float)):
        node[key] = max(value + chance.choice([-1, 1, 2]),
                        1 if key == "multipleOf" else
                        0 if key[:3] in ("min", "max") and key[3:4].isupper()
                        else -99)
    elif key == "pattern":
        node[key] = chance.choice(PATTERNS)


def add_keyword(chance, node):
    """Something more, or an exception."""
    one = chance.choice([True, False, {"type": chance.choice(TYPES)},
                         {"minimum": 2}, {"maxLength": 2}])
    kind = chance.randrange(7)
    if kind == 0:
        node.setdefault("properties", {})[chance.choice(NAMES)] = one
    elif kind == 1:
        node["required"] = sorted(set(node.get("required", [])) |
                                  {chance.choice(NAMES)})
    elif kind == 2:
        node.setdefault("anyOf", []).append(one)
    elif kind == 3:
        node.setdefault("allOf", []).append(one)
    elif kind == 4:
        node["additionalProperties"] = one
    elif kind == 5:
        node.setdefault("patternProperties", {})[chance.choice(PATTERNS)] = one
    else:
        node[chance.choice(["minimum", "maximum", "minLength", "maxLength",
                            "minItems", "maxItems"])] = chance.randrange(5)


def changed(chance, schema):
    """A schema after one to three changes."""
    schema = copy.deepcopy(schema)
    for _ in range(chance.randint(1, 3)):
        found = [(holder, key) for holder, key in places(schema)]
        node = schema
        if found and chance.random() < 0.7:
            holder, key = chance.choice(found)
            if not isinstance(holder[key], dict):
                holder[key] = chance.choice([True, False, {}])
                continue
            node = holder[key]
        if node and chance.random() < 0.6:
            change_keyword(chance, node)
        else:
            add_keyword(chance, node)
    return schema


def is_taken(conn, old, new, mode):
    """Whether it may be registered; None when it is no schema any more."""
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(REGISTER, (json.dumps(old), "none"))
            conn.execute(REGISTER, (json.dumps(new), mode))
        return True
    except psycopg.Error as error:
        if error.sqlstate == "SN409":
            return False
        assert error.sqlstate == "SN422", f"{error.sqlstate}: {error}"
        return None


def run(tap, judge, examples, number):
    """One result for all."""
    asked = {True: 0, False: 0, None: 0}
    shown = {VALID: 0, INVALID: 0}

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(schemas, targets, targets, st.lists(values, min_size=6, max_size=12),
           st.integers(0, 2 ** 32))
    def compare(schema, one, two, tried, again):
        chance = random.Random(again)
        old = document(schema, one, two)
        for _ in range(3):
            new = changed(chance, old)
            mode = chance.choice(["backward", "forward"])
            taken = is_taken(judge.conn, old, new, mode)
            asked[taken] += 1
            if not taken:
                continue
            writer, reader = (old, new) if mode == "backward" else (new, old)
            for value in tried:
                verdict = judge.ask(writer, value)[0]
                shown[verdict] += 1
                assert verdict == INVALID or \
                    judge.ask(reader, value)[0] == VALID, json.dumps(
                        {"mode": mode, "old": old, "new": new, "value": value})

    wrong = []
    try:
        compare()
    except AssertionError as error:
        wrong.append(str(error))
    if min(asked[True], asked[False], shown[VALID]) < examples // 4:
        wrong.append(f"one-sided: {asked}, {shown}")
    tap.result(f"evolution: {asked[True]} changes taken, {asked[False]} refused, "
               f"{shown[VALID]} values, seed {number}", wrong)
