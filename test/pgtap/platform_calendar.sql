-- SPDX-License-Identifier: PostgreSQL
-- Working time by calendars, and how deadlines were kept. Times are passed in.
begin;
create extension sentinai_platform;
select plan(43);
\ir lib/platform.sql
set local timezone = 'UTC';

insert into sentinai_platform.calendars (tenant_id, calendar, time_zone) values
    ('acme', 'office', 'Europe/Berlin'), ('acme', 'always', 'Europe/Berlin'), ('acme', 'night', 'America/New_York'), ('acme', 'never', 'UTC'), ('acme', 'unsaid', 'UTC'),
    ('acme', 'lunch', 'Asia/Kolkata'), ('acme', 'sundays', 'Europe/Berlin'), ('acme', 'double', 'UTC'), ('globex', 'office', 'Asia/Tokyo');
insert into sentinai_platform.calendar_hours (tenant_id, calendar, weekday, opens, closes)
    select 'acme', 'office', d, time '09:00', time '17:00' from generate_series(1, 5) d
    union all select 'acme', 'always', d, '00:00', '24:00' from generate_series(1, 7) d
    union all select 'acme', 'night', d, '22:00', '06:00' from generate_series(1, 5) d
    union all select 'acme', 'lunch', d, o, c from generate_series(1, 5) d, (values (time '09:00', time '12:00'), (time '13:00', time '18:00')) v (o, c)
    union all select 'acme', 'sundays', 7, '01:00', '04:00'
    union all select 'acme', 'double', 1, o, c from (values (time '08:00', time '12:00'), (time '10:00', time '14:00'), (time '20:00', time '20:00')) v (o, c)
    union all select 'acme', 'double', 2, '00:00', '01:00'
    union all select 'globex', 'office', d, '09:00', '10:00' from generate_series(1, 5) d
    union all select 'acme', 'never', 1, '09:00', '10:00';
insert into sentinai_platform.calendar_holidays (tenant_id, calendar, day, name) values
    ('acme', 'office', '2026-12-25', 'Christmas'), ('acme', 'night', '2026-12-25', null), ('acme', 'unsaid', '2026-12-25', null);
insert into sentinai_platform.calendar_holidays (tenant_id, calendar, day)
    select 'acme', 'never', (date_trunc('week', now()) + n * interval '1 week')::date from generate_series(0, 600) n;

-- due(): by a calendar of acme
create function pg_temp.due(calendar text, start_at text, working_time interval) returns text language sql as $$
    select to_char(sentinai_platform.add_working_time('acme', calendar, start_at::timestamptz, working_time), 'YYYY-MM-DD HH24:MI:SS') $$;

-- an office, 08:00 to 16:00 UTC in winter
select is(pg_temp.due('office', '2026-11-30 09:00+01', '4 hours'), '2026-11-30 12:00:00', 'from when it opens');
select is(pg_temp.due('office', '2026-11-30 15:00+01', '4 hours'), '2026-12-01 10:00:00', 'over the night');
select is(pg_temp.due('office', '2026-11-30 09:00+01', '8 hours'), '2026-11-30 16:00:00', 'to the minute when it closes');
select is(pg_temp.due('office', '2026-11-30 09:00+01', '8 hours 1 second'), '2026-12-01 08:00:01', 'and a second more');
select is(pg_temp.due('office', '2026-11-30 03:00+01', '1 hour'), '2026-11-30 09:00:00', 'before it opens nothing counts');
select is(pg_temp.due('office', '2026-11-30 20:00+01', '1 hour'), '2026-12-01 09:00:00', 'nor after it has closed');
select is(pg_temp.due('office', '2026-12-04 16:00+01', '2 hours'), '2026-12-07 09:00:00', 'nor on a weekend');
select is(pg_temp.due('office', '2026-12-05 12:00+01', '1 minute'), '2026-12-07 08:01:00', 'on which it may begin');
select is(pg_temp.due('office', '2026-12-24 16:00+01', '2 hours'), '2026-12-28 09:00:00', 'nor on a holiday');
select is(pg_temp.due('office', '2026-12-25 10:00+01', '1 hour'), '2026-12-28 09:00:00', 'which may be the first day');
select is(pg_temp.due('office', '2026-11-30 09:00+01', '40 hours'), '2026-12-04 16:00:00', 'a week');
select is(pg_temp.due('office', '2026-11-30 09:00+01', '1 day'), '2026-12-02 16:00:00', 'a day is 24 hours of work');
select is(pg_temp.due('office', '2026-11-30 09:00+01', '0.5 seconds'), '2026-11-30 08:00:00', 'less than a second');
select is(pg_temp.due('office', '2026-01-01 00:00+01', '2000 hours'), '2026-12-16 16:00:00', 'a year of work');
select is((select to_char(sentinai_platform.add_working_time('globex', 'office', '2026-11-30 00:00+09', '1 hour'), 'HH24:MI')), '01:00', 'each tenant has its own');

