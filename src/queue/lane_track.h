/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lane_track.h
 *		A lane with all its tracks.
 */
#ifndef SN_LANE_TRACK_H
#define SN_LANE_TRACK_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "queue/lane.h"
#include "queue/retry.h"
#include "queue/stream.h"
#include "sequencer/track_rows.h"

/* What is not known of a lane yet */
#define SN_NOT_KNOWN (-1)

#define SN_DUE_LOOKED_AT 100	/* retries, to know whose they are */

/* A retry that a batch has */
typedef struct SnInHands
{
	int			track;
	text	   *tenant_id;
} SnInHands;

/* A lane, as a snapshot shows it */
typedef struct SnLane
{
	SnSub	   *sub;
	int			lane;
	SnTracks	tracks;			/* that it has */
	SnLaneState *of[SN_TRACKS]; /* their states; NULL: it has no such track, or
								 * nobody has read it yet */
	SnPos		passed[SN_TRACKS];	/* all before it is resolved in the track, or
									 * has a row; SN_NOT_KNOWN */
	int			napart;			/* SN_NOT_KNOWN */
	SnApart    *apart;			/* tenants that have another track */
	bool		hands_known;
	uint32		as_of;			/* number of the snapshot that passed is of */
	List	   *in_hands;		/* of SnInHands */
	bool		waits_common;	/* something waits for the common track */
	bool		waits_batch;	/* something waits for a batch of another track */
} SnLane;

extern SnTracks sn_lane_tracks(Snapshot snapshot);
extern void sn_lane_open(SnLane *lane, SnLaneReader *reader, SnSub *sub,
						 int number, Snapshot snapshot);
extern void sn_lane_open_busy(SnLane *lane, SnLaneReader *reader, SnSub *sub,
							  int number, SnSubSlot *hints, Snapshot snapshot);
extern SnLaneState *sn_lane_state(SnLane *lane, SnLaneReader *reader, int track,
								  Snapshot snapshot);
extern void sn_lane_read_all(SnLane *lane, SnLaneReader *reader,
							 Snapshot snapshot);
extern void sn_lane_open_as_of(SnLane *lane, SnLaneReader *reader, SnSub *sub,
							   int number, SnTracks tracks, Snapshot snapshot);
extern bool sn_lane_store(SnLane *lane);
extern void sn_lane_put_back(SnLane *lane, SnSubSlot *hints);
extern void sn_lane_changed(SnLane *lane, int track, uint32 as_of);
extern SnPos sn_lane_track_pos(const SnLane *lane, int track);
extern void sn_lane_seek(SnStreamReader *stream, SnSub *sub,
						 const SnLaneState *state, Snapshot snapshot);
extern bool sn_lane_in_line(SnLane *lane, SnStreamReader *stream,
							Snapshot snapshot);
extern int	sn_lane_first(SnLane *lane, SnStreamReader *stream,
						  Snapshot snapshot);
extern SnTracks sn_lane_unpassed(SnLane *lane, SnStreamReader *stream,
								 Snapshot snapshot);
extern SnPos sn_lane_bound(SnLane *lane, int track, SnStreamReader *stream,
						   Snapshot snapshot);
extern bool sn_lane_waits(SnLane *lane, int track, SnStreamReader *stream,
						  Snapshot snapshot);
extern int	sn_lane_retry_track(SnLane *lane, const SnRetry *retry,
								SnStreamReader *stream, Snapshot snapshot);
extern SnTracks sn_lane_due_tracks(SnLane *lane, TimestampTz now,
								   SnStreamReader *stream, Snapshot snapshot);

#endif							/* SN_LANE_TRACK_H */
