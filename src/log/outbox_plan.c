/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * outbox_plan.c
 *		Planning scans of the table outbox: the log under other names.
 *
 * A scan is a query of event_log, made when the outer one is planned, with the
 * conditions and the order by id that it can take over, by the indexes and
 * partitions that the planner picks for it.  It runs with the rights of whoever
 * reads, so nothing of whoever asks is called there: see is_risky().
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

#include "base/compat.h"
#include "base/sentinai.h"
#include "base/set_here.h"
#include "log/outbox.h"

#define GUESSED_ROWS 1000000	/* in the log: enough to prefer its indexes */

/* one half of the query */
#define HALF(id, more) "select " id " as id, tenant_id," \
	" aggregate_type as aggregatetype, aggregate_id as aggregateid," \
	" event_type as type, payload, metadata" \
	" from " SN_SCHEMA ".event_log" more

/* A query while it is made */
typedef struct Making
{
	Expr	   *ids;			/* that a condition names, or NULL */
	List	   *parameters;		/* Expr: the values it is run with */
} Making;

/* sn_outbox_check: the columns have to be those of outbox, in their order */
void
sn_outbox_check(Relation rel)
{
	static const struct
	{
		const char *name;
		Oid			type;
	}			columns[OUTBOX_COLUMNS] = {
		{"id", UUIDOID}, {"tenant_id", TEXTOID}, {"aggregatetype", TEXTOID},
		{"aggregateid", TEXTOID}, {"type", TEXTOID}, {"payload", JSONBOID},
		{"metadata", JSONBOID}
	};
	TupleDesc	desc = RelationGetDescr(rel);
	bool		same = desc->natts == OUTBOX_COLUMNS;
	int			i;

	for (i = 0; same && i < OUTBOX_COLUMNS; i++)
		same = TupleDescAttr(desc, i)->atttypid == columns[i].type &&
			strcmp(NameStr(TupleDescAttr(desc, i)->attname),
				   columns[i].name) == 0;
	if (!same)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("foreign table \"%s\" has other columns than outbox",
						RelationGetRelationName(rel)),
				 errhint("Make it with (id uuid, tenant_id text, aggregatetype text, aggregateid text, type text, payload jsonb, metadata jsonb), in this order, and drop none of its columns.")));
}

/* is_strange: what a query of its own cannot say, or not as often */
static bool
is_strange(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if ((IsA(node, Var) && ((Var *) node)->varattno <= 0) ||
		(IsA(node, Param) && ((Param *) node)->paramkind != PARAM_EXTERN &&
		 ((Param *) node)->paramkind != PARAM_EXEC) ||
		IsA(node, SubPlan) || IsA(node, AlternativeSubPlan) ||
		IsA(node, PlaceHolderVar) || IsA(node, CurrentOfExpr))
		return true;
	return expression_tree_walker(node, is_strange, context);
}

/* is_foreign: whether a function is not PostgreSQL's own, or may change its mind */
static bool
is_foreign(Oid function, void *context)
{
	return function >= FirstNormalObjectId ||
		func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

/*
 * is_plain_collation: whether a collation is what the query would have anyway
 */
static bool
is_plain_collation(Oid collation)
{
	return !OidIsValid(collation) || collation == DEFAULT_COLLATION_OID ||
		collation == C_COLLATION_OID;
}

/*
 * is_risky: what must not be in the query.  It runs with the rights of a view's
 * owner, if there is one, so it calls nothing that somebody else has written,
 * or that reads more than its arguments: a caller of the view may have added
 * the condition.
 */
static bool
is_risky(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, is_foreign, NULL) ||
		IsA(node, SQLValueFunction) || IsA(node, XmlExpr) ||
		IsA(node, CoerceToDomain) ||
		!is_plain_collation(exprInputCollation(node)) ||
		(IsA(node, RelabelType) &&
		 exprCollation((Node *) ((RelabelType *) node)->arg) !=
		 ((RelabelType *) node)->resultcollid))
		return true;
	if (!IsA(node, List) && exprType(node) >= FirstNormalObjectId)
		return true;
	return expression_tree_walker(node, is_risky, context);
}

/*
 * is_param_value: whether something is computed before, and is a parameter
 * then
 */
