/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * event_check.h
 *		What an event may be made of.
 */
#ifndef SN_EVENT_CHECK_H
#define SN_EVENT_CHECK_H

#include "base/compat.h"
#include "log/event.h"

#define SN_METADATA_MAX (64 * 1024)

extern bool sn_may_publish(const text *tenant_id);
extern bool sn_is_control_type(const text *event_type);
extern void sn_check_event(SnEvent *event, const Datum *values,
						   const bool *nulls, int32 version, int index);
extern void sn_check_version(SnEvent *event, int32 version, int index);

/* Parts of it, for arguments that stand beside the columns of an event */
extern void sn_event_refuse(int sqlstate, int index, const char *what,
							const char *why) pg_attribute_noreturn();
extern void sn_event_require(bool isnull, int index, const char *what);
extern Size sn_event_size(Datum value);
extern text *sn_event_tenant(Datum value, bool isnull, int index);
extern text *sn_event_text(Datum value, Size max, int index,
						   const char *what);
extern text *sn_event_correlation(Datum value, int index);
extern text *sn_event_type_arg(Datum value, const char *what);
extern text *sn_tenant_arg(Datum value, const char *what);
extern text *sn_event_aggregate_type(Datum value, bool isnull, int index);
extern Jsonb *sn_event_metadata(Datum value, int index);

#endif							/* SN_EVENT_CHECK_H */
