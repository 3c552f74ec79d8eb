/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * work.c
 *	  sentinai-work: runs a program for every event of a worker type.
 *
 * The program gets the event as one line of JSON on standard input and a
 * few facts in its environment.  Its exit status is the outcome: 0 complete,
 * 65 (EX_DATAERR) a dead letter, anything else a failed attempt, as are death
 * by a signal and a timeout; the last line it writes to standard error is the
 * error text.  To be given up at once an event has to be said to be wrong: 1
 * is what a mistake in the program itself ends with.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "agent.h"
#include "child.h"
#include "log.h"

/* Longer values are left out of the environment: exec would fail. */
#define MAX_VARIABLE 65536

/* Linux takes no longer argument. */
#define MAX_COMMAND (128 * 1024 - 1)

/* Time between attempts to start a command, and attempts to a log line. */
#define SHORTAGE_PAUSE 200
#define SHORTAGES_A_LINE 50

/* Most variables that an event sets. */
#define MAX_VARIABLES 10

typedef struct WorkSettings
{
	char	   *exec;
	int			timeout;
	int			kill_after;
	bool		show_stderr;
	bool		work_on;
} WorkSettings;

extern char **environ;

static WorkSettings settings;

#define AT(member) offsetof(WorkSettings, member)

static const AgentOption options[] = {
	{"exec", 'x', AGENT_OPTION_STRING, AT(exec), NULL, 0, MAX_COMMAND, NULL, NULL,
		true, false, "COMMAND",
	"shell command to run for every event"},
	{"timeout", 't', AGENT_OPTION_DURATION, AT(timeout), "5min", 10, 86400000,
		NULL, NULL, false, false, "TIME",
	"time for one event; then the command is killed and retried"},
	{"kill-after", 0, AGENT_OPTION_DURATION, AT(kill_after), "2s", 0, 3600000,
		NULL, NULL, false, false, "TIME",
	"time between SIGTERM and SIGKILL for a command that must end"},
	{"show-stderr", 0, AGENT_OPTION_BOOL, AT(show_stderr), "false", 0, 0,
		NULL, NULL, false, false, NULL,
	"pass the command's standard error on to our own"},
	{"work-on", 0, AGENT_OPTION_BOOL, AT(work_on), "false", 0, 0,
		NULL, NULL, false, false, NULL,
	"have what the command publishes inherit from its event, by PGOPTIONS"},
	{0}
};

/* The environment of a command: the variables of its event, then ours. */
typedef struct Environment
{
	char	  **entries;		/* ends with NULL */
	int			made;			/* so many of them are to be freed */
	bool		failed;			/* out of memory */
} Environment;

/* Adds NAME=value; a value that is too long or NULL gives NAME=. */
static void
add_variable(Environment *environment, const char *name, const char *value)
{
	size_t		length;
	char	   *entry;

	if (value == NULL || strlen(value) > MAX_VARIABLE)
		value = "";
	length = strlen(name) + strlen(value) + 2;
	entry = malloc(length);
	if (entry == NULL)
	{
		environment->failed = true;
		return;
	}
	snprintf(entry, length, "%s=%s", name, value);
	environment->entries[environment->made++] = entry;
}

/*
 * Has the command's own connections work on the event: a setting that the
 * session begins with, beside those that are given for us.
 */
static void
add_pgoptions(Environment *environment, const AgentEvent *event)
{
	const char *ours = getenv("PGOPTIONS");
	size_t		size = (ours == NULL ? 0 : strlen(ours)) + 100;
	char	   *value = malloc(size);

	if (value == NULL)
	{
		environment->failed = true;
		return;
	}
	snprintf(value, size, "%s%s-c sentinai.work_on=%s",
			 ours == NULL ? "" : ours, ours == NULL ? "" : " ",
			 event->event_id);
	add_variable(environment, "PGOPTIONS", value);
	free(value);
}

/* Adds the variables of the event. */
static void
add_event(Environment *environment, const AgentEvent *event)
{
	char		attempt[16];

	snprintf(attempt, sizeof(attempt), "%d", event->attempt);
	add_variable(environment, "SENTINAI_EVENT_ID", event->event_id);
	add_variable(environment, "SENTINAI_EVENT_TYPE", event->event_type);
	add_variable(environment, "SENTINAI_TENANT_ID", event->tenant_id);
	add_variable(environment, "SENTINAI_AGGREGATE_ID", event->aggregate_id);
	add_variable(environment, "SENTINAI_ATTEMPT", attempt);
	/* what it causes has its id for the flow when it names none */
	add_variable(environment, "SENTINAI_CORRELATION_ID",
				 event->correlation_id != NULL ? event->correlation_id :
				 event->event_id);
	add_variable(environment, "SENTINAI_CAUSATION_ID", event->causation_id);
	if (event->traceparent != NULL)
		add_variable(environment, "TRACEPARENT", event->traceparent);
	if (event->tracestate != NULL)
		add_variable(environment, "TRACESTATE", event->tracestate);
	if (settings.work_on)
		add_pgoptions(environment, event);
}

/*
 * Is an entry of our own environment replaced by one of the event's?  A trace
 * that we run in ourselves is not that of the event.
 */