-- the clocks are changed
select is(pg_temp.due('office', '2026-03-27 16:00+01', '2 hours'), '2026-03-30 08:00:00', 'after a change the office opens by its new clock');
select is(pg_temp.due('office', '2026-10-23 16:00+02', '2 hours'), '2026-10-26 09:00:00', 'also in autumn');
select is(pg_temp.due('always', '2026-03-28 12:00+01', '24 hours'), '2026-03-29 11:00:00', '24 hours are 24 hours over the short day');
select is(pg_temp.due('always', '2026-10-24 12:00+02', '24 hours'), '2026-10-25 10:00:00', 'and over the long one');
select is(pg_temp.due('sundays', '2026-03-28 12:00+01', '3 hours'), '2026-04-05 00:00:00', 'an hour that is left out is not worked');
select is(pg_temp.due('sundays', '2026-10-24 12:00+02', '4 hours'), '2026-10-25 03:00:00', 'one that comes twice is');
select is(pg_temp.due('always', '2026-11-30 10:00Z', '1 year'), '2027-11-30 16:00:00', 'a year is 365.25 days');

-- nights
select is(pg_temp.due('night', '2026-11-30 23:00-05', '2 hours'), '2026-12-01 06:00:00', 'over midnight');
select is(pg_temp.due('night', '2026-12-01 05:00-05', '2 hours'), '2026-12-02 04:00:00', 'what began yesterday goes on until the morning');
select is(pg_temp.due('night', '2026-12-04 23:00-05', '8 hours'), '2026-12-08 04:00:00', 'and on Saturday');
select is(pg_temp.due('night', '2026-12-24 23:00-05', '8 hours'), '2026-12-29 04:00:00', 'the night that begins on a holiday is free, the one before lasts into it');

-- several a day
select is(pg_temp.due('lunch', '2026-11-30 11:30+05:30', '1 hour'), '2026-11-30 08:00:00', 'a pause');
select is(pg_temp.due('double', '2026-11-30 00:00Z', '7 hours'), '2026-11-30 21:00:00', 'what overlaps counts once');
select is(pg_temp.due('double', '2026-11-30 20:00Z', '24 hours'), '2026-12-01 20:00:00', 'opens and closes alike: a whole day, with what begins the next one in it');

