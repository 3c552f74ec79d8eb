# sqlfuzz/session.py: one connection, and what its answers may be.
# SPDX-License-Identifier: PostgreSQL
"""Speaks libpq's own calls, for a statement is to arrive as it was made."""

import re
import threading
import time

from psycopg import pq

STATUS = pq.ExecStatus
IDLE = pq.TransactionStatus.IDLE

# PostgreSQL's own answers to what the fuzzer does around the extension, beside
# class 22 and what docs/errors.md lists.
AROUND = {
    "08P01",                    # binary parameters that are none
    "0A000", "2D000",           # where something may not stand
    "25001", "25P02", "3B001",  # transactions and savepoints
    "34000", "26000", "24000",  # cursors and prepared statements
    "23502", "23514",           # of tables of our own
    "42501", "42809", "42P16", "42P17",
    "55P03", "57014",
}
# The one XX000 that jsonb_recv() has for a caller, long before us.
KNOWN = "unsupported jsonb version"
LOST = "lost"                   # the connection has ended


def documented(path):
    """The codes of docs/errors.md."""
    with open(path, encoding="utf-8") as file:
        found = set(re.findall(r"^\| \[?([0-9A-Z]{5})\]?", file.read(), re.M))
    return {c for c in found if not c.startswith("XX")}


class Crashed(Exception):
    """A process of the server has ended. Nothing after it would tell more."""


class Outcome:
    """What a statement came to."""

    __slots__ = ("state", "message", "rows", "seconds")

    def __init__(self, state, message, rows, seconds):
        self.state = state
        self.message = message
        self.rows = rows
        self.seconds = seconds

    def timed_out(self):
        """Took longer than it may. limit_time() cancels, too, as it is asked."""
        return self.state == "57014" and "statement timeout" in self.message

    @property
    def failed(self):
        return self.state is not None


class Session:
    """A connection whose every answer is judged."""

    def __init__(self, cluster, report, database, name="fuzz", allowed=()):
        self.cluster = cluster
        self.report = report
        self.database = database
        self.name = name
        self.allowed = set(allowed)
        self.conn = None
        self.open()

    def open(self):
        self.conn = self.cluster.connect(self.name, database=self.database)
        self.pg = self.conn.pgconn
        # PQgetResult() may wait for an answer that it has taken in already
        # while it flushed, where it does not block otherwise.
        self.pg.nonblocking = 0
        self.conn.execute("set statement_timeout = '4 s'")

    @property
    def pid(self):
        return self.pg.backend_pid

    def run(self, sql, may_wait=False):
        """Execute, judge, return the outcome."""
        return self.judge(self.raw(sql), sql, may_wait)

    def send(self, sql, values, types, formats, result_format=0):
        """The same with parameters as bytes, by the extended protocol."""
        told = f"{sql}  -- {[v if v is None else v[:60] for v in values]}"
        return self.judge(self.watched(told, lambda: self.pg.exec_params(
            sql.encode(), values, types, formats, result_format)), told, True)

    def raw(self, sql):
        return self.watched(sql, lambda: self.pg.exec_(
            sql.encode("utf-8", "surrogateescape")))

    def watched(self, sql, call):
        """Make a call that the watchdog knows about."""
        start = time.monotonic()
        self.report.watch(self, sql)
        try:
            result = call()
        finally:
            self.report.watch(self, None)
        return self.outcome(result, time.monotonic() - start)

    def outcome(self, result, seconds):
        status = result.status
        if status == STATUS.COPY_OUT:
            while self.pg.get_copy_data(0)[0] > 0:
                pass
            return self.last(seconds)
        if status == STATUS.COPY_IN:
            self.pg.put_copy_end()
            return self.last(seconds)
        if status in (STATUS.FATAL_ERROR, STATUS.BAD_RESPONSE):
            state = result.error_field(pq.DiagnosticField.SQLSTATE)
            message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
            if self.pg.status == pq.ConnStatus.BAD or not state:
                return Outcome(LOST, result.error_message.decode(
                    "utf-8", "replace"), None, seconds)
            return Outcome(state.decode(), (message or b"").decode(
                "utf-8", "replace"), None, seconds)
        rows = [[result.get_value(i, j) for j in range(result.nfields)]
                for i in range(min(result.ntuples, 1000))]
        return Outcome(None, "", rows, seconds)

    def last(self, seconds):
        """The outcome of a COPY, once its data has gone."""
        result, last = self.pg.get_result(), None
        while result is not None:
            last, result = result, self.pg.get_result()
        return self.outcome(last, seconds)

    def copy_in(self, sql, data):
        """COPY … FROM STDIN with these bytes."""
        def call():
            result = self.pg.exec_(sql.encode())
            if result.status != STATUS.COPY_IN:
                return result
            for at in range(0, len(data), 65536):
                self.pg.put_copy_data(data[at:at + 65536])
            self.pg.put_copy_end()
            last = None
            while (result := self.pg.get_result()) is not None:
                last = result
            return last
        told = f"{sql}  -- {data[:200]!r}"
        return self.judge(self.watched(told, call), told, True)

    def judge(self, outcome, sql, may_wait):
        state = outcome.state
        if state == LOST:
            self.report.find("the server closed the connection", sql)
            raise Crashed(outcome.message)
        elif state is None:
            pass
        elif outcome.timed_out() and not may_wait:
            self.report.find(f"took {outcome.seconds:.1f} s", sql)
        elif not self.expected(state) and outcome.message[:25] != KNOWN:
            self.report.find(f"{state} {outcome.message}", sql)
        return outcome

    def expected(self, state):
        return (state.startswith("22") or state in AROUND or
                state in self.allowed or state in self.report.documented)

    def finish(self):
        """End the transaction, whatever its state."""
        if self.pg.transaction_status != IDLE:
            self.run("rollback", may_wait=True)

    def cancel_after(self, seconds):
        """Ask for the end of what runs then."""
        cancel = self.pg.get_cancel()

        def ask():
            try:
                cancel.cancel()
            except Exception:
                pass            # the statement was faster
        timer = threading.Timer(seconds, ask)
        timer.daemon = True
        timer.start()
        return timer
