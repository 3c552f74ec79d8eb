/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_rabbitmq_link.c
 *		The thread that has the connection: it publishes what is queued.
 *
 * As long as nothing is in flight, a lost connection costs nothing: the thread
 * makes another, and what is queued waits.  With something in flight nobody
 * knows what is stored.  Then all of that is reported as RETRY, the link is
 * stopped, and the host replaces it.
 */
#include "broker/rabbitmq/broker_rabbitmq.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/secret_file.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 3000
#define PUBLISH_AT_ONCE 64		/* messages, before answers are read */

static void *link_main(void *arg);
static bool read_secrets(SnRabbitLink *rabbit, const char *directory, char *err,
						 size_t err_len);
static void serve(SnRabbitLink *rabbit);
static bool publish_some(SnRabbitLink *rabbit);
static bool may_publish(const SnRabbitLink *rabbit);
static bool has_rabbit_work(SnRabbitLink *rabbit);
static SnRabbitMessage *take_message(SnRabbitLink *rabbit);
static bool publish(SnRabbitLink *rabbit, SnRabbitMessage *message);
static void wait_for_work(SnRabbitLink *rabbit, int fd, int timeout_ms);
static bool link_goes_on(SnRabbitLink *rabbit);
static void let_go(SnRabbitLink *rabbit);
static void free_link(SnRabbitLink *rabbit);

/* A link without a thread; NULL and a message when it cannot be made. */
SnRabbitLink *
sn_rabbit_link_make(const SnBrokerConfig *config, int messages, int wake,
					char *err, size_t err_len)
{
	SnRabbitLink *rabbit = calloc(1, sizeof(SnRabbitLink));
	pthread_condattr_t attr;
	uint64_t	size = 2;

	if (rabbit == NULL)
	{
		snprintf(err, err_len, "out of memory");
		return NULL;
	}
	while (size < (uint64_t) messages)
		size *= 2;
	rabbit->fd = rabbit->work[0] = rabbit->work[1] = -1;
	rabbit->wake = wake;
	rabbit->holders = 1;
	rabbit->oldest = rabbit->next_tag = 1;
	rabbit->flight_mask = size - 1;
	rabbit->flight = calloc(size, sizeof(SnRabbitMessage *));
	rabbit->client_id = strdup(config->client_id);
	pthread_mutex_init(&rabbit->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&rabbit->ended, &attr);
	pthread_condattr_destroy(&attr);
	if (rabbit->flight == NULL || rabbit->client_id == NULL)
		snprintf(err, err_len, "out of memory");
	else if (!sn_client_pipe(rabbit->work))
		snprintf(err, err_len, "could not create pipe: %s", strerror(errno));
	else if (sn_rabbitmq_conf_parse(config->settings, &rabbit->conf, err,
									err_len) &&
			 read_secrets(rabbit, config->secret_directory, err, err_len))
		return rabbit;
	let_go(rabbit);
	return NULL;
}

/* Reads the password, and looks whether the files may be used. */
static bool
read_secrets(SnRabbitLink *rabbit, const char *directory, char *err,
			 size_t err_len)
{
	const SnRabbitmqConf *conf = &rabbit->conf;

	if (conf->hosts == NULL)
	{
		snprintf(err, err_len, "property \"hosts\" is not set");
		return false;
	}
	if (conf->password_file != NULL)
	{
		rabbit->password = sn_secret_read(directory, "password.file",
										  conf->password_file, err, err_len);
		if (rabbit->password == NULL)
			return false;
	}
	if (conf->key != NULL)
	{
		rabbit->key_place = sn_secret_place(directory, "ssl.key.location",
											conf->key, err, err_len);
		if (rabbit->key_place == NULL)
			return false;
	}
	return (conf->ca == NULL ||
			sn_public_file("ssl.ca.location", conf->ca, err, err_len)) &&
		(conf->certificate == NULL ||
		 sn_public_file("ssl.certificate.location", conf->certificate, err,
						err_len));
}

