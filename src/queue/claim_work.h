/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * claim_work.h
 *		A claim at work: what its parts share.
 */
#ifndef SN_CLAIM_WORK_H
#define SN_CLAIM_WORK_H

#include "postgres.h"

#include "queue/batch.h"
#include "queue/dead_letter.h"
#include "queue/lane_track.h"
#include "queue/retry.h"
#include "queue/stream.h"

typedef struct SnClaim
{
	/* what was asked for */
	const text *worker_type;
	text	   *worker_id;		/* NULL: no name */
	int			max;
	int			limit;			/* of them for the tracks at hand, and all before */
	int64		lease;			/* microseconds */

	/* what it works with */
	SnSub	   *sub;
	SnSubSlot  *hints;
	TimestampTz now;
	Snapshot	snapshot;		/* of the lane at hand; NULL: none yet */
	uint32		nsnapshots;		/* it had before */
	Snapshot	walked;			/* the stream is read under it; or NULL */
	bool		walked_kept;	/* and is not `snapshot` any more */
	SnLaneReader reader;
	SnStreamReader *stream;
	SnLogReader *log;
	SnRetryProbe probe;
	SnInserter *parker;			/* NULL: nothing parked yet */

	/* what it has got */
	SnToken		token;
	MemoryContext memory;		/* of the entries */
	SnEntries	entries;
	SnLogRef   *refs;			/* where the rows of the entries are; part < 0:
								 * only its dead letter has the event */
	int			nstates;
	bool		solo;			/* its event has to stay alone */
	bool		enough;			/* passed so much that it has to stop */
	bool		sated;			/* its role may have no more lanes */
	int			skipped;		/* strip left because of a solo event; -1 */
	int			last;			/* last lane it took events from; -1 */
	int			parked;
	int			unwanted;
	int			gone;			/* of them, or of retries: that the log has no more */
	uint64		visited;		/* lanes that it was at */
	bool		sharing;		/* tracks get shares of the batch */
	bool		only;			/* no other track than the given one, for now */
	List	   *cut;			/* looks at lanes that have more, for later */
	int			fresh;			/* events read that no batch had before */
	int			fresh_on_common;	/* of them, in the common track */
	SnLaneState **states;		/* nstates of them, to be appended */
	int			states_room;	/* for so many */
} SnClaim;

/* A look at a lane; of the sets, each has a bit for each track */
typedef struct SnClaimLook
{
	SnLane		lane;
	SnLaneState *state;			/* of the track at hand */
	int			nstates;		/* states of the claim before the lane's */
	bool		more;			/* work was left */
	TimestampTz next_due;		/* of a retry that is not due; 0: none */
	SnTracks	tracks;			/* that may have more that is new */
	SnTracks	due;			/* that may have retries that are due, or were lost */
	SnTracks	leased;			/* that others hold */
	SnTracks	bound;			/* that wait for the common one, at first */
	SnTracks	behind;			/* that did so, and may still */
	SnTracks	taken;			/* that the batch holds */
	bool		rescued;		/* a batch was lost here */
	bool		in_line;		/* tracks are not side by side: sn_lane_in_line() */
	/* of the track at hand */
	int			first;			/* entries before its */
	SnPos		mine;			/* what is open before it the batch has; 0: none */
	bool		due_left;		/* retries that are due were left */
	TimestampTz last_due;		/* of the last retry that was looked at */
	ItemPointerData last_tid;	/* of its row; invalid: none was */
} SnClaimLook;

/* In place of a track: what is due of a lane's retries, and nothing new */
#define SN_SHARE_RETRIES SN_TRACKS

extern bool sn_claim_full(const SnClaim *claim);
extern void sn_claim_new_snapshot(SnClaim *claim);
extern SnEntry *sn_claim_add(SnClaim *claim, SnClaimLook *look,
							 const pg_uuid_t *id, SnPos pos);

/* claim_lane.c */
extern bool sn_claim_from_lane(SnClaim *claim, int lane, int track);
extern void sn_claim_go_on(SnClaim *claim, SnClaimLook *look, int track);
extern void sn_claim_go_on_any(SnClaim *claim, SnClaimLook *look);

/* claim_turn.c */
extern void sn_claim_look_around(SnClaim *claim, uint32 first);

/* claim_take.c */
extern void sn_claim_note_due(SnClaim *claim, SnClaimLook *look);
extern void sn_claim_take_retries(SnClaim *claim, SnClaimLook *look, int n);
extern void sn_claim_take_more_retries(SnClaim *claim, SnClaimLook *look);
extern bool sn_claim_take_new(SnClaim *claim, SnClaimLook *look, SnPos until);

/* claim_rescue.c */
extern void sn_rescue(SnClaim *claim, SnLaneState *state);

/* claim_unreadable.c */
extern bool sn_claim_readable(SnClaim *claim);
extern bool sn_row_readable(const SnEventRow *row);
extern void sn_claim_give_up(SnClaim *claim, SnClaimLook *look,
							 const SnEntry *entry);

#endif							/* SN_CLAIM_WORK_H */
