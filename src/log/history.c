/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * history.c
 *		Reading the log: get_events_by_aggregate(), get_events_by_tenant(), and what
 *		get_trace() looks at.
 *
 * The rows come straight from the indexes that begin with what is asked for,
 * partition by partition in the order of time, and only from partitions that
 * the time range and the keyset touch.  So the cost never hangs on statistics
 * or on the size of the log: a descent for each partition, and the rows
 * between the bounds until enough of them pass the filters; for an aggregate
 * also the first event of each of the tenant's long runs, see event_run.h.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "log/history.h"
#include "log/log_read.h"
#include "tenancy/gate.h"

#define EVENTS_MAX 10000		/* rows of one call */
#define LOCKS_KEPT 16			/* partitions that stay locked after a call */

PG_FUNCTION_INFO_V1(sentinai_get_events_by_aggregate);
PG_FUNCTION_INFO_V1(sentinai_get_events_by_exception);
PG_FUNCTION_INFO_V1(sentinai_get_events_by_tenant);
PG_FUNCTION_INFO_V1(sentinai_flow_events);

/*
 * read_partition: rows of one partition; returns how many were asked for.
 * begins: the partition has the lower bound in it.  What was read points to
 * values stored out of line, so the partition's lock is kept; but of the
 * first few only, since the lock table is everybody's: of the others the
 * values are copied.
 */
static int
read_partition(SnQuestion *q, const SnPartRange *range, bool begins,
			   int limit, int *kept, ReturnSetInfo *rsinfo)
{
	SnReading	r = {.q = q, .rsinfo = rsinfo, .limit = limit};
	bool		keep;

	r.rel = try_relation_open(range->oid, AccessShareLock);
	if (r.rel == NULL)
		return 0;				/* dropped meanwhile */
	r.flatten = q->put != NULL || *kept >= LOCKS_KEPT;
	sn_run_begin(&r.runs, r.rel, GetActiveSnapshot());
	r.first_above = q->lower;
	if (begins)
		sn_run_reach(&r.runs, &r.first_above);
	if (q->by_flow)
		sn_history_flow(&r);
	else if (q->by_aggregate)
		sn_history_aggregate(&r);
	else
		sn_history_tenant(&r);
	sn_run_end(&r.runs);
	keep = r.n > 0 && !r.flatten;
	*kept += keep;
	relation_close(r.rel, keep ? NoLock : AccessShareLock);
	return r.n;
}

/* sn_history_read: all rows asked for, in the order of their ids */
void
sn_history_read(SnQuestion *q, ReturnSetInfo *rsinfo)
{
	int64		from = SN_TICK_MS(sn_uuid_tick(&q->lower));
	int64		until = SN_TICK_MS(sn_uuid_tick(&q->upper));
	List	   *ranges = sn_partition_ranges(SN_EVENT_LOG);
	int			left = q->limit;
	int			kept = 0;
	ListCell   *lc;

	foreach(lc, ranges)
	{
		SnPartRange *range = lfirst(lc);

		CHECK_FOR_INTERRUPTS();
		if (left <= 0 || range->lower > until)
			break;
		if (range->upper > from)
			left -= read_partition(q, range, range->lower <= from, left,
								   &kept, rsinfo);
	}
	list_free_deep(ranges);
}

/* required_text: the value of a text argument that must not be null */
static text *
required_text(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
	return PG_GETARG_TEXT_PP(arg);
}

/* get_types: the event types asked for, from an array that may be null */
static void
get_types(FunctionCallInfo fcinfo, int arg, SnQuestion *q)
{
	ArrayType  *array;

	q->ntypes = -1;
	if (PG_ARGISNULL(arg))
		return;
	array = PG_GETARG_ARRAYTYPE_P(arg);
	if (ARR_NDIM(array) > 1 || array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("event_types must have one dimension and no nulls")));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT,
					  &q->event_types, NULL, &q->ntypes);
}

/*
 * sn_history_bounds: the ids that a time range (two arguments) and a keyset leave.
 * The time in an id and occurred_at are one: the same tick.
 */
