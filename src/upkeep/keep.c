/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * keep.c
 *		Events that outlive their partition of the log: event_kept.
 *
 * Two kinds of events are waited for when everything else of their partition
 * has been passed by everybody: those that are not due yet, and those that
 * wait for a retry, or behind one.  That can last for years, so before their
 * partition is dropped they are copied to event_kept.  Who looks for an event
 * by its id finds it there (log_read.c), and so does the round in which it is due
 * (gather.c).
 *
 * Which events these are does not change once it is asked: a mark (see
 * retention.c) has seen all transactions of the partition, and every
 * subscription has passed the mark, so nothing is added to the one kind, and
 * what comes to event_retry later comes with a dead letter, which has a copy.
 * So the copies are made in steps, before the partition is locked.
 *
 * A copy goes when a mark has seen the event due, everybody has passed that
 * mark too, and no retry waits for it.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/snapmgr.h"

#include "queue/retry.h"
#include "store/xact_watch.h"
#include "upkeep/keep.h"

#define KEEP_AT_ONCE 2000		/* events copied or looked at in a transaction */

/* The copies being made */
typedef struct Copying
{
	Relation	rel;			/* the partition */
	Snapshot	snapshot;
	SnInserter *inserter;
	SnScan		kept;			/* by event id */
	int			n;				/* events looked at */
} Copying;

/*
 * How far the delayed events of a partition are copied, by this process: they
 * may be millions, which are not looked at again for every few.
 */
static struct
{
	Oid			partition;
	Oid			storage;		/* its file: a rewrite gives rows other places */
	int64		round_no;		/* of the mark */
	TimestampTz at;				/* the last one */
	ItemPointerData tid;
	SubTransactionId subid;		/* that made the last copy and may end yet */
}			reached = {InvalidOid};

/* keep_xact_end: copies that are not there are made again, from the first on */
static void
keep_xact_end(XactEvent event)
{
	if (reached.subid == InvalidSubTransactionId)
		return;
	switch (event)
	{
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:	/* how it ends will not be seen here */
			reached.partition = InvalidOid;
			reached.subid = InvalidSubTransactionId;
			break;
		case XACT_EVENT_COMMIT:
			reached.subid = InvalidSubTransactionId;
			break;
		default:
			break;
	}
}

/* keep_subxact_end: the same; those that began after this one were in it */
static void
keep_subxact_end(SubXactEvent event, SubTransactionId subid)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && reached.subid >= subid)
	{
		reached.partition = InvalidOid;
		reached.subid = InvalidSubTransactionId;
	}
}

static SnXactWatch watch = {.end = keep_xact_end,.sub_end = keep_subxact_end};

/* note_reached: what is copied from now on is this subtransaction's */
static void
note_reached(void)
{
	sn_watch_xacts(&watch);
	reached.subid = GetCurrentSubTransactionId();
}

/* is_kept: whether an event is copied already */
static bool
is_kept(Copying *c, const pg_uuid_t *id)
{
	ScanKeyData key;

	sn_key_uuid(&key, 1, BTEqualStrategyNumber, id);
	sn_scan_again(&c->kept, c->snapshot, 1, &key);
	return sn_scan_next(&c->kept);
}

/* copy: the event in the slot, on its own: not one of a run */
static void
copy(Copying *c, TupleTableSlot *slot)
{
	Datum		values[Natts_log];
	bool		nulls[Natts_log];

	slot_getallattrs(slot);
	memcpy(values, slot->tts_values, sizeof(values));
	memcpy(nulls, slot->tts_isnull, sizeof(nulls));
	values[Anum_log_run - 1] = Int16GetDatum(0);
	nulls[Anum_log_run_keys - 1] = true;
	sn_insert_row(c->inserter, values, nulls);
}

/* passed: whether an entry of the index on deliver_at was copied before */
static bool
passed(TimestampTz at, ItemPointer tid)
{
	return at == reached.at && ItemPointerIsValid(&reached.tid) &&
		ItemPointerCompare(tid, &reached.tid) <= 0;
}

