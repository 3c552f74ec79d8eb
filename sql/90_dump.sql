-- What pg_dump must carry: every table here that is not partitioned, and the
-- sequences.  Partitions made at run time are no members of the extension and
-- are dumped as ordinary tables.  relay_control is left out: a restored database
-- starts with the row of a new one, and whether it may relay is then decided
-- from the rows of node.  stream has a row from the start, and
-- event_type those of the extension's own types.  A grant whose role was
-- dropped would come back as a number, which another role has there.  That nobody
-- may claim from a subscription (0) comes back.
do $dump$
declare
    c record;
begin
    for c in select oid, relname from pg_catalog.pg_class
             where relnamespace operator(pg_catalog.=) 'sentinai_internal'::pg_catalog.regnamespace
                   and relkind operator(pg_catalog.=) any ('{r,S}'::pg_catalog."char"[])
                   and relname operator(pg_catalog.<>) 'relay_control'
             order by relname
    loop
        perform pg_catalog.pg_extension_config_dump(c.oid,
            case c.relname
                when 'stream' then 'where stream_id > 0'
                when 'tenant_grant' then 'where role::oid in (select oid from pg_catalog.pg_roles)'
                when 'work_grant' then 'where role::oid operator(pg_catalog.=) 0 or role::oid in (select oid from pg_catalog.pg_roles)'
                when 'proof_role' then 'where role::oid in (select oid from pg_catalog.pg_roles)'
                when 'event_type' then 'where event_type <> all (''{RetryScheduled,DeadLettered,DeadLetterRetried,DeadLetterDiscarded,DeadLetterReplaced,RecordRefused,AlertRaised,AlertCleared,SLAImminent,SLAExpired,BackpressureDetected,BackpressureCleared,AuditRootPublished}'')'
                else '' end);
    end loop;
end $dump$;
