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

#include "kafka_record.h"

/* Headers, and what sentinai_platform.handle_records() calls them. */
static const struct
{
	const char *header;
	const char *member;
	bool		required;
}			mapping[] = {
	{"ce_id", "event_id", true},
	{"ce_type", "event_type", true},
	{"ce_tenantid", "tenant_id", true},
	{"ce_subject", "aggregate_id", false},
	{"ce_correlationid", "correlation_id", false},
	{"ce_causationid", "causation_id", false},
	{"ce_time", "occurred_at", false},
	{"traceparent", "traceparent", false},
	{"tracestate", "tracestate", false}
};

/* Adds bytes as a member; false when they are no text. */
static bool
add_text_member(Text *text, const char *name, const void *bytes, size_t length)
{
	char	   *string;
	bool		is_text;

	if (bytes == NULL || memchr(bytes, '\0', length) != NULL)
		return false;
	string = strndup(bytes, length);
	if (string == NULL)
	{
		text->failed = true;
		return true;
	}
	is_text = text_is_utf8(string);
	if (is_text)
		text_add_json_member(text, name, string, false);
	free(string);
	return is_text;
}

/* Adds the headers; false when one is missing or wrong. */
static bool
add_headers(Text *text, const rd_kafka_headers_t *headers)
{
	size_t		i;

	for (i = 0; i < sizeof(mapping) / sizeof(mapping[0]); i++)
	{
		const void *value;
		size_t		length;
		bool		found = rd_kafka_header_get_last(headers, mapping[i].header,
													 &value, &length) ==
			RD_KAFKA_RESP_ERR_NO_ERROR;

		if (found ? !add_text_member(text, mapping[i].member, value, length) :
			mapping[i].required)
			return false;
	}
	return true;
}

/*
 * Reads a record.  False when it is none of ours: a tombstone, no CloudEvents,
 * or no text.  `members` is NULL when there is no memory.
 */
bool
kafka_record_read(KafkaRecord *record, rd_kafka_message_t *message)
{
	rd_kafka_headers_t *headers;
	Text		text = {0};

	if (rd_kafka_message_headers(message, &headers) !=
		RD_KAFKA_RESP_ERR_NO_ERROR ||
		!add_headers(&text, headers) ||
		!add_text_member(&text, "value", message->payload, message->len))
	{
		text_free(&text);
		return false;
	}
	if (text.failed)
		text_free(&text);
	record->offset = message->offset;
	record->attempt = 1;
	record->members = text.data;
	return true;
}

/* Frees what a record holds. */
void
kafka_record_free(KafkaRecord *record)
{
	free(record->members);
	record->members = NULL;
}

/* Appends a record as a JSON object. */
void
kafka_record_add(Text *text, const KafkaRecord *record)
{
	char		number[32];

	text_add(text, "{");
	text_add(text, record->members);
	snprintf(number, sizeof(number), "%lld", (long long) record->offset);
	text_add_json_member(text, "offset", number, true);
	snprintf(number, sizeof(number), "%d", record->attempt);
	text_add_json_member(text, "attempt", number, true);
	text_add(text, "}");
}
