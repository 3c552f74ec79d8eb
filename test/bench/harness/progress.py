# harness/progress.py: a bar for people, lines for logs.
# SPDX-License-Identifier: PostgreSQL

import sys
import threading
import time

WIDTH = 30


class Progress:
    """Shows the share of the planned seconds and what runs now."""

    def __init__(self, planned):
        self.planned = planned
        self.before = 0.0           # planned seconds of finished scenarios
        self.current = 0.0          # planned seconds of this one
        self.began = self.started = time.monotonic()
        self.text = ""
        self.tty = sys.stderr.isatty()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.refresh, daemon=True)
        if self.tty:
            self.thread.start()

    def scenario(self, seconds, text):
        self.before += self.current
        self.current = seconds
        self.began = time.monotonic()
        self.step(text)
        if not self.tty:
            print(f"{self.clock()} {text}", file=sys.stderr, flush=True)

    def step(self, text):
        self.text = text
        if self.tty:
            self.draw()

    def clock(self):
        spent = int(time.monotonic() - self.started)
        return f"{spent // 60}:{spent % 60:02d}"

    def draw(self):
        inside = min(time.monotonic() - self.began, self.current)
        share = min(1.0, (self.before + inside) / max(1, self.planned))
        full = int(share * WIDTH)
        print(f"\r\x1b[K[{'#' * full}{'.' * (WIDTH - full)}] "
              f"{share:4.0%} {self.clock()}  {self.text[:60]}",
              end="", file=sys.stderr, flush=True)

    def refresh(self):
        while not self.done.wait(0.5):
            self.draw()

    def say(self, text):
        """A line that stays."""
        print(("\r\x1b[K" if self.tty else "") + text, file=sys.stderr,
              flush=True)

    def end(self):
        self.done.set()
        if self.tty:
            self.thread.join()
            print("\r\x1b[K", end="", file=sys.stderr)
