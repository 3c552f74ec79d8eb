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

#define SN_FILTER_NAMES_MAX	1000	/* in each part of a filter */

extern bool sn_filters_equal(const SnFilter *a, const SnFilter *b);
extern int	sn_filter_stream(const SnFilter *filter, Snapshot snapshot);
extern void sn_change_filter(SnSub *sub, const SnFilter *filter, int stream_id,
							 Datum *values, bool *nulls);
extern void sn_forget_filters(const SnSub *sub, SnPos passed,
							  Snapshot snapshot, Datum *values, bool *nulls);
extern SnPos sn_passed_by_retries(const SnSub *sub, Snapshot snapshot);
extern SnPos sn_pass_lane(SnSub *sub, int number, SnPos end);
extern void sn_drop_unused_streams(void);

/* earlier_filter.c */
extern bool sn_earlier_filters_step(void);

/* subscribe.c */
extern bool sn_sub_refilter(int sub_id, const SnFilter *filter, bool wait);
extern bool sn_sub_forget_filters(int sub_id, SnPos passed);
extern int64 sn_sub_drop_relay(const text *name);

/* helpers of what changes subscriptions */
extern int	sn_next_id(const char *sequence);

#endif							/* SN_FILTER_H */
