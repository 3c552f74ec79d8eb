-- What the platform knows. Rows are seen and written by the rights for their
-- tenants: see module 80.
create table sentinai_platform.exceptions (
    tenant_id      text collate "C" not null,
    exception_id   text collate "C" not null,
    opened_by      uuid not null,
    state          text collate "C" not null check (state in ('normalized', 'triaged', 'awaiting_approval', 'matched', 'escalated', 'resolved')),
    origin         text collate "C" not null check (origin in ('ingested', 'manual')),
    source         text collate "C" not null,
    exception_type text collate "C",
    severity       text collate "C" check (severity in ('low', 'medium', 'high', 'critical')),
    category       text collate "C",
    confidence     float8,
    reasons        jsonb,
    title          text collate "C",
    amount         numeric,
    currency       text collate "C",
    occurred_at    timestamptz,
    attributes     jsonb not null,
    received_at    timestamptz not null,
    triaged_at     timestamptz,
    decision       text collate "C" check (decision in ('allowed', 'needs_approval', 'forbidden')),
    playbook       text collate "C",
    steps_done     int not null default 0,
    due_at         timestamptz,
    sla            text collate "C" check (sla in ('on_track', 'imminent', 'expired', 'met', 'breached')),
    closed_at      timestamptz,
    outcome        text collate "C",
    changed_at     timestamptz not null,
    primary key (tenant_id, exception_id)
);
-- Lists are in the order of opened_by. What stands behind it is filtered in the
-- index, so that only rows that fit are read.
create index on sentinai_platform.exceptions (tenant_id, opened_by, severity, source);
create index on sentinai_platform.exceptions (tenant_id, state, opened_by, exception_type, severity);
create index on sentinai_platform.exceptions (tenant_id, exception_type, opened_by, state, severity);
create index on sentinai_platform.exceptions (tenant_id, category, opened_by, severity, source);
create index on sentinai_platform.exceptions (tenant_id, due_at) where due_at is not null;
comment on table sentinai_platform.exceptions is 'Read model: one row for each exception, as the agents'' handlers and the commands have made it.';
comment on column sentinai_platform.exceptions.tenant_id is 'Whose it is.';
comment on column sentinai_platform.exceptions.exception_id is 'Its id; also the aggregate and the correlation id of its events.';
comment on column sentinai_platform.exceptions.opened_by is 'Event that it began with. Lists are in the order of these.';
comment on column sentinai_platform.exceptions.state is '"normalized", "triaged", "awaiting_approval" (a person has to decide), "matched" (a playbook was chosen), "escalated" (people have to deal with it) or "resolved".';
comment on column sentinai_platform.exceptions.origin is '"ingested": a system has reported it; "manual": a person.';
comment on column sentinai_platform.exceptions.source is 'System that reported it; "manual" when it was a person.';
comment on column sentinai_platform.exceptions.exception_type is 'What it is; null: not known yet.';
comment on column sentinai_platform.exceptions.severity is '"low", "medium", "high" or "critical"; null: not known yet.';
comment on column sentinai_platform.exceptions.category is 'Where it belongs, as the triage rules say.';
comment on column sentinai_platform.exceptions.confidence is 'How sure the triage rules are, 0 to 1.';
comment on column sentinai_platform.exceptions.reasons is 'Triage rules that matched, a JSON array of objects with "rule" and "reason".';
comment on column sentinai_platform.exceptions.title is 'One line for people.';
comment on column sentinai_platform.exceptions.amount is 'How much money it is about.';
comment on column sentinai_platform.exceptions.currency is 'Three letters.';
comment on column sentinai_platform.exceptions.occurred_at is 'When it happened, as the source says.';
comment on column sentinai_platform.exceptions.attributes is 'All else that the mapping rules took; without rules for that, the whole of what the source said.';
comment on column sentinai_platform.exceptions.received_at is 'When its first event was published.';
comment on column sentinai_platform.exceptions.triaged_at is 'When it was triaged last.';
comment on column sentinai_platform.exceptions.decision is 'What the guardrails have said; null: they were not asked yet.';
comment on column sentinai_platform.exceptions.playbook is 'Playbook that was chosen; null: none.';
comment on column sentinai_platform.exceptions.steps_done is 'How many steps of playbooks were done for it.';
comment on column sentinai_platform.exceptions.due_at is 'When it is to be resolved, by the tenant''s SLA rules; null: no rule.';
comment on column sentinai_platform.exceptions.sla is '"on_track", "imminent" (SLAImminent was published), "expired" (SLAExpired was), or, when it was resolved, "met" or "breached"; null: it has no due_at.';
comment on column sentinai_platform.exceptions.closed_at is 'When it was resolved; null: it is open.';
comment on column sentinai_platform.exceptions.outcome is 'How it ended.';
comment on column sentinai_platform.exceptions.changed_at is 'When this row was changed.';

