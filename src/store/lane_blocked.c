/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lane_blocked.c
 *		Lanes that another transaction has locked, and who waits for them.
 *
 * A lane whose lock another transaction has may have work that nobody can take
 * before that ends.  Who waits notes it as "blocked", sees that the lock is
 * still in other hands, and sleeps; who has locked it looks at that note after
 * the lock has gone, so one of the two sees the other.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/resowner.h"

#include "store/lane_hints.h"

/* lanes that this transaction has locked, or tried to, by subscription */
typedef struct Locked
{
	int			sub_id;
	uint64		lanes;
} Locked;

static Locked locked[SN_MAX_SUBS];
static int	nlocked = 0;
static bool locked_round = false;

/* sn_hint_wake: as many waiters as there are lanes with work */
void
sn_hint_wake(SnSubSlot *slot, uint64 lanes)
{
	int			n = Min(pg_popcount64(lanes),
						(int) pg_atomic_read_u32(&slot->waiters));

	for (; n > 0; n--)
		ConditionVariableSignal(&slot->cv);
}

/* known_sub_slot: the hints of a subscription, mostly those asked for last */
static SnSubSlot *
known_sub_slot(int sub_id)
{
	static SnSubSlot *last = NULL;

	if (last == NULL || last->sub_id != sub_id ||
		last->dboid != MyDatabaseId)
		last = sn_sub_slot_find(sub_id);
	return last;
}

/* unblock: wake those who wait for the locks of lanes, which have gone */
static void
unblock(int sub_id, uint64 lanes)
{
	SnSubSlot  *slot = known_sub_slot(sub_id);

	if (slot == NULL || (pg_atomic_read_u64(&slot->blocked) & lanes) == 0)
		return;
	sn_hint_wake(slot, lanes & pg_atomic_fetch_and_u64(&slot->blocked, ~lanes));
}

/* wake_database: wake all who wait in this database; everywhere: to look at all */
static void
wake_database(bool everywhere)
{
	SnSubSlot  *slot = NULL;

	while ((slot = sn_sub_slot_after(slot, MyDatabaseId)) != NULL)
	{
		if (everywhere)
			sn_sub_look_everywhere(slot);
		if (pg_atomic_read_u32(&slot->waiters) > 0)
			ConditionVariableBroadcast(&slot->cv);
	}
}

/*
 * locks_gone: the locks of a transaction, or of a savepoint that was rolled
 * back, have been released.
 */
static void
locks_gone(ResourceReleasePhase phase, bool commits, bool is_top, void *arg)
{
	int			i;

	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || (commits && !is_top))
		return;
	for (i = 0; i < nlocked; i++)
		unblock(locked[i].sub_id, locked[i].lanes);
	if (locked_round && sn_database_find() != NULL &&
		sn_database_find()->sequencer_pid == 0)
		wake_database(false);	/* without a sequencer a claim needs it */
	if (is_top)
	{
		nlocked = 0;
		locked_round = false;
	}
}

/* register_locks: have locks_gone() called */
static void
register_locks(void)
{
	static bool registered = false;

	if (!registered)
		RegisterResourceReleaseCallback(locks_gone, NULL);
	registered = true;
}

/*
 * sn_hint_will_lock: this transaction is about to lock a lane.  For lanes of more
 * subscriptions than there are slots those who wait find out by themselves.
 */
void
sn_hint_will_lock(int sub_id, int lane)
{
	int			i;

	register_locks();
	for (i = nlocked - 1; i >= 0 && locked[i].sub_id != sub_id; i--)
		;
	if (i < 0)
	{
		if (nlocked == SN_MAX_SUBS)
			return;
		i = nlocked++;
		locked[i].sub_id = sub_id;
		locked[i].lanes = 0;
	}
	locked[i].lanes |= SN_LANE_BIT(lane);
}

/* sn_hint_will_lock_round: this transaction is about to lock the rounds */
void
sn_hint_will_lock_round(void)
{
	register_locks();
	locked_round = true;
}

/* sn_hint_lock_released: a lane has its lock back before the transaction ends */
void
sn_hint_lock_released(int sub_id, int lane)
{
	unblock(sub_id, SN_LANE_BIT(lane));
}

/*
 * sn_hint_prepared_ended: a prepared transaction has ended.  What it had locked or
 * changed nobody knows.
 */
void
sn_hint_prepared_ended(void)
{
	wake_database(true);
}

/*
 * sn_hint_mark_blocked: the lane's lock could not be had.  Who says so looks at the
 * lock once more, and may sleep if it is still taken.
 */
void
sn_hint_mark_blocked(SnSubSlot *slot, int lane)
{
	if (slot != NULL)
		(void) pg_atomic_fetch_or_u64(&slot->blocked, SN_LANE_BIT(lane));
}
