/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_provider.c
 *		Loads the library that talks to the broker.
 *
 * Only a relay process calls it, so that no other has the client library and
 * its threads; and it is never unloaded.
 */
#include "postgres.h"

#include <dlfcn.h>

#include "miscadmin.h"

#include "relay/relay_provider.h"

#define KAFKA_LIBRARY	"sentinai_kafka"

/*
 * sn_relay_provider: the broker's library, opened in this process only.
 */
const SnBrokerProvider *
sn_relay_provider(void)
{
	static const SnBrokerProvider *provider = NULL;
	char		path[MAXPGPATH];
	void	   *library;
	SnBrokerEntry entry;

	if (provider != NULL)
		return provider;
	snprintf(path, sizeof(path), "%s/%s%s", pkglib_path, KAFKA_LIBRARY,
			 DLSUFFIX);
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not load library \"%s\": %s", path,
						dlerror()),
				 errhint("Install librdkafka, or set sentinai.broker to \"none\".")));
	entry = (SnBrokerEntry) dlsym(library, SN_BROKER_ENTRY);
	provider = entry ? entry(SN_BROKER_ABI) : NULL;
	if (provider == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("library \"%s\" is of another version", path),
				 errhint("Install all files of the extension together.")));
	return provider;
}
