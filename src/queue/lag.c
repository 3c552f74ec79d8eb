/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lag.c
 *		How far a subscription is behind: for the views, and for retention.
 *
 * A slice carries the number of events before it in its lane, so the first and
 * the last slice of a stretch tell how many it has.  Both are looked for in one
 * partition after the other, for all lanes at once: there may be thousands of
 * partitions, and a quiet lane has nothing in most of them.  So each is opened
 * once, and none stays locked.  One that retention drops meanwhile has nothing
 * that anybody lacks.
 */
#include "postgres.h"

#include "access/relation.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "queue/lag.h"
#include "queue/lane_track.h"
#include "queue/stream.h"
#include "sequencer/track_rows.h"
#include "store/range.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_stat_lag);

/* What is known of a track of a lane */
typedef struct Lane
{
	SnPos		from;			/* nothing from here on is resolved */
	int64		events;			/* from there on */
	bool		any;			/* oldest is set */
	pg_uuid_t	oldest;
	/* of the source at hand */
	SnPos		at;				/* from where on it counts */
	int64		first;			/* slice with the first event from there on;
								 * -1: not found */
	int64		before;			/* events of the stream's lane before that one */
	bool		counted;
} Lane;

typedef struct Lag
{
	SnSub	   *sub;
	Snapshot	snapshot;
	List	   *parts;			/* of SnPartRange */
	bool		one_will_do;	/* whether any lane has events is all there is
								 * to know */
	bool		found;			/* one has */
	bool		is_backlog;		/* only what the subscription was there for */
	bool		of_others;		/* counted are events of tenants that are not
								 * its own */
	int			lanes;
	SnTracks	tracks;			/* in use */
	SnPos		ends[SN_TRACKS];	/* sn_tracks_read() */
	int			end;			/* of what there is in lane */
	Lane	   *lane;			/* by SN_LANE_TRACK() */
	/* the source at hand: a stream, up to a position */
	int			stream_id;
	SnPos		until;
	/* the partition at hand */
	Relation	heap;
	bool		scanning;
	SnScan		scan;
} Lag;

/* A slice as it counts */
typedef struct Slice
{
	int64		no;
	int64		events_before;
	int			n;
	const pg_uuid_t *ids;
} Slice;

/* is_lag_lane: whether there is such a track of a lane */
static bool
is_lag_lane(const Lag *lag, int i)
{
	return i % SN_MAX_LANES < lag->lanes &&
		(lag->tracks & SN_TRACK_BIT(i / SN_MAX_LANES)) != 0;
}

/* begin_lag: which lanes and tracks there are */
static void
begin_lag(Lag *lag, int lanes)
{
	int			i;

	lag->parts = sn_partition_ranges(SN_SLICE);
	lag->lanes = lanes;
	lag->tracks = sn_tracks_read(lag->snapshot, lag->ends);
	for (i = 0; i < SN_STRIPS; i++)
		if (is_lag_lane(lag, i))
			lag->end = i + 1;
	lag->lane = palloc0(lag->end * sizeof(Lane));
}

/* end_lag: what begin_lag() has made goes */
static void
end_lag(Lag *lag)
{
	pfree(lag->lane);
	list_free_deep(lag->parts);
}

/* note_positions: where a lane stands in each track */
static void
note_positions(Lag *lag, const SnLane *lane)
{
	int			track;

	foreach_track(track, lag->tracks)
		lag->lane[SN_LANE_TRACK(lane->lane, track)].from =
			sn_lane_track_pos(lane, track);
}

/* open_lag_part: false when it has gone, or has no pages */
static bool
open_lag_part(Lag *lag, Oid relid)
{
	lag->heap = try_relation_open(relid, AccessShareLock);
	if (lag->heap == NULL)
		return false;
	if (RelationGetNumberOfBlocks(lag->heap) > 0)
		return true;
	relation_close(lag->heap, AccessShareLock);
	return false;
}

static void
close_lag_part(Lag *lag)
{
	if (lag->scanning)
		sn_scan_end(&lag->scan);
	lag->scanning = false;
	relation_close(lag->heap, AccessShareLock);
}

/*
 * seek_slices: go to the slices of a lane and track from a number on, in the
 * open partition
 */
