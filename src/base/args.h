/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * args.h
 *		Checks of arguments that several queue functions share.
 */
#ifndef SN_ARGS_H
#define SN_ARGS_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"

#define SN_SECOND	INT64CONST(1000000) /* in microseconds */
#define SN_DAY		(INT64CONST(86400) * SN_SECOND)
#define SN_YEAR		(366 * SN_DAY)

#define SN_WORKER_TYPE_MAX	100 /* bytes */
#define SN_WORKER_ID_MAX	256
#define SN_ACTOR_MAX		256
#define SN_REASON_MAX		8192

/* raise 22004 unless the argument is there */
#define SN_REQUIRE_ARG(n, name) \
	do { if (PG_ARGISNULL(n)) sn_null_argument(name); } while (0)

extern void sn_null_argument(const char *name) pg_attribute_noreturn();
extern void sn_require_trigger(FunctionCallInfo fcinfo, const char *name);
extern int64 sn_duration(const Interval *value, const char *name, int64 min,
						 int64 max);
extern int64 sn_duration_of(const Interval *value);
extern text *sn_check_plain(text *name, const char *what);
extern text *sn_check_worker_type(text *name);
extern text *sn_text_arg(FunctionCallInfo fcinfo, int n, const char *name,
						 int max);
extern text *sn_actor_arg(FunctionCallInfo fcinfo, int n);
extern text *sn_worker_id_arg(FunctionCallInfo fcinfo, int n);
extern bool sn_parse_time(char *from, TimestampTz *result);

#endif							/* SN_ARGS_H */
