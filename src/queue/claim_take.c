/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * claim_take.c
 *		What a claim takes from a lane: due retries, and what comes next in a
 *		track of the stream.  Where there is much of both each gets half.
 *
 * Everything runs under the lane's lock.  The events taken from the lane's
 * range are always the first of it that are not resolved; batch.c relies on it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "queue/claim_work.h"
#include "queue/dead_letter.h"
#include "queue/lane_track.h"
#include "queue/wanted.h"

/* What one claim passes at most without taking it */
#define MAX_PARKED		20000
#define MAX_UNWANTED	200000

/* What becomes of an event that was read */
typedef enum Fate
{
	FATE_TAKEN,
	FATE_PASSED,				/* not wanted, or moved to event_retry */
	FATE_LEFT					/* for another claim */
} Fate;

/* A bitmap that grows */
typedef struct Builder
{
	SnBits		bits;
	int			n;
	int			room;			/* bytes */
	bool		any_set;
} Builder;

/* add_bit: one more event of the lane's range */
static void
add_bit(Builder *builder, bool set)
{
	if (builder->n / 8 >= builder->room)
	{
		int			room = Max(builder->room * 2, 32);

		if (builder->room == 0)
			builder->bits.bytes = palloc0(room);
		else
		{
			builder->bits.bytes = repalloc(builder->bits.bytes, room);
			memset(builder->bits.bytes + builder->room, 0,
				   room - builder->room);
		}
		builder->room = room;
	}
	builder->bits.nbytes = builder->n / 8 + 1;
	if (set)
		sn_bits_set(&builder->bits, builder->n);
	builder->any_set = builder->any_set || set;
	builder->n++;
}

/* keep_key: the entry remembers its key, in the batch's memory */
static void
keep_key(SnClaim *claim, SnEntry *entry, const text *tenant_id,
		 const text *aggregate_id)
{
	Size		size = VARSIZE_ANY(tenant_id);

	entry->tenant_id = MemoryContextAlloc(claim->memory, size);
	memcpy(entry->tenant_id, tenant_id, size);
	if (aggregate_id == NULL)
		return;
	size = VARSIZE_ANY(aggregate_id);
	entry->aggregate_id = MemoryContextAlloc(claim->memory, size);
	memcpy(entry->aggregate_id, aggregate_id, size);
}

/*
 * take_retry: a row of event_retry joins the batch, unless its event is gone
 * (passed) or cannot be handed out (left).
 */
static Fate
take_retry(SnClaim *claim, SnClaimLook *look, const SnRetry *retry)
{
	SnLaneState *state = look->state;
	SnLogRef	ref = {-1};
	SnEventRow	row;
	SnEntry    *entry;

	if (sn_log_fetch(claim->log, &retry->event_id))
	{
		if (!sn_claim_readable(claim))
			return FATE_LEFT;
		sn_log_ref(claim->log, &ref);
	}
	else if (!sn_dead_letter_event(&retry->event_id, claim->sub->worker_type,
								   claim->snapshot, &row))
		return FATE_PASSED;
	else if (!sn_row_readable(&row))
		return FATE_LEFT;
	entry = sn_claim_add(claim, look, &retry->event_id, retry->pos);
	claim->refs[claim->entries.n - 1] = ref;
	entry->bit = -1;
	entry->attempt = retry->attempt + 1;
	keep_key(claim, entry, retry->tenant_id, retry->aggregate_id);

	if (state->nretries == 0)
		state->retries = palloc(claim->max * sizeof(SnPos));
	state->retries[state->nretries++] = retry->pos;
	claim->solo = claim->solo || retry->solo;
	claim->enough = claim->enough || claim->log->nparts >= SN_LOG_PARTS_MAX;
	return FATE_TAKEN;
}

/*
 * take_followers: the rows behind a head that only waited itself, as far as
 * they only waited, too.
 */
static void
take_followers(SnClaim *claim, SnClaimLook *look, const SnRetry *head)
{
	SnRetry		next = *head;

	while (!sn_claim_full(claim) &&
		   sn_retry_head(&claim->probe, head->sub_id, head->lane, head->hash,
						 head->tenant_id, head->aggregate_id, next.pos,
						 claim->snapshot, &next))
	{
		if (next.attempt > 0 || next.solo || next.dead)
			break;
		if (take_retry(claim, look, &next) != FATE_TAKEN)
			break;
	}
}