/* keep_delayed: copy events that the mark has not seen due */
static void
keep_delayed(Copying *c, const SnMark *mark)
{
	ScanKeyData key;
	SnScan		scan;

	if (reached.partition != RelationGetRelid(c->rel) ||
		reached.storage != c->rel->rd_rel->relfilenode ||
		reached.round_no != mark->round_no)
	{
		reached.partition = RelationGetRelid(c->rel);
		reached.storage = c->rel->rd_rel->relfilenode;
		reached.round_no = mark->round_no;
		reached.at = mark->due_until;
		ItemPointerSetInvalid(&reached.tid);
	}
	note_reached();
	sn_key_time(&key, 1, ItemPointerIsValid(&reached.tid) ?
				BTGreaterEqualStrategyNumber : BTGreaterStrategyNumber,
				reached.at);
	sn_scan_begin(&scan, RelationGetRelid(c->rel),
				  sn_index_of(c->rel, Anum_log_deliver_at), c->snapshot, 1,
				  &key, ForwardScanDirection);
	while (c->n < KEEP_AT_ONCE && sn_scan_next(&scan))
	{
		bool		isnull;
		TimestampTz at =
			DatumGetTimestampTz(slot_getattr(scan.slot, Anum_log_deliver_at,
											 &isnull));

		if (passed(at, &scan.slot->tts_tid))
			continue;
		c->n++;
		if (!is_kept(c, DatumGetUUIDP(slot_getattr(scan.slot,
												   Anum_log_event_id,
												   &isnull))))
			copy(c, scan.slot);
		reached.at = at;
		reached.tid = scan.slot->tts_tid;
	}
	sn_scan_end(&scan);
}

/* keep_retried: copy events that event_retry names */
static void
keep_retried(Copying *c, const SnPartRange *partition)
{
	SnTableScan *retries = sn_retry_scan_all(c->snapshot);
	Oid			index = sn_index_of(c->rel, Anum_log_event_id);
	pg_uuid_t	id;

	while (c->n < KEEP_AT_ONCE && sn_retry_next_id(retries, &id))
	{
		int64		ms = SN_TICK_MS(sn_uuid_tick(&id));
		ScanKeyData key;
		SnScan		scan;

		if (ms < partition->lower || ms >= partition->upper ||
			is_kept(c, &id))
			continue;
		sn_key_uuid(&key, 1, BTEqualStrategyNumber, &id);
		sn_scan_begin(&scan, RelationGetRelid(c->rel), index, c->snapshot, 1,
					  &key, ForwardScanDirection);
		if (sn_scan_next(&scan))
		{
			copy(c, scan.slot);
			c->n++;
		}
		sn_scan_end(&scan);
	}
	sn_table_end(retries);
}

/*
 * sn_keep: copy the next events of a partition of the log that somebody waits
 * for; true when there are no more.  Called when everybody has passed the mark.
 */
bool
sn_keep(const SnPartRange *partition, const SnMark *mark)
{
	pg_uuid_t	any = {{0}};	/* is_kept() has its own, in this one's place */
	ScanKeyData key;
	Relation	kept;
	Copying		c = {NULL};

	c.rel = try_relation_open(partition->oid, AccessShareLock);
	if (c.rel == NULL)
		return true;			/* somebody else was faster */
	if (RelationGetNumberOfBlocks(c.rel) > 0)
	{
		c.snapshot = RegisterSnapshot(GetLatestSnapshot());
		kept = table_open(sn_rel(SN_EVENT_KEPT), RowExclusiveLock);
		sn_key_uuid(&key, 1, BTEqualStrategyNumber, &any);
		sn_scan_begin(&c.kept, RelationGetRelid(kept),
					  sn_index_of(kept, Anum_log_event_id), c.snapshot, 1,
					  &key, ForwardScanDirection);
		c.inserter = sn_insert_begin(RelationGetRelid(kept), true);
		keep_delayed(&c, mark);
		keep_retried(&c, partition);
		list_free(sn_insert_end(c.inserter));
		sn_scan_end(&c.kept);
		table_close(kept, NoLock);
		UnregisterSnapshot(c.snapshot);
		CommandCounterIncrement();
	}
	relation_close(c.rel, AccessShareLock);
	return c.n < KEEP_AT_ONCE;
}

