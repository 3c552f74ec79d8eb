/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * gather.c
 *		Which events are new to a round, in the order of their ids.
 *
 * New is what the snapshot shows and no round has seen: transactions at or
 * past the xmax of the last round's snapshot, those that were running then,
 * and delayed events whose time has come.  Each is an index range in every
 * partition of the log that can still hold such events.
 *
 * A partition is closed, and not looked at again by this process, once no
 * transaction can add to it: the clock has passed its end, and every
 * transaction that had a number at that moment has ended before the snapshot
 * of a round that was committed.  This holds because a publisher takes its
 * transaction number before the id of its event.
 *
 * Events are kept in an array, and in a sort that spills to disk when they
 * need more than half of sentinai.sort_memory.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"

#include "fault.h"
#include "guc.h"
#include "hash.h"
#include "round.h"
#include "run.h"
#include "shmem.h"

#define DUE_SOON 1000			/* ms, longer than from the locks to the snapshot */

/* A partition of event_log */
typedef struct Part
{
	Oid			heap;
	SnTick		lower;			/* of the ids in it */
	SnTick		upper;
	int64		open_below;		/* transactions below may add to it; 0: not
								 * known yet */
	bool		closes;			/* when this round is committed */
	bool		closed;
} Part;

static Part *parts = NULL;		/* in TopMemoryContext */
static int	nparts = 0;
static Oid	parts_of = InvalidOid;	/* event_log they belong to; invalid: read
									 * them again */

static bool due_known = false;	/* next_due holds */
static TimestampTz next_due;	/* time of the next delayed event */

static int
compare_items(const SnItem *a, const SnItem *b)
{
	return sn_uuid_cmp(&a->id, &b->id);
}

#define ST_SORT sort_items
#define ST_ELEMENT_TYPE SnItem
#define ST_COMPARE(a, b) compare_items(a, b)
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* forget_parts: a relation changed; ours are read again if it is the log */
static void
forget_parts(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == parts_of)
		parts_of = InvalidOid;
}

/* find_part: what is known of a partition, or NULL */
static const Part *
find_part(Oid heap)
{
	int			i;

	for (i = 0; i < nparts; i++)
		if (parts[i].heap == heap)
			return &parts[i];
	return NULL;
}

/* bound_tick: a bound of a range of ids as a tick */
static SnTick
bound_tick(PartitionBoundInfo bounds, int i)
{
	if (bounds->kind[i][0] == PARTITION_RANGE_DATUM_MINVALUE)
		return 0;
	if (bounds->kind[i][0] == PARTITION_RANGE_DATUM_MAXVALUE)
		return PG_UINT64_MAX;
	return sn_uuid_tick(DatumGetUUIDP(bounds->datums[i][0]));
}

/* describe_part: fill in the partition that ends at bound i */
static void
describe_part(Part *part, Oid heap, PartitionBoundInfo bounds, int i)
{
	const Part *known = find_part(heap);

	if (known != NULL)
		*part = *known;
	part->heap = heap;
	part->lower = bound_tick(bounds, i - 1);
	part->upper = bound_tick(bounds, i);
}

/* load_parts: read the list of partitions */
static void
load_parts(void)
{
	static bool registered = false;
	Oid			log = sn_rel(SN_EVENT_LOG);
	Relation	rel;
	PartitionDesc desc;
	PartitionBoundInfo bounds;
	Part	   *fresh;
	int			n = 0;
	int			i;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget_parts, (Datum) 0);
		registered = true;
	}
	rel = table_open(log, AccessShareLock);
	desc = RelationGetPartitionDesc(rel, true);
	bounds = desc->boundinfo;
	fresh = palloc0(sizeof(Part) * (desc->nparts + 1));
	parts_of = log;				/* an invalidation from here on is noticed */
	for (i = 1; desc->nparts > 0 && i < bounds->ndatums; i++)
		if (bounds->indexes[i] >= 0)
			describe_part(&fresh[n++], desc->oids[bounds->indexes[i]],
						  bounds, i);
	table_close(rel, NoLock);
	if (parts != NULL)
		pfree(parts);
	nparts = 0;
	parts = MemoryContextAlloc(TopMemoryContext, sizeof(Part) * (n + 1));
	memcpy(parts, fresh, sizeof(Part) * n);
	nparts = n;
	pfree(fresh);
}

/* to_logical: number of a transaction of the snapshot */
static int64
to_logical(const SnGather *g, TransactionId xid)
{
	return g->now.xmax - (uint32) (g->snapshot->xmax - xid);
}

