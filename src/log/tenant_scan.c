/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * tenant_scan.c
 *		How the planner reads a partition of the log for who may read some
 *		tenants only, or asks for one.
 *
 * The view and the policies ask may_read() about each row, and no index helps with
 * that: most events are in none on the tenant (log/event_run.h), and one for all of them
 * would cost every publisher more than what it saves few readers.  But
 * get_events_by_tenant() finds a tenant's events by what there is.  So this offers
 * the planner a scan that goes the same ways, for each of the tenants.
 *
 * How many rows that will be, the planner asks may_read()'s support function.
 *
 * The scan only saves the rows that may_read() would refuse.  The scan finds out when it
 * begins whose events may be read: a plan may be older than an act_as(), a SET
 * ROLE or a grant.  And each row that it finds goes through all the conditions of
 * the query, in their order: may_read() first, then what a user wrote.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

#include "base/compat.h"
#include "log/tenant_scan.h"
#include "store/store.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_readable_part);

#define NAME "sentinai tenants"
#define ASK_EACH 64				/* statistics are asked about so many tenants */
#define DESCENT_PAGES 3			/* of an index, from the root to a leaf */
#define DESCENT_STEPS 50		/* comparisons on each, as PostgreSQL counts */

static set_rel_pathlist_hook_type prev_hook = NULL;

/* What a query says of the tenants of a partition's rows */
typedef struct Wanted
{
	Var		   *column;			/* tenant_id, as may_read() is asked; or NULL */
	Expr	   *named;			/* one that the query asks for; or NULL */
} Wanted;

static Plan *make_plan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path,
					   List *tlist, List *clauses, List *plans);

static const CustomPathMethods path_methods = {
	.CustomName = NAME,
	.PlanCustomPath = make_plan
};

static const CustomScanMethods scan_methods = {
	.CustomName = NAME,
	.CreateCustomScanState = sn_tenant_rows_state
};

/* is_tenant: whether an expression is the column of the tenant */
static bool
is_tenant(Node *node, Index rti, AttrNumber column)
{
	return IsA(node, Var) && ((Var *) node)->varno == rti &&
		((Var *) node)->varlevelsup == 0 &&
		((Var *) node)->varattno == column;
}

/* is_given: whether an expression has its value before the scan begins */
static bool
is_given(Node *node)
{
	return IsA(node, Const) ||
		(IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN);
}

/* look_at: what one condition says of the tenants */
static void
look_at(Node *clause, Index rti, AttrNumber column, Wanted *wanted)
{
	List	   *args;

	if (IsA(clause, FuncExpr))
	{
		args = ((FuncExpr *) clause)->args;
		if (wanted->column == NULL && list_length(args) == 1 &&
			is_tenant(linitial(args), rti, column) &&
			sn_filter_rights(((FuncExpr *) clause)->funcid) == SN_RIGHT_READ)
			wanted->column = linitial(args);
	}
	else if (IsA(clause, OpExpr) && ((OpExpr *) clause)->opno == TextEqualOperator)
	{
		args = ((OpExpr *) clause)->args;
		if (is_tenant(linitial(args), rti, column) && is_given(lsecond(args)))
			wanted->named = lsecond(args);
		else if (is_tenant(lsecond(args), rti, column) && is_given(linitial(args)))
			wanted->named = linitial(args);
	}
}

/* get_wanted: what the conditions of a query say of the tenants */
static void
get_wanted(RelOptInfo *rel, AttrNumber column, Wanted *wanted)
{
	ListCell   *lc;

	wanted->column = NULL;
	wanted->named = NULL;
	foreach(lc, rel->baserestrictinfo)
		look_at((Node *) lfirst_node(RestrictInfo, lc)->clause, rel->relid,
				column, wanted);
}

/*
 * names_foreign: whether a query asks for a tenant that the caller may not read.
 * It gets nothing, so nothing that is known of that tenant may change the plan:
 * how long the query takes would tell of it.
 */
static bool
names_foreign(const Wanted *wanted)
{
	const Const *named = (const Const *) wanted->named;

	return named != NULL && IsA(named, Const) && !named->constisnull &&
		!sn_may(SN_RIGHT_READ, DatumGetTextPP(named->constvalue));
}

/* needs_system_columns: whether a query looks at more than the columns of rows */
static bool
needs_system_columns(RelOptInfo *rel)
{
	Bitmapset  *columns = NULL;
	ListCell   *lc;
	int			column = -1;

	pull_varattnos((Node *) rel->reltarget->exprs, rel->relid, &columns);
	foreach(lc, rel->baserestrictinfo)
		pull_varattnos((Node *) lfirst_node(RestrictInfo, lc)->clause,
					   rel->relid, &columns);
	while ((column = bms_next_member(columns, column)) >= 0)
		if (column + FirstLowInvalidHeapAttributeNumber < 0)
			return true;
	return false;
}

/* part_of_one: which part of a partition is one tenant's */
static double
part_of_one(VariableStatData *stats, const Expr *named)
{
	if (IsA(named, Const))
		return var_eq_const(stats, TextEqualOperator, C_COLLATION_OID,
							((const Const *) named)->constvalue,
							((const Const *) named)->constisnull, true, false);
	return var_eq_non_const(stats, TextEqualOperator, C_COLLATION_OID,
							(Node *) named, true, false);
}

/*
 * estimate_part: which part of a table has the rows of one tenant that is named, or
 * of several
 */
