/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * agent.h
 *	  The public interface of the agent library: everything an agent needs.
 *
 * An agent is a table of handlers and a call of agent_main().  The library
 * claims batches from one subscription (the worker type), calls the handler
 * of each event in order, and gives the outcome back to the server together
 * with the next claim.  It keeps the lease alive while a handler works,
 * reconnects, and stops in order on SIGTERM.
 *
 * Handlers run on several threads (option --concurrency); two events of one
 * key (tenant and aggregate) never run at the same time.  An event may be
 * delivered more than once: make the effect idempotent by its event_id.
 */
#ifndef SENTINAI_AGENT_H
#define SENTINAI_AGENT_H

#include <stdbool.h>
#include <stddef.h>

/* One claimed event: the columns of sentinai.claim().  Text is UTF-8. */
typedef struct AgentEvent
{
	const char *token;			/* of the batch the event came with */
	const char *event_id;
	const char *event_type;
	const char *tenant_id;
	const char *aggregate_type; /* may be NULL */
	const char *aggregate_id;	/* NULL: an event of the tenant itself */
	const char *schema_version; /* a number as text, or NULL */
	const char *payload;		/* JSON text */
	const char *metadata;		/* JSON text, or NULL */
	const char *correlation_id; /* may be NULL */
	const char *causation_id;	/* may be NULL */
	const char *occurred_at;	/* ISO 8601, UTC */
	int			attempt;		/* 1 at the first delivery */
	const char *traceparent;	/* W3C trace context of the event, or NULL */
	const char *tracestate;		/* that goes with it, or NULL */
} AgentEvent;

/* What became of an event. */
typedef enum AgentOutcome
{
	AGENT_COMPLETE,				/* done */
	AGENT_RETRY,				/* try again later; counts an attempt */
	AGENT_FAIL,					/* never try again: a dead letter */
	AGENT_RELEASE				/* given back, no attempt counted (stopping) */
} AgentOutcome;

typedef struct AgentContext AgentContext;

typedef AgentOutcome (*AgentFunction) (const AgentEvent *event,
									   AgentContext *context);

/* The handler of an event type.  The table ends with a NULL function. */
typedef struct AgentHandler
{
	const char *event_type;		/* AGENT_ANY_TYPE: all that have no own row */
	AgentFunction function;
} AgentHandler;

#define AGENT_ANY_TYPE "*"

typedef enum AgentOptionType
{
	AGENT_OPTION_STRING,		/* char * */
	AGENT_OPTION_INT,			/* int */
	AGENT_OPTION_DURATION,		/* int, milliseconds; read as 10s, 500ms ... */
	AGENT_OPTION_BOOL,			/* bool; a flag without argument means true */
	AGENT_OPTION_CHOICE			/* int: index in `choices` */
} AgentOptionType;

/*
 * One row of an option table: the flag --NAME, the environment variable
 * SENTINAI_NAME, the key NAME of the configuration file and the line of
 * --help all come from it.
 */
typedef struct AgentOption
{
	const char *name;			/* lower case, words joined by '-' */
	char		letter;			/* short flag, or 0 */
	AgentOptionType type;
	size_t		offset;			/* of the value in the settings struct */
	const char *fallback;		/* default as text, or NULL */
	int			min;			/* of numbers and durations, inclusive */
	int			max;			/* of strings: longest, in bytes; 0: any */
	const char *choices;		/* "one|two|three" */
	const char *env;			/* second environment variable, or NULL */
	bool		required;
	bool		secret;			/* never shown */
	const char *argument;		/* its name in --help */
	const char *help;
} AgentOption;

/*
 * Where an agent's batches come from, if not from claim(): check() says why
 * the options cannot be used, and run() is the thread of a worker (worker.h).
 */
struct Settings;
struct AgentDefinition;
typedef struct AgentSource
{
	bool		(*check) (const struct Settings *settings,
						  const struct AgentDefinition *definition,
						  char *error, size_t size);
	void	   *(*run) (void *worker);
} AgentSource;

/*
 * What is to be done outside of the database for one event of a set handler's
 * batch: a row of sentinai_platform.prepare(), its columns behind the event's
 * id as text.  A task without a result is not done, and its event goes back.
 */
typedef struct AgentTask
{
	const AgentEvent *event;
	const char *const *columns; /* NULL where SQL has null */
	char	   *result;			/* out: JSON for the handler, of malloc() */
} AgentTask;

/* Does the tasks of a batch while no transaction is open. */
typedef void (*AgentOutside) (AgentTask *tasks, int count,
							  AgentContext *context);

/*
 * An agent.  Zeroed members are allowed where it says "or NULL".  One with a
 * set handler has no handlers: sentinai_platform.handle() gets its name and
 * the batch, in the transaction that also claims the next batch.
 */
typedef struct AgentDefinition
{
	const char *name;			/* of the program: also its file section */
	const char *summary;		/* one line for --help */
	const AgentHandler *handlers;
	const AgentOption *options; /* its own options, or NULL; ends with a NULL
								 * name */
	void	   *settings;		/* the struct `options` point into, or NULL */
	const char *set_handler;	/* name of a handler in the database, or NULL */
	AgentOutside outside;		/* what it needs done before, or NULL */
	const char *worker_type;	/* default of --worker-type, or NULL */
	char	  **group;			/* an option that names the subscription when it
								 * is given, or NULL */
	const AgentSource *(*source) (const void *settings);	/* asked when options
															 * are read, or NULL;
															 * its NULL is claim() */
} AgentDefinition;

/* Runs the agent until it is told to stop; the result is the exit status. */
extern int	agent_main(const AgentDefinition *definition, int argc,
					   char **argv);

/* For use in a handler: */

/* Sets the error text that goes with AGENT_RETRY or AGENT_FAIL. */
extern void agent_error(AgentContext *context, const char *format,...)
			__attribute__((format(printf, 2, 3)));

/* Asks for this delay before the retry instead of the subscription's. */
extern void agent_retry_in(AgentContext *context, int milliseconds);

/*
 * True when the result is not wanted any more: lease lost, or stop at once.  What
 * works outside of the database asks at least once a second.
 */
extern bool agent_should_stop(AgentContext *context);

/*
 * Says on a connection of the handler's own, in its transaction, which event
 * that works on: what it publishes from then on inherits cause, flow and trace.
 * False when the server refuses; the connection has the error.
 */
struct pg_conn;
extern bool agent_work_on(const AgentEvent *event, struct pg_conn *conn);

/* The definition's settings. */
extern void *agent_settings(AgentContext *context);

/* The event as one line of JSON; free() it.  NULL when out of memory. */
extern char *agent_event_json(const AgentEvent *event, size_t *length);

#endif							/* SENTINAI_AGENT_H */
