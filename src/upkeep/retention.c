/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * retention.c
 *		Dropping what is older than sentinai.retention and needed by nobody.
 *
 * The partitions of a stretch of time may go when everything in the log's is
 * sequenced, and every subscription has passed all slices with these events in
 * every lane.  Which slices those are says a mark (mark.c).
 *
 * What is not due yet, and what waits for a retry, goes on in event_kept
 * (keep.c).  So one event that waits for years holds nothing up.
 *
 * Idempotency keys are needed as long as their window lasts and no longer,
 * whoever lags; their partitions go by age alone.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "base/guc.h"
#include "base/result_row.h"
#include "queue/lag.h"
#include "queue/retry.h"
#include "queue/subscription.h"
#include "shared/shmem.h"
#include "store/holder.h"
#include "store/range.h"
#include "store/store.h"
#include "tenancy/gate.h"
#include "upkeep/drop_partition.h"
#include "upkeep/keep.h"
#include "upkeep/maintenance.h"
#include "upkeep/mark.h"

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

	foreach(lc, ranges)
	{
		SnPartRange *range = lfirst(lc);

		if (sn_drop_left(set, range->oid))
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
		 sn_mark_saw_all(verdict->log.oid, mark, snapshot));
}

/*
 * retention_verdict: whether the oldest stretch of time may go.  *mark is one
 * that covers it, moved to the newest round if it did not.  only_look: for a
 * view, also on a standby; the mark that it leaves is good for nothing else.
 * Who lags is asked of a snapshot that shows the mark's round: one from before
 * has none of its slices, so that nobody would seem to lack them.
 */
static Verdict
retention_verdict(SnMark *mark, bool only_look)
{
	Verdict		verdict = {false};
	int64		until = end_of(sn_retention);
	Snapshot	snapshot;

	if (sn_retention < 0 || !oldest(until, &verdict.oldest))
		return verdict;
	verdict.wanted = true;

	if (next_of(SN_EVENT_LOG, until, &verdict.log) &&
		verdict.log.lower < verdict.oldest.upper)
		verdict.oldest.oid = verdict.log.oid;
	else
		verdict.log.oid = InvalidOid;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!covers(mark, &verdict, snapshot))
	{
		if (only_look)
			sn_mark_read(mark, verdict.oldest.upper);
		verdict.unsequenced = (!only_look && !sn_mark_make(mark)) ||
			!covers(mark, &verdict, snapshot);
		UnregisterSnapshot(snapshot);
		snapshot = RegisterSnapshot(GetLatestSnapshot());
	}
	verdict.lagging = find_lagging(mark->round_no, snapshot);
	UnregisterSnapshot(snapshot);
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
	sn_drop_or_leave(SN_EVENT_IDEMPOTENCY, &partition, mark);
	return true;
}

/*
 * sn_retention_step: drop one partition of the oldest stretch of time if that
 * may go, the log's last; before it, what somebody waits for is copied.
 */
bool
sn_retention_step(void)
{
	SnMark		mark = sn_mark_get();
	Verdict		verdict;
	int			i;

	if (drop_keys(&mark))
		return true;
	verdict = retention_verdict(&mark, false);
	sn_mark_set(&mark);
	warn(&verdict);
	if (!may_go(&verdict))
	{
		sn_drop_pass_end();
		return false;
	}
	if (OidIsValid(verdict.log.oid) && !sn_keep(&verdict.log, &mark))
		return true;
	for (i = 0; i < lengthof(sets); i++)
	{
		SnPartRange first;

		if (!next_of(sets[i], verdict.oldest.upper, &first))
			continue;
		sn_drop_or_leave(sets[i], &first, &mark);
		return true;
	}
	sn_drop_pass_end();
	return false;
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
	if (mark.taken == 0 && !sn_mark_make(&mark))
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
 *		out blocked_by text[], out unsequenced boolean, out retrying boolean):
 * what keeps it is told who may know of all subscriptions
 */
Datum
sentinai_retention_status(PG_FUNCTION_ARGS)
{
	SnMark		mark = sn_mark_get();
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Verdict		verdict = {false};
	Datum		values[5];
	bool		nulls[5] = {false};
	SnPartRange first;

	if (sn_node_active() && sn_gate_may_watch())
		verdict = retention_verdict(&mark, true);
	nulls[0] = !oldest(PG_INT64_MAX, &first);
	values[0] = nulls[0] ? (Datum) 0 :
		TimestampTzGetDatum(sn_ms_timestamp(first.lower));
	nulls[1] = nulls[2] = nulls[3] = nulls[4] = !sn_gate_may_watch();
	values[1] = BoolGetDatum(verdict.wanted);
	values[2] = blockers(&verdict);
	values[3] = BoolGetDatum(verdict.unsequenced);
	values[4] = BoolGetDatum(verdict.wanted &&
							 any_retry(verdict.oldest.upper, snapshot));
	UnregisterSnapshot(snapshot);
	PG_RETURN_DATUM(sn_row_datum(fcinfo, values, nulls));
}
