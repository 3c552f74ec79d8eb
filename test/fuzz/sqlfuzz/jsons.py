# sqlfuzz/jsons.py: schemas and payloads as JSON texts, good ones and others.
# SPDX-License-Identifier: PostgreSQL
"""A text is made piece by piece, so that it can have what no library writes:
a key twice, numbers of any size, halves of surrogate pairs."""

import json

NAMES = ("a", "b", "ab", "c~/", "é", "", "%s", "$ref", "type", "x" * 300)
WORDS = ("", "a", "ab", "b", "é😀", "2026-02-29", "2026-12-01T08:30:00Z",
         "::1", "a@b.c", "018f3b2c-7d1e-7a4b-9c0d-1e2f3a4b5c6d", "x" * 5000,
         "a" * 40 + "!")
NUMBERS = ("0", "-0", "1", "-1", "2", "3.0", "0.5", "1e3", "1e400", "-1e-400",
           "1" * 200, "0." + "3" * 200, "9223372036854775808", "1e131071")
# Texts that are no JSON, or none that PostgreSQL has.
BROKEN = ('"\\ud800"', '"\\udc00x"', '"\\u0000"', "1e200000", "NaN", "01",
          "[1,", '{"a"}', "'a'", "\\", "")
PATTERNS = ("^a", "b$", "^[a-c]*$", "a.b", "é|x", "(a+)+$", "^(a|aa)*$",
            "\\d{2}", "[^a]", "\\bx", "(a?b?c?d?){20}", "^$")
NO_PATTERNS = ("(?=a)", "(a)\\1", "(", "a{300}", "\\p{L}",
               "([a-m]?[b-n]?){90}", "[z-a]")
TYPES = ("null", "boolean", "object", "array", "number", "string", "integer")
FORMATS = ("date-time", "date", "time", "duration", "uuid", "email",
           "hostname", "uri", "ipv4", "ipv6")
REFS = ("#/$defs/a", "#/$defs/", "#/$defs/c~0~1", "#/%24defs/a")
NO_REFS = ("#", "#b", "#/properties/a", "#/nothing", "https://example.org/x")

WHOLE = ("minLength", "maxLength", "minItems", "maxItems", "minContains",
         "maxContains", "minProperties", "maxProperties")
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
          "multipleOf")
ONE = ("not", "if", "then", "else", "items", "contains", "propertyNames",
       "additionalProperties", "unevaluatedItems", "unevaluatedProperties")
SOME = ("allOf", "anyOf", "oneOf", "prefixItems")
NAMED = ("properties", "dependentSchemas", "$defs")


