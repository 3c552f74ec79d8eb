/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lane_look.c
 *		What a lane has, without claiming it: for those who wait, and for
 *		maintenance.
 *
 * A lane that has nothing for its subscription but events that are not wanted
 * (of other types, while it reads the log of all; about its own failures; from
 * before its start) is passed here, since no claim will come for them: they
 * would be lag, and retention would wait for them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "queue/lane_look.h"
#include "queue/retry.h"
#include "queue/stream.h"
#include "queue/wanted.h"
#include "sequencer/sequencer.h"
#include "store/lane_hints.h"

#define EVENTS_AT_ONCE	5000	/* looked at in a step of maintenance */

/* is_free: whether no earlier event of its key is in the fetched one's way */
static bool
is_free(const SnSub *sub, SnLaneState *state, SnLogReader *log,
		SnRetryProbe *probe)
{
	int32		hash;

	return !sub->ordered || sn_lane_whole(state)->parked == 0 ||
		!sn_retry_blocks(probe, sub->sub_id, state->lane,
						 sn_log_text(log, Anum_log_tenant_id),
						 sn_log_text(log, Anum_log_aggregate_id),
						 log->snapshot, &hash);
}

/*
 * has_new: whether a track of the lane has an event to hand out that is no
 * retry.  After so many that a claim would only pass, it is time for one that
 * does.  Those that have to wait for another track are not for now.
 */
static bool
has_new(SnLaneLook *look, SnLaneState *state, Snapshot snapshot, int *budget)
{
	SnSub	   *sub = look->lane.sub;
	SnStreamReader *stream = sn_stream_begin();
	SnLogReader *log = sn_log_begin(snapshot);
	SnRetryProbe probe = {false};
	SnPos		until = Max(sn_lane_bound(&look->lane, state->track, stream,
										  snapshot), state->end_pos);
	bool		open = state->pos < state->end_pos;
	bool		passing = !open && look->passed == 0;
	SnPos		pos;
	pg_uuid_t	id;
	bool		found = false;
	bool		there;
	int			i;

	sn_lane_seek(stream, sub, state, snapshot);
	for (i = 0; !found && sn_stream_next(stream, &pos, &id); i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (pos >= until)
		{
			look->lane.waits_common = true;
			break;
		}
		if (open && pos < state->end_pos && sn_bits_get(&state->resolved, i))
			continue;
		found = *budget <= 0;
		if (found)
			break;
		there = sn_log_fetch_at(log, &id, &stream->row_tid);
		if (there && sn_wanted(sub, stream->filter, log))
		{
			/* a claim gives up what lacks something, without its turn */
			passing = false;
			found = sn_log_lacks(log) != 0 ||
				is_free(sub, state, log, &probe);
		}
		else if (passing)
		{
			look->passed = pos + 1;
			look->passing = state;
			look->gone += !there;
		}
		(*budget)--;
	}
	sn_retry_probe_end(&probe);
	sn_log_end(log);
	sn_stream_end(stream);
	return found;
}

/* is_with_batch: whether a track's new events are not for now, for a batch's sake */
static bool
is_with_batch(SnLaneLook *look, int track, Snapshot snapshot)
{
	SnStreamReader *stream = sn_stream_begin();
	bool		result = look->lane.of[track]->held ||
		sn_lane_waits(&look->lane, track, stream, snapshot);

	sn_stream_end(stream);
	return result;
}

/*
 * has_new_in_lane: whether one of the tracks that are free and may have something
 * has
 */
static bool
has_new_in_lane(SnSubSlot *hints, SnLaneLook *look, Snapshot snapshot,
				int *budget)
{
	SnLane	   *lane = &look->lane;
	SnTracks	tracks = sn_hint_lane_tracks(hints, lane->lane);
	int			track;

	/* what was before has to be passed first */
	if (lane->of[SN_TRACK_COMMON]->pos < lane->sub->tracks_pos)
		tracks |= SN_COMMON_BIT;
	if (look->in_line)
		tracks = lane->tracks;
	foreach_track(track, lane->tracks)
	{
		SnLaneState *state = lane->of[track];

		if (state != NULL && !is_with_batch(look, track, snapshot) &&
			((tracks & SN_TRACK_BIT(track)) != 0 || state->pos < state->end_pos) &&
			has_new(look, state, snapshot, budget))
			return true;
	}
	return false;
}

