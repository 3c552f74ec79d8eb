/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * maintenance.c
 *		Partitions ahead of their time, and the halves of the journals.
 *
 * A journal's half that has grown is left for the other one, and truncated
 * when no row of it is the newest of anything.  Who reads a journal looks into
 * both halves, so it does not matter which of them takes rows.  Rows are
 * carried over, the half is switched, and the other one is truncated in
 * different passes: a reader who got his snapshot before one of them has long
 * finished when the next one comes.
 *
 * Nothing here waits for a lock that a publisher or an agent holds, except
 * DROP in retention.c, for a bounded time.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/tablecmds.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "base/fault.h"
#include "base/guc.h"
#include "queue/lane.h"
#include "queue/look.h"
#include "queue/subscription.h"
#include "sequencer/round.h"
#include "shared/failure.h"
#include "shared/shmem.h"
#include "store/store.h"
#include "upkeep/maintenance.h"

#define LANES_AT_ONCE 64		/* carried over in a transaction, for their locks */

PG_FUNCTION_INFO_V1(sentinai_maintain);

static bool make_ahead(void);
static bool turn_rounds(void);
static bool turn_lanes(void);
static bool free_slots(void);

const SnStep sn_maintenance_steps[] =
{
	{"partitions", make_ahead},
	{"journal of rounds", turn_rounds},
	{"journal of lanes", turn_lanes},
	{"slots", free_slots},
	{"unwanted events", sn_settle_step},
	{"retention", sn_retention_step},
	{"kept events", sn_keep_step}
};
const int	sn_maintenance_nsteps = lengthof(sn_maintenance_steps);

StaticAssertDecl(lengthof(sn_maintenance_steps) <= SN_MAX_STEPS,
				 "too many steps of maintenance");

/*
 * try_step: a step in a subtransaction, so that what goes wrong in it does not
 * keep the caller from the others; he is warned.  Returns whether it has more
 * to do.
 */
static bool
try_step(const SnStep *step)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool more = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		more = step->run();
		ReleaseCurrentSubTransaction();
		sn_failure_over(step->name);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		sn_failure_note(step->name, error, 0);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("maintenance of sentinai failed in step \"%s\": %s",
						step->name, error->message)));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return more;
}

/* maintain() returns void */
Datum
sentinai_maintain(PG_FUNCTION_ARGS)
{
	int			i;

	PreventCommandIfReadOnly("maintain()");
	(void) sn_node_activate();
	for (i = 0; i < sn_maintenance_nsteps; i++)
	{
		bool		more = try_step(&sn_maintenance_steps[i]);

		/* only these can be gone on with in one transaction */
		while (more && (sn_maintenance_steps[i].run == sn_settle_step ||
						sn_maintenance_steps[i].run == sn_retention_step ||
						sn_maintenance_steps[i].run == sn_keep_step))
		{
			CHECK_FOR_INTERRUPTS();
			more = try_step(&sn_maintenance_steps[i]);
		}
	}
	PG_RETURN_VOID();
}

/* make_ahead: partitions for the time to come; true: there are more to make */
static bool
make_ahead(void)
{
	int64		ahead = (int64) sn_partitions_ahead * sn_partition_interval;

	return sn_make_partitions(GetCurrentTimestamp() +
							  ahead * SECS_PER_MINUTE * USECS_PER_SEC);
}

/* size_of: bytes of a table */
static int64
size_of(SnRel which)
{
	Relation	rel = table_open(sn_rel(which), AccessShareLock);
	BlockNumber blocks = RelationGetNumberOfBlocks(rel);

	table_close(rel, AccessShareLock);
	return (int64) blocks * BLCKSZ;
}

/* truncate_half: empty a table whose exclusive lock we have, as its owner */
static void
truncate_half(SnRel which)
{
	Relation	rel = table_open(sn_rel(which), NoLock);
	TruncateStmt *stmt = makeNode(TruncateStmt);
	Oid			user;
	int			context;

	stmt->relations =
		list_make1(makeRangeVar(SN_SCHEMA,
								pstrdup(RelationGetRelationName(rel)), -1));
	stmt->behavior = DROP_RESTRICT;
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(rel->rd_rel->relowner,
						   context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	table_close(rel, NoLock);
	ExecuteTruncate(stmt);
	SetUserIdAndSecContext(user, context);
	CommandCounterIncrement();
	SN_FAULT(journal_truncate);
}

/* newest_round_of: number of the newest round in a half, or 0 */
static int64
newest_round_of(int half)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64		result = 0;
	SnScan		scan;

	sn_scan_named(&scan, SN_ROUND_0 + half,
				  SN_ROUND_0_IDX + half, snapshot, 0, NULL,
				  BackwardScanDirection);
	if (sn_scan_next(&scan))
	{
		bool		isnull;

		result = DatumGetInt64(slot_getattr(scan.slot, Anum_round_no,
											&isnull));
	}
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	return result;
}

