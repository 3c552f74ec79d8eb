/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * pace.h
 *		How far the sequencer's rounds are apart.  Times are in microseconds.
 */
#ifndef SN_PACE_H
#define SN_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* What is known of the rounds so far; all zero: nothing */
typedef struct SnPace
{
	double		rate;			/* events/s, of each round as many at most as fill one */
	double		busy;			/* share of the time that rounds took */
	int64_t		began;			/* the last round */
	int64_t		took;
} SnPace;

extern void sn_pace_round(SnPace *pace, int64_t events, int64_t began,
						  int64_t took, int64_t interval);
extern int64_t sn_pace_pause(const SnPace *pace, bool awaited,
							 int64_t interval);

#endif							/* SN_PACE_H */
