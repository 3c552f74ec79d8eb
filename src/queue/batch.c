/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * batch.c
 *		A batch by its token, and its events.
 *
 * The open events of a batch in a lane are the first of the lane's range that
 * are not resolved (as many as the state says), and the rows of event_retry at
 * the positions the state lists.  While a batch holds a lane, the lane's
 * position stays.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/snapmgr.h"

#include "base/text.h"
#include "queue/batch.h"
#include "queue/lane_track.h"
#include "queue/retry.h"
#include "store/lane_hints.h"
#include "store/lane_share.h"
#include "tenancy/gate.h"

/* sn_batch_stale: the error for a token whose batch somebody else has */
void
sn_batch_stale(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_CONFLICT),
			 errmsg("token is stale"),
			 errdetail("The batch was released or revoked, or its lease ran out and its events were claimed again, or another role claimed it."),
			 errhint("Roll back and claim again.")));
}

/* no_such_token: the error for what is no token here */
static void
no_such_token(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_NOT_FOUND),
			 errmsg("token does not exist")));
}

/*
 * no_such_sub: the same where there is no such subscription.  Who may not work for
 * every tenant is not told whether others have one of that number.
 */
static void
no_such_sub(void)
{
	if (sn_gate_asks() && !sn_gate_may(SN_RIGHT_WORK, NULL))
		sn_refuse_worker_type("work for");
	no_such_token();
}

/* sn_entries_add: room for one more event */
SnEntry *
sn_entries_add(SnEntries *entries)
{
	if (entries->n == entries->room)
	{
		entries->room = Max(entries->room * 2, 128);
		if (entries->items == NULL)
			entries->items = palloc(entries->room * sizeof(SnEntry));
		else
			entries->items = repalloc(entries->items,
									  entries->room * sizeof(SnEntry));
	}
	memset(&entries->items[entries->n], 0, sizeof(SnEntry));
	return &entries->items[entries->n++];
}

/*
 * add_range: the open events of a lane's range, as many as are asked for.
 * Returns how many are missing.
 */
static int
add_range(SnEntries *entries, SnSub *sub, SnLaneState *state, int left,
		  SnLogReader *log, Snapshot snapshot)
{
	SnStreamReader *stream;
	SnPos		pos;
	pg_uuid_t	id;
	int			bit;

	if (left <= 0)
		return 0;
	stream = sn_stream_begin();
	sn_lane_seek(stream, sub, state, snapshot);
	for (bit = 0; left > 0 && sn_stream_next(stream, &pos, &id) &&
		 pos < state->end_pos; bit++)
	{
		SnEntry    *entry;

		if (sn_bits_get(&state->resolved, bit))
			continue;
		left--;
		entry = sn_entries_add(entries);
		entry->event_id = id;
		entry->pos = pos;
		entry->lane = state->lane;
		entry->track = state->track;
		entry->from = state->pos;
		entry->bit = bit;
		entry->attempt = pos < state->lost_pos ? state->lost + 1 : 1;
		if (!sn_log_fetch_at(log, &id, &stream->row_tid))
			continue;
		entry->tenant_id =
			sn_text_copy(sn_log_text_if_any(log, Anum_log_tenant_id));
		entry->aggregate_id =
			sn_text_copy(sn_log_text_if_any(log, Anum_log_aggregate_id));
	}
	sn_stream_end(stream);
	return left;
}

/* add_retries: the rows of event_retry that are in a lane's batch */
static void
add_retries(SnEntries *entries, SnLaneState *state, Snapshot snapshot)
{
	int			i;

	for (i = 0; i < state->nretries; i++)
	{
		SnRetry		retry;
		SnEntry    *entry;

		if (!sn_retry_get(state->sub_id, state->lane, state->retries[i],
						  snapshot, &retry))
			continue;
		entry = sn_entries_add(entries);
		entry->event_id = retry.event_id;
		entry->pos = retry.pos;
		entry->lane = state->lane;
		entry->track = state->track;
		entry->bit = -1;
		entry->attempt = retry.attempt + 1;
		entry->tenant_id = retry.tenant_id;
		entry->aggregate_id = retry.aggregate_id;
	}
}

