/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * move.c
 *		ALTER INDEX ... SET TABLESPACE: writers are kept out while it runs.
 *
 * A lock on a table keeps everything away from its indexes that could put
 * them elsewhere, but this command, which locks the index alone.  So it has
 * to lock the table first; then our writers need no lock on each index, which
 * would be a twelfth of what it takes to publish an event.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/sentinai.h"
#include "hooks/utility.h"

/* may_move: whether it is an index of ours, and the user's to move */
static bool
may_move(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class class;
	bool		may;

	if (!HeapTupleIsValid(tuple))
		return false;
	class = (Form_pg_class) GETSTRUCT(tuple);
	may = class->relkind == RELKIND_INDEX &&
		class->relnamespace == get_namespace_oid(SN_INTERNAL, true) &&
		has_privs_of_role(GetUserId(), class->relowner);
	ReleaseSysCache(tuple);
	return may;
}

/*
 * lock_its_table: before an index is locked, the table that it belongs to, in
 * the order of everybody else.  As strong as the command's lock on the index:
 * who reads the table and then writes to it goes first then, where a weaker
 * one would make a deadlock.  What the user must not move is left to the
 * command to refuse.
 */
static void
lock_its_table(const RangeVar *name, Oid index, Oid old_index, void *locked)
{
	Oid		   *table = locked;

	if (index == old_index)
		return;
	if (OidIsValid(*table))
		UnlockRelationOid(*table, AccessExclusiveLock);
	*table = may_move(index) ? IndexGetRelation(index, true) : InvalidOid;
	if (OidIsValid(*table))
		LockRelationOid(*table, AccessExclusiveLock);
}

/* lock_tables_in: the tables of our indexes in a tablespace */
static void
lock_tables_in(const AlterTableMoveAllStmt *stmt)
{
	Oid			tablespace = get_tablespace_oid(stmt->orig_tablespacename, true);
	Relation	rel = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	if (tablespace == MyDatabaseTableSpace)
		tablespace = InvalidOid;	/* as pg_class has it */
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class class = (Form_pg_class) GETSTRUCT(tuple);
		Oid			table;

		if (class->reltablespace != tablespace || !may_move(class->oid))
			continue;
		table = IndexGetRelation(class->oid, true);
		if (!OidIsValid(table))
			continue;
		if (!stmt->nowait)
			LockRelationOid(table, AccessExclusiveLock);
		else if (!ConditionalLockRelationOid(table, AccessExclusiveLock))
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("could not obtain lock on the table of index \"%s\"",
							NameStr(class->relname))));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* sets_tablespace: whether a command moves what it names */
static bool
sets_tablespace(const AlterTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->cmds)
		if (lfirst_node(AlterTableCmd, lc)->subtype == AT_SetTableSpace)
			return true;
	return false;
}

/* sn_guard_move: before a command: keep writers from indexes that it moves */
void
sn_guard_move(Node *stmt)
{
	Oid			table = InvalidOid;

	if (RecoveryInProgress())
		return;					/* a standby refuses the command by itself */
	if (IsA(stmt, AlterTableStmt) && sets_tablespace((AlterTableStmt *) stmt))
		(void) RangeVarGetRelidExtended(((AlterTableStmt *) stmt)->relation,
										AccessShareLock, RVR_MISSING_OK,
										lock_its_table, &table);
	else if (IsA(stmt, AlterTableMoveAllStmt) &&
			 ((AlterTableMoveAllStmt *) stmt)->objtype == OBJECT_INDEX)
		lock_tables_in((AlterTableMoveAllStmt *) stmt);
}
