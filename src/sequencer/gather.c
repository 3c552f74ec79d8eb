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
 * parts.c knows which those are.  Delayed events that outlived their partition
 * are in event_kept, and until the partition is dropped in both.
 *
 * Events are kept in an array, and in a sort that spills to disk when they
 * need more than half of sentinai.sort_memory.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"

#include "base/guc.h"
#include "base/hash.h"
#include "log/event_run.h"
#include "sequencer/parts.h"
#include "sequencer/round.h"
#include "sequencer/tracks.h"
#include "shared/shmem.h"
#include "store/range.h"

static int
compare_gathered(const SnItem *a, const SnItem *b)
{
	return sn_uuid_cmp(&a->id, &b->id);
}

#define ST_SORT sort_items
#define ST_ELEMENT_TYPE SnItem
#define ST_COMPARE(a, b) compare_gathered(a, b)
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

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

/* is_seen: whether what the transaction did was visible then */
static bool
is_seen(const SnSeen *seen, int64 txid)
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

/* add_gathered: one more event of the round */
static void
add_gathered(SnGather *g, const SnItem *item)
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

/*
 * name_missing: of a row that somebody has written NULL over, where there can be
 * none: it has a name that no filter has, so whoever gets all events is told
 */
static void
name_missing(TupleTableSlot *slot, int columns)
{
	static const AttrNumber names[] = {Anum_log_event_type,
		Anum_log_tenant_id, Anum_log_aggregate_type};
	int			i;

	for (i = 0; i < lengthof(names); i++)
		if (names[i] <= columns && slot->tts_isnull[names[i] - 1])
			slot->tts_values[names[i] - 1] =
				PointerGetDatum(cstring_to_text(""));
}

/* take_row: gather the event in the slot unless it has to wait */
static void
take_row(SnGather *g, SnPart *part, TupleTableSlot *slot)
{
	SnItem		item;
	Datum	   *values;

	slot_getsomeattrs(slot, g->columns);
	name_missing(slot, g->columns);
	values = slot->tts_values;
	if (DatumGetInt64(values[Anum_log_txid - 1]) == g->own)
		return;

	/* most rows end before this column, and need not be taken apart for it */
	if (!heap_attisnull(ExecFetchSlotHeapTuple(slot, false, NULL),
						Anum_log_deliver_at, slot->tts_tupleDescriptor))
	{
		bool		isnull;
		TimestampTz due =
			DatumGetTimestampTz(slot_getattr(slot, Anum_log_deliver_at,
											 &isnull));

		if (due > g->now.due_until)
		{
			part->next_due = Min(part->next_due, due);
			return;
		}
	}
	item.id = *DatumGetUUIDP(values[Anum_log_event_id - 1]);
	item.lane = sn_lane_of(DatumGetInt32(values[Anum_log_partition_hash - 1]),
						   g->lanes);
	item.kind = sn_match_kind(values);
	item.tenant = sn_tracks_note(values[Anum_log_tenant_id - 1]);
	item.row_tid = slot->tts_tid;
	add_gathered(g, &item);
}

/* Reading a partition by its index on txid, and runs by the primary key */
typedef struct PartReading
{
	SnPart	   *part;
	SnScan		scan;
	SnRunReader runs;
	int64		txid;			/* whose events were read behind a first one */
	pg_uuid_t	first;			/* from this one */
	pg_uuid_t	last;			/* to this one; all of the transaction's */
} PartReading;

static int64
number_of(TupleTableSlot *slot)
{
	bool		isnull;

	return DatumGetInt64(slot_getattr(slot, Anum_log_txid, &isnull));
}

static pg_uuid_t *
uuid_of(TupleTableSlot *slot)
{
	bool		isnull;

	return DatumGetUUIDP(slot_getattr(slot, Anum_log_event_id, &isnull));
}

/*
 * read_transaction: gather what comes behind the first event of a run.  Behind its run
 * come those of the call's other tenants; to find each of them by its own first
 * event would be a descent and a page of the primary key for each.
 */
