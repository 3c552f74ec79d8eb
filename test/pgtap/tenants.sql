-- SPDX-License-Identifier: PostgreSQL
-- Who may do what for whom: grants, and the gate that every function asks.
select plan(166);
\set tenant gate-a
\ir lib/queue.sql

create role gate_group nologin;
create role gate_app nologin;
create role gate_other nologin in role gate_group;
create role gate_apart nologin noinherit in role gate_group;
create role gate_agent nologin;
create role gate_admin nologin;
create role gate_chief nologin in role gate_admin;
create schema gate;
grant usage on schema sentinai, gate to public;
do $$ declare f record; begin
    for f in select p.oid::regprocedure as name from pg_proc p
             where p.pronamespace = 'sentinai'::regnamespace and p.prokind = 'f' and p.prorettype <> 'trigger'::regtype
    loop
        execute format('grant execute on function %s to gate_group, gate_app, gate_agent, gate_admin, gate_apart', f.name);
    end loop;
end $$;
grant execute on procedure sentinai.wait_for_work(text, interval, boolean) to gate_agent, gate_app;
grant select on all tables in schema sentinai to gate_group, gate_app, gate_agent, gate_admin;
grant insert on sentinai.outbox to gate_app, gate_other;

create function gate.publish(tenant text) returns text language sql as $$
    select case when sentinai.publish('gate.t', tenant, 'k', '{"secret": "canary"}') is null then 'null' else 'published' end $$;
create function gate.as_owner(tenant text) returns text language sql security definer set search_path = pg_catalog, pg_temp as $$
    select gate.publish(tenant) $$;
-- the whole of an error, as a caller gets it
create function gate.error(command text) returns text language plpgsql as $$
declare detail text; hint text; begin
    execute command;
    return 'no error';
exception when others then
    get stacked diagnostics detail = pg_exception_detail, hint = pg_exception_hint;
    return concat_ws('|', sqlstate, sqlerrm, nullif(detail, ''), nullif(hint, ''));
end $$;
select gate.publish('gate-a'), gate.publish('gate-b');

-- Arguments
select throws_ok($$select sentinai.grant_tenant('gate_nobody', 'gate-a', 'read')$$, '42704', null, 'a role that is not there');
select throws_ok($$select sentinai.grant_tenant('gate_app', 'gate-a', 'fly')$$, 'SN422', null, 'no such right');
select throws_ok($$select sentinai.grant_tenant('gate_app', 'a:b', 'read')$$, 'SN422', null, 'no such tenant');
select throws_ok($$select sentinai.grant_tenant('gate_app', '', 'read')$$, 'SN422', null, 'an empty tenant');
select throws_ok($$select sentinai.grant_tenant('gate_app', repeat('x', 257), 'read')$$, 'SN422', null, 'a long tenant');
select throws_ok($$select sentinai.grant_tenant('gate_app', E'a\nb', 'read')$$, 'SN422', null, 'a tenant of two lines');
select throws_ok($$select sentinai.grant_tenant('gate_app', 'gate-a', 'admin')$$, 'SN422', null, 'admin is for every tenant');
select throws_ok($$select sentinai.grant_tenant(null, 'gate-a', 'read')$$, '22004', null, 'null role');
select throws_ok($$select sentinai.grant_tenant('gate_app', null, 'read')$$, '22004', null, 'null tenant');
select throws_ok($$select sentinai.grant_tenant('gate_app', 'gate-a', null)$$, '22004', null, 'null right');
select throws_ok($$select sentinai.grant_work('gate_app', 'no/such')$$, 'SN422', null, 'no name of a subscription');
select throws_ok($$select sentinai.grant_work('gate_app', null)$$, '22004', null, 'null subscription');
select throws_ok($$select sentinai.require_proof('gate_app', null)$$, '22004', null, 'null mark');
select throws_ok($$select sentinai.may('fly', 'x')$$, 'SN422', null, 'may() knows the rights');
select throws_ok($$select sentinai.may('read', null)$$, '22004', null, 'and wants a tenant');

-- Grants
select ok(sentinai.grant_tenant('gate_app', 'gate-a', 'publish'), 'a right is granted');
select ok(not sentinai.grant_tenant('gate_app', 'gate-a', 'publish'), 'once');
select ok(sentinai.grant_tenant('gate_group', 'gate-b', 'publish'), 'to a group');
select is((select string_agg(role || ' ' || tenant_id || ' ' || "right", ', ' order by 1) from sentinai.tenant_grants where tenant_id like 'gate-%'),
          'gate_app gate-a publish, gate_group gate-b publish', 'the view has them');