create table sentinai_platform.commands (
    execution_id uuid not null,
    tenant_id    text collate "C" not null,
    exception_id text collate "C" not null,
    command      text collate "C" not null,
    status       text collate "C" not null check (status in ('accepted', 'completed', 'failed')),
    error        text collate "C",
    requested_at timestamptz not null,
    requested_by text collate "C" not null,
    finished_at  timestamptz,
    -- an id of one tenant takes nothing from another one
    primary key (execution_id, tenant_id)
);
comment on table sentinai_platform.commands is 'Commands that were accepted, and what became of them.';
comment on column sentinai_platform.commands.execution_id is 'What the command returned: the id of the event that it published.';
comment on column sentinai_platform.commands.tenant_id is 'Whose it is.';
comment on column sentinai_platform.commands.exception_id is 'Exception that it is about.';
comment on column sentinai_platform.commands.command is 'Name of the function.';
comment on column sentinai_platform.commands.status is '"accepted", "completed", or "failed": an agent has given it up.';
comment on column sentinai_platform.commands.error is 'Why it failed.';
comment on column sentinai_platform.commands.requested_at is 'When it was called.';
comment on column sentinai_platform.commands.requested_by is 'Role that had logged in when it was called.';
comment on column sentinai_platform.commands.finished_at is 'When it was completed or failed.';

create function sentinai_platform.unescape_path(pointer text) returns text[]
    language sql immutable strict parallel safe
    begin atomic
    select coalesce(array_agg(replace(replace(p, '~1', '/'), '~0', '~') order by n), '{}')
    from string_to_table(pointer, '/') with ordinality t (p, n) where n > 1;
    end;
comment on function sentinai_platform.unescape_path(text) is 'For pointer_path(): the path of a JSON Pointer with escapes.';

create function sentinai_platform.pointer_path(pointer text) returns text[]
    language sql immutable parallel safe
    return case when strpos(pointer, '~') = 0 then (string_to_array(pointer, '/'))[2:] else sentinai_platform.unescape_path(pointer) end;
comment on function sentinai_platform.pointer_path(text) is 'For the mapping rules: the path, as operators of jsonb take it, that a JSON Pointer names.';

create table sentinai_platform.mapping_rules (
    tenant_id     text collate "C" not null,
    source        text collate "C" not null default '*',
    field         text collate "C" not null check (field ~ '^[A-Za-z][A-Za-z0-9_]{0,99}$'),
    pointers      text[] not null check (cardinality(pointers) between 1 and 20 and array_ndims(pointers) = 1
                                         and array_position(pointers, null) is null),
    kind          text collate "C" not null check (kind in ('text', 'number', 'integer', 'boolean', 'timestamp', 'epoch', 'epoch_ms', 'currency', 'json')),
    time_zone     text not null default 'UTC' check (timezone(time_zone, timestamptz 'epoch') is not null),
    translation   jsonb check (jsonb_typeof(translation) = 'object'),
    default_value jsonb,
    required      boolean not null default false,
    changed_at    timestamptz not null default now(),
    changed_by    text collate "C" not null default session_user,
    primary key (tenant_id, source, field),
    check (case field when 'amount' then kind in ('number', 'integer')
                      when 'currency' then kind in ('currency', 'text')
                      when 'occurred_at' then kind in ('timestamp', 'epoch', 'epoch_ms')
                      when 'type' then kind = 'text' when 'severity' then kind = 'text' when 'title' then kind = 'text'
                      else true end)
);
comment on table sentinai_platform.mapping_rules is 'How intake makes the fields of an exception from what a source says. Of the rules for a field one holds: the tenant''s own before that for every tenant, and then the one for the source before that for every source. Functions to change it are INSERT, UPDATE and DELETE.';
comment on column sentinai_platform.mapping_rules.tenant_id is 'Tenant; "*" for every one.';
comment on column sentinai_platform.mapping_rules.source is 'System that the exception comes from; "*" for every one.';
comment on column sentinai_platform.mapping_rules.field is '"type", "severity", "title", "amount", "currency" or "occurred_at"; another name makes an attribute.';
comment on column sentinai_platform.mapping_rules.pointers is 'Where the value is in the data, as JSON Pointers; the first that finds one counts.';
comment on column sentinai_platform.mapping_rules.kind is 'What the value becomes: "text", "number", "integer", "boolean", "timestamp" (a text), "epoch" and "epoch_ms" (a time as seconds or milliseconds since 1970), "currency", or "json" (as it is). By default what the field is; for attributes "text".';
comment on column sentinai_platform.mapping_rules.time_zone is 'Where a time without a zone is meant.';
comment on column sentinai_platform.mapping_rules.translation is 'A JSON object: a value that is one of its keys is replaced. Others stay.';
comment on column sentinai_platform.mapping_rules.default_value is 'What it is when the source says nothing.';
comment on column sentinai_platform.mapping_rules.required is 'Whether an exception without it is refused.';
comment on column sentinai_platform.mapping_rules.changed_at is 'When the rule was written.';
comment on column sentinai_platform.mapping_rules.changed_by is 'Role that had logged in when it was written.';