/* Starts the thread; the link is gone when it cannot. */
bool
sn_rabbit_link_start(SnRabbitLink *rabbit, char *err, size_t err_len)
{
	pthread_t	thread;
	sigset_t	before;
	int			failed;

	rabbit->holders = 2;
	sn_client_block_signals(&before);
	failed = pthread_create(&thread, NULL, link_main, rabbit);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!failed)
	{
		pthread_detach(thread);
		return true;
	}
	snprintf(err, err_len, "could not start a thread: %s", strerror(failed));
	rabbit->holders = 1;
	let_go(rabbit);
	return false;
}

/* Ends a link; true when its thread was gone in time. */
bool
sn_rabbit_link_end(SnRabbitLink *rabbit, int timeout_ms)
{
	struct timespec until;
	bool		gone;

	sn_client_deadline(&until, timeout_ms);
	pthread_mutex_lock(&rabbit->lock);
	rabbit->stopping = rabbit->stopped = true;

	/* what the thread waits for on the socket does not come any more */
	if (rabbit->fd >= 0)
		shutdown(rabbit->fd, SHUT_RDWR);
	pthread_mutex_unlock(&rabbit->lock);
	sn_rabbit_link_tell(rabbit);
	pthread_mutex_lock(&rabbit->lock);
	while (!rabbit->done &&
		   pthread_cond_timedwait(&rabbit->ended, &rabbit->lock,
								  &until) != ETIMEDOUT)
		continue;
	gone = rabbit->done;
	pthread_mutex_unlock(&rabbit->lock);
	let_go(rabbit);
	return gone;
}

/* Wakes the thread. */
void
sn_rabbit_link_tell(SnRabbitLink *rabbit)
{
	/* when the pipe is full it is going to wake anyway */
	if (write(rabbit->work[1], "w", 1) < 0)
		return;
}

/* The thread: connects, serves, and again. */
static void *
link_main(void *arg)
{
	SnRabbitLink *rabbit = arg;
	int			backoff = BACKOFF_MIN_MS;

	while (link_goes_on(rabbit))
	{
		if (sn_rabbit_connect(rabbit))
		{
			backoff = BACKOFF_MIN_MS;
			serve(rabbit);
		}
		sn_rabbit_disconnect(rabbit);
		if (link_goes_on(rabbit))
			wait_for_work(rabbit, -1, backoff);
		backoff = backoff * 2 < BACKOFF_MAX_MS ? backoff * 2 : BACKOFF_MAX_MS;
	}
	pthread_mutex_lock(&rabbit->lock);
	rabbit->done = true;
	pthread_cond_signal(&rabbit->ended);
	pthread_mutex_unlock(&rabbit->lock);
	let_go(rabbit);
	return NULL;
}

/* Publishes and reads answers until the connection or the host ends it. */
static void
serve(SnRabbitLink *rabbit)
{
	int			fd = amqp_get_sockfd(rabbit->connection);
	int			pause_ms = rabbit->conf.heartbeat_s * 1000 / 4;

	while (link_goes_on(rabbit))
	{
		if (!sn_rabbit_make_topics(rabbit) || !publish_some(rabbit) ||
			!sn_rabbit_read(rabbit))
			return;
		if (!has_rabbit_work(rabbit))
			wait_for_work(rabbit, fd, pause_ms);
	}
}

/* Publishes a few; false when the connection is lost. */
static bool
publish_some(SnRabbitLink *rabbit)
{
	int			i;

	for (i = 0; i < PUBLISH_AT_ONCE; i++)
	{
		SnRabbitMessage *message = take_message(rabbit);

		if (message == NULL)
			return true;
		if (!publish(rabbit, message))
			return false;
	}
	return true;
}

/* May the first message go?  The lock is held. */
static bool
may_publish(const SnRabbitLink *rabbit)
{
	return rabbit->first != NULL && !rabbit->stopped && !rabbit->blocked &&
		rabbit->next_tag - rabbit->oldest <= rabbit->flight_mask;
}

/* Is there anything to do without an answer or the host? */
static bool
has_rabbit_work(SnRabbitLink *rabbit)
{
	bool		result;

	pthread_mutex_lock(&rabbit->lock);
	result = may_publish(rabbit) ||
		(rabbit->topics != NULL && !rabbit->blocked);
	pthread_mutex_unlock(&rabbit->lock);
	return result;
}

