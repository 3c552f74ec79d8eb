/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * set_agent.c
 *	  What the agents of the platform have alike.
 *
 * Their work is done in the database, by a handler that takes a whole batch:
 * see docs/platform.md.  Batches come from the subscription that has the
 * handler's name, unless WORKER_TYPE or GROUP_ID names another one; or from
 * Kafka, where GROUP_ID is the consumer group.
 */
#include "kafka_source.h"
#include "set_agent.h"

static const AgentOption options[] = {
	{"source", 0, AGENT_OPTION_CHOICE, offsetof(KafkaSettings, source),
		"database", 0, 0, KAFKA_SOURCE_CHOICES, NULL, false, false, "SOURCE",
	"where events come from"},
	{"group-id", 0, AGENT_OPTION_STRING, offsetof(KafkaSettings, group_id),
		NULL, 0, 200, NULL, "GROUP_ID", false, false, "NAME",
		"what instances share: a subscription, where it is not the worker "
	"type, or a consumer group of Kafka (default: sentinai. and the agent)"},
	{"brokers", 0, AGENT_OPTION_STRING, offsetof(KafkaSettings, brokers),
		NULL, 0, 0, NULL, "KAFKA_BROKERS", false, false, "ADDRESSES",
	"brokers of Kafka, as HOST:PORT with commas between"},
	{"topics", 0, AGENT_OPTION_STRING, offsetof(KafkaSettings, topics),
		"sentinai.exception", 0, 0, NULL, NULL, false, false, "NAMES",
	"topics of Kafka, with commas between; ^ begins a regular expression"},
	{"kafka-conf", 0, AGENT_OPTION_STRING, offsetof(KafkaSettings, conf),
		NULL, 0, 0, NULL, NULL, false, false, "FILE",
	"properties of librdkafka, as in sentinai.kafka_conf; secrets in files"},
	{.name = NULL}
};

/* Runs an agent of the platform; the result is the exit status. */
int
set_agent_main(const char *program, const char *summary, const char *handler,
			   int argc, char **argv)
{
	const AgentDefinition definition = {
		.name = program,
		.summary = summary,
		.options = options,
		.settings = &kafka_settings,
		.set_handler = handler,
		.worker_type = handler,
		.group = &kafka_settings.group_id,
		.source = kafka_source
	};

	return agent_main(&definition, argc, argv);
}