static double
estimate_part(PlannerInfo *root, Node *column, int varRelid, const Expr *named,
			  text *const *tenants, int n)
{
	VariableStatData stats;
	double		part = 0;
	bool		is_default;
	int			i;

	examine_variable(root, column, varRelid, &stats);
	if (named != NULL)
		part = part_of_one(&stats, named);
	else if (n > ASK_EACH)
		part = n / get_variable_numdistinct(&stats, &is_default);
	else
		for (i = 0; i < n; i++)
			part += var_eq_const(&stats, TextEqualOperator, C_COLLATION_OID,
								 PointerGetDatum(tenants[i]), false, true,
								 false);
	ReleaseVariableStats(stats);
	return Min(part, 1.0);
}

/* set_cost: as of a bitmap scan, since a tenant's rows are read in their order */
static void
set_cost(PlannerInfo *root, RelOptInfo *rel, Path *path, double part, int n)
{
	double		rows = clamp_row_est(part * rel->tuples);
	double		pages = Max(rel->pages, 1);
	double		fetched = Min(index_pages_fetched(rows, rel->pages, 0, root),
							  pages);
	double		random_cost;
	double		seq_cost;
	double		page_cost;
	double		descent;

	get_tablespace_page_costs(rel->reltablespace, &random_cost, &seq_cost);
	page_cost = random_cost - (random_cost - seq_cost) * sqrt(fetched / pages);
	descent = random_cost +
		2 * DESCENT_PAGES * DESCENT_STEPS * cpu_operator_cost;
	path->rows = rel->rows;
	path->startup_cost = rel->baserestrictcost.startup;
	path->total_cost = path->startup_cost + n * descent + fetched * page_cost +
		rows * (cpu_index_tuple_cost + cpu_tuple_cost +
				rel->baserestrictcost.per_tuple);
}

/* is_part_of_log: whether a table is a partition of the log */
static bool
is_part_of_log(Oid relid)
{
	return get_rel_relispartition(relid) && sn_installed() &&
		get_partition_parent(relid, true) == sn_rel(SN_EVENT_LOG);
}

/* add_scan: offer the planner the scan of a partition, if it saves something */
static void
add_scan(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	Wanted		wanted;
	CustomPath *custom;
	text	  **tenants = NULL;
	double		part = 0;
	int			n = 1;

	get_wanted(rel, Anum_log_tenant_id, &wanted);
	if (wanted.column == NULL || !is_part_of_log(relid) ||
		needs_system_columns(rel) ||
		(wanted.named == NULL && !sn_gate_readable(&tenants, &n)))
		return;
	custom = makeNode(CustomPath);
	custom->path.pathtype = T_CustomScan;
	custom->path.parent = rel;
	custom->path.pathtarget = rel->reltarget;
	custom->flags = CUSTOMPATH_SUPPORT_PROJECTION;
	custom->methods = &path_methods;
	if (wanted.named != NULL)
		custom->custom_private = list_make1(wanted.named);
	if (!names_foreign(&wanted))
		part = estimate_part(root, (Node *) wanted.column, 0, wanted.named,
							 tenants, n);
	set_cost(root, rel, &custom->path, part, n);
	add_path(rel, &custom->path);
}

/*
 * offer: the hook: of a table that a query only reads.  Whoever locks rows, or
 * changes them, has to find them again, and that is left to PostgreSQL.
 */
static void
offer(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	if (prev_hook != NULL)
		prev_hook(root, rel, rti, rte);
	if (rte->rtekind == RTE_RELATION && rte->relkind == RELKIND_RELATION &&
		rte->tablesample == NULL && rel->baserestrictinfo != NIL &&
		root->parse->commandType == CMD_SELECT && root->rowMarks == NIL &&
		!IS_DUMMY_REL(rel) && enable_indexscan)
		add_scan(root, rel, rte->relid);
}

/* make_plan: the plan of a path that was chosen */
static Plan *
make_plan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist,
		  List *clauses, List *plans)
{
	CustomScan *scan = makeNode(CustomScan);

	scan->scan.plan.targetlist = tlist;
	scan->scan.plan.qual = extract_actual_clauses(clauses, false);
	scan->scan.scanrelid = rel->relid;
	scan->flags = path->flags;
	scan->custom_exprs = path->custom_private;
	scan->methods = &scan_methods;
	return &scan->scan.plan;
}

/* asks_for_foreign: whether a query asks for such a tenant beside may_read(column) */
static bool
asks_for_foreign(PlannerInfo *root, Node *column)
{
	const Var  *var = (const Var *) column;
	Wanted		wanted;

	if (!sn_gate_asks() || !IsA(column, Var) || var->varlevelsup != 0 ||
		var->varno >= root->simple_rel_array_size ||
		root->simple_rel_array[var->varno] == NULL)
		return false;
	get_wanted(root->simple_rel_array[var->varno], var->varattno, &wanted);
	return names_foreign(&wanted);
}

/*
 * readable_part(internal) returns internal: how many rows of a table may_read() lets
 * through, for the planner: as many as the caller's tenants have.
 */
Datum
sentinai_readable_part(PG_FUNCTION_ARGS)
{
	SupportRequestSelectivity *request =
		(SupportRequestSelectivity *) PG_GETARG_POINTER(0);
	text	  **tenants;
	int			n;

	if (!IsA(request, SupportRequestSelectivity) || request->is_join)
		PG_RETURN_POINTER(NULL);
	request->selectivity = 1;
	if (asks_for_foreign(request->root, linitial(request->args)))
		request->selectivity = 0;
	else if (sn_gate_readable(&tenants, &n))
		request->selectivity = estimate_part(request->root,
											 linitial(request->args),
											 request->varRelid, NULL,
											 tenants, n);
	PG_RETURN_POINTER(request);
}

/* sn_tenant_scan_init: when the library is loaded */
void
sn_tenant_scan_init(void)
{
	RegisterCustomScanMethods(&scan_methods);
	prev_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = offer;
}
