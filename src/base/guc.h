/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * guc.h
 *		Every setting of the extension; settings.h lists them.
 */
#ifndef SN_GUC_H
#define SN_GUC_H

#include "postgres.h"

#define SN_MAX_RELAY_WORKERS 16
#define SN_MAX_LIMIT_BUCKETS (4 * 1024 * 1024)

typedef enum SnRelayStart
{
	SN_RELAY_EARLIEST,
	SN_RELAY_LATEST
} SnRelayStart;

typedef enum SnUnknownTypes
{
	SN_UNKNOWN_ALLOW,
	SN_UNKNOWN_REFUSE
} SnUnknownTypes;

typedef enum SnRecordTime
{
	SN_TIME_SENDING,
	SN_TIME_OCCURRED
} SnRecordTime;

#define SN_INT(name, ...) extern int sn_##name;
#define SN_BOOL(name, ...) extern bool sn_##name;
#define SN_ENUM(name, ...) extern int sn_##name;
#define SN_STRING(name, ...) extern char *sn_##name;
#include "base/settings.h"

extern void sn_guc_init(void);

#endif							/* SN_GUC_H */
