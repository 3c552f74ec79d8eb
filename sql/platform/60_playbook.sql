-- Playbooks: steps in their order, and what undoes them.

create function sentinai_platform.placeholders(template jsonb) returns table (pointer text, optional boolean)
    language sql immutable parallel safe rows 10
    begin atomic
    select btrim(m[2]), m[1] = '?'
          from jsonb_path_query(template, 'strict $.** ? (@.type() == "string")') s (v),
               regexp_matches(s.v #>> '{}', '\{\{(\??)([^{}]*)\}\}', 'g') m;
    end;
comment on function sentinai_platform.placeholders(jsonb) is 'For the templates: the pointers that stand in one.';

create function sentinai_platform.template_fault(template jsonb, document jsonb) returns text
    language sql immutable parallel safe
    begin atomic
    -- judged before it is filled in: a few kilobytes could become gigabytes
    select case when string_agg(p.pointer, '') filter (where p.is_missing) is not null
                then 'there is nothing at ' || string_agg(p.pointer, ', ' order by p.pointer) filter (where p.is_missing)
                when octet_length(template::text) + coalesce(sum(p.uses * p.size), 0) > 262144 then 'the arguments are larger than 256 kB' end
    from (select q.pointer, count(*) as uses, octet_length(v.value::text) as size, not bool_and(q.optional) and nullif(v.value, 'null') is null as is_missing
          from sentinai_platform.placeholders(template) q
          cross join lateral (select document #> sentinai_platform.pointer_path(q.pointer) as value) v
          group by q.pointer, v.value) p;
    end;
comment on function sentinai_platform.template_fault(jsonb, jsonb) is 'For the templates: why one cannot be filled in, as a pointer has to find something and does not, or as it would be too large; null: it can.';

create function sentinai_platform.fill_in(template jsonb, document jsonb) returns jsonb
    language plpgsql immutable strict parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    placeholder constant text := '\{\{\??([^{}]*)\}\}';
    text constant text := template #>> '{}';
    pointer text;
begin
    case jsonb_typeof(template)
        when 'object' then
            return (select coalesce(jsonb_object_agg(e.key, sentinai_platform.fill_in(e.value, document)), '{}') from jsonb_each(template) e);
        when 'array' then
            return (select coalesce(jsonb_agg(sentinai_platform.fill_in(e.value, document) order by e.n), '[]')
                    from jsonb_array_elements(template) with ordinality e (value, n));
        when 'string' then
            if text !~ placeholder then
                return template;
            end if;
            -- alone in its string it keeps its type
            pointer := btrim((regexp_match(text, '^' || placeholder || '$'))[1]);
            if pointer is not null then
                return coalesce(document #> sentinai_platform.pointer_path(pointer), 'null');
            end if;
            return (select to_jsonb(string_agg(concat(t.between, document #>> sentinai_platform.pointer_path(btrim(t.found[1]))), '' order by t.n))
                    from rows from (regexp_split_to_table(text, placeholder), regexp_matches(text, placeholder, 'g')) with ordinality t (between, found, n));
        else
            return template;
    end case;
end $$;
comment on function sentinai_platform.fill_in(jsonb, jsonb) is 'For the templates: one with the values of a document.';

create function sentinai_platform.execution_document(x sentinai_platform.exceptions, execution uuid) returns jsonb
    language sql stable parallel restricted
    begin atomic
    select sentinai_platform.exception_document(x) || jsonb_build_object('execution_id', execution, 'steps', coalesce(
        (select jsonb_object_agg(s.step::text, coalesce(s.result, '{}')
                 || jsonb_strip_nulls(jsonb_build_object('state', s.state, 'error', s.error, 'tool_execution_id', s.tool_execution_id)))
         from sentinai_platform.step_executions s where s.execution_id = execution and not s.compensation), '{}'));
    end;
comment on function sentinai_platform.execution_document(sentinai_platform.exceptions, uuid) is 'For the templates: an exception and the steps of an execution, as conditions and templates see them.';

-- The read model. What it becomes depends on the events alone.

create function sentinai_platform.project_step_executions(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    insert into sentinai_platform.step_executions as s (execution_id, compensation, step, tenant_id, exception_id, name, tool, state, attempt,
        tool_execution_id, due_at, result, error, retryable, requested_at, ended_at)
    select g.execution_id, g.compensation, g.step, g.tenant_id, g.exception_id, g.last ->> 'name', g.asked ->> 'tool',
           case when g.type = 'StepExecutionRequested' then 'requested' when g.type = 'StepExecutionFailed' then 'failed'
                when g.last @> '{"skipped": true}' then 'skipped' else 'completed' end,
           coalesce((g.last ->> 'attempt')::int, 0), (g.asked ->> 'tool_execution_id')::uuid, (g.asked ->> 'due_at')::timestamptz,
           g.result, g.failure ->> 'error', (g.failure ->> 'retryable')::boolean, g.asked_at,
           case when g.type <> 'StepExecutionRequested' then g.last_at end
    from (
        select e.execution_id, e.compensation, e.step, e.tenant_id, e.exception_id,
               (array_agg(e.event_type order by e.ord desc))[1] as type,
               (array_agg(e.payload order by e.ord desc))[1] as last,
               (array_agg(e.payload order by e.ord desc) filter (where e.event_type = 'StepExecutionRequested'))[1] as asked,
               (array_agg(e.payload order by e.ord desc) filter (where e.event_type = 'StepExecutionFailed'))[1] as failure,
               (array_agg(e.payload -> 'result' order by e.ord desc) filter (where e.event_type = 'StepExecutionCompleted'))[1] as result,
               min(e.at) filter (where e.event_type = 'StepExecutionRequested') as asked_at, max(e.at) as last_at
        from (select b.*, (b.payload ->> 'execution_id')::uuid as execution_id, (b.payload ->> 'step')::int as step,
                     coalesce((b.payload ->> 'compensation')::boolean, false) as compensation, sentinai.event_time(b.event_id) as at
              from sentinai_platform.read_batch(events) b
              where b.event_type in ('StepExecutionRequested', 'StepExecutionCompleted', 'StepExecutionFailed')) e
        group by e.execution_id, e.compensation, e.step, e.tenant_id, e.exception_id) g
    on conflict (execution_id, compensation, step) do update
    set state = excluded.state, attempt = excluded.attempt, due_at = coalesce(excluded.due_at, s.due_at), result = excluded.result,
        error = coalesce(excluded.error, s.error), retryable = coalesce(excluded.retryable, s.retryable), ended_at = excluded.ended_at
    where s.tenant_id = excluded.tenant_id;
    update sentinai_platform.step_executions s
    set call_id = c.event_id
    from (select distinct on (b.payload ->> 'execution_id') b.* from sentinai_platform.read_batch(events) b
          where b.event_type = 'ToolExecutionRequested' and b.payload ->> 'requested_by' = 'playbook'
          order by b.payload ->> 'execution_id', b.ord desc) c
    where s.tool_execution_id = (c.payload ->> 'execution_id')::uuid and s.tenant_id = c.tenant_id;
end $$;
comment on function sentinai_platform.project_step_executions(jsonb) is 'For project_playbooks(): the table step_executions.';

create function sentinai_platform.under_way(tenant_id text, exception_id text) returns setof sentinai_platform.playbook_executions
    language sql stable parallel restricted rows 1
    begin atomic
    -- "offset" has them looked up for each exception. The statistics know few that
    -- are open, if any, so the planner would read all of these for each event.
    select x.* from sentinai_platform.playbook_executions x
    where x.tenant_id = under_way.tenant_id and x.exception_id = under_way.exception_id and x.state in ('waiting', 'running', 'compensating') offset 0;
    end;
comment on function sentinai_platform.under_way(text, text) is 'For playbooks: the executions of an exception that are not over.';

create function sentinai_platform.open_executions(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    insert into sentinai_platform.playbook_executions (execution_id, tenant_id, exception_id, playbook, version, state, reason, requested_by,
        started_at, changed_at, ended_at)
    select b.event_id, b.tenant_id, b.exception_id, b.payload ->> 'playbook', (b.payload ->> 'version')::int,
           case when o.same then 'cancelled' when o.same is not null then 'waiting' else 'running' end,
           case when o.same then 'it is under way already' end, b.payload ->> 'requested_by', t.at, t.at, case when o.same then t.at end
    from sentinai_platform.read_batch(events) b
    cross join lateral (select sentinai.event_time(b.event_id) as at) t
    cross join lateral (
        select bool_or(x.state <> 'compensating' and x.playbook = b.payload ->> 'playbook' and x.version = (b.payload ->> 'version')::int) as same
        from sentinai_platform.under_way(b.tenant_id, b.exception_id) x where x.execution_id < b.event_id) o
    where b.event_type = 'PlaybookMatched'
    on conflict do nothing;
end $$;
comment on function sentinai_platform.open_executions(jsonb) is 'For project_playbooks() and execute_playbook(): a row for each PlaybookMatched. One of an exception runs; another one waits for its end, and the same once more does nothing.';

create function sentinai_platform.end_executions(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    update sentinai_platform.playbook_executions x
    set changed_at = sentinai.event_time(b.event_id), ended_at = sentinai.event_time(b.event_id), reason = b.payload ->> 'reason',
        state = case when b.event_type = 'ExceptionResolved' then 'completed'
                     when x.state = 'compensating' and not exists (select from sentinai_platform.step_executions s
                         where s.execution_id = x.execution_id and s.compensation and s.state = 'failed') then 'compensated'
                     else 'failed' end
    from sentinai_platform.read_batch(events) b
    where b.event_type in ('ExceptionResolved', 'ExceptionEscalated') and x.execution_id = (b.payload ->> 'execution_id')::uuid and x.tenant_id = b.tenant_id
          and x.state not in ('completed', 'compensated', 'failed');
    -- whoever closes the exception, nothing more is done
    with cancelled as (
        update sentinai_platform.playbook_executions x
        set state = 'cancelled', changed_at = sentinai.event_time(b.event_id), ended_at = sentinai.event_time(b.event_id),
            reason = case b.event_type when 'ExceptionResolved' then 'the exception was resolved' else 'the exception was escalated' end
        from sentinai_platform.read_batch(events) b
        cross join lateral sentinai_platform.under_way(b.tenant_id, b.exception_id) o
        where b.event_type in ('ExceptionResolved', 'ExceptionEscalated') and o.execution_id < b.event_id
              and o.execution_id is distinct from (b.payload ->> 'execution_id')::uuid and x.execution_id = o.execution_id
        returning x.execution_id, x.ended_at)
    update sentinai_platform.step_executions s
    set state = 'cancelled', ended_at = c.ended_at
    from cancelled c where s.execution_id = c.execution_id and s.state = 'requested';
end $$;
comment on function sentinai_platform.end_executions(jsonb) is 'For project_executions(): what ExceptionResolved and ExceptionEscalated say.';

create function sentinai_platform.project_executions(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    types constant text[] := sentinai_platform.types_of(events);
begin
    if types && '{PlaybookMatched}' then
        perform sentinai_platform.open_executions(events);
        -- a later choice ends an earlier one
        update sentinai_platform.playbook_executions x
        set state = case x.state when 'waiting' then 'superseded' else 'compensating' end, changed_at = n.started_at,
            reason = format('superseded by version %s of playbook "%s"', n.version, n.playbook),
            ended_at = case x.state when 'waiting' then n.started_at end
        from sentinai_platform.read_batch(events) b
        join sentinai_platform.playbook_executions n on n.execution_id = b.event_id and n.state = 'waiting'
        cross join lateral sentinai_platform.under_way(n.tenant_id, n.exception_id) o
        where b.event_type = 'PlaybookMatched' and o.execution_id < n.execution_id and x.execution_id = o.execution_id;
    end if;
    -- and what a later one does tells that an earlier one is over
    update sentinai_platform.playbook_executions x
    set state = 'superseded', changed_at = sentinai.event_time(b.event_id), ended_at = sentinai.event_time(b.event_id)
    from sentinai_platform.read_batch(events) b
    cross join lateral sentinai_platform.under_way(b.tenant_id, b.exception_id) o
    where b.event_type <> 'PlaybookMatched' and o.execution_id < (b.payload ->> 'execution_id')::uuid and x.execution_id = o.execution_id;
    if types && '{StepExecutionRequested}' then
        update sentinai_platform.playbook_executions x
        set step = (b.payload ->> 'step')::int, changed_at = sentinai.event_time(b.event_id), ended_at = null,
            reason = case when x.ended_at is null then x.reason end,
            state = case when b.payload @> '{"compensation": true}' then 'compensating' when x.state = 'compensating' then x.state else 'running' end
        from sentinai_platform.read_batch(events) b
        where b.event_type = 'StepExecutionRequested' and x.execution_id = (b.payload ->> 'execution_id')::uuid and x.tenant_id = b.tenant_id;
    end if;
    if types && '{ExceptionResolved,ExceptionEscalated}' then
        perform sentinai_platform.end_executions(events);
    end if;
end $$;
comment on function sentinai_platform.project_executions(jsonb) is 'For project_playbooks(): the table playbook_executions, from at most one event of each exception.';

create function sentinai_platform.waves(events jsonb) returns setof jsonb
    language sql stable parallel restricted rows 10
    begin atomic
    select jsonb_agg(w.event order by w.ord)
    from (select b.ord, b.event, row_number() over (partition by b.tenant_id, b.exception_id order by b.ord) as wave
          from sentinai_platform.read_batch(events) b) w
    group by w.wave order by w.wave;
    end;
comment on function sentinai_platform.waves(jsonb) is 'For playbooks and rebuild_projections(): sets with one event of each exception at most, which keep the order of its events.';

create function sentinai_platform.project_playbooks(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    own jsonb;
begin
    if sentinai_platform.types_of(events) && '{StepExecutionRequested,StepExecutionCompleted,StepExecutionFailed,ToolExecutionRequested}' then
        perform sentinai_platform.project_step_executions(events);
    end if;
    select jsonb_agg(b.event order by b.ord) into own from sentinai_platform.read_batch(events) b
    where b.event_type in ('PlaybookMatched', 'StepExecutionRequested', 'ExceptionResolved', 'ExceptionEscalated');
    perform sentinai_platform.project_executions(w) from sentinai_platform.waves(own) w;
end $$;
comment on function sentinai_platform.project_playbooks(jsonb) is 'For handlers and commands: writes to playbook_executions and step_executions what events say, in the lock of the exceptions. events: a JSON array of events in their order, with "event_id", "event_type", "tenant_id", "aggregate_id" and "payload"; those of other types are left alone.';

-- The handler.

create function sentinai_platform.record_answers(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    events jsonb;
begin
    events := sentinai_platform.publish_events(array(
        select (case o.event_type when 'ToolExecutionCompleted' then 'StepExecutionCompleted' else 'StepExecutionFailed' end,
            o.tenant_id, o.exception_id, o.said, o.trace, o.event_id, null)::sentinai_platform.new_event
        from (
            select b.*, jsonb_strip_nulls(jsonb_build_object('exception_id', s.exception_id, 'execution_id', s.execution_id, 'step', s.step,
                       'name', s.name, 'attempt', s.attempt, 'compensation', nullif(s.compensation, false)))
                   || case b.event_type
                      when 'ToolExecutionCompleted' then jsonb_build_object('result', jsonb_build_object('response', b.payload -> 'response', 'status', b.payload -> 'status'))
                      when 'ToolExecutionFailed' then jsonb_build_object('error', b.payload -> 'error', 'retryable', coalesce((b.payload ->> 'retryable')::boolean, true))
                      else jsonb_build_object('error', 'no answer in time', 'retryable', true) end as said
            from sentinai_platform.read_batch(batch) b
            join lateral sentinai_platform.exception_of(b.tenant_id, b.exception_id) x on x.state not in ('resolved', 'escalated')
            -- an answer to a step that is over, or a failure of an attempt that is, finds none
            join sentinai_platform.step_executions s on s.tenant_id = b.tenant_id and s.exception_id = b.exception_id and s.state = 'requested'
                and case b.event_type
                    when 'ToolExecutionCompleted' then s.tool_execution_id = (b.payload ->> 'execution_id')::uuid
                    when 'ToolExecutionFailed' then s.tool_execution_id = (b.payload ->> 'execution_id')::uuid
                        and coalesce((b.event ->> 'causation_id')::uuid = s.call_id, true)
                    when 'SLAExpired' then s.due_at <= (b.payload ->> 'due_at')::timestamptz
                    else false end) o
        order by o.ord));
    perform sentinai_platform.project_playbooks(events);
    perform sentinai_platform.project_exceptions(events);
    perform sentinai.meet_deadline(b.tenant_id, b.exception_id, 'step') from sentinai_platform.read_batch(batch) b
    where b.event_type ~ '^Tool' and b.event_id in (select (e.event ->> 'causation_id')::uuid from sentinai_platform.read_batch(events) e);
end $$;
comment on function sentinai_platform.record_answers(jsonb) is 'For playbooks: what tools, and deadlines in their place, have said of the steps that wait for it.';

create function sentinai_platform.next_turns(batch jsonb)
    returns table (ord bigint, event_id uuid, trace jsonb, tenant_id text, exception_id text, execution_id uuid, playbook text, version int, owner text,
                   action text, after_step int, step int, name text, tool text, attempt int, compensation boolean, tool_execution_id uuid,
                   pause interval, timeout interval, arguments jsonb, fault text, outcome text, reason text)
    language plpgsql volatile parallel unsafe rows 100
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
begin
    return query
    with open as materialized (
        select b.ord, b.event_id, b.trace, x.tenant_id, x.exception_id, x.execution_id, x.playbook, x.version, x.state,
               p.tenant_id as owner, p.outcome, sentinai_platform.execution_document(y, x.execution_id) as document,
               c.step as last, c.compensation, c.state as last_state, c.attempt, c.retryable, c.error, c.tool_execution_id, d as definition
        from sentinai_platform.read_batch(batch) b
        join lateral sentinai_platform.exception_of(b.tenant_id, b.exception_id) y on y.state not in ('resolved', 'escalated')
        cross join lateral sentinai_platform.under_way(b.tenant_id, b.exception_id) x
        left join lateral (
            select q.* from sentinai_platform.playbooks q
            where q.tenant_id in (x.tenant_id, '*') and q.playbook = x.playbook and q.version = x.version
            order by q.tenant_id = '*' limit 1) p on true
        left join lateral (
            select s.* from sentinai_platform.step_executions s where s.execution_id = x.execution_id
            order by s.compensation desc, case when s.compensation then s.step else -s.step end limit 1) c on true
        left join sentinai_platform.playbook_steps d
            on d.tenant_id = p.tenant_id and d.playbook = p.playbook and d.version = p.version and d.step = c.step),
    turn as (
        select o.*, case
                when o.owner is null then 'give up'
                when o.last_state = 'requested' then 'wait'
                when o.last_state = 'failed' and o.retryable and o.attempt < (o.definition).max_attempts
                     and (o.compensation or o.state = 'running') then 'retry'
                when o.last_state = 'failed' and o.compensation then 'give up'
                when o.state = 'compensating' then 'undo'
                when o.last_state = 'failed' and (o.definition).on_failure = 'compensate' then 'undo'
                when o.last_state = 'failed' and (o.definition).on_failure = 'escalate' then 'give up'
                else 'go on' end as turn
        from open o),
    chosen as (
        select t.*, n.definition as next, case
                when t.turn = 'wait' then 'wait'
                when (n.definition).step is not null then 'request'
                when t.turn = 'go on' then 'resolve'
                -- what was undone for another playbook needs no people
                when t.turn = 'undo' and exists (select from open w where w.tenant_id = t.tenant_id and w.exception_id = t.exception_id
                                                 and w.state = 'waiting') then 'pass'
                else 'escalate' end as action
        from turn t
        left join lateral (
            select s as definition from sentinai_platform.playbook_steps s
            where s.tenant_id = t.owner and s.playbook = t.playbook and s.version = t.version and case t.turn
                when 'retry' then s.step = t.last
                when 'go on' then s.step > coalesce(t.last, 0)
                    and (s.condition is null or jsonb_path_match_tz(t.document, s.condition, '{}', true))
                when 'undo' then s.compensation_tool is not null and (not t.compensation or s.step < t.last)
                    and exists (select from sentinai_platform.step_executions f
                                where f.execution_id = t.execution_id and not f.compensation and f.step = s.step and f.state = 'completed')
                else false end
            order by case t.turn when 'undo' then -s.step else s.step end limit 1) n on true),
    -- the oldest of an exception that has something left to do
    first as (
        select distinct on (c.tenant_id, c.exception_id) c.*, c.turn = 'undo' or c.turn = 'retry' and c.compensation as undoes
        from chosen c where c.action <> 'pass' order by c.tenant_id, c.exception_id, c.execution_id)
    select f.ord, f.event_id, f.trace, f.tenant_id, f.exception_id, f.execution_id, f.playbook, f.version, f.owner, f.action,
           case f.turn when 'go on' then coalesce(f.last, 0) end, (f.next).step, (f.next).name,
           case when f.undoes then (f.next).compensation_tool else (f.next).tool end,
           case f.turn when 'retry' then f.attempt + 1 else 1 end, f.undoes,
           case f.turn when 'retry' then f.tool_execution_id else gen_random_uuid() end,
           case f.turn when 'retry' then (f.next).retry_after else '0' end, (f.next).timeout,
           case when t.fault is null then sentinai_platform.fill_in(a.template, f.document) end, t.fault,
           f.outcome, w.reason
    from first f
    cross join lateral (select case when f.undoes then (f.next).compensation_arguments else (f.next).arguments end as template) a
    -- "offset" has it judged once
    left join lateral (select sentinai_platform.template_fault(a.template, f.document) as fault offset 0) t on a.template is not null
    left join lateral (
        select left(case when f.owner is null then format('there is no version %s of playbook "%s"', f.version, f.playbook)
                         else format('%s %s (%s) failed: %s', case when s.compensation then 'undoing step' else 'step' end, s.step, s.name, s.error) end, 8000) as reason
        from (values (1)) v left join lateral (
            select e.* from sentinai_platform.step_executions e where e.execution_id = f.execution_id and e.state = 'failed'
            order by e.compensation desc, e.step desc limit 1) s on true) w on f.action = 'escalate'
    where f.action <> 'wait' order by f.ord;
end $$;
comment on function sentinai_platform.next_turns(jsonb) is 'For playbooks: what is to be done next for each exception of a batch. after_step: steps between it and the next one are skipped.';

create function sentinai_platform.advance(batch jsonb) returns boolean
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    events jsonb;
begin
    events := sentinai_platform.publish_events(array(
        with turn as materialized (
            select t.*, jsonb_build_object('exception_id', t.exception_id, 'execution_id', t.execution_id) as id,
                   jsonb_build_object('step', t.step, 'name', t.name, 'attempt', t.attempt)
                   || case when t.compensation then '{"compensation": true}' else '{}'::jsonb end as step_id,
                   clock_timestamp() + t.pause + t.timeout as due_at
            from sentinai_platform.next_turns(batch) t),
        said as (
            select t.ord, s.step as seq, 'StepExecutionCompleted' as type, t.id || jsonb_build_object('step', s.step, 'name', s.name, 'skipped', true) as payload,
                   null::interval as pause, t.event_id, t.trace, t.tenant_id, t.exception_id
            from turn t join sentinai_platform.playbook_steps s
                on s.tenant_id = t.owner and s.playbook = t.playbook and s.version = t.version and s.step > t.after_step
                   and (s.step < t.step or t.step is null)
            union all
            select t.ord, 1001, 'StepExecutionRequested', t.id || t.step_id || jsonb_build_object('playbook', t.playbook, 'version', t.version,
                       'tool', t.tool, 'tool_execution_id', t.tool_execution_id, 'due_at', t.due_at),
                   null, t.event_id, t.trace, t.tenant_id, t.exception_id
            from turn t where t.action = 'request'
            union all
            select t.ord, 1002, 'ToolExecutionRequested', jsonb_build_object('exception_id', t.exception_id, 'execution_id', t.tool_execution_id,
                       'tool', t.tool, 'arguments', t.arguments, 'requested_by', 'playbook'),
                   nullif(t.pause, '0'), t.event_id, t.trace, t.tenant_id, t.exception_id
            from turn t where t.action = 'request' and t.fault is null
            union all
            select t.ord, 1002, 'StepExecutionFailed', t.id || t.step_id || jsonb_build_object('retryable', false,
                       'error', left(t.fault, 8000)),
                   null, t.event_id, t.trace, t.tenant_id, t.exception_id
            from turn t where t.action = 'request' and t.fault is not null
            union all
            select t.ord, 1001, case t.action when 'resolve' then 'ExceptionResolved' else 'ExceptionEscalated' end,
                   t.id || case t.action when 'resolve' then jsonb_build_object('outcome', t.outcome, 'resolved_by', 'playbook')
                           else jsonb_build_object('reason', t.reason, 'escalated_by', 'playbook') end,
                   null, t.event_id, t.trace, t.tenant_id, t.exception_id
            from turn t where t.action in ('resolve', 'escalate'))
        select (o.type, o.tenant_id, o.exception_id, o.payload, o.trace, o.event_id, clock_timestamp() + o.pause)::sentinai_platform.new_event
        from said o order by o.ord, o.seq));
    if events is null then
        return false;
    end if;
    perform sentinai_platform.project_playbooks(events);
    perform sentinai_platform.project_exceptions(events);
    perform sentinai_platform.cancel_approvals(events);
    perform sentinai.meet_deadline(b.tenant_id, b.exception_id, 'resolve') from sentinai_platform.read_batch(events) b
    where b.event_type = 'ExceptionResolved';
    perform sentinai.set_deadline(b.tenant_id, b.exception_id, 'step', (b.payload ->> 'due_at')::timestamptz, threshold => 1, correlation_id => b.exception_id)
    from sentinai_platform.read_batch(events) b where b.event_type = 'StepExecutionRequested';
    -- a step that cannot be asked for has failed, and something else is next
    return exists (select from sentinai_platform.read_batch(events) b where b.event_type = 'StepExecutionFailed');
end $$;
comment on function sentinai_platform.advance(jsonb) is 'For playbooks: does what is next for each exception of a batch. Returns whether to ask again.';

create function sentinai_platform.project_strays(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    strays jsonb;
begin
    select jsonb_agg(b.event order by b.ord) into strays
    from sentinai_platform.read_batch(batch) b
    join sentinai_platform.exceptions x on x.tenant_id = b.tenant_id and x.exception_id = b.exception_id
    where case b.event_type
          when 'PlaybookMatched' then not exists (select from sentinai_platform.playbook_executions e where e.execution_id = b.event_id)
          when 'ExceptionResolved' then x.state <> 'resolved'
          when 'ExceptionEscalated' then x.changed_at < sentinai.event_time(b.event_id)
          else false end;
    if strays is not null then
        perform sentinai_platform.project_exceptions(strays);
        perform sentinai_platform.project_playbooks(strays);
        perform sentinai_platform.cancel_approvals(strays);
    end if;
end $$;
comment on function sentinai_platform.project_strays(jsonb) is 'For playbooks: writes to the read models what somebody has published past the commands. Those, and policy, have written what they published.';

create function sentinai_platform.apply_playbook(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    known jsonb;
    wave jsonb;
begin
    -- tools are called for others, too, and deadlines are of all kinds
    select coalesce(jsonb_agg(b.event order by b.ord), '[]') into known from sentinai_platform.read_batch(batch) b
    where case when b.event_type = 'PlaybookMatched' then true
               when b.event_type ~ '^Exception' then exists (select from sentinai_platform.exceptions x
                   where x.tenant_id = b.tenant_id and x.exception_id = b.exception_id)
               else (b.event_type <> 'SLAExpired' or b.payload ->> 'kind' = 'step' and b.event ->> 'aggregate_type' = 'exception')
                   and exists (select from sentinai_platform.step_executions s
                       where s.tenant_id = b.tenant_id and s.exception_id = b.exception_id and s.state = 'requested') end;
    perform sentinai_platform.lock_exceptions(known);
    for wave in select w from sentinai_platform.waves(known) w loop
        perform sentinai_platform.project_strays(wave);
        perform sentinai_platform.record_answers(wave);
        perform sentinai.cancel_deadline(b.tenant_id, b.exception_id, 'step') from sentinai_platform.read_batch(wave) b
        where b.event_type ~ '^Exception' and not b.payload ? 'execution_id'
              -- a playbook that was begun after that has a step of its own
              and not exists (select from sentinai_platform.step_executions s
                              where s.tenant_id = b.tenant_id and s.exception_id = b.exception_id and s.state = 'requested');
        while sentinai_platform.advance(wave) loop
        end loop;
    end loop;
    -- what resolve() and escalate() were asked for is done already
    perform sentinai_platform.complete_commands((select jsonb_agg(b.event) from sentinai_platform.read_batch(batch) b where b.event_type = 'PlaybookMatched'));
end $$;
comment on function sentinai_platform.apply_playbook(jsonb) is 'For playbooks: a batch, all or nothing.';

create function sentinai_platform.handle_playbook(batch jsonb, out handled int, out retried int, out dead int)
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$ select * from sentinai_platform.handle('playbook', batch) $$;
comment on function sentinai_platform.handle_playbook(jsonb) is 'Playbooks for a batch of PlaybookMatched, ToolExecutionCompleted, ToolExecutionFailed, SLAExpired, ExceptionResolved and ExceptionEscalated: begins executions, takes the answers of tools, and publishes StepExecutionCompleted or StepExecutionFailed and then what is next: StepExecutionRequested and ToolExecutionRequested, with a deadline of the kind "step", or ExceptionResolved or ExceptionEscalated. Answers that nobody waits for change nothing. All else as handle_intake().';
