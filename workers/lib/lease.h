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

/* The lease of one worker thread.  All but `lost` is under the mutex. */
typedef struct Lease
{
	pthread_mutex_t mutex;
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
extern bool lease_begin(Lease *lease, const char *token, int duration);
extern void lease_end(Lease *lease);
extern void lease_pause(Lease *lease);
extern void lease_resume(Lease *lease);
extern bool lease_is_lost(const Lease *lease);

#endif							/* SENTINAI_LEASE_H */
