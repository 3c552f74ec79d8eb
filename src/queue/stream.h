/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * stream.h
 *		Reading the events of a lane of a stream in order.
 */
#ifndef SN_STREAM_H
#define SN_STREAM_H

#include "postgres.h"

#include "storage/itemptr.h"
#include "utils/snapshot.h"

#include "base/names.h"
#include "base/sentinai.h"
#include "store/store.h"

/*
 * What a subscription wants: events of these types, of these tenants, of
 * aggregates of these types.  Only those of relays have the last.
 */
typedef struct SnFilter
{
	SnNames		types;
	SnNames		tenants;
	SnNames		aggregate_types;
} SnFilter;

/*
 * What to read up to a position: a stream, and the filter that its events
 * still have to pass (NULL when the stream is made of it).  Its tracks are read
 * side by side, each by who asks for it, or merged into the order of positions
 * by who asks for the common one: those of them that have a bit in merged.
 */
typedef struct SnSource
{
	int			stream_id;
	SnPos		until;			/* first position that is read elsewhere */
	const SnFilter *filter;
	SnTracks	merged;			/* 0: side by side */
	const SnPos *ends;			/* of these tracks: what begins there they do not
								 * have */
} SnSource;


struct SnStreamPart;

typedef struct SnStreamReader
{
	const SnFilter *filter;		/* of the event last read */
	ItemPointerData row_tid;	/* where the row of that event may be */
	/* the rest is private */
	Relation	parent;
	void	   *desc;			/* partitions that parts was made from */
	struct SnStreamPart *parts;
	int			nparts;
	int			nopen;			/* of them */
	Snapshot	snapshot;
	int			lane;
	int			track;
	const SnSource *sources;
	int			nsources;
	int			source;
	int			part;			/* being scanned if scanning, or next */
	bool		scanning;
	SnPos		start;			/* where the reader was sent */
	int64		from;			/* least slice number still wanted */
	int64		upto;			/* greatest one, or PG_INT64_MAX */
	int64		slice_no;
	int64		events_before;	/* in the lane, before this slice */
	const pg_uuid_t *ids;
	const ItemPointerData *row_tids;	/* of as many rows */
	int			n;
	int			off;
} SnStreamReader;

extern SnStreamReader *sn_stream_begin(void);
extern void sn_stream_seek(SnStreamReader *reader, const SnSource *sources,
						   int nsources, int lane, int track, SnPos from,
						   Snapshot snapshot);
extern bool sn_stream_next(SnStreamReader *reader, SnPos *pos, pg_uuid_t *id);
extern void sn_stream_end(SnStreamReader *reader);

extern int64 sn_newest_round(Snapshot snapshot);

#endif							/* SN_STREAM_H */
