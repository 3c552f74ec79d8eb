/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * insert.c
 *		Writing rows in bulk, with their index entries.
 *
 * What is known of a table's indexes is kept between statements, and an index
 * is opened when the first row that belongs into it comes.  This is for tables
 * whose indexes are all plain (insert_table.c).  Where somebody has added
 * another kind, the executor's own calls do the work.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/memutils.h"

#include "shared/shmem.h"
#include "store/group.h"
#include "store/insert_table.h"
#include "store/owner.h"
#include "store/row.h"
#include "store/store.h"

#define INSERT_BUFFER 128		/* rows: a few pages that stay in the cache */
#define INSERT_BUFFER_SIZE (1024 * 1024)	/* bytes */
#define INSERT_MEMORY (128 * 1024)	/* bytes kept for the next rows */

struct SnInserter
{
	MemoryContext context;		/* of the buffered rows */
	Relation	heap;
	SnInsertTable table;
	Relation   *indexes;		/* of a plain table, NULL: not open yet */
	EState	   *estate;			/* of another table */
	ResultRelInfo *rri;
	BulkInsertState bistate;
	CommandId	cid;
	int			nslots;			/* slots made */
	int			nrows;			/* rows buffered */
	Size		size;			/* their bytes */
	bool		unless_present;
	List	   *present;		/* int indexes of rows found present */
	int			written;		/* rows written before the buffered ones */
	uint64		entries[INSERT_BUFFER]; /* plain indexes of a row: bits */
	TupleTableSlot *slots[INSERT_BUFFER];	/* last: not cleared */
};

/* Memory for rows that is not given back, and the transaction that has it */
static MemoryContext spare = NULL;
static TransactionId spare_taken = InvalidTransactionId;

/* open_for_executor: a table whose indexes are not plain */
static void
open_for_executor(SnInserter *ins)
{
	ins->estate = CreateExecutorState();
	ins->rri = makeNode(ResultRelInfo);
	InitResultRelInfo(ins->rri, ins->heap, 1, NULL, 0);
	ExecOpenIndices(ins->rri, false);
}

/*
 * take_memory: for the rows of an inserter.  The spare one is free again when
 * the transaction that has it is over, ended well or not.
 */
static MemoryContext
take_memory(void)
{
	TransactionId xid = GetTopTransactionId();

	if (TransactionIdEquals(spare_taken, xid))
		return AllocSetContextCreate(CurrentMemoryContext, "sentinai insert",
									 ALLOCSET_DEFAULT_SIZES);
	if (spare == NULL)
		spare = AllocSetContextCreate(TopMemoryContext, "sentinai insert",
									  INSERT_MEMORY, ALLOCSET_DEFAULT_INITSIZE,
									  ALLOCSET_DEFAULT_MAXSIZE);
	MemoryContextReset(spare);
	spare_taken = xid;
	return spare;
}

/* give_memory_back: what take_memory() gave */
static void
give_memory_back(MemoryContext context)
{
	if (context != spare)
	{
		MemoryContextDelete(context);
		return;
	}
	MemoryContextReset(spare);
	spare_taken = InvalidTransactionId;
}

/*
 * sn_insert_begin: open a table and its indexes to write rows.  With
 * unless_present a row whose unique key is there already is left out instead
 * of raising an error.
 */
SnInserter *
sn_insert_begin(Oid relid, bool unless_present)
{
	SnInserter *ins = palloc(sizeof(SnInserter));

	memset(ins, 0, offsetof(SnInserter, entries));
	ins->context = take_memory();
	ins->heap = table_open(relid, RowExclusiveLock);
	ins->table = *sn_insert_table(ins->heap);
	if (ins->table.plain)
		ins->indexes = palloc0(sizeof(Relation) * (ins->table.nindexes + 1));
	else
		open_for_executor(ins);
	ins->cid = GetCurrentCommandId(true);
	ins->unless_present = unless_present;
	return ins;
}

/*
 * remove_present: the buffered rows of that list, whose keys were in a unique
 * index before, are taken out again.  Another way would be to look before
 * inserting, which costs a descent for each of the rows that are almost never
 * there.
 */
