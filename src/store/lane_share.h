/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lane_share.h
 *		How many lanes of a subscription a role holds.
 */
#ifndef SN_LANE_SHARE_H
#define SN_LANE_SHARE_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "shared/shmem.h"

/* A role that wants lanes of a subscription that allows it only some */
typedef struct SnShareClaim
{
	SnSubSlot  *slot;
	Oid			role;
	int			max_lanes;
	TimestampTz now;
	TimestampTz lease_until;
} SnShareClaim;

extern bool sn_share_take(const SnShareClaim *claim, uint64 lanes);
extern void sn_share_put_back(SnSubSlot *slot, int lane);
extern void sn_share_free_at_commit(SnSubSlot *slot, uint64 lanes);
extern uint64 sn_share_unsure(SnSubSlot *slot);
extern void sn_share_settle(SnSubSlot *slot, int lane, TimestampTz lease_until);
extern TimestampTz sn_share_until(SnSubSlot *slot, Oid role, int max_lanes,
								  TimestampTz now);

#endif							/* SN_LANE_SHARE_H */
