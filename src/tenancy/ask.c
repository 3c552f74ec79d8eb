/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * ask.c
 *		The gate for SQL: may(), the filters of views, and arguments that name a
 *		tenant.
 */
#include "postgres.h"

#include "access/transam.h"
#include "fmgr.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/printable.h"
#include "base/sqlstate.h"
#include "base/text.h"
#include "tenancy/gate.h"
#include "tenancy/grant_row.h"

PG_FUNCTION_INFO_V1(sentinai_may);
PG_FUNCTION_INFO_V1(sentinai_may_read);
PG_FUNCTION_INFO_V1(sentinai_may_see_letter);
PG_FUNCTION_INFO_V1(sentinai_may_audit);

#define LETTER_RIGHTS	(SN_RIGHT_READ | SN_RIGHT_OPERATE)

/* sn_tenant_or_every_arg: the name of a tenant, or "*" */
text *
sn_tenant_or_every_arg(FunctionCallInfo fcinfo, int n, const char *name)
{
	text	   *tenant_id = sn_check_printable(sn_text_arg(fcinfo, n, name,
														   SN_TENANT_NAME_MAX),
											   name);

	if (memchr(VARDATA_ANY(tenant_id), ':', VARSIZE_ANY_EXHDR(tenant_id)))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("%s must not contain \":\"", name)));
	return tenant_id;
}

/* sn_whose: a tenant that was named, for the gate; NULL: every one */
const text *
sn_whose(const text *tenant_id)
{
	return sn_text_is(tenant_id, SN_EVERY) ? NULL : tenant_id;
}

/* may(right text, tenant text) returns boolean */
Datum
sentinai_may(PG_FUNCTION_ARGS)
{
	int			right;

	SN_REQUIRE_ARG(0, "right");
	SN_REQUIRE_ARG(1, "tenant");
	right = sn_right_of(PG_GETARG_TEXT_PP(0));
	if (right == 0)
		sn_unknown_right();
	if (right == SN_RIGHT_ADMIN)
		PG_RETURN_BOOL(sn_gate_is_admin());
	PG_RETURN_BOOL(sn_may(right, sn_whose(PG_GETARG_TEXT_PP(1))));
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
	PG_RETURN_BOOL(sn_may(SN_RIGHT_READ, tenant_of(fcinfo)));
}

/* may_see_letter(tenant_id text) returns boolean */
Datum
sentinai_may_see_letter(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(sn_may(LETTER_RIGHTS, tenant_of(fcinfo)));
}

/* may_audit(tenant_id text) returns boolean */
Datum
sentinai_may_audit(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(sn_may(SN_RIGHT_AUDIT, tenant_of(fcinfo)));
}

/*
 * sn_filter_rights: the rights of which one is needed for a filter, under whatever
 * name; 0: the function is none
 */
int
sn_filter_rights(Oid function)
{
	FmgrInfo	info;

	if (function < FirstNormalObjectId)
		return 0;
	fmgr_info(function, &info);
	return info.fn_addr == sentinai_may_read ? SN_RIGHT_READ :
		info.fn_addr == sentinai_may_see_letter ? LETTER_RIGHTS :
		info.fn_addr == sentinai_may_audit ? SN_RIGHT_AUDIT : 0;
}
