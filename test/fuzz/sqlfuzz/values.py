# sqlfuzz/values.py: hostile and ordinary values of every type.
# SPDX-License-Identifier: PostgreSQL
"""Values are SQL expressions in which nothing depends on search_path. Ordinary
ones are chosen by the name of the parameter; a parameter of a name or type that
is not known here gets what its type's input function may take."""

import random

MIB = 1 << 20
HUGE = 300 * 10**6


def text(value):
    """A literal of type text."""
    if "\\" in value or any(ord(c) < 32 for c in value):
        body = "".join(f"\\x{ord(c):02x}" if ord(c) < 32 else
                       {"\\": "\\\\", "'": "''"}.get(c, c) for c in value)
        return f"(E'{body}'::pg_catalog.text)"
    return "('" + value.replace("'", "''") + "'::pg_catalog.text)"


def cast(type_, *literals):
    return ["('" + value.replace("'", "''") + f"'::pg_catalog.{type_})"
            for value in literals]


def repeat(piece, count):
    return f"pg_catalog.repeat('{piece}', {count})"


def wrapped(before, middle, after, type_="jsonb"):
    """A literal made from a long text."""
    return (f"(pg_catalog.concat('{before}', {middle}, '{after}')"
            f"::pg_catalog.{type_})")


def from_now(sign, interval):
    return (f"(pg_catalog.now() operator(pg_catalog.{sign}) "
            f"'{interval}'::pg_catalog.interval)")


