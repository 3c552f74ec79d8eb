/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * record.c
 *		From an event to the record a broker gets: topic, key, headers, value.
 *		How a topic gets its name stands in record_topic.c.
 *
 * Control events, which the extension publishes about others, are not for the
 * consumers of those.  They go to a topic of their own, if one is named, and
 * no other event goes there; always as cloudevents, which tell their type.
 *
 * An event that the broker has refused goes to another topic, if one is named:
 * as it would have been sent, with headers that say what was wrong.
 *
 * Key: tenant ':' aggregate, or the tenant alone, as the extension hashes it;
 * its murmur2 hash is the partition.  The debezium format has the aggregate id
 * there, as Debezium's outbox router has (the tenant for an event without
 * one, so that those keep their order too).
 *
 * Headers by format (the event id is always one of them):
 *
 *		cloudevents		CloudEvents 1.0, binary mode: ce_specversion, ce_id,
 *						ce_source, ce_type, ce_time, ce_subject, ce_tenantid,
 *						ce_correlationid, ce_causationid, ce_dataschema,
 *						ce_partitionkey, content-type;
 *						traceparent, tracestate and the same as ce_...
 *		debezium		id, eventType, event_id; traceparent, tracestate
 *		raw				event_id; traceparent, tracestate
 *
 * The debezium format's id is the one of the row that the application put into
 * its outbox, as there, if it gave one; eventType is what Debezium's examples
 * make of the column type.
 *
 * What the event does not have gives no header; neither does a traceparent
 * that is not one (its tracestate goes with it), nor such a tracestate.  The
 * value is the payload as it is; it is not copied, so it must live until the
 * record has been sent.
 *
 * Timestamp: the time of sending.  A broker counts the retention of a topic
 * from it, so that a record with the time its event occurred may be deleted as
 * soon as it arrives; that time is in ce_time.  It is the timestamp as well if
 * the maker was told so.
 *
 * Invariants: the record and its strings belong to the maker and to the event
 * and hold until the next record; messages contain no payload and no text
 * given by a publisher.
 */
#include "relay/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/control_type.h"
#include "base/trace_context.h"

#define MAX_HEADERS 28			/* cloudevents have 16 with a trace; and refused
								 * events a dozen more */
#define REFUSED_CLASS "sentinai.RecordRefused"

#define DAY_SECONDS INT64_C(86400)
#define DAY_US (DAY_SECONDS * 1000000)

struct SnRecordMaker
{
	SnRecordFormat format;
	bool		occurred_timestamp;
	char	   *topic_template;
	char	   *control_topic;	/* NULL: control events are not sent */
	char	   *dead_letter_topic;	/* NULL: refused events go nowhere */
	char	   *source;			/* "/sentinai/<database>/", escaped */
	char		topic[SN_RECORD_MAX_TOPIC + 1];
	bool		one_topic;		/* the template has no placeholder: made once */
	SnRecordHeader headers[MAX_HEADERS];
	int			nheaders;
	int64_t		day;			/* since 1970, the one of date */
	char		date[16];		/* "2025-01-31T" */

	/* Text made for the current record.  Sized before anything is put in. */
	char	   *text;
	size_t		text_size;
	size_t		text_used;
};

static bool make_topic(SnRecordMaker *maker, const SnRecordEvent *event,
					   char *err, size_t err_len);
static bool reserve_text(SnRecordMaker *maker, const SnRecordEvent *event);
static const char *keep_text(SnRecordMaker *maker, const char *text,
							 size_t len);
static bool is_same(const char *one, const char *other);
static const char *id_about(const SnRecordEvent *event);
static void put_refused(SnRecordMaker *maker, const SnRecordEvent *event);
static const char *put_escaped(SnRecordMaker *maker, const char *text);
static void put_key(SnRecordMaker *maker, SnRecordFormat format,
					const SnRecordEvent *event, SnRecord *record);
