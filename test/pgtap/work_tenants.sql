-- SPDX-License-Identifier: PostgreSQL
-- A role claims from a subscription if it may work for all tenants in it.
select plan(23);
create role worktenants_agent;
grant usage on schema sentinai to worktenants_agent;
grant execute on function sentinai.claim(text, int, interval, text), sentinai.complete(text, uuid[]) to worktenants_agent;
select sentinai.subscribe('wt-some', '{wt.t}', 'earliest', tenants => '{wt-a,wt-b}'), sentinai.subscribe('wt-all', '{wt.t}', 'earliest');
select sentinai.grant_work('worktenants_agent', 'wt-some'), sentinai.grant_work('worktenants_agent', 'wt-all'), sentinai.grant_tenant('worktenants_agent', 'wt-a', 'work');
select sub_id as wt_all from sentinai_internal.subscription where worker_type = 'wt-all' \gset
set sentinai.tenant_isolation = on;
set role worktenants_agent;
select throws_ok($$select * from sentinai.claim('wt-some')$$, 'SN403', null, 'one of two tenants is not enough');
select throws_ok(format('select sentinai.complete(%L)', n || '-0000000000000001-' || repeat('a', 32)), 'SN403', 'worker_type is not one the caller may work for',
    'a token does not tell whether there is a subscription of its number')
from unnest(array[:wt_all, 1000000]) n;
reset role;
select ok(sentinai.grant_tenant('worktenants_agent', 'wt-b', 'work'), 'the other one');
set role worktenants_agent;
select lives_ok($$select * from sentinai.claim('wt-some')$$, 'both are');
select throws_ok($$select * from sentinai.claim('wt-all')$$, 'SN403', null, 'but not for a subscription of all tenants');
reset role;
select lives_ok($$select sentinai.alter_subscription('wt-some', tenants => '{wt-a,wt-b,wt-c}')$$, 'another tenant comes to it');
set role worktenants_agent;
select throws_ok($$select * from sentinai.claim('wt-some')$$, 'SN403', null, 'which the role may not work for');
reset role;
select sentinai.grant_tenant('worktenants_agent', '*', 'work');
set role worktenants_agent;
select lives_ok($$select * from sentinai.claim('wt-all')$$, 'until it may for all');
reset role;

-- A narrower filter: the right for its earlier tenants is asked for as long as events of them wait, and no longer
\set tenant wt-a
\ir lib/queue.sql
-- Maintenance; that of the background skips what this is at, and the other way round
create procedure pg_temp.forgotten(worker text) language plpgsql as $$
begin
    for i in 1..200 loop
        perform sentinai.maintain();
        commit;
        exit when (select old_streams is null from sentinai_internal.subscription where worker_type = worker);
        perform pg_sleep(0.05);
    end loop;
end $$;
create function pg_temp.earlier(worker text) returns int language sql as $$
    select coalesce(cardinality(old_streams), 0) from sentinai_internal.subscription where worker_type = worker $$;
-- as a superuser, until the retry has come
create procedure pg_temp.work_off(worker text) language plpgsql as $$
begin
    for i in 1..200 loop
        insert into got select * from sentinai.claim(worker, 1000);
        perform sentinai.complete(token) from (select token from got group by token having not bool_or(token = any (current_setting('test.done', true)::text[]))) t;
        perform set_config('test.done', (select array_agg(distinct token)::text from got), false);
        commit;
        exit when (select count(*) = 2 from got where aggregate_id = 'b1');
        perform pg_sleep(0.05);
    end loop;
