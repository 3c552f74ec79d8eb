# world/faults.py: what is said about a fault.
# SPDX-License-Identifier: PostgreSQL
"""Facts that rules need:

crash   the server lost its memory: an asynchronous commit may be gone
resend  the client sends again by itself, to a broker that cannot tell
frozen  a handler may run while its lease has passed to another
asked   only when it is named: what is changed makes draining slow
flows   the queue must go on all the time
needs   what there must be: broker, node, rabbitmq, mock, proxy, disk, clock, program
"""


def fault(needs="", **facts):
    def mark(method):
        method.facts = {"crash": False, "resend": False, "frozen": False,
                        "flows": False, "asked": False, **facts,
                        "needs": set(needs.split())}
        return method
    return mark
