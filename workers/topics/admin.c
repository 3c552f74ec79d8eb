/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * admin.c
 *	  What a broker is asked to do about topics and rights, by librdkafka.
 */
#include "admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#define ANSWER_MS 30000

/* Else a broker that makes topics by itself would make those it is asked about */
#define ONLY_LOOK "allow.auto.create.topics=false"

struct Admin
{
	rd_kafka_t *client;
	rd_kafka_queue_t *queue;
};

/* One property, "name=value". */
static bool
set_property(rd_kafka_conf_t *conf, const char *property, char *err)
{
	const char *equals = strchr(property, '=');
	char		name[128];

	if (equals == NULL || equals == property ||
		(size_t) (equals - property) >= sizeof(name))
	{
		snprintf(err, ADMIN_ERROR, "not a property: %.100s", property);
		return false;
	}
	snprintf(name, sizeof(name), "%.*s", (int) (equals - property), property);
	return rd_kafka_conf_set(conf, name, equals + 1, err, ADMIN_ERROR) ==
		RD_KAFKA_CONF_OK;
}

/* A client; NULL and why when there can be none. */
Admin *
admin_open(const char *const *properties, int count, char *err)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	Admin	   *admin = calloc(1, sizeof(Admin));
	bool		good = set_property(conf, ONLY_LOOK, err);
	int			i;

	for (i = 0; i < count && good; i++)
		good = set_property(conf, properties[i], err);
	if (admin != NULL && good)
		admin->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, ADMIN_ERROR);
	if (admin == NULL || admin->client == NULL)
	{
		rd_kafka_conf_destroy(conf);
		free(admin);
		return NULL;
	}
	admin->queue = rd_kafka_queue_new(admin->client);
	return admin;
}

/* Frees it; NULL is fine. */
void
admin_close(Admin *admin)
{
	if (admin == NULL)
		return;
	rd_kafka_queue_destroy(admin->queue);
	rd_kafka_destroy(admin->client);
	free(admin);
}

/* How many partitions a topic has; 0: there is none; -1 and why: who knows. */
int
admin_has_topic(Admin *admin, const char *topic, char *err)
{
	rd_kafka_topic_t *handle = rd_kafka_topic_new(admin->client, topic, NULL);
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t code;
	int			result = 0;

	code = rd_kafka_metadata(admin->client, 0, handle, &metadata, ANSWER_MS);
	rd_kafka_topic_destroy(handle);
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		if (metadata->topic_cnt == 1)
		{
			code = metadata->topics[0].err;
			result = metadata->topics[0].partition_cnt;
		}
		rd_kafka_metadata_destroy(metadata);
	}
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR ||
		code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		return result;
	snprintf(err, ADMIN_ERROR, "%s", rd_kafka_err2str(code));
	return -1;
}

/* The options of a request. */
static rd_kafka_AdminOptions_t *
make_options(Admin *admin, rd_kafka_admin_op_t operation)
{
	rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(admin->client,
																 operation);
	char		ignored[ADMIN_ERROR];

	(void) rd_kafka_AdminOptions_set_request_timeout(options, ANSWER_MS, ignored,
													 sizeof(ignored));
	return options;
}

/* The answer to a request; NULL and why when there is none. */
static rd_kafka_event_t *
take_answer(Admin *admin, char *err)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(admin->queue, 2 * ANSWER_MS);

	if (event == NULL)
		snprintf(err, ADMIN_ERROR, "no answer");
	else if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		snprintf(err, ADMIN_ERROR, "%s", rd_kafka_event_error_string(event));
		rd_kafka_event_destroy(event);
		event = NULL;
	}
	return event;
}

/* Creates a topic: 1; 0: it was there; -1 and why: it was not to be. */
int
admin_create_topic(Admin *admin, const char *topic, int partitions,
				   int replication, char *err)
{
	rd_kafka_NewTopic_t *wanted = rd_kafka_NewTopic_new(topic, partitions,
														replication, err,
														ADMIN_ERROR);
	rd_kafka_AdminOptions_t *options;
	const rd_kafka_topic_result_t **results;
	rd_kafka_resp_err_t code;
	rd_kafka_event_t *event;
	size_t		count;

	if (wanted == NULL)
		return -1;
	options = make_options(admin, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	rd_kafka_CreateTopics(admin->client, &wanted, 1, options, admin->queue);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_NewTopic_destroy(wanted);
	event = take_answer(admin, err);
	if (event == NULL)
		return -1;
	results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event),
												  &count);
	code = rd_kafka_topic_result_error(results[0]);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		snprintf(err, ADMIN_ERROR, "%s",
				 rd_kafka_topic_result_error_string(results[0]) != NULL ?
				 rd_kafka_topic_result_error_string(results[0]) :
				 rd_kafka_err2str(code));
	rd_kafka_event_destroy(event);
	return code == RD_KAFKA_RESP_ERR_NO_ERROR ? 1 :
		code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS ? 0 : -1;
}

/* The number of an operation. */
static rd_kafka_AclOperation_t
operation_of(const char *name)
{
	return strcmp(name, "Read") == 0 ? RD_KAFKA_ACL_OPERATION_READ :
		strcmp(name, "Write") == 0 ? RD_KAFKA_ACL_OPERATION_WRITE :
		strcmp(name, "Create") == 0 ? RD_KAFKA_ACL_OPERATION_CREATE :
		RD_KAFKA_ACL_OPERATION_DESCRIBE;
}

/* Grants a right from any host; one that was there stays. */
bool
admin_grant(Admin *admin, const Right *right, char *err)
{
	rd_kafka_AclBinding_t *binding =
		rd_kafka_AclBinding_new(strcmp(right->resource, "group") == 0 ?
								RD_KAFKA_RESOURCE_GROUP : RD_KAFKA_RESOURCE_TOPIC,
								right->name, right->prefixed ?
								RD_KAFKA_RESOURCE_PATTERN_PREFIXED :
								RD_KAFKA_RESOURCE_PATTERN_LITERAL,
								right->principal, "*",
								operation_of(right->operation),
								RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, err,
								ADMIN_ERROR);
	rd_kafka_AdminOptions_t *options;
	const rd_kafka_acl_result_t **results;
	const rd_kafka_error_t *error;
	rd_kafka_event_t *event;
	size_t		count;

	if (binding == NULL)
		return false;
	options = make_options(admin, RD_KAFKA_ADMIN_OP_CREATEACLS);
	rd_kafka_CreateAcls(admin->client, &binding, 1, options, admin->queue);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_AclBinding_destroy(binding);
	event = take_answer(admin, err);
	if (event == NULL)
		return false;
	results = rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(event),
											  &count);
	error = rd_kafka_acl_result_error(results[0]);
	if (error != NULL)
		snprintf(err, ADMIN_ERROR, "%s", rd_kafka_error_string(error));
	rd_kafka_event_destroy(event);
	return error == NULL;
}
