# world/agent_faults.py: an agent that has to leave at a bad moment.
# SPDX-License-Identifier: PostgreSQL

import contextlib
import os
import signal
import subprocess
import time

import psycopg

from .faults import fault
from .server_faults import CRASH

SLOW = ("--work", "50ms", "--lease", "8s", "--shutdown-timeout", "1s")
HELD = """
select coalesce(sum(in_flight), 0)::int from sentinai.stat_agent
where starts_with(worker_id, %s)
"""


class AgentFaults:

    @fault(**CRASH)
    def quit(self):
        """A slow agent is told to end while the server is away, so that it can
        neither finish its batch nor give it back; it has to say so. What it
        says, and what it still holds, is for the checker."""
        library = self.world.libraries[0]
        agent = library.start(*SLOW)
        name = os.path.basename(library.files[-1])[:-len(".jsonl")] + "/"
        try:
            if self.held(name, 10):
                self.server.stop(signal.SIGQUIT)
                agent.send_signal(signal.SIGTERM)
                code = agent.wait(20)
                self.server.start()
                self.world.recorder.add(f="exit", p=name, code=code,
                                        held=self.held(name, 0))
        except subprocess.TimeoutExpired:
            self.world.recorder.add(f="server", line=f"{name} did not end")
        finally:
            agent.kill()
            agent.wait()

    def held(self, name, seconds):
        """How many events its threads hold; waits until there are some."""
        limit = time.monotonic() + seconds
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                with self.server.connect("nemesis", direct=True) as conn:
                    [n] = conn.execute(HELD, (name,)).fetchone()
                    if n or time.monotonic() > limit:
                        return n
            time.sleep(0.05)
