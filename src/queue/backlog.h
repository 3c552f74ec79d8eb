/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * backlog.h
 *		What waits in a subscription, brought into the order that its rules say.
 */
#ifndef SN_BACKLOG_H
#define SN_BACKLOG_H

#include "postgres.h"

#include "queue/lane_track.h"

extern void sn_arrange_backlog(int sub_id, bool ordered, bool block);
extern void sn_arrange_ranges(SnLane *lane, TimestampTz now);

#endif							/* SN_BACKLOG_H */
