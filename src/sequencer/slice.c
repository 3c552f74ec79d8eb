/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * slice.c
 *		The slices that hold the events of a round.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "sequencer/round.h"
#include "sequencer/streams.h"
#include "sequencer/tracks.h"
#include "shared/shmem.h"
#include "store/owner.h"
#include "store/range.h"

#define ROW_TIDS_SIZE(n)	(VARHDRSZ + (n) * sizeof(ItemPointerData))

/* Where the slices of a round go */
typedef struct SliceWriter
{
	SnInserter *inserter;		/* NULL: none open */
	Oid			partition;
	int64		round_no;		/* that the partition was looked up for */
	int64		last_round;		/* greatest number used */
	Snapshot	snapshot;
} SliceWriter;

/*
 * read_events_before: events in the slices of a stream, lane and track, from
 * the newest one
 */
static int64
read_events_before(int stream_id, int lane_track, Snapshot snapshot)
{
	List	   *partitions = sn_partition_ranges(SN_SLICE);
	int64		events_before = 0;
	bool		found = false;
	int			i;

	for (i = list_length(partitions) - 1; i >= 0 && !found; i--)
	{
		SnPartRange *range = list_nth(partitions, i);
		Relation	rel = try_relation_open(range->oid, AccessShareLock);
		ScanKeyData keys[2];
		SnScan		scan;

		if (rel == NULL)
			continue;			/* dropped meanwhile */
		sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, stream_id);
		sn_key_int4(&keys[1], 2, BTEqualStrategyNumber, lane_track);
		sn_scan_begin(&scan, RelationGetRelid(rel),
					  sn_index_of(rel, Anum_slice_stream_id, Anum_slice_lane,
								  Anum_slice_no), snapshot, 2, keys,
					  BackwardScanDirection);
		found = sn_scan_next(&scan);
		if (found)
		{
			Datum	   *values = scan.slot->tts_values;
			ArrayType  *ids;

			slot_getallattrs(scan.slot);
			ids = DatumGetArrayTypeP(values[Anum_slice_event_ids - 1]);
			events_before =
				DatumGetInt64(values[Anum_slice_events_before - 1]) +
				ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids));
		}
		sn_scan_end(&scan);
		relation_close(rel, AccessShareLock);
	}
	list_free_deep(partitions);
	return events_before;
}

/* lock_partition: the partition that takes a slice, which nobody drops then */
static Oid
lock_partition(int64 slice_no)
{
	Datum		key = Int64GetDatum(slice_no);

	for (;;)
	{
		Oid			partition =
			sn_require_partition(SN_SLICE, key,
								 (slice_no >> SN_CHUNK_BITS) + SN_EPOCH_MS);

		LockRelationOid(partition, RowExclusiveLock);
		if (sn_partition_of(SN_SLICE, key) == partition)
			return partition;
		UnlockRelationOid(partition, RowExclusiveLock);
	}
}

/* open_partition: have the inserter of the partition that takes a slice */
static void
open_partition(SliceWriter *writer, int64 slice_no)
{
	int64		round_no = slice_no >> SN_CHUNK_BITS;
	Oid			partition;

	if (writer->inserter != NULL && writer->round_no == round_no)
		return;
	partition = lock_partition(slice_no);
	writer->round_no = round_no;
	writer->last_round = Max(writer->last_round, round_no);
	if (writer->inserter != NULL && writer->partition == partition)
		return;
	if (writer->inserter != NULL)
		(void) sn_insert_end(writer->inserter);
	writer->inserter = sn_insert_begin(partition, false);
	writer->partition = partition;
}

