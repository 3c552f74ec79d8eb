/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * request.c
 *		What a subscription shall be: the checked arguments of subscribe() and
 *		alter_subscription(), and what a caller is told about them.
 *
 * subscribe() says all that a subscription is.  Called again it sets all of it
 * again, what was left out to its default, so it tells what has changed by that.
 * alter_subscription() begins with what the subscription is.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "base/args.h"
#include "log/event_check.h"
#include "queue/filter.h"
#include "queue/request.h"
#include "tenancy/action.h"

#define MAX_ATTEMPTS		1000
#define MAX_BACKOFF			100
#define SHOWN_NAMES			10	/* in a notice */

/* check_not_relay: the relay's subscription is its own */
static void
check_not_relay(const text *name)
{
	if (sn_text_is(name, SN_RELAY_WORKER_TYPE))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("worker_type \"%s\" is reserved",
						SN_RELAY_WORKER_TYPE)));
}

/* check_one_dimension: an array argument that is a plain list */
static int
check_one_dimension(ArrayType *array, const char *name, int max)
{
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	if (n == 0 || ARR_NDIM(array) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("%s must have one dimension and not be empty", name)));
	if (n > max)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("%s must not have more than %d elements", name, max)));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not contain nulls", name)));
	return n;
}

/* sn_request_names: a part of the filter, sorted and each name once; null for all */
void
sn_request_names(FunctionCallInfo fcinfo, int argno, const char *name,
				 text *(*check) (Datum, const char *), SnNames *names)
{
	const char *element = psprintf("element of %s", name);
	ArrayType  *array;
	Datum	   *elems;
	int			n;
	int			i;

	names->n = -1;
	if (PG_NARGS() <= argno || PG_ARGISNULL(argno))
		return;					/* all, or a function from before an update */
	array = PG_GETARG_ARRAYTYPE_P(argno);
	n = check_one_dimension(array, name, SN_FILTER_NAMES_MAX);
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL,
					  &n);
	for (i = 0; i < n; i++)
		(void) check(elems[i], element);
	sn_names_of(elems, n, names);
}

/* sn_request_start: 'latest', 'earliest' or a time */
void
sn_request_start(const text *value, SnRequest *request)
{
	char	   *from = text_to_cstring(value);

	request->start_time = DT_NOBEGIN;
	if (strcmp(from, "latest") == 0)
		request->start_from = SN_START_LATEST;
	else if (strcmp(from, "earliest") == 0)
		request->start_from = SN_START_EARLIEST;
	else if (sn_parse_time(from, &request->start_time) &&
			 !TIMESTAMP_NOT_FINITE(request->start_time))
		request->start_from = SN_START_TIME;
	else
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("start_from must be \"latest\", \"earliest\" or a timestamp")));
}

/* sn_check_policy: attempts and waits */
void
sn_check_policy(int max_attempts, ArrayType *backoff)
{
	int			n = check_one_dimension(backoff, "backoff", MAX_BACKOFF);
	Interval   *waits = (Interval *) ARR_DATA_PTR(backoff);
	int			i;

	if (max_attempts < 1 || max_attempts > MAX_ATTEMPTS)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("max_attempts must be between 1 and %d",
						MAX_ATTEMPTS)));
	for (i = 0; i < n; i++)
		(void) sn_duration(&waits[i], "backoff", 0, SN_YEAR);
}

/* check_on_dead: 'skip' or 'block' */
static void
check_on_dead(text *on_dead, SnRequest *request)
{
	char	   *value = text_to_cstring(on_dead);

	if (strcmp(value, "skip") != 0 && strcmp(value, "block") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("on_dead must be \"skip\" or \"block\"")));
	request->on_dead = on_dead;
	request->block = strcmp(value, "block") == 0;
}

/* check_claims: how long and how much of it one agent may hold */
static void
check_claims(const SnRequest *request)
{
	(void) sn_duration(request->max_lease, "max_lease", 1, SN_DAY);
	if (request->max_lanes < 1 || request->max_lanes > SN_MAX_LANES)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("max_lanes must be between 1 and %d",
						SN_MAX_LANES)));
}

