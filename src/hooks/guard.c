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
#include "hooks/utility.h"
#include "store/store.h"

/* is_member: whether the extension has an object, and is there at all */
static bool
is_member(Oid class, Oid object)
{
	Oid			extension = getExtensionOfObject(class, object);

	return OidIsValid(extension) &&
		extension == get_extension_oid("sentinai", true);
}

/* is_ours: whether a relation is one of ours: partitions are no members */
static bool
is_ours(Oid relid)
{
	Oid			schema;

	if (!OidIsValid(relid))
		return false;
	schema = get_rel_namespace(relid);
	if (schema == get_namespace_oid(SN_INTERNAL, true))
		return is_member(NamespaceRelationId, schema);
	return schema == get_namespace_oid(SN_SCHEMA, true) &&
		is_member(RelationRelationId, relid);
}

/*
 * ours: a relation of ours that a command names, or InvalidOid.  No lock is
 * taken, and what the user may not look up is left to the command to refuse.
 */
static Oid
ours(const RangeVar *name)
{
	Oid			schema;
	Oid			relid;

	if (name == NULL)
		return InvalidOid;
	if (name->schemaname == NULL)
		relid = RelnameGetRelid(name->relname);
	else
	{
		schema = get_namespace_oid(name->schemaname, true);
		relid = OidIsValid(schema) ?
			get_relname_relid(name->relname, schema) : InvalidOid;
	}
	return is_ours(relid) ? relid : InvalidOid;
}

/* refuse: say so, to who owns the relation; others learn only that they do not */
static void
refuse(const char *what, Oid relid)
{
	if (!sn_owns_relation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER,
					   get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s cannot be added to or changed on \"%s.%s\"", what,
					get_namespace_name(get_rel_namespace(relid)),
					get_rel_name(relid)),
			 errdetail("The extension writes its tables itself, and would not heed it."),
			 errhint("To act on events, work for a subscription: see subscribe().")));
}

/* starts_with: whether a name begins like that */
static bool
starts_with(const char *name, const char *begin)
{
	return name != NULL && strncmp(name, begin, strlen(begin)) == 0;
}

/* is_our_function: whether a trigger's function is the extension's */
static bool
is_our_function(List *name)
{
	Oid			function = LookupFuncName(name, 0, NULL, true);

	return OidIsValid(function) && is_member(ProcedureRelationId, function);
}

/* guard_trigger: CREATE TRIGGER */
static void
guard_trigger(const CreateTrigStmt *stmt)
{
	Oid			relid = ours(stmt->relation);

	if (OidIsValid(relid) && (!is_our_function(stmt->funcname) ||
							  !sn_owns_relation(relid, GetUserId())))
		refuse("a trigger", relid);
	relid = ours(stmt->constrrel);
	if (OidIsValid(relid))
		refuse("a constraint trigger", relid);
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

/* guard_constraint: a constraint of a table of ours, or one that refers to it */
static void
guard_constraint(const Constraint *constraint, Oid relid)
{
	Oid			referenced = ours(constraint->pktable);

	if (constraint->contype == CONSTR_FOREIGN && OidIsValid(referenced))
		refuse("a foreign key", referenced);
	if (!OidIsValid(relid))
		return;
	if (constraint->contype == CONSTR_CHECK ||
		constraint->contype == CONSTR_FOREIGN ||
		constraint->contype == CONSTR_EXCLUSION ||
		constraint->contype == CONSTR_UNIQUE ||
		(constraint->contype == CONSTR_PRIMARY && constraint->keys != NIL &&
		 !is_key(constraint->keys)))
		refuse("a constraint", relid);
}

/* check_index: an index that is there, or was just made */
static void
check_index(Relation heap, Oid oid)
{
	Relation	index = relation_open(oid, AccessShareLock);

	if (!sn_index_is_ours(heap, index))
		refuse("an index on an expression, or a partial one,",
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
		if (!is_member(ProcedureRelationId, triggers->triggers[i].tgfoid))
			return false;
	return rel->rd_rules == NULL && !rel->rd_rel->relrowsecurity &&
		(constr == NULL || constr->num_check == 0);
}

/* check_partition: before ATTACH PARTITION: what the table brings along */
static void
check_partition(const RangeVar *name, Oid parent)
{
	Oid			relid = ours(name);
	Relation	rel;
	ListCell   *lc;

	if (!OidIsValid(relid))
		refuse("a child in another schema", parent);
	rel = table_open(relid, AccessShareLock);
	if (!is_bare(rel))
		refuse("a table with triggers, rules or constraints", parent);
	foreach(lc, RelationGetIndexList(rel))
		check_index(rel, lfirst_oid(lc));
	table_close(rel, AccessShareLock);
}

/* guard_change: one command of ALTER TABLE */
static void
guard_change(const AlterTableCmd *cmd, Oid relid)
{
	if (cmd->subtype == AT_AddConstraint)
		guard_constraint((Constraint *) cmd->def, relid);
	if (!OidIsValid(relid))
		return;
	switch (cmd->subtype)
	{
		case AT_AddColumn:
		case AT_DropColumn:
		case AT_AlterColumnType:
		case AT_AddIdentity:
		case AT_DropNotNull:
			refuse("a column", relid);
			break;
		case AT_AddIndexConstraint:
			refuse("a constraint", relid);
			break;
		case AT_EnableTrig:
		case AT_EnableTrigAll:
		case AT_EnableTrigUser:
		case AT_DisableTrig:
		case AT_DisableTrigAll:
		case AT_DisableTrigUser:
			refuse("when a trigger fires", relid);
			break;
		case AT_EnableReplicaTrig:
			if (!starts_with(cmd->name, "refuse_replicat"))
				refuse("when a trigger fires", relid);
			break;
		case AT_AttachPartition:
			check_partition(((PartitionCmd *) cmd->def)->name, relid);
			break;
		case AT_EnableRowSecurity:
		case AT_DisableRowSecurity:
		case AT_ForceRowSecurity:
		case AT_NoForceRowSecurity:
			refuse("row security", relid);
			break;
		case AT_SetUnLogged:
			refuse("UNLOGGED", relid);	/* what is published outlives a crash */
			break;
		case AT_AddInherit:
			refuse("a parent", relid);
			break;
		default:
			break;
	}
}

/* guard_alter: ALTER TABLE, of ours or with a reference to ours */
static void
guard_alter(const AlterTableStmt *stmt)
{
	Oid			relid = ours(stmt->relation);
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		const AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		guard_change(cmd, relid);
		if (cmd->subtype == AT_AddInherit &&
			OidIsValid(ours((RangeVar *) cmd->def)))
			refuse("a child", ours((RangeVar *) cmd->def));
	}
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
		parent = ours(lfirst_node(RangeVar, lc));
		if (OidIsValid(parent) && (stmt->partbound == NULL ||
								   stmt->relation->schemaname == NULL ||
								   strcmp(stmt->relation->schemaname, SN_INTERNAL) != 0))
			refuse("a child in another schema", parent);
	}
	foreach(lc, stmt->constraints)
		guard_constraint(lfirst_node(Constraint, lc), parent);
	foreach(lc, stmt->tableElts)
	{
		Node	   *element = lfirst(lc);
		ListCell   *lc2;

		if (IsA(element, Constraint))
			guard_constraint((Constraint *) element, parent);
		if (!IsA(element, ColumnDef))
			continue;
		foreach(lc2, ((ColumnDef *) element)->constraints)
			guard_constraint(lfirst_node(Constraint, lc2), parent);
	}
}

