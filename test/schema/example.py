# example.py: examples that describe_event_type() makes of random schemas.
# SPDX-License-Identifier: PostgreSQL

import json

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from oracle import document, names, schemas, targets, values

MARK = "Example (made from the schema):\n"
MISSED = 20                     # of so many schemas that have a value, one gets none

objects = st.dictionaries(names, values, max_size=4)


def made(conn, schema):
    """The example of a schema, or None."""
    said = conn.execute(
        "select sentinai.describe_event_type('schema.Example', "
        "sentinai.register_event_type('schema.Example', %s::jsonb, "
        "compatibility => 'none'))", (json.dumps(schema),)).fetchone()[0]
    return json.loads(said.split(MARK)[1]) if MARK in said else None


def run(tap, judge, examples, number):
    """The other validator takes every example, and few are missed."""
    count = {"made": 0, "missed": 0}

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(schemas, targets, targets, st.lists(objects, min_size=3, max_size=8))
    def make(schema, one, two, tried):
        schema = document({"type": "object", "allOf": [schema]}, one, two)
        validator = Draft202012Validator(schema)
        value = made(judge.conn, schema)
        if value is not None:
            count["made"] += 1
            assert validator.is_valid(value), json.dumps(
                {"schema": schema, "value": value})
        else:
            count["missed"] += any(map(validator.is_valid, tried))

    wrong = []
    try:
        make()
    except AssertionError as error:
        wrong.append(str(error))
    if count["made"] < examples // 4 or \
            count["missed"] * MISSED > count["made"]:
        wrong.append(f"few of them: {count}")
    tap.result(f"examples: {count['made']} made of random schemas, "
               f"{count['missed']} missed, seed {number}", wrong)
