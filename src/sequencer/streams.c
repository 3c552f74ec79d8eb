/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * streams.c
 *		The streams, and which events they want.
 *
 * What is known of them outlives a round: their filters, as long as the rows of
 * the table are the same, and the number of events before the next slice of each
 * lane, as long as no other process has taken a round.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/memutils.h"

#include "sequencer/round.h"
#include "sequencer/streams.h"

/* Which version of a row of stream was read */
typedef struct RowVersion
{
	ItemPointerData tid;
	TransactionId xmin;
} RowVersion;

#define KINDS_MAX	8192		/* that are kept for the next round */

SnStreams	sn_streams = {NULL};

static Oid	streams_of = InvalidOid;	/* table they were read from */
static RowVersion *versions = NULL;
static int	nversions = 0;

/* sn_streams_forget: others may have written slices, or those here are lost */
void
sn_streams_forget(void)
{
	if (sn_streams.context != NULL)
		MemoryContextDelete(sn_streams.context);
	sn_streams.context = NULL;
	streams_of = InvalidOid;
	versions = NULL;
	sn_streams.all = NULL;
	sn_streams.types = sn_streams.aggregates = sn_streams.tenants = NULL;
	sn_streams.nkinds = 0;
	nversions = sn_streams.n = 0;
}

/* The names in a part of a filter; none, when it is null, for all */
typedef struct FilterPart
{
	int			n;
	Datum	   *names;
} FilterPart;

/* A row of stream as it was read */
typedef struct StreamRow
{
	int			stream_id;
	bool		unfilled;
	FilterPart	types;
	FilterPart	aggregates;
	FilterPart	tenants;
} StreamRow;

/* read_filter_part: a part of a filter */
static void
read_filter_part(TupleTableSlot *slot, AttrNumber column, FilterPart *part)
{
	if (!slot->tts_isnull[column - 1])
		deconstruct_array(DatumGetArrayTypePCopy(slot->tts_values[column - 1]),
						  TEXTOID, -1, false, TYPALIGN_INT, &part->names, NULL,
						  &part->n);
}

/* read_stream_row: take what is needed from a row of stream */
static StreamRow *
read_stream_row(TupleTableSlot *slot)
{
	StreamRow  *row = palloc0(sizeof(StreamRow));

	slot_getallattrs(slot);
	row->stream_id = DatumGetInt32(slot->tts_values[Anum_stream_id - 1]);
	row->unfilled = slot->tts_isnull[Anum_stream_first_round - 1];
	read_filter_part(slot, Anum_stream_event_types, &row->types);
	read_filter_part(slot, Anum_stream_aggregate_types, &row->aggregates);
	read_filter_part(slot, Anum_stream_tenants, &row->tenants);
	return row;
}

/* sn_stream_find: place of a stream in the array, or -1 */
int
sn_stream_find(int stream_id)
{
	int			i;

	for (i = 0; i < sn_streams.n; i++)
		if (sn_streams.all[i]->stream_id == stream_id)
			return i;
	return -1;
}

/* copy_stream: what is known of a stream, in the current memory context */
static void
copy_stream(SnStream *stream, const SnStream *from)
{
	int			track;

	*stream = *from;
	for (track = 0; track < SN_TRACKS; track++)
	{
		Size		size = SN_MAX_LANES * sizeof(SnLaneEnd);

		if (from->lanes[track] != NULL)
			stream->lanes[track] = memcpy(palloc(size), from->lanes[track],
										  size);
	}
}

/* match_part: find a stream by the names in a part of its filter */
static void
match_part(SnMatches *matches, const FilterPart *part, int stream)
{
	int			i;

	for (i = 0; i < part->n; i++)
		sn_matches_add(matches, DatumGetTextPP(part->names[i]), stream);
}

/* match_filters: find the streams by the names in their filters */
static void
match_filters(List *rows)
{
	ListCell   *lc;
	int			ntypes = 0;
	int			naggregates = 0;
	int			ntenants = 0;
	int			stream = 1;

	foreach(lc, rows)
	{
		StreamRow  *row = lfirst(lc);

		ntypes += row->types.n;
		naggregates += row->aggregates.n;
		ntenants += row->tenants.n;
	}
	sn_streams.types = sn_matches_make(ntypes, sn_streams.n);
	sn_streams.aggregates = sn_matches_make(naggregates, sn_streams.n);
	sn_streams.tenants = sn_matches_make(ntenants, sn_streams.n);
	foreach(lc, rows)
	{
		StreamRow  *row = lfirst(lc);

		if (row->stream_id == SN_STREAM_ALL)
			continue;
		match_part(sn_streams.types, &row->types, stream);
		match_part(sn_streams.aggregates, &row->aggregates, stream);
		match_part(sn_streams.tenants, &row->tenants, stream);
		stream++;
	}
	sn_kinds_begin();
}

