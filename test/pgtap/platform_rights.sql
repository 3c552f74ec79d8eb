-- SPDX-License-Identifier: PostgreSQL
-- Who may do what on the platform, and for which tenant.
begin;
create extension sentinai_platform;
select plan(71);
\ir lib/platform.sql

select sentinai_platform.create_roles();
select lives_ok($$select sentinai_platform.create_roles()$$, 'again');
create role pf_pub; create role pf_agent; create role pf_read; create role pf_op; create role pf_none; create role pf_boss;
grant sentinai_publisher to pf_pub;
grant sentinai_agent to pf_agent;
grant sentinai_reader to pf_read;
grant sentinai_operator to pf_op;
grant sentinai_approver to pf_boss;
select sentinai.grant_tenant('pf_pub', 'acme', 'publish'), sentinai.grant_tenant('pf_agent', 'acme', 'work'),
    sentinai.grant_tenant('pf_agent', 'acme', 'publish'), sentinai.grant_tenant('pf_read', 'acme', 'read'), sentinai.grant_tenant('pf_op', 'acme', 'operate'),
    sentinai.grant_work('pf_agent', 'intake'), sentinai.grant_work('pf_agent', 'playbook'), sentinai.grant_work('pf_agent', 'tool'), sentinai.grant_tenant('pf_boss', 'acme', 'operate'), sentinai.grant_tenant('pf_boss', 'acme', 'publish'), sentinai.grant_tenant('pf_boss', 'globex', 'publish');
set local sentinai.tenant_isolation = on;

-- whom the functions are for
create function pg_temp.may(role text) returns text language sql as $$
    select string_agg(p.proname, ' ' order by p.proname) from pg_proc p
    where p.pronamespace = 'sentinai_platform'::regnamespace and obj_description(p.oid, 'pg_proc') not like 'For %' and prorettype <> 'trigger'::regtype
        and has_function_privilege(role, p.oid, 'execute') $$;
select is(pg_temp.may('pf_none'), null, 'nobody may anything unasked');
select is(pg_temp.may('pf_pub'), 'create_manual_exception get_command_status submit_exception', 'who publishes has the commands');
select is(pg_temp.may('pf_agent'), 'add_working_time discard_kafka_dead_letter handle_feedback handle_intake handle_playbook handle_policy handle_tool handle_triage purge_kafka_dead_letters retry_kafka_dead_letter', 'agents have the handlers');
select is(pg_temp.may('sentinai_approver'), 'approve create_manual_exception escalate execute_playbook execute_tool get_command_status recalculate_playbook reject resolve submit_exception', 'who decides has the decisions, too');
select is(pg_temp.may('pf_read'), 'add_working_time get_approval get_command_status get_exception get_feedback get_feedback_metrics get_playbook_execution get_tool_execution list_approvals list_exceptions list_playbook_executions list_tool_executions sla_compliance', 'readers have the queries');
select is(pg_temp.may('pf_op'), 'add_working_time discard_kafka_dead_letter get_command_status purge_kafka_dead_letters put_playbook rebuild_projections rebuild_step subscribe_agents unsubscribe_agents', 'operators the agents and playbooks');
select is((select count(*) from pg_class c where c.relnamespace = 'sentinai_platform'::regnamespace and c.relkind = 'r' and not c.relrowsecurity), 0::bigint, 'every table has rows of tenants');

-- commands
set local role pf_pub;
select lives_ok($$select sentinai_platform.submit_exception('acme', 's', '{"amount": 1}', 'A-1', idempotency_key => 'k')$$, 'a command for the own tenant');
select throws_ok($$select sentinai_platform.submit_exception('globex', 's', '{}')$$, 'SN403', null, 'not for another one');
select is((select count(*) from sentinai_platform.commands), 1::bigint, 'the own commands are seen');
select throws_ok($$update sentinai_platform.commands set status = 'completed'$$, '42501', null, 'and not changed');
select throws_ok($$select count(*) from sentinai_platform.exceptions$$, '42501', null, 'what became of it is for readers');
select throws_ok($$insert into sentinai_platform.commands values (gen_random_uuid(), 'globex', 'x', 'x', 'accepted', null, now(), 'me')$$, '42501', null, 'nothing is noted for another tenant');
reset role;
select lives_ok($$select sentinai_platform.submit_exception('globex', 's', '{}', 'G-1')$$, 'another tenant has one as well');
create temp table globex as select execution_id from sentinai_platform.commands where tenant_id = 'globex';
create temp table batches as select pg_temp.batch('acme') as acme, pg_temp.batch('globex') as globex;
grant select on globex, batches to public;
set local role pf_pub;
select throws_ok($$select * from sentinai_platform.get_command_status((select execution_id from globex))$$, 'SN404', null, 'which is as if it was not there');

-- agents
set local role pf_agent;
select is(sentinai_platform.handle_intake((select acme from batches))::text, '(1,0,0)', 'an agent works for its tenant');
select throws_ok($$select sentinai_platform.handle_intake((select globex from batches))$$, 'SN403', null, 'and not for another one');
select is((select count(*) from sentinai_platform.exceptions), 1::bigint, 'of which it sees nothing');
select throws_ok($$insert into sentinai_platform.exceptions (tenant_id, exception_id, opened_by, state, origin, source, attributes, received_at, changed_at)
    values ('globex', 'x', gen_random_uuid(), 'triaged', 'manual', 's', '{}', now(), now())$$, '42501', null, 'and for which it cannot write');
