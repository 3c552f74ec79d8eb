/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lease.c
 *	  Keeps the leases of batches alive while handlers work.
 *
 * One thread, the keeper, with a connection of its own that it opens when
 * the first batch lasts longer than a third of its lease.  It extends every
 * such lease again after each third.  A lease that the server says is gone
 * is marked lost, so that the handler's thread drops the batch.
 *
 * While a handler runs, its thread cannot report what became of the events
 * before; the keeper does when it is time, or when that thread has lost its
 * connection.
 *
 * The keeper copies a token under the lease's mutex and calls the server
 * without it.  When the batch ended meanwhile, its number has changed and
 * the answer means nothing.
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lease.h"
#include "log.h"
#include "stop.h"
#include "value.h"

/* Delay after a failed extension or report. */
#define RETRY_DELAY (1 * SECOND)

/* Time for an answer once the keeper has to end. */
#define END_GRACE (1 * SECOND)

struct Keeper
{
	const Settings *settings;
	Lease	   *leases;
	int			count;
	PgConn	   *conn;
	pthread_t	thread;
	int			quit_pipe[2];
	atomic_bool release;		/* give back what is held, at the end */
	atomic_bool finished;
	void		(*on_exit) (void);
};

/* Makes the lease of a thread. */
bool
lease_init(Lease *lease)
{
	memset(lease, 0, sizeof(*lease));
	atomic_init(&lease->lost, false);
	lease->report_due = LLONG_MAX;
	return pthread_mutex_init(&lease->mutex, NULL) == 0 &&
		pthread_mutex_init(&lease->baton, NULL) == 0;
}

/* A handler starts: until it ends the keeper may report what came before. */
void
lease_handler_starts(Lease *lease, long long report_due)
{
	pthread_mutex_lock(&lease->mutex);
	lease->report_due = report_due;
	pthread_mutex_unlock(&lease->mutex);
	pthread_mutex_unlock(&lease->baton);
}

/* The handler has ended; waits for a report that is under way. */
void
lease_handler_ended(Lease *lease)
{
	pthread_mutex_lock(&lease->baton);
	pthread_mutex_lock(&lease->mutex);
	lease->report_due = LLONG_MAX;
	pthread_mutex_unlock(&lease->mutex);
}

/* The server says that the batch belongs to someone else. */
void
lease_mark_lost(Lease *lease)
{
	atomic_store(&lease->lost, true);
}

/* A batch was claimed. */
bool
lease_begin(Lease *lease, const char *token, int duration)
{
	char	   *copy = strdup(token);

	pthread_mutex_lock(&lease->mutex);
	lease->token = copy;
	lease->batch++;
	lease->due = clock_ms() + duration / 3;
	atomic_store(&lease->lost, false);
	pthread_mutex_unlock(&lease->mutex);
	return copy != NULL;
}

/* The batch is finished. */
void
lease_end(Lease *lease)
{
	pthread_mutex_lock(&lease->mutex);
	free(lease->token);
	lease->token = NULL;
	lease->batch++;
	pthread_mutex_unlock(&lease->mutex);
}

/*
 * The end of the batch is being sent: no more extensions, and the answer to
 * one under way means nothing.
 */
void
lease_pause(Lease *lease)
{
	pthread_mutex_lock(&lease->mutex);
	lease->batch++;
	lease->due = LLONG_MAX;
	pthread_mutex_unlock(&lease->mutex);
}

/* The end of the batch could not be sent: extends again, at once. */
void
lease_resume(Lease *lease)
{
	pthread_mutex_lock(&lease->mutex);
	lease->due = clock_ms();
	pthread_mutex_unlock(&lease->mutex);
}

/* Does the batch belong to someone else by now? */
bool
lease_is_lost(const Lease *lease)
{
	return atomic_load(&lease->lost);
}

/* Copies the token of a lease, if there is one and it is due. */
static char *
copy_token(Lease *lease, long long now, unsigned long *batch)
{
	char	   *token = NULL;

	pthread_mutex_lock(&lease->mutex);
	if (lease->token != NULL && lease->due <= now &&
		!atomic_load(&lease->lost))
		token = strdup(lease->token);
	*batch = lease->batch;
	pthread_mutex_unlock(&lease->mutex);
	return token;
}

/* Says what an extension came to. */
static void
log_extension(const Keeper *keeper, PgStatus status, bool lost)
{
	if (status == PG_DONE)
		log_line(LOG_DEBUG, "lease extended", LOG_END);
	else if (lost)
		log_line(LOG_WARNING, "lease lost, dropping the batch",
				 LOG_S("sqlstate", pg_sqlstate(keeper->conn)),
				 LOG_S("error", pg_message(keeper->conn)), LOG_END);
	else
		log_line(LOG_WARNING, "could not extend the lease",
				 LOG_S("sqlstate", pg_sqlstate(keeper->conn)),
				 LOG_S("error", pg_message(keeper->conn)), LOG_END);
}

/* Extends one lease if it is due. */
static void
extend_lease(Keeper *keeper, Lease *lease)
{
	PgStatus	status = PG_LOST;
	unsigned long batch;
	char	   *token = copy_token(lease, clock_ms(), &batch);
	bool		lost;

	if (token == NULL)
		return;
	if (pg_is_connected(keeper->conn) || pg_connect(keeper->conn))
		status = pg_extend(keeper->conn, token);
	free(token);
	lost = status == PG_REFUSED &&
		(strcmp(pg_sqlstate(keeper->conn), "SN409") == 0 ||
		 strcmp(pg_sqlstate(keeper->conn), "SN404") == 0);
	pthread_mutex_lock(&lease->mutex);
	if (lease->batch == batch)
	{
		lease->due = clock_ms() + (status == PG_DONE ?
								   keeper->settings->lease / 3 : RETRY_DELAY);
		if (lost)
			atomic_store(&lease->lost, true);
		log_extension(keeper, status, lost);
	}
	pthread_mutex_unlock(&lease->mutex);
}