class Jsons:
    """Makes texts by a random generator."""

    def __init__(self, rng):
        self.rng = rng
        self.wild = True            # what is made may be wrong somewhere

    def string(self, values=WORDS, wrong=()):
        """One of some, or sometimes of others."""
        if wrong and self.wild and self.rng.random() < 0.1:
            values = wrong
        return json.dumps(self.rng.choice(values), ensure_ascii=False)

    def number(self):
        return self.rng.choice(NUMBERS)

    def count(self):
        return self.rng.choice(("0", "1", "2", "3.0", "1e400", "2147483648"))

    def array(self, make, most, least=0):
        return "[" + ",".join(make() for _ in range(
            self.rng.randrange(least, most + 1))) + "]"

    def different(self, values, most, least=0):
        return json.dumps(self.rng.sample(
            values, self.rng.randrange(least, most + 1)), ensure_ascii=False)

    def members(self, pairs):
        """An object; now and then with a key twice."""
        pairs = list(pairs)
        if pairs and self.rng.random() < 0.1:
            pairs.insert(0, (self.rng.choice(pairs)[0], self.value(1)))
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{v}"
                              for k, v in pairs) + "}"

    def named(self, make, names=NAMES, most=3):
        rng = self.rng
        return self.members((rng.choice(names), make())
                            for _ in range(rng.randrange(most + 1)))

    def value(self, depth):
        rng = self.rng
        if self.wild and rng.random() < 0.005:
            return rng.choice(BROKEN)
        choice = rng.randrange(7 if depth else 5)
        if choice < 2:
            return rng.choice(("null", "true", "false"))
        if choice < 4:
            return self.number() if choice == 2 else self.string()
        if choice == 4:
            return rng.choice(("{}", "[]", "0", '"a"'))
        if choice == 5:
            return self.array(lambda: self.value(depth - 1), 4)
        return self.named(lambda: self.value(depth - 1), most=4)

    def keyword(self, name, depth):
        """The value of a keyword, mostly of its kind."""
        rng = self.rng
        if self.wild and rng.random() < 0.06:
            return self.value(1)
        if name in WHOLE:
            return self.count()
        if name in BOUNDS:
            return rng.choice(NUMBERS if self.wild else
                              ("1", "2.0", "0.5", "10", "1" * 30))
        if name in ONE:
            return self.schema(depth - 1)
        if name in SOME:
            return self.array(lambda: self.schema(depth - 1), 3,
                              0 if self.wild else 1)
        if name in NAMED:
            return self.named(lambda: self.schema(depth - 1))
        return {
            "type": lambda: self.string(TYPES) if rng.random() < 0.7 else
            self.different(TYPES, 3, 1),
            "enum": lambda: self.array(lambda: self.value(1), 5),
            "const": lambda: self.value(1),
            "pattern": lambda: self.string(PATTERNS, NO_PATTERNS),
            "format": lambda: self.string(FORMATS, ("iban",)),
            "required": lambda: self.different(NAMES, 2),
            "dependentRequired": lambda: self.named(
                lambda: self.different(NAMES, 2)),
            "patternProperties": lambda: self.named(
                lambda: self.schema(depth - 1), PATTERNS),
            "uniqueItems": lambda: "true",
            "$ref": lambda: self.string(REFS, NO_REFS),
            "$anchor": lambda: json.dumps(f"n{rng.randrange(10**6)}"),
            "x-own": lambda: self.value(1),
            "unknown": lambda: self.value(1),
        }[name]()

    KEYWORDS = WHOLE + BOUNDS + (
        "type", "enum", "const", "pattern", "format", "required",
        "dependentRequired", "uniqueItems", "$anchor", "x-own")
    INNER = ONE + SOME + NAMED + ("patternProperties", "$ref")

    def schema(self, depth=3):
        rng = self.rng
        if rng.random() < 0.08:
            return rng.choice(("true", "true", "false"))
        names = self.KEYWORDS + (self.INNER if depth > 0 else ())
        chosen = rng.sample(names, rng.randrange(5))
        if self.wild and rng.random() < 0.02:
            chosen.append("unknown")
        return self.members((n, self.keyword(n, depth)) for n in chosen)

    def event_schema(self):
        """Of an object, as events are; sometimes one that is made to hurt."""
        rng = self.rng
        if rng.random() < 0.06:
            return rng.choice(HURTING)(rng)
        self.wild = rng.random() < 0.35
        inner = self.schema()
        defs = "{" + ",".join(f'"{n}":{self.schema(0)}'
                              for n in ("a", "c~/", "")) + "}"
        return (f'{{"allOf":[{inner}],"$defs":{defs},"properties":'
                f'{self.named(self.schema)}}}')

    def payload(self):
        """Mostly an object of the names that schemas have."""
        rng = self.rng
        choice = rng.random()
        self.wild = choice < 0.3
        if choice < 0.04:
            return self.value(2)
        if choice < 0.08:
            return rng.choice(HEAVY)(rng)
        return self.named(lambda: self.value(3), most=6)


def nested(before, after, inner):
    return lambda rng: (before * (n := rng.choice((100, 499, 501, 3000))) +
                        inner + after * n)


def many(rng, value, count):
    return "{" + ",".join(f'"p{i}":{value}' for i in range(
        rng.choice((10, count)))) + "}"


HURTING = (
    nested('{"not":', "}", "true"), nested('{"items":', "}", "{}"),
    nested('{"allOf":[', "]}", "true"),
    lambda rng: '{"properties":' + many(rng, '{"type":"integer"}', 10000) +
    '}',
    lambda rng: '{"properties":{"' + "n" * 100000 + '":{"properties":' +
    many(rng, "{}", 5000) + "}}}",
    lambda rng: '{"required":["' + '","'.join(
        f"r{i}" for i in range(rng.choice((10, 20000)))) + '"]}',
    lambda rng: '{"enum":[' + ",".join(map(str, range(20000))) + "]}",
    lambda rng: '{"allOf":[' + ",".join(
        f'{{"pattern":"a{i}"}}' for i in range(3000)) + "]}",
    lambda rng: '{"$ref":"#","$defs":{"a":{"$ref":"#"}}}',
    lambda rng: '{"$defs":{"type":true,"":{"type":"string"}},"properties":'
    '{"a":{"$ref":"#/$defs/"}}}',
    lambda rng: '{"additionalProperties":{"anyOf":[{"$ref":"#"},{"$ref":"#"},'
    '{"$ref":"#"}]}}',
    lambda rng: '{"unevaluatedProperties":true,"allOf":[' + ",".join(
        ['{"unevaluatedProperties":{"type":"object"}}'] * 300) + "]}")

HEAVY = (
    lambda rng: many(rng, "1", 10000), lambda rng: many(rng, '{"a":1}', 10000),
    nested('{"a":', "}", "{}"), nested('{"a":[', "]}", "1"),
    lambda rng: '{"a":[' + ",".join(map(str, range(30000))) + "]}",
    lambda rng: '{"a":"' + "a" * 900000 + '!"}',
    lambda rng: '{"a":"' + "é" * 600000 + '"}',
    lambda rng: '{"a":1e131071,"b":1e131071}')
