/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * worker_batch.c
 *	  What a worker does with a batch: calls the handlers, and keeps what came
 *	  of each event.
 */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "report.h"
#include "value.h"
#include "worker_parts.h"

/* A batch that lasts longer reports its outcomes at least this often. */
#define REPORT_INTERVAL (1 * SECOND)

struct AgentContext
{
	Worker	   *worker;
	int			retry_in;
	char		error[ERROR_SIZE];
};

/* Sets the error text of the event being handled. */
void
agent_error(AgentContext *context, const char *format,...)
{
	char		text[ERROR_SIZE];
	va_list		args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	text_clean(context->error, sizeof(context->error), text, strlen(text));
}

/* Sets the delay of the retry of the event being handled. */
void
agent_retry_in(AgentContext *context, int milliseconds)
{
	context->retry_in = milliseconds;
}

/* Is the result of the handler of no use any more? */
bool
agent_should_stop(AgentContext *context)
{
	Worker	   *worker = context->worker;

	if (worker->keep != NULL)
		worker->keep(worker);
	return stop_level(&worker->agent->stop) == STOP_NOW ||
		lease_is_lost(worker->lease);
}

/* The settings of the agent's own options. */
void *
agent_settings(AgentContext *context)
{
	return context->worker->agent->definition->settings;
}

/* The handler of an event, or NULL. */
static AgentFunction
find_handler(const AgentDefinition *definition, const char *event_type)
{
	const AgentHandler *handler;
	AgentFunction any = NULL;

	for (handler = definition->handlers; handler->function; handler++)
	{
		if (strcmp(handler->event_type, event_type) == 0)
			return handler->function;
		if (strcmp(handler->event_type, AGENT_ANY_TYPE) == 0)
			any = handler->function;
	}
	return any;
}

/* When the keeper should report for us; at once if we cannot any more. */
static long long
report_due(const Worker *worker)
{
	if (!batch_has_news(&worker->batch))
		return LLONG_MAX;
	return pg_is_connected(worker->conn) ? worker->next_report : clock_ms();
}

/* Calls the handler of one event and keeps the outcome. */
static void
handle_event(Worker *worker, int index)
{
	static const char *const outcomes[] = {
		"complete", "retry", "fail", "release"
	};
	const AgentEvent *event = &worker->batch.claimed.events[index];
	AgentFunction function = find_handler(worker->agent->definition,
										  event->event_type);
	AgentContext context = {.worker = worker, .retry_in = -1};
	AgentOutcome outcome = AGENT_RETRY;
	long long	start = clock_us();

	worker_moves(worker, 0);
	if (function != NULL)
	{
		lease_handler_starts(worker->lease, report_due(worker));
		outcome = function(event, &context);
		lease_handler_ended(worker->lease);
		histogram_observe(&worker->agent->handle_time, clock_us() - start);
	}
	else
		agent_error(&context, "the agent has no handler for this event type");
	if (context.error[0] == '\0')
		agent_error(&context, "the handler gave no error text");
	batch_record(&worker->batch, index, outcome, context.error,
				 context.retry_in);
	log_line(outcome == AGENT_COMPLETE ? LOG_DEBUG : LOG_INFO,
			 "event handled", LOG_S("outcome", outcomes[outcome]),
			 LOG_S("event_id", event->event_id),
			 LOG_S("event_type", event->event_type),
			 LOG_N("attempt", event->attempt),
			 LOG_N("ms", (clock_us() - start) / 1000), LOG_END);
}

/* Forgets the batch. */
static void
end_batch(Worker *worker)
{
	lease_end(worker->lease);
	batch_free(&worker->batch);
	worker->has_batch = false;
}

/* Forgets a batch that is lost; others will get its events. */
void
worker_drop_batch(Worker *worker)
{
	const Batch *batch = &worker->batch;

	report_count(worker, COUNT_DROPPED, batch->open_count +
				 batch->completed_count + batch->failure_count);
	report_count(worker, COUNT_LOST, 1);
	end_batch(worker);
}

/*
 * May the next handler start?  When stopping, only for a while, so that the
 * last one can end before the shutdown timeout.
 */
static bool
may_start_handler(const Worker *worker)
{
	const Agent *agent = worker->agent;

	if (lease_is_lost(worker->lease))
		return false;
	switch (stop_level(&agent->stop))
	{
		case STOP_NOT:
			return true;
		case STOP_DRAIN:
			return clock_ms() < atomic_load(&agent->start_until);
		case STOP_NOW:
			break;
	}
	return false;
}

/* Calls the handlers of a batch; false when the batch is lost. */
static bool
handle_events(Worker *worker)
{
	int			i;

	worker->next_report = clock_ms() + REPORT_INTERVAL;
	for (i = 0; i < worker->batch.claimed.count; i++)
	{
		if (!may_start_handler(worker))
			break;
		if (clock_ms() >= worker->next_report)
		{
			if (!report_progress(worker, worker->conn))
				return false;
			worker->next_report = clock_ms() + REPORT_INTERVAL;
		}
		if (!batch_is_blocked(&worker->batch, i))
			handle_event(worker, i);
	}
	return !lease_is_lost(worker->lease);
}

