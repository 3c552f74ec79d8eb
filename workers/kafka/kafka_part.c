/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_part.c
 *	  Partitions that a thread has, with what is not done of them.
 *
 * What has failed stays with its partition, and so does what comes behind it
 * with the same key; all else of a batch is done.  A partition's place is
 * never beyond a record that is not done.
 */
#include <stdlib.h>
#include <string.h>

#include "kafka_part.h"
#include "stop.h"
#include "value.h"

/* How long a record waits that cannot be handed over though none has failed. */
#define HELD_DELAY (1 * SECOND)

/* The part of a partition, or NULL. */
Part *
parts_find(const Parts *parts, const char *topic, int32_t number)
{
	int			i;

	for (i = 0; i < parts->count; i++)
		if (parts->parts[i].number == number &&
			strcmp(parts->parts[i].topic, topic) == 0)
			return &parts->parts[i];
	return NULL;
}

/* Takes a partition that the group gives; false: no memory. */
bool
parts_add(Parts *parts, const char *topic, int32_t number)
{
	Part	   *more = realloc(parts->parts,
							   ((size_t) parts->count + 1) * sizeof(Part));
	Part	   *part;

	if (more == NULL)
		return false;
	parts->parts = more;
	part = &more[parts->count];
	*part = (Part) {.topic = strdup(topic),.number = number,.next = -1,
		.committed = -1};
	if (part->topic == NULL)
		return false;
	parts->count++;
	return true;
}

/* Forgets a partition; how many records are not done of it. */
int
parts_drop(Parts *parts, Part *part)
{
	int			count = part->count;
	int			i;

	for (i = 0; i < count; i++)
		kafka_record_free(part->records[i]);
	free(part->records);
	free(part->topic);
	*part = parts->parts[--parts->count];
	return count;
}

/* A part's place: the first record that is not done. */
int64_t
part_place(const Part *part)
{
	return part->count > 0 ? part->records[0]->offset : part->next;
}

/* Has a part something that may be handled now? */
bool
part_is_due(const Part *part)
{
	return part->count > 0 && part->due <= clock_ms();
}

/* Has something been done for a part that the database does not know yet? */
bool
part_has_result(const Part *part)
{
	int			i;

	for (i = 0; i < part->count; i++)
		if (part->records[i]->result != NULL)
			return true;
	return false;
}

/* Keeps one more record; false: no memory. */
bool
part_keep(Part *part, KafkaRecord *record)
{
	if (part->count == part->size)
	{
		int			size = part->size > 0 ? part->size * 2 : 64;
		KafkaRecord **records = realloc(part->records, (size_t) size *
										sizeof(KafkaRecord *));

		if (records == NULL)
			return false;
		part->records = records;
		part->size = size;
	}
	part->records[part->count++] = record;
	return true;
}

/* Makes the JSON array of the first records, or those that are ready; how many. */
int
part_list(Part *part, int most, bool all, Text *list)
{
	int			count = 0;
	int			i;

	text_add(list, "[");
	for (i = 0; i < part->count && i < most; i++)
	{
		KafkaRecord *record = part->records[i];

		record->handed = record->ready || all;
		if (!record->handed)
			continue;
		if (count++ > 0)
			text_add(list, ",");
		kafka_record_add(list, record);
	}
	text_add(list, "]");
	return count;
}

/* Is an offset in an array of the server's, such as "{7,12}"? */
bool
offset_is_listed(const char *array, int64_t offset)
{
	char	   *end = (char *) array;

	while (*end != '\0')
	{
		if ((*end < '0' || *end > '9') && *end != '-')
			end++;
		else if (strtoll(end, &end, 10) == offset)
			return true;
	}
	return false;
}

/* The delay before the next attempt at an offset, or -1: it has not failed. */
static long long
delay_of(const PgRecords *answer, int64_t offset)
{
	const char *offsets = answer->failed;
	const char *delays = answer->delays;

	/* the arrays have the same length, and one place is one event */
	while (*offsets++ != '\0' && *delays++ != '\0' && *offsets != '\0')
	{
		char	   *offsets_end;
		char	   *delays_end;
		long long	failed = strtoll(offsets, &offsets_end, 10);
		long long	delay = strtoll(delays, &delays_end, 10);

		if (offsets_end == offsets || delays_end == delays)
			break;
		if (failed == offset)
			return delay;
		offsets = offsets_end;
		delays = delays_end;
	}
	return -1;
}

/*
 * Takes the database's answer: forgets what is done, and keeps what has failed
 * or has to wait for that, until it is time to try again.  How many failed.
 */
int
part_settle(Part *part, const PgRecords *answer)
{
	long long	wait = 0;
	bool		held = false;
	int			kept = 0;
	int			failed = 0;
	int			i;

	for (i = 0; i < part->count; i++)
	{
		KafkaRecord *record = part->records[i];
		long long	delay = record->handed ?
			delay_of(answer, record->offset) : -1;

		if (record->handed && delay < 0 &&
			!offset_is_listed(answer->waiting, record->offset))
		{
			kafka_record_free(record);
			continue;
		}
		held = held || i == 0;
		record->handed = false;
		record->ready = false;
		if (delay >= 0)
		{
			failed++;
			wait = delay > wait ? delay : wait;
			kafka_record_again(record);
		}
		part->records[kept++] = record;
	}
	part->count = kept;
	if (held && failed == 0)
		wait = HELD_DELAY;
	part->due = clock_ms() + wait;
	return failed;
}
