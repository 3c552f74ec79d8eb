/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * spawn.c
 *		Starting background workers.
 */
#include "postgres.h"

#include "base/spawn.h"

/*
 * sn_worker_form: a worker of ours, to be registered.  It runs once, connected
 * to the server; type is what pg_stat_activity calls it, function its entry.
 */
void
sn_worker_form(BackgroundWorker *worker, const char *type,
			   const char *function)
{
	memset(worker, 0, sizeof(BackgroundWorker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_name, type, BGW_MAXLEN);
	strlcpy(worker->bgw_type, type, BGW_MAXLEN);
	strlcpy(worker->bgw_library_name, "sentinai",
			sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function,
			sizeof(worker->bgw_function_name));
}
