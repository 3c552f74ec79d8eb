/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * scan.c
 *		Index scans (which index, its keys, the rows), and scans of small
 *		tables.
 *
 * No relation is kept open, and no lock kept, beyond what the caller's
 * transaction would.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "store/store.h"

/* hashed_column: the column whose hash is all an index has of expressions, or 0 */
static AttrNumber
hashed_column(Relation index)
{
	List	   *expressions = RelationGetIndexExpressions(index);
	FuncExpr   *call;

	if (list_length(expressions) != 1 || !IsA(linitial(expressions), FuncExpr))
		return 0;
	call = linitial_node(FuncExpr, expressions);
	if (call->funcid != F_HASHTEXT || !IsA(linitial(call->args), Var))
		return 0;
	return linitial_node(Var, call->args)->varattno;
}

/*
 * has_rows: whether an index that is partial leaves out only rows that have
 * nothing in its first column, or that others of their run stand for.
 */
static bool
has_rows(Relation heap, Relation index)
{
	Bitmapset  *columns = NULL;
	int			column;

	if (heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return true;
	pull_varattnos((Node *) RelationGetIndexPredicate(index), 1, &columns);
	if (!bms_get_singleton_member(columns, &column))
		return false;
	column += FirstLowInvalidHeapAttributeNumber;
	return column == index->rd_index->indkey.values[0] ||
		column == hashed_column(index) ||
		column == get_attnum(RelationGetRelid(heap), "run");
}

/* is_hash_of: whether the hash of this column is all an index has of expressions */
static bool
is_hash_of(Relation heap, Relation index, const char *name)
{
	AttrNumber	column = hashed_column(index);

	return column != 0 && column == get_attnum(RelationGetRelid(heap), name);
}

/* is_selected_by: whether predicates of ours look at a column */
static bool
is_selected_by(Relation heap, int column)
{
	static const char *const names[] = {
		"run", "deliver_at", "due_at", "status", "idempotency_key",
		"correlation_id"
	};
	int			i;

	for (i = 0; i < lengthof(names); i++)
		if (column == get_attnum(RelationGetRelid(heap), names[i]))
			return true;
	return false;
}

static bool
is_not_built_in(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}

/* sn_calls_others: whether an expression runs code that is not built in */
bool
sn_calls_others(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return IsA(node, CoerceToDomain) ||
		check_functions_in_node(node, is_not_built_in, context) ||
		expression_tree_walker(node, sn_calls_others, context);
}

/*
 * sn_index_is_ours: whether an index has no expressions and predicates, or
 * such as the extension makes: nothing that could fail for a row.
 */
bool
sn_index_is_ours(Relation heap, Relation index)
{
	List	   *predicate = RelationGetIndexPredicate(index);
	Bitmapset  *columns = NULL;
	int			column = -1;

	if (RelationGetIndexExpressions(index) != NIL &&
		!is_hash_of(heap, index, "tenant_id") &&
		!is_hash_of(heap, index, "correlation_id"))
		return false;
	pull_varattnos((Node *) predicate, 1, &columns);
	while ((column = bms_next_member(columns, column)) >= 0)
		if (!is_selected_by(heap, column + FirstLowInvalidHeapAttributeNumber))
			return false;
	return !sn_calls_others((Node *) predicate, NULL);
}

/*
 * is_on: whether an index is a B-tree on these columns, in rising order.
 * SN_TENANT_HASH stands for the hash of the tenant's name, SN_FLOW_HASH for that
 * of the correlation id.
 */
static bool
is_on(Relation heap, Relation index, int ncolumns, const AttrNumber *columns)
{
	int			i;

	if (index->rd_rel->relam != BTREE_AM_OID ||
		index->rd_index->indnkeyatts != ncolumns)
		return false;
	if ((columns[0] == SN_TENANT_HASH && !is_hash_of(heap, index, "tenant_id")) ||
		(columns[0] == SN_FLOW_HASH &&
		 !is_hash_of(heap, index, "correlation_id")))
		return false;
	for (i = 0; i < ncolumns; i++)
		if (index->rd_index->indkey.values[i] != Max(columns[i], 0) ||
			index->rd_indoption[i] != 0)
			return false;
	return true;
}

/*
 * sn_find_index: what sn_index_of() does; InvalidOid when there is none and none
 * has to be.  No index stays locked: the lock of its table keeps it.
 */
Oid
sn_find_index(Relation heap, int ncolumns, const AttrNumber *columns,
			  bool missing_ok)
{
	List	   *indexes = RelationGetIndexList(heap);
	Oid			result = InvalidOid;
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (index->rd_index->indisvalid && is_on(heap, index, ncolumns, columns) &&
			has_rows(heap, index))
			result = RelationGetRelid(index);
		index_close(index, AccessShareLock);
		if (OidIsValid(result))
			break;
	}
	list_free(indexes);
	if (!OidIsValid(result) && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" lacks an index that sentinai needs",
						RelationGetRelationName(heap)),
				 errdetail("No valid index on %d columns begins with column %d.",
						   ncolumns, columns[0]),
				 errhint("Create the index again as on the other partitions.")));
	return result;
}

