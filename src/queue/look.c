/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * look.c
 *		What a lane has, without claiming it: for those who wait, and for
 *		maintenance.
 *
 * A lane that has nothing for its subscription but events that are not wanted
 * (of other types, while it reads the log of all; about its own failures; from
 * before its start) is passed here, since no claim will come for them: they
 * would be lag, and retention would wait for them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "queue/claim.h"
#include "queue/look.h"
#include "sequencer/sequencer.h"
#include "store/lane_hints.h"

#define EVENTS_AT_ONCE	5000	/* looked at in a step of maintenance */

/* is_free: whether no earlier event of its key is in the fetched one's way */
static bool
is_free(const SnSub *sub, const SnLaneState *state, SnLogReader *log,
		SnRetryProbe *probe)
{
	int32		hash;

	return !sub->ordered || state->parked == 0 ||
		!sn_retry_blocks(probe, sub->sub_id, state->lane,
						 sn_log_text(log, Anum_log_tenant_id),
						 sn_log_text(log, Anum_log_aggregate_id),
						 log->snapshot, &hash);
}

/*
 * has_new: whether the lane has an event to hand out that is no retry.  After
 * so many that a claim would only pass, it is time for one that does.
 */
static bool
has_new(SnSub *sub, SnLaneLook *look, Snapshot snapshot, int *budget)
{
	const SnLaneState *state = &look->state;
	SnStreamReader *stream = sn_stream_begin();
	SnLogReader *log = sn_log_begin(snapshot);
	SnRetryProbe probe = {false};
	bool		passing = state->pos == state->end_pos &&
		state->resolved.bytes == NULL;
	SnPos		pos;
	pg_uuid_t	id;
	bool		found = false;
	int			i;

	sn_sub_sources(sub, snapshot);
	sn_stream_seek(stream, sub->sources, sub->nsources, state->lane,
				   state->pos, snapshot);
	for (i = 0; !found && sn_stream_next(stream, &pos, &id); i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (pos < state->end_pos && sn_bits_get(&state->resolved, i))
			continue;
		if (*budget <= 0)
			found = true;
		else if (sn_log_fetch_at(log, &id, &stream->place) &&
				 sn_wanted(sub, stream->filter, log))
		{
			passing = false;
			found = is_free(sub, state, log, &probe);
		}
		else if (passing)
			look->passed = pos + 1;
		(*budget)--;
	}
	sn_retry_probe_end(&probe);
	sn_log_end(log);
	sn_stream_end(stream);
	return found;
}

/*
 * sn_look_at_lane: what a claim would find in the lane.  budget is how many
 * events to look at, and gets less; where it ends, the lane counts as ready.
 */
void
sn_look_at_lane(SnSub *sub, int lane, TimestampTz now, int *budget,
				SnLaneLook *look)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	memset(look, 0, sizeof(SnLaneLook));
	sn_lane_read(sub, lane, snapshot, &look->state);
	if (look->state.held)
	{
		look->when = look->state.lease_until;
		look->ready = look->when <= now;
	}
	else
	{
		look->when = look->state.parked == 0 ? DT_NOEND :
			sn_retry_next_due(sub->sub_id, lane, DT_NOBEGIN, snapshot);
		look->ready = look->when <= now ||
			has_new(sub, look, snapshot, budget);
	}
	UnregisterSnapshot(snapshot);
}

/* pass: the lane's position goes where all before is unwanted */
static void
pass(SnLaneLook *look)
{
	SnLaneAppender appender = {NULL};

	look->state.pos = look->state.end_pos = look->passed;
	sn_lane_release(&look->state);
	sn_lane_append(&appender, &look->state);
	sn_lane_append_end(&appender);
	CommandCounterIncrement();
}

/* hint_found: say in the hints what was found under the lane's lock */
static void
hint_found(SnSubSlot *hints, int lane, const SnLaneLook *look)
{
	if (look->ready)
		sn_hint_set(hints, lane);
	else if (look->when != DT_NOEND)
	{
		sn_hint_pending_after_batch(hints, lane);
		sn_hint_defer_until(hints, lane, look->when);
	}
}

/*
 * sn_look_and_pass: look again under the lane's lock, say so in the hints, and
 * pass what is unwanted.  Whether there is work.  The lock is kept until the
 * end of the transaction if something was written.
 */
bool
sn_look_and_pass(SnSub *sub, SnSubSlot *hints, int lane, TimestampTz now,
				 int *budget, bool may_write)
{
	SnLaneLook	look;

	if (!sn_lock_lane(sub->sub_id, lane, false))
	{
		sn_hint_mark_blocked(hints, lane);
		if (!sn_lock_lane(sub->sub_id, lane, false))
			return false;
	}
	sn_hint_clear(hints, lane);
	if (!sn_subs_current())
	{
		sn_hint_set(hints, lane);
		sn_unlock_lane(sub->sub_id, lane);
		return false;
	}
	sn_look_at_lane(sub, lane, now, budget, &look);
	hint_found(hints, lane, &look);
	if (look.passed > look.state.pos && may_write)
	{
		/* who waits has no snapshot, and a row may need one to be stored */
		PushActiveSnapshot(GetTransactionSnapshot());
		pass(&look);
		PopActiveSnapshot();
	}
	else
	{
		if (look.passed > look.state.pos)
			sn_hint_set(hints, lane); /* for one who may */
		sn_unlock_lane(sub->sub_id, lane);
	}
	return look.ready;
}

/* Where the next step of maintenance goes on */
static int	next_sub = 0;		/* least number not looked at yet */
static int	next_lane = 0;

/*
 * pass_unwanted_of: the lanes of a subscription, as far as the budget goes.
 * One that was passed and has more is looked at again.
 */
static void
pass_unwanted_of(SnSub *sub, int *budget)
{
	SnSubSlot  *hints = sn_sub_slot_find(sub->sub_id);
	TimestampTz now = sn_now();
	uint64		pending = sn_hint_pending(hints, now);
	int			lanes = sn_node()->lanes;

	while (next_lane < lanes && *budget > 0)
	{
		int			left = SN_LOOK_MAX;
		SnLaneLook	look = {false};

		CHECK_FOR_INTERRUPTS();
		if (pending & SN_LANE_BIT(next_lane))
		{
			sn_look_at_lane(sub, next_lane, now, &left, &look);
			*budget -= 1 + SN_LOOK_MAX - left;
		}
		left = SN_LOOK_MAX;
		if (look.passed == 0 ||
			!sn_look_and_pass(sub, hints, next_lane, now, &left, true))
			next_lane++;
	}
}

/*
 * sn_pass_unwanted_step: have subscriptions that nobody waits for pass what
 * they do not want.  One subscription at a time, for its locks.
 */
bool
sn_pass_unwanted_step(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "sentinai unwanted",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	int			least = PG_INT32_MAX;
	int			budget = EVENTS_AT_ONCE;
	SnSub	   *sub;
	ListCell   *lc;

	foreach(lc, sn_sub_ids())
		if (lfirst_int(lc) >= next_sub)
			least = Min(least, lfirst_int(lc));
	if (least != next_sub)
		next_lane = 0;
	next_sub = least;
	sub = least == PG_INT32_MAX ? NULL : sn_sub_by_id(least);
	if (sub != NULL && !sub->is_relay)
		pass_unwanted_of(sub, &budget);
	else
		next_lane = SN_MAX_LANES;
	if (next_lane >= sn_node()->lanes)
	{
		next_sub = least == PG_INT32_MAX ? 0 : least + 1;
		next_lane = 0;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return next_sub != 0;
}
