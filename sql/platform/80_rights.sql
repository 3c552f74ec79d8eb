-- Rights. Functions run with the rights of who calls them, so the core asks of
-- each what it asks of everybody. Rows are those of tenants that the caller has
-- a right for; "sentinai.tenant_isolation" says whether that counts.
do $policies$
declare
    p record;
begin
    for p in
        select * from (values
            ('allowed_hosts', 'select', '{read,work,operate}', true),
            ('approvals', 'select', '{read,work,operate}', false),
            ('approvals', 'insert', '{work,operate}', false),
            ('approvals', 'update', '{work,operate}', false),
            ('approvals', 'delete', '{operate}', false),
            ('calendar_holidays', 'select', '{read,work,operate}', true),
            ('calendar_holidays', 'all', '{operate}', false),
            ('calendar_hours', 'select', '{read,work,operate}', true),
            ('calendar_hours', 'all', '{operate}', false),
            ('calendars', 'select', '{read,work,operate}', true),
            ('calendars', 'all', '{operate}', false),
            ('commands', 'select', '{read,publish,work,operate}', false),
            ('commands', 'insert', '{publish,operate}', false),
            ('commands', 'update', '{work}', false),
            ('exceptions', 'select', '{read,work,operate}', false),
            ('exceptions', 'insert', '{work,operate}', false),
            ('exceptions', 'update', '{work,operate}', false),
            ('feedback', 'select', '{read,work,operate}', false),
            ('feedback', 'insert', '{work,operate}', false),
            ('feedback', 'delete', '{operate}', false),
            ('feedback_metrics', 'select', '{read,work,operate}', false),
            ('feedback_metrics', 'insert', '{work,operate}', false),
            ('feedback_metrics', 'update', '{work,operate}', false),
            ('feedback_metrics', 'delete', '{operate}', false),
            ('guardrails', 'select', '{read,work,operate}', true),
            ('guardrails', 'all', '{operate}', false),
            ('kafka_dead_letters', 'select', '{read,work,operate}', false),
            ('kafka_dead_letters', 'insert', '{work}', false),
            ('kafka_dead_letters', 'update', '{work,operate}', false),
            ('kafka_dead_letters', 'delete', '{work,operate}', false),
            ('mapping_rules', 'select', '{read,work,operate}', true),
            ('mapping_rules', 'all', '{operate}', false),
            ('playbook_executions', 'select', '{read,work,operate}', false),
            ('playbook_executions', 'insert', '{work,operate}', false),
            ('playbook_executions', 'update', '{work,operate}', false),
            ('playbook_executions', 'delete', '{operate}', false),
            ('playbook_steps', 'select', '{read,work,operate}', true),
            ('playbook_steps', 'insert', '{operate}', false),
            ('playbooks', 'select', '{read,work,operate}', true),
            ('playbooks', 'insert', '{operate}', false),
            ('rebuilds', 'select', '{read}', false),
            ('rebuilds', 'all', '{operate}', false),
            ('sla_rules', 'select', '{read,work,operate}', true),
            ('sla_rules', 'all', '{operate}', false),
            ('step_executions', 'select', '{read,work,operate}', false),
            ('step_executions', 'insert', '{work,operate}', false),
            ('step_executions', 'update', '{work,operate}', false),
            ('step_executions', 'delete', '{operate}', false),
            ('tool_breakers', 'select', '{read,work,operate}', false),
            ('tool_breakers', 'insert', '{work}', false),
            ('tool_breakers', 'update', '{work}', false),
            ('tool_executions', 'select', '{read,work,operate}', false),
            ('tool_executions', 'insert', '{work,operate}', false),
            ('tool_executions', 'update', '{work,operate}', false),
            ('tools', 'select', '{read,work,operate}', true),
            ('tools', 'all', '{operate}', false),
            ('triage_rules', 'select', '{read,work,operate}', true),
            ('triage_rules', 'all', '{operate}', false)
        ) v (tab, command, rights, shared)
    loop
        execute format('alter table sentinai_platform.%I enable row level security', p.tab);
        execute format('create policy %I on sentinai_platform.%I for %s %s', p.command || '_rows', p.tab, p.command,
            case p.command when 'insert' then 'with check' else 'using' end || ' ('
            || case when p.shared then 'tenant_id = ''*'' or ' else '' end
            || (select string_agg(format('sentinai.may(%L, tenant_id)', r), ' or ' order by n)
                from unnest(p.rights::text[]) with ordinality u (r, n)) || ')');
        execute format('comment on policy %I on sentinai_platform.%I is %L', p.command || '_rows', p.tab,
            'Rows of tenants that the caller has such a right for.');
    end loop;
    -- a host is reached from where the agent runs, so it is nobody's own
    create policy all_rows on sentinai_platform.allowed_hosts using (sentinai.may('operate', '*'));
    comment on policy all_rows on sentinai_platform.allowed_hosts is 'Who may operate for every tenant.';