/* A copy that may be removed */
typedef struct Candidate
{
	pg_uuid_t	id;
	ItemPointerData tid;
	bool		needed;			/* a retry waits for it */
} Candidate;

static pg_uuid_t swept;			/* all up to this one were looked at */

/* sn_kept_any: whether there may be copies */
bool
sn_kept_any(void)
{
	Relation	rel = table_open(sn_rel(SN_EVENT_KEPT), AccessShareLock);
	bool		any = RelationGetNumberOfBlocks(rel) > 0;

	table_close(rel, AccessShareLock);
	return any;
}

/* next_candidates: those after the last, in the order of their ids; how many */
static int
next_candidates(Relation rel, const SnMark *mark, Snapshot snapshot,
				Candidate *candidates, bool *more)
{
	ScanKeyData key;
	SnScan		scan;
	int			looked = 0;
	int			n = 0;

	sn_key_uuid(&key, 1, BTGreaterStrategyNumber, &swept);
	sn_scan_begin(&scan, RelationGetRelid(rel),
				  sn_index_of(rel, Anum_log_event_id), snapshot, 1, &key,
				  ForwardScanDirection);
	while (looked < KEEP_AT_ONCE && sn_scan_next(&scan))
	{
		bool		isnull;
		Datum		due = slot_getattr(scan.slot, Anum_log_deliver_at, &isnull);

		swept = *DatumGetUUIDP(slot_getattr(scan.slot, Anum_log_event_id,
											&(bool) {false}));
		looked++;
		if (!isnull && DatumGetTimestampTz(due) > mark->due_until)
			continue;
		candidates[n].id = swept;
		candidates[n].tid = scan.slot->tts_tid;
		candidates[n++].needed = false;
	}
	*more = looked == KEEP_AT_ONCE;
	sn_scan_end(&scan);
	if (!*more)
		memset(&swept, 0, sizeof(swept));	/* from the beginning next time */
	return n;
}

static int
compare_candidates(const void *a, const void *b)
{
	return sn_uuid_cmp(&((const Candidate *) a)->id,
					   &((const Candidate *) b)->id);
}

/* find_needed: which of the candidates event_retry names */
static void
find_needed(Candidate *candidates, int n, Snapshot snapshot)
{
	SnTableScan *scan = sn_retry_scan_all(snapshot);
	Candidate	wanted;

	while (sn_retry_next_id(scan, &wanted.id))
	{
		Candidate  *found = bsearch(&wanted, candidates, n, sizeof(Candidate),
									compare_candidates);

		if (found != NULL)
			found->needed = true;
	}
	sn_table_end(scan);
}

/*
 * sn_keep_sweep: remove the next copies that nobody needs; returns whether
 * there are more to look at.  Called when everybody has passed the mark.
 */
bool
sn_keep_sweep(const SnMark *mark)
{
	Oid			relid = sn_rel(SN_EVENT_KEPT);
	Candidate  *candidates;
	Snapshot	snapshot;
	Relation	rel;
	bool		more;
	int			n;
	int			i;

	if (!ConditionalLockRelationOid(relid, ShareUpdateExclusiveLock))
		return false;			/* somebody is at it */
	rel = table_open(relid, RowExclusiveLock);
	candidates = palloc(sizeof(Candidate) * KEEP_AT_ONCE);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	n = next_candidates(rel, mark, snapshot, candidates, &more);
	if (n > 0)
		find_needed(candidates, n, snapshot);
	UnregisterSnapshot(snapshot);
	for (i = 0; i < n; i++)
		if (!candidates[i].needed)
			simple_heap_delete(rel, &candidates[i].tid);
	pfree(candidates);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	return more;
}
