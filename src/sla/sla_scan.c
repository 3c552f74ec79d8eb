/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sla_scan.c
 *		Looking for deadlines that have come: sla_scan(), and the steps of the
 *		sequencer's process.
 *
 * An index has what is to be published next of each open deadline, by time.  So
 * a look costs one descent, however many are open.  A step takes a bounded
 * number of them and passes over those that another scan has, or an agent.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "base/guc.h"
#include "base/result_row.h"
#include "base/sqlstate.h"
#include "sla/deadline.h"
#include "sla/query.h"
#include "store/store.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_sla_scan);

#define STEP_DEADLINES	1000	/* of one step */
#define SCAN_MAX		1000000 /* of one call */

/* one_has_come: whether the index has a row up to a time */
static bool
one_has_come(SnRel index, TimestampTz until)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData key;
	SnScan		scan;
	bool		result;

	sn_key_time(&key, 1, BTLessEqualStrategyNumber, until);
	sn_scan_named(&scan, SN_DEADLINE, index, snapshot, 1, &key,
				  ForwardScanDirection);
	result = sn_scan_next(&scan);
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	return result;
}

/* tell_some: publish what has come of some deadlines; of how many */
static int
tell_some(TimestampTz now, int max, SnTold *told)
{
	Oid			types[] = {TIMESTAMPTZOID, INT4OID};
	Datum		values[] = {TimestampTzGetDatum(now), Int32GetDatum(max)};
	SnQuery		query;
	int			n;

	if (!one_has_come(SN_DEADLINE_NEXT_IDX, now))
		return 0;
	sn_query_begin(&query);
	n = sn_query_run("select" SN_DEADLINE_COLUMNS
					 " from sentinai_internal.deadline d where d.next_at <= $1"
					 " order by d.next_at limit $2 for update skip locked",
					 lengthof(types), types, values, NULL);
	sn_deadlines_tell(n, now, told);
	sn_query_end(&query);
	CommandCounterIncrement();
	return n;
}

/* scan_time: the time that a scan goes by */
static TimestampTz
scan_time(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1))
		return GetCurrentTimestamp();
	if (!sn_may(SN_RIGHT_OPERATE, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_SN_TENANT_NOT_ALLOWED),
				 errmsg("only who may operate for every tenant may say what time it is")));
	return sn_near_time(PG_GETARG_TIMESTAMPTZ(1), "at");
}

/* scan_answer: the row that sla_scan() returns */
static Datum
scan_answer(FunctionCallInfo fcinfo, const SnTold *told, bool more)
{
	Datum		values[] = {Int32GetDatum(told->imminent),
		Int32GetDatum(told->expired), BoolGetDatum(more)};
	bool		nulls[lengthof(values)] = {false};

	return sn_row_datum(fcinfo, values, nulls);
}

/* sla_scan(max_deadlines int, at timestamptz) returns record */
Datum
sentinai_sla_scan(PG_FUNCTION_ARGS)
{
	SnTold		told = {0};
	TimestampTz now;
	int			left;
	int			asked;
	int			n;

	SN_REQUIRE_ARG(0, "max_deadlines");
	left = PG_GETARG_INT32(0);
	if (left < 1 || left > SCAN_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("max_deadlines must be between 1 and %d", SCAN_MAX)));
	PreventCommandIfReadOnly("sla_scan()");
	now = scan_time(fcinfo);
	do
	{
		CHECK_FOR_INTERRUPTS();
		asked = Min(left, STEP_DEADLINES);
		n = tell_some(now, asked, &told);
		left -= n;
	} while (n == asked && left > 0);
	PG_RETURN_DATUM(scan_answer(fcinfo, &told, n == asked));
}

/* sn_sla_step: a step of the sequencer's; whether there may be more */
bool
sn_sla_step(void)
{
	SnTold		told = {0};

	return sn_present(SN_DEADLINE) &&
		tell_some(GetCurrentTimestamp(), STEP_DEADLINES, &told) ==
		STEP_DEADLINES;
}

/* sn_deadline_purge_step: remove some that ended long ago; whether there are more */
bool
sn_deadline_purge_step(void)
{
	TimestampTz until = GetCurrentTimestamp() -
		(int64) sn_deadline_retention * 60 * SN_SECOND;
	Oid			types[] = {TIMESTAMPTZOID, INT4OID};
	Datum		values[] = {TimestampTzGetDatum(until),
		Int32GetDatum(STEP_DEADLINES)};
	SnQuery		query;
	int			n;

	if (sn_deadline_retention < 0 || !sn_present(SN_DEADLINE) ||
		!one_has_come(SN_DEADLINE_ENDED_IDX, until))
		return false;
	sn_query_begin(&query);
	n = sn_query_run("delete from sentinai_internal.deadline x where x.deadline_id = any (array("
					 "select d.deadline_id from sentinai_internal.deadline d where d.ended_at <= $1"
					 " order by d.ended_at limit $2 for update skip locked))",
					 lengthof(types), types, values, NULL);
	sn_query_end(&query);
	return n == STEP_DEADLINES;
}
