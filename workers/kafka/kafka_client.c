/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_client.c
 *	  A consumer of librdkafka, made from an agent's options.
 *
 * The file of properties is read and checked by the relay's code: what would
 * run a program or switch off a protection is refused, and secrets are in
 * files, in the directory of that file or below.  What the agent's promises
 * rest on is refused here.
 *
 * librdkafka's own messages are not logged: they may quote what it was told.
 */
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/kafka_conf.h"
#include "broker/secret_file.h"
#include "kafka_client.h"

/* Records and their places are ours to keep; a member is a thread. */
static const char *const ours[] = {
	"group.id", "group.instance.id", "enable.auto.commit",
	"auto.commit.interval.ms", "enable.auto.offset.store",
	"enable.partition.eof", "consume.callback.max.messages"
};

/* Reads a small file; NULL and the reason when it cannot be. */
static char *
read_conf_file(const char *path, char *error, size_t size)
{
	FILE	   *file = fopen(path, "re");
	char	   *text = file != NULL ? calloc(1, SN_PROPS_MAX_TEXT + 1) : NULL;

	if (text != NULL &&
		fread(text, 1, SN_PROPS_MAX_TEXT + 1, file) <= SN_PROPS_MAX_TEXT &&
		!ferror(file))
	{
		fclose(file);
		return text;
	}
	snprintf(error, size, "could not read file \"%.200s\" of --kafka-conf",
			 path);
	if (file != NULL)
		fclose(file);
	free(text);
	return NULL;
}

/* Is a property kept for us? */
static bool
is_ours(const char *name)
{
	size_t		i;

	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strcmp(name, ours[i]) == 0)
			return true;
	return false;
}

/* Gives one property to librdkafka.  Its reason may quote the value. */
static bool
set_property(rd_kafka_conf_t *conf, const char *name, const char *value,
			 char *error, size_t size)
{
	if (rd_kafka_conf_set(conf, name, value, NULL, 0) == RD_KAFKA_CONF_OK)
		return true;
	snprintf(error, size, "librdkafka does not take the property \"%.100s\", "
			 "or not with this value", name);
	return false;
}

/* Gives a property that is in a file, or is the place of one that is private. */
static bool
set_private_property(rd_kafka_conf_t *conf, const SnProp *prop,
					 const char *directory, char *error, size_t size)
{
	char	   *value = prop->from_file ?
		sn_secret_read(directory, prop->name, prop->value, error, size) :
		sn_secret_place(directory, prop->name, prop->value, error, size);
	bool		done = value != NULL &&
		set_property(conf, prop->name, value, error, size);

	if (prop->from_file)
		sn_secret_forget(value);
	else
		free(value);
	return done;
}

/* Gives the properties of the file. */
static bool
set_file_properties(rd_kafka_conf_t *conf, const SnProps *props,
					const char *directory, char *error, size_t size)
{
	int			i;

	for (i = 0; i < props->nprops; i++)
	{
		const SnProp *prop = &props->props[i];
		bool		done;

		if (is_ours(prop->name))
		{
			snprintf(error, size, "property \"%s\" is not allowed: the agent "
					 "sets it to keep its promises", prop->name);
			return false;
		}
		if (prop->from_file || sn_kafka_conf_is_private_path(prop->name))
			done = set_private_property(conf, prop, directory, error, size);
		else
			done = (!sn_kafka_conf_is_path(prop) ||
					sn_public_file(prop->name, prop->value, error, size)) &&
				set_property(conf, prop->name, prop->value, error, size);
		if (!done)
			return false;
	}
	return true;
}

/* Reads the file, if there is one, and gives what it says. */
static bool
apply_conf_file(rd_kafka_conf_t *conf, const char *path, char *error,
				size_t size)
{
	char	   *text;
	char	   *copy;
	SnProps    *props;
	bool		done = false;

	if (path == NULL)
		return true;
	text = read_conf_file(path, error, size);
	if (text == NULL)
		return false;
	props = sn_kafka_conf_parse(text, error, size);
	copy = realpath(path, NULL);
	if (props != NULL && copy != NULL)
		done = set_file_properties(conf, props, dirname(copy), error, size);
	free(copy);
	free(text);
	sn_props_free(props);
	return done;
}