/* sn_entries_of_lane: add the open events of the batch that holds a lane */
void
sn_entries_of_lane(SnEntries *entries, SnSub *sub, SnLaneState *state,
				   SnLogReader *log, Snapshot snapshot)
{
	add_retries(entries, state, snapshot);
	if (add_range(entries, sub, state, state->open - state->nretries, log,
				  snapshot) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("events of lane %d are missing from the queue",
						state->lane)));
}

/* sn_entries_left: add what the range of a lane has left, in a batch or not */
void
sn_entries_left(SnEntries *entries, SnSub *sub, SnLaneState *state,
				SnLogReader *log, Snapshot snapshot)
{
	(void) add_range(entries, sub, state, PG_INT32_MAX, log, snapshot);
}

/* resolved_in_lane: whether the journal remembers the batch's end in a lane */
static bool
resolved_in_lane(SnBatch *batch, int lane)
{
	SnTracks	tracks = sn_lane_tracks(batch->snapshot);
	int			track;

	foreach_track(track, tracks)
		if (sn_lane_resolved_by(batch->sub, SN_LANE_TRACK(lane, track),
								&batch->token.batch, batch->snapshot))
			return true;
	return false;
}

/* was_resolved: whether it does in every lane */
static bool
was_resolved(SnBatch *batch)
{
	int			i;

	for (i = 0; i < batch->nlanes; i++)
		if (!resolved_in_lane(batch, batch->lanes[i]->lane))
			return false;
	return true;
}

/* sn_is_batch: whether that batch holds a track of a lane, which is held */
bool
sn_is_batch(const SnLaneState *state, const void *batch)
{
	return memcmp(&state->batch, batch, UUID_LEN) == 0;
}

/* add_held: the tracks of a lane that the batch holds; whether there are any */
static bool
add_held(SnBatch *batch, const SnLane *lane)
{
	int			n = batch->nlanes;
	int			track;

	foreach_track(track, lane->tracks)
		if (lane->of[track] != NULL && lane->of[track]->held &&
			sn_is_batch(lane->of[track], &batch->token.batch))
			batch->lanes[batch->nlanes++] = lane->of[track];
	if (batch->nlanes > n)
		return true;
	batch->lanes[batch->nlanes++] = lane->of[SN_TRACK_COMMON];
	return false;
}

/* read_batch_lanes: the states of the token's lanes, which are locked */
static void
read_batch_lanes(SnBatch *batch)
{
	SnLaneReader reader = {false};
	bool		holds = true;
	int			lane;

	batch->lanes = palloc(SN_STRIPS * sizeof(SnLaneState *));
	for (lane = 0; lane < SN_MAX_LANES; lane++)
	{
		SnLane		found;

		if ((batch->token.lanes & SN_LANE_BIT(lane)) == 0)
			continue;
		sn_lane_open_busy(&found, &reader, batch->sub, lane, batch->hints,
						  batch->snapshot);
		holds = add_held(batch, &found) && holds;
	}
	sn_lane_read_end(&reader);
	if (!holds && !was_resolved(batch))
		sn_batch_stale();
	batch->resolved = !holds;
}

/*
 * sn_batch_open: lock the lanes of a token and read their states; an error
 * unless the batch holds all of them, or has been resolved.
 */
void
sn_batch_open(SnBatch *batch, const text *token)
{
	int			lanes = sn_node()->lanes;
	int			lane;

	memset(batch, 0, sizeof(SnBatch));
	if (!sn_token_parse(token, &batch->token) ||
		(lanes < SN_MAX_LANES && batch->token.lanes >> lanes != 0))
		no_such_token();
	batch->sub = sn_sub_by_id(batch->token.sub_id);
	if (batch->sub == NULL || batch->sub->is_relay)
		no_such_sub();
	sn_sub_require_work(batch->sub);
	for (lane = 0; lane < lanes; lane++)
		if (batch->token.lanes & SN_LANE_BIT(lane))
			(void) sn_lock_lane(batch->token.sub_id, lane, true);

	batch->snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!sn_subs_current())
		batch->sub = sn_sub_by_id(batch->token.sub_id);
	if (batch->sub == NULL)
		no_such_token();
	batch->hints = sn_sub_slot(batch->token.sub_id);
	batch->now = sn_now();
	read_batch_lanes(batch);
}

