/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * control.h
 *		What is told of an event that failed.
 */
#ifndef SN_CONTROL_H
#define SN_CONTROL_H

#include "postgres.h"

#include "queue/dead_letter.h"

#define SN_ERROR_MAX	8192	/* bytes kept of an error text */

/* What a control event tells */
typedef struct SnControl
{
	const char *type;			/* SN_EVENT_... */
	const text *worker_type;
	const SnEventRow *event;	/* that it is about */
	const pg_uuid_t *event_id;
	int			attempt;
	const text *error;
	TimestampTz due_at;			/* 0: no more attempts */
	bool		of_relay;
	const text *topic;			/* that the relay sent to; NULL: to none */
} SnControl;

extern void sn_control_tell(const SnControl *control);
extern bool sn_is_control_event(const SnEventRow *event);
extern void sn_history_add(SnRetry *retry, const char *error, Size len,
						   const text *worker_id, TimestampTz now);

#endif							/* SN_CONTROL_H */
