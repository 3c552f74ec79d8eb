/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * stream.c
 *		Reading the events of a lane of a stream in order.
 *
 * A reader goes through the partitions of slice by range, through each by its
 * primary key, and through the sources (streams, each up to a position) one
 * after the other.  It can be used for many lanes: what it has opened stays
 * open until its end, but for partitions without pages, and when it has come
 * to be too much for the lock table.
 */
#include "postgres.h"

#include "access/table.h"
#include "partitioning/partdesc.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/inval.h"
#include "utils/rel.h"

#include "queue/stream.h"
#include "store/journal.h"
#include "store/range.h"

#define OPEN_MAX 32				/* partitions open at a time */

typedef struct SnStreamPart
{
	Oid			oid;
	int64		upper;			/* first slice number after it */
	Relation	heap;			/* NULL: not opened yet */
	bool		open;			/* scan is open */
	SnScan		scan;
} SnStreamPart;

/* sn_stream_begin: a reader, to be sent to a place with sn_stream_seek() */
SnStreamReader *
sn_stream_begin(void)
{
	SnStreamReader *reader = palloc0(sizeof(SnStreamReader));

	reader->parent = table_open(sn_rel(SN_SLICE), AccessShareLock);
	return reader;
}

/* close_slice_part: close a partition, if it is open */
static void
close_slice_part(SnStreamReader *reader, SnStreamPart *part)
{
	if (part->open)
		sn_scan_end(&part->scan);
	part->open = false;
	if (part->heap == NULL)
		return;
	table_close(part->heap, AccessShareLock);
	part->heap = NULL;
	reader->nopen--;
}

/* close_all: close what was opened */
static void
close_all(SnStreamReader *reader)
{
	int			i;

	for (i = 0; i < reader->nparts && reader->nopen > 0; i++)
		close_slice_part(reader, &reader->parts[i]);
}

/* close_parts: close what was opened, and forget what there is */
static void
close_parts(SnStreamReader *reader)
{
	close_all(reader);
	if (reader->parts != NULL)
		pfree(reader->parts);
	reader->parts = NULL;
	reader->nparts = 0;
}

/* load_parts: the partitions there are now, if they have changed */
static void
load_parts(SnStreamReader *reader)
{
	PartitionDesc desc;
	SnPartRange *map;
	int			i;

	AcceptInvalidationMessages();
	desc = RelationGetPartitionDesc(reader->parent, true);
	if ((void *) desc == reader->desc)
		return;
	close_parts(reader);
	reader->desc = desc;
	map = sn_partition_map(SN_SLICE, reader->parent, &reader->nparts);
	reader->parts = palloc0((reader->nparts + 1) * sizeof(SnStreamPart));
	for (i = 0; i < reader->nparts; i++)
	{
		reader->parts[i].oid = map[i].oid;
		reader->parts[i].upper = map[i].end;
	}
	pfree(map);
}

/*
 * sn_stream_seek: read a lane from a position on, under a registered snapshot.
 * Within a slice that slice is looked for alone, because an index scan takes in
 * all of a page's entries that it may need, and a small claim needs no other.
 * sources ends with one whose until is SN_POS_MAX, and stays the caller's.
 */
void
sn_stream_seek(SnStreamReader *reader, const SnSource *sources, int nsources,
			   int lane, SnPos from, Snapshot snapshot)
{
	Assert(nsources > 0 && sources[nsources - 1].until == SN_POS_MAX);
	Assert(from >= 0);
	load_parts(reader);
	reader->snapshot = snapshot;
	reader->lane = lane;
	reader->sources = sources;
	reader->nsources = nsources;
	reader->source = 0;
	while (reader->source < nsources && sources[reader->source].until <= from)
		reader->source++;
	reader->start = from;
	reader->from = SN_POS_SLICE(from);
	reader->upto = SN_POS_OFF(from) > 0 ? reader->from : PG_INT64_MAX;
	reader->part = 0;
	reader->scanning = false;
	reader->n = 0;
	reader->off = 0;
}

/* open_slice_part: begin to read a partition; false when it has no pages */
static bool
open_slice_part(SnStreamReader *reader, SnStreamPart *part)
{
	ScanKeyData keys[4];

	if (part->heap == NULL)
	{
		if (reader->nopen >= OPEN_MAX)
			close_all(reader);
		part->heap = table_open(part->oid, AccessShareLock);
		reader->nopen++;
	}
	if (!part->open && RelationGetNumberOfBlocks(part->heap) == 0)
	{
		close_slice_part(reader, part);
		return false;
	}
	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber,
				reader->sources[reader->source].stream_id);
	sn_key_int4(&keys[1], 2, BTEqualStrategyNumber, reader->lane);
	sn_key_int8(&keys[2], 3, BTGreaterEqualStrategyNumber, reader->from);
	sn_key_int8(&keys[3], 3, BTLessEqualStrategyNumber, reader->upto);
	if (part->open)
		sn_scan_again(&part->scan, reader->snapshot, 4, keys);
	else
		sn_scan_begin(&part->scan, part->oid,
					  sn_index_of(part->heap, Anum_slice_stream_id,
								  Anum_slice_lane, Anum_slice_no),
					  reader->snapshot, 4, keys, ForwardScanDirection);
	part->open = true;
	return true;
}