TEXTS = [text(v) for v in (
    "", " ", "x", "é", "日本", "😀", "a b", "'; drop table t; --", "%s%n%d%p",
    "\\", '"', "\x01", "a\nb", "a\tb", "\x7f", "\u200b", "\ufeff", "\uffff",
    "NaN", "infinity", "-infinity", "null", "{}", "{", "0", "-1", "../..", ".",
    "sentinai.event_log", "latest", "earliest", "relay", "block", "now",
    "allballs", "24:00", "J0", "2026-13-45", "4714-11-24 00:00:00+00 BC",
    "00000000-0000-0000-0000-000000000000")] + [
    repeat("x", n) for n in (100, 101, 128, 129, 256, 257, 512, 513, 1024, 1025,
                             8192, 8193)] + [
    repeat("é", n) for n in (50, 128, 129, 512, 513, 4096)] + [
    repeat("x", MIB), repeat("é", MIB // 2), repeat(" ", MIB)]

JSONS = cast(
    "jsonb", "{}", "[]", "null", "true", "0", '"x"', '{"a": null}', '{"": {}}',
    '{"a": 1e400, "b": -1e-400}', '{"a": "\\u0001\\ud83d\\ude00"}',
    '{"a": [[[[{"b": {}}]]]]}', '{"outbox_id": 1}', "[{}]", '{"a": 0.0}',
    '{"worker_type": "fz_all", "event_id": "x", "attempt": "y"}') + [
    wrapped('{"a": "', repeat("x", n), '"}') for n in (
        65000, 66000, MIB - 100, MIB + 100)] + [
    wrapped('{"a": ', "pg_catalog.concat(" + repeat("[", 3000) + ", " +
            repeat("]", 3000) + ")", "}"),
    "(select pg_catalog.jsonb_object_agg(i, i) from "
    "pg_catalog.generate_series(1, 9000) i)"]

UUIDS = cast(
    "uuid", "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "00000000-0000-7000-8000-000000000000",
    "ffffffff-ffff-7fff-bfff-ffffffffffff",
    "01943c5e-0000-7000-8000-000000000000",
    "01943c5e-0000-4000-8000-000000000000",
    "01943c5e-0000-7000-0000-000000000000",
    "7fffffff-ffff-7fff-bfff-ffffffffffff",
    "80000000-0000-7000-8000-000000000000",
    "00ea9e1b-6f5f-7fff-bfff-ffffffffffff",
    "c0de0000-0000-1000-8000-000000000000") + [
    "pg_catalog.gen_random_uuid()"]

INTERVALS = cast(
    "interval", "infinity", "-infinity", "0", "1 us", "-1 us", "1 s",
    "1 day", "1 day 1 us", "-1 day",
    "1 mon", "1 mon -30 days", "366 days", "366 days 1 us", "367 days",
    "2147483647 days", "-2147483648 days", "178000000 years",
    "-178000000 years", "2147483647 days 2562047788:00:54.775807",
    "178956970 years 7 mons 2147483647 days 2562047788:00:54.775807",
    "-178956970 years -8 mons -2147483648 days -2562047788:00:54.775808")

TIMES = cast(
    "timestamptz", "infinity", "-infinity", "epoch", "1969-12-31 23:59:59+00",
    "4714-11-24 00:00:00+00 BC", "0001-01-01 00:00:00+00", "2025-01-01+00",
    "2024-12-31+00", "10889-08-02+00", "294276-12-31 23:59:59.999999+00",
    "2106-02-07+00", "9999-12-31+00") + [
    from_now("-", "1 hour"), from_now("+", "1 hour"),
    from_now("+", "3653 days"), from_now("+", "400 years")]

# By pg_type.typname.
PLAIN = {
    "text": TEXTS, "varchar": TEXTS, "name": TEXTS[:30], "jsonb": JSONS,
    "uuid": UUIDS, "interval": INTERVALS, "timestamptz": TIMES,
    "bool": cast("bool", "t", "f"),
    "int2": cast("int2", "0", "1", "-1", "32767", "-32768"),
    "int4": cast("int4", "0", "1", "-1", "2", "99", "100", "101", "1000",
                 "1001", "10000", "10001", "2147483647", "-2147483648",
                 "2147483646", "65536"),
    "int8": cast("int8", "0", "1", "-1", "4294967296", "9223372036854775807",
                 "-9223372036854775808", "9223372036854775806"),
    "float4": cast("float4", "0", "-0", "NaN", "Infinity", "-Infinity",
                   "3.4e38", "1e-45"),
    "float8": cast("float8", "0", "-0", "1", "NaN", "Infinity", "-Infinity",
                   "1e308", "-1e308", "5e-324"),
    "numeric": cast("numeric", "0", "NaN", "Infinity", "-Infinity", "1e1000",
                    "-1e-1000"),
    "oid": cast("oid", "0", "1", "1259", "4294967295"),
    "regclass": cast("regclass", "pg_catalog.pg_class") + [
        "0::pg_catalog.oid::pg_catalog.regclass"],
    "bytea": cast("bytea", "", "\\x00", "\\xff") + [
        "pg_catalog.convert_to(" + repeat("x", MIB) + ", 'UTF8')"],
    "date": cast("date", "infinity", "-infinity", "5874897-12-31",
                 "4714-11-24 BC"),
    "timestamp": cast("timestamp", "infinity", "-infinity", "epoch"),
    "json": ["(" + v + "::pg_catalog.text::pg_catalog.json)" for v in JSONS],
}

# What is right for a parameter of that name, whatever the function. One that is an
# array elsewhere has a second line, with brackets.
ORDINARY = {
    "worker_type": [text(w) for w in ("fz_all", "fz_some", "fz_block",
                                      "fz_free", "fz_none")],
    "event_type": [text("fz.a"), text("fz.b")],
    "type": [text("fz.a")],
    "event_types": cast("_text", "{fz.a}", "{fz.a,fz.b}"),
    "tenant_id": [text("t1"), text("t2")],
    "tenant_ids": cast("_text", "{t1,t2}"),
    "aggregate_id": [text("a1"), text("a2")],
    "aggregateid": [text("a1")],
    "exception_id": [text("a1")],
    "aggregate_ids": cast("_text", "{a1,NULL}"),
    "aggregate_type": [text("exception")],
    "aggregatetype": [text("exception")],
    "payload": cast("jsonb", '{"canary": "c4n4ry"}'),
    "payloads": ["""('{"{}","{\\"a\\": 1}"}'::pg_catalog._jsonb)"""],
    "metadata": cast("jsonb", "{}"),
    "metadata[]": ["""('{"{}",NULL}'::pg_catalog._jsonb)"""],
    "correlation_id": [text("c1")],
    "correlation_ids": cast("_text", "{c1,NULL}"),
    "idempotency_key": [text("k1"), "(null::pg_catalog.text)"],
    "start_from": [text(v) for v in ("latest", "earliest", "2026-01-01")],
    "on_dead": [text("skip"), text("block")],
    "backoff": cast("_interval", "{1s,2s}"),
    "max_attempts": cast("int4", "3"),
    "max_events": cast("int4", "3", "100"),
    "lease": cast("interval", "1 hour"),
    "timeout": cast("interval", "0", "10 ms"),
    "retry_in": cast("interval", "1 hour"),
    "error": [text("it failed")],
    "reason": [text("why not")],
    "actor": [text("somebody")],
    "worker_id": [text("agent")],
    "schema_version": cast("int4", "1"),
    "partitions": cast("int4", "12"),
    "until": [from_now("+", "1 hour")],
    "deliver_at": [from_now("+", "1 hour")],
    "deliver_at[]": ["(array[" + from_now("+", "1 hour") + ", null])"],
    "causation_ids": cast("_uuid", "{NULL,NULL}"),
    "schema_versions": cast("_int4", "{1,NULL}"),
}

# A wait is not to last; everything else about the type stands.
SHORT = cast("interval", "0", "1 us", "-1 us", "30 ms", "-1 day", "367 days",
             "-178000000 years", "2147483647 days 2562047788:00:54.775807")

# Types of parameters that nothing is known about; somebody should add them.
STRANGE = set()

# The arrays that only a 300 MB value is good for.
HUGES = {
    "text": [repeat("x", HUGE), repeat("é", HUGE // 2)],
    "jsonb": [wrapped('{"a": "', repeat("x", 250 * 10**6), '"}')],
    "_text": [f"pg_catalog.array_fill({text('')}, array[{HUGE // 8}])",
              "array[" + repeat("x", HUGE) + "]"],
    "_uuid": ["pg_catalog.array_fill(pg_catalog.gen_random_uuid(), "
              f"array[{HUGE // 16}])"],
    "_interval": ["pg_catalog.array_fill('1 s'::pg_catalog.interval, "
                  f"array[{HUGE // 16}])"],
    "_jsonb": ["pg_catalog.array_fill('{}'::pg_catalog.jsonb, "
               f"array[{HUGE // 8}])"],
}


def null(type_):
    return f"(null::{type_})"


def plain_name(type_):
    """pg_type.typname of a type of PostgreSQL's own, or nothing."""
    schema, _, name = type_.partition(".")
    return name.strip('"') if schema == "pg_catalog" else ""


def arrays(element, rng):
    """Every shape, of that element type."""
    type_ = f"pg_catalog._{element}"
    one = [rng.choice(PLAIN.get(element, [f"null::pg_catalog.{element}"]))
           for _ in range(4)]
    good = {"text": "fz.a", "uuid": "01943c5e-0000-7000-8000-000000000000",
            "interval": "1s", "jsonb": "{}", "bool": "t",
            "timestamptz": "2026-01-01"}.get(element, "1")
    item = f'"{good}"'
    shapes = [f"{{{item}}}", f"{{{item},NULL}}", "{NULL}", "{NULL,NULL}", "{}",
              f"[-5:-4]={{{item},{item}}}", f"[0:0]={{{item}}}",
              f"[2147483646:2147483646]={{{item}}}",
              f"[-2147483648:-2147483648]={{{item}}}",
              f"{{{{{item},{item}}},{{{item},{item}}}}}", f"{{{{{item}}}}}",
              f"[3:3][-1:0]={{{{{item},NULL}}}}",
              f"{{{{{{{{{{{{{item}}}}}}}}}}}}}", f"{{{item},{item},{item}}}"]
    found = [f"('{s}'::{type_})" for s in shapes]
    found += [f"(array[{one[0]}]::{type_})",
              f"(array[{', '.join(one)}]::{type_})"]
    found += [f"pg_catalog.array_fill('{good}'::pg_catalog.{element}, "
              f"array[{n}])" for n in (100, 101, 1000, 1001, 10001, 100001)]
    found.append(f"pg_catalog.array_fill('{good}'::pg_catalog.{element}, "
                 "array[300, 4], array[-7, 2147483600])")
    found.append(f"pg_catalog.array_fill(null::pg_catalog.{element}, "
                 "array[2000])")
    return found


def hostile(param, rng):
    """Every hostile value of a parameter, null first."""
    found = [null(param.type)]
    plain = plain_name(param.type)
    if param.name == "timeout":
        return found + SHORT
    if plain.startswith("_"):
        return found + arrays(plain[1:], rng)
    if plain in PLAIN:
        return found + PLAIN[plain]
    STRANGE.add(param.type)
    return found + [f"('{v}'::{param.type})" for v in ("", "0", "{}", "()")]


def huge(param):
    """Values of some hundred megabytes, as far as there are any."""
    return HUGES.get(plain_name(param.type), [])


def ordinary(param, ground, rng):
    """A value that the function should accept."""
    if param.optional and rng.random() < 0.2:
        return null(param.type)
    name = param.name
    if plain_name(param.type).startswith("_"):
        name = name + "[]" if name + "[]" in ORDINARY else name
    known = ground.pool(param) or ORDINARY.get(name)
    if known:
        return rng.choice(known)
    return rng.choice(hostile(param, rng))


def random_text(rng, most=80):
    """Any characters that a text can hold."""
    out = []
    for _ in range(rng.randrange(most)):
        top = rng.choice((0x7F, 0xFF, 0xFFFF, 0x10FFFF))
        c = rng.randrange(1, top + 1)
        out.append(chr(c if not 0xD800 <= c <= 0xDFFF else 0xFFFD))
    return "".join(out)


def seeded(*parts):
    return random.Random("/".join(map(str, parts)))
