/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * rabbitmq_conf.c
 *		The setting sentinai.rabbitmq_conf: its properties, and what they may be.
 *
 * Its text is a list of properties (props.c).  All that there are stand in the
 * table below; any other is refused.  The password is given as the path of a
 * file (secret_file.c), as password.file.
 *
 * Invariants: no value is ever part of a message.  malloc only; no global
 * state.
 */
#include "broker/rabbitmq_conf.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum PropKind
{
	PROP_TEXT,
	PROP_NAME,					/* as long as AMQP's names may be */
	PROP_TEMPLATE,				/* such a name with {topic} and {key} */
	PROP_WORD,					/* one of some */
	PROP_NUMBER,
	PROP_PATH
} PropKind;

typedef struct PropRule
{
	const char *name;
	PropKind	kind;
	const char *words;			/* of PROP_WORD: "|a|b|" */
	long		least;			/* of PROP_NUMBER */
	long		most;
} PropRule;

/* RabbitMQ's limit of a message, unless it was configured. */
#define MAX_MESSAGE 134217728

static const PropRule prop_rules[] = {
	{.name = "hosts", .kind = PROP_TEXT},
	{.name = "vhost", .kind = PROP_NAME},
	{.name = "username", .kind = PROP_NAME},
	{.name = "password.file", .kind = PROP_PATH},
	{.name = "security.protocol", .kind = PROP_WORD, .words = "|plaintext|ssl|"},
	{.name = "ssl.ca.location", .kind = PROP_PATH},
	{.name = "ssl.certificate.location", .kind = PROP_PATH},
	{.name = "ssl.key.location", .kind = PROP_PATH},
	{.name = "exchange", .kind = PROP_TEMPLATE},
	{.name = "exchange.type", .kind = PROP_WORD,
	.words = "|direct|topic|fanout|headers|x-consistent-hash|"},
	{.name = "routing.key", .kind = PROP_TEMPLATE},
	{.name = "declare", .kind = PROP_WORD, .words = "|true|false|"},
	{.name = "queue.type", .kind = PROP_WORD, .words = "|quorum|classic|stream|"},
	{.name = "heartbeat.s", .kind = PROP_NUMBER, .least = 1, .most = 3600},
	{.name = "max.in.flight.per.key", .kind = PROP_NUMBER, .least = 1,
	.most = 10000},
	{.name = "message.max.bytes", .kind = PROP_NUMBER, .least = 1000,
	.most = 1000000000}
};

static bool rabbitmq_check(const char *text, char *err, size_t err_len);
static bool rabbitmq_complete(const char *text);
static size_t rabbitmq_max_record(const char *text);
static SnProps *rabbitmq_servers(const char *text, SnBrokerServers *servers);
static bool check_rabbitmq_prop(SnProp *prop, char *err, size_t err_len);
static const PropRule *find_prop_rule(const char *name);
static bool check_by_rule(const PropRule *rule, const SnProp *prop,
						  char *err, size_t err_len);
static bool check_template(const SnProp *prop, char *err, size_t err_len);
static bool check_whole_number(const PropRule *rule, const SnProp *prop, char *err,
							   size_t err_len);
static bool is_word_of(const char *words, const char *value);
static bool check_together(const SnRabbitmqConf *conf, char *err,
						   size_t err_len);
static const char *value_or(const SnProps *props, const char *name,
						   const char *otherwise);

const SnBrokerSettings sn_rabbitmq_settings = {
	.check = rabbitmq_check,
	.complete = rabbitmq_complete,
	.max_record = rabbitmq_max_record,
	.servers = rabbitmq_servers,
	.is_amqp = true
};

/* May this be the setting? */
static bool
rabbitmq_check(const char *text, char *err, size_t err_len)
{
	SnRabbitmqConf conf;
	bool		good = sn_rabbitmq_conf_parse(text, &conf, err, err_len);

	sn_props_free(conf.props);
	return good;
}

/* Does it name a broker? */
static bool
rabbitmq_complete(const char *text)
{
	char		err[256];
	SnRabbitmqConf conf;
	bool		complete = sn_rabbitmq_conf_parse(text, &conf, err,
												  sizeof(err)) &&
		conf.hosts != NULL;

	sn_props_free(conf.props);
	return complete;
}

