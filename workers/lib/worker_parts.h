/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * worker_parts.h
 *	  What the files of a worker thread have of each other.
 */
#ifndef SENTINAI_WORKER_PARTS_H
#define SENTINAI_WORKER_PARTS_H

#include "log.h"
#include "worker.h"

/* After so many refusals that are not about the lease a batch is given up. */
#define MAX_REFUSALS 10

/* worker_link.c */
extern void worker_log_failure(const Worker *worker, LogLevel level,
							   const char *message);
extern LogLevel worker_failure_level(Worker *worker, const char *message);
extern void worker_log_trouble(Worker *worker, const char *message);
extern bool worker_must_end(const Worker *worker);
extern void worker_set_interrupt(Worker *worker);
extern void worker_back_off(Worker *worker);
extern void worker_forget_failures(Worker *worker);
extern bool worker_give_up(Worker *worker, int status);
extern bool worker_ensure_connected(Worker *worker);
extern void worker_lose_connection(Worker *worker, bool claimed);

/* worker_batch.c */
extern void worker_handle_batch(Worker *worker, PgBatch *claimed);
extern void worker_finish_batch(Worker *worker, const PgTurn *turn);
extern void worker_release_batch(Worker *worker);
extern void worker_drop_batch(Worker *worker);
extern void worker_give_up_batch(Worker *worker);
extern bool worker_is_to_blame(const Worker *worker);

#endif							/* SENTINAI_WORKER_PARTS_H */
