/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_conf.c
 *		The setting sentinai.kafka_conf: syntax, what is refused, secrets.
 *
 * Its text is a list of properties (props.c).  A property goes to librdkafka
 * unless a rule below refuses it: because it would run a program or load code,
 * switch off a protection, break what the relay promises (order, no loss), or
 * put a secret where settings can be read.  A secret is given as the path of a
 * file (secret_file.c), by the property's name with ".file" behind it.
 * Whether a property exists is for librdkafka to say (broker_kafka.c).
 *
 * Invariants: no value is ever part of a message, only keys and paths of
 * secret files are.  malloc only; no global state.
 */
#include "broker/kafka_conf.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A rule refuses keys equal to its pattern, or starting or ending with it. */
typedef enum RuleMatch
{
	MATCH_ALL,
	MATCH_START,
	MATCH_END
} RuleMatch;

typedef struct Rule
{
	RuleMatch	match;
	const char *pattern;
	const char *reason;
} Rule;

/* librdkafka's default of message.max.bytes. */
#define MAX_RECORD 1000000

#define RUNS_CODE "it would run a program or load code inside the server"
#define OURS "the relay sets it to keep its promises"
#define OWN_SETTING "it has a setting of its own"
#define TEST_ONLY "it is for tests of librdkafka"

static const Rule rules[] = {
	{MATCH_ALL, "plugin.library.paths", RUNS_CODE},
	{MATCH_ALL, "sasl.kerberos.kinit.cmd", RUNS_CODE},
	{MATCH_START, "ssl.engine.", RUNS_CODE},
	{MATCH_ALL, "ssl.providers", RUNS_CODE},
	{MATCH_END, "_cb", RUNS_CODE},
	{MATCH_END, "_cb_data", RUNS_CODE},
	{MATCH_END, "callback_data", RUNS_CODE},
	{MATCH_ALL, "interceptors", RUNS_CODE},
	{MATCH_ALL, "opaque", RUNS_CODE},
	{MATCH_ALL, "default_topic_conf", RUNS_CODE},
	{MATCH_ALL, "internal.termination.signal", RUNS_CODE},
	{MATCH_ALL, "enable.idempotence", OURS},
	{MATCH_ALL, "enable.gapless.guarantee", OURS},
	{MATCH_ALL, "acks", OURS},
	{MATCH_ALL, "request.required.acks", OURS},
	{MATCH_ALL, "partitioner", OURS},
	{MATCH_ALL, "message.timeout.ms", OURS},
	{MATCH_ALL, "delivery.timeout.ms", OURS},
	{MATCH_ALL, "retries", OURS},
	{MATCH_ALL, "message.send.max.retries", OURS},
	{MATCH_ALL, "queuing.strategy", OURS},
	{MATCH_START, "transaction", OURS},
	{MATCH_ALL, "delivery.report.only.error", OURS},
	{MATCH_ALL, "enabled_events", OURS},
	{MATCH_START, "log.", OURS},
	{MATCH_ALL, "statistics.interval.ms", OURS},
	{MATCH_ALL, "queue.buffering.max.messages", OWN_SETTING},
	{MATCH_ALL, "queue.buffering.max.kbytes", OWN_SETTING},
	{MATCH_START, "test.", TEST_ONLY}
};

/*
 * Keys that hold a secret end in one of these.  New ones of a later librdkafka
 * are caught by their wording.
 */
static const char *const secret_endings[] = {
	"password", "passphrase", "secret", "key.pem", "token"
};

static bool kafka_check(const char *text, char *err, size_t err_len);
static bool kafka_complete(const char *text);
static size_t kafka_max_record(const char *text);
static SnProps *kafka_servers(const char *text, SnBrokerServers *servers);
static const char *kafka_hosts(const SnProps *conf);
static const char *security_of(const SnProps *conf, bool sasl);
static const char *scheme_of(const char *mechanism);
static bool check_prop(SnProp *prop, char *err, size_t err_len);
static bool check_conf_value(const SnProp *prop, char *err, size_t err_len);
static bool check_protection(const SnProp *prop, char *err, size_t err_len);
static bool is_probe(const SnProp *prop);
static const char *find_refusal(const char *name);
static bool is_secret(const char *name);
static bool text_starts_with(const char *text, const char *start);
static bool ends_with(const char *text, const char *end);

