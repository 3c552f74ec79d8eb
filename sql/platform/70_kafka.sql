-- Agents that get their events from Kafka.
create table sentinai_platform.kafka_dead_letters (
    event_id        uuid not null,
    worker_type     text collate "C" not null,
    tenant_id       text collate "C" not null,
    aggregate_id    text collate "C",
    event           jsonb not null,
    attempts        int not null,
    error           text not null,
    topic           text not null,
    kafka_partition int not null,
    kafka_offset    bigint not null,
    died_at         timestamptz not null default now(),
    primary key (event_id, worker_type)
);
comment on table sentinai_platform.kafka_dead_letters is 'Events that agents got from Kafka and gave up. retry_kafka_dead_letter() handles one again; one that is deleted here is forgotten, and handled if its record is read once more.';
comment on column sentinai_platform.kafka_dead_letters.event_id is 'The event.';
comment on column sentinai_platform.kafka_dead_letters.worker_type is 'Agent that gave it up.';
comment on column sentinai_platform.kafka_dead_letters.tenant_id is 'Its tenant.';
comment on column sentinai_platform.kafka_dead_letters.aggregate_id is 'Its aggregate.';
comment on column sentinai_platform.kafka_dead_letters.event is 'The event, as handlers take it.';
comment on column sentinai_platform.kafka_dead_letters.attempts is 'How often it was tried.';
comment on column sentinai_platform.kafka_dead_letters.error is 'SQLSTATE and message of the last attempt.';
comment on column sentinai_platform.kafka_dead_letters.topic is 'Topic of the record.';
comment on column sentinai_platform.kafka_dead_letters.kafka_partition is 'Its partition.';
comment on column sentinai_platform.kafka_dead_letters.kafka_offset is 'Its offset.';
comment on column sentinai_platform.kafka_dead_letters.died_at is 'When it was given up.';

create function sentinai_platform.read_record(record jsonb) returns jsonb
    language sql stable parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select jsonb_build_object('event_id', (record ->> 'event_id')::uuid, 'event_type', record ->> 'event_type',
        'tenant_id', record ->> 'tenant_id', 'aggregate_id', record ->> 'aggregate_id', 'payload', (record ->> 'value')::jsonb,
        'metadata', jsonb_strip_nulls(jsonb_build_object('traceparent', record ->> 'traceparent', 'tracestate', record ->> 'tracestate')),
        'correlation_id', record ->> 'correlation_id', 'causation_id', (record ->> 'causation_id')::uuid,
        'occurred_at', (record ->> 'occurred_at')::timestamptz, 'attempt', (record ->> 'attempt')::int,
        'offset', (record ->> 'offset')::bigint) $$;
comment on function sentinai_platform.read_record(jsonb) is 'For handle_records(): the event of a record, with its offset. Errors of the classes 22 and 54: it is not one of ours.';

create function sentinai_platform.read_records(agent text, records jsonb, out events jsonb, out poison bigint[])
    language plpgsql stable parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted jsonb[];
    record jsonb;
begin
    select array_agg(r order by n) into wanted from jsonb_array_elements(records) with ordinality t (r, n)
    where r ->> 'event_type' in (select unnest(a.event_types) from sentinai_platform.agents() a where a.worker_type = agent)
          and sentinai.may('work', r ->> 'tenant_id');
    poison := '{}';
    begin
        select coalesce(jsonb_agg(sentinai_platform.read_record(w.r) order by w.n), '[]') into events
        from unnest(wanted) with ordinality w (r, n);
        return;
    exception when data_exception or program_limit_exceeded then
        events := '[]';
    end;
    foreach record in array wanted loop
        begin
            events := events || sentinai_platform.read_record(record);
        exception when data_exception or program_limit_exceeded then
            poison := poison || (record ->> 'offset')::bigint;
        end;
    end loop;
end $$;
comment on function sentinai_platform.read_records(text, jsonb) is 'For handle_records(): the events that are for an agent and of tenants that the caller may work for, in their order, and the offsets of what cannot be read.';

create function sentinai_platform.give_up_record(agent text, event jsonb, topic text, kafka_partition int, error text) returns void
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
    insert into sentinai_platform.kafka_dead_letters (event_id, worker_type, tenant_id, aggregate_id, event, attempts, error, topic, kafka_partition, kafka_offset)
    values ((event ->> 'event_id')::uuid, agent, event ->> 'tenant_id', event ->> 'aggregate_id', event - '{offset,attempt}'::text[],
            (event ->> 'attempt')::int, left(error, 8000), topic, kafka_partition, (event ->> 'offset')::bigint);
    update sentinai_platform.commands c
    set status = 'failed', error = left(give_up_record.error, 8000), finished_at = clock_timestamp()
    where c.execution_id = (event ->> 'event_id')::uuid and c.tenant_id = event ->> 'tenant_id' $$;
