/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * trace.c
 *		What became of events, subscription by subscription: for get_trace().
 *
 * Nothing is kept for this.  It is put together of what is there anyway: dead
 * letters, the ledger, event_retry, and the state of the event's lane with the
 * position of the event in it.  That position is found by reading the lane from
 * the time of the event on, for a while: an event of a long transaction may be
 * far behind, and then its state is not known.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/hash.h"
#include "queue/lane_track.h"
#include "queue/retry.h"
#include "queue/stream.h"
#include "queue/wanted.h"
#include "sequencer/track_rows.h"
#include "store/range.h"
#include "tenancy/gate.h"

#define EVENTS_MAX	10000		/* of one call */
#define LOOK_EVENTS 5000		/* of a lane, to find one in it */
#define EARLIER_MS	1000		/* the event clock may be ahead of the rounds' */

PG_FUNCTION_INFO_V1(sentinai_trace_work);

/* columns of trace_work() */
enum
{
	WORK_EVENT_ID, WORK_WORKER_TYPE, WORK_STATUS, WORK_ATTEMPTS,
	WORK_WORKER_ID, WORK_CLAIMED_AT, WORK_COMPLETED_AT, WORK_DEAD_AT,
	WORK_DUE_AT, WORK_ERROR, WORK_COLUMNS
};

/* What is known of an event and a worker type */
typedef struct Work
{
	text	   *worker_type;
	bool		settled;		/* nobody will work on it unasked */
	Datum		values[WORK_COLUMNS];
	bool		nulls[WORK_COLUMNS];
} Work;

typedef struct Tracing
{
	ReturnSetInfo *rsinfo;
	Snapshot	snapshot;
	SnLogReader *log;			/* has fetched the event at hand */
	const pg_uuid_t *id;
	List	   *works;			/* of that */
} Tracing;

static void
set(Work *work, int column, Datum value)
{
	work->values[column] = value;
	work->nulls[column] = false;
}

static void
set_trace_text(Work *work, int column, const text *value)
{
	if (value != NULL)
		set(work, column, PointerGetDatum(value));
}

static void
set_time(Work *work, int column, TimestampTz value)
{
	if (value != 0)
		set(work, column, TimestampTzGetDatum(value));
}

static void
set_status(Work *work, const char *status)
{
	set(work, WORK_STATUS, CStringGetTextDatum(status));
}

/* work_of: what is known of a worker type, made if nothing was */
static Work *
work_of(Tracing *t, const text *worker_type, bool *known)
{
	Work	   *work;
	ListCell   *lc;

	foreach(lc, t->works)
	{
		work = lfirst(lc);
		if (sn_text_equal(work->worker_type, worker_type))
		{
			*known = true;
			return work;
		}
	}
	*known = false;
	work = palloc0(sizeof(Work));
	memset(work->nulls, true, sizeof(work->nulls));
	work->worker_type =
		(text *) PG_DETOAST_DATUM_COPY(PointerGetDatum(worker_type));
	set(work, WORK_EVENT_ID, UUIDPGetDatum(t->id));
	set(work, WORK_WORKER_TYPE, PointerGetDatum(work->worker_type));
	t->works = lappend(t->works, work);
	return work;
}

/* copy_column: a column of a row that a scan has found */
static void
copy_column(Work *work, int column, TupleTableSlot *slot, AttrNumber from)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, from, &isnull);
	Form_pg_attribute att = TupleDescAttr(slot->tts_tupleDescriptor, from - 1);

	if (isnull)
		return;
	if (att->attlen == -1)
		value = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
	set(work, column, value);
}

/* from_letters: whom it is, or was, a dead letter of */
static void
from_letters(Tracing *t)
{
	Relation	rel = table_open(sn_rel(SN_DEAD_LETTER), AccessShareLock);
	ScanKeyData key;
	SnScan		scan;

	sn_key_uuid(&key, 1, BTEqualStrategyNumber, t->id);
	sn_scan_begin(&scan, RelationGetRelid(rel),
				  sn_index_of(rel, Anum_dead_event_id, Anum_dead_worker_type),
				  t->snapshot, 1, &key, ForwardScanDirection);
	while (sn_scan_next(&scan))
	{
		bool		isnull;
		bool		known;
		text	   *status =
			DatumGetTextPP(slot_getattr(scan.slot, Anum_dead_status, &isnull));
		Work	   *work =
			work_of(t, DatumGetTextPP(slot_getattr(scan.slot,
												   Anum_dead_worker_type,
												   &isnull)), &known);

		copy_column(work, WORK_ATTEMPTS, scan.slot, Anum_dead_attempts);
		copy_column(work, WORK_DEAD_AT, scan.slot, Anum_dead_dead_at);
		copy_column(work, WORK_ERROR, scan.slot, Anum_dead_reason);
		work->settled = !sn_text_is(status, "retrying");
		set_status(work, sn_text_is(status, "pending") ? "dead" :
				   text_to_cstring(status));
	}
	sn_scan_end(&scan);
	table_close(rel, AccessShareLock);
}

