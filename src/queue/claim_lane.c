/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * claim_lane.c
 *		What a claim does in one lane, and whose turn it is there.
 *
 * A batch holds the tracks that it has taken from, and others may take from the
 * lane's other tracks meanwhile.  An event waits where its tenant may have events
 * on another track that are not resolved (lane_track.c).
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#include "queue/claim_work.h"
#include "queue/lane_track.h"
#include "store/lane_hints.h"
#include "store/lane_share.h"

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

/* hold_lane: the batch takes the track at hand */
static void
hold_lane(SnClaim *claim, SnClaimLook *look)
{
	SnLaneState *state = look->state;
	int			before = look->taken & SN_TRACK_BIT(state->track) ? state->open : 0;
	int			i;

	look->taken |= SN_TRACK_BIT(state->track);
	if (sn_lane_whole(state)->parked > state->nretries)
		look->more = true;
	state->held = true;			/* by a batch that has its number in store() */
	state->claimed_at = claim->now;
	state->lease_until = claim->now + claim->lease;
	state->worker_id = claim->worker_id;
	state->open = before + claim->entries.n - look->first;
	state->changed = true;
	for (i = look->first; i < claim->entries.n; i++)
		claim->entries.items[i].from = state->pos;
	claim->token.lanes |= SN_LANE_BIT(state->lane);
	claim->last = state->lane;
	sn_hint_keep_lane(claim->hints, state->lane);
	sn_hint_defer_until(claim->hints, state->lane, state->lease_until);
}

/*
 * open_lane: the lane as it is; all of it where retries wait, be they anybody's, or
 * where the tracks may stand in line
 */
static void
open_lane(SnClaim *claim, SnClaimLook *look, int number)
{
	SnLane	   *lane = &look->lane;

	sn_lane_open_busy(lane, &claim->reader, claim->sub, number, claim->hints,
					  claim->snapshot);
	lane->as_of = claim->nsnapshots;
	if (lane->of[SN_TRACK_COMMON]->parked > 0 || claim->sub->in_line_pos > 0)
		sn_lane_read_all(lane, &claim->reader, claim->snapshot);
	look->in_line = sn_lane_in_line(lane, claim->stream, claim->snapshot);
	look->tracks &= lane->tracks;
	if (sn_hint_take_behind(claim->hints, number) && !look->in_line)
		look->behind = lane->tracks & ~(look->tracks | SN_COMMON_BIT);
}

/*
 * find_work: what the lane may have in each track: those that others hold are
 * not for now, and what was lost or left of a range is work, too.
 */
static void
find_work(SnClaim *claim, SnClaimLook *look)
{
	SnLane	   *lane = &look->lane;
	int			track;

	look->due = sn_lane_due_tracks(lane, claim->now, claim->stream,
								   claim->snapshot);
	foreach_track(track, lane->tracks)
	{
		const SnLaneState *state = lane->of[track];

		if (state == NULL)
			continue;
		if (state->held && state->lease_until > claim->now)
		{
			look->leased |= SN_TRACK_BIT(track);
			sn_hint_pending_after_batch(claim->hints, lane->lane);
			sn_hint_defer_until(claim->hints, lane->lane, state->lease_until);
		}
		else if (state->held)
			look->due |= SN_TRACK_BIT(track);
		else if (state->pos < state->end_pos)
			look->tracks |= SN_TRACK_BIT(track);
	}
	/* who has a share has whole lanes, and so has who takes them in line */
	if (look->leased != 0 &&
		(claim->sub->max_lanes != SN_MAX_LANES || look->in_line))
		look->leased = lane->tracks;
	if (lane->tracks != SN_COMMON_BIT &&
		lane->of[SN_TRACK_COMMON]->parked > 0)
		sn_claim_note_due(claim, look);
}

/*
 * leave_hints: what the lane has left.  Tracks that are held have it when their
 * batches end.  What waits for the common one does so until its batch ends, or
 * else is looked at once more, since this claim may have taken it further; and so
 * is a lane where a batch was lost, as others may have waited for that.
 */
