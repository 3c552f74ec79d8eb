#!/usr/bin/env python3
# check.py: the verdict on a history that was kept.
# SPDX-License-Identifier: PostgreSQL
"""check.py FILE: what run.py says at its end, from its history.jsonl."""

import sys

import checker
from checker import model


def main():
    path = sys.argv[1]
    report = checker.check_records(model.read(path))
    for line in [*report.lines(), *report.witnesses(model.read(path))]:
        print(line)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
