/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * control_type.h
 *		Types of control events: what the extension publishes about others, and
 *		all types that nobody else may publish or register.
 *
 * Pure C.
 */
#ifndef SN_CONTROL_TYPE_H
#define SN_CONTROL_TYPE_H

#include <stdbool.h>
#include <string.h>

#define SN_TYPE_RETRY_SCHEDULED	"RetryScheduled"
#define SN_TYPE_DEAD_LETTERED		"DeadLettered"
#define SN_TYPE_SLA_IMMINENT		"SLAImminent"
#define SN_TYPE_SLA_EXPIRED		"SLAExpired"
#define SN_TYPE_BACKPRESSURE		"BackpressureDetected"

/* X(name): every type that is the extension's own */
#define SN_OWN_TYPES(X) \
	X(SN_TYPE_RETRY_SCHEDULED) X(SN_TYPE_DEAD_LETTERED) \
	X(SN_TYPE_SLA_IMMINENT) X(SN_TYPE_SLA_EXPIRED) X(SN_TYPE_BACKPRESSURE)

/* sn_is_control_name: whether events of this type tell about other events */
static inline bool
sn_is_control_name(const char *event_type)
{
	return strcmp(event_type, SN_TYPE_RETRY_SCHEDULED) == 0 ||
		strcmp(event_type, SN_TYPE_DEAD_LETTERED) == 0;
}

#endif							/* SN_CONTROL_TYPE_H */
