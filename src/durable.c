/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * durable.c
 *		Waiting until a commit can no longer be taken back.
 *
 * What the relay sends cannot be recalled, so everything it read must survive
 * a crash and a failover.  It commits its reading transaction with a
 * transaction number of its own and at least synchronous_commit = on: that
 * flush covers every commit its snapshot saw, asynchronous ones included, as
 * they stand earlier in the WAL, and so does the wait for the standbys.  A
 * wait that somebody cancelled ends with a warning only; hence the second look.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
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

/* is_confirmed: whether the synchronous standbys have a commit */
static bool
is_confirmed(XLogRecPtr commit)
{
	int			mode = synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_APPLY ?
	SYNC_REP_WAIT_APPLY : SYNC_REP_WAIT_FLUSH;
	bool		result;

	if (!SyncRepRequested())
		return true;
	LWLockAcquire(SyncRepLock, LW_SHARED);
	result = !sn_sync_standbys_defined() || WalSndCtl->lsn[mode] >= commit;
	LWLockRelease(SyncRepLock);
	return result;
}

/*
 * sn_wait_confirmed: return when a commit of this process is flushed here and,
 * if synchronous replication is configured, on the standbys.  Interruptible.
 */
void
sn_wait_confirmed(XLogRecPtr commit)
{
	if (SN_BUG(no_flush))
		return;
	XLogFlush(commit);
	while (!is_confirmed(commit))
	{
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100,
						 sn_wait_event("SentinaiRelayConfirm"));
		ResetLatch(MyLatch);
	}
}