static void
seek_slices(Lag *lag, int lane, int64 from, ScanDirection direction)
{
	ScanKeyData keys[4];

	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, lag->stream_id);
	sn_key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	sn_key_int8(&keys[2], 3, BTGreaterEqualStrategyNumber, from);
	sn_key_int8(&keys[3], 3, BTLessStrategyNumber, SN_POS_SLICE(lag->until));
	if (lag->scanning)
		sn_scan_again(&lag->scan, lag->snapshot, 4, keys);
	else
		sn_scan_begin(&lag->scan, RelationGetRelid(lag->heap),
					  sn_index_of(lag->heap, Anum_slice_stream_id,
								  Anum_slice_lane, Anum_slice_no),
					  lag->snapshot, 4, keys, direction);
	lag->scanning = true;
}

/* next_slice_of_part: the next one of the scan, or false */
static bool
next_slice_of_part(Lag *lag, Slice *slice)
{
	TupleTableSlot *slot = lag->scan.slot;
	ArrayType  *array;

	if (!sn_scan_next(&lag->scan))
		return false;
	slot_getallattrs(slot);
	array = DatumGetArrayTypeP(slot->tts_values[Anum_slice_event_ids - 1]);
	slice->no = DatumGetInt64(slot->tts_values[Anum_slice_no - 1]);
	slice->events_before =
		DatumGetInt64(slot->tts_values[Anum_slice_events_before - 1]);
	slice->n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	slice->ids = (const pg_uuid_t *) ARR_DATA_PTR(array);
	return true;
}

/* take_first: look for the lane's first slice in the open partition */
static void
take_first(Lag *lag, int number)
{
	Lane	   *lane = &lag->lane[number];
	Slice		slice;

	seek_slices(lag, number, SN_POS_SLICE(lane->at), ForwardScanDirection);
	while (lane->first < 0 && next_slice_of_part(lag, &slice))
	{
		int			off = slice.no == SN_POS_SLICE(lane->at) ?
			SN_POS_OFF(lane->at) : 0;

		if (off >= slice.n)
			continue;
		lane->first = slice.no;
		lane->before = slice.events_before + off;
		if (!lane->any)
			lane->oldest = slice.ids[off];
		lane->any = lag->found = true;
	}
}

/* take_last: look for the lane's last slice in the open partition */
static void
take_last(Lag *lag, int number)
{
	Lane	   *lane = &lag->lane[number];
	Slice		slice;

	seek_slices(lag, number, lane->first, BackwardScanDirection);
	if (!next_slice_of_part(lag, &slice))
		return;
	lane->events += slice.events_before + slice.n - lane->before;
	lane->counted = true;
}

/* lacks_first: whether the lane's first slice may be in a partition */
static bool
lacks_first(const Lag *lag, const Lane *lane, const SnPartRange *part)
{
	SnPos		end = Min(lag->until,
						  lag->ends[SN_STRIP_TRACK(lane - lag->lane)]);

	return lane->first < 0 && lane->at < end &&
		SN_POS_SLICE(lane->at) < part->end && part->first < SN_POS_SLICE(end);
}

/* lacks_last: whether the lane's last slice may be in a partition */
static bool
lacks_last(const Lag *lag, const Lane *lane, const SnPartRange *part)
{
	return lane->first >= 0 && !lane->counted && lane->first < part->end;
}

/* lag_of_part: do with a partition what lanes lack of it */
static void
lag_of_part(Lag *lag, const SnPartRange *part,
			bool (*lacks) (const Lag *, const Lane *, const SnPartRange *),
			void (*take) (Lag *, int))
{
	bool		open = false;
	int			i;

	if (part->first >= SN_POS_SLICE(lag->until))
		return;
	for (i = 0; i < lag->end; i++)
	{
		if (!is_lag_lane(lag, i) || !lacks(lag, &lag->lane[i], part))
			continue;
		if (!open && !open_lag_part(lag, part->oid))
			return;
		open = true;
		take(lag, i);
	}
	if (open)
		close_lag_part(lag);
}

/* begin_source: a stream is looked at, from a position to another */
static void
begin_source(Lag *lag, int stream_id, SnPos since, SnPos until)
{
	int			i;

	lag->stream_id = stream_id;
	lag->until = until;
	for (i = 0; i < lag->end; i++)
	{
		lag->lane[i].at = Max(lag->lane[i].from, since);
		lag->lane[i].first = -1;
		lag->lane[i].counted = false;
	}
}

/* find_first: where the events of the source begin in each lane */
static void
find_first(Lag *lag, int stream_id, SnPos since, SnPos until)
{
	ListCell   *lc;

	begin_source(lag, stream_id, since, until);
	foreach(lc, lag->parts)
	{
		lag_of_part(lag, lfirst(lc), lacks_first, take_first);
		if (lag->found && lag->one_will_do)
			break;
	}
}

