/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * report.c
 *	  Tells the server what became of the events of a batch.
 *
 * The turn that ends a batch reports what is left; see worker.c.  Here are
 * the reports in the middle of it, by the worker's thread between handlers
 * and by the keeper's while one runs, and what to do when it is not known
 * whether the server has a report: the outcomes go one by one then, and what
 * it refuses as no news is as good as done.
 */
#include <string.h>

#include "log.h"
#include "report.h"

/* Adds to a count. */
void
report_count(Worker *worker, Count kind, int number)
{
	atomic_fetch_add(&worker->counts[kind], number);
}

/* Logs what the server or libpq said about the last call on a connection. */
void
report_log(const Worker *worker, const PgConn *conn, LogLevel level,
		 const char *message)
{
	log_line(level, message, LOG_N("worker", worker->number),
			 LOG_S("sqlstate", pg_sqlstate(conn)),
			 LOG_S("error", pg_message(conn)), LOG_END);
}

/* Is the last refusal about the token, or about an event of it? */
bool
report_is_stale(const PgConn *conn)
{
	return strcmp(pg_sqlstate(conn), "SN409") == 0 ||
		strcmp(pg_sqlstate(conn), "SN404") == 0;
}

/* Counts failures that the server knows, and says which events died. */
static void
count_failures(Worker *worker, const PgTurn *turn)
{
	int			i;

	for (i = 0; i < turn->failure_count; i++)
	{
		const PgFailure *failure = &turn->failures[i];

		report_count(worker, failure->dead ? COUNT_DEAD : COUNT_RETRIED, 1);
		if (failure->dead)
			log_line(LOG_WARNING, "an event became a dead letter",
					 LOG_N("worker", worker->number),
					 LOG_S("event_id", failure->event_id), LOG_END);
	}
}

/* Counts what was completed, and what a set handler has failed instead. */
static void
count_completed(Worker *worker, const PgTurn *turn)
{
	report_count(worker, COUNT_COMPLETED, worker->batch.completed_count -
				 turn->retried - turn->dead);
	report_count(worker, COUNT_RETRIED, turn->retried);
	report_count(worker, COUNT_DEAD, turn->dead);
	if (turn->dead > 0)
		log_line(LOG_WARNING, "events became dead letters",
				 LOG_N("worker", worker->number),
				 LOG_N("events", turn->dead), LOG_END);
}

/* The server has the outcomes of a turn. */
void
report_done(Worker *worker, const PgTurn *turn)
{
	count_completed(worker, turn);
	count_failures(worker, turn);
	batch_reported(&worker->batch);
}

/* Reports the completed events; that some are known already is no error. */
static PgStatus
settle_completed(Worker *worker, PgConn *conn)
{
	Batch	   *batch = &worker->batch;
	PgTurn		turn = {0};
	PgStatus	status;

	if (!batch_fill_completed(batch, &turn))
		return PG_LOST;
	status = pg_turn(conn, &turn);
	if (status == PG_DONE)
	{
		count_completed(worker, &turn);
		batch_completed_reported(batch);
	}
	return status;
}

/*
 * Reports one failure.  A server that cannot keep its text gets another, so
 * that the attempt counts.  `known`: it was refused as no news.
 */
static PgStatus
settle_failure(Worker *worker, PgConn *conn, bool *known)
{
	Batch	   *batch = &worker->batch;
	PgTurn		turn = {0};
	PgFailure  *failure;
	const char *error;
	PgStatus	status;

	batch_fill_failure(batch, &turn);
	failure = turn.failures;
	failure->dead = !failure->retryable;
	status = pg_turn(conn, &turn);
	if (status == PG_REFUSED && !report_is_stale(conn))
	{
		report_log(worker, conn, LOG_WARNING, "could not report with this text");
		error = failure->error;
		failure->error = "the error text could not be kept";
		status = pg_turn(conn, &turn);
		failure->error = error;
	}
	if (status == PG_REFUSED && report_is_stale(conn))
		*known = true;
	else if (status != PG_DONE)
		return status;
	count_failures(worker, &turn);
	batch_failure_reported(batch);
	return PG_DONE;
}

/*
 * Reports outcomes one by one, because the server may know some of them or
 * refuse one.  PG_REFUSED with a stale token: the batch is lost.
 */
PgStatus
report_settle(Worker *worker, PgConn *conn)
{
	Batch	   *batch = &worker->batch;
	bool		known = false;
	PgStatus	status = settle_completed(worker, conn);

	while (status == PG_DONE && batch->failure_count > 0)
		status = settle_failure(worker, conn, &known);
	/* the same code tells of a lost token: without events it tells of that */
	if (status == PG_DONE && known)
		status = settle_completed(worker, conn);
	if (status == PG_DONE)
		batch->in_doubt = false;
	return status;
}

/* Reports the outcomes so far on a connection. */
static PgStatus
send_outcomes(Worker *worker, PgConn *conn)
{
	Batch	   *batch = &worker->batch;
	PgTurn		turn = {0};
	PgStatus	status;

	if (batch->in_doubt)
		return report_settle(worker, conn);
	if (!batch_fill_turn(batch, &turn))
		return PG_DONE;
	status = pg_turn(conn, &turn);
	if (status == PG_DONE)
		report_done(worker, &turn);
	else
		batch->in_doubt = true;
	if (status == PG_REFUSED)
		return report_settle(worker, conn);
	return status;
}

/*
 * Reports outcomes in the middle of a batch, so that a crash repeats little
 * and retries become due in time.  What cannot be reported now is reported
 * later; false when the batch is lost.
 */
bool
report_progress(Worker *worker, PgConn *conn)
{
	PgStatus	status;

	if (!batch_has_news(&worker->batch) || !pg_is_connected(conn))
		return true;
	status = send_outcomes(worker, conn);
	if (status == PG_REFUSED && report_is_stale(conn))
	{
		report_log(worker, conn, LOG_WARNING, "lease lost, dropping the batch");
		return false;
	}
	if (status != PG_DONE)
		report_log(worker, conn, LOG_WARNING, "could not report yet");
	return true;
}

/* Reports for a worker whose handler is running, on the keeper's thread. */
void
report_for(void *arg, PgConn *conn)
{
	Worker	   *worker = arg;

	if (!report_progress(worker, conn))
		lease_mark_lost(worker->lease);
}
