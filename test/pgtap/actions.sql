-- SPDX-License-Identifier: PostgreSQL
-- The action log: whoever changes how things are done, or does something with what
-- is there, leaves a row of who, when, before and after. Every function is asked.
select plan(42);
\set tenant act
\ir lib/queue.sql
create role act_one nologin;
create role act_two nologin;

-- Five dead letters, two events that wait for a retry, and one in an agent's hands.
select sentinai.subscribe('act-a', '{act.t}', backoff => '{1d}');
select sentinai.publish('act.t', 'act', 'k' || i, '{"n": 1}') from generate_series(1, 8) i;
select pg_temp.take('batch', $$'act-a', 100, '1 hour', 'act-agent'$$);
create temp table has as select row_number() over (order by aggregate_id) as n, * from batch;
select sentinai.fail(token, event_id, 'boom', false) from has where n <= 5;
select sentinai.fail(token, event_id, 'boom') from has where n in (6, 7);

-- What configures, or acts, and how it is called so that something changes.
create temp table calls (n int generated always as identity, function text, call text, leaves text);
insert into calls (function, call) values
    ('subscribe', $$select sentinai.subscribe('act-b', '{act.t}')$$),
    ('alter_subscription', $$select sentinai.alter_subscription('act-b', max_attempts => 3)$$),
    ('set_retry_policy', $$select sentinai.set_retry_policy('act-b', 'act.t', 2, '{1s}')$$),
    ('set_retry_policy', $$select sentinai.set_retry_policy('act-b', 'act.t')$$),
    ('set_backlog_limit', $$select sentinai.set_backlog_limit('act-b', 'act', 100)$$),
    ('drop_backlog_limit', $$select sentinai.drop_backlog_limit('act-b', 'act')$$),
    ('unsubscribe', $$select sentinai.unsubscribe('act-b')$$),
    ('set_limit', $$select sentinai.set_limit('act', 'act_calls', 5, '1 hour')$$),
    ('drop_limit', $$select sentinai.drop_limit('act', 'act_calls')$$),
    ('set_weight', $$select sentinai.set_weight('act', 5)$$),
    ('drop_weight', $$select sentinai.drop_weight('act')$$),
    ('set_alert', $$select sentinai.set_alert('dead_letters', 'act', 100, channels => '{mail}')$$),
    ('drop_alert', $$select sentinai.drop_alert('dead_letters', 'act')$$),
    ('set_sla_threshold', $$select sentinai.set_sla_threshold('act', 0.5)$$),
    ('set_sla_threshold', $$select sentinai.set_sla_threshold('act', null)$$),
    ('grant_tenant', $$select sentinai.grant_tenant('act_one', 'act', 'read')$$),
    ('revoke_tenant', $$select sentinai.revoke_tenant('act_one', 'act', 'read')$$),
    ('grant_work', $$select sentinai.grant_work('act_one', 'act-w')$$),
    ('revoke_work', $$select sentinai.revoke_work('act_one', 'act-w')$$),
    ('set_redaction', $$select sentinai.set_redaction('act', 'act.t', '$.iban', 'mask')$$),
    ('drop_redaction', $$select sentinai.drop_redaction('act', 'act.t', '$.iban')$$),
    ('require_proof', $$select sentinai.require_proof('act_one')$$),
    ('require_proof', $$select sentinai.require_proof('act_one', false)$$),
    ('create_roles', $$select sentinai.create_roles()$$),
    ('register_event_type', $$select sentinai.register_event_type('act.u', '{"type": "object"}')$$),
    ('register_event_type', $$select sentinai.register_event_type('act.u', '{"type": "object"}', description => 'another')$$),
    ('deprecate_event_type', $$select sentinai.deprecate_event_type('act.u')$$),
    ('drop_event_type_version', $$select sentinai.drop_event_type_version('act.u', 1)$$),
    ('create_relay', $$select sentinai.create_relay('act-r', 'kafka', 'bootstrap.servers=localhost:1')$$),
    ('alter_relay', $$select sentinai.alter_relay('act-r', workers => 2)$$),
    ('drop_relay', $$select sentinai.drop_relay('act-r')$$),
    ('pause_relay', $$select sentinai.pause_relay()$$),
    ('resume_relay', $$select sentinai.resume_relay()$$),
    ('retry_event', $$select sentinai.retry_event((select event_id from has where n = 6), 'act-a', 'ann')$$),
    ('give_up_event', $$select sentinai.give_up_event((select event_id from has where n = 7), 'act-a', 'ann', 'poison')$$),
    ('retry_dead_letter', $$select sentinai.retry_dead_letter((select event_id from has where n = 1), 'act-a', 'ann')$$),
    ('discard_dead_letter', $$select sentinai.discard_dead_letter((select event_id from has where n = 2), 'act-a', 'ann', 'old')$$),
    ('edit_and_retry', $$select sentinai.edit_and_retry((select event_id from has where n = 3), 'act-a', '{"secret": "act-canary"}', 'ann', 'typo')$$);
