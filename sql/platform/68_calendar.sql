-- Working time, and how deadlines were kept.

create function sentinai_platform.working_hours(tenant_id text, calendar text, time_zone text, from_day date, to_day date) returns tstzmultirange
    language sql stable parallel restricted
    set search_path = pg_catalog, pg_temp
    as $$
    -- each end is a time of its own in the zone, so a day is as long as it was there
    select coalesce(range_agg(tstzrange((d + h.opens) at time zone time_zone, (d + (h.closes <= h.opens)::int + h.closes) at time zone time_zone)), '{}')
           * tstzmultirange(tstzrange(from_day::timestamp at time zone time_zone, to_day::timestamp at time zone time_zone))
    -- what began on the day before may last until today
    from (select from_day - 1 + n as d from generate_series(0, to_day - from_day) n) days
    join (
        select c.weekday, c.opens, c.closes from sentinai_platform.calendar_hours c
        where c.tenant_id = working_hours.tenant_id and c.calendar = working_hours.calendar
        union all
        -- nobody has said yet when it is closed
        select n, '00:00', '24:00' from generate_series(1, 7) n
        where not exists (select from sentinai_platform.calendar_hours c
                          where c.tenant_id = working_hours.tenant_id and c.calendar = working_hours.calendar)) h on h.weekday = extract(isodow from d)
    where (d + h.opens) at time zone time_zone < (d + (h.closes <= h.opens)::int + h.closes) at time zone time_zone
          and not exists (select from sentinai_platform.calendar_holidays o
                          where o.tenant_id = working_hours.tenant_id and o.calendar = working_hours.calendar and o.day = d) $$;
comment on function sentinai_platform.working_hours(text, text, text, date, date) is 'For add_working_time(): when somebody works from the beginning of one day to that of another. A calendar without hours is open all day.';

create function sentinai_platform.add_working_time(tenant_id text, calendar text, start_at timestamptz, working_time interval) returns timestamptz
    language plpgsql stable parallel restricted
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
declare
    zone text;
    from_day date;
    days int := 8;
    left_over interval := make_interval(secs => extract(epoch from working_time)::float8);
    worked interval;
    result timestamptz;
begin
    if tenant_id is null or calendar is null or start_at is null or working_time is null then
        raise exception using errcode = 'null_value_not_allowed', message = 'arguments must not be null';
    elsif working_time <= '0' or not isfinite(start_at) then
        raise exception using errcode = 'SN422', message = 'working_time must be more than nothing, and start_at a time';
    end if;
    select c.time_zone into zone from sentinai_platform.calendars c where c.tenant_id = add_working_time.tenant_id and c.calendar = add_working_time.calendar;
    if not found then
        raise exception using errcode = 'SN404', message = 'no such calendar',
            detail = 'It is unknown, or of a tenant that the caller may not see.';
    end if;
    from_day := (start_at at time zone zone)::date;
    -- a week is enough for most; years only for those who hardly work
    while from_day < (start_at at time zone zone)::date + 3660 loop
        select min(s.opens + (left_over - (s.until - s.lasts))) filter (where s.until >= left_over), max(s.until)
        into result, worked
        from (select lower(r) as opens, upper(r) - lower(r) as lasts, sum(upper(r) - lower(r)) over (order by lower(r)) as until
              from unnest(sentinai_platform.working_hours(tenant_id, calendar, zone, from_day, from_day + days)
                          * tstzmultirange(tstzrange(start_at, null))) r) s;
        if result is not null then
            return result;
        end if;
        left_over := left_over - coalesce(worked, '0');
        from_day := from_day + days;
        days := least(days * 2, 366);
    end loop;
    raise exception using errcode = 'SN422', message = 'the calendar has not so much working time in ten years';
end $$;
comment on function sentinai_platform.add_working_time(text, text, timestamptz, interval) is 'When so much working time is over, by a calendar of a tenant. start_at: when it begins; outside working hours it begins with the next ones. working_time: more than 0; a day is 24 hours of work. Hours count as long as they last, also where the clocks are changed. Errors: 22004 null; SN404 no such calendar; SN422 invalid, or not so much in ten years.';

create function sentinai_platform.sla_compliance(tenant_id text, from_time timestamptz default null, to_time timestamptz default null)
    returns table (day date, exception_type text, met bigint, breached bigint, pending bigint, compliance numeric)
    language plpgsql stable parallel restricted rows 100
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
begin
    perform sentinai_platform.require_read($1);
    return query
        select s.day, s.exception_type, s.met, s.breached, s.pending, round(s.met / nullif(s.met + s.breached, 0)::numeric, 4)
        from (
            select (x.due_at at time zone 'UTC')::date as day, coalesce(x.exception_type, 'unclassified') as exception_type,
                   count(*) filter (where x.closed_at <= x.due_at) as met,
                   count(*) filter (where coalesce(x.closed_at, now()) > x.due_at) as breached,
                   count(*) filter (where x.closed_at is null and x.due_at >= now()) as pending
            from sentinai_platform.exceptions x
            where x.tenant_id = $1 and x.due_at >= coalesce($2, '-infinity') and x.due_at < coalesce($3, 'infinity')
            group by 1, 2) s
        order by s.day, s.exception_type;
end $$;
comment on function sentinai_platform.sla_compliance(text, timestamptz, timestamptz) is 'How a tenant''s deadlines to resolve were kept, by the day on which they were due (in UTC) and the type. from_time: due then or later. to_time: due before. met: resolved in time. breached: resolved later, or still open after it. pending: open, and not due yet. compliance: met of met and breached, 0 to 1; null: neither. Errors: 22004 null tenant_id; SN403 not allowed.';
