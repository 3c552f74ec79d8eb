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
    status          text collate "C" not null default 'pending' check (status in ('pending', 'succeeded', 'discarded')),
    settled_at      timestamptz,
    settled_by      text collate "C",
    settled_because text collate "C",
    primary key (event_id, worker_type)
);
create index on sentinai_platform.kafka_dead_letters (settled_at) where settled_at is not null;
comment on table sentinai_platform.kafka_dead_letters is 'Events that agents got from Kafka and gave up. retry_kafka_dead_letter() handles one again, and discard_kafka_dead_letter() gives it up for good. Settled ones are removed after sentinai.dead_letter_retention. One that is deleted here while it is pending is forgotten, and handled if its record is read once more.';
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
comment on column sentinai_platform.kafka_dead_letters.status is '"pending", "succeeded" or "discarded".';
comment on column sentinai_platform.kafka_dead_letters.settled_at is 'When it succeeded or was discarded.';
comment on column sentinai_platform.kafka_dead_letters.settled_by is 'Who did that.';
comment on column sentinai_platform.kafka_dead_letters.settled_because is 'Why it was discarded.';

create function sentinai_platform.read_record(record jsonb) returns jsonb
    language sql stable parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select jsonb_build_object('event_id', (record ->> 'event_id')::uuid, 'event_type', record ->> 'event_type',
        'tenant_id', record ->> 'tenant_id', 'aggregate_id', record ->> 'aggregate_id', 'payload', (record ->> 'value')::jsonb,
        'metadata', jsonb_strip_nulls(jsonb_build_object('traceparent', record ->> 'traceparent', 'tracestate', record ->> 'tracestate')),
        'correlation_id', record ->> 'correlation_id', 'causation_id', (record ->> 'causation_id')::uuid,
        'occurred_at', (record ->> 'occurred_at')::timestamptz, 'attempt', (record ->> 'attempt')::int,
        'offset', (record ->> 'offset')::bigint)
        || case when record ? 'result' then jsonb_build_object('result', record -> 'result') else '{}' end $$;
comment on function sentinai_platform.read_record(jsonb) is 'For handle_records(): the event of a record, with its offset. Errors of the classes 22 and 54: it is not one of ours.';

create function sentinai_platform.read_records(agent text, records jsonb, out events jsonb, out poison bigint[])
    language plpgsql stable parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted jsonb[];
    record jsonb;
begin
    poison := '{}';
    select array_agg(r order by n) into wanted from jsonb_array_elements(records) with ordinality t (r, n)
    where r ->> 'event_type' in (select unnest(a.event_types) from sentinai_platform.agents() a where a.worker_type = agent)
          and sentinai.may('work', r ->> 'tenant_id');
    begin
        select coalesce(jsonb_agg(sentinai_platform.read_record(w.r) order by w.n), '[]') into events
        from unnest(wanted) with ordinality w (r, n);
    exception when data_exception or program_limit_exceeded then
        events := '[]';
        foreach record in array wanted loop
            begin
                events := events || sentinai_platform.read_record(record);
            exception when data_exception or program_limit_exceeded then
                poison := poison || (record ->> 'offset')::bigint;
            end;
        end loop;
    end;
    if exists (select from sentinai_platform.kafka_dead_letters d
               where d.event_id in (select (e ->> 'event_id')::uuid from jsonb_array_elements(events) e) and d.worker_type = agent) then
        select coalesce(jsonb_agg(e order by n), '[]') into events from jsonb_array_elements(events) with ordinality t (e, n)
        where not exists (select from sentinai_platform.kafka_dead_letters d where d.event_id = (e ->> 'event_id')::uuid and d.worker_type = agent);
    end if;
end $$;
comment on function sentinai_platform.read_records(text, jsonb) is 'For handle_records(): the events that are for an agent, of tenants that the caller may work for, and no dead letters, in their order, and the offsets of what cannot be read.';

create function sentinai_platform.prepare_records(agent text, records jsonb)
    returns table (event_id uuid, result jsonb, execution_id uuid, idempotency_key text, owner text, may_retry boolean, method text, url text, host text, port int,
                   networks text, headers text, secret_headers text, body text, timeout_ms int, max_response_bytes int)
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
    -- what is done needs no call, whatever became of it
    select p.* from sentinai_platform.prepare(agent, (
        select coalesce(jsonb_agg(e order by n), '[]')
        from jsonb_array_elements((sentinai_platform.read_records(agent, records)).events) with ordinality t (e, n)
        where not sentinai.is_already_processed((e ->> 'event_id')::uuid, agent))) p $$;
comment on function sentinai_platform.prepare_records(text, jsonb) is 'For agents with "--source kafka" that call out before their handler: prepare() for records, as handle_records() takes them. The agent puts each result into its record as "result". Events that are done, or dead letters, have no row.';

