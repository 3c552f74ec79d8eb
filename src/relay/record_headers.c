/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * record_headers.c
 *		The headers of a record, by its format, and the value that is made of them.
 *
 * Which there are stands in record.c.
 */
#include "relay/record_maker.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/trace_context.h"

#define REFUSED_CLASS "sentinai.RecordRefused"
#define STRUCTURED_TYPE "application/cloudevents+json; charset=UTF-8"

#define DAY_SECONDS INT64_C(86400)
#define DAY_US (DAY_SECONDS * 1000000)

/* The id of the event that the record is about. */
static const char *
id_about(const SnRecordEvent *event)
{
	return event->refused_id != NULL ? event->refused_id : event->event_id;
}

/* Adds a header, if there is a value. */
static void
add_header(SnRecordMaker *maker, const char *name, const char *value)
{
	SnRecordHeader *header;

	if (value == NULL)
		return;
	header = &maker->headers[maker->nheaders++];
	header->name = name;
	header->value = value;
	header->value_len = strlen(value);
}

/* Keeps a copy, escaped for a part of a URI. */
static const char *
put_escaped(SnRecordMaker *maker, const char *text)
{
	char	   *copy = maker->text + maker->text_used;

	maker->text_used += sn_escape_uri(copy, text) + 1;
	return copy;
}

/* put_schema: urn:sentinai:schema:<event type>:<version>, or NULL without a version. */
static const char *
put_schema(SnRecordMaker *maker, const SnRecordEvent *event)
{
	char	   *schema = maker->text + maker->text_used;

	if (event->schema_version <= 0)
		return NULL;
	maker->text_used += sn_record_schema(schema, event->event_type,
										 event->schema_version) + 1;
	return schema;
}

/* /sentinai/<database>/<tenant> */
static const char *
put_source(SnRecordMaker *maker, const SnRecordEvent *event)
{
	const char *source = sn_keep_text(maker, maker->source,
								   strlen(maker->source));

	maker->text_used--;
	put_escaped(maker, event->tenant_id);
	return source;
}

/* Makes the date of a day since 1970; false outside the years 0 to 9999. */
static bool
set_date(SnRecordMaker *maker, int64_t day)
{
	time_t		seconds = (time_t) (day * DAY_SECONDS);
	struct tm	tm;

	if (gmtime_r(&seconds, &tm) == NULL || tm.tm_year < -1900 ||
		tm.tm_year > 9999 - 1900)
		return false;
	snprintf(maker->date, sizeof(maker->date), "%04u-%02u-%02uT",
			 (unsigned) (tm.tm_year + 1900) % 10000,
			 (unsigned) (tm.tm_mon + 1) % 100, (unsigned) tm.tm_mday % 100);
	maker->day = day;
	return true;
}

/* Writes the last digits of a number, with zeros in front. */
static char *
put_digits(char *out, unsigned value, int digits)
{
	int			i;

	for (i = digits - 1; i >= 0; i--, value /= 10)
		out[i] = '0' + value % 10;
	return out + digits;
}

/* RFC 3339 in UTC with milliseconds; NULL outside the years 0 to 9999. */
static const char *
keep_time(SnRecordMaker *maker, int64_t occurred_us)
{
	char		text[32];
	char	   *p;
	int64_t		day = occurred_us / DAY_US;
	unsigned	ms;

	if (day * DAY_US > occurred_us)
		day--;
	if (day != maker->day && !set_date(maker, day))
		return NULL;
	ms = (unsigned) ((occurred_us - day * DAY_US) / 1000);
	p = text + strlen(strcpy(text, maker->date));
	p = put_digits(p, ms / 3600000, 2);
	*p++ = ':';
	p = put_digits(p, ms / 60000 % 60, 2);
	*p++ = ':';
	p = put_digits(p, ms / 1000 % 60, 2);
	*p++ = '.';
	p = put_digits(p, ms % 1000, 3);
	*p++ = 'Z';
	return sn_keep_text(maker, text, p - text);
}

