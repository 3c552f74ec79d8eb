-- Tools: what may be called for an exception, and where to.
create table sentinai_platform.allowed_hosts (
    tenant_id  text collate "C" not null,
    host       text collate "C" not null check (host ~ '^(\*\.)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$' or host ~ '^\[[0-9a-f:.]+\]$'),
    port       int not null default 443 check (port between 1 and 65535),
    networks   cidr[] not null default '{}' check (array_position(networks, null) is null),
    changed_at timestamptz not null default now(),
    changed_by text collate "C" not null default session_user,
    primary key (tenant_id, host, port)
);
comment on table sentinai_platform.allowed_hosts is 'Hosts that webhooks may call. Nothing is allowed that has no row here. Only who may operate for every tenant writes it, since a host is reached from where the agent runs.';
comment on column sentinai_platform.allowed_hosts.tenant_id is 'Tenant whose executions may call it; "*" for every one.';
comment on column sentinai_platform.allowed_hosts.host is 'Its name in lower case, or its address, an IPv6 one in brackets. "*.example.com" is every name that ends so.';
comment on column sentinai_platform.allowed_hosts.port is 'Its port.';
comment on column sentinai_platform.allowed_hosts.networks is 'Networks that are not public in which its address may be. Without one an address that is private, of this machine, link-local, multicast or reserved is refused, whatever name leads to it.';
comment on column sentinai_platform.allowed_hosts.changed_at is 'When the row was written.';
comment on column sentinai_platform.allowed_hosts.changed_by is 'Role that had logged in when it was written.';

create table sentinai_platform.tools (
    tenant_id         text collate "C" not null,
    tool              text collate "C" not null check (length(tool) between 1 and 200),
    kind              text collate "C" not null check (kind in ('webhook', 'notify', 'update_field', 'wait', 'publish_event')),
    settings          jsonb not null default '{}' check (jsonb_typeof(settings) = 'object'),
    max_attempts      int not null default 1 check (max_attempts between 1 and 100),
    breaker_threshold int not null default 5 check (breaker_threshold between 1 and 1000000),
    breaker_open      interval not null default '60 seconds' check (breaker_open > '0' and breaker_open <= '1 day'),
    description       text collate "C" check (length(description) <= 1000),
    enabled           boolean not null default true,
    changed_at        timestamptz not null default now(),
    changed_by        text collate "C" not null default session_user,
    primary key (tenant_id, tool)
);
comment on table sentinai_platform.tools is 'Tools that playbooks and people may call. A tool of the tenant''s own goes before the one of that name for every tenant. Functions to change it are INSERT, UPDATE and DELETE; what does not fit is SN422 with the JSON Pointer of the setting.';
comment on column sentinai_platform.tools.tenant_id is 'Tenant; "*" for every one.';
comment on column sentinai_platform.tools.tool is 'Name of the tool.';
comment on column sentinai_platform.tools.kind is '"webhook": an HTTP call; "notify": NOTIFY on a channel; "update_field": another value for a field of the exception; "wait": time passes; "publish_event": an event of the exception.';
comment on column sentinai_platform.tools.settings is 'What the kind needs. webhook: url, method, headers, secret_headers, timeout_ms, max_response_bytes, retry_on. notify: channel. update_field: fields. wait: seconds, max_seconds. publish_event: event_type.';
comment on column sentinai_platform.tools.max_attempts is 'How often the agent tries a request that failed for a reason that may pass, with the waits of its subscription. 1: the failure is published at once.';
comment on column sentinai_platform.tools.breaker_threshold is 'Failures in a row that open the circuit breaker of the tool for a tenant.';
comment on column sentinai_platform.tools.breaker_open is 'How long it stays open before a call is tried.';
comment on column sentinai_platform.tools.description is 'What is told to people.';
comment on column sentinai_platform.tools.enabled is 'Whether it may be called.';
comment on column sentinai_platform.tools.changed_at is 'When the row was written.';
comment on column sentinai_platform.tools.changed_by is 'Role that had logged in when it was written.';

