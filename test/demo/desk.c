/*-------------------------------------------------------------------------
 *
 * desk.c
 *	  The agent of the quickstart: an airport desk that works flight events.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 * A delay of an hour or more fails the first time (the hotel does not answer)
 * and works the second time; one of ten hours or more never works, so
 * that it ends among the dead letters.  All else is done at once.
 *
 * Notes, one line per call: event id, process, attempt, outcome, and when
 * the handler was called (nanoseconds: two calls can begin in one microsecond,
 * and their order is what the proof is about).  Handlers run on several
 * threads: a line is one write to a file opened for appending.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "agent.h"

#define MINUTES_HOTEL	60
#define MINUTES_HOPELESS	600

typedef struct DeskSettings
{
	char	   *notes;
} DeskSettings;

static DeskSettings settings;
static pthread_once_t notes_once = PTHREAD_ONCE_INIT;
static int	notes_fd = -1;

/* Open the notes; when that fails, every write will say so. */
static void
open_notes(void)
{
	notes_fd = open(settings.notes, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
					0644);
}

/* Nanoseconds since 1970. */
static long long
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (long long) t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The delay an event tells of, 0 when it tells none. */
static int
delay_minutes(const AgentEvent *event)
{
	json_t	   *payload = json_loads(event->payload, 0, NULL);
	int			minutes = 0;

	if (payload != NULL)
		minutes = (int) json_integer_value(json_object_get(payload, "minutes"));
	json_decref(payload);
	return minutes;
}

/* Note one call of a handler; without the note it does not count as done. */
static AgentOutcome
note(const AgentEvent *event, AgentContext *context, AgentOutcome outcome,
	 long long when)
{
	char		line[128];
	int			len = snprintf(line, sizeof(line), "%s\t%d\t%d\t%s\t%lld\n",
							   event->event_id, (int) getpid(), event->attempt,
							   outcome == AGENT_COMPLETE ? "complete" : "retry",
							   when);

	pthread_once(&notes_once, open_notes);
	if (write(notes_fd, line, len) != len)
	{
		agent_error(context, "could not write the notes: %s", strerror(errno));
		return AGENT_RETRY;
	}
	return outcome;
}

/* Everything but a long delay is simple. */
static AgentOutcome
work_event(const AgentEvent *event, AgentContext *context)
{
	return note(event, context, AGENT_COMPLETE, now_ns());
}

/* A long delay needs hotel rooms. */
static AgentOutcome
work_delay(const AgentEvent *event, AgentContext *context)
{
	long long	when = now_ns();
	int			minutes = delay_minutes(event);

	if (minutes < MINUTES_HOTEL ||
		(minutes < MINUTES_HOPELESS && event->attempt > 1))
		return note(event, context, AGENT_COMPLETE, when);
	agent_error(context, minutes < MINUTES_HOPELESS ?
				"the hotel does not answer" : "there are no rooms left");
	return note(event, context, AGENT_RETRY, when);
}

static const AgentHandler handlers[] = {
	{"FlightDelayed", work_delay},
	{AGENT_ANY_TYPE, work_event},
	{NULL, NULL}
};

static const AgentOption options[] = {
	{
		.name = "notes",
		.type = AGENT_OPTION_STRING,
		.offset = offsetof(DeskSettings, notes),
		.fallback = "/dev/null",
		.argument = "FILE",
		.help = "append one line per handled event to FILE"
	},
	{.name = NULL}
};

static const AgentDefinition desk = {
	.name = "desk",
	.summary = "Works the flight events of the SentinAI quickstart.",
	.handlers = handlers,
	.options = options,
	.settings = &settings
};

int
main(int argc, char **argv)
{
	return agent_main(&desk, argc, argv);
}
