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

#include "agent.h"
#include "text.h"

/* A record that is to be handled.  It does not move, and has its strings. */
typedef struct KafkaRecord
{
	int64_t		offset;
	AgentEvent	event;			/* its payload may be no JSON */
	bool		prepared;		/* nothing is to be done outside any more */
	char	   *result;			/* what was done there, as JSON, or NULL */
	bool		ready;			/* may be handed to the database */
	bool		handed;			/* has been, and there is no answer yet */
} KafkaRecord;

extern bool kafka_record_read(KafkaRecord **record,
							  rd_kafka_message_t *message);
extern void kafka_record_free(KafkaRecord *record);
extern void kafka_record_add(Text *text, const KafkaRecord *record);
extern void kafka_record_again(KafkaRecord *record);

#endif							/* SENTINAI_KAFKA_RECORD_H */
