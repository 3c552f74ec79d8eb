/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * wait.c
 *		wait_for_work(): sleep until a subscription has work.
 *
 * Called outside a transaction block, it ends its transaction before it sleeps,
 * so that no snapshot and no lock is held meanwhile.  It looks at lanes
 * without locking them, so as not to be in the way of a claim (lane_look.c).
 *
 * A lane whose lock another transaction has is left alone, whatever is in it:
 * a claim could not take it either.  The end of that transaction wakes.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/result_row.h"
#include "queue/lane_look.h"
#include "queue/share.h"
#include "sequencer/sequencer.h"
#include "store/lane_hints.h"
#include "store/statement.h"
#include "tenancy/gate.h"

#define NAP_MS		1000		/* longest sleep between two looks */

PG_FUNCTION_INFO_V1(sentinai_wait_for_work);

/* lane_in_other_hands: whether a lane's lock is another's, who will wake us */
static bool
lane_in_other_hands(const SnSub *sub, SnSubSlot *hints, int lane)
{
	if (!sn_lane_in_hands(sub->sub_id, lane))
		return false;
	sn_hint_mark_blocked(hints, lane);
	return sn_lane_in_hands(sub->sub_id, lane);
}

/*
 * has_work: whether a claim would find something.  May write, if it can commit
 * at once.
 */
static bool
has_work(SnSub *sub, SnSubSlot *hints, bool atomic)
{
	TimestampTz now = sn_now();
	uint64		pending = sn_hint_pending(hints, now);
	int			lanes = sn_node()->lanes;
	int			lane;

	for (lane = 0; lane < lanes; lane++)
	{
		SnLaneLook	look;
		int			budget = SN_LOOK_MAX;

		CHECK_FOR_INTERRUPTS();
		if ((pending & SN_LANE_BIT(lane)) == 0 ||
			lane_in_other_hands(sub, hints, lane))
			continue;
		sn_look_at_lane(sub, hints, lane, now, &budget, &look);
		if (look.ready ||
			((hints != NULL || look.passed > 0) &&
			 sn_look_and_pass(sub, hints, lane, now, &budget,
							  !atomic && !XactReadOnly)))
			return true;
	}
	return false;
}

/*
 * look_for_work: whether there is work; sleep_ms gets the longest sleep until
 * the next look.  Runs in a memory context of its own.  Where no sequencer
 * runs, only a claim takes rounds, so unsequenced events count as work.
 */
static bool
look_for_work(text *worker_type, bool atomic, int *sub_id, long *sleep_ms)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "sentinai wait",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	SnDatabase *db = sn_database();
	SnSub	   *sub = sn_sub_require(worker_type);
	SnSubSlot  *hints = sn_sub_slot(sub->sub_id);
	TimestampTz now = sn_now();
	TimestampTz share = sn_sub_share_until(sub, hints, now);
	bool		ready = share == DT_NOBEGIN && has_work(sub, hints, atomic);

	now = sn_now();
	*sub_id = sub->sub_id;
	*sleep_ms = NAP_MS;
	if (share != DT_NOBEGIN)
		*sleep_ms = Min(NAP_MS, TimestampDifferenceMilliseconds(now, share) + 1);
	else if (!ready && !sn_sequencer_running())
		ready = !sn_round_in_hands() &&
			(pg_atomic_read_u64(&db->commits) !=
			 pg_atomic_read_u64(&db->sequenced) || sn_round_waits());
	if (!ready && share == DT_NOBEGIN && hints != NULL)
	{
		uint64		next = pg_atomic_read_u64(&hints->next_check);

		if (next < (uint64) now + NAP_MS * INT64CONST(1000))
			*sleep_ms = next <= (uint64) now ? 1 :
				(long) ((next - (uint64) now) / 1000 + 1);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	InvalidateCatalogSnapshot();
	return ready;
}

/* count_out: this process waits no longer */
static void
count_out(int code, Datum arg)
{
	SnSubSlot  *hints = (SnSubSlot *) DatumGetPointer(arg);

	(void) pg_atomic_fetch_sub_u32(&hints->waiters, 1);
}

/* doze: sleep; a subscription that has no slot is woken by time only */
static void
doze(SnSubSlot *hints, long ms)
{
	if (hints != NULL)
		(void) ConditionVariableTimedSleep(&hints->cv, ms,
										   sn_wait_event("SentinaiWork"));
	else
	{
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 ms, sn_wait_event("SentinaiWork"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * wait_for_lanes: look and sleep by turns until there is work or the deadline
 * has come.
 */
static bool
wait_for_lanes(text *worker_type, SnSubSlot *hints, int sub_id,
			   TimestampTz deadline, bool atomic)
{
	for (;;)
	{
		long		sleep_ms;
		long		left;
		int			id;

		if (look_for_work(worker_type, atomic, &id, &sleep_ms))
			return true;
		if (id != sub_id)
			return false;		/* it was ended and made anew */
		if (!atomic)
			sn_leave_transaction();
		left = TimestampDifferenceMilliseconds(sn_now(), deadline);
		if (left <= 0)
			return false;
		doze(hints, Min(left, sleep_ms));
	}
}

/* wait_until: there is work or the deadline has come */
static bool
wait_until(text *worker_type, TimestampTz deadline, bool atomic)
{
	int			sub_id = sn_sub_require(worker_type)->sub_id;
	SnSubSlot  *hints = sn_sub_slot(sub_id);
	bool		ready = false;

	if (hints == NULL)
		return wait_for_lanes(worker_type, NULL, sub_id, deadline, atomic);
	(void) pg_atomic_fetch_add_u32(&hints->waiters, 1);
	PG_ENSURE_ERROR_CLEANUP(count_out, PointerGetDatum(hints));
	{
		ConditionVariablePrepareToSleep(&hints->cv);
		ready = wait_for_lanes(worker_type, hints, sub_id, deadline, atomic);
		ConditionVariableCancelSleep();
	}
	PG_END_ENSURE_ERROR_CLEANUP(count_out, PointerGetDatum(hints));
	count_out(0, PointerGetDatum(hints));
	return ready;
}

/* wait_for_work(worker_type text, timeout interval, inout ready boolean) */
Datum
sentinai_wait_for_work(PG_FUNCTION_ARGS)
{
	bool		atomic = fcinfo->context == NULL ||
		!IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic;
	MemoryContext caller = CurrentMemoryContext;
	TimestampTz deadline;
	text	   *worker_type;
	Datum		value;
	bool		isnull = false;

	SN_REQUIRE_ARG(0, "worker_type");
	SN_REQUIRE_ARG(1, "timeout");
	PreventCommandDuringRecovery("wait_for_work()");
	deadline = sn_now() +
		sn_duration(PG_GETARG_INTERVAL_P(1), "timeout", 0, SN_DAY);
	worker_type = PG_GETARG_TEXT_P_COPY(0);
	sn_require_claim(worker_type);
	sn_sub_require_work(sn_sub_require(worker_type));
	if (atomic)
		ereport(WARNING,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("wait_for_work() was called inside a transaction"),
				 errdetail("The transaction stays open while it waits, with its snapshot and its locks."),
				 errhint("CALL it by itself, outside a transaction block and not in a function.")));
	else
		sn_leave_transaction();
	value = BoolGetDatum(wait_until(worker_type, deadline, atomic));

	MemoryContextSwitchTo(caller);
	PG_RETURN_DATUM(sn_row_datum(fcinfo, &value, &isnull));
}
