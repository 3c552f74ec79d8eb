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
 *		cloudevents_structured
 *						event_id, content-type; traceparent, tracestate.  What
 *						cloudevents has as ce_... is in the value, a JSON object
 *						with the payload as its member data
 *
 * The debezium format's id is the one of the row that the application put into
 * its outbox, as there, if it gave one; eventType is what Debezium's examples
 * make of the column type.
 *
 * A relay's own rules (record_rules.c) can add headers, give another key or
 * topic, and leave the value out.
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
#include "relay/record_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/control_type.h"

#define ENVELOPE_SIZE 512		/* names and marks of the JSON object */
#define EXTENSION_SIZE 32		/* of an attribute's name in it */
#define ESCAPED_MAX 6			/* bytes of JSON for one of a string */
#define TEXT_KEPT (1024 * 1024)	/* of the maker's text, once it is free */

static bool make_topic(SnRecordMaker *maker, const SnRecordEvent *event,
					   char *err, size_t err_len);
static bool reserve_text(SnRecordMaker *maker, SnRecordFormat format,
						 const SnRecordEvent *event);
static bool is_same(const char *one, const char *other);
static void put_key(SnRecordMaker *maker, SnRecordFormat format,
					const SnRecordEvent *event, SnRecord *record);

/* May these be the topics?  No event goes to the topic of others. */
static bool
check_topics(const char *topic_template, const char *control, const char *dead,
			 char *err, size_t err_len)
{
	if (!sn_record_check_template(topic_template, err, err_len) ||
		(control != NULL && !sn_record_check_topic(control, err, err_len)) ||
		(dead != NULL && !sn_record_check_topic(dead, err, err_len)))
		return false;
	if (!is_same(topic_template, control) && !is_same(topic_template, dead) &&
		!is_same(dead, control))
		return true;
	snprintf(err, err_len, "two of topic_template, control_topic and "
			 "dead_letter_topic are the same topic");
	return false;
}

/* Copies what a maker keeps of its options; false without memory. */
static bool
keep_options(SnRecordMaker *maker, const SnRecordOptions *options,
			 const char *topic_template, const char *control, const char *dead)
{
	size_t		used;

	maker->format = options->format;
	maker->occurred_timestamp = options->occurred_timestamp;
	maker->topic_template = strdup(topic_template);
	maker->control_topic = control == NULL ? NULL : strdup(control);
	maker->dead_letter_topic = dead == NULL ? NULL : strdup(dead);
	maker->source = malloc(strlen(options->database) * 3 + 16);
	if (maker->topic_template == NULL || maker->source == NULL ||
		(control != NULL && maker->control_topic == NULL) ||
		(dead != NULL && maker->dead_letter_topic == NULL))
		return false;
	if (strchr(topic_template, '{') == NULL &&
		(maker->rules == NULL || maker->rules->topics.n == 0))
	{
		strcpy(maker->topic, topic_template);
		maker->one_topic = true;
	}
	maker->day = INT64_MIN;
	used = sprintf(maker->source, "/sentinai/");
	used += sn_escape_uri(maker->source + used, options->database);
	strcpy(maker->source + used, "/");
	return true;
}

/* A maker; NULL and a message when it cannot be made. */
SnRecordMaker *
sn_record_open(const SnRecordOptions *options, char *err, size_t err_len)
{
	const char *topic_template = options->topic_template;
	const char *control = options->control_topic;
	const char *dead = options->dead_letter_topic;
	SnRecordMaker *maker;

	if (topic_template == NULL || *topic_template == '\0')
		topic_template = sn_record_default_topic(options->format);
	if (control != NULL && *control == '\0')
		control = NULL;
	if (dead != NULL && *dead == '\0')
		dead = NULL;
	if (!check_topics(topic_template, control, dead, err, err_len))
		return NULL;
	snprintf(err, err_len, "out of memory");
	maker = calloc(1, sizeof(SnRecordMaker));
	if (maker == NULL)
		return NULL;
	if (options->rules != NULL && *options->rules != '\0')
		maker->rules = sn_record_rules_parse(options->rules, err, err_len);
	if ((options->rules == NULL || *options->rules == '\0' ||
		 maker->rules != NULL) &&
		keep_options(maker, options, topic_template, control, dead))
		return maker;
	sn_record_close(maker);
	return NULL;
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

	used += sn_escape_uri(out + used, event_type);
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
	bool		by_rules = maker->rules != NULL && !control;
	SnRecordFormat format = control ? SN_RECORD_CLOUDEVENTS : maker->format;

	maker->nheaders = 0;
	maker->text_used = 0;
	if (!control && !refused && !maker->one_topic &&
		!make_topic(maker, event, err, err_len))
		return false;
	if (!reserve_text(maker, format, event))
	{
		snprintf(err, err_len, "out of memory");
		return false;
	}
	memset(record, 0, sizeof(*record));
	record->topic = refused ? maker->dead_letter_topic :
		control ? maker->control_topic : maker->topic;
	put_key(maker, format, event, record);
	if (!by_rules || !sn_record_rules_tombstone(maker->rules, event->event_type))
	{
		record->value = event->payload;
		record->value_len = event->payload_len;
	}
	record->timestamp_ms = maker->occurred_timestamp ?
		event->occurred_us / 1000 : 0;
	record->opaque = event->opaque;
	sn_put_headers(maker, format, event, record);
	if (by_rules && !sn_put_rules(maker, event, err, err_len))
		return false;
	if (format == SN_RECORD_STRUCTURED)
		sn_put_envelope(maker, event, record);
	if (refused)
		sn_put_refused(maker, event);
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
	sn_record_rules_free(maker->rules);
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
	const char *by_type = maker->rules == NULL ? NULL :
		sn_record_rules_topic(maker->rules, event->event_type);

	if (!sn_record_fill_template(by_type != NULL ? by_type :
								 maker->topic_template, event, maker->topic,
								 err, err_len))
		return false;
	if (is_same(maker->topic, maker->control_topic) ||
		is_same(maker->topic, maker->dead_letter_topic))
	{
		snprintf(err, err_len, "topic name cannot be that of %s",
				 is_same(maker->topic, maker->control_topic) ?
				 "sentinai.control_topic" : maker->rules != NULL ?
				 "dead.letter.topic" : "sentinai.dead_letter_topic");
		return false;
	}
	return true;
}

