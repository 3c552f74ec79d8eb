/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * partition_maker.c
 *		Partitions for who publishes and finds none.
 *
 * A background worker makes them, so that the lock is not kept, and the
 * partition not hidden, until the publisher's transaction ends.  Only when that
 * does not work are they made in the publisher's own transaction.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/pin.h"
#include "base/spawn.h"
#include "store/owner.h"
#include "store/partition.h"
#include "store/range.h"

#define WORKER_PATIENCE 10000	/* ms that a publisher waits for the worker */

/* what a worker is told */
typedef struct MakeRequest
{
	Oid			dboid;
	SnRel		parent;			/* that lacks a partition */
	int64		ms;
} MakeRequest;

/* sn_partition_maker_main: make the partitions around a moment and leave */
void
sn_partition_maker_main(Datum arg)
{
	MakeRequest request;

	memcpy(&request, MyBgworkerEntry->bgw_extra, sizeof(request));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	sn_connect_worker(request.dboid, "sentinai partition maker");
	sn_pin("synchronous_commit", "off");	/* the publisher's commit is later */

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "making partitions of sentinai_internal.event_log");
	if (sn_installed())
	{
		sn_work_as_owner();
		sn_partition_make(request.parent, request.ms);
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_activity(STATE_IDLE, NULL);
	proc_exit(0);
}

/* start_worker: a worker for that moment, or NULL if none can be had */
static BackgroundWorkerHandle *
start_worker(SnRel parent, int64 ms)
{
	MakeRequest request = {MyDatabaseId, parent, ms};
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	sn_worker_form(&worker, "sentinai partition maker",
				   "sn_partition_maker_main");
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &request, sizeof(request));
	return RegisterDynamicBackgroundWorker(&worker, &handle) ? handle : NULL;
}

/* await_worker: until it has ended, within reason */
static void
await_worker(BackgroundWorkerHandle *handle)
{
	TimestampTz deadline =
		TimestampTzPlusMilliseconds(sn_now(), WORKER_PATIENCE);
	pid_t		pid;

	for (;;)
	{
		BgwHandleStatus status = GetBackgroundWorkerPid(handle, &pid);
		long		left = TimestampDifferenceMilliseconds(sn_now(),
														   deadline);

		if (status == BGWH_STOPPED || status == BGWH_POSTMASTER_DIED)
			break;
		if (left <= 0)
		{
			TerminateBackgroundWorker(handle);
			break;
		}
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 left, sn_wait_event("SentinaiPartition"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	SetLatch(MyLatch);			/* others may have meant their wakeups too */
}

/* make_elsewhere: have a worker make the partition, and see what it made */
static Oid
make_elsewhere(SnRel parent, Datum key, int64 ms)
{
	BackgroundWorkerHandle *handle;
	Oid			result;

	sn_lock_making();
	AcceptInvalidationMessages();
	result = sn_partition_of(parent, key);	/* the one before made it */
	if (!OidIsValid(result) && (handle = start_worker(parent, ms)) != NULL)
	{
		await_worker(handle);
		AcceptInvalidationMessages();
		result = sn_partition_of(parent, key);
	}
	sn_unlock_making();
	return result;
}

/*
 * sn_require_partition: the partition of parent that takes key, made if it is
 * not there.  ms is the time that the key holds.
 */
Oid
sn_require_partition(SnRel parent, Datum key, int64 ms)
{
	Oid			result = sn_partition_of(parent, key);

	if (OidIsValid(result))
		return result;
	if (ms < SN_EPOCH_MS || ms > SN_MAX_MS)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("event id is out of range"),
				 errdetail("The time in an event id must lie between 2025 and 2093.")));
	if (sn_partition_ahead(ms))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("event id is out of range"),
				 errdetail("The time in it is ahead by more than sentinai.partition_interval.")));
	if (!sn_partition_locked())
		result = make_elsewhere(parent, key, ms);
	if (!OidIsValid(result))
	{
		sn_partition_make(parent, ms);
		result = sn_partition_of(parent, key);
	}
	if (!OidIsValid(result))
		elog(ERROR, "partition of table %u is missing", sn_rel(parent));
	return result;
}

/* sn_range_require: sn_range_lock(), and the partition is made if it is not there */
Oid
sn_range_require(SnRel parent, const pg_uuid_t *id, LOCKMODE lockmode,
				 SnRange *range)
{
	Oid			partition;

	while (!OidIsValid(partition = sn_range_lock(parent, id, lockmode, range)))
		(void) sn_require_partition(parent, UUIDPGetDatum(id),
									SN_TICK_MS(sn_uuid_tick(id)));
	return partition;
}
