/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * slice.c
 *		The streams, which events they want, and the slices that hold them.
 *
 * What is known of the streams outlives a round: their filters, as long as the
 * rows of the table are the same, and the number of events before the next
 * slice of each lane, as long as no other process has taken a round.
 */
#include "postgres.h"

#include "access/htup_details.h"
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

#include "sequencer/match.h"
#include "sequencer/round.h"
#include "sequencer/tracks.h"
#include "shared/shmem.h"
#include "store/owner.h"
#include "store/range.h"

/* A slice being filled: its ids and their places as they are stored */
typedef struct Slice
{
	int			n;
	int			room;
	bytea	   *row_tids;
	char		array[FLEXIBLE_ARRAY_MEMBER];
} Slice;

#define ROW_TIDS_SIZE(n)	(VARHDRSZ + (n) * sizeof(ItemPointerData))

typedef struct LaneEnd
{
	bool		known;			/* events_before was read */
	int64		events_before;	/* in the slices so far */
	int64		slice_no;		/* of the slice being filled */
	Slice	   *slice;			/* NULL: none in this round */
} LaneEnd;

typedef struct Stream
{
	int			stream_id;
	bool		unfilled;		/* first_round is null */
	bool		of_types;		/* its filter has event types */
	bool		of_tenants;		/* it has tenants */
	bool		left_out;		/* of this round: its row is locked */
	int64		events;			/* in this round */
	uint64		touched[SN_TRACKS]; /* lanes with events in this round */
	LaneEnd    *lanes[SN_TRACKS];	/* of each track, NULL: it has none yet */
} Stream;

/* Which version of a row of stream was read */
typedef struct RowVersion
{
	ItemPointerData tid;
	TransactionId xmin;
} RowVersion;

/* Where the slices of a round go */
typedef struct SliceWriter
{
	SnInserter *inserter;		/* NULL: none open */
	Oid			partition;
	int64		round_no;		/* that the partition was looked up for */
	int64		last_round;		/* greatest number used */
	Snapshot	snapshot;
} SliceWriter;

static MemoryContext context = NULL;	/* of all below */
static Oid	streams_of = InvalidOid;	/* table they were read from */
static RowVersion *versions = NULL;
static int	nversions = 0;
static Stream **streams = NULL; /* streams[0] is SN_STREAM_ALL */
static int	nstreams = 0;
static SnMatches *types = NULL; /* in the filters of streams */
static SnMatches *tenants = NULL;

/* sn_slices_forget: others may have written slices, or those here are lost */
void
sn_slices_forget(void)
{
	if (context != NULL)
		MemoryContextDelete(context);
	context = NULL;
	streams_of = InvalidOid;
	versions = NULL;
	streams = NULL;
	types = tenants = NULL;
	nversions = nstreams = 0;
}

/* A row of stream as it was read */
typedef struct StreamRow
{
	int			stream_id;
	bool		unfilled;
	int			ntypes;			/* 0: all */
	Datum	   *types;
	int			ntenants;
	Datum	   *tenants;
} StreamRow;

/* read_filter_names: a part of a filter; 0 when it is null, for all */
static int
read_filter_names(TupleTableSlot *slot, AttrNumber column, Datum **names)
{
	int			n = 0;

	if (!slot->tts_isnull[column - 1])
		deconstruct_array(DatumGetArrayTypePCopy(slot->tts_values[column - 1]),
						  TEXTOID, -1, false, TYPALIGN_INT, names, NULL, &n);
	return n;
}

/* read_stream_row: take what is needed from a row of stream */
static StreamRow *
read_stream_row(TupleTableSlot *slot)
{
	StreamRow  *row = palloc0(sizeof(StreamRow));

	slot_getallattrs(slot);
	row->stream_id = DatumGetInt32(slot->tts_values[Anum_stream_id - 1]);
	row->unfilled = slot->tts_isnull[Anum_stream_first_round - 1];
	row->ntypes = read_filter_names(slot, Anum_stream_event_types, &row->types);
	row->ntenants = read_filter_names(slot, Anum_stream_tenants, &row->tenants);
	return row;
}

/* find_stream: place of a stream in the array, or -1 */
static int
find_stream(int stream_id)
{
	int			i;

	for (i = 0; i < nstreams; i++)
		if (streams[i]->stream_id == stream_id)
			return i;
	return -1;
}

