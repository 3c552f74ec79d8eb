/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lane_track.c
 *		A lane with all its tracks: where each stands, what one has to wait for in
 *		the others, and whose a retry is.
 *
 * A batch holds a track of a lane, and others may hold the lane's other tracks
 * meanwhile.  docs/design/lane-holds.md says why the order of keys holds.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "port/atomics.h"

#include "base/text.h"
#include "queue/lane_track.h"
#include "sequencer/tracks.h"
#include "shared/shmem.h"
#include "store/lane_hints.h"

/* sn_lane_tracks: the tracks that lanes have */
SnTracks
sn_lane_tracks(Snapshot snapshot)
{
	SnTracks	used = pg_atomic_read_u64(&sn_database()->tracks_used);

	return used != 0 && sn_preloaded() ? used : sn_tracks_used(snapshot);
}

/* forget_known: what was found out about a lane may be otherwise by now */
static void
forget_known(SnLane *lane)
{
	int			track;

	for (track = 0; track < SN_TRACKS; track++)
		lane->passed[track] = SN_NOT_KNOWN;
	lane->napart = SN_NOT_KNOWN;
	lane->hands_known = false;
	lane->in_hands = NIL;
}

/* begin_lane: a lane whose states are still to be read */
static void
begin_lane(SnLane *lane, SnSub *sub, int number, SnTracks tracks)
{
	memset(lane, 0, sizeof(SnLane));
	lane->sub = sub;
	lane->lane = number;
	lane->tracks = tracks;
	forget_known(lane);
}

/* read_state: one more of a lane's tracks, read in one way; the common one is first */
static void
read_state(SnLane *lane, SnLaneReader *reader, int track, Snapshot snapshot,
		   void (*read) (SnLaneReader *, const SnSub *, int, int, Snapshot,
						 SnLaneState *))
{
	SnLaneState *state = palloc(sizeof(SnLaneState));

	read(reader, lane->sub, lane->lane, track, snapshot, state);
	if (track != SN_TRACK_COMMON)
		state->whole = lane->of[SN_TRACK_COMMON];
	lane->of[track] = state;
}

/*
 * sn_lane_state: the state of one of a lane's tracks, read at its first use.  The
 * caller has taken the snapshot since he has the lane's lock.
 */
SnLaneState *
sn_lane_state(SnLane *lane, SnLaneReader *reader, int track, Snapshot snapshot)
{
	if (lane->of[track] == NULL)
		read_state(lane, reader, track, snapshot, sn_lane_read_next);
	return lane->of[track];
}

/* sn_lane_read_all: the states of a lane that were not read yet */
void
sn_lane_read_all(SnLane *lane, SnLaneReader *reader, Snapshot snapshot)
{
	int			track;

	foreach_track(track, lane->tracks)
		(void) sn_lane_state(lane, reader, track, snapshot);
}

/*
 * sn_lane_open: a lane as it is, by one who has just taken the snapshot.  A
 * relay and a lane where nobody was set apart have the common track alone.
 */
void
sn_lane_open(SnLane *lane, SnLaneReader *reader, SnSub *sub, int number,
			 Snapshot snapshot)
{
	begin_lane(lane, sub, number, sub->is_relay ? SN_COMMON_BIT :
			   sn_lane_tracks(snapshot));
	sn_lane_read_all(lane, reader, snapshot);
}

/*
 * sn_lane_open_busy: likewise, by one who has the lane's lock; but of other
 * tracks than the common one only those that may be held, or have a range that
 * is not passed.
 */
void
sn_lane_open_busy(SnLane *lane, SnLaneReader *reader, SnSub *sub, int number,
				  SnSubSlot *hints, Snapshot snapshot)
{
	SnTracks	busy = sn_hint_busy_tracks(hints, number) |
		SN_COMMON_BIT;
	int			track;

	begin_lane(lane, sub, number, sn_lane_tracks(snapshot));
	foreach_track(track, lane->tracks & busy)
	{
		const SnLaneState *state;

		state = sn_lane_state(lane, reader, track, snapshot);
		if (!state->held && state->pos == state->end_pos)
			sn_hint_idle(hints, number, track);
	}
}

/* sn_lane_open_as_of: some tracks of a lane as any snapshot shows them */
void
sn_lane_open_as_of(SnLane *lane, SnLaneReader *reader, SnSub *sub, int number,
				   SnTracks tracks, Snapshot snapshot)
{
	int			track;

	begin_lane(lane, sub, number, tracks | SN_COMMON_BIT);
	foreach_track(track, lane->tracks)
		read_state(lane, reader, track, snapshot, sn_lane_read_as_of);
}

/*
 * sn_lane_store: append those of a lane's states that changed; whether any did.  Who
 * reads the lane after it, in this command too, finds them.
 */