/* subscribe_claims: the same as subscribe() is given it */
static void
subscribe_claims(FunctionCallInfo fcinfo, SnRequest *request)
{
	static Interval day = {.day = 1};

	request->max_lease = &day;
	request->max_lanes = SN_MAX_LANES;
	if (PG_NARGS() <= 9)
		return;					/* a function from before an update */
	SN_REQUIRE_ARG(8, "max_lease");
	SN_REQUIRE_ARG(9, "max_lanes");
	request->max_lease = PG_GETARG_INTERVAL_P(8);
	request->max_lanes = PG_GETARG_INT32(9);
	check_claims(request);
}

/* alter_claims: the same as alter_subscription() is given it */
static void
alter_claims(FunctionCallInfo fcinfo, const Datum *row, SnRequest *request)
{
	if (PG_NARGS() <= 10)
	{
		subscribe_claims(fcinfo, request);
		return;
	}
	request->max_lease =
		DatumGetIntervalP(PG_ARGISNULL(9) ? row[Anum_sub_max_lease - 1] :
						  PG_GETARG_DATUM(9));
	request->max_lanes =
		DatumGetInt32(PG_ARGISNULL(10) ? row[Anum_sub_max_lanes - 1] :
					  PG_GETARG_DATUM(10));
	check_claims(request);
}

/* sn_request_subscribe: the arguments of subscribe() */
void
sn_request_subscribe(FunctionCallInfo fcinfo, SnRequest *request)
{
	SN_REQUIRE_ARG(0, "worker_type");
	SN_REQUIRE_ARG(2, "start_from");
	SN_REQUIRE_ARG(3, "max_attempts");
	SN_REQUIRE_ARG(4, "backoff");
	SN_REQUIRE_ARG(5, "on_dead");
	SN_REQUIRE_ARG(6, "ordered");
	request->worker_type = sn_check_worker_type(PG_GETARG_TEXT_PP(0));
	request->is_relay = false;
	check_not_relay(request->worker_type);
	request->keeps_types = request->keeps_tenants = false;
	sn_request_names(fcinfo, 1, "event_types", sn_event_type_arg,
					 &request->filter.types);
	sn_request_names(fcinfo, 7, "tenants", sn_tenant_arg,
					 &request->filter.tenants);
	request->filter.aggregate_types.n = -1;
	sn_request_start(PG_GETARG_TEXT_PP(2), request);
	request->max_attempts = PG_GETARG_INT32(3);
	request->backoff = PG_GETARG_ARRAYTYPE_P(4);
	sn_check_policy(request->max_attempts, request->backoff);
	check_on_dead(PG_GETARG_TEXT_PP(5), request);
	request->ordered = PG_GETARG_BOOL(6);
	subscribe_claims(fcinfo, request);
}

/*
 * alter_names: a part of the filter as alter_subscription() is given it.  Returns
 * whether it stays as it is.
 */
static bool
alter_names(FunctionCallInfo fcinfo, int argno, const char *name,
			int all_argno, text *(*check) (Datum, const char *),
			SnNames *names)
{
	bool		all = PG_NARGS() > all_argno && PG_GETARG_BOOL(all_argno);

	if (all && !PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("%s and all_%s cannot be given together", name, name)));
	sn_request_names(fcinfo, argno, name, check, names);
	return !all && names->n < 0;
}

/*
 * sn_request_alter: the arguments of alter_subscription(): what was named, and
 * the rest as the subscription's row has it
 */
void
sn_request_alter(FunctionCallInfo fcinfo, const Datum *row,
				 SnRequest *request)
{
	SN_REQUIRE_ARG(6, "all_event_types");
	if (PG_NARGS() > 8)
		SN_REQUIRE_ARG(8, "all_tenants");
	request->keeps_types = alter_names(fcinfo, 1, "event_types", 6,
									   sn_event_type_arg,
									   &request->filter.types);
	request->keeps_tenants = alter_names(fcinfo, 7, "tenants", 8,
										 sn_tenant_arg,
										 &request->filter.tenants);
	request->filter.aggregate_types.n = -1;
	request->max_attempts = DatumGetInt32(PG_ARGISNULL(2) ?
										  row[Anum_sub_max_attempts - 1] :
										  PG_GETARG_DATUM(2));
	request->backoff = DatumGetArrayTypeP(PG_ARGISNULL(3) ?
										  row[Anum_sub_backoff - 1] :
										  PG_GETARG_DATUM(3));
	sn_check_policy(request->max_attempts, request->backoff);
	check_on_dead(DatumGetTextPP(PG_ARGISNULL(4) ? row[Anum_sub_on_dead - 1] :
								 PG_GETARG_DATUM(4)), request);
	request->ordered = DatumGetBool(PG_ARGISNULL(5) ?
									row[Anum_sub_ordered - 1] :
									PG_GETARG_DATUM(5));
	alter_claims(fcinfo, row, request);
}