end $policies$;

create function sentinai_platform.create_roles() returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    g record;
begin
    perform sentinai.create_roles();
    if to_regrole('sentinai_approver') is null then
        create role sentinai_approver nologin;
    end if;
    for g in
        select v.role, v.member from (values
            ('sentinai_approver', 'sentinai_admin'),
            ('sentinai_publisher', 'sentinai_approver')
        ) v (role, member)
        where not exists (select from pg_auth_members m where m.roleid = v.role::regrole and m.member = v.member::regrole)
    loop
        execute format('grant %I to %I', g.role, g.member);
    end loop;
    grant usage on schema sentinai_platform to sentinai_publisher, sentinai_agent, sentinai_reader, sentinai_operator, sentinai_approver;
    for g in
        select p.oid::regprocedure as name, 'sentinai_' || r as role
        from (values
            ('accept_command', '{publisher}'),
            ('add_working_time', '{agent,reader,operator}'),
            ('advance', '{agent}'),
            ('agents', '{agent,operator}'),
            ('answer_request', '{agent}'),
            ('answer_tools', '{agent}'),
            ('apply_batch', '{agent}'),
            ('apply_decisions', '{agent}'),
            ('apply_feedback', '{agent}'),
            ('apply_guardrails', '{agent}'),
            ('apply_intake', '{agent}'),
            ('apply_playbook', '{agent}'),
            ('apply_policy', '{agent}'),
            ('apply_tool', '{agent}'),
            ('apply_triage', '{agent}'),
            ('approve', '{approver}'),
            ('assess', '{agent}'),
            ('calls_again', '{agent}'),
            ('cancel_approvals', '{agent,approver}'),
            ('check_builtin', '{operator}'),
            ('check_headers', '{operator}'),
            ('check_playbook', '{operator}'),
            ('check_range', '{operator}'),
            ('check_setting', '{operator}'),
            ('check_webhook', '{operator}'),
            ('close_exception', '{approver}'),
            ('complete_commands', '{agent}'),
            ('convert_value', '{agent}'),
            ('count_feedback', '{agent,operator}'),
            ('create_manual_exception', '{publisher}'),
            ('deadline_of', '{agent}'),
            ('decide', '{approver}'),
            ('discard_kafka_dead_letter', '{agent,operator}'),
            ('end_executions', '{agent,operator,approver}'),
            ('escalate', '{approver}'),
            ('evaluate', '{agent}'),
            ('event_row', '{agent,approver}'),
            ('exception_document', '{agent}'),
            ('exception_id_for', '{publisher}'),
            ('exception_of', '{agent}'),
            ('execute_playbook', '{approver}'),
            ('execute_tool', '{approver}'),
            ('execution_document', '{agent}'),
            ('expire_approvals', '{agent}'),
            ('expire_kafka_dead_letters', '{agent,operator}'),
            ('fail_command', '{agent}'),
            ('fail_record', '{agent}'),
            ('fill_in', '{agent}'),
            ('find_answers', '{agent}'),
            ('finish', '{agent}'),
            ('first_id', '{reader}'),
            ('get_approval', '{reader}'),
            ('get_command_status', '{publisher,reader,operator}'),
            ('get_exception', '{reader}'),
            ('get_feedback', '{reader}'),
            ('get_feedback_metrics', '{reader}'),
            ('get_playbook_execution', '{reader}'),
            ('get_tool_execution', '{reader}'),
            ('give_up_record', '{agent}'),
            ('handle', '{agent}'),
            ('handle_each', '{agent}'),
            ('handle_feedback', '{agent}'),
            ('handle_intake', '{agent}'),
            ('handle_playbook', '{agent}'),
            ('handle_policy', '{agent}'),
            ('handle_record_set', '{agent}'),
            ('handle_records', '{agent}'),
            ('handle_set', '{agent}'),
            ('handle_tool', '{agent}'),
            ('handle_triage', '{agent}'),
            ('has_variable', '{operator}'),
            ('history_of', '{operator}'),
            ('is_fault_of_event', '{agent,operator}'),
            ('judge', '{agent}'),
            ('judge_result', '{agent}'),
            ('limit_time', '{agent}'),
            ('list_approvals', '{reader}'),
            ('list_exceptions', '{reader}'),
            ('list_playbook_executions', '{reader}'),
            ('list_tool_executions', '{reader}'),
            ('lock_exceptions', '{agent}'),
            ('lock_known', '{agent}'),
            ('lock_state', '{approver}'),
            ('map_fields', '{agent}'),
            ('map_value', '{agent}'),
            ('next_turns', '{agent}'),
            ('normalize', '{agent}'),
            ('note_breakers', '{agent}'),
            ('note_failure', '{agent}'),
            ('open_executions', '{agent,operator,approver}'),
            ('placeholders', '{agent,operator}'),
            ('pointer_path', '{agent,operator}'),
            ('prepare', '{agent}'),
            ('prepare_calls', '{agent}'),
            ('prepare_records', '{agent}'),
            ('project_approvals', '{agent,operator,approver}'),
            ('project_end', '{agent,operator,approver}'),
            ('project_exceptions', '{agent,operator,approver}'),
            ('project_executions', '{agent,operator,approver}'),
            ('project_feedback', '{agent,operator}'),
            ('project_normalized', '{agent,operator}'),
            ('project_playbooks', '{agent,operator,approver}'),
            ('project_progress', '{agent,operator}'),
            ('project_sla', '{agent,operator}'),
            ('project_step_executions', '{agent,operator}'),
            ('project_steps_done', '{agent,operator}'),
            ('project_strays', '{agent}'),
            ('project_tools', '{agent,operator}'),
            ('project_updates', '{operator}'),
            ('publish_answers', '{agent}'),
            ('publish_events', '{agent}'),
            ('purge_kafka_dead_letters', '{agent,operator}'),
            ('put_playbook', '{operator}'),
            ('read_batch', '{agent,operator,approver}'),
            ('read_histories', '{operator}'),
            ('read_record', '{agent}'),
            ('read_records', '{agent}'),
            ('read_response', '{agent}'),
            ('rebuild_exceptions', '{operator}'),
            ('rebuild_metrics', '{operator}'),
            ('rebuild_projections', '{operator}'),
            ('rebuild_step', '{operator}'),
            ('recalculate_playbook', '{approver}'),
            ('record_answers', '{agent}'),
            ('recount_day', '{operator}'),
            ('refuse', '{publisher,agent,operator}'),
            ('reject', '{approver}'),
            ('replay', '{operator}'),
            ('replay_each', '{operator}'),
            ('replay_exceptions', '{operator}'),
            ('require_open', '{approver}'),
            ('require_page', '{reader}'),
            ('require_read', '{reader,operator}'),
            ('reset_exceptions', '{operator}'),
            ('resolve', '{approver}'),
            ('retry_kafka_dead_letter', '{agent}'),
            ('run_builtin', '{agent}'),
            ('set_deadlines', '{agent}'),
            ('settle', '{agent}'),
            ('settle_letter', '{agent,operator}'),
            ('settle_records', '{agent}'),
            ('settle_tools', '{agent}'),
            ('sla_compliance', '{reader}'),
            ('start_rebuild', '{operator}'),
            ('start_wait', '{agent}'),
            ('submit_exception', '{publisher}'),
            ('subscribe_agents', '{operator}'),
            ('take_trials', '{agent}'),
            ('template_fault', '{agent}'),
            ('tenant_of_key', '{agent}'),
            ('tool_events', '{agent,operator}'),
            ('tool_requests', '{agent}'),
            ('types_of', '{agent,operator,approver}'),
            ('under_way', '{agent,operator,approver}'),
            ('unescape_path', '{agent,operator}'),
            ('unsubscribe_agents', '{operator}'),
            ('update_fields', '{agent,operator}'),
            ('update_of', '{agent}'),
            ('url_encode', '{agent}'),
            ('url_parts', '{agent,operator}'),
            ('waves', '{agent,operator,approver}'),
            ('what_failed', '{agent}'),
            ('working_hours', '{agent,reader,operator}'),
            ('write_step', '{operator}')
        ) v (name, roles)
        join pg_proc p on p.pronamespace = 'sentinai_platform'::regnamespace and p.proname = v.name
        cross join unnest(v.roles::text[]) r
    loop
        execute format('grant execute on routine %s to %I', g.name, g.role);
    end loop;
    for g in
        select * from (values
            ('allowed_hosts', 'agent', 'select'),
            ('allowed_hosts', 'operator', 'delete'),
            ('approvals', 'agent', 'select, insert, update'),
            ('approvals', 'operator', 'insert, update, delete'),
            ('approvals', 'approver', 'select, update (status, execution_id, decided_at, decided_by, comment)'),
            ('calendar_holidays', 'agent', 'select'),
            ('calendar_holidays', 'operator', 'delete'),
            ('calendar_hours', 'agent', 'select'),
            ('calendar_hours', 'operator', 'delete'),
            ('calendars', 'agent', 'select'),
            ('calendars', 'operator', 'delete'),
            ('commands', 'publisher', 'select, insert'),
            ('commands', 'agent', 'select, update (status, error, finished_at)'),
            ('exceptions', 'agent', 'select, insert, update'),
            ('exceptions', 'operator', 'insert, update'),
            ('exceptions', 'approver', 'select, update (state, outcome, closed_at, sla, changed_at, playbook)'),
            ('feedback', 'agent', 'select, insert'),
            ('feedback', 'operator', 'insert, update, delete'),
            ('feedback_metrics', 'agent', 'select, insert, update'),
            ('feedback_metrics', 'operator', 'insert, update, delete'),
            ('guardrails', 'agent', 'select'),
            ('guardrails', 'operator', 'delete'),
            ('kafka_dead_letters', 'agent', 'select, insert, update (status, settled_at, settled_by, settled_because), delete'),
            ('kafka_dead_letters', 'operator', 'update (status, settled_at, settled_by, settled_because), delete'),
            ('mapping_rules', 'agent', 'select'),
            ('mapping_rules', 'operator', 'delete'),
            ('playbook_executions', 'agent', 'select, insert, update'),
            ('playbook_executions', 'operator', 'insert, update, delete'),
            ('playbook_executions', 'approver', 'select, insert, update (state, reason, changed_at, ended_at)'),
            ('playbook_steps', 'agent', 'select'),
            ('playbook_steps', 'operator', 'insert'),
            ('playbooks', 'agent', 'select'),
            ('playbooks', 'operator', 'insert (tenant_id, playbook, version, steps, outcome, description)'),
            ('playbooks', 'approver', 'select'),
            ('rebuilds', 'operator', 'insert, update'),
            ('sla_rules', 'agent', 'select'),
            ('sla_rules', 'operator', 'delete'),
            ('step_executions', 'agent', 'select, insert, update'),
            ('step_executions', 'operator', 'insert, update, delete'),
            ('step_executions', 'approver', 'select, update (state, ended_at)'),
            ('tool_breakers', 'agent', 'select, insert, update'),
            ('tool_executions', 'agent', 'select, insert, update'),
            ('tool_executions', 'operator', 'insert, update'),
            ('tools', 'agent', 'select'),
            ('tools', 'operator', 'delete'),
            ('tools', 'approver', 'select'),
            ('triage_rules', 'agent', 'select'),
            ('triage_rules', 'operator', 'delete')
        ) v (tab, role, rights)
    loop
        execute format('grant %s on sentinai_platform.%I to %I', g.rights, g.tab, 'sentinai_' || g.role);
    end loop;
    grant select on all tables in schema sentinai_platform to sentinai_reader, sentinai_operator;
    -- who wrote a rule, and when, is not for the writer to say
    for g in
        select a.attrelid::regclass as name, string_agg(quote_ident(a.attname), ', ' order by a.attnum) as columns
        from pg_attribute a
        where a.attrelid = any ('{
              sentinai_platform.allowed_hosts,
              sentinai_platform.calendar_holidays,
              sentinai_platform.calendar_hours,
              sentinai_platform.calendars,
              sentinai_platform.guardrails,
              sentinai_platform.mapping_rules,
              sentinai_platform.sla_rules,
              sentinai_platform.tools,
              sentinai_platform.triage_rules
              }'::regclass[])
              and a.attnum > 0 and not a.attisdropped and a.attname not in ('changed_at', 'changed_by')
        group by a.attrelid
    loop
        execute format('grant insert (%1$s), update (%1$s) on %2$s to sentinai_operator', g.columns, g.name);
    end loop;