/* What may be a message's body. */
static size_t
rabbitmq_max_record(const char *text)
{
	char		err[256];
	SnRabbitmqConf conf;
	size_t		result = MAX_MESSAGE;

	if (sn_rabbitmq_conf_parse(text, &conf, err, sizeof(err)))
		result = conf.max_record;
	sn_props_free(conf.props);
	return result;
}

/* Its brokers, by the words of AsyncAPI. */
static SnProps *
rabbitmq_servers(const char *text, SnBrokerServers *servers)
{
	char		err[256];
	SnRabbitmqConf conf;

	if (!sn_rabbitmq_conf_parse(text, &conf, err, sizeof(err)))
		return NULL;
	servers->hosts = conf.hosts;
	servers->protocol = conf.tls ? "amqps" : "amqp";
	servers->security = "userPassword";
	return conf.props;
}

/*
 * Parses and checks the setting.  The caller frees props, which is NULL when
 * the setting is refused.
 *
 * A queue of its own for each topic is made when messages go to the default
 * exchange, where nothing else could take them.  With an exchange of the user's,
 * the queues are his, unless he says otherwise.
 */
bool
sn_rabbitmq_conf_parse(const char *text, SnRabbitmqConf *conf, char *err,
					   size_t err_len)
{
	SnProps    *props = sn_props_parse(text, check_rabbitmq_prop, err, err_len);
	int			i;

	memset(conf, 0, sizeof(*conf));
	if (props == NULL)
		return false;
	conf->props = props;
	conf->hosts = sn_props_get(props, "hosts");
	conf->vhost = value_or(props, "vhost", "/");
	conf->username = value_or(props, "username", "guest");
	for (i = 0; i < props->nprops; i++)
		if (props->props[i].from_file)
			conf->password_file = props->props[i].value;
	conf->tls = strcmp(value_or(props, "security.protocol", "plaintext"),
					   "ssl") == 0;
	conf->ca = sn_props_get(props, "ssl.ca.location");
	conf->certificate = sn_props_get(props, "ssl.certificate.location");
	conf->key = sn_props_get(props, "ssl.key.location");
	conf->exchange = value_or(props, "exchange", "");
	conf->routing_key = value_or(props, "routing.key", "{topic}");
	conf->exchange_type = value_or(props, "exchange.type", "topic");
	conf->queue_type = value_or(props, "queue.type", "quorum");
	conf->declare = strcmp(value_or(props, "declare",
								   *conf->exchange == '\0' ? "true" : "false"),
						   "true") == 0;
	conf->heartbeat_s = atoi(value_or(props, "heartbeat.s", "10"));
	conf->in_flight_per_key = atoi(value_or(props, "max.in.flight.per.key", "1"));
	conf->max_record = atol(value_or(props, "message.max.bytes", "134217728"));
	if (check_together(conf, err, err_len))
		return true;
	sn_props_free(props);
	conf->props = NULL;
	return false;
}

/* May this be one of the properties?  Takes ".file" off the password's name. */
static bool
check_rabbitmq_prop(SnProp *prop, char *err, size_t err_len)
{
	const PropRule *rule = find_prop_rule(prop->name);

	if (strcmp(prop->name, "password") == 0)
	{
		snprintf(err, err_len, "property \"password\" is a secret: give the "
				 "path of a file that holds it as \"password.file\"");
		return false;
	}
	if (rule == NULL)
	{
		snprintf(err, err_len, "property \"%s\" does not exist", prop->name);
		return false;
	}
	if (strcmp(prop->name, "password.file") == 0)
	{
		prop->name[strlen("password")] = '\0';
		prop->from_file = true;
	}
	return sn_prop_check_text(prop, err, err_len) &&
		check_by_rule(rule, prop, err, err_len);
}

/* The line of a property in the table, or NULL. */
static const PropRule *
find_prop_rule(const char *name)
{
	size_t		i;

	for (i = 0; i < sizeof(prop_rules) / sizeof(prop_rules[0]); i++)
		if (strcmp(prop_rules[i].name, name) == 0)
			return &prop_rules[i];
	return NULL;
}

