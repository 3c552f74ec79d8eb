-- Commands. Each checks, publishes and notes in one call.

create function sentinai_platform.accept_command(
        command text, event_type text, tenant_id text, exception_id text, payload jsonb, idempotency_key text, done boolean default false, out execution_id uuid, out is_new boolean)
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
begin
    -- a repeated call gets the first id, and another event under its key is refused
    execution_id := sentinai.publish(event_type, tenant_id, exception_id, payload,
        -- an empty key is refused as one of publish() is
        idempotency_key => case idempotency_key when '' then '' else command || ':' || idempotency_key end);
    insert into sentinai_platform.commands (execution_id, tenant_id, exception_id, command, status, requested_at, requested_by)
    values (execution_id, tenant_id, exception_id, command, case when done then 'completed' else 'accepted' end, clock_timestamp(), session_user)
    on conflict do nothing;
    is_new := found;
end $$;
comment on function sentinai_platform.accept_command(text, text, text, text, jsonb, text, boolean) is 'For the commands: publishes what was asked for, and notes it. done: it needs no agent. is_new: it is no repetition.';

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
    return (sentinai_platform.accept_command('submit_exception', 'ExceptionIngested', tenant_id, exception_id,
        jsonb_build_object('exception_id', exception_id, 'source', source, 'data', data)
            || jsonb_strip_nulls(jsonb_build_object('submitted_by', submitted_by)),
        idempotency_key)).execution_id;
end $$;
comment on function sentinai_platform.submit_exception(text, text, jsonb, text, text, text) is 'Reports an exception as a system has it: publishes ExceptionIngested, and returns the execution id, which is the id of the event. source: the name of the system, at most 200 characters. data: what it says, a JSON object. exception_id: by default a new one, made from the idempotency key where there is one. submitted_by: who it is reported for. idempotency_key: at most 480 bytes; a repeated call within sentinai.idempotency_window returns the first execution id and does nothing. Errors: as publish(); SN422 with the fields as JSON Pointers in the detail; SN409 the key was used for something else; 42501 no right to the function.';

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
    return (sentinai_platform.accept_command('create_manual_exception', 'ManualExceptionCreated', tenant_id, exception_id,
        exception || jsonb_build_object('exception_id', exception_id)
            || jsonb_strip_nulls(jsonb_build_object('created_by', created_by)),
        idempotency_key)).execution_id;
end $$;
comment on function sentinai_platform.create_manual_exception(text, jsonb, text, text, text) is 'Reports an exception that a person has found: publishes ManualExceptionCreated, and returns the execution id, which is the id of the event. exception: a JSON object with "title", and maybe "type", "severity", "amount", "currency", "occurred_at" and "attributes". created_by: who found it. exception_id, idempotency_key: as of submit_exception(). Errors: as submit_exception().';

create function sentinai_platform.close_exception(command text, event_type text, tenant_id text, exception_id text,
                                                  payload jsonb, idempotency_key text, state text)
    returns uuid
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
declare
    accepted record;
    events jsonb;
    before text;
begin
    payload := jsonb_strip_nulls(payload || jsonb_build_object('exception_id', exception_id));
    -- events that change a row are published while it is locked: so their order is that of the changes
    select x.state into before from sentinai_platform.exceptions x
    where x.tenant_id = close_exception.tenant_id and x.exception_id = close_exception.exception_id for update;
    accepted := sentinai_platform.accept_command(command, event_type, tenant_id, exception_id, payload, idempotency_key, true);
    if not accepted.is_new then
        return accepted.execution_id;
    elsif before is null then
        raise exception using errcode = 'SN404', message = 'no such exception',
            detail = 'It is unknown, not taken in yet, or of a tenant that the caller may not operate for.';
    elsif before = 'resolved' or before = state then
        raise exception using errcode = 'SN409', message = format('the exception is %s already', before);
    end if;
    events := jsonb_build_array(sentinai_platform.event_row(accepted.execution_id, event_type, tenant_id, exception_id, payload, null));
    perform sentinai_platform.project_exceptions(events);
    perform sentinai_platform.project_playbooks(events);
    perform sentinai_platform.cancel_approvals(events);
    if state = 'resolved' then
        perform sentinai.meet_deadline(tenant_id, exception_id, 'resolve');
    end if;
    return accepted.execution_id;
