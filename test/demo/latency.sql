-- test/demo/latency.sql: from sending COMMIT to agent and consumer.
-- SPDX-License-Identifier: PostgreSQL
-- Follows proof.sql in the same session. One row per way: p50 and p99 in ms.
select way, round(p[1] / 1000.0, 1), round(p[2] / 1000.0, 1)
from (select 'COMMIT to agent' as way,
        percentile_disc(array[0.5, 0.99]) within group (order by agent_us) as p
        from latency
    union all
    select 'COMMIT to consumer',
        percentile_disc(array[0.5, 0.99]) within group (order by consumer_us)
        from latency) s;
