# asyncapi.py: documents of asyncapi(), for AsyncAPI's own parser and another
# validator, and what real settings make of them.
# SPDX-License-Identifier: PostgreSQL

import json
import os
import shutil
import subprocess
import sys

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from oracle import document, schemas, targets, values
from verdict import VALID

HERE = os.path.dirname(os.path.abspath(__file__))
TYPES = 60                      # random ones in one document

# names and places that are awkward in a reference, and what only looks like one
AWKWARD = {
    "$id": "https://example.com/order",
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "name": {"$ref": "#/$defs/a%20b~1c~0%25%C3%A9"},
        "beside": {"$ref": "#count", "maximum": 5},
        "whole": {"$ref": "https://example.com/order"},
        "allOf": {"allOf": [{"minimum": 1}], "$ref": "#count"},
        "$ref": {"type": "string", "minLength": 2},
        "to": {"$ref": "#/properties/$ref"},
        "const": {"const": {"$ref": "#/nowhere"}},
    },
    "$defs": {"a b/c~%é": {"type": "string"},
              "inner": {"properties": {"x": {"$anchor": "count",
                                             "type": "integer"}}}},
    "default": {"name": {"$ref": "none"}},
    "unevaluatedProperties": False,
}
AWKWARD_VALUES = [
    ({"name": "x"}, True), ({"name": 1}, False), ({"beside": 5}, True),
    ({"beside": 6}, False), ({"beside": "5"}, False), ({"allOf": 0}, False),
    ({"allOf": 1.5}, False), ({"whole": {"name": 1}}, False),
    ({"whole": {"whole": {}}}, True), ({"other": 1}, False),
    ({"$ref": "text"}, True), ({"$ref": 1}, False), ({"to": "text"}, True),
    ({"to": "t"}, False)]


def fetch_packages(place, env):
    """npm ci, again when the registry has not answered; what it said last."""
    for _ in range(3):
        fetched = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund",
             "--loglevel=error"], cwd=place, env=env, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        if not fetched.returncode:
            return
    raise SystemExit("AsyncAPI's parser cannot be fetched by npm: " +
                     fetched.stdout)


def node_modules():
    """The packages of the lock file, fetched once; an environment for them."""
    source = os.path.join(HERE, "asyncapi")
    place = os.path.join(os.path.dirname(sys.prefix), "node")
    env = {**os.environ,
           "PATH": os.path.join(sys.prefix, "bin") + ":" + os.environ["PATH"],
           "NODE_PATH": os.path.join(place, "node_modules")}
    wanted = open(os.path.join(source, "package-lock.json")).read()
    done = os.path.join(place, "complete")
    if not os.path.exists(done) or open(done).read() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        os.makedirs(place)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(source, name), place)
        fetch_packages(place, env)
        with open(done, "w") as file:
            file.write(wanted)
    return env


class Parser:
    """Asks node."""

    def __init__(self):
        self.env = node_modules()

    def parse(self, document, ask=()):
        said = subprocess.run(
            ["node", os.path.join(HERE, "asyncapi", "parse.js")], env=self.env,
            input=json.dumps({"document": document, "ask": list(ask)}),
            capture_output=True, text=True)
        if said.returncode != 0:
            return {"errors": said.stderr.splitlines()[-8:], "channels": {},
                    "verdicts": []}
        return json.loads(said.stdout)


def one(conn, sql, *args):
    return conn.execute(sql, args).fetchone()[0]


def register(conn, name, schema, examples=()):
    return one(conn, "select sentinai.register_event_type(%s, %s::jsonb, "
               "examples => %s::jsonb, compatibility => 'none')",
               name, json.dumps(schema), json.dumps(list(examples)))


def set_all(conn, **names):
    """Settings of the server, by its own file."""
    for name, value in names.items():
        if value is None:
            conn.execute(f"alter system reset sentinai.{name}")
        else:
            conn.execute(f"alter system set sentinai.{name} = '{value}'")
    conn.execute("select pg_reload_conf()")
    for name, value in names.items():
        for _ in range(1000):
            if value is None or one(conn, "select current_setting(%s)",
                                    f"sentinai.{name}") == value:
                break
            conn.execute("select pg_sleep(0.01)")


def awkward(tap, conn, parser):
    register(conn, "api:awkward/one__a_", AWKWARD,
             [{"name": "x"}, {"const": {"$ref": "#/nowhere"}}])
    register(conn, "api.v1", {"required": ["a"]}, [{"a": "b"}])
    register(conn, "api.v1", {"required": ["b"]})
    found = one(conn, "select sentinai.asyncapi(event_types => %s)",
                ["api:awkward/one__a_", "api.v1"])
    keys = {message["title"]: key for key, message in
            found["components"]["messages"].items()}
    key = keys["api:awkward/one__a_, version 1"]
    said = parser.parse(found, [{"key": key, "values":
                                 [value for value, _ in AWKWARD_VALUES]}])
    tap.result("asyncapi: a parser takes awkward names and references",
               said["errors"])
    tap.result("asyncapi: references lead where they led",
               [json.dumps(value) for (value, wanted), verdict in
                zip(AWKWARD_VALUES, (said["verdicts"] or [[]])[0])
                if verdict != wanted] if said["verdicts"] else ["no verdict"])
    channels = said["channels"]
    tap.result("asyncapi: a channel with all messages, which are sent",
               [] if channels.get("events", {}).get("actions") == ["send"] and
               sorted(channels["events"]["messages"]) == sorted(keys.values())
               and len(keys) == 3 else [json.dumps(channels)])


