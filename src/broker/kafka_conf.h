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
#include "broker/props.h"

/* For the server: what it asks about the setting */
extern const SnBrokerSettings sn_kafka_settings;

extern SnProps *sn_kafka_conf_parse(const char *text, char *err,
									size_t err_len);
extern bool sn_kafka_conf_is_private_path(const char *name);
extern bool sn_kafka_conf_is_path(const SnProp *prop);

#endif							/* SN_KAFKA_CONF_H */
