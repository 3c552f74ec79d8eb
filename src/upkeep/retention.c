/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * retention.c
 *		Dropping what is older than sentinai.retention and needed by nobody.
 *
 * The partitions of a stretch of time may go when everything in the log's is
 * sequenced, and every subscription has passed all slices with these events in
 * every lane.  An event can be sequenced long after its id was taken, so which
 * slices those are is learned from a mark: a round that had seen all rows of
 * the log's partition, and after which no round has a number of that time any
 * more.  Everything in it is in the slices up to that round, except what is not
 * due yet.  The mark is kept in shared memory until it serves no more.
 *
 * What is not due yet, and what waits for a retry, goes on in event_kept
 * (keep.c).  So one event that waits for years holds nothing up.
 *
 * Idempotency keys are needed as long as their window lasts and no longer,
 * whoever lags; their partitions go by age alone.
 *
 * A partition is dropped under its exclusive lock and that of its parent.  No
 * function of ours keeps the parent's through a transaction, nor a partition's
 * that it has neither read from nor written to.  What somebody keeps locked is
 * not waited for: it is left for the next pass, and others go on.  Whether the
 * round had seen all is looked at again under the lock, when nobody can be
 * adding to the partition.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/fault.h"
#include "base/guc.h"
#include "queue/lag.h"
#include "queue/retry.h"
#include "queue/subscription.h"
#include "sequencer/round.h"
#include "sequencer/sequencer.h"
#include "shared/shmem.h"
#include "store/guarded.h"
#include "store/holder.h"
#include "store/range.h"
#include "store/store.h"
#include "upkeep/keep.h"
#include "upkeep/maintenance.h"

#define DROP_PATIENCE "100ms"	/* wait for a lock that nobody keeps for long */
#define REPEAT_WARNING USECS_PER_DAY

PG_FUNCTION_INFO_V1(sentinai_retention_status);

/* The sets that go together, the log's last */
static const SnRel sets[] =
{
	SN_SLICE, SN_EVENT_PROCESSING, SN_EVENT_LOG
};

/* What stands in the way of dropping a stretch of time */
typedef struct Verdict
{
	bool		wanted;			/* there is a stretch old enough */
	SnPartRange oldest;			/* partition; the log's if it has one then */
	SnPartRange log;			/* the log's, oid invalid: it has none */
	bool		unsequenced;	/* an event in it is not in a slice yet */
	List	   *lagging;		/* worker types (text) that have not passed it */
} Verdict;

/* What this pass of maintenance has left, because somebody holds it */
static List *left_partitions = NIL; /* Oid, in TopMemoryContext */
static List *left_parents = NIL;
static List *told = NIL;		/* those that a warning has told of */

/* read_mark: the newest round as a mark that covers the time up to taken */
static void
read_mark(SnMark *mark, int64 taken)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnSeen		seen;

	sn_round_newest(snapshot, &seen);
	UnregisterSnapshot(snapshot);
	memset(mark, 0, sizeof(SnMark));
	mark->taken = taken;
	mark->round_no = seen.round_no;
	mark->xmax = seen.nxip > SN_MARK_XIP ? seen.xip[SN_MARK_XIP] : seen.xmax;
	mark->nxip = Min(seen.nxip, SN_MARK_XIP);
	if (mark->nxip > 0)
		memcpy(mark->xip, seen.xip, mark->nxip * sizeof(int64));
	mark->due_until = seen.due_until;
}

/*
 * make_mark: a mark of now, if no round is being taken, which would have its
 * number already, be it by this transaction: it may yet be rolled back
 */
static bool
make_mark(SnMark *mark)
{
	if (sn_round_taken() || !sn_lock_round(false))
		return false;
	read_mark(mark, SN_TICK_MS(sn_clock_take(1)));
	sn_unlock_round();
	return true;
}

static SnMark
get_mark(void)
{
	SnMark		mark;

	sn_shared_copy(&mark, &sn_database()->mark, sizeof(mark));
	return mark;
}

static void
set_mark(const SnMark *mark)
{
	SnDatabase *db = sn_database();

	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	db->mark = *mark;
	LWLockRelease(&sn_shared()->lock);
}

