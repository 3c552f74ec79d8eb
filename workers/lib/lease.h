/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lease.h
 *	  Keeps the leases of batches alive while handlers work.
 */
#ifndef SENTINAI_LEASE_H
#define SENTINAI_LEASE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "conf.h"
#include "pg.h"

/*
 * The lease of one worker thread.  All but `lost` is under the mutex.
 *
 * The baton belongs to the worker's thread but while a handler runs.  Who can
 * take it then may touch the batch's outcomes.
 */
typedef struct Lease
{
	pthread_mutex_t mutex;
	pthread_mutex_t baton;
	void		(*report) (void *worker, PgConn *conn);
	void	   *worker;			/* for report() */
	long long	report_due;		/* next report of outcomes */
	char	   *token;			/* NULL: no batch */
	unsigned long batch;		/* counts the batches of the thread */
	long long	due;			/* next extension */
	atomic_bool lost;			/* the batch belongs to someone else */
} Lease;

typedef struct Keeper Keeper;

extern Keeper *keeper_start(const Settings *settings, const char *program,
							const char *worker_id, Lease *leases, int count,
							void (*on_exit) (void));
extern void keeper_finish(Keeper *keeper, bool release);
extern bool keeper_is_finished(Keeper *keeper);
extern void keeper_free(Keeper *keeper);
extern bool lease_init(Lease *lease);
extern void lease_handler_starts(Lease *lease, long long report_due);
extern void lease_handler_ended(Lease *lease);
extern void lease_mark_lost(Lease *lease);
extern bool lease_begin(Lease *lease, const char *token, int duration);
extern void lease_end(Lease *lease);
extern void lease_pause(Lease *lease);
extern void lease_resume(Lease *lease);
extern bool lease_is_lost(const Lease *lease);

#endif							/* SENTINAI_LEASE_H */
