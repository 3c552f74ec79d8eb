/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * failure.c
 *		What the sequencer's process fails to do, for all to see.
 *
 * Rounds and the steps of maintenance are done by one process, and an error
 * ends only what it came up in.  The log is where such an error goes by; here
 * it stays, with its first time and a count, until the step goes well.
 *
 * Only the message is kept: details may quote a row.  When all slots are taken
 * the step is still in the log.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "shared/failure.h"
#include "shared/shmem.h"

/*
 * find_failing: the slot of a step of this database, or a free one; lock held
 */
static SnFailing *
find_failing(const char *step, bool or_free)
{
	SnShared   *s = sn_shared();
	SnFailing  *unused = NULL;
	int			i;

	Assert(LWLockHeldByMe(&s->lock));
	for (i = 0; i < SN_MAX_FAILURES; i++)
	{
		SnFailing  *failure = &s->failures[i];

		if (failure->dboid == MyDatabaseId && strcmp(failure->step, step) == 0)
			return failure;
		if (failure->dboid == InvalidOid && unused == NULL)
			unused = failure;
	}
	return or_free ? unused : NULL;
}

/*
 * sn_failure_note: a step has failed, and will be tried again at a time (0: not
 * known)
 */
void
sn_failure_note(const char *step, const ErrorData *error, TimestampTz retry_at)
{
	const char *message = error->message ? error->message : "missing error text";
	int			length = pg_mbcliplen(message, strlen(message),
									  SN_FAILURE_LEN - 1);
	TimestampTz now = GetCurrentTimestamp();
	SnFailing  *failure;

	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	failure = find_failing(step, true);
	if (failure != NULL)
	{
		if (failure->dboid == InvalidOid)
		{
			memset(failure, 0, sizeof(SnFailing));
			failure->dboid = MyDatabaseId;
			strlcpy(failure->step, step, sizeof(failure->step));
			failure->since = now;
		}
		failure->count++;
		failure->last_at = now;
		failure->retry_at = retry_at;
		failure->sqlstate = error->sqlerrcode;
		memcpy(failure->message, message, length);
		failure->message[length] = '\0';
	}
	LWLockRelease(&sn_shared()->lock);
}

/* sn_failure_over: a step went well */
void
sn_failure_over(const char *step)
{
	SnFailing  *failure;

	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	failure = find_failing(step, false);
	if (failure != NULL)
		failure->dboid = InvalidOid;
	LWLockRelease(&sn_shared()->lock);
}

/* sn_failure_known: whether a step has failed the last time */
bool
sn_failure_known(const char *step)
{
	bool		known;

	LWLockAcquire(&sn_shared()->lock, LW_SHARED);
	known = find_failing(step, false) != NULL;
	LWLockRelease(&sn_shared()->lock);
	return known;
}
