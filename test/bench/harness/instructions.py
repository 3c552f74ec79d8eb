# harness/instructions.py: how many instructions a statement takes.
# SPDX-License-Identifier: PostgreSQL
"""Counted by valgrind (cachegrind) in a server for a single user, which has no
other processes. Instructions do not depend on what else the machine does."""

import os
import re
import shutil
import subprocess

from .cluster import BenchError, shell


def missing():
    """Why they cannot be counted, None when they can."""
    return None if shutil.which("valgrind") else "valgrind is not there"


def run(cluster, database, statements):
    """Instructions of a server that runs these, one a line."""
    done = shell(
        'pgbin=$1; sn_as_server valgrind --tool=cachegrind --cache-sim=no '
        '--cachegrind-out-file=/dev/null "$pgbin/postgres" --single '
        '-c synchronous_commit=off -D "$2/data" "$3" 2>&1', cluster.bin,
        cluster.dir, database, input="".join(s + "\n" for s in statements))
    found = re.search(r"I +refs: +([0-9,]+)", done)
    if found is None or "ERROR:" in done:
        raise BenchError(f"single-user server: {done[-600:]}")
    return int(found.group(1).replace(",", ""))


def of(cluster, database, first, statement, count):
    """Of one run of a statement beyond the first run of it.

    The cluster has to be stopped.
    """
    if os.path.exists(os.path.join(cluster.dir, "data/postmaster.pid")):
        raise BenchError("the server runs")
    few = run(cluster, database, [first] + [statement])
    many = run(cluster, database, [first] + [statement] * (1 + count))
    return (many - few) / count
