/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * chain.c
 *	  An agent that publishes: what it publishes inherits flow and trace.
 *
 * Every event of the worker type leads to another one, whose type is an option
 * of this agent's own.  It is published on a connection of the handler's, for
 * which libpq's environment holds.  A connection for each event is the simplest
 * and not the fastest.
 */
#include <stddef.h>
#include <stdio.h>

#include <libpq-fe.h>

#include "agent.h"

typedef struct ChainSettings
{
	char	   *next_type;
} ChainSettings;

/* Publishes one event that the event at hand has caused. */
static bool
publish_next(const AgentEvent *event, const char *type, PGconn *conn)
{
	const char *params[] = {type, event->tenant_id, event->aggregate_id};
	PGresult   *result;
	bool		done;

	PQclear(PQexec(conn, "begin"));
	if (!agent_work_on(event, conn))
		return false;
	result = PQexecParams(conn, "select sentinai.publish($1::text,"
						  " $2::text, $3::text, '{}')", 3, NULL, params, NULL,
						  NULL, 0);
	done = PQresultStatus(result) == PGRES_TUPLES_OK;
	PQclear(result);
	result = PQexec(conn, done ? "commit" : "rollback");
	done = done && PQresultStatus(result) == PGRES_COMMAND_OK;
	PQclear(result);
	return done;
}

static AgentOutcome
on_anything(const AgentEvent *event, AgentContext *context)
{
	const ChainSettings *settings = agent_settings(context);
	PGconn	   *conn = PQconnectdb("");
	bool		done = publish_next(event, settings->next_type, conn);

	if (!done)
		agent_error(context, "%s", PQerrorMessage(conn));
	PQfinish(conn);
	return done ? AGENT_COMPLETE : AGENT_RETRY;
}

int
main(int argc, char **argv)
{
	static ChainSettings settings;
	static const AgentOption options[] = {
		{.name = "next-type",.type = AGENT_OPTION_STRING,
			.offset = offsetof(ChainSettings, next_type),
			.fallback = "chain.next",.argument = "TYPE",
		.help = "event type of what is published"},
		{.name = NULL}
	};
	static const AgentHandler handlers[] = {
		{AGENT_ANY_TYPE, on_anything},
		{NULL, NULL}
	};
	const AgentDefinition chain = {
		.name = "chain",
		.summary = "publishes an event for each event",
		.handlers = handlers,
		.options = options,
		.settings = &settings
	};

	return agent_main(&chain, argc, argv);
}
