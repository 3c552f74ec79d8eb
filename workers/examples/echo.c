/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * echo.c
 *	  The smallest agent: prints what it gets.
 *
 * Publish order.placed, order.cancelled or anything else for a worker type
 * and run:  echo --worker-type NAME
 */
#include <stdio.h>
#include <string.h>

#include "agent.h"

/* An event type with a handler of its own. */
static AgentOutcome
on_order_placed(const AgentEvent *event, AgentContext *context)
{
	/* what is not there yet may be there later: try again in 2 seconds */
	if (strstr(event->payload, "\"not yet\"") && event->attempt < 3)
	{
		agent_error(context, "attempt %d came too early", event->attempt);
		agent_retry_in(context, 2000);
		return AGENT_RETRY;
	}
	printf("order %s of %s\n", event->aggregate_id, event->tenant_id);
	fflush(stdout);
	return AGENT_COMPLETE;
}

/* Every other event type. */
static AgentOutcome
on_anything(const AgentEvent *event, AgentContext *context)
{
	(void) context;
	printf("%s %s\n", event->event_type, event->payload);
	fflush(stdout);
	return AGENT_COMPLETE;
}

int
main(int argc, char **argv)
{
	static const AgentHandler handlers[] = {
		{"order.placed", on_order_placed},
		{AGENT_ANY_TYPE, on_anything},
		{NULL, NULL}
	};
	const AgentDefinition echo = {
		.name = "echo",.summary = "prints events",.handlers = handlers
	};

	return agent_main(&echo, argc, argv);
}
