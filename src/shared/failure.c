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

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "shared/failure.h"
#include "shared/shmem.h"

PG_FUNCTION_INFO_V1(sentinai_stat_failures);

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

/* put_failure_row: a failure as a row of stat_failures() */
static void
put_failure_row(ReturnSetInfo *rsinfo, const SnFailing *failure)
{
	Datum		values[7];
	bool		nulls[7] = {false};

	values[0] = CStringGetTextDatum(failure->step);
	values[1] = TimestampTzGetDatum(failure->since);
	values[2] = Int64GetDatum(failure->count);
	values[3] = TimestampTzGetDatum(failure->last_at);
	values[4] = TimestampTzGetDatum(failure->retry_at);
	nulls[4] = failure->retry_at == 0;
	values[5] = CStringGetTextDatum(unpack_sql_state(failure->sqlstate));
	values[6] = CStringGetTextDatum(failure->message);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* stat_failures(): what fails in this database */
Datum
sentinai_stat_failures(PG_FUNCTION_ARGS)
{
	SnFailing	copy[SN_MAX_FAILURES];
	int			i;

	InitMaterializedSRF(fcinfo, 0);
	sn_shared_copy(copy, sn_shared()->failures, sizeof(copy));
	for (i = 0; i < SN_MAX_FAILURES; i++)
		if (copy[i].dboid == MyDatabaseId)
			put_failure_row((ReturnSetInfo *) fcinfo->resultinfo, &copy[i]);
	return (Datum) 0;
}
