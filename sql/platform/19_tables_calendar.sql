-- Calendars: when somebody works.
create table sentinai_platform.calendars (
    tenant_id  text collate "C" not null,
    calendar   text collate "C" not null check (length(calendar) between 1 and 200),
    time_zone  text not null check (timezone(time_zone, timestamptz 'epoch') is not null),
    changed_at timestamptz not null default now(),
    changed_by text collate "C" not null default session_user,
    primary key (tenant_id, calendar)
);
comment on table sentinai_platform.calendars is 'Business calendars. Functions to change them are INSERT, UPDATE and DELETE.';
comment on column sentinai_platform.calendars.tenant_id is 'Whose it is; "*" for that of rules for every tenant.';
comment on column sentinai_platform.calendars.calendar is 'Its name.';
comment on column sentinai_platform.calendars.time_zone is 'Where its hours and days are meant.';
comment on column sentinai_platform.calendars.changed_at is 'When it was written.';
comment on column sentinai_platform.calendars.changed_by is 'Role that had logged in when it was written.';

create table sentinai_platform.calendar_hours (
    tenant_id  text collate "C" not null,
    calendar   text collate "C" not null,
    weekday    int not null check (weekday between 1 and 7),
    opens      time not null default '00:00',
    closes     time not null default '24:00',
    changed_at timestamptz not null default now(),
    changed_by text collate "C" not null default session_user,
    primary key (tenant_id, calendar, weekday, opens),
    foreign key (tenant_id, calendar) references sentinai_platform.calendars on update cascade on delete cascade
);
create function sentinai_platform.check_hours() returns trigger
    language plpgsql volatile parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    -- each makes every deadline dearer
    if (select count(*) from sentinai_platform.calendar_hours h
        where h.tenant_id = new.tenant_id and h.calendar = new.calendar and h.weekday = new.weekday) > 24 then
        raise exception using errcode = 'SN422', message = 'a weekday of a calendar has at most 24 rows of hours',
            detail = '[{"pointer": "/weekday", "keyword": "maxItems", "message": "has 24 rows already"}]';
    end if;
    return null;
end $$;
comment on function sentinai_platform.check_hours() is 'Trigger of calendar_hours: refuses more rows than anybody works in a day.';
create trigger check_hours after insert or update on sentinai_platform.calendar_hours
    for each row execute function sentinai_platform.check_hours();
comment on trigger check_hours on sentinai_platform.calendar_hours is 'At most 24 rows for a weekday.';
comment on table sentinai_platform.calendar_hours is 'Working hours of calendars. A weekday may have several, at most 24; what overlaps counts once. A calendar without hours is open all day.';
comment on column sentinai_platform.calendar_hours.tenant_id is 'Tenant of the calendar.';
comment on column sentinai_platform.calendar_hours.calendar is 'The calendar.';
comment on column sentinai_platform.calendar_hours.weekday is 'Day on which they begin, 1 (Monday) to 7 (Sunday).';
comment on column sentinai_platform.calendar_hours.opens is 'When work begins.';
comment on column sentinai_platform.calendar_hours.closes is 'When it ends. A time that is not after opens is on the next day.';
comment on column sentinai_platform.calendar_hours.changed_at is 'When they were written.';
comment on column sentinai_platform.calendar_hours.changed_by is 'Role that had logged in when they were written.';

create table sentinai_platform.calendar_holidays (
    tenant_id  text collate "C" not null,
    calendar   text collate "C" not null,
    day        date not null,
    name       text collate "C" check (length(name) <= 200),
    changed_at timestamptz not null default now(),
    changed_by text collate "C" not null default session_user,
    primary key (tenant_id, calendar, day),
    foreign key (tenant_id, calendar) references sentinai_platform.calendars on update cascade on delete cascade
);
comment on table sentinai_platform.calendar_holidays is 'Days on which no working hours begin.';
comment on column sentinai_platform.calendar_holidays.tenant_id is 'Tenant of the calendar.';
comment on column sentinai_platform.calendar_holidays.calendar is 'The calendar.';
comment on column sentinai_platform.calendar_holidays.day is 'The day, in the calendar''s time zone.';
comment on column sentinai_platform.calendar_holidays.name is 'What it is called.';
comment on column sentinai_platform.calendar_holidays.changed_at is 'When it was written.';
comment on column sentinai_platform.calendar_holidays.changed_by is 'Role that had logged in when it was written.';