static void
read_transaction(SnGather *g, PartReading *r)
{
	pg_uuid_t	from = *uuid_of(r->scan.slot);
	pg_uuid_t	head = from;	/* first event of the run at hand */

	r->txid = number_of(r->scan.slot);
	r->first = r->last = from;
	for (;;)
	{
		TupleTableSlot *slot;

		sn_run_follow(&r->runs, &from);
		slot = r->runs.scan.slot;
		while (sn_scan_next(&r->runs.scan))
		{
			if (number_of(slot) != r->txid)
				return;
			take_row(g, r->part, slot);
			r->last = *uuid_of(slot);
			if (sn_run_begins(slot))
				head = r->last;
		}

		/* as far as a run can reach that began where we did, but not this one */
		if (sn_uuid_cmp(&head, &from) <= 0)
			return;
		from = r->last;
	}
}

/*
 * take_found: gather what an entry of the index on txid stands for, unless it
 * was read behind another.  The entries of a transaction come in the order of
 * their TIDs, which is almost always that of the ids.  Where it is not, an
 * event is gathered twice at most, and sn_gather_next() leaves one out.
 */
static void
take_found(SnGather *g, PartReading *r)
{
	TupleTableSlot *slot = r->scan.slot;
	bool		known = r->txid == number_of(slot);

	if (sn_run_of(slot) < 0)
		return;					/* an index that somebody made has it, too */
	if (known && sn_uuid_cmp(uuid_of(slot), &r->last) <= 0)
	{
		if (sn_uuid_cmp(uuid_of(slot), &r->first) >= 0)
			return;
		take_row(g, r->part, slot);
		if (!sn_run_begins(slot))
			return;
		sn_run_follow(&r->runs, uuid_of(slot));
		while (sn_run_next(&r->runs))
			take_row(g, r->part, r->runs.scan.slot);
		return;
	}
	take_row(g, r->part, slot);
	if (sn_run_begins(slot))
		read_transaction(g, r);
}

/* gather_visible: events of a partition that no snapshot has shown before */
static void
gather_visible(SnGather *g, SnPart *part, Relation rel)
{
	const SnSeen *seen = g->seen;
	PartReading r = {.part = part, .txid = -1};
	ScanKeyData keys[2];
	int			i;

	sn_key_int8(&keys[0], 1, BTGreaterEqualStrategyNumber, seen->xmax);
	sn_key_int8(&keys[1], 1, BTLessEqualStrategyNumber, g->now.xmax - 1);
	sn_scan_begin(&r.scan, part->heap, sn_index_of(rel, Anum_log_txid),
				  g->snapshot, 2, keys, ForwardScanDirection);
	sn_run_begin(&r.runs, r.scan.heap, g->snapshot);
	while (sn_scan_next(&r.scan))
		take_found(g, &r);
	for (i = 0; i < seen->nxip; i++)
	{
		if (contains(g->now.xip, g->now.nxip, seen->xip[i]))
			continue;
		sn_key_int8(&keys[0], 1, BTGreaterEqualStrategyNumber, seen->xip[i]);
		sn_key_int8(&keys[1], 1, BTLessEqualStrategyNumber, seen->xip[i]);
		sn_scan_again(&r.scan, g->snapshot, 2, keys);
		while (sn_scan_next(&r.scan))
			take_found(g, &r);
	}
	sn_run_end(&r.runs);
	sn_scan_end(&r.scan);
}

/* in_log: whether the log itself still has an event that is kept */
static bool
in_log(SnGather *g, const pg_uuid_t *id)
{
	SnTick		tick = sn_uuid_tick(id);
	bool		found = false;
	int			n;
	SnPart	   *parts = sn_parts_log(&n);
	int			i;

	for (i = 0; i < n && !found; i++)
	{
		Relation	rel;
		ScanKeyData key;
		SnScan		scan;

		if (tick < parts[i].lower || tick >= parts[i].upper)
			continue;
		rel = try_relation_open(parts[i].heap, AccessShareLock);
		if (rel == NULL)
			continue;
		sn_key_uuid(&key, 1, BTEqualStrategyNumber, id);
		sn_scan_begin(&scan, parts[i].heap,
					  sn_index_of(rel, Anum_log_event_id), g->snapshot, 1,
					  &key, ForwardScanDirection);
		found = sn_scan_next(&scan);
		sn_scan_end(&scan);
		relation_close(rel, AccessShareLock);
	}
	return found;
}

/*
 * gather_due: delayed events of a table, seen before, whose time has come.
 * only_here: leave out those that the log has.
 */