/* take_head: what a due head is good for */
static Fate
take_head(SnClaim *claim, SnClaimLook *look, const SnRetry *head)
{
	Fate		fate;

	if (head->solo && claim->entries.n > 0)
	{
		claim->skipped = SN_LANE_TRACK(look->state->lane, look->state->track);
		look->more = true;
		return FATE_TAKEN;		/* by the next claim */
	}
	fate = take_retry(claim, look, head);
	if (fate == FATE_TAKEN && claim->sub->ordered && head->attempt == 0 &&
		!head->solo)
		take_followers(claim, look, head);
	return fate;
}

/* A list of rows of event_retry */
typedef struct Rows
{
	SnRetry    *rows;
	int			n;
} Rows;

/* add_to: one row more */
static void
add_to(Rows *list, const SnRetry *row)
{
	if (list->n == 0)
		list->rows = palloc(sizeof(SnRetry));
	else
		list->rows = repalloc(list->rows, (list->n + 1) * sizeof(SnRetry));
	list->rows[list->n++] = *row;
}

/*
 * drop_gone: the log has lost them, and there is nothing left to hand out.
 * Nothing that comes may be parked behind them, so the snapshot is a new one.
 */
static void
drop_gone(SnClaim *claim, SnClaimLook *look, const Rows *gone)
{
	SnLaneState *state = look->state;

	sn_retry_remove(gone->rows, gone->n, claim->sub->ordered, claim->now);
	claim->gone += gone->n;
	sn_claim_new_snapshot(claim);
	sn_lane_count(state, -gone->n, 0);
	look->more = true;
}

/* give_up_unreadable: they cannot be handed out */
static void
give_up_unreadable(SnClaim *claim, SnClaimLook *look, const Rows *unreadable)
{
	int			i;

	for (i = 0; i < unreadable->n; i++)
	{
		const SnRetry *row = &unreadable->rows[i];
		SnEntry		entry = {
			.event_id = row->event_id,
			.pos = row->pos,
			.lane = row->lane,
			.bit = -1,
			.attempt = row->attempt + 1,
		};

		sn_claim_give_up(claim, look, &entry);
	}
	look->more = true;
}

/*
 * walk_due: take what is due of the track's retries, behind those that were
 * looked at before.  Those that cannot be handed out go to the lists.  After
 * very many of other tracks it is their turn first.
 */
static void
walk_due(SnClaim *claim, SnClaimLook *look, Rows *gone, Rows *unreadable)
{
	bool		again = ItemPointerIsValid(&look->last_tid);
	int			others = 0;
	SnScan		scan;

	look->due_left = false;
	sn_retry_scan_due(&scan, claim->sub->sub_id, look->state->lane,
					  again ? look->last_due : DT_NOBEGIN, claim->now,
					  claim->snapshot);
	while (!look->due_left && sn_scan_next(&scan))
	{
		SnRetry		head;
		Fate		fate;

		sn_retry_read(&scan, &head);
		if (again && head.due_at == look->last_due &&
			ItemPointerCompare(&head.tid, &look->last_tid) <= 0)
			continue;
		if (sn_lane_retry_track(&look->lane, &head, claim->stream,
								claim->snapshot) != look->state->track)
		{
			look->due_left = ++others >= SN_DUE_LOOKED_AT;
			continue;
		}
		look->due_left = sn_claim_full(claim);
		if (look->due_left)
			break;
		fate = take_head(claim, look, &head);
		if (fate != FATE_TAKEN)
			add_to(fate == FATE_PASSED ? gone : unreadable, &head);
		look->last_due = head.due_at;
		look->last_tid = head.tid;
	}
	look->more = look->more || look->due_left;
	sn_scan_end(&scan);
}

/* sn_claim_note_due: when a retry of the lane is due that is not yet */
void
sn_claim_note_due(SnClaim *claim, SnClaimLook *look)
{
	TimestampTz next_due = sn_retry_next_due(claim->sub->sub_id,
											 look->lane.lane, claim->now,
											 claim->snapshot);

	look->next_due = next_due == DT_NOEND ? 0 : next_due;
}

/* sn_claim_take_retries: take what is due of the lane's retries, so many at most */
void
sn_claim_take_retries(SnClaim *claim, SnClaimLook *look, int n)
{
	int			limit = claim->limit;
	Rows		gone = {NULL};
	Rows		unreadable = {NULL};

	claim->limit = Min(limit, claim->entries.n + n);
	walk_due(claim, look, &gone, &unreadable);
	claim->limit = limit;
	sn_claim_note_due(claim, look);
	if (gone.n > 0)
		drop_gone(claim, look, &gone);
	if (unreadable.n > 0)
		give_up_unreadable(claim, look, &unreadable);
}

