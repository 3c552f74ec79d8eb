/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * log_read.c
 *		Reading rows of event_log by event id.
 *
 * Who knows where a row was when it was sequenced spares the index; it is used
 * when another row, or none, is there now.  Its scan is then kept open and only
 * moved.  Locks on the partitions are kept to the end of the transaction: what
 * was read may hold pointers to their out-of-line values.
 *
 * An event whose partition retention has dropped may be in event_kept.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/tupmacs.h"
#include "storage/bufmgr.h"
#include "utils/snapmgr.h"

#include "log/log_read.h"
#include "store/range.h"

#define COPIES_MAX	(1024 * 1024)	/* bytes */

typedef struct SnLogPart
{
	SnRange		range;
	Relation	heap;
	TupleTableSlot *slot;		/* for rows fetched by TID */
	IndexFetchTableData *fetch; /* keeps the page of the last one pinned */
	BlockNumber nblocks;		/* the table had at least that many */
	bool		scanning;		/* scan is open */
	SnScan		scan;
} SnLogPart;

/* The range of event_kept, which takes no id for its own: it ends at once */
static const SnRange no_range = {{{0}}, {{0}}, false, false};

/* sn_log_begin: a reader under a registered snapshot */
SnLogReader *
sn_log_begin(Snapshot snapshot)
{
	SnLogReader *reader = palloc0(sizeof(SnLogReader));

	reader->snapshot = snapshot;
	reader->kept = -1;
	return reader;
}

/* sn_log_snapshot: read under another snapshot from now on */
void
sn_log_snapshot(SnLogReader *reader, Snapshot snapshot)
{
	reader->snapshot = snapshot;
}

/* add_part: a table that was opened joins those of the reader; its place */
static int
add_part(SnLogReader *reader, SnLogPart *part)
{
	part->slot = table_slot_create(part->heap, NULL);
	part->fetch = table_index_fetch_begin(part->heap);
	if (reader->nparts == 0)
		reader->parts = palloc(sizeof(SnLogPart));
	else
		reader->parts = repalloc(reader->parts,
								 (reader->nparts + 1) * sizeof(SnLogPart));
	reader->parts[reader->nparts] = *part;
	return reader->nparts++;
}

/* open_log_part: the partition of an id, not open yet; NULL if there is none */
static SnLogPart *
open_log_part(SnLogReader *reader, const pg_uuid_t *id)
{
	SnLogPart	part = {.nblocks = 0};
	Oid			oid = sn_range_lock(SN_EVENT_LOG, id, AccessShareLock,
									&part.range);

	if (!OidIsValid(oid))
		return NULL;
	part.heap = table_open(oid, NoLock);
	reader->current = add_part(reader, &part);
	return &reader->parts[reader->current];
}

/* log_part_of: the partition of an id, or NULL */
static SnLogPart *
log_part_of(SnLogReader *reader, const pg_uuid_t *id)
{
	int			i;

	if (reader->nparts > 0 &&
		sn_range_covers(&reader->parts[reader->current].range, id))
		return &reader->parts[reader->current];
	for (i = 0; i < reader->nparts; i++)
		if (sn_range_covers(&reader->parts[i].range, id))
		{
			reader->current = i;
			return &reader->parts[i];
		}
	return open_log_part(reader, id);
}

/*
 * read_anew: use a snapshot taken now.  A copy of the partition may have taken
 * its place since the reader's snapshot, whose rows it does not see.  With our
 * lock that cannot happen again.
 */
static void
read_anew(SnLogReader *reader)
{
	if (reader->newer != NULL)
		UnregisterSnapshot(reader->newer);
	reader->newer = sn_snapshot_now();
	reader->snapshot = reader->newer;
}

