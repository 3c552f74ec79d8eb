/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * register.h
 *		What functions that manage event types share.
 */
#ifndef SN_REGISTER_H
#define SN_REGISTER_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/jsonb.h"

#include "base/compat.h"

extern text *sn_type_name_arg(FunctionCallInfo fcinfo, int n);
extern void sn_unknown_type(const text *event_type, int32 version)
			pg_attribute_noreturn();
extern void sn_check_document(Jsonb *json, const char *what);
extern void sn_type_drop(text *event_type, int32 version);

#endif							/* SN_REGISTER_H */