/* sn_request_note_start: tell when another start than the one in force was asked for */
void
sn_request_note_start(const SnRequest *request, const SnSub *sub)
{
	bool		same;

	if (request->start_from == SN_START_TIME)
		same = request->start_time == sub->start_time;
	else if (request->start_from == SN_START_EARLIEST)
		same = sub->start_pos == 0 && sub->start_xmax < 0;
	else
		same = true;			/* the default: not asked for */
	if (!same)
		ereport(NOTICE,
				(errmsg("start_from is ignored: the subscription exists already"),
				 errhint("To begin anew, call unsubscribe() first.")));
}

/* names_text: a part of a filter, the first of its names if there are many */
static char *
names_text(const SnNames *names)
{
	StringInfoData text;
	int			i;

	if (names->n < 0)
		return "all";
	initStringInfo(&text);
	for (i = 0; i < names->n && i < SHOWN_NAMES; i++)
		appendStringInfo(&text, "%s%s", i == 0 ? "{" : ",",
						 text_to_cstring(names->names[i]));
	if (i < names->n)
		appendStringInfo(&text, ",... %d more", names->n - i);
	appendStringInfoChar(&text, '}');
	return text.data;
}

/* note_change: append what a setting was and is, if that is not the same */
static void
note_change(StringInfo changes, const char *name, const char *before,
			const char *now)
{
	if (strcmp(before, now) == 0)
		return;
	appendStringInfo(changes, "%s%s: %s before, %s now",
					 changes->len > 0 ? "; " : "", name, before, now);
}

/* note_names: append what a part of the filter was and is, likewise */
static void
note_names(StringInfo changes, const char *name, const SnNames *before,
		   const SnNames *now)
{
	if (!sn_names_equal(before, now))
		appendStringInfo(changes, "%s%s: %s before, %s now",
						 changes->len > 0 ? "; " : "", name,
						 names_text(before), names_text(now));
}

/* sn_lease_text: a longest lease; a row of before an update has none */
char *
sn_lease_text(Datum max_lease)
{
	return DatumGetPointer(max_lease) == NULL ? "1 day" :
		sn_action_value(F_INTERVAL_OUT, max_lease);
}

/* sn_request_changes: what a request changes of a subscription; "" for nothing */
char *
sn_request_changes(const SnRequest *request, const SnSub *sub,
				   const Datum *row)
{
	const SnFilter *filter = &sub->segments[sub->nsegments - 1].filter;
	StringInfoData changes;

	initStringInfo(&changes);
	note_names(&changes, "event_types", &filter->types,
			   &request->filter.types);
	note_names(&changes, "tenants", &filter->tenants,
			   &request->filter.tenants);
	note_change(&changes, "max_attempts", psprintf("%d", sub->policy.max_attempts),
				psprintf("%d", request->max_attempts));
	note_change(&changes, "backoff",
				OidOutputFunctionCall(F_ARRAY_OUT, row[Anum_sub_backoff - 1]),
				OidOutputFunctionCall(F_ARRAY_OUT,
									  PointerGetDatum(request->backoff)));
	note_change(&changes, "on_dead", sub->block ? "block" : "skip",
				request->block ? "block" : "skip");
	note_change(&changes, "ordered", sub->ordered ? "true" : "false",
				request->ordered ? "true" : "false");
	note_change(&changes, "max_lease",
				sn_lease_text(row[Anum_sub_max_lease - 1]),
				sn_lease_text(IntervalPGetDatum(request->max_lease)));
	note_change(&changes, "max_lanes", psprintf("%d", sub->max_lanes),
				psprintf("%d", request->max_lanes));
	return changes.data;
}

/* sn_request_note_changes: tell what has been changed, if anything */
void
sn_request_note_changes(const SnRequest *request, const char *changes)
{
	if (changes[0] != '\0')
		ereport(NOTICE,
				(errmsg("subscription \"%s\" existed and has changed",
						text_to_cstring(request->worker_type)),
				 errdetail("%s.", changes),
				 errhint("alter_subscription() changes only what it is given.")));
}