end $$;
select sentinai.revoke_tenant('worktenants_agent', '*', 'work'), sentinai.revoke_tenant('worktenants_agent', 'wt-b', 'work');
select sentinai.subscribe('wt-other', '{wt.n}', 'earliest', tenants => '{wt-b}'), sentinai.subscribe('wt-one', '{wt.n}', 'earliest', tenants => '{wt-a}');
select sentinai.grant_work('worktenants_agent', 'wt-other');
select count(sentinai.publish('wt.n', 'wt-b', 'b' || i, '{}')) from generate_series(1, 3) i;
select pg_temp.sequenced();
select count(sentinai.publish('wt.n', 'wt-a', 'a' || i, '{}')) from generate_series(1, 300) i;
select pg_temp.sequenced();
select sentinai.alter_subscription('wt-other', tenants => '{wt-a}');
select sentinai.maintain();
select is(pg_temp.earlier('wt-other'), 1, 'what waits keeps the earlier filter');
set role worktenants_agent;
select throws_ok($$select * from sentinai.claim('wt-other')$$, 'SN403', null, 'and its tenants count');
reset role;
create temp table got as select * from sentinai.claim('wt-other', 1000);
select sentinai.fail(token, event_id, 'not now', retry_in => '2 seconds') from got where aggregate_id = 'b1';
select sentinai.fail(token, event_id, 'never', false) from got where aggregate_id = 'b2';
select sentinai.complete(token) from (select distinct token from got) t;
select set_config('test.done', (select array_agg(distinct token)::text from got), false);
select sentinai.maintain();
select is(pg_temp.earlier('wt-other'), 1, 'so does a retry of a tenant that it is no longer for');
select sentinai.alter_subscription('wt-other', tenants => '{wt-a,wt-c}');
select cmp_ok(pg_temp.earlier('wt-other'), '>=', 1, 'also when the filter changes once more');
select sentinai.alter_subscription('wt-other', tenants => '{wt-a}');
select count(sentinai.publish('wt.n', 'wt-a', 'later' || i, '{}')) from generate_series(1, 30) i;
select pg_temp.sequenced();
set role worktenants_agent;
select throws_ok($$select * from sentinai.claim('wt-other')$$, 'SN403', null, 'its tenant counts');
reset role;
call pg_temp.work_off('wt-other');
call pg_temp.forgotten('wt-other');
select is(pg_temp.earlier('wt-other'), 0, 'what every lane has passed is forgotten, by itself');
select is((select count(*) from sentinai_internal.stream where tenants && '{wt-b,wt-c}' and event_types = '{wt.n}'), 0::bigint, 'and its stream');
set role worktenants_agent;
select lives_ok($$select * from sentinai.claim('wt-other')$$, 'then its tenants do not count');
-- The stream of wt-one has what the earlier filter left out
select is((select count(*) from sentinai.claim('wt-other')), 0::bigint, 'nothing comes that was published under the earlier filter');
reset role;
select is((select string_agg(k || n, ' ' order by k) from (select rtrim(aggregate_id, '0123456789') as k, count(*) n from got group by 1) x), 'b4 later30', 'and all that is wanted has come');
-- A dead letter from under that filter would go to who may not see it
select throws_ok($$select sentinai.retry_dead_letter(event_id, 'wt-other', 'me') from got where aggregate_id = 'b2'$$, 'SN409', null, 'a letter of a tenant that it is no longer for cannot be tried again');
select throws_ok($$select sentinai.edit_and_retry(event_id, 'wt-other', '{}', 'me', 'why') from got where aggregate_id = 'b2'$$, 'SN409', null, 'nor be edited');
select is((select letters || ' ' || skipped from sentinai.retry_dead_letters('wt-b', 'wt-other', actor => 'me')), '0 1', 'and is skipped among many');
select lives_ok($$select sentinai.discard_dead_letter(event_id, 'wt-other', 'me', 'why') from got where aggregate_id = 'b2'$$, 'but discarded');
set sentinai.tenant_isolation = off;
select sentinai.unsubscribe('wt-other'), sentinai.unsubscribe('wt-one');
select sentinai.revoke_work('worktenants_agent', 'wt-other');
select sentinai.unsubscribe('wt-some'), sentinai.unsubscribe('wt-all');
select sentinai.revoke_work('worktenants_agent', 'wt-some'), sentinai.revoke_work('worktenants_agent', 'wt-all'),
       sentinai.revoke_tenant('worktenants_agent', t, 'work') from unnest('{wt-a,wt-b,*}'::text[]) t;
drop owned by worktenants_agent;
drop role worktenants_agent;
select * from finish();
