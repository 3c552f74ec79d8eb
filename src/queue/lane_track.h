/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lane_track.h
 *		The tracks of a lane: where it stands in each, and which is at hand.
 */
#ifndef SN_LANE_TRACK_H
#define SN_LANE_TRACK_H

#include "postgres.h"

#include "queue/lane.h"
#include "queue/stream.h"

extern SnPos sn_lane_track_pos(const SnLaneState *state, const SnSub *sub,
							   int track);
extern void sn_lane_switch(SnLaneState *state, const SnSub *sub, int track);
extern void sn_lane_seek(SnStreamReader *stream, SnSub *sub,
						 const SnLaneState *state, Snapshot snapshot);

#endif							/* SN_LANE_TRACK_H */
