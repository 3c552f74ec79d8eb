# world/library.py: agents that are programs of their own.
# SPDX-License-Identifier: PostgreSQL
"""Processes over workers/lib: agent.c, and sentinai-work with note.c as its
command. Each has a history of its own that is joined with the run's at the
end."""

import os
import signal
import subprocess

from .shell import ROOT

AGENT = os.path.join(ROOT, "build/history/agent")
NOTE = os.path.join(ROOT, "build/history/note")
WORK = os.path.join(ROOT, "build/workers/sentinai-work")


class Library:
    """Some processes of one worker type."""

    lease = 3

    def __init__(self, server, worker, count=2):
        self.server = server
        self.worker = worker
        self.count = count
        self.files = []
        self.processes = []

    def begin(self):
        self.processes = [self.start() for _ in range(self.count)]

    def program(self, path):
        return [AGENT, "--history", path, "--concurrency", "3",
                "--max-events", "30"]

    def start(self, *more):
        name = f"lib-{self.worker}-{len(self.files)}"
        path = os.path.join(self.server.dir, name + ".jsonl")
        self.files.append(path)
        with open(path + ".log", "wb") as log:
            return subprocess.Popen(
                [*self.program(path), "--worker-id", name,
                 "--lease", f"{self.lease}s", "--wait", "1s", "--reconnect-max",
                 "500ms", "--shutdown-timeout", "5s", *more],
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

    def kill(self):
        """Nobody outlives the run."""
        for process in self.processes:
            process.kill()
            process.wait()

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


class Work(Library):
    """sentinai-work starts a program for every event."""

    def program(self, path):
        return [WORK, "--exec", f"exec '{NOTE}' '{path}'", "--concurrency", "2",
                "--max-events", "10"]
