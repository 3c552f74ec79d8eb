/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * filter.c
 *		The streams that filters have, and what happens when a subscription's
 *		filter changes.
 *
 * Runs under the lock of subscriptions (lock.c).  A changed filter holds for
 * rounds taken after the change: what was sequenced before is delivered by the
 * filter of its time, claimed or not.  For that the subscription's row
 * remembers the streams it read and up to which round; streams that every lane
 * has passed are forgotten at the next change.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/snapmgr.h"

#include "queue/filter.h"
#include "queue/lane_track.h"
#include "sequencer/tracks.h"

#define MAX_OLD_STREAMS		32

/* sn_next_id: a value of the sequence of an identity column */
int
sn_next_id(const char *sequence)
{
	return (int) sn_sequence_next(sequence);
}

/* sn_filters_equal: whether two filters let the same events through */
bool
sn_filters_equal(const SnFilter *a, const SnFilter *b)
{
	return sn_names_equal(&a->types, &b->types) &&
		sn_names_equal(&a->tenants, &b->tenants) &&
		sn_names_equal(&a->aggregate_types, &b->aggregate_types);
}

/* sn_filter_stream: the stream of a filter, made if there is none */
int
sn_filter_stream(const SnFilter *filter, Snapshot snapshot)
{
	SnTableScan *scan = sn_table_read(SN_STREAM, snapshot);
	TupleTableSlot *slot;
	Datum		values[Natts_stream] = {0};
	bool		nulls[Natts_stream] = {false};
	int			result = filter->types.n < 0 && filter->tenants.n < 0 &&
		filter->aggregate_types.n < 0 ? SN_STREAM_ALL : -1;

	Assert(sn_streams_are_ours());
	while (result < 0 && (slot = sn_table_next(scan)) != NULL)
	{
		SnSegment	segment;

		result = DatumGetInt32(slot->tts_values[Anum_stream_id - 1]);
		sn_stream_row(result, snapshot, &segment);
		if (!sn_filters_equal(&segment.filter, filter))
			result = -1;
	}
	sn_table_end(scan);
	if (result >= 0)
		return result;

	result = sn_next_id("stream_stream_id_seq");
	values[Anum_stream_id - 1] = Int32GetDatum(result);
	values[Anum_stream_event_types - 1] =
		sn_names_array(&filter->types, &nulls[Anum_stream_event_types - 1]);
	values[Anum_stream_tenants - 1] =
		sn_names_array(&filter->tenants, &nulls[Anum_stream_tenants - 1]);
	values[Anum_stream_aggregate_types - 1] =
		sn_names_array(&filter->aggregate_types,
					   &nulls[Anum_stream_aggregate_types - 1]);
	nulls[Anum_stream_first_round - 1] = true;
	sn_insert_one(SN_STREAM, values, nulls);
	return result;
}

/* stream_used: whether a subscription reads a stream */
static bool
stream_used(int stream_id, Snapshot snapshot)
{
	SnTableScan *scan = sn_table_read(SN_SUBSCRIPTION, snapshot);
	TupleTableSlot *slot;
	bool		used = false;

	while (!used && (slot = sn_table_next(scan)) != NULL)
	{
		Datum	   *values = slot->tts_values;
		int			i;

		used = stream_id == DatumGetInt32(values[Anum_sub_stream_id - 1]);
		if (!slot->tts_isnull[Anum_sub_old_streams - 1])
		{
			ArrayType  *array =
				DatumGetArrayTypeP(values[Anum_sub_old_streams - 1]);

			for (i = 0; i < ARR_DIMS(array)[0]; i++)
				used = used || ((int32 *) ARR_DATA_PTR(array))[i] == stream_id;
		}
	}
	sn_table_end(scan);
	return used;
}

/*
 * sn_drop_unused_streams: remove filters that no subscription reads any more.  A
 * stream that was not filled yet stays until it was: the sequencer is about to
 * update its row, and must not wait for this transaction.
 */
void
sn_drop_unused_streams(void)
{
	SnTableScan *scan = sn_table_change(SN_STREAM, NULL, 0, NULL);
	TupleTableSlot *slot;

	Assert(sn_streams_are_ours());
	while ((slot = sn_table_next(scan)) != NULL)
	{
		int			id = DatumGetInt32(slot->tts_values[Anum_stream_id - 1]);

		if (id != SN_STREAM_ALL &&
			!slot->tts_isnull[Anum_stream_first_round - 1] &&
			!stream_used(id, scan->snapshot))
			sn_table_delete(scan);
	}
	sn_table_end(scan);
}

