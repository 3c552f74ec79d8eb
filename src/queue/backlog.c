/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * backlog.c
 *		What waits in a subscription whose rules about order change.
 *
 * The rows of event_retry are as the rules were when they were written: with
 * others, some would be handed out never, or before their turn.  So whoever
 * changes the rules arranges the rows anew, under the locks of all lanes:
 *
 *	  unordered	every row gets a due time, a failed one that of its own wait
 *	  ordered	the first row of each key keeps its due time, the others wait;
 *				what a free lane's range has left of such a key joins them
 *	  no block	rows of dead letters go, so that their keys go on; the letters
 *				stay pending
 *
 * Batches that are out stay as they are; their holders go on by the new rules.
 * A letter of before "block" holds up nothing: its key has gone on.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/text.h"
#include "queue/backlog.h"
#include "queue/batch.h"
#include "queue/retry.h"

#define CHUNK	1000			/* rows that are changed at a time */

/* A partition key */
typedef struct Key
{
	text	   *tenant_id;
	text	   *aggregate_id;	/* may be NULL */
} Key;

/* The work on one lane */
typedef struct Arranger
{
	bool		ordered;
	bool		block;
	TimestampTz now;
	SnLaneState *state;
	MemoryContext rows_memory;
	SnRetry		rows[CHUNK];	/* to be changed */
	int			n;
	MemoryContext keys_memory;
	List	   *keys;			/* of Key: those of the last row's hash */
	int32		hash;
} Arranger;

/* is_first: whether a row is the first of its key; rows come by hash */
static bool
is_first(Arranger *arranger, const SnRetry *row)
{
	MemoryContext old;
	ListCell   *lc;
	Key		   *key;

	if (row->hash != arranger->hash)
	{
		MemoryContextReset(arranger->keys_memory);
		arranger->keys = NIL;
		arranger->hash = row->hash;
	}
	foreach(lc, arranger->keys)
	{
		key = lfirst(lc);
		if (sn_text_equal(key->tenant_id, row->tenant_id) &&
			sn_text_equal(key->aggregate_id, row->aggregate_id))
			return false;
	}
	old = MemoryContextSwitchTo(arranger->keys_memory);
	key = palloc(sizeof(Key));
	key->tenant_id = sn_text_copy(row->tenant_id);
	key->aggregate_id = sn_text_copy(row->aggregate_id);
	arranger->keys = lappend(arranger->keys, key);
	MemoryContextSwitchTo(old);
	return true;
}

/* goes: whether a row is of no more use: its letter blocks no longer */
static bool
goes(const Arranger *arranger, const SnRetry *row)
{
	return row->dead && !arranger->block;
}

/* changes: whether a row has to be written anew, or goes; sets what it gets */
static bool
changes(Arranger *arranger, SnRetry *row)
{
	bool		has_due;

	if (goes(arranger, row))
		return true;
	has_due = (!arranger->ordered || is_first(arranger, row)) && !row->dead;
	if (has_due == row->has_due)
		return false;
	row->has_due = has_due;
	row->due_at = sn_retry_due(row, arranger->now);
	return true;
}

/* write_arranged_rows: the rows gathered so far, as they are to be */
static void
write_arranged_rows(Arranger *arranger)
{
	SnInserter *inserter;
	int			i;

	if (arranger->n == 0)
		return;
	sn_retry_delete(arranger->rows, arranger->n);
	inserter = sn_retry_begin();
	for (i = 0; i < arranger->n; i++)
	{
		if (!goes(arranger, &arranger->rows[i]))
			sn_retry_insert(inserter, &arranger->rows[i]);
		else
		{
			sn_lane_count(arranger->state, -1, 0);
		}
	}
	(void) sn_insert_end(inserter);
	CommandCounterIncrement();
	arranger->n = 0;
	MemoryContextReset(arranger->rows_memory);
}

