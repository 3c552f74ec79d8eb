-- SPDX-License-Identifier: PostgreSQL
-- Every order of claim(), complete(), fail(), release(), extend(), lost leases, redrives, discards and changed rules over
-- a few keys, drawn at random and compared with a model. Seeds 1 to model_runs; `psql -v model_seed=N` begins with another.
-- The keys are of two tenants; turns_model.sql has them set apart and brought back all the time, in one lane, and
-- line_model.sql has more of them.
\if :{?model_seed} \else \set model_seed 1 \endif
\if :{?model_runs} \else \set model_runs 30 \endif
\if :{?model_steps} \else \set model_steps 80 \endif
\if :{?model_lane} \else \set model_lane null \endif
\if :{?model_tenants} \else \set model_tenants 2 \endif
-- whether the ledger still has all, as retention drops nothing meanwhile
\if :{?model_ledger} \else \set model_ledger true \endif
set model.ledger = :model_ledger;
select plan(:model_runs);

-- What the model knows: of every event its key, its place there and what became of it
create temp table ev (n int primary key, id uuid unique, key text, st text not null default 'waiting', token text, not_before timestamptz);
create temp table batch (token text primary key, lease timestamptz, worker text);
-- the keys and whose they are; all in one lane, if one is given
create temp table keys as
select i, 'model-' || i % :model_tenants as tenant,
    (select min(k) from (select 'k' || i || case when g > 0 then '-' || g else '' end as k from generate_series(0, 2000) g) c
     where :model_lane is null or (sentinai.partition_hash('model-' || i % :model_tenants || ':' || k) & 2147483647) % 64 = :model_lane) as key
from generate_series(1, greatest(4, :model_tenants)) i;
create temp table rule (ordered boolean, block boolean, max_attempts int, types text[]);
create temp table trace (o serial, what text);
create temp table said (seed int, fault text);

create procedure pg_temp.note(what text) language sql as $$ insert into trace(what) values (what) $$;
create procedure pg_temp.wrong(what text) language sql as $$
    insert into said select current_setting('model.seed')::int, what where not exists (select from said where seed = current_setting('model.seed')::int) $$;
-- one of so many, from 1
create function pg_temp.die(sides int) returns int language sql as $$ select 1 + floor(random() * sides)::int $$;

-- events that were given up since the model looked last: by fail(), or because their lease was lost
create procedure pg_temp.look_at_letters() language sql as $$
    update ev set token = null, st = case when (select ordered and block from rule) then 'blocked' else 'dead' end
    where st not in ('dead', 'blocked', 'done')
          and exists (select from sentinai.dead_letter d where d.event_id = ev.id and d.worker_type = 'model' and d.status = 'pending') $$;

create procedure pg_temp.publish() language plpgsql as $$
declare k text; t text; m int := pg_temp.die(3); which int := pg_temp.die((select count(*) from keys)::int);
begin
    select key, tenant into k, t from keys where i = which;
    call pg_temp.note(format('publish %s of %s', m, k));
    for i in 1..m loop
        insert into ev(n, id, key)
        select (select count(*) from ev) + 1, sentinai.publish('m.t', t, k, '{}'), k;
    end loop;
end $$;

create procedure pg_temp.rules() language plpgsql as $$
declare r rule;
begin
    update rule set ordered = case pg_temp.die(2) when 1 then not ordered else ordered end,
                    block = case pg_temp.die(2) when 1 then not block else block end,
                    max_attempts = pg_temp.die(3),
                    types = case pg_temp.die(4) when 1 then null when 2 then '{m.t}'::text[] when 3 then '{m.t,m.u}'::text[] else types end
    returning * into r;
    call pg_temp.note(format('ordered %s, block %s, %s attempts, %s', r.ordered, r.block, r.max_attempts, r.types));
    perform sentinai.subscribe('model', r.types, max_attempts => r.max_attempts, backoff => '{0s,20ms}',
                               on_dead => case when r.block then 'block' else 'skip' end, ordered => r.ordered);
    update ev set st = 'dead' where st = 'blocked' and not (r.ordered and r.block);
end $$;

