/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_event.h
 *		From a row to what a record is made of.
 */
#ifndef SN_RELAY_EVENT_H
#define SN_RELAY_EVENT_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/uuid.h"

#include "base/sentinai.h"
#include "relay/record.h"

/* An event that was read, in the memory context current at the time */
typedef struct SnRelayEvent
{
	int			lane;
	SnPos		next_pos;		/* of the lane, behind the event */
	SnPos		pos;			/* of the row, if it is a parked one */
	const char *error;			/* why it cannot be sent; NULL: it can */
	SnRecordEvent event;
} SnRelayEvent;

extern SnRelayEvent *sn_relay_event(const Datum *values, const bool *nulls,
									StringInfo json, Size max_text);
extern SnRelayEvent *sn_relay_other_event(const pg_uuid_t *id);
extern SnRelayEvent *sn_relay_bad_event(const pg_uuid_t *id,
										const char *error);
extern bool sn_relay_guarded(void (*action) (void *), void *arg,
							 char **error);

#endif							/* SN_RELAY_EVENT_H */
