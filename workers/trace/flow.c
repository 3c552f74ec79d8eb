/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * flow.c
 *	  Reads the events of a flow.
 */
#include <stdlib.h>
#include <string.h>

#include "flow.h"

/* Columns of the query. */
enum
{
	EVENT_ID, PARENT_ID, DEPTH, EVENT_TYPE, TENANT_ID, AGGREGATE_TYPE,
	AGGREGATE_ID, TRACEPARENT, OCCURRED_TEXT, OCCURRED, WORKER_TYPE, STATUS,
	ATTEMPTS, WORKER_ID, ERROR_TEXT, CLAIMED, COMPLETED, DEAD, DUE
};

#define MICROSECONDS(column) \
	"(extract(epoch from " column ") * 1000000)::pg_catalog.int8"

static const char query[] =
"select event_id, parent_id, depth, event_type, tenant_id, aggregate_type,"
" aggregate_id, traceparent, pg_catalog.to_char(occurred_at at time zone"
" 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), "
MICROSECONDS("occurred_at") ", worker_type, status, attempts, worker_id,"
" error, " MICROSECONDS("claimed_at") ", " MICROSECONDS("completed_at") ", "
MICROSECONDS("dead_at") ", " MICROSECONDS("due_at")
" from sentinai.trace_tree($1::text, $2::text, $3::int4)";

/* A column of a row, or NULL. */
static const char *
text_at(const Flow *flow, int row, int column)
{
	return PQgetisnull(flow->result, row, column) ? NULL :
		PQgetvalue(flow->result, row, column);
}

/* A number, 0 for none. */
static long long
number_at(const Flow *flow, int row, int column)
{
	return atoll(PQgetvalue(flow->result, row, column));
}

/* Takes what a row says of the event. */
static void
take_event(Flow *flow, int row)
{
	FlowEvent  *event = &flow->events[flow->count++];

	event->id = text_at(flow, row, EVENT_ID);
	event->type = text_at(flow, row, EVENT_TYPE);
	event->tenant = text_at(flow, row, TENANT_ID);
	event->aggregate_type = text_at(flow, row, AGGREGATE_TYPE);
	event->aggregate_id = text_at(flow, row, AGGREGATE_ID);
	event->traceparent = text_at(flow, row, TRACEPARENT);
	event->time = text_at(flow, row, OCCURRED_TEXT);
	event->occurred = number_at(flow, row, OCCURRED);
	event->depth = (int) number_at(flow, row, DEPTH);
	event->parent = -1;
	event->works = &flow->works[row];
}

/* Takes what a row says of a subscription. */
static void
take_work(Flow *flow, int row)
{
	FlowEvent  *event = &flow->events[flow->count - 1];
	FlowWork   *work = &event->works[event->work_count];

	work->worker_type = text_at(flow, row, WORKER_TYPE);
	if (work->worker_type == NULL)
		return;
	work->status = text_at(flow, row, STATUS);
	work->attempts = text_at(flow, row, ATTEMPTS);
	work->worker_id = text_at(flow, row, WORKER_ID);
	work->error = text_at(flow, row, ERROR_TEXT);
	work->claimed = number_at(flow, row, CLAIMED);
	work->completed = number_at(flow, row, COMPLETED);
	work->dead = number_at(flow, row, DEAD);
	work->due = number_at(flow, row, DUE);
	event->work_count++;
}

/*
 * Finds the parents, and which events are the last of their parent's.  The
 * events on the way down to one are the last before it of each depth.
 */
static bool
find_parents(Flow *flow)
{
	int		   *way = calloc((size_t) flow->count + 1, sizeof(int));
	int			i;

	if (way == NULL)
		return false;
	for (i = 0; i < flow->count; i++)
	{
		FlowEvent  *event = &flow->events[i];

		event->last = true;
		/* what the server says cannot be wrong; a wrong index can be bad */
		if (event->depth < 0 || event->depth > i)
			event->depth = 0;
		if (event->depth > 0)
			event->parent = way[event->depth - 1];
		way[event->depth] = i;
	}
	memset(way, 0, (size_t) flow->count * sizeof(int));
	for (i = flow->count - 1; i >= 0; i--)
	{
		FlowEvent  *event = &flow->events[i];

		/* way: the event before which the next one of a depth was seen */
		if (event->parent >= 0)
		{
			event->last = way[event->parent] == 0;
			way[event->parent] = 1;
		}
	}
	free(way);
	return true;
}

/* Reads a flow; false when the server refuses, or there is no memory. */
bool
flow_read(PGconn *conn, const char *correlation_id, const char *tenant,
		  const char *max_events, Flow *flow)
{
	const char *params[] = {correlation_id, tenant, max_events};
	int			rows;
	int			i;

	memset(flow, 0, sizeof(*flow));
	flow->result = PQexecParams(conn, query, 3, NULL, params, NULL, NULL, 0);
	if (PQresultStatus(flow->result) != PGRES_TUPLES_OK)
		return false;
	rows = PQntuples(flow->result);
	flow->events = calloc((size_t) rows + 1, sizeof(FlowEvent));
	flow->works = calloc((size_t) rows + 1, sizeof(FlowWork));
	if (flow->events == NULL || flow->works == NULL)
		return false;
	for (i = 0; i < rows; i++)
	{
		if (i == 0 || strcmp(PQgetvalue(flow->result, i, EVENT_ID),
							 PQgetvalue(flow->result, i - 1, EVENT_ID)) != 0)
			take_event(flow, i);
		take_work(flow, i);
	}
	return find_parents(flow);
}

/* Frees a flow. */
void
flow_free(Flow *flow)
{
	free(flow->events);
	free(flow->works);
	PQclear(flow->result);
	memset(flow, 0, sizeof(*flow));
}

/* When a subscription was done with an event, or 0. */
long long
flow_work_end(const FlowWork *work)
{
	return work->completed != 0 ? work->completed : work->dead;
}

/* When all that is known of an event was over. */
long long
flow_event_end(const FlowEvent *event)
{
	long long	end = event->occurred;
	int			i;

	for (i = 0; i < event->work_count; i++)
	{
		const FlowWork *work = &event->works[i];

		if (flow_work_end(work) > end)
			end = flow_work_end(work);
		if (work->claimed > end)
			end = work->claimed;
	}
	return end;
}