const SnBrokerSettings sn_kafka_settings = {
	.check = kafka_check,
	.complete = kafka_complete,
	.max_record = kafka_max_record,
	.servers = kafka_servers,
	.is_log = true
};

/* May this be the setting? */
static bool
kafka_check(const char *text, char *err, size_t err_len)
{
	SnProps    *conf = sn_kafka_conf_parse(text, err, err_len);

	sn_props_free(conf);
	return conf != NULL;
}

/* Does it name brokers? */
static bool
kafka_complete(const char *text)
{
	char		err[256];
	SnProps    *conf = sn_kafka_conf_parse(text, err, sizeof(err));
	bool		complete = conf != NULL && kafka_hosts(conf) != NULL;

	sn_props_free(conf);
	return complete;
}

/* What librdkafka takes as a record's value. */
static size_t
kafka_max_record(const char *text)
{
	char		err[256];
	SnProps    *conf = sn_kafka_conf_parse(text, err, sizeof(err));
	const char *value = conf == NULL ? NULL :
		sn_props_get(conf, "message.max.bytes");
	size_t		result = value == NULL ? MAX_RECORD : strtoul(value, NULL, 10);

	sn_props_free(conf);
	return result;
}

/* Its brokers, by the words of AsyncAPI. */
static SnProps *
kafka_servers(const char *text, SnBrokerServers *servers)
{
	char		err[256];
	SnProps    *conf = sn_kafka_conf_parse(text, err, sizeof(err));
	const char *protocol;
	bool		sasl;

	if (conf == NULL)
		return NULL;
	protocol = sn_props_get(conf, "security.protocol");
	if (protocol == NULL)
		protocol = "plaintext";
	sasl = strncasecmp(protocol, "sasl", 4) == 0;
	servers->hosts = kafka_hosts(conf);
	servers->protocol = strcasecmp(protocol, "ssl") == 0 ||
		strcasecmp(protocol, "sasl_ssl") == 0 ? "kafka-secure" : "kafka";
	servers->security = security_of(conf, sasl);
	return conf;
}

/* The brokers, by either of librdkafka's words; NULL: none. */
static const char *
kafka_hosts(const SnProps *conf)
{
	const char *hosts = sn_props_get(conf, "bootstrap.servers");

	return hosts != NULL ? hosts : sn_props_get(conf, "metadata.broker.list");
}

/* How a client proves who it is; NULL: not at all, or not told. */
static const char *
security_of(const SnProps *conf, bool sasl)
{
	const char *mechanism = sn_props_get(conf, "sasl.mechanisms");

	if (sasl)
		return scheme_of(mechanism != NULL ? mechanism :
						 sn_props_get(conf, "sasl.mechanism"));
	if (sn_props_get(conf, "ssl.certificate.location") != NULL ||
		sn_props_get(conf, "ssl.certificate.pem") != NULL ||
		sn_props_get(conf, "ssl.keystore.location") != NULL)
		return "X509";
	return NULL;
}

