-- SPDX-License-Identifier: PostgreSQL
-- A role claims from a subscription if it may work for all tenants in it.
select plan(7);
create role worktenants_agent;
grant usage on schema sentinai to worktenants_agent;
grant execute on function sentinai.claim(text, int, interval, text) to worktenants_agent;
select sentinai.subscribe('wt-some', '{wt.t}', 'earliest', tenants => '{wt-a,wt-b}'), sentinai.subscribe('wt-all', '{wt.t}', 'earliest');
select sentinai.grant_work('worktenants_agent', 'wt-some'), sentinai.grant_work('worktenants_agent', 'wt-all'), sentinai.grant_tenant('worktenants_agent', 'wt-a', 'work');
set sentinai.tenant_isolation = on;
set role worktenants_agent;
select throws_ok($$select * from sentinai.claim('wt-some')$$, 'SN403', null, 'one of two tenants is not enough');
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
set sentinai.tenant_isolation = off;
select sentinai.unsubscribe('wt-some'), sentinai.unsubscribe('wt-all');
select sentinai.revoke_work('worktenants_agent', 'wt-some'), sentinai.revoke_work('worktenants_agent', 'wt-all'),
       sentinai.revoke_tenant('worktenants_agent', t, 'work') from unnest('{wt-a,wt-b,*}'::text[]) t;
drop owned by worktenants_agent;
drop role worktenants_agent;
select * from finish();
