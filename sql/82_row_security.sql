-- Row-level security on what has tenants' data: a second wall behind the
-- functions and the views.  Nobody but the owner has rights on these tables; whoever is
-- given some sees what the views would show him.  Each policy is the filter of the view
-- on the same table.  Partitions get theirs from make_partitions().
--
-- An owner without superuser's rights is asked, too.  Not of event_retry: statistics
-- views read it with his rights for readers who may see no tenant.

do $walls$
declare
    w record;
begin
    for w in select * from (values
        ('event_log', 'sentinai.may_read(tenant_id)'),
        ('event_log_root', 'sentinai.may_read(tenant_id)'),
        ('event_kept', 'sentinai.may_read(tenant_id)'),
        ('event_processing', 'sentinai.may_read(tenant_id)'),
        ('event_processing_root', 'sentinai.may_read(tenant_id)'),
        ('event_idempotency', 'sentinai.may_read(tenant_id)'),
        ('deadline', 'sentinai.may_read(tenant_id)'),
        ('event_retry', 'sentinai.may_see_letter(tenant_id)'),
        ('dead_letter', 'sentinai.may_see_letter(tenant_id)'),
        ('dead_letter_count', 'sentinai.may_see_letter(tenant_id)'),
        ('track_tenant', 'sentinai.may_see_letter(tenant_id)'),
        ('tenant_limit', 'sentinai.may_see_limit(tenant_id)'),
        ('backlog_limit', 'sentinai.may_see_limit(tenant_id)'),
        ('alert', 'sentinai.may_see_limit(tenant_id)'),
        ('tenant_weight', 'sentinai.may_see_limit(tenant_id)'),
        ('sla_threshold', 'sentinai.may_see_limit(tenant_id)'),
        ('action_log', 'sentinai.may_audit(tenant_id)'),
        ('audit_root', 'sentinai.may_audit(tenant_id)'),
        ('redaction', 'sentinai.may_audit(nullif(tenant_id, ''*''))'),
        ('tenant_grant', 'sentinai.may(''admin'', ''*'') or pg_catalog.pg_has_role(role, ''member'')')
        ) x (name, filter)
    loop
        execute pg_catalog.format('alter table sentinai_internal.%I enable row level security', w.name);
        if w.name operator(pg_catalog.<>) 'event_retry' then
            execute pg_catalog.format('alter table sentinai_internal.%I force row level security', w.name);
        end if;
        execute pg_catalog.format('create policy tenant on sentinai_internal.%I using (%s)', w.name, w.filter);
        execute pg_catalog.format('comment on policy tenant on sentinai_internal.%I is %L', w.name,
            'Rows of tenants that the current user may see, however it reads the table.');
        -- EXPLAIN would tell by them how many rows a tenant has that one names. The log and
        -- the ledger have estimates of their own, and what changes a row needs none.
        if w.name operator(pg_catalog.!~) '^event_(log|kept|processing|idempotency)' then
            execute (select pg_catalog.format('alter table sentinai_internal.%I %s', w.name,
                         pg_catalog.string_agg(pg_catalog.format('alter column %I set statistics 0', a.attname), ', '))
                     from pg_catalog.pg_attribute a
                     where a.attrelid operator(pg_catalog.=) pg_catalog.format('sentinai_internal.%I', w.name)::pg_catalog.regclass
                         and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped);
        end if;
    end loop;
end $walls$;
