-- SPDX-License-Identifier: PostgreSQL
-- Who may have partitions made, and how many at once.
begin;
select plan(19);
select sentinai.make_partitions(now() + interval '3 days');

create function pg_temp.id_of(t timestamptz) returns uuid language sql as $$
    select (lpad(to_hex(floor(extract(epoch from t) * 1000)::bigint), 12, '0') || '70008000000000000001')::uuid $$;
create function pg_temp.tables() returns bigint language sql as $$
    select count(*) from pg_inherits where inhparent in (select oid from pg_class where relnamespace = 'sentinai_internal'::regnamespace and relkind = 'p') $$;
create temp table before as select pg_temp.tables() as n;

-- What is noted about the past is in one partition
select is(sum(sentinai.mark_as_processing(pg_temp.id_of(now() - i * interval '1 day'), 'parts')::int), 600::bigint, 'events of 600 days')
from generate_series(1, 600) i;
select cmp_ok(pg_temp.tables(), '<=', (select n + 1 from before), 'make one table at most');
select ok(sentinai.mark_as_completed(pg_temp.id_of('2025-01-01 00:00+00'), 'parts'), 'one of the oldest there can be');
select cmp_ok(pg_temp.tables(), '<=', (select n + 1 from before), 'is in it, too');
select is(sentinai.mark_as_processing(pg_temp.id_of(now() - i * interval '1 day'), 'parts'), false, format('the one of %s days ago is known', i))
from unnest('{1,30,600}'::int[]) i;

-- What is ahead has to wait for its time
select throws_ok(format('select sentinai.mark_as_processing(%L, ''parts'')', pg_temp.id_of(now() + i * interval '1 month')), 'SN422', 'event id is out of range',
                 format('an event of %s months ahead', i)) from unnest('{4,60,780}'::int[]) i;
select throws_ok(format('select sentinai.mark_as_completed(%L, ''parts'')', pg_temp.id_of(now() + interval '4 months')), 'SN422', null, 'nor is it completed');
select lives_ok(format('select sentinai.mark_as_completed(%L, ''parts'')', pg_temp.id_of(now() + interval '1 day')), 'one of tomorrow has its partition');
select cmp_ok(pg_temp.tables(), '<=', (select n + 1 from before), 'no table was made for them');

create temp table refused as select pg_temp.tables() as n;
-- index_partitions() finds nothing to do where no version before made partitions
select is(sentinai.index_partitions(), 0, 'every partition has its indexes');
select is(sentinai.index_partitions(2147483647), 0, 'however many may be made');
select throws_ok('select sentinai.index_partitions(null)', '22004', null, 'null partitions');
select throws_ok('select sentinai.index_partitions(0)', 'SN422', null, 'no partitions');

-- make_partitions() makes as many as the table of locks bears
select throws_ok($$select sentinai.make_partitions(now() + interval '20 years')$$, 'SN422', 'time is too far ahead', 'more than a transaction can lock');
select is(pg_temp.tables(), (select n from refused), 'nothing is half made');
select * from finish();
rollback;
