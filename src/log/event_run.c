/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * event_run.c
 *		Runs of events, see event_run.h: reading them, and the list of keys.
 *
 * The ids of a run are consecutive ticks that one call took at once, so no
 * other event can lie between them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/uuid.h"

#include "log/event_run.h"

/* sn_run_begin: a reader of a partition that the caller keeps open */
void
sn_run_begin(SnRunReader *reader, Relation heap, Snapshot snapshot)
{
	reader->heap = heap;
	reader->snapshot = snapshot;
	reader->open = false;
}

/* seek_ids: read the ids between two bounds, without the first */
static void
seek_ids(SnRunReader *reader, StrategyNumber lower_strategy,
		 const pg_uuid_t *lower, const pg_uuid_t *upper)
{
	ScanKeyData keys[2];

	reader->lower = *lower;
	reader->upper = *upper;
	sn_key_uuid(&keys[0], 1, lower_strategy, &reader->lower);
	sn_key_uuid(&keys[1], 1, BTLessStrategyNumber, &reader->upper);
	if (reader->open)
		sn_scan_again(&reader->scan, reader->snapshot, 2, keys);
	else
		sn_scan_begin(&reader->scan, RelationGetRelid(reader->heap),
					  sn_index_of(reader->heap, Anum_log_event_id),
					  reader->snapshot, 2, keys, ForwardScanDirection);
	reader->open = true;
}

/* sn_run_follow: read on behind the first event of a run */
void
sn_run_follow(SnRunReader *reader, const pg_uuid_t *first)
{
	pg_uuid_t	end;

	sn_uuid_floor_tick(sn_uuid_tick(first) + SN_RUN_MAX, &end);
	seek_ids(reader, BTGreaterStrategyNumber, first, &end);
}

/* sn_run_next: the next event of the run, or false */
bool
sn_run_next(SnRunReader *reader)
{
	return sn_scan_next(&reader->scan) && sn_run_of(reader->scan.slot) < 0;
}

/* sn_run_fetch: the event at an offset of a run, from 0; false if not there */
bool
sn_run_fetch(SnRunReader *reader, const pg_uuid_t *first, int offset)
{
	SnTick		tick = sn_uuid_tick(first) + offset;
	pg_uuid_t	lower;
	pg_uuid_t	upper;

	sn_uuid_floor_tick(tick, &lower);
	sn_uuid_floor_tick(tick + 1, &upper);
	seek_ids(reader, BTGreaterEqualStrategyNumber, &lower, &upper);
	return sn_scan_next(&reader->scan);
}

/* sn_run_end: close the reader */
void
sn_run_end(SnRunReader *reader)
{
	if (reader->open)
		sn_scan_end(&reader->scan);
	reader->open = false;
}

/*
 * sn_run_reach: lower a bound so that a run that has ids on both sides of it
 * begins above it.
 */
void
sn_run_reach(SnRunReader *reader, pg_uuid_t *bound)
{
	SnTick		tick = sn_uuid_tick(bound);
	pg_uuid_t	end;

	sn_uuid_floor_tick(tick + SN_RUN_MAX, &end);
	seek_ids(reader, BTGreaterStrategyNumber, bound, &end);
	if (sn_run_next(reader))
		sn_uuid_floor_tick(tick - Min(tick, SN_RUN_MAX), bound);
}

/* sn_run_of: the place in a run of an event of the log */
int
sn_run_of(TupleTableSlot *slot)
{
	bool		isnull;

	return DatumGetInt16(slot_getattr(slot, Anum_log_run, &isnull));
}

/* sn_run_begins: whether an event is the first of a run */
bool
sn_run_begins(TupleTableSlot *slot)
{
	int			run = sn_run_of(slot);

	return run == SN_RUN_SHORT || run == SN_RUN_LONG;
}

/* sn_run_key: what the list of keys has of a hash */
int16
sn_run_key(int32 hash)
{
	return (int16) ((uint32) hash >> 16);
}

/* sn_run_keys: the list of keys of a run */
Datum
sn_run_keys(const int32 *hashes, int n)
{
	Datum		keys[SN_RUN_MAX];
	int			i;

	for (i = 0; i < n; i++)
		keys[i] = Int16GetDatum(sn_run_key(hashes[i]));
	return PointerGetDatum(construct_array(keys, n, INT2OID, sizeof(int16),
										   true, TYPALIGN_SHORT));
}

/* sn_run_get_keys: the list of keys in a run's first event; how many */
int
sn_run_get_keys(TupleTableSlot *slot, int16 *keys)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, Anum_log_run_keys, &isnull);
	ArrayType  *array;
	int			n;

	if (isnull)
		return 0;
	array = DatumGetArrayTypeP(value);
	n = Min(ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)), SN_RUN_MAX);
	memcpy(keys, ARR_DATA_PTR(array), n * sizeof(int16));
	if ((Pointer) array != DatumGetPointer(value))
		pfree(array);
	return n;
}
