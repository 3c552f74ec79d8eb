/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * history_flow.c
 *		Reading the log by flow, for get_trace().
 *
 * An event is in a flow by its name, which is its correlation id, or by its
 * aggregate, when it has none stored.  The first are in a small index of what
 * has one; the others are those of the aggregate, which hangs on the tenant: of
 * one that is named, or of each in turn.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "log/history.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_flow_events);
PG_FUNCTION_INFO_V1(sentinai_flow_tree);

/*
 * read_named: rows that name the flow.  A partition of the version before has no
 * index for it, and is read whole, in the order of the ids.
 */
static void
read_named(SnReading *r)
{
	Oid			index = sn_flow_index_of(r->rel);
	ScanKeyData keys[3];
	int			n = 0;
	int			of_id = 1;
	SnScan		scan;
	int			limit = r->n + r->limit;

	if (OidIsValid(index))
	{
		sn_key_hashed(&keys[n++], 1, r->q->correlation_id);
		of_id = 2;
	}
	else
		index = sn_index_of(r->rel, Anum_log_event_id);
	sn_key_uuid(&keys[n++], of_id, BTGreaterStrategyNumber, &r->q->lower);
	sn_key_uuid(&keys[n++], of_id, BTLessStrategyNumber, &r->q->upper);
	sn_scan_begin(&scan, RelationGetRelid(r->rel), index, GetActiveSnapshot(),
				  n, keys, ForwardScanDirection);
	while (r->n < limit && sn_scan_next(&scan))
		if (!slot_attisnull(scan.slot, Anum_log_correlation_id))
			sn_history_put(r, scan.slot);
	sn_scan_end(&scan);
}

/* read_unnamed: rows of the aggregate that has the flow's name, of a tenant */
static void
read_unnamed(SnReading *r, text *tenant_id)
{
	SnQuestion	whole = *r->q;
	int			limit = r->limit;

	r->q->tenant_id = tenant_id;
	r->q->aggregate_id = whole.correlation_id;
	r->q->unnamed = true;
	r->q->hash = sn_key_hash(tenant_id, whole.correlation_id);
	r->limit = r->n + limit;
	sn_history_aggregate(r);
	r->limit = limit;
	*r->q = whole;
}

/* The next tenant that an index on the hash of their names has */
typedef struct NextTenant
{
	Oid			index;
	text	   *tenant_id;		/* NULL: no more */
	int32		hash;
} NextTenant;

/* next_tenant: of a hash that is at least so much */
static void
next_tenant(SnReading *r, NextTenant *next, int32 least)
{
	ScanKeyData key;
	SnScan		scan;
	bool		isnull;

	next->tenant_id = NULL;
	sn_key_int4(&key, 1, BTGreaterEqualStrategyNumber, least);
	sn_scan_begin(&scan, RelationGetRelid(r->rel), next->index,
				  GetActiveSnapshot(), 1, &key, ForwardScanDirection);
	if (sn_scan_next(&scan))
	{
		next->tenant_id =
			DatumGetTextPCopy(slot_getattr(scan.slot, Anum_log_tenant_id,
										   &isnull));
		next->hash =
			DatumGetInt32(DirectFunctionCall1Coll(hashtext, C_COLLATION_OID,
												  PointerGetDatum(next->tenant_id)));
	}
	sn_scan_end(&scan);
}

/*
 * read_every_tenant: the same of every tenant of the partition.  Two indexes
 * have them, in the order of their hashes; two tenants with one hash count as
 * the one that comes first.
 */
static void
read_every_tenant(SnReading *r)
{
	NextTenant	next[2];
	int			i;

	next[0].index = sn_index_of(r->rel, SN_TENANT_HASH, Anum_log_event_id);
	next[1].index = sn_index_of(r->rel, SN_TENANT_HASH, Anum_log_event_id,
								Anum_log_partition_hash);
	next_tenant(r, &next[0], PG_INT32_MIN);
	next_tenant(r, &next[1], PG_INT32_MIN);
	while (next[0].tenant_id != NULL || next[1].tenant_id != NULL)
	{
		bool		second = next[0].tenant_id == NULL ||
			(next[1].tenant_id != NULL && next[1].hash < next[0].hash);
		int32		hash = next[second].hash;

		CHECK_FOR_INTERRUPTS();
		if (sn_may(SN_RIGHT_READ, next[second].tenant_id))
			read_unnamed(r, next[second].tenant_id);
		for (i = 0; i < 2; i++)
			if (next[i].tenant_id != NULL && next[i].hash == hash)
			{
				pfree(next[i].tenant_id);
				next[i].tenant_id = NULL;
				if (hash < PG_INT32_MAX)
					next_tenant(r, &next[i], hash + 1);
			}
	}
}

/*
 * sn_history_flow: rows of a flow.  Up to the limit of each kind and tenant,
 * and not in the order of their ids: the caller sorts them.
 */
void
sn_history_flow(SnReading *r)
{
	read_named(r);
	if (r->q->tenant_id != NULL)
		read_unnamed(r, r->q->tenant_id);
	else
		read_every_tenant(r);
}

/*
 * flow_events(correlation_id text, tenant_id text, max_events int): what
 * get_trace() looks at, in no order, and perhaps more than asked for
 */
Datum
sentinai_flow_events(PG_FUNCTION_ARGS)
{
	SnQuestion	q = {.by_flow = true,.ntypes = -1,.from = DT_NOBEGIN,
	.to = DT_NOEND};

	q.correlation_id = sn_history_require(fcinfo, 0, "correlation_id");
	q.tenant_id = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	if (q.tenant_id != NULL)
		sn_require(SN_RIGHT_READ, q.tenant_id, "read");
	q.limit = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2);
	sn_history_limit(&q);
	sn_uuid_floor(0, &q.lower);
	sn_uuid_floor(SN_MAX_MS + 1, &q.upper);
	InitMaterializedSRF(fcinfo, 0);
	sn_history_read(&q, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}

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
