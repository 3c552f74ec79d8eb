/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * pg.c
 *	  The calls an agent makes to the server.
 *
 * A call is one transaction; pg_link.c runs its statements in one round trip.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event.h"
#include "pg_link.h"
#include "value.h"

/* From now on every call ends so early that a lease allows another. */
void
pg_hurry(PgConn *conn)
{
	conn->in_hurry = true;
}

/* Time for one call; the server ends every statement before if it can. */
static int
call_timeout(const PgConn *conn)
{
	int			timeout = 2 * conn->settings->statement_timeout +
		DEADLINE_SLACK;
	int			third = conn->settings->lease / 3;

	if (!conn->in_hurry || third > timeout)
		return timeout;
	return third > SECOND ? third : SECOND;
}

/* Adds the statements every transaction begins with; how many. */
static int
begin_steps(const PgConn *conn, Step *steps)
{
	steps[0].statement = ST_BEGIN;
	steps[1].statement = ST_TIMEOUT;
	steps[1].params[0] = conn->timeout;
	return 2;
}

/* Takes the events out of the result of a claim. */
static bool
take_batch(PGresult *result, PgBatch *batch)
{
	int			count = PQntuples(result);
	int			i;

	batch->events = calloc((size_t) count + 1, sizeof(AgentEvent));
	if (batch->events == NULL)
		return false;
	for (i = 0; i < count; i++)
	{
		AgentEvent *event = &batch->events[i];
		int			member;

		for (member = 0; member < EVENT_MEMBERS; member++)
			event_set(event, (EventMember) member,
					  PQgetisnull(result, i, member) ? NULL :
					  PQgetvalue(result, i, member));
		event->attempt = atoi(PQgetvalue(result, i, EVENT_MEMBERS));
	}
	batch->count = count;
	batch->result = result;
	return true;
}

/* Frees a batch; its events are gone with it. */
void
pg_batch_free(PgBatch *batch)
{
	free(batch->events);
	PQclear(batch->result);
	memset(batch, 0, sizeof(*batch));
}

/*
 * Fills the steps of a turn; how many.  `delays` holds the intervals.  What
 * was completed comes first, as it came first within its key.
 */
static int
turn_steps(const PgConn *conn, const PgTurn *turn, Step *steps,
		   char (*delays)[32])
{
	int			count = begin_steps(conn, steps);
	int			i;

	if (turn->complete)
	{
		bool		is_set = turn->set_handler != NULL;

		steps[count].statement = is_set ? ST_HANDLE : ST_COMPLETE;
		steps[count].params[0] = is_set ? turn->set_handler : turn->token;
		steps[count++].params[1] = is_set ? turn->handled : turn->completed_ids;
	}
	for (i = 0; i < turn->failure_count; i++)
	{
		const PgFailure *failure = &turn->failures[i];
		Step	   *step = &steps[count++];

		step->statement = ST_FAIL;
		step->params[0] = turn->token;
		step->params[1] = failure->event_id;
		step->params[2] = failure->error ? failure->error : "out of memory";
		step->params[3] = failure->retryable ? "true" : "false";
		if (failure->retry_in >= 0)
		{
			snprintf(delays[i], sizeof(delays[i]), "%d milliseconds",
					 failure->retry_in);
			step->params[4] = delays[i];
		}
	}
	if (turn->claim)
	{
		steps[count].statement = ST_CLAIM;
		steps[count].params[0] = conn->settings->worker_type;
		steps[count].params[1] = conn->max_events;
		steps[count].params[2] = conn->lease;
		steps[count++].params[3] = conn->worker_id;
	}
	steps[count++].statement = ST_COMMIT;
	return count;
}

/* Takes the answers of a turn out of its results. */
static bool
take_turn(PgTurn *turn, Step *steps)
{
	int			next = 2;
	int			i;

	if (turn->complete && turn->set_handler != NULL)
	{
		turn->retried = atoi(PQgetvalue(steps[next].result, 0, 1));
		turn->dead = atoi(PQgetvalue(steps[next].result, 0, 2));
	}
	if (turn->complete)
		next++;
	for (i = 0; i < turn->failure_count; i++)
		turn->failures[i].dead =
			strcmp(PQgetvalue(steps[next++].result, 0, 0), "dead") == 0;
	if (turn->claim)
	{
		if (!take_batch(steps[next].result, &turn->batch))
			return false;
		steps[next].result = NULL;
	}
	return true;
}

/* Ends a batch and claims the next, in one transaction and round trip. */
PgStatus
pg_turn(PgConn *conn, PgTurn *turn)
{
	size_t		failures = (size_t) turn->failure_count;
	Step	   *steps = calloc(failures + 5, sizeof(Step));
	char		(*delays)[32] = calloc(failures + 1, sizeof(*delays));
	PgStatus	status;
	int			failed = 0;
	int			count;

	turn->claim_refused = false;
	if (steps == NULL || delays == NULL)
		status = link_lose(conn, "out of memory");
	else
	{
		count = turn_steps(conn, turn, steps, delays);
		status = link_transaction(conn, steps, count, call_timeout(conn),
								  &failed);
		turn->claim_refused = status == PG_REFUSED &&
			steps[failed].statement == ST_CLAIM;
		if (status == PG_DONE && !take_turn(turn, steps))
			status = link_lose(conn, "out of memory");
		link_clear(steps, count);
	}
	free(steps);
	free(delays);
	return status;
}

