/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * dead_letter.c
 *		Events that were given up: writing and reading their letters, and
 *		retry_dead_letter(), discard_dead_letter().
 *
 * A letter is written, changed and put back under the lock of its event's lane.
 * After the subscription has gone, number 0 stands in for it.  Its letters stay
 * and count again when it is made anew; those of events that waited for their
 * retry are pending again.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/hash.h"
#include "log/event.h"
#include "queue/backlog.h"
#include "queue/dead_letter.h"
#include "queue/lane.h"
#include "store/hint.h"
#include "store/wake.h"

PG_FUNCTION_INFO_V1(sentinai_retry_dead_letter);
PG_FUNCTION_INFO_V1(sentinai_discard_dead_letter);

#define REASON_MAX	8192		/* bytes */

/* A row of dead_letter, copied */
typedef struct Letter
{
	Datum		values[Natts_dead];
	bool		nulls[Natts_dead];
	ItemPointerData tid;
} Letter;

/* which column of the log a column of dead_letter copies */
static const AttrNumber copied[][2] = {
	{Anum_dead_event_id, Anum_log_event_id},
	{Anum_dead_tenant_id, Anum_log_tenant_id},
	{Anum_dead_aggregate_type, Anum_log_aggregate_type},
	{Anum_dead_aggregate_id, Anum_log_aggregate_id},
	{Anum_dead_event_type, Anum_log_event_type},
	{Anum_dead_schema_version, Anum_log_schema_version},
	{Anum_dead_correlation_id, Anum_log_correlation_id},
	{Anum_dead_causation_id, Anum_log_causation_id},
	{Anum_dead_occurred_at, Anum_log_occurred_at},
	{Anum_dead_payload, Anum_log_payload},
	{Anum_dead_metadata, Anum_log_metadata},
};

/* set, set_null: a column of a letter */
static void
set(Letter *letter, AttrNumber column, Datum datum)
{
	letter->values[column - 1] = datum;
	letter->nulls[column - 1] = false;
}

static void
set_null(Letter *letter, AttrNumber column)
{
	letter->values[column - 1] = (Datum) 0;
	letter->nulls[column - 1] = true;
}

/* status_is: compare a letter's status */
static bool
status_is(const Letter *letter, const char *status)
{
	return sn_text_is(DatumGetTextPP(letter->values[Anum_dead_status - 1]),
					  status);
}

/* find: the letter of an event and a worker type, or false */
static bool
find(const pg_uuid_t *id, const text *worker_type, Snapshot snapshot,
	 Letter *letter)
{
	Relation	rel = table_open(sn_rel(SN_DEAD_LETTER), AccessShareLock);
	ScanKeyData keys[2];
	SnScan		scan;
	bool		found;

	sn_key_uuid(&keys[0], 1, BTEqualStrategyNumber, id);
	sn_key_text(&keys[1], 2, BTEqualStrategyNumber,
				PointerGetDatum(worker_type));
	sn_scan_begin(&scan, RelationGetRelid(rel),
				  sn_index_of(rel, Anum_dead_event_id,
							  Anum_dead_worker_type), snapshot, 2, keys,
				  ForwardScanDirection);
	found = sn_scan_next(&scan);
	if (found)
	{
		HeapTuple	tuple = ExecCopySlotHeapTuple(scan.slot);

		heap_deform_tuple(tuple, RelationGetDescr(rel), letter->values,
						  letter->nulls);
		letter->tid = tuple->t_self;
	}
	sn_scan_end(&scan);
	table_close(rel, NoLock);
	return found;
}

/* write_letter: insert a letter, in place of the one at tid if there was one */
static void
write_letter(Letter *letter, bool replaces)
{
	if (replaces)
	{
		sn_delete_one(SN_DEAD_LETTER, &letter->tid);
		CommandCounterIncrement();
	}
	sn_insert_one(sn_rel(SN_DEAD_LETTER), letter->values, letter->nulls);
	CommandCounterIncrement();
}

/* sn_dead_letter_exists: whether an event was given up */
bool
sn_dead_letter_exists(const pg_uuid_t *id, const text *worker_type,
					  Snapshot snapshot)
{
	Letter		letter;

	return find(id, worker_type, snapshot, &letter);
}