static void
leave_hints(SnClaim *claim, SnClaimLook *look)
{
	SnTracks	left = look->tracks | look->due;
	int			lane = look->lane.lane;
	SnTracks	taken = look->in_line && look->taken != 0 ?
		look->lane.tracks : look->taken;
	SnTracks	held = taken | look->leased;
	bool		common_held = (held & SN_COMMON_BIT) != 0;
	bool		waits = look->lane.waits_common || look->behind != 0;

	sn_hint_leave_tracks(claim->hints, lane, look->tracks & ~look->bound);
	if ((look->bound | look->behind) != 0)
		sn_hint_leave_behind(claim->hints, lane);
	if ((look->lane.tracks & ~look->leased) != 0)
		sn_hint_leave_due(claim->hints, lane,
						  (look->due & ~look->leased) != 0);
	if ((taken != 0 && (look->more || (left & taken) != 0)) ||
		look->lane.waits_batch || waits)
		sn_hint_pending_after_batch(claim->hints, lane);
	if ((left & ~(held | look->bound)) != 0 || look->rescued ||
		(waits && !common_held) ||
		(look->lane.waits_batch && held == 0) ||
		(taken == 0 && look->more))
		sn_hint_set(claim->hints, lane);
	else if (look->next_due != 0 &&
			 (taken == 0 || look->lane.tracks != SN_COMMON_BIT))
		sn_hint_defer_until(claim->hints, lane, look->next_due);
}

/*
 * must_wait: whether the track was lost and the batch has events already.  What
 * it may have may have to stay alone, so it is left for the next claim.
 */
static bool
must_wait(SnClaim *claim, SnLaneState *state)
{
	if (!state->held || claim->entries.n == 0)
		return false;
	sn_hint_set(claim->hints, state->lane);
	claim->skipped = SN_LANE_TRACK(state->lane, state->track);
	return true;
}

/*
 * take_share: the lane becomes the role's, if that may have one more.  Where nobody
 * counts, it is the batch alone that gets no more than that.
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

/* leave_share: the batch has nothing more of the lane */
static void
leave_share(SnClaim *claim, int lane)
{
	if (sn_sub_shares(claim->sub, claim->hints))
		sn_share_put_back(claim->hints, lane);
}

/*
 * retries_turn: how many retries of a track come before what is new.  Where there
 * may be both each gets half of the room, and an odd event in turn; then retries
 * get what is left.  Where an event has to be alone they take turns.
 */
static int
retries_turn(SnClaim *claim, const SnClaimLook *look, bool new_too)
{
	const SnLaneState *state = look->state;
	int			room = claim->limit - claim->entries.n;
	bool		first;

	if (!new_too || ((look->tracks & SN_TRACK_BIT(state->track)) == 0 &&
					 state->pos == state->end_pos))
		return room;
	first = sn_hint_retries_first(claim->hints, state->lane, claim->now);
	if (state->pos < state->lost_pos)
		return first ? room : 0;
	return (room + first) / 2;
}

/* keep_state: a state of the lane that changed is to be appended, once */
static void
keep_state(SnClaim *claim, const SnClaimLook *look, SnLaneState *state)
{
	int			i;

	for (i = look->nstates; i < claim->nstates; i++)
		if (claim->states[i] == state)
			return;
	if (claim->nstates == claim->states_room)
	{
		claim->states_room *= 2;
		claim->states = repalloc(claim->states,
								 claim->states_room * sizeof(SnLaneState *));
	}
	claim->states[claim->nstates++] = state;
}

/*
 * rescue_lane: the track at hand was lost, and so was all that its batch has in
 * the lane: a token is good as long as its batch holds a track of each lane.
 */
static void
rescue_lane(SnClaim *claim, SnClaimLook *look)
{
	pg_uuid_t	batch = look->state->batch;
	int			track;

	look->rescued = true;
	foreach_track(track, look->lane.tracks)
	{
		SnLaneState *state = look->lane.of[track];

		if (state == NULL || !state->held || !sn_is_batch(state, &batch))
			continue;
		sn_rescue(claim, state);
		sn_claim_new_snapshot(claim);
		keep_state(claim, look, state);
		look->due |= SN_TRACK_BIT(track);
		look->tracks |= SN_TRACK_BIT(track);
	}
}

/*
 * waits_for_batch: whether a track's new events wait for the batch of another one,
 * as if that had this one, too
 */
