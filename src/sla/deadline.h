/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * deadline.h
 *		Deadlines of aggregates.
 */
#ifndef SN_DEADLINE_H
#define SN_DEADLINE_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"

#include "base/args.h"

#define SN_DEADLINE_KIND_MAX	100 /* bytes */
#define SN_DEADLINE_SPAN_MAX	(INT64CONST(3653) * SN_DAY)

/* What a deadline is found by */
typedef struct SnDeadlineKey
{
	text	   *tenant_id;
	text	   *aggregate_id;
	text	   *kind;
} SnDeadlineKey;

/* What was published */
typedef struct SnTold
{
	int			imminent;
	int			expired;
} SnTold;

/* Columns that sn_deadlines_tell() wants of a query, which has locked the rows */
#define SN_DEADLINE_COLUMNS \
	" d.deadline_id, d.tenant_id, d.aggregate_type, d.aggregate_id, d.kind," \
	" d.due_at, d.warn_at, d.set_at, d.warned_at, d.correlation_id," \
	" d.causation_id, d.moves, d.status, d.expired_at"

enum
{
	Col_none, Col_id, Col_tenant_id, Col_aggregate_type, Col_aggregate_id,
	Col_kind, Col_due_at, Col_warn_at, Col_set_at, Col_warned_at,
	Col_correlation_id, Col_causation_id, Col_moves, Col_status, Col_expired_at
};

/* tell.c */
extern void sn_deadlines_tell(int n, TimestampTz now, SnTold *told);

/* settle.c */
extern void sn_deadline_key_arg(FunctionCallInfo fcinfo, SnDeadlineKey *key);
extern int	sn_deadline_find(const SnDeadlineKey *key);
extern Datum sn_found_id(void);
extern bool sn_found_is(const char *status);
extern TimestampTz sn_found_time(int column);
extern TimestampTz sn_near_time(TimestampTz time, const char *what);

/* threshold.c */
extern void sn_check_threshold(float8 threshold);
extern float8 sn_threshold_of(text *tenant_id);

/* sla_scan.c */
extern bool sn_sla_step(void);
extern bool sn_deadline_purge_step(void);

#endif							/* SN_DEADLINE_H */