/*
 * sn_dead_letter_attempts: how many attempts at an event its letter knows of, 0
 * when it has none; -1: it is pending, so nothing is new about it.
 */
int
sn_dead_letter_attempts(const pg_uuid_t *id, const text *worker_type,
						Snapshot snapshot)
{
	Letter		letter;

	if (!find(id, worker_type, snapshot, &letter))
		return 0;
	return status_is(&letter, "pending") ? -1 :
		DatumGetInt32(letter.values[Anum_dead_attempts - 1]);
}

/* sn_dead_letter_event: the event that a letter is about, or false */
bool
sn_dead_letter_event(const pg_uuid_t *id, const text *worker_type,
					 Snapshot snapshot, SnEventRow *row)
{
	Letter		letter;
	int			i;

	if (!find(id, worker_type, snapshot, &letter))
		return false;
	memset(row, 0, sizeof(SnEventRow));
	for (i = 0; i < Natts_log; i++)
		row->nulls[i] = true;
	for (i = 0; i < lengthof(copied); i++)
	{
		row->values[copied[i][1] - 1] = letter.values[copied[i][0] - 1];
		row->nulls[copied[i][1] - 1] = letter.nulls[copied[i][0] - 1];
	}
	return true;
}

/* sn_event_row: an event from the log, or from its letter, or false */
bool
sn_event_row(SnLogReader *log, const pg_uuid_t *id, const text *worker_type,
			 Snapshot snapshot, SnEventRow *row)
{
	HeapTuple	tuple;

	if (!sn_log_fetch(log, id))
		return sn_dead_letter_event(id, worker_type, snapshot, row);
	tuple = ExecCopySlotHeapTuple(log->slot);
	heap_deform_tuple(tuple, log->slot->tts_tupleDescriptor, row->values,
					  row->nulls);
	return true;
}

/*
 * sn_dead_letter_put: an event is given up.  retry tells what happened to it;
 * a letter of earlier is written anew.  Whether there is one more pending: a
 * subscription of an earlier life may have left one for the same event.
 */
bool
sn_dead_letter_put(const SnEventRow *event, const text *worker_type,
				   const SnRetry *retry, TimestampTz now)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Letter		letter;
	bool		replaces = find(&retry->event_id, worker_type, snapshot,
								&letter);
	bool		counts = !replaces || !status_is(&letter, "pending");
	int			i;

	UnregisterSnapshot(snapshot);
	for (i = 0; i < lengthof(copied); i++)
	{
		letter.values[copied[i][0] - 1] = event->values[copied[i][1] - 1];
		letter.nulls[copied[i][0] - 1] = event->nulls[copied[i][1] - 1];
	}
	set(&letter, Anum_dead_worker_type, PointerGetDatum(worker_type));
	set(&letter, Anum_dead_attempts, Int32GetDatum(retry->attempt));
	set(&letter, Anum_dead_reason, PointerGetDatum(retry->last_error));
	set(&letter, Anum_dead_status, CStringGetTextDatum("pending"));
	set(&letter, Anum_dead_first_failed_at,
		TimestampTzGetDatum(retry->first_failed_at));
	set(&letter, Anum_dead_dead_at, TimestampTzGetDatum(now));
	set_null(&letter, Anum_dead_resolved_at);
	set_null(&letter, Anum_dead_resolved_by);
	set_null(&letter, Anum_dead_resolution);
	set(&letter, Anum_dead_history, PointerGetDatum(retry->history));
	set(&letter, Anum_dead_sub_id, Int32GetDatum(retry->sub_id));
	set(&letter, Anum_dead_pos, Int64GetDatum(retry->pos));
	write_letter(&letter, replaces);
	return counts;
}

/* sn_dead_letter_succeeded: an event was completed after all */
void
sn_dead_letter_succeeded(const pg_uuid_t *id, const text *worker_type,
						 Snapshot snapshot, TimestampTz now)
{
	Letter		letter;

	if (!find(id, worker_type, snapshot, &letter) ||
		!status_is(&letter, "retrying"))
		return;
	set(&letter, Anum_dead_status, CStringGetTextDatum("succeeded"));
	set(&letter, Anum_dead_resolved_at, TimestampTzGetDatum(now));
	write_letter(&letter, true);
}

