/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * alter.c
 *		What may be changed of the extension's objects: where and how tables
 *		are stored, what the planner and autovacuum know of them, and to whom
 *		they belong.  Everything else is refused.
 *
 * Code in C reads and writes the tables by the numbers of their columns, and
 * superusers call the functions and query the views.  The owner may be nobody
 * any more: who installed the extension, and has lost his rights since.  So he
 * can neither take the log apart nor put code of his own in the place of ours.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "utils/acl.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/sentinai.h"
#include "hooks/guard.h"
#include "hooks/ours.h"
#include "hooks/utility.h"
#include "store/store.h"
#include "store/wall.h"

#define ALLOWED_HINT \
	"SET TABLESPACE, storage and autovacuum parameters, statistics, compression, REPLICA IDENTITY and, by a superuser, OWNER can be changed."
#define RETENTION_HINT \
	"Retention drops what is older than \"sentinai.retention\" from all tables at once."

/* name_starts_with: whether a name begins like that */
static bool
name_starts_with(const char *name, const char *begin)
{
	return name != NULL && strncmp(name, begin, strlen(begin)) == 0;
}

/* is_storage: whether a parameter only says how something is stored */
static bool
is_storage(const DefElem *option)
{
	static const char *const names[] = {
		"autosummarize", "buffering", "deduplicate_items", "fastupdate",
		"fillfactor", "gin_pending_list_limit", "log_autovacuum_min_duration",
		"pages_per_range", "parallel_workers", "toast_tuple_target"
	};
	int			i;

	for (i = 0; i < lengthof(names); i++)
		if (strcmp(option->defname, names[i]) == 0)
			return true;
	return name_starts_with(option->defname, "autovacuum_") ||
		name_starts_with(option->defname, "vacuum_");
}

/* guard_options: a view has none that its readers could do without */
static void
guard_options(List *options, Oid relid)
{
	ListCell   *lc;
	char		kind = get_rel_relkind(relid);

	foreach(lc, options)
		if (kind == RELKIND_VIEW || !is_storage(lfirst_node(DefElem, lc)))
			sn_refuse_alter("a parameter", relid, ALLOWED_HINT);
}

/* guard_owner: only a superuser gives something away, or a dump to who has it */
static void
guard_owner(const RoleSpec *role, Oid relid)
{
	if (!superuser() && get_rolespec_oid(role, true) != GetUserId())
		sn_refuse_alter("the owner", relid, ALLOWED_HINT);
}

/*
 * is_harmless: whether a subcommand only says how a table is stored, or what the
 * planner knows of it.  A trigger that fires always is one of ours.
 */
static bool
is_harmless(AlterTableType subtype)
{
	switch (subtype)
	{
		case AT_SetTableSpace:
		case AT_SetStatistics:
		case AT_SetOptions:		/* n_distinct */
		case AT_ResetOptions:
		case AT_SetStorage:
		case AT_SetCompression:
		case AT_ClusterOn:
		case AT_DropCluster:
		case AT_ReplicaIdentity:
		case AT_SetLogged:
		case AT_EnableAlwaysTrig:
			return true;
		default:
			return false;
	}
}

/* refused_as: what a subcommand would change that nobody may, or NULL */
static const char *
refused_as(AlterTableType subtype)
{
	switch (subtype)
	{
		case AT_AddInherit:
			return "a parent";
		case AT_EnableTrig:
		case AT_EnableTrigAll:
		case AT_EnableTrigUser:
		case AT_DisableTrig:
		case AT_DisableTrigAll:
		case AT_DisableTrigUser:
			return "when a trigger fires";
		case AT_DisableRowSecurity:
		case AT_NoForceRowSecurity:
			return "row security";
		default:
			return NULL;
	}
}

/*
 * guard_subcommand: one of ALTER TABLE.  What a dump has of a partition is
 * among those that pass.
 */
static void
guard_subcommand(const AlterTableCmd *cmd, Oid relid)
{
	const char *what = refused_as(cmd->subtype);

	if (is_harmless(cmd->subtype))
		return;
	if (what != NULL)
		sn_refuse(what, relid);
	switch (cmd->subtype)
	{
		case AT_SetRelOptions:
		case AT_ResetRelOptions:
			guard_options((List *) cmd->def, relid);
			break;
		case AT_ChangeOwner:
			guard_owner(cmd->newowner, relid);
			break;
		case AT_EnableReplicaTrig:
			if (!name_starts_with(cmd->name, "refuse_replicat"))
				sn_refuse("when a trigger fires", relid);
			break;
		case AT_AddConstraint:
			sn_guard_constraint((Constraint *) cmd->def, relid);
			if (((Constraint *) cmd->def)->contype != CONSTR_PRIMARY)
				sn_refuse("a constraint", relid);
			break;
		case AT_AttachPartition:
			if (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE)
				sn_guard_partition(((PartitionCmd *) cmd->def)->name, relid);
			break;
		case AT_DetachPartition:
		case AT_DetachPartitionFinalize:
			sn_refuse_alter("the list of partitions", relid, RETENTION_HINT);
			break;
		case AT_EnableRowSecurity:
		case AT_ForceRowSecurity:
			if (sn_is_member(RelationRelationId, relid) ||
				!sn_wall_may_rise(relid, cmd->subtype == AT_ForceRowSecurity))
				sn_refuse("row security", relid);
			break;
		default:
			sn_refuse_alter("the definition", relid, ALLOWED_HINT);
	}
}