insert into calls (function, call, leaves) values
    ('retry_dead_letters', $$select sentinai.retry_dead_letters('act', event_ids => (select array_agg(event_id) from has where n = 4), actor => 'ann', reason => 'mended')$$, 'retry_dead_letter'),
    ('discard_dead_letters', $$select sentinai.discard_dead_letters('act', event_ids => (select array_agg(event_id) from has where n = 5), actor => 'ann', reason => 'old')$$, 'discard_dead_letter');
insert into calls (function, call) values
    ('purge_dead_letters', $$select sentinai.purge_dead_letters('infinity', tenant_id => 'act')$$),
    ('revoke_lease', $$select sentinai.revoke_lease('act-a', 'act-agent', 'ann')$$);

create temp table rows (function text, call text, action sentinai.actions);
create procedure pg_temp.call_all() language plpgsql as $$
declare c record; last bigint;
begin
    for c in select * from calls order by n loop
        select coalesce(max(action_id), 0) into last from sentinai.actions;
        execute c.call;
        insert into rows select c.function, c.call, a from sentinai.actions a
            where a.action_id > last and a.action = coalesce(c.leaves, c.function);
        commit;
    end loop;
end $$;
call pg_temp.call_all();
-- Who operates or administers leaves a row with whatever he may call that writes, but
-- for what applications call all day, figures, and upkeep. create_roles() has said who may.
-- after_restore() leaves a row where there is something to take into use: see test/tap/16_trail.pl.
-- What pg_cron calls leaves a row where pg_cron is: see test/tap/17_cron.pl.
select is((select coalesce(string_agg(distinct p.proname::text, ' '), '') from pg_proc p
           where p.pronamespace = 'sentinai'::regnamespace and p.provolatile = 'v' and p.proname not like 'stat\_%'
                 and exists (select from aclexplode(p.proacl) a where a.grantee::regrole::text in ('sentinai_operator', 'sentinai_admin'))
                 and not exists (select from aclexplode(p.proacl) a where a.grantee::regrole::text in ('sentinai_publisher', 'sentinai_agent'))
                 and p.proname not in (select function from calls)
                 and p.proname <> all ('{after_restore,cron_status,describe_event_type,disable_cron,enable_cron,index_partitions,limit_buckets,maintain,make_partitions,partitions_until,retention_status,sla_scan}')),
          '', 'every function that people configure or act with is called here');

select is((select coalesce(string_agg(c.call, E'\n'), '') from calls c where not exists (select from rows r where r.call = c.call)), '',
    'every one of them leaves a row');
select is((select coalesce(string_agg(c.call, E'\n'), '') from calls c where (select count(*) from rows r where r.call = c.call) > 1), '', 'one');
select ok((select bool_and((action).session_role = session_user and (action).acted_at between now() - interval '5 min' and clock_timestamp()) from rows), 'with who and when');
select is((select string_agg(distinct function, ' ' order by function) from rows where (action).before is null and (action).after is null), 'create_roles', 'and with what was, or is');
select is((select string_agg(distinct function, ' ' order by function) from rows where (action).kind = 'action'),
    'discard_dead_letter discard_dead_letters edit_and_retry give_up_event purge_dead_letters retry_dead_letter retry_dead_letters retry_event revoke_lease', 'what is done once');
select is((select string_agg(distinct function, ' ' order by function) from rows where (action).actor = 'ann'),
    'discard_dead_letter discard_dead_letters edit_and_retry give_up_event retry_dead_letter retry_dead_letters retry_event revoke_lease', 'whoever was named is the actor');
select is((select string_agg(distinct function || ' ' || (action).aggregate_id, ', ' order by function || ' ' || (action).aggregate_id) from rows where (action).aggregate_id is not null),
    'discard_dead_letter k2, discard_dead_letters k5, edit_and_retry k3, give_up_event k7, retry_dead_letter k1, retry_dead_letters k4, retry_event k6', 'of the event''s aggregate');
