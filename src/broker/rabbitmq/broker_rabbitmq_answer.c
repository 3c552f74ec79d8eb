/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_rabbitmq_answer.c
 *		What the broker says, and what that means for messages in flight.
 *
 * A message that no queue takes comes back before its confirm, without the
 * confirm's number.  It is found by its id, exchange and routing key among
 * those in flight.
 */
#include "broker/rabbitmq/broker_rabbitmq.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_frame(SnRabbitLink *rabbit, bool *more);
static bool take_method(SnRabbitLink *rabbit, const amqp_method_t *method);
static bool take_return(SnRabbitLink *rabbit, const amqp_basic_return_t *said);
static void take_confirm(SnRabbitLink *rabbit, uint64_t tag, bool multiple,
						 bool stored);
static void confirm_one(SnRabbitLink *rabbit, uint64_t tag, bool stored);
static void take_channel_close(SnRabbitLink *rabbit,
							   const amqp_channel_close_t *said);
static bool names_exchange(const SnRabbitMessage *message, const char *text);
static bool is_bytes(amqp_bytes_t bytes, const char *text);
static void lose_connection(SnRabbitLink *rabbit, const char *text);
static const char *tls_reason(int status);

/* Reads all that has come; false when the connection is lost. */
bool
sn_rabbit_read(SnRabbitLink *rabbit)
{
	bool		more = true;

	while (more)
	{
		if (!read_frame(rabbit, &more))
			return false;
	}
	amqp_maybe_release_buffers(rabbit->connection);
	return true;
}

/* One frame, if there is one. */
static bool
read_frame(SnRabbitLink *rabbit, bool *more)
{
	struct timeval no_time = {0};
	char		text[SN_RABBIT_ERROR];
	amqp_frame_t frame;
	int			status;

	status = amqp_simple_wait_frame_noblock(rabbit->connection, &frame,
											&no_time);
	*more = status == AMQP_STATUS_OK;
	if (status == AMQP_STATUS_TIMEOUT)
		return true;
	if (status == AMQP_STATUS_OK)
		return frame.frame_type != AMQP_FRAME_METHOD ||
			take_method(rabbit, &frame.payload.method);
	snprintf(text, sizeof(text), "connection to RabbitMQ was lost: %s",
			 amqp_error_string2(status));
	lose_connection(rabbit, text);
	return false;
}

/* What the broker says; false when the connection is lost. */
static bool
take_method(SnRabbitLink *rabbit, const amqp_method_t *method)
{
	amqp_rpc_reply_t closed = {
		.reply_type = AMQP_RESPONSE_SERVER_EXCEPTION,.reply = *method
	};
	char		text[SN_RABBIT_ERROR];

	switch (method->id)
	{
		case AMQP_BASIC_RETURN_METHOD:
			return take_return(rabbit, method->decoded);
		case AMQP_BASIC_ACK_METHOD:
			{
				const amqp_basic_ack_t *ack = method->decoded;

				take_confirm(rabbit, ack->delivery_tag, ack->multiple, true);
				return true;
			}
		case AMQP_BASIC_NACK_METHOD:
			{
				const amqp_basic_nack_t *nack = method->decoded;

				take_confirm(rabbit, nack->delivery_tag, nack->multiple, false);
				return true;
			}
		case AMQP_CONNECTION_BLOCKED_METHOD:
		case AMQP_CONNECTION_UNBLOCKED_METHOD:
			pthread_mutex_lock(&rabbit->lock);
			rabbit->blocked = method->id == AMQP_CONNECTION_BLOCKED_METHOD;
			if (rabbit->blocked)
				sn_rabbit_note(rabbit, "RabbitMQ takes no messages: an alarm of "
							   "memory or disk is on");
			pthread_mutex_unlock(&rabbit->lock);
			return true;
		case AMQP_CHANNEL_CLOSE_METHOD:
			take_channel_close(rabbit, method->decoded);
			return false;
		case AMQP_CONNECTION_CLOSE_METHOD:
			sn_rabbit_error_text(closed, text);
			lose_connection(rabbit, text);
			return false;
		default:
			return true;
	}
}

