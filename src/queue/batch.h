/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * batch.h
 *		A batch by its token, and its events.
 */
#ifndef SN_BATCH_H
#define SN_BATCH_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "base/compat.h"
#include "log/log_read.h"
#include "queue/lane.h"
#include "queue/subscription.h"
#include "queue/token.h"
#include "shared/shmem.h"

/* An event of a batch: what about it never changes */
typedef struct SnEntry
{
	pg_uuid_t	event_id;
	SnPos		pos;
	int			lane;
	int			track;			/* that the batch holds for it */
	SnPos		from;			/* position of that: what bit counts from */
	int			bit;			/* in the lane's bitmap; -1: row of event_retry */
	int			attempt;		/* of this hand-out, from 1 */
	text	   *tenant_id;		/* NULL: the event is no longer in the log */
	text	   *aggregate_id;	/* may be NULL */
} SnEntry;

typedef struct SnEntries
{
	SnEntry    *items;
	int			n;
	int			room;
} SnEntries;

/* A batch that was opened: its lanes are locked, and it holds them or did */
typedef struct SnBatch
{
	SnToken		token;
	SnSub	   *sub;
	SnSubSlot  *hints;
	Snapshot	snapshot;
	TimestampTz now;
	bool		resolved;		/* nothing of it is open any more */
	int			nlanes;
	SnLaneState **lanes;		/* the tracks of its lanes that it holds, ascending by
								 * lane; once resolved, the common ones */
	SnLogReader *log;			/* NULL: not needed yet */
	SnEntries	open;			/* its open events, once loaded */
	bool		loaded;
} SnBatch;

extern void sn_batch_open(SnBatch *batch, const text *token);

/* Whether the batch that holds a lane is one to seize */
typedef bool (*SnBatchMatch) (const SnLaneState *state, const void *arg);

extern bool sn_is_batch(const SnLaneState *state, const void *batch);
extern bool sn_batch_seize(SnBatch *batch, int sub_id, SnBatchMatch matches,
						   const void *arg);
extern int	sn_batch_release(SnBatch *batch);
extern void sn_batch_load(SnBatch *batch);
extern void sn_batch_close(SnBatch *batch);
extern SnLaneState *sn_batch_lane(SnBatch *batch, int lane);
extern SnLaneState *sn_batch_state(SnBatch *batch, const SnEntry *entry);
extern void sn_batch_drop(SnBatch *batch, const SnEntry *entry);
extern void sn_batch_give_back(SnBatch *batch);
extern void sn_batch_free(SnBatch *batch, uint64 with_work);
extern void sn_batch_append(SnBatch *batch);
extern int	sn_batch_count(const SnBatch *batch);
extern void sn_batch_stale(void) pg_attribute_noreturn();

extern SnEntry *sn_entries_add(SnEntries *entries);
extern void sn_entries_of_lane(SnEntries *entries, SnSub *sub,
							   SnLaneState *state, SnLogReader *log,
							   Snapshot snapshot);

extern void sn_entries_left(SnEntries *entries, SnSub *sub,
							SnLaneState *state, SnLogReader *log,
							Snapshot snapshot);
extern void sn_entry_wait(SnLaneState *state, const SnEntry *entry, int32 hash,
						  TimestampTz now);

/* batch_known.c */
extern const SnEntries *sn_batch_known(const pg_uuid_t *batch);
extern MemoryContext sn_batch_memory(void);
extern void sn_batch_remember(MemoryContext context, const SnToken *token,
							  const SnEntries *entries);

#endif							/* SN_BATCH_H */
