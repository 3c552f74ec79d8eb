/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * health.c
 *	  What an agent answers over HTTP: is it alive, is it ready, its metrics.
 *
 * It runs on the thread of http.c and reads atomic members of the workers
 * only.  No answer has a tenant, a key or anything else of an event in it.
 */
#include <stdio.h>
#include <string.h>

#include "health.h"
#include "http.h"

#ifndef SENTINAI_VERSION
#define SENTINAI_VERSION "unknown"
#endif

static const struct
{
	const char *name;
	const char *help;
}			counters[COUNT_KINDS] = {
	[COUNT_CLAIMED] = {"sentinai_agent_events_claimed_total",
	"Events that were claimed."},
	[COUNT_COMPLETED] = {"sentinai_agent_events_completed_total",
	"Events that were handled and completed."},
	[COUNT_RETRIED] = {"sentinai_agent_events_retried_total",
	"Failed attempts after which the event comes again."},
	[COUNT_DEAD] = {"sentinai_agent_events_dead_total",
	"Events that became dead letters."},
	[COUNT_RELEASED] = {"sentinai_agent_events_released_total",
	"Events that were given back without an attempt."},
	[COUNT_DROPPED] = {"sentinai_agent_events_dropped_total",
	"Events of batches that were lost to others."},
	[COUNT_RECONNECTS] = {"sentinai_agent_reconnects_total",
	"Connections to the database after the first one."},
	[COUNT_BATCHES] = {"sentinai_agent_batches_total",
	"Batches that were claimed."},
	[COUNT_LOST] = {"sentinai_agent_leases_lost_total",
	"Batches that were lost before they were done."},
	[COUNT_UNREADABLE] = {"sentinai_agent_records_unreadable_total",
	"Records of Kafka that are no events of ours."}
};

/* What a worker that is not ready is at; NULL: it is. */
static const char *
worker_trouble(const Worker *worker)
{
	if (atomic_load(&worker->finished))
		return "has ended";
	switch ((LinkState) atomic_load(&worker->link))
	{
		case LINK_DOWN:
			return "is not connected";
		case LINK_STANDBY:
			return "is connected to a standby";
		case LINK_REFUSED:
			return "is refused by the database";
		case LINK_UP:
			break;
	}
	return NULL;
}

/* Has a worker not moved for longer than is allowed? */
static bool
is_stuck(const Worker *worker, long long now)
{
	return !atomic_load(&worker->finished) &&
		now > atomic_load(&worker->moves_until);
}

/* Says what a worker is at. */
static void
add_trouble(Text *body, const Worker *worker, const char *trouble)
{
	char		line[80];

	snprintf(line, sizeof(line), "worker %d %s\n", worker->number, trouble);
	text_add(body, line);
}

/* Is no thread stuck?  The end of an agent is life, too. */
static int
answer_alive(const Health *health, Text *body)
{
	long long	now = clock_ms();
	int			status = HTTP_OK;
	int			i;

	for (i = 0; i < health->count; i++)
		if (is_stuck(&health->workers[i], now))
		{
			add_trouble(body, &health->workers[i], "is stuck");
			status = HTTP_UNAVAILABLE;
		}
	if (status == HTTP_OK)
		text_add(body, "ok\n");
	return status;
}

/* Do all threads claim? */
static int
answer_ready(const Health *health, Text *body)
{
	int			status = HTTP_OK;
	int			i;

	if (stop_level(&health->agent->stop) != STOP_NOT)
	{
		text_add(body, "stopping\n");
		return HTTP_UNAVAILABLE;
	}
	for (i = 0; i < health->count; i++)
	{
		const char *trouble = worker_trouble(&health->workers[i]);

		if (trouble == NULL)
			continue;
		add_trouble(body, &health->workers[i], trouble);
		status = HTTP_UNAVAILABLE;
	}
	if (status == HTTP_OK)
		text_add(body, "ready\n");
	return status;
}

/* Appends which program this is. */
static void
add_build_info(const Health *health, Text *body)
{
	metrics_add_head(body, "sentinai_agent_build_info", "gauge",
					 "Program, version and worker type; always 1.");
	text_add(body, "sentinai_agent_build_info");
	metrics_add_label(body, "{", "program", health->agent->definition->name);
	metrics_add_label(body, ",", "version", SENTINAI_VERSION);
	metrics_add_label(body, ",", "worker_type",
					  health->agent->settings->worker_type);
	text_add(body, "} 1\n");
}

/* Appends the metrics of all threads. */
static int
answer_metrics(const Health *health, Text *body)
{
	Agent	   *agent = health->agent;
	int			kind;
	int			i;

	add_build_info(health, body);
	metrics_add_gauge(body, "process_start_time_seconds",
					  "Start of the process, in seconds since 1970.",
					  health->started);
	metrics_add_gauge(body, "sentinai_agent_draining",
					  "1 from the signal to stop on.",
					  stop_level(&agent->stop) != STOP_NOT);
	metrics_add_head(body, "sentinai_agent_connected", "gauge",
					 "1 while a worker thread gets answers from the database.");
	for (i = 0; i < health->count; i++)
		metrics_add_value(body, "sentinai_agent_connected", i + 1,
						  worker_trouble(&health->workers[i]) == NULL);
	for (kind = 0; kind < COUNT_KINDS; kind++)
	{
		metrics_add_head(body, counters[kind].name, "counter",
						 counters[kind].help);
		for (i = 0; i < health->count; i++)
			metrics_add_value(body, counters[kind].name, i + 1,
							  atomic_load(&health->workers[i].counts[kind]));
	}
	metrics_add_histogram(body, "sentinai_agent_turn_duration_seconds",
						  "Time of a call that ends a batch and claims the "
						  "next.", &agent->turn_time);
	metrics_add_histogram(body, "sentinai_agent_handle_duration_seconds",
						  "Time of a handler for an event, or for a batch "
						  "where the database has the handler.",
						  &agent->handle_time);
	return HTTP_OK;
}

/* The answer to a request. */
int
health_answer(void *arg, const char *path, Text *body)
{
	const Health *health = arg;

	if (strcmp(path, "/livez") == 0)
		return answer_alive(health, body);
	if (strcmp(path, "/readyz") == 0)
		return answer_ready(health, body);
	if (strcmp(path, "/metrics") == 0)
		return answer_metrics(health, body);
	text_add(body, HTTP_PATHS);
	return HTTP_NOT_FOUND;
}