select is((select string_agg(distinct (action).tenant_id, ' ') from rows where (action).aggregate_id is not null), 'act', 'and tenant');
select is((select (action).reason from rows where function = 'give_up_event'), 'poison', 'and why');
select is((select jsonb_build_array((action).before, (action).after) from rows where call ~ 'act-a'', ''ann'', ''old'''),
    '[{"status": "pending"}, {"status": "discarded", "worker_type": "act-a", "replaced_by": null}]', 'a letter was, and is');
select is((select (action).before ->> 'events' || (action).object || (action).tenant_id from rows where function = 'revoke_lease'), '1act-a*', 'whose lease was taken');
select is((select (action).before - 'settled_before' from rows where function = 'purge_dead_letters'), '{"letters": "3"}', 'how many letters went');
select is((select string_agg((action).before ->> 'max_attempts' || ' ' || coalesce((action).after ->> 'max_attempts', 'none'), ', ' order by (action).action_id) from rows where function in ('alter_subscription', 'unsubscribe')),
    '5 3, 3 none', 'what a subscription was, and is');
select is((select (action).after from rows where function = 'subscribe'),
    '{"backoff": "{00:00:01,00:00:02,00:00:04,00:00:08}", "on_dead": "skip", "ordered": "true", "tenant": "*", "event_types": "{act.t}", "max_attempts": "5", "max_lease": "1 day", "max_lanes": "64", "start_from": "latest"}', 'all of it');
select is((select jsonb_agg(jsonb_build_array((action).before -> 'max_attempts', (action).after -> 'max_attempts') order by (action).action_id) from rows where function = 'set_retry_policy'), '[[null, "2"], ["2", null]]', 'a policy of retries');
select is((select jsonb_agg(jsonb_build_array((action).before -> 'paused', (action).after -> 'paused') order by (action).action_id) from rows where function in ('pause_relay', 'resume_relay')), '[["false", "true"], ["true", "false"]]', 'the relay''s switch');
select is((select jsonb_agg(jsonb_build_array((action).before -> 'description', (action).after -> 'description') order by (action).action_id) from rows where function = 'register_event_type'),
    '[[null, null], [null, "another"]]', 'a type');
select is((select jsonb_agg(jsonb_build_array((action).before -> 'deprecated', (action).after -> 'deprecated', (action).after -> 'dropped') order by (action).action_id) from rows where function in ('deprecate_event_type', 'drop_event_type_version')),
    '[["false", "true", "false"], ["true", "true", "true"]]', 'that goes');
select is((select (action).after ->> 'channels' from rows where function = 'set_alert'), '{mail}', 'where an alert goes');
select is((select count(*) from sentinai.actions a where a::text ~ 'act-canary|"n": 1'), 0::bigint, 'no payload is in the log');

-- What changes nothing leaves nothing.
select sentinai.subscribe('act-same', '{act.t}'), sentinai.register_event_type('act.same', '{}'), sentinai.set_retry_policy('act-same', 'act.t', 2, '{1s}'),
    sentinai.grant_tenant('act_one', 'act', 'read'), sentinai.deprecate_event_type('act.same'),
    sentinai.set_redaction('act', '*', '$.same', 'mask', 2);
select max(action_id) as last from sentinai.actions \gset
select sentinai.subscribe('act-same', '{act.t}'), sentinai.alter_subscription('act-same', max_attempts => 5), sentinai.register_event_type('act.same', '{}', 1),
    sentinai.set_retry_policy('act-same', 'act.t', 2, '{1s}'), sentinai.set_retry_policy('act-same', 'act.none'), sentinai.grant_tenant('act_one', 'act', 'read'),
    sentinai.revoke_tenant('act_two', 'act', 'read'), sentinai.deprecate_event_type('act.same'), sentinai.resume_relay(),
    sentinai.set_redaction('act', '*', '$["same"]', 'mask', 2), sentinai.revoke_lease('act-same', 'nobody'), sentinai.purge_dead_letters('-infinity'), sentinai.drop_limit('act', 'act_none');
select is((select count(*) from sentinai.actions where action_id > :last), 0::bigint, 'what changes nothing leaves nothing');
begin;
select sentinai.set_limit('act', 'act_calls', 6, '1 hour');
rollback;
select is((select count(*) from sentinai.actions where action_id > :last), 0::bigint, 'nor does what is rolled back');

