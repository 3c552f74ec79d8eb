/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * shmem.h
 *		What the processes of a server share.  Everything here is a hint or can
 *		be rebuilt: a crash restart zeroes it.
 */
#ifndef SN_SHMEM_H
#define SN_SHMEM_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "utils/dsa.h"
#include "utils/timestamp.h"

#include "base/breaker.h"
#include "base/sentinai.h"

#define SN_MAX_DATABASES	32
#define SN_MAX_SUBS			192
#define SN_FEW_SUBS			64	/* where the library was not preloaded */
#define SN_TURN_SIZES		12	/* claim_turn.c; the greatest is 2048 events */
#define SN_WEIGHTS			(SN_TRACKS + 1)	/* sequencer/track_weights.h */
#define SN_MAX_RELAYS		32	/* processes */
#define SN_OUTSIDE			16	/* number of the session of a sentinai-relay */
#define SN_MAX_TOLD			32	/* relays that create_relay() has made */
#define SN_ERROR_LEN		256
#define SN_MAX_FAILURES		48
#define SN_FAILURE_LEN		192
#define SN_NEVER			PG_UINT64_MAX

#define SN_MARK_XIP 63

/*
 * What a round had seen, for retention: a partition may be dropped when the
 * round had seen all of it, and everybody has passed the round.  A snapshot
 * with more transactions is cut short: it then counts as having seen less.
 */
typedef struct SnMark
{
	int64		round_no;		/* 0: there was no round */
	int64		taken;			/* ms since 1970: rounds of before are up to
								 * round_no, those to come are later; 0: no
								 * mark */
	int64		xmax;
	int			nxip;
	int64		xip[SN_MARK_XIP];	/* ascending */
	TimestampTz due_until;
} SnMark;

/* The journals: of the rounds, and of the lanes' states */
typedef enum SnJournal
{
	SN_ROUNDS, SN_LANES, SN_JOURNALS
} SnJournal;

/* What claims know of the tracks' weights */
typedef enum SnWeightsKnown
{
	SN_WEIGHTS_UNKNOWN, SN_WEIGHTS_EQUAL, SN_WEIGHTS_GIVEN
} SnWeightsKnown;

/*
 * A database.  dboid, pids, vacate, created and mark change under SnShared.lock; a worker
 * writes its own procno and clears it when it leaves.
 */
typedef struct SnDatabase
{
	Oid			dboid;			/* InvalidOid: free slot */
	int			sequencer_pid;	/* 0: none runs */
	int			sequencer_procno;	/* whose latch to set; -1: none */
	TimestampTz vacate_until;	/* no worker may run here before this time */
	uint32		relays_full;	/* a bit for each relay that found no free worker
								 * slot; under SnShared.lock */
	bool		created;		/* CREATE EXTENSION was committed since a worker
								 * looked for the extension */
	uint32		calls;			/* of commands that have the workers leave or
								 * come; under SnShared.lock */
	SnMark		mark;
	uint64		audit_decided;	/* all events before this tick that will ever be
								 * committed are; 0: not known, see audit.c */
	uint64		audit_asked;	/* a later tick, decided as soon as no transaction
								 * before audit_next_xid runs */
	uint64		audit_next_xid;
	pg_atomic_uint64 commits_before;	/* commits at the time of CREATE EXTENSION */
	pg_atomic_uint32 relays_changed;	/* the launcher has to be told of relays */
	pg_atomic_uint32 clock_ready;	/* the clock is above the newest id */
	pg_atomic_uint64 commits;	/* transactions with events committed */
	pg_atomic_uint64 sequenced; /* value of commits the last round covers */
	pg_atomic_uint64 asked;		/* value of commits a claim waits for */
	pg_atomic_uint32 journal_half[SN_JOURNALS]; /* that takes rows */
	pg_atomic_uint64 tracks;	/* changes of who has which track, but for those
								 * that rounds make */
	pg_atomic_uint64 tracks_used;	/* perhaps, a bit for each; 0: not known */
	pg_atomic_uint64 apart_round;	/* no tenant was set apart in a later one,
									 * where tracks_used is known */
	pg_atomic_uint32 weights_known; /* SnWeightsKnown */
	uint8		weights[SN_WEIGHTS];	/* where they are not equal; under
										 * SnShared.lock */
	pg_atomic_uint32 common_tenants;	/* about how many may have something in
										 * the common track */
	uint64		weight_changes; /* under SnShared.lock */
	pg_atomic_uint64 rounds;	/* rounds and their events since the start */
	pg_atomic_uint64 round_events;
	ConditionVariable sequenced_cv; /* broadcast when sequenced moves */
} SnDatabase;

