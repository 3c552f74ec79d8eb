/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * parts.c
 *		Which tables a round has to look at, and that they stay what they are.
 *
 * A partition is closed, and not looked at for new events again by this
 * process, once no transaction can add to it: the clock has passed its end,
 * and every transaction that had a number at that moment has ended before the
 * snapshot of a round that was committed.  This holds because a publisher
 * takes its transaction number before the id of its event.  For delayed events
 * each is looked at when the first of those in it is due.
 *
 * Between a round's snapshot and its look at a partition nobody may put a copy
 * in its place, as pg_repack does: the snapshot would not see the rows of the
 * copy, and would count their transactions as seen.  So those that get events
 * are locked before the snapshot is taken.  Who reads the journal anew knows
 * nothing and has to look at all there are, which may be thousands, and the
 * lock table is everybody's: beyond the newest HELD_MAX a partition is locked
 * only while it is looked at, and the round begins anew if its file is not the
 * one that it had before the snapshot.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "sequencer/parts.h"
#include "store/partition.h"
#include "store/range.h"

#define DUE_SOON 1000			/* ms, longer than from the locks to the snapshot */
#define HELD_MAX 32				/* partitions locked at a time */
#define UNTOLD 100				/* us: others are about to be told of a partition */

static SnPart *parts = NULL;	/* in TopMemoryContext, oldest first */
static int	nparts = 0;
static SnPart kept;				/* event_kept: nothing is new in it */
static Oid	parts_of = InvalidOid;	/* event_log they belong to; invalid: read
									 * them again */
static Oid	watched_log = InvalidOid;	/* the one whose changes count */
static uint64 log_changes = 0;	/* how many there were */
static Oid	held[HELD_MAX + 1];
static int	nheld = 0;

static bool due_known = false;	/* next_due holds, that of all */
static TimestampTz next_due;

/* forget_list: a relation changed; ours are read again if it is the log */
static void
forget_list(Datum arg, Oid relid)
{
	if (relid != InvalidOid && relid != watched_log)
		return;
	log_changes++;
	parts_of = InvalidOid;
}

/* find_part: what is known of a partition, or NULL */
static const SnPart *
find_part(Oid heap)
{
	int			i;

	for (i = 0; i < nparts; i++)
		if (parts[i].heap == heap)
			return &parts[i];
	return NULL;
}

/*
 * load_part_list: read the list of partitions; one that is gone may have left
 * events
 */
static void
load_part_list(void)
{
	static bool registered = false;
	Oid			log = sn_rel(SN_EVENT_LOG);
	Relation	rel;
	SnPartRange *map;
	SnPart	   *fresh;
	uint64		before;
	int			n;
	int			i;

	if (!registered)
	{
		sn_watch_relations(forget_list);
		registered = true;
	}
	watched_log = log;
	before = log_changes;
	rel = table_open(log, AccessShareLock);
	map = sn_partition_map(SN_EVENT_LOG, rel, &n);
	fresh = palloc0(sizeof(SnPart) * (n + 1));
	for (i = 0; i < n; i++)
	{
		const SnPart *known = find_part(map[i].oid);

		if (known != NULL)
			fresh[i] = *known;
		fresh[i].heap = map[i].oid;
		fresh[i].lower = Max(map[i].first, 0);
		fresh[i].upper = map[i].end;
	}
	table_close(rel, AccessShareLock);
	pfree(map);
	if (parts != NULL)
		pfree(parts);
	nparts = 0;
	parts = MemoryContextAlloc(TopMemoryContext, sizeof(SnPart) * (n + 1));
	memcpy(parts, fresh, sizeof(SnPart) * n);
	nparts = n;
	pfree(fresh);
	kept.heap = sn_rel(SN_EVENT_KEPT);
	kept.due_known = due_known = false;
	parts_of = log_changes == before ? log : InvalidOid;
}

/* file_of: the file that a table has, or InvalidOid when it is gone */
static Oid
file_of(Oid heap)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(heap));
	Oid			file;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	file = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode;
	ReleaseSysCache(tuple);
	return file;
}

/* lock_part: hold a table, or remember what it is */
static void
lock_part(SnPart *part)
{
	part->held = nheld < lengthof(held);
	if (part->held)
	{
		LockRelationOid(part->heap, AccessShareLock);
		held[nheld++] = part->heap;
	}
	else
		part->file = file_of(part->heap);
}

/*
 * sn_parts_lock: see to it that what a round is going to look at stays as it
 * is, before the round takes its snapshot.  Locks of an earlier transaction
 * went with it.
 */