select is((select jsonb_agg(jsonb_build_array(action, tenant_id, object, before, after) order by action_id) from sentinai.actions where tenant_id like 'gate-%'),
    '[["grant_tenant", "gate-a", "gate_app", null, {"role": "gate_app", "right": "publish", "tenant": "gate-a"}],
      ["grant_tenant", "gate-b", "gate_group", null, {"role": "gate_group", "right": "publish", "tenant": "gate-b"}]]',
    'the action log has what was changed, and not what was not');
set role gate_app;
select is(gate.publish('gate-b'), 'published', 'without isolation nobody is asked');
select throws_ok($$select sentinai.grant_tenant('gate_app', '*', 'publish')$$, '42501', null, 'execute is not enough to grant');
select throws_ok($$select sentinai.revoke_tenant('gate_group', 'gate-b', 'publish')$$, '42501', null, 'or to revoke');
select throws_ok($$select sentinai.grant_work('gate_app', '*')$$, '42501', null, 'or to grant work');
select throws_ok($$select sentinai.require_proof('gate_app', false)$$, '42501', null, 'or to take a mark away');
select throws_ok($$set sentinai.tenant_isolation = off$$, '42501', null, 'or to switch isolation');
reset role;

-- Publishing
set sentinai.tenant_isolation = on;
select is(gate.publish('gate-b'), 'published', 'the owner may everything');
set role gate_app;
select is(gate.publish('gate-a'), 'published', 'a role publishes for its tenant');
select throws_ok($$select gate.publish('gate-b')$$, 'SN403', null, 'and for no other');
select is(gate.error($$select gate.publish('gate-b')$$), gate.error($$select gate.publish('gate-nobody')$$), 'a foreign tenant and an unknown one are refused alike');
select is(gate.as_owner('gate-b'), 'published', 'a SECURITY DEFINER function acts for its owner');
select throws_ok($$select gate.publish('gate-b')$$, 'SN403', null, 'and that ends with it');
select throws_ok($$select sentinai.publish_batch('{gate.t,gate.t}', '{gate-a,gate-b}', '{k,k}', array['{}', '{}']::jsonb[])$$,
    'SN403', null, 'a batch with one foreign event is refused');
select lives_ok($$insert into sentinai.outbox (tenant_id, type, payload) values ('gate-a', 'gate.t', '{}')$$, 'outbox takes its events');
select throws_ok($$insert into sentinai.outbox (tenant_id, type, payload) values ('gate-b', 'gate.t', '{}')$$, 'SN403', null, 'and no others');
set role gate_other;
select is(gate.publish('gate-b'), 'published', 'a member of the group has its rights');
select throws_ok($$select gate.publish('gate-a')$$, 'SN403', null, 'but not those of others');
set role gate_apart;
select throws_ok($$select gate.publish('gate-b')$$, 'SN403', null, 'who does not inherit has not');
reset role;
set session authorization gate_apart;
set role gate_group;
select is(gate.publish('gate-b'), 'published', 'until he sets the role');
reset session authorization;
revoke gate_group from gate_other;
set role gate_other;
select throws_ok($$select gate.publish('gate-b')$$, '42501', null, 'a membership that ended gives nothing');
reset role;
grant gate_group to gate_other;
select ok(sentinai.revoke_tenant('gate_group', 'gate-b', 'publish'), 'a right is taken back');
select ok(not sentinai.revoke_tenant('gate_group', 'gate-b', 'publish'), 'once');
set role gate_other;
select throws_ok($$select gate.publish('gate-b')$$, 'SN403', null, 'and is gone');
reset role;
begin;
select sentinai.grant_tenant('gate_group', 'gate-b', 'publish');
set local role gate_other;
select is(gate.publish('gate-b'), 'published', 'a grant counts in its own transaction');
rollback;
set role gate_other;
select throws_ok($$select gate.publish('gate-b')$$, 'SN403', null, 'and is forgotten when that is rolled back');
reset role;
alter role gate_app rename to gate_renamed;
set role gate_renamed;
select is(gate.publish('gate-a'), 'published', 'a role that is renamed keeps its rights');
reset role;
alter role gate_renamed rename to gate_app;
create role gate_gone nologin;
grant gate_group to gate_gone;
select sentinai.grant_tenant('gate_gone', 'gate-a', 'publish');
drop role gate_gone;
create role gate_gone nologin in role gate_group;
set role gate_gone;
select throws_ok($$select gate.publish('gate-a')$$, 'SN403', null, 'one that is made anew under the name of another gets nothing');
reset role;

