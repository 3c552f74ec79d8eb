# sqlfuzz/wire.py: parameters as bytes, in both formats, good and bad.
# SPDX-License-Identifier: PostgreSQL

import struct

from . import values
from .part import Part

BAD_UTF8 = (b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
            b"\xe2\x82", b"a\x80b", b"\xf8\x88\x80\x80\x80", b"\xc3")
TEXTS = (b"", b"x", b"t1", b"fz.a", b"fz_all", b"{}", b"[]", b"null", b"NaN",
         b"infinity", b"-infinity", b"0", b"-1", b"9223372036854775807", b"t",
         b"99999999999999999999", b"{fz.a,NULL}", b"[-2:-1]={a,b}",
         b"{{a,b},{c,d}}", b"{{a},{b,c}}", b"[2147483647:2147483647]={a}",
         b"{\"", b"latest", b"1 day", b"-1 day", b"178956970 years", b"now",
         b"4714-11-24 BC", b"294277-01-01", b"\\x00", b"%s%n", b"\xc3\xa9",
         b'{"a": "\\u0000"}', b'{"a": "\\ud800"}', b'{"a": 1e200000}',
         b"x" * 1000, b"[" * 60000,
         b"01943c5e-0000-7000-8000-000000000000",
         b"1-0000000000000001-00000000000000000000000000000000") + BAD_UTF8
SIZES = {"int4": 4, "int8": 8, "int2": 2, "bool": 1, "uuid": 16,
         "interval": 16, "timestamptz": 8, "float8": 8, "float4": 4, "oid": 4}
RIGHT = {"uuid": b"01943c5e-0000-7000-8000-000000000000", "int4": b"3",
         "int8": b"5", "interval": b"10 ms", "timestamptz": b"2026-01-01",
         "bool": b"t", "jsonb": b'{"a": [1]}', "_text": b"[0:1]={fz.a,fz.b}",
         "_jsonb": b'{"{}","{}"}', "_interval": b"{1s}",
         "_uuid": b"{01943c5e-0000-7000-8000-000000000000}"}
ELEMENTS = {"text": 25, "uuid": 2950, "jsonb": 3802, "interval": 1186,
            "int4": 23}


class Wire(Part):
    """The extended protocol with whatever fits into it."""

    def __init__(self, world):
        super().__init__(world, "wire")

    def run(self, count):
        self.report.begin("parameters as bytes")
        self.open()
        self.session.allowed |= {"42804", "42883"}  # of types that do not fit
        for call in self.catalog.callables:
            for _ in range(count if call.params else 1):
                self.turn(call)
        self.close()
        self.report.end()

    def turn(self, call):
        rng = self.rng
        args = [f"${i}" for i in range(1, len(call.params) + 1)]
        data, types, formats = [], [], []
        for param in call.params:
            binary = rng.random() < 0.5
            data.append(None if rng.random() < 0.1 else
                        self.binary(values.plain_name(param.type)) if binary
                        else self.text(values.plain_name(param.type)))
            types.append(param.oid if rng.random() < 0.9 else
                         rng.choice((0, 25, 23, 705)))
            formats.append(int(binary))
        sql = call.statement(args)
        outcome = self.rolled_back(lambda: self.session.send(
            sql, data, types, formats, rng.randrange(2)))
        self.tried(f"{sql} {data!r}", outcome)

    def text(self, type_="text"):
        rng = self.rng
        if type_ in RIGHT and rng.random() < 0.7:
            return RIGHT[type_]
        if rng.random() < 0.8:
            return rng.choice(TEXTS)
        return bytes(rng.randrange(1, 256) for _ in range(rng.randrange(40)))

    def binary(self, type_):
        """Mostly what the type's receive function takes."""
        rng = self.rng
        if rng.random() < 0.05 and type_ != "jsonb":
            return rng.randbytes(rng.randrange(40))
        if type_.startswith("_"):
            return self.array(type_[1:])
        if type_ == "jsonb":
            return b"\1" + rng.choice(
                TEXTS + (b'{"a": 1}',) * 20)
        if type_ in SIZES:
            size = SIZES[type_] + rng.choice((0, 0, 0, 0, 0, 0, 1, -1))
            return rng.choice((rng.randbytes(size), b"\0" * size,
                               b"\xff" * size, b"\x7f" + b"\xff" * (size - 1),
                               b"\x80" + b"\0" * (size - 1),
                               b"\0" * (size - 1) + b"\1"))
        return rng.choice((self.text(), b"a\0b"))

    def array(self, element):
        rng = self.rng
        dims = rng.choice((0, 1, 1, 1, 1, 1, 1, 2, 6, 7, -1))
        counts = [rng.choice((0, 1, 1, 2, 3)) for _ in range(max(dims, 0))]
        if rng.random() < 0.1 and counts:
            counts[0] = rng.choice((2**31 - 1, -1, 2**28, 100000))
        total = 1
        for count in counts:
            total *= max(count, 0)
        out = struct.pack(">iiI", dims, rng.choice((0, 1, 0, 1, 2)),
                          ELEMENTS.get(element, 25))
        for count in counts:
            out += struct.pack(">ii", count, rng.choice(
                (1, 1, 1, 0, -5, 2**31 - 1, -2**31)))
        for _ in range(min(total, 20) if dims else 0):
            if rng.random() < 0.1:
                out += struct.pack(">i", -1)
            else:
                item = self.binary(element)
                out += struct.pack(">i", len(item)) + item
        return out


