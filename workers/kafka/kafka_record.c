/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_record.c
 *	  Records of Kafka as events.
 *
 * Only the relay's format "cloudevents" says all that a handler needs, in
 * headers (docs/kafka.md); here is the one place that reads them.  The value
 * is handed on as text: whether it is JSON the database finds out, record by
 * record, so that one that is not stops no other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event.h"
#include "kafka_record.h"

/* Headers, and what they are of an event. */
static const struct
{
	const char *header;
	EventMember member;
	bool		required;
}			mapping[] = {
	{"ce_id", EVENT_ID, true},
	{"ce_type", EVENT_TYPE, true},
	{"ce_tenantid", EVENT_TENANT_ID, true},
	{"ce_subject", EVENT_AGGREGATE_ID, false},
	{"ce_correlationid", EVENT_CORRELATION_ID, false},
	{"ce_causationid", EVENT_CAUSATION_ID, false},
	{"ce_time", EVENT_OCCURRED_AT, false},
	{"traceparent", EVENT_TRACEPARENT, false},
	{"tracestate", EVENT_TRACESTATE, false}
};

#define HEADERS (sizeof(mapping) / sizeof(mapping[0]))

/* Bytes of a record. */
typedef struct Bytes
{
	const void *start;			/* NULL: there are none */
	size_t		length;
} Bytes;

/* Finds the headers; false when one is missing. */
static bool
find_headers(rd_kafka_message_t *message, Bytes *values)
{
	rd_kafka_headers_t *headers;
	size_t		i;

	if (rd_kafka_message_headers(message, &headers) !=
		RD_KAFKA_RESP_ERR_NO_ERROR)
		return false;
	for (i = 0; i < HEADERS; i++)
		if (rd_kafka_header_get_last(headers, mapping[i].header,
									 &values[i].start, &values[i].length) !=
			RD_KAFKA_RESP_ERR_NO_ERROR)
		{
			values[i] = (Bytes) {NULL, 0};
			if (mapping[i].required)
				return false;
		}
	return true;
}

/* Copies bytes as a string to a place, which moves; NULL: they are no text. */
static const char *
copy_text(char **place, const Bytes *bytes)
{
	char	   *copy = *place;

	if (bytes->start == NULL ||
		memchr(bytes->start, '\0', bytes->length) != NULL)
		return NULL;
	memcpy(copy, bytes->start, bytes->length);
	copy[bytes->length] = '\0';
	*place += bytes->length + 1;
	return text_is_utf8(copy) ? copy : NULL;
}

/* Fills in an event, with its strings at a place; false: some are no text. */
static bool
fill_event(AgentEvent *event, const Bytes *values, const Bytes *payload,
		   char *place)
{
	size_t		i;

	for (i = 0; i < HEADERS; i++)
	{
		const char *value = copy_text(&place, &values[i]);

		if (value == NULL && values[i].start != NULL)
			return false;
		event_set(event, mapping[i].member, value);
	}
	event_set(event, EVENT_PAYLOAD, copy_text(&place, payload));
	event->attempt = 1;
	return event->payload != NULL;
}

/*
 * Reads a record.  False when it is none of ours: a tombstone, no CloudEvents,
 * or no text.  NULL when there is no memory.
 */
bool
kafka_record_read(KafkaRecord **record, rd_kafka_message_t *message)
{
	Bytes		values[HEADERS];
	Bytes		payload = {message->payload, message->len};
	size_t		length = sizeof(KafkaRecord) + payload.length + 1;
	size_t		i;

	*record = NULL;
	if (!find_headers(message, values))
		return false;
	for (i = 0; i < HEADERS; i++)
		length += values[i].length + 1;
	*record = calloc(1, length);
	if (*record == NULL)
		return true;
	(*record)->offset = message->offset;
	if (fill_event(&(*record)->event, values, &payload, (char *) (*record + 1)))
		return true;
	kafka_record_free(*record);
	return false;
}

/* Frees a record, which may be NULL. */
void
kafka_record_free(KafkaRecord *record)
{
	if (record != NULL)
		free(record->result);
	free(record);
}

/* Appends a record as a JSON object. */
void
kafka_record_add(Text *text, const KafkaRecord *record)
{
	char		offset[32];
	size_t		i;

	text_add(text, "{");
	for (i = 0; i < HEADERS; i++)
		event_add(text, &record->event, mapping[i].member);
	text_add_json_member(text, "value", record->event.payload, false);
	snprintf(offset, sizeof(offset), "%lld", (long long) record->offset);
	text_add_json_member(text, "offset", offset, true);
	event_add_attempt(text, &record->event);
	if (record->result != NULL)
		text_add_json_member(text, "result", record->result, true);
	text_add(text, "}");
}

/* An attempt has failed: the next one begins anew. */
void
kafka_record_again(KafkaRecord *record)
{
	record->event.attempt++;
	record->prepared = false;
	free(record->result);
	record->result = NULL;
}