-- claim, and compare what comes with what may come
create procedure pg_temp.claim(most int, lease interval) language plpgsql as $$
declare t text; bad text; got text; w text := 'w' || pg_temp.die(3); began timestamptz := sentinai.stat_clock();
begin
    create temp table if not exists got (o bigint, token text, id uuid, attempt int);
    truncate got;
    insert into got select row_number() over (), c.token, c.event_id, c.attempt from sentinai.claim('model', most, lease, w) c;
    call pg_temp.look_at_letters();
    select min(got.token), string_agg(ev.key || ':' || ev.n || '#' || attempt, ' ' order by o) into t, got from got left join ev using (id);
    call pg_temp.note(format('claim %s for %s: %s', most, lease, got));
    if t is null then return; end if;

    select string_agg(id::text, ' ') into bad from got where not exists (select from ev where ev.id = got.id);
    if bad is not null then call pg_temp.wrong('never published: ' || bad); end if;
    select string_agg(ev.n || ' ' || ev.st, ' ') into bad from got join ev using (id) where ev.st in ('done', 'dead', 'blocked');
    if bad is not null then call pg_temp.wrong('handed out, though: ' || bad); end if;
    select string_agg(ev.n::text, ' ') into bad from got join ev using (id) join batch b on b.token = ev.token where b.lease > sentinai.stat_clock();
    if bad is not null then call pg_temp.wrong('handed out while leased: ' || bad); end if;
    select string_agg(ev.n::text, ' ') into bad from got join ev using (id) where ev.not_before > sentinai.stat_clock();
    if bad is not null then call pg_temp.wrong('handed out before its time: ' || bad); end if;
    -- what a key has out is with one batch
    select string_agg(ev.n || ' beside ' || beside.n, ', ') into bad
    from got join ev using (id) join ev beside on beside.key = ev.key and beside.id <> ev.id join batch b on b.token = beside.token
    where b.lease > sentinai.stat_clock() and not exists (select from got g where g.id = beside.id);
    if bad is not null then call pg_temp.wrong('a key in two batches: ' || bad); end if;
    -- nothing of a key before what comes first there, be it elsewhere or later in the batch
    select string_agg(ev.n || ' before ' || early.n || ' ' || early.st, ', ') into bad
    from got join ev using (id) join ev early on early.key = ev.key and early.n < ev.n and early.st in ('waiting', 'out', 'blocked')
    where (select ordered from rule) and not exists (select from got g where g.id = early.id and g.o < got.o);
    if bad is not null then call pg_temp.wrong('out of order: ' || bad); end if;

    -- who had them before has nothing any more
    delete from batch b where b.token in (select ev.token from got join ev using (id));
    insert into batch values (t, began + lease, w);
    update ev set st = 'out', token = t, not_before = null from got where got.id = ev.id;
    update ev set st = 'waiting', token = null where st = 'out' and not exists (select from batch b where b.token = ev.token);
end $$;

-- a holder does something with his batch; refused if somebody else has taken a lane of it
create procedure pg_temp.use_batch() language plpgsql as $$
declare b batch; e ev; what int := pg_temp.die(10); wait interval; answer text; began timestamptz := sentinai.stat_clock();
begin
    select * into b from batch order by random() limit 1;
    select * into e from ev where token = b.token order by random() limit 1;
    if e.n is null then return; end if;
    begin
        if what <= 3 then
            call pg_temp.note('complete all');
            perform sentinai.complete(b.token);
            update ev set st = 'done', token = null where token = b.token;
        elsif what <= 4 then
            call pg_temp.note('complete ' || e.n);
            perform sentinai.complete(b.token, array[e.id]);
            update ev set st = 'done', token = null where id = e.id;
        elsif what <= 7 then
            wait := case pg_temp.die(3) when 1 then '0' when 2 then '60 ms' end;
            answer := sentinai.fail(b.token, e.id, 'x', pg_temp.die(6) > 1, wait);
            call pg_temp.note(format('fail %s, again in %s: %s', e.n, wait, answer));
            update ev set token = null, st = 'waiting', not_before = case answer when 'retrying' then began + coalesce(wait, '0') end where id = e.id;
            call pg_temp.look_at_letters();
            -- the later ones of its key have left the batch
            if (select ordered from rule) and (answer = 'retrying' or (select block from rule)) then
                update ev set token = null, st = 'waiting' where token = b.token and key = e.key and ev.n > e.n;
            end if;
        elsif what <= 8 then
            call pg_temp.note('release');
            perform sentinai.release(b.token);
            update ev set st = 'waiting', token = null where token = b.token;
        elsif what <= 9 then
            call pg_temp.note('extend, not for long');
            perform sentinai.extend(b.token, '20 ms');
            update batch set lease = sentinai.stat_clock() where token = b.token;
        else
            call pg_temp.note('extend');
            perform sentinai.extend(b.token, '1 min');
            update batch set lease = sentinai.stat_clock() + interval '59 s' where token = b.token;
        end if;
    exception when sqlstate 'SN409' then
        if b.lease > sentinai.stat_clock() then
            call pg_temp.wrong('refused within the lease: ' || sqlerrm);
        end if;
        call pg_temp.note('too late');
        update ev set st = 'waiting', token = null where token = b.token;
        delete from batch where token = b.token;
    end;
    delete from batch x where not exists (select from ev where ev.token = x.token);
