/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_kafka_sent.c
 *		The records a producer has, and their headers, which are used again.
 *
 * librdkafka keeps each header in memory of its own, so a record of ten costs
 * a dozen allocations, which were a quarter of what a relay did for an event.
 * So the headers of a record that has its answer are taken back and wait for
 * one of the same shape, which is the number of headers and the lengths of
 * their values; then the values are written over.  That memory is a copy that
 * librdkafka made for us, and once detached from its message nobody else has
 * it.
 *
 * Each record has a place in a table, whose number librdkafka carries in place
 * of the host's opaque value, so that an answer leads to the headers without
 * looking at them.
 *
 * Invariants: a place is in use by a record that librdkafka has, or in the list
 * of its shape with headers that are ours, or in the list of the empty ones.
 * At most MAX_SPARE headers of at most MAX_SPARE_BYTES wait.
 */
#include "broker/kafka/broker_kafka.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SPARE 4096
#define MAX_SPARE_BYTES 2048
#define CACHE_LINE 64
#define NONE (-1)

static uint64_t shape_of(const SnRecord *record);
static bool write_over(SnSent *sent, const SnRecord *record);
static void fetch_ahead(const SnSentTable *table, int place);
static int	take_spare(SnSentTable *table, uint64_t shape);
static int	take_empty(SnSentTable *table);
static void build(SnSent *sent, const SnRecord *record, uint64_t shape);
static bool may_wait(const SnSentTable *table, int place);
static void put_spare(SnSentTable *table, int place);
static void put_empty(SnSentTable *table, int place);

/* Room for so many records; false: no memory. */
bool
sn_kafka_sent_init(SnSentTable *table, int size)
{
	int			i;

	table->all = calloc(size, sizeof(SnSent));
	if (table->all == NULL)
		return false;
	table->size = size;
	for (i = 0; i < SN_SHAPES; i++)
		table->first[i] = NONE;
	table->empty = NONE;
	for (i = size - 1; i >= 0; i--)
		put_empty(table, i);
	return true;
}

/* The place of a record, with its headers; -1: all are taken. */
int
sn_kafka_sent_make(SnSentTable *table, const SnRecord *record)
{
	uint64_t	shape = shape_of(record);
	int			place = take_spare(table, shape);

	if (place != NONE && !write_over(&table->all[place], record))
	{
		rd_kafka_headers_destroy(table->all[place].headers);
		put_empty(table, place);
		place = NONE;
	}
	if (place == NONE)
	{
		place = take_empty(table);
		if (place == NONE)
			return NONE;
		build(&table->all[place], record, shape);
	}
	table->all[place].opaque = record->opaque;
	return place;
}

/* The record was not sent: its headers are still ours. */
void
sn_kafka_sent_undo(SnSentTable *table, int place)
{
	if (may_wait(table, place))
		put_spare(table, place);
	else
	{
		rd_kafka_headers_destroy(table->all[place].headers);
		put_empty(table, place);
	}
}

/* The record has its answer; what is known of it holds until the next is made. */
const SnSent *
sn_kafka_sent_answered(SnSentTable *table, rd_kafka_message_t *message)
{
	int			place = (int) (intptr_t) message->_private;
	rd_kafka_headers_t *headers;

	if (may_wait(table, place) &&
		rd_kafka_message_detach_headers(message, &headers) ==
		RD_KAFKA_RESP_ERR_NO_ERROR)
		put_spare(table, place);
	else
		put_empty(table, place);
	return &table->all[place];
}

/* The producer is gone, and with it the headers of what had no answer. */
void
sn_kafka_sent_forget(SnSentTable *table)
{
	int			i;

	for (i = 0; i < table->size; i++)
		if (table->all[i].in_use)
			put_empty(table, i);
}

/* Frees all. */
void
sn_kafka_sent_free(SnSentTable *table)
{
	int			i;
	int			place;

	for (i = 0; table->all != NULL && i < SN_SHAPES; i++)
		for (place = table->first[i]; place != NONE;
			 place = table->all[place].next)
			rd_kafka_headers_destroy(table->all[place].headers);
	free(table->all);
	table->all = NULL;
	table->size = 0;
}