/* Is it a UUID as the server writes one?  Metadata can hold anything. */
static bool
is_uuid_text(const char *text)
{
	int			i;

	if (sn_text_len(text) != 36)
		return false;
	for (i = 0; i < 36; i++)
	{
		if (i == 8 || i == 13 || i == 18 || i == 23 ? text[i] != '-' :
			strchr("0123456789abcdef", text[i]) == NULL)
			return false;
	}
	return true;
}

/* Headers of the cloudevents format. */
static void
put_cloudevents(SnRecordMaker *maker, const SnRecordEvent *event,
				const SnRecord *record)
{
	add_header(maker, "ce_specversion", "1.0");
	add_header(maker, "ce_id", id_about(event));
	add_header(maker, "ce_source", put_source(maker, event));
	add_header(maker, "ce_type", event->event_type);
	add_header(maker, "ce_time", keep_time(maker, event->occurred_us));
	add_header(maker, "ce_subject", event->aggregate_id);
	add_header(maker, "ce_tenantid", event->tenant_id);
	add_header(maker, "ce_correlationid", event->correlation_id);
	add_header(maker, "ce_causationid", event->causation_id);
	add_header(maker, "ce_dataschema", put_schema(maker, event));
	add_header(maker, "ce_partitionkey", record->key);
	if (record->value != NULL ||
		(event->payload == NULL && !event->tombstone))
		add_header(maker, "content-type", "application/json");
}

/*
 * Headers of the trace, in every format.  Those of cloudevents are twice there:
 * the ones that every tracer looks for, and the extension of CloudEvents, which
 * holds what the event began with whoever changes the others on the way.
 */
static void
put_trace(SnRecordMaker *maker, SnRecordFormat format,
		  const SnRecordEvent *event)
{
	bool		twice = format == SN_RECORD_CLOUDEVENTS ||
	format == SN_RECORD_STRUCTURED;

	if (!sn_is_traceparent(event->traceparent))
		return;
	add_header(maker, "traceparent", event->traceparent);
	if (twice)
		add_header(maker, "ce_traceparent", event->traceparent);
	if (!sn_is_tracestate(event->tracestate))
		return;
	add_header(maker, "tracestate", event->tracestate);
	if (twice)
		add_header(maker, "ce_tracestate", event->tracestate);
}

/* Headers of the record, whose key is made. */
void
sn_put_headers(SnRecordMaker *maker, SnRecordFormat format,
			const SnRecordEvent *event, const SnRecord *record)
{
	switch (format)
	{
		case SN_RECORD_STRUCTURED:
			add_header(maker, "event_id", id_about(event));
			/* FALLTHROUGH */
		case SN_RECORD_CLOUDEVENTS:
			put_cloudevents(maker, event, record);
			break;
		case SN_RECORD_DEBEZIUM:
			add_header(maker, "id", is_uuid_text(event->outbox_id) ?
					   event->outbox_id : id_about(event));
			add_header(maker, "eventType", event->event_type);
			add_header(maker, "event_id", id_about(event));
			break;
		case SN_RECORD_RAW:
			add_header(maker, "event_id", id_about(event));
			break;
	}
	put_trace(maker, format, event);
}

/* Adds the headers that the rules name; false when one would be too long. */
bool
sn_put_rules(SnRecordMaker *maker, const SnRecordEvent *event, char *err,
			 size_t err_len)
{
	const SnRecordRules *rules = maker->rules;
	int			i;

	for (i = 0; i < rules->headers.n; i++)
		add_header(maker, rules->headers.items[i].name,
				   rules->headers.items[i].value);
	for (i = 0; i < rules->metadata.n; i++)
	{
		const char *value = sn_record_rules_value(event, i);

		if (value != NULL && strlen(value) > SN_RULES_MAX_VALUE)
		{
			snprintf(err, err_len, "a value of the metadata is longer than %d bytes",
					 SN_RULES_MAX_VALUE);
			return false;
		}
		if (rules->metadata.items[i].value != NULL)
			add_header(maker, rules->metadata.items[i].value, value);
	}
	return true;
}

