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

#include "record.h"
#include "sentinai.h"

/* An event that was read, in the memory context current at the time */
typedef struct SnRelayEvent
{
	int			lane;
	SnPos		next_pos;		/* of the lane, behind the event */
	SnRecordEvent event;
} SnRelayEvent;

extern bool sn_relay_is_paused(void);
extern int	sn_relay_subscription(void);
extern SnPos sn_relay_lane_pos(int sub_id, int lane);
extern void sn_relay_mark(int sub_id, uint64 lanes, const SnPos *pos);
extern void sn_relay_bury(int sub_id, int lane, const char *event_id,
						  const char *error, bool redriven);
extern List *sn_relay_redrives(int sub_id, uint64 lanes, int max);
extern void sn_relay_redriven(int sub_id, int lane, const char *event_id);

/* relay_read.c */
typedef struct SnRelayReader SnRelayReader;

extern SnRelayReader *sn_relay_read_begin(void);
extern int	sn_relay_want(SnRelayReader *reader, int lane, SnPos pos, int max,
						  bool *more);
extern List *sn_relay_fetch(SnRelayReader *reader, size_t bytes,
							uint64 *left);
extern void sn_relay_read_end(SnRelayReader *reader);

#endif							/* SN_RELAY_STORE_H */
