/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * attempt.h
 *		What follows when an attempt at an event has failed.
 */
#ifndef SN_ATTEMPT_H
#define SN_ATTEMPT_H

#include "postgres.h"

#include "queue/batch.h"
#include "queue/dead_letter.h"

/* A failed attempt */
typedef struct SnFailure
{
	SnSub	   *sub;
	SnLaneState *state;			/* of the event's lane; counters are kept */
	const SnEntry *entry;
	text	   *error;
	bool		retryable;
	bool		lost;			/* nobody said so: the lease ran out */
	bool		given_up;		/* there was no attempt: somebody decided */
	int64		wait;			/* microseconds; -1: as the policy says */
	TimestampTz now;
	SnLogReader *log;
} SnFailure;

typedef enum SnOutcome
{
	SN_RETRYING,
	SN_DEAD,					/* its key goes on */
	SN_DEAD_BLOCKING
} SnOutcome;

extern text *sn_attempt_error(text *error, const SnEventRow *event);
extern SnOutcome sn_attempt_failed(const SnFailure *failure);
extern SnOutcome sn_batch_fail(SnBatch *batch, const SnEntry *entry,
							   text *error, bool retryable, int64 wait);

#endif							/* SN_ATTEMPT_H */