void
sn_history_bounds(FunctionCallInfo fcinfo, int arg, int after_arg, SnQuestion *q)
{
	int64		from_ms = 0;
	int64		to_ms = SN_MAX_MS;

	q->from = PG_ARGISNULL(arg) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(arg);
	q->to = PG_ARGISNULL(arg + 1) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(arg + 1);
	if (TIMESTAMP_IS_NOEND(q->from) || TIMESTAMP_IS_NOBEGIN(q->to))
		to_ms = 0;
	if (!TIMESTAMP_NOT_FINITE(q->from))
		from_ms = Max(from_ms, sn_timestamp_ms(q->from));
	if (!TIMESTAMP_NOT_FINITE(q->to))
		to_ms = Min(to_ms, sn_timestamp_ms(q->to));
	sn_uuid_floor(Min(from_ms, SN_MAX_MS), &q->lower);
	sn_uuid_floor(Max(to_ms, 0) + 1, &q->upper);
	if (!PG_ARGISNULL(after_arg))
	{
		pg_uuid_t  *after = PG_GETARG_UUID_P(after_arg);

		if (sn_uuid_cmp(after, &q->lower) > 0)
			q->lower = *after;
	}
}

/* check_limit: how many rows are asked for */
static void
check_limit(const SnQuestion *q)
{
	if (q->limit < 1 || q->limit > EVENTS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("max_events must be between 1 and %d", EVENTS_MAX)));
}

/* answer: what the functions do once they know the tenant or aggregate */
static Datum
answer(FunctionCallInfo fcinfo, SnQuestion *q, int arg)
{
	sn_require(SN_RIGHT_READ, q->tenant_id, "read");
	get_types(fcinfo, arg, q);
	sn_history_bounds(fcinfo, arg + 1, arg + 4, q);
	q->correlation_id = PG_ARGISNULL(arg + 3) ? NULL :
		PG_GETARG_TEXT_PP(arg + 3);
	q->limit = PG_ARGISNULL(arg + 5) ? 0 : PG_GETARG_INT32(arg + 5);
	check_limit(q);
	InitMaterializedSRF(fcinfo, 0);
	if (sn_uuid_cmp(&q->lower, &q->upper) < 0)
		sn_history_read(q, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}

/* ask_key: about the aggregate that the first two arguments name */
static void
ask_key(FunctionCallInfo fcinfo, SnQuestion *q, const char *name)
{
	q->tenant_id = required_text(fcinfo, 0, "tenant_id");
	q->aggregate_id = required_text(fcinfo, 1, name);
	q->by_aggregate = true;
	q->hash = sn_key_hash(q->tenant_id, q->aggregate_id);
}

/*
 * get_events_by_aggregate(tenant_id text, aggregate_id text,
 *		event_types text[], from_time timestamptz, to_time timestamptz,
 *		correlation_id text, after_id uuid, max_events int,
 *		aggregate_type text)
 */
Datum
sentinai_get_events_by_aggregate(PG_FUNCTION_ARGS)
{
	SnQuestion	q = {0};

	ask_key(fcinfo, &q, "aggregate_id");
	q.aggregate_type = PG_ARGISNULL(8) ? NULL : PG_GETARG_TEXT_PP(8);
	return answer(fcinfo, &q, 2);
}

/*
 * get_events_by_exception(): the same for an exception_id, without a type
 */
Datum
sentinai_get_events_by_exception(PG_FUNCTION_ARGS)
{
	SnQuestion	q = {0};

	ask_key(fcinfo, &q, "exception_id");
	return answer(fcinfo, &q, 2);
}

/*
 * get_events_by_tenant(tenant_id text, event_types text[],
 *		from_time timestamptz, to_time timestamptz, correlation_id text,
 *		after_id uuid, max_events int)
 */
Datum
sentinai_get_events_by_tenant(PG_FUNCTION_ARGS)
{
	SnQuestion	q = {0};

	q.tenant_id = required_text(fcinfo, 0, "tenant_id");
	return answer(fcinfo, &q, 1);
}

/*
 * flow_events(correlation_id text, tenant_id text, max_events int): what
 * get_trace() looks at, in no order, and perhaps more than asked for
 */
Datum
sentinai_flow_events(PG_FUNCTION_ARGS)
{
	SnQuestion	q = {.by_flow = true,.ntypes = -1,.from = DT_NOBEGIN,
	.to = DT_NOEND};

	q.correlation_id = required_text(fcinfo, 0, "correlation_id");
	q.tenant_id = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	if (q.tenant_id != NULL)
		sn_require(SN_RIGHT_READ, q.tenant_id, "read");
	q.limit = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2);
	check_limit(&q);
	sn_uuid_floor(0, &q.lower);
	sn_uuid_floor(SN_MAX_MS + 1, &q.upper);
	InitMaterializedSRF(fcinfo, 0);
	sn_history_read(&q, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}
