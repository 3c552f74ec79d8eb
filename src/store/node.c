/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * node.c
 *		Where this database lives, and the logical transaction numbers.
 *
 * The newest row of node tells in which cluster and database the
 * extension was last used.  A fresh install has none and behaves as if it had
 * one with offset 0; the first round or subscription writes it.  When the row
 * names another cluster or database, this is a restored or copied database:
 * transaction numbers here may be lower than those stored, so the first to
 * publish or to take a round adds a row with an offset that lifts them above,
 * and the relay stays paused until resume_relay().
 *
 * A cluster that was recovered from a backup is a copy, too, of the whole
 * cluster: the row names another recovery than the one it came out of
 * (recovery.c).  Nobody is restoring anything into it, and its transaction
 * numbers go on, prepared transactions included; so the sequencer adds the row
 * as soon as it runs, with the offset as it is.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

#include "base/guc.h"
#include "shared/recovery.h"
#include "shared/shmem.h"
#include "store/journal.h"
#include "store/range.h"
#include "store/store.h"
#include "store/xact_end.h"

typedef struct NodeRow
{
	int			node_no;		/* 0: no row yet */
	int64		system_identifier;
	Oid			database_oid;
	SnNode		node;
	TimestampTz activated_at;
	int64		recovery;
} NodeRow;

static SnNode current;
static Oid	current_for = InvalidOid;	/* node table the cache was read from */
static bool current_stored = false; /* the row is written and committed */
static Oid	watched_node = InvalidOid;	/* the table whose changes count */
static uint64 node_changes = 0; /* how many there were */

/* read_newest: the newest row of node, all zero when there is none */
static void
read_newest(NodeRow *row)
{
	SnTableScan *scan = sn_table_read(SN_NODE, NULL);
	TupleTableSlot *slot;

	memset(row, 0, sizeof(NodeRow));
	while ((slot = sn_table_next(scan)) != NULL)
	{
		Datum	   *values = slot->tts_values;
		int			no = DatumGetInt32(values[Anum_node_no - 1]);

		if (no <= row->node_no)
			continue;
		row->node_no = no;
		row->system_identifier =
			DatumGetInt64(values[Anum_node_system_identifier - 1]);
		row->database_oid =
			DatumGetObjectId(values[Anum_node_database_oid - 1]);
		row->node.lanes = DatumGetInt32(values[Anum_node_lanes - 1]);
		row->node.txid_offset =
			DatumGetInt64(values[Anum_node_txid_offset - 1]);
		row->activated_at =
			DatumGetTimestampTz(values[Anum_node_activated_at - 1]);
		row->recovery = DatumGetInt64(values[Anum_node_recovery - 1]);
	}
	sn_table_end(scan);
}

/* same_cluster: whether the row was written here, or where this is a copy of */
static bool
same_cluster(const NodeRow *row)
{
	return row->system_identifier == (int64) GetSystemIdentifier() &&
		row->database_oid == MyDatabaseId;
}

/* is_copy: of a whole cluster, and not yet used */
static bool
is_copy(const NodeRow *row)
{
	return same_cluster(row) && sn_recovery_id() != 0 &&
		row->recovery != sn_recovery_id() && !RecoveryInProgress();
}

static bool
is_here(const NodeRow *row)
{
	return same_cluster(row) && !is_copy(row);
}

/* newest_int8: the greatest value of an indexed bigint column, or -1 */
static int64
newest_int8(Oid heap, Oid index, AttrNumber column)
{
	Snapshot	snapshot = sn_snapshot_now();
	int64		result = -1;
	SnScan		scan;

	sn_scan_begin(&scan, heap, index, snapshot, 0, NULL,
				  BackwardScanDirection);
	if (sn_scan_next(&scan))
	{
		bool		isnull;

		result = DatumGetInt64(slot_getattr(scan.slot, column, &isnull));
	}
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	return result;
}

/* newest_txid: the greatest logical number stored in log and rounds */
static int64
newest_txid(void)
{
	Snapshot	snapshot = sn_snapshot_now();
	SnJournalReader rounds = {false};
	TupleTableSlot *slot;
	int64		result = 0;
	bool		isnull;
	ListCell   *lc;

	foreach(lc, sn_partition_ranges(SN_EVENT_LOG))
	{
		SnPartRange *range = lfirst(lc);
		Relation	part = try_relation_open(range->oid, AccessShareLock);

		if (part == NULL)
			continue;
		result = Max(result, newest_int8(RelationGetRelid(part),
										 sn_index_of(part, Anum_log_txid),
										 Anum_log_txid));
		relation_close(part, AccessShareLock);
	}
	slot = sn_journal_newest(&rounds, SN_ROUNDS, snapshot, 0, NULL);
	if (slot != NULL)
		result = Max(result,
					 DatumGetInt64(slot_getattr(slot, Anum_round_snap_xmax,
												&isnull)));
	sn_journal_end(&rounds);
	UnregisterSnapshot(snapshot);
	return result;
}

