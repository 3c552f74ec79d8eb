/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * pace.c
 *		How far the sequencer's rounds are apart.  Pure C.
 *
 * A pause lets more events come together, so that slices fill and claims and
 * relays have less to read.  Whoever publishes meanwhile waits for its end.  So
 * only what a pause helps with counts for one: many commits of few events.  A
 * round that was full as it was is no reason to wait before the next, in which a
 * small tenant's event may be.
 */
#include "process/pace.h"

#define BUSY_RATE 10000.0		/* events/s at which rounds are as far apart as
								 * the interval says; at half of it they are an
								 * eighth of that apart */
#define LONG_ROUND 1000			/* when rounds take longer than that, and ... */
#define BUSY_SHARE 0.5			/* ... more than this share of the time, the
								 * sequencer rests as long as it works */
#define UNAWAITED 5				/* rounds are so many times as far apart when
								 * nobody waits for what they bring */
#define WINDOW 200000.0			/* over which rate and share are averaged */
#define SECOND 1e6

static double
least(double a, double b)
{
	return a < b ? a : b;
}

/* sn_pace_round: a round has ended */
void
sn_pace_round(SnPace *pace, int64_t events, int64_t began, int64_t took,
			  int64_t interval)
{
	double		full = BUSY_RATE * interval / SECOND;
	double		elapsed = began > pace->began ? began - pace->began : 1;
	double		span = WINDOW + elapsed;

	pace->rate = (pace->rate * WINDOW + least(events, full) * SECOND) / span;
	pace->busy = (pace->busy * WINDOW + pace->took) / span;
	pace->began = began;
	pace->took = took;
}

/* sn_pace_pause: from the beginning of the last round to that of the next */
int64_t
sn_pace_pause(const SnPace *pace, bool awaited, int64_t interval)
{
	double		share = least(pace->rate / BUSY_RATE, 1);
	double		pause = interval * share * share * share;

	if (pace->took > LONG_ROUND && pace->busy > BUSY_SHARE &&
		pause < 2 * pace->took)
		pause = least(2 * pace->took, interval);
	return (int64_t) (awaited ? pause : pause * UNAWAITED);
}
