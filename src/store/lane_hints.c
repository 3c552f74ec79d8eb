/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lane_hints.c
 *		Moves lanes between the sets of SnSubSlot.
 *
 * Hints may send a claim to a lane for nothing, but must never keep it from
 * one that has work.  They hold up because of the order of things: whoever
 * takes a lane out of "pending" holds its lock and takes its snapshot after
 * that; a batch is resolved under the lane's lock, and the commit callback
 * runs before the lock goes; the sequencer adds to "pending" after its commit.
 * A transaction that aborts puts back what it took, and every lane (xact_end.c).
 *
 * slot may be NULL, when there are more subscriptions than slots: then every
 * lane is always looked at.
 */
#include "postgres.h"

#include "access/xact.h"

#include "base/guc.h"
#include "shared/clock.h"
#include "store/lane_hints.h"
#include "store/store.h"
#include "store/xact_end.h"
#include "store/xact_watch.h"

/* lanes that this transaction gave back, by subscription */
typedef struct Freed
{
	SnSubSlot  *slot;
	uint64		lanes;			/* have work if they have more */
	uint64		with_work;		/* have work */
	bool		sooner;			/* next_check came closer */
	bool		everywhere;		/* all lanes may have something in all tracks */
} Freed;

/* events that this transaction has claimed: how much less waits for that */
typedef struct Counted
{
	SnSubSlot  *slot;
	SubTransactionId subid;
	uint64		events;
	uint64		on_common;
} Counted;

/* a subscription that this transaction ended */
typedef struct Gone
{
	int			sub_id;
	SubTransactionId subid;
} Gone;

#define COUNTED_MAX 64

static Counted counted[COUNTED_MAX];
static int	ncounted = 0;
static Freed freed[SN_MAX_SUBS];
static int	nfreed = 0;
static Gone gone[SN_MAX_SUBS];
static int	ngone = 0;

/* lower: make an atomic time the earlier of what it was and when */
static void
lower(pg_atomic_uint64 *time, uint64 when)
{
	uint64		old = pg_atomic_read_u64(time);

	while (when < old && !pg_atomic_compare_exchange_u64(time, &old, when))
		;
}

/* find_freed: what this transaction has noted about a subscription, or NULL */
static Freed *
find_freed(const SnSubSlot *slot)
{
	int			i;

	for (i = 0; i < nfreed; i++)
		if (freed[i].slot == slot)
			return &freed[i];
	return NULL;
}

/* own_work: lanes that this transaction itself has given back with work */
static uint64
own_work(SnSubSlot *slot)
{
	const Freed *mine = find_freed(slot);

	if (mine == NULL)
		return 0;
	return (pg_atomic_read_u64(&slot->after_batch) & mine->lanes) | mine->with_work;
}

/* set_due: lanes may have retries that are due, or lost batches; before a claim comes */
static void
set_due(SnSubSlot *slot, uint64 lanes)
{
	if ((lanes & ~pg_atomic_read_u64(&slot->due)) != 0)
		(void) pg_atomic_fetch_or_u64(&slot->due, lanes);
}

/*
 * sn_hint_pending: the lanes that may have work now, for others or for this
 * transaction alone.  The time goes first and the set after it, while
 * sn_hint_defer_until() writes them the other way round, so that a lane is never in
 * the set with no time to come.
 */
uint64
sn_hint_pending(SnSubSlot *slot, TimestampTz now)
{
	if (slot == NULL)
		return PG_UINT64_MAX;
	if (pg_atomic_read_u64(&slot->next_check) <= (uint64) now)
	{
		uint64		lanes;

		(void) pg_atomic_exchange_u64(&slot->next_check, SN_NEVER);
		lanes = pg_atomic_exchange_u64(&slot->deferred, 0);
		set_due(slot, lanes);
		(void) pg_atomic_fetch_or_u64(&slot->pending, lanes);
	}
	return pg_atomic_read_u64(&slot->pending) | own_work(slot);
}

/*
 * sn_hint_clear: the caller holds the lane's lock and is going to look at it;
 * he will say what he found, unless it is free and has nothing.
 */
