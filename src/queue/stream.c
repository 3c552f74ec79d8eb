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

/* A merged reading of a partition: a scan of each track, on its next slice */
typedef struct Merge
{
	SnTracks	open;			/* whose scans are */
	SnTracks	left;			/* those that stand on a slice */
	int			taken;			/* track whose slice was taken; -1: none */
	int64		slice_no[SN_TRACKS];
	SnScan		scan[SN_TRACKS];
} Merge;

typedef struct SnStreamPart
{
	Oid			oid;
	int64		upper;			/* first slice number after it */
	Relation	heap;			/* NULL: not opened yet */
	bool		open;			/* scan is open */
	SnScan		scan;
	Merge	   *merge;			/* NULL: not read like that yet */
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
	int			track;

	if (part->open)
		sn_scan_end(&part->scan);
	part->open = false;
	foreach_track(track, part->merge == NULL ? 0 : part->merge->open)
		sn_scan_end(&part->merge->scan[track]);
	if (part->merge != NULL)
		pfree(part->merge);
	part->merge = NULL;
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

	/* the parent stays locked, so no new lock brings the news of a partition */
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
 * sn_stream_seek: read a track of a lane from a position on, under a registered
 * snapshot.  What is to be read merged comes with the common track.
 * Within a slice that slice is looked for alone, because an index scan takes in
 * all of a page's entries that it may need, and a small claim needs no other.
 * sources ends with one whose until is SN_POS_MAX, and stays the caller's.
 */
void
sn_stream_seek(SnStreamReader *reader, const SnSource *sources, int nsources,
			   int lane, int track, SnPos from, Snapshot snapshot)
{
	Assert(nsources > 0 && sources[nsources - 1].until == SN_POS_MAX);
	Assert(from >= 0);
	load_parts(reader);
	reader->snapshot = snapshot;
	reader->lane = lane;
	reader->track = track;
	reader->sources = sources;
	reader->nsources = nsources;
	reader->source = 0;
	while (reader->source < nsources &&
		   (sources[reader->source].until <= from ||
			(track != SN_TRACK_COMMON && sources[reader->source].merged)))
	{
		from = Max(from, sources[reader->source].until);
		reader->source++;
	}
	reader->start = from;
	reader->from = SN_POS_SLICE(from);
	reader->upto = SN_POS_OFF(from) > 0 && reader->source < nsources &&
		!sources[reader->source].merged ? reader->from : PG_INT64_MAX;
	reader->part = 0;
	reader->scanning = false;
	reader->n = 0;
	reader->off = 0;
}

/* merged_tracks: the tracks that are read together now; or 0 */
static SnTracks
merged_tracks(const SnStreamReader *reader)
{
	return reader->sources[reader->source].merged;
}

/* scan_track: have a scan of a partition begin with the next slices of a track */
static void
scan_track(SnStreamReader *reader, SnStreamPart *part, SnScan *scan, int track,
		   bool open)
{
	ScanKeyData keys[4];

	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber,
				reader->sources[reader->source].stream_id);
	sn_key_int4(&keys[1], 2, BTEqualStrategyNumber,
				SN_LANE_TRACK(reader->lane, track));
	sn_key_int8(&keys[2], 3, BTGreaterEqualStrategyNumber,
				Max(reader->from, SN_POS_SLICE(reader->start)));
	sn_key_int8(&keys[3], 3, BTLessEqualStrategyNumber, reader->upto);
	if (open)
		sn_scan_again(scan, reader->snapshot, 4, keys);
	else
		sn_scan_begin(scan, part->oid,
					  sn_index_of(part->heap, Anum_slice_stream_id,
								  Anum_slice_lane, Anum_slice_no),
					  reader->snapshot, 4, keys, ForwardScanDirection);
}

/* next_of_track: have a scan of a merged reading stand on its next slice */
static void
next_of_track(Merge *merge, int track)
{
	SnScan	   *scan = &merge->scan[track];
	bool		isnull;

	merge->left &= ~SN_TRACK_BIT(track);
	if (!sn_scan_next(scan))
		return;
	merge->slice_no[track] =
		DatumGetInt64(slot_getattr(scan->slot, Anum_slice_no, &isnull));
	merge->left |= SN_TRACK_BIT(track);
}

/* begin_merge: begin the merged reading of a partition */
static void
begin_merge(SnStreamReader *reader, SnStreamPart *part)
{
	Merge	   *merge;
	int			track;

	if (part->merge == NULL)
		part->merge = palloc0(sizeof(Merge));
	merge = part->merge;
	merge->left = 0;
	merge->taken = -1;
	foreach_track(track, merged_tracks(reader))
	{
		if (reader->sources[reader->source].ends[track] <=
			SN_SLICE_POS(Max(reader->from, SN_POS_SLICE(reader->start)), 0))
			continue;
		scan_track(reader, part, &merge->scan[track], track,
				   (merge->open & SN_TRACK_BIT(track)) != 0);
		merge->open |= SN_TRACK_BIT(track);
		next_of_track(merge, track);
	}
}

/*
 * next_merged: the next slice of a merged reading, or NULL.  What was taken last
 * is used until then, so its scan goes on no sooner.
 */
static TupleTableSlot *
next_merged(Merge *merge)
{
	int			track;
	int			next = -1;

	if (merge->taken >= 0)
		next_of_track(merge, merge->taken);
	foreach_track(track, merge->left)
		if (next < 0 || merge->slice_no[track] < merge->slice_no[next])
			next = track;
	merge->taken = next;
	return next < 0 ? NULL : merge->scan[next].slot;
}

/* open_slice_part: begin to read a partition; false when it has no pages */
static bool
open_slice_part(SnStreamReader *reader, SnStreamPart *part)
{
	if (part->heap == NULL)
	{
		if (reader->nopen >= OPEN_MAX)
			close_all(reader);
		part->heap = table_open(part->oid, AccessShareLock);
		reader->nopen++;
		if (RelationGetNumberOfBlocks(part->heap) == 0)
		{
			close_slice_part(reader, part);
			return false;
		}
	}
	if (merged_tracks(reader))
		begin_merge(reader, part);
	else
	{
		scan_track(reader, part, &part->scan, reader->track, part->open);
		part->open = true;
	}
	return true;
}

/* next_slot_of_part: the next slice of the partition being read, or NULL */
static TupleTableSlot *
next_slot_of_part(SnStreamReader *reader, SnStreamPart *part)
{
	if (merged_tracks(reader))
		return next_merged(part->merge);
	return sn_scan_next(&part->scan) ? part->scan.slot : NULL;
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
		TupleTableSlot *slot = NULL;
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
		if (reader->scanning)
			slot = next_slot_of_part(reader, part);
		if (slot == NULL)
		{
			if (reader->scanning && reader->upto != PG_INT64_MAX)
				reader->upto = PG_INT64_MAX;
			else
				reader->part++;
			reader->scanning = false;
			continue;
		}
		take_slice(reader, slot);
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
		reader->row_tid = reader->row_tids[reader->off];
	else
		ItemPointerSetInvalid(&reader->row_tid);
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
