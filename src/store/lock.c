/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lock.c
 *		The heavyweight locks of the extension.
 *
 * They are object locks on made-up members of its tables, so they cannot
 * collide with anybody's advisory locks, end with the (sub)transaction, write
 * no WAL and dirty no page; pg_locks shows them with locktype "object" and
 * the table as classid.
 *
 *	  lane	  classid subscription, objid sub_id, objsubid lane + 1
 *	  streams classid subscription, objid 0: subscriptions come and go
 *	  types	  classid event_type, objid 0: event types are registered
 *	  grants  classid tenant_grant, objid 0: rights for tenants are changed
 *	  alerts  classid alert, objid 0: alerts are set, dropped, raised
 *	  counts  classid dead_letter_count, objid 0: its rows are folded
 *	  limits  classid tenant_limit, objid 0: limits and weights are set
 *	  rules	  classid redaction, objid 0: redaction rules are set and dropped
 *	  round	  classid round_0, objid 0
 *	  relay	  classid event_log, objid sub_id, objsubid lane + 1 (session)
 *	  outside classid event_log, objid sub_id, objsubid 0: a sentinai-relay works
 *			  for a relay (session)
 *	  key	  classid event_idempotency, objid hash of tenant and key
 *	  part	  classid event_log, objid 0: one at a time asks for a partition
 *
 * The workers hold the extension itself as PostgreSQL's own statements do, so
 * that its tables do not go away under them.
 *
 * Order: a round lock is never asked for while waiting is possible and a lane
 * lock is held by the same statement; lanes are only tried, never waited for,
 * but by those who hold a token that names them, in ascending order, and by
 * those who deal with letters, leases and subscriptions, who give way to them.
 */
#include "postgres.h"

#include "access/twophase.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/guc.h"
#include "utils/inval.h"

#include "base/compat.h"
#include "base/set_here.h"
#include "store/lane_hints.h"
#include "store/store.h"

#define LOCKS_PER_SET 48		/* taken by making or dropping a set of partitions,
								 * with indexes, triggers and row types */
#define LOCKS_SHARE 4			/* one of so many may be ours */

/* try_or_wait: take an exclusive lock; false when it is taken and !wait */
static bool
try_or_wait(Oid class, uint32 object, uint16 part, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, class, object, part);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) !=
		LOCKACQUIRE_NOT_AVAIL;
}

static void
unlock(Oid class, uint32 object, uint16 part)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, class, object, part);
	LockRelease(&tag, ExclusiveLock, false);
}

/*
 * sn_hold_extension: keep the extension from being dropped or updated until the
 * transaction ends.  Does not wait for who is about to do that.
 */
SnHold
sn_hold_extension(void)
{
	Oid			extension = get_extension_oid("sentinai", true);
	LOCKTAG		tag;

	if (!OidIsValid(extension))
		return SN_HOLD_GONE;
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, extension, 0);
	if (LockAcquire(&tag, AccessShareLock, false, true) ==
		LOCKACQUIRE_NOT_AVAIL)
		return SN_HOLD_BUSY;
	AcceptInvalidationMessages();
	return sn_installed() ? SN_HOLD_TAKEN : SN_HOLD_GONE;
}

/*
 * lock_in_other_hands: whether another transaction, prepared ones included,
 * has a lock
 */
static bool
lock_in_other_hands(Oid class, uint32 object, uint16 part)
{
	LOCKTAG		tag;
	int			n;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, class, object, part);
	pfree(GetLockConflicts(&tag, ExclusiveLock, &n));
	return n > 0;
}

/* sn_lock_lane: the right to change a lane's state */
bool
sn_lock_lane(int sub_id, int lane, bool wait)
{
	sn_hint_will_lock(sub_id, lane);
	return try_or_wait(sn_rel(SN_SUBSCRIPTION), sub_id, lane + 1, wait);
}

/*
 * sn_lock_lane_yielding: the same for those who ask for lanes in any order.
 * Agents wait for several lanes, too.  When the two wait for each other, it is
 * not the agent's work that is lost: we look for that after a moment, and give
 * way.
 */
void
sn_lock_lane_yielding(int sub_id, int lane)
{
	int			level = NewGUCNestLevel();

	sn_set_here("deadlock_timeout", "50ms");
	(void) sn_lock_lane(sub_id, lane, true);
	AtEOXact_GUC(false, level);
}

/*
 * sn_lane_in_hands: whether another transaction has a lane's lock.  Looks
 * without taking it, so as not to be in the way of a claim; in the moment
 * between a transaction's end and the end of its locks the answer is no.
 */
bool
sn_lane_in_hands(int sub_id, int lane)
{
	return lock_in_other_hands(sn_rel(SN_SUBSCRIPTION), sub_id, lane + 1);
}

#ifdef USE_ASSERT_CHECKING
/* holds_lock: whether this session has a lock */
static bool
holds_lock(Oid class, uint32 object, uint16 part)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, class, object, part);
	return sn_lock_is_held(&tag, ExclusiveLock);
}

/* sn_lane_is_ours: whether this session has a lane's lock */
bool
sn_lane_is_ours(int sub_id, int lane)
{
	return holds_lock(sn_rel(SN_SUBSCRIPTION), sub_id, lane + 1);
}

/* sn_streams_are_ours: whether this session has the lock of subscriptions */
bool
sn_streams_are_ours(void)
{
	return holds_lock(sn_rel(SN_SUBSCRIPTION), 0, 0);
}

/* sn_round_is_ours: whether this session has the round lock */
bool
sn_round_is_ours(void)
{
	return holds_lock(sn_rel(SN_ROUND_0), 0, 0);
}

