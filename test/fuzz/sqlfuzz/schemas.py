# sqlfuzz/schemas.py: random schemas are registered, and payloads published.
# SPDX-License-Identifier: PostgreSQL
"""What validate_json() says of a payload is what publish(), publish_batch() and
the outbox do with it: stored when there is nothing to say, else SN422 with the
same in its detail, and nothing stored."""

import json

from .jsons import Jsons
from .part import Part

# Calls and what they came to: 'ok' with a value, or SQLSTATE with the detail.
HELPER = """
create or replace function fz.told(q text) returns text language plpgsql as $$
declare
    v text;
    d text;
begin
    execute q into v;
    return 'ok' || coalesce(v, '');
exception when others then
    get stacked diagnostics d = pg_exception_detail;
    return sqlstate || coalesce(d, '');
end $$"""
EVENTS = "select count(*) from sentinai.event_log where tenant_id = 'fzs'"
TIMEOUT = "57014"               # judged already; the transaction is over
MODES = ("none", "backward", "forward", "full", "full_transitive")


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


class Schemas(Part):
    """Each schema in a transaction that comes to nothing."""

    def __init__(self, world):
        super().__init__(world, "schemas")
        self.jsons = Jsons(self.rng)
        self.told = ""
        self.counts = {"registered": 0, "fits": 0, "broken": 0}

    def run(self, count):
        self.report.begin("schemas and payloads")
        self.ground.conn.execute(HELPER)
        self.ground.seen = self.ground.digest()
        self.open()
        for _ in range(count):
            self.session.run("begin")
            self.turn()
            self.session.finish()
            self.recent.append(self.told)
            if len(self.recent) > 20:
                self.look()
        self.close()
        if min(self.counts.values()) < count // 3:
            self.report.find(f"one-sided: {self.counts}")
        self.report.end(least=count)

    def ask(self, sql):
        """(state or 'ok', what it says) of a call in a subtransaction."""
        outcome = self.session.run(f"select fz.told({literal(sql)})")
        self.report.note(outcome)
        if outcome.failed:
            return outcome.state, ""
        said = outcome.rows[0][0].decode()
        size = 2 if said.startswith("ok") else 5
        state = said[:size]
        if size == 5 and not self.session.expected(state):
            self.report.find(f"{state} {said[5:200]}", sql)
        return state, said[size:]

    def turn(self):
        """A schema, another version perhaps, and payloads for the last."""
        schema = self.jsons.event_schema()
        self.told = f"schema {schema[:200]}"
        state = self.register(schema, "none")
        if state == "ok" and self.rng.random() < 0.5:
            other = self.jsons.event_schema()
            if self.register(other, self.rng.choice(MODES)) == "ok":
                schema = other
        if state != "ok":
            return
        self.counts["registered"] += 1
        for _ in range(self.rng.randrange(1, 5)):
            self.payload(schema, self.jsons.payload())

    def register(self, schema, mode):
        """Taken or refused for the same reason as validate_json() would."""
        state, said = self.ask(
            "select sentinai.register_event_type('fz.schema', "
            f"{literal(schema)}::jsonb, compatibility => '{mode}')")
        judged, reason = self.ask(
            f"select sentinai.validate_json({literal(schema)}::jsonb, 'null')")
        # a schema may be good, and a check of null with it take too long
        if state != judged and state not in ("SN409",) and \
                (judged != "SN422" or reason):
            self.report.find(f"registered {state} {said[:200]}, "
                             f"validated {judged} {reason[:200]}", schema)
        if self.rng.random() < 0.2:
            self.ask("select sentinai.describe_event_type('fz.schema')")
        return state

    def payload(self, schema, payload):
        state, errors = self.ask(
            f"select sentinai.validate_json({literal(schema)}::jsonb, "
            f"{literal(payload)}::jsonb)")
        if state == TIMEOUT:
            return
        wanted = "SN422" if state == "ok" and errors != "[]" else state
        if state == "ok":
            self.counts["fits" if errors == "[]" else "broken"] += 1
        one = f"{literal(payload)}::jsonb"
        for sql, many in (
                ("select sentinai.publish('fz.schema', 'fzs', 'a', "
                 f"{one})", 1),
                ("select sentinai.publish_batch('{fz.a,fz.schema}', "
                 "'{fzs,fzs}', '{a,a}', array['{}'::jsonb, " + one + "])", 2),
                ("insert into sentinai.outbox (tenant_id, aggregateid, type, "
                 f"payload) values ('fzs', 'a', 'fz.schema', {one}) "
                 "returning id", 1)):
            self.publish(sql, many, payload, wanted, errors)

    def publish(self, sql, many, payload, wanted, errors):
        before = self.events()
        state, said = self.ask(sql)
        if state == TIMEOUT:
            return
        added = self.events() - before
        if added != (many if state == "ok" else 0):
            self.report.find(f"{state}, and {added} events stored", sql)
        if self.limited(payload, state):
            return
        if state != wanted:
            self.report.find(f"{state} where validate_json() says "
                             f"{wanted} {errors[:300]}", sql, self.told)
        elif errors not in ("", "[]") and parsed(said) != parsed(errors):
            self.report.find(f"detail {said[:300]} where validate_json() says "
                             f"{errors[:300]}", sql, self.told)

    @staticmethod
    def limited(payload, state):
        """Whether it is refused for what no schema can allow."""
        if state == "SN413":
            return len(payload) > 500000 or "e131071" in payload
        return state == "SN422" and (payload[:1] != "{" or
                                     payload.count("{") + payload.count("[")
                                     > 500)

    def events(self):
        outcome = self.session.run(EVENTS)
        return 0 if outcome.failed else int(outcome.rows[0][0])