/* copy_stream: what is known of a stream, in the current memory context */
static void
copy_stream(Stream *stream, const Stream *from)
{
	int			track;

	*stream = *from;
	for (track = 0; track < SN_TRACKS; track++)
	{
		Size		size = SN_MAX_LANES * sizeof(LaneEnd);

		if (from->lanes[track] != NULL)
			stream->lanes[track] = memcpy(palloc(size), from->lanes[track],
										  size);
	}
}

/* match_filters: find the streams by the names in their filters */
static void
match_filters(List *rows, int ntypes, int ntenants)
{
	ListCell   *lc;
	int			stream = 1;
	int			i;

	types = sn_matches_make(ntypes, nstreams);
	tenants = sn_matches_make(ntenants, nstreams);
	foreach(lc, rows)
	{
		StreamRow  *row = lfirst(lc);

		if (row->stream_id == SN_STREAM_ALL)
			continue;
		for (i = 0; i < row->ntypes; i++)
			sn_matches_add(types, DatumGetTextPP(row->types[i]), stream);
		for (i = 0; i < row->ntenants; i++)
			sn_matches_add(tenants, DatumGetTextPP(row->tenants[i]), stream);
		stream++;
	}
}

/*
 * replace_streams: make the array and the tables of matches from the rows.
 * What is known of the lanes of a stream that was there before is kept.
 */
static void
replace_streams(List *rows)
{
	Stream	  **fresh = palloc0(sizeof(Stream *) * (list_length(rows) + 1));
	int			ntypes = 0;
	int			ntenants = 0;
	int			n = 1;
	ListCell   *lc;

	foreach(lc, rows)
	{
		StreamRow  *row = lfirst(lc);
		int			old = find_stream(row->stream_id);
		Stream	   *stream = palloc0(sizeof(Stream));

		if (old >= 0)
			copy_stream(stream, streams[old]);
		stream->stream_id = row->stream_id;
		stream->unfilled = row->unfilled;
		stream->of_types = row->ntypes > 0;
		stream->of_tenants = row->ntenants > 0;
		fresh[row->stream_id == SN_STREAM_ALL ? 0 : n++] = stream;
		ntypes += row->ntypes;
		ntenants += row->ntenants;
	}
	if (fresh[0] == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("table \"sentinai_internal.stream\" lacks the stream of all events"),
				 errhint("Insert the row with stream_id %d again.",
						 SN_STREAM_ALL)));
	streams = fresh;
	nstreams = n;

	match_filters(rows, ntypes, ntenants);
}

/* same_rows: whether the rows are those read before */
static bool
same_rows(SnTableScan *scan)
{
	TupleTableSlot *slot;
	int			n = 0;

	while ((slot = sn_table_next(scan)) != NULL)
	{
		HeapTuple	tuple = ExecFetchSlotHeapTuple(slot, false, NULL);

		if (n == nversions ||
			!ItemPointerEquals(&slot->tts_tid, &versions[n].tid) ||
			HeapTupleHeaderGetRawXmin(tuple->t_data) != versions[n].xmin)
			return false;
		n++;
	}
	return n == nversions;
}

