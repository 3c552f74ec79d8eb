/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * guard.c
 *		What somebody would add to the extension's tables and views is refused.
 *
 * Rows are written below SQL: triggers, rules and policies of others would
 * never act, a CHECK would hold nobody, and an index on an expression or a key
 * of one's own would end publishers' transactions, with code that runs where
 * they write.  So nothing is accepted that would not be done.
 *
 * CREATE RULE and CREATE TRIGGER are refused before they wait for their lock:
 * PostgreSQL asks for the right only when it has that, and meanwhile everybody
 * else stands behind.
 *
 * A dump is restored with the commands that its pg_dump wrote, so what the
 * extension makes itself is accepted from everybody.  A superuser who knows
 * what he does sets allow_system_table_mods.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/sentinai.h"
#include "hooks/guard.h"
#include "hooks/ours.h"
#include "hooks/utility.h"
#include "store/store.h"
#include "store/wall.h"

/* is_our_function: whether a trigger's function is the extension's */
static bool
is_our_function(List *name)
{
	Oid			function = LookupFuncName(name, 0, NULL, true);

	return OidIsValid(function) && sn_is_member(ProcedureRelationId, function);
}

/*
 * guard_trigger: CREATE TRIGGER.  One of our own function comes with a dump,
 * and takes no other's place: with a condition it would let everything through.
 */
static void
guard_trigger(const CreateTrigStmt *stmt)
{
	Oid			relid = sn_our_relation(stmt->relation);

	if (OidIsValid(relid) && (!is_our_function(stmt->funcname) ||
							  stmt->replace || stmt->whenClause != NULL ||
							  !sn_owns_relation(relid, GetUserId())))
		sn_refuse("a trigger", relid);
	relid = sn_our_relation(stmt->constrrel);
	if (OidIsValid(relid))
		sn_refuse("a constraint trigger", relid);
}

/* is_key: whether columns are the key of a partition, as a dump brings it */
static bool
is_key(List *names)
{
	static const char *const keys[][3] = {
		{"event_id"}, {"event_id", "worker_type"},
		{"stream_id", "lane", "slice_no"}
	};
	int			i;

	for (i = 0; i < lengthof(keys); i++)
	{
		ListCell   *lc;
		int			n = 0;
		bool		same = true;

		foreach(lc, names)
		{
			Node	   *node = lfirst(lc);
			const char *name = IsA(node, String) ? strVal(node) :
				((IndexElem *) node)->name;

			same = same && n < 3 && name != NULL && keys[i][n] != NULL &&
				strcmp(name, keys[i][n]) == 0;
			n++;
		}
		if (same && (n == 3 || keys[i][n] == NULL))
			return true;
	}
	return false;
}

/* sn_guard_constraint: a constraint of a table of ours, or one that refers to it */
void
sn_guard_constraint(const Constraint *constraint, Oid relid)
{
	Oid			referenced = sn_our_relation(constraint->pktable);

	if (constraint->contype == CONSTR_FOREIGN && OidIsValid(referenced))
		sn_refuse("a foreign key", referenced);
	if (!OidIsValid(relid))
		return;
	if (constraint->contype == CONSTR_CHECK ||
		constraint->contype == CONSTR_FOREIGN ||
		constraint->contype == CONSTR_EXCLUSION ||
		constraint->contype == CONSTR_UNIQUE ||
		(constraint->contype == CONSTR_PRIMARY && constraint->keys != NIL &&
		 !is_key(constraint->keys)))
		sn_refuse("a constraint", relid);
}

/* check_index: an index that is there, or was just made */
static void
check_index(Relation heap, Oid oid)
{
	Relation	index = relation_open(oid, AccessShareLock);

	if (!sn_index_is_ours(heap, index))
		sn_refuse("an index on an expression, or a partial one,",
				  RelationGetRelid(heap));
	relation_close(index, AccessShareLock);
}

/* is_bare: whether a table has nothing that others have added to it */
static bool
is_bare(Relation rel)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;
	TriggerDesc *triggers = rel->trigdesc;
	int			i;

	for (i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (!sn_is_member(ProcedureRelationId, triggers->triggers[i].tgfoid))
			return false;
	return rel->rd_rules == NULL && !rel->rd_rel->relrowsecurity &&
		(constr == NULL || constr->num_check == 0);
}

/* sn_guard_partition: before ATTACH PARTITION: what the table brings along */
void
sn_guard_partition(const RangeVar *name, Oid parent)
{
	Oid			relid = sn_our_relation(name);
	Relation	rel;
	ListCell   *lc;

	if (!OidIsValid(relid))
		sn_refuse("a child in another schema", parent);
	rel = table_open(relid, AccessShareLock);
	if (!is_bare(rel))
		sn_refuse("a table with triggers, rules or constraints", parent);
	foreach(lc, RelationGetIndexList(rel))
		check_index(rel, lfirst_oid(lc));
	table_close(rel, AccessShareLock);
}

/*
 * guard_create: CREATE TABLE of a partition, or of what inherits from a table
 * of ours or refers to one
 */
