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
	sn_streams.types = sn_streams.tenants = NULL;
	nversions = sn_streams.n = 0;
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

/* match_filters: find the streams by the names in their filters */
static void
match_filters(List *rows, int ntypes, int ntenants)
{
	ListCell   *lc;
	int			stream = 1;
	int			i;

	sn_streams.types = sn_matches_make(ntypes, sn_streams.n);
	sn_streams.tenants = sn_matches_make(ntenants, sn_streams.n);
	foreach(lc, rows)
	{
		StreamRow  *row = lfirst(lc);

		if (row->stream_id == SN_STREAM_ALL)
			continue;
		for (i = 0; i < row->ntypes; i++)
			sn_matches_add(sn_streams.types, DatumGetTextPP(row->types[i]),
						   stream);
		for (i = 0; i < row->ntenants; i++)
			sn_matches_add(sn_streams.tenants,
						   DatumGetTextPP(row->tenants[i]), stream);
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
	SnStream  **fresh = palloc0(sizeof(SnStream *) * (list_length(rows) + 1));
	int			ntypes = 0;
	int			ntenants = 0;
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
	sn_streams.all = fresh;
	sn_streams.n = n;

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
 * and read in every round; its rows are taken apart only when one is new.
 * Returns whether they were, and the filters may be others.
 */
bool
sn_streams_load(Snapshot snapshot)
{
	SnTableScan *scan = sn_table_read(SN_STREAM, snapshot);
	bool		anew;

	if (streams_of != RelationGetRelid(scan->heap))
		sn_streams_forget();
	anew = streams_of == InvalidOid || !same_rows(scan);
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
 * sn_match_type, sn_match_tenant: which streams besides that of all events have
 * an event's type, or its tenant, in their filters: numbers for
 * sn_write_slices().
 */
int32
sn_match_type(Datum event_type)
{
	return sn_matches_find(sn_streams.types, event_type);
}

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
	int			track;

	if (sn_streams.n == 0)
	{
		memset(news, 0xff, sizeof(SnStreamNews));
		news->events = PG_INT64_MAX;
		return;
	}
	if (i < 0 || sn_streams.all[i]->left_out)
		i = 0;
	news->events = sn_streams.all[i]->events;
	news->lanes = 0;
	for (track = 0; track < SN_TRACKS; track++)
	{
		news->tracks[track] = sn_streams.all[i]->touched[track];
		news->lanes |= news->tracks[track];
	}
}
