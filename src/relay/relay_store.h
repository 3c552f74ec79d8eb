/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_store.h
 *		What a relay process reads from and writes to the database.
 *
 * Every function runs inside a transaction with an active snapshot, and none
 * of them knows a broker.
 */
#ifndef SN_RELAY_STORE_H
#define SN_RELAY_STORE_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "base/sentinai.h"
#include "queue/retry.h"
#include "queue/subscription.h"
#include "relay/record.h"

extern bool sn_relay_is_paused(int sub_id);
extern int	sn_relay_subscription(void);
extern SnSub *sn_relay_find_sub(int sub_id);
extern SnPos sn_relay_lane_pos(int sub_id, int lane);
extern void sn_relay_mark(int sub_id, uint64 lanes, const SnPos *pos);
extern uint64 sn_relay_lock_lanes(int sub_id, uint64 lanes);
extern void sn_relay_bury(SnRetry *row, const char *topic, const char *error);
extern void sn_relay_arrived(const SnRetry *row);
extern void sn_relay_count(int sub_id, int lane, int dead, int parked);

/* relay_held.c */
typedef struct SnRelayParker SnRelayParker;

extern void sn_relay_row(SnRetry *row, int sub_id, int lane, SnPos pos,
						 const char *event_id);
extern SnRelayParker *sn_relay_park_begin(int sub_id);
extern void sn_relay_park(SnRelayParker *parker, int lane, SnPos pos,
						  const SnRecordEvent *event, const char *topic,
						  const char *error);
extern void sn_relay_park_end(SnRelayParker *parker);
extern void sn_relay_unpark(int sub_id, int lane, SnPos pos, SnRetry *row);
extern void sn_relay_label(int sub_id, int lane, SnPos pos, const char *topic,
						   const char *error);
extern bool sn_relay_next_label(int sub_id, char **topic, char **error);
extern List *sn_relay_parked(int sub_id, const char *topic, uint64 lanes,
							 int max, size_t bytes, Size max_text, bool *all);
extern int	sn_relay_expire(int sub_id, const char *topic, uint64 lanes,
							int max);

/* relay_read.c */
typedef struct SnRelayReader SnRelayReader;

extern SnRelayReader *sn_relay_read_begin(int sub_id, Size max_text);
extern SnPos sn_relay_stored_pos(SnRelayReader *reader, int lane);
extern int	sn_relay_want(SnRelayReader *reader, int lane, SnPos pos, int max,
						  bool *more);
extern List *sn_relay_fetch(SnRelayReader *reader, size_t bytes,
							uint64 *left);
extern void sn_relay_read_end(SnRelayReader *reader);

#endif							/* SN_RELAY_STORE_H */
