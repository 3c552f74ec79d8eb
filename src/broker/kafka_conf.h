/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_conf.h
 *		The setting sentinai.kafka_conf: syntax, what is refused, secrets.
 *
 * Pure C without librdkafka, so that a check hook in the server can use it.
 */
#ifndef SN_KAFKA_CONF_H
#define SN_KAFKA_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/broker.h"

/* Limits of the text and of its properties. */
#define SN_KAFKA_CONF_MAX_TEXT (128 * 1024)
#define SN_KAFKA_CONF_MAX_PROPS 256

/*
 * One property.  With from_file the name has lost its ".file" and the value
 * is the path of the file that holds the secret.
 */
typedef struct SnKafkaProp
{
	char	   *name;
	char	   *value;
	bool		from_file;
} SnKafkaProp;

typedef struct SnKafkaConf
{
	SnKafkaProp *props;
	int			nprops;
} SnKafkaConf;

/* For the server: what it asks about the setting */
extern const SnBrokerSettings sn_kafka_settings;

extern SnKafkaConf *sn_kafka_conf_parse(const char *text,
										char *err, size_t err_len);
extern void sn_kafka_conf_free(SnKafkaConf *conf);
extern const char *sn_kafka_conf_get(const SnKafkaConf *conf,
									 const char *name);
extern bool sn_kafka_conf_is_private_path(const char *name);
extern bool sn_kafka_conf_is_path(const SnKafkaProp *prop);

#endif							/* SN_KAFKA_CONF_H */