end $$;
comment on function sentinai_platform.create_roles() is 'Calls create_roles() of the core, and grants its roles what each needs of the platform: sentinai_publisher the commands, sentinai_agent the handlers, sentinai_reader the queries, sentinai_approver, which it makes and which is a publisher, too, the decisions, sentinai_operator the rules and subscriptions. sentinai_admin has all of it. Call it again after an update of either extension. Errors: as create_roles() of the core.';

-- What ALTER DEFAULT PRIVILEGES, or a schema that was there before, gave
-- somebody is taken back.
do $grants$
declare
    g record;
begin
    for g in
        select distinct o.kind, o.name, a.grantee
        from (select 'table', c.oid::regclass::text, c.relowner, c.relacl from pg_class c
              where c.relnamespace = 'sentinai_platform'::regnamespace and c.relkind in ('r', 'v')
              union all
              select 'routine', p.oid::regprocedure::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
              from pg_proc p where p.pronamespace = 'sentinai_platform'::regnamespace
              union all
              select 'schema', n.nspname::text, n.nspowner, n.nspacl from pg_namespace n where n.nspname = 'sentinai_platform'
             ) o (kind, name, owner, acl)
        cross join lateral aclexplode(o.acl) a
        where a.grantee <> o.owner
    loop
        execute format('revoke all on %s %s from %s cascade', g.kind, g.name,
            case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end);
    end loop;
end $grants$;
