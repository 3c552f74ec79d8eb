-- Handlers. Agents call them with a batch that they have claimed.

create function sentinai_platform.finish(agent text, batch jsonb) returns int
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    token text := batch #>> '{0,token}';
    ids uuid[];
    finished int;
begin
    -- with a token the events were claimed; without one they came from Kafka
    if token is not null then
        select array_agg((e ->> 'event_id')::uuid) into ids from jsonb_array_elements(batch) e;
        return sentinai.complete(token, ids);
    end if;
    select count(*) filter (where sentinai.mark_as_completed((e ->> 'event_id')::uuid, agent, e ->> 'tenant_id', e ->> 'aggregate_id'))
    into finished from jsonb_array_elements(batch) e;
    return finished;
end $$;
comment on function sentinai_platform.finish(text, jsonb) is 'For the handlers: marks the events of a batch as done, and returns how many were not before.';

create function sentinai_platform.apply_batch(agent text, batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    stray record;
begin
    -- the order of an exception's events is that of their aggregate
    select e.event_id into stray from sentinai_platform.read_batch(batch) e
    where e.event_type !~ '^SLA' and (e.exception_id is null or e.payload ->> 'exception_id' is distinct from e.exception_id) limit 1;
    if found then
        perform sentinai_platform.refuse('/exception_id', 'const', 'must be the aggregate_id of the event');
    end if;
    case agent
        when 'intake' then perform sentinai_platform.apply_intake(batch);
        when 'triage' then perform sentinai_platform.apply_triage(batch);
        when 'policy' then perform sentinai_platform.apply_policy(batch);
        when 'feedback' then perform sentinai_platform.apply_feedback(batch);
        when 'playbook' then perform sentinai_platform.apply_playbook(batch);
        when 'tool' then perform sentinai_platform.apply_tool(batch);
    end case;
end $$;
comment on function sentinai_platform.apply_batch(text, jsonb) is 'For the handlers: what an agent does with events, all or nothing.';

create function sentinai_platform.is_fault_of_event(state text) returns boolean
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    -- what the data breaks, or what it makes too large or too deep, what the core
    -- refuses of it, and what takes too long; not what the server lacks, what
    -- another session does, or a right that the role has not
    as $$ select left(state, 2) in ('22', '23', 'SN', 'P0', '21', '54') or state = '57014' and sentinai.time_is_over() $$;
comment on function sentinai_platform.is_fault_of_event(text) is 'For the handlers: whether an SQLSTATE tells of an event, which then fails, or of the surroundings, in which case the batch is tried again.';

create function sentinai_platform.fail_command(agent text, event jsonb, error text) returns void
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
    update sentinai_platform.commands c
    set status = 'failed', error = left(sentinai.redacted_error(event ->> 'tenant_id', event ->> 'event_type', fail_command.error), 8000), finished_at = clock_timestamp()
    where c.execution_id = case agent when 'tool' then event #>> '{payload,execution_id}' else event ->> 'event_id' end::uuid
          -- whoever publishes for one tenant may name what is another one's
          and c.tenant_id = event ->> 'tenant_id' and (agent <> 'tool' or c.command = 'execute_tool') $$;
comment on function sentinai_platform.fail_command(text, jsonb, text) is 'For the handlers: an event was given up, and so its command has failed.';

create function sentinai_platform.limit_time(events bigint) returns void
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    -- together they take far less than each alone may
    as $$ select sentinai.limit_time((case when s.value ~ '^[1-9][0-9]{0,5}$' then s.value::int else 1000 end * (1 + (events - 1) / 100.0))::int)
          from (select current_setting('sentinai_platform.event_time', true)) s (value) $$;
comment on function sentinai_platform.limit_time(bigint) is 'For the handlers: how much processor time so many events may take. One may have the setting sentinai_platform.event_time in milliseconds, or a second.';

create function sentinai_platform.what_failed(state text, message text, detail text, out error text, out retryable boolean)
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if state = '57014' then
        state := 'SN413';
        message := 'it takes too much time';
        detail := 'Its data is too large for the conditions, templates, rules and calendars of its tenant.';
    end if;
    -- Our own errors have no values. What the server says may quote one, and show a row; lc_messages has other quotes.
    if state !~ '^SN' then
        detail := '';
        message := case when state ~ '^22' then regexp_replace(message, '["«»„“”].*["«»„“”]', '"..."') else message end;
    end if;
    error := concat(state, ': ', message, ': ' || nullif(detail, ''));
    -- what does not fit is as wrong the next time
    retryable := state not in ('SN422', 'SN413', 'SN404');
end $$;
comment on function sentinai_platform.what_failed(text, text, text) is 'For the handlers: what an event has failed of, without values of it, and whether it may succeed later. That its time was over is said as what it is.';

create function sentinai_platform.note_failure(agent text, event jsonb, error text, retryable boolean) returns text
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    outcome constant text := sentinai.fail(event ->> 'token', (event ->> 'event_id')::uuid, error, retryable);
begin
    if outcome = 'dead' then
        perform sentinai_platform.fail_command(agent, event, error);
    end if;
    return outcome;
end $$;
comment on function sentinai_platform.note_failure(text, jsonb, text, boolean) is 'For the handlers: an event has failed; so has its command, when nobody tries again.';

create function sentinai_platform.settle(agent text, batch jsonb, out rest jsonb, out retried int, out dead int)
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    rest := batch; retried := 0; dead := 0;
    if agent = 'tool' then
        select s.* into rest, retried, dead from sentinai_platform.settle_tools(batch) s;
    end if;
end $$;
comment on function sentinai_platform.settle(text, jsonb) is 'For the handlers: what has failed before them, outside of the database, leaves a batch.';

create function sentinai_platform.handle_each(agent text, batch jsonb, out handled int, out retried int, out dead int)
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    event jsonb;
    key text[];
    stopped text[] := '{}';
    slow text[] := '{}';
    is_left boolean := false;
    settled record;
    outcome text;
    finishing boolean;
    state text;
    message text;
    detail text;
begin
    handled := 0; retried := 0; dead := 0;
    for event in select e from jsonb_array_elements(batch) with ordinality t (e, n) order by n loop
        -- later events of a key that has failed have left the batch
        key := array[event ->> 'tenant_id', event ->> 'aggregate_id'];
        continue when key::text = any (stopped);
        -- a tenant whose time is over has no more of it now, so that others have theirs
        if key[1] = any (slow) then
            is_left := true;
            continue;
        end if;
        begin
            perform sentinai_platform.limit_time(1);
            finishing := false;
            settled := sentinai_platform.settle(agent, jsonb_build_array(event));
            if settled.rest = '[]' then
                stopped := stopped || key::text;
                retried := retried + settled.retried;
                dead := dead + settled.dead;
                continue;
            end if;
            finishing := true;
            if sentinai_platform.finish(agent, settled.rest) = 1 then
                finishing := false;
                perform sentinai_platform.apply_batch(agent, settled.rest);
            end if;
            handled := handled + 1;
        exception when query_canceled or others then
            get stacked diagnostics state = returned_sqlstate, message = message_text, detail = pg_exception_detail;
            if finishing or event ->> 'token' is null or not sentinai_platform.is_fault_of_event(state) then
                raise;
            end if;
            if state = '57014' then
                slow := slow || key[1];
            end if;
            select sentinai_platform.note_failure(agent, event, w.error, w.retryable) into outcome
            from sentinai_platform.what_failed(state, message, detail) w;
            stopped := stopped || key::text;
            retried := retried + (outcome = 'retrying')::int;
            dead := dead + (outcome = 'dead')::int;
        end;
    end loop;
    if is_left then
        perform sentinai.release(batch #>> '{0,token}');
    end if;
end $$;
comment on function sentinai_platform.handle_each(text, jsonb) is 'For the handlers: takes a batch event by event, each in a savepoint of its own, so that only what is wrong fails. One that takes too long fails, too, and further ones of its tenant are given back.';

create function sentinai_platform.handle_set(agent text, batch jsonb, out handled int, out retried int, out dead int)
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    rest jsonb;
begin
    perform sentinai_platform.limit_time(jsonb_array_length(batch));
    select s.* into rest, retried, dead from sentinai_platform.settle(agent, batch) s;
    handled := jsonb_array_length(rest);
    if handled = 0 then
        return;
    end if;
    if sentinai_platform.finish(agent, rest) <> handled then
        raise exception using errcode = 'SN409', message = 'some of the events are done already';
    end if;
    perform sentinai_platform.apply_batch(agent, rest);
end $$;
comment on function sentinai_platform.handle_set(text, jsonb) is 'For the handlers: takes a batch as one set, all or nothing.';

create function sentinai_platform.handle(agent text, batch jsonb, out handled int, out retried int, out dead int)
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if batch is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'batch must not be null';
    elsif jsonb_typeof(batch) <> 'array' then
        perform sentinai_platform.refuse('', 'type', 'must be an array of events');
    end if;
    handled := 0; retried := 0; dead := 0;
    if batch = '[]' then
        return;
    end if;
    begin
        select s.* into handled, retried, dead from sentinai_platform.handle_set(agent, batch) s;
        return;
    exception when query_canceled or others then
        if not sentinai_platform.is_fault_of_event(sqlstate) then
            raise;
        end if;
    end;
    select e.* into handled, retried, dead from sentinai_platform.handle_each(agent, batch) e;
end $$;
comment on function sentinai_platform.handle(text, jsonb) is 'For the handlers: takes a batch as one set, and event by event when that fails.';

create function sentinai_platform.handle_intake(batch jsonb, out handled int, out retried int, out dead int)
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$ select * from sentinai_platform.handle('intake', batch) $$;
comment on function sentinai_platform.handle_intake(jsonb) is 'Intake of a batch of ExceptionIngested and ManualExceptionCreated: makes the fields of each exception by the mapping rules, writes it to the read model, publishes ExceptionNormalized, and completes the events, in the caller''s transaction. batch: a JSON array of events with the columns of claim(), all of one token; without a token they came from Kafka, and the ledger tells whether they are done. Events that cannot be handled are failed with the reason, and later ones of their exception left to come again. Events that are done already are left alone. Returns how many were handled, will be tried again, and became dead letters. Errors: 22004 null; SN422 no array; those of complete(), fail() and publish(), where they are not the fault of an event.';

create function sentinai_platform.handle_triage(batch jsonb, out handled int, out retried int, out dead int)
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$ select * from sentinai_platform.handle('triage', batch) $$;
comment on function sentinai_platform.handle_triage(jsonb) is 'Triage of a batch of ExceptionNormalized: finds type, severity and category by the triage rules, writes them to the read model, sets the deadline of the SLA rules, publishes TriageRequested and TriageCompleted, and completes the events, in the caller''s transaction. All else as handle_intake().';

create function sentinai_platform.handle_policy(batch jsonb, out handled int, out retried int, out dead int)
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$ select * from sentinai_platform.handle('policy', batch) $$;
comment on function sentinai_platform.handle_policy(jsonb) is 'Policy for a batch of TriageCompleted, PlaybookRecalculationRequested, ApprovalDecided, SLAImminent and SLAExpired: asks the guardrails, publishes PolicyEvaluationRequested and PolicyEvaluationCompleted, and then PlaybookMatched, ExceptionEscalated or ApprovalRequested with a deadline. What was decided it carries out; what nobody has decided in time it decides as the guardrail says. All else as handle_intake().';

create function sentinai_platform.handle_tool(batch jsonb, out handled int, out retried int, out dead int)
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$ select * from sentinai_platform.handle('tool', batch) $$;
comment on function sentinai_platform.handle_tool(jsonb) is 'Tools for a batch of ToolExecutionRequested, in which webhooks have the results of their calls: see prepare(). Does what needs no call, publishes ToolExecutionCompleted or ToolExecutionFailed, and gives back what is to be called again. ToolExecutionCompleted and ToolExecutionFailed go to the read model, and SLAExpired ends waits. All else as handle_intake().';

create function sentinai_platform.agents() returns table (worker_type text, event_types text[])
    language sql immutable parallel safe rows 10
    set search_path = pg_catalog, pg_temp
    as $$
    values ('intake', '{ExceptionIngested,ManualExceptionCreated}'::text[]),
           ('triage', '{ExceptionNormalized}'),
           ('policy', '{TriageCompleted,PlaybookRecalculationRequested,ApprovalDecided,SLAImminent,SLAExpired}'),
           ('playbook', '{PlaybookMatched,ToolExecutionCompleted,ToolExecutionFailed,SLAExpired,ExceptionResolved,ExceptionEscalated}'),
           ('tool', '{ToolExecutionRequested,ToolExecutionCompleted,ToolExecutionFailed,SLAExpired}'),
           ('feedback', '{ExceptionResolved,ExceptionEscalated}') $$;
comment on function sentinai_platform.agents() is 'For subscribe_agents() and agents: which agents there are, and the event types that each works on.';

create function sentinai_platform.subscribe_agents(start_from text default 'latest') returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform sentinai.subscribe(s.worker_type, s.event_types, start_from)
    from sentinai_platform.agents() s
    where not exists (select from sentinai.stat_queue q where q.worker_type = s.worker_type);
end $$;
comment on function sentinai_platform.subscribe_agents(text) is 'Makes the subscriptions of the agents, "intake", "triage", "policy", "playbook", "tool" and "feedback", unless they are there. start_from: as of subscribe(). Errors: as subscribe().';

create function sentinai_platform.unsubscribe_agents() returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform sentinai.unsubscribe(q.worker_type) from sentinai.stat_queue q where q.worker_type in (select a.worker_type from sentinai_platform.agents() a);
end $$;
comment on function sentinai_platform.unsubscribe_agents() is 'Drops the subscriptions of the agents, with what waits in them. Call it before DROP EXTENSION, which leaves them. Errors: as unsubscribe().';