-- Dropped roles: maintenance takes what they had, and nobody gets it
create procedure pg_temp.swept() language plpgsql as $$
begin
    for i in 1..200 loop
        perform sentinai.maintain();
        commit;
        exit when not exists (select from (select role from sentinai_internal.tenant_grant union all select role from sentinai_internal.work_grant union all select role from sentinai_internal.proof_role) g
                              where role <> 0 and role::oid not in (select oid from pg_roles));
        perform pg_sleep(0.05);
    end loop;
end $$;
create role gate_fired nologin;
create role gate_hired nologin;
select sentinai.grant_tenant('gate_fired', 'gate-a', 'read'), sentinai.grant_tenant('gate_fired', '*', 'work'), sentinai.require_proof('gate_fired'),
       sentinai.grant_work('gate_fired', 'gate-fired'), sentinai.grant_work('gate_fired', 'gate-both'), sentinai.grant_work('gate_hired', 'gate-both'),
       sentinai.subscribe('gate-fired', '{gate.t}'), sentinai.subscribe('gate-both', '{gate.t}');
select 'gate_fired'::regrole::oid as fired \gset
drop role gate_fired;
call pg_temp.swept();
select is((select count(*) from sentinai.tenant_grants where role::oid = :fired) + (select count(*) from sentinai.work_grants where role::oid = :fired) + (select count(*) from sentinai_internal.proof_role where role::oid = :fired), 0::bigint, 'a dropped role leaves nothing, by itself');
select is((select string_agg(concat_ws(' ', action, tenant_id, before ->> 'right', before ->> 'worker_type', actor, reason), ', ' order by action collate "C", tenant_id, worker_type) from sentinai.actions where object = (:fired)::text and before is not null),
    'require_proof maintenance the role was dropped, revoke_tenant * work maintenance the role was dropped, revoke_tenant gate-a read maintenance the role was dropped, revoke_work * gate-both maintenance the role was dropped, revoke_work * gate-fired maintenance the role was dropped', 'and it is written down');
select is((select string_agg(worker_type || ' ' || role::text, ', ' order by worker_type) from sentinai.work_grants where worker_type in ('gate-fired', 'gate-both')), 'gate-both gate_hired, gate-fired -', 'a subscription that it alone might claim from is nobody''s');
set sentinai.tenant_isolation = off;
grant usage on schema sentinai to gate_hired;
grant execute on function sentinai.claim(text, int, interval, text) to gate_hired;
set role gate_hired;
select throws_ok($$select * from sentinai.claim('gate-fired')$$, 'SN403', null, 'and not everybody''s, also without isolation');
reset role;
select ok(sentinai.grant_work('gate_hired', 'gate-fired'), 'until it is granted to another');
set role gate_hired;
select lives_ok($$select * from sentinai.claim('gate-fired')$$, 'who may claim');
reset role;
select is((select count(*) from sentinai.work_grants where worker_type = 'gate-fired'), 1::bigint, 'alone');
select sentinai.revoke_work('gate_hired', 'gate-fired'), sentinai.revoke_work('gate_hired', 'gate-both'), sentinai.unsubscribe('gate-fired'), sentinai.unsubscribe('gate-both');
drop owned by gate_hired;
drop role gate_hired;
set sentinai.tenant_isolation = on;

-- Admin
select ok(sentinai.grant_tenant('gate_admin', '*', 'admin'), 'admin is granted');
set role gate_chief;
select is(gate.publish('gate-b'), 'published', 'a member of the admins may everything');
select ok(sentinai.grant_tenant('gate_chief', 'gate-z', 'read'), 'and grant');
select ok(sentinai.may('admin', '*') and sentinai.may('audit', 'gate-b'), 'may() says so');
reset role;
set role gate_app;
select ok(not sentinai.may('admin', '*') and sentinai.may('publish', 'gate-a') and not sentinai.may('read', 'gate-a')
          and not sentinai.may('publish', '*'), 'and says what others may');
select is((select count(*) from sentinai.tenant_grants where role = 'gate_chief'::regrole), 0::bigint, 'a role does not see the grants of others');
select is((select count(*) from sentinai.actions), 0::bigint, 'nor the action log');
reset role;
select sentinai.grant_tenant('gate_app', 'gate-a', 'audit');
set role gate_app;
select ok(exists (select from sentinai.actions) and not exists (select from sentinai.actions where tenant_id is distinct from 'gate-a'), 'who audits a tenant sees its actions');
reset role;
select sentinai.revoke_tenant('gate_app', 'gate-a', 'audit');

