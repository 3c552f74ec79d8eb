/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * set_agent.h
 *	  An agent of the platform: a handler in the database, and its name.
 */
#ifndef SENTINAI_SET_AGENT_H
#define SENTINAI_SET_AGENT_H

#include "agent.h"
#include "kafka_client.h"

/* The options that all of them have, of settings that begin with these. */
#define SET_AGENT_OPTIONS \
	{"source", 0, AGENT_OPTION_CHOICE, offsetof(KafkaSettings, source), \
		"database", 0, 0, KAFKA_SOURCE_CHOICES, NULL, false, false, "SOURCE", \
	"where events come from"}, \
	{"group-id", 0, AGENT_OPTION_STRING, offsetof(KafkaSettings, group_id), \
		NULL, 0, 200, NULL, "GROUP_ID", false, false, "NAME", \
		"what instances share: a subscription, where it is not the worker " \
	"type, or a consumer group of Kafka (default: sentinai. and the agent)"}, \
	{"brokers", 0, AGENT_OPTION_STRING, offsetof(KafkaSettings, brokers), \
		NULL, 0, 0, NULL, "KAFKA_BROKERS", false, false, "ADDRESSES", \
	"brokers of Kafka, as HOST:PORT with commas between"}, \
	{"topics", 0, AGENT_OPTION_STRING, offsetof(KafkaSettings, topics), \
		"sentinai.exception", 0, 0, NULL, NULL, false, false, "NAMES", \
	"topics of Kafka, with commas between; ^ begins a regular expression"}, \
	{"kafka-conf", 0, AGENT_OPTION_STRING, offsetof(KafkaSettings, conf), \
		NULL, 0, 0, NULL, NULL, false, false, "FILE", \
	"properties of librdkafka, as in sentinai.kafka_conf; secrets in files"}

/* Runs an agent of the platform; the result is the exit status. */
extern int	set_agent_main(const char *program, const char *summary,
						   const char *handler, int argc, char **argv);

#endif							/* SENTINAI_SET_AGENT_H */
