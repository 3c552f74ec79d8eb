/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * letter_lane.h
 *		What people do with dead letters, lane by lane.
 */
#ifndef SN_LETTER_LANE_H
#define SN_LETTER_LANE_H

#include "postgres.h"

#include "queue/dead_letter.h"
#include "queue/lane_track.h"

/* A lane of a worker type, locked, whose letters somebody deals with */
typedef struct SnLetterLane
{
	const text *worker_type;
	SnSub	   *sub;			/* NULL: it has gone */
	int			lane;
	SnLane		all;			/* if there is sub */
	TimestampTz now;
} SnLetterLane;

/* Who does it, and why */
typedef struct SnLetterWhy
{
	text	   *actor;
	text	   *reason;			/* may be NULL */
} SnLetterWhy;

extern void sn_letter_lane_open(SnLetterLane *lane, const text *worker_type,
								int number);
extern bool sn_letter_lane_find(const SnLetterLane *lane, const pg_uuid_t *id,
								SnLetter *letter);
extern void sn_letter_lane_close(SnLetterLane *lane);

extern int32 sn_letter_hash(const SnLetter *letter);
extern void sn_letter_retry(SnLetterLane *lane, SnLetter *letter,
							const SnLetterWhy *why);
extern void sn_letter_discard(SnLetterLane *lane, SnLetter *letter,
							  const SnLetterWhy *why);
extern void sn_letter_replace(SnLetterLane *lane, SnLetter *letter,
							  const SnLetterWhy *why, const pg_uuid_t *by);

#endif							/* SN_LETTER_LANE_H */