/* guard_table: ALTER TABLE and the like, of ours or with a reference to ours */
static void
guard_table(const AlterTableStmt *stmt)
{
	Oid			relid = sn_our_relation(stmt->relation);
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		const AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (OidIsValid(relid))
			guard_subcommand(cmd, relid);
		else if (cmd->subtype == AT_AddConstraint)
			sn_guard_constraint((Constraint *) cmd->def, InvalidOid);
		if (cmd->subtype == AT_AddInherit &&
			OidIsValid(sn_our_relation((RangeVar *) cmd->def)))
			sn_refuse("a child", sn_our_relation((RangeVar *) cmd->def));
	}
}

/* is_named: whether an index has a name that C looks up (tables.h) */
static bool
is_named(Oid index)
{
#define NAME_OF_INDEX(symbol, index, keys) #index,
	static const char *const names[] = {
		SN_RELATIONS(SN_NO_REL, SN_NO_REL, NAME_OF_INDEX)
	};
	const char *name = get_rel_name(index);
	int			i;

	for (i = 0; i < lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/*
 * is_needed: whether an index is one of ours, whose names in partitions are
 * nobody's choice.  Those of others have no predicate, expression or uniqueness.
 */
static bool
is_needed(Oid index)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	Form_pg_index form;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_index) GETSTRUCT(tuple);
	result = form->indisunique || is_named(index) ||
		!heap_attisnull(tuple, Anum_pg_index_indpred, NULL) ||
		!heap_attisnull(tuple, Anum_pg_index_indexprs, NULL) ||
		(form->indnkeyatts == 2 &&
		 form->indkey.values[0] == Anum_idem_tenant_id &&
		 form->indkey.values[1] == Anum_idem_key &&
		 get_rel_relispartition(form->indrelid) &&
		 get_partition_parent(form->indrelid, true) == sn_rel(SN_EVENT_IDEMPOTENCY));
	ReleaseSysCache(tuple);
	return result;
}

/* guard_drop_of: one name of DROP; the last one of a trigger or policy is its own */
static void
guard_drop_of(ObjectType type, List *names)
{
	Oid			relid;

	if (type == OBJECT_TRIGGER || type == OBJECT_POLICY)
	{
		if (list_length(names) < 2)
			return;
		names = list_truncate(list_copy(names), list_length(names) - 1);
	}
	relid = sn_our_relation(makeRangeVarFromNameList(names));
	if (!OidIsValid(relid))
		return;
	if (type == OBJECT_TRIGGER)
		sn_refuse("a trigger", relid);
	if (type == OBJECT_POLICY)
		sn_refuse("a policy", relid);
	if (type == OBJECT_TABLE && get_rel_relispartition(relid))
		sn_refuse_alter("the list of partitions",
						 get_partition_parent(relid, true), RETENTION_HINT);
	if (type == OBJECT_INDEX && is_needed(relid))
		sn_refuse_alter("the list of indexes",
						 IndexGetRelation(relid, false), ALLOWED_HINT);
}

/* guard_drop: DROP of what PostgreSQL does not know as a part of the extension */
static void
guard_drop(const DropStmt *stmt)
{
	ListCell   *lc;

	if (stmt->removeType != OBJECT_TRIGGER &&
		stmt->removeType != OBJECT_POLICY &&
		stmt->removeType != OBJECT_TABLE && stmt->removeType != OBJECT_INDEX)
		return;
	foreach(lc, stmt->objects)
		guard_drop_of(stmt->removeType, lfirst_node(List, lc));
}

/* has_function: whether a function of ours has that name */
static bool
has_function(Oid schema, const char *name)
{
	CatCList   *found = SearchSysCacheList1(PROCNAMEARGSNSP,
											CStringGetDatum(name));
	bool		result = false;
	int			i;

	for (i = 0; i < found->n_members && !result; i++)
	{
		Form_pg_proc form = (Form_pg_proc)
			GETSTRUCT(&found->members[i]->tuple);

		result = form->pronamespace == schema &&
			sn_is_member(ProcedureRelationId, form->oid);
	}
	ReleaseSysCacheList(found);
	return result;
}