/* turn_rounds: the journal of rounds; under the round lock nobody writes it */
static bool
turn_rounds(void)
{
	SnDatabase *db = sn_database();
	int			half = pg_atomic_read_u32(&db->half_round) & 1;
	SnRel		other = SN_ROUND_0 + !half;

	if (!sn_lock_round(false))
		return false;
	if (size_of(other) > 0 &&
		newest_round_of(half) >= newest_round_of(!half) &&
		ConditionalLockRelationOid(sn_rel(other), AccessExclusiveLock))
	{
		truncate_half(other);
		return false;			/* with the round lock */
	}
	if (size_of(other) == 0 &&
		size_of(SN_ROUND_0 + half) > (int64) sn_journal_size * 1024)
	{
		pg_atomic_write_u32(&db->half_round, !half);
		SN_FAULT(round_switch);
	}
	sn_unlock_round();
	return false;
}

/* newest_version: newest version of a lane in a half of its journal, or 0 */
static int64
newest_version(int half, int sub_id, int lane, Snapshot snapshot)
{
	ScanKeyData keys[2];
	int64		result = 0;
	SnScan		scan;

	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, sub_id);
	sn_key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	sn_scan_named(&scan, SN_LANE_STATE_0 + half,
				  SN_LANE_STATE_0_IDX + half, snapshot, 2, keys,
				  BackwardScanDirection);
	if (sn_scan_next(&scan))
	{
		bool		isnull;

		result = DatumGetInt64(slot_getattr(scan.slot, Anum_lane_ver,
											&isnull));
	}
	sn_scan_end(&scan);
	return result;
}

/*
 * left_behind: lanes whose newest version is in the half that takes no rows.
 * carry says how many of them to carry over.
 */
static int
left_behind(int half, int carry)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int			lanes = sn_node()->lanes;
	int			n = 0;
	ListCell   *lc;

	foreach(lc, sn_sub_ids())
	{
		int			sub_id = lfirst_int(lc);
		int			lane;

		for (lane = 0; lane < lanes; lane++)
		{
			int64		there = newest_version(!half, sub_id, lane, snapshot);

			if (there <= newest_version(half, sub_id, lane, snapshot))
				continue;
			if (n++ < carry)
				(void) sn_lane_carry_over(sub_id, lane);
		}
	}
	UnregisterSnapshot(snapshot);
	return n;
}

/* turn_lanes: the journal of lanes */
static bool
turn_lanes(void)
{
	SnDatabase *db = sn_database();
	int			half = pg_atomic_read_u32(&db->half_lane) & 1;
	SnRel		other = SN_LANE_STATE_0 + !half;
	int			left;

	if (size_of(other) == 0)
	{
		if (size_of(SN_LANE_STATE_0 + half) <= (int64) sn_journal_size * 1024)
			return false;
		pg_atomic_write_u32(&db->half_lane, !half);
		SN_FAULT(journal_switch);
		return false;
	}
	left = left_behind(half, LANES_AT_ONCE);
	if (left > 0)
		return left > LANES_AT_ONCE;

	/* whoever appended to it since has committed if the lock is to be had */
	if (ConditionalLockRelationOid(sn_rel(other), AccessExclusiveLock) &&
		left_behind(half, 0) == 0)
		truncate_half(other);
	return false;
}

/*
 * free_slots: give up the hints of subscriptions that are gone, or never came
 * to be: those that a prepared transaction ended, and those of a subscribe()
 * that was rolled back.  Under the lock of subscriptions none is on its way.
 */
static bool
free_slots(void)
{
	if (sn_sub_slots_beside(sn_sub_ids(), false) && sn_lock_streams(false))
		(void) sn_sub_slots_beside(sn_sub_ids(), true);
	return false;
}
