/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * report.h
 *	  Tells the server what became of the events of a batch.
 */
#ifndef SENTINAI_REPORT_H
#define SENTINAI_REPORT_H

#include "log.h"
#include "worker.h"

extern void report_count(Worker *worker, Count kind, int number);
extern void report_log(const Worker *worker, const PgConn *conn,
					   LogLevel level, const char *message);
extern bool report_is_stale(const PgConn *conn);
extern void report_done(Worker *worker, const PgTurn *turn);
extern PgStatus report_settle(Worker *worker, PgConn *conn);
extern bool report_progress(Worker *worker, PgConn *conn);
extern void report_for(void *worker, PgConn *conn);

#endif							/* SENTINAI_REPORT_H */