/* guard_function: CREATE OR REPLACE FUNCTION of a name that we have */
static void
guard_function(const CreateFunctionStmt *stmt)
{
	List	   *path = fetch_search_path(false);
	Oid			target = path == NIL ? InvalidOid : linitial_oid(path);
	char	   *schema;
	char	   *name;

	if (!stmt->replace)
		return;
	DeconstructQualifiedName(stmt->funcname, &schema, &name);
	if (schema != NULL)
		target = get_namespace_oid(schema, true);
	if (OidIsValid(target) && target == get_namespace_oid(SN_SCHEMA, true) &&
		has_function(target, name))
		sn_refuse_object("CREATE OR REPLACE", name);
}

/* guard_object: a command on what may be ours and is no relation */
static void
guard_object(const char *command, ObjectType type, Node *object)
{
	Node	   *last = object;

	if (!sn_is_our_object(type, object))
		return;
	if (IsA(last, ObjectWithArgs))
		last = llast(((ObjectWithArgs *) last)->objname);
	else if (IsA(last, List))
		last = llast((List *) last);
	sn_refuse_object(command, strVal(last));
}

/* guard_rename: ALTER ... RENAME, of columns and triggers as well */
static void
guard_rename(const RenameStmt *stmt)
{
	Oid			relid = sn_our_relation(stmt->relation);

	if (OidIsValid(relid))
		sn_refuse_alter("a name", relid, ALLOWED_HINT);
	if (stmt->renameType == OBJECT_SCHEMA)
		guard_object("ALTER SCHEMA ... RENAME", OBJECT_SCHEMA,
					 (Node *) makeString(stmt->subname));
	else if (stmt->object != NULL)
		guard_object("ALTER ... RENAME", stmt->renameType, stmt->object);
}

/* guard_related: ALTER ... of a relation or another object */
static void
guard_related(const char *command, const RangeVar *relation, ObjectType type,
			  Node *object)
{
	Oid			relid = sn_our_relation(relation);

	if (OidIsValid(relid))
		sn_refuse_alter("the definition", relid, ALLOWED_HINT);
	if (object != NULL)
		guard_object(command, type, object);
}

/* guard_others: commands with few words about us */
static void
guard_others(Node *stmt)
{
	AlterObjectSchemaStmt *schema = (AlterObjectSchemaStmt *) stmt;
	AlterObjectDependsStmt *depends = (AlterObjectDependsStmt *) stmt;
	AlterOwnerStmt *owner = (AlterOwnerStmt *) stmt;

	if (IsA(stmt, AlterObjectSchemaStmt))
		guard_related("ALTER ... SET SCHEMA", schema->relation,
					  schema->objectType, schema->object);
	else if (IsA(stmt, AlterObjectDependsStmt))
		guard_related("ALTER ... DEPENDS ON EXTENSION", depends->relation,
					  depends->objectType, depends->object);
	else if (IsA(stmt, AlterOwnerStmt) && !superuser())
		guard_object("ALTER ... OWNER", owner->objectType, owner->object);
	else if (IsA(stmt, AlterFunctionStmt))
		guard_object("ALTER FUNCTION", ((AlterFunctionStmt *) stmt)->objtype,
					 (Node *) ((AlterFunctionStmt *) stmt)->func);
	else if (IsA(stmt, AlterPolicyStmt))
		guard_related("ALTER POLICY", ((AlterPolicyStmt *) stmt)->table,
					  OBJECT_POLICY, NULL);
	else if (IsA(stmt, AlterSeqStmt))
		guard_related("ALTER SEQUENCE", ((AlterSeqStmt *) stmt)->sequence,
					  OBJECT_SEQUENCE, NULL);
	else if (IsA(stmt, AlterForeignServerStmt))
		guard_object("ALTER SERVER", OBJECT_FOREIGN_SERVER,
					 (Node *) makeString(((AlterForeignServerStmt *) stmt)->servername));
	else if (IsA(stmt, AlterFdwStmt))
		guard_object("ALTER FOREIGN DATA WRAPPER", OBJECT_FDW,
					 (Node *) makeString(((AlterFdwStmt *) stmt)->fdwname));
	else if (IsA(stmt, AlterExtensionContentsStmt) &&
			 strcmp(((AlterExtensionContentsStmt *) stmt)->extname, "sentinai") == 0)
		sn_refuse_object("ALTER EXTENSION ... ADD and DROP", "sentinai");
}

/* sn_guard_alter: before a command: does it change what is ours? */
void
sn_guard_alter(Node *stmt)
{
	if (creating_extension || allowSystemTableMods || IsBinaryUpgrade)
		return;
	switch (nodeTag(stmt))
	{
		case T_AlterTableStmt:
			guard_table((AlterTableStmt *) stmt);
			break;
		case T_DropStmt:
			guard_drop((DropStmt *) stmt);
			break;
		case T_CreateFunctionStmt:
			guard_function((CreateFunctionStmt *) stmt);
			break;
		case T_RenameStmt:
			guard_rename((RenameStmt *) stmt);
			break;
		default:
			guard_others(stmt);
			break;
	}
}
