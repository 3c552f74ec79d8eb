/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * agent.c
 *	  The history checker's agent over workers/lib: writes down what it does.
 *
 * Two lines a call, one when the handler begins and one when it ends, each a
 * single write to a file opened for appending.  A line's process is the
 * thread, because a thread does one thing at a time.
 *
 * What becomes of an event depends on its id only, so that a run can be
 * repeated: one in 16 is tried again after its first attempt, one in 256
 * never works.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

typedef struct HistorySettings
{
	char	   *history;
	int			work;			/* ms that an event takes; 0: next to nothing */
} HistorySettings;

static HistorySettings settings;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int	history_fd = -1;

/* Opens the history; when that fails, every write will say so. */
static void
open_history(void)
{
	history_fd = open(settings.history,
					  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
}

/* Nanoseconds on the clock that the other processes use. */
static long long
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Writes one line; false when that fails. */
static bool
write_line(const AgentEvent *event, const char *phase, const char *outcome)
{
	char		line[1024];
	long		thread = syscall(SYS_gettid);
	int			length;

	length = snprintf(line, sizeof(line),
					  "{\"f\":\"handle\",\"ph\":\"%s\",\"p\":\"lib-%ld\",\"w\":\"%s\","
					  "\"token\":\"%s\",\"id\":\"%s\",\"n\":%d,"
					  "\"outcome\":\"%s\",\"t\":%lld}\n", phase, thread,
					  getenv("SENTINAI_WORKER_TYPE"), event->token,
					  event->event_id, event->attempt, outcome, now_ns());
	return length < (int) sizeof(line) &&
		write(history_fd, line, (size_t) length) == length;
}

/* What becomes of an event. */
static AgentOutcome
choose(const AgentEvent *event)
{
	size_t		length = strlen(event->event_id);
	long		number = strtol(event->event_id + length - 4, NULL, 16);

	if (number % 256 == 0)
		return AGENT_FAIL;
	if (number % 16 == 1 && event->attempt == 1)
		return AGENT_RETRY;
	return AGENT_COMPLETE;
}

/* Handles every event: notes, pretends to work, notes. */
static AgentOutcome
handle(const AgentEvent *event, AgentContext *context)
{
	struct timespec work = {settings.work / 1000,
	settings.work > 0 ? settings.work % 1000 * 1000000L : 200000};
	AgentOutcome outcome = choose(event);

	pthread_once(&once, open_history);
	if (!write_line(event, "invoke", "begun"))
	{
		agent_error(context, "could not write the history: %s",
					strerror(errno));
		return AGENT_RETRY;
	}
	nanosleep(&work, NULL);
	if (outcome == AGENT_RETRY)
		agent_error(context, "not the first time");
	if (outcome == AGENT_FAIL)
		agent_error(context, "never");
	if (!write_line(event, "ok", outcome == AGENT_COMPLETE ? "complete" :
					outcome == AGENT_FAIL ? "fail" : "retry"))
		return AGENT_RETRY;
	return outcome;
}

int
main(int argc, char **argv)
{
	static const AgentHandler handlers[] = {
		{AGENT_ANY_TYPE, handle},
		{NULL, NULL}
	};
	static const AgentOption options[] = {
		{.name = "history", .type = AGENT_OPTION_STRING,
			.offset = offsetof(HistorySettings, history), .required = true,
		.argument = "FILE", .help = "file to write the history to"},
		{.name = "work", .type = AGENT_OPTION_DURATION,
			.offset = offsetof(HistorySettings, work), .fallback = "0",
			.max = 60000,
		.argument = "TIME", .help = "how long an event takes"},
		{.name = NULL}
	};
	const AgentDefinition definition = {
		.name = "history-agent",
		.summary = "writes down what it does",
		.handlers = handlers,
		.options = options,
		.settings = &settings
	};

	return agent_main(&definition, argc, argv);
}
