-- Rights. Tables and functions belong to the extension's owner; nobody else
-- may do anything but what is granted here or by the DBA. Functions in C reach
-- the tables without further checks, so EXECUTE is the right to what they do.
do $grants$
declare
    f pg_catalog.regprocedure;
begin
    for f in select p.oid::pg_catalog.regprocedure from pg_catalog.pg_proc p
             where p.pronamespace operator(pg_catalog.=) 'sentinai'::pg_catalog.regnamespace
    loop
        execute pg_catalog.format('revoke all on routine %s from public', f);
    end loop;
end $grants$;

grant execute on function
    sentinai.get_partition_key(text, text),
    sentinai.partition_hash(text),
    sentinai.partition_for(text, text, int),
    sentinai.event_time(uuid)
    to public;

grant usage on schema sentinai to pg_monitor;
grant select on
    sentinai.stat_lane,
    sentinai.stat_queue,
    sentinai.stat_relay,
    sentinai.stat_relay_topic,
    sentinai.stat_agent,
    sentinai.stat_info
    to pg_monitor;
grant execute on function
    sentinai.stat_claimed(int),
    sentinai.stat_clock(),
    sentinai.partitions_until(),
    sentinai.stat_rate(int, bigint, bigint),
    sentinai.stat_lag(int, int),
    sentinai.stat_relay_workers(),
    sentinai.stat_server(),
    sentinai.retention_status(),
    sentinai.stat_failures(),
    sentinai.relay_is_paused()
    to pg_monitor;
