/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * insert_table.c
 *		What inserts know of a table and its indexes.
 *
 * What the executor would find out about a table's indexes for every statement
 * is kept per table until its relcache entry changes.  A table is plain if all
 * its indexes are: B-trees on columns, and on expressions and partial at most
 * by built-in functions.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "store/group.h"
#include "store/insert_table.h"
#include "store/store.h"

#define MAX_TABLES 64			/* described at a time */
#define MAX_INDEXES 64			/* of a plain table: bits of a word */

static HTAB *tables = NULL;		/* of SnInsertTable, in TopMemoryContext */

/* forget_table: relcache callback; InvalidOid stands for all tables */
static void
forget_table(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS scan;
	SnInsertTable *table;

	if (tables == NULL)
		return;
	if (OidIsValid(relid))
	{
		table = hash_search(tables, &relid, HASH_FIND, NULL);
		if (table != NULL)
			table->valid = false;
		return;
	}
	hash_seq_init(&scan, tables);
	while ((table = hash_seq_search(&scan)) != NULL)
		table->valid = false;
}

/*
 * retire: a description is not needed any more; somebody may still be using
 * it in this transaction.
 */
static void
retire(SnInsertTable *table)
{
	if (table->context != NULL)
		MemoryContextSetParent(table->context, TopTransactionContext);
	table->context = NULL;
	table->valid = table->described = false;
}

/* retire_all: so that tables dropped long ago are not kept for ever */
static void
retire_all(void)
{
	HASH_SEQ_STATUS scan;
	SnInsertTable *table;

	hash_seq_init(&scan, tables);
	while ((table = hash_seq_search(&scan)) != NULL)
		retire(table);
	hash_destroy(tables);
	tables = NULL;
}

/* enter_table: the entry of a table, empty when it is new */
static SnInsertTable *
enter_table(Oid relid)
{
	static bool registered = false;
	bool		found;
	SnInsertTable *table;

	if (!registered)
	{
		sn_watch_relations(forget_table);
		registered = true;
	}
	if (tables != NULL && hash_get_num_entries(tables) >= MAX_TABLES)
		retire_all();
	if (tables == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(SnInsertTable)};

		tables = hash_create("sentinai tables", MAX_TABLES, &ctl,
							 HASH_ELEM | HASH_BLOBS);
	}
	table = hash_search(tables, &relid, HASH_ENTER, &found);
	if (!found)
	{
		table->context = NULL;
		table->valid = table->described = false;
	}
	return table;
}

/* asks_for_null: whether a predicate asks for nothing but that */
static bool
asks_for_null(List *predicate)
{
	return list_length(predicate) == 1 && IsA(linitial(predicate), NullTest);
}

/*
 * only_column: the column that is all a predicate depends on, or 0.  Its values
 * have to be such that two of them can be compared, if it asks for them.
 */
static AttrNumber
only_column(List *predicate, TupleDesc desc)
{
	Bitmapset  *columns = NULL;
	int			column;

	pull_varattnos((Node *) predicate, 1, &columns);
	if (!bms_get_singleton_member(columns, &column))
		return 0;
	column += FirstLowInvalidHeapAttributeNumber;
	return column > 0 && (TupleDescAttr(desc, column - 1)->attbyval ||
						  asks_for_null(predicate)) ? column : 0;
}

/* describe_index: fill in an index; false if it is not plain */
static bool
describe_index(SnPlainIndex *index, Oid oid, TupleDesc desc)
{
	Relation	rel = index_open(oid, RowExclusiveLock);
	ListCell   *lc;
	bool		plain = rel->rd_rel->relam == BTREE_AM_OID &&
		rel->rd_index->indimmediate && !rel->rd_index->indisexclusion;

	index->oid = oid;
	index->info = BuildIndexInfo(rel);
	index->expressions = NIL;
	index->predicate = NULL;
	index->verdict.known = false;
	index->column = only_column(index->info->ii_Predicate, desc);
	index->groups = sn_group_suits(rel);
	if (sn_calls_others((Node *) index->info->ii_Expressions, NULL) ||
		sn_calls_others((Node *) index->info->ii_Predicate, NULL))
		plain = false;
	else
	{
		foreach(lc, index->info->ii_Expressions)
			index->expressions = lappend(index->expressions,
										 ExecInitExpr(lfirst(lc), NULL));
		index->predicate = ExecInitQual(index->info->ii_Predicate, NULL);
	}
	index_close(rel, RowExclusiveLock);
	return plain;
}

