/*-------------------------------------------------------------------------
 *
 * agent.c
 *	  Threads that claim events and finish them, whatever the queue.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 * A turn is: open (a transaction, or a batch whose number the claim and the
 * finish take as $1), claim, hold the events in hand, finish.  In pipeline
 * mode the finish of one batch travels with the claim of the next and shares
 * its commit.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

/* One agent's tools. */
typedef struct Agent
{
	PGconn	   *conn;
	Tally	   *tally;
	char	   *handle;			/* token, array of ids, or number of the batch */
	size_t		handle_size;
} Agent;

/* Make room for a handle of that length. */
static void
reserve(Agent *agent, size_t len)
{
	if (len < agent->handle_size)
		return;
	agent->handle_size = len + 1024;
	agent->handle = realloc(agent->handle, agent->handle_size);
	if (agent->handle == NULL)
		die("agent", "out of memory");
}

/* Keep what the finish of these events needs. */
static void
keep_handle(Agent *agent, PGresult *res)
{
	int			rows = PQntuples(res);
	char	   *to;

	if (plan.finish_with == 't')
	{
		reserve(agent, PQgetlength(res, 0, 0));
		strcpy(agent->handle, PQgetvalue(res, 0, 0));
	}
	if (plan.finish_with != 'i')
		return;
	reserve(agent, (size_t) rows * 40 + 2);
	to = agent->handle;
	for (int i = 0; i < rows; i++)
	{
		*to++ = i == 0 ? '{' : ',';
		to = stpcpy(to, PQgetvalue(res, i, 0));
	}
	strcpy(to, "}");
}

/* The events of a claim are in hand: note their arrival, pretend to work. */
static int
take_events(Agent *agent, PGresult *res, int64_t called)
{
	int			rows = PQntuples(res);
	int64_t		now = now_ns();

	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		die(plan.claim, PQerrorMessage(agent->conn));
	if (plan.latency && rows > 0)
	{
		int			column = PQfnumber(res, "payload");

		if (column < 0)
			die(plan.claim, "has no column \"payload\"");
		for (int i = 0; i < rows; i++)
			note_seen(PQgetvalue(res, i, column),
					  PQgetlength(res, i, column), called, now);
	}
	if (rows > 0)
	{
		keep_handle(agent, res);
		all_claimed += rows;
		if (plan.work_us > 0)
			sleep_until(now + (int64_t) (plan.work_us * 1000 * rows));
	}
	return rows;
}

/* A claim is called now. */
static int64_t
note_call_of_claim(Agent *agent)
{
	int64_t		now = now_ns();

	if (plan.ways != NULL)
		samples_add(&agent->tally->begins, now);
	return now;
}

/* One statement that must work. */
static PGresult *
execute(Agent *agent, const char *name, bool with_handle)
{
	const char *values[1] = {agent->handle};
	PGresult   *res = PQexecPrepared(agent->conn, name, with_handle ? 1 : 0,
									 values, NULL, NULL, 0);

	if (PQresultStatus(res) != PGRES_TUPLES_OK &&
		PQresultStatus(res) != PGRES_COMMAND_OK)
		die(name, PQerrorMessage(agent->conn));
	return res;
}

/* Open a turn; false when there is no batch. */
static bool
open_turn(Agent *agent)
{
	PGresult   *res;
	bool		found = true;

	if (plan.open == NULL)
		return true;
	res = execute(agent, "open", false);
	if (plan.finish_with == 'b')
	{
		found = !PQgetisnull(res, 0, 0);
		if (found)
		{
			reserve(agent, PQgetlength(res, 0, 0));
			strcpy(agent->handle, PQgetvalue(res, 0, 0));
		}
	}
	PQclear(res);
	return found;
}

/* One turn with a round trip for each step; how many events it brought. */
static int
plain_turn(Agent *agent)
{
	PGresult   *res;
	int			rows;
	int64_t		called;

	if (!open_turn(agent))
		return 0;
	called = note_call_of_claim(agent);
	res = execute(agent, "claim", plan.finish_with == 'b');
	rows = take_events(agent, res, called);
	PQclear(res);
	if (rows > 0 || plan.open != NULL)
		PQclear(execute(agent, "finish", plan.finish_with != 'n'));
	return rows;
}

/* The one result of the next statement in the pipeline. */
static PGresult *
pipeline_result(Agent *agent, const char *what)
{
	PGresult   *res = PQgetResult(agent->conn);
	PGresult   *end;

	if (PQresultStatus(res) != PGRES_TUPLES_OK &&
		PQresultStatus(res) != PGRES_COMMAND_OK)
		die(what, PQerrorMessage(agent->conn));
	end = PQgetResult(agent->conn);
	if (end != NULL)
		die(what, "more results than statements");
	return res;
}

