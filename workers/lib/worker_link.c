/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * worker_link.c
 *	  A worker's connection: makes it, waits until it can be had, and says why
 *	  not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "report.h"
#include "value.h"
#include "worker_parts.h"

/* Logs what the server or libpq said about our last call. */
void
worker_log_failure(const Worker *worker, LogLevel level,
				   const char *message)
{
	report_log(worker, worker->conn, level, message);
}

/*
 * The level for a failure after which we try again soon: the same one is
 * worth a line only now and then, however short the pauses are.
 */
LogLevel
worker_failure_level(Worker *worker, const char *message)
{
	char		text[SAID_SIZE];
	long long	now = clock_ms();

	snprintf(text, sizeof(text), "%s: %s: %s", message,
			 pg_sqlstate(worker->conn), pg_message(worker->conn));
	if (now < worker->say_again && strcmp(text, worker->said) == 0)
		return LOG_DEBUG;
	memcpy(worker->said, text, sizeof(text));
	worker->say_again = now + SAY_AGAIN;
	return LOG_WARNING;
}

/* Logs a failure after which we try again. */
void
worker_log_trouble(Worker *worker, const char *message)
{
	worker_log_failure(worker, worker_failure_level(worker, message), message);
}

/* The server does what we ask for again: the next failure is the first. */
void
worker_forget_failures(Worker *worker)
{
	worker->failures = 0;
	worker->said[0] = '\0';
}

/* The stop level that ends what the worker is waiting for. */
static StopLevel
waits_until(const Worker *worker)
{
	return worker->has_batch ? STOP_NOW : STOP_DRAIN;
}

/* Should the worker give up waiting? */
bool
worker_must_end(const Worker *worker)
{
	return stop_level(&worker->agent->stop) >= waits_until(worker);
}

/*
 * A stop ends the wait for an answer: soon, but with a batch not before the
 * time for it is over.
 */
void
worker_set_interrupt(Worker *worker)
{
	const Agent *agent = worker->agent;

	pg_set_interrupt(worker->conn, stop_fd(&agent->stop, waits_until(worker)),
					 STOP_GRACE);
}

/* Sleeps after an error: exponential, half of it random. */
void
worker_back_off(Worker *worker)
{
	const Settings *settings = worker->agent->settings;
	long long	delay = settings->reconnect_min;
	int			i;

	for (i = 0; i < worker->failures && delay < settings->reconnect_max; i++)
		delay *= 2;
	if (delay > settings->reconnect_max)
		delay = settings->reconnect_max;
	worker->failures++;
	delay -= rand_r(&worker->seed) % (delay / 2 + 1);
	worker_moves(worker, delay);
	stop_sleep(&worker->agent->stop, waits_until(worker), delay);
}

/*
 * Ends the process with a status, unless there is one already: the main
 * thread stops the others when this one ends.
 */
bool
worker_give_up(Worker *worker, int status)
{
	int			none = 0;

	log_line(LOG_ERROR, "giving up", LOG_N("worker", worker->number),
			 LOG_N("status", status), LOG_END);
	atomic_compare_exchange_strong(&worker->agent->status, &none, status);
	return false;
}

/* Connects if necessary; false when the worker should end. */
bool
worker_ensure_connected(Worker *worker)
{
	const Settings *settings = worker->agent->settings;
	int			attempts = 0;

	while (!pg_is_connected(worker->conn))
	{
		bool		connected;

		if (worker_must_end(worker))
			return false;
		atomic_store(&worker->connecting, worker->has_batch ?
					 CONNECTING_WITH_BATCH : CONNECTING);
		worker_moves(worker, settings->connect_timeout);
		connected = pg_connect(worker->conn);
		if (connected)
		{
			if (worker->was_connected)
				report_count(worker, COUNT_RECONNECTS, 1);
			log_line(worker->was_connected && !worker->read_only ? LOG_INFO :
					 LOG_DEBUG,
					 worker->was_connected ? "reconnected" : "connected",
					 LOG_N("worker", worker->number), LOG_END);
			worker->was_connected = true;
		}
		else
		{
			atomic_store(&worker->link, LINK_DOWN);
			worker_log_trouble(worker, "could not connect");
			if (++attempts == settings->reconnect_attempts)
				return worker_give_up(worker, EXIT_UNAVAILABLE);
			worker_back_off(worker);
		}
		atomic_store(&worker->connecting, NOT_CONNECTING);
	}
	return true;
}

/*
 * The connection was lost in a turn: the server may know its outcomes, and
 * may have given us a batch, unless it takes no writes.  Nobody can give that
 * back when we end.
 */
void
worker_lose_connection(Worker *worker, bool claimed)
{
	int			none = 0;

	worker->read_only = pg_is_read_only(worker->conn);
	atomic_store(&worker->link, worker->read_only ? LINK_STANDBY : LINK_DOWN);
	worker_log_trouble(worker, worker->read_only ?
					   "the server is a standby, or read-only for us" :
					   "connection lost");
	if (claimed && !worker->read_only && worker_must_end(worker))
	{
		log_line(LOG_WARNING, "what the last claim may hold comes back when "
				 "its lease has run out", LOG_N("worker", worker->number),
				 LOG_END);
		atomic_compare_exchange_strong(&worker->agent->status, &none,
									   EXIT_FORCED);
	}
	if (worker->has_batch && batch_has_news(&worker->batch))
		worker->batch.in_doubt = true;
	if (worker->failures++ > 0)
		worker_back_off(worker);
}
