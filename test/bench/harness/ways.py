# harness/ways.py: where the time of events went between COMMIT and an agent.
# SPDX-License-Identifier: PostgreSQL
"""drive --ways writes when each claim was called, and of each event COMMIT,
the call that brought it and its arrival. The journal of rounds says when it
was sequenced. So a way has four parts, one behind the other."""

import bisect

PARTS = {"round": "until it was in a round",
         "agent": "until an agent asked",
         "turn": "until the claim that took it, as its lane was held or "
                 "it was another's turn",
         "claim": "until that claim had returned"}

# Number of the event, and when its round was taken, in ns.
ROUNDS = """
with round as (
    select round_no, min(taken_at) as taken_at
    from (select * from sentinai_internal.round_0
          union all select * from sentinai_internal.round_1) r
    group by round_no),
slice as (
    select slice_no >> 14 as round_no, unnest(event_ids) as event_id
    from sentinai_internal.slice where stream_id = 0)
select (payload ->> 'seq')::bigint - 100000000000,
    (extract(epoch from taken_at) * 1000000000)::bigint
from slice join round using (round_no)
join sentinai.event_log using (event_id) where tenant_id = '{tenant}'"""


def read(path):
    """The calls of claims in their order, and of each event its times."""
    calls, events = [], []
    with open(path, encoding="ascii") as file:
        for line in file:
            numbers = [int(n) for n in line.split()]
            if len(numbers) == 1:
                calls.append(numbers[0])
            else:
                events.append(numbers)
    return sorted(calls), events


def split(commit, taken, call, seen, calls):
    """The parts of one way, in ms; together they are the whole of it."""
    seen = max(commit, seen)
    taken = min(max(commit, taken), seen)
    free = call
    if call > taken:            # perhaps others asked before
        free = calls[bisect.bisect_left(calls, taken)]
    ends = [commit]
    for end in (taken, free, call, seen):
        ends.append(min(max(ends[-1], end), seen))
    return [(b - a) / 1e6 for a, b in zip(ends, ends[1:])]


def parts(path, cluster, database, tenant):
    """Of each event whose round is still known, the four parts."""
    rows = cluster.sql(ROUNDS.format(tenant=tenant), database)
    taken = dict(map(int, row.split("\t")) for row in rows.splitlines())
    calls, events = read(path)
    return [split(commit, taken[number], call, seen, calls)
            for number, commit, call, seen in events if number in taken]


def describe(ways):
    """p50 and p99 of each part, and of what the slowest ways are made."""
    def at(values, point):
        return sorted(values)[int(point * (len(values) - 1))]

    columns = dict(zip(PARTS, zip(*ways)))
    slow = sorted(ways, key=sum)[-max(1, len(ways) // 50):]
    means = [sum(column) / len(slow) for column in zip(*slow)]
    return ("; ".join(f"{name} {at(c, .5):.2f} / {at(c, .99):.2f}"
                      for name, c in columns.items()) +
            f"; the slowest 2 %: {sum(means):.2f} = " +
            " + ".join(f"{mean:.2f}" for mean in means))
