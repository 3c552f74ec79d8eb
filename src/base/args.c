/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * args.c
 *		Checks of arguments that several functions share.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "common/int.h"
#include "nodes/nodes.h"
#include "utils/builtins.h"
#include "utils/datetime.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/printable.h"
#include "base/sqlstate.h"

#ifdef SN_SOFT_INPUT
#include "nodes/miscnodes.h"
#endif

/* sn_null_argument: the error for an argument that must not be null */
void
sn_null_argument(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("%s must not be null", name)));
}

/* sn_require_trigger: a function that triggers call was not called by hand */
void
sn_require_trigger(FunctionCallInfo fcinfo, const char *name)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("%s() can only be called as a trigger", name)));
}

/*
 * sn_duration_of: length of a finite interval in microseconds, a month as 30
 * days.
 */
int64
sn_duration_of(const Interval *value)
{
	int64		days = (int64) value->month * DAYS_PER_MONTH + value->day;
	int64		result;

	if (pg_mul_s64_overflow(days, USECS_PER_DAY, &result) ||
		pg_add_s64_overflow(result, value->time, &result))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("interval out of range")));
	return result;
}

/* sn_duration: the same, checked against bounds */
int64
sn_duration(const Interval *value, const char *name, int64 min, int64 max)
{
	int64		result;

	if (sn_interval_infinite(value))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("%s must be finite", name)));
	result = sn_duration_of(value);
	if (result < min)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg(min > 0 ? "%s must be greater than zero" :
						"%s must not be negative", name)));
	if (result > max)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg_plural("%s must not be longer than %d day",
							   "%s must not be longer than %d days",
							   max / SN_DAY, name, (int) (max / SN_DAY))));
	return result;
}

/* sn_check_plain: a name of one to a hundred plain characters */
text *
sn_check_plain(text *name, const char *what)
{
	const char *p = VARDATA_ANY(name);
	int			len = VARSIZE_ANY_EXHDR(name);
	bool		good = len >= 1 && len <= SN_WORKER_TYPE_MAX;
	int			i;

	for (i = 0; good && i < len; i++)
		good = (p[i] >= 'a' && p[i] <= 'z') || (p[i] >= 'A' && p[i] <= 'Z') ||
			(p[i] >= '0' && p[i] <= '9') ||
			(p[i] != '\0' && strchr("_.:-", p[i]) != NULL);
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("%s must be 1 to %d letters, digits or \"_.:-\"",
						what, SN_WORKER_TYPE_MAX)));
	return name;
}

/* sn_check_worker_type: likewise */
text *
sn_check_worker_type(text *name)
{
	return sn_check_plain(name, "worker_type");
}

/* sn_text_arg: an argument that is given, and of bounded length */
text *
sn_text_arg(FunctionCallInfo fcinfo, int n, const char *name, int max)
{
	text	   *result;

	if (PG_ARGISNULL(n))
		sn_null_argument(name);
	result = PG_GETARG_TEXT_PP(n);
	if (VARSIZE_ANY_EXHDR(result) < 1 || VARSIZE_ANY_EXHDR(result) > max)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("%s must be 1 to %d bytes long", name, max)));
	return result;
}

/* sn_actor_arg: an argument that says who does it, as views and logs show him */
text *
sn_actor_arg(FunctionCallInfo fcinfo, int n)
{
	return sn_check_printable(sn_text_arg(fcinfo, n, "actor", SN_ACTOR_MAX),
							  "actor");
}

/* sn_worker_id_arg: an argument that names the agent, or NULL */
text *
sn_worker_id_arg(FunctionCallInfo fcinfo, int n)
{
	text	   *result;

	if (PG_ARGISNULL(n))
		return NULL;
	result = PG_GETARG_TEXT_PP(n);
	if (VARSIZE_ANY_EXHDR(result) > SN_WORKER_ID_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("worker_id must not be longer than %d bytes",
						SN_WORKER_ID_MAX)));
	return sn_check_printable(result, "worker_id");
}

/*
 * sn_parse_time: text as a timestamp with time zone; false when it is none.
 */
#ifdef SN_SOFT_INPUT
bool
sn_parse_time(char *from, TimestampTz *result)
{
	ErrorSaveContext error = {T_ErrorSaveContext};
	Datum		datum;

	if (!DirectInputFunctionCallSafe(timestamptz_in, from, InvalidOid, -1,
									 (Node *) &error, &datum))
		return false;
	*result = DatumGetTimestampTz(datum);
	return true;
}
#else
bool
sn_parse_time(char *from, TimestampTz *result)
{
	char		room[MAXDATELEN + MAXDATEFIELDS];
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	int			nf;
	int			dtype;
	int			tz;
	struct pg_tm tm;
	fsec_t		fsec;

	if (ParseDateTime(from, room, sizeof(room), field, ftype, MAXDATEFIELDS,
					  &nf) != 0 ||
		DecodeDateTime(field, ftype, nf, &dtype, &tm, &fsec, &tz) != 0)
		return false;
	switch (dtype)
	{
		case DTK_DATE:
			return tm2timestamp(&tm, fsec, &tz, result) == 0;
		case DTK_EPOCH:
			*result = SetEpochTimestamp();
			return true;
		case DTK_LATE:
			TIMESTAMP_NOEND(*result);
			return true;
		case DTK_EARLY:
			TIMESTAMP_NOBEGIN(*result);
			return true;
		default:
			return false;
	}
}
#endif
