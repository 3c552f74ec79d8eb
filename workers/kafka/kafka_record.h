/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_record.h
 *	  Records of Kafka as events.
 */
#ifndef SENTINAI_KAFKA_RECORD_H
#define SENTINAI_KAFKA_RECORD_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

#include "text.h"

/* A record that is to be handled. */
typedef struct KafkaRecord
{
	int64_t		offset;
	int			attempt;		/* the next one; 1 is the first */
	char	   *members;		/* JSON: all but these two */
} KafkaRecord;

extern bool kafka_record_read(KafkaRecord *record, rd_kafka_message_t *message);
extern void kafka_record_free(KafkaRecord *record);
extern void kafka_record_add(Text *text, const KafkaRecord *record);

#endif							/* SENTINAI_KAFKA_RECORD_H */
