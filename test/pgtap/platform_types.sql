-- SPDX-License-Identifier: PostgreSQL
-- The event types that the extension sentinai_platform registers.
begin;
create extension sentinai_platform;
select plan(10);

create temp view types as select * from sentinai.event_types where schema #> '{properties,exception_id}' is not null;
select is((select count(*) from types), 20::bigint, 'the platform has its types');
select is((select count(*) from types where description is null or examples = '[]'), 0::bigint, 'each with a description and an example');
select is((select string_agg(event_type, ' ' order by event_type) from types where direction = 'inbound'),
    'ExceptionIngested ExceptionNormalized ManualExceptionCreated PlaybookRecalculationRequested', 'those that come from outside, or are made of these');
select is((select count(*) from types where schema -> 'additionalProperties' = 'false' and schema -> 'required' ? 'exception_id'), 20::bigint, 'all are closed, and name their exception');
select is((select count(sentinai.publish(event_type, 'acme', 'EX-17', examples -> 0)) from types), 20::bigint, 'their examples can be published');
select throws_ok($$select sentinai.publish('TriageCompleted', 'acme', 'EX-17', '{"exception_id": "EX-17"}')$$, 'SN422', null, 'what does not fit cannot');
select is((select count(*) from sentinai.actions where action = 'register_event_type' and object in (select event_type from types)), 0::bigint, 'what CREATE EXTENSION registers is nothing that somebody did');

select lives_ok($$select sentinai.register_event_type('TriageRequested', '{"type": "object", "properties": {"exception_id": {"type": "string", "minLength": 1, "maxLength": 1024},
    "reason": {"type": "string", "maxLength": 8000}, "asked_by": {"type": "string"}}, "required": ["exception_id", "reason"], "additionalProperties": false}')$$, 'a type may get a version more');
drop extension sentinai_platform;
create extension sentinai_platform;
select is((select count(*) from types where version = 1), 20::bigint, 'CREATE EXTENSION where the types are registers nothing twice');
select is((select string_agg(event_type, ' ') from types where version > 1), 'TriageRequested', 'and leaves what others have registered');

select * from finish();
rollback;
