/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * asyncapi_message.c
 *		What asyncapi() says of one version of an event type: its headers, as
 *		record.c makes them, its payload, examples.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "registry/json_walk.h"
#include "registry/schema_document.h"
#include "registry/schema.h"
#include "relay/asyncapi.h"

#define SCHEMA_FORMAT "application/schema+json;version=draft-2020-12"
#define CLOUDEVENTS "headers.cloudevents"
#define DEBEZIUM "headers.debezium"
#define RAW "headers.raw"
#define STRUCTURED "headers.structured"
#define ENVELOPE "envelope"
#define KEY_PARTITION "key.partition"
#define KEY_AGGREGATE "key.aggregate"
#define KEY_MADE "key.made"
#define MORE "headers.more"

#define TEXT(name, says) "\"" name "\": {\"type\": \"string\", \"description\": \"" says "\"}"
#define TRACE \
	TEXT("traceparent", "W3C trace context") ", " \
	TEXT("tracestate", "W3C trace context")

/* What every record of a format has; each is an object of strings */
static const char *const shared[][2] = {
	{CLOUDEVENTS,
		"{\"type\": \"object\", \"required\": [\"ce_specversion\", \"ce_id\", \"ce_source\", \"ce_type\", \"ce_tenantid\", \"ce_dataschema\", \"ce_partitionkey\", \"content-type\"], \"properties\": {"
		"\"ce_specversion\": {\"const\": \"1.0\"}, "
		"\"ce_id\": {\"type\": \"string\", \"format\": \"uuid\", \"description\": \"The event id, a UUIDv7.\"}, "
		TEXT("ce_source", "/sentinai/, the database, / and the tenant, percent-encoded.") ", "
		TEXT("ce_type", "The event type.") ", "
		"\"ce_time\": {\"type\": \"string\", \"format\": \"date-time\", \"description\": \"When it occurred.\"}, "
		TEXT("ce_subject", "The aggregate id; absent in an event of the tenant itself.") ", "
		TEXT("ce_tenantid", "The tenant.") ", "
		TEXT("ce_correlationid", "The flow that the event belongs to.") ", "
		"\"ce_causationid\": {\"type\": \"string\", \"format\": \"uuid\", \"description\": \"The event that led to it.\"}, "
		TEXT("ce_dataschema", "Event type and version of the schema of the payload.") ", "
		TEXT("ce_partitionkey", "The key of the record.") ", "
		"\"content-type\": {\"const\": \"application/json\"}, "
		TEXT("ce_traceparent", "The trace context that the event began with.") ", "
		TEXT("ce_tracestate", "Goes with ce_traceparent.") ", "
	TRACE "}}"},
	{DEBEZIUM,
		"{\"type\": \"object\", \"required\": [\"id\", \"eventType\", \"event_id\"], \"properties\": {"
		"\"id\": {\"type\": \"string\", \"format\": \"uuid\", \"description\": \"Id of the row in the outbox, or the event id.\"}, "
		TEXT("eventType", "The event type.") ", "
		"\"event_id\": {\"type\": \"string\", \"format\": \"uuid\", \"description\": \"The event id, a UUIDv7.\"}, "
	TRACE "}}"},
	{RAW,
		"{\"type\": \"object\", \"required\": [\"event_id\"], \"properties\": {"
		"\"event_id\": {\"type\": \"string\", \"format\": \"uuid\", \"description\": \"The event id, a UUIDv7.\"}, "
	TRACE "}}"},
	{STRUCTURED,
		"{\"type\": \"object\", \"required\": [\"event_id\", \"content-type\"], \"properties\": {"
		"\"event_id\": {\"type\": \"string\", \"format\": \"uuid\", \"description\": \"The event id, a UUIDv7.\"}, "
		"\"content-type\": {\"const\": \"application/cloudevents+json; charset=UTF-8\"}, "
	TRACE "}}"},
	{ENVELOPE,
		"{\"type\": \"object\", \"required\": [\"specversion\", \"id\", \"source\", \"type\", \"tenantid\", \"dataschema\", \"partitionkey\", \"datacontenttype\", \"data\"], \"properties\": {"
		"\"specversion\": {\"const\": \"1.0\"}, "
		"\"id\": {\"type\": \"string\", \"format\": \"uuid\", \"description\": \"The event id, a UUIDv7.\"}, "
		TEXT("source", "/sentinai/, the database, / and the tenant, percent-encoded.") ", "
		TEXT("type", "The event type.") ", "
		"\"time\": {\"type\": \"string\", \"format\": \"date-time\", \"description\": \"When it occurred.\"}, "
		TEXT("subject", "The aggregate id; absent in an event of the tenant itself.") ", "
		TEXT("tenantid", "The tenant.") ", "
		TEXT("correlationid", "The flow that the event belongs to.") ", "
		"\"causationid\": {\"type\": \"string\", \"format\": \"uuid\", \"description\": \"The event that led to it.\"}, "
		TEXT("dataschema", "Event type and version of the schema of the payload.") ", "
		TEXT("partitionkey", "The key of the record.") ", "
		"\"datacontenttype\": {\"const\": \"application/json\"}, "
		"\"data\": {\"description\": \"The payload.\"}, "
	TRACE "}}"},
	{KEY_PARTITION, "{\"type\": \"string\", \"description\": \"The tenant, a colon and the aggregate id, or the tenant alone.\", \"examples\": [\"acme:A-1\", \"acme\"]}"},
	{KEY_AGGREGATE, "{\"type\": \"string\", \"description\": \"The aggregate id, or the tenant for an event without one.\", \"examples\": [\"A-1\", \"acme\"]}"},
};

