/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lane_hints.h
 *		Which lanes of a subscription are worth looking at.
 */
#ifndef SN_LANE_HINTS_H
#define SN_LANE_HINTS_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "shared/shmem.h"

#define SN_LANE_BIT(lane)	(UINT64CONST(1) << (lane))

extern uint64 sn_hint_pending(SnSubSlot *slot, TimestampTz now);
extern void sn_hint_clear(SnSubSlot *slot, int lane);
extern void sn_hint_set(SnSubSlot *slot, int lane);
extern SnTracks sn_hint_tracks(SnSubSlot *slot, uint64 pending, uint64 *lanes);
extern SnTracks sn_hint_lane_tracks(SnSubSlot *slot, int lane);
extern SnTracks sn_hint_take_tracks(SnSubSlot *slot, int lane);
extern void sn_hint_leave_tracks(SnSubSlot *slot, int lane, SnTracks tracks);
extern bool sn_hint_take_behind(SnSubSlot *slot, int lane);
extern void sn_hint_leave_behind(SnSubSlot *slot, int lane);
extern SnTracks sn_hint_busy_tracks(SnSubSlot *slot, int lane);
extern void sn_hint_busy(SnSubSlot *slot, int lane, int track);
extern void sn_hint_idle(SnSubSlot *slot, int lane, int track);
extern bool sn_hint_retries_first(SnSubSlot *slot, int lane, TimestampTz now);
extern uint64 sn_hint_retries(SnSubSlot *slot, uint64 pending);
extern void sn_hint_leave_due(SnSubSlot *slot, int lane, bool due);
extern void sn_hint_claimed(SnSubSlot *slot, uint64 events, uint64 on_common,
							uint64 left);
extern void sn_hint_pending_after_batch(SnSubSlot *slot, int lane);
extern void sn_hint_defer_until(SnSubSlot *slot, int lane, TimestampTz when);
extern void sn_hint_keep_lane(SnSubSlot *slot, int lane);
extern void sn_hint_check_sooner(SnSubSlot *slot, uint64 lanes, TimestampTz when);
extern void sn_hint_free_at_commit(SnSubSlot *slot, uint64 lanes, uint64 with_work);
extern void sn_hint_drop_at_commit(int sub_id);
extern bool sn_hint_unworked(SnSubSlot *slot, TimestampTz created_at);

/* lane_blocked.c */
extern void sn_hint_wake(SnSubSlot *slot, uint64 lanes);
extern void sn_hint_will_lock(int sub_id, int lane);
extern void sn_hint_will_lock_round(void);
extern void sn_hint_lock_released(int sub_id, int lane);
extern void sn_hint_prepared_ended(void);
extern void sn_hint_mark_blocked(SnSubSlot *slot, int lane);

#endif							/* SN_LANE_HINTS_H */