static bool
waits_for_batch(SnClaim *claim, SnClaimLook *look, int track)
{
	if (!sn_lane_waits(&look->lane, track, claim->stream, claim->snapshot))
		return false;
	look->leased |= SN_TRACK_BIT(track);
	return true;
}

/*
 * take_fresh: take what the range of the track at hand has left, and new
 * events.  Those whose tenants may have earlier events on another track wait for
 * that, and those whose tenants have a retry elsewhere for its batch.
 */
static void
take_fresh(SnClaim *claim, SnClaimLook *look, bool new_too)
{
	SnLaneState *state = look->state;
	SnTracks	bit = SN_TRACK_BIT(state->track);
	SnPos		until;

	if (state->pos == state->end_pos &&
		(!new_too || ((look->tracks | look->behind) & bit) == 0))
		return;
	/* as of the snapshot that the events are read under */
	sn_lane_changed(&look->lane, state->track, claim->nsnapshots);
	if (waits_for_batch(claim, look, state->track))
	{
		/* what the range has left is not the batch's, which has a retry, or gets one */
		if (state->pos < state->end_pos)
			(void) sn_claim_take_new(claim, look, 0);
		return;
	}
	look->behind &= ~bit;
	until = Max(sn_lane_bound(&look->lane, state->track, claim->stream,
							  claim->snapshot), state->end_pos);
	look->tracks |= bit;
	if (sn_claim_take_new(claim, look, until))
		look->tracks &= ~bit;
	else if (until != SN_POS_MAX && !look->in_line && !sn_claim_full(claim))
	{
		look->bound |= bit;
		look->lane.waits_common = true;
	}
}

/* take_from: what is due of the track at hand, and what is new */
static void
take_from(SnClaim *claim, SnClaimLook *look, bool new_too)
{
	SnLaneState *state = look->state;
	SnTracks	bit = SN_TRACK_BIT(state->track);

	if (state->held)
		rescue_lane(claim, look);
	ItemPointerSetInvalid(&look->last_tid);
	look->due_left = false;
	if ((look->due & bit) != 0 && sn_lane_whole(state)->parked > 0)
		sn_claim_take_retries(claim, look, retries_turn(claim, look, new_too));
	look->more = look->more || sn_claim_full(claim);
	if (!sn_claim_full(claim) || state->pos < state->end_pos)
		take_fresh(claim, look, new_too);
	if (look->due_left && !sn_claim_full(claim))
		sn_claim_take_more_retries(claim, look);
	look->due = look->due_left ? look->due | bit : look->due & ~bit;
}

/* has_before: whether a track has anything new before a position */
static bool
has_before(SnClaim *claim, const SnLaneState *state, SnPos until)
{
	SnPos		pos;
	pg_uuid_t	id;

	if (until == SN_POS_MAX)
		return true;			/* as those say who put it there */
	sn_lane_seek(claim->stream, claim->sub, state, claim->snapshot);
	return sn_stream_next(claim->stream, &pos, &id) && pos < until;
}

/*
 * recheck_behind: which tracks wait no longer for the common one.  Whoever had
 * something of the lane leaves that to those who come when his batch ends.
 */
static void
recheck_behind(SnClaim *claim, SnClaimLook *look)
{
	int			track;

	foreach_track(track, look->behind)
	{
		SnTracks	bit = SN_TRACK_BIT(track);
		const SnLaneState *state;

		state = sn_lane_state(&look->lane, &claim->reader, track,
							  claim->snapshot);
		if (!waits_for_batch(claim, look, track) &&
			!has_before(claim, state,
						sn_lane_bound(&look->lane, track, claim->stream,
									  claim->snapshot)))
			continue;
		look->behind &= ~bit;
		look->tracks |= bit;
	}
}

/* look_again: what has waited for the common track, as that has gone on */
static void
look_again(SnClaim *claim, SnClaimLook *look)
{
	look->lane.waits_common = false;
	look->behind |= look->bound;
	look->tracks &= ~look->bound;
	look->bound = 0;
	look->due |= sn_lane_due_tracks(&look->lane, claim->now, claim->stream,
									claim->snapshot) & ~SN_COMMON_BIT;
}

