/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_part.h
 *	  Partitions that a thread has, with what is not done of them.
 */
#ifndef SENTINAI_KAFKA_PART_H
#define SENTINAI_KAFKA_PART_H

#include "kafka_record.h"
#include "pg.h"

/* A partition that the group has given to a thread. */
typedef struct Part
{
	char	   *topic;
	int32_t		number;
	KafkaRecord **records;		/* in order; not done yet */
	int			count;
	int			size;
	int64_t		next;			/* offset behind all that came, or -1 */
	int64_t		committed;		/* the place that Kafka was told, or -1 */
	long long	due;			/* when the records may be handled */
	bool		paused;
} Part;

typedef struct Parts
{
	Part	   *parts;
	int			count;
} Parts;

extern Part *parts_find(const Parts *parts, const char *topic, int32_t number);
extern bool parts_add(Parts *parts, const char *topic, int32_t number);
extern int	parts_drop(Parts *parts, Part *part);
extern int64_t part_place(const Part *part);
extern bool part_is_due(const Part *part);
extern bool part_has_result(const Part *part);
extern bool part_keep(Part *part, KafkaRecord *record);
extern int	part_list(Part *part, int most, bool all, Text *list);
extern int	part_settle(Part *part, const PgRecords *answer);
extern bool offset_is_listed(const char *array, int64_t offset);

#endif							/* SENTINAI_KAFKA_PART_H */
