-- SPDX-License-Identifier: PostgreSQL
-- limit_time(): work that takes longer is cancelled, whatever it catches, and a person's cancel is still one.
begin;
select plan(13);

-- Work until it is cancelled, or for so long
create function pg_temp.work(how_long interval) returns text language plpgsql as $$
declare
    over timestamptz := clock_timestamp() + how_long;
begin
    while clock_timestamp() < over loop
        null;
    end loop;
    return 'done';
end $$;

-- One savepoint under a limit, in which code is run; then a bit more outside
create function pg_temp.limited(milliseconds int, code text) returns text language plpgsql as $$
declare
    result text := 'done';
begin
    begin
        perform sentinai.limit_time(milliseconds);
        execute code;
    exception when query_canceled or others then
        result := sqlstate || case when sentinai.time_is_over() then ', time is over' else '' end;
    end;
    perform pg_temp.work('200 ms');
    return result;
end $$;

select throws_ok('select sentinai.limit_time(null)', '22004', null, 'there is no limit of nothing');
select throws_ok('select sentinai.limit_time(0)', 'SN422', null, 'nor of no time');
select throws_ok('select sentinai.limit_time(-2147483648)', 'SN422', null, 'nor of less');
select is(pg_temp.limited(20, $$select pg_temp.work('20 s')$$), '57014, time is over', 'what takes too long is cancelled, and nothing behind it');
select is(pg_temp.limited(2147483647, $$select pg_temp.work('1 ms')$$), 'done', 'what does not is done');
select is(pg_temp.limited(20, 'select 1/0'), '22012', 'another error is that error');
select is(pg_temp.limited(2147483647, 'select pg_cancel_backend(pg_backend_pid()), pg_sleep(20)'), '57014', 'a person''s cancel is not the limit''s');
select is(pg_temp.limited(20, $do$do $$ begin
        begin
            perform pg_temp.work('20 s');
        exception when query_canceled then
            null;
        end;
        perform pg_temp.work('20 s');
    end $$$do$), '57014, time is over', 'who catches it is cancelled again');

-- A person cancels when the time is over already, and nothing has looked at it yet
\set ON_ERROR_STOP 0
savepoint around;
do $$
declare
    large text := repeat('x', 100000000);
    result text;
begin
    begin
        perform sentinai.limit_time(20);
        result := md5(large) || pg_cancel_backend(pg_backend_pid());
    exception when others then
        null;
    end;
    perform pg_temp.work('2 s');
end $$;
\set asked_state :LAST_ERROR_SQLSTATE
rollback to around;
select is(:'asked_state'::text, '57014', 'a person''s cancel outlives the savepoint');
select ok(sentinai.time_is_over(), 'in which the time was over');

-- An error that reaches the client
savepoint around;
select sentinai.limit_time(20);
savepoint inner_one;
select 1/0;
rollback to inner_one;
select pg_temp.work('20 s');
\set inner_state :LAST_ERROR_SQLSTATE
rollback to around;
\set ON_ERROR_STOP 1
select is(:'inner_state'::text, '57014', 'an error in a savepoint within does not end the limit');
select ok(sentinai.time_is_over(), 'which is the reason');
select is(pg_temp.work('300 ms'), 'done', 'and its own savepoint does');

select * from finish();
rollback;
