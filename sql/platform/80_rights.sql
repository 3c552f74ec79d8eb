-- Rights. Functions run with the rights of who calls them, so the core asks of
-- each what it asks of everybody. Rows are those of tenants that the caller has
-- a right for; "sentinai.tenant_isolation" says whether that counts.
do $policies$
declare
    p record;
begin
    for p in
        select * from (values
            ('exceptions', 'select', '{read,work,operate}', false),
            ('exceptions', 'insert', '{work,operate}', false),
            ('exceptions', 'update', '{work,operate}', false),
            ('commands', 'select', '{read,publish,work,operate}', false),
            ('commands', 'insert', '{publish,operate}', false),
            ('commands', 'update', '{work}', false),
            ('mapping_rules', 'select', '{read,work,operate}', true),
            ('mapping_rules', 'all', '{operate}', false),
            ('triage_rules', 'select', '{read,work,operate}', true),
            ('triage_rules', 'all', '{operate}', false),
            ('sla_rules', 'select', '{read,work,operate}', true),
            ('sla_rules', 'all', '{operate}', false),
            ('guardrails', 'select', '{read,work,operate}', true),
            ('guardrails', 'all', '{operate}', false),
            ('calendars', 'select', '{read,work,operate}', true),
            ('calendars', 'all', '{operate}', false),
            ('calendar_hours', 'select', '{read,work,operate}', true),
            ('calendar_hours', 'all', '{operate}', false),
            ('calendar_holidays', 'select', '{read,work,operate}', true),
            ('calendar_holidays', 'all', '{operate}', false),
            ('approvals', 'select', '{read,work,operate}', false),
            ('approvals', 'insert', '{work,operate}', false),
            ('approvals', 'update', '{work,operate}', false),
            ('approvals', 'delete', '{operate}', false),
            ('playbooks', 'select', '{read,work,operate}', true),
            ('playbooks', 'insert', '{operate}', false),
            ('playbook_steps', 'select', '{read,work,operate}', true),
            ('playbook_steps', 'insert', '{operate}', false),
            ('playbook_executions', 'select', '{read,work,operate}', false),
            ('playbook_executions', 'insert', '{work,operate}', false),
            ('playbook_executions', 'update', '{work,operate}', false),
            ('playbook_executions', 'delete', '{operate}', false),
            ('step_executions', 'select', '{read,work,operate}', false),
            ('step_executions', 'insert', '{work,operate}', false),
            ('step_executions', 'update', '{work,operate}', false),
            ('step_executions', 'delete', '{operate}', false),
            ('feedback', 'select', '{read,work,operate}', false),
            ('feedback', 'insert', '{work,operate}', false),
            ('feedback', 'delete', '{operate}', false),
            ('feedback_metrics', 'select', '{read,work,operate}', false),
            ('feedback_metrics', 'insert', '{work,operate}', false),
            ('feedback_metrics', 'update', '{work,operate}', false),
            ('feedback_metrics', 'delete', '{operate}', false),
            ('rebuilds', 'select', '{read}', false),
            ('rebuilds', 'all', '{operate}', false),
            ('tools', 'select', '{read,work,operate}', true),
            ('tools', 'all', '{operate}', false),
            ('allowed_hosts', 'select', '{read,work,operate}', true),
            ('tool_breakers', 'select', '{read,work,operate}', false),
            ('tool_breakers', 'insert', '{work}', false),
            ('tool_breakers', 'update', '{work}', false),
            ('tool_executions', 'select', '{read,work,operate}', false),
            ('tool_executions', 'insert', '{work,operate}', false),
            ('tool_executions', 'update', '{work,operate}', false),
            ('kafka_dead_letters', 'select', '{read,work,operate}', false),
            ('kafka_dead_letters', 'insert', '{work}', false),
            ('kafka_dead_letters', 'update', '{work,operate}', false),
            ('kafka_dead_letters', 'delete', '{work,operate}', false)) v (tab, command, rights, shared)
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
        select v.role, v.member from (values ('sentinai_publisher', 'sentinai_approver'), ('sentinai_approver', 'sentinai_admin')) v (role, member)
        where not exists (select from pg_auth_members m where m.roleid = v.role::regrole and m.member = v.member::regrole)
    loop
        execute format('grant %I to %I', g.role, g.member);
    end loop;
    grant usage on schema sentinai_platform to sentinai_publisher, sentinai_agent, sentinai_reader, sentinai_operator, sentinai_approver;
    for g in
        select p.oid::regprocedure as name, v.role
        from (values
            ('sentinai_publisher', '{submit_exception,create_manual_exception,get_command_status,accept_command,exception_id_for,refuse}'),
            ('sentinai_agent', '{handle_intake,handle_triage,handle_policy,handle_feedback,assess,project_feedback,count_feedback,apply_feedback,lock_known,lock_exceptions,complete_commands,event_row,publish_events,types_of,project_exceptions,project_normalized,project_progress,project_end,project_sla,project_steps_done,project_approvals,cancel_approvals,evaluate,apply_guardrails,apply_decisions,expire_approvals,apply_policy,read_batch,finish,apply_batch,is_fault_of_event,limit_time,what_failed,note_failure,settle,handle_set,handle_each,handle,convert_value,map_value,map_fields,normalize,apply_intake,working_hours,add_working_time,deadline_of,judge,set_deadlines,apply_triage,pointer_path,unescape_path,refuse}'),
            ('sentinai_agent', '{fail_command,handle_records,handle_record_set,prepare_records,read_records,read_record,settle_records,fail_record,give_up_record,expire_kafka_dead_letters,purge_kafka_dead_letters,settle_letter,retry_kafka_dead_letter,discard_kafka_dead_letter,agents}'),
            ('sentinai_operator', '{agents,settle_letter,expire_kafka_dead_letters,purge_kafka_dead_letters,discard_kafka_dead_letter}'),
            ('sentinai_agent', '{handle_playbook,apply_playbook,advance,next_turns,record_answers,project_playbooks,waves,project_executions,open_executions,under_way,end_executions,project_strays,project_step_executions,execution_document,exception_document,exception_of,fill_in,template_fault,placeholders}'),
            ('sentinai_approver', '{execute_playbook,recalculate_playbook,lock_state,require_open,open_executions,under_way}'),
            ('sentinai_reader', '{get_playbook_execution,list_playbook_executions,require_page}'),
            ('sentinai_operator', '{has_variable,put_playbook,check_playbook,write_step,placeholders,refuse,project_playbooks,project_step_executions,project_executions,open_executions,under_way,end_executions,waves,replay}'),
            ('sentinai_approver', '{approve,reject,resolve,escalate,close_exception,decide,event_row,types_of,read_batch,project_exceptions,project_end,project_approvals,cancel_approvals,project_playbooks,project_executions,end_executions,waves}'),
            ('sentinai_reader', '{get_exception,list_exceptions,first_id,require_page,get_approval,list_approvals,get_feedback,get_feedback_metrics,sla_compliance,working_hours,add_working_time,get_command_status,require_read}'),
            ('sentinai_operator', '{get_command_status,subscribe_agents,unsubscribe_agents,pointer_path,unescape_path,working_hours,add_working_time,require_read,rebuild_projections,rebuild_step,rebuild_exceptions,rebuild_metrics,start_rebuild,history_of,read_histories,reset_exceptions,replay_exceptions,replay_each,is_fault_of_event,recount_day,count_feedback,read_batch,types_of,project_exceptions,project_normalized,project_progress,project_end,project_sla,project_steps_done,project_approvals,project_feedback}')) v (role, names)
        join pg_proc p on p.pronamespace = 'sentinai_platform'::regnamespace and p.proname = any (v.names::text[])
        union all
        -- the tool agent
        select p.oid::regprocedure, v.role
        from (values
            ('sentinai_agent', '{handle_tool,prepare,prepare_calls,tool_events,update_fields,project_tools,url_parts,url_encode,tenant_of_key,tool_requests,take_trials,read_response,judge_result,note_breakers,update_of,start_wait,run_builtin,answer_request,find_answers,publish_answers,answer_tools,calls_again,settle_tools,apply_tool}'),
            ('sentinai_approver', '{execute_tool}'),
            ('sentinai_reader', '{get_tool_execution,list_tool_executions}'),
            ('sentinai_operator', '{check_setting,check_range,url_parts,check_headers,check_webhook,check_builtin,refuse,tool_events,update_fields,project_tools,project_updates}')) v (role, names)
        join pg_proc p on p.pronamespace = 'sentinai_platform'::regnamespace and p.proname = any (v.names::text[])
    loop
        execute format('grant execute on routine %s to %I', g.name, g.role);
    end loop;
    grant select, insert on sentinai_platform.commands to sentinai_publisher;
    grant select on sentinai_platform.commands, sentinai_platform.mapping_rules, sentinai_platform.triage_rules,
        sentinai_platform.sla_rules, sentinai_platform.guardrails, sentinai_platform.calendars, sentinai_platform.calendar_hours,
        sentinai_platform.calendar_holidays to sentinai_agent;
    grant update (status, error, finished_at) on sentinai_platform.commands to sentinai_agent;
    grant select, insert, update on sentinai_platform.exceptions, sentinai_platform.approvals, sentinai_platform.feedback_metrics to sentinai_agent;
    grant select, insert on sentinai_platform.feedback to sentinai_agent;
    grant select, insert, delete on sentinai_platform.kafka_dead_letters to sentinai_agent;
    grant delete on sentinai_platform.kafka_dead_letters to sentinai_operator;
    grant update (status, settled_at, settled_by, settled_because) on sentinai_platform.kafka_dead_letters to sentinai_agent, sentinai_operator;
    grant select on sentinai_platform.exceptions, sentinai_platform.approvals to sentinai_approver;
    grant update (state, outcome, closed_at, sla, changed_at) on sentinai_platform.exceptions to sentinai_approver;
    grant update (status, execution_id, decided_at, decided_by, comment) on sentinai_platform.approvals to sentinai_approver;
    grant select on sentinai_platform.playbooks, sentinai_platform.playbook_steps to sentinai_agent;
    grant select, insert, update on sentinai_platform.playbook_executions, sentinai_platform.step_executions to sentinai_agent;
    grant select on sentinai_platform.playbooks to sentinai_approver;
    grant select, insert on sentinai_platform.playbook_executions to sentinai_approver;
    grant update (state, reason, changed_at, ended_at) on sentinai_platform.playbook_executions to sentinai_approver;
    grant select, update (state, ended_at) on sentinai_platform.step_executions to sentinai_approver;
    grant update (playbook) on sentinai_platform.exceptions to sentinai_approver;
    grant insert (tenant_id, playbook, version, steps, outcome, description) on sentinai_platform.playbooks to sentinai_operator;
    grant insert on sentinai_platform.playbook_steps to sentinai_operator;
    grant insert, update, delete on sentinai_platform.playbook_executions, sentinai_platform.step_executions to sentinai_operator;
    grant select on sentinai_platform.tools, sentinai_platform.allowed_hosts to sentinai_agent;
    grant select, insert, update on sentinai_platform.tool_breakers, sentinai_platform.tool_executions to sentinai_agent;
    grant select on sentinai_platform.tools to sentinai_approver;
    grant insert, update on sentinai_platform.tool_executions to sentinai_operator;
    grant delete on sentinai_platform.tools, sentinai_platform.allowed_hosts to sentinai_operator;
    grant select on all tables in schema sentinai_platform to sentinai_reader, sentinai_operator;
    grant insert, update on sentinai_platform.exceptions, sentinai_platform.rebuilds to sentinai_operator;
    grant insert, update, delete on sentinai_platform.approvals, sentinai_platform.feedback, sentinai_platform.feedback_metrics to sentinai_operator;
    grant delete on sentinai_platform.mapping_rules, sentinai_platform.triage_rules,
        sentinai_platform.sla_rules, sentinai_platform.guardrails, sentinai_platform.calendars, sentinai_platform.calendar_hours,
        sentinai_platform.calendar_holidays to sentinai_operator;
    -- who wrote a rule, and when, is not for the writer to say
    for g in
        select a.attrelid::regclass as name, string_agg(quote_ident(a.attname), ', ' order by a.attnum) as columns
        from pg_attribute a
        where a.attrelid in ('sentinai_platform.mapping_rules'::regclass, 'sentinai_platform.triage_rules'::regclass,
                             'sentinai_platform.sla_rules'::regclass, 'sentinai_platform.guardrails'::regclass,
                             'sentinai_platform.calendars'::regclass, 'sentinai_platform.calendar_hours'::regclass, 'sentinai_platform.calendar_holidays'::regclass,
                             'sentinai_platform.tools'::regclass, 'sentinai_platform.allowed_hosts'::regclass)
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