-- Who did it is the role that has logged in, in every table, after SET ROLE and so in a SECURITY DEFINER function.
create role act_by superuser nologin;
create function pg_temp.by(who text, out columns text) language plpgsql as $$
declare c record; found boolean;
begin
    columns := '';
    for c in select a.attrelid::regclass as rel, a.attname from pg_attribute a join pg_class r on r.oid = a.attrelid
             where r.relnamespace = 'sentinai_internal'::regnamespace and r.relkind in ('r', 'p') and a.attname ~ '_by$' and a.atttypid = 'text'::regtype
                   and a.attname <> 'resolved_by' order by r.relname
    loop
        execute format('select exists (select from %s where %I = %L)', c.rel, c.attname, who) into found;
        columns := columns || case when found then c.rel || '.' || c.attname || ' ' else '' end;
    end loop;
end $$;
begin;
set local role act_by;
select sentinai.subscribe('act-b', '{act.t}'), sentinai.set_limit('act', 'act_calls', 5, '1 hour'), sentinai.set_backlog_limit('act-b', 'act', 100), sentinai.set_weight('act', 5),
    sentinai.set_alert('dead_letters', 'act', 100), sentinai.set_sla_threshold('act', 0.5), sentinai.set_redaction('act', 'act.t', '$.iban', 'mask'),
    sentinai.grant_tenant('act_two', 'act', 'read'), sentinai.grant_work('act_two', 'act-w'), sentinai.require_proof('act_two'), sentinai.register_event_type('act.by', '{}'),
    sentinai.create_relay('act-r', 'kafka', 'bootstrap.servers=localhost:1'), sentinai.pause_relay(), sentinai.set_deadline('act', 'k', 'pay', now() + interval '1 hour');
select sentinai.set_deadline('act', 'k', 'pay', now() + interval '2 hours');
select is(pg_temp.by('act_by'), '', 'not the role that it has set');
select is(pg_temp.by(session_user), 'sentinai_internal.alert.set_by sentinai_internal.backlog_limit.changed_by sentinai_internal.deadline.set_by sentinai_internal.event_type.registered_by ' ||
    'sentinai_internal.proof_role.granted_by sentinai_internal.redaction.changed_by sentinai_internal.relay.changed_by sentinai_internal.relay_control.changed_by ' ||
    'sentinai_internal.sla_threshold.changed_by sentinai_internal.tenant_grant.granted_by sentinai_internal.tenant_limit.changed_by sentinai_internal.tenant_weight.changed_by ' ||
    'sentinai_internal.work_grant.granted_by ', 'but the session''s, in each of them');
select ok((actor, session_role, acting_role) = (session_user::text, session_user::text, 'act_by'), 'the action log has both') from sentinai.actions where action = 'set_limit' order by action_id desc limit 1;
rollback;
drop role act_by;

-- A subscription for some tenants has a row for each, which names no other.
select max(action_id) as last from sentinai.actions \gset
create function pg_temp.new(after bigint) returns text language sql as $$
    select string_agg(concat_ws(' ', tenant_id, coalesce(before ->> 'tenant', '-'), coalesce(after ->> 'tenant', '-')), ', ' order by tenant_id)
    from sentinai.actions where action_id > $1 $$;
select sentinai.subscribe('act-t', '{act.t}', tenants => '{act-1,act-2}');
select is(pg_temp.new(:last), 'act-1 - act-1, act-2 - act-2', 'made for two tenants');
select max(action_id) as last from sentinai.actions \gset
select sentinai.alter_subscription('act-t', tenants => '{act-2,act-3}');
select is(pg_temp.new(:last), 'act-1 act-1 -, act-3 - act-3', 'one leaves, another one comes');
select max(action_id) as last from sentinai.actions \gset
select sentinai.alter_subscription('act-t', max_attempts => 7);
select is(pg_temp.new(:last), 'act-2 act-2 act-2, act-3 act-3 act-3', 'another change concerns all of its tenants');
select max(action_id) as last from sentinai.actions \gset
select sentinai.alter_subscription('act-t', all_tenants => true);
select is(pg_temp.new(:last), '* - *, act-2 act-2 *, act-3 act-3 *', 'now it is for all');
select max(action_id) as last from sentinai.actions \gset
select sentinai.set_retry_policy('act-t', 'act.t', 2, '{1s}');
select is(pg_temp.new(:last), '* - -', 'and so is its policy');
select max(action_id) as last from sentinai.actions \gset
select sentinai.alter_subscription('act-t', tenants => '{act-1}');
select is(pg_temp.new(:last), '* * -, act-1 * act-1', 'and not any more');
select max(action_id) as last from sentinai.actions \gset
select sentinai.unsubscribe('act-t');
select is(pg_temp.new(:last), 'act-1 act-1 -', 'and it ends');
select is((select string_agg(distinct worker_type, ' ') from sentinai.actions where object = 'act-t'), 'act-t', 'the rows know whose they are');