/* prefix_of: what the headers of CloudEvents begin with */
static const char *
prefix_of(const SnApiRecords *records)
{
	return records->amqp ? "cloudEvents:" : "ce_";
}

/* put_prefixed: a schema, whose headers of CloudEvents have their names */
static void
put_prefixed(StringInfo out, const SnApiRecords *records, const char *schema)
{
	const char *at;

	for (; (at = strstr(schema, "\"ce_")) != NULL; schema = at + 4)
	{
		appendBinaryStringInfo(out, schema, at + 1 - schema);
		appendStringInfoString(out, prefix_of(records));
	}
	appendStringInfoString(out, schema);
}

/* put_shared: a schema that messages refer to */
static void
put_shared(StringInfo out, const SnApiRecords *records, const char *name)
{
	int			i;

	for (i = 0; i < lengthof(shared); i++)
		if (strcmp(shared[i][0], name) == 0)
		{
			sn_api_name(out, name);
			put_prefixed(out, records, shared[i][1]);
		}
}

/* has_more: whether the relay gives headers beside those of the format */
static bool
has_more(const SnApiRecords *records)
{
	int			i;

	if (records->rules == NULL)
		return false;
	for (i = 0; i < records->rules->metadata.n; i++)
		if (records->rules->metadata.items[i].value != NULL)
			return true;
	return records->rules->headers.n > 0;
}

/* put_more_name: the name of a header that the relay gives */
static void
put_more_name(StringInfo out, const SnApiRecords *records, const char *name)
{
	sn_api_open(out, strncmp(name, "ce_", 3) == 0 ?
				psprintf("%s%s", prefix_of(records), name + 3) : name);
}

/* put_more: the headers that the relay gives beside those of the format */
static void
put_more(StringInfo out, const SnApiRecords *records)
{
	const SnRecordRules *rules = records->rules;
	int			i;

	sn_api_open(out, MORE);
	sn_api_text(out, "type", "object");
	sn_api_open(out, "properties");
	for (i = 0; i < rules->headers.n; i++)
	{
		put_more_name(out, records, rules->headers.items[i].name);
		sn_api_text(out, "const", rules->headers.items[i].value);
		sn_api_close(out);
	}
	for (i = 0; i < rules->metadata.n; i++)
	{
		if (rules->metadata.items[i].value == NULL)
			continue;
		put_more_name(out, records, rules->metadata.items[i].value);
		sn_api_text(out, "type", "string");
		sn_api_text(out, "description",
					psprintf("%s of the event's metadata; absent without it.",
							 rules->metadata.items[i].name));
		sn_api_close(out);
	}
	sn_api_close(out);
	sn_api_close(out);
}

/* put_key_made: the key that a template of the relay makes */
static void
put_key_made(StringInfo out, const char *key)
{
	sn_api_open(out, KEY_MADE);
	sn_api_text(out, "type", "string");
	sn_api_text(out, "description",
				psprintf("%s; of an event that lacks a value of it, the usual key.",
						 key));
	sn_api_close(out);
}

