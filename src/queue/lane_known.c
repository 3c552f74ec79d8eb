/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lane_known.c
 *		What this session knows of the lanes it has worked with.
 *
 * seen: a version, so that a scan for the newest one need not go through a
 * whole page of old ones.  One that was never committed does no harm: when
 * nothing is found from there on, the search begins anew.
 *
 * state: what this session itself has appended last.  It is the lane's state
 * as long as the lane's stamp in shared memory says that nobody has appended
 * since; the stamp changes under the lane's lock.  States of transactions that
 * failed, or whose end is another session's business, are forgotten.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"

#include "queue/lane.h"
#include "store/xact_watch.h"

#define KNOWN_LANES 512
#define KNOWN_WORKER_ID 64		/* bytes; a longer one is read again */

typedef struct KnownLane
{
	int			sub_id;
	int			lane;
	int64		seen;
	uint64		stamp;			/* of state; 0: none */
	Oid			journal;		/* that it went to: another CREATE EXTENSION
								 * makes another one */
	SnLaneState state;			/* without resolved and retries */
	bool		has_worker_id;
	char		worker_id[KNOWN_WORKER_ID] pg_attribute_aligned(8);
} KnownLane;

static KnownLane known_lanes[KNOWN_LANES];
static uint32 next_stamp = 0;

/* known_lane: the place for what is known of a lane */
static KnownLane *
known_lane(int sub_id, int lane)
{
	/* unsigned: numbers of subscriptions go up to 2^31, and so would this */
	uint32		place = (uint32) sub_id * SN_MAX_LANES + lane;
	KnownLane  *known = &known_lanes[place % KNOWN_LANES];

	if (known->sub_id != sub_id || known->lane != lane)
	{
		known->sub_id = sub_id;
		known->lane = lane;
		known->seen = 0;
		known->stamp = 0;
	}
	return known;
}

/* sn_lane_seen: the version of a lane that this session saw last; 0: none */
int64 *
sn_lane_seen(int sub_id, int lane)
{
	return &known_lane(sub_id, lane)->seen;
}

/* forget_states: what this session has appended may not be so */
static void
forget_states(void)
{
	int			i;

	for (i = 0; i < KNOWN_LANES; i++)
		known_lanes[i].stamp = 0;
}

static void
lane_xact_end(XactEvent event)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		forget_states();
}

static void
lane_subxact_end(SubXactEvent event, SubTransactionId subid)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_states();
}

static SnXactWatch watch = {.end = lane_xact_end,.sub_end = lane_subxact_end};

/* new_stamp: one that no other session has, nor this one had before */
static uint64
new_stamp(void)
{
	sn_watch_xacts(&watch);
	if (++next_stamp == 0)
	{
		forget_states();
		next_stamp = 1;
	}
	return (uint64) MyProcPid << 32 | next_stamp;
}

/* sn_lane_remember: a state that is being appended */
void
sn_lane_remember(const SnLaneState *state)
{
	SnSubSlot  *slot = sn_sub_slot(state->sub_id);
	KnownLane  *known = known_lane(state->sub_id, state->lane);
	Size		size = state->worker_id ? VARSIZE_ANY(state->worker_id) : 0;

	known->seen = state->ver;
	known->stamp = 0;
	if (slot == NULL)
		return;
	known->stamp = new_stamp();
	pg_atomic_write_u64(&slot->stamps[state->lane], known->stamp);

	/* the others' are worthless now, also where ours is too large to keep */
	if (state->resolved.bytes != NULL || state->nretries > 0 ||
		size > KNOWN_WORKER_ID)
	{
		known->stamp = 0;
		return;
	}
	known->journal = sn_journal_id(SN_LANES);
	known->state = *state;
	known->state.changed = false;
	known->state.worker_id = NULL;
	known->has_worker_id = size > 0;
	if (size > 0)
		memcpy(known->worker_id, state->worker_id, size);
}

/*
 * sn_lane_recall: the state of a lane, if this session was the last to append it
 */
bool
sn_lane_recall(int sub_id, int lane, SnLaneState *state)
{
	const KnownLane *known = known_lane(sub_id, lane);
	SnSubSlot  *slot;
	Size		size;

	if (known->stamp == 0 || known->journal != sn_journal_id(SN_LANES))
		return false;
	slot = sn_sub_slot_find(sub_id);
	if (slot == NULL ||
		pg_atomic_read_u64(&slot->stamps[lane]) != known->stamp)
		return false;
	*state = known->state;
	if (known->has_worker_id)
	{
		size = VARSIZE_ANY(known->worker_id);
		state->worker_id = palloc(size);
		memcpy(state->worker_id, known->worker_id, size);
	}
	return true;
}
