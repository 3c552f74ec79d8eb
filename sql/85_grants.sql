-- Rights. Tables and functions belong to the extension's owner; nobody else
-- may do anything but what is granted here or by the DBA. Functions in C reach
-- the tables without further checks, so EXECUTE is the right to what they do.
-- What ALTER DEFAULT PRIVILEGES, or a schema that was there before, gave
-- somebody is taken back.
do $grants$
declare
    g record;
begin
    for g in
        with member (class, object) as materialized (
            -- first, as names of all that the catalogues have would take longer than the rest
            select d.classid, d.objid
            from pg_depend d join pg_extension e on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid
            where d.deptype = 'e' and e.extname = 'sentinai'),
        ours (kind, name, owner, acl) as (
            select case c.relkind when 'S' then 'sequence' else 'table' end,
                   c.oid::regclass::text, c.relowner, c.relacl
            from member m join pg_class c on c.oid = m.object
            where m.class = 'pg_class'::regclass and c.relkind in ('r', 'p', 'v', 'f', 'S')
            union all
            select 'routine', p.oid::regprocedure::text, p.proowner,
                   coalesce(p.proacl, acldefault('f', p.proowner))
            from member m join pg_proc p on p.oid = m.object
            where m.class = 'pg_proc'::regclass
            union all
            select 'type', t.oid::regtype::text, t.typowner, t.typacl
            from member m join pg_type t on t.oid = m.object
            where m.class = 'pg_type'::regclass and t.typelem = 0)
        select distinct o.kind, o.name, a.grantee
        from ours o cross join lateral aclexplode(o.acl) a
        where a.grantee <> o.owner and (o.kind, a.grantee) <> ('type', 0)
        union all
        select distinct 'schema', n.nspname::text, a.grantee
        from pg_namespace n cross join lateral aclexplode(n.nspacl) a
        where n.nspname in ('sentinai', 'sentinai_internal') and a.grantee <> n.nspowner
    loop
        execute format('revoke all on %s %s from %s cascade', g.kind, g.name,
            case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end);
    end loop;
end $grants$;

grant execute on function
    sentinai.get_partition_key(text, text),
    sentinai.partition_hash(text),
    sentinai.partition_for(text, text, int),
    sentinai.event_time(uuid),
    sentinai.validate_json(jsonb, jsonb),
    sentinai.limit_time(int),
    sentinai.time_is_over(),
    sentinai.act_as(text, text),
    sentinai.may("right" text, tenant text),
    sentinai.may_read(text),
    sentinai.may_see_letter(text),
    sentinai.may_audit(text),
    sentinai.may_see_worker_type(text),
    sentinai.may_see_limit(text)
    to public;

grant usage on schema sentinai to pg_monitor;
grant select on
    sentinai.stat_lane,
    sentinai.stat_queue,
    sentinai.stat_relay,
    sentinai.stat_relay_topic,
    sentinai.stat_agent,
    sentinai.stat_retry,
    sentinai.stat_info
    to pg_monitor;
grant execute on function
    sentinai.stat_claimed(int),
    sentinai.stat_clock(),
    sentinai.partitions_until(),
    sentinai.stat_rate(int, bigint, bigint),
    sentinai.stat_lag(int, int),
    sentinai.stat_lane_state(int, int),
    sentinai.stat_round(),
    sentinai.stat_relays(),
    sentinai.stat_server(),
    sentinai.retention_status(),
    sentinai.stat_failures(),
    sentinai.relay_is_paused(),
    sentinai.relay_is_paused(text)
    to pg_monitor;