/* write_node_row: the row of this cluster and database */
static void
write_node_row(int node_no, const SnNode *node)
{
	Datum		values[Natts_node];
	bool		nulls[Natts_node] = {false};

	values[Anum_node_no - 1] = Int32GetDatum(node_no);
	values[Anum_node_system_identifier - 1] =
		Int64GetDatum((int64) GetSystemIdentifier());
	values[Anum_node_database_oid - 1] = ObjectIdGetDatum(MyDatabaseId);
	values[Anum_node_lanes - 1] = Int32GetDatum(node->lanes);
	values[Anum_node_txid_offset - 1] = Int64GetDatum(node->txid_offset);
	values[Anum_node_activated_at - 1] =
		TimestampTzGetDatum(GetCurrentTimestamp());
	values[Anum_node_recovery - 1] = Int64GetDatum(sn_recovery_id());
	sn_insert_one(SN_NODE, values, nulls);
	CacheInvalidateRelcacheByRelid(sn_rel(SN_NODE));
	CommandCounterIncrement();
	sn_note_published();		/* the sequencer may begin */
}

/*
 * forget_node: relcache callback.  A row was written, here or elsewhere, or one
 * that was written here is not there: the server tells that of a transaction or
 * savepoint that is rolled back, and of one that is prepared.
 */
static void
forget_node(Datum arg, Oid relid)
{
	if (OidIsValid(relid) && relid != watched_node)
		return;
	node_changes++;
	current_for = InvalidOid;
}

/* take_over: make this cluster and database the one in force */
static void
take_over(NodeRow *row)
{
	LockRelationOid(sn_rel(SN_NODE), ShareRowExclusiveLock);
	read_newest(row);
	if (is_here(row))
		return;
	if (row->node_no == 0)
		row->node.lanes = sn_lanes;
	else if (!same_cluster(row))
	{
		Snapshot	snapshot = sn_snapshot_now();
		FullTransactionId next = ReadNextFullTransactionId();
		uint32		behind = XidFromFullTransactionId(next) - snapshot->xmin;
		int64		oldest = U64FromFullTransactionId(next) - behind;

		row->node.txid_offset =
			Max(row->node.txid_offset, newest_txid() + 1 - oldest);
		UnregisterSnapshot(snapshot);
	}
	write_node_row(row->node_no + 1, &row->node);
}

/* load_node: fill the cache; store says whether the row has to be written */
static void
load_node(bool store)
{
	static bool registered = false;
	Oid			table = sn_rel(SN_NODE);
	uint64		before;
	NodeRow		row;

	if (!registered)
	{
		sn_watch_relations(forget_node);
		registered = true;
	}
	watched_node = table;
	before = node_changes;
	read_newest(&row);
	if (row.node_no == 0 && !store)
		row.node.lanes = sn_lanes;	/* fresh install */
	else if (!is_here(&row))
	{
		take_over(&row);
		before = node_changes;	/* with its lock: none but our own */
	}
	current = row.node;
	current_stored = row.node_no != 0 || store;
	current_for = node_changes == before ? table : InvalidOid;
}

/*
 * sn_node: what is in force here.  Writes nothing in a fresh install, so that
 * the first publishers do not wait for each other.
 */
const SnNode *
sn_node(void)
{
	if (!OidIsValid(current_for))
		load_node(false);
	return &current;
}

/* sn_node_activate: the same, with the row written if there is none */
const SnNode *
sn_node_activate(void)
{
	if (!OidIsValid(current_for) || !current_stored)
		load_node(true);
	return &current;
}

/*
 * sn_node_active: whether the database is in use here.  Until then it may just
 * be being restored, and the workers leave it alone.
 */
bool
sn_node_active(void)
{
	NodeRow		row;

	if (OidIsValid(current_for) && current_stored)
		return true;
	read_newest(&row);
	return row.node_no != 0 && is_here(&row);
}

/* sn_node_copied: whether it is in a copy of its cluster and not yet used */
bool
sn_node_copied(void)
{
	NodeRow		row;

	read_newest(&row);
	return row.node_no != 0 && is_copy(&row);
}

/*
 * sn_node_moved_at: when the database was first used here after it had been in
 * use elsewhere; DT_NOBEGIN: it has always been here.
 */
TimestampTz
sn_node_moved_at(void)
{
	NodeRow		row;

	read_newest(&row);
	return row.node_no > 1 ? row.activated_at : DT_NOBEGIN;
}

/* sn_node_moved: whether the database was restored or copied and not yet used */
bool
sn_node_moved(void)
{
	NodeRow		row;

	read_newest(&row);
	return row.node_no != 0 && !is_here(&row);
}

/*
 * sn_node_elsewhere: whether the newest row, of which the number (0: none) and
 * the recovery are told, was written in another place than this
 */
bool
sn_node_elsewhere(int *node_no, int64 *recovery)
{
	NodeRow		row;

	read_newest(&row);
	*node_no = row.node_no;
	*recovery = row.recovery;
	return row.node_no != 0 &&
		(!same_cluster(&row) ||
		 (sn_recovery_id() != 0 && row.recovery != sn_recovery_id()));
}

/* sn_logical_txid: logical number of this top-level transaction */
int64
sn_logical_txid(void)
{
	return (int64) U64FromFullTransactionId(GetTopFullTransactionId()) +
		sn_node()->txid_offset;
}

/*
 * sn_logical_xid: logical number of a transaction of a snapshot, which is at
 * most 2^31 behind the next one.
 */
int64
sn_logical_xid(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	int32		behind = (int32) (XidFromFullTransactionId(next) - xid);

	return (int64) U64FromFullTransactionId(next) - behind +
		sn_node()->txid_offset;
}
