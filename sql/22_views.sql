-- What may be read of the tables, under the names of the contract.  Who is
-- granted SELECT on a view reads with the rights of its owner.
--
-- To name a view is enough to lock what it names, without any right to read it
-- (PREPARE does).  Retention needs the parent of a partition to itself.  So a
-- view names a table above that parent, of which it is the only partition:
-- the parent is locked when a query is planned for running, and who may not
-- read then gets an error, which gives up the lock.  For the same reason
-- the statistics views name no partitions and no journal, but call functions.
--
-- A view reads with the rights of its owner, and no policy of a table asks about
-- whoever reads it.  So it asks the gate about each row, which answers for the
-- current user, and is a barrier: nothing of a query looks at a row before.

do $views$
declare
    t name;
    cols text;
    c record;
begin
    foreach t in array array['event_log', 'event_processing']
    loop
        execute format('create table sentinai_internal.%I (like sentinai_internal.%I including storage) partition by range (event_id)',
            t || '_root', t);
        execute format('alter table sentinai_internal.%I attach partition sentinai_internal.%I for values from (minvalue) to (maxvalue)',
            t || '_root', t);
        execute format('comment on table sentinai_internal.%I is %L', t || '_root',
            'What views name of ' || t || ', which is its only partition, so that who names them locks nothing that retention needs.');
    end loop;
    -- nothing is stored for a flow that is named by the aggregate
    select string_agg(case a.attname when 'correlation_id' then 'coalesce(correlation_id, aggregate_id) as correlation_id'
                                     else quote_ident(a.attname) end, ', ' order by a.attnum) into cols
    from pg_attribute a where a.attrelid = 'sentinai_internal.event_log_root'::regclass and a.attnum > 0;
    execute format('create view sentinai.event_log with (security_barrier) as select %s from sentinai_internal.event_log_root where sentinai.may_read(tenant_id)', cols);
    execute 'create view sentinai.event_processing with (security_barrier) as select * from sentinai_internal.event_processing_root where sentinai.may_read(tenant_id)';
    execute 'create view sentinai.dead_letter with (security_barrier) as select * from sentinai_internal.dead_letter where sentinai.may_see_letter(tenant_id)';

    -- their comments are those of the tables
    for c in select v.relname as view, v.relkind, n.nspname as schema, a.attname as col,
                    obj_description(t0.oid, 'pg_class') as of_table, col_description(t0.oid, a.attnum) as of_column
             from pg_class t0
                  join pg_class v on v.relname in (t0.relname, t0.relname || '_root')
                  join pg_namespace n on n.oid = v.relnamespace
                  join pg_attribute a on a.attrelid = t0.oid and a.attnum > 0
             where t0.relnamespace = 'sentinai_internal'::regnamespace and t0.relkind in ('r', 'p')
                   and n.nspname in ('sentinai', 'sentinai_internal') and v.oid <> t0.oid
             order by v.oid, a.attnum
    loop
        if c.relkind = 'v' then
            execute format('comment on view %I.%I is %L', c.schema, c.view, c.of_table);
        end if;
        execute format('comment on column %I.%I.%I is %L', c.schema, c.view, c.col, c.of_column);
    end loop;
end $views$;