static void put_headers(SnRecordMaker *maker, SnRecordFormat format,
						const SnRecordEvent *event, const SnRecord *record);
static bool is_uuid_text(const char *text);
static void put_cloudevents(SnRecordMaker *maker,
							const SnRecordEvent *event,
							const SnRecord *record);
static void put_trace(SnRecordMaker *maker, SnRecordFormat format,
					  const SnRecordEvent *event);
static const char *put_schema(SnRecordMaker *maker,
							  const SnRecordEvent *event);
static const char *put_source(SnRecordMaker *maker,
							  const SnRecordEvent *event);
static bool set_date(SnRecordMaker *maker, int64_t day);
static char *put_digits(char *out, unsigned value, int digits);
static const char *keep_time(SnRecordMaker *maker, int64_t occurred_us);
static void add_header(SnRecordMaker *maker, const char *name,
					   const char *value);
static size_t escape_into(char *out, const char *text);
static size_t text_len(const char *text);

/* A maker; NULL and a message when it cannot be made. */
SnRecordMaker *
sn_record_open(const SnRecordOptions *options, char *err, size_t err_len)
{
	const char *topic_template = options->topic_template;
	const char *control = options->control_topic;
	const char *dead = options->dead_letter_topic;
	SnRecordMaker *maker;
	size_t		used;

	if (topic_template == NULL || *topic_template == '\0')
		topic_template = sn_record_default_topic(options->format);
	if (control != NULL && *control == '\0')
		control = NULL;
	if (dead != NULL && *dead == '\0')
		dead = NULL;
	if (!sn_record_check_template(topic_template, err, err_len) ||
		(control != NULL && !sn_record_check_topic(control, err, err_len)) ||
		(dead != NULL && !sn_record_check_topic(dead, err, err_len)))
		return NULL;
	if (is_same(topic_template, control) || is_same(topic_template, dead) ||
		is_same(dead, control))
	{
		snprintf(err, err_len, "two of topic_template, control_topic and "
				 "dead_letter_topic are the same topic");
		return NULL;
	}
	maker = calloc(1, sizeof(SnRecordMaker));
	if (maker != NULL)
	{
		maker->format = options->format;
		maker->occurred_timestamp = options->occurred_timestamp;
		maker->topic_template = strdup(topic_template);
		maker->control_topic = control == NULL ? NULL : strdup(control);
		maker->dead_letter_topic = dead == NULL ? NULL : strdup(dead);
		maker->source = malloc(strlen(options->database) * 3 + 16);
	}
	if (maker == NULL || maker->topic_template == NULL ||
		maker->source == NULL ||
		(control != NULL && maker->control_topic == NULL) ||
		(dead != NULL && maker->dead_letter_topic == NULL))
	{
		snprintf(err, err_len, "out of memory");
		sn_record_close(maker);
		return NULL;
	}
	if (strchr(topic_template, '{') == NULL)
	{
		strcpy(maker->topic, topic_template);
		maker->one_topic = true;
	}
	maker->day = INT64_MIN;
	used = sprintf(maker->source, "/sentinai/");
	used += escape_into(maker->source + used, options->database);
	strcpy(maker->source + used, "/");
	return maker;
}

/* The topic template that a format has unless one is set. */
const char *
sn_record_default_topic(SnRecordFormat format)
{
	return format == SN_RECORD_DEBEZIUM ? SN_RECORD_TOPIC_DEBEZIUM :
		SN_RECORD_TOPIC;
}

/*
 * Writes the name of a version's schema, which is that of ce_dataschema; out has
 * room for three bytes for each of the type's name, and 64 more.  Returns the
 * length.
 */
size_t
sn_record_schema(char *out, const char *event_type, int version)
{
	size_t		used = sprintf(out, "urn:sentinai:schema:");

	used += escape_into(out + used, event_type);
	return used + sprintf(out + used, ":%d", version);
}