/* guard_foreign: CREATE FOREIGN TABLE, which would show rows of its own */
static void
guard_foreign(const CreateForeignTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->base.inhRelations)
	{
		Oid			parent = ours(lfirst_node(RangeVar, lc));

		if (OidIsValid(parent))
			refuse("a foreign child", parent);
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
	if (is_ours(relid))
		refuse("a query", relid);
}

/* guard_drop: DROP TRIGGER, of which the last name is the trigger's */
static void
guard_drop(const DropStmt *stmt)
{
	ListCell   *lc;

	if (stmt->removeType != OBJECT_TRIGGER)
		return;
	foreach(lc, stmt->objects)
	{
		List	   *names = lfirst_node(List, lc);
		Oid			relid;

		if (list_length(names) < 2)
			continue;
		relid = ours(makeRangeVarFromNameList(list_truncate(list_copy(names),
															list_length(names) - 1)));
		if (OidIsValid(relid))
			refuse("a trigger", relid);
	}
}

/*
 * guard_index: CREATE INDEX.  An expression is the hash of the tenant's name,
 * and a predicate one of columns that never change: as the extension has them.
 */
static void
guard_index(const IndexStmt *stmt)
{
	Oid			relid = ours(stmt->relation);
	ListCell   *lc;

	if (!OidIsValid(relid))
		return;
	if (stmt->unique && !is_key(stmt->indexParams))
		refuse("a unique index", relid);
	if (stmt->excludeOpNames != NIL)
		refuse("a constraint", relid);
	if (stmt->whereClause != NULL && stmt->concurrent)
		refuse("a partial index", relid);
	foreach(lc, stmt->indexParams)
	{
		const IndexElem *element = lfirst_node(IndexElem, lc);

		if (element->opclass != NIL)
			refuse("an index with an operator class", relid);
		if (element->expr != NULL && stmt->concurrent)
			refuse("an index on an expression", relid);
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
		creating_extension || allowSystemTableMods)
		return;
	relid = ours(((IndexStmt *) stmt)->relation);
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

	if (creating_extension || allowSystemTableMods)
		return;
	switch (nodeTag(stmt))
	{
		case T_CreateTrigStmt:
			guard_trigger((CreateTrigStmt *) stmt);
			break;
		case T_RuleStmt:
			relid = ours(((RuleStmt *) stmt)->relation);
			if (OidIsValid(relid))
				refuse("a rule", relid);
			break;
		case T_CreatePolicyStmt:
			relid = ours(((CreatePolicyStmt *) stmt)->table);
			if (OidIsValid(relid))
				refuse("a policy", relid);
			break;
		case T_AlterTableStmt:
			guard_alter((AlterTableStmt *) stmt);
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
		case T_DropStmt:
			guard_drop((DropStmt *) stmt);
			break;
		case T_AlterObjectSchemaStmt:
			relid = ours(((AlterObjectSchemaStmt *) stmt)->relation);
			if (OidIsValid(relid))
				refuse("another schema", relid);
			break;
		case T_RenameStmt:
			relid = ((RenameStmt *) stmt)->renameType == OBJECT_COLUMN ?
				ours(((RenameStmt *) stmt)->relation) : InvalidOid;
			if (OidIsValid(relid))
				refuse("a column", relid);
			break;
		default:
			break;
	}
}