/* any_row: whether an index range of a partition has a visible row */
static bool
any_row(Relation rel, AttrNumber column, int nkeys, ScanKey keys,
		Snapshot snapshot)
{
	SnScan		scan;
	bool		found;

	sn_scan_begin(&scan, RelationGetRelid(rel), sn_index_of(rel, column),
				  snapshot, nkeys, keys, ForwardScanDirection);
	found = sn_scan_next(&scan);
	sn_scan_end(&scan);
	return found;
}

/*
 * saw_all: whether a round had seen the transactions of all events of a
 * partition of the log
 */
static bool
saw_all(Oid partition, const SnMark *mark, Snapshot snapshot)
{
	Relation	rel = try_relation_open(partition, AccessShareLock);
	ScanKeyData key;
	bool		missing;
	int			i;

	if (rel == NULL)
		return true;			/* somebody else was faster */
	sn_key_int8(&key, 1, BTGreaterEqualStrategyNumber, mark->xmax);
	missing = any_row(rel, Anum_log_txid, 1, &key, snapshot);
	for (i = 0; i < mark->nxip && !missing; i++)
	{
		sn_key_int8(&key, 1, BTEqualStrategyNumber, mark->xip[i]);
		missing = any_row(rel, Anum_log_txid, 1, &key, snapshot);
	}
	relation_close(rel, AccessShareLock);
	return !missing;
}

/*
 * next_of: the oldest partition of a table that ends by a time, of those that
 * this pass has not left; false when there is none
 */
static bool
next_of(SnRel set, int64 until, SnPartRange *result)
{
	List	   *ranges = sn_partition_ranges(set);
	bool		found = false;
	ListCell   *lc;

	if (list_member_oid(left_parents, sn_rel(set)))
		return false;
	foreach(lc, ranges)
	{
		SnPartRange *range = lfirst(lc);

		if (list_member_oid(left_partitions, range->oid))
			continue;
		found = range->upper <= until;
		*result = *range;
		break;
	}
	list_free_deep(ranges);
	return found;
}

/* oldest: the oldest partition that ends by a time, of the log among equals */
static bool
oldest(int64 until, SnPartRange *result)
{
	bool		found = false;
	int			i;

	for (i = 0; i < lengthof(sets); i++)
	{
		SnPartRange first;

		if (!next_of(sets[i], until, &first) ||
			(found && first.lower > result->lower))
			continue;
		*result = first;
		found = true;
	}
	return found;
}

/* find_lagging: the subscriptions that have not passed a round */
static List *
find_lagging(int64 round_no, Snapshot snapshot)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, sn_sub_ids())
	{
		SnSub	   *sub = sn_sub_by_id(lfirst_int(lc));

		if (sub != NULL && sn_sub_lags(sub, round_no, snapshot))
			result = lappend(result, DatumGetTextPCopy(PointerGetDatum(sub->worker_type)));
	}
	return result;
}

/* any_retry: whether an event older than a time waits for a retry */
static bool
any_retry(int64 upper, Snapshot snapshot)
{
	SnTableScan *scan = sn_retry_scan_all(snapshot);
	bool		found = false;
	pg_uuid_t	limit;
	pg_uuid_t	id;

	sn_uuid_floor(upper, &limit);
	while (!found && sn_retry_next_id(scan, &id))
		found = sn_uuid_cmp(&id, &limit) < 0;
	sn_table_end(scan);
	return found;
}

/* end_of: the time that many minutes ago, in ms since 1970 */
static int64
end_of(int64 minutes)
{
	return sn_timestamp_ms(GetCurrentTimestamp()) - minutes * 60 * 1000;
}

/* covers: whether everything of a stretch is in rounds up to the mark */
static bool
covers(const SnMark *mark, const Verdict *verdict, Snapshot snapshot)
{
	return mark->taken >= verdict->oldest.upper && mark->taken != 0 &&
		(!OidIsValid(verdict->log.oid) ||
		 saw_all(verdict->log.oid, mark, snapshot));
}

/*
 * retention_verdict: whether the oldest stretch of time may go.  *mark is one
 * that covers it, moved to the newest round if it did not.  only_look: for a
 * view, also on a standby; the mark that it leaves is good for nothing else.
 */