create table sentinai_platform.tool_breakers (
    tenant_id text collate "C" not null,
    tool      text collate "C" not null,
    state     text collate "C" not null check (state in ('closed', 'open', 'half-open')),
    failures  int not null,
    since     timestamptz not null,
    openings  bigint not null,
    primary key (tenant_id, tool)
);
comment on table sentinai_platform.tool_breakers is 'Circuit breakers of tools that have failed, one for each tenant: what fails for one may work for another.';
comment on column sentinai_platform.tool_breakers.tenant_id is 'Tenant for whom the tool was called.';
comment on column sentinai_platform.tool_breakers.tool is 'Name of the tool.';
comment on column sentinai_platform.tool_breakers.state is '"closed": it is called; "open": it is not; "half-open": one call is under way, to see whether it works again.';
comment on column sentinai_platform.tool_breakers.failures is 'Failures in a row, while it is closed.';
comment on column sentinai_platform.tool_breakers.since is 'When it opened, or the trial began, or it closed.';
comment on column sentinai_platform.tool_breakers.openings is 'How often it has opened.';

create table sentinai_platform.tool_executions (
    tenant_id    text collate "C" not null,
    execution_id uuid not null,
    exception_id text collate "C" not null,
    tool         text collate "C" not null,
    arguments    jsonb not null,
    requested_by text collate "C",
    opened_by    uuid not null,
    status       text collate "C" not null check (status in ('requested', 'completed', 'failed')),
    requests     int not null,
    http_status  int,
    response     jsonb,
    error        text collate "C",
    retryable    boolean,
    duration_ms  float8,
    requested_at timestamptz not null,
    finished_at  timestamptz,
    last_request uuid,
    last_outcome uuid,
    primary key (tenant_id, execution_id)
);
create index on sentinai_platform.tool_executions (tenant_id, opened_by);
create index on sentinai_platform.tool_executions (tenant_id, exception_id, opened_by);
comment on table sentinai_platform.tool_executions is 'Read model: one row for each execution of a tool, as its events say.';
comment on column sentinai_platform.tool_executions.tenant_id is 'Whose it is.';
comment on column sentinai_platform.tool_executions.execution_id is 'Its id, which a webhook gets as idempotency key, after the tenant when the tool is for every tenant.';
comment on column sentinai_platform.tool_executions.exception_id is 'Exception that it is about.';
comment on column sentinai_platform.tool_executions.tool is 'Name of the tool.';
comment on column sentinai_platform.tool_executions.arguments is 'What the tool was given.';
comment on column sentinai_platform.tool_executions.requested_by is 'Who has requested it; "playbook" when a playbook did.';
comment on column sentinai_platform.tool_executions.opened_by is 'Event that it began with. Lists are in the order of these.';
comment on column sentinai_platform.tool_executions.status is '"requested", "completed" or "failed".';
comment on column sentinai_platform.tool_executions.requests is 'How often it was requested. What the agent tries again by itself is one request.';
comment on column sentinai_platform.tool_executions.http_status is 'Status of the answer of a webhook.';
comment on column sentinai_platform.tool_executions.response is 'What it answered, as the event has it: bounded and redacted.';
comment on column sentinai_platform.tool_executions.error is 'Why it failed.';
comment on column sentinai_platform.tool_executions.retryable is 'Whether the same may succeed later.';
comment on column sentinai_platform.tool_executions.duration_ms is 'How long the call took.';
comment on column sentinai_platform.tool_executions.requested_at is 'When it was requested first.';
comment on column sentinai_platform.tool_executions.finished_at is 'When its last outcome was published.';
comment on column sentinai_platform.tool_executions.last_request is 'The newest request that the row knows.';
comment on column sentinai_platform.tool_executions.last_outcome is 'The newest outcome that the row knows; with null a completed execution has one that is not read back yet.';

create view sentinai_platform.stat_tools with (security_invoker) as
    select b.tenant_id, b.tool,
           case when b.state = 'open' and b.since + t.breaker_open <= now() then 'half-open' else b.state end as state,
           b.failures, b.since, b.openings, t.breaker_threshold, t.breaker_open
    from sentinai_platform.tool_breakers b
    join lateral (select s.* from sentinai_platform.tools s where s.tenant_id in (b.tenant_id, '*') and s.tool = b.tool
                  order by s.tenant_id = '*' limit 1) t on true;
comment on view sentinai_platform.stat_tools is 'Circuit breakers of the tools that have failed at least once for a tenant. A tool without a row has not.';
comment on column sentinai_platform.stat_tools.tenant_id is 'Tenant for whom the tool was called.';
comment on column sentinai_platform.stat_tools.tool is 'Name of the tool.';
comment on column sentinai_platform.stat_tools.state is '"closed": it is called; "open": it is not; "half-open": the next call is a trial, or one is under way.';
comment on column sentinai_platform.stat_tools.failures is 'Failures in a row, while it is closed.';
comment on column sentinai_platform.stat_tools.since is 'When it opened, or the trial began, or it closed.';
comment on column sentinai_platform.stat_tools.openings is 'How often it has opened.';
comment on column sentinai_platform.stat_tools.breaker_threshold is 'Failures in a row that open it.';
comment on column sentinai_platform.stat_tools.breaker_open is 'How long it stays open before a call is tried.';

