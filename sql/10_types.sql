-- Types of the API.

create type sentinai.event as (
    event_id       uuid,
    event_type     text,
    tenant_id      text,
    aggregate_type text,
    aggregate_id   text,
    schema_version int,
    payload        jsonb,
    metadata       jsonb,
    correlation_id text,
    causation_id   uuid,
    occurred_at    timestamptz,
    deliver_at     timestamptz
);
comment on type sentinai.event is 'An event as get_events_by_aggregate() and get_events_by_tenant() return it; the columns are those of event_log.';
