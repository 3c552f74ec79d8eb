/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_rabbitmq_connect.c
 *		A connection: host, TLS, login, channels.
 *
 * The hosts are tried in turn, one at each call.  Channel 1 publishes, in
 * confirm mode.  Channel 2 makes topics, since an error closes a channel.
 */
#include "broker/rabbitmq/broker_rabbitmq.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/client/certificate.h"

#define CONNECT_S 3
#define ANSWER_S 10				/* of the broker, to what is asked */
#define FRAME_MAX 131072
#define PORT_PLAIN 5672
#define PORT_TLS 5671
#define HOST_MAX 256

static void choose_host(SnRabbitLink *rabbit, char *host, int *port);
static amqp_socket_t *make_socket(SnRabbitLink *rabbit);
static bool set_up_tls(SnRabbitLink *rabbit, amqp_socket_t *socket);
static int	ask_openssl(X509_STORE_CTX *store, void *rabbit);
static void say_no_socket(const SnRabbitLink *rabbit, int status, char *text,
						  size_t len);
static bool open_connection(SnRabbitLink *rabbit, char *text, size_t len);
static bool log_in(SnRabbitLink *rabbit, char *text);
static bool open_channels(SnRabbitLink *rabbit, char *text);
static bool is_normal(amqp_rpc_reply_t reply, char *text);
static bool take_fd(SnRabbitLink *rabbit);

/* Connects to the next host; false, and the reason is noted. */
bool
sn_rabbit_connect(SnRabbitLink *rabbit)
{
	char		text[SN_RABBIT_ERROR] = "out of memory";
	bool		good = open_connection(rabbit, text, sizeof(text));

	pthread_mutex_lock(&rabbit->lock);
	if (good)
	{
		rabbit->blocked = false;
		rabbit->oldest = rabbit->next_tag = 1;
	}
	else
		sn_rabbit_note(rabbit, text);
	pthread_mutex_unlock(&rabbit->lock);
	return good;
}

/* Ends a connection, without a word to the broker. */
void
sn_rabbit_disconnect(SnRabbitLink *rabbit)
{
	pthread_mutex_lock(&rabbit->lock);
	rabbit->fd = -1;
	pthread_mutex_unlock(&rabbit->lock);
	if (rabbit->connection != NULL)
		amqp_destroy_connection(rabbit->connection);
	rabbit->connection = NULL;
}

/* All steps; in text what went wrong. */
static bool
open_connection(SnRabbitLink *rabbit, char *text, size_t len)
{
	struct timeval connect = {.tv_sec = CONNECT_S};
	struct timeval answer = {.tv_sec = ANSWER_S};
	char		reason[SN_RABBIT_ERROR / 2] = "out of memory";
	char		host[HOST_MAX];
	amqp_socket_t *socket = NULL;
	int			port;
	int			status = AMQP_STATUS_OK;

	choose_host(rabbit, host, &port);
	rabbit->connection = amqp_new_connection();
	if (rabbit->connection != NULL)
		socket = make_socket(rabbit);
	if (socket == NULL)
		snprintf(reason, sizeof(reason), "TLS could not be set up");
	else
	{
		status = amqp_socket_open_noblock(socket, host, port, &connect);
		if (status != AMQP_STATUS_OK)
			say_no_socket(rabbit, status, reason, sizeof(reason));
		else if (take_fd(rabbit))
		{
			amqp_set_handshake_timeout(rabbit->connection, &answer);
			amqp_set_rpc_timeout(rabbit->connection, &answer);
			if (log_in(rabbit, reason) && open_channels(rabbit, reason))
				return true;
		}
	}
	snprintf(text, len, "could not connect to RabbitMQ at %.80s:%d: %s", host,
			 port, reason);
	return false;
}

/* The next host of the list, and its port. */
static void
choose_host(SnRabbitLink *rabbit, char *host, int *port)
{
	const char *p = rabbit->conf.hosts;
	const char *colon;
	size_t		len;
	int			i;

	for (i = 0; i < rabbit->next_host; i++)
		p = strchr(p, ',') + 1;
	len = strcspn(p, ",");
	rabbit->next_host = p[len] == ',' ? rabbit->next_host + 1 : 0;
	snprintf(host, HOST_MAX, "%.*s", (int) len, p);
	*port = rabbit->conf.tls ? PORT_TLS : PORT_PLAIN;

	/* an address of IPv6 with a port is in brackets */
	colon = strrchr(host, ':');
	if (colon != NULL && (strchr(host, ':') == colon || colon[-1] == ']'))
	{
		*port = atoi(colon + 1);
		host[colon - host] = '\0';
	}
	len = strlen(host);
	if (host[0] == '[' && len > 1 && host[len - 1] == ']')
	{
		memmove(host, host + 1, len - 2);
		host[len - 2] = '\0';
	}
}

