/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * threshold.c
 *		set_sla_threshold(): when tenants are warned of their deadlines.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "base/sqlstate.h"
#include "sla/deadline.h"
#include "sla/query.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_set_sla_threshold);

#define THRESHOLD_DEFAULT 0.8

/* sn_check_threshold: a share of a time, and not none of it */
void
sn_check_threshold(float8 threshold)
{
	if (isnan(threshold) || threshold <= 0 || threshold > 1)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("threshold must be more than 0 and at most 1")));
}

/* first_float: the value that a query has read, or another */
static float8
first_float(int n, float8 otherwise)
{
	bool		isnull;

	if (n == 0)
		return otherwise;
	return DatumGetFloat8(sn_query_datum(0, 1, &isnull));
}

/* sn_threshold_of: a tenant's own, or everybody's, or the default */
float8
sn_threshold_of(text *tenant_id)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {PointerGetDatum(tenant_id)};

	return first_float(sn_query_run("select t.threshold from sentinai_internal.sla_threshold t"
									" where t.tenant_id in ($1, '*') order by t.tenant_id = '*' limit 1",
									1, types, values, NULL),
					   THRESHOLD_DEFAULT);
}

/* threshold_json: for the action log; NULL: there is none */
static Jsonb *
threshold_json(bool isnull, float8 threshold)
{
	if (isnull)
		return NULL;
	return sn_action_json("threshold",
						  sn_action_value(F_FLOAT8OUT, Float8GetDatum(threshold)),
						  NULL);
}

/* take_threshold: what a tenant has until now, which goes; -1: none */
static float8
take_threshold(text *tenant_id)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {PointerGetDatum(tenant_id)};

	return first_float(sn_query_run("delete from sentinai_internal.sla_threshold t"
									" where t.tenant_id = $1 returning t.threshold",
									1, types, values, NULL), -1);
}

/* put_threshold: what it has from now on */
static void
put_threshold(text *tenant_id, float8 threshold)
{
	Oid			types[] = {TEXTOID, FLOAT8OID, TIMESTAMPTZOID, TEXTOID};
	Datum		values[] = {PointerGetDatum(tenant_id), Float8GetDatum(threshold),
		TimestampTzGetDatum(GetCurrentTimestamp()),
		PointerGetDatum(sn_session_role())};

	(void) sn_query_run("insert into sentinai_internal.sla_threshold (tenant_id, threshold, changed_at, changed_by)"
						" values ($1, $2, $3, $4) on conflict (tenant_id)"
						" do update set threshold = $2, changed_at = $3, changed_by = $4",
						lengthof(types), types, values, NULL);
}

/* set_sla_threshold(tenant_id text, threshold float8) returns void */
Datum
sentinai_set_sla_threshold(PG_FUNCTION_ARGS)
{
	text	   *tenant_id = sn_tenant_or_every_arg(fcinfo, 0, "tenant_id");
	SnAction	action = {.action = "set_sla_threshold"};
	SnQuery		query;
	float8		before;

	PreventCommandIfReadOnly("set_sla_threshold()");
	sn_require(SN_RIGHT_OPERATE, sn_whose(tenant_id), "set thresholds for");
	if (!PG_ARGISNULL(1))
		sn_check_threshold(PG_GETARG_FLOAT8(1));
	sn_query_begin(&query);
	before = take_threshold(tenant_id);
	if (!PG_ARGISNULL(1))
		put_threshold(tenant_id, PG_GETARG_FLOAT8(1));
	sn_query_end(&query);
	action.tenant_id = tenant_id;
	action.object = "sla_threshold";
	action.before = threshold_json(before < 0, before);
	action.after = threshold_json(PG_ARGISNULL(1),
								  PG_ARGISNULL(1) ? 0 : PG_GETARG_FLOAT8(1));
	sn_action_record(&action);
	PG_RETURN_VOID();
}