void
sn_hint_clear(SnSubSlot *slot, int lane)
{
	if (slot == NULL)
		return;
	Assert(sn_lane_is_ours(slot->sub_id, lane));
	sn_sub_touched(slot, 0, 0, 0);
	(void) pg_atomic_fetch_and_u64(&slot->pending, ~SN_LANE_BIT(lane));
	(void) pg_atomic_fetch_and_u64(&slot->after_batch, ~SN_LANE_BIT(lane));
}

/* sn_hint_set: the lane still has work */
void
sn_hint_set(SnSubSlot *slot, int lane)
{
	if (slot == NULL)
		return;
	Assert(sn_lane_is_ours(slot->sub_id, lane));
	(void) pg_atomic_fetch_or_u64(&slot->pending, SN_LANE_BIT(lane));
}

/* tracks_used: those that lanes may have */
static SnTracks
tracks_used(void)
{
	SnTracks	used = pg_atomic_read_u64(&sn_database()->tracks_used);

	return used == 0 ? SN_ALL_TRACKS : used;
}

/*
 * sn_hint_tracks: the tracks that a claim has to look at in some lanes, and of each
 * in which
 */
SnTracks
sn_hint_tracks(SnSubSlot *slot, uint64 pending, uint64 *lanes)
{
	SnTracks	used = slot == NULL ? 0 :
		pg_atomic_read_u64(&sn_database()->tracks_used);
	SnTracks	result = 0;
	int			track;

	foreach_track(track, used)
	{
		lanes[track] = pending & pg_atomic_read_u64(&slot->tracks[track]);
		if (lanes[track] != 0)
			result |= SN_TRACK_BIT(track);
	}
	return result;
}

/* tracks_in: the tracks in whose set a lane is; without sets all */
static SnTracks
tracks_in(pg_atomic_uint64 *sets, int lane)
{
	SnTracks	result = 0;
	int			track;

	if (sets == NULL)
		return tracks_used();
	foreach_track(track, tracks_used())
		if ((pg_atomic_read_u64(&sets[track]) & SN_LANE_BIT(lane)) != 0)
			result |= SN_TRACK_BIT(track);
	return result;
}

/* sn_hint_lane_tracks: the tracks of a lane that may have something */
SnTracks
sn_hint_lane_tracks(SnSubSlot *slot, int lane)
{
	if (slot == NULL ||
		(pg_atomic_read_u64(&slot->behind_common) & SN_LANE_BIT(lane)) != 0)
		return tracks_used();
	return tracks_in(slot->tracks, lane);
}

/*
 * sn_hint_take_tracks: the tracks of a lane that have to be looked at.  The caller
 * does so, under a snapshot that he takes now, and says of which he has not come to
 * the end.
 */
SnTracks
sn_hint_take_tracks(SnSubSlot *slot, int lane)
{
	SnTracks	result = tracks_in(slot == NULL ? NULL : slot->tracks, lane);
	int			track;

	if (slot == NULL)
		return result;
	Assert(sn_lane_is_ours(slot->sub_id, lane));
	sn_sub_touched(slot, result, 0, 0);
	foreach_track(track, result)
		(void) pg_atomic_fetch_and_u64(&slot->tracks[track],
									   ~SN_LANE_BIT(lane));
	return result;
}

/*
 * sn_hint_take_behind: whether tracks of a lane wait for the common one.  The
 * caller finds out whether they still do, or says that he has not.
 */
bool
sn_hint_take_behind(SnSubSlot *slot, int lane)
{
	uint64		bit = SN_LANE_BIT(lane);

	if (slot == NULL || (pg_atomic_read_u64(&slot->behind_common) & bit) == 0)
		return false;
	Assert(sn_lane_is_ours(slot->sub_id, lane));
	sn_sub_touched(slot, 0, 0, bit);
	return (pg_atomic_fetch_and_u64(&slot->behind_common, ~bit) & bit) != 0;
}