/* Is this event to be sent at all?  One that could not be read may be. */
bool
sn_record_wanted(const SnRecordMaker *maker, const SnRecordEvent *event)
{
	if (event->unwanted)
		return false;
	if (event->refused_id != NULL)
		return maker->dead_letter_topic != NULL;
	if (event->event_type == NULL || !sn_is_control_name(event->event_type))
		return true;
	/* what is to be sent for it has gone, and DeadLettered tells of it */
	return maker->control_topic != NULL &&
		strcmp(event->event_type, SN_TYPE_RECORD_REFUSED) != 0;
}

/*
 * Makes the record of an event that is wanted.  False when no record can ever
 * be made of it (permanent), with the reason.
 */
bool
sn_record_make(SnRecordMaker *maker, const SnRecordEvent *event,
			   SnRecord *record, char *err, size_t err_len)
{
	bool		refused = event->refused_id != NULL;
	bool		control = !refused && sn_is_control_name(event->event_type);
	SnRecordFormat format = control ? SN_RECORD_CLOUDEVENTS : maker->format;

	maker->nheaders = 0;
	maker->text_used = 0;
	if (!control && !refused && !maker->one_topic &&
		!make_topic(maker, event, err, err_len))
		return false;
	if (!reserve_text(maker, event))
	{
		snprintf(err, err_len, "out of memory");
		return false;
	}
	memset(record, 0, sizeof(*record));
	record->topic = refused ? maker->dead_letter_topic :
		control ? maker->control_topic : maker->topic;
	put_key(maker, format, event, record);
	record->value = event->payload;
	record->value_len = event->payload_len;
	record->timestamp_ms = maker->occurred_timestamp ?
		event->occurred_us / 1000 : 0;
	record->opaque = event->opaque;
	put_headers(maker, format, event, record);
	if (refused)
		put_refused(maker, event);
	record->headers = maker->headers;
	record->nheaders = maker->nheaders;
	return true;
}

/* Frees a maker; NULL is fine. */
void
sn_record_close(SnRecordMaker *maker)
{
	if (maker == NULL)
		return;
	free(maker->topic_template);
	free(maker->control_topic);
	free(maker->dead_letter_topic);
	free(maker->source);
	free(maker->text);
	free(maker);
}

/* Are these the same topic?  NULL is none. */
static bool
is_same(const char *one, const char *other)
{
	return one != NULL && other != NULL && strcmp(one, other) == 0;
}

/* The topic of an event; never the one of control events or of refused ones. */
static bool
make_topic(SnRecordMaker *maker, const SnRecordEvent *event, char *err,
		   size_t err_len)
{
	if (!sn_record_fill_template(maker->topic_template, event, maker->topic,
								 err, err_len))
		return false;
	if (is_same(maker->topic, maker->control_topic) ||
		is_same(maker->topic, maker->dead_letter_topic))
	{
		snprintf(err, err_len, "topic name cannot be that of sentinai.%s",
				 is_same(maker->topic, maker->control_topic) ?
				 "control_topic" : "dead_letter_topic");
		return false;
	}
	return true;
}

/* Makes room for all text of the record, so that no pointer moves later. */
static bool
reserve_text(SnRecordMaker *maker, const SnRecordEvent *event)
{
	size_t		tenant = text_len(event->tenant_id);
	size_t		need;
	char	   *text;

	/* key twice (with NUL), source, schema, time, numbers */
	need = 2 * (tenant + text_len(event->aggregate_id) + 2) +
		strlen(maker->source) + 3 * tenant +
		3 * text_len(event->event_type) + 256;
	if (need <= maker->text_size)
		return true;
	text = realloc(maker->text, need * 2);
	if (text == NULL)
		return false;
	maker->text = text;
	maker->text_size = need * 2;
	return true;
}

/* Keeps a copy of some text, with a NUL behind it. */
static const char *
keep_text(SnRecordMaker *maker, const char *text, size_t len)
{
	char	   *copy = maker->text + maker->text_used;

	memcpy(copy, text, len);
	copy[len] = '\0';
	maker->text_used += len + 1;
	return copy;
}

