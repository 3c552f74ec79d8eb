/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_rabbitmq_message.c
 *		From a record to a message of AMQP: exchange, routing key, properties.
 *
 * Headers of CloudEvents get the names that its binding to AMQP has, with the
 * prefix "cloudEvents:" in place of Kafka's "ce_".  What AMQP has a property
 * for is there: content-type, message-id, type, timestamp.  Messages are
 * persistent.  The headers that Spring for Apache Kafka has in dead-letter topics
 * say nothing here, and are left out.
 */
#include "broker/rabbitmq/broker_rabbitmq.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"

#define KAFKA_PREFIX "ce_"
#define AMQP_PREFIX "cloudEvents:"
#define SPRING_PREFIX "kafka_dlt-"

/* Where a block is filled. */
typedef struct Filler
{
	char	   *next;
} Filler;

static size_t size_of_block(const SnRecord *record, const char *exchange,
							const char *routing_key);
static char *copy_bytes(Filler *filler, const void *bytes, size_t len);
static amqp_bytes_t put_header_value(Filler *filler,
									 const SnRecordHeader *header);
static void put_properties(Filler *filler, SnRabbitMessage *message,
						   const SnRecord *record, amqp_table_entry_t *entries);
static bool put_property(SnRabbitMessage *message, const char *name,
						 amqp_bytes_t value);
static amqp_bytes_t put_header_name(Filler *filler, const char *name);

/*
 * A copy of a record as a message; NULL and a message in err when it can never
 * be one.
 */
SnRabbitMessage *
sn_rabbit_message_make(const SnRabbitmqConf *conf, const SnRecord *record,
					   char *err, size_t err_len)
{
	char		exchange[SN_RABBITMQ_NAME_MAX + 1];
	char		routing_key[SN_RABBITMQ_NAME_MAX + 1];
	amqp_table_entry_t *entries;
	SnRabbitMessage *message;
	Filler		filler;

	if (record->value_len > conf->max_record)
	{
		snprintf(err, err_len, "message too large");
		return NULL;
	}
	if (!sn_rabbit_fill(conf->exchange, record->topic, record->key,
						record->key_len, exchange) ||
		!sn_rabbit_fill(conf->routing_key, record->topic, record->key,
						record->key_len, routing_key))
	{
		snprintf(err, err_len, "name of exchange or routing key is longer than "
				 "%d bytes", SN_RABBITMQ_NAME_MAX);
		return NULL;
	}
	message = calloc(1, size_of_block(record, exchange, routing_key));
	if (message == NULL)
	{
		snprintf(err, err_len, "out of memory");
		return NULL;
	}
	entries = (amqp_table_entry_t *) (message + 1);
	filler.next = (char *) (entries + record->nheaders);
	message->report.kind = SN_REPORT_RECORD;
	message->report.opaque = record->opaque;
	message->key = (uint32_t) sn_murmur2(record->key, record->key_len) % SN_RABBIT_KEYS;
	message->exchange = copy_bytes(&filler, exchange, strlen(exchange));
	message->routing_key = copy_bytes(&filler, routing_key,
									 strlen(routing_key));
	put_properties(&filler, message, record, entries);
	message->body.bytes = copy_bytes(&filler, record->value, record->value_len);
	message->body.len = record->value_len;
	return message;
}

/*
 * Fills a template with a topic and a key, into SN_RABBITMQ_NAME_MAX + 1 bytes.
 * False when it becomes longer.
 */
bool
sn_rabbit_fill(const char *name_template, const char *topic, const void *key,
			   size_t key_len, char *out)
{
	size_t		used = 0;
	const char *p = name_template;

	while (*p != '\0')
	{
		const char *piece = p;
		size_t		len = 1;
		size_t		skip = 1;

		if (strncmp(p, "{topic}", 7) == 0)
		{
			piece = topic;
			len = strlen(topic);
			skip = 7;
		}
		else if (strncmp(p, "{key}", 5) == 0)
		{
			piece = key;
			len = key_len;
			skip = 5;
		}
		if (used + len > SN_RABBITMQ_NAME_MAX)
			return false;
		memcpy(out + used, piece, len);
		used += len;
		p += skip;
	}
	out[used] = '\0';
	return true;
}