/* make_slot: for the rows of a table, which may be one of the version before */
static TupleTableSlot *
make_slot(Relation heap)
{
	TupleDesc	full = sn_full_desc(heap);

	return full == NULL ? table_slot_create(heap, NULL) :
		MakeSingleTupleTableSlot(full, table_slot_callbacks(heap));
}

/* begin_index_scan: scan an open table by an index */
static void
begin_index_scan(SnScan *scan, Oid index, Snapshot snapshot, int nkeys,
				 ScanKey keys, ScanDirection direction)
{
	scan->unlock = AccessShareLock;
	scan->index = index_open(index, AccessShareLock);
	scan->slot = make_slot(scan->heap);
	scan->required = sn_required(RelationGetRelid(scan->heap));
	scan->direction = direction;
	scan->desc = sn_index_beginscan(scan->heap, scan->index, snapshot, nkeys);
	index_rescan(scan->desc, keys, nkeys, NULL, 0);
}

/*
 * sn_snapshot_now: a registered snapshot of this moment.  Functions that views
 * and queries call need this one: the leader of a parallel query calls them,
 * too, and GetLatestSnapshot() is not for him.  What PostgreSQL reads its
 * catalogs with is.
 */
Snapshot
sn_snapshot_now(void)
{
	return RegisterSnapshot(IsInParallelMode() ?
							GetCatalogSnapshot(sn_rel(SN_EVENT_LOG)) :
							GetLatestSnapshot());
}

/*
 * sn_scan_begin: scan a table by an index, under a registered snapshot.  The
 * caller looked the index up under a lock of the table that it still holds;
 * otherwise REINDEX CONCURRENTLY may have put another one in its place, and
 * new rows are not in the old one.
 */
void
sn_scan_begin(SnScan *scan, Oid heap, Oid index, Snapshot snapshot,
			  int nkeys, ScanKey keys, ScanDirection direction)
{
	scan->heap = table_open(heap, AccessShareLock);
	begin_index_scan(scan, index, snapshot, nkeys, keys, direction);
}

/* sn_scan_named: the same with names, of which the lock is taken first */
void
sn_scan_named(SnScan *scan, SnRel heap, SnRel index, Snapshot snapshot,
			  int nkeys, ScanKey keys, ScanDirection direction)
{
	scan->heap = table_open(sn_rel(heap), AccessShareLock);
	begin_index_scan(scan, sn_rel(index), snapshot, nkeys, keys, direction);
}

/*
 * sn_scan_again: begin anew with other keys and under another snapshot.  They
 * are as many as before: a scan that began without keys would ignore them.
 */
void
sn_scan_again(SnScan *scan, Snapshot snapshot, int nkeys, ScanKey keys)
{
	if (nkeys != scan->desc->numberOfKeys)
		elog(ERROR, "scan with %d keys was begun with %d",
			 nkeys, scan->desc->numberOfKeys);
	scan->desc->xs_snapshot = snapshot;
	index_rescan(scan->desc, keys, nkeys, NULL, 0);
}

/* sn_scan_next: the next row into scan->slot, or false */
bool
sn_scan_next(SnScan *scan)
{
	CHECK_FOR_INTERRUPTS();
	if (!index_getnext_slot(scan->desc, scan->direction, scan->slot))
		return false;
	if (scan->required != NULL)
		sn_require_columns(scan->required, scan->slot);
	return true;
}

/*
 * sn_scan_place: where the row is that was returned last, to delete it later.
 * The table's lock is kept: VACUUM FULL, CLUSTER and ALTER TABLE give rows other
 * places, and where this row was may be another one by then.
 */
ItemPointerData
sn_scan_place(SnScan *scan)
{
	scan->unlock = NoLock;
	return scan->slot->tts_tid;
}

/* sn_scan_end: close the scan; locks are given up, who only reads needs none */
void
sn_scan_end(SnScan *scan)
{
	index_endscan(scan->desc);
	ExecDropSingleTupleTableSlot(scan->slot);
	index_close(scan->index, AccessShareLock);
	table_close(scan->heap, scan->unlock);
}

/* begin_table: the lock first, then, if the caller has none, the snapshot */
static SnTableScan *
begin_table(SnRel table, LOCKMODE lockmode, Snapshot snapshot, int nkeys,
			ScanKey keys)
{
	SnTableScan *scan = palloc(sizeof(SnTableScan));

	scan->heap = table_open(sn_rel(table), lockmode);
	scan->lockmode = lockmode;
	scan->registered = snapshot == NULL;
	scan->snapshot = snapshot != NULL ? snapshot :
		sn_snapshot_now();
	scan->desc = table_beginscan(scan->heap, scan->snapshot, nkeys, keys);
	scan->slot = make_slot(scan->heap);
	scan->required = sn_required(RelationGetRelid(scan->heap));
	return scan;
}

/*
 * sn_table_read: read all rows of a table under a registered snapshot or, when
 * that is NULL, under the latest
 */
SnTableScan *
sn_table_read(SnRel table, Snapshot snapshot)
{
	return begin_table(table, AccessShareLock, snapshot, 0, NULL);
}

