-- SPDX-License-Identifier: PostgreSQL
-- Deadlines: set, moved, met, cancelled; what is told of them, at times that are
-- passed in.  In one transaction, so that the sequencer sees none of them.
begin;
select plan(81);

-- what was told of an aggregate
create function pg_temp.told(of text) returns text language sql as $$
    select coalesce(string_agg(event_type, ',' order by event_id), '') from sentinai.event_log where aggregate_id = of and tenant_id like 'dl.%' $$;
create function pg_temp.scan(at timestamptz) returns text language sql as $$
    select format('%s %s %s', imminent, expired, more) from sentinai.sla_scan(at => at) $$;
create function pg_temp.d(of text) returns sentinai.deadlines language sql as $$
    select * from sentinai.deadlines where aggregate_id = of and tenant_id like 'dl.%' order by deadline_id desc limit 1 $$;

-- the way of one
select cmp_ok(sentinai.set_deadline('dl.t', 'a', 'resolve', now() + interval '10 hours'), '>', now() + interval '7 h 59 min 50 s', 'a warning after four fifths of the time');
select is((pg_temp.d('a')).status, 'open', 'a deadline is open');
select ok((pg_temp.d('a')).warn_at < now() + interval '8 h 1 min', 'and not later');
select is(pg_temp.scan(now()), '0 0 f', 'nothing has come');
select is(pg_temp.scan(now() + interval '9 hours'), '1 0 f', 'the warning');
select is(pg_temp.scan(now() + interval '9 hours'), '0 0 f', 'is told once');
select is(pg_temp.scan(now() + interval '1 hour'), '0 0 f', 'also when the clock steps back');
select is(pg_temp.told('a'), 'SLAImminent', 'by one event');
select is(pg_temp.scan(now() + interval '11 hours'), '0 1 f', 'the end');
select is(pg_temp.scan(now() + interval '12 hours'), '0 0 f', 'is told once');
select is(pg_temp.told('a'), 'SLAImminent,SLAExpired', 'by one event');
select is((pg_temp.d('a')).status, 'expired', 'and noted');
select is((select format('%s %s %s %s %s %s', tenant_id, aggregate_type, payload ->> 'kind', payload -> 'moves', (payload ->> 'due_at')::timestamptz = (pg_temp.d('a')).due_at, correlation_id)
    from sentinai.event_log where aggregate_id = 'a' and tenant_id = 'dl.t' and event_type = 'SLAExpired'), 'dl.t exception resolve 0 t a', 'as an event of the aggregate and its flow');
select is((select count(*) from sentinai.get_trace('a', 'dl.t')), 2::bigint, 'where a trace finds it');
select is(sentinai.meet_deadline('dl.t', 'a', 'resolve'), 'late', 'who meets it now is late');
select is(sentinai.meet_deadline('dl.t', 'a', 'resolve'), 'late', 'and stays so');
select ok((pg_temp.d('a')).status = 'met' and (pg_temp.d('a')).late, 'as the view says');
select is(sentinai.cancel_deadline('dl.t', 'a', 'resolve'), false, 'it cannot be cancelled');
select is(pg_temp.told('a'), 'SLAImminent,SLAExpired', 'nothing more is told');

-- met and cancelled
select lives_ok($$select sentinai.set_deadline('dl.t', x, 'resolve', now() + interval '1 hour') from unnest('{m,c}'::text[]) x$$, 'two more');
select is(sentinai.meet_deadline('dl.t', 'm', 'resolve'), 'met', 'one is met in time');
select is(sentinai.meet_deadline('dl.t', 'm', 'resolve'), 'met', 'once');
select is(sentinai.cancel_deadline('dl.t', 'c', 'resolve'), true, 'one is cancelled');
select is(sentinai.cancel_deadline('dl.t', 'c', 'resolve'), false, 'once');
select is(sentinai.meet_deadline('dl.t', 'c', 'resolve'), null, 'and cannot be met');
select is(sentinai.meet_deadline('dl.t', 'nobody', 'resolve'), null, 'nor one that never was');
select is(pg_temp.scan(now() + interval '1 day'), '0 0 f', 'nobody is told of these');
select is((select string_agg(aggregate_id || status || late, ' ' order by aggregate_id) from sentinai.deadlines where tenant_id = 'dl.t' and aggregate_id in ('m', 'c')), 'ccancelledfalse mmetfalse', 'they stay to be seen');