/* The shape of a record's headers. */
static uint64_t
shape_of(const SnRecord *record)
{
	uint64_t	shape = record->nheaders;
	int			i;

	for (i = 0; i < record->nheaders; i++)
	{
		shape = (shape ^ record->headers[i].value_len) *
			UINT64_C(0x9E3779B97F4A7C15);
		shape ^= shape >> 32;
	}
	return shape;
}

/*
 * Makes headers those of another record.  False when they are of another shape
 * after all.
 */
static bool
write_over(SnSent *sent, const SnRecord *record)
{
	int			i;

	if (sent->count != record->nheaders)
		return false;
	for (i = 0; i < sent->count; i++)
	{
		const SnRecordHeader *header = &record->headers[i];

		if (sent->lens[i] != header->value_len ||
			strcmp(sent->names[i], header->name) != 0)
			return false;
		if (memcmp(sent->values[i], header->value, header->value_len) != 0)
			memcpy(sent->values[i], header->value, header->value_len);
	}
	return true;
}

/*
 * Brings the headers of a place, and the place behind it, into the cache: most
 * likely they are the next to be written over, and it is a while since they
 * were looked at.
 */
static void
fetch_ahead(const SnSentTable *table, int place)
{
	const SnSent *sent;
	int			i;

	if (place == NONE)
		return;
	sent = &table->all[place];
	for (i = 0; i < sent->count; i++)
		__builtin_prefetch(sent->values[i], 1);
	if (sent->next != NONE)
		for (i = 0; i < (int) sizeof(SnSent); i += CACHE_LINE)
			__builtin_prefetch((const char *) &table->all[sent->next] + i);
}

/* A place with headers of a shape, or NONE. */
static int
take_spare(SnSentTable *table, uint64_t shape)
{
	int		   *link = &table->first[shape % SN_SHAPES];

	while (*link != NONE)
	{
		SnSent	   *sent = &table->all[*link];
		int			place = *link;

		if (sent->shape == shape)
		{
			*link = sent->next;
			sent->in_use = true;
			table->spare--;
			fetch_ahead(table, sent->next);
			return place;
		}
		link = &sent->next;
	}
	return NONE;
}

/* A place without headers, if need be by giving up some that wait, or NONE. */
static int
take_empty(SnSentTable *table)
{
	int			place = table->empty;

	if (place != NONE)
		table->empty = table->all[place].next;
	else if (table->spare > 0)
	{
		while (table->first[table->victim] == NONE)
			table->victim = (table->victim + 1) % SN_SHAPES;
		place = table->first[table->victim];
		table->first[table->victim] = table->all[place].next;
		table->victim = (table->victim + 1) % SN_SHAPES;
		rd_kafka_headers_destroy(table->all[place].headers);
		table->spare--;
	}
	else
		return NONE;
	table->all[place].in_use = true;
	return place;
}

/* Makes headers anew. */
static void
build(SnSent *sent, const SnRecord *record, uint64_t shape)
{
	size_t		bytes = 0;
	size_t		len;
	int			i;

	sent->headers = rd_kafka_headers_new(record->nheaders);
	sent->shape = shape;
	for (i = 0; i < record->nheaders; i++)
	{
		const SnRecordHeader *header = &record->headers[i];

		(void) rd_kafka_header_add(sent->headers, header->name, -1,
								   header->value, header->value_len);
		bytes += header->value_len;
	}
	sent->count = record->nheaders <= SN_SPARE_COUNT &&
		bytes <= MAX_SPARE_BYTES ? record->nheaders : 0;
	for (i = 0; i < sent->count; i++)
	{
		(void) rd_kafka_header_get_all(sent->headers, i, &sent->names[i],
									   (const void **) &sent->values[i], &len);
		sent->lens[i] = (uint16_t) len;
	}
}

/* May the headers of a place wait for another record? */
static bool
may_wait(const SnSentTable *table, int place)
{
	return table->all[place].count > 0 && table->spare < MAX_SPARE;
}

/* The headers of a place wait for a record of their shape. */
static void
put_spare(SnSentTable *table, int place)
{
	SnSent	   *sent = &table->all[place];

	sent->in_use = false;
	sent->next = table->first[sent->shape % SN_SHAPES];
	table->first[sent->shape % SN_SHAPES] = place;
	table->spare++;
}

/* A place without headers. */
static void
put_empty(SnSentTable *table, int place)
{
	table->all[place].in_use = false;
	table->all[place].next = table->empty;
	table->empty = place;
}