create function sentinai_platform.fill_kind() returns trigger
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    new.kind := coalesce(new.kind, case new.field when 'amount' then 'number' when 'currency' then 'currency'
        when 'occurred_at' then 'timestamp' else 'text' end);
    return new;
end $$;
comment on function sentinai_platform.fill_kind() is 'Trigger of mapping_rules: a rule that says nothing of the kind gets that of its field.';
create trigger fill_kind before insert or update on sentinai_platform.mapping_rules
    for each row execute function sentinai_platform.fill_kind();
comment on trigger fill_kind on sentinai_platform.mapping_rules is 'The kind of a field that is always of one kind.';

create function sentinai_platform.has_variable(condition jsonpath) returns boolean
    language sql immutable strict parallel safe
    set search_path = pg_catalog, pg_temp
    -- texts are taken out, so that a dollar in one is none
    as $$ select regexp_replace(condition::text, '"(?:[^"\\]|\\.)*"', '""', 'g') ~ '\$""' $$;
comment on function sentinai_platform.has_variable(jsonpath) is 'For the rules: whether a condition names a variable. There are none, and asking for one is an error.';

create table sentinai_platform.triage_rules (
    tenant_id      text collate "C" not null,
    rule           text collate "C" not null check (length(rule) between 1 and 200),
    priority       int not null default 100,
    condition      jsonpath not null check (not sentinai_platform.has_variable(condition) and length(condition::text) <= 4000),
    exception_type text collate "C" check (length(exception_type) between 1 and 200),
    severity       text collate "C" check (severity in ('low', 'medium', 'high', 'critical')),
    category       text collate "C" check (length(category) between 1 and 200),
    confidence     float8 not null default 1 check (confidence between 0 and 1),
    reason         text collate "C" check (length(reason) <= 1000),
    enabled        boolean not null default true,
    changed_at     timestamptz not null default now(),
    changed_by     text collate "C" not null default session_user,
    primary key (tenant_id, rule)
);
comment on table sentinai_platform.triage_rules is 'What triage makes of an exception. Each of type, severity and category is that of the first rule that matches and has one. Functions to change it are INSERT, UPDATE and DELETE.';
comment on column sentinai_platform.triage_rules.tenant_id is 'Tenant; "*" for every one.';
comment on column sentinai_platform.triage_rules.rule is 'Name of the rule.';
comment on column sentinai_platform.triage_rules.priority is 'The smallest number comes first; of equal ones those of the tenant before those for every tenant.';
comment on column sentinai_platform.triage_rules.condition is 'A jsonpath predicate over the payload of ExceptionNormalized, as in $.amount > 1000000 && $.currency == "EUR", of at most 4,000 characters. What it cannot compare does not match.';
comment on column sentinai_platform.triage_rules.exception_type is 'Type that it gives; null: none.';
comment on column sentinai_platform.triage_rules.severity is 'Severity that it gives; null: none.';
comment on column sentinai_platform.triage_rules.category is 'Category that it gives; null: none.';
comment on column sentinai_platform.triage_rules.confidence is 'How sure it is, 0 to 1. The exception gets that of the first rule that matches.';
comment on column sentinai_platform.triage_rules.reason is 'What is told to people.';
comment on column sentinai_platform.triage_rules.enabled is 'Whether it counts.';
comment on column sentinai_platform.triage_rules.changed_at is 'When the rule was written.';
comment on column sentinai_platform.triage_rules.changed_by is 'Role that had logged in when it was written.';