/* Bytes of the JSON object for an event whose other texts need so much. */
static size_t
envelope_size(const SnRecordEvent *event, size_t need)
{
	return event->payload_len + ENVELOPE_SIZE + ESCAPED_MAX *
		(need + sn_text_len(event->correlation_id) +
		 sn_text_len(event->causation_id) + sn_text_len(event->traceparent) +
		 sn_text_len(event->tracestate));
}

/* Bytes of the key and the headers that the rules make. */
static size_t
rules_size(const SnRecordRules *rules, const SnRecordEvent *event)
{
	size_t		need = event->metadata_len;
	size_t		key;
	int			i;

	if (rules->key != NULL && sn_record_rules_key(rules, event, NULL, &key))
		need += key + 1;
	for (i = 0; i < rules->headers.n; i++)
		need += strlen(rules->headers.items[i].value) + EXTENSION_SIZE;
	return need + rules->metadata.n * EXTENSION_SIZE;
}

/* Makes room for all text of the record, so that no pointer moves later. */
static bool
reserve_text(SnRecordMaker *maker, SnRecordFormat format,
			 const SnRecordEvent *event)
{
	size_t		tenant = sn_text_len(event->tenant_id);
	size_t		need;
	char	   *text;

	/* key twice (with NUL), source, schema, time, numbers */
	need = 2 * (tenant + sn_text_len(event->aggregate_id) + 2) +
		strlen(maker->source) + 3 * tenant +
		3 * sn_text_len(event->event_type) + 256;
	if (maker->rules != NULL)
		need += rules_size(maker->rules, event);
	if (format == SN_RECORD_STRUCTURED)
		need += envelope_size(event, need);
	if (need <= maker->text_size &&
		(maker->text_size <= TEXT_KEPT || need > TEXT_KEPT / 2))
		return true;
	free(maker->text);			/* nothing of it is used any more */
	maker->text_size = need > TEXT_KEPT / 2 ? need : need * 2;
	text = maker->text = malloc(maker->text_size);
	if (text == NULL)
		maker->text_size = 0;
	return text != NULL;
}

/* Keeps a copy of some text, with a NUL behind it. */
const char *
sn_keep_text(SnRecordMaker *maker, const char *text, size_t len)
{
	char	   *copy = maker->text + maker->text_used;

	memcpy(copy, text, len);
	copy[len] = '\0';
	maker->text_used += len + 1;
	return copy;
}

/* Key of the record. */
static void
put_key(SnRecordMaker *maker, SnRecordFormat format,
		const SnRecordEvent *event, SnRecord *record)
{
	const char *key;
	size_t		len;

	if (maker->rules != NULL && maker->rules->key != NULL &&
		(record->topic != maker->control_topic) &&
		sn_record_rules_key(maker->rules, event,
							maker->text + maker->text_used, &len))
	{
		record->key = maker->text + maker->text_used;
		maker->text[maker->text_used + len] = '\0';
		record->key_len = len;
		maker->text_used += len + 1;
		return;
	}
	if (event->aggregate_id == NULL)
		key = event->tenant_id;
	else if (format == SN_RECORD_DEBEZIUM)
		key = event->aggregate_id;
	else
	{
		key = sn_keep_text(maker, event->tenant_id, strlen(event->tenant_id));
		maker->text[maker->text_used - 1] = ':';
		sn_keep_text(maker, event->aggregate_id, strlen(event->aggregate_id));
	}
	record->key = key;
	record->key_len = strlen(key);
}

/*
 * Writes text as a part of a URI: all but RFC 3986's unreserved characters
 * as %XX.  Returns the length; out needs three bytes per byte, and a NUL.
 */
size_t
sn_escape_uri(char *out, const char *text)
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
