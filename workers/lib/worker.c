/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * worker.c
 *	  A worker thread: claims, handles, completes.
 *
 * The thread goes from turn to turn.  A turn is one transaction that ends
 * the batch handled before and claims the next one; then the handlers run,
 * with no transaction open.  When a turn fails the batch is kept and ended
 * by a later turn, unless the server says that it is not ours any more.
 *
 * When the answer to a report was lost, or one outcome of several is refused,
 * the outcomes are reported one by one: what the server knows already it says
 * so, and that is as good as done.  Only the batch as a whole can be lost.
 */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "log.h"
#include "report.h"
#include "value.h"
#include "worker.h"

/* A batch that lasts longer reports its outcomes at least this often. */
#define REPORT_INTERVAL (1 * SECOND)

/* How long --until-empty waits for work that is just being sequenced. */
#define EMPTY_WAIT 250

/* After so many vain claims in a row --until-empty takes it as empty. */
#define EMPTY_SPINS 5

/* Longest pause between vain claims, as a power of two of milliseconds. */
#define MAX_SPIN_SHIFT 8

/* After so many refusals that are not about the lease a batch is given up. */
#define MAX_REFUSALS 10

/* A failure that comes again and again gets a line so often. */
#define SAY_AGAIN (30 * SECOND)

/* Time for an answer once it is time to end. */
#define STOP_GRACE (2 * SECOND)

struct AgentContext
{
	Worker	   *worker;
	int			retry_in;
	char		error[ERROR_SIZE];
};

/* The thread does something, and should do the next thing in this time. */
void
worker_moves(Worker *worker, long long milliseconds)
{
	atomic_store(&worker->moves_until, clock_ms() + milliseconds +
				 worker->agent->settings->stuck_after);
}

/* Makes a worker, without its thread. */
bool
worker_init(Worker *worker, Agent *agent, int number, const char *worker_id,
			Lease *lease)
{
	memset(worker, 0, sizeof(*worker));
	worker->agent = agent;
	worker->number = number;
	worker->lease = lease;
	atomic_init(&worker->connecting, NOT_CONNECTING);
	atomic_init(&worker->finished, false);
	atomic_init(&worker->link, LINK_DOWN);
	worker_moves(worker, 0);
	if (getrandom(&worker->seed, sizeof(worker->seed), 0) < 0)
		worker->seed = (unsigned int) clock_ms() + (unsigned int) number;
	lease->report = report_for;
	lease->worker = worker;
	worker->conn = pg_new(agent->settings, agent->definition->name, worker_id);
	return worker->conn != NULL;
}

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

	return stop_level(&worker->agent->stop) == STOP_NOW ||
		lease_is_lost(worker->lease);
}

/* The settings of the agent's own options. */
void *
agent_settings(AgentContext *context)
{
	return context->worker->agent->definition->settings;
}

/* Logs what the server or libpq said about our last call. */
static void
log_failure(const Worker *worker, LogLevel level, const char *message)
{
	report_log(worker, worker->conn, level, message);
}

/*
 * The level for a failure after which we try again soon: the same one is
 * worth a line only now and then, however short the pauses are.
 */
static LogLevel
failure_level(Worker *worker, const char *message)
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
static void
log_trouble(Worker *worker, const char *message)
{
	log_failure(worker, failure_level(worker, message), message);
}

/* The stop level that ends what the worker is waiting for. */
static StopLevel
waits_until(const Worker *worker)
{
	return worker->has_batch ? STOP_NOW : STOP_DRAIN;
}

/* Should the worker give up waiting? */
static bool
must_end(const Worker *worker)
{
	return stop_level(&worker->agent->stop) >= waits_until(worker);
}

/*
 * A stop ends the wait for an answer: soon, but with a batch not before the
 * time for it is over.
 */
static void
set_interrupt(Worker *worker)
{
	const Agent *agent = worker->agent;

	pg_set_interrupt(worker->conn, stop_fd(&agent->stop, waits_until(worker)),
					 STOP_GRACE);
}

/* Sleeps after an error: exponential, half of it random. */
static void
back_off(Worker *worker)
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
static bool
give_up(Worker *worker, int status)
{
	int			none = 0;

	log_line(LOG_ERROR, "giving up", LOG_N("worker", worker->number),
			 LOG_N("status", status), LOG_END);
	atomic_compare_exchange_strong(&worker->agent->status, &none, status);
	return false;
}

/* Connects if necessary; false when the worker should end. */
static bool
ensure_connected(Worker *worker)
{
	const Settings *settings = worker->agent->settings;
	int			attempts = 0;

	while (!pg_is_connected(worker->conn))
	{
		bool		connected;

		if (must_end(worker))
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
			log_trouble(worker, "could not connect");
			if (++attempts == settings->reconnect_attempts)
				return give_up(worker, EXIT_UNAVAILABLE);
			back_off(worker);
		}
		atomic_store(&worker->connecting, NOT_CONNECTING);
	}
	return true;
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
static void
drop_batch(Worker *worker)
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

/*
 * Does outside of the database what the set handler needs for the batch; false
 * when the batch is lost.  A batch that cannot be prepared is given back.
 */