static int
compare_int8(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/*
 * sort_xip: sort the running transactions, each once.  One that is just being
 * prepared is in a snapshot twice, for its session and for itself.
 */
static void
sort_xip(SnSeen *now)
{
	int			n = 0;
	int			i;

	qsort(now->xip, now->nxip, sizeof(int64), compare_int8);
	for (i = 0; i < now->nxip; i++)
		if (i == 0 || now->xip[i] != now->xip[n - 1])
			now->xip[n++] = now->xip[i];
	now->nxip = n;
}

/*
 * describe_snapshot: the snapshot in logical numbers.  This transaction counts
 * as running: what it publishes is left to a round after its commit.
 */
static void
describe_snapshot(SnGather *g)
{
	TransactionId own = GetTopTransactionIdIfAny();
	Snapshot	s = g->snapshot;
	int			i;

	g->now.xmax = sn_logical_xid(s->xmax);
	g->now.nxip = s->xcnt;
	g->now.xip = palloc(sizeof(int64) * (s->xcnt + 1));
	for (i = 0; i < s->xcnt; i++)
		g->now.xip[i] = to_logical(g, s->xip[i]);
	if (TransactionIdIsValid(own))
	{
		g->own = sn_logical_xid(own);
		if (g->own < g->now.xmax)
			g->now.xip[g->now.nxip++] = g->own;
	}
	sort_xip(&g->now);
}

static bool
contains(const int64 *xip, int n, int64 txid)
{
	return n > 0 &&
		bsearch(&txid, xip, n, sizeof(int64), compare_int8) != NULL;
}

/* sn_gather_is_seen: whether what the transaction did was visible then */
bool
sn_gather_is_seen(const SnSeen *seen, int64 txid)
{
	return txid < seen->xmax && !contains(seen->xip, seen->nxip, txid);
}

/* spill: from here on the events go to a sort of bounded memory */
static void
spill(SnGather *g)
{
	TypeCacheEntry *type = lookup_type_cache(BYTEAOID, TYPECACHE_LT_OPR);
	int64		n = g->count;
	int64		i;

	g->sort = tuplesort_begin_datum(BYTEAOID, type->lt_opr, InvalidOid, false,
									sn_sort_memory, NULL, TUPLESORT_NONE);
	g->count = 0;
	for (i = 0; i < n; i++)
	{
		char		record[VARHDRSZ + sizeof(SnItem)];

		SET_VARSIZE(record, sizeof(record));
		memcpy(VARDATA(record), &g->items[i], sizeof(SnItem));
		tuplesort_putdatum(g->sort, PointerGetDatum(record), false);
		g->count++;
	}
	pfree(g->items);
	g->items = NULL;
}

/* add: one more event of the round */
static void
add(SnGather *g, const SnItem *item)
{
	if (g->sort == NULL && g->count == g->room)
	{
		if (g->room * 2 * sizeof(SnItem) > sn_sort_memory * (Size) 512)
			spill(g);
		else if (g->room == 0)
		{
			g->room = 64;
			g->items = palloc(g->room * sizeof(SnItem));
		}
		else
		{
			g->room *= 2;
			g->items = repalloc_huge(g->items, g->room * sizeof(SnItem));
		}
	}
	if (g->items != NULL)
		g->items[g->count] = *item;
	else
	{
		char		record[VARHDRSZ + sizeof(SnItem)];

		SET_VARSIZE(record, sizeof(record));
		memcpy(VARDATA(record), item, sizeof(SnItem));
		tuplesort_putdatum(g->sort, PointerGetDatum(record), false);
	}
	g->count++;
}

/* take_row: gather the event in the slot unless it has to wait */
static void
take_row(SnGather *g, TupleTableSlot *slot)
{
	SnItem		item;
	Datum	   *values;

	slot_getsomeattrs(slot, Anum_log_deliver_at);
	values = slot->tts_values;
	if (DatumGetInt64(values[Anum_log_txid - 1]) == g->own)
		return;
	if (!slot->tts_isnull[Anum_log_deliver_at - 1])
	{
		TimestampTz due =
			DatumGetTimestampTz(values[Anum_log_deliver_at - 1]);

		if (due > g->now.due_until)
		{
			next_due = Min(next_due, due);
			return;
		}
	}
	item.id = *DatumGetUUIDP(values[Anum_log_event_id - 1]);
	item.lane = sn_lane_of(DatumGetInt32(values[Anum_log_partition_hash - 1]),
						   g->lanes);
	item.match = sn_match(values[Anum_log_event_type - 1]);
	item.place = slot->tts_tid;
	add(g, &item);
}

/* scan_part: scan a partition by its index of a column */
static void
scan_part(SnGather *g, const Part *part, AttrNumber column, int nkeys,
		  ScanKey keys, SnScan *scan)
{
	Relation	rel = table_open(part->heap, AccessShareLock);

	sn_scan_begin(scan, part->heap, sn_index_of(rel, column), g->snapshot,
				  nkeys, keys, ForwardScanDirection);
	table_close(rel, AccessShareLock);
}

/* take_found: gather what an entry of the index on txid stands for */
static void
take_found(SnGather *g, TupleTableSlot *slot, SnRunReader *runs)
{
	bool		isnull;

	if (sn_run_of(slot) < 0)
		return;					/* an index that somebody made has it, too */
	take_row(g, slot);
	if (sn_run_of(slot) == SN_RUN_NONE)
		return;
	sn_run_follow(runs, DatumGetUUIDP(slot_getattr(slot, Anum_log_event_id,
												   &isnull)));
	while (sn_run_next(runs))
		take_row(g, runs->scan.slot);
}

/* gather_visible: events of a partition that no snapshot has shown before */
static void
gather_visible(SnGather *g, const Part *part)
{
	const SnSeen *seen = g->seen;
	ScanKeyData keys[2];
	SnScan		scan;
	SnRunReader runs;
	int			i;

	sn_key_int8(&keys[0], 1, BTGreaterEqualStrategyNumber, seen->xmax);
	sn_key_int8(&keys[1], 1, BTLessEqualStrategyNumber, g->now.xmax - 1);
	scan_part(g, part, Anum_log_txid, 2, keys, &scan);
	sn_run_begin(&runs, scan.heap, g->snapshot);
	while (sn_scan_next(&scan))
		take_found(g, scan.slot, &runs);
	for (i = 0; i < seen->nxip && !SN_BUG(id_cursor); i++)
	{
		if (contains(g->now.xip, g->now.nxip, seen->xip[i]))
			continue;
		sn_key_int8(&keys[0], 1, BTGreaterEqualStrategyNumber, seen->xip[i]);
		sn_key_int8(&keys[1], 1, BTLessEqualStrategyNumber, seen->xip[i]);
		sn_scan_again(&scan, g->snapshot, 2, keys);
		while (sn_scan_next(&scan))
			take_found(g, scan.slot, &runs);
	}
	sn_run_end(&runs);
	sn_scan_end(&scan);
}

/* gather_due: delayed events of a partition, seen before, whose time has come */
static void
gather_due(SnGather *g, const Part *part)
{
	ScanKeyData key;
	SnScan		scan;

	sn_key_time(&key, 1, BTGreaterStrategyNumber, g->seen->due_until);
	scan_part(g, part, Anum_log_deliver_at, 1, &key, &scan);
	while (sn_scan_next(&scan))
	{
		TupleTableSlot *slot = scan.slot;
		bool		isnull;

		if (!sn_gather_is_seen(g->seen,
							   DatumGetInt64(slot_getattr(slot, Anum_log_txid,
														  &isnull))))
			continue;
		take_row(g, slot);
		if (DatumGetTimestampTz(slot_getattr(slot, Anum_log_deliver_at,
											 &isnull)) > g->now.due_until)
			break;
	}
	sn_scan_end(&scan);
}

/*
 * may_hold_new: whether events can be visible in a partition that no round
 * has seen.  Notes when that ends.
 */
static bool
may_hold_new(const SnGather *g, Part *part, SnTick clock)
{
	part->closes = false;
	if (part->closed || part->lower > clock)
		return false;
	if (part->open_below != 0)
		part->closes = to_logical(g, g->snapshot->xmin) >= part->open_below;
	else if (part->upper <= clock)
		part->open_below = sn_logical_xid(ReadNextTransactionId());
	return true;
}

/*
 * sn_gather_lock: lock what a round is going to look at, before it takes its
 * snapshot.  Otherwise a copy of a partition, as pg_repack makes one, could
 * take its place in between: the snapshot would not see the rows of the copy,
 * and would count their transactions as seen.
 */
void
sn_gather_lock(void)
{
	TimestampTz soon = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												   DUE_SOON);
	bool		all = !due_known || next_due <= soon;
	int			i;

	LockRelationOid(sn_rel(SN_EVENT_LOG), AccessShareLock);
	if (parts_of != sn_rel(SN_EVENT_LOG))
		load_parts();
	for (i = 0; i < nparts; i++)
		if (all || !parts[i].closed)
			LockRelationOid(parts[i].heap, AccessShareLock);
}

