/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * log.c
 *		Reading rows of event_log by event id.
 *
 * Ids come nearly in order, so the index scan of the partition at hand is kept
 * open and only moved.  Locks on the partitions are kept to the end of the
 * transaction: what was read may hold pointers to their out-of-line values.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"

#include "log.h"
#include "range.h"

typedef struct SnLogPart
{
	SnRange		range;
	SnScan		scan;
} SnLogPart;

/* sn_log_begin: a reader under a registered snapshot */
SnLogReader *
sn_log_begin(Snapshot snapshot)
{
	SnLogReader *reader = palloc0(sizeof(SnLogReader));

	reader->snapshot = snapshot;
	return reader;
}

/* sn_log_snapshot: read under another snapshot from now on */
void
sn_log_snapshot(SnLogReader *reader, Snapshot snapshot)
{
	reader->snapshot = snapshot;
}

/* open_part: the partition of an id, not open yet; false if there is none */
static bool
open_part(SnLogReader *reader, const pg_uuid_t *id, ScanKey key)
{
	SnLogPart	part;
	Oid			oid;
	Relation	heap;

	oid = sn_range_find(SN_EVENT_LOG, id, &part.range);
	if (!OidIsValid(oid))
		return false;
	heap = table_open(oid, AccessShareLock);
	sn_scan_begin(&part.scan, oid, sn_index_of(heap, Anum_log_event_id),
				  reader->snapshot, 1, key, ForwardScanDirection);
	table_close(heap, NoLock);

	if (reader->nparts == 0)
		reader->parts = palloc(sizeof(SnLogPart));
	else
		reader->parts = repalloc(reader->parts,
								 (reader->nparts + 1) * sizeof(SnLogPart));
	reader->parts[reader->nparts] = part;
	reader->current = reader->nparts++;
	return true;
}

/* find_open: the open partition of an id, or -1 */
static inline int
find_open(const SnLogReader *reader, const pg_uuid_t *id)
{
	int			i;

	if (reader->nparts > 0 &&
		sn_range_covers(&reader->parts[reader->current].range, id))
		return reader->current;
	for (i = 0; i < reader->nparts; i++)
		if (sn_range_covers(&reader->parts[i].range, id))
			return i;
	return -1;
}

/*
 * sn_log_fetch: fetch an event into reader->slot; false when it is not there,
 * because its partition was dropped.
 */
bool
sn_log_fetch(SnLogReader *reader, const pg_uuid_t *id)
{
	int			i = find_open(reader, id);
	ScanKeyData key;
	SnScan	   *scan;

	sn_key_uuid(&key, 1, BTEqualStrategyNumber, id);
	if (i >= 0)
	{
		reader->current = i;
		sn_scan_again(&reader->parts[i].scan, reader->snapshot, 1, &key);
	}
	else if (!open_part(reader, id, &key))
		return false;
	scan = &reader->parts[reader->current].scan;
	reader->slot = scan->slot;
	return sn_scan_next(scan);
}

/* sn_log_ref: where the row last fetched is */
void
sn_log_ref(const SnLogReader *reader, SnLogRef *ref)
{
	ref->part = reader->current;
	ref->tid = reader->slot->tts_tid;
}

/* sn_log_refetch: fetch a row again */
bool
sn_log_refetch(SnLogReader *reader, const SnLogRef *ref)
{
	SnScan	   *scan = &reader->parts[ref->part].scan;
	ItemPointerData tid = ref->tid;

	reader->current = ref->part;
	reader->slot = scan->slot;
	return table_tuple_fetch_row_version(scan->heap, &tid, reader->snapshot,
										 scan->slot);
}

/* sn_log_end: close the reader; the locks stay */
void
sn_log_end(SnLogReader *reader)
{
	int			i;

	for (i = 0; i < reader->nparts; i++)
	{
		SnScan	   *scan = &reader->parts[i].scan;

		index_endscan(scan->desc);
		ExecDropSingleTupleTableSlot(scan->slot);
		index_close(scan->index, AccessShareLock);
		table_close(scan->heap, NoLock);
	}
	if (reader->nparts > 0)
		pfree(reader->parts);
	pfree(reader);
}

/* sn_log_datum: a column of the row last fetched */
Datum
sn_log_datum(SnLogReader *reader, AttrNumber column, bool *isnull)
{
	return slot_getattr(reader->slot, column, isnull);
}

/* sn_log_text: a text column of the row last fetched, or NULL */
text *
sn_log_text(SnLogReader *reader, AttrNumber column)
{
	bool		isnull;
	Datum		datum = slot_getattr(reader->slot, column, &isnull);

	return isnull ? NULL : DatumGetTextPP(datum);
}
