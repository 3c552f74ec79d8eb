# sqlfuzz/report.py: findings, told as TAP, and a watchdog.
# SPDX-License-Identifier: PostgreSQL

import os
import threading
import time

MOST_TOLD = 8
PATIENCE = 120                  # seconds that a statement may take


class Report:
    """Counts calls and findings of one part after the other."""

    def __init__(self, cluster, documented):
        self.cluster = cluster
        self.documented = documented
        self.tests = 0
        self.failed = 0
        self.calls = 0
        self.states = {}
        self.findings = []
        self.where = ""
        self.running = {}
        self.lock = threading.Lock()
        threading.Thread(target=self.guard, daemon=True).start()

    def begin(self, where):
        self.where = where
        self.findings = []
        self.calls = 0
        self.states = {}
        self.start = time.monotonic()

    def note(self, outcome):
        """Count a call and its answer."""
        self.calls += 1
        state = outcome.state or "ok"
        self.states[state] = self.states.get(state, 0) + 1

    def find(self, what, sql="", about=""):
        with self.lock:
            self.findings.append((what, sql, about))
        if len(self.findings) <= MOST_TOLD:
            self.tell(what, sql, about)

    @staticmethod
    def tell(what, sql, about):
        print(f"# FOUND: {what}", flush=True)
        for line in (about, sql):
            if line:
                print("#   " + shorten(line).replace("\n", "\n#   "))

    def end(self, least=1):
        """One line of TAP for the part; a part that did nothing has failed."""
        self.tests += 1
        if self.calls < least:
            self.find(f"only {self.calls} calls, {least} were expected")
        good = not self.findings
        self.failed += not good
        told = " ".join(f"{s}:{n}" for s, n in
                        sorted(self.states.items(), key=lambda x: -x[1])[:9])
        print(f"{'ok' if good else 'not ok'} {self.tests} - {self.where}: "
              f"{self.calls} calls, {len(self.findings)} findings, "
              f"{time.monotonic() - self.start:.1f} s ({told})",
              flush=True)
        return good

    def watch(self, session, sql):
        """A statement begins, or has ended."""
        if sql is None:
            self.running.pop(session, None)
        else:
            self.running[session] = (time.monotonic(), sql)

    def guard(self):
        """A statement that does not listen to its timeout ends the run."""
        while True:
            time.sleep(1)
            for session, (start, sql) in list(self.running.items()):
                if time.monotonic() - start > PATIENCE:
                    self.tell(f"does not end: {session.name}, process "
                              f"{session.pid}", sql, "")
                    print("Bail out! a statement does not end", flush=True)
                    self.cluster.abandon()
                    os._exit(4)


def shorten(text, most=1500):
    if len(text) <= most:
        return text
    return f"{text[:most // 2]} … {text[-most // 2:]}"
