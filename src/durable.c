/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * durable.c
 *		Waiting until a commit can no longer be taken back.
 *
 * What the relay sends cannot be recalled, so everything it read must survive
 * a crash and a failover.  A commit stands in the WAL before a snapshot shows
 * it, asynchronous ones included; so the WAL up to where it ended when a
 * snapshot had been taken holds all that the snapshot shows.  The relay waits
 * until that much is flushed and, with synchronous replication, on the
 * standbys.  It needs no transaction number and writes nothing for it; most of
 * the time others have flushed the WAL before it asks.
 *
 * A wait for standbys that somebody cancelled ends with a warning only, and one
 * for a place before the end may be over too soon; hence the second look.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogrecord.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/guc.h"

#include "compat.h"
#include "durable.h"
#include "fault.h"

/* sn_require_sync_commit: for this process, no weaker than "on" */
void
sn_require_sync_commit(void)
{
	if (synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_FLUSH ||
		SN_BUG(no_flush))
		SetConfigOption("synchronous_commit", SN_BUG(no_flush) ? "off" : "on",
						PGC_USERSET, PGC_S_SESSION);
}

/* is_confirmed: whether the synchronous standbys have the WAL so far */
static bool
is_confirmed(XLogRecPtr end)
{
	int			mode = synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_APPLY ?
	SYNC_REP_WAIT_APPLY : SYNC_REP_WAIT_FLUSH;
	bool		result;

	if (!SyncRepRequested())
		return true;
	LWLockAcquire(SyncRepLock, LW_SHARED);
	result = !sn_sync_standbys_defined() || WalSndCtl->lsn[mode] >= end;
	LWLockRelease(SyncRepLock);
	return result;
}

/*
 * sn_wal_end: the end of the last record in the WAL so far.  Where the next
 * record begins on a new page, that is after the page's header, which is not
 * there yet and cannot be flushed.
 */
XLogRecPtr
sn_wal_end(void)
{
	XLogRecPtr	next = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(next, wal_segment_size) == SizeOfXLogLongPHD)
		return next - SizeOfXLogLongPHD;
	if (next % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return next - SizeOfXLogShortPHD;
	return next;
}

/*
 * place_to_wait: a place in the last record before the end.  The queue of those
 * who wait for standbys is for places that differ: the commit that ends there
 * may be in it, and other relays.  No record ends within another, so what is
 * confirmed up to that place is up to the end, but for a record on two pages.
 */
static XLogRecPtr
place_to_wait(XLogRecPtr end)
{
	int			number = MyProc - ProcGlobal->allProcs;

	return end - 1 - number % (SizeOfXLogRecord - 1);
}

/*
 * sn_wait_confirmed: return when the WAL is flushed here up to a place and, if
 * synchronous replication is configured, on the standbys.  Interruptible.
 */
void
sn_wait_confirmed(XLogRecPtr end)
{
	if (SN_BUG(no_flush))
		return;
	XLogFlush(end);
	HOLD_INTERRUPTS();
	SyncRepWaitForLSN(place_to_wait(end), true);
	RESUME_INTERRUPTS();
	while (!is_confirmed(end))
	{
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100,
						 sn_wait_event("SentinaiRelayConfirm"));
		ResetLatch(MyLatch);
	}
}
