/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * control.h
 *		Events that tell about other events.
 */
#ifndef SN_CONTROL_H
#define SN_CONTROL_H

#include "postgres.h"

#include "queue/dead_letter.h"

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
extern void sn_put_text(StringInfo json, const text *value);
extern void sn_put_time(StringInfo json, TimestampTz time);
extern Jsonb *sn_put_parse(StringInfo json);

#endif							/* SN_CONTROL_H */