/* sn_lanes_are_owned: whether this session is the one that sends these lanes */
bool
sn_lanes_are_owned(int sub_id, uint64 lanes)
{
	int			lane;

	for (lane = 0; lane < SN_MAX_LANES; lane++)
		if ((lanes & SN_LANE_BIT(lane)) != 0 &&
			!holds_lock(sn_rel(SN_EVENT_LOG), sub_id, lane + 1))
			return false;
	return true;
}

/*
 * sn_change_is_ours: whether this session has the lock that a change of a table
 * takes.  Tables that are not named here have none: they are only added to, or
 * the lane's lock is asserted where their rows are written.
 */
bool
sn_change_is_ours(SnRel table)
{
	switch (table)
	{
		case SN_SUBSCRIPTION:
		case SN_STREAM:
		case SN_RETRY_POLICY:
		case SN_RELAY:
			return sn_streams_are_ours();
		case SN_TRACK:
		case SN_TRACK_TENANT:
			return sn_round_is_ours();
		case SN_EVENT_TYPE:
		case SN_ALERT:
		case SN_REDACTION:
			return holds_lock(sn_rel(table), 0, 0);
		case SN_TENANT_GRANT:
		case SN_WORK_GRANT:
		case SN_PROOF_ROLE:
			return holds_lock(sn_rel(SN_TENANT_GRANT), 0, 0);
		case SN_TENANT_LIMIT:
		case SN_TENANT_WEIGHT:
		case SN_BACKLOG_LIMIT:
			return holds_lock(sn_rel(SN_TENANT_LIMIT), 0, 0);
		default:
			return true;
	}
}
#endif

/* sn_unlock_lane: give a lane back that was looked at and not changed */
void
sn_unlock_lane(int sub_id, int lane)
{
	unlock(sn_rel(SN_SUBSCRIPTION), sub_id, lane + 1);
	sn_hint_lock_released(sub_id, lane);
}

/* sn_lock_streams: the right to add, change or remove subscriptions */
bool
sn_lock_streams(bool wait)
{
	return try_or_wait(sn_rel(SN_SUBSCRIPTION), 0, 0, wait);
}

/* sn_lock_types: the right to register, deprecate or drop event types */
void
sn_lock_types(void)
{
	(void) try_or_wait(sn_rel(SN_EVENT_TYPE), 0, 0, true);
}

/* sn_lock_grants: the right to change what roles may for tenants */
bool
sn_lock_grants(bool wait)
{
	return try_or_wait(sn_rel(SN_TENANT_GRANT), 0, 0, wait);
}

/* sn_lock_alerts: the right to change alerts */
bool
sn_lock_alerts(bool wait)
{
	return try_or_wait(sn_rel(SN_ALERT), 0, 0, wait);
}

/* sn_lock_counts: the right to fold the counts of dead letters; not waited for */
bool
sn_lock_counts(void)
{
	return try_or_wait(sn_rel(SN_DEAD_LETTER_COUNT), 0, 0, false);
}

/* sn_lock_limits: the right to set or drop limits and weights */
bool
sn_lock_limits(bool wait)
{
	return try_or_wait(sn_rel(SN_TENANT_LIMIT), 0, 0, wait);
}

/* sn_lock_redactions: the right to set and drop redaction rules */
void
sn_lock_redactions(void)
{
	(void) try_or_wait(sn_rel(SN_REDACTION), 0, 0, true);
}

/* sn_lock_round: the right to take a round; nobody waits for it */
bool
sn_lock_round(void)
{
	sn_hint_will_lock_round();
	return try_or_wait(sn_rel(SN_ROUND_0), 0, 0, false);
}

/* sn_round_in_hands: whether another transaction is taking a round */
bool
sn_round_in_hands(void)
{
	return lock_in_other_hands(sn_rel(SN_ROUND_0), 0, 0);
}

/* sn_unlock_round: give it back when there was nothing to write */
void
sn_unlock_round(void)
{
	unlock(sn_rel(SN_ROUND_0), 0, 0);
}

/* sn_lock_key: the right to look up and note an idempotency key */
void
sn_lock_key(uint32 hash)
{
	(void) try_or_wait(sn_rel(SN_EVENT_IDEMPOTENCY), hash, 0, true);
}

/* sn_unlock_key: the key is noted, where a dirty read can see it */
void
sn_unlock_key(uint32 hash)
{
	unlock(sn_rel(SN_EVENT_IDEMPOTENCY), hash, 0);
}

/* sn_lock_making: the right to have a partition made */
void
sn_lock_making(void)
{
	(void) try_or_wait(sn_rel(SN_EVENT_LOG), 0, 0, true);
}

/* sn_unlock_making: it is made, or could not be */
void
sn_unlock_making(void)
{
	unlock(sn_rel(SN_EVENT_LOG), 0, 0);
}

/* own: a lock of the session, until the process ends */
static bool
own(int sub_id, uint16 part)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, sn_rel(SN_EVENT_LOG), sub_id, part);
	return LockAcquire(&tag, ExclusiveLock, true, true) !=
		LOCKACQUIRE_NOT_AVAIL;
}

/* sn_own_lane: the right of a relay process to send a lane's events */
bool
sn_own_lane(int sub_id, int lane)
{
	return own(sub_id, lane + 1);
}

/* sn_own_relay: the right of a session to work for a sentinai-relay */
bool
sn_own_relay(int sub_id)
{
	return own(sub_id, 0);
}

/*
 * sn_sets_at_once: how many sets one transaction may make or drop.  All of it is locked
 * until its end, and the table of locks is shared with everybody.
 */
int
sn_sets_at_once(void)
{
	int64		locks = (int64) max_locks_per_xact *
		(MaxBackends + max_prepared_xacts);

	return (int) Max(locks / LOCKS_SHARE / LOCKS_PER_SET, 1);
}
