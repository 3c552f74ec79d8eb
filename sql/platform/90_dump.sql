-- What pg_dump must carry: the rows of every table.
do $dump$
declare
    c record;
begin
    for c in select oid from pg_class
             where relnamespace = 'sentinai_platform'::regnamespace and relkind = 'r' order by relname
    loop
        perform pg_extension_config_dump(c.oid, '');
    end loop;
end $dump$;