/* from_ledger: who has finished it, or a handler fed by Kafka has begun */
static void
from_ledger(Tracing *t)
{
	SnRange		range;
	Oid			partition = sn_range_lock(SN_EVENT_PROCESSING, t->id,
										  AccessShareLock, &range);
	Relation	rel;
	ScanKeyData key;
	SnScan		scan;

	if (!OidIsValid(partition))
		return;
	rel = table_open(partition, NoLock);
	sn_key_uuid(&key, 1, BTEqualStrategyNumber, t->id);
	sn_scan_begin(&scan, partition,
				  sn_index_of(rel, Anum_proc_event_id, Anum_proc_worker_type),
				  t->snapshot, 1, &key, ForwardScanDirection);
	while (sn_scan_next(&scan))
	{
		bool		isnull;
		bool		known;
		bool		completed =
			sn_text_is(DatumGetTextPP(slot_getattr(scan.slot, Anum_proc_status,
												   &isnull)), "completed");
		Work	   *work =
			work_of(t, DatumGetTextPP(slot_getattr(scan.slot,
												   Anum_proc_worker_type,
												   &isnull)), &known);

		copy_column(work, WORK_ATTEMPTS, scan.slot, Anum_proc_attempt);
		copy_column(work, WORK_WORKER_ID, scan.slot, Anum_proc_worker_id);
		copy_column(work, completed ? WORK_COMPLETED_AT : WORK_CLAIMED_AT,
					scan.slot, Anum_proc_processed_at);
		set_status(work, completed ? "completed" : "processing");
		work->settled = true;
	}
	sn_scan_end(&scan);
	table_close(rel, AccessShareLock);	/* a flow may touch many */
}

/* from_claim: an agent has it */
static void
from_claim(Work *work, const SnLaneState *state, int attempts)
{
	set_status(work, "claimed");
	set(work, WORK_ATTEMPTS, Int32GetDatum(attempts));
	set_trace_text(work, WORK_WORKER_ID, state->worker_id);
	set_time(work, WORK_CLAIMED_AT, state->claimed_at);
}

/* in_batch: whether a batch has the row of event_retry */
static bool
in_batch(const SnLaneState *state, const SnRetry *retry)
{
	int			i;

	for (i = 0; state->held && i < state->nretries; i++)
		if (state->retries[i] == retry->pos)
			return true;
	return false;
}

/* from_retry: it waits for another attempt, or behind one of its key */
static void
from_retry(Work *work, const SnLane *lane, const SnRetry *retry)
{
	int			track;

	set_trace_text(work, WORK_ERROR, retry->last_error);
	foreach_track(track, lane->tracks)
		if (lane->of[track] != NULL && in_batch(lane->of[track], retry))
		{
			from_claim(work, lane->of[track], retry->attempt + 1);
			return;
		}
	if (retry->dead)
		return;					/* its letter has told more */
	set(work, WORK_ATTEMPTS, Int32GetDatum(retry->attempt));
	set_status(work, retry->first_failed_at != 0 ? "retrying" :
			   retry->topic != NULL ? "held" : "behind");
	if (retry->has_due)
		set_time(work, WORK_DUE_AT, retry->due_at);
}

/* first_ms: the earliest that the event at hand can have been sequenced */
static int64
first_ms(const Tracing *t)
{
	bool		isnull;
	Datum		deliver_at = sn_log_datum(t->log, Anum_log_deliver_at, &isnull);
	int64		ms = SN_TICK_MS(sn_uuid_tick(t->id));

	if (!isnull)
		ms = Max(ms, sn_timestamp_ms(DatumGetTimestampTz(deliver_at)));
	return Min(Max(ms - EARLIER_MS, SN_EPOCH_MS), SN_MAX_MS);
}

/*
 * find_place: where the event at hand is in its lane, and on which track; false
 * if that was not found.  wanted: whether the subscription wants it.
 */
static bool
find_place(const Tracing *t, SnSub *sub, int lane, SnPos *pos, int *track,
		   bool *wanted)
{
	SnStreamReader *stream = sn_stream_begin();
	SnTracks	tracks = sn_tracks_used(t->snapshot);
	bool		found = false;
	pg_uuid_t	id;
	int			i;

	sn_sub_sources(sub, t->snapshot);
	foreach_track(*track, tracks)
	{
		sn_stream_seek(stream, sub->sources, sub->nsources, lane, *track,
					   SN_ROUND_POS(first_ms(t) - SN_EPOCH_MS), t->snapshot);
		for (i = 0; i < LOOK_EVENTS && !found &&
			 sn_stream_next(stream, pos, &id); i++)
			found = sn_uuid_cmp(&id, t->id) == 0;
		if (found)
			break;
	}
	*wanted = sn_wanted(sub, found ? stream->filter :
						&sub->segments[sub->nsegments - 1].filter, t->log);
	sn_stream_end(stream);
	return found;
}

