/*-------------------------------------------------------------------------
 *
 * bench.h
 *	  What the load programs of the benchmark share.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 * All times are nanoseconds of CLOCK_MONOTONIC, which every process of one
 * machine reads alike.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <libpq-fe.h>

#define PAYLOAD_LEN	239			/* bytes of JSON in every event */
#define FIRST_SEQ	INT64_C(100000000000)	/* keeps all payloads equally long */
#define MAX_THREADS	256

/* A growing list of durations. */
typedef struct Samples
{
	int64_t    *value;
	long		count;
	long		size;
} Samples;

/* What one thread did while the clock of the measurement ran. */
typedef struct Tally
{
	long		calls;
	long		events;
	long		empty;			/* claims that found nothing */
	Samples		times;			/* of each call */
	Samples		begins;			/* when each claim was called; with --ways */
} Tally;

/* What the command line asked for; read-only once the threads run. */
typedef struct Plan
{
	double		seconds;
	double		warmup;

	int			publishers;
	const char *publish;		/* $1 payload, $2 aggregate, $3 tenant */
	const char *copy_row;		/* with COPY: %p, %a, %t are replaced */
	int			per_call;		/* events in one call */
	bool		arrays;			/* $1 is an array of per_call payloads */
	bool		key_array;		/* $2 is an array of per_call aggregates */
	int			turns;			/* $3 is an array of per_call tenants, so many in
								 * turn; 0: it is one tenant */
	double		rate;			/* calls per second of all; 0: no limit */
	long		max_calls;
	int			keys;
	int			tenants;

	int			agents;
	const char *open;			/* before a claim: "begin", or a batch's number */
	const char *claim;			/* column 1 the token or id, "payload" the event */
	const char *finish;
	char		finish_with;	/* t: token, i: ids, b: batch, n: nothing */
	const char *wait;			/* called when a claim found nothing */
	int			poll_ms;		/* or sleep that long */
	bool		pipeline;		/* finish and the next claim in one trip */
	bool		stop_empty;
	long		stop_after;
	double		work_us;		/* pretend to work, per event */

	const char *tick;
	int			tick_ms;

	const char *kafka;			/* bootstrap servers of the reader */
	const char *topic;

	bool		latency;		/* match events by number, note their way */
	const char *commits;		/* file that gets number and time of COMMIT */
	const char *ways;			/* file that gets the way of every event */
} Plan;

extern Plan plan;
extern _Atomic bool stopping;
extern int64_t start_ns;		/* the threads start */
extern int64_t from_ns;			/* warm-up is over */
extern int64_t until_ns;		/* the end */
extern int64_t *committed_at;	/* by number of the event; 0: not yet */
extern int64_t *seen_at;
extern int64_t *called_at;		/* the claim that brought it */
extern int64_t max_events;
extern _Atomic int64_t next_seq;
extern _Atomic long all_claimed;
extern _Atomic int64_t last_claimed;
extern _Atomic int agents_running;

/* common.c */
extern void die(const char *what, const char *why);
extern int64_t now_ns(void);
extern void sleep_until(int64_t when);
extern void make_payload(char *payload, int64_t seq);
extern int64_t find_seq(const char *payload, int len);
extern void note_seen(const char *payload, int len, int64_t called,
					  int64_t when);
extern PGconn *connect_db(void);
extern void run_sql(PGconn *conn, const char *sql);
extern void prepare(PGconn *conn, const char *name, const char *sql);
extern bool measuring(int64_t when);
extern void samples_add(Samples *samples, int64_t value);
extern void samples_join(Samples *into, const Samples *from);
extern void samples_print(FILE *file, const char *name, Samples *samples);

/* The bodies of the threads. */
extern void *publisher_main(void *tally);
extern void *copier_main(void *tally);
extern void *agent_main(void *tally);
extern void *ticker_main(void *tally);
extern void *reader_main(void *tally);

#endif							/* BENCH_H */
