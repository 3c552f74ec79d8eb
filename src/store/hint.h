/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * hint.h
 *		Which lanes of a subscription are worth looking at.
 */
#ifndef SN_HINT_H
#define SN_HINT_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "shared/shmem.h"

#define SN_LANE_BIT(lane)	(UINT64CONST(1) << (lane))

extern uint64 sn_hint_pending(SnSubSlot *slot, TimestampTz now);
extern void sn_hint_look(SnSubSlot *slot, int lane);
extern void sn_hint_again(SnSubSlot *slot, int lane);
extern void sn_hint_more(SnSubSlot *slot, int lane);
extern void sn_hint_later(SnSubSlot *slot, int lane, TimestampTz when);
extern void sn_hint_held(SnSubSlot *slot, int lane);
extern void sn_hint_sooner(SnSubSlot *slot, uint64 lanes, TimestampTz when);
extern void sn_hint_freed(SnSubSlot *slot, uint64 lanes, uint64 with_work);
extern void sn_hint_gone(int sub_id);
extern void sn_hint_locks(int sub_id, int lane);
extern void sn_hint_locks_round(void);
extern void sn_hint_unlocked(int sub_id, int lane);
extern void sn_hint_prepared(void);
extern void sn_hint_block(SnSubSlot *slot, int lane);

#endif							/* SN_HINT_H */
