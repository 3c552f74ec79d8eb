/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * type_row.c
 *		Rows of table event_type: one for each version that a type has or had.
 *
 * A version that was dropped keeps its row, so that its number never comes to
 * mean something else: events of it may be anywhere.  Rows are changed under
 * the lock of types (lock.c), and read under the latest snapshot unless the
 * caller has one.
 */
#include "postgres.h"

#include "utils/snapmgr.h"

#include "registry/type_row.h"

/* scan_keyed: walk over what has the first of these keys */
static void
scan_keyed(SnTypeScan *scan, ScanKeyData *keys, int nkeys, Snapshot snapshot)
{
	memset(scan, 0, sizeof(SnTypeScan));
	scan->registered = snapshot == NULL;
	scan->snapshot = snapshot != NULL ? snapshot :
		sn_snapshot_now();
	sn_scan_named(&scan->scan, SN_EVENT_TYPE, SN_EVENT_TYPE_PKEY,
				  scan->snapshot, nkeys, keys, ForwardScanDirection);
}

/*
 * sn_type_scan_begin: walk over the versions of a type or, when that is NULL,
 * of all.  The walk goes by name and number.
 */
void
sn_type_scan_begin(SnTypeScan *scan, const text *event_type,
				   Snapshot snapshot)
{
	ScanKeyData key;

	if (event_type != NULL)
		sn_key_text(&key, 1, BTEqualStrategyNumber,
					PointerGetDatum(event_type));
	scan_keyed(scan, &key, event_type != NULL ? 1 : 0, snapshot);
}

/* scan_version: find one version */
static void
scan_version(SnTypeScan *scan, const text *event_type, int32 version,
			 Snapshot snapshot)
{
	ScanKeyData keys[2];

	sn_key_text(&keys[0], 1, BTEqualStrategyNumber,
				PointerGetDatum(event_type));
	sn_key_int4(&keys[1], 2, BTEqualStrategyNumber, version);
	scan_keyed(scan, keys, 2, snapshot);
}

/* sn_type_scan_next: the next version; what the row points to ends with it */
bool
sn_type_scan_next(SnTypeScan *scan)
{
	if (!sn_scan_next(&scan->scan))
		return false;
	slot_getallattrs(scan->scan.slot);
	scan->values = scan->scan.slot->tts_values;
	scan->nulls = scan->scan.slot->tts_isnull;
	scan->event_type =
		DatumGetTextPP(scan->values[Anum_type_event_type - 1]);
	scan->version = DatumGetInt32(scan->values[Anum_type_version - 1]);
	scan->deprecated = !scan->nulls[Anum_type_deprecated_since - 1];
	scan->dropped = !scan->nulls[Anum_type_dropped_at - 1];
	return true;
}

/* sn_type_scan_end: the walk is over */
void
sn_type_scan_end(SnTypeScan *scan)
{
	sn_scan_end(&scan->scan);
	if (scan->registered)
		UnregisterSnapshot(scan->snapshot);
}

/* sn_type_schema: a copy of the schema of a version, or NULL */
Jsonb *
sn_type_schema(const text *event_type, int32 version, Snapshot snapshot)
{
	SnTypeScan	scan;
	Jsonb	   *schema = NULL;

	scan_version(&scan, event_type, version, snapshot);
	while (schema == NULL && sn_type_scan_next(&scan))
		if (!scan.dropped)
			schema = DatumGetJsonbPCopy(scan.values[Anum_type_schema - 1]);
	sn_type_scan_end(&scan);
	return schema;
}

/* sn_type_replace: write a row, in place of one unless tid is NULL */
void
sn_type_replace(ItemPointer tid, Datum *values, bool *nulls)
{
	if (tid != NULL)
		sn_delete_one(SN_EVENT_TYPE, tid);
	sn_insert_one(SN_EVENT_TYPE, values, nulls);
}
