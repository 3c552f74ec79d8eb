/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * audit.c
 *		Evidence of what the log has: intervals of ids, closed one after the
 *		other.
 *
 * An interval may be closed when no event with an id in it can be committed any
 * more.  A transaction has its number before it takes ids.  So when the clock
 * has passed the interval, the number of the next transaction is read, and when
 * no transaction below that number runs any more, all is there.
 *
 * The trees of an interval are built by several steps, so that rounds go on in
 * between, and kept by the process.  Nothing is lost with them: a process that
 * starts reads its interval from the beginning.
 */
#include "postgres.h"

#include "access/transam.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "audit/audit.h"
#include "audit/audit_row.h"
#include "audit/trees.h"
#include "base/control_type.h"
#include "base/guc.h"
#include "log/event.h"
#include "shared/shmem.h"
#include "store/range.h"

#define EVENTS_AT_ONCE	2000	/* read in a step */
#define EVENTS_MOST		50000	/* of an interval: read again after a crash */
#define TENANTS_MOST	500		/* of an interval: written in one transaction */

/* The interval that is being read */
static SnTrees *trees = NULL;	/* NULL: none */
static SnInterval before;		/* the newest one that was closed */
static pg_uuid_t interval_from;	/* where it begins */
static pg_uuid_t interval_end;	/* first id after it */

/* full_xid: a transaction of a snapshot, which is at most 2^31 behind the next */
static uint64
full_xid(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();

	return U64FromFullTransactionId(next) -
		(uint32) (XidFromFullTransactionId(next) - xid);
}

/*
 * decided: all events with ids below this tick that will ever be committed are;
 * 0: not known yet.  Processes share what they know.
 */
static SnTick
decided(void)
{
	SnDatabase *db = sn_database();
	uint64		oldest = full_xid(GetLatestSnapshot()->xmin);
	SnTick		tick = sn_clock_take(1);
	uint64		next = U64FromFullTransactionId(ReadNextFullTransactionId());
	SnTick		result;

	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	if (db->audit_asked == 0 || oldest >= db->audit_next_xid)
	{
		db->audit_decided = db->audit_asked;
		db->audit_asked = tick;
		db->audit_next_xid = next;
	}
	result = db->audit_decided;
	LWLockRelease(&sn_shared()->lock);
	return result;
}

/* partition_end: the first id after the partition of the log that has an id */
static void
partition_end(const pg_uuid_t *id, pg_uuid_t *end)
{
	SnRange		range;

	memset(end->data, 0xFF, UUID_LEN);
	if (OidIsValid(sn_range_find(SN_EVENT_LOG, id, &range)) && !range.no_upper)
		*end = range.upper;
}

/*
 * begin_interval: the interval that comes next, if it is over: until the end of
 * a stretch of sentinai.audit_interval, and in one partition of the log, which
 * retention drops as a whole
 */
static bool
begin_interval(Snapshot snapshot, SnTick limit)
{
	int64		stretch = (int64) sn_audit_interval * 1000;
	pg_uuid_t	first;
	pg_uuid_t	end;
	int64		until;

	sn_interval_newest(snapshot, &before);
	interval_from = before.to_id;
	if (before.no == 0)
		sn_log_oldest(&interval_from);
	if (!sn_first_event(snapshot, &interval_from, &first))
		return false;
	until = (SN_TICK_MS(sn_uuid_tick(&first)) / stretch + 1) * stretch;
	sn_uuid_floor(until, &interval_end);
	partition_end(&first, &end);
	if (sn_uuid_cmp(&end, &interval_end) < 0)
		interval_end = end;
	if (sn_uuid_tick(&interval_end) > limit)
		return false;
	trees = sn_trees_begin(TopMemoryContext, &interval_from);
	return true;
}

/* tell_root: publish a tenant's root, so that copies of the log anchor it */
static void
tell_root(const SnRoot *root, const SnInterval *interval)
{
	SnEvent		event;
	pg_uuid_t	id;
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"root_no\": %lld, \"interval_no\": %lld, \"from_id\": \"%s\"",
					 (long long) root->no, (long long) root->interval_no,
					 DatumGetCString(DirectFunctionCall1(uuid_out,
														 UUIDPGetDatum(&interval->from_id))));
	appendStringInfo(&json, ", \"to_id\": \"%s\", \"events\": %lld",
					 DatumGetCString(DirectFunctionCall1(uuid_out,
														 UUIDPGetDatum(&interval->to_id))),
					 (long long) root->events);
	appendStringInfo(&json, ", \"root\": \"%s\", \"chain\": \"%s\"}",
					 sn_digest_text(&root->root),
					 sn_digest_text(&root->chain));

	sn_event_own(&event, SN_TYPE_AUDIT_ROOT, json.data);
	event.tenant_id = root->tenant_id;
	event.aggregate_type = cstring_to_text("audit");
	sn_publish(&event, &id);
}

