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
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "log.h"
#include "report.h"
#include "value.h"
#include "worker.h"
#include "worker_parts.h"

/* How long --until-empty waits for work that is just being sequenced. */
#define EMPTY_WAIT 250

/* After so many vain claims in a row --until-empty takes it as empty. */
#define EMPTY_SPINS 5

/* Longest pause between vain claims, as a power of two of milliseconds. */
#define MAX_SPIN_SHIFT 8

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
				 worker_failure_level(worker, "worker type"),
				 "worker type does not exist; "
				 "create it with sentinai.subscribe()",
				 LOG_S("worker_type", settings->worker_type), LOG_END);
		if (settings->unknown_type == UNKNOWN_EXIT)
			return worker_give_up(worker, EXIT_UNAVAILABLE);
	}
	else if (worker->has_batch && !worker->batch.in_doubt &&
			 batch_has_news(&worker->batch))
	{
		/* whatever is refused, the rest goes without it */
		worker_log_failure(worker, LOG_WARNING, "the server refused a report");
		worker->batch.in_doubt = true;
		return true;
	}
	else if (worker->has_batch && report_is_stale(worker->conn))
	{
		if (!lease_is_lost(worker->lease))
			worker_log_failure(worker, LOG_WARNING, "lease lost, dropping the batch");
		worker_drop_batch(worker);
		return true;
	}
	else
		worker_log_trouble(worker, "the server refused a call");
	if (worker_is_to_blame(worker))
		atomic_store(&worker->link, LINK_REFUSED);
	if (worker->has_batch && worker->failures >= MAX_REFUSALS)
		worker_give_up_batch(worker);
	worker_back_off(worker);
	return true;
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
	worker_set_interrupt(worker);
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
		worker_log_trouble(worker, "could not wait for work");
		if (status == PG_REFUSED)
			worker_back_off(worker);
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
	/* a claim tells nothing of a batch that could not be prepared before */
	if (worker->unprepared == 0)
		worker_forget_failures(worker);
	worker->read_only = false;
	worker->skip_claim = false;
	if (worker->has_batch)
		worker_finish_batch(worker, turn);
	if (!turn->claim)
		return;
	worker->has_claimed = true;
	if (turn->batch.count > 0)
	{
		worker->spins = 0;
		worker_handle_batch(worker, &turn->batch);
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
		worker_lose_connection(worker, false);
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
	worker_set_interrupt(worker);
	if (!worker_ensure_connected(worker))
		return false;
	if (!settle_batch(worker))
		return true;
	if (worker->has_batch && !batch_fill_turn(&worker->batch, &turn))
	{
		log_line(LOG_ERROR, "out of memory", LOG_END);
		worker_drop_batch(worker);
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
		worker_lose_connection(worker, turn.claim);
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
			worker_drop_batch(worker);
		if (worker->failures > 0 && worker_must_end(worker))
			break;
	}
	if (worker->has_batch)
	{
		if (pg_is_connected(worker->conn))
			worker_release_batch(worker);
		worker_drop_batch(worker);
	}
	pthread_mutex_unlock(&worker->lease->baton);
	worker_end(worker);
	return NULL;
}