static bool
is_replaced(const char *entry, const Environment *environment)
{
	int			i;

	for (i = 0; i < environment->made; i++)
	{
		size_t		length = strcspn(environment->entries[i], "=") + 1;

		if (strncmp(entry, environment->entries[i], length) == 0)
			return true;
	}
	return strncmp(entry, "TRACEPARENT=", 12) == 0 ||
		strncmp(entry, "TRACESTATE=", 11) == 0;
}

/* Frees what make_environment made. */
static void
free_environment(Environment *environment)
{
	int			i;

	for (i = 0; i < environment->made; i++)
		free(environment->entries[i]);
	free(environment->entries);
}

/* Makes the environment of the command; false when out of memory. */
static bool
make_environment(Environment *environment, const AgentEvent *event)
{
	size_t		count = 0;
	size_t		out;
	size_t		i;

	while (environ[count] != NULL)
		count++;
	memset(environment, 0, sizeof(*environment));
	environment->entries = calloc(count + MAX_VARIABLES + 1, sizeof(char *));
	if (environment->entries == NULL)
		return false;
	add_event(environment, event);
	out = (size_t) environment->made;
	for (i = 0; i < count; i++)
		if (!is_replaced(environ[i], environment))
			environment->entries[out++] = environ[i];
	return !environment->failed;
}

/* Sets the error text to the last line of standard error, if there is one. */
static bool
set_error_line(AgentContext *context, const ChildResult *result)
{
	size_t		end = result->tail_length;
	size_t		start;

	while (end > 0 && strchr(" \r\n\t", result->tail[end - 1]) != NULL)
		end--;
	start = end;
	while (start > 0 && result->tail[start - 1] != '\n')
		start--;
	if (start == end)
		return false;
	agent_error(context, "%.*s", (int) (end - start), result->tail + start);
	return true;
}

/* Turns the end of the program into an outcome. */
static AgentOutcome
judge(AgentContext *context, const ChildResult *result)
{
	bool		has_line = set_error_line(context, result);

	switch (result->end)
	{
		case CHILD_CANCELLED:
			return AGENT_RELEASE;
		case CHILD_TIMED_OUT:
			agent_error(context, "the command did not end within %d ms",
						settings.timeout);
			return AGENT_RETRY;
		case CHILD_NOT_STARTED:
			agent_error(context, "could not start the command: %s",
						strerror(result->status));
			return AGENT_RETRY;
		case CHILD_SIGNALED:
			if (!has_line)
				agent_error(context, "the command died by signal %d",
							result->status);
			return AGENT_RETRY;
		case CHILD_EXITED:
			break;
	}
	if (result->status == EX_OK)
		return AGENT_COMPLETE;
	if (!has_line)
		agent_error(context, "the command exited with status %d",
					result->status);
	return result->status == EX_DATAERR ? AGENT_FAIL : AGENT_RETRY;
}

/* Tells child_run to end the program early. */
static bool
is_cancelled(void *arg)
{
	return agent_should_stop(arg);
}

/* Is the machine short of something, which is no fault of the event? */
static bool
is_shortage(const ChildResult *result)
{
	return result->end == CHILD_NOT_STARTED &&
		(result->status == EAGAIN || result->status == ENOMEM ||
		 result->status == EMFILE || result->status == ENFILE);
}

/* Runs the program; waits with it while the machine cannot start it. */
static void
run_when_possible(const ChildRequest *request, ChildResult *result)
{
	struct timespec pause = {.tv_nsec = SHORTAGE_PAUSE * 1000000L};
	int			pauses = 0;

	for (child_run(request, result); is_shortage(result);
		 child_run(request, result))
	{
		if (pauses++ % SHORTAGES_A_LINE == 0)
			log_line(LOG_WARNING, "could not start the command, trying again",
					 LOG_S("error", strerror(result->status)), LOG_END);
		if (request->is_cancelled(request->arg))
		{
			result->end = CHILD_CANCELLED;
			return;
		}
		nanosleep(&pause, NULL);
	}
}

/* Runs the program for one event. */
static AgentOutcome
run_command(const AgentEvent *event, AgentContext *context)
{
	ChildRequest request = {
		.command = settings.exec,
		.timeout = settings.timeout,
		.kill_after = settings.kill_after,
		.show_stderr = settings.show_stderr,
		.is_cancelled = is_cancelled,
		.arg = context
	};
	ChildResult result;
	char	   *input = agent_event_json(event, &request.input_length);
	Environment environment;
	bool		made = make_environment(&environment, event);
	AgentOutcome outcome = AGENT_RETRY;

	if (input == NULL || !made)
		agent_error(context, "out of memory");
	else
	{
		request.input = input;
		request.environment = environment.entries;
		run_when_possible(&request, &result);
		outcome = judge(context, &result);
	}
	free_environment(&environment);
	free(input);
	return outcome;
}

/* The agent: one handler for everything. */
int
main(int argc, char **argv)
{
	static const AgentHandler handlers[] = {
		{AGENT_ANY_TYPE, run_command},
		{NULL, NULL}
	};
	const AgentDefinition definition = {
		.name = "sentinai-work",
		.summary = "run a command for every event of a worker type",
		.handlers = handlers,
		.options = options,
		.settings = &settings
	};

	return agent_main(&definition, argc, argv);
}
