# oracle.py: random schemas and values, for us and for PyPI's jsonschema.
# SPDX-License-Identifier: PostgreSQL

import json

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from verdict import INVALID, VALID

NAMES = ["a", "b", "ab", "c~/", "é", ""]
PATTERNS = ["^a", "b$", "^[a-c]*$", "a.b", "é|x", "^(a|b)+$", "\\d{2}"]
TYPES = ["null", "boolean", "object", "array", "number", "string", "integer"]

# whole numbers, and fractions that a float can hold: the other one has floats
numbers = st.one_of(st.integers(-20, 20),
                    st.sampled_from([0.5, -1.5, 2.25, 1.0, 3.0, 1e3]))
words = st.text(alphabet="abé x1", max_size=6)
names = st.sampled_from(NAMES)
scalars = st.one_of(st.none(), st.booleans(), numbers, words)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4),
                            st.dictionaries(names, inner, max_size=4)),
    max_leaves=10)
counts = st.integers(0, 4)


def leaves():
    """Keywords that hold no schema."""
    return {
        "type": st.one_of(st.sampled_from(TYPES),
                          st.lists(st.sampled_from(TYPES), min_size=1,
                                   max_size=3, unique=True)),
        "enum": st.lists(values, min_size=1, max_size=4),
        "const": values,
        "minimum": numbers, "maximum": numbers,
        "exclusiveMinimum": numbers, "exclusiveMaximum": numbers,
        "multipleOf": st.sampled_from([1, 2, 3, 0.5, 1.5]),
        "minLength": counts, "maxLength": counts,
        "pattern": st.sampled_from(PATTERNS),
        "minItems": counts, "maxItems": counts, "uniqueItems": st.booleans(),
        "minContains": counts, "maxContains": counts,
        "minProperties": counts, "maxProperties": counts,
        "required": st.lists(names, max_size=3, unique=True),
        "dependentRequired": st.dictionaries(
            names, st.lists(names, max_size=2, unique=True), max_size=2),
        "$ref": st.sampled_from(["#/$defs/one", "#two"]),
    }


def nests(inner):
    """Keywords that hold schemas."""
    some = st.lists(inner, min_size=1, max_size=3)
    found = {name: inner for name in (
        "not", "if", "then", "else", "items", "contains", "propertyNames",
        "additionalProperties", "unevaluatedItems", "unevaluatedProperties")}
    found.update({name: some for name in
                  ("allOf", "anyOf", "oneOf", "prefixItems")})
    found["properties"] = st.dictionaries(names, inner, max_size=3)
    found["dependentSchemas"] = st.dictionaries(names, inner, max_size=2)
    found["patternProperties"] = st.dictionaries(
        st.sampled_from(PATTERNS), inner, max_size=2)
    return found


def objects(fields):
    """Schemas with up to four of some keywords."""
    return st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True) \
        .flatmap(lambda keys: st.fixed_dictionaries(
            {key: fields[key] for key in keys}))


# what is referred to refers to nothing, so that no schema leads to itself
plain = {key: value for key, value in leaves().items() if key != "$ref"}
targets = st.one_of(st.booleans(), objects(plain))
schemas = st.recursive(
    st.one_of(st.booleans(), objects(leaves())),
    lambda inner: objects({**leaves(), **nests(inner)}), max_leaves=8)


def document(schema, one, two):
    """A schema with what it may refer to."""
    two = {"$anchor": "two", **two} if isinstance(two, dict) else \
        {"$anchor": "two", "not": {"const": two}}
    top = dict(schema) if isinstance(schema, dict) else {"allOf": [schema]}
    return {**top, "$defs": {"one": one, "two": two}}


def run(tap, judge, examples, number):
    """One result for all; hypothesis makes the example small."""
    asked = {VALID: 0, INVALID: 0}

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(schemas, targets, targets, st.lists(values, min_size=3, max_size=8))
    def compare(schema, one, two, tried):
        schema = document(schema, one, two)
        validator = Draft202012Validator(schema)
        for value in tried:
            wanted = VALID if validator.is_valid(value) else INVALID
            verdict, said = judge.ask(schema, value)
            asked[wanted] += 1
            assert verdict == wanted, json.dumps(
                {"schema": schema, "value": value, "theirs": wanted,
                 "ours": verdict, "said": said})

    wrong = []
    try:
        compare()
    except AssertionError as error:
        wrong.append(str(error))
    if min(asked.values()) < examples // 4:
        wrong.append(f"one-sided: {asked}")
    tap.result(f"oracle: {sum(asked.values())} verdicts, {asked[VALID]} valid, "
               f"seed {number}", wrong)
