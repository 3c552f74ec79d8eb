/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_provider.c
 *		The brokers there are, their parameters, and the loading of the library
 *		that talks to one.
 *
 * A broker more is a line of the list in relay_provider.h, its folder in
 * src/broker/ and the parser of its parameter beside that.
 */
#include "postgres.h"

#include <dlfcn.h>

#include "miscadmin.h"

#include "base/guc.h"
#include "broker/kafka_conf.h"
#include "broker/rabbitmq_conf.h"
#include "relay/relay_provider.h"

/* A broker's parameter and its hook; what the server calls has no argument of ours */
#define BROKER_PARAMETER(kind, name, ...) \
	static char *name##_conf = NULL; \
	static bool \
	check_##name##_conf(char **newval, void **extra, GucSource source) \
	{ \
		return check_parameter(&sn_providers[SN_BROKER_##kind], *newval); \
	}

#define BROKER_LINE(kind, broker, library, text) \
	[SN_BROKER_##kind] = { \
		.name = #broker, \
		.client = library, \
		.setting = "sentinai." #broker "_conf", \
		.describes = text, \
		.value = &broker##_conf, \
		.check = check_##broker##_conf, \
		.settings = &sn_##broker##_settings \
	},

/*
 * check_parameter: syntax and what is refused; whether the client library
 * knows a property is found out by the relay, which has it
 */
static bool
check_parameter(const SnProvider *provider, const char *value)
{
	char		err[256];

	if (value == NULL || *value == '\0' ||
		provider->settings->check(value, err, sizeof(err)))
		return true;
	/* the server would show the value, in which there may be a secret */
	GUC_check_errmsg("invalid value for parameter \"%s\"", provider->setting);
	GUC_check_errdetail("The value cannot be used: %s.", err);
	return false;
}

SN_BROKERS(BROKER_PARAMETER)

const SnProvider sn_providers[SN_BROKER_KINDS] = {
	[SN_BROKER_NONE] = {.name = "none"},
	SN_BROKERS(BROKER_LINE)
};

/* sn_provider_define: the parameters that configure the brokers */
void
sn_provider_define(void)
{
	const SnProvider *provider;

	for (provider = sn_providers; provider < sn_providers + SN_BROKER_KINDS; provider++)
		if (provider->setting != NULL)
			DefineCustomStringVariable(provider->setting, provider->describes,
									   NULL, provider->value, "", PGC_SIGHUP,
									   GUC_SUPERUSER_ONLY, provider->check,
									   NULL, NULL);
}

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
