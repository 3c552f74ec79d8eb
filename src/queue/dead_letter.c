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
#include "shared/clock.h"

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
		letter->tid = sn_scan_place(&scan);
		letter->was = sn_letter_status(sn_letter_text(letter, Anum_dead_status));
		letter->was_tenant = sn_letter_text(letter, Anum_dead_tenant_id);
		letter->was_type = sn_letter_text(letter, Anum_dead_event_type);
	}
	sn_scan_end(&scan);
	table_close(rel, NoLock);
	return found;
}

/*
 * count_letter: what was written counts in place of what was read, which may have
 * been another tenant's, or type's
 */
static void
count_letter(const SnLetter *letter, bool replaces)
{
	int			before = replaces ? (int) letter->was : -1;
	int			after = sn_letter_status(sn_letter_text(letter,
														Anum_dead_status));
	SnLetter	was = *letter;

	if (!replaces ||
		(sn_text_equal(letter->was_tenant,
					   sn_letter_text(letter, Anum_dead_tenant_id)) &&
		 sn_text_equal(letter->was_type,
					   sn_letter_text(letter, Anum_dead_event_type))))
	{
		sn_letter_count(letter, before, after);
		return;
	}
	sn_letter_set(&was, Anum_dead_tenant_id, PointerGetDatum(letter->was_tenant));
	sn_letter_set(&was, Anum_dead_event_type, PointerGetDatum(letter->was_type));
	sn_letter_count(&was, before, -1);
	sn_letter_count(letter, -1, after);
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
	count_letter(letter, replaces);
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

/* put_in: what an event has in a column where it has nothing */
static void
put_in(SnEventRow *row, AttrNumber column, Datum value)
{
	if (row->nulls[column - 1])
		row->values[column - 1] = value;
	row->nulls[column - 1] = false;
}

/*
 * put_empty_json: an event without payload or metadata has empty ones, so that it
 * can be given up
 */
static void
put_empty_json(SnEventRow *row)
{
	static const AttrNumber json[] = {Anum_log_payload, Anum_log_metadata};
	int			i;

	for (i = 0; i < lengthof(json); i++)
		if (row->nulls[json[i] - 1])
			put_in(row, json[i],
				   DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
}

/*
 * put_rest: so has one that lacks more, which nobody's names are.  Where rules of
 * redaction cannot be known it says nothing else.
 */
static void
put_rest(SnEventRow *row, const pg_uuid_t *id)
{
	if (sn_redact_asks() && (row->nulls[Anum_log_tenant_id - 1] ||
							 row->nulls[Anum_log_event_type - 1]))
		row->nulls[Anum_log_payload - 1] =
			row->nulls[Anum_log_metadata - 1] = true;
	put_empty_json(row);
	put_in(row, Anum_log_tenant_id, CStringGetTextDatum(""));
	put_in(row, Anum_log_event_type, CStringGetTextDatum(""));
	put_in(row, Anum_log_aggregate_type, CStringGetTextDatum(""));
	put_in(row, Anum_log_schema_version, Int32GetDatum(1));
	put_in(row, Anum_log_occurred_at,
		   TimestampTzGetDatum(sn_tick_timestamp(sn_uuid_tick(id))));
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

/* event_of_log: an event from the log, as it is there, or false */
static bool
event_of_log(SnLogReader *log, const pg_uuid_t *id, SnEventRow *row)
{
	HeapTuple	tuple;

	if (!sn_log_fetch(log, id))
		return false;
	tuple = ExecCopySlotHeapTuple(log->slot);
	heap_deform_tuple(tuple, log->slot->tts_tupleDescriptor, row->values,
					  row->nulls);
	return true;
}

/*
 * sn_event_row: an event from the log, or from its letter, or false; an error if it
 * lacks what it must have
 */
bool
sn_event_row(SnLogReader *log, const pg_uuid_t *id, const text *worker_type,
			 Snapshot snapshot, SnEventRow *row)
{
	AttrNumber	column;

	if (!event_of_log(log, id, row))
		return sn_dead_letter_event(id, worker_type, snapshot, row);
	put_empty_json(row);
	column = sn_log_missing(row->nulls);
	if (column != 0)
		sn_refuse_null(sn_rel(SN_EVENT_LOG), column, id);
	return true;
}

/* sn_event_remains: the same, to be given up: what it lacks is empty */
bool
sn_event_remains(SnLogReader *log, const pg_uuid_t *id,
				 const text *worker_type, Snapshot snapshot, SnEventRow *row)
{
	if (!event_of_log(log, id, row))
		return sn_dead_letter_event(id, worker_type, snapshot, row);
	if (sn_log_missing(row->nulls) != 0)
		put_rest(row, id);
	return true;
}

/* sn_event_has_tenant: whether it is known whose an event is, and so its key */
bool
sn_event_has_tenant(const SnEventRow *row)
{
	return VARSIZE_ANY_EXHDR(sn_row_text(row, Anum_log_tenant_id)) > 0;
}

/* set_event: a letter is about an event */
static void
set_event(SnLetter *letter, const SnEventRow *event)
{
	int			i;

	for (i = 0; i < lengthof(copied); i++)
	{
		AttrNumber	from = sn_log_column(copied[i][1], event->nulls);

		letter->values[copied[i][0] - 1] = event->values[from - 1];
		letter->nulls[copied[i][0] - 1] = event->nulls[from - 1];
	}
	if (sn_redact_asks())
		sn_redact_copy(sn_row_text(event, Anum_log_tenant_id),
					   sn_row_text(event, Anum_log_event_type),
					   &letter->values[Anum_dead_payload - 1],
					   &letter->values[Anum_dead_metadata - 1]);
}

/* letter_names: whether a letter has a name in a column, which is empty otherwise */
static bool
letter_names(const SnLetter *letter, AttrNumber column)
{
	return VARSIZE_ANY_EXHDR(sn_letter_text(letter, column)) > 0;
}

/*
 * sn_letter_mend: the letter of an event that lacked its tenant or type has what
 * somebody has put back into the log since
 */
void
sn_letter_mend(SnLetter *letter, Snapshot snapshot)
{
	SnLogReader *log;
	SnEventRow	event;

	if (letter_names(letter, Anum_dead_tenant_id) &&
		letter_names(letter, Anum_dead_event_type) &&
		letter_names(letter, Anum_dead_aggregate_type))
		return;
	log = sn_log_begin(snapshot);
	if (event_of_log(log, DatumGetUUIDP(letter->values[Anum_dead_event_id - 1]),
				   &event) && sn_log_missing(event.nulls) == 0)
		set_event(letter, &event);
	sn_log_end(log);
}

/*
 * sn_dead_letter_put: an event is given up.  retry tells what happened to it;
 * a letter of earlier is written anew.  Whether there is one more pending: a
 * subscription of an earlier life may have left one for the same event.  The letter
 * of an event without a tenant is in another lane, where its position is another's.
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

	UnregisterSnapshot(snapshot);
	set_event(&letter, event);
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
	if (sn_event_has_tenant(event))
		sn_letter_set(&letter, Anum_dead_pos, Int64GetDatum(retry->pos));
	else
		set_null(&letter, Anum_dead_pos);
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