-- errors
select throws_ok($$select pg_temp.due('never', 'now', '1 hour')$$, 'SN422', null, 'nobody ever works');
select is(pg_temp.due('unsaid', '2026-12-24 12:00Z', '24 hours'), '2026-12-26 12:00:00', 'where hours are not said yet it is open, but for holidays');
-- more hours than a day has make deadlines dear, and nobody works so
insert into sentinai_platform.calendar_hours (tenant_id, calendar, weekday, opens) select 'acme', 'unsaid', 1, make_time(n, 0, 0) from generate_series(0, 23) n;
select throws_ok($$insert into sentinai_platform.calendar_hours (tenant_id, calendar, weekday, opens) values ('acme', 'unsaid', 1, '00:30')$$, 'SN422', null, 'a weekday has 24 rows');
select lives_ok($$insert into sentinai_platform.calendar_hours (tenant_id, calendar, weekday, opens) values ('acme', 'unsaid', 2, '00:30')$$, 'another one has its own');
select throws_ok($$update sentinai_platform.calendar_hours set weekday = 1 where calendar = 'unsaid' and weekday = 2$$, 'SN422', null, 'until they are moved');
select throws_ok($$select pg_temp.due('nothing', 'now', '1 hour')$$, 'SN404', null, 'a calendar that is none');
select throws_ok($$select pg_temp.due('office', 'now', '0')$$, 'SN422', null, 'no time at all');
select throws_ok($$select pg_temp.due('office', 'infinity', '1 hour')$$, 'SN422', null, 'from never on');
select throws_ok($$select pg_temp.due(null, 'now', '1 hour')$$, '22004', null, 'nothing');
select throws_ok($$insert into sentinai_platform.calendars (tenant_id, calendar, time_zone) values ('acme', 'x', 'Mars')$$, '22023', null, 'a zone that there is not');
select throws_ok($$insert into sentinai_platform.sla_rules (tenant_id, resolve_within, calendar) values ('globex', '1 hour', 'night')$$, '23503', null, 'a rule has a calendar of its tenant');

-- rules, states and compliance
insert into sentinai_platform.sla_rules (tenant_id, exception_type, resolve_within, calendar, threshold) values
    ('acme', 'slow', '40 hours', 'office', 0.5), ('acme', 'fast', '1 hour', null, null);
select sentinai_platform.submit_exception('acme', 's', jsonb_build_object('type', t), t || n) from generate_series(1, 3) n, unnest('{slow,fast}'::text[]) t;
select sentinai_platform.handle_intake(pg_temp.batch('acme'));
select sentinai_platform.handle_triage(pg_temp.batch('acme', '{ExceptionNormalized}'));
select is((select bool_and(x.due_at = sentinai_platform.add_working_time('acme', 'office', x.received_at, '40 hours')
        and d.due_at = x.due_at and d.warn_at = sentinai_platform.add_working_time('acme', 'office', x.received_at, '20 hours'))
    from sentinai_platform.exceptions x join sentinai.deadlines d on (d.tenant_id, d.aggregate_id, d.kind) = (x.tenant_id, x.exception_id, 'resolve') where x.exception_type = 'slow'), true, 'a rule with a calendar, and its warning');
create function pg_temp.states() returns text language sql as $$
    select string_agg(exception_id || ' ' || sla, ', ' order by exception_id) from sentinai_platform.exceptions where exception_type = 'fast' $$;
create temp table said (n serial, states text);
insert into said (states) values (pg_temp.states());
select sentinai_platform.resolve('acme', 'fast1', 'done');
select sentinai.sla_scan(100000, clock_timestamp() + interval '50 minutes');
select sentinai_platform.handle_policy(pg_temp.batch('acme', '{SLAImminent,SLAExpired}'));
insert into said (states) values (pg_temp.states());
select sentinai.sla_scan(100000, clock_timestamp() + interval '2 hours');
select sentinai_platform.handle_policy(pg_temp.batch('acme', '{SLAImminent,SLAExpired}'));
insert into said (states) values (pg_temp.states());
update sentinai_platform.exceptions set due_at = '2026-01-02 03:00Z' where exception_id in ('fast2', 'fast3');
update sentinai_platform.exceptions set due_at = '2026-01-02 04:00Z', closed_at = '2026-01-02 03:59Z' where exception_id = 'fast1';
select sentinai_platform.resolve('acme', 'fast2', 'late');
insert into said (states) values (pg_temp.states());
select is((select string_agg(states, '; ' order by n) from said),
    'fast1 on_track, fast2 on_track, fast3 on_track; fast1 met, fast2 imminent, fast3 imminent; fast1 met, fast2 expired, fast3 expired; fast1 met, fast2 breached, fast3 expired', 'how it stands with a deadline');
select is((select string_agg(format('%s %s %s %s %s %s', day, exception_type, met, breached, pending, compliance), ', ') from sentinai_platform.sla_compliance('acme', '2026-01-01', '2026-02-01')),
    '2026-01-02 fast 1 2 0 0.3333', 'how deadlines of a day were kept');

select * from finish();
rollback;