static void
guard_create(const CreateStmt *stmt)
{
	Oid			parent = InvalidOid;
	ListCell   *lc;

	foreach(lc, stmt->inhRelations)
	{
		parent = sn_our_relation(lfirst_node(RangeVar, lc));
		if (OidIsValid(parent) && (stmt->partbound == NULL ||
								   stmt->relation->schemaname == NULL ||
								   strcmp(stmt->relation->schemaname, SN_INTERNAL) != 0))
			sn_refuse("a child in another schema", parent);
	}
	foreach(lc, stmt->constraints)
		sn_guard_constraint(lfirst_node(Constraint, lc), parent);
	foreach(lc, stmt->tableElts)
	{
		Node	   *element = lfirst(lc);
		ListCell   *lc2;

		if (IsA(element, Constraint))
			sn_guard_constraint((Constraint *) element, parent);
		if (!IsA(element, ColumnDef))
			continue;
		foreach(lc2, ((ColumnDef *) element)->constraints)
			sn_guard_constraint(lfirst_node(Constraint, lc2), parent);
	}
}

/* guard_foreign: CREATE FOREIGN TABLE, which would show rows of its own */
static void
guard_foreign(const CreateForeignTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->base.inhRelations)
	{
		Oid			parent = sn_our_relation(lfirst_node(RangeVar, lc));

		if (OidIsValid(parent))
			sn_refuse("a foreign child", parent);
	}
}

/* guard_view: CREATE OR REPLACE VIEW of the name of one of ours */
static void
guard_view(const ViewStmt *stmt)
{
	const RangeVar *name = stmt->view;
	Oid			schema;
	Oid			relid;

	if (!stmt->replace || name->relpersistence == RELPERSISTENCE_TEMP)
		return;
	schema = name->schemaname == NULL ? RangeVarGetCreationNamespace(name) :
		get_namespace_oid(name->schemaname, true);
	relid = OidIsValid(schema) ? get_relname_relid(name->relname, schema) :
		InvalidOid;
	if (sn_is_our_relation(relid))
		sn_refuse("a query", relid);
}

/*
 * guard_index: CREATE INDEX.  An expression is the hash of the tenant's name,
 * and a predicate one of columns that never change: as the extension has them.
 */
static void
guard_index(const IndexStmt *stmt)
{
	Oid			relid = sn_our_relation(stmt->relation);
	ListCell   *lc;

	if (!OidIsValid(relid))
		return;
	if (stmt->unique && !is_key(stmt->indexParams))
		sn_refuse("a unique index", relid);
	if (stmt->excludeOpNames != NIL)
		sn_refuse("a constraint", relid);
	if (stmt->whereClause != NULL && stmt->concurrent)
		sn_refuse("a partial index", relid);
	foreach(lc, stmt->indexParams)
	{
		const IndexElem *element = lfirst_node(IndexElem, lc);

		if (element->opclass != NIL)
			sn_refuse("an index with an operator class", relid);
		if (element->expr != NULL && stmt->concurrent)
			sn_refuse("an index on an expression", relid);
	}
}

/* sn_guard_made: after a command: has it made an index that may not be? */
void
sn_guard_made(Node *stmt)
{
	Oid			relid;
	Relation	rel;
	ListCell   *lc;

	if (!IsA(stmt, IndexStmt) || ((IndexStmt *) stmt)->concurrent ||
		creating_extension || allowSystemTableMods || IsBinaryUpgrade)
		return;
	relid = sn_our_relation(((IndexStmt *) stmt)->relation);
	if (!OidIsValid(relid))
		return;
	rel = table_open(relid, NoLock);
	foreach(lc, RelationGetIndexList(rel))
		check_index(rel, lfirst_oid(lc));
	table_close(rel, NoLock);
}

/* sn_guard_tables: before a command: does it add to our tables, or to views? */
void
sn_guard_tables(Node *stmt)
{
	Oid			relid;

	if (creating_extension || allowSystemTableMods || IsBinaryUpgrade)
		return;
	switch (nodeTag(stmt))
	{
		case T_CreateTrigStmt:
			guard_trigger((CreateTrigStmt *) stmt);
			break;
		case T_RuleStmt:
			relid = sn_our_relation(((RuleStmt *) stmt)->relation);
			if (OidIsValid(relid))
				sn_refuse("a rule", relid);
			break;
		case T_CreatePolicyStmt:
			relid = sn_our_relation(((CreatePolicyStmt *) stmt)->table);
			if (OidIsValid(relid) &&
				(sn_is_member(RelationRelationId, relid) ||
				 !sn_wall_is_policy((CreatePolicyStmt *) stmt, relid)))
				sn_refuse("a policy", relid);
			break;
		case T_CreateStmt:
			guard_create((CreateStmt *) stmt);
			break;
		case T_CreateForeignTableStmt:
			guard_foreign((CreateForeignTableStmt *) stmt);
			break;
		case T_ViewStmt:
			guard_view((ViewStmt *) stmt);
			break;
		case T_IndexStmt:
			guard_index((IndexStmt *) stmt);
			break;
		default:
			break;
	}
}