static Verdict
retention_verdict(SnMark *mark, Snapshot snapshot, bool only_look)
{
	Verdict		verdict = {false};
	int64		until = end_of(sn_retention);

	if (sn_retention < 0 || !oldest(until, &verdict.oldest))
		return verdict;
	verdict.wanted = true;

	if (next_of(SN_EVENT_LOG, until, &verdict.log) &&
		verdict.log.lower < verdict.oldest.upper)
		verdict.oldest.oid = verdict.log.oid;
	else
		verdict.log.oid = InvalidOid;
	if (!covers(mark, &verdict, snapshot))
	{
		if (only_look)
			read_mark(mark, verdict.oldest.upper);
		verdict.unsequenced = (!only_look && !make_mark(mark)) ||
			!covers(mark, &verdict, snapshot);
	}
	verdict.lagging = find_lagging(mark->round_no, snapshot);
	return verdict;
}

static bool
may_go(const Verdict *verdict)
{
	return verdict->wanted && !verdict->unsequenced &&
		verdict->lagging == NIL;
}

/* warn: name the subscriptions that lag, once a day */
static void
warn(const Verdict *verdict)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();
	StringInfoData names;
	ListCell   *lc;

	if (verdict->lagging == NIL)
	{
		last = 0;
		return;
	}
	if (last != 0 && now - last < REPEAT_WARNING)
		return;
	last = now;
	initStringInfo(&names);
	foreach(lc, verdict->lagging)
		appendStringInfo(&names, "%s\"%s\"", names.len > 0 ? ", " : "",
						 text_to_cstring(lfirst(lc)));
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("events older than sentinai.retention are kept for subscriptions that lag: %s",
					names.data),
			 errdetail("The oldest partition \"%s\" is not dropped before they have passed it.",
					   get_rel_name(verdict->oldest.oid)),
			 errhint("Run their agents, or remove them with unsubscribe().")));
}

/* A partition that is to be dropped */
typedef struct Dropping
{
	SnRel		set;
	Oid			partition;
	const SnMark *mark;
} Dropping;