static void
remove_present(SnInserter *ins, List *rows)
{
	ListCell   *lc;

	CommandCounterIncrement();	/* so that the rows can be deleted */
	foreach(lc, rows)
	{
		int			row = lfirst_int(lc);

		simple_heap_delete(ins->heap, &ins->slots[row]->tts_tid);
		ins->present = lappend_int(ins->present, ins->written + row);
	}
	ins->cid = GetCurrentCommandId(true);
}

/* write_buffered_rows: the buffered rows, without their index entries */
static void
write_buffered_rows(SnInserter *ins)
{
	if (ins->nrows == 1)
		table_tuple_insert(ins->heap, ins->slots[0], ins->cid, 0, NULL);
	else
		table_multi_insert(ins->heap, ins->slots, ins->nrows, ins->cid, 0,
						   ins->bistate);
}

/*
 * open_index: an index of a table that the inserter has locked.  That is
 * enough, as long as move.c sees all commands (it does where the library is
 * preloaded).
 */
static Relation
open_index(Oid oid)
{
	Relation	rel = sn_preloaded() ? RelationIdGetRelation(oid) :
		index_open(oid, RowExclusiveLock);

	if (rel == NULL)
		elog(ERROR, "could not open index %u", oid);
	return rel;
}

/* need_index: a plain index, opened when it is needed for the first time */
static Relation
need_index(SnInserter *ins, int i)
{
	if (ins->indexes[i] == NULL)
		ins->indexes[i] = open_index(ins->table.indexes[i].oid);
	return ins->indexes[i];
}

/* enter_row: a row's entries in plain indexes; false if a key was present */
static bool
enter_row(SnInserter *ins, TupleTableSlot *slot, uint64 entries)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];
	bool		entered = true;
	int			i;

	for (i = 0; entries != 0; i++, entries >>= 1)
	{
		const SnPlainIndex *index = &ins->table.indexes[i];
		IndexUniqueCheck check = UNIQUE_CHECK_NO;

		if ((entries & 1) == 0)
			continue;
		if (index->info->ii_Unique)
			check = ins->unless_present ? UNIQUE_CHECK_PARTIAL :
				UNIQUE_CHECK_YES;
		sn_index_form(&ins->table, index, slot, values, nulls);
		if (!index_insert(need_index(ins, i), values, nulls, &slot->tts_tid,
						  ins->heap, check, false, index->info) &&
			check == UNIQUE_CHECK_PARTIAL)
			entered = false;
	}
	return entered;
}

/*
 * enter_groups: the buffered rows' entries in an index that takes many at
 * once.  What is left to do for a row is left in its entries.
 */
static void
enter_groups(SnInserter *ins, int i)
{
	const SnPlainIndex *index = &ins->table.indexes[i];
	IndexTuple	items[INSERT_BUFFER];
	int			rows[INSERT_BUFFER];
	int			n = 0;
	int			done = 0;
	int			row;

	for (row = 0; row < ins->nrows; row++)
	{
		TupleTableSlot *slot = ins->slots[row];
		Datum		value;
		bool		isnull;

		if ((ins->entries[row] & (UINT64CONST(1) << i)) == 0)
			continue;
		sn_index_form(&ins->table, index, slot, &value, &isnull);
		items[n] = index_form_tuple(RelationGetDescr(need_index(ins, i)),
									&value, &isnull);
		items[n]->t_tid = slot->tts_tid;
		rows[n++] = row;
	}
	while (done < n)
	{
		int			entered = sn_group_enter(ins->indexes[i], ins->heap,
											 &items[done], n - done);

		if (entered == 0)
		{
			enter_row(ins, ins->slots[rows[done]], UINT64CONST(1) << i);
			entered = 1;
		}
		while (entered-- > 0)
			ins->entries[rows[done++]] &= ~(UINT64CONST(1) << i);
	}
}

/* enter_all_groups: what can be entered many at once */
static void
enter_all_groups(SnInserter *ins)
{
	int			i;

	for (i = 0; i < ins->table.nindexes; i++)
		if (ins->table.indexes[i].groups)
			enter_groups(ins, i);
}

/* enter_by_executor: the same for other indexes */
static bool
enter_by_executor(SnInserter *ins, TupleTableSlot *slot)
{
	bool		conflict = false;

	if (ins->rri->ri_NumIndices > 0)
		(void) sn_insert_index_tuples(ins->rri, slot, ins->estate,
									  ins->unless_present, &conflict);
	ResetPerTupleExprContext(ins->estate);
	return !conflict;
}