static void
gather_due(SnGather *g, SnPart *part, Relation rel, bool only_here)
{
	ScanKeyData key;
	SnScan		scan;

	sn_key_time(&key, 1, BTGreaterStrategyNumber, g->seen->due_until);
	sn_scan_begin(&scan, part->heap, sn_index_of(rel, Anum_log_deliver_at),
				  g->snapshot, 1, &key, ForwardScanDirection);
	while (sn_scan_next(&scan))
	{
		TupleTableSlot *slot = scan.slot;
		bool		isnull;

		if (!is_seen(g->seen,
					 DatumGetInt64(slot_getattr(slot, Anum_log_txid,
												&isnull))))
			continue;
		if (only_here &&
			in_log(g, DatumGetUUIDP(slot_getattr(slot, Anum_log_event_id,
												 &isnull))))
			continue;
		take_row(g, part, slot);
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
may_hold_new(const SnGather *g, SnPart *part, SnTick clock)
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

/* is_due: whether a table has delayed events whose time has come, or may */
static bool
is_due(const SnGather *g, const SnPart *part)
{
	return !part->due_known || part->next_due <= g->now.due_until;
}

/*
 * gather_part: gather from a table what is new and what is due; false when it
 * has changed since the snapshot.  A table without pages has nothing, whatever
 * its indexes are.
 */
static bool
gather_part(SnGather *g, SnPart *part, bool new_events, bool due_events)
{
	bool		kept = part == sn_parts_kept();
	Relation	rel;

	if (!new_events && !due_events)
		return true;
	rel = sn_parts_open(part);
	if (rel == NULL)
		return false;
	if (due_events)
		part->next_due = DT_NOEND;
	if (RelationGetNumberOfBlocks(rel) > 0)
	{
		if (due_events && g->seen->xmax > 0)
			gather_due(g, part, rel, kept);
		if (new_events)
			gather_visible(g, part, rel);
	}
	part->due_known = true;
	relation_close(rel, AccessShareLock);
	return true;
}

/*
 * sn_gather: collect all that is new, unsorted; false when something has
 * changed under it, and a new snapshot has to be taken.
 */
bool
sn_gather(SnGather *g)
{
	SnTick		clock;
	SnPart	   *parts;
	bool		same;
	int			n;
	int			i;

	if (!sn_parts_complete(g->snapshot))
		return false;
	describe_snapshot(g);
	g->columns = sn_kind_columns();
	clock = pg_atomic_read_u64(&sn_shared()->clock);
	parts = sn_parts_log(&n);
	same = gather_part(g, sn_parts_kept(), false,
					   is_due(g, sn_parts_kept()));
	for (i = 0; i < n && same; i++)
		same = gather_part(g, &parts[i], may_hold_new(g, &parts[i], clock),
						   is_due(g, &parts[i]));
	if (same)
		sn_parts_looked();
	else
		sn_parts_forget();
	return same;
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

/* is_ripe_by_time: whether a table has a delayed event whose time has come */
static bool
is_ripe_by_time(const SnGather *g, Relation rel)
{
	ScanKeyData keys[2];

	sn_key_time(&keys[0], 1, BTGreaterStrategyNumber, g->seen->due_until);
	sn_key_time(&keys[1], 1, BTLessEqualStrategyNumber, g->now.due_until);
	return is_ripe(g, rel, Anum_log_deliver_at, 2, keys);
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
	return is_ripe_by_time(g, rel);
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
	Relation	rel;
	bool		found;
	ListCell   *lc;

	g.now.due_until = GetCurrentTimestamp();
	if (TransactionIdIsValid(own))
		g.own = sn_logical_xid(own);
	rel = table_open(sn_rel(SN_EVENT_KEPT), AccessShareLock);
	found = is_ripe_by_time(&g, rel);
	table_close(rel, AccessShareLock);
	foreach(lc, sn_partition_ranges(SN_EVENT_LOG))
	{
		SnPartRange *range = lfirst(lc);

		if (found)
			break;
		rel = try_relation_open(range->oid, AccessShareLock);
		if (rel == NULL)
			continue;			/* dropped meanwhile: everybody has passed it */
		found = RelationGetNumberOfBlocks(rel) > 0 && part_waits(&g, rel);
		relation_close(rel, AccessShareLock);
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

/* fetch_next: the next of what was gathered, or false */
static bool
fetch_next(SnGather *g, SnItem *item)
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

/* sn_gather_next: the next event, each once, or false */
bool
sn_gather_next(SnGather *g, SnItem *item)
{
	do
		if (!fetch_next(g, item))
			return false;
	while (g->any && sn_uuid_cmp(&item->id, &g->last) == 0);
	g->any = true;
	g->last = item->id;
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
