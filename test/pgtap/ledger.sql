-- SPDX-License-Identifier: PostgreSQL
-- The ledger for handlers fed by Kafka.
select plan(69);
create temp table e as select sentinai.publish('l.t', 'ledger', 'a', '{}') as id;

select is(sentinai.is_already_processed((select id from e), 'ledger-a'), false, 'not begun');
select is(sentinai.mark_as_processing((select id from e), 'ledger-a', 'ledger', 'a', 'w1'), true, 'the first to ask gets it');
select is(sentinai.is_already_processed((select id from e), 'ledger-a'), false, 'begun is not done');
select is(sentinai.mark_as_processing((select id from e), 'ledger-a', 'ledger', 'a', 'w2'), false, 'the second does not');
select is(sentinai.mark_as_processing((select id from e), 'ledger-b'), true, 'another worker type does');
select is((select concat_ws(' ', status, attempt, worker_id, tenant_id, aggregate_id) from sentinai.event_processing where event_id = (select id from e) and worker_type = 'ledger-a'),
    'processing 1 w1 ledger a', 'who has it');
select is(sentinai.mark_as_processing((select id from e), 'ledger-a', 'ledger', 'a', 'w2', '1 microsecond'), true, 'after the lease it is another''s');
select is((select concat_ws(' ', status, attempt, worker_id) from sentinai.event_processing where event_id = (select id from e) and worker_type = 'ledger-a'),
    'processing 2 w2', 'with its second attempt');
select is(sentinai.mark_as_completed((select id from e), 'ledger-a', 'ledger', 'a', 'w2'), true, 'completed');
select is(sentinai.mark_as_completed((select id from e), 'ledger-a', 'ledger', 'a', 'w2'), false, 'it was before');
select is(sentinai.is_already_processed((select id from e), 'ledger-a'), true, 'done');
select is(sentinai.is_already_processed((select id from e), 'ledger-b'), false, 'for that worker type');
select is(sentinai.mark_as_processing((select id from e), 'ledger-a', lease => '1 microsecond'), false, 'what is done is nobody''s');
select is((select concat_ws(' ', status, attempt, worker_id, count(*) over ()) from sentinai.event_processing where event_id = (select id from e) and worker_type = 'ledger-a'),
    'completed 2 w2 1', 'one row');
select is(sentinai.mark_as_completed((select id from e), 'ledger-c'), true, 'completed without asking first');

-- A rollback takes it back
begin;
select sentinai.mark_as_completed((select id from e), 'ledger-b');
rollback;
select is(sentinai.is_already_processed((select id from e), 'ledger-b'), false, 'rolled back: not done');
select is(sentinai.mark_as_completed((select id from e), 'ledger-b'), true, 'so it can be done');

-- Events of any time this can be
select is(sentinai.mark_as_completed('01941f29-7c00-7000-8000-000000000001', 'ledger-a'), true, 'an event of 2025');
select is(sentinai.is_already_processed('01941f29-7c00-7000-8000-000000000001', 'ledger-a'), true, 'has a partition');
select is(sentinai.is_already_processed('00000000-0000-0000-0000-000000000000', 'ledger-a'), false, 'an id of no time is not done');
select is(sentinai.is_already_processed((select id from e), repeat('x', 100000)), false, 'nor is it for any worker type');

-- Arguments
select throws_ok(format('select sentinai.mark_as_completed(%L, %L)', id, 'ledger-a'), 'SN422', null, 'id ' || id)
    from unnest('{00000000-0000-0000-0000-000000000000,ffffffff-ffff-ffff-ffff-ffffffffffff,2b02bbd3-9a4f-4a3b-8c43-0d9e4e2f4a5d,01941f29-7c00-7000-c000-000000000001,00000000-0000-7000-8000-000000000000,ffffffff-ffff-7fff-bfff-ffffffffffff}'::uuid[]) id;
