-- Publishing, and the keys that decide about order.

create function sentinai.publish(
        event_type text, tenant_id text, aggregate_id text, payload jsonb,
        aggregate_type text default 'exception', metadata jsonb default '{}',
        correlation_id text default null, causation_id uuid default null,
        idempotency_key text default null, deliver_at timestamptz default null,
        schema_version int default null)
    returns uuid
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_publish';
comment on function sentinai.publish(text, text, text, jsonb, text, jsonb, text, uuid, text, timestamptz, int) is 'Publishes an event in the caller''s transaction and returns its id, a UUIDv7. event_type and aggregate_type: a letter, then letters, digits and "_.:-/", at most 128. tenant_id: at most 256 bytes, no ":". aggregate_id: at most 1024 bytes; null for an event of the tenant itself. payload: a JSON object of at most sentinai.max_payload, stored and as text. metadata: a JSON object of at most 64 kB likewise. Neither may be nested more than 500 levels deep. correlation_id: at most 512 bytes; by default that of the event which work_on() named, or the aggregate id. causation_id: the event that caused this one; by default the one that work_on() named. A traceparent in the metadata goes on to the broker; one that W3C does not call valid starts a new trace. idempotency_key: at most 512 bytes; a repeated call within sentinai.idempotency_window returns the first id and publishes nothing. deliver_at: earliest time of delivery, at most ten years ahead. schema_version: from 1; null for the newest registered version that is not deprecated, or 1 for a type that is not registered. Errors: 22004 null where there must be a value; SN403 tenant not allowed; SN409 idempotency key taken by another event; SN413 payload or metadata too large; SN422 invalid argument; 25006 read-only transaction or standby.';

create function sentinai.publish_batch(
        event_types text[], tenant_ids text[], aggregate_ids text[],
        payloads jsonb[], aggregate_type text default 'exception',
        metadata jsonb default '{}', correlation_ids text[] default null)
    returns uuid[]
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_publish_batch';
comment on function sentinai.publish_batch(text[], text[], text[], jsonb[], text, jsonb, text[]) is 'Publishes many events at once, each tenant''s in the order of the arrays, and returns their ids in that order. The arrays have one dimension, equal lengths and at most sentinai.max_batch elements; aggregate_type and metadata hold for all. Elements are as the arguments of publish(); if one is refused, all are, and the message tells which (from 1). Errors: as publish(); SN413 too many events; SN422 arrays that do not match.';

create function sentinai.publish_events(
        event_types text[], tenant_ids text[], aggregate_ids text[],
        payloads jsonb[], aggregate_type text default 'exception',
        metadata jsonb[] default null, correlation_ids text[] default null,
        causation_ids uuid[] default null, deliver_at timestamptz[] default null,
        schema_versions int[] default null)
    returns uuid[]
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_publish_events';
comment on function sentinai.publish_events(text[], text[], text[], jsonb[], text, jsonb[], text[], uuid[], timestamptz[], int[]) is 'Publishes many events at once, as publish_batch() does, where each has metadata, a cause, a time of delivery and a version of its own. The arrays that are given have one dimension, equal lengths and at most sentinai.max_batch elements; an element that is null is what publish() takes for it by default. aggregate_type holds for all. If one event is refused, all are, and the message tells which (from 1), unless there is one. Errors: as publish_batch().';

create function sentinai.work_on(event_id uuid) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_work_on';
comment on function sentinai.work_on(uuid) is 'Says that the rest of the transaction works on an event. What it publishes from then on has that event for its cause, its correlation id, and goes on with its W3C trace, unless a call says otherwise. Holds until the end of the transaction, or until its savepoint is rolled back. It sets sentinai.work_on, as SET LOCAL would. Errors: 22004 null; SN404 unknown event, or of a tenant that the caller may not publish for.';

create function sentinai.get_partition_key(tenant_id text, aggregate_id text) returns text
    language c immutable parallel safe
    as 'MODULE_PATHNAME', 'sentinai_get_partition_key';
comment on function sentinai.get_partition_key(text, text) is 'Key whose events keep their order, here and in Kafka: "tenant:aggregate", or the tenant alone when aggregate_id is null. Null when tenant_id is null.';

create function sentinai.partition_hash(key text) returns int
    language c immutable strict parallel safe
    as 'MODULE_PATHNAME', 'sentinai_partition_hash';
comment on function sentinai.partition_hash(text) is 'Kafka''s murmur2 of a key''s UTF-8 bytes, signed, as the Java client computes it.';

create function sentinai.partition_for(tenant_id text, aggregate_id text, partitions int) returns int
    language c immutable parallel safe
    as 'MODULE_PATHNAME', 'sentinai_partition_for';
comment on function sentinai.partition_for(text, text, int) is 'Partition, from 0, that Kafka''s default partitioner chooses for the aggregate in a topic with that many partitions. Not for the record format "debezium", whose key is the aggregate id alone: docs/kafka.md tells how. Null when tenant_id or partitions is null. Errors: SN422 partitions less than 1.';