static bool
is_param_value(Node *node)
{
	return !IsA(node, Const) && !contain_var_clause(node) &&
		exprType(node) < FirstNormalObjectId &&
		is_plain_collation(exprCollation(node));
}

/* sides: of a comparison, or NIL */
static List *
sides(Node *clause)
{
	return IsA(clause, OpExpr) ? ((OpExpr *) clause)->args :
		IsA(clause, ScalarArrayOpExpr) ? ((ScalarArrayOpExpr *) clause)->args :
		NIL;
}

/* can_take: whether a condition can go into the query */
static bool
can_take(RelOptInfo *rel, RestrictInfo *info)
{
	Node	   *clause = (Node *) info->clause;
	ListCell   *lc;

	if (is_strange(clause, NULL) || contain_volatile_functions(clause) ||
		!restriction_is_securely_promotable(info, rel))
		return false;
	if (sides(clause) == NIL)
		return !is_risky(clause, NULL);
	foreach(lc, sides(clause))
		if (!is_param_value(lfirst(lc)) && is_risky(lfirst(lc), NULL))
			return false;
	return !check_functions_in_node(clause, is_foreign, NULL) &&
		is_plain_collation(exprInputCollation(clause));
}

/* names_ids: the ids that a condition names, as an array; NULL: it does not */
static Expr *
names_ids(Node *clause)
{
	bool		one = IsA(clause, OpExpr) &&
		((OpExpr *) clause)->opfuncid == F_UUID_EQ;
	bool		many = IsA(clause, ScalarArrayOpExpr) &&
		((ScalarArrayOpExpr *) clause)->opfuncid == F_UUID_EQ &&
		((ScalarArrayOpExpr *) clause)->useOr;
	List	   *args = one || many ? sides(clause) : NIL;
	Node	   *column;
	Node	   *ids;
	ArrayExpr  *array;

	if (args == NIL)
		return NULL;
	column = linitial(args);
	ids = lsecond(args);
	if (one && !IsA(column, Var))
	{
		column = ids;
		ids = linitial(args);
	}
	if (!IsA(column, Var) || ((Var *) column)->varattno != OUTBOX_ID + 1 ||
		contain_var_clause(ids))
		return NULL;
	if (many)
		return (Expr *) ids;
	array = makeNode(ArrayExpr);
	array->array_typeid = UUIDARRAYOID;
	array->element_typeid = UUIDOID;
	array->elements = list_make1(ids);
	array->location = -1;
	return (Expr *) array;
}

/* say_value: a parameter in place of what is computed before */
static Node *
say_value(Node *node, Making *making)
{
	Param	   *param = makeNode(Param);
	ListCell   *lc;

	making->parameters = list_append_unique(making->parameters, node);
	param->paramkind = PARAM_EXTERN;
	param->paramid = making->ids == NULL ? 1 : OUTBOX_GIVEN + 1;
	param->paramtype = exprType(node);
	param->paramtypmod = exprTypmod(node);
	param->paramcollid = exprCollation(node);
	param->location = -1;
	foreach(lc, making->parameters)
	{
		if (equal(lfirst(lc), node))
			break;
		param->paramid++;
	}
	return (Node *) param;
}

/* say_it: an expression as the query has it */
static Node *
say_it(Node *node, Making *making)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = copyObject((Var *) node);

		var->varno = var->varnosyn = 1; /* the only table of the query */
		var->varattnosyn = var->varattno;
		return (Node *) var;
	}
	if (IsA(node, Param))
		return say_value(node, making);
	return expression_tree_mutator(node, say_it, making);
}

/* deparse_condition: a condition as the query has it */
static char *
deparse_condition(Node *clause, Oid relid, Making *making)
{
	ListCell   *lc;

	clause = copyObject(clause);
	foreach(lc, sides(clause))
		if (is_param_value(lfirst(lc)))
			lfirst(lc) = say_value(lfirst(lc), making);
		else
			lfirst(lc) = say_it(lfirst(lc), making);
	if (sides(clause) == NIL)
		clause = say_it(clause, making);
	return deparse_expression(clause, deparse_context_for("outbox", relid),
							  false, false);
}