/* sn_gather: collect all that is new, unsorted */
void
sn_gather(SnGather *g)
{
	bool		look_for_due;
	SnTick		clock;
	int			i;

	describe_snapshot(g);
	clock = pg_atomic_read_u64(&sn_shared()->clock);
	if (parts_of != sn_rel(SN_EVENT_LOG))
		load_parts();

	look_for_due = !due_known || next_due <= g->now.due_until;
	if (look_for_due)
	{
		due_known = false;
		next_due = DT_NOEND;
	}
	for (i = 0; i < nparts; i++)
	{
		if (may_hold_new(g, &parts[i], clock))
			gather_visible(g, &parts[i]);
		if (look_for_due && g->seen->xmax > 0)
			gather_due(g, &parts[i]);
	}
	due_known = true;
}

/*
 * is_ripe: whether an index range of a partition has an event whose time has
 * come and that was not published by this transaction.
 */
static bool
is_ripe(const SnGather *g, Relation rel, AttrNumber column, int nkeys,
		ScanKey keys)
{
	SnScan		scan;
	bool		found = false;

	sn_scan_begin(&scan, RelationGetRelid(rel), sn_index_of(rel, column),
				  g->snapshot, nkeys, keys, ForwardScanDirection);
	while (!found && sn_scan_next(&scan))
	{
		bool		now;
		bool		isnull;
		TimestampTz due =
			DatumGetTimestampTz(slot_getattr(scan.slot, Anum_log_deliver_at,
											 &now));

		found = (now || due <= g->now.due_until) &&
			DatumGetInt64(slot_getattr(scan.slot, Anum_log_txid,
									   &isnull)) != g->own;
	}
	sn_scan_end(&scan);
	return found;
}