-- Reading
set role gate_app;
select throws_ok($$select * from sentinai.get_events_by_tenant('gate-a')$$, 'SN403', null, 'publishing is not reading');
select is((select count(*) from sentinai.event_log), 0::bigint, 'nor in the view');
reset role;
select sentinai.grant_tenant('gate_app', 'gate-a', 'read');
set role gate_app;
select cmp_ok((select count(*) from sentinai.get_events_by_tenant('gate-a')), '>', 0::bigint, 'who may read a tenant, reads it');
select cmp_ok((select count(*) from sentinai.get_events_by_aggregate('gate-a', 'k')), '>', 0::bigint, 'by aggregate, too');
select is(gate.error($$select * from sentinai.get_events_by_tenant('gate-b')$$), gate.error($$select * from sentinai.get_events_by_tenant('gate-nobody')$$), 'others are refused alike');
select throws_ok($$select * from sentinai.get_events_by_tenant('gate-b')$$, 'SN403', null, 'by tenant');
select throws_ok($$select * from sentinai.get_events_by_aggregate('gate-b', 'k')$$, 'SN403', null, 'by aggregate');
select throws_ok($$select * from sentinai.get_events_by_exception('gate-b', 'k')$$, 'SN403', null, 'by exception');
select throws_ok($$select * from sentinai.get_trace('k', 'gate-b')$$, 'SN403', null, 'by flow');
select throws_ok($$select * from sentinai.trace_tree('k', 'gate-b')$$, 'SN403', null, 'as a tree');
select throws_ok($$select * from sentinai.flow_events('k', 'gate-b', 10)$$, 'SN403', null, 'and by what is inside of it');
select is((select string_agg(distinct tenant_id, ',') from sentinai.get_trace('k')), 'gate-a', 'a flow over all tenants is one over the caller''s');
select is((select string_agg(distinct tenant_id, ',') from sentinai.trace_tree('k')), 'gate-a', 'as a tree, too');
select is((select string_agg(distinct tenant_id, ',') from sentinai.flow_events('k', null, 10)), 'gate-a', 'and inside');
select is((select string_agg(distinct tenant_id, ',') from sentinai.event_log), 'gate-a', 'the view has the reader''s tenants');
select is((select string_agg(distinct tenant_id, ',') from sentinai.outbox), 'gate-a', 'so has outbox');
reset role;
select cmp_ok((select count(distinct tenant_id) from sentinai.get_trace('k')), '>', 1::bigint, 'the owner sees all tenants of a flow');
create view gate.window as select * from sentinai.outbox;
create view gate.log as select * from sentinai.event_log;
grant select on gate.window, gate.log to gate_app;
set role gate_app;
select is((select string_agg(distinct tenant_id, ',') from gate.window), 'gate-a', 'a view of a superuser over outbox asks about who reads');
select is((select string_agg(distinct tenant_id, ',') from gate.log), 'gate-a', 'and one over the log');
create function pg_temp.peep(t text) returns boolean language plpgsql cost 0.0001 as $$ begin raise notice 'saw %', t; return t = 'gate-a'; end $$;
select lives_ok($$select count(*) from sentinai.event_log where pg_temp.peep(tenant_id) or 1 / (case tenant_id when 'gate-b' then 0 else 1 end) = 1$$,
    'a condition of the query sees no row of others');
prepare gate_read as select string_agg(distinct tenant_id, ',') from sentinai.event_log;
execute gate_read; execute gate_read; execute gate_read; execute gate_read; execute gate_read; execute gate_read;
reset role;
select sentinai.grant_tenant('gate_other', 'gate-b', 'read');
set role gate_other;
create temp table seen as execute gate_read;
select is((select string_agg from seen), 'gate-b', 'a plan that was made for another role shows him nothing more');
drop table seen;
reset role;
deallocate gate_read;

