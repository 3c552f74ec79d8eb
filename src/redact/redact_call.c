/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_call.c
 *		redacted_payload() and redacted_error(): for who stores what he publishes,
 *		or what has failed, in tables of his own.
 *
 * They say what would become of a value.  With a hash that could be asked of
 * every value that there may be, so it is only for those who have a right for
 * the tenant with which they could have it published.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/args.h"
#include "base/guc.h"
#include "base/json_size.h"
#include "base/sqlstate.h"
#include "redact/redact.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_redacted_payload);
PG_FUNCTION_INFO_V1(sentinai_redacted_error);

/* require_redactable: whose event it is, and of which type; the caller has a right */
static void
require_redactable(FunctionCallInfo fcinfo)
{
	SN_REQUIRE_ARG(0, "tenant_id");
	SN_REQUIRE_ARG(1, "event_type");
	sn_require(SN_RIGHT_PUBLISH | SN_RIGHT_WORK, PG_GETARG_TEXT_PP(0),
			   "publish or work for");
}

/* redacted_payload(tenant_id text, event_type text, payload jsonb) returns jsonb */
Datum
sentinai_redacted_payload(PG_FUNCTION_ARGS)
{
	Datum		payload;

	require_redactable(fcinfo);
	SN_REQUIRE_ARG(2, "payload");
	payload = PG_GETARG_DATUM(2);
	if (!sn_redact_asks())
		PG_RETURN_DATUM(payload);
	/* deeper or larger than an event may be, nobody looks into it */
	if (sn_json_fit_stored(payload) != SN_JSON_FITS)
		ereport(ERROR,
				(errcode(ERRCODE_SN_TOO_LARGE),
				 errmsg("payload is larger, or nested deeper, than one of an event may be")));
	PG_RETURN_JSONB_P(sn_redact_payload(PG_GETARG_TEXT_PP(0),
										PG_GETARG_TEXT_PP(1),
										DatumGetJsonbP(payload),
										(Size) sn_max_payload * 1024));
}

/* redacted_error(tenant_id text, event_type text, error text) returns text */
Datum
sentinai_redacted_error(PG_FUNCTION_ARGS)
{
	text	   *error;

	require_redactable(fcinfo);
	SN_REQUIRE_ARG(2, "error");
	error = PG_GETARG_TEXT_PP(2);
	if (sn_redact_asks())
		error = sn_redact_error(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1),
								error);
	PG_RETURN_TEXT_P(error);
}
