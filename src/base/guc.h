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

typedef enum SnBrokerKind
{
	SN_BROKER_NONE,
	SN_BROKER_KAFKA,
	SN_BROKER_RABBITMQ,
	SN_BROKER_KINDS				/* not one */
} SnBrokerKind;

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

/* what a broker is told: defined by its line in relay_provider.c */
extern char *sn_kafka_conf;
extern char *sn_rabbitmq_conf;

extern void sn_guc_init(void);

#endif							/* SN_GUC_H */
