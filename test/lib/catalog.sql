-- test/lib/catalog.sql: all that the catalogue knows of the extension and of its
-- members, a line for each property, so that two databases can be compared with
-- diff: catalog() in pg_temp.  Nothing in it depends on OIDs (pg_attver
-- does: some minor releases keep it among the options of a column).
-- SPDX-License-Identifier: PostgreSQL

-- None are those that PostgreSQL gives by default: a dump leaves such out.
create function pg_temp.rights(acl aclitem[], kind "char", owner oid) returns text
language sql as $$
    select string_agg(a::text, ' ' order by a::text collate "C") from unnest(coalesce(acl, acldefault(kind, owner))) a
$$;

-- What is the extension's: members, and what belongs to a member table.
create view pg_temp.ours as
select d.classid, d.objid, d.objsubid
from pg_depend d join pg_extension e on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid
where e.extname = 'sentinai' and d.deptype = 'e';

create view pg_temp.our_tables as
select c.*, c.oid::regclass::text as name
from pg_class c join pg_temp.ours o on o.classid = 'pg_class'::regclass and o.objid = c.oid
union all
select c.*, c.oid::regclass::text
from pg_class c join pg_type t on t.typrelid = c.oid
     join pg_temp.ours o on o.classid = 'pg_type'::regclass and o.objid = t.oid
where c.relkind = 'c';

-- Rows that every installation has: what a dump leaves out.
create function pg_temp.own_rows() returns table (of_table text, content text)
language plpgsql as $$
declare
    t record;
begin
    for t in select c.oid::regclass::text as name, x.condition
             from pg_extension e cross join lateral unnest(e.extconfig, e.extcondition) x (oid, condition)
                  join pg_class c on c.oid = x.oid
             where e.extname = 'sentinai' and x.condition <> ''
    loop
        of_table := t.name;
        for content in execute format('select to_jsonb(r)::text from %s r where not (%s)', t.name,
            regexp_replace(t.condition, '^where ', ''))
        loop
            return next;
        end loop;
    end loop;
end $$;

