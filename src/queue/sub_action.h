/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sub_action.h
 *		What people do with subscriptions and relays, for the action log.
 */
#ifndef SN_SUB_ACTION_H
#define SN_SUB_ACTION_H

#include "postgres.h"

#include "queue/subscription.h"
#include "tenancy/action.h"

/* A subscription at a time; what is copied stays as it was */
typedef struct SnSubShape
{
	SnFilter	filter;
	Datum		max_attempts;
	Datum		backoff;
	text	   *on_dead;
	bool		ordered;
	const char *max_lease;
	int			max_lanes;
	const char *start_from;		/* of one that is made; else NULL */
} SnSubShape;

/* What has a filter, which it begins with, as it is told to a tenant */
typedef Jsonb *(*SnTold) (const void *what, const text *tenant_id);

extern void sn_filter_copy(SnFilter *to, const SnFilter *from);
extern const char *sn_filter_tells(const SnFilter *filter,
								   const text *tenant_id);
extern void sn_record_told(const char *function, const text *worker_type,
						   SnTold told, const SnFilter *before,
						   const SnFilter *after);
extern void sn_sub_shape(SnSubShape *shape, const SnFilter *filter,
						 const Datum *row);
extern void sn_sub_record(const char *function, const text *worker_type,
						  const SnSubShape *before, const SnSubShape *after);
extern void sn_sub_record_each(SnAction *action, const SnSub *sub);

#endif							/* SN_SUB_ACTION_H */
