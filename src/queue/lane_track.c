/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lane_track.c
 *		The tracks of a lane: where it stands in each, and which is at hand.
 */
#include "postgres.h"

#include "queue/lane_track.h"
#include "sequencer/tracks.h"

/*
 * sn_lane_track_pos: where a lane stands in a track.  What is read merged has
 * one position for all of them; all tracks at hand have passed what is before
 * the lane's own.
 */
SnPos
sn_lane_track_pos(const SnLaneState *state, const SnSub *sub, int track)
{
	SnPos		common = state->track == SN_TRACK_COMMON ? state->pos :
		state->at[SN_TRACK_COMMON];

	if (track == state->track)
		return state->pos;
	if (state->track == SN_TRACK_ALL)
		return Max(state->pos, Max(state->at[track], sub->tracks_pos));
	if (track == SN_TRACK_COMMON || common < sub->tracks_pos)
		return common;
	return Max(state->at[track], sub->tracks_pos);
}

/* sn_lane_switch: take up another track, in a lane that has none open */
void
sn_lane_switch(SnLaneState *state, const SnSub *sub, int track)
{
	SnPos		at[SN_TRACKS];
	SnPos		least = SN_POS_MAX;
	int			i;

	Assert(track != state->track && !state->held);
	Assert(state->pos == state->end_pos && state->lost == 0);
	Assert(state->resolved.bytes == NULL);
	for (i = 0; i < SN_TRACKS; i++)
	{
		at[i] = sn_lane_track_pos(state, sub, i);
		least = Min(least, at[i]);
	}
	for (i = 0; i < SN_TRACKS; i++)
		if (i == state->track || i == SN_TRACK_COMMON ||
			state->track == SN_TRACK_ALL || track == SN_TRACK_ALL)
			state->at[i] = at[i];
	state->track = track;
	state->pos = track == SN_TRACK_ALL ? least :
		track == SN_TRACK_COMMON ? at[track] : Max(at[track], sub->tracks_pos);
	state->end_pos = state->pos;
}

/*
 * sn_lane_seek: have a reader begin with what the lane has in the track at hand.
 * Of all tracks those are merged that the snapshot knows: one that came later
 * has nothing in a range that was handed out before.
 */
void
sn_lane_seek(SnStreamReader *stream, SnSub *sub, const SnLaneState *state,
			 Snapshot snapshot)
{
	SnStarts	starts;
	int			track;

	sn_sub_sources(sub, snapshot);
	if (state->track != SN_TRACK_ALL)
	{
		sn_stream_seek(stream, sub->sources, sub->nsources, state->lane,
					   state->track, state->pos, snapshot);
		return;
	}
	starts.tracks = sn_tracks_used(snapshot);
	for (track = 0; track < SN_TRACKS; track++)
		starts.at[track] = sn_lane_track_pos(state, sub, track);
	sn_stream_seek_all(stream, sub->sources, sub->nsources, state->lane,
					   &starts, snapshot);
}