/* make_query: for the conditions that were taken over; order: 0, 1 or -1 */
static char *
make_query(List *clauses, Oid relid, int order, Making *making)
{
	StringInfoData query;
	const char *word = "where";
	int			level = sn_name_safely();
	ListCell   *lc;

	foreach(lc, clauses)
		if (making->ids == NULL)
			making->ids = names_ids(lfirst(lc));
	initStringInfo(&query);
	appendStringInfoString(&query, "select * from (" HALF("event_id", ""));
	if (making->ids != NULL)
		appendStringInfoString(&query, " union all "
							   HALF("given", ", rows from (pg_catalog.unnest($1), pg_catalog.unnest($2)) g (given, id)"
									" where event_id operator(pg_catalog.=) g.id"));
	appendStringInfoString(&query, ") outbox");
	foreach(lc, clauses)
	{
		appendStringInfo(&query, " %s (%s)", word,
						 deparse_condition(lfirst(lc), relid, making));
		word = "and";
	}
	if (order != 0)
		appendStringInfo(&query, " order by id%s", order < 0 ? " desc" : "");
	AtEOXact_GUC(true, level);
	return query.data;
}

/* get_size: GetForeignRelSize */
static void
get_size(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	ListCell   *lc;
	Relation	table = table_open(relid, NoLock);

	sn_outbox_check(table);
	table_close(table, NoLock);
	rel->tuples = GUESSED_ROWS;
	set_baserel_size_estimates(root, rel);
	foreach(lc, rel->baserestrictinfo)
	{
		RestrictInfo *info = lfirst_node(RestrictInfo, lc);

		if (can_take(rel, info) && names_ids((Node *) info->clause) != NULL)
			rel->rows = 1;
	}
}

/* order_by_id: whether that is the order asked for: 1, descending -1 */
static int
order_by_id(PlannerInfo *root, RelOptInfo *rel)
{
	PathKey    *first;
	ListCell   *lc;

	if (list_length(root->query_pathkeys) != 1)
		return 0;
	first = linitial_node(PathKey, root->query_pathkeys);
	foreach(lc, first->pk_eclass->ec_members)
	{
		Expr	   *expr = ((EquivalenceMember *) lfirst(lc))->em_expr;

		if (IsA(expr, Var) && ((Var *) expr)->varno == rel->relid &&
			((Var *) expr)->varattno == OUTBOX_ID + 1)
			return sn_pathkey_descends(first) ? -1 : 1;
	}
	return 0;
}

/* get_paths: GetForeignPaths */
static void
get_paths(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	Cost		cost = rel->rows * 2 * cpu_tuple_cost;

	add_path(rel, (Path *) sn_foreignscan_path(root, rel, rel->rows, cost,
											   NIL));
	if (order_by_id(root, rel) != 0)
		add_path(rel, (Path *) sn_foreignscan_path(root, rel, rel->rows,
												   cost * 1.1,
												   root->query_pathkeys));
}

/* get_plan: GetForeignPlan */
static ForeignScan *
get_plan(PlannerInfo *root, RelOptInfo *rel, Oid relid, ForeignPath *path,
		 List *targets, List *infos, Plan *outer_plan)
{
	Making		making = {NULL};
	List	   *taken = NIL;
	List	   *left = NIL;
	int			order = path->path.pathkeys == NIL ? 0 : order_by_id(root, rel);
	char	   *query;
	ListCell   *lc;

	foreach(lc, infos)
	{
		RestrictInfo *info = lfirst_node(RestrictInfo, lc);

		if (info->pseudoconstant)
			continue;
		if (list_member_ptr(rel->baserestrictinfo, info) &&
			can_take(rel, info))
			taken = lappend(taken, info->clause);
		else
			left = lappend(left, info->clause);
	}
	query = make_query(taken, relid, order, &making);
	if (making.ids != NULL)
		making.parameters = lcons(making.ids, making.parameters);
	return make_foreignscan(targets, left, rel->relid, making.parameters,
							list_make2(makeString(query),
									   makeInteger(making.ids != NULL)),
							NIL, taken, outer_plan);
}

/* sn_outbox_plan: the part of the wrapper that plans */
void
sn_outbox_plan(FdwRoutine *routine)
{
	routine->GetForeignRelSize = get_size;
	routine->GetForeignPaths = get_paths;
	routine->GetForeignPlan = get_plan;
}
