/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * streams.h
 *		The streams as rounds know them.
 */
#ifndef SN_STREAMS_H
#define SN_STREAMS_H

#include "postgres.h"

#include "base/sentinai.h"
#include "sequencer/match.h"

/* A slice being filled: its ids and their places as they are stored */
typedef struct SnSlice
{
	int			n;
	int			room;
	bytea	   *row_tids;
	char		array[FLEXIBLE_ARRAY_MEMBER];
} SnSlice;

/* Where a lane of a stream ends, in one track */
typedef struct SnLaneEnd
{
	bool		known;			/* events_before was read */
	int64		events_before;	/* in the slices so far */
	int64		slice_no;		/* of the slice being filled */
	SnSlice	   *slice;			/* NULL: none in this round */
} SnLaneEnd;

typedef struct SnStream
{
	int			stream_id;
	bool		unfilled;		/* first_round is null */
	bool		of_types;		/* its filter has event types */
	bool		of_aggregates;	/* it has aggregate types */
	bool		of_kinds;		/* it has one of these */
	bool		of_tenants;		/* it has tenants */
	bool		left_out;		/* of this round: its row is locked */
	int64		events;			/* in this round */
	int64		on_common;		/* of them, in the common track */
	SnTracks	tracks;			/* with events in this round */
	uint64		touched[SN_TRACKS]; /* in which lanes, 0 in the other tracks */
	SnLaneEnd  *lanes[SN_TRACKS];	/* of each track, NULL: it has none yet */
} SnStream;

/* All that are known; it is kept for the next round */
typedef struct SnStreams
{
	MemoryContext context;		/* of all of it */
	SnStream  **all;			/* the first is SN_STREAM_ALL */
	int			n;
	SnMatches  *types;			/* in their filters */
	SnMatches  *aggregates;		/* types of these */
	SnMatches  *tenants;
	SnMatch    *kinds;			/* see kinds.c */
	int			nkinds;			/* pairs that are known */
} SnStreams;

extern SnStreams sn_streams;

extern int	sn_stream_find(int stream_id);

#endif							/* SN_STREAMS_H */
