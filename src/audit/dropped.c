/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * dropped.c
 *		Which partitions of the log retention has dropped.
 *
 * Each has a row, written by the transaction that drops it.  So what somebody has
 * dropped or detached by hand has none, however old it is by now: the time up to
 * which retention has come would not tell the two apart.
 */
#include "postgres.h"

#include "utils/snapmgr.h"

#include "audit/dropped.h"
#include "base/sentinai.h"
#include "store/store.h"

/* sn_dropped_write: the row of a partition that is about to be dropped */
void
sn_dropped_write(const SnRange *ids)
{
	Datum		values[Natts_dropped];
	bool		nulls[Natts_dropped] = {false};
	pg_uuid_t	from = {0};
	pg_uuid_t	to;

	if (!sn_present(SN_AUDIT_DROPPED))
		return;					/* nor is there any evidence */
	if (!ids->no_lower)
		from = ids->lower;
	memset(to.data, 0xFF, UUID_LEN);
	if (!ids->no_upper)
		to = ids->upper;
	values[Anum_dropped_from_id - 1] = UUIDPGetDatum(&from);
	values[Anum_dropped_to_id - 1] = UUIDPGetDatum(&to);
	values[Anum_dropped_at - 1] =
		TimestampTzGetDatum(GetCurrentTimestamp());
	sn_insert_one(SN_AUDIT_DROPPED, values, nulls);
}

/* begins_before: whether a row begins before an id; not where somebody has put null */
static bool
begins_before(TupleTableSlot *slot, const pg_uuid_t *upper)
{
	bool		isnull;
	Datum		from = slot_getattr(slot, Anum_dropped_from_id, &isnull);

	return !isnull && sn_uuid_cmp(DatumGetUUIDP(from), upper) < 0;
}

/*
 * sn_dropped_has: whether retention has dropped the partition of the ids before
 * one.  It may have done so since the caller's snapshot was taken.
 */
bool
sn_dropped_has(const pg_uuid_t *upper)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool		found = false;
	ScanKeyData key;
	SnScan		scan;

	sn_key_uuid(&key, 1, BTGreaterEqualStrategyNumber, upper);
	sn_scan_named(&scan, SN_AUDIT_DROPPED, SN_AUDIT_DROPPED_TO_IDX, snapshot,
				  1, &key, ForwardScanDirection);
	while (!found && sn_scan_next(&scan))
		found = begins_before(scan.slot, upper);
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	return found;
}
