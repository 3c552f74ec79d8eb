/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * batch.h
 *	  The outcomes of the events of one batch.
 */
#ifndef SENTINAI_BATCH_H
#define SENTINAI_BATCH_H

#include "agent.h"
#include "pg.h"
#include "text.h"

#define ERROR_SIZE 1001

typedef enum EventState
{
	EVENT_OPEN,					/* not handled: goes back */
	EVENT_COMPLETED,
	EVENT_FAILED
} EventState;

typedef struct Batch
{
	PgBatch		claimed;
	EventState *states;
	PgFailure  *failures;
	int			failure_count;
	int		   *stopped;		/* events whose keys go no further */
	int			stopped_count;
	int			completed_count;
	Text		completed_ids;
} Batch;

extern bool batch_init(Batch *batch, PgBatch *claimed);
extern void batch_free(Batch *batch);
extern bool batch_is_blocked(const Batch *batch, int index);
extern void batch_record(Batch *batch, int index, AgentOutcome outcome,
						 const char *error, int retry_in);
extern int	batch_open_count(const Batch *batch);
extern bool batch_fill_turn(Batch *batch, PgTurn *turn);

#endif							/* SENTINAI_BATCH_H */