select throws_ok($$select sentinai.is_already_processed(null, 'ledger-a')$$, '22004', null, 'no id');
select throws_ok($$select sentinai.is_already_processed((select id from e), null)$$, '22004', null, 'no worker type');
select throws_ok($$select sentinai.mark_as_processing(null, 'ledger-a')$$, '22004', null, 'no id to begin');
select throws_ok($$select sentinai.mark_as_processing((select id from e), null)$$, '22004', null, 'no worker type to begin');
select throws_ok($$select sentinai.mark_as_completed((select id from e), 'two words')$$, 'SN422', null, 'a worker type that cannot be');
select throws_ok($$select sentinai.mark_as_completed((select id from e), 'ledger-a', repeat('x', 257))$$, 'SN422', null, 'a long tenant');
select throws_ok($$select sentinai.mark_as_completed((select id from e), 'ledger-a', 't', repeat('x', 1025))$$, 'SN422', null, 'a long aggregate');
select throws_ok($$select sentinai.mark_as_processing((select id from e), 'ledger-a', lease => null)$$, '22004', null, 'no lease');
select throws_ok($$select sentinai.mark_as_processing((select id from e), 'ledger-a', lease => '0')$$, 'SN422', null, 'an empty lease');
begin read only;
select throws_ok($$select sentinai.mark_as_completed((select id from e), 'ledger-z')$$, '25006', null, 'read-only transaction');
commit;

-- complete() and the ledger of the same worker type
select sentinai.subscribe('ledger-q');
select sentinai.publish('l.t', 'ledger', 'q', jsonb_build_object('n', i)) from generate_series(1, 3) i;
create temp table b as select row_number() over () as o, c.* from sentinai.claim('ledger-q', worker_id => 'claimer') c;
select is(sentinai.mark_as_processing((select event_id from b where o = 1), 'ledger-q', worker_id => 'kafka'), true, 'one is in work elsewhere');
select is(sentinai.mark_as_completed((select event_id from b where o = 2), 'ledger-q', worker_id => 'kafka'), true, 'one is done elsewhere');
select is(sentinai.complete((select token from b limit 1)), 3, 'complete takes them all');
select is((select string_agg(concat_ws(' ', status, p.attempt, worker_id), ', ' order by o) from sentinai.event_processing p join b using (event_id) where worker_type = 'ledger-q'),
    'completed 1 claimer, completed 1 kafka, completed 1 claimer', 'what was done stays, what was begun is done');
select is_empty($$select * from sentinai.claim('ledger-q')$$, 'nothing comes again');
select sentinai.unsubscribe('ledger-q');
-- What has failed is told as fail() tells it
create temp table f as select sentinai.publish('l.t', 'ledger', 'f', '{}', correlation_id => 'ledger-flow',
    metadata => '{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}') as id;
create function pg_temp.told() returns text language sql as $$
    select string_agg(concat_ws(' ', e.event_type, e.tenant_id, e.aggregate_id, e.correlation_id, substr(e.metadata ->> 'traceparent', 4, 32), e.payload ->> 'worker_type',
        e.payload ->> 'event_type', e.payload ->> 'attempt', e.payload ->> 'error', (e.payload ->> 'due_at')::timestamptz - now() between '9 s' and '11 s'), ', ' order by e.event_id)
    from sentinai.event_log e, f where e.causation_id = f.id $$;
begin;
select is(sentinai.mark_as_failed((select id from f), 'ledger-f', 'no', retry_in => '10 s'), 'no', 'it says what it has told');
select is(pg_temp.told(), 'RetryScheduled ledger f ledger-flow 0af7651916cd43dd8448eb211c80319c ledger-f l.t 1 no t', 'a retry, in the flow and the trace of the event');
rollback;
select is(pg_temp.told(), null, 'in the transaction of the caller');
select sentinai.set_redaction('ledger', 'l.t', '$.pan', 'secrets');
select is(sentinai.mark_as_failed((select id from f), 'ledger-f', 'card 4111 1111 1111 1111', 5), 'card [redacted]', 'without what may not be stored');
select is(pg_temp.told(), 'DeadLettered ledger f ledger-flow 0af7651916cd43dd8448eb211c80319c ledger-f l.t 5 card [redacted]', 'and that it was given up');
select sentinai.drop_redaction('ledger', 'l.t', '$.pan');
select is(sentinai.is_already_processed((select id from f), 'ledger-f'), false, 'the ledger stays as it is');
select is(sentinai.mark_as_failed('01941f29-7c00-7000-8000-000000000001', 'ledger-f', 'no'), null, 'nothing is told of an event that is not there');
select is((select sentinai.mark_as_failed(event_id, 'ledger-f', 'no') from sentinai.event_log where causation_id = (select id from f)), 'no', 'nor of one');
select is(pg_temp.told(), 'DeadLettered ledger f ledger-flow 0af7651916cd43dd8448eb211c80319c ledger-f l.t 5 card [redacted]', 'that tells of another');
select throws_ok($$select sentinai.mark_as_failed((select id from f), 'ledger-f', null)$$, '22004', null, 'no error');
select throws_ok($$select sentinai.mark_as_failed((select id from f), 'ledger-f', 'no', 0)$$, 'SN422', null, 'no attempt');
select throws_ok($$select sentinai.mark_as_failed((select id from f), 'ledger-f', 'no', retry_in => '-1 s')$$, 'SN422', null, 'a retry in the past');