select throws_ok($$insert into sentinai_platform.triage_rules (tenant_id, rule, condition) values ('acme', 'x', '$.a == 1')$$, '42501', null, 'rules are not for agents');

-- readers
set local role pf_read;
select is(pg_temp.ids($$select * from sentinai_platform.list_exceptions('acme')$$), 'A-1', 'a reader has its tenant');
select throws_ok($$select sentinai_platform.list_exceptions('globex')$$, 'SN403', null, 'and not another one');
select throws_ok($$select sentinai_platform.get_exception('globex', 'G-1')$$, 'SN403', null, 'nor one of it');
select throws_ok($$update sentinai_platform.exceptions set state = 'resolved'$$, '42501', null, 'and changes nothing');

-- playbooks
set local role pf_op;
select is(sentinai_platform.put_playbook('acme', 'p', '[{"tool": "t"}]'), 1, 'an operator makes playbooks of its tenant');
select throws_ok($$select sentinai_platform.put_playbook('globex', 'p', '[{"tool": "t"}]')$$, 'SN403', null, 'not of another one');
select throws_ok($$select sentinai_platform.put_playbook('*', 'p', '[{"tool": "t"}]')$$, 'SN403', null, 'nor for all');
select throws_ok($$update sentinai_platform.playbooks set outcome = 'x'$$, '42501', null, 'and changes none');
select throws_ok($$delete from sentinai_platform.playbook_steps$$, '42501', null, 'nor its steps');
set local role pf_boss;
create temp table runs as select sentinai_platform.execute_playbook('acme', 'A-1', 'p') as id;
grant select on runs to public;
select throws_ok($$select sentinai_platform.execute_playbook('acme', 'A-1', 'p')$$, 'SN409', null, 'who decides has one executed');
select throws_ok($$select sentinai_platform.execute_playbook('globex', 'G-1', 'p')$$, 'SN404', null, 'where it may operate');
select throws_ok($$select sentinai_platform.recalculate_playbook('initech', 'G-1')$$, 'SN403', null, 'as with the guardrails');
reset role;
create temp table matched as select pg_temp.batch('acme', '{PlaybookMatched}') as acme;
grant select on matched to public;
set local role pf_agent;
select is(sentinai_platform.handle_playbook((select acme from matched))::text, '(1,0,0)', 'an agent begins it');
select is((select count(*) from sentinai_platform.step_executions), 1::bigint, 'with its step');
select throws_ok($$select sentinai_platform.put_playbook('acme', 'p', '[{"tool": "t"}]')$$, '42501', null, 'playbooks are not for agents');
set local role pf_read;
select is((select jsonb_array_length(steps) from sentinai_platform.get_playbook_execution('acme', (select id from runs))), 1, 'a reader sees it');
select throws_ok($$select sentinai_platform.list_playbook_executions('globex')$$, 'SN403', null, 'and none of another tenant');

-- decisions
reset role;
select is(sentinai_platform.handle_intake((select globex from batches))::text, '(1,0,0)', 'another tenant has an exception');
set local role pf_boss;
select throws_ok($$select sentinai_platform.resolve('globex', 'G-1', 'done')$$, 'SN404', null, 'who may only publish for a tenant decides nothing for it');
select throws_ok($$select sentinai_platform.resolve('initech', 'I-1', 'done')$$, 'SN403', null, 'nor who may not even that');
select lives_ok($$select sentinai_platform.resolve('acme', 'A-1', 'done', resolved_by => 'mia')$$, 'who may operate, too, decides');
select throws_ok($$update sentinai_platform.exceptions set severity = 'low'$$, '42501', null, 'and changes nothing else');
set local role pf_pub;
select throws_ok($$select sentinai_platform.escalate('acme', 'A-1', 'x')$$, '42501', null, 'decisions are not for all publishers');

-- rebuilding
reset role;
grant sentinai_reader to pf_op;
set local role pf_op;
select throws_ok($$call sentinai_platform.rebuild_projections('acme')$$, 'SN403', null, 'who may not read a tenant does not rebuild it');
reset role;
select sentinai.grant_tenant('pf_op', 'acme', 'read');
insert into before select pg_temp.read_models();
delete from sentinai_platform.exceptions where tenant_id = 'acme';
set local role pf_op;
select ok(pg_temp.rebuilt('acme') > 1, 'who may read and operate does');
select throws_ok($$select pg_temp.rebuilt('globex')$$, 'SN403', null, 'not for another tenant');
reset role;
select is_empty($$select * from pg_temp.diff() d where d ~ ' (exceptions|approvals|feedback)'$$, 'and the rows are there again');