/* take_slice: the events of the row that the scan stands on */
static void
take_slice(SnStreamReader *reader, TupleTableSlot *slot)
{
	ArrayType  *array;
	bytea	   *row_tids;

	slot_getallattrs(slot);
	array = DatumGetArrayTypeP(slot->tts_values[Anum_slice_event_ids - 1]);
	if (ARR_NDIM(array) > 1 || ARR_HASNULL(array))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("slice of stream %d is not a list of event ids",
						reader->sources[reader->source].stream_id)));
	reader->slice_no =
		DatumGetInt64(slot->tts_values[Anum_slice_no - 1]);
	reader->events_before =
		DatumGetInt64(slot->tts_values[Anum_slice_events_before - 1]);
	reader->off = reader->slice_no == SN_POS_SLICE(reader->start) ?
		SN_POS_OFF(reader->start) : 0;
	reader->from = reader->slice_no + 1;
	reader->ids = (const pg_uuid_t *) ARR_DATA_PTR(array);
	reader->n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	row_tids = DatumGetByteaP(slot->tts_values[Anum_slice_row_tids - 1]);
	reader->row_tids = VARSIZE(row_tids) ==
		VARHDRSZ + reader->n * sizeof(ItemPointerData) ?
		(const ItemPointerData *) VARDATA(row_tids) : NULL;
	reader->filter = reader->sources[reader->source].filter;
	Assert(reader->n > 0 && reader->n <= SN_SLICE_MAX);
}

/* next_source: go on with what comes after a source's end */
static void
next_source(SnStreamReader *reader)
{
	reader->from = SN_POS_SLICE(reader->sources[reader->source].until);
	reader->upto = PG_INT64_MAX;
	reader->n = 0;
	reader->source++;
	reader->part = 0;
	reader->scanning = false;
}

/* next_slice_of_lane: the next slice of the lane, or false */
static bool
next_slice_of_lane(SnStreamReader *reader)
{
	reader->n = 0;
	while (reader->source < reader->nsources)
	{
		SnPos		until = reader->sources[reader->source].until;
		SnStreamPart *part;

		if (reader->part >= reader->nparts)
		{
			next_source(reader);
			continue;
		}
		part = &reader->parts[reader->part];
		if (!reader->scanning)
			reader->scanning = part->upper > reader->from &&
				open_slice_part(reader, part);
		if (!reader->scanning || !sn_scan_next(&part->scan))
		{
			if (reader->scanning && reader->upto != PG_INT64_MAX)
				reader->upto = PG_INT64_MAX;
			else
				reader->part++;
			reader->scanning = false;
			continue;
		}
		take_slice(reader, part->scan.slot);
		if (SN_SLICE_POS(reader->slice_no, 0) < until)
			return true;
		next_source(reader);
	}
	return false;
}

/* sn_stream_next: the next event of the lane, or false */
bool
sn_stream_next(SnStreamReader *reader, SnPos *pos, pg_uuid_t *id)
{
	while (reader->off >= reader->n)
		if (!next_slice_of_lane(reader))
			return false;
	*pos = SN_SLICE_POS(reader->slice_no, reader->off);
	*id = reader->ids[reader->off];
	if (reader->row_tids != NULL)
		reader->place = reader->row_tids[reader->off];
	else
		ItemPointerSetInvalid(&reader->place);
	reader->off++;
	return true;
}

/* sn_stream_end: close the reader; no lock stays */
void
sn_stream_end(SnStreamReader *reader)
{
	close_parts(reader);
	table_close(reader->parent, AccessShareLock);
	pfree(reader);
}

/* sn_newest_round: number of the newest round a snapshot sees, or -1 */
int64
sn_newest_round(Snapshot snapshot)
{
	SnJournalReader reader = {false};
	TupleTableSlot *slot = sn_journal_newest(&reader, SN_ROUNDS, snapshot, 0,
											 NULL);
	int64		result = -1;
	bool		isnull;

	if (slot != NULL)
		result = DatumGetInt64(slot_getattr(slot, Anum_round_no, &isnull));
	sn_journal_end(&reader);
	return result;
}

/* sn_names_have: whether a set has a name */
bool
sn_names_have(const SnNames *names, const text *name)
{
	int			low = 0;
	int			high = names->n;

	if (names->n < 0)
		return true;
	while (low < high)
	{
		int			middle = (low + high) / 2;
		const text *other = names->names[middle];
		Size		len = VARSIZE_ANY_EXHDR(name);
		Size		other_len = VARSIZE_ANY_EXHDR(other);
		int			cmp = memcmp(VARDATA_ANY(name), VARDATA_ANY(other),
								 Min(len, other_len));

		if (cmp == 0)
			cmp = (len > other_len) - (len < other_len);
		if (cmp == 0)
			return true;
		if (cmp < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}