/* find_last: where they end */
static void
find_last(Lag *lag)
{
	int			i;

	for (i = list_length(lag->parts) - 1; i >= 0; i--)
		lag_of_part(lag, list_nth(lag->parts, i), lacks_last, take_last);
}

/* tracks_of: the tracks of a lane whose states are wanted, if there are such */
static SnTracks
tracks_of(const Lag *lag)
{
	return lag->sub->is_relay ? SN_COMMON_BIT : lag->tracks | SN_COMMON_BIT;
}

/* note_passed: what each lane has passed */
static void
note_passed(Lag *lag)
{
	SnLaneReader reader = {false};
	int			i;

	for (i = 0; i < lag->lanes; i++)
	{
		SnLane		lane;

		sn_lane_open_as_of(&lane, &reader, lag->sub, i, tracks_of(lag),
						   lag->snapshot);
		note_positions(lag, &lane);
	}
	sn_lane_read_end(&reader);
}

/* find_any: whether there is an event before a position that was not passed */
static bool
find_any(Lag *lag, SnPos end)
{
	SnPos		since = 0;
	int			i;

	lag->one_will_do = true;
	lag->found = false;
	for (i = 0; i < lag->sub->nsources && !lag->found && since < end; i++)
	{
		find_first(lag, lag->sub->sources[i].stream_id, since,
				   Min(lag->sub->sources[i].until, end));
		since = lag->sub->sources[i].until;
	}
	return lag->found;
}

/*
 * sn_sub_lags: whether a subscription has not passed the slices up to a round.
 */
bool
sn_sub_lags(SnSub *sub, int64 round_no, Snapshot snapshot)
{
	Lag			lag = {sub, snapshot};

	begin_lag(&lag, sn_node()->lanes);
	sn_sub_sources(sub, snapshot);
	note_passed(&lag);
	(void) find_any(&lag, SN_ROUND_POS(round_no + 1));
	end_lag(&lag);
	return lag.found;
}

/*
 * note_rounds: the rounds in which the tracks begin that have something in the part
 * that was just looked at; they need not be looked for in later ones
 */
static void
note_rounds(Lag *lag, int64 *rounds)
{
	SnTracks	found = 0;
	int			i;

	for (i = 0; i < lag->end; i++)
	{
		int			track = i / SN_MAX_LANES;

		if (!is_lag_lane(lag, i) || lag->lane[i].first < 0)
			continue;
		rounds[track] = Min(rounds[track],
							SN_POS_ROUND(SN_SLICE_POS(lag->lane[i].first, 0)));
		found |= SN_TRACK_BIT(track);
	}
	lag->tracks &= ~found;
}

/*
 * sn_sub_rounds_left: for each of these tracks the round of the first events that a
 * subscription has not passed; PG_INT64_MAX: it has passed all
 */
void
sn_sub_rounds_left(SnSub *sub, SnTracks tracks, Snapshot snapshot, int64 *rounds)
{
	Lag			lag = {sub, snapshot};
	SnPos		since = 0;
	int			i;

	for (i = 0; i < SN_TRACKS; i++)
		rounds[i] = PG_INT64_MAX;
	begin_lag(&lag, sn_node()->lanes);
	lag.tracks = tracks;
	sn_sub_sources(sub, snapshot);
	note_passed(&lag);
	for (i = 0; i < sub->nsources && lag.tracks != 0; i++)
	{
		ListCell   *lc;

		begin_source(&lag, sub->sources[i].stream_id, since,
					 sub->sources[i].until);
		foreach(lc, lag.parts)
		{
			lag_of_part(&lag, lfirst(lc), lacks_first, take_first);
			note_rounds(&lag, rounds);
			if (lag.tracks == 0)
				break;
		}
		since = sub->sources[i].until;
	}
	end_lag(&lag);
}

/* oldest_of: the first event of a lane's range whose bit is not set, and on */
static void
oldest_of(Lag *lag, const SnLaneState *state)
{
	Lane	   *lane = &lag->lane[SN_LANE_TRACK(state->lane, state->track)];
	SnStreamReader *stream = sn_stream_begin();
	SnPos		pos;
	int			i = 0;

	sn_lane_seek(stream, lag->sub, state, lag->snapshot);
	do
		lane->any = sn_stream_next(stream, &pos, &lane->oldest);
	while (lane->any && sn_bits_get(&state->resolved, i++));
	sn_stream_end(stream);
}

