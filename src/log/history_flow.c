/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * history_flow.c
 *		Reading the log by flow, for get_trace().
 *
 * An event is in a flow by its name, which is its correlation id, or by its
 * aggregate, when it has none stored.  The first are in a small index of what
 * has one; the others are those of the aggregate, which hangs on the tenant: of
 * one that is named, or of each in turn.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "log/history.h"
#include "tenancy/gate.h"

/*
 * read_named: rows that name the flow.  A partition of the version before has no
 * index for it, and is read whole, in the order of the ids.
 */
static void
read_named(SnReading *r)
{
	Oid			index = sn_flow_index_of(r->rel);
	ScanKeyData keys[3];
	int			n = 0;
	int			of_id = 1;
	SnScan		scan;
	int			limit = r->n + r->limit;

	if (OidIsValid(index))
	{
		sn_key_hashed(&keys[n++], 1, r->q->correlation_id);
		of_id = 2;
	}
	else
		index = sn_index_of(r->rel, Anum_log_event_id);
	sn_key_uuid(&keys[n++], of_id, BTGreaterStrategyNumber, &r->q->lower);
	sn_key_uuid(&keys[n++], of_id, BTLessStrategyNumber, &r->q->upper);
	sn_scan_begin(&scan, RelationGetRelid(r->rel), index, GetActiveSnapshot(),
				  n, keys, ForwardScanDirection);
	while (r->n < limit && sn_scan_next(&scan))
		if (!slot_attisnull(scan.slot, Anum_log_correlation_id))
			sn_history_put(r, scan.slot);
	sn_scan_end(&scan);
}

/* read_unnamed: rows of the aggregate that has the flow's name, of a tenant */
static void
read_unnamed(SnReading *r, text *tenant_id)
{
	SnQuestion	whole = *r->q;
	int			limit = r->limit;

	r->q->tenant_id = tenant_id;
	r->q->aggregate_id = whole.correlation_id;
	r->q->unnamed = true;
	r->q->hash = sn_key_hash(tenant_id, whole.correlation_id);
	r->limit = r->n + limit;
	sn_history_aggregate(r);
	r->limit = limit;
	*r->q = whole;
}

/* The next tenant that an index on the hash of their names has */
typedef struct NextTenant
{
	Oid			index;
	text	   *tenant_id;		/* NULL: no more */
	int32		hash;
} NextTenant;

/* next_tenant: of a hash that is at least so much */
static void
next_tenant(SnReading *r, NextTenant *next, int32 least)
{
	ScanKeyData key;
	SnScan		scan;
	bool		isnull;

	next->tenant_id = NULL;
	sn_key_int4(&key, 1, BTGreaterEqualStrategyNumber, least);
	sn_scan_begin(&scan, RelationGetRelid(r->rel), next->index,
				  GetActiveSnapshot(), 1, &key, ForwardScanDirection);
	if (sn_scan_next(&scan))
	{
		next->tenant_id =
			DatumGetTextPCopy(slot_getattr(scan.slot, Anum_log_tenant_id,
										   &isnull));
		next->hash =
			DatumGetInt32(DirectFunctionCall1Coll(hashtext, C_COLLATION_OID,
												  PointerGetDatum(next->tenant_id)));
	}
	sn_scan_end(&scan);
}

/*
 * read_every_tenant: the same of every tenant of the partition.  Two indexes
 * have them, in the order of their hashes; two tenants with one hash count as
 * the one that comes first.
 */
static void
read_every_tenant(SnReading *r)
{
	NextTenant	next[2];
	int			i;

	next[0].index = sn_index_of(r->rel, SN_TENANT_HASH, Anum_log_event_id);
	next[1].index = sn_index_of(r->rel, SN_TENANT_HASH, Anum_log_event_id,
								Anum_log_partition_hash);
	next_tenant(r, &next[0], PG_INT32_MIN);
	next_tenant(r, &next[1], PG_INT32_MIN);
	while (next[0].tenant_id != NULL || next[1].tenant_id != NULL)
	{
		bool		second = next[0].tenant_id == NULL ||
			(next[1].tenant_id != NULL && next[1].hash < next[0].hash);
		int32		hash = next[second].hash;

		CHECK_FOR_INTERRUPTS();
		if (sn_may(SN_RIGHT_READ, next[second].tenant_id))
			read_unnamed(r, next[second].tenant_id);
		for (i = 0; i < 2; i++)
			if (next[i].tenant_id != NULL && next[i].hash == hash)
			{
				pfree(next[i].tenant_id);
				next[i].tenant_id = NULL;
				if (hash < PG_INT32_MAX)
					next_tenant(r, &next[i], hash + 1);
			}
	}
}

/*
 * sn_history_flow: rows of a flow.  Up to the limit of each kind and tenant,
 * and not in the order of their ids: the caller sorts them.
 */
void
sn_history_flow(SnReading *r)
{
	read_named(r);
	if (r->q->tenant_id != NULL)
		read_unnamed(r, r->q->tenant_id);
	else
		read_every_tenant(r);
}
