#!/usr/bin/env python3
# chaos.py: every fault there is, for as long as you like.
# SPDX-License-Identifier: PostgreSQL
"""Runs run.py for each of the worlds that faults need: beside a real Apache
Kafka, through PgBouncer, with librdkafka's mock cluster, which can be told to
answer with errors, and beside a real RabbitMQ. --seconds is divided among them,
and each begins with the faults that the others cannot have or come to later, so
that a short run has had most of them. Retention drops the log while they run,
but for the second, whose ledger is then whole. Arguments that it does not know
go to run.py."""

import argparse
import os
import random
import sys

import child
from world.nemesis import FAULTS

HERE = os.path.dirname(os.path.abspath(__file__))
SPECIAL = {"node", "broker", "disk", "points"}
FIRST = [f for f, facts in FAULTS.items() if facts["needs"] & SPECIAL]
MOCK = [f for f, facts in FAULTS.items() if "mock" in facts["needs"]] + [
    "relay", "terminate", "freeze", "sequencer", "immediate"]
RABBITMQ = [f for f, facts in FAULTS.items()
            if facts["needs"] & {"node", "broker", "rabbitmq"}] + [
    "terminate", "freeze", "immediate"]
WORLDS = (
    ("Kafka", 0.41, ("--kafka", "--first", ",".join(FIRST))),
    ("PgBouncer", 0.34, ("--pgbouncer", "--retention", "-1", "--first", ",".join(
        f for f in FAULTS if f not in FIRST and not FAULTS[f]["asked"]))),
    ("mock broker", 0.14, ("--mock", "--rate", "120", "--faults",
                           ",".join(MOCK))),
    ("RabbitMQ", 0.11, ("--rabbitmq", "--rate", "300", "--faults",
                        ",".join(RABBITMQ), "--first",
                        "broker_alarm,broker_nacks,broker_kill,outage")),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180,
                        help="of load and faults, in all (180)")
    parser.add_argument("--seed", type=int, default=None)
    options, rest = parser.parse_known_args()
    seed = options.seed
    if seed is None:
        seed = random.SystemRandom().randrange(10**6)
    bad = []
    child.obey()
    print(f"chaos: seed {seed}, {options.seconds:.0f} s", flush=True)
    for name, share, arguments in WORLDS:
        done = child.run(
            [sys.executable, os.path.join(HERE, "run.py"), "--seconds",
             f"{options.seconds * share:.0f}", "--seed", str(seed), *rest,
             *arguments])
        if done.returncode:
            bad.append(name)
    print(f"chaos: seed {seed}: " +
          (f"violations with {', '.join(bad)}" if bad else "no violation"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