/* look_at_line: whether the tracks stand in line */
static void
look_at_line(SnLaneLook *look, Snapshot snapshot)
{
	SnStreamReader *stream = sn_stream_begin();

	look->in_line = sn_lane_in_line(&look->lane, stream, snapshot);
	sn_stream_end(stream);
}

/*
 * look_at_leases: until when tracks are held; one that was lost is ready.  Whether
 * a track is free; where roles have shares of lanes, or tracks stand in line, the
 * whole lane.
 */
static bool
look_at_leases(SnLaneLook *look, TimestampTz now)
{
	bool		any_free = false;
	bool		running = false;
	int			track;

	foreach_track(track, look->lane.tracks)
	{
		const SnLaneState *state = look->lane.of[track];

		if (state == NULL)
			continue;
		any_free = any_free || !state->held;
		if (!state->held)
			continue;
		look->held = true;
		look->when = Min(look->when, state->lease_until);
		look->ready = look->ready || state->lease_until <= now;
		running = running || state->lease_until > now;
	}
	if (!running ||
		(look->lane.sub->max_lanes == SN_MAX_LANES && !look->in_line))
		return any_free;
	look->ready = false;
	return false;
}

/* look_at_retries: whether a batch could have one now, or else when one is due */
static void
look_at_retries(SnLaneLook *look, TimestampTz now, Snapshot snapshot)
{
	SnLane	   *lane = &look->lane;
	SnStreamReader *stream;
	TimestampTz due;

	if (lane->of[SN_TRACK_COMMON]->parked == 0)
		return;
	due = sn_retry_next_due(lane->sub->sub_id, lane->lane,
							look->held ? now : DT_NOBEGIN, snapshot);
	look->when = Min(look->when, due);
	if (!look->held)
	{
		look->ready = look->ready || due <= now;
		return;
	}
	stream = sn_stream_begin();
	look->ready = look->ready ||
		sn_lane_due_tracks(lane, now, stream, snapshot) != 0;
	sn_stream_end(stream);
}

/*
 * sn_look_at_lane: what a claim would find in the lane.  budget is how many
 * events to look at, and gets less; where it ends, the lane counts as ready.  So
 * it does when something waits for the common track, which only a claim takes
 * further: it has what it would pass or park.
 */
void
sn_look_at_lane(SnSub *sub, SnSubSlot *hints, int lane, TimestampTz now,
				int *budget, SnLaneLook *look)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnLaneReader reader = {false};

	memset(look, 0, sizeof(SnLaneLook));
	look->when = DT_NOEND;
	sn_lane_open(&look->lane, &reader, sub, lane, snapshot);
	sn_lane_read_end(&reader);
	look_at_line(look, snapshot);
	if (look_at_leases(look, now))
	{
		look_at_retries(look, now, snapshot);
		look->ready = look->ready ||
			has_new_in_lane(hints, look, snapshot, budget) ||
			(look->lane.waits_common &&
			 !is_with_batch(look, SN_TRACK_COMMON, snapshot));
	}
	UnregisterSnapshot(snapshot);
}

/* can_pass: whether there is something unwanted to be passed */
static bool
can_pass(const SnLaneLook *look)
{
	return look->passed > 0;
}

/* pass: the track's position goes where all before is unwanted */
static void
pass(SnLaneLook *look)
{
	SnLaneAppender appender = {NULL};
	SnLaneState *state = look->passing;

	state->pos = state->end_pos = look->passed;
	sn_lane_release(state);
	sn_lane_append(&appender, state);
	sn_lane_append_end(&appender);
	CommandCounterIncrement();
	sn_note_gone(look->lane.sub, look->gone);
}