-- What was done with it then is told as retry_dead_letter() and discard_dead_letter() tell it
create function pg_temp.settled() returns text language sql as $$
    select string_agg(concat_ws(' ', e.event_type, e.aggregate_id, e.correlation_id, substr(e.metadata ->> 'traceparent', 4, 32), e.payload), ', ' order by e.event_id)
    from sentinai.event_log e, f where e.causation_id = f.id and e.event_type ~ '^DeadLetter[RD]' and e.event_type <> 'DeadLettered' $$;
begin;
select is((select actor || coalesce(reason, '') from sentinai.mark_as_settled((select id from f), 'ledger-f', 'retried')), session_user::text, 'tried again, by the caller');
select is(pg_temp.settled(), format('DeadLetterRetried f ledger-flow 0af7651916cd43dd8448eb211c80319c {"actor": "%s", "reason": null, "event_id": "%s", "event_type": "l.t", "worker_type": "ledger-f"}', session_user, (select id from f)), 'is told in the flow and the trace of the event');
rollback;
select is(pg_temp.settled(), null, 'in the transaction of the caller');
select sentinai.set_redaction('ledger', 'l.t', '$.pan', 'secrets');
select is((select actor || ': ' || reason from sentinai.mark_as_settled((select id from f), 'ledger-f', 'discarded', 'ann', 'card 4111 1111 1111 1111')), 'ann: card [redacted]', 'given up, without what may not be stored');
select is(pg_temp.settled(), format('DeadLetterDiscarded f ledger-flow 0af7651916cd43dd8448eb211c80319c {"actor": "ann", "reason": "card [redacted]", "event_id": "%s", "event_type": "l.t", "worker_type": "ledger-f"}', (select id from f)), 'is told, too');
select sentinai.drop_redaction('ledger', 'l.t', '$.pan');
select is((select concat_ws(' ', kind, tenant_id, aggregate_id, worker_type, object = f.id::text, actor, reason, before ->> 'status', after ->> 'status') from sentinai.actions, f where action = 'mark_as_settled'),
    'action ledger f ledger-f t ann card [redacted] pending discarded', 'and written down');
select is((select m is null from sentinai.mark_as_settled('01941f29-7c00-7000-8000-000000000001', 'ledger-f', 'retried') m), true, 'nothing is told of an event that is not there');
select sentinai.set_redaction('ledger', 'l.t', '$.pan', 'secrets');
select is((select actor || ': ' || reason from sentinai.mark_as_settled('01941f29-7c00-7000-8000-000000000001', 'ledger-f', 'retried', 'ann', 'card 4111 1111 1111 1111', 'ledger', 'l.t')), 'ann: card [redacted]', 'but what may be stored of one');
select sentinai.drop_redaction('ledger', 'l.t', '$.pan');
select is((select count(*) from sentinai.actions where action = 'mark_as_settled'), 1::bigint, 'which writes nothing down');
select throws_ok($$select sentinai.mark_as_settled('01941f29-7c00-7000-8000-000000000001', 'ledger-f', 'retried', tenant_id => 'ledger')$$, '22004', null, 'of no type');
select is((select actor from sentinai.event_log e cross join lateral sentinai.mark_as_settled(e.event_id, 'ledger-f', 'retried', 'ann') where e.causation_id = (select id from f) limit 1), 'ann', 'nor of one');
select is((select count(*) from sentinai.event_log where event_type = 'DeadLetterRetried' and tenant_id = 'ledger'), 0::bigint, 'that tells of another');
select throws_ok($$select sentinai.mark_as_settled((select id from f), 'ledger-f', 'succeeded')$$, 'SN422', null, 'no outcome');
select throws_ok($$select sentinai.mark_as_settled((select id from f), 'ledger-f', 'retried', null)$$, '22004', null, 'nobody');
select throws_ok($$select sentinai.mark_as_settled((select id from f), 'ledger-f', 'retried', 'ann', '')$$, 'SN422', null, 'no reason');

select * from finish();
