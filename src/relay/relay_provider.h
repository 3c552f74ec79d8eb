/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_provider.h
 *		The brokers there are: what the server knows of each without its
 *		library, and the loading of that.
 */
#ifndef SN_RELAY_PROVIDER_H
#define SN_RELAY_PROVIDER_H

#include "base/guc.h"
#include "broker/broker.h"

typedef struct SnProvider
{
	const char *name;			/* value of sentinai.broker; its library is
								 * sentinai_NAME */
	const char *client;			/* the client library in that */
	const char *setting;		/* the parameter that configures it */
	const char *describes;		/* what that is */
	char	  **value;			/* of the parameter */
	const SnBrokerSettings *settings;
} SnProvider;

/* By SnBrokerKind; the first is none, which has a name and nothing else */
extern const SnProvider sn_providers[SN_BROKER_KINDS];

extern const SnProvider *sn_provider_wanted(void);
extern char *sn_provider_missing(void);
extern const SnBrokerProvider *sn_provider_load(const SnProvider *provider);

#endif							/* SN_RELAY_PROVIDER_H */
