-- SPDX-License-Identifier: PostgreSQL
-- The platform's commands with nothing, and with empty texts, in the place of each
-- argument: what is missing is named, and is never something that is unknown.
begin;
create extension sentinai_platform;
select plan(6);
\ir lib/platform.sql

-- state(): of a statement that leaves nothing
create function pg_temp.state(statement text) returns text language plpgsql as $$
begin
    begin
        execute statement;
        raise exception using errcode = '00XXX', message = 'undone';
    exception when sqlstate '00XXX' then return 'done';
    end;
exception when others then return sqlstate;
end $$;
select sentinai_platform.submit_exception('c', 's', '{}', 'EX-1');
select sentinai_platform.handle_intake(pg_temp.batch('c'));
select sentinai_platform.handle_triage(pg_temp.batch('c', '{ExceptionNormalized}'));
select sentinai_platform.put_playbook('c', 'p', '[{"tool": "t"}]');
insert into sentinai_platform.tools (tenant_id, tool, kind, settings) values ('c', 't', 'notify', '{"channel": "c"}');
insert into sentinai_platform.approvals (approval_id, tenant_id, exception_id, rule, on_timeout, opened_by, requested_at, due_at)
values ('01a22748-bdbe-75dc-b786-50bb5b3d2df3', 'c', 'EX-1', 'r', 'expired', gen_random_uuid(), now(), 'infinity');

create temp table call (command text, arguments text[]);
insert into call values
    ('submit_exception', array['''c''', '''s''', '''{}''', '''EX-2''', '''me''', '''k''']),
    ('create_manual_exception', array['''c''', '''{"title": "t"}''', '''me''', '''EX-3''', '''k''']),
    ('recalculate_playbook', array['''c''', '''EX-1''', '''why''', '''me''', '''k''']),
    ('execute_playbook', array['''c''', '''EX-1''', '''p''', '1', '''me''', '''k''']),
    ('execute_tool', array['''c''', '''EX-1''', '''t''', '''{}''', '''me''', '''k''']),
    ('resolve', array['''c''', '''EX-1''', '''done''', '''fine''', '''me''', '''k''']),
    ('escalate', array['''c''', '''EX-1''', '''why''', '''you''', '''me''', '''k''']),
    ('approve', array['''01a22748-bdbe-75dc-b786-50bb5b3d2df3''', '''me''', '''fine''']),
    ('reject', array['''01a22748-bdbe-75dc-b786-50bb5b3d2df3''', '''me''', '''bad''']),
    ('put_playbook', array['''c''', '''q''', '''[{"tool": "t"}]''', '''done''', '''what''']);
select is((select string_agg(c.command || ' ' || s.state, ', ') from call c,
        pg_temp.state(format('select sentinai_platform.%I(%s)', c.command, array_to_string(c.arguments, ', '))) s (state) where s.state <> 'done'),
    null, 'with all of its arguments every command is done');
select is((select string_agg(distinct s.state, ', ') from call c,
        pg_temp.state(format('select sentinai_platform.%I(%s)', c.command, array_to_string(array_replace(c.arguments, '''k''', 'repeat(''k'', 480)'), ', '))) s (state) where '''k''' = any (c.arguments)),
    'done', 'and with the longest idempotency key that it is said to have');
create temp table tried as
    select c.command, i, v.value, pg_temp.state(format('select sentinai_platform.%I(%s)', c.command,
               (select string_agg(case when n = i then v.value else a end, ', ' order by n) from unnest(c.arguments) with ordinality u (a, n)))) as state
    from call c, generate_series(1, cardinality(c.arguments)) i, unnest(array['null', '''''']) v (value);
select is((select string_agg(concat(command, ' ', i, ' ', state), ', ' order by command, i) from tried where value = 'null' and state not in ('done', '22004', 'SN422')),
    null, 'what is missing is refused as that, or has a default');
select is((select string_agg(command || ' ' || state, ', ' order by command) from tried where value = 'null' and i = 1 and state <> '22004'), null, 'a tenant, or an approval, there must be');
select is((select string_agg(concat(command, ' ', i, ' ', state), ', ' order by command, i) from tried
        where value <> 'null' and state not in ('done', 'SN422', 'SN403', '22P02') and (command, i) not in (('execute_playbook', 1), ('execute_playbook', 3))),
    null, 'what is empty is refused as that');
select is((select string_agg(state, ',') from tried where value <> 'null' and command = 'execute_playbook' and i in (1, 3)), 'SN404,SN404', 'or is the name of a playbook that there is not');
select * from finish();
rollback;
