/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * insert_table.h
 *		What inserts know of a table and its indexes.
 */
#ifndef SN_INSERT_TABLE_H
#define SN_INSERT_TABLE_H

#include "postgres.h"

#include "nodes/execnodes.h"
#include "utils/rel.h"

/* What a predicate on one column said of the row before */
typedef struct SnPredicateVerdict
{
	bool		known;
	bool		isnull;			/* value of the predicate's column */
	Datum		value;
	bool		belongs;
} SnPredicateVerdict;

/* A plain index of a table */
typedef struct SnPlainIndex
{
	Oid			oid;
	IndexInfo  *info;
	List	   *expressions;	/* ExprState */
	ExprState  *predicate;		/* NULL: not partial */
	AttrNumber	column;			/* the only one in the predicate, or 0 */
	SnPredicateVerdict verdict;
	bool		groups;			/* takes many entries at once, see group.c */
} SnPlainIndex;

/* What is known of a table, in a memory context of its own */
typedef struct SnInsertTable
{
	Oid			relid;			/* key */
	bool		valid;			/* unchanged since its description began */
	bool		described;		/* to the end */
	bool		plain;			/* all indexes are, and described */
	MemoryContext context;
	TupleDesc	desc;
	TupleDesc  *shorter;		/* of rows without their last columns */
	ExprContext *econtext;
	SnPlainIndex *indexes;
	int			nindexes;
} SnInsertTable;

extern SnInsertTable *sn_insert_table(Relation heap);
extern uint64 sn_index_entries(const SnInsertTable *table,
							   TupleTableSlot *slot, const Datum *values,
							   const bool *nulls);
extern void sn_index_form(const SnInsertTable *table,
						  const SnPlainIndex *index, TupleTableSlot *slot,
						  Datum *values, bool *nulls);

#endif							/* SN_INSERT_TABLE_H */