/*
 * sn_dead_letter_given_back: the subscription that was to try the event again
 * ends.  If it had a letter, that is pending as before.
 */
void
sn_dead_letter_given_back(const pg_uuid_t *id, const text *worker_type,
						  Snapshot snapshot)
{
	Letter		letter;

	if (!find(id, worker_type, snapshot, &letter) ||
		!status_is(&letter, "retrying"))
		return;
	set(&letter, Anum_dead_status, CStringGetTextDatum("pending"));
	set_null(&letter, Anum_dead_resolved_by);
	write_letter(&letter, true);
}

/* A letter that somebody deals with, and where its event belongs */
typedef struct Desk
{
	pg_uuid_t	id;
	text	   *worker_type;
	SnSub	   *sub;			/* NULL: it has gone */
	int32		hash;
	SnLaneState state;			/* of the lane, if there is sub */
	Letter		letter;
	Snapshot	snapshot;
	TimestampTz now;
} Desk;

/* no_letter: the error for a letter that is not there */
static void
no_letter(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_NOT_FOUND),
			 errmsg("dead letter does not exist")));
}

/* letter_hash: hash of the letter's partition key */
static int32
letter_hash(const Letter *letter)
{
	bool		has_aggregate = !letter->nulls[Anum_dead_aggregate_id - 1];

	return sn_key_hash(DatumGetTextPP(letter->values[Anum_dead_tenant_id - 1]),
					   !has_aggregate ? NULL :
					   DatumGetTextPP(letter->values[Anum_dead_aggregate_id - 1]));
}

/*
 * sn_dead_letters_pending: count a worker type's pending letters by lane;
 * false when there are none.
 */
bool
sn_dead_letters_pending(const text *worker_type, Snapshot snapshot,
						int64 *counts)
{
	int			lanes = sn_node()->lanes;
	bool		found = false;
	ScanKeyData key;
	SnScan		scan;

	memset(counts, 0, SN_MAX_LANES * sizeof(int64));
	sn_key_text(&key, 1, BTEqualStrategyNumber, PointerGetDatum(worker_type));
	sn_scan_named(&scan, SN_DEAD_LETTER, SN_DEAD_LETTER_PENDING_IDX, snapshot,
				  1, &key, ForwardScanDirection);
	for (; sn_scan_next(&scan); found = true)
	{
		bool		isnull;
		text	   *tenant_id;
		text	   *aggregate_id;
		Datum		datum;

		CHECK_FOR_INTERRUPTS();
		datum = slot_getattr(scan.slot, Anum_dead_tenant_id, &isnull);
		tenant_id = DatumGetTextPP(datum);
		datum = slot_getattr(scan.slot, Anum_dead_aggregate_id, &isnull);
		aggregate_id = isnull ? NULL : DatumGetTextPP(datum);
		counts[sn_lane_of(sn_key_hash(tenant_id, aggregate_id), lanes)]++;
	}
	sn_scan_end(&scan);
	return found;
}

/* read_letter: the letter under a new snapshot, or an error */
static void
read_letter(Desk *desk)
{
	if (desk->snapshot != NULL)
		UnregisterSnapshot(desk->snapshot);
	desk->snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!find(&desk->id, desk->worker_type, desk->snapshot, &desk->letter))
		no_letter();
}

/* lock_desk: lock the lane that the letter's event belongs to */
static void
lock_desk(Desk *desk, int lane)
{
	int			sub_id = -1;

	for (;;)
	{
		int			wanted;

		desk->sub = sn_sub_by_name(desk->worker_type);
		wanted = desk->sub != NULL ? desk->sub->sub_id : 0;
		if (wanted == sub_id)
			return;
		sub_id = wanted;
		(void) sn_lock_lane(sub_id, lane, true);
	}
}