/* Takes the tasks out of a result; they are in the order of the events. */
static bool
take_tasks(PGresult *result, const PgBatch *batch, PgTasks *tasks)
{
	int			width = PQnfields(result) - 1;
	int			event = 0;
	int			row;
	int			column;

	tasks->count = PQntuples(result);
	tasks->tasks = calloc((size_t) tasks->count + 1, sizeof(AgentTask));
	tasks->cells = calloc((size_t) tasks->count * (size_t) width + 1, sizeof(char *));
	if (tasks->tasks == NULL || tasks->cells == NULL)
		return false;
	for (row = 0; row < tasks->count; row++)
	{
		const char **cells = tasks->cells + row * width;

		while (event < batch->count &&
			   strcmp(batch->events[event].event_id,
					  PQgetvalue(result, row, 0)) != 0)
			event++;
		if (event == batch->count)
			return false;
		for (column = 0; column < width; column++)
			if (!PQgetisnull(result, row, column + 1))
				cells[column] = PQgetvalue(result, row, column + 1);
		tasks->tasks[row].event = &batch->events[event];
		tasks->tasks[row].columns = cells;
	}
	return true;
}

/* Asks what events, or records, of a batch need done outside of the database. */
PgStatus
pg_prepare(PgConn *conn, const char *set_handler, const char *list,
		   bool are_records, const PgBatch *batch, PgTasks *tasks)
{
	Step		steps[4] = {0};
	int			count = begin_steps(conn, steps);
	int			prepare = count;
	PgStatus	status;

	steps[count].statement = are_records ? ST_PREPARE_RECORDS : ST_PREPARE;
	steps[count].params[0] = set_handler;
	steps[count++].params[1] = list;
	steps[count++].statement = ST_COMMIT;
	status = link_transaction(conn, steps, count, call_timeout(conn), NULL);
	if (status == PG_DONE)
	{
		tasks->result = steps[prepare].result;
		steps[prepare].result = NULL;
		if (!take_tasks(tasks->result, batch, tasks))
			status = link_lose(conn, "no memory, or tasks of other events");
	}
	link_clear(steps, count);
	return status;
}

/* Frees tasks with their results. */
void
pg_tasks_free(PgTasks *tasks)
{
	int			i;

	for (i = 0; tasks->tasks != NULL && i < tasks->count; i++)
		free(tasks->tasks[i].result);
	free(tasks->tasks);
	free(tasks->cells);
	PQclear(tasks->result);
	memset(tasks, 0, sizeof(*tasks));
}

/* Hands records to a set handler, in one transaction. */
PgStatus
pg_handle_records(PgConn *conn, PgRecords *records)
{
	Step		steps[4] = {0};
	int			count = begin_steps(conn, steps);
	int			handle = count;
	char		partition[16];
	PgStatus	status;

	snprintf(partition, sizeof(partition), "%d", records->partition);
	steps[count++] = (Step) {ST_RECORDS, {records->handler, records->topic,
			partition, records->records}, NULL};
	steps[count++].statement = ST_COMMIT;
	status = link_transaction(conn, steps, count, call_timeout(conn), NULL);
	if (status == PG_DONE)
	{
		PGresult   *result = steps[handle].result;

		steps[handle].result = NULL;
		records->result = result;
		records->handled = atoi(PQgetvalue(result, 0, 0));
		records->dead = atoi(PQgetvalue(result, 0, 1));
		records->poison = PQgetvalue(result, 0, 2);
		records->failed = PQgetvalue(result, 0, 3);
		records->delays = PQgetvalue(result, 0, 4);
		records->waiting = PQgetvalue(result, 0, 5);
	}
	link_clear(steps, count);
	return status;
}

/* Frees the answer; its arrays are gone with it. */
void
pg_records_free(PgRecords *records)
{
	PQclear(records->result);
	records->result = NULL;
}

/* Extends the lease of a batch. */
PgStatus
pg_extend(PgConn *conn, const char *token)
{
	Step		steps[4] = {0};
	int			count = begin_steps(conn, steps);
	PgStatus	status;

	steps[count].statement = ST_EXTEND;
	steps[count].params[0] = token;
	steps[count++].params[1] = conn->lease;
	steps[count++].statement = ST_COMMIT;
	status = link_transaction(conn, steps, count, call_timeout(conn), NULL);
	link_clear(steps, count);
	return status;
}

/* Gives back what is left of a batch; `released` may be NULL. */
PgStatus
pg_release(PgConn *conn, const char *token, int *released)
{
	Step		steps[4] = {0};
	int			count = begin_steps(conn, steps);
	PgStatus	status;

	steps[count].statement = ST_RELEASE;
	steps[count++].params[0] = token;
	steps[count++].statement = ST_COMMIT;
	status = link_transaction(conn, steps, count, call_timeout(conn), NULL);
	if (status == PG_DONE && released != NULL)
		*released = atoi(PQgetvalue(steps[2].result, 0, 0));
	link_clear(steps, count);
	return status;
}

/*
 * Waits until there may be work.  A procedure call is a transaction of its
 * own, so the server ends it by its own time limit.
 */
PgStatus
pg_wait_for_work(PgConn *conn, int milliseconds, bool *ready)
{
	Step		step = {.statement = ST_WAIT};
	char		timeout[32];
	PgStatus	status;

	*ready = false;
	snprintf(timeout, sizeof(timeout), "%d milliseconds", milliseconds);
	step.params[0] = conn->settings->worker_type;
	step.params[1] = timeout;
	status = link_run(conn, &step, 1, milliseconds + DEADLINE_SLACK, true, NULL);
	if (status == PG_DONE && PQntuples(step.result) == 1)
		*ready = PQgetvalue(step.result, 0, 0)[0] == 't';
	link_clear(&step, 1);
	if (status == PG_REFUSED && strcmp(conn->sqlstate, "57014") == 0)
		return PG_INTERRUPTED;
	return status;
}
