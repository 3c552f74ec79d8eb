-- Commands. Each checks, publishes and notes in one call.

create function sentinai_platform.accept_command(
        command text, event_type text, tenant_id text, exception_id text, payload jsonb, idempotency_key text)
    returns uuid
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
declare
    execution_id uuid;
begin
    -- a repeated call gets the first id, and another event under its key is refused
    execution_id := sentinai.publish(event_type, tenant_id, exception_id, payload,
        idempotency_key => command || ':' || idempotency_key);
    insert into sentinai_platform.commands (execution_id, tenant_id, exception_id, command, status, requested_at, requested_by)
    values (execution_id, tenant_id, exception_id, command, 'accepted', clock_timestamp(), current_user)
    on conflict do nothing;
    return execution_id;
end $$;
comment on function sentinai_platform.accept_command(text, text, text, text, jsonb, text) is 'For the commands: publishes what was asked for, and notes it.';

create function sentinai_platform.exception_id_for(command text, tenant_id text, exception_id text, idempotency_key text) returns text
    language sql volatile parallel restricted
    set search_path = pg_catalog, pg_temp
    as $$ select coalesce(exception_id, 'EX-' || coalesce(md5(command || ':' || tenant_id || ':' || idempotency_key), gen_random_uuid()::text)) $$;
comment on function sentinai_platform.exception_id_for(text, text, text, text) is 'For the commands: the id of a new exception. A call that is repeated with its key has the same.';

create function sentinai_platform.submit_exception(
        tenant_id text, source text, data jsonb, exception_id text default null,
        submitted_by text default null, idempotency_key text default null)
    returns uuid
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
begin
    exception_id := sentinai_platform.exception_id_for('submit_exception', tenant_id, exception_id, idempotency_key);
    return sentinai_platform.accept_command('submit_exception', 'ExceptionIngested', tenant_id, exception_id,
        jsonb_build_object('exception_id', exception_id, 'source', source, 'data', data)
            || jsonb_strip_nulls(jsonb_build_object('submitted_by', submitted_by)),
        idempotency_key);
end $$;
comment on function sentinai_platform.submit_exception(text, text, jsonb, text, text, text) is 'Reports an exception as a system has it: publishes ExceptionIngested, and returns the execution id, which is the id of the event. source: the name of the system, at most 200 characters. data: what it says, a JSON object. exception_id: by default a new one, made from the idempotency key where there is one. submitted_by: who it is reported for. idempotency_key: a repeated call within sentinai.idempotency_window returns the first execution id and does nothing. Errors: as publish(); SN422 with the fields as JSON Pointers in the detail; SN409 the key was used for something else; 42501 no right to the function.';

create function sentinai_platform.create_manual_exception(
        tenant_id text, exception jsonb, created_by text default null,
        exception_id text default null, idempotency_key text default null)
    returns uuid
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
begin
    if exception is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'exception must not be null';
    elsif jsonb_typeof(exception) <> 'object' then
        perform sentinai_platform.refuse('', 'type', 'must be an object');
    end if;
    exception_id := sentinai_platform.exception_id_for('create_manual_exception', tenant_id, exception_id, idempotency_key);
    return sentinai_platform.accept_command('create_manual_exception', 'ManualExceptionCreated', tenant_id, exception_id,
        exception || jsonb_build_object('exception_id', exception_id)
            || jsonb_strip_nulls(jsonb_build_object('created_by', created_by)),
        idempotency_key);
end $$;
comment on function sentinai_platform.create_manual_exception(text, jsonb, text, text, text) is 'Reports an exception that a person has found: publishes ManualExceptionCreated, and returns the execution id, which is the id of the event. exception: a JSON object with "title", and maybe "type", "severity", "amount", "currency", "occurred_at" and "attributes". created_by: who found it. exception_id, idempotency_key: as of submit_exception(). Errors: as submit_exception().';

create function sentinai_platform.get_command_status(execution_id uuid)
    returns table (tenant_id text, command text, exception_id text, status text, error text,
                   requested_at timestamptz, finished_at timestamptz)
    language plpgsql stable parallel restricted rows 1
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
begin
    if get_command_status.execution_id is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'execution_id must not be null';
    end if;
    return query
        select c.tenant_id, c.command, c.exception_id, c.status, c.error, c.requested_at, c.finished_at
        from sentinai_platform.commands c where c.execution_id = get_command_status.execution_id;
    if not found then
        raise exception using errcode = 'SN404', message = 'no such command',
            detail = 'The execution id is unknown, or of a tenant that the caller may not see.';
    end if;
end $$;
comment on function sentinai_platform.get_command_status(uuid) is 'What became of a command: "accepted", "completed", or "failed" with the error. execution_id: what the command returned. A command that has failed may still be completed, when its dead letter is tried again. Errors: 22004 null; SN404 unknown, or of a tenant that the caller may not see.';

create function sentinai_platform.refuse(pointer text, keyword text, message text) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    raise exception using errcode = 'SN422', message = format('%s: %s', coalesce(nullif(pointer, ''), 'the value'), message),
        detail = jsonb_build_array(jsonb_build_object('pointer', pointer, 'keyword', keyword, 'message', message))::text;
end $$;
comment on function sentinai_platform.refuse(text, text, text) is 'For the other functions: the error SN422 of a field, in the form that publish() has.';
