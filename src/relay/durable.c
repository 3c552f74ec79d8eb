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
 *
 * A primary that has lost its standbys may be about to be demoted, and who
 * demotes it may first take synchronous_standby_names away, so that nobody
 * waits (Patroni does, some 60 ms before).  So when the setting becomes empty,
 * what no standby has confirmed is held for sentinai.sync_grace: both what
 * waited for it and what comes in that time.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogrecord.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/guc.h"

#include "base/compat.h"
#include "base/guc.h"
#include "relay/durable.h"
#include "shared/clock.h"
#include "shared/shmem.h"

/* sn_require_sync_commit: for this process, no weaker than "on" */
void
sn_require_sync_commit(void)
{
	if (synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_FLUSH)
		SetConfigOption("synchronous_commit", "on", PGC_USERSET,
						PGC_S_SESSION);
}

/*
 * sn_watch_standbys: note whether synchronous standbys are asked for, for all
 * processes.  Returns whether they were until just now, less than
 * sentinai.sync_grace ago.
 */
bool
sn_watch_standbys(void)
{
	SnShared   *s = sn_shared();
	bool		now_defined;
	bool		defined;
	TimestampTz since;

	LWLockAcquire(SyncRepLock, LW_SHARED);
	now_defined = sn_sync_standbys_defined();
	LWLockRelease(SyncRepLock);

	LWLockAcquire(&s->lock, LW_SHARED);
	defined = s->standbys_defined;
	since = s->standbys_gone_at;
	LWLockRelease(&s->lock);
	if (now_defined != defined)
	{
		LWLockAcquire(&s->lock, LW_EXCLUSIVE);
		if (s->standbys_defined && !now_defined)
			s->standbys_gone_at = sn_now();
		s->standbys_defined = now_defined;
		since = s->standbys_gone_at;
		LWLockRelease(&s->lock);
	}
	return !now_defined && since != 0 &&
		sn_now() < TimestampTzPlusMilliseconds(since, sn_sync_grace * 1000L);
}

/* is_confirmed: whether the synchronous standbys have the WAL so far */
static bool
is_confirmed(XLogRecPtr end)
{
	int			mode = synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_APPLY ?
	SYNC_REP_WAIT_APPLY : SYNC_REP_WAIT_FLUSH;
	bool		wanted = sn_watch_standbys();
	bool		result;

	if (!SyncRepRequested())
		return true;
	LWLockAcquire(SyncRepLock, LW_SHARED);
	wanted |= sn_sync_standbys_defined();
	result = !wanted || WalSndCtl->lsn[mode] >= end;
	LWLockRelease(SyncRepLock);
	return result;
}

/*
 * hold_until_durable: wait a moment for standbys, or for the end of their
 * grace.  Settings are taken over meanwhile, but the caller still has to hear
 * of them.
 */
static void
hold_until_durable(bool *said)
{
	if (!*said && sn_watch_standbys())
	{
		*said = true;
		ereport(LOG,
				(errmsg("sentinai relay: synchronous_standby_names has become empty, what no standby has confirmed is held"),
				 errdetail("It is sent after sentinai.sync_grace (%d s), if this is still a primary then.",
						   sn_sync_grace)));
	}
	CHECK_FOR_INTERRUPTS();
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100,
					 sn_wait_event("SentinaiRelayConfirm"));
	ResetLatch(MyLatch);
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
	bool		said = false;
	bool		reloaded = false;

	XLogFlush(end);
	(void) sn_watch_standbys();	/* it may be taken away while we wait */
	HOLD_INTERRUPTS();
	SyncRepWaitForLSN(place_to_wait(end), true);
	RESUME_INTERRUPTS();
	while (!is_confirmed(end))
	{
		hold_until_durable(&said);
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			sn_require_sync_commit();
			reloaded = true;
		}
	}
	if (reloaded)
		ConfigReloadPending = true; /* for the rest of it */
}
