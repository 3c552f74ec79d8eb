/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * flow_tree.c
 *		flow_tree(): the tree that the causes of events make, for trace_tree().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/uuid.h"

#include "base/sqlstate.h"
#include "store/store.h"

PG_FUNCTION_INFO_V1(sentinai_flow_tree);

/* The tree that causes make of the events of a flow */
typedef struct Tree
{
	int			n;
	Datum	   *ids;			/* ascending */
	int		   *parent;			/* -1: none in the flow */
	int		   *first;			/* child, -1: none */
	int		   *next;			/* child of the same parent */
	int		   *depth;
} Tree;

/* find_parent: the place of an event's cause among the events before it, or -1 */
static int
find_parent(const Tree *tree, int place, const pg_uuid_t *cause)
{
	int			low = 0;
	int			high = place - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;
		int			c = sn_uuid_cmp(cause, DatumGetUUIDP(tree->ids[middle]));

		if (c == 0)
			return middle;
		if (c < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return -1;
}

/* make_tree: who is whose child.  A cause is older, so there is no circle. */
static void
make_tree(Tree *tree, const Datum *causes, const bool *no_cause)
{
	Size		size = sizeof(int) * (tree->n + 1);
	int			i;

	tree->parent = palloc(size);
	tree->first = palloc(size);
	tree->next = palloc(size);
	tree->depth = palloc(size);
	for (i = 0; i < tree->n; i++)
	{
		int			parent = no_cause[i] ? -1 :
			find_parent(tree, i, DatumGetUUIDP(causes[i]));

		tree->parent[i] = parent;
		tree->depth[i] = parent < 0 ? 0 : tree->depth[parent] + 1;
		tree->first[i] = -1;
	}
	for (i = tree->n - 1; i >= 0; i--)
		if (tree->parent[i] >= 0)
		{
			tree->next[i] = tree->first[tree->parent[i]];
			tree->first[tree->parent[i]] = i;
		}
}

/* put_branch: an event and all that it led to, each before what it led to */
static void
put_branch(const Tree *tree, int root, int *place, ReturnSetInfo *rsinfo)
{
	int			at = root;

	while (at >= 0)
	{
		int			parent = tree->parent[at];
		Datum		values[4] = {tree->ids[at],
			parent < 0 ? (Datum) 0 : tree->ids[parent],
		Int32GetDatum(tree->depth[at]), Int32GetDatum(++*place)};
		bool		nulls[4] = {false, parent < 0, false, false};

		CHECK_FOR_INTERRUPTS();
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		if (tree->first[at] >= 0)
		{
			at = tree->first[at];
			continue;
		}
		while (at != root && tree->next[at] < 0)
			at = tree->parent[at];
		at = at == root ? -1 : tree->next[at];
	}
}

/* get_uuids: the elements of an array */
static int
get_uuids(FunctionCallInfo fcinfo, int arg, Datum **values, bool **nulls)
{
	int			n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(arg), UUIDOID, UUID_LEN, false,
					  TYPALIGN_CHAR, values, nulls, &n);
	return n;
}

/* flow_tree(ids uuid[], causes uuid[]): their tree; ids are in ascending order */
Datum
sentinai_flow_tree(PG_FUNCTION_ARGS)
{
	Tree		tree = {0};
	Datum	   *causes;
	bool	   *no_id;
	bool	   *no_cause;
	int			place = 0;
	int			i;

	tree.n = get_uuids(fcinfo, 0, &tree.ids, &no_id);
	if (get_uuids(fcinfo, 1, &causes, &no_cause) != tree.n)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("causes must have as many elements as ids")));
	for (i = 0; i < tree.n; i++)
		if (no_id[i] ||
			(i > 0 && sn_uuid_cmp(DatumGetUUIDP(tree.ids[i - 1]),
								  DatumGetUUIDP(tree.ids[i])) >= 0))
			ereport(ERROR,
					(errcode(ERRCODE_SN_INVALID),
					 errmsg("ids must be in ascending order")));
	make_tree(&tree, causes, no_cause);
	InitMaterializedSRF(fcinfo, 0);
	for (i = 0; i < tree.n; i++)
		if (tree.parent[i] < 0)
			put_branch(&tree, i, &place, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}