/* sn_api_shared_schemas: those that the records need */
void
sn_api_shared_schemas(StringInfo out, const SnApiRecords *records,
					  bool control)
{
	SnRecordFormat format = records->format;

	if (format == SN_RECORD_CLOUDEVENTS || control)
		put_shared(out, records, CLOUDEVENTS);
	if (format == SN_RECORD_DEBEZIUM)
		put_shared(out, records, DEBEZIUM);
	else if (format == SN_RECORD_RAW)
		put_shared(out, records, RAW);
	else if (format == SN_RECORD_STRUCTURED)
	{
		put_shared(out, records, STRUCTURED);
		put_shared(out, records, ENVELOPE);
	}
	if (has_more(records))
		put_more(out, records);
	if (records->rules != NULL && records->rules->key != NULL)
		put_key_made(out, records->rules->key);
	if (format == SN_RECORD_DEBEZIUM)
		put_shared(out, records, KEY_AGGREGATE);
	if (format != SN_RECORD_DEBEZIUM || control)
		put_shared(out, records, KEY_PARTITION);
}

/* put_type_and_schema: the attributes of CloudEvents that only its records have */
static void
put_type_and_schema(StringInfo out, const SnApiMessage *message,
					const char *prefix)
{
	char	   *schema = palloc(3 * strlen(message->event_type) + 64);

	(void) sn_record_schema(schema, message->event_type, message->version);
	appendStringInfo(out, "\"%stype\": {\"const\": \"%s\"}, \"%sdataschema\": {\"const\": \"%s\"}",
					 prefix, message->event_type, prefix, schema);
}

/* put_headers_of: what the records of the version have in common, and its own */
static void
put_headers_of(StringInfo out, const SnApiMessage *message,
			   const SnApiRecords *records)
{
	static const char *const of_format[] = {
		[SN_RECORD_CLOUDEVENTS] = CLOUDEVENTS, [SN_RECORD_DEBEZIUM] = DEBEZIUM,
		[SN_RECORD_RAW] = RAW, [SN_RECORD_STRUCTURED] = STRUCTURED
	};

	sn_api_open(out, "headers");
	sn_api_name(out, "allOf");
	appendStringInfo(out, "[{\"$ref\": \"#/components/schemas/%s\"}",
					 of_format[records->format]);
	if (records->format == SN_RECORD_DEBEZIUM)
		appendStringInfo(out, ", {\"type\": \"object\", \"properties\": {\"eventType\": {\"const\": \"%s\"}}}",
						 message->event_type);
	else if (records->format == SN_RECORD_CLOUDEVENTS)
	{
		appendStringInfoString(out, ", {\"type\": \"object\", \"properties\": {");
		put_type_and_schema(out, message, prefix_of(records));
		appendStringInfoString(out, "}}");
	}
	if (has_more(records))
		appendStringInfoString(out, ", {\"$ref\": \"#/components/schemas/" MORE "\"}");
	appendStringInfoChar(out, ']');
	sn_api_close(out);
}

/* is_tombstone: whether records of the type have no value */
static bool
is_tombstone(const SnApiRecords *records, const SnApiMessage *message)
{
	return records->rules != NULL &&
		sn_record_rules_tombstone(records->rules, message->event_type);
}

/* is_made: whether values are something else than payloads */
static bool
is_made(const SnApiRecords *records)
{
	return records->rules != NULL && records->rules->transform != NULL;
}

/*
 * put_payload: what the value of a record is.  That of the structured mode is
 * put together for each version, so it has its schema here.
 */
static void
put_payload(StringInfo out, const SnApiMessage *message,
			const SnApiRecords *records)
{
	if (is_tombstone(records, message) || is_made(records))
	{
		sn_api_open(out, "payload");
		sn_api_text(out, "description", is_made(records) ?
					"What a function of the relay makes of the event." :
					"None: a tombstone.");
		sn_api_close(out);
		return;
	}
	if (records->format != SN_RECORD_STRUCTURED)
	{
		sn_api_ref(out, "payload", psprintf("schemas/%s", message->key));
		return;
	}
	sn_api_open(out, "payload");
	sn_api_text(out, "schemaFormat", SCHEMA_FORMAT);
	sn_api_open(out, "schema");
	sn_api_name(out, "allOf");
	appendStringInfoString(out, "[{\"$ref\": \"#/components/schemas/" ENVELOPE "\"}, {\"properties\": {");
	put_type_and_schema(out, message, "");
	sn_api_name(out, "data");
	appendStringInfo(out, "{\"$ref\": \"#/components/schemas/%s/schema\"}}}]",
					 message->key);
	sn_api_close(out);
	sn_api_close(out);
}