/* Totals of a subscription at a time, for rates */
typedef struct SnRateSample
{
	TimestampTz at;
	int64		completed;
	int64		failed;
} SnRateSample;

/*
 * A subscription's hints.  sub_id and dboid change under SnShared.lock, the
 * rest is atomic.  Each of the sets has a bit for each lane:
 *
 *	  pending	may have work now: set after work was committed, cleared only
 *				by one who holds the lane's lock and then looks at it with a
 *				fresh snapshot
 *	  after_batch
 *				has work for the time when the batch that holds it is resolved
 *	  deferred	has to be looked at when next_check has come: a lease may have
 *				been lost, or a retry is due
 *	  blocked	somebody who waits has passed it over, because another
 *				transaction has its lock; he is woken when that is given back
 *	  tracks	which of a lane's tracks a claim has to look at: set before the
 *				lane is put into pending, cleared like that
 *	  behind_common
 *				has tracks that have something, but for that they wait for the
 *				common one: they are not in tracks
 *	  busy		which of a lane's tracks may be held, or have a range that is
 *				not passed; the others have nothing but what is new
 *	  due		may have retries that are due, or a lost batch: a claim has left
 *				some, a batch that ended has, or next_check has come
 *
 * lane_hints.c moves lanes between the sets.
 */
typedef struct SnSubSlot
{
	Oid			dboid;
	int			sub_id;			/* 0: free slot */
	pg_atomic_uint64 pending;
	pg_atomic_uint64 after_batch;
	pg_atomic_uint64 deferred;
	pg_atomic_uint64 blocked;
	pg_atomic_uint64 tracks[SN_TRACKS];
	pg_atomic_uint64 behind_common;
	pg_atomic_uint64 busy[SN_TRACKS];
	pg_atomic_uint64 due;
	pg_atomic_uint64 behind;	/* about how many events were sequenced and not
								 * claimed since the server started */
	pg_atomic_uint64 behind_on_common;	/* of them, in the common track */
	pg_atomic_uint64 next_check;	/* TimestampTz; SN_NEVER: no deferred lane */
	pg_atomic_uint32 next_lane; /* where the next claim begins */
	pg_atomic_uint32 next_share[SN_TURN_SIZES]; /* likewise, of which share its
												 * first event is; for turns of one
												 * event, of two, of four ... */
	pg_atomic_uint64 new_first; /* lanes where what is new has the odd event of
								 * the next batch, and not retries */
	pg_atomic_uint32 lost_strip;	/* one more than the strip that the next claim
									 * looks at first: its events have to be alone */
	pg_atomic_uint64 claimed_at;	/* when the last one began, 0: none did */
	pg_atomic_uint32 waiters;	/* processes in wait_for_work(); never reset,
								 * as they may outlive their subscription */
	pg_atomic_uint64 stamps[SN_MAX_LANES];	/* of who changed each lane last,
											 * lane_known.c */
	pg_atomic_uint64 holders[SN_MAX_LANES];	/* role that has each lane, and until
											 * when: lane_share.c; 0: none */
	pg_atomic_uint64 unsure;	/* lanes that prepared transactions have taken
								 * or given back, or not */
	SnRateSample samples[2];	/* under SnShared.lock */
	ConditionVariable cv;
} SnSubSlot;

/* A relay process's published state, written by it under SnShared.lock */
typedef struct SnRelaySlot
{
	Oid			dboid;			/* InvalidOid: nobody had it, or left in peace */
	int			relay_id;		/* 0: the one of the server's parameters */
	int			index;			/* number of the process among the relay's, or
								 * SN_OUTSIDE */
	int			pid;			/* 0: free; last_error is why */
	int			procno;
	pg_atomic_uint64 pending;	/* lanes that may have events to read; others
								 * only add, without the lock */
	pg_atomic_uint32 look;		/* the switch or a dead letter changed */
	int			inflight;		/* events sent and not answered */
	bool		limited;		/* events wait for its limits */
	int			breaker;		/* SnBreakerState */
	uint64		barred;			/* lanes that others have locked */
	int64		sent;			/* since its start */
	int64		acked;
	int64		errors;
	int64		dead;
	TimestampTz started_at;
	TimestampTz last_ack_at;
	TimestampTz last_error_at;
	char		last_error[SN_ERROR_LEN];
} SnRelaySlot;