/* Does tasks outside of the database, with no transaction open. */
void
worker_call_outside(Worker *worker, PgTasks *tasks)
{
	AgentContext context = {.worker = worker,.retry_in = -1};

	worker->agent->definition->outside(tasks->tasks, tasks->count, &context);
}

/*
 * Is the last refusal about us: rights that we have not, or a handler that is
 * not there?  No event is to blame for that.
 */
bool
worker_is_to_blame(const Worker *worker)
{
	const char *state = pg_sqlstate(worker->conn);

	return strncmp(state, "42", 2) == 0 || strcmp(state, "3F000") == 0;
}

/*
 * The server has refused a batch again and again.  It is not released: its end
 * counts an attempt, so this has an end.  But what no event is to blame for
 * uses up no attempt where the whole work was undone, as that of a set handler
 * is.  A handler of single events has done its work when its report is
 * refused, and would do it for ever.
 */
void
worker_give_up_batch(Worker *worker)
{
	bool		was_undone =
		worker->agent->definition->set_handler != NULL;

	worker_log_failure(worker, LOG_ERROR, "giving up a batch");
	if (!was_undone || !worker_is_to_blame(worker))
		worker_drop_batch(worker);
	else
	{
		worker_release_batch(worker);
		end_batch(worker);
	}
}

/*
 * A batch could not be prepared and is given back; false when that happens
 * again and again.  Its end counts an attempt then, so this has an end.
 */
static bool
give_back_unprepared(Worker *worker)
{
	worker_log_trouble(worker, "could not prepare a batch");
	worker->unprepared++;
	if (worker_is_to_blame(worker))
		atomic_store(&worker->link, LINK_REFUSED);
	else if (worker->unprepared >= MAX_REFUSALS)
	{
		worker->unprepared = 0;
		worker_log_failure(worker, LOG_ERROR, "giving up a batch");
		return false;
	}
	worker_back_off(worker);
	return true;
}

/*
 * Does outside of the database what the set handler needs for the batch; false
 * when the batch is lost.
 */
static bool
work_outside(Worker *worker)
{
	const AgentDefinition *definition = worker->agent->definition;
	Batch	   *batch = &worker->batch;
	const char *list = batch_list_open(batch);
	PgTasks		tasks = {0};

	if (list == NULL)
		return false;
	if (pg_prepare(worker->conn, definition->set_handler, list, false,
				   &batch->claimed, &tasks) != PG_DONE)
	{
		pg_tasks_free(&tasks);
		return give_back_unprepared(worker);
	}
	worker->unprepared = 0;
	worker_forget_failures(worker);
	if (tasks.count > 0)
	{
		lease_handler_starts(worker->lease, report_due(worker));
		worker_call_outside(worker, &tasks);
		lease_handler_ended(worker->lease);
	}
	batch_record_tasks(batch, &tasks);
	pg_tasks_free(&tasks);
	return !lease_is_lost(worker->lease);
}

/* Takes over a claimed batch and calls the handlers. */
void
worker_handle_batch(Worker *worker, PgBatch *claimed)
{
	Agent	   *agent = worker->agent;

	report_count(worker, COUNT_CLAIMED, claimed->count);
	report_count(worker, COUNT_BATCHES, 1);
	if (!batch_init(&worker->batch, claimed,
					agent->definition->set_handler) ||
		!lease_begin(worker->lease, worker->batch.claimed.events[0].token,
					 agent->settings->lease))
	{
		log_line(LOG_ERROR, "out of memory", LOG_END);
		worker_drop_batch(worker);
		return;
	}
	worker->has_batch = true;
	if (stop_level(&agent->stop) != STOP_NOT)
		return;
	if (agent->definition->outside != NULL)
	{
		if (!work_outside(worker))
			worker_drop_batch(worker);
	}
	else if (agent->definition->set_handler != NULL)
		batch_record_all(&worker->batch);
	else if (!handle_events(worker))
		worker_drop_batch(worker);
}

/* Gives back what is left of the batch; that there is nothing is no error. */
void
worker_release_batch(Worker *worker)
{
	int			released = 0;
	PgStatus	status = pg_release(worker->conn,
									worker->batch.claimed.events[0].token,
									&released);

	report_count(worker, COUNT_RELEASED, released);
	if (status == PG_LOST ||
		(status == PG_REFUSED &&
		 strncmp(pg_sqlstate(worker->conn), "SN40", 4) != 0))
		worker_log_failure(worker, LOG_WARNING, "could not release a batch");
}

/* The turn ended the batch: counts it, and gives back what is left. */
void
worker_finish_batch(Worker *worker, const PgTurn *turn)
{
	report_done(worker, turn);
	if (worker->batch.open_count > 0)
		worker_release_batch(worker);
	end_batch(worker);
}