/* close_tenant: its root, chained to the one before */
static SnRoot
close_tenant(Snapshot snapshot, SnTenantTree *tree, const SnInterval *interval)
{
	SnRoot		last;
	SnRoot		root;

	root.tenant_id = cstring_to_text(tree->tenant_id);
	sn_root_newest(snapshot, root.tenant_id, PG_INT64_MAX, &last);
	root.no = last.no + 1;
	root.interval_no = interval->no;
	root.events = tree->tree.leaves;
	sn_merkle_root(&tree->tree, &root.root);
	sn_root_chain(&root, interval, &last.chain);
	return root;
}

/*
 * interval_close: where an interval ends, of which so many roots are told.  Where
 * none is, no id behind its last event is stored, and after a crash the clock may
 * begin there (log/clock_floor.c).  So it ends there, and no event comes to it.
 */
static pg_uuid_t
interval_close(const SnTrees *closed, const pg_uuid_t *end, int told)
{
	return told > 0 ? *end : closed->next;
}

/* close_interval: write its rows, and tell the tenants' roots */
static void
close_interval(Snapshot snapshot, SnTrees *closed, const pg_uuid_t *end)
{
	SnInterval	interval = {before.no + 1};
	SnMerkle	tree;
	SnInserter *inserter;
	int			n;
	SnTenantTree **tenants = sn_trees_sorted(closed, &n);
	SnRoot	   *roots = palloc(n * sizeof(SnRoot));
	int			told = 0;
	int			i;

	for (i = 0; i < n; i++)
		told += tenants[i]->worth_telling;
	interval.from_id = interval_from;
	interval.to_id = interval_close(closed, end, told);
	interval.events = closed->events;
	interval.closed_at = GetCurrentTimestamp();
	sn_merkle_begin(&tree, NULL);
	inserter = sn_insert_begin(sn_rel(SN_AUDIT_ROOT), false);
	for (i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		roots[i] = close_tenant(snapshot, tenants[i], &interval);
		sn_root_put(inserter, &roots[i]);
		sn_merkle_add(&tree, &roots[i].chain);
	}
	(void) sn_insert_end(inserter);
	sn_merkle_root(&tree, &interval.root);
	sn_interval_chain(&interval, &before.chain);
	sn_interval_write(&interval);
	for (i = 0; i < n; i++)
		if (tenants[i]->worth_telling)
			tell_root(&roots[i], &interval);
}

/* still_next: whether nobody else has closed what is being read */
static bool
still_next(Snapshot snapshot)
{
	SnInterval	newest;

	sn_interval_newest(snapshot, &newest);
	return newest.no == before.no &&
		memcmp(&newest.chain, &before.chain, sizeof(newest.chain)) == 0;
}

/* forget_trees: what was read of an interval */
static void
forget_trees(void)
{
	if (trees != NULL)
		sn_trees_end(trees);
	trees = NULL;
}

/*
 * close_what_was_read: close the interval, unless somebody else has.  False when
 * another transaction may be about to: that may last, so it is left for the next
 * pass of maintenance.
 */
static bool
close_what_was_read(const pg_uuid_t *end)
{
	SnTrees    *closed = trees;
	Snapshot	snapshot;
	bool		locked;

	trees = NULL;				/* also when an error ends this */
	MemoryContextSetParent(closed->context, CurrentMemoryContext);
	locked = ConditionalLockRelationOid(sn_rel(SN_AUDIT_INTERVAL),
										ShareUpdateExclusiveLock);
	if (locked)
	{
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		if (still_next(snapshot))
			close_interval(snapshot, closed, end);
		UnregisterSnapshot(snapshot);
	}
	sn_trees_end(closed);
	return locked;
}

/*
 * sn_audit_step: read some of the interval that is over, and close it when all
 * of it has been read; whether there is more to do
 */
bool
sn_audit_step(void)
{
	SnTick		limit = 0;
	Snapshot	snapshot;
	bool		more = false;

	if (!sn_audit || !sn_present(SN_AUDIT_INTERVAL))
	{
		forget_trees();
		return false;
	}
	if (trees == NULL)
		limit = decided();		/* before the snapshot that has to show it */
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (trees != NULL && !still_next(snapshot))
		forget_trees();
	if (trees != NULL || begin_interval(snapshot, limit))
	{
		bool		all = sn_trees_read(trees, snapshot, &interval_end,
										EVENTS_AT_ONCE);

		more = true;
		if (all)
			more = close_what_was_read(&interval_end);
		else if (trees->events >= EVENTS_MOST ||
				 hash_get_num_entries(trees->tenants) >= TENANTS_MOST)
			more = close_what_was_read(&trees->next);
	}
	UnregisterSnapshot(snapshot);
	return more;
}
