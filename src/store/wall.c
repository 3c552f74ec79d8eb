/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * wall.c
 *		Row-level security of partitions, which who reads one by its own name
 *		would get round otherwise.
 *
 * A partition is made with it.  Those of the version before get it from
 * maintenance, one by one and when nobody is at them: publishers and readers of
 * the time being have theirs locked.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "nodes/value.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "store/owner.h"
#include "store/range.h"
#include "store/statement.h"
#include "store/wall.h"

#define POLICY "tenant"
#define FILTER "may_read"
#define COLUMN "tenant_id"

/* has_wall: whether a table has row security, or is it not there any more */
static bool
has_wall(Oid relid, bool force)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool		result = true;

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		result = force ? form->relforcerowsecurity : form->relrowsecurity;
		ReleaseSysCache(tuple);
	}
	return result;
}

/* sn_wall_wanted: whether partitions get one: those of the version before do not */
bool
sn_wall_wanted(SnRel parent)
{
	return parent < SN_BY_EVENT && has_wall(sn_rel(parent), false);
}

/* sn_wall_make: that of a partition, which is locked; SPI is connected */
void
sn_wall_make(const char *name)
{
	const char *quoted = quote_identifier(name);

	sn_execute(psprintf("create policy " POLICY " on " SN_INTERNAL ".%s"
						" using (" SN_SCHEMA "." FILTER "(" COLUMN "))",
						quoted));
	sn_execute(psprintf("alter table " SN_INTERNAL ".%s enable row level security,"
						" force row level security", quoted));
}

/* make_late: that of a partition of the version before, unless somebody is at it */
static bool
make_late(Oid relid)
{
	Relation	part;
	SnCaller	caller;
	bool		made = false;

	if (!ConditionalLockRelationOid(relid, AccessExclusiveLock))
		return false;
	part = try_relation_open(relid, NoLock);
	if (part == NULL)
		return false;			/* retention was faster */
	if (!part->rd_rel->relrowsecurity)
	{
		char	   *name = pstrdup(RelationGetRelationName(part));

		sn_become_owner(part, &caller);
		relation_close(part, NoLock);
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		sn_wall_make(name);
		SPI_finish();
		sn_become_caller(&caller);
		pfree(name);
		made = true;
	}
	else
		relation_close(part, NoLock);
	return made;
}

/*
 * sn_wall_step: for maintenance: the walls that partitions lack, no more of them
 * than one transaction may lock; true: there may be more to do
 */
bool
sn_wall_step(void)
{
	int			left = sn_sets_at_once();
	SnRel		parent;

	for (parent = 0; parent < SN_BY_EVENT; parent++)
	{
		List	   *ranges;
		ListCell   *lc;

		if (!sn_wall_wanted(parent))
			continue;
		ranges = sn_partition_ranges(parent);
		foreach(lc, ranges)
		{
			Oid			relid = ((SnPartRange *) lfirst(lc))->oid;

			CHECK_FOR_INTERRUPTS();
			if (!has_wall(relid, false) && make_late(relid) && --left == 0)
				return true;
		}
		list_free_deep(ranges);
	}
	return false;
}

/*
 * sn_wall_may_rise: whether a table is one that a dump brings, whose row security is
 * still to be switched on.  Those of the extension's script have it.
 */
bool
sn_wall_may_rise(Oid relid, bool force)
{
	return get_rel_relkind(relid) == RELKIND_RELATION &&
		get_attnum(relid, COLUMN) != InvalidAttrNumber &&
		!has_wall(relid, force);
}

/* has_names: whether names are those of something, with the schema or without */
static bool
has_names(List *names, const char *schema, const char *name)
{
	return names != NIL && strcmp(strVal(llast(names)), name) == 0 &&
		(schema == NULL ? list_length(names) == 1 :
		 list_length(names) == 2 && strcmp(strVal(linitial(names)), schema) == 0);
}

/* is_filter: whether an expression is the call of our filter */
static bool
is_filter(Node *node)
{
	FuncCall   *call = (FuncCall *) node;
	Node	   *arg;

	if (node == NULL || !IsA(node, FuncCall) ||
		!has_names(call->funcname, SN_SCHEMA, FILTER) ||
		list_length(call->args) != 1 || call->over != NULL ||
		call->agg_filter != NULL || call->agg_order != NIL)
		return false;
	arg = linitial(call->args);
	return IsA(arg, ColumnRef) &&
		has_names(((ColumnRef *) arg)->fields, NULL, COLUMN);
}

/* sn_wall_is_policy: whether a policy is the one that a partition has, as a dump says it */
bool
sn_wall_is_policy(const CreatePolicyStmt *stmt, Oid relid)
{
	return strcmp(stmt->policy_name, POLICY) == 0 &&
		get_rel_relkind(relid) == RELKIND_RELATION && stmt->permissive &&
		strcmp(stmt->cmd_name, "all") == 0 && stmt->with_check == NULL &&
		list_length(stmt->roles) == 1 &&
		linitial_node(RoleSpec, stmt->roles)->roletype == ROLESPEC_PUBLIC &&
		is_filter(stmt->qual);
}
