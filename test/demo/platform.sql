-- test/demo/platform.sql: airlines and what they do about late flights.
-- SPDX-License-Identifier: PostgreSQL
--
-- Variables: port (of 127.0.0.1, where the services are that the tools call),
-- source (of the agents' events: "database" or "kafka"). The database is
-- new. Rules are for every tenant; a tenant is an airline.

create schema demo;

-- what the airlines' systems report: test/data/ORIGIN.md says what it is
create table demo.flight (
    number int primary key,
    carrier text not null,
    flight text not null,
    tail text,
    "from" text not null,
    "to" text not null,
    planned text not null,
    status text not null,
    late int,
    miles int not null
);

-- what the services have noted
create table demo.call (
    path text not null,
    key text not null,
    number int not null,
    status int not null,
    effect text not null check (effect in ('done', 'nothing'))
);

create function demo.exception_id(demo.flight) returns text
    language sql immutable
    as $$ select $1.flight || '/' || $1.planned || '/' || $1.number $$;

-- The flights are reported at a rate, a transaction for each tenth of a second;
-- every fiftieth is reported twice, as systems do.
create procedure demo.report(rate int)
    language plpgsql
    as $$
declare
    began constant timestamptz := clock_timestamp();
    done int := 0;
    batch int;
begin
    loop
        select count(sentinai_platform.submit_exception(f.carrier, 'operations',
            jsonb_build_object('state', f.status, 'late', f.late, 'miles', f.miles, 'route', f."from" || '-' || f."to",
                'aircraft', f.tail, 'planned', f.planned, 'flight', f.flight),
            demo.exception_id(f), idempotency_key => f.number::text))
        into batch
        from (select * from demo.flight order by planned, number
              limit greatest(rate / 10, 1) offset done) f
        cross join lateral generate_series(1, 1 + (f.number % 50 = 0)::int);
        commit;
        exit when batch = 0;
        done := done + greatest(rate / 10, 1);
        perform pg_sleep(extract(epoch from began + done * interval '1 second' / rate - clock_timestamp()));
    end loop;
end $$;

-- The people: they decide what is asked, and deal with what is left to them.
create procedure demo.work_as_people()
    language plpgsql
    as $$
begin
    loop
        -- rebooking is expensive on a short way: there is a bus
        perform case when (x.attributes ->> 'miles')::int < 200
                     then sentinai_platform.reject(a.approval_id, 'duty manager', 'take the bus')
                     else sentinai_platform.approve(a.approval_id, 'duty manager') end
        from sentinai_platform.approvals a join sentinai_platform.exceptions x using (tenant_id, exception_id)
        where a.status = 'pending';
        commit;
        perform sentinai_platform.resolve(x.tenant_id, x.exception_id, 'by people', resolved_by => 'duty manager')
        from sentinai_platform.exceptions x
        where x.state = 'escalated' and x.changed_at < clock_timestamp() - interval '2 seconds';
        commit;
        perform pg_sleep(0.3);
    end loop;
end $$;

insert into sentinai_platform.mapping_rules (tenant_id, source, field, pointers, kind, required, translation)
values ('*', 'operations', 'type', '{/state}', 'text', true, '{"DELAYED": "delay", "CANCELLED": "cancellation"}'),
       ('*', 'operations', 'title', '{/flight}', 'text', true, null),
       ('*', 'operations', 'late', '{/late}', 'integer', false, null),
       ('*', 'operations', 'miles', '{/miles}', 'integer', true, null),
       ('*', 'operations', 'route', '{/route}', 'text', true, null),
       ('*', 'operations', 'aircraft', '{/aircraft}', 'text', false, null);
insert into sentinai_platform.mapping_rules (tenant_id, source, field, pointers, time_zone)
values ('*', 'operations', 'occurred_at', '{/planned}', 'America/New_York');

insert into sentinai_platform.triage_rules (tenant_id, rule, priority, condition, severity, category, reason)
values ('*', 'cancelled', 10, '$.type == "cancellation"', 'high', 'seats', 'passengers have no seat'),
       ('*', 'night', 20, '$.attributes.late >= 300', 'critical', 'crew', 'the crew may not fly any more'),
       ('*', 'hotel', 30, '$.attributes.late >= 120', 'high', 'care', 'passengers need a hotel'),
       ('*', 'meal', 40, '$.attributes.late >= 45', 'medium', 'care', 'passengers need a meal'),
       ('*', 'wait', 50, '$.type == "delay"', 'low', 'care', null);

insert into sentinai_platform.sla_rules (tenant_id, severity, resolve_within)
values ('*', '*', '1 hour'), ('*', 'critical', '1 second');

insert into sentinai_platform.guardrails (tenant_id, rule, priority, condition, decision, playbook, reason)
values ('*', 'crew', 10, '$.category == "crew"', 'forbidden', null, 'a person has to find a crew'),
       ('*', 'seats', 20, '$.category == "seats"', 'needs_approval', 'rebook', 'seats on other airlines cost money'),
       ('*', 'hotel', 30, '$.severity == "high"', 'allowed', 'hotel', null),
       ('*', 'care', 40, '$.category == "care"', 'allowed', 'inform', null);

-- The services are on this machine, which has to be said.
insert into sentinai_platform.allowed_hosts (tenant_id, host, port, networks)
values ('*', '127.0.0.1', :port, '{127.0.0.1/32}');

insert into sentinai_platform.tools (tenant_id, tool, kind, settings, max_attempts)
select '*', t.tool, 'webhook', jsonb_build_object('url', format('http://127.0.0.1:%s/%s', :port, t.path), 'timeout_ms', 5000), 4
from (values ('desk', 'inform'), ('hotel', 'hotel'), ('hotel cancellation', 'hotel/cancel'), ('booking', 'rebook')) t (tool, path);

select sentinai_platform.put_playbook('*', 'inform', '[
    {"name": "tell the passengers", "tool": "desk",
     "arguments": {"flight": "{{ /title }}", "minutes": "{{ /attributes/late }}"}}]', 'informed');
select sentinai_platform.put_playbook('*', 'hotel', '[
    {"name": "find rooms", "tool": "hotel", "arguments": {"flight": "{{ /title }}"}},
    {"name": "tell the passengers", "tool": "desk",
     "arguments": {"flight": "{{ /title }}", "voucher": "{{ /steps/1/response/reference }}"}}]', 'in a hotel');
select sentinai_platform.put_playbook('*', 'rebook', '[
    {"name": "find rooms", "tool": "hotel", "arguments": {"flight": "{{ /title }}"}, "condition": "$.attributes.miles > 1000",
     "compensation": {"tool": "hotel cancellation", "arguments": {"reference": "{{ /steps/1/response/reference }}"}}},
    {"name": "find seats", "tool": "booking", "arguments": {"route": "{{ /attributes/route }}"}},
    {"name": "tell the passengers", "tool": "desk",
     "arguments": {"flight": "{{ /title }}", "booking": "{{ /steps/2/response/reference }}"}}]', 'rebooked');

-- who has Kafka for its source needs no subscription
select sentinai.subscribe(worker_type, event_types, 'latest')
from sentinai_platform.agents() where :'source' = 'database';
