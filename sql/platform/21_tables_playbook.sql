-- Playbooks, and what was done by them.

create table sentinai_platform.playbooks (
    tenant_id   text collate "C" not null,
    playbook    text collate "C" not null check (length(playbook) between 1 and 200),
    version     int not null check (version > 0),
    steps       int not null check (steps between 1 and 100),
    outcome     text collate "C" not null default 'resolved' check (length(outcome) between 1 and 200),
    description text collate "C" check (length(description) <= 8000),
    created_at  timestamptz not null default now(),
    created_by  text collate "C" not null default session_user,
    primary key (tenant_id, playbook, version),
    unique (tenant_id, playbook, version, steps)
);
comment on table sentinai_platform.playbooks is 'Versions of playbooks. put_playbook() makes the next one. None changes, so an execution ends by the version that it began with.';
comment on column sentinai_platform.playbooks.tenant_id is 'Tenant; "*" for every one. A version of the tenant''s own comes before one for every tenant.';
comment on column sentinai_platform.playbooks.playbook is 'Its name.';
comment on column sentinai_platform.playbooks.version is 'Number of the version.';
comment on column sentinai_platform.playbooks.steps is 'How many steps it has. None can be added.';
comment on column sentinai_platform.playbooks.outcome is 'Outcome of an exception whose steps are all done.';
comment on column sentinai_platform.playbooks.description is 'What it is for.';
comment on column sentinai_platform.playbooks.created_at is 'When it was made.';
comment on column sentinai_platform.playbooks.created_by is 'Role that had logged in when it was made.';

create table sentinai_platform.playbook_steps (
    tenant_id              text collate "C" not null,
    playbook               text collate "C" not null,
    version                int not null,
    of_steps               int not null,
    step                   int not null check (step between 1 and of_steps),
    name                   text collate "C" not null check (length(name) between 1 and 200),
    condition              jsonpath check (not sentinai_platform.has_variable(condition) and length(condition::text) <= 4000),
    tool                   text collate "C" not null check (length(tool) between 1 and 200),
    arguments              jsonb not null default '{}' check (jsonb_typeof(arguments) = 'object'),
    timeout                interval not null default '5 minutes' check (timeout > '0' and timeout <= '1 year'),
    max_attempts           int not null default 1 check (max_attempts between 1 and 100),
    retry_after            interval not null default '0' check (retry_after >= '0' and retry_after <= '1 day'),
    on_failure             text collate "C" not null default 'compensate' check (on_failure in ('compensate', 'continue', 'escalate')),
    compensation_tool      text collate "C" check (length(compensation_tool) between 1 and 200),
    compensation_arguments jsonb not null default '{}' check (jsonb_typeof(compensation_arguments) = 'object'),
    primary key (tenant_id, playbook, version, step),
    foreign key (tenant_id, playbook, version, of_steps) references sentinai_platform.playbooks (tenant_id, playbook, version, steps)
);
comment on table sentinai_platform.playbook_steps is 'Steps of playbooks, as put_playbook() has written them.';
comment on column sentinai_platform.playbook_steps.tenant_id is 'As of the playbook.';
comment on column sentinai_platform.playbook_steps.playbook is 'Its name.';
comment on column sentinai_platform.playbook_steps.version is 'Its version.';
comment on column sentinai_platform.playbook_steps.of_steps is 'How many steps the version has.';
comment on column sentinai_platform.playbook_steps.step is 'Number of the step, from 1.';
comment on column sentinai_platform.playbook_steps.name is 'What people call it.';
comment on column sentinai_platform.playbook_steps.condition is 'A jsonpath predicate over the exception and the steps before; a step that does not match is skipped. Null: it is always done.';
comment on column sentinai_platform.playbook_steps.tool is 'Tool that does it.';
comment on column sentinai_platform.playbook_steps.arguments is 'Template of the tool''s arguments: what stands as "{{ /pointer }}" in its strings is filled in.';
comment on column sentinai_platform.playbook_steps.timeout is 'Time for an attempt; then it has failed.';
comment on column sentinai_platform.playbook_steps.max_attempts is 'How many times it is tried.';
comment on column sentinai_platform.playbook_steps.retry_after is 'Pause before it is tried again.';
comment on column sentinai_platform.playbook_steps.on_failure is '"compensate": what was done is undone, then people get the exception; "continue": the next step is done; "escalate": people get it as it is.';
comment on column sentinai_platform.playbook_steps.compensation_tool is 'Tool that undoes it; null: there is nothing to undo.';
comment on column sentinai_platform.playbook_steps.compensation_arguments is 'Template of that tool''s arguments.';

