/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * journal.c
 *		Journals of two halves, of which only the newest rows count.
 *
 * One half takes new rows, and readers look into both.  When it has grown, the
 * other one takes rows.  The rest is the business of who knows the rows: to
 * carry over what is newest in the half that was left, and then to truncate it.
 *
 * The half is switched, rows are carried over, and the other one is truncated
 * in different transactions, each at its time.  Who reads under a snapshot of
 * that moment finds the newest row whenever he comes.  One who comes with a
 * snapshot from before rows were carried over, when the half has been truncated,
 * finds none: that is for views in a transaction that lasts, and for nobody who
 * acts on what he finds.
 *
 * Which half takes rows is asked under the lock that the writers of a journal
 * have: the round lock, or that of the lane.  After a crash it is half 0 again,
 * with whatever both have: the newest row counts in either.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "commands/tablecmds.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"

#include "base/fault.h"
#include "base/guc.h"
#include "store/journal.h"
#include "store/owner.h"

/* Halves and their indexes, which end with the version; the others follow */
static const struct
{
	SnRel		half;
	SnRel		index;
	AttrNumber	version;
}			journals[] =
{
	[SN_ROUNDS] = {SN_ROUND_0, SN_ROUND_0_IDX, Anum_round_no},
	[SN_LANES] = {SN_LANE_STATE_0, SN_LANE_STATE_0_IDX, Anum_lane_ver},
};

StaticAssertDecl(lengthof(journals) == SN_JOURNALS, "a journal is missing");
StaticAssertDecl(SN_ROUND_1 == SN_ROUND_0 + 1 &&
				 SN_ROUND_1_IDX == SN_ROUND_0_IDX + 1 &&
				 SN_LANE_STATE_1 == SN_LANE_STATE_0 + 1 &&
				 SN_LANE_STATE_1_IDX == SN_LANE_STATE_0_IDX + 1,
				 "halves of a journal follow each other");

/* sn_journal_half: the table of a half */
SnRel
sn_journal_half(SnJournal journal, int half)
{
	return journals[journal].half + half;
}

/* sn_journal_id: another CREATE EXTENSION makes another one */
Oid
sn_journal_id(SnJournal journal)
{
	return sn_rel(journals[journal].half);
}

/* sn_journal_used: the half that takes rows */
int
sn_journal_used(SnJournal journal)
{
	return pg_atomic_read_u32(&sn_database()->journal_half[journal]) & 1;
}

/* sn_journal_scan: the rows of a half, newest first */
void
sn_journal_scan(SnScan *scan, SnJournal journal, int half, Snapshot snapshot,
				int nkeys, ScanKey keys)
{
	sn_scan_named(scan, journals[journal].half + half,
				  journals[journal].index + half, snapshot, nkeys, keys,
				  BackwardScanDirection);
}

/* sn_journal_newest: the newest row that the keys allow, or NULL */
TupleTableSlot *
sn_journal_newest(SnJournalReader *reader, SnJournal journal,
				  Snapshot snapshot, int nkeys, ScanKey keys)
{
	TupleTableSlot *result = NULL;
	int64		newest = 0;
	int			half;

	for (half = 0; half < 2; half++)
	{
		SnScan	   *scan = &reader->half[half];
		bool		isnull;
		int64		version;

		if (reader->open)
			sn_scan_again(scan, snapshot, nkeys, keys);
		else
			sn_journal_scan(scan, journal, half, snapshot, nkeys, keys);
		if (!sn_scan_next(scan))
			continue;
		version = DatumGetInt64(slot_getattr(scan->slot,
											 journals[journal].version,
											 &isnull));
		if (result != NULL && version <= newest)
			continue;
		newest = version;
		reader->newest = half;
		result = scan->slot;
	}
	reader->open = true;
	return result;
}

/* sn_journal_end: close a reader */
void
sn_journal_end(SnJournalReader *reader)
{
	if (!reader->open)
		return;
	sn_scan_end(&reader->half[1]);
	sn_scan_end(&reader->half[0]);
	reader->open = false;
}

/* sn_journal_append: begin to write rows, under a writer's lock */
SnInserter *
sn_journal_append(SnJournal journal)
{
	Assert(journal != SN_ROUNDS || sn_round_is_ours());
	return sn_insert_begin(sn_rel(sn_journal_half(journal,
												  sn_journal_used(journal))),
						   false);
}

/* size_of: bytes of a table */
static int64
size_of(SnRel which)
{
	Relation	rel = table_open(sn_rel(which), AccessShareLock);
	BlockNumber blocks = RelationGetNumberOfBlocks(rel);

	table_close(rel, AccessShareLock);
	return (int64) blocks * BLCKSZ;
}

/*
 * sn_journal_turn: leave the half in use if it has grown and the other one is
 * empty.  False when that has rows, and has to be truncated first.
 */
bool
sn_journal_turn(SnJournal journal)
{
	int			used = sn_journal_used(journal);

	Assert(journal != SN_ROUNDS || sn_round_is_ours());
	if (size_of(sn_journal_half(journal, !used)) > 0)
		return false;
	if (size_of(sn_journal_half(journal, used)) <=
		(int64) sn_journal_size * 1024)
		return true;
	pg_atomic_write_u32(&sn_database()->journal_half[journal], !used);
	if (journal == SN_ROUNDS)
		SN_FAULT(round_switch);
	else
		SN_FAULT(journal_switch);
	return true;
}

/*
 * sn_journal_seize: lock the half that takes no rows, unless somebody has it.
 * Whoever appended to it has committed then.
 */
bool
sn_journal_seize(SnJournal journal)
{
	return ConditionalLockRelationOid(sn_rel(sn_journal_half(journal,
															 !sn_journal_used(journal))),
									  AccessExclusiveLock);
}

/* sn_journal_truncate: empty the half that was seized, as its owner */
void
sn_journal_truncate(SnJournal journal)
{
	Relation	rel = table_open(sn_rel(sn_journal_half(journal,
														!sn_journal_used(journal))),
								 NoLock);
	TruncateStmt *stmt = makeNode(TruncateStmt);
	SnCaller	caller;

	Assert(CheckRelationLockedByMe(rel, AccessExclusiveLock, false));
	stmt->relations =
		list_make1(makeRangeVar(get_namespace_name(RelationGetNamespace(rel)),
								pstrdup(RelationGetRelationName(rel)), -1));
	stmt->behavior = DROP_RESTRICT;
	sn_become_owner(rel, &caller);
	table_close(rel, NoLock);
	ExecuteTruncate(stmt);
	sn_become_caller(&caller);
	CommandCounterIncrement();
	SN_FAULT(journal_truncate);
}