/*
 * sn_claim_take_more_retries: take more of them, when what is new has left room.
 * Those that cannot be handed out stay for the next claim: what is new may have
 * been parked behind them by this one.
 */
void
sn_claim_take_more_retries(SnClaim *claim, SnClaimLook *look)
{
	Rows		gone = {NULL};
	Rows		unreadable = {NULL};

	walk_due(claim, look, &gone, &unreadable);
	if (gone.n > 0 || unreadable.n > 0)
		look->more = true;
}

/* fill_parked: the row of event_retry for the fetched event */
static void
fill_parked(SnClaim *claim, SnLaneState *state, SnPos pos,
			const pg_uuid_t *id, SnRetry *retry)
{
	SnLogReader *log = claim->log;
	bool		lost = pos < state->lost_pos;
	bool		isnull;

	memset(retry, 0, sizeof(SnRetry));
	retry->sub_id = claim->sub->sub_id;
	retry->lane = state->lane;
	retry->pos = pos;
	retry->event_id = *id;
	retry->hash = DatumGetInt32(sn_log_datum(log, Anum_log_partition_hash,
											 &isnull));
	retry->tenant_id = sn_log_text(log, Anum_log_tenant_id);
	retry->aggregate_id = sn_log_text(log, Anum_log_aggregate_id);
	retry->attempt = lost ? state->lost : 0;
	retry->solo = lost;
}

/*
 * park_taken: move the fetched event to event_retry if its key is blocked.  It
 * waits behind the head of its key; coming before it, it becomes the head
 * itself.  One that lacks a column may have no key, and does not wait to be given
 * up.
 */
static bool
park_taken(SnClaim *claim, SnClaimLook *look, SnPos pos, const pg_uuid_t *id)
{
	SnRetry		retry;

	if (!claim->sub->ordered || sn_lane_whole(look->state)->parked == 0 ||
		sn_log_lacks(claim->log) != 0)
		return false;
	fill_parked(claim, look->state, pos, id, &retry);
	if (!sn_retry_head(&claim->probe, retry.sub_id, retry.lane, retry.hash,
					   retry.tenant_id, retry.aggregate_id, -1,
					   claim->snapshot, NULL))
		return false;
	if (pos < claim->probe.pos)
	{
		retry.has_due = true;
		retry.due_at = claim->now;
		sn_retry_put(&retry, true);
	}
	else
	{
		if (claim->parker == NULL)
			claim->parker = sn_retry_begin();
		sn_retry_insert(claim->parker, &retry);
	}
	sn_lane_count(look->state, 1, 0);
	claim->parked++;
	return true;
}

/* decide_event: what becomes of an event that is not resolved */
static Fate
decide_event(SnClaim *claim, SnClaimLook *look, SnPos pos, const pg_uuid_t *id)
{
	SnLaneState *state = look->state;
	bool		solo = pos < state->lost_pos;
	SnEntry    *entry;
	bool		there;

	if (solo && claim->entries.n > 0)
	{
		claim->skipped = SN_LANE_TRACK(state->lane, state->track);
		return FATE_LEFT;
	}
	there = sn_log_fetch_at(claim->log, id, &claim->stream->row_tid);
	if (!there || !sn_wanted(claim->sub, claim->stream->filter, claim->log))
	{
		state->changed = true;
		claim->unwanted++;
		claim->gone += !there;
		return FATE_PASSED;
	}
	if (park_taken(claim, look, pos, id))
	{
		state->changed = true;
		return FATE_PASSED;
	}
	if (!sn_claim_readable(claim))
	{
		SnEntry		unreadable = {.event_id = *id,.pos = pos,
		.lane = state->lane,.attempt = solo ? state->lost + 1 : 1};

		sn_claim_give_up(claim, look, &unreadable);
		claim->unwanted++;
		return FATE_PASSED;
	}
	entry = sn_claim_add(claim, look, id, pos);
	sn_log_ref(claim->log, &claim->refs[claim->entries.n - 1]);
	entry->attempt = solo ? state->lost + 1 : 1;
	keep_key(claim, entry, sn_log_text(claim->log, Anum_log_tenant_id),
			 sn_log_text(claim->log, Anum_log_aggregate_id));
	claim->solo = solo;
	return FATE_TAKEN;
}