bool
sn_lane_store(SnLane *lane)
{
	SnLaneAppender appender = {NULL};
	bool		any = false;
	int			track;

	foreach_track(track, lane->tracks)
	{
		if (lane->of[track] == NULL || !lane->of[track]->changed)
			continue;
		sn_lane_append(&appender, lane->of[track]);
		any = true;
	}
	sn_lane_append_end(&appender);
	if (any)
		CommandCounterIncrement();
	return any;
}

/*
 * sn_lane_put_back: store what somebody has changed in a lane, and tell those
 * who wait for its work
 */
void
sn_lane_put_back(SnLane *lane, SnSubSlot *hints)
{
	int			track;

	if (!sn_lane_store(lane))
		return;
	sn_hint_free_at_commit(hints, 0, SN_LANE_BIT(lane->lane));
	foreach_track(track, lane->tracks)
		if (lane->of[track] != NULL && lane->of[track]->held)
			sn_hint_pending_after_batch(hints, lane->lane);
}

/*
 * common_pos: where a lane stands in the common track, as far as any of them knows.
 * Others may have noted that more is passed than the position of a range says.  But
 * its bits are counted from there, so the slices from there on have to stay.
 */
static SnPos
common_pos(const SnLane *lane)
{
	const SnLaneState *common = lane->of[SN_TRACK_COMMON];
	SnPos		result = common->pos;
	int			track;

	if (common->pos < common->end_pos)
		return result;
	foreach_track(track, lane->tracks & ~SN_COMMON_BIT)
		if (lane->of[track] != NULL)
			result = Max(result, lane->of[track]->common_pos);
	return result;
}

/*
 * sn_lane_track_pos: where a lane stands in a track.  What is read merged has
 * one position for all of them.
 */
SnPos
sn_lane_track_pos(const SnLane *lane, int track)
{
	SnPos		common = common_pos(lane);

	if (track == SN_TRACK_COMMON || common < lane->sub->tracks_pos ||
		lane->of[track] == NULL)
		return common;
	return Max(lane->of[track]->pos, lane->sub->tracks_pos);
}

/*
 * sn_lane_changed: what was found out about one track may be otherwise by now; about
 * all, if the snapshot is another one than before, by their numbers
 */
void
sn_lane_changed(SnLane *lane, int track, uint32 as_of)
{
	if (lane->as_of != as_of)
		forget_known(lane);
	lane->as_of = as_of;
	lane->passed[track] = SN_NOT_KNOWN;
	lane->hands_known = false;
	lane->in_hands = NIL;
}

/* sn_lane_seek: have a reader begin with what a track of a lane has left */
void
sn_lane_seek(SnStreamReader *stream, SnSub *sub, const SnLaneState *state,
			 Snapshot snapshot)
{
	sn_sub_sources(sub, snapshot);
	sn_stream_seek(stream, sub->sources, sub->nsources, state->lane,
				   state->track, state->pos, snapshot);
}

/* read_apart: who has another track, once for a lane */
static void
read_apart(SnLane *lane, Snapshot snapshot)
{
	if (lane->napart == SN_NOT_KNOWN)
		lane->napart = sn_tracks_apart(snapshot, &lane->apart);
}

/* find_tenant_apart: where a tenant is that has another track; or NULL */
static const SnApart *
find_tenant_apart(SnLane *lane, const text *tenant_id, Snapshot snapshot)
{
	int			i;

	read_apart(lane, snapshot);
	for (i = 0; i < lane->napart; i++)
		if (sn_text_equal(lane->apart[i].tenant_id, tenant_id))
			return &lane->apart[i];
	return NULL;
}

/*
 * track_passed: the first position of a track that is neither resolved nor has a
 * row of event_retry; SN_POS_MAX: there is none that the snapshot shows
 */
static SnPos
track_passed(SnLane *lane, int track, SnStreamReader *stream, Snapshot snapshot)
{
	const SnLaneState *state = lane->of[track];
	SnPos		pos;
	pg_uuid_t	id;
	int			i;

	if (lane->passed[track] != SN_NOT_KNOWN)
		return lane->passed[track];
	lane->passed[track] = SN_POS_MAX;
	sn_lane_seek(stream, lane->sub, state, snapshot);
	for (i = 0; sn_stream_next(stream, &pos, &id); i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (pos < state->end_pos && sn_bits_get(&state->resolved, i))
			continue;
		lane->passed[track] = pos;
		break;
	}
	return lane->passed[track];
}

/* common_passed: that of the common track */
static SnPos
common_passed(SnLane *lane, SnStreamReader *stream, Snapshot snapshot)
{
	return track_passed(lane, SN_TRACK_COMMON, stream, snapshot);
}

/*
 * sn_lane_first: the track whose first event that is not passed comes before those
 * of all others; -1: there is none
 */
