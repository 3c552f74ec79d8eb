/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * wait.c
 *		wait_for_work(): sleep until a subscription has work.
 *
 * Called outside a transaction block, it ends its transaction before it sleeps,
 * so that no snapshot and no lock is held meanwhile.  It looks at lanes
 * without locking them, so as not to be in the way of a claim, and takes no
 * lane out of the hints but those it finds free and empty, under their locks.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "args.h"
#include "claim.h"
#include "hint.h"
#include "sequencer.h"

#define NAP_MS		1000		/* longest sleep between two looks */
#define LOOK_MAX	1000		/* events that a look passes */

PG_FUNCTION_INFO_V1(sentinai_wait_for_work);

/* is_free: whether a claim would take the event that the log reader fetched */
static bool
is_free(const SnSub *sub, const SnLaneState *state, const SnFilter *filter,
		SnLogReader *log, SnRetryProbe *probe)
{
	int32		hash;

	if (!sn_wanted(sub, filter, log))
		return false;
	return !sub->ordered || state->parked == 0 ||
		!sn_retry_blocks(probe, sub->sub_id, state->lane,
						 sn_log_text(log, Anum_log_tenant_id),
						 sn_log_text(log, Anum_log_aggregate_id),
						 log->snapshot, &hash);
}

/*
 * has_new: whether the lane has an event to hand out that is no retry.  After
 * so many that a claim would only pass, it is time for one that does.
 */
static bool
has_new(SnSub *sub, SnLaneState *state, Snapshot snapshot)
{
	SnStreamReader *stream = sn_stream_begin();
	SnLogReader *log = sn_log_begin(snapshot);
	SnRetryProbe probe = {false};
	SnPos		pos;
	pg_uuid_t	id;
	bool		found = false;
	int			i;

	sn_sub_sources(sub, snapshot);
	sn_stream_seek(stream, sub->sources, sub->nsources, state->lane,
				   state->pos, snapshot);
	for (i = 0; !found && sn_stream_next(stream, &pos, &id); i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (pos < state->end_pos && sn_bits_get(&state->resolved, i))
			continue;
		found = i >= LOOK_MAX ||
			(sn_log_fetch(log, &id) &&
			 is_free(sub, state, stream->filter, log, &probe));
	}
	sn_retry_probe_end(&probe);
	sn_log_end(log);
	sn_stream_end(stream);
	return found;
}

/*
 * first_due: when the first of the lane's retries is due; DT_NOEND when none
 * will be.
 */
static TimestampTz
first_due(SnSub *sub, SnLaneState *state, Snapshot snapshot)
{
	TimestampTz result = DT_NOEND;
	ScanKeyData keys[2];
	SnScan		scan;

	if (state->parked == 0)
		return result;
	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, sub->sub_id);
	sn_key_int4(&keys[1], 2, BTEqualStrategyNumber, state->lane);
	sn_scan_named(&scan, SN_EVENT_RETRY,
				  SN_EVENT_RETRY_DUE_IDX, snapshot, 2, keys,
				  ForwardScanDirection);
	if (sn_scan_next(&scan))
	{
		bool		isnull;

		result = DatumGetTimestampTz(slot_getattr(scan.slot,
												  Anum_retry_due_at,
												  &isnull));
	}
	sn_scan_end(&scan);
	return result;
}

/*
 * lane_ready: whether a claim would find something in the lane.  If not, when
 * gets the time at which it may, DT_NOEND for never by itself.
 */
static bool
lane_ready(SnSub *sub, int lane, TimestampTz now, TimestampTz *when)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnLaneState state;
	bool		ready;

	sn_lane_read(sub, lane, snapshot, &state);
	if (state.held)
	{
		*when = state.lease_until;
		ready = state.lease_until <= now;
	}
	else
	{
		*when = first_due(sub, &state, snapshot);
		ready = *when <= now || has_new(sub, &state, snapshot);
	}
	UnregisterSnapshot(snapshot);
	return ready;
}

/* settle_lane: look again under the lane's lock, and say so in the hints */
static bool
settle_lane(SnSub *sub, SnSubSlot *hints, int lane, TimestampTz now)
{
	TimestampTz when;
	bool		ready;

	if (hints == NULL || !sn_lock_lane(sub->sub_id, lane, false))
		return false;
	sn_hint_look(hints, lane);
	ready = lane_ready(sub, lane, now, &when);
	if (ready)
		sn_hint_again(hints, lane);
	else if (when != DT_NOEND)
	{
		sn_hint_more(hints, lane);
		sn_hint_later(hints, lane, when);
	}
	sn_unlock_lane(sub->sub_id, lane);
	return ready;
}