/* read_streams: read the rows into memory of their own, which replaces the old */
static void
read_streams(Snapshot snapshot)
{
	SnTableScan *scan = sn_table_read(SN_STREAM, snapshot);
	TupleTableSlot *slot;
	MemoryContext fresh = AllocSetContextCreate(CurrentMemoryContext,
												"sentinai streams",
												ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(fresh);
	List	   *rows = NIL;
	RowVersion *read = palloc(sizeof(RowVersion));
	int			nread = 0;

	while ((slot = sn_table_next(scan)) != NULL)
	{
		HeapTuple	tuple = ExecFetchSlotHeapTuple(slot, false, NULL);

		read = repalloc(read, sizeof(RowVersion) * (nread + 1));
		read[nread].tid = slot->tts_tid;
		read[nread++].xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
		rows = lappend(rows, read_stream_row(slot));
	}
	sn_table_end(scan);
	replace_streams(rows);
	sn_tracks_rematch();
	versions = read;
	nversions = nread;
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(fresh, TopMemoryContext);
	if (context != NULL)
		MemoryContextDelete(context);
	context = fresh;
}

/*
 * sn_streams_load: the streams that the snapshot shows.  The table is small
 * and read in every round; its rows are taken apart only when one is new.
 */
void
sn_streams_load(Snapshot snapshot)
{
	SnTableScan *scan = sn_table_read(SN_STREAM, snapshot);

	if (streams_of != RelationGetRelid(scan->heap))
		sn_slices_forget();
	if (streams_of == InvalidOid || !same_rows(scan))
		read_streams(snapshot);
	streams_of = RelationGetRelid(scan->heap);
	sn_table_end(scan);
}

/* sn_match_tenants: whether any filter has tenants */
bool
sn_match_tenants(void)
{
	return tenants->n > 0;
}

/*
 * sn_match_type, sn_match_tenant: which streams besides that of all events have
 * an event's type, or its tenant, in their filters: numbers for
 * sn_write_slices().
 */
int32
sn_match_type(Datum event_type)
{
	return sn_matches_find(types, event_type);
}

int32
sn_match_tenant(Datum tenant_id)
{
	return sn_matches_find(tenants, tenant_id);
}

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
write_slice(SliceWriter *writer, Stream *stream, int lane, int track)
{
	LaneEnd    *end = &stream->lanes[track][lane];
	Slice	   *slice = end->slice;
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
static Slice *
new_slice(Slice *slice, int room)
{
	Size		size = offsetof(Slice, array) + ARR_OVERHEAD_NONULLS(1) +
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
append(SliceWriter *writer, Stream *stream, const SnItem *item, int64 round_no)
{
	int			track = sn_tracks_of(item->tenant);
	LaneEnd    *end;
	Slice	   *slice;

	if (stream->lanes[track] == NULL)
		stream->lanes[track] =
			MemoryContextAllocZero(context, SN_MAX_LANES * sizeof(LaneEnd));
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
		   &item->place, sizeof(ItemPointerData));
	slice->n++;
	stream->events++;
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

	for (i = 0; i < nstreams; i++)
	{
		streams[i]->left_out = streams[i]->unfilled;
		any |= streams[i]->unfilled;
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
			find_stream(DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i],
													SPI_tuptable->tupdesc, 1,
													&isnull)));

		if (place >= 0)
			streams[place]->left_out = false;
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

	for (i = 0; i < nstreams; i++)
	{
		Stream	   *stream = streams[i];

		for (track = 0; track < SN_TRACKS; track++)
		{
			for (lane = 0; stream->touched[track] != 0 &&
				 lane < SN_MAX_LANES; lane++)
				stream->lanes[track][lane].slice = NULL;
			stream->touched[track] = 0;
		}
		stream->events = 0;
	}
}

/* write_rest: the slices that did not become full */
static void
write_rest(SliceWriter *writer)
{
	int			i;
	int			track;
	int			lane;

	for (i = 0; i < nstreams; i++)
	{
		CHECK_FOR_INTERRUPTS();
		for (track = 0; track < SN_TRACKS; track++)
			for (lane = 0; streams[i]->touched[track] != 0 &&
				 lane < SN_MAX_LANES; lane++)
				if (streams[i]->touched[track] & (UINT64CONST(1) << lane))
					write_slice(writer, streams[i], lane, track);
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
	const SnMatch *type = item->type < 0 ? NULL : &types->places[item->type];
	int32		match = sn_tracks_match(item->tenant);
	const SnMatch *tenant = match < 0 ? NULL : &tenants->places[match];
	int			i;

	for (i = 0; type != NULL && i < type->nstreams; i++)
	{
		Stream	   *stream = streams[type->streams[i]];

		if (!stream->of_tenants && !stream->left_out)
			append(writer, stream, item, round_no);
	}
	for (i = 0; tenant != NULL && i < tenant->nstreams; i++)
	{
		int			place = tenant->streams[i];
		Stream	   *stream = streams[place];

		if (!stream->left_out &&
			(!stream->of_types ||
			 (type != NULL && sn_match_has(type, place))))
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
		append(&writer, streams[0], &item, round_no);
		if (item.type >= 0 || tenants->n > 0)
			append_matching(&writer, &item, round_no);
		if (gather->next % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
	}
	write_rest(&writer);
	return writer.last_round;
}

/* sn_stream_count: streams of the last round */
int
sn_stream_count(void)
{
	return nstreams;
}

/*
 * sn_stream_news: lanes and number of the events that a reader of a stream
 * finds in the last round.  A stream that the round did not know reads that of
 * all events.  Raises no error.
 */
void
sn_stream_news(int stream_id, SnNews *news)
{
	int			i = find_stream(stream_id);
	int			track;

	if (nstreams == 0)
	{
		memset(news, 0xff, sizeof(SnNews));
		news->events = PG_INT64_MAX;
		return;
	}
	if (i < 0 || streams[i]->left_out)
		i = 0;
	news->events = streams[i]->events;
	news->lanes = 0;
	for (track = 0; track < SN_TRACKS; track++)
	{
		news->tracks[track] = streams[i]->touched[track];
		news->lanes |= news->tracks[track];
	}
}