static bool
work_outside(Worker *worker)
{
	const AgentDefinition *definition = worker->agent->definition;
	AgentContext context = {.worker = worker,.retry_in = -1};
	Batch	   *batch = &worker->batch;
	const char *list = batch_list_open(batch);
	PgTasks		tasks = {0};

	if (list == NULL)
		return false;
	if (pg_prepare(worker->conn, definition->set_handler, list,
				   &batch->claimed, &tasks) != PG_DONE)
	{
		pg_tasks_free(&tasks);
		log_trouble(worker, "could not prepare a batch");
		back_off(worker);
		return true;
	}
	if (tasks.count > 0)
	{
		lease_handler_starts(worker->lease, report_due(worker));
		definition->outside(tasks.tasks, tasks.count, &context);
		lease_handler_ended(worker->lease);
	}
	batch_record_tasks(batch, &tasks);
	pg_tasks_free(&tasks);
	return !lease_is_lost(worker->lease);
}

/* Takes over a claimed batch and calls the handlers. */
static void
handle_batch(Worker *worker, PgBatch *claimed)
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
		drop_batch(worker);
		return;
	}
	worker->has_batch = true;
	if (stop_level(&agent->stop) != STOP_NOT)
		return;
	if (agent->definition->outside != NULL)
	{
		if (!work_outside(worker))
			drop_batch(worker);
	}
	else if (agent->definition->set_handler != NULL)
		batch_record_all(&worker->batch);
	else if (!handle_events(worker))
		drop_batch(worker);
}

/* Gives back what is left of the batch; that there is nothing is no error. */
static void
release_batch(Worker *worker)
{
	int			released = 0;
	PgStatus	status = pg_release(worker->conn,
									worker->batch.claimed.events[0].token,
									&released);

	report_count(worker, COUNT_RELEASED, released);
	if (status == PG_LOST ||
		(status == PG_REFUSED &&
		 strncmp(pg_sqlstate(worker->conn), "SN40", 4) != 0))
		log_failure(worker, LOG_WARNING, "could not release a batch");
}

/* The turn ended the batch: counts it, and gives back what is left. */
static void
finish_batch(Worker *worker, const PgTurn *turn)
{
	report_done(worker, turn);
	if (worker->batch.open_count > 0)
		release_batch(worker);
	end_batch(worker);
}

/* The server refused a turn. */
static bool
handle_refusal(Worker *worker, const PgTurn *turn)
{
	const Settings *settings = worker->agent->settings;

	if (turn->claim_refused)
		atomic_store(&worker->link, LINK_REFUSED);
	if (turn->claim_refused && worker->has_batch)
	{
		worker->skip_claim = true;
		return true;
	}
	if (turn->claim_refused &&
		strcmp(pg_sqlstate(worker->conn), "SN404") == 0)
	{
		log_line(settings->unknown_type == UNKNOWN_EXIT ? LOG_ERROR :
				 failure_level(worker, "worker type"),
				 "worker type does not exist; "
				 "create it with sentinai.subscribe()",
				 LOG_S("worker_type", settings->worker_type), LOG_END);
		if (settings->unknown_type == UNKNOWN_EXIT)
			return give_up(worker, EXIT_UNAVAILABLE);
	}
	else if (worker->has_batch && !worker->batch.in_doubt &&
			 batch_has_news(&worker->batch))
	{
		/* whatever is refused, the rest goes without it */
		log_failure(worker, LOG_WARNING, "the server refused a report");
		worker->batch.in_doubt = true;
		return true;
	}
	else if (worker->has_batch && report_is_stale(worker->conn))
	{
		if (!lease_is_lost(worker->lease))
			log_failure(worker, LOG_WARNING, "lease lost, dropping the batch");
		drop_batch(worker);
		return true;
	}
	else
		log_trouble(worker, "the server refused a call");
	if (worker->has_batch && worker->failures >= MAX_REFUSALS)
	{
		/* not released: its end counts an attempt, so this has an end */
		log_failure(worker, LOG_ERROR, "giving up a batch");
		drop_batch(worker);
	}
	back_off(worker);
	return true;
}

/*
 * The connection was lost in a turn: the server may know its outcomes, and
 * may have given us a batch.  Nobody can give that back when we end.
 */
static void
lose_connection(Worker *worker, bool claimed)
{
	int			none = 0;

	worker->read_only = pg_is_read_only(worker->conn);
	atomic_store(&worker->link, worker->read_only ? LINK_STANDBY : LINK_DOWN);
	log_trouble(worker, worker->read_only ?
				"the server is a standby, or read-only for us" :
				"connection lost");
	if (claimed && must_end(worker))
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
		back_off(worker);
}

/* Pauses when claims find nothing although there is said to be work. */
static void
pause_spin(Worker *worker)
{
	int			shift = worker->spins < MAX_SPIN_SHIFT ? worker->spins :
		MAX_SPIN_SHIFT;

	if (++worker->spins > 1)
		stop_sleep(&worker->agent->stop, STOP_DRAIN,
				   1 + rand_r(&worker->seed) % (1 << shift));
}

