/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * limit_use.c
 *		consume_limit(), by which applications keep limits of their own kinds, and
 *		what the view limit_usage shows.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/args.h"
#include "base/guc.h"
#include "base/compat.h"
#include "base/result_row.h"
#include "base/sqlstate.h"
#include "base/steady.h"
#include "base/text.h"
#include "tenancy/gate.h"
#include "tenancy/limit.h"

PG_FUNCTION_INFO_V1(sentinai_consume_limit);
PG_FUNCTION_INFO_V1(sentinai_limit_buckets);
PG_FUNCTION_INFO_V1(sentinai_may_see_limit);

/* What became of a call */
typedef struct Answer
{
	bool		allowed;
	bool		limited;
	SnBucket	bucket;
	int64		wait;			/* us, or SN_BUCKET_NEVER */
	int64		now;
} Answer;

/* consume: take so much, if it is there */
static void
consume(SnLimit *limit, int64 amount, bool or_raise, Answer *answer)
{
	SnTaken		result;

	answer->limited = true;
	answer->now = sn_steady_us();
	result = sn_bucket_table_take(&limit->key, &limit->ref, amount,
								  answer->now, &answer->bucket);
	answer->allowed = result == SN_TAKEN;
	if (answer->allowed)
		return;
	if (result == SN_TAKEN_NO_ROOM)
	{
		if (or_raise)
			sn_limit_no_room(limit);
		sn_bucket_fill(&answer->bucket, limit->key.value, limit->key.window,
					   answer->now);
		answer->bucket.left = 0;	/* as far as anybody knows */
		answer->wait = SN_SECOND;
		return;
	}
	answer->wait = sn_bucket_wait(&answer->bucket, amount, answer->now);
	if (or_raise)
		sn_limit_refuse(limit, amount, &answer->bucket, answer->wait);
	sn_bucket_table_refused(&limit->key, &limit->ref);
}

/*
 * rights_to_use: one of them is needed.  What publishers are counted by is used up
 * by who may publish, and others only look.
 */
static int
rights_to_use(const text *kind, int64 amount)
{
	int			rights = SN_RIGHT_PUBLISH | SN_RIGHT_OPERATE;

	if (amount == 0 || !sn_limit_is_of_publishing(kind))
		rights |= SN_RIGHT_WORK | SN_RIGHT_READ;
	return rights;
}

/* answer_row: the answer as a row */
static Datum
answer_row(FunctionCallInfo fcinfo, const Answer *answer)
{
	Datum		values[5] = {BoolGetDatum(answer->allowed)};
	bool		nulls[5] = {false, true, true, true, true};

	if (answer->limited)
	{
		values[1] = Int64GetDatum(answer->bucket.value);
		values[2] = Int64GetDatum(answer->bucket.left);
		values[3] = Float8GetDatum(sn_limit_seconds(answer->wait));
		values[4] = TimestampTzGetDatum(sn_limit_reset_at(answer->bucket,
														  answer->now));
		memset(nulls, 0, sizeof(nulls));
		nulls[3] = answer->wait == SN_BUCKET_NEVER;
	}
	return sn_row_datum(fcinfo, values, nulls);
}

/*
 * consume_limit(tenant_id text, kind text, amount bigint, or_raise boolean,
 *		out allowed boolean, out value bigint, out remaining bigint,
 *		out retry_after double precision, out reset_at timestamptz)
 */
Datum
sentinai_consume_limit(PG_FUNCTION_ARGS)
{
	text	   *tenant_id = sn_tenant_or_every_arg(fcinfo, 0, "tenant_id");
	text	   *kind = sn_limit_kind_arg(fcinfo, 1);
	Answer		answer = {.allowed = true};
	SnLimit    *limit;
	int64		amount;

	SN_REQUIRE_ARG(2, "amount");
	SN_REQUIRE_ARG(3, "or_raise");
	PreventCommandDuringRecovery("consume_limit()");
	amount = PG_GETARG_INT64(2);
	sn_require(rights_to_use(kind, amount), tenant_id, "use limits of");
	if (amount < 0)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("amount must not be negative")));
	limit = sn_limit_bypass ? NULL :
		sn_limit_find(tenant_id, VARDATA_ANY(kind), VARSIZE_ANY_EXHDR(kind));
	if (limit != NULL)
		consume(limit, amount, PG_GETARG_BOOL(3), &answer);
	PG_RETURN_DATUM(answer_row(fcinfo, &answer));
}

/* put_bucket: a bucket as a row of limit_buckets(), if the caller may see it */
static void
put_bucket(const SnBucketView *view, void *arg)
{
	ReturnSetInfo *rsinfo = arg;
	SnBucket	bucket = view->bucket;
	int64		now = sn_steady_us();
	Datum		values[8];
	bool		nulls[8] = {false};

	if (!sn_may(SN_RIGHT_READ | SN_RIGHT_OPERATE, view->tenant_id))
		return;
	(void) sn_bucket_is_full(&bucket, now);
	values[0] = PointerGetDatum(view->tenant_id);
	values[1] = PointerGetDatum(view->kind);
	values[2] = Int64GetDatum(bucket.value);
	values[3] = Int64GetDatum(bucket.value - bucket.left);
	values[4] = TimestampTzGetDatum(sn_limit_reset_at(bucket, now));
	values[5] = Int64GetDatum(bucket.total);
	values[6] = Int64GetDatum(view->refused);
	values[7] = TimestampTzGetDatum(GetCurrentTimestamp() -
									(now - view->made_at));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* limit_buckets(): those of this database */
Datum
sentinai_limit_buckets(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	sn_bucket_table_visit(put_bucket, fcinfo->resultinfo);
	return (Datum) 0;
}

/* may_see_limit(tenant_id text) returns boolean: for the views, of each row */
Datum
sentinai_may_see_limit(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!PG_ARGISNULL(0) &&
				   sn_may(SN_RIGHT_READ | SN_RIGHT_OPERATE,
						  sn_whose(PG_GETARG_TEXT_PP(0))));
}
