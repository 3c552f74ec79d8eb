/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * partition_call.c
 *		make_partitions() and index_partitions(): people ask for what maintenance
 *		would make, or would not.
 *
 * Partitions are everybody's, and so are the locks that are held on them until
 * the transaction ends.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/args.h"
#include "base/sqlstate.h"
#include "store/partition.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_make_partitions);
PG_FUNCTION_INFO_V1(sentinai_index_partitions);

/* make_partitions(until timestamptz) returns int */
Datum
sentinai_make_partitions(PG_FUNCTION_ARGS)
{
	TimestampTz until;

	PreventCommandIfReadOnly("make_partitions()");
	SN_REQUIRE_ARG(0, "time");
	sn_require_every("make partitions");
	until = PG_GETARG_TIMESTAMPTZ(0);
	if (TIMESTAMP_NOT_FINITE(until))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("time must be finite")));
	PG_RETURN_INT32(sn_make_all_partitions(until));
}

/* index_partitions(max_partitions int) returns int */
Datum
sentinai_index_partitions(PG_FUNCTION_ARGS)
{
	int			max_partitions;

	SN_REQUIRE_ARG(0, "max_partitions");
	max_partitions = PG_GETARG_INT32(0);
	if (max_partitions < 1)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("max_partitions must be at least 1")));
	PreventCommandIfReadOnly("index_partitions()");
	sn_require_every("make indexes of partitions");
	PG_RETURN_INT32(sn_index_partitions(max_partitions));
}
