/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * rabbitmq_conf.h
 *		The setting sentinai.rabbitmq_conf: its properties, and what they may be.
 *
 * Pure C without librabbitmq, so that a check hook in the server can use it.
 */
#ifndef SN_RABBITMQ_CONF_H
#define SN_RABBITMQ_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/broker.h"
#include "broker/props.h"

/* The longest name of AMQP: exchanges, queues, routing keys. */
#define SN_RABBITMQ_NAME_MAX 255

/* What the properties say; the strings belong to props. */
typedef struct SnRabbitmqConf
{
	SnProps    *props;
	const char *hosts;			/* host[:port],...; NULL: no broker is named */
	const char *vhost;
	const char *username;
	const char *password_file;	/* NULL: none */
	bool		tls;
	const char *ca;				/* paths; NULL: not given */
	const char *certificate;
	const char *key;
	const char *exchange;		/* templates */
	const char *routing_key;
	const char *exchange_type;
	const char *queue_type;
	bool		declare;		/* make exchange, queue and binding of a topic */
	int			heartbeat_s;
	int			in_flight_per_key;
	size_t		max_record;
} SnRabbitmqConf;

extern const SnBrokerSettings sn_rabbitmq_settings;

extern bool sn_rabbitmq_conf_parse(const char *text, SnRabbitmqConf *conf,
								   char *err, size_t err_len);

#endif							/* SN_RABBITMQ_CONF_H */
