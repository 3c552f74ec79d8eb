/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * drop_partition.c
 *		Dropping partitions, or leaving them while somebody holds them.
 *
 * A partition is dropped under its exclusive lock and that of its parent.  No
 * function of ours keeps the parent's through a transaction, nor a partition's
 * that it has neither read from nor written to.  What somebody keeps locked is
 * not waited for: it is left for the next pass, and others go on.  Whether the
 * round had seen all is looked at again under the lock, when nobody can be
 * adding to the partition.
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "lib/stringinfo.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "audit/dropped.h"
#include "base/fault.h"
#include "base/set_here.h"
#include "store/guarded.h"
#include "store/holder.h"
#include "upkeep/drop_partition.h"
#include "upkeep/mark.h"

#define DROP_PATIENCE "100ms"	/* wait for a lock that nobody keeps for long */
#define REPEAT_WARNING USECS_PER_DAY

/* What this pass of maintenance has left, because somebody holds it */
static List *left_partitions = NIL; /* Oid, in TopMemoryContext */
static List *left_parents = NIL;
static List *told = NIL;		/* those that a warning has told of */

/* sn_drop_left: whether this pass has left a partition, or all of a set */
bool
sn_drop_left(SnRel set, Oid partition)
{
	return list_member_oid(left_parents, sn_rel(set)) ||
		list_member_oid(left_partitions, partition);
}

/* A partition that is to be dropped */
typedef struct Dropping
{
	SnRel		set;
	const SnPartRange *partition;
	const SnMark *mark;
} Dropping;

/*
 * drop_partition: under its locks, if it is still as it was judged.  That it was
 * retention and nobody else is for those who look whether the log is whole.
 */
static void
drop_partition(void *arg)
{
	const Dropping *d = arg;
	Oid			oid = d->partition->oid;
	ObjectAddress object = {RelationRelationId, oid, 0};
	Snapshot	snapshot;
	bool		drop;

	sn_set_here("lock_timeout", DROP_PATIENCE);
	LockRelationOid(sn_rel(d->set), AccessExclusiveLock);
	LockRelationOid(oid, AccessExclusiveLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	drop = d->set != SN_EVENT_LOG || sn_mark_saw_all(oid, d->mark, snapshot);
	UnregisterSnapshot(snapshot);
	if (drop && SearchSysCacheExists1(RELOID, ObjectIdGetDatum(oid)))
	{
		if (d->set == SN_EVENT_LOG)
			sn_dropped_write(&d->partition->ids);
		performDeletion(&object, DROP_RESTRICT, 0);
	}
	SN_FAULT(partition_drop);
}

/*
 * is_in_use: whether a lock could not be had in time, or somebody has made an
 * object that depends on what is dropped
 */
static bool
is_in_use(int sqlerrcode)
{
	return sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ||
		sqlerrcode == ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST;
}

/* try_drop: drop a partition unless it is in use */
static bool
try_drop(SnRel set, const SnPartRange *partition, const SnMark *mark)
{
	Dropping	d = {set, partition, mark};

	return sn_guarded(drop_partition, &d, is_in_use) == NULL;
}

/* remember_table: add a table to a list that outlives the transaction */
static void
remember_table(List **list, Oid relid)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	*list = list_append_unique_oid(*list, relid);
	MemoryContextSwitchTo(old);
}

/* sn_drop_or_leave: drop a partition if nobody holds it, or leave it */
void
sn_drop_or_leave(SnRel set, const SnPartRange *partition, const SnMark *mark)
{
	if (sn_held_for_long(sn_rel(set)))
		remember_table(&left_parents, sn_rel(set));
	else if (sn_held_for_long(partition->oid) ||
			 !try_drop(set, partition, mark))
		remember_table(&left_partitions, partition->oid);
}

/*
 * warn_left: name what keeps the tables that this pass has left, once a day for
 * each of them: who holds one for a moment is not to hide who comes next.
 */
static void
warn_left(void)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();
	List	   *left = list_concat_copy(left_partitions, left_parents);
	List	   *causes;
	StringInfoData names;
	ListCell   *lc;

	if (left == NIL || now - last >= REPEAT_WARNING)
	{
		list_free(told);
		told = NIL;
	}
	if (list_difference_oid(left, told) == NIL)
		return;
	causes = list_concat(sn_holders(list_copy(left)),
						 sn_dependents(left_partitions));
	if (causes == NIL)
		return;					/* they have gone meanwhile */
	last = now;
	foreach(lc, left)
		remember_table(&told, lfirst_oid(lc));
	initStringInfo(&names);
	foreach(lc, causes)
		appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
						 text_to_cstring(lfirst(lc)));
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("tables older than sentinai.retention are kept because they are in use: %s",
					names.data),
			 errdetail("A table is not dropped while a transaction holds it or an object depends on it; others are."),
			 errhint("End the transaction (a prepared one with COMMIT PREPARED or ROLLBACK PREPARED), or drop the object.")));
}

/* sn_drop_pass_end: what was left is tried again in the next pass */
void
sn_drop_pass_end(void)
{
	warn_left();
	list_free(left_partitions);
	list_free(left_parents);
	left_partitions = left_parents = NIL;
}
