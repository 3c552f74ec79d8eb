# world/shell.py: other programs.
# SPDX-License-Identifier: PostgreSQL
"""run() for a program, shell() for a function of test/lib."""

import os
import subprocess

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))


def run(*command, **options):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-2000:]}")
    return done.stdout.strip()


def shell(script, *args, **options):
    lib = os.path.join(ROOT, "test/lib")
    return run("bash", "-c", f'. "{lib}/common.sh"; . "{lib}/cluster.sh"; '
               f"{script}", "history", *args, **options)