/* hint_found: say in the hints what was found under the lane's lock */
static void
hint_found(SnSubSlot *hints, int lane, const SnLaneLook *look)
{
	if (look->ready)
		sn_hint_set(hints, lane);
	if (look->held || (!look->ready && look->when != DT_NOEND))
		sn_hint_pending_after_batch(hints, lane);
	if ((look->held || !look->ready) && look->when != DT_NOEND)
		sn_hint_defer_until(hints, lane, look->when);
}

/*
 * sn_look_and_pass: look again under the lane's lock, say so in the hints, and
 * pass what is unwanted.  Whether there is work.  The lock is kept until the
 * end of the transaction if something was written.
 */
bool
sn_look_and_pass(SnSub *sub, SnSubSlot *hints, int lane, TimestampTz now,
				 int *budget, bool may_write)
{
	SnLaneLook	look;

	if (!sn_lock_lane(sub->sub_id, lane, false))
	{
		sn_hint_mark_blocked(hints, lane);
		if (!sn_lock_lane(sub->sub_id, lane, false))
			return false;
	}
	if (!sn_subs_current())
	{
		/* if it is gone its hints are another's; if it is not they stay */
		sn_unlock_lane(sub->sub_id, lane);
		return false;
	}
	sn_hint_clear(hints, lane);
	sn_look_at_lane(sub, hints, lane, now, budget, &look);
	hint_found(hints, lane, &look);
	if (can_pass(&look) && may_write)
	{
		/* who waits has no snapshot, and a row may need one to be stored */
		PushActiveSnapshot(GetTransactionSnapshot());
		pass(&look);
		PopActiveSnapshot();
	}
	else
	{
		if (can_pass(&look))
			sn_hint_set(hints, lane); /* for one who may */
		sn_unlock_lane(sub->sub_id, lane);
	}
	return look.ready;
}

/* Where the next step of maintenance goes on */
static int	next_sub = 0;		/* least number not looked at yet */
static int	next_lane = 0;

/*
 * pass_unwanted_of: the lanes of a subscription, as far as the budget goes.
 * One that was passed and has more is looked at again.
 */
static void
pass_unwanted_of(SnSub *sub, int *budget)
{
	SnSubSlot  *hints = sn_sub_slot_find(sub->sub_id);
	TimestampTz now = sn_now();
	uint64		pending = sn_hint_pending(hints, now);
	int			lanes = sn_node()->lanes;

	while (next_lane < lanes && *budget > 0)
	{
		int			left = SN_LOOK_MAX;
		SnLaneLook	look = {false};

		CHECK_FOR_INTERRUPTS();
		if (pending & SN_LANE_BIT(next_lane))
		{
			sn_look_at_lane(sub, hints, next_lane, now, &left, &look);
			*budget -= 1 + SN_LOOK_MAX - left;
		}
		left = SN_LOOK_MAX;
		if (!can_pass(&look) ||
			!sn_look_and_pass(sub, hints, next_lane, now, &left, true))
			next_lane++;
	}
}

/*
 * sn_pass_unwanted_step: have subscriptions that nobody waits for pass what
 * they do not want.  One subscription at a time, for its locks.
 */
bool
sn_pass_unwanted_step(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "sentinai unwanted",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	int			least = PG_INT32_MAX;
	int			budget = EVENTS_AT_ONCE;
	SnSub	   *sub;
	ListCell   *lc;

	foreach(lc, sn_sub_ids())
		if (lfirst_int(lc) >= next_sub)
			least = Min(least, lfirst_int(lc));
	if (least != next_sub)
		next_lane = 0;
	next_sub = least;
	sub = least == PG_INT32_MAX ? NULL : sn_sub_by_id(least);
	if (sub != NULL && !sub->is_relay)
		pass_unwanted_of(sub, &budget);
	else
		next_lane = SN_MAX_LANES;
	if (next_lane >= sn_node()->lanes)
	{
		next_sub = least == PG_INT32_MAX ? 0 : least + 1;
		next_lane = 0;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return next_sub != 0;
}