/* from_lane: what the lane tells about an event that nothing else tells of */
static void
from_lane(Tracing *t, SnSub *sub, const SnLane *lane)
{
	SnPos		pos;
	SnPos		from;
	SnPos		end;
	const SnLaneState *state;
	int			track;
	bool		wanted;
	bool		known;
	bool		found = find_place(t, sub, lane->lane, &pos, &track, &wanted);
	Work	   *work;

	if (!wanted)
		return;
	work = work_of(t, sub->worker_type, &known);
	if (!found)
		return;
	state = lane->of[lane->of[track] != NULL ? track : SN_TRACK_COMMON];
	from = sn_lane_track_pos(lane, track);
	end = Max(state->end_pos, from);
	if (pos >= end || (pos >= from && !state->held))
		set_status(work, "waiting");
	else if (pos >= from)
		from_claim(work, state, 1);
	else
		set_status(work, sub->is_relay ? "sent" : "passed");
}

/* from_sub: what a subscription has to tell of an event that is not settled */
static void
from_sub(Tracing *t, SnSub *sub)
{
	bool		isnull;
	int32		hash = DatumGetInt32(sn_log_datum(t->log,
												  Anum_log_partition_hash,
												  &isnull));
	bool		known = false;
	Work	   *work = NULL;
	ListCell   *lc;
	SnLaneReader reader = {false};
	SnLane		lane;
	SnRetry		retry;

	foreach(lc, t->works)
		if (sn_text_equal(((Work *) lfirst(lc))->worker_type, sub->worker_type))
			work = lfirst(lc);
	if (work != NULL && work->settled)
		return;
	sn_lane_open(&lane, &reader, sub, sn_lane_of(hash, sn_node()->lanes),
				 t->snapshot);
	sn_lane_read_end(&reader);
	if (sn_retry_find(sub->sub_id, lane.lane, hash, t->id, t->snapshot,
					  &retry))
		from_retry(work_of(t, sub->worker_type, &known), &lane, &retry);
	else if (work == NULL)
		from_lane(t, sub, &lane);
}

/* trace_event: rows for all that is known of an event */
static void
trace_event(Tracing *t, const pg_uuid_t *id)
{
	ListCell   *lc;
	bool		found;

	t->id = id;
	t->works = NIL;
	t->log = sn_log_begin(t->snapshot); /* in the memory of the event */
	found = sn_log_fetch(t->log, id);
	if (!sn_may(SN_RIGHT_READ, found ?
				sn_log_text(t->log, Anum_log_tenant_id) : NULL))
	{
		sn_log_end(t->log);
		return;
	}
	from_letters(t);
	from_ledger(t);
	if (found)
	{
		foreach(lc, sn_sub_ids())
		{
			SnSub	   *sub = sn_sub_by_id(lfirst_int(lc));

			if (sub != NULL)
				from_sub(t, sub);
		}
	}
	foreach(lc, t->works)
	{
		Work	   *work = lfirst(lc);

		tuplestore_putvalues(t->rsinfo->setResult, t->rsinfo->setDesc,
							 work->values, work->nulls);
	}
	sn_log_end(t->log);
}

/* trace_work(event_ids uuid[]): what became of these events */
Datum
sentinai_trace_work(PG_FUNCTION_ARGS)
{
	Tracing		t = {NULL};
	MemoryContext context;
	MemoryContext old;
	Datum	   *ids;
	bool	   *nulls;
	int			n;
	int			i;

	SN_REQUIRE_ARG(0, "event_ids");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), UUIDOID, UUID_LEN, false,
					  TYPALIGN_CHAR, &ids, &nulls, &n);
	if (n > EVENTS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("event_ids must not have more than %d elements",
						EVENTS_MAX)));
	InitMaterializedSRF(fcinfo, 0);
	t.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	t.snapshot = RegisterSnapshot(GetLatestSnapshot());
	context = AllocSetContextCreate(CurrentMemoryContext, "sentinai trace",
									ALLOCSET_DEFAULT_SIZES);
	for (i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			continue;
		old = MemoryContextSwitchTo(context);
		trace_event(&t, DatumGetUUIDP(ids[i]));
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	UnregisterSnapshot(t.snapshot);
	return (Datum) 0;
}
