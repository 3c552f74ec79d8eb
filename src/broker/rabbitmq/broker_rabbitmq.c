/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_rabbitmq.c
 *		The broker interface (broker.h) on RabbitMQ, by librabbitmq.
 *
 * With the other broker_rabbitmq*.c and rabbitmq_conf.c it makes up the shared
 * library sentinai_rabbitmq.  Nothing else sees librabbitmq.
 *
 *
 * How it works
 *
 * librabbitmq has no threads, and its calls wait: for a name to be looked up, a
 * socket to take bytes, an answer.  So a thread of ours has the connection, and
 * the host talks to it through queues under a lock.  Each message is published
 * with "mandatory" on a channel in confirm mode.  A confirm is the proof that it
 * is stored: on disk, of a quorum queue by the most of its nodes.
 *
 *
 * How order survives
 *
 * A broker may refuse one message (a full queue with "reject-publish", an error
 * of a node) and take the next.  So of one key one message is on its way at a
 * time, unless max.in.flight.per.key says otherwise: send() says LATER for the
 * next, and other keys go on.  When the connection is lost, nothing of a key is
 * behind the message whose confirm is missing, and the host sends that one
 * again first.
 *
 *
 * What is whose fault
 *
 * A message that no queue takes comes back, before its confirm: it is refused,
 * alone, for good.  But when its way is the one that is made for its topic, the
 * queue could not be made, or was deleted: NO_TOPIC.  A negative confirm is no
 * fault of the message: RETRY.  An exchange that is not there or may not be
 * written closes the channel: its messages are NO_TOPIC, all others RETRY.
 *
 * Invariant: no message has anything of payload or password.
 */
#include "broker/rabbitmq/broker_rabbitmq.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <unistd.h>

#define RABBIT_MESSAGES 10000	/* defaults of the host's limits */
#define RABBIT_KBYTES (32 * 1024)

struct SnBroker
{
	SnBrokerConfig config;		/* with copies of its strings */
	SnRabbitmqConf conf;
	bool		makes;			/* every record has a way that is made for it */
	SnRabbitLink *link;			/* NULL between a failed restart and the next */
	int			messages;		/* at most */
	size_t		bytes;
	int			wake[2];
	uint64_t	failures;		/* of the links before */
	SnRabbitReport *handed_out; /* whose texts the host may still read */
	char		last_error[SN_RABBIT_ERROR];
	char		trouble[SN_RABBIT_ERROR];
};

static SnBroker *rabbit_open(const SnBrokerConfig *config, char *err,
							 size_t err_len);
static SnSendResult rabbit_send(SnBroker *broker, const SnRecord *record,
								char *err, size_t err_len);
static int	rabbit_poll(SnBroker *broker, int timeout_ms,
						SnBrokerReport *reports, int max);
static int	rabbit_wake_fd(const SnBroker *broker);
static void rabbit_purge(SnBroker *broker, bool inflight);
static bool rabbit_restart(SnBroker *broker, bool isolate, int timeout_ms,
						   char *err, size_t err_len);
static bool rabbit_create_topic(SnBroker *broker, const char *topic,
								int partitions, int replication_factor,
								uint64_t opaque, char *err, size_t err_len);
static void rabbit_health(SnBroker *broker, SnBrokerHealth *health);
static bool rabbit_close(SnBroker *broker, int timeout_ms);
static bool start_link(SnBroker *broker, char *err, size_t err_len);
static bool drop_link(SnBroker *broker, int timeout_ms);
static void keep_texts(SnBroker *broker);
static SnSendResult queue_message(SnBroker *broker, SnRabbitMessage *message);
static int	hand_out(SnBroker *broker, SnBrokerReport *reports, int max);
static void free_handed_out(SnBroker *broker);

static const SnBrokerProvider rabbit_provider = {
	.abi = SN_BROKER_ABI,
	.name = "rabbitmq",
	.open = rabbit_open,
	.send = rabbit_send,
	.poll = rabbit_poll,
	.wake_fd = rabbit_wake_fd,
	.purge = rabbit_purge,
	.restart = rabbit_restart,
	.create_topic = rabbit_create_topic,
	.health = rabbit_health,
	.close = rabbit_close
};

/* The one symbol a host looks up. */
__attribute__((visibility("default")))
const SnBrokerProvider *
sn_broker_provider(uint32_t abi)
{
	return abi == SN_BROKER_ABI ? &rabbit_provider : NULL;
}