create function sentinai_platform.purge_kafka_dead_letters(before timestamptz, max_letters int default 10000) returns int
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    purged int;
begin
    if before is null or max_letters is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'no argument may be null';
    elsif max_letters < 1 then
        perform sentinai_platform.refuse('', 'minimum', 'max_letters must be at least 1');
    end if;
    delete from sentinai_platform.kafka_dead_letters d
    using (select l.event_id, l.worker_type from sentinai_platform.kafka_dead_letters l where l.settled_at < before
           order by l.settled_at limit max_letters for update skip locked) l
    where d.event_id = l.event_id and d.worker_type = l.worker_type;
    get diagnostics purged = row_count;
    return purged;
end $$;
comment on function sentinai_platform.purge_kafka_dead_letters(timestamptz, int) is 'Removes rows of kafka_dead_letters that were settled before a time, the oldest first, up to max_letters, and returns how many: call it until that is 0. Pending ones stay. After sentinai.dead_letter_retention they go by themselves, some with each that is given up or settled. Errors: 22004 null; SN422 max_letters below 1.';

create function sentinai_platform.expire_kafka_dead_letters() returns void
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
    select sentinai_platform.purge_kafka_dead_letters(now() - r.age, 100)
    from (select nullif(current_setting('sentinai.dead_letter_retention'), '-1')::interval) r (age) where r.age is not null $$;
comment on function sentinai_platform.expire_kafka_dead_letters() is 'For the handlers of records: removes settled letters that are older than sentinai.dead_letter_retention, more than one letter comes in meanwhile.';

create function sentinai_platform.give_up_record(agent text, event jsonb, place jsonb, error text) returns void
    language sql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
    select sentinai_platform.expire_kafka_dead_letters();
    insert into sentinai_platform.kafka_dead_letters (event_id, worker_type, tenant_id, aggregate_id, event, attempts, error, topic, kafka_partition, kafka_offset)
    values ((event ->> 'event_id')::uuid, agent, event ->> 'tenant_id', event ->> 'aggregate_id', event - '{offset,attempt,result}'::text[],
            (event ->> 'attempt')::int, left(error, 8000), place ->> 'topic', (place ->> 'partition')::int, (event ->> 'offset')::bigint);
    select sentinai_platform.fail_command(agent, event, error) $$;
comment on function sentinai_platform.give_up_record(text, jsonb, jsonb, text) is 'For handle_records(): an event becomes a dead letter, and its command has failed. place: topic and partition.';

