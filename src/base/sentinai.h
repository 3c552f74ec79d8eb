/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sentinai.h
 *		Names and types that several rooms share.  The words are those of
 *		docs/concepts.md; how the rooms work together is src/README.md.
 */
#ifndef SENTINAI_H
#define SENTINAI_H

#include "postgres.h"

#include "port/pg_bitutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/compat.h"
#include "base/control_type.h"
#include "base/sqlstate.h"

#define SN_SCHEMA		"sentinai"	/* what callers name */
#define SN_INTERNAL		"sentinai_internal" /* tables: for the owner only */
#define SN_OUTBOX_ID	"outbox_id" /* in metadata: the id that outbox was given */
#define SN_MAX_LANES	64		/* a set of lanes is a uint64 */

/*
 * A stream is the sequence of slices of one filter.  Stream 0 has no filter:
 * it holds every event, serves the subscriptions to all types and the relay,
 * and is what a subscription that starts in the past reads first.
 */
#define SN_STREAM_ALL	0

/*
 * A lane has tracks: the common one, and others for tenants that have much
 * waiting.  sequencer/tracks.c says who is where.
 */
#define SN_TRACKS		64
#define SN_TRACK_COMMON 0

typedef uint64 SnTracks;		/* some of them, a bit for each */

#define SN_TRACK_BIT(track) (UINT64CONST(1) << (track))
#define SN_COMMON_BIT	SN_TRACK_BIT(SN_TRACK_COMMON)
#define SN_ALL_TRACKS	PG_UINT64_MAX

/* sn_track_after: the next one of some tracks behind one of them; -1: there is none */
static inline int
sn_track_after(SnTracks tracks, int track)
{
	if (track >= 0)
		tracks &= ~(SN_TRACK_BIT(track) | (SN_TRACK_BIT(track) - 1));
	return tracks == 0 ? -1 : pg_rightmost_one_pos64(tracks);
}

#define foreach_track(track, tracks) \
	for ((track) = sn_track_after((tracks), -1); (track) >= 0; \
		 (track) = sn_track_after((tracks), (track)))

/*
 * Position of an event in a lane of a stream: round number (41 bits, the
 * milliseconds since SN_EPOCH_MS at which the round was taken, made strictly
 * rising), track (6 bits), chunk (8 bits, the slice within round, lane and
 * track), place in the slice (8 bits).  Positions of all streams are comparable:
 * an event sequenced by a later round has a greater position in every stream.
 * A slice's number is its position shifted right by SN_OFF_BITS.
 */
typedef int64 SnPos;

#define SN_POS_MAX		PG_INT64_MAX

#define SN_EPOCH_MS		INT64CONST(1735689600000)	/* 2025-01-01 00:00 UTC */
/* what 41 bits hold (2094), less a year of room for partitions made ahead */
#define SN_MAX_MS		(SN_EPOCH_MS + (INT64CONST(1) << SN_ROUND_BITS) - \
						 INT64CONST(366) * 86400 * 1000)
#define SN_ROUND_BITS	41
#define SN_OFF_BITS		8
#define SN_CHUNK_BITS	14			/* track and chunk */
#define SN_TRACK_SHIFT	8			/* in the number of a slice */
#define SN_SLICE_MAX	180		/* events in a slice: two slices fit a page; the
								 * places from here on are free, letter_lane.c */

#define SN_ROUND_POS(round_no) \
	((SnPos) (round_no) << (SN_CHUNK_BITS + SN_OFF_BITS))
#define SN_ROUND_MAX		((INT64CONST(1) << SN_ROUND_BITS) - 1)
#define SN_ROUND_SLICE(round_no) \
	((int64) ((uint64) (round_no) << SN_CHUNK_BITS))
#define SN_TRACK_SLICE(round_no, track) \
	(SN_ROUND_SLICE(round_no) | (int64) (track) << SN_TRACK_SHIFT)
#define SN_SLICE_TRACK(slice_no) \
	((int) ((slice_no) >> SN_TRACK_SHIFT) & (SN_TRACKS - 1))
#define SN_SLICE_CHUNK(slice_no) \
	((int) ((slice_no) & ((1 << SN_TRACK_SHIFT) - 1)))
#define SN_POS_SLICE(pos)	((int64) (pos) >> SN_OFF_BITS)
#define SN_POS_OFF(pos)		((int) ((pos) & ((1 << SN_OFF_BITS) - 1)))
#define SN_POS_ROUND(pos)	((int64) (pos) >> (SN_CHUNK_BITS + SN_OFF_BITS))
#define SN_SLICE_POS(slice_no, off) \
	(((SnPos) (slice_no) << SN_OFF_BITS) | (off))

StaticAssertDecl(SN_ROUND_BITS + SN_CHUNK_BITS + SN_OFF_BITS == 63,
				 "a position is a bigint that is not negative");
StaticAssertDecl(SN_SLICE_MAX < (1 << SN_OFF_BITS),
				 "the place of every event of a slice fits");
StaticAssertDecl(SN_TRACKS == 1 << (SN_CHUNK_BITS - SN_TRACK_SHIFT),
				 "every track has a part of the chunks");
StaticAssertDecl(SN_MAX_LANES <= 64, "a set of lanes is a uint64");
StaticAssertDecl(SN_TRACKS <= 64, "a set of tracks is a uint64");

/*
 * A track of a lane as a number, a strip: in column lane of slice and of
 * lane_state.  That of the common track is the lane's.
 */
#define SN_LANE_TRACK(lane, track)	((lane) + SN_MAX_LANES * (track))
#define SN_STRIPS					(SN_MAX_LANES * SN_TRACKS)
#define SN_STRIP_LANE(strip)		((strip) % SN_MAX_LANES)
#define SN_STRIP_TRACK(strip)		((strip) / SN_MAX_LANES)

/* worker type of the relay's subscription; reserved */
#define SN_RELAY_WORKER_TYPE		"relay"

#endif							/* SENTINAI_H */