/* Makes a handle whose thread connects. */
static SnBroker *
rabbit_open(const SnBrokerConfig *config, char *err, size_t err_len)
{
	SnBroker   *broker = calloc(1, sizeof(SnBroker));

	if (broker == NULL)
	{
		snprintf(err, err_len, "out of memory");
		return NULL;
	}
	broker->config = *config;
	broker->config.settings = strdup(config->settings);
	broker->config.secret_directory = strdup(config->secret_directory != NULL ?
											 config->secret_directory : "");
	broker->config.client_id = strdup(config->client_id != NULL ?
									  config->client_id : "sentinai");
	broker->messages = config->queue_max_messages > 0 ?
		config->queue_max_messages : RABBIT_MESSAGES;
	broker->bytes = (size_t) (config->queue_max_kbytes > 0 ?
							  config->queue_max_kbytes : RABBIT_KBYTES) * 1024;
	broker->wake[0] = broker->wake[1] = -1;
	if (broker->config.settings == NULL || broker->config.client_id == NULL ||
		broker->config.secret_directory == NULL)
		snprintf(err, err_len, "out of memory");
	else if (!sn_client_pipe(broker->wake))
		snprintf(err, err_len, "could not create pipe: %s", strerror(errno));
	else if (sn_rabbitmq_conf_parse(config->settings, &broker->conf, err,
									err_len) &&
			 start_link(broker, err, err_len))
		return broker;
	rabbit_close(broker, 0);
	return NULL;
}

/* A new link; false and a message when there can be none. */
static bool
start_link(SnBroker *broker, char *err, size_t err_len)
{
	SnRabbitLink *rabbit = sn_rabbit_link_make(&broker->config,
											   broker->messages,
											   broker->wake[1], err, err_len);

	if (rabbit == NULL)
		return false;
	if (!sn_rabbit_link_start(rabbit, err, err_len))
		return false;
	broker->link = rabbit;
	return true;
}

/* Ends the link, and keeps what health tells of it. */
static bool
drop_link(SnBroker *broker, int timeout_ms)
{
	SnRabbitLink *rabbit = broker->link;

	if (rabbit == NULL)
		return true;
	pthread_mutex_lock(&rabbit->lock);
	broker->failures += rabbit->failures;
	keep_texts(broker);
	pthread_mutex_unlock(&rabbit->lock);
	broker->link = NULL;
	if (timeout_ms > SN_BROKER_CLOSE_MAX_MS)
		timeout_ms = SN_BROKER_CLOSE_MAX_MS;
	return sn_rabbit_link_end(rabbit, timeout_ms);
}

/*
 * What the link last said: a new link knows of no error yet, and of no trouble
 * until it has failed, or has been answered.  The lock is held.
 */
static void
keep_texts(SnBroker *broker)
{
	const SnRabbitLink *rabbit = broker->link;

	if (rabbit->last_error[0] != '\0')
		memcpy(broker->last_error, rabbit->last_error, SN_RABBIT_ERROR);
	if (rabbit->trouble[0] != '\0' || rabbit->answered)
		memcpy(broker->trouble, rabbit->trouble, SN_RABBIT_ERROR);
}

/* Puts one record into the thread's queue. */
static SnSendResult
rabbit_send(SnBroker *broker, const SnRecord *record, char *err,
			size_t err_len)
{
	SnRabbitMessage *message;
	SnSendResult result;

	if (broker->link == NULL)
	{
		snprintf(err, err_len, "producer is not running");
		return SN_SEND_STOPPED;
	}
	message = sn_rabbit_message_make(&broker->conf, record, err, err_len);
	if (message == NULL)
		return SN_SEND_REFUSED;
	message->way_is_made = broker->makes;
	result = queue_message(broker, message);
	if (result == SN_SEND_STOPPED)
		snprintf(err, err_len, "producer has to be replaced");
	if (result != SN_SEND_OK)
		free(message);
	return result;
}

/* Appends a message, if there is room and nothing of its key is on its way. */
static SnSendResult
queue_message(SnBroker *broker, SnRabbitMessage *message)
{
	SnRabbitLink *rabbit = broker->link;
	SnSendResult result = SN_SEND_OK;
	bool		tell = false;

	pthread_mutex_lock(&rabbit->lock);
	if (rabbit->stopped)
		result = SN_SEND_STOPPED;
	else if (rabbit->on_their_way[message->key] >= broker->conf.in_flight_per_key)
		result = SN_SEND_LATER;
	else if (rabbit->messages >= (uint64_t) broker->messages ||
			 (rabbit->messages > 0 &&
			  rabbit->bytes + message->body.len > broker->bytes))
		result = SN_SEND_FULL;
	else
	{
		if (rabbit->messages == 0)
			rabbit->progress_at = sn_monotonic_ms();
		rabbit->on_their_way[message->key]++;
		rabbit->messages++;
		rabbit->bytes += message->body.len;
		tell = rabbit->first == NULL;
		if (tell)
			rabbit->first = message;
		else
			rabbit->last->next = message;
		rabbit->last = message;
	}
	pthread_mutex_unlock(&rabbit->lock);
	if (tell)
		sn_rabbit_link_tell(rabbit);
	return result;
}

/* Hands out reports. */
static int
rabbit_poll(SnBroker *broker, int timeout_ms, SnBrokerReport *reports, int max)
{
	struct pollfd wake = {.fd = broker->wake[0], .events = POLLIN};
	int			n;

	free_handed_out(broker);
	if (broker->link == NULL)
		return 0;
	sn_client_pipe_empty(broker->wake[0]);
	n = hand_out(broker, reports, max);
	if (n == 0 && timeout_ms > 0 && poll(&wake, 1, timeout_ms) > 0)
	{
		sn_client_pipe_empty(broker->wake[0]);
		n = hand_out(broker, reports, max);
	}
	return n;
}

