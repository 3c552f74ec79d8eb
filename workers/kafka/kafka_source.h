/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_source.h
 *	  A worker thread that gets its events from Kafka.
 */
#ifndef SENTINAI_KAFKA_SOURCE_H
#define SENTINAI_KAFKA_SOURCE_H

#include "agent.h"
#include "kafka_client.h"

/*
 * The source of an agent's events that its settings name; NULL: claim().  The
 * settings of such an agent begin with KafkaSettings.
 */
extern const AgentSource *kafka_source(const void *settings);

#endif							/* SENTINAI_KAFKA_SOURCE_H */