/* Does the value fit its kind? */
static bool
check_by_rule(const PropRule *rule, const SnProp *prop, char *err,
			  size_t err_len)
{
	switch (rule->kind)
	{
		case PROP_PATH:
			return sn_prop_check_path(prop, err, err_len);
		case PROP_NUMBER:
			return check_whole_number(rule, prop, err, err_len);
		case PROP_WORD:
			if (is_word_of(rule->words, prop->value))
				return true;
			snprintf(err, err_len, "value of \"%s\" must be one of %s",
					 prop->name, rule->words);
			return false;
		case PROP_NAME:
		case PROP_TEMPLATE:
			if (strlen(prop->value) > SN_RABBITMQ_NAME_MAX)
			{
				snprintf(err, err_len, "value of \"%s\" is longer than %d bytes",
						 prop->name, SN_RABBITMQ_NAME_MAX);
				return false;
			}
			return rule->kind == PROP_NAME ||
				check_template(prop, err, err_len);
		default:
			return true;
	}
}

/* Placeholders are {topic} and {key}. */
static bool
check_template(const SnProp *prop, char *err, size_t err_len)
{
	const char *p = prop->value;

	while ((p = strpbrk(p, "{}")) != NULL)
	{
		if (strncmp(p, "{topic}", 7) == 0)
			p += 7;
		else if (strncmp(p, "{key}", 5) == 0)
			p += 5;
		else
		{
			snprintf(err, err_len, "value of \"%s\" may have the placeholders "
					 "{topic} and {key}, and no other braces", prop->name);
			return false;
		}
	}
	return true;
}

/* A whole number within its bounds. */
static bool
check_whole_number(const PropRule *rule, const SnProp *prop, char *err,
				   size_t err_len)
{
	size_t		len = strlen(prop->value);
	long		value = len < 12 ? atol(prop->value) : 0;

	if (strspn(prop->value, "0123456789") == len && len < 12 &&
		value >= rule->least && value <= rule->most)
		return true;
	snprintf(err, err_len, "value of \"%s\" must be a number from %ld to %ld",
			 prop->name, rule->least, rule->most);
	return false;
}

/* Is the value one of "|a|b|"? */
static bool
is_word_of(const char *words, const char *value)
{
	const char *word = words + 1;
	size_t		len;

	for (len = strcspn(word, "|"); *word != '\0'; len = strcspn(word, "|"))
	{
		if (strlen(value) == len && strncmp(word, value, len) == 0)
			return true;
		word += len + 1;
	}
	return false;
}

/* What is only wrong together. */
static bool
check_together(const SnRabbitmqConf *conf, char *err, size_t err_len)
{
	if (conf->tls && conf->ca == NULL)
	{
		snprintf(err, err_len, "\"security.protocol=ssl\" needs "
				 "\"ssl.ca.location\", the file of the authorities to trust");
		return false;
	}
	if ((conf->certificate == NULL) != (conf->key == NULL))
	{
		snprintf(err, err_len, "\"ssl.certificate.location\" and "
				 "\"ssl.key.location\" need each other");
		return false;
	}
	if (conf->declare && (strstr(conf->exchange, "{key}") != NULL ||
						  strstr(conf->routing_key, "{key}") != NULL))
	{
		snprintf(err, err_len, "\"declare=true\" cannot be used with {key}: "
				 "only the topic is known then");
		return false;
	}
	if (conf->declare && *conf->exchange == '\0' &&
		strcmp(conf->routing_key, "{topic}") != 0)
	{
		snprintf(err, err_len, "the default exchange sends to the queue that "
				 "the routing key names: \"declare=true\" needs "
				 "\"routing.key={topic}\" there");
		return false;
	}
	return true;
}

/* The value of a property, or what holds without it. */
static const char *
value_or(const SnProps *props, const char *name, const char *otherwise)
{
	const char *value = sn_props_get(props, name);

	return value != NULL ? value : otherwise;
}
