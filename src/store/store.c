/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * store.c
 *		Access to the extension's tables below SQL: names to OIDs, partitions,
 *		index scans.  (Writing rows: insert.c)
 *
 * OIDs are cached until a relation of the catalog changes.  No relation is
 * kept open, and no lock kept, beyond what the caller's transaction would.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "commands/extension.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "optimizer/optimizer.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "store/store.h"

/* Tables and indexes; natts: columns of a table that C arrays are made for */
static const struct
{
	const char *name;
	int			natts;			/* 0: not checked */
}			rels[SN_REL_COUNT] =
{
	[SN_EVENT_LOG] = {"event_log", Natts_log},
	[SN_EVENT_PROCESSING] = {"event_processing", Natts_proc},
	[SN_EVENT_IDEMPOTENCY] = {"event_idempotency", Natts_idem},
	[SN_SLICE] = {"slice", Natts_slice},
	[SN_EVENT_KEPT] = {"event_kept", Natts_log},
	[SN_NODE] = {"node"},
	[SN_STREAM] = {"stream", Natts_stream},
	[SN_SUBSCRIPTION] = {"subscription", Natts_sub},
	[SN_SUBSCRIPTION_NAME_IDX] = {"subscription_worker_type_key"},
	[SN_ROUND_0] = {"round_0", Natts_round},
	[SN_ROUND_1] = {"round_1", Natts_round},
	[SN_ROUND_0_IDX] = {"round_0_idx"},
	[SN_ROUND_1_IDX] = {"round_1_idx"},
	[SN_LANE_STATE_0] = {"lane_state_0", Natts_lane},
	[SN_LANE_STATE_1] = {"lane_state_1", Natts_lane},
	[SN_LANE_STATE_0_IDX] = {"lane_state_0_idx"},
	[SN_LANE_STATE_1_IDX] = {"lane_state_1_idx"},
	[SN_EVENT_RETRY] = {"event_retry", Natts_retry},
	[SN_EVENT_RETRY_PKEY] = {"event_retry_pkey"},
	[SN_EVENT_RETRY_KEY_IDX] = {"event_retry_key_idx"},
	[SN_EVENT_RETRY_DUE_IDX] = {"event_retry_due_idx"},
	[SN_EVENT_RETRY_NEXT_IDX] = {"event_retry_next_idx"},
	[SN_EVENT_RETRY_TOPIC_IDX] = {"event_retry_topic_idx"},
	[SN_DEAD_LETTER] = {"dead_letter", Natts_dead},
	[SN_DEAD_LETTER_PENDING_IDX] = {"dead_letter_pending_idx"},
	[SN_RETRY_POLICY] = {"retry_policy", Natts_policy},
};

static Oid	rel_oids[SN_REL_COUNT];
static bool callbacks_registered = false;

static void
forget_oids(Datum arg, int cacheid, uint32 hashvalue)
{
	memset(rel_oids, 0, sizeof(rel_oids));
}

/* count_columns: of a table or index, 0 if it is gone */
static int
count_columns(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	int			natts;

	if (!HeapTupleIsValid(tuple))
		return 0;
	natts = ((Form_pg_class) GETSTRUCT(tuple))->relnatts;
	ReleaseSysCache(tuple);
	return natts;
}

/*
 * check_columns: a table must have the columns that this library was built
 * for.  Others come from another version of the extension, or by hand.
 */
static void
check_columns(SnRel which, Oid relid)
{
	int			natts = count_columns(relid);

	if (rels[which].natts != 0 && natts != rels[which].natts)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is not the one that this library knows",
						SN_SCHEMA, rels[which].name),
				 errdetail("It has %d columns instead of %d.", natts,
						   rels[which].natts),
				 errhint("After an update of the library run ALTER EXTENSION sentinai UPDATE; do not add columns to its tables.")));
}

/* sn_intact: whether a table is there, and the one that this library knows */
bool
sn_intact(SnRel which)
{
	Oid			relid = get_relname_relid(rels[which].name,
										  get_namespace_oid(SN_SCHEMA, true));

	return OidIsValid(relid) && count_columns(relid) == rels[which].natts;
}

/* sn_rel: OID of a table or index of the extension */
Oid
sn_rel(SnRel which)
{
	Oid			relid;

	if (OidIsValid(rel_oids[which]))
		return rel_oids[which];

	if (!callbacks_registered)
	{
		CacheRegisterSyscacheCallback(RELOID, forget_oids, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_oids, (Datum) 0);
		callbacks_registered = true;
	}
	relid = get_relname_relid(rels[which].name,
							  get_namespace_oid(SN_SCHEMA, false));
	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s.%s\" does not exist",
						SN_SCHEMA, rels[which].name),
				 errhint("Create the extension with CREATE EXTENSION sentinai.")));
	check_columns(which, relid);
	rel_oids[which] = relid;
	return relid;
}

/* sn_installed: whether this database has the extension, all of it */
bool
sn_installed(void)
{
	Oid			schema;

	if (!OidIsValid(get_extension_oid("sentinai", true)))
		return false;
	schema = get_namespace_oid(SN_SCHEMA, true);
	return OidIsValid(schema) &&
		OidIsValid(get_relname_relid(rels[SN_EVENT_LOG].name, schema));
}

/*
 * sn_partition_of: the partition of a range-partitioned parent that takes
 * key, or InvalidOid when none was made yet.  It is not locked, nor is the
 * parent any more: what retention drops may be gone when the caller comes.
 */
