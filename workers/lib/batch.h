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
	EVENT_COMPLETED,			/* the server does not know yet */
	EVENT_FAILED,
	EVENT_REPORTED				/* completed, and the server knows */
} EventState;

typedef struct Batch
{
	PgBatch		claimed;
	EventState *states;
	int			open_count;		/* events in state EVENT_OPEN */
	int			completed_count;	/* events in state EVENT_COMPLETED */
	PgFailure  *failures;		/* that the server does not know yet */
	int			failure_count;
	int		   *stopped;		/* events whose keys go no further */
	int			stopped_count;
	bool		in_doubt;		/* the server may know some of the outcomes */
	const char *set_handler;	/* of the definition, or NULL */
	char	  **results;		/* what was done outside for it, by event */
	Text		completed_ids;	/* for a set handler their events */
} Batch;

extern bool batch_init(Batch *batch, PgBatch *claimed,
					   const char *set_handler);
extern void batch_free(Batch *batch);
extern bool batch_is_blocked(const Batch *batch, int index);
extern void batch_record(Batch *batch, int index, AgentOutcome outcome,
						 const char *error, int retry_in);
extern void batch_record_all(Batch *batch);
extern void batch_record_tasks(Batch *batch, PgTasks *tasks);
extern const char *batch_list_open(Batch *batch);
extern bool batch_has_news(const Batch *batch);
extern bool batch_fill_turn(Batch *batch, PgTurn *turn);
extern bool batch_fill_completed(Batch *batch, PgTurn *turn);
extern void batch_fill_failure(Batch *batch, PgTurn *turn);
extern void batch_completed_reported(Batch *batch);
extern void batch_failure_reported(Batch *batch);
extern void batch_reported(Batch *batch);

#endif							/* SENTINAI_BATCH_H */