/* A walk through the lane's range and on */
typedef struct Walk
{
	SnBits		old;			/* bitmap of the range before */
	int			i;				/* events of that range walked */
	SnPos		old_end;
	SnPos		pos;			/* all before it is resolved */
	SnPos		end;
	Builder		bits;			/* of the range from pos on */
	bool		left;			/* an event of the range stays for later */
} Walk;

/* step: one event further, whose fate is known */
static void
step(SnClaim *claim, Walk *walk, SnPos pos, bool taken)
{
	if (pos < walk->old_end)
		walk->i++;
	else
		walk->end = pos + 1;
	if (taken)
	{
		claim->entries.items[claim->entries.n - 1].bit = walk->bits.n;
		add_bit(&walk->bits, false);
	}
	else if (walk->bits.n == 0)
		walk->pos = pos + 1;
	else
		add_bit(&walk->bits, true);
}

/* step_over: one event further, which the batch has already */
static void
step_over(Walk *walk)
{
	walk->i++;
	add_bit(&walk->bits, false);
}

/*
 * keep_rest: the bits of the old range that the walk did not come to.  pos is
 * the next event of the lane.
 */
static void
keep_rest(SnClaim *claim, Walk *walk, SnPos pos)
{
	pg_uuid_t	id;
	int			n = walk->old.nbytes * 8;

	if (pos >= walk->old_end)
		return;
	walk->left = true;
	if (walk->old.bytes != NULL)
	{
		for (; walk->i < n; walk->i++)
			add_bit(&walk->bits, sn_bits_get(&walk->old, walk->i));
		return;
	}
	do
		add_bit(&walk->bits, false);
	while (sn_stream_next(claim->stream, &pos, &id) && pos < walk->old_end);
}

/* put_down: the state of the lane after the walk */
static void
put_down(SnClaimLook *look, Walk *walk)
{
	SnLaneState *state = look->state;

	if (walk->pos == state->pos && walk->end == state->end_pos &&
		walk->bits.n == 0)
		return;
	if (walk->bits.n == 0)
		walk->pos = walk->end = Max(walk->pos, walk->end);
	state->pos = walk->pos;
	state->end_pos = walk->end;
	memset(&state->resolved, 0, sizeof(SnBits));
	if (walk->bits.any_set || walk->left)
	{
		int			n;

		for (n = walk->bits.n; n < walk->bits.bits.nbytes * 8; n++)
			sn_bits_set(&walk->bits.bits, n);
		state->resolved = walk->bits.bits;
	}
	if (state->pos >= state->lost_pos)
	{
		state->lost_pos = 0;
		state->lost = 0;
	}
}

/*
 * sn_claim_take_new: take the next events of the track at hand: first what the
 * lane's range has left, then what comes behind it, up to a position.  When the
 * batch is full already, what the range has left is noted, so that the batch does
 * not seem to have it.  Whether it came to the end of the track.
 */
bool
sn_claim_take_new(SnClaim *claim, SnClaimLook *look, SnPos until)
{
	SnLaneState *state = look->state;
	SnStreamReader *stream = claim->stream;
	Walk		walk = {.old = state->resolved,.old_end = state->end_pos,
	.pos = state->pos,.end = state->end_pos};
	bool		end = true;
	SnPos		pos;
	pg_uuid_t	id;

	claim->walked = claim->snapshot;
	sn_lane_seek(stream, claim->sub, state, claim->walked);
	while (sn_stream_next(stream, &pos, &id))
	{
		bool		open = pos >= walk.old_end ||
			!sn_bits_get(&walk.old, walk.i);
		Fate		fate;

		if (open && pos < look->mine)
		{
			step_over(&walk);
			continue;
		}
		if (sn_claim_full(claim) || pos >= until)
			fate = FATE_LEFT;
		else
			fate = open ? decide_event(claim, look, pos, &id) : FATE_PASSED;
		if (fate == FATE_LEFT)
		{
			end = false;
			keep_rest(claim, &walk, pos);
			break;
		}
		if (pos >= walk.old_end)
		{
			claim->fresh++;
			claim->fresh_on_common += state->track == SN_TRACK_COMMON;
		}
		step(claim, &walk, pos, fate == FATE_TAKEN);
		/* what retries opened counts, too: partitions only get more */
		claim->enough = claim->parked >= MAX_PARKED ||
			claim->unwanted >= MAX_UNWANTED ||
			claim->log->nparts >= SN_LOG_PARTS_MAX;
	}
	put_down(look, &walk);
	if (claim->walked_kept)
		UnregisterSnapshot(claim->walked);
	claim->walked_kept = false;
	claim->walked = NULL;
	return end;
}