/* write_slice: store the slice being filled; the lane goes on with the next */
static void
write_slice(SliceWriter *writer, SnStream *stream, int lane, int track)
{
	SnLaneEnd  *end = &stream->lanes[track][lane];
	SnSlice    *slice = end->slice;
	ArrayType  *array = (ArrayType *) slice->array;
	Datum		values[Natts_slice];
	bool		nulls[Natts_slice] = {false};

	Assert(sn_round_is_ours());
	Assert(slice->n > 0 && slice->n <= SN_SLICE_MAX);
	Assert(end->known && end->events_before >= 0 && lane < sn_node()->lanes);
	Assert(end->slice_no < INT64CONST(1) << (SN_ROUND_BITS + SN_CHUNK_BITS));
	SET_VARSIZE(array, ARR_OVERHEAD_NONULLS(1) + slice->n * UUID_LEN);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = UUIDOID;
	ARR_DIMS(array)[0] = slice->n;
	ARR_LBOUND(array)[0] = 1;
	SET_VARSIZE(slice->row_tids, ROW_TIDS_SIZE(slice->n));

	open_partition(writer, end->slice_no);
	values[Anum_slice_no - 1] = Int64GetDatum(end->slice_no);
	values[Anum_slice_events_before - 1] = Int64GetDatum(end->events_before);
	values[Anum_slice_stream_id - 1] = Int32GetDatum(stream->stream_id);
	values[Anum_slice_lane - 1] = Int32GetDatum(SN_LANE_TRACK(lane, track));
	values[Anum_slice_event_ids - 1] = PointerGetDatum(array);
	values[Anum_slice_row_tids - 1] = PointerGetDatum(slice->row_tids);
	sn_insert_row(writer->inserter, values, nulls);

	/* after the last chunk of a round comes the first of the next number */
	end->slice_no++;
	if (SN_SLICE_CHUNK(end->slice_no) == 0)
		end->slice_no =
			SN_TRACK_SLICE(((end->slice_no - 1) >> SN_CHUNK_BITS) + 1, track);
	end->events_before += slice->n;
	slice->n = 0;
}

/* new_slice: room for some ids, more when the slice grows */
static SnSlice *
new_slice(SnSlice *slice, int room)
{
	Size		size = offsetof(SnSlice, array) + ARR_OVERHEAD_NONULLS(1) +
	room * UUID_LEN;

	if (slice == NULL)
	{
		slice = palloc(size);
		slice->row_tids = palloc(ROW_TIDS_SIZE(room));
		slice->n = 0;
	}
	else
	{
		slice = repalloc(slice, size);
		slice->row_tids = repalloc(slice->row_tids, ROW_TIDS_SIZE(room));
	}
	slice->room = room;
	return slice;
}

/* append: put an event into the slice being filled for a stream */
static void
append(SliceWriter *writer, SnStream *stream, const SnItem *item, int64 round_no)
{
	int			track = sn_tracks_of(item->tenant);
	SnLaneEnd  *end;
	SnSlice    *slice;

	if (stream->lanes[track] == NULL)
		stream->lanes[track] =
			MemoryContextAllocZero(sn_streams.context,
								   SN_MAX_LANES * sizeof(SnLaneEnd));
	end = &stream->lanes[track][item->lane];
	slice = end->slice;

	if (slice == NULL)
	{
		if (!end->known)
		{
			end->events_before =
				read_events_before(stream->stream_id,
								   SN_LANE_TRACK(item->lane, track),
								   writer->snapshot);
			end->known = true;
		}
		end->slice_no = SN_TRACK_SLICE(round_no, track);
		slice = end->slice = new_slice(NULL, 4);
	}
	else if (slice->n == SN_SLICE_MAX)
		write_slice(writer, stream, item->lane, track);
	else if (slice->n == slice->room)
		slice = end->slice = new_slice(slice, Min(slice->room * 4,
												  SN_SLICE_MAX));
	memcpy(slice->array + ARR_OVERHEAD_NONULLS(1) + slice->n * UUID_LEN,
		   &item->id, UUID_LEN);
	memcpy(VARDATA(slice->row_tids) + slice->n * sizeof(ItemPointerData),
		   &item->row_tid, sizeof(ItemPointerData));
	slice->n++;
	stream->events++;
	stream->on_common += track == SN_TRACK_COMMON;
	stream->tracks |= SN_TRACK_BIT(track);
	stream->touched[track] |= UINT64CONST(1) << item->lane;
}

/*
 * fill_new_streams: from this round on, streams that are new hold what they
 * want.  One whose row somebody else is changing waits for a later round.
 */