-- kinds and tenants are apart
select lives_ok($$select sentinai.set_deadline(t, 'k', k, now() + interval '1 hour') from unnest('{dl.t,dl.u}'::text[]) t, unnest('{answer,resolve}'::text[]) k$$, 'four deadlines of one name');
select is(sentinai.meet_deadline('dl.t', 'k', 'answer'), 'met', 'of which one is met');
select is(pg_temp.scan(now() + interval '1 day'), '3 3 f', 'three are not');
select is(pg_temp.told('k'), 'SLAImminent,SLAExpired,SLAImminent,SLAExpired,SLAImminent,SLAExpired', 'what was missed is told in its order');

-- moved
select lives_ok($$select sentinai.set_deadline('dl.t', 'v', 'r', now() + interval '10 hours')$$, 'a deadline');
select is(pg_temp.scan(now() + interval '9 hours'), '1 0 f', 'that was warned of');
select lives_ok($$select sentinai.set_deadline('dl.t', 'v', 'r', (pg_temp.d('v')).due_at)$$, 'is set again as it is');
select is((pg_temp.d('v')).moves, 0, 'which is nothing');
select lives_ok($$select sentinai.set_deadline('dl.t', 'v', 'r', now() + interval '9 hours')$$, 'or to an earlier time');
select is((pg_temp.d('v')).moves, 1, 'which moves it');
select is(pg_temp.scan(now() + interval '8 h 30 min'), '0 0 f', 'but it was warned of');
select lives_ok($$select sentinai.set_deadline('dl.t', 'v', 'r', now() + interval '20 hours')$$, 'or to a later time');
select is(pg_temp.scan(now() + interval '15 hours'), '0 0 f', 'of which nobody was warned');
select is(pg_temp.scan(now() + interval '17 hours'), '1 0 f', 'and then is');
select is(pg_temp.scan(now() + interval '21 hours'), '0 1 f', 'until it is over');
select is((select string_agg(event_type || (payload ->> 'moves'), ',' order by event_id) from sentinai.event_log where aggregate_id = 'v' and tenant_id = 'dl.t'), 'SLAImminent0,SLAImminent2,SLAExpired2', 'the events say which');
select lives_ok($$select sentinai.set_deadline('dl.t', 'v', 'r', now() + interval '30 hours')$$, 'what is set then');
select is((select array_agg(status order by deadline_id) from sentinai.deadlines where aggregate_id = 'v'), '{expired,open}'::text[], 'is a new one');
select is(sentinai.meet_deadline('dl.t', 'v', 'r'), 'met', 'and is met');

-- warnings by time, by share, by tenant
select is(sentinai.set_deadline('dl.t', 'w1', 'r', now() + interval '10 hours', warn_at => now() + interval '1 hour'), now() + interval '1 hour', 'a time to warn');
select is(sentinai.set_deadline('dl.t', 'w2', 'r', now() + interval '10 hours', threshold => 1), null, 'no warning');
select ok(sentinai.set_deadline('dl.t', 'w3', 'r', now() + interval '10 hours', threshold => 0.5) between now() + interval '4 h 59 min' and now() + interval '5 h 1 min', 'a share of the time');
select is(sentinai.set_deadline('dl.t', 'w4', 'r', now() - interval '1 hour'), null, 'what is over is not warned of');
select is(sentinai.meet_deadline('dl.t', 'w4', 'r'), 'late', 'who meets it before a scan is late');
select is(pg_temp.told('w4'), 'SLAExpired', 'which is told at once');
select is(pg_temp.scan(now() + interval '30 min'), '0 0 f', 'and not again');
select is(pg_temp.scan(now() + interval '11 hours'), '2 3 f', 'the others are told as they were set');
select lives_ok($$select sentinai.set_sla_threshold('*', 0.1), sentinai.set_sla_threshold('dl.t', 0.25)$$, 'shares for tenants');
select ok(sentinai.set_deadline('dl.t', 'x1', 'r', now() + interval '100 min') between now() + interval '24 min' and now() + interval '26 min', 'a tenant''s own');
select ok(sentinai.set_deadline('dl.u', 'x2', 'r', now() + interval '100 min') between now() + interval '9 min' and now() + interval '11 min', 'everybody''s');
select is((select array_agg(tenant_id || threshold order by 1) from sentinai.sla_thresholds), '{*0.1,dl.t0.25}'::text[], 'are shown');
select lives_ok($$select sentinai.set_sla_threshold('*', null), sentinai.set_sla_threshold('dl.t', null)$$, 'and removed');
select is((select count(*) from sentinai.actions where action = 'set_sla_threshold' and tenant_id in ('*', 'dl.t')), 4::bigint, 'as is written down');