/* open_desk: find the letter, see that it is pending and stays so */
static void
open_desk(Desk *desk, FunctionCallInfo fcinfo)
{
	int			lane;

	memset(desk, 0, sizeof(Desk));
	desk->id = *PG_GETARG_UUID_P(0);
	desk->worker_type = PG_GETARG_TEXT_PP(1);
	read_letter(desk);
	desk->hash = letter_hash(&desk->letter);
	lane = sn_lane_of(desk->hash, sn_node()->lanes);
	lock_desk(desk, lane);
	read_letter(desk);			/* as it is now that nobody changes it */
	if (!status_is(&desk->letter, "pending"))
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("dead letter is not pending"),
				 errdetail("Its status is \"%s\".",
						   TextDatumGetCString(desk->letter.values[Anum_dead_status - 1]))));
	if (desk->sub != NULL)
		sn_lane_read(desk->sub, lane, desk->snapshot, &desk->state);
	desk->now = sn_now();
}

/* close_desk: store the lane and tell those who wait */
static void
close_desk(Desk *desk)
{
	SnLaneAppender appender = {NULL};

	UnregisterSnapshot(desk->snapshot);
	if (desk->sub == NULL)
		return;
	desk->state.dead--;
	sn_lane_append(&appender, &desk->state);
	sn_lane_append_end(&appender);
	CommandCounterIncrement();
	if (!desk->state.held)
		sn_hint_freed(sn_sub_slot(desk->sub->sub_id), 0,
					  SN_LANE_BIT(desk->state.lane));
	else
		sn_hint_more(sn_sub_slot(desk->sub->sub_id), desk->state.lane);
}

/* find_blocking: the row of event_retry that is the letter's, or false */
static bool
find_blocking(Desk *desk, SnRetry *retry)
{
	text	   *tenant_id =
		DatumGetTextPP(desk->letter.values[Anum_dead_tenant_id - 1]);
	bool		no_aggregate = desk->letter.nulls[Anum_dead_aggregate_id - 1];
	text	   *aggregate_id = no_aggregate ? NULL :
		DatumGetTextPP(desk->letter.values[Anum_dead_aggregate_id - 1]);
	SnRetryProbe probe = {false};
	SnPos		after = -1;
	bool		found = false;

	while (!found &&
		   sn_retry_head(&probe, desk->sub->sub_id, desk->state.lane,
						 desk->hash, tenant_id, aggregate_id, after,
						 desk->snapshot, retry))
	{
		found = memcmp(&retry->event_id, &desk->id, UUID_LEN) == 0;
		after = retry->pos;
	}
	sn_retry_probe_end(&probe);
	return found;
}

/*
 * front_pos: a position for an event that has none of its own: before the round
 * it was in, in the order of ids.  No slice has so high an offset, so no event
 * of the queue has it.
 */
static SnPos
front_pos(Desk *desk)
{
	SnTick		tick = sn_uuid_tick(&desk->id);
	int64		ms = Max(SN_TICK_MS(tick) - SN_EPOCH_MS - 1, 0);
	SnPos		pos = SN_ROUND_POS(ms) +
		((SnPos) (tick & ((1 << SN_TICK_BITS) - 1)) <<
		 (SN_CHUNK_BITS + SN_OFF_BITS - SN_TICK_BITS)) + SN_SLICE_MAX;
	SnRetry		other;

	while (sn_retry_get(desk->sub->sub_id, desk->state.lane, pos,
						desk->snapshot, &other))
	{
		CHECK_FOR_INTERRUPTS();
		pos++;
		if (SN_POS_OFF(pos) < SN_SLICE_MAX)
			pos += SN_SLICE_MAX;
	}
	return pos;
}

/*
 * place_of: where the letter's event goes: to the position it had, which no
 * other event has.  A letter of an earlier subscription of that name knows of
 * none.
 */
static SnPos
place_of(Desk *desk)
{
	Letter	   *letter = &desk->letter;
	SnRetry		other;
	SnPos		pos;

	if (letter->nulls[Anum_dead_pos - 1] ||
		letter->nulls[Anum_dead_sub_id - 1] ||
		DatumGetInt32(letter->values[Anum_dead_sub_id - 1]) !=
		desk->sub->sub_id)
		return front_pos(desk);
	pos = DatumGetInt64(letter->values[Anum_dead_pos - 1]);
	if (sn_retry_get(desk->sub->sub_id, desk->state.lane, pos,
					 desk->snapshot, &other))
		return front_pos(desk);
	return pos;
}