/* Nothing was claimed: waits for work. */
static void
wait_for_work(Worker *worker)
{
	const Settings *settings = worker->agent->settings;
	bool		ready;
	PgStatus	status;

	if (settings->until_empty && worker->spins >= EMPTY_SPINS)
	{
		worker->is_empty = true;
		return;
	}
	set_interrupt(worker);
	worker_moves(worker, settings->wait);
	status = pg_wait_for_work(worker->conn, settings->until_empty ?
							  EMPTY_WAIT : settings->wait, &ready);
	if (status == PG_INTERRUPTED || (status == PG_DONE && ready))
		pause_spin(worker);
	else if (status == PG_DONE)
		worker->is_empty = settings->until_empty;
	else
	{
		atomic_store(&worker->link, status == PG_REFUSED ? LINK_REFUSED :
					 LINK_DOWN);
		log_trouble(worker, "could not wait for work");
		if (status == PG_REFUSED)
			back_off(worker);
	}
}

/* May the next turn claim? */
static bool
wants_claim(Worker *worker)
{
	const Settings *settings = worker->agent->settings;

	if (stop_level(&worker->agent->stop) != STOP_NOT || worker->is_empty ||
		(settings->once && worker->has_claimed))
		return false;
	if (worker->skip_claim && worker->has_batch)
		return false;
	return !worker->has_batch || worker->batch.open_count == 0;
}

/* The turn was committed. */
static void
handle_answer(Worker *worker, PgTurn *turn)
{
	const Settings *settings = worker->agent->settings;

	atomic_store(&worker->link, LINK_UP);
	worker->failures = 0;
	worker->read_only = false;
	worker->said[0] = '\0';
	worker->skip_claim = false;
	if (worker->has_batch)
		finish_batch(worker, turn);
	if (!turn->claim)
		return;
	worker->has_claimed = true;
	if (turn->batch.count > 0)
	{
		worker->spins = 0;
		handle_batch(worker, &turn->batch);
		return;
	}
	pg_batch_free(&turn->batch);
	if (!settings->once)
		wait_for_work(worker);
}

/*
 * Reports what is in doubt before the turn that ends the batch; false when
 * that is all for now.
 */
static bool
settle_batch(Worker *worker)
{
	PgStatus	status;
	PgTurn		none = {0};

	if (!worker->has_batch || !worker->batch.in_doubt)
		return true;
	lease_pause(worker->lease);
	status = report_settle(worker, worker->conn);
	lease_resume(worker->lease);
	if (status == PG_DONE)
		return true;
	if (status == PG_REFUSED)
		handle_refusal(worker, &none);
	else
		lose_connection(worker, false);
	return false;
}

/* Makes the call of a turn, and measures it. */
static PgStatus
time_turn(Worker *worker, PgTurn *turn)
{
	Agent	   *agent = worker->agent;
	long long	start = clock_us();
	PgStatus	status = pg_turn(worker->conn, turn);

	if (status == PG_DONE)
		histogram_observe(&agent->turn_time, clock_us() - start);
	if (status == PG_DONE && turn->complete && turn->set_handler != NULL)
		histogram_observe(&agent->handle_time, clock_us() - start);
	return status;
}

/* Makes one turn; false when the worker should end. */
static bool
make_turn(Worker *worker)
{
	PgTurn		turn = {0};
	PgStatus	status;

	worker_moves(worker, 0);
	turn.claim = wants_claim(worker);
	if (!worker->has_batch && !turn.claim)
		return false;
	set_interrupt(worker);
	if (!ensure_connected(worker))
		return false;
	if (!settle_batch(worker))
		return true;
	if (worker->has_batch && !batch_fill_turn(&worker->batch, &turn))
	{
		log_line(LOG_ERROR, "out of memory", LOG_END);
		drop_batch(worker);
		return true;
	}
	lease_pause(worker->lease);
	status = time_turn(worker, &turn);
	if (status != PG_DONE)
		lease_resume(worker->lease);
	if (status == PG_DONE)
		handle_answer(worker, &turn);
	else if (status == PG_REFUSED)
		return handle_refusal(worker, &turn);
	else
		lose_connection(worker, turn.claim);
	return true;
}

/* The thread ends: the connection, and then the thread's part in the agent. */
void
worker_end(Worker *worker)
{
	pg_free(worker->conn);
	worker->conn = NULL;
	atomic_store(&worker->finished, true);
	worker->agent->on_exit();
}

/* The worker's thread. */
void *
worker_main(void *arg)
{
	Worker	   *worker = arg;

	pthread_mutex_lock(&worker->lease->baton);
	while (make_turn(worker))
	{
		if (worker->has_batch && worker->failures > 0 &&
			lease_is_lost(worker->lease))
			drop_batch(worker);
		if (worker->failures > 0 && must_end(worker))
			break;
	}
	if (worker->has_batch)
	{
		if (pg_is_connected(worker->conn))
			release_batch(worker);
		drop_batch(worker);
	}
	pthread_mutex_unlock(&worker->lease->baton);
	worker_end(worker);
	return NULL;
}