/* sn_hint_leave_behind: tracks of a lane wait for the common one */
void
sn_hint_leave_behind(SnSubSlot *slot, int lane)
{
	if (slot == NULL)
		return;
	Assert(sn_lane_is_ours(slot->sub_id, lane));
	(void) pg_atomic_fetch_or_u64(&slot->behind_common, SN_LANE_BIT(lane));
}

/* sn_hint_busy_tracks: those of a lane that may be held, or have something open */
SnTracks
sn_hint_busy_tracks(SnSubSlot *slot, int lane)
{
	return tracks_in(slot == NULL ? NULL : slot->busy, lane);
}

/* sn_hint_busy: a track of a lane is held, or has something open, from now on */
void
sn_hint_busy(SnSubSlot *slot, int lane, int track)
{
	uint64		bit = SN_LANE_BIT(lane);

	if (slot == NULL || (pg_atomic_read_u64(&slot->busy[track]) & bit) != 0)
		return;
	Assert(sn_lane_is_ours(slot->sub_id, lane));
	(void) pg_atomic_fetch_or_u64(&slot->busy[track], bit);
}

/*
 * sn_hint_idle: neither is so, by a state that was read under the lane's lock.
 * Should this transaction abort, it may be so again.
 */
void
sn_hint_idle(SnSubSlot *slot, int lane, int track)
{
	uint64		bit = SN_LANE_BIT(lane);

	if (slot == NULL || (pg_atomic_read_u64(&slot->busy[track]) & bit) == 0)
		return;
	Assert(sn_lane_is_ours(slot->sub_id, lane));
	sn_sub_touched(slot, 0, SN_TRACK_BIT(track), 0);
	(void) pg_atomic_fetch_and_u64(&slot->busy[track], ~bit);
}

/* sn_hint_leave_tracks: there may be more in these tracks of a lane */
void
sn_hint_leave_tracks(SnSubSlot *slot, int lane, SnTracks tracks)
{
	int			track;

	if (slot == NULL)
		return;
	Assert(sn_lane_is_ours(slot->sub_id, lane));
	foreach_track(track, tracks)
		(void) pg_atomic_fetch_or_u64(&slot->tracks[track],
									  SN_LANE_BIT(lane));
}

/*
 * sn_hint_retries_first: whose the odd event of a batch is, where retries and what
 * is new take turns.  It is the others' the next time.
 */
bool
sn_hint_retries_first(SnSubSlot *slot, int lane, TimestampTz now)
{
	uint64		bit = SN_LANE_BIT(lane);

	if (slot == NULL)
		return (now & 1) != 0;
	Assert(sn_lane_is_ours(slot->sub_id, lane));
	if ((pg_atomic_read_u64(&slot->new_first) & bit) == 0)
		return (pg_atomic_fetch_or_u64(&slot->new_first, bit) & bit) == 0;
	return (pg_atomic_fetch_and_u64(&slot->new_first, ~bit) & bit) == 0;
}

/* sn_hint_retries: the lanes that may have retries that are due */
uint64
sn_hint_retries(SnSubSlot *slot, uint64 pending)
{
	return slot == NULL ? 0 : pending & pg_atomic_read_u64(&slot->due);
}

/* sn_hint_leave_due: whether there are more retries in a lane that are due */
void
sn_hint_leave_due(SnSubSlot *slot, int lane, bool due)
{
	uint64		bit = SN_LANE_BIT(lane);

	if (slot == NULL ||
		due == ((pg_atomic_read_u64(&slot->due) & bit) != 0))
		return;
	Assert(sn_lane_is_ours(slot->sub_id, lane));
	if (due)
		(void) pg_atomic_fetch_or_u64(&slot->due, bit);
	else
		(void) pg_atomic_fetch_and_u64(&slot->due, ~bit);
}

/* sn_hint_pending_after_batch: it may have work when its batch is resolved */
void
sn_hint_pending_after_batch(SnSubSlot *slot, int lane)
{
	if (slot == NULL)
		return;
	Assert(sn_lane_is_ours(slot->sub_id, lane));
	(void) pg_atomic_fetch_or_u64(&slot->after_batch, SN_LANE_BIT(lane));
}