/* Bytes for the message and all that it points to. */
static size_t
size_of_block(const SnRecord *record, const char *exchange,
			  const char *routing_key)
{
	size_t		size = sizeof(SnRabbitMessage) +
		record->nheaders * sizeof(amqp_table_entry_t) +
		strlen(exchange) + strlen(routing_key) + 2 +
		record->value_len + 1;
	int			i;

	for (i = 0; i < record->nheaders; i++)
		size += strlen(record->headers[i].name) + sizeof(AMQP_PREFIX) +
			record->headers[i].value_len + 1;
	return size;
}

/* Copies bytes and a NUL. */
static char *
copy_bytes(Filler *filler, const void *bytes, size_t len)
{
	char	   *result = filler->next;

	if (len > 0)
		memcpy(result, bytes, len);
	result[len] = '\0';
	filler->next += len + 1;
	return result;
}

static amqp_bytes_t
put_header_value(Filler *filler, const SnRecordHeader *header)
{
	amqp_bytes_t result;

	result.len = header->value_len;
	result.bytes = copy_bytes(filler, header->value, header->value_len);
	return result;
}

/* The name of a header as AMQP's binding has it. */
static amqp_bytes_t
put_header_name(Filler *filler, const char *name)
{
	amqp_bytes_t result;
	size_t		prefix = sizeof(KAFKA_PREFIX) - 1;

	if (strncmp(name, KAFKA_PREFIX, prefix) != 0)
	{
		result.len = strlen(name);
		result.bytes = copy_bytes(filler, name, result.len);
		return result;
	}
	result.bytes = filler->next;
	filler->next += sizeof(AMQP_PREFIX) - 1;
	memcpy(result.bytes, AMQP_PREFIX, sizeof(AMQP_PREFIX) - 1);
	copy_bytes(filler, name + prefix, strlen(name + prefix));
	result.len = strlen(result.bytes);
	return result;
}

/* Properties and headers. */
static void
put_properties(Filler *filler, SnRabbitMessage *message,
			   const SnRecord *record, amqp_table_entry_t *entries)
{
	amqp_basic_properties_t *properties = &message->properties;
	int			n = 0;
	int			i;

	properties->delivery_mode = AMQP_DELIVERY_PERSISTENT;
	properties->timestamp = record->timestamp_ms > 0 ?
		(uint64_t) record->timestamp_ms / 1000 : (uint64_t) time(NULL);
	properties->_flags = AMQP_BASIC_DELIVERY_MODE_FLAG |
		AMQP_BASIC_TIMESTAMP_FLAG;
	for (i = 0; i < record->nheaders; i++)
	{
		const SnRecordHeader *header = &record->headers[i];
		amqp_bytes_t value = put_header_value(filler, header);

		if (strncmp(header->name, SPRING_PREFIX, sizeof(SPRING_PREFIX) - 1) == 0)
			continue;
		if (put_property(message, header->name, value))
			continue;
		entries[n].key = put_header_name(filler, header->name);
		entries[n].value.kind = AMQP_FIELD_KIND_UTF8;
		entries[n].value.value.bytes = value;
		n++;
	}
	properties->headers.num_entries = n;
	properties->headers.entries = entries;
	properties->_flags |= AMQP_BASIC_HEADERS_FLAG;
}

/*
 * Sets the property that a header is; true when it is nothing else, so that no
 * header is needed.
 */
static bool
put_property(SnRabbitMessage *message, const char *name, amqp_bytes_t value)
{
	amqp_basic_properties_t *properties = &message->properties;

	if (value.len > SN_RABBITMQ_NAME_MAX)
		return false;
	if (strcmp(name, "content-type") == 0)
	{
		properties->content_type = value;
		properties->_flags |= AMQP_BASIC_CONTENT_TYPE_FLAG;
		return true;
	}
	if (strcmp(name, "ce_id") == 0 || strcmp(name, "event_id") == 0)
	{
		properties->message_id = value;
		properties->_flags |= AMQP_BASIC_MESSAGE_ID_FLAG;
	}
	else if (strcmp(name, "ce_type") == 0 || strcmp(name, "eventType") == 0)
	{
		properties->type = value;
		properties->_flags |= AMQP_BASIC_TYPE_FLAG;
	}
	return false;
}
