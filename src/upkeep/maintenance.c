/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * maintenance.c
 *		Partitions ahead of their time, and the halves of the journals
 *		(journal.c), which turn in steps, one in a pass.
 *
 * Nothing here waits for a lock that a publisher or an agent holds, except
 * DROP in retention.c, for a bounded time.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "audit/audit.h"
#include "base/guc.h"
#include "queue/alert.h"
#include "queue/dead_letter.h"
#include "queue/filter.h"
#include "queue/lane.h"
#include "queue/lane_look.h"
#include "queue/subscription.h"
#include "sequencer/round.h"
#include "sequencer/track_rows.h"
#include "shared/failure.h"
#include "shared/shmem.h"
#include "sla/deadline.h"
#include "store/guarded.h"
#include "store/journal.h"
#include "store/range.h"
#include "store/wall.h"
#include "tenancy/gate.h"
#include "tenancy/grant_row.h"
#include "upkeep/maintenance.h"

#define LANES_AT_ONCE 64		/* carried over in a transaction, for their locks */

#define PARTITIONS_STEP "partitions"

PG_FUNCTION_INFO_V1(sentinai_maintain);
PG_FUNCTION_INFO_V1(sentinai_partitions_until);

static bool make_ahead(void);
static bool turn_rounds(void);
static bool turn_lanes(void);
static bool free_slots(void);

const SnStep sn_maintenance_steps[] =
{
	{PARTITIONS_STEP, make_ahead},
	{"journal of rounds", turn_rounds},
	{"journal of lanes", turn_lanes},
	{"slots", free_slots},
	{"row security", sn_wall_step},
	{"unwanted events", sn_pass_unwanted_step},
	{"earlier filters", sn_earlier_filters_step},
	{"tracks", sn_tracks_step},
	{"retention", sn_retention_step},
	{"kept events", sn_keep_step},
	{"dead letters", sn_purge_step},
	{"counts of dead letters", sn_letter_fold_step},
	{"alerts", sn_alert_step},
	{"audit", sn_audit_step},
	{"ended deadlines", sn_deadline_purge_step},
	{"grants of dropped roles", sn_vanished_roles_step}
};
const int	sn_maintenance_nsteps = lengthof(sn_maintenance_steps);

StaticAssertDecl(lengthof(sn_maintenance_steps) <= SN_MAX_STEPS,
				 "too many steps of maintenance");

/* Whether a step has more to do */
typedef struct StepRun
{
	const SnStep *step;
	bool		more;
} StepRun;

static void
run_step(void *arg)
{
	StepRun    *run = arg;

	run->more = run->step->run();
}

static bool
is_no_cancel(int sqlerrcode)
{
	return sqlerrcode != ERRCODE_QUERY_CANCELED;
}

/*
 * try_step: a step, so that what goes wrong in it does not keep the caller from
 * the others; he is warned.  Returns whether it has more to do.
 */
static bool
try_step(const SnStep *step)
{
	StepRun		run = {step, false};
	ErrorData  *error = sn_guarded(run_step, &run, is_no_cancel);

	if (error == NULL)
	{
		sn_failure_over(step->name);
		return run.more;
	}
	sn_failure_note(step->name, error, 0);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("maintenance of sentinai failed in step \"%s\": %s",
					step->name, error->message)));
	return false;
}

/*
 * may_go_on: whether a step can be gone on with in the same transaction.  What
 * is dropped stays locked until its end, four tables for each set.
 */
static bool
may_go_on(const SnStep *step, int *drops)
{
	if (step->run == sn_retention_step)
		return ++*drops < 4 * sn_sets_at_once();
	return step->run == sn_pass_unwanted_step ||
		step->run == sn_earlier_filters_step ||
		step->run == sn_keep_step || step->run == sn_audit_step ||
		step->run == sn_vanished_roles_step;
}

/* maintain() returns void */
Datum
sentinai_maintain(PG_FUNCTION_ARGS)
{
	int			drops = 0;
	int			i;

	PreventCommandIfReadOnly("maintain()");
	sn_require_every("do maintenance");
	(void) sn_node_activate();
	for (i = 0; i < sn_maintenance_nsteps; i++)
	{
		bool		more = try_step(&sn_maintenance_steps[i]);

		while (more && may_go_on(&sn_maintenance_steps[i], &drops))
		{
			CHECK_FOR_INTERRUPTS();
			more = try_step(&sn_maintenance_steps[i]);
		}
	}
	PG_RETURN_VOID();
}

