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
#define SN_TYPE_LETTER_RETRIED		"DeadLetterRetried"
#define SN_TYPE_LETTER_DISCARDED	"DeadLetterDiscarded"
#define SN_TYPE_LETTER_REPLACED		"DeadLetterReplaced"
#define SN_TYPE_RECORD_REFUSED		"RecordRefused"
#define SN_TYPE_ALERT_RAISED		"AlertRaised"
#define SN_TYPE_ALERT_CLEARED		"AlertCleared"
#define SN_TYPE_SLA_IMMINENT		"SLAImminent"
#define SN_TYPE_SLA_EXPIRED		"SLAExpired"
#define SN_TYPE_BACKPRESSURE		"BackpressureDetected"
#define SN_TYPE_BACKPRESSURE_OVER	"BackpressureCleared"
#define SN_TYPE_AUDIT_ROOT		"AuditRootPublished"

/* X(name): types of events that tell about others, or about the work */
#define SN_CONTROL_TYPES(X) \
	X(SN_TYPE_RETRY_SCHEDULED) X(SN_TYPE_DEAD_LETTERED) \
	X(SN_TYPE_LETTER_RETRIED) X(SN_TYPE_LETTER_DISCARDED) \
	X(SN_TYPE_LETTER_REPLACED) X(SN_TYPE_RECORD_REFUSED) \
	X(SN_TYPE_ALERT_RAISED) X(SN_TYPE_ALERT_CLEARED) \
	X(SN_TYPE_BACKPRESSURE) X(SN_TYPE_BACKPRESSURE_OVER) \
	X(SN_TYPE_AUDIT_ROOT)

/* X(name): every type that is the extension's own */
#define SN_OWN_TYPES(X) \
	SN_CONTROL_TYPES(X) \
	X(SN_TYPE_SLA_IMMINENT) X(SN_TYPE_SLA_EXPIRED)

/* sn_may_be_control: what the first letter tells of that, for most types */
static inline bool
sn_may_be_control(char first)
{
#define SN_BEGINS(name) || first == (name)[0]
	return false SN_CONTROL_TYPES(SN_BEGINS);
#undef SN_BEGINS
}

/* sn_is_control_name: whether events of this type tell about other events */
static inline bool
sn_is_control_name(const char *event_type)
{
#define SN_IS_NAME(name) || strcmp(event_type, name) == 0
	return sn_may_be_control(event_type[0]) &&
		(false SN_CONTROL_TYPES(SN_IS_NAME));
#undef SN_IS_NAME
}

#endif							/* SN_CONTROL_TYPE_H */
