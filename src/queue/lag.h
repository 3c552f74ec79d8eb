/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lag.h
 *		How far a subscription is behind.
 */
#ifndef SN_LAG_H
#define SN_LAG_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "queue/subscription.h"

extern bool sn_sub_lags(SnSub *sub, int64 round_no, Snapshot snapshot);
extern int64 sn_sub_backlog(SnSub *sub, SnTracks tracks, Snapshot snapshot,
							TimestampTz *oldest);
extern int64 sn_sub_left(SnSub *sub, Snapshot snapshot);
extern void sn_sub_rounds_left(SnSub *sub, SnTracks tracks, Snapshot snapshot,
							   int64 *rounds);

#endif							/* SN_LAG_H */