/* sn_table_change: the same, to delete some; the lock is kept */
SnTableScan *
sn_table_change(SnRel table, Snapshot snapshot, int nkeys, ScanKey keys)
{
	Assert(sn_change_is_ours(table));
	return begin_table(table, RowExclusiveLock, snapshot, nkeys, keys);
}

/* sn_table_next: the next row, all columns of it, or NULL */
TupleTableSlot *
sn_table_next(SnTableScan *scan)
{
	CHECK_FOR_INTERRUPTS();
	if (!table_scan_getnextslot(scan->desc, ForwardScanDirection, scan->slot))
		return NULL;
	if (scan->required != NULL)
		sn_require_event(scan->required, scan->slot);
	slot_getallattrs(scan->slot);
	return scan->slot;
}

/* sn_table_delete: delete the row that was returned last */
void
sn_table_delete(SnTableScan *scan)
{
	simple_heap_delete(scan->heap, &scan->slot->tts_tid);
}

/* sn_table_end: close the scan */
void
sn_table_end(SnTableScan *scan)
{
	ExecDropSingleTupleTableSlot(scan->slot);
	table_endscan(scan->desc);
	if (scan->registered)
		UnregisterSnapshot(scan->snapshot);
	table_close(scan->heap,
				scan->lockmode == AccessShareLock ? AccessShareLock : NoLock);
	pfree(scan);
}

/*
 * sn_open_to_delete: open a table of which rows are deleted by their places, see
 * sn_scan_place()
 */
Relation
sn_open_to_delete(SnRel table)
{
	Assert(CheckRelationOidLockedByMe(sn_rel(table), AccessShareLock, true));
	return table_open(sn_rel(table), RowExclusiveLock);
}

/* sn_delete_one: delete a row that was read */
void
sn_delete_one(SnRel table, ItemPointer tid)
{
	Relation	rel = sn_open_to_delete(table);

	Assert(sn_change_is_ours(table));
	simple_heap_delete(rel, tid);
	table_close(rel, NoLock);
}

void
sn_key_int2(ScanKey key, AttrNumber column, StrategyNumber strategy,
			int16 value)
{
	Assert(strategy == BTEqualStrategyNumber);
	ScanKeyInit(key, column, strategy, F_INT2EQ, Int16GetDatum(value));
}

void
sn_key_int4(ScanKey key, AttrNumber column, StrategyNumber strategy,
			int32 value)
{
	static const RegProcedure procs[] = {0, F_INT4LT, F_INT4LE, F_INT4EQ,
	F_INT4GE, F_INT4GT};

	ScanKeyInit(key, column, strategy, procs[strategy], Int32GetDatum(value));
}

void
sn_key_int8(ScanKey key, AttrNumber column, StrategyNumber strategy,
			int64 value)
{
	static const RegProcedure procs[] = {0, F_INT8LT, F_INT8LE, F_INT8EQ,
	F_INT8GE, F_INT8GT};

	ScanKeyInit(key, column, strategy, procs[strategy], Int64GetDatum(value));
}

void
sn_key_uuid(ScanKey key, AttrNumber column, StrategyNumber strategy,
			const pg_uuid_t *value)
{
	static const RegProcedure procs[] = {0, F_UUID_LT, F_UUID_LE, F_UUID_EQ,
	F_UUID_GE, F_UUID_GT};

	ScanKeyInit(key, column, strategy, procs[strategy],
				UUIDPGetDatum(value));
}

void
sn_key_time(ScanKey key, AttrNumber column, StrategyNumber strategy,
			TimestampTz value)
{
	static const RegProcedure procs[] = {0, F_TIMESTAMPTZ_LT,
		F_TIMESTAMPTZ_LE, F_TIMESTAMPTZ_EQ, F_TIMESTAMPTZ_GE,
	F_TIMESTAMPTZ_GT};

	ScanKeyInit(key, column, strategy, procs[strategy],
				TimestampTzGetDatum(value));
}

/* sn_key_hashed: equality of SN_TENANT_HASH or SN_FLOW_HASH in an index on it */
void
sn_key_hashed(ScanKey key, AttrNumber column, const text *name)
{
	Datum		hash = DirectFunctionCall1Coll(hashtext, C_COLLATION_OID,
											   PointerGetDatum(name));

	sn_key_int4(key, column, BTEqualStrategyNumber, DatumGetInt32(hash));
}

/* sn_key_null: a column that is null */
void
sn_key_null(ScanKey key, AttrNumber column)
{
	ScanKeyEntryInitialize(key, SK_ISNULL | SK_SEARCHNULL, column,
						   InvalidStrategy, InvalidOid, InvalidOid, InvalidOid,
						   (Datum) 0);
}

/* sn_key_text: comparison of a text column, all of which have collation "C" */
void
sn_key_text(ScanKey key, AttrNumber column, StrategyNumber strategy,
			Datum value)
{
	static const RegProcedure procs[] = {0, F_TEXT_LT, F_TEXT_LE, F_TEXTEQ,
	F_TEXT_GE, F_TEXT_GT};

	ScanKeyEntryInitialize(key, 0, column, strategy, InvalidOid,
						   C_COLLATION_OID, procs[strategy], value);
}
