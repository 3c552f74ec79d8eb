-- Reading the log.

create function sentinai.get_events_by_aggregate(
        tenant_id text, aggregate_id text, event_types text[] default null,
        from_time timestamptz default null, to_time timestamptz default null,
        correlation_id text default null, after_id uuid default null,
        max_events int default 100, aggregate_type text default null)
    returns setof sentinai.event
    language c stable parallel restricted rows 100
    as 'MODULE_PATHNAME', 'sentinai_get_events_by_aggregate';
comment on function sentinai.get_events_by_aggregate(text, text, text[], timestamptz, timestamptz, text, uuid, int, text) is 'Events of one aggregate of a tenant, oldest first. Filters, each null for none: event_types; from_time (inclusive) and to_time (exclusive), by occurred_at; correlation_id; after_id, the last event_id of the page before; aggregate_type, as aggregates of two types with one id share their order. max_events: 1 to 10,000. Reads only the partitions of the time range, by the index on the hash of the key. Errors: 22004 null tenant_id or aggregate_id; SN403 not allowed; SN422 max_events out of range, event_types of more than one dimension or with nulls.';

create function sentinai.get_events_by_exception(
        tenant_id text, exception_id text, event_types text[] default null,
        from_time timestamptz default null, to_time timestamptz default null,
        correlation_id text default null, after_id uuid default null,
        max_events int default 100)
    returns setof sentinai.event
    language c stable parallel restricted rows 100
    as 'MODULE_PATHNAME', 'sentinai_get_events_by_exception';
comment on function sentinai.get_events_by_exception(text, text, text[], timestamptz, timestamptz, text, uuid, int) is 'get_events_by_aggregate() for the aggregate whose id is exception_id, of any type.';

create function sentinai.get_events_by_tenant(
        tenant_id text, event_types text[] default null,
        from_time timestamptz default null, to_time timestamptz default null,
        correlation_id text default null, after_id uuid default null,
        max_events int default 100)
    returns setof sentinai.event
    language c stable parallel restricted rows 100
    as 'MODULE_PATHNAME', 'sentinai_get_events_by_tenant';
comment on function sentinai.get_events_by_tenant(text, text[], timestamptz, timestamptz, text, uuid, int) is 'Events of a tenant, oldest first. Filters and errors as get_events_by_aggregate(). Reads by the index on tenant and event id.';

create function sentinai.event_time(event_id uuid) returns timestamptz
    language c immutable strict parallel safe
    as 'MODULE_PATHNAME', 'sentinai_event_time';
comment on function sentinai.event_time(uuid) is 'Time that a UUIDv7 carries, to the millisecond.';
