/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * outside_health.c
 *	  What sentinai-relay answers over HTTP: is it alive, is it ready, its
 *	  metrics.
 *
 * The answers are given on the thread of http.c, and read atomic variables
 * only.  One that waits for its turn is ready: it does what it was started
 * for, and whoever updates one process after the other must not wait for it.
 */
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "http.h"
#include "metrics.h"
#include "outside_health.h"
#include "stop.h"

/* A figure of the process; COUNTER: it only grows. */
typedef enum Figure
{
	CONNECTED,
	ACTIVE,
	PAUSED,
	BREAKER_OPEN,
	IN_FLIGHT,
	SENT,
	ACKED,
	REFUSED,
	ERRORS,
	RECONNECTS,
	FIGURES
} Figure;

static const struct
{
	const char *name;
	const char *type;
	const char *help;
}			figures[FIGURES] = {
	[CONNECTED] = {"sentinai_relay_connected", "gauge",
	"1 while it gets answers from the database."},
	[ACTIVE] = {"sentinai_relay_active", "gauge",
	"1 while the relay is this process's, 0 while it waits for it."},
	[PAUSED] = {"sentinai_relay_paused", "gauge",
	"1 while the relay is paused."},
	[BREAKER_OPEN] = {"sentinai_relay_breaker_open", "gauge",
	"1 while the broker is left alone after failures."},
	[IN_FLIGHT] = {"sentinai_relay_events_in_flight", "gauge",
	"Events that were sent and have no answer yet."},
	[SENT] = {"sentinai_relay_events_sent_total", "counter",
	"Events that were handed to the broker's client."},
	[ACKED] = {"sentinai_relay_events_acknowledged_total", "counter",
	"Events that the broker has stored."},
	[REFUSED] = {"sentinai_relay_events_refused_total", "counter",
	"Events that cannot be sent and became dead letters."},
	[ERRORS] = {"sentinai_relay_broker_errors_total", "counter",
	"Errors of the broker and of its client."},
	[RECONNECTS] = {"sentinai_relay_reconnects_total", "counter",
	"Connections to the database after the first one."}
};

static const char *relay_name;
static long long started;
static long long patience;		/* ms without a move */
static HttpServer *server;
static atomic_llong moves_until;
static atomic_int state_now;
static atomic_llong values[FIGURES];
static Histogram turn_time;

/* Is the process not stuck? */
static int
answer_livez(Text *body)
{
	bool		stuck = clock_ms() > atomic_load(&moves_until);

	text_add(body, stuck ? "stuck\n" : "ok\n");
	return stuck ? HTTP_UNAVAILABLE : HTTP_OK;
}

/* Does it send, or would it when it is its turn? */
static int
answer_readyz(Text *body)
{
	switch ((OutsideState) atomic_load(&state_now))
	{
		case OUTSIDE_DOWN:
			text_add(body, "not connected to the database\n");
			return HTTP_UNAVAILABLE;
		case OUTSIDE_WAITS:
			text_add(body, "ready: another one sends\n");
			return HTTP_OK;
		case OUTSIDE_PAUSED:
			text_add(body, "ready: paused\n");
			return HTTP_OK;
		case OUTSIDE_STOPS:
			text_add(body, "stopping\n");
			return HTTP_UNAVAILABLE;
		case OUTSIDE_SENDS:
			break;
	}
	if (atomic_load(&values[BREAKER_OPEN]) != 0)
	{
		text_add(body, "the broker does not take events\n");
		return HTTP_UNAVAILABLE;
	}
	text_add(body, "ready\n");
	return HTTP_OK;
}

/* All figures. */
static int
answer_figures(Text *body)
{
	int			i;

	metrics_add_head(body, "sentinai_relay_build_info", "gauge",
					 "Version and relay; always 1.");
	text_add(body, "sentinai_relay_build_info");
	metrics_add_label(body, "{", "version", SENTINAI_VERSION);
	metrics_add_label(body, ",", "relay", relay_name);
	text_add(body, "} 1\n");
	metrics_add_gauge(body, "process_start_time_seconds",
					  "Start of the process, in seconds since 1970.", started);
	for (i = 0; i < FIGURES; i++)
	{
		metrics_add_head(body, figures[i].name, figures[i].type,
						 figures[i].help);
		metrics_add_value(body, figures[i].name, 0, atomic_load(&values[i]));
	}
	metrics_add_histogram(body, "sentinai_relay_turn_duration_seconds",
						  "Time of a transaction that stores positions and "
						  "reads events.", &turn_time);
	return HTTP_OK;
}

/* The answer to a request. */
static int
answer_path(void *arg, const char *path, Text *body)
{
	(void) arg;
	if (strcmp(path, "/livez") == 0)
		return answer_livez(body);
	if (strcmp(path, "/readyz") == 0)
		return answer_readyz(body);
	if (strcmp(path, "/metrics") == 0)
		return answer_figures(body);
	text_add(body, HTTP_PATHS);
	return HTTP_NOT_FOUND;
}

/* Begins to answer; false when it cannot, as the log says. */
bool
outside_health_serve(const char *address, const char *relay, int stuck_after)
{
	relay_name = relay;
	patience = stuck_after;
	started = time(NULL);
	outside_health_moves(0);
	server = http_serve(address, answer_path, NULL);
	return server != NULL;
}

/* The process moves, and may rest for so long. */
void
outside_health_moves(int milliseconds)
{
	atomic_store(&moves_until, clock_ms() + patience + milliseconds);
}

/* What it is at. */
void
outside_health_state(OutsideState state)
{
	atomic_store(&state_now, state);
	atomic_store(&values[CONNECTED], state != OUTSIDE_DOWN);
	atomic_store(&values[ACTIVE], state >= OUTSIDE_SENDS);
	atomic_store(&values[PAUSED], state == OUTSIDE_PAUSED);
}

/* It has a session. */
void
outside_health_connected(void)
{
	static bool before = false;

	atomic_store(&values[CONNECTED], 1);
	if (before)
		atomic_fetch_add(&values[RECONNECTS], 1);
	before = true;
}

/* What the core has counted. */
void
outside_health_figures(const SnRelayCoreStats *stats)
{
	atomic_store(&values[BREAKER_OPEN],
				 stats->breaker != SN_BREAKER_CLOSED);
	atomic_store(&values[IN_FLIGHT], stats->inflight);
	atomic_store(&values[SENT], (long long) stats->sent);
	atomic_store(&values[ACKED], (long long) stats->acked);
	atomic_store(&values[REFUSED], (long long) stats->refused);
	atomic_store(&values[ERRORS], (long long) stats->errors);
}

/* A turn has taken so long. */
void
outside_health_turn(long long microseconds)
{
	histogram_observe(&turn_time, microseconds);
}