/* part_waits: whether a partition has an event that a round would take */
static bool
part_waits(const SnGather *g, Relation rel)
{
	const SnSeen *seen = g->seen;
	ScanKeyData keys[2];
	int			i;

	sn_key_int8(&keys[0], 1, BTGreaterEqualStrategyNumber, seen->xmax);
	if (is_ripe(g, rel, Anum_log_txid, 1, keys))
		return true;
	for (i = 0; i < seen->nxip; i++)
	{
		sn_key_int8(&keys[0], 1, BTEqualStrategyNumber, seen->xip[i]);
		if (is_ripe(g, rel, Anum_log_txid, 1, keys))
			return true;
	}
	sn_key_time(&keys[0], 1, BTGreaterStrategyNumber, seen->due_until);
	sn_key_time(&keys[1], 1, BTLessEqualStrategyNumber, g->now.due_until);
	return is_ripe(g, rel, Anum_log_deliver_at, 2, keys);
}

/*
 * sn_gather_waits: whether a round that follows the one in `seen` would find
 * something.  Changes nothing that rounds go by.
 */
bool
sn_gather_waits(const SnSeen *seen, Snapshot snapshot)
{
	TransactionId own = GetTopTransactionIdIfAny();
	SnGather	g = {.snapshot = snapshot, .seen = seen};
	bool		found = false;
	ListCell   *lc;

	g.now.due_until = GetCurrentTimestamp();
	if (TransactionIdIsValid(own))
		g.own = sn_logical_xid(own);
	foreach(lc, sn_partition_ranges(SN_EVENT_LOG))
	{
		SnPartRange *range = lfirst(lc);
		Relation	rel = try_relation_open(range->oid, AccessShareLock);

		if (rel == NULL)
			continue;			/* dropped meanwhile: everybody has passed it */
		found = part_waits(&g, rel);
		relation_close(rel, AccessShareLock);
		if (found)
			break;
	}
	return found;
}

/* sn_gather_sort: bring them into the order of their ids */
void
sn_gather_sort(SnGather *g)
{
	if (g->sort != NULL)
		tuplesort_performsort(g->sort);
	else
		sort_items(g->items, g->count);
}

/* sn_gather_next: the next event, or false */
bool
sn_gather_next(SnGather *g, SnItem *item)
{
	Datum		record;
	bool		isnull;

	if (g->next == g->count)
		return false;
	if (g->sort == NULL)
		*item = g->items[g->next];
	else
	{
		if (!sn_tuplesort_getdatum(g->sort, &record, &isnull))
			elog(ERROR, "sort lost an event");
		memcpy(item, VARDATA_ANY(DatumGetPointer(record)), sizeof(SnItem));
		pfree(DatumGetPointer(record));
	}
	g->next++;
	return true;
}

/* sn_gather_end: give up the memory that is not in the caller's context */
void
sn_gather_end(SnGather *g)
{
	if (g->sort != NULL)
		tuplesort_end(g->sort);
	g->sort = NULL;
}

/* sn_gather_passed: the last round gathered is committed; raises no error */
void
sn_gather_passed(void)
{
	int			i;

	for (i = 0; i < nparts; i++)
		if (parts[i].closes)
			parts[i].closed = true;
}

/*
 * sn_gather_forget: the next round begins from what the journal says, be it
 * that others have taken rounds or that the last one here failed.  A partition
 * that was closed may hold delayed events that the journal has not seen.
 */
void
sn_gather_forget(void)
{
	int			i;

	due_known = false;
	parts_of = InvalidOid;
	for (i = 0; i < nparts; i++)
		parts[i].closes = parts[i].closed = false;
}

/* sn_gather_next_due: time of the next delayed event, DT_NOEND if none waits */
TimestampTz
sn_gather_next_due(void)
{
	return due_known ? next_due : DT_NOBEGIN;
}