-- Rows have their places among the events.
begin;
select sentinai.publish('act.t', 'act', 'order', '{"i": 1}') as e1 \gset
select sentinai.set_limit('act', 'act_order', 1, '1 hour');
select sentinai.publish('act.t', 'act', 'order', '{"i": 2}') as e2 \gset
commit;
select ok((select clock_id > :'e1' and clock_id < :'e2' from sentinai.actions where object = 'act_order'), 'an action is between the events of its transaction');
select is((select count(*) - count(distinct clock_id) from sentinai.actions), 0::bigint, 'no two are at one place');
select is((select count(*) from sentinai.actions a where abs(extract(epoch from acted_at - sentinai.event_time(clock_id))) > 0.001), 0::bigint, 'the time is that of the place');
select ok((select every(lag is null or clock_id > lag) from (select clock_id, lag(clock_id) over (order by action_id) from sentinai.actions) x), 'and they come in order');

-- What is written down is the same whatever the session wants to be shown.
set intervalstyle = sql_standard;
set extra_float_digits = -15;
select sentinai.subscribe('act-style', '{act.t}', backoff => '{1d,90m}', max_lease => '10 min'), sentinai.set_retry_policy('act-style', 'act.t', 2, '{1s}'),
    sentinai.set_limit('act', 'act_style', 1, '36 hours'), sentinai.set_alert('dead_letters', 'act', 7, '90 min'), sentinai.set_backlog_limit('act-style', 'act', 10, 'delay', '1.5 s'),
    sentinai.set_sla_threshold('act', 0.875);
reset intervalstyle;
reset extra_float_digits;
select is((select string_agg(format('%s %s', action, coalesce(after->>'window', after->>'max_delay', after->>'threshold', (after->>'backoff') || ' ' || (after->>'max_lease'), after->>'backoff')), ', ' order by action_id)
    from (select * from sentinai.actions order by action_id desc limit 6) x),
    'subscribe {"1 day",01:30:00} 00:10:00, set_retry_policy {00:00:01}, set_limit 36:00:00, set_alert 01:30:00, set_backlog_limit 00:00:01.5, set_sla_threshold 0.875',
    'intervals and fractions are written in one way');
select sentinai.drop_backlog_limit('act-style', 'act'), sentinai.unsubscribe('act-style'), sentinai.drop_limit('act', 'act_style'), sentinai.drop_alert('dead_letters', 'act'), sentinai.set_sla_threshold('act', null);

-- For every tenant
select sentinai.set_limit('*', 'act_every', 1, '1 hour'), sentinai.grant_tenant('act_two', '*', 'audit'), sentinai.grant_tenant('act_one', 'act', 'audit');
select is((select tenant_id from sentinai.actions where object = 'act_every'), '*', 'what is for every tenant says so');
grant usage on schema sentinai to act_one, act_two;
grant select on sentinai.actions to act_one, act_two;
set sentinai.tenant_isolation = on;
set role act_one;
select is((select string_agg(distinct tenant_id, ' ') from sentinai.actions), 'act', 'who audits a tenant sees its rows');
set role act_two;
select ok((select bool_or(tenant_id = '*') and bool_or(tenant_id is null) and bool_or(tenant_id = 'act') from sentinai.actions), 'who audits all sees all');
reset role;
reset sentinai.tenant_isolation;

select sentinai.revoke_tenant('act_two', '*', 'audit'), sentinai.revoke_tenant('act_one', 'act', 'audit'), sentinai.drop_limit('*', 'act_every'), sentinai.drop_redaction('act', '*', '$.same');
select sentinai.unsubscribe(w) from unnest('{act-a,act-same}'::text[]) w;
select * from finish();
