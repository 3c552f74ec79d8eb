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
 * remembers the streams it read and up to which round.  Streams that every lane
 * has passed are forgotten at the next change, and by maintenance: who claims
 * has to have the rights for all tenants of what the row remembers.  So a stream
 * is not passed, either, while an event of a tenant that the present filter
 * does not have waits for its retry.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/snapmgr.h"

#include "queue/filter.h"
#include "queue/lane_track.h"
#include "queue/retry.h"

#define MAX_OLD_STREAMS		32
#define RETRIES_LOOKED_AT	10000	/* with more of them, some may be foreign */

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

/*
 * own_pos: where a track's own state stands.  Another track may have noted that the
 * common one has passed more; but it is read from its own position on, and its range
 * begins there.
 */
static SnPos
own_pos(const SnLane *lane, int track)
{
	return track == SN_TRACK_COMMON ? lane->of[SN_TRACK_COMMON]->pos :
		sn_lane_track_pos(lane, track);
}

/*
 * is_left: whether a lane has an event before a position that may not be
 * resolved, or is held there
 */
static bool
is_left(const SnLane *lane, SnStreamReader *stream, SnPos end,
		Snapshot snapshot)
{
	const SnSub *sub = lane->sub;
	int			track;

	foreach_track(track, lane->tracks)
	{
		SnPos		pos;
		pg_uuid_t	id;

		if (lane->of[track] == NULL || own_pos(lane, track) >= end)
			continue;
		sn_stream_seek(stream, sub->sources, sub->nsources, lane->lane, track,
					   own_pos(lane, track), snapshot);
		if (lane->of[track]->held || lane->of[track]->end_pos > end ||
			(sn_stream_next(stream, &pos, &id) && pos < end))
			return true;
	}
	return false;
}

/* move_lane: a lane that has nothing left before a position moves there, in all its tracks */
static void
move_lane(SnLane *lane, SnPos pos)
{
	int			track;

	foreach_track(track, lane->tracks)
	{
		SnLaneState *state = lane->of[track];

		if (state == NULL || state->pos >= pos || state->held)
			continue;
		state->pos = state->end_pos = pos;
		if (state->whole != NULL)
			state->common_pos = Max(state->common_pos, pos);
		sn_lane_release(state);
	}
}

/* passed_in_lane: the position that a lane has reached in all of its tracks */
static SnPos
passed_in_lane(const SnLane *lane)
{
	SnPos		lowest = SN_POS_MAX;
	int			track;

	foreach_track(track, lane->tracks)
		if (lane->of[track] != NULL)
			lowest = Min(lowest, own_pos(lane, track));
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
			!is_left(&lane, stream, SN_ROUND_POS(round_no), snapshot))
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
 * foreign_retry: the position of the first event that waits for a retry and is
 * of none of these tenants.  0 where too many wait to be looked at.
 */
static SnPos
foreign_retry(int sub_id, const SnNames *tenants, Snapshot snapshot)
{
	SnPos		first = SN_POS_MAX;
	int			n = 0;
	SnScan		scan;

	if (tenants->n < 0)
		return first;
	sn_retry_scan_keys(&scan, sub_id, snapshot);
	while (first > 0 && sn_scan_next(&scan))
	{
		SnRetry		retry;

		CHECK_FOR_INTERRUPTS();
		sn_retry_read(&scan, &retry);
		if (!sn_names_have(tenants, retry.tenant_id))
			first = Min(first, retry.pos);
		if (++n > RETRIES_LOOKED_AT)
			first = 0;
	}
	sn_scan_end(&scan);
	return first;
}

/*
 * set_earlier: the streams of the first n segments, up to a round, are what was
 * read before, but for what is passed
 */
