/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * backlog_limit.c
 *		set_backlog_limit() and drop_backlog_limit(): rows of table backlog_limit.
 *
 * Who changes a row holds the lock of limits (lock.c) until the transaction
 * ends, and looks under a snapshot that was taken with it.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/sqlstate.h"
#include "base/text.h"
#include "queue/backlog_limit.h"
#include "queue/subscription.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"
#include "tenancy/hold.h"
#include "tenancy/limit.h"
#include "tenancy/pressure.h"

#define BACKLOG_MAX		INT64CONST(1000000000000)
#define MAX_DELAY_MAX	(60 * SN_SECOND)

PG_FUNCTION_INFO_V1(sentinai_set_backlog_limit);
PG_FUNCTION_INFO_V1(sentinai_drop_backlog_limit);
PG_FUNCTION_INFO_V1(sentinai_backlog_limit_changed);

/* limit_of: the row of a limit, or an empty one; the lock is held */
static SnBacklogLimit *
limit_of(const text *worker_type, const text *tenant_id)
{
	List	   *rows = sn_backlog_limits(worker_type, tenant_id);

	return rows == NIL ? NULL : linitial(rows);
}

/* what_it_is: a limit, for the action log */
static Jsonb *
what_it_is(const SnBacklogLimit *limit)
{
	const Datum *values = limit->values;

	return sn_action_json("max_backlog", psprintf(INT64_FORMAT,
												  DatumGetInt64(values[Anum_pressure_max_backlog - 1])),
						  "policy", TextDatumGetCString(values[Anum_pressure_policy - 1]),
						  "max_delay", sn_action_value(F_INTERVAL_OUT,
													   values[Anum_pressure_max_delay - 1]),
						  NULL);
}

/* record_backlog_limit: note in the action log what a limit was and is */
static void
record_backlog_limit(const char *action, const text *worker_type,
					 const text *tenant_id, Jsonb *before, Jsonb *after)
{
	SnAction	done = {.action = action,
		.tenant_id = tenant_id,
		.worker_type = worker_type,
	.object = text_to_cstring(worker_type), .before = before, .after = after};

	sn_action_record(&done);
}

/* limited_tenant_arg: whose backlog; only who operates for them may limit it */
static text *
limited_tenant_arg(FunctionCallInfo fcinfo, int n)
{
	text	   *tenant_id = sn_tenant_or_every_arg(fcinfo, n, "tenant_id");

	sn_require(SN_RIGHT_OPERATE, sn_whose(tenant_id), "set limits for");
	return tenant_id;
}

/* check_backlog_limit: the arguments that say what the limit is */
static void
check_backlog_limit(FunctionCallInfo fcinfo)
{
	int64		max_backlog;
	text	   *policy;

	SN_REQUIRE_ARG(2, "max_backlog");
	SN_REQUIRE_ARG(3, "policy");
	SN_REQUIRE_ARG(4, "max_delay");
	max_backlog = PG_GETARG_INT64(2);
	if (max_backlog < 1 || max_backlog > BACKLOG_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("max_backlog must be from 1 to " INT64_FORMAT,
						BACKLOG_MAX)));
	policy = PG_GETARG_TEXT_PP(3);
	if (!sn_text_is(policy, SN_PRESSURE_REFUSE) &&
		!sn_text_is(policy, SN_PRESSURE_DELAY))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("policy must be \"%s\" or \"%s\"", SN_PRESSURE_REFUSE,
						SN_PRESSURE_DELAY)));
	if (sn_duration(PG_GETARG_INTERVAL_P(4), "max_delay", 1, SN_YEAR) >
		MAX_DELAY_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("max_delay must not be longer than a minute")));
}

/*
 * set_backlog_limit(worker_type text, tenant_id text, max_backlog bigint,
 *		policy text, max_delay interval)
 */
Datum
sentinai_set_backlog_limit(PG_FUNCTION_ARGS)
{
	SnBacklogLimit *limit;
	Jsonb	   *before = NULL;
	text	   *worker_type;
	text	   *tenant_id;

	SN_REQUIRE_ARG(0, "worker_type");
	worker_type = PG_GETARG_TEXT_PP(0);
	tenant_id = limited_tenant_arg(fcinfo, 1);
	check_backlog_limit(fcinfo);
	PreventCommandIfReadOnly("set_backlog_limit()");
	if (!sn_sub_may_watch(sn_sub_by_name(worker_type)))
		sn_unknown_worker_type(worker_type);	/* nor hear that it is there */
	(void) sn_sub_require(worker_type);
	(void) sn_lock_limits(true);
	sn_hold_briefly();
	limit = limit_of(worker_type, tenant_id);
	if (limit != NULL)
		before = what_it_is(limit);
	else
	{
		limit = palloc0(sizeof(SnBacklogLimit));
		ItemPointerSetInvalid(&limit->tid);
		limit->nulls[Anum_pressure_over_since - 1] = true;
		limit->nulls[Anum_pressure_event_types - 1] = true;
		limit->nulls[Anum_pressure_tenants - 1] = true;
		limit->nulls[Anum_pressure_backlog - 1] = true;
	}
	limit->values[Anum_pressure_worker_type - 1] = PointerGetDatum(worker_type);
	limit->values[Anum_pressure_tenant_id - 1] = PointerGetDatum(tenant_id);
	limit->values[Anum_pressure_max_backlog - 1] = PG_GETARG_DATUM(2);
	limit->values[Anum_pressure_policy - 1] = PG_GETARG_DATUM(3);
	limit->values[Anum_pressure_max_delay - 1] = PG_GETARG_DATUM(4);
	limit->values[Anum_pressure_changed_at - 1] =
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	limit->values[Anum_pressure_changed_by - 1] =
		PointerGetDatum(sn_session_role());
	record_backlog_limit("set_backlog_limit", worker_type, tenant_id, before,
						 what_it_is(limit));
	sn_backlog_limit_write(limit);
	PG_RETURN_VOID();
}

/* drop_backlog_limit(worker_type text, tenant_id text) returns boolean */
Datum
sentinai_drop_backlog_limit(PG_FUNCTION_ARGS)
{
	SnBacklogLimit *limit;
	text	   *worker_type;
	text	   *tenant_id;

	SN_REQUIRE_ARG(0, "worker_type");
	worker_type = PG_GETARG_TEXT_PP(0);
	tenant_id = limited_tenant_arg(fcinfo, 1);
	PreventCommandIfReadOnly("drop_backlog_limit()");
	(void) sn_lock_limits(true);
	sn_hold_briefly();
	limit = limit_of(worker_type, tenant_id);
	if (limit == NULL)
		PG_RETURN_BOOL(false);
	record_backlog_limit("drop_backlog_limit", worker_type, tenant_id,
						 what_it_is(limit), NULL);
	sn_delete_one(SN_BACKLOG_LIMIT, &limit->tid);
	sn_pressure_changed();
	if (limit->over)
		sn_backlog_tell(limit, SN_TYPE_BACKPRESSURE_OVER, -1);
	PG_RETURN_BOOL(true);
}

/* backlog_limit_changed(): trigger of table backlog_limit, as limit_changed() */
Datum
sentinai_backlog_limit_changed(PG_FUNCTION_ARGS)
{
	sn_require_trigger(fcinfo, "backlog_limit_changed");
	sn_pressure_changed();
	PG_RETURN_POINTER(NULL);
}
