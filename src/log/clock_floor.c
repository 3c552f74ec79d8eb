/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * clock_floor.c
 *		The event clock is above everything stored, before a tick is taken.
 */
#include "postgres.h"

#include "access/relation.h"
#include "storage/bufmgr.h"
#include "utils/snapmgr.h"

#include "log/clock_floor.h"
#include "shared/clock.h"
#include "shared/shmem.h"
#include "store/journal.h"
#include "store/range.h"
#include "store/store.h"

/* newest_id_tick: the tick of the newest row of a partition, or 0 */
static SnTick
newest_id_tick(Oid partition)
{
	Relation	rel = try_relation_open(partition, AccessShareLock);
	pg_uuid_t	limit;
	ScanKeyData key;
	SnScan		scan;
	SnTick		result = 0;

	if (rel == NULL)
		return 0;				/* dropped meanwhile: what is newer counts */
	if (RelationGetNumberOfBlocks(rel) == 0)
	{
		relation_close(rel, AccessShareLock);
		return 0;
	}
	/* rows of dead transactions count too: they cost nothing to pass */
	sn_uuid_floor(SN_MAX_MS, &limit);
	sn_key_uuid(&key, 1, BTLessStrategyNumber, &limit);
	sn_scan_begin(&scan, partition, sn_index_of(rel, Anum_log_event_id),
				  SnapshotAny, 1, &key, BackwardScanDirection);
	if (sn_scan_next(&scan))
	{
		bool		isnull;
		Datum		id = slot_getattr(scan.slot, Anum_log_event_id, &isnull);

		result = sn_uuid_tick(DatumGetUUIDP(id));
	}
	sn_scan_end(&scan);
	relation_close(rel, AccessShareLock);
	return result;
}

/*
 * newest_action_tick: the tick of the newest row of the action log, or 0.  One
 * that was rolled back counts here and in what follows: its tick was taken.
 */
static SnTick
newest_action_tick(void)
{
	pg_uuid_t	limit;
	ScanKeyData key;
	SnScan		scan;
	SnTick		result = 0;
	bool		isnull;

	if (!sn_present(SN_ACTION_LOG))
		return 0;
	sn_uuid_floor(SN_MAX_MS, &limit);
	sn_key_uuid(&key, 1, BTLessStrategyNumber, &limit);
	sn_scan_named(&scan, SN_ACTION_LOG, SN_ACTION_LOG_CLOCK_IDX, SnapshotAny, 1,
				  &key, BackwardScanDirection);
	if (sn_scan_next(&scan))
		result = sn_uuid_tick(DatumGetUUIDP(slot_getattr(scan.slot,
														 Anum_action_clock_id,
														 &isnull)));
	sn_scan_end(&scan);
	return result;
}

/* newest_round_tick: the tick of the newest round, or 0 */
static SnTick
newest_round_tick(void)
{
	SnJournalReader reader = {false};
	TupleTableSlot *slot;
	ScanKeyData key;
	SnTick		result = 0;
	bool		isnull;

	sn_key_int8(&key, 1, BTLessStrategyNumber, SN_MAX_MS - SN_EPOCH_MS);
	slot = sn_journal_newest(&reader, SN_ROUNDS, SnapshotAny, 1, &key);
	if (slot != NULL)			/* all of the round's millisecond has passed */
		result = ((SnTick) (SN_EPOCH_MS + 1 +
							DatumGetInt64(slot_getattr(slot, Anum_round_no,
													   &isnull)))
				  << SN_TICK_BITS) - 1;
	sn_journal_end(&reader);
	return result;
}

/*
 * sn_store_ready: see to it that the clock is above everything stored in this
 * database, before the first tick for it is taken after a server start.  Times
 * the extension cannot handle are left out: no clock of ours made them.
 */
void
sn_store_ready(void)
{
	SnDatabase *db = sn_database();
	SnTick		newest = (SnTick) SN_EPOCH_MS << SN_TICK_BITS;
	SnTick		tick = 0;
	List	   *parts;
	int			i;

	if (pg_atomic_read_u32(&db->clock_ready) != 0)
		return;
	parts = sn_partition_ranges(SN_EVENT_LOG);
	for (i = list_length(parts) - 1; i >= 0 && tick == 0; i--)
		tick = newest_id_tick(((SnPartRange *) list_nth(parts, i))->oid);
	newest = Max(newest, Max(tick, newest_action_tick()));
	sn_clock_raise(Max(newest, newest_round_tick()));
	pg_atomic_write_u32(&db->clock_ready, 1);
}