static void
set_earlier(const SnSub *sub, int n, int64 until, SnPos passed, Datum *values,
			bool *nulls)
{
	Datum	   *streams = palloc(sub->nsegments * sizeof(Datum));
	Datum	   *untils = palloc(sub->nsegments * sizeof(Datum));
	int			left = 0;
	int			i;

	Assert(sn_streams_are_ours());
	for (i = 0; i < n; i++)
	{
		int64		end = Min(sub->segments[i].until, until);

		if (end <= 0 || SN_ROUND_POS(end) <= passed)
			continue;
		streams[left] = Int32GetDatum(sub->segments[i].stream_id);
		untils[left++] = Int64GetDatum(end);
	}
	if (left > MAX_OLD_STREAMS)
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("the filter of this subscription was changed too often"),
				 errhint("Let it work off what was published before the last changes.")));

	nulls[Anum_sub_old_streams - 1] = left == 0;
	nulls[Anum_sub_old_until - 1] = left == 0;
	values[Anum_sub_old_streams - 1] =
		PointerGetDatum(construct_array(streams, left, INT4OID, sizeof(int32),
										true, TYPALIGN_INT));
	values[Anum_sub_old_until - 1] =
		PointerGetDatum(construct_array(untils, left, INT8OID, sizeof(int64),
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * sn_change_filter: rounds after the newest one are read from another stream.
 * Nobody has read further: the lanes' locks are held, and the snapshot is from
 * after they were got.
 */
void
sn_change_filter(SnSub *sub, const SnFilter *filter, int stream_id,
				 Datum *values, bool *nulls)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64		until = sn_newest_round(snapshot) + 1;
	SnPos		passed = move_lanes(sub, until, snapshot);

	passed = Min(passed, foreign_retry(sub->sub_id, &filter->tenants,
									   snapshot));
	UnregisterSnapshot(snapshot);
	values[Anum_sub_stream_id - 1] = Int32GetDatum(stream_id);
	set_earlier(sub, sub->nsegments, until, passed, values, nulls);
}

/*
 * sn_passed_by_retries: before which position no event of a tenant that a
 * subscription does not have any more waits for its retry
 */
SnPos
sn_passed_by_retries(const SnSub *sub, Snapshot snapshot)
{
	const SnSegment *present = &sub->segments[sub->nsegments - 1];

	return foreign_retry(sub->sub_id, &present->filter.tenants, snapshot);
}

/*
 * sn_forget_filters: a subscription's row without the earlier streams that its
 * lanes have passed, and its retries, as the snapshot shows them
 */
void
sn_forget_filters(const SnSub *sub, SnPos passed, Snapshot snapshot,
				  Datum *values, bool *nulls)
{
	passed = Min(passed, sn_passed_by_retries(sub, snapshot));
	set_earlier(sub, sub->nsegments - 1, PG_INT64_MAX, passed, values, nulls);
}

/*
 * sn_pass_lane: a lane that has nothing left before a position moves there, if its
 * lock is to be had at once.  Returns where it is then.
 */
SnPos
sn_pass_lane(SnSub *sub, int number, SnPos end)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnStreamReader *stream = sn_stream_begin();
	SnLaneReader reader = {false};
	SnPos		passed;
	SnLane		lane;

	sn_sub_sources(sub, snapshot);
	sn_lane_open(&lane, &reader, sub, number, snapshot);
	if (passed_in_lane(&lane) < end &&
		!is_left(&lane, stream, end, snapshot) &&
		sn_lock_lane(sub->sub_id, number, false))
	{
		/* as it is under the lock */
		sn_lane_read_end(&reader);
		UnregisterSnapshot(snapshot);
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		sn_lane_open(&lane, &reader, sub, number, snapshot);
		if (!sn_subs_current() || is_left(&lane, stream, end, snapshot))
			sn_unlock_lane(sub->sub_id, number);
		else
		{
			move_lane(&lane, end);
			if (!sn_lane_store(&lane))
				sn_unlock_lane(sub->sub_id, number);
		}
	}
	passed = passed_in_lane(&lane);
	sn_lane_read_end(&reader);
	sn_stream_end(stream);
	UnregisterSnapshot(snapshot);
	return passed;
}