/* has_work: whether a claim would find something */
static bool
has_work(SnSub *sub, SnSubSlot *hints)
{
	TimestampTz now = sn_now();
	uint64		pending = sn_hint_pending(hints, now);
	int			lanes = sn_node()->lanes;
	int			lane;

	for (lane = 0; lane < lanes; lane++)
	{
		TimestampTz when;

		CHECK_FOR_INTERRUPTS();
		if ((pending & SN_LANE_BIT(lane)) == 0)
			continue;
		if (lane_ready(sub, lane, now, &when) ||
			settle_lane(sub, hints, lane, now))
			return true;
	}
	return false;
}

/*
 * look: whether there is work; sleep_ms gets the longest sleep until the next
 * look.  Runs in a memory context of its own.  Where no sequencer runs, only a
 * claim takes rounds, so unsequenced events count as work.
 */
static bool
look(text *worker_type, int *sub_id, long *sleep_ms)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "sentinai wait",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	SnDatabase *db = sn_database();
	SnSub	   *sub = sn_sub_require(worker_type);
	SnSubSlot  *hints = sn_sub_slot(sub->sub_id);
	bool		ready = has_work(sub, hints);
	TimestampTz now = sn_now();

	*sub_id = sub->sub_id;
	*sleep_ms = NAP_MS;
	if (!ready && !sn_sequencer_running())
		ready = pg_atomic_read_u64(&db->commits) !=
			pg_atomic_read_u64(&db->sequenced) || sn_round_waits();
	if (!ready && hints != NULL)
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

/* leave_transaction: end the transaction of a CALL outside a block */
static void
leave_transaction(void)
{
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect_ext failed");
	SPI_commit();
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
}

/*
 * sleep_until: look and sleep by turns until there is work or the deadline has
 * come.
 */
static bool
sleep_until(text *worker_type, SnSubSlot *hints, int sub_id,
			TimestampTz deadline, bool atomic)
{
	for (;;)
	{
		long		sleep_ms;
		long		left;
		int			id;

		if (look(worker_type, &id, &sleep_ms))
			return true;
		if (id != sub_id)
			return false;		/* it was ended and made anew */
		if (!atomic)
			leave_transaction();
		left = TimestampDifferenceMilliseconds(sn_now(),
											   deadline);
		if (left <= 0)
			return false;
		(void) ConditionVariableTimedSleep(&hints->cv, Min(left, sleep_ms),
										   sn_wait_event("SentinaiWork"));
	}
}

/* doze: the same for a subscription that has no slot: only time wakes */
static bool
doze(text *worker_type, TimestampTz deadline, bool atomic)
{
	for (;;)
	{
		long		sleep_ms;
		long		left;
		int			id;

		if (look(worker_type, &id, &sleep_ms))
			return true;
		if (!atomic)
			leave_transaction();
		left = TimestampDifferenceMilliseconds(sn_now(),
											   deadline);
		if (left <= 0)
			return false;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(left, sleep_ms), sn_wait_event("SentinaiWork"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* wait: until there is work or the deadline has come */
static bool
wait_until(text *worker_type, TimestampTz deadline, bool atomic)
{
	int			sub_id = sn_sub_require(worker_type)->sub_id;
	SnSubSlot  *hints = sn_sub_slot(sub_id);
	bool		ready = false;

	if (hints == NULL)
		return doze(worker_type, deadline, atomic);
	(void) pg_atomic_fetch_add_u32(&hints->waiters, 1);
	PG_ENSURE_ERROR_CLEANUP(count_out, PointerGetDatum(hints));
	{
		ConditionVariablePrepareToSleep(&hints->cv);
		ready = sleep_until(worker_type, hints, sub_id, deadline, atomic);
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
	TupleDesc	desc;
	text	   *worker_type;
	Datum		value;
	bool		isnull = false;

	SN_REQUIRE_ARG(0, "worker_type");
	SN_REQUIRE_ARG(1, "timeout");
	PreventCommandDuringRecovery("wait_for_work()");
	deadline = sn_now() +
		sn_duration(PG_GETARG_INTERVAL_P(1), "timeout", 0, SN_DAY);
	worker_type = PG_GETARG_TEXT_P_COPY(0);
	(void) sn_sub_require(worker_type);
	if (!atomic)
		leave_transaction();
	value = BoolGetDatum(wait_until(worker_type, deadline, atomic));

	MemoryContextSwitchTo(caller);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  &value, &isnull)));
}