-- Work
select sentinai.subscribe('gate', '{gate.t}', 'earliest');
select sentinai.subscribe('gate-secret', '{gate.t}', 'earliest');
set role gate_agent;
select throws_ok($$select * from sentinai.claim('gate')$$, 'SN403', null, 'nobody claims without a grant');
select is(gate.error($$select * from sentinai.claim('gate-secret')$$), gate.error($$select * from sentinai.claim('gate-nobody')$$), 'a subscription of others is like none');
select is(gate.error($$select sentinai.subscribe('gate-secret', '{gate.t}')$$), gate.error($$select sentinai.subscribe('gate-nobody', '{gate.t}')$$), 'nor can it be changed by subscribe()');
select throws_ok($$select sentinai.unsubscribe('gate-secret')$$, 'SN403', null, 'ended');
select throws_ok($$select sentinai.alter_subscription('gate-secret', max_attempts => 1)$$, 'SN403', null, 'altered');
select throws_ok($$select sentinai.set_retry_policy('gate-secret', 'gate.t', 1, '{1s}')$$, 'SN403', null, 'or have other waits');
select throws_ok($$select sentinai.revoke_lease('gate-secret', 'a')$$, 'SN403', null, 'or be taken from who works');
select throws_ok($$select sentinai.mark_as_processing(gen_random_uuid(), 'gate', 'gate-a')$$, 'SN422', null, 'an id is checked first');
select throws_ok($$select sentinai.mark_as_processing('01930000-0000-7000-8000-000000000000', 'gate', 'gate-a')$$, 'SN403', null, 'nor is its ledger written');
select throws_ok($$select sentinai.mark_as_completed('01930000-0000-7000-8000-000000000000', 'gate', 'gate-a')$$, 'SN403', null, 'in either way');
select throws_ok($$select sentinai.is_already_processed('01930000-0000-7000-8000-000000000000', 'gate')$$, 'SN403', null, 'or read');
select is((select count(*) from sentinai.stat_queue where worker_type like 'gate%'), 0::bigint, 'it is in no view');
reset role;
select ok(sentinai.grant_work('gate_agent', 'gate'), 'work is granted');
set role gate_agent;
select throws_ok($$select * from sentinai.claim('gate')$$, 'SN403', null, 'that is not enough: its events are of every tenant');
reset role;
select sentinai.grant_tenant('gate_agent', 'gate-a', 'work');
set role gate_agent;
select throws_ok($$select * from sentinai.claim('gate')$$, 'SN403', null, 'nor is the right for one of them');
reset role;
select sentinai.grant_tenant('gate_agent', '*', 'work');
select pg_temp.sequenced();
set role gate_agent;
create temp table batch as select * from sentinai.claim('gate', 100);
grant select on batch to public;
select cmp_ok((select count(*) from batch), '>', 5::bigint, 'with both it claims');
select throws_ok($$select * from sentinai.claim('gate-secret')$$, 'SN403', null, 'from that subscription only');
select is((select string_agg(worker_type, ',') from sentinai.stat_queue where worker_type like 'gate%'), 'gate', 'and sees that one');
reset role;
select sentinai.revoke_work('gate_agent', 'gate');
set role gate_agent;
select throws_ok($$select sentinai.complete((select token from batch limit 1))$$, 'SN403', null, 'a token is good for as long as its role may work');
select throws_ok($$select sentinai.extend((select token from batch limit 1), '1 minute')$$, 'SN403', null, 'to extend it, too');
select throws_ok($$select sentinai.release((select token from batch limit 1))$$, 'SN403', null, 'or give it back');
select throws_ok($$select sentinai.fail((select token from batch limit 1), (select event_id from batch limit 1), 'x')$$, 'SN403', null, 'or fail');
reset role;
select sentinai.grant_work('gate_agent', 'gate');
set role gate_agent;
select is(sentinai.fail((select token from batch limit 1), (select event_id from batch where tenant_id = 'gate-b' limit 1), 'canary', false), 'dead', 'an event dies');
select cmp_ok(sentinai.complete((select token from batch limit 1)), '>', 0, 'the others are done');
reset role;

-- Dead letters
set role gate_app;
select is((select count(*) from sentinai.dead_letter where worker_type = 'gate'), 0::bigint, 'a letter of another tenant is not seen');
select is(gate.error(format('select sentinai.retry_dead_letter(%L, %L)', (select event_id from batch where tenant_id = 'gate-b' limit 1), 'gate')),
          gate.error($$select sentinai.retry_dead_letter('01930000-0000-7000-8000-000000000000', 'gate')$$), 'nor told from none');
select is(gate.error(format('select sentinai.discard_dead_letter(%L, %L, %L, %L)', (select event_id from batch where tenant_id = 'gate-b' limit 1), 'gate', 'a', 'r')),
          gate.error($$select sentinai.discard_dead_letter('01930000-0000-7000-8000-000000000000', 'gate', 'a', 'r')$$), 'by who discards');
