/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * outside_host.h
 *	  What the database does for the rules of a turn, over libpq.
 */
#ifndef SENTINAI_OUTSIDE_HOST_H
#define SENTINAI_OUTSIDE_HOST_H

#include "relay/relay_lanes.h"
#include "relay/relay_wire.h"

extern const SnRelayHost outside_host;

extern void outside_host_begin(SnRelayLanes *lanes);
extern SnRelayState outside_host_turn(bool look,
									  const SnRelayCoreStats *stats,
									  bool *looked);
extern void outside_host_waiting(uint64_t lanes);
extern void outside_host_unread(uint64_t lanes);
extern void outside_host_push(void);

#endif							/* SENTINAI_OUTSIDE_HOST_H */