int
sn_lane_first(SnLane *lane, SnStreamReader *stream, Snapshot snapshot)
{
	SnPos		first = SN_POS_MAX;
	int			result = -1;
	int			track;

	foreach_track(track, lane->tracks)
	{
		if (lane->of[track] == NULL ||
			track_passed(lane, track, stream, snapshot) >= first)
			continue;
		first = lane->passed[track];
		result = track;
	}
	return result;
}

/* sn_lane_unpassed: the tracks that have an event that is not passed */
SnTracks
sn_lane_unpassed(SnLane *lane, SnStreamReader *stream, Snapshot snapshot)
{
	SnTracks	result = 0;
	int			track;

	foreach_track(track, lane->tracks)
		if (lane->of[track] != NULL &&
			track_passed(lane, track, stream, snapshot) < SN_POS_MAX)
			result |= SN_TRACK_BIT(track);
	return result;
}

/*
 * sn_lane_in_line: whether the lane hands out its tracks in the order of positions,
 * as one has something from before the subscription's in_line_pos: tenants have
 * come back to the common track, and may have left it there.  Then one batch has
 * all of the lane, and the caller has read all of its states.
 */
bool
sn_lane_in_line(SnLane *lane, SnStreamReader *stream, Snapshot snapshot)
{
	int			first;

	if (likely(lane->sub->in_line_pos == 0) ||
		lane->tracks == SN_COMMON_BIT)
		return false;
	first = sn_lane_first(lane, stream, snapshot);
	return first >= 0 && lane->passed[first] < lane->sub->in_line_pos;
}

/* bound_in_line: from where on the events of a track have to wait for those of others */
static SnPos
bound_in_line(SnLane *lane, int track, SnStreamReader *stream,
			  Snapshot snapshot)
{
	SnPos		result = SN_POS_MAX;
	int			other;

	if (!sn_lane_in_line(lane, stream, snapshot))
		return result;
	foreach_track(other, lane->tracks)
		if (other != track && lane->of[other] != NULL &&
			lane->passed[other] < lane->sub->in_line_pos)
			result = Min(result, lane->passed[other]);
	return result;
}

/*
 * bound_by_common: from where on the events of a track have to wait for the common
 * one, where their tenants had theirs before; SN_POS_MAX: nowhere.  What the
 * common one has passed is noted, so that it is not looked for again.
 */
static SnPos
bound_by_common(SnLane *lane, int track, SnStreamReader *stream,
				Snapshot snapshot)
{
	SnLaneState *state = lane->of[track];
	SnPos		needed = lane->sub->tracks_pos;
	SnPos		result = SN_POS_MAX;
	SnPos		passed;
	int			i;

	if (track == SN_TRACK_COMMON ||
		state->common_pos >= Max(needed, sn_apart_until()))
		return SN_POS_MAX;
	read_apart(lane, snapshot);
	for (i = 0; i < lane->napart; i++)
		needed = Max(needed, SN_ROUND_POS(lane->apart[i].since_round));
	if (state->common_pos >= needed)
		return SN_POS_MAX;
	passed = common_passed(lane, stream, snapshot);
	state->common_pos = Max(state->common_pos, Min(passed, needed));
	if (passed < lane->sub->tracks_pos)
		return 0;
	for (i = 0; i < lane->napart; i++)
		if (lane->apart[i].track == track &&
			SN_ROUND_POS(lane->apart[i].since_round) > passed)
			result = Min(result, SN_ROUND_POS(lane->apart[i].since_round));
	return result;
}

/*
 * sn_lane_bound: from where on the new events of a track have to wait for another
 * one, which may have earlier ones of their keys; SN_POS_MAX: nowhere
 */
SnPos
sn_lane_bound(SnLane *lane, int track, SnStreamReader *stream,
			  Snapshot snapshot)
{
	return Min(bound_in_line(lane, track, stream, snapshot),
			   bound_by_common(lane, track, stream, snapshot));
}

/* add_in_hands: a retry that the batch of a track has */
static void
add_in_hands(SnLane *lane, int track, const SnRetry *retry)
{
	SnInHands  *added = palloc(sizeof(SnInHands));

	added->track = track;
	added->tenant_id = retry->tenant_id;
	lane->in_hands = lappend(lane->in_hands, added);
}

/* read_in_hands: whose retries are with batches, once for a lane */
static void
read_in_hands(SnLane *lane, Snapshot snapshot)
{
	int			track;
	int			i;

	foreach_track(track, lane->hands_known ? 0 : lane->tracks)
	{
		const SnLaneState *state = lane->of[track];
		SnRetry		retry;

		for (i = 0; state != NULL && state->held && i < state->nretries; i++)
			if (sn_retry_get(state->sub_id, state->lane, state->retries[i],
							 snapshot, &retry))
				add_in_hands(lane, track, &retry);
	}
	lane->hands_known = true;
}

