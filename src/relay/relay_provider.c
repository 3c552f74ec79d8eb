/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_provider.c
 *		The brokers there are, and the loading of the library that talks to one.
 *
 * A broker more is a line in the table, a kind in base/guc.h, its folder in
 * src/broker/ and the parser of its settings beside that.
 */
#include "postgres.h"

#include <dlfcn.h>

#include "miscadmin.h"

#include "broker/kafka_conf.h"
#include "broker/rabbitmq_conf.h"
#include "relay/relay_provider.h"

const SnProvider sn_providers[SN_BROKER_KINDS] = {
	[SN_BROKER_NONE] = {.name = "none"},
	[SN_BROKER_KAFKA] = {
		.name = "kafka",
		.client = "librdkafka",
		.setting = "sentinai.kafka_conf",
		.describes = "Properties of librdkafka, key=value separated by commas; the relay runs when bootstrap.servers is among them.",
		.value = &sn_kafka_conf,
		.settings = &sn_kafka_settings
	},
	[SN_BROKER_RABBITMQ] = {
		.name = "rabbitmq",
		.client = "librabbitmq",
		.setting = "sentinai.rabbitmq_conf",
		.describes = "Properties of the connection to RabbitMQ, key=value separated by commas; the relay runs when hosts is among them.",
		.value = &sn_rabbitmq_conf,
		.settings = &sn_rabbitmq_settings
	}
};

/* sn_provider_wanted: the broker to produce to; NULL when none is set up */
const SnProvider *
sn_provider_wanted(void)
{
	const SnProvider *provider = &sn_providers[sn_broker];

	if (provider->settings == NULL || *provider->value == NULL ||
		!provider->settings->complete(*provider->value))
		return NULL;
	return provider;
}

/*
 * sn_provider_missing: what is wrong when a broker seems to be meant and none is
 * set up; NULL when all is well, or relays are switched off
 */
char *
sn_provider_missing(void)
{
	const SnProvider *provider = &sn_providers[sn_broker];

	if (provider->settings == NULL || *provider->value == NULL ||
		**provider->value == '\0' || sn_provider_wanted() != NULL)
		return NULL;
	return psprintf("%s names no broker", provider->setting);
}

/*
 * sn_provider_load: a broker's library.  Only a relay process calls it, so that
 * no other has the client library and its threads; and none is ever unloaded.
 */
const SnBrokerProvider *
sn_provider_load(const SnProvider *provider)
{
	static const SnBrokerProvider *loaded[SN_BROKER_KINDS] = {NULL};
	const SnBrokerProvider **slot = &loaded[provider - sn_providers];
	char		path[MAXPGPATH];
	void	   *library;
	SnBrokerEntry entry;

	if (*slot != NULL)
		return *slot;
	snprintf(path, sizeof(path), "%s/sentinai_%s%s", pkglib_path,
			 provider->name, DLSUFFIX);
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not load library \"%s\": %s", path,
						dlerror()),
				 errhint("Install %s, or set sentinai.broker to \"none\".",
						 provider->client)));
	entry = (SnBrokerEntry) dlsym(library, SN_BROKER_ENTRY);
	*slot = entry ? entry(SN_BROKER_ABI) : NULL;
	if (*slot == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("library \"%s\" is of another version", path),
				 errhint("Install all files of the extension together.")));
	return *slot;
}