class Tokens(Part):
    """Tokens that are none, or not quite, and events of somebody else."""

    def __init__(self, world):
        super().__init__(world, "tokens")
        self.takers = [c for c in self.catalog.callables
                       if any(p.name == "token" for p in c.params)]

    def run(self, count):
        self.report.begin("tokens")
        self.open()
        for _ in range(count):
            call = self.rng.choice(self.takers)
            valid, ids = self.rng.choice(self.ground.batches)
            if self.rng.random() < 0.3:
                self.strange_event(call, valid, ids)
            else:
                self.strange_token(call, valid)
        self.close()
        self.report.end()

    def call(self, call, **given):
        """With these arguments, the rest ordinary."""
        self.ground.turn()
        args = [given.get(p.name) or values.ordinary(p, self.ground, self.rng)
                for p in call.params]
        sql = call.statement(args)
        outcome = self.rolled_back(lambda: self.session.run(sql))
        self.tried(sql, outcome)
        return sql, outcome

    def strange_token(self, call, valid):
        token = self.mutate(valid)
        sql, outcome = self.call(call, token=values.text(token),
                                 event_ids=values.null("pg_catalog._uuid"))
        if not outcome.failed and token not in \
                [t for t, _ in self.ground.batches]:
            self.report.find("a token that nobody was given did something", sql)

    def mutate(self, token):
        """Another text, more or less like it."""
        rng = self.rng
        sub, lanes, batch = token.split("-")
        other = rng.choice(self.ground.batches)[0].split("-")
        place = rng.randrange(len(token))
        return rng.choice((
            lambda: values.random_text(rng),
            lambda: token[:place] + rng.choice("0123456789abcdefX- é") +
            token[place + 1:],
            lambda: token[:place] + token[place + 1:],
            lambda: token[:place] + token[place] * 2 + token[place + 1:],
            lambda: token[:place], lambda: token + rng.choice("0a -\x01"),
            lambda: " " + token, lambda: token.upper() + "A",
            lambda: f"0{token}", lambda: f"+{token}",
            lambda: f"{other[0]}-{lanes}-{batch}",
            lambda: f"{sub}-{other[1]}-{batch}",
            lambda: f"{sub}-{lanes}-{other[2]}",
            lambda: f"{sub}-{int(lanes, 16) | rng.getrandbits(64):016x}-"
            f"{batch}",
            lambda: f"{sub}-{'f' * 16}-{batch}",
            lambda: f"{sub}-{'0' * 16}-{batch}",
            lambda: f"{rng.choice((0, 2**31 - 1, 2**31, 2**64, -1))}-{lanes}-"
            f"{batch}"))()

    def strange_event(self, call, valid, ids):
        """An event that is not of the batch: nothing may come of it."""
        others = [i for i in self.ground.events if i not in ids]
        event = self.rng.choice(values.UUIDS + [
            f"('{i}'::pg_catalog.uuid)" for i in others])
        sql, outcome = self.call(
            call, token=values.text(valid), event_id=event,
            event_ids=f"array[{event}]")
        if not outcome.failed and any(p.name in ("event_id", "event_ids")
                                      for p in call.params):
            self.report.find("took an event that is not of the batch", sql)