/* Gives what the agent's promises rest on, and who it is. */
static bool
set_own_properties(rd_kafka_conf_t *conf, const KafkaSettings *settings,
				   const char *agent, char *error, size_t size)
{
	char		group[300];

	snprintf(group, sizeof(group), "sentinai.%s", agent);
	return (settings->brokers == NULL ||
			set_property(conf, "bootstrap.servers", settings->brokers, error,
						 size)) &&
		set_property(conf, "group.id", settings->group_id != NULL ?
					 settings->group_id : group, error, size) &&
		set_property(conf, "enable.auto.commit", "false", error, size) &&
		set_property(conf, "enable.auto.offset.store", "false", error, size);
}

/* Is it said where the brokers are? */
static bool
has_brokers(rd_kafka_conf_t *conf, char *error, size_t size)
{
	char		value[16];
	size_t		length = sizeof(value);

	if (rd_kafka_conf_get(conf, "bootstrap.servers", value, &length) ==
		RD_KAFKA_CONF_OK && length > 1)
		return true;
	snprintf(error, size, "--source kafka needs --brokers, or "
			 "bootstrap.servers in the file of --kafka-conf");
	return false;
}

/* librdkafka's messages go nowhere. */
static void
drop_message(const rd_kafka_t *consumer, int level, const char *facility,
			 const char *message)
{
	(void) consumer;
	(void) level;
	(void) facility;
	(void) message;
}

/*
 * Makes a consumer that belongs to no group yet; NULL and the reason when it
 * cannot.  What the file does not say: join late readers at the oldest record,
 * move only what has to move, and keep little in memory.
 */
rd_kafka_t *
kafka_open(const KafkaSettings *settings, const char *agent,
		   const KafkaCalls *calls, void *arg, char *error, size_t size)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *consumer = NULL;

	error[0] = '\0';
	rd_kafka_conf_set_log_cb(conf, drop_message);
	rd_kafka_conf_set_opaque(conf, arg);
	rd_kafka_conf_set_rebalance_cb(conf, calls->rebalance);
	rd_kafka_conf_set_error_cb(conf, calls->trouble);
	if (set_property(conf, "client.id", "sentinai-agent", error, size) &&
		set_property(conf, "auto.offset.reset", "earliest", error, size) &&
		set_property(conf, "partition.assignment.strategy",
					 "cooperative-sticky", error, size) &&
		set_property(conf, "queued.max.messages.kbytes", "16384", error,
					 size) &&
		set_property(conf, "reconnect.backoff.max.ms", "3000", error, size) &&
		apply_conf_file(conf, settings->conf, error, size) &&
		set_own_properties(conf, settings, agent, error, size) &&
		has_brokers(conf, error, size))
		consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
	if (consumer == NULL)
	{
		rd_kafka_conf_destroy(conf);
		if (error[0] == '\0')
			snprintf(error, size, "librdkafka makes no consumer of these "
					 "properties");
		return NULL;
	}
	rd_kafka_poll_set_consumer(consumer);
	return consumer;
}

/* Joins the group for the topics. */
bool
kafka_subscribe(rd_kafka_t *consumer, const KafkaSettings *settings)
{
	rd_kafka_topic_partition_list_t *topics =
		rd_kafka_topic_partition_list_new(4);
	char	   *names = strdup(settings->topics);
	char	   *place = NULL;
	char	   *name;
	bool		done;

	for (name = names != NULL ? strtok_r(names, ", ", &place) : NULL;
		 name != NULL; name = strtok_r(NULL, ", ", &place))
		rd_kafka_topic_partition_list_add(topics, name,
										  RD_KAFKA_PARTITION_UA);
	done = topics->cnt > 0 &&
		rd_kafka_subscribe(consumer, topics) == RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_topic_partition_list_destroy(topics);
	free(names);
	return done;
}
