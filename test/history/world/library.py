# world/library.py: agents over workers/lib.
# SPDX-License-Identifier: PostgreSQL
"""Processes of agent.c, each with a history of its own that is joined with the
run's at the end."""

import os
import signal
import subprocess

from .server import ROOT

PROGRAM = os.path.join(ROOT, "build/history/agent")


class Library:
    """Some processes of one worker type."""

    lease = 3

    def __init__(self, server, worker, directory):
        self.server = server
        self.worker = worker
        self.directory = directory
        self.files = []
        self.processes = []

    def begin(self, count=2):
        self.processes = [self.start() for _ in range(count)]

    def start(self):
        path = os.path.join(self.directory, f"lib{len(self.files)}.jsonl")
        name = f"lib{len(self.files)}"
        self.files.append(path)
        with open(path + ".log", "wb") as log:
            return subprocess.Popen(
                [PROGRAM, "--worker-id", name,
                 "--history", path, "--concurrency", "3", "--max-events", "30",
                 "--lease", f"{self.lease}s", "--wait", "1s", "--reconnect-max",
                 "500ms", "--shutdown-timeout", "5s"],
                env={**self.server.environment(name),
                     "SENTINAI_WORKER_TYPE": self.worker}, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL)

    def restart(self, rng):
        """kill -9 of one, and another in its place."""
        if not self.processes:
            return
        index = rng.randrange(len(self.processes))
        self.processes[index].kill()
        self.processes[index].wait()
        self.processes[index] = self.start()

    def finish(self):
        """SIGTERM; their exit status must be 0."""
        codes = []
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                codes.append(process.wait(20))
            except subprocess.TimeoutExpired:
                process.kill()
                codes.append("no exit after 20 s")
        return [c for c in codes if c != 0]
