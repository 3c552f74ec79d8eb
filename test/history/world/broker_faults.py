# world/broker_faults.py: a broker that dies, stands still or answers with errors.
# SPDX-License-Identifier: PostgreSQL

import signal
import time

from .faults import fault
from .server_faults import CRASH

# What a broker may answer; most go away by themselves, and none of them may cost
# an event or its order.
PRODUCE_ERRORS = (
    "NOT_LEADER_FOR_PARTITION", "NOT_ENOUGH_REPLICAS",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "REQUEST_TIMED_OUT",
    "COORDINATOR_NOT_AVAILABLE", "LEADER_NOT_AVAILABLE",
    "UNKNOWN_TOPIC_OR_PART", "KAFKA_STORAGE_ERROR")

BACKLOG = 300       # events, so that each partition has some
TOGETHER = 200      # ms for them to be on their way before the first answer


def relays(conn, condition, seconds=10):
    """Wait until all of them are like that; the load may have ended first."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and not conn.execute(
            f"select {condition} from sentinai.stat_relay").fetchone()[0]:
        time.sleep(0.05)


class BrokerFaults:

    @fault(needs="broker", resend=True, **CRASH)
    def outage(self):
        """The broker goes, and before it is back the relay: what had no answer
        is with neither of them."""
        self.server.broker.leave()
        try:
            time.sleep(self.between(0.3, 1))
            self.kill_one("backend_type = 'sentinai relay'")
        finally:
            self.server.broker.come_back()

    @fault(needs="node")
    def broker_kill(self):
        """kill -9, and back after a while."""
        self.server.broker.kill()
        time.sleep(self.between(0, 2))
        self.server.broker.start()

    @fault(needs="node")
    def broker_restart(self):
        self.server.broker.stop()
        self.server.broker.start()

    @fault(needs="node")
    def broker_freeze(self):
        """Its connections stay open and nobody answers."""
        self.server.broker.signal(signal.SIGSTOP)
        time.sleep(self.between(2, 6))
        self.server.broker.signal(signal.SIGCONT)

    @fault(needs="rabbitmq")
    def broker_alarm(self):
        """It has no memory, and reads nothing of who publishes."""
        self.server.broker.ctl("set_vm_memory_high_watermark", "0.000001")
        time.sleep(self.between(0, 2))
        self.server.broker.ctl("set_vm_memory_high_watermark", "absolute",
                               "512MB")

    @fault(needs="rabbitmq")
    def broker_nacks(self):
        """Its queues are full, and refuse what comes."""
        self.server.broker.ctl(
            "set_policy", "--apply-to", "queues", "full", ".*",
            '{"max-length": 1, "overflow": "reject-publish"}')
        time.sleep(self.between(0, 2))
        self.server.broker.ctl("clear_policy", "full")

    @fault(needs="mock", resend=True)
    def broker_errors(self):
        """The next requests are refused, each for another reason."""
        errors = [self.rng.choice(PRODUCE_ERRORS)
                  for _ in range(self.rng.randrange(1, 12))]
        self.server.broker.order("errors Produce " + " ".join(errors))
        time.sleep(self.between(1, 3))
        self.server.broker.order("clear Produce")

    @fault(needs="mock")
    def broker_newcomer(self):
        """The first record of a new producer is refused, and what came with it
        is not: its partition had no leader yet."""
        order = self.server.broker.order
        with self.server.connect("nemesis", direct=True) as conn:
            conn.execute("select sentinai.pause_relay()")
            try:
                relays(conn, "bool_and(state = 'paused') and "
                       f"sum(lag_events) >= {BACKLOG}")
                [acked] = conn.execute("select sum(acked_count) from "
                                       "sentinai.stat_relay").fetchone()
                order(f"rtt 1 {TOGETHER}")
                order("errors Produce NOT_LEADER_FOR_PARTITION")
            finally:
                conn.execute("select sentinai.resume_relay()")
            relays(conn, f"sum(acked_count) > {acked}")
        order("clear Produce")
        order("rtt 1 0")

    @fault(needs="mock", resend=True)
    def broker_down(self):
        """Connections end, new ones are refused."""
        self.server.broker.order("down all")
        time.sleep(self.between(0.5, 4))
        self.server.broker.order("up all")

    @fault(needs="mock", resend=True)
    def broker_slow(self):
        self.server.broker.order("rtt 1 800")
        time.sleep(self.between(2, 4))
        self.server.broker.order("rtt 1 0")
