/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * worker.h
 *	  A worker thread: claims, handles, completes.
 */
#ifndef SENTINAI_WORKER_H
#define SENTINAI_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent.h"
#include "batch.h"
#include "conf.h"
#include "lease.h"
#include "metrics.h"
#include "pg.h"
#include "stop.h"

/* What is counted for the log and the metrics. */
typedef enum Count
{
	COUNT_CLAIMED,
	COUNT_COMPLETED,
	COUNT_RETRIED,
	COUNT_DEAD,
	COUNT_RELEASED,				/* given back without an attempt */
	COUNT_DROPPED,				/* in batches that were lost */
	COUNT_RECONNECTS,
	COUNT_BATCHES,
	COUNT_LOST,					/* batches */
	COUNT_UNREADABLE,			/* records of Kafka that are no events */
	COUNT_KINDS
} Count;

/* Exit statuses besides 0, as in sysexits.h. */
#define EXIT_FORCED 1
#define EXIT_USAGE 64
#define EXIT_UNAVAILABLE 69
#define EXIT_SYSTEM 71
#define EXIT_CONFIG 78

/* What all threads share. */
typedef struct Agent
{
	const AgentDefinition *definition;
	const Settings *settings;
	Stop		stop;
	Histogram	turn_time;
	Histogram	handle_time;
	atomic_int	status;			/* exit status */
	atomic_llong start_until;	/* when stopping: no handler starts later */
	void		(*on_exit) (void);	/* called by every thread as it ends */
} Agent;

/* Is a worker in an attempt to connect, which nothing can shorten? */
typedef enum Connecting
{
	NOT_CONNECTING,
	CONNECTING,					/* and holds nothing */
	CONNECTING_WITH_BATCH
} Connecting;

/* What the server has said last. */
typedef enum LinkState
{
	LINK_DOWN,					/* nothing */
	LINK_STANDBY,				/* it takes no writes */
	LINK_REFUSED,				/* we may not claim, or there is nothing to */
	LINK_UP
} LinkState;

/* A failure that comes again and again gets a line so often. */
#define SAY_AGAIN (30 * SECOND)

/* Time for an answer of the database once it is time to end. */
#define STOP_GRACE (2 * SECOND)

/* As much of a failure as tells it from another one. */
#define SAID_SIZE 256

typedef struct Worker
{
	Agent	   *agent;
	int			number;
	pthread_t	thread;
	PgConn	   *conn;
	Lease	   *lease;
	Batch		batch;
	bool		has_batch;
	bool		was_connected;
	bool		has_claimed;
	bool		skip_claim;		/* the claim of the last turn was refused */
	void		(*keep) (struct Worker *worker);	/* keeps its events its own
													 * while it works, or NULL */
	void	   *source;			/* for keep() */
	bool		is_empty;		/* nothing was left to claim */
	int			failures;		/* errors in a row */
	int			unprepared;		/* batches in a row that could not be prepared */
	bool		read_only;		/* the last of them: no writes are taken */
	char		said[SAID_SIZE];	/* the failure that was logged last */
	long long	say_again;		/* when it is worth a line again */
	int			spins;			/* claims in a row that found nothing although
								 * there was said to be work */
	unsigned int seed;
	long long	next_report;	/* when outcomes should be reported */
	atomic_llong counts[COUNT_KINDS];
	atomic_llong moves_until;	/* after this it is taken for stuck */
	atomic_int	link;			/* LinkState */
	atomic_int	connecting;		/* Connecting */
	atomic_bool finished;
} Worker;

extern bool worker_init(Worker *worker, Agent *agent, int number,
						const char *worker_id, Lease *lease);
extern void worker_moves(Worker *worker, long long milliseconds);
extern void worker_call_outside(Worker *worker, PgTasks *tasks);
extern void worker_end(Worker *worker);
extern void *worker_main(void *arg);

#endif							/* SENTINAI_WORKER_H */
