/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * index_paths.c
 *		No index tells a reader of tenants that he may not read.
 *
 * An index finds a tenant's rows before the filter of a view or a policy refuses
 * each of them.  So the time of a query would tell how many there are of a tenant
 * that somebody names.  For who may see some tenants only, the planner may use a
 * condition on the tenant with an index where it names tenants that he may see.
 * Otherwise it reads the table, and asks the filter before anything else.  That takes
 * as long whoever is named.
 *
 * What was planned before an act_as() or a SET ROLE stays as it was: it can tell of
 * tenants that this session could see.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/pathnodes.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

#include "store/store.h"
#include "tenancy/gate.h"
#include "tenancy/index_paths.h"

static set_rel_pathlist_hook_type prev_hook = NULL;

/* How the rows of a table are filtered */
typedef struct Filter
{
	int			rights;			/* one of them is needed; 0: there is no filter */
	AttrNumber	column;			/* for the tenant in it */
	RestrictInfo *clause;
} Filter;

static bool tells(Path *path, const Filter *filter);

/* get_filter: the filter among a table's conditions */
static Filter
get_filter(RelOptInfo *rel)
{
	Filter		filter = {0};
	ListCell   *lc;

	foreach(lc, rel->baserestrictinfo)
	{
		FuncExpr   *call;

		filter.clause = lfirst_node(RestrictInfo, lc);
		call = (FuncExpr *) filter.clause->clause;
		if (!IsA(call, FuncExpr) || list_length(call->args) != 1 ||
			!IsA(linitial(call->args), Var))
			continue;
		filter.rights = sn_filter_rights(call->funcid);
		filter.column = linitial_node(Var, call->args)->varattno;
		if (filter.rights != 0)
			break;
	}
	return filter;
}

/* all_seen: whether the caller may see all tenants of a constant */
static bool
all_seen(const Const *named, const Filter *filter)
{
	Datum	   *elems;
	bool	   *nulls;
	int			n;
	int			i;

	if (named->constisnull)
		return true;
	if (named->consttype == TEXTOID)
		return sn_may(filter->rights, DatumGetTextPP(named->constvalue));
	if (named->consttype != TEXTARRAYOID)
		return false;
	deconstruct_array(DatumGetArrayTypeP(named->constvalue), TEXTOID, -1, false,
					  TYPALIGN_INT, &elems, &nulls, &n);
	for (i = 0; i < n; i++)
		if (!nulls[i] && !sn_may(filter->rights, DatumGetTextPP(elems[i])))
			return false;
	return true;
}

/* names_seen: whether a condition is that the tenant is one that may be seen */
static bool
names_seen(Node *clause, const Filter *filter)
{
	Node	   *named = NULL;

	if (IsA(clause, OpExpr) && ((OpExpr *) clause)->opno == TextEqualOperator)
	{
		named = lsecond(((OpExpr *) clause)->args);
		if (!IsA(named, Const))
			named = linitial(((OpExpr *) clause)->args);
	}
	else if (IsA(clause, ScalarArrayOpExpr) &&
			 ((ScalarArrayOpExpr *) clause)->useOr &&
			 ((ScalarArrayOpExpr *) clause)->opno == TextEqualOperator)
		named = lsecond(((ScalarArrayOpExpr *) clause)->args);
	return named != NULL && IsA(named, Const) &&
		all_seen((Const *) named, filter);
}

/* is_on_tenant: whether a condition is about the tenant, in whatever way */
static bool
is_on_tenant(Node *clause, const IndexPath *path, const Filter *filter)
{
	Bitmapset  *columns = NULL;

	pull_varattnos(clause, path->path.parent->relid, &columns);
	return bms_is_member(filter->column - FirstLowInvalidHeapAttributeNumber,
						 columns);
}

/* index_tells: whether an index is asked about tenants that may not be seen */
static bool
index_tells(const IndexPath *path, const Filter *filter)
{
	bool		result = false;
	ListCell   *lc;

	foreach(lc, path->indexclauses)
	{
		Node	   *clause = (Node *)
		lfirst_node(IndexClause, lc)->rinfo->clause;

		if (!is_on_tenant(clause, path, filter))
			continue;
		if (names_seen(clause, filter))
			return false;
		result = true;
	}
	return result;
}

/* any_tells: whether one of several paths does */
static bool
any_tells(List *paths, const Filter *filter)
{
	ListCell   *lc;

	foreach(lc, paths)
		if (tells(lfirst(lc), filter))
			return true;
	return false;
}

/* tells: whether the time that a path takes tells of tenants that may not be seen */
static bool
tells(Path *path, const Filter *filter)
{
	if (IsA(path, IndexPath))
		return index_tells((IndexPath *) path, filter);
	if (IsA(path, BitmapHeapPath))
		return tells(((BitmapHeapPath *) path)->bitmapqual, filter);
	if (IsA(path, BitmapAndPath))
		return any_tells(((BitmapAndPath *) path)->bitmapquals, filter);
	if (IsA(path, BitmapOrPath))
		return any_tells(((BitmapOrPath *) path)->bitmapquals, filter);
	return false;
}

/* without_telling: the paths that do not */
static List *
without_telling(List *paths, const Filter *filter)
{
	ListCell   *lc;

	foreach(lc, paths)
		if (tells(lfirst(lc), filter))
			paths = foreach_delete_current(paths, lc);
	return paths;
}

/*
 * leave_out: the hook: of a table of ours whose tenants are not all for the
 * caller, unless it is our own code that reads it for him
 */
static void
leave_out(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	Filter		filter;

	if (prev_hook != NULL)
		prev_hook(root, rel, rti, rte);
	if (!sn_gate_asks() || sn_gate_asker() != GetUserId() ||
		rte->rtekind != RTE_RELATION || rte->relkind != RELKIND_RELATION ||
		IS_DUMMY_REL(rel) || !sn_installed() ||
		get_rel_namespace(rte->relid) != get_rel_namespace(sn_rel(SN_EVENT_LOG)))
		return;
	filter = get_filter(rel);
	if (filter.rights == 0 || sn_may(filter.rights, NULL))
		return;
	rel->partial_pathlist = without_telling(rel->partial_pathlist, &filter);
	rel->pathlist = without_telling(rel->pathlist, &filter);
	add_path(rel, create_seqscan_path(root, rel, rel->lateral_relids, 0));
	/* the planner puts what is cheap first, and knows by now what all that costs */
	filter.clause->eval_cost.per_tuple = 0;
}

/* sn_index_paths_init: when the library is loaded */
void
sn_index_paths_init(void)
{
	prev_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = leave_out;
}