/*
 * replace_streams: make the array and the tables of matches from the rows.
 * What is known of the lanes of a stream that was there before is kept.
 */
static void
replace_streams(List *rows)
{
	SnStream  **fresh = palloc0(sizeof(SnStream *) * (list_length(rows) + 1));
	int			n = 1;
	ListCell   *lc;

	foreach(lc, rows)
	{
		StreamRow  *row = lfirst(lc);
		int			old = sn_stream_find(row->stream_id);
		SnStream   *stream = palloc0(sizeof(SnStream));

		if (old >= 0)
			copy_stream(stream, sn_streams.all[old]);
		stream->stream_id = row->stream_id;
		stream->unfilled = row->unfilled;
		stream->of_types = row->types.n > 0;
		stream->of_aggregates = row->aggregates.n > 0;
		stream->of_kinds = stream->of_types || stream->of_aggregates;
		stream->of_tenants = row->tenants.n > 0;
		fresh[row->stream_id == SN_STREAM_ALL ? 0 : n++] = stream;
	}
	if (fresh[0] == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("table \"sentinai_internal.stream\" lacks the stream of all events"),
				 errhint("Insert the row with stream_id %d again.",
						 SN_STREAM_ALL)));
	sn_streams.all = fresh;
	sn_streams.n = n;

	match_filters(rows);
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
	versions = read;
	nversions = nread;
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(fresh, TopMemoryContext);
	if (sn_streams.context != NULL)
		MemoryContextDelete(sn_streams.context);
	sn_streams.context = fresh;
}

/*
 * sn_streams_load: the streams that the snapshot shows.  The table is small
 * and read in every round; its rows are taken apart only when one is new, or
 * too many kinds are known, which are forgotten by that.
 * Returns whether they were, and the filters may be others.
 */
bool
sn_streams_load(Snapshot snapshot)
{
	SnTableScan *scan = sn_table_read(SN_STREAM, snapshot);
	bool		anew;

	if (streams_of != RelationGetRelid(scan->heap))
		sn_streams_forget();
	anew = streams_of == InvalidOid || sn_streams.nkinds > KINDS_MAX ||
		!same_rows(scan);
	if (anew)
		read_streams(snapshot);
	streams_of = RelationGetRelid(scan->heap);
	sn_table_end(scan);
	return anew;
}

/* sn_match_tenants: whether any filter has tenants */
bool
sn_match_tenants(void)
{
	return sn_streams.tenants->n > 0;
}

/*
 * sn_match_tenant: which streams besides that of all events have an event's
 * tenant in their filters: a number for sn_write_slices()
 */
int32
sn_match_tenant(Datum tenant_id)
{
	return sn_matches_find(sn_streams.tenants, tenant_id);
}

/* sn_stream_count: streams of the last round */
int
sn_stream_count(void)
{
	return sn_streams.n;
}

/*
 * sn_stream_news: lanes and number of the events that a reader of a stream
 * finds in the last round.  A stream that the round did not know reads that of
 * all events.  Raises no error.
 */
void
sn_stream_news(int stream_id, SnStreamNews *news)
{
	int			i = sn_stream_find(stream_id);
	const SnStream *stream;
	int			track;

	if (sn_streams.n == 0)
	{
		memset(news, 0xff, sizeof(SnStreamNews));
		news->events = news->on_common = PG_INT64_MAX;
		return;
	}
	if (i < 0 || sn_streams.all[i]->left_out)
		i = 0;
	stream = sn_streams.all[i];
	news->events = stream->events;
	news->on_common = stream->on_common;
	news->tracks = stream->tracks;
	news->lanes = 0;
	foreach_track(track, stream->tracks)
	{
		news->lanes_of[track] = stream->touched[track];
		news->lanes |= stream->touched[track];
	}
}
