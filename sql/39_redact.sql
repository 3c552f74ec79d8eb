-- Redaction

create function sentinai.set_redaction(
        tenant text, event_type text, path text, method text,
        keep int default null, replacement jsonb default null,
        patterns text[] default null)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_set_redaction';
comment on function sentinai.set_redaction(text, text, text, text, int, jsonb, text[]) is 'Sets what becomes of values before an event is stored, in place of the rule for the same tenant, event type and path. From the next transaction of each session on it holds for everything that is published; what is stored already stays. tenant: a tenant, or "*" for all. event_type: a type, or "*" for all. path: "$" is the payload, "$metadata" the metadata, "$error" the error texts of agents; steps are .name, .*, ..name, ..* (at any depth), [n], [*] and ["name"], at most 16. method: "remove"; "replace" (with replacement, at most 1 kB; null: "[redacted]"); "hash" (HMAC-SHA-256 with the key of sentinai.redaction_key_file); "mask" (stars, but for the last keep characters, 0 to 64, null: 4); "secrets" (in texts, what looks like one of patterns: "bearer_token", "private_key", "card_number"; null: all). Of several rules for a value the strongest holds, in the order remove, replace, hash, mask, secrets. At most 64 rules for a tenant and event type. Errors: 22004 null where there must be a value; SN413 replacement too large; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.drop_redaction(tenant text, event_type text, path text)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_drop_redaction';
comment on function sentinai.drop_redaction(text, text, text) is 'Drops a rule that set_redaction() has set. From the next transaction of each session on events are stored without it. Errors: 22004 null; SN404 there is no such rule; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.redacted_payload(tenant_id text, event_type text, payload jsonb) returns jsonb
    language c stable parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_redacted_payload';
comment on function sentinai.redacted_payload(text, text, jsonb) is 'What publish() would store of a payload, by the rules of set_redaction(): for who keeps in tables of his own what he publishes. A payload that is redacted already stays as it is. Errors: 22004 null; SN403 tenant_id is not one the caller may publish or work for; SN413 larger or nested deeper than an event''s; F0000 the key for a hash cannot be read.';

create function sentinai.redacted_error(tenant_id text, event_type text, error text) returns text
    language c stable parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_redacted_error';
comment on function sentinai.redacted_error(text, text, text) is 'An error text about an event of that type as fail() would redact it, by the rules of set_redaction(); of what it returns fail() stores 8192 bytes. Errors: 22004 null; SN403 tenant_id is not one the caller may publish or work for; F0000 the key for a hash cannot be read.';

create function sentinai.redaction_changed() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_redaction_changed';
comment on function sentinai.redaction_changed() is 'Trigger of redaction: tells all sessions that it was changed by SQL, as by a dump that is restored.';

create trigger redaction_changed after insert or update or delete or truncate on sentinai_internal.redaction
    for each statement execute function sentinai.redaction_changed();
alter table sentinai_internal.redaction enable always trigger redaction_changed;
comment on trigger redaction_changed on sentinai_internal.redaction is 'Sessions that publish know the rules by heart.';

create view sentinai.redactions with (security_barrier) as
select r.tenant_id as tenant, r.event_type, r.path, r.method, r.keep, r.replacement, r.patterns,
       r.changed_at, r.changed_by
from sentinai_internal.redaction r
where sentinai.may_audit(nullif(r.tenant_id, '*'));
comment on view sentinai.redactions is 'Rules of redaction, as set_redaction() has set them. With sentinai.tenant_isolation those of tenants that the caller may audit, and those for all when he may audit every one.';
comment on column sentinai.redactions.tenant is 'Tenant whose events it is for; "*" for all.';
comment on column sentinai.redactions.event_type is 'Type of the events it is for; "*" for all.';
comment on column sentinai.redactions.path is 'Which values, in the one form that a path is stored in.';
comment on column sentinai.redactions.method is '"remove", "replace", "hash", "mask" or "secrets".';
comment on column sentinai.redactions.keep is 'For "mask": characters at the end that stay.';
comment on column sentinai.redactions.replacement is 'For "replace": what stands there instead.';
comment on column sentinai.redactions.patterns is 'For "secrets": which are looked for.';
comment on column sentinai.redactions.changed_at is 'When it was set.';
comment on column sentinai.redactions.changed_by is 'Role that set it.';
