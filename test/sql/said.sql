-- SPDX-License-Identifier: PostgreSQL
-- What is said, and is no error: notices and warnings, word for word.
set client_min_messages = warning;
create extension if not exists sentinai;
set client_min_messages = notice;
\set SHOW_CONTEXT never
\t

-- subscribe() again: what was left out gets its default
select sentinai.subscribe('said', '{said.b,said.a}', max_attempts => 7, backoff => '{3s}', on_dead => 'block', ordered => false);
select sentinai.subscribe('said', '{said.a,said.b}', max_attempts => 7, backoff => '{3s}', on_dead => 'block', ordered => false);
select sentinai.subscribe('said', '{said.a,said.b}', max_attempts => 2, backoff => '{3s}', on_dead => 'block', ordered => false);
select sentinai.subscribe('said');
select sentinai.subscribe('said', (select array_agg('said.' || i order by i) from generate_series(11, 30) i), 'earliest');

select sentinai.subscribe('said', tenants => '{b,a}');

-- alter_subscription() does what it is told
select sentinai.alter_subscription('said', max_attempts => 3);

-- wait_for_work(): in a block or a function it pins a snapshot; DO by itself is neither
call sentinai.wait_for_work('said', '0s', null) \gset
begin;
call sentinai.wait_for_work('said', '0s', null) \gset
rollback;
do $$ declare ready boolean; begin call sentinai.wait_for_work('said', '0s', ready); end $$;
create function pg_temp.waits() returns void language plpgsql as $$ declare ready boolean; begin call sentinai.wait_for_work('said', '0s', ready); end $$;
select pg_temp.waits();

select sentinai.unsubscribe('said');