/* drop_partition: under its locks, if it is still as it was judged */
static void
drop_partition(void *arg)
{
	const Dropping *d = arg;
	ObjectAddress object = {RelationRelationId, d->partition, 0};
	Snapshot	snapshot;
	bool		drop;

	(void) set_config_option("lock_timeout", DROP_PATIENCE, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	LockRelationOid(sn_rel(d->set), AccessExclusiveLock);
	LockRelationOid(d->partition, AccessExclusiveLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	drop = d->set != SN_EVENT_LOG || saw_all(d->partition, d->mark, snapshot);
	UnregisterSnapshot(snapshot);
	if (drop && SearchSysCacheExists1(RELOID, ObjectIdGetDatum(d->partition)))
		performDeletion(&object, DROP_RESTRICT, 0);
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
try_drop(SnRel set, Oid partition, const SnMark *mark)
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

/* drop_or_leave: drop a partition if nobody holds it, or leave it */
static void
drop_or_leave(SnRel set, Oid partition, const SnMark *mark)
{
	if (sn_held_for_long(sn_rel(set)))
		remember_table(&left_parents, sn_rel(set));
	else if (sn_held_for_long(partition) || !try_drop(set, partition, mark))
		remember_table(&left_partitions, partition);
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

/* end_pass: what was left is tried again in the next pass */
static bool
end_pass(void)
{
	warn_left();
	list_free(left_partitions);
	list_free(left_parents);
	left_partitions = left_parents = NIL;
	return false;
}

/*
 * drop_keys: drop a partition of idempotency keys whose window is over;
 * whether there was one
 */
static bool
drop_keys(const SnMark *mark)
{
	int64		window = (int64) sn_idempotency_window * 1000;
	int64		until = Min(end_of(sn_retention), end_of(0) - window);
	SnPartRange partition;

	if (sn_retention < 0 || !next_of(SN_EVENT_IDEMPOTENCY, until, &partition))
		return false;
	drop_or_leave(SN_EVENT_IDEMPOTENCY, partition.oid, mark);
	return true;
}

/*
 * sn_retention_step: drop one partition of the oldest stretch of time if that
 * may go, the log's last; before it, what somebody waits for is copied.
 */
bool
sn_retention_step(void)
{
	SnMark		mark = get_mark();
	Snapshot	snapshot;
	Verdict		verdict;
	int			i;

	if (drop_keys(&mark))
		return true;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	verdict = retention_verdict(&mark, snapshot, false);
	UnregisterSnapshot(snapshot);
	set_mark(&mark);
	warn(&verdict);
	if (!may_go(&verdict))
		return end_pass();
	if (OidIsValid(verdict.log.oid) && !sn_keep(&verdict.log, &mark))
		return true;
	for (i = 0; i < lengthof(sets); i++)
	{
		SnPartRange first;

		if (!next_of(sets[i], verdict.oldest.upper, &first))
			continue;
		drop_or_leave(sets[i], first.oid, &mark);
		return true;
	}
	return end_pass();
}

/*
 * sn_keep_step: remove copies of events that nobody waits for any more.  The
 * mark for that is one of its own, and as new as can be: what was copied may
 * be due at any time.
 */
bool
sn_keep_step(void)
{
	static SnMark mark;
	Snapshot	snapshot;
	List	   *lagging;
	bool		more;

	if (!sn_kept_any())
		return false;
	if (mark.taken == 0 && !make_mark(&mark))
		return false;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	lagging = find_lagging(mark.round_no, snapshot);
	UnregisterSnapshot(snapshot);
	if (lagging != NIL)
		return false;
	more = sn_keep_sweep(&mark);
	if (!more)
		mark.taken = 0;
	return more;
}

/* find_holders: who keeps the tables of a stretch of time from being dropped */
static List *
find_holders(const Verdict *verdict)
{
	List	   *held = NIL;
	List	   *wanted = NIL;
	int			i;

	for (i = 0; i < lengthof(sets); i++)
	{
		SnPartRange first;

		if (!next_of(sets[i], verdict->oldest.upper, &first))
			continue;
		wanted = lappend_oid(wanted, first.oid);
		if (sn_held_for_long(first.oid))
			held = lappend_oid(held, first.oid);
		if (sn_held_for_long(sn_rel(sets[i])))
			held = lappend_oid(held, sn_rel(sets[i]));
	}
	return list_concat(held == NIL ? NIL : sn_holders(held),
					   sn_dependents(wanted));
}

/* blockers: what holds retention up, as an array of texts */
static Datum
blockers(const Verdict *verdict)
{
	List	   *names = list_copy(verdict->lagging);
	Datum	   *values;
	int			n = 0;
	ListCell   *lc;

	if (verdict->unsequenced)
		names = lappend(names, cstring_to_text("events that no round has seen"));
	if (verdict->wanted)
		names = list_concat(names, find_holders(verdict));
	values = palloc((list_length(names) + 1) * sizeof(Datum));
	foreach(lc, names)
		values[n++] = PointerGetDatum(lfirst(lc));
	return PointerGetDatum(construct_array(values, n, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/*
 * retention_status(out oldest timestamptz, out wanted boolean,
 *		out blocked_by text[], out unsequenced boolean, out retrying boolean)
 */
Datum
sentinai_retention_status(PG_FUNCTION_ARGS)
{
	SnMark		mark = get_mark();
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Verdict		verdict = {false};
	Datum		values[5];
	bool		nulls[5] = {false};
	TupleDesc	desc;
	SnPartRange first;

	if (sn_node_active())
		verdict = retention_verdict(&mark, snapshot, true);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	nulls[0] = !oldest(PG_INT64_MAX, &first);
	values[0] = nulls[0] ? (Datum) 0 :
		TimestampTzGetDatum(sn_ms_timestamp(first.lower));
	values[1] = BoolGetDatum(verdict.wanted);
	values[2] = blockers(&verdict);
	values[3] = BoolGetDatum(verdict.unsequenced);
	values[4] = BoolGetDatum(verdict.wanted &&
							 any_retry(verdict.oldest.upper, snapshot));
	UnregisterSnapshot(snapshot);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}
