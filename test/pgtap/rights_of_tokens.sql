-- SPDX-License-Identifier: PostgreSQL
-- A token is good in the hands of who claimed, for as long as nobody revokes it.
-- Statements commit one by one: a claim sees nothing of its own transaction.
select plan(34);
\set tenant own
\ir lib/queue.sql

create function pg_temp.publish(n int) returns void language sql as $$
    select sentinai.publish_batch(array_agg('own.t'::text), array_agg('own'::text), array_agg('k' || i), array_agg('{}'::jsonb))
    from generate_series(1, n) i $$;
create temp table c (who text, token text, event_id uuid, attempt int);
create function pg_temp.take(agent text, most int default 100) returns int language plpgsql as $$
declare n int; begin
    insert into c select agent, x.token, x.event_id, x.attempt from sentinai.claim('own', most, '1 day', agent) x;
    get diagnostics n = row_count;
    return n;
end $$;
create function pg_temp.token(agent text) returns text language sql as $$ select token from c where who = agent limit 1 $$;

create role own_a;
create role own_b;
create role own_monitor in role pg_monitor;
create schema own;
grant usage on schema sentinai, own to own_a, own_b, own_monitor;
grant execute on function sentinai.claim(text, int, interval, text), sentinai.complete(text, uuid[]), sentinai.release(text),
    sentinai.fail(text, uuid, text, boolean, interval), sentinai.extend(text, interval) to own_a, own_b, own_monitor;
grant insert, select on c to own_a, own_b, own_monitor;
select sentinai.subscribe('own', '{own.t}');

-- Only who claimed
select pg_temp.publish(20);
select pg_temp.sequenced();
set role own_a;
select cmp_ok(pg_temp.take('a'), '=', 20, 'a role claims');
set role own_b;
select throws_ok($$select sentinai.complete(pg_temp.token('a'))$$, 'SN409', null, 'another role cannot complete the batch');
select throws_ok($$select sentinai.complete(pg_temp.token('a'), array[(select event_id from c limit 1)])$$, 'SN409', null, 'nor an event of it');
select throws_ok($$select sentinai.fail(pg_temp.token('a'), (select event_id from c limit 1), 'x')$$, 'SN409', null, 'nor fail one');
select throws_ok($$select sentinai.extend(pg_temp.token('a'), '1 hour')$$, 'SN409', null, 'nor extend');
select throws_ok($$select sentinai.release(pg_temp.token('a'))$$, 'SN409', null, 'nor release');
reset role;
select throws_ok($$select sentinai.complete(pg_temp.token('a'))$$, 'SN409', null, 'nor can a superuser as himself');
select is((select sum(in_flight) from sentinai.stat_agent where worker_type = 'own'), 20::bigint, 'nothing happened to it');

-- What is shown is no token
grant select on sentinai.stat_lane, sentinai.stat_agent to own_monitor;
set role own_monitor;
select isnt((select batch from sentinai.stat_agent where worker_type = 'own'), null, 'a monitor sees the batch');
select throws_ok($$select sentinai.complete((select format('%s-%s-%s', (select sub_id from sentinai.stat_lane where worker_type = 'own' limit 1),
    split_part(pg_temp.token('a'), '-', 2), replace((select batch::text from sentinai.stat_agent where worker_type = 'own'), '-', ''))))$$,
    'SN409', null, 'and makes no token of it');
set role own_a;
select throws_ok($$select sentinai.complete((select format('%s-%s-%s', split_part(pg_temp.token('a'), '-', 1),
    split_part(pg_temp.token('a'), '-', 2), replace((select batch::text from sentinai.stat_agent where worker_type = 'own'), '-', ''))))$$,
    '42501', null, 'who may not look');
reset role;
select is((select count(*) from sentinai_internal.lane_state l, c where l.batch::text = regexp_replace(split_part(c.token, '-', 3), '(.{8})(.{4})(.{4})(.{4})(.{12})', '\1-\2-\3-\4-\5')),
          0::bigint, 'what is stored is not what the token says');
