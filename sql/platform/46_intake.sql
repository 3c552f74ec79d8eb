-- Intake: from what a source says to the fields that all exceptions have.

create function sentinai_platform.convert_value(value text, kind text, time_zone text) returns jsonb
    language plpgsql stable parallel safe
    set search_path = pg_catalog, pg_temp
    set datestyle = 'ISO, YMD'
    as $$
declare
    at timestamptz;
begin
    case kind
        when 'number' then
            -- JSON has no number for NaN and Infinity
            if value::numeric in ('NaN', 'Infinity', '-Infinity') then
                raise numeric_value_out_of_range;
            end if;
            return to_jsonb(value::numeric);
        when 'integer' then return to_jsonb(value::bigint);
        when 'boolean' then return to_jsonb(value::boolean);
        when 'currency' then return to_jsonb(upper(trim(value)));
        when 'epoch' then at := to_timestamp(value::float8);
        when 'epoch_ms' then at := to_timestamp(value::float8 / 1000);
        else
            at := case when value ~ '([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)\s*$' and value ~ ':' then value::timestamptz
                  else value::timestamp at time zone time_zone end;
    end case;
    return to_jsonb(to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));
end $$;
comment on function sentinai_platform.convert_value(text, text, text) is 'For intake: a value as the kind of a mapping rule asks for it; a time as events have it.';

create function sentinai_platform.map_value(value jsonb, pointer text, kind text, time_zone text,
                                            translation jsonb, default_value jsonb, required boolean)
    returns jsonb
    language plpgsql stable parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    found jsonb := coalesce(nullif(value, 'null'), default_value);
begin
    found := coalesce(translation -> (found #>> '{}'), found);
    if found is null then
        if required then
            perform sentinai_platform.refuse('/data' || pointer, 'required', 'is missing');
        end if;
        return null;
    elsif jsonb_typeof(found) in ('object', 'array') and kind <> 'json' then
        perform sentinai_platform.refuse('/data' || pointer, 'type', 'must be a single value');
    elsif kind = 'text' then
        return to_jsonb(found #>> '{}');
    elsif kind = 'json' then
        return found;
    end if;
    begin
        return sentinai_platform.convert_value(found #>> '{}', kind, time_zone);
    exception when data_exception then
        -- the server's message would show the value
        perform sentinai_platform.refuse('/data' || pointer, 'type', format('is no %s', kind));
    end;
end $$;
comment on function sentinai_platform.map_value(jsonb, text, text, text, jsonb, jsonb, boolean) is 'For intake: the value of a field by a mapping rule; null when there is none. Errors: SN422 with the pointer of the field.';

create function sentinai_platform.map_fields(batch jsonb) returns table (ord bigint, fields jsonb)
    language sql stable parallel restricted rows 100
    begin atomic
    with e as materialized (
        select b.ord, b.tenant_id, coalesce(b.payload ->> 'source', '*') as source, b.payload -> 'data' as data
        from sentinai_platform.read_batch(batch) b where b.event_type = 'ExceptionIngested'),
    -- rules are the same for all that a tenant has from a source
    origin as (select distinct e.tenant_id, e.source from e),
    candidate as (
        select o.tenant_id, o.source, r.field, r.pointers, r.kind, r.time_zone, r.translation, r.default_value, r.required,
               (r.tenant_id <> '*')::int * 2 + (r.source <> '*')::int as rank
        from origin o join sentinai_platform.mapping_rules r on r.tenant_id in (o.tenant_id, '*') and r.source in (o.source, '*')
        union all
        -- a source that speaks as we do needs no rules
        select o.tenant_id, o.source, d.field, array['/' || d.field], d.kind, 'UTC', null, null, false, -1
        from origin o cross join (values ('type', 'text'), ('severity', 'text'), ('title', 'text'), ('amount', 'number'),
                                         ('currency', 'currency'), ('occurred_at', 'timestamp')) d (field, kind)),
    rule as materialized (
        select distinct on (c.tenant_id, c.source, c.field) c.* from candidate c order by c.tenant_id, c.source, c.field, c.rank desc),
    mapped as (
        select e.ord, r.field,
               sentinai_platform.map_value(f.value, coalesce(f.pointer, r.pointers[1]), r.kind, r.time_zone, r.translation, r.default_value, r.required) as value
        from e join rule r on r.tenant_id = e.tenant_id and r.source = e.source
        left join lateral (
            select p.pointer, e.data #> sentinai_platform.pointer_path(p.pointer) as value
            from unnest(r.pointers) with ordinality p (pointer, n)
            where nullif(e.data #> sentinai_platform.pointer_path(p.pointer), 'null') is not null
            order by p.n limit 1) f on true),
    split as (
        select m.ord, bool_or(not m.own) as has_attributes,
               coalesce(jsonb_object_agg(m.field, m.value) filter (where m.own and m.value is not null), '{}') as fields,
               coalesce(jsonb_object_agg(m.field, m.value) filter (where not m.own and m.value is not null), '{}') as attributes
        from (select n.*, n.field in ('type', 'severity', 'title', 'amount', 'currency', 'occurred_at') as own from mapped n) m
        group by m.ord)
    select e.ord, s.fields || jsonb_build_object('attributes', case when s.has_attributes then s.attributes else e.data end)
    from split s join e on e.ord = s.ord;
    end;
comment on function sentinai_platform.map_fields(jsonb) is 'For intake: the fields of each ExceptionIngested of a batch, by the mapping rules.';

create function sentinai_platform.normalize(batch jsonb)
    returns table (ord bigint, event_id uuid, tenant_id text, exception_id text, trace jsonb, payload jsonb)
    language sql stable parallel restricted rows 100
    begin atomic
    select b.ord, b.event_id, b.tenant_id, b.exception_id, b.trace,
           jsonb_build_object('exception_id', b.exception_id)
           || case b.event_type when 'ExceptionIngested'
              then m.fields || jsonb_build_object('origin', 'ingested', 'source', b.payload -> 'source')
              else '{"attributes": {}}'::jsonb || (b.payload - 'created_by') || '{"origin": "manual", "source": "manual"}' end
    from sentinai_platform.read_batch(batch) b left join sentinai_platform.map_fields(batch) m on m.ord = b.ord
    order by b.ord;
    end;
comment on function sentinai_platform.normalize(jsonb) is 'For intake: the payload of ExceptionNormalized for each event of a batch.';

create function sentinai_platform.apply_intake(batch jsonb) returns void
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    events jsonb;
begin
    perform sentinai_platform.lock_known(batch);
    events := sentinai_platform.publish_events(array(
        select ('ExceptionNormalized', n.tenant_id, n.exception_id, n.payload, n.trace, n.event_id, null)::sentinai_platform.new_event
        from sentinai_platform.normalize(batch) n order by n.ord));
    perform sentinai_platform.project_exceptions(events);
    perform sentinai_platform.complete_commands(batch);
end $$;
comment on function sentinai_platform.apply_intake(jsonb) is 'For intake: a batch, all or nothing.';