/* Finish what is in hand and claim the next events in one round trip. */
static int
pipeline_turn(Agent *agent, bool in_hand)
{
	const char *values[1] = {agent->handle};
	PGresult   *res;
	PGresult   *sync;
	int			rows;
	int64_t		called = note_call_of_claim(agent);

	if (in_hand && PQsendQueryPrepared(agent->conn, "finish", 1, values,
									   NULL, NULL, 0) != 1)
		die(plan.finish, PQerrorMessage(agent->conn));
	if (PQsendQueryPrepared(agent->conn, "claim", 0, NULL, NULL, NULL, 0) != 1 ||
		PQpipelineSync(agent->conn) != 1)
		die(plan.claim, PQerrorMessage(agent->conn));
	if (in_hand)
		PQclear(pipeline_result(agent, plan.finish));
	res = pipeline_result(agent, plan.claim);
	sync = PQgetResult(agent->conn);
	if (PQresultStatus(sync) != PGRES_PIPELINE_SYNC)
		die(plan.claim, "no end of the pipeline");
	PQclear(sync);
	rows = take_events(agent, res, called);
	PQclear(res);
	return rows;
}

/* Nothing there: wait as the queue advises. */
static void
wait_for_events(Agent *agent)
{
	PGresult   *res;

	if (plan.wait == NULL)
	{
		if (plan.poll_ms > 0)
			usleep(plan.poll_ms * 1000);
		return;
	}
	if (plan.pipeline)
		PQexitPipelineMode(agent->conn);
	res = PQexec(agent->conn, plan.wait);
	if (PQresultStatus(res) != PGRES_TUPLES_OK &&
		PQresultStatus(res) != PGRES_COMMAND_OK)
		die(plan.wait, PQerrorMessage(agent->conn));
	PQclear(res);
	if (plan.pipeline)
		PQenterPipelineMode(agent->conn);
}

static void
open_agent(Agent *agent, Tally *tally)
{
	memset(agent, 0, sizeof(*agent));
	agent->tally = tally;
	agent->conn = connect_db();
	reserve(agent, 1024);
	if (plan.open != NULL)
		prepare(agent->conn, "open", plan.open);
	prepare(agent->conn, "claim", plan.claim);
	prepare(agent->conn, "finish", plan.finish);
	if (plan.pipeline)
		PQenterPipelineMode(agent->conn);
}

/* Is there anything left to do? */
static bool
more_to_do(void)
{
	return !stopping && (plan.stop_after == 0 ||
						 all_claimed < plan.stop_after);
}

/* Claim and finish until the end. */
void *
agent_main(void *tally)
{
	Agent		agent;
	int			rows = 0;
	int			empty = 0;

	open_agent(&agent, tally);
	while (more_to_do())
	{
		int64_t		begin = now_ns();
		int64_t		end;

		rows = plan.pipeline ? pipeline_turn(&agent, rows > 0) :
			plain_turn(&agent);
		end = now_ns();
		if (measuring(end))
		{
			agent.tally->calls++;
			agent.tally->events += rows;
			if (rows > 0)
				samples_add(&agent.tally->times, end - begin);
			else
				agent.tally->empty++;
		}
		if (rows > 0)
			last_claimed = end;
		empty = rows > 0 ? 0 : empty + 1;
		if (plan.stop_empty && empty >= 3 && all_claimed > 0)
			break;
		if (rows == 0)
			wait_for_events(&agent);
	}
	if (plan.pipeline)
	{
		PQexitPipelineMode(agent.conn);
		if (rows > 0)
			PQclear(execute(&agent, "finish", true));
	}
	PQfinish(agent.conn);
	agents_running--;
	return NULL;
}

/* Call what moves the queue on, at a fixed pace. */
void *
ticker_main(void *tally)
{
	PGconn	   *conn = connect_db();
	int64_t		turn = start_ns;

	(void) tally;
	prepare(conn, "tick", plan.tick);
	while (!stopping)
	{
		PGresult   *res = PQexecPrepared(conn, "tick", 0, NULL, NULL, NULL, 0);

		if (PQresultStatus(res) != PGRES_TUPLES_OK)
			die(plan.tick, PQerrorMessage(conn));
		PQclear(res);
		turn += (int64_t) plan.tick_ms * 1000000;
		sleep_until(turn);
	}
	PQfinish(conn);
	return NULL;
}