def topics(tap, conn, parser):
    """What the settings make of channels, servers and headers."""
    secret = os.path.join(HERE, "run.py")
    cases = [
        ("a broker", dict(kafka_conf="bootstrap.servers=SASL_SSL://k1:9093,k2:9093; "
                          "security.protocol=sasl_ssl; sasl.mechanism=SCRAM-SHA-512; "
                          f"sasl.username=hidden-user; ssl.ca.location={secret}",
                          control_topic="sentinai.control"),
         {"control": ["DeadLettered.v1", "RetryScheduled.v1"],
          "events": ["api.v1.v1", "api.v1.v2"]}),
        ("a topic for each type", dict(topic_template="{event_type}.{tenant}"),
         {"control": ["DeadLettered.v1", "RetryScheduled.v1"],
          "events.api.v1": ["api.v1.v1", "api.v1.v2"]}),
        ("Debezium's format, and a topic for all",
         dict(topic_template="all", record_format="debezium", control_topic=None,
              dead_letter_topic="refused"),
         {"events": ["api.v1.v1", "api.v1.v2"],
          "refused": ["api.v1.v1", "api.v1.v2"]}),
        ("CloudEvents' structured mode", dict(record_format="cloudevents_structured",
                                              control_topic="sentinai.control"),
         {"control": ["DeadLettered.v1", "RetryScheduled.v1"],
          "events": ["api.v1.v1", "api.v1.v2"],
          "refused": ["api.v1.v1", "api.v1.v2"]}),
        ("options of records", dict(relay_record_options="key={tenant}:{metadata.order}; "
                                    "headers=region:eu; headers.metadata=user; topics=api.v1:mapped"),
         {"control": ["DeadLettered.v1", "RetryScheduled.v1"], "events": [],
          "events.api.v1": ["api.v1.v1", "api.v1.v2"],
          "refused": ["api.v1.v1", "api.v1.v2"]}),
        ("raw records", dict(record_format="raw", topic_template=None,
                            relay_record_options=None,
                            control_topic=None,
                            dead_letter_topic=None),
         {"events": ["api.v1.v1", "api.v1.v2"]}),
    ]
    asked = {"relay_workers": "0"}
    for name, change, wanted in cases:
        set_all(conn, **change, **asked)
        types = ["api.v1"] + (["RetryScheduled", "DeadLettered"]
                              if "control" in wanted else [])
        found = one(conn, "select sentinai.asyncapi(event_types => %s, "
                    "aggregate_types => '{order,invoice}')", types)
        said = parser.parse(found)
        got = {channel: sorted(about["messages"])
               for channel, about in said["channels"].items()}
        wrong = said["errors"] + ([json.dumps(got)] if got != wanted else [])
        text = json.dumps(found)
        wrong += [word for word in ("hidden-user", secret) if word in text]
        if found.get("servers", {}) != {
                f"kafka{n}": {"host": f"k{n}:9093", "protocol": "kafka-secure",
                              "security": [{"type": "scramSha512"}]}
                for n in (1, 2)}:
            wrong.append(json.dumps(found.get("servers")))
        tap.result(f"asyncapi: {name}", wrong)
    set_all(conn, record_format=None, kafka_conf=None, relay_workers=None)


def meaning(tap, judge, parser, number):
    """Random schemas mean in the document what they mean alone."""
    made = []

    @seed(number)
    @settings(max_examples=TYPES, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(schemas, targets, targets, st.lists(values, min_size=4, max_size=8))
    def make(schema, first, second, tried):
        made.append((document(schema, first, second), tried))

    make()
    made = made[:TYPES]
    names = []
    for i, (schema, _) in enumerate(made):
        names.append(f"random{number}.T{i}")
        register(judge.conn, names[-1], schema)
    found = one(judge.conn, "select sentinai.asyncapi(event_types => %s)", names)
    said = parser.parse(found, [
        {"key": f"random{number}.T{i}.v1", "values": tried}
        for i, (_, tried) in enumerate(made)])
    wrong = said["errors"]
    for (schema, tried), verdicts in zip(made, said["verdicts"]):
        for value, verdict in zip(tried, verdicts):
            if (judge.ask(schema, value)[0] == VALID) != verdict:
                wrong.append(json.dumps({"schema": schema, "value": value}))
    tap.result(f"asyncapi: {len(made)} random schemas mean the same in it, "
               f"seed {number}", wrong or
               ([] if said["verdicts"] else ["no verdicts"]))


def run(tap, judge, number):
    parser = Parser()
    awkward(tap, judge.conn, parser)
    topics(tap, judge.conn, parser)
    meaning(tap, judge, parser, number)