/*
 * take_from_track: take from a track of the lane what it has, if it is free:
 * what is due, and new events if these are wanted
 */
static void
take_from_track(SnClaim *claim, SnClaimLook *look, int track, bool new_too)
{
	SnLaneState *state = look->state =
		sn_lane_state(&look->lane, &claim->reader, track, claim->snapshot);

	if ((look->leased & SN_TRACK_BIT(track)) != 0 || must_wait(claim, state) ||
		!take_share(claim, state->lane))
		return;
	look->first = claim->entries.n;
	take_from(claim, look, new_too);
	if (claim->entries.n > look->first)
		hold_lane(claim, look);
	else
		leave_share(claim, state->lane);
	if (state->changed)
		keep_state(claim, look, state);
	sn_lane_changed(&look->lane, track, claim->nsnapshots);
	if (track == SN_TRACK_COMMON && look->lane.waits_common)
		look_again(claim, look);
}

/* next_in_turn: of some tracks the given one, or else the common one or the next */
static int
next_in_turn(SnTracks ready, int track)
{
	int			next;

	if (track != SN_SHARE_RETRIES && (ready & SN_TRACK_BIT(track)) != 0)
		return track;
	if ((ready & SN_COMMON_BIT) != 0)
		return SN_TRACK_COMMON;
	next = sn_track_after(ready, track % SN_TRACKS);
	return next >= 0 ? next : sn_track_after(ready, -1);
}

/*
 * take_in_turn: take from the tracks of a lane: from the given one, the
 * common one, and the others that have something; from no other than the given
 * one if that is all that is asked for now.
 */
static void
take_in_turn(SnClaim *claim, SnClaimLook *look, int track)
{
	SnTracks	left = look->lane.tracks & ~look->taken;
	SnTracks	ready;

	if (claim->only && track != SN_SHARE_RETRIES)
		left &= SN_TRACK_BIT(track);
	while (!sn_claim_full(claim) &&
		   (ready = left & (look->tracks | look->due | look->behind)) != 0)
	{
		int			next = next_in_turn(ready, track);

		left &= ~SN_TRACK_BIT(next);
		take_from_track(claim, look, next, track != SN_SHARE_RETRIES);
	}
}

/* lost_track: a track whose batch was lost, which comes first; -1: there is none */
static int
lost_track(const SnClaimLook *look)
{
	int			track;

	foreach_track(track, look->lane.tracks)
		if (look->lane.of[track]->held)
			return track;
	return -1;
}

/*
 * take_next_in_line: take from the track that is first in line.  Whether it has
 * only passed what it found there, so that another one may be first now.
 */
static bool
take_next_in_line(SnClaim *claim, SnClaimLook *look)
{
	int			n = claim->entries.n;
	int			track;
	SnPos		pos;

	track = sn_lane_first(&look->lane, claim->stream, claim->snapshot);
	if (track < 0 || (look->taken & SN_TRACK_BIT(track)) != 0)
		return false;
	pos = look->lane.of[track]->pos;
	look->tracks |= SN_TRACK_BIT(track);
	take_from_track(claim, look, track, true);
	return claim->entries.n == n && look->lane.of[track]->pos > pos &&
		!sn_claim_full(claim);
}

/* go_on_in_line: take what is first of all that is new, as often as that was passed */
static void
go_on_in_line(SnClaim *claim, SnClaimLook *look)
{
	while (!sn_claim_full(claim) && take_next_in_line(claim, look))
		CHECK_FOR_INTERRUPTS();
	look->tracks = sn_lane_unpassed(&look->lane, claim->stream, claim->snapshot);
}

/*
 * take_in_line: take from a lane whose tracks stand in line: what was lost, due
 * retries with the common track, and what is first of all that is new.
 */
static void
take_in_line(SnClaim *claim, SnClaimLook *look)
{
	int			lost;

	if (look->leased != 0)
		return;
	lost = lost_track(look);
	if (lost < 0)
	{
		if ((look->due & SN_COMMON_BIT) != 0)
			take_from_track(claim, look, SN_TRACK_COMMON, true);
		go_on_in_line(claim, look);
		return;
	}
	take_from_track(claim, look, lost, true);
	look->tracks = sn_lane_unpassed(&look->lane, claim->stream, claim->snapshot);
}