select is(gate.error(format('select sentinai.give_up_event(%L, %L, %L, %L)', (select event_id from batch where tenant_id = 'gate-b' limit 1), 'gate', 'a', 'r')),
          gate.error($$select sentinai.give_up_event('01930000-0000-7000-8000-000000000000', 'gate', 'a', 'r')$$), 'gives up');
select is(gate.error(format('select sentinai.retry_event(%L, %L)', (select event_id from batch where tenant_id = 'gate-b' limit 1), 'gate')),
          gate.error($$select sentinai.retry_event('01930000-0000-7000-8000-000000000000', 'gate')$$), 'or retries');
select throws_ok($$select sentinai.purge_dead_letters(now())$$, 'SN403', null, 'nobody purges for all');
select throws_ok($$select sentinai.purge_dead_letters(now(), tenant_id => 'gate-b')$$, 'SN403', null, 'or for another');
reset role;
select sentinai.grant_tenant('gate_other', 'gate-b', 'operate');
set role gate_other;
select is((select count(*) from sentinai.dead_letter where worker_type = 'gate'), 1::bigint, 'its operator sees it');
select lives_ok(format('select sentinai.discard_dead_letter(%L, %L, %L, %L)', (select event_id from sentinai.dead_letter where worker_type = 'gate'), 'gate', 'a', 'r'), 'and settles it');
reset role;

-- One tenant for a transaction
create function gate.acting() returns text language sql as $$
    select coalesce(string_agg(t, ' '), 'nobody') from unnest('{gate-a,gate-b,gate-z}'::text[]) t where sentinai.may('read', t) $$;
select throws_ok($$select sentinai.act_as(null)$$, '22004', null, 'act_as() wants a tenant');
select throws_ok($$select sentinai.act_as('')$$, 'SN422', null, 'that is one');
select throws_ok($$select sentinai.act_as('gate-a', '17.abc')$$, 'SN403', null, 'a proof that is none is refused, whoever brings it');
begin;
select sentinai.act_as('gate-a');
select is(gate.acting(), 'gate-a', 'it narrows what an owner may');
select ok(not sentinai.may('read', '*'), 'he may nothing for all');
savepoint s;
select throws_ok($$select sentinai.act_as('gate-b')$$, 'SN403', null, 'it never goes elsewhere');
rollback to s;
select is(gate.acting(), 'gate-a', 'and outlives a savepoint that it was not called in');
select is((select string_agg(distinct tenant_id, ',') from sentinai.event_log), 'gate-a', 'the view shows that tenant');
commit;
select is(gate.acting(), 'gate-a gate-b gate-z', 'it ends with the transaction');
begin;
savepoint s;
select sentinai.act_as('gate-b');
select is(gate.acting(), 'gate-b', 'in a savepoint');
rollback to s;
select is(gate.acting(), 'gate-a gate-b gate-z', 'it ends when that is rolled back');
savepoint t;
select sentinai.act_as('gate-z');
release t;
select is(gate.acting(), 'gate-a gate-b gate-z', 'or released');
rollback;
set role gate_app;
select is(gate.error($$select sentinai.act_as('gate-b')$$), gate.error($$select sentinai.act_as('gate-nobody')$$), 'a foreign tenant and an unknown one are refused alike');
begin;
select sentinai.act_as('gate-a');
select is(gate.acting(), 'gate-a', 'a role acts for a tenant of its own');
rollback;
reset role;
select ok(sentinai.require_proof('gate_app'), 'a role is marked');
set role gate_app;
select throws_ok($$select gate.publish('gate-a')$$, 'SN403', null, 'and may nothing');
select throws_ok($$select sentinai.act_as('gate-a')$$, 'SN403', null, 'without a proof');
select ok(not sentinai.may('read', 'gate-a'), 'that may() knows of');
reset role;
select sentinai.grant_tenant('gate_group', 'gate-b', 'publish');
grant gate_group to gate_app;
set session authorization gate_app;
set role gate_group;
select throws_ok($$select gate.publish('gate-b')$$, 'SN403', null, 'nor as a role that was not marked, if he sets it');
reset role;
create function pg_temp.his_own() returns text language sql security definer as $$ select gate.publish('gate-b') $$;
alter function pg_temp.his_own() owner to gate_group;
select throws_ok('select pg_temp.his_own()', 'SN403', null, 'or makes a function run as it');
reset session authorization;
set role gate_group;
select is(gate.publish('gate-b'), 'published', 'with which others may');
reset role;
create function gate.offered() returns text language sql security definer as $$ select gate.publish('gate-b') $$;
create role gate_owner nologin;
grant usage on schema gate, sentinai to gate_owner;
grant create on schema gate to gate_owner;
grant execute on all functions in schema gate to gate_owner;
grant execute on all functions in schema sentinai to gate_owner;
alter function gate.offered() owner to gate_owner;
select sentinai.grant_tenant('gate_owner', 'gate-b', 'publish');
set session authorization gate_app;
select is(gate.offered(), 'published', 'and so may a function whose owner he cannot become');
reset session authorization;

