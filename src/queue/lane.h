/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lane.h
 *		State of a lane of a subscription: reading and appending its journal.
 */
#ifndef SN_LANE_H
#define SN_LANE_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "base/sentinai.h"
#include "queue/subscription.h"
#include "shared/shmem.h"
#include "store/journal.h"

/*
 * A set of bits.  The bitmap of a lane has a bit for each event of its range,
 * padded to whole bytes with bits that are set: so the clear bits are exactly
 * the events that are not resolved.
 */
typedef struct SnBits
{
	uint8	   *bytes;			/* NULL: no bitmap */
	int			nbytes;
} SnBits;

/*
 * A track of a lane.  What counts rows of event_retry and letters (parked, dead)
 * is the lane's as a whole, and stands in the state of the common track.
 */
typedef struct SnLaneState
{
	int			sub_id;
	int			lane;
	int			track;
	int64		ver;			/* 0: nothing stored yet */
	SnPos		pos;
	SnPos		end_pos;
	bool		held;			/* by batch, until lease_until */
	bool		done;			/* done_batch is set */
	pg_uuid_t	batch;
	pg_uuid_t	done_batch;
	TimestampTz lease_until;
	TimestampTz claimed_at;		/* 0: never */
	SnPos		lost_pos;
	int			lost;
	int			open;			/* events of the batch, its retries included */
	int64		parked;
	int64		completed;
	int64		failed;
	int64		dead;
	text	   *worker_id;		/* NULL: nobody, or no name */
	SnBits		resolved;
	int			nretries;
	SnPos	   *retries;
	SnPos		common_pos;		/* all before it is resolved in the common track,
								 * as far as this one knows; 0 in that itself */
	struct SnLaneState *whole;	/* the common track's; NULL: this is it */
	bool		changed;		/* since it was read; not stored */
} SnLaneState;

/* sn_lane_whole: the state that counts for all tracks of a lane */
static inline SnLaneState *
sn_lane_whole(SnLaneState *state)
{
	return state->whole == NULL ? state : state->whole;
}

/* sn_lane_count: so many rows of event_retry and letters more, or less */
static inline void
sn_lane_count(SnLaneState *state, int parked, int dead)
{
	SnLaneState *whole = sn_lane_whole(state);

	whole->parked += parked;
	whole->dead += dead;
	whole->changed = state->changed = true;
}

typedef SnJournalReader SnLaneReader;

typedef struct SnLaneAppender
{
	SnInserter *inserter;		/* NULL: nothing appended yet */
} SnLaneAppender;

extern void sn_lane_read_as_of(SnLaneReader *reader, const SnSub *sub,
							   int lane, int track, Snapshot snapshot,
							   SnLaneState *state);
extern void sn_lane_read_next(SnLaneReader *reader, const SnSub *sub, int lane,
							  int track, Snapshot snapshot,
							  SnLaneState *state);
extern void sn_lane_read_end(SnLaneReader *reader);
extern void sn_lane_read(const SnSub *sub, int lane, Snapshot snapshot,
						 SnLaneState *state);

extern bool sn_lane_resolved_by(const SnSub *sub, int strip,
								const pg_uuid_t *batch, Snapshot snapshot);

extern void sn_lane_append(SnLaneAppender *appender, SnLaneState *state);
extern void sn_lane_append_end(SnLaneAppender *appender);
extern void sn_lane_release(SnLaneState *state);
extern bool sn_lane_behind(SnLaneReader *reader, int sub_id, int strip,
						   Snapshot snapshot);
extern bool sn_lane_carry_over(int sub_id, int strip);

/* lane_known.c */
extern int64 *sn_lane_seen(int sub_id, int strip);
extern void sn_lane_remember(const SnLaneState *state, SnSubSlot *slot);
extern bool sn_lane_recall(int sub_id, int strip, SnLaneState *state);

extern bool sn_bits_get(const SnBits *bits, int i);
extern void sn_bits_set(SnBits *bits, int i);
extern void sn_bits_make(SnBits *bits, int n);

#endif							/* SN_LANE_H */