/* is_cut: whether the claim had to leave what a lane has, for the shares of others */
static bool
is_cut(SnClaim *claim, const SnClaimLook *look)
{
	return claim->only && look->taken != 0 &&
		((look->tracks | look->due | look->behind) &
		 ~(look->leased | look->bound)) != 0;
}

/* new_until: the position after the last new event that the batch has of the track at hand */
static SnPos
new_until(const SnClaim *claim, const SnLaneState *state)
{
	int			i;

	for (i = claim->entries.n - 1; i >= 0; i--)
		if (claim->entries.items[i].bit >= 0 &&
			claim->entries.items[i].lane == state->lane &&
			claim->entries.items[i].track == state->track)
			return claim->entries.items[i].pos + 1;
	return 0;
}

/* take_more: take more new events of a track, behind those that the batch has */
static void
take_more(SnClaim *claim, SnClaimLook *look, int track)
{
	look->state = look->lane.of[track];
	look->mine = new_until(claim, look->state);
	look->first = claim->entries.n;
	take_fresh(claim, look, true);
	if (claim->entries.n > look->first)
		hold_lane(claim, look);
	look->mine = 0;
}

/* may_have: whether a track that was cut may have more for the batch */
static bool
may_have(const SnClaimLook *look, int track)
{
	SnTracks	having = look->tracks | look->due | look->behind;

	if (look->in_line)
		having = look->taken & SN_TRACK_BIT(look->state->track);
	return (having & look->lane.tracks & ~(look->leased | look->bound) &
			SN_TRACK_BIT(track)) != 0;
}

/* sn_claim_go_on: take more of a track where a look had to leave some, for its share */
void
sn_claim_go_on(SnClaim *claim, SnClaimLook *look, int track)
{
	if (track == SN_SHARE_RETRIES || !may_have(look, track))
		return;
	look->lane.sub = claim->sub;	/* subscriptions may have been read anew */
	if ((look->taken & SN_TRACK_BIT(track)) != 0)
		take_more(claim, look, track);
	else
		take_from_track(claim, look, track, true);
	leave_hints(claim, look);
}

/*
 * sn_claim_go_on_any: others have left of their shares, so take more of what a look
 * took from, and then what the lane's other tracks have
 */
void
sn_claim_go_on_any(SnClaim *claim, SnClaimLook *look)
{
	int			track;

	look->lane.sub = claim->sub;	/* subscriptions may have been read anew */
	foreach_track(track, look->taken)
		if (!sn_claim_full(claim) && may_have(look, track))
			take_more(claim, look, track);
	if (look->in_line)
		go_on_in_line(claim, look);
	else
		take_in_turn(claim, look, SN_TRACK_COMMON);
	leave_hints(claim, look);
}

/*
 * sn_claim_from_lane: take from the tracks of a lane that are free: from a given
 * one first; or only what is due.  Returns whether this claim is done with the
 * lane.
 */
bool
sn_claim_from_lane(SnClaim *claim, int lane, int track)
{
	SnClaimLook		look = {.nstates = claim->nstates};

	if (!sn_lock_lane(claim->sub->sub_id, lane, false))
		return true;
	recheck_sub(claim);			/* hints of one that is gone are another's */
	sn_hint_clear(claim->hints, lane);
	look.tracks = sn_hint_take_tracks(claim->hints, lane);
	sn_claim_new_snapshot(claim);
	open_lane(claim, &look, lane);
	find_work(claim, &look);
	if (look.in_line)
		take_in_line(claim, &look);
	else
		take_in_turn(claim, &look, track);
	if (look.taken == 0 && look.behind != 0)
		recheck_behind(claim, &look);
	leave_hints(claim, &look);
	if (is_cut(claim, &look))
		claim->cut = lappend(claim->cut,
							 memcpy(palloc(sizeof(look)), &look, sizeof(look)));
	if (claim->nstates == look.nstates)
		sn_unlock_lane(claim->sub->sub_id, lane);
	return claim->nstates != look.nstates ||
		((look.tracks | look.due) & ~(look.leased | look.bound)) == 0;
}