/* put_back: the event goes to its place among those of its key, due now */
static void
put_back(Desk *desk)
{
	Letter	   *letter = &desk->letter;
	SnRetry		retry;
	bool		blocking = find_blocking(desk, &retry);

	if (!blocking)
	{
		memset(&retry, 0, sizeof(SnRetry));
		retry.sub_id = desk->sub->sub_id;
		retry.lane = desk->state.lane;
		retry.pos = place_of(desk);
		retry.event_id = desk->id;
		retry.hash = desk->hash;
		retry.tenant_id =
			DatumGetTextPP(letter->values[Anum_dead_tenant_id - 1]);
		if (!letter->nulls[Anum_dead_aggregate_id - 1])
			retry.aggregate_id =
				DatumGetTextPP(letter->values[Anum_dead_aggregate_id - 1]);
		retry.last_error =
			DatumGetTextPP(letter->values[Anum_dead_reason - 1]);
		desk->state.parked++;
	}
	retry.attempt = 0;
	retry.solo = false;
	retry.dead = false;
	retry.has_due = true;
	retry.due_at = desk->now;
	retry.not_before = 0;
	retry.history = DatumGetJsonbP(letter->values[Anum_dead_history - 1]);
	retry.first_failed_at =
		DatumGetTimestampTz(letter->values[Anum_dead_first_failed_at - 1]);
	if (blocking)
		sn_retry_delete(&retry, 1);
	sn_retry_put(&retry, desk->sub->ordered);
	if (desk->sub->ordered)
		sn_arrange_range(desk->sub, &desk->state, desk->now);
}

/* retry_dead_letter(event_id uuid, worker_type text, actor text) returns void */
Datum
sentinai_retry_dead_letter(PG_FUNCTION_ARGS)
{
	Desk		desk;
	Datum		actor;

	SN_REQUIRE_ARG(0, "event_id");
	SN_REQUIRE_ARG(1, "worker_type");
	actor = PointerGetDatum(sn_actor_arg(fcinfo, 2));
	PreventCommandIfReadOnly("retry_dead_letter()");
	open_desk(&desk, fcinfo);
	if (desk.sub == NULL)
		sn_unknown_worker_type(desk.worker_type);
	put_back(&desk);
	sn_note_relay();
	set(&desk.letter, Anum_dead_status, CStringGetTextDatum("retrying"));
	set(&desk.letter, Anum_dead_resolved_by, actor);
	write_letter(&desk.letter, true);
	close_desk(&desk);
	PG_RETURN_VOID();
}

/* discard_dead_letter(event_id uuid, worker_type text, actor text, reason text) */
Datum
sentinai_discard_dead_letter(PG_FUNCTION_ARGS)
{
	Desk		desk;
	Datum		actor;
	Datum		reason;
	SnRetry		retry;

	SN_REQUIRE_ARG(0, "event_id");
	SN_REQUIRE_ARG(1, "worker_type");
	actor = PointerGetDatum(sn_actor_arg(fcinfo, 2));
	reason = PointerGetDatum(sn_text_arg(fcinfo, 3, "reason", REASON_MAX));
	PreventCommandIfReadOnly("discard_dead_letter()");
	open_desk(&desk, fcinfo);
	if (desk.sub != NULL && find_blocking(&desk, &retry))
	{
		sn_retry_remove(&retry, 1, desk.sub->ordered, desk.now);
		desk.state.parked--;
	}
	set(&desk.letter, Anum_dead_status, CStringGetTextDatum("discarded"));
	set(&desk.letter, Anum_dead_resolved_at, TimestampTzGetDatum(desk.now));
	set(&desk.letter, Anum_dead_resolved_by, actor);
	set(&desk.letter, Anum_dead_resolution, reason);
	write_letter(&desk.letter, true);
	close_desk(&desk);
	PG_RETURN_VOID();
}