/* find_positions: where each lane stands; what it has left from a position on */
static void
find_positions(Lag *lag, SnPos since)
{
	SnLaneReader reader = {false};
	int			i;

	for (i = 0; i < lag->lanes; i++)
	{
		SnLane		lane;
		int			track;

		sn_lane_open_as_of(&lane, &reader, lag->sub, i, tracks_of(lag),
						   lag->snapshot);
		foreach_track(track, lane.tracks)
		{
			SnLaneState *state = lane.of[track];

			if (state == NULL || state->resolved.bytes == NULL)
				continue;
			if (state->pos >= since)
				oldest_of(lag, state);
			state->pos = state->end_pos;
		}
		note_positions(lag, &lane);
	}
	sn_lane_read_end(&reader);
}

/*
 * backlog_pos: from where on events are a subscription's backlog: none is what
 * came before it was made
 */
static SnPos
backlog_pos(const SnSub *sub)
{
	return sub->tracks_pos < SN_POS_MAX ? sub->tracks_pos : 0;
}

/*
 * count: the events of all lanes.  Where a subscription reads the stream of all,
 * those that it does not want count, too; they are no backlog.
 */
static void
count(Lag *lag)
{
	SnPos		since = lag->is_backlog ? backlog_pos(lag->sub) : 0;
	int			i;

	sn_sub_sources(lag->sub, lag->snapshot);
	find_positions(lag, since);
	for (i = 0; i < lag->sub->nsources; i++)
	{
		const SnSource *source = &lag->sub->sources[i];

		if (!lag->is_backlog || source->filter == NULL)
		{
			lag->found = false;
			find_first(lag, source->stream_id, since, source->until);
			find_last(lag);
			lag->of_others |= lag->found && source->filter != NULL &&
				source->filter->tenants.n >= 0;
		}
		since = Max(since, source->until);
	}
}

/* sn_sub_left: how many events a subscription has not passed */
int64
sn_sub_left(SnSub *sub, Snapshot snapshot)
{
	Lag			lag = {sub, snapshot};
	int64		result = 0;
	int			i;

	begin_lag(&lag, sn_node()->lanes);
	count(&lag);
	for (i = 0; i < lag.end; i++)
		if (is_lag_lane(&lag, i))
			result += lag.lane[i].events;
	end_lag(&lag);
	return result;
}

/*
 * sn_sub_backlog: how many events wait on some tracks that have come since the
 * subscription was made; oldest: the time of the first one in each lane,
 * DT_NOEND where none does
 */
int64
sn_sub_backlog(SnSub *sub, SnTracks tracks, Snapshot snapshot, TimestampTz *oldest)
{
	Lag			lag = {sub, snapshot,.is_backlog = true};
	int64		result = 0;
	int			i;

	begin_lag(&lag, sn_node()->lanes);
	lag.tracks &= tracks;
	count(&lag);
	for (i = 0; i < lag.lanes; i++)
		oldest[i] = DT_NOEND;
	for (i = 0; i < lag.end; i++)
	{
		if (!is_lag_lane(&lag, i) || !lag.lane[i].any)
			continue;
		oldest[i % SN_MAX_LANES] =
			Min(oldest[i % SN_MAX_LANES],
				sn_ms_timestamp(SN_TICK_MS(sn_uuid_tick(&lag.lane[i].oldest))));
		result += lag.lane[i].events;
	}
	end_lag(&lag);
	return result;
}

/*
 * stat_lag(sub_id int, lanes int, out lane int, out events bigint,
 *		out oldest_at timestamptz)
 */
Datum
sentinai_stat_lag(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Lag			lag = {sn_sub_by_id(PG_GETARG_INT32(0)), GetActiveSnapshot()};
	bool		hidden;
	int			i;

	InitMaterializedSRF(fcinfo, 0);
	begin_lag(&lag, Min(PG_GETARG_INT32(1), SN_MAX_LANES));
	if (lag.sub != NULL && sn_sub_may_watch(lag.sub))
		count(&lag);
	hidden = lag.of_others && !sn_gate_may_watch();
	for (i = 0; i < lag.lanes; i++)
	{
		bool		nulls[3] = {false, hidden, true};
		Datum		values[3];
		SnTick		tick = 0;
		int64		events = 0;
		int			track;

		foreach_track(track, lag.tracks)
		{
			const Lane *lane = &lag.lane[SN_LANE_TRACK(i, track)];

			events += lane->events;
			if (!lane->any || hidden)
				continue;
			if (nulls[2] || sn_uuid_tick(&lane->oldest) < tick)
				tick = sn_uuid_tick(&lane->oldest);
			nulls[2] = false;
		}
		values[0] = Int32GetDatum(i);
		values[1] = Int64GetDatum(events);
		values[2] = TimestampTzGetDatum(sn_ms_timestamp(SN_TICK_MS(tick)));
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
	return (Datum) 0;
}
