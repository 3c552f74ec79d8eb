/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * backlog_row.c
 *		Rows of table backlog_limit: reading and writing them.
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/snapmgr.h"

#include "queue/backlog_limit.h"
#include "tenancy/pressure.h"

/* copy_limit: the row at hand */
static SnBacklogLimit *
copy_limit(SnScan *scan)
{
	SnBacklogLimit *limit = palloc0(sizeof(SnBacklogLimit));
	HeapTuple	tuple = ExecCopySlotHeapTuple(scan->slot);

	limit->tid = sn_scan_place(scan);
	heap_deform_tuple(tuple, scan->slot->tts_tupleDescriptor, limit->values,
					  limit->nulls);
	limit->worker_type =
		DatumGetTextPP(limit->values[Anum_pressure_worker_type - 1]);
	limit->tenant_id =
		DatumGetTextPP(limit->values[Anum_pressure_tenant_id - 1]);
	limit->max_backlog =
		DatumGetInt64(limit->values[Anum_pressure_max_backlog - 1]);
	limit->over = !limit->nulls[Anum_pressure_over_since - 1];
	return limit;
}

/* sn_backlog_limits: the row of a subscription and tenant, or all for NULL */
List *
sn_backlog_limits(const text *worker_type, const text *tenant_id)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	List	   *result = NIL;
	ScanKeyData keys[2];
	SnScan		scan;

	if (worker_type != NULL)
	{
		sn_key_text(&keys[0], 1, BTEqualStrategyNumber,
					PointerGetDatum(worker_type));
		sn_key_text(&keys[1], 2, BTEqualStrategyNumber,
					PointerGetDatum(tenant_id));
	}
	sn_scan_named(&scan, SN_BACKLOG_LIMIT, SN_BACKLOG_LIMIT_PKEY, snapshot,
				  worker_type != NULL ? 2 : 0, keys, ForwardScanDirection);
	while (sn_scan_next(&scan))
		result = lappend(result, copy_limit(&scan));
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	return result;
}

/* sn_backlog_limit_write: a row in place of the one that was read, if any was */
void
sn_backlog_limit_write(SnBacklogLimit *limit)
{
	if (ItemPointerIsValid(&limit->tid))
		sn_delete_one(SN_BACKLOG_LIMIT, &limit->tid);
	sn_insert_one(SN_BACKLOG_LIMIT, limit->values, limit->nulls);
	sn_pressure_changed();
}