/* Takes reports out of the link; their texts live until the next poll. */
static int
hand_out(SnBroker *broker, SnBrokerReport *reports, int max)
{
	SnRabbitLink *rabbit = broker->link;
	int			n = 0;

	pthread_mutex_lock(&rabbit->lock);
	while (n < max && rabbit->reports != NULL)
	{
		SnRabbitReport *report = rabbit->reports;

		rabbit->reports = report->next;
		if (report->kind == SN_REPORT_RECORD)
			rabbit->unread--;
		reports[n].kind = report->kind;
		reports[n].status = report->status;
		reports[n].alone = report->status == SN_REPORT_REFUSED;
		reports[n].opaque = report->opaque;
		reports[n].error = report->status == SN_REPORT_OK ? NULL :
			report->error;
		n++;
		report->next = broker->handed_out;
		broker->handed_out = report;
	}
	pthread_mutex_unlock(&rabbit->lock);
	return n;
}

/* Frees what was handed out by the poll before. */
static void
free_handed_out(SnBroker *broker)
{
	while (broker->handed_out != NULL)
	{
		SnRabbitReport *report = broker->handed_out;

		broker->handed_out = report->next;
		free(report);
	}
}

/* The descriptor to wait for. */
static int
rabbit_wake_fd(const SnBroker *broker)
{
	return broker->wake[0];
}

/* Turns what is queued (and on the way) into reports RETRY. */
static void
rabbit_purge(SnBroker *broker, bool inflight)
{
	if (broker->link == NULL)
		return;
	pthread_mutex_lock(&broker->link->lock);
	sn_rabbit_purge(broker->link, inflight);
	pthread_mutex_unlock(&broker->link->lock);
}

/* Replaces the link; each message travels alone as it is, isolated or not. */
static bool
rabbit_restart(SnBroker *broker, bool isolate, int timeout_ms, char *err,
			   size_t err_len)
{
	(void) isolate;
	free_handed_out(broker);
	drop_link(broker, timeout_ms);
	return start_link(broker, err, err_len);
}

/* Asks for what a topic needs; AMQP knows neither partitions nor replicas. */
static bool
rabbit_create_topic(SnBroker *broker, const char *topic, int partitions,
					int replication_factor, uint64_t opaque, char *err,
					size_t err_len)
{
	SnRabbitLink *rabbit = broker->link;
	SnRabbitTopic *request;
	SnRabbitTopic **end;

	(void) partitions;
	(void) replication_factor;
	if (rabbit == NULL)
	{
		snprintf(err, err_len, "producer is not running");
		return false;
	}
	request = malloc(sizeof(SnRabbitTopic) + strlen(topic) + 1);
	if (request == NULL)
	{
		snprintf(err, err_len, "out of memory");
		return false;
	}
	request->next = NULL;
	request->report.kind = SN_REPORT_TOPIC;
	request->report.opaque = opaque;
	strcpy(request->name, topic);
	broker->makes = broker->conf.declare &&
		strstr(broker->conf.exchange, "{key}") == NULL &&
		strstr(broker->conf.routing_key, "{key}") == NULL;
	pthread_mutex_lock(&rabbit->lock);
	for (end = &rabbit->topics; *end != NULL; end = &(*end)->next)
		continue;
	*end = request;
	pthread_mutex_unlock(&rabbit->lock);
	sn_rabbit_link_tell(rabbit);
	return true;
}

/* State and figures. */
static void
rabbit_health(SnBroker *broker, SnBrokerHealth *health)
{
	SnRabbitLink *rabbit = broker->link;

	memset(health, 0, sizeof(*health));
	health->failures = broker->failures;
	health->stopped = rabbit == NULL;
	if (rabbit != NULL)
	{
		pthread_mutex_lock(&rabbit->lock);
		health->stopped = rabbit->stopped;
		health->outstanding = rabbit->messages + rabbit->unread;
		health->failures += rabbit->failures;
		if (rabbit->messages > 0)
			health->stalled_ms = sn_monotonic_ms() - rabbit->progress_at;
		keep_texts(broker);
		pthread_mutex_unlock(&rabbit->lock);
	}
	health->last_error = broker->last_error;
	health->trouble = broker->trouble;
}

/* Ends everything within the time given. */
static bool
rabbit_close(SnBroker *broker, int timeout_ms)
{
	bool		gone;

	if (broker == NULL)
		return true;
	gone = drop_link(broker, timeout_ms);
	free_handed_out(broker);
	sn_props_free(broker->conf.props);
	free((char *) broker->config.settings);
	free((char *) broker->config.secret_directory);
	free((char *) broker->config.client_id);
	if (broker->wake[0] >= 0)
		close(broker->wake[0]);

	/* a thread that is not gone has the other end */
	if (broker->wake[1] >= 0 && gone)
		close(broker->wake[1]);
	free(broker);
	return gone;
}