void
sn_parts_lock(void)
{
	TimestampTz soon = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												   DUE_SOON);
	int			i;

	nheld = 0;
	for (;;)
	{
		AcceptInvalidationMessages();
		if (parts_of != sn_rel(SN_EVENT_LOG))
			load_part_list();
		for (i = 0; i < nparts; i++)
		{
			parts[i].held = false;
			parts[i].file = InvalidOid;
		}
		lock_part(&kept);
		for (i = nparts - 1; i >= 0; i--)
			if (!parts[i].closed || !parts[i].due_known ||
				parts[i].next_due <= soon)
				lock_part(&parts[i]);
		if (parts_of == sn_rel(SN_EVENT_LOG))
			break;
		sn_parts_unlock();		/* changed before all were locked */
		CHECK_FOR_INTERRUPTS();
	}
}

/* oids_of: the partitions of the open log as this process has been told, sorted */
static Oid *
oids_of(Relation log, int *n)
{
	PartitionDesc desc = RelationGetPartitionDesc(log, true);
	Oid		   *result = palloc(sizeof(Oid) * (desc->nparts + 1));

	*n = desc->nparts;
	if (desc->nparts > 0)		/* or else there is no list to copy */
		memcpy(result, desc->oids, sizeof(Oid) * desc->nparts);
	qsort(result, desc->nparts, sizeof(Oid), oid_cmp);
	return result;
}

/* was_told: whether this process has been told of all partitions that a snapshot shows */
static bool
was_told(Snapshot snapshot)
{
	Relation	log = table_open(sn_rel(SN_EVENT_LOG), AccessShareLock);
	Relation	inherits = table_open(InheritsRelationId, AccessShareLock);
	bool		result = true;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	Oid		   *oids;
	int			n;

	oids = oids_of(log, &n);
	ScanKeyInit(&key, Anum_pg_inherits_inhparent, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(RelationGetRelid(log)));
	scan = systable_beginscan(inherits, InheritsParentIndexId, true, snapshot,
							  1, &key);
	while (result && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_inherits row = (Form_pg_inherits) GETSTRUCT(tuple);

		result = row->inhdetachpending ||
			bsearch(&row->inhrelid, oids, n, sizeof(Oid), oid_cmp) != NULL;
	}
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
	table_close(log, AccessShareLock);
	pfree(oids);
	return result;
}

/*
 * sn_parts_complete: whether the list has every partition whose events the round's
 * snapshot shows.  A transaction that makes one, and publishes into it, is visible a
 * moment before others are told of the partition.  Until then it has the lock.
 */
bool
sn_parts_complete(Snapshot snapshot)
{
	bool		told = !sn_partition_in_hands() || was_told(snapshot);

	if (!told)
		pg_usleep(UNTOLD);
	AcceptInvalidationMessages();
	return told && parts_of == sn_rel(SN_EVENT_LOG);
}

/* sn_parts_unlock: the round has seen what it had to see */
void
sn_parts_unlock(void)
{
	while (nheld > 0)
		UnlockRelationOid(held[--nheld], AccessShareLock);
}

/*
 * sn_parts_open: open a table that sn_parts_lock() has looked after; NULL when
 * it is not what it was then.
 */
Relation
sn_parts_open(const SnPart *part)
{
	Relation	rel = try_relation_open(part->heap, AccessShareLock);

	if (rel == NULL || part->held || rel->rd_rel->relfilenode == part->file)
		return rel;
	relation_close(rel, AccessShareLock);
	return NULL;
}

/* sn_parts_log: the partitions of event_log, oldest first */
SnPart *
sn_parts_log(int *n)
{
	*n = nparts;
	return parts;
}

/* sn_parts_kept: event_kept */
SnPart *
sn_parts_kept(void)
{
	return &kept;
}

/* sn_parts_looked: a round has looked at all of them */
void
sn_parts_looked(void)
{
	int			i;

	next_due = kept.next_due;
	for (i = 0; i < nparts; i++)
		next_due = Min(next_due, parts[i].next_due);
	due_known = true;
}

/* sn_parts_passed: the last round is committed; raises no error */
void
sn_parts_passed(void)
{
	int			i;

	for (i = 0; i < nparts; i++)
		if (parts[i].closes)
			parts[i].closed = true;
}

/*
 * sn_parts_forget: the next round begins from what the journal says, be it
 * that others have taken rounds or that the last one here failed.  A partition
 * that was closed may hold delayed events that the journal has not seen.
 */
void
sn_parts_forget(void)
{
	int			i;

	due_known = false;
	parts_of = InvalidOid;
	for (i = 0; i < nparts; i++)
		parts[i].closes = parts[i].closed = parts[i].due_known = false;
}

/* sn_parts_next_due: time of the next delayed event; DT_NOBEGIN: not known */
TimestampTz
sn_parts_next_due(void)
{
	return due_known ? next_due : DT_NOBEGIN;
}