end $$;

create procedure pg_temp.letter() language plpgsql as $$
declare e ev;
begin
    select * into e from ev where st in ('dead', 'blocked') order by random() limit 1;
    if e.n is null then return; end if;
    if pg_temp.die(4) = 1 then
        call pg_temp.note('discard ' || e.n);
        perform sentinai.discard_dead_letter(e.id, 'model', 'me', 'r');
        update ev set st = 'done' where id = e.id;
    else
        call pg_temp.note('redrive ' || e.n);
        perform sentinai.retry_dead_letter(e.id, 'model', 'me');
        update ev set st = 'waiting', not_before = null where id = e.id;
    end if;
end $$;

-- what operators do: refused where the event is not in the state for it
create procedure pg_temp.operate() language plpgsql as $$
declare e ev; what int := pg_temp.die(3); w text := 'w' || pg_temp.die(3);
begin
    select * into e from ev where st in ('waiting', 'out') order by random() limit 1;
    if what = 1 then
        call pg_temp.note('revoke ' || w);
        perform sentinai.revoke_lease('model', w, 'me');
        update ev set st = 'waiting', token = null where token in (select token from batch where worker = w);
        delete from batch where worker = w;
    elsif e.n is null then return;
    elsif what = 2 then
        begin
            perform sentinai.retry_event(e.id, 'model', 'me');
            call pg_temp.note('at once ' || e.n);
            update ev set not_before = null where n = e.n;
        exception when sqlstate 'SN404' or sqlstate 'SN409' then null;
        end;
    else
        begin
            perform sentinai.give_up_event(e.id, 'model', 'me', 'r');
            call pg_temp.note('give up ' || e.n);
            call pg_temp.look_at_letters();
            if e.token is not null and (select ordered and block from rule) then
                update ev set token = null, st = 'waiting' where token = e.token and key = e.key and n > e.n;
            end if;
        exception when sqlstate 'SN404' or sqlstate 'SN409' then
            if e.st = 'out' and exists (select from batch where token = e.token and lease > sentinai.stat_clock()) then
                call pg_temp.wrong('not to be given up: ' || e.n || ' ' || sqlerrm);
            end if;
        end;
    end if;
end $$;

create procedure pg_temp.step() language plpgsql as $$
declare what int := pg_temp.die(21); failed text;
begin
    if what <= 4 then call pg_temp.publish();
    elsif what <= 8 then call pg_temp.claim(pg_temp.die(4), '1 min');
    elsif what <= 10 then call pg_temp.claim(pg_temp.die(4), '1 microsecond');
    elsif what <= 16 then call pg_temp.use_batch();
    elsif what <= 18 then call pg_temp.letter();
    elsif what <= 19 then call pg_temp.rules();
    elsif what <= 20 then call pg_temp.operate();
    else
        call pg_temp.note('maintain');
        perform sentinai.maintain();
        select step || ': ' || f.error into failed from sentinai.stat_failures() f where f.error !~ 'lock timeout' limit 1;
        if found then call pg_temp.wrong(failed); end if;
    end if;
end $$;

-- until nothing is left, with no lease that somebody still has
create procedure pg_temp.drain() language plpgsql as $$
declare deadline timestamptz := clock_timestamp() + interval '20 s'; t text;
begin
    for t in select token from batch loop
        begin
            perform sentinai.release(t);
        exception when sqlstate 'SN409' then null;
        end;
    end loop;
    truncate batch;
    update ev set st = 'waiting', token = null where st = 'out';
    commit;
    loop
        call pg_temp.claim(100, '1 min');
        commit;
        for t in select token from batch loop
            perform sentinai.complete(t);
        end loop;
        update ev set st = 'done', token = null where st = 'out';
        truncate batch;
        perform sentinai.retry_dead_letter(id, 'model', 'me') from ev where st = 'blocked';
        update ev set st = 'waiting' where st = 'blocked';
        commit;
        exit when not exists (select from ev where st not in ('done', 'dead')) or clock_timestamp() > deadline or exists (select from said);
    end loop;
end $$;