/* sn_hint_defer_until: the lane has to be looked at when that time has come */
void
sn_hint_defer_until(SnSubSlot *slot, int lane, TimestampTz when)
{
	if (slot == NULL)
		return;
	Assert(sn_lane_is_ours(slot->sub_id, lane));
	(void) pg_atomic_fetch_or_u64(&slot->deferred, SN_LANE_BIT(lane));
	lower(&slot->next_check, (uint64) Max(when, 0));
}

/* sn_hint_keep_lane: a batch of this transaction has the lane, free no more */
void
sn_hint_keep_lane(SnSubSlot *slot, int lane)
{
	Freed	   *mine = slot == NULL ? NULL : find_freed(slot);

	if (mine == NULL)
		return;
	mine->lanes &= ~SN_LANE_BIT(lane);
	mine->with_work &= ~SN_LANE_BIT(lane);
}

/* count_again: what was claimed since then waits again */
static void
count_again(SubTransactionId since)
{
	int			n = 0;
	int			i;

	for (i = 0; i < ncounted; i++)
		if (counted[i].subid < since)
			counted[n++] = counted[i];
		else
		{
			(void) pg_atomic_fetch_add_u64(&counted[i].slot->behind,
										   counted[i].events);
			(void) pg_atomic_fetch_add_u64(&counted[i].slot->behind_on_common,
										   counted[i].on_common);
		}
	ncounted = n;
}

/* keep_gone: subscriptions that were ended since then are there again */
static void
keep_gone(SubTransactionId since)
{
	int			n = 0;
	int			i;

	for (i = 0; i < ngone; i++)
		if (gone[i].subid < since)
			gone[n++] = gone[i];
	ngone = n;
}

/* hints_xact_end: the lanes are free for others from here on */
static void
hints_xact_end(XactEvent event)
{
	int			i;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE)
		return;
	for (i = 0; i < nfreed && event == XACT_EVENT_COMMIT; i++)
	{
		SnSubSlot  *slot = freed[i].slot;
		uint64		after = pg_atomic_fetch_and_u64(&slot->after_batch,
												   ~freed[i].lanes);
		uint64		lanes = (after & freed[i].lanes) | freed[i].with_work;

		if (freed[i].everywhere)
			sn_sub_look_everywhere(slot);	/* it reads another stream */
		else
			set_due(slot, freed[i].with_work);
		(void) pg_atomic_fetch_or_u64(&slot->pending, lanes);
		sn_hint_wake(slot, lanes);
		if (freed[i].sooner && lanes == 0)
			sn_hint_wake(slot, 1);		/* one who sleeps no longer than that */
	}
	for (i = 0; i < ngone && event == XACT_EVENT_COMMIT; i++)
		sn_sub_slot_free(gone[i].sub_id);
	if (event == XACT_EVENT_ABORT)
		count_again(InvalidSubTransactionId);
	nfreed = 0;
	ngone = 0;
	ncounted = 0;
}

static void
hints_subxact_end(SubXactEvent event, SubTransactionId subid)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	count_again(subid);
	keep_gone(subid);
}

static SnXactWatch watch = {.end = hints_xact_end,.sub_end = hints_subxact_end};

/*
 * count_down: so many events wait no longer, and so many do at least.  Returns how
 * many less there are.
 */
static uint64
count_down(pg_atomic_uint64 *waiting, uint64 events, uint64 left)
{
	uint64		old = pg_atomic_read_u64(waiting);
	uint64		now;

	do
		now = Max(left, old > events ? old - events : 0);
	while (!pg_atomic_compare_exchange_u64(waiting, &old, now));
	return old > now ? old - now : 0;
}

/*
 * note_counted: they wait again if this transaction aborts.  Otherwise a queue
 * would look empty where claims are rolled back again and again, and nobody would
 * be set apart.  What does not fit is lost, as all this is a guess.
 */