-- a bound
select lives_ok($$select sentinai.set_deadline('dl.b', 'b' || i, 'r', now() + interval '1 day', threshold => 1) from generate_series(1, 2500) i$$, 'many at a time');
select sentinai.set_deadline('dl.c', 'c', 'r', now() + interval '1 day 1 minute', threshold => 1);
select results_eq($$select * from sentinai.sla_scan(1200, now() + interval '2 days')$$, $$values (2, 1200, true)$$, 'are told in parts');
select is((pg_temp.d('c')).status, 'expired', 'one of another tenant, which is behind all of them, has its turn');
select results_eq($$select * from sentinai.sla_scan(at => now() + interval '2 days')$$, $$values (0, 1303, false)$$, 'until there are none');
select is((select count(distinct aggregate_id) from sentinai.event_log where tenant_id = 'dl.b'), 2500::bigint, 'each of them');

-- the flow of what is worked on
select sentinai.publish('dl.x', 'dl.t', 'f', '{}', correlation_id => 'flow') as event_id \gset
select set_config('sentinai.work_on', :'event_id', true);
select lives_ok($$select sentinai.set_deadline('dl.t', 'f', 'r', now() + interval '1 hour', aggregate_type => 'order')$$, 'set while an event is worked on');
select set_config('sentinai.work_on', '', true);
select is(pg_temp.scan(now() + interval '2 hours'), '1 1 f', 'and told');
select is((select string_agg(distinct e.aggregate_type || e.correlation_id || (e.causation_id = :'event_id'), '')
    from sentinai.event_log e where e.event_type like 'SLA%' and e.aggregate_id = 'f' and e.tenant_id = 'dl.t'), 'orderflowtrue', 'goes on with its flow');

-- each becomes an event, and is counted as one
select sentinai.set_limit('dl.l', 'events_published', 2, '1 hour');
select lives_ok($$select sentinai.set_deadline('dl.l', 'a', 'r', now()), sentinai.set_deadline('dl.l', 'a', 'r', now())$$, 'a limit of events has room for one');
select lives_ok($$select sentinai.set_deadline('dl.l', 'a', 'r', now() + interval '1 hour')$$, 'and for one that moves it');
select throws_ok($$select sentinai.set_deadline('dl.l', 'b', 'r', now())$$, 'SN429', null, 'not for another');
select throws_ok($$select sentinai.publish('dl.x', 'dl.l', 'b', '{}')$$, 'SN429', null, 'or for an event');

-- what is refused
select throws_ok($$select sentinai.set_deadline('dl.t', 'a', 'r', 'infinity')$$, 'SN422', 'due_at must be finite', 'no time');
select throws_ok($$select sentinai.set_deadline('dl.t', 'a', 'r', now() + interval '20 years')$$, 'SN422', 'due_at must be within ten years of now', 'too far');
select throws_ok($$select sentinai.set_deadline('dl.t', 'a', 'r', now(), now() + interval '1 s')$$, 'SN422', 'warn_at must not be after due_at', 'a warning behind it');
select throws_ok($$select sentinai.set_deadline('dl.t', 'a', 'r', now(), threshold => 'NaN')$$, 'SN422', 'threshold must be more than 0 and at most 1', 'no share');
select throws_ok($$select sentinai.set_deadline('dl.t', 'a', '', now())$$, 'SN422', 'kind must not be empty', 'no kind');

-- who may say what time it is
create role dl_one;
grant usage on schema sentinai to dl_one;
grant execute on all functions in schema sentinai to dl_one;
grant select on all tables in schema sentinai to dl_one;
select sentinai.grant_tenant('dl_one', 'dl.t', r) from unnest('{publish,read,operate}'::text[]) r;
set local sentinai.tenant_isolation = on;
set local role dl_one;
select throws_ok($$select sentinai.sla_scan(at => now() + interval '1 year')$$, 'SN403', 'only who may operate for every tenant may say what time it is', 'nobody makes another''s deadline expire early');
select ok((select bool_and(tenant_id = 'dl.t') from sentinai.deadlines), 'nobody sees another''s');
select throws_ok($$select sentinai.meet_deadline('dl.u', 'k', 'resolve')$$, 'SN403', 'tenant_id is not one the caller may set deadlines for', 'or meets it');
reset role;

select * from finish();
rollback;
