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
 *
 * Where more have come than a step takes, it takes some more in turn: a few of
 * each tenant that waits, as one that has very many would keep all others waiting
 * until they are told.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
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
#define TURN_TENANTS	"500"	/* that are looked at in one turn */
#define TURN_EACH		"2"		/* deadlines of each */

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

/*
 * next_waiting: the next tenants in the order of names of whom something has come,
 * as an array; false: none.  Each of them is found by one descent.
 */
static bool
next_waiting(TimestampTz now, Datum *tenants)
{
	static char last[SN_TENANT_NAME_MAX + 1] = "";	/* whose turn it was */
	Oid			types[] = {TIMESTAMPTZOID, TEXTOID};
	Datum		values[] = {TimestampTzGetDatum(now), CStringGetTextDatum(last)};
	bool		none;
	bool		behind;
	Datum		name;

	sn_query_run("with recursive w (tenant_id, next_at, n) as ("
				 "(select d.tenant_id, d.next_at, 1 from sentinai_internal.deadline d"
				 " where d.next_at is not null and d.tenant_id > $2 order by d.tenant_id, d.next_at limit 1)"
				 " union all"
				 " select f.tenant_id, f.next_at, w.n + 1 from w cross join lateral ("
				 "select d.tenant_id, d.next_at from sentinai_internal.deadline d"
				 " where d.next_at is not null and d.tenant_id > w.tenant_id order by d.tenant_id, d.next_at limit 1) f"
				 " where w.n < " TURN_TENANTS ")"
				 " select array_agg(w.tenant_id) filter (where w.next_at <= $1),"
				 " case when count(*) = " TURN_TENANTS " then max(w.tenant_id) end from w",
				 lengthof(types), types, values, NULL);
	*tenants = sn_query_datum(0, 1, &none);
	name = sn_query_datum(0, 2, &behind);
	strlcpy(last, behind ? "" : TextDatumGetCString(name), sizeof(last));
	return !none;
}

/* tell_in_turn: the same of tenants one after the other, a few of each */
static int
tell_in_turn(TimestampTz now, int max, SnTold *told)
{
	Oid			types[] = {TIMESTAMPTZOID, INT4OID, TEXTARRAYOID};
	Datum		values[] = {TimestampTzGetDatum(now), Int32GetDatum(max), 0};
	SnQuery		query;
	int			n = 0;

	sn_query_begin(&query);
	if (next_waiting(now, &values[2]))
	{
		n = sn_query_run("select" SN_DEADLINE_COLUMNS
						 " from sentinai_internal.deadline d where d.next_at <= $1 and d.deadline_id = any (array("
						 "select x.deadline_id from unnest($3) t (tenant_id) cross join lateral ("
						 "select y.deadline_id from sentinai_internal.deadline y"
						 " where y.tenant_id = t.tenant_id and y.next_at <= $1 order by y.next_at limit " TURN_EACH ") x"
						 " limit $2)) for update skip locked",
						 lengthof(types), types, values, NULL);
		sn_deadlines_tell(n, now, told);
	}
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
		if (n == asked && left > 0)
			left -= tell_in_turn(now, left, &told);
	} while (n == asked && left > 0);
	PG_RETURN_DATUM(scan_answer(fcinfo, &told, n == asked));
}

/* sn_sla_step: a step of the sequencer's; whether there may be more */
bool
sn_sla_step(void)
{
	TimestampTz now = GetCurrentTimestamp();
	SnTold		told = {0};

	if (!sn_present(SN_DEADLINE) ||
		tell_some(now, STEP_DEADLINES, &told) < STEP_DEADLINES)
		return false;
	(void) tell_in_turn(now, STEP_DEADLINES, &told);
	return true;
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
