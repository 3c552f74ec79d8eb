/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * event_type.h
 *		The event types that are registered, as publishers see them.
 */
#ifndef SN_EVENT_TYPE_H
#define SN_EVENT_TYPE_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "base/guc.h"

/* nobody has registered a type; false also when that has to be looked up */
extern bool sn_no_types;

/* sn_type_asks: whether a publisher's event needs sn_type_check() at all */
static inline bool
sn_type_asks(void)
{
	return !sn_no_types || sn_unknown_event_types != SN_UNKNOWN_ALLOW;
}

extern bool sn_type_is_own(const text *event_type);
extern int32 sn_type_check(const text *event_type, int32 version,
						   Jsonb *payload, int index);
extern void sn_types_changed(void);

#endif							/* SN_EVENT_TYPE_H */
