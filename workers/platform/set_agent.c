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

static KafkaSettings settings;

static const AgentOption options[] = {SET_AGENT_OPTIONS, {.name = NULL}};

/* Runs an agent of the platform; the result is the exit status. */
int
set_agent_main(const char *program, const char *summary, const char *handler,
			   int argc, char **argv)
{
	const AgentDefinition definition = {
		.name = program,
		.summary = summary,
		.options = options,
		.settings = &settings,
		.set_handler = handler,
		.worker_type = handler,
		.group = &settings.group_id,
		.source = kafka_source
	};

	return agent_main(&definition, argc, argv);
}