-- what is there when nothing is left
create procedure pg_temp.check_end() language plpgsql as $$
declare bad text; s int := (select sub_id from sentinai_internal.subscription where worker_type = 'model');
begin
    select string_agg(n || ' ' || st, ', ') into bad from ev where st not in ('done', 'dead');
    if bad is not null then call pg_temp.wrong('left: ' || bad); end if;
    select string_agg(event_id::text, ' ') into bad from sentinai_internal.event_retry where sub_id = s;
    if bad is not null then call pg_temp.wrong('still waiting: ' || bad); end if;
    select string_agg(ev.n::text, ' ') into bad from ev
    where st = 'done' and current_setting('model.ledger')::boolean and not exists (select from sentinai.event_processing p where p.event_id = ev.id and p.worker_type = 'model')
          and not exists (select from sentinai.dead_letter d where d.event_id = ev.id and d.worker_type = 'model' and d.status = 'discarded');
    if bad is not null then call pg_temp.wrong('not in the ledger: ' || bad); end if;
    with last as (select distinct on (lane) * from sentinai_internal.lane_state where sub_id = s order by lane, ver desc)
    select string_agg(format('lane %s: batch %s, open %s, parked %s, %s to %s, resolved %s, lost %s', lane, batch, open, parked, pos, end_pos, resolved, lost), '; ') into bad
    from last where batch is not null or open <> 0 or parked <> 0 or resolved is not null or pos <> end_pos or retries is not null or lost <> 0;
    if bad is not null then call pg_temp.wrong('not clean: ' || bad); end if;
    with last as (select distinct on (lane) * from sentinai_internal.lane_state where sub_id = s order by lane, ver desc)
    select format('%s dead and %s letters, %s completed and %s in the ledger', sum(dead), l.n, sum(completed), p.n) into bad
    from last, (select count(*) n from sentinai.dead_letter where worker_type = 'model' and status = 'pending') l,
         (select count(*) n from sentinai.event_processing q join ev on id = event_id where worker_type = 'model') p
    group by l.n, p.n having sum(dead) <> l.n or (sum(completed) <> p.n and current_setting('model.ledger')::boolean);
    if bad is not null then call pg_temp.wrong(bad); end if;
    select string_agg(ev.n || ' ' || d.status, ' ') into bad from ev join sentinai.dead_letter d on d.event_id = ev.id and d.worker_type = 'model'
    where d.status = 'retrying' or (d.status = 'pending') <> (ev.st = 'dead');
    if bad is not null then call pg_temp.wrong('letters: ' || bad); end if;
end $$;

create procedure pg_temp.run(seed int, steps int) language plpgsql as $$
declare began text := clock_timestamp()::text;
begin
    truncate ev, batch, rule, trace;
    perform set_config('model.seed', seed::text, false), setseed(1.0 / seed);
    insert into rule values (seed % 3 <> 0, false, 2, '{m.t}');
    perform sentinai.unsubscribe(worker_type) from sentinai_internal.subscription where worker_type in ('model', 'model-other');
    -- every other time it begins with what another one has waiting
    if seed % 2 = 0 then
        perform sentinai.subscribe('model-other', '{m.t}');
        commit;
        for i in 1..8 loop
            call pg_temp.publish();
            commit;
        end loop;
    end if;
    perform sentinai.subscribe('model', '{m.t}', start_from => began, max_attempts => 2, backoff => '{0s,20ms}', ordered => seed % 3 <> 0);
    commit;
    for i in 1..steps loop
        exit when exists (select from said);
        call pg_temp.step();
        -- now and then two in one transaction; the second may be undone
        if pg_temp.die(4) = 1 then
            begin
                call pg_temp.step();
                if pg_temp.die(3) = 1 then
                    raise exception using errcode = 'MODEL';
                end if;
            exception when sqlstate 'MODEL' then
                call pg_temp.note('undone');
            end;
        end if;
        commit;
    end loop;
    call pg_temp.drain();
    call pg_temp.check_end();
    commit;
    perform sentinai.unsubscribe(worker_type) from sentinai_internal.subscription where worker_type in ('model', 'model-other');
    commit;
end $$;

create procedure pg_temp.runs(first int, n int, steps int) language plpgsql as $$
begin
    for seed in first .. first + n - 1 loop
        call pg_temp.run(seed, steps);
        exit when exists (select from said);
    end loop;
end $$;
set client_min_messages = warning;
call pg_temp.runs(:model_seed, :model_runs, :model_steps);
select is((select fault from said where seed = s), null, 'seed ' || s) from generate_series(:model_seed, :model_seed + :model_runs - 1) s;
select diag(what) from (select o, what from trace where exists (select from said) order by o desc limit 100) t order by o;
select * from finish();
