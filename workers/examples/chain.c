/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * chain.c
 *	  An agent that publishes: what it publishes inherits flow and trace.
 *
 * Every event of the worker type leads to one of the type chain.next, on a
 * connection of the handler's own, for which libpq's environment holds.  A
 * connection for each event is the simplest and not the fastest.
 */
#include <stdio.h>

#include <libpq-fe.h>

#include "agent.h"

/* Publishes one event that the event at hand has caused. */
static bool
publish_next(const AgentEvent *event, PGconn *conn)
{
	const char *params[] = {event->tenant_id, event->aggregate_id};
	PGresult   *result;
	bool		done;

	PQclear(PQexec(conn, "begin"));
	if (!agent_work_on(event, conn))
		return false;
	result = PQexecParams(conn, "select sentinai.publish('chain.next',"
						  " $1::text, $2::text, '{}')", 2, NULL, params, NULL,
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
	PGconn	   *conn = PQconnectdb("");
	bool		done = publish_next(event, conn);

	if (!done)
		agent_error(context, "%s", PQerrorMessage(conn));
	PQfinish(conn);
	return done ? AGENT_COMPLETE : AGENT_RETRY;
}

int
main(int argc, char **argv)
{
	static const AgentHandler handlers[] = {
		{AGENT_ANY_TYPE, on_anything},
		{NULL, NULL}
	};
	const AgentDefinition chain = {
		.name = "chain",
		.summary = "publishes an event for each event",
		.handlers = handlers
	};

	return agent_main(&chain, argc, argv);
}
