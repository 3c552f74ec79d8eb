-- What is redacted.

create table sentinai_internal.redaction (
    tenant_id   text collate "C" not null,
    event_type  text collate "C" not null,
    path        text collate "C" not null,
    method      text collate "C" not null,
    keep        int,
    replacement jsonb,
    patterns    text[] collate "C",
    changed_at  timestamptz not null,
    changed_by  text collate "C" not null,
    primary key (tenant_id, event_type, path)
);

comment on table sentinai_internal.redaction is 'Rules of redaction. Functions write it; the view redactions shows it.';
comment on column sentinai_internal.redaction.tenant_id is 'Tenant whose events it is for; "*" for all.';
comment on column sentinai_internal.redaction.event_type is 'Type of the events it is for; "*" for all.';
comment on column sentinai_internal.redaction.path is 'Which values, in the one form of the path.';
comment on column sentinai_internal.redaction.method is '"remove", "replace", "hash", "mask" or "secrets".';
comment on column sentinai_internal.redaction.keep is 'For "mask": characters at the end that stay.';
comment on column sentinai_internal.redaction.replacement is 'For "replace": what stands there instead.';
comment on column sentinai_internal.redaction.patterns is 'For "secrets": which are looked for.';
comment on column sentinai_internal.redaction.changed_at is 'When it was set.';
comment on column sentinai_internal.redaction.changed_by is 'Role that set it.';
