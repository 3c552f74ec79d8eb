/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_rabbitmq_topic.c
 *		What a topic needs: an exchange, a queue, and the binding between them.
 */
#include "broker/rabbitmq/broker_rabbitmq.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static SnRabbitTopic *next_topic(SnRabbitLink *rabbit);
static amqp_rpc_reply_t declare_topic(SnRabbitLink *rabbit, const char *topic);
static bool answer_topic(SnRabbitLink *rabbit, SnRabbitTopic *topic,
						 amqp_rpc_reply_t reply);
static bool is_refusal(amqp_rpc_reply_t reply);

/* Makes those that are asked for; false when the connection is lost. */
bool
sn_rabbit_make_topics(SnRabbitLink *rabbit)
{
	amqp_rpc_reply_t reply = {.reply_type = AMQP_RESPONSE_NORMAL};
	SnRabbitTopic *topic;
	bool		good = true;

	while (good && (topic = next_topic(rabbit)) != NULL)
	{
		if (rabbit->conf.declare)
			reply = declare_topic(rabbit, topic->name);
		good = answer_topic(rabbit, topic, reply);
	}
	return good;
}

/* Takes the next request; none while the broker does not read. */
static SnRabbitTopic *
next_topic(SnRabbitLink *rabbit)
{
	SnRabbitTopic *topic = NULL;

	pthread_mutex_lock(&rabbit->lock);
	if (!rabbit->blocked && !rabbit->stopped)
		topic = rabbit->topics;
	if (topic != NULL)
		rabbit->topics = topic->next;
	pthread_mutex_unlock(&rabbit->lock);
	return topic;
}

/* Declares what the settings say, all durable. */
static amqp_rpc_reply_t
declare_topic(SnRabbitLink *rabbit, const char *topic)
{
	char		exchange[SN_RABBITMQ_NAME_MAX + 1];
	char		routing_key[SN_RABBITMQ_NAME_MAX + 1];
	amqp_table_entry_t entry = {
		.key = amqp_cstring_bytes("x-queue-type"),
		.value = {.kind = AMQP_FIELD_KIND_UTF8,
		.value.bytes = amqp_cstring_bytes(rabbit->conf.queue_type)}
	};
	amqp_table_t arguments = {.num_entries = 1, .entries = &entry};
	amqp_rpc_reply_t reply = {.reply_type = AMQP_RESPONSE_NORMAL};

	if (!sn_rabbit_fill(rabbit->conf.exchange, topic, "", 0, exchange) ||
		!sn_rabbit_fill(rabbit->conf.routing_key, topic, "", 0, routing_key))
		return reply;			/* send() refuses its records, and says why */
	if (*exchange != '\0')
	{
		amqp_exchange_declare(rabbit->connection, 2,
							  amqp_cstring_bytes(exchange),
							  amqp_cstring_bytes(rabbit->conf.exchange_type),
							  0, 1, 0, 0, amqp_empty_table);
		reply = amqp_get_rpc_reply(rabbit->connection);
		if (reply.reply_type != AMQP_RESPONSE_NORMAL)
			return reply;
	}
	amqp_queue_declare(rabbit->connection, 2, amqp_cstring_bytes(topic), 0, 1,
					   0, 0, arguments);
	reply = amqp_get_rpc_reply(rabbit->connection);
	if (reply.reply_type != AMQP_RESPONSE_NORMAL || *exchange == '\0')
		return reply;
	amqp_queue_bind(rabbit->connection, 2, amqp_cstring_bytes(topic),
					amqp_cstring_bytes(exchange),
					amqp_cstring_bytes(routing_key), amqp_empty_table);
	return amqp_get_rpc_reply(rabbit->connection);
}

/* Tells the host; an error has closed the channel, or the connection. */
static bool
answer_topic(SnRabbitLink *rabbit, SnRabbitTopic *topic,
			 amqp_rpc_reply_t reply)
{
	amqp_channel_close_ok_t heard = {0};
	bool		refused = is_refusal(reply);
	bool		good = reply.reply_type == AMQP_RESPONSE_NORMAL;
	char		text[SN_RABBIT_ERROR] = "";

	if (!good)
		sn_rabbit_error_text(reply, text);
	pthread_mutex_lock(&rabbit->lock);
	sn_rabbit_report(rabbit, &topic->report,
					 good ? SN_REPORT_OK :
					 refused ? SN_REPORT_REFUSED : SN_REPORT_RETRY, text);
	if (!good && !refused)
		sn_rabbit_lose(rabbit, text);
	pthread_mutex_unlock(&rabbit->lock);
	if (good || !refused)
		return good;
	/* the broker takes a second channel of a number only after that */
	amqp_send_method(rabbit->connection, 2, AMQP_CHANNEL_CLOSE_OK_METHOD,
					 &heard);
	amqp_channel_open(rabbit->connection, 2);
	reply = amqp_get_rpc_reply(rabbit->connection);
	if (reply.reply_type == AMQP_RESPONSE_NORMAL)
		return true;
	sn_rabbit_error_text(reply, text);
	pthread_mutex_lock(&rabbit->lock);
	sn_rabbit_lose(rabbit, text);
	pthread_mutex_unlock(&rabbit->lock);
	return false;
}

/* Did the broker say no, and only on the channel? */
static bool
is_refusal(amqp_rpc_reply_t reply)
{
	return reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
		reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD;
}
