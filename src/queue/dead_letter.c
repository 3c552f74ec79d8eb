/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * dead_letter.c
 *		Events that were given up: writing and reading their letters.
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
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/hash.h"
#include "log/event.h"
#include "queue/dead_letter.h"
#include "queue/lane.h"
#include "redact/redact.h"

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

/* sn_letter_lane: the lane of the letter that a scan has found */
int
sn_letter_lane(TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	return sn_lane_of(sn_key_hash(sn_text_at(slot->tts_values, slot->tts_isnull,
											 Anum_dead_tenant_id),
								  sn_text_at(slot->tts_values, slot->tts_isnull,
											 Anum_dead_aggregate_id)),
					  sn_node()->lanes);
}

/* sn_letter_set, set_null: a column of a letter */
void
sn_letter_set(SnLetter *letter, AttrNumber column, Datum datum)
{
	letter->values[column - 1] = datum;
	letter->nulls[column - 1] = false;
}

static void
set_null(SnLetter *letter, AttrNumber column)
{
	letter->values[column - 1] = (Datum) 0;
	letter->nulls[column - 1] = true;
}

/* has_status: compare a letter's status */
static bool
has_status(const SnLetter *letter, const char *status)
{
	return sn_text_is(DatumGetTextPP(letter->values[Anum_dead_status - 1]),
					  status);
}

/* sn_letter_unknown: the error for a letter that is not there */
void
sn_letter_unknown(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_NOT_FOUND),
			 errmsg("dead letter does not exist")));
	pg_unreachable();
}

/* sn_letter_refuse_status: the error for a letter that is not pending */
void
sn_letter_refuse_status(const SnLetter *letter)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_CONFLICT),
			 errmsg("dead letter is not pending"),
			 errdetail("Its status is \"%s\".",
					   text_to_cstring(sn_letter_text(letter, Anum_dead_status)))));
	pg_unreachable();
}

/* sn_letter_find: the letter of an event and a worker type, or false */
bool
sn_letter_find(const pg_uuid_t *id, const text *worker_type, Snapshot snapshot,
			   SnLetter *letter)
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

		heap_deform_tuple(tuple, scan.slot->tts_tupleDescriptor,
						  letter->values, letter->nulls);
		letter->tid = tuple->t_self;
		letter->was = sn_letter_status(sn_letter_text(letter, Anum_dead_status));
	}
	sn_scan_end(&scan);
	table_close(rel, NoLock);
	return found;
}

/* sn_letter_write: insert a letter, in place of the one at tid if there was one */
void
sn_letter_write(SnLetter *letter, bool replaces)
{
	if (replaces)
	{
		sn_delete_one(SN_DEAD_LETTER, &letter->tid);
		CommandCounterIncrement();
	}
	sn_insert_one(SN_DEAD_LETTER, letter->values, letter->nulls);
	sn_letter_count(letter, replaces ? (int) letter->was : -1,
					sn_letter_status(sn_letter_text(letter, Anum_dead_status)));
	CommandCounterIncrement();
}

/* sn_dead_letter_exists: whether an event was given up */
bool
sn_dead_letter_exists(const pg_uuid_t *id, const text *worker_type,
					  Snapshot snapshot)
{
	SnLetter	letter;

	return sn_letter_find(id, worker_type, snapshot, &letter);
}

/*
 * sn_dead_letter_attempts: how many attempts at an event its letter knows of, 0
 * when it has none; -1: it is pending, so nothing is new about it.
 */
int
sn_dead_letter_attempts(const pg_uuid_t *id, const text *worker_type,
						Snapshot snapshot)
{
	SnLetter	letter;

	if (!sn_letter_find(id, worker_type, snapshot, &letter))
		return 0;
	return has_status(&letter, "pending") ? -1 :
		DatumGetInt32(letter.values[Anum_dead_attempts - 1]);
}

/*
 * row_require: an error if an event lacks what it must have.  One without payload
 * or metadata has empty ones, so that it can be given up.
 */
static void
row_require(SnEventRow *row, const pg_uuid_t *id)
{
	static const AttrNumber json[] = {Anum_log_payload, Anum_log_metadata};
	AttrNumber	column = sn_log_missing(row->nulls);
	int			i;

	if (column == 0)
		return;
	for (i = 0; i < lengthof(json); i++)
	{
		if (!row->nulls[json[i] - 1])
			continue;
		row->values[json[i] - 1] = DirectFunctionCall1(jsonb_in,
													   CStringGetDatum("{}"));
		row->nulls[json[i] - 1] = false;
	}
	column = sn_log_missing(row->nulls);
	if (column != 0)
		sn_refuse_null(sn_rel(SN_EVENT_LOG), column, id);
}

/* sn_letter_event: the event that a letter is about */
void
sn_letter_event(const SnLetter *letter, SnEventRow *row)
{
	int			i;

	memset(row, 0, sizeof(SnEventRow));
	for (i = 0; i < Natts_log; i++)
		row->nulls[i] = true;
	for (i = 0; i < lengthof(copied); i++)
	{
		row->values[copied[i][1] - 1] = letter->values[copied[i][0] - 1];
		row->nulls[copied[i][1] - 1] = letter->nulls[copied[i][0] - 1];
	}
}

