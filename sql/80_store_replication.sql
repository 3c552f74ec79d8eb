-- Logical replication into tables of the extension is refused, in partitions
-- (partition.c makes their triggers) as in what follows.  The triggers fire in
-- replicas only, so that nobody else pays for them.

create function sentinai.refuse_replication() returns trigger
    language c volatile
    as 'MODULE_PATHNAME', 'sentinai_refuse_replication';
comment on function sentinai.refuse_replication() is 'Trigger of every table and partition: raises 0A000 when logical replication inserts, changes, deletes or truncates. A dump may be restored with session_replication_role set to replica.';

do $triggers$
declare
    t pg_catalog.regclass;
begin
    for t in select c.oid from pg_catalog.pg_class c
             where c.relnamespace operator(pg_catalog.=) 'sentinai_internal'::pg_catalog.regnamespace
                   and c.relkind operator(pg_catalog.=) 'r'
    loop
        execute pg_catalog.format('create trigger refuse_replication before insert or update or delete on %s'
            ' for each row execute function sentinai.refuse_replication()', t);
        execute pg_catalog.format('create trigger refuse_replicated_truncate before truncate on %s'
            ' for each statement execute function sentinai.refuse_replication()', t);
        execute pg_catalog.format('alter table %s enable replica trigger refuse_replication,'
            ' enable replica trigger refuse_replicated_truncate', t);
        execute pg_catalog.format('comment on trigger refuse_replication on %s is %L', t,
            'Rows of another place mean nothing here.');
        execute pg_catalog.format('comment on trigger refuse_replicated_truncate on %s is %L', t,
            'The same for TRUNCATE.');
    end loop;
end $triggers$;
