/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * claim_lane.c
 *		What a claim does in one lane, and whose turn it is there.
 *
 * A batch takes new events from one track, and the lane stays with it until it
 * has passed what was handed out.  So all that is kept of the others is where
 * they stand.  Where a batch has room for all that a lane has, it takes that, in
 * the order of positions.  An event of another track than the common one waits
 * until the lane has passed what the common one has of earlier rounds: its
 * tenant may have events there (sequencer/tracks.c).
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#include "queue/claim_work.h"
#include "queue/lane_track.h"
#include "store/lane_hints.h"
#include "store/lane_share.h"

/*
 * common_left: the first event that a lane has left on the common track, when it
 * is not the one at hand
 */
static SnPos
common_left(SnClaim *claim, const SnLaneState *state)
{
	SnPos		pos;
	pg_uuid_t	id;

	sn_sub_sources(claim->sub, claim->snapshot);
	sn_stream_seek(claim->stream, claim->sub->sources, claim->sub->nsources,
				   state->lane, SN_TRACK_COMMON,
				   sn_lane_track_pos(state, claim->sub, SN_TRACK_COMMON),
				   claim->snapshot);
	return sn_stream_next(claim->stream, &pos, &id) ? pos : SN_POS_MAX;
}

/* take_common: take new events of the common track */
static void
take_common(SnClaim *claim, SnClaimLook *look)
{
	look->tracks |= 1 << SN_TRACK_COMMON;
	if (sn_claim_take_new(claim, look, SN_POS_MAX))
		look->tracks &= ~(1 << SN_TRACK_COMMON);
}

/*
 * take_other: take new events of another track.  What is known of the common one
 * then is noted, so that it is not looked for from afar the next time.
 */
static void
take_other(SnClaim *claim, SnClaimLook *look)
{
	SnLaneState *state = &look->state;
	SnPos		left = common_left(claim, state);

	look->tracks |= 1 << state->track;
	if (sn_claim_take_new(claim, look, left == SN_POS_MAX ? SN_POS_MAX :
						  SN_ROUND_POS(SN_POS_ROUND(left) + 1)))
		look->tracks &= ~(1 << state->track);
	if (left != SN_POS_MAX)
		look->tracks |= 1 << SN_TRACK_COMMON;
	state->at[SN_TRACK_COMMON] =
		Max(state->at[SN_TRACK_COMMON],
			Min(left, SN_ROUND_POS(SN_POS_ROUND(state->end_pos))));
}

/*
 * take_whole_lane: take what is left of a range of all tracks, or all there is.  What
 * comes behind a range is not for whoever takes the rest of it.
 */
static void
take_whole_lane(SnClaim *claim, SnClaimLook *look)
{
	SnLaneState *state = &look->state;
	bool		rest = state->pos < state->end_pos;

	if (sn_claim_take_new(claim, look, rest ? state->end_pos : SN_POS_MAX) &&
		!rest)
		look->tracks = 0;
	else
		look->tracks = (1 << SN_TRACKS) - 1;
}

/* take_from: take new events of a track */
static void
take_from(SnClaim *claim, SnClaimLook *look, int track)
{
	if (look->state.track != track)
		sn_lane_switch(&look->state, claim->sub, track);
	if (track == SN_TRACK_COMMON)
		take_common(claim, look);
	else if (track == SN_TRACK_ALL)
		take_whole_lane(claim, look);
	else
		take_other(claim, look);
}

