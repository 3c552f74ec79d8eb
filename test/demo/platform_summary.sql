-- test/demo/platform_summary.sql: what became of the flights, for people.
-- SPDX-License-Identifier: PostgreSQL
select severity, exception_type as type, coalesce(outcome, state) as outcome, count(*) as flights,
    count(distinct tenant_id) as airlines,
    to_char(percentile_cont(0.5) within group (order by extract(epoch from closed_at - received_at)), 'FM990.00') as "median s",
    to_char(max(extract(epoch from closed_at - received_at)), 'FM990.00') as "longest s"
from sentinai_platform.exceptions
group by 1, 2, 3
order by array_position('{critical,high,medium,low}', severity), type, flights desc;