/* describe_table: find out what is to know about a table and its indexes */
static void
describe_table(SnInsertTable *table, Relation heap)
{
	List	   *oids = RelationGetIndexList(heap);
	MemoryContext old;
	ListCell   *lc;

	table->context = AllocSetContextCreate(TopMemoryContext, "sentinai table",
										   ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(table->context);
	table->desc = CreateTupleDescCopyConstr(RelationGetDescr(heap));
	table->shorter = palloc0(sizeof(TupleDesc) * (table->desc->natts + 1));
	table->econtext = CreateStandaloneExprContext();
	table->indexes = palloc(sizeof(SnPlainIndex) * (list_length(oids) + 1));
	table->nindexes = 0;
	table->plain = list_length(oids) <= MAX_INDEXES;
	foreach(lc, oids)
	{
		SnPlainIndex *index = &table->indexes[table->nindexes];

		if (!describe_index(index, lfirst_oid(lc), table->desc))
			table->plain = false;
		else if (index->info->ii_ReadyForInserts)
			table->nindexes++;
	}
	MemoryContextSwitchTo(old);
	list_free(oids);
}

/*
 * sn_insert_table: what is known of a table that is open, until its relcache
 * entry changes.  It may change while it is described: to open an index takes a
 * lock, and news come with that.  Then it is as good for this transaction as
 * before: who changes indexes under our lock of the table waits for us, and again
 * before the next step.  The next transaction describes it anew.
 */
SnInsertTable *
sn_insert_table(Relation heap)
{
	SnInsertTable *table = tables == NULL ? NULL :
		hash_search(tables, &RelationGetRelid(heap), HASH_FIND, NULL);

	if (table != NULL && table->valid && table->described)
		return table;
	table = enter_table(RelationGetRelid(heap));
	retire(table);
	table->valid = true;		/* a change meanwhile takes that back */
	describe_table(table, heap);
	table->described = true;
	return table;
}

/* index_takes_row: whether a partial index has an entry for a row */
static bool
index_takes_row(const SnInsertTable *table, SnPlainIndex *index,
				TupleTableSlot *slot, const Datum *values, const bool *nulls)
{
	SnPredicateVerdict *verdict = &index->verdict;
	int			c = index->column - 1;

	if (c >= 0 && verdict->known && verdict->isnull == nulls[c] &&
		(nulls[c] || verdict->value == values[c]))
		return verdict->belongs;
	verdict->known = false;
	table->econtext->ecxt_scantuple = slot;
	verdict->belongs = ExecQual(index->predicate, table->econtext);
	if (c >= 0)
	{
		verdict->isnull = nulls[c];
		verdict->value = values[c];
		verdict->known = true;
	}
	return verdict->belongs;
}

/* sn_index_entries: which of the plain indexes have an entry for a row */
uint64
sn_index_entries(const SnInsertTable *table, TupleTableSlot *slot,
				 const Datum *values, const bool *nulls)
{
	uint64		result = 0;
	int			i;

	for (i = 0; i < table->nindexes; i++)
	{
		SnPlainIndex *index = &table->indexes[i];

		if (index->predicate == NULL ||
			index_takes_row(table, index, slot, values, nulls))
			result |= UINT64CONST(1) << i;
	}
	return result;
}

/* sn_index_form: what the index has of a row */
void
sn_index_form(const SnInsertTable *table, const SnPlainIndex *index,
			  TupleTableSlot *slot, Datum *values, bool *nulls)
{
	int			n = 0;			/* expressions so far */
	int			i;

	table->econtext->ecxt_scantuple = slot;
	for (i = 0; i < index->info->ii_NumIndexAttrs; i++)
	{
		AttrNumber	column = index->info->ii_IndexAttrNumbers[i];

		if (column != 0)
			values[i] = slot_getattr(slot, column, &nulls[i]);
		else
			values[i] = ExecEvalExpr((ExprState *) list_nth(index->expressions,
															n++),
									 table->econtext, &nulls[i]);
	}
}