/* is_elsewhere: whether the batch of another track has a retry of the tenant */
static bool
is_elsewhere(SnLane *lane, const text *tenant_id, int track, Snapshot snapshot)
{
	ListCell   *lc;

	read_in_hands(lane, snapshot);
	foreach(lc, lane->in_hands)
	{
		const SnInHands *in_hands = lfirst(lc);

		if (in_hands->track != track &&
			sn_text_equal(in_hands->tenant_id, tenant_id))
			return true;
	}
	return false;
}

/*
 * track_of_tenant: the track that a tenant has; -1 when the common one has not
 * passed what it had there.  What is still read merged is the common one's,
 * whoever's it is.
 */
static int
track_of_tenant(SnLane *lane, const text *tenant_id, SnStreamReader *stream,
				Snapshot snapshot)
{
	const SnApart *apart = find_tenant_apart(lane, tenant_id, snapshot);
	SnPos		passed = apart == NULL ? 0 :
		common_passed(lane, stream, snapshot);

	if (apart == NULL || passed < lane->sub->tracks_pos)
		return SN_TRACK_COMMON;
	return passed < SN_ROUND_POS(apart->since_round) ? -1 : apart->track;
}

/*
 * sn_lane_waits: whether the new events of a track have to wait for the batch of
 * another one: it has a retry of a tenant, and this is the track where that has,
 * or may still have, new events.  They may be of the retry's key.  With order they
 * are parked behind it; without, nothing else holds them.
 */
bool
sn_lane_waits(SnLane *lane, int track, SnStreamReader *stream,
			  Snapshot snapshot)
{
	ListCell   *lc;

	if (lane->sub->ordered || lane->tracks == SN_COMMON_BIT)
		return false;
	read_in_hands(lane, snapshot);
	foreach(lc, lane->in_hands)
	{
		const SnInHands *in_hands = lfirst(lc);
		int			now;

		if (in_hands->track == track)
			continue;
		now = track_of_tenant(lane, in_hands->tenant_id, stream, snapshot);
		if (track != (now < 0 ? SN_TRACK_COMMON : now))
			continue;
		lane->waits_batch = true;
		return true;
	}
	return false;
}

/* is_held: whether a batch has any of the lane's tracks */
static bool
is_held(const SnLane *lane)
{
	int			track;

	foreach_track(track, lane->tracks)
		if (lane->of[track] != NULL && lane->of[track]->held)
			return true;
	return false;
}

/*
 * sn_lane_retry_track: the track that a batch has to hold to get a retry, that of
 * its tenant; where the tracks stand in line, the common one and no other.  -1:
 * nobody gets it now, since a batch of another track may have an event of its key,
 * from when its tenant had that one.  What it waits for is noted.
 */
int
sn_lane_retry_track(SnLane *lane, const SnRetry *retry, SnStreamReader *stream,
					Snapshot snapshot)
{
	int			track;

	if (lane->tracks == SN_COMMON_BIT)
		return SN_TRACK_COMMON;
	if (sn_lane_in_line(lane, stream, snapshot))
	{
		lane->waits_batch = lane->waits_batch || is_held(lane);
		return is_held(lane) ? -1 : SN_TRACK_COMMON;
	}
	track = track_of_tenant(lane, retry->tenant_id, stream, snapshot);
	if (track < 0)
		lane->waits_common = true;
	else if ((lane->tracks & SN_TRACK_BIT(track)) == 0 ||
			 (lane->of[track] != NULL && lane->of[track]->held) ||
			 is_elsewhere(lane, retry->tenant_id, track, snapshot))
		lane->waits_batch = true;
	else
		return track;
	return -1;
}

/*
 * sn_lane_due_tracks: the tracks that have retries that are due.
 * Of very many the first are looked at.  What is behind them waits until these
 * are done with, be that for the batch that has their track.
 */
SnTracks
sn_lane_due_tracks(SnLane *lane, TimestampTz now, SnStreamReader *stream,
				   Snapshot snapshot)
{
	SnTracks	result = 0;
	int			left = SN_DUE_LOOKED_AT;
	SnScan		scan;

	if (lane->of[SN_TRACK_COMMON]->parked == 0)
		return 0;
	if (lane->tracks == SN_COMMON_BIT)
		return SN_COMMON_BIT;
	sn_retry_scan_due(&scan, lane->sub->sub_id, lane->lane, DT_NOBEGIN, now,
					  snapshot);
	while (result != lane->tracks && sn_scan_next(&scan))
	{
		SnRetry		retry;
		int			track;

		sn_retry_read(&scan, &retry);
		track = sn_lane_retry_track(lane, &retry, stream, snapshot);
		if (track >= 0)
			result |= SN_TRACK_BIT(track);
		if (--left == 0)
		{
			lane->waits_batch = true;
			break;
		}
	}
	sn_scan_end(&scan);
	return result;
}
