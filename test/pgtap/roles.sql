-- SPDX-License-Identifier: PostgreSQL
-- create_roles(): every function of the API is some role's, and what a role has
-- is enough for its work.
select plan(24);
begin;
select lives_ok($$select sentinai.create_roles()$$, 'the roles are made');
select lives_ok($$select sentinai.create_roles()$$, 'and once more');
-- Functions that applications call.  A comment that begins with "For " says that one
-- is for the extension itself.
create temp view api as
select p.oid, p.proname from pg_proc p
where p.pronamespace = 'sentinai'::regnamespace and p.prorettype not in ('trigger'::regtype, 'fdw_handler'::regtype)
      and coalesce(obj_description(p.oid, 'pg_proc'), '') not like 'For %'
      and not exists (select from aclexplode(p.proacl) a where a.grantee = 0);
select is((select coalesce(string_agg(a.proname, ' ' order by a.proname), '') from api a
           where not has_function_privilege('sentinai_admin', a.oid, 'execute')
                 -- they are for maintenance and for triggers of others
                 and a.proname not in ('set_relay_paused', 'wake_relay', 'wake_launcher', 'recovery_id')),
          '', 'every function of the API is somebody''s');
select is((select coalesce(string_agg(c.relname, ' ' order by c.relname), '') from pg_class c
           where c.relnamespace = 'sentinai'::regnamespace and c.relkind in ('v', 'f')
                 and not has_table_privilege('sentinai_admin', c.oid, 'select')), '', 'so is every view');
-- the gate would ask about its owner
select is((select coalesce(string_agg(oid::regprocedure::text, ' '), '') from pg_proc where pronamespace = 'sentinai'::regnamespace and prosecdef), '', 'no function runs as another role');
create function pg_temp.has(role text) returns text language sql as $$
    select coalesce(string_agg(a.proname, ' ' order by a.proname), '') from api a
    where has_function_privilege(role, a.oid, 'execute') $$;
select is(pg_temp.has('sentinai_publisher'), 'cancel_deadline meet_deadline publish publish_batch publish_events redacted_error redacted_payload set_deadline work_on', 'a publisher publishes, and sets deadlines');
select is(pg_temp.has('sentinai_reader'), 'describe_event_type get_events_by_aggregate get_events_by_exception get_events_by_tenant get_trace json_schema trace_tree', 'a reader reads');
select is(pg_temp.has('sentinai_auditor'), 'audit_proof audit_trail verify_audit', 'an auditor verifies');
select ok(not has_function_privilege('sentinai_operator', 'sentinai.grant_tenant(name,text,text)', 'execute'), 'an operator grants nothing');
select ok(not has_schema_privilege('sentinai_admin', 'sentinai_internal', 'usage'), 'nobody sees the tables');
select is((select string_agg(role::text || ' ' || tenant_id || ' ' || "right", ',') from sentinai.tenant_grants where role::text like 'sentinai%'),
          'sentinai_admin * admin', 'admin is what has a right for tenants');

-- Who is admin and owns nothing has all of it granted by the owner.
create temp view granted as
select o.name, a.grantor::regrole, a.grantee::regrole, a.privilege_type from (
    select oid::regprocedure::text as name, proacl as acl from pg_proc where pronamespace = 'sentinai'::regnamespace
    union all select oid::regclass::text, relacl from pg_class where relnamespace = 'sentinai'::regnamespace
    union all select nspname::text, nspacl from pg_namespace where nspname = 'sentinai') o, aclexplode(o.acl) a
where a.grantee in (select oid from pg_roles where rolname like 'sentinai%');
create temp table granted_before as select * from granted;
create role roles_admin nologin in role sentinai_admin;
revoke all on all routines in schema sentinai from sentinai_publisher, sentinai_agent, sentinai_reader, sentinai_operator, sentinai_auditor, sentinai_relay;
revoke all on all tables in schema sentinai from sentinai_publisher, sentinai_agent, sentinai_reader, sentinai_operator, sentinai_auditor, sentinai_relay;
revoke usage on schema sentinai from sentinai_publisher, sentinai_agent, sentinai_reader, sentinai_operator, sentinai_auditor, sentinai_relay;
revoke execute on function sentinai.drop_redaction(text, text, text) from sentinai_admin;
select ok(pg_temp.has('sentinai_agent') = '' and not has_function_privilege('sentinai_admin', 'sentinai.drop_redaction(text,text,text)', 'execute'), 'grants are gone');
set local role roles_admin;
select lives_ok($$select sentinai.create_roles()$$, 'a member of sentinai_admin makes the roles');
select is(current_user, 'roles_admin', 'and is nobody else after that');
reset role;
select is_empty($$(select * from granted_before except select * from granted) union all (select * from granted except select * from granted_before)$$,
          'every grant is back, of the same owner');
-- What is not the extension's takes rights of one's own.
revoke sentinai_relay from sentinai_admin;
set local role roles_admin;
select throws_ok($$select sentinai.create_roles()$$, '42501', null, 'a membership takes the right to give it');
reset role;
alter role sentinai_relay rename to roles_relay;
set local role roles_admin;
select throws_ok($$select sentinai.create_roles()$$, '42501', null, 'a role takes the right to make one');
reset role;
alter role roles_relay rename to sentinai_relay;
grant sentinai_relay to sentinai_admin;
create role roles_nobody nologin;
grant usage on schema sentinai to roles_nobody;
grant execute on function sentinai.create_roles() to roles_nobody;
set local role roles_nobody;
select throws_ok($$select sentinai.create_roles()$$, '42501', null, 'the right to execute it is not enough');
reset role;

-- Their work
create role roles_one nologin in role sentinai_publisher, sentinai_agent;
create role roles_two nologin in role sentinai_operator, sentinai_reader, sentinai_auditor;
select sentinai.grant_tenant('roles_one', 'roles', 'publish'), sentinai.grant_tenant('roles_two', 'roles', 'read'), sentinai.grant_tenant('roles_two', '*', 'operate');
set local sentinai.tenant_isolation = on;
set local role roles_one;
select lives_ok($$select sentinai.publish('roles.t', 'roles', 'k', '{}')$$, 'one publishes');
select lives_ok($$insert into sentinai.outbox (tenant_id, type, payload) values ('roles', 'roles.t', '{}')$$, 'by outbox, too');
reset role;
set local role roles_two;
select is((select count(*) from sentinai.get_events_by_tenant('roles')), 2::bigint, 'another one reads it');
select is((select count(*) from sentinai.event_log), 2::bigint, 'in the view, too');
select lives_ok($$select sentinai.subscribe('roles')$$, 'who operates subscribes');
select ok(exists (select from sentinai.stat_queue where worker_type = 'roles') and exists (select from sentinai.stat_info), 'and sees the statistics');
reset role;

select * from finish();
rollback;
