-- SPDX-License-Identifier: PostgreSQL
-- What is claimed one by one and completed, in its order, until there is so much or nothing has come for long enough.
create temp table drained (o int generated always as identity, what text);
create procedure pg_temp.drain(wt text, n int) language plpgsql as $$
declare r record;
begin
    truncate drained restart identity;
    for i in 1..600 loop
        for r in select c.* from sentinai.claim(wt, 1) c loop
            insert into drained (what) values (r.aggregate_id || (r.payload ->> 'n') || '#' || r.attempt);
            perform sentinai.complete(r.token);
        end loop;
        commit;
        exit when (select count(*) >= n from drained);
        perform pg_sleep(0.01);
    end loop;
end $$;