static void
fill_new_streams(int64 round_no, Snapshot snapshot)
{
	Oid			type = INT8OID;
	Datum		value = Int64GetDatum(round_no);
	SPIPlanPtr	plan;
	bool		any = false;
	Relation	rel;
	SnCaller	caller;
	uint64		i;

	for (i = 0; i < sn_streams.n; i++)
	{
		sn_streams.all[i]->left_out = sn_streams.all[i]->unfilled;
		any |= sn_streams.all[i]->unfilled;
	}
	if (!any)
		return;

	/* as the owner: where no sequencer runs, an agent's claim does this */
	rel = table_open(sn_rel(SN_STREAM), RowExclusiveLock);
	sn_become_owner(rel, &caller);
	table_close(rel, NoLock);
	SPI_connect();
	plan = SPI_prepare("update sentinai_internal.stream set first_round = $1"
					   " where stream_id operator(pg_catalog.=) any (array("
					   "select stream_id from sentinai_internal.stream"
					   " where first_round is null"
					   " for no key update skip locked))"
					   " returning stream_id", 1, &type);
	if (plan == NULL ||
		SPI_execute_snapshot(plan, &value, NULL, snapshot, InvalidSnapshot,
							 false, true, 0) != SPI_OK_UPDATE_RETURNING)
		elog(ERROR, "could not update the streams");
	for (i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		int			place =
			sn_stream_find(DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i],
													   SPI_tuptable->tupdesc,
													   1, &isnull)));

		if (place >= 0)
			sn_streams.all[place]->left_out = false;
	}
	SPI_finish();
	sn_become_caller(&caller);
}

/* begin_round: no stream has events yet */
static void
begin_round(void)
{
	int			i;
	int			track;
	int			lane;

	for (i = 0; i < sn_streams.n; i++)
	{
		SnStream   *stream = sn_streams.all[i];

		foreach_track(track, stream->tracks)
		{
			for (lane = 0; lane < SN_MAX_LANES; lane++)
				stream->lanes[track][lane].slice = NULL;
			stream->touched[track] = 0;
		}
		stream->tracks = 0;
		stream->events = stream->on_common = 0;
	}
}

/* write_rest: the slices that did not become full */
static void
write_rest(SliceWriter *writer)
{
	int			i;
	int			track;
	int			lane;

	for (i = 0; i < sn_streams.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		foreach_track(track, sn_streams.all[i]->tracks)
			for (lane = 0; lane < SN_MAX_LANES; lane++)
				if (sn_streams.all[i]->touched[track] & (UINT64CONST(1) << lane))
					write_slice(writer, sn_streams.all[i], lane, track);
	}
	if (writer->inserter != NULL)
		(void) sn_insert_end(writer->inserter);
}

/*
 * append_matching: put an event into the slices of the streams that want it,
 * besides that of all events.  A filter with types and tenants wants both.
 */
static void
append_matching(SliceWriter *writer, const SnItem *item, int64 round_no)
{
	const SnMatch *kind = item->kind < 0 ? NULL :
		&sn_streams.kinds[item->kind];
	int32		match = sn_tracks_match(item->tenant);
	const SnMatch *tenant = match < 0 ? NULL : &sn_streams.tenants->places[match];
	int			i;

	for (i = 0; kind != NULL && i < kind->nstreams; i++)
	{
		SnStream   *stream = sn_streams.all[kind->streams[i]];

		if (!stream->of_tenants && !stream->left_out)
			append(writer, stream, item, round_no);
	}
	for (i = 0; tenant != NULL && i < tenant->nstreams; i++)
	{
		int			place = tenant->streams[i];
		SnStream   *stream = sn_streams.all[place];

		if (!stream->left_out &&
			(!stream->of_kinds ||
			 (kind != NULL && sn_match_has(kind, place))))
			append(writer, stream, item, round_no);
	}
}

/*
 * sn_write_slices: distribute the sorted events.  Returns the greatest round
 * number used, which is beyond round_no when a lane needed more chunks than
 * one number has.
 */
int64
sn_write_slices(SnGather *gather, Snapshot snapshot, int64 round_no)
{
	SliceWriter writer = {.last_round = round_no, .snapshot = snapshot};
	SnItem		item;
	pg_uuid_t	last PG_USED_FOR_ASSERTS_ONLY = {{0}};

	begin_round();
	fill_new_streams(round_no, snapshot);
	while (sn_gather_next(gather, &item))
	{
		Assert(sn_uuid_cmp(&last, &item.id) < 0);
		last = item.id;
		append(&writer, sn_streams.all[0], &item, round_no);
		if (item.kind >= 0 || sn_streams.tenants->n > 0)
			append_matching(&writer, &item, round_no);
		if (gather->next % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
	}
	write_rest(&writer);
	return writer.last_round;
}
