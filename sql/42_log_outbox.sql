-- Publishing by INSERT or COPY, for ORMs and code written for an outbox table.
-- A foreign table and not a view: triggers INSTEAD OF are silent where
-- triggers are off, as with session_replication_role = replica.

create function sentinai.outbox_handler() returns fdw_handler
    language c volatile
    as 'MODULE_PATHNAME', 'sentinai_outbox_handler';
comment on function sentinai.outbox_handler() is 'For PostgreSQL, which calls it for the foreign table outbox. That checks an inserted row as publish() does its arguments, with the same errors, and publishes the rows of a statement at its end.';

create function sentinai.outbox_given(ids uuid[], out given uuid, out event_id uuid) returns setof record
    language sql stable rows 1
    set search_path = pg_catalog, pg_temp
as $$
    select i.id, k.event_id
      from (select distinct u.id from pg_catalog.unnest(ids) u (id)) i
      join sentinai_internal.event_idempotency k
        on k.idempotency_key = E'\x01' || i.id::text and k.idempotency_key < E'\x02'
$$;
comment on function sentinai.outbox_given(uuid[]) is 'For outbox, when it is read by id: the events that were inserted under these ids within sentinai.idempotency_window.';

create foreign data wrapper sentinai_outbox handler sentinai.outbox_handler;
comment on foreign data wrapper sentinai_outbox is 'What stands behind sentinai.outbox.';
create server sentinai_outbox foreign data wrapper sentinai_outbox;
comment on server sentinai_outbox is 'What stands behind sentinai.outbox.';

create foreign table sentinai.outbox (
    id            uuid,
    tenant_id     text collate "C",
    aggregatetype text collate "C" default 'exception',
    aggregateid   text collate "C",
    type          text collate "C",
    payload       jsonb,
    metadata      jsonb
) server sentinai_outbox;
comment on foreign table sentinai.outbox is 'Publishes every row inserted or copied into it, as publish() does, and shows the log under the column names of Debezium''s outbox to those who may read event_log. UPDATE and DELETE are refused with SN409. The table is foreign so that it works in every mode of the server.';
comment on column sentinai.outbox.id is 'The event''s id, always taken by SentinAI (RETURNING id tells it). An id given on insert is kept in the metadata as "outbox_id"; within sentinai.idempotency_window the event is found by it, and giving it twice for a tenant is 23505, or nothing with ON CONFLICT DO NOTHING.';
comment on column sentinai.outbox.tenant_id is 'Tenant the event belongs to.';
comment on column sentinai.outbox.aggregatetype is 'Kind of the aggregate, "exception" when left out.';
comment on column sentinai.outbox.aggregateid is 'Aggregate whose events keep their order; null for an event of the tenant itself.';
comment on column sentinai.outbox.type is 'Event type.';
comment on column sentinai.outbox.payload is 'The event''s data, a JSON object.';
comment on column sentinai.outbox.metadata is 'Data about the event, a JSON object; empty when left out.';
