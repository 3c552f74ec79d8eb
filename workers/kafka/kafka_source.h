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

/* What the threads read; set before agent_main(). */
extern KafkaSettings kafka_settings;

/* The source of an agent's events that the settings name; NULL: claim(). */
extern const AgentSource *kafka_source(void);

#endif							/* SENTINAI_KAFKA_SOURCE_H */
