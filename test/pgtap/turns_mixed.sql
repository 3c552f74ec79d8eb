-- SPDX-License-Identifier: PostgreSQL
-- Turns where claims are of several sizes, where some leave of their turns, where claims are rolled back, and beside very many
-- tenants: who has much gets as much as others that have, and is set apart.
select plan(17);

\set tenant mixed-last
\ir lib/queue.sql
\ir lib/turns.sql
create function pg_temp.names(tenant text, n int) returns bigint language sql as $$
    select cardinality(sentinai.publish_batch(array_agg('turn'::text), array_agg(tenant || i), array_agg('k'::text), array_agg('{}'::jsonb)))
    from generate_series(1, n) i $$;
-- anew(): a subscription from which somebody claims, as rounds keep count from the first claim on
create procedure pg_temp.anew(wt text) language plpgsql as $$
begin
    perform sentinai.unsubscribe(worker_type) from sentinai_internal.subscription where not is_relay;
    perform sentinai.subscribe(wt, '{turn}');
    truncate turns_served;
    commit;
    perform count(*) from sentinai.claim(wt);
    commit;
    perform sentinai.maintain();
    commit;
end $$;

-- Twelve tenants, and claims of two sizes in turn
call pg_temp.anew('sizes');
do $$ begin for i in 1..12 loop perform pg_temp.flood('mixed-' || i, 1200); commit; end loop; end $$;
call pg_temp.until_sequenced('mixed-12');
call pg_temp.work('sizes', 1000, null, 4);
truncate turns_served;
do $$ begin for i in 1..20 loop call pg_temp.work('sizes', 4, null, 1); call pg_temp.work('sizes', 200, null, 1); end loop; end $$;
select is((select count(*) from turns_served), 4080::bigint, 'twenty claims of four, and twenty of two hundred');
select cmp_ok(min(n), '>=', 340 - 32::bigint, 'nobody gets the small ones alone') from (select count(*) as n from turns_served group by tenant) x;
select cmp_ok(max(n), '<=', 340 + 32::bigint, 'nor the large ones') from (select count(*) as n from turns_served group by tenant) x;
truncate turns_served;
do $$ begin for i in 1..15 loop call pg_temp.work('sizes', 100, null, 1); end loop; end $$;
select cmp_ok(max(n) - min(n), '<=', 16::bigint, 'and of a hundred at a time all get as many, but for a turn') from (select count(*) as n from turns_served group by tenant) x;
select is(pg_temp.wrong('sizes'), 0::bigint, 'in order');

-- One with a great weight has little: what it leaves is for all others
call pg_temp.anew('left');
select sentinai.set_weight('mixed-heavy', 100);
select pg_temp.flood('mixed-heavy', 1500), pg_temp.flood('mixed-a', 2500), pg_temp.flood('mixed-b', 2500), pg_temp.flood('mixed-c', 2500);
call pg_temp.until_sequenced('mixed-c');
call pg_temp.work('left', 1000, null, 2);
do $$ begin
    for i in 1..40 loop
        perform sentinai.publish('turn', 'mixed-heavy', 'k' || i, '{}');
        commit;
        call pg_temp.until_sequenced('mixed-heavy');
        if i = 10 then truncate turns_served; end if;
        call pg_temp.work('left', 100, null, 1);
    end loop;
end $$;
select isnt(pg_temp.track('mixed-heavy'), null, 'the heavy one is apart');
select cmp_ok(count(*), '>=', 30::bigint, 'and gets what it has') from turns_served where tenant = 'mixed-heavy';
select cmp_ok(min(n), '>=', 800::bigint, 'each of the others gets about a third of what is left')
from (select count(*) as n from turns_served where tenant <> 'mixed-heavy' group by tenant) x;
select is(pg_temp.wrong('left'), 0::bigint, 'in order');
select sentinai.drop_weight('mixed-heavy');

-- Whoever claims and rolls back does not make a backlog look like none
call pg_temp.anew('back');
select pg_temp.names('mixed-s', 600);
call pg_temp.until_sequenced('mixed-s1');
do $$ begin
    for i in 1..8 loop
        perform pg_temp.flood('mixed-back', 300, 300 * i);
        commit;
        call pg_temp.until_sequenced('mixed-back');
        perform count(*) from sentinai.claim('back', 1000);
        rollback;
    end loop;
end $$;
select isnt(pg_temp.track('mixed-back'), null, 'a tenant with a backlog is set apart though claims are rolled back');
do $$ begin
    for i in 1..8 loop
        perform pg_temp.flood('mixed-caught', 300, 300 * i);
        commit;
        call pg_temp.until_sequenced('mixed-caught');
        begin
            perform count(*) from sentinai.claim('back', 1000);
            raise 'no';
        exception when raise_exception then null;
        end;
    end loop;
end $$;
select isnt(pg_temp.track('mixed-caught'), null, 'and so is one where a block of PL/pgSQL does that');
call pg_temp.work('back', 1000);
select is(pg_temp.wrong('back'), 0::bigint, 'in order');
select is(pg_temp.lag('back'), 0::bigint, 'nothing is left');

-- Beside more tenants than are kept in mind
call pg_temp.anew('names');
do $$ begin perform pg_temp.names('mixed-n', 33000), pg_temp.flood('mixed-many', 900), pg_temp.flood('mixed-first', 3000); end $$;
call pg_temp.until_sequenced('mixed-first');
select isnt(pg_temp.track('mixed-first'), null, 'who comes last in a round of so many is set apart');
select is(pg_temp.track('mixed-many'), null, 'and who has little is not');
select pg_temp.flood('mixed-many', 200, 900);
call pg_temp.until_sequenced('mixed-many');
select isnt(pg_temp.track('mixed-many'), null, 'what it had is not forgotten');
truncate turns_served;
call pg_temp.work('names', 100, null, 5);
select cmp_ok(count(*), '>=', 495::bigint, 'the many have their turns') from turns_served where tenant ~ 'mixed-n';

select sentinai.unsubscribe('names');
drop table turns_served;
select * from finish();