/* sn_batch_lane: the state of one of the batch's lanes */
SnLaneState *
sn_batch_lane(SnBatch *batch, int lane)
{
	int			i;

	for (i = 0; i < batch->nlanes; i++)
		if (batch->lanes[i]->lane == lane)
			return batch->lanes[i];
	elog(ERROR, "lane %d is not in the batch", lane);
	return NULL;
}

/* sn_batch_state: the track that the batch holds for an event */
SnLaneState *
sn_batch_state(SnBatch *batch, const SnEntry *entry)
{
	int			i;

	for (i = 0; i < batch->nlanes; i++)
		if (batch->lanes[i]->lane == entry->lane &&
			batch->lanes[i]->track == entry->track)
			return batch->lanes[i];
	elog(ERROR, "track %d of lane %d is not in the batch", entry->track,
		 entry->lane);
	return NULL;
}

/* sn_batch_count: how many events are open */
int
sn_batch_count(const SnBatch *batch)
{
	int			n = 0;
	int			i;

	for (i = 0; i < batch->nlanes && !batch->resolved; i++)
		n += batch->lanes[i]->open;
	return n;
}

/* still_open: whether a remembered event is open by the lane's state */
static bool
still_open(const SnLaneState *state, const SnEntry *entry)
{
	int			i;

	if (entry->bit >= 0)
		return !sn_bits_get(&state->resolved, entry->bit);
	for (i = 0; i < state->nretries; i++)
		if (state->retries[i] == entry->pos)
			return true;
	return false;
}

/*
 * recall_batch: what this session remembers of the batch; false when it does
 * not
 */
static bool
recall_batch(SnBatch *batch)
{
	const SnEntries *known = sn_batch_known(&batch->token.batch);
	int			i;

	if (known == NULL)
		return false;
	for (i = 0; i < known->n; i++)
	{
		const SnEntry *entry = &known->items[i];
		const SnLaneState *state = sn_batch_state(batch, entry);

		if (entry->bit >= 0 && entry->from != state->pos)
			return false;
		if (still_open(state, entry))
			*sn_entries_add(&batch->open) = *entry;
	}
	return batch->open.n == sn_batch_count(batch);
}

/* sn_batch_load: find the batch's open events */
void
sn_batch_load(SnBatch *batch)
{
	int			i;

	if (batch->loaded || batch->resolved)
		return;
	batch->loaded = true;
	if (recall_batch(batch))
		return;
	batch->open.n = 0;
	if (batch->log == NULL)
		batch->log = sn_log_begin(batch->snapshot);
	for (i = 0; i < batch->nlanes; i++)
		sn_entries_of_lane(&batch->open, batch->sub, batch->lanes[i],
						   batch->log, batch->snapshot);
}

/* drop_retry: take a position out of the list of a lane's retries */
static void
drop_retry(SnLaneState *state, SnPos pos)
{
	int			i;

	for (i = 0; i < state->nretries; i++)
		if (state->retries[i] == pos)
		{
			state->retries[i] = state->retries[--state->nretries];
			return;
		}
	Assert(false);
}

/* sn_batch_drop: an event is no longer open in the batch */
void
sn_batch_drop(SnBatch *batch, const SnEntry *entry)
{
	SnLaneState *state = sn_batch_state(batch, entry);

	if (entry->bit < 0)
		drop_retry(state, entry->pos);
	else
	{
		if (state->resolved.bytes == NULL)
			sn_bits_make(&state->resolved, state->open - state->nretries);
		Assert(!sn_bits_get(&state->resolved, entry->bit));
		sn_bits_set(&state->resolved, entry->bit);
	}
	state->open--;
	state->changed = true;
}

