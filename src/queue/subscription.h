/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * subscription.h
 *		Subscriptions as the queue functions see them.
 */
#ifndef SN_SUBSCRIPTION_H
#define SN_SUBSCRIPTION_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/sentinai.h"
#include "base/text.h"
#include "queue/stream.h"
#include "shared/shmem.h"

/* When to give up, and how long to wait before */
typedef struct SnPolicy
{
	int			max_attempts;
	int			nbackoff;
	Interval   *backoff;
} SnPolicy;

/* A stream that the subscription reads, for rounds before until */
typedef struct SnSegment
{
	int			stream_id;
	int64		until;			/* PG_INT64_MAX: its present stream */
	int64		first_round;	/* of the stream; -1: not filled yet */
	SnFilter	filter;
} SnSegment;

typedef struct SnTypePolicy
{
	text	   *event_type;
	SnPolicy	policy;
} SnTypePolicy;

typedef struct SnSub
{
	int			sub_id;
	text	   *worker_type;
	SnPos		start_pos;
	SnPos		tracks_pos;		/* from where on tracks are read side by side */
	SnPos		in_line_pos;	/* before it each lane hands out its tracks in the
								 * order of positions; 0: nowhere; of SN_ROUND_MAX:
								 * without an end yet */
	TimestampTz created_at;
	SnTracks	tracks;			/* in use; what is merged has no others */
	SnPos		track_ends[SN_TRACKS];	/* sn_tracks_read() */
	TimestampTz start_time;		/* DT_NOBEGIN: none */
	int64		start_xmax;		/* -1: none */
	int			nstart_xip;
	int64	   *start_xip;
	SnPolicy	policy;
	int			ntypes;
	SnTypePolicy *types;
	bool		block;			/* on_dead */
	bool		ordered;
	bool		is_relay;
	int64		max_lease;		/* microseconds */
	int			max_lanes;		/* of one role; SN_MAX_LANES: all */
	int			nsegments;
	SnSegment  *segments;
	bool		filling;		/* a first_round is missing */
	int			nsources;
	SnSource   *sources;
	bool		has_replaced;	/* letters by events: see replaced.c */
	pg_uuid_t	last_replaced_by;	/* the newest of these */
} SnSub;

extern SnSub *sn_sub_by_name(const text *worker_type);
extern SnSub *sn_sub_by_id(int sub_id);
extern SnSub *sn_sub_require(const text *worker_type);
extern List *sn_sub_ids(void);
extern bool sn_subs_current(void);
extern uint64 sn_subs_loads(void);
extern void sn_sub_sources(SnSub *sub, Snapshot snapshot);
extern const SnPolicy *sn_sub_policy(const SnSub *sub,
									 const text *event_type);
extern void sn_subs_changed(void);
extern bool sn_sub_stand_in_line(int sub_id, int64 round_no);
extern void sn_stream_row(int stream_id, Snapshot snapshot, SnSegment *segment);

extern void sn_sub_require_work(const SnSub *sub);
extern bool sn_sub_takes(const SnSub *sub, const text *tenant_id);
extern bool sn_sub_may_watch(const SnSub *sub);
extern void sn_sub_require_lease(const SnSub *sub, int64 lease);
extern bool sn_sub_shares(const SnSub *sub, const SnSubSlot *slot);
extern void sn_sub_require_manage(const text *worker_type);
extern void sn_unknown_worker_type(const text *worker_type)
			pg_attribute_noreturn();

#endif							/* SN_SUBSCRIPTION_H */