/* put_correlation: where the id of a flow is found */
static void
put_correlation(StringInfo out, SnRecordFormat format)
{
	if (format == SN_RECORD_CLOUDEVENTS)
		sn_api_ref(out, "correlationId", "correlationIds/flow");
	else if (format == SN_RECORD_STRUCTURED)
		sn_api_ref(out, "correlationId", "correlationIds/flow.structured");
}

/* put_examples: those that no reader would take for references */
static void
put_examples(StringInfo out, const SnApiMessage *message)
{
	SnJsonWalk	walk;
	JsonbValue	payload;
	int			n = 0;

	sn_json_walk(&walk, &message->examples->root);
	while (sn_json_next(&walk, NULL, &payload))
	{
		Jsonb	   *json;

		if (sn_document_has_ref(&payload))
			continue;
		if (n++ == 0)
			sn_api_name(out, "examples");
		json = JsonbValueToJsonb(&payload);
		appendStringInfo(out, "%s{\"payload\": ", n == 1 ? "[" : ", ");
		(void) JsonbToCString(out, &json->root, VARSIZE(json));
		appendStringInfoChar(out, '}');
		pfree(json);
	}
	if (n > 0)
		appendStringInfoChar(out, ']');
}

/* put_key_binding: what the key of the records is */
static void
put_key_binding(StringInfo out, const SnApiRecords *records)
{
	bool		made = records->rules != NULL && records->rules->key != NULL;

	sn_api_open(out, "bindings");
	sn_api_open(out, "kafka");
	sn_api_ref(out, "key", made ? "schemas/" KEY_MADE :
			   records->format == SN_RECORD_DEBEZIUM ?
			   "schemas/" KEY_AGGREGATE : "schemas/" KEY_PARTITION);
	sn_api_text(out, "bindingVersion", "0.5.0");
	sn_api_close(out);
	sn_api_close(out);
}

/* sn_api_message: a version of an event type, as records have it */
void
sn_api_message(StringInfo out, const SnApiMessage *message,
			   const SnApiRecords *records)
{
	SnApiRecords usual = {.amqp = records->amqp};	/* CloudEvents */

	if (message->control)
		records = &usual;
	sn_api_open(out, message->key);
	sn_api_text(out, "name", message->event_type);
	sn_api_text(out, "title", psprintf("%s, version %d", message->event_type,
									   message->version));
	if (message->description != NULL)
		sn_api_text(out, "description", message->description);
	sn_api_text(out, "contentType", "application/json");
	put_headers_of(out, message, records);
	put_payload(out, message, records);
	put_correlation(out, records->format);
	if (records->format != SN_RECORD_STRUCTURED && !is_made(records) &&
		!is_tombstone(records, message))
		put_examples(out, message); /* which are of the payload alone */
	sn_api_name(out, "tags");
	appendStringInfo(out, "[{\"name\": \"%s\"}%s]", message->direction,
					 message->deprecated_since != NULL ?
					 ", {\"name\": \"deprecated\"}" : "");
	if (!records->amqp)
		put_key_binding(out, records);
	sn_api_name(out, "x-schema-version");
	appendStringInfo(out, "%d", message->version);
	sn_api_text(out, "x-compatibility", message->compatibility);
	if (message->deprecated_since != NULL)
		sn_api_text(out, "x-deprecated-since", message->deprecated_since);
	sn_api_close(out);
}

/* sn_api_schema: the schema of the payload, with its format */
void
sn_api_schema(StringInfo out, const SnApiMessage *message)
{
	sn_api_open(out, message->key);
	sn_api_text(out, "schemaFormat", SCHEMA_FORMAT);
	sn_api_name(out, "schema");
	sn_schema_embed(message->schema, psprintf("#/components/schemas/%s/schema",
									 message->key), out);
	sn_api_close(out);
}