/* The next to be published, which is in flight now; NULL when none may go. */
static SnRabbitMessage *
take_message(SnRabbitLink *rabbit)
{
	SnRabbitMessage *message;

	pthread_mutex_lock(&rabbit->lock);
	message = may_publish(rabbit) ? rabbit->first : NULL;
	if (message != NULL)
	{
		rabbit->first = message->next;
		message->next = NULL;
		message->tag = rabbit->next_tag++;
		rabbit->flight[message->tag & rabbit->flight_mask] = message;
		rabbit->writing = message;
	}
	pthread_mutex_unlock(&rabbit->lock);
	return message;
}

/* Writes a message; false when the connection is lost. */
static bool
publish(SnRabbitLink *rabbit, SnRabbitMessage *message)
{
	char		text[SN_RABBIT_ERROR];
	int			status;

	status = amqp_basic_publish(rabbit->connection, 1,
								amqp_cstring_bytes(message->exchange),
								amqp_cstring_bytes(message->routing_key),
								1, 0, &message->properties, message->body);
	pthread_mutex_lock(&rabbit->lock);
	rabbit->writing = NULL;
	if (message->given_up)
		sn_rabbit_answer(rabbit, message, SN_REPORT_RETRY, "given up");
	if (status != AMQP_STATUS_OK)
	{
		snprintf(text, sizeof(text), "connection to RabbitMQ was lost: %s",
				 amqp_error_string2(status));
		sn_rabbit_lose(rabbit, text);
	}
	pthread_mutex_unlock(&rabbit->lock);
	return status == AMQP_STATUS_OK;
}

/* Waits for the host, for the socket, or for so long. */
static void
wait_for_work(SnRabbitLink *rabbit, int fd, int timeout_ms)
{
	struct pollfd fds[2] = {
		{.fd = rabbit->work[0], .events = POLLIN},
		{.fd = fd, .events = POLLIN}
	};

	/* without a connection, new records are no reason to try at once */
	if (fd < 0)
	{
		int64_t		until = sn_monotonic_ms() + timeout_ms;

		while (link_goes_on(rabbit) && sn_monotonic_ms() < until)
		{
			(void) poll(fds, 1, (int) (until - sn_monotonic_ms()) + 1);
			sn_client_pipe_empty(rabbit->work[0]);
		}
		return;
	}
	(void) poll(fds, 2, timeout_ms);
	sn_client_pipe_empty(rabbit->work[0]);
}

/* Does the host want more of this link? */
static bool
link_goes_on(SnRabbitLink *rabbit)
{
	bool		result;

	pthread_mutex_lock(&rabbit->lock);
	result = !rabbit->stopping && !rabbit->stopped;
	pthread_mutex_unlock(&rabbit->lock);
	return result;
}

/* One holder less; the last one frees it. */
static void
let_go(SnRabbitLink *rabbit)
{
	bool		last;

	pthread_mutex_lock(&rabbit->lock);
	last = --rabbit->holders == 0;
	pthread_mutex_unlock(&rabbit->lock);
	if (last)
		free_link(rabbit);
}

/* Frees a link that nobody holds. */
static void
free_link(SnRabbitLink *rabbit)
{
	uint64_t	i;

	while (rabbit->first != NULL)
	{
		SnRabbitMessage *message = rabbit->first;

		rabbit->first = message->next;
		free(message);
	}
	for (i = 0; rabbit->flight != NULL && i <= rabbit->flight_mask; i++)
		free(rabbit->flight[i]);
	while (rabbit->reports != NULL)
	{
		SnRabbitReport *report = rabbit->reports;

		rabbit->reports = report->next;
		free(report);
	}
	while (rabbit->topics != NULL)
	{
		SnRabbitTopic *topic = rabbit->topics;

		rabbit->topics = topic->next;
		free(topic);
	}
	free(rabbit->flight);
	free(rabbit->client_id);
	free(rabbit->key_place);
	sn_secret_forget(rabbit->password);
	sn_props_free(rabbit->conf.props);
	if (rabbit->work[0] >= 0)
		close(rabbit->work[0]);
	if (rabbit->work[1] >= 0)
		close(rabbit->work[1]);
	pthread_cond_destroy(&rabbit->ended);
	pthread_mutex_destroy(&rabbit->lock);
	free(rabbit);
}
