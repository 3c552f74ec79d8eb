/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * retention.c
 *		Dropping what is older than sentinai.retention and needed by nobody.
 *
 * The partitions of a stretch of time may go when everything in the log's is
 * sequenced, and nobody will ask for it: every subscription has passed all
 * slices with these events in every lane, and no event of it waits for a
 * retry.  An event can be sequenced long after its id was taken, so which
 * slices those are is learned from a mark: a round that had seen all rows of
 * the log's partition.  Everything in it is in the slices up to that round.
 * The mark is kept in shared memory until it serves no more.
 *
 * Whether the round had seen all is looked at again under the exclusive lock
 * of the partition, when nobody can be adding to it.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
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
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "fault.h"
#include "guc.h"
#include "lane.h"
#include "maintenance.h"
#include "round.h"
#include "shmem.h"
#include "store.h"
#include "stream.h"
#include "subscription.h"

#define DROP_PATIENCE "100ms"	/* wait for the lock, with publishers behind us */
#define REPEAT_WARNING USECS_PER_DAY

PG_FUNCTION_INFO_V1(sentinai_retention_status);

static const SnRel sets[] =
{
	SN_SLICE, SN_EVENT_PROCESSING, SN_EVENT_IDEMPOTENCY, SN_EVENT_LOG
};

/* What stands in the way of dropping a stretch of time */
typedef struct Verdict
{
	bool		wanted;			/* there is a stretch old enough */
	SnPartRange		oldest;			/* partition; the log's if it has one then */
	bool		unsequenced;	/* an event in it is not in a slice yet */
	bool		retrying;		/* an event in it waits for a retry */
	List	   *lagging;		/* worker types (text) that have not passed it */
} Verdict;

/* make_mark: a round as a mark */
static void
make_mark(const SnSeen *seen, SnMark *mark)
{
	memset(mark, 0, sizeof(SnMark));
	mark->round_no = seen->round_no;
	mark->xmax = seen->nxip > SN_MARK_XIP ? seen->xip[SN_MARK_XIP] : seen->xmax;
	mark->nxip = Min(seen->nxip, SN_MARK_XIP);
	if (mark->nxip > 0)
		memcpy(mark->xip, seen->xip, mark->nxip * sizeof(int64));
	mark->due_until = seen->due_until;
}

static SnMark
get_mark(void)
{
	SnDatabase *db = sn_database();
	SnMark		mark;

	LWLockAcquire(&sn_shared()->lock, LW_SHARED);
	mark = db->mark;
	LWLockRelease(&sn_shared()->lock);
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

/* saw_all: whether a round had seen all events of a partition of the log */
static bool
saw_all(Oid partition, const SnMark *mark, Snapshot snapshot)
{
	Relation	rel = table_open(partition, AccessShareLock);
	ScanKeyData key;
	bool		missing;
	int			i;

	sn_key_int8(&key, 1, BTGreaterEqualStrategyNumber, mark->xmax);
	missing = any_row(rel, Anum_log_txid, 1, &key, snapshot);
	for (i = 0; i < mark->nxip && !missing; i++)
	{
		sn_key_int8(&key, 1, BTEqualStrategyNumber, mark->xip[i]);
		missing = any_row(rel, Anum_log_txid, 1, &key, snapshot);
	}
	if (!missing)
	{
		sn_key_time(&key, 1, BTGreaterStrategyNumber, mark->due_until);
		missing = any_row(rel, Anum_log_deliver_at, 1, &key, snapshot);
	}
	table_close(rel, AccessShareLock);
	return !missing;
}

/* oldest: the oldest partition of all tables, of the log among equals */
static bool
oldest(SnPartRange *result)
{
	bool		found = false;
	int			i;

	for (i = 0; i < lengthof(sets); i++)
	{
		List	   *ranges = sn_partition_ranges(sets[i]);
		SnPartRange    *first = ranges == NIL ? NULL : linitial(ranges);

		if (first == NULL || (found && first->lower > result->lower))
			continue;
		*result = *first;
		found = true;
	}
	return found;
}

/* lags: whether a subscription has not passed the slices up to a round */
static bool
lags(SnSub *sub, int64 round_no, Snapshot snapshot)
{
	SnStreamReader *stream = sn_stream_begin();
	SnLaneReader reader = {false};
	int			lanes = sn_node()->lanes;
	bool		found = false;
	int			lane;

	sn_sub_sources(sub, snapshot);
	for (lane = 0; lane < lanes && !found; lane++)
	{
		SnLaneState state;
		pg_uuid_t	id;
		SnPos		pos;

		sn_lane_read_next(&reader, sub, lane, snapshot, &state);
		sn_stream_seek(stream, sub->sources, sub->nsources, lane, state.pos,
					   snapshot);
		found = sn_stream_next(stream, &pos, &id) &&
			SN_POS_ROUND(pos) <= round_no;
	}
	sn_lane_read_end(&reader);
	sn_stream_end(stream);
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

		if (sub != NULL && lags(sub, round_no, snapshot))
			result = lappend(result, DatumGetTextPCopy(PointerGetDatum(sub->worker_type)));
	}
	return result;
}

