-- test/demo/platform_look.sql: how far the exceptions are, in one row.
-- SPDX-License-Identifier: PostgreSQL
select (select count(*) from sentinai_platform.commands where command = 'submit_exception'),
    (select count(*) from sentinai_platform.exceptions where state <> 'normalized'),
    (select count(*) from sentinai_platform.approvals),
    (select count(*) from sentinai_platform.playbook_executions),
    (select count(*) from sentinai_platform.tool_executions),
    (select count(*) from sentinai_platform.exceptions where state = 'resolved'),
    -- what the sequencer has not seen yet is not in the lag
    (select coalesce(sum(lag_events + in_flight + retrying), 0) from sentinai.stat_queue)
        + (select unsequenced_commits from sentinai.stat_info)
        -- nor is what comes from Kafka
        + (select count(*) from sentinai_platform.exceptions x where x.state = 'resolved' and not exists
            (select from sentinai_platform.feedback f
             where (f.tenant_id, f.exception_id, f.state) = (x.tenant_id, x.exception_id, 'resolved')));