-- The leader of a parallel query asks like anybody
create table gate.many as select i from generate_series(1, 20000) i;
grant select on gate.many to gate_app;
analyze gate.many;
select sentinai.grant_tenant('gate_app', 'gate-parallel', 'read');
set parallel_setup_cost = 0;
set parallel_tuple_cost = 0;
set min_parallel_table_scan_size = 0;
set role gate_app;
select lives_ok($$select count(*) from gate.many m join sentinai.event_log e on length(e.tenant_id) = m.i$$, 'a view in a parallel query');
reset role;
reset parallel_setup_cost;
reset parallel_tuple_cost;
reset min_parallel_table_scan_size;

-- What all tenants share is not one tenant's operator's
select sentinai.grant_tenant('gate_apart', 'gate-a', 'operate');
set role gate_apart;
select throws_ok($$select sentinai.register_event_type('gate.t', '{"type": "string"}')$$, 'SN403', null, 'the schema that everybody publishes by');
select throws_ok($$select sentinai.deprecate_event_type('gate.t')$$, 'SN403', null, 'what it is by itself');
select throws_ok($$select sentinai.pause_relay()$$, 'SN403', null, 'the relay');
select throws_ok($$select sentinai.resume_relay()$$, 'SN403', null, 'in both directions');
select throws_ok($$select sentinai.pause_relay('relay')$$, 'SN403', null, 'by its name, too');
select throws_ok($$select sentinai.resume_relay('relay')$$, 'SN403', null, 'in both directions');
select throws_ok($$select sentinai.pause_relay('gate-nobody')$$, 'SN403', null, 'nor is he told which there are');
select throws_ok($$select sentinai.make_partitions(now())$$, 'SN403', null, 'partitions');
select throws_ok($$select sentinai.index_partitions()$$, 'SN403', null, 'their indexes');
select throws_ok($$select sentinai.maintain()$$, 'SN403', null, 'maintenance');
select throws_ok($$select sentinai.drop_event_type_version('gate.t', 1)$$, 'SN403', 'the caller may not drop versions of event types', 'versions of types');
reset role;
select sentinai.grant_tenant('gate_apart', '*', 'operate');
set role gate_apart;
select lives_ok($$select sentinai.pause_relay(), sentinai.resume_relay(), sentinai.register_event_type('gate.mine', '{}'),
    sentinai.deprecate_event_type('gate.mine'), sentinai.make_partitions(now()), sentinai.index_partitions(), sentinai.maintain()$$, 'who operates for all may');
reset role;
select sentinai.drop_event_type_version('gate.mine', 1, true);

-- Figures: of the subscriptions whose events he gets, and of no others
create role gate_watch nologin;
grant execute on all functions in schema sentinai to gate_watch;
grant select on all tables in schema sentinai to gate_watch;
select sentinai.subscribe('gate-ours', '{gate.f}', tenants => '{gate-a,gate-b}'), sentinai.subscribe('gate-mine', '{gate.f}', tenants => '{gate-b}'),
    sentinai.subscribe('gate-hers', '{gate.f}', tenants => '{gate-a}');
select sentinai.publish('gate.f', t, 'k', '{}') from unnest('{gate-a,gate-b}'::text[]) t;
select sentinai.grant_work('gate_watch', w) from unnest('{gate-ours,gate-mine}'::text[]) w;
select sentinai.grant_tenant('gate_watch', 'gate-b', r) from unnest('{publish,work,read,operate}'::text[]) r;
do $$ begin
    for i in 1..3000 loop
        exit when (select lag_events >= 2 from sentinai.stat_queue where worker_type = 'gate-ours');
        commit;
        perform pg_sleep(0.01);
    end loop;
end $$;
create temp table gate_subs as select sub_id, worker_type from sentinai_internal.subscription where worker_type in ('gate-ours', 'gate-mine', 'gate-hers');
grant select on gate_subs to public;
create function pg_temp.watched() returns text language sql as $$
    select coalesce(string_agg(worker_type, ' ' order by worker_type), '') from sentinai.stat_queue where worker_type like 'gate-%' $$;