end $$;
comment on function sentinai_platform.close_exception(text, text, text, text, jsonb, text, text) is 'For resolve() and escalate(): publishes it, and changes the read model.';

create function sentinai_platform.resolve(
        tenant_id text, exception_id text, outcome text, comment text default null,
        resolved_by text default null, idempotency_key text default null)
    returns uuid
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$ select sentinai_platform.close_exception('resolve', 'ExceptionResolved', tenant_id, exception_id,
        jsonb_build_object('outcome', outcome, 'comment', comment, 'resolved_by', resolved_by), idempotency_key, 'resolved') $$;
comment on function sentinai_platform.resolve(text, text, text, text, text, text) is 'Says that an exception is dealt with: publishes ExceptionResolved, meets its deadline, cancels an approval that it waits for, and returns the execution id, which is the id of the event. outcome: how it ended, at most 200 characters. comment: at most 8,000. resolved_by: who did it. idempotency_key: as of submit_exception(). Errors: as submit_exception(); SN404 no such exception; SN409 it is resolved already.';

create function sentinai_platform.escalate(
        tenant_id text, exception_id text, reason text, escalated_to text default null,
        escalated_by text default null, idempotency_key text default null)
    returns uuid
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$ select sentinai_platform.close_exception('escalate', 'ExceptionEscalated', tenant_id, exception_id,
        jsonb_build_object('reason', reason, 'escalated_to', escalated_to, 'escalated_by', escalated_by), idempotency_key, 'escalated') $$;
comment on function sentinai_platform.escalate(text, text, text, text, text, text) is 'Hands an exception to people: publishes ExceptionEscalated, and returns the execution id, which is the id of the event. Its deadline goes on; an approval that it waits for is cancelled. reason: at most 8,000 characters. escalated_to, escalated_by: to whom, and by whom. idempotency_key: as of submit_exception(). Errors: as submit_exception(); SN404 no such exception; SN409 it is escalated or resolved already.';

create function sentinai_platform.decide(command text, approval_id uuid, decision text, decided_by text, comment text)
    returns uuid
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
declare
    a sentinai_platform.approvals;
    payload jsonb;
    execution uuid;
begin
    if approval_id is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'approval_id must not be null';
    end if;
    select * into a from sentinai_platform.approvals p where p.approval_id = decide.approval_id for update;
    if not found then
        raise exception using errcode = 'SN404', message = 'no such approval',
            detail = 'It is unknown, or of a tenant that the caller may not operate for.';
    elsif a.status = decision and a.execution_id is not null then
        return a.execution_id;
    elsif a.status <> 'pending' then
        raise exception using errcode = 'SN409', message = format('the approval is %s already', a.status);
    end if;
    payload := jsonb_strip_nulls(jsonb_build_object('exception_id', a.exception_id, 'approval_id', approval_id, 'decision', decision,
        'decided_by', decided_by, 'comment', comment));
    execution := (sentinai_platform.accept_command(command, 'ApprovalDecided', a.tenant_id, a.exception_id, payload, null)).execution_id;
    perform sentinai_platform.project_approvals(jsonb_build_array(
        sentinai_platform.event_row(execution, 'ApprovalDecided', a.tenant_id, a.exception_id, payload, null)));
    perform sentinai.meet_deadline(a.tenant_id, a.exception_id, 'approval');
    return execution;
end $$;
comment on function sentinai_platform.decide(text, uuid, text, text, text) is 'For approve() and reject(): one decision for each approval.';

create function sentinai_platform.approve(approval_id uuid, decided_by text default null, comment text default null) returns uuid
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$ select sentinai_platform.decide('approve', approval_id, 'approved', decided_by, comment) $$;
comment on function sentinai_platform.approve(uuid, text, text) is 'Approves what a guardrail has asked for: publishes ApprovalDecided, and returns the execution id, which is the id of the event. Called again it returns the same. decided_by: who has decided. comment: at most 8,000 characters. Errors: 22004 null approval_id; SN404 unknown; SN409 it was rejected or cancelled, or the time is over; those of publish().';

create function sentinai_platform.reject(approval_id uuid, decided_by text default null, comment text default null) returns uuid
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$ select sentinai_platform.decide('reject', approval_id, 'rejected', decided_by, comment) $$;
comment on function sentinai_platform.reject(uuid, text, text) is 'Rejects what a guardrail has asked for. All else as approve().';

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