/* is_left: whether a lane has an event that is not resolved, or is held */
static bool
is_left(const SnLane *lane, SnStreamReader *stream, Snapshot snapshot)
{
	const SnSub *sub = lane->sub;
	int			track;

	for (track = 0; lane->tracks >> track != 0; track++)
	{
		SnPos		pos;
		pg_uuid_t	id;

		if (lane->of[track] == NULL)
			continue;
		sn_stream_seek(stream, sub->sources, sub->nsources, lane->lane, track,
					   sn_lane_track_pos(lane, track), snapshot);
		if (lane->of[track]->held || sn_stream_next(stream, &pos, &id))
			return true;
	}
	return false;
}

/* move_lane: a lane that has nothing left moves to a position, in all its tracks */
static void
move_lane(SnLane *lane, SnPos pos)
{
	int			track;

	for (track = 0; lane->tracks >> track != 0; track++)
	{
		SnLaneState *state = lane->of[track];

		if (state == NULL)
			continue;
		state->pos = state->end_pos = pos;
		if (state->whole != NULL)
			state->common_pos = pos;
		sn_lane_release(state);
	}
}

/* passed_in_lane: the position that a lane has reached in all of its tracks */
static SnPos
passed_in_lane(const SnLane *lane)
{
	SnPos		lowest = SN_POS_MAX;
	int			track;

	for (track = 0; lane->tracks >> track != 0; track++)
		if (lane->of[track] != NULL)
			lowest = Min(lowest, sn_lane_track_pos(lane, track));
	return lowest;
}

/*
 * move_lanes: lanes that have nothing left before a round move there.  Returns
 * the position that every lane has reached then.
 */
static SnPos
move_lanes(SnSub *sub, int64 round_no, Snapshot snapshot)
{
	SnStreamReader *stream = sn_stream_begin();
	SnLaneReader reader = {false};
	int			lanes = sn_node()->lanes;
	SnPos		lowest = SN_POS_MAX;
	int			i;

	sn_sub_sources(sub, snapshot);
	for (i = 0; i < lanes; i++)
	{
		SnLane		lane;

		sn_lane_open(&lane, &reader, sub, i, snapshot);
		if (passed_in_lane(&lane) < SN_ROUND_POS(round_no) &&
			!is_left(&lane, stream, snapshot))
		{
			move_lane(&lane, SN_ROUND_POS(round_no));
			(void) sn_lane_store(&lane);
		}
		lowest = Min(lowest, passed_in_lane(&lane));
	}
	sn_lane_read_end(&reader);
	sn_stream_end(stream);
	return lowest;
}

/*
 * sn_change_filter: rounds after the newest one are read from another stream.
 * Nobody has read further: the lanes' locks are held, and the snapshot is from
 * after they were got.
 */
void
sn_change_filter(SnSub *sub, int stream_id, Datum *values, bool *nulls)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64		until = sn_newest_round(snapshot) + 1;
	SnPos		passed = move_lanes(sub, until, snapshot);
	Datum	   *streams = palloc(sub->nsegments * sizeof(Datum));
	Datum	   *untils = palloc(sub->nsegments * sizeof(Datum));
	int			n = 0;
	int			i;

	Assert(sn_streams_are_ours());
	for (i = 0; i < sub->nsegments; i++)
	{
		int64		end = Min(sub->segments[i].until, until);

		if (end <= 0 || SN_ROUND_POS(end) <= passed)
			continue;
		streams[n] = Int32GetDatum(sub->segments[i].stream_id);
		untils[n++] = Int64GetDatum(end);
	}
	if (n > MAX_OLD_STREAMS)
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("the filter of this subscription was changed too often"),
				 errhint("Let it work off what was published before the last changes.")));
	UnregisterSnapshot(snapshot);

	values[Anum_sub_stream_id - 1] = Int32GetDatum(stream_id);
	nulls[Anum_sub_old_streams - 1] = n == 0;
	nulls[Anum_sub_old_until - 1] = n == 0;
	values[Anum_sub_old_streams - 1] =
		PointerGetDatum(construct_array(streams, n, INT4OID, sizeof(int32),
										true, TYPALIGN_INT));
	values[Anum_sub_old_until - 1] =
		PointerGetDatum(construct_array(untils, n, INT8OID, sizeof(int64),
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