/* A socket of the connection, with TLS if that is wanted; or NULL. */
static amqp_socket_t *
make_socket(SnRabbitLink *rabbit)
{
	amqp_socket_t *socket;

	if (!rabbit->conf.tls)
		return amqp_tcp_socket_new(rabbit->connection);
	socket = amqp_ssl_socket_new(rabbit->connection);
	if (socket == NULL || !set_up_tls(rabbit, socket))
		return NULL;			/* it belongs to the connection */
	return socket;
}

/* Who is at the other end is always checked. */
static bool
set_up_tls(SnRabbitLink *rabbit, amqp_socket_t *socket)
{
	const SnRabbitmqConf *conf = &rabbit->conf;

	rabbit->refusal = 0;
	amqp_ssl_socket_set_verify_peer(socket, 1);
	amqp_ssl_socket_set_verify_hostname(socket, 1);
	SSL_CTX_set_cert_verify_callback(amqp_ssl_socket_get_context(socket),
									 ask_openssl, rabbit);
	return amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2,
											AMQP_TLSvLATEST) ==
		AMQP_STATUS_OK &&
		amqp_ssl_socket_set_cacert(socket, conf->ca) == AMQP_STATUS_OK &&
		(conf->certificate == NULL ||
		 amqp_ssl_socket_set_key(socket, conf->certificate,
								 rabbit->key_place) == AMQP_STATUS_OK);
}

/*
 * What OpenSSL would do by itself.  Its reason is kept, since the library says no
 * more than that there was one.
 */
static int
ask_openssl(X509_STORE_CTX *store, void *rabbit)
{
	int			good = X509_verify_cert(store);

	if (good <= 0)
		((SnRabbitLink *) rabbit)->refusal = X509_STORE_CTX_get_error(store);
	return good;
}

/* Why there is no connection to write on. */
static void
say_no_socket(const SnRabbitLink *rabbit, int status, char *text, size_t len)
{
	char		why[64];
	int			refusal = status == AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED ?
		SN_CERTIFICATE_OTHER_HOST : rabbit->refusal;

	if (refusal == 0)
	{
		snprintf(text, len, "%s", amqp_error_string2(status));
		return;
	}
	sn_certificate_refusal(refusal, "hosts", why, sizeof(why));
	snprintf(text, len, "certificate of the broker is not accepted: %s", why);
}

/* From now on the host can end what waits on the socket; false: it wants to. */
static bool
take_fd(SnRabbitLink *rabbit)
{
	bool		result;

	pthread_mutex_lock(&rabbit->lock);
	result = !rabbit->stopping;
	rabbit->fd = amqp_get_sockfd(rabbit->connection);
	pthread_mutex_unlock(&rabbit->lock);
	return result;
}

/* Logs in, and says what this client understands. */
static bool
log_in(SnRabbitLink *rabbit, char *text)
{
	amqp_table_entry_t can[2] = {
		{.key = amqp_cstring_bytes("publisher_confirms"),
		.value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}},
		{.key = amqp_cstring_bytes("connection.blocked"),
		.value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}}
	};
	amqp_table_entry_t about[2] = {
		{.key = amqp_cstring_bytes("capabilities"),
		.value = {.kind = AMQP_FIELD_KIND_TABLE,
		.value.table = {.num_entries = 2, .entries = can}}},
		{.key = amqp_cstring_bytes("connection_name"),
		.value = {.kind = AMQP_FIELD_KIND_UTF8,
		.value.bytes = amqp_cstring_bytes(rabbit->client_id)}}
	};
	amqp_table_t properties = {.num_entries = 2, .entries = about};

	return is_normal(amqp_login_with_properties(rabbit->connection,
												rabbit->conf.vhost, 2,
												FRAME_MAX,
												rabbit->conf.heartbeat_s,
												&properties,
												AMQP_SASL_METHOD_PLAIN,
												rabbit->conf.username,
												rabbit->password != NULL ?
												rabbit->password : "guest"),
					 text);
}

/* Both channels, the first in confirm mode. */
static bool
open_channels(SnRabbitLink *rabbit, char *text)
{
	amqp_channel_open(rabbit->connection, 1);
	if (!is_normal(amqp_get_rpc_reply(rabbit->connection), text))
		return false;
	amqp_confirm_select(rabbit->connection, 1);
	if (!is_normal(amqp_get_rpc_reply(rabbit->connection), text))
		return false;
	amqp_channel_open(rabbit->connection, 2);
	return is_normal(amqp_get_rpc_reply(rabbit->connection), text);
}

/* Is it an answer, and no error? */
static bool
is_normal(amqp_rpc_reply_t reply, char *text)
{
	if (reply.reply_type == AMQP_RESPONSE_NORMAL)
		return true;
	sn_rabbit_error_text(reply, text);
	return false;
}
