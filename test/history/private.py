#!/usr/bin/env python3
# private.py: the project, built with test flags, beside a copy of PostgreSQL.
# SPDX-License-Identifier: PostgreSQL
"""Runs a command with the extension of a build of its own, in a folder that is
gone afterwards: neither the tree nor the installed PostgreSQL changes.

    private.py FAULTS=1 -- test/history/run.py --seconds 60

The command runs in the folder's copy of the tree and finds the copy of
PostgreSQL, which works from any place, by PG_CONFIG."""

import os
import shutil
import subprocess
import sys
import tempfile

import child

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
AT_THE_TOP = {".git", "build", "log", "results"}    # src/log is a room
MADE = shutil.ignore_patterns("*.o", "*.so", "*.bc", "tmp_check",
                              "__pycache__")


def left_out(folder, names):
    """What is made, not kept."""
    made = MADE(folder, names)
    if os.path.realpath(folder) == os.path.realpath(ROOT):
        made |= AT_THE_TOP & set(names)
    return made


class BuildFailed(Exception):
    """What make said."""


class Private:
    """A folder with the tree, its builds and a PostgreSQL."""

    def __init__(self, pg_config, root=ROOT):
        self.system = pg_config
        self.dir = tempfile.mkdtemp(prefix="sentinai-private.", dir="/var/tmp")
        os.chmod(self.dir, 0o755)
        self.tree = os.path.join(self.dir, "tree")
        shutil.copytree(root, self.tree, symlinks=True, ignore=left_out)
        self.pg = os.path.join(self.dir, "pg")
        for what in ("--bindir", "--pkglibdir", "--sharedir"):
            self.copy(self.ask(what))
        self.pg_config = self.pg + self.ask("--bindir") + "/pg_config"

    def ask(self, what):
        return subprocess.run([self.system, what], check=True, text=True,
                              stdout=subprocess.PIPE).stdout.strip()

    def copy(self, path):
        """Into the same place below self.pg, less an installed sentinai."""
        shutil.copytree(path, self.pg + path, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("sentinai*"))

    def patch(self, path, *options):
        """Apply a patch file to the tree; --reverse takes it back."""
        with open(path, "rb") as file:
            done = subprocess.run(
                ["patch", "-s", "-p1", "--fuzz=0", *options, "-d", self.tree],
                stdin=file, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, check=False)
        if done.returncode:
            raise BuildFailed(f"{path}: {done.stdout}")

    def build(self, **flags):
        """Build with these make variables, and install."""
        jobs = f"-j{os.cpu_count()}"
        self.make(jobs, "all", **flags)
        self.make("install", **flags)
        self.make(jobs, "history-agent", **flags)

    def make(self, *targets, **flags):
        done = subprocess.run(
            ["make", "-C", self.tree, f"PG_CONFIG={self.system}",
             f"DESTDIR={self.pg}", *(f"{k}={v}" for k, v in flags.items()),
             *targets], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False,
            env={k: v for k, v in os.environ.items() if k != "MAKEFLAGS"})
        if done.returncode:
            raise BuildFailed(done.stdout[-3000:])

    def library(self):
        """The installed extension."""
        return self.pg + self.ask("--pkglibdir") + "/sentinai.so"

    def environment(self):
        return {**os.environ, "PG_CONFIG": self.pg_config}

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def main():
    if "--" not in sys.argv[2:]:
        sys.exit(__doc__)
    cut = sys.argv.index("--")
    flags = dict(arg.split("=", 1) for arg in sys.argv[1:cut])
    command = sys.argv[cut + 1:]
    child.obey()
    with Private(os.environ.get("PG_CONFIG", "pg_config")) as private:
        private.build(**flags)
        if command[0].endswith(".py"):
            command.insert(0, sys.executable)
        return child.run(command, cwd=private.tree,
                         env=private.environment()).returncode


if __name__ == "__main__":
    sys.exit(main())
