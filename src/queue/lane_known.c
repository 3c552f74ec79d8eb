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
 * state: what this session itself has appended last.  It is the track's state
 * as long as the lane's stamp in shared memory says that nobody has appended
 * since, to this track or another; the stamp changes under the lane's lock.
 * States of transactions that failed, or whose end is another session's
 * business, are forgotten.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"

#include "queue/lane.h"
#include "store/xact_watch.h"

#define KNOWN_LANES 512
#define KNOWN_TRACKS (KNOWN_LANES / SN_MAX_LANES)	/* of a lane, at a time */
#define KNOWN_WORKER_ID 64		/* bytes; a longer one is read again */

typedef struct KnownLane
{
	int			sub_id;
	int			strip;
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
static bool tracks_known = false;	/* others than common ones are */

/*
 * known_place: the place for what is known of a strip.  Those of a subscription
 * have places of their own, as long as no more than eight are in use; and so have
 * the common tracks of eight subscriptions in a row.
 */
static KnownLane *
known_place(int sub_id, int strip)
{
	/* unsigned: numbers of subscriptions go up to 2^31, and so would this */
	uint32		place = ((uint32) sub_id + 5 * SN_STRIP_TRACK(strip)) *
		SN_MAX_LANES + SN_STRIP_LANE(strip);

	return &known_lanes[place % KNOWN_LANES];
}

/* known_lane_if: what is known of a strip, or NULL */
static KnownLane *
known_lane_if(int sub_id, int strip)
{
	KnownLane  *known = known_place(sub_id, strip);

	return known->sub_id == sub_id && known->strip == strip ? known : NULL;
}

/* known_lane: the place for what is known of a strip, which is its own then */
static KnownLane *
known_lane(int sub_id, int strip)
{
	KnownLane  *known = known_lane_if(sub_id, strip);

	if (known == NULL)
	{
		known = known_place(sub_id, strip);
		known->sub_id = sub_id;
		known->strip = strip;
		known->seen = 0;
		known->stamp = 0;
	}
	return known;
}

/* sn_lane_seen: the version of a strip that this session saw last; 0: none */
int64 *
sn_lane_seen(int sub_id, int strip)
{
	return &known_lane(sub_id, strip)->seen;
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

/*
 * put_stamp: a track of a lane is appended to.  What is known of its other tracks
 * goes on to be so, if it was until now.
 */
static uint64
put_stamp(SnSubSlot *slot, const SnLaneState *state)
{
	uint64		before = pg_atomic_read_u64(&slot->stamps[state->lane]);
	uint64		stamp = new_stamp();
	int			track;

	pg_atomic_write_u64(&slot->stamps[state->lane], stamp);
	tracks_known = tracks_known || state->track != SN_TRACK_COMMON;
	/* the first tracks have all the places that any have */
	for (track = 0; tracks_known && before != 0 && track < KNOWN_TRACKS; track++)
	{
		KnownLane  *other = known_place(state->sub_id,
										SN_LANE_TRACK(state->lane, track));

		if (other->sub_id == state->sub_id &&
			SN_STRIP_LANE(other->strip) == state->lane && other->stamp == before)
			other->stamp = stamp;
	}
	return stamp;
}

/* sn_lane_remember: a state that is being appended; slot may be NULL */
void
sn_lane_remember(const SnLaneState *state, SnSubSlot *slot)
{
	int			strip = SN_LANE_TRACK(state->lane, state->track);
	KnownLane  *known = known_lane(state->sub_id, strip);
	Size		size = state->worker_id ? VARSIZE_ANY(state->worker_id) : 0;

	known->seen = state->ver;
	known->stamp = 0;
	if (slot == NULL)
		return;
	known->stamp = put_stamp(slot, state);

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
	known->state.whole = NULL;
	known->has_worker_id = size > 0;
	if (size > 0)
		memcpy(known->worker_id, state->worker_id, size);
}

/*
 * sn_lane_recall: the state of a strip, if this session was the last to append it
 */
bool
sn_lane_recall(int sub_id, int strip, SnLaneState *state)
{
	const KnownLane *known = known_lane(sub_id, strip);
	SnSubSlot  *slot;
	Size		size;

	if (known->stamp == 0 || known->journal != sn_journal_id(SN_LANES))
		return false;
	slot = sn_sub_slot_find(sub_id);
	if (slot == NULL ||
		pg_atomic_read_u64(&slot->stamps[SN_STRIP_LANE(strip)]) != known->stamp)
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