set role own_a;
select is(sentinai.complete(pg_temp.token('a')), 20, 'who claimed completes');
select is(sentinai.complete(pg_temp.token('a')), 0, 'and may ask again');
reset role;

-- SECURITY DEFINER and SET ROLE: it is the role whose rights count
create function own.next(most int) returns text language sql security definer set search_path = pg_catalog, pg_temp as $$
    select token from sentinai.claim('own', most) limit 1 $$;
create function own.done(token text) returns int language sql security definer set search_path = pg_catalog, pg_temp as $$
    select sentinai.complete(token) $$;
alter function own.next owner to own_a;
alter function own.done owner to own_a;
select pg_temp.publish(2);
select pg_temp.sequenced();
truncate c;
set role own_b;
insert into c (who, token) select 'definer', own.next(1);
select throws_ok($$select sentinai.complete(pg_temp.token('definer'))$$, 'SN409', null, 'claimed by a definer''s function: not its caller''s');
select is(own.done(pg_temp.token('definer')), 1, 'but any caller''s of such a function');
set role own_a;
insert into c (who, token) select 'role', token from sentinai.claim('own', 1) limit 1;
select is(sentinai.complete(pg_temp.token('role')), 1, 'SET ROLE to claim');
reset role;

-- revoke_lease() by the name of an agent
truncate c;
select pg_temp.publish(30);
select pg_temp.sequenced();
select cmp_ok(pg_temp.take('hung', 15), '=', 15, 'an agent takes some and hangs');
select cmp_ok(pg_temp.take('other', 5), '>', 0, 'another one works');
select is(sentinai.complete(pg_temp.token('hung'), array[(select event_id from c where who = 'hung' limit 1)]), 1, 'one event was done');
select is(sentinai.revoke_lease('own', 'hung', 'night shift'), 14, 'its lease ends, the rest goes back');
select throws_ok($$select sentinai.complete(pg_temp.token('hung'))$$, 'SN409', null, 'its token is stale');
select is(sentinai.revoke_lease('own', 'hung'), 0, 'there is nothing more to revoke');
select cmp_ok(sentinai.complete(pg_temp.token('other')), '>', 0, 'the other one goes on');
select is(pg_temp.take('next'), 14 + 30 - 15 - (select count(*)::int from c where who = 'other'), 'its events are handed out again at once');
select is((select max(attempt) from c where who = 'next'), 1, 'no attempt counted');

-- and by the number of a batch
select is((select sentinai.revoke_lease('own', batch, 'night shift') from sentinai.stat_agent where worker_id = 'next'), (select count(*)::int from c where who = 'next'), 'by its batch');
select is((select count(*) from sentinai.stat_agent where worker_type = 'own'), 0::bigint, 'nobody holds anything');
select is(sentinai.revoke_lease('own', gen_random_uuid()), 0, 'a batch that nobody has');

-- Arguments
select throws_ok($$select sentinai.revoke_lease('none', 'hung')$$, 'SN404', null, 'unknown worker type');
select throws_ok($$select sentinai.revoke_lease('own', 'hung', E'a\nb')$$, 'SN422', null, 'an actor is printable');
select throws_ok($$select sentinai.revoke_lease('own', null::text)$$, '22004', null, 'no agent');
select throws_ok($$select sentinai.claim(E'no\u001b[2Jbody')$$, 'SN404', 'worker type "no?[2Jbody" does not exist', 'an error shows no escape sequence of its caller');
select throws_ok($$select sentinai.claim('own', worker_id => E'x\u001b[2J')$$, 'SN422', null, 'so is the name of an agent');

select sentinai.unsubscribe('own');
drop schema own cascade;
drop owned by own_a, own_b, own_monitor;
drop role own_a, own_b, own_monitor;
select * from finish();
