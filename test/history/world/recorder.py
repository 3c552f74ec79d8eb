# world/recorder.py: writes the history.
# SPDX-License-Identifier: PostgreSQL
"""One JSON object a line, in the order in which things were known."""

import json
import threading
import time
import zlib


class Recorder:
    """Shared by all threads; an invoke is written before its call is made."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "w", encoding="utf-8", buffering=1 << 20)
        self.lock = threading.Lock()

    def add(self, **record):
        with self.lock:
            record["t"] = time.monotonic_ns()
            self.file.write(json.dumps(record, separators=(",", ":")) + "\n")

    def take(self, path):
        """Append a history that another process wrote."""
        with self.lock, open(path, encoding="utf-8") as file:
            for line in file:
                if line.endswith("}\n"):
                    self.file.write(line)

    def flush(self):
        """For a run that ends too soon."""
        with self.lock:
            self.file.flush()

    def close(self):
        self.file.close()


def digest(payload):
    """A payload as a number, whatever the order of its keys."""
    return zlib.crc32(json.dumps(payload, sort_keys=True).encode())