create table sentinai_platform.playbook_executions (
    execution_id uuid primary key,
    tenant_id    text collate "C" not null,
    exception_id text collate "C" not null,
    playbook     text collate "C" not null,
    version      int not null,
    state        text collate "C" not null check (state in ('waiting', 'running', 'compensating', 'completed', 'compensated', 'failed', 'superseded', 'cancelled')),
    step         int,
    reason       text collate "C",
    requested_by text collate "C",
    started_at   timestamptz not null,
    changed_at   timestamptz not null,
    ended_at     timestamptz
);
create index on sentinai_platform.playbook_executions (tenant_id, execution_id);
create index on sentinai_platform.playbook_executions (tenant_id, exception_id, execution_id);
-- what handlers ask for: the few that are open, of an exception and not of a tenant
create index on sentinai_platform.playbook_executions (tenant_id, exception_id) where state in ('waiting', 'running', 'compensating');
create index on sentinai_platform.playbook_executions (tenant_id, state, execution_id);
create index on sentinai_platform.playbook_executions (tenant_id, playbook, execution_id);
comment on table sentinai_platform.playbook_executions is 'Read model: one row for each time that a playbook was chosen for an exception, as the events say.';
comment on column sentinai_platform.playbook_executions.execution_id is 'Its id, which is that of its event PlaybookMatched.';
comment on column sentinai_platform.playbook_executions.tenant_id is 'Whose it is.';
comment on column sentinai_platform.playbook_executions.exception_id is 'Exception that it is for.';
comment on column sentinai_platform.playbook_executions.playbook is 'Name of the playbook.';
comment on column sentinai_platform.playbook_executions.version is 'Its version.';
comment on column sentinai_platform.playbook_executions.state is '"waiting" (for the end of the one before), "running", "compensating" (what was done is undone), "completed", "compensated" (undone), "failed", "superseded" (by a later one) or "cancelled" (nothing more is done).';
comment on column sentinai_platform.playbook_executions.step is 'Step that was begun last; null: none was.';
comment on column sentinai_platform.playbook_executions.reason is 'Why it did not complete, or is not about to.';
comment on column sentinai_platform.playbook_executions.requested_by is 'Who has asked for it, as the command said; null: the guardrails.';
comment on column sentinai_platform.playbook_executions.started_at is 'When it was chosen. Times are those of its events, in milliseconds.';
comment on column sentinai_platform.playbook_executions.changed_at is 'When its last step began, or it ended.';
comment on column sentinai_platform.playbook_executions.ended_at is 'When it ended; null: it has not.';

create table sentinai_platform.step_executions (
    execution_id      uuid not null,
    compensation      boolean not null,
    step              int not null,
    tenant_id         text collate "C" not null,
    exception_id      text collate "C" not null,
    name              text collate "C",
    tool              text collate "C",
    state             text collate "C" not null check (state in ('requested', 'completed', 'failed', 'skipped', 'cancelled')),
    attempt           int not null,
    tool_execution_id uuid unique,
    call_id           uuid,
    due_at            timestamptz,
    result            jsonb,
    error             text collate "C",
    retryable         boolean,
    requested_at      timestamptz,
    ended_at          timestamptz,
    primary key (execution_id, compensation, step)
);
create index on sentinai_platform.step_executions (tenant_id, exception_id) where state = 'requested';
comment on table sentinai_platform.step_executions is 'Read model: one row for each step of an execution that was begun or skipped, and for each that was undone, as the events say.';
comment on column sentinai_platform.step_executions.execution_id is 'Execution of the playbook.';
comment on column sentinai_platform.step_executions.compensation is 'Whether it undoes the step.';
comment on column sentinai_platform.step_executions.step is 'Number of the step.';
comment on column sentinai_platform.step_executions.tenant_id is 'Whose it is.';
comment on column sentinai_platform.step_executions.exception_id is 'Exception that it is for.';
comment on column sentinai_platform.step_executions.name is 'Name of the step.';
comment on column sentinai_platform.step_executions.tool is 'Tool that does it.';
comment on column sentinai_platform.step_executions.state is '"requested", "completed", "failed", "skipped" (its condition did not match) or "cancelled" (the exception was closed meanwhile).';
comment on column sentinai_platform.step_executions.attempt is 'How many times it was tried; 0: it was skipped.';
comment on column sentinai_platform.step_executions.tool_execution_id is 'Execution of the tool, the same for all attempts: the idempotency key of its calls.';
comment on column sentinai_platform.step_executions.call_id is 'Event ToolExecutionRequested of the last attempt; null: the tool was not asked.';
comment on column sentinai_platform.step_executions.due_at is 'Until when the last attempt has to be answered.';
comment on column sentinai_platform.step_executions.result is 'What the tool has answered, an object with "response" and "status".';
comment on column sentinai_platform.step_executions.error is 'Why the last attempt that failed did.';
comment on column sentinai_platform.step_executions.retryable is 'Whether trying again may help.';
comment on column sentinai_platform.step_executions.requested_at is 'When it was tried first.';
comment on column sentinai_platform.step_executions.ended_at is 'When the last attempt ended; null: it has not.';