/* Adds bytes to the text that is being made. */
static void
put_value(SnRecordMaker *maker, const char *bytes, size_t len)
{
	memcpy(maker->text + maker->text_used, bytes, len);
	maker->text_used += len;
}

/* Adds a string of JSON to the text that is being made. */
static void
put_value_string(SnRecordMaker *maker, const char *value, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	size_t		i;

	put_value(maker, "\"", 1);
	for (i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) value[i];
		char		escaped[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

		if (c == '"' || c == '\\')
			put_value(maker, "\\", 1);
		if (c < ' ')
			put_value(maker, escaped, sizeof(escaped));
		else
			put_value(maker, value + i, 1);
	}
	put_value(maker, "\"", 1);
}

/*
 * Makes the value of CloudEvents' structured mode out of the headers of the
 * binary one, which are gone then.  What has no payload keeps them.
 */
void
sn_put_envelope(SnRecordMaker *maker, const SnRecordEvent *event,
			 SnRecord *record)
{
	char	   *value = maker->text + maker->text_used;
	int			kept = 0;
	int			i;

	if (record->value == NULL)
		return;
	put_value(maker, "{", 1);
	for (i = 0; i < maker->nheaders; i++)
	{
		SnRecordHeader header = maker->headers[i];

		if (strncmp(header.name, "ce_", 3) == 0)
		{
			put_value_string(maker, header.name + 3, strlen(header.name + 3));
			put_value(maker, ":", 1);
			put_value_string(maker, header.value, header.value_len);
			put_value(maker, ",", 1);
			continue;
		}
		if (strcmp(header.name, "content-type") == 0)
		{
			header.value = STRUCTURED_TYPE;
			header.value_len = strlen(STRUCTURED_TYPE);
		}
		maker->headers[kept++] = header;
	}
	maker->nheaders = kept;
	put_value(maker, "\"datacontenttype\":\"application/json\",\"data\":", 44);
	put_value(maker, event->payload, event->payload_len);
	put_value(maker, "}", 1);
	record->value = value;
	record->value_len = maker->text + maker->text_used - value;
}

/* Adds a header that Spring reads as a Java long. */
static void
add_long(SnRecordMaker *maker, const char *name, int64_t value)
{
	char		bytes[8];
	int			i;

	for (i = 0; i < 8; i++)
		bytes[i] = (char) ((uint64_t) value >> (56 - 8 * i));
	add_header(maker, name, "");
	maker->headers[maker->nheaders - 1].value =
		sn_keep_text(maker, bytes, sizeof(bytes));
	maker->headers[maker->nheaders - 1].value_len = sizeof(bytes);
}

/*
 * What the broker had against a refused event, under the names that Kafka
 * Connect and Spring for Kafka have in their dead letter topics, or one of them.
 * It was never in a topic, so it has neither partition nor offset.
 */
void
sn_put_refused(SnRecordMaker *maker, const SnRecordEvent *event)
{
	SnDeadHeaders names = maker->rules == NULL ? SN_DEAD_BOTH :
	maker->rules->dead_letter_headers;

	if (names != SN_DEAD_SPRING)
	{
		add_header(maker, "__connect.errors.topic", event->refused_topic);
		add_header(maker, "__connect.errors.connector.name", "sentinai");
		add_header(maker, "__connect.errors.stage", "TASK_PUT");
		add_header(maker, "__connect.errors.exception.class.name",
				   REFUSED_CLASS);
		add_header(maker, "__connect.errors.exception.message",
				   event->refused_error);
	}
	if (names != SN_DEAD_CONNECT)
	{
		add_header(maker, "kafka_dlt-original-topic", event->refused_topic);
		add_long(maker, "kafka_dlt-original-timestamp",
				 event->occurred_us / 1000);
		add_header(maker, "kafka_dlt-original-timestamp-type", "CreateTime");
		add_header(maker, "kafka_dlt-exception-fqcn", REFUSED_CLASS);
		add_header(maker, "kafka_dlt-exception-message", event->refused_error);
	}
	if (event->payload == NULL && !event->tombstone)
		add_header(maker, "sentinai_payload", "omitted");
}