create function pg_temp.catalog() returns setof text
language sql set search_path = pg_catalog, pg_temp as $$
    with lines (of, what, value) as (
        -- every member, of whatever kind, with its comment
        select i.identity, 'is a member', i.type
        from pg_temp.ours o cross join lateral pg_identify_object(o.classid, o.objid, o.objsubid) i
        union all
        select i.identity, 'comment', obj_description(o.objid, o.classid::regclass::name)
        from pg_temp.ours o cross join lateral pg_identify_object(o.classid, o.objid, o.objsubid) i
        union all
        select i.identity, 'rights of a dump', pg_temp.rights(p.initprivs, w.kind, w.owner)
        from pg_temp.ours o
             join (select 'pg_class'::regclass as class, oid, relowner as owner, case relkind when 'S' then 's' else 'r' end::"char" as kind
                   from pg_class
                   union all select 'pg_proc'::regclass, oid, proowner, 'f' from pg_proc
                   union all select 'pg_type'::regclass, oid, typowner, 'T' from pg_type
                   union all select 'pg_foreign_data_wrapper'::regclass, oid, fdwowner, 'F' from pg_foreign_data_wrapper
                   union all select 'pg_foreign_server'::regclass, oid, srvowner, 'S' from pg_foreign_server) w
                 on w.class = o.classid and w.oid = o.objid
             left join pg_init_privs p on p.classoid = o.classid and p.objoid = o.objid and p.objsubid = 0
             cross join lateral pg_identify_object(o.classid, o.objid, 0) i
        union all
        select i.identity || '.' || a.attname, 'rights of a dump', pg_temp.rights(p.initprivs, 'c', 0)
        from pg_temp.ours o join pg_init_privs p on p.classoid = o.classid and p.objoid = o.objid and p.objsubid > 0
             join pg_attribute a on a.attrelid = o.objid and a.attnum = p.objsubid
             cross join lateral pg_identify_object(o.classid, o.objid, 0) i
        -- the extension
        union all
        select 'extension', 'owner, schema', concat_ws(' ', extowner::regrole, extnamespace::regnamespace, extrelocatable)
        from pg_extension where extname = 'sentinai'
        union all
        select 'extension', 'dumps ' || x.oid::regclass, x.condition
        from pg_extension e cross join lateral unnest(e.extconfig, e.extcondition) x (oid, condition)
        where e.extname = 'sentinai'
        union all
        select 'schema ' || n.nspname, 'owner, rights, comment',
               concat_ws(' ', n.nspowner::regrole, pg_temp.rights(n.nspacl, 'n', n.nspowner), obj_description(n.oid, 'pg_namespace'))
        from pg_namespace n where n.nspname in ('sentinai', 'sentinai_internal')
        -- tables, views, sequences, composite types
        union all
        select t.name, w.what, w.value
        from pg_temp.our_tables t left join pg_am m on m.oid = t.relam
             cross join lateral (values
                 ('kind', concat_ws(' ', t.relkind, t.relpersistence, m.amname, t.relreplident, t.reltablespace,
                     case when t.relispartition then pg_get_expr(t.relpartbound, t.oid) end,
                     case when t.relkind = 'p' then pg_get_partkeydef(t.oid) end)),
                 ('owner, rights', concat_ws(' ', t.relowner::regrole, pg_temp.rights(t.relacl, case t.relkind when 'S' then 's' else 'r' end::"char", t.relowner))),
                 ('options', coalesce(array_to_string(t.reloptions, ' '), 'none')),
                 ('row security', concat_ws(' ', t.relrowsecurity, t.relforcerowsecurity)),
                 ('children', (select string_agg(i.inhrelid::regclass::text, ' ' order by i.inhrelid::regclass::text collate "C")
                     from pg_inherits i join pg_temp.our_tables c on c.oid = i.inhrelid where i.inhparent = t.oid)),
                 ('query', case when t.relkind in ('v', 'm') then pg_get_viewdef(t.oid) end),
                 ('server', (select s.srvname || ' ' || coalesce(array_to_string(f.ftoptions, ' '), '')
                     from pg_foreign_table f join pg_foreign_server s on s.oid = f.ftserver where f.ftrelid = t.oid)),
                 ('sequence', (select concat_ws(' ', q.seqtypid::regtype, q.seqstart, q.seqincrement, q.seqmax, q.seqmin,
                     q.seqcache, q.seqcycle) from pg_sequence q where q.seqrelid = t.oid))) w (what, value)
        union all
        select t.name || '.' || a.attname, w.what, w.value
        from pg_temp.our_tables t join pg_attribute a on a.attrelid = t.oid and a.attnum > 0
             left join pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum
             cross join lateral (values
                 ('column', concat_ws(' ', a.attnum, format_type(a.atttypid, a.atttypmod),
                     case when a.attcollation <> 0 then a.attcollation::regcollation end,
                     case when a.attnotnull then 'not null' end, case when a.attisdropped then 'dropped' end,
                     a.attstorage, nullif(a.attcompression, ''), nullif(a.attidentity, ''), nullif(a.attgenerated, ''),
                     nullif(a.attstattarget, -1), (select string_agg(o, ' ') from unnest(a.attoptions) o where o not like 'pg_attver=%'), array_to_string(a.attfdwoptions, ' '))),
                 ('default', pg_get_expr(f.adbin, f.adrelid)),
                 ('rights', pg_temp.rights(a.attacl, 'c', t.relowner)),
                 ('comment', col_description(t.oid, a.attnum))) w (what, value)
        union all
        select t.name, 'index ' || i.indexrelid::regclass, concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisprimary, i.indisvalid,
               i.indisclustered, i.indisreplident, c.relowner::regrole, obj_description(i.indexrelid, 'pg_class'))
        from pg_temp.our_tables t join pg_index i on i.indrelid = t.oid join pg_class c on c.oid = i.indexrelid
        union all
        select t.name, 'constraint ' || k.conname, concat_ws(' ', pg_get_constraintdef(k.oid), k.convalidated, obj_description(k.oid, 'pg_constraint'))
        from pg_temp.our_tables t join pg_constraint k on k.conrelid = t.oid
        union all
        select t.name, 'trigger ' || g.tgname, concat_ws(' ', pg_get_triggerdef(g.oid), 'fires', g.tgenabled, obj_description(g.oid, 'pg_trigger'))
        from pg_temp.our_tables t join pg_trigger g on g.tgrelid = t.oid
        union all
        select t.name, 'rule ' || r.rulename, concat_ws(' ', r.ev_enabled, pg_get_ruledef(r.oid))
        from pg_temp.our_tables t join pg_rewrite r on r.ev_class = t.oid
        union all
        select t.name, 'policy ' || p.polname, concat_ws(' ', p.polcmd, p.polpermissive, array_to_string(p.polroles::regrole[], ' '),
               pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
        from pg_temp.our_tables t join pg_policy p on p.polrelid = t.oid
        union all
        select t.name, 'statistics ' || s.stxname, pg_get_statisticsobjdef(s.oid)
        from pg_temp.our_tables t join pg_statistic_ext s on s.stxrelid = t.oid
        -- functions, types, foreign data
        union all
        select p.oid::regprocedure::text, w.what, w.value
        from pg_proc p join pg_temp.ours o on o.classid = 'pg_proc'::regclass and o.objid = p.oid
             cross join lateral (values
                 ('function', case when p.prokind in ('f', 'p', 'w') then pg_get_functiondef(p.oid) end),
                 ('owner, rights', concat_ws(' ', p.proowner::regrole, pg_temp.rights(p.proacl, 'f', p.proowner)))) w (what, value)
        union all
        select t.oid::regtype::text, 'type', concat_ws(' ', t.typtype, t.typowner::regrole, pg_temp.rights(t.typacl, 'T', t.typowner), t.typlen,
               t.typstorage, t.typdefault, (select string_agg(e.enumlabel, ' ' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid))
        from pg_type t join pg_temp.ours o on o.classid = 'pg_type'::regclass and o.objid = t.oid
        union all
        select 'foreign-data wrapper ' || w.fdwname, 'owner, rights, functions', concat_ws(' ', w.fdwowner::regrole, pg_temp.rights(w.fdwacl, 'F', w.fdwowner),
               w.fdwhandler::regproc, w.fdwvalidator::regproc, array_to_string(w.fdwoptions, ' '))
        from pg_foreign_data_wrapper w join pg_temp.ours o on o.classid = 'pg_foreign_data_wrapper'::regclass and o.objid = w.oid
        union all
        select 'server ' || s.srvname, 'owner, rights, options', concat_ws(' ', s.srvowner::regrole, pg_temp.rights(s.srvacl, 'S', s.srvowner),
               array_to_string(s.srvoptions, ' '))
        from pg_foreign_server s join pg_temp.ours o on o.classid = 'pg_foreign_server'::regclass and o.objid = s.oid
        -- rows that come with the extension
        union all
        select of_table, 'has the row', content from pg_temp.own_rows())
    select regexp_replace(of || ' | ' || what || ' | ' || value, '\s*\n\s*', ' ', 'g') from lines
    where value is not null
    order by of collate "C", what collate "C", value collate "C"
$$;
