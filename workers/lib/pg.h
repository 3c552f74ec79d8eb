/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * pg.h
 *	  The calls an agent makes to the server.
 *
 * Every call is one round trip and one transaction, and leaves no state in
 * the session, so that it works through a pooler in transaction mode.
 */
#ifndef SENTINAI_PG_H
#define SENTINAI_PG_H

#include <stdbool.h>

#include "agent.h"
#include "conf.h"

typedef struct PgConn PgConn;

typedef enum PgStatus
{
	PG_DONE,					/* committed */
	PG_REFUSED,					/* the server said no; nothing happened */
	PG_LOST,					/* no connection; what happened is unknown */
	PG_INTERRUPTED				/* a wait was cancelled */
} PgStatus;

/* A failed event to report. */
typedef struct PgFailure
{
	const char *event_id;
	const char *error;
	bool		retryable;
	int			retry_in;		/* milliseconds; below 0: as subscribed */
	bool		dead;			/* out: given up */
} PgFailure;

/* A claimed batch.  The events point into `result`. */
typedef struct PgBatch
{
	AgentEvent *events;
	int			count;
	void	   *result;
} PgBatch;

/* What a batch needs done outside of the database.  It points into `result`. */
typedef struct PgTasks
{
	AgentTask  *tasks;
	int			count;
	const char **cells;
	void	   *result;
} PgTasks;

/* The end of one batch and the claim of the next, in one transaction. */
typedef struct PgTurn
{
	const char *token;			/* of the batch to end, or NULL */
	PgFailure  *failures;
	int			failure_count;
	bool		complete;
	const char *completed_ids;	/* array literal; NULL: all that is left */
	const char *set_handler;	/* handles `handled` instead, or NULL */
	const char *handled;		/* JSON array of the events */
	int			retried;		/* out: of these, what will come again */
	int			dead;			/* out: and what became dead letters */
	bool		claim;
	bool		claim_refused;	/* out, with PG_REFUSED: it was the claim */
	PgBatch		batch;			/* out */
} PgTurn;

/* Records of one partition of Kafka for a set handler. */
typedef struct PgRecords
{
	const char *handler;
	const char *topic;
	int			partition;
	const char *records;		/* JSON array */
	int			handled;		/* out: done now */
	int			dead;			/* out: given up */
	const char *poison;			/* out: arrays of offsets: no events, */
	const char *failed;			/* failed, how many milliseconds to wait, */
	const char *delays;
	const char *waiting;		/* and waiting behind those that failed */
	void	   *result;
} PgRecords;

extern PgConn *pg_new(const Settings *settings, const char *program,
					  const char *worker_id);
extern void pg_free(PgConn *conn);
extern bool pg_connect(PgConn *conn);
extern void pg_hurry(PgConn *conn);
extern void pg_set_interrupt(PgConn *conn, int fd, int grace);
extern bool pg_is_connected(const PgConn *conn);
extern void pg_disconnect(PgConn *conn);
extern PgStatus pg_turn(PgConn *conn, PgTurn *turn);
extern PgStatus pg_prepare(PgConn *conn, const char *set_handler,
						   const char *list, bool are_records,
						   const PgBatch *batch, PgTasks *tasks);
extern void pg_tasks_free(PgTasks *tasks);
extern PgStatus pg_handle_records(PgConn *conn, PgRecords *records);
extern void pg_records_free(PgRecords *records);
extern PgStatus pg_extend(PgConn *conn, const char *token);
extern PgStatus pg_release(PgConn *conn, const char *token, int *released);
extern PgStatus pg_wait_for_work(PgConn *conn, int milliseconds, bool *ready);
extern const char *pg_sqlstate(const PgConn *conn);
extern const char *pg_message(const PgConn *conn);
extern bool pg_is_read_only(const PgConn *conn);
extern void pg_batch_free(PgBatch *batch);
extern bool pg_check_conninfo(const Settings *settings);
extern bool pg_is_public(const char *dbname);

#endif							/* SENTINAI_PG_H */