/* arrange_rows: the rows of the lane, by key */
static void
arrange_rows(Arranger *arranger, Snapshot snapshot)
{
	SnScan		scan;

	sn_retry_scan_lane(&scan, arranger->state->sub_id, arranger->state->lane,
					   snapshot);
	while (sn_scan_next(&scan))
	{
		MemoryContext old = MemoryContextSwitchTo(arranger->rows_memory);
		SnRetry    *row = &arranger->rows[arranger->n];

		CHECK_FOR_INTERRUPTS();
		sn_retry_read(&scan, row);
		MemoryContextSwitchTo(old);
		if (changes(arranger, row))
			arranger->n++;
		if (arranger->n == CHUNK)
			write_arranged_rows(arranger);
	}
	sn_scan_end(&scan);
	write_arranged_rows(arranger);
}

/*
 * arrange_range: what a range of an ordered subscription's lane has left of keys that have rows goes there, too: retries are handed out before what a
 * range has left.  What a batch has of it is left to the end of the batch.  The
 * caller has the lane's lock and is going to store the state if it changed.
 */
static void
arrange_range(SnSub *sub, SnLaneState *state, TimestampTz now)
{
	Snapshot	snapshot;
	SnLogReader *log;
	SnEntries	left = {NULL};
	SnRetryProbe probe = {false};
	int			i = state->held ? state->open - state->nretries : 0;

	if (sn_lane_whole(state)->parked == 0 || state->pos == state->end_pos ||
		(state->held && state->resolved.bytes == NULL))
		return;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	log = sn_log_begin(snapshot);
	sn_entries_left(&left, sub, state, log, snapshot);
	for (; i < left.n; i++)
	{
		const SnEntry *entry = &left.items[i];
		int32		hash;

		CHECK_FOR_INTERRUPTS();
		if (!sn_retry_blocks(&probe, sub->sub_id, state->lane,
							 entry->tenant_id, entry->aggregate_id, snapshot,
							 &hash))
			continue;
		sn_entry_wait(state, entry, hash, now);
		if (state->resolved.bytes == NULL)
			sn_bits_make(&state->resolved, left.n);
		sn_bits_set(&state->resolved, entry->bit);
		state->changed = true;
	}
	sn_retry_probe_end(&probe);
	sn_log_end(log);
	UnregisterSnapshot(snapshot);
	if (state->changed && !state->held)
		sn_lane_release(state);
}

/* sn_arrange_ranges: the same for all tracks of a lane */
void
sn_arrange_ranges(SnLane *lane, TimestampTz now)
{
	int			track;

	foreach_track(track, lane->tracks)
		if (lane->of[track] != NULL)
			arrange_range(lane->sub, lane->of[track], now);
}

/* arrange_lane: what waits in one lane */
static void
arrange_lane(Arranger *arranger, SnSub *sub, int number)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnLaneReader reader = {false};
	SnLane		lane;

	sn_lane_open(&lane, &reader, sub, number, snapshot);
	sn_lane_read_end(&reader);
	arranger->state = lane.of[SN_TRACK_COMMON];
	arranger->keys = NIL;
	if (arranger->state->parked > 0)
		arrange_rows(arranger, snapshot);
	UnregisterSnapshot(snapshot);
	if (arranger->ordered)
		sn_arrange_ranges(&lane, arranger->now);
	(void) sn_lane_store(&lane);
}

/*
 * sn_arrange_backlog: the rows of a subscription, by rules that begin to hold
 * with this transaction.  The caller has the locks of all its lanes.
 */
void
sn_arrange_backlog(int sub_id, bool ordered, bool block)
{
	SnSub	   *sub = sn_sub_by_id(sub_id);
	Arranger   *arranger = palloc0(sizeof(Arranger));
	int			lane;

	arranger->ordered = ordered;
	arranger->block = block;
	arranger->now = sn_now();
	arranger->rows_memory = AllocSetContextCreate(CurrentMemoryContext,
												  "sentinai backlog rows",
												  ALLOCSET_DEFAULT_SIZES);
	arranger->keys_memory = AllocSetContextCreate(CurrentMemoryContext,
												  "sentinai backlog keys",
												  ALLOCSET_DEFAULT_SIZES);
	for (lane = 0; lane < sn_node()->lanes; lane++)
		arrange_lane(arranger, sub, lane);
	MemoryContextDelete(arranger->rows_memory);
	MemoryContextDelete(arranger->keys_memory);
	pfree(arranger);
}
