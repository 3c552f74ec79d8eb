/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * utility.c
 *		What other people's commands mean for us: DROP EXTENSION is announced,
 *		nothing is added to our tables, writers are kept from an index that is
 *		moved, the workers leave a database that somebody wants to himself, a
 *		secret in a setting stays out of the log, and the end of a prepared
 *		transaction is noticed, in whatever session it is.
 *
 * DROP DATABASE, ALTER DATABASE RENAME and SET TABLESPACE, and CREATE DATABASE
 * with a template wait five seconds for others to leave the database, and then
 * fail.  So the workers are asked to leave before the command begins, and may
 * come back when it has ended, or after VACATE_TIME if it ended in a way that
 * nobody could see.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "hooks/utility.h"
#include "shared/clock.h"
#include "shared/shmem.h"
#include "store/lane_hints.h"
#include "store/xact_end.h"

#define VACATE_TIME 10000		/* ms */

static ProcessUtility_hook_type prev_process_utility = NULL;

/* option_value: the text of an option, or NULL if it is not given */
static const char *
option_value(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst(lc);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/* database_wanted: name of the database a command wants for itself, or NULL */
static const char *
database_wanted(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) stmt)->dbname;
		case T_CreatedbStmt:
			return option_value(((CreatedbStmt *) stmt)->options, "template");
		case T_AlterDatabaseStmt:
			if (option_value(((AlterDatabaseStmt *) stmt)->options,
							 "tablespace") == NULL)
				return NULL;
			return ((AlterDatabaseStmt *) stmt)->dbname;
		case T_RenameStmt:
			if (((RenameStmt *) stmt)->renameType != OBJECT_DATABASE)
				return NULL;
			return ((RenameStmt *) stmt)->subname;
		default:
			return NULL;
	}
}

/* own_database: a database that the user owns, or InvalidOid */
static Oid
own_database(const char *name)
{
	Oid			dboid = get_database_oid(name, true);
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(dboid));
	bool		own;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	own = has_privs_of_role(GetUserId(),
							((Form_pg_database) GETSTRUCT(tuple))->datdba);
	ReleaseSysCache(tuple);
	return own ? dboid : InvalidOid;
}

/* set_vacant: until when no worker may be in a database */
static void
set_vacant(Oid dboid, TimestampTz until)
{
	SnDatabase *db = sn_database_of(dboid);

	if (db == NULL)
		return;
	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	if (db->dboid == dboid)
	{
		db->vacate_until = until;
		db->calls++;
	}
	LWLockRelease(&sn_shared()->lock);
	sn_wake_workers(dboid);
	sn_wake_launcher();
}

/* prepared_end: whether a command ends a prepared transaction, and how */
static TransactionStmtKind
prepared_end(Node *stmt)
{
	TransactionStmtKind kind = IsA(stmt, TransactionStmt) ?
		((TransactionStmt *) stmt)->kind : TRANS_STMT_BEGIN;

	return kind == TRANS_STMT_COMMIT_PREPARED ||
		kind == TRANS_STMT_ROLLBACK_PREPARED ? kind : TRANS_STMT_BEGIN;
}

/* announce_end: what a prepared transaction did is there, or given back */
static void
announce_end(TransactionStmtKind kind)
{
	if (kind == TRANS_STMT_BEGIN || sn_database_find() == NULL)
		return;
	if (kind == TRANS_STMT_COMMIT_PREPARED)
		sn_wake_prepared_ended();
	sn_hint_prepared_ended();
}

/* run_vacant: run a command while no worker may be in a database */
static void
run_vacant(Oid dboid, PlannedStmt *pstmt, const char *query,
		   bool read_only_tree, ProcessUtilityContext context,
		   ParamListInfo params, QueryEnvironment *env, DestReceiver *dest,
		   QueryCompletion *qc)
{
	if (OidIsValid(dboid))
		set_vacant(dboid,
				   TimestampTzPlusMilliseconds(sn_now(), VACATE_TIME));
	PG_TRY();
	{
		if (prev_process_utility)
			prev_process_utility(pstmt, query, read_only_tree, context, params,
								 env, dest, qc);
		else
			standard_ProcessUtility(pstmt, query, read_only_tree, context,
									params, env, dest, qc);
	}
	PG_FINALLY();
	{
		if (OidIsValid(dboid))
			set_vacant(dboid, 0);
	}
	PG_END_TRY();
}

/* watch_command: what is done for a command before and after it runs */
static void
watch_command(PlannedStmt *pstmt, const char *query, bool read_only_tree,
			  ProcessUtilityContext context, ParamListInfo params,
			  QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	const char *name = database_wanted(pstmt->utilityStmt);
	TransactionStmtKind end = prepared_end(pstmt->utilityStmt);

	sn_guard_secret(pstmt->utilityStmt);
	sn_announce_drop(pstmt->utilityStmt);
	sn_guard_tables(pstmt->utilityStmt);
	sn_guard_alter(pstmt->utilityStmt);
	sn_guard_move(pstmt->utilityStmt);
	run_vacant(name == NULL ? InvalidOid : own_database(name), pstmt, query,
			   read_only_tree, context, params, env, dest, qc);
	sn_guard_made(pstmt->utilityStmt);
	announce_end(end);
}

/* sn_utility_init: watch commands in every session; for preloading only */
void
sn_utility_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = watch_command;
}