/* A message that no queue takes: its confirm comes next. */
static bool
take_return(SnRabbitLink *rabbit, const amqp_basic_return_t *said)
{
	amqp_message_t back;
	amqp_rpc_reply_t reply = amqp_read_message(rabbit->connection, 1, &back, 0);
	char		text[SN_RABBIT_ERROR];
	uint64_t	tag;

	if (reply.reply_type != AMQP_RESPONSE_NORMAL)
	{
		sn_rabbit_error_text(reply, text);
		lose_connection(rabbit, text);
		return false;
	}
	pthread_mutex_lock(&rabbit->lock);
	for (tag = rabbit->oldest; tag < rabbit->next_tag; tag++)
	{
		SnRabbitMessage *message = rabbit->flight[tag & rabbit->flight_mask];

		if (message != NULL && !message->returned &&
			is_bytes(said->exchange, message->exchange) &&
			is_bytes(said->routing_key, message->routing_key) &&
			back.properties.message_id.len ==
			message->properties.message_id.len &&
			memcmp(back.properties.message_id.bytes,
				   message->properties.message_id.bytes,
				   message->properties.message_id.len) == 0)
		{
			message->returned = true;
			break;
		}
	}
	pthread_mutex_unlock(&rabbit->lock);
	amqp_destroy_message(&back);
	return true;
}

static bool
is_bytes(amqp_bytes_t bytes, const char *text)
{
	return bytes.len == strlen(text) &&
		memcmp(bytes.bytes, text, bytes.len) == 0;
}

/* Confirms of a tag, or of all up to it. */
static void
take_confirm(SnRabbitLink *rabbit, uint64_t tag, bool multiple, bool stored)
{
	uint64_t	i;

	pthread_mutex_lock(&rabbit->lock);
	if (tag < rabbit->next_tag)
	{
		for (i = multiple ? rabbit->oldest : tag; i <= tag; i++)
			confirm_one(rabbit, i, stored);
		while (rabbit->oldest < rabbit->next_tag &&
			   rabbit->flight[rabbit->oldest & rabbit->flight_mask] == NULL)
			rabbit->oldest++;
	}
	pthread_mutex_unlock(&rabbit->lock);
}

/* The confirm of one message, unless it was purged. */
static void
confirm_one(SnRabbitLink *rabbit, uint64_t tag, bool stored)
{
	SnRabbitMessage *message = rabbit->flight[tag & rabbit->flight_mask];

	if (message == NULL || message->tag != tag)
		return;
	rabbit->flight[tag & rabbit->flight_mask] = NULL;
	if (message->returned)
		sn_rabbit_answer(rabbit, message, message->way_is_made ?
						 SN_REPORT_NO_TOPIC : SN_REPORT_REFUSED,
						 "no queue takes it (NO_ROUTE)");
	else if (stored)
	{
		rabbit->progress_at = sn_monotonic_ms();
		rabbit->trouble[0] = '\0';
		rabbit->answered = true;
		sn_rabbit_answer(rabbit, message, SN_REPORT_OK, "");
	}
	else
	{
		sn_rabbit_note(rabbit, "RabbitMQ did not store a message");
		sn_rabbit_answer(rabbit, message, SN_REPORT_RETRY,
						 "RabbitMQ did not store it");
	}
}

/*
 * The channel was closed: an exchange is not there or may not be written.  The
 * broker names it.  Its messages wait for their topic, the others for a link.
 */
static void
take_channel_close(SnRabbitLink *rabbit, const amqp_channel_close_t *said)
{
	char		text[SN_RABBIT_ERROR];
	uint64_t	tag;

	snprintf(text, sizeof(text), "%.*s", (int) said->reply_text.len,
			 (const char *) said->reply_text.bytes);
	pthread_mutex_lock(&rabbit->lock);
	for (tag = rabbit->oldest; tag < rabbit->next_tag; tag++)
	{
		SnRabbitMessage *message = rabbit->flight[tag & rabbit->flight_mask];

		if (message == NULL || !names_exchange(message, text))
			continue;
		rabbit->flight[tag & rabbit->flight_mask] = NULL;
		sn_rabbit_answer(rabbit, message, SN_REPORT_NO_TOPIC, text);
	}
	sn_rabbit_lose(rabbit, text);
	rabbit->stopped = true;
	pthread_mutex_unlock(&rabbit->lock);
}

/* Does an error name the exchange of a message? */
static bool
names_exchange(const SnRabbitMessage *message, const char *text)
{
	char		quoted[SN_RABBITMQ_NAME_MAX + 3];

	snprintf(quoted, sizeof(quoted), "'%s'", message->exchange);
	return strstr(text, quoted) != NULL;
}

/* The same as sn_rabbit_lose, without the lock. */
static void
lose_connection(SnRabbitLink *rabbit, const char *text)
{
	pthread_mutex_lock(&rabbit->lock);
	sn_rabbit_lose(rabbit, text);
	pthread_mutex_unlock(&rabbit->lock);
}

