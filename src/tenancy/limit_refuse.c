/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * limit_refuse.c
 *		What a caller is told who is over a limit.
 *
 * The detail is a JSON object, so that a gateway can answer with the headers of
 * its protocol.  Times are told by the wall clock, and measured by one that
 * nobody sets.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "base/args.h"
#include "base/sqlstate.h"
#include "base/steady.h"
#include "tenancy/limit.h"

/* sn_limit_seconds: a wait in seconds, to the millisecond, never too short */
double
sn_limit_seconds(int64 wait)
{
	int64		milliseconds = (wait + 999) / 1000;

	return milliseconds / 1000.0;
}

/* sn_limit_reset_at: when a bucket is full again if nobody takes anything */
TimestampTz
sn_limit_reset_at(SnBucket bucket, int64 now)
{
	return GetCurrentTimestamp() + sn_bucket_wait(&bucket, bucket.value, now);
}

/* put_detail: the limit, what there is of it and when there is more */
static char *
put_detail(const SnLimit *limit, int64 n, const SnBucket *bucket, int64 wait)
{
	TimestampTz reset_at = sn_limit_reset_at(*bucket, sn_steady_us());
	char		room[MAXDATELEN + 1];
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"kind\": \"%.*s\", \"limit\": " INT64_FORMAT
					 ", \"window\": %.15g, \"current\": " INT64_FORMAT
					 ", \"requested\": " INT64_FORMAT,
					 limit->key.kind_len, limit->key.kind, bucket->value,
					 bucket->window / (double) SN_SECOND,
					 bucket->value - bucket->left, n);
	if (wait == SN_BUCKET_NEVER)
		appendStringInfoString(&json, ", \"retry_after\": null");
	else
		appendStringInfo(&json, ", \"retry_after\": %.3f",
						 sn_limit_seconds(wait));
	JsonEncodeDateTime(room, TimestampTzGetDatum(reset_at), TIMESTAMPTZOID,
					   NULL);
	appendStringInfo(&json, ", \"reset_at\": \"%s\"}", room);
	return json.data;
}

/* sn_limit_refuse: n units are not there, and the caller has to wait, or never to try */
void
sn_limit_refuse(SnLimit *limit, int64 n, const SnBucket *bucket, int64 wait)
{
	const char *tenant = pnstrdup(limit->key.tenant, limit->key.tenant_len);
	const char *kind = pnstrdup(limit->key.kind, limit->key.kind_len);

	sn_bucket_table_refused(&limit->key, &limit->ref);
	if (wait == SN_BUCKET_NEVER)
		ereport(ERROR,
				(errcode(ERRCODE_SN_LIMIT),
				 errmsg("limit \"%s\" of tenant \"%s\" can never allow this call",
						kind, tenant),
				 errdetail_internal("%s", put_detail(limit, n, bucket, wait)),
				 errhint("It needs more at once than the limit is. Make smaller calls, or set a higher limit.")));
	ereport(ERROR,
			(errcode(ERRCODE_SN_LIMIT),
			 errmsg("limit \"%s\" of tenant \"%s\" is reached", kind, tenant),
			 errdetail_internal("%s", put_detail(limit, n, bucket, wait)),
			 errhint("Try again after \"retry_after\" seconds.")));
	pg_unreachable();
}

/* sn_limit_no_room: what cannot be counted cannot be allowed */
void
sn_limit_no_room(const SnLimit *limit)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_LIMIT),
			 errmsg("limit \"%s\" of tenant \"%s\" cannot be counted",
					pnstrdup(limit->key.kind, limit->key.kind_len),
					pnstrdup(limit->key.tenant, limit->key.tenant_len)),
			 errdetail_internal("{\"kind\": \"%s\", \"limit\": " INT64_FORMAT ", \"window\": %.15g, \"current\": null, \"requested\": null, \"retry_after\": 1, \"reset_at\": null}",
								pnstrdup(limit->key.kind, limit->key.kind_len),
								limit->key.value,
								limit->key.window / (double) SN_SECOND),
			 errhint("The server counts up to 256 kinds of a tenant, and as many tenants and kinds as sentinai.limit_buckets says, and all of them have used something of their limits. Use fewer kinds, raise it, or make windows shorter.")));
	pg_unreachable();
}
