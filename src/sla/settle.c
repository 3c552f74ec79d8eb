/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * settle.c
 *		How deadlines end before they are over, or late: meet_deadline() and
 *		cancel_deadline().
 *
 * Whoever does something with a deadline locks its newest row first.  A scan
 * passes over rows that somebody has, so nobody waits for one longer than a
 * step of it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/text.h"
#include "log/event.h"
#include "log/event_check.h"
#include "sla/deadline.h"
#include "sla/query.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_meet_deadline);
PG_FUNCTION_INFO_V1(sentinai_cancel_deadline);

/* sn_near_time: a time that is not too far away to be meant */
TimestampTz
sn_near_time(TimestampTz time, const char *what)
{
	TimestampTz now = GetCurrentTimestamp();

	if (TIMESTAMP_NOT_FINITE(time))
		sn_event_refuse(ERRCODE_SN_INVALID, 0, what, "must be finite");
	if (time > now + SN_DEADLINE_SPAN_MAX || time < now - SN_DEADLINE_SPAN_MAX)
		sn_event_refuse(ERRCODE_SN_INVALID, 0, what,
						"must be within ten years of now");
	return time;
}

/* name_arg: a text of which there has to be something */
static text *
name_arg(FunctionCallInfo fcinfo, int n, const char *what, Size max)
{
	text	   *name;

	SN_REQUIRE_ARG(n, what);
	name = sn_event_text(PG_GETARG_DATUM(n), max, 0, what);
	if (VARSIZE_ANY_EXHDR(name) == 0)
		sn_event_refuse(ERRCODE_SN_INVALID, 0, what, "must not be empty");
	return name;
}

/* sn_deadline_key_arg: the first three arguments, if the caller may */
void
sn_deadline_key_arg(FunctionCallInfo fcinfo, SnDeadlineKey *key)
{
	SN_REQUIRE_ARG(0, "tenant_id");
	key->tenant_id = sn_tenant_arg(PG_GETARG_DATUM(0), "tenant_id");
	sn_require(SN_RIGHT_PUBLISH | SN_RIGHT_OPERATE, key->tenant_id,
			   "set deadlines for");
	key->aggregate_id = name_arg(fcinfo, 1, "aggregate_id",
								 SN_AGGREGATE_ID_MAX);
	key->kind = name_arg(fcinfo, 2, "kind", SN_DEADLINE_KIND_MAX);
}

/* sn_deadline_find: read and lock the newest deadline of a key; 0: none */
int
sn_deadline_find(const SnDeadlineKey *key)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {PointerGetDatum(key->tenant_id),
		PointerGetDatum(key->aggregate_id), PointerGetDatum(key->kind)};

	return sn_query_run("select" SN_DEADLINE_COLUMNS
						" from sentinai_internal.deadline d"
						" where d.tenant_id = $1 and d.aggregate_id = $2 and d.kind = $3"
						" order by d.tenant_id desc, d.aggregate_id desc, d.kind desc, d.deadline_id desc"
						" limit 1 for update",
						lengthof(types), types, values, NULL);
}

/* sn_found_id: the number of the deadline that was found */
Datum
sn_found_id(void)
{
	bool		isnull;

	return sn_query_datum(0, Col_id, &isnull);
}

/* sn_found_is: whether it has a status */
bool
sn_found_is(const char *status)
{
	bool		isnull;

	return sn_text_is(DatumGetTextPP(sn_query_datum(0, Col_status, &isnull)),
					  status);
}

/* sn_found_time: a time of it; DT_NOEND for null */
TimestampTz
sn_found_time(int column)
{
	bool		isnull;
	Datum		value = sn_query_datum(0, column, &isnull);

	return isnull ? DT_NOEND : DatumGetTimestampTz(value);
}

/* end_found: note that the deadline that was found is met or cancelled */
static void
end_found(Datum id, const char *status, TimestampTz now)
{
	Oid			types[] = {INT8OID, TEXTOID, TIMESTAMPTZOID};
	Datum		values[] = {id, CStringGetTextDatum(status),
		TimestampTzGetDatum(now)};

	(void) sn_query_run("update sentinai_internal.deadline d"
						" set status = $2, ended_at = $3, next_at = null"
						" where d.deadline_id = $1",
						lengthof(types), types, values, NULL);
}

/* meet_found: the deadline that was found is met; NULL: it was cancelled */
static const char *
meet_found(TimestampTz now)
{
	bool		late = sn_found_time(Col_expired_at) != DT_NOEND;
	Datum		id = sn_found_id();
	SnTold		told = {0};

	if (sn_found_is("cancelled"))
		return NULL;
	if (sn_found_is("met"))
		return late ? "late" : "met";
	if (sn_found_is("open") && sn_found_time(Col_due_at) <= now)
	{
		sn_deadlines_tell(1, now, &told);
		late = true;
	}
	end_found(id, "met", now);
	return late ? "late" : "met";
}

/* meet_deadline(tenant_id text, aggregate_id text, kind text) returns text */
Datum
sentinai_meet_deadline(PG_FUNCTION_ARGS)
{
	SnDeadlineKey key;
	SnQuery		query;
	const char *result = NULL;

	sn_deadline_key_arg(fcinfo, &key);
	PreventCommandIfReadOnly("meet_deadline()");
	sn_query_begin(&query);
	if (sn_deadline_find(&key) > 0)
		result = meet_found(GetCurrentTimestamp());
	sn_query_end(&query);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(result));
}

/* cancel_deadline(tenant_id text, aggregate_id text, kind text) returns boolean */
Datum
sentinai_cancel_deadline(PG_FUNCTION_ARGS)
{
	SnDeadlineKey key;
	SnQuery		query;
	bool		result;

	sn_deadline_key_arg(fcinfo, &key);
	PreventCommandIfReadOnly("cancel_deadline()");
	sn_query_begin(&query);
	result = sn_deadline_find(&key) > 0 && sn_found_is("open");
	if (result)
		end_found(sn_found_id(), "cancelled", GetCurrentTimestamp());
	sn_query_end(&query);
	PG_RETURN_BOOL(result);
}
