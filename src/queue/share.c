/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * share.c
 *		Whether a role may have one more lane of a subscription.
 *
 * What roles hold is counted in shared memory (store/lane_share.c).  How a
 * prepared transaction has ended is not: where the share of a role is used up,
 * the lanes that such ones have taken or given back are looked at.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "queue/lane_track.h"
#include "queue/share.h"
#include "store/lane_hints.h"
#include "store/lane_share.h"

/* held_until: the end of the last lease of a lane, whose lock is held; 0: none */
static TimestampTz
held_until(SnSub *sub, int number)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnLaneReader reader = {false};
	SnLane		lane;
	TimestampTz result = 0;
	int			track;

	sn_lane_open(&lane, &reader, sub, number, snapshot);
	sn_lane_read_end(&reader);
	UnregisterSnapshot(snapshot);
	foreach_track(track, lane.tracks)
		if (lane.of[track] != NULL && lane.of[track]->held)
			result = Max(result, lane.of[track]->lease_until);
	return result;
}

/*
 * settle_unsure: find out about lanes that are not sure.  One whose lock somebody
 * has stays so: that may be the prepared transaction.
 */
static void
settle_unsure(SnSub *sub, SnSubSlot *slot)
{
	uint64		unsure = sn_share_unsure(slot);
	int			lane;

	for (lane = 0; lane < SN_MAX_LANES; lane++)
	{
		CHECK_FOR_INTERRUPTS();
		if ((unsure & SN_LANE_BIT(lane)) == 0 ||
			!sn_lock_lane(sub->sub_id, lane, false))
			continue;
		if (slot->sub_id == sub->sub_id)
			sn_share_settle(slot, lane, held_until(sub, lane));
		sn_unlock_lane(sub->sub_id, lane);
	}
}

/*
 * sn_sub_share_until: when the caller's role may have a lane again, if no batch
 * ends before; DT_NOBEGIN: now
 */
TimestampTz
sn_sub_share_until(SnSub *sub, SnSubSlot *slot, TimestampTz now)
{
	TimestampTz until;

	if (!sn_sub_shares(sub, slot))
		return DT_NOBEGIN;
	until = sn_share_until(slot, GetUserId(), sub->max_lanes, now);
	if (until == DT_NOBEGIN || sn_share_unsure(slot) == 0)
		return until;
	settle_unsure(sub, slot);
	return sn_share_until(slot, GetUserId(), sub->max_lanes, now);
}
