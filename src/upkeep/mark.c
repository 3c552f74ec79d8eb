/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * mark.c
 *		Marks: rounds that had seen everything of a stretch of time.
 *
 * An event can be sequenced long after its id was taken, so which slices have
 * the events of a stretch is learned from a mark: a round that had seen all
 * rows of the log's partition, and after which no round has a number of that
 * time any more.  Everything in it is in the slices up to that round, except
 * what is not due yet.
 */
#include "postgres.h"

#include "access/relation.h"
#include "utils/snapmgr.h"

#include "sequencer/round.h"
#include "sequencer/sequencer.h"
#include "shared/shmem.h"
#include "store/store.h"
#include "upkeep/mark.h"

/* sn_mark_read: the newest round as a mark that covers the time up to taken */
void
sn_mark_read(SnMark *mark, int64 taken)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnSeen		seen;

	sn_round_newest(snapshot, &seen);
	UnregisterSnapshot(snapshot);
	memset(mark, 0, sizeof(SnMark));
	mark->taken = taken;
	mark->round_no = seen.round_no;
	mark->xmax = seen.nxip > SN_MARK_XIP ? seen.xip[SN_MARK_XIP] : seen.xmax;
	mark->nxip = Min(seen.nxip, SN_MARK_XIP);
	if (mark->nxip > 0)
		memcpy(mark->xip, seen.xip, mark->nxip * sizeof(int64));
	mark->due_until = seen.due_until;
}

/*
 * sn_mark_make: a mark of now, if no round is being taken, which would have its
 * number already, be it by this transaction: it may yet be rolled back
 */
bool
sn_mark_make(SnMark *mark)
{
	if (sn_round_taken() || !sn_lock_round())
		return false;
	sn_mark_read(mark, SN_TICK_MS(sn_clock_take(1)));
	sn_unlock_round();
	return true;
}

/* sn_mark_get: the one that is kept in shared memory until it serves no more */
SnMark
sn_mark_get(void)
{
	SnMark		mark;

	sn_shared_copy(&mark, &sn_database()->mark, sizeof(mark));
	return mark;
}

/* sn_mark_set: keep it */
void
sn_mark_set(const SnMark *mark)
{
	SnDatabase *db = sn_database();

	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	db->mark = *mark;
	LWLockRelease(&sn_shared()->lock);
}

/* has_event_of: whether a partition has a visible event of such transactions */
static bool
has_event_of(Relation rel, ScanKey txid, Snapshot snapshot)
{
	SnScan		scan;
	bool		found;

	sn_scan_begin(&scan, RelationGetRelid(rel),
				  sn_index_of(rel, Anum_log_txid), snapshot, 1, txid,
				  ForwardScanDirection);
	found = sn_scan_next(&scan);
	sn_scan_end(&scan);
	return found;
}

/*
 * sn_mark_saw_all: whether a round had seen the transactions of all events of a
 * partition of the log
 */
bool
sn_mark_saw_all(Oid partition, const SnMark *mark, Snapshot snapshot)
{
	Relation	rel = try_relation_open(partition, AccessShareLock);
	ScanKeyData key;
	bool		missing;
	int			i;

	if (rel == NULL)
		return true;			/* somebody else was faster */
	sn_key_int8(&key, 1, BTGreaterEqualStrategyNumber, mark->xmax);
	missing = has_event_of(rel, &key, snapshot);
	for (i = 0; i < mark->nxip && !missing; i++)
	{
		sn_key_int8(&key, 1, BTEqualStrategyNumber, mark->xip[i]);
		missing = has_event_of(rel, &key, snapshot);
	}
	relation_close(rel, AccessShareLock);
	return !missing;
}
