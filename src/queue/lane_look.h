/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lane_look.h
 *		What a lane has, without claiming it.
 */
#ifndef SN_LANE_LOOK_H
#define SN_LANE_LOOK_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "queue/lane_track.h"
#include "shared/shmem.h"

#define SN_LOOK_MAX	1000		/* events that a look passes */

typedef struct SnLaneLook
{
	bool		ready;			/* a claim would find something */
	TimestampTz when;			/* if not: when it may, DT_NOEND for never by
								 * itself */
	SnPos		passed;			/* everything before it is unwanted, and the
								 * position is not there yet; 0: no */
	SnLaneState *passing;		/* on which track */
	int			gone;			/* of what is before it, the log has no more */
	bool		held;			/* a batch has a track */
	bool		in_line;		/* tracks are not side by side */
	SnLane		lane;
} SnLaneLook;

extern void sn_look_at_lane(SnSub *sub, SnSubSlot *hints, int lane,
							TimestampTz now, int *budget, SnLaneLook *look);
extern bool sn_look_and_pass(SnSub *sub, SnSubSlot *hints, int lane,
							 TimestampTz now, int *budget, bool may_write);
extern bool sn_pass_unwanted_step(void);

#endif							/* SN_LANE_LOOK_H */
