-- Playbooks: how they are made, begun and looked at.

create function sentinai_platform.check_playbook(steps jsonb) returns void
    language plpgsql immutable parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    name constant jsonb := '{"type": "string", "minLength": 1, "maxLength": 200}';
    text constant jsonb := '{"type": "string", "minLength": 1, "maxLength": 1000}';
    call constant jsonb := jsonb_build_object('tool', name, 'arguments', '{"type": "object"}'::jsonb);
    faults jsonb;
begin
    faults := sentinai.validate_json(jsonb_build_object('type', 'array', 'minItems', 1, 'maxItems', 100, 'items', jsonb_build_object(
        'type', 'object', 'additionalProperties', false, 'required', '["tool"]'::jsonb, 'properties', call || jsonb_build_object(
            'name', name, 'condition', text, 'timeout', text, 'retry_after', text,
            'max_attempts', '{"type": "integer", "minimum": 1, "maximum": 100}'::jsonb,
            'on_failure', '{"enum": ["compensate", "continue", "escalate"]}'::jsonb,
            'compensation', jsonb_build_object('type', 'object', 'additionalProperties', false, 'required', '["tool"]'::jsonb, 'properties', call)))), steps);
    if faults = '[]' then
        select coalesce(jsonb_agg(jsonb_build_object('pointer', format('/%s/%s', s.n - 1, t.at), 'keyword', 'pattern',
                   'message', 'has a placeholder that is no JSON Pointer') order by s.n, t.at), '[]') into faults
        from jsonb_array_elements(steps) with ordinality s (step, n)
        cross join lateral (values ('arguments', s.step -> 'arguments'), ('compensation/arguments', s.step #> '{compensation,arguments}')) t (at, template)
        where exists (select from sentinai_platform.placeholders(t.template) p where p.pointer !~ '^/');
    end if;
    if faults <> '[]' then
        raise exception using errcode = 'SN422', message = 'the steps are not valid', detail = faults::text;
    end if;
end $$;
comment on function sentinai_platform.check_playbook(jsonb) is 'For put_playbook(): the error SN422 unless these are steps, with what is wrong as JSON Pointers.';

create function sentinai_platform.write_step(tenant_id text, playbook text, version int, of_steps int, step int, definition jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
declare
    field text;
    condition jsonpath;
    times interval[] := '{5 minutes,0}';
begin
    begin
        field := 'condition';
        condition := definition ->> field;
        field := 'timeout';
        times[1] := coalesce((definition ->> field)::interval, times[1]);
        field := 'retry_after';
        times[2] := coalesce((definition ->> field)::interval, times[2]);
    exception when data_exception or syntax_error then
        perform sentinai_platform.refuse(format('/%s/%s', step - 1, field), 'format', case field when 'condition' then 'is no jsonpath' else 'is no interval' end);
    end;
    if sentinai_platform.has_variable(condition) then
        perform sentinai_platform.refuse(format('/%s/condition', step - 1), 'not', 'names a variable, and there are none');
    elsif times[1] <= '0' or times[1] > '1 year' then
        perform sentinai_platform.refuse(format('/%s/timeout', step - 1), 'maximum', 'must be more than 0 and at most 1 year');
    elsif times[2] < '0' or times[2] > '1 day' then
        perform sentinai_platform.refuse(format('/%s/retry_after', step - 1), 'maximum', 'must be from 0 to 1 day');
    end if;
    insert into sentinai_platform.playbook_steps (tenant_id, playbook, version, of_steps, step, name, condition, tool, arguments,
        timeout, max_attempts, retry_after, on_failure, compensation_tool, compensation_arguments)
    values (tenant_id, playbook, version, of_steps, step, coalesce(definition ->> 'name', definition ->> 'tool'), condition,
        definition ->> 'tool', coalesce(definition -> 'arguments', '{}'), times[1], coalesce((definition ->> 'max_attempts')::numeric::int, 1), times[2],
        coalesce(definition ->> 'on_failure', 'compensate'), definition #>> '{compensation,tool}',
        coalesce(definition #> '{compensation,arguments}', '{}'));
end $$;
comment on function sentinai_platform.write_step(text, text, int, int, int, jsonb) is 'For put_playbook(): a step as a row.';

create function sentinai_platform.put_playbook(tenant_id text, playbook text, steps jsonb, outcome text default 'resolved', description text default null)
    returns int
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
declare
    version int;
begin
    if tenant_id is null or playbook is null or steps is null or outcome is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'tenant_id, playbook, steps and outcome must not be null';
    elsif not sentinai.may('operate', tenant_id) then
        raise exception using errcode = 'SN403', message = 'tenant_id is not one the caller may operate for';
    elsif length(playbook) not between 1 and 200 then
        perform sentinai_platform.refuse('/playbook', 'maxLength', 'must have 1 to 200 characters');
    elsif length(outcome) not between 1 and 200 then
        perform sentinai_platform.refuse('/outcome', 'maxLength', 'must have 1 to 200 characters');
    elsif length(description) > 8000 then
        perform sentinai_platform.refuse('/description', 'maxLength', 'must have at most 8,000 characters');
    end if;
    perform sentinai_platform.check_playbook(steps);
    -- A tenant's own versions count on from those for every tenant. So the
    -- version that a tenant gets by a number never becomes another one.
    perform pg_advisory_xact_lock(hashtextextended('sentinai_platform.playbooks ' || playbook, 0));
    select coalesce(max(p.version), 0) + 1 into version from sentinai_platform.playbooks p
    where p.tenant_id in (put_playbook.tenant_id, '*') and p.playbook = put_playbook.playbook;
    insert into sentinai_platform.playbooks (tenant_id, playbook, version, steps, outcome, description)
    values (tenant_id, playbook, version, jsonb_array_length(steps), outcome, description);
    perform sentinai_platform.write_step(tenant_id, playbook, version, jsonb_array_length(steps), s.n::int, s.step)
    from jsonb_array_elements(steps) with ordinality s (step, n);
    return version;
end $$;
comment on function sentinai_platform.put_playbook(text, text, jsonb, text, text) is 'Makes the next version of a playbook, and returns its number. What runs ends by the version that it began with. tenant_id: "*" for every tenant; a tenant''s own version comes before one of the same number for every tenant. playbook: its name, at most 200 characters. steps: a JSON array of 1 to 100 objects with "tool" and maybe "name", "arguments" (a template), "condition" (a jsonpath), "timeout" (by default 5 minutes), "max_attempts" (1), "retry_after" (0), "on_failure" ("compensate", "continue" or "escalate") and "compensation" (an object with "tool" and maybe "arguments"). outcome: of exceptions whose steps are all done, at most 200 characters. description: at most 8,000. Errors: 22004 null where there must be a value; SN403 not allowed; SN422 with the fields as JSON Pointers in the detail.';

create function sentinai_platform.lock_state(tenant_id text, exception_id text) returns text
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    -- events that change a row are published while it is locked: so their order is that of the changes
    as $$ select x.state from sentinai_platform.exceptions x
          where x.tenant_id = lock_state.tenant_id and x.exception_id = lock_state.exception_id for update $$;
comment on function sentinai_platform.lock_state(text, text) is 'For the commands about playbooks: locks an exception, and returns its state; null when it is not there.';

create function sentinai_platform.require_open(state text) returns void
    language plpgsql immutable parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if state is null then
        raise exception using errcode = 'SN404', message = 'no such exception',
            detail = 'It is unknown, not taken in yet, or of a tenant that the caller may not operate for.';
    elsif state = 'resolved' then
        raise exception using errcode = 'SN409', message = 'the exception is resolved already';
    elsif state = 'awaiting_approval' then
        raise exception using errcode = 'SN409', message = 'the exception waits for an approval', hint = 'Approve or reject it.';
    end if;
end $$;
comment on function sentinai_platform.require_open(text) is 'For the commands about playbooks: an error unless an exception in that state is open and waits for no decision.';

create function sentinai_platform.execute_playbook(
        tenant_id text, exception_id text, playbook text, version int default null,
        requested_by text default null, idempotency_key text default null)
    returns uuid
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
declare
    accepted record;
    payload jsonb;
    state text;
begin
    if tenant_id is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'tenant_id must not be null';
    end if;
    version := coalesce(version, (
        select p.version from sentinai_platform.playbooks p
        where p.tenant_id in (execute_playbook.tenant_id, '*') and p.playbook = execute_playbook.playbook
        order by p.tenant_id = '*', p.version desc limit 1));
    -- without a version the error of the payload would be one of a field that nobody gave
    if playbook is not null and not exists (select from sentinai_platform.playbooks p
            where p.tenant_id in (execute_playbook.tenant_id, '*') and p.playbook = execute_playbook.playbook and p.version = execute_playbook.version) then
        raise exception using errcode = 'SN404', message = 'no such playbook', detail = 'The tenant has none of that name and version.';
    end if;
    payload := jsonb_strip_nulls(jsonb_build_object('exception_id', exception_id, 'playbook', playbook, 'version', version, 'requested_by', requested_by));
    state := sentinai_platform.lock_state(tenant_id, exception_id);
    accepted := sentinai_platform.accept_command('execute_playbook', 'PlaybookMatched', tenant_id, exception_id, payload, idempotency_key);
    if not accepted.is_new then
        return accepted.execution_id;
    end if;
    perform sentinai_platform.require_open(state);
    if exists (select from sentinai_platform.playbook_executions x
               where x.tenant_id = execute_playbook.tenant_id and x.exception_id = execute_playbook.exception_id
                     and x.state in ('waiting', 'running', 'compensating')) then
        raise exception using errcode = 'SN409', message = 'a playbook is under way for the exception',
            hint = 'Wait for its end, or stop it with escalate().';
    end if;
    -- written here and not only by the agent, so that a second command sees it
    perform sentinai_platform.open_executions(jsonb_build_array(
        sentinai_platform.event_row(accepted.execution_id, 'PlaybookMatched', tenant_id, exception_id, payload, null)));
    -- as project_progress() does, which may write more than who decides
    update sentinai_platform.exceptions x
    set state = 'matched', playbook = execute_playbook.playbook, changed_at = greatest(x.changed_at, sentinai.event_time(accepted.execution_id))
    where x.tenant_id = execute_playbook.tenant_id and x.exception_id = execute_playbook.exception_id;
    return accepted.execution_id;
end $$;
comment on function sentinai_platform.execute_playbook(text, text, text, int, text, text) is 'Has a playbook executed for an exception, whatever the guardrails say: publishes PlaybookMatched, and returns the execution id, which is the id of the event and of the playbook''s execution. version: by default the newest of the tenant''s own, else the newest for every tenant; name it in a call that may be repeated with its key, since the newest may be another one then, which is SN409. requested_by: who it is for. idempotency_key: as of submit_exception(). Errors: as submit_exception(); SN404 no such exception or playbook; SN409 the exception is resolved or waits for an approval, or a playbook is under way for it.';

create function sentinai_platform.recalculate_playbook(
        tenant_id text, exception_id text, reason text default null,
        requested_by text default null, idempotency_key text default null)
    returns uuid
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
declare
    accepted record;
    state text;
begin
    state := sentinai_platform.lock_state(tenant_id, exception_id);
    accepted := sentinai_platform.accept_command('recalculate_playbook', 'PlaybookRecalculationRequested', tenant_id, exception_id,
        jsonb_strip_nulls(jsonb_build_object('exception_id', exception_id, 'reason', reason, 'requested_by', requested_by)), idempotency_key);
    if accepted.is_new then
        perform sentinai_platform.require_open(state);
        if state = 'normalized' then
            raise exception using errcode = 'SN409', message = 'the exception is not triaged yet', hint = 'The guardrails are asked after that.';
        end if;
    end if;
    return accepted.execution_id;
end $$;
comment on function sentinai_platform.recalculate_playbook(text, text, text, text, text) is 'Has the guardrails asked again about an exception as it is now: publishes PlaybookRecalculationRequested, and returns the execution id, which is the id of the event. When they name the playbook and version that run, these go on. When they name others, the step that is under way is awaited, what was done is undone, and then the others begin. reason: why, at most 8,000 characters. requested_by: who asks. idempotency_key: as of submit_exception(). Errors: as submit_exception(); SN404 no such exception; SN409 it is resolved, waits for an approval, or is not triaged yet.';

create function sentinai_platform.get_playbook_execution(tenant_id text, execution_id uuid)
    returns table (execution sentinai_platform.playbook_executions, steps jsonb)
    language plpgsql stable parallel restricted rows 1
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
begin
    perform sentinai_platform.require_read(get_playbook_execution.tenant_id);
    return query
        select x, coalesce(s.steps, '[]')
        from sentinai_platform.playbook_executions x
        left join lateral (
            select jsonb_agg(to_jsonb(e) - '{execution_id,tenant_id,exception_id,call_id}'::text[]
                       order by e.compensation, case when e.compensation then -e.step else e.step end) as steps
            from sentinai_platform.step_executions e where e.execution_id = x.execution_id) s on true
        where x.tenant_id = get_playbook_execution.tenant_id and x.execution_id = get_playbook_execution.execution_id;
end $$;
comment on function sentinai_platform.get_playbook_execution(text, uuid) is 'An execution of a playbook as its row, and its steps as a JSON array with the columns of step_executions: those that were begun or skipped, in order, then those that were undone; no row when there is no such execution. Errors: 22004 null tenant_id; SN403 not allowed.';

create function sentinai_platform.list_playbook_executions(
        tenant_id text, state text default null, playbook text default null, version int default null,
        exception_id text default null, from_time timestamptz default null, to_time timestamptz default null,
        max_rows int default 100, before uuid default null)
    returns setof sentinai_platform.playbook_executions
    language plpgsql stable parallel restricted rows 100
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
declare
    -- only what is asked for, so that the planner sees which index serves
    condition text := '';
begin
    perform sentinai_platform.require_page($1, max_rows);
    condition := concat(
        case when $2 is not null then ' and x.state = $2' end,
        case when $3 is not null then ' and x.playbook = $3' end,
        case when $4 is not null then ' and x.version = $4' end,
        case when $5 is not null then ' and x.exception_id = $5' end,
        case when $6 is not null then ' and x.execution_id >= sentinai_platform.first_id($6)' end,
        case when $7 is not null then ' and x.execution_id < sentinai_platform.first_id($7)' end,
        case when $9 is not null then ' and x.execution_id < $9' end);
    return query execute 'select * from sentinai_platform.playbook_executions x where x.tenant_id = $1' || condition
        || ' order by x.execution_id desc limit $8'
        using $1, $2, $3, $4, $5, $6, $7, $8, $9;
end $$;
comment on function sentinai_platform.list_playbook_executions(text, text, text, int, text, timestamptz, timestamptz, int, uuid) is 'A page of a tenant''s executions of playbooks, the newest first. A filter that is null does not count. from_time: chosen then or later. to_time: chosen before. max_rows: 1 to 1,000. before: execution_id of the last row of the page before. Errors: 22004 null tenant_id or max_rows; SN403 not allowed; SN422 invalid max_rows.';
