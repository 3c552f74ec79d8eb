/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * round.h
 *		The parts of a round, shared by sequencer.c, gather.c, streams.c, kinds.c
 *		and slice.c.
 */
#ifndef SN_ROUND_H
#define SN_ROUND_H

#include "postgres.h"

#include "storage/itemptr.h"
#include "utils/snapshot.h"

#include "base/sentinai.h"
#include "store/store.h"

/* What the rounds so far have seen; transaction numbers are logical */
typedef struct SnSeen
{
	int64		round_no;		/* 0: there was no round */
	int64		xmax;
	int			nxip;
	int64	   *xip;			/* ascending */
	TimestampTz due_until;
} SnSeen;

/* An event on its way into slices; the id comes first: records sort by it */
typedef struct SnItem
{
	pg_uuid_t	id;
	int32		kind;			/* which streams want it, see sn_match_kind() */
	int32		tenant;			/* see sn_tracks_note() */
	int16		lane;
	ItemPointerData row_tid;
} SnItem;

/* Where a round has put events of a stream */
typedef struct SnStreamNews
{
	int64		events;
	int64		on_common;		/* of them, in the common track */
	uint64		lanes;
	SnTracks	tracks;
	uint64		lanes_of[SN_TRACKS];	/* of these tracks */
} SnStreamNews;

/* The events of a round, gathered in any order and read in that of their ids */
typedef struct SnGather
{
	Snapshot	snapshot;
	const SnSeen *seen;
	SnSeen		now;			/* what will have been seen after this round */
	int64		own;			/* number of this transaction, or 0 */
	int			lanes;
	int			columns;		/* of a row, that are looked at */
	int64		count;			/* events gathered, some of them twice */
	SnItem	   *items;			/* until they need too much memory */
	int64		room;
	int64		next;
	bool		any;			/* one was read: */
	pg_uuid_t	last;			/* this one */
	struct Tuplesortstate *sort;	/* from then on */
} SnGather;

/* sequencer.c */
extern void sn_round_newest(Snapshot snapshot, SnSeen *newest);

/* gather.c */
extern bool sn_gather(SnGather *gather);
extern bool sn_gather_waits(const SnSeen *seen, Snapshot snapshot);
extern void sn_gather_sort(SnGather *gather);
extern bool sn_gather_next(SnGather *gather, SnItem *item);
extern void sn_gather_end(SnGather *gather);

/* streams.c */
extern bool sn_streams_load(Snapshot snapshot);
extern int32 sn_match_tenant(Datum tenant_id);
extern bool sn_match_tenants(void);
extern int	sn_stream_count(void);
extern void sn_stream_news(int stream_id, SnStreamNews *news);
extern void sn_streams_forget(void);

/* kinds.c */
extern void sn_kinds_begin(void);
extern int	sn_kind_columns(void);
extern int32 sn_match_kind(const Datum *values);

/* slice.c */
extern int64 sn_write_slices(SnGather *gather, Snapshot snapshot,
							 int64 round_no);

#endif							/* SN_ROUND_H */
