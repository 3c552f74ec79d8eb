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

#include "utils/timestamp.h"

#include "base/guc.h"
#include "broker/kafka_conf.h"
#include "broker/rabbitmq_conf.h"
#include "relay/asyncapi.h"

#define HOSTS_MAX 100

/* scheme_of: what AsyncAPI calls a mechanism of SASL, or NULL */
static const char *
scheme_of(const char *mechanism)
{
	static const char *const schemes[][2] = {
		{"PLAIN", "plain"}, {"SCRAM-SHA-256", "scramSha256"},
		{"SCRAM-SHA-512", "scramSha512"}, {"GSSAPI", "gssapi"},
	};
	int			i;

	for (i = 0; mechanism != NULL && i < lengthof(schemes); i++)
		if (pg_strcasecmp(mechanism, schemes[i][0]) == 0)
			return schemes[i][1];
	return NULL;
}

/* security_of: how a client proves who it is; NULL: not at all, or not told */
static const char *
security_of(const SnProps *conf, const char *protocol)
{
	const char *mechanism = sn_props_get(conf, "sasl.mechanisms");

	if (pg_strncasecmp(protocol, "sasl", 4) == 0)
		return scheme_of(mechanism != NULL ? mechanism :
						 sn_props_get(conf, "sasl.mechanism"));
	if (sn_props_get(conf, "ssl.certificate.location") != NULL ||
		sn_props_get(conf, "ssl.certificate.pem") != NULL ||
		sn_props_get(conf, "ssl.keystore.location") != NULL)
		return "X509";
	return NULL;
}

/* put_server: one host, which may have a protocol before it */
static void
put_server(StringInfo out, const char *name, const char *host,
		   const char *protocol, const char *security)
{
	const char *behind = strstr(host, "://");

	sn_api_open(out, name);
	sn_api_text(out, "host", behind != NULL ? behind + 3 : host);
	sn_api_text(out, "protocol", protocol);
	if (security != NULL)
	{
		sn_api_name(out, "security");
		appendStringInfo(out, "[{\"type\": \"%s\"}]", security);
	}
	sn_api_close(out);
}

/* put_servers: all hosts of a list; their names have a number */
static void
put_servers(StringInfo out, const char *hosts, const char *name,
			const char *protocol, const char *security)
{
	char	   *rest = NULL;
	char	   *host;
	int			n = 0;

	if (hosts == NULL)
		return;
	sn_api_open(out, "servers");
	for (host = strtok_r(pstrdup(hosts), ", \t\n", &rest);
		 host != NULL && n < HOSTS_MAX; host = strtok_r(NULL, ", \t\n", &rest))
		put_server(out, psprintf("%s%d", name, ++n), host, protocol, security);
	sn_api_close(out);
}

/* put_kafka: brokers of Kafka */
static void
put_kafka(StringInfo out, const SnProps *conf)
{
	const char *hosts = sn_props_get(conf, "bootstrap.servers");
	const char *protocol = sn_props_get(conf, "security.protocol");

	if (hosts == NULL)
		hosts = sn_props_get(conf, "metadata.broker.list");
	if (protocol == NULL)
		protocol = "plaintext";
	put_servers(out, hosts, "kafka",
				pg_strcasecmp(protocol, "ssl") == 0 ||
				pg_strcasecmp(protocol, "sasl_ssl") == 0 ?
				"kafka-secure" : "kafka", security_of(conf, protocol));
}

/* sn_api_servers: the member "servers", unless no broker is set */
void
sn_api_servers(StringInfo out, const SnRelaySettings *settings)
{
	char		err[256];
	SnRabbitmqConf rabbitmq = {NULL};
	SnProps    *conf;
	bool		kafka;

	if (settings->provider == NULL)
		return;
	kafka = settings->provider == &sn_providers[SN_BROKER_KAFKA];
	if (kafka)
		conf = sn_kafka_conf_parse(settings->conf, err, sizeof(err));
	else if (sn_rabbitmq_conf_parse(settings->conf, &rabbitmq, err, sizeof(err)))
		conf = rabbitmq.props;
	else
		return;
	if (conf == NULL)
		return;
	PG_TRY();
	{
		if (kafka)
			put_kafka(out, conf);
		else
			put_servers(out, rabbitmq.hosts, "rabbitmq",
						rabbitmq.tls ? "amqps" : "amqp", "userPassword");
	}
	PG_FINALLY();
	{
		sn_props_free(conf);
	}
	PG_END_TRY();
}