/* sn_entry_wait: an event of a lane's range goes to event_retry, due now */
void
sn_entry_wait(SnLaneState *state, const SnEntry *entry, int32 hash,
			  TimestampTz now)
{
	SnRetry		retry = {
		.sub_id = state->sub_id,
		.lane = entry->lane,
		.pos = entry->pos,
		.event_id = entry->event_id,
		.hash = hash,
		.attempt = entry->attempt - 1,
		.solo = entry->attempt > 1,
		.has_due = true,
		.due_at = now,
		.tenant_id = entry->tenant_id,
		.aggregate_id = entry->aggregate_id,
	};

	sn_retry_put(&retry, true);
	sn_lane_count(state, 1, 0);
}

/*
 * sn_batch_give_back: the batch gives up its lanes with what is open.  An event
 * whose key has a later one in event_retry, because that was failed first, goes
 * there, too: nothing else keeps the later one behind it.
 */
void
sn_batch_give_back(SnBatch *batch)
{
	SnRetryProbe probe = {false};
	bool		waiting = false;
	int			i;

	for (i = 0; i < batch->nlanes; i++)
		waiting = waiting ||
			sn_lane_whole(batch->lanes[i])->parked > 0;
	if (waiting && batch->sub->ordered)
		sn_batch_load(batch);
	for (i = 0; i < batch->open.n; i++)
	{
		const SnEntry *entry = &batch->open.items[i];
		int32		hash;

		if (entry->bit >= 0 &&
			sn_retry_blocks(&probe, batch->sub->sub_id, entry->lane,
							entry->tenant_id, entry->aggregate_id,
							batch->snapshot, &hash))
		{
			sn_entry_wait(sn_batch_state(batch, entry), entry, hash,
						  batch->now);
			sn_batch_drop(batch, entry);
		}
	}
	sn_retry_probe_end(&probe);
	for (i = 0; i < batch->nlanes; i++)
	{
		batch->lanes[i]->done = false;
		sn_lane_release(batch->lanes[i]);
	}
}

/* resolve_lane: the batch gives the lane back, with nothing of it open */
static void
resolve_lane(SnLaneState *state)
{
	state->done = true;
	state->done_batch = state->batch;
	if (state->resolved.bytes == NULL)
		state->pos = state->end_pos;
	sn_lane_release(state);
}

/* sn_batch_free: the batch holds its lanes no longer; with_work: those that have */
void
sn_batch_free(SnBatch *batch, uint64 with_work)
{
	sn_hint_free_at_commit(batch->hints, batch->token.lanes, with_work);
	if (sn_sub_shares(batch->sub, batch->hints))
		sn_share_free_at_commit(batch->hints, batch->token.lanes);
}

/*
 * sn_batch_append: store the states that changed; when nothing is open any
 * more, the batch gives all its lanes back.
 */
void
sn_batch_append(SnBatch *batch)
{
	SnLaneAppender appender = {NULL};
	uint64		with_work = 0;
	int			i;

	batch->resolved = sn_batch_count(batch) == 0;
	for (i = 0; i < batch->nlanes; i++)
	{
		SnLaneState *state = batch->lanes[i];

		if (batch->resolved)
			resolve_lane(state);
		else if (!state->changed)
			continue;
		if (sn_lane_whole(state)->parked > 0 || state->pos < state->end_pos)
			with_work |= SN_LANE_BIT(state->lane);
		sn_lane_append(&appender, state);
	}
	sn_lane_append_end(&appender);
	if (batch->resolved)
		sn_batch_free(batch, with_work);
}

/* sn_batch_close: end of the work with a batch */
void
sn_batch_close(SnBatch *batch)
{
	if (batch->log != NULL)
		sn_log_end(batch->log);
	batch->log = NULL;
	UnregisterSnapshot(batch->snapshot);
	CommandCounterIncrement();
}
