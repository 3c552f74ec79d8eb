# damage.py: schemas that have been broken at random.
# SPDX-License-Identifier: PostgreSQL
"""Whatever stands in a schema, it is refused as one or works: nothing else comes
out, and the server stays up."""

import json
import random

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from oracle import document, schemas, targets, values
from verdict import INVALID, REFUSED, VALID

ODD = [None, True, -1, 1.5, 10 ** 300, "", "(", "a{300}", "[a-", "\\", "(?=a)",
       "#/x", "#/$defs/one/", "#%", "http://x", [], [1], ["a", "a"], {},
       {"": 0}, "string", "date"]
KEYS = ["$id", "$anchor", "$schema", "$dynamicRef", "items", "required",
        "format", "pattern", "x-y", "", "multipleOf", "unevaluatedItems"]


def broken(chance, node):
    """The same with something else in some places."""
    if chance.random() < 0.06:
        return chance.choice(ODD)
    if isinstance(node, dict):
        return {chance.choice(KEYS) if chance.random() < 0.04 else key:
                broken(chance, value) for key, value in node.items()}
    if isinstance(node, list):
        return [broken(chance, value) for value in node]
    return node


def run(tap, judge, examples, number):
    """One result for all."""
    asked = {VALID: 0, INVALID: 0, REFUSED: 0}

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(schemas, targets, targets, values, st.integers(0, 2 ** 32))
    def hurt(schema, one, two, value, again):
        chance = random.Random(again)
        for _ in range(4):
            mutant = broken(chance, document(schema, one, two))
            verdict, said = judge.ask(mutant, value)
            assert verdict in asked, json.dumps(
                {"schema": mutant, "value": value, "said": said})
            asked[verdict] += 1

    wrong = []
    try:
        hurt()
    except AssertionError as error:
        wrong.append(str(error))
    if asked[REFUSED] < examples or asked[VALID] + asked[INVALID] < examples // 4:
        wrong.append(f"one-sided: {asked}")
    tap.result(f"broken schemas: {sum(asked.values())}, {asked[REFUSED]} "
               f"refused, seed {number}", wrong)