create function sentinai_platform.fail_record(agent text, event jsonb, place jsonb, error text, retryable boolean, retry_in interval default null) returns int
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    attempt constant int := event ->> 'attempt';
    again constant boolean := retryable and attempt < (place ->> 'max_attempts')::int;
    wait constant interval := case when again then coalesce(retry_in,
        (place #>> array['backoff', (least(attempt, jsonb_array_length(place -> 'backoff')) - 1)::text])::interval) end;
    -- as the core stores it, also when its log has no such event
    text constant text := coalesce(sentinai.mark_as_failed((event ->> 'event_id')::uuid, agent, error, attempt, wait),
        sentinai.redacted_error(event ->> 'tenant_id', event ->> 'event_type', error));
begin
    if again then
        return ceil(extract(epoch from wait) * 1000);
    end if;
    perform sentinai_platform.give_up_record(agent, event, place, text);
    return null;
end $$;
comment on function sentinai_platform.fail_record(text, jsonb, jsonb, text, boolean, interval) is 'For handle_records(): an attempt at an event has failed. Milliseconds until the next one; null: it is a dead letter now. place: topic, partition, max_attempts and backoff.';

create function sentinai_platform.settle_records(batch jsonb, place jsonb, out rest jsonb, out failed bigint[], out delays int[], out waiting bigint[], out dead int)
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    a record;
    wait int;
    again jsonb := '[]';
    given_up jsonb := '[]';
begin
    rest := batch; failed := '{}'; delays := '{}'; waiting := '{}'; dead := 0;
    if not exists (select from jsonb_array_elements(batch) e where e ? 'result') then
        return;
    end if;
    -- somebody else may have done it meanwhile
    select coalesce(jsonb_agg(e order by n), '[]') into rest from jsonb_array_elements(batch) with ordinality t (e, n)
    where not sentinai.is_already_processed((e ->> 'event_id')::uuid, 'tool');
    perform sentinai_platform.note_breakers(rest);
    for a in select * from sentinai_platform.calls_again(rest) c order by c.ord loop
        wait := sentinai_platform.fail_record('tool', a.event, place, a.error, true, a.retry_in);
        if wait is null then
            given_up := given_up || a.event;
        else
            again := again || a.event;
            failed := failed || (a.event ->> 'offset')::bigint;
            delays := delays || wait;
        end if;
    end loop;
    dead := jsonb_array_length(given_up);
    if dead > 0 then
        perform sentinai_platform.lock_known(given_up);
        perform sentinai_platform.answer_tools(given_up);
    end if;
    -- what comes behind one that has failed waits with it
    select coalesce(jsonb_agg(b.event order by b.ord) filter (where f.place is null and not (b.event -> 'offset') <@ g.offsets), '[]'),
           coalesce(array_agg(b.place order by b.ord) filter (where b.place > f.place), '{}')
    into rest, waiting
    from (select r.*, (r.event ->> 'offset')::bigint as place from sentinai_platform.read_batch(rest) r) b
    cross join (select coalesce(jsonb_agg(e -> 'offset'), '[]') as offsets from jsonb_array_elements(given_up) e) g
    left join (select r.tenant_id, r.exception_id, (r.event ->> 'offset')::bigint as place from sentinai_platform.read_batch(again) r) f
        on f.tenant_id = b.tenant_id and f.exception_id = b.exception_id and f.place <= b.place;
end $$;
comment on function sentinai_platform.settle_records(jsonb, jsonb) is 'For handle_records(): what settle_tools() is for handle(): says what is to be called again and when, what waits behind it, and what is left of a batch.';

create function sentinai_platform.handle_record_set(agent text, events jsonb, place jsonb,
        out handled int, out dead int, out failed bigint[], out delays int[], out waiting bigint[])
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    rest jsonb := events;
begin
    dead := 0; failed := '{}'; delays := '{}'; waiting := '{}';
    perform sentinai_platform.limit_time(jsonb_array_length(events));
    if agent = 'tool' then
        select s.* into rest, failed, delays, waiting, dead from sentinai_platform.settle_records(events, place) s;
    end if;
    handled := sentinai_platform.finish(agent, rest);
    if handled not in (0, jsonb_array_length(rest)) then
        raise exception using errcode = 'SN409', message = 'some of the events are done already';
    elsif handled > 0 then
        perform sentinai_platform.apply_batch(agent, rest);
    end if;
end $$;
comment on function sentinai_platform.handle_record_set(text, jsonb, jsonb) is 'For handle_records(): takes events as one set, all or nothing. place: as of fail_record().';

create function sentinai_platform.handle_records(agent text, topic text, kafka_partition int, records jsonb, max_attempts int default 5,
        backoff interval[] default '{1s,2s,4s,8s}',
        out handled int, out dead int, out poison bigint[], out failed bigint[], out delays int[], out waiting bigint[])
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    place constant jsonb := jsonb_build_object('topic', topic, 'partition', kafka_partition, 'max_attempts', max_attempts, 'backoff', to_jsonb(backoff));
    events jsonb;
    event jsonb;
    key text;
    stopped text[] := '{}';
    slow text[] := '{}';
    one record;
    state text;
    message text;
    detail text;
    wait int;
begin
    if agent is null or topic is null or kafka_partition is null or records is null or max_attempts is null or backoff is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'no argument may be null';
    elsif jsonb_typeof(records) <> 'array' then
        perform sentinai_platform.refuse('', 'type', 'must be an array of records');
    elsif coalesce(array_ndims(backoff), 0) <> 1 or array_position(backoff, null) is not null then
        perform sentinai_platform.refuse('', 'minItems', 'backoff must have at least one interval, and no null');
    end if;
    handled := 0; dead := 0; failed := '{}'; delays := '{}'; waiting := '{}';
    select r.events, r.poison into events, poison from sentinai_platform.read_records(agent, records) r;
    if events = '[]' then
        return;
    end if;
    begin
        select s.* into handled, dead, failed, delays, waiting from sentinai_platform.handle_record_set(agent, events, place) s;
        return;
    exception when query_canceled or others then
        if not sentinai_platform.is_fault_of_event(sqlstate) then
            raise;
        end if;
    end;
    for event in select e from jsonb_array_elements(events) with ordinality t (e, n) order by n loop
        key := array[event ->> 'tenant_id', event ->> 'aggregate_id']::text;
        if key = any (stopped) or event ->> 'tenant_id' = any (slow) then
            waiting := waiting || (event ->> 'offset')::bigint;
            continue;
        end if;
        begin
            select s.* into one from sentinai_platform.handle_record_set(agent, jsonb_build_array(event), place) s;
            handled := handled + one.handled; dead := dead + one.dead; failed := failed || one.failed; delays := delays || one.delays;
            if one.failed <> '{}' then
                stopped := stopped || key;
            end if;
        exception when query_canceled or others then
            get stacked diagnostics state = returned_sqlstate, message = message_text, detail = pg_exception_detail;
            if not sentinai_platform.is_fault_of_event(state) then
                raise;
            end if;
            if state = '57014' then
                slow := slow || event ->> 'tenant_id';
            end if;
            select sentinai_platform.fail_record(agent, event, place, w.error, w.retryable) into wait
            from sentinai_platform.what_failed(state, message, detail) w;
            if wait is null then
                dead := dead + 1;
            else
                failed := failed || (event ->> 'offset')::bigint;
                delays := delays || wait;
                stopped := stopped || key;
            end if;
        end;
    end loop;
end $$;
comment on function sentinai_platform.handle_records(text, text, int, jsonb, int, interval[]) is 'For agents with "--source kafka": handles records of one partition, in their order, as handle_intake() and its kin do a batch, in the caller''s transaction. agent: its name. records: a JSON array of objects with the values of the headers (event_id, event_type, tenant_id, aggregate_id, correlation_id, causation_id, occurred_at, traceparent, tracestate), "offset", "attempt" (from 1 on), "value": the record''s value as text, and for webhooks "result": see prepare_records(). Events of types that the agent has not, of tenants that the caller may not work for, and those that are done or dead letters are passed. max_attempts: the last attempt of an event; one that fails then, or in a way that will not change, becomes a row of kafka_dead_letters. backoff: waits before the second attempt, the third and so on, the last one for all that follow. RetryScheduled and DeadLettered tell of each. Returns how many were handled and died, and offsets: of what cannot be read as an event, of what has failed and shall come again after so many milliseconds (delays), and of what waits behind it because it has the same key. Errors: 22004 null; SN422 no array, or no backoff; those of mark_as_completed() and publish(), where they are not the fault of an event.';

create function sentinai_platform.settle_letter(event_id uuid, worker_type text, outcome text, actor text, reason text default null) returns jsonb
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
declare
    letter sentinai_platform.kafka_dead_letters;
    told record;
begin
    select * into letter from sentinai_platform.kafka_dead_letters d
    where d.event_id = settle_letter.event_id and d.worker_type = settle_letter.worker_type and d.status = 'pending' for update;
    if not found then
        raise exception using errcode = 'SN404', message = 'no such dead letter', detail = 'It is unknown, settled, or of a tenant that the caller may not work for.';
    end if;
    actor := coalesce(actor, session_user);
    -- as the core stores it, also when its log has no such event
    told := sentinai.mark_as_settled(event_id, worker_type, outcome, actor, reason, letter.event ->> 'tenant_id', letter.event ->> 'event_type');
    update sentinai_platform.kafka_dead_letters d
    set status = case outcome when 'retried' then 'succeeded' else outcome end, settled_at = clock_timestamp(),
        settled_by = told.actor, settled_because = told.reason
    where d.event_id = settle_letter.event_id and d.worker_type = settle_letter.worker_type;
    perform sentinai_platform.expire_kafka_dead_letters();
    return letter.event;
end $$;
comment on function sentinai_platform.settle_letter(uuid, text, text, text, text) is 'For retry_kafka_dead_letter() and discard_kafka_dead_letter(): a pending letter is so no more, which DeadLetterRetried or DeadLetterDiscarded tells of. outcome: as of mark_as_settled(). Returns its event.';

create function sentinai_platform.retry_kafka_dead_letter(event_id uuid, worker_type text, actor text default null) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    batch jsonb;
begin
    if event_id is null or worker_type is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'event_id and worker_type must not be null';
    end if;
    batch := jsonb_build_array(sentinai_platform.settle_letter(event_id, worker_type, 'retried', actor));
    if sentinai_platform.finish(worker_type, batch) = 1 then
        perform sentinai_platform.apply_batch(worker_type, batch);
    end if;
end $$;
comment on function sentinai_platform.retry_kafka_dead_letter(uuid, text, text) is 'Handles a pending event of kafka_dead_letters again, now and in the caller''s transaction; if that succeeds the letter has, and DeadLetterRetried tells of it. It comes after later events of its key. actor: who does it, the current user by default, at most 256 bytes. What a webhook is to be called for has failed already: request it anew with execute_tool(). Errors: 22004 null; SN404 no such letter; SN422 invalid argument; what is still wrong with it.';

create function sentinai_platform.discard_kafka_dead_letter(event_id uuid, worker_type text, reason text, actor text default null) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if event_id is null or worker_type is null or reason is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'event_id, worker_type and reason must not be null';
    end if;
    perform sentinai_platform.settle_letter(event_id, worker_type, 'discarded', actor, reason);
end $$;
comment on function sentinai_platform.discard_kafka_dead_letter(uuid, text, text, text) is 'Gives an event of kafka_dead_letters up for good, and DeadLetterDiscarded tells of it. reason: why, 1 to 8192 bytes. actor: who says so, the current user by default, at most 256 bytes. Errors: 22004 null; SN404 no such letter; SN422 invalid argument.';