-- rules
set local role pf_op;
select lives_ok($$insert into sentinai_platform.triage_rules (tenant_id, rule, condition) values ('acme', 'x', '$.a == 1')$$, 'an operator writes rules of its tenant');
select is((select changed_by from sentinai_platform.triage_rules), session_user::text collate "C", 'which says who had logged in');
select is_empty($$select attrelid::regclass, pg_get_expr(d.adbin, adrelid) from pg_attrdef d join pg_attribute a on attrelid = adrelid and attnum = adnum
    where attrelid::regclass::text ~ '^sentinai_platform\.' and pg_get_expr(d.adbin, adrelid) ~* 'current_user'$$, 'as all of its columns do');
select throws_ok($$insert into sentinai_platform.triage_rules (tenant_id, rule, condition, changed_by) values ('acme', 'y', '$.a == 1', 'me')$$, '42501', null, 'and nobody says it for another');
select throws_ok($$insert into sentinai_platform.mapping_rules (tenant_id, field, pointers) values ('*', 'x', '{/x}')$$, '42501', null, 'not for all');
select throws_ok($$update sentinai_platform.triage_rules set tenant_id = 'globex'$$, '42501', null, 'nor by way of the own');
reset role;
insert into sentinai_platform.mapping_rules (tenant_id, field, pointers) values ('*', 'x', '{/x}'), ('globex', 'x', '{/x}');
set local role pf_op;
select is((select string_agg(tenant_id, ',') from sentinai_platform.mapping_rules), '*', 'those for all are seen, those of others are not');
reset role;

-- tools
set local role pf_op;
select lives_ok($$insert into sentinai_platform.tools (tenant_id, tool, kind, settings) values ('acme', 'pay', 'webhook', '{"url": "https://bank.example/pay", "secret_headers": {"Authorization": "bank"}}'), ('acme', 'own', 'update_field', '{"fields": ["severity"]}')$$, 'an operator writes the tools of its tenant');
select throws_ok($$insert into sentinai_platform.tools (tenant_id, tool, kind, settings) values ('*', 'pay', 'webhook', '{"url": "https://bank.example/pay"}')$$, '42501', null, 'and not those for all, whose secrets are not its own');
select throws_ok($$insert into sentinai_platform.allowed_hosts (tenant_id, host) values ('acme', 'bank.example')$$, '42501', null, 'where they may call is not for a tenant to say');
select throws_ok($$update sentinai_platform.tool_breakers set state = 'closed'$$, '42501', null, 'nor how they stand');
reset role;
select sentinai.grant_tenant('pf_op', '*', 'operate');
set local role pf_op;
select lives_ok($$insert into sentinai_platform.allowed_hosts (tenant_id, host) values ('acme', 'bank.example'), ('globex', 'other.example')$$, 'but for who may operate for all');
reset role;
select sentinai.revoke_tenant('pf_op', '*', 'operate');
select sentinai_platform.submit_exception('acme', 's', '{}', 'A-2');
select sentinai_platform.handle_intake((select jsonb_agg(e) from jsonb_array_elements(pg_temp.batch('acme')) e where e ->> 'aggregate_id' = 'A-2'));
set local role pf_boss;
select lives_ok($$select sentinai_platform.execute_tool('acme', 'A-2', 'own', '{"field": "severity", "value": "low"}'), sentinai_platform.execute_tool('acme', 'A-2', 'pay')$$, 'who decides has tools called');
select throws_ok($$select sentinai_platform.execute_tool('globex', 'G-1', 'pay')$$, 'SN404', null, 'for its own tenant');
reset role;
create temp table asked as select pg_temp.batch('acme', '{ToolExecutionRequested}') as batch;
grant select on asked to public;
set local role pf_agent;
select is((select string_agg(host || networks || coalesce(result ->> 'error', ''), ',') from sentinai_platform.prepare('tool', (select batch from asked))), 'bank.example', 'an agent learns what it has to call');
select is(sentinai_platform.handle_tool((select jsonb_agg(e || '{"result": {"status": 503}}') from asked, jsonb_array_elements(batch) e where e #>> '{payload,tool}' = 'pay'))::text, '(1,0,0)', 'says what came of it');
select is(sentinai_platform.handle_tool((select jsonb_agg(e) from asked, jsonb_array_elements(batch) e where e #>> '{payload,tool}' = 'own'))::text, '(1,0,0)', 'and does what needs no call');
select throws_ok($$update sentinai_platform.tools set kind = 'wait'$$, '42501', null, 'but changes no tool');
reset role;
select is((select severity from sentinai_platform.exceptions where exception_id = 'A-2'), 'low', 'so is the exception');
select is(sentinai_platform.handle_tool(pg_temp.batch('acme', '{ToolExecutionCompleted,ToolExecutionFailed}'))::text, '(2,0,0)', 'outcomes are read back');
set local role pf_read;
select is((select string_agg(tool || ' ' || status, ', ' order by tool) from sentinai_platform.list_tool_executions('acme') where tool in ('own', 'pay')), 'own completed, pay failed', 'a reader sees executions');
select is((select tool || ' ' || state || ' ' || failures from sentinai_platform.stat_tools), 'pay closed 1', 'and the breakers');
select throws_ok($$select sentinai_platform.list_tool_executions('globex')$$, 'SN403', null, 'of its tenant');
reset role;

select * from finish();
rollback;