create function sentinai_platform.check_setting(settings jsonb, name text, type text, required boolean default false) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if settings -> name is null then
        if required then
            perform sentinai_platform.refuse('/settings/' || name, 'required', 'is missing');
        end if;
    elsif jsonb_typeof(settings -> name) <> type then
        perform sentinai_platform.refuse('/settings/' || name, 'type', format('must be of type %s', type));
    end if;
end $$;
comment on function sentinai_platform.check_setting(jsonb, text, text, boolean) is 'For the tools: whether a setting is there, and of its type.';

create function sentinai_platform.check_range(settings jsonb, name text, low int, high int) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform sentinai_platform.check_setting(settings, name, 'number');
    if (settings ->> name)::numeric not between low and high or (settings ->> name)::numeric % 1 <> 0 then
        perform sentinai_platform.refuse('/settings/' || name, 'range', format('must be a whole number from %s to %s', low, high));
    end if;
end $$;
comment on function sentinai_platform.check_range(jsonb, text, int, int) is 'For the tools: whether a setting is a whole number within bounds.';

create function sentinai_platform.url_parts(url text, out scheme text, out host text, out port int) returns record
    language sql immutable strict parallel safe
    set search_path = pg_catalog, pg_temp
    -- one form and no other: no user, no fragment, nothing that two readers may read in two ways
    as $$ select m[1], m[2], coalesce(m[3]::int, case m[1] when 'http' then 80 when 'https' then 443 end)
          from regexp_match(url, '^(https?)://([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?(?:/[A-Za-z0-9._~!$&''()*+,;=:@%/?-]*)?$') r (m) $$;
comment on function sentinai_platform.url_parts(text) is 'For the tools: scheme, host and port of a URL of a webhook; nulls when it is not one.';

create function sentinai_platform.check_headers(settings jsonb, name text, pattern text) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    h record;
begin
    perform sentinai_platform.check_setting(settings, name, 'object');
    for h in select key, jsonb_typeof(value) as type, value #>> '{}' as text from jsonb_each(settings -> name) loop
        if h.key !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]{1,100}$' then
            perform sentinai_platform.refuse('/settings/' || name, 'propertyNames', 'has a name that is not one of a header');
        elsif lower(h.key) ~ '^(host|content-length|transfer-encoding|connection|keep-alive|te|trailer|upgrade|expect|idempotency-key|traceparent|tracestate|proxy-.*)$' then
            perform sentinai_platform.refuse('/settings/' || name || '/' || h.key, 'not', 'is a header that the agent makes');
        elsif h.type <> 'string' or h.text !~ pattern or length(h.text) > 2000 then
            perform sentinai_platform.refuse('/settings/' || name || '/' || h.key, 'pattern', format('must be a text like %s', pattern));
        end if;
    end loop;
end $$;
comment on function sentinai_platform.check_headers(jsonb, text, text) is 'For the tools: whether headers are such that nobody reads more into them than one line each.';

