/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * ask.c
 *		The gate for SQL: may(), and the filters of views.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/args.h"
#include "base/sqlstate.h"
#include "base/text.h"
#include "tenancy/gate.h"
#include "tenancy/grant_row.h"

PG_FUNCTION_INFO_V1(sentinai_may);
PG_FUNCTION_INFO_V1(sentinai_may_read);
PG_FUNCTION_INFO_V1(sentinai_may_see_letter);
PG_FUNCTION_INFO_V1(sentinai_may_audit);
PG_FUNCTION_INFO_V1(sentinai_may_see_worker_type);

/* may(right text, tenant text) returns boolean */
Datum
sentinai_may(PG_FUNCTION_ARGS)
{
	text	   *tenant_id;
	int			right;

	SN_REQUIRE_ARG(0, "right");
	SN_REQUIRE_ARG(1, "tenant");
	right = sn_right_of(PG_GETARG_TEXT_PP(0));
	tenant_id = PG_GETARG_TEXT_PP(1);
	if (right == 0)
		sn_unknown_right();
	if (right == SN_RIGHT_ADMIN)
		PG_RETURN_BOOL(sn_gate_is_admin());
	PG_RETURN_BOOL(sn_may(right, sn_text_is(tenant_id, "*") ? NULL :
						  tenant_id));
}

/* tenant_of: the argument of a filter; NULL: of no tenant, so of every one's */
static const text *
tenant_of(FunctionCallInfo fcinfo)
{
	return PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
}

/* may_read(tenant_id text) returns boolean */
Datum
sentinai_may_read(PG_FUNCTION_ARGS)
{
	if (!sn_gate_asks())
		PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(sn_gate_may(SN_RIGHT_READ, tenant_of(fcinfo)));
}

/* may_see_letter(tenant_id text) returns boolean */
Datum
sentinai_may_see_letter(PG_FUNCTION_ARGS)
{
	if (!sn_gate_asks())
		PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(sn_gate_may(SN_RIGHT_READ | SN_RIGHT_OPERATE,
							   tenant_of(fcinfo)));
}

/* may_audit(tenant_id text) returns boolean */
Datum
sentinai_may_audit(PG_FUNCTION_ARGS)
{
	if (!sn_gate_asks())
		PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(sn_gate_may(SN_RIGHT_AUDIT, tenant_of(fcinfo)));
}

/* may_see_worker_type(worker_type text) returns boolean */
Datum
sentinai_may_see_worker_type(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!PG_ARGISNULL(0) &&
				   sn_gate_may_watch(PG_GETARG_TEXT_PP(0)));
}