/* fits: whether the batch has room for all that several tracks of the lane have */
static bool
fits(SnClaim *claim, const SnClaimLook *look)
{
	const SnLaneState *state = &look->state;
	int			room = claim->limit - claim->entries.n;
	int			track;

	if (claim->sharing || pg_popcount32(look->tracks) < 2 ||
		sn_lane_track_pos(state, claim->sub,
						  SN_TRACK_COMMON) < claim->sub->tracks_pos)
		return false;
	sn_sub_sources(claim->sub, claim->snapshot);
	for (track = 0; track < SN_TRACKS && room >= 0; track++)
	{
		SnPos		pos;
		pg_uuid_t	id;

		if ((look->tracks & 1 << track) == 0)
			continue;
		sn_stream_seek(claim->stream, claim->sub->sources,
					   claim->sub->nsources, state->lane, track,
					   sn_lane_track_pos(state, claim->sub, track),
					   claim->snapshot);
		while (room >= 0 && sn_stream_next(claim->stream, &pos, &id))
			room--;
	}
	return room >= 0;
}

/*
 * take_new_events: take new events from a lane, of one track: the one at hand
 * if the lane has not passed what it has handed out of it, otherwise the given
 * one, the common one, or the next that has any
 */
static void
take_new_events(SnClaim *claim, SnClaimLook *look, int track)
{
	SnLaneState *state = &look->state;
	int			n = claim->entries.n;
	int			i;

	if (state->pos < state->end_pos)
	{
		take_from(claim, look, state->track);
		return;
	}
	if (fits(claim, look))
	{
		take_from(claim, look, SN_TRACK_ALL);
		return;
	}
	for (i = -2; i < SN_TRACKS && claim->entries.n == n &&
		 state->pos == state->end_pos && !sn_claim_full(claim); i++)
	{
		int			next = i == -2 ? track : i == -1 ? SN_TRACK_COMMON :
			(track + i) % SN_TRACKS;

		if ((look->tracks & 1 << next) != 0 &&
			(next == track || !claim->only))
			take_from(claim, look, next);
	}
}

/* recheck_sub: the subscription as it is, now that a lane's lock is held */
static void
recheck_sub(SnClaim *claim)
{
	int			sub_id = claim->sub->sub_id;

	if (sn_subs_current())
		return;
	claim->sub = sn_sub_require(claim->worker_type);
	if (claim->sub->sub_id != sub_id)
		sn_unknown_worker_type(claim->worker_type);
}

/* hold_lane: the batch takes the lane */
static void
hold_lane(SnClaim *claim, SnClaimLook *look)
{
	SnLaneState *state = &look->state;

	state->held = true;			/* by a batch that has its number in store() */
	state->claimed_at = claim->now;
	state->lease_until = claim->now + claim->lease;
	state->worker_id = claim->worker_id;
	state->open = claim->entries.n - look->first;
	state->changed = true;
	claim->token.lanes |= SN_LANE_BIT(state->lane);
	claim->lane_pos[state->lane] = state->pos;
	claim->last = state->lane;
	sn_hint_keep_lane(claim->hints, state->lane);
	sn_hint_defer_until(claim->hints, state->lane, state->lease_until);
	if (look->more || state->parked > state->nretries)
		sn_hint_pending_after_batch(claim->hints, state->lane);
}

/* leave_lane: nothing in the lane for this batch */
static void
leave_lane(SnClaim *claim, SnClaimLook *look)
{
	if (look->more)
		sn_hint_set(claim->hints, look->state.lane);
	else if (look->next_due != 0)
		sn_hint_defer_until(claim->hints, look->state.lane, look->next_due);
}

/* is_leased: whether somebody has the lane; says so in the hints */
static bool
is_leased(SnClaim *claim, SnLaneState *state)
{
	if (!state->held || state->lease_until <= claim->now)
		return false;
	sn_hint_pending_after_batch(claim->hints, state->lane);
	sn_hint_defer_until(claim->hints, state->lane, state->lease_until);
	return true;
}

/*
 * must_wait: whether the lane was lost and the batch has events already.  What
 * a lost lane has may have to stay alone, so it is left for the next claim.
 */
static bool
must_wait(SnClaim *claim, SnLaneState *state)
{
	if (!state->held || claim->entries.n == 0)
		return false;
	sn_hint_set(claim->hints, state->lane);
	claim->skipped = state->lane;
	return true;
}

