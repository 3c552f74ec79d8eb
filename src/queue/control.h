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

/* What somebody has done with a dead letter */
typedef struct SnLetterAction
{
	const char *type;			/* SN_TYPE_LETTER_... */
	const text *worker_type;
	const SnEventRow *event;	/* that it is about */
	const pg_uuid_t *event_id;
	const text *actor;
	const text *reason;			/* may be NULL */
	const pg_uuid_t *replaced_by;	/* may be NULL */
} SnLetterAction;

/* An alert that begins or ends */
typedef struct SnAlertNews
{
	const char *type;			/* SN_TYPE_ALERT_... */
	const text *alert;
	text	   *tenant_id;
	int			threshold;
	int64		letters;		/* counted, up to the threshold */
	const Interval *within;		/* NULL: whenever */
	TimestampTz raised_at;
	Datum		channels;		/* text[] */
} SnAlertNews;

extern void sn_control_letter(const SnLetterAction *action);
extern void sn_control_alert(const SnAlertNews *news);
extern void sn_control_tell(const SnControl *control);
extern bool sn_is_control_event(const SnEventRow *event);
extern void sn_history_add(SnRetry *retry, const char *error, Size len,
						   const text *worker_id, TimestampTz now);

#endif							/* SN_CONTROL_H */
