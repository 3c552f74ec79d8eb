/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_provider.h
 *		The brokers there are: what the server knows of each without its
 *		library, and the loading of that.
 */
#ifndef SN_RELAY_PROVIDER_H
#define SN_RELAY_PROVIDER_H

#include "postgres.h"

#include "utils/guc.h"

#include "broker/broker.h"

/*
 * The brokers there are: BROKER(KIND, name, client library, what its parameter
 * is).  The name is a value of sentinai.broker.  The library is sentinai_NAME,
 * the parameter sentinai.NAME_conf, and its parser sn_NAME_settings.
 */
#define SN_BROKERS(BROKER) \
	BROKER(KAFKA, kafka, "librdkafka", \
		   "Properties of librdkafka, key=value separated by commas; the relay runs when bootstrap.servers is among them.") \
	BROKER(RABBITMQ, rabbitmq, "librabbitmq", \
		   "Properties of the connection to RabbitMQ, key=value separated by commas; the relay runs when hosts is among them.")

#define SN_BROKER_KIND(kind, ...) SN_BROKER_##kind,

typedef enum SnBrokerKind
{
	SN_BROKER_NONE,
	SN_BROKERS(SN_BROKER_KIND)
	SN_BROKER_KINDS				/* not one */
} SnBrokerKind;

typedef struct SnProvider
{
	const char *name;
	const char *client;
	const char *setting;		/* its parameter */
	const char *describes;		/* what that is */
	char	  **value;			/* of the parameter */
	GucStringCheckHook check;
	const SnBrokerSettings *settings;
} SnProvider;

/* By SnBrokerKind; the first is none, which has a name and nothing else */
extern const SnProvider sn_providers[SN_BROKER_KINDS];

extern void sn_provider_define(void);
extern const SnProvider *sn_provider_wanted(void);
extern char *sn_provider_missing(void);
extern const SnBrokerProvider *sn_provider_load(const SnProvider *provider);

#endif							/* SN_RELAY_PROVIDER_H */