/*
 * take_share: the lane becomes the role's, if that may have one more.  Where
 * nobody counts, it is the batch alone that gets no more than that.
 */
static bool
take_share(SnClaim *claim, int lane)
{
	SnShareClaim share = {
		.slot = claim->hints,
		.role = GetUserId(),
		.max_lanes = claim->sub->max_lanes,
		.now = claim->now,
		.lease_until = claim->now + claim->lease,
	};

	if (claim->sub->max_lanes == SN_MAX_LANES)
		return true;
	claim->sated = claim->hints != NULL ?
		!sn_share_take(&share, SN_LANE_BIT(lane)) :
		pg_popcount64(claim->token.lanes) >= claim->sub->max_lanes;
	if (claim->sated)
		sn_hint_set(claim->hints, lane);
	return !claim->sated;
}

/* leave_share: the batch has nothing of the lane */
static void
leave_share(SnClaim *claim, int lane)
{
	if (sn_sub_shares(claim->sub, claim->hints))
		sn_share_put_back(claim->hints, lane);
}

/*
 * retries_turn: how many retries of a lane come before what is new.  Where there
 * may be both each gets half of the room, and an odd event in turn; then retries
 * get what is left.  Where an event of the lane has to be alone they take turns.
 */
static int
retries_turn(SnClaim *claim, const SnClaimLook *look, int track)
{
	const SnLaneState *state = &look->state;
	int			room = claim->limit - claim->entries.n;
	bool		first;

	if (track == SN_SHARE_RETRIES ||
		(look->tracks == 0 && state->pos == state->end_pos))
		return room;
	first = sn_hint_retries_first(claim->hints, state->lane, claim->now);
	if (state->pos < state->lost_pos)
		return first ? room : 0;
	return (room + first) / 2;
}

/*
 * sn_claim_from_lane: take from a lane what it has, if it is free: what is due,
 * and new events of a track, or else of another; or of no track, when only what
 * is due is wanted.  Returns whether this claim is done with the lane.
 */
bool
sn_claim_from_lane(SnClaim *claim, int lane, int track)
{
	SnClaimLook		look = {.first = claim->entries.n};

	ItemPointerSetInvalid(&look.last_tid);
	if (!sn_lock_lane(claim->sub->sub_id, lane, false))
		return true;
	sn_hint_clear(claim->hints, lane);
	look.tracks = sn_hint_take_tracks(claim->hints, lane);
	sn_claim_new_snapshot(claim);
	recheck_sub(claim);
	sn_lane_read_next(&claim->reader, claim->sub, lane, claim->snapshot,
					  &look.state);
	if (is_leased(claim, &look.state) || must_wait(claim, &look.state) ||
		!take_share(claim, lane))
	{
		sn_hint_leave_tracks(claim->hints, lane, look.tracks);
		sn_unlock_lane(claim->sub->sub_id, lane);
		return true;
	}
	if (look.state.held)
	{
		sn_rescue(claim, &look.state);
		sn_claim_new_snapshot(claim);
	}
	if (look.state.parked > 0)
		sn_claim_take_retries(claim, &look, retries_turn(claim, &look, track));
	look.more = look.more || sn_claim_full(claim);
	if (!sn_claim_full(claim) || look.state.pos < look.state.end_pos)
		take_new_events(claim, &look, track);
	if (look.due_left && !sn_claim_full(claim))
		sn_claim_take_more_retries(claim, &look);
	sn_hint_leave_tracks(claim->hints, lane, look.tracks);
	sn_hint_leave_due(claim->hints, lane, look.due_left);
	look.more = look.more || look.tracks != 0 || look.due_left;

	if (claim->entries.n > look.first)
		hold_lane(claim, &look);
	else
	{
		leave_lane(claim, &look);
		leave_share(claim, lane);
	}
	if (look.state.changed)
		claim->states[claim->nstates++] = look.state;
	else
		sn_unlock_lane(claim->sub->sub_id, lane);
	return look.state.changed;
}