/* Is it time to report outcomes?  If so, it is again after a while. */
static bool
is_report_due(Lease *lease)
{
	long long	now = clock_ms();
	bool		is_due;

	pthread_mutex_lock(&lease->mutex);
	is_due = lease->token != NULL && lease->report_due <= now;
	if (is_due)
		lease->report_due = now + RETRY_DELAY;
	pthread_mutex_unlock(&lease->mutex);
	return is_due && !atomic_load(&lease->lost);
}

/* Reports outcomes for a thread whose handler is running. */
static void
report_outcomes(Keeper *keeper, Lease *lease)
{
	if (!is_report_due(lease) ||
		(!pg_is_connected(keeper->conn) && !pg_connect(keeper->conn)) ||
		pthread_mutex_trylock(&lease->baton) != 0)
		return;
	lease->report(lease->worker, keeper->conn);
	pthread_mutex_unlock(&lease->baton);
}

/* Milliseconds until the next lease is due. */
static int
next_due(const Keeper *keeper)
{
	/* what begins from now on is due later than this */
	long long	now = clock_ms();
	long long	next = now + (keeper->settings->lease / 3 < RETRY_DELAY ?
							  keeper->settings->lease / 3 : RETRY_DELAY);
	int			i;

	for (i = 0; i < keeper->count; i++)
	{
		Lease	   *lease = &keeper->leases[i];

		pthread_mutex_lock(&lease->mutex);
		if (lease->token != NULL && !atomic_load(&lease->lost) &&
			lease->due < next)
			next = lease->due;
		pthread_mutex_unlock(&lease->mutex);
	}
	return next > now ? (int) (next - now) : 0;
}

/*
 * Gives back every batch that is still held, but none that a handler is still
 * working on: its events would be somebody else's while it does.
 */
static void
release_all(Keeper *keeper)
{
	int			i;

	for (i = 0; i < keeper->count; i++)
	{
		Lease	   *lease = &keeper->leases[i];
		unsigned long batch;
		char	   *token = copy_token(lease, LLONG_MAX, &batch);

		if (token == NULL)
			continue;
		if (pthread_mutex_trylock(&lease->baton) == 0)
		{
			log_line(LOG_ERROR, "a handler has not ended; its batch comes "
					 "back when the lease has run out",
					 LOG_N("worker", i + 1), LOG_END);
			pthread_mutex_unlock(&lease->baton);
		}
		else if ((!pg_is_connected(keeper->conn) && !pg_connect(keeper->conn)) ||
			pg_release(keeper->conn, token, NULL) != PG_DONE)
			log_line(LOG_WARNING, "could not release a batch",
					 LOG_S("sqlstate", pg_sqlstate(keeper->conn)),
					 LOG_S("error", pg_message(keeper->conn)), LOG_END);
		free(token);
	}
}

/* The keeper's thread. */
static void *
keeper_main(void *arg)
{
	Keeper	   *keeper = arg;
	struct pollfd quit = {.fd = keeper->quit_pipe[0], .events = POLLIN};
	int			i;

	while (poll(&quit, 1, next_due(keeper)) <= 0)
	{
		for (i = 0; i < keeper->count; i++)
			extend_lease(keeper, &keeper->leases[i]);
		for (i = 0; i < keeper->count; i++)
			report_outcomes(keeper, &keeper->leases[i]);
	}
	if (atomic_load(&keeper->release))
		release_all(keeper);
	pg_disconnect(keeper->conn);
	atomic_store(&keeper->finished, true);
	keeper->on_exit();
	return NULL;
}

/* Starts the keeper; signals must be blocked already. */
Keeper *
keeper_start(const Settings *settings, const char *program,
			 const char *worker_id, Lease *leases, int count,
			 void (*on_exit) (void))
{
	Keeper	   *keeper = calloc(1, sizeof(*keeper));

	if (keeper == NULL)
		return NULL;
	keeper->settings = settings;
	keeper->leases = leases;
	keeper->count = count;
	keeper->on_exit = on_exit;
	atomic_init(&keeper->release, false);
	atomic_init(&keeper->finished, false);
	keeper->conn = pg_new(settings, program, worker_id);
	if (keeper->conn != NULL && pipe2(keeper->quit_pipe, O_CLOEXEC) == 0)
	{
		pg_hurry(keeper->conn);
		pg_set_interrupt(keeper->conn, keeper->quit_pipe[0], END_GRACE);
		if (pthread_create(&keeper->thread, NULL, keeper_main, keeper) == 0)
			return keeper;
		close(keeper->quit_pipe[0]);
		close(keeper->quit_pipe[1]);
	}
	pg_free(keeper->conn);
	free(keeper);
	return NULL;
}

/* Tells the keeper to end, and whether to give back what is still held. */
void
keeper_finish(Keeper *keeper, bool release)
{
	atomic_store(&keeper->release, release);
	close(keeper->quit_pipe[1]);
}

/* Has the keeper ended? */
bool
keeper_is_finished(Keeper *keeper)
{
	return atomic_load(&keeper->finished);
}

/* Joins and frees a keeper that was told to end. */
void
keeper_free(Keeper *keeper)
{
	pthread_join(keeper->thread, NULL);
	close(keeper->quit_pipe[0]);
	pg_free(keeper->conn);
	free(keeper);
}
