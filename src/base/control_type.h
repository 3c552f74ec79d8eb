/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * control_type.h
 *		Types of control events: what the extension publishes about others.
 *
 * Pure C.
 */
#ifndef SN_CONTROL_TYPE_H
#define SN_CONTROL_TYPE_H

#include <stdbool.h>
#include <string.h>

#define SN_TYPE_RETRY_SCHEDULED	"RetryScheduled"
#define SN_TYPE_DEAD_LETTERED		"DeadLettered"

/* sn_is_control_name: whether events of this type are control events */
static inline bool
sn_is_control_name(const char *event_type)
{
	return strcmp(event_type, SN_TYPE_RETRY_SCHEDULED) == 0 ||
		strcmp(event_type, SN_TYPE_DEAD_LETTERED) == 0;
}

#endif							/* SN_CONTROL_TYPE_H */
