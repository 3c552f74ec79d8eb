/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * asyncapi_server.c
 *		The brokers that asyncapi() names, as the settings of the relay have them.
 *
 * Hosts and kinds of protection go out, and nothing else of the setting: no
 * user, no file, no password.
 */
#include "postgres.h"

#include "relay/asyncapi.h"

#define HOSTS_MAX 100

/* put_server: one host, which may have a protocol before it */
static void
put_server(StringInfo out, const char *name, const char *host,
		   const SnBrokerServers *servers)
{
	const char *behind = strstr(host, "://");

	sn_api_open(out, name);
	sn_api_text(out, "host", behind != NULL ? behind + 3 : host);
	sn_api_text(out, "protocol", servers->protocol);
	if (servers->security != NULL)
	{
		sn_api_name(out, "security");
		appendStringInfo(out, "[{\"type\": \"%s\"}]", servers->security);
	}
	sn_api_close(out);
}

/* put_servers: all hosts; their names have a number */
static void
put_servers(StringInfo out, const char *name, const SnBrokerServers *servers)
{
	char	   *rest = NULL;
	char	   *host;
	int			n = 0;

	if (servers->hosts == NULL)
		return;
	sn_api_open(out, "servers");
	for (host = strtok_r(pstrdup(servers->hosts), ", \t\n", &rest);
		 host != NULL && n < HOSTS_MAX; host = strtok_r(NULL, ", \t\n", &rest))
		put_server(out, psprintf("%s%d", name, ++n), host, servers);
	sn_api_close(out);
}

/* sn_api_servers: the member "servers", unless no broker is set */
void
sn_api_servers(StringInfo out, const SnRelaySettings *settings)
{
	const SnProvider *provider = settings->provider;
	SnBrokerServers servers = {NULL};
	SnProps    *conf;

	if (provider == NULL)
		return;
	conf = provider->settings->servers(settings->conf, &servers);
	if (conf == NULL)
		return;
	PG_TRY();
	{
		put_servers(out, provider->name, &servers);
	}
	PG_FINALLY();
	{
		sn_props_free(conf);
	}
	PG_END_TRY();
}