create function pg_temp.counted() returns text language sql as $$
    select coalesce(string_agg(worker_type, ' ' order by worker_type), '') from gate_subs
    where (select sum(events) from sentinai.stat_lag(sub_id, 64)) > 0 $$;
select is(pg_temp.counted(), 'gate-hers gate-mine gate-ours', 'there is something to count');
set role gate_watch;
select is(pg_temp.watched(), 'gate-mine', 'a subscription that he could claim from if it were for other tenants is not shown');
select is(pg_temp.counted(), 'gate-mine', 'nor counted for who asks by its number');
select is((select count(*) from gate_subs s where s.worker_type <> 'gate-mine' and (sentinai.stat_claimed(s.sub_id) is not null or (sentinai.stat_rate(s.sub_id, 1, 1)).completed_per_second is not null)), 0::bigint, 'neither are its agents');
select ok(i.version is not null and num_nulls(i.last_round, i.rounds_count, i.sequenced_count, i.unsequenced_commits, i.retention_wanted, i.retention_blocked_by, i.failing_steps) = 7,
    'what all tenants do together says nothing of others') from sentinai.stat_info i;
select ok(not exists (select from sentinai.stat_relay) and not exists (select from sentinai.stat_relays()), 'a relay of others is not shown');
reset role;
select sentinai.grant_tenant('gate_watch', 'gate-a', 'work');
set role gate_watch;
select is(pg_temp.watched(), 'gate-mine gate-ours', 'who works for all its tenants sees a subscription');
begin;
select sentinai.act_as('gate-b');
select is(pg_temp.watched() || ', ' || pg_temp.counted(), 'gate-mine, gate-mine', 'unless he acts for one of them');
rollback;
reset role;
select sentinai.require_proof('gate_watch');
set role gate_watch;
select is(pg_temp.watched() || pg_temp.counted(), '', 'or has not proved whom he acts for');
reset role;
select sentinai.require_proof('gate_watch', false);

-- What a new subscription for some tenants reads of its past are events of all
select sentinai.subscribe('gate-past', '{gate.f}', 'earliest', tenants => '{gate-b}'), sentinai.grant_work('gate_watch', 'gate-past');
create function pg_temp.past_lag() returns text language sql as $$
    select concat_ws(' ', lag_events is not null, oldest_unfinished_at is not null, lag_seconds is not null,
        (select count(*) from sentinai.stat_lane where worker_type = 'gate-past' and num_nonnulls(lag_events, oldest_unfinished_at) > 0))
    from sentinai.stat_queue where worker_type = 'gate-past' $$;
select cmp_ok(lag_events, '>', 2::bigint, 'it counts with them') from sentinai.stat_queue where worker_type = 'gate-past';
select is(pg_temp.past_lag(), 't t t 64', 'and shows it to who may see all');
set role gate_watch;
select is(pg_temp.past_lag(), 'f f f 0', 'but not to who works for some');
reset role;
call sentinai.wait_for_work('gate-past', '0', null) \gset
do $$ begin
    for i in 1..3000 loop
        exit when (select lag_events = 1 from sentinai.stat_queue where worker_type = 'gate-past');
        perform sentinai.release(min(token)) from sentinai.claim('gate-past', 100) having count(*) > 0;
        perform sentinai.maintain();
        commit;
    end loop;
end $$;
set role gate_watch;
select is((select lag_events from sentinai.stat_queue where worker_type = 'gate-past'), 1::bigint, 'until it has passed those of others');
reset role;

-- Without isolation only a subscription that was granted is somebody's
set sentinai.tenant_isolation = off;
set role gate_app;
select throws_ok($$select * from sentinai.claim('gate')$$, 'SN403', null, 'a subscription that was granted is for those alone');
select lives_ok($$select * from sentinai.claim('gate-secret')$$, 'another one for everybody');
reset role;

drop schema gate cascade;
drop table batch;
drop owned by gate_group, gate_app, gate_other, gate_apart, gate_agent, gate_admin, gate_chief, gate_gone, gate_owner, gate_watch;
drop role gate_watch, gate_owner, gate_other, gate_apart, gate_gone, gate_chief, gate_group, gate_app, gate_agent, gate_admin;
select sentinai.unsubscribe(w) from unnest('{gate,gate-secret,gate-ours,gate-mine,gate-hers}'::text[]) w;

select * from finish();