static void
note_counted(const Counted *more)
{
	Counted    *last = &counted[Max(ncounted - 1, 0)];

	sn_watch_xacts(&watch);
	if (ncounted > 0 && last->slot == more->slot && last->subid == more->subid)
	{
		last->events += more->events;
		last->on_common += more->on_common;
	}
	else if (ncounted < COUNTED_MAX)
		counted[ncounted++] = *more;
}

/*
 * sn_hint_claimed: so many events are behind no longer, some of them in the common
 * track, and so many are at least
 */
void
sn_hint_claimed(SnSubSlot *slot, uint64 events, uint64 on_common, uint64 left)
{
	Counted		less = {.slot = slot};

	if (slot == NULL)
		return;
	if (left == 0 && pg_atomic_read_u64(&slot->pending) == 0 &&
		pg_atomic_read_u64(&slot->after_batch) == 0)
		events = on_common = PG_UINT64_MAX;
	else if (pg_atomic_read_u64(&slot->tracks[SN_TRACK_COMMON]) == 0)
		on_common = PG_UINT64_MAX;
	less.events = count_down(&slot->behind, events, left);
	less.on_common = count_down(&slot->behind_on_common, on_common, 0);
	less.subid = GetCurrentSubTransactionId();
	if (less.events > 0 || less.on_common > 0)
		note_counted(&less);
}

/*
 * sn_hint_drop_at_commit: this transaction ends a subscription; its slot is
 * given up at commit.  One more than fits keeps its slot until the server
 * restarts.
 */
void
sn_hint_drop_at_commit(int sub_id)
{
	sn_watch_xacts(&watch);
	if (ngone == SN_MAX_SUBS)
		return;
	gone[ngone].sub_id = sub_id;
	gone[ngone++].subid = GetCurrentSubTransactionId();
}

/*
 * note_freed: the place for what this transaction does to a subscription, or
 * NULL
 */
static Freed *
note_freed(SnSubSlot *slot)
{
	Freed	   *mine;

	sn_watch_xacts(&watch);
	sn_sub_touched(slot, 0, 0, 0);
	mine = find_freed(slot);
	if (mine == NULL && nfreed < SN_MAX_SUBS)
	{
		mine = &freed[nfreed++];
		memset(mine, 0, sizeof(Freed));
		mine->slot = slot;
	}
	return mine;
}

/*
 * sn_hint_free_at_commit: this transaction gives lanes back, or puts work into
 * them. with_work are those known to have some; all of them, when it gives none
 * back, say that another stream is read.
 */
void
sn_hint_free_at_commit(SnSubSlot *slot, uint64 lanes, uint64 with_work)
{
	Freed	   *mine = slot == NULL ? NULL : note_freed(slot);

	if (mine == NULL)
		return;
	mine->lanes |= lanes;
	mine->with_work |= with_work;
	mine->everywhere = mine->everywhere ||
		(lanes == 0 && with_work == PG_UINT64_MAX);
}

/*
 * sn_hint_check_sooner: leases of these lanes, which this transaction has
 * locked, end sooner than was said.  One that sleeps is woken at commit, to
 * sleep for as long as it is now; the others look anew within a second.
 */
void
sn_hint_check_sooner(SnSubSlot *slot, uint64 lanes, TimestampTz when)
{
	Freed	   *mine = slot == NULL ? NULL : note_freed(slot);

	if (mine == NULL)
		return;
	(void) pg_atomic_fetch_or_u64(&slot->deferred, lanes);
	lower(&slot->next_check, (uint64) Max(when, 0));
	mine->sooner = true;
}

/*
 * sn_hint_unworked: whether nobody works for a subscription that was made at that
 * time: its last claim is long ago, and so is since when claims are noted.  NULL: one
 * without hints, as it has not been claimed from, or as there are too many.  Raises
 * no error.
 */
bool
sn_hint_unworked(SnSubSlot *slot, TimestampTz created_at)
{
	TimestampTz at = Max(created_at, sn_shared()->started_at);

	if (slot != NULL)
		at = Max(at, (TimestampTz) pg_atomic_read_u64(&slot->claimed_at));
	else if (sn_sub_slots_full())
		return false;
	return sn_now() - at >= sn_idle_after * USECS_PER_SEC;
}