/* sn_dead_letter_event: the event that a letter is about, or false */
bool
sn_dead_letter_event(const pg_uuid_t *id, const text *worker_type,
					 Snapshot snapshot, SnEventRow *row)
{
	SnLetter	letter;

	if (!sn_letter_find(id, worker_type, snapshot, &letter))
		return false;
	sn_letter_event(&letter, row);
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
	row_require(row, id);
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
	SnLetter	letter = {{0}};
	bool		replaces = sn_letter_find(&retry->event_id, worker_type,
										  snapshot, &letter);
	bool		counts = !replaces || !has_status(&letter, "pending");
	int			i;

	UnregisterSnapshot(snapshot);
	for (i = 0; i < lengthof(copied); i++)
	{
		AttrNumber	from = sn_log_column(copied[i][1], event->nulls);

		letter.values[copied[i][0] - 1] = event->values[from - 1];
		letter.nulls[copied[i][0] - 1] = event->nulls[from - 1];
	}
	if (sn_redact_asks())
		sn_redact_copy(sn_row_text(event, Anum_log_tenant_id),
					   sn_row_text(event, Anum_log_event_type),
					   &letter.values[Anum_dead_payload - 1],
					   &letter.values[Anum_dead_metadata - 1]);
	sn_letter_set(&letter, Anum_dead_worker_type, PointerGetDatum(worker_type));
	sn_letter_set(&letter, Anum_dead_attempts, Int32GetDatum(retry->attempt));
	sn_letter_set(&letter, Anum_dead_reason, PointerGetDatum(retry->last_error));
	sn_letter_set(&letter, Anum_dead_status, CStringGetTextDatum("pending"));
	sn_letter_set(&letter, Anum_dead_first_failed_at,
				  TimestampTzGetDatum(retry->first_failed_at));
	sn_letter_set(&letter, Anum_dead_dead_at, TimestampTzGetDatum(now));
	set_null(&letter, Anum_dead_resolved_at);
	set_null(&letter, Anum_dead_resolved_by);
	set_null(&letter, Anum_dead_resolution);
	sn_letter_set(&letter, Anum_dead_history, PointerGetDatum(retry->history));
	sn_letter_set(&letter, Anum_dead_sub_id, Int32GetDatum(retry->sub_id));
	sn_letter_set(&letter, Anum_dead_pos, Int64GetDatum(retry->pos));
	sn_letter_write(&letter, replaces);
	return counts;
}

/* sn_dead_letter_succeeded: an event was completed after all */
void
sn_dead_letter_succeeded(const pg_uuid_t *id, const text *worker_type,
						 Snapshot snapshot, TimestampTz now)
{
	SnLetter	letter;

	if (!sn_letter_find(id, worker_type, snapshot, &letter) ||
		!has_status(&letter, "retrying"))
		return;
	sn_letter_set(&letter, Anum_dead_status, CStringGetTextDatum("succeeded"));
	sn_letter_set(&letter, Anum_dead_resolved_at, TimestampTzGetDatum(now));
	sn_letter_write(&letter, true);
}

/*
 * sn_dead_letter_given_back: the subscription that was to try the event again
 * ends.  If it had a letter, that is pending as before.
 */
void
sn_dead_letter_given_back(const pg_uuid_t *id, const text *worker_type,
						  Snapshot snapshot)
{
	SnLetter	letter;

	if (!sn_letter_find(id, worker_type, snapshot, &letter) ||
		!has_status(&letter, "retrying"))
		return;
	sn_letter_set(&letter, Anum_dead_status, CStringGetTextDatum("pending"));
	set_null(&letter, Anum_dead_resolved_by);
	sn_letter_write(&letter, true);
}

/*
 * sn_dead_letters_pending: count a worker type's pending letters by lane;
 * false when there are none.
 */
bool
sn_dead_letters_pending(const text *worker_type, Snapshot snapshot,
						int64 *counts)
{
	bool		found = false;
	ScanKeyData key;
	SnScan		scan;

	memset(counts, 0, SN_MAX_LANES * sizeof(int64));
	sn_key_text(&key, 1, BTEqualStrategyNumber, PointerGetDatum(worker_type));
	sn_scan_named(&scan, SN_DEAD_LETTER, SN_DEAD_LETTER_PENDING_IDX, snapshot,
				  1, &key, ForwardScanDirection);
	for (; sn_scan_next(&scan); found = true)
	{
		CHECK_FOR_INTERRUPTS();
		counts[sn_letter_lane(scan.slot)]++;
	}
	sn_scan_end(&scan);
	return found;
}

/*
 * sn_lock_letters: lock the lane that letters of a worker type belong to, of its
 * subscription or of what stands in for it.  False when it is taken and !wait.
 */
bool
sn_lock_letters(const text *worker_type, int lane, bool wait)
{
	int			sub_id = -1;

	for (;;)
	{
		SnSub	   *sub = sn_sub_by_name(worker_type);
		int			wanted = sub != NULL ? sub->sub_id : 0;

		if (wanted == sub_id)
			return true;
		sub_id = wanted;
		if (wait)
			sn_lock_lane_yielding(sub_id, lane);
		else if (!sn_lock_lane(sub_id, lane, false))
			return false;
	}
}
