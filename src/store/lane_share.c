/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lane_share.c
 *		Counts the lanes that a role holds, for subscriptions that allow one
 *		role only some of them.
 *
 * SnSubSlot.holders has a word for each lane: the role whose batch has it, and
 * the second in which the lease is over.  Whoever changes a word holds the lane's
 * lock, and to count and to take is one step under the lock of the slots: so two
 * claims of a role that run at the same time get no more than one would.
 *
 * A lane is taken at once, as others must count it; it is given back when the
 * transaction has committed, as until then it may turn out to be held still.
 * Within the transaction it is free already.  What was taken and given back is
 * noted, and undone when the transaction or its savepoint is rolled back: then
 * the locks of the lanes are still there.  How a prepared transaction ends is not
 * seen here.  So what it has taken or given back counts, but is not sure any more:
 * whoever needs the lane looks what that says (queue/share.c).
 *
 * Nothing here is stored.  After a restart of the server the batches of before
 * do not count.
 */
#include "postgres.h"

#include "access/xact.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"

#include "store/lane_hints.h"
#include "store/lane_share.h"
#include "store/xact_watch.h"

/* What this transaction did to a lane */
typedef struct Note
{
	SnSubSlot  *slot;
	int			sub_id;			/* that the slot was for */
	int			lane;
	int			level;			/* of the transaction's nesting */
	bool		frees;
	uint64		before;
	uint64		after;
} Note;

static Note *notes = NULL;
static int	nnotes = 0;
static int	room = 0;

/* holder_word: role and end of a lease; the second is not over before the lease */
static uint64
holder_word(Oid role, TimestampTz until)
{
	return (uint64) role << 32 |
		(uint32) (Max(until, 0) / USECS_PER_SEC + 1);
}

/* word_until: when a word counts no longer */
static TimestampTz
word_until(uint64 word)
{
	return (TimestampTz) (uint32) word * USECS_PER_SEC;
}

/* put_word: the word of a noted lane, unless the slot has become another's */
static void
put_word(const Note *note, uint64 word)
{
	if (note->slot->sub_id == note->sub_id)
		pg_atomic_write_u64(&note->slot->holders[note->lane], word);
}

/* undo: take back what was noted from a level on, the last first */
static void
undo(int level)
{
	while (nnotes > 0 && notes[nnotes - 1].level >= level)
	{
		nnotes--;
		put_word(&notes[nnotes], notes[nnotes].before);
	}
}

/* wake_waiting: a share has room again */
static void
wake_waiting(SnSubSlot *slot)
{
	if (pg_atomic_read_u32(&slot->waiters) > 0)
		ConditionVariableBroadcast(&slot->cv);
}

static void
share_xact_end(XactEvent event)
{
	int			i;

	switch (event)
	{
		case XACT_EVENT_COMMIT:
			for (i = 0; i < nnotes; i++)
				put_word(&notes[i], notes[i].after);
			for (i = 0; i < nnotes; i++)
				if (notes[i].frees &&
					(i == 0 || notes[i - 1].slot != notes[i].slot))
					wake_waiting(notes[i].slot);
			break;
		case XACT_EVENT_ABORT:
			undo(0);
			break;
		case XACT_EVENT_PREPARE:
			for (i = 0; i < nnotes; i++)
				if (notes[i].slot->sub_id == notes[i].sub_id)
					pg_atomic_fetch_or_u64(&notes[i].slot->unsure,
										   SN_LANE_BIT(notes[i].lane));
			break;
		default:
			return;
	}
	nnotes = 0;
}

static void
share_subxact_end(SubXactEvent event, SubTransactionId subid)
{
	int			level = GetCurrentTransactionNestLevel();
	int			i;

	if (event == SUBXACT_EVENT_ABORT_SUB)
		undo(level);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (i = nnotes - 1; i >= 0 && notes[i].level >= level; i--)
			notes[i].level = level - 1;
}

static SnXactWatch watch = {.end = share_xact_end,.sub_end = share_subxact_end};

/* room_for_notes: for so many notes more; nothing is changed before that is there */
static void
room_for_notes(int more)
{
	if (notes == NULL)
	{
		room = 4 * SN_MAX_LANES;
		notes = MemoryContextAlloc(TopMemoryContext, room * sizeof(Note));
		sn_watch_xacts(&watch);
	}
	if (nnotes + more > room)
	{
		notes = repalloc(notes, 2 * room * sizeof(Note));
		room *= 2;
	}
}

/* add_note: a lane has another word, or will have it at commit */
static void
add_note(SnSubSlot *slot, int lane, bool frees, uint64 after)
{
	Note	   *note = &notes[nnotes++];

	note->slot = slot;
	note->sub_id = slot->sub_id;
	note->lane = lane;
	note->level = GetCurrentTransactionNestLevel();
	note->frees = frees;
	note->before = pg_atomic_read_u64(&slot->holders[lane]);
	note->after = after;
}