create function sentinai_platform.check_webhook(settings jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform sentinai_platform.check_setting(settings, 'url', 'string', true);
    if length(settings ->> 'url') > 2000 or (sentinai_platform.url_parts(settings ->> 'url')).port is null
       or (sentinai_platform.url_parts(settings ->> 'url')).port > 65535 then
        perform sentinai_platform.refuse('/settings/url', 'format',
            'must be an http or https URL of at most 2000 characters, its host in lower case, without user and fragment');
    end if;
    perform sentinai_platform.check_setting(settings, 'method', 'string');
    if settings ->> 'method' not in ('GET', 'POST', 'PUT', 'PATCH', 'DELETE') then
        perform sentinai_platform.refuse('/settings/method', 'enum', 'must be GET, POST, PUT, PATCH or DELETE');
    end if;
    perform sentinai_platform.check_headers(settings, 'headers', '^[ -~]*$');
    perform sentinai_platform.check_headers(settings, 'secret_headers', '^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$');
    perform sentinai_platform.check_range(settings, 'timeout_ms', 1, 300000);
    perform sentinai_platform.check_range(settings, 'max_response_bytes', 0, 262144);
    perform sentinai_platform.check_setting(settings, 'retry_on', 'array');
    if exists (select from jsonb_array_elements(settings -> 'retry_on') e where jsonb_typeof(e) <> 'number' or e::numeric not between 300 and 599) then
        perform sentinai_platform.refuse('/settings/retry_on', 'items', 'must be statuses from 300 to 599');
    end if;
end $$;
comment on function sentinai_platform.check_webhook(jsonb) is 'For the tools: whether the settings are those of a webhook.';

create function sentinai_platform.check_builtin(kind text, settings jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    case kind
        when 'notify' then
            perform sentinai_platform.check_setting(settings, 'channel', 'string', true);
            if settings ->> 'channel' !~ '^[a-z_][a-z0-9_]{0,62}$' then
                perform sentinai_platform.refuse('/settings/channel', 'pattern', 'must be a name in lower case');
            end if;
        when 'update_field' then
            perform sentinai_platform.check_setting(settings, 'fields', 'array', true);
            if exists (select from jsonb_array_elements(settings -> 'fields') e where e #>> '{}' is null
                       or e #>> '{}' !~ '^(title|category|severity|attributes\.[A-Za-z][A-Za-z0-9_]{0,99})$') then
                perform sentinai_platform.refuse('/settings/fields', 'items', 'must be title, category, severity or attributes.NAME');
            end if;
        when 'wait' then
            perform sentinai_platform.check_range(settings, 'seconds', 1, 31536000);
            perform sentinai_platform.check_range(settings, 'max_seconds', 1, 31536000);
        when 'publish_event' then
            perform sentinai_platform.check_setting(settings, 'event_type', 'string', true);
            -- what agents act on is said by those who know it
            if settings ->> 'event_type' !~ '^[A-Za-z][A-Za-z0-9_.:/-]{0,127}$' or settings ->> 'event_type' ~
               '^(Exception|ManualException|Triage|Policy|Playbook|StepExecution|ToolExecution|Approval|Feedback|SLA)' then
                perform sentinai_platform.refuse('/settings/event_type', 'not', 'must be the name of an event type that is not the platform''s own');
            end if;
    end case;
end $$;
comment on function sentinai_platform.check_builtin(text, jsonb) is 'For the tools: whether the settings are those of a built-in tool.';

create function sentinai_platform.check_tool() returns trigger
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    known constant jsonb := '{"webhook": ["url", "method", "headers", "secret_headers", "timeout_ms", "max_response_bytes", "retry_on"],
        "notify": ["channel"], "update_field": ["fields"], "wait": ["seconds", "max_seconds"], "publish_event": ["event_type"]}';
    stray text;
begin
    if jsonb_typeof(new.settings) is distinct from 'object' or known -> new.kind is null then
        return new;         -- the table's own checks say it
    end if;
    select k into stray from jsonb_object_keys(new.settings) k where not known -> new.kind ? k limit 1;
    if found then
        perform sentinai_platform.refuse('/settings/' || stray, 'additionalProperties', 'is no setting of this kind');
    elsif new.kind = 'webhook' then
        perform sentinai_platform.check_webhook(new.settings);
    else
        perform sentinai_platform.check_builtin(new.kind, new.settings);
    end if;
    return new;
end $$;
comment on function sentinai_platform.check_tool() is 'Trigger of tools: refuses settings that do not fit.';
create trigger check_tool before insert or update on sentinai_platform.tools
    for each row execute function sentinai_platform.check_tool();
comment on trigger check_tool on sentinai_platform.tools is 'Settings that fit the kind.';

do $triggers$
declare
    t text;
begin
    foreach t in array '{allowed_hosts,tools}'::text[] loop
        execute format('create trigger stamp_rule before update on sentinai_platform.%I for each row execute function sentinai_platform.stamp_rule()', t);
        execute format('comment on trigger stamp_rule on sentinai_platform.%I is %L', t, 'Who changed a row, and when.');
    end loop;
    -- what is a part of a calendar or playbook has its tenant
    foreach t in array '{mapping_rules,triage_rules,sla_rules,guardrails,calendars,playbooks,allowed_hosts,tools}'::text[] loop
        execute format('create trigger check_tenant before insert or update on sentinai_platform.%I for each row execute function sentinai_platform.check_tenant()', t);
        execute format('comment on trigger check_tenant on sentinai_platform.%I is %L', t, 'A tenant that there can be.');
    end loop;
end $triggers$;