Oid
sn_partition_of(SnRel parent, Datum key)
{
	Relation	rel = table_open(sn_rel(parent), AccessShareLock);
	PartitionDesc desc = RelationGetPartitionDesc(rel, true);
	PartitionKey pkey = RelationGetPartitionKey(rel);
	Oid			result = InvalidOid;

	if (desc->nparts > 0)
	{
		bool		equal;
		int			offset;
		int			part;

		offset = partition_range_datum_bsearch(pkey->partsupfunc,
											   pkey->partcollation,
											   desc->boundinfo, 1, &key,
											   &equal);
		part = desc->boundinfo->indexes[offset + 1];
		if (part >= 0)
			result = desc->oids[part];
	}
	table_close(rel, AccessShareLock);
	return result;
}

/* sn_partitions: all partitions of a parent, lowest range first; likewise */
List *
sn_partitions(SnRel parent)
{
	Relation	rel = table_open(sn_rel(parent), AccessShareLock);
	PartitionDesc desc = RelationGetPartitionDesc(rel, true);
	List	   *result = NIL;
	int			i;

	for (i = 0; i < desc->nparts; i++)
		result = lappend_oid(result, desc->oids[i]);
	table_close(rel, AccessShareLock);
	return result;
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
		column == get_attnum(RelationGetRelid(heap), "run");
}

/* is_tenant_hash: whether that is all an index has of expressions */
static bool
is_tenant_hash(Relation heap, Relation index)
{
	List	   *expressions = RelationGetIndexExpressions(index);
	FuncExpr   *call;
	Var		   *var;

	if (list_length(expressions) != 1 || !IsA(linitial(expressions), FuncExpr))
		return false;
	call = linitial_node(FuncExpr, expressions);
	if (call->funcid != F_HASHTEXT || !IsA(linitial(call->args), Var))
		return false;
	var = linitial_node(Var, call->args);
	return var->varattno == get_attnum(RelationGetRelid(heap), "tenant_id");
}

/*
 * is_on: whether an index is a B-tree on these columns, in rising order.
 * SN_TENANT_HASH stands for the hash of the tenant's name.
 */
static bool
is_on(Relation heap, Relation index, int ncolumns, const AttrNumber *columns)
{
	int			i;

	if (index->rd_rel->relam != BTREE_AM_OID ||
		index->rd_index->indnkeyatts != ncolumns)
		return false;
	if (columns[0] == SN_TENANT_HASH && !is_tenant_hash(heap, index))
		return false;
	for (i = 0; i < ncolumns; i++)
		if (index->rd_index->indkey.values[i] != columns[i] ||
			index->rd_indoption[i] != 0)
			return false;
	return true;
}

/*
 * sn_find_index: what sn_index_of() does.  No index stays locked: the lock of
 * its table keeps it.
 */
Oid
sn_find_index(Relation heap, int ncolumns, const AttrNumber *columns)
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
	if (!OidIsValid(result))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" lacks an index that sentinai needs",
						RelationGetRelationName(heap)),
				 errdetail("No valid index on %d columns begins with column %d.",
						   ncolumns, columns[0]),
				 errhint("Create the index again as on the other partitions.")));
	return result;
}

/* begin_scan: scan an open table by an index */
static void
begin_scan(SnScan *scan, Oid index, Snapshot snapshot, int nkeys,
		   ScanKey keys, ScanDirection direction)
{
	scan->index = index_open(index, AccessShareLock);
	scan->slot = table_slot_create(scan->heap, NULL);
	scan->direction = direction;
	scan->desc = sn_index_beginscan(scan->heap, scan->index, snapshot, nkeys);
	index_rescan(scan->desc, keys, nkeys, NULL, 0);
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
	begin_scan(scan, index, snapshot, nkeys, keys, direction);
}

/* sn_scan_named: the same with names, of which the lock is taken first */
void
sn_scan_named(SnScan *scan, SnRel heap, SnRel index, Snapshot snapshot,
			  int nkeys, ScanKey keys, ScanDirection direction)
{
	scan->heap = table_open(sn_rel(heap), AccessShareLock);
	begin_scan(scan, sn_rel(index), snapshot, nkeys, keys, direction);
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
	return index_getnext_slot(scan->desc, scan->direction, scan->slot);
}

/* sn_scan_end: close the scan; locks are given up, a reader needs none */
void
sn_scan_end(SnScan *scan)
{
	index_endscan(scan->desc);
	ExecDropSingleTupleTableSlot(scan->slot);
	index_close(scan->index, AccessShareLock);
	table_close(scan->heap, AccessShareLock);
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

/* sn_key_tenant: equality of SN_TENANT_HASH in an index on it */
void
sn_key_tenant(ScanKey key, AttrNumber column, const text *tenant_id)
{
	Datum		hash = DirectFunctionCall1Coll(hashtext, C_COLLATION_OID,
											   PointerGetDatum(tenant_id));

	sn_key_int4(key, column, BTEqualStrategyNumber, DatumGetInt32(hash));
}

/* sn_key_text: equality of a text column, all of which have collation "C" */
void
sn_key_text(ScanKey key, AttrNumber column, StrategyNumber strategy,
			Datum value)
{
	Assert(strategy == BTEqualStrategyNumber);
	ScanKeyEntryInitialize(key, 0, column, strategy, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, value);
}
