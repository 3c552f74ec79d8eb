-- The relay's topics and records as a document.

create function sentinai.asyncapi(
        title text default null, version text default null,
        event_types text[] default null, aggregate_types text[] default null, relay text default 'relay')
    returns jsonb
    language c stable parallel restricted
    as 'MODULE_PATHNAME', 'sentinai_asyncapi';
comment on function sentinai.asyncapi(text, text, text[], text[], text) is 'What a relay writes, as an AsyncAPI 3.0 document: topics, brokers, and a message for each version of each registered event type, with headers, schema and examples. title, version: of the document; null for the name of the database, and for the time of the newest registration. event_types: those that it shall have; null for all that are sent. aggregate_types: what {aggregate_type} in the name of a topic can be, which the database does not know. References between schemas lead to places in the document. relay: its name. Nothing of the relay''s settings is in it but hosts and the kind of protection. Errors: 22004 null; SN404 an event type that is not registered, or unknown relay; SN422 no name of a type, or more than 10,000; 54000 the document would be larger than 192 MB.';
