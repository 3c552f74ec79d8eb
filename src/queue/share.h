/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * share.h
 *		Whether a role may have one more lane of a subscription.
 */
#ifndef SN_SHARE_H
#define SN_SHARE_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "queue/subscription.h"

extern TimestampTz sn_sub_share_until(SnSub *sub, SnSubSlot *slot,
									  TimestampTz now);

#endif							/* SN_SHARE_H */