/* What AsyncAPI calls a mechanism of SASL, or NULL. */
static const char *
scheme_of(const char *mechanism)
{
	static const char *const schemes[][2] = {
		{"PLAIN", "plain"}, {"SCRAM-SHA-256", "scramSha256"},
		{"SCRAM-SHA-512", "scramSha512"}, {"GSSAPI", "gssapi"},
	};
	size_t		i;

	for (i = 0; mechanism != NULL &&
		 i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (strcasecmp(mechanism, schemes[i][0]) == 0)
			return schemes[i][1];
	return NULL;
}

/* Parses and checks the setting; NULL and a message when it is refused. */
SnProps *
sn_kafka_conf_parse(const char *text, char *err, size_t err_len)
{
	return sn_props_parse(text, check_prop, err, err_len);
}

/*
 * Does this property name a file, or a directory, that the client library
 * opens?
 */
bool
sn_kafka_conf_is_path(const SnProp *prop)
{
	return !prop->from_file && ends_with(prop->name, ".location") &&
		!is_probe(prop);
}

/* Does this property name a file that others must not be able to read? */
bool
sn_kafka_conf_is_private_path(const char *name)
{
	return strcmp(name, "ssl.key.location") == 0 ||
		strcmp(name, "ssl.keystore.location") == 0 ||
		strcmp(name, "sasl.kerberos.keytab") == 0;
}

/* May this property go to librdkafka?  Turns X.file into a secret X. */
static bool
check_prop(SnProp *prop, char *err, size_t err_len)
{
	const char *reason;
	size_t		len;

	reason = find_refusal(prop->name);
	if (reason != NULL)
	{
		snprintf(err, err_len, "property \"%s\" is not allowed: %s",
				 prop->name, reason);
		return false;
	}
	if (is_secret(prop->name))
	{
		snprintf(err, err_len, "property \"%s\" is a secret: give the path "
				 "of a file that holds it as \"%s.file\"",
				 prop->name, prop->name);
		return false;
	}
	if (ends_with(prop->name, ".file"))
	{
		len = strlen(prop->name) - strlen(".file");
		prop->name[len] = '\0';
		prop->from_file = is_secret(prop->name);
		if (!prop->from_file || find_refusal(prop->name) != NULL)
		{
			prop->name[len] = '.';
			snprintf(err, err_len, "property \"%s\" does not exist: only "
					 "secrets are read from a file", prop->name);
			return false;
		}
	}
	return check_conf_value(prop, err, err_len);
}

/* Values that would open a hole although the property itself is fine. */
static bool
check_conf_value(const SnProp *prop, char *err, size_t err_len)
{
	const char *p;

	if (!sn_prop_check_text(prop, err, err_len))
		return false;
	if (prop->from_file || ends_with(prop->name, ".location") ||
		sn_kafka_conf_is_private_path(prop->name))
	{
		if (!is_probe(prop) && !sn_prop_check_path(prop, err, err_len))
			return false;
	}
	if (!check_protection(prop, err, err_len))
		return false;

	/* librdkafka puts these into the command line of a shell */
	if (text_starts_with(prop->name, "sasl.kerberos."))
	{
		for (p = prop->value; *p != '\0'; p++)
		{
			if (!isalnum((unsigned char) *p) && strchr("@._/:-", *p) == NULL)
			{
				snprintf(err, err_len, "value of \"%s\" may only contain "
						 "letters, digits and @._/:-", prop->name);
				return false;
			}
		}
	}
	return true;
}

/* Values that would leave open who is at the other end, or what he reads. */
static bool
check_protection(const SnProp *prop, char *err, size_t err_len)
{
	static const char *const words[] = {"NULL", "ADH", "AECDH", "SECLEVEL"};
	const char *only = NULL;
	size_t		i;

	if (strcmp(prop->name, "enable.ssl.certificate.verification") == 0)
		only = "true";
	else if (strcmp(prop->name, "ssl.endpoint.identification.algorithm") == 0)
		only = "https";
	if (only != NULL && strcasecmp(prop->value, only) != 0)
	{
		snprintf(err, err_len, "property \"%s\" can only be %s",
				 prop->name, only);
		return false;
	}
	if (strcmp(prop->name, "ssl.cipher.suites") != 0)
		return true;
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
	{
		if (strstr(prop->value, words[i]) != NULL)
		{
			snprintf(err, err_len, "value of \"%s\" would allow connections "
					 "without encryption or certificates (\"%s\")",
					 prop->name, words[i]);
			return false;
		}
	}
	return true;
}

/* A word of librdkafka's in place of a path: look for the system's store. */
static bool
is_probe(const SnProp *prop)
{
	return strcmp(prop->name, "ssl.ca.location") == 0 &&
		strcmp(prop->value, "probe") == 0;
}

/* Why the property is refused, or NULL. */
static const char *
find_refusal(const char *name)
{
	size_t		i;

	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
	{
		const Rule *rule = &rules[i];

		if ((rule->match == MATCH_ALL && strcmp(name, rule->pattern) == 0) ||
			(rule->match == MATCH_START &&
			 text_starts_with(name, rule->pattern)) ||
			(rule->match == MATCH_END && ends_with(name, rule->pattern)))
			return rule->reason;
	}
	return NULL;
}

/* Does the property hold a secret? */
static bool
is_secret(const char *name)
{
	size_t		i;

	for (i = 0; i < sizeof(secret_endings) / sizeof(secret_endings[0]); i++)
	{
		if (ends_with(name, secret_endings[i]))
			return true;
	}
	return strcmp(name, "sasl.oauthbearer.config") == 0;
}

/* Does the text start so? */
static bool
text_starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/* Does the text end so? */
static bool
ends_with(const char *text, const char *end)
{
	size_t		text_len = strlen(text);
	size_t		end_len = strlen(end);

	return text_len >= end_len &&
		strcmp(text + text_len - end_len, end) == 0;
}

