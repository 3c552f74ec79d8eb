/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * partition_key.c
 *		Partition key of an event and what follows from it, for SQL and for
 *		publish.  Databases are UTF-8 (CREATE EXTENSION refuses others), so the
 *		key's bytes are those of any Kafka client, and its hash is, too.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/hash.h"
#include "log/event.h"

PG_FUNCTION_INFO_V1(sentinai_get_partition_key);
PG_FUNCTION_INFO_V1(sentinai_partition_hash);
PG_FUNCTION_INFO_V1(sentinai_partition_for);

/* join_key: "tenant:aggregate", or the tenant alone; dest has the room */
static Size
join_key(char *dest, const text *tenant_id, const text *aggregate_id)
{
	Size		len = VARSIZE_ANY_EXHDR(tenant_id);

	memcpy(dest, VARDATA_ANY(tenant_id), len);
	if (aggregate_id == NULL)
		return len;
	dest[len++] = ':';
	memcpy(dest + len, VARDATA_ANY(aggregate_id),
		   VARSIZE_ANY_EXHDR(aggregate_id));
	return len + VARSIZE_ANY_EXHDR(aggregate_id);
}

/* key_size: bytes that join_key() may need */
static Size
key_size(const text *tenant_id, const text *aggregate_id)
{
	Size		size = VARSIZE_ANY_EXHDR(tenant_id) + 1 +
		(aggregate_id ? VARSIZE_ANY_EXHDR(aggregate_id) : 0);

	if (size > MaxAllocSize - VARHDRSZ)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("partition key is too long")));
	return size;
}

/* sn_key_hash: partition_hash of a tenant and an aggregate, which may be NULL */
int32
sn_key_hash(const text *tenant_id, const text *aggregate_id)
{
	char		room[SN_TENANT_MAX + 1 + SN_AGGREGATE_ID_MAX];
	Size		size = key_size(tenant_id, aggregate_id);
	char	   *key = size <= sizeof(room) ? room : palloc(size);

	return sn_murmur2(key, join_key(key, tenant_id, aggregate_id));
}

/* get_partition_key(tenant_id text, aggregate_id text) returns text */
Datum
sentinai_get_partition_key(PG_FUNCTION_ARGS)
{
	text	   *tenant_id;
	text	   *aggregate_id;
	text	   *result;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	tenant_id = PG_GETARG_TEXT_PP(0);
	aggregate_id = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	result = palloc(VARHDRSZ + key_size(tenant_id, aggregate_id));
	SET_VARSIZE(result, VARHDRSZ +
				join_key(VARDATA(result), tenant_id, aggregate_id));
	PG_RETURN_TEXT_P(result);
}

/* partition_hash(key text) returns int */
Datum
sentinai_partition_hash(PG_FUNCTION_ARGS)
{
	text	   *key = PG_GETARG_TEXT_PP(0);

	PG_RETURN_INT32(sn_murmur2(VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key)));
}

/* partition_for(tenant_id text, aggregate_id text, partitions int) returns int */
Datum
sentinai_partition_for(PG_FUNCTION_ARGS)
{
	int32		partitions;
	int32		hash;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	partitions = PG_GETARG_INT32(2);
	if (partitions < 1)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("partitions must be greater than zero")));
	hash = sn_key_hash(PG_GETARG_TEXT_PP(0),
					   PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1));
	PG_RETURN_INT32(sn_partition_for_hash(hash, partitions));
}
