/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_wait.c
 *		relay_wait(): the sleep of a sentinai-relay, in its session.
 *
 * Called outside a transaction block, it ends its transaction before it
 * sleeps, so that no snapshot and no lock is held meanwhile.  The sequencer
 * wakes it, as it wakes a relay process; and so does whatever the client sends
 * before it has an answer, or that the client is gone.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include "base/args.h"
#include "base/result_row.h"
#include "base/sqlstate.h"
#include "relay/durable.h"
#include "relay/relay_outside.h"
#include "relay/relay_process.h"
#include "store/statement.h"

#define LONGEST_MS	60000

PG_FUNCTION_INFO_V1(sentinai_relay_wait);

/* has_reason: whether there is something for the process to do */
static bool
has_reason(uint64 lanes)
{
	return (pg_atomic_read_u64(&sn_relay.slot->pending) & lanes) != 0 ||
		pg_atomic_read_u32(&sn_relay.slot->look) != 0 ||
		sn_buffered_input();
}

/* sleep_for: until there is a reason, or for so long */
static void
sleep_for(uint64 lanes, int milliseconds)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													milliseconds);

	ModifyWaitEvent(FeBeWaitSet, SN_CLIENT_SOCKET, WL_SOCKET_READABLE,
					NULL);
	for (;;)
	{
		WaitEvent	event = {0};
		long		left;

		ResetLatch(MyLatch);
		if (has_reason(lanes))
			return;
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
		if (left <= 0)
			return;
		(void) WaitEventSetWait(FeBeWaitSet, left, &event, 1,
								sn_wait_event("SentinaiRelay"));
		if (event.events & WL_POSTMASTER_DEATH)
			proc_exit(1);
		CHECK_FOR_INTERRUPTS();
		(void) sn_watch_standbys();
		if (event.events & WL_SOCKET_READABLE)
			return;
	}
}

/* relay_wait(durable boolean, milliseconds int, lanes bigint, inout waiting) */
Datum
sentinai_relay_wait(PG_FUNCTION_ARGS)
{
	bool		atomic = fcinfo->context == NULL ||
		!IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic;
	MemoryContext caller = CurrentMemoryContext;
	bool		durable;
	int			milliseconds;
	uint64		lanes;
	Datum		value;
	bool		isnull = false;

	SN_REQUIRE_ARG(0, "durable");
	SN_REQUIRE_ARG(1, "milliseconds");
	SN_REQUIRE_ARG(2, "lanes");
	sn_relay_require_open();
	durable = PG_GETARG_BOOL(0);
	milliseconds = PG_GETARG_INT32(1);
	lanes = (uint64) PG_GETARG_INT64(2);
	if (milliseconds < 0 || milliseconds > LONGEST_MS)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("milliseconds must be between 0 and %d", LONGEST_MS)));
	if (atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("relay_wait() cannot be called inside a transaction")));
	sn_leave_transaction();
	if (durable && sn_relay.read_end != InvalidXLogRecPtr)
	{
		sn_wait_confirmed(sn_relay.read_end);
		sn_relay.read_end = InvalidXLogRecPtr;
	}
	sleep_for(lanes, milliseconds);
	value = Int64GetDatum((int64) pg_atomic_read_u64(&sn_relay.slot->pending));

	MemoryContextSwitchTo(caller);
	PG_RETURN_DATUM(sn_row_datum(fcinfo, &value, &isnull));
}
