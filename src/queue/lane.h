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

typedef struct SnLaneState
{
	int			sub_id;
	int			lane;
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
	int			track;			/* at hand: pos, end_pos and what is resolved are
								 * in it; or SN_TRACK_ALL */
	SnPos		at[SN_TRACKS];	/* where the others stand, or all of them stood;
								 * 0: were never at hand */
	bool		changed;		/* since it was read; not stored */
} SnLaneState;

typedef SnJournalReader SnLaneReader;

typedef struct SnLaneAppender
{
	SnInserter *inserter;		/* NULL: nothing appended yet */
} SnLaneAppender;

extern void sn_lane_read_as_of(SnLaneReader *reader, const SnSub *sub,
							   int lane, Snapshot snapshot,
							   SnLaneState *state);
extern void sn_lane_read_next(SnLaneReader *reader, const SnSub *sub, int lane,
							  Snapshot snapshot, SnLaneState *state);
extern void sn_lane_read_end(SnLaneReader *reader);
extern void sn_lane_read(const SnSub *sub, int lane, Snapshot snapshot,
						 SnLaneState *state);

extern bool sn_lane_resolved_by(const SnSub *sub, int lane,
								const pg_uuid_t *batch, Snapshot snapshot);

extern void sn_lane_append(SnLaneAppender *appender, SnLaneState *state);
extern void sn_lane_append_end(SnLaneAppender *appender);
extern void sn_lane_put_back(SnLaneState *state, SnSubSlot *hints);
extern void sn_lane_release(SnLaneState *state);
extern bool sn_lane_behind(SnLaneReader *reader, int sub_id, int lane,
						   Snapshot snapshot);
extern bool sn_lane_carry_over(int sub_id, int lane);

/* lane_known.c */
extern int64 *sn_lane_seen(int sub_id, int lane);
extern void sn_lane_remember(const SnLaneState *state);
extern bool sn_lane_recall(int sub_id, int lane, SnLaneState *state);

extern bool sn_bits_get(const SnBits *bits, int i);
extern void sn_bits_set(SnBits *bits, int i);
extern void sn_bits_make(SnBits *bits, int n);

#endif							/* SN_LANE_H */