create table sentinai_platform.sla_rules (
    tenant_id      text collate "C" not null,
    exception_type text collate "C" not null default '*',
    severity       text collate "C" not null default '*' check (severity in ('low', 'medium', 'high', 'critical', '*')),
    resolve_within interval not null check (resolve_within > '0' and resolve_within <= '5 years'),
    threshold      float8 check (threshold > 0 and threshold <= 1),
    calendar       text collate "C",
    changed_at     timestamptz not null default now(),
    changed_by     text collate "C" not null default session_user,
    primary key (tenant_id, exception_type, severity),
    foreign key (tenant_id, calendar) references sentinai_platform.calendars on update cascade
);
comment on table sentinai_platform.sla_rules is 'Until when an exception is to be resolved. Triage sets a deadline of the kind "resolve" by the rule that says most: the tenant''s own first, then the one for the type, then the one for the severity. Functions to change it are INSERT, UPDATE and DELETE.';
comment on column sentinai_platform.sla_rules.tenant_id is 'Tenant; "*" for every one.';
comment on column sentinai_platform.sla_rules.exception_type is 'Type of the exception; "*" for every one.';
comment on column sentinai_platform.sla_rules.severity is 'Severity of the exception; "*" for every one.';
comment on column sentinai_platform.sla_rules.resolve_within is 'Time from when it was received.';
comment on column sentinai_platform.sla_rules.threshold is 'Share of that time after which SLAImminent is published; null: that of the tenant.';
comment on column sentinai_platform.sla_rules.calendar is 'Calendar of the rule''s tenant, by which resolve_within is working time; null: all time counts. The threshold is then a share of that working time, 0.8 unless the rule says otherwise.';
comment on column sentinai_platform.sla_rules.changed_at is 'When the rule was written.';
comment on column sentinai_platform.sla_rules.changed_by is 'Role that had logged in when it was written.';

create table sentinai_platform.guardrails (
    tenant_id        text collate "C" not null,
    rule             text collate "C" not null check (length(rule) between 1 and 200),
    priority         int not null default 100,
    condition        jsonpath not null check (not sentinai_platform.has_variable(condition) and length(condition::text) <= 4000),
    decision         text collate "C" not null check (decision in ('allowed', 'needs_approval', 'forbidden')),
    playbook         text collate "C" check (length(playbook) between 1 and 200),
    playbook_version int not null default 1 check (playbook_version > 0),
    approve_within   interval not null default '24 hours' check (approve_within > '0' and approve_within <= '1 year'),
    on_timeout       text collate "C" not null default 'expired' check (on_timeout in ('expired', 'rejected')),
    reason           text collate "C" check (length(reason) <= 1000),
    enabled          boolean not null default true,
    changed_at       timestamptz not null default now(),
    changed_by       text collate "C" not null default session_user,
    primary key (tenant_id, rule)
);
comment on table sentinai_platform.guardrails is 'What may be done about an exception without a person. The first rule that matches decides. Without one nothing may be done. Functions to change it are INSERT, UPDATE and DELETE.';
comment on column sentinai_platform.guardrails.tenant_id is 'Tenant; "*" for every one.';
comment on column sentinai_platform.guardrails.rule is 'Name of the rule.';
comment on column sentinai_platform.guardrails.priority is 'The smallest number comes first; of equal ones those of the tenant before those for every tenant.';
comment on column sentinai_platform.guardrails.condition is 'A jsonpath predicate over "type", "severity", "category", "confidence", "source", "title", "amount", "currency" and "attributes" of the exception.';
comment on column sentinai_platform.guardrails.decision is '"allowed", "needs_approval" or "forbidden".';
comment on column sentinai_platform.guardrails.playbook is 'Playbook for what is allowed or approved; null: people have to deal with it.';
comment on column sentinai_platform.guardrails.playbook_version is 'Version of the playbook.';
comment on column sentinai_platform.guardrails.approve_within is 'Time for a person to decide.';
comment on column sentinai_platform.guardrails.on_timeout is 'What the decision is when nobody has decided: "expired" or "rejected".';
comment on column sentinai_platform.guardrails.reason is 'What is told to people.';
comment on column sentinai_platform.guardrails.enabled is 'Whether it counts.';
comment on column sentinai_platform.guardrails.changed_at is 'When the rule was written.';
comment on column sentinai_platform.guardrails.changed_by is 'Role that had logged in when it was written.';