/* Keeps a copy, escaped for a part of a URI. */
static const char *
put_escaped(SnRecordMaker *maker, const char *text)
{
	char	   *copy = maker->text + maker->text_used;

	maker->text_used += escape_into(copy, text) + 1;
	return copy;
}

/* Key of the record. */
static void
put_key(SnRecordMaker *maker, SnRecordFormat format,
		const SnRecordEvent *event, SnRecord *record)
{
	const char *key;

	if (event->aggregate_id == NULL)
		key = event->tenant_id;
	else if (format == SN_RECORD_DEBEZIUM)
		key = event->aggregate_id;
	else
	{
		key = keep_text(maker, event->tenant_id, strlen(event->tenant_id));
		maker->text[maker->text_used - 1] = ':';
		keep_text(maker, event->aggregate_id, strlen(event->aggregate_id));
	}
	record->key = key;
	record->key_len = strlen(key);
}

/* The id of the event that the record is about. */
static const char *
id_about(const SnRecordEvent *event)
{
	return event->refused_id != NULL ? event->refused_id : event->event_id;
}

/* Headers of the record, whose key is made. */
static void
put_headers(SnRecordMaker *maker, SnRecordFormat format,
			const SnRecordEvent *event, const SnRecord *record)
{
	switch (format)
	{
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

/* Is it a UUID as the server writes one?  Metadata can hold anything. */
static bool
is_uuid_text(const char *text)
{
	int			i;

	if (text_len(text) != 36)
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
	bool		twice = format == SN_RECORD_CLOUDEVENTS;

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
		keep_text(maker, bytes, sizeof(bytes));
	maker->headers[maker->nheaders - 1].value_len = sizeof(bytes);
}

/*
 * What the broker had against a refused event, under the names that Kafka
 * Connect and Spring for Kafka have in their dead letter topics.  It was never
 * in a topic, so it has neither partition nor offset.
 */
static void
put_refused(SnRecordMaker *maker, const SnRecordEvent *event)
{
	add_header(maker, "__connect.errors.topic", event->refused_topic);
	add_header(maker, "__connect.errors.connector.name", "sentinai");
	add_header(maker, "__connect.errors.stage", "TASK_PUT");
	add_header(maker, "__connect.errors.exception.class.name", REFUSED_CLASS);
	add_header(maker, "__connect.errors.exception.message",
			   event->refused_error);
	add_header(maker, "kafka_dlt-original-topic", event->refused_topic);
	add_long(maker, "kafka_dlt-original-timestamp", event->occurred_us / 1000);
	add_header(maker, "kafka_dlt-original-timestamp-type", "CreateTime");
	add_header(maker, "kafka_dlt-exception-fqcn", REFUSED_CLASS);
	add_header(maker, "kafka_dlt-exception-message", event->refused_error);
	if (event->payload == NULL)
		add_header(maker, "sentinai_payload", "omitted");
}

/* urn:sentinai:schema:<event type>:<version>, or NULL without a version. */
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
	const char *source = keep_text(maker, maker->source,
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
	return keep_text(maker, text, p - text);
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

/*
 * Writes text as a part of a URI: all but RFC 3986's unreserved characters
 * as %XX.  Returns the length; out needs three bytes per byte, and a NUL.
 */
static size_t
escape_into(char *out, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t		used = 0;

	for (; *text != '\0'; text++)
	{
		unsigned char c = (unsigned char) *text;

		if (sn_is_topic_char(*text) || c == '~')
			out[used++] = *text;
		else
		{
			out[used++] = '%';
			out[used++] = hex[c >> 4];
			out[used++] = hex[c & 15];
		}
	}
	out[used] = '\0';
	return used;
}

/* Length of a text that may be absent. */
static size_t
text_len(const char *text)
{
	return text == NULL ? 0 : strlen(text);
}
