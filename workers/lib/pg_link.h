/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * pg_link.h
 *	  What pg.c and pg_link.c share: a connection and statements on it.
 */
#ifndef SENTINAI_PG_LINK_H
#define SENTINAI_PG_LINK_H

#include <libpq-fe.h>

#include "pg.h"

/* How much later than the server the client gives up, in milliseconds. */
#define DEADLINE_SLACK 5000

#define MAX_PARAMS 5

typedef enum Statement
{
	ST_BEGIN,
	ST_TIMEOUT,
	ST_COMMIT,
	ST_ROLLBACK,
	ST_CLAIM,
	ST_COMPLETE,
	ST_FAIL,
	ST_EXTEND,
	ST_RELEASE,
	ST_WAIT,
	ST_PID,						/* from here on they are never prepared */
	ST_HANDLE,
	ST_PREPARE,
	ST_RECORDS,
	ST_PREPARE_RECORDS
} Statement;

typedef struct Step
{
	Statement	statement;
	const char *params[MAX_PARAMS];
	PGresult   *result;
} Step;

struct PgConn
{
	const Settings *settings;
	const char *program;
	PGconn	   *conn;
	bool		prepared;
	bool		never_prepare;	/* a pooler broke prepared statements */
	bool		in_hurry;		/* calls must end within a third of a lease */
	bool		read_only;		/* the server of the last call takes no writes */
	int			interrupt_fd;	/* readable: do not wait much longer, or -1 */
	int			interrupt_grace;	/* how much longer */
	char		worker_id[256];
	char		lease[32];
	char		max_events[16];
	char		timeout[16];
	char		sqlstate[6];
	char		message[256];
};

extern PgStatus link_lose(PgConn *conn, const char *reason);
extern PgStatus link_run(PgConn *conn, Step *steps, int count, int timeout,
						 bool cancel_wait, int *failed_step);
extern PgStatus link_transaction(PgConn *conn, Step *steps, int count,
								 int timeout, int *failed_step);
extern void link_clear(Step *steps, int count);

#endif							/* SENTINAI_PG_LINK_H */