create table sentinai_platform.approvals (
    approval_id      uuid primary key,
    tenant_id        text collate "C" not null,
    exception_id     text collate "C" not null,
    status           text collate "C" not null default 'pending' check (status in ('pending', 'approved', 'rejected', 'expired', 'cancelled')),
    rule             text collate "C" not null,
    reason           text collate "C",
    playbook         text collate "C",
    playbook_version int,
    on_timeout       text collate "C" not null,
    opened_by        uuid not null,
    requested_at     timestamptz not null,
    due_at           timestamptz not null,
    execution_id     uuid,
    decided_at       timestamptz,
    decided_by       text collate "C",
    comment          text collate "C"
);
create unique index on sentinai_platform.approvals (tenant_id, exception_id) where status = 'pending';
create index on sentinai_platform.approvals (tenant_id, exception_id, opened_by);
create index on sentinai_platform.approvals (tenant_id, opened_by);
create index on sentinai_platform.approvals (tenant_id, status, opened_by);
comment on table sentinai_platform.approvals is 'Read model: what people are asked to decide, and what they have decided.';
comment on column sentinai_platform.approvals.approval_id is 'Its id.';
comment on column sentinai_platform.approvals.tenant_id is 'Whose it is.';
comment on column sentinai_platform.approvals.exception_id is 'Exception that it is about.';
comment on column sentinai_platform.approvals.status is '"pending", "approved", "rejected", "expired": nobody has decided in time, or "cancelled": the exception was resolved or escalated without it.';
comment on column sentinai_platform.approvals.rule is 'Guardrail that asks for it.';
comment on column sentinai_platform.approvals.reason is 'Why, as the guardrail says.';
comment on column sentinai_platform.approvals.playbook is 'What is done when it is approved; null: people do it.';
comment on column sentinai_platform.approvals.playbook_version is 'Version of the playbook.';
comment on column sentinai_platform.approvals.on_timeout is 'What it becomes when the time is over.';
comment on column sentinai_platform.approvals.opened_by is 'Event that asked for it. Lists are in the order of these.';
comment on column sentinai_platform.approvals.requested_at is 'When it was asked for.';
comment on column sentinai_platform.approvals.due_at is 'Until when it is to be decided.';
comment on column sentinai_platform.approvals.execution_id is 'The command that has decided; null: none.';
comment on column sentinai_platform.approvals.decided_at is 'When it was decided.';
comment on column sentinai_platform.approvals.decided_by is 'Who has decided, as the command said.';
comment on column sentinai_platform.approvals.comment is 'What was said about it.';

create function sentinai_platform.stamp_rule() returns trigger
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    new.changed_at := clock_timestamp();
    new.changed_by := session_user;
    return new;
end $$;
comment on function sentinai_platform.stamp_rule() is 'Trigger of the tables of rules: who changed a rule, and when. What is inserted has defaults, which a dump that is restored overrides.';

create function sentinai_platform.check_tenant() returns trigger
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    -- as publish() has it: a rule for a tenant that no event can have would be one that never holds
    if new.tenant_id = '' then
        perform sentinai_platform.refuse('/tenant_id', 'minLength', 'must not be empty');
    elsif octet_length(new.tenant_id) > 256 then
        perform sentinai_platform.refuse('/tenant_id', 'maxLength', 'must not be longer than 256 bytes');
    elsif strpos(new.tenant_id, ':') > 0 then
        perform sentinai_platform.refuse('/tenant_id', 'pattern', 'must not contain ":"');
    elsif new.tenant_id ~ '[\u0001-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]' then
        perform sentinai_platform.refuse('/tenant_id', 'pattern', 'must consist of printable characters');
    end if;
    return new;
end $$;
comment on function sentinai_platform.check_tenant() is 'Trigger of the tables of rules, playbooks and tools: refuses a tenant that there cannot be.';

do $triggers$
declare
    t text;
begin
    foreach t in array '{mapping_rules,triage_rules,sla_rules,guardrails,calendars,calendar_hours,calendar_holidays}'::text[] loop
        execute format('create trigger stamp_rule before update on sentinai_platform.%I for each row execute function sentinai_platform.stamp_rule()', t);
        execute format('comment on trigger stamp_rule on sentinai_platform.%I is %L', t, 'Who changed a rule, and when.');
    end loop;
end $triggers$;