/*
 * The connection is lost.  What became of messages in flight is not known, so
 * the host has to begin again with them; with none the link goes on.
 */
void
sn_rabbit_lose(SnRabbitLink *rabbit, const char *error)
{
	uint64_t	tag;

	sn_rabbit_note(rabbit, error);
	for (tag = rabbit->oldest; tag < rabbit->next_tag; tag++)
	{
		SnRabbitMessage *message = rabbit->flight[tag & rabbit->flight_mask];

		if (message == NULL)
			continue;
		rabbit->flight[tag & rabbit->flight_mask] = NULL;
		rabbit->stopped = true;
		sn_rabbit_answer(rabbit, message, SN_REPORT_RETRY, error);
	}
	rabbit->oldest = rabbit->next_tag;
}

/*
 * Gives up what is queued, and with inflight what is on the way.  What the
 * thread is writing is answered when it has been written.
 */
void
sn_rabbit_purge(SnRabbitLink *rabbit, bool inflight)
{
	uint64_t	tag;

	while (rabbit->first != NULL)
	{
		SnRabbitMessage *message = rabbit->first;

		rabbit->first = message->next;
		sn_rabbit_answer(rabbit, message, SN_REPORT_RETRY, "given up");
	}
	for (tag = rabbit->oldest; inflight && tag < rabbit->next_tag; tag++)
	{
		SnRabbitMessage *message = rabbit->flight[tag & rabbit->flight_mask];

		if (message == NULL)
			continue;
		rabbit->flight[tag & rabbit->flight_mask] = NULL;
		if (message == rabbit->writing)
			message->given_up = true;
		else
			sn_rabbit_answer(rabbit, message, SN_REPORT_RETRY, "given up");
	}
}

/* The answer to a record, which is the end of its message. */
void
sn_rabbit_answer(SnRabbitLink *rabbit, SnRabbitMessage *message,
				 SnReportStatus status, const char *error)
{
	rabbit->on_their_way[message->key]--;
	rabbit->messages--;
	rabbit->unread++;
	rabbit->bytes -= message->body.len;
	sn_rabbit_report(rabbit, &message->report, status, error);
}

/* Queues a report, and wakes the host for the first. */
void
sn_rabbit_report(SnRabbitLink *rabbit, SnRabbitReport *report,
				 SnReportStatus status, const char *error)
{
	bool		first = rabbit->reports == NULL;

	report->next = NULL;
	report->status = status;
	snprintf(report->error, SN_RABBIT_REASON, "%s", error);
	if (first)
		rabbit->reports = report;
	else
		rabbit->last_report->next = report;
	rabbit->last_report = report;
	if (first && write(rabbit->wake, "w", 1) < 0 && errno != EAGAIN)
		snprintf(rabbit->last_error, SN_RABBIT_ERROR,
				 "could not write to the wake pipe");
}

/* Keeps an error's text; it is a failure when something waits for an answer. */
void
sn_rabbit_note(SnRabbitLink *rabbit, const char *text)
{
	if (rabbit->messages > 0 || rabbit->topics != NULL)
		rabbit->failures++;
	snprintf(rabbit->last_error, SN_RABBIT_ERROR, "%s", text);
	snprintf(rabbit->trouble, SN_RABBIT_ERROR, "%s", text);
}

/*
 * What OpenSSL knows of an error, or NULL: such as that the broker wants a
 * certificate, which with TLS 1.3 it says only when the client believes in the
 * connection.
 */
static const char *
tls_reason(int status)
{
	return status == AMQP_STATUS_SSL_ERROR ?
		ERR_reason_error_string(ERR_peek_last_error()) : NULL;
}

/* What an answer says, into SN_RABBIT_ERROR / 2 bytes. */
void
sn_rabbit_error_text(amqp_rpc_reply_t reply, char *out)
{
	amqp_bytes_t text = {0, NULL};

	if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
	{
		const char *why = tls_reason(reply.library_error);

		snprintf(out, SN_RABBIT_ERROR / 2, "%s%s%s",
				 amqp_error_string2(reply.library_error),
				 why == NULL ? "" : ": ", why == NULL ? "" : why);
		return;
	}
	if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
		reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD)
		text = ((amqp_channel_close_t *) reply.reply.decoded)->reply_text;
	else if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
			 reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD)
		text = ((amqp_connection_close_t *) reply.reply.decoded)->reply_text;
	if (text.len == 0)
		text = amqp_cstring_bytes("no answer");
	snprintf(out, SN_RABBIT_ERROR / 2, "%.*s", (int) text.len,
			 (const char *) text.bytes);
}