/* changed_here: the lanes that this transaction has taken or given back */
static uint64
changed_here(const SnSubSlot *slot)
{
	uint64		result = 0;
	int			i;

	for (i = 0; i < nnotes; i++)
		if (notes[i].slot == slot)
			result |= SN_LANE_BIT(notes[i].lane);
	return result;
}

/* freed_here: those that it has given back in the end */
static uint64
freed_here(const SnSubSlot *slot)
{
	uint64		result = 0;
	int			i;

	for (i = 0; i < nnotes; i++)
	{
		if (notes[i].slot != slot)
			continue;
		if (notes[i].frees)
			result |= SN_LANE_BIT(notes[i].lane);
		else
			result &= ~SN_LANE_BIT(notes[i].lane);
	}
	return result;
}

/* held: the lanes of a role whose leases run; the first end of one, if asked for */
static uint64
held(SnSubSlot *slot, Oid role, TimestampTz now, TimestampTz *first_end)
{
	uint64		freed = freed_here(slot);
	uint64		result = 0;
	int			lane;

	for (lane = 0; lane < SN_MAX_LANES; lane++)
	{
		uint64		word = pg_atomic_read_u64(&slot->holders[lane]);
		TimestampTz until = word_until(word);

		if ((Oid) (word >> 32) != role || until <= now ||
			(freed & SN_LANE_BIT(lane)) != 0)
			continue;
		result |= SN_LANE_BIT(lane);
		if (first_end != NULL && until < *first_end)
			*first_end = until;
	}
	return result;
}

/*
 * sn_share_take: lanes that the caller has locked become the role's until the
 * lease is over, if its share has room for those that it does not hold already.
 * Either all of them or none.
 */
bool
sn_share_take(const SnShareClaim *claim, uint64 lanes)
{
	SnSubSlot  *slot = claim->slot;
	uint64		has;
	bool		fits;
	int			lane;

	room_for_notes(SN_MAX_LANES);
	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	has = held(slot, claim->role, claim->now, NULL);
	fits = (lanes & ~has) == 0 ||
		pg_popcount64(has | lanes) <= claim->max_lanes;
	for (lane = 0; fits && lane < SN_MAX_LANES; lane++)
	{
		uint64		word = holder_word(claim->role, claim->lease_until);

		if ((lanes & SN_LANE_BIT(lane)) == 0)
			continue;
		add_note(slot, lane, false, word);
		pg_atomic_write_u64(&slot->holders[lane], word);
	}
	LWLockRelease(&sn_shared()->lock);
	return fits;
}

/*
 * sn_share_put_back: the lane that was taken last is not wanted; its lock is
 * about to go
 */
void
sn_share_put_back(SnSubSlot *slot, int lane)
{
	Assert(nnotes > 0 && notes[nnotes - 1].slot == slot);
	Assert(notes[nnotes - 1].lane == lane && !notes[nnotes - 1].frees);
	nnotes--;
	put_word(&notes[nnotes], notes[nnotes].before);
}

/* sn_share_free_at_commit: nobody holds these lanes once the transaction commits */
void
sn_share_free_at_commit(SnSubSlot *slot, uint64 lanes)
{
	int			lane;

	room_for_notes(SN_MAX_LANES);
	for (lane = 0; lane < SN_MAX_LANES; lane++)
		if ((lanes & SN_LANE_BIT(lane)) != 0)
			add_note(slot, lane, true, 0);
}

/*
 * sn_share_unsure: lanes that count, though a prepared transaction may have given
 * them back, or not have taken them in the end
 */
uint64
sn_share_unsure(SnSubSlot *slot)
{
	uint64		unsure = pg_atomic_read_u64(&slot->unsure);

	return unsure == 0 ? 0 : unsure & ~changed_here(slot);
}

/*
 * sn_share_settle: until when such a lane is held, 0: it is not; the caller has its
 * lock.  Who extends a lease, or takes a lane whose lease is over, has put a later
 * end there than it has when that is rolled back.
 */
void
sn_share_settle(SnSubSlot *slot, int lane, TimestampTz lease_until)
{
	Oid			role = pg_atomic_read_u64(&slot->holders[lane]) >> 32;

	pg_atomic_write_u64(&slot->holders[lane], lease_until == 0 ? 0 :
						holder_word(role, lease_until));
	(void) pg_atomic_fetch_and_u64(&slot->unsure, ~SN_LANE_BIT(lane));
}

/*
 * sn_share_until: when a role whose share is used up may have a lane again, if no
 * batch ends before; DT_NOBEGIN: there is room
 */
TimestampTz
sn_share_until(SnSubSlot *slot, Oid role, int max_lanes, TimestampTz now)
{
	TimestampTz first_end = DT_NOEND;

	if (pg_popcount64(held(slot, role, now, &first_end)) < max_lanes)
		return DT_NOBEGIN;
	return first_end;
}