/* by_index: find a row by its id */
static bool
by_index(SnLogReader *reader, SnLogPart *part, const pg_uuid_t *id)
{
	ScanKeyData key;

	sn_key_uuid(&key, 1, BTEqualStrategyNumber, id);
	if (part->scanning)
		sn_scan_again(&part->scan, reader->snapshot, 1, &key);
	else
		sn_scan_begin(&part->scan, RelationGetRelid(part->heap),
					  sn_index_of(part->heap, Anum_log_event_id),
					  reader->snapshot, 1, &key, ForwardScanDirection);
	part->scanning = true;
	reader->slot = part->scan.slot;
	if (sn_scan_next(&part->scan))
		return true;
	read_anew(reader);
	sn_scan_again(&part->scan, reader->snapshot, 1, &key);
	return sn_scan_next(&part->scan);
}

/* fetch_tid: fetch the row at a TID, if the table is that long */
static bool
fetch_tid(SnLogReader *reader, SnLogPart *part, const ItemPointerData *row_tid)
{
	ItemPointerData tid = *row_tid;
	bool		again = false;

	if (ItemPointerGetBlockNumber(&tid) >= part->nblocks)
		part->nblocks = RelationGetNumberOfBlocks(part->heap);
	if (ItemPointerGetBlockNumber(&tid) >= part->nblocks)
		return false;
	reader->slot = part->slot;
	return table_index_fetch_tuple(part->fetch, &tid, reader->snapshot,
								   part->slot, &again, NULL);
}

/* among_kept: find an event that has outlived its partition */
static bool
among_kept(SnLogReader *reader, const pg_uuid_t *id)
{
	if (reader->kept < 0)
	{
		SnLogPart	part = {.range = no_range};

		part.heap = table_open(sn_rel(SN_EVENT_KEPT), AccessShareLock);
		reader->kept = add_part(reader, &part);
	}
	reader->current = reader->kept;
	return by_index(reader, &reader->parts[reader->kept], id);
}

/*
 * sn_log_fetch: fetch an event into reader->slot; false when it is not there,
 * because its partition was dropped.
 */
bool
sn_log_fetch(SnLogReader *reader, const pg_uuid_t *id)
{
	SnLogPart  *part = log_part_of(reader, id);

	return (part != NULL && by_index(reader, part, id)) ||
		among_kept(reader, id);
}

/*
 * sn_log_fetch_at: the same, with the TID where the row is unless something
 * has moved it since (VACUUM FULL, a restore).
 */
bool
sn_log_fetch_at(SnLogReader *reader, const pg_uuid_t *id,
				const ItemPointerData *row_tid)
{
	SnLogPart  *part = log_part_of(reader, id);

	if (part != NULL && ItemPointerIsValid(row_tid) &&
		fetch_tid(reader, part, row_tid))
	{
		bool		isnull;
		Datum		there = slot_getattr(reader->slot, Anum_log_event_id,
										 &isnull);

		if (!isnull && memcmp(DatumGetUUIDP(there), id, UUID_LEN) == 0)
			return true;
	}
	return sn_log_fetch(reader, id);
}

/*
 * sn_log_ref: remember the row last fetched: a copy of it, as long as they do
 * not come to much, or else where it is.
 */
void
sn_log_ref(SnLogReader *reader, SnLogRef *ref)
{
	ref->part = reader->current;
	ref->tid = reader->slot->tts_tid;
	ref->copy = NULL;
	if (reader->copied >= COPIES_MAX)
		return;
	ref->copy = ExecCopySlotHeapTuple(reader->slot);
	reader->copied += ref->copy->t_len;
}

/* sn_log_columns: all columns of a row; false when it is there no more */
bool
sn_log_columns(SnLogReader *reader, const SnLogRef *ref, Datum *values,
			   bool *nulls)
{
	SnLogPart  *part = &reader->parts[ref->part];

	if (ref->copy != NULL)
	{
		heap_deform_tuple(ref->copy, RelationGetDescr(part->heap), values,
						  nulls);
		return true;
	}
	if (!fetch_tid(reader, part, &ref->tid))
		return false;
	slot_getallattrs(reader->slot);
	memcpy(values, reader->slot->tts_values, Natts_log * sizeof(Datum));
	memcpy(nulls, reader->slot->tts_isnull, Natts_log * sizeof(bool));
	return true;
}

