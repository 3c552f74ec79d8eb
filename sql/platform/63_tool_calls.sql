-- Calls of tools: what is to be called, what came of it, and the tools that need
-- no call.

create function sentinai_platform.tool_events(batch jsonb)
    returns table (ord bigint, event jsonb, event_id uuid, event_type text, tenant_id text, exception_id text, payload jsonb, trace jsonb,
                   execution_id uuid, tool text, occurred_at timestamptz)
    language sql stable parallel safe rows 100
    begin atomic
    select b.*, (b.payload ->> 'execution_id')::uuid, b.payload ->> 'tool', sentinai.event_time(b.event_id)
    from sentinai_platform.read_batch(batch) b
    where b.event_type in ('ToolExecutionRequested', 'ToolExecutionCompleted', 'ToolExecutionFailed')
          and b.payload ->> 'exception_id' = b.exception_id;
    end;
comment on function sentinai_platform.tool_events(jsonb) is 'For the tools: the events of a batch that tell of executions.';

create function sentinai_platform.update_fields(updates jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    u record;
begin
    for u in
        select e ->> 'tenant_id' as tenant_id, e ->> 'exception_id' as exception_id, e -> 'updated' as fields,
               sentinai.event_time((e ->> 'event_id')::uuid) as at
        from jsonb_array_elements(updates) with ordinality t (e, n) order by 1, 2, t.n
    loop
        update sentinai_platform.exceptions x
        set title = coalesce(u.fields ->> 'title', x.title), category = coalesce(u.fields ->> 'category', x.category),
            severity = coalesce(u.fields ->> 'severity', x.severity),
            attributes = x.attributes || coalesce(u.fields -> 'attributes', '{}'), changed_at = greatest(x.changed_at, u.at)
        where x.tenant_id = u.tenant_id and x.exception_id = u.exception_id;
    end loop;
end $$;
comment on function sentinai_platform.update_fields(jsonb) is 'For the tools: gives exceptions the fields that update_field has changed, in a fixed order.';

create function sentinai_platform.project_tools(events jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    -- an execution belongs to the exception and the tool that it was requested for first
    insert into sentinai_platform.tool_executions (tenant_id, execution_id, exception_id, tool, arguments, requested_by, opened_by, status, requests, requested_at)
    select distinct on (e.tenant_id, e.execution_id) e.tenant_id, e.execution_id, e.exception_id, e.tool, e.payload -> 'arguments',
           e.payload ->> 'requested_by', e.event_id, 'requested', 0, e.occurred_at
    from sentinai_platform.tool_events(events) e where e.event_type = 'ToolExecutionRequested'
    order by e.tenant_id, e.execution_id, e.ord
    on conflict do nothing;
    -- what the row has seen is left out, so that an event may be told twice
    with news as (
        select e.*, x.status = 'completed' as was_completed from sentinai_platform.tool_events(events) e
        join sentinai_platform.tool_executions x on x.tenant_id = e.tenant_id and x.execution_id = e.execution_id
            and x.exception_id = e.exception_id and x.tool = e.tool
        where e.event_id > coalesce(case e.event_type when 'ToolExecutionRequested' then x.last_request else x.last_outcome end,
                                    '00000000-0000-0000-0000-000000000000')),
    told as (
        select n.tenant_id, n.execution_id, n.was_completed,
               count(*) filter (where n.event_type = 'ToolExecutionRequested') as requests,
               coalesce(max(n.ord) filter (where n.event_type = 'ToolExecutionRequested'), 0) as requested,
               coalesce(max(n.ord) filter (where n.event_type = 'ToolExecutionFailed'), 0) as failed,
               bool_or(n.event_type = 'ToolExecutionCompleted') as completed,
               (array_agg(n.event_id order by n.ord desc) filter (where n.event_type = 'ToolExecutionRequested'))[1] as last_request,
               (array_agg(n.event_id order by n.ord desc) filter (where n.event_type <> 'ToolExecutionRequested'))[1] as last_outcome,
               -- "Completed" comes before "Failed"
               (array_agg(n.payload order by n.event_type, n.ord desc) filter (where n.event_type <> 'ToolExecutionRequested'))[1] as payload,
               (array_agg(n.occurred_at order by n.event_type, n.ord desc) filter (where n.event_type <> 'ToolExecutionRequested'))[1] as finished_at
        from news n group by n.tenant_id, n.execution_id, n.was_completed),
    -- a completed execution stays it, and a failed one may be requested again
    judged as (
        select t.*, t.completed or not t.was_completed and t.failed > t.requested as shows,
               not t.completed and t.was_completed as stays
        from told t)
    update sentinai_platform.tool_executions x
    set requests = x.requests + j.requests, last_request = coalesce(j.last_request, x.last_request),
        last_outcome = coalesce(j.last_outcome, x.last_outcome),
        status = case when j.stays or j.completed then 'completed' when j.shows then 'failed' else 'requested' end,
        http_status = case when j.stays then x.http_status when j.shows then (j.payload ->> 'status')::int end,
        response = case when j.stays then x.response when j.shows then j.payload -> 'response' end,
        error = case when j.stays then x.error when j.shows then j.payload ->> 'error' end,
        retryable = case when j.stays then x.retryable when j.shows then (j.payload ->> 'retryable')::boolean end,
        duration_ms = case when j.stays then x.duration_ms when j.shows then (j.payload ->> 'duration_ms')::float8 end,
        finished_at = case when j.stays then x.finished_at when j.shows then j.finished_at end
    from judged j
    where x.tenant_id = j.tenant_id and x.execution_id = j.execution_id;
end $$;
comment on function sentinai_platform.project_tools(jsonb) is 'For the tools: writes the read model tool_executions from events: a JSON array of rows as claim() has them, in their order. Events that it has seen change nothing.';

create function sentinai_platform.project_updates(events jsonb) returns void
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
    select sentinai_platform.update_fields(jsonb_agg(jsonb_build_object('tenant_id', e.tenant_id, 'exception_id', e.exception_id, 'event_id', e.event_id,
               'updated', e.payload -> 'updated') order by e.ord))
    from sentinai_platform.tool_events(events) e
    where e.event_type = 'ToolExecutionCompleted' and e.payload ? 'updated' $$;
comment on function sentinai_platform.project_updates(jsonb) is 'For rebuild_projections(): gives exceptions the fields that tools have changed.';

create function sentinai_platform.url_encode(value text) returns text
    language sql immutable strict parallel safe
    set search_path = pg_catalog, pg_temp
    as $$ select coalesce(string_agg(case when c ~ '^[A-Za-z0-9._~-]$' then c
              else regexp_replace(upper(encode(convert_to(c, 'UTF8'), 'hex')), '(..)', '%\1', 'g') end, '' order by n), '')
          from regexp_split_to_table(value, '') with ordinality t (c, n) $$;
comment on function sentinai_platform.url_encode(text) is 'For the tools: a text as it stands in the query of a URL.';

create function sentinai_platform.tenant_of_key(tenant_id text) returns text
    language sql immutable strict parallel safe
    set search_path = pg_catalog, pg_temp
    -- Services take keys of up to 255 characters, and an execution's id has 36. What a
    -- URL has encoded has no "=", so no name is another one's hash.
    as $$ select case when length(e.name) <= 200 then e.name else 'sha256=' || encode(sha256(convert_to(tenant_id, 'UTF8')), 'hex') end
          from (select sentinai_platform.url_encode(tenant_id)) e (name) $$;
comment on function sentinai_platform.tenant_of_key(text) is 'For the tools: a tenant as it stands in an idempotency key: as in a URL, or its hash when that would be longer than 200 characters.';

create function sentinai_platform.tool_requests(batch jsonb)
    returns table (ord bigint, event jsonb, event_id uuid, tenant_id text, exception_id text, payload jsonb, trace jsonb, execution_id uuid, tool text,
                   attempt int, known sentinai_platform.tool_executions, def sentinai_platform.tools, is_same boolean)
    language sql stable parallel restricted rows 100
    begin atomic
    select distinct on (e.tenant_id, e.execution_id, e.exception_id, e.tool)
           e.ord, e.event, e.event_id, e.tenant_id, e.exception_id, e.payload, e.trace, e.execution_id, e.tool,
           coalesce((e.event ->> 'attempt')::int, 1), x, d.def, x.exception_id = e.exception_id and x.tool = e.tool
    from sentinai_platform.tool_events(batch) e
    left join sentinai_platform.tool_executions x on x.tenant_id = e.tenant_id and x.execution_id = e.execution_id
    left join lateral (
        select t as def from sentinai_platform.tools t
        where t.tenant_id in (e.tenant_id, '*') and t.tool = e.tool and t.enabled order by t.tenant_id = '*' limit 1) d on true
    where e.event_type = 'ToolExecutionRequested'
    order by e.tenant_id, e.execution_id, e.exception_id, e.tool, e.ord;
    end;
comment on function sentinai_platform.tool_requests(jsonb) is 'For the tools: the executions that a batch requests, each once, with what is known of them and the tool.';

-- Circuit breakers, with the words and rules of the one before the broker.
create function sentinai_platform.take_trials(batch jsonb) returns text[]
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
    -- a breaker whose time is over, or whose trial has got no outcome for so long;
    -- one that somebody else has at hand is left to him
    with due as (
        select b.tenant_id, b.tool from sentinai_platform.tool_breakers b
        join (select distinct q.tenant_id, q.tool, (q.def).breaker_open from sentinai_platform.tool_requests(batch) q
              where (q.def).kind = 'webhook' and q.is_same and (q.known).status <> 'completed') t using (tenant_id, tool)
        where b.state <> 'closed' and b.since + t.breaker_open <= clock_timestamp()
        for update of b skip locked),
    tried as (
        update sentinai_platform.tool_breakers b set state = 'half-open', since = clock_timestamp()
        from due d where b.tenant_id = d.tenant_id and b.tool = d.tool
        returning array[b.tenant_id, b.tool]::text as key)
    select coalesce(array_agg(t.key), '{}') from tried t $$;
comment on function sentinai_platform.take_trials(jsonb) is 'For the tools: tenants and tools whose breaker lets one call of the batch through.';

create function sentinai_platform.prepare_calls(batch jsonb)
    returns table (event_id uuid, result jsonb, execution_id uuid, idempotency_key text, owner text, may_retry boolean, method text, url text, host text, port int,
                   networks text, headers text, secret_headers text, body text, timeout_ms int, max_response_bytes int)
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
declare
    trials text[] := '{}';
begin
    perform sentinai_platform.project_tools(batch);
    if exists (select from sentinai_platform.tool_breakers b where b.state <> 'closed') then
        trials := sentinai_platform.take_trials(batch);
    end if;
    return query
    with r as materialized (
        select q.*, (q.def).settings as s, u.host as to_host, u.port as to_port, coalesce((q.def).settings ->> 'method', 'POST') as verb,
               case when (q.def).settings ->> 'method' in ('GET', 'DELETE') then octet_length((q.payload -> 'arguments')::text) end as in_url,
               b.since + (q.def).breaker_open - clock_timestamp() as left_open, b.state,
               row_number() over (partition by q.tenant_id, q.tool order by q.ord) as place
        from sentinai_platform.tool_requests(batch) q
        cross join lateral sentinai_platform.url_parts((q.def).settings ->> 'url') u
        left join sentinai_platform.tool_breakers b on b.tenant_id = q.tenant_id and b.tool = q.tool
        where (q.def).kind = 'webhook' and q.is_same and (q.known).status <> 'completed')
    select r.event_id,
           case when r.state <> 'closed' and not (r.place = 1 and array[r.tenant_id, r.tool]::text = any (trials))
                then jsonb_build_object('called', false, 'retryable', true, 'error', 'the circuit breaker of the tool is open',
                    'retry_in', greatest(extract(epoch from r.left_open), 0)::float8)
                when a.networks is null
                then jsonb_build_object('called', false, 'retryable', false, 'error', 'the host of the tool is not allowed')
                when r.in_url > 8192
                then jsonb_build_object('called', false, 'retryable', false, 'error', 'the arguments are too large for a URL') end,
           r.execution_id,
           -- who may publish for one tenant can name the execution of another one
           case when (r.def).tenant_id = '*' then sentinai_platform.tenant_of_key(r.tenant_id) || ':' else '' end || r.execution_id,
           (r.def).tenant_id, r.attempt < (r.def).max_attempts, r.verb,
           (r.s ->> 'url') || case when r.in_url <= 8192 then coalesce((
               select case when r.s ->> 'url' ~ '\?' then '&' else '?' end
                      || string_agg(sentinai_platform.url_encode(k.key) || '=' || sentinai_platform.url_encode(k.value), '&' order by k.key)
               from jsonb_each_text(r.payload -> 'arguments') k), '') else '' end,
           r.to_host, r.to_port, a.networks,
           coalesce((select string_agg(h.key || ': ' || h.value, e'\n' order by h.key) from (
               select h.key, h.value from jsonb_each_text(r.s -> 'headers') h
               union all
               select 'Content-Type', 'application/json' where r.verb not in ('GET', 'DELETE')
                      and not exists (select from jsonb_object_keys(r.s -> 'headers') k where lower(k) = 'content-type')) h), ''),
           coalesce((select string_agg(h.key || ': ' || h.value, e'\n' order by h.key) from jsonb_each_text(r.s -> 'secret_headers') h), ''),
           case when r.verb not in ('GET', 'DELETE') then (r.payload -> 'arguments')::text end,
           -- 1000.0 is a whole number, too
           least(coalesce((r.s ->> 'timeout_ms')::numeric, 10000), (r.payload ->> 'timeout_ms')::numeric)::int,
           coalesce((r.s ->> 'max_response_bytes')::numeric, 65536)::int
    from r
    left join lateral (
        select array_to_string(h.networks, ',') as networks from sentinai_platform.allowed_hosts h
        where h.tenant_id in (r.tenant_id, '*') and h.port = r.to_port
              and (h.host = r.to_host or h.host like '*.%' and right(r.to_host, length(h.host) - 1) = substr(h.host, 2))
        order by h.tenant_id = '*', h.host <> r.to_host, length(h.host) desc limit 1) a on true
    order by r.ord;
end $$;
comment on function sentinai_platform.prepare_calls(jsonb) is 'For prepare(): what is to be called for ToolExecutionRequested of a batch, all or nothing.';

create function sentinai_platform.prepare(agent text, batch jsonb)
    returns table (event_id uuid, result jsonb, execution_id uuid, idempotency_key text, owner text, may_retry boolean, method text, url text, host text, port int,
                   networks text, headers text, secret_headers text, body text, timeout_ms int, max_response_bytes int)
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
declare
    event jsonb;
    state text;
    message text;
    detail text;
begin
    select jsonb_agg(e order by n) into batch from jsonb_array_elements(batch) with ordinality t (e, n)
    where agent = 'tool' and e ->> 'event_type' = 'ToolExecutionRequested';
    if batch is null then
        return;
    end if;
    begin
        perform sentinai_platform.limit_time(jsonb_array_length(batch));
        return query select * from sentinai_platform.prepare_calls(batch);
        return;
    exception when query_canceled or others then
        if not sentinai_platform.is_fault_of_event(sqlstate) then
            raise;
        end if;
    end;
    for event in select e from jsonb_array_elements(batch) with ordinality t (e, n) order by n loop
        begin
            perform sentinai_platform.limit_time(1);
            return query select * from sentinai_platform.prepare_calls(jsonb_build_array(event));
        exception when query_canceled or others then
            get stacked diagnostics state = returned_sqlstate, message = message_text, detail = pg_exception_detail;
            if not sentinai_platform.is_fault_of_event(state) then
                raise;
            end if;
            -- the handler hears of it as of a call that was not made
            return query select (event ->> 'event_id')::uuid, jsonb_build_object('called', false, 'retryable', false,
                    'error', left(w.error, 8000)),
                (event #>> '{payload,execution_id}')::uuid, null::text, null::text, false, null::text, null::text, null::text, null::int,
                null::text, null::text, null::text, null::text, null::int, null::int
            from sentinai_platform.what_failed(state, message, detail) w;
        end;
    end loop;
end $$;
comment on function sentinai_platform.prepare(text, jsonb) is 'For agents that call out before their handler: what is to be called for a claimed batch, a row for each event with one. result: not null when nothing is to be called, what to hand on instead. The agent makes the calls outside of a transaction, puts each result into its event as "result", and calls handle(). Webhooks of executions that are completed have no row.';

create function sentinai_platform.read_response(body text) returns jsonb
    language plpgsql immutable strict parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    -- a number of ten characters may have 100,000 digits, and would be stored with them
    if body ~ '(^|[[:space:]\[:,])-?[0-9]+(\.[0-9]+)?[eE][+-]?[0-9]{3}' then
        return to_jsonb(body);
    end if;
    return body::jsonb;
exception when others then
    -- what is no JSON is a text
    return to_jsonb(body);
end $$;
comment on function sentinai_platform.read_response(text) is 'For the tools: what a webhook answered, as JSON.';

create function sentinai_platform.judge_result(result jsonb, settings jsonb) returns jsonb
    language sql immutable parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select jsonb_strip_nulls(jsonb_build_object(
               'ok', result -> 'error' is null and coalesce((result ->> 'status')::int between 200 and 299, false),
               'called', coalesce((result ->> 'called')::boolean, true),
               'status', result -> 'status', 'duration_ms', coalesce(result -> 'duration_ms', '0'), 'retry_in', result -> 'retry_in',
               'error', coalesce(result ->> 'error', case when coalesce((result ->> 'status')::int not between 200 and 299, true)
                   then format('HTTP status %s', coalesce(result ->> 'status', 'unknown')) end),
               'retryable', case when result -> 'error' is not null then coalesce(result -> 'retryable', 'false')
                   else to_jsonb(coalesce(settings -> 'retry_on', '[408, 425, 429, 500, 502, 503, 504]') @> (result -> 'status')) end))
           || case when result ->> 'body' <> '' then jsonb_build_object('response', sentinai_platform.read_response(result ->> 'body')) else '{}' end $$;
comment on function sentinai_platform.judge_result(jsonb, jsonb) is 'For the tools: what a result of a call means.';

create function sentinai_platform.note_breakers(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    o record;
begin
    -- an answer that says no is one of a service that works
    for o in
        with c as (
            select q.tenant_id, q.tool, q.ord, (q.def).breaker_threshold, (j.judged ->> 'ok')::boolean or not (j.judged ->> 'retryable')::boolean as works
            from sentinai_platform.tool_requests(batch) q
            cross join lateral (select sentinai_platform.judge_result(q.event -> 'result', (q.def).settings) as judged) j
            where q.event ? 'result' and (j.judged ->> 'called')::boolean and (q.def).kind = 'webhook')
        select c.tenant_id, c.tool, c.breaker_threshold as threshold, bool_or(c.works) as any_works,
               count(*) filter (where not c.works and c.ord > coalesce(l.last, 0)) as failures
        from c cross join lateral (select max(w.ord) as last from c w where w.works and w.tenant_id = c.tenant_id and w.tool = c.tool) l
        group by c.tenant_id, c.tool, c.breaker_threshold order by 1, 2
    loop
        if o.failures = 0 then
            update sentinai_platform.tool_breakers b
            set state = 'closed', failures = 0, since = case b.state when 'closed' then b.since else clock_timestamp() end
            where b.tenant_id = o.tenant_id and b.tool = o.tool and (b.state = 'half-open' or b.state = 'closed' and b.failures > 0);
            continue;
        end if;
        insert into sentinai_platform.tool_breakers as b (tenant_id, tool, state, failures, since, openings)
        values (o.tenant_id, o.tool, 'closed', 0, clock_timestamp(), 0) on conflict do nothing;
        -- while it is open this is news of what was called before, and changes nothing
        update sentinai_platform.tool_breakers b
        set (state, failures, since, openings) = (
            select case when n.opens then 'open' else 'closed' end, case when n.opens then 0 else n.failures end,
                   case when n.opens then clock_timestamp() else b.since end, b.openings + n.opens::int
            from (select f.failures, b.state = 'half-open' or f.failures >= o.threshold as opens
                  from (select o.failures + case when o.any_works then 0 else b.failures end as failures) f) n)
        where b.tenant_id = o.tenant_id and b.tool = o.tool and b.state <> 'open';
    end loop;
end $$;
comment on function sentinai_platform.note_breakers(jsonb) is 'For the tools: tells the breakers what became of the calls of a batch, in a fixed order.';

create function sentinai_platform.update_of(settings jsonb, arguments jsonb) returns jsonb
    language plpgsql immutable parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    field text := arguments ->> 'field';
    value jsonb := arguments -> 'value';
begin
    if field is null or not settings -> 'fields' ? field then
        return '{"ok": false, "error": "the tool may not change this field"}';
    elsif value is null or (field !~ '^attributes\.' and jsonb_typeof(value) <> 'string')
          or field = 'severity' and value #>> '{}' not in ('low', 'medium', 'high', 'critical')
          or field = 'title' and length(value #>> '{}') > 1000 or field = 'category' and length(value #>> '{}') not between 1 and 200
          or octet_length(value::text) > 65536 then
        return '{"ok": false, "error": "the value does not fit the field"}';
    end if;
    return jsonb_build_object('ok', true, 'updated', case when field ~ '^attributes\.'
        then jsonb_build_object('attributes', jsonb_build_object(split_part(field, '.', 2), value)) else jsonb_build_object(field, value) end);
end $$;
comment on function sentinai_platform.update_of(jsonb, jsonb) is 'For the tools: what update_field changes.';

create function sentinai_platform.start_wait(settings jsonb, arguments jsonb, tenant_id text, exception_id text, execution_id uuid, requested_at timestamptz)
    returns jsonb
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    seconds numeric := case when jsonb_typeof(arguments -> 'seconds') = 'number' then (arguments ->> 'seconds')::numeric
                       when arguments -> 'seconds' is null then (settings ->> 'seconds')::numeric end;
begin
    if seconds is null or seconds not between 0 and coalesce((settings ->> 'max_seconds')::numeric, greatest(86400, (settings ->> 'seconds')::numeric)) then
        return '{"ok": false, "error": "the tool may not wait so long"}';
    end if;
    perform sentinai.set_deadline(tenant_id, exception_id, 'wait ' || execution_id, requested_at + seconds * interval '1 second',
        threshold => 1, correlation_id => exception_id);
    return null;
end $$;
comment on function sentinai_platform.start_wait(jsonb, jsonb, text, text, uuid, timestamptz) is 'For the tools: sets the deadline that ends a wait. It is answered when that has come.';

create function sentinai_platform.run_builtin(request jsonb, tool sentinai_platform.tools, trace jsonb) returns jsonb
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    tenant constant text := request ->> 'tenant_id';
    exception_id constant text := request #>> '{payload,exception_id}';
    execution_id constant uuid := request #>> '{payload,execution_id}';
    arguments constant jsonb := request #> '{payload,arguments}';
    event uuid;
begin
    case tool.kind
        when 'webhook' then
            -- it was none when the batch was prepared, or the one before it was to be called again
            raise exception using errcode = 'SN409', message = 'the webhook was not called',
                detail = 'The batch was not prepared, or the tool has changed since.';
        when 'update_field' then
            return sentinai_platform.update_of(tool.settings, arguments);
        when 'wait' then
            return sentinai_platform.start_wait(tool.settings, arguments, tenant, exception_id, execution_id, (request ->> 'occurred_at')::timestamptz);
        when 'notify' then
            -- everybody who is connected may listen, so there is nothing in it but what it is about
            perform pg_notify(tool.settings ->> 'channel', jsonb_build_object('tenant_id', tenant, 'exception_id', exception_id,
                'execution_id', execution_id)::text);
            return '{"ok": true}';
        when 'publish_event' then
            event := sentinai.publish(tool.settings ->> 'event_type', tenant, exception_id, arguments, 'exception', trace,
                correlation_id => exception_id, causation_id => (request ->> 'event_id')::uuid);
            return jsonb_build_object('ok', true, 'response', jsonb_build_object('event_id', event));
    end case;
exception when sqlstate 'SN422' or sqlstate 'SN413' or sqlstate 'SN403' then
    return jsonb_build_object('ok', false, 'error', format('%s: %s', sqlstate, sqlerrm));
end $$;
comment on function sentinai_platform.run_builtin(jsonb, sentinai_platform.tools, jsonb) is 'For the tools: does what needs no call. Null: the answer comes later.';

create function sentinai_platform.answer_request(request jsonb, trace jsonb, known sentinai_platform.tool_executions, def sentinai_platform.tools, is_same boolean)
    returns jsonb
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if not coalesce(is_same, false) then
        return '{"ok": false, "error": "the execution id is that of another execution"}';
    elsif known.status = 'completed' then
        -- an outcome that is not read back yet comes behind this request anyway
        return case when known.last_outcome is not null then jsonb_strip_nulls(jsonb_build_object('ok', true, 'status', known.http_status,
            'duration_ms', known.duration_ms)) || case when known.response is not null then jsonb_build_object('response', known.response) else '{}' end end;
    elsif request ? 'result' then
        return sentinai_platform.judge_result(request -> 'result', def.settings);
    elsif def.kind is null then
        return '{"ok": false, "error": "no such tool"}';
    end if;
    return sentinai_platform.run_builtin(request, def, trace);
end $$;
comment on function sentinai_platform.answer_request(jsonb, jsonb, sentinai_platform.tool_executions, sentinai_platform.tools, boolean) is 'For the tools: the answer to a request of an execution; null when there is none now.';

create function sentinai_platform.find_answers(batch jsonb) returns jsonb
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
    with a as (
        select q.ord, q.event_id, q.tenant_id, q.exception_id, q.trace, q.execution_id, q.tool,
               sentinai_platform.answer_request(q.event, q.trace, q.known, q.def, q.is_same) as answer
        from (select * from sentinai_platform.tool_requests(batch) r order by r.ord) q
        union all
        select b.ord, b.event_id, b.tenant_id, b.exception_id, b.trace, x.execution_id, x.tool, '{"ok": true}'
        from sentinai_platform.read_batch(batch) b
        join sentinai_platform.tool_executions x on x.tenant_id = b.tenant_id and x.exception_id = b.exception_id
            and 'wait ' || x.execution_id = b.payload ->> 'kind' and x.status = 'requested'
        where b.event_type = 'SLAExpired' and b.event ->> 'aggregate_type' = 'exception')
    select coalesce(jsonb_agg(to_jsonb(a) order by a.ord), '[]') from a where a.answer is not null $$;
comment on function sentinai_platform.find_answers(jsonb) is 'For the tools: the answers that a batch leads to, a JSON array.';

create function sentinai_platform.publish_answers(answers jsonb) returns jsonb
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    events jsonb;
begin
    events := sentinai_platform.publish_events(array(
        select (case when a.ok then 'ToolExecutionCompleted' else 'ToolExecutionFailed' end, a.tenant_id, a.exception_id,
            jsonb_strip_nulls(jsonb_build_object('exception_id', a.exception_id, 'execution_id', a.execution_id, 'tool', a.tool,
                'duration_ms', coalesce(a.answer -> 'duration_ms', '0'), 'status', a.answer -> 'status',
                'error', case when not a.ok then a.answer -> 'error' end,
                'retryable', case when not a.ok then coalesce(a.answer -> 'retryable', 'false') end))
            || case when a.answer ? 'response' then jsonb_build_object('response', a.answer -> 'response') else '{}' end
            || case when a.answer ? 'updated' then jsonb_build_object('updated', a.answer -> 'updated') else '{}' end,
            a.trace, a.event_id, null)::sentinai_platform.new_event
        from (select r.*, (r.answer ->> 'ok')::boolean as ok from jsonb_to_recordset(answers)
                  r (ord bigint, event_id uuid, tenant_id text, exception_id text, trace jsonb, execution_id uuid, tool text, answer jsonb)) a
        order by a.ord));
    return (select jsonb_agg(a.answer || jsonb_build_object('event_id', a.event -> 'event_id',
                'answer', a.event -> 'payload' || jsonb_build_object('ok', a.answer #> '{answer,ok}')) order by a.n)
            from rows from (jsonb_array_elements(answers), jsonb_array_elements(events)) with ordinality a (answer, event, n));
end $$;
comment on function sentinai_platform.publish_answers(jsonb) is 'For the tools: publishes what became of executions. Returns the answers as their events have them, with the ids of these.';

create function sentinai_platform.answer_tools(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    answers jsonb := sentinai_platform.find_answers(batch);
begin
    begin
        answers := sentinai_platform.publish_answers(answers);
    exception when sqlstate 'SN422' or sqlstate 'SN413' then
        -- one that cannot be kept, as it is too large or nested too deep, is found when it is alone
        if jsonb_array_length(answers) <> 1 then
            raise;
        end if;
        answers := jsonb_set(answers, '{0,answer}', (answers #> '{0,answer}') - '{response,updated}'::text[]
            || '{"ok": false, "error": "the response cannot be kept", "retryable": false}');
        answers := sentinai_platform.publish_answers(answers);
    end;
    -- what else is known of it is read back from the event, which is redacted
    update sentinai_platform.tool_executions x
    set status = case when (a.answer ->> 'ok')::boolean then 'completed' else 'failed' end
    from jsonb_to_recordset(answers) a (tenant_id text, exception_id text, execution_id uuid, tool text, answer jsonb)
    where x.tenant_id = a.tenant_id and x.execution_id = a.execution_id and x.exception_id = a.exception_id and x.tool = a.tool and x.status <> 'completed';
    update sentinai_platform.commands c
    set status = case when (a.answer ->> 'ok')::boolean then 'completed' else 'failed' end,
        error = case when not (a.answer ->> 'ok')::boolean then a.answer ->> 'error' end, finished_at = clock_timestamp()
    from jsonb_to_recordset(answers) a (tenant_id text, execution_id uuid, answer jsonb)
    where c.execution_id = a.execution_id and c.tenant_id = a.tenant_id and c.command = 'execute_tool' and c.status <> 'completed';
    -- at once, since who hears of it may ask for it
    perform sentinai_platform.update_fields((
        select jsonb_agg(jsonb_build_object('tenant_id', a ->> 'tenant_id', 'exception_id', a ->> 'exception_id', 'event_id', a -> 'event_id',
            'updated', a #> '{answer,updated}'))
        from jsonb_array_elements(answers) a where a -> 'answer' ? 'updated'));
end $$;
comment on function sentinai_platform.answer_tools(jsonb) is 'For the tools: publishes the answers to a batch, and notes them.';

create function sentinai_platform.calls_again(batch jsonb)
    returns table (ord bigint, tenant_id text, exception_id text, event jsonb, event_id uuid, error text, retry_in interval)
    language sql stable parallel restricted rows 10
    set search_path = pg_catalog, pg_temp
    as $$
    select distinct on (q.tenant_id, q.exception_id) q.ord, q.tenant_id, q.exception_id, q.event, q.event_id, j.judged ->> 'error',
           (j.judged ->> 'retry_in')::float8 * interval '1 second'
    from sentinai_platform.tool_requests(batch) q
    cross join lateral (select sentinai_platform.judge_result(q.event -> 'result', (q.def).settings) as judged) j
    where q.event ? 'result' and q.is_same and (q.known).status <> 'completed'
          and not (j.judged ->> 'ok')::boolean and (j.judged ->> 'retryable')::boolean and q.attempt < (q.def).max_attempts
    order by q.tenant_id, q.exception_id, q.ord $$;
comment on function sentinai_platform.calls_again(jsonb) is 'For the tools: the calls of a batch that have failed and are to be made again, the first of each exception.';

create function sentinai_platform.settle_tools(batch jsonb, out rest jsonb, out retried int, out dead int)
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    given_up jsonb;
begin
    rest := batch; retried := 0; dead := 0;
    if not exists (select from jsonb_array_elements(batch) e where e ? 'result') then
        return;
    end if;
    perform sentinai_platform.note_breakers(batch);
    with failed as materialized (
        select a.*, sentinai.fail(a.event ->> 'token', a.event_id, a.error, true, a.retry_in) as outcome
        from sentinai_platform.calls_again(batch) a where a.event ->> 'token' is not null order by a.ord)
    -- later events of a key that has failed have left the batch
    select coalesce(jsonb_agg(b.event order by b.ord) filter (where f.ord is null or b.ord < f.ord), '[]'),
           count(*) filter (where f.ord = b.ord and f.outcome = 'retrying'), count(*) filter (where f.ord = b.ord and f.outcome = 'dead'),
           jsonb_agg(b.event order by b.ord) filter (where f.ord = b.ord and f.outcome = 'dead')
    into rest, retried, dead, given_up
    from sentinai_platform.read_batch(batch) b
    left join failed f on f.tenant_id = b.tenant_id and f.exception_id = b.exception_id;
    if given_up is not null then
        perform sentinai_platform.lock_known(given_up);
        perform sentinai_platform.answer_tools(given_up);
    end if;
end $$;
comment on function sentinai_platform.settle_tools(jsonb) is 'For the tools: gives back what is to be called again, and says what is left of a batch. An execution whose subscription has no attempts left has failed.';

create function sentinai_platform.apply_tool(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    -- under the lock of the exception, so that a rebuild sees all or nothing of it
    perform sentinai_platform.lock_known(batch);
    perform sentinai_platform.project_tools(batch);
    perform sentinai_platform.answer_tools(batch);
end $$;
comment on function sentinai_platform.apply_tool(jsonb) is 'For the tools: a batch, all or nothing.';

create function sentinai_platform.execute_tool(
        tenant_id text, exception_id text, tool text, arguments jsonb default '{}',
        requested_by text default null, idempotency_key text default null)
    returns uuid
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
declare
    -- a call that is repeated with its key has the same
    execution uuid := coalesce(md5('execute_tool:' || tenant_id || ':' || idempotency_key)::uuid, gen_random_uuid());
begin
    perform sentinai.publish('ToolExecutionRequested', tenant_id, exception_id,
        jsonb_build_object('exception_id', exception_id, 'execution_id', execution, 'tool', tool, 'arguments', arguments)
            || jsonb_strip_nulls(jsonb_build_object('requested_by', requested_by)),
        idempotency_key => case idempotency_key when '' then '' else 'execute_tool:' || idempotency_key end);
    insert into sentinai_platform.commands (execution_id, tenant_id, exception_id, command, status, requested_at, requested_by)
    values (execution, tenant_id, exception_id, 'execute_tool', 'accepted', clock_timestamp(), session_user)
    on conflict do nothing;
    if not found then
        return execution;
    end if;
    if not exists (select from sentinai_platform.exceptions x where x.tenant_id = execute_tool.tenant_id and x.exception_id = execute_tool.exception_id) then
        raise exception using errcode = 'SN404', message = 'no such exception',
            detail = 'It is unknown, not taken in yet, or of a tenant that the caller may not operate for.';
    elsif not exists (select from sentinai_platform.tools t where t.tenant_id in (execute_tool.tenant_id, '*') and t.tool = execute_tool.tool and t.enabled) then
        raise exception using errcode = 'SN404', message = 'no such tool', detail = 'It is unknown to the tenant, or not enabled.';
    end if;
    return execution;
end $$;
comment on function sentinai_platform.execute_tool(text, text, text, jsonb, text, text) is 'Has a tool called for an exception, whatever the guardrails say: publishes ToolExecutionRequested, and returns the execution id, which a webhook gets as idempotency key, after the tenant when the tool is for every tenant. tool: one of the tenant''s, or for every tenant. arguments: a JSON object. requested_by: who wants it. idempotency_key: as of submit_exception(). Errors: as submit_exception(); SN404 no such exception, or no such tool.';

create function sentinai_platform.get_tool_execution(tenant_id text, execution_id uuid)
    returns setof sentinai_platform.tool_executions
    language plpgsql stable parallel restricted rows 1
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
begin
    perform sentinai_platform.require_read(get_tool_execution.tenant_id);
    return query select * from sentinai_platform.tool_executions x
                 where x.tenant_id = get_tool_execution.tenant_id and x.execution_id = get_tool_execution.execution_id;
end $$;
comment on function sentinai_platform.get_tool_execution(text, uuid) is 'The row of an execution of a tool in the read model; none when an agent has not taken it yet, or there is none. Errors: 22004 null tenant_id; SN403 not allowed.';

create function sentinai_platform.list_tool_executions(
        tenant_id text, exception_id text default null, tool text default null, status text default null,
        from_time timestamptz default null, to_time timestamptz default null,
        max_rows int default 100, before uuid default null)
    returns setof sentinai_platform.tool_executions
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
        case when $2 is not null then ' and x.exception_id = $2' end,
        case when $3 is not null then ' and x.tool = $3' end,
        case when $4 is not null then ' and x.status = $4' end,
        case when $5 is not null then ' and x.opened_by >= sentinai_platform.first_id($5)' end,
        case when $6 is not null then ' and x.opened_by < sentinai_platform.first_id($6)' end,
        case when $8 is not null then ' and x.opened_by < $8' end);
    return query execute 'select * from sentinai_platform.tool_executions x where x.tenant_id = $1' || condition
        || ' order by x.opened_by desc limit $7'
        using $1, $2, $3, $4, $5, $6, $7, $8;
end $$;
comment on function sentinai_platform.list_tool_executions(text, text, text, text, timestamptz, timestamptz, int, uuid) is 'A page of a tenant''s executions of tools, the newest first. A filter that is null does not count. status: "requested", "completed" or "failed". from_time: requested then or later. to_time: requested before. max_rows: 1 to 1,000. before: opened_by of the last row of the page before. Errors: 22004 null tenant_id or max_rows; SN403 not allowed; SN422 invalid max_rows.';
