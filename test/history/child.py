# child.py: programs that we start and that must not outlive us.
# SPDX-License-Identifier: PostgreSQL
"""Whoever starts a run lets it end in its own way when it is told to end
itself: a run that is killed leaves servers behind."""

import ctypes
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def obey():
    """SIGTERM is an exception from now on, once."""
    def end(number, _):
        signal.signal(number, signal.SIG_IGN)
        sys.exit(128 + number)
    signal.signal(signal.SIGTERM, end)


def die_with_parent():
    """In a child before its program starts: also when we are killed."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def run(command, **options):
    """As subprocess.run(), but who is interrupted ends the program and waits
    for its end."""
    with subprocess.Popen(command, preexec_fn=die_with_parent,
                          **options) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            process.terminate()
            process.communicate()
            raise
    return subprocess.CompletedProcess(command, process.returncode, said)
