/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * filter.h
 *		The streams that filters have.
 */
#ifndef SN_FILTER_H
#define SN_FILTER_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "queue/subscription.h"
#include "store/store.h"

extern bool sn_names_equal(const SnNames *a, const SnNames *b);
extern int	sn_filter_stream(const SnFilter *filter, Snapshot snapshot);
extern void sn_change_filter(SnSub *sub, int stream_id, Datum *values,
							 bool *nulls);
extern void sn_drop_unused_streams(void);

/* helpers of what changes subscriptions */
extern int	sn_next_id(const char *sequence);

#endif							/* SN_FILTER_H */