comment on function sentinai_platform.give_up_record(text, jsonb, text, int, text) is 'For handle_records(): an event becomes a dead letter, and its command has failed.';

create function sentinai_platform.handle_records(agent text, topic text, kafka_partition int, records jsonb, max_attempts int default 5,
        out handled int, out dead int, out poison bigint[], out failed bigint[], out waiting bigint[])
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    events jsonb;
    event jsonb;
    key text;
    stopped text[] := '{}';
    state text;
    message text;
    detail text;
begin
    if agent is null or topic is null or kafka_partition is null or records is null or max_attempts is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'no argument may be null';
    elsif jsonb_typeof(records) <> 'array' then
        perform sentinai_platform.refuse('', 'type', 'must be an array of records');
    end if;
    handled := 0; dead := 0; failed := '{}'; waiting := '{}';
    select r.events, r.poison into events, poison from sentinai_platform.read_records(agent, records) r;
    select coalesce(jsonb_agg(e order by n), '[]') into events from jsonb_array_elements(events) with ordinality t (e, n)
    where not exists (select from sentinai_platform.kafka_dead_letters d where d.event_id = (e ->> 'event_id')::uuid and d.worker_type = agent);
    if events = '[]' then
        return;
    end if;
    begin
        if sentinai_platform.finish(agent, events) = jsonb_array_length(events) then
            perform sentinai_platform.apply_batch(agent, events);
            handled := jsonb_array_length(events);
            return;
        end if;
        raise exception using errcode = 'SN409', message = 'some of the events are done already';
    exception when others then
        if not sentinai_platform.is_fault_of_event(sqlstate) then
            raise;
        end if;
    end;
    for event in select e from jsonb_array_elements(events) with ordinality t (e, n) order by n loop
        key := array[event ->> 'tenant_id', event ->> 'aggregate_id']::text;
        if key = any (stopped) then
            waiting := waiting || (event ->> 'offset')::bigint;
            continue;
        end if;
        begin
            if sentinai_platform.finish(agent, jsonb_build_array(event)) = 1 then
                perform sentinai_platform.apply_batch(agent, jsonb_build_array(event));
                handled := handled + 1;
            end if;
        exception when others then
            get stacked diagnostics state = returned_sqlstate, message = message_text, detail = pg_exception_detail;
            if not sentinai_platform.is_fault_of_event(state) then
                raise;
            elsif (event ->> 'attempt')::int >= max_attempts or state in ('SN422', 'SN413', 'SN404') then
                perform sentinai_platform.give_up_record(agent, event, topic, kafka_partition, concat(state, ': ', message, ': ' || nullif(detail, '')));
                dead := dead + 1;
            else
                failed := failed || (event ->> 'offset')::bigint;
                stopped := stopped || key;
            end if;
        end;
    end loop;
end $$;
comment on function sentinai_platform.handle_records(text, text, int, jsonb, int) is 'For agents with "--source kafka": handles records of one partition, in their order, as handle_intake() and its kin do a batch, in the caller''s transaction. agent: its name. records: a JSON array of objects with the values of the headers (event_id, event_type, tenant_id, aggregate_id, correlation_id, causation_id, occurred_at, traceparent, tracestate), "offset", "attempt" (from 1 on), and "value": the record''s value as text. Events of types that the agent has not, of tenants that the caller may not work for, and those that are done or dead letters are passed. max_attempts: the last attempt of an event; one that fails then, or in a way that will not change, becomes a row of kafka_dead_letters. Returns how many were handled and died, and offsets: of what cannot be read as an event, of what has failed and shall come again, and of what waits behind it because it has the same key. Errors: 22004 null; SN422 no array; those of mark_as_completed() and publish(), where they are not the fault of an event.';

create function sentinai_platform.retry_kafka_dead_letter(event_id uuid, worker_type text) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    batch jsonb;
begin
    if event_id is null or worker_type is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'no argument may be null';
    end if;
    delete from sentinai_platform.kafka_dead_letters d
    where d.event_id = retry_kafka_dead_letter.event_id and d.worker_type = retry_kafka_dead_letter.worker_type
    returning jsonb_build_array(d.event) into batch;
    if not found then
        raise exception using errcode = 'SN404', message = 'no such dead letter';
    end if;
    if sentinai_platform.finish(worker_type, batch) = 1 then
        perform sentinai_platform.apply_batch(worker_type, batch);
    end if;
end $$;
comment on function sentinai_platform.retry_kafka_dead_letter(uuid, text) is 'Handles an event of kafka_dead_letters again, now and in the caller''s transaction; if it succeeds the letter is gone. It comes after later events of its key. Errors: 22004 null; SN404 no such letter; what is still wrong with it.';