/* any_retry: whether an event older than a time waits for a retry */
static bool
any_retry(int64 upper, Snapshot snapshot)
{
	Relation	rel = table_open(sn_rel(SN_EVENT_RETRY), AccessShareLock);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	bool		found = false;
	pg_uuid_t	limit;

	sn_uuid_floor(upper, &limit);
	while (!found && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		Datum		id = slot_getattr(slot, Anum_retry_event_id, &isnull);

		CHECK_FOR_INTERRUPTS();
		found = sn_uuid_cmp(DatumGetUUIDP(id), &limit) < 0;
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * judge: whether the oldest stretch of time may go.  *mark is one that had
 * seen it all, moved to the newest round if it had not.
 */
static Verdict
judge(SnMark *mark, Snapshot snapshot)
{
	Verdict		verdict = {false};
	int64		now = sn_timestamp_ms(GetCurrentTimestamp());
	List	   *logs;
	bool		is_log;

	if (sn_retention < 0 || !oldest(&verdict.oldest) ||
		verdict.oldest.upper > now - (int64) sn_retention * 60 * 1000)
		return verdict;
	verdict.wanted = true;

	logs = sn_partition_ranges(SN_EVENT_LOG);
	is_log = logs != NIL &&
		((SnPartRange *) linitial(logs))->lower < verdict.oldest.upper;
	if (is_log)
		verdict.oldest.oid = ((SnPartRange *) linitial(logs))->oid;
	if (mark->round_no == 0 ||
		(is_log && !saw_all(verdict.oldest.oid, mark, snapshot)))
	{
		SnSeen		newest;

		sn_round_newest(snapshot, &newest);
		make_mark(&newest, mark);
		verdict.unsequenced =
			is_log && !saw_all(verdict.oldest.oid, mark, snapshot);
	}
	verdict.retrying = any_retry(verdict.oldest.upper, snapshot);
	verdict.lagging = find_lagging(mark->round_no, snapshot);
	return verdict;
}

static bool
may_go(const Verdict *verdict)
{
	return verdict->wanted && !verdict->unsequenced && !verdict->retrying &&
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

/* drop_partition: under its locks, if it is still as it was judged */
static void
drop_partition(SnRel set, Oid partition, const SnMark *mark)
{
	ObjectAddress object = {RelationRelationId, partition, 0};
	Snapshot	snapshot;
	bool		drop;

	LockRelationOid(sn_rel(set), AccessExclusiveLock);
	LockRelationOid(partition, AccessExclusiveLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	drop = set != SN_EVENT_LOG || saw_all(partition, mark, snapshot);
	UnregisterSnapshot(snapshot);
	if (drop)
		performDeletion(&object, DROP_RESTRICT, 0);
	SN_FAULT(partition_drop);
}

/* try_drop: drop a partition unless a lock cannot be had in time */
static bool
try_drop(SnRel set, Oid partition, const SnMark *mark)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		(void) set_config_option("lock_timeout", DROP_PATIENCE, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
		drop_partition(set, partition, mark);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		int			code = geterrcode();

		if (code != ERRCODE_LOCK_NOT_AVAILABLE &&
			code != ERRCODE_T_R_DEADLOCK_DETECTED)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}

/*
 * sn_retention_step: drop one partition of the oldest stretch of time if that
 * may go, the log's last.
 */
bool
sn_retention_step(void)
{
	SnMark		mark = get_mark();
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Verdict		verdict = judge(&mark, snapshot);
	int			i;

	UnregisterSnapshot(snapshot);
	set_mark(&mark);
	warn(&verdict);
	if (!may_go(&verdict))
		return false;
	for (i = 0; i < lengthof(sets); i++)
	{
		List	   *ranges = sn_partition_ranges(sets[i]);
		SnPartRange    *first = ranges == NIL ? NULL : linitial(ranges);

		if (first != NULL && first->upper <= verdict.oldest.upper)
			return try_drop(sets[i], first->oid, &mark);
	}
	return false;
}

/* blockers: what holds retention up, as an array of texts */
static Datum
blockers(const Verdict *verdict)
{
	Datum	   *values = palloc((list_length(verdict->lagging) + 2) *
								sizeof(Datum));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, verdict->lagging)
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
	SnPartRange		first;

	if (sn_node_active())
		verdict = judge(&mark, snapshot);
	UnregisterSnapshot(snapshot);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	nulls[0] = !oldest(&first);
	values[0] = nulls[0] ? (Datum) 0 :
		TimestampTzGetDatum(sn_ms_timestamp(first.lower));
	values[1] = BoolGetDatum(verdict.wanted);
	values[2] = blockers(&verdict);
	values[3] = BoolGetDatum(verdict.unsequenced);
	values[4] = BoolGetDatum(verdict.retrying);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}