/* flush: write the buffered rows and their index entries */
static void
flush(SnInserter *ins)
{
	MemoryContext old;
	SnCaller	caller;
	List	   *present = NIL;
	int			i;

	sn_become_owner(ins->heap, &caller);
	if (ins->bistate == NULL && ins->nrows > 1)
		ins->bistate = GetBulkInsertState();
	old = MemoryContextSwitchTo(ins->context);
	if (ins->nrows > 0)
		write_buffered_rows(ins);
	if (ins->table.plain && ins->nrows > 1 && !ins->unless_present)
		enter_all_groups(ins);
	for (i = 0; i < ins->nrows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!(ins->table.plain ?
			  enter_row(ins, ins->slots[i], ins->entries[i]) :
			  enter_by_executor(ins, ins->slots[i])))
			present = lappend_int(present, i);
	}
	ResetExprContext(ins->table.econtext);
	MemoryContextSwitchTo(old);
	sn_become_caller(&caller);
	if (present != NIL)
		remove_present(ins, present);
	for (i = 0; i < ins->nrows; i++)
		ExecClearTuple(ins->slots[i]);
	MemoryContextReset(ins->context);
	ins->written += ins->nrows;
	ins->nrows = 0;
	ins->size = 0;
}

/*
 * sn_insert_row: add a row.  The values need to live until the call returns.
 */
void
sn_insert_row(SnInserter *ins, Datum *values, bool *nulls)
{
	TupleTableSlot *slot;
	HeapTuple	tuple;
	MemoryContext old;

	if (ins->nrows == ins->nslots)
		ins->slots[ins->nslots++] =
			MakeSingleTupleTableSlot(ins->table.desc, &TTSOpsHeapTuple);
	slot = ins->slots[ins->nrows];
	old = MemoryContextSwitchTo(ins->context);
	tuple = sn_row_form(ins->table.desc, ins->table.shorter, values, nulls);
	ins->size += tuple->t_len;
	ExecStoreHeapTuple(tuple, slot, false);
	slot->tts_tableOid = RelationGetRelid(ins->heap);
	if (ins->table.plain)
		ins->entries[ins->nrows] = sn_index_entries(&ins->table, slot, values,
													nulls);
	ins->nrows++;
	MemoryContextSwitchTo(old);
	if (ins->nrows == INSERT_BUFFER || ins->size >= INSERT_BUFFER_SIZE)
		flush(ins);
}

/* close_indexes: keeping locks, as the lock on the table is kept */
static void
close_indexes(SnInserter *ins)
{
	int			i;

	for (i = 0; i < ins->table.nindexes; i++)
		if (ins->indexes[i] != NULL)
			index_close(ins->indexes[i], NoLock);
	pfree(ins->indexes);
}

/*
 * sn_insert_end: write what is buffered and close the table, keeping its lock.
 * Returns the numbers (from 0) of the rows left out because they were present.
 * The rows are visible after the next CommandCounterIncrement().
 */
List *
sn_insert_end(SnInserter *ins)
{
	List	   *present;
	int			i;

	flush(ins);
	present = ins->present;
	for (i = 0; i < ins->nslots; i++)
		ExecDropSingleTupleTableSlot(ins->slots[i]);
	if (ins->bistate != NULL)
		FreeBulkInsertState(ins->bistate);
	if (ins->table.plain)
		close_indexes(ins);
	else
	{
		ExecCloseIndices(ins->rri);
		ExecResetTupleTable(ins->estate->es_tupleTable, false);
		FreeExecutorState(ins->estate);
	}
	table_close(ins->heap, NoLock);
	give_memory_back(ins->context);
	pfree(ins);
	return present;
}

/* sn_insert_one: write one row; whoever may change the table does */
void
sn_insert_one(SnRel table, Datum *values, bool *nulls)
{
	SnInserter *ins = sn_insert_begin(sn_rel(table), false);

	Assert(sn_change_is_ours(table));
	sn_insert_row(ins, values, nulls);
	(void) sn_insert_end(ins);
}
