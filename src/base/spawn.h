/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * spawn.h
 *		Starting background workers.
 */
#ifndef SN_SPAWN_H
#define SN_SPAWN_H

#include "postgres.h"

#include "postmaster/bgworker.h"

extern void sn_worker_form(BackgroundWorker *worker, const char *type,
						   const char *function);

#endif							/* SN_SPAWN_H */
