-- Publishing by INSERT or COPY, for ORMs and code written for an outbox table.

create view sentinai.outbox with (security_invoker = true) as
    select event_id as id, tenant_id, aggregate_type as aggregatetype,
           aggregate_id as aggregateid, event_type as type, payload, metadata
      from sentinai.event_log;
alter view sentinai.outbox alter column aggregatetype set default 'exception';
comment on view sentinai.outbox is 'Publishes every row inserted or copied into it, as publish() does, and shows the log under the column names of Debezium''s outbox. UPDATE and DELETE are refused with SN409.';
comment on column sentinai.outbox.id is 'The event''s id, always taken by SentinAI (RETURNING id tells it). An id given on insert is kept in the metadata as "outbox_id"; giving it twice within sentinai.idempotency_window is 23505.';
comment on column sentinai.outbox.tenant_id is 'Tenant the event belongs to.';
comment on column sentinai.outbox.aggregatetype is 'Kind of the aggregate, "exception" when left out.';
comment on column sentinai.outbox.aggregateid is 'Aggregate whose events keep their order; null for an event of the tenant itself.';
comment on column sentinai.outbox.type is 'Event type.';
comment on column sentinai.outbox.payload is 'The event''s data, a JSON object.';
comment on column sentinai.outbox.metadata is 'Data about the event, a JSON object; empty when left out.';

create function sentinai.outbox_insert() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_outbox_insert';
comment on function sentinai.outbox_insert() is 'Trigger of outbox: checks an inserted row as publish() does its arguments, with the same errors, and buffers it. 23505 when the id was given before.';

create function sentinai.outbox_flush() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_outbox_flush';
comment on function sentinai.outbox_flush() is 'Trigger of outbox: writes the rows that a statement inserted.';

create trigger outbox_insert instead of insert on sentinai.outbox
    for each row execute function sentinai.outbox_insert();
create trigger outbox_flush after insert on sentinai.outbox
    for each statement execute function sentinai.outbox_flush();
create trigger refuse_change instead of update or delete on sentinai.outbox
    for each row execute function sentinai.refuse_change();
create trigger refuse_change_early before update or delete on sentinai.outbox
    for each statement execute function sentinai.refuse_change();
comment on trigger outbox_insert on sentinai.outbox is 'Takes a row.';
comment on trigger outbox_flush on sentinai.outbox is 'Publishes the rows of a statement.';
comment on trigger refuse_change on sentinai.outbox is 'Rows cannot be changed: they are events as soon as they are in.';
comment on trigger refuse_change_early on sentinai.outbox is 'The same where no row is found, which would hide the mistake.';