/* A relay that a database has, told.c; changes under SnShared.lock */
typedef struct SnRelayTold
{
	Oid			dboid;			/* InvalidOid: free place */
	int			relay_id;		/* its subscription */
	int			workers;
	uint32		full;			/* a bit for each process that found no free
								 * worker slot */
} SnRelayTold;

/* Something that fails, failure.c; changes under SnShared.lock */
typedef struct SnFailing
{
	Oid			dboid;			/* InvalidOid: free slot */
	int			sqlstate;
	int64		count;			/* since it last went well */
	TimestampTz since;
	TimestampTz last_at;
	TimestampTz retry_at;		/* 0: not known */
	char		step[24];
	char		message[SN_FAILURE_LEN];
} SnFailing;

/* Where the buckets of limits are, bucket_table.c; under its own lock */
typedef struct SnBucketArea
{
	LWLock		lock;			/* which bucket is at which place */
	dsm_handle	area;			/* DSM_HANDLE_INVALID: there are none yet */
	dsa_pointer table;
} SnBucketArea;

typedef struct SnShared
{
	LWLock		lock;			/* slots; held for a few instructions */
	int			tranche_id;		/* of the lock */
	pg_atomic_uint64 clock;		/* last tick given out, see clock.c */
	int64		time_offset;	/* of sn_now(); never changes */
	TimestampTz started_at;		/* by sn_now(); likewise */
	int			launcher_pid;
	int			launcher_procno;	/* -1: none */
	bool		workers_full;	/* the launcher has found no free worker slot */
	bool		standbys_defined;	/* synchronous ones, when last looked at */
	TimestampTz standbys_gone_at;	/* since when there are none; 0: always */
	SnBucketArea buckets;
	SnDatabase	databases[SN_MAX_DATABASES];
	SnRelaySlot relays[SN_MAX_RELAYS];
	SnRelayTold told[SN_MAX_TOLD];
	SnFailing	failures[SN_MAX_FAILURES];
	int			nsubs;			/* slots that there are */
	SnSubSlot	subs[FLEXIBLE_ARRAY_MEMBER];
} SnShared;

extern void sn_shmem_init(void);
extern SnShared *sn_shared(void);
extern bool sn_preloaded(void);
extern void sn_shared_copy(void *to, const void *from, Size size);
extern SnDatabase *sn_database(void);
extern SnDatabase *sn_database_find(void);
extern SnDatabase *sn_database_of(Oid dboid);
extern bool sn_databases_full(void);
extern void sn_database_created(void);
extern bool sn_database_leave(void);
extern void sn_database_free(Oid dboid);
extern SnSubSlot *sn_sub_slot(int sub_id);
extern SnSubSlot *sn_sub_slot_find(int sub_id);
extern SnSubSlot *sn_sub_slot_after(const SnSubSlot *slot, Oid dboid);
extern bool sn_sub_slots_beside(const List *sub_ids, bool give_up);
extern void sn_sub_slot_free(int sub_id);
extern bool sn_sub_slots_full(void);
extern void sn_sub_look_everywhere(SnSubSlot *slot);
extern void sn_set_latch_of(int procno, int pid);
extern int	sn_my_procno(void);
extern void sn_wake_launcher(void);
extern void sn_wake_workers(Oid dboid);
extern void sn_wake_relays(uint64 lanes, bool look);

/* told.c */
extern bool sn_told_set(const SnRelayTold *list, int n);
extern void sn_told_forget(Oid dboid);
extern int	sn_told_get(Oid dboid, SnRelayTold list[SN_MAX_TOLD]);
extern void sn_told_full(Oid dboid, int relay_id, int index, bool full);

/* weights.c */
extern void sn_weights_reset(SnDatabase *db);
extern void sn_weights_forget(void);
extern uint64 sn_weights_changes(SnDatabase *db);
extern void sn_weights_keep(SnDatabase *db, uint64 changes,
							const uint8 weights[SN_WEIGHTS], bool equal);

#endif							/* SN_SHMEM_H */