/* end_of_log: until when the log has partitions, in ms; 0: none for now */
static int64
end_of_log(void)
{
	List	   *ranges = sn_partition_ranges(SN_EVENT_LOG);
	int64		now = SN_TICK_MS(sn_clock_now());
	int64		end = now;
	ListCell   *lc;

	foreach(lc, ranges)
	{
		const SnPartRange *range = lfirst(lc);

		if (range->lower <= end && range->upper > end)
			end = range->upper;
	}
	list_free_deep(ranges);
	return end == now ? 0 : end;
}

/* partitions_until(): the same as a time, null for none */
Datum
sentinai_partitions_until(PG_FUNCTION_ARGS)
{
	int64		end = end_of_log();

	if (end == 0)
		PG_RETURN_NULL();
	if (end == PG_INT64_MAX)
		PG_RETURN_TIMESTAMPTZ(DT_NOEND);
	PG_RETURN_TIMESTAMPTZ(sn_ms_timestamp(end));
}

/* warn_ahead: partitions run out, and no more could be made; once an hour */
static void
warn_ahead(void)
{
	static TimestampTz last = 0;
	int64		end = end_of_log();

	if (!sn_failure_known(PARTITIONS_STEP))
	{
		last = 0;
		return;
	}
	if (last != 0 && sn_now() - last < USECS_PER_HOUR)
		return;
	last = sn_now();
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 end == 0 ? errmsg("there are no partitions for new events, and none could be made") :
			 errmsg("there are partitions for new events until %s, and no more could be made",
					timestamptz_to_str(sn_ms_timestamp(Min(end, SN_MAX_MS)))),
			 errdetail("When there are none, publish() tries to make one, and fails if it cannot."),
			 errhint("See failing_error in sentinai.stat_info for the cause.")));
}

/* make_ahead: partitions for the time to come; true: there are more to make */
static bool
make_ahead(void)
{
	int64		ahead = (int64) sn_partitions_ahead * sn_partition_interval;

	warn_ahead();
	return sn_make_partitions(GetCurrentTimestamp() +
							  ahead * SECS_PER_MINUTE * USECS_PER_SEC);
}

/* newest_round_stays: whether the newest round is in the half that takes rows */
static bool
newest_round_stays(void)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnJournalReader reader = {false};
	bool		result;

	result = sn_journal_newest(&reader, SN_ROUNDS, snapshot, 0, NULL) == NULL ||
		reader.newest == sn_journal_used(SN_ROUNDS);
	sn_journal_end(&reader);
	UnregisterSnapshot(snapshot);
	return result;
}

/* turn_rounds: the journal of rounds; under the round lock nobody writes it */
static bool
turn_rounds(void)
{
	if (!sn_lock_round())
		return false;
	if (!sn_journal_turn(SN_ROUNDS) && newest_round_stays() &&
		sn_journal_seize(SN_ROUNDS))
		sn_journal_truncate(SN_ROUNDS); /* with the round lock */
	else
		sn_unlock_round();
	return false;
}

/*
 * left_behind: lanes whose newest version is in the half that takes no rows.
 * carry says how many of them to carry over.
 */
static int
left_behind(int carry)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnLaneReader reader = {false};
	int			lanes = sn_node()->lanes;
	SnTracks	tracks = sn_tracks_used(snapshot);
	int			n = 0;
	ListCell   *lc;

	foreach(lc, sn_sub_ids())
	{
		int			strip;

		for (strip = 0; strip < SN_STRIPS; strip++)
			if (SN_STRIP_LANE(strip) < lanes &&
				(tracks & SN_TRACK_BIT(SN_STRIP_TRACK(strip))) != 0 &&
				sn_lane_behind(&reader, lfirst_int(lc), strip, snapshot) &&
				n++ < carry)
				(void) sn_lane_carry_over(lfirst_int(lc), strip);
	}
	sn_lane_read_end(&reader);
	UnregisterSnapshot(snapshot);
	return n;
}

/* turn_lanes: the journal of lanes */
static bool
turn_lanes(void)
{
	int			left;

	if (sn_journal_turn(SN_LANES))
		return false;
	left = left_behind(LANES_AT_ONCE);
	if (left > 0)
		return left > LANES_AT_ONCE;

	/* whoever appended to it since has committed if the lock is to be had */
	if (sn_journal_seize(SN_LANES) && left_behind(0) == 0)
		sn_journal_truncate(SN_LANES);
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