/* sn_log_end: close the reader; the locks stay */
void
sn_log_end(SnLogReader *reader)
{
	int			i;

	for (i = 0; i < reader->nparts; i++)
	{
		SnLogPart  *part = &reader->parts[i];

		if (part->scanning)
			sn_scan_end(&part->scan);
		table_index_fetch_end(part->fetch);
		ExecDropSingleTupleTableSlot(part->slot);
		table_close(part->heap, NoLock);
	}
	if (reader->nparts > 0)
		pfree(reader->parts);
	if (reader->newer != NULL)
		UnregisterSnapshot(reader->newer);
	pfree(reader);
}

/* may_be_null: the columns of which an event need not have a value */
static bool
may_be_null(AttrNumber column)
{
	return column == Anum_log_aggregate_id ||
		column == Anum_log_correlation_id ||
		column == Anum_log_causation_id ||
		column == Anum_log_deliver_at || column == Anum_log_run_keys;
}

/*
 * sn_log_missing: the first column that is NULL and cannot be, or 0.  Payload and
 * metadata come last: an event has a key, a type and a tenant without them.
 */
AttrNumber
sn_log_missing(const bool *nulls)
{
	AttrNumber	column;

	for (column = 1; column <= Anum_log_aggregate_type; column++)
		if (nulls[column - 1])
			return column;
	return nulls[Anum_log_payload - 1] ? Anum_log_payload :
		nulls[Anum_log_metadata - 1] ? Anum_log_metadata : 0;
}

/* refuse_row: the error of the row last fetched */
static void
refuse_row(SnLogReader *reader, AttrNumber column)
{
	bool		isnull;
	Datum		id = slot_getattr(reader->slot, Anum_log_event_id, &isnull);

	sn_refuse_null(sn_rel(SN_EVENT_LOG), column,
				   isnull ? NULL : DatumGetUUIDP(id));
}

/*
 * sn_log_lacks: the first column of all but payload and metadata that the row last
 * fetched lacks, or 0
 */
AttrNumber
sn_log_lacks(SnLogReader *reader)
{
	HeapTuple	tuple = ExecFetchSlotHeapTuple(reader->slot, false, NULL);
	bits8	   *bits = tuple->t_data->t_bits;
	AttrNumber	column;

	if (!HeapTupleHasNulls(tuple))
		return 0;
	for (column = 1; column <= Anum_log_aggregate_type; column++)
		if (att_isnull(column - 1, bits))
			return column;
	return 0;
}

/* sn_log_require: an error if it lacks one */
void
sn_log_require(SnLogReader *reader)
{
	AttrNumber	column = sn_log_lacks(reader);

	if (column != 0)
		refuse_row(reader, column);
}

/* sn_log_datum: a column of the row last fetched */
Datum
sn_log_datum(SnLogReader *reader, AttrNumber column, bool *isnull)
{
	Datum		datum = slot_getattr(reader->slot, column, isnull);

	if (*isnull && !may_be_null(column))
		refuse_row(reader, column);
	return datum;
}

/* sn_log_text: a text column of the row last fetched, or NULL */
text *
sn_log_text(SnLogReader *reader, AttrNumber column)
{
	bool		isnull;
	Datum		datum = sn_log_datum(reader, column, &isnull);

	return isnull ? NULL : DatumGetTextPP(datum);
}

/* sn_log_text_if_any: the same, also NULL where somebody wrote that over the value */
text *
sn_log_text_if_any(SnLogReader *reader, AttrNumber column)
{
	bool		isnull;
	Datum		datum = slot_getattr(reader->slot, column, &isnull);

	return isnull ? NULL : DatumGetTextPP(datum);
}
